/*
 * command.c - what rank 0 asks of all ranks, and how they do it.
 */
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "cost/measure.h"
#include "rank/forward.h"
#include "group/command.h"
#include "group/page_copy.h"

/* ==== carrying out ======================================================= */

static tlp_status gather(tlpi_rank *r, const void *src, size_t bytes_each,
                         void *dst)
{
    size_t *bytes = r->scratch.gather_bytes;

    for (int i = 0; i < r->cfg->n_rank; i++)
        bytes[i] = bytes_each;
    return r->comm->ops->gather(r->comm, src, bytes, dst);
}

/* This rank's k best candidates of n rows go to rank 0. */
static tlp_status gather_top(tlpi_rank *r, int row, int n, int k,
                             tlpi_candidate *dst)
{
    tlpi_candidate top[TLPI_MAX_TOP];
    tlp_status st = r->b->ops->top(r->b, tlpi_rank_logits(r, row), n,
                                   r->store.vocab1 - r->store.vocab0,
                                   r->store.vocab0, k, top);

    if (st != TLP_OK)
        return st;
    return gather(r, top, (size_t)(n * k) * sizeof(*top), dst);
}

static tlp_status do_step(tlpi_rank *r, const tlpi_command *cmd,
                          const tlpi_results *res)
{
    const tlpi_step_arrays *a = &r->scratch.step;
    tlpi_step step = { cmd->n_tok, a->id, a->seq, a->pos };
    tlp_status st =
        tlpi_forward_logits(r, r->program, &step, a->row, cmd->n_row, cmd->row);

    if (st == TLP_OK && cmd->k)
        st = gather_top(r, cmd->row, cmd->n_row, cmd->k, res->top);
    return st;
}

/* The first token of a chunk's row whose logit is NaN or +inf. */
static tlp_status find_bad(tlpi_rank *r, int row, tlpi_row_score *out)
{
    size_t n = (size_t)(r->store.vocab1 - r->store.vocab0);
    bool possible;
    tlp_status st =
        r->b->ops->read(r->b, r->scratch.host, tlpi_rank_logits(r, row), n);

    if (st != TLP_OK)
        return st;
    size_t i = tlpi_find_unsound(r->scratch.host, n, &possible);
    if (i < n)
        *out = (tlpi_row_score){ NAN, r->scratch.host[i],
                                 r->store.vocab0 + (int32_t)i };
    return TLP_OK;
}

/* The place of a token in this rank's part of the vocabulary, or -1. */
static int32_t place_here(const tlpi_rank *r, int32_t token)
{
    return token >= r->store.vocab0 && token < r->store.vocab1
               ? token - r->store.vocab0
               : -1;
}

static tlp_status do_score(tlpi_rank *r, const tlpi_command *cmd,
                           const tlpi_results *res)
{
    const tlpi_step_arrays *a = &r->scratch.step;
    tlpi_step step = { cmd->n_tok, a->id, a->seq, a->pos };
    int n_vocab = r->store.vocab1 - r->store.vocab0;
    tlpi_row_score *mine = r->scratch.score;
    tlp_status st = tlpi_forward(r, r->program, &step);

    for (int i = 0; i < cmd->n_row && st == TLP_OK; i += TLPI_LOGIT_CHUNK) {
        int n = TLPI_MIN(TLPI_LOGIT_CHUNK, cmd->n_row - i);
        float lse[TLPI_LOGIT_CHUNK], at[TLPI_LOGIT_CHUNK];
        int32_t target[TLPI_LOGIT_CHUNK];

        for (int j = 0; j < n; j++)
            target[j] = place_here(r, a->target[i + j]);
        tlpi_forward_head(r, a->row + i, n, r->scratch.logits);
        st = r->b->ops->log_sum_exp(r->b, r->scratch.logits, n, n_vocab, target,
                                    lse, at);
        for (int j = 0; j < n && st == TLP_OK; j++) {
            mine[i + j] = (tlpi_row_score){ lse[j], at[j], -1 };
            if (isnan(lse[j]))
                st = find_bad(r, j, &mine[i + j]);
        }
    }
    if (st != TLP_OK || cmd->n_row == 0)
        return st;
    return gather(r, mine, (size_t)cmd->n_row * sizeof(*mine), res->score);
}

static tlp_status do_logprob(tlpi_rank *r, const tlpi_command *cmd,
                             const tlpi_results *res)
{
    int32_t target = place_here(r, cmd->token);
    tlpi_row_score mine = { 0, 0, -1 };
    tlp_status st = r->b->ops->log_sum_exp(r->b, tlpi_rank_logits(r, cmd->row),
                                           1, r->store.vocab1 - r->store.vocab0,
                                           &target, &mine.lse, &mine.target);

    if (st == TLP_OK && isnan(mine.lse))
        st = find_bad(r, cmd->row, &mine);
    if (st == TLP_OK)
        st = gather(r, &mine, sizeof(mine), res->score);
    if (st == TLP_OK && cmd->k > 0)
        st = gather_top(r, cmd->row, 1, cmd->k, res->top);
    return st;
}

