/*
 * nccl_stub.cc - see nccl_stub.h.
 *
 * The handle of a communicator and every enqueued or recorded operation share
 * its state.  As in NCCL, the communicator can end only when the handle alone
 * holds the state.
 */
#include "nccl_stub.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace
{
typedef std::vector<float> vec;

struct sum_of {
    std::map<int, vec> from; /* by rank */
    int left, in_window;
};

struct window {
    const char *memory;
    size_t bytes;
};

/* State that the ranks of a communicator share. */
struct group {
    int size;
    std::mutex lock;
    std::condition_variable changed;
    std::map<uint64_t, sum_of> sums;
    std::map<int, std::deque<vec>> mail;      /* by receiver */
    std::map<int, std::map<int, int>> colors; /* of splits, by rank */
    std::map<std::pair<int, int>, std::shared_ptr<group>> parts;
    std::map<int, std::map<int, size_t>> windows; /* bytes, by rank */
};

struct state {
    std::shared_ptr<group> all;
    int rank, n_split, n_window;
    std::vector<window *> windows;
    uint64_t n_sum; /* finished sums */
    std::atomic<bool> aborted;
    void *stream; /* stream of the last operation */
};
} // namespace

struct ncclComm {
    std::shared_ptr<state> s;
};

struct unique_id {
    char bytes[128];
};

static nccl_stub stub;
static std::mutex lock;
static std::map<uint64_t, std::shared_ptr<group>> groups; /* by unique id */

EXPORT nccl_stub *nccl_stub_get()
{
    return &stub;
}

static ncclComm *new_comm(std::shared_ptr<group> g, int rank)
{
    ncclComm *c = new ncclComm();

    c->s.reset(new state());
    c->s->all = std::move(g);
    c->s->rank = rank;
    return c;
}

/* ==== about the library ================================================== */

EXPORT int ncclGetVersion(int *version)
{
    *version = 22809;
    return 0;
}

EXPORT const char *ncclGetErrorString(int)
{
    return "an error of the stub";
}

EXPORT const char *ncclGetLastError(ncclComm *)
{
    return "";
}

EXPORT int ncclCommGetAsyncError(ncclComm *, int *error)
{
    *error = 0;
    return 0;
}

/* ==== lifetime =========================================================== */

EXPORT int ncclGetUniqueId(unique_id *id)
{
    static std::atomic<uint64_t> last;
    uint64_t n = ++last;

    memset(id, 0, sizeof *id);
    memcpy(id, &n, sizeof n);
    return 0;
}

EXPORT int ncclCommInitRankConfig(ncclComm **out, int n_rank, unique_id id,
                                  int rank, void *)
{
    uint64_t n;
    std::lock_guard<std::mutex> hold(lock);

    memcpy(&n, &id, sizeof n);
    std::shared_ptr<group> &g = groups[n];
    if (!g)
        g.reset(new group());
    g->size = n_rank;
    *out = new_comm(g, rank);
    return 0;
}

/* Keys are ranks. */
EXPORT int ncclCommSplit(ncclComm *c, int color, int, ncclComm **out, void *)
{
    group *g = c->s->all.get();
    std::unique_lock<std::mutex> hold(g->lock);
    int nth = c->s->n_split++, rank = 0, size = 0;
    std::map<int, int> &of = g->colors[nth];

    of[c->s->rank] = color;
    g->changed.notify_all();
    g->changed.wait(hold, [&] { return (int)of.size() == g->size; });
    *out = nullptr;
    if (color < 0)
        return 0;
    for (const auto &r : of) {
        rank += r.second == color && r.first < c->s->rank;
        size += r.second == color;
    }
    std::shared_ptr<group> &part = g->parts[{ nth, color }];
    if (!part)
        part.reset(new group());
    part->size = size;
    *out = new_comm(part, rank);
    return 0;
}

/* ==== windows ============================================================ */

/* Memory whose registration as a window failed, and the communicator. */
static std::map<const void *, const state *> stranded;

static void forget(const state *s)
{
    std::lock_guard<std::mutex> hold(lock);

    for (auto i = stranded.begin(); i != stranded.end();)
        i = i->second == s ? stranded.erase(i) : std::next(i);
}

EXPORT int ncclMemAlloc(void **out, size_t bytes)
{
    if (stub.no_room > 0 && stub.no_room-- > 0)
        return 1;
    int e = stub.alloc(out, bytes);
    stub.pieces += e == 0;
    return e;
}

EXPORT int ncclMemFree(void *memory)
{
    stub.pieces--;
    {
        std::lock_guard<std::mutex> hold(lock);
        stub.early += (int)stranded.count(memory);
    }
    return stub.free(memory);
}

