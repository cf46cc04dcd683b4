/*
 * test_fingerprint.c - digests over every byte of a model: what they cover, and
 * what is compared with them.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "file/mapfile.h"
#include "model/digest.h"
#include "support/check.h"
#include "support/copies.h"
#include "support/digests.h"
#include "support/mem.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "tlp_tune.h"

TestSuite(fingerprint, .init = own_cache, .timeout = 120);

/* A place where no folder can be made. */
static void no_cache(void)
{
    setenv("XDG_CACHE_HOME", "/dev/null", 1);
}

static void forget(tlp_model *m)
{
    tlpi_digest_free(&m->env, m->digest);
    CHECK_OK(tlpi_digest_create(&m->digest, &m->env));
}

/* ==== what a digest covers =============================================== */

/* The definition, one tensor after the other. */
static void reference(const tlpi_tensor *t, char out[TLPI_HASH_TEXT])
{
    tlpi_sha256 all, one;
    uint8_t chunk[32];

    tlpi_sha256_init(&all);
    for (size_t at = 0; at < t->n_bytes; at += 1 << 20) {
        tlpi_sha256_init(&one);
        tlpi_sha256_add(&one, (const uint8_t *)t->data + at,
                        TLPI_MIN((size_t)1 << 20, t->n_bytes - at));
        tlpi_sha256_finish(&one, chunk);
        tlpi_sha256_add(&all, chunk, sizeof chunk);
    }
    tlpi_sha256_text(&all, out);
}

Test(fingerprint, the_manifest_has_every_tensor)
{
    tiny_spec spec = tiny_default();
    const char *manifest = NULL, *digest = NULL;
    char line[256], hash[TLPI_HASH_TEXT];
    tlpi_sha256 s;

    spec.n_vocab = 6000; /* embeddings of more than two chunks */
    spec.n_layer = 2;
    tlp_model *m = open_file(tiny_make(&spec), 0, 0);
    CHECK_OK(tlpi_model_digest(m, &digest, &manifest, NULL));
    for (size_t i = 0; i < m->file[0]->n_tensor; i++) {
        const tlpi_tensor *t = &m->file[0]->tensor[i];

        reference(t, hash);
        if (t->n_dim == 1)
            snprintf(line, sizeof line, "\ntensor %s\tF32 %d %s\n", t->name,
                     (int)t->ne[0], hash);
        else
            snprintf(line, sizeof line, "\ntensor %s\tF32 %dx%d %s\n", t->name,
                     (int)t->ne[0], (int)t->ne[1], hash);
        cr_expect_not_null(strstr(manifest, line), "%s", line);
    }
    cr_expect_eq(strncmp(manifest, "key arch\tllama\nkey ", 19), 0, "%s",
                 manifest);
    cr_expect_not_null(strstr(manifest, "\nkey n_layer\t2\n"));
    tlpi_sha256_init(&s);
    tlpi_sha256_add(&s, manifest, strlen(manifest));
    tlpi_sha256_text(&s, hash);
    cr_expect_str_eq(digest, hash);
    tlp_model_free(m);
}

/* Plans keep digests, so that of a file must stay. */
Test(fingerprint, the_digest_of_earlier_versions)
{
    tiny_spec spec = tiny_default();

    cr_expect_str_eq(
        digest_of_file(tiny_make(&spec)),
        "sha256:"
        "198e3797982b213061f162fd73a34aa3e8ca4c2614219119cd3bdcade8300f38");
}

