/*
 * test_tool.c - the command line that other programs rely on: what the
 * commands print, in which form, and with which exit status.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "tlp.h"

#define N_VOCAB 288

static const char *const commands[] = { "run",    "info", "tokenize",
                                        "detokenize", "logits", "eval",
                                        "bench" };
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static const char *model(void)
{
    tiny_spec spec = tiny_default();

    return tiny_make(&spec);
}

/* A program's own sources never end a message without this. */
static void expect_one_line(const spawned *s, const char *start)
{
    cr_expect_eq(strncmp(s->err, start, strlen(start)), 0, "stderr: %s",
                 s->err);
    cr_expect_eq(strchr(s->err, '\n'), s->err + s->n_err - 1, "stderr: %s",
                 s->err);
    cr_expect_eq(s->n_out, 0, "stdout: %s", s->out);
}

static void expect_status(const spawned *s, int status)
{
    cr_expect_eq(s->status, status, "status %d, %d expected; stderr: %s",
                 s->status, status, s->err);
}

static void write_file(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");

    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, n, f), n);
    cr_assert_eq(fclose(f), 0);
}

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *data;

    cr_assert_not_null(f, "%s", path);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    data = malloc(*n + 1);
    cr_assert_eq(fread(data, 1, *n, f), *n);
    fclose(f);
    return data;
}

/* ids[i] = (37 i + 11) mod 256, little-endian int32. */
static void write_ids(const char *path, int n)
{
    unsigned char *bytes = calloc((size_t)n + 1, 4);

    for (int i = 0; i < n; i++)
        bytes[4 * i] = (unsigned char)(37 * i + 11);
    write_file(path, bytes, 4 * (size_t)n);
    free(bytes);
}

static json_t *parse(const spawned *s)
{
    json_error_t error;
    json_t *root = json_loadb(s->out, s->n_out, JSON_REJECT_DUPLICATES,
                              &error);

    cr_assert_not_null(root, "%s: %s", error.text, s->out);
    return root;
}

/* Keys in the order of the text; jansson keeps the order of insertion. */
static void expect_keys(json_t *object, const char *const *keys, size_t n)
{
    const char *key;
    json_t *value;
    size_t i = 0;

    json_object_foreach(object, key, value) {
        cr_assert_lt(i, n, "extra key %s", key);
        cr_expect_str_eq(key, keys[i]);
        i++;
    }
    cr_expect_eq(i, n);
}

static double number(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);

    cr_assert(json_is_number(value), "%s is no number", key);
    return json_number_value(value);
}

/* ==== help and errors ==================================================== */

Test(tool, help_of_every_command)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        spawned s = SPAWN("tlp", commands[i], "--help");

        expect_status(&s, 0);
        cr_expect_eq(s.n_err, 0);
        cr_expect_not_null(strstr(s.out, commands[i]));
        cr_expect_not_null(strstr(s.out, "-m, --model FILE"));
        spawn_free(&s);
    }
}

Test(tool, help_and_version)
{
    spawned s = SPAWN("tlp", "--help");

    expect_status(&s, 0);
    for (size_t i = 0; i < N_COMMANDS; i++)
        cr_expect_not_null(strstr(s.out, commands[i]));
    spawn_free(&s);

    s = SPAWN("tlp", "--version");
    expect_status(&s, 0);
    cr_expect_eq(strncmp(s.out, "tlp ", 4), 0);
    cr_expect_eq(strncmp(s.out + 4, tlp_version_string(),
                         strlen(tlp_version_string())), 0);
    spawn_free(&s);
}

static void expect_usage(spawned s, const char *start)
{
    expect_status(&s, 2);
    expect_one_line(&s, start);
    spawn_free(&s);
}

