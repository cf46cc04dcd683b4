/*
 * digest.h - every byte of a model's tensors, in one hash.
 *
 * The bytes of a tensor are cut into chunks of 1 MiB, which threads hash side
 * by side.  The digest of a tensor is the SHA-256 of the SHA-256s of its
 * chunks.  The manifest of a model is a text with a line for each
 * hyper-parameter that makes another model and for each tensor, sorted:
 *
 *   key n_layer TAB 30
 *   tensor blk.0.attn_norm.weight TAB F32 576 sha256:...
 *
 * The digest of the model is the SHA-256 of its manifest.  How the files are
 * named, split, padded or ordered does not matter, nor does other metadata.
 *
 * Digests of tensors are kept in the user's cache (digest_cache.c).
 */
#ifndef TLPI_DIGEST_H
#define TLPI_DIGEST_H

#include <stdatomic.h>

#include "base/sha256.h"
#include "model/model.h"

enum { TLPI_DIGEST_BYTES = 32 };

/*
 * The digest and the manifest, computed at the first call.  Both are borrowed
 * from the model; an out-parameter may be NULL.  Any thread may call, and waits
 * while another thread computes.  TLP_ECANCELED once *stop, if given, is true.
 * TLP_EINVAL with vocab_only.
 */
tlp_status tlpi_model_digest(const tlp_model *m, const char **digest,
                             const char **manifest, const atomic_bool *stop);

/* The digest; "" where the model was opened with trust_sample or vocab_only. */
tlp_status tlpi_model_checked_digest(const tlp_model *m, const char **digest);

/* Bytes that were hashed so far; 0 before the first call. */
uint64_t tlpi_model_digest_progress(const tlp_model *m);

tlp_status tlpi_digest_create(struct tlpi_digest **out, const tlpi_env *env);
void tlpi_digest_free(const tlpi_env *env, struct tlpi_digest *d);

/* A test's function, which threads call after each chunk. */
typedef void (*tlpi_digest_tick)(void *user_data);
void tlpi_digest_set_tick(const tlp_model *m, tlpi_digest_tick fn,
                          void *user_data);

/* ==== manifests (manifest.c) ============================================= */

/* Write the manifest; digest[i] belongs to tensor i, counted over all files. */
void tlpi_manifest_write(tlpi_text *out, const tlp_model *m,
                         uint8_t (*digest)[TLPI_DIGEST_BYTES]);

/*
 * Name the first key or tensor in which two manifests differ, and both values,
 * those of rank 0 and of another rank.  Any text is safe as `theirs`.
 */
void tlpi_manifest_compare(char *out, size_t cap, const char *ours,
                           const char *theirs, int rank);

/* ==== the user's cache (digest_cache.c) ================================== */

/* The digests [n_tensor] of a file's tensors.  False where the cache has none
 * for this state of the file. */
bool tlpi_digest_cache_load(const tlpi_gguf *g,
                            uint8_t (*digest)[TLPI_DIGEST_BYTES]);
/* Does nothing where the cache cannot be written. */
void tlpi_digest_cache_store(const tlpi_gguf *g,
                             uint8_t (*digest)[TLPI_DIGEST_BYTES]);

#endif
