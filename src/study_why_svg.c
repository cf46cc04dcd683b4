/*
 * study_why_svg.c - draw the measures of places against the KL divergence that
 * they cost: a column of panels for exchanges and one for pairs, a row for each
 * measure, all axes logarithmic.
 */
#include <math.h>

#include "files.h"
#include "study_why.h"
#include "svg.h"

enum {
    LEFT = 64, /* space left of a plot, for the axis */
    TOP = 26,
    BELOW = 44,
    GAP = 18,
    HEAD = 44,  /* space above the panels */
    FOOT = 44,  /* space below the panels */
    BAR = 200,  /* length of the colour scale */
    PLOT = 300, /* side length of a plot */
    PANEL_WIDTH = LEFT + PLOT + GAP,
    PANEL_HEIGHT = TOP + PLOT + BELOW,
    N_ACROSS = 2,
    N_DOWN = 2,
    WIDTH = N_ACROSS * PANEL_WIDTH,
    HEIGHT = HEAD + N_DOWN * PANEL_HEIGHT + FOOT
};

static const struct {
    int value;
    const char *title;
    bool is_kl; /* of the unit of the KL divergence */
} rows[N_DOWN] = {
    { WHY_CHANGE, "first-order error |Jf| / |g| (no unit)", false },
    { WHY_ESTIMATE, "sensitivity x error squared, nats", true },
};

/* Logarithms to base 10. */
typedef struct why_scale {
    double lo, hi;
} why_scale;

typedef struct why_panel {
    FILE *f;
    const why *w;
    const why_row *row;
    size_t n;
    int value;
    bool is_kl;
    why_scale x, y;
} why_panel;

/* ==== scales ============================================================= */

static bool is_drawn(double value)
{
    return value > 0 && isfinite(value);
}

static void widen(why_scale *s, const why_row *row, size_t n, int value)
{
    for (size_t i = 0; i < n; i++)
        if (is_drawn(row[i].value[value])) {
            s->lo = fmin(s->lo, log10(row[i].value[value]));
            s->hi = fmax(s->hi, log10(row[i].value[value]));
        }
}

/* To the next powers of ten. */
static void round_out(why_scale *s)
{
    if (!(s->lo <= s->hi))
        s->lo = s->hi = 0;
    s->lo = floor(s->lo);
    s->hi = fmax(ceil(s->hi), s->lo + 1);
}

static void make_scales(why_panel *v)
{
    v->x = v->y = (why_scale){ INFINITY, -INFINITY };
    widen(&v->x, v->row, v->n, v->value);
    widen(&v->y, v->row, v->n, WHY_KL);
    if (v->is_kl) { /* one range for both axes, so that x = y is a diagonal */
        widen(&v->x, v->row, v->n, WHY_KL);
        widen(&v->y, v->row, v->n, v->value);
    }
    round_out(&v->x);
    round_out(&v->y);
}

static double at(why_scale s, double value)
{
    return PLOT * (value - s.lo) / (s.hi - s.lo);
}

/* ==== a panel ============================================================ */

static void put_axes(const why_panel *v, const char *title)
{
    for (double y = v->y.lo; y <= v->y.hi; y++)
        fprintf(v->f,
                "<path d=\"M0 %.1fH%d\" stroke=\"#ddd\"/>"
                "<text x=\"-5\" y=\"%.1f\" class=\"e\">%g</text>\n",
                PLOT - at(v->y, y), PLOT, PLOT - at(v->y, y) + 4, pow(10, y));
    for (double x = v->x.lo; x <= v->x.hi; x++)
        fprintf(v->f,
                "<path d=\"M%.1f 0V%d\" stroke=\"#ddd\"/>"
                "<text x=\"%.1f\" y=\"%d\" class=\"m\">%g</text>\n",
                at(v->x, x), PLOT, at(v->x, x), PLOT + 15, pow(10, x));
    if (v->is_kl)
        fprintf(v->f, "<path d=\"M0 %dL%d 0\" stroke=\"#999\"/>\n", PLOT, PLOT);
    fprintf(v->f,
            "<text x=\"%d\" y=\"%d\" class=\"m\">%s</text>\n"
            "<text transform=\"translate(-50 %d) rotate(-90)\" class=\"m\">"
            "KL divergence, nats</text>\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"none\" "
            "stroke=\"#999\"/>\n",
            PLOT / 2, PLOT + 31, title, PLOT / 2, PLOT, PLOT);
}