Test(fingerprint, any_byte_of_any_tensor_counts)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_file(tiny_make(&spec), 1, 0); /* in memory */
    char base[TLPI_HASH_TEXT];
    uint64_t rng = 7;
    int n_unsampled = 0;

    no_cache();
    memcpy(base, digest_of(m), sizeof base);
    for (size_t i = 0; i < m->file[0]->n_tensor; i++) {
        const tlpi_tensor *t = &m->file[0]->tensor[i];

        for (int j = 0; j < 4; j++) {
            size_t at = j == 0   ? 0
                        : j == 1 ? t->n_bytes - 1
                                 : tlpi_random(&rng) % t->n_bytes;
            uint8_t *byte = (uint8_t *)(uintptr_t)t->data + at;
            char fingerprint[TLPI_HASH_TEXT];

            snprintf(fingerprint, sizeof fingerprint, "%s",
                     tlpi_model_fingerprint(m));
            *byte ^= 1 << j;
            forget(m);
            cr_expect_str_neq(digest_of(m), base, "%s: byte %zu", t->name, at);
            tlpi_fingerprint_free(&m->env, m->fingerprint);
            CHECK_OK(tlpi_fingerprint_create(&m->fingerprint, &m->env));
            n_unsampled += !strcmp(fingerprint, tlpi_model_fingerprint(m));
            *byte ^= 1 << j;
            tlpi_fingerprint_free(&m->env, m->fingerprint);
            CHECK_OK(tlpi_fingerprint_create(&m->fingerprint, &m->env));
        }
    }
    cr_expect_gt(n_unsampled, 10, "no byte outside the sample was tried");
    forget(m);
    cr_expect_str_eq(digest_of(m), base);
    tlp_model_free(m);
}

Test(fingerprint, what_does_not_matter_does_not_count)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    const char *base = digest_of_file(path);

    cr_expect_str_eq(digest_of_file(copy_flipped(path, SIZE_MAX)), base);
    tiny_spec other[] = { spec, spec, spec, spec, spec, spec };
    other[0].version = 2;
    other[1].n_split = 3;
    other[2].n_ctx = 512;
    other[3].seed = 2; /* from here on another model */
    other[4].type = TLPI_F16;
    other[5].rope_scale = 2;
    for (size_t i = 0; i < TLPI_COUNT(other); i++)
        cr_expect_eq(strcmp(digest_of_file(tiny_make(&other[i])), base) == 0,
                     i < 3, "%zu", i);
}

Test(fingerprint, arguments)
{
    tiny_spec spec = tiny_default();
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    const char *path = tiny_make(&spec), *none = NULL;
    tlp_model *m = open_file(path, 0, 1), *words = NULL;
    char text[TLPI_HASH_TEXT];
    size_t n = 0;

    CHECK_FAILS(TLP_EBUFS, tlp_model_get_digest(text, 71, &n, m));
    cr_expect_eq(n, 71);
    CHECK_OK(tlp_model_get_digest(text, sizeof text, &n, m));
    cr_expect_str_eq(text, digest_of_file(path));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_digest(text, 72, NULL, m));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_digest(text, 72, &n, NULL));
    CHECK_OK(tlpi_model_checked_digest(m, &none));
    cr_expect_str_empty(none, "a model that trusts its fingerprint");
    o.vocab_only = 1;
    CHECK_OK(tlp_model_open(&words, path, &o));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_digest(text, 72, &n, words));
    CHECK_OK(tlpi_model_checked_digest(words, &none));
    cr_expect_str_empty(none);
    tlp_model_free(words);
    tlp_model_free(m);
}

static void *ask(void *m)
{
    return (void *)(uintptr_t)digest_of(m);
}

Test(fingerprint, threads_may_ask_at_once)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *want = digest_of_file(path);
    tlp_model *m = open_file(path, 0, 0);
    pthread_t thread[4];

    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, ask, m), 0);
    for (int i = 0; i < 4; i++) {
        void *text = NULL;

        cr_assert_eq(pthread_join(thread[i], &text), 0);
        cr_expect_str_eq((const char *)text, want);
    }
    tlp_model_free(m);
}

Test(fingerprint, hashing_can_be_stopped)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *digest = NULL;
    tlp_model *m = open_file(path, 0, 0);
    atomic_bool stop = true;

    no_cache();
    CHECK_FAILS(TLP_ECANCELED, tlpi_model_digest(m, &digest, NULL, &stop));
    cr_expect_null(digest);
    cr_expect_str_eq(digest_of(m), digest_of_file(path));
    tlp_model_free(m);
}

Test(fingerprint, any_allocation_may_fail)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *want = digest_of_file(path);
    tlp_status st = TLP_ENOMEM;
    int n_failed = 0;

    for (long at = 1; st != TLP_OK; at++) {
        mem heap = { 0 };
        tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
        tlp_model *m = NULL;
        const char *digest = NULL;

        o.allocator = mem_hooks(&heap);
        CHECK_OK(tlp_model_open(&m, path, &o));
        heap.fail_at = heap.calls + at;
        st = tlpi_model_digest(m, &digest, NULL, NULL);
        cr_assert(st == TLP_ENOMEM || st == TLP_OK);
        n_failed += st != TLP_OK;
        if (st == TLP_OK && heap.failed) { /* it went on without */
            cr_expect_str_eq(digest, want);
            st = TLP_ENOMEM;
        } else if (st == TLP_OK) {
            cr_expect_str_eq(digest, want);
        }
        tlp_model_free(m);
        cr_assert_eq(heap.live, 0);
    }
    cr_expect_gt(n_failed, 3);
}

