/*
 * shard.c - turn the borders of each stage into lists of parts for each rank.
 */
#include "plan/shard.h"

#include "plan/shard_cut.h"

/* Largest number of ranks in a cut; it bounds the tables. */
#define MAX_SHARD 1024

/* Rows of gate and up, and of the output head, are packed in blocks of this
 * size. */
#define ROW_BLOCK 16

static int gcd(int a, int b)
{
    while (b != 0) {
        int t = a % b;
        a = b;
        b = t;
    }
    return a;
}

static int lcm(int a, int b)
{
    return a / gcd(a, b) * b;
}

static int block_of(const tlpi_tensor *t)
{
    return tlpi_dtype_get((uint32_t)t->type)->block;
}

/* Bytes that a token reads: of a stack those of the experts that it chooses. */
static uint64_t bytes_of(const tlpi_hparams *hp, const tlpi_tensor_row *row,
                         const tlpi_tensor *t)
{
    uint64_t n_expert = (uint64_t)tlpi_row_depth(row, hp);

    return n_expert > 1 ? t->n_bytes / n_expert * (uint64_t)hp->n_expert_used
                        : t->n_bytes;
}

/* Add a matrix to a member: its bytes, and the distance between legal cuts of
 * its columns.  Quantised rows can be cut only between blocks. */
static void add_matrix(tlpi_member *m, const tlpi_hparams *hp,
                       const tlpi_tensor_row *row, const tlpi_tensor *t,
                       uint64_t bytes[TLPI_N_AXIS])
{
    tlpi_axis cols = tlpi_extent_axis(row->cols);
    int block = block_of(t), unit = tlpi_extent_unit(row->cols, hp);
    int *step = cols == TLPI_AXIS_FF ? &m->ff_step : &m->head_step;
    uint64_t n = bytes_of(hp, row, t);

    *(row->half == TLPI_HALF_ATTN ? &m->attn_bytes : &m->ffn_bytes) += n;
    bytes[tlpi_row_axis(row)] += n;
    if (cols != TLPI_AXIS_WHOLE)
        *step = lcm(*step, block / gcd(block, unit));
}

static tlpi_member member_of(const tlp_model *m, int layer)
{
    const tlpi_layer *l = &m->w.layer[layer];
    tlpi_member member = { .head_step = 1, .ff_step = ROW_BLOCK };
    uint64_t bytes[TLPI_N_AXIS] = { 0 };

    for (size_t i = 0; i < TLPI_N_LAYER_TENSOR; i++)
        if (l->t[i] && tlpi_row_is_matrix(&tlpi_layer_table[i]))
            add_matrix(&member, &m->hp, &tlpi_layer_table[i], l->t[i], bytes);
    member.head_bytes = bytes[TLPI_AXIS_HEAD] / (uint64_t)m->hp.n_head;
    member.kv_bytes = bytes[TLPI_AXIS_HEAD_KV] / (uint64_t)m->hp.n_head_kv;
    return member;
}

/* Fill `member`; returns the number of members.  Merged layers are one member:
 * it has the size of the first layer, and cuts that are legal in all layers. */
static int list_members(const tlp_model *m, const tlpi_stage *stage,
                        tlpi_member *member)
{
    for (int i = 0; i < stage->n_member; i++) {
        member[i] = member_of(m, stage->layers[i]);
        if (stage->mode == TLP_MODE_MERGE) {
            member[0].head_step = lcm(member[0].head_step, member[i].head_step);
            member[0].ff_step = lcm(member[0].ff_step, member[i].ff_step);
        }
    }
    return stage->mode == TLP_MODE_MERGE ? 1 : stage->n_member;
}

/*
 * Add query heads [h0, h1) of a member as parts.  Whole kv groups are one part.
 * A kv group that two ranks share is a part on each: a rank has some of its
 * query heads, and the kv head itself is on both ranks.
 */
static int emit_heads(int member, int h0, int h1, int group,
                      tlpi_attn_part *out)
{
    int n = 0;

    for (int at = h0, end; at < h1; at = end) {
        bool whole = at % group == 0 && at + group <= h1;
        end =
            whole ? h1 / group * group : TLPI_MIN(h1, (at / group + 1) * group);
        out[n++] = (tlpi_attn_part){ member, at / group,
                                     (end + group - 1) / group, at, end };
    }
    return n;
}

