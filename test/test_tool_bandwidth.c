/*
 * test_tool_bandwidth.c - tlp bench --bandwidth: a rate that memory can have,
 * and the share that decode has of it, worked out from the tensors.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/check.h"
#include "support/spawn.h"
#include "support/tool.h"
#include "support/tool_json.h"

TestSuite(tool_bandwidth, .timeout = 120);

static json_t *parse(spawned s)
{
    tool_expect_status(&s, 0);
    json_t *root = tool_json(&s);
    spawn_free(&s);
    return root;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Bytes a second that a copy within this process reads. */
static double copy_rate(void)
{
    enum { N = 64 << 20 };
    char *from = malloc(N), *to = malloc(N);

    cr_assert(from && to);
    memset(from, 1, N);
    memset(to, 2, N);
    double start = now();
    memcpy(to, from, N);
    __asm__ volatile("" : : "r"(to) : "memory"); /* all of it is needed */
    double rate = N / (now() - start);
    cr_expect_eq(to[N / 3], 1);
    free(from);
    free(to);
    return rate;
}

/* 1, 2 and as many as are asked for; no model. */
Test(tool_bandwidth, without_a_model)
{
    json_t *root = parse(SPAWN("tlp", "bench", "--bandwidth", "--threads", "3",
                               "--repeat", "2", "--json"));
    json_t *b = json_object_get(root, "bandwidth");
    json_t *reads = json_object_get(b, "reads");
    double copied = copy_rate();

    cr_expect_eq(json_object_size(root), 1);
    cr_expect_gt(tool_number(b, "buffer_bytes"), 32e6);
    cr_assert_eq(json_array_size(reads), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *read = json_array_get(reads, i);
        json_t *rate = json_object_get(read, "rate");

        cr_expect_eq(tool_number(read, "n_thread"), (double)(i + 1));
        cr_expect_leq(tool_number(rate, "min"), tool_number(rate, "median"));
        cr_expect_leq(tool_number(rate, "median"), tool_number(rate, "max"));
        /* both are rates of memory; a wrong unit would be off by 1000.  Other
         * processes may have had most of it, and sanitizers slow reads down,
         * but not copies. */
        cr_expect_gt(tool_number(rate, "median"),
                     copied / (50 * CHECK_SLOWDOWN));
        cr_expect_lt(tool_number(rate, "median"), copied * 50);
    }
    json_decref(root);
}

/* Bytes of the matrices that a token meets, without those of a layer. */
static double weight_bytes(const char *m, const char *without)
{
    json_t *root = parse(SPAWN("tlp", "info", "-m", m, "--tensors", "--json"));
    json_t *tensor;
    double sum = 0;
    size_t i;

    json_array_foreach(json_object_get(root, "tensors"), i, tensor)
    {
        const char *name = json_string_value(json_object_get(tensor, "name"));

        if (json_array_size(json_object_get(tensor, "ne")) == 2 &&
            strcmp(name, "token_embd.weight") != 0 &&
            strncmp(name, without, strlen(without)) != 0)
            sum += tool_number(tensor, "n_bytes");
    }
    json_decref(root);
    return sum;
}

static void check_plan(json_t *root, size_t i, double weights, int n_layer)
{
    json_t *plan = json_array_get(json_object_get(root, "plans"), i);
    json_t *reads =
        json_object_get(json_object_get(root, "bandwidth"), "reads");
    json_t *last = json_array_get(reads, json_array_size(reads) - 1);
    double rate = tool_number(json_object_get(last, "rate"), "median");
    double speed = tool_number(json_object_get(plan, "decode"), "median");

    cr_expect_eq(tool_number(last, "n_thread"), 2);
    cr_expect_eq(tool_number(plan, "weight_bytes"), weights);
    /* keys and values of 3 heads of 16, in 2 bytes; the tokens decoded see 12
     * to 16 positions, themselves included */
    cr_expect_eq(tool_number(plan, "kv_bytes"),
                 n_layer * 2.0 * 3 * 16 * 2 * 14);
    cr_expect_float_eq(tool_number(plan, "bandwidth_share"),
                       (weights + tool_number(plan, "kv_bytes")) * speed / rate,
                       1e-6 * tool_number(plan, "bandwidth_share"));
}

Test(tool_bandwidth, what_decode_makes_of_it)
{
    const char *m = tool_model();
    json_t *root = parse(SPAWN("tlp", "bench", "-m", m, "--bandwidth", "--plan",
                               "serial", "--plan", "drop:1", "--prompt", "11",
                               "--gen", "5", "--repeat", "2", "--threads", "2",
                               "--kv", "f16", "--isa", "scalar", "--json"));

    cr_expect_str_eq(json_string_value(json_object_get(
                         json_object_get(root, "bandwidth"), "loads")),
                     "plain");
    check_plan(root, 0, weight_bytes(m, "none"), 5);
    check_plan(root, 1, weight_bytes(m, "blk.1."), 4);
    json_decref(root);
}

Test(tool_bandwidth, as_text)
{
    const char *m = tool_model();
    spawned s =
        SPAWN("tlp", "bench", "-m", m, "--bandwidth", "--prompt", "4", "--gen",
              "2", "--repeat", "1", "--ranks", "2", "--threads", "1");

    tool_expect_status(&s, 0);
    cr_expect_not_null(strstr(s.out, "\nreading "));
    cr_expect_not_null(strstr(s.out, "\n      2 "));
    cr_expect_not_null(strstr(s.out, "%  serial\n"));
    spawn_free(&s);

    s = SPAWN("tlp", "bench", "--bandwidth", "--plan", "serial");
    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp bench: no model: -m FILE is required");
    spawn_free(&s);
    s = SPAWN("tlp", "bench", "--bandwidth", "--measure-link");
    tool_expect_status(&s, 2);
    spawn_free(&s);
}

/* Ctrl-C between two measurements. */
Test(tool_bandwidth, is_interrupted)
{
    spawned s = spawn(&(spawn_options){ .signal = 2, .after_ms = 1500 },
                      (const char *const[]){ "tlp", "bench", "--bandwidth",
                                             "--repeat", "10000", NULL });

    tool_expect_status(&s, 130);
    cr_expect_eq(s.n_out, 0);
    spawn_free(&s);
}
