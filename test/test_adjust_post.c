/*
 * test_adjust_post.c - tlp_plan_adjust of models that normalise outputs:
 * factors of columns, text that the fit has not seen, what cannot be fitted.
 */
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "plan/adjust.h"
#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/text_kl.h"
#include "support/tiny.h"
#include "tune/fit.h"

enum { N_CTX = 32, N_TOKEN = 1024, N_UNSEEN = 256 };

static int32_t ids[N_TOKEN], unseen[N_UNSEEN];
static tlp_session_options session;

TestSuite(adjust_post, .timeout = 300);

/* ==== factors of columns ================================================= */

enum { D = 12, N_PART = 3, N_ROW = 200 };

static tlp_status go_on(void *arg)
{
    (void)arg;
    return TLP_OK;
}

/* Rows whose target has the parts of `present` times the factors. */
static void plant(float part[N_PART][N_ROW * D], float *present, float *target,
                  const float *factor, uint64_t seed)
{
    for (int i = 0; i < N_ROW * D; i++) {
        present[i] = target[i] = (float)(tlpi_uniform(&seed) - 0.5);
        for (int k = 0; k < N_PART; k++) {
            part[k][i] = (float)(tlpi_uniform(&seed) - 0.5);
            present[i] += part[k][i];
            target[i] += factor[k * D + i % D] * part[k][i];
        }
    }
}

Test(adjust_post, planted_columns_are_recovered)
{
    static float part[2][N_PART][N_ROW * D], present[2][N_ROW * D];
    static float target[2][N_ROW * D];
    float want[N_PART * D], got[N_PART * D];
    tlpi_column_moments m[2];
    tlpi_choice choice;
    tlpi_env env;
    uint64_t seed = 3;

    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    tlpi_pool *pool = NULL;
    CHECK_OK(tlpi_pool_create(
        &pool, &env, &(tlpi_pool_options){ .n_thread = 1, .n_machine = 1 }));
    const tlpi_fitter f = { &env, pool, { go_on, NULL } };

    for (int known = 0; known < 2; known++) {
        for (int i = 0; i < N_PART * D; i++)
            want[i] = known ? (float)(2 * tlpi_uniform(&seed)) : 1;
        for (int k = 0; k < 2; k++) {
            const float *feature[N_PART] = { part[k][0], part[k][1],
                                             part[k][2] };
            const tlpi_rows rows = { N_ROW,     D,          N_PART, feature,
                                     target[k], present[k], NULL };

            plant(part[k], present[k], target[k], want, (uint64_t)k + 5);
            CHECK_OK(tlpi_columns_create(&m[k], &env, D, N_PART));
            tlpi_columns_add(&m[k], &rows);
        }
        CHECK_OK(tlpi_fit_columns(&f, &m[0], &m[1], &choice, got));
        cr_expect_eq(choice.rank, known);
        for (int i = 0; i < N_PART * D; i++)
            cr_expect_float_eq(got[i], want[i], 1e-2f, "%g, not %g",
                               (double)got[i], (double)want[i]);
        tlpi_columns_free(&m[0]);
        tlpi_columns_free(&m[1]);
    }
    tlpi_pool_free(pool);
}

/* ==== whole fits ========================================================= */

static tlp_model *open_arch(const char *arch)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    spec.arch = arch;
    spec.seed = 4;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 5);
    rig_tokens(unseen, N_UNSEEN, (size_t)spec.n_vocab, 77);
    session = plan_rig_session(N_CTX);
    return m;
}

/* What is fitted. */
typedef struct fit_kind {
    int gains, norms, rank;
} fit_kind;

static tlp_status adjust(tlp_plan **out, tlp_plan_adjust_report *r,
                         tlp_model *m, const char *text, fit_kind kind)
{
    tlp_plan_adjust_options o = TLP_PLAN_ADJUST_OPTIONS_INIT;
    tlp_plan *plan = NULL;

    o.session = &session;
    o.gains = kind.gains;
    o.norms = kind.norms;
    o.rank = kind.rank;
    CHECK_OK(tlp_plan_parse(&plan, m, text));
    tlp_status st = tlp_plan_adjust(out, r, plan, ids, N_TOKEN, &o);
    tlp_plan_free(plan);
    return st;
}

/* The adjusted plan is nearer to the serial model on unseen text, in a session,
 * too. */
static void check_unseen(const char *arch, const char *text, fit_kind kind)
{
    const text_windows windows = { unseen, N_UNSEEN, N_CTX };
    tlp_plan_adjust_report r = { .struct_size = sizeof r };
    tlp_plan_adjust_info info = { .struct_size = sizeof info };
    tlp_model *m = open_arch(arch);
    float *want = text_serial_logits(m, &windows);
    tlp_plan *plan = NULL, *adjusted = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, text));
    CHECK_OK(adjust(&adjusted, &r, m, text, kind));
    CHECK_OK(tlp_plan_get_adjust(&info, adjusted));
    cr_expect_eq(r.n_gain, info.n_gain);
    cr_expect_eq(r.n_norm, info.n_norm);
    cr_expect_eq(r.n_low_rank, info.n_low_rank);
    cr_expect((r.n_gain > 0) <= (kind.gains > 0) &&
              (r.n_norm > 0) <= (kind.norms > 0) &&
              (r.n_low_rank > 0) <= (kind.rank > 0));
    double before = text_compare(m, plan, &windows, want).kl;
    double after = text_compare(m, adjusted, &windows, want).kl;

    cr_expect_lt(after, before,
                 "%s, %s, gains %d, norms %d, rank %d: KL %g, %g before", arch,
                 text, kind.gains, kind.norms, kind.rank, after, before);
    free(want);
    tlp_plan_free(adjusted);
    tlp_plan_free(plan);
    tlp_model_free(m);
}

static void check_arch(const char *arch)
{
    static const char *const groups[] = { "par:1-2", "asym:1-3", "lp:1-2,3-4" };
    static const fit_kind kinds[] = {
        { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 8 }, { 1, 1, 16 }
    };
    static const char *const tracks[] = { "nosync@2:1a", "nosync@2:1,2,3a",
                                          "nosync@3:0f;par:2-3" };

    for (size_t i = 0; i < TLPI_COUNT(groups); i++)
        for (size_t k = 0; k < TLPI_COUNT(kinds); k++)
            check_unseen(arch, groups[i], kinds[k]);
    for (size_t i = 0; i < TLPI_COUNT(tracks); i++)
        check_unseen(arch, tracks[i], (fit_kind){ 0, 0, 8 });
}

Test(adjust_post, gemma3)
{
    check_arch("gemma3");
}

Test(adjust_post, olmo2)
{
    check_arch("olmo2");
}

/* Its tracks have no norms of inputs. */
Test(adjust_post, norms_of_tracks_are_refused)
{
    tlp_model *m = open_arch("olmo2");
    tlp_plan *out = NULL;

    CHECK_FAILS(TLP_ENOTSUP,
                adjust(&out, NULL, m, "nosync@2:1a", (fit_kind){ 0, 1, 0 }));
    cr_expect(strstr(tlp_last_error(),
                     "norms of tracks are not fitted in olmo2"
                     " models, whose layers do not normalise"),
              "%s", tlp_last_error());
    tlp_model_free(m);
}
