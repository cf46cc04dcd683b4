/*
 * jinja_text.h - characters, and texts that grow.
 */
#ifndef TLPI_JINJA_TEXT_H
#define TLPI_JINJA_TEXT_H

#include "jinja/jinja_value.h"

/* ==== growing text (jinja_buffer.c) ====================================== */

typedef struct tlpi_jbuf {
    tlpi_jx *x;
    char *s;
    uint8_t *data; /* marks; NULL until a byte is data */
    size_t n, cap;
} tlpi_jbuf;

void tlpi_jbuf_add(tlpi_jbuf *b, const tlpi_jstr *s, size_t from, size_t n);
void tlpi_jbuf_add_str(tlpi_jbuf *b, const tlpi_jstr *s);
void tlpi_jbuf_add_text(tlpi_jbuf *b, const char *s, size_t n, uint8_t mark);
/* Python's str(v), and repr(v) inside of lists. */
void tlpi_jbuf_add_value(tlpi_jbuf *b, tlpi_jval v);
void tlpi_jbuf_add_repr(tlpi_jbuf *b, tlpi_jval v);
tlpi_jval tlpi_jbuf_value(const tlpi_jbuf *b);

/* repr(f) of Python into out, its length. */
size_t tlpi_j_float_text(double f, char out[40]);

/* str(v) */
const tlpi_jstr *tlpi_j_str(tlpi_jx *x, tlpi_jval v);

/* ==== characters (jinja_char.c) ========================================== */

/* The character at s, n >= 1 bytes left, and its bytes. */
uint32_t tlpi_jchar_get(const char *s, size_t n, size_t *bytes);
size_t tlpi_jchar_put(uint32_t c, char out[4]);
size_t tlpi_jchar_count(const tlpi_jstr *s);
/* Byte offset of character i, at most s->n. */
size_t tlpi_jchar_offset(const tlpi_jstr *s, size_t i);
bool tlpi_jchar_is_space(uint32_t c); /* as Python's str.isspace */
bool tlpi_jchar_ends_line(uint32_t c);
bool tlpi_jchar_is_printable(uint32_t c);
bool tlpi_jchar_is_letter(uint32_t c);
bool tlpi_jchar_is_digit(uint32_t c);
bool tlpi_jchar_is_upper(uint32_t c);
bool tlpi_jchar_is_lower(uint32_t c);
/* False where case mapping is not from one character to one. */
bool tlpi_jchar_to_upper(uint32_t c, uint32_t *out);
bool tlpi_jchar_to_lower(uint32_t c, uint32_t *out);

#endif
