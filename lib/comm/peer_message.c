/*
 * peer_message.c - messages in slots: build, send, receive, check; long
 * payloads as several messages.
 */
#include <string.h>

#include "comm/peer.h"
#include "comm/wire.h"

/* ==== what is expected =================================================== */

static const char *op_name(uint32_t op)
{
    static const char *const names[] = {
        [TLPI_PEER_ALLREDUCE] = "all-reduce", [TLPI_PEER_SUM] = "sum",
        [TLPI_PEER_GATHER] = "gather",        [TLPI_PEER_BCAST] = "bcast",
        [TLPI_PEER_SEND_NEXT] = "message",    [TLPI_PEER_SPLIT] = "split",
    };
    return op >= 1 && op < TLPI_COUNT(names) ? names[op] : "nothing known";
}

tlp_status tlpi_peer_begin(tlpi_peer_call *call, tlpi_comm_peer *c, uint32_t op,
                           size_t bytes, int wire)
{
    double now = tlpi_now();

    *call = (tlpi_peer_call){
        .c = c,
        .head = { .op = op, .group = c->id, .bytes = bytes, .wire = wire },
        .tag = c->root->tag + TLPI_PEER_TAG_CALL,
        .start = now,
        .since = now,
        .now = now,
    };
    tlp_status st = tlpi_peer_check(c->root);
    if (st == TLP_OK && op != TLPI_PEER_SEND_NEXT)
        call->head.seq = ++c->seq;
    return st;
}

static tlp_status out_of_step(const tlpi_peer_call *call, int from,
                              const tlpi_peer_header *want,
                              const tlpi_peer_header *found)
{
    const tlpi_comm_peer *c = call->c;

    return tlpi_peer_fail(
        c->root,
        tlpi_fail(TLP_ECOMM,
                  "out of step: rank %d: %s %u.%u of %llu bytes in group %x, "
                  "rank %d: %s %u.%u of %llu bytes in group %x",
                  c->root->t->rank, op_name(want->op), want->seq, want->part,
                  (unsigned long long)want->bytes, want->group,
                  tlpi_peer_root_rank(c, from), op_name(found->op), found->seq,
                  found->part, (unsigned long long)found->bytes, found->group));
}

/* ==== slots ============================================================== */

char *tlpi_peer_send_slot(const tlpi_peer_root *root, size_t slot)
{
    return root->memory + slot * TLPI_EAGER_BYTES + sizeof(tlpi_peer_header);
}

char *tlpi_peer_recv_slot(const tlpi_peer_root *root, size_t slot)
{
    return tlpi_peer_send_slot(root, (size_t)root->n_send + slot);
}

static tlp_status refused(const tlpi_peer_call *call, tlp_status st, int rank,
                          const char *err)
{
    return tlpi_peer_fail(
        call->c->root,
        tlpi_fail(st, "rank %d: %s", tlpi_peer_root_rank(call->c, rank), err));
}

tlp_status tlpi_peer_post_send(tlpi_peer_call *call, size_t slot, int to,
                               size_t payload)
{
    tlpi_peer_root *root = call->c->root;
    char *message = tlpi_peer_send_slot(root, slot) - sizeof call->head;
    int rank = tlpi_peer_root_rank(call->c, to);
    char err[TLPI_PEER_TEXT];

    memcpy(message, &call->head, sizeof call->head);
    tlp_status st = root->ops->send(
        root->t, &root->sends[slot * (size_t)root->size + (size_t)rank], rank,
        call->tag, message, sizeof call->head + payload, err, sizeof err);
    return st == TLP_OK ? st : refused(call, st, to, err);
}

static tlp_status drain_slot(tlpi_peer_call *call, size_t slot)
{
    tlpi_peer_root *root = call->c->root;
    tlpi_xfer **x = &root->sends[slot * (size_t)root->size];

    for (int r = 0; r < call->c->base.size; r++) {
        int rank = tlpi_peer_root_rank(call->c, r);
        if (!x[rank])
            continue;
        tlp_status st = tlpi_peer_finish(call, &x[rank], r, NULL);
        if (st != TLP_OK)
            return st;
    }
    return TLP_OK;
}

tlp_status tlpi_peer_wait_sends(tlpi_peer_call *call, size_t n)
{
    tlp_status st = TLP_OK;

    for (size_t slot = 0; slot < n && st == TLP_OK; slot++)
        st = drain_slot(call, slot);
    return st;
}

