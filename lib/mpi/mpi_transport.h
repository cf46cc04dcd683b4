/*
 * mpi_transport.h - private declarations of the MPI plug-in.
 *
 *   start.c     starting MPI if needed, locking its calls, ending it at exit
 *   endpoint.c  rendezvous on a communicator
 *   address.c   addresses that the processes exchange
 *   connect.c   connecting the sockets between processes
 *   liveness.c  detection of processes that have ended
 *   xfer.c      messages and their memory
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

/* Write a text into (err, cap); returns status. */
tlp_status tlpi_mpi_fail(char *err, size_t cap, tlp_status status,
                         const char *fmt, ...) TLPI_PRINTF(4, 5);

/* TLP_ECOMM with MPI's text if rc reports a failure of the call `what`. */
tlp_status tlpi_mpi_check(char *err, size_t cap, int rc, const char *what);

double tlpi_mpi_now(void);
void tlpi_mpi_nap(long microseconds);

/* ==== addresses (address.c) ============================================== */

#define TLPI_ADDRESS_MAX_IP 8
#define TLPI_ADDRESS_NONCE 16

/* Byte fields only, so that the layout is equal for all compilers and byte
 * orders. */
typedef struct tlpi_address {
    char magic[8];    /* layout and version */
    char machine[40]; /* differs between machines, and between boots */
    char host[64];
    uint8_t nonce[TLPI_ADDRESS_NONCE]; /* known to this job only */
    uint8_t port[2][2]; /* IPv4 and IPv6, high byte first; 0: no listener */
    uint8_t n_addr;
    uint8_t addr[TLPI_ADDRESS_MAX_IP][17]; /* 4 or 6, then the IP address */
} tlpi_address;

/* Fill in this process's address, without ports. n_addr is 0 and the nonce
 * empty if the system gives none. */
void tlpi_address_fill(tlpi_address *address);

/* Whether an address is valid; also makes its texts safe to print. */
bool tlpi_address_check(tlpi_address *address);

bool tlpi_address_same_machine(const tlpi_address *a, const tlpi_address *b);

/* ==== who is alive (connect.c, liveness.c) =============================== */

/* Ranks from this one on are not monitored; sessions have fewer ranks. */
#define TLPI_LIVENESS_MAX 64

typedef enum tlpi_peer_state {
    TLPI_PEER_UNMONITORED, /* no connection to it */
    TLPI_PEER_ALIVE,
    TLPI_PEER_LEAVING, /* announced that it leaves */
    TLPI_PEER_ENDED,   /* without an announcement */
    TLPI_PEER_LOST     /* its host does not answer */
} tlpi_peer_state;

typedef struct tlpi_liveness {
    pthread_mutex_t lock;
    int rank, size;
    int listener[2]; /* IPv4, IPv6; -1: none */
    int fd[TLPI_LIVENESS_MAX];
    tlpi_peer_state state[TLPI_LIVENESS_MAX];
    bool closed[TLPI_LIVENESS_MAX]; /* peer has left and waits until this
                                       process leaves */
    int ended; /* first rank known to have ended; -1: none */
    const tlpi_address *addresses; /* of all ranks; owned by the endpoint */
    double last_look, last_told, last_busy; /* times */
} tlpi_liveness;

/* Listen, and write the ports to the address.  Without listeners the peers are
 * not monitored. */
void tlpi_liveness_open(tlpi_liveness *w, int rank, int size,
                        tlpi_address *address);

/*
 * Connect to the peers, until `deadline` at most, then close the listeners.
 * `idle` is called now and then. made[r] becomes 1 for each rank with a
 * connection.
 */
void tlpi_liveness_connect(tlpi_liveness *w, const tlpi_address *addresses,
                           double deadline, void (*idle)(void *), void *arg,
                           uint8_t *made);

/* Keep the connections that both sides have: theirs[r] is made[] of rank r. */
void tlpi_liveness_settle(tlpi_liveness *w, const uint8_t *theirs);

/* Operations gone, busy and last_busy of transport.h. */
int tlpi_liveness_gone(tlpi_liveness *w, char *err, size_t cap);
void tlpi_liveness_busy(tlpi_liveness *w);
double tlpi_liveness_last_busy(tlpi_liveness *w);

/* Tell the peers that this process leaves. */
void tlpi_liveness_leave(tlpi_liveness *w);
/* Whether a peer has ended without announcing it. */
bool tlpi_liveness_peer_lost(tlpi_liveness *w);

/* ==== endpoints (endpoint.c, xfer.c) ===================================== */

typedef enum tlpi_rendezvous {
    TLPI_RENDEZVOUS_DUPLICATE, /* a request is pending in the first three states
                                */
    TLPI_RENDEZVOUS_ADDRESSES,
    TLPI_RENDEZVOUS_AGREE,
    TLPI_RENDEZVOUS_READY,
    TLPI_RENDEZVOUS_FAILED
} tlpi_rendezvous;

typedef struct tlpi_endpoint {
    tlpi_transport base;
    struct tlpi_endpoint *next; /* list tlpi_mpi.endpoints */
    MPI_Comm comm;              /* duplicate of the program's communicator */
    bool is_world;              /* communicator of all processes */

    /* State of the rendezvous, kept when a deadline passes. */
    tlpi_rendezvous state;
    MPI_Request request;
    tlpi_address address, *addresses; /* [size] */
    uint8_t *made, *theirs;           /* [size] */
    tlpi_liveness liveness;

    _Atomic uint32_t channel;
    tlpi_xfer *spare;   /* finished transfers, for reuse */
    tlpi_xfer *waiting; /* receives without a request, in order of posting */
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

/* The symbol that the plug-in exports. */
TLP_API const tlpi_transport_ops *tlpi_transport_v1(void);

/* ==== MPI itself (start.c) =============================================== */

/* State that this process has once.  MPI is called only under `lock`. */
typedef struct tlpi_mpi_process {
    pthread_mutex_t opening; /* one thread at a time runs a rendezvous */
    pthread_mutex_t lock;
    _Atomic int start;  /* START_* of start.c */
    bool ours;          /* the plug-in started MPI and ends it */
    pid_t pid;          /* a child after fork does not touch MPI */
    bool one_thread;    /* MPI has less than MPI_THREAD_SERIALIZED: */
    pthread_t main;     /* the only thread that may call */
    int keyval;         /* communicator -> endpoint */
    _Atomic bool ended; /* MPI has ended or is about to end */
    _Atomic(tlpi_endpoint *) endpoints; /* new entries are added at the head */
} tlpi_mpi_process;

extern tlpi_mpi_process tlpi_mpi;

/* Ensure that MPI runs and this thread may call it.  Starts MPI if the program
 * did not, and waits for the other processes until `deadline`. */
tlp_status tlpi_mpi_start(double deadline, char *err, size_t cap);

/* TLP_OK, holding the lock, if this thread may call MPI now. */
tlp_status tlpi_mpi_enter(char *err, size_t cap);

static inline void tlpi_mpi_exit(void)
{
    pthread_mutex_unlock(&tlpi_mpi.lock);
}

#endif
