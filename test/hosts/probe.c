/*
 * probe.c - what a link between two network namespaces is like, by TCP.
 *
 * probe rtt: a message goes there and back, COUNT times; prints the one-way
 * time, half of that, in us.  "spin" waits as MPI does, without ever sleeping,
 * so that the two ends keep two cores busy; "sleep" blocks.
 *
 * probe bulk: both ends send BYTES pseudo-random bytes at the same time and
 * compare what they receive with what was sent; prints MB/s of each direction.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "netns.h"

enum { PORT = 7171, DEADLINE_S = 60, CHUNK = 256 * 1024 };

/* ==== connection ========================================================= */

static struct sockaddr_in address_of(const char *text)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(PORT) };

    if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
        die("%s: not an address", text);
    return a;
}

static int open_listener(const char *text)
{
    struct sockaddr_in a = address_of(text);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ||
        listen(fd, 1) < 0)
        die("listen at %s", text);
    return fd;
}

static int open_connection(const char *text)
{
    struct sockaddr_in a = address_of(text);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        die("connect to %s", text);
    return fd;
}

static void send_without_waiting(int fd)
{
    int one = 1;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
        die("TCP_NODELAY");
}

/* ==== round trips ======================================================== */

static void put(int fd, const char *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = send(fd, data + done, n - done, MSG_NOSIGNAL);

        if (k < 0)
            die("send");
        done += (size_t)k;
    }
}

static void get(int fd, char *data, size_t n, bool spin)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = recv(fd, data + done, n - done, spin ? MSG_DONTWAIT : 0);

        if (k == 0)
            die("the other end left");
        if (k < 0 && errno != EAGAIN)
            die("recv");
        if (k > 0)
            done += (size_t)k;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void echo(int fd, size_t n, int count, bool spin)
{
    char *data = malloc(n);

    for (int i = 0; data && i < count; i++) {
        get(fd, data, n, spin);
        put(fd, data, n);
    }
    free(data);
}

static void print_times(double *us, int n)
{
    qsort(us, (size_t)n, sizeof *us, compare);
    printf("one-way us: median %.1f min %.1f p90 %.1f p99 %.1f max %.1f\n",
           us[n / 2], us[0], us[n * 9L / 10], us[n * 99L / 100], us[n - 1]);
}

static void ping(int fd, size_t n, int count, bool spin)
{
    char *data = calloc(n, 1);
    double *us = malloc((size_t)count * sizeof *us);

    if (!data || !us)
        die("memory");
    for (int i = 0; i < count; i++) {
        int64_t start = now_ns();

        put(fd, data, n);
        get(fd, data, n, spin);
        us[i] = (double)(now_ns() - start) / 2e3;
    }
    /* The first ones find caches and addresses. */
    int warm = count / 10;

    print_times(us + warm, count - warm);
    free(data);
    free(us);
}

/* ==== bulk =============================================================== */

/* The words of a sender in order; both ends can make them. */
static void fill(uint64_t *word, size_t n, uint64_t *state)
{
    for (size_t i = 0; i < n; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        word[i] = *state;
    }
}

typedef struct stream {
    uint64_t word[CHUNK / 8]; /* of the chunk that is under way */
    uint64_t state;
    size_t at; /* in that chunk */
    size_t left;
} stream;

static void start_stream(stream *s, uint64_t seed, size_t bytes)
{
    s->state = seed;
    s->left = bytes;
    s->at = 0;
    fill(s->word, CHUNK / 8, &s->state);
}

static void advance(stream *s, size_t n)
{
    s->left -= n;
    s->at += n;
    if (s->at == CHUNK) {
        s->at = 0;
        fill(s->word, CHUNK / 8, &s->state);
    }
}

/* Bytes up to the end of the chunk or of the stream. */
static size_t reach(const stream *s)
{
    return s->left < CHUNK - s->at ? s->left : CHUNK - s->at;
}

static void send_some(int fd, stream *s)
{
    ssize_t n = send(fd, (const char *)s->word + s->at, reach(s),
                     MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN)
        die("send");
    if (n > 0)
        advance(s, (size_t)n);
}

static void recv_some(int fd, stream *s)
{
    static char data[CHUNK];
    ssize_t n = recv(fd, data, reach(s), MSG_DONTWAIT);

    if (n == 0)
        die("the other end left");
    if (n < 0 && errno != EAGAIN)
        die("recv");
    if (n <= 0)
        return;
    if (memcmp(data, (const char *)s->word + s->at, (size_t)n) != 0) {
        errno = 0;
        die("data damaged, %zu bytes before the end", s->left);
    }
    advance(s, (size_t)n);
}

static void exchange(int fd, int side, size_t bytes)
{
    static stream out, in;
    struct pollfd p = { .fd = fd };

    start_stream(&out, 1 + (uint64_t)side, bytes);
    start_stream(&in, 2 - (uint64_t)side, bytes);
    while (out.left || in.left) {
        p.events = (short)((out.left ? POLLOUT : 0) | (in.left ? POLLIN : 0));
        if (poll(&p, 1, -1) < 0)
            die("poll");
        if (in.left && p.revents & ~POLLOUT)
            recv_some(fd, &in);
        if (out.left && p.revents & ~POLLIN)
            send_some(fd, &out);
    }
}

/* ==== command line ======================================================= */

typedef struct test {
    bool bulk, spin;
    size_t bytes;
    int count;
} test;

static void far_end(const test *t, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        die("accept");
    send_without_waiting(fd);
    if (t->bulk)
        exchange(fd, 1, t->bytes);
    else
        echo(fd, t->bytes, t->count, t->spin);
    close(fd);
}

static void near_end(const test *t, const char *address)
{
    int fd = open_connection(address);
    int64_t start = now_ns();

    send_without_waiting(fd);
    if (t->bulk) {
        exchange(fd, 0, t->bytes);
        printf("bulk MB/s: %.1f\n",
               (double)t->bytes * 1e3 / (double)(now_ns() - start));
    } else {
        ping(fd, t->bytes, t->count, t->spin);
    }
    close(fd);
}

static int usage(void)
{
    fputs("usage: probe rtt spin|sleep BYTES COUNT NETNS NETNS ADDRESS\n"
          "       probe bulk BYTES NETNS NETNS ADDRESS\n"
          "ADDRESS is the second one's.\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    test t = { .count = 0 };
    char **arg = argv + 2;

    if (argc == 8 && strcmp(argv[1], "rtt") == 0) {
        t.spin = strcmp(*arg++, "spin") == 0;
        t.bytes = (size_t)parse_number("bytes", *arg++, 1, 1 << 24);
        t.count = (int)parse_number("count", *arg++, 10, 10000000);
    } else if (argc == 6 && strcmp(argv[1], "bulk") == 0) {
        t.bulk = true;
        t.bytes = (size_t)parse_number("bytes", *arg++, 1, INT64_C(1) << 40);
    } else {
        return usage();
    }

    netns_enter(arg[1]);

    int listener = open_listener(arg[2]);
    pid_t child = fork();
    int status = 1;

    if (child < 0)
        die("fork");
    alarm(DEADLINE_S);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        far_end(&t, listener);
        return 0;
    }
    close(listener);
    netns_enter(arg[0]);
    near_end(&t, arg[2]);
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}
