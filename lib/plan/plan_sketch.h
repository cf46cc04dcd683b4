/*
 * plan_sketch.h - a plan while it is read: groups, dropped layers and an
 * order, in the order in which a text or a file happens to give them.  Each
 * layer's use is checked as it comes; at the end the groups are laid out as
 * stages.  And the two readers that fill one.
 */
#ifndef TLPI_PLAN_SKETCH_H
#define TLPI_PLAN_SKETCH_H

#include "plan/plan.h"

typedef struct tlpi_sketch {
    tlp_model *model;
    const char *where; /* begins the text of every error */
    int n_layer;
    int *pool;  /* [2*n_layer] members of all groups */
    int *owner; /* [n_layer] group of a layer; -1 none, -2 dropped */
    int *seen;  /* [n_layer] the last list that named it */
    int n_list;
    tlpi_stage *group; /* [n_layer+1], the last for one that must fail */
    int n_group;
    int *order; /* [n_layer] layers in running order */
    int n_order;
    bool has_order;
} tlpi_sketch;

tlp_status tlpi_sketch_init(tlpi_sketch *s, tlp_model *model,
                            const char *where);
void tlpi_sketch_free(tlpi_sketch *s);

/* A group: begin, add each member, end.  A group of one must be SERIAL. */
void tlpi_sketch_begin(tlpi_sketch *s, int mode);
tlp_status tlpi_sketch_add(tlpi_sketch *s, int64_t layer);
tlp_status tlpi_sketch_end(tlpi_sketch *s);

tlp_status tlpi_sketch_drop(tlpi_sketch *s, int64_t layer);

/* Begin the running order, then give its layers one by one. */
tlp_status tlpi_sketch_begin_order(tlpi_sketch *s);
tlp_status tlpi_sketch_order(tlpi_sketch *s, int64_t layer);

/* For a form that lists all: every layer is in a group or dropped, and without
 * an order the groups came in the layers' own. */
tlp_status tlpi_sketch_check_listed(const tlpi_sketch *s);

/*
 * Lay out: layers run in the order given, or else by number; a group stands
 * where the first of its members would; a layer in no group is serial.
 */
tlp_status tlpi_sketch_build(tlpi_sketch *s, const char *made, tlp_plan **out);

/* "3-5+9": the members of a group; cut with "..." when they do not fit. */
void tlpi_group_format(const int *layers, int n, char *buf, size_t cap);

/* plan_text.c: the text form. */
tlp_status tlpi_plan_read_text(tlpi_sketch *s, const char *text);

/* plan_json.c: the JSON form; *made gets the "made" object, for tlpi_free, and
 * *adjust what "adjust" says, for tlpi_adjust_free. */
tlp_status tlpi_plan_read_json(tlpi_sketch *s, const char *text, size_t n,
                               char **made, tlpi_adjust **adjust);

/* plan_format.c: both forms, written; _as: under another name of the file of
 * its adjustments than the plan's own. */
void tlpi_plan_write_text(const tlp_plan *p, tlpi_text *out);
void tlpi_plan_write_json(const tlp_plan *p, tlpi_text *out);
void tlpi_plan_write_json_as(const tlp_plan *p, const char *file,
                             tlpi_text *out);

#endif
