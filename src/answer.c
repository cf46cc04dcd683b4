/*
 * answer.c - evaluate tokens and print what the model says then.
 */
#include "answer.h"

#include <stdlib.h>
#include <string.h>

/* ==== the ids that the sequence holds ==================================== */

static int hold(answerer *a, const int32_t *ids, size_t n)
{
    if (n > a->cap_held - a->n_held) {
        size_t cap = 2 * (a->n_held + n) + 1024;
        int32_t *grown = realloc(a->held, cap * sizeof *grown);

        if (!grown)
            return cli_fail("out of memory");
        a->held = grown;
        a->cap_held = cap;
    }
    memcpy(a->held + a->n_held, ids, n * sizeof *ids);
    a->n_held += n;
    return CLI_OK;
}

/* Rewind to what is common; at least one of ids is evaluated, for its
 * logits. */
static tlp_status rewind_to_common(answerer *a, const int32_t *ids, size_t n)
{
    size_t common = 0;

    while (common < a->n_held && common + 1 < n &&
           a->held[common] == ids[common])
        common++;

    tlp_status st = tlp_session_rewind(a->session, 0, (int32_t)common);

    if (st == TLP_OK)
        a->n_held = common;
    return st;
}

static int evaluate(answerer *a, const int32_t *ids, size_t n, size_t *n_new)
{
    tlp_status st = rewind_to_common(a, ids, n);

    *n_new = n - a->n_held;
    if (st == TLP_OK)
        st = tlp_session_prefill(a->session, ids + a->n_held, *n_new);
    return st == TLP_OK ? hold(a, ids + a->n_held, *n_new) : engine_fail(st);
}

/* ==== the answer ========================================================= */

typedef struct speech {
    answerer *a;
    tlp_stream *stream;
    int n_generated;
    bool full; /* the context */
} speech;

static int emit(speech *s, const char *text, size_t len)
{
    answerer *a = s->a;

    fwrite(text, 1, len, stdout);
    if (fflush(stdout) != 0)
        return cli_fail("the text could not be written");
    if (!a->keep || len == 0)
        return CLI_OK;

    char *grown = realloc(a->text, a->n_text + len + 1);

    if (!grown)
        return cli_fail("out of memory");
    memcpy(grown + a->n_text, text, len);
    a->text = grown;
    a->n_text += len;
    grown[a->n_text] = '\0';
    return CLI_OK;
}

/* One token more; *done once nothing follows. */
static int step(speech *s, bool *done)
{
    answerer *a = s->a;
    const char *text = NULL;
    size_t len = 0;
    int32_t id = 0;
    int stopped = 0, rc;
    tlp_status st = tlp_session_sample(&id, a->session, 0, a->sampler);

    *done = true;
    if (st != TLP_OK)
        return engine_fail(st);
    s->n_generated++;
    if (tlp_token_is_end(a->model, id))
        return CLI_OK;
    st = tlp_stream_push(&text, &len, &stopped, s->stream, id);
    rc = st == TLP_OK ? emit(s, text, len) : engine_fail(st);
    if (rc != CLI_OK || stopped || s->n_generated == a->n_predict)
        return rc;
    st = tlp_session_decode(a->session, id);
    s->full = st == TLP_EFULL;
    if (s->full)
        return CLI_OK;
    *done = false;
    return st == TLP_OK ? hold(a, &id, 1) : engine_fail(st);
}

static int speak(speech *s)
{
    answerer *a = s->a;
    const char *text = NULL;
    size_t len = 0;
    bool done = false;
    int rc = CLI_OK;
    tlp_status st =
        tlp_stream_create(&s->stream, a->model, a->stop.item, a->stop.n, 0);

    if (st != TLP_OK)
        return engine_fail(st);
    a->n_text = 0;
    while (rc == CLI_OK && !done)
        rc = step(s, &done);
    if (rc == CLI_OK) {
        st = tlp_stream_flush(&text, &len, s->stream);
        rc = st == TLP_OK ? emit(s, text, len) : engine_fail(st);
    }
    tlp_stream_free(s->stream);
    return rc;
}

static void print_stats(const answerer *a, size_t n_prompt, double prefill,
                        double decode, int n_generated)
{
    tlp_session_stats s = { .struct_size = sizeof s };

    if (tlp_session_get_stats(&s, a->session))
        return;
    fprintf(stderr,
            "prompt %zu tokens, %.1f tokens/s; generated %d, "
            "%.1f tokens/s\n",
            n_prompt, (double)n_prompt / prefill, n_generated,
            n_generated / decode);
    fprintf(stderr,
            "%.0f all-reduces per token, %.0f%% of the time in "
            "communication; ranks %d, threads per rank %d, %s\n",
            s.n_step ? (double)s.allreduces / (double)s.n_step : 0.0,
            s.seconds > 0 ? 100 * s.comm_seconds / s.seconds : 0.0, s.n_rank,
            s.n_thread, s.isa);
}

int answer(answerer *a, const int32_t *ids, size_t n)
{
    speech s = { .a = a };
    size_t n_new = 0;

    if (n == 0)
        return cli_fail("the prompt is empty");

    double start = cli_now();
    int rc = evaluate(a, ids, n, &n_new);
    double middle = cli_now();

    if (rc != CLI_OK)
        return rc;
    tlp_session_reset_stats(a->session);
    rc = speak(&s);
    putchar('\n');
    if (rc == CLI_OK && s.full)
        cli_fail("the answer is cut: the context of %zu positions is full",
                 a->n_held);
    if (rc == CLI_OK && a->stats)
        print_stats(a, n_new, middle - start, cli_now() - middle,
                    s.n_generated);
    return rc;
}

void answer_free(answerer *a)
{
    free(a->held);
    free(a->text);
}
