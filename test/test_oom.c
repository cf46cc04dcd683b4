/*
 * test_oom.c - memory running out at every single allocation.
 *
 * The whole life of a session is run again and again; in run n the n-th
 * allocation fails (and, in a second sweep, all behind it too).  Every call
 * then either succeeds or gives TLP_ENOMEM, what existed before goes on
 * working, and in the end not a byte is left.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/mem.h"
#include "support/tiny.h"

TestSuite(oom, .timeout = 300);

static const char *small_model_of(const char *arch, int n_split)
{
    tiny_spec s = tiny_default();

    s.arch = arch;
    s.n_layer = 2;
    s.n_embd = 32;
    s.n_ff = 64;
    s.n_head = 2;
    s.n_head_kv = 2;
    s.n_vocab = 270;
    s.type = TLPI_Q8_0;
    s.n_split = n_split;
    return tiny_make(&s);
}

static const char *small_model(int n_split)
{
    return small_model_of("llama", n_split);
}

/* OK or out of memory, with a text that says for what; true when the call
 * succeeded. */
static bool ok(tlp_status st, const char *call, long n)
{
    const char *text = tlp_last_error();

    cr_assert(st == TLP_OK || st == TLP_ENOMEM, "allocation %ld: %s: %s: %s", n,
              call, tlp_status_name(st), text);
    if (st == TLP_ENOMEM)
        cr_assert(strstr(text, "out of memory") && strstr(text, " for "),
                  "allocation %ld: %s: %s", n, call, text);
    return st == TLP_OK;
}

#define TRY(call) ok((call), #call, m->fail_at)

static void open_all(const char *path, const char *plan_text, mem *m,
                     const tlp_session_options *o, tlp_model **model,
                     tlp_plan **plan, tlp_session **session)
{
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    char text[512];
    size_t len = 0;

    mo.allocator = mem_hooks(m);
    if (!TRY(tlp_model_open(model, path, &mo))) {
        cr_assert_null(*model);
        return;
    }
    if (!TRY(tlp_plan_parse(plan, *model, plan_text))) {
        cr_assert_null(*plan);
        return;
    }
    (void)TRY(tlp_plan_format(text, sizeof text, &len, *plan, TLP_PLAN_JSON));
    if (!TRY(tlp_session_create(session, *plan, o)))
        cr_assert_null(*session);
}

static int keep_going(const char *text, size_t len, void *user_data)
{
    (void)text;
    (void)len;
    (void)user_data;
    return 0;
}

/* A call that fails must leave positions as they were; again it may pass. */
static void use(tlp_model *model, tlp_session *s, mem *m)
{
    static const int32_t ids[5] = { 1, 2, 3, 4, 5 };
    static const int32_t seqs[5] = { 1, 0, 1, 0, 1 };
    static const uint8_t want[5] = { 1, 1, 1, 1, 1 };
    static const char *const stop[1] = { "zzzz" };
    tlp_batch b = { sizeof b, 5, ids, seqs, want };
    tlp_generate_options go = TLP_GENERATE_OPTIONS_INIT;
    tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
    tlp_logit_bias bias = { 3, 1 };
    tlp_sampler *sampler = NULL;
    const float *row = NULL;
    float lp[5], vector[96];
    int32_t id;

    so.temperature = 1;
    so.top_p = 0.9f;
    so.bias = &bias;
    so.n_bias = 1;
    go.n_predict = 3;
    go.stop = stop;
    go.n_stop = 1;
    go.text = keep_going;
    for (int i = 0; i < 2 && !TRY(tlp_session_prefill(s, ids, 5)); i++)
        cr_assert_eq(tlp_session_pos(s, 0), 0);
    if (tlp_session_n_logits(s) &&
        TRY(tlp_sampler_create(&sampler, model, &so))) {
        (void)TRY(tlp_session_logits(&row, s, 0));
        (void)TRY(tlp_session_sample(&id, s, 0, sampler));
        (void)TRY(tlp_session_generate(NULL, s, sampler, &go));
    }
    int32_t pos = tlp_session_pos(s, 0);
    if (!TRY(tlp_session_eval(s, &b)))
        cr_assert(tlp_session_pos(s, 0) == pos && tlp_session_pos(s, 1) == 0);
    (void)TRY(tlp_session_decode(s, 7));
    (void)TRY(tlp_session_score(lp, s, 1, ids, 5));
    (void)TRY(tlp_session_embed(vector, s, 1, ids, 5, NULL));
    (void)TRY(tlp_session_fork(s, 1, 0));
    tlp_sampler_free(sampler);
}

