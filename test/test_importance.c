/*
 * test_importance.c - tlp_model_imatrix beside sums that are computed from the
 * normalised inputs of the layers: by multiplying, choosing experts and taking
 * means in double precision.
 *
 * The matrices of queries are zero, so that all positions a token sees count
 * alike, and attention is a mean of values.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file/gguf.h"
#include "model/model.h"
#include "rank/forward.h"
#include "support/log_lines.h"
#include "support/mem.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tlp_tune.h"
#include "tune/plan_runner.h"

enum { N_TOKEN = 21, N_CTX = 8, N_LAYER = 2, MAX_EXPERT = 8, MAX_COLS = 256 };

TestSuite(importance, .timeout = 120);

/* ==== a model ============================================================ */

static tiny_spec spec_of(const char *arch, int n_expert)
{
    tiny_spec s = tiny_default();

    s.arch = arch;
    s.type = TLPI_F32;
    s.n_layer = N_LAYER;
    s.n_expert = n_expert;
    s.n_used = n_expert ? 2 : 0;
    return s;
}

static tlp_model *open_model(const tiny_spec *s)
{
    tlp_model *m = rig_open_changeable(tiny_make(s));

    for (int l = 0; l < N_LAYER; l++) {
        const tlpi_tensor *t = m->w.layer[l].t[TLPI_ATTN_Q];

        memset((void *)(uintptr_t)t->data, 0, t->n_bytes);
    }
    return m;
}

static tlp_session_options session_of(int n_thread)
{
    tlp_session_options o = rig_f32(0, n_thread);

    o.n_rank = 0;
    o.n_ctx = N_CTX;
    return o;
}

/* ==== the sums =========================================================== */

/* Sums of squares, and tokens, of what the matrices of a layer read. */
typedef struct layer_sums {
    double attn_in[MAX_COLS], attn_out[MAX_COLS], ffn_in[MAX_COLS];
    double expert_in[MAX_EXPERT][MAX_COLS], hidden[MAX_EXPERT][MAX_COLS];
    long n_tok, chosen[MAX_EXPERT];
} layer_sums;

typedef struct looking {
    const tlp_model *model;
    int layer, n_tok;
    layer_sums *sum; /* [N_LAYER] */
} looking;

static double dot(const tlpi_tensor *t, int64_t row, const float *x)
{
    const float *w = (const float *)t->data + row * t->ne[0];
    double y = 0;

    for (int64_t j = 0; j < t->ne[0]; j++)
        y += (double)w[j] * (double)x[j];
    return y;
}

static void see_attention(const looking *k, layer_sums *s, const float *x)
{
    const tlpi_hparams *hp = &k->model->hp;
    const tlpi_tensor *v = k->model->w.layer[k->layer].t[TLPI_ATTN_V];
    int h = hp->head_dim, group = hp->n_head / hp->n_head_kv;

    for (int i = 0; i < hp->n_head * h; i++) {
        int64_t row = i / h / group * h + i % h;
        double sum = 0;

        for (int t = 0; t < k->n_tok; t++) {
            sum += dot(v, row, x + t * hp->n_embd);
            s->attn_out[i] += pow(sum / (t + 1), 2);
        }
    }
}

/* Hidden unit i of expert e. */
static double hidden(const looking *k, int e, int i, const float *x)
{
    const tlpi_tensor *const *t = k->model->w.layer[k->layer].t;
    int64_t row = (int64_t)e * k->model->hp.n_ff + i;
    double g = dot(t[TLPI_FFN_GATE], row, x), u = dot(t[TLPI_FFN_UP], row, x);

    return g / (1 + exp(-g)) * u;
}

/* Is expert e among the n_used with the best scores? */
static bool is_chosen(const looking *k, int e, const float *x)
{
    const tlpi_hparams *hp = &k->model->hp;
    const tlpi_tensor *router = k->model->w.layer[k->layer].t[TLPI_FFN_ROUTER];
    int n_better = 0;

    if (hp->n_expert == 0)
        return true;
    for (int i = 0; i < hp->n_expert; i++)
        n_better += dot(router, i, x) > dot(router, e, x);
    return n_better < hp->n_expert_used;
}

