/*
 * on_device.h - helpers for tests of kernels: device memory, checks, faults.
 */
#ifndef ON_DEVICE_H
#define ON_DEVICE_H

#include <criterion/criterion.h>

#include <string>
#include <vector>

#include "launch.cuh"

#define CUDA_OK(call)                                                          \
    do {                                                                       \
        cudaError_t err_ = (call);                                             \
        cr_assert(err_ == cudaSuccess, "%s: %s", #call,                        \
                  cudaGetErrorString(err_));                                   \
    } while (0)

/* A vector on the device. */
template <class T>
struct on_device {
    T *p;
    size_t n;

    explicit on_device(size_t count) : p(nullptr), n(count)
    {
        CUDA_OK(cudaMalloc(&p, n * sizeof(T)));
    }
    explicit on_device(const std::vector<T> &host) : on_device(host.size())
    {
        put(host);
    }
    on_device(const on_device &) = delete;
    ~on_device()
    {
        cudaFree(p);
    }
    void put(const std::vector<T> &host)
    {
        CUDA_OK(cudaMemcpy(p, host.data(), host.size() * sizeof(T),
                           cudaMemcpyHostToDevice));
    }
    std::vector<T> get() const
    {
        std::vector<T> host(n);
        CUDA_OK(cudaDeviceSynchronize());
        CUDA_OK(
            cudaMemcpy(host.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost));
        return host;
    }
};

/* Expect that the last kernel was stopped with a fault whose text contains
 * `text`. */
static inline void expect_fault(const char *text)
{
    cudaError_t e = cudaDeviceSynchronize();
    std::string why = emu_take_fault();

    cr_assert(e != cudaSuccess, "no fault: %s expected", text);
    cr_assert(why.find(text) != std::string::npos, "\"%s\": %s expected",
              why.c_str(), text);
}

#endif