Test(tool, usage_errors)
{
    spawned s = SPAWN("tlp");

    expect_status(&s, 2);
    spawn_free(&s);
    expect_usage(SPAWN("tlp", "frobnicate"), "tlp: unknown command");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char start[64];

        snprintf(start, sizeof start, "tlp %s: unknown option --frob",
                 commands[i]);
        expect_usage(SPAWN("tlp", commands[i], "--frob"), start);
    }
    expect_usage(SPAWN("tlp", "run", "-p", "x"), "tlp run: no model");
    expect_usage(SPAWN("tlp", "run", "-m"), "tlp run: option -m needs");
    expect_usage(SPAWN("tlp", "run", "stray"), "tlp run: unexpected argument");
    expect_usage(SPAWN("tlp", "run", "-n", "1.5"), "tlp run: --predict 1.5");
    expect_usage(SPAWN("tlp", "run", "-n", "12x"), "tlp run: --predict 12x");
    expect_usage(SPAWN("tlp", "run", "--top-p", "2"), "tlp run: --top-p 2");
    expect_usage(SPAWN("tlp", "run", "--temp", "nan"), "tlp run: --temp nan");
    expect_usage(SPAWN("tlp", "run", "--seed", "-1"), "tlp run: --seed -1");
    expect_usage(SPAWN("tlp", "run", "--isa", "mmx"), "tlp run: --isa mmx");
    expect_usage(SPAWN("tlp", "run", "--ranks", "0"), "tlp run: --ranks 0");
    expect_usage(SPAWN("tlp", "run", "--raw=1"), "tlp run: option --raw=1");
    expect_usage(SPAWN("tlp", "run", "-m", "x", "--raw", "--chat"),
                 "tlp run: --raw excludes");
    expect_usage(SPAWN("tlp", "run", "-m", "x", "-p", "a", "-f", "b"),
                 "tlp run: -p, -f and -i");
    expect_usage(SPAWN("tlp", "eval", "-m", "x"), "tlp eval: either");
    expect_usage(SPAWN("tlp", "logits", "-m", "x", "--ids", "1"),
                 "tlp logits: no output");
    expect_usage(SPAWN("tlp", "logits", "-m", "x", "--ids", "1", "--tokens",
                       "f", "-o", "o"), "tlp logits: either");
}

Test(tool, failures_are_one_line)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char start[64];
        const char *argv[16] = { "tlp", commands[i], "-m", "/none/x.gguf" };

        if (!strcmp(commands[i], "logits"))
            memcpy(argv + 4, (const char *[]){ "--ids", "1", "-o", "-" },
                   4 * sizeof *argv);
        if (!strcmp(commands[i], "eval"))
            memcpy(argv + 4, (const char *[]){ "--text", "/none/x" },
                   2 * sizeof *argv);
        snprintf(start, sizeof start, "tlp %s: ", commands[i]);

        spawned s = spawn(&(spawn_options){ 0 }, argv);

        expect_status(&s, 1);
        expect_one_line(&s, start);
        cr_expect_not_null(strstr(s.err, "/none/x.gguf"));
        spawn_free(&s);
    }
}

Test(tool, bad_plan)
{
    const char *m = model();
    spawned s = SPAWN("tlp", "info", "-m", m, "--plan", "par:3-9");

    expect_status(&s, 1);
    expect_one_line(&s, "tlp info: ");
    spawn_free(&s);
    s = SPAWN("tlp", "info", "-m", m, "--plan", "/none/p.json");
    expect_status(&s, 1);
    cr_expect_not_null(strstr(s.err, "/none/p.json"));
    spawn_free(&s);
}

Test(tool, full_disk_is_a_failure)
{
    const char *m = model();
    spawned s = spawn(&(spawn_options){ .out_path = "/dev/full" },
                      (const char *const[]){ "tlp", "info", "-m", m, NULL });

    expect_status(&s, 1);
    expect_one_line(&s, "tlp info: standard output: ");
    spawn_free(&s);
}

/* ==== tokenize, detokenize =============================================== */

Test(tool, tokenize_round_trip)
{
    static const char text[] = "the <|im_start|> \xc3\xa9\xff\n tail";
    const char *m = model();
    spawned ids = SPAWN_INPUT(text, "tlp", "tokenize", "-m", m, "--ids");
    spawned same = SPAWN_INPUT(text, "tlp", "tokenize", "-m", m);

    expect_status(&ids, 0);
    cr_expect_str_eq(ids.out, same.out);
    cr_expect_eq(ids.out[ids.n_out - 1], '\n');
    cr_expect_eq(strspn(ids.out, "0123456789 \n"), ids.n_out);

    spawned back = SPAWN_INPUT(ids.out, "tlp", "detokenize", "-m", m);

    expect_status(&back, 0);
    cr_expect_str_eq(back.out, text);
    spawn_free(&back);
    spawn_free(&same);
    spawn_free(&ids);
}

