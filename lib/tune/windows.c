/*
 * windows.c - cut a text into windows, draw their order, hold some out.
 */
#include "tune/windows.h"

#include <math.h>

#include "base/random.h"

#define DEFAULT_HELD_OUT 0.25

tlp_status tlpi_windows_check(const tlp_model *m, const int32_t *ids, size_t n,
                              int n_ctx)
{
    if (n_ctx < 2 || n_ctx > TLPI_MAX_WINDOW)
        return tlpi_fail(TLP_EINVAL, "n_ctx %d: 2 to %d expected", n_ctx,
                         TLPI_MAX_WINDOW);
    if (n < 2 || n > INT32_MAX)
        return tlpi_fail(TLP_EINVAL, "%zu tokens: 2 to %d expected", n,
                         INT32_MAX);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= m->hp.n_vocab)
            return tlpi_fail(TLP_EINVAL, "token %zu: id %d is outside 0 to %d",
                             i, ids[i], m->hp.n_vocab - 1);
    return TLP_OK;
}

/* Number of windows of a text: the last one may be shorter than ctx, but a
 * single token gives no prediction and is left out. */
static int count(size_t n, size_t ctx)
{
    return (int)(n / ctx + (n % ctx > 1));
}

static void shuffle(tlpi_window *w, size_t n, uint64_t seed)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(tlpi_random(&seed) % i);
        tlpi_window last = w[i - 1];

        w[i - 1] = w[j];
        w[j] = last;
    }
}

/* Cut n ids into windows, and draw an order of the full ones. */
static void cut(tlpi_window *w, const int32_t *ids, size_t n, size_t ctx,
                uint64_t seed)
{
    size_t n_full = n / ctx;

    for (int i = 0; i < count(n, ctx); i++)
        w[i] = (tlpi_window){ .ids = ids + (size_t)i * ctx,
                              .n = (int)TLPI_MIN(ctx, n - (size_t)i * ctx) };
    shuffle(w, n_full, seed);
}

tlp_status tlpi_windows_cut_apart(tlpi_windows *out, const tlpi_env *env,
                                  const int32_t *ids, size_t n_held, size_t n,
                                  int n_ctx, uint64_t seed)
{
    size_t ctx = (size_t)n_ctx;
    tlpi_windows t = { .env = env,
                       .ids = ids,
                       .n_id = n,
                       .n_ctx = n_ctx,
                       .seed = seed,
                       .n_held = count(n_held, ctx) };

    t.n = t.n_held + count(n - n_held, ctx);
    t.window = tlpi_calloc(env, (size_t)t.n, sizeof(*t.window));
    t.seq = tlpi_calloc(env, ctx, sizeof(*t.seq));
    t.pos = tlpi_calloc(env, ctx, sizeof(*t.pos));
    *out = t;
    if (!t.window || !t.seq || !t.pos)
        return tlpi_fail_nomem_for("the windows of a text");
    cut(t.window, ids, n_held, ctx, seed);
    cut(t.window + t.n_held, ids + n_held, n - n_held, ctx, seed);
    for (int i = 0; i < t.n; i++) {
        t.window[i].at = out->n_tok;
        out->n_tok += (size_t)t.window[i].n;
    }
    for (int i = 0; i < n_ctx; i++)
        t.pos[i] = i;
    return TLP_OK;
}

tlp_status tlpi_windows_cut(tlpi_windows *out, const tlpi_env *env,
                            const int32_t *ids, size_t n, int n_ctx,
                            uint64_t seed)
{
    return tlpi_windows_cut_apart(out, env, ids, 0, n, n_ctx, seed);
}

void tlpi_windows_free(tlpi_windows *t)
{
    if (!t->env)
        return;
    tlpi_free(t->env, t->window);
    tlpi_free(t->env, t->seq);
    tlpi_free(t->env, t->pos);
    *t = (tlpi_windows){ 0 };
}

tlp_status tlpi_windows_session(tlp_session_options *session,
                                const tlp_session_options *given, size_t n)
{
    tlp_status st = tlpi_options_read(session, sizeof(*session), given,
                                      "tlp_session_options");

    if (st == TLP_OK && session->adapter)
        return tlpi_fail(TLP_ENOTSUP,
                         "session option adapter: plans are made, fitted and "
                         "trained without an adapter");
    if (st == TLP_OK && session->n_ctx == 0)
        session->n_ctx = (int32_t)TLPI_MIN(TLPI_DEFAULT_WINDOW, n);
    return st;
}

tlp_status tlpi_windows_options(tlp_session_options *session, double *share,
                                const tlp_session_options *given)
{
    tlp_status st;

    TLP_TRY(tlpi_windows_session(session, given, SIZE_MAX));
    if (*share == 0)
        *share = DEFAULT_HELD_OUT;
done:
    return st;
}

tlp_status tlpi_windows_check_share(double share)
{
    if (share > 0 && share < 1)
        return TLP_OK;
    return tlpi_fail(TLP_EINVAL, "held_out %g: above 0, below 1 expected",
                     share);
}

tlp_status tlpi_windows_hold_out(tlpi_windows *t, double share)
{
    if (t->n < 2)
        return tlpi_fail(TLP_EINVAL,
                         "%zu tokens in windows of %d: two windows expected "
                         "at least",
                         t->n_id, t->n_ctx);
    t->n_held = (int)lround(share * t->n);
    t->n_held = TLPI_MIN(TLPI_MAX(1, t->n_held), t->n - 1);
    return TLP_OK;
}
