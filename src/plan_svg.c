/*
 * plan_svg.c - the best plans of a search as a picture: a panel for the KL
 * divergence and one for perplexity, both against depth, or against exchanges
 * if two neighbouring plans have one depth.
 */
#include <math.h>

#include "plan_front.h"
#include "svg.h"

enum {
    LEFT = 56, /* space left of a plot, for the axis */
    TOP = 26,
    BELOW = 40,
    GAP = 18,
    HEAD = 44, /* space above the panels */
    FOOT = 28, /* space below the panels */
    PLOT_WIDTH = 320,
    PLOT_HEIGHT = 220,
    PANEL_WIDTH = LEFT + PLOT_WIDTH + GAP,
    N_PANEL = 2,
    WIDTH = N_PANEL * PANEL_WIDTH,
    HEIGHT = HEAD + TOP + PLOT_HEIGHT + BELOW + FOOT,
    MARGIN = 12 /* between the outermost points and the frame */
};

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

/* Values from lo to hi, with marks at multiples of step. */
typedef struct scale {
    double lo, hi, step;
} scale;

typedef struct plan_panel {
    FILE *f;
    const plan_front *front;
    value_fn *value;
    scale x, y;
} plan_panel;

/* ==== scales ============================================================= */

/* 1, 2 or 5 times a power of ten: about n marks from lo to hi. */
static double choose_step(double lo, double hi, int n)
{
    double raw = (hi - lo) / n, power = pow(10, floor(log10(raw)));
    double digit = raw / power;

    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

/* Widen the range of the values to the next marks.  This function and the
 * drawing functions skip values that are not numbers. */
static scale make_y(const plan_front *front, value_fn *value)
{
    scale s = { INFINITY, -INFINITY, 1 };

    for (size_t i = 0; i < front->n; i++) {
        double v = value(&front->point[i]);

        s.lo = isfinite(v) ? fmin(s.lo, v) : s.lo;
        s.hi = isfinite(v) ? fmax(s.hi, v) : s.hi;
    }
    if (!(s.lo < s.hi)) {
        s.lo = isfinite(s.lo) ? s.lo : 0;
        s.hi = s.lo + 1;
    }
    s.step = choose_step(s.lo, s.hi, 5);
    s.lo = s.step * floor(s.lo / s.step);
    s.hi = s.step * ceil(s.hi / s.step);
    return s;
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

static scale make_x(const plan_front *front)
{
    int hi = x_of(front, &front->point[0]);
    int lo = x_of(front, &front->point[front->n - 1]);

    return (scale){ lo, hi > lo ? hi : lo + 1,
                    hi - lo < 12 ? 1 : choose_step(lo, hi, 8) };
}

static double x_at(const plan_panel *v, double depth)
{
    return MARGIN +
           (PLOT_WIDTH - 2 * MARGIN) * (depth - v->x.lo) / (v->x.hi - v->x.lo);
}

static double y_at(const plan_panel *v, double value)
{
    return PLOT_HEIGHT * (1 - (value - v->y.lo) / (v->y.hi - v->y.lo));
}

/* ==== a panel ============================================================ */

static void put_axes(const plan_panel *v)
{
    const scale *x = &v->x, *y = &v->y;
    int n = (int)lround((y->hi - y->lo) / y->step);

    for (int i = 0; i <= n; i++) {
        double value = y->lo + i * y->step, at = y_at(v, value);

        fprintf(v->f,
                "<path d=\"M0 %.1fH%d\" stroke=\"#ddd\"/>"
                "<text x=\"-5\" y=\"%.1f\" class=\"e\">%.6g</text>\n",
                at, PLOT_WIDTH, at + 4, value);
    }
    for (double d = x->step * ceil(x->lo / x->step); d <= x->hi; d += x->step)
        fprintf(v->f, "<text x=\"%.1f\" y=\"%d\" class=\"m\">%g</text>\n",
                x_at(v, d), PLOT_HEIGHT + 15, d);
    fprintf(v->f,
            "<text x=\"%d\" y=\"%d\" class=\"m\">%s</text>\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"none\" "
            "stroke=\"#999\"/>\n",
            PLOT_WIDTH / 2, PLOT_HEIGHT + 31,
            is_by_exchanges(v->front) ? "exchanges per token" : "depth, stages",
            PLOT_WIDTH, PLOT_HEIGHT);
}

static void put_line(const plan_panel *v)
{
    fputs("<polyline fill=\"none\" stroke=\"#21918c\" points=\"", v->f);
    for (size_t i = 0; i < v->front->n; i++) {
        const front_point *p = &v->front->point[i];

        if (isfinite(v->value(p)))
            fprintf(v->f, "%s%.1f,%.1f", i ? " " : "",
                    x_at(v, x_of(v->front, p)), y_at(v, v->value(p)));
    }
    fputs("\"/>\n", v->f);
}

static void put_point(const plan_panel *v, const front_point *p)
{
    double x = x_at(v, x_of(v->front, p)), y = y_at(v, v->value(p));
    bool is_left = x < PLOT_WIDTH / 2.0;

    fprintf(v->f,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" class=\"%s\">"
            "<title>depth %d: KL %.4f, perplexity %.4g, top-1 %.1f%%, %d "
            "all-reduces per token on %d ranks; ",
            x, y, p->chosen ? 6 : 4, p->chosen ? "c" : "p", p->depth, p->kl,
            p->ppl, 100 * p->top1_agreement, p->allreduces, p->n_rank);
    svg_text(v->f, p->plan);
    fputs("</title></circle>\n", v->f);
    if (p->chosen)
        fprintf(v->f, "<text x=\"%.1f\" y=\"%.1f\"%s>%.4g</text>\n",
                x + (is_left ? 10 : -10), y + 4, is_left ? "" : " class=\"e\"",
                v->value(p));
}

static void put_panel(const plan_panel *v, const char *title, int index)
{
    fprintf(v->f,
            "<g transform=\"translate(%d %d)\">\n"
            "<text x=\"0\" y=\"-8\" class=\"h\">%s</text>\n",
            LEFT + index * PANEL_WIDTH, HEAD + TOP, title);
    put_axes(v);
    put_line(v);
    for (size_t i = 0; i < v->front->n; i++)
        if (isfinite(v->value(&v->front->point[i])))
            put_point(v, &v->front->point[i]);
    fputs("</g>\n", v->f);
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

    svg_open(f, WIDTH, HEIGHT, ".p{fill:#21918c}.c{fill:#440154}");
    fprintf(f, "<text x=\"%d\" y=\"18\" class=\"t\">", LEFT);
    svg_text(f, e->info.name[0] ? e->info.name : e->info.arch);
    fprintf(f,
            ": the best plan of each %s</text>\n"
            "<text x=\"%d\" y=\"34\">%zu tokens in windows of %d</text>\n",
            is_by_exchanges(front) ? "number of exchanges" : "depth", LEFT,
            text->n, text->ctx);
    for (int i = 0; i < N_PANEL; i++) {
        plan_panel v = { .f = f,
                         .front = front,
                         .value = panels[i].value,
                         .x = make_x(front),
                         .y = make_y(front, panels[i].value) };

        put_panel(&v, panels[i].title, i);
    }
    fprintf(f,
            "<circle cx=\"%d\" cy=\"%d\" r=\"6\" class=\"c\"/>"
            "<text x=\"%d\" y=\"%d\">the plan that was asked for</text>\n"
            "</svg>\n",
            LEFT + MARGIN, HEIGHT - 20, LEFT + MARGIN + 12, HEIGHT - 16);
}
