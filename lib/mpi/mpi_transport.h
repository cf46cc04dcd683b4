/*
 * mpi_transport.h - private declarations of the MPI plug-in.
 *
 * start.c     MPI itself: started if need be, one call at a time, ended at exit
 * endpoint.c  meeting on a communicator
 * address.c   what the processes tell each other when they meet
 * connect.c   connecting the sockets between processes
 * liveness.c  who is alive
 * xfer.c      messages and their memory
 */
#ifndef TLPI_MPI_TRANSPORT_H
#define TLPI_MPI_TRANSPORT_H

#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "comm/transport.h"

/* ==== failing and time (start.c) ========================================= */

/* Put a text into (err, cap); gives status. */
tlp_status tlpi_mpi_fail(char *err, size_t cap, tlp_status status,
                         const char *fmt, ...) TLPI_PRINTF(4, 5);

/* TLP_ECOMM with MPI's text if rc is a failure of the call `what`. */
tlp_status tlpi_mpi_check(char *err, size_t cap, int rc, const char *what);

double tlpi_mpi_now(void);
void tlpi_mpi_nap(long microseconds);

/* ==== addresses (address.c) ============================================== */

#define TLPI_ADDRESS_MAX_IP 8
#define TLPI_ADDRESS_NONCE 16

/* Bytes only, so that it is the same for all compilers and byte orders. */
typedef struct tlpi_address {
    char magic[8];    /* layout and version */
    char machine[40]; /* differs between machines, and their restarts */
    char host[64];
    uint8_t nonce[TLPI_ADDRESS_NONCE]; /* known to this job only */
    uint8_t port[2][2];                /* for IPv4 and IPv6, high byte first; 0:
                                          nobody listens */
    uint8_t n_addr;
    uint8_t addr[TLPI_ADDRESS_MAX_IP][17]; /* 4 or 6, then the address */
} tlpi_address;

/* This process's address, without ports; n_addr 0 and no nonce if the system
 * gives none. */
void tlpi_address_fill(tlpi_address *address);

/* Whether an address can be worked with; makes its texts safe to print. */
bool tlpi_address_check(tlpi_address *address);

bool tlpi_address_same_machine(const tlpi_address *a, const tlpi_address *b);

/* ==== who is alive (connect.c, liveness.c) =============================== */

/* Ranks from here on are not watched: no session has so many. */
#define TLPI_LIVENESS_MAX 64

typedef enum tlpi_peer_state {
    TLPI_PEER_UNMONITORED, /* no connection to it */
    TLPI_PEER_ALIVE,
    TLPI_PEER_LEAVING, /* said so */
    TLPI_PEER_ENDED,   /* without a word */
    TLPI_PEER_LOST     /* its host does not answer */
} tlpi_peer_state;

typedef struct tlpi_liveness {
    pthread_mutex_t lock;
    int rank, size;
    int listener[2]; /* IPv4, IPv6; -1: none */
    int fd[TLPI_LIVENESS_MAX];
    tlpi_peer_state state[TLPI_LIVENESS_MAX];
    bool closed[TLPI_LIVENESS_MAX]; /* has left, but waits to hear that we do */
    int ended;                     /* the first known to have ended; -1: none */
    const tlpi_address *addresses; /* of all ranks, the endpoint's */
    double last_look, last_told, last_busy; /* when, last */
} tlpi_liveness;

/* Listen, and write the ports to the address.  Where the system refuses, peers
 * are not watched. */
void tlpi_liveness_open(tlpi_liveness *w, int rank, int size,
                        tlpi_address *address);

/*
 * Connect to the peers, until `deadline` at most; then nobody listens any more.
 * `idle` is called now and then.  made[r] becomes 1 for each rank that this one
 * has a connection to.
 */
void tlpi_liveness_connect(tlpi_liveness *w, const tlpi_address *addresses,
                           double deadline, void (*idle)(void *), void *arg,
                           uint8_t *made);

/* Keep the connections that both sides have: theirs[r] is made[] of rank r. */
void tlpi_liveness_settle(tlpi_liveness *w, const uint8_t *theirs);

