/*
 * test_unit_order.c - hidden units in another order: orders for tracks, and
 * files of models.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/convert.h"
#include "support/reordered.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tune/bake.h"

TestSuite(unit_order, .timeout = 300);

enum { N_CTX = 32, N_TOKEN = 4 * N_CTX };

static int32_t ids[N_TOKEN];
static const text_windows whole = { ids, N_TOKEN, N_CTX };

static tlp_model *open_tiny(const tiny_spec *spec)
{
    tlp_model *m = rig_open_changeable(tiny_make(spec));

    rig_tokens(ids, N_TOKEN, (size_t)spec->n_vocab, 11);
    return m;
}

/* ==== the order of units ================================================= */

/* A cheap generator of numbers in [0, 1). */
static double draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 40) / (double)(1 << 24);
}

static const tlpi_env *env_of_tests(void)
{
    static tlpi_env env;

    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    return &env;
}

/* Each unit once, blocks whole. */
static void expect_order(const int32_t *unit, int n, int block)
{
    bool seen[256] = { false };

    for (int i = 0; i < n; i++) {
        cr_assert(unit[i] >= 0 && unit[i] < n && !seen[unit[i]]);
        seen[unit[i]] = true;
        cr_expect_eq(unit[i] % block, i % block);
        cr_expect_eq(unit[i] / block, unit[i - i % block] / block);
    }
}

static double cost_of_order(const int32_t *unit, const int *track,
                            const double *cost, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += cost[track[i] * n + unit[i]];
    return sum;
}

/* Least cost of two tracks over all choices of blocks, by trying them. */
static double least_cost(const double *cost, int n, int block, int first)
{
    int n_block = n / block;
    double least = INFINITY;

    for (unsigned set = 0; set < 1u << n_block; set++) {
        double sum = 0;

        if (__builtin_popcount(set) != first / block)
            continue;
        for (int i = 0; i < n; i++)
            sum += cost[(set >> i / block & 1 ? 0 : n) + i];
        least = fmin(least, sum);
    }
    return least;
}

Test(unit_order, two_tracks_get_the_cheapest_order)
{
    static const int shape[][3] = { { 12, 1, 6 },  { 12, 1, 4 }, { 40, 4, 20 },
                                    { 40, 4, 16 }, { 9, 3, 3 },  { 7, 1, 7 } };
    uint64_t state = 5;

    for (size_t k = 0; k < TLPI_COUNT(shape); k++) {
        int n = shape[k][0], block = shape[k][1], first = shape[k][2];
        int track[40];
        int32_t unit[40];
        double cost[80];

        for (int i = 0; i < 2 * n; i++)
            cost[i] = draw(&state);
        for (int i = 0; i < n; i++)
            track[i] = i >= first;
        const tlpi_deal deal = { n, block, 2, track, cost, NULL };
        CHECK_OK(tlpi_deal_out(env_of_tests(), &deal, unit));
        expect_order(unit, n, block);
        cr_expect_float_eq(cost_of_order(unit, track, cost, n),
                           least_cost(cost, n, block, first), 1e-9, "%zu", k);
    }
}

/* No exchange of two units between any two tracks lowers the cost. */
Test(unit_order, many_tracks_cannot_gain_by_exchanges)
{
    enum { N = 60, T = 5 };
    uint64_t state = 9;
    int track[N];
    int32_t unit[N];
    double cost[T * N];

    for (int i = 0; i < T * N; i++)
        cost[i] = draw(&state);
    for (int i = 0; i < N; i++)
        track[i] = i * T / N;
    const tlpi_deal deal = { N, 1, T, track, cost, NULL };
    CHECK_OK(tlpi_deal_out(env_of_tests(), &deal, unit));
    expect_order(unit, N, 1);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < i; j++) {
            double now =
                cost[track[i] * N + unit[i]] + cost[track[j] * N + unit[j]];
            double then =
                cost[track[i] * N + unit[j]] + cost[track[j] * N + unit[i]];
            cr_expect_geq(then, now - 1e-12);
        }
}

/* The cost of lots that tracks lack, and of lots on tracks. */
static double cost_with_pairs(const int *owner, const tlpi_deal *d, int n)
{
    double sum = 0;

    for (int t = 0; t < d->n_track; t++)
        for (int i = 0; i < n; i++) {
            sum += owner[i] == t ? d->cost[t * n + i] : 0;
            for (int j = 0; j < n; j++)
                if (owner[i] != t && owner[j] != t)
                    sum += d->pair[(t * n + i) * n + j];
        }
    return sum;
}

/* With costs of pairs no exchange of two lots lowers the cost, and the order is
 * better than the one before. */
