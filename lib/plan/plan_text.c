/*
 * plan_text.c - read the text form of a plan.
 *
 *   plan   = clause { ";" clause }
 *   clause = "serial"                              alone
 *          | mode ":" group { "," group }          lp par asym lp-code merge
 *          | "pairs:" range "@" mode               (a,a+1), (a+2,a+3), ...; the
 *                                                  last of an odd count serial
 *          | "depth:" number "@" mode              alone
 *          | "drop:" range { "," range }
 *          | "order:" range { "," range }          every layer not dropped
 *          | "nosync" [ "@" number ] ":" half { "," half }
 *                                                  @: tracks, 2 if left out
 *   group  = range { "+" range }
 *   half   = range [ "a" | "f" ]                   both halves if left out
 *   range  = number [ "-" number ]
 *
 * Blanks may stand between any two of these.
 */
#include <string.h>

#include "plan/plan_sketch.h"

typedef struct reader {
    tlpi_sketch *s;
    const char *at;
    const char *clause; /* beginning of the clause being read */
    int n_clause;
    bool alone; /* a clause that must be alone was read */
} reader;

typedef struct range {
    int64_t first, last;
} range;

static void skip_blanks(reader *r)
{
    r->at += strspn(r->at, " \t\r\n");
}

static bool accept(reader *r, char c)
{
    skip_blanks(r);
    if (*r->at != c)
        return false;
    r->at++;
    return true;
}

static tlp_status fail_syntax(const reader *r, const char *expected)
{
    int n_clause = (int)TLPI_MIN(strcspn(r->clause, ";"), 40);

    if (*r->at == '\0' || *r->at == ';')
        return tlpi_fail(TLP_EFORMAT,
                         "%s: clause \"%.*s\": %s expected at its end",
                         r->s->where, n_clause, r->clause, expected);
    return tlpi_fail(TLP_EFORMAT,
                     "%s: clause \"%.*s\": %s expected at \"%.20s\"",
                     r->s->where, n_clause, r->clause, expected, r->at);
}

static tlp_status expect(reader *r, char c)
{
    char expected[] = { '"', c, '"', '\0' };

    return accept(r, c) ? TLP_OK : fail_syntax(r, expected);
}

static tlp_status read_number(reader *r, int64_t *out)
{
    skip_blanks(r);
    size_t n = strspn(r->at, "0123456789");
    if (n == 0 || n > 9)
        return fail_syntax(r, n == 0 ? "a number" : "a smaller number");
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out = *out * 10 + (r->at[i] - '0');
    r->at += n;
    return TLP_OK;
}

static tlp_status read_range(reader *r, range *out)
{
    tlp_status st;

    TLP_TRY(read_number(r, &out->first));
    out->last = out->first;
    if (accept(r, '-'))
        TLP_TRY(read_number(r, &out->last));
    if (out->last < out->first)
        return tlpi_fail(TLP_EFORMAT, "%s: range %lld-%lld runs backwards",
                         r->s->where, (long long)out->first,
                         (long long)out->last);
done:
    return st;
}

static tlp_status read_mode(reader *r, int *mode)
{
    tlp_status st;

    TLP_TRY(expect(r, '@'));
    skip_blanks(r);
    size_t n = strspn(r->at, "abcdefghijklmnopqrstuvwxyz-");
    *mode = tlpi_mode_parse(r->at, n);
    if (*mode <= TLP_MODE_SERIAL)
        return fail_syntax(r, "lp, par, asym, lp-code or merge");
    r->at += n;
done:
    return st;
}

typedef tlp_status (*take_layer_fn)(tlpi_sketch *s, int64_t layer);

/* Use each layer of a range.  The end of the range is not checked yet: `use`
 * fails at the first layer that the model does not have, which ends the
 * loop. */
static tlp_status use_range(reader *r, take_layer_fn use)
{
    range a;
    tlp_status st = read_range(r, &a);

    for (int64_t l = a.first; st == TLP_OK && l <= a.last; l++)
        st = use(r->s, l);
    return st;
}

static tlp_status read_list(reader *r, take_layer_fn use)
{
    tlp_status st;

    do
        TLP_TRY(use_range(r, use));
    while (accept(r, ','));
done:
    return st;
}

static tlp_status read_groups(reader *r, int mode)
{
    tlp_status st;

    do {
        tlpi_sketch_begin(r->s, mode);
        do
            TLP_TRY(use_range(r, tlpi_sketch_add));
        while (accept(r, '+'));
        TLP_TRY(tlpi_sketch_end(r->s));
    } while (accept(r, ','));
done:
    return st;
}

/* Add pairs of neighbouring layers: (first, first + 1) and so on up to last. */
static tlp_status add_pairs(tlpi_sketch *s, int64_t first, int64_t last,
                            int mode)
{
    tlp_status st = TLP_OK;

    for (int64_t l = first; l < last; l += 2) {
        tlpi_sketch_begin(s, mode);
        TLP_TRY(tlpi_sketch_add(s, l));
        TLP_TRY(tlpi_sketch_add(s, l + 1));
        TLP_TRY(tlpi_sketch_end(s));
    }
done:
    return st;
}

static tlp_status read_pairs(reader *r)
{
    range a;
    int mode;
    tlp_status st;

    TLP_TRY(read_range(r, &a));
    TLP_TRY(read_mode(r, &mode));
    if (a.last == a.first)
        return tlpi_fail(TLP_EINVAL,
                         "%s: pairs need at least 2 layers, %lld-%lld is one",
                         r->s->where, (long long)a.first, (long long)a.last);
    TLP_TRY(add_pairs(r->s, a.first, a.last, mode));
done:
    return st;
}

