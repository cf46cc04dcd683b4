/*
 * plan_format.c - write a plan in its text and JSON forms.  Equal plans give
 * equal texts: clauses stand in a fixed order, and runs are written the
 * shortest way.
 */
#include "model/digest.h"
#include "plan/adjust.h"
#include "plan/plan_sketch.h"

/* Runs of at least MIN_PAIRS_RUN neighbouring pairs are written as
 * "pairs:a-b@mode". */
#define MIN_PAIRS_RUN 3

static int first_layer(const tlpi_stage *s)
{
    int first = s->layers[0];

    for (int i = 1; i < s->n_member; i++)
        first = TLPI_MIN(first, s->layers[i]);
    return first;
}

/* Are the stages sorted by their lowest layer?  This is the order of a plan
 * without "order". */
static bool is_natural(const tlp_plan *p)
{
    for (int i = 1; i < p->n_stage; i++) {
        if (first_layer(&p->stage[i]) < first_layer(&p->stage[i - 1]))
            return false;
    }
    return true;
}

/* A list of numbers being written, with separators; a run is one item,
 * "a-b". */
typedef struct list {
    tlpi_text *out;
    const char *separator;
    bool ranges;     /* write runs as a-b */
    int first, last; /* run that is not written yet; first < 0: no run */
    bool any;
} list;

static void list_flush(list *l)
{
    if (l->first < 0)
        return;
    tlpi_text_printf(l->out, "%s%d", l->any ? l->separator : "", l->first);
    if (l->last > l->first)
        tlpi_text_printf(l->out, "-%d", l->last);
    l->any = true;
    l->first = -1;
}

static void list_add(list *l, int layer)
{
    if (l->ranges && l->first >= 0 && layer == l->last + 1) {
        l->last = layer;
        return;
    }
    list_flush(l);
    l->first = l->last = layer;
}

static void add_members(tlpi_text *out, const tlpi_stage *s,
                        const char *separator, bool ranges)
{
    list l = { out, separator, ranges, -1, -1, false };

    for (int i = 0; i < s->n_member; i++)
        list_add(&l, s->layers[i]);
    list_flush(&l);
}

static void add_order(tlpi_text *out, const tlp_plan *p, const char *separator,
                      bool ranges)
{
    list l = { out, separator, ranges, -1, -1, false };

    for (int i = 0; i < p->n_stage; i++) {
        for (int j = 0; j < p->stage[i].n_member; j++)
            list_add(&l, p->stage[i].layers[j]);
    }
    list_flush(&l);
}

static bool runs(const tlp_plan *p, int layer)
{
    for (int i = 0; i < p->n_stage; i++) {
        for (int j = 0; j < p->stage[i].n_member; j++) {
            if (p->stage[i].layers[j] == layer)
                return true;
        }
    }
    return false;
}

/* Add `head` and the layers that are in no stage; add nothing if every layer is
 * in a stage. */
static void add_dropped(tlpi_text *out, const tlp_plan *p, const char *head,
                        const char *separator, bool ranges, const char *tail)
{
    list l = { out, separator, ranges, -1, -1, false };
    bool any = false;

    for (int layer = 0; layer < p->model->hp.n_layer; layer++) {
        if (runs(p, layer))
            continue;
        if (!any)
            tlpi_text_printf(out, "%s", head);
        any = true;
        list_add(&l, layer);
    }
    list_flush(&l);
    if (any)
        tlpi_text_printf(out, "%s", tail);
}

/* Number of stages from stage i on that are pairs (a,a+1), (a+2,a+3), ... of
 * one mode. */
static int count_pairs(const tlp_plan *p, int i)
{
    int n = 0;

    for (; i + n < p->n_stage; n++) {
        const tlpi_stage *s = &p->stage[i + n];
        if (s->mode != p->stage[i].mode || s->n_member != 2 ||
            s->layers[0] != p->stage[i].layers[0] + 2 * n ||
            s->layers[1] != s->layers[0] + 1)
            break;
    }
    return n;
}

