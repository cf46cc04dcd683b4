/*
 * hf_edit.c - see hf_edit.h.
 */
#include "hf_edit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "hf_folder.h"
#include "tiny.h"

const char *hf_small(const char *arch, int n_shard, bool tied)
{
    tiny_spec s = tiny_default();

    s.arch = arch;
    s.type = TLPI_F32;
    if (strcmp(arch, "mixtral") == 0) {
        s.arch = "llama";
        s.n_expert = 5;
        s.n_used = 2;
    }
    if (strcmp(arch, "phi3") == 0) {
        s.long_gain = 1.25f;
        s.scale_ctx = 64;
    }
    if (strcmp(arch, "gpt-oss") == 0 || strcmp(arch, "mistral3") == 0) {
        s.yarn = 4;
        s.yarn_log = s.arch[0] == 'm';
    }
    s.n_layer = 2;
    s.tied = tied;
    hf_spec f = { .gguf = tiny_make(&s), .n_shard = n_shard };
    return hf_make(&f);
}

static void expect_text(const char *folder, const char *want)
{
    const char *text = tlp_last_error();

    cr_expect(strstr(text, want), "\"%s\" expected: %s", want, text);
    cr_expect(strncmp(text, folder, strlen(folder)) == 0, "%s", text);
    cr_expect(!strchr(text, '\n'), "%s", text);
}

void hf_expect_fails(const char *folder, tlp_status want, const char *text)
{
    tlp_model *m = NULL;

    CHECK_FAILS(want, tlp_model_open(&m, folder, NULL));
    cr_expect_null(m);
    expect_text(folder, text);
}

/* The value at a path of keys and indices, "model.merges.0": its holder and the
 * last step. */
static json_t *holder_of(json_t *root, const char *path, char last[64])
{
    json_t *at = root;
    const char *dot;

    for (; (dot = strchr(path, '/')) != NULL; path = dot + 1) {
        snprintf(last, 64, "%.*s", (int)(dot - path), path);
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(last))
                               : json_object_get(at, last);
        cr_assert(at != NULL, "%s", last);
    }
    snprintf(last, 64, "%s", path);
    return at;
}

void hf_edit(const char *folder, const char *file, const char *path,
             const char *value)
{
    char last[64];
    json_t *root = hf_load(folder, file), *at = holder_of(root, path, last);
    json_t *x = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;

    cr_assert(!value || x, "%s", value);
    if (json_is_array(at))
        json_array_set_new(at, (size_t)atoi(last), x);
    else if (x)
        json_object_set_new(at, last, x);
    else
        json_object_del(at, last);
    hf_save(folder, file, root);
    json_decref(root);
}

void hf_patch(const char *folder, const char *from, const char *to)
{
    static char image[8 << 20];
    FILE *f = fopen(hf_file(folder, "model.safetensors"), "rb");

    cr_assert(f && strlen(from) == strlen(to));
    size_t n = fread(image, 1, sizeof image, f);
    fclose(f);
    char *at = memmem(image, n, from, strlen(from));
    cr_assert(at != NULL, "%s", from);
    memcpy(at, to, strlen(to));
    hf_write(folder, "model.safetensors", image, n);
}

void hf_try(const hf_bad *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *folder =
            hf_small(e[i].arch, 0, strstr(e[i].path, "tie_word") != NULL);

        hf_edit(folder, e[i].file, e[i].path, e[i].value);
        hf_expect_fails(folder, e[i].status, e[i].text);
    }
}
