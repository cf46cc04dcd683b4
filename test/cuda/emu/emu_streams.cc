/*
 * emu_streams.cc - streams, events, capture and graphs, launches.
 *
 * An operation on a stream is a closure that returns whether it has finished.
 * A capturing stream adds the operation to its graph and does not run it.
 * Otherwise the operation runs at once; in lazy mode, or after an unfinished
 * operation, the thread that waits for the stream runs it.
 */
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <thread>

#include "emu_block.h"
#include "emu_state.h"

struct emu_event {
    emu_stream *stream; /* stream in which it was recorded; NULL: never */
    std::shared_ptr<emu_capture> capture;
    size_t recorded; /* nodes of the stream before it, when captured */
    std::atomic<int> pending;
    std::chrono::steady_clock::time_point when;
};

static std::mutex lock; /* protects the lists */
static std::vector<emu_capture *> captures;
/* Shared pointers: a thread that waits for a device may hold a stream that
 * another thread destroys. */
static std::map<emu_stream *, std::shared_ptr<emu_stream>> streams;

static size_t this_thread()
{
    return std::hash<std::thread::id>()(std::this_thread::get_id());
}

static emu_stream *new_stream(int device, unsigned flags)
{
    emu_stream *s = new emu_stream();

    s->device = device;
    s->flags = flags;
    return s;
}

emu_stream *emu_stream_of(cudaStream_t s)
{
    static std::mutex one;
    static std::map<int, std::unique_ptr<emu_stream>> legacy;

    if (s && s != cudaStreamLegacy && s != cudaStreamPerThread)
        return s;
    std::lock_guard<std::mutex> hold(one);
    std::unique_ptr<emu_stream> &p = legacy[emu_device()];
    if (!p)
        p.reset(new_stream(emu_device(), 0));
    return p.get();
}

/* ==== capture ============================================================ */

bool emu_capture_forbids()
{
    bool found = false;
    std::lock_guard<std::mutex> hold(lock);

    for (emu_capture *c : captures) {
        if (c->mode == cudaStreamCaptureModeGlobal ||
            (c->mode == cudaStreamCaptureModeThreadLocal &&
             c->thread == this_thread())) {
            c->invalid = true;
            found = true;
        }
    }
    return found;
}