/* As in transport.h. */
int tlpi_liveness_gone(tlpi_liveness *w, char *err, size_t cap);
void tlpi_liveness_busy(tlpi_liveness *w);
double tlpi_liveness_last_busy(tlpi_liveness *w);

/* Tell the peers that this process leaves. */
void tlpi_liveness_leave(tlpi_liveness *w);
/* Whether a peer ended without leaving. */
bool tlpi_liveness_peer_lost(tlpi_liveness *w);

/* ==== endpoints (endpoint.c, xfer.c) ===================================== */

typedef enum tlpi_rendezvous {
    TLPI_RENDEZVOUS_DUPLICATE, /* a request is under way in these three */
    TLPI_RENDEZVOUS_ADDRESSES,
    TLPI_RENDEZVOUS_AGREE,
    TLPI_RENDEZVOUS_READY,
    TLPI_RENDEZVOUS_FAILED
} tlpi_rendezvous;

typedef struct tlpi_endpoint {
    tlpi_transport base;
    struct tlpi_endpoint *next; /* of tlpi_mpi.endpoints */
    MPI_Comm comm;              /* the duplicate */
    bool is_world;              /* of all processes */

    /* Meeting goes on where it was when a deadline passed. */
    tlpi_rendezvous state;
    MPI_Request request;
    tlpi_address address, *addresses; /* [size] */
    uint8_t *made, *theirs;           /* [size] */
    tlpi_liveness liveness;

    _Atomic uint32_t channel;
    tlpi_xfer *spare;             /* finished ones */
    tlpi_xfer *waiting;           /* receives, in the order of asking */
    struct tlpi_retired *retired; /* memory that transfers may still use */
} tlpi_endpoint;

tlp_status tlpi_mpi_open(tlpi_transport **out, const void *handle,
                         int timeout_ms, char *err, size_t cap);

tlp_status tlpi_mpi_send(tlpi_transport *t, tlpi_xfer **out, int to, int tag,
                         const void *data, size_t bytes, char *err, size_t cap);
tlp_status tlpi_mpi_recv(tlpi_transport *t, tlpi_xfer **out, int from, int tag,
                         void *data, size_t bytes, char *err, size_t cap);
int tlpi_mpi_poll(tlpi_transport *t, tlpi_xfer **x, size_t *got, int *from,
                  char *err, size_t cap);
void *tlpi_mpi_alloc(tlpi_transport *t, size_t bytes);
void tlpi_mpi_retire(tlpi_transport *t, void *memory, tlpi_xfer **x, int n);

/* What the plug-in exports. */
TLP_API const tlpi_transport_ops *tlpi_transport_v1(void);

/* ==== MPI itself (start.c) =============================================== */

/* All that this process has once.  MPI's calls are made under `lock`. */
typedef struct tlpi_mpi_process {
    pthread_mutex_t opening; /* one thread at a time meets peers */
    pthread_mutex_t lock;
    _Atomic int start;                  /* START_* of start.c */
    bool ours;                          /* we started MPI, and end it */
    pid_t pid;                          /* a child of fork leaves MPI alone */
    bool one_thread;                    /* below MPI_THREAD_SERIALIZED: */
    pthread_t main;                     /* this one only */
    int keyval;                         /* communicator -> endpoint */
    _Atomic bool ended;                 /* MPI is, or is about to be */
    _Atomic(tlpi_endpoint *) endpoints; /* grows at the head only */
} tlpi_mpi_process;

extern tlpi_mpi_process tlpi_mpi;

/* MPI is there and may be called from this thread; starts it if the program
 * did not, and waits for the other processes until `deadline`. */
tlp_status tlpi_mpi_start(double deadline, char *err, size_t cap);

/* TLP_OK if this thread may make MPI calls now.  Takes the lock then. */
tlp_status tlpi_mpi_enter(char *err, size_t cap);

static inline void tlpi_mpi_exit(void)
{
    pthread_mutex_unlock(&tlpi_mpi.lock);
}

#endif
