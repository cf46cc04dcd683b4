/*
 * test_cuda_runtime.cc - the emulated runtime: streams, graphs, memory, and
 * what it must refuse.
 */
#include <cstdlib>

#include "cuda/on_device.h"

TestSuite(cuda_runtime, .timeout = 60);

static __global__ void add(float *x, int n, float by)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n)
        x[i] += by;
}

static __global__ void add_from(float *x, const float *by)
{
    x[threadIdx.x] += *by;
}

static cudaStream_t stream()
{
    cudaStream_t s;
    CUDA_OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    return s;
}

/* ==== devices ============================================================ */

Test(cuda_runtime, devices_that_the_environment_asks_for)
{
    int n = -1, version = -1;

    setenv("TLP_EMU_DEVICES", "3", 1);
    CUDA_OK(cudaGetDeviceCount(&n));
    cr_assert_eq(n, 3);
    CUDA_OK(cudaSetDevice(2));
    cr_assert_eq(cudaSetDevice(3), cudaErrorInvalidDevice);
    cr_assert_eq(cudaGetLastError(), cudaErrorInvalidDevice);
    setenv("TLP_EMU_DEVICES", "0", 1);
    cr_assert_eq(cudaGetDeviceCount(&n), cudaErrorNoDevice);
    cr_assert_eq(n, 0);
    setenv("TLP_EMU_DEVICES", "none", 1);
    cr_assert_eq(cudaGetDeviceCount(&n), cudaErrorInsufficientDriver);
    CUDA_OK(cudaDriverGetVersion(&version));
    cr_assert_eq(version, 0);
}

Test(cuda_runtime, peers)
{
    int can = -1;

    setenv("TLP_EMU_DEVICES", "2", 1);
    CUDA_OK(cudaDeviceCanAccessPeer(&can, 0, 1));
    cr_assert_eq(can, 1);
    CUDA_OK(cudaDeviceEnablePeerAccess(1, 0));
    cr_assert_eq(cudaDeviceEnablePeerAccess(1, 0),
                 cudaErrorPeerAccessAlreadyEnabled);
    setenv("TLP_EMU_PEERS", "0", 1);
    CUDA_OK(cudaDeviceCanAccessPeer(&can, 1, 0));
    cr_assert_eq(can, 0);
    cr_assert_eq(cudaDeviceEnablePeerAccess(1, 0),
                 cudaErrorPeerAccessUnsupported);
}

/* ==== memory ============================================================= */

Test(cuda_runtime, memory_is_counted)
{
    size_t free = 0, total = 0;
    char *p = nullptr, *q = nullptr;

    setenv("TLP_EMU_MEMORY", "8", 1);
    CUDA_OK(cudaMalloc(&p, 6 << 20));
    CUDA_OK(cudaMemGetInfo(&free, &total));
    cr_assert_eq(total, (size_t)8 << 20);
    cr_assert_eq(free, (size_t)2 << 20);
    cr_assert_eq(cudaMalloc(&q, 3 << 20), cudaErrorMemoryAllocation);
    cr_assert_null(q);
    CUDA_OK(cudaFree(p));
    CUDA_OK(cudaMalloc(&q, 3 << 20));
    CUDA_OK(cudaFree(q));
    CUDA_OK(cudaFree(nullptr));
    cr_assert_eq(cudaFree(&total), cudaErrorInvalidValue);
}

