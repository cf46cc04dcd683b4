/*
 * schema_array.c - arrays: items with a schema each, then items of one schema.
 */
#include "grammar/schema.h"

typedef struct array {
    tlpi_schema *s;
    json_t *prefix; /* array of schemas, or NULL */
    json_t *items;  /* of all further items; false: there are none */
    const char *prefix_key, *items_key;
    int64_t n_prefix, min, max; /* max -1: no bound */
    size_t id;                  /* of this array's rules beside */
} array;

#define OUT(...) tlpi_text_printf(&a->s->out, __VA_ARGS__)

static tlp_status write_item(array *a, int64_t i)
{
    return i < a->n_prefix
               ? tlpi_schema_ref_at(a->s, json_array_get(a->prefix, (size_t)i),
                                    a->prefix_key, i)
               : tlpi_schema_ref(a->s, a->items, a->items_key, NULL);
}

/* Items that follow the prefix, each behind a comma; `done` of them stand in
 * front. */
static tlp_status write_rest(array *a, int64_t done)
{
    int64_t least = a->min > done ? a->min - done : 0;

    if (json_is_false(a->items) || (a->max >= 0 && a->max <= done))
        return TLP_OK;
    OUT(" (\",\" \" \"? ");
    tlp_status st = write_item(a, a->n_prefix);
    if (a->max >= 0)
        OUT("){%lld,%lld}", (long long)least, (long long)(a->max - done));
    else
        OUT("){%lld,}", (long long)least);
    return st;
}

/* Rules item-ID-i: what follows item i - 1 of the prefix.  An item that may be
 * left out takes all later ones with it. */
static tlp_status write_prefix(array *a, int64_t n)
{
    tlp_status st = TLP_OK;

    for (int64_t i = 1; i < n; i++) {
        bool need = i < a->min;
        OUT("item-%zu-%lld ::= %s\",\" \" \"? ", a->id, (long long)i,
            need ? "" : "(");
        TLP_TRY(write_item(a, i));
        OUT(" item-%zu-%lld%s\n", a->id, (long long)i + 1, need ? "" : ")?");
    }
    OUT("item-%zu-%lld ::= \"\"", a->id, (long long)n);
    st = write_rest(a, n);
    OUT("\n");
done:
    return st;
}

static tlp_status write_array(array *a)
{
    int64_t n = a->n_prefix;
    tlp_status st = TLP_OK;

    if (a->max >= 0 && a->max < n)
        n = a->max;
    if (n == 0 && (json_is_false(a->items) || a->max == 0)) {
        OUT("\"[]\"");
        return TLP_OK;
    }
    OUT(a->min > 0 ? "\"[\" " : "\"[\" (");
    TLP_TRY(write_item(a, 0));
    if (n == 0) {
        TLP_TRY(write_rest(a, 1));
    } else {
        OUT(" item-%zu-1", a->id);
        tlpi_schema_swap(a->s);
        st = write_prefix(a, n);
        tlpi_schema_swap(a->s);
    }
    OUT(a->min > 0 ? " \"]\"" : ")? \"]\"");
done:
    return st;
}

tlp_status tlpi_schema_array(tlpi_schema *s, json_t *schema)
{
    json_t *items = json_object_get(schema, "items");
    array a = { .s = s,
                .prefix = json_object_get(schema, "prefixItems"),
                .items = items,
                .prefix_key = "prefixItems",
                .items_key = "items",
                .max = -1 };
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_schema_count(s, schema, "minItems", &a.min));
    TLP_TRY(tlpi_schema_count(s, schema, "maxItems", &a.max));
    if (json_is_array(items)) { /* older drafts */
        if (a.prefix)
            return tlpi_schema_fail(s, TLP_EFORMAT,
                                    "keyword items: a schema expected beside "
                                    "prefixItems");
        a.prefix = items;
        a.prefix_key = "items";
        a.items = NULL;
    }
    if (!a.items)
        a.items = json_true();
    a.n_prefix = (int64_t)json_array_size(a.prefix);
    if ((a.max >= 0 && a.max < a.min) ||
        (json_is_false(a.items) && a.min > a.n_prefix))
        return tlpi_schema_fail(s, TLP_EINVAL,
                                "an array of at least %lld items: fewer are "
                                "allowed",
                                (long long)a.min);
    if (json_is_true(a.items) && a.n_prefix == 0 && a.min == 0 && a.max < 0) {
        tlpi_schema_base(s, TLPI_BASE_ARRAY);
        return TLP_OK;
    }
    a.id = s->n_side++;
    st = write_array(&a);
done:
    return st;
}