/* ==== manifests ========================================================== */

static void expect_difference(const char *a, const char *b, const char *want)
{
    char text[400];

    tlpi_manifest_compare(text, sizeof text, a, b, 3);
    cr_expect_str_eq(text, want, "\"%s\"", text);
}

Test(fingerprint, the_first_difference_is_named)
{
#define HEAD "key arch\tllama\nkey n_layer\t5\n"
#define TENSOR "tensor a\tF32 4x4 sha256:00\n"
    expect_difference(HEAD TENSOR, HEAD "tensor a\tF32 4x4 sha256:01\n",
                      "tensor a differs: rank 0 has sha256:00, rank 3 has "
                      "sha256:01");
    expect_difference(HEAD TENSOR, HEAD "tensor a\tF16 4x4 sha256:01\n",
                      "tensor a differs: rank 0 has F32 4x4 sha256:00, rank 3 "
                      "has F16 4x4 sha256:01");
    expect_difference(HEAD TENSOR, "key arch\tllama\nkey n_layer\t50\n" TENSOR,
                      "key n_layer differs: rank 0 has 5, rank 3 has 50");
    expect_difference(HEAD TENSOR, HEAD,
                      "tensor a: rank 0 has F32 4x4 "
                      "sha256:00, rank 3 has none");
    expect_difference(HEAD TENSOR, HEAD TENSOR "tensor b\tF32 1 sha256:02\n",
                      "tensor b: rank 3 has F32 1 sha256:02, rank 0 has none");
    expect_difference(HEAD TENSOR, "key arch\tllama\n" TENSOR,
                      "key n_layer: rank 0 has 5, rank 3 has none");
    expect_difference(HEAD TENSOR, HEAD TENSOR,
                      "rank 3 sent another digest for an equal model");
}

/* A manifest of a peer can be any text. */
Test(fingerprint, any_manifest_can_be_compared)
{
    char ours[] = HEAD TENSOR "tensor b\tF32 4 sha256:02\n", theirs[600];
    uint64_t rng = 11;

    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t n = tlpi_random(&rng) % sizeof ours;

        memcpy(theirs, ours, sizeof ours);
        for (int k = 0; k < 3; k++)
            theirs[tlpi_random(&rng) % sizeof ours] =
                "\n\t \xff"
                "a0"[tlpi_random(&rng) % 6];
        theirs[n] = '\0';
        char *exact = strdup(theirs); /* for the sanitizers */
        tlpi_manifest_compare(text, sizeof text, ours, exact, 1);
        cr_assert_lt(strlen(text), sizeof text);
        free(exact);
    }
}

/* ==== plans and scores =================================================== */

static void save_plan(tlp_model *m, const char *file)
{
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, "par:1-2"));
    CHECK_OK(tlp_plan_save(plan, file));
    tlp_plan_free(plan);
}

static tlp_status load_plan(const char *model, const char *file, int trust)
{
    tlp_model *m = open_file(model, 0, trust);
    tlp_plan *plan = NULL;
    tlp_status st = tlp_plan_load(&plan, m, file);

    tlp_plan_free(plan);
    tlp_model_free(m);
    return st;
}

