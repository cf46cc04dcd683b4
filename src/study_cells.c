/*
 * study_cells.c - the cells of a study, and their plans.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "study.h"

const char *study_kind_name(int kind)
{
    static const char *const names[N_STUDY_KIND] = {
        [STUDY_SERIAL] = "serial", [SHUFFLE] = "shuffle",   [PRUNE] = "prune",
        [MERGE] = "merge",         [PARALLEL] = "parallel", [PAIRS] = "pairs"
    };
    return names[kind];
}

const char *study_mode_name(int mode)
{
    static const char *const names[STUDY_N_MODE] = { "lp", "par", "asym" };

    return mode < 0 ? "" : names[mode];
}

double study_ratio(const study *s, const cell *c)
{
    return c->done && s->cell[0].done ? exp(c->nll - s->cell[0].nll) : NAN;
}

/* ==== ranges ============================================================= */

typedef struct cell_range {
    int start, end;
} cell_range;

static int by_place(const void *a, const void *b)
{
    const cell_range *x = a, *y = b;

    return x->start != y->start ? (x->start > y->start) - (x->start < y->start)
                                : (x->end > y->end) - (x->end < y->end);
}

/* All ranges of blocks of `step` layers; the last block may be shorter. */
static size_t all_ranges(const study *s, cell_range *out)
{
    int n_layer = s->e.info.n_layer;
    size_t n = 0;

    for (int start = 0; start < n_layer; start += s->step)
        for (int end = start; end < n_layer; end += s->step) {
            int last = end + s->step - 1;

            out[n++] =
                (cell_range){ start, last < n_layer ? last : n_layer - 1 };
        }
    return n;
}

/* Read one range "3-8" up to the comma or the end; false if it is invalid. */
static bool read_range(const char **text, long n_layer, cell_range *out)
{
    char *end;
    long first, last;

    if (**text < '0' || **text > '9')
        return false;
    first = strtol(*text, &end, 10);
    if (*end != '-' || end[1] < '0' || end[1] > '9')
        return false;
    last = strtol(end + 1, &end, 10);
    if ((*end && *end != ',') || first > last || last >= n_layer)
        return false;
    *out = (cell_range){ (int)first, (int)last };
    *text = end + (*end == ',');
    return *end != ',' || **text;
}

static int given_ranges(const study *s, cell_range *out, size_t *n)
{
    size_t kept = 0;

    *n = 0;
    for (const char *at = s->ranges; *at;)
        if (!read_range(&at, s->e.info.n_layer, &out[(*n)++]))
            return cli_fail("--ranges %s: START-END,... expected, of layers 0 "
                            "to %d",
                            s->ranges, s->e.info.n_layer - 1);
    if (*n == 0)
        return cli_fail("--ranges: no range is given");
    qsort(out, *n, sizeof *out, by_place);
    for (size_t i = 0; i < *n; i++)
        if (kept == 0 || by_place(&out[kept - 1], &out[i]))
            out[kept++] = out[i];
    *n = kept;
    return CLI_OK;
}

/* ==== cells ============================================================== */

/* A single layer can only be pruned, and at least one layer must remain. */
static bool makes_sense(const study *s, int kind, cell_range r)
{
    int n = r.end - r.start + 1;

    return kind == PRUNE ? n < s->e.info.n_layer : n > 1;
}

static void add_kind(study *s, int kind, int mode, const cell_range *r,
                     size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (makes_sense(s, kind, r[i]))
            s->cell[s->n++] = (cell){
                .kind = kind, .mode = mode, .start = r[i].start, .end = r[i].end
            };
}

static void add_cells(study *s, const cell_range *r, size_t n)
{
    s->cell[s->n++] = (cell){ .kind = STUDY_SERIAL,
                              .mode = -1,
                              .end = s->e.info.n_layer - 1 };
    for (int kind = SHUFFLE; kind < N_STUDY_KIND; kind++) {
        if (!(s->kinds >> (kind - SHUFFLE) & 1))
            continue;
        if (kind != PARALLEL && kind != PAIRS)
            add_kind(s, kind, -1, r, n);
        else
            for (int mode = 0; mode < STUDY_N_MODE; mode++)
                if (s->modes >> mode & 1)
                    add_kind(s, kind, mode, r, n);
    }
}

