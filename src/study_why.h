/*
 * study_why.h - tlp study --why, in parts: study_why.c measures the places,
 * study_why_report.c prints them, writes them to files and computes rank
 * correlations, study_why_svg.c draws them.
 */
#ifndef STUDY_WHY_H
#define STUDY_WHY_H

#include "study.h"
#include "tlp_tune.h"

/* What a row knows of a place, in the order of columns. */
enum {
    WHY_STEP,
    WHY_OWN,
    WHY_CHANGE,
    WHY_ERROR,
    WHY_SENSITIVITY,
    WHY_ESTIMATE, /* of the KL divergence: sensitivity error² */
    WHY_KL,
    N_WHY
};

typedef struct why_row {
    int kind, layer, half; /* as in tlp_study_place */
    char plan[32];
    double value[N_WHY];
} why_row;

typedef struct why {
    const study *s;
    why_row *row; /* exchanges, then pairs */
    size_t n, n_wanted;
    int rc; /* failure while rows are collected */
} why;

/* Measure and report by the options of the study. */
int why_run(const study *s);

/* ==== reports ============================================================ */

const char *why_name(int value); /* of a column */

/* The rows of a kind: [*first, *first + n) of all rows. */
size_t why_rows_of(const why *w, int kind, size_t *first);

/* Spearman's rank correlation of a value with the KL divergence, over the rows
 * of a kind; NaN where all ranks are equal, or for fewer than two rows. */
double why_correlation(const why *w, int kind, int value);

int why_print(const why *w);
int why_write_csv(const why *w, const char *path);
int why_write_json(const why *w, const char *path);
int why_write_svg(const why *w, const char *path);

#endif