static void see_token(const looking *k, layer_sums *s, const float *x)
{
    const tlpi_hparams *hp = &k->model->hp;

    for (int e = 0; e < TLPI_MAX(hp->n_expert, 1); e++) {
        if (!is_chosen(k, e, x))
            continue;
        s->chosen[e]++;
        for (int j = 0; j < hp->n_embd; j++)
            s->expert_in[e][j] += (double)x[j] * (double)x[j];
        for (int i = 0; i < hp->n_ff; i++)
            s->hidden[e][i] += pow(hidden(k, e, i, x), 2);
    }
}

static tlp_status see(void *arg, tlpi_probe_at at, int member, const float *x)
{
    const looking *k = arg;
    layer_sums *s = &k->sum[k->layer];
    double *to = at == TLPI_PROBE_ATTN_IN  ? s->attn_in
                 : at == TLPI_PROBE_FFN_IN ? s->ffn_in
                                           : NULL;

    (void)member;
    for (int i = 0; to && i < k->n_tok * k->model->hp.n_embd; i++)
        to[i % k->model->hp.n_embd] += (double)x[i] * (double)x[i];
    if (at == TLPI_PROBE_ATTN_IN) {
        s->n_tok += k->n_tok;
        see_attention(k, s, x);
    }
    for (int t = 0; at == TLPI_PROBE_FFN_IN && t < k->n_tok; t++)
        see_token(k, s, x + t * k->model->hp.n_embd);
    return TLP_OK;
}

/* Run the model over the windows of the text. */
static layer_sums *expected(tlp_model *m, const int32_t *ids)
{
    layer_sums *sum = calloc(N_LAYER, sizeof *sum);
    tlp_session_options o = session_of(1);
    int32_t seq[N_CTX] = { 0 }, pos[N_CTX];
    tlpi_session_config cfg;
    tlpi_runner r;
    tlp_plan *plan = NULL;
    looking k = { .model = m, .sum = sum };
    const tlpi_probe probe = { see, &k };

    CHECK_OK(tlpi_runner_config(&cfg, m, &o));
    CHECK_OK(tlp_plan_parse(&plan, m, "serial"));
    CHECK_OK(tlpi_runner_create(&r, plan, &cfg));
    r.rank->probe = &probe;
    for (int i = 0; i < N_CTX; i++)
        pos[i] = i;
    for (int at = 0; at < N_TOKEN; at += N_CTX) {
        k.n_tok = TLPI_MIN(N_CTX, N_TOKEN - at);
        tlpi_step step = { k.n_tok, ids + at, seq, pos };

        tlpi_forward_begin(r.rank, &step, NULL);
        for (k.layer = 0; k.layer < N_LAYER; k.layer++)
            CHECK_OK(tlpi_forward_stages(r.rank, r.rank->program, &step,
                                         k.layer, k.layer + 1));
    }
    tlpi_runner_free(&r);
    tlp_plan_free(plan);
    return sum;
}

/* ==== the file =========================================================== */

static const float *read_tensor(const tlpi_gguf *g, int layer, const char *name,
                                const char *suffix, int64_t cols, int64_t rows)
{
    char full[96];

    snprintf(full, sizeof full, "blk.%d.%s.weight.%s", layer, name, suffix);
    const tlpi_tensor *t = tlpi_gguf_tensor(g, full);
    cr_assert(t != NULL, "%s", full);
    cr_assert(t->type == TLPI_F32 && t->ne[0] == cols && t->ne[1] == rows, "%s",
              full);
    return t->data;
}

/* Matrix `row` of a tensor. */
static void expect_row(const tlpi_gguf *g, int layer, const char *name,
                       int64_t rows, int64_t row, const double *want,
                       int64_t cols, long count)
{
    const float *sum = read_tensor(g, layer, name, "in_sum2", cols, rows);
    const float *n = read_tensor(g, layer, name, "counts", 1, rows);
    double most = 0;

    cr_expect_eq(n[row], (float)count, "%s %lld: %g, %ld expected", name,
                 (long long)row, (double)n[row], count);
    for (int64_t j = 0; j < cols; j++)
        most = fmax(most, want[j]);
    for (int64_t j = 0; j < cols; j++)
        cr_expect_float_eq(sum[row * cols + j], want[j], 1e-5 * most + 1e-30,
                           "layer %d %s row %lld col %lld: %g, %g expected",
                           layer, name, (long long)row, (long long)j,
                           (double)sum[row * cols + j], want[j]);
}

