/*
 * study.h - tlp study, in parts: cmd_study.c reads options and runs the cells;
 * study_cells.c lists the cells and makes their plans; study_score.c scores
 * them; study_csv.c writes cells to a file and reads them; study_report.c
 * prints them; study_svg.c draws them; study_heatmap.c helps both.  With --why
 * or --bridge, cmd_study.c hands over to study_why.c or study_bridge.c.
 */
#ifndef STUDY_H
#define STUDY_H

#include "corpus.h"
#include "engine.h"
#include "json.h"

/* Changes to a range of layers, in the order of a study's cells. */
enum { STUDY_SERIAL, SHUFFLE, PRUNE, MERGE, PARALLEL, PAIRS, N_STUDY_KIND };
#define STUDY_KINDS "shuffle|prune|merge|parallel|pairs" /* 0 is SHUFFLE */
#define STUDY_MODES "lp|par|asym"

enum { STUDY_N_MODE = 3 };

typedef struct cell {
    int kind;
    int mode;       /* of STUDY_MODES; -1 = the kind has none */
    int start, end; /* layers, both included */
    bool done;
    int depth;      /* stages of the plan */
    double nll, kl; /* nats per prediction; kl 0 unless measured */
} cell;

typedef struct study {
    engine e; /* its session is serial and always open */
    corpus text;
    /* options */
    unsigned kinds, modes; /* a bit for each */
    int step;
    const char *ranges; /* NULL = all */
    int n_draw;
    uint64_t seed;
    bool with_kl;
    bool why;           /* measure places in place of ranges (study_why.h) */
    int n_track;        /* of places; 0 = not given */
    const char *bridge; /* a plan with dropped layers (study_bridge.h) */
    const char *judge;  /* text on which it is judged */
    int judge_tokens, bridge_rank;
    const char *csv, *json, *svg, *resume; /* paths; NULL = none */
    /* cells; the serial model's cell is the first */
    cell *cell;
    size_t n, n_done;
    /* scoring */
    float *logprob;   /* [ctx] */
    float *reference; /* serial logits [n predictions][n_vocab]; NULL = none */
} study;

/* ==== cells ============================================================== */

int study_make_cells(study *s);

const char *study_kind_name(int kind);
const char *study_mode_name(int mode); /* "" without one */

/* Number of plans over which a cell's value is the mean. */
int study_n_draw(const study *s, const cell *c);

/* The text of one of these plans; the caller frees it. */
int study_plan_text(const study *s, const cell *c, int draw, char **text);

/* Perplexity over the serial model's perplexity; NaN before both cells are
 * done. */
double study_ratio(const study *s, const cell *c);

/* ==== scores ============================================================= */

/* Call after reading finished cells. */
int study_open(study *s);
/* CLI_INTERRUPTED leaves the cell unfinished. */
int study_score(study *s, cell *c);
void study_close(study *s);

/* ==== reports ============================================================ */

/* How many results go to standard output; the table goes there if none does. */
int study_n_stdout(const study *s);

/* Read finished cells from a file, which must be of this study. */
int study_read_csv(study *s, const char *path);
int study_write_csv(const study *s, const char *path);
/* Write comments that name the model, the text and the types of its numbers. */
int study_put_identity(const study *s, FILE *f);
/* Write the members with which the JSON of a study begins. */
void study_put_head(json *j, const study *s);
int study_write_json(const study *s, const char *path);
int study_write_svg(const study *s, const char *path);
int study_print(const study *s);

/* ==== heatmaps: what pictures of all kinds share ========================= */

/* The cells of one kind and mode: [first, first + n) of the study's cells,
 * sorted by start and end. */
typedef struct panel {
    const cell *cell;
    size_t n;
    char title[64];
} panel;

/* The panel that begins with cell *at; *at moves to the next panel.  False
 * past the last panel. */
bool study_next_panel(const study *s, size_t *at, panel *p);

/* Sorted starts and ends of all cells but the first: rows and columns. */
typedef struct axes {
    int *start, *end;
    int n_start, n_end;
} axes;

int study_make_axes(const study *s, axes *a);
void study_free_axes(axes *a);
int axes_find(const int *value, int n, int wanted);

/* The colour depends on the logarithm of the ratio, from 1 to STUDY_WORST. */
#define STUDY_WORST 10.0

typedef struct rgb {
    int r, g, b;
} rgb;

rgb study_colour(double ratio);
/* Whether text on this colour should be dark. */
bool rgb_is_light(rgb c);
/* Format a ratio in at most five characters; from 10^4 on its order of
 * magnitude. */
const char *study_format_ratio(double ratio, char buf[16]);

#endif
