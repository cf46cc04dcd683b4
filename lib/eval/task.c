/*
 * task.c - files of multiple-choice items, and a session's answers.
 */
#include "eval/task.h"

#include <stdio.h>
#include <string.h>

#include "file/mapfile.h"
#include "session/session.h"

#define MAX_FILE_BYTES ((size_t)256 << 20)
#define DEFAULT_CTX 4096

/* ==== lifetime =========================================================== */

void tlpi_item_free(tlpi_item *item, const tlpi_env *env)
{
    for (int i = 0; i < item->n_choice; i++) {
        if (item->choice)
            tlpi_free(env, item->choice[i]);
        if (item->answer)
            tlpi_free(env, item->answer[i].data);
    }
    tlpi_free(env, item->query);
    tlpi_free(env, item->choice);
    tlpi_free(env, item->context.data);
    tlpi_free(env, item->answer);
    tlpi_free(env, item->n_char);
}

void tlp_task_free(tlp_task *task)
{
    if (!task)
        return;
    tlp_model *model = task->model;
    const tlpi_env *env = &model->env;

    for (size_t i = 0; i < task->n_item; i++)
        tlpi_item_free(&task->item[i], env);
    tlpi_free(env, task->item);
    tlpi_free(env, task->delimiter);
    tlpi_free(env, task);
    tlp_model_free(model);
}

static tlp_status task_create(tlp_task **out, tlp_model *model,
                              const tlp_task_options *o)
{
    const char *delimiter = o->delimiter ? o->delimiter : " ";
    int32_t trained = model->hp.n_ctx_train;

    if (o->n_ctx < 0 || o->n_ctx == 1)
        return tlpi_fail(TLP_EINVAL,
                         "task option n_ctx: %d, 0 or at least 2 expected",
                         o->n_ctx);
    tlp_task *t = tlpi_calloc(&model->env, 1, sizeof *t);
    if (!t)
        return tlpi_fail_nomem_for("a task");
    *out = t;
    t->model = tlpi_model_retain(model);
    t->n_ctx = o->n_ctx ? o->n_ctx : TLPI_MIN(trained, DEFAULT_CTX);
    t->bos = o->bos != 0;
    t->delimiter = tlpi_strndup(&model->env, delimiter, strlen(delimiter));
    return t->delimiter ? TLP_OK : tlpi_fail_nomem_for("a task");
}

/* ==== loading ============================================================ */

static tlp_status add_line(tlp_task *t, const char *where, const char *line,
                           size_t n)
{
    const tlpi_env *env = &t->model->env;

    if (t->n_item == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        tlpi_item *grown =
            tlpi_realloc_array(env, t->item, cap, sizeof *t->item);

        if (!grown)
            return tlpi_fail_nomem_for("a task");
        t->item = grown;
        t->cap = cap;
    }
    tlpi_item *item = &t->item[t->n_item++];
    *item = (tlpi_item){ 0 };
    tlp_status st = tlpi_item_read(item, env, where, line, n);
    return st == TLP_OK ? tlpi_item_encode(item, t, where) : st;
}

static tlp_status add_lines(tlp_task *t, const char *path, const char *text,
                            size_t n)
{
    size_t n_line = 0;
    tlp_status st = TLP_OK;

    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;
        char where[320];

        snprintf(where, sizeof where, "%.280s: line %zu", path, ++n_line);
        if (len > 0)
            TLP_TRY(add_line(t, where, text + at, len));
        at += len + 1;
    }
    if (t->n_item == 0)
        st = tlpi_fail(TLP_EFORMAT, "%s: no items", path);
done:
    return st;
}

tlp_status tlp_task_load(tlp_task **out, tlp_model *model, const char *path,
                         const tlp_task_options *opts)
{
    tlp_task_options o = { 0 };
    tlp_task *task = NULL;
    char *text = NULL;
    size_t n = 0;
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !model || !path)
        return tlpi_fail(TLP_EINVAL, "out, model and path are required");
    TLP_TRY(tlpi_options_read(&o, sizeof o, opts, "tlp_task_options"));
    TLP_TRY(tlpi_flag_check("task option bos", o.bos));
    TLP_TRY(task_create(&task, model, &o));
    TLP_TRY(tlpi_file_read(&model->env, path, MAX_FILE_BYTES, &text, &n));
    TLP_TRY(add_lines(task, path, text, n));
    *out = task;
    task = NULL;
done:
    tlpi_free(&model->env, text);
    tlp_task_free(task);
    return st;
}

/* ==== facts ============================================================== */

tlp_status tlp_task_get_info(tlp_task_info *out, const tlp_task *task)
{
    tlp_task_info info = { 0 };

    if (!task || !out)
        return tlpi_fail(TLP_EINVAL, "task and out are required");
    info.n_item = task->n_item;
    for (size_t i = 0; i < task->n_item; i++) {
        info.n_cut += task->item[i].cut;
        info.max_token = TLPI_MAX(info.max_token, task->item[i].max_token);
    }
    return tlpi_struct_write(out, &info, sizeof info, "tlp_task_info");
}

