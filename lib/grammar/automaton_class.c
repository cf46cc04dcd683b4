/*
 * automaton_class.c - ranges of code points as ranges of bytes in UTF-8.
 *
 * A range is cut until all its characters have one length and their last bytes
 * run through whole ranges: U+0000-10FFFF takes nine pieces.  The bytes behind
 * a lead byte that take every value are shared by the pieces of a class.
 */
#include "grammar/automaton.h"
#include "grammar/gbnf_lex.h"

typedef struct class_build {
    tlpi_automaton *m;
    int32_t next;
    int32_t any[4]; /* any[k]: k bytes 0x80-0xbf, then next; -1: not made yet */
    int32_t first;  /* fork over all pieces so far, -1: none */
} class_build;

static int32_t add_bytes(class_build *b, uint8_t lo, uint8_t hi, int32_t next)
{
    if (next < 0)
        return -1;
    return tlpi_automaton_add(
        b->m, (tlpi_position){ TLPI_AT_BYTES, lo, hi, next, -1 });
}

static int32_t any_bytes(class_build *b, int k)
{
    b->any[0] = b->next;
    for (int i = 1; i <= k; i++)
        if (b->any[i] < 0)
            b->any[i] = add_bytes(b, 0x80, 0xbf, b->any[i - 1]);
    return b->any[k];
}

/* Add a piece: bytes lo[0]-hi[0], lo[1]-hi[1], ... */
static bool add_piece(class_build *b, const char *lo, const char *hi, int n)
{
    int free_bytes = 0;

    while (free_bytes < n - 1 && (uint8_t)lo[n - 1 - free_bytes] == 0x80 &&
           (uint8_t)hi[n - 1 - free_bytes] == 0xbf)
        free_bytes++;
    int32_t at = any_bytes(b, free_bytes);
    for (int i = n - 1 - free_bytes; i >= 0; i--)
        at = add_bytes(b, (uint8_t)lo[i], (uint8_t)hi[i], at);
    if (at >= 0 && b->first >= 0)
        at = tlpi_automaton_add(
            b->m, (tlpi_position){ TLPI_AT_FORK, 0, 0, at, b->first });
    if (at >= 0)
        b->first = at;
    return at >= 0;
}

/* Add the range as pieces.  The loop cuts off a first part that is a piece. */
static bool add_range(class_build *b, uint32_t lo, uint32_t hi)
{
    static const uint32_t last_of_length[] = { 0x7f, 0x7ff, 0xffff, 0x10ffff };
    char first[4], last[4];

    while (lo <= hi) {
        uint32_t end = hi;
        for (int i = 3; i >= 0; i--)
            if (lo <= last_of_length[i])
                end = TLPI_MIN(hi, last_of_length[i]);
        /* Low bits must run from all 0 to all 1 below the first that differs.
         */
        for (int shift = 6; end >= 0x80 && shift <= 18; shift += 6) {
            uint32_t low = (1u << shift) - 1;
            if ((lo & ~low) == (end & ~low))
                break;
            if ((lo & low) != 0)
                end = lo | low;
            else if ((end & low) != low)
                end = (end & ~low) - 1;
        }
        int n = tlpi_utf8_encode(lo, first);
        tlpi_utf8_encode(end, last);
        if (!add_piece(b, first, last, n))
            return false;
        lo = end + 1;
    }
    return true;
}

int32_t tlpi_automaton_class(tlpi_automaton *m, const tlpi_code_range *range,
                             size_t n, int32_t next)
{
    class_build b = { m, next, { -1, -1, -1, -1 }, -1 };
    bool ok = true;

    for (size_t i = n; ok && i-- > 0;) {
        tlpi_code_range r = range[i];
        /* Surrogates are no characters. */
        if (r.lo < 0xd800 && r.hi > 0xdfff)
            ok = add_range(&b, 0xe000, r.hi) && add_range(&b, r.lo, 0xd7ff);
        else if (r.lo >= 0xd800 && r.lo <= 0xdfff)
            ok = r.hi <= 0xdfff || add_range(&b, 0xe000, r.hi);
        else
            ok = add_range(&b, r.lo,
                           r.hi >= 0xd800 && r.hi <= 0xdfff ? 0xd7ff : r.hi);
    }
    return ok ? b.first : -1;
}