/* All ranks call; the call returns when all have called. */
EXPORT int ncclCommWindowRegister(ncclComm *c, void *memory, size_t bytes,
                                  window **out, int flags)
{
    group *g = c->s->all.get();
    std::unique_lock<std::mutex> hold(g->lock);
    std::map<int, size_t> &of = g->windows[c->s->n_window++];

    of[c->s->rank] = bytes;
    g->changed.notify_all();
    g->changed.wait(hold, [&] { return (int)of.size() == g->size; });
    for (const auto &r : of) {
        if (r.second == bytes && flags == 1 && !stub.shut)
            continue;
        std::lock_guard<std::mutex> too(lock);
        stranded[memory] = c->s.get();
        return 4;
    }
    *out = new window{ (const char *)memory, bytes };
    c->s->windows.push_back(*out);
    stub.windows++;
    return 0;
}

EXPORT int ncclCommWindowDeregister(ncclComm *c, window *w)
{
    std::vector<window *> &all = c->s->windows;

    for (size_t i = 0; i < all.size(); i++) {
        if (all[i] != w)
            continue;
        all.erase(all.begin() + (long)i);
        delete w;
        stub.windows--;
        return 0;
    }
    return 4;
}

static bool in_window(const state *s, const float *x, size_t n)
{
    const char *at = (const char *)x;

    for (const window *w : s->windows)
        if (at >= w->memory && at + n * sizeof *x <= w->memory + w->bytes)
            return true;
    return false;
}

/* Open windows are closed with their communicator. */
static void close_windows(state *s)
{
    forget(s);
    for (window *w : s->windows)
        delete w;
    s->windows.clear();
}

/* ==== the end ============================================================ */

/* Wait until only the handle holds the state: NCCL has no deadline. */
static void await_operations(ncclComm *c)
{
    using clock = std::chrono::steady_clock;
    clock::time_point end = clock::now() + std::chrono::milliseconds(1500);

    while (c->s.use_count() > 1 && clock::now() < end) {
        if (c->s->stream)
            stub.go_on(c->s->stream);
        std::this_thread::yield();
    }
    stub.stuck += c->s.use_count() > 1;
}

EXPORT int ncclCommFinalize(ncclComm *c)
{
    await_operations(c);
    return 0;
}

EXPORT int ncclCommDestroy(ncclComm *c)
{
    stub.ended++;
    close_windows(c->s.get());
    delete c;
    return 0;
}

EXPORT int ncclCommAbort(ncclComm *c)
{
    c->s->aborted = true;
    await_operations(c);
    stub.aborted++;
    close_windows(c->s.get());
    delete c;
    return 0;
}

/* ==== operations ========================================================= */

static void enqueue(ncclComm *c, void *stream, std::function<bool()> op)
{
    std::shared_ptr<state> s = c->s;

    s->stream = stream;
    stub.enqueued++;
    stub.enqueue(stream, [s, op] { return s->aborted || op(); });
}

/* Sum in rank order; true when all vectors are there. */
static bool sum(state *s, const float *src, float *dst, size_t n)
{
    std::lock_guard<std::mutex> hold(s->all->lock);
    sum_of &x = s->all->sums[s->n_sum];

    if (!x.from.count(s->rank)) {
        x.from[s->rank] = vec(src, src + n);
        x.in_window += src == dst && in_window(s, src, n);
    }
    if ((int)x.from.size() < s->all->size)
        return false;
    for (size_t i = 0; i < n; i++) {
        dst[i] = 0;
        for (const auto &v : x.from)
            dst[i] += v.second[i];
    }
    if (++x.left == s->all->size) {
        stub.in_place += x.in_window == s->all->size;
        s->all->sums.erase(s->n_sum);
    }
    s->n_sum++;
    return true;
}

EXPORT int ncclAllReduce(const void *src, void *dst, size_t n, int, int,
                         ncclComm *c, void *stream)
{
    state *s = c->s.get();

    enqueue(c, stream,
            [=] { return sum(s, (const float *)src, (float *)dst, n); });
    return 0;
}

EXPORT int ncclSend(const void *src, size_t n, int, int to, ncclComm *c,
                    void *stream)
{
    state *s = c->s.get();

    enqueue(c, stream, [=] {
        const float *x = (const float *)src;
        std::lock_guard<std::mutex> hold(s->all->lock);
        s->all->mail[to].push_back(vec(x, x + n));
        return true;
    });
    return 0;
}

EXPORT int ncclRecv(void *dst, size_t n, int, int, ncclComm *c, void *stream)
{
    state *s = c->s.get();

    enqueue(c, stream, [=] {
        std::lock_guard<std::mutex> hold(s->all->lock);
        std::deque<vec> &mail = s->all->mail[s->rank];
        if (mail.empty())
            return false;
        memcpy(dst, mail.front().data(), n * sizeof(float));
        mail.pop_front();
        return true;
    });
    return 0;
}
