/*
 * eval.c - from batches of the caller to steps of the network.
 *
 * A batch is checked whole before anything runs.  It is cut into steps of at
 * most n_batch tokens, ordered by sequence inside a step as the backends want
 * it.  Positions move only after the last step: keys and values that a failed
 * call wrote are past the end of their sequences and are never read.  Their
 * pages go back.
 */
#include <string.h>

#include "session/pooling.h"

/* ==== checks ============================================================= */

static int32_t seq_of(const tlp_batch *b, size_t i)
{
    return b->seqs ? b->seqs[i] : 0;
}

static tlp_status fail_full(const tlp_session *s, int32_t seq, size_t n)
{
    return tlpi_fail(TLP_EFULL,
                     "sequence %d: %zu tokens after %d do not fit in n_ctx %d",
                     seq, n, s->pos[seq], s->cfg.n_ctx);
}

/* Sequences and room; new_pos gets the positions after the batch.  Of a batch
 * that cannot fit, at most one array's worth of positions is read. */
static tlp_status check_room(tlp_session *s, const tlp_batch *b)
{
    size_t room = (size_t)s->cfg.n_ctx * (size_t)s->cfg.n_seq;

    memcpy(s->new_pos, s->pos, (size_t)s->cfg.n_seq * sizeof(*s->pos));
    if (!b->seqs) {
        if (b->n > (size_t)(s->cfg.n_ctx - s->pos[0]))
            return fail_full(s, 0, b->n);
        s->new_pos[0] += (int32_t)b->n;
        return TLP_OK;
    }
    if (b->n > room)
        return tlpi_fail(TLP_EFULL,
                         "%zu tokens do not fit in %d sequences of n_ctx %d",
                         b->n, s->cfg.n_seq, s->cfg.n_ctx);
    for (size_t i = 0; i < b->n; i++) {
        int32_t seq = b->seqs[i];

        if (seq < 0 || seq >= s->cfg.n_seq)
            return tlpi_fail(TLP_EINVAL,
                             "token %zu: sequence %d is outside 0 to %d", i,
                             seq, s->cfg.n_seq - 1);
        if (s->new_pos[seq]++ >= s->cfg.n_ctx)
            return fail_full(s, seq, b->n);
    }
    return TLP_OK;
}

static tlp_status check_batch(tlp_session *s, const tlp_batch *b)
{
    tlp_status st = TLP_OK;

    if (b->n == 0 || !b->tokens)
        return tlpi_fail(TLP_EINVAL, "a batch needs at least one token");
    TLP_TRY(check_room(s, b));
    TLP_TRY(tlpi_session_check_ids(s, b->tokens, b->n));
    for (size_t i = 0; b->want_logits && i < b->n; i++)
        if (b->want_logits[i] > 1)
            TLP_TRY(tlpi_fail(TLP_EINVAL,
                              "batch want_logits[%zu]: %d, 0 or 1 expected", i,
                              b->want_logits[i]));
done:
    return st;
}

/* mark[seq] = index + 1 of the last token of each sequence, for batches that do
 * not choose their logits. */
static void mark_last(tlp_session *s, const tlp_batch *b)
{
    memset(s->mark, 0, (size_t)s->cfg.n_seq * sizeof(*s->mark));
    for (size_t i = 0; i < b->n; i++)
        s->mark[seq_of(b, i)] = (int32_t)(i + 1);
}

static bool wants_logits(const tlp_session *s, const tlp_batch *b, size_t i)
{
    return b->want_logits ? b->want_logits[i] != 0
                          : s->mark[seq_of(b, i)] == (int32_t)(i + 1);
}

/* One token per sequence: a decode step. */
static bool is_decode(const tlp_session *s, const tlp_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (s->new_pos[seq_of(b, i)] != s->pos[seq_of(b, i)] + 1)
            return false;
    return true;
}

/* ==== rows of logits ===================================================== */

/* Replace the room on rank 0 by room for `rows` rows, after all ranks have
 * made theirs. */
