/*
 * test_cuda_comm_norm.cc - the all-reduce that adds to the residual stream and
 * normalises it, on the emulated device: the bits of the calls it stands for.
 */
#include "cuda/gpu_ranks.h"

TestSuite(cuda_comm_norm, .timeout = 900);

static constexpr float EPS = 1e-5f;

namespace
{
/* x, delta, and one buffer for each norm: [n_tok][cols]; weights [cols]. */
struct stream {
    gpu_rank &m;
    int n_tok, cols, n_norm;
    float *x, *delta, *y, *w;
    std::vector<tlpi_norm> norm;

    stream(gpu_rank &of, int t, int c, int n)
        : m(of), n_tok(t), cols(c), n_norm(n), x(create(size())),
          delta(create(size())), y(create(size() * (size_t)(n + 1))),
          w(create((size_t)(c * (n + 1))))
    {
        for (int k = 0; k < n; k++)
            norm.push_back({ w + (size_t)(k * c), y + (size_t)k * size() });
    }
    stream(const stream &) = delete;
    ~stream()
    {
        for (float *p : { x, delta, y, w })
            m.b->ops->buffer_free(m.b, p);
    }
    float *create(size_t n)
    {
        float *p = nullptr;
        return m.b->ops->buffer_create(m.b, &p, n) == TLP_OK ? p : nullptr;
    }
    size_t size() const
    {
        return (size_t)n_tok * (size_t)cols;
    }
    /* delta differs from rank to rank, the rest does not */
    void fill(uint64_t key)
    {
        m.write(x, payload(size(), key, 0));
        m.write(delta, payload(size(), key + 1, m.rank));
        m.write(w, payload((size_t)(cols * (n_norm + 1)), key + 2, 0));
        m.write(y, std::vector<float>(size() * (size_t)(n_norm + 1), 0));
    }
    tlp_status two_calls()
    {
        tlp_status st = m.c->ops->allreduce(m.c, delta, size(), nullptr);
        if (st == TLP_OK)
            m.b->ops->add_norm(m.b, n_tok, cols, x, delta, x, norm.data(),
                               n_norm, EPS);
        return st;
    }
    tlp_status one_call()
    {
        return cuda()->allreduce_add_norm(m.c, n_tok, cols, x, delta,
                                          norm.data(), n_norm, EPS);
    }
    /* x, delta, norms */
    std::vector<float> all()
    {
        std::vector<float> out, v(size()), u(size() * (size_t)n_norm);
        bool good = m.read(v, x) == TLP_OK;
        out = v;
        good = good && m.read(v, delta) == TLP_OK;
        out.insert(out.end(), v.begin(), v.end());
        good = good && (n_norm == 0 || m.read(u, y) == TLP_OK);
        out.insert(out.end(), u.begin(), u.end());
        return good ? out : std::vector<float>();
    }
};
} // namespace

