/*
 * backend.h - the operations that a session is made of, for one rank on one
 * device.
 *
 * forward.c writes the equations once, in terms of this table.  Floats live in
 * buffers of the backend (host memory for the CPU); activations are row-major
 * [n_tok][columns] without gaps.  Operations run in the order of the calls and
 * may return before they have finished; an operation that returns numbers to
 * the host waits for the earlier ones.  Operations cannot run out of memory,
 * because weights, buffers and caches are allocated in advance.  When a device
 * fails, every later call that returns a status reports the failure.
 */
#ifndef TLPI_BACKEND_H
#define TLPI_BACKEND_H

#include "base/base.h"
#include "base/cores.h"
#include "tensor/gate.h"
#include "tensor/tensor.h"

typedef struct tlpi_backend tlpi_backend;
typedef struct tlpi_weight tlpi_weight; /* a matrix in the backend's layout, or
                                           a stack: one for each expert */
typedef struct tlpi_pages tlpi_pages;   /* memory of caches, page by page */
typedef struct tlpi_kv tlpi_kv;         /* K and V of one layer's kv heads */
typedef struct tlpi_rope tlpi_rope;     /* tables of rotation angles */
typedef struct tlpi_routes tlpi_routes; /* the experts that tokens read */

/* How experts are chosen from the scores of a router. */
typedef struct tlpi_route_rule {
    int n_expert, n_used; /* n_used experts for each token */
    bool norm;   /* a token's weights are the softmax over its own experts, else
                    over all experts */
    float scale; /* factor of the weights */
} tlpi_route_rule;

/*
 * Each token gets the n_used experts with the best scores, of equal scores the
 * expert with the lower index, and their weights.  A token whose scores have
 * NaN or +inf gets the first n_used experts, with weights NaN.
 */
typedef struct tlpi_route {
    const float *score; /* [n_tok][n_expert] */
    tlpi_routes *routes;
} tlpi_route;

/*
 * scale * W x;  W [rows][cols], x [n_tok][cols].
 *
 * With routes, w is a stack of matrices W_e.  A token has an entry for each
 * expert e that it reads, with a weight p_e, and the term is scale * sum_e p_e
 * (W_e x_e + b_e).  x is [n_tok * n_used][cols], a row for each entry, in the
 * order in which gate_up has left them.
 */
typedef struct tlpi_term {
    const tlpi_weight *w;
    const float *x;
    float scale;
    const tlpi_routes *routes; /* NULL: a single matrix */
    const float *expert_bias;  /* [n_expert][rows] b_e, or NULL */
} tlpi_term;

/*
 * y = (add ? y : 0) + bias + sum_j scale_j W_j x_j;  y [n_tok][rows].  All
 * terms of an item have routes, or none has.  With routes there is no bias.
 *
 * Output projections of a group of layers are one item with a term for each
 * member.  Input projections are one item for each member.
 */
typedef struct tlpi_matmul {
    const tlpi_term *term;
    int n_term;
    const float *bias; /* [rows] or NULL */
    bool add;
    float *y;
} tlpi_matmul;

/* y = gate_fn(G x) * (U x);  G, U [rows][cols], x [n_tok][cols], y
 * [n_tok][rows].  A term with a weight is added to G x or U x.  With routes, G
 * and U are stacks, y is [n_tok * n_used][rows], a row for each entry, and no
 * term is added. */
typedef struct tlpi_gate_up {
    const tlpi_weight *gate, *up;
    const float *x;
    float *y;
    tlpi_gate gate_fn;
    tlpi_term gate_more, up_more; /* w NULL: none */
    const tlpi_routes *routes;    /* NULL: single matrices */
    /* with routes: [n_expert][rows], added to G x and U x, or NULL */
    const float *gate_bias, *up_bias;
} tlpi_gate_up;

/* y = rms_norm(x) * w; without w, y = x */
typedef struct tlpi_norm {
    const float *w; /* [n_embd], device; or NULL */
    float *y;       /* [n_tok][n_embd] */
} tlpi_norm;

/* y[t] += sum of the squares of row t */
typedef struct tlpi_square {
    const float *x; /* [n_tok][cols] */
    int cols;
    float *y; /* [n_tok] */
} tlpi_square;

/* The sum of the squares of each token's row, of which the heads of an item are
 * a part, and the length of that row. */
typedef struct tlpi_row_square {
    const float *sum; /* [n_tok]; NULL: every head has a norm of its own */
    int cols;
} tlpi_row_square;