static void expect_layer(const tlpi_gguf *g, const tlp_model *m, int l,
                         const layer_sums *s)
{
    const tlpi_hparams *hp = &m->hp;
    int64_t d = hp->n_embd, rows = TLPI_MAX(hp->n_expert, 1);
    const bool experts = hp->n_expert > 0;

    expect_row(g, l, "attn_q", 1, 0, s->attn_in, d, s->n_tok);
    expect_row(g, l, "attn_k", 1, 0, s->attn_in, d, s->n_tok);
    expect_row(g, l, "attn_v", 1, 0, s->attn_in, d, s->n_tok);
    expect_row(g, l, "attn_output", 1, 0, s->attn_out,
               hp->n_head * hp->head_dim, s->n_tok);
    if (experts)
        expect_row(g, l, "ffn_gate_inp", 1, 0, s->ffn_in, d, s->n_tok);
    for (int e = 0; e < rows; e++) {
        expect_row(g, l, experts ? "ffn_gate_exps" : "ffn_gate", rows, e,
                   s->expert_in[e], d, s->chosen[e]);
        expect_row(g, l, experts ? "ffn_up_exps" : "ffn_up", rows, e,
                   s->expert_in[e], d, s->chosen[e]);
        expect_row(g, l, experts ? "ffn_down_exps" : "ffn_down", rows, e,
                   s->hidden[e], hp->n_ff, s->chosen[e]);
    }
}

static void expect_keys(const tlpi_gguf *g)
{
    const tlpi_gguf_kv *sets = tlpi_gguf_find(g, "imatrix.datasets");
    uint32_t n = 0;
    tlpi_str type, set;

    CHECK_OK(tlpi_gguf_get_str(g, "general.type", true, &type));
    cr_expect(type.n == 7 && memcmp(type.s, "imatrix", 7) == 0);
    cr_assert(sets && sets->is_array && sets->n == 1);
    const uint8_t *at = sets->data;
    set = tlpi_gguf_next_str(&at);
    cr_expect(set.n == 8 && memcmp(set.s, "some.txt", 8) == 0);
    CHECK_OK(tlpi_gguf_get_u32(g, "imatrix.chunk_count", true, &n));
    cr_expect_eq(n, 3);
    CHECK_OK(tlpi_gguf_get_u32(g, "imatrix.chunk_size", true, &n));
    cr_expect_eq(n, N_CTX);
}

static void check(const tiny_spec *s)
{
    tlp_model *m = open_model(s);
    const char *path = tiny_path("importance.gguf");
    tlp_session_options session = session_of(2);
    tlp_imatrix_options o = TLP_IMATRIX_OPTIONS_INIT;
    tlp_imatrix_result r = { .struct_size = sizeof r };
    int32_t ids[N_TOKEN];
    tlpi_gguf *g;

    o.session = &session;
    o.dataset = "some.txt";
    rig_tokens(ids, N_TOKEN, (size_t)s->n_vocab, 5);
    CHECK_OK(tlp_model_imatrix(&r, m, path, ids, N_TOKEN, &o));
    cr_expect_eq(r.n_entry, N_LAYER * (m->hp.n_expert ? 8 : 7));
    cr_expect_eq(r.n_window, 3);
    cr_expect_eq(r.n_token, N_TOKEN);

    layer_sums *want = expected(m, ids);
    CHECK_OK(tlpi_gguf_open(&g, &m->env, path, NULL));
    cr_expect_eq(g->n_tensor, 2 * (size_t)r.n_entry);
    expect_keys(g);
    for (int l = 0; l < N_LAYER; l++)
        expect_layer(g, m, l, &want[l]);
    tlpi_gguf_close(g);
    free(want);
    tlp_model_free(m);
}

Test(importance, of_dense_layers)
{
    tiny_spec s = spec_of("llama", 0);

    check(&s);
}

Test(importance, of_experts)
{
    tiny_spec s = spec_of("llama", 5);

    check(&s);
    s = spec_of("qwen3moe", 6);
    check(&s);
}

/* ==== use ================================================================ */

static tlp_status make(tlp_model *m, const char *path, int n_thread,
                       tlp_imatrix_result *r)
{
    tlp_session_options session = session_of(n_thread);
    tlp_imatrix_options o = TLP_IMATRIX_OPTIONS_INIT;
    int32_t ids[N_TOKEN];

    o.session = &session;
    rig_tokens(ids, N_TOKEN, 288, 5);
    return tlp_model_imatrix(r, m, path, ids, N_TOKEN, &o);
}

/* Quantising takes the file without a warning, also of a model whose tensors
 * are fused; threads change no bit of the file. */
