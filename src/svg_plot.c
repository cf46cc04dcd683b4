/*
 * svg_plot.c - see svg_plot.h.
 */
#include "svg_plot.h"

#include <math.h>

double svg_step(double lo, double hi, int n)
{
    double raw = (hi - lo) / n, power = pow(10, floor(log10(raw)));
    double digit = raw / power;

    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

void svg_range_add(svg_range *r, double value)
{
    r->lo = isfinite(value) ? fmin(r->lo, value) : r->lo;
    r->hi = isfinite(value) ? fmax(r->hi, value) : r->hi;
}

svg_scale svg_scale_of(const svg_range *r)
{
    svg_scale s = { r->lo, r->hi, 1 };

    if (!(s.lo < s.hi)) {
        s.lo = isfinite(s.lo) ? s.lo : 0;
        s.hi = s.lo + 1;
    }
    s.step = svg_step(s.lo, s.hi, 5);
    s.lo = s.step * floor(s.lo / s.step);
    s.hi = s.step * ceil(s.hi / s.step);
    return s;
}

double svg_plot_x(const svg_plot *p, double value)
{
    return SVG_PLOT_MARGIN + (SVG_PLOT_WIDTH - 2 * SVG_PLOT_MARGIN) *
                                 (value - p->x.lo) / (p->x.hi - p->x.lo);
}

double svg_plot_y(const svg_plot *p, double value)
{
    return SVG_PLOT_HEIGHT * (1 - (value - p->y.lo) / (p->y.hi - p->y.lo));
}

static void put_axes(const svg_plot *p, const char *x_title)
{
    const svg_scale *x = &p->x, *y = &p->y;
    int n = (int)lround((y->hi - y->lo) / y->step);

    for (int i = 0; i <= n; i++) {
        double value = y->lo + i * y->step, at = svg_plot_y(p, value);

        fprintf(p->f,
                "<path d=\"M0 %.1fH%d\" stroke=\"#ddd\"/>"
                "<text x=\"-5\" y=\"%.1f\" class=\"e\">%.6g</text>\n",
                at, SVG_PLOT_WIDTH, at + 4, value);
    }
    for (double v = x->step * ceil(x->lo / x->step); v <= x->hi; v += x->step)
        fprintf(p->f, "<text x=\"%.1f\" y=\"%d\" class=\"m\">%g</text>\n",
                svg_plot_x(p, v), SVG_PLOT_HEIGHT + 15, v);
    fprintf(p->f,
            "<text x=\"%d\" y=\"%d\" class=\"m\">%s</text>\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"none\" "
            "stroke=\"#999\"/>\n",
            SVG_PLOT_WIDTH / 2, SVG_PLOT_HEIGHT + 31, x_title, SVG_PLOT_WIDTH,
            SVG_PLOT_HEIGHT);
}

void svg_plot_open(const svg_plot *p, int index, const char *title,
                   const char *x_title)
{
    fprintf(p->f,
            "<g transform=\"translate(%d %d)\">\n"
            "<text x=\"0\" y=\"-8\" class=\"h\">%s</text>\n",
            SVG_PLOT_LEFT + index * SVG_PLOT_PANEL,
            SVG_PLOT_HEAD + SVG_PLOT_TOP, title);
    put_axes(p, x_title);
}