/* Attention of some kv heads of one layer; h = head_dim. */
typedef struct tlpi_attn {
    float *q; /* [n_tok][n_head*h]; normalised and rotated in place */
    /* [n_tok][n_head_kv*h]; normalised and rotated in place, then cached */
    float *k;
    const float *v; /* [n_tok][n_head_kv*h]; cached */
    /* weights of RMS norms or NULL: [h], or one for each element of a token's
     * heads where whole rows are normalised */
    const float *q_norm, *k_norm;
    tlpi_kv *kv;
    int n_head, n_head_kv;
    float *y;              /* [n_tok][n_head*h] */
    const tlpi_rope *rope; /* NULL: queries and keys are not rotated */
    int window;            /* the latest positions that a token sees, its own
                              among them; 0: all */
    float scale;           /* of q k; 0: 1/sqrt(h) */
    float cap;             /* scores s become cap tanh(s / cap); 0: no cap */
    tlpi_row_square q_row, k_row;
    const float *sink; /* [n_head] a score more of each head, without a value
                          and not times `scale`; or NULL */
} tlpi_attn;

/* The tokens of a step.  Token t has position pos[t] in sequence seq[t].
 * Tokens of one sequence are neighbours with consecutive positions.  They
 * attend to the earlier positions in the cache: to all of them, or to those in
 * the window of the attention. */
typedef struct tlpi_step {
    int n_tok;
    const int32_t *id, *seq, *pos; /* [n_tok], host */
} tlpi_step;

/* Positions of a page of the cache. */
#define TLPI_PAGE 256

/* Positions of a panel, the unit in which the content of pages is copied. */
#define TLPI_KV_PANEL 16

/* The panels of a page's first n positions. */
static inline size_t tlpi_kv_n_panel(int n)
{
    return ((size_t)n + TLPI_KV_PANEL - 1) / TLPI_KV_PANEL;
}

/*
 * Pages for a number of caches.  A page has memory for the keys and values of
 * n_pos neighbouring positions of a sequence in every one of these caches.
 * Position p of a sequence is in the page with the number
 * table[seq * n_index + p / TLPI_PAGE].
 */
typedef struct tlpi_page_layout {
    int n_page;
    int n_pos;   /* TLPI_PAGE, or fewer where n_ctx is smaller */
    int n_index; /* pages that n_ctx positions take */
    /* [n_seq][n_index], host, borrowed; -1: no page.  It changes between steps
     * alone.  The positions that a step writes or sees have pages with
     * memory. */
    const int32_t *table;
} tlpi_page_layout;

/* The results that a step must give, and a key to repeat it: a backend may
 * replay a recorded step that differs from this one only in its tokens. */
typedef struct tlpi_want {
    const int32_t *row; /* [n_row] tokens whose logits are wanted, host */
    int n_row;
    /* position of the first of these rows in the logits; equal on all ranks */
    int at;
    /* changes with the weights, norms, gains and the memory of the logits;
     * equal on all ranks */
    uint32_t version;
} tlpi_want;

typedef struct tlpi_candidate {
    int32_t id; /* -1: none */
    float logit;
} tlpi_candidate;