static tlp_status do_reserve(tlpi_rank *r, const tlpi_command *cmd)
{
    /* The memory of the logits may move on one rank alone; all ranks know. */
    for (int i = 0; i < r->n_program; i++)
        tlpi_program_renew(&r->program[i]);
    size_t before = r->scratch.logit_cap;
    tlp_status st = tlpi_scratch_fit_logits(&r->scratch, (size_t)cmd->n_row);
    if (st != TLP_OK && (size_t)cmd->n_row <= before)
        st = TLP_OK; /* there is more room than is needed */
    uint32_t vote = st != TLP_OK;
    float none = 0;
    tlp_status comm = r->comm->ops->allreduce(r->comm, &none, 1, &vote);

    if (comm != TLP_OK)
        return comm;
    if (vote && st == TLP_OK) {
        (void)tlpi_scratch_fit_logits(&r->scratch, before);
        st = tlpi_fail(TLP_ENOMEM,
                       "out of memory on another rank for %d rows of logits",
                       cmd->n_row);
    }
    return st;
}

static tlp_status do_row(tlpi_rank *r, const tlpi_command *cmd,
                         const tlpi_results *res)
{
    size_t *bytes = r->scratch.gather_bytes;

    tlp_status st =
        r->b->ops->read(r->b, r->scratch.host, tlpi_rank_logits(r, cmd->row),
                        (size_t)(r->store.vocab1 - r->store.vocab0));
    if (st != TLP_OK)
        return st;
    for (int i = 0; i < r->cfg->n_rank; i++)
        bytes[i] = sizeof(float) * (size_t)(r->program->shards->vocab[i + 1] -
                                            r->program->shards->vocab[i]);
    return r->comm->ops->gather(r->comm, r->scratch.host, bytes, res->row);
}

/* All ranks give pages memory, or none does. */
static tlp_status do_pages(tlpi_rank *r, const tlpi_command *cmd)
{
    const tlpi_page_edit *edit = cmd->edit;
    tlp_status st = tlpi_store_edit_pages(&r->store, edit, cmd->n_tok);
    tlpi_comm_stats before = r->comm->stats;
    uint32_t vote = st != TLP_OK;
    float none = 0;

    if (edit->op != TLPI_PAGE_TAKE || st == TLP_ECOMM)
        return st;
    tlp_status comm = r->comm->ops->allreduce(r->comm, &none, 1, &vote);
    r->comm->stats = before; /* which count the exchanges of steps */
    if (comm != TLP_OK)
        return comm;
    if (vote && st == TLP_OK) {
        tlpi_store_undo_take(&r->store, edit, cmd->n_tok);
        st = tlpi_fail(TLP_ENOMEM,
                       "out of memory on another rank for pages of the KV "
                       "cache");
    }
    return st;
}

static tlp_status do_measure(tlpi_rank *r, const tlpi_command *cmd,
                             const tlpi_results *res)
{
    tlpi_command again = *cmd;
    tlp_link scratch = { 0 };
    tlpi_measure m = { .rank = r,
                       .command = &again,
                       .command_bytes = sizeof(again),
                       .link = res->link ? res->link : &scratch,
                       .stage = res->stage,
                       .token_only = cmd->op == TLPI_OP_MEASURE_LINK };

    return tlpi_measure_run(&m);
}

/* All ranks of this process change, or none. */
static tlp_status do_threads(tlpi_rank *r, const tlpi_command *cmd)
{
    tlp_status st = r->b->ops->set_threads(r->b, cmd->n_tok, cmd->n_row);
    uint32_t vote = st != TLP_OK;
    float none = 0;
    tlp_status comm = r->cfg->remote
                          ? TLP_OK
                          : r->comm->ops->allreduce(r->comm, &none, 1, &vote);

    if (comm != TLP_OK)
        return comm;
    if (!vote) {
        r->n_thread = cmd->n_tok;
        r->n_prefill = cmd->n_row;
    } else if (st == TLP_OK) {
        /* back to numbers that the rank had: this does not fail */
        (void)r->b->ops->set_threads(r->b, r->n_thread, r->n_prefill);
        st = tlpi_fail(TLP_ENOMEM,
                       "out of memory on another rank for %d and %d threads",
                       cmd->n_tok, cmd->n_row);
    }
    return st;
}

