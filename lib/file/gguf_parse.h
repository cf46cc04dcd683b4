/*
 * gguf_parse.h - internals of the GGUF reader: a cursor over the file, and the
 * steps of opening in order.
 */
#ifndef TLPI_GGUF_PARSE_H
#define TLPI_GGUF_PARSE_H

#include "file/gguf.h"

typedef struct tlpi_cursor {
    const char *path;
    const uint8_t *begin, *at, *end;
} tlpi_cursor;

static inline size_t tlpi_cursor_left(const tlpi_cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* Copy the next n bytes; `what` names them in the error if the file ends. */
tlp_status tlpi_cursor_take(tlpi_cursor *c, void *out, size_t n,
                            const char *what);
/* Read the next string as a view. */
tlp_status tlpi_cursor_str(tlpi_cursor *c, tlpi_str *out, const char *what);
/* Read a name: a string of at most max bytes without NUL. */
tlp_status tlpi_cursor_name(tlpi_cursor *c, tlpi_str *out, size_t max,
                            const char *what);

/* printf arguments ("%.*s") for a string view, cut at 128 bytes. */
#define TLPI_STR_ARGS(str) (int)TLPI_MIN((str).n, (size_t)128), (str).s

/* Bytes of a scalar type; 0 for strings and arrays. */
size_t tlpi_gguf_type_size(tlpi_gguf_type type);
const char *tlpi_gguf_type_name(tlpi_gguf_type type);

/*
 * Parse the two tables.  Until tlpi_gguf_index has run, keys and names point
 * into the file, where their length stands directly before them.
 */
tlp_status tlpi_gguf_parse_kv(tlpi_gguf *g, tlpi_cursor *c, uint64_t n);
tlp_status tlpi_gguf_parse_tensors(tlpi_gguf *g, tlpi_cursor *c, uint64_t n,
                                   uint64_t *offset);

/* Open a file of which the caller keeps the bytes; errors name `path`.  With
 * vocab_only the bytes may be the tables alone, and tensors get no data. */
tlp_status tlpi_gguf_open_bytes(tlpi_gguf **out, const tlpi_env *env,
                                const char *path, const void *data, size_t n,
                                bool vocab_only);

/* Copy all names, sort them, and refuse duplicates. */
tlp_status tlpi_gguf_index(tlpi_gguf *g);

/* Set the data of all tensors, in [c->at, c->end) without padding. */
tlp_status tlpi_gguf_place(tlpi_gguf *g, const tlpi_cursor *c,
                           const uint64_t *offset);

/* Sort n numbers by `less` in n log n steps for every input order. */
typedef bool (*tlpi_less_fn)(const void *ctx, uint32_t a, uint32_t b);
void tlpi_sort(uint32_t *x, size_t n, tlpi_less_fn less, const void *ctx);

#endif
