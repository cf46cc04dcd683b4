/*
 * gpu_ranks.h - ranks in threads for tests of exchanges, on devices of their
 * own or on one device.
 */
#ifndef GPU_RANKS_H
#define GPU_RANKS_H

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>

extern "C" {
#include "comm/comm.h"
#include "device/device.h"
#include "support/payload.h"
}

#include "cuda/on_device.h"
#include "gpu.h"

extern "C" const tlpi_device_ops *tlpi_device_v1(const tlpi_device_host *host);

static inline tlp_status ranks_fail(tlp_status st, const char *text)
{
    return tlpi_fail(st, "%s", text);
}

static inline const tlpi_device_ops *cuda()
{
    static const tlpi_device_host host = { ranks_fail, nullptr };
    return tlpi_device_v1(&host);
}

namespace
{
/* One rank.  The main thread makes all assertions; a rank records its first
 * failed line. */
struct gpu_rank {
    int rank, n;
    tlpi_comm *host, *c;
    tlpi_backend *b;
    int bad_line;
    std::string text;
    std::thread thread;

    cudaStream_t stream() const
    {
        return tlpi_gpu_of(b)->stream;
    }
    void write(float *dst, const std::vector<float> &x)
    {
        b->ops->write(b, dst, x.data(), x.size());
    }
    tlp_status read(std::vector<float> &x, const float *src)
    {
        return b->ops->read(b, x.data(), src, x.size());
    }
};
} // namespace

#define CHECK(m, cond)                                                         \
    do {                                                                       \
        if (!(cond)) {                                                         \
            (m).bad_line = __LINE__;                                           \
            (m).text = tlp_last_error();                                       \
            if ((m).c)                                                         \
                (m).c->ops->abort((m).c);                                      \
            return;                                                            \
        }                                                                      \
    } while (0)

typedef std::function<void(gpu_rank &)> work;

/* Pieces of host memory that are not freed. */
static std::atomic<int> ranks_pieces;

static inline void *ranks_alloc(size_t size, size_t align, void *)
{
    ranks_pieces++;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static inline void ranks_free(void *p, size_t, void *)
{
    ranks_pieces--;
    free(p);
}

/* Rank r works on device r % n_device. */
static inline void live(gpu_rank &m, int n_device, int timeout_ms,
                        const work &fn)
{
    tlpi_backend_options o = {};

    o.n_thread = o.n_machine = 1;
    o.max_tok = 8;
    o.max_cols = 64;
    o.max_terms = 3;
    o.max_attn = 1;
    CHECK(m, cuda()->backend_create(&m.b, m.host->env, &o, m.rank % n_device) ==
                 TLP_OK);
    if (cuda()->comm_create(&m.c, m.host, m.b, timeout_ms) == TLP_OK) {
        fn(m);
        tlpi_comm_free(m.c); /* NULL if fn has freed it */
    } else {
        m.text = tlp_last_error();
        fn(m);
    }
    m.b->ops->free(m.b);
}

static inline void run_ranks(int n, int n_device, int timeout_ms,
                             const work &fn)
{
    const tlp_allocator mem = { ranks_alloc, ranks_free, nullptr };
    tlpi_env env;
    std::vector<tlpi_comm *> host((size_t)n);
    std::vector<gpu_rank> all((size_t)n);

    setenv("TLP_EMU_DEVICES", std::to_string(n_device).c_str(), 1);
    setenv("TLP_NCCL", "/no/such/libnccl.so.2", 0);
    cr_assert_eq(tlpi_env_init(&env, &mem, nullptr, nullptr), TLP_OK);
    cr_assert_eq(tlpi_comm_threads_create(host.data(), &env, n, n, 60000),
                 TLP_OK);
    for (int r = 0; r < n; r++) {
        gpu_rank &m = all[(size_t)r];
        m.rank = r;
        m.n = n;
        m.host = host[(size_t)r];
        m.c = nullptr;
        m.b = nullptr;
        m.bad_line = 0;
        m.thread = std::thread([&m, n_device, timeout_ms, &fn] {
            live(m, n_device, timeout_ms, fn);
        });
    }
    for (gpu_rank &m : all)
        m.thread.join();
    for (int r = 0; r < n; r++)
        tlpi_comm_free(host[(size_t)r]);
    for (gpu_rank &m : all)
        cr_assert_eq(m.bad_line, 0, "rank %d of %d on %d devices: line %d: %s",
                     m.rank, n, n_device, m.bad_line, m.text.c_str());
    cr_assert_eq(ranks_pieces, 0, "%d pieces left", (int)ranks_pieces);
}

/* Run on as many devices as ranks, and on one device. */
static inline void run_everywhere(int n, const work &fn)
{
    run_ranks(n, n, 20000, fn);
    run_ranks(n, 1, 20000, fn);
}

static inline std::vector<float> payload(size_t n, uint64_t key, int rank)
{
    std::vector<float> x(n);
    fill(x.data(), n, key, rank);
    return x;
}

static inline double since(const timespec &t)
{
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t.tv_sec) +
           (double)(now.tv_nsec - t.tv_nsec) * 1e-9;
}

static inline void nap(double seconds)
{
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

#endif
