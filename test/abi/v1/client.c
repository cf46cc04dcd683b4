/*
 * client.c - a program of ABI 1: it is compiled with the frozen headers in this
 * folder and linked with today's library.
 *
 *     client MODEL FOLDER
 *
 * The program calls every function of the frozen headers and checks what must
 * not change between libraries: that structs have the frozen size, that results
 * stand where the frozen headers say, and that statuses have the frozen values.
 * It writes its files to FOLDER.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tlp.h"
#include "tlp_eval.h"
#include "tlp_tune.h"

#define N_TOKEN 512
#define N_WINDOW 32

static tlp_model *model;
static tlp_model_info info;
static int32_t tokens[N_TOKEN];
static char path[4096];

static void check(int ok, const char *what, int line)
{
    if (ok)
        return;
    fprintf(stderr, "client.c:%d: %s: %s\n", line, what, tlp_last_error());
    exit(1);
}

#define CHECK(condition) check((condition) != 0, #condition, __LINE__)
#define OK(call) check((call) == TLP_OK, #call, __LINE__)
#define FAILS(status, call) check((call) == (status), #call, __LINE__)

static const char *in_folder(const char *folder, const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ==== versions, statuses, devices ======================================== */

static void use_versions(void)
{
    CHECK(tlp_version_number() >= TLP_VERSION_NUMBER);
    CHECK(strlen(tlp_version_string()) >= 5);
    CHECK(strstr(tlp_build_info(), tlp_version_string()) != NULL);
    CHECK(strcmp(tlp_status_name(TLP_ECLOSED), "TLP_ECLOSED") == 0);
    CHECK(tlp_status_text(TLP_EFULL)[0] != '\0');
}

static void use_devices(void)
{
    tlp_device_info device = { sizeof device, "", 0, 0, 0, 0, 0, 0 };
    int32_t n = 0;
    tlp_status st = tlp_device_count(&n, TLP_BACKEND_CUDA);

    CHECK(st == TLP_OK ? n >= 1 : st == TLP_ENOTSUP);
    if (st == TLP_OK)
        OK(tlp_device_get_info(&device, TLP_BACKEND_CUDA, 0));
    else
        FAILS(st, tlp_device_get_info(&device, TLP_BACKEND_CUDA, 0));
}

/* ==== models and tokens ================================================== */

static size_t n_alloc;

static void *allocate(size_t size, size_t align, void *user_data)
{
    void *memory = NULL;

    /* Threads of the library allocate too. */
    __atomic_add_fetch((size_t *)user_data, 1, __ATOMIC_RELAXED);
    return posix_memalign(&memory,
                          align < sizeof memory ? sizeof memory : align,
                          size ? size : 1)
               ? NULL
               : memory;
}

static void release(void *memory, size_t size, void *user_data)
{
    (void)size;
    (void)user_data;
    free(memory);
}

static int go_on(double done, void *user_data)
{
    ++*(int *)user_data;
    return !(done >= 0 && done <= 1);
}

static void take_line(int level, const char *text, void *user_data)
{
    (void)user_data;
    CHECK(level >= TLP_LOG_ERROR && level <= TLP_LOG_DEBUG && text[0]);
}

