/*
 * train_state.c - the file of a training's state: written and read.
 */
#include "train/train_state.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sha256.h"
#include "file/mapfile.h"
#include "file/replace.h"
#include "file/safetensors.h"

#define VERSION "1"
#define MAX_DEPTH 4

static const char purpose[] = "the state of a training";

/* The arrays of a parameter, in the order of the file. */
enum { N_PIECE = 4 };

static void list_pieces(const tlpi_trainer *t, size_t i, float *piece[N_PIECE])
{
    const tlpi_train_param *p = t->net.param.item[i];

    piece[0] = p->value;
    piece[1] = p->first;
    piece[2] = p->second;
    piece[3] = t->best[i];
}

/* Of the two texts and, by the caller, of the data. */
static void begin_hash(tlpi_sha256 *hash, const char *of, const char *state)
{
    tlpi_sha256_init(hash);
    tlpi_sha256_add(hash, of, strlen(of) + 1);
    tlpi_sha256_add(hash, state, strlen(state) + 1);
}

/* ==== numbers ============================================================ */

static bool are_sound(const float *x, size_t n, bool positive)
{
    bool sound = true;

    for (size_t i = 0; i < n; i++)
        sound &= isfinite(x[i]) && (!positive || x[i] >= 0);
    return sound;
}

static tlp_status take_param(tlpi_trainer *t, size_t index,
                             const tlpi_tensor *from)
{
    const tlpi_train_param *p = t->net.param.item[index];
    const char *path = t->o.resume_path;
    size_t n = tlpi_train_param_size(p);
    float *piece[N_PIECE];

    if (strcmp(from->name, p->name) != 0)
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %.60s: %s expected", path,
                         from->name, p->name);
    if (from->type != TLPI_F32 || from->n_dim != 2 || from->ne[0] != p->cols ||
        from->ne[1] != N_PIECE * p->rows)
        return tlpi_fail(
            TLP_EFORMAT, "%s: tensor %s: F32 of %lld by %lld expected", path,
            p->name, (long long)(N_PIECE * p->rows), (long long)p->cols);
    list_pieces(t, index, piece);
    for (int i = 0; i < N_PIECE; i++) {
        const float *x = (const float *)from->data + (size_t)i * n;

        if (!are_sound(x, n, i == 2))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: tensor %s: a number that is not finite, or a "
                             "negative second moment",
                             path, p->name);
        memcpy(piece[i], x, n * sizeof(float));
    }
    return TLP_OK;
}

static tlp_status take_params(tlpi_trainer *t, const tlpi_safetensors *s)
{
    const tlpi_train_params *list = &t->net.param;
    size_t at = 0, want = 0;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < list->n; i++)
        want += list->item[i]->grad != NULL;
    if (s->n_tensor != want)
        return tlpi_fail(TLP_EFORMAT, "%s: %zu tensors, %zu expected",
                         t->o.resume_path, s->n_tensor, want);
    for (size_t i = 0; i < list->n; i++)
        if (list->item[i]->grad)
            TLP_TRY(take_param(t, i, &s->tensor[at++]));
done:
    return st;
}

/* ==== reading the file =================================================== */

/* The value of a key, which must be a JSON object; json_decref it. */
static tlp_status read_object(const char *path, const tlpi_safetensors *s,
                              const char *key, json_t **out)
{
    const char *text = tlpi_safetensors_get(s, key);
    json_error_t error;
    tlp_status st;

    TLP_TRY(tlpi_json_check_depth(path, text, strlen(text), MAX_DEPTH));
    *out = tlpi_json_load(text, strlen(text), 0, &error);
    if (!json_is_object(*out))
        st = tlpi_fail(TLP_EFORMAT,
                       "%s: metadata: key %s: a JSON object "
                       "expected",
                       path, key);
done:
    return st;
}

static tlp_status check_file(const char *path, const tlpi_map *map,
                             const tlpi_safetensors *s)
{
    const char *version = tlpi_safetensors_get(s, "tlp_train");
    const char *of = tlpi_safetensors_get(s, "of");
    const char *state = tlpi_safetensors_get(s, "state");
    const char *want = tlpi_safetensors_get(s, "sha256");
    char found[TLPI_HASH_TEXT];
    tlpi_sha256 hash;

    if (!version || strcmp(version, VERSION) != 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: metadata: key tlp_train: %.20s, " VERSION
                         " expected",
                         path, version ? version : "none");
    if (!of || !state || !want)
        return tlpi_fail(TLP_EFORMAT, "%s: metadata: key %s is missing", path,
                         !of      ? "of"
                         : !state ? "state"
                                  : "sha256");
    begin_hash(&hash, of, state);
    if (s->n_tensor > 0) {
        const uint8_t *data = s->tensor[0].data;

        tlpi_sha256_add(&hash, data, (size_t)(map->data + map->size - data));
    }
    tlpi_sha256_text(&hash, found);
    if (strcmp(found, want) != 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: damaged: metadata: key sha256: %.80s, %s "
                         "expected",
                         path, want, found);
    return TLP_OK;
}

/* Kernels of another version may round otherwise. */
static void warn_of_version(const tlpi_trainer *t, const tlpi_safetensors *s)
{
    const char *version = tlpi_safetensors_get(s, "version");

    if (!version || strcmp(version, tlp_version_string()) != 0)
        tlpi_log(t->env, TLP_LOG_WARN,
                 "%s: written by version %.40s of the library, this is %s: the "
                 "bits may differ from those of a training in one go",
                 t->o.resume_path, version ? version : "?",
                 tlp_version_string());
}

