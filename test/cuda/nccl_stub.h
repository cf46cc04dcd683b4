/*
 * nccl_stub.h - a library in NCCL's place, for ranks in threads on emulated
 * devices: sums and messages are real, and so is what ends a communicator.
 *
 * It knows nothing of the emulated runtime but what the test hands it.
 */
#ifndef NCCL_STUB_H
#define NCCL_STUB_H

#include <atomic>
#include <functional>

struct nccl_stub {
    /* Put an operation on a stream, where it is called until it is done. */
    void (*enqueue)(void *stream, std::function<bool()> op);
    /* What a device does by itself: go on with what is on the stream. */
    void (*go_on)(void *stream);

    /* A device's memory. */
    int (*alloc)(void **out, size_t bytes);
    int (*free)(void *memory);

    std::atomic<int> enqueued; /* operations */
    std::atomic<int> pieces;   /* of memory, not freed */
    std::atomic<int> windows;  /* not closed */
    std::atomic<int> in_place; /* sums that all ranks formed in their windows */
    std::atomic<int> no_room;  /* the next piece of memory cannot be had */
    std::atomic<int> shut;     /* windows cannot be opened */
    std::atomic<int> early;    /* frees of memory that a communicator holds */
    std::atomic<int> ended;    /* communicators finalized and destroyed */
    std::atomic<int> aborted;  /* communicators */
    /* Ends of communicators that graphs still held: NCCL waits for ever. */
    std::atomic<int> stuck;
};

extern "C" nccl_stub *nccl_stub_get();

#endif
