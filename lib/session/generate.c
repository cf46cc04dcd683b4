/*
 * generate.c - the loop most callers want: sample, stream, decode, until
 * something ends it.
 */
#include <string.h>

#include "session/session.h"

typedef struct generation {
    tlp_session *s;
    tlp_sampler *sampler;
    tlp_stream *stream;
    const tlp_generate_options *o;
    tlp_generate_result result;
} generation;

/* Hand text on; 1 when the callback wants no more. */
static int emit(generation *g, const char *text, size_t len)
{
    if (len == 0 || !g->o->text)
        return 0;
    g->s->in_text = true;
    int stop = g->o->text(text, len, g->o->text_data) != 0;
    g->s->in_text = false;
    return stop;
}

/* Sample one token and stream it; sets stop_reason when that ends it. */
static tlp_status next(generation *g)
{
    const char *text = NULL;
    size_t len = 0, row = 0;
    int stopped = 0;
    tlp_status st = TLP_OK;

    if (tlpi_sampler_is_over(g->sampler)) {
        g->result.stop_reason = TLP_STOP_END;
        goto done;
    }
    TLP_TRY(tlpi_session_find_row(&row, g->s, g->o->seq));
    TLP_TRY(tlpi_session_sample(&g->result.last_token, g->s, row, g->sampler));
    g->result.n_generated++;
    if (!g->o->ignore_end &&
        tlp_token_is_end(g->s->plan->model, g->result.last_token)) {
        g->result.stop_reason = TLP_STOP_END;
        goto done;
    }
    TLP_TRY(tlp_stream_push(&text, &len, &stopped, g->stream,
                            g->result.last_token));
    if (emit(g, text, len))
        g->result.stop_reason = TLP_STOP_CALLBACK;
    else if (stopped)
        g->result.stop_reason = TLP_STOP_STRING;
    else if (g->result.n_generated == g->o->n_predict)
        g->result.stop_reason = TLP_STOP_LENGTH;
    else if (tlp_session_pos(g->s, g->o->seq) >= g->s->cfg.n_ctx)
        g->result.stop_reason = TLP_STOP_CONTEXT;
done:
    return st;
}

/* Text that was held back is certain once nothing follows. */
static tlp_status finish(generation *g)
{
    const char *text = NULL;
    size_t len = 0;
    tlp_status st = tlp_stream_flush(&text, &len, g->stream);

    if (st == TLP_OK && g->result.stop_reason != TLP_STOP_CALLBACK)
        emit(g, text, len);
    return st;
}

/* Evaluate the token that was sampled last. */
static tlp_status extend(generation *g)
{
    tlp_batch b = TLP_BATCH_INIT;

    b.n = 1;
    b.tokens = &g->result.last_token;
    b.seqs = &g->o->seq;
    return tlpi_session_eval(g->s, &b);
}

static tlp_status run(generation *g)
{
    tlp_status st = TLP_OK;

    for (;;) {
        TLP_TRY(next(g));
        if (g->result.stop_reason)
            break;
        TLP_TRY(extend(g));
    }
    TLP_TRY(finish(g));
done:
    return st;
}

/* What can be said before anything is made. */
static tlp_status check(const generation *g, const tlp_generate_result *result)
{
    const tlp_generate_options *o = g->o;
    const tlp_session *s = g->s;
    size_t row = 0;
    tlp_status st = TLP_OK;

    if (result)
        TLP_TRY(
            tlpi_struct_check(result, sizeof(*result), "tlp_generate_result"));
    if (o->n_predict < 0)
        return tlpi_fail(TLP_EINVAL,
                         "generate option n_predict: %d is negative",
                         o->n_predict);
    TLP_TRY(tlpi_flag_check("generate option ignore_end", o->ignore_end));
    if (o->ignore_end && tlpi_sampler_has_grammar(g->sampler))
        return tlpi_fail(TLP_EINVAL,
                         "generate option ignore_end: 1 with a grammar, 0 "
                         "expected");
    TLP_TRY(tlpi_flag_check("generate option keep_window", o->keep_window));
    if (o->seq < 0 || o->seq >= s->cfg.n_seq)
        return tlpi_fail(TLP_EINVAL,
                         "generate option seq: %d is outside 0 to %d", o->seq,
                         s->cfg.n_seq - 1);
    TLP_TRY(tlpi_sampler_check(g->sampler, s->plan->model));
    st = tlpi_session_find_row(&row, s, o->seq);
done:
    return st;
}

static tlp_status generate(generation *g)
{
    tlp_session *s = g->s;
    const tlp_generate_options *o = g->o;
    tlp_status st = TLP_OK;

    TLP_TRY(tlp_stream_create(&g->stream, s->plan->model, o->stop, o->n_stop,
                              o->flags));
    TLP_TRY(tlpi_sampler_begin_text(g->sampler));
    tlpi_session_expect(s, tlpi_sampler_candidates(g->sampler));
    if (!o->keep_window)
        tlpi_sampler_begin(g->sampler, tlpi_session_history(s, o->seq),
                           (size_t)s->pos[o->seq]);
    st = run(g);
done:
    tlp_stream_free(g->stream);
    return st;
}

tlp_status tlpi_session_generate(tlp_generate_result *result, tlp_session *s,
                                 tlp_sampler *sampler,
                                 const tlp_generate_options *opts)
{
    tlp_generate_options o = { 0 };
    tlp_sampler *greedy = NULL;
    generation g = {
        .s = s, .o = &o, .sampler = sampler, .result = { .last_token = -1 }
    };
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_session_check(s));
    TLP_TRY(tlpi_options_read(&o, sizeof(o), opts, "tlp_generate_options"));
    TLP_TRY(check(&g, result));
    if (!sampler)
        TLP_TRY(tlp_sampler_create(&greedy, s->plan->model, NULL));
    g.sampler = sampler ? sampler : greedy;
    st = generate(&g);
    if (result) /* also what a failure left behind */
        (void)tlpi_struct_write(result, &g.result, sizeof(g.result),
                                "tlp_generate_result");
done:
    tlp_sampler_free(greedy);
    return st;
}