static tlp_status resize_rows(tlp_session *s, size_t rows)
{
    size_t n_vocab = (size_t)s->plan->model->hp.n_vocab, n = 0;
    tlpi_command cmd = { .op = TLPI_OP_RESERVE, .n_row = (int32_t)rows };
    float *row = NULL;
    uint8_t *here = NULL;
    tlpi_place *place = NULL;
    tlp_status st = TLP_OK;

    if (rows > INT32_MAX || !tlpi_mul(rows, n_vocab, &n))
        return tlpi_fail_nomem_for("%zu rows of logits", rows);
    row = tlpi_alloc_array(s->env, n, sizeof(*row));
    here = row ? tlpi_calloc(s->env, rows, 1) : NULL;
    place = here ? tlpi_calloc(s->env, rows, sizeof(*place)) : NULL;
    if (!place)
        TLP_TRY(tlpi_fail_nomem_for("%zu rows of logits", rows));
    TLP_TRY(tlpi_session_command(s, &cmd, NULL));
    tlpi_free(s->env, s->row);
    tlpi_free(s->env, s->row_here);
    tlpi_free(s->env, s->place);
    s->row = row;
    s->row_here = here;
    s->place = place;
    s->row_cap = rows;
    return TLP_OK;
done:
    tlpi_free(s->env, row);
    tlpi_free(s->env, here);
    tlpi_free(s->env, place);
    return st;
}

tlp_status tlpi_session_fit_rows(tlp_session *s, size_t rows)
{
    size_t want = TLPI_MAX(rows, (size_t)s->cfg.n_row);

    tlpi_session_drop_rows(s);
    if (want > s->row_cap)
        return resize_rows(s, want);
    /* Ranks have room for a chunk at any time: less is not worth a message. */
    if (s->row_cap <= TLPI_MAX(want, TLPI_LOGIT_CHUNK))
        return TLP_OK;
    tlp_status st = resize_rows(s, want);
    return st == TLP_ENOMEM ? TLP_OK : st; /* the larger room does too */
}

/* ==== steps ============================================================== */

/*
 * Fill rank 0's step with tokens [at, at + n) of the batch, sequence by
 * sequence (stably, so that each keeps its order); new_pos counts up.  row[]
 * lists the tokens whose logits are wanted, in the batch's order.
 */
static void fill_step(tlp_session *s, const tlp_batch *b, size_t at, int n,
                      tlpi_command *cmd)
{
    tlpi_step_arrays *a = &s->rank0->scratch.step;
    int32_t *next = s->next, begin = 0;

    memset(next, 0, (size_t)s->cfg.n_seq * sizeof(*next));
    for (int i = 0; i < n; i++)
        next[seq_of(b, at + (size_t)i)]++;
    for (int seq = 0; seq < s->cfg.n_seq; seq++) {
        int32_t count = next[seq];
        next[seq] = begin;
        begin += count;
    }
    cmd->n_tok = n;
    cmd->n_row = 0;
    for (int i = 0; i < n; i++) {
        size_t t = at + (size_t)i;
        int32_t seq = seq_of(b, t), k = next[seq]++;

        a->id[k] = b->tokens[t];
        a->seq[k] = seq;
        a->pos[k] = s->new_pos[seq]++;
        tlpi_session_history(s, seq)[a->pos[k]] = a->id[k];
        if (wants_logits(s, b, t)) {
            s->place[cmd->row + cmd->n_row] = (tlpi_place){ seq, a->pos[k] };
            a->row[cmd->n_row++] = k;
        }
    }
}

/* Pages for the positions of rank 0's step. */
static tlp_status fit_step(tlp_session *s, int n_tok)
{
    const tlpi_step_arrays *a = &s->rank0->scratch.step;
    int first = 0;

    tlpi_cache_plan(s);
    for (int i = 1; i <= n_tok; i++) {
        if (i < n_tok && a->seq[i] == a->seq[first])
            continue;
        tlpi_cache_write(s, a->seq[first], a->pos[first], a->pos[i - 1] + 1);
        first = i;
    }
    return tlpi_cache_fit(s);
}

/* Run a step.  It returns candidates of its rows if sampling is expected to ask
 * for them. */
static tlp_status run_step(tlp_session *s, tlpi_command *cmd)
{
    tlpi_top_rows *t = &s->top;
    tlpi_results res = { .top = t->all };

    tlp_status st = fit_step(s, cmd->n_tok);
    if (st != TLP_OK)
        return st;
    t->n_row = 0;
    if (cmd->n_row * t->hint <= TLPI_MAX_TOP && cmd->n_row > 0)
        cmd->k = t->hint;
    st = tlpi_session_command(s, cmd, &res);
    if (st == TLP_OK && cmd->k) {
        t->row = cmd->row;
        t->n_row = cmd->n_row;
        t->k = cmd->k;
    }
    return st;
}

