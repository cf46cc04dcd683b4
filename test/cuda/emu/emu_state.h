/*
 * emu_state.h - what the files of the emulated runtime share.
 */
#ifndef EMU_STATE_H
#define EMU_STATE_H

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda_runtime.h"

typedef std::function<bool()> emu_op; /* true: it is done */

/* A member of what emu_live_objects counts. */
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

/* Remember e as this thread's last error; gives it back. */
cudaError_t emu_result(cudaError_t e);

/*
 * What every call does first: the devices are there and none has faulted.
 * `unsafe`: the call allocates or waits, which a capture does not permit.
 */
cudaError_t emu_enter(bool unsafe);

/* From now on all calls give cudaErrorLaunchFailure. */
void emu_set_faulted();

int emu_device(); /* this thread's */
int emu_device_count();
size_t emu_device_memory(); /* bytes of each */
size_t emu_device_shared(); /* bytes that a block may ask for */
bool emu_lazy();            /* work waits until somebody waits for it */
bool emu_late();            /* lazy copies read memory as it is then */
bool emu_needs_loading();   /* kernels are to be loaded before a launch */
bool emu_peer_enabled(int device, int peer);

/* ==== memory (emu_memory.cc) ============================================= */

enum emu_memory_kind { EMU_PAGEABLE, EMU_PINNED, EMU_ON_DEVICE };

/* Whose memory [p, p + bytes) is; false if it runs over the end of a piece. */
bool emu_memory_find(const void *p, size_t bytes, emu_memory_kind *kind,
                     int *device);

size_t emu_memory_used(int device);

/* Errors of kernels that a guard noticed; checked when streams are waited for.
 */
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
    std::vector<emu_stream *> joined; /* other streams in it */
    size_t thread;                    /* that began it */
    bool invalid;
};

struct emu_stream {
    int device;
    unsigned flags;
    std::recursive_mutex lock;
    std::deque<emu_op> queue; /* not done */
    std::shared_ptr<emu_capture> capture;
    size_t unjoined; /* nodes since an event of it was waited for */
};

/* The stream of a handle; the legacy stream for NULL. */
emu_stream *emu_stream_of(cudaStream_t s);

/* Record the operation, keep it, or do it; until: again and again. */
cudaError_t emu_submit(cudaStream_t s, std::function<void()> op);
cudaError_t emu_submit_until(cudaStream_t s, emu_op op);

void emu_drain(emu_stream *s);

/* True, and those captures are invalid, if a capture forbids unsafe calls. */
bool emu_capture_forbids();

#endif
