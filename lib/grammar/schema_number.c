/*
 * schema_number.c - bounds of integers and numbers as texts of digits.
 *
 * A number with bounds is written without an exponent: an integer between them,
 * and digits behind the point where these stay between them.
 */
#include <math.h>

#include "base/number.h"
#include "grammar/schema.h"

/* The largest integer without a bound: 15 digits. */
#define LARGEST INT64_C(999999999999999)
/* Digits behind the point. */
#define FRACTION "(\".\" [0-9]{1,15})?"
/* Digits behind the point, not all of them 0. */
#define MORE_THAN_NONE "\".\" [0-9]{0,14} [1-9]"

/* Numbers from lo to hi; `open` ends are no part of them. */
typedef struct interval {
    int64_t lo, hi;
    bool open_lo, open_hi;
} interval;

#define OUT(...) tlpi_text_printf(&s->out, __VA_ARGS__)

/* ==== digits ============================================================= */

static void write_digit(tlpi_schema *s, char lo, char hi)
{
    if (lo == hi)
        OUT("[%c] ", lo);
    else
        OUT("[%c-%c] ", lo, hi);
}

static bool all_are(const char *digits, char c)
{
    while (*digits == c)
        digits++;
    return *digits == '\0';
}

static void write_any(tlpi_schema *s, size_t n)
{
    if (n > 0)
        OUT("[0-9]{%zu}", n);
}

/* Numbers of n digits from lo to hi. */
static void write_digits(tlpi_schema *s, const char *lo, const char *hi,
                         size_t n)
{
    static const char none[] = "0000000000000000000",
                      nine[] = "9999999999999999999";
    const size_t last = sizeof none - 1;

    for (; n > 0 && *lo == *hi; lo++, hi++, n--)
        write_digit(s, *lo, *lo);
    if (n == 0)
        return;
    bool from_start = all_are(lo + 1, '0'), to_end = all_are(hi + 1, '9');
    char first = (char)(*lo + !from_start), end = (char)(*hi - !to_end);

    OUT("(");
    if (!from_start) {
        write_digit(s, *lo, *lo);
        write_digits(s, lo + 1, nine + last - (n - 1), n - 1);
    }
    if (first <= end) {
        OUT(from_start ? "" : " | ");
        write_digit(s, first, end);
        write_any(s, n - 1);
    }
    if (!to_end) {
        OUT(from_start && first > end ? "" : " | ");
        write_digit(s, *hi, *hi);
        write_digits(s, none + last - (n - 1), hi + 1, n - 1);
    }
    OUT(")");
}

/* Integers from lo to hi, 0 <= lo <= hi. */
static void write_naturals(tlpi_schema *s, uint64_t lo, uint64_t hi)
{
    char from[24], to[24];
    bool again = false;

    OUT("(");
    while (lo <= hi) {
        size_t n = (size_t)tlpi_snprintf(from, sizeof from, "%llu",
                                         (unsigned long long)lo);
        uint64_t end = 9;
        for (size_t i = 1; i < n; i++)
            end = end * 10 + 9;
        end = TLPI_MIN(end, hi);
        tlpi_snprintf(to, sizeof to, "%llu", (unsigned long long)end);
        OUT(again ? " | " : "");
        write_digits(s, from, to, n);
        again = true;
        lo = end + 1;
    }
    OUT(")");
}

/* Integers from lo to hi. */
static void write_integers(tlpi_schema *s, int64_t lo, int64_t hi)
{
    OUT("(");
    if (lo < 0) {
        int64_t near = hi < 0 ? hi : -1;
        OUT("\"-\" ");
        write_naturals(s, (uint64_t)-near, (uint64_t)-lo);
        OUT(hi >= 0 ? " | " : "");
    }
    if (hi >= 0)
        write_naturals(s, (uint64_t)TLPI_MAX(lo, 0), (uint64_t)hi);
    OUT(")");
}

/* ==== bounds ============================================================= */

/* One keyword: the bound is x or, `open`, beyond x. */
static tlp_status read_bound(const tlpi_schema *s, const json_t *schema,
                             const char *key, bool whole, double *x,
                             bool *found)
{
    const json_t *v = json_object_get(schema, key);

    *found = v != NULL;
    if (!v)
        return TLP_OK;
    *x = json_number_value(v);
    if (fabs(*x) > (double)LARGEST)
        return tlpi_schema_fail(s, TLP_ENOTSUP,
                                "keyword %s: %g, at most 15 digits expected",
                                key, *x);
    if (!whole && floor(*x) != *x)
        return tlpi_schema_fail(s, TLP_ENOTSUP,
                                "keyword %s: %g, an integer expected", key, *x);
    return TLP_OK;
}

