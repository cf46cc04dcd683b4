/*
 * plan_json.c - read the JSON form of a plan.
 *
 *   {"tlp_plan": 1,                               version, required
 *    "model": {"arch": "llama", "n_layer": 30, "fingerprint": "sha256:...",
 *              "digest": "sha256:..."},           each optional; must match
 *    "stages": [{"layers": [0]},                  every layer that runs
 *               {"layers": [3, 4], "mode": "par"}, ...],
 *    "drop": [12],                                layers that do not run
 *    "order": [0, 2, 1, ...],                     as the text form's "order:"
 *    "nosync": {"tracks": 2, "cut": "even",       exchanges that are left out
 *               "after": ["7f", "23f", "26"]},
 *    "adjust": {"file": "p.adjust.safetensors", "sha256": "sha256:..."},
 *    "made": {...}}                               free; kept unchanged
 *
 * Stages run in the order of the list.  Without "order" the list must be sorted
 * by the lowest layer of each stage.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "model/digest.h"
#include "plan/adjust.h"
#include "plan/plan_sketch.h"

#define PLAN_VERSION 1

/* Greatest depth of nesting; only "made" has no fixed depth. */
#define MAX_DEPTH 32

static tlp_status check_keys(const char *where, const char *what,
                             json_t *object, const char *const *known,
                             size_t n_known)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (i < n_known && strcmp(key, known[i]) != 0)
            i++;
        if (i == n_known)
            return tlpi_fail(TLP_EFORMAT, "%s: %skey \"%.60s\" is not known",
                             where, what, key);
    }
    return TLP_OK;
}

static tlp_status check_version(const char *where, json_t *root)
{
    json_t *version = json_object_get(root, "tlp_plan");

    if (!json_is_integer(version))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key \"tlp_plan\": an integer expected", where);
    json_int_t v = json_integer_value(version);
    if (v != PLAN_VERSION)
        return tlpi_fail(v > PLAN_VERSION ? TLP_ENOTSUP : TLP_EFORMAT,
                         "%s: key \"tlp_plan\": version %lld, %d expected",
                         where, (long long)v, PLAN_VERSION);
    return TLP_OK;
}

static tlp_status check_model_text(const tlpi_sketch *s, json_t *model,
                                   const char *key, const char *expected)
{
    json_t *value = json_object_get(model, key);

    if (!value)
        return TLP_OK;
    if (!json_is_string(value))
        return tlpi_fail(TLP_EFORMAT, "%s: key \"model.%s\": a string expected",
                         s->where, key);
    if (strcmp(json_string_value(value), expected) != 0)
        return tlpi_fail(TLP_EMISMATCH,
                         "%s: key \"model.%s\": the plan is for %.80s, %s has "
                         "%s",
                         s->where, key, json_string_value(value),
                         s->model->path, expected);
    return TLP_OK;
}

/* An equal digest, which is over all bytes, is enough.  Another model is known
 * by its fingerprint; a damaged copy by its digest alone. */
static tlp_status check_bytes(const tlpi_sketch *s, json_t *model)
{
    const char *given = json_string_value(json_object_get(model, "digest"));
    const char *digest = "";
    tlp_status st = TLP_OK;

    if (json_object_get(model, "digest"))
        TLP_TRY(tlpi_model_checked_digest(s->model, &digest));
    if (*digest && given && strcmp(given, digest) == 0)
        return TLP_OK;
    if (json_object_get(model, "fingerprint"))
        TLP_TRY(check_model_text(s, model, "fingerprint",
                                 tlpi_model_fingerprint(s->model)));
    if (*digest)
        TLP_TRY(check_model_text(s, model, "digest", digest));
done:
    return st;
}

static tlp_status check_model(const tlpi_sketch *s, json_t *root)
{
    static const char *const known[] = { "arch", "n_layer", "fingerprint",
                                         "digest" };
    json_t *model = json_object_get(root, "model");
    tlp_status st;

    if (!model)
        return TLP_OK;
    if (!json_is_object(model))
        return tlpi_fail(TLP_EFORMAT, "%s: key \"model\": an object expected",
                         s->where);
    TLP_TRY(check_keys(s->where, "model: ", model, known, TLPI_COUNT(known)));
    TLP_TRY(
        check_model_text(s, model, "arch", tlpi_arch_get(&s->model->hp)->name));
    json_t *n_layer = json_object_get(model, "n_layer");
    if (n_layer && !json_is_integer(n_layer))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key \"model.n_layer\": an integer expected",
                         s->where);
    if (n_layer && json_integer_value(n_layer) != s->n_layer)
        return tlpi_fail(TLP_EMISMATCH,
                         "%s: key \"model.n_layer\": the plan is for %lld, %s "
                         "has %d",
                         s->where, (long long)json_integer_value(n_layer),
                         s->model->path, s->n_layer);
    TLP_TRY(check_bytes(s, model));
done:
    return st;
}