Test(tool, tokenize_special)
{
    const char *m = model();
    spawned s = SPAWN_INPUT("<|im_start|>", "tlp", "tokenize", "-m", m,
                            "--special");

    /* The second of the last two tokens of the tiny vocabulary's order. */
    expect_status(&s, 0);
    cr_expect_str_eq(s.out, "286\n");

    spawned hidden = SPAWN_INPUT(s.out, "tlp", "detokenize", "-m", m);
    spawned shown = SPAWN_INPUT(s.out, "tlp", "detokenize", "-m", m,
                                "--special");

    cr_expect_str_eq(hidden.out, "");
    cr_expect_str_eq(shown.out, "<|im_start|>");
    spawn_free(&shown);
    spawn_free(&hidden);
    spawn_free(&s);
}

Test(tool, detokenize_refuses_other_text)
{
    const char *m = model();
    static const char *const inputs[] = { "1 two", "-1", "1.5",
                                          "99999999999", "288" };

    for (size_t i = 0; i < 5; i++) {
        spawned s = SPAWN_INPUT(inputs[i], "tlp", "detokenize", "-m", m);

        expect_status(&s, 1);
        expect_one_line(&s, "tlp detokenize: ");
        spawn_free(&s);
    }
}

/* ==== logits ============================================================= */

Test(tool, logits_rows)
{
    const char *m = model(), *ids = tiny_path("ids.i32");
    const char *a = tiny_path("a.f32"), *b = tiny_path("b.f32");
    size_t n_a, n_b;

    write_ids(ids, 3); /* 11 48 85 */

    spawned s = SPAWN("tlp", "logits", "-m", m, "--tokens", ids, "-o", a);
    spawned t = SPAWN("tlp", "logits", "-m", m, "--ids", " 11 48 85", "-o", b);

    expect_status(&s, 0);
    expect_status(&t, 0);

    char *x = read_file(a, &n_a), *y = read_file(b, &n_b);

    cr_expect_eq(n_a, 3 * N_VOCAB * sizeof(float));
    cr_assert_eq(n_a, n_b);
    cr_expect_eq(memcmp(x, y, n_a), 0);
    free(x);
    free(y);
    spawn_free(&s);
    spawn_free(&t);
}

/* More tokens than are evaluated at once; the first rows do not depend on
 * what follows them. */
Test(tool, logits_of_many)
{
    const char *m = model(), *ids = tiny_path("ids.i32");
    const char *a = tiny_path("a.f32"), *b = tiny_path("b.f32");
    size_t n_a, n_b;

    write_ids(ids, 200);

    spawned s = SPAWN("tlp", "logits", "-m", m, "--tokens", ids, "--compute",
                      "f32", "-o", a);

    expect_status(&s, 0);
    write_ids(ids, 100);

    spawned t = SPAWN("tlp", "logits", "-m", m, "--tokens", ids, "--compute",
                      "f32", "--ranks", "2", "-o", b);

    expect_status(&t, 0);

    float *x = (float *)(void *)read_file(a, &n_a);
    float *y = (float *)(void *)read_file(b, &n_b);

    cr_expect_eq(n_a, 200 * N_VOCAB * sizeof(float));
    cr_assert_eq(n_b, 100 * N_VOCAB * sizeof(float));
    for (size_t i = 0; i < n_b / sizeof *y; i++)
        cr_assert_float_eq(x[i], y[i], 2e-3, "value %zu: %g, %g", i,
                           (double)x[i], (double)y[i]);
    free(x);
    free(y);
    spawn_free(&s);
    spawn_free(&t);
}

