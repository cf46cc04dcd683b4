/*
 * plan_svg.c - the best plans of a search as a picture: a panel for the KL
 * divergence and one for perplexity, both against depth, or against exchanges
 * if two neighbouring plans have one depth.
 */
#include <math.h>

#include "plan_front.h"
#include "svg.h"
#include "svg_plot.h"

enum { N_PANEL = 2, WIDTH = N_PANEL * SVG_PLOT_PANEL };

/* The value of a point that a panel shows. */
typedef double value_fn(const front_point *p);

static double kl_of(const front_point *p)
{
    return p->kl;
}

static double ppl_of(const front_point *p)
{
    return p->ppl;
}

typedef struct plan_panel {
    svg_plot plot;
    const plan_front *front;
    value_fn *value;
} plan_panel;

/* ==== scales ============================================================= */

static svg_scale make_y(const plan_front *front, value_fn *value)
{
    svg_range r = SVG_RANGE_EMPTY;

    for (size_t i = 0; i < front->n; i++)
        svg_range_add(&r, value(&front->point[i]));
    return svg_scale_of(&r);
}

/* A step that leaves out an exchange keeps the depth. */
static bool is_by_exchanges(const plan_front *front)
{
    for (size_t i = 1; i < front->n; i++)
        if (front->point[i - 1].depth == front->point[i].depth)
            return true;
    return false;
}

static int x_of(const plan_front *front, const front_point *p)
{
    return is_by_exchanges(front) ? p->exchanges : p->depth;
}

static svg_scale make_x(const plan_front *front)
{
    int hi = x_of(front, &front->point[0]);
    int lo = x_of(front, &front->point[front->n - 1]);

    return (svg_scale){ lo, hi > lo ? hi : lo + 1,
                        hi - lo < 12 ? 1 : svg_step(lo, hi, 8) };
}

static double x_at(const plan_panel *v, const front_point *p)
{
    return svg_plot_x(&v->plot, x_of(v->front, p));
}

static double y_at(const plan_panel *v, const front_point *p)
{
    return svg_plot_y(&v->plot, v->value(p));
}

/* ==== a panel ============================================================ */

/* Points whose values are not numbers are left out. */
static void put_line(const plan_panel *v)
{
    FILE *f = v->plot.f;

    fputs("<polyline fill=\"none\" stroke=\"#21918c\" points=\"", f);
    for (size_t i = 0; i < v->front->n; i++) {
        const front_point *p = &v->front->point[i];

        if (isfinite(v->value(p)))
            fprintf(f, "%s%.1f,%.1f", i ? " " : "", x_at(v, p), y_at(v, p));
    }
    fputs("\"/>\n", f);
}

static void put_point(const plan_panel *v, const front_point *p)
{
    double x = x_at(v, p), y = y_at(v, p);
    bool is_left = x < SVG_PLOT_WIDTH / 2.0;
    FILE *f = v->plot.f;

    fprintf(f,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" class=\"%s\">"
            "<title>depth %d: KL %.4f, perplexity %.4g, top-1 %.1f%%, %d "
            "all-reduces per token on %d ranks; ",
            x, y, p->chosen ? 6 : 4, p->chosen ? "c" : "p", p->depth, p->kl,
            p->ppl, 100 * p->top1_agreement, p->allreduces, p->n_rank);
    svg_text(f, p->plan);
    fputs("</title></circle>\n", f);
    if (p->chosen)
        fprintf(f, "<text x=\"%.1f\" y=\"%.1f\"%s>%.4g</text>\n",
                x + (is_left ? 10 : -10), y + 4, is_left ? "" : " class=\"e\"",
                v->value(p));
}

static void put_panel(const plan_panel *v, const char *title, int index)
{
    svg_plot_open(&v->plot, index, title,
                  is_by_exchanges(v->front) ? "exchanges per token"
                                            : "depth, stages");
    put_line(v);
    for (size_t i = 0; i < v->front->n; i++)
        if (isfinite(v->value(&v->front->point[i])))
            put_point(v, &v->front->point[i]);
    fputs("</g>\n", v->plot.f);
}

/* ==== the picture ======================================================== */

void front_put_svg(const plan_front *front, const engine *e, const corpus *text,
                   FILE *f)
{
    static const struct {
        const char *title;
        value_fn *value;
    } panels[N_PANEL] = { { "KL divergence from serial, nats", kl_of },
                          { "perplexity", ppl_of } };

    svg_open(f, WIDTH, SVG_PLOT_PICTURE, ".p{fill:#21918c}.c{fill:#440154}");
    fprintf(f, "<text x=\"%d\" y=\"18\" class=\"t\">", SVG_PLOT_LEFT);
    svg_text(f, e->info.name[0] ? e->info.name : e->info.arch);
    fprintf(f,
            ": the best plan of each %s</text>\n"
            "<text x=\"%d\" y=\"34\">%zu tokens in windows of %d</text>\n",
            is_by_exchanges(front) ? "number of exchanges" : "depth",
            SVG_PLOT_LEFT, text->n, text->ctx);
    for (int i = 0; i < N_PANEL; i++) {
        plan_panel v = { .plot = { f, make_x(front),
                                   make_y(front, panels[i].value) },
                         .front = front,
                         .value = panels[i].value };

        put_panel(&v, panels[i].title, i);
    }
    fprintf(f,
            "<circle cx=\"%d\" cy=\"%d\" r=\"6\" class=\"c\"/>"
            "<text x=\"%d\" y=\"%d\">the plan that was asked for</text>\n"
            "</svg>\n",
            SVG_PLOT_LEFT + SVG_PLOT_MARGIN, SVG_PLOT_PICTURE - 20,
            SVG_PLOT_LEFT + SVG_PLOT_MARGIN + 12, SVG_PLOT_PICTURE - 16);
}
