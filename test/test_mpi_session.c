/*
 * test_mpi_session.c - sessions whose ranks are processes:
 * test/mpi/session_process.c is what they run.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "support/check.h"
#include "support/copies.h"
#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/mpirun.h"
#include "support/tiny.h"
#include "tlp_tune.h"

TestSuite(mpi_session, .timeout = 200);

static const char *model_of_seed(uint64_t seed)
{
    tiny_spec spec = tiny_default(); /* five layers, 6 heads over 3 kv heads */

    spec.seed = seed;
    return tiny_make(&spec);
}

/* The file of a plan with adjustments of all kinds. */
static const char *adjusted(const char *text, int rank)
{
    char name[64];
    tlp_model *m = NULL;
    tlp_plan *plain = NULL, *plan = NULL;

    CHECK_OK(tlp_model_open(&m, model_of_seed(1), NULL));
    CHECK_OK(tlp_plan_parse(&plain, m, text));
    CHECK_OK(fitted_plan(&plan, plain, FITTED_ALL, rank, (uint64_t)rank));
    snprintf(name, sizeof name, "plan-%d.json", rank);
    const char *file = tiny_path(name);
    CHECK_OK(tlp_plan_save(plan, file));
    tlp_plan_free(plan);
    tlp_plan_free(plain);
    tlp_model_free(m);
    return file;
}

/* The file of a plan with LoRA and adjustments of all kinds. */
static const char *with_lora(const char *text, int rank)
{
    char name[64];
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, model_of_seed(1), NULL));
    tlp_plan *plan = lora_parse(m, text, FITTED_ALL, rank);
    snprintf(name, sizeof name, "lora-%d.json", rank);
    const char *file = tiny_path(name);
    CHECK_OK(tlp_plan_save(plan, file));
    tlp_plan_free(plan);
    tlp_model_free(m);
    return file;
}

/* A scenario in n processes: nothing to complain about, on any. */
static void play_with(int n, const char *scenario, const char *model,
                      const char *const more[])
{
    const char *argv[16] = { "test/mpi/session_process", scenario, model };

    for (int i = 0; more && more[i]; i++)
        argv[3 + i] = more[i];
    spawned s = mpirun(&(mpirun_options){ .n = n, .limit_s = 60 }, argv);
    cr_assert_eq(s.status, 0, "%s, %d processes: status %d: %s", scenario, n,
                 s.status, s.err);
    spawn_free(&s);
}

static void play(int n, const char *scenario, const char *const more[])
{
    play_with(n, scenario, model_of_seed(1), more);
}

#define MORE(...) ((const char *const[]){ __VA_ARGS__, NULL })

Test(mpi_session, two_ranks_give_the_bits_of_two_threads)
{
    MPIRUN_OR_SKIP();
    play(2, "exact",
         MORE("serial", "lp:1-2,3-4", "par:1-2,3-4", "asym:0-1,2-4",
              "asym:0-1;lp:3-4", "par:0-1;merge:2-3", "drop:2",
              "nosync:0f,1,3a", "par:0-1;nosync:3"));
}

/* Three ranks share the members of a pair. */
Test(mpi_session, three_ranks_give_the_bits_of_three_threads)
{
    MPIRUN_OR_SKIP();
    play(3, "exact",
         MORE("serial", "lp:1-2,3-4", "par:1-2,3-4", "par:0-2", "asym:0-1,2-3",
              "asym:0-2", "par:0-1;lp:2-3"));
}

/* Two ranks share a track. */
Test(mpi_session, four_ranks_give_the_bits_of_four_threads)
{
    MPIRUN_OR_SKIP();
    play(4, "exact", MORE("nosync:0f,1,3a", "nosync@4:0f,1,3a"));
}

