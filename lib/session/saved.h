/*
 * saved.h - a sequence as bytes, for tlp_session_save and tlp_session_load.
 *
 * Numbers are little-endian:
 *
 *   "tlp-sequence"       12 bytes
 *   version              u32
 *   SHA-256              32 bytes, of all bytes before and behind it
 *   length               u64, of all bytes
 *   n_text, n_pos, first u32; first: page in which caches with windows begin
 *   n_rank               u32
 *   text                 [n_text] lines "key value": what the bytes fit to
 *   tokens               [n_pos] i32
 *   panels               [n_rank][2] u64: bytes that a rank holds of 16
 *                        positions, in caches of each kind (rank/kv_shape.h)
 *   pages                of kind ALL, then of kind WINDOW, by position; of each
 *                        page the parts of all ranks (rank/store.h)
 *
 * A page has as many panels of 16 positions as its tokens take.
 */
#ifndef TLPI_SAVED_H
#define TLPI_SAVED_H

#include "session/session.h"

#define TLPI_SAVED_MAGIC "tlp-sequence"
#define TLPI_SAVED_VERSION 1

/* Where the fields of the beginning are. */
enum {
    TLPI_SAVED_AT_VERSION = 12,
    TLPI_SAVED_AT_SHA256 = 16,
    TLPI_SAVED_AT_LENGTH = 48,
    TLPI_SAVED_AT_N_TEXT = 56,
    TLPI_SAVED_AT_N_POS = 60,
    TLPI_SAVED_AT_FIRST = 64,
    TLPI_SAVED_AT_N_RANK = 68,
    TLPI_SAVED_AT_TEXT = 72
};

/* A sequence of a session as it is saved, or as bytes describe it. */
typedef struct tlpi_saved {
    tlpi_text text;                                 /* of this session */
    int32_t n_pos, first;                           /* of the sequence */
    int begin[TLPI_N_KV_KIND], end[TLPI_N_KV_KIND]; /* pages by index */
    size_t at_tokens, at_panels, at_pages, n_bytes; /* of the bytes */
    uint64_t *panel; /* [n_rank][TLPI_N_KV_KIND] of this session */
    uint64_t *part;  /* [n_rank] bytes of the page that is being copied */
} tlpi_saved;

/* The text of a session and its panels.  Free it, also after a failure. */
tlp_status tlpi_saved_begin(tlpi_saved *v, tlp_session *s);
void tlpi_saved_free(const tlp_session *s, tlpi_saved *v);

/* Lay out a sequence of n_pos positions.  TLP_ENOMEM: its bytes are more than
 * any memory. */
tlp_status tlpi_saved_lay_out(tlpi_saved *v, const tlp_session *s,
                              int32_t n_pos, int32_t first, size_t n_text);

/* The command that copies the page at an index; sets v->part.  Returns the
 * bytes of the parts of all ranks. */
size_t tlpi_saved_copy(tlpi_saved *v, const tlp_session *s, int kind, int index,
                       int32_t page, tlpi_command *cmd);

/* The SHA-256 of the bytes. */
void tlpi_saved_hash(const uint8_t *bytes, size_t n, uint8_t digest[32]);

/* saved_text.c: what bytes are bound to. */
tlp_status tlpi_saved_write_text(tlpi_text *out, const tlp_session *s);
/* TLP_EMISMATCH names the first line in which n bytes of text differ. */
tlp_status tlpi_saved_check_text(const tlpi_text *own, const char *text,
                                 size_t n);

#endif