static bool same(const std::vector<float> &a, const std::vector<float> &b)
{
    return !a.empty() && a.size() == b.size() &&
           memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

static uint64_t launches(const gpu_rank &m)
{
    tlpi_device_stats s = {};
    return cuda()->stats(m.b, &s) == TLP_OK ? s.launches : 0;
}

/* fused: is there a kernel for this shape?  Else it is the two calls. */
static void compare(gpu_rank &m, int n_tok, int cols, int n_norm, bool fused)
{
    stream s(m, n_tok, cols, n_norm);
    tlpi_comm_stats before = m.c->stats;

    s.fill(7);
    uint64_t from = launches(m);
    CHECK(m, s.two_calls() == TLP_OK);
    uint64_t apart = launches(m) - from;
    std::vector<float> want = s.all();
    s.fill(7);
    from = launches(m);
    CHECK(m, s.one_call() == TLP_OK);
    uint64_t at_once = launches(m) - from;
    CHECK(m, same(want, s.all()));
    CHECK(m, at_once == (fused ? 1 : apart));
    CHECK(m, m.c->stats.allreduces - before.allreduces == 2);
    CHECK(m, m.c->stats.bytes - before.bytes == 2 * 4 * s.size());
}

static const struct {
    int n_tok, cols, n_norm;
    bool fused;
} shapes[] = {
    { 1, 1, 1, true },     { 1, 100, 0, true },   { 1, 576, 2, true },
    { 3, 2048, 1, true },  { 1, 4100, 1, true },  { 2, 8192, 3, true },
    { 8, 576, 2, true },   { 16, 320, 16, true }, { 16, 4096, 1, true },
    { 17, 64, 1, false },  /* many tokens */
    { 2, 64, 17, false },  /* many norms */
    { 16, 5000, 1, false } /* more than a slot */
};

static void compare_shapes(gpu_rank &m)
{
    for (const auto &s : shapes)
        if (m.bad_line == 0)
            compare(m, s.n_tok, s.cols, s.n_norm, s.fused);
}

Test(cuda_comm_norm, the_bits_of_two_calls)
{
    run_everywhere(2, compare_shapes);
    run_ranks(3, 3, 20000, compare_shapes);
}

/* One rank has nobody to ask: add_norm alone. */
Test(cuda_comm_norm, one_rank)
{
    run_ranks(1, 1, 20000, [](gpu_rank &m) {
        stream s(m, 2, 576, 2);
        s.fill(3);
        CHECK(m, s.two_calls() == TLP_OK);
        std::vector<float> want = s.all();
        s.fill(3);
        CHECK(m, s.one_call() == TLP_OK);
        CHECK(m, same(want, s.all()));
        CHECK(m, m.c->stats.allreduces == 0);
    });
}

/* Recorded twice in a row, with a plain sum between, and replayed with what
 * lies in the buffers then. */
static void replay(gpu_rank &m, int n_tok, int cols)
{
    stream s(m, n_tok, cols, 2);
    cudaGraph_t graph;
    cudaGraphExec_t exec;

    CHECK(m, cudaStreamBeginCapture(
                 m.stream(), cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(m, s.one_call() == TLP_OK);
    CHECK(m, m.c->ops->allreduce(m.c, s.x, s.size(), nullptr) == TLP_OK);
    CHECK(m, s.one_call() == TLP_OK);
    CHECK(m, cudaStreamEndCapture(m.stream(), &graph) == cudaSuccess);
    CHECK(m, cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
    for (uint64_t i = 0; i < 4; i++) {
        s.fill(10 * i);
        CHECK(m, s.two_calls() == TLP_OK);
        CHECK(m, m.c->ops->allreduce(m.c, s.x, s.size(), nullptr) == TLP_OK);
        CHECK(m, s.two_calls() == TLP_OK);
        std::vector<float> want = s.all();
        s.fill(10 * i);
        CHECK(m, cudaGraphLaunch(exec, m.stream()) == cudaSuccess);
        CHECK(m, same(want, s.all()));
    }
    (void)cudaGraphExecDestroy(exec);
    (void)cudaGraphDestroy(graph);
}

Test(cuda_comm_norm, recorded)
{
    run_everywhere(2, [](gpu_rank &m) { replay(m, 1, 576); });
    run_everywhere(2, [](gpu_rank &m) { replay(m, 8, 300); });
}

/* A peer that never comes ends it, as it ends other exchanges. */
Test(cuda_comm_norm, a_peer_that_never_comes)
{
    run_ranks(2, 2, 300, [](gpu_rank &m) {
        stream s(m, 1, 576, 1);
        std::vector<float> v(10);
        s.fill(1);
        if (m.rank == 1) /* lives until the other has given up */
            while (m.read(v, s.x) == TLP_OK)
                std::this_thread::yield();
        else
            CHECK(m, s.one_call() == TLP_OK && m.read(v, s.x) == TLP_ETIMEDOUT);
    });
}
