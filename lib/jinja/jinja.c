/*
 * jinja.c - compile a template, and render it.
 */
#include "jinja/jinja.h"

#include <string.h>

#include "jinja/jinja_run.h"

struct tlpi_jinja {
    tlpi_jx x; /* owns the tree */
    const tlpi_jnode *body;
    const tlpi_jtoken *token;
    size_t n_token;
    char *name, *source;
};

/* "\r\n" and "\r" become "\n", and one newline at the end goes, as Jinja does
 * before it reads a template. */
static size_t normalise(char *s, size_t n)
{
    size_t out = 0;

    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\r' && i + 1 < n && s[i + 1] == '\n')
            continue;
        s[out++] = s[i] == '\r' ? '\n' : s[i];
    }
    return out > 0 && s[out - 1] == '\n' ? out - 1 : out;
}

tlp_status tlpi_jinja_compile(tlpi_jinja **out, const tlpi_env *env,
                              const char *name, const char *text, size_t n)
{
    tlpi_jinja *t = NULL;
    tlp_status st = TLP_OK;

    *out = NULL;
    if (n > TLPI_JINJA_MAX_SOURCE)
        return tlpi_fail(TLP_ENOTSUP, "%s: a template of %zu bytes, at most %d",
                         name, n, TLPI_JINJA_MAX_SOURCE);
    t = tlpi_calloc(env, 1, sizeof *t);
    if (!t)
        return tlpi_fail_nomem_for("a chat template");
    t->x.env = env;
    t->name = tlpi_strndup(env, name, strlen(name));
    t->source = tlpi_alloc(env, n + 1);
    if (!t->name || !t->source)
        TLP_TRY(tlpi_fail_nomem_for("a chat template"));
    if (n > 0)
        memcpy(t->source, text, n);
    t->x.name = t->name;
    t->x.source = t->source;
    t->x.n_source = normalise(t->source, n);
    t->token = tlpi_jinja_lex(&t->x, &t->n_token);
    if (t->token)
        t->body = tlpi_jinja_parse(&t->x, t->token);
    TLP_TRY(t->x.st);
    *out = t;
    t = NULL;
done:
    tlpi_jinja_free(t);
    return st;
}

void tlpi_jinja_free(tlpi_jinja *t)
{
    if (!t)
        return;
    const tlpi_env *env = t->x.env;
    tlpi_jx_free(&t->x);
    tlpi_free(env, t->name);
    tlpi_free(env, t->source);
    tlpi_free(env, t);
}

static bool has_token(const tlpi_jinja *t, tlpi_jtoken_kind kind,
                      const char *text)
{
    for (size_t i = 0; i < t->n_token; i++)
        if (t->token[i].kind == kind && tlpi_j_is_text(t->token[i].value, text))
            return true;
    return false;
}

bool tlpi_jinja_reads(const tlpi_jinja *t, const char *name)
{
    return has_token(t, TLPI_JT_NAME, name);
}

bool tlpi_jinja_mentions(const tlpi_jinja *t, const char *key)
{
    return tlpi_jinja_reads(t, key) || has_token(t, TLPI_JT_STRING, key);
}

static void set_vars(tlpi_jinterp *in, const tlpi_jinja_var *vars, size_t n)
{
    for (size_t i = 0; i < n && in->x.st == TLP_OK; i++)
        tlpi_j_set(&in->x, &in->scope->vars, tlpi_j_text(&in->x, vars[i].name),
                   tlpi_j_from_json(&in->x, vars[i].value, vars[i].trusted));
}

static tlp_status copy_out(tlpi_jinja_text *out, const tlpi_env *env,
                           const tlpi_jbuf *b)
{
    out->n = b->n;
    out->s = tlpi_alloc(env, b->n + 1);
    out->data = tlpi_calloc(env, b->n + 1, 1);
    if (!out->s || !out->data) {
        tlpi_jinja_text_free(env, out);
        return tlpi_fail_nomem_for("a chat template");
    }
    if (b->n > 0)
        memcpy(out->s, b->s, b->n);
    out->s[b->n] = '\0';
    if (b->data)
        memcpy(out->data, b->data, b->n);
    return TLP_OK;
}

tlp_status tlpi_jinja_render(tlpi_jinja_text *out, const tlpi_jinja *t,
                             const tlpi_jinja_var *vars, size_t n_var,
                             time_t now, const json_t *tail)
{
    tlpi_jinterp in = { .x = { .env = t->x.env,
                               .name = t->x.name,
                               .source = t->x.source,
                               .n_source = t->x.n_source,
                               .now = now,
                               .tail = tail } };
    tlpi_jbuf b = { .x = &in.x };

    *out = (tlpi_jinja_text){ 0 };
    in.out = &b;
    if (tlpi_jinja_push(&in, NULL)) {
        set_vars(&in, vars, n_var);
        /* The template's own names are set over the caller's. */
        if (in.x.st == TLP_OK && tlpi_jinja_push(&in, in.scope)) {
            tlpi_jinja_claim_names(&in, t->body);
            tlpi_jinja_run(&in, t->body);
        }
    }
    tlp_status st = in.x.st;
    if (st == TLP_OK)
        st = copy_out(out, t->x.env, &b);
    tlpi_jx_free(&in.x);
    return st;
}

void tlpi_jinja_text_free(const tlpi_env *env, tlpi_jinja_text *text)
{
    tlpi_free(env, text->s);
    tlpi_free(env, text->data);
    *text = (tlpi_jinja_text){ 0 };
}