int study_make_cells(study *s)
{
    size_t n_layer = (size_t)s->e.info.n_layer;
    size_t n =
        s->ranges ? strlen(s->ranges) / 2 + 1 : n_layer * (n_layer + 1) / 2;
    size_t n_panel = N_STUDY_KIND + 2 * STUDY_N_MODE;
    cell_range *r = calloc(n, sizeof *r);
    int rc = CLI_OK;

    s->cell = calloc(1 + n_panel * n, sizeof *s->cell);
    if (!r || !s->cell)
        rc = cli_fail("out of memory");
    else if (s->ranges)
        rc = given_ranges(s, r, &n);
    else
        n = all_ranges(s, r);
    if (rc == CLI_OK)
        add_cells(s, r, n);
    if (rc == CLI_OK && s->n == 1)
        rc = cli_fail("no range has layers enough for a study");
    free(r);
    return rc;
}

/* ==== plans ============================================================== */

/* A splitmix64 generator. */
static uint64_t draw_bits(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Permute layer[0..n) into an order that differs from the old order. */
static void permute(int *layer, int n, uint64_t *state)
{
    int first = layer[0];
    bool same = true;

    while (same) {
        for (int i = n - 1; i > 0; i--) {
            int j = (int)(draw_bits(state) % (uint64_t)(i + 1));
            int held = layer[i];

            layer[i] = layer[j];
            layer[j] = held;
        }
        for (int i = 0; same && i < n; i++)
            same = layer[i] == first + i;
    }
}

/* A permutation depends on seed, draw and range alone. */
static int shuffle_text(const study *s, const cell *c, int draw, char *out,
                        size_t cap)
{
    int n = s->e.info.n_layer;
    int *layer = malloc((size_t)n * sizeof *layer);
    uint64_t state = s->seed;
    size_t len;

    if (!layer)
        return cli_fail("out of memory");
    for (int i = 0; i < n; i++)
        layer[i] = i;
    state = draw_bits(&state) + (uint64_t)draw;
    state = draw_bits(&state) + (uint64_t)c->start;
    state = draw_bits(&state) + (uint64_t)c->end;
    permute(layer + c->start, c->end - c->start + 1, &state);
    len = (size_t)snprintf(out, cap, "order:%d", layer[0]);
    for (int i = 1; i < n; i++)
        len += (size_t)snprintf(out + len, cap - len, ",%d", layer[i]);
    free(layer);
    return CLI_OK;
}

int study_n_draw(const study *s, const cell *c)
{
    /* Two layers have only one other order. */
    return c->kind == SHUFFLE && c->end - c->start > 1 ? s->n_draw : 1;
}

int study_plan_text(const study *s, const cell *c, int draw, char **text)
{
    /* "order:" and each layer with its comma, or one clause */
    size_t cap = 64 + 12 * (size_t)s->e.info.n_layer;
    const char *mode = study_mode_name(c->mode);
    int a = c->start, b = c->end;

    *text = malloc(cap);
    if (!*text)
        return cli_fail("out of memory");
    switch (c->kind) {
    case SHUFFLE:
        return shuffle_text(s, c, draw, *text, cap);
    case PRUNE:
        snprintf(*text, cap, "drop:%d-%d", a, b);
        break;
    case MERGE:
        snprintf(*text, cap, "merge:%d-%d", a, b);
        break;
    case PARALLEL:
        snprintf(*text, cap, "%s:%d-%d", mode, a, b);
        break;
    case PAIRS:
        snprintf(*text, cap, "pairs:%d-%d@%s", a, b, mode);
        break;
    default:
        snprintf(*text, cap, "serial");
    }
    return CLI_OK;
}