static void expect_no_better_swap(int n_track, int block, bool both)
{
    enum { N = 24, UNITS = 4 * N };
    static double cost[4 * UNITS], of_lot[4 * N], pair[4 * N * N];
    uint64_t state = 17;
    int track[UNITS], own[N], before[N];
    int32_t unit[UNITS];
    tlpi_deal d = { N * block, block, n_track, track, cost, pair };
    double single = 0, pairs;

    for (int i = 0; i < N * block; i++)
        track[i] = i / block * n_track / N;
    for (int i = 0; i < n_track * N * block; i++)
        cost[i] = both ? draw(&state) : 0;
    for (int t = 0; t < n_track; t++)
        for (int i = 0; i < N; i++)
            for (int j = 0; j <= i; j++)
                pair[(t * N + i) * N + j] = pair[(t * N + j) * N + i] =
                    i == j ? 3 * draw(&state) : draw(&state) - 0.5;
    cr_assert_eq(tlpi_deal_lot(&d), block);
    CHECK_OK(tlpi_deal_out(env_of_tests(), &d, unit));
    expect_order(unit, N * block, block);

    for (int i = 0; i < N; i++)
        before[i] = track[i * block];
    for (int i = 0; i < N; i++)
        own[unit[i * block] / block] = track[i * block];
    memset(of_lot, 0, sizeof of_lot);
    for (int t = 0; t < n_track; t++)
        for (int i = 0; i < N * block; i++)
            of_lot[t * N + i / block] += cost[t * N * block + i];
    for (int i = 0; i < N; i++)
        single += of_lot[before[i] * N + i];
    d.cost = of_lot;
    pairs = cost_with_pairs(before, &d, N) - single;
    for (int i = 0; both && i < n_track * N; i++) /* equally large */
        of_lot[i] *= pairs / single;
    double now = cost_with_pairs(own, &d, N);
    cr_expect_lt(now, cost_with_pairs(before, &d, N));
    for (int i = 0; i < N; i++)
        for (int j = 0; j < i; j++) {
            int x = own[i];

            own[i] = own[j];
            own[j] = x;
            cr_expect_geq(cost_with_pairs(own, &d, N), now - 1e-6);
            own[j] = own[i];
            own[i] = x;
        }
}

Test(unit_order, pairs_of_lots_cannot_gain_by_exchanges)
{
    for (int n_track = 2; n_track <= 4; n_track++)
        for (int block = 1; block <= 4; block += 3) {
            expect_no_better_swap(n_track, block, false);
            expect_no_better_swap(n_track, block, true);
        }
}

/* A lot is whole blocks, ends where tracks end, and bounds their number. */
Test(unit_order, lots_fit_tracks)
{
    static int track[24576];
    tlpi_deal d = { .n = 24576, .block = 1, .n_track = 2, .track = track };

    for (int i = 0; i < d.n; i++)
        track[i] = i >= d.n / 2;
    cr_expect_eq(tlpi_deal_lot(&d), 6);
    d.block = 32;
    cr_expect_eq(tlpi_deal_lot(&d), 32);
    d.block = 4;
    cr_expect_eq(tlpi_deal_lot(&d), 8);
    d.block = 1;
    track[d.n / 2] = 0; /* no lot of several units fits */
    cr_expect_eq(tlpi_deal_lot(&d), 1);
}

/* Equal costs move nothing. */
Test(unit_order, equal_costs_keep_the_order)
{
    enum { N = 32 };
    int track[N];
    int32_t unit[N];
    double cost[3 * N];

    for (int i = 0; i < 3 * N; i++)
        cost[i] = 1 + i % N;
    for (int i = 0; i < N; i++)
        track[i] = i * 3 / N;
    const tlpi_deal deal = { N, 1, 3, track, cost, NULL };
    CHECK_OK(tlpi_deal_out(env_of_tests(), &deal, unit));
    for (int i = 0; i < N; i++)
        cr_expect_eq(unit[i], i);
}

/* ==== files in another order ============================================= */

/* A random order of a layer's units in whole blocks. */
static int32_t *random_order(const tlp_model *m, int layer, uint64_t *state)
{
    int n = m->hp.n_ff, block = tlpi_unit_block(m, layer);
    int32_t *unit = malloc((size_t)n * sizeof *unit);

    for (int i = 0; i < n / block; i++)
        unit[i * block] = i;
    for (int i = n / block - 1; i > 0; i--) {
        int j = (int)(draw(state) * (i + 1));
        int32_t x = unit[i * block];

        unit[i * block] = unit[j * block];
        unit[j * block] = x;
    }
    for (int i = n - 1; i >= 0; i--)
        unit[i] = unit[i / block * block] * block + i % block;
    return unit;
}

static void expect_moved(const tlp_model *a, const tlp_model *b,
                         const tlpi_unit_order *order)
{
    for (int l = 0; l < a->hp.n_layer; l++)
        for (int i = 0; i < a->hp.n_ff; i++) {
            int from = order->unit[l] ? order->unit[l][i] : i;
            const tlpi_layer *x = &a->w.layer[l], *y = &b->w.layer[l];

            for (int j = 0; j < a->hp.n_embd; j += 7) {
                cr_assert_eq(reordered_element(y->t[TLPI_FFN_GATE], i, j),
                             reordered_element(x->t[TLPI_FFN_GATE], from, j));
                cr_assert_eq(reordered_element(y->t[TLPI_FFN_UP], i, j),
                             reordered_element(x->t[TLPI_FFN_UP], from, j));
                cr_assert_eq(reordered_element(y->t[TLPI_FFN_DOWN], j, i),
                             reordered_element(x->t[TLPI_FFN_DOWN], j, from));
            }
        }
}

