/*
 * stream.c - tokens to text that is certain: whole characters, and no text that
 * may be the beginning of a stop string.
 *
 * A Knuth-Morris-Pratt automaton follows each stop string.  Its state is the
 * length of the prefix of the stop string at the end of the text.  The stream
 * holds back the longest such prefix.  So it finds a stop string across any
 * boundaries of tokens, in time linear in the text; memory is bounded by the
 * longest token and stop string.  A complete stop string is cut off the text;
 * if several end at one byte, the longest is cut off.  A control token gives no
 * text; it stops the stream if a stop string is its text.
 */
#include <string.h>

#include "text/stream.h"
#include "text/utf8.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
#define REPLACEMENT_LEN (sizeof replacement - 1)

/* ==== stop strings ======================================================= */

/* fallback[i]: length of the longest proper prefix that ends text[0..i). */
static void set_fallback(tlpi_stream_stop *s)
{
    size_t k = 0;

    s->fallback[0] = 0;
    for (size_t i = 1; i < s->n; i++) {
        s->fallback[i] = k;
        while (k > 0 && s->text[i] != s->text[k])
            k = s->fallback[k];
        k += s->text[i] == s->text[k];
    }
}

/* Follow one more byte of text; true when the stop string is complete. */
static bool follow(tlpi_stream_stop *s, char c)
{
    while (s->state > 0 && s->text[s->state] != c)
        s->state = s->fallback[s->state];
    s->state += s->text[s->state] == c;
    return s->state == s->n;
}

static tlp_status check_stop(const char *text, size_t i)
{
    size_t n = text ? strlen(text) : 0;

    if (n == 0)
        return tlpi_fail(TLP_EINVAL, "stop string %zu is empty", i);
    for (size_t at = 0; at < n;) {
        tlpi_utf8 what;
        at += tlpi_utf8_next(text + at, n - at, &what);
        if (what != TLPI_UTF8_CHAR)
            return tlpi_fail(TLP_EINVAL, "stop string %zu is not UTF-8", i);
    }
    return TLP_OK;
}

static tlp_status copy_stops(tlpi_stream *s, const char *const *texts, size_t n,
                             size_t *longest)
{
    tlp_status st = TLP_OK;
    size_t total = 0;

    for (size_t i = 0; i < n; i++) {
        TLP_TRY(check_stop(texts[i], i));
        total += strlen(texts[i]);
    }
    s->stop = tlpi_calloc(s->env, n, sizeof *s->stop);
    s->stop_text = tlpi_alloc(s->env, total);
    s->fallback = tlpi_alloc_array(s->env, total, sizeof *s->fallback);
    if (!s->stop || !s->stop_text || !s->fallback)
        return tlpi_fail_nomem_for("a stream of text");
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        tlpi_stream_stop *p = &s->stop[i];
        p->n = strlen(texts[i]);
        p->text = memcpy(s->stop_text + at, texts[i], p->n);
        p->fallback = s->fallback + at;
        set_fallback(p);
        at += p->n;
        *longest = TLPI_MAX(*longest, p->n);
    }
    s->n_stop = n;
done:
    return st;
}

/* ==== creation =========================================================== */

tlp_status tlpi_stream_init(tlpi_stream *s, const char *const *stops,
                            size_t n_stop, uint32_t flags)
{
    tlp_status st = TLP_OK;
    size_t longest = 0, need;

    s->flags = flags;
    TLP_TRY(copy_stops(s, stops, n_stop, &longest));
    /* Room for the text that is held back, for a cut character and a token
     * (each byte may become U+FFFD), and for a NUL. */
    if (!tlpi_add(tlpi_vocab_max_piece(s->vocab), sizeof s->cut, &need) ||
        !tlpi_mul(need, REPLACEMENT_LEN, &need) ||
        !tlpi_add(need, longest + 1, &need))
        TLP_TRY(tlpi_fail_nomem_for("a stream of text"));
    s->text = tlpi_alloc(s->env, need);
    TLP_TRY(s->text ? TLP_OK : tlpi_fail_nomem_for("a stream of text"));
    s->text[0] = '\0';
done:
    return st;
}

void tlpi_stream_clear(tlpi_stream *s)
{
    tlpi_free(s->env, s->text);
    tlpi_free(s->env, s->fallback);
    tlpi_free(s->env, s->stop_text);
    tlpi_free(s->env, s->stop);
}

/* ==== text =============================================================== */

