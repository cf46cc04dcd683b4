/*
 * task_encode.c - items to tokens, by the rules of lm-evaluation-harness, so
 * that numbers can be compared.
 *
 * A delimiter stands between query and choice.  Blanks at the end of the query,
 * which are the characters that Python's str.rstrip removes, move to the
 * choice: "Q: why? " and "because" make "Q: why?" and "  because". If the query
 * alone has n tokens, the tokens of the choice are the tokens of the whole text
 * from n on.  An empty query stands for BOS.  A text that is too long loses
 * tokens at the beginning of the query.
 */
#include <string.h>

#include "eval/task.h"

/* What str.isspace of Python accepts. */
static bool is_blank(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } blank[] = { { 0x09, 0x0d },     { 0x1c, 0x20 },     { 0x85, 0x85 },
                  { 0xa0, 0xa0 },     { 0x1680, 0x1680 }, { 0x2000, 0x200a },
                  { 0x2028, 0x2029 }, { 0x202f, 0x202f }, { 0x205f, 0x205f },
                  { 0x3000, 0x3000 } };

    for (size_t i = 0; i < TLPI_COUNT(blank); i++)
        if (c >= blank[i].first && c <= blank[i].last)
            return true;
    return false;
}

/* The last character of valid UTF-8 of n bytes, at least 1; *len gets its
 * bytes.  Characters of four bytes, none of which is blank, give 0. */
static uint32_t last_character(const char *text, size_t n, size_t *len)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t i = n - 1;

    while (i > 0 && (s[i] & 0xc0) == 0x80)
        i--;
    *len = n - i;
    switch (*len) {
    case 1:
        return s[i];
    case 2:
        return (s[i] & 0x1fu) << 6 | (s[i + 1] & 0x3fu);
    case 3:
        return (s[i] & 0x0fu) << 12 | (s[i + 1] & 0x3fu) << 6 |
               (s[i + 2] & 0x3fu);
    default:
        return 0;
    }
}

static size_t trimmed(const char *text)
{
    size_t n = strlen(text), len;

    while (n > 0 && is_blank(last_character(text, n, &len)))
        n -= len;
    return n;
}

static int32_t characters(const char *text)
{
    int32_t n = 0;

    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static tlp_status push_bos(tlpi_ids *ids, const tlp_task *task,
                           const char *where)
{
    const tlpi_special *special = tlpi_vocab_special(task->model->vocab);
    int32_t id = special->bos >= 0 ? special->bos : special->eos;

    if (id < 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key \"query\": the model has no BOS to stand "
                         "before it",
                         where);
    ids->data = tlpi_alloc_array(ids->env, 1, sizeof *ids->data);
    if (!ids->data)
        return tlpi_fail_nomem_for("a task");
    ids->data[0] = id;
    ids->n = ids->cap = 1;
    return TLP_OK;
}

/* Tokens of the query alone.  An empty query is BOS, which is not among the
 * tokens of the whole text: `extra` counts it. */
static tlp_status encode_query(tlpi_item *item, const tlp_task *task,
                               const char *where, size_t *extra)
{
    size_t n = trimmed(item->query);
    tlp_status st = TLP_OK;

    *extra = task->bos || n == 0;
    if (*extra)
        TLP_TRY(push_bos(&item->context, task, where));
    if (n > 0)
        TLP_TRY(tlpi_vocab_tokenize(task->model->vocab, item->query, n, 0,
                                    &item->context));
done:
    return st;
}

static tlp_status encode_choice(tlpi_item *item, const tlp_task *task,
                                const char *where, int c, size_t n_query)
{
    const tlpi_env *env = &task->model->env;
    tlpi_text text = { .env = env };
    tlpi_ids whole = { .env = env }, *answer = &item->answer[c];
    tlp_status st = TLP_OK;

    tlpi_text_add(&text, item->query, strlen(item->query));
    tlpi_text_add(&text, task->delimiter, strlen(task->delimiter));
    tlpi_text_add(&text, item->choice[c], strlen(item->choice[c]));
    if (text.failed)
        TLP_TRY(tlpi_fail_nomem_for("a task"));
    TLP_TRY(tlpi_vocab_tokenize(task->model->vocab, text.data, text.len, 0,
                                &whole));
    if (whole.n <= n_query)
        TLP_TRY(tlpi_fail(TLP_EFORMAT,
                          "%s: key \"choices\", element %d: adds no token to "
                          "the query",
                          where, c));
    size_t n = whole.n - n_query;
    if (n >= (size_t)task->n_ctx)
        TLP_TRY(tlpi_fail(TLP_EFORMAT,
                          "%s: key \"choices\", element %d: %zu tokens and one "
                          "of the query do not fit in n_ctx %d",
                          where, c, n, task->n_ctx));
    answer->env = env;
    answer->data = tlpi_alloc_array(env, n, sizeof *answer->data);
    if (!answer->data)
        TLP_TRY(tlpi_fail_nomem_for("a task"));
    memcpy(answer->data, whole.data + n_query, n * sizeof *answer->data);
    answer->n = answer->cap = n;
    item->n_char[c] = characters(item->choice[c]);
done:
    tlpi_text_free(&text);
    tlpi_free(env, whole.data);
    return st;
}

/* A choice sees at most n_ctx - 1 tokens of the query. */
static void cut_context(tlpi_item *item, int32_t n_ctx)
{
    tlpi_ids *c = &item->context;
    size_t longest = 0, room = (size_t)n_ctx;

    for (int i = 0; i < item->n_choice; i++)
        longest = TLPI_MAX(longest, item->answer[i].n);
    item->cut = longest > room || c->n > room - longest;
    item->max_token = (int32_t)(item->cut ? room : c->n + longest);
    if (c->n >= room) {
        memmove(c->data, c->data + (c->n - (room - 1)),
                (room - 1) * sizeof *c->data);
        c->n = room - 1;
    }
}

tlp_status tlpi_item_encode(tlpi_item *item, const tlp_task *task,
                            const char *where)
{
    const tlpi_env *env = &task->model->env;
    size_t n = (size_t)item->n_choice, extra = 0;
    tlp_status st = TLP_OK;

    item->context.env = env;
    item->answer = tlpi_calloc(env, n, sizeof *item->answer);
    item->n_char = tlpi_calloc(env, n, sizeof *item->n_char);
    if (!item->answer || !item->n_char)
        return tlpi_fail_nomem_for("a task");
    TLP_TRY(encode_query(item, task, where, &extra));
    for (int c = 0; c < item->n_choice; c++)
        TLP_TRY(encode_choice(item, task, where, c, item->context.n - extra));
    cut_context(item, task->n_ctx);
done:
    return st;
}