static int count_files(const char *path)
{
    char dir[4096];
    int n = 0;

    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';

    DIR *d = opendir(dir);

    cr_assert_not_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

Test(tool, failed_logits_keep_the_old_file)
{
    const char *m = model(), *out = tiny_path("old.f32");
    size_t n;

    write_file(out, "old", 3);

    int before = count_files(out);
    spawned s = SPAWN("tlp", "logits", "-m", m, "--ids", "1 2 288", "-o", out);
    char *data = read_file(out, &n);

    expect_status(&s, 1);
    expect_one_line(&s, "tlp logits: ");
    cr_expect(n == 3 && memcmp(data, "old", 3) == 0);
    cr_expect_eq(count_files(out), before, "a temporary file was left");
    free(data);
    spawn_free(&s);
}

/* ==== eval =============================================================== */

static const char *const eval_keys[] = {
    "tokens",          "predictions", "nll", "ppl", "effective_depth",
    "allreduces_per_token", "seconds"
};

/* -log p of each id of a window but the first, from the logits of a window. */
static double window_nll(const char *m, const char *ids_path, int n)
{
    const char *out = tiny_path("window.f32");
    size_t size, n_ids;
    spawned s = SPAWN("tlp", "logits", "-m", m, "--tokens", ids_path,
                      "--compute", "f32", "-o", out);
    float *row = (float *)(void *)read_file(out, &size);
    unsigned char *ids = (unsigned char *)read_file(ids_path, &n_ids);
    double sum = 0;

    cr_assert_eq(size, (size_t)n * N_VOCAB * sizeof *row);
    for (int t = 0; t + 1 < n; t++) {
        double total = 0;

        for (int v = 0; v < N_VOCAB; v++)
            total += exp((double)row[t * N_VOCAB + v]);
        sum += log(total) - (double)row[t * N_VOCAB + ids[4 * (t + 1)]];
    }
    free(row);
    free(ids);
    spawn_free(&s);
    return sum;
}

/* 20 tokens in windows of 8: 7 + 7 + 3 predictions, each window by itself. */
Test(tool, eval_json)
{
    const char *m = model(), *ids = tiny_path("ids.i32");
    const char *part = tiny_path("part.i32");
    double nll = 0;
    size_t size;

    write_ids(ids, 20);

    spawned s = SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--ctx", "8",
                      "--compute", "f32", "--json");

    expect_status(&s, 0);

    json_t *root = parse(&s);
    char *all = read_file(ids, &size);

    for (size_t at = 0; at < 20; at += 8) {
        size_t n = at + 8 <= 20 ? 8 : 4;

        write_file(part, all + 4 * at, 4 * n);
        nll += window_nll(m, part, (int)n);
    }
    expect_keys(root, eval_keys, 7);
    cr_expect_eq(number(root, "tokens"), 20);
    cr_expect_eq(number(root, "predictions"), 17);
    cr_expect_float_eq(number(root, "nll"), nll / 17, 1e-4);
    cr_expect_float_eq(number(root, "ppl"), exp(nll / 17), 0.1);
    cr_expect_eq(number(root, "effective_depth"), 5);
    cr_expect_eq(number(root, "allreduces_per_token"), 0);
    cr_expect_geq(number(root, "seconds"), 0);
    json_decref(root);
    free(all);
    spawn_free(&s);
}

/* Two all-reduces for each of three serial layers, one for the pair. */
Test(tool, eval_of_a_plan_on_two_ranks)
{
    const char *m = model(), *ids = tiny_path("ids.i32");

    write_ids(ids, 17);

    spawned s = SPAWN("tlp", "eval", "-m", m, "--tokens", ids, "--ctx", "8",
                      "--plan", "par:1-2", "--ranks", "2", "--json");

    expect_status(&s, 0);

    json_t *root = parse(&s);

    cr_expect_eq(number(root, "predictions"), 14);
    cr_expect_eq(number(root, "effective_depth"), 4);
    cr_expect_eq(number(root, "allreduces_per_token"), 7);
    json_decref(root);
    spawn_free(&s);
}

Test(tool, eval_text_and_max_tokens)
{
    const char *m = model(), *text = tiny_path("text.txt");

    write_file(text, "zzqqxxjj zzqqxxjj", 17);

    spawned s = SPAWN("tlp", "eval", "-m", m, "--text", text, "--max-tokens",
                      "5", "--json");

    expect_status(&s, 0);

    json_t *root = parse(&s);

    cr_expect_eq(number(root, "tokens"), 5);
    cr_expect_eq(number(root, "predictions"), 4);
    json_decref(root);
    spawn_free(&s);

    s = SPAWN("tlp", "eval", "-m", m, "--text", text);
    expect_status(&s, 0);
    cr_expect_not_null(strstr(s.out, "perplexity"));
    spawn_free(&s);

    s = SPAWN("tlp", "eval", "-m", m, "--text", text, "--max-tokens", "1");
    expect_status(&s, 1);
    expect_one_line(&s, "tlp eval: 1 tokens");
    spawn_free(&s);
}

/* ==== bench, info ======================================================== */

static const char *const bench_keys[] = {
    "plan",   "effective_depth", "allreduces_per_token", "prefill",
    "decode", "comm_seconds",    "decode_ratio",         "prefill_ratio"
};