Test(importance, serves_quantising)
{
    static const char *const archs[] = { "llama",   "gemma3", "olmo2",   "phi3",
                                         "exaone4", "glm4",   "qwen3moe" };

    for (int i = 0; i < 7; i++) {
        tiny_spec s = spec_of(archs[i], 0);
        const char *file = tiny_make(&s);
        tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
        tlp_quantize_options q = TLP_QUANTIZE_OPTIONS_INIT;
        tlp_imatrix_result r = { .struct_size = sizeof r };
        const char *a = tiny_path("a.gguf"), *b = tiny_path("b.gguf");
        log_lines seen = { .n = 0 };
        tlp_model *m = NULL;

        mo.log = log_lines_add;
        mo.log_data = &seen;
        CHECK_OK(tlp_model_open(&m, file, &mo));
        CHECK_OK(make(m, a, 1, &r));
        CHECK_OK(make(m, b, 2, NULL));
        int warned = seen.n;
        cr_expect_eq(warned, r.n_unused > 0, "%s", seen.text);
        q.imatrix = a;
        CHECK_OK(tlp_model_quantize(NULL, m, tiny_path("q.gguf"), "Q4_0", &q));
        cr_expect_eq(seen.n, warned, "%s: %s", archs[i], seen.text);
        tlp_model_free(m);

        tlpi_env env;
        tlpi_gguf *x, *y;
        CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
        CHECK_OK(tlpi_gguf_open(&x, &env, a, NULL));
        CHECK_OK(tlpi_gguf_open(&y, &env, b, NULL));
        for (size_t k = 0; k < x->n_tensor; k++)
            cr_expect_arr_eq(x->tensor[k].data, y->tensor[k].data,
                             x->tensor[k].n_bytes);
        tlpi_gguf_close(x);
        tlpi_gguf_close(y);
    }
}

/* ==== failures =========================================================== */

static int stop(double fraction, void *arg)
{
    (void)fraction;
    (void)arg;
    return 1;
}

Test(importance, refuses)
{
    tiny_spec s = spec_of("llama", 0);
    const char *file = tiny_keep_path(tiny_make(&s));
    const char *path = tiny_path("no.gguf");
    tlp_imatrix_options o = TLP_IMATRIX_OPTIONS_INIT;
    tlp_imatrix_result r = { .struct_size = 4 };
    int32_t ids[N_TOKEN];
    tlp_model *m = NULL;
    struct stat st;

    rig_tokens(ids, N_TOKEN, 288, 5);
    CHECK_OK(tlp_model_open(&m, file, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_model_imatrix(NULL, NULL, path, ids, 2, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_model_imatrix(NULL, m, NULL, ids, 2, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_model_imatrix(NULL, m, path, NULL, 2, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_model_imatrix(NULL, m, path, ids, 1, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_model_imatrix(&r, m, path, ids, 2, NULL));
    CHECK_FAILS(TLP_EINVAL,
                tlp_model_imatrix(NULL, m, file, ids, N_TOKEN, NULL));
    ids[3] = 288;
    CHECK_FAILS(TLP_EINVAL,
                tlp_model_imatrix(NULL, m, path, ids, N_TOKEN, NULL));
    ids[3] = 1;
    o.progress = stop;
    CHECK_FAILS(TLP_ECANCELED,
                tlp_model_imatrix(NULL, m, path, ids, N_TOKEN, &o));
    cr_expect(stat(path, &st) != 0);
    tlp_model_free(m);
}

/* The n-th allocation fails: TLP_ENOMEM, and nothing stays. */
Test(importance, out_of_memory)
{
    tiny_spec s = spec_of("llama", 5);
    const char *file = tiny_keep_path(tiny_make(&s));
    long n = 1;

    for (;; n += CHECK_SLOWDOWN) {
        mem counter = { .fail_at = 0 };
        tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
        tlp_model *m = NULL;

        mo.allocator = mem_hooks(&counter);
        CHECK_OK(tlp_model_open(&m, file, &mo));
        counter.fail_at = counter.calls + n;
        tlp_status st = make(m, tiny_path("oom.gguf"), 1, NULL);
        bool failed = counter.failed;
        tlp_model_free(m);
        cr_assert_eq(counter.live, 0, "call %ld", n);
        if (!failed) {
            CHECK_OK(st);
            break;
        }
        cr_assert(st == TLP_ENOMEM || st == TLP_OK, "call %ld: %s", n,
                  tlp_last_error());
    }
    cr_expect(n > 20);
}
