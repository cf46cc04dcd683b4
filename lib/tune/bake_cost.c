/*
 * bake_cost.c - what it costs to have a hidden unit on a track.
 *
 * The cost of unit i on track t is the mean over tokens of
 *
 *     (h_i(u_t) - h_i(u))^2 |w_i|^2 / |x|^2
 *
 * h_i(u) = silu(gate_i u) (up_i u), u_t the input that the track reads, u the
 * input that the serial model reads, w_i the unit's column of ffn_down, x the
 * serial model's stream before the layer.  The first token of a window is
 * larger than later tokens by orders of magnitude; the division by |x|^2 keeps
 * it from deciding alone.
 *
 * Both models go through a window side by side.  Where all tracks have one
 * stream the plan goes on with the serial model's, so that a site shows the
 * errors of its own run of left-out exchanges and not those of earlier runs.
 */
#include <string.h>

#include "rank/forward.h"
#include "tune/bake.h"

typedef struct meter {
    tlpi_bake *b;
    tlpi_rank *serial, *plan; /* the ranks that run them */
    tlpi_bake_site *site;     /* whose inputs are seen, or the next */
    int n_tok;
    float *x;           /* [n_ctx][n_embd] the serial model's stream */
    float *u;           /* [n_ctx][n_embd] the serial model's input */
    float *want, *have; /* [n_ctx][n_ff] hidden units from u and from u_t */
    double *weight;     /* [n_ctx] 1 / |x|^2 */
} meter;

/* Hidden units of the site's layer from inputs x [n_tok][n_embd]. */
static void expand(const meter *m, const float *x, float *y)
{
    const tlpi_rank_ffn *f = &m->serial->program->stage[m->site->layer].ffn[0];
    const tlpi_gate_up item = {
        .gate = f->t.w[TLPI_FFN_GATE], .up = f->t.w[TLPI_FFN_UP], .x = x, .y = y
    };

    m->serial->b->ops->gate_up(m->serial->b, m->n_tok, &item, 1);
}

static tlp_status see_serial(void *arg, tlpi_probe_at at, int member,
                             const float *x)
{
    meter *m = arg;

    (void)member; /* a stage of the serial plan has one */
    if (at == TLPI_PROBE_FFN_IN)
        memcpy(m->u, x,
               (size_t)m->n_tok * (size_t)m->b->model->hp.n_embd * sizeof *x);
    return TLP_OK;
}

static tlp_status see_track(void *arg, tlpi_probe_at at, int member,
                            const float *x)
{
    meter *m = arg;
    size_t n = (size_t)m->b->model->hp.n_ff;
    double *cost = m->site->cost + (size_t)member * n;

    if (at != TLPI_PROBE_FFN_IN)
        return TLP_OK;
    expand(m, x, m->have);
    for (size_t t = 0; t < (size_t)m->n_tok; t++)
        for (size_t i = 0; i < n; i++) {
            double e = (double)m->have[t * n + i] - (double)m->want[t * n + i];
            cost[i] += m->weight[t] * e * e;
        }
    return TLP_OK;
}

static void weigh(meter *m)
{
    size_t d = (size_t)m->b->model->hp.n_embd;

    for (size_t t = 0; t < (size_t)m->n_tok; t++) {
        double sum = 0;

        for (size_t j = t * d; j < (t + 1) * d; j++)
            sum += (double)m->x[j] * (double)m->x[j];
        m->weight[t] = 1 / (sum + 1e-30);
    }
}

/* The serial model's layer of a site. */
static tlp_status run_serial_site(meter *m, const tlpi_step *step)
{
    const tlpi_probe probe = { see_serial, m };
    int l = m->site->layer;
    tlp_status st;

    tlpi_forward_stream(m->serial, step, m->x);
    weigh(m);
    m->serial->probe = &probe;
    st = tlpi_forward_stages(m->serial, m->serial->program, step, l, l + 1);
    m->serial->probe = NULL;
    if (st == TLP_OK)
        expand(m, m->u, m->want);
    return st;
}

static tlp_status run_site(meter *m, const tlpi_step *step)
{
    const tlpi_probe probe = { see_track, m };
    int i = m->site->stage;
    tlp_status st = run_serial_site(m, step);

    if (st != TLP_OK)
        return st;
    m->plan->probe = &probe;
    st = tlpi_forward_stages(m->plan, m->plan->program, step, i, i + 1);
    m->plan->probe = NULL;
    return st;
}

/* Stage i of the plan, and the serial model's layers up to it.  *layer: the
 * serial model's next. */
