/*
 * test_cuda_comm.cc - exchanges between GPUs, on the emulated device: ranks in
 * threads, on devices of their own and on one.
 */
#include "cuda/gpu_ranks.h"

TestSuite(cuda_comm, .timeout = 900);

/* ==== all-reduce ========================================================= */

/* Less and more than a block, than a grid, and than a slot. */
static const size_t sizes[] = { 1, 31, 256, 257, 8193, 65836 };
#define MOST_FLOATS 65836

static void sum_all_sizes(gpu_rank &m)
{
    float *x = nullptr;
    CHECK(m, m.b->ops->buffer_create(m.b, &x, MOST_FLOATS) == TLP_OK);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t size = sizes[k];
        for (uint64_t i = 0; i < (size < 1000 ? 3u : 1u); i++) {
            uint64_t key = k * 100 + i;
            uint32_t vote = 7;
            std::vector<float> v = payload(size, key, m.rank);
            std::vector<float> own = v;
            m.write(x, v);
            CHECK(m, m.c->ops->allreduce(m.c, x, size, &vote) == TLP_OK);
            CHECK(m, vote == 0);
            CHECK(m, m.read(v, x) == TLP_OK);
            CHECK(m, is_sum(v.data(), size, key, 0, m.n));
            CHECK(m, m.host->ops->allreduce(m.host, own.data(), size,
                                            nullptr) == TLP_OK);
            CHECK(m, memcmp(own.data(), v.data(), size * 4) == 0);
        }
    }
    m.b->ops->buffer_free(m.b, x);
}

/* The bits of rank order, which are those of the host's communicator. */
Test(cuda_comm, sums_have_the_bits_of_rank_order)
{
    run_ranks(1, 1, 20000, sum_all_sizes);
    run_everywhere(2, sum_all_sizes);
    run_ranks(3, 3, 20000, sum_all_sizes);
    run_everywhere(4, sum_all_sizes);
}

Test(cuda_comm, stats_count_exchanges)
{
    run_ranks(2, 2, 20000, [](gpu_rank &m) {
        float *x = nullptr;
        CHECK(m, m.b->ops->buffer_create(m.b, &x, 70000) == TLP_OK);
        CHECK(m, m.c->ops->allreduce(m.c, x, 70000, nullptr) == TLP_OK);
        CHECK(m, m.c->ops->allreduce(m.c, x, 1, nullptr) == TLP_OK);
        CHECK(m, m.c->ops->allreduce(m.c, x, 0, nullptr) == TLP_OK);
        CHECK(m, m.c->stats.allreduces == 2);
        CHECK(m, m.c->stats.bytes == 4 * 70001);
        m.b->ops->buffer_free(m.b, x);
    });
}

/* Two sums and a message, recorded once: every replay works on what lies in the
 * buffers then.  Ranks take turns at being late. */