/* Norms of outputs, and of rows of queries and keys that ranks share. */
Test(mpi_session, norms_over_ranks)
{
    tiny_spec spec = tiny_default();

    MPIRUN_OR_SKIP();
    spec.arch = "olmo2";
    const char *model = tiny_make(&spec);
    play_with(2, "exact", model,
              MORE("serial", "lp:1-2,3-4", "par:1-2,3-4", "asym:0-1,2-4",
                   "nosync:0f,1,3a"));
    play_with(3, "exact", model,
              MORE("serial", "lp:1-2,3-4", "par:1-2,3-4", "asym:0-1,2-3"));
    play_with(4, "exact", model, MORE("nosync:0f,1,3a"));
}

/* Heads and hidden units of fused tensors, and windows. */
Test(mpi_session, fused_tensors)
{
    tiny_spec spec = tiny_default();

    MPIRUN_OR_SKIP();
    spec.arch = "phi3";
    play_with(2, "exact", tiny_make(&spec),
              MORE("serial", "par:1-2,3-4", "nosync:0f,1,3a"));
}

/* Every rank chooses experts for itself. */
Test(mpi_session, experts_over_ranks)
{
    tiny_spec spec = tiny_default();

    MPIRUN_OR_SKIP();
    spec.arch = "qwen3moe";
    const char *model = tiny_make(&spec);
    play_with(2, "exact", model,
              MORE("serial", "lp:1-2,3-4", "par:1-2,3-4", "asym:0-1,2-4",
                   "nosync:0f,1,3a"));
    play_with(3, "exact", model, MORE("serial", "par:1-2,3-4"));
    spec.arch = "gpt-oss";
    play_with(3, "exact", tiny_make(&spec), MORE("serial", "par:1-2,3-4"));
}

/* Workers have no plan of their own: adjustments come from rank 0. */
Test(mpi_session, adjustments_travel)
{
    MPIRUN_OR_SKIP();
    const char *const plans[] = { adjusted("par:1-2,3-4", 8),
                                  adjusted("asym:0-1;lp:3-4", 5),
                                  adjusted("asym:0-3", 13),
                                  adjusted("lp:1-3", 48) };

    play(2, "exact", MORE(plans[0], "par:1-2", plans[1], plans[2], plans[3]));
    play(3, "exact", MORE(plans[0], plans[1], plans[2], plans[3]));
}

Test(mpi_session, adjustments_of_tracks_travel)
{
    MPIRUN_OR_SKIP();
    play(2, "exact", MORE(adjusted("nosync:0f,1,3a", 8)));
    play(4, "exact", MORE(adjusted("nosync:0f,1,3a", 16)));
}

Test(mpi_session, lora_travels)
{
    MPIRUN_OR_SKIP();
    play(2, "exact",
         MORE(with_lora("nosync:0f,1,3a", 3), with_lora("asym:0-1;lp:3-4", 2)));
    play(3, "exact", MORE(with_lora("par:1-2", 5), with_lora("serial", 1)));
}

static const char *adapter(const char *name, int rank)
{
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, model_of_seed(1), NULL));
    tlp_plan *plan = lora_parse(m, "serial", 0, rank);
    const char *file = tiny_path(name);
    CHECK_OK(tlp_plan_save_adapter(plan, file));
    tlp_plan_free(plan);
    tlp_model_free(m);
    return file;
}

Test(mpi_session, adapters_travel)
{
    MPIRUN_OR_SKIP();
    const char *a = adapter("a.gguf", 3), *b = adapter("b.gguf", 2);

    play(2, "adapts", MORE(a, b, "par:1-2"));
    play(3, "adapts", MORE(a, b, with_lora("asym:0-1;lp:3-4", 2)));
}

Test(mpi_session, other_adjustments_are_refused)
{
    MPIRUN_OR_SKIP();
    play(2, "compares", MORE(adjusted("par:1-2", 4), adjusted("par:1-2", 8)));
    play(3, "compares", MORE(adjusted("par:1-2", 4), adjusted("par:1-2", 8)));
}

