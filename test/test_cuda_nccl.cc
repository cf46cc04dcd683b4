/*
 * test_cuda_nccl.cc - exchanges through NCCL, for which a stub stands: how they
 * end, well or not, with recorded steps and without.
 */
#include "cuda/gpu_ranks.h"

#include <dlfcn.h>

#include "cuda/emu/emu_state.h"
#include "cuda/nccl_stub.h"

extern "C" {
#include "support/payload.h"
#include "support/spawn.h"
}

static nccl_stub *nccl;

static void enqueue(void *stream, std::function<bool()> op)
{
    (void)emu_submit_until((cudaStream_t)stream, std::move(op));
}

static void go_on(void *stream)
{
    (void)cudaStreamQuery((cudaStream_t)stream);
}

static int alloc(void **out, size_t bytes)
{
    return (int)cudaMalloc(out, bytes);
}

static int release(void *memory)
{
    return (int)cudaFree(memory);
}

static void load_stub()
{
    std::string path =
        std::string(spawn_build_dir()) + "/test/cuda/libnccl_stub.so";
    void *file = dlopen(path.c_str(), RTLD_NOW);

    cr_assert(file, "%s", dlerror());
    nccl = ((nccl_stub * (*)()) dlsym(file, "nccl_stub_get"))();
    nccl->enqueue = enqueue;
    nccl->go_on = go_on;
    nccl->alloc = alloc;
    nccl->free = release;
    setenv("TLP_NCCL", path.c_str(), 1);
    setenv("TLP_CUDA_COMM", "nccl", 1);
}

TestSuite(cuda_nccl, .init = load_stub, .timeout = 60);

/* ==== steps ============================================================== */

enum { N = 40 };

static float *buffer(gpu_rank &m)
{
    float *x = nullptr;
    return m.b->ops->buffer_create(m.b, &x, N) == TLP_OK ? x : nullptr;
}

/* A sum among `first`, if there are any, then among all; the second step of
 * them is recorded, later ones are replayed. */
static tlp_status step(gpu_rank &m, float *x, tlpi_comm *first)
{
    const int32_t none = 0;
    tlpi_step s = { 1, &none, &none, &none };
    tlpi_want want = { &none, 1, 0, 0 };
    tlp_status st = TLP_OK;

    if (!m.b->ops->begin_step(m.b, &s, &want)) {
        if (first)
            st = first->ops->allreduce(first, x, N, nullptr);
        if (st == TLP_OK)
            st = m.c->ops->allreduce(m.c, x, N, nullptr);
    }
    return m.b->ops->end_step(m.b, st);
}

static uint64_t replayed(const gpu_rank &m)
{
    tlpi_device_stats s;
    return cuda()->stats(m.b, &s) == TLP_OK ? s.replayed : 0;
}

static void summed_steps(gpu_rank &m, float *x, int n, tlpi_comm *first)
{
    std::vector<float> v(N);

    for (int i = 0; i < n; i++) {
        uint64_t key = (uint64_t)i;
        fill(v.data(), N, key, m.rank);
        m.write(x, v);
        CHECK(m, step(m, x, first) == TLP_OK);
        CHECK(m, m.read(v, x) == TLP_OK);
        CHECK(m, first || is_sum(v.data(), N, key, 0, m.n));
    }
}

/* ==== ending well ======================================================== */

/* A communicator that a recorded step holds cannot end. */
Test(cuda_nccl, recorded_steps_go_before_their_communicator)
{
    run_ranks(2, 2, 20000, [](gpu_rank &m) {
        float *x = buffer(m);
        summed_steps(m, x, 4, nullptr);
        CHECK(m, replayed(m) == 2);
        m.b->ops->buffer_free(m.b, x);
    });
    cr_assert_eq(nccl->stuck, 0);
    cr_assert_eq(nccl->ended, 2);
    cr_assert_eq(nccl->aborted, 0);
}

Test(cuda_nccl, messages)
{
    run_ranks(3, 3, 20000, [](gpu_rank &m) {
        float *x = buffer(m);
        std::vector<float> v(N, 5);
        if (m.rank > 0)
            CHECK(m, m.c->ops->recv_prev(m.c, x, N) == TLP_OK);
        else
            m.write(x, v);
        if (m.rank < 2)
            CHECK(m, m.c->ops->send_next(m.c, x, N) == TLP_OK);
        CHECK(m, m.read(v, x) == TLP_OK);
        CHECK(m, v[0] == 5 && v[N - 1] == 5);
        m.b->ops->buffer_free(m.b, x);
    });
    cr_assert_eq(nccl->ended, 3);
}

/* ==== ending otherwise =================================================== */

/* Rank 1 takes no part in the last step of sums in x, which is freed. */
static void left_alone(gpu_rank &m, float *x, tlpi_comm *first)
{
    std::vector<float> v(N);
    timespec start;

    summed_steps(m, x, 2, first);
    if (m.rank == 0) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        CHECK(m, step(m, x, first) == TLP_OK);
        CHECK(m, replayed(m) == 1);
        CHECK(m, m.read(v, x) == TLP_ETIMEDOUT);
        CHECK(m, strstr(tlp_last_error(), "no answer from its peers"));
        CHECK(m, since(start) < 5);
        m.write(x, v);
        CHECK(m, m.read(v, x) == TLP_ECOMM);
    } else {
        nap(2);
    }
    m.b->ops->buffer_free(m.b, x);
}

Test(cuda_nccl, a_replayed_step_that_waits_for_a_dead_peer_is_aborted)
{
    run_ranks(2, 2, 500,
              [](gpu_rank &m) { left_alone(m, buffer(m), nullptr); });
    cr_assert_eq(nccl->stuck, 0);
    cr_assert_gt(nccl->aborted, 0);
}

