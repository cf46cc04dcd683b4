/*
 * address.c - data that the processes exchange at a rendezvous: the machine of
 * each process, and the addresses of its sockets.
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

/* The kernel's random id of this boot.  Processes that share cores read one
 * id, also in different containers and networks. */
static void fill_machine(tlpi_address *address)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n =
        fd < 0 ? 0 : read(fd, address->machine, sizeof address->machine - 1);

    if (fd >= 0)
        close(fd);
    address->machine[n > 0 ? n : 0] = '\0';
    if (n <= 0)
        memcpy(address->machine, address->host, sizeof address->machine - 1);
}

static void add_addr(tlpi_address *address, const struct sockaddr *sa)
{
    uint8_t *a = address->addr[address->n_addr];

    if (address->n_addr == TLPI_ADDRESS_MAX_IP)
        return;
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;

        a[0] = 4;
        memcpy(a + 1, &in->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)sa;

        /* A link-local address needs the name of an interface on the peer. */
        if (IN6_IS_ADDR_LINKLOCAL(&in->sin6_addr))
            return;
        a[0] = 6;
        memcpy(a + 1, &in->sin6_addr, 16);
    } else {
        return;
    }
    address->n_addr++;
}

void tlpi_address_fill(tlpi_address *address)
{
    struct ifaddrs *list = NULL;

    memset(address, 0, sizeof *address);
    memcpy(address->magic, magic, sizeof magic);
    if (gethostname(address->host, sizeof address->host - 1) != 0)
        snprintf(address->host, sizeof address->host, "unknown");
    fill_machine(address);
    if (getrandom(address->nonce, sizeof address->nonce, 0) !=
            (ssize_t)sizeof address->nonce ||
        getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *i = list; i; i = i->ifa_next)
        if (i->ifa_addr && (i->ifa_flags & IFF_UP) &&
            !(i->ifa_flags & IFF_LOOPBACK))
            add_addr(address, i->ifa_addr);
    freeifaddrs(list);
}

static bool is_printable(unsigned char c)
{
    return c > ' ' && c < 0x7f;
}

bool tlpi_address_check(tlpi_address *address)
{
    if (memcmp(address->magic, magic, sizeof magic) != 0 ||
        address->n_addr > TLPI_ADDRESS_MAX_IP)
        return false;
    address->machine[sizeof address->machine - 1] = '\0';
    address->host[sizeof address->host - 1] = '\0';
    for (char *c = address->host; *c; c++)
        if (!is_printable((unsigned char)*c))
            *c = '?';
    return true;
}

bool tlpi_address_same_machine(const tlpi_address *a, const tlpi_address *b)
{
    return strcmp(a->machine, b->machine) == 0;
}
