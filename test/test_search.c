/*
 * test_search.c - the parts of a search: sizes of variants, what a letter at a
 * place changes, estimates, swaps.
 */
#include <string.h>

#include "base/random.h"
#include "support/teacher_rig.h"
#include "tlp_tune.h"
#include "tune/search.h"

enum {
    N_LAYER = 4,
    N_PLACE = 2 * N_LAYER - 1,
    N_CTX = 16,
    N_TOKEN = 8 * N_CTX
};

static int32_t ids[N_TOKEN];

TestSuite(search, .timeout = 120);

typedef struct search_bench {
    teacher_rig rig;
    tlpi_scorer *scorer;
    tlpi_search search;
} search_bench;

static void set_up_arch(search_bench *b, const char *arch, uint32_t modes,
                        int n_track)
{
    const teacher_shape shape = { N_LAYER, N_TOKEN, N_CTX, 1, arch };
    const tlpi_scorer_setup setup = { .teacher = &b->rig.teacher,
                                      .objective = TLP_OBJECTIVE_KL,
                                      .n_track = n_track,
                                      .nosync = true,
                                      .budget = (size_t)1 << 26 };

    teacher_rig_open(&b->rig, ids, &shape, (tlpi_tick){ NULL, NULL });
    CHECK_OK(tlpi_scorer_create(&b->scorer, &setup));
    CHECK_OK(tlpi_search_init(&b->search, b->scorer, modes, N_LAYER));
}

static void set_up(search_bench *b, uint32_t modes, int n_track)
{
    set_up_arch(b, NULL, modes, n_track);
}

static void tear_down(search_bench *b)
{
    tlpi_search_clear(&b->search);
    tlpi_scorer_free(b->scorer);
    teacher_rig_close(&b->rig);
}

/* And expect that the plan gives back the variant. */
static int count_exchanges(const search_bench *b, const char *variant)
{
    tlp_plan_cost cost = { .struct_size = sizeof cost };
    char back[N_PLACE + 1] = "";
    tlp_plan *plan = NULL;

    CHECK_OK(tlpi_variant_build(&plan, b->rig.model, variant,
                                b->scorer->n_track, NULL));
    CHECK_OK(tlpi_variant_read(back, plan));
    cr_expect_str_eq(back, variant);
    CHECK_OK(tlp_plan_get_cost(&cost, plan, b->scorer->n_track));
    tlp_plan_free(plan);
    return cost.exchanges;
}

static const uint32_t all_modes = 1u << TLP_MODE_LP | 1u << TLP_MODE_PAR |
                                  1u << TLP_MODE_ASYM | TLP_MAKE_NOSYNC;

/* Random letters at places where the search may set them give valid variants,
 * of the size that a dry run of the plan counts. */
static void expect_sizes(const char *arch, int n_track)
{
    search_bench b;
    uint64_t seed = 5;
    int n_group = 0, n_both = 0;

    set_up_arch(&b, arch, all_modes, n_track);
    for (int k = 0; k < 60; k++) {
        char variant[N_PLACE + 1] = "-------";

        for (int i = 0; i < 8; i++) {
            int p = (int)(tlpi_random(&seed) % N_PLACE);
            int letter =
                (int)(tlpi_random(&seed) % (uint64_t)b.search.n_letter);

            if (tlpi_search_may_set(&b.search, variant, p, letter))
                tlpi_variant_set(variant, p, b.search.letter[letter]);
            cr_assert(tlpi_variant_valid(variant, N_LAYER), "%s", variant);
            cr_assert_eq(tlpi_search_size(&b.search, variant),
                         count_exchanges(&b, variant), "%s", variant);
        }
        bool group = tlpi_variant_depth(variant) < N_LAYER;
        n_group += group;
        n_both += group && strchr(variant, TLPI_VARIANT_NOSYNC);
    }
    cr_expect_gt(n_group, 10);
    cr_expect_gt(n_both, 10);
    tear_down(&b);
}

Test(search, sizes_are_the_exchanges_of_the_plan)
{
    expect_sizes(NULL, 2);
    expect_sizes(NULL, 3);
}

/* A layer alone exchanges the squares of its queries and keys, unless it reads
 * or gives streams of tracks. */
Test(search, sizes_of_olmo2)
{
    expect_sizes("olmo2", 2);
    expect_sizes("olmo2", 3);
}

Test(search, a_group_makes_the_exchanges_beside_it)
{
    char variant[] = ".......", grown[] = "-l-.-..";

    tlpi_variant_set(variant, 3, 'p');
    cr_expect_str_eq(variant, ".--p--.");
    tlpi_variant_set(grown, 3, 'a');
    cr_expect_str_eq(grown, "-a-a--.");
}

/* ==== searches over prices that are made up =============================== */

/* What a letter at a place adds to the cost, and what two exchanges left out
 * together add to that. */
typedef struct price_list {
    double nosync[N_PLACE], par[N_PLACE];
    int a, b;
    double both;
} price_list;

static double cost_of(const price_list *list, const char *variant)
{
    double sum = 0;

    for (int p = 0; p < N_PLACE; p++) {
        if (variant[p] == TLPI_VARIANT_NOSYNC)
            sum += list->nosync[p];
        else if (variant[p] == 'p')
            sum += list->par[p];
    }
    if (variant[list->a] == TLPI_VARIANT_NOSYNC &&
        variant[list->b] == TLPI_VARIANT_NOSYNC)
        sum += list->both;
    return sum;
}

