/*
 * study_heatmap.c - panels, axes and colours of heatmaps.
 */
#include <math.h>
#include <stdlib.h>

#include "study.h"

bool study_next_panel(const study *s, size_t *at, panel *p)
{
    const cell *first = &s->cell[*at];

    if (*at == 0)
        first++; /* the serial model is not in a panel */
    *p = (panel){ .cell = first };
    for (*at = (size_t)(first - s->cell); *at < s->n; (*at)++, p->n++)
        if (s->cell[*at].kind != first->kind ||
            s->cell[*at].mode != first->mode)
            break;
    if (p->n == 0)
        return false;
    if (first->kind == SHUFFLE && s->n_draw > 1)
        snprintf(p->title, sizeof p->title, "shuffle, mean of %d", s->n_draw);
    else
        snprintf(p->title, sizeof p->title, "%s%s%s",
                 study_kind_name(first->kind), first->mode < 0 ? "" : ", ",
                 study_mode_name(first->mode));
    return true;
}

/* ==== axes =============================================================== */

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int sort_unique(int *value, size_t n)
{
    int kept = 0;

    qsort(value, n, sizeof *value, by_value);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || value[kept - 1] != value[i])
            value[kept++] = value[i];
    return kept;
}

int study_make_axes(const study *s, axes *a)
{
    size_t n = s->n - 1;

    a->start = malloc(n * sizeof *a->start);
    a->end = malloc(n * sizeof *a->end);
    if (!a->start || !a->end)
        return cli_fail("out of memory");
    for (size_t i = 0; i < n; i++) {
        a->start[i] = s->cell[i + 1].start;
        a->end[i] = s->cell[i + 1].end;
    }
    a->n_start = sort_unique(a->start, n);
    a->n_end = sort_unique(a->end, n);
    return CLI_OK;
}

void study_free_axes(axes *a)
{
    free(a->start);
    free(a->end);
}

int axes_find(const int *value, int n, int wanted)
{
    const int *at = bsearch(&wanted, value, (size_t)n, sizeof *value, by_value);

    return (int)(at - value);
}

/* ==== values ============================================================= */

rgb study_colour(double ratio)
{
    /* Five points of viridis, whose lightness rises evenly, from bright (the
     * serial model) to dark. */
    static const rgb point[] = { { 253, 231, 37 },
                                 { 94, 201, 98 },
                                 { 33, 145, 140 },
                                 { 59, 82, 139 },
                                 { 68, 1, 84 } };
    double x = 4 * log(ratio) / log(STUDY_WORST);

    x = x > 0 ? fmin(x, 4) : ratio <= 1 ? 0 : 4; /* NaN is drawn as the worst */

    int i = x < 4 ? (int)x : 3;
    double f = x - i;

    return (rgb){
        (int)lround((1 - f) * point[i].r + f * point[i + 1].r),
        (int)lround((1 - f) * point[i].g + f * point[i + 1].g),
        (int)lround((1 - f) * point[i].b + f * point[i + 1].b),
    };
}

bool rgb_is_light(rgb c)
{
    return 3 * c.r + 6 * c.g + c.b > 1275;
}

const char *study_format_ratio(double ratio, char buf[16])
{
    if (ratio < 9.995)
        snprintf(buf, 16, "%.2f", ratio);
    else if (ratio < 99.95)
        snprintf(buf, 16, "%.1f", ratio);
    else if (ratio < 9999.5 || !isfinite(ratio))
        snprintf(buf, 16, "%.0f", ratio);
    else
        snprintf(buf, 16, "1e%d", (int)lround(log10(ratio)));
    return buf;
}