typedef struct tlpi_backend_ops {
    const char *(*isa)(const tlpi_backend *b); /* "avx512", "scalar", ... */

    /* ---- resources ---- */

    /* Make a weight from rows [r0, r1) and columns [c0, c1) of t (whole
     * blocks), of each matrix if t is a stack of them.  If *copied is set, the
     * weight does not need t's data any more. */
    tlp_status (*weight_create)(tlpi_backend *b, tlpi_weight **out,
                                const tlpi_tensor *t, int64_t r0, int64_t r1,
                                int64_t c0, int64_t c1, bool *copied);
    /* Free a tlpi_weight.  Takes no backend, because a weight in the model's
     * weight cache may outlive its backend; the cache calls this function. */
    void (*weight_free)(void *weight);
    size_t (*weight_bytes)(const tlpi_weight *w);

    tlp_status (*buffer_create)(tlpi_backend *b, float **out, size_t n);
    void (*buffer_free)(tlpi_backend *b, float *x);

    tlp_status (*pages_create)(tlpi_backend *b, tlpi_pages **out,
                               const tlpi_page_layout *layout);
    /* The caches of the pages have been freed. */
    void (*pages_free)(tlpi_backend *b, tlpi_pages *pages);
    /* Bytes of a page over all caches. */
    size_t (*pages_bytes)(const tlpi_pages *pages);
    /* Give a page memory, which is not cleared.  A backend may allocate the
     * memory of all pages at the first call.  A page that has memory is left as
     * it is. */
    tlp_status (*pages_take)(tlpi_backend *b, tlpi_pages *pages, int page);
    /* The memory of a page is not needed any more; none is fine. */
    void (*pages_drop)(tlpi_backend *b, tlpi_pages *pages, int page);
    void (*pages_copy)(tlpi_backend *b, tlpi_pages *pages, int dst, int src);

    /* A cache that has its share of every page; created before the first page
     * is taken. */
    tlp_status (*kv_create)(tlpi_backend *b, tlpi_kv **out, tlpi_pages *pages,
                            int n_head_kv, int head_dim, int kv_type);
    void (*kv_free)(tlpi_backend *b, tlpi_kv *kv);

    /* Angles pos * inv_freq[i], i < n_rot/2, for pos < n_ctx; gain is a factor
     * of what is rotated, and q_gain [n_ctx] or NULL holds factors of whole
     * queries by their positions. */
    tlp_status (*rope_create)(tlpi_backend *b, tlpi_rope **out,
                              const double *inv_freq, double gain, int n_rot,
                              int n_ctx, bool neox, const float *q_gain);
    void (*rope_free)(tlpi_backend *b, tlpi_rope *r);

    /* For steps of at most max_tok tokens of the backend's options. */
    tlp_status (*routes_create)(tlpi_backend *b, tlpi_routes **out,
                                const tlpi_route_rule *rule);
    void (*routes_free)(tlpi_backend *b, tlpi_routes *routes);

    void (*write)(tlpi_backend *b, float *dst, const float *host, size_t n);
    tlp_status (*read)(tlpi_backend *b, float *host, const float *src,
                       size_t n);

    /* ---- a step ---- */

    /*
     * Begin a step.  The arrays of s and want must not change until end_step.
     * Returns true if the backend replays a recorded step with all its
     * operations and exchanges; then only end_step remains to be called.  want
     * NULL: never replay.
     */
    bool (*begin_step)(tlpi_backend *b, const tlpi_step *s,
                       const tlpi_want *want);
    /* st is the result of the step; returns st, or the device's failure. */
    tlp_status (*end_step)(tlpi_backend *b, tlp_status st);

    /* x[t] = scale * row id[t] of t.  w: all of t, where the backend's
     * reads_embd_weight asks for it, else NULL. */
    void (*embed)(tlpi_backend *b, const tlpi_step *s, const tlpi_tensor *t,
                  const tlpi_weight *w, float scale, float *x);

    /* y[i] = x[rows[i]], rows on the host; cols columns */
    void (*gather)(tlpi_backend *b, const float *x, const int32_t *rows, int n,
                   int cols, float *y);

    /* z = x + delta (delta may be NULL: z = x); if sum, sum = z (may be x);
     * norm[i].y = rms_norm(z) * norm[i].w, or z.  All [n_tok][cols]. */
    void (*add_norm)(tlpi_backend *b, int n_tok, int cols, const float *x,
                     const float *delta, float *sum, const tlpi_norm *norm,
                     int n_norm, float eps);

    /* y += x over n floats; y = 0 */
    void (*add)(tlpi_backend *b, float *y, const float *x, size_t n);
    void (*zero)(tlpi_backend *b, float *y, size_t n);

    void (*route)(tlpi_backend *b, int n_tok, const tlpi_route *item, int n);
    void (*matmul)(tlpi_backend *b, int n_tok, const tlpi_matmul *item, int n);
    void (*gate_up)(tlpi_backend *b, int n_tok, const tlpi_gate_up *item,
                    int n);
    /* x = cap tanh(x / cap) over n floats */
    void (*soft_cap)(tlpi_backend *b, float *x, size_t n, float cap);
    /* Items with one y are added in their order. */
    void (*sum_squares)(tlpi_backend *b, int n_tok, const tlpi_square *item,
                        int n);
    /* QK norm, rope, cache write and causal softmax(scale q k) v, with the
     * sinks among the scores. */
    void (*attention)(tlpi_backend *b, const tlpi_step *s,
                      const tlpi_attn *item, int n, int head_dim, float eps);

    /* lse[i] = log sum exp x[i], NaN if x[i] has NaN or +inf; at[i] =
     * x[i][index[i]], -inf for index -1.  x [n][cols]; lse and at are host
     * memory, ready on return. */
    tlp_status (*log_sum_exp)(tlpi_backend *b, const float *x, int n, int cols,
                              const int32_t *index, float *lse, float *at);

    /* The k best candidates of each row, best first, ties to the lower id.
     * Ids start at base; unused places get id -1.  In a row with NaN, the
     * first candidate is such a token.  x [n][cols]; out [n][k] is host
     * memory; n * k <= TLPI_MAX_TOP. */
    tlp_status (*top)(tlpi_backend *b, const float *x, int n, int cols,
                      int base, int k, tlpi_candidate *out);

    void (*free)(tlpi_backend *b);

    /* Use other numbers of threads from the next step on.  Nothing changes on a
     * failure, and fewer threads never fail.  NULL: the backend has no threads.
     */
    tlp_status (*set_threads)(tlpi_backend *b, int n_decode, int n_prefill);

    /*
     * What a cache has of the first n positions of a page with memory, to and
     * from memory of the host, in a form that depends neither on the number of
     * positions of a page nor on the machine.  n is at most n_pos.  The bytes
     * are those of one panel times tlpi_kv_n_panel(n); positions beyond n are
     * written as zeros.  NULL: the backend cannot.
     */
    size_t (*kv_panel_bytes)(const tlpi_kv *kv);
    void (*kv_read)(tlpi_backend *b, void *host, const tlpi_kv *kv, int page,
                    int n);
    void (*kv_write)(tlpi_backend *b, tlpi_kv *kv, int page, const void *host,
                     int n);
} tlpi_backend_ops;