static void expect_reordered(const tiny_spec *spec)
{
    tlp_model *a = open_tiny(spec);
    const char *path = tiny_path("moved.gguf");
    int32_t *unit[16] = { NULL };
    tlpi_unit_order order = { unit };
    uint64_t state = 3;

    for (int l = 1; l < spec->n_layer; l++) /* layer 0 keeps its order */
        unit[l] = random_order(a, l, &state);
    CHECK_OK(tlpi_model_convert(
        &(tlpi_convert){ .model = a, .path = path, .order = &order }, NULL));
    tlp_model *b = rig_open_changeable(path);

    expect_moved(a, b, &order);
    reordered_keeps_rest(a, b);
    reordered_is_same(a, b, &whole);
    for (int l = 0; l < spec->n_layer; l++)
        free(unit[l]);
    tlp_model_free(b);
    tlp_model_free(a);
}

Test(unit_order, reordered_files_are_the_same_function)
{
    static const tlpi_dtype types[] = { TLPI_F32,  TLPI_F16,  TLPI_BF16,
                                        TLPI_Q8_0, TLPI_Q4_1, TLPI_Q4_K };
    tiny_spec spec = tiny_default();

    for (size_t i = 0; i < TLPI_COUNT(types); i++) {
        spec.type = types[i];
        spec.n_ff = types[i] == TLPI_Q4_K ? 512 : 160;
        expect_reordered(&spec);
    }
}

/* Rows of both matrices that ffn_up holds. */
Test(unit_order, a_fused_gate_is_reordered)
{
    tiny_spec spec = tiny_default();

    spec.arch = "phi3";
    spec.type = TLPI_Q8_0;
    expect_reordered(&spec);
}

Test(unit_order, reordered_split_files_become_one)
{
    tiny_spec spec = tiny_default();

    spec.n_split = 3;
    spec.arch = "qwen2";
    spec.fused = false;
    expect_reordered(&spec);
}

/* ==== importances ======================================================== */

enum { N_UNIT = 256 };

/* Their mean is 1. */
static float importance_of(int unit)
{
    return unit * 7 % N_UNIT < N_UNIT / 2 ? 0.25f : 1.75f;
}

/* An importance matrix with one entry, in the older format. */
static const char *write_importances(const char *name)
{
    static char path[512];
    int32_t head[2] = { 1, (int32_t)strlen(name) }, tail[2] = { 1, N_UNIT };

    snprintf(path, sizeof path, "%s", tiny_path("imatrix.dat"));
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    fwrite(head, sizeof head, 1, f);
    fputs(name, f);
    fwrite(tail, sizeof tail, 1, f);
    for (int i = 0; i < N_UNIT; i++) {
        float x = importance_of(i);
        fwrite(&x, sizeof x, 1, f);
    }
    cr_assert_eq(fclose(f), 0);
    return path;
}

/* Importances of ffn_down go with its columns to the new order. */
Test(unit_order, importances_move_with_units)
{
    static const char name[] = "blk.1.ffn_down.weight";
    tiny_spec spec = tiny_default();
    int32_t unit[N_UNIT];
    const char *path = tiny_path("moved.gguf");
    tlp_model *moved = NULL;

    spec.n_layer = 2;
    spec.n_ff = N_UNIT;
    spec.type = TLPI_F32;
    for (int i = 0; i < N_UNIT; i++)
        unit[i] = (i * 37 + 5) % N_UNIT;
    tlp_model *m = open_tiny(&spec);
    tlpi_unit_order order = { (int32_t *[]){ NULL, unit } };
    const tlpi_convert job = { .model = m,
                               .path = path,
                               .type = "Q4_0",
                               .order = &order,
                               .opts = { .imatrix = write_importances(name) } };
    CHECK_OK(tlpi_model_convert(&job, NULL));
    CHECK_OK(tlp_model_open(&moved, path, NULL));
    const tlpi_tensor *from = tlpi_model_tensor(m, name);
    const tlpi_tensor *to = tlpi_model_tensor(moved, name);
    cr_assert_eq(to->type, TLPI_Q4_0);
    for (int64_t r = 0; r < from->ne[1]; r++) {
        float x[N_UNIT], y[N_UNIT], w[N_UNIT];
        uint8_t want[N_UNIT / 32 * 18];

        tlpi_read_row(from, r, x, N_UNIT);
        for (int i = 0; i < N_UNIT; i++) {
            y[i] = x[unit[i]];
            w[i] = importance_of(unit[i]);
        }
        tlpi_quantize_columns(TLPI_Q4_0, y, w, want, N_UNIT);
        cr_assert_eq(memcmp((const char *)to->data + r * (int)sizeof want, want,
                            sizeof want),
                     0, "row %d", (int)r);
    }
    tlp_model_free(moved);
    tlp_model_free(m);
}
