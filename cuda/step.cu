/*
 * step.cu - begin and end of a step.
 *
 * A step's arrays are copied to the device in one copy from pinned memory,
 * before any kernel reads them and outside of recorded graphs.  A replayed
 * step therefore uses its own arrays.  Two pinned blocks are used in turn, so
 * that the host rarely waits for the previous step's copy.
 */
#include "gpu.h"

static constexpr int MIN_BUCKET = 128;

/* ==== memory ============================================================= */

static size_t tiles_at(const tlpi_gpu *g)
{
    return (4 * (size_t)g->max_tok * sizeof(int32_t) + 15) / 16 * 16;
}

static tlpi_gpu_step view(const tlpi_gpu *g, void *base)
{
    int32_t *p = (int32_t *)base;
    size_t n = (size_t)g->max_tok;
    tlpi_gpu_step s = { p, p + n, p + 2 * n, p + 3 * n,
                        (tlpi_gpu_tile *)((uint8_t *)base + tiles_at(g)) };

    return s;
}

tlp_status tlpi_gpu_step_create(tlpi_gpu *g)
{
    tlp_status st = TLP_OK;
    void *p = NULL;

    g->step_bytes = tiles_at(g) + (size_t)g->max_tok * sizeof(tlpi_gpu_tile);
    TLP_TRY(tlpi_gpu_status(cudaMalloc(&p, g->step_bytes), "a step's arrays"));
    g->dev = view(g, p);
    for (int i = 0; i < TLPI_GPU_STAGING; i++) {
        TLP_TRY(tlpi_gpu_status(
            cudaHostAlloc(&p, g->step_bytes, cudaHostAllocDefault),
            "a step's arrays"));
        g->host[i] = view(g, p);
        TLP_TRY(tlpi_gpu_status(
            cudaEventCreateWithFlags(&g->sent[i], cudaEventDisableTiming),
            "an event"));
    }
done:
    return st;
}

void tlpi_gpu_step_free(tlpi_gpu *g)
{
    for (int i = 0; i < TLPI_GPU_STAGING; i++) {
        if (g->host[i].id)
            (void)cudaFreeHost(g->host[i].id);
        if (g->sent[i])
            (void)cudaEventDestroy(g->sent[i]);
    }
    (void)cudaFree(g->dev.id);
}

/* ==== a step ============================================================= */

/* Cut the step into tiles of neighbouring tokens of one sequence. */
static int cut(tlpi_gpu_tile *tile, const tlpi_step *s)
{
    int n = 0;

    for (int t = 0; t < s->n_tok; t++) {
        tlpi_gpu_tile *last = n > 0 ? &tile[n - 1] : NULL;
        if (last && last->n_tok < TLPI_GPU_TILE && s->seq[t] == last->seq &&
            s->pos[t] == last->pos + last->n_tok)
            last->n_tok++;
        else
            tile[n++] = { t, 1, s->seq[t], s->pos[t] };
    }
    return n;
}

static void upload(tlpi_gpu *g, const tlpi_step *s, const tlpi_want *want)
{
    tlpi_gpu_step *h = &g->host[g->staging];
    size_t tok = (size_t)s->n_tok * sizeof(int32_t);

    tlpi_gpu_wait_event(g, g->sent[g->staging]);
    memcpy(h->id, s->id, tok);
    memcpy(h->seq, s->seq, tok);
    memcpy(h->pos, s->pos, tok);
    if (want && want->n_row > 0)
        memcpy(h->row, want->row, (size_t)want->n_row * sizeof(int32_t));
    g->n_tile = cut(h->tile, s);
    size_t bytes = tiles_at(g) + (size_t)g->n_tile * sizeof(tlpi_gpu_tile);
    tlpi_gpu_keep_error(g,
                        cudaMemcpyAsync(g->dev.id, h->id, bytes,
                                        cudaMemcpyHostToDevice, g->stream),
                        "a step's arrays");
    tlpi_gpu_keep_error(g, cudaEventRecord(g->sent[g->staging], g->stream),
                        "a step");
    g->staging = (g->staging + 1) % TLPI_GPU_STAGING;
}

bool tlpi_gpu_begin_step(tlpi_backend *b, const tlpi_step *s,
                         const tlpi_want *want)
{
    tlpi_gpu *g = tlpi_gpu_of(b);
    int longest = 1;

    tlpi_gpu_use(g);
    for (int t = 0; t < s->n_tok; t++)
        longest = s->pos[t] + 1 > longest ? s->pos[t] + 1 : longest;
    g->bucket = MIN_BUCKET;
    while (g->bucket < longest)
        g->bucket *= 2;
    g->step = s;
    g->want = want;
    upload(g, s, want);
    g->decodes = s->n_tok <= TLPI_GPU_DECODE ||
                 (s->n_tok <= TLPI_GPU_SINGLES && g->n_tile == s->n_tok);
    return want && g->decodes && tlpi_gpu_graphs_begin(g);
}

tlp_status tlpi_gpu_end_step(tlpi_backend *b, tlp_status st)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    st = tlpi_gpu_graphs_end(g, st);
    g->step = NULL;
    g->want = NULL;
    return st != TLP_OK ? st : tlpi_gpu_peek(g);
}
