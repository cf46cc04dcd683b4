/*
 * test_tool_serve_slot.c - POST /slots/ID of tlp serve: sequences as files.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/check.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/web.h"

TestSuite(tool_serve_slot, .timeout = 120);

#define ASK                                                                    \
    "{\"prompt\":[1,2,3,4,5,6,7,8,9,10,11,12],\"max_tokens\":5,"               \
    "\"temperature\":0,\"ignore_eos\":true,\"id_slot\":0}"

static const char *folder(void)
{
    const char *path = tiny_path("slots");

    cr_assert(mkdir(path, 0700) == 0 || access(path, W_OK) == 0);
    return path;
}

static void stop(web_server *s)
{
    cr_expect_eq(web_end(s, SIGTERM, 20), 0);
}

static void expect_refused(const web_server *s, const char *path,
                           const char *body, int status, const char *part)
{
    web_answer a = web_post(s, path, body);

    web_expect_error(&a, status, part);
    cr_expect(!strstr(a.body, tiny_temp_dir()), "a path is shown: %s", a.body);
    web_free(&a);
}

/* A second server continues where the first one ended. */
Test(tool_serve_slot, outlives_the_server)
{
    const char *dir = folder();
    web_server s =
        WEB_START(tool_model(), "--parallel", "2", "--slot-save-path", dir);
    json_t *o = web_object(&s, "/v1/completions", ASK), *again;
    char text[256], path[64];
    double n;

    snprintf(text, sizeof text, "%s", web_text(o, "choices.0.text"));
    snprintf(path, sizeof path, "/slots/%d?action=save",
             (int)web_number(o, "id_slot"));
    json_decref(o);
    o = web_object(&s, path, "{\"filename\":\"a b.bin\"}");
    n = web_number(o, "n_saved");
    cr_expect_eq(n, 12 + 4);
    cr_expect_str_eq(web_text(o, "filename"), "a b.bin");
    cr_expect_geq(web_number(o, "timings.save_ms"), 0);
    cr_expect_gt(web_number(o, "n_written"), 16 * 96);
    stop(&s);
    s = WEB_START(tool_model(), "--parallel", "2", "--slot-save-path", dir);
    again =
        web_object(&s, "/slots/1?action=restore", "{\"filename\":\"a b.bin\"}");
    cr_expect_eq(web_number(again, "n_restored"), n);
    cr_expect_eq(web_number(again, "n_read"), web_number(o, "n_written"));
    cr_expect_eq(web_number(again, "id_slot"), 1);
    json_decref(again);
    json_decref(o);
    o = web_get_object(&s, "/slots");
    cr_expect_eq(web_number(o, "1.n_held"), n);
    json_decref(o);
    o = web_object(&s, "/v1/completions", ASK);
    cr_expect_str_eq(web_text(o, "choices.0.text"), text);
    cr_expect_eq(web_number(o, "usage.prompt_tokens_details.cached_tokens"),
                 11);
    json_decref(o);
    o = web_object(&s, "/slots/1?action=erase", "{}");
    cr_expect_eq(web_number(o, "n_erased"), n);
    json_decref(o);
    stop(&s);
}

Test(tool_serve_slot, refused)
{
    const char *save = "/slots/0?action=save",
               *load = "/slots/0?action=restore";
    const char *dir = folder();
    web_server s =
        WEB_START(tool_model(), "--parallel", "2", "--slot-save-path", dir);
    char body[600];

    expect_refused(&s, "/slots/2?action=save", "{}", 404, "slot 2: 0 to 1");
    expect_refused(&s, "/slots/-1?action=save", "{}", 404, "slot -1");
    expect_refused(&s, "/slots/0x?action=save", "{}", 404, "slot 0x");
    expect_refused(&s, "/slots/99999999999999999999?action=save", "{}", 404,
                   "0 to 1");
    expect_refused(&s, "/slots/0", "{}", 400, "action: none");
    expect_refused(&s, "/slots/0?action=rob", "{}", 400, "action: rob");
    expect_refused(&s, save, "", 400, "the body is empty");
    expect_refused(&s, save, "{}", 400, "filename: the name");
    expect_refused(&s, save, "{\"filename\":7}", 400, "filename");
    expect_refused(&s, save, "{\"filename\":\"\"}", 400, "filename: a name");
    expect_refused(&s, save, "{\"filename\":\"../a\"}", 400, "without /");
    expect_refused(&s, save, "{\"filename\":\"..\"}", 400, "no dot");
    expect_refused(&s, save, "{\"filename\":\"a\\nb\"}", 400, "control");
    expect_refused(&s, save, "{\"filename\":\"a\",\"b\":1}", 400, "b");
    memset(body, 'x', sizeof body);
    memcpy(body, "{\"filename\":\"", 13);
    strcpy(body + 500, "\"}");
    expect_refused(&s, save, body, 400, "at most");
    expect_refused(&s, load, "{\"filename\":\"absent\"}", 404, "absent: ");
    snprintf(body, sizeof body, "%s/text", dir);
    tool_write_file(body, "no sequence, but a text of some length\n", 39);
    expect_refused(&s, load, "{\"filename\":\"text\"}", 400, "text: ");
    stop(&s);
}

Test(tool_serve_slot, off_without_a_folder)
{
    web_server s = WEB_START(tool_model(), "--parallel", "1");

    expect_refused(&s, "/slots/0?action=save", "{\"filename\":\"a\"}", 501,
                   "--slot-save-path");
    json_decref(web_object(&s, "/slots/0?action=erase", ""));
    stop(&s);

    spawned t = SPAWN("tlp", "serve", "-m", tool_model(), "--port", "0",
                      "--slot-save-path", tiny_path("absent"));
    tool_expect_status(&t, 1);
    tool_expect_message(&t, "tlp serve: --slot-save-path");
    spawn_free(&t);
}

/* A slot that writes is left alone, until its client is gone. */
Test(tool_serve_slot, busy)
{
    web_server s = WEB_START(tool_model(), "--parallel", "1", "-c", "4096",
                             "--slot-save-path", folder());
    int fd = web_connect(&s);

    web_send_json(
        fd, "/v1/completions",
        "{\"prompt\":[1,2,3],\"max_tokens\":4000,\"ignore_eos\":true}");
    cr_assert(web_wait_metric(&s, "llamacpp:requests_processing", 1, 60));
    expect_refused(&s, "/slots/0?action=save", "{\"filename\":\"a\"}", 409,
                   "sequence 0: request");
    expect_refused(&s, "/slots/0?action=erase", "", 409, "sequence 0");
    shutdown(fd, SHUT_RDWR);
    cr_assert(web_wait_metric(&s, "llamacpp:requests_processing", 0, 60));
    json_decref(web_object(&s, "/slots/0?action=erase", ""));
    close(fd);
    stop(&s);
}

Test(tool_serve_slot, needs_a_key)
{
    web_server s = WEB_START(tool_model(), "--api-key", "k");

    expect_refused(&s, "/slots/0?action=erase", "", 401, "API key");
    stop(&s);
}
