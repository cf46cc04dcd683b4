/*
 * peer_reduce.c - sums over processes.
 *
 * A short vector, and any vector between two ranks, goes to every rank, and
 * each rank sums all vectors: one latency.  Of a long vector rank r sums piece
 * r and sends the sum to all ranks: two latencies, but 2 (R - 1) / R vectors
 * through each link instead of R - 1.
 *
 * Every term is decoded from a slot, also this rank's own term.  A wire type
 * that rounds therefore rounds alike on all ranks.
 */
#include <string.h>

#include "comm/peer.h"
#include "comm/sum.h"
#include "comm/wire.h"

/* Longest vector, in bytes, that goes to every rank when there are more than
 * two.  For longer vectors the second latency costs less than the saved
 * traffic.  A link of 1 or 10 Gbit/s carries about half of this size in its
 * latency. */
#define DIRECT_BYTES ((size_t)64 * 1024)

/* Start of a rank's piece; pieces are cut between wire blocks. */
static size_t piece_at(size_t n, int rank, int size)
{
    size_t blocks = (n + TLPI_WIRE_BLOCK - 1) / TLPI_WIRE_BLOCK;
    size_t at = blocks * (size_t)rank / (size_t)size * TLPI_WIRE_BLOCK;

    return TLPI_MIN(at, n);
}

void tlpi_peer_reduce_slots(int size, size_t n, int *n_send, int *n_recv)
{
    size_t blocks = (n + TLPI_WIRE_BLOCK - 1) / TLPI_WIRE_BLOCK;
    size_t ranks = (size_t)size;
    size_t piece = (blocks + ranks - 1) / ranks * TLPI_WIRE_BLOCK;
    size_t parts = tlpi_peer_parts(TLP_WIRE_F32, size > 2 ? piece : n);

    *n_send = (int)(size > 2 ? ranks * parts : parts);
    *n_recv = (int)(size > 2 ? 2 * (ranks - 1) * parts : parts);
}

/* Add the term of rank q to the sum in x; calls come in rank order. */
static void add_term(int wire, float *x, int q, const char *first,
                     const char *term, size_t n)
{
    if (wire != TLP_WIRE_F32 && q == 0)
        tlpi_wire_decode(wire, x, term, n);
    else if (wire != TLP_WIRE_F32)
        tlpi_wire_decode_add(wire, x, term, n);
    else if (q > 0)
        tlpi_sum(x, q == 1 ? (const void *)first : x, (const void *)term, n);
}

/*
 * Sum n elements into x as the terms arrive.  This rank's term is in a send
 * slot; the terms of the other ranks arrive in receive slots from `recv` on,
 * in rank order.
 */
static tlp_status sum_part(tlpi_peer_call *call, float *x, size_t n,
                           const char *own, size_t recv, uint32_t *votes)
{
    const tlpi_comm_peer *c = call->c;
    int wire = call->head.wire;
    size_t bytes = tlpi_wire_bytes(wire, n);
    const char *first = NULL;

    for (int q = 0; q < c->base.size; q++) {
        const char *term = own;
        if (q != c->base.rank) {
            tlp_status st =
                tlpi_peer_wait_recv(call, recv, q, &call->head, bytes, votes);
            if (st != TLP_OK)
                return st;
            term = tlpi_peer_recv_slot(c->root, recv++);
        }
        if (q == 0)
            first = term;
        add_term(wire, x, q, first, term, n);
    }
    return TLP_OK;
}

static tlp_status post_to_all(tlpi_peer_call *call, size_t slot, size_t bytes)
{
    const tlpi_comm *c = &call->c->base;
    tlp_status st = TLP_OK;

    for (int i = 1; i < c->size && st == TLP_OK; i++)
        st = tlpi_peer_post_send(call, slot, (c->rank + i) % c->size, bytes);
    return st;
}