static int emit_attn(const tlpi_cut *c, int rank, int group,
                     tlpi_attn_part *out)
{
    int n = 0;

    for (int64_t at = c->head[rank], end; at < c->head[rank + 1]; at = end) {
        int64_t first = at / c->n_head * c->n_head;
        end = TLPI_MIN(first + c->n_head, c->head[rank + 1]);
        n += emit_heads((int)(first / c->n_head), (int)(at - first),
                        (int)(end - first), group, out + n);
    }
    return n;
}

tlpi_part tlpi_attn_units(const tlpi_attn_part *p)
{
    tlpi_part part = { .begin = { 0 } };

    part.begin[TLPI_AXIS_HEAD] = p->q0;
    part.end[TLPI_AXIS_HEAD] = p->q1;
    part.begin[TLPI_AXIS_HEAD_KV] = p->kv0;
    part.end[TLPI_AXIS_HEAD_KV] = p->kv1;
    return part;
}

tlpi_part tlpi_ffn_units(const tlpi_ffn_part *p)
{
    tlpi_part part = { .begin = { 0 } };

    part.begin[TLPI_AXIS_FF] = p->ff0;
    part.end[TLPI_AXIS_FF] = p->ff1;
    return part;
}

/* End of slice s of a member's ff columns.  In lp-code slice s of every member
 * reads its input through norm s. */
static int slice_end(const tlpi_cut *c, int member, int s)
{
    return (int)tlpi_cut_snap(c->n_ff, c->member[member].ff_step,
                              (double)(s + 1) / c->n_member);
}

static int emit_ffn(const tlpi_cut *c, int rank, bool lp_code,
                    tlpi_ffn_part *out)
{
    int n = 0;

    for (int64_t at = c->ff[rank], end; at < c->ff[rank + 1]; at = end) {
        int64_t first = at / c->n_ff * c->n_ff;
        int member = (int)(first / c->n_ff), norm = member;
        end = TLPI_MIN(first + c->n_ff, c->ff[rank + 1]);
        if (lp_code) {
            for (norm = 0; first + slice_end(c, member, norm) <= at;)
                norm++;
            end = TLPI_MIN(end, first + slice_end(c, member, norm));
        }
        out[n++] = (tlpi_ffn_part){ member, norm, (int)(at - first),
                                    (int)(end - first) };
    }
    return n;
}

/* Weight bytes that a part reads. */
static uint64_t attn_bytes(const tlpi_member *m, const tlpi_attn_part *p)
{
    return m->head_bytes * (uint64_t)(p->q1 - p->q0) +
           m->kv_bytes * (uint64_t)(p->kv1 - p->kv0);
}

/* How a stage is cut. */
typedef struct layout {
    int mode;
    int n_member; /* layers, or tracks of one layer */
    int n_track;  /* 0 if the members are layers */
    int n_part;   /* the list is cut into: ranks, or the tracks of one rank */
} layout;

static void count_bytes(tlpi_shards *s, const tlpi_cut *c, int rank,
                        const tlpi_stage_shard *p)
{
    for (int i = 0; i < p->n_attn; i++)
        s->rank_bytes[rank] +=
            attn_bytes(&c->member[p->attn[i].member], &p->attn[i]);
    for (int i = 0; i < p->n_ffn; i++)
        s->rank_bytes[rank] += c->member[p->ffn[i].member].ffn_bytes *
                               (uint64_t)(p->ffn[i].ff1 - p->ffn[i].ff0) /
                               (uint64_t)c->n_ff;
}

/* The parts of the only member become the track's. */
static void set_track(tlpi_stage_shard *p, int track)
{
    for (int i = 0; i < p->n_attn; i++)
        p->attn[i].member = track;
    for (int i = 0; i < p->n_ffn; i++)
        p->ffn[i].member = p->ffn[i].norm = track;
}