Test(mpi_session, rounded_activations_come_close)
{
    MPIRUN_OR_SKIP();
    play(2, "wires", MORE("par:1-2"));
    play(3, "wires", MORE("lp:1-2;asym:3-4"));
}

Test(mpi_session, a_greedy_token_is_one_broadcast_and_one_gather)
{
    MPIRUN_OR_SKIP();
    play(2, "messages", MORE("serial"));
}

Test(mpi_session, a_worker_adopts_what_it_leaves_open)
{
    MPIRUN_OR_SKIP();
    play(2, "adopts", MORE("asym:1-2"));
}

Test(mpi_session, what_does_not_fit_is_refused_on_every_rank)
{
    MPIRUN_OR_SKIP();
    play(2, "refuses", MORE(model_of_seed(2)));
    play(3, "refuses", MORE(model_of_seed(2)));
}

/* ==== copies of the model ================================================ */

/* Tries nothing with the cache of whoever runs the tests. */
static const char *model_in_own_cache(void)
{
    tiny_spec spec = tiny_default();

    spec.seed = 1;
    setenv("XDG_CACHE_HOME", tiny_path("cache"), 1);
    return tiny_make(&spec);
}

static void compare_copies(int n, const char *a, const char *b,
                           const char *trust, const char *text)
{
    spawned s =
        MPIRUN(n, "test/mpi/session_process", "copies", a, b, trust, text);

    cr_expect_eq(s.status, 0, "%d processes, \"%s\": status %d: %s", n, text,
                 s.status, s.err);
    spawn_free(&s);
}

#define DAMAGED "blk.3.ffn_down.weight"
/* A byte that fingerprints do not see. */
#define UNSEEN 300

Test(mpi_session, a_damaged_tensor_is_named)
{
    MPIRUN_OR_SKIP();
    const char *m = model_in_own_cache();
    const char *bad = copy_flipped(m, place_of(m, DAMAGED, UNSEEN));

    compare_copies(2, m, bad, "none",
                   "rank 1: tensor " DAMAGED " differs: rank 0 has sha256:");
    compare_copies(3, bad, m, "none", "rank 1: tensor " DAMAGED " differs");
    /* A rank that trusts its sample is not compared by more. */
    compare_copies(2, m, bad, "0", "");
    compare_copies(2, m, bad, "1", "");
    compare_copies(2, m, bad, "all", "");
    compare_copies(3, m, bad, "1", "rank 2: tensor " DAMAGED " differs");
}

Test(mpi_session, a_copy_with_another_name_or_padding_fits)
{
    MPIRUN_OR_SKIP();
    const char *m = model_in_own_cache();
    size_t data = place_of(m, "token_embd.weight", 0);
    tiny_spec spec = tiny_default();

    compare_copies(2, m, copy_flipped(m, SIZE_MAX), "none", "");
    /* The last byte before the first tensor is padding, or a tensor's. */
    compare_copies(2, m, copy_flipped(m, data - 1), "none", "");
    spec.seed = 1;
    spec.version = 2;
    compare_copies(2, m, tiny_make(&spec), "none", "");
    spec.n_split = 3;
    compare_copies(2, tiny_make(&spec), m, "none", "");
}

Test(mpi_session, another_model_is_named_by_what_differs)
{
    MPIRUN_OR_SKIP();
    const char *m = model_in_own_cache();
    tiny_spec spec = tiny_default(), other;

    spec.seed = 1;
    other = spec;
    other.rope_scale = 2;
    compare_copies(2, m, tiny_make(&other), "none",
                   "rank 1: key rope_scale differs: rank 0 has 1, rank 1 has "
                   "2");
    other = spec;
    other.type = TLPI_F16;
    compare_copies(2, m, tiny_make(&other), "none",
                   "rank 1: tensor blk.0.attn_k.weight differs: rank 0 has F32 "
                   "96x48 sha256:");
    other = spec;
    other.tied = true;
    compare_copies(2, m, tiny_make(&other), "none",
                   "rank 1: tensor output.weight: rank 0 has F32 96x288 "
                   "sha256:");
    other = spec;
    other.arch = "qwen2";
    compare_copies(2, m, tiny_make(&other), "none",
                   "rank 1: key arch differs: rank 0 has llama, rank 1 has "
                   "qwen2");
    /* By its fingerprint alone, where a rank has no digest. */
    compare_copies(2, m, tiny_make(&other), "1", "rank 1: fingerprint is ");
}

