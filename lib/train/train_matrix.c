/*
 * train_matrix.c - products with a matrix of a layer, with its LoRA or its
 * trained copy, and with low-rank corrections.
 */
#include "train/train_pass.h"

/* For a product with W', or with W if `back`. */
static tlpi_gemm_source source(const tlpi_train_matrix *w, tlpi_slice s,
                               bool back)
{
    if (!w->full) {
        tlpi_gemm_source x = tlpi_gemm_weight(w->tensor, s.r0, s.c0);

        if (s.r1 - s.r0 == w->tensor->ne[1] && s.c1 - s.c0 == w->tensor->ne[0])
            x.panels = back ? w->panels_back : w->panels;
        return x;
    }
    return tlpi_gemm_floats(w->full->value +
                                (size_t)s.r0 * (size_t)w->full->cols + s.c0,
                            (size_t)w->full->cols);
}

/* Rows from r0 on, columns from c0 on. */
static float *at(float *x, const tlpi_train_param *p, int64_t r0, int64_t c0)
{
    return x + (size_t)r0 * (size_t)p->cols + (size_t)c0;
}

static tlpi_gemm_source values(const tlpi_train_param *p, int64_t r0,
                               int64_t c0)
{
    return tlpi_gemm_floats(at(p->value, p, r0, c0), (size_t)p->cols);
}

void tlpi_train_multiply(tlpi_train_pass *p, const tlpi_train_matrix *w,
                         tlpi_slice s, const float *x, float *y)
{
    int64_t rows = s.r1 - s.r0, cols = s.c1 - s.c0;

    tlpi_gemm_forward(p->gemm, p->n_tok, cols, rows, x, (size_t)cols,
                      source(w, s, false), 0, y, (size_t)rows);
    if (!w->down)
        return;
    int64_t rank = w->down->rows;

    tlpi_gemm_again(p->gemm);
    tlpi_gemm_forward(p->gemm, p->n_tok, cols, rank, x, (size_t)cols,
                      values(w->down, 0, s.c0), 0, p->low, (size_t)rank);
    tlpi_gemm_forward(p->gemm, p->n_tok, rank, rows, p->low, (size_t)rank,
                      values(w->up, s.r0, 0), 1, y, (size_t)rows);
}

/* The gradient of the rows and columns in s += gy' x. */
static void add_grad(tlpi_train_pass *p, tlpi_train_param *w, tlpi_slice s,
                     const float *gy, const float *x)
{
    int64_t rows = s.r1 - s.r0, cols = s.c1 - s.c0;
    float old = tlpi_train_param_open(w, rows == w->rows && cols == w->cols);

    tlpi_gemm_weight_grad(p->gemm, p->n_tok, cols, rows, gy, (size_t)rows, x,
                          (size_t)cols, old, at(w->grad, w, s.r0, s.c0),
                          (size_t)w->cols);
}

/* The gradients of a pair of thin matrices, up [rows][rank] and down
 * [rank][cols], from r0 and c0 on; gx += what goes through them, if not NULL.
 */
static void thin_back(tlpi_train_pass *p, tlpi_train_param *down,
                      tlpi_train_param *up, tlpi_slice s, const float *x,
                      const float *gy, float *gx)
{
    int64_t rows = s.r1 - s.r0, cols = s.c1 - s.c0, rank = down->rows;

    tlpi_gemm_input_grad(p->gemm, p->n_tok, rank, rows, gy, (size_t)rows,
                         values(up, s.r0, 0), 0, p->low_back, (size_t)rank);
    if (up->grad) {
        tlpi_gemm_forward(p->gemm, p->n_tok, cols, rank, x, (size_t)cols,
                          values(down, 0, s.c0), 0, p->low, (size_t)rank);
        add_grad(p, up, (tlpi_slice){ s.r0, s.r1, 0, rank }, gy, p->low);
        add_grad(p, down, (tlpi_slice){ 0, rank, s.c0, s.c1 }, p->low_back, x);
    }
    if (!gx)
        return;
    tlpi_gemm_input_grad(p->gemm, p->n_tok, cols, rank, p->low_back,
                         (size_t)rank, values(down, 0, s.c0), 1, gx,
                         (size_t)cols);
}

void tlpi_train_multiply_back(tlpi_train_pass *p, const tlpi_train_matrix *w,
                              tlpi_slice s, const float *x, const float *gy,
                              bool add, float *gx)
{
    int64_t rows = s.r1 - s.r0, cols = s.c1 - s.c0;

    if (gx)
        tlpi_gemm_input_grad(p->gemm, p->n_tok, cols, rows, gy, (size_t)rows,
                             source(w, s, true), add ? 1 : 0, gx, (size_t)cols);
    if (w->full && w->full->grad)
        add_grad(p, w->full, s, gy, x);
    if (!w->down)
        return;
    if (gx)
        tlpi_gemm_again(p->gemm);
    thin_back(p, w->down, w->up, s, x, gy, gx);
}

static tlpi_slice whole(const tlpi_train_lowrank *c)
{
    return (tlpi_slice){ 0, c->up->rows, 0, c->down->cols };
}

void tlpi_train_correct(tlpi_train_pass *p, const tlpi_train_lowrank *c,
                        const float *x, float *y)
{
    size_t d = (size_t)c->down->cols, rank = (size_t)c->rank;

    tlpi_gemm_forward(p->gemm, p->n_tok, (int64_t)d, c->rank, x, d,
                      values(c->down, 0, 0), 0, p->low, rank);
    tlpi_gemm_forward(p->gemm, p->n_tok, c->rank, (int64_t)d, p->low, rank,
                      values(c->up, 0, 0), 1, y, d);
}

void tlpi_train_correct_back(tlpi_train_pass *p, const tlpi_train_lowrank *c,
                             const float *x, const float *gy, float *gx)
{
    thin_back(p, c->down, c->up, whole(c), x, gy, gx);
}