tlp_status tlpi_peer_post_recv(tlpi_peer_call *call, size_t slot, int from)
{
    tlpi_peer_root *root = call->c->root;
    char *message = tlpi_peer_recv_slot(root, slot) - sizeof call->head;
    char err[TLPI_PEER_TEXT];

    tlp_status st = root->ops->recv(
        root->t, &root->recvs[slot], tlpi_peer_root_rank(call->c, from),
        call->tag, message, TLPI_EAGER_BYTES, err, sizeof err);
    return st == TLP_OK ? st : refused(call, st, from, err);
}

tlp_status tlpi_peer_wait_recv(tlpi_peer_call *call, size_t slot, int from,
                               const tlpi_peer_header *head, size_t payload,
                               uint32_t *vote)
{
    tlpi_peer_root *root = call->c->root;
    tlpi_peer_header found = { 0 };
    size_t got = 0;

    tlp_status st = tlpi_peer_finish(call, &root->recvs[slot], from, &got);
    if (st != TLP_OK)
        return st;
    if (got >= sizeof found)
        memcpy(&found, tlpi_peer_recv_slot(root, slot) - sizeof found,
               sizeof found);
    if (got != sizeof found + payload ||
        memcmp(&found, head, offsetof(tlpi_peer_header, vote)) != 0)
        return out_of_step(call, from, head, &found);
    *vote |= found.vote;
    return TLP_OK;
}

/* ==== long payloads ====================================================== */

size_t tlpi_peer_room(int wire)
{
    if (wire == TLPI_PEER_RAW)
        return TLPI_PEER_PAYLOAD;
    return TLPI_PEER_PAYLOAD / tlpi_wire_bytes(wire, TLPI_WIRE_BLOCK) *
           TLPI_WIRE_BLOCK;
}

size_t tlpi_peer_parts(int wire, size_t n)
{
    size_t room = tlpi_peer_room(wire);

    return n == 0 ? 1 : (n - 1) / room + 1;
}

static size_t packed_bytes(int wire, size_t n)
{
    return wire == TLPI_PEER_RAW ? n : tlpi_wire_bytes(wire, n);
}

static size_t element_bytes(int wire)
{
    return wire == TLPI_PEER_RAW ? 1 : sizeof(float);
}

static void pack(int wire, char *slot, const void *src, size_t n)
{
    if (wire != TLPI_PEER_RAW)
        tlpi_wire_encode(wire, slot, src, n);
    else if (n > 0)
        memcpy(slot, src, n);
}

static void unpack(int wire, void *dst, const char *slot, size_t n)
{
    if (wire != TLPI_PEER_RAW)
        tlpi_wire_decode(wire, dst, slot, n);
    else if (n > 0)
        memcpy(dst, slot, n);
}

tlp_status tlpi_peer_push(tlpi_peer_call *call, int to, int count,
                          const void *src, size_t n)
{
    int wire = call->head.wire;
    size_t n_slot = (size_t)call->c->root->n_send;
    size_t room = tlpi_peer_room(wire), n_part = tlpi_peer_parts(wire, n);
    const char *at = src;
    tlp_status st = TLP_OK;

    for (size_t k = 0; k < n_part; k++) {
        size_t m = TLPI_MIN(n - k * room, room), slot = k % n_slot;
        TLP_TRY(drain_slot(call, slot));
        pack(wire, tlpi_peer_send_slot(call->c->root, slot), at, m);
        call->head.part = (uint32_t)k;
        for (int r = to; r < to + count; r++)
            TLP_TRY(tlpi_peer_post_send(call, slot, r, packed_bytes(wire, m)));
        at += m * element_bytes(wire);
    }
    TLP_TRY(tlpi_peer_wait_sends(call, TLPI_MIN(n_part, n_slot)));
done:
    return st;
}

tlp_status tlpi_peer_pull(tlpi_peer_call *call, int from, void *dst, size_t n)
{
    int wire = call->head.wire;
    size_t n_slot = (size_t)call->c->root->n_recv;
    size_t room = tlpi_peer_room(wire), n_part = tlpi_peer_parts(wire, n);
    size_t asked = 0;
    char *at = dst;
    uint32_t vote = 0;
    tlp_status st = TLP_OK;

    for (size_t k = 0; k < n_part; k++) {
        size_t m = TLPI_MIN(n - k * room, room), slot = k % n_slot;
        for (; asked < TLPI_MIN(n_part, k + n_slot); asked++)
            TLP_TRY(tlpi_peer_post_recv(call, asked % n_slot, from));
        call->head.part = (uint32_t)k;
        TLP_TRY(tlpi_peer_wait_recv(call, slot, from, &call->head,
                                    packed_bytes(wire, m), &vote));
        call->idle = false; /* further parts follow at once */
        unpack(wire, at, tlpi_peer_recv_slot(call->c->root, slot), m);
        at += m * element_bytes(wire);
    }
done:
    return st;
}
