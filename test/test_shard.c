/*
 * test_shard.c - stages cut over ranks: every part once, at legal places, in
 * balance; and what a token costs.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "support/fake_model.h"
#include "plan/shard.h"

#define MAX_RANKS 9
#define N_TRIAL 400

/* SmolLM2-135M's shape: 9 heads, 3 kv heads. */
static const fake_shape smollm2 = { 30, 576, 1536, 9, 3, 64, 49152 };
static const tlpi_dtype q4_1[] = { TLPI_Q4_1 };

static tlp_plan *parse(tlp_model *m, const char *text)
{
    tlp_plan *p = NULL;

    cr_assert_eq(tlp_plan_parse(&p, m, text), TLP_OK, "%s: %s", text,
                 tlp_last_error());
    return p;
}

static tlpi_shards *cut(const tlp_plan *p, int n_rank)
{
    tlpi_shards *s = NULL;

    cr_assert_eq(tlpi_shards_create(&s, p, n_rank), TLP_OK, "%s",
                 tlp_last_error());
    return s;
}

/* ==== a model whose cuts are known ======================================= */

static void expect_heads(const tlpi_attn_part *p, int kv0, int kv1, int q0,
                         int q1)
{
    cr_expect_eq(p->kv0, kv0, "%d", p->kv0);
    cr_expect_eq(p->kv1, kv1, "%d", p->kv1);
    cr_expect_eq(p->q0, q0, "%d", p->q0);
    cr_expect_eq(p->q1, q1, "%d", p->q1);
}

/* Kv head 1 serves query heads 3 to 5, and so both ranks. */
Test(shard, a_serial_layer_of_nine_heads_splits_five_and_four)
{
    tlp_model *m = fake_model(&smollm2, q4_1, 1);
    tlp_plan *p = parse(m, "serial");
    tlpi_shards *s = cut(p, 2);
    const tlpi_stage_shard *a = tlpi_shard_at(s, 7, 0);
    const tlpi_stage_shard *b = tlpi_shard_at(s, 7, 1);

    cr_assert_eq(a->n_attn, 2);
    cr_assert_eq(b->n_attn, 2);
    expect_heads(&a->attn[0], 0, 1, 0, 3);
    expect_heads(&a->attn[1], 1, 2, 3, 5);
    expect_heads(&b->attn[0], 1, 2, 5, 6);
    expect_heads(&b->attn[1], 2, 3, 6, 9);
    cr_assert_eq(a->n_ffn, 1);
    cr_expect_eq(a->ffn[0].ff1, 768);
    cr_expect_eq(b->ffn[0].ff0, 768);
    cr_expect_eq(b->ffn[0].ff1, 1536);
    cr_expect_null(s->span[7]);
    tlpi_shards_free(s);
    tlp_plan_free(p);
    tlp_model_free(m);
}

Test(shard, a_pair_on_two_ranks_falls_apart_between_its_members)
{
    static const char *const texts[] = { "lp:3-4", "par:3-4", "asym:3-4" };
    tlp_model *m = fake_model(&smollm2, q4_1, 1);

    for (size_t k = 0; k < TLPI_COUNT(texts); k++) {
        tlp_plan *p = parse(m, texts[k]);
        tlpi_shards *s = cut(p, 2);
        for (int r = 0; r < 2; r++) {
            const tlpi_stage_shard *part = tlpi_shard_at(s, 3, r);
            cr_assert_eq(part->n_attn, 1, "%s", texts[k]);
            cr_assert_eq(part->n_ffn, 1, "%s", texts[k]);
            cr_expect_eq(part->attn[0].member, r);
            cr_expect_eq(part->attn[0].kv0, 0);
            cr_expect_eq(part->attn[0].kv1, 3);
            cr_expect_eq(part->ffn[0].member, r);
            cr_expect_eq(part->ffn[0].norm, r);
            cr_expect_eq(part->ffn[0].ff0, 0);
            cr_expect_eq(part->ffn[0].ff1, 1536);
        }
        tlpi_shards_free(s);
        tlp_plan_free(p);
    }
    tlp_model_free(m);
}

