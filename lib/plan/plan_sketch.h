/*
 * plan_sketch.h - a plan while it is read, and the two readers that fill it.  A
 * sketch holds groups, dropped layers and an order, in the sequence in which a
 * text or a file gives them.  Each use of a layer is checked when it is read.
 * At the end tlpi_sketch_build turns the groups into stages.
 */
#ifndef TLPI_PLAN_SKETCH_H
#define TLPI_PLAN_SKETCH_H

#include "plan/plan.h"

typedef struct tlpi_sketch {
    tlp_model *model;
    const char *where; /* beginning of every error text */
    int n_layer;
    int *pool;   /* [2*n_layer] members of all groups */
    int *owner;  /* [n_layer] group of a layer; -1 none, -2 dropped */
    int *seen;   /* [n_layer] number of the last list that named the layer */
    int *nosync; /* [n_layer] exchanges left out, TLP_NOSYNC_* */
    int n_track; /* of these; 0 = none was given */
    int n_list;
    tlpi_stage *group; /* [n_layer+1]; the last entry is for a group that will
                          be refused */
    int n_group;
    int *order; /* [n_layer] layers in running order */
    int n_order;
    bool has_order;
} tlpi_sketch;

tlp_status tlpi_sketch_init(tlpi_sketch *s, tlp_model *model,
                            const char *where);
void tlpi_sketch_free(tlpi_sketch *s);

/* Add a group: begin, add each member, end.  A group of one layer must be
 * SERIAL. */
void tlpi_sketch_begin(tlpi_sketch *s, int mode);
tlp_status tlpi_sketch_add(tlpi_sketch *s, int64_t layer);
tlp_status tlpi_sketch_end(tlpi_sketch *s);

tlp_status tlpi_sketch_drop(tlpi_sketch *s, int64_t layer);

/* Add the running order: begin it, then add its layers one by one. */
tlp_status tlpi_sketch_begin_order(tlpi_sketch *s);
tlp_status tlpi_sketch_order(tlpi_sketch *s, int64_t layer);

/* Leave out exchanges: begin with the number of tracks, then add half-layers
 * (halves: TLP_NOSYNC_*). */
tlp_status tlpi_sketch_begin_nosync(tlpi_sketch *s, int64_t n_track);
tlp_status tlpi_sketch_nosync(tlpi_sketch *s, int64_t layer, int halves);

/* Check for the JSON form, which lists all layers: every layer is in a group
 * or dropped, and without an order the groups are sorted by their lowest
 * layers. */
tlp_status tlpi_sketch_check_listed(const tlpi_sketch *s);

/*
 * Make the plan.  Layers run in the given order, or by number if there is none.
 * A group takes the place of its first member.  A layer in no group is a serial
 * stage.
 */
tlp_status tlpi_sketch_build(tlpi_sketch *s, const char *made, tlp_plan **out);

/* Write the members of a group as "3-5+9"; "..." ends a text that does not
 * fit. */
void tlpi_group_format(const int *layers, int n, char *buf, size_t cap);

/* plan_text.c: the text form. */
tlp_status tlpi_plan_read_text(tlpi_sketch *s, const char *text);
/* Leave out the exchanges of a half-layer, "7a", "7f" or "7". */
tlp_status tlpi_plan_read_half(tlpi_sketch *s, const char *text);

/* plan_json.c: the JSON form; *made gets the "made" object (free it with
 * tlpi_free), *adjust file and hash of the "adjust" object (free it with
 * tlpi_adjust_free). */
tlp_status tlpi_plan_read_json(tlpi_sketch *s, const char *text, size_t n,
                               char **made, tlpi_adjust **adjust);

/* plan_format.c: write both forms.  _as: write another name for the file of
 * adjustments. */
void tlpi_plan_write_text(const tlp_plan *p, tlpi_text *out);
void tlpi_plan_write_json(const tlp_plan *p, tlpi_text *out);
void tlpi_plan_write_json_as(const tlp_plan *p, const char *file,
                             tlpi_text *out);

#endif