/* Tokens and text, without a session. */
static void use_vocabulary(tlp_model *model, mem *m)
{
    static const char hello[] = "hello the world, <|im_start|> and 123";
    const tlp_chat_message chat[1] = { { "user", "hello" } };
    tlp_chat_options json = TLP_CHAT_OPTIONS_INIT;
    int32_t ids[64];
    char text[512];
    size_t n = 0, len = 0;

    json.messages_json = "[{\"role\": \"user\", \"content\": \"hi\"}]";
    json.chat_template = "{{ messages[0].content }}";
    json.continue_final_message = 1;

    if (TRY(tlp_tokenize(ids, 64, &n, model, hello, sizeof hello - 1,
                         TLP_TOKENIZE_SPECIAL)))
        (void)TRY(tlp_detokenize(text, sizeof text, &len, model, ids, n, 0));
    (void)TRY(tlp_chat_format(text, sizeof text, &len, model, chat, 1, 1));
    (void)TRY(tlp_chat_tokenize(ids, 64, &n, model, chat, 1, NULL));
    (void)TRY(tlp_chat_tokenize(ids, 64, &n, model, NULL, 0, &json));
    (void)TRY(tlp_model_get_meta(text, sizeof text, &len, model,
                                 "tokenizer.ggml.tokens"));
}

typedef struct life {
    const char *path, *plan;
    int n_rank;
} life;

static void live(const life *l, mem *m)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;

    o.n_ctx = 32;
    o.n_seq = 2;
    o.n_rank = l->n_rank;
    o.n_thread = 1;
    open_all(l->path, l->plan, m, &o, &model, &plan, &session);
    if (session)
        use(model, session, m);
    if (model)
        use_vocabulary(model, m);
    tlp_model_free(model); /* in the order of birth: the last one cleans up */
    tlp_plan_free(plan);
    tlp_session_free(session);
    cr_assert(atomic_load(&m->live) == 0 && atomic_load(&m->bytes) == 0,
              "allocation %ld failed: %ld blocks, %zu bytes left", m->fail_at,
              atomic_load(&m->live), atomic_load(&m->bytes));
}

static void sweep(const life *l, bool all_behind, long step)
{
    mem count = { 0 };

    live(l, &count);
    long n = atomic_load(&count.calls);
    cr_assert_gt(n, 100, "only %ld allocations seen", n);
    /* the calls of ranks interleave freely: somewhat more than were counted */
    for (long at = 1; at <= n + 8; at += step) {
        mem m = { .fail_at = at, .fail_after = all_behind };

        live(l, &m);
        cr_assert(at > n - 8 || atomic_load(&m.failed) > 0,
                  "allocation %ld of %ld never came", at, n);
    }
}

Test(oom, one_rank)
{
    sweep(&(life){ small_model(1), "serial", 1 }, false, 1);
}

Test(oom, one_rank_for_good)
{
    sweep(&(life){ small_model(1), "par:0-1", 1 }, true, CHECK_SLOWDOWN);
}

Test(oom, two_ranks)
{
    sweep(&(life){ small_model(1), "par:0-1", 2 }, false, 1);
}

Test(oom, two_ranks_for_good)
{
    sweep(&(life){ small_model(1), "asym:0-1", 2 }, true, CHECK_SLOWDOWN);
}

Test(oom, split_file_merged_layers_shared_member)
{
    sweep(&(life){ small_model(2), "merge:0-1", 1 }, false, CHECK_SLOWDOWN);
    sweep(&(life){ small_model(1), "par:0-1", 3 }, false, CHECK_SLOWDOWN);
}

Test(oom, norms_of_rows_over_ranks)
{
    sweep(&(life){ small_model_of("olmo2", 1), "serial", 2 }, false,
          CHECK_SLOWDOWN);
}