Test(shard, lp_code_changes_norm_in_the_middle_of_a_pair)
{
    tlp_model *m = fake_model(&smollm2, q4_1, 1);
    tlp_plan *p = parse(m, "lp-code:0-1");
    tlpi_shards *s = cut(p, 2);

    for (int r = 0; r < 2; r++) {
        const tlpi_stage_shard *part = tlpi_shard_at(s, 0, r);
        cr_assert_eq(part->n_ffn, 2);
        for (int i = 0; i < 2; i++) {
            cr_expect_eq(part->ffn[i].member, r);
            cr_expect_eq(part->ffn[i].norm, i);
            cr_expect_eq(part->ffn[i].ff0, 768 * i);
            cr_expect_eq(part->ffn[i].ff1, 768 * (i + 1));
        }
    }
    tlpi_shards_free(s);
    tlp_plan_free(p);
    tlp_model_free(m);
}

Test(shard, three_ranks_share_a_par_pair_in_spans_that_overlap)
{
    tlp_model *m = fake_model(&smollm2, q4_1, 1);
    tlp_plan *p = parse(m, "par:3-4");
    tlpi_shards *s = cut(p, 3);

    cr_assert_not_null(s->span[3]);
    cr_expect_eq(s->span[3][0].first, 0);
    cr_expect_eq(s->span[3][0].count, 2);
    cr_expect_eq(s->span[3][1].first, 1);
    cr_expect_eq(s->span[3][1].count, 2);
    tlpi_shards_free(s);
    tlp_plan_free(p);
    tlp_model_free(m);
}

/*
 * Six ranks for a member of two kv heads and one block of columns: cut by
 * shares, ranks 1 and 4 get the heads and rank 2 the columns.  Rank 3 would sit
 * in the span with nothing to do.
 */
Test(shard, no_rank_in_a_span_is_empty)
{
    static const fake_shape shape = { 2, 256, 16, 2, 2, 64, 64 };
    static const tlpi_dtype f32[] = { TLPI_F32 };
    tlp_model *m = fake_model(&shape, f32, 1);
    tlp_plan *p = parse(m, "par:0-1");
    tlpi_shards *s = cut(p, 12);

    for (int i = 0; i < 2; i++) {
        tlpi_span span = s->span[0][i];
        cr_expect_eq(span.first, 6 * i + 1, "%d", span.first);
        cr_expect_eq(span.count, 3, "%d", span.count);
        for (int r = span.first; r < span.first + span.count; r++) {
            const tlpi_stage_shard *part = tlpi_shard_at(s, 0, r);
            cr_expect_eq(part->n_attn + part->n_ffn, 1, "rank %d", r);
        }
    }
    tlpi_shards_free(s);
    tlp_plan_free(p);
    tlp_model_free(m);
}

Test(shard, the_number_of_ranks_is_bounded)
{
    tlp_model *m = fake_model(&smollm2, q4_1, 1);
    tlp_plan *p = parse(m, "serial");
    const int bad[] = { INT32_MIN, -1, 0, 1025, INT32_MAX };
    tlpi_shards *s;

    for (size_t i = 0; i < TLPI_COUNT(bad); i++) {
        s = (tlpi_shards *)p;
        cr_expect_eq(tlpi_shards_create(&s, p, bad[i]), TLP_EINVAL);
        cr_expect_null(s);
        cr_expect(strstr(tlp_last_error(), "n_rank"));
    }
    tlp_plan_free(p);
    tlp_model_free(m);
}

/* ==== properties over random models and plans ============================ */

static uint64_t rng = 20240607;

static int below(int n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (int)((rng >> 33) % (uint64_t)n);
}

static fake_shape random_shape(void)
{
    static const int head_dims[] = { 16, 32, 48, 64, 80, 128 };
    static const int group[] = { 1, 2, 3, 4, 7 };
    fake_shape s = { .n_layer = 2 + below(8), .n_head_kv = 1 + below(8) };

    s.n_head = s.n_head_kv * group[below(5)];
    s.head_dim = head_dims[below(6)];
    s.n_embd = 256 * (1 + below(3));
    s.n_ff = below(2) ? 256 * (1 + below(12)) : 16 * (1 + below(150));
    s.n_vocab = 1 + below(1000);
    return s;
}

