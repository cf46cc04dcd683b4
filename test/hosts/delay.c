/*
 * delay.c - a link with a delay: carries packets between two TUN devices in
 * two network namespaces, each so long after it was read.
 *
 * One thread moves both directions: reads are stamped, kept in order, and
 * written when they are due.  It runs at real-time priority, because the ranks
 * at both ends keep every core busy while they wait for each other, and a
 * forwarder that queued behind them would add milliseconds.
 *
 * The devices speak virtio headers with segmentation and checksum offload, as
 * a network card would: TCP hands over up to 64 KB at once although the MTU is
 * that of Ethernet, so that the cost of a packet, which is time of a core here
 * and time of the card in a real host, is paid once in 40.
 *
 * Prints "ready" when packets flow.  SIGTERM or SIGINT end it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "netns.h"

/* A packet with its virtio header. */
#define MAX_PACKET ((size_t)64 * 1024 + 64)
/* More than the largest TCP window: what is sent in 1 s at 128 Mbit/s. */
#define QUEUE_BYTES ((size_t)16 * 1024 * 1024)
/* On a virtual machine a sleeper wakes 20 us late.  It gets up earlier and
 * spins: no loss, as the ranks wait for the same packet. */
#define WAKE_NS 30000
/* Packets of one direction before the other one's turn. */
#define BATCH 16

typedef struct packet {
    int64_t due; /* ns */
    size_t n;
    unsigned char data[]; /* [n] */
} packet;

#define MAX_ENTRY (sizeof(packet) + MAX_PACKET)

/*
 * One direction.  The packets stand in a ring whose last entry may reach past
 * QUEUE_BYTES, so that each is in one piece.
 */
typedef struct queue {
    int from, to;
    unsigned char *ring; /* [QUEUE_BYTES + MAX_ENTRY] */
    size_t head, tail;   /* where the next goes, where the oldest stands */
    size_t n;
    int64_t carried, dropped, refused, bytes, late, latest; /* counters */
} queue;

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

/* ==== the queue ========================================================== */

static bool queue_has_room(const queue *q)
{
    if (q->head == q->tail)
        return q->n == 0;
    return q->head > q->tail || q->tail - q->head >= MAX_ENTRY;
}

static packet *entry(const queue *q, size_t at)
{
    return (packet *)(void *)(q->ring + at);
}

/* The place behind the entry at `at`. */
static size_t after(const queue *q, size_t at)
{
    size_t align = _Alignof(packet);
    size_t bytes = sizeof(packet) + entry(q, at)->n;

    at += (bytes + align - 1) / align * align;
    return at < QUEUE_BYTES ? at : 0;
}

/* ==== moving packets ===================================================== */

/* Read what is there, at most BATCH packets. */
static void take(queue *q, int64_t delay)
{
    static unsigned char scrap[MAX_PACKET];

    for (int i = 0; i < BATCH; i++) {
        bool room = queue_has_room(q);
        packet *p = entry(q, q->head);
        ssize_t n = read(q->from, room ? p->data : scrap, MAX_PACKET);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            die("read");
        if (!room) {
            q->dropped++;
            continue;
        }
        p->n = (size_t)n;
        p->due = now_ns() + delay;
        q->head = after(q, q->head);
        q->n++;
    }
}

/* Write what is due. */
static void deliver(queue *q)
{
    for (int i = 0; i < BATCH && q->n > 0; i++) {
        const packet *p = entry(q, q->tail);
        int64_t late = now_ns() - p->due;

        if (late < 0)
            return;
        /* A device that is down takes no packets: a cable that was cut. */
        if (write(q->to, p->data, p->n) < 0)
            q->refused++;
        q->carried++;
        q->bytes += (int64_t)p->n;
        q->late += late;
        if (late > q->latest)
            q->latest = late;
        q->tail = after(q, q->tail);
        q->n--;
    }
}