/* Invalidate a capture after a call that it forbids. */
static cudaError_t spoil(emu_stream *s, cudaError_t e)
{
    s->capture->invalid = true;
    return emu_result(e);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle,
                                   cudaStreamCaptureMode mode)
{
    emu_stream *s = emu_stream_of(handle);
    cudaError_t e = emu_enter(false);

    if (e != cudaSuccess)
        return e;
    if (!handle) /* the legacy stream cannot capture */
        return emu_result(cudaErrorStreamCaptureUnsupported);
    if (s->capture)
        return emu_result(cudaErrorInvalidValue);
    s->capture.reset(new emu_capture());
    s->capture->graph.reset(new emu_graph());
    s->capture->mode = mode;
    s->capture->origin = s;
    s->capture->thread = this_thread();
    s->unjoined = 0;
    std::lock_guard<std::mutex> hold(lock);
    captures.push_back(s->capture.get());
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *graph)
{
    emu_stream *s = emu_stream_of(handle);
    std::shared_ptr<emu_capture> c = s->capture;

    *graph = nullptr;
    if (!c)
        return emu_result(cudaErrorInvalidValue);
    if (c->origin != s)
        return spoil(s, cudaErrorStreamCaptureUnmatched);
    if (c->mode != cudaStreamCaptureModeRelaxed && c->thread != this_thread())
        return emu_result(cudaErrorStreamCaptureWrongThread);
    {
        std::lock_guard<std::mutex> hold(lock);
        captures.erase(std::find(captures.begin(), captures.end(), c.get()));
    }
    bool unjoined = false;
    for (emu_stream *other : c->joined) {
        unjoined = unjoined || other->unjoined > 0;
        other->capture.reset();
    }
    s->capture.reset();
    if (c->invalid)
        return emu_result(cudaErrorStreamCaptureInvalidated);
    if (unjoined)
        return emu_result(cudaErrorStreamCaptureUnjoined);
    *graph = c->graph.release();
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle,
                                  cudaStreamCaptureStatus *status)
{
    const emu_stream *s = emu_stream_of(handle);

    *status = !s->capture           ? cudaStreamCaptureStatusNone
              : s->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                    : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

/* ==== doing ============================================================== */

/* Run the first operation of a queue; it stays queued if it must wait. */
static void do_first(emu_stream *s)
{
    emu_op op = std::move(s->queue.front());

    s->queue.pop_front();
    if (!op())
        s->queue.push_front(std::move(op));
}

void emu_drain(emu_stream *s)
{
    for (;;) {
        {
            std::lock_guard<std::recursive_mutex> hold(s->lock);
            if (s->queue.empty())
                return;
            do_first(s);
        }
        std::this_thread::yield();
    }
}

cudaError_t emu_submit_until(cudaStream_t handle, emu_op op)
{
    emu_stream *s = emu_stream_of(handle);

    if (s->capture) {
        if (s->capture->invalid)
            return emu_result(cudaErrorStreamCaptureInvalidated);
        s->capture->graph->nodes.push_back(std::move(op));
        s->unjoined += s->capture->origin != s;
        return cudaSuccess;
    }
    if (!handle && emu_capture_forbids())
        return emu_result(cudaErrorStreamCaptureImplicit);
    std::lock_guard<std::recursive_mutex> hold(s->lock);
    bool first = s->queue.empty();
    s->queue.push_back(std::move(op));
    if (first && !emu_lazy())
        do_first(s);
    return cudaSuccess;
}

cudaError_t emu_submit(cudaStream_t handle, std::function<void()> op)
{
    return emu_submit_until(handle, [op]() {
        op();
        return true;
    });
}

static cudaError_t outcome()
{
    cudaError_t e = emu_enter(false);

    if (e == cudaSuccess && !emu_memory_intact()) {
        emu_note_fault("something wrote beyond a piece of memory");
        emu_set_faulted();
        e = emu_result(cudaErrorIllegalAddress);
    }
    return e;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    emu_stream *s = emu_stream_of(handle);
    cudaError_t e = emu_enter(false);

    if (e != cudaSuccess)
        return e;
    if (s->capture)
        return spoil(s, cudaErrorStreamCaptureUnsupported);
    if (emu_capture_forbids())
        return emu_result(cudaErrorStreamCaptureUnsupported);
    emu_drain(s);
    return outcome();
}

/* A query also runs lazy work, so that repeated queries end. */
cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    emu_stream *s = emu_stream_of(handle);
    cudaError_t e = emu_enter(false);

    if (e != cudaSuccess)
        return e;
    if (s->capture)
        return spoil(s, cudaErrorStreamCaptureUnsupported);
    std::unique_lock<std::recursive_mutex> hold(s->lock);
    if (s->queue.empty())
        return outcome();
    do_first(s);
    return cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize()
{
    std::vector<std::shared_ptr<emu_stream>> all;
    cudaError_t e = emu_enter(true);

    if (e != cudaSuccess)
        return e;
    {
        std::lock_guard<std::mutex> hold(lock);
        for (const auto &s : streams)
            if (s.first->device == emu_device() && !s.first->capture)
                all.push_back(s.second);
    }
    emu_drain(emu_stream_of(nullptr));
    for (const auto &s : all)
        emu_drain(s.get());
    return outcome();
}

/* ==== streams ============================================================ */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    cudaError_t e = emu_enter(true);

    *s = nullptr;
    if (e != cudaSuccess)
        return e;
    *s = new_stream(emu_device(), flags);
    std::lock_guard<std::mutex> hold(lock);
    streams[*s].reset(*s);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *s)
{
    return cudaStreamCreateWithFlags(s, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(s, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    std::shared_ptr<emu_stream> last;
    {
        std::lock_guard<std::mutex> hold(lock);
        auto found = streams.find(s);
        if (found == streams.end())
            return emu_result(cudaErrorInvalidResourceHandle);
        last = std::move(found->second);
        streams.erase(found);
    }
    emu_drain(s);
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t fn, void *data)
{
    cudaError_t e = emu_enter(false);
    return e == cudaSuccess ? emu_submit(s, [=]() { fn(data); }) : e;
}

/* ==== events ============================================================= */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    cudaError_t st = emu_enter(false);
    *e = st == cudaSuccess ? new emu_event() : nullptr;
    return st;
}

cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    return cudaEventCreateWithFlags(e, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    if (e && e->stream && e->pending)
        emu_drain(e->stream);
    delete e;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t handle)
{
    emu_stream *s = emu_stream_of(handle);
    cudaError_t st = emu_enter(false);

    if (st != cudaSuccess)
        return st;
    e->stream = s;
    e->capture = s->capture;
    e->recorded = s->unjoined;
    if (e->capture)
        return cudaSuccess;
    e->pending++;
    return emu_submit(handle, [e]() {
        e->when = std::chrono::steady_clock::now();
        e->pending--;
    });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t e, unsigned)
{
    emu_stream *s = emu_stream_of(handle);
    cudaError_t st = emu_enter(false);

    if (st != cudaSuccess || !e->stream)
        return st;
    if (e->capture && e->stream->capture == e->capture) {
        if (!s->capture) {
            s->capture = e->capture;
            s->capture->joined.push_back(s);
            s->unjoined = 1; /* until the origin stream waits for it */
        } else if (s->capture != e->capture) {
            return spoil(s, cudaErrorStreamCaptureUnsupported);
        } else if (e->stream->unjoined == e->recorded && e->stream != s) {
            e->stream->unjoined = 0;
            s->unjoined += s->capture->origin != s;
        }
        return cudaSuccess;
    }
    if (s->capture) /* event from outside the graph */
        return spoil(s, cudaErrorStreamCaptureUnsupported);
    if (e->pending && e->stream != s)
        emu_drain(e->stream);
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    cudaError_t st = emu_enter(false);

    if (st != cudaSuccess)
        return st;
    if (e->capture)
        return emu_result(cudaErrorCapturedEvent);
    if (emu_capture_forbids())
        return emu_result(cudaErrorStreamCaptureUnsupported);
    if (e->pending)
        emu_drain(e->stream);
    return outcome();
}

cudaError_t cudaEventQuery(cudaEvent_t e)
{
    if (e->capture)
        return emu_result(cudaErrorCapturedEvent);
    return e->pending ? cudaStreamQuery(e->stream) == cudaSuccess
                            ? cudaSuccess
                            : cudaErrorNotReady
                      : outcome();
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    *ms = 0;
    if (!from->stream || !to->stream)
        return emu_result(cudaErrorInvalidResourceHandle);
    if (from->pending || to->pending)
        return cudaErrorNotReady;
    std::chrono::duration<float, std::milli> d = to->when - from->when;
    *ms = d.count();
    return cudaSuccess;
}

/* ==== graphs ============================================================= */

cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *nodes, size_t *n)
{
    if (nodes) /* nodes cannot be inspected */
        return emu_result(cudaErrorNotSupported);
    *n = g->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t g,
                                 unsigned long long)
{
    cudaError_t e = emu_enter(true);

    *exec = nullptr;
    if (e != cudaSuccess)
        return e;
    *exec = new emu_graph_exec();
    (*exec)->nodes.reset(new std::vector<emu_op>(g->nodes));
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t)
{
    return emu_enter(false);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s)
{
    cudaError_t e = emu_enter(false);
    std::shared_ptr<const std::vector<emu_op>> nodes = exec->nodes;

    if (e != cudaSuccess)
        return e;
    for (size_t i = 0; i < nodes->size() && e == cudaSuccess; i++)
        e = emu_submit_until(s, [nodes, i]() { return (*nodes)[i](); });
    return e;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    delete g;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}
