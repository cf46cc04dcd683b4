/*
 * schema_object.c - objects: properties in the order of the schema, then other
 * keys.
 *
 * A comma stands before a property if something stands before it.  So there are
 * two rules for the properties from one on: `more` with a comma, and `first`
 * without.  Property i is left out where it is not required.
 */
#include <stdlib.h>
#include <string.h>

#include "grammar/schema.h"

typedef struct object {
    tlpi_schema *s;
    json_t *properties, *other; /* other: of more keys, or NULL */
    const char **key;           /* [n] of the properties */
    json_t **value;             /* [n] */
    bool *need;                 /* [n] */
    size_t n, cap;
    size_t id; /* of this object's helper rules */
} object;

#define OUT(...) tlpi_text_printf(&o->s->out, __VA_ARGS__)

static tlp_status fail_nomem(void)
{
    return tlpi_fail_nomem_for("a grammar of a schema");
}

/* ==== properties ========================================================= */

static bool is_needed(const json_t *schema, const char *key)
{
    const json_t *list = json_object_get(schema, "required");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), key) == 0)
            return true;
    return false;
}

static void add_property(object *o, const char *key, json_t *value, bool need)
{
    o->key[o->n] = key;
    o->value[o->n] = value;
    o->need[o->n++] = need;
}

/* The properties that may stand in a text, and required keys that have no
 * schema of their own. */
static tlp_status list_properties(object *o, json_t *schema)
{
    json_t *list = json_object_get(schema, "required"), *value;
    const char *key;

    json_object_foreach(o->properties, key, value)
    {
        bool need = is_needed(schema, key);
        if (json_is_false(value) && need)
            return tlpi_schema_fail(o->s, TLP_EINVAL,
                                    "property %.64s: required and false", key);
        if (!json_is_false(value))
            add_property(o, key, value, need);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        key = json_string_value(json_array_get(list, i));
        if (json_object_get(o->properties, key))
            continue;
        json_t *any = o->other ? o->other : json_true();
        if (json_is_false(json_object_get(schema, "additionalProperties")))
            return tlpi_schema_fail(o->s, TLP_EINVAL,
                                    "property %.64s: required, and "
                                    "additionalProperties is false",
                                    key);
        for (size_t k = 0; k < o->n; k++)
            if (strcmp(o->key[k], key) == 0)
                any = NULL; /* listed twice */
        if (any)
            add_property(o, key, any, true);
    }
    return TLP_OK;
}

/* "key": value */
static tlp_status write_property(object *o, size_t i)
{
    json_t *key = json_string(o->key[i]);
    tlp_status st = key ? tlpi_schema_value(o->s, key) : fail_nomem();

    json_decref(key);
    if (st == TLP_OK)
        OUT(" \":\" \" \"? ");
    return st == TLP_OK
               ? tlpi_schema_ref(o->s, o->value[i], "properties", o->key[i])
               : st;
}

/* ==== other keys ========================================================= */

static int compare_keys(const void *pa, const void *pb)
{
    return strcmp(*(const char *const *)pa, *(const char *const *)pb);
}

