/*
 * store.h - what one rank holds of a model: packed weights and KV caches by
 * layer, the output head, the tables of rotation.
 *
 * The programs of a rank (program.h) take from its store what their plans need.
 * Programs that cut a layer alike get one copy of a weight and one cache, which
 * are counted once and go when the last program has put them back.  A cache
 * keeps sequences apart, and a sequence belongs to the program that filled it.
 */
#ifndef TLPI_STORE_H
#define TLPI_STORE_H

#include "backend/backend.h"
#include "comm/comm.h"
#include "model/model.h"
#include "rank/kv_shape.h"
#include "rank/rank_config.h"

/* Memory that ranks hold. */
typedef struct tlpi_rank_sizes {
    uint64_t weights, kv, buffers; /* kv: all pages */
    uint64_t page[TLPI_N_KV_KIND]; /* one page of each kind */
} tlpi_rank_sizes;

/* The weights and caches of a layer (store.c). */
typedef struct tlpi_store_layer tlpi_store_layer;

typedef struct tlpi_store {
    const tlpi_env *env;
    const tlp_model *model;
    const tlpi_session_config *cfg;
    tlpi_backend *b;
    tlpi_comm *comm; /* of commands: ranks that wait learn of the loading */
    bool dry;        /* no tensor's data is read */

    tlpi_store_layer *layer; /* [n_layer] */
    /* The pages of the caches, of the kinds that are used. */
    tlpi_kv_shape shape;
    tlpi_pages *pages[TLPI_N_KV_KIND];
    int32_t *table[TLPI_N_KV_KIND]; /* [n_seq][n_index], tlpi_page_layout */
    uint8_t *has_memory[TLPI_N_KV_KIND]; /* [n_page] */
    tlpi_rope *rope[TLPI_N_ROPE];        /* NULL: no layer rotates so */
    float *output_norm;
    tlpi_weight *embd; /* [n_vocab][d] of devices, else NULL */
    tlpi_weight *head; /* [vocab1 - vocab0][d], NULL if that is empty */
    int vocab0, vocab1;
    uint32_t version;      /* of the last change to a program (tlpi_want) */
    tlpi_rank_sizes bytes; /* of all of it */
} tlpi_store;

/* The fields env to dry are set and the other fields are zero.  What has been
 * made of it on failure is the caller's to free. */
tlp_status tlpi_store_create(tlpi_store *s);

/* The norm and rows [vocab0, vocab1) of the output head; on devices also the
 * embeddings. */
tlp_status tlpi_store_load_head(tlpi_store *s, int vocab0, int vocab1);

/* All programs have put back what they took. */
void tlpi_store_free(tlpi_store *s);

/* A slice of a layer's matrix. */
tlp_status tlpi_store_take(tlpi_store *s, int layer, const tlpi_tensor *t,
                           tlpi_slice slice, tlpi_weight **out);
void tlpi_store_put(tlpi_store *s, int layer,
                    tlpi_weight *w); /* NULL is fine */

/* Packed weights of layers that stay in the model's weight cache after the
 * store has put them back.  Zeroes hold none. */
typedef struct tlpi_kept_weights {
    void **w; /* [n] */
    int n;
} tlpi_kept_weights;

/* Keep the matrices of a layer that the store holds now, if they take at most
 * *budget bytes; *budget is lowered by their bytes. */
tlp_status tlpi_store_keep(const tlpi_store *s, int layer,
                           tlpi_kept_weights *kept, size_t *budget);
void tlpi_kept_weights_free(const tlp_model *m, tlpi_kept_weights *kept);

/* Whose keys and values a cache holds. */
typedef struct tlpi_kv_key {
    int kv0, kv1; /* kv heads of the layer */
    int track;    /* whose stream they come from; 0 for layers in no track */
    bool merged;  /* a merged layer's, which are no layer's: not shared */
} tlpi_kv_key;

/* A layer's cache; before the first page has memory. */
tlp_status tlpi_store_take_kv(tlpi_store *s, int layer, const tlpi_kv_key *key,
                              tlpi_kv **out);
void tlpi_store_put_kv(tlpi_store *s, int layer, tlpi_kv *kv);

/* The i-th cache of a layer, NULL behind the last one. */
tlpi_kv *tlpi_store_kv(const tlpi_store *s, int layer, int i);

/* ==== pages (store_pages.c) ============================================== */

typedef enum tlpi_page_op {
    TLPI_PAGE_TAKE, /* give the page memory */
    TLPI_PAGE_DROP, /* free its memory; no table has it any more */
    TLPI_PAGE_COPY, /* page `from` to the page */
    TLPI_PAGE_SET   /* the page at `index` of sequence `seq`; -1: none */
} tlpi_page_op;

/* One change of the pages of a kind. */
typedef struct tlpi_page_edit {
    int32_t op, kind, page;
    int32_t seq, index; /* SET */
    int32_t from;       /* COPY */
} tlpi_page_edit;

tlp_status tlpi_store_create_pages(tlpi_store *s);
void tlpi_store_free_pages(tlpi_store *s);

/* All caches are there: give pages their memory, where no session asks for
 * it. */
tlp_status tlpi_store_fill_pages(tlpi_store *s);

/* Carry out n edits in their order, whose numbers are checked.  Only TAKE can
 * fail, or a malformed edit (TLP_ECOMM); pages that were taken are dropped
 * then. */
tlp_status tlpi_store_edit_pages(tlpi_store *s, const tlpi_page_edit *edit,
                                 int n);
/* The opposite of the TAKE edits among these, which were carried out. */
void tlpi_store_undo_take(tlpi_store *s, const tlpi_page_edit *edit, int n);

/* Do tokens at positions first to last of a sequence, and all positions that
 * they see, have pages with memory? */
bool tlpi_store_has_pages(const tlpi_store *s, int seq, int first, int last);

/* ==== what pages hold (store_copy.c) ===================================== */

/* Bytes that this rank holds of 16 positions, in all caches of a kind. */
uint64_t tlpi_store_panel_bytes(const tlpi_store *s, int kind);
/* Does the page have memory, and room for n positions? */
bool tlpi_store_can_copy(const tlpi_store *s, int kind, int32_t page, int n);
/* The first n positions of a page to and from memory of the host: the caches of
 * the kind by layer, tlpi_store_panel_bytes for each 16 positions.  `host` is
 * whole: positions beyond n are zeros. */
void tlpi_store_read_page(const tlpi_store *s, void *host, int kind,
                          int32_t page, int n);
void tlpi_store_write_page(const tlpi_store *s, int kind, int32_t page,
                           const void *host, int n);

/* A vector of n floats in memory of the backend, with its bytes added to
 * *bytes; host NULL, for dry stores, leaves it as it is. */
tlp_status tlpi_store_vector(tlpi_store *s, const float *host, size_t n,
                             float **out, uint64_t *bytes);
/* Elements [i0, i1) of each vector of a tensor, times scale. */
tlp_status tlpi_store_elements(tlpi_store *s, const tlpi_tensor *t, int64_t i0,
                               int64_t i1, float scale, float **out,
                               uint64_t *bytes);

/* Ranks that wait for this rank to load go on waiting. */
void tlpi_store_busy(const tlpi_store *s);

#endif
