/*
 * hparams_read.h - one key of a file's architecture at a time.
 *
 * Functions fail with a text that names the file, the key and its value.  A key
 * that is missing leaves *out as it is, unless the file must have it.
 */
#ifndef TLPI_HPARAMS_READ_H
#define TLPI_HPARAMS_READ_H

#include "model/model.h"

#define TLPI_MAX_CTX (1 << 30)

/* A key of the architecture: "llama." + suffix. */
typedef struct tlpi_arch_key {
    char name[64];
} tlpi_arch_key;

tlpi_arch_key tlpi_hparams_key(const tlpi_hparams *hp, const char *suffix);

bool tlpi_str_is(tlpi_str s, const char *text);

/* An integer in [lo, hi]. */
tlp_status tlpi_hparams_int(const tlpi_hparams *hp, const tlpi_gguf *g,
                            const char *suffix, bool need, int lo, int hi,
                            int *out);

/* A number in [lo, hi], lo excluded; NaN is in no range. */
tlp_status tlpi_hparams_float(const tlpi_hparams *hp, const tlpi_gguf *g,
                              const char *suffix, bool need, double lo,
                              double hi, float *out);

/* hparams_rope.c: which layers rotate, and how their positions are scaled. */
tlp_status tlpi_hparams_rope(tlpi_hparams *hp, const tlpi_gguf *g);
/* The keys of longrope, of a file that has its tensors without its type. */
tlp_status tlpi_hparams_long(tlpi_hparams *hp, const tlpi_gguf *g);

#endif