/* Aborting one communicator waits for the step, which waits in the other. */
Test(cuda_nccl, all_of_a_steps_communicators_are_aborted_at_once)
{
    run_ranks(2, 2, 500, [](gpu_rank &m) {
        tlpi_comm *sub = nullptr;
        CHECK(m, m.c->ops->split(m.c, 0, 2, &sub) == TLP_OK);
        left_alone(m, buffer(m), sub);
        tlpi_comm_free(sub);
    });
    cr_assert_eq(nccl->stuck, 0);
    cr_assert_geq(nccl->aborted, 2);
}

/* Nobody has waited for the step when the communicator is freed. */
Test(cuda_nccl, freed_with_a_step_under_way)
{
    run_ranks(2, 2, 500, [](gpu_rank &m) {
        float *x = buffer(m);
        summed_steps(m, x, 2, nullptr);
        if (m.rank == 0)
            CHECK(m, step(m, x, nullptr) == TLP_OK);
        else
            nap(2);
    });
    cr_assert_eq(nccl->stuck, 0);
    cr_assert_gt(nccl->aborted, 0);
}

/* After an abort nothing is waited for. */
Test(cuda_nccl, given_up_with_a_step_under_way)
{
    run_ranks(2, 2, 20000, [](gpu_rank &m) {
        float *x = buffer(m);
        timespec start;
        summed_steps(m, x, 2, nullptr);
        nap(0.5); /* until the other has got so far */
        if (m.rank == 0)
            CHECK(m, step(m, x, nullptr) == TLP_OK);
        clock_gettime(CLOCK_MONOTONIC, &start);
        m.c->ops->abort(m.c);
        m.b->ops->buffer_free(m.b, x);
        CHECK(m, since(start) < 5);
    });
    cr_assert_eq(nccl->stuck, 0);
    cr_assert_eq(nccl->aborted, 2);
}

/* ==== windows ============================================================ */

static float *exchange_buffer(gpu_rank &m)
{
    float *x = nullptr;
    return cuda()->exchange_buffer(m.c, &x, N) == TLP_OK ? x : nullptr;
}

/* Sums are formed where the vectors lie, recorded or not; a window ends with
 * the communicator, its memory later. */
Test(cuda_nccl, sums_in_windows)
{
    float *x[2];

    run_ranks(2, 2, 20000, [&](gpu_rank &m) {
        std::vector<float> v(N, 1);
        x[m.rank] = exchange_buffer(m);
        CHECK(m, m.read(v, x[m.rank]) == TLP_OK && v[0] == 0 && v[N - 1] == 0);
        float *other = exchange_buffer(m);
        CHECK(m, other && nccl->pieces >= 2);
        summed_steps(m, x[m.rank], 4, nullptr);
        CHECK(m, replayed(m) == 2);
        m.b->ops->buffer_free(m.b, other);
        m.c->ops->free(m.c);
        m.c = nullptr;
        m.b->ops->buffer_free(m.b, x[m.rank]);
    });
    cr_assert_eq(nccl->in_place, 4);
    cr_assert_eq(nccl->windows, 0);
    cr_assert_eq(nccl->pieces, 0);
    cr_assert_eq(nccl->ended, 2);
    cr_assert_eq(nccl->aborted, 0);
}

/* In all of them, or in none. */
Test(cuda_nccl, no_room_for_a_window)
{
    nccl->no_room = 1;
    run_ranks(2, 2, 20000, [](gpu_rank &m) {
        float *x = (float *)1;
        CHECK(m, cuda()->exchange_buffer(m.c, &x, N) == TLP_ENOMEM);
        CHECK(m, !x);
        CHECK(m, strstr(tlp_last_error(), "another rank has no memory") ||
                     strstr(tlp_last_error(), "memory for exchanges"));
        CHECK(m, nccl->windows == 0);
        x = exchange_buffer(m);
        summed_steps(m, x, 1, nullptr);
        m.b->ops->buffer_free(m.b, x);
    });
    cr_assert_eq(nccl->in_place, 1);
    cr_assert_eq(nccl->pieces, 0);
}

Test(cuda_nccl, windows_switched_off)
{
    setenv("TLP_CUDA_WINDOWS", "0", 1);
    run_ranks(2, 2, 20000, [](gpu_rank &m) {
        float *x = exchange_buffer(m);
        CHECK(m, nccl->pieces == 0);
        summed_steps(m, x, 2, nullptr);
        m.b->ops->buffer_free(m.b, x);
    });
    cr_assert_eq(nccl->in_place, 0);
    cr_assert_eq(nccl->enqueued, 4);
}

/* What is left of a communicator that was aborted is left alone. */
Test(cuda_nccl, windows_of_an_aborted_communicator)
{
    run_ranks(2, 2, 500,
              [](gpu_rank &m) { left_alone(m, exchange_buffer(m), nullptr); });
    cr_assert_eq(nccl->pieces, 0);
    cr_assert_eq(nccl->stuck, 0);
    cr_assert_gt(nccl->aborted, 0);
}

/* Its communicator ends before its memory. */
Test(cuda_nccl, a_window_that_cannot_be_opened)
{
    nccl->shut = 1;
    run_ranks(2, 2, 20000, [](gpu_rank &m) {
        float *x = nullptr;
        CHECK(m, cuda()->exchange_buffer(m.c, &x, N) == TLP_ECOMM);
        CHECK(m, strstr(tlp_last_error(), "opening a window"));
        CHECK(m, !x);
    });
    cr_assert_eq(nccl->early, 0);
    cr_assert_eq(nccl->pieces, 0);
    cr_assert_eq(nccl->aborted, 2);
}
