/*
 * comm_choose.cu - choice of the exchange method between the ranks of a
 * session.
 *
 * If all ranks are in one process and can access each other's memory, small
 * exchanges are one-shot and large exchanges use NCCL, if it is installed.
 * Ranks in several processes, or without access to each other's memory, need
 * NCCL.  TLP_CUDA_COMM (oneshot, nccl) forces one method, for comparisons.
 *
 * Rank 0 decides from the capabilities of all ranks.
 */
#include "nccl_api.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Data that each rank sends to rank 0. */
typedef struct capabilities {
    uint8_t process[16]; /* equal for ranks of one process */
    int32_t device;
    int32_t nccl; /* version; 0: none */
    int32_t windows, unused;
    /* bit mask of devices whose memory this device can access */
    uint64_t peers;
} capabilities;

static const uint8_t *process_mark()
{
    static uint8_t mark[16];
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, [] {
        struct timespec t;
        int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, mark, sizeof mark);

        if (fd >= 0)
            close(fd);
        if (n == (ssize_t)sizeof mark)
            return;
        clock_gettime(CLOCK_REALTIME, &t);
        pid_t pid = getpid();
        memcpy(mark, &t.tv_nsec, 8);
        memcpy(mark + 8, &pid, sizeof pid);
    });
    return mark;
}

static capabilities capabilities_of(const tlpi_gpu_comm *c)
{
    capabilities k = {};
    int n = 0, version = 0;

    memcpy(k.process, process_mark(), sizeof k.process);
    k.device = c->g->device;
    k.peers = (uint64_t)1 << c->g->device;
    if (cudaGetDeviceCount(&n) == cudaSuccess)
        for (int i = 0; i < n && i < TLPI_MAX_DEVICE; i++) {
            int can = 0;
            if (i != k.device &&
                cudaDeviceCanAccessPeer(&can, k.device, i) == cudaSuccess &&
                can)
                k.peers |= (uint64_t)1 << i;
        }
    if (tlpi_nccl_open(&version) == TLP_OK)
        k.nccl = version;
    k.windows = tlpi_nccl_has_windows();
    return k;
}

static bool one_process(const capabilities *k, int n)
{
    for (int r = 1; r < n; r++)
        if (memcmp(k[r].process, k[0].process, sizeof k[0].process) != 0)
            return false;
    return true;
}

static bool all_have_windows(const capabilities *k, int n)
{
    for (int r = 0; r < n; r++)
        if (!k[r].windows)
            return false;
    return true;
}

static bool all_reach(const capabilities *k, int n)
{
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++)
            if (!(k[a].peers >> k[b].device & 1))
                return false;
    return true;
}

/* A device that two ranks of one process use; -1: none. */
static int shared_device(const capabilities *k, int n)
{
    for (int a = 0; a < n; a++)
        for (int b = 0; b < a; b++)
            if (k[a].device == k[b].device &&
                memcmp(k[a].process, k[b].process, sizeof k[a].process) == 0)
                return k[a].device;
    return -1;
}

typedef struct reason {
    char text[160];
} reason;

/* True, with the reason, if NCCL cannot be used. */
static bool lacks_nccl(reason *why, const capabilities *k, int n)
{
    const char *multi = getenv("NCCL_MULTI_RANK_GPU_ENABLE");
    int device = shared_device(k, n);

    for (int r = 0; r < n; r++) {
        if (k[r].nccl == 0) {
            snprintf(why->text, sizeof why->text,
                     "rank %d has no NCCL of version 2.18 or later "
                     "(libnccl.so.2)",
                     r);
            return true;
        }
        if (k[r].nccl / 100 != k[0].nccl / 100) {
            snprintf(why->text, sizeof why->text,
                     "NCCL of rank 0 has version %d, that of rank %d %d",
                     k[0].nccl, r, k[r].nccl);
            return true;
        }
    }
    if (device < 0 ||
        (k[0].nccl >= TLPI_NCCL_SHARES_GPU && multi && strcmp(multi, "1") == 0))
        return false;
    snprintf(why->text, sizeof why->text,
             "two ranks on device %d: NCCL allows that from 2.30 on, with "
             "NCCL_MULTI_RANK_GPU_ENABLE=1; this is %d",
             device, k[0].nccl);
    return true;
}

/* On rank 0: report that no method is possible. */
static void refuse(tlpi_gpu_decision *d, const capabilities *k, int n,
                   const reason *why)
{
    d->st = TLP_ENOTSUP;
    snprintf(d->text, sizeof d->text, "%s%s",
             !one_process(k, n) ? "ranks in several processes need NCCL: "
             : all_reach(k, n)
                 ? ""
                 : "GPUs that cannot reach each other's memory need NCCL: ",
             why->text);
}

/* On rank 0: put the possible methods, or a failure, into d; creates
 * c->root. */
static void decide(tlpi_gpu_decision *d, tlpi_gpu_comm *c,
                   const capabilities *k)
{
    const char *force = getenv("TLP_CUDA_COMM");
    int n = c->base.size;
    bool together = one_process(k, n);
    bool shot = together && n <= TLPI_ONESHOT_RANKS && all_reach(k, n);
    reason why = { "TLP_CUDA_COMM forbids it" };
    bool nccl = !lacks_nccl(&why, k, n);

    if (force && strcmp(force, "oneshot") == 0)
        nccl = false;
    if (force && strcmp(force, "nccl") == 0)
        shot = false;
    d->ways = (shot ? TLPI_ONE_SHOT : 0) | (nccl ? TLPI_BY_NCCL : 0) |
              (nccl && all_have_windows(k, n) ? TLPI_WINDOWS : 0);
    if (d->ways == 0) {
        refuse(d, k, n, &why);
        return;
    }
    d->st = nccl ? tlpi_nccl_new_id(&d->id) : TLP_OK;
    if (d->st == TLP_OK && together)
        d->st = tlpi_gpu_root_create(&c->root, c->base.env, n);
    d->root = c->root ? c->root->shared.id : 0;
    if (d->st != TLP_OK)
        snprintf(d->text, sizeof d->text, "rank 0 could not begin");
}

/* Send this rank's capabilities to rank 0 and receive its decision. */
tlp_status tlpi_gpu_choose(tlpi_gpu_comm *c, tlpi_gpu_decision *d)
{
    capabilities mine = capabilities_of(c), all[TLPI_GPU_RANKS];
    size_t bytes[TLPI_GPU_RANKS];
    tlp_status st = TLP_OK;

    if (c->base.size > TLPI_GPU_RANKS)
        return tlpi_gpu_fail(TLP_EINVAL, "%d ranks: at most %d on GPUs",
                             c->base.size, (int)TLPI_GPU_RANKS);
    for (int r = 0; r < c->base.size; r++)
        bytes[r] = sizeof mine;
    TLP_TRY(c->host->ops->gather(c->host, &mine, bytes,
                                 c->base.rank == 0 ? all : NULL));
    if (c->base.rank == 0)
        decide(d, c, all);
    TLP_TRY(c->host->ops->bcast(c->host, d, sizeof *d, false));
    if (d->st != TLP_OK)
        return tlpi_gpu_fail((tlp_status)d->st, "%s", d->text);
    if (!d->root)
        return tlpi_gpu_root_create(&c->root, c->base.env, c->base.size);
    if (c->base.rank > 0)
        c->root = tlpi_gpu_root_get(d->root);
    if (!c->root)
        st = tlpi_gpu_fail(TLP_ECOMM, "rank 0 gave up");
done:
    return st;
}
