/*
 * windows.h - a calibration text cut into windows.
 *
 * A window is evaluated from position 0, in one step of a rank.  A window of n
 * tokens gives n - 1 predictions.  The windows are in an order drawn from a
 * seed, so that the first few of them are spread over the text; a window that
 * is shorter than n_ctx comes last.
 */
#ifndef TLPI_WINDOWS_H
#define TLPI_WINDOWS_H

#include "rank/rank.h"

enum { TLPI_DEFAULT_WINDOW = 512, TLPI_MAX_WINDOW = 4096 };

typedef struct tlpi_window {
    const int32_t *ids; /* [n], inside the text */
    int n;
    size_t at; /* index of the first token in arrays over all windows */
} tlpi_window;

typedef struct tlpi_windows {
    const tlpi_env *env;
    const int32_t *ids; /* [n_id] the text, borrowed */
    size_t n_id;
    int n_ctx;
    uint64_t seed;
    tlpi_window *window; /* [n] */
    int n;
    int n_held;         /* windows held out of a fit: the first n_held */
    size_t n_tok;       /* of all windows, n_id or a little less */
    int32_t *seq, *pos; /* [n_ctx] 0, 0, ...; 0, 1, ... */
} tlpi_windows;

/* TLP_EINVAL for n_ctx out of range, for fewer than two tokens, and for ids
 * that the model does not have. */
tlp_status tlpi_windows_check(const tlp_model *m, const int32_t *ids, size_t n,
                              int n_ctx);

/* Read the session of options for a text of n tokens, in which n_ctx 0 becomes
 * the default, or n if that is less. */
tlp_status tlpi_windows_session(tlp_session_options *session,
                                const tlp_session_options *given, size_t n);

/* Read the session of a fit's options, in which n_ctx 0 becomes the default,
 * and make *share, of the windows to hold out, the default if it is 0. */
tlp_status tlpi_windows_options(tlp_session_options *session, double *share,
                                const tlp_session_options *given);

/* TLP_EINVAL for a share that is not above 0 and below 1. */
tlp_status tlpi_windows_check_share(double share);

tlp_status tlpi_windows_cut(tlpi_windows *out, const tlpi_env *env,
                            const int32_t *ids, size_t n, int n_ctx,
                            uint64_t seed);

/* Hold out the windows of the first n_held ids, which are a text of their own.
 */
tlp_status tlpi_windows_cut_apart(tlpi_windows *out, const tlpi_env *env,
                                  const int32_t *ids, size_t n_held, size_t n,
                                  int n_ctx, uint64_t seed);
void tlpi_windows_free(tlpi_windows *t); /* zeroes are fine */

/* Hold out a share of the windows, at least one window, and leave at least one.
 * TLP_EINVAL if the text has one window only. */
tlp_status tlpi_windows_hold_out(tlpi_windows *t, double share);

static inline tlpi_step tlpi_window_step(const tlpi_windows *t,
                                         const tlpi_window *w)
{
    return (tlpi_step){ w->n, w->ids, t->seq, t->pos };
}

#endif
