/*
 * emu_runner.h - what a host thread runs a block with; emu_block.cc switches
 * between its threads, emu_collective.cc makes them wait for each other.
 */
#ifndef EMU_RUNNER_H
#define EMU_RUNNER_H

#include <memory>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#include "emu_fiber.h"

#define MAX_THREADS 1024

enum thread_state { NOT_BEGUN, RUNNING, AT_BARRIER, IN_WARP, YIELDING, DONE };

struct emu_thread {
    thread_state state;
    int fiber; /* that it runs on */
    emu_place at;
    /* in a warp's collective */
    emu_kind kind;
    unsigned mask;
    int source;
    uint64_t value, result;
};

/* Lanes of a warp, as bits: in a collective, and ended or beyond the block. */
struct emu_lanes {
    unsigned waiting, gone;
    unsigned mask; /* of the first that waits */
    emu_kind kind;
    bool mixed; /* lanes wait with different masks or kinds */
};

struct worker_fiber {
    emu_fiber fiber;
    int thread; /* -1: none */
};

/* What one host thread runs blocks with. */
struct emu_runner {
    emu_fiber host;
    std::vector<std::unique_ptr<worker_fiber>> fibers;
    std::vector<int> idle; /* fibers without a thread */
    emu_thread thread[MAX_THREADS];
    emu_lanes warp[MAX_THREADS / 32];
    int ready[MAX_THREADS]; /* ring of threads whose wait is over */
    unsigned ready_head, ready_tail;
    int n, next, n_done;  /* threads: all, the next to begin, ended */
    int n_arrived, votes; /* at the block's barrier */
    int barrier_result;
    int now; /* the running thread */
    int fiber_now;
    int barren; /* yields since something was done */
    const std::function<void()> *body;
    dim3 dim;
    bool faulted;

    ~emu_runner()
    {
        for (auto &f : fibers)
            emu_fiber_destroy(&f->fiber);
    }
};

/* The runner while a kernel is running on this host thread. */
extern EMU_TLS emu_runner *emu_running;

/* The running thread cannot go on: run others until it can. */
void emu_run_others(emu_runner *r);

/* Thread t can go on. */
void emu_make_ready(emu_runner *r, int t);

/* Text of a fault.  It has no destructor, because the frames of a fiber that
 * faults are abandoned. */
struct emu_text {
    char s[512];
};

emu_text emu_place_text(const emu_place &at);

#endif