static tlp_status ask_all(tlpi_peer_call *call, size_t recv)
{
    const tlpi_comm *c = &call->c->base;
    tlp_status st = TLP_OK;

    for (int q = 0; q < c->size && st == TLP_OK; q++)
        if (q != c->rank)
            st = tlpi_peer_post_recv(call, recv++, q);
    return st;
}

/* ==== one step =========================================================== */

static tlp_status reduce_direct(tlpi_peer_call *call, float *x, size_t n,
                                uint32_t *votes)
{
    const tlpi_comm_peer *c = call->c;
    int wire = call->head.wire;
    size_t n_peer = (size_t)c->base.size - 1;
    size_t room = tlpi_peer_room(wire), n_part = tlpi_peer_parts(wire, n);
    tlp_status st = TLP_OK;

    call->head.vote = *votes;
    for (size_t k = 0; k < n_part; k++) {
        size_t m = TLPI_MIN(n - k * room, room);
        tlpi_wire_encode(wire, tlpi_peer_send_slot(c->root, k), x + k * room,
                         m);
        call->head.part = (uint32_t)k;
        TLP_TRY(post_to_all(call, k, tlpi_wire_bytes(wire, m)));
        TLP_TRY(ask_all(call, k * n_peer));
    }
    for (size_t k = 0; k < n_part; k++) {
        call->head.part = (uint32_t)k;
        TLP_TRY(sum_part(call, x + k * room, TLPI_MIN(n - k * room, room),
                         tlpi_peer_send_slot(c->root, k), k * n_peer, votes));
    }
    TLP_TRY(tlpi_peer_wait_sends(call, n_part));
done:
    return st;
}

/* ==== two steps ========================================================== */

/* Layout of a vector that is summed in pieces. */
typedef struct pieces {
    float *x;
    size_t n;
    size_t own; /* slots of this rank's piece: `own` send slots come first, and
                   `own` receive slots for each other rank */
    size_t sends; /* send slots in use */
} pieces;

static size_t piece_size(const pieces *p, int rank, int size)
{
    return piece_at(p->n, rank + 1, size) - piece_at(p->n, rank, size);
}

static size_t piece_parts(const pieces *p, int wire, int rank, int size)
{
    size_t n = piece_size(p, rank, size);
    return n == 0 ? 0 : tlpi_peer_parts(wire, n);
}

/* Send to each other rank this rank's values of that rank's piece. */
static tlp_status scatter_terms(tlpi_peer_call *call, pieces *p)
{
    const tlpi_comm_peer *c = call->c;
    int wire = call->head.wire, size = c->base.size;
    size_t room = tlpi_peer_room(wire);
    tlp_status st = TLP_OK;

    p->sends = p->own;
    for (int i = 1; i < size; i++) {
        int to = (c->base.rank + i) % size;
        const float *x = p->x + piece_at(p->n, to, size);
        size_t n = piece_size(p, to, size);
        for (size_t k = 0; k * room < n; k++, p->sends++) {
            size_t m = TLPI_MIN(n - k * room, room);
            tlpi_wire_encode(wire, tlpi_peer_send_slot(c->root, p->sends),
                             x + k * room, m);
            call->head.part = (uint32_t)k;
            TLP_TRY(tlpi_peer_post_send(call, p->sends, to,
                                        tlpi_wire_bytes(wire, m)));
        }
    }
    for (size_t k = 0; k < p->own; k++)
        TLP_TRY(ask_all(call, k * (size_t)(size - 1)));
done:
    return st;
}

/* Sum this rank's piece and send the sum to all ranks.  The first sum
 * completes the votes of all ranks, which the sums carry on. */
