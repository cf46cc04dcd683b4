/*
 * options.c - structs and texts that cross the public API.
 *
 * Every public struct starts with its size at the caller's compile time.
 * Caller and library may therefore be of different versions, either one the
 * newer.
 */
#include <string.h>

#include "base/base.h"

/* Upper limit for the growth of a struct in newer headers.  A larger
 * struct_size means that the caller did not set the field, and bytes past the
 * real end must not be read. */
#define MAX_GROWTH 4096

static tlp_status struct_size(const void *s, size_t known, const char *name,
                              size_t *size)
{
    memcpy(size, s, sizeof *size);
    if (*size < sizeof *size || *size > known + MAX_GROWTH)
        return tlpi_fail(TLP_EINVAL,
                         "%s: struct_size is %zu, %zu expected here", name,
                         *size, known);
    return TLP_OK;
}

tlp_status tlpi_options_read(void *dst, size_t size, const void *src,
                             const char *name)
{
    size_t given = size;

    if (src) {
        tlp_status st = struct_size(src, size, name, &given);
        if (st != TLP_OK)
            return st;
        const unsigned char *bytes = src;
        for (size_t i = size; i < given; i++)
            if (bytes[i] != 0)
                return tlpi_fail(TLP_EABI,
                                 "%s: an option of a newer header is set "
                                 "(struct_size %zu, %zu known here)",
                                 name, given, size);
        memcpy(dst, src, TLPI_MIN(given, size));
    }
    memcpy(dst, &size, sizeof size);
    return TLP_OK;
}

tlp_status tlpi_struct_check(const void *dst, size_t size, const char *name)
{
    size_t given;

    return struct_size(dst, size, name, &given);
}

tlp_status tlpi_flag_check(const char *name, int64_t value)
{
    if (value == 0 || value == 1)
        return TLP_OK;
    return tlpi_fail(TLP_EINVAL, "%s: %lld, 0 or 1 expected", name,
                     (long long)value);
}

tlp_status tlpi_struct_write(void *dst, const void *src, size_t size,
                             const char *name)
{
    size_t given = 0;
    tlp_status st = struct_size(dst, size, name, &given);

    if (st != TLP_OK)
        return st;
    size_t n = TLPI_MIN(given, size);
    memcpy((char *)dst + sizeof given, (const char *)src + sizeof given,
           n - sizeof given);
    memset((char *)dst + n, 0, given - n);
    return TLP_OK;
}

tlp_status tlpi_copy_out(const char *text, size_t n, char *buf, size_t cap,
                         size_t *len)
{
    if (len)
        *len = n;
    if (cap == 0 || !buf || n >= cap)
        return tlpi_fail(TLP_EBUFS,
                         "a buffer of %zu bytes is needed, %zu given", n + 1,
                         buf ? cap : 0);
    if (n > 0)
        memcpy(buf, text, n);
    buf[n] = '\0';
    return TLP_OK;
}