static tlp_status find_item(const tlp_task *task, size_t index,
                            const tlpi_item **item)
{
    if (index >= task->n_item)
        return tlpi_fail(TLP_EINVAL, "item %zu: the task has %zu", index,
                         task->n_item);
    *item = &task->item[index];
    return TLP_OK;
}

tlp_status tlp_task_get_item(tlp_task_item *out, const tlp_task *task,
                             size_t index)
{
    const tlpi_item *item = NULL;
    tlp_status st = TLP_OK;

    if (!task || !out)
        return tlpi_fail(TLP_EINVAL, "task and out are required");
    TLP_TRY(find_item(task, index, &item));
    tlp_task_item i = { .query = item->query,
                        .choices = (const char *const *)item->choice,
                        .n_choice = item->n_choice,
                        .gold = item->gold };
    st = tlpi_struct_write(out, &i, sizeof i, "tlp_task_item");
done:
    return st;
}

/* ==== answers ============================================================ */

/* Log-probability of choice c.  The session holds the tokens of the query from
 * *held on (-1: none), and keeps them for the next choice. */
static tlp_status score_choice(tlp_session *s, const tlp_task *t,
                               const tlpi_item *item, int c, int64_t *held,
                               float *buf, double *logprob)
{
    const tlpi_ids *context = &item->context, *answer = &item->answer[c];
    int64_t room = t->n_ctx - (int64_t)answer->n;
    int64_t n = (int64_t)context->n, first = TLPI_MAX(n - room, 0);
    tlp_status st = TLP_OK;

    if (first != *held) {
        TLP_TRY(tlp_session_clear(s, 0));
        TLP_TRY(
            tlp_session_prefill(s, context->data + first, (size_t)(n - first)));
        *held = first;
    }
    TLP_TRY(tlp_session_rewind(s, 0, (int32_t)(n - first)));
    TLP_TRY(tlp_session_score(buf, s, 0, answer->data, answer->n));
    *logprob = 0;
    for (size_t i = 0; i < answer->n; i++)
        *logprob += (double)buf[i];
done:
    return st;
}

/* The index of the largest score, the first if several are equal. */
static int32_t best_of(const double *score, const int32_t *divisor, int n)
{
    double top = 0;
    int32_t best = -1;

    for (int i = 0; i < n; i++) {
        double x = score[i] / (divisor ? divisor[i] : 1);

        if (best < 0 || x > top) {
            best = i;
            top = x;
        }
    }
    return best;
}

/* A session that can answer the item. */
static tlp_status check_session(const tlp_task *t, const tlpi_item *item,
                                const tlp_session *s)
{
    tlp_status st = tlpi_session_check(s);

    if (st != TLP_OK)
        return st;
    if (s->plan->model != t->model)
        return tlpi_fail(TLP_EMISMATCH,
                         "task: the session is one of another model");
    if (item->max_token > s->cfg.n_ctx)
        return tlpi_fail(TLP_EFULL,
                         "task: the item has %d tokens, the session n_ctx %d",
                         item->max_token, s->cfg.n_ctx);
    return TLP_OK;
}

tlp_status tlp_task_answer(tlp_answer *out, double *logprob,
                           const tlp_task *task, size_t index,
                           tlp_session *session)
{
    const tlpi_item *item = NULL;
    tlp_answer a = { 0 };
    double *score = NULL;
    float *buf = NULL;
    int64_t held = -1;
    tlp_status st = TLP_OK;

    if (!task || !session || !out)
        return tlpi_fail(TLP_EINVAL, "task, session and out are required");
    const tlpi_env *env = &task->model->env;
    TLP_TRY(tlpi_struct_check(out, sizeof a, "tlp_answer"));
    TLP_TRY(find_item(task, index, &item));
    TLP_TRY(check_session(task, item, session));
    size_t n = (size_t)item->n_choice, longest = 0;
    for (size_t c = 0; c < n; c++)
        longest = TLPI_MAX(longest, item->answer[c].n);
    score = tlpi_alloc_array(env, n, sizeof *score);
    buf = tlpi_alloc_array(env, longest, sizeof *buf);
    if (!score || !buf)
        TLP_TRY(tlpi_fail_nomem_for("a task"));
    for (int c = 0; c < item->n_choice; c++)
        TLP_TRY(score_choice(session, task, item, c, &held, buf, &score[c]));
    a.best = best_of(score, NULL, item->n_choice);
    a.best_norm = best_of(score, item->n_char, item->n_choice);
    if (logprob)
        memcpy(logprob, score, n * sizeof *score);
    st = tlpi_struct_write(out, &a, sizeof a, "tlp_answer");
done:
    tlpi_free(env, score);
    tlpi_free(env, buf);
    return st;
}