static rgb colour_of(const why *w, int layer)
{
    int last = w->s->e.info.n_layer - 1;

    return study_colour(pow(STUDY_WORST, last ? (double)layer / last : 0));
}

static void put_point(const why_panel *v, const why_row *r)
{
    double x = r->value[v->value], y = r->value[WHY_KL];
    rgb c = colour_of(v->w, r->layer);

    if (!is_drawn(x) || !is_drawn(y))
        return;
    fprintf(v->f,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" stroke=\"#333\" "
            "fill=\"#%02x%02x%02x\"><title>%s: %s %.4g, KL %.4g</title>"
            "</circle>\n",
            at(v->x, log10(x)), PLOT - at(v->y, log10(y)), (unsigned)c.r,
            (unsigned)c.g, (unsigned)c.b, r->plan, why_name(v->value), x, y);
}

static void put_panel(FILE *f, const why *w, int column, int row)
{
    static const char *const names[N_ACROSS] = { [TLP_PLACE_EXCHANGE] =
                                                     "one exchange left out",
                                                 [TLP_PLACE_PAIR] =
                                                     "one pair in par" };
    why_panel v = {
        .f = f, .w = w, .value = rows[row].value, .is_kl = rows[row].is_kl
    };
    size_t first;
    double correlation = why_correlation(w, column, v.value);

    v.n = why_rows_of(w, column, &first);
    v.row = w->row + first;
    make_scales(&v);
    fprintf(f,
            "<g transform=\"translate(%d %d)\">\n"
            "<text x=\"0\" y=\"-8\" class=\"h\">%s",
            LEFT + column * PANEL_WIDTH, HEAD + TOP + row * PANEL_HEIGHT,
            names[column]);
    if (isfinite(correlation))
        fprintf(f, ", rank correlation %.3f", correlation);
    fputs("</text>\n", f);
    put_axes(&v, rows[row].title);
    for (size_t i = 0; i < v.n; i++)
        put_point(&v, &v.row[i]);
    fputs("</g>\n", f);
}

/* ==== the picture ======================================================== */

static void put_head(FILE *f, const study *s)
{
    svg_open(f, WIDTH, HEIGHT, "");
    fprintf(f, "<text x=\"%d\" y=\"18\" class=\"t\">", LEFT);
    svg_text(f, s->e.info.name[0] ? s->e.info.name : s->e.info.arch);
    fprintf(f,
            ": what one change costs</text>\n"
            "<text x=\"%d\" y=\"34\">%zu tokens in windows of %d, %d "
            "tracks</text>\n",
            LEFT, s->text.n - s->text.n_bos, s->text.ctx, s->n_track);
}

static void put_colours(FILE *f, const why *w)
{
    int n_step = 20, step = BAR / n_step;

    fprintf(f, "<g transform=\"translate(%d %d)\">\n", LEFT, HEIGHT - FOOT + 6);
    for (int i = 0; i < n_step; i++) {
        rgb c = study_colour(pow(STUDY_WORST, (i + 0.5) / n_step));

        fprintf(f,
                "<rect x=\"%d\" width=\"%d\" height=\"12\" "
                "fill=\"#%02x%02x%02x\"/>\n",
                i * step, step, (unsigned)c.r, (unsigned)c.g, (unsigned)c.b);
    }
    fprintf(f,
            "<text x=\"0\" y=\"25\">layer 0</text>"
            "<text x=\"%d\" y=\"25\" class=\"e\">%d</text>\n</g>\n",
            BAR, w->s->e.info.n_layer - 1);
}

int why_write_svg(const why *w, const char *path)
{
    out_file out = { 0 };
    int rc = out_open(&out, path);

    if (rc == CLI_OK) {
        put_head(out.file, w->s);
        for (int row = 0; row < N_DOWN; row++)
            for (int column = 0; column < N_ACROSS; column++)
                put_panel(out.file, w, column, row);
        put_colours(out.file, w);
        fputs("</svg>\n", out.file);
        rc = out_commit(&out);
    }
    out_discard(&out);
    return rc;
}