/* Stages of random sizes and modes over shuffled layers. */
static tlp_plan *random_plan(tlp_model *m)
{
    int n = m->hp.n_layer, n_stage = 0;
    int layers[16];
    tlpi_stage stage[16];
    tlp_plan *p = NULL;

    for (int i = 0; i < n; i++) {
        int j = below(i + 1);
        layers[i] = layers[j];
        layers[j] = i;
    }
    for (int at = 0; at < n; n_stage++) {
        int most = TLPI_MIN(5, n - at);
        int size = 1 + below(most);
        int mode = size == 1 ? TLP_MODE_SERIAL : 1 + below(5);
        stage[n_stage] = (tlpi_stage){ mode, size, layers + at, 0 };
        at += size;
    }
    cr_assert_eq(tlpi_plan_build(&p, m, stage, n_stage, 0, NULL, "test"),
                 TLP_OK, "%s", tlp_last_error());
    return p;
}

static int block_of(const tlpi_tensor *t)
{
    return tlpi_dtype_get(t->type)->block;
}

static const tlpi_layer *layer_of(const tlp_plan *p, int stage, int member)
{
    return &p->model->w.layer[p->stage[stage].layers[member]];
}

static int n_unit(const tlpi_stage *s)
{
    return s->mode == TLP_MODE_MERGE ? 1 : s->n_member;
}

/* Members whose blocks a cut of `member` has to respect. */
static int first_bound(const tlpi_stage *s, int member)
{
    return s->mode == TLP_MODE_MERGE ? 0 : member;
}

static int last_bound(const tlpi_stage *s, int member)
{
    return s->mode == TLP_MODE_MERGE ? s->n_member - 1 : member;
}

static void check_head_cut(const tlp_plan *p, int stage, int member, int head)
{
    const tlpi_stage *s = &p->stage[stage];
    const tlpi_hparams *hp = &p->model->hp;

    if (head == hp->n_head)
        return;
    for (int i = first_bound(s, member); i <= last_bound(s, member); i++)
        cr_assert_eq(head * hp->head_dim %
                         block_of(layer_of(p, stage, i)->t[TLPI_ATTN_OUTPUT]),
                     0, "cut at head %d", head);
}

static void check_ff_cut(const tlp_plan *p, int stage, int member, int ff)
{
    const tlpi_stage *s = &p->stage[stage];

    if (ff == p->model->hp.n_ff)
        return;
    cr_assert_eq(ff % 16, 0, "ff cut %d", ff);
    for (int i = first_bound(s, member); i <= last_bound(s, member); i++)
        cr_assert_eq(ff % block_of(layer_of(p, stage, i)->t[TLPI_FFN_DOWN]), 0,
                     "ff cut %d", ff);
}

/* Whole kv groups, or some query heads of one. */
static void check_heads(const tlpi_hparams *hp, const tlpi_attn_part *a)
{
    int group = hp->n_head / hp->n_head_kv;

    cr_assert_gt(a->q1, a->q0);
    cr_assert_eq(a->kv0, a->q0 / group);
    cr_assert_eq(a->kv1, (a->q1 - 1) / group + 1);
    if (a->q0 % group != 0 || a->q1 % group != 0)
        cr_assert_eq(a->kv1, a->kv0 + 1);
}

/* Walking the ranks in order meets every query head of every member once. */
static void check_attn_cover(const tlp_plan *p, const tlpi_shards *s, int stage)
{
    int member = 0, head = 0;

    for (int r = 0; r < s->n_rank; r++) {
        const tlpi_stage_shard *part = tlpi_shard_at(s, stage, r);
        for (int i = 0; i < part->n_attn; i++) {
            const tlpi_attn_part *a = &part->attn[i];
            cr_assert_eq(a->member, member);
            cr_assert_eq(a->q0, head);
            check_heads(&p->model->hp, a);
            head = a->q1;
            if (i + 1 == part->n_attn)
                check_head_cut(p, stage, member, head);
            if (head == p->model->hp.n_head) {
                member++;
                head = 0;
            }
        }
    }
    cr_assert_eq(member, n_unit(&p->stage[stage]));
    cr_assert_eq(head, 0);
}