Test(oom, experts)
{
    sweep(&(life){ small_model_of("qwen3moe", 1), "par:0-1", 2 }, false,
          CHECK_SLOWDOWN);
    sweep(&(life){ small_model_of("gpt-oss", 1), "lp:0-1", 2 }, false,
          CHECK_SLOWDOWN);
}

/* A session that exists goes on giving the same bits after failures. */
Test(oom, old_state_stays)
{
    mem m = { 0 };
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_session *s = NULL, *other = NULL;
    static const int32_t ids[6] = { 9, 8, 7, 6, 5, 4 };
    const float *row = NULL;
    float *want = malloc(270 * sizeof *want);

    o.n_ctx = 32;
    o.n_rank = 2;
    o.n_thread = 1;
    open_all(small_model(1), "par:0-1", &m, &o, &model, &plan, &s);
    CHECK_OK(tlp_session_prefill(s, ids, 6));
    CHECK_OK(tlp_session_logits(&row, s, 0));
    memcpy(want, row, 270 * sizeof *want);
    for (long n = 1; n < 200; n += 3) {
        m.fail_at = atomic_load(&m.calls) + n;
        if (ok(tlp_session_create(&other, plan, &o), "session", m.fail_at))
            tlp_session_free(other);
        m.fail_at = 0;
        CHECK_OK(tlp_session_clear(s, 0));
        CHECK_OK(tlp_session_prefill(s, ids, 6));
        CHECK_OK(tlp_session_logits(&row, s, 0));
        cr_assert_eq(memcmp(want, row, 270 * sizeof *want), 0);
    }
    free(want);
    tlp_session_free(s);
    tlp_plan_free(plan);
    tlp_model_free(model);
    cr_assert_eq(atomic_load(&m.live), 0);
}

/* Steps of the network allocate nothing. */
Test(oom, decode_allocates_nothing)
{
    mem m = { 0 };
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_session *s = NULL;
    tlp_sampler *sampler = NULL;
    int32_t id = 1;

    o.n_ctx = 64;
    o.n_rank = 2;
    o.n_thread = 1;
    open_all(small_model(1), "par:0-1", &m, &o, &model, &plan, &s);
    CHECK_OK(tlp_sampler_create(&sampler, model, NULL));
    CHECK_OK(tlp_session_decode(s, id));
    CHECK_OK(tlp_session_sample(&id, s, 0, sampler));
    long calls = atomic_load(&m.calls);
    for (int i = 0; i < 40; i++) {
        CHECK_OK(tlp_session_decode(s, id));
        CHECK_OK(tlp_session_sample(&id, s, 0, sampler));
    }
    cr_assert_eq(atomic_load(&m.calls), calls);
    tlp_sampler_free(sampler);
    tlp_session_free(s);
    tlp_plan_free(plan);
    tlp_model_free(model);
}

/* ==== out of memory on another rank ====================================== */

static void *alloc_here(size_t size, size_t align, void *user_data)
{
    pthread_t *here = user_data;

    size = (size + align - 1) / align * align;
    return pthread_equal(*here, pthread_self()) ? aligned_alloc(align, size)
                                                : NULL;
}

static void free_anywhere(void *ptr, size_t size, void *user_data)
{
    (void)size;
    (void)user_data;
    free(ptr);
}

Test(oom, the_rank_behind_it_is_named)
{
    pthread_t here = pthread_self();
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_session_options so = TLP_SESSION_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;

    mo.allocator = (tlp_allocator){ alloc_here, free_anywhere, &here };
    so.n_rank = 2;
    so.n_thread = 1;
    CHECK_OK(tlp_model_open(&model, small_model(1), &mo));
    CHECK_OK(tlp_plan_parse(&plan, model, "serial"));
    tlp_status st = tlp_session_create(&session, plan, &so);
    cr_assert_eq(st, TLP_ENOMEM, "%s", tlp_status_name(st));
    cr_assert_null(session);
    cr_assert_eq(strncmp(tlp_last_error(), "rank 1: ", 8), 0, "%s",
                 tlp_last_error());
    tlp_plan_free(plan);
    tlp_model_free(model);
}