/* Most candidates of one call of `top`. */
#define TLPI_MAX_TOP 256

struct tlpi_backend { /* first member of every implementation's struct */
    const tlpi_backend_ops *ops;
    const tlpi_env *env;
    int layout;             /* backends of one layout can share weights */
    bool reads_embd_weight; /* embed reads the embeddings as a weight of the
                               backend, not where the file put them */
};

typedef struct tlpi_backend_options {
    int n_thread;  /* threads of this rank in decode steps, with the caller */
    int n_prefill; /* in all other steps; 0 = n_thread */
    int n_machine; /* threads of all ranks in this process */
    int n_core;    /* cores for them; 0 = of the calling thread's mask */
    int spin_us;   /* tlpi_spin_make */
    const tlpi_cores *cores; /* bind threads to these; NULL = do not bind */
    int first_core;          /* of this rank */
    tlp_pool host; /* threads of the host program; run = NULL: threads of the
                      library */
    int isa;       /* TLP_ISA_* */
    int compute;   /* TLP_COMPUTE_* */
    int max_tok;   /* largest n_tok of a step */
    /* longest row of any x.  The terms of a group may need more in sum, but
     * only one term is processed at a time. */
    int max_cols;
    /* distinct x in one matmul or gate_up call that a product rounds */
    int max_terms;
    int max_attn;       /* items of one attention call */
    int max_used;       /* experts that a token reads; 0: there are no routes */
    int n_seq, n_index; /* sequences; pages of n_ctx positions */
} tlpi_backend_options;

/* Create the CPU backend; TLP_ENOTSUP if the machine lacks the instruction
 * set. */
tlp_status tlpi_backend_cpu_create(tlpi_backend **out, const tlpi_env *env,
                                   const tlpi_backend_options *opts);

/* ==== candidates (top.c) ================================================= */

/* Whether a is better: a higher logit, or an equal logit and a lower id. */
bool tlpi_candidate_better(tlpi_candidate a, tlpi_candidate b);

/* Insert c into out[0..*n), which is sorted best first and has room for k.
 * When k are there, the worst is dropped. */
void tlpi_candidate_insert(tlpi_candidate *out, int *n, int k,
                           tlpi_candidate c);

/* The operation `top` for one row on the host. */
void tlpi_top_k(const float *logits, int n, int base, tlpi_candidate *out,
                int k);

/* The first of n logits that is NaN or +inf, else n.  *possible: is one of the
 * logits before it above -inf? */
size_t tlpi_find_unsound(const float *logits, size_t n, bool *possible);

/* The set that TLP_ISA_AUTO selects here: "amx", "avx512", "avx2" or
 * "scalar". */
const char *tlpi_cpu_best_isa(void);

/* The kernels of norms and f32 products that a TLP_ISA_* has here: "avx512",
 * "avx2" or "scalar".  Equal kernels give equal bits. */
const char *tlpi_cpu_float_kernels(int isa);

#endif