typedef tlp_status (*use_layer_fn)(tlpi_sketch *s, int64_t layer);

static tlp_status read_layers(tlpi_sketch *s, const char *key, json_t *list,
                              use_layer_fn use)
{
    tlp_status st = TLP_OK;

    if (!json_is_array(list))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key \"%s\": an array of layers "
                         "expected",
                         s->where, key);
    for (size_t i = 0; i < json_array_size(list) && st == TLP_OK; i++) {
        json_t *layer = json_array_get(list, i);
        if (!json_is_integer(layer))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key \"%s\", element %zu: a layer number "
                             "expected",
                             s->where, key, i);
        st = use(s, json_integer_value(layer));
    }
    return st;
}

static tlp_status read_mode(const tlpi_sketch *s, json_t *stage, size_t index,
                            int *mode)
{
    json_t *value = json_object_get(stage, "mode");

    *mode = TLP_MODE_SERIAL;
    if (value && json_is_string(value))
        *mode = tlpi_mode_parse(json_string_value(value),
                                json_string_length(value));
    else if (value)
        *mode = -1;
    if (*mode < 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: stages[%zu]: key \"mode\": serial, lp, par, "
                         "asym, lp-code or merge expected, not \"%.40s\"",
                         s->where, index,
                         json_is_string(value) ? json_string_value(value) : "");
    if (!value && json_array_size(json_object_get(stage, "layers")) > 1)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: stages[%zu]: key \"mode\": missing for several "
                         "layers",
                         s->where, index);
    return TLP_OK;
}

static tlp_status read_stages(tlpi_sketch *s, json_t *root)
{
    static const char *const known[] = { "layers", "mode" };
    json_t *stages = json_object_get(root, "stages");
    tlp_status st = TLP_OK;

    if (!json_is_array(stages))
        return tlpi_fail(TLP_EFORMAT, "%s: key \"stages\": an array expected",
                         s->where);
    for (size_t i = 0; i < json_array_size(stages); i++) {
        json_t *stage = json_array_get(stages, i);
        char what[40];
        int mode;

        snprintf(what, sizeof what, "stages[%zu]: ", i);
        if (!json_is_object(stage))
            return tlpi_fail(TLP_EFORMAT, "%s: %san object expected", s->where,
                             what);
        TLP_TRY(check_keys(s->where, what, stage, known, TLPI_COUNT(known)));
        TLP_TRY(read_mode(s, stage, i, &mode));
        tlpi_sketch_begin(s, mode);
        snprintf(what, sizeof what, "stages[%zu].layers", i);
        TLP_TRY(read_layers(s, what, json_object_get(stage, "layers"),
                            tlpi_sketch_add));
        TLP_TRY(tlpi_sketch_end(s));
    }
done:
    return st;
}

static tlp_status read_study(tlpi_sketch *s, json_t *root)
{
    json_t *drop = json_object_get(root, "drop");
    json_t *order = json_object_get(root, "order");
    tlp_status st = TLP_OK;

    if (drop)
        TLP_TRY(read_layers(s, "drop", drop, tlpi_sketch_drop));
    if (order) {
        TLP_TRY(tlpi_sketch_begin_order(s));
        TLP_TRY(read_layers(s, "order", order, tlpi_sketch_order));
    }
    TLP_TRY(tlpi_sketch_check_listed(s));
done:
    return st;
}

static tlp_status read_cut(const tlpi_sketch *s, json_t *nosync)
{
    json_t *cut = json_object_get(nosync, "cut");

    if (!cut ||
        (json_is_string(cut) && strcmp(json_string_value(cut), "even") == 0))
        return TLP_OK;
    return tlpi_fail(json_is_string(cut) ? TLP_ENOTSUP : TLP_EFORMAT,
                     "%s: key \"nosync.cut\": \"even\" expected, not "
                     "\"%.40s\"",
                     s->where,
                     json_is_string(cut) ? json_string_value(cut) : "");
}

static tlp_status read_nosync(tlpi_sketch *s, json_t *root)
{
    static const char *const known[] = { "tracks", "cut", "after" };
    json_t *nosync = json_object_get(root, "nosync");
    json_t *tracks = json_object_get(nosync, "tracks");
    json_t *after = json_object_get(nosync, "after");
    tlp_status st = TLP_OK;

    if (!nosync)
        return TLP_OK;
    if (!json_is_object(nosync) || !json_is_integer(tracks) ||
        !json_is_array(after))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key \"nosync\": an object with a number "
                         "\"tracks\" and a list \"after\" expected",
                         s->where);
    TLP_TRY(check_keys(s->where, "nosync: ", nosync, known, TLPI_COUNT(known)));
    TLP_TRY(read_cut(s, nosync));
    TLP_TRY(tlpi_sketch_begin_nosync(s, json_integer_value(tracks)));
    for (size_t i = 0; i < json_array_size(after); i++) {
        const char *half = json_string_value(json_array_get(after, i));

        if (!half)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key \"nosync.after\", element %zu: a text "
                             "such as \"7a\" expected",
                             s->where, i);
        TLP_TRY(tlpi_plan_read_half(s, half));
    }
