/*
 * saved_bytes.c - sequences of a rig as bytes.
 */
#include "saved_bytes.h"

#include <stdlib.h>
#include <string.h>

void *saved_bytes(rig *r, int32_t seq, size_t *n)
{
    size_t again = 0;

    CHECK_FAILS(TLP_EBUFS, tlp_session_save(NULL, 0, n, r->session, seq));
    void *bytes = malloc(*n);
    CHECK_OK(tlp_session_save(bytes, *n, &again, r->session, seq));
    cr_assert_eq(again, *n);
    return bytes;
}

float *saved_extend(rig *r, int32_t seq, const int32_t *ids, int n)
{
    int32_t *seqs = malloc((size_t)n * sizeof *seqs);
    tlp_batch b = { sizeof b, (size_t)n, ids, seqs, NULL };
    float *copy = malloc(r->n_vocab * sizeof *copy);
    const float *row = NULL;

    for (int i = 0; i < n; i++)
        seqs[i] = seq;
    CHECK_OK(tlp_session_eval(r->session, &b));
    CHECK_OK(tlp_session_logits(&row, r->session, 0));
    memcpy(copy, row, r->n_vocab * sizeof *copy);
    free(seqs);
    return copy;
}
