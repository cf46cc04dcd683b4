/*
 * test_sequence_save.c - a sequence that was saved continues with equal bits
 * wherever it is loaded.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/rig.h"
#include "support/saved_bytes.h"
#include "support/tiny.h"

TestSuite(sequence_save, .timeout = 240);

enum { N_CTX = 700, WINDOW = 40 };

static const char *plain(void)
{
    tiny_spec s = tiny_default();

    return tiny_make(&s);
}

/* Layers of gemma3 see the latest 40 positions, all but every third. */
static const char *windowed(void)
{
    tiny_spec s = tiny_default();

    s.arch = "gemma3";
    s.window = WINDOW;
    return tiny_make(&s);
}

static tlp_session_options options(int n_rank)
{
    tlp_session_options o = rig_f32(n_rank, 1);

    o.n_ctx = N_CTX;
    o.n_seq = 3;
    o.n_batch = 64;
    return o;
}

/* Both sequences go on with some tokens, and get equal rows. */
static void expect_equal(rig *a, int32_t seq_a, rig *b, int32_t seq_b,
                         const int32_t *ids, int n, const char *what)
{
    float *want = saved_extend(a, seq_a, ids, n);
    float *found = saved_extend(b, seq_b, ids, n);

    cr_assert_eq(memcmp(want, found, a->n_vocab * sizeof *want), 0,
                 "%s: other bits, off by %g", what,
                 rig_diff_f(want, found, a->n_vocab));
    free(want);
    free(found);
}

static void copy(rig *to, int32_t dst, rig *from, int32_t src)
{
    size_t n = 0;
    void *bytes = saved_bytes(from, src, &n);

    CHECK_OK(tlp_session_load(to->session, dst, bytes, n));
    cr_assert_eq(tlp_session_pos(to->session, dst),
                 tlp_session_pos(from->session, src));
    free(bytes);
}

static void expect_tokens(const rig *r, int32_t seq, const int32_t *want, int n)
{
    int32_t found[N_CTX];
    size_t count = 0;

    CHECK_OK(tlp_session_get_tokens(found, N_CTX, &count, r->session, seq));
    cr_assert_eq(count, n);
    cr_assert_eq(memcmp(found, want, (size_t)n * sizeof *want), 0);
}

/* Save at positions on both sides of panels and pages.  The other session loads
 * each over the one before. */
static void walk(const char *path, const char *plan,
                 const tlp_session_options *oa, const tlp_session_options *ob)
{
    static const int stops[] = { 0, 15, 17, 32, 100, 255, 257, 511, 600 };
    rig a = rig_open(path, plan, oa), b = rig_open(path, plan, ob);
    int32_t ids[N_CTX];
    char what[160];
    int at = 0;

    rig_tokens(ids, N_CTX, a.n_vocab, 1);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        if (at < stops[i])
            free(saved_extend(&a, 0, ids + at, stops[i] - at));
        at = stops[i];
        copy(&b, 1, &a, 0);
        expect_tokens(&b, 1, ids, at);
        snprintf(what, sizeof what, "%s, kv %d, %d ranks, position %d", plan,
                 oa->kv_type, oa->n_rank, at);
        expect_equal(&a, 0, &b, 1, ids + at, 1, what);
        at++;
        copy(&b, 2, &a, 0); /* at 256 and 512 too */
        expect_equal(&a, 0, &b, 2, ids + at, 1, what);
        at++;
    }
    rig_close(&a);
    rig_close(&b);
}

Test(sequence_save, every_type_of_cache)
{
    static const int types[] = { TLP_KV_F32, TLP_KV_F16, TLP_KV_BF16,
                                 TLP_KV_Q8_0 };

    for (size_t i = 0; i < 4; i++) {
        tlp_session_options o = options(2), other = o;

        o.kv_type = other.kv_type = types[i];
        other.n_ctx = 1000;
        other.n_seq = 4;
        other.n_batch = 33;
        other.kv_alloc = TLP_KV_AHEAD;
        walk(plain(), "par:1-2", &o, &other);
    }
}

