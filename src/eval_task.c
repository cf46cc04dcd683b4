/*
 * eval_task.c - multiple-choice questions.  acc is the share of questions
 * whose gold choice has the highest log-probability, acc_norm the share with
 * the highest log-probability per character.  Questions are the units of the
 * intervals.
 */
#include <stdlib.h>

#include "eval.h"
#include "tlp_eval.h"

/* 1 or 0 for each question. */
typedef struct marks {
    double *acc, *norm;                     /* the plan is right */
    double *reference_acc, *reference_norm; /* the reference is right */
    double *gap, *norm_gap;                 /* plan - reference */
    double *same, *same_norm;               /* both make one choice */
    double *memory;
} marks;

#define N_MARK 8

/* The questions as tokens; a reference of another file has its own. */
typedef struct questions {
    tlp_task *task, *other;
} questions;

typedef struct task_result {
    estimate acc, norm, reference_acc, reference_norm;
    estimate gap, norm_gap, same, same_norm;
    tlp_task_info info;
    double seconds;
} task_result;

static int alloc_marks(marks *m, size_t n)
{
    double **part[N_MARK] = { &m->acc,           &m->norm,
                              &m->reference_acc, &m->reference_norm,
                              &m->gap,           &m->norm_gap,
                              &m->same,          &m->same_norm };

    m->memory = calloc(n, N_MARK * sizeof *m->memory);
    if (!m->memory)
        return cli_fail("out of memory");
    for (size_t i = 0; i < N_MARK; i++)
        *part[i] = m->memory + i * n;
    return CLI_OK;
}

static tlp_status mark(const eval *v, const questions *q, size_t i, marks *m)
{
    const tlp_task *task = q->task, *other = q->other ? q->other : task;

    tlp_task_item item = { .struct_size = sizeof item };
    tlp_answer a = { .struct_size = sizeof a };
    tlp_answer ref = { .struct_size = sizeof ref };
    tlp_status st = tlp_task_get_item(&item, task, i);

    if (st == TLP_OK)
        st = tlp_task_answer(&a, NULL, task, i, v->e.session);
    if (st == TLP_OK && v->reference)
        st = tlp_task_answer(&ref, NULL, other, i, v->reference);
    m->acc[i] = a.best == item.gold;
    m->norm[i] = a.best_norm == item.gold;
    m->reference_acc[i] = ref.best == item.gold;
    m->reference_norm[i] = ref.best_norm == item.gold;
    m->gap[i] = m->acc[i] - m->reference_acc[i];
    m->norm_gap[i] = m->norm[i] - m->reference_norm[i];
    m->same[i] = a.best == ref.best;
    m->same_norm[i] = a.best_norm == ref.best_norm;
    return st;
}

static int answer_all(const eval *v, const questions *q, size_t n, marks *m)
{
    cli_progress bar;
    tlp_status st = TLP_OK;

    cli_progress_start(&bar, "answering");
    for (size_t i = 0; st == TLP_OK && i < n; i++) {
        st = mark(v, q, i, m);
        cli_progress_step((double)(i + 1) / (double)n, &bar);
    }
    cli_progress_end(&bar);
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

static int summarise(const eval *v, const marks *m, size_t n, task_result *r)
{
    const struct {
        const double *value;
        estimate *out;
    } parts[N_MARK] = { { m->acc, &r->acc },
                        { m->norm, &r->norm },
                        { m->reference_acc, &r->reference_acc },
                        { m->reference_norm, &r->reference_norm },
                        { m->gap, &r->gap },
                        { m->norm_gap, &r->norm_gap },
                        { m->same, &r->same },
                        { m->same_norm, &r->same_norm } };
    int rc = CLI_OK;

    for (size_t i = 0; rc == CLI_OK && i < (v->reference ? N_MARK : 2); i++)
        rc = eval_estimate(v, parts[i].value, NULL, n, parts[i].out);
    return rc;
}

static void print_table(const eval *v, const task_result *r)
{
    printf("%llu questions, %llu of them cut to fit, %.2f s\n",
           (unsigned long long)r->info.n_item,
           (unsigned long long)r->info.n_cut, r->seconds);
    eval_print_share("acc", &r->acc);
    eval_print_share("acc_norm", &r->norm);
    if (v->reference) {
        eval_print_against(v);
        eval_print_share("  its acc", &r->reference_acc);
        eval_print_share("  its acc_norm", &r->reference_norm);
        eval_print_share("  acc minus its", &r->gap);
        eval_print_share("  acc_norm minus its", &r->norm_gap);
        eval_print_share("  same answer", &r->same);
        eval_print_share("  same, normalised", &r->same_norm);
    }
    eval_print_unit(&r->acc, "questions");
}

static void print_json(const eval *v, const task_result *r)
{
    json j = { .file = stdout };

    json_open(&j, NULL, '{');
    json_text(&j, "task", v->task_path);
    json_int(&j, "items", (int64_t)r->info.n_item);
    json_int(&j, "truncated", (int64_t)r->info.n_cut);
    eval_json(&j, "acc", &r->acc);
    eval_json(&j, "acc_norm", &r->norm);
    if (v->reference) {
        eval_json_against(&j, v);
        eval_json(&j, "reference_acc", &r->reference_acc);
        eval_json(&j, "reference_acc_norm", &r->reference_norm);
        eval_json(&j, "acc_difference", &r->gap);
        eval_json(&j, "acc_norm_difference", &r->norm_gap);
        eval_json(&j, "agreement", &r->same);
        eval_json(&j, "agreement_norm", &r->same_norm);
    }
    json_number(&j, "seconds", r->seconds);
    json_close(&j, '}');
    putchar('\n');
}

static int measure(eval *v, const questions *q, task_result *r)
{
    marks m = { 0 };
    size_t n = (size_t)r->info.n_item;
    int rc = alloc_marks(&m, n);
    double start = cli_now();

    if (rc == CLI_OK)
        rc = answer_all(v, q, n, &m);
    r->seconds = cli_now() - start;
    if (rc == CLI_OK)
        rc = summarise(v, &m, n, r);
    if (rc == CLI_OK)
        (v->as_json ? print_json : print_table)(v, r);
    free(m.memory);
    return rc;
}

int eval_task(eval *v)
{
    tlp_task_options opts = TLP_TASK_OPTIONS_INIT;
    questions q = { 0 };
    task_result r = { .info.struct_size = sizeof r.info };
    int32_t bos = -1;

    opts.delimiter = v->delimiter;
    opts.n_ctx = v->text.ctx;

    int rc = corpus_bos(&v->text, &v->e, true, &bos);

    if (rc != CLI_OK)
        return rc;
    opts.bos = bos >= 0;

    tlp_status st = tlp_task_load(&q.task, v->e.model, v->task_path, &opts);

    if (st == TLP_OK && v->against_model)
        st = tlp_task_load(&q.other, v->other.model, v->task_path, &opts);
    if (st == TLP_OK)
        st = tlp_task_get_info(&r.info, q.task);

    rc = st == TLP_OK ? CLI_OK : engine_fail(st);

    if (rc == CLI_OK)
        rc = eval_open_sessions(v, r.info.max_token);
    if (rc == CLI_OK)
        rc = measure(v, &q, &r);
    tlp_task_free(q.other);
    tlp_task_free(q.task);
    return rc;
}
