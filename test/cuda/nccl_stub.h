/*
 * nccl_stub.h - a library that replaces NCCL, for ranks in threads on emulated
 * devices.  Sums, messages and the end of communicators work as in NCCL.
 *
 * The stub uses only the functions of the emulated runtime that the test
 * passes to it.
 */
#ifndef NCCL_STUB_H
#define NCCL_STUB_H

#include <atomic>
#include <functional>

struct nccl_stub {
    /* Put an operation on a stream, which calls it until it returns true. */
    void (*enqueue)(void *stream, std::function<bool()> op);
    /* Continue the work of a stream, as a device does by itself. */
    void (*go_on)(void *stream);

    /* Allocate and free device memory. */
    int (*alloc)(void **out, size_t bytes);
    int (*free)(void *memory);

    std::atomic<int> enqueued; /* operations */
    std::atomic<int> pieces;   /* of memory, not freed */
    std::atomic<int> windows;  /* not closed */
    std::atomic<int> in_place; /* sums for which all ranks used their windows */
    std::atomic<int> no_room;  /* the next allocation fails */
    std::atomic<int> shut;     /* opening windows fails */
    /* frees of memory that a communicator still holds */
    std::atomic<int> early;
    std::atomic<int> ended;   /* finalized and destroyed communicators */
    std::atomic<int> aborted; /* aborted communicators */
    /* Ends of communicators that graphs still hold; NCCL would wait for
     * ever. */
    std::atomic<int> stuck;
};

extern "C" nccl_stub *nccl_stub_get();

#endif