/* The bytes of a character of UTF-8 that begins at s. */
static size_t char_bytes(const char *s)
{
    size_t n = 1;

    while (((unsigned char)s[n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* A character inside [], or nothing for one that a plain key cannot have. */
static void write_in_class(object *o, const char *c, size_t n)
{
    if (n == 1 && strchr("[]-^", *c))
        OUT(*c == '^' ? "\\x5E" : "\\%c", *c);
    else if (n > 1 || (*c >= 0x20 && *c != '"' && *c != '\\' && *c != 0x7f))
        OUT("%.*s", (int)n, c);
}

/*
 * Rules for the rest of a key that is none of the sorted keys [from, to), which
 * have `at` bytes in common: a character that leads away from all of them and
 * then any text; or a character of some and a rest; or the end, if no key ends
 * here.  A stack of ranges takes the place of recursion.
 */
typedef struct key_range {
    size_t from, to, at, id;
} key_range;

static void write_key_range(object *o, const char **key, key_range r,
                            key_range *stack, size_t *n_stack, size_t *n_rule)
{
    bool ends = key[r.from][r.at] == '\0';
    size_t first = r.from + ends, begin = *n_stack;

    OUT("key-%zu-%zu ::= %s[^\\\"\\\\\\x00-\\x1F\\x7F", o->id, r.id,
        ends ? "" : "\"\\\"\" | ");
    for (size_t i = first; i < r.to;) {
        const char *c = key[i] + r.at;
        size_t n = char_bytes(c), end = i + 1;
        while (end < r.to && strncmp(key[end] + r.at, c, n) == 0)
            end++;
        write_in_class(o, c, n);
        stack[(*n_stack)++] = (key_range){ i, end, r.at + n, (*n_rule)++ };
        i = end;
    }
    OUT("] plain* \"\\\"\"");
    for (size_t i = begin; i < *n_stack; i++) {
        const key_range *next = &stack[i];
        const char *c = key[next->from] + r.at;
        size_t n = next->at - r.at;
        if (n == 1 && ((unsigned char)*c < 0x20 || strchr("\"\\\x7f", *c)))
            continue; /* a plain key has no such character */
        OUT(" | ");
        tlpi_schema_literal(o->s, c, n);
        OUT(" key-%zu-%zu", o->id, next->id);
    }
    OUT("\n");
}

/* Rules key-ID-0 and so on: the rest of a key behind its first quote. */
static tlp_status write_other_keys(object *o)
{
    size_t bytes = 1, n_stack = 1, n_rule = 1;

    o->s->base |= 1u << TLPI_BASE_PLAIN;
    if (o->n == 0) {
        OUT("key-%zu-0 ::= plain* \"\\\"\"\n", o->id);
        return TLP_OK;
    }
    for (size_t i = 0; i < o->n; i++)
        bytes += strlen(o->key[i]) + 1;
    key_range *stack = tlpi_alloc_array(o->s->env, bytes, sizeof *stack);
    if (!stack)
        return fail_nomem();
    qsort(o->key, o->n, sizeof *o->key, compare_keys);
    stack[0] = (key_range){ 0, o->n, 0, 0 };
    while (n_stack > 0 && !o->s->out.failed) {
        key_range r = stack[--n_stack];
        write_key_range(o, o->key, r, stack, &n_stack, &n_rule);
    }
    tlpi_free(o->s->env, stack);
    return TLP_OK;
}

/* ==== objects ============================================================ */

static bool has_more(const object *o, size_t i)
{
    return i < o->n || o->other;
}

/* Rules more-ID-i: what may follow a property. */
static tlp_status write_more(object *o)
{
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < o->n; i++) {
        OUT("more-%zu-%zu ::= %s\",\" \" \"? ", o->id, i,
            o->need[i] ? "" : "(");
        TLP_TRY(write_property(o, i));
        OUT(o->need[i] ? "" : ")?");
        if (has_more(o, i + 1))
            OUT(" more-%zu-%zu", o->id, i + 1);
        OUT("\n");
    }
    if (!o->other)
        return TLP_OK;
    OUT("more-%zu-%zu ::= (\",\" \" \"? other-%zu)*\n", o->id, o->n, o->id);
    OUT("other-%zu ::= \"\\\"\" key-%zu-0 \":\" \" \"? ", o->id, o->id);
    TLP_TRY(tlpi_schema_ref(o->s, o->other, "additionalProperties", NULL));
    OUT("\n");
    st = write_other_keys(o);
done:
    return st;
}

/* Rules first-ID-i: properties from i on, of which none may be left. */
static tlp_status write_first(object *o)
{
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < o->n; i++) {
        bool last = !has_more(o, i + 1);
        OUT("first-%zu-%zu ::= %s", o->id, i,
            last && !o->need[i] ? "\"\" | " : "");
        TLP_TRY(write_property(o, i));
        if (!last)
            OUT(" more-%zu-%zu", o->id, i + 1);
        if (!last && !o->need[i])
            OUT(" | first-%zu-%zu", o->id, i + 1);
        OUT("\n");
        if (o->need[i])
            return TLP_OK;
    }
    if (o->other)
        OUT("first-%zu-%zu ::= (other-%zu more-%zu-%zu)?\n", o->id, o->n, o->id,
            o->id, o->n);
done:
    return st;
}

static tlp_status write_object(object *o)
{
    tlp_status st;

    if (!has_more(o, 0)) {
        OUT("\"{}\"");
        return TLP_OK;
    }
    OUT("\"{\" first-%zu-0 \"}\"", o->id);
    tlpi_schema_swap(o->s);
    st = write_first(o);
    if (st == TLP_OK)
        st = write_more(o);
    tlpi_schema_swap(o->s);
    return st;
}

tlp_status tlpi_schema_object(tlpi_schema *s, json_t *schema)
{
    json_t *other = json_object_get(schema, "additionalProperties");
    object o = { .s = s, .properties = json_object_get(schema, "properties") };
    tlp_status st = TLP_OK;

    if (!o.properties && !json_object_get(schema, "required") &&
        (!other || json_is_true(other))) {
        tlpi_schema_base(s, TLPI_BASE_OBJECT);
        return TLP_OK;
    }
    /* Without the keyword, an object with properties has no other keys. */
    if ((other && !json_is_false(other)) || (!other && !o.properties))
        o.other = other ? other : json_true();
    o.id = s->n_side++;
    o.cap = json_object_size(o.properties) +
            json_array_size(json_object_get(schema, "required"));
    o.key = tlpi_alloc_array(s->env, o.cap, sizeof *o.key);
    o.value = tlpi_alloc_array(s->env, o.cap, sizeof *o.value);
    o.need = tlpi_alloc_array(s->env, o.cap, sizeof *o.need);
    TLP_TRY(o.key && o.value && o.need ? TLP_OK : fail_nomem());
    TLP_TRY(list_properties(&o, schema));
    st = write_object(&o);
done:
    tlpi_free(s->env, o.key);
    tlpi_free(s->env, o.value);
    tlpi_free(s->env, o.need);
    return st;
}
