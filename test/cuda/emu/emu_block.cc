/*
 * emu_block.cc - the threads of a block, as fibers of one host thread.
 *
 * A fiber takes thread after thread and runs each to its end; only when one has
 * to wait does it stay with it, and another fiber takes the next.  So a kernel
 * that never waits costs no switch at all, and one that only shuffles needs a
 * fiber for each lane of one warp.  Whoever cannot go on picks the next itself:
 * first those whose wait is over, then threads that have not begun.  When there
 * are neither, the block has locked itself up, which is reported.
 */
#include <cstdarg>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "emu_block.h"
#include "emu_runner.h"

EMU_TLS uint3 threadIdx, blockIdx, blockDim, gridDim;
EMU_TLS unsigned char *emu_dynamic_shared;

#define CANARY 0xa5
#define CANARY_BYTES ((size_t)64)

static emu_runner *here()
{
    static thread_local std::unique_ptr<emu_runner> own;

    if (!own)
        own.reset(new emu_runner());
    return own.get();
}

EMU_TLS emu_runner *emu_running;

int emu_lane()
{
    return emu_running->now & 31;
}

static void become(emu_runner *r, int t)
{
    unsigned i = (unsigned)t;

    r->now = t;
    r->thread[t].state = RUNNING;
    threadIdx.x = i % r->dim.x;
    threadIdx.y = i / r->dim.x % r->dim.y;
    threadIdx.z = i / r->dim.x / r->dim.y;
}

/* ==== faults ============================================================= */

static std::mutex fault_lock;
static std::string last_fault;

const char *emu_take_fault()
{
    static thread_local std::string text;
    std::lock_guard<std::mutex> hold(fault_lock);

    text = last_fault;
    last_fault.clear();
    return text.c_str();
}

void emu_note_fault(const char *text)
{
    std::lock_guard<std::mutex> hold(fault_lock);

    fprintf(stderr, "emulated CUDA: %s\n", text);
    last_fault = text;
}

emu_text emu_place_text(const emu_place &at)
{
    const char *slash = strrchr(at.file, '/');
    emu_text text;

    snprintf(text.s, sizeof text.s, "%s at %s:%d", at.what,
             slash ? slash + 1 : at.file, at.line);
    return text;
}

