/*
 * nccl_api.h - the part of NCCL's interface that the plug-in uses.
 *
 * NCCL is loaded at run time (nccl_load.cu).  The plug-in works without it,
 * and is built without its header.  The numbers below belong to NCCL's binary
 * interface; nccl_check.cu compares them where the header is installed.
 */
#ifndef TLPI_NCCL_API_H
#define TLPI_NCCL_API_H

#include <cuda_runtime.h>
#include <stddef.h>

#include "gpu_comm.h"

/* ncclCommSplit exists from 2.18 on. */
#define TLPI_NCCL_NEEDED 21800
/* From this version ranks may share a device, if
 * NCCL_MULTI_RANK_GPU_ENABLE=1. */
#define TLPI_NCCL_SHARES_GPU 23000

enum {
    TLPI_NCCL_SUCCESS = 0,
    TLPI_NCCL_IN_PROGRESS = 7,
    TLPI_NCCL_FLOAT32 = 7, /* ncclDataType_t */
    TLPI_NCCL_SUM = 0,     /* ncclRedOp_t */
    TLPI_NCCL_WIN_COLL_SYMMETRIC = 1
};

/* ncclConfig_t as of 2.18.  Later versions accept it by its size and
 * version. */
typedef struct tlpi_nccl_config {
    size_t size;
    unsigned magic, version;
    int blocking, cga_cluster_size, min_ctas, max_ctas;
    const char *net_name;
    int split_share;
} tlpi_nccl_config;

#define TLPI_NCCL_MAGIC 0xcafebeefu
#define TLPI_NCCL_UNSET (-2147483647 - 1)

typedef struct ncclComm *tlpi_nccl_comm;

#define TLPI_NCCL_API(X)                                                       \
    X(int, GetVersion, (int *version))                                         \
    X(int, GetUniqueId, (tlpi_nccl_id * id))                                   \
    X(int, CommInitRankConfig,                                                 \
      (tlpi_nccl_comm * out, int n_rank, tlpi_nccl_id id, int rank,            \
       tlpi_nccl_config *config))                                              \
    X(int, CommSplit,                                                          \
      (tlpi_nccl_comm c, int color, int key, tlpi_nccl_comm *out,              \
       tlpi_nccl_config *config))                                              \
    X(int, CommFinalize, (tlpi_nccl_comm c))                                   \
    X(int, CommDestroy, (tlpi_nccl_comm c))                                    \
    X(int, CommAbort, (tlpi_nccl_comm c))                                      \
    X(int, CommGetAsyncError, (tlpi_nccl_comm c, int *error))                  \
    X(const char *, GetErrorString, (int error))                               \
    X(const char *, GetLastError, (tlpi_nccl_comm c))                          \
    X(int, AllReduce,                                                          \
      (const void *src, void *dst, size_t n, int type, int op,                 \
       tlpi_nccl_comm c, cudaStream_t s))                                      \
    X(int, Send,                                                               \
      (const void *src, size_t n, int type, int peer, tlpi_nccl_comm c,        \
       cudaStream_t s))                                                        \
    X(int, Recv,                                                               \
      (void *dst, size_t n, int type, int peer, tlpi_nccl_comm c,              \
       cudaStream_t s))

/* Functions since 2.27; NULL in older libraries. */
#define TLPI_NCCL_WINDOW_API(X)                                                \
    X(int, MemAlloc, (void **out, size_t bytes))                               \
    X(int, MemFree, (void *memory))                                            \
    X(int, CommWindowRegister,                                                 \
      (tlpi_nccl_comm c, void *memory, size_t bytes, tlpi_nccl_win *out,       \
       int flags))                                                             \
    X(int, CommWindowDeregister, (tlpi_nccl_comm c, tlpi_nccl_win win))

typedef struct tlpi_nccl_lib {
    int version;
#define X(type, name, args) type(*name) args;
    TLPI_NCCL_API(X)
    TLPI_NCCL_WINDOW_API(X)
#undef X
} tlpi_nccl_lib;

/* The library; NULL until tlpi_nccl_open has succeeded. */
const tlpi_nccl_lib *tlpi_nccl_get(void);

#endif
