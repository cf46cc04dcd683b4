/*
 * nccl_window.cu - memory of vectors that are exchanged.
 *
 * NCCL has symmetric windows since 2.27: memory of its own allocator that all
 * ranks register at once.  Kernels that access all windows sum such vectors in
 * place; other vectors are copied through NCCL's own buffers.  (Registering
 * other memory would change nothing: rings and trees do not use the
 * registration when a sum is formed in place, as here.)  TLP_CUDA_WINDOWS=0
 * turns windows off, for comparisons.
 *
 * A window ends with its communicator; its memory is freed with the buffer.
 */
#include "nccl_api.h"

struct tlpi_gpu_window {
    tlpi_gpu_window *next;
    tlpi_gpu_comm *c; /* NULL after it has ended */
    tlpi_nccl_win win;
    void *memory;
};

/* ==== memory ============================================================= */

static tlp_status allocate(tlpi_gpu *g, void **out, size_t bytes)
{
    const tlpi_nccl_lib *lib = tlpi_nccl_get();
    tlp_status st = tlpi_gpu_wait(g);

    *out = NULL;
    if (st != TLP_OK)
        return st;
    int e = lib->MemAlloc(out, bytes);
    if (e != TLPI_NCCL_SUCCESS) {
        *out = NULL;
        (void)cudaGetLastError();
        return tlpi_gpu_fail(TLP_ENOMEM, "NCCL, memory for exchanges: %s",
                             lib->GetErrorString(e));
    }
    tlpi_gpu_keep_error(g, cudaMemsetAsync(*out, 0, bytes, g->stream),
                        "a buffer");
    return TLP_OK;
}

/* Add an entry without a window to g's list. */
static tlp_status add(tlpi_gpu *g, tlpi_gpu_window **out, size_t bytes)
{
    tlpi_gpu_window *w =
        (tlpi_gpu_window *)tlpi_gpu_alloc(g->base.env, sizeof *w);

    *out = NULL;
    if (!w)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    tlp_status st = allocate(g, &w->memory, bytes);
    if (st != TLP_OK) {
        tlpi_gpu_free(g->base.env, w, sizeof *w);
        return st;
    }
    w->next = g->windows;
    g->windows = w;
    *out = w;
    return TLP_OK;
}

static void close_window(tlpi_gpu_window *w)
{
    if (w->c)
        tlpi_nccl_close_window(w->c, w->win);
    w->c = NULL;
    w->win = NULL;
}

bool tlpi_gpu_free_window(tlpi_gpu *g, const void *memory)
{
    tlpi_gpu_window **link = &g->windows, *w;

    while (*link && (*link)->memory != memory)
        link = &(*link)->next;
    w = *link;
    if (!w)
        return false;
    *link = w->next;
    close_window(w);
    (void)tlpi_nccl_get()->MemFree(w->memory);
    tlpi_gpu_free(g->base.env, w, sizeof *w);
    return true;
}

void tlpi_gpu_close_windows(tlpi_gpu_comm *c)
{
    for (tlpi_gpu_window *w = c->g->windows; w; w = w->next)
        if (w->c == c)
            close_window(w);
}

/* ==== buffers ============================================================ */

/* Other ranks may still be loading.  Wait for them on the host, without NCCL's
 * timeout, before NCCL waits. */
tlp_status tlpi_gpu_exchange_buffer(tlpi_comm *base, float **out, size_t n)
{
    tlpi_gpu_comm *c = (tlpi_gpu_comm *)base;
    tlpi_gpu *g = c->g;
    tlpi_gpu_window *w = NULL;
    size_t bytes = n ? n * sizeof **out : sizeof **out;
    tlp_status st = TLP_OK;

    if (!c->windows)
        return g->base.ops->buffer_create(&g->base, out, n);
    *out = NULL;
    tlpi_gpu_use(g);
    tlp_status own = n > SIZE_MAX / sizeof **out
                         ? tlpi_gpu_fail(TLP_ENOMEM, "out of memory")
                         : add(g, &w, bytes);
    TLP_TRY(tlpi_gpu_agree(c->host, own));
    TLP_TRY(tlpi_nccl_open_window(c, w->memory, bytes, &w->win));
    w->c = c;
    *out = (float *)w->memory;
    w = NULL;
done:
    if (w)
        (void)tlpi_gpu_free_window(g, w->memory);
    return st;
}