/* Where norm n+1 takes over in a member: the legal cut nearest to an equal
 * share, the upper of two that are as near. */
static int norm_border(const tlp_plan *p, int stage, int member, int n)
{
    int n_ff = p->model->hp.n_ff, n_member = p->stage[stage].n_member;
    int block = block_of(layer_of(p, stage, member)->t[TLPI_FFN_DOWN]);
    int best = 0;

    for (int ff = 0; ff <= n_ff; ff++) {
        if (ff != n_ff && (ff % 16 != 0 || ff % block != 0))
            continue;
        if (abs(ff * n_member - n_ff * (n + 1)) <=
            abs(best * n_member - n_ff * (n + 1)))
            best = ff;
    }
    return best;
}

static void check_norm(const tlp_plan *p, int stage, const tlpi_ffn_part *f)
{
    if (p->stage[stage].mode != TLP_MODE_LP_CODE) {
        cr_assert_eq(f->norm, f->member);
        return;
    }
    cr_assert_leq(f->ff1, norm_border(p, stage, f->member, f->norm));
    if (f->norm > 0)
        cr_assert_geq(f->ff0, norm_border(p, stage, f->member, f->norm - 1));
}

static void check_ffn_cover(const tlp_plan *p, const tlpi_shards *s, int stage)
{
    int member = 0, ff = 0;

    for (int r = 0; r < s->n_rank; r++) {
        const tlpi_stage_shard *part = tlpi_shard_at(s, stage, r);
        for (int i = 0; i < part->n_ffn; i++) {
            const tlpi_ffn_part *f = &part->ffn[i];
            cr_assert_eq(f->member, member);
            cr_assert_eq(f->ff0, ff);
            cr_assert_gt(f->ff1, f->ff0);
            check_ff_cut(p, stage, member, f->ff1);
            check_norm(p, stage, f);
            ff = f->ff1;
            if (ff == p->model->hp.n_ff) {
                member++;
                ff = 0;
            }
        }
    }
    cr_assert_eq(member, n_unit(&p->stage[stage]));
    cr_assert_eq(ff, 0);
}

static bool has_part(const tlpi_stage_shard *part, int member)
{
    for (int i = 0; i < part->n_attn; i++)
        if (part->attn[i].member == member)
            return true;
    for (int i = 0; i < part->n_ffn; i++)
        if (part->ffn[i].member == member)
            return true;
    return false;
}

static void check_spans(const tlp_plan *p, const tlpi_shards *s, int stage)
{
    const tlpi_stage *st = &p->stage[stage];
    int share = s->n_rank / st->n_member;

    if (st->mode != TLP_MODE_PAR && st->mode != TLP_MODE_ASYM) {
        cr_assert_null(s->span[stage]);
        return;
    }
    for (int i = 0; i < st->n_member; i++) {
        tlpi_span span = s->span[stage][i];
        cr_assert_geq(span.count, 1);
        for (int r = 0; r < s->n_rank; r++)
            cr_assert_eq(has_part(tlpi_shard_at(s, stage, r), i),
                         r >= span.first && r < span.first + span.count);
        if (st->n_member >= s->n_rank)
            cr_assert_eq(span.count, 1);
        else if (s->n_rank % st->n_member == 0)
            cr_assert(span.first >= i * share &&
                      span.first + span.count <= (i + 1) * share);
    }
    if (st->n_member < s->n_rank)
        return;
    for (int r = 0; r < s->n_rank; r++)
        cr_assert_geq(tlpi_shard_at(s, stage, r)->n_attn, 1);
}

/* Bytes of a part, from the sizes of the rows it reads. */
static double attn_bytes(const tlp_plan *p, const tlpi_layer *l, int n_q,
                         int n_kv)
{
    const tlpi_hparams *hp = &p->model->hp;
    int64_t kv_rows = (int64_t)n_kv * hp->head_dim;
    int64_t q_rows = (int64_t)n_q * hp->head_dim;

    return (double)(kv_rows * (int64_t)(tlpi_row_bytes(l->t[TLPI_ATTN_K]->type,
                                                       hp->n_embd) +
                                        tlpi_row_bytes(l->t[TLPI_ATTN_V]->type,
                                                       hp->n_embd)) +
                    q_rows * (int64_t)tlpi_row_bytes(l->t[TLPI_ATTN_Q]->type,
                                                     hp->n_embd)) +
           (double)hp->n_embd * (double)q_rows *
               tlpi_dtype_get(l->t[TLPI_ATTN_OUTPUT]->type)->size /
               block_of(l->t[TLPI_ATTN_OUTPUT]);
}

