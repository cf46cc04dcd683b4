/*
 * train_subject.h - a net in training beside its reference: tiny models, plans
 * of every mode, and gradients against differences of the reference's loss in
 * double precision.
 */
#ifndef TRAIN_SUBJECT_H
#define TRAIN_SUBJECT_H

#include "support/check.h"
#include "support/ref_adjust.h"
#include "support/tiny.h"
#include "train/train_head.h"

enum { SUBJECT_TOKENS = 13, SUBJECT_TOP = 7, N_GRAD_PLAN = 9 };

typedef struct grad_case {
    const char *plan, *stages; /* for the library, and for the reference */
} grad_case;

extern const grad_case grad_plans[N_GRAD_PLAN];

/* A type of matrices with which the library and the reference cut alike. */
tlpi_dtype grad_type(const grad_case *c);

typedef struct subject subject;
struct subject {
    double (*loss)(const subject *s); /* of the reference */
    double **serial;                  /* ref_serial_streams */
    tlp_model *model;
    tlp_plan *plan;
    ref_model *ref;
    ref_plan ref_plan;
    int32_t ids[SUBJECT_TOKENS + 1];
    size_t n_vocab;
    int32_t
        top[SUBJECT_TOKENS * SUBJECT_TOP]; /* the serial model's predictions */
    float prob[SUBJECT_TOKENS * SUBJECT_TOP];
    tlpi_pool *pool;
    tlpi_train_net net;
    tlpi_train_pass pass;
    tlpi_train_head head;
};

/* What the plan has besides its stages. */
typedef enum extras { PLAIN, ADJUSTED, WITH_LORA } extras;

subject subject_open(const tiny_spec *spec, const grad_case *c, extras more,
                     const tlpi_train_choice *choice, int n_thread);
/* When *s has its place: the pass points to the net.  tapes: bytes. */
void subject_begin(subject *s, uint64_t tapes);
void subject_close(subject *s);

/* The pass's loss of the tokens, and the slope for the way back. */
tlpi_train_loss subject_run(subject *s, bool slope);

/* The loss of the reference: a mean of both; kl, nll: sums, or NULL. */
double subject_loss(const subject *s, double *kl, double *nll);
double subject_mixed_loss(const subject *s); /* for s->loss */

/* A parameter's gradient against differences of s->loss. */
void check_gradient(subject *s, const tlpi_train_param *p, const char *what);

#endif