Test(cuda_runtime, copies_know_whose_memory_it_is)
{
    std::vector<float> host(8, 1);
    on_device<float> x(8);
    float *pinned = nullptr;

    cr_assert(x.get()[3] != x.get()[3], "new memory is NaN");
    cr_assert_eq(
        cudaMemcpy(host.data(), host.data(), 8, cudaMemcpyHostToDevice),
        cudaErrorInvalidValue);
    cr_assert_eq(cudaMemcpy(x.p, x.p, 8, cudaMemcpyDeviceToHost),
                 cudaErrorInvalidValue);
    cr_assert_eq(cudaMemcpy(x.p + 1, host.data(), 32, cudaMemcpyHostToDevice),
                 cudaErrorInvalidValue, "runs over the end");
    CUDA_OK(cudaMallocHost(&pinned, 32));
    CUDA_OK(cudaMemcpy(x.p, host.data(), 32, cudaMemcpyDefault));
    CUDA_OK(cudaMemcpy(pinned, x.p, 32, cudaMemcpyDeviceToHost));
    cr_assert_eq(pinned[7], 1);
    CUDA_OK(cudaMemset(x.p, 0, 16));
    CUDA_OK(cudaMemcpy(pinned, x.p, 32, cudaMemcpyDeviceToHost));
    cr_assert_eq(pinned[3] + pinned[4], 1);
    cr_assert_eq(cudaMemset(host.data(), 0, 4), cudaErrorInvalidValue);
    CUDA_OK(cudaFreeHost(pinned));
}

/* ==== streams ============================================================ */

Test(cuda_runtime, lazy_work_is_done_when_waited_for)
{
    setenv("TLP_EMU_LAZY", "1", 1);
    cudaStream_t s = stream();
    float *pinned = nullptr, *out = nullptr;
    cudaEvent_t e;

    CUDA_OK(cudaMallocHost(&pinned, 4));
    CUDA_OK(cudaMallocHost(&out, 4));
    CUDA_OK(cudaEventCreate(&e));
    on_device<float> x(1);
    *pinned = 1;
    *out = 0;
    CUDA_OK(cudaMemcpyAsync(x.p, pinned, 4, cudaMemcpyHostToDevice, s));
    CUDA_OK(tlpi_launch(add, 1, 1, 0, s, x.p, 1, 10.0f));
    CUDA_OK(cudaMemcpyAsync(out, x.p, 4, cudaMemcpyDeviceToHost, s));
    CUDA_OK(cudaEventRecord(e, s));
    *pinned = 5; /* too early: the copy has not been made */
    cr_assert_eq(*out, 0);
    CUDA_OK(cudaEventSynchronize(e));
    cr_assert_eq(*out, 15);
    CUDA_OK(cudaStreamSynchronize(s));
    CUDA_OK(cudaEventDestroy(e));
    CUDA_OK(cudaFreeHost(pinned));
    CUDA_OK(cudaFreeHost(out));
    CUDA_OK(cudaStreamDestroy(s));
}

Test(cuda_runtime, streams_belong_to_a_device)
{
    setenv("TLP_EMU_DEVICES", "2", 1);
    cudaStream_t s = stream();
    on_device<float> x(1);

    CUDA_OK(cudaSetDevice(1));
    cr_assert_eq(tlpi_launch(add, 1, 1, 0, s, x.p, 1, 1.0f),
                 cudaErrorInvalidResourceHandle);
}

/* ==== graphs ============================================================= */

Test(cuda_runtime, graphs_replay_what_was_captured)
{
    cudaStream_t s = stream();
    cudaGraph_t g;
    cudaGraphExec_t run;
    size_t n = 0;
    float by = 1;
    on_device<float> x(std::vector<float>(64, 0)), dby(std::vector<float>{ 1 });

    CUDA_OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
    CUDA_OK(tlpi_launch(add, 1, 64, 0, s, x.p, 64, by)); /* 1, for ever */
    by = 100;
    CUDA_OK(tlpi_launch(add_from, 1, 64, 0, s, x.p, dby.p));
    CUDA_OK(cudaMemcpyAsync(x.p + 1, x.p, 4, cudaMemcpyDeviceToDevice, s));
    CUDA_OK(cudaStreamEndCapture(s, &g));
    CUDA_OK(cudaGraphGetNodes(g, nullptr, &n));
    cr_assert_eq(n, 3);
    cr_assert_eq(x.get()[0], 0, "nothing has run");
    CUDA_OK(cudaGraphInstantiate(&run, g, 0));
    CUDA_OK(cudaGraphDestroy(g));
    CUDA_OK(cudaGraphLaunch(run, s));
    CUDA_OK(cudaStreamSynchronize(s));
    cr_assert_eq(x.get()[0], 2);
    dby.put({ 10 });
    CUDA_OK(cudaGraphLaunch(run, s));
    CUDA_OK(cudaGraphLaunch(run, s));
    CUDA_OK(cudaStreamSynchronize(s));
    cr_assert_eq(x.get()[0], 2 + 11 + 11);
    cr_assert_eq(x.get()[1], 24);
    cr_assert_eq(x.get()[63], 24);
    CUDA_OK(cudaGraphExecDestroy(run));
    CUDA_OK(cudaStreamDestroy(s));
}

