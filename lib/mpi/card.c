/*
 * card.c - what the processes tell each other when they meet: on which machine
 * they run, and where their sockets can be reached.
 */
#include "mpi_transport.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

static const char magic[8] = "tlpmpi1";

/* The kernel's number of this start of the machine: all who share its cores,
 * whatever their network or container calls itself, have the same. */
static void fill_machine(tlpi_card *card)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, card->machine, sizeof card->machine - 1);

    if (fd >= 0)
        close(fd);
    card->machine[n > 0 ? n : 0] = '\0';
    if (n <= 0)
        memcpy(card->machine, card->host, sizeof card->machine - 1);
}

static void add_addr(tlpi_card *card, const struct sockaddr *sa)
{
    uint8_t *a = card->addr[card->n_addr];

    if (card->n_addr == TLPI_CARD_ADDRS)
        return;
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;

        a[0] = 4;
        memcpy(a + 1, &in->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)sa;

        /* These need the name of an interface, which differs on the peer. */
        if (IN6_IS_ADDR_LINKLOCAL(&in->sin6_addr))
            return;
        a[0] = 6;
        memcpy(a + 1, &in->sin6_addr, 16);
    } else {
        return;
    }
    card->n_addr++;
}

void tlpi_card_fill(tlpi_card *card)
{
    struct ifaddrs *list = NULL;

    memset(card, 0, sizeof *card);
    memcpy(card->magic, magic, sizeof magic);
    if (gethostname(card->host, sizeof card->host - 1) != 0)
        snprintf(card->host, sizeof card->host, "unknown");
    fill_machine(card);
    if (getrandom(card->nonce, sizeof card->nonce, 0) !=
            (ssize_t)sizeof card->nonce ||
        getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *i = list; i; i = i->ifa_next)
        if (i->ifa_addr && (i->ifa_flags & IFF_UP) &&
            !(i->ifa_flags & IFF_LOOPBACK))
            add_addr(card, i->ifa_addr);
    freeifaddrs(list);
}

static bool is_printable(unsigned char c)
{
    return c > ' ' && c < 0x7f;
}

bool tlpi_card_check(tlpi_card *card)
{
    if (memcmp(card->magic, magic, sizeof magic) != 0 ||
        card->n_addr > TLPI_CARD_ADDRS)
        return false;
    card->machine[sizeof card->machine - 1] = '\0';
    card->host[sizeof card->host - 1] = '\0';
    for (char *c = card->host; *c; c++)
        if (!is_printable((unsigned char)*c))
            *c = '?';
    return true;
}

bool tlpi_card_same_machine(const tlpi_card *a, const tlpi_card *b)
{
    return strcmp(a->machine, b->machine) == 0;
}
