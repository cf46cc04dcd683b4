/*
 * base.h - declarations that every other module may use: failing, memory,
 * logging, options.
 */
#ifndef TLPI_BASE_H
#define TLPI_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlp.h"

#if defined(__GNUC__) || defined(__clang__)
#define TLPI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define TLPI_PRINTF(fmt, args)
#endif

/* ==== failing (status.c) ================================================= */

/* Record the text of a failure on this thread and return its status. */
tlp_status tlpi_fail(tlp_status status, const char *fmt, ...) TLPI_PRINTF(2, 3);

/* Record "out of memory for ...", with the purpose from fmt and the number of
 * bytes that this thread failed to get, and return TLP_ENOMEM.  Allocates
 * nothing. */
tlp_status tlpi_fail_nomem_for(const char *fmt, ...) TLPI_PRINTF(1, 2);

/* Put `text` before the recorded text ("model.gguf: " + ...); returns
 * status. */
tlp_status tlpi_fail_prefix(tlp_status status, const char *fmt, ...)
    TLPI_PRINTF(2, 3);

/*
 * The only macro for passing a failure on.  The function needs a variable
 * `tlp_status st` and a label `done`, where it frees its resources in reverse
 * order.
 */
#define TLP_TRY(expr)                                                          \
    do {                                                                       \
        st = (expr);                                                           \
        if (st != TLP_OK)                                                      \
            goto done;                                                         \
    } while (0)

/* ==== environment (alloc.c, log.c) ======================================= */

/*
 * Memory and log of the host program, given when it opened the model.  The
 * model owns this struct; plans, sessions and ranks borrow it (const).
 */
typedef struct tlpi_env {
    tlp_allocator mem; /* both functions set */
    tlp_log_fn log;    /* may be NULL */
    void *log_data;
} tlpi_env;

/* Fill env from options; TLP_EINVAL if only one memory function is set. */
tlp_status tlpi_env_init(tlpi_env *env, const tlp_allocator *mem,
                         tlp_log_fn log, void *log_data);

/* 64-byte aligned; NULL when out of memory or on overflow.  Size 0 is valid. */
void *tlpi_alloc(const tlpi_env *env, size_t size);            /* not cleared */
void *tlpi_calloc(const tlpi_env *env, size_t n, size_t size); /* cleared */
void *tlpi_alloc_array(const tlpi_env *env, size_t n, size_t size);
/* Not cleared; in huge pages if the system has them. */
void *tlpi_alloc_huge(const tlpi_env *env, size_t size);
/* Grow to n elements and keep the contents; on failure p stays valid. */
void *tlpi_realloc_array(const tlpi_env *env, void *p, size_t n, size_t size);
char *tlpi_strndup(const tlpi_env *env, const char *s, size_t n);
void tlpi_free(const tlpi_env *env, void *p); /* NULL is fine */
/* Bytes of the last allocation of this thread that failed since the last call,
 * SIZE_MAX for more than any memory, 0 if none failed.  A caller that goes on
 * without the memory calls it too. */
size_t tlpi_alloc_take_missing(void);

void tlpi_log(const tlpi_env *env, int level, const char *fmt, ...)
    TLPI_PRINTF(3, 4);

/* ==== options and out structs (options.c) ================================ */

/*
 * Read a public struct. dst holds zeroes or defaults for `size` bytes.  Copies
 * the fields that both versions of the struct have.  A caller's struct that is
 * longer and has a non-zero tail gives TLP_EABI; a struct_size smaller than a
 * size_t gives TLP_EINVAL. src NULL leaves dst unchanged. dst->struct_size
 * becomes `size`.
 */
tlp_status tlpi_options_read(void *dst, size_t size, const void *src,
                             const char *name);

/*
 * Check the struct_size of a struct that tlpi_struct_write will fill, before
 * the work for it begins; `size` is the library's.
 */
tlp_status tlpi_struct_check(const void *dst, size_t size, const char *name);

/* TLP_EINVAL unless the value of a flag is 0 or 1.  `name` is the whole name:
 * "model option no_mmap". */
tlp_status tlpi_flag_check(const char *name, int64_t value);

/*
 * Write `src` (size bytes, struct_size first) to a caller's struct whose
 * struct_size is set.  Copies the shorter of both lengths and clears the rest
 * of *dst.
 */
tlp_status tlpi_struct_write(void *dst, const void *src, size_t size,
                             const char *name);

/* Copy n bytes and a NUL out, by the (buf, cap, len) convention of tlp.h. */
tlp_status tlpi_copy_out(const char *text, size_t n, char *buf, size_t cap,
                         size_t *len);

/* ==== small helpers ====================================================== */

/* Most ranks of a session and of a prediction. */
enum { TLPI_MAX_RANK = 64 };

#define TLPI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define TLPI_MAX(a, b) ((a) > (b) ? (a) : (b))
#define TLPI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* a * b and a + b in size_t; false on overflow. */
static inline bool tlpi_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool tlpi_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/*
 * vsnprintf for messages (line.c).  The result is one line of valid UTF-8: '?'
 * replaces control characters and invalid bytes, and a text too long for cap
 * is cut between characters.  Returns the length.
 */
size_t tlpi_format_line(char *buf, size_t cap, const char *fmt, va_list args)
    TLPI_PRINTF(3, 0);
/* Clean n bytes in place by the rules of tlpi_format_line and add a NUL; text
 * has room for n + 1 bytes.  `cut`: the text may end inside a character. */
size_t tlpi_clean_line(char *text, size_t n, bool cut);

/* Growing text.  `failed` stays set after the first failure, so callers check
 * it once at the end. */
typedef struct tlpi_text {
    const tlpi_env *env;
    char *data; /* NUL-terminated after the first addition */
    size_t len, cap;
    bool failed;
} tlpi_text;

void tlpi_text_add(tlpi_text *t, const char *s, size_t n);
void tlpi_text_printf(tlpi_text *t, const char *fmt, ...) TLPI_PRINTF(2, 3);
void tlpi_text_free(tlpi_text *t);

/* TLP_EFORMAT if a JSON text nests deeper than max (json_depth.c). */
tlp_status tlpi_json_check_depth(const char *where, const char *text, size_t n,
                                 int max);

/* Seconds of a monotonic clock. */
double tlpi_now(void);

#endif