static void replay(gpu_rank &m)
{
    enum { N = 300, ROUNDS = 9 };
    float *x = nullptr;
    cudaGraph_t graph;
    cudaGraphExec_t exec;

    CHECK(m, m.b->ops->buffer_create(m.b, &x, 2 * N) == TLP_OK);
    CHECK(m, m.c->ops->allreduce(m.c, x, N, nullptr) == TLP_OK);
    CHECK(m, cudaStreamBeginCapture(
                 m.stream(), cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(m, m.c->ops->allreduce(m.c, x, N, nullptr) == TLP_OK);
    CHECK(m, m.c->ops->allreduce(m.c, x, N, nullptr) == TLP_OK);
    if (m.rank < m.n - 1)
        CHECK(m, m.c->ops->send_next(m.c, x, N) == TLP_OK);
    if (m.rank > 0)
        CHECK(m, m.c->ops->recv_prev(m.c, x + N, N) == TLP_OK);
    CHECK(m, cudaStreamEndCapture(m.stream(), &graph) == cudaSuccess);
    CHECK(m, cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
    for (int i = 0; i < ROUNDS; i++) {
        std::vector<float> v(2 * N, 0);
        for (int k = 0; k < N; k++)
            v[(size_t)k] = (float)(m.rank + i + k);
        m.write(x, v);
        if (i % m.n == m.rank)
            std::this_thread::yield();
        CHECK(m, cudaGraphLaunch(exec, m.stream()) == cudaSuccess);
        CHECK(m, m.read(v, x) == TLP_OK);
        for (int k = 0; k < N; k++) {
            int once = m.n * (i + k) + m.n * (m.n - 1) / 2;
            float want = (float)(m.n * once);
            CHECK(m, v[(size_t)k] == want);
            CHECK(m, v[(size_t)(N + k)] == (m.rank > 0 ? want : 0));
        }
    }
    (void)cudaGraphExecDestroy(exec);
    (void)cudaGraphDestroy(graph);
    m.b->ops->buffer_free(m.b, x);
}

Test(cuda_comm, recorded_exchanges_are_replayed)
{
    run_everywhere(2, replay);
    run_ranks(3, 3, 20000, replay);
}

/* ==== messages =========================================================== */

/* Each rank adds one to what the previous sent; the first one runs ahead as far
 * as it may. */
static void pass_on(gpu_rank &m)
{
    static const size_t lengths[] = { 1, 576, 70000, 3 };
    float *x = nullptr;

    CHECK(m, m.b->ops->buffer_create(m.b, &x, 70000) == TLP_OK);
    for (int i = 0; i < 12; i++) {
        size_t n = lengths[(size_t)i % 4];
        std::vector<float> v(n);
        if (m.rank == 0) {
            for (size_t k = 0; k < n; k++)
                v[k] = (float)(k + (size_t)i);
        } else {
            CHECK(m, m.c->ops->recv_prev(m.c, x, n) == TLP_OK);
            CHECK(m, m.read(v, x) == TLP_OK);
        }
        for (size_t k = 0; k < n; k++)
            CHECK(m, v[k] == (float)(k + (size_t)(i + m.rank)));
        for (float &f : v)
            f += 1;
        m.write(x, v);
        if (m.rank < m.n - 1)
            CHECK(m, m.c->ops->send_next(m.c, x, n) == TLP_OK);
    }
    if (m.rank == 0)
        CHECK(m, m.c->ops->recv_prev(m.c, x, 1) == TLP_EINVAL);
    if (m.rank == m.n - 1)
        CHECK(m, m.c->ops->send_next(m.c, x, 1) == TLP_EINVAL);
    m.b->ops->buffer_free(m.b, x);
}

Test(cuda_comm, messages_go_down_the_chain)
{
    run_everywhere(2, pass_on);
    run_everywhere(4, pass_on);
}

/* ==== groups ============================================================= */

static void split(gpu_rank &m)
{
    tlpi_comm *front = nullptr, *back = nullptr, *one = nullptr;
    float *x = nullptr;

    CHECK(m, m.b->ops->buffer_create(m.b, &x, 600) == TLP_OK);
    CHECK(m, m.c->ops->split(m.c, 0, 2, &front) == TLP_OK);
    CHECK(m, m.c->ops->split(m.c, 1, 3, &back) == TLP_OK);
    CHECK(m, m.c->ops->split(m.c, 3, 1, &one) == TLP_OK);
    CHECK(m, (front != nullptr) == (m.rank < 2));
    CHECK(m, (back != nullptr) == (m.rank > 0));
    CHECK(m, (one != nullptr) == (m.rank == 3));
    for (uint64_t i = 0; i < 6; i++) {
        std::vector<float> v = payload(600, i, m.rank);
        if (front) {
            m.write(x, v);
            CHECK(m, front->ops->allreduce(front, x, 600, nullptr) == TLP_OK);
            CHECK(m, m.read(v, x) == TLP_OK);
            CHECK(m, is_sum(v.data(), 600, i, 0, 2));
        }
        if (back) {
            m.write(x, payload(600, i, m.rank));
            CHECK(m, back->ops->allreduce(back, x, 600, nullptr) == TLP_OK);
            CHECK(m, m.read(v, x) == TLP_OK);
            CHECK(m, is_sum(v.data(), 600, i, 1, 3));
        }
    }
    if (one)
        CHECK(m, one->ops->allreduce(one, x, 600, nullptr) == TLP_OK);
    CHECK(m, m.c->ops->allreduce(m.c, x, 600, nullptr) == TLP_OK);
    tlpi_comm_free(front);
    tlpi_comm_free(one);
    tlpi_comm_free(back);
    m.b->ops->buffer_free(m.b, x);
}

Test(cuda_comm, groups_sum_among_themselves)
{
    run_everywhere(4, split);
}

/* ==== failing ============================================================ */

/* Rank 1 never comes: rank 0's kernel ends by itself, and all that follows
 * fails at once. */
static void wait_in_vain(gpu_rank &m)
{
    float *x = nullptr;
    std::vector<float> v(10);
    timespec start;

    CHECK(m, m.b->ops->buffer_create(m.b, &x, 10) == TLP_OK);
    if (m.rank == 0) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        (void)m.c->ops->allreduce(m.c, x, 10, nullptr);
        CHECK(m, m.read(v, x) == TLP_ETIMEDOUT);
        CHECK(m, since(start) > 0.25 && since(start) < 3);
        CHECK(m, strstr(tlp_last_error(),
                        "rank 1 did not answer rank 0 within 300 ms"));
        CHECK(m, m.c->ops->allreduce(m.c, x, 10, nullptr) == TLP_ETIMEDOUT);
        CHECK(m, since(start) < 3);
    } else {
        nap(1);
        CHECK(m, m.c->ops->allreduce(m.c, x, 10, nullptr) == TLP_ECOMM);
        CHECK(m, strstr(tlp_last_error(), "rank 0 gave up"));
    }
    m.b->ops->buffer_free(m.b, x);
}

Test(cuda_comm, a_peer_that_never_comes)
{
    run_ranks(2, 2, 300, wait_in_vain);
}

/* The sender cannot run further ahead than its mail reaches. */
static void mail_in_vain(gpu_rank &m)
{
    float *x = nullptr;
    std::vector<float> v(10);

    CHECK(m, m.b->ops->buffer_create(m.b, &x, 10) == TLP_OK);
    if (m.rank == 0) {
        for (int i = 0; i < 2; i++)
            CHECK(m, m.c->ops->send_next(m.c, x, 10) == TLP_OK);
        CHECK(m, m.read(v, x) == TLP_OK);
        (void)m.c->ops->send_next(m.c, x, 10);
        CHECK(m, m.read(v, x) == TLP_ETIMEDOUT);
    }
    m.b->ops->buffer_free(m.b, x);
}

Test(cuda_comm, a_message_that_nobody_takes)
{
    run_ranks(2, 2, 300, mail_in_vain);
}

/* Rank 1 gives up while the others wait for it, on the device or before. */
static void give_up(gpu_rank &m)
{
    float *x = nullptr;
    std::vector<float> v(10);
    timespec start;

    CHECK(m, m.b->ops->buffer_create(m.b, &x, 10) == TLP_OK);
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (m.rank == 1) {
        nap(0.1);
        m.c->ops->abort(m.c);
    } else {
        (void)m.c->ops->allreduce(m.c, x, 10, nullptr);
        CHECK(m, m.read(v, x) == TLP_ECOMM);
        CHECK(m, strstr(tlp_last_error(), "rank 1 gave up"));
    }
    CHECK(m, m.c->ops->allreduce(m.c, x, 10, nullptr) == TLP_ECOMM);
    CHECK(m,
          m.host->ops->allreduce(m.host, v.data(), 10, nullptr) == TLP_ECOMM);
    CHECK(m, since(start) < 10);
    m.b->ops->buffer_free(m.b, x);
}

Test(cuda_comm, a_rank_that_gives_up)
{
    run_everywhere(3, give_up);
}

/* A family fails together. */
static void give_up_in_group(gpu_rank &m)
{
    tlpi_comm *sub = nullptr;
    float *x = nullptr;
    std::vector<float> v(10);

    CHECK(m, m.b->ops->buffer_create(m.b, &x, 10) == TLP_OK);
    CHECK(m, m.c->ops->split(m.c, 0, 2, &sub) == TLP_OK);
    if (m.rank == 2) {
        nap(0.1);
        m.c->ops->abort(m.c);
    } else if (m.rank == 0) {
        (void)sub->ops->allreduce(sub, x, 10, nullptr);
        CHECK(m, m.read(v, x) == TLP_ECOMM);
    }
    m.b->ops->buffer_free(m.b, x);
    tlpi_comm_free(sub);
}

Test(cuda_comm, a_family_gives_up_together)
{
    run_ranks(3, 3, 20000, give_up_in_group);
}

static void refused(gpu_rank &m)
{
    CHECK(m, m.c == nullptr);
    CHECK(m, m.text.find("cannot reach each other's memory need NCCL: rank 0 "
                         "has no NCCL") != std::string::npos);
}

Test(cuda_comm, without_peer_access_and_nccl_there_is_no_way)
{
    setenv("TLP_EMU_PEERS", "0", 1);
    run_ranks(2, 2, 20000, refused);
    setenv("TLP_EMU_PEERS", "1", 1);
    run_ranks(2, 2, 20000, [](gpu_rank &m) { CHECK(m, m.c != nullptr); });
}

/* Slots of two ranks need 3 MiB: rank 1's device has less left. */
static void no_room(gpu_rank &m)
{
    char *rest = nullptr;
    size_t free = 0, total = 0;
    tlpi_comm *c = nullptr;

    CHECK(m, cudaMemGetInfo(&free, &total) == cudaSuccess);
    if (m.rank == 1)
        CHECK(m, cudaMalloc(&rest, free - (1 << 20)) == cudaSuccess);
    CHECK(m, cuda()->comm_create(&c, m.host, m.b, 20000) == TLP_ENOMEM);
    CHECK(m, c == nullptr);
    CHECK(m,
          strstr(tlp_last_error(), m.rank == 1 ? "no room" : "another rank"));
    CHECK(m, m.c->ops->split(m.c, 0, 2, &c) == TLP_ENOMEM);
    CHECK(m, c == nullptr);
    if (rest)
        CHECK(m, cudaFree(rest) == cudaSuccess);
    float *x = nullptr;
    CHECK(m, m.b->ops->buffer_create(m.b, &x, 4) == TLP_OK);
    CHECK(m, m.c->ops->allreduce(m.c, x, 4, nullptr) == TLP_OK);
    m.b->ops->buffer_free(m.b, x);
}

Test(cuda_comm, no_memory_for_slots)
{
    setenv("TLP_EMU_MEMORY", "128", 1);
    run_ranks(2, 2, 20000, no_room);
}

/* ==== telling the others fails =========================================== */

namespace
{
/* A member's host communicator, of which the nth broadcast from rank 0 reaches
 * the others and fails. */
struct deaf {
    tlpi_comm base;
    tlpi_comm *host;
    tlpi_comm_ops ops;
    int left;
};
} // namespace

static tlp_status deaf_allreduce(tlpi_comm *c, float *x, size_t n,
                                 uint32_t *vote)
{
    tlpi_comm *host = ((deaf *)c)->host;
    return host->ops->allreduce(host, x, n, vote);
}

static tlp_status deaf_gather(tlpi_comm *c, const void *src,
                              const size_t *bytes, void *dst)
{
    tlpi_comm *host = ((deaf *)c)->host;
    return host->ops->gather(host, src, bytes, dst);
}

static tlp_status deaf_bcast(tlpi_comm *c, void *buf, size_t bytes, bool idle)
{
    deaf *d = (deaf *)c;
    tlp_status st = d->host->ops->bcast(d->host, buf, bytes, idle);

    return st == TLP_OK && --d->left == 0 && c->rank == 0
               ? tlpi_fail(TLP_ECOMM, "not heard")
               : st;
}

static void fail_at(gpu_rank &m, int nth)
{
    deaf d = {};
    tlpi_comm *c = nullptr;

    d.base = *m.host;
    d.base.ops = &d.ops;
    d.ops.allreduce = deaf_allreduce;
    d.ops.gather = deaf_gather;
    d.ops.bcast = deaf_bcast;
    d.host = m.host;
    d.left = nth;
    CHECK(m, cuda()->comm_create(&c, &d.base, m.b, 20000) == TLP_ECOMM);
    CHECK(m, c == nullptr);
    m.host->ops->abort(m.host);
}

/* Nothing is left, and nothing is given back twice. */
Test(cuda_comm, what_was_made_for_others_goes_when_they_cannot_be_told)
{
    for (int nth = 1; nth <= 2; nth++) {
        run_ranks(3, 3, 20000, [=](gpu_rank &m) { fail_at(m, nth); });
        for (int device = 0; device < 3; device++) {
            size_t free = 0, total = 0;
            CUDA_OK(cudaSetDevice(device));
            CUDA_OK(cudaMemGetInfo(&free, &total));
            cr_assert_eq(free, total);
        }
    }
}

/* ==== ranks on one device ================================================ */

/* Rank 1 is late with its graph: rank 0 does not wait for it on the device,
 * where its patience is short. */
Test(cuda_comm, recorded_steps_begin_when_all_have_their_graphs)
{
    run_ranks(2, 1, 300, [](gpu_rank &m) {
        const int32_t none = 0;
        tlpi_step s = { 1, &none, &none, &none };
        tlpi_want want = { &none, 1, 0, 0 };
        float *x = nullptr;
        CHECK(m, m.b->ops->buffer_create(m.b, &x, 8) == TLP_OK);
        for (int i = 0; i < 3; i++) {
            tlp_status st = TLP_OK;
            if (!m.b->ops->begin_step(m.b, &s, &want))
                st = m.c->ops->allreduce(m.c, x, 8, nullptr);
            if (m.rank == 1 && i == 1)
                nap(1);
            CHECK(m, m.b->ops->end_step(m.b, st) == TLP_OK);
            CHECK(m, tlpi_gpu_wait(tlpi_gpu_of(m.b)) == TLP_OK);
        }
        m.b->ops->buffer_free(m.b, x);
    });
}

/* The same for a message, and for one that follows before it was taken. */
Test(cuda_comm, neighbours_on_one_device_wait_on_the_host)
{
    run_ranks(2, 1, 300, [](gpu_rank &m) {
        float *x = nullptr;
        CHECK(m, m.b->ops->buffer_create(m.b, &x, 8) == TLP_OK);
        for (int i = 0; i < 6; i++) {
            if (i == (m.rank == 0 ? 1 : 3))
                nap(1);
            CHECK(m, (m.rank == 0 ? m.c->ops->send_next(m.c, x, 8)
                                  : m.c->ops->recv_prev(m.c, x, 8)) == TLP_OK);
        }
        CHECK(m, tlpi_gpu_wait(tlpi_gpu_of(m.b)) == TLP_OK);
        m.b->ops->buffer_free(m.b, x);
    });
}