tlp_status tlpi_train_state_load(tlpi_trainer *t)
{
    const char *path = t->o.resume_path;
    tlpi_map *map = NULL;
    tlpi_safetensors *s = NULL;
    json_t *of = NULL, *state = NULL;
    tlp_status st;

    if (access(path, F_OK) != 0 && errno == ENOENT)
        return TLP_OK;
    TLP_TRY(tlpi_map_open(&map, t->env, path, false));
    TLP_TRY(tlpi_safetensors_open(&s, t->env, map->data, map->size, path));
    TLP_TRY(check_file(path, map, s));
    TLP_TRY(read_object(path, s, "of", &of));
    TLP_TRY(tlpi_train_state_check(t, of));
    TLP_TRY(read_object(path, s, "state", &state));
    TLP_TRY(tlpi_train_state_take(t, state));
    TLP_TRY(take_params(t, s));
    warn_of_version(t, s);
    t->resumed = true;
    t->saved = tlpi_now();
    t->saved_step = t->step;
done:
    json_decref(state);
    json_decref(of);
    tlpi_safetensors_close(s);
    tlpi_map_close(map);
    return st;
}

/* ==== writing the file =================================================== */

typedef struct state_writer {
    const tlpi_trainer *t;
    char *of, *state; /* free() */
    tlpi_safetensors_part *part;
    size_t n;
    char sha256[TLPI_HASH_TEXT];
} state_writer;

static tlp_status write_texts(state_writer *w)
{
    json_t *of = tlpi_train_state_subject(w->t),
           *state = tlpi_train_state_pack(w->t);

    w->of = of ? tlpi_json_dump(of, JSON_ENSURE_ASCII) : NULL;
    w->state = state ? tlpi_json_dump(state, JSON_ENSURE_ASCII) : NULL;
    json_decref(state);
    json_decref(of);
    return w->of && w->state ? TLP_OK : tlpi_fail_nomem_for(purpose);
}

static tlp_status list_parts(state_writer *w)
{
    const tlpi_train_params *list = &w->t->net.param;
    tlpi_sha256 hash;
    float *piece[N_PIECE];

    w->part = tlpi_calloc(w->t->env, list->n, sizeof(*w->part));
    if (!w->part)
        return tlpi_fail_nomem_for(purpose);
    begin_hash(&hash, w->of, w->state);
    for (size_t i = 0; i < list->n; i++) {
        const tlpi_train_param *p = list->item[i];
        tlpi_safetensors_part *to = &w->part[w->n];

        if (!p->grad)
            continue;
        snprintf(to->name, sizeof(to->name), "%s", p->name);
        to->type = TLPI_F32;
        to->n_dim = 2;
        to->ne[0] = p->cols;
        to->ne[1] = N_PIECE * p->rows;
        w->n++;
        list_pieces(w->t, i, piece);
        for (int j = 0; j < N_PIECE; j++)
            tlpi_sha256_add(&hash, piece[j],
                            tlpi_train_param_size(p) * sizeof(float));
    }
    tlpi_sha256_text(&hash, w->sha256);
    return TLP_OK;
}

static tlp_status write_params(const tlpi_trainer *t, tlpi_replace *file)
{
    const tlpi_train_params *list = &t->net.param;
    float *piece[N_PIECE];
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < list->n; i++) {
        if (!list->item[i]->grad)
            continue;
        list_pieces(t, i, piece);
        for (int j = 0; j < N_PIECE; j++)
            TLP_TRY(tlpi_replace_write(file, piece[j],
                                       tlpi_train_param_size(list->item[i]) *
                                           sizeof(float)));
    }
done:
    return st;
}

static tlp_status write_file(state_writer *w)
{
    const tlpi_safetensors_meta meta[] = { { "tlp_train", VERSION },
                                           { "version", tlp_version_string() },
                                           { "sha256", w->sha256 },
                                           { "of", w->of },
                                           { "state", w->state } };
    tlpi_text header = { .env = w->t->env };
    tlpi_replace file = { .fd = -1 };
    size_t n_data;
    tlp_status st;

    TLP_TRY(tlpi_safetensors_header(&header, w->part, w->n, meta,
                                    TLPI_COUNT(meta), &n_data));
    TLP_TRY(tlpi_replace_begin(&file, w->t->env, w->t->o.resume_path,
                               header.len + n_data));
    TLP_TRY(tlpi_replace_write(&file, header.data, header.len));
    TLP_TRY(write_params(w->t, &file));
    st = tlpi_replace_commit(&file);
done:
    tlpi_replace_end(&file);
    tlpi_text_free(&header);
    return st;
}

tlp_status tlpi_train_state_save(tlpi_trainer *t)
{
    state_writer w = { .t = t };
    double begin = tlpi_now();
    tlp_status st;

    if (!t->o.resume_path || (t->saved > 0 && t->saved_step == t->step))
        return TLP_OK;
    TLP_TRY(write_texts(&w));
    TLP_TRY(list_parts(&w));
    TLP_TRY(write_file(&w));
    t->saved = tlpi_now();
    t->save_time = t->saved - begin;
    t->saved_step = t->step;
done:
    free(w.of);
    free(w.state);
    tlpi_free(t->env, w.part);
    return st;
}
