/*
 * device.h - GPUs, as a plug-in offers them.
 *
 * libtlp_cuda.so is a shared object that the core loads at run time, so that
 * the core needs no driver and no toolkit.  It exports tlpi_device_v1, which
 * takes what the plug-in may use of the core and gives this table.  It uses
 * nothing else of the core: failures are reported through host->fail.
 *
 * A rank on a device has a backend of it (backend.h, all of whose float
 * pointers are then device memory), and two communicators: the host's, for
 * commands, candidates and memory sizes, and one of the device, for
 * activations (all-reduce, sends, splits), which enqueues on the backend's
 * stream and returns before it is done.
 */
#ifndef TLPI_DEVICE_H
#define TLPI_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "comm/comm.h"

#define TLPI_DEVICE_ABI 4

/* What a backend has done. */
typedef struct tlpi_device_stats {
    uint64_t launches; /* kernels enqueued or recorded; not those replayed */
    uint64_t recorded; /* steps recorded */
    uint64_t replayed; /* steps replayed */
} tlpi_device_stats;

/* Devices that one process can name. */
#define TLPI_MAX_DEVICE 64

typedef struct tlpi_device_info {
    char name[128];       /* "NVIDIA H100 80GB HBM3" */
    int major, minor;     /* compute capability */
    int n_sm;             /* multiprocessors */
    uint64_t total, free; /* bytes of memory */
    uint64_t peers;       /* bit i: can reach device i's memory directly */
} tlpi_device_info;

/* What a plug-in may use of the core. */
typedef struct tlpi_device_host {
    /* Set this thread's last error to a text; gives st back. */
    tlp_status (*fail)(tlp_status st, const char *text);
    /* n elements of a tensor's type as floats. */
    void (*dequantize)(int type, const void *src, float *dst, int64_t n);
} tlpi_device_host;

typedef struct tlpi_device_ops {
    uint32_t abi;     /* TLPI_DEVICE_ABI */
    const char *name; /* "cuda" */

    /* Devices that can be used; TLP_ENOTSUP with the reason when there is no
     * driver, it is too old, or there is no device. */
    tlp_status (*count)(int *n);
    tlp_status (*info)(int device, tlpi_device_info *out);

    tlp_status (*backend_create)(tlpi_backend **out, const tlpi_env *env,
                                 const tlpi_backend_options *opts, int device);

    tlp_status (*stats)(tlpi_backend *b, tlpi_device_stats *out);

    /* Bytes of memory that a weight [rows][cols] of a type will take, whole
     * blocks; what the backend's weight_bytes says of it when it is there. */
    uint64_t (*weight_size)(tlpi_dtype type, int64_t rows, int64_t cols);

    /*
     * The communicator of activations for the ranks of `host`, of which this
     * one works with b; all ranks call.  host and b are borrowed and outlive
     * it.  Votes do not travel: *vote is 0 after an all-reduce, and an abort is
     * seen between steps.  timeout_ms bounds every wait on the device.
     */
    tlp_status (*comm_create)(tlpi_comm **out, tlpi_comm *host, tlpi_backend *b,
                              int timeout_ms);

    /*
     * The sum between two stages: what c's allreduce of delta and then
     * add_norm(x, delta, x, norm) of the rank's backend do, to the bit and in
     * c's stats, in one launch where there is a kernel for it.
     * x, delta [n_tok][cols].
     */
    tlp_status (*allreduce_add_norm)(tlpi_comm *c, int n_tok, int cols,
                                     float *x, float *delta,
                                     const tlpi_norm *norm, int n_norm,
                                     float eps);

    /*
     * A buffer like those of the rank's backend, whose buffer_free frees it,
     * now or after c has ended; c may be faster at what lies in it.  All ranks
     * call, for as many floats: they may wait for each other, and what fails on
     * one may fail on all.
     */
    tlp_status (*exchange_buffer)(tlpi_comm *c, float **out, size_t n);
} tlpi_device_ops;

/* What a plug-in exports. */
typedef const tlpi_device_ops *(*tlpi_device_entry)(
    const tlpi_device_host *host);
#define TLPI_DEVICE_SYMBOL "tlpi_device_v1"

/* ==== the core's side (device.c) ========================================= */

/* The plug-in of a TLP_BACKEND_* (base/plugin.h).  TLP_ENOTSUP with the reason
 * when there is none, or it cannot be loaded. */
tlp_status tlpi_device_load(const tlpi_device_ops **out, int backend);

/* ops->count, of which there are 1 to TLPI_MAX_DEVICE. */
tlp_status tlpi_device_count(const tlpi_device_ops *ops, int *n);

#endif
