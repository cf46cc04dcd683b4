/*
 * train_param.c - the list of parameters, and AdamW over all of it.
 */
#include "train/train_param.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Numbers of a task; sums over tasks are added in the order of tasks. */
#define CHUNK 16384
/* Floats between the arrays of a parameter, so that equal elements do not meet
 * in one set of a cache. */
#define APART 272

tlp_status tlpi_train_param_add(tlpi_train_params *list, const char *name,
                                int64_t rows, int64_t cols, bool trained,
                                tlpi_train_param **out)
{
    const tlpi_env *env = list->env;
    size_t n = (size_t)rows * (size_t)cols;
    tlpi_train_param *p;

    *out = NULL;
    if (list->n == list->cap) {
        size_t cap = 2 * list->cap + 64;
        tlpi_train_param **grown =
            tlpi_realloc_array(env, list->item, cap, sizeof(*grown));

        if (!grown)
            return tlpi_fail_nomem_for("what is trained");
        list->item = grown;
        list->cap = cap;
    }
    p = tlpi_calloc(env, 1, sizeof(*p));
    if (!p)
        return tlpi_fail_nomem_for("what is trained");
    list->item[list->n++] = p;
    snprintf(p->name, sizeof(p->name), "%s", name);
    p->rows = rows;
    p->cols = cols;
    size_t step = (n + 15) / 16 * 16 + APART, n_array = trained ? 4 : 1;
    float *x = tlpi_alloc_huge(env, n_array * step * sizeof(float));

    if (!x)
        return tlpi_fail_nomem_for("what is trained");
    memset(x, 0, n_array * step * sizeof(float));
    p->value = x;
    if (trained) {
        p->grad = x + step;
        p->first = x + 2 * step;
        p->second = x + 3 * step;
        list->n_trained += n;
    }
    list->n_bytes += n_array * step * sizeof(float);
    *out = p;
    return TLP_OK;
}

void tlpi_train_params_free(tlpi_train_params *list)
{
    for (size_t i = 0; i < list->n; i++) {
        tlpi_train_param *p = list->item[i];

        tlpi_free(list->env, p->value);
        tlpi_free(list->env, p);
    }
    if (list->env)
        tlpi_free(list->env, list->item);
    *list = (tlpi_train_params){ 0 };
}

/* ==== work on all numbers ================================================ */

/* A task is a chunk of one parameter. */
typedef struct sweep {
    tlpi_train_params *list;
    const tlpi_train_vec *vec;
    tlpi_adam_rule rule;
    float decayed; /* what the decay leaves of a number */
    double *sum;   /* [n_task] squares of gradients */
} sweep;

static size_t n_chunk(const tlpi_train_param *p)
{
    return p->grad ? (tlpi_train_param_size(p) + CHUNK - 1) / CHUNK : 0;
}

static tlpi_train_param *find(const sweep *s, int task, size_t *begin,
                              size_t *end)
{
    size_t at = (size_t)task;

    for (size_t i = 0;; i++) {
        tlpi_train_param *p = s->list->item[i];
        size_t n = n_chunk(p);

        if (at < n) {
            *begin = at * CHUNK;
            *end = TLPI_MIN(*begin + CHUNK, tlpi_train_param_size(p));
            return p;
        }
        at -= n;
    }
}

static int n_task(const tlpi_train_params *list)
{
    size_t n = 0;

    for (size_t i = 0; i < list->n; i++)
        n += n_chunk(list->item[i]);
    return (int)n;
}

void tlpi_train_params_clear_grad(tlpi_train_params *list)
{
    for (size_t i = 0; i < list->n; i++)
        list->item[i]->fresh = true;
}

float tlpi_train_param_open(tlpi_train_param *p, bool whole)
{
    if (!p->fresh)
        return 1;
    p->fresh = false;
    if (whole)
        return 0;
    memset(p->grad, 0, tlpi_train_param_size(p) * sizeof(*p->grad));
    return 1;
}

static void square_chunk(void *arg, int task, int n)
{
    sweep *s = arg;
    size_t begin, end;
    const tlpi_train_param *p = find(s, task, &begin, &end);

    (void)n;
    s->sum[task] = s->vec->dot(p->grad + begin, p->grad + begin, end - begin);
}

static void step_chunk(void *arg, int task, int n)
{
    const sweep *s = arg;
    size_t begin, end;
    tlpi_train_param *p = find(s, task, &begin, &end);
    tlpi_adam_rule rule = s->rule;

    (void)n;
    rule.keep = p->decay ? s->decayed : 1;
    s->vec->adam(&rule, p->value + begin, p->first + begin, p->second + begin,
                 p->grad + begin, end - begin);
}

static tlp_status find_norm(sweep *s, tlpi_pool *pool, int n, double *norm)
{
    double sum = 0;

    s->sum = tlpi_calloc(s->list->env, (size_t)n + 1, sizeof(double));
    if (!s->sum)
        return tlpi_fail_nomem_for("a step of training");
    tlpi_pool_map(pool, n, square_chunk, s);
    for (int i = 0; i < n; i++)
        sum += s->sum[i];
    tlpi_free(s->list->env, s->sum);
    *norm = sqrt(sum);
    return TLP_OK;
}

tlp_status tlpi_adam_step(tlpi_adam *a, tlpi_train_params *list,
                          const tlpi_train_ops *ops, double scale, double *norm)
{
    int n = n_task(list);
    sweep s = { .list = list, .vec = ops->vec };
    tlp_status st;

    for (size_t i = 0; i < list->n; i++)
        if (list->item[i]->grad)
            tlpi_train_param_open(list->item[i], false);
    TLP_TRY(find_norm(&s, ops->pool, n, norm));
    *norm *= scale;
    if (!isfinite(*norm))
        return tlpi_fail(TLP_ERROR, "the gradient of step %lld is not finite",
                         (long long)a->step + 1);
    if (a->clip > 0 && *norm > a->clip)
        scale *= a->clip / *norm;
    a->step++;
    s.rule = (tlpi_adam_rule){
        .scale = (float)scale,
        .beta1 = (float)a->beta1,
        .beta2 = (float)a->beta2,
        .fix = (float)(1 / (1 - pow(a->beta2, (double)a->step))),
        .eps = (float)a->eps,
        .rate = (float)(a->rate / (1 - pow(a->beta1, (double)a->step))),
    };
    s.decayed = (float)(1 - a->rate * a->decay);
    tlpi_pool_map(ops->pool, n, step_chunk, &s);
done:
    return st;
}