done:
    return st;
}

/*
 * The object as text, which the caller releases with free().  Fifteen digits
 * write 0.41 as 0.41, but do not always give back the bits of a double.  The
 * second try has seventeen digits, which do.
 */
static char *dump_exactly(json_t *object)
{
    char *text = tlpi_json_dump(object, JSON_REAL_PRECISION(15));
    json_t *again = text ? tlpi_json_parse(text) : NULL;
    bool same = again && json_equal(object, again);

    json_decref(again);
    if (same)
        return text;
    free(text);
    return tlpi_json_dump(object, JSON_REAL_PRECISION(17));
}

static tlp_status keep_exactly(const tlpi_env *env, json_t *object, char **out)
{
    char *text = dump_exactly(object);

    *out = text ? tlpi_strndup(env, text, strlen(text)) : NULL;
    free(text);
    return *out ? TLP_OK : tlpi_fail_nomem_for("a plan");
}

tlp_status tlpi_plan_record(const tlp_plan *p, const char *key,
                            const char *value, char **made)
{
    json_t *all = p->made ? tlpi_json_parse(p->made) : json_object();
    json_t *added = tlpi_json_parse(value);
    tlp_status st;

    *made = NULL;
    (void)json_object_del(all, key); /* the latest record comes last */
    if (all && added && json_object_set(all, key, added) == 0)
        st = keep_exactly(&p->model->env, all, made);
    else
        st = tlpi_fail_nomem_for("a plan");
    json_decref(added);
    json_decref(all);
    return st;
}

static tlp_status read_made(const tlpi_sketch *s, json_t *root, char **out)
{
    json_t *made = json_object_get(root, "made");

    if (!made)
        return TLP_OK;
    if (!json_is_object(made))
        return tlpi_fail(TLP_EFORMAT, "%s: key \"made\": an object expected",
                         s->where);
    return keep_exactly(&s->model->env, made, out);
}

/* Is this "sha256:" and 64 hexadecimal digits in lower case? */
static bool is_hash(const char *text)
{
    return strncmp(text, "sha256:", 7) == 0 && strlen(text) == 7 + 64 &&
           strspn(text + 7, "0123456789abcdef") == 64;
}

static tlp_status read_adjust(const tlpi_sketch *s, json_t *root,
                              tlpi_adjust **out)
{
    static const char *const known[] = { "file", "sha256" };
    json_t *adjust = json_object_get(root, "adjust");
    tlp_status st;

    if (!adjust)
        return TLP_OK;
    const char *file = json_string_value(json_object_get(adjust, "file"));
    const char *hash = json_string_value(json_object_get(adjust, "sha256"));
    if (!json_is_object(adjust) || !file || !hash)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key \"adjust\": an object with texts \"file\" "
                         "and \"sha256\" expected",
                         s->where);
    TLP_TRY(check_keys(s->where, "adjust: ", adjust, known, TLPI_COUNT(known)));
    TLP_TRY(tlpi_adjust_check_name(s->where, file));
    if (!is_hash(hash))
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key \"adjust.sha256\": \"sha256:\" and 64 "
                         "hexadecimal digits expected",
                         s->where);
    *out = tlpi_calloc(&s->model->env, 1, sizeof **out);
    if (!*out)
        return tlpi_fail_nomem_for("a plan");
    memcpy((*out)->file, file, strlen(file) + 1);
    memcpy((*out)->sha256, hash, strlen(hash) + 1);
done:
    return st;
}

tlp_status tlpi_plan_read_json(tlpi_sketch *s, const char *text, size_t n,
                               char **made, tlpi_adjust **adjust)
{
    static const char *const known[] = { "tlp_plan", "model", "stages",
                                         "order",    "drop",  "nosync",
                                         "made",     "adjust" };
    json_error_t error;
    json_t *root = NULL;
    tlp_status st;

    *made = NULL;
    *adjust = NULL;
    TLP_TRY(tlpi_json_check_depth(s->where, text, n, MAX_DEPTH));
    root = tlpi_json_load(text, n, 0, &error);
    if (!root)
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: line %d, column %d: %s", s->where,
                          error.line, error.column, error.text));
    if (!json_is_object(root))
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: a JSON object expected", s->where));
    TLP_TRY(check_version(s->where, root));
    TLP_TRY(check_keys(s->where, "", root, known, TLPI_COUNT(known)));
    TLP_TRY(check_model(s, root));
    TLP_TRY(read_stages(s, root));
    TLP_TRY(read_study(s, root));
    TLP_TRY(read_nosync(s, root));
    TLP_TRY(read_made(s, root, made));
    TLP_TRY(read_adjust(s, root, adjust));
done:
    json_decref(root);
    return st;
}
