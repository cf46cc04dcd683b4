/*
 * train_place.c - queries and keys between their projections and attention:
 * norms of heads or of whole rows, then the rotation by their positions; and
 * the derivatives.
 *
 * A row is all query heads, or all kv heads, of a member.  The tracks of a
 * layer may have their heads in one row of queries and one of keys.  A kv head
 * that two tracks read is then in both, and the first of them counts.
 */
#include <string.h>

#include "train/train_member.h"

/* The query heads or the kv heads of a member. */
typedef struct some_heads {
    int first, n;
    float *x, *raw; /* [T][n * h] placed, and before; raw NULL: no norm */
} some_heads;

static some_heads heads_of(const tlpi_train_member *m,
                           const tlpi_train_trace *t, bool keys)
{
    if (keys)
        return (some_heads){ m->kv0, m->kv1 - m->kv0, t->k, t->k_raw };
    return (some_heads){ m->q0, m->q1 - m->q0, t->q, t->q_raw };
}

/* ==== norms ============================================================== */

static bool normalises_rows(const tlpi_train_pass *p)
{
    return tlpi_arch_get(&p->net->model->hp)->qk_norm == TLPI_QK_NORM_ROWS;
}

/* The norm of each head, or of the row that these heads make. */
static tlpi_train_norm norm_of(const tlpi_train_pass *p,
                               const tlpi_train_member *m,
                               const tlpi_train_trace *t, bool keys)
{
    const tlpi_hparams *hp = &p->net->model->hp;
    float *const *v = p->net->layer[m->layer].v;
    some_heads a = heads_of(m, t, keys);
    bool rows = normalises_rows(p);
    int d = rows ? a.n * hp->head_dim : hp->head_dim;
    const float *w;

    if (rows)
        w = v[keys ? TLPI_ATTN_K_ROW_NORM : TLPI_ATTN_Q_ROW_NORM] +
            (size_t)a.first * (size_t)hp->head_dim;
    else
        w = v[keys ? TLPI_ATTN_K_NORM : TLPI_ATTN_Q_NORM];
    return (tlpi_train_norm){ .n = rows ? p->n_tok : p->n_tok * a.n,
                              .d = d,
                              .ld = (size_t)d,
                              .x = a.raw,
                              .w = w,
                              .eps = hp->norm_eps };
}

/* The part of a norm of rows from column `from` to column `to`. */
static tlpi_train_norm cut(tlpi_train_norm o, int from, int to)
{
    o.x += from;
    o.w += from;
    o.d = to - from;
    return o;
}

/* Columns of the kv head that the track before this one counts. */
static int n_counted(const tlpi_train_pass *p, const tlpi_train_member *m,
                     bool keys)
{
    const tlpi_hparams *hp = &p->net->model->hp;
    int group = hp->n_head / hp->n_head_kv;

    return keys && m->kv0 * group < m->q0 ? hp->head_dim : 0;
}

/* The rows of all tracks. */
static tlpi_train_row shared_row(tlpi_train_pass *p, const tlpi_train_stage *s,
                                 const tlpi_train_trace *t, bool keys)
{
    const tlpi_hparams *hp = &p->net->model->hp;

    memset(p->square, 0, (size_t)p->n_tok * sizeof(*p->square));
    for (int j = 0; j < s->n_member; j++) {
        const tlpi_train_member *m = &s->member[j];
        tlpi_train_norm o = norm_of(p, m, &t[j], keys);

        o = cut(o, n_counted(p, m, keys), o.d);
        tlpi_train_norm_square(&p->ops, &o, p->square);
    }
    return (tlpi_train_row){ .n = (keys ? hp->n_head_kv : hp->n_head) *
                                  hp->head_dim,
                             .square = p->square };
}

static void norm_run(const tlpi_train_pass *p, const tlpi_train_member *m,
                     const tlpi_train_trace *t, bool keys,
                     const tlpi_train_row *row)
{
    tlpi_train_norm o = norm_of(p, m, t, keys);

    o.row = row;
    tlpi_train_norm_run(&p->ops, &o, heads_of(m, t, keys).x);
}

/* The gradient by the placed heads has their place. */
static void norm_back(const tlpi_train_pass *p, const tlpi_train_member *m,
                      const tlpi_train_trace *t, bool keys)
{
    float *g = heads_of(m, t, keys).x;
    tlpi_train_norm o = norm_of(p, m, t, keys);

    tlpi_train_norm_back(&p->ops, &o, g, g, true, NULL);
}

