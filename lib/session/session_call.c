/*
 * session_call.c - the public functions that use a session: one call at a time,
 * and only in the process that created the session.
 *
 * The word `caller` is 0 between calls.  In a call it holds an address that
 * tells the calling thread from other threads: the address of its error text.
 * Bit 0 says that the session is to be freed when the call ends.
 */
#include <unistd.h>

#include "session/session.h"

#define FREED 1u

static uintptr_t this_thread(void)
{
    return (uintptr_t)tlp_last_error();
}

static bool inherited(const tlp_session *s)
{
    return s->pid != getpid();
}

static tlp_status fail_busy(uintptr_t caller)
{
    if ((caller & ~(uintptr_t)FREED) == this_thread())
        return tlpi_fail(TLP_ESTATE,
                         "a callback made this call: the session is at work "
                         "until the callback has returned");
    return tlpi_fail(TLP_ESTATE, "another thread is in a call on this session");
}

/* Begin a call.  No session: the call itself says so. */
static tlp_status enter(tlp_session *s)
{
    uintptr_t caller = 0;

    if (!s)
        return TLP_OK;
    if (inherited(s))
        return tlpi_session_check(s);
    if (atomic_compare_exchange_strong(&s->caller, &caller, this_thread()))
        return TLP_OK;
    return fail_busy(caller);
}

/* A call that reads the state between steps: a text callback may make it too.
 * It does not keep other calls out. */
static tlp_status look(const tlp_session *s)
{
    if (!s || inherited(s))
        return s ? tlpi_session_check(s) : TLP_OK;
    uintptr_t caller = atomic_load(&s->caller) & ~(uintptr_t)FREED;
    if (caller == 0 || (caller == this_thread() && s->in_text))
        return TLP_OK;
    return fail_busy(caller);
}

static tlp_status leave(tlp_session *s, tlp_status st)
{
    if (s && (atomic_exchange(&s->caller, 0) & FREED))
        tlpi_session_free(s);
    return st;
}

void tlp_session_free(tlp_session *s)
{
    /* In a forked child the session's threads do not exist, and its peers are
     * the parent's. */
    if (!s || inherited(s))
        return;
    /* First, because a running call may release the session from the next line
     * on.  A call that begins in between ends by it too. */
    atomic_fetch_or(&s->abort, TLPI_ABORT_FREE);
    if (atomic_fetch_or(&s->caller, FREED))
        return;
    atomic_store(&s->abort, 0);
    tlpi_session_free(s);
}

tlp_status tlp_session_eval(tlp_session *s, const tlp_batch *batch)
{
    tlp_status st = enter(s);

    return st == TLP_OK ? leave(s, tlpi_session_eval(s, batch)) : st;
}

tlp_status tlp_session_prefill(tlp_session *s, const int32_t *tokens, size_t n)
{
    tlp_status st = enter(s);

    return st == TLP_OK ? leave(s, tlpi_session_prefill(s, tokens, n)) : st;
}

tlp_status tlp_session_decode(tlp_session *s, int32_t token)
{
    return tlp_session_prefill(s, &token, 1);
}

tlp_status tlp_session_logits(const float **logits, tlp_session *s, size_t row)
{
    /* A text callback may look at the row that its token was chosen from. */
    if (s && !inherited(s) && atomic_load(&s->caller) == this_thread() &&
        s->in_text)
        return tlpi_session_logits(logits, s, row);

    tlp_status st = enter(s);

    if (st == TLP_OK)
        return leave(s, tlpi_session_logits(logits, s, row));
    if (logits)
        *logits = NULL;
    return st;
}

tlp_status tlp_session_logprobs(tlp_logprob *top, size_t n_top, float *logprob,
                                tlp_session *s, size_t row, int32_t token)
{
    tlp_status st = enter(s);

    return st == TLP_OK ? leave(s, tlpi_session_logprobs(top, n_top, logprob, s,
                                                         row, token))
                        : st;
}

tlp_status tlp_session_score(float *logprob, tlp_session *s, int32_t seq,
                             const int32_t *tokens, size_t n)
{
    tlp_status st = enter(s);

    return st == TLP_OK
               ? leave(s, tlpi_session_score(logprob, s, seq, tokens, n))
               : st;
}

tlp_status tlp_session_embed(float *out, tlp_session *s, int32_t seq,
                             const int32_t *tokens, size_t n,
                             const tlp_embed_options *opts)
{
    tlp_status st = enter(s);

    return st == TLP_OK
               ? leave(s, tlpi_session_embed(out, s, seq, tokens, n, opts))
               : st;
}

