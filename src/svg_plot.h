/*
 * svg_plot.h - a panel with two linear axes in one of the tool's pictures.
 */
#ifndef SVG_PLOT_H
#define SVG_PLOT_H

#include <stdio.h>

/* Sizes of panels side by side. */
enum {
    SVG_PLOT_LEFT = 56, /* space left of a plot, for the axis */
    SVG_PLOT_TOP = 26,
    SVG_PLOT_BELOW = 40,
    SVG_PLOT_HEAD = 44, /* space above the panels */
    SVG_PLOT_FOOT = 28, /* space below the panels */
    SVG_PLOT_WIDTH = 320,
    SVG_PLOT_HEIGHT = 220,
    SVG_PLOT_PANEL = SVG_PLOT_LEFT + SVG_PLOT_WIDTH + 18,
    SVG_PLOT_PICTURE = SVG_PLOT_HEAD + SVG_PLOT_TOP + SVG_PLOT_HEIGHT +
                       SVG_PLOT_BELOW + SVG_PLOT_FOOT,
    SVG_PLOT_MARGIN = 12 /* between the outermost points and the frame */
};

/* Values from lo to hi, with marks at multiples of step. */
typedef struct svg_scale {
    double lo, hi, step;
} svg_scale;

typedef struct svg_plot {
    FILE *f;
    svg_scale x, y;
} svg_plot;

/* 1, 2 or 5 times a power of ten: about n marks from lo to hi. */
double svg_step(double lo, double hi, int n);

/* The range of values, widened to the next marks; values that are not finite
 * do not count. */
typedef struct svg_range {
    double lo, hi; /* begins as SVG_RANGE_EMPTY */
} svg_range;

#define SVG_RANGE_EMPTY ((svg_range){ INFINITY, -INFINITY })

void svg_range_add(svg_range *r, double value);
svg_scale svg_scale_of(const svg_range *r);

/* The place of a value in the panel, pixels. */
double svg_plot_x(const svg_plot *p, double value);
double svg_plot_y(const svg_plot *p, double value);

/* Begin panel `index` with its title, marks and frame; "</g>" ends it. */
void svg_plot_open(const svg_plot *p, int index, const char *title,
                   const char *x_title);

#endif
