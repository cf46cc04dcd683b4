/*
 * study_svg.c - draw a study: a panel for each kind and mode, three in a row,
 * with common axes and a common colour scale.
 */
#include <math.h>

#include "files.h"
#include "study.h"
#include "svg.h"

enum {
    LEFT = 46, /* space left of a panel's cells, for the axis */
    TOP = 26,
    BELOW = 40,
    GAP = 18,
    HEAD = 44,  /* space above the first panels */
    SCALE = 60, /* space for the colour scale below the last panels */
    BAR = 240,  /* length of the colour scale */
    ROOM_FOR_NUMBER = 24,
    N_ACROSS = 3
};

typedef struct picture {
    const study *s;
    FILE *f;
    axes a;
    int side; /* side length of a cell */
    int n_panel, n_across;
    int panel_width, panel_height, width, height;
} picture;

static void put_colour(FILE *f, rgb c)
{
    fprintf(f, "#%02x%02x%02x", (unsigned)c.r, (unsigned)c.g, (unsigned)c.b);
}

/* ==== a panel ============================================================ */

static void put_cell(const picture *v, const cell *c)
{
    int x = axes_find(v->a.end, v->a.n_end, c->end) * v->side;
    int y = axes_find(v->a.start, v->a.n_start, c->start) * v->side;
    double ratio = study_ratio(v->s, c);
    rgb colour = study_colour(ratio);
    char buf[16];

    fprintf(v->f, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"",
            x, y, v->side, v->side);
    put_colour(v->f, colour);
    fprintf(v->f,
            "\"><title>layers %d-%d: %s, perplexity %.4g</title></rect>\n",
            c->start, c->end, study_format_ratio(ratio, buf), exp(c->nll));
    if (v->side >= ROOM_FOR_NUMBER)
        fprintf(v->f, "<text x=\"%d\" y=\"%d\" class=\"%c\">%s</text>\n",
                x + v->side / 2, y + v->side / 2 + 3,
                rgb_is_light(colour) ? 'd' : 'l', buf);
}

/* Print every label, or as many as fit. */
static void put_axes(const picture *v)
{
    int every = v->side >= 16 ? 1 : 5;
    int bottom = v->a.n_start * v->side;

    for (int i = 0; i < v->a.n_end; i += every)
        fprintf(v->f, "<text x=\"%d\" y=\"%d\" class=\"m\">%d</text>\n",
                i * v->side + v->side / 2, bottom + 13, v->a.end[i]);
    for (int i = 0; i < v->a.n_start; i += every)
        fprintf(v->f, "<text x=\"-5\" y=\"%d\" class=\"e\">%d</text>\n",
                i * v->side + v->side / 2 + 4, v->a.start[i]);
    fprintf(v->f, "<text x=\"%d\" y=\"%d\" class=\"m\">last layer</text>\n",
            v->a.n_end * v->side / 2, bottom + 28);
    fprintf(v->f,
            "<text transform=\"translate(-30 %d) rotate(-90)\" class=\"m\">"
            "first layer</text>\n",
            bottom / 2);
}

static void put_panel(const picture *v, const panel *p, int index)
{
    int x = index % v->n_across * v->panel_width + LEFT;
    int y = index / v->n_across * v->panel_height + HEAD + TOP;

    fprintf(v->f, "<g transform=\"translate(%d %d)\">\n", x, y);
    fprintf(v->f, "<text x=\"0\" y=\"-8\" class=\"h\">%s</text>\n", p->title);
    fprintf(v->f,
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\" "
            "stroke=\"#999\"/>\n",
            v->a.n_end * v->side, v->a.n_start * v->side);
    for (size_t i = 0; i < p->n; i++)
        if (p->cell[i].done)
            put_cell(v, &p->cell[i]);
    put_axes(v);
    fputs("</g>\n", v->f);
}

/* ==== the picture ======================================================== */

static void put_scale(const picture *v)
{
    static const double mark[] = { 1, 1.5, 2, 3, 5, STUDY_WORST };
    int n_step = 48, step = BAR / n_step;

    fprintf(v->f, "<g transform=\"translate(%d %d)\">\n", LEFT,
            v->height - SCALE + 16);
    for (int i = 0; i < n_step; i++) {
        fprintf(v->f, "<rect x=\"%d\" width=\"%d\" height=\"12\" fill=\"",
                i * step, step);
        put_colour(v->f, study_colour(pow(STUDY_WORST, (i + 0.5) / n_step)));
        fputs("\"/>\n", v->f);
    }
    for (size_t i = 0; i < sizeof mark / sizeof *mark; i++)
        fprintf(v->f, "<text x=\"%.0f\" y=\"25\" class=\"m\">%g%s</text>\n",
                BAR * log(mark[i]) / log(STUDY_WORST), mark[i],
                mark[i] < STUDY_WORST ? "" : " or more");
    fprintf(v->f,
            "<text x=\"%d\" y=\"40\" class=\"m\">perplexity / serial's "
            "(no unit)</text>\n</g>\n",
            BAR / 2);
}

static void put_head(const picture *v)
{
    const study *s = v->s;

    /* d, l: numbers in cells, dark and light */
    svg_open(v->f, v->width, v->height,
             "text.d,text.l{font-size:9px;text-anchor:middle}.l{fill:#fff}");
    fprintf(v->f, "<text x=\"%d\" y=\"18\" class=\"t\">", LEFT);
    svg_text(v->f, s->e.info.name[0] ? s->e.info.name : s->e.info.arch);
    fprintf(v->f,
            ": layers of a range changed</text>\n"
            "<text x=\"%d\" y=\"34\">%zu tokens in windows of %d; serial "
            "perplexity %.4g</text>\n",
            LEFT, s->text.n - s->text.n_bos, s->text.ctx, exp(s->cell[0].nll));
}

static void measure(picture *v)
{
    int n = v->a.n_end > v->a.n_start ? v->a.n_end : v->a.n_start;
    size_t at = 0;
    panel p;

    while (study_next_panel(v->s, &at, &p))
        v->n_panel++;
    v->n_across = v->n_panel < N_ACROSS ? v->n_panel : N_ACROSS;
    v->side = n <= 16 ? 28 : n <= 48 ? 11 : 6;
    v->panel_width = LEFT + v->a.n_end * v->side + GAP;
    v->panel_height = TOP + v->a.n_start * v->side + BELOW;
    v->width = v->n_across * v->panel_width;
    if (v->width < LEFT + BAR + 2 * GAP + 20)
        v->width = LEFT + BAR + 2 * GAP + 20;
    v->height = HEAD + SCALE +
                (v->n_panel + v->n_across - 1) / v->n_across * v->panel_height;
}

int study_write_svg(const study *s, const char *path)
{
    picture v = { .s = s };
    out_file out = { 0 };
    size_t at = 0;
    panel p;
    int rc = study_make_axes(s, &v.a);

    if (rc == CLI_OK)
        rc = out_open(&out, path);
    if (rc == CLI_OK) {
        v.f = out.file;
        measure(&v);
        put_head(&v);
        for (int i = 0; study_next_panel(s, &at, &p); i++)
            put_panel(&v, &p, i);
        put_scale(&v);
        fputs("</svg>\n", v.f);
        rc = out_commit(&out);
    }
    out_discard(&out);
    study_free_axes(&v.a);
    return rc;
}
