/*
 * safetensors.h - tensors in the safetensors format, in memory: reading with
 * checks, and laying out.
 *
 *   u64      bytes of the header, little-endian
 *   header   JSON: name -> {"dtype": "F32", "shape": [rows, cols],
 *            "data_offsets": [begin, end]}; "__metadata__": texts by name
 *   data     the tensors one after the other, without gaps
 *
 * Accepted are F32, F16 and BF16 in 1 to 4 dimensions, and where the caller
 * asks for bytes also U8, F8_E4M3, and single numbers without a dimension.  No
 * dimension is zero, and each tensor starts at a multiple
 * of its element's size.
 */
#ifndef TLPI_SAFETENSORS_H
#define TLPI_SAFETENSORS_H

#include "base/base.h"
#include "tensor/tensor.h"

/* The type of a tensor of bytes, which tensor.h has no type for; the number is
 * that of 8-bit integers in GGUF. */
#define TLPI_BYTES ((tlpi_dtype)24)
/* And of 8-bit floating-point numbers, with a number that GGUF does not use. */
#define TLPI_F8 ((tlpi_dtype)1008)

/* Enough for about fifty thousand tensors. */
#define TLPI_SAFETENSORS_MAX_HEADER ((size_t)8 << 20)

typedef struct tlpi_safetensors_meta {
    const char *key, *value;
} tlpi_safetensors_meta;

typedef struct tlpi_safetensors {
    const tlpi_env *env;
    size_t n_tensor, n_meta;
    /* in the order of their data, which stays in the image */
    tlpi_tensor *tensor;
    tlpi_safetensors_meta *meta;
    char *text; /* names, keys and values */
} tlpi_safetensors;

/* The image is borrowed and aligned to 4; `where` names it in errors. */
tlp_status tlpi_safetensors_open(tlpi_safetensors **out, const tlpi_env *env,
                                 const void *image, size_t n,
                                 const char *where);
/* Also with tensors of bytes. */
tlp_status tlpi_safetensors_open_bytes(tlpi_safetensors **out,
                                       const tlpi_env *env, const void *image,
                                       size_t n, const char *where);
void tlpi_safetensors_close(tlpi_safetensors *s); /* NULL is allowed */

/* The metadata text of a key, or NULL. */
const char *tlpi_safetensors_get(const tlpi_safetensors *s, const char *key);

/* TLP_EFORMAT for a tensor, F32 or F16, with a number that is not finite;
 * `where` names the image. */
tlp_status tlpi_safetensors_check_finite(const tlpi_tensor *t,
                                         const char *where);

/* A tensor of a new image. */
typedef struct tlpi_safetensors_part {
    char name[64];
    tlpi_dtype type;
    int n_dim;
    int64_t ne[4];  /* order of tlpi_tensor: columns first */
    uint8_t *data;  /* output: where to write the data */
    size_t n_bytes; /* output */
} tlpi_safetensors_part;

/*
 * The first bytes of an image of n parts, up to the data, added to an empty
 * text; *n_data: bytes of the data.  Wider types come before narrower ones;
 * within a type the order is kept.  Texts are printable ASCII; names and keys
 * have no quotes and no backslashes.
 */
tlp_status tlpi_safetensors_header(tlpi_text *header,
                                   tlpi_safetensors_part *part, size_t n,
                                   const tlpi_safetensors_meta *meta,
                                   size_t n_meta, size_t *n_data);

/* Allocate an image for n parts and write its header; the caller writes the
 * data. */
tlp_status tlpi_safetensors_lay_out(const tlpi_env *env,
                                    tlpi_safetensors_part *part, size_t n,
                                    const tlpi_safetensors_meta *meta,
                                    size_t n_meta, void **image,
                                    size_t *n_image);

#endif
