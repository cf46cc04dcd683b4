/*
 * text_kl.c - logits of a text under two plans, window by window, compared.
 */
#include "text_kl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tlp_eval.h"

static size_t vocab_of(tlp_model *m)
{
    tlp_model_info info = { .struct_size = sizeof info };

    CHECK_OK(tlp_model_get_info(&info, m));
    return (size_t)info.n_vocab;
}

/* Logits of all tokens; free() them. */
static float *logits(tlp_plan *plan, const text_windows *text, size_t n_vocab)
{
    tlp_session_options o = rig_f32(1, 1);
    tlp_session *s = NULL;
    float *all = malloc((size_t)text->n * n_vocab * sizeof *all), *to = all;
    uint8_t *want = malloc((size_t)text->n_ctx);

    CHECK_OK(tlp_session_create(&s, plan, &o));
    memset(want, 1, (size_t)text->n_ctx);
    for (int at = 0; at < text->n; at += text->n_ctx) {
        tlp_batch b = TLP_BATCH_INIT;
        int left = text->n - at;

        b.n = (size_t)(left < text->n_ctx ? left : text->n_ctx);
        b.tokens = text->ids + at;
        b.want_logits = want;
        CHECK_OK(tlp_session_clear(s, 0));
        CHECK_OK(tlp_session_eval(s, &b));
        for (size_t i = 0; i < b.n; i++, to += n_vocab) {
            const float *row;

            CHECK_OK(tlp_session_logits(&row, s, i));
            memcpy(to, row, n_vocab * sizeof *to);
        }
    }
    tlp_session_free(s);
    free(want);
    return all;
}

float *text_serial_logits(tlp_model *m, const text_windows *text)
{
    tlp_plan *serial = NULL;

    CHECK_OK(tlp_plan_parse(&serial, m, "serial"));
    float *all = logits(serial, text, vocab_of(m));
    tlp_plan_free(serial);
    return all;
}

text_figures text_compare(tlp_model *m, tlp_plan *plan,
                          const text_windows *text, const float *reference)
{
    size_t v = vocab_of(m);
    float *mine = logits(plan, text, v);
    text_figures r = { 0 };
    int n = 0;

    for (int i = 0; i + 1 < text->n; i++) {
        tlp_divergence d = { .struct_size = sizeof d };
        const float *row = mine + (size_t)i * v;

        if (i % text->n_ctx == text->n_ctx - 1)
            continue;
        CHECK_OK(tlp_logits_compare(&d, reference + (size_t)i * v, row, v));
        r.kl += d.kl;
        r.top1 += d.top1 == d.reference_top1;
        r.ppl += d.lse - (double)row[text->ids[i + 1]];
        n++;
    }
    free(mine);
    return (text_figures){ r.kl / n, r.top1 / n, exp(r.ppl / n) };
}

double text_kl(tlp_model *m, const char *form, const text_windows *text,
               const float *reference)
{
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, form));
    double kl = text_compare(m, plan, text, reference).kl;
    tlp_plan_free(plan);
    return kl;
}
