/*
 * test_tool_serve_compare.c - tlp serve --compare: two plans on one model.
 */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/mpirun.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/tool_json.h"
#include "support/web.h"

TestSuite(tool_serve_compare, .timeout = 120);

#define PROMPT "the world and hello"

static web_server start(const char *model, const char *plan, const char *other)
{
    return WEB_START(model, "--parallel", "2", "-c", "128", "-t", "1",
                     "--alias", "tiny", "--plan", plan, "--compare", other);
}

static void stop(web_server *s)
{
    cr_expect_eq(web_end(s, SIGTERM, 20), 0);
}

/* What `tlp run` prints under a plan, without the newline at the end. */
static char *run_text(const char *model, const char *plan)
{
    spawned s =
        SPAWN("tlp", "run", "-m", model, "--plan", plan, "--temp", "0", "--raw",
              "-n", "12", "-p", PROMPT, "-c", "128", "-t", "1");

    tool_expect_status(&s, 0);
    char *text = strndup(s.out, s.n_out - 1);
    spawn_free(&s);
    return text;
}

static void expect_text(const web_server *s, const char *name, const char *want)
{
    char ask[256];

    snprintf(ask, sizeof ask,
             "{\"prompt\":\"" PROMPT "\",\"max_tokens\":12,\"temperature\":0,"
             "\"seed\":1%s%s%s}",
             *name ? ",\"model\":\"" : "", name, *name ? "\"" : "");
    json_t *o = web_object(s, "/v1/completions", ask);

    cr_expect_str_eq(web_text(o, "choices.0.text"), want, "%s", name);
    cr_expect_str_eq(web_text(o, "model"), *name ? name : "tiny");
    json_decref(o);
}

Test(tool_serve_compare, the_name_chooses_the_plan)
{
    const char *m = tool_model();
    char *first = run_text(m, "drop:1-2"), *second = run_text(m, "par:1-2");
    web_server s = start(m, "drop:1-2", "par:1-2");
    json_t *o = web_get_object(&s, "/v1/models");

    cr_assert_str_neq(first, second); /* else the test shows nothing */
    cr_expect_str_eq(web_text(o, "data.0.id"), "tiny");
    cr_expect_str_eq(web_text(o, "data.1.id"), "tiny:compare");
    json_decref(o);
    expect_text(&s, "", first);
    expect_text(&s, "tiny", first);
    expect_text(&s, "tiny:compare", second);
    expect_text(&s, "tiny", first);
    cr_expect_eq(web_metric(&s, "vllm:generation_tokens_total"), 48);
    cr_expect_eq(web_metric(&s, "llamacpp:tokens_predicted_total"), 48);
    o = web_get_object(&s, "/v1/models/tiny:compare");
    cr_expect_str_eq(web_text(o, "id"), "tiny:compare");
    json_decref(o);
    web_answer a = web_post(&s, "/v1/completions",
                            "{\"prompt\":\"a\",\"model\":\"tiny:other\"}");
    web_expect_error(&a, 404, "tiny or tiny:compare expected");
    web_free(&a);
    stop(&s);
    free(second);
    free(first);
}

Test(tool_serve_compare, props_have_both_plans)
{
    const char *m = tool_model(), *ids = tiny_path("ids.i32");
    char plan[256];

    strcpy(plan, tiny_path("p.json"));
    tool_write_ids(ids, 640);
    spawned made =
        SPAWN("tlp", "plan", "adjust", "-m", m, "--plan", "par:1-2", "--tokens",
              ids, "--ctx", "32", "--rank", "4", "-o", plan, "--json");
    tool_expect_status(&made, 0);
    json_t *report = tool_json(&made);
    web_server s = start(m, plan, "serial");
    json_t *o = web_get_object(&s, "/props");
    double kl = tool_number(report, "kl_after");

    cr_expect_str_eq(web_text(o, "tlp.model"), "tiny");
    cr_expect_str_eq(web_text(o, "tlp.plan"), "par:1-2");
    cr_expect_float_eq(web_number(o, "tlp.kl"), kl, 1e-6 * kl);
    cr_expect_str_eq(web_text(o, "compare.model"), "tiny:compare");
    cr_expect_str_eq(web_text(o, "compare.plan"), "serial");
    cr_expect(json_is_null(web_at(o, "compare.kl")));
    cr_expect_eq(web_number(o, "compare.effective_depth"),
                 web_number(o, "compare.n_layer"));
    json_decref(o);
    json_decref(report);
    stop(&s);
    spawn_free(&made);
}

Test(tool_serve_compare, slots_and_embeddings_of_both)
{
    const char *m = tool_model();
    web_server s = start(m, "drop:1-2", "serial");
    json_t *o = web_get_object(&s, "/slots");
    double first[2];

    cr_expect_eq(json_array_size(o), 4);
    cr_expect_str_eq(web_text(o, "1.model"), "tiny");
    cr_expect_str_eq(web_text(o, "2.model"), "tiny:compare");
    cr_expect_eq(web_number(o, "3.id"), 3);
    json_decref(o);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "tiny:compare" : "tiny";
        char ask[128];

        snprintf(ask, sizeof ask, "{\"input\":\"" PROMPT "\",\"model\":\"%s\"}",
                 name);
        o = web_object(&s, "/v1/embeddings", ask);
        cr_expect_str_eq(web_text(o, "model"), name);
        first[i] = web_number(o, "data.0.embedding.0");
        json_decref(o);
    }
    cr_expect_neq(first[0], first[1]);
    stop(&s);
}

Test(tool_serve_compare, is_refused_over_processes)
{
    MPIRUN_OR_SKIP();

    const char *m = tool_model();
    spawned s = MPIRUN(2, "tlp", "serve", "-m", m, "--port", "0", "--compare",
                       "par:1-2", "--timeout", "25");

    cr_expect_neq(s.status, 0);
    cr_expect(strstr(s.err, "--compare needs all ranks in one process"), "%s",
              s.err);
    spawn_free(&s);
}
