/*
 * stage_half.c - the halves of a stage from the parts that this rank holds:
 * attention, feed-forward, and the norms before them.
 *
 * Shapes: x, delta [T][d]; acc, norm [member][T][d].
 */
#include "rank/stage_half.h"

#include "rank/stage_lora.h"

/* ==== norms ============================================================== */

/* norms[i] = the norms of inputs that are used; returns how many. */
static int list_norms(const tlpi_pass *p, const tlpi_rank_input *input,
                      int n_member)
{
    int n = 0;

    for (int i = 0; i < n_member; i++)
        if (input[i].used)
            p->buf->norms[n++] = (tlpi_norm){ input[i].w, tlpi_input(p, i) };
    return n;
}

void tlpi_post(const tlpi_pass *p, const float *weight, float *v)
{
    const tlpi_norm norm = { weight, v };

    if (weight)
        p->b->ops->add_norm(p->b, p->n_tok, p->hp->n_embd, v, NULL, NULL, &norm,
                            1, p->hp->norm_eps);
}

/* delta = sum_i P_i(acc_i), after the sums over the ranks. */
static tlp_status settle_apart(const tlpi_pass *p, tlpi_owed owed)
{
    tlpi_scratch *buf = p->buf;
    tlp_status st = TLP_OK;

    if (owed.shares)
        TLP_TRY(
            tlpi_exchange_sum(p->exchange, buf->acc, p->n * (size_t)owed.n));
    p->b->ops->zero(p->b, buf->delta, p->n);
    for (int i = 0; i < owed.n; i++) {
        float *v = tlpi_slot(p, buf->acc, i);

        tlpi_post(p, owed.post[i], v);
        p->b->ops->add(p->b, buf->delta, v, p->n);
    }
done:
    return st;
}

tlp_status tlpi_settle(const tlpi_pass *p, tlpi_owed owed)
{
    if (owed.n)
        return settle_apart(p, owed);
    return owed.shares ? tlpi_exchange_sum(p->exchange, p->buf->delta, p->n)
                       : TLP_OK;
}

tlp_status tlpi_enter(const tlpi_pass *p, const tlpi_rank_input *input,
                      int n_member, tlpi_owed owed)
{
    const tlpi_hparams *hp = p->hp;
    tlpi_scratch *buf = p->buf;
    int n = list_norms(p, input, n_member);
    tlp_status st = TLP_OK;

    if (owed.n) {
        TLP_TRY(settle_apart(p, owed));
        owed.shares = false;
    }
    if (owed.shares)
        return tlpi_exchange_sum_norm(p->exchange, p->n_tok, hp->n_embd, buf->x,
                                      buf->delta, buf->norms, n, hp->norm_eps);
    p->b->ops->add_norm(p->b, p->n_tok, hp->n_embd, buf->x, buf->delta, buf->x,
                        buf->norms, n, hp->norm_eps);
done:
    return st;
}

void tlpi_enter_own(const tlpi_pass *p, const tlpi_rank_input *input,
                    int member, const float *sum)
{
    tlpi_norm norm = { input[member].w, tlpi_input(p, member) };

    if (input[member].used)
        p->b->ops->add_norm(p->b, p->n_tok, p->hp->n_embd, p->buf->x, sum, NULL,
                            &norm, 1, p->hp->norm_eps);
}

/* ==== attention ========================================================== */

/* The places of a part's activations in the qkv buffer. */
static tlpi_attn attn_args(const tlpi_pass *p, const tlpi_rank_attn *a)
{
    size_t h = (size_t)p->hp->head_dim, t = (size_t)p->n_tok;
    size_t nq = t * (size_t)a->n_head * h, nk = t * (size_t)a->n_head_kv * h;
    float *q = p->buf->qkv + t * a->at;
    tlpi_attn y = { .q = q,
                    .k = q + 2 * nq,
                    .v = q + 2 * nq + nk,
                    .q_norm = a->t.v[TLPI_ATTN_Q_NORM],
                    .k_norm = a->t.v[TLPI_ATTN_K_NORM],
                    .kv = a->kv,
                    .n_head = a->n_head,
                    .n_head_kv = a->n_head_kv,
                    .y = q + nq,
                    .rope = a->rope,
                    .window = a->window,
                    .scale = p->hp->attention_scale,
                    .sink = a->t.v[TLPI_ATTN_SINKS],
                    .cap = p->hp->attn_cap };

    if (a->row_q) {
        const float *sum = tlpi_row_squares(p, a->row);

        y.q_norm = a->t.v[TLPI_ATTN_Q_ROW_NORM];
        y.k_norm = a->t.v[TLPI_ATTN_K_ROW_NORM];
        y.q_row = (tlpi_row_square){ sum, a->row_q * p->hp->head_dim };
        y.k_row = (tlpi_row_square){ sum + t, a->row_kv * p->hp->head_dim };
    }
    return y;
}

