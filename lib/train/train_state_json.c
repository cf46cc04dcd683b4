/*
 * train_state_json.c - the two texts of a training's state: what its bits
 * depend on, and how far it is.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "base/subject.h"
#include "model/digest.h"
#include "plan/plan_sketch.h"
#include "train/train_state.h"

#define MAX_POINTS 100000
#define MAX_COUNT ((int64_t)1 << 53) /* of steps and tokens */

static const char purpose[] = "the state of a training";

/* ==== what the bits depend on ============================================ */

static json_t *describe_options(const tlpi_trainer *t)
{
    const tlp_plan_train_options *o = &t->o;
    char seed[24];

    snprintf(seed, sizeof(seed), "%" PRIu64, o->seed);
    return json_pack(
        "{s:I, s:I, s:I, s:f, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, "
        "s:f, s:f, s:s}",
        "n_token", (json_int_t)o->n_token, "n_local_token",
        (json_int_t)o->n_local_token, "n_held_out_token",
        (json_int_t)o->n_held_out_token, "seconds", o->seconds, "n_accum",
        o->n_accum, "full", o->full, "rank", o->rank, "norms", o->norms,
        "gains", o->gains, "corrections", o->corrections, "rate", o->rate,
        "warm_up", o->warm_up, "weight_decay", o->weight_decay, "clip", o->clip,
        "text_share", o->text_share, "seed", seed);
}

json_t *tlpi_train_state_subject(const tlpi_trainer *t)
{
    tlpi_backend *b = t->targets.serial.rank->b;
    tlpi_text plan = { .env = t->env };
    char tokens[TLPI_HASH_TEXT];
    const char *digest = "";
    json_t *of = describe_options(t), *rest = NULL;

    tlpi_plan_write_text(t->plan, &plan);
    tlpi_sha256_ids(t->text.ids, t->text.n_id, tokens);
    if (!plan.failed && tlpi_model_checked_digest(t->model, &digest) == TLP_OK)
        rest = json_pack(
            "{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:I, s:i}",
            "model", tlpi_model_fingerprint(t->model), "digest",
            *digest ? digest : "none", "plan", plan.data, "adjust",
            t->plan->adjust ? t->plan->adjust->sha256 : "none", "tokens",
            tokens, "n_ctx", t->text.n_ctx, "held_out", t->text.n_held,
            "compute", t->cfg.compute, "kv_type", t->cfg.kv_type, "isa",
            b->ops->isa(b), "numbers", (json_int_t)t->net.param.n_trained,
            "n_rank", tlpi_train_n_rank(&t->group));
    if (!of || !rest || json_object_update(of, rest) != 0) {
        json_decref(of);
        of = NULL;
    }
    json_decref(rest);
    tlpi_text_free(&plan);
    return of;
}

tlp_status tlpi_train_state_check(const tlpi_trainer *t, const json_t *found)
{
    json_t *expected = tlpi_train_state_subject(t);

    if (!expected)
        return tlpi_fail_nomem_for(purpose);
    tlp_status st = tlpi_subject_check(
        t->o.resume_path, "the state is of a training with", found, expected);
    if (st == TLP_OK && json_object_size(found) != json_object_size(expected))
        st = tlpi_fail(TLP_EMISMATCH, "%s: key \"of\": %zu keys, %zu expected",
                       t->o.resume_path, json_object_size(found),
                       json_object_size(expected));
    json_decref(expected);
    return st;
}

/* ==== progress, in JSON ================================================== */

static json_t *pack_loss(const tlpi_train_loss *x)
{
    return json_pack("[f, f, I, I]", x->kl, x->nll, (json_int_t)x->top1,
                     (json_int_t)x->n);
}

static json_t *pack_point(const tlp_train_point *p)
{
    /* The tool has a json_real of its own. */
    json_t *loss = isfinite(p->loss) ? json_pack("f", p->loss) : json_null();

    return json_pack("[I, I, I, o, f, f, f, f, f, i]", (json_int_t)p->n_token,
                     (json_int_t)p->step, (json_int_t)p->n_step, loss, p->kl,
                     p->ppl, p->top1_agreement, p->seconds, p->rate, p->local);
}

