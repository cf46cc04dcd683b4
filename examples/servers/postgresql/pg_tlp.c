/*
 * pg_tlp.c - a function of PostgreSQL that writes text:
 *
 *     CREATE EXTENSION pg_tlp;
 *     SET tlp.model = '/var/lib/models/model.gguf';    -- a superuser may
 *     SELECT tlp_generate('Why is the sky blue?', 64);
 *
 * A backend opens the model at the first call, and has one session until it
 * ends.  PostgreSQL leaves a function by longjmp, which must not cross the
 * library: it can happen between calls of the library alone, at
 * CHECK_FOR_INTERRUPTS.  While the library loads, its progress function asks
 * whether the query was canceled.
 */
#include <postgres.h>
#include <fmgr.h>
#include <lib/stringinfo.h>
#include <mb/pg_wchar.h>
#include <miscadmin.h>
#include <utils/builtins.h>
#include <utils/guc.h>

#include <tlp.h>

PG_MODULE_MAGIC;

/* Tokens of a prompt between two looks for a cancellation. */
#define CHUNK 32

static char *model_path, *plan_text;
static int n_ctx, n_thread;

/* What this backend has open, and the settings that it was opened with. */
static struct {
    tlp_model *model;
    tlp_session *session;
    tlp_sampler *sampler;
    char *path, *plan;
    int n_ctx, n_thread;
} own;

void _PG_init(void);

void _PG_init(void)
{
    /* The server reads these files with its own rights: superusers alone. */
    DefineCustomStringVariable("tlp.model", "Model file or folder.", NULL,
                               &model_path, "", PGC_SUSET, 0, NULL, NULL, NULL);
    DefineCustomStringVariable("tlp.plan", "Plan in its text form.", NULL,
                               &plan_text, "serial", PGC_SUSET, 0, NULL, NULL,
                               NULL);
    DefineCustomIntVariable("tlp.n_ctx", "Tokens of prompt and text.", NULL,
                            &n_ctx, 2048, 16, 1 << 20, PGC_SUSET, 0, NULL, NULL,
                            NULL);
    DefineCustomIntVariable("tlp.threads", "Threads of a backend.", NULL,
                            &n_thread, 1, 1, 256, PGC_SUSET, 0, NULL, NULL,
                            NULL);
    MarkGUCPrefixReserved("tlp");
}

static int sql_code(tlp_status st)
{
    switch (st) {
    case TLP_EINVAL:
    case TLP_EFORMAT:
        return ERRCODE_INVALID_PARAMETER_VALUE;
    case TLP_ENOMEM:
        return ERRCODE_OUT_OF_MEMORY;
    case TLP_EIO:
        return ERRCODE_IO_ERROR;
    case TLP_ENOTSUP:
        return ERRCODE_FEATURE_NOT_SUPPORTED;
    case TLP_EFULL:
        return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
    default:
        return ERRCODE_EXTERNAL_ROUTINE_EXCEPTION;
    }
}

/* Report a failure of the library.  A canceled query reports itself. */
static void check(tlp_status st)
{
    if (st == TLP_OK)
        return;
    CHECK_FOR_INTERRUPTS();
    ereport(ERROR,
            (errcode(sql_code(st)), errmsg("tlp: %s", tlp_last_error())));
}

static int canceled(double done, void *user_data)
{
    return QueryCancelPending || ProcDiePending;
}

static void close_own(void)
{
    tlp_sampler_free(own.sampler);
    tlp_session_free(own.session);
    tlp_model_free(own.model);
    free(own.path);
    free(own.plan);
    memset(&own, 0, sizeof own);
}

static tlp_status open_session(void)
{
    tlp_session_options so = TLP_SESSION_OPTIONS_INIT;
    tlp_plan *plan = NULL;
    tlp_status st;

    so.n_ctx = n_ctx;
    so.n_thread = n_thread;
    so.progress = canceled;
    st = tlp_plan_parse(&plan, own.model, plan_text);
    if (!st)
        st = tlp_session_create(&own.session, plan, &so);
    if (!st)
        st = tlp_sampler_create(&own.sampler, own.model, NULL);
    tlp_plan_free(plan); /* the session keeps it */
    return st;
}

