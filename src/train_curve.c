/*
 * train_curve.c - see train_curve.h.
 */
#include "train_curve.h"

#include <stdlib.h>

void train_curve_add(train_curve *c, const tlp_train_point *p)
{
    tlp_train_point *grown = realloc(c->point, (c->n + 1) * sizeof *c->point);

    if (!grown) {
        c->failed = true;
        return;
    }
    c->point = grown;
    c->point[c->n++] = *p;
}

/* Tokens per second up to point i, from the point before it. */
static double speed_at(const train_curve *c, size_t i)
{
    const tlp_train_point none = { .seconds = 0 };
    const tlp_train_point *a = i > 0 ? &c->point[i - 1] : &none;
    const tlp_train_point *b = &c->point[i];
    double seconds = b->seconds - a->seconds;

    return seconds > 0 ? (double)(b->n_token - a->n_token) / seconds : 0;
}

double train_curve_speed(const train_curve *c)
{
    return c->n > 0 ? speed_at(c, c->n - 1) : 0;
}

void train_curve_print(const train_curve *c)
{
    printf("%10s %9s %9s %11s %8s %9s\n", "tokens", "loss", "KL", "perplexity",
           "top-1, %", "tokens/s");
    for (size_t i = 0; i < c->n; i++) {
        const tlp_train_point *p = &c->point[i];

        printf("%10lld %9.4f %9.4f %11.4f %8.2f %9.0f%s\n",
               (long long)p->n_token, p->loss, p->kl, p->ppl,
               100 * p->top1_agreement, speed_at(c, i),
               p->local ? "  local loss" : "");
    }
}

void train_curve_put_csv(const train_curve *c, FILE *f)
{
    fputs("tokens,step,loss,kl,ppl,top1,seconds,rate,local\n", f);
    for (size_t i = 0; i < c->n; i++) {
        const tlp_train_point *p = &c->point[i];

        fprintf(f, "%lld,%lld,%.9g,%.9g,%.9g,%.9g,%.3f,%.9g,%d\n",
                (long long)p->n_token, (long long)p->step, p->loss, p->kl,
                p->ppl, p->top1_agreement, p->seconds, p->rate, p->local);
    }
}

void train_curve_json(const train_curve *c, json *j)
{
    json_open(j, "curve", '[');
    for (size_t i = 0; i < c->n; i++) {
        const tlp_train_point *p = &c->point[i];

        json_open(j, NULL, '{');
        json_int(j, "tokens", p->n_token);
        json_int(j, "step", p->step);
        json_number(j, "loss", p->loss);
        json_number(j, "kl", p->kl);
        json_number(j, "ppl", p->ppl);
        json_number(j, "top1", p->top1_agreement);
        json_number(j, "seconds", p->seconds);
        json_int(j, "local", p->local);
        json_close(j, '}');
    }
    json_close(j, ']');
}

void train_curve_free(train_curve *c)
{
    free(c->point);
    *c = (train_curve){ 0 };
}
