/*
 * safetensors.h - tensors in the safetensors format, in memory: read and
 * checked, or laid out.
 *
 *   u64      bytes of the header, little-endian
 *   header   JSON: name -> {"dtype": "F32", "shape": [rows, cols],
 *            "data_offsets": [begin, end]}; "__metadata__": texts by name
 *   data     the tensors one after the other, without gaps
 *
 * Accepted are F32, F16 and BF16 in 1 to 4 dimensions, none of them zero, each
 * at a multiple of its element's size.
 */
#ifndef TLPI_SAFETENSORS_H
#define TLPI_SAFETENSORS_H

#include "base/base.h"
#include "tensor/tensor.h"

/* Some fifty thousand tensors. */
#define TLPI_SAFETENSORS_MAX_HEADER ((size_t)8 << 20)

typedef struct tlpi_safetensors_meta {
    const char *key, *value;
} tlpi_safetensors_meta;

typedef struct tlpi_safetensors {
    const tlpi_env *env;
    size_t n_tensor, n_meta;
    tlpi_tensor *tensor; /* in the order of their data, which the image holds */
    tlpi_safetensors_meta *meta;
    char *text; /* names, keys and values */
} tlpi_safetensors;

/* The image is borrowed, and at a multiple of 4; `where` names it in errors. */
tlp_status tlpi_safetensors_open(tlpi_safetensors **out, const tlpi_env *env,
                                 const void *image, size_t n,
                                 const char *where);
void tlpi_safetensors_close(tlpi_safetensors *s); /* NULL is fine */

/* NULL if there is none. */
const char *tlpi_safetensors_get(const tlpi_safetensors *s, const char *key);

/* A tensor to be written. */
typedef struct tlpi_safetensors_part {
    char name[64];
    tlpi_dtype type;
    int n_dim;
    int64_t ne[2];  /* as tlpi_tensor has them: columns first */
    uint8_t *data;  /* set by the layout: where its bytes go */
    size_t n_bytes; /* likewise */
} tlpi_safetensors_part;

/*
 * Allocate an image for n parts, its header written, its data to be filled in;
 * wider types stand before narrower ones, else the order is kept.  Names, keys
 * and values are printable ASCII without quotes or backslashes.
 */
tlp_status tlpi_safetensors_lay_out(const tlpi_env *env,
                                    tlpi_safetensors_part *part, size_t n,
                                    const tlpi_safetensors_meta *meta,
                                    size_t n_meta, void **image,
                                    size_t *n_image);

#endif