static double ffn_bytes(const tlp_plan *p, const tlpi_layer *l, int n_ff)
{
    const tlpi_hparams *hp = &p->model->hp;

    return (double)n_ff *
               (double)(tlpi_row_bytes(l->t[TLPI_FFN_GATE]->type, hp->n_embd) +
                        tlpi_row_bytes(l->t[TLPI_FFN_UP]->type, hp->n_embd)) +
           (double)hp->n_embd * n_ff *
               tlpi_dtype_get(l->t[TLPI_FFN_DOWN]->type)->size /
               block_of(l->t[TLPI_FFN_DOWN]);
}

static double part_bytes(const tlp_plan *p, const tlpi_shards *s, int stage,
                         int rank)
{
    const tlpi_stage_shard *part = tlpi_shard_at(s, stage, rank);
    double sum = 0;

    for (int i = 0; i < part->n_attn; i++)
        sum += attn_bytes(p, layer_of(p, stage, part->attn[i].member),
                          part->attn[i].q1 - part->attn[i].q0,
                          part->attn[i].kv1 - part->attn[i].kv0);
    for (int i = 0; i < part->n_ffn; i++)
        sum += ffn_bytes(p, layer_of(p, stage, part->ffn[i].member),
                         part->ffn[i].ff1 - part->ffn[i].ff0);
    return sum;
}

static int common(int a, int b) /* least common multiple */
{
    int n = a;

    while (n % b != 0)
        n += a;
    return n;
}

/* The coarsest steps, in bytes, between legal cuts of a member, and the kv
 * heads that cuts at both ends can leave on either side: nothing can be
 * balanced better than these. */
static double grain(const tlp_plan *p, int stage, int member)
{
    const tlpi_stage *s = &p->stage[stage];
    const tlpi_hparams *hp = &p->model->hp;
    const tlpi_layer *l = layer_of(p, stage, member);
    int head_cols = hp->head_dim, ff = 16;

    for (int i = first_bound(s, member); i <= last_bound(s, member); i++) {
        head_cols = common(
            head_cols, block_of(layer_of(p, stage, i)->t[TLPI_ATTN_OUTPUT]));
        ff = common(ff, block_of(layer_of(p, stage, i)->t[TLPI_FFN_DOWN]));
    }
    int head = TLPI_MIN(head_cols / hp->head_dim, hp->n_head);
    return attn_bytes(p, l, head, head * hp->n_head_kv / hp->n_head + 2) +
           ffn_bytes(p, l, TLPI_MIN(ff, hp->n_ff));
}

/*
 * Wide stages: each border is within half a step of its ideal place, so a rank
 * is at most one step of heads and one of columns above its share.  Cut by
 * members: the same for each member a rank takes part in, above the share that
 * whole members allow.
 */
static double allowed(const tlp_plan *p, const tlpi_shards *s, int stage)
{
    const tlpi_stage *st = &p->stage[stage];
    const tlpi_hparams *hp = &p->model->hp;
    bool members = st->mode == TLP_MODE_PAR || st->mode == TLP_MODE_ASYM;
    double total = 0, widest = 0, grains = 0, coarsest = 0;

    for (int i = 0; i < n_unit(st); i++) {
        const tlpi_layer *l = layer_of(p, stage, i);
        double bytes = attn_bytes(p, l, hp->n_head, hp->n_head_kv) +
                       ffn_bytes(p, l, hp->n_ff);
        total += bytes;
        widest = TLPI_MAX(widest, bytes);
        grains += grain(p, stage, i);
        coarsest = TLPI_MAX(coarsest, grain(p, stage, i));
    }
    double share = total / s->n_rank;
    if (!members)
        return share + coarsest;
    if (st->n_member >= s->n_rank)
        return share + widest;
    if (s->n_rank % st->n_member == 0)
        return widest * st->n_member / s->n_rank + coarsest;
    return share + grains;
}