static void emit_parts(tlpi_shards *s, const tlpi_cut *c, int stage,
                       const layout *l, int group)
{
    size_t base = (size_t)stage * (size_t)s->n_rank;
    tlpi_attn_part *attn = s->part[base].attn;
    tlpi_ffn_part *ffn = s->part[base].ffn;

    for (int i = 0; i < l->n_part; i++) {
        int rank = s->n_rank > 1 ? i : 0;
        tlpi_stage_shard *p = &s->part[base + (size_t)rank];
        tlpi_stage_shard part = { .attn = attn, .ffn = ffn };

        part.n_attn = emit_attn(c, i, group, attn);
        part.n_ffn = emit_ffn(c, i, l->mode == TLP_MODE_LP_CODE, ffn);
        count_bytes(s, c, rank, &part);
        if (l->n_track)
            set_track(&part, i * l->n_track / l->n_part);
        if (i == rank)
            *p = (tlpi_stage_shard){ .attn = attn, .ffn = ffn };
        p->n_attn += part.n_attn;
        p->n_ffn += part.n_ffn;
        attn += part.n_attn;
        ffn += part.n_ffn;
    }
}

static bool holds(const tlpi_stage_shard *p, int member)
{
    for (int i = 0; i < p->n_attn; i++) {
        if (p->attn[i].member == member)
            return true;
    }
    for (int i = 0; i < p->n_ffn; i++) {
        if (p->ffn[i].member == member)
            return true;
    }
    return false;
}

static void find_spans(tlpi_shards *s, int stage, int n_member)
{
    tlpi_span *span = s->span[stage];

    for (int i = 0; i < n_member; i++) {
        for (int r = 0; r < s->n_rank; r++) {
            if (!holds(tlpi_shard_at(s, stage, r), i))
                continue;
            if (span[i].count++ == 0)
                span[i].first = r;
        }
    }
}

static bool is_cut_by_members(int mode)
{
    return mode == TLP_MODE_PAR || mode == TLP_MODE_ASYM;
}

/* Track t is on n_rank / n_track ranks, or on the only rank. */
static void set_track_spans(tlpi_shards *s, int stage, int n_track)
{
    int n = TLPI_MAX(1, s->n_rank / n_track);

    for (int t = 0; t < n_track; t++)
        s->span[stage][t] = (tlpi_span){ s->n_rank > 1 ? t * n : 0, n };
}

/* Allocate room for the parts.  The list is cut at n_part-1 borders and between
 * members, and a border inside a kv group adds a part on both sides.  In
 * lp-code the norms cut the ff columns too. */
static tlp_status alloc_stage(tlpi_shards *s, int stage, const layout *l)
{
    size_t n = (size_t)l->n_member, n_part = (size_t)l->n_part;
    size_t n_ffn = n_part + (l->mode == TLP_MODE_LP_CODE ? n * n : n);
    tlpi_stage_shard *p = &s->part[(size_t)stage * (size_t)s->n_rank];
    bool spans = is_cut_by_members(l->mode) || l->n_track;

    p->attn = tlpi_alloc_array(s->env, 3 * (n_part + n), sizeof *p->attn);
    p->ffn = tlpi_alloc_array(s->env, n_ffn, sizeof *p->ffn);
    if (spans)
        s->span[stage] = tlpi_calloc(s->env, n, sizeof **s->span);
    if (!p->attn || !p->ffn || (spans && !s->span[stage]))
        return tlpi_fail_nomem_for("shards");
    return TLP_OK;
}

static tlp_status cut_stage(tlpi_shards *s, tlpi_cut *c, tlpi_member *member,
                            const tlp_plan *plan, int stage)
{
    const tlpi_stage *st = &plan->stage[stage];
    layout l = { .mode = st->mode,
                 .n_member = tlpi_plan_n_member(plan, stage),
                 .n_part = s->n_rank };

    if (tlpi_plan_has_tracks(plan, stage)) {
        l.n_track = plan->n_track;
        l.n_part = TLPI_MAX(s->n_rank, plan->n_track);
    }
    c->n_member = list_members(plan->model, st, member);
    c->n_rank = l.n_part;
    tlp_status status = alloc_stage(s, stage, &l);
    if (status != TLP_OK)
        return status;
    if (l.n_track)
        tlpi_cut_tracks(c, l.n_track);
    else if (is_cut_by_members(l.mode))
        tlpi_cut_members(c);
    else
        tlpi_cut_wide(c);
    emit_parts(s, c, stage, &l, c->n_head / plan->model->hp.n_head_kv);
    if (l.n_track)
        set_track_spans(s, stage, l.n_track);
    else if (is_cut_by_members(l.mode))
        find_spans(s, stage, l.n_member);
    return TLP_OK;
}

