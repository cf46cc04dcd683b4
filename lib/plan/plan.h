/*
 * plan.h - a layer-parallel plan: its stages, and the operations on it that are
 * shared between files.
 */
#ifndef TLPI_PLAN_H
#define TLPI_PLAN_H

#include <stdatomic.h>

#include "base/base.h"
#include "model/model.h"

/* Tracks of a plan: at least 2; 0 for a plan that leaves out no exchange. */
enum { TLPI_MAX_TRACK = 64 };

typedef struct tlpi_stage {
    int mode;     /* TLP_MODE_*; a stage of one member is SERIAL */
    int n_member; /* >= 1 */
    int *layers;  /* [n_member], in running order */
    int nosync;   /* TLP_NOSYNC_* of exchanges left out; SERIAL stages only */
} tlpi_stage;

typedef struct tlpi_adjust tlpi_adjust; /* plan/adjust.h */

struct tlp_plan {
    _Atomic int refs;
    tlp_model *model; /* retained */
    int n_stage;
    tlpi_stage *stage; /* [n_stage], in running order */
    int n_track;       /* 0 = every exchange is made */
    /* Layers are numbered 0..n_layer-1.  A layer in no stage is dropped; no
     * layer is in two stages. */
    char *made; /* JSON text of the file's "made" object, kept; or NULL */
    tlpi_adjust *adjust; /* or NULL; owned */
};

/* Does the residual stream differ between tracks when stage i begins?  True if
 * the plan leaves out the exchange before; i = n_stage is the end. */
static inline bool tlpi_plan_is_open(const tlp_plan *p, int i)
{
    return i > 0 && (p->stage[i - 1].nosync & TLP_NOSYNC_FFN);
}

/* Is the layer of stage i cut into tracks?  It is if the stream differs between
 * tracks anywhere in the stage. */
static inline bool tlpi_plan_has_tracks(const tlp_plan *p, int i)
{
    return p->stage[i].nosync || tlpi_plan_is_open(p, i);
}

/* The half-layers of TLP_NOSYNC_* in the text form, behind the number of their
 * layer: "a", "f", or "" for both. */
const char *tlpi_nosync_name(int nosync);

/* The largest number of tracks that a model's layers can be cut into. */
static inline int tlpi_plan_max_track(const tlp_model *m)
{
    return TLPI_MIN(TLPI_MAX_TRACK, m->hp.n_head);
}

/* The layer of a member as ranks hold it: all tracks are of one layer. */
static inline int tlpi_stage_layer(const tlpi_stage *s, int member)
{
    return s->layers[s->n_member > 1 ? member : 0];
}

/* Members of stage i as ranks hold it: layers, or the tracks of one layer.  A
 * merged stage has one. */
static inline int tlpi_plan_n_member(const tlp_plan *p, int i)
{
    if (tlpi_plan_has_tracks(p, i))
        return p->n_track;
    return p->stage[i].mode == TLP_MODE_MERGE ? 1 : p->stage[i].n_member;
}

tlp_plan *tlpi_plan_retain(tlp_plan *p);

/* Mode to text ("serial", "lp", ...), and text to mode; -1 for an unknown
 * text. */
const char *tlpi_mode_name(int mode);
int tlpi_mode_parse(const char *text, size_t n);

/* Largest tlpi_plan_n_member of all stages. */
int tlpi_plan_max_members(const tlp_plan *p);

/*
 * A copy of the plan's "made" object in which `key` has the given value: JSON
 * text in memory of the model's env.
 */
tlp_status tlpi_plan_record(const tlp_plan *p, const char *key,
                            const char *value, char **made);

/*
 * Build a plan from stages in running order.  The function checks that every
 * layer is in range and is used once, and that modes and exchanges fit; it
 * copies the
 * stages.  n_track counts only if a stage leaves out an exchange.  `where`
 * names the plan in error texts.
 */
tlp_status tlpi_plan_build(tlp_plan **out, tlp_model *model,
                           const tlpi_stage *stage, int n_stage, int n_track,
                           const char *made, const char *where);

/* tlpi_plan_build with the stages of p, for `model`. */
tlp_status tlpi_plan_rebuild(tlp_plan **out, tlp_model *model,
                             const tlp_plan *p, const char *made);

#endif