/* Each call ends the capture. */
static cudaError_t while_capturing(cudaStream_t s, int which)
{
    static char *p;
    static float host;

    switch (which) {
    case 0:
        return cudaMalloc(&p, 16);
    case 1:
        return cudaStreamSynchronize(s);
    case 2:
        return cudaDeviceSynchronize();
    case 3:
        return cudaMemcpy(&host, &host, 4, cudaMemcpyHostToHost);
    case 4:
        return cudaStreamQuery(s);
    case 5:
        return cudaMallocHost(&p, 16);
    default:
        return tlpi_launch(add, 1, 1, 0, nullptr, &host, 0, 0.0f);
    }
}

Test(cuda_runtime, captures_forbid_waiting_and_allocating)
{
    cudaStream_t s = stream();
    cudaGraph_t g = nullptr;
    cudaStreamCaptureStatus status;

    for (int i = 0; i < 7; i++) {
        CUDA_OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
        CUDA_OK(cudaStreamIsCapturing(s, &status));
        cr_assert_eq(status, cudaStreamCaptureStatusActive);
        cr_assert_neq(while_capturing(s, i), cudaSuccess, "call %d", i);
        CUDA_OK(cudaStreamIsCapturing(s, &status));
        cr_assert_eq(status, cudaStreamCaptureStatusInvalidated);
        cr_assert_eq(cudaStreamEndCapture(s, &g),
                     cudaErrorStreamCaptureInvalidated, "call %d", i);
        cr_assert_null(g);
    }
    CUDA_OK(cudaStreamSynchronize(s));
}

Test(cuda_runtime, captures_fork_and_join_by_events)
{
    cudaStream_t s = stream(), other = stream();
    cudaEvent_t fork, join;
    cudaGraph_t g = nullptr;
    cudaGraphExec_t run;
    on_device<float> x(std::vector<float>(2, 0));

    CUDA_OK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
    CUDA_OK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
    for (int joined = 0; joined < 2; joined++) {
        CUDA_OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
        CUDA_OK(cudaEventRecord(fork, s));
        CUDA_OK(cudaStreamWaitEvent(other, fork));
        CUDA_OK(tlpi_launch(add, 1, 1, 0, other, x.p, 1, 1.0f));
        CUDA_OK(tlpi_launch(add, 1, 1, 0, s, x.p + 1, 1, 2.0f));
        CUDA_OK(cudaEventRecord(join, other));
        if (joined)
            CUDA_OK(cudaStreamWaitEvent(s, join));
        cudaError_t e = cudaStreamEndCapture(s, &g);
        cr_assert_eq(e, joined ? cudaSuccess : cudaErrorStreamCaptureUnjoined);
    }
    CUDA_OK(cudaGraphInstantiate(&run, g, 0));
    CUDA_OK(cudaGraphLaunch(run, s));
    cr_assert((x.get() == std::vector<float>{ 1, 2 }));
    CUDA_OK(cudaGraphExecDestroy(run));
    CUDA_OK(cudaGraphDestroy(g));
    CUDA_OK(cudaEventDestroy(fork));
    CUDA_OK(cudaEventDestroy(join));
}