static tlp_status run_batch(tlp_session *s, const tlp_batch *b,
                            tlpi_pooling *const *pool)
{
    size_t n_batch = (size_t)s->cfg.n_batch;
    int row = 0;

    memcpy(s->new_pos, s->pos, (size_t)s->cfg.n_seq * sizeof(*s->pos));
    for (size_t at = 0; at < b->n; at += n_batch) {
        tlpi_command cmd = { .op = TLPI_OP_STEP, .row = row };

        fill_step(s, b, at, (int)TLPI_MIN(n_batch, b->n - at), &cmd);
        tlp_status st = run_step(s, &cmd);
        if (st == TLP_OK && pool)
            st = tlpi_session_pool_step(s, cmd.n_tok, pool);
        if (st != TLP_OK)
            return st;
        s->stats.n_step++;
        row += cmd.n_row;
    }
    s->n_row = (size_t)row;
    return TLP_OK;
}

/* TLP_EFULL if there are too few pages for what the batch adds, and for what is
 * lost. */
static tlp_status check_pages(tlp_session *s)
{
    tlpi_cache_plan(s);
    for (int32_t i = 0; i < s->cfg.n_seq; i++)
        if (s->new_pos[i] > s->pos[i])
            tlpi_cache_write(s, i, s->cache.seq[i].lost ? 0 : s->pos[i],
                             s->new_pos[i]);
    return tlpi_cache_check(s);
}

/* Before the batch, its sequences get back what they have lost. */
static tlp_status recompute(tlp_session *s, const tlp_batch *b)
{
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < b->n && st == TLP_OK; i++)
        if (s->cache.seq[seq_of(b, i)].lost)
            st = tlpi_session_recompute(s, seq_of(b, i));
    return st;
}

static void commit_positions(tlp_session *s)
{
    memcpy(s->pos, s->new_pos, (size_t)s->cfg.n_seq * sizeof(*s->pos));
}

static tlp_status eval(tlp_session *s, const tlp_batch *b,
                       tlpi_pooling *const *pool)
{
    size_t rows = 0;
    tlp_status st = TLP_OK;

    TLP_TRY(check_batch(s, b));
    TLP_TRY(check_pages(s));
    bool decode = is_decode(s, b);
    mark_last(s, b);
    for (size_t i = 0; i < b->n; i++)
        rows += wants_logits(s, b, i);
    TLP_TRY(tlpi_session_fit_rows(s, rows));
    tlpi_session_clock clock = tlpi_session_clock_start(s);
    memset(s->row_here, 0, s->row_cap);
    st = recompute(s, b);
    if (st == TLP_OK)
        st = run_batch(s, b, pool);
    tlpi_session_clock_stop(s, &clock);
    if (st != TLP_OK) {
        if (!s->broken)
            (void)tlpi_cache_settle(s);
        goto done;
    }
    commit_positions(s);
    *(decode ? &s->stats.n_decode : &s->stats.n_prefill) += b->n;
done:
    return st;
}

/* ==== calls ============================================================== */

tlp_status tlpi_session_eval_pooled(tlp_session *s, const tlp_batch *batch,
                                    tlpi_pooling *const *pool)
{
    tlp_batch b = { 0 };
    tlp_status st = tlpi_session_check(s);

    if (st == TLP_OK && !batch)
        st = tlpi_fail(TLP_EINVAL, "batch is required");
    if (st == TLP_OK)
        st = tlpi_options_read(&b, sizeof(b), batch, "tlp_batch");
    return st == TLP_OK ? eval(s, &b, pool) : st;
}

tlp_status tlpi_session_eval(tlp_session *s, const tlp_batch *batch)
{
    return tlpi_session_eval_pooled(s, batch, NULL);
}

tlp_status tlpi_session_prefill(tlp_session *s, const int32_t *tokens, size_t n)
{
    tlp_batch b = { sizeof(b), n, tokens, NULL, NULL };
    tlp_status st = tlpi_session_check(s);

    return st == TLP_OK ? eval(s, &b, NULL) : st;
}

size_t tlp_session_n_logits(const tlp_session *s)
{
    return s ? s->n_row : 0;
}