static void check_bytes(const tlp_plan *p, const tlpi_shards *s)
{
    const tlpi_tensor *head = p->model->w.t[TLPI_OUTPUT];
    double row = (double)tlpi_row_bytes(head->type, head->ne[0]);

    for (int r = 0; r < s->n_rank; r++) {
        double sum = row * (s->vocab[r + 1] - s->vocab[r]);
        for (int i = 0; i < p->n_stage; i++) {
            double bytes = part_bytes(p, s, i, r);
            cr_assert_leq(bytes, allowed(p, s, i) * (1 + 1e-9),
                          "stage %d of mode %d, %d members, rank %d of %d: %g "
                          "bytes, %g allowed",
                          i, p->stage[i].mode, p->stage[i].n_member, r,
                          s->n_rank, bytes, allowed(p, s, i));
            sum += bytes;
        }
        cr_assert_float_eq(sum, (double)s->rank_bytes[r], 1e-9 * sum + 0.5);
    }
}

static void check_vocab(const tlp_plan *p, const tlpi_shards *s)
{
    int n_vocab = p->model->hp.n_vocab;

    cr_assert_eq(s->vocab[0], 0);
    cr_assert_eq(s->vocab[s->n_rank], n_vocab);
    for (int r = 0; r < s->n_rank; r++) {
        int n = s->vocab[r + 1] - s->vocab[r];
        cr_assert_geq(n, 0);
        cr_assert_lt(n, n_vocab / s->n_rank + 1 + 16);
        if (r > 0 && s->vocab[r] != n_vocab)
            cr_assert_eq(s->vocab[r] % 16, 0);
    }
}

Test(shard, parts_cover_once_at_legal_cuts_in_balance, .timeout = 120)
{
    static const tlpi_dtype all[] = { TLPI_F32,   TLPI_Q4_0, TLPI_Q6_K,
                                      TLPI_Q8_0,  TLPI_Q4_K, TLPI_Q2_K,
                                      TLPI_Q3_K,  TLPI_F16,  TLPI_Q5_1,
                                      TLPI_BF16,  TLPI_Q4_1, TLPI_MXFP4,
                                      TLPI_IQ4_XS };

    for (int trial = 0; trial < N_TRIAL; trial++) {
        fake_shape shape = random_shape();
        size_t first = (size_t)below((int)TLPI_COUNT(all));
        size_t n = 1 + (size_t)below((int)(TLPI_COUNT(all) - first));
        tlp_model *m = fake_model(&shape, all + first, n);
        tlp_plan *p = random_plan(m);
        for (int n_rank = 1; n_rank <= MAX_RANKS; n_rank++) {
            tlpi_shards *s = cut(p, n_rank);
            for (int i = 0; i < p->n_stage; i++) {
                check_attn_cover(p, s, i);
                check_ffn_cover(p, s, i);
                check_spans(p, s, i);
            }
            check_vocab(p, s);
            check_bytes(p, s);
            tlpi_shards_free(s);
        }
        tlp_plan_free(p);
        tlp_model_free(m);
    }
}

/* ==== cost =============================================================== */

static tlp_plan_cost cost_of(tlp_model *m, const char *text, int n_rank)
{
    tlp_plan_cost cost = { .struct_size = sizeof cost };
    tlp_plan *p = parse(m, text);

    cr_assert_eq(tlp_plan_get_cost(&cost, p, n_rank), TLP_OK, "%s",
                 tlp_last_error());
    tlp_plan_free(p);
    return cost;
}