static tlp_status run_stage(meter *m, const tlpi_step *step, int i, int *layer)
{
    const tlpi_stage *s = &m->b->plan->stage[i];
    int first = s->layers[0], end = s->layers[s->n_member - 1] + 1;
    tlp_status st;

    TLP_TRY(tlpi_forward_stages(m->serial, m->serial->program, step, *layer,
                                first));
    if (!tlpi_plan_is_open(m->b->plan, i)) {
        tlpi_forward_stream(m->serial, step, m->x);
        tlpi_forward_begin(m->plan, step, m->x);
    }
    if (s->nosync & TLP_NOSYNC_ATTN) {
        TLP_TRY(run_site(m, step));
    } else {
        TLP_TRY(tlpi_forward_stages(m->serial, m->serial->program, step, first,
                                    end));
        TLP_TRY(tlpi_forward_stages(m->plan, m->plan->program, step, i, i + 1));
    }
    m->site += s->nosync != 0;
    *layer = end;
done:
    return st;
}

static tlp_status measure_window(meter *m, const tlpi_window *w)
{
    tlpi_step step = tlpi_window_step(&m->b->text, w);
    const tlpi_bake_site *last = &m->b->site[m->b->n_site - 1];
    int layer = 0;
    tlp_status st = TLP_OK;

    m->n_tok = w->n;
    m->site = m->b->site;
    tlpi_forward_begin(m->serial, &step, NULL);
    tlpi_forward_begin(m->plan, &step, NULL);
    for (int i = 0; i <= last->stage; i++)
        TLP_TRY(run_stage(m, &step, i, &layer));
    st = tlpi_tick_call(&m->b->tick);
done:
    return st;
}

/* Multiply the costs by the squares of the columns of ffn_down. */
static tlp_status scale_costs(const tlpi_bake *b, const tlpi_bake_site *site)
{
    const tlpi_tensor *down = b->model->w.layer[site->layer].t[TLPI_FFN_DOWN];
    size_t n = (size_t)b->model->hp.n_ff;
    float *row = tlpi_alloc_array(b->env, n, sizeof *row);
    double *square = tlpi_calloc(b->env, n, sizeof *square);
    tlp_status st = TLP_OK;

    if (!row || !square) {
        st = tlpi_fail_nomem_for("the costs of hidden units");
        goto done;
    }
    for (int64_t r = 0; r < down->ne[1]; r++) {
        tlpi_read_row(down, r, row, down->ne[0]);
        for (size_t i = 0; i < n; i++)
            square[i] += (double)row[i] * (double)row[i];
    }
    for (int t = 0; t < b->plan->n_track; t++)
        for (size_t i = 0; i < n; i++)
            site->cost[(size_t)t * n + i] *= square[i];
done:
    tlpi_free(b->env, square);
    tlpi_free(b->env, row);
    return st;
}

static tlp_status alloc_meter(meter *m)
{
    const tlpi_bake *b = m->b;
    size_t n = (size_t)b->text.n_ctx, d = (size_t)b->model->hp.n_embd;
    size_t n_ff = (size_t)b->model->hp.n_ff;

    m->x = tlpi_alloc_array(b->env, n * d, sizeof(float));
    m->u = tlpi_alloc_array(b->env, n * d, sizeof(float));
    m->want = tlpi_alloc_array(b->env, n * n_ff, sizeof(float));
    m->have = tlpi_alloc_array(b->env, n * n_ff, sizeof(float));
    m->weight = tlpi_alloc_array(b->env, n, sizeof *m->weight);
    return m->x && m->u && m->want && m->have && m->weight
               ? TLP_OK
               : tlpi_fail_nomem_for("the costs of hidden units");
}

static void free_meter(meter *m)
{
    void *all[] = { m->x, m->u, m->want, m->have, m->weight };

    for (size_t i = 0; i < TLPI_COUNT(all); i++)
        tlpi_free(m->b->env, all[i]);
}

tlp_status tlpi_bake_measure(tlpi_bake *b)
{
    meter m = { .b = b };
    tlpi_runner plan = { .plan = NULL };
    tlp_status st;

    TLP_TRY(alloc_meter(&m));
    TLP_TRY(tlpi_runner_create(&plan, b->plan, &b->cfg));
    m.serial = b->teacher.serial.rank;
    m.plan = plan.rank;
    for (int i = b->text.n_held; i < b->text.n; i++)
        TLP_TRY(measure_window(&m, &b->text.window[i]));
    for (int i = 0; i < b->n_site; i++)
        if (b->site[i].half & TLP_NOSYNC_ATTN)
            TLP_TRY(scale_costs(b, &b->site[i]));
done:
    tlpi_runner_free(&plan);
    free_meter(&m);
    return st;
}
