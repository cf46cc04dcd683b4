/*
 * channels.c - see channels.h.
 */
#include "channels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE "<|message|>"

/* Words that end a message; the last two begin the next header. */
static const char *const ends[] = { "<|end|>", "<|call|>", "<|return|>",
                                    "<|start|>", "<|channel|>" };
enum { N_ENDS = 5, N_CLOSING = 3 };

bool channels_are_of(const char *chat_template)
{
    return strstr(chat_template, "<|channel|>") &&
           strstr(chat_template, MESSAGE);
}

bool channel_text_add(channel_text *t, const char *text, size_t n)
{
    if (t->n + n > t->cap) {
        size_t cap = t->n + n + t->cap + 64;
        char *grown = realloc(t->text, cap);

        if (!grown)
            return false;
        t->text = grown;
        t->cap = cap;
    }
    if (n)
        memcpy(t->text + t->n, text, n);
    t->n += n;
    return true;
}

void channels_free(channels *c)
{
    free(c->raw.text);
    free(c->final.text);
    free(c->analysis.text);
    free(c->call);
}

/* ==== headers ============================================================ */

/* What stands behind a word in the header, up to a blank or '<', into out;
 * false: no such word. */
static bool behind(const char *header, size_t n, const char *word, char *out,
                   size_t cap)
{
    const char *at = memmem(header, n, word, strlen(word));
    size_t k = 0, left;

    if (!at)
        return false;
    at += strlen(word);
    left = n - (size_t)(at - header);
    while (k < left && k + 1 < cap && at[k] && !strchr(" \t\r\n<", at[k]))
        k++;
    memcpy(out, at, k);
    out[k] = '\0';
    return true;
}

/* A header between the last message and <|message|>. */
static void read_header(channels *c, const char *header, size_t n)
{
    char channel[32] = "";
    char to[sizeof c->next.name + 16] = "";
    static const char functions[] = "functions.";

    (void)behind(header, n, "<|channel|>", channel, sizeof channel);
    c->kind = !strcmp(channel, "analysis") ? CHANNEL_ANALYSIS : CHANNEL_FINAL;
    if (behind(header, n, "to=", to, sizeof to) &&
        !strncmp(to, functions, strlen(functions))) {
        c->kind = CHANNEL_CALL;
        snprintf(c->next.name, sizeof c->next.name, "%.79s",
                 to + strlen(functions));
    }
}

/* Texts that a grammar constrains have no header. */
static bool is_header(const char *text, size_t n)
{
    static const char *const begins[] = { "<|channel|>", "<|start|>",
                                          " to=", MESSAGE };

    for (int i = 0; i < 4; i++) {
        size_t len = strlen(begins[i]);

        if (memcmp(text, begins[i], n < len ? n : len) == 0)
            return true;
    }
    return false;
}

/* Read a header.  *more: go on behind it. */
static void take_header(channels *c, bool *more)
{
    const char *text = c->raw.text + c->at;
    size_t n = c->raw.n - c->at;
    const char *message = memmem(text, n, MESSAGE, strlen(MESSAGE));

    *more = n > 0 && (message || !is_header(text, n));
    if (!*more)
        return;
    c->body = true;
    c->next.begin = c->at;
    c->kind = CHANNEL_FINAL;
    if (!is_header(text, n))
        return;
    read_header(c, text, (size_t)(message - text));
    c->at += (size_t)(message - text) + strlen(MESSAGE);
}

/* ==== bodies ============================================================= */

/* The place of the next word that ends a message; n: none.  *open: from there
 * on the text may become such a word. */
static size_t find_end(const char *text, size_t n, size_t *len, bool *open)
{
    for (size_t at = 0; at < n; at++) {
        if (text[at] != '<')
            continue;
        for (int i = 0; i < N_ENDS; i++) {
            size_t all = strlen(ends[i]);
            size_t k = n - at < all ? n - at : all;

            if (memcmp(text + at, ends[i], k) != 0)
                continue;
            *open = k < all;
            *len = i < N_CLOSING ? all : 0;
            return at;
        }
    }
    *open = false;
    *len = 0;
    return n;
}

/* The text of a call is complete: raw[at, end). */
static bool close_call(channels *c, size_t end)
{
    channel_call *grown = realloc(c->call, (c->n_call + 1) * sizeof *c->call);

    if (!grown)
        return false;
    c->call = grown;
    c->next.body = c->at;
    c->next.end = end;
    c->call[c->n_call++] = c->next;
    return true;
}

/* Read up to the end of a message, or as far as it is certain. */
static bool take_body(channels *c, bool end, bool *more)
{
    const char *text = c->raw.text + c->at;
    size_t len = 0, n = c->raw.n - c->at, stop;
    bool open = false, closed, fine = true;

    stop = find_end(text, n, &len, &open);
    closed = stop < n && !open;
    if (end && !closed)
        stop = n;
    *more = closed;
    if (c->kind == CHANNEL_CALL) {
        if (!closed && !end)
            return true;
        fine = close_call(c, c->at + stop);
    } else {
        fine = channel_text_add(
            c->kind == CHANNEL_FINAL ? &c->final : &c->analysis, text, stop);
    }
    c->at += stop + (closed ? len : 0);
    c->body = !closed;
    return fine;
}

bool channels_add(channels *c, const char *text, size_t n, bool end)
{
    bool more = true, fine = channel_text_add(&c->raw, text, n);

    while (fine && more) {
        if (c->body)
            fine = take_body(c, end, &more);
        else
            take_header(c, &more);
    }
    if (fine && end && !c->body && c->at < c->raw.n) /* a header alone */
        c->at = c->raw.n;
    return fine;
}
