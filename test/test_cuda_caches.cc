/*
 * test_cuda_caches.cc - what the CUDA backend remembers of shapes: more of them
 * than it has room for, on the emulated device.
 */
#include "cuda/gpu_ranks.h"

TestSuite(cuda_caches, .timeout = 120);

static tlpi_env env;
static tlpi_backend *gpu;
static int before; /* objects that others have left */

static void open_gpu(int max_tok)
{
    tlpi_backend_options o = {};

    o.n_thread = o.n_machine = 1;
    o.max_tok = max_tok;
    o.max_cols = 64;
    o.max_terms = 3;
    o.max_attn = 1;
    before = emu_live_objects();
    cr_assert_eq(tlpi_env_init(&env, nullptr, nullptr, nullptr), TLP_OK);
    cr_assert_eq(cuda()->backend_create(&gpu, &env, &o, 0), TLP_OK, "%s",
                 tlp_last_error());
}

/* Nothing is left behind. */
static void close_gpu()
{
    gpu->ops->free(gpu);
    cr_assert_eq(emu_live_objects(), before);
}

static int live()
{
    return emu_live_objects() - before;
}

/* ==== graphs ============================================================= */

namespace
{
/* Steps that add x to y, n_tok at once, whatever version they have. */
struct steps {
    enum { N = 40 };
    float *x = nullptr, *y = nullptr;
    float done = 0;

    steps()
    {
        std::vector<float> one(N, 1), zero(N, 0);
        cr_assert_eq(gpu->ops->buffer_create(gpu, &x, N), TLP_OK);
        cr_assert_eq(gpu->ops->buffer_create(gpu, &y, N), TLP_OK);
        gpu->ops->write(gpu, x, one.data(), N);
        gpu->ops->write(gpu, y, zero.data(), N);
    }
    steps(const steps &) = delete;
    ~steps()
    {
        gpu->ops->buffer_free(gpu, x);
        gpu->ops->buffer_free(gpu, y);
    }
    void run(uint32_t version)
    {
        static const int32_t id = 0, seq = 0, pos = 0, row = 0;
        tlpi_step step = { 1, &id, &seq, &pos };
        tlpi_want want = { &row, 1, 0, version };
        std::vector<float> v(N);

        if (!gpu->ops->begin_step(gpu, &step, &want))
            gpu->ops->add(gpu, y, x, N);
        cr_assert_eq(gpu->ops->end_step(gpu, TLP_OK), TLP_OK);
        cr_assert_eq(gpu->ops->read(gpu, v.data(), y, N), TLP_OK);
        done += 1;
        for (float f : v)
            cr_assert(f == done, "version %u: %g, not %g", version, (double)f,
                      (double)done);
    }
};
} // namespace

static void expect_graphs(uint64_t recorded, uint64_t replayed)
{
    tlpi_device_stats s = {};

    cr_assert_eq(cuda()->stats(gpu, &s), TLP_OK);
    cr_assert(s.recorded == recorded && s.replayed == replayed,
              "%d recorded, %d replayed", (int)s.recorded, (int)s.replayed);
}

/* The 16 that were used last are kept; the others begin anew. */
Test(cuda_caches, more_steps_than_graphs)
{
    open_gpu(8);
    {
        steps s;
        for (uint32_t v = 0; v < 20; v++)
            for (int k = 0; k < 3; k++) /* seen, recorded, replayed */
                s.run(v);
        expect_graphs(20, 20);
        cr_assert_eq(live(), 16);
        for (uint32_t v = 4; v < 20; v++)
            s.run(v);
        expect_graphs(20, 36);
        s.run(0); /* in the place of 4 */
        expect_graphs(20, 36);
        cr_assert_eq(live(), 15);
        s.run(0);
        s.run(0);
        expect_graphs(21, 37);
        for (uint32_t v = 5; v < 20; v++)
            s.run(v);
        expect_graphs(21, 52);
        s.run(4); /* in the place of 0 */
        expect_graphs(21, 52);
    }
    close_gpu();
}

/* Shapes that come once push out each other, not the one that comes between. */
Test(cuda_caches, steps_that_come_once)
{
    open_gpu(8);
    {
        steps s;
        for (uint32_t v = 0; v < 50; v++) {
            s.run(1000); /* between the others, always the newest */
            s.run(v);
        }
        expect_graphs(1, 48);
        cr_assert_eq(live(), 1);
    }
    close_gpu();
}

/* ==== products =========================================================== */

/* y = W x for n_tok tokens, in numbers that leave no rest. */
static void multiply(const tlpi_weight *w, int n_tok)
{
    enum { ROWS = 3, COLS = 8 };
    size_t n_x = (size_t)(n_tok * COLS), n_y = (size_t)(n_tok * ROWS);
    std::vector<float> v(n_x), got(n_y);
    float *x = nullptr, *y = nullptr;

    for (size_t i = 0; i < n_x; i++)
        v[i] = (float)(i % 7);
    cr_assert_eq(gpu->ops->buffer_create(gpu, &x, n_x), TLP_OK);
    cr_assert_eq(gpu->ops->buffer_create(gpu, &y, n_y), TLP_OK);
    gpu->ops->write(gpu, x, v.data(), n_x);
    tlpi_term term = { w, x, 1, NULL, NULL };
    tlpi_matmul m = { &term, 1, nullptr, false, y };
    gpu->ops->matmul(gpu, n_tok, &m, 1);
    cr_assert_eq(gpu->ops->read(gpu, got.data(), y, n_y), TLP_OK, "%s",
                 tlp_last_error());
    for (size_t i = 0; i < n_y; i++) {
        float want = 0;
        for (size_t c = 0; c < COLS; c++)
            want += (float)(i % ROWS * COLS + c) * v[i / ROWS * COLS + c];
        cr_assert(got[i] == want, "%d tokens, element %zu", n_tok, i);
    }
    gpu->ops->buffer_free(gpu, x);
    gpu->ops->buffer_free(gpu, y);
}

/* cuBLASLt is asked once for each of 128 shapes, and again for one that made
 * room for a later one. */
Test(cuda_caches, more_products_than_choices)
{
    enum { FIRST = 9, N = 140, KEPT = 128 }; /* tokens: not those of gemv */
    float numbers[24];
    tlpi_tensor t = {};
    tlpi_weight *w = nullptr;
    bool copied = false;

    for (int i = 0; i < 24; i++)
        numbers[i] = (float)i;
    t.type = TLPI_F32;
    t.ne[0] = 8;
    t.ne[1] = 3;
    t.data = (const uint8_t *)numbers;
    open_gpu(FIRST + N);
    cr_assert_eq(gpu->ops->weight_create(gpu, &w, &t, 0, 3, 0, 8, &copied),
                 TLP_OK);
    int asked = emu_heuristics_asked();
    for (int i = 0; i < N; i++)
        multiply(w, FIRST + i);
    cr_assert_eq(emu_heuristics_asked() - asked, N);
    cr_assert_eq(live(), 4 * KEPT); /* the product, its three matrices */
    for (int i = N - KEPT; i < N; i++)
        multiply(w, FIRST + i);
    cr_assert_eq(emu_heuristics_asked() - asked, N);
    for (int i = 0; i < N - KEPT; i++)
        multiply(w, FIRST + i);
    cr_assert_eq(emu_heuristics_asked() - asked, 2 * N - KEPT);
    cr_assert_eq(live(), 4 * KEPT);
    gpu->ops->weight_free(w);
    close_gpu();
}