/*
 * Read "depth:D@mode" as n_layer - D neighbouring pairs.  The pairs leave the
 * last three layers serial, because the paper finds that the first and the last
 * layers do not tolerate pairing.  If the pairs would then include layers 0 and
 * 1, they move towards the end first.
 */
static tlp_status read_depth(reader *r)
{
    int64_t n_layer = r->s->n_layer, depth;
    int mode;
    tlp_status st;

    r->alone = true;
    TLP_TRY(read_number(r, &depth));
    TLP_TRY(read_mode(r, &mode));
    if (depth < (n_layer + 1) / 2 || depth > n_layer)
        return tlpi_fail(TLP_EINVAL,
                         "%s: depth %lld: pairs of %d layers give %lld to %d",
                         r->s->where, (long long)depth, r->s->n_layer,
                         (long long)(n_layer + 1) / 2, r->s->n_layer);
    int64_t n = 2 * (n_layer - depth);
    int64_t first = TLPI_MAX(n_layer - 3 - n, TLPI_MIN(2, n_layer - n));
    TLP_TRY(add_pairs(r->s, first, first + n - 1, mode));
done:
    return st;
}

static tlp_status read_order(reader *r)
{
    tlp_status st = tlpi_sketch_begin_order(r->s);

    return st == TLP_OK ? read_list(r, tlpi_sketch_order) : st;
}

static tlp_status read_drop(reader *r)
{
    return read_list(r, tlpi_sketch_drop);
}

static tlp_status read_half(reader *r)
{
    int halves = TLP_NOSYNC_ATTN | TLP_NOSYNC_FFN;
    range a;
    tlp_status st;

    TLP_TRY(read_range(r, &a));
    if (accept(r, 'a'))
        halves = TLP_NOSYNC_ATTN;
    else if (accept(r, 'f'))
        halves = TLP_NOSYNC_FFN;
    for (int64_t l = a.first; st == TLP_OK && l <= a.last; l++)
        st = tlpi_sketch_nosync(r->s, l, halves);
done:
    return st;
}

/* The number of tracks, before the colon. */
static tlp_status read_tracks(reader *r)
{
    int64_t n_track = 2;
    tlp_status st = TLP_OK;

    if (accept(r, '@'))
        TLP_TRY(read_number(r, &n_track));
    st = tlpi_sketch_begin_nosync(r->s, n_track);
done:
    return st;
}

static tlp_status read_nosync(reader *r)
{
    tlp_status st;

    do
        TLP_TRY(read_half(r));
    while (accept(r, ','));
done:
    return st;
}

/* A clause that is no list of groups: `head` reads what stands before its
 * colon, `body` what stands behind. */
typedef struct clause {
    const char *name;
    tlp_status (*head)(reader *r); /* or NULL */
    tlp_status (*body)(reader *r);
} clause;

/* NULL for an unknown name. */
static const clause *find_clause(const char *name, size_t n)
{
    static const clause clauses[] = {
        { "pairs", NULL, read_pairs },
        { "depth", NULL, read_depth },
        { "drop", NULL, read_drop },
        { "order", NULL, read_order },
        { "nosync", read_tracks, read_nosync },
    };

    for (size_t i = 0; i < TLPI_COUNT(clauses); i++) {
        if (strlen(clauses[i].name) == n &&
            memcmp(clauses[i].name, name, n) == 0)
            return &clauses[i];
    }
    return NULL;
}

static tlp_status read_clause(reader *r)
{
    tlp_status st;

    skip_blanks(r);
    r->clause = r->at;
    r->n_clause++;
    size_t n = strspn(r->at, "abcdefghijklmnopqrstuvwxyz-");
    int mode = tlpi_mode_parse(r->at, n);
    const clause *c = find_clause(r->at, n);
    if (mode < 0 && !c)
        return fail_syntax(r, "serial, lp, par, asym, lp-code, merge, pairs, "
                              "depth, drop, order or nosync");
    r->at += n;
    if (mode == TLP_MODE_SERIAL) {
        r->alone = true;
        return TLP_OK;
    }
    if (c && c->head)
        TLP_TRY(c->head(r));
    TLP_TRY(expect(r, ':'));
    TLP_TRY(c ? c->body(r) : read_groups(r, mode));
done:
    return st;
}

tlp_status tlpi_plan_read_half(tlpi_sketch *s, const char *text)
{
    reader r = { .s = s, .at = text, .clause = text };
    tlp_status st = read_half(&r);

    return st == TLP_OK && *r.at != '\0' ? fail_syntax(&r, "the end") : st;
}

tlp_status tlpi_plan_read_text(tlpi_sketch *s, const char *text)
{
    reader r = { .s = s, .at = text, .clause = text };
    tlp_status st;

    do
        TLP_TRY(read_clause(&r));
    while (accept(&r, ';'));
    if (*r.at != '\0')
        return fail_syntax(&r, "\";\" or the end");
    if (r.alone && r.n_clause > 1)
        return tlpi_fail(TLP_EINVAL,
                         "%s: \"serial\" and \"depth\" stand alone, %d clauses "
                         "found",
                         s->where, r.n_clause);
done:
    return st;
}
