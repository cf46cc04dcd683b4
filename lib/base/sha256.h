/*
 * sha256.h - SHA-256 (FIPS 180-4).
 */
#ifndef TLPI_SHA256_H
#define TLPI_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct tlpi_sha256 {
    uint32_t h[8];
    uint64_t n_bytes;  /* hashed so far */
    uint8_t block[64]; /* holds n_bytes % 64 bytes */
} tlpi_sha256;

void tlpi_sha256_init(tlpi_sha256 *s);
void tlpi_sha256_add(tlpi_sha256 *s, const void *data, size_t n);
/* The state is used up. */
void tlpi_sha256_finish(tlpi_sha256 *s, uint8_t digest[32]);

/* "sha256:" and 64 digits, as files name a hash; the state is used up. */
enum { TLPI_HASH_TEXT = 72 };
void tlpi_sha256_text(tlpi_sha256 *s, char out[TLPI_HASH_TEXT]);

/* Of token ids as little-endian int32. */
void tlpi_sha256_ids(const int32_t *ids, size_t n, char out[TLPI_HASH_TEXT]);

#endif
