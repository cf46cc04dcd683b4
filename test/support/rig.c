/*
 * rig.c - see rig.h.
 */
#include "rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"

tlp_session_options rig_f32(int n_rank, int n_thread)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.n_ctx = 64;
    o.n_rank = n_rank;
    o.n_thread = n_thread;
    o.compute = TLP_COMPUTE_F32;
    return o;
}

rig rig_open(const char *path, const char *plan,
             const tlp_session_options *opts)
{
    return rig_open_with(path, NULL, plan, opts);
}

rig rig_open_with(const char *path, const tlp_model_options *model_opts,
                  const char *plan, const tlp_session_options *opts)
{
    rig r = { 0 };
    tlp_model_info info = { .struct_size = sizeof info };

    CHECK_OK(tlp_model_open(&r.model, path, model_opts));
    CHECK_OK(tlp_model_get_info(&info, r.model));
    r.n_vocab = (size_t)info.n_vocab;
    CHECK_OK(tlp_plan_parse(&r.plan, r.model, plan));
    CHECK_OK(tlp_session_create(&r.session, r.plan, opts));
    return r;
}

void rig_close(rig *r)
{
    tlp_session_free(r->session);
    tlp_plan_free(r->plan);
    tlp_model_free(r->model);
    memset(r, 0, sizeof *r);
}

tlp_model *rig_open_model(const char *path)
{
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, path, NULL));
    return m;
}

void rig_expect_meta(const tlp_model *m, const char *key, const char *want)
{
    char text[256] = "";
    size_t n = 0;

    CHECK_OK(tlp_model_get_meta(text, sizeof text, &n, m, key));
    cr_expect_str_eq(text, want, "%s: %s", key, text);
}

tlp_model *rig_open_changeable(const char *path)
{
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;

    o.no_mmap = 1;
    CHECK_OK(tlp_model_open(&m, path, &o));
    return m;
}

void rig_tokens(int32_t *ids, int n, size_t n_vocab, uint64_t seed)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

    for (int i = 0; i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((x >> 33) % n_vocab);
    }
}

float *rig_logits(rig *r, size_t *n_row)
{
    size_t n = tlp_session_n_logits(r->session);
    float *all = malloc((n ? n : 1) * r->n_vocab * sizeof *all);

    cr_assert(all != NULL, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const float *row = NULL;

        CHECK_OK(tlp_session_logits(&row, r->session, i));
        memcpy(all + i * r->n_vocab, row, r->n_vocab * sizeof *row);
    }
    if (n_row)
        *n_row = n;
    return all;
}

float *rig_eval(rig *r, int32_t seq, const int32_t *ids, int n)
{
    tlp_batch b = TLP_BATCH_INIT;
    size_t count = (size_t)n, n_row;
    int32_t *seqs = calloc(count, sizeof *seqs);
    uint8_t *want = malloc(count);

    cr_assert(seqs && want, "out of memory");
    memset(want, 1, count);
    for (int i = 0; i < n; i++)
        seqs[i] = seq;
    b.n = count;
    b.tokens = ids;
    b.seqs = seqs;
    b.want_logits = want;
    CHECK_OK(tlp_session_eval(r->session, &b));
    free(seqs);
    free(want);
    float *all = rig_logits(r, &n_row);
    cr_assert_eq(n_row, count, "%zu rows of logits expected, %zu found", count,
                 n_row);
    return all;
}

float *rig_run(const char *path, const char *plan,
               const tlp_session_options *opts, const int32_t *ids, int n)
{
    rig r = rig_open(path, plan, opts);
    float *all = rig_eval(&r, 0, ids, n);

    rig_close(&r);
    return all;
}

static double larger(double best, double d)
{
    return d <= best ? best : isnan(d) ? INFINITY : d;
}

double rig_diff(const float *a, const double *b, size_t n)
{
    double best = 0;

    for (size_t i = 0; i < n; i++)
        best = larger(best, fabs((double)a[i] - b[i]));
    return best;
}

double rig_diff_f(const float *a, const float *b, size_t n)
{
    double best = 0;

    for (size_t i = 0; i < n; i++)
        best = larger(best, fabs((double)a[i] - (double)b[i]));
    return best;
}

double rig_scale(const double *x, size_t n)
{
    double best = 0;

    for (size_t i = 0; i < n; i++)
        best = larger(best, fabs(x[i]));
    return best;
}

const char *rig_isa_name(int isa)
{
    static const char *const names[] = { "auto", "scalar", "avx2", "avx512",
                                         "amx" };

    return names[isa];
}

/* Each instruction set includes the earlier ones. */
bool rig_has_isa(int isa)
{
    const char *best = tlpi_cpu_best_isa();
    int have = TLP_ISA_SCALAR;

    for (int i = TLP_ISA_SCALAR; i <= TLP_ISA_AMX; i++)
        if (strcmp(best, rig_isa_name(i)) == 0)
            have = i;
    return isa <= have;
}