void emu_fault(emu_place at, const char *fmt, ...)
{
    emu_runner *r = emu_running;
    char text[1024], why[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    snprintf(text, sizeof text, "block (%u, %u, %u), thread %d: %s: %s",
             blockIdx.x, blockIdx.y, blockIdx.z, r->now, emu_place_text(at).s,
             why);
    emu_note_fault(text);
    r->faulted = true;
    emu_fiber_switch(&r->fibers[(size_t)r->fiber_now]->fiber, &r->host);
    abort(); /* nobody switches back */
}

/* ==== who runs next ====================================================== */

static void fiber_main();

/* An idle fiber, or a new one. */
static int take_fiber(emu_runner *r)
{
    if (!r->idle.empty()) {
        int f = r->idle.back();
        r->idle.pop_back();
        return f;
    }
    std::unique_ptr<worker_fiber> w(new worker_fiber());
    if (!emu_fiber_create(&w->fiber))
        abort(); /* address space is gone: nothing a test could do */
    emu_fiber_reset(&w->fiber, fiber_main);
    w->thread = -1;
    r->fibers.push_back(std::move(w));
    return (int)r->fibers.size() - 1;
}

static void go_to(emu_runner *r, int f)
{
    int old = r->fiber_now;

    if (f == old)
        return;
    r->fiber_now = f;
    emu_fiber_switch(&r->fibers[(size_t)old]->fiber,
                     &r->fibers[(size_t)f]->fiber);
}

void emu_make_ready(emu_runner *r, int t)
{
    r->ready[r->ready_tail++ % MAX_THREADS] = t;
}

static emu_text waiting_text(const emu_runner *r)
{
    emu_text text = { "" };
    size_t n = 0;
    int shown = 0;

    for (int t = 0; t < r->n && shown < 4; t++) {
        const emu_thread *th = &r->thread[t];
        if (th->state != AT_BARRIER && th->state != IN_WARP)
            continue;
        snprintf(text.s + n, sizeof text.s - n, "%sthread %d in %s",
                 shown++ ? ", " : "", t, emu_place_text(th->at).s);
        n = strlen(text.s);
    }
    return text;
}

/* The running thread cannot go on: run others until it can. */
void emu_run_others(emu_runner *r)
{
    int me = r->now;

    if (r->ready_head != r->ready_tail) {
        int t = r->ready[r->ready_head++ % MAX_THREADS];
        int f = r->thread[t].fiber;
        become(r, t);
        go_to(r, f);
    } else if (r->next < r->n) {
        go_to(r, take_fiber(r));
    } else {
        emu_fault(r->thread[me].at, "waits for ever: %s", waiting_text(r).s);
    }
}

/* Threads of a block wait for one that has ended. */
static void check_left(emu_runner *r, int t)
{
    int base = t & ~31;

    if (r->n_arrived > 0)
        for (int i = 0; i < r->n; i++)
            if (r->thread[i].state == AT_BARRIER)
                emu_fault(r->thread[i].at, "thread %d has left the kernel", t);
    for (int i = base; r->warp[t / 32].waiting && i < base + 32 && i < r->n;
         i++)
        if (r->thread[i].state == IN_WARP &&
            (r->thread[i].mask >> (t - base) & 1))
            emu_fault(r->thread[i].at, "lane %d has left the kernel", t - base);
}

/* A fiber's life: take a thread, run it, again; when there is none left to
 * take, hand over to one whose wait is over, or to the host. */
static void fiber_main()
{
    emu_fiber_entered();
    for (;;) {
        emu_runner *r = emu_running;
        int f = r->fiber_now;

        if (r->ready_head == r->ready_tail && r->next < r->n) {
            int t = r->next++;
            r->thread[t].fiber = f;
            become(r, t);
            (*r->body)();
            r->thread[t].state = DONE;
            r->warp[t / 32].gone |= 1u << (t & 31);
            r->n_done++;
            r->barren = 0;
            check_left(r, t);
            continue;
        }
        r->idle.push_back(f);
        if (r->ready_head != r->ready_tail) {
            int t = r->ready[r->ready_head++ % MAX_THREADS];
            become(r, t);
            go_to(r, r->thread[t].fiber);
        } else if (r->n_done == r->n) {
            emu_fiber_switch(&r->fibers[(size_t)f]->fiber, &r->host);
        } else {
            for (int t = 0; t < r->n; t++)
                if (r->thread[t].state == AT_BARRIER ||
                    r->thread[t].state == IN_WARP) {
                    r->now = t;
                    emu_fault(r->thread[t].at, "waits for ever: %s",
                              waiting_text(r).s);
                }
        }
    }
}

/* All have yielded, for the n-th time: it is up to other hosts, which may need
 * this core. */
static void nap(int n)
{
    const struct timespec t = { 0, n < 6 ? 10000L << n : 500000 };

    nanosleep(&t, nullptr);
}

void emu_yield()
{
    emu_runner *r = emu_running;
    int me = r->now;

    if (++r->barren % (r->n + 1) == r->n)
        nap(r->barren / r->n);
    if (r->ready_head == r->ready_tail && r->next == r->n)
        return;
    r->thread[me].state = YIELDING;
    emu_make_ready(r, me);
    emu_run_others(r);
}

/* ==== a grid ============================================================= */

static void begin_block(emu_runner *r, const std::function<void()> &body,
                        dim3 block)
{
    r->n = (int)(block.x * block.y * block.z);
    r->next = r->n_done = r->n_arrived = r->votes = r->barren = 0;
    r->ready_head = r->ready_tail = 0;
    r->body = &body;
    r->dim = block;
    for (int t = 0; t < r->n; t++)
        r->thread[t].state = NOT_BEGUN;
    for (int w = 0; w * 32 < r->n; w++) {
        int n = r->n - w * 32;
        r->warp[w] = {};
        r->warp[w].gone = n < 32 ? ~0u << n : 0;
    }
}

/* Fibers that a fault left in the middle of a thread begin anew. */
static void clear_up(emu_runner *r)
{
    r->idle.clear();
    for (size_t f = 0; f < r->fibers.size(); f++) {
        emu_fiber_reset(&r->fibers[f]->fiber, fiber_main);
        r->idle.push_back((int)f);
    }
    r->faulted = false;
}

static void run_block(emu_runner *r, const std::function<void()> &body,
                      dim3 block)
{
    begin_block(r, body, block);
    r->fiber_now = take_fiber(r);
    emu_fiber_switch(&r->host, &r->fibers[(size_t)r->fiber_now]->fiber);
}

bool emu_run_grid(const std::function<void()> &body, dim3 grid, dim3 block,
                  size_t shared)
{
    emu_runner *r = here();
    std::unique_ptr<unsigned char[]> memory(
        new unsigned char[shared + CANARY_BYTES + 16]);
    uintptr_t start = ((uintptr_t)memory.get() + 15) & ~(uintptr_t)15;
    unsigned char *bytes = (unsigned char *)start;
    bool ok = true;

    emu_running = r;
    emu_dynamic_shared = bytes;
    blockDim = { block.x, block.y, block.z };
    gridDim = { grid.x, grid.y, grid.z };
    for (unsigned i = 0; i < grid.x * grid.y * grid.z && ok; i++) {
        memset(bytes, 0xff, shared); /* NaN: what was never written shows */
        memset(bytes + shared, CANARY, CANARY_BYTES);
        blockIdx = { i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y };
        run_block(r, body, block);
        ok = !r->faulted;
        for (size_t k = 0; k < CANARY_BYTES && ok; k++)
            if (bytes[shared + k] != CANARY) {
                emu_note_fault("a kernel wrote beyond its shared memory");
                ok = false;
            }
    }
    if (r->faulted)
        clear_up(r);
    emu_running = nullptr;
    return ok;
}