static void use_model(const char *file)
{
    tlp_model_options opts = TLP_MODEL_OPTIONS_INIT;
    tlp_tensor_info tensor;
    char text[64];
    size_t len = 0;
    int n_report = 0;

    FAILS(TLP_EIO, tlp_model_open(&model, "/none/none.gguf", NULL));
    CHECK(model == NULL && strstr(tlp_last_error(), "none.gguf"));
    opts.allocator.alloc = allocate;
    opts.allocator.free = release;
    opts.allocator.user_data = &n_alloc;
    opts.progress = go_on;
    opts.progress_data = &n_report;
    opts.log = take_line;
    OK(tlp_model_open(&model, file, &opts));
    CHECK(n_alloc > 0 && n_report > 0);
    info.struct_size = sizeof info;
    OK(tlp_model_get_info(&info, model));
    CHECK(strcmp(info.arch, "llama") == 0 && info.n_layer >= 4);
    CHECK(strncmp(info.fingerprint, "sha256:", 7) == 0);
    CHECK(info.n_tensor > info.n_layer && info.n_meta > 10);
    tensor.struct_size = sizeof tensor;
    OK(tlp_model_get_tensor(&tensor, model, 0));
    CHECK(tensor.name[0] && tensor.n_dim >= 1 && tensor.ne[0] > 0);
    FAILS(TLP_EINVAL,
          tlp_model_get_tensor(&tensor, model, (size_t)info.n_tensor));
    CHECK(tlp_model_meta_key(model, 0) != NULL);
    CHECK(tlp_model_meta_key(model, (size_t)info.n_meta) == NULL);
    OK(tlp_model_get_meta(text, sizeof text, &len, model,
                          "general.architecture"));
    CHECK(strcmp(text, "llama") == 0 && len == 5);
    FAILS(TLP_EBUFS,
          tlp_model_get_meta(NULL, 0, &len, model, "general.architecture"));
}

static void use_tokens(void)
{
    int32_t ids[32];
    char text[64];
    size_t n = 0, len = 0;

    OK(tlp_tokenize(ids, 32, &n, model, "hello you", 9, TLP_TOKENIZE_SPECIAL));
    CHECK(n > 0 && n <= 9);
    OK(tlp_detokenize(text, sizeof text, &len, model, ids, n,
                      TLP_DETOKENIZE_SPECIAL));
    CHECK(len == 9 && strcmp(text, "hello you") == 0);
    CHECK(tlp_token_is_end(model, ids[0]) == 0);
    for (int i = 0; i < N_TOKEN; i++)
        tokens[i] = (i * 7919 + i * i) % info.n_vocab;
}

static void use_chat(void)
{
    const tlp_chat_message message = { "user", "hello" };
    char text[512];
    size_t len = 0;
    tlp_status st =
        tlp_chat_format(text, sizeof text, &len, model, &message, 1, 1);

    CHECK(st == TLP_OK || st == TLP_ENOTSUP);
}

static void use_stream(void)
{
    const char *const stop[] = { "stop" };
    const char *text = NULL;
    tlp_stream *stream = NULL;
    int32_t id;
    size_t n = 0, len = 9;
    int stopped = 9;

    OK(tlp_tokenize(&id, 1, &n, model, "h", 1, 0));
    OK(tlp_stream_create(&stream, model, stop, 1, 0));
    OK(tlp_stream_push(&text, &len, &stopped, stream, id));
    CHECK(len == 1 && strcmp(text, "h") == 0 && stopped == 0);
    OK(tlp_stream_flush(&text, &len, stream));
    CHECK(len == 0 && text[0] == '\0');
    tlp_stream_free(stream);
}

/* ==== plans ============================================================== */

static void use_plan(const char *folder)
{
    tlp_plan *plan = NULL, *loaded = NULL;
    tlp_plan_cost cost;
    tlp_stage_info stage;
    char text[4096];
    size_t len = 0;

    OK(tlp_plan_parse(&plan, model, "par:1-2"));
    OK(tlp_plan_format(text, sizeof text, &len, plan, TLP_PLAN_TEXT));
    CHECK(strcmp(text, "par:1-2") == 0 && len == 7);
    OK(tlp_plan_format(text, sizeof text, &len, plan, TLP_PLAN_JSON));
    CHECK(text[0] == '{');
    OK(tlp_plan_save(plan, in_folder(folder, "plan.json")));
    OK(tlp_plan_load(&loaded, model, path));
    cost.struct_size = sizeof cost;
    OK(tlp_plan_get_cost(&cost, loaded, 2));
    CHECK(cost.n_rank == 2 && cost.n_layer == info.n_layer);
    CHECK(cost.effective_depth == info.n_layer - 1);
    stage.struct_size = sizeof stage;
    OK(tlp_plan_get_stage(&stage, loaded, 1));
    CHECK(stage.mode == TLP_MODE_PAR && stage.n_member == 2);
    CHECK(stage.layers[0] == 1 && stage.layers[1] == 2);
    tlp_plan_free(loaded);
    tlp_plan_free(plan);
}

