/*
 * ref_ops.c - the operations of a layer in double precision.
 */
#include <math.h>

#include "ref_impl.h"

void ref_linear(const ref_array *w, const ref_array *b, const double *x, int n,
                int cols, double *y)
{
    int rows = (int)(w->n / (size_t)cols);

    for (int t = 0; t < n; t++)
        for (int r = 0; r < rows; r++) {
            const double *wr = w->x + (size_t)r * (size_t)cols;
            const double *xt = x + (size_t)t * (size_t)cols;
            double sum = b && b->x ? b->x[r] : 0;

            for (int c = 0; c < cols; c++)
                sum += wr[c] * xt[c];
            y[(size_t)t * (size_t)rows + (size_t)r] = sum;
        }
}

void ref_rms_norm(const ref_model *m, const ref_array *w, const double *x,
                  int n, int len, double *y)
{
    for (int t = 0; t < n; t++) {
        const double *xt = x + (size_t)t * (size_t)len;
        double *yt = y + (size_t)t * (size_t)len, ss = 0;

        for (int i = 0; i < len; i++)
            ss += xt[i] * xt[i];
        double f = 1 / sqrt(ss / len + m->eps);
        for (int i = 0; i < len; i++)
            yt[i] = xt[i] * f * w->x[i];
    }
}

void ref_rope(const ref_model *m, const double *inv_freq, double *x, int n,
              int n_head)
{
    int half = m->n_rot / 2;
    double gain = inv_freq == m->inv_freq ? m->rope_gain : 1;

    for (int t = 0; t < n; t++)
        for (int h = 0; h < n_head; h++) {
            double *v =
                x + ((size_t)t * (size_t)n_head + (size_t)h) * (size_t)m->hd;

            for (int i = 0; i < half; i++) {
                double c = gain * cos(t * inv_freq[i]);
                double s = gain * sin(t * inv_freq[i]);
                double *a = m->neighbours ? &v[2 * i] : &v[i];
                double *b = m->neighbours ? &v[2 * i + 1] : &v[i + half];
                double a0 = *a, b0 = *b;

                *a = a0 * c - b0 * s;
                *b = a0 * s + b0 * c;
            }
        }
}

void ref_attend(const ref_model *m, const double *q, const double *k,
                const double *v, const ref_array *sinks, int j0, int t, int h,
                double *p, double *o)
{
    size_t hd = (size_t)m->hd, kv = (size_t)(h / (m->n_head / m->n_head_kv));
    const double *qt = q + ((size_t)t * (size_t)m->n_head + (size_t)h) * hd;
    double sink = sinks->x ? sinks->x[h] : -INFINITY, best = sink, sum = 0;

    for (int j = j0; j <= t; j++) {
        const double *kj = k + ((size_t)j * (size_t)m->n_head_kv + kv) * hd;

        p[j] = 0;
        for (size_t i = 0; i < hd; i++)
            p[j] += qt[i] * kj[i];
        p[j] *= m->attention_scale;
        if (m->attn_cap > 0)
            p[j] = m->attn_cap * tanh(p[j] / m->attn_cap);
        best = fmax(best, p[j]);
    }
    for (int j = j0; j <= t; j++)
        sum += p[j] = exp(p[j] - best);
    sum += exp(sink - best);
    for (size_t i = 0; i < hd; i++)
        o[i] = 0;
    for (int j = j0; j <= t; j++) {
        const double *vj = v + ((size_t)j * (size_t)m->n_head_kv + kv) * hd;

        for (size_t i = 0; i < hd; i++)
            o[i] += p[j] / sum * vj[i];
    }
}