tlp_status tlp_session_rewind(tlp_session *s, int32_t seq, int32_t pos)
{
    tlp_status st = enter(s);

    return st == TLP_OK ? leave(s, tlpi_session_rewind(s, seq, pos)) : st;
}

tlp_status tlp_session_clear(tlp_session *s, int32_t seq)
{
    return tlp_session_rewind(s, seq, 0);
}

tlp_status tlp_session_fork(tlp_session *s, int32_t dst, int32_t src)
{
    tlp_status st = enter(s);

    return st == TLP_OK ? leave(s, tlpi_session_fork(s, dst, src)) : st;
}

tlp_status tlp_session_save(void *buf, size_t cap, size_t *len, tlp_session *s,
                            int32_t seq)
{
    tlp_status st = enter(s);

    if (st == TLP_OK)
        return leave(s, tlpi_session_save(buf, cap, len, s, seq));
    if (len)
        *len = 0;
    return st;
}

tlp_status tlp_session_load(tlp_session *s, int32_t seq, const void *buf,
                            size_t n)
{
    tlp_status st = enter(s);

    return st == TLP_OK ? leave(s, tlpi_session_load(s, seq, buf, n)) : st;
}

tlp_status tlp_session_save_file(tlp_session *s, int32_t seq, const char *path)
{
    tlp_status st = enter(s);

    return st == TLP_OK ? leave(s, tlpi_session_save_file(s, seq, path)) : st;
}

tlp_status tlp_session_load_file(tlp_session *s, int32_t seq, const char *path)
{
    tlp_status st = enter(s);

    return st == TLP_OK ? leave(s, tlpi_session_load_file(s, seq, path)) : st;
}

tlp_status tlp_session_set_threads(tlp_session *s, int32_t n_decode,
                                   int32_t n_prefill)
{
    tlp_status st = enter(s);

    return st == TLP_OK
               ? leave(s, tlpi_session_set_threads(s, n_decode, n_prefill))
               : st;
}

tlp_status tlp_session_sample(int32_t *token, tlp_session *s, size_t row,
                              tlp_sampler *sampler)
{
    tlp_status st = enter(s);

    if (st == TLP_OK)
        return leave(s, tlpi_session_sample(token, s, row, sampler));
    if (token)
        *token = -1;
    return st;
}

tlp_status tlp_session_generate(tlp_generate_result *result, tlp_session *s,
                                tlp_sampler *sampler,
                                const tlp_generate_options *opts)
{
    tlp_status st = enter(s);

    return st == TLP_OK
               ? leave(s, tlpi_session_generate(result, s, sampler, opts))
               : st;
}

tlp_status tlp_session_measure(tlp_link *out, double *stage, tlp_session *s)
{
    tlp_status st = enter(s);

    return st == TLP_OK ? leave(s, tlpi_session_measure(out, stage, s)) : st;
}

tlp_status tlp_session_measure_link(double *seconds, tlp_session *s)
{
    tlp_status st = enter(s);

    if (seconds)
        *seconds = 0;
    return st == TLP_OK ? leave(s, tlpi_session_measure_link(seconds, s)) : st;
}

/* ==== calls that only read =============================================== */

tlp_status tlp_session_get_place(int32_t *seq, int32_t *pos,
                                 const tlp_session *s, size_t row)
{
    tlp_status st = look(s);

    if (st == TLP_OK)
        return tlpi_session_get_place(seq, pos, s, row);
    if (seq)
        *seq = -1;
    if (pos)
        *pos = -1;
    return st;
}

tlp_status tlp_session_find_row(size_t *row, const tlp_session *s, int32_t seq)
{
    tlp_status st = look(s);

    if (st == TLP_OK)
        return tlpi_session_find_row(row, s, seq);
    if (row)
        *row = SIZE_MAX;
    return st;
}

tlp_status tlp_session_get_tokens(int32_t *ids, size_t cap, size_t *count,
                                  const tlp_session *s, int32_t seq)
{
    tlp_status st = look(s);

    if (st == TLP_OK)
        return tlpi_session_get_tokens(ids, cap, count, s, seq);
    if (count)
        *count = 0;
    return st;
}

tlp_status tlp_session_get_stats(tlp_session_stats *out, const tlp_session *s)
{
    tlp_status st = look(s);

    return st == TLP_OK ? tlpi_session_get_stats(out, s) : st;
}

void tlp_session_reset_stats(tlp_session *s)
{
    if (s && look(s) == TLP_OK)
        tlpi_session_reset_stats(s);
}