static void check_contender(json_t *plan, json_t *first)
{
    static const char *const keys[] = { "median", "min", "max" };
    static const char *const speeds[] = { "prefill", "decode" };

    expect_keys(plan, bench_keys, 8);
    for (size_t i = 0; i < 2; i++) {
        json_t *s = json_object_get(plan, speeds[i]);
        json_t *base = json_object_get(first, speeds[i]);
        char ratio[32];

        expect_keys(s, keys, 3);
        cr_expect_gt(number(s, "min"), 0);
        cr_expect_leq(number(s, "min"), number(s, "median"));
        cr_expect_leq(number(s, "median"), number(s, "max"));
        snprintf(ratio, sizeof ratio, "%s_ratio", speeds[i]);
        cr_expect_float_eq(number(plan, ratio),
                           number(s, "median") / number(base, "median"), 1e-6);
    }
}

/* A plan from a file whose name needs escaping, and is no UTF-8. */
static const char *write_plan(const char *m)
{
    const char *path = tiny_path("a \"\\\n\xff plan.json");
    tlp_model *model_ = NULL;
    tlp_plan *plan = NULL;

    cr_assert_eq(tlp_model_open(&model_, m, NULL), TLP_OK);
    cr_assert_eq(tlp_plan_parse(&plan, model_, "asym:2-4"), TLP_OK);
    cr_assert_eq(tlp_plan_save(plan, path), TLP_OK);
    tlp_plan_free(plan);
    tlp_model_free(model_);
    return path;
}

Test(tool, bench_json)
{
    const char *m = model(), *file = write_plan(m);
    spawned s = SPAWN("tlp", "bench", "-m", m, "--plan", "serial", "--plan",
                      file, "--prompt", "9", "--gen", "5", "--repeat", "4",
                      "--ranks", "2", "--threads", "1", "--json");

    expect_status(&s, 0);

    json_t *root = parse(&s);
    json_t *plans = json_object_get(root, "plans");

    cr_assert_eq(json_array_size(plans), 2);
    for (size_t i = 0; i < 2; i++)
        check_contender(json_array_get(plans, i), json_array_get(plans, 0));

    json_t *second = json_array_get(plans, 1);
    const char *name = json_string_value(json_object_get(second, "plan"));

    cr_expect_not_null(strstr(name, "a \"\\\n\xef\xbf\xbd plan.json"));
    cr_expect_eq(number(second, "effective_depth"), 3);
    cr_expect_eq(number(json_array_get(plans, 0), "allreduces_per_token"), 10);
    json_decref(root);
    spawn_free(&s);
}

Test(tool, bench_table)
{
    const char *m = model();
    spawned s = SPAWN("tlp", "bench", "-m", m, "--prompt", "4", "--gen", "2",
                      "--repeat", "1");

    expect_status(&s, 0);
    cr_expect_not_null(strstr(s.out, "serial"));
    cr_expect_not_null(strstr(s.out, "1.000"));
    spawn_free(&s);
}

Test(tool, info)
{
    const char *m = model();
    spawned s = SPAWN("tlp", "info", "-m", m, "--plan", "par:1-2,3-4",
                      "--ranks", "2", "--meta", "--tensors", "--json");

    expect_status(&s, 0);

    json_t *root = parse(&s);
    json_t *facts = json_object_get(root, "model");
    json_t *plan = json_object_get(root, "plan");

    cr_expect_str_eq(json_string_value(json_object_get(facts, "arch")),
                     "llama");
    cr_expect_eq(number(facts, "n_layer"), 5);
    cr_expect_eq(number(facts, "n_vocab"), N_VOCAB);
    cr_expect_eq(number(plan, "effective_depth"), 3);
    cr_expect_eq(number(plan, "allreduces_per_token"), 4);
    cr_expect_eq(json_array_size(json_object_get(plan, "stages")), 3);
    cr_expect_eq((double)json_array_size(json_object_get(root, "tensors")),
                 number(facts, "n_tensor"));
    cr_expect_gt(json_object_size(json_object_get(root, "meta")), 10);
    json_decref(root);
    spawn_free(&s);

    s = SPAWN("tlp", "info", "-m", m, "--meta", "--tensors");
    expect_status(&s, 0);
    cr_expect_not_null(strstr(s.out, "general.architecture = llama"));
    cr_expect_not_null(strstr(s.out, "token_embd.weight"));
    spawn_free(&s);
}
