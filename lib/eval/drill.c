/*
 * drill.c - short completions with one right answer.  They test abilities that
 * a model loses first when layers are removed.
 *
 * All prompts of one kind and seed share their examples.  A question depends on
 * kind, seed and index alone, so a short run is the beginning of a long run.
 */
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "session/session.h"
#include "tlp_eval.h"

#define N_EXAMPLE 5

static const char *const names[TLP_N_DRILL] = { "copy-words", "copy-digits",
                                                "add", "add-tens" };

static const char *const words[] = {
    "apple", "bird",  "chair", "cloud", "door",  "fish",   "garden", "glass",
    "green", "hand",  "horse", "house", "lake",  "light",  "milk",   "moon",
    "north", "paper", "rain",  "river", "salt",  "school", "ship",   "snow",
    "stone", "sugar", "table", "tree",  "water", "winter", "wood",   "yellow",
};

/* ==== making ============================================================= */

static unsigned pick(uint64_t *random, unsigned n)
{
    return (unsigned)(tlpi_uniform(random) * n);
}

/* "green milk bird snow" */
static void make_words(uint64_t *random, char *text, size_t cap)
{
    size_t n = 0;

    for (int i = 0; i < 4; i++)
        n += (size_t)snprintf(text + n, cap - n, "%s%s", i ? " " : "",
                              words[pick(random, TLPI_COUNT(words))]);
}

static void make_digits(uint64_t *random, char *text, size_t cap)
{
    size_t n = 0;

    for (int i = 0; i < 6; i++)
        n += (size_t)snprintf(text + n, cap - n, "%s%u", i ? " " : "",
                              pick(random, 10));
}

/* A question, which ends where the answer begins, and the answer. */
static void make(int kind, uint64_t *random, char *question, size_t cap,
                 char *answer, size_t answer_cap)
{
    if (kind == TLP_DRILL_COPY_WORDS || kind == TLP_DRILL_COPY_DIGITS) {
        if (kind == TLP_DRILL_COPY_WORDS)
            make_words(random, answer, answer_cap);
        else
            make_digits(random, answer, answer_cap);
        snprintf(question, cap, "Repeat: %s ->", answer);
        return;
    }
    unsigned least = kind == TLP_DRILL_ADD ? 1 : 10;
    unsigned n = kind == TLP_DRILL_ADD ? 9 : 90;
    unsigned a = least + pick(random, n), b = least + pick(random, n);

    snprintf(question, cap, "%u + %u =", a, b);
    snprintf(answer, answer_cap, "%u", a + b);
}

tlp_status tlp_drill_get(tlp_drill *out, int kind, uint64_t seed,
                         uint64_t index)
{
    tlp_drill d = { 0 };
    char question[80];
    uint64_t random = seed;
    size_t n = 0;

    if (!out || kind < 0 || kind >= TLP_N_DRILL)
        return tlpi_fail(TLP_EINVAL, "out and kind from 0 to %d are required",
                         TLP_N_DRILL - 1);
    memcpy(d.name, names[kind], strlen(names[kind]));
    for (int i = 0; i < N_EXAMPLE; i++) {
        make(kind, &random, question, sizeof question, d.answer,
             sizeof d.answer);
        n += (size_t)snprintf(d.prompt + n, sizeof d.prompt - n, "%s %s\n",
                              question, d.answer);
    }
    random = tlpi_random(&random) + index;
    random = tlpi_random(&random); /* else neighbours share numbers */
    make(kind, &random, question, sizeof question, d.answer, sizeof d.answer);
    snprintf(d.prompt + n, sizeof d.prompt - n, "%s", question);
    return tlpi_struct_write(out, &d, sizeof d, "tlp_drill");
}

/* ==== running ============================================================ */

typedef struct line {
    char text[128];
    size_t n;
    bool full;
} line;

static int on_text(const char *text, size_t n, void *user_data)
{
    line *l = user_data;

    l->full = n > sizeof l->text - l->n;
    if (!l->full) {
        memcpy(l->text + l->n, text, n);
        l->n += n;
    }
    return l->full;
}

static bool is_answer(const line *l, const char *answer)
{
    const char *text = l->text;
    size_t n = l->n;

    while (n > 0 && *text == ' ')
        text++, n--;
    while (n > 0 && text[n - 1] == ' ')
        n--;
    return !l->full && n == strlen(answer) && memcmp(text, answer, n) == 0;
}

/* A drill that fits a session of the model. */
static tlp_status check_run(const tlp_drill *d, const tlp_model *model,
                            const tlp_session *s)
{
    tlp_status st = tlpi_session_check(s);

    if (st != TLP_OK)
        return st;
    if (s->plan->model != model)
        return tlpi_fail(TLP_EMISMATCH,
                         "drill: the session is one of another model");
    if (!memchr(d->prompt, 0, sizeof d->prompt) ||
        !memchr(d->answer, 0, sizeof d->answer))
        return tlpi_fail(TLP_EINVAL, "drill: prompt or answer has no end");
    return TLP_OK;
}

tlp_status tlp_drill_run(int32_t *exact, const tlp_drill *drill,
                         tlp_model *model, tlp_session *session)
{
    static const char *const end_of_line[] = { "\n" };
    tlp_drill d = { 0 };
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
    tlp_generate_result r = { .struct_size = sizeof r };
    line got = { .n = 0 };
    int32_t ids[sizeof d.prompt];
    size_t n = 0;
    tlp_status st = TLP_OK;

    if (!drill || !model || !session || !exact)
        return tlpi_fail(TLP_EINVAL,
                         "drill, model, session and exact are required");
    TLP_TRY(tlpi_options_read(&d, sizeof d, drill, "tlp_drill"));
    TLP_TRY(check_run(&d, model, session));
    TLP_TRY(tlp_tokenize(ids, TLPI_COUNT(ids), &n, model, d.prompt,
                         strlen(d.prompt), 0));
    if (n > (size_t)session->cfg.n_ctx)
        TLP_TRY(tlpi_fail(TLP_EFULL, "drill: %zu tokens do not fit in n_ctx %d",
                          n, session->cfg.n_ctx));
    TLP_TRY(tlp_session_clear(session, 0));
    TLP_TRY(tlp_session_prefill(session, ids, n));
    /* A right line has at most a token for each byte, for a blank and for its
     * end. */
    o.n_predict = (int32_t)strlen(d.answer) + 2;
    o.stop = end_of_line;
    o.n_stop = 1;
    o.text = on_text;
    o.text_data = &got;
    TLP_TRY(tlp_session_generate(&r, session, NULL, &o));
    if (r.stop_reason == TLP_STOP_CONTEXT)
        TLP_TRY(tlpi_fail(TLP_EFULL, "drill: n_ctx is too small"));
    *exact = is_answer(&got, d.answer);
done:
    return st;
}
