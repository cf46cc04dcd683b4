/*
 * gguf.h - read the header of a GGUF file (v2, v3, little-endian).
 *
 *   magic "GGUF", u32 version, u64 n_tensor, u64 n_kv
 *   n_kv    x { string key, u32 type, value }
 *   n_tensor x { string name, u32 n_dim, u64 ne[n_dim], u32 type, u64 offset }
 *   padding to general.alignment (32), then the tensors' data; offsets count
 *   from there.  string = u64 length + bytes.  array = u32 type, u64 n, values.
 *
 * The file is hostile: every length is checked against the remaining file
 * before memory is allocated for it.  Values stay in the mapping; strings are
 * views (pointer, length) without a NUL.  Keys and tensor names are copied and
 * end in NUL.
 */
#ifndef TLPI_GGUF_H
#define TLPI_GGUF_H

#include "base/base.h"
#include "tensor/tensor.h"

typedef enum tlpi_gguf_type {
    TLPI_GGUF_U8,
    TLPI_GGUF_I8,
    TLPI_GGUF_U16,
    TLPI_GGUF_I16,
    TLPI_GGUF_U32,
    TLPI_GGUF_I32,
    TLPI_GGUF_F32,
    TLPI_GGUF_BOOL,
    TLPI_GGUF_STRING,
    TLPI_GGUF_ARRAY,
    TLPI_GGUF_U64,
    TLPI_GGUF_I64,
    TLPI_GGUF_F64,
    TLPI_GGUF_N_TYPE
} tlpi_gguf_type;

typedef struct tlpi_str {
    const char *s; /* not NUL-terminated */
    size_t n;
} tlpi_str;

typedef struct tlpi_gguf_kv {
    const char *key;     /* NUL-terminated, unique in the file */
    tlpi_gguf_type type; /* of the value, or of the elements of an array */
    bool is_array;
    uint64_t n;          /* elements; 1 when not an array */
    const uint8_t *data; /* first element, unaligned, inside the mapping */
    size_t n_bytes;
} tlpi_gguf_kv;

/* Where the data of a tensor come from that were made from the mapped file:
 * the place in the file, and a number for what was done to the bytes there. */
typedef struct tlpi_gguf_source {
    uint64_t at, how;
} tlpi_gguf_source;

typedef struct tlpi_gguf {
    const tlpi_env *env;
    char *path;
    struct tlpi_map *map; /* NULL: tables in memory, of no file */
    uint32_t version;
    uint64_t alignment;
    tlpi_gguf_kv *kv;
    size_t n_kv;
    tlpi_tensor *tensor; /* names unique, data inside the file, no overlap */
    size_t n_tensor;
    /* [n_kv] and [n_tensor]: entry numbers sorted by name.  Look-up time does
     * not depend on the names. */
    uint32_t *kv_index;
    uint32_t *tensor_index;
    char *names; /* all copied names, each NUL-terminated */
    /* of a file that gguf_build.h made, else NULL */
    void *image;              /* the tables */
    void *made;               /* data of tensors, outside the mapping */
    tlpi_gguf_source *source; /* [n_tensor] of data outside the mapping */
} tlpi_gguf;

typedef struct tlpi_gguf_options {
    bool no_mmap;
    bool vocab_only; /* read the descriptions of tensors; their data may be
                        missing and is NULL */
} tlpi_gguf_options;

/* Open and check one file.  Unsupported tensor types give TLP_ENOTSUP. */
tlp_status tlpi_gguf_open(tlpi_gguf **out, const tlpi_env *env,
                          const char *path, const tlpi_gguf_options *opts);
/* Open n bytes of memory that the caller keeps (tests, fuzzing). */
tlp_status tlpi_gguf_open_memory(tlpi_gguf **out, const tlpi_env *env,
                                 const void *data, size_t n);
void tlpi_gguf_close(tlpi_gguf *g); /* NULL is allowed */

const tlpi_gguf_kv *tlpi_gguf_find(const tlpi_gguf *g, const char *key);
const tlpi_tensor *tlpi_gguf_tensor(const tlpi_gguf *g, const char *name);

/*
 * Typed reads.  A missing key leaves *out unchanged and gives TLP_OK if `need`
 * is false, TLP_EFORMAT naming file and key if `need` is true.  A value of
 * another type or out of range gives TLP_EFORMAT.  Integers of any width are
 * accepted if the value fits, and f64 for f32.
 */
tlp_status tlpi_gguf_get_u32(const tlpi_gguf *g, const char *key, bool need,
                             uint32_t *out);
tlp_status tlpi_gguf_get_f32(const tlpi_gguf *g, const char *key, bool need,
                             float *out);
tlp_status tlpi_gguf_get_bool(const tlpi_gguf *g, const char *key, bool need,
                              bool *out);
tlp_status tlpi_gguf_get_str(const tlpi_gguf *g, const char *key, bool need,
                             tlpi_str *out);

/*
 * Next element of an array of strings; start with *at = kv->data.  Opening has
 * checked the lengths.
 */
tlpi_str tlpi_gguf_next_str(const uint8_t **at);
/* Neither float nor bool nor string. */
bool tlpi_gguf_is_integer(tlpi_gguf_type type);
/* Element i of a numeric array (any integer, bool or float type). */
double tlpi_gguf_elem_f64(const tlpi_gguf_kv *kv, uint64_t i);
int64_t tlpi_gguf_elem_i64(const tlpi_gguf_kv *kv, uint64_t i);

/* A value as text (tlp_model_get_meta): arrays as "type[n] a, b, c, ...". */
void tlpi_gguf_format(const tlpi_gguf_kv *kv, tlpi_text *out);

#endif
