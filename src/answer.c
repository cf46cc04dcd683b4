/*
 * answer.c - evaluate tokens and print what the model says then.
 */
#include "answer.h"

#include <stdlib.h>
#include <string.h>

#include "link.h"

#define MIN_STEPS 16 /* of an answer that judges the ranks' speed */

/* ==== the prompt ========================================================= */

/* Number of ids with which the sequence begins; at least one of ids is left to
 * evaluate, for its logits.  *known: the sequence holds these ids and no more.
 */
static int count_common(const answerer *a, const int32_t *ids, size_t n,
                        size_t *common, bool *known)
{
    size_t n_held = (size_t)tlp_session_pos(a->session, 0);
    int32_t *held = malloc((n_held + 1) * sizeof *held);

    *common = 0;
    if (!held)
        return cli_fail("out of memory");
    tlp_status st =
        tlp_session_get_tokens(held, n_held, &n_held, a->session, 0);
    while (st == TLP_OK && *common < n_held && *common + 1 < n &&
           held[*common] == ids[*common])
        (*common)++;
    *known = n_held == n && *common == n - 1 && held[n - 1] == ids[n - 1];
    free(held);
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

static int evaluate(answerer *a, const int32_t *ids, size_t n, size_t *n_new)
{
    size_t common = 0;
    bool known = false;
    int rc = count_common(a, ids, n, &common, &known);

    if (rc != CLI_OK)
        return rc;
    *n_new = n - common;
    tlp_status st = tlp_session_rewind(a->session, 0, (int32_t)common);
    if (st == TLP_OK)
        st = tlp_session_prefill(a->session, ids + common, *n_new);
    if (st != TLP_OK)
        return engine_fail(st);
    return known ? CLI_OK : prompt_cache_save(&a->cache, a->session);
}

/* ==== the answer ========================================================= */

/* Print a text, and store it if it is asked for. */
static void say(answerer *a, const char *text, size_t len)
{
    fwrite(text, 1, len, stdout);
    a->lost |= fflush(stdout) != 0;
    if (a->keep) {
        char *grown = realloc(a->text, a->n_text + len + 1);

        if (grown) {
            memcpy(grown + a->n_text, text, len);
            a->text = grown;
            a->n_text += len;
            grown[a->n_text] = '\0';
        }
        a->lost |= !grown;
    }
}

/* Thoughts to standard error, which ends its line before the answer begins. */
static void say_channels(answerer *a)
{
    const channel_text *thought = &a->channels.analysis;
    const channel_text *final = &a->channels.final;

    if (thought->n > a->n_thought)
        fwrite(thought->text + a->n_thought, 1, thought->n - a->n_thought,
               stderr);
    a->n_thought = thought->n;
    if (final->n > a->n_said) {
        if (a->n_said == 0 && a->n_thought)
            putc('\n', stderr);
        say(a, final->text + a->n_said, final->n - a->n_said);
    }
    a->n_said = final->n;
}

/* tlp_text_fn */
static int on_text(const char *text, size_t len, void *user_data)
{
    answerer *a = user_data;

    if (!a->in_channels) {
        say(a, text, len);
    } else {
        a->lost |= !channels_add(&a->channels, text, len, false);
        say_channels(a);
    }
    return a->lost;
}

/* The text is complete: calls of functions are printed as they are. */
static void end_channels(answerer *a)
{
    channels *c = &a->channels;

    a->lost |= !channels_add(c, "", 0, true);
    say_channels(a);
    for (size_t i = 0; i < c->n_call; i++)
        say(a, c->raw.text + c->call[i].begin,
            c->call[i].end - c->call[i].begin);
    channels_free(c);
    *c = (channels){ 0 };
    a->n_thought = a->n_said = 0;
}

static int speak(answerer *a, tlp_generate_result *result)
{
    tlp_generate_options opts = TLP_GENERATE_OPTIONS_INIT;

    opts.n_predict = a->n_predict;
    opts.stop = a->stop.item;
    opts.n_stop = a->stop.n;
    opts.flags = a->in_channels ? TLP_DETOKENIZE_SPECIAL : 0;
    opts.text = on_text;
    opts.text_data = a;
    a->n_text = 0;
    *result = (tlp_generate_result){ .struct_size = sizeof *result };
    tlp_status st = tlp_session_generate(result, a->session, a->sampler, &opts);
    if (a->in_channels)
        end_channels(a);
    if (st == TLP_OK || result->n_generated > 0) {
        putchar('\n');
        a->lost |= fflush(stdout) != 0;
    }
    if (st != TLP_OK)
        return engine_fail(st);
    return a->lost ? cli_fail("the text could not be written") : CLI_OK;
}

static void print_stats(const tlp_session_stats *s, size_t n_prompt,
                        double prefill, double decode, int n_generated)
{
    fprintf(stderr,
            "prompt %zu token%s, %.1f tokens/s; generated %d, "
            "%.1f tokens/s\n",
            n_prompt, n_prompt == 1 ? "" : "s", (double)n_prompt / prefill,
            n_generated, n_generated / decode);
    fprintf(stderr,
            "%.0f all-reduces per token, %.0f%% of the time in "
            "communication; ranks %d, threads per rank %d, %s\n",
            s->n_step ? (double)s->allreduces / (double)s->n_step : 0.0,
            s->seconds > 0 ? 100 * s->comm_seconds / s->seconds : 0.0,
            s->n_rank, s->n_thread, s->isa);
}

/* Several ranks: say with --stats what their link costs, and warn where one
 * rank would do better.  s counts the steps of the answer. */
static int report_link(const answerer *a, const tlp_session_stats *s)
{
    link_time link;
    bool judged = s->n_step >= MIN_STEPS;
    int rc = CLI_OK;

    if (s->n_rank == 1 || (!a->stats && !judged))
        return CLI_OK;
    rc = link_measure(&link, a->session);
    if (rc != CLI_OK)
        return rc;
    if (a->stats) {
        link_print(stderr, &link);
        putc('\n', stderr);
    }
    if (judged)
        link_warn(&link, s->n_rank, s->seconds / (double)s->n_step,
                  s->comm_seconds / (double)s->n_step);
    return rc;
}

int answer(answerer *a, const int32_t *ids, size_t n)
{
    tlp_session_stats stats = { .struct_size = sizeof stats };
    tlp_generate_result result;
    size_t n_new = 0;

    if (n == 0)
        return cli_fail("the prompt is empty");

    double start = cli_now();
    int rc = evaluate(a, ids, n, &n_new);
    double middle = cli_now();

    if (rc != CLI_OK)
        return rc;
    tlp_session_reset_stats(a->session);
    rc = speak(a, &result);
    double end = cli_now();

    if (rc == CLI_OK && tlp_session_get_stats(&stats, a->session) == TLP_OK) {
        if (a->stats)
            print_stats(&stats, n_new, middle - start, end - middle,
                        result.n_generated);
        rc = report_link(a, &stats);
    }
    if (rc == CLI_OK && result.stop_reason == TLP_STOP_CONTEXT)
        cli_warn("the context of %d positions is full: the text ends early (-c "
                 "sets another size)",
                 (int)tlp_session_pos(a->session, 0));
    return rc;
}

void answer_free(answerer *a)
{
    free(a->text);
}