/* Add a whole character to the text, unless a stop string ends in it. */
static void add_char(tlpi_stream *s, const char *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t met = 0;
        s->text[s->n_text++] = c[i];
        for (size_t k = 0; k < s->n_stop; k++)
            if (follow(&s->stop[k], c[i]))
                met = TLPI_MAX(met, s->stop[k].n);
        if (met > 0) {
            s->n_text -= met;
            s->stopped = true;
            return;
        }
    }
}

/* Add bytes: whole characters go to the text, the rest waits in s->cut. */
static void add_bytes(tlpi_stream *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n && !s->stopped;) {
        tlpi_utf8 what;
        size_t len;
        if (s->n_cut > 0) { /* bytes of a character so far */
            s->cut[s->n_cut++] = bytes[i++];
            len = tlpi_utf8_next(s->cut, s->n_cut, &what);
            if (what == TLPI_UTF8_CUT)
                continue;
            if (what == TLPI_UTF8_CHAR) {
                add_char(s, s->cut, len);
            } else { /* the new byte belongs to no such character */
                add_char(s, replacement, REPLACEMENT_LEN);
                i--;
            }
            s->n_cut = 0;
            continue;
        }
        len = tlpi_utf8_next(bytes + i, n - i, &what);
        if (what == TLPI_UTF8_CUT) {
            memcpy(s->cut, bytes + i, len);
            s->n_cut = len;
        } else if (what == TLPI_UTF8_CHAR) {
            add_char(s, bytes + i, len);
        } else {
            add_char(s, replacement, REPLACEMENT_LEN);
        }
        i += len;
    }
}

/* Remove the text that was given out; the text that was held back moves to the
 * front. */
static void forget_given(tlpi_stream *s)
{
    memmove(s->text, s->text + s->n_given, s->n_text - s->n_given);
    s->n_text -= s->n_given;
    s->n_given = 0;
}

/*
 * Give out the text without its last `hold` bytes.  These move up by one byte,
 * to make room for a NUL.
 */
static void give(tlpi_stream *s, size_t hold, const char **text, size_t *len)
{
    size_t n = s->n_text - hold;

    memmove(s->text + n + 1, s->text + n, hold);
    s->text[n] = '\0';
    s->n_given = n + 1;
    s->n_text++;
    *text = s->text;
    *len = n;
}

static size_t held_back(const tlpi_stream *s)
{
    size_t hold = 0;

    if (s->stopped)
        return 0;
    for (size_t i = 0; i < s->n_stop; i++)
        hold = TLPI_MAX(hold, s->stop[i].state);
    return hold;
}

/* Is the token's text, which the stream does not show, a stop string? */
static bool is_hidden_stop(const tlpi_stream *s, int32_t token)
{
    tlpi_str text = tlpi_vocab_text(s->vocab, token);

    for (size_t i = 0; i < s->n_stop; i++)
        if (s->stop[i].n == text.n &&
            memcmp(s->stop[i].text, text.s, text.n) == 0)
            return true;
    return false;
}

/* Stop at the end of the text so far. */
static void stop_here(tlpi_stream *s)
{
    if (s->n_cut > 0 && !s->stopped)
        add_char(s, replacement, REPLACEMENT_LEN);
    s->n_cut = 0;
    s->stopped = true;
}

tlp_status tlpi_stream_push(tlpi_stream *s, int32_t token, const char **text,
                            size_t *len, int *stopped)
{
    if (token < 0 || token >= tlpi_vocab_size(s->vocab))
        return tlpi_fail(TLP_EINVAL, "token %d: 0 to %d expected", token,
                         tlpi_vocab_size(s->vocab) - 1);
    forget_given(s);
    tlpi_str piece = tlpi_vocab_piece(s->vocab, token, s->flags);
    add_bytes(s, piece.s, piece.n);
    if (piece.n == 0 && is_hidden_stop(s, token))
        stop_here(s);
    give(s, held_back(s), text, len);
    *stopped = s->stopped;
    return TLP_OK;
}

void tlpi_stream_flush(tlpi_stream *s, const char **text, size_t *len)
{
    forget_given(s);
    if (s->n_cut > 0 && !s->stopped)
        add_char(s, replacement, REPLACEMENT_LEN);
    s->n_cut = 0;
    for (size_t i = 0; i < s->n_stop; i++)
        s->stop[i].state = 0;
    give(s, 0, text, len);
}