/* What the row counts has the row's product; copies of it have none. */
static void shared_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                        const tlpi_train_trace *t, bool keys)
{
    tlpi_train_row row = shared_row(p, s, t, keys), copies = row;

    memset(p->dot, 0, (size_t)p->n_tok * sizeof(*p->dot));
    row.dot = p->dot;
    for (int j = 0; j < s->n_member; j++) {
        tlpi_train_norm o = norm_of(p, &s->member[j], &t[j], keys);

        tlpi_train_norm_dot(&p->ops, &o, heads_of(&s->member[j], &t[j], keys).x,
                            p->dot);
    }
    for (int j = 0; j < s->n_member; j++) {
        const tlpi_train_member *m = &s->member[j];
        int n = n_counted(p, m, keys);
        float *g = heads_of(m, &t[j], keys).x;
        tlpi_train_norm o = norm_of(p, m, &t[j], keys);
        tlpi_train_norm copy = cut(o, 0, n), own = cut(o, n, o.d);

        copy.row = &copies;
        own.row = &row;
        if (n > 0)
            tlpi_train_norm_back(&p->ops, &copy, g, g, true, NULL);
        tlpi_train_norm_back(&p->ops, &own, g + n, g + n, true, NULL);
    }
}

/* ==== rotation =========================================================== */

static void rotate(const tlpi_train_pass *p, const tlpi_train_member *m,
                   const tlpi_train_trace *t, bool keys, bool back)
{
    const tlpi_hparams *hp = &p->net->model->hp;
    tlpi_rope_kind kind = p->net->model->w.layer[m->layer].rope;
    const tlpi_train_angles *angle = &p->angle[kind];
    some_heads a = heads_of(m, t, keys);
    const tlpi_train_rope rope = { .n = p->n_tok,
                                   .n_head = a.n,
                                   .h = hp->head_dim,
                                   .half = hp->n_rot / 2,
                                   .neox = tlpi_arch_get(hp)->rope_neox,
                                   .cos = angle->cos,
                                   .gain = keys ? NULL : p->query_gain,
                                   .sin = back ? angle->sin_back : angle->sin };

    if (kind != TLPI_ROPE_NONE)
        tlpi_train_rope_run(&p->ops, &rope, a.x);
}

/* ==== a stage ============================================================ */

static void keep_raw(const tlpi_train_pass *p, const some_heads *a)
{
    memcpy(a->raw, a->x,
           (size_t)p->n_tok * (size_t)a->n *
               (size_t)p->net->model->hp.head_dim * sizeof(float));
}

static void place(tlpi_train_pass *p, const tlpi_train_stage *s,
                  tlpi_train_trace *t, bool keys)
{
    bool shares = normalises_rows(p) && tlpi_train_shares_rows(s);
    tlpi_train_row row;

    for (int j = 0; j < s->n_member; j++) {
        some_heads a = heads_of(&s->member[j], &t[j], keys);

        if (a.raw)
            keep_raw(p, &a);
    }
    if (shares)
        row = shared_row(p, s, t, keys);
    for (int j = 0; j < s->n_member; j++) {
        if (heads_of(&s->member[j], &t[j], keys).raw)
            norm_run(p, &s->member[j], &t[j], keys, shares ? &row : NULL);
        rotate(p, &s->member[j], &t[j], keys, false);
    }
}

void tlpi_train_place(tlpi_train_pass *p, const tlpi_train_stage *s,
                      tlpi_train_trace *t)
{
    place(p, s, t, false);
    place(p, s, t, true);
}

static void place_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                       tlpi_train_trace *t, bool keys)
{
    bool shares = normalises_rows(p) && tlpi_train_shares_rows(s);

    for (int j = 0; j < s->n_member; j++) {
        rotate(p, &s->member[j], &t[j], keys, true);
        if (!shares && heads_of(&s->member[j], &t[j], keys).raw)
            norm_back(p, &s->member[j], &t[j], keys);
    }
    if (shares)
        shared_back(p, s, t, keys);
}

void tlpi_train_place_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                           tlpi_train_trace *t)
{
    place_back(p, s, t, false);
    place_back(p, s, t, true);
}
