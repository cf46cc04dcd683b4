/*
 * sha256_block.h - what computes the blocks of SHA-256; private to sha256*.c
 * and their test.
 */
#ifndef TLPI_SHA256_BLOCK_H
#define TLPI_SHA256_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint32_t tlpi_sha256_k[64];

/* Add n blocks of 64 bytes to the state. */
void tlpi_sha256_blocks_any(uint32_t h[8], const uint8_t *data, size_t n);
void tlpi_sha256_blocks_shani(uint32_t h[8], const uint8_t *data, size_t n);

/* Whether this build and this CPU have the SHA instructions. */
bool tlpi_sha256_has_shani(void);

#endif
