/*
 * cpu_kv_copy.c - the content of a cache in a page, to and from a form without
 * pages.
 *
 * The form has panels of 16 positions, head after head:
 *
 *   k                 [n_head_kv][panel][h][16]
 *   v                 [n_head_kv][panel][16][hp]
 *   k_scale, v_scale  [n_head_kv][n_block][panel][16], for Q8_0
 *
 * A page has room for other panels between those of two heads.
 */
#include <string.h>

#include "backend/cpu_kv.h"

/* Rows of panels that lie apart in a page. */
typedef struct panels {
    size_t at;    /* where they begin in a page */
    size_t n;     /* rows: heads, or blocks of all heads */
    size_t bytes; /* of a panel */
    size_t lane;  /* bytes of a position where positions run fastest, else 0 */
} panels;

_Static_assert(TLPI_PANEL == TLPI_KV_PANEL, "caches have panels of one size");

enum { N_PART = 4 };

static void list_parts(const tlpi_kv *kv, panels out[N_PART])
{
    size_t n = (size_t)kv->n_head_kv, block = n * kv->n_block;
    size_t scales = TLPI_PANEL * sizeof(float);
    size_t k = (size_t)kv->head_dim * TLPI_PANEL * kv->size;

    out[0] = (panels){ kv->k, n, k, kv->size };
    out[1] = (panels){ kv->v, n, TLPI_PANEL * kv->hp * kv->size, 0 };
    out[2] = (panels){ kv->k_scale, block, scales, sizeof(float) };
    out[3] = (panels){ kv->v_scale, block, scales, sizeof(float) };
}

size_t tlpi_cpu_kv_panel_bytes(const tlpi_kv *kv)
{
    panels part[N_PART];
    size_t sum = 0;

    list_parts(kv, part);
    for (int i = 0; i < N_PART; i++)
        sum += part[i].n * part[i].bytes;
    return sum;
}

/* Zeros for the positions from the n-th of a panel on. */
static void clear_behind(const panels *p, char *panel, size_t n)
{
    size_t row = p->bytes / TLPI_PANEL;

    if (!p->lane) {
        memset(panel + n * row, 0, p->bytes - n * row);
        return;
    }
    for (size_t at = 0; at < p->bytes; at += TLPI_PANEL * p->lane)
        memset(panel + at + n * p->lane, 0, (TLPI_PANEL - n) * p->lane);
}

void tlpi_cpu_kv_read(tlpi_backend *b, void *host, const tlpi_kv *kv, int page,
                      int n)
{
    const char *memory = kv->pages->memory[page];
    size_t stride = kv->n_pos / TLPI_PANEL, n_panel = tlpi_kv_n_panel(n);
    size_t rest = (size_t)n % TLPI_PANEL;
    panels part[N_PART];
    char *to = host;

    (void)b;
    list_parts(kv, part);
    for (int i = 0; i < N_PART; i++)
        for (size_t row = 0; row < part[i].n; row++) {
            size_t bytes = n_panel * part[i].bytes;

            memcpy(to, memory + part[i].at + row * stride * part[i].bytes,
                   bytes);
            if (rest)
                clear_behind(&part[i], to + bytes - part[i].bytes, rest);
            to += bytes;
        }
}

void tlpi_cpu_kv_write(tlpi_backend *b, tlpi_kv *kv, int page, const void *host,
                       int n)
{
    char *memory = kv->pages->memory[page];
    size_t stride = kv->n_pos / TLPI_PANEL, n_panel = tlpi_kv_n_panel(n);
    panels part[N_PART];
    const char *from = host;

    (void)b;
    list_parts(kv, part);
    for (int i = 0; i < N_PART; i++)
        for (size_t row = 0; row < part[i].n; row++) {
            size_t bytes = n_panel * part[i].bytes;

            memcpy(memory + part[i].at + row * stride * part[i].bytes, from,
                   bytes);
            from += bytes;
        }
}