static tlp_status cut_stages(tlpi_shards *s, const tlp_plan *plan)
{
    const tlpi_env *env = s->env;
    size_t n_part = (size_t)TLPI_MAX(s->n_rank, plan->n_track);
    tlpi_member *member =
        tlpi_alloc_array(env, (size_t)plan->model->hp.n_layer, sizeof *member);
    tlpi_cut c = {
        .member = member,
        .n_head = plan->model->hp.n_head,
        .n_ff = plan->model->hp.n_ff,
        .head = tlpi_alloc_array(env, n_part + 1, sizeof *c.head),
        .ff = tlpi_alloc_array(env, n_part + 1, sizeof *c.ff),
        .want = tlpi_alloc_array(env, n_part, sizeof *c.want),
    };
    tlp_status st = TLP_OK;

    if (!member || !c.head || !c.ff || !c.want)
        TLP_TRY(tlpi_fail_nomem_for("shards"));
    for (int i = 0; i < s->n_stage; i++)
        TLP_TRY(cut_stage(s, &c, member, plan, i));
done:
    tlpi_free(env, c.want);
    tlpi_free(env, c.ff);
    tlpi_free(env, c.head);
    tlpi_free(env, member);
    return st;
}

static void cut_vocab(tlpi_shards *s, const tlp_model *m)
{
    int n_vocab = m->hp.n_vocab;
    uint64_t row_bytes = m->w.t[TLPI_OUTPUT]->n_bytes / (uint64_t)n_vocab;

    s->vocab[0] = 0;
    for (int r = 0; r < s->n_rank; r++) {
        double share = (double)(r + 1) / s->n_rank;
        s->vocab[r + 1] = (int)tlpi_cut_snap(n_vocab, ROW_BLOCK, share);
        s->rank_bytes[r] +=
            (uint64_t)(s->vocab[r + 1] - s->vocab[r]) * row_bytes;
    }
}

tlp_status tlpi_shards_create(tlpi_shards **out, const tlp_plan *plan,
                              int n_rank)
{
    const tlpi_env *env = &plan->model->env;
    size_t n_stage = (size_t)plan->n_stage;
    tlpi_shards *s = NULL;
    tlp_status st = TLP_OK;

    *out = NULL;
    if (n_rank < 1 || n_rank > MAX_SHARD)
        return tlpi_fail(TLP_EINVAL, "n_rank is %d, 1 to %d expected", n_rank,
                         MAX_SHARD);
    if (plan->n_track && n_rank > 1 && n_rank % plan->n_track)
        return tlpi_fail(TLP_EINVAL,
                         "n_rank is %d, the plan has %d tracks: 1 or a "
                         "multiple of %d expected",
                         n_rank, plan->n_track, plan->n_track);
    s = tlpi_calloc(env, 1, sizeof *s);
    if (!s)
        return tlpi_fail_nomem_for("shards");
    s->env = env;
    s->n_rank = n_rank;
    s->n_stage = plan->n_stage;
    s->part = tlpi_calloc(env, n_stage * (size_t)n_rank, sizeof *s->part);
    s->span = tlpi_calloc(env, n_stage, sizeof *s->span);
    s->vocab = tlpi_calloc(env, (size_t)n_rank + 1, sizeof *s->vocab);
    s->rank_bytes = tlpi_calloc(env, (size_t)n_rank, sizeof *s->rank_bytes);
    if (!s->part || !s->span || !s->vocab || !s->rank_bytes)
        TLP_TRY(tlpi_fail_nomem_for("shards"));
    TLP_TRY(cut_stages(s, plan));
    cut_vocab(s, plan->model);
    *out = s;
    s = NULL;
done:
    tlpi_shards_free(s);
    return st;
}

void tlpi_shards_free(tlpi_shards *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_stage && s->part; i++) {
        /* The lists of rank 0 are the first lists of the stage. */
        tlpi_stage_shard *p = &s->part[(size_t)i * (size_t)s->n_rank];
        tlpi_free(s->env, p->attn);
        tlpi_free(s->env, p->ffn);
    }
    for (int i = 0; i < s->n_stage && s->span; i++)
        tlpi_free(s->env, s->span[i]);
    tlpi_free(s->env, s->span);
    tlpi_free(s->env, s->part);
    tlpi_free(s->env, s->vocab);
    tlpi_free(s->env, s->rank_bytes);
    tlpi_free(s->env, s);
}