Test(fingerprint, a_plan_is_refused_by_a_damaged_copy)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *file = tiny_path("plan.json");
    const char *bad =
        copy_flipped(path, place_of(path, "blk.3.ffn_down.weight", 300));
    tlp_model *m = open_file(path, 0, 0);
    size_t n = 0;

    save_plan(m, file);
    tlp_model_free(m);
    CHECK_OK(load_plan(path, file, 0));
    CHECK_OK(load_plan(path, file, 1));
    CHECK_OK(load_plan(copy_flipped(path, SIZE_MAX), file, 0));
    CHECK_FAILS(TLP_EMISMATCH, load_plan(bad, file, 0));
    cr_expect_not_null(strstr(tlp_last_error(), "\"model.digest\""), "%s",
                       tlp_last_error());
    CHECK_OK(load_plan(bad, file, 1)); /* by its fingerprint, as told to */

    /* An older plan has the fingerprint alone. */
    char *text = tool_read_file(file, &n), *key = strstr(text, ",\n            "
                                                               "\"digest\"");
    cr_assert_not_null(key);
    memmove(key, strchr(key + 1, '}'), strlen(strchr(key + 1, '}')) + 1);
    tool_write_file(file, text, strlen(text));
    free(text);
    CHECK_OK(load_plan(path, file, 0));
    CHECK_OK(load_plan(bad, file, 0));
    spec.seed = 2;
    CHECK_FAILS(TLP_EMISMATCH, load_plan(tiny_make(&spec), file, 0));
    cr_expect_not_null(strstr(tlp_last_error(), "\"model.fingerprint\""));

    /* A model that trusts its fingerprint writes plans without a digest. */
    m = open_file(path, 0, 1);
    save_plan(m, file);
    tlp_model_free(m);
    text = tool_read_file(file, &n);
    cr_expect_null(strstr(text, "digest"));
    free(text);
}

/* As for a copy with its tensors in another order. */
Test(fingerprint, an_equal_digest_is_enough)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_file(tiny_make(&spec), 0, 0);
    char text[512];
    tlp_plan *plan = NULL;

#define PLAN_OF(print, hash)                                                   \
    (snprintf(text, sizeof text,                                               \
              "{\"tlp_plan\": 1, \"model\": {\"fingerprint\": \"%s\", "        \
              "\"digest\": \"%s\"}, \"stages\": [{\"layers\": [0]}], "         \
              "\"drop\": [1, 2, 3, 4]}",                                       \
              print, hash),                                                    \
     text)
    CHECK_OK(tlp_plan_parse(&plan, m, PLAN_OF("sha256:00", digest_of(m))));
    tlp_plan_free(plan);
    CHECK_FAILS(TLP_EMISMATCH,
                tlp_plan_parse(&plan, m, PLAN_OF("sha256:00", "sha256:01")));
    cr_expect_not_null(strstr(tlp_last_error(), "\"model.fingerprint\""));
    CHECK_FAILS(TLP_EMISMATCH,
                tlp_plan_parse(
                    &plan, m, PLAN_OF(tlpi_model_fingerprint(m), "sha256:01")));
    cr_expect_not_null(strstr(tlp_last_error(), "\"model.digest\""));
    tlp_model_free(m);
}

enum { N_TOKEN = 128 };

static tlp_status make_plan(const char *model, const char *scores, int trust)
{
    tlp_model *m = open_file(model, 0, trust);
    tlp_session_options so = TLP_SESSION_OPTIONS_INIT;
    tlp_plan_make_options o = TLP_PLAN_MAKE_OPTIONS_INIT;
    int32_t ids[N_TOKEN];
    tlp_plan *plan = NULL;

    so.n_ctx = 32;
    so.n_thread = 1;
    o.session = &so;
    o.depth = 4;
    o.resume = scores;
    rig_tokens(ids, N_TOKEN, 288, 3);
    tlp_status st = tlp_plan_make(&plan, m, ids, N_TOKEN, &o);
    tlp_plan_free(plan);
    tlp_model_free(m);
    return st;
}

Test(fingerprint, scores_of_a_damaged_copy_are_refused)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *scores = tiny_path("scores.json");
    const char *bad =
        copy_flipped(path, place_of(path, "blk.3.ffn_down.weight", 300));
    size_t n = 0;

    CHECK_OK(make_plan(path, scores, 0));
    CHECK_OK(make_plan(path, scores, 0));
    CHECK_FAILS(TLP_EMISMATCH, make_plan(bad, scores, 0));
    cr_expect_not_null(strstr(tlp_last_error(), "of.digest"), "%s",
                       tlp_last_error());

    /* Older scores have no digest. */
    char *text = tool_read_file(scores, &n), *key = strstr(text, "\"digest\"");
    cr_assert_not_null(key);
    char *next = strchr(key, ',') + 2;
    memmove(key, next, strlen(next) + 1);
    tool_write_file(scores, text, strlen(text));
    free(text);
    CHECK_OK(make_plan(path, scores, 0));
}