static tlp_status sum_piece(tlpi_peer_call *call, const pieces *p,
                            uint32_t *votes)
{
    const tlpi_comm_peer *c = call->c;
    int wire = call->head.wire, size = c->base.size;
    float *x = p->x + piece_at(p->n, c->base.rank, size);
    size_t n = piece_size(p, c->base.rank, size), room = tlpi_peer_room(wire);
    tlp_status st = TLP_OK;

    for (size_t k = 0; k < p->own; k++, x += room) {
        size_t m = TLPI_MIN(n - k * room, room);
        char *slot = tlpi_peer_send_slot(c->root, k);
        tlpi_wire_encode(wire, slot, x, m);
        call->head.op = TLPI_PEER_ALLREDUCE;
        call->head.part = (uint32_t)k;
        TLP_TRY(sum_part(call, x, m, slot, k * (size_t)(size - 1), votes));
        tlpi_wire_encode(wire, slot, x, m);
        if (wire != TLP_WIRE_F32)
            tlpi_wire_decode(wire, x, slot, m);
        call->head.op = TLPI_PEER_SUM;
        call->head.vote = *votes;
        TLP_TRY(post_to_all(call, k, tlpi_wire_bytes(wire, m)));
    }
done:
    return st;
}

static tlp_status ask_sums(tlpi_peer_call *call, const pieces *p)
{
    int wire = call->head.wire, size = call->c->base.size;
    size_t slot = p->own * (size_t)(size - 1);
    tlp_status st = TLP_OK;

    for (int q = 0; q < size; q++) {
        if (q == call->c->base.rank)
            continue;
        size_t n_part = piece_parts(p, wire, q, size);
        for (size_t k = 0; k < n_part; k++)
            TLP_TRY(tlpi_peer_post_recv(call, slot++, q));
    }
done:
    return st;
}

static tlp_status take_sums(tlpi_peer_call *call, const pieces *p,
                            uint32_t *votes)
{
    const tlpi_comm_peer *c = call->c;
    int wire = call->head.wire, size = c->base.size;
    size_t slot = p->own * (size_t)(size - 1), room = tlpi_peer_room(wire);
    tlp_status st = TLP_OK;

    call->head.op = TLPI_PEER_SUM;
    for (int q = 0; q < size; q++) {
        if (q == c->base.rank)
            continue;
        float *x = p->x + piece_at(p->n, q, size);
        size_t n = piece_size(p, q, size);
        for (size_t k = 0; k * room < n; k++, slot++) {
            size_t m = TLPI_MIN(n - k * room, room);
            call->head.part = (uint32_t)k;
            TLP_TRY(tlpi_peer_wait_recv(call, slot, q, &call->head,
                                        tlpi_wire_bytes(wire, m), votes));
            tlpi_wire_decode(wire, x + k * room,
                             tlpi_peer_recv_slot(c->root, slot), m);
        }
    }
done:
    return st;
}

/*
 * Receives are posted in the order in which each peer sends: first its terms,
 * then its sums.
 */
static tlp_status reduce_in_pieces(tlpi_peer_call *call, float *x, size_t n,
                                   uint32_t *votes)
{
    pieces p = { .x = x, .n = n };
    tlp_status st = TLP_OK;

    p.own = piece_parts(&p, call->head.wire, call->c->base.rank,
                        call->c->base.size);
    call->head.vote = *votes;
    TLP_TRY(scatter_terms(call, &p));
    TLP_TRY(ask_sums(call, &p));
    TLP_TRY(sum_piece(call, &p, votes));
    TLP_TRY(take_sums(call, &p, votes));
    TLP_TRY(tlpi_peer_wait_sends(call, p.sends));
done:
    return st;
}

tlp_status tlpi_peer_reduce(tlpi_peer_call *call, float *x, size_t n,
                            uint32_t *votes)
{
    size_t n_peer = (size_t)call->c->base.size - 1;
    size_t bytes = tlpi_wire_bytes(call->head.wire, n);

    if (n_peer == 1 || n_peer * bytes < DIRECT_BYTES)
        return reduce_direct(call, x, n, votes);
    return reduce_in_pieces(call, x, n, votes);
}
