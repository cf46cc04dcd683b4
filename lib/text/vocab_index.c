/*
 * vocab_index.c - token text -> id: open addressing, at most half full.
 *
 * Hashes are seeded by an address, so that a file cannot choose texts that
 * collide.
 */
#include <string.h>

#include "text/vocab_impl.h"

static uint64_t hash_bytes(uint64_t h, tlpi_str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (uint8_t)s.s[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* The low bits of a product know nothing of its high bits: fold. */
static uint32_t hash_end(uint64_t h)
{
    h = (h ^ (h >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32);
}

static bool is_joined(tlpi_str text, tlpi_str a, tlpi_str b)
{
    return text.n == a.n + b.n && memcmp(text.s, a.s, a.n) == 0 &&
           (b.n == 0 || memcmp(text.s + a.n, b.s, b.n) == 0);
}

/* The slot that holds a + b, or the free one where it belongs. */
static tlpi_index_slot *slot_of(const tlpi_vocab *v, tlpi_str a, tlpi_str b,
                                uint32_t *hash)
{
    const tlpi_index *x = &v->index;
    uint32_t h = hash_end(hash_bytes(hash_bytes(x->seed, a), b));

    *hash = h;
    for (size_t i = h & x->mask;; i = (i + 1) & x->mask) {
        tlpi_index_slot *slot = &x->slot[i];
        if (slot->id < 0 ||
            (slot->hash == h && is_joined(v->text[slot->id], a, b)))
            return slot;
    }
}

tlp_status tlpi_index_create(tlpi_vocab *v)
{
    const tlpi_str none = { "", 0 };
    size_t n_slot = 16;

    while (n_slot < (size_t)v->n_token * 2)
        n_slot *= 2;
    v->index.slot = tlpi_alloc_array(v->env, n_slot, sizeof *v->index.slot);
    if (!v->index.slot)
        return tlpi_fail_nomem_for("a vocabulary");
    memset(v->index.slot, 0xff, n_slot * sizeof *v->index.slot);
    v->index.mask = n_slot - 1;
    v->index.seed = (uint64_t)(uintptr_t)v->index.slot;

    for (int32_t id = 0; id < v->n_token; id++) {
        tlpi_str text = v->text[id];
        uint32_t hash;
        if (text.n == 0)
            continue;
        tlpi_index_slot *slot = slot_of(v, text, none, &hash);
        if (slot->id >= 0)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key tokenizer.ggml.tokens: \"%.*s\" stands "
                             "at %d and at %d",
                             v->g->path, TLPI_STR(text), slot->id, id);
        *slot = (tlpi_index_slot){ hash, id };
    }
    return TLP_OK;
}

int32_t tlpi_index_find(const tlpi_vocab *v, tlpi_str a, tlpi_str b)
{
    uint32_t hash;

    return slot_of(v, a, b, &hash)->id;
}

int32_t tlpi_index_find1(const tlpi_vocab *v, const char *s, size_t n)
{
    return tlpi_index_find(v, (tlpi_str){ s, n }, (tlpi_str){ "", 0 });
}