/* The squares of this rank's parts of the rows. */
static void square_parts(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    tlpi_square *item = p->buf->square;
    int n = 0, h = p->hp->head_dim;

    p->b->ops->zero(p->b, p->buf->squares,
                    2 * (size_t)s->n_row * (size_t)p->n_tok);
    for (int i = 0; i < s->n_attn; i++) {
        const tlpi_rank_attn *a = &s->attn[i];
        float *y = tlpi_row_squares(p, a->row);

        item[n++] = (tlpi_square){ p->buf->attn[i].q, a->n_head * h, y };
        if (a->counts_kv)
            item[n++] = (tlpi_square){ p->buf->attn[i].k, a->n_head_kv * h,
                                       y + p->n_tok };
    }
    if (n)
        p->b->ops->sum_squares(p->b, p->n_tok, item, n);
}

/* The squares of whole rows, on all ranks that hold parts of them. */
static tlp_status square_rows(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    size_t n = 2 * (size_t)p->n_tok;
    tlp_status st = TLP_OK;

    if (s->row_ranks == TLPI_ROW_NONE)
        return TLP_OK;
    square_parts(p, s);
    if (s->row_ranks == TLPI_ROW_ALL)
        return tlpi_exchange_sum(p->exchange, p->buf->squares,
                                 n * (size_t)s->n_row);
    for (int m = 0; s->row_ranks == TLPI_ROW_SPAN && m < s->n_row; m++)
        if (s->span[m].count > 1 && tlpi_span_has(s->span[m], p->rank))
            TLP_TRY(tlpi_exchange_sum_span(p->exchange, s->span[m],
                                           tlpi_row_squares(p, m), n));
done:
    return st;
}

/* Queries, keys and values of all parts from norm[member], in one call for the
 * whole group; then attention proper, in one call. */
tlp_status tlpi_attend(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    static const tlpi_layer_id w[] = { TLPI_ATTN_Q, TLPI_ATTN_K, TLPI_ATTN_V };
    static const tlpi_layer_id bias[] = { TLPI_ATTN_Q_BIAS, TLPI_ATTN_K_BIAS,
                                          TLPI_ATTN_V_BIAS };
    tlpi_scratch *buf = p->buf;
    tlpi_lora_call lora = tlpi_lora_begin(p);
    tlp_status st = TLP_OK;

    for (int i = 0; i < s->n_attn; i++) {
        const tlpi_rank_attn *a = &s->attn[i];
        const float *x = tlpi_input(p, a->member);
        tlpi_attn y = attn_args(p, a);
        float *const to[] = { y.q, y.k, (float *)y.v };

        for (int j = 0; j < 3; j++) {
            tlpi_term *t = &buf->term[2 * (3 * i + j)];
            int n = tlpi_lora_terms(&lora, &a->t, w[j], x, 1, t);

            buf->mm[3 * i + j] =
                (tlpi_matmul){ t, n, a->t.v[bias[j]], false, to[j] };
        }
        buf->attn[i] = y;
    }
    tlpi_lora_run(&lora);
    if (s->n_attn)
        p->b->ops->matmul(p->b, p->n_tok, buf->mm, 3 * s->n_attn);
    TLP_TRY(square_rows(p, s));
    if (s->n_attn)
        p->b->ops->attention(p->b, p->step, buf->attn, s->n_attn,
                             p->hp->head_dim, p->hp->norm_eps);
done:
    return st;
}

