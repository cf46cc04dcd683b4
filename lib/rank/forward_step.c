/*
 * forward_step.c - a step of tokens through the stages of a plan, whole or in
 * pieces.
 */
#include "rank/dry_rank.h"
#include "rank/forward.h"
#include "rank/pass.h"

static tlp_status run_stages(tlpi_rank *r, const tlpi_program *program,
                             const tlpi_step *step, int first, int end)
{
    const tlpi_hparams *hp = &r->model->hp;
    const tlpi_pass p = { .rank = r->rank,
                          .hp = hp,
                          .b = r->b,
                          .exchange = &r->exchange,
                          .buf = &r->scratch,
                          .probe = r->probe,
                          .step = step,
                          .n_tok = step->n_tok,
                          .n = tlpi_n_stream(r, step) };
    tlp_status st = TLP_OK;

    for (int i = first; i < end && st == TLP_OK; i++)
        st = tlpi_forward_stage(&p, &program->stage[i],
                                i > first ? &program->stage[i - 1] : NULL);
    if (first < end && st == TLP_OK && !tlpi_plan_is_open(program->plan, end))
        st = tlpi_settle(&p, tlpi_forward_owed(&program->stage[end - 1]));
    return st;
}

static void embed(tlpi_rank *r, const tlpi_step *step)
{
    r->b->ops->embed(r->b, step, r->model->w.t[TLPI_TOKEN_EMBD], r->store.embd,
                     r->model->hp.embedding_scale, r->scratch.x);
    r->b->ops->zero(r->b, r->scratch.delta, tlpi_n_stream(r, step));
}

tlp_status tlpi_forward(tlpi_rank *r, const tlpi_program *program,
                        const tlpi_step *step)
{
    r->b->ops->begin_step(r->b, step, NULL);
    embed(r, step);
    tlp_status st = run_stages(r, program, step, 0, program->plan->n_stage);
    return r->b->ops->end_step(r->b, st);
}

tlp_status tlpi_forward_logits(tlpi_rank *r, const tlpi_program *program,
                               const tlpi_step *step, const int32_t *row,
                               int n_row, int at)
{
    tlpi_want want = { row, n_row, at, program->version };
    tlp_status st = TLP_OK;

    if (r->b->ops->begin_step(r->b, step, &want)) {
        tlpi_rank_count_replayed(r, program, step->n_tok);
    } else {
        embed(r, step);
        st = run_stages(r, program, step, 0, program->plan->n_stage);
        for (int i = 0; i < n_row && st == TLP_OK; i += TLPI_LOGIT_CHUNK)
            tlpi_forward_head(r, row + i, TLPI_MIN(TLPI_LOGIT_CHUNK, n_row - i),
                              tlpi_rank_logits(r, at + i));
    }
    return r->b->ops->end_step(r->b, st);
}

/* ==== in pieces ========================================================== */

void tlpi_forward_begin(tlpi_rank *r, const tlpi_step *step, const float *x)
{
    if (!x) {
        r->b->ops->begin_step(r->b, step, NULL);
        embed(r, step);
        return;
    }
    r->b->ops->write(r->b, r->scratch.x, x, tlpi_n_stream(r, step));
    r->b->ops->zero(r->b, r->scratch.delta, tlpi_n_stream(r, step));
}

void tlpi_forward_begin_tracks(tlpi_rank *r, const tlpi_step *step, int n_track,
                               const float *x, const float *const *track)
{
    size_t n = tlpi_n_stream(r, step);

    tlpi_forward_begin(r, step, x);
    for (int t = 0; t < n_track; t++)
        r->b->ops->write(r->b, r->scratch.track + (size_t)t * n, track[t], n);
}

tlp_status tlpi_forward_stages(tlpi_rank *r, const tlpi_program *program,
                               const tlpi_step *step, int first, int end)
{
    r->b->ops->begin_step(r->b, step, NULL);
    tlp_status st = run_stages(r, program, step, first, end);
    return r->b->ops->end_step(r->b, st);
}
