/*
 * teacher_rig.h - a tiny model, a text in windows, and the teacher of both.
 */
#ifndef TEACHER_RIG_H
#define TEACHER_RIG_H

#include "check.h"
#include "tune/teacher.h"

typedef struct teacher_rig {
    tlp_model *model;
    tlpi_session_config cfg;
    tlpi_windows text;
    tlpi_teacher teacher;
} teacher_rig;

typedef struct teacher_shape {
    int n_layer; /* 0: tiny_default's */
    int n_token, n_ctx, n_thread;
    const char *arch; /* NULL: llama */
} teacher_shape;

/* Fill ids [n_token] with the text, and *r, which must stay where it is, as
 * must ids.  A tick without a function lets the work go on. */
void teacher_rig_open(teacher_rig *r, int32_t *ids, const teacher_shape *shape,
                      tlpi_tick tick);
void teacher_rig_close(teacher_rig *r);

#endif