/* The terms of a part's output projection; returns how many. */
static int out_terms(tlpi_lora_call *lora, const tlpi_rank_stage *s,
                     const tlpi_rank_attn *a, tlpi_term *term)
{
    return tlpi_lora_terms(lora, &a->t, TLPI_ATTN_OUTPUT,
                           attn_args(lora->p, a).y, s->attn_gain[a->member],
                           term);
}

/* y = sum over the parts of their output projections. */
void tlpi_project_sum(const tlpi_pass *p, const tlpi_rank_stage *s, float *y)
{
    tlpi_matmul m = { p->buf->term, 0, s->o_bias, false, y };
    tlpi_lora_call lora = tlpi_lora_begin(p);

    for (int i = 0; i < s->n_attn; i++)
        m.n_term += out_terms(&lora, s, &s->attn[i], &p->buf->term[m.n_term]);
    tlpi_lora_run(&lora);
    if (s->n_attn)
        p->b->ops->matmul(p->b, p->n_tok, &m, 1);
    else
        p->b->ops->zero(p->b, y, p->n);
}

/* attn_sum[member] = this rank's share of that member's output projection: a
 * term for each of its parts, which are neighbours in the list. */
void tlpi_project_each(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    tlpi_matmul *mm = p->buf->mm;
    tlpi_term *term = p->buf->term;
    tlpi_lora_call lora = tlpi_lora_begin(p);
    int n = 0;

    for (int i = 0; i < s->n_attn; i++) {
        const tlpi_rank_attn *a = &s->attn[i];
        int n_term = out_terms(&lora, s, a, term);

        if (i > 0 && s->attn[i - 1].member == a->member)
            mm[n - 1].n_term += n_term;
        else
            mm[n++] =
                (tlpi_matmul){ term, n_term, a->t.v[TLPI_ATTN_OUTPUT_BIAS],
                               false, tlpi_attn_sum(p, s, a->member) };
        term += n_term;
    }
    tlpi_lora_run(&lora);
    if (n)
        p->b->ops->matmul(p->b, p->n_tok, mm, n);
}

/* ==== feed-forward ======================================================= */

/* The experts that part i reads; NULL: it is none of experts. */
static const tlpi_routes *routes_of(const tlpi_pass *p, int i)
{
    return p->buf->n_route ? p->buf->route[i].routes : NULL;
}

/* Each part's router chooses by what the part itself reads.  The ranks that
 * hold parts of one member read equal bits, so that they choose alike. */
static void route(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    for (int i = 0; i < s->n_ffn; i++) {
        const tlpi_rank_ffn *f = &s->ffn[i];
        float *score = tlpi_scores(p, i);

        p->buf->term[i] = (tlpi_term){ f->t.w[TLPI_FFN_ROUTER],
                                       tlpi_input(p, f->norm), 1, NULL, NULL };
        p->buf->mm[i] =
            (tlpi_matmul){ &p->buf->term[i], 1, f->t.v[TLPI_FFN_ROUTER_BIAS],
                           false, score };
        p->buf->route[i].score = score;
    }
    if (s->n_ffn == 0)
        return;
    p->b->ops->matmul(p->b, p->n_tok, p->buf->mm, s->n_ffn);
    p->b->ops->route(p->b, p->n_tok, p->buf->route, s->n_ffn);
}

/* hidden = fn(gate x) * (up x) of all parts, x = norm[part.norm] */
void tlpi_expand(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    tlpi_lora_call lora = tlpi_lora_begin(p);

    if (p->buf->n_route)
        route(p, s);
    for (int i = 0; i < s->n_ffn; i++) {
        const tlpi_rank_ffn *f = &s->ffn[i];
        const float *x = tlpi_input(p, f->norm);

        p->buf->gate_up[i] = (tlpi_gate_up){
            .gate = f->t.w[TLPI_FFN_GATE],
            .up = f->t.w[TLPI_FFN_UP],
            .x = x,
            .y = tlpi_hidden(p, f),
            .gate_fn = tlpi_arch_get(p->hp)->gate,
            .gate_more = tlpi_lora_term(&lora, &f->t, TLPI_FFN_GATE, x, 1),
            .up_more = tlpi_lora_term(&lora, &f->t, TLPI_FFN_UP, x, 1),
            .routes = routes_of(p, i),
            .gate_bias = f->t.v[TLPI_FFN_GATE_BIAS],
            .up_bias = f->t.v[TLPI_FFN_UP_BIAS],
        };
    }
    tlpi_lora_run(&lora);
    if (s->n_ffn)
        p->b->ops->gate_up(p->b, p->n_tok, p->buf->gate_up, s->n_ffn);
}