/* Carry out a command that every rank has. */
static tlp_status execute(tlpi_rank *r, const tlpi_command *cmd,
                          const tlpi_results *res)
{
    switch ((tlpi_op)cmd->op) {
    case TLPI_OP_STEP:
        return do_step(r, cmd, res);
    case TLPI_OP_SCORE:
        return do_score(r, cmd, res);
    case TLPI_OP_RESERVE:
        return do_reserve(r, cmd);
    case TLPI_OP_ROW:
        return do_row(r, cmd, res);
    case TLPI_OP_TOP:
        return gather_top(r, cmd->row, 1, cmd->k, res->top);
    case TLPI_OP_LOGPROB:
        return do_logprob(r, cmd, res);
    case TLPI_OP_PAGES:
        return do_pages(r, cmd);
    case TLPI_OP_MEASURE:
    case TLPI_OP_MEASURE_LINK:
        return do_measure(r, cmd, res);
    case TLPI_OP_THREADS:
        return do_threads(r, cmd);
    case TLPI_OP_PANEL_BYTES:
        return tlpi_page_panels(r, res);
    case TLPI_OP_READ_PAGE:
        return tlpi_page_read(r, &cmd->copy, res);
    case TLPI_OP_WRITE_PAGE:
        return tlpi_page_write(r, &cmd->copy, res);
    case TLPI_OP_QUIT:
        return TLP_OK;
    }
    return tlpi_fail(TLP_ECOMM, "unknown command %d", cmd->op);
}

/* ==== sending and receiving ============================================== */

static const tlpi_results no_results = { 0 };

static bool has_step(const tlpi_command *cmd)
{
    return cmd->op == TLPI_OP_STEP || cmd->op == TLPI_OP_SCORE;
}

/* Five arrays of n_tok; rows and targets need only n_row, but a decode step
 * is latency, not bytes. */
static void pack(int32_t *dst, const tlpi_step_arrays *a, int n_tok, int n_row)
{
    size_t tok = (size_t)n_tok * sizeof(*dst);
    size_t row = (size_t)n_row * sizeof(*dst);

    memcpy(dst, a->id, tok);
    memcpy(dst + n_tok, a->seq, tok);
    memcpy(dst + 2 * n_tok, a->pos, tok);
    memcpy(dst + 3 * n_tok, a->row, row);
    memcpy(dst + 4 * n_tok, a->target, row);
}

static void unpack(const tlpi_step_arrays *a, const int32_t *src, int n_tok,
                   int n_row)
{
    size_t tok = (size_t)n_tok * sizeof(*src);
    size_t row = (size_t)n_row * sizeof(*src);

    memcpy(a->id, src, tok);
    memcpy(a->seq, src + n_tok, tok);
    memcpy(a->pos, src + 2 * n_tok, tok);
    memcpy(a->row, src + 3 * n_tok, row);
    memcpy(a->target, src + 4 * n_tok, row);
}

/* ==== what may be carried out ============================================ */

static bool within(int32_t value, int32_t lo, int64_t hi)
{
    return value >= lo && value < hi;
}

static bool rows_fit(const tlpi_rank *r, int32_t row, int32_t n, int32_t k)
{
    return row >= 0 && n >= 0 &&
           (size_t)row + (size_t)n <= r->scratch.logit_cap && k >= 0 &&
           (int64_t)n * k <= TLPI_MAX_TOP;
}

/* Rank 0 may be another process: its numbers become indices here. */
static bool is_sound(const tlpi_rank *r, const tlpi_command *c)
{
    const tlpi_session_config *cfg = r->cfg;

    switch ((tlpi_op)c->op) {
    case TLPI_OP_STEP:
    case TLPI_OP_SCORE:
        return within(c->n_tok, 1, (int64_t)cfg->n_batch + 1) &&
               within(c->n_row, 0, (int64_t)c->n_tok + 1) &&
               (c->op == TLPI_OP_SCORE || rows_fit(r, c->row, c->n_row, c->k));
    case TLPI_OP_ROW:
        return rows_fit(r, c->row, 1, 0);
    case TLPI_OP_TOP:
    case TLPI_OP_LOGPROB:
        return rows_fit(r, c->row, 1, c->k);
    case TLPI_OP_RESERVE:
        return c->n_row >= 0;
    case TLPI_OP_PAGES: /* each edit is checked where it is carried out */
        return within(c->n_tok, 1, TLPI_MAX_EDIT + 1);
    case TLPI_OP_THREADS: /* each process has threads of its own */
        return !cfg->remote && within(c->n_tok, 1, TLPI_MAX_THREAD + 1) &&
               within(c->n_row, 1, TLPI_MAX_THREAD + 1);
    case TLPI_OP_MEASURE:
        return tlpi_store_has_pages(&r->store, 0, 0,
                                    tlpi_measure_tokens(r) - 1);
    case TLPI_OP_READ_PAGE:
    case TLPI_OP_WRITE_PAGE:
        return tlpi_page_copy_is_sound(r, &c->copy);
    case TLPI_OP_PANEL_BYTES:
        return !cfg->device;
    case TLPI_OP_MEASURE_LINK:
    case TLPI_OP_QUIT:
        return true;
    }
    return false;
}