Test(sequence_save, plans_and_ranks)
{
    static const struct {
        const char *plan;
        int n_rank;
    } cases[] = {
        { "serial", 1 },           { "serial", 2 },
        { "serial", 3 },           { "par:1-2,3-4", 1 },
        { "par:1-2,3-4", 3 },      { "asym:0-1;merge:2-3", 2 },
        { "nosync:0f,1,3a", 1 },   { "nosync:0f,1,3a", 2 },
        { "nosync@3:0f,1,3a", 3 }, { "drop:2", 2 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tlp_session_options o = options(cases[i].n_rank);

        walk(plain(), cases[i].plan, &o, &o);
    }
}

Test(sequence_save, windows)
{
    static const int batches[] = { 64, 16, 200, 640 };

    for (int n_rank = 1; n_rank <= 3; n_rank++)
        for (size_t i = 0; i < 4; i++) {
            tlp_session_options o = options(n_rank), other = o;

            if (n_rank != 2 && batches[i] == 200)
                continue;
            other.n_batch = batches[i];
            o.kv_type = other.kv_type = n_rank == 2 ? TLP_KV_Q8_0 : 0;
            /* n_batch 640: the caches keep all positions */
            if (batches[i] == 640)
                o.n_batch = 650;
            walk(windowed(), "par:1-2", &o, &other);
        }
}

/* A session with larger steps keeps more pages of windows than were saved, one
 * with smaller steps fewer. */
Test(sequence_save, windows_of_other_steps)
{
    tlp_session_options small = options(2), large = options(2);
    tlp_session_stats own = { .struct_size = sizeof own }, loaded = own;
    int32_t ids[N_CTX];

    small.n_batch = 16;
    large.n_batch = 200;
    rig a = rig_open(windowed(), "serial", &small);
    rig b = rig_open(windowed(), "serial", &large);
    rig_tokens(ids, N_CTX, a.n_vocab, 1);
    free(saved_extend(&a, 0, ids, 600));
    copy(&b, 0, &a, 0);
    CHECK_OK(tlp_session_rewind(a.session, 0, 540));
    CHECK_OK(tlp_session_rewind(b.session, 0, 540)); /* its window is gone */
    expect_equal(&a, 0, &b, 0, ids + 540, 3, "back behind what was saved");

    CHECK_OK(tlp_session_clear(a.session, 0));
    CHECK_OK(tlp_session_clear(b.session, 0));
    free(saved_extend(&a, 0, ids, 600));
    free(saved_extend(&b, 0, ids, 600));
    CHECK_OK(tlp_session_get_stats(&own, a.session));
    CHECK_OK(tlp_session_clear(a.session, 0));
    copy(&a, 1, &b, 0);
    CHECK_OK(tlp_session_get_stats(&loaded, a.session));
    cr_expect_eq(loaded.kv_bytes, own.kv_bytes);
    expect_equal(&a, 1, &b, 0, ids + 600, 3, "fewer pages");
    rig_close(&a);
    rig_close(&b);
}

/* A page has 112 positions in one session, 256 in the other. */
Test(sequence_save, pages_of_other_sizes)
{
    tlp_session_options small = options(2), large = options(2);
    int32_t ids[N_CTX];

    small.n_ctx = 100;
    rig a = rig_open(plain(), "serial", &small);
    rig b = rig_open(plain(), "serial", &large);
    rig_tokens(ids, N_CTX, a.n_vocab, 1);
    free(saved_extend(&a, 0, ids, 77));
    copy(&b, 0, &a, 0);
    copy(&a, 1, &b, 0);
    expect_equal(&a, 0, &b, 0, ids + 77, 5, "larger pages");
    free(saved_extend(&a, 1, ids + 77, 5));
    expect_equal(&a, 1, &b, 0, ids + 82, 5, "smaller pages");
    rig_close(&a);
    rig_close(&b);
}

/* The sequence lost its windows and is evaluated again. */
Test(sequence_save, lost_windows)
{
    tlp_session_options o = options(2);
    int32_t ids[N_CTX];
    rig a = rig_open(windowed(), "serial", &o);
    rig b = rig_open(windowed(), "serial", &o);

    rig_tokens(ids, N_CTX, a.n_vocab, 1);
    free(saved_extend(&a, 0, ids, 650));
    CHECK_OK(tlp_session_rewind(a.session, 0, 290));
    copy(&b, 2, &a, 0);
    expect_equal(&a, 0, &b, 2, ids + 290, 3, "lost windows");

    /* What is loaded over a sequence that is lost is not lost. */
    free(saved_extend(&b, 0, ids, 650));
    CHECK_OK(tlp_session_rewind(b.session, 0, 290));
    copy(&b, 0, &a, 0);
    expect_equal(&a, 0, &b, 0, ids + 293, 3, "over a lost sequence");
    rig_close(&a);
    rig_close(&b);
}

/* ==== other sequences ==================================================== */

Test(sequence_save, forks_keep_their_pages)
{
    tlp_session_options o = options(2);
    int32_t ids[N_CTX];
    size_t n = 0;
    rig a = rig_open(plain(), "serial", &o),
        b = rig_open(plain(), "serial", &o);

    rig_tokens(ids, N_CTX, a.n_vocab, 1);
    free(saved_extend(&a, 0, ids, 300));
    free(saved_extend(&b, 0, ids, 300));
    CHECK_OK(tlp_session_fork(a.session, 1, 0));
    free(saved_extend(&a, 2, ids + 9, 20));
    void *bytes = saved_bytes(&a, 2, &n);
    CHECK_OK(tlp_session_load(a.session, 0, bytes, n));
    free(bytes);
    expect_equal(&b, 0, &a, 1, ids + 300, 4, "a fork of what was replaced");
    expect_equal(&a, 0, &a, 2, ids + 300, 4, "the copy");
    rig_close(&a);
    rig_close(&b);
}

/* Rows of logits belong to the tokens that were there. */
Test(sequence_save, rows_are_not_the_loaded_sequence_s)
{
    tlp_session_options o = options(1);
    int32_t ids[N_CTX];
    size_t n = 0, row = 0;
    rig r = rig_open(plain(), "serial", &o);

    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    free(saved_extend(&r, 0, ids, 20));
    void *bytes = saved_bytes(&r, 0, &n);
    free(saved_extend(&r, 1, ids + 1, 20));
    CHECK_OK(tlp_session_find_row(&row, r.session, 1));
    CHECK_OK(tlp_session_load(r.session, 1, bytes, n));
    CHECK_FAILS(TLP_ESTATE, tlp_session_find_row(&row, r.session, 1));
    const float *logits = NULL;
    tlp_sampler *sampler = NULL;
    int32_t token = 0;
    CHECK_OK(tlp_session_logits(&logits, r.session, 0));
    CHECK_OK(tlp_sampler_create(&sampler, r.model, NULL));
    CHECK_FAILS(TLP_ESTATE, tlp_session_sample(&token, r.session, 0, sampler));
    free(saved_extend(&r, 1, ids, 1));
    CHECK_OK(tlp_session_find_row(&row, r.session, 1));
    tlp_sampler_free(sampler);
    free(bytes);
    rig_close(&r);
}

/* Equal sequences give equal bytes: none of them is left as memory had it. */
Test(sequence_save, equal_bytes)
{
    tlp_session_options o = options(2);
    int32_t ids[N_CTX];
    size_t n_a = 0, n_b = 0;
    rig a = rig_open(plain(), "par:1-2", &o);

    o.n_thread = 2;
    rig b = rig_open(plain(), "par:1-2", &o);
    rig_tokens(ids, N_CTX, a.n_vocab, 1);
    free(saved_extend(&a, 0, ids, 277));
    free(saved_extend(&b, 1, ids + 9, 420)); /* pages that held other tokens */
    CHECK_OK(tlp_session_clear(b.session, 1));
    free(saved_extend(&b, 1, ids, 290));
    CHECK_OK(tlp_session_rewind(b.session, 1, 277));
    void *of_a = saved_bytes(&a, 0, &n_a), *of_b = saved_bytes(&b, 1, &n_b);
    cr_assert_eq(n_a, n_b);
    cr_assert_eq(memcmp(of_a, of_b, n_a), 0);
    free(of_a);
    free(of_b);
    rig_close(&a);
    rig_close(&b);
}

/* ==== files ============================================================== */

static void write_in_child(const char *model, const char *path)
{
    tlp_session_options o = options(2);
    int32_t ids[N_CTX];
    rig r = rig_open(model, "par:1-2", &o);

    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    free(saved_extend(&r, 0, ids, 300));
    if (tlp_session_save_file(r.session, 0, path) != TLP_OK)
        _exit(2);
    rig_close(&r);
    _exit(0);
}

Test(sequence_save, a_file_of_another_process)
{
    CHECK_SKIP_FORK();
    const char *model = tiny_keep_path(plain());
    const char *path = tiny_keep_path(tiny_path("sequence"));
    tlp_session_options o = options(2);
    int32_t ids[N_CTX];
    int status = 0;

    pid_t pid = fork();
    if (pid == 0)
        write_in_child(model, path);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    rig a = rig_open(model, "par:1-2", &o), b = rig_open(model, "par:1-2", &o);
    rig_tokens(ids, N_CTX, a.n_vocab, 1);
    free(saved_extend(&a, 0, ids, 300));
    CHECK_OK(tlp_session_load_file(b.session, 2, path));
    expect_equal(&a, 0, &b, 2, ids + 300, 3, "from a file");
    rig_close(&a);
    rig_close(&b);
}

static bool holds(const char *path, const char *text)
{
    char found[64] = "";
    FILE *f = fopen(path, "rb");

    cr_assert(f);
    size_t n = fread(found, 1, sizeof found - 1, f);
    fclose(f);
    return n == strlen(text) && strcmp(found, text) == 0;
}

/* Whatever the size of the disk: the whole new file, or the old one. */
Test(sequence_save, full_disk)
{
    tlp_session_options o = options(2);
    rig r = rig_open(plain(), "serial", &o);
    int32_t ids[N_CTX];
    const char *path = tiny_keep_path(tiny_path("sequence"));
    struct rlimit limit;
    tlp_status st = TLP_EIO;

    rig_tokens(ids, N_CTX, r.n_vocab, 1);
    free(saved_extend(&r, 1, ids, 20));
    FILE *f = fopen(path, "wb");
    cr_assert(f && fputs("old", f) >= 0 && fclose(f) == 0);
    signal(SIGXFSZ, SIG_DFL);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    for (rlim_t room = 0; st == TLP_EIO; room = 2 * room + 1000) {
        struct rlimit low = { room, limit.rlim_max };

        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
        st = tlp_session_save_file(r.session, 1, path);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cr_assert(st == TLP_EIO || st == TLP_OK, "%s", tlp_last_error());
        cr_assert_eq(holds(path, "old"), st != TLP_OK);
    }
    CHECK_OK(tlp_session_load_file(r.session, 2, path));
    expect_equal(&r, 1, &r, 2, ids + 20, 2, "after failures");
    rig_close(&r);
}

Test(sequence_save, files)
{
    tlp_session_options o = options(1);
    const char *model = tiny_keep_path(plain());
    rig r = rig_open(model, "serial", &o);
    tlp_session *s = r.session;

    CHECK_FAILS(TLP_EINVAL, tlp_session_save_file(s, 1, model));
    CHECK_FAILS(TLP_EIO, tlp_session_save_file(s, 1, "/nowhere/sequence"));
    CHECK_FAILS(TLP_EIO, tlp_session_load_file(s, 1, "/nowhere/sequence"));
    CHECK_FAILS(TLP_EFORMAT, tlp_session_load_file(s, 1, model));
    cr_assert(strstr(tlp_last_error(), model), "%s", tlp_last_error());
    CHECK_FAILS(TLP_EINVAL, tlp_session_load_file(s, 1, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_save_file(s, 1, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_session_load_file(s, 3, model));
    CHECK_FAILS(TLP_EINVAL, tlp_session_save_file(s, -1, model));
    rig_close(&r);
}

/* ==== arguments ========================================================== */

Test(sequence_save, arguments)
{
    tlp_session_options o = options(1);
    rig r = rig_open(plain(), "serial", &o);
    tlp_session *s = r.session;
    uint8_t byte = 0;
    size_t len = 7;

    CHECK_FAILS(TLP_EINVAL, tlp_session_save(NULL, 1, &len, s, 0));
    cr_expect_eq(len, 0);
    CHECK_FAILS(TLP_EINVAL, tlp_session_save(&byte, 1, NULL, s, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_session_save(&byte, 1, &len, NULL, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_session_save(&byte, 1, &len, s, 3));
    CHECK_FAILS(TLP_EBUFS, tlp_session_save(&byte, 1, &len, s, 0));
    cr_expect_gt(len, 72);
    CHECK_FAILS(TLP_EINVAL, tlp_session_load(s, 0, NULL, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_load(NULL, 0, &byte, 1));
    CHECK_FAILS(TLP_EINVAL, tlp_session_load(s, -1, &byte, 1));
    CHECK_FAILS(TLP_EFORMAT, tlp_session_load(s, 0, &byte, 0));
    rig_close(&r);
}
