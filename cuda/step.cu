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

/* Entries of the table for a sequence. */
static size_t n_entry(const tlpi_gpu *g)
{
    return (size_t)TLPI_GPU_KINDS * (size_t)g->n_index;
}

/* Bytes of a step's arrays with the pages of n_seq sequences. */
static size_t bytes_with(const tlpi_gpu *g, int n_seq)
{
    return (4 * (size_t)g->max_tok + (size_t)n_seq * n_entry(g)) *
           sizeof(int32_t);
}

static size_t tiles_at(const tlpi_gpu *g)
{
    return (bytes_with(g, g->max_seq) + 15) / 16 * 16;
}

static tlpi_gpu_step view(const tlpi_gpu *g, void *base)
{
    int32_t *p = (int32_t *)base;
    size_t n = (size_t)g->max_tok;
    tlpi_gpu_step s = {
        p,         p + n,     p + 2 * n,
        p + 3 * n, p + 4 * n, (tlpi_gpu_tile *)((uint8_t *)base + tiles_at(g))
    };

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

/* Cut the step into tiles of neighbouring tokens of one sequence; seq: as in
 * tlpi_gpu_step. */
static int cut(tlpi_gpu_tile *tile, const tlpi_step *s, const int32_t *seq)
{
    int n = 0;

    for (int t = 0; t < s->n_tok; t++) {
        tlpi_gpu_tile *last = n > 0 ? &tile[n - 1] : NULL;
        if (last && last->n_tok < TLPI_GPU_TILE && seq[t] == last->seq &&
            s->pos[t] == last->pos + last->n_tok)
            last->n_tok++;
        else
            tile[n++] = { t, 1, seq[t], s->pos[t] };
    }
    return n;
}

/* The pages of a sequence, of every kind, as the n-th of the step. */
static void put_pages(const tlpi_gpu *g, int32_t *table, int n, int seq)
{
    size_t index = (size_t)g->n_index;

    for (size_t k = 0; k < TLPI_GPU_KINDS; k++)
        if (g->pages[k])
            memcpy(table + (size_t)n * n_entry(g) + k * index,
                   g->pages[k]->layout.table + (size_t)seq * index,
                   index * sizeof *table);
}

/* Number the step's sequences, and list their pages. */
static int number_sequences(const tlpi_gpu *g, tlpi_gpu_step *h,
                            const tlpi_step *s)
{
    int n = 0;

    for (int t = 0; t < s->n_tok; t++) {
        if (t == 0 || s->seq[t] != s->seq[t - 1])
            put_pages(g, h->table, n++, s->seq[t]);
        h->seq[t] = n - 1;
    }
    return n;
}

/* Fill the host's block; returns the number of sequences. */
static int fill(tlpi_gpu *g, const tlpi_step *s, const tlpi_want *want)
{
    tlpi_gpu_step *h = &g->host[g->staging];
    size_t tok = (size_t)s->n_tok * sizeof(int32_t);

    tlpi_gpu_wait_event(g, g->sent[g->staging]);
    memcpy(h->id, s->id, tok);
    memcpy(h->pos, s->pos, tok);
    if (want && want->n_row > 0)
        memcpy(h->row, want->row, (size_t)want->n_row * sizeof(int32_t));
    int n_seq = number_sequences(g, h, s);
    g->n_tile = cut(h->tile, s, h->seq);
    return n_seq;
}

/* Decode attention needs no tiles. */
static void upload(tlpi_gpu *g, int n_seq)
{
    size_t bytes =
        g->decodes ? bytes_with(g, n_seq)
                   : tiles_at(g) + (size_t)g->n_tile * sizeof(tlpi_gpu_tile);

    tlpi_gpu_keep_error(g,
                        cudaMemcpyAsync(g->dev.id, g->host[g->staging].id,
                                        bytes, cudaMemcpyHostToDevice,
                                        g->stream),
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
    int n_seq = fill(g, s, want);
    g->decodes = s->n_tok <= TLPI_GPU_DECODE ||
                 (s->n_tok <= TLPI_GPU_SINGLES && g->n_tile == s->n_tok);
    upload(g, n_seq);
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