static tlp_session_options window_options(void)
{
    tlp_session_options opts = TLP_SESSION_OPTIONS_INIT;

    opts.n_ctx = N_WINDOW;
    opts.n_thread = 1;
    opts.compute = TLP_COMPUTE_F32;
    opts.isa = TLP_ISA_SCALAR;
    return opts;
}

static void count_point(const tlp_plan_point *point, void *user_data)
{
    CHECK(point->struct_size >= sizeof *point && point->plan);
    CHECK(point->depth >= 1 && point->ppl > 0);
    ++*(int *)user_data;
}

static void use_search(void)
{
    tlp_session_options session = window_options();
    tlp_plan_make_options opts = TLP_PLAN_MAKE_OPTIONS_INIT;
    tlp_plan *plan = NULL;
    int n_point = 0;

    opts.session = &session;
    opts.depth = info.n_layer - 1;
    opts.modes = 1u << TLP_MODE_LP | 1u << TLP_MODE_PAR;
    opts.objective = TLP_OBJECTIVE_KL;
    opts.max_group = 2;
    opts.point = count_point;
    opts.point_data = &n_point;
    OK(tlp_plan_make(&plan, model, tokens, 4 * N_WINDOW, &opts));
    CHECK(n_point == 2);
    tlp_plan_free(plan);
    opts.depth = 1;
    FAILS(TLP_EUNREACHED,
          tlp_plan_make(&plan, model, tokens, 4 * N_WINDOW, &opts));
    CHECK(plan == NULL);
}

static void use_adjustments(void)
{
    tlp_session_options session = window_options();
    tlp_plan_adjust_options opts = TLP_PLAN_ADJUST_OPTIONS_INIT;
    tlp_plan_adjust_report report;
    tlp_plan_adjust_info adjust;
    tlp_plan *plan = NULL, *adjusted = NULL, *carried = NULL;

    opts.session = &session;
    opts.gains = opts.norms = 1;
    opts.rank = 4;
    report.struct_size = sizeof report;
    adjust.struct_size = sizeof adjust;
    OK(tlp_plan_parse(&plan, model, "par:1-2"));
    tlp_status st =
        tlp_plan_adjust(&adjusted, &report, plan, tokens, N_TOKEN, &opts);
    CHECK(st == TLP_OK || st == TLP_ENOGAIN);
    CHECK((st == TLP_OK) == (adjusted != NULL));
    CHECK(report.n_window == N_TOKEN / N_WINDOW && report.ppl_before > 0);
    OK(tlp_plan_get_adjust(&adjust, adjusted ? adjusted : plan));
    CHECK((adjust.n_bytes > 0) == (adjusted != NULL));
    OK(tlp_plan_carry(&carried, plan, model));
    tlp_plan_free(carried);
    tlp_plan_free(adjusted);
    tlp_plan_free(plan);
}

static void use_quantize(const char *folder)
{
    tlp_quantize_options opts = TLP_QUANTIZE_OPTIONS_INIT;
    tlp_quantize_result result;

    opts.n_thread = 1;
    result.struct_size = sizeof result;
    OK(tlp_model_quantize(&result, model, in_folder(folder, "f16.gguf"), "F16",
                          &opts));
    CHECK(result.n_tensor == info.n_tensor && result.n_bytes > 0);
}

/* ==== sessions =========================================================== */

static tlp_session *open_session(int32_t n_rank, const char *text)
{
    tlp_session_options opts = window_options();
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;

    opts.n_ctx = 128;
    opts.n_seq = 2;
    opts.n_rank = n_rank;
    OK(tlp_plan_parse(&plan, model, text));
    OK(tlp_session_create(&session, plan, &opts));
    tlp_plan_free(plan);
    return session;
}