/* Open what the settings name, unless it is open. */
static void open_own(void)
{
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_status st;

    if (own.session && own.n_ctx == n_ctx && own.n_thread == n_thread &&
        !strcmp(own.path, model_path) && !strcmp(own.plan, plan_text))
        return;
    if (!*model_path)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("tlp: tlp.model is not set")));
    close_own();
    mo.progress = canceled;
    st = tlp_model_open(&own.model, model_path, &mo);
    if (!st)
        st = open_session();
    own.path = strdup(model_path);
    own.plan = strdup(plan_text);
    own.n_ctx = n_ctx;
    own.n_thread = n_thread;
    if (st || !own.path || !own.plan) {
        close_own(); /* does not change the library's text */
        check(st ? st : TLP_ENOMEM);
    }
}

/* The tokens of a question to the model, palloc'ed. */
static int32_t *read_prompt(const char *question, size_t *n)
{
    tlp_chat_message message = { "user", question };
    tlp_chat_options co = TLP_CHAT_OPTIONS_INIT;
    int32_t *ids;
    tlp_status st;
    size_t cap;

    co.add_generation_prompt = 1;
    st = tlp_chat_tokenize(NULL, 0, &cap, own.model, &message, 1, &co);
    if (st != TLP_EBUFS)
        check(st);
    ids = palloc((cap + 1) * sizeof *ids);
    check(tlp_chat_tokenize(ids, cap, n, own.model, &message, 1, &co));
    return ids;
}

static void evaluate(const int32_t *ids, size_t n)
{
    check(tlp_session_clear(own.session, 0));
    for (size_t i = 0; i < n; i += CHUNK) {
        CHECK_FOR_INTERRUPTS();
        check(tlp_session_prefill(own.session, ids + i,
                                  n - i < CHUNK ? n - i : CHUNK));
    }
}

/* The stream lives in a memory context, which frees it after an error too. */
static void free_stream(void *stream)
{
    tlp_stream_free(stream);
}

static tlp_stream *make_stream(void)
{
    MemoryContextCallback *end = palloc0(sizeof *end);
    tlp_stream *stream = NULL;

    check(tlp_stream_create(&stream, own.model, NULL, 0, 0));
    end->func = free_stream;
    end->arg = stream;
    MemoryContextRegisterResetCallback(CurrentMemoryContext, end);
    return stream;
}

static void write_text(StringInfo out, int n)
{
    tlp_stream *stream = make_stream();
    const char *text;
    size_t len;
    int32_t token;
    int stopped;

    tlp_sampler_reset(own.sampler);
    for (int i = 0; i < n; i++) {
        CHECK_FOR_INTERRUPTS();
        check(tlp_session_sample(&token, own.session, 0, own.sampler));
        if (tlp_token_is_end(own.model, token))
            break;
        check(tlp_stream_push(&text, &len, &stopped, stream, token));
        appendBinaryStringInfo(out, text, (int)len);
        if (i + 1 < n && tlp_session_pos(own.session, 0) < n_ctx)
            check(tlp_session_decode(own.session, token));
        else
            break;
    }
    check(tlp_stream_flush(&text, &len, stream));
    appendBinaryStringInfo(out, text, (int)len);
}

PG_FUNCTION_INFO_V1(tlp_generate);

Datum tlp_generate(PG_FUNCTION_ARGS)
{
    char *prompt = text_to_cstring(PG_GETARG_TEXT_PP(0));
    int n = PG_GETARG_INT32(1);
    StringInfoData out;
    int32_t *ids;
    size_t n_id;

    if (n < 1)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("tlp: n: %d, at least 1 expected", n)));
    /* The library has UTF-8; the database may have another encoding. */
    prompt = pg_server_to_any(prompt, (int)strlen(prompt), PG_UTF8);
    open_own();
    ids = read_prompt(prompt, &n_id);
    evaluate(ids, n_id);
    initStringInfo(&out);
    write_text(&out, n);
    PG_RETURN_TEXT_P(
        cstring_to_text(pg_any_to_server(out.data, out.len, PG_UTF8)));
}
