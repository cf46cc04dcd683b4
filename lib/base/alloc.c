/*
 * alloc.c - all heap memory of the library, through the caller's allocator.
 *
 * The caller's `free` needs the size of a block.  Each block therefore stores
 * its size in a header of one alignment unit before the address that the
 * library uses.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"

#define ALIGN 64

/*
 * Blocks of at least this size are mapped as fresh pages by the default
 * allocator.  Fresh pages are zero and cost nothing until touched.  Caches
 * profit: they are sized for the longest context and often hold little.
 */
#define MAP_MIN ((size_t)4 << 20)

typedef struct header {
    size_t size; /* of header and block together */
} header;

_Static_assert(sizeof(header) <= ALIGN, "the header fits before the block");

static void *default_alloc(size_t size, size_t align, void *user_data)
{
    (void)user_data;
    if (size >= MAP_MIN) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? NULL : p;
    }
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void default_free(void *ptr, size_t size, void *user_data)
{
    (void)user_data;
    if (size >= MAP_MIN)
        munmap(ptr, size);
    else
        free(ptr);
}

tlp_status tlpi_env_init(tlpi_env *env, const tlp_allocator *mem,
                         tlp_log_fn log, void *log_data)
{
    *env = (tlpi_env){ .mem = { default_alloc, default_free, NULL },
                       .log = log,
                       .log_data = log_data };
    if (!mem || (!mem->alloc && !mem->free))
        return TLP_OK;
    if (!mem->alloc || !mem->free)
        return tlpi_fail(TLP_EINVAL, "allocator: %s is missing",
                         mem->alloc ? "free" : "alloc");
    env->mem = *mem;
    return TLP_OK;
}

/* Bytes that this thread failed to get, for the text of the failure. */
static _Thread_local size_t missing;

size_t tlpi_alloc_take_missing(void)
{
    size_t n = missing;

    missing = 0;
    return n;
}

static header *header_of(void *p)
{
    return (header *)(void *)((char *)p - ALIGN);
}

void *tlpi_alloc(const tlpi_env *env, size_t size)
{
    size_t total;

    /* Pointer differences inside a block longer than PTRDIFF_MAX would
     * overflow. */
    if (!tlpi_add(size, ALIGN, &total) || total > PTRDIFF_MAX) {
        missing = SIZE_MAX;
        return NULL;
    }
    char *base = env->mem.alloc(total, ALIGN, env->mem.user_data);
    if (!base) {
        missing = total;
        return NULL;
    }
    *(header *)(void *)base = (header){ total };
    return base + ALIGN;
}

/* madvise is only for the default allocator's memory, not for the caller's. */
void *tlpi_alloc_huge(const tlpi_env *env, size_t size)
{
    void *p = tlpi_alloc(env, size);

#ifdef MADV_HUGEPAGE
    if (p && env->mem.alloc == default_alloc && header_of(p)->size >= MAP_MIN)
        (void)madvise(header_of(p), header_of(p)->size, MADV_HUGEPAGE);
#endif
    return p;
}

void *tlpi_calloc(const tlpi_env *env, size_t n, size_t size)
{
    void *p = tlpi_alloc_array(env, n, size);

    if (!p)
        return NULL;
    bool fresh_pages =
        env->mem.alloc == default_alloc && header_of(p)->size >= MAP_MIN;
    if (!fresh_pages)
        memset(p, 0, n * size);
    return p;
}

void *tlpi_alloc_array(const tlpi_env *env, size_t n, size_t size)
{
    size_t total;

    return tlpi_alloc(env, tlpi_mul(n, size, &total) ? total : SIZE_MAX);
}

void *tlpi_realloc_array(const tlpi_env *env, void *p, size_t n, size_t size)
{
    void *grown = tlpi_alloc_array(env, n, size);

    if (!grown || !p)
        return grown;
    memcpy(grown, p, TLPI_MIN(header_of(p)->size - ALIGN, n * size));
    tlpi_free(env, p);
    return grown;
}

char *tlpi_strndup(const tlpi_env *env, const char *s, size_t n)
{
    size_t size;

    if (!tlpi_add(n, 1, &size))
        return NULL;
    char *copy = tlpi_alloc(env, size);
    if (!copy)
        return NULL;
    if (n > 0)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void tlpi_free(const tlpi_env *env, void *p)
{
    if (p)
        env->mem.free(header_of(p), header_of(p)->size, env->mem.user_data);
}
