/*
 * serve_about.c - the list of endpoints, and what the server says of itself:
 * /health, /v1/models, /props.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

/* ==== endpoints ========================================================== */

static const endpoint endpoints[] = {
    { "/", "GET", serve_page, true },
    { "/health", "GET", serve_health, true },
    { "/v1/models", "GET", serve_models, false },
    { "/v1/models/", "GET", serve_model, false },
    { "/v1/completions", "POST", serve_completion, false },
    { "/v1/chat/completions", "POST", serve_chat, false },
    { "/v1/embeddings", "POST", serve_embedding, false },
    { "/tokenize", "POST", serve_tokenize, false },
    { "/detokenize", "POST", serve_detokenize, false },
    { "/apply-template", "POST", serve_template, false },
    { "/props", "GET", serve_props, false },
    { "/slots", "GET", serve_slots, false },
    { "/slots/", "POST", serve_slot, false },
    { "/metrics", "GET", serve_metrics, false },
};

const endpoint *endpoint_list(size_t index)
{
    return index < sizeof endpoints / sizeof endpoints[0] ? &endpoints[index]
                                                          : NULL;
}

/* ==== health ============================================================= */

void answer_begins(call *c)
{
    c->counted = true;
    atomic_fetch_add(&c->s->n_answer, 1);
}

bool server_is_ready(server *s, api_error *error)
{
    bool dead;

    pthread_mutex_lock(&s->lock);
    dead = s->dead[0] != '\0';
    if (dead)
        api_fail(error, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "rank_failed", "%s",
                 s->dead);
    pthread_mutex_unlock(&s->lock);
    if (!dead && atomic_load(&s->draining))
        return api_fail(error, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "draining",
                        "the server ends and takes no more requests");
    return !dead;
}

enum MHD_Result serve_health(call *c)
{
    if (!server_is_ready(c->s, &c->error))
        return reply_error(c);
    return reply_static(c, MHD_HTTP_OK, "application/json",
                        "{\"status\":\"ok\"}");
}

/* ==== models ============================================================= */

program *server_program(server *s, const char *name, api_error *error)
{
    if (!name || !*name)
        return &s->program[0];
    for (size_t i = 0; i < s->n_program; i++)
        if (!strcmp(name, s->program[i].name))
            return &s->program[i];
    api_fail(error, MHD_HTTP_NOT_FOUND, "model", "model_not_found",
             "model: %.100s: %.100s%s%.100s expected", name, s->program[0].name,
             s->n_program > 1 ? " or " : "",
             s->n_program > 1 ? s->program[1].name : "");
    return NULL;
}

static void put_model(json *j, const program *p)
{
    const server *s = p->s;
    const tlp_model_info *i = &s->e.info;

    json_text(j, "id", p->name);
    json_text(j, "object", "model");
    json_int(j, "created", s->created);
    json_text(j, "owned_by", "tlp");
    json_int(j, "max_model_len", s->n_ctx);
    json_open(j, "meta", '{');
    json_text(j, "arch", i->arch);
    json_text(j, "name", i->name);
    json_text(j, "quant", i->quant);
    json_int(j, "n_vocab", i->n_vocab);
    json_int(j, "n_ctx_train", i->n_ctx_train);
    json_int(j, "n_embd", i->n_embd);
    json_int(j, "n_layer", i->n_layer);
    json_int(j, "n_params", i->n_param);
    json_int(j, "size", i->n_bytes);
    json_close(j, '}');
}

enum MHD_Result serve_models(call *c)
{
    memo m;
    json j;

    if (!reply_open(&m, &j))
        return MHD_NO;
    json_text(&j, "object", "list");
    json_open(&j, "data", '[');
    for (size_t i = 0; i < c->s->n_program; i++) {
        json_open(&j, NULL, '{');
        put_model(&j, &c->s->program[i]);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    return reply_close(c, &m, &j);
}

enum MHD_Result serve_model(call *c)
{
    const char *name = c->url + strlen(c->endpoint->path);
    const program *p = server_program(c->s, name, &c->error);
    memo m;
    json j;

    if (!p)
        return reply_error(c);
    if (!reply_open(&m, &j))
        return MHD_NO;
    put_model(&j, p);
    return reply_close(c, &m, &j);
}

/* ==== props ============================================================== */

/* The value of a key of the model's file, or nothing. */
static void put_meta(json *j, const char *name, const engine *e,
                     const char *key)
{
    size_t n = 0;
    char *text = engine_get_meta(e, key, &n);

    if (text)
        json_bytes(j, name, text, n);
    else
        json_nothing(j, name);
    free(text);
}

static void put_program(json *j, const char *key, const program *p)
{
    tlp_session_stats stats = { .struct_size = sizeof stats };

    if (tlp_engine_get_session_stats(&stats, p->requests) != TLP_OK)
        return;
    json_open(j, key, '{');
    json_text(j, "model", p->name);
    json_text(j, "plan", p->plan_text);
    if (isnan(p->kl))
        json_nothing(j, "kl");
    else
        json_number(j, "kl", p->kl);
    json_int(j, "effective_depth", p->cost.effective_depth);
    json_int(j, "n_layer", p->cost.n_layer);
    json_int(j, "exchanges_per_token", p->cost.exchanges);
    json_int(j, "n_rank", stats.n_rank);
    json_text(j, "link", stats.link);
    json_text(j, "isa", stats.isa);
    json_int(j, "n_thread", stats.n_thread);
    json_int(j, "weight_bytes", (int64_t)stats.weight_bytes);
    json_int(j, "kv_bytes", (int64_t)stats.kv_bytes);
    json_close(j, '}');
}

enum MHD_Result serve_props(call *c)
{
    const server *s = c->s;
    memo m;
    json j;

    if (!reply_open(&m, &j))
        return MHD_NO;
    json_open(&j, "default_generation_settings", '{');
    json_int(&j, "n_ctx", s->n_ctx);
    json_close(&j, '}');
    json_int(&j, "total_slots", s->n_seq);
    json_text(&j, "model_alias", s->program[0].name);
    put_meta(&j, "chat_template", &s->e, "tokenizer.chat_template");
    json_text(&j, "build_info", tlp_build_info());
    put_program(&j, "tlp", &s->program[0]);
    if (s->n_program > 1)
        put_program(&j, "compare", &s->program[1]);
    return reply_close(c, &m, &j);
}