static void use_evaluation(tlp_session *s)
{
    static const int32_t seqs[3] = { 0, 1, 1 };
    static const uint8_t want[3] = { 1, 1, 1 };
    tlp_batch batch = TLP_BATCH_INIT;
    tlp_session_stats stats;
    const float *logits = NULL;
    float logprob[8];

    FAILS(TLP_ESTATE, tlp_session_logits(&logits, s, 0));
    OK(tlp_session_prefill(s, tokens, 5));
    OK(tlp_session_decode(s, tokens[5]));
    CHECK(tlp_session_pos(s, 0) == 6 && tlp_session_pos(s, 2) == -1);
    batch.n = 3;
    batch.tokens = tokens;
    batch.seqs = seqs;
    batch.want_logits = want;
    OK(tlp_session_eval(s, &batch));
    CHECK(tlp_session_n_logits(s) == 3);
    OK(tlp_session_logits(&logits, s, 2));
    CHECK(logits[0] > -1e6f && logits[info.n_vocab - 1] < 1e6f);
    OK(tlp_session_rewind(s, 0, 3));
    OK(tlp_session_fork(s, 1, 0));
    CHECK(tlp_session_pos(s, 0) == 3 && tlp_session_pos(s, 1) == 3);
    OK(tlp_session_clear(s, 1));
    OK(tlp_session_score(logprob, s, 1, tokens, 8));
    CHECK(logprob[0] == 0 && logprob[7] < 0);
    FAILS(TLP_EFULL, tlp_session_prefill(s, tokens, 126));
    tlp_session_abort(s);
    FAILS(TLP_ECANCELED, tlp_session_decode(s, tokens[0]));
    stats.struct_size = sizeof stats;
    OK(tlp_session_get_stats(&stats, s));
    CHECK(stats.n_rank == 2 && strcmp(stats.isa, "scalar") == 0);
    CHECK(stats.n_step > 0 && stats.allreduces > 0 && stats.kv_bytes > 0);
    tlp_session_reset_stats(s);
    OK(tlp_session_get_stats(&stats, s));
    CHECK(stats.n_step == 0);
}

static int take_text(const char *text, size_t len, void *user_data)
{
    CHECK(len > 0 && strlen(text) == len);
    *(size_t *)user_data += len;
    return 0;
}

static void use_sampling(tlp_session *s)
{
    static const tlp_logit_bias bias = { 'a', 1000 };
    tlp_sampler_options opts = TLP_SAMPLER_OPTIONS_INIT;
    tlp_generate_options generate = TLP_GENERATE_OPTIONS_INIT;
    tlp_generate_result result;
    tlp_sampler *sampler = NULL;
    int32_t id = -1;
    size_t n_text = 0;

    opts.bias = &bias;
    opts.n_bias = 1;
    opts.temperature = 1;
    opts.top_k = 4;
    OK(tlp_sampler_create(&sampler, model, &opts));
    tlp_sampler_accept(sampler, 1);
    OK(tlp_session_clear(s, 0));
    OK(tlp_session_prefill(s, tokens, 4));
    OK(tlp_session_sample(&id, s, 0, sampler));
    CHECK(id == 'a');
    tlp_sampler_reset(sampler);
    generate.n_predict = 5;
    generate.text = take_text;
    generate.text_data = &n_text;
    result.struct_size = sizeof result;
    OK(tlp_session_generate(&result, s, sampler, &generate));
    CHECK(result.n_generated == 5 && result.last_token == 'a');
    CHECK(result.stop_reason == TLP_STOP_LENGTH && n_text > 0);
    tlp_sampler_free(sampler);
}

static void use_measurement(tlp_session *s)
{
    tlp_link link;
    tlp_prediction prediction;
    tlp_plan *plan = NULL;
    double stage[256];

    CHECK(info.n_layer <= 256);
    OK(tlp_session_clear(s, 0));
    link.struct_size = sizeof link;
    OK(tlp_session_measure(&link, stage, s));
    CHECK(link.n_rank == 2 && link.n_size > 0 && stage[0] > 0);
    CHECK(strcmp(link.fingerprint, info.fingerprint) == 0);
    OK(tlp_plan_parse(&plan, model, "serial"));
    prediction.struct_size = sizeof prediction;
    OK(tlp_plan_predict(&prediction, plan, &link, 2, 1, 10));
    CHECK(prediction.seconds > 0 && prediction.allreduce_seconds > 0);
    tlp_plan_free(plan);
}