/* The terms of part i's down projection; returns how many. */
static int down_terms(tlpi_lora_call *lora, const tlpi_rank_stage *s, int i,
                      tlpi_term *term)
{
    const tlpi_rank_ffn *f = &s->ffn[i];
    int n = tlpi_lora_terms(lora, &f->t, TLPI_FFN_DOWN, tlpi_hidden(lora->p, f),
                            s->ffn_gain[f->member], term);

    term->routes = routes_of(lora->p, i);
    term->expert_bias = f->t.v[TLPI_FFN_DOWN_BIAS];
    return n;
}

/* delta (+)= sum over the parts of their down projections */
static void contract(const tlpi_pass *p, const tlpi_rank_stage *s, bool add)
{
    tlpi_matmul m = { p->buf->term, 0, NULL, add, p->buf->delta };
    tlpi_lora_call lora = tlpi_lora_begin(p);

    for (int i = 0; i < s->n_ffn; i++)
        m.n_term += down_terms(&lora, s, i, &p->buf->term[m.n_term]);
    tlpi_lora_run(&lora);
    if (s->n_ffn)
        p->b->ops->matmul(p->b, p->n_tok, &m, 1);
    else if (!add)
        p->b->ops->zero(p->b, p->buf->delta, p->n);
}

/* delta (+)= sum over the parts of their feed-forward, from norm.  A correction
 * of the stage's output also puts what it reads of the attention into delta. */
tlp_status tlpi_feed_forward(const tlpi_pass *p, const tlpi_rank_stage *s,
                             bool add)
{
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_FFN_IN));
    tlpi_expand(p, s);
    TLP_TRY(tlpi_tap(p, s, TLPI_PROBE_FFN));
    if (tlpi_corrects_output(s))
        tlpi_correct_output(p, s);
    else
        contract(p, s, add);
done:
    return st;
}

/* ==== each member on its own ============================================= */

static bool has_attn(const tlpi_rank_stage *s, int member)
{
    bool have = false;

    for (int i = 0; i < s->n_attn; i++)
        have |= s->attn[i].member == member;
    return have;
}

static bool has_ffn(const tlpi_rank_stage *s, int member)
{
    bool have = false;

    for (int i = 0; i < s->n_ffn; i++)
        have |= s->ffn[i].member == member;
    return have;
}

void tlpi_zero_missing(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    for (int m = 0; m < s->n_member; m++)
        if (!has_attn(s, m))
            p->b->ops->zero(p->b, tlpi_attn_sum(p, s, m), p->n);
}

void tlpi_project_ffns(const tlpi_pass *p, const tlpi_rank_stage *s,
                       float *base, int first)
{
    tlpi_matmul *mm = p->buf->mm;
    tlpi_term *term = p->buf->term;
    tlpi_lora_call lora = tlpi_lora_begin(p);
    int n = 0;

    for (int i = 0; i < s->n_ffn; i++) {
        int n_term = down_terms(&lora, s, i, term);

        if (tlpi_begins_member(s, i))
            mm[n++] =
                (tlpi_matmul){ term, n_term, NULL, false,
                               tlpi_slot(p, base, s->ffn[i].member - first) };
        else
            mm[n - 1].n_term += n_term;
        term += n_term;
    }
    tlpi_lora_run(&lora);
    if (n)
        p->b->ops->matmul(p->b, p->n_tok, mm, n);
}

void tlpi_contract_each(const tlpi_pass *p, const tlpi_rank_stage *s)
{
    for (int m = 0; m < s->n_member; m++)
        if ((!s->span || tlpi_span_has(s->span[m], p->rank)) && !has_ffn(s, m))
            p->b->ops->zero(p->b, tlpi_attn_sum(p, s, m), p->n);
    tlpi_project_ffns(p, s, s->carried < 0 ? p->buf->acc : p->buf->delta,
                      TLPI_MAX(s->carried, 0));
}