/* The bounds of a schema, with closed ends for integers (`whole`). */
static tlp_status read_interval(const tlpi_schema *s, const json_t *schema,
                                bool whole, interval *out, bool *any)
{
    double lo, hi, x;
    bool has_lo, has_hi, found;
    tlp_status st = TLP_OK;

    *out = (interval){ -LARGEST, LARGEST, false, false };
    TLP_TRY(read_bound(s, schema, "minimum", whole, &lo, &has_lo));
    TLP_TRY(read_bound(s, schema, "maximum", whole, &hi, &has_hi));
    *any = has_lo || has_hi;
    if (has_lo)
        out->lo = (int64_t)ceil(lo);
    if (has_hi)
        out->hi = (int64_t)floor(hi);
    TLP_TRY(read_bound(s, schema, "exclusiveMinimum", whole, &x, &found));
    *any = *any || found;
    if (found && whole)
        out->lo = TLPI_MAX(out->lo, (int64_t)floor(x) + 1);
    else if (found && (!has_lo || x >= lo)) {
        out->lo = (int64_t)x;
        out->open_lo = true;
    }
    TLP_TRY(read_bound(s, schema, "exclusiveMaximum", whole, &x, &found));
    *any = *any || found;
    if (found && whole)
        out->hi = TLPI_MIN(out->hi, (int64_t)ceil(x) - 1);
    else if (found && (!has_hi || x <= hi)) {
        out->hi = (int64_t)x;
        out->open_hi = true;
    }
    if (out->lo > out->hi ||
        (out->lo == out->hi && (out->open_lo || out->open_hi)))
        st = tlpi_schema_fail(s, TLP_EINVAL, "no number is between the bounds");
done:
    return st;
}

/* ==== numbers ============================================================ */

/* Numbers of an interval, 0 <= lo <= hi, as alternatives; `zero`: with 0
 * itself. */
static void write_positives(tlpi_schema *s, interval i)
{
    bool again = false;

    if (i.open_lo && i.lo < i.hi) {
        write_naturals(s, (uint64_t)i.lo, (uint64_t)i.lo);
        OUT(" " MORE_THAN_NONE);
        again = true;
        i.lo++;
    }
    if (i.lo < i.hi) { /* all that begin with a smaller integer than hi */
        OUT(again ? " | " : "");
        write_naturals(s, (uint64_t)i.lo, (uint64_t)i.hi - 1);
        OUT(" " FRACTION);
        again = true;
    }
    if (i.open_hi)
        return;
    OUT(again ? " | " : "");
    write_naturals(s, (uint64_t)i.hi, (uint64_t)i.hi);
    OUT(" (\".\" \"0\"{1,15})?");
}

static void write_interval(tlpi_schema *s, interval i)
{
    bool negative = i.lo<0, positive = i.hi> 0 || (i.hi == 0 && !i.open_hi);

    OUT("(");
    if (negative) {
        /* Below 0 the ends change places; 0 itself is the other side's. */
        interval m = { 0, -i.lo, true, i.open_lo };
        if (i.hi < 0)
            m = (interval){ -i.hi, -i.lo, i.open_hi, i.open_lo };
        OUT("\"-\" (");
        write_positives(s, m);
        OUT(positive ? ") | " : ")");
    }
    if (positive) {
        if (i.lo < 0)
            i = (interval){ 0, i.hi, false, i.open_hi };
        write_positives(s, i);
    }
    OUT(")");
}

tlp_status tlpi_schema_integer(tlpi_schema *s, json_t *schema)
{
    interval i;
    bool any;
    tlp_status st = read_interval(s, schema, true, &i, &any);

    if (st == TLP_OK && any)
        write_integers(s, i.lo, i.hi);
    else if (st == TLP_OK)
        tlpi_schema_base(s, TLPI_BASE_INTEGER);
    return st;
}

tlp_status tlpi_schema_number(tlpi_schema *s, json_t *schema)
{
    interval i;
    bool any;
    tlp_status st = read_interval(s, schema, false, &i, &any);

    if (st == TLP_OK && any)
        write_interval(s, i);
    else if (st == TLP_OK)
        tlpi_schema_base(s, TLPI_BASE_NUMBER);
    return st;
}