/* The digest of the good bytes is in the cache when the damage comes. */
Test(mpi_session, damage_after_caching_is_named)
{
    MPIRUN_OR_SKIP();
    const char *m = model_in_own_cache();
    const char *copy = copy_flipped(m, SIZE_MAX);

    nanosleep(&(struct timespec){ .tv_sec = 2, .tv_nsec = 600000000 }, NULL);
    compare_copies(2, m, copy, "none", "");
    compare_copies(2, m, copy, "none", "");
    flip_in_place(copy, place_of(copy, DAMAGED, UNSEEN));
    compare_copies(2, m, copy, "none", "rank 1: tensor " DAMAGED " differs");
}

Test(mpi_session, hashing_may_take_longer_than_an_answer)
{
    MPIRUN_OR_SKIP();
    setenv("XDG_CACHE_HOME", "/dev/null", 1); /* no folder can be made */
    play(2, "hashes_slowly", NULL);
    play(3, "hashes_slowly", NULL);
}

Test(mpi_session, a_wrong_number_of_ranks_is_named)
{
    MPIRUN_OR_SKIP();
    play(1, "counts_ranks", NULL);
    play(2, "counts_ranks", NULL);
}

Test(mpi_session, arguments)
{
    MPIRUN_OR_SKIP();
    play(2, "arguments", MORE(model_of_seed(2)));
}

Test(mpi_session, sessions_one_after_another)
{
    MPIRUN_OR_SKIP();
    play(2, "in_turn", NULL);
}

Test(mpi_session, two_sessions_at_once)
{
    MPIRUN_OR_SKIP();
    play(2, "at_once", NULL);
}

Test(mpi_session, an_abort_reaches_all_ranks)
{
    MPIRUN_OR_SKIP();
    play(2, "aborts", MORE("par:1-2"));
}

Test(mpi_session, a_rank_that_cannot_be_built_fails_all)
{
    MPIRUN_OR_SKIP();
    play(2, "starves", MORE("par:1-2"));
    play(3, "starves", MORE("par:1-2"));
    play(2, "starves", MORE(adjusted("par:1-2", 48)));
}

Test(mpi_session, loading_may_take_longer_than_an_answer)
{
    MPIRUN_OR_SKIP();
    play(2, "loads_slowly", MORE("serial"));
}

Test(mpi_session, a_canceled_load_is_everybodys)
{
    MPIRUN_OR_SKIP();
    play(2, "cancels_loading", MORE("serial"));
    play(3, "cancels_loading", MORE("par:1-2"));
}

Test(mpi_session, a_rank_may_come_late)
{
    MPIRUN_OR_SKIP();
    play(2, "comes_late", NULL);
    play(3, "comes_late", NULL);
}

Test(mpi_session, workers_end_with_rank_0)
{
    MPIRUN_OR_SKIP();
    play(2, "left_alone", NULL);
    play(3, "left_alone", NULL);
}

Test(mpi_session, on_a_communicator_of_the_program)
{
    MPIRUN_OR_SKIP();
    play(3, "own_comm", MORE("par:1-2"));
}

/* One process that nobody started with mpirun is a session of one rank. */
Test(mpi_session, alone)
{
    MPIRUN_OR_SKIP();
    play(1, "exact", MORE("serial", "par:1-2"));
}
