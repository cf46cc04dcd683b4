/*
 * serve_slots.c - /slots: what each sequence of the engine does.  The answer
 * has no text of a prompt and no text that was written.
 */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

static const char *state_of(const tlp_slot *slot, const job_facts *facts)
{
    if (slot->request == 0)
        return "idle";
    if (facts->embed)
        return "embedding";
    return slot->n_done < slot->n_prompt ? "prompt" : "text";
}

/* n_predict as clients say it: -1 is no limit. */
static int32_t limit_of(const job_facts *facts)
{
    return facts->n_predict == 0  ? -1
           : facts->n_predict < 0 ? 0
                                  : facts->n_predict;
}

static void put_params(json *j, const job_facts *facts)
{
    const tlp_sampler_options *o = &facts->sampler;

    json_open(j, "params", '{');
    json_int(j, "n_predict", limit_of(facts));
    json_int(j, "n", facts->n_choice);
    json_flag(j, "grammar", facts->grammar);
    json_number(j, "temperature", (double)o->temperature);
    json_int(j, "top_k", o->top_k);
    json_number(j, "top_p", (double)o->top_p);
    json_number(j, "min_p", (double)o->min_p);
    json_number(j, "repeat_penalty", (double)o->repeat_penalty);
    json_int(j, "repeat_last_n", o->penalty_last_n);
    json_number(j, "presence_penalty", (double)o->presence_penalty);
    json_number(j, "frequency_penalty", (double)o->frequency_penalty);
    json_int(j, "logit_bias", (int64_t)o->n_bias);
    json_int(j, "seed", (int64_t)o->seed);
    json_close(j, '}');
}

static void put_text(json *j, const tlp_slot *slot, const job_facts *facts)
{
    int32_t limit = limit_of(facts);

    json_open(j, "next_token", '{');
    json_flag(j, "has_next_token", limit != 0);
    json_int(j, "n_decoded", slot->n_generated);
    json_int(j, "n_remain", limit < 0 ? -1 : limit - slot->n_generated);
    json_close(j, '}');
    put_params(j, facts);
}

int32_t slot_number(const program *p, int32_t seq)
{
    return (int32_t)(p - p->s->program) * p->s->n_seq + seq;
}

static void put_slot(json *j, program *p, int32_t seq, const tlp_slot *slot)
{
    job_facts facts = { 0 };
    bool known = slot->request && job_find(&p->jobs, slot->request, &facts);
    const server *s = p->s;

    json_open(j, NULL, '{');
    json_int(j, "id", slot_number(p, seq));
    if (s->n_program > 1)
        json_text(j, "model", p->name);
    json_int(j, "n_ctx", s->n_ctx);
    json_int(j, "n_held", slot->n_held);
    json_flag(j, "is_processing", slot->request != 0);
    json_text(j, "state", state_of(slot, &facts));
    if (slot->request) {
        json_int(j, "id_task", (int64_t)slot->request);
        json_int(j, "choice", slot->choice);
        json_int(j, "n_prompt_tokens", slot->n_prompt);
        json_int(j, "n_prompt_tokens_processed", slot->n_done);
        json_int(j, "n_prompt_tokens_cached", slot->n_cached);
    }
    if (known && !facts.embed)
        put_text(j, slot, &facts);
    json_close(j, '}');
}

/* Returns how many slots of a program are free. */
static int put_slots(json *j, program *p)
{
    int n_free = 0;

    for (int32_t i = 0; i < p->s->n_seq; i++) {
        tlp_slot slot = { .struct_size = sizeof slot };

        if (tlp_engine_get_slot(&slot, p->requests, i) != TLP_OK)
            continue;
        n_free += slot.request == 0;
        put_slot(j, p, i, &slot);
    }
    return n_free;
}

/* The slots; *n_free counts those that are free.  False when memory is short.
 */
static bool write_slots(memo *m, server *s, int *n_free)
{
    if (!memo_open(m))
        return false;
    json j = { .file = m->file };

    *n_free = 0;
    json_open(&j, NULL, '[');
    for (size_t i = 0; i < s->n_program; i++)
        *n_free += put_slots(&j, &s->program[i]);
    json_close(&j, ']');
    return memo_close(m);
}

/* llama-server's question for a balancer: 503 where no slot is free. */
static bool asks_for_room(const call *c)
{
    const char *value = MHD_lookup_connection_value(
        c->connection, MHD_GET_ARGUMENT_KIND, "fail_on_no_slot");

    return value && strcmp(value, "0") != 0;
}

enum MHD_Result serve_slots(call *c)
{
    memo m;
    int n_free = 0;

    if (!write_slots(&m, c->s, &n_free))
        return MHD_NO;
    if (n_free > 0 || !asks_for_room(c))
        return reply_text(c, MHD_HTTP_OK, "application/json", m.text, m.n);
    free(m.text);
    api_fail(&c->error, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "no_slot",
             "all %d slots are busy", c->s->n_seq * (int)c->s->n_program);
    return reply_error(c);
}