static json_t *pack_points(const tlpi_trainer *t)
{
    json_t *list = json_array();

    for (size_t i = 0; i < t->n_point; i++)
        if (json_array_append_new(list, pack_point(&t->point[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

json_t *tlpi_train_state_pack(const tlpi_trainer *t)
{
    char random[24];

    snprintf(random, sizeof(random), "%" PRIu64, t->epoch_random);
    return json_pack(
        "{s:I, s:I, s:I, s:i, s:i, s:s, s:f, s:f, s:f, s:I, s:o, "
        "s:o, s:o, s:o}",
        "step", (json_int_t)t->step, "n_step", (json_int_t)t->n_step, "token",
        (json_int_t)t->token, "next", t->next, "epoch", t->epoch, "random",
        random, "seconds", tlpi_now() - t->begin, "first_step",
        t->first_step - t->begin, "score_time", t->score_time, "best_token",
        (json_int_t)t->best_token, "running", pack_loss(&t->running), "first",
        pack_loss(&t->first_score), "best", pack_loss(&t->best_score), "points",
        pack_points(t));
}

/* ==== reading it ========================================================= */

typedef struct state_reader {
    const char *path;
    bool bad; /* and the error is recorded */
} state_reader;

static void reject(state_reader *r, const char *key)
{
    if (!r->bad)
        tlpi_fail(TLP_EFORMAT, "%s: key \"state.%s\": not of a training",
                  r->path, key);
    r->bad = true;
}

static int64_t take_int(state_reader *r, const json_t *value, const char *key,
                        int64_t lo, int64_t hi)
{
    json_int_t x = json_integer_value(value);

    if (!json_is_integer(value) || x < lo || x > hi)
        reject(r, key);
    return x;
}

static double take_real(state_reader *r, const json_t *value, const char *key)
{
    double x = json_number_value(value);

    if (!json_is_number(value) || !isfinite(x))
        reject(r, key);
    return x;
}

static double take_seconds(state_reader *r, const json_t *value,
                           const char *key)
{
    double x = take_real(r, value, key);

    if (!(x >= 0 && x <= 1e12))
        reject(r, key);
    return x;
}

static uint64_t take_random(state_reader *r, const json_t *value,
                            const char *key)
{
    const char *text = json_string_value(value);
    char *end = NULL;

    errno = 0;
    if (!text || *text < '0' || *text > '9') {
        reject(r, key);
        return 0;
    }
    unsigned long long x = strtoull(text, &end, 10);

    if (*end || errno)
        reject(r, key);
    return x;
}

/* at_least: predictions */
static tlpi_train_loss take_loss(state_reader *r, const json_t *list,
                                 const char *key, int64_t at_least)
{
    if (json_array_size(list) != 4)
        reject(r, key);
    return (tlpi_train_loss){
        .kl = take_real(r, json_array_get(list, 0), key),
        .nll = take_real(r, json_array_get(list, 1), key),
        .top1 = take_int(r, json_array_get(list, 2), key, 0, MAX_COUNT),
        .n = take_int(r, json_array_get(list, 3), key, at_least, MAX_COUNT),
    };
}

static tlp_train_point take_point(state_reader *r, const json_t *list)
{
    static const char key[] = "points";
    const json_t *loss = json_array_get(list, 3);
    tlp_train_point p = { .struct_size = sizeof(p), .resumed = 1 };

    if (json_array_size(list) != 10)
        reject(r, key);
    p.n_token = take_int(r, json_array_get(list, 0), key, 0, MAX_COUNT);
    p.step = take_int(r, json_array_get(list, 1), key, 0, MAX_COUNT);
    p.n_step = take_int(r, json_array_get(list, 2), key, 1, MAX_COUNT);
    p.loss = json_is_null(loss) ? NAN : take_real(r, loss, key);
    p.kl = take_real(r, json_array_get(list, 4), key);
    p.ppl = take_real(r, json_array_get(list, 5), key);
    p.top1_agreement = take_real(r, json_array_get(list, 6), key);
    p.seconds = take_seconds(r, json_array_get(list, 7), key);
    p.rate = take_real(r, json_array_get(list, 8), key);
    p.local = (int32_t)take_int(r, json_array_get(list, 9), key, 0, 1);
    return p;
}

static tlp_status take_points(tlpi_trainer *t, state_reader *r,
                              const json_t *list)
{
    size_t n = json_array_size(list);
    tlp_status st = TLP_OK;

    if (n < 1 || n > MAX_POINTS)
        reject(r, "points");
    for (size_t i = 0; i < n && !r->bad; i++) {
        tlp_train_point p = take_point(r, json_array_get(list, i));

        TLP_TRY(tlpi_trainer_add_point(t, &p));
    }
done:
    return st;
}

static void take_steps(tlpi_trainer *t, state_reader *r, const json_t *state)
{
    int64_t planned = t->n_step;
    int n_window = t->text.n - t->text.n_held;

    t->n_step =
        take_int(r, json_object_get(state, "n_step"), "n_step", 1, MAX_COUNT);
    if (t->o.seconds == 0 && t->n_step != planned)
        reject(r, "n_step");
    t->step = take_int(r, json_object_get(state, "step"), "step", 0, t->n_step);
    t->adam.step = t->step - (t->step > t->n_local ? t->n_local : 0);
    t->token =
        take_int(r, json_object_get(state, "token"), "token", 0, MAX_COUNT);
    t->best_token = take_int(r, json_object_get(state, "best_token"),
                             "best_token", 0, t->token);
    t->epoch = (int)take_int(r, json_object_get(state, "epoch"), "epoch", 0,
                             INT32_MAX);
    t->next =
        (int)take_int(r, json_object_get(state, "next"), "next", 0, n_window);
    uint64_t random =
        take_random(r, json_object_get(state, "random"), "random");

    if (t->epoch > 0) {
        t->random = random;
        tlpi_trainer_shuffle(t);
    } else {
        t->next = n_window; /* an epoch begins */
    }
}

tlp_status tlpi_train_state_take(tlpi_trainer *t, const json_t *state)
{
    state_reader r = { .path = t->o.resume_path };
    tlp_status st;

    take_steps(t, &r, state);
    t->running = take_loss(&r, json_object_get(state, "running"), "running", 0);
    t->first_score = take_loss(&r, json_object_get(state, "first"), "first", 1);
    t->best_score = take_loss(&r, json_object_get(state, "best"), "best", 1);
    t->score_time =
        take_seconds(&r, json_object_get(state, "score_time"), "score_time");
    t->begin = tlpi_now() -
               take_seconds(&r, json_object_get(state, "seconds"), "seconds");
    t->first_step =
        t->begin +
        take_seconds(&r, json_object_get(state, "first_step"), "first_step");
    TLP_TRY(take_points(t, &r, json_object_get(state, "points")));
    if (r.bad)
        st = TLP_EFORMAT;
done:
    return st;
}
