/*
 * render.c - render templates for check-jinja.py: a line of JSON in,
 * {"template": text, "vars": {name: value}}, a line of JSON out, {"out": text}
 * or {"error": text}.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jinja/jinja.h"

enum { MAX_VAR = 32 };

static tlp_status render(tlpi_jinja_text *out, const tlpi_env *env,
                         json_t *request)
{
    json_t *text = json_object_get(request, "template"), *value;
    tlpi_jinja_var vars[MAX_VAR];
    tlpi_jinja *t = NULL;
    const char *name;
    size_t n = 0;

    json_object_foreach(json_object_get(request, "vars"), name,
                        value) if (n < MAX_VAR) vars[n++] =
        (tlpi_jinja_var){ name, value, false };

    tlp_status st = tlpi_jinja_compile(
        &t, env, "template", json_string_value(text), json_string_length(text));
    if (st == TLP_OK)
        st = tlpi_jinja_render(out, t, vars, n, 0, NULL);
    tlpi_jinja_free(t);
    return st;
}

int main(void)
{
    tlpi_env env;
    char *line = NULL;
    size_t cap = 0;

    if (tlpi_env_init(&env, NULL, NULL, NULL) != TLP_OK)
        return 1;
    while (getline(&line, &cap, stdin) > 0) {
        json_t *request = json_loads(line, 0, NULL);
        tlpi_jinja_text out = { 0 };
        tlp_status st = request ? render(&out, &env, request) : TLP_EFORMAT;
        json_t *answer =
            st == TLP_OK ? json_pack("{s:o}", "out", json_stringn(out.s, out.n))
                         : json_pack("{s:s}", "error", tlp_last_error());
        char *text = answer ? json_dumps(answer, 0) : NULL;

        puts(text ? text : "{}");
        free(text);
        json_decref(answer);
        json_decref(request);
        tlpi_jinja_text_free(&env, &out);
    }
    free(line);
    return 0;
}
