/*
 * program_rows.c - norms of whole rows of queries and keys: of all heads of a
 * member, of which a part has some.
 *
 * The heads of a layer in tracks are one row where the serial model's attention
 * is computed: all tracks have one stream, and the attention is exchanged.
 * Elsewhere a track knows its own heads alone, and they are its row.
 */
#include "rank/program.h"

/* The heads of a row. */
typedef struct row_heads {
    int first, end; /* query heads */
    int n_kv;
    int n_rank; /* that hold parts of it */
} row_heads;

/* A stage whose rows are looked at. */
typedef struct row_stage {
    const tlpi_program *p;
    int stage;
    bool whole; /* the members are tracks, and the heads of all are one row */
} row_stage;

static row_heads heads_of(const row_stage *r, int row)
{
    const tlpi_hparams *hp = &r->p->store->model->hp;
    int group = hp->n_head / hp->n_head_kv;
    row_heads h = { .first = hp->n_head };

    for (int rank = 0; rank < r->p->shards->n_rank; rank++) {
        const tlpi_stage_shard *s = tlpi_shard_at(r->p->shards, r->stage, rank);
        bool holds = false;

        for (int i = 0; i < s->n_attn; i++) {
            const tlpi_attn_part *part = &s->attn[i];

            if (!r->whole && part->member != row)
                continue;
            h.first = TLPI_MIN(h.first, part->q0);
            h.end = TLPI_MAX(h.end, part->q1);
            holds = true;
        }
        h.n_rank += holds;
    }
    h.n_kv = (h.end + group - 1) / group - h.first / group;
    return h;
}

/* A rank with parts of two members would wait for two inner all-reduces, so
 * that one over all ranks is sooner done. */
static bool spans_meet(const tlpi_span *span, int n)
{
    for (int m = 1; m < n; m++)
        if (span[m].first < span[m - 1].first + span[m - 1].count)
            return true;
    return false;
}

static tlpi_row_ranks ranks_of(const row_stage *r, const tlpi_rank_stage *s)
{
    int most = 0;

    for (int i = 0; i < s->n_row; i++)
        most = TLPI_MAX(most, heads_of(r, i).n_rank);
    if (most < 2)
        return TLPI_ROW_HERE;
    return s->span && !r->whole && !spans_meet(s->span, s->n_member)
               ? TLPI_ROW_SPAN
               : TLPI_ROW_ALL;
}

/* A kv head that two parts of a row read is counted by the first of them. */
static void set_part(const row_stage *r, const tlpi_attn_part *part,
                     tlpi_rank_attn *a)
{
    const tlpi_hparams *hp = &r->p->store->model->hp;
    row_heads h;

    a->row = r->whole ? 0 : part->member;
    h = heads_of(r, a->row);
    a->row_q = h.end - h.first;
    a->row_kv = h.n_kv;
    a->counts_kv =
        part->q0 == TLPI_MAX(part->kv0 * (hp->n_head / hp->n_head_kv), h.first);
}

void tlpi_program_set_rows(tlpi_program *p, int stage)
{
    const tlpi_stage_shard *shard = tlpi_shard_at(p->shards, stage, p->rank);
    tlpi_rank_stage *s = &p->stage[stage];
    bool tracks = tlpi_stage_has_tracks(s);
    row_stage r = { .p = p, .stage = stage };

    if (tlpi_arch_get(&p->store->model->hp)->qk_norm != TLPI_QK_NORM_ROWS)
        return;
    r.whole = tracks && !s->open && !(s->nosync & TLP_NOSYNC_ATTN);
    s->n_row = r.whole ? 1 : s->n_member;
    s->row_ranks = ranks_of(&r, s);
    for (int i = 0; i < s->n_attn; i++)
        set_part(&r, &shard->attn[i], &s->attn[i]);
}