static void add_groups(tlpi_text *out, const tlp_plan *p)
{
    int mode = TLP_MODE_SERIAL; /* mode of the clause that is being written */

    for (int i = 0; i < p->n_stage; i++) {
        const tlpi_stage *s = &p->stage[i];
        if (s->mode == TLP_MODE_SERIAL)
            continue;
        int n_pair = count_pairs(p, i);
        const char *sep = out->len > 0 ? ";" : "";
        if (n_pair >= MIN_PAIRS_RUN) {
            tlpi_text_printf(out, "%spairs:%d-%d@%s", sep, s->layers[0],
                             s->layers[0] + 2 * n_pair - 1,
                             tlpi_mode_name(s->mode));
            mode = TLP_MODE_SERIAL;
            i += n_pair - 1;
            continue;
        }
        if (s->mode == mode)
            tlpi_text_printf(out, ",");
        else
            tlpi_text_printf(out, "%s%s:", sep, tlpi_mode_name(s->mode));
        mode = s->mode;
        add_members(out, s, "+", true);
    }
}

/* Add the half-layers whose exchanges are left out, each between quotes. */
static void add_nosync(tlpi_text *out, const tlp_plan *p, const char *separator,
                       const char *quote)
{
    bool any = false;

    for (int i = 0; i < p->n_stage; i++) {
        const tlpi_stage *s = &p->stage[i];

        if (!s->nosync)
            continue;
        tlpi_text_printf(out, "%s%s%d%s%s", any ? separator : "", quote,
                         s->layers[0], tlpi_nosync_name(s->nosync), quote);
        any = true;
    }
}

void tlpi_plan_write_text(const tlp_plan *p, tlpi_text *out)
{
    add_groups(out, p);
    if (p->n_track) {
        tlpi_text_printf(out, "%snosync@%d:", out->len > 0 ? ";" : "",
                         p->n_track);
        add_nosync(out, p, ",", "");
    }
    add_dropped(out, p, out->len > 0 ? ";drop:" : "drop:", ",", true, "");
    if (!is_natural(p)) {
        tlpi_text_printf(out, "%s", out->len > 0 ? ";order:" : "order:");
        add_order(out, p, ",", true);
    }
    if (out->len == 0)
        tlpi_text_printf(out, "serial");
}

/* Fails where the digest cannot be computed, for want of memory. */
static void add_model(tlpi_text *out, const tlp_model *m)
{
    const char *digest = "";

    if (tlpi_model_checked_digest(m, &digest) != TLP_OK)
        out->failed = true;
    tlpi_text_printf(out,
                     "{\n  \"tlp_plan\": 1,\n  \"model\": {\"arch\": \"%s\", "
                     "\"n_layer\": %d,\n            \"fingerprint\": \"%s\"",
                     tlpi_arch_get(&m->hp)->name, m->hp.n_layer,
                     tlpi_model_fingerprint(m));
    if (*digest)
        tlpi_text_printf(out, ",\n            \"digest\": \"%s\"", digest);
    tlpi_text_printf(out, "},\n");
}

void tlpi_plan_write_json_as(const tlp_plan *p, const char *file,
                             tlpi_text *out)
{
    add_model(out, p->model);
    tlpi_text_printf(out, "  \"stages\": [\n");
    for (int i = 0; i < p->n_stage; i++) {
        const tlpi_stage *s = &p->stage[i];
        tlpi_text_printf(out, "    {\"layers\": [");
        add_members(out, s, ", ", false);
        if (s->mode == TLP_MODE_SERIAL)
            tlpi_text_printf(out, "]");
        else
            tlpi_text_printf(out, "], \"mode\": \"%s\"",
                             tlpi_mode_name(s->mode));
        tlpi_text_printf(out, i + 1 < p->n_stage ? "},\n" : "}\n");
    }
    tlpi_text_printf(out, "  ]");
    add_dropped(out, p, ",\n  \"drop\": [", ", ", false, "]");
    if (!is_natural(p)) {
        tlpi_text_printf(out, ",\n  \"order\": [");
        add_order(out, p, ", ", false);
        tlpi_text_printf(out, "]");
    }
    if (p->n_track) {
        tlpi_text_printf(out,
                         ",\n  \"nosync\": {\"tracks\": %d, \"cut\": "
                         "\"even\", \"after\": [",
                         p->n_track);
        add_nosync(out, p, ", ", "\"");
        tlpi_text_printf(out, "]}");
    }
    if (p->adjust)
        tlpi_text_printf(out,
                         ",\n  \"adjust\": {\"file\": \"%s\",\n"
                         "             \"sha256\": \"%s\"}",
                         file, p->adjust->sha256);
    if (p->made)
        tlpi_text_printf(out, ",\n  \"made\": %s", p->made);
    tlpi_text_printf(out, "\n}\n");
}

void tlpi_plan_write_json(const tlp_plan *p, tlpi_text *out)
{
    tlpi_plan_write_json_as(p, p->adjust ? p->adjust->file : NULL, out);
}