/* Time until the next packet is due; NULL = there is none. */
static const struct timespec *sleep_time(const queue q[2], struct timespec *t)
{
    int64_t due = INT64_MAX;

    for (int i = 0; i < 2; i++) {
        if (q[i].n > 0 && entry(&q[i], q[i].tail)->due < due)
            due = entry(&q[i], q[i].tail)->due;
    }
    if (due == INT64_MAX)
        return NULL;

    int64_t wait = due - WAKE_NS - now_ns();

    if (wait < 0)
        wait = 0;
    *t = (struct timespec){ wait / 1000000000, wait % 1000000000 };
    return t;
}

static void forward(queue q[2], int64_t delay, const sigset_t *unblocked)
{
    struct pollfd fds[2] = { { .fd = q[0].from, .events = POLLIN },
                             { .fd = q[1].from, .events = POLLIN } };

    while (!stopped) {
        struct timespec t;

        if (ppoll(fds, 2, sleep_time(q, &t), unblocked) < 0 && errno != EINTR)
            die("ppoll");
        for (int i = 0; i < 2; i++)
            deliver(&q[i]);
        for (int i = 0; i < 2; i++) {
            if (fds[i].revents & (POLLERR | POLLNVAL))
                die("a device is gone");
            if (fds[i].revents & POLLIN)
                take(&q[i], delay);
        }
    }
}

/* ==== setting up ========================================================= */

static int open_tun(const char *netns, const char *device)
{
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR };

    netns_enter(netns);

    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        die("/dev/net/tun");
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        die("%s: device %s", netns, device);
    if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0)
        die("%s: offload of device %s", netns, device);
    return fd;
}

static unsigned char *make_ring(void)
{
    unsigned char *ring = malloc(QUEUE_BYTES + MAX_ENTRY);

    if (!ring)
        die("queue");
    return ring;
}

/* Before everyone else, and without page faults. */
static void take_priority(void)
{
    struct sched_param param = { .sched_priority = 10 };

    if (sched_setscheduler(0, SCHED_FIFO, &param) < 0)
        fprintf(stderr, "delay: no real-time priority: %s\n", strerror(errno));
    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        fprintf(stderr, "delay: memory is not locked: %s\n", strerror(errno));
    prctl(PR_SET_TIMERSLACK, 1UL);
}

/* SIGTERM and SIGINT come in ppoll only; the mask to give to it. */
static sigset_t catch_signals(void)
{
    struct sigaction action = { .sa_handler = stop };
    sigset_t blocked, old;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigdelset(&old, SIGTERM);
    sigdelset(&old, SIGINT);
    return old;
}

static void report(const queue *q, const char *from, const char *to)
{
    double n = q->carried ? (double)q->carried : 1;

    fprintf(stderr,
            "delay: %s to %s: %lld packets, %lld bytes, %lld dropped, %lld "
            "refused, late by %.1f us (worst %.1f)\n",
            from, to, (long long)q->carried, (long long)q->bytes,
            (long long)q->dropped, (long long)q->refused,
            (double)q->late / n / 1e3, (double)q->latest / 1e3);
}

int main(int argc, char **argv)
{
    bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    char **arg = argv + 1 + verbose;

    if (argc - 1 - verbose != 5) {
        fprintf(stderr, "usage: delay [-v] MICROSECONDS NETNS DEVICE NETNS "
                        "DEVICE\n");
        return 2;
    }

    int64_t delay = 1000 * parse_number("delay", arg[0], 0, 10000000);

    /* The set-up goes with the script that made it. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);

    sigset_t unblocked = catch_signals();
    int a = open_tun(arg[1], arg[2]), b = open_tun(arg[3], arg[4]);
    queue q[2] = { { .from = a, .to = b, .ring = make_ring() },
                   { .from = b, .to = a, .ring = make_ring() } };

    take_priority();
    if (puts("ready") < 0 || fflush(stdout) < 0)
        die("standard output");
    forward(q, delay, &unblocked);
    if (verbose) {
        report(&q[0], arg[1], arg[3]);
        report(&q[1], arg[3], arg[1]);
    }
    free(q[0].ring);
    free(q[1].ring);
    close(a);
    close(b);
    return 0;
}
