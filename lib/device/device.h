/*
 * device.h - the interface of a GPU plug-in.
 *
 * The core loads the shared object libtlp_cuda.so at run time, so that the
 * core needs no driver and no toolkit.  The plug-in exports tlpi_device_v1,
 * which takes the host table (core functions that the plug-in may call) and
 * returns the table below.  The plug-in uses nothing else of the core: it
 * reports failures through host->fail.
 *
 * A rank on a device has a backend of the plug-in (backend.h; all its float
 * pointers are device memory) and two communicators.  The host's communicator
 * carries commands, candidates and memory sizes.  The device's communicator
 * carries activations (all-reduce, sends, splits): it enqueues on the
 * backend's stream and returns before the exchange has finished.
 */
#ifndef TLPI_DEVICE_H
#define TLPI_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "comm/comm.h"

#define TLPI_DEVICE_ABI 7

/* Counters of a backend. */
typedef struct tlpi_device_stats {
    uint64_t launches; /* kernels enqueued or recorded; replayed kernels do not
                          count */
    uint64_t recorded; /* steps recorded */
    uint64_t replayed; /* steps replayed */
} tlpi_device_stats;

/* Largest number of devices in a process. */
#define TLPI_MAX_DEVICE 64

typedef struct tlpi_device_info {
    char name[128];       /* "NVIDIA H100 80GB HBM3" */
    int major, minor;     /* compute capability */
    int n_sm;             /* multiprocessors */
    uint64_t total, free; /* bytes of memory */
    uint64_t peers;       /* bit i: can access device i's memory directly */
} tlpi_device_info;

/* Core functions that the plug-in may call. */
typedef struct tlpi_device_host {
    /* Set this thread's last error to a text; returns st. */
    tlp_status (*fail)(tlp_status st, const char *text);
    /* Convert n elements of a tensor's type to floats. */
    void (*dequantize)(int type, const void *src, float *dst, int64_t n);
} tlpi_device_host;

typedef struct tlpi_device_ops {
    uint32_t abi;     /* TLPI_DEVICE_ABI */
    const char *name; /* "cuda" */

    /* Number of usable devices.  TLP_ENOTSUP with the reason when there is no
     * driver, the driver is too old, or there is no device. */
    tlp_status (*count)(int *n);
    tlp_status (*info)(int device, tlpi_device_info *out);

    tlp_status (*backend_create)(tlpi_backend **out, const tlpi_env *env,
                                 const tlpi_backend_options *opts, int device);

    tlp_status (*stats)(tlpi_backend *b, tlpi_device_stats *out);

    /* Bytes that a weight [rows][cols] of a type will take, in whole blocks.
     * Equal to the backend's weight_bytes after the weight is loaded. */
    uint64_t (*weight_size)(tlpi_dtype type, int64_t rows, int64_t cols);
    /* Bytes that a cache will take in a page of n_pos positions; the type is
     * not TLP_KV_DEFAULT. */
    uint64_t (*kv_size)(int n_pos, int n_head_kv, int head_dim, int kv_type);

    /*
     * Create the communicator of activations for the ranks of `host`; this
     * rank works with b.  All ranks call. host and b are borrowed and outlive
     * the communicator.  Votes are not exchanged: *vote is 0 after an
     * all-reduce, and ranks see an abort between steps. timeout_ms bounds
     * every wait on the device.
     */
    tlp_status (*comm_create)(tlpi_comm **out, tlpi_comm *host, tlpi_backend *b,
                              int timeout_ms);

    /*
     * The sum between two stages.  Equal, in bits and in c's stats, to c's
     * allreduce of delta followed by add_norm(x, delta, x, norm) of the rank's
     * backend; one launch where a kernel exists for it. x, delta
     * [n_tok][cols].
     */
    tlp_status (*allreduce_add_norm)(tlpi_comm *c, int n_tok, int cols,
                                     float *x, float *delta,
                                     const tlpi_norm *norm, int n_norm,
                                     float eps);

    /*
     * Allocate a buffer whose exchange by c may be faster.  The backend's
     * buffer_free frees it, before or after c has ended.  All ranks call with
     * one length: they may wait for each other, and a failure on one rank may
     * fail all ranks.
     */
    tlp_status (*exchange_buffer)(tlpi_comm *c, float **out, size_t n);
} tlpi_device_ops;

/* The symbol that a plug-in exports. */
typedef const tlpi_device_ops *(*tlpi_device_entry)(
    const tlpi_device_host *host);
#define TLPI_DEVICE_SYMBOL "tlpi_device_v1"

/* ==== the core's side (device.c) ========================================= */

/* Load the plug-in of a TLP_BACKEND_* (base/plugin.h).  TLP_ENOTSUP with the
 * reason when there is none, or it cannot be loaded. */
tlp_status tlpi_device_load(const tlpi_device_ops **out, int backend);

/* ops->count, checked to be within 1 and TLPI_MAX_DEVICE. */
tlp_status tlpi_device_count(const tlpi_device_ops *ops, int *n);

#endif