/* The tokens from `first` on that are of one sequence, and their positions
 * consecutive. */
static int run_from(const tlpi_step_arrays *a, int first, int n_tok)
{
    int n = 1;

    while (first + n < n_tok && a->seq[first + n] == a->seq[first] &&
           a->pos[first + n] == a->pos[first] + n)
        n++;
    return n;
}

/* Sequences rise, so that each has one run. */
static bool step_is_sound(const tlpi_rank *r, const tlpi_command *c)
{
    const tlpi_step_arrays *a = &r->scratch.step;
    int n_vocab = r->model->hp.n_vocab, n, before = -1;

    for (int i = 0; i < c->n_tok; i++)
        if (!within(a->id[i], 0, n_vocab))
            return false;
    for (int i = 0; i < c->n_tok; i += n, before = a->seq[i - 1]) {
        n = run_from(a, i, c->n_tok);
        if (!within(a->seq[i], before + 1, r->cfg->n_seq) ||
            !within(a->pos[i], 0, (int64_t)r->cfg->n_ctx - n + 1) ||
            !tlpi_store_has_pages(&r->store, a->seq[i], a->pos[i],
                                  a->pos[i] + n - 1))
            return false;
    }
    for (int i = 0; i < c->n_row; i++)
        if (!within(a->row[i], 0, c->n_tok))
            return false;
    return true;
}

/* ==== the two sides ====================================================== */

/* Other processes do not take part. */
static bool is_local(const tlpi_rank *r, const tlpi_command *cmd)
{
    return cmd->op == TLPI_OP_THREADS && r->cfg->remote;
}

tlp_status tlpi_command_run(tlpi_rank *r, tlpi_command *cmd,
                            const tlpi_results *res)
{
    tlpi_comm *c = r->comm;
    tlp_status st = TLP_OK;

    if (has_step(cmd))
        TLP_TRY(tlpi_exchange_check_abort(&r->exchange));
    if (c->size > 1 && !is_local(r, cmd)) {
        bool small = cmd->n_tok <= TLPI_INLINE_TOK;

        if (has_step(cmd) && small)
            pack(cmd->inlined, &r->scratch.step, cmd->n_tok, cmd->n_row);
        TLP_TRY(c->ops->bcast(c, cmd, sizeof(*cmd), true));
        if (has_step(cmd) && !small) {
            size_t bytes = 5 * (size_t)cmd->n_tok * sizeof(int32_t);
            pack(r->scratch.wire, &r->scratch.step, cmd->n_tok, cmd->n_row);
            TLP_TRY(c->ops->bcast(c, r->scratch.wire, bytes, false));
        }
    }
    st = execute(r, cmd, res ? res : &no_results);
done:
    return st;
}

/* The next command, its step in r's scratch. */
static tlp_status receive(tlpi_rank *r, tlpi_command *cmd)
{
    tlpi_comm *c = r->comm;
    tlp_status st = TLP_OK;

    TLP_TRY(c->ops->bcast(c, cmd, sizeof(*cmd), true));
    bool sound = is_sound(r, cmd);
    if (sound && has_step(cmd) && cmd->n_tok <= TLPI_INLINE_TOK) {
        unpack(&r->scratch.step, cmd->inlined, cmd->n_tok, cmd->n_row);
        sound = step_is_sound(r, cmd);
    } else if (sound && has_step(cmd)) {
        size_t bytes = 5 * (size_t)cmd->n_tok * sizeof(int32_t);
        TLP_TRY(c->ops->bcast(c, r->scratch.wire, bytes, false));
        unpack(&r->scratch.step, r->scratch.wire, cmd->n_tok, cmd->n_row);
        sound = step_is_sound(r, cmd);
    }
    if (!sound)
        st = tlpi_fail(TLP_ECOMM, "malformed command %d from rank 0", cmd->op);
done:
    return st;
}

tlp_status tlpi_command_loop(tlpi_rank *r)
{
    tlpi_command cmd;
    tlp_status st = TLP_OK;

    for (;;) {
        TLP_TRY(receive(r, &cmd));
        if (cmd.op == TLPI_OP_QUIT)
            break;
        st = execute(r, &cmd, &no_results);
        /* Being aborted or short of memory is agreed on by all ranks, and the
         * next command is welcome; anything else ends this rank. */
        if (st != TLP_OK && st != TLP_ECANCELED && st != TLP_ENOMEM)
            break;
        st = TLP_OK;
    }
done:
    return st;
}
