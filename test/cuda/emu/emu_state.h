/*
 * emu_state.h - declarations shared by the files of the emulated runtime.
 */
#ifndef EMU_STATE_H
#define EMU_STATE_H

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda_runtime.h"

typedef std::function<bool()> emu_op; /* returns true when it has finished */

/* Base of objects that emu_live_objects counts. */
struct emu_counted {
    static std::atomic<int> live;
    emu_counted()
    {
        live++;
    }
    emu_counted(const emu_counted &)
    {
        live++;
    }
    ~emu_counted()
    {
        live--;
    }
};

/* ==== devices and errors (emu_devices.cc) ================================ */

/* Record e as this thread's last error; returns e. */
cudaError_t emu_result(cudaError_t e);

/*
 * First action of every call: check that there are devices and none has
 * faulted.  `unsafe`: the call allocates or waits, which a capture forbids.
 */
cudaError_t emu_enter(bool unsafe);

/* From now on all calls give cudaErrorLaunchFailure. */
void emu_set_faulted();

int emu_device(); /* this thread's */
int emu_device_count();
size_t emu_device_memory(); /* bytes of each */
size_t emu_device_shared(); /* bytes of shared memory that a block may use */
bool emu_lazy();            /* work runs only when the host waits for it */
bool emu_late();            /* lazy copies read memory when they run */
bool emu_needs_loading();   /* kernels must be loaded before a launch */
bool emu_peer_enabled(int device, int peer);

/* ==== memory (emu_memory.cc) ============================================= */

enum emu_memory_kind { EMU_PAGEABLE, EMU_PINNED, EMU_ON_DEVICE };

/* Kind and device of memory [p, p + bytes); false if it exceeds its piece. */
bool emu_memory_find(const void *p, size_t bytes, emu_memory_kind *kind,
                     int *device);

size_t emu_memory_used(int device);

/* Whether no guard has seen a kernel's fault; checked when a stream is waited
 * for. */
bool emu_memory_intact();

/* ==== streams (emu_streams.cc) =========================================== */

struct emu_graph {
    std::vector<emu_op> nodes;
};

struct emu_graph_exec {
    std::shared_ptr<const std::vector<emu_op>> nodes;
    emu_counted counted = {};
};

struct emu_capture {
    std::unique_ptr<emu_graph> graph;
    cudaStreamCaptureMode mode;
    emu_stream *origin;
    std::vector<emu_stream *> joined; /* other streams in the capture */
    size_t thread;                    /* host thread that began the capture */
    bool invalid;
};

struct emu_stream {
    int device;
    unsigned flags;
    std::recursive_mutex lock;
    std::deque<emu_op> queue; /* unfinished operations */
    std::shared_ptr<emu_capture> capture;
    size_t unjoined; /* nodes since the last wait for an event of the stream */
};

/* The stream of a handle; the legacy stream for NULL. */
emu_stream *emu_stream_of(cudaStream_t s);

/* Record the operation, queue it, or run it; until: repeat it until true. */
cudaError_t emu_submit(cudaStream_t s, std::function<void()> op);
cudaError_t emu_submit_until(cudaStream_t s, emu_op op);

void emu_drain(emu_stream *s);

/* If a capture forbids unsafe calls: invalidate the capture and return true. */
bool emu_capture_forbids();

#endif