static void use_processes(void)
{
    tlp_session_options opts = TLP_SESSION_OPTIONS_INIT;
    int32_t rank = -1, n_rank = -1;

    opts.n_rank = 3;
    OK(tlp_comm_rank(&rank, &n_rank, &opts));
    CHECK(rank == 0 && n_rank == 3);
    FAILS(TLP_EINVAL, tlp_worker_run(model, NULL, &opts));
}

/* ==== evaluation ========================================================= */

static void use_comparison(void)
{
    static const float reference[6] = { 1, 2, 3, 4, 5, 6 };
    static const float row[6] = { 1, 2, 3, 4, 6, 5 };
    static const double sum[4] = { 1, 2, 3, 4 };
    tlp_divergence d;
    double lo = 0, hi = 0;

    d.struct_size = sizeof d;
    OK(tlp_logits_compare(&d, reference, row, 6));
    CHECK(d.kl > 0 && d.reference_top1 == 5 && d.top1 == 4 && d.same_top5 == 1);
    OK(tlp_bootstrap_mean(&lo, &hi, sum, NULL, 4, 0.95, 1));
    CHECK(lo >= 1 && lo < 2.5 && hi > 2.5 && hi <= 4);
}

static void use_task(tlp_session *s, const char *folder)
{
    tlp_task_options opts = TLP_TASK_OPTIONS_INIT;
    tlp_task_info facts;
    tlp_task_item item;
    tlp_answer answer;
    tlp_task *task = NULL;
    double logprob[2];
    FILE *file = fopen(in_folder(folder, "task.jsonl"), "w");

    CHECK(file != NULL);
    fputs("{\"query\": \"one\", \"choices\": [\"two\", \"three\"], "
          "\"gold\": 1}\n",
          file);
    CHECK(fclose(file) == 0);
    OK(tlp_task_load(&task, model, path, &opts));
    facts.struct_size = sizeof facts;
    OK(tlp_task_get_info(&facts, task));
    CHECK(facts.n_item == 1 && facts.n_cut == 0 && facts.max_token > 1);
    item.struct_size = sizeof item;
    OK(tlp_task_get_item(&item, task, 0));
    CHECK(strcmp(item.choices[1], "three") == 0 && item.gold == 1);
    answer.struct_size = sizeof answer;
    OK(tlp_task_answer(&answer, logprob, task, 0, s));
    CHECK(answer.best == (logprob[1] > logprob[0]));
    tlp_task_free(task);
}

static void use_drill(tlp_session *s)
{
    tlp_drill drill;
    int32_t exact = -1;

    drill.struct_size = sizeof drill;
    OK(tlp_drill_get(&drill, TLP_DRILL_ADD, 1, 0));
    CHECK(drill.prompt[0] && drill.answer[0]);
    FAILS(TLP_EINVAL, tlp_drill_get(&drill, -1, 1, 0));
    tlp_status st = tlp_drill_run(&exact, &drill, model, s);
    CHECK(st == TLP_OK ? exact == 0 || exact == 1 : st == TLP_EFULL);
}

int main(int argc, char **argv)
{
    tlp_session *session;

    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL FOLDER\n", argv[0]);
        return 2;
    }
    use_versions();
    use_devices();
    use_model(argv[1]);
    use_tokens();
    use_chat();
    use_stream();
    use_plan(argv[2]);
    use_search();
    use_adjustments();
    use_quantize(argv[2]);
    use_processes();
    use_comparison();
    session = open_session(2, "par:1-2");
    use_evaluation(session);
    use_sampling(session);
    use_measurement(session);
    use_task(session, argv[2]);
    use_drill(session);
    tlp_session_free(session);
    tlp_model_free(model);
    printf("%s\n", tlp_version_string());
    return 0;
}