Test(cost, eight_pairs_of_smollm2)
{
    static const struct {
        const char *text;
        int n_rank, depth, allreduces, inner, sends;
        uint64_t vectors; /* of n_embd floats that a rank gives */
    } cases[] = {
        { "serial", 2, 30, 60, 0, 0, 60 },
        { "pairs:10-25@lp", 2, 22, 44, 0, 0, 44 },
        { "pairs:10-25@lp-code", 2, 22, 44, 0, 0, 44 },
        { "pairs:10-25@par", 2, 22, 36, 0, 0, 36 },
        { "pairs:10-25@asym", 2, 22, 36, 0, 8, 36 + 8 },
        { "pairs:10-25@merge", 2, 22, 44, 0, 0, 44 },
        /* Two ranks share each member: a rank is in one inner sum a pair. */
        { "pairs:10-25@par", 4, 22, 36, 16, 0, 36 + 8 },
        /* Both members' attention sums side by side in one all-reduce. */
        { "pairs:10-25@asym", 4, 22, 44, 0, 0, 36 + 16 },
        /* Three layers on two ranks: one border, one send. */
        { "asym:3-5", 2, 28, 27 * 2 + 1, 0, 1, 27 * 2 + 1 + 1 },
        { "drop:3;par:10-12", 3, 27, 26 * 2 + 1, 0, 0, 26 * 2 + 1 },
    };
    tlp_model *m = fake_model(&smollm2, q4_1, 1);

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlp_plan_cost c = cost_of(m, cases[i].text, cases[i].n_rank);
        const char *text = cases[i].text;
        cr_expect_eq(c.n_rank, cases[i].n_rank);
        cr_expect_eq(c.effective_depth, cases[i].depth, "%s", text);
        cr_expect_eq(c.allreduces, cases[i].allreduces, "%s: %d", text,
                     c.allreduces);
        cr_expect_eq(c.inner_allreduces, cases[i].inner, "%s: %d", text,
                     c.inner_allreduces);
        cr_expect_eq(c.sends, cases[i].sends, "%s: %d", text, c.sends);
        cr_expect_eq(c.comm_bytes, cases[i].vectors * 576 * sizeof(float), "%s",
                     text);
    }
    tlp_model_free(m);
}

Test(cost, one_rank_pays_nothing_and_reads_every_matrix)
{
    tlp_model *m = fake_model(&smollm2, q4_1, 1);
    tlp_plan_cost c = cost_of(m, "pairs:10-25@asym", 1);
    tlp_plan_cost two = cost_of(m, "pairs:10-25@asym", 2);
    /* Q4_1: 20 bytes for 32 elements; 4 matrices of attention, 3 of the FFN */
    uint64_t layer = (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536) / 32 * 20;
    uint64_t head = (uint64_t)49152 * 576 / 32 * 20;

    cr_expect_eq(c.allreduces, 0);
    cr_expect_eq(c.inner_allreduces, 0);
    cr_expect_eq(c.sends, 0);
    cr_expect_eq(c.comm_bytes, 0);
    cr_expect_eq(c.n_layer, 30);
    cr_expect_eq(c.max_rank_bytes, 30 * layer + head);
    cr_expect_eq(c.sum_rank_bytes, 30 * layer + head);
    /* In each of 14 serial layers one kv head is on both ranks. */
    cr_expect_eq(two.sum_rank_bytes,
                 c.sum_rank_bytes + 14 * 2 * 64 * 576 / 32 * 20);
    cr_expect_lt(two.max_rank_bytes, c.sum_rank_bytes * 51 / 100);
    tlp_model_free(m);
}

Test(cost, merged_and_dropped_layers_do_not_run)
{
    tlp_model *m = fake_model(&smollm2, q4_1, 1);
    tlp_plan_cost c = cost_of(m, "merge:3-5;drop:7,9-10", 1);

    cr_expect_eq(c.n_layer, 30 - 2 - 3);
    cr_expect_eq(c.effective_depth, 30 - 2 - 3);
    tlp_model_free(m);
}

Test(cost, misuse_is_refused)
{
    tlp_model *m = fake_model(&smollm2, q4_1, 1);
    tlp_plan *p = parse(m, "serial");
    tlp_plan_cost c = { .struct_size = sizeof c };

    cr_expect_eq(tlp_plan_get_cost(&c, NULL, 1), TLP_EINVAL);
    cr_expect_eq(tlp_plan_get_cost(NULL, p, 1), TLP_EINVAL);
    cr_expect_eq(tlp_plan_get_cost(&c, p, 0), TLP_EINVAL);
    c.struct_size = 1;
    cr_expect_eq(tlp_plan_get_cost(&c, p, 1), TLP_EINVAL);
    tlp_plan_free(p);
    tlp_model_free(m);
}