/* Give every variant of nosync and par its cost as its score. */
static void fill_scores(search_bench *b, const price_list *list)
{
    static const char letters[] = { TLPI_VARIANT_SERIAL, TLPI_VARIANT_NOSYNC,
                                    'p' };
    tlpi_score *x;

    for (int k = 0; k < 2187; k++) { /* 3 to the power of N_PLACE */
        char variant[N_PLACE + 1] = "";

        for (int p = 0, rest = k; p < N_PLACE; p++, rest /= 3)
            variant[p] = letters[rest % 3];
        if (!tlpi_variant_valid(variant, N_LAYER))
            continue;
        CHECK_OK(tlpi_score_find(b->scorer, variant, &x));
        x->n_done = b->rig.text.n;
        for (int w = 0; w < b->rig.text.n; w++)
            x->kl[w * b->scorer->n_block] =
                cost_of(list, variant) * (b->rig.text.window[w].n - 1);
    }
}

static const uint32_t two_modes = TLP_MAKE_NOSYNC | 1u << TLP_MODE_PAR;

/* The pair 1-2 costs 0.24 for three exchanges. */
static const price_list pair = {
    .nosync = { 0.3, 0.3, 0.1, 0.12, 0.11, 0.3, 0.3 },
    .par = { 0, 9, 0, 0.24, 0, 9, 0 },
};

static void expect_variant(const search_bench *b, const char *found,
                           const char *want, int size)
{
    cr_expect_str_eq(found, want, "%s found, %s expected", found, want);
    cr_expect_eq(tlpi_search_size(&b->search, found), size);
}

Test(search, a_step_takes_the_least_price_of_an_exchange)
{
    char variant[] = "-------", last[] = "-------";
    search_bench b;

    set_up(&b, two_modes, 2);
    fill_scores(&b, &pair);
    CHECK_OK(tlpi_search_deepen(&b.search, variant));
    expect_variant(&b, variant, "---p---", 5);
    /* One exchange is asked for: the other two of the pair have no worth. */
    b.search.target = 7;
    CHECK_OK(tlpi_search_deepen(&b.search, last));
    expect_variant(&b, last, "--.----", 7);
    tear_down(&b);
}

/* Take the steps of the search once, so that it knows what changes cost. */
static void learn(search_bench *b)
{
    char variant[] = "-------";

    CHECK_OK(tlpi_search_deepen(&b->search, variant));
}

Test(search, three_exchanges_are_swapped_for_a_pair)
{
    char swapped[] = "--...--", polished[] = "--...--";
    search_bench b;

    set_up(&b, two_modes, 2);
    fill_scores(&b, &pair);
    learn(&b);
    CHECK_OK(tlpi_search_swap(&b.search, swapped));
    expect_variant(&b, swapped, "---p---", 5);
    CHECK_OK(tlpi_search_polish(&b.search, polished));
    expect_variant(&b, polished, "---p---", 5);
    tear_down(&b);
}

/* A pair with a left-out exchange beside it has the size of four left out. */
Test(search, a_pair_is_swapped_for_three_exchanges)
{
    price_list dear = pair;
    char variant[] = ".--p---";
    search_bench b;

    dear.par[3] = 0.5;
    set_up(&b, two_modes, 2);
    fill_scores(&b, &dear);
    learn(&b);
    CHECK_OK(tlpi_search_swap(&b.search, variant));
    expect_variant(&b, variant, ".-...--", 4);
    tear_down(&b);
}

/* Alone each of the places 2 and 4 is the best; together they are the worst.
 * The search learned their costs alone. */
Test(search, polishing_forgets_what_no_longer_holds)
{
    price_list list = {
        .nosync = { 0.3, 0.3, 0.1, 0.21, 0.1, 0.3, 0.2 },
        .a = 2,
        .b = 4,
        .both = 0.4,
    };
    char variant[] = "--.-.--";
    search_bench b;

    set_up(&b, TLP_MAKE_NOSYNC, 2);
    fill_scores(&b, &list);
    learn(&b);
    CHECK_OK(tlpi_search_swap(&b.search, variant));
    expect_variant(&b, variant, "--.-.--", 6);
    CHECK_OK(tlpi_search_polish(&b.search, variant));
    cr_expect_float_eq(cost_of(&list, variant), 0.3, 1e-12, "%s", variant);
    expect_variant(&b, variant, variant, 6);
    tear_down(&b);
}

/* An estimate of the pair is far too high, from a variant without the three
 * exchanges. */
Test(search, polishing_tries_groups_for_what_they_replace)
{
    char variant[] = "--...--";
    search_bench b;

    set_up(&b, two_modes, 2);
    fill_scores(&b, &pair);
    learn(&b);
    cr_assert_eq(b.search.letter[0], 'p');
    b.search.alone[3 * b.search.n_letter] = 5;
    CHECK_OK(tlpi_search_swap(&b.search, variant));
    expect_variant(&b, variant, "--...--", 5);
    CHECK_OK(tlpi_search_polish(&b.search, variant));
    expect_variant(&b, variant, "---p---", 5);
    tear_down(&b);
}

/* A gain on one window and a loss on another, which are a small gain together.
 */
Test(search, polishing_leaves_what_chance_explains)
{
    char variant[] = "--.----", swapped[] = "--.----";
    price_list list = { .nosync = { 9, 9, 0.2, 9, 0.19, 9, 9 } };
    search_bench b;
    tlpi_score *x;

    set_up(&b, TLP_MAKE_NOSYNC, 2);
    fill_scores(&b, &list);
    learn(&b);
    CHECK_OK(tlpi_score_find(b.scorer, "----.--", &x));
    for (int w = 0; w < b.rig.text.n; w++)
        x->kl[w * b.scorer->n_block] *= w % 2 ? 1.5 : 0.5;
    CHECK_OK(tlpi_search_polish(&b.search, variant));
    expect_variant(&b, variant, "--.----", 7);
    CHECK_OK(tlpi_search_swap(&b.search, swapped));
    expect_variant(&b, swapped, "----.--", 7);
    tear_down(&b);
}
