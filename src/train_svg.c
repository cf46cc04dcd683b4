/*
 * train_svg.c - the course of a training as a picture: a panel for the loss of
 * the steps and one for the KL divergence on held-out windows, both against the
 * tokens trained on.
 */
#include <math.h>

#include "svg.h"
#include "svg_plot.h"
#include "train_curve.h"

enum { N_PANEL = 2, WIDTH = N_PANEL * SVG_PLOT_PANEL };

/* The value of a point that a panel shows. */
typedef double course_value_fn(const tlp_train_point *p);

static double loss_of(const tlp_train_point *p)
{
    return p->loss;
}

static double kl_of(const tlp_train_point *p)
{
    return p->kl;
}

typedef struct course_panel {
    svg_plot plot;
    const train_curve *curve;
    course_value_fn *value;
    double unit; /* tokens on the x axis are in this unit */
} course_panel;

/* ==== scales ============================================================= */

static double unit_of(double n_token, const char **title)
{
    if (n_token < 1e5) {
        *title = "tokens";
        return 1;
    }
    *title = n_token < 1e8 ? "thousand tokens" : "million tokens";
    return n_token < 1e8 ? 1e3 : 1e6;
}

static svg_scale make_x(double n_token, double unit)
{
    double hi = n_token > 0 ? n_token / unit : 1;

    return (svg_scale){ 0, hi, svg_step(0, hi, 6) };
}

static svg_scale make_y(const train_curve *c, course_value_fn *value)
{
    svg_range r = SVG_RANGE_EMPTY;

    for (size_t i = 0; i < c->n; i++)
        svg_range_add(&r, value(&c->point[i]));
    return svg_scale_of(&r);
}

static double x_at(const course_panel *v, const tlp_train_point *p)
{
    return svg_plot_x(&v->plot, (double)p->n_token / v->unit);
}

/* ==== a panel ============================================================ */

/* Points whose values are not numbers are left out. */
static void put_line(const course_panel *v)
{
    FILE *f = v->plot.f;

    fputs("<polyline fill=\"none\" stroke=\"#21918c\" points=\"", f);
    for (size_t i = 0; i < v->curve->n; i++) {
        const tlp_train_point *p = &v->curve->point[i];

        if (isfinite(v->value(p)))
            fprintf(f, "%s%.1f,%.1f", i ? " " : "", x_at(v, p),
                    svg_plot_y(&v->plot, v->value(p)));
    }
    fputs("\"/>\n", f);
}

static void put_point(const course_panel *v, const tlp_train_point *p,
                      bool chosen)
{
    fprintf(v->plot.f,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" class=\"%s\">"
            "<title>%lld tokens, step %lld: ",
            x_at(v, p), svg_plot_y(&v->plot, v->value(p)), chosen ? 6 : 3,
            chosen ? "c" : "p", (long long)p->n_token, (long long)p->step);
    if (isfinite(p->loss))
        fprintf(v->plot.f, "%sloss %.4f, ", p->local ? "local " : "", p->loss);
    fprintf(v->plot.f,
            "KL %.4f, perplexity %.4g, top-1 %.1f%%</title></circle>\n", p->kl,
            p->ppl, 100 * p->top1_agreement);
}

static void put_panel(const course_panel *v, const char *title,
                      const char *x_title, int index, int64_t best)
{
    svg_plot_open(&v->plot, index, title, x_title);
    put_line(v);
    for (size_t i = 0; i < v->curve->n; i++) {
        const tlp_train_point *p = &v->curve->point[i];

        if (isfinite(v->value(p)))
            put_point(v, p, p->n_token == best);
    }
    fputs("</g>\n", v->plot.f);
}

/* ==== the picture ======================================================== */

void train_curve_put_svg(const train_curve *c, const char *name, int64_t best,
                         FILE *f)
{
    static const struct {
        const char *title;
        course_value_fn *value;
    } panels[N_PANEL] = {
        { "loss of the steps since the last point", loss_of },
        { "KL divergence from serial on held-out windows, nats", kl_of }
    };
    double n_token = c->n > 0 ? (double)c->point[c->n - 1].n_token : 0;
    const char *x_title;
    double unit = unit_of(n_token, &x_title);

    svg_open(f, WIDTH, SVG_PLOT_PICTURE, ".p{fill:#21918c}.c{fill:#440154}");
    fprintf(f, "<text x=\"%d\" y=\"18\" class=\"t\">", SVG_PLOT_LEFT);
    svg_text(f, name);
    fputs(": the course of a training</text>\n", f);
    for (int i = 0; i < N_PANEL; i++) {
        course_panel v = { .plot = { f, make_x(n_token, unit),
                                     make_y(c, panels[i].value) },
                           .curve = c,
                           .value = panels[i].value,
                           .unit = unit };

        put_panel(&v, panels[i].title, x_title, i, best);
    }
    fprintf(f,
            "<circle cx=\"%d\" cy=\"%d\" r=\"6\" class=\"c\"/>"
            "<text x=\"%d\" y=\"%d\">the state that is kept</text>\n"
            "</svg>\n",
            SVG_PLOT_LEFT + SVG_PLOT_MARGIN, SVG_PLOT_PICTURE - 20,
            SVG_PLOT_LEFT + SVG_PLOT_MARGIN + 12, SVG_PLOT_PICTURE - 16);
}
