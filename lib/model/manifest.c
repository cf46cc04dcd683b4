/*
 * manifest.c - a model as sorted lines of text, and where two models differ.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/digest.h"

/* ==== writing ============================================================ */

/* A tensor's name as one word: what is not printable ASCII becomes \xHH. */
static void add_name(tlpi_text *out, const char *name)
{
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;

        if (c > ' ' && c < 0x7f && c != '\\')
            tlpi_text_add(out, name, 1);
        else
            tlpi_text_printf(out, "\\x%02x", c);
    }
}

static void add_tensor(tlpi_text *out, const tlpi_tensor *t,
                       const uint8_t digest[TLPI_DIGEST_BYTES])
{
    int n_dim = 4;

    while (n_dim > 1 && t->ne[n_dim - 1] == 1)
        n_dim--;
    tlpi_text_printf(out, "tensor ");
    add_name(out, t->name);
    tlpi_text_printf(out, "\t%s ", tlpi_dtype_name((uint32_t)t->type));
    for (int i = 0; i < n_dim; i++)
        tlpi_text_printf(out, "%s%lld", i ? "x" : "", (long long)t->ne[i]);
    tlpi_text_printf(out, " sha256:");
    for (int i = 0; i < TLPI_DIGEST_BYTES; i++)
        tlpi_text_printf(out, "%02x", digest[i]);
    tlpi_text_printf(out, "\n");
}

/* Rows that do not make another model, and rows that a later version of the
 * library adds, stay out where fingerprints leave them out. */
static void add_hparam(tlpi_text *out, const tlpi_hparams *hp,
                       const tlpi_hparam *row)
{
    double value = tlpi_hparam_value(hp, row);

    if (row->identity == TLPI_SAME_MODEL ||
        (row->identity == TLPI_OTHER_IF_USED && value == row->neutral))
        return;
    tlpi_text_printf(out, row->is_float ? "key %s\t%.9g\n" : "key %s\t%.0f\n",
                     row->name, value);
}

/* Offset and length of a line in an unsorted text. */
typedef struct manifest_line {
    const char *at;
    size_t n;
} manifest_line;

static int by_text(const void *a, const void *b)
{
    const manifest_line *x = a, *y = b;
    int order = memcmp(x->at, y->at, TLPI_MIN(x->n, y->n));

    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static void add_sorted(tlpi_text *out, const tlpi_text *text)
{
    size_t n = 0, i = 0;

    for (size_t at = 0; at < text->len; at++)
        n += text->data[at] == '\n';
    manifest_line *line = tlpi_alloc_array(out->env, n, sizeof *line);
    if (!line) {
        out->failed = true;
        return;
    }
    for (const char *at = text->data; i < n; i++) {
        line[i].at = at;
        line[i].n = (size_t)(strchr(at, '\n') + 1 - at);
        at += line[i].n;
    }
    qsort(line, n, sizeof *line, by_text);
    for (i = 0; i < n; i++)
        tlpi_text_add(out, line[i].at, line[i].n);
    tlpi_free(out->env, line);
}

void tlpi_manifest_write(tlpi_text *out, const tlp_model *m,
                         uint8_t (*digest)[TLPI_DIGEST_BYTES])
{
    tlpi_text text = { .env = out->env };

    tlpi_text_printf(&text, "key arch\t%s\n", tlpi_arch_get(&m->hp)->name);
    for (size_t i = 0; i < TLPI_N_HPARAM; i++)
        add_hparam(&text, &m->hp, &tlpi_hparam_table[i]);
    for (size_t f = 0; f < m->n_file; f++)
        for (size_t i = 0; i < m->file[f]->n_tensor; i++)
            add_tensor(&text, &m->file[f]->tensor[i], *digest++);
    if (text.failed)
        out->failed = true;
    else
        add_sorted(out, &text);
    tlpi_text_free(&text);
}

/* ==== comparing ========================================================== */

/* A line's name, "tensor blk.0.attn_q.weight", and its value. */
typedef struct manifest_entry {
    const char *name, *value;
    int n_name, n_value;
} manifest_entry;

/* The line at *at, which moves behind it; false at the end. */
static bool take_entry(const char **at, manifest_entry *e)
{
    size_t n = strcspn(*at, "\n"), tab = strcspn(*at, "\t\n");

    if (**at == '\0')
        return false;
    e->name = *at;
    e->n_name = (int)TLPI_MIN(tab, 300);
    e->value = *at + TLPI_MIN(tab + 1, n);
    e->n_value = (int)TLPI_MIN(n - TLPI_MIN(tab + 1, n), 120);
    *at += n + ((*at)[n] == '\n');
    return true;
}

static int by_name(const manifest_entry *a, const manifest_entry *b)
{
    int order =
        memcmp(a->name, b->name, (size_t)TLPI_MIN(a->n_name, b->n_name));

    return order ? order : a->n_name - b->n_name;
}

static bool same_value(const manifest_entry *a, const manifest_entry *b)
{
    return a->n_value == b->n_value &&
           memcmp(a->value, b->value, (size_t)a->n_value) == 0;
}

/* What two values "F32 96x288 sha256:..." share at their beginning is left out
 * up to the last blank of it. */
static void skip_common(manifest_entry *a, manifest_entry *b)
{
    int word = 0;

    for (int i = 0;
         i < a->n_value && i < b->n_value && a->value[i] == b->value[i]; i++)
        if (a->value[i] == ' ')
            word = i + 1;
    a->value += word;
    a->n_value -= word;
    b->value += word;
    b->n_value -= word;
}

static void describe(char *out, size_t cap, manifest_entry a, manifest_entry b,
                     int rank)
{
    skip_common(&a, &b);
    snprintf(out, cap, "%.*s differs: rank 0 has %.*s, rank %d has %.*s",
             a.n_name, a.name, a.n_value, a.value, rank, b.n_value, b.value);
}

void tlpi_manifest_compare(char *out, size_t cap, const char *ours,
                           const char *theirs, int rank)
{
    manifest_entry a, b;
    bool more_a = take_entry(&ours, &a), more_b = take_entry(&theirs, &b);

    while (more_a || more_b) {
        int order = !more_b ? -1 : !more_a ? 1 : by_name(&a, &b);

        if (order < 0 || order > 0) {
            manifest_entry *e = order < 0 ? &a : &b;
            int has = order < 0 ? 0 : rank, lacks = order < 0 ? rank : 0;

            snprintf(out, cap, "%.*s: rank %d has %.*s, rank %d has none",
                     e->n_name, e->name, has, e->n_value, e->value, lacks);
            return;
        }
        if (!same_value(&a, &b)) {
            describe(out, cap, a, b, rank);
            return;
        }
        more_a = take_entry(&ours, &a);
        more_b = take_entry(&theirs, &b);
    }
    snprintf(out, cap, "rank %d sent another digest for an equal model", rank);
}
