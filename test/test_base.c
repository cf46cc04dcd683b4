/*
 * test_base.c - errors, memory, options, text.
 */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "support/counting.h"

static tlpi_env env;

static void init_env(void)
{
    cr_assert_eq(tlpi_env_init(&env, NULL, NULL, NULL), TLP_OK);
}

TestSuite(status, .timeout = 30);
TestSuite(memory, .init = init_env, .timeout = 30);
TestSuite(options, .timeout = 30);
TestSuite(text, .init = init_env, .timeout = 30);

/* ==== status ============================================================= */

Test(status, names_and_texts)
{
    cr_assert_str_eq(tlp_status_name(TLP_OK), "TLP_OK");
    cr_assert_str_eq(tlp_status_name(TLP_EFORMAT), "TLP_EFORMAT");
    cr_assert_str_eq(tlp_status_name((tlp_status)7), "TLP_E?");
    cr_assert_str_eq(tlp_status_text(TLP_EFULL), "context is full");
    cr_assert_str_not_empty(tlp_status_text((tlp_status)-999));
}

Test(status, last_error)
{
    cr_assert_str_empty(tlp_last_error());
    cr_assert_eq(tlpi_fail(TLP_EIO, "a %d", 5), TLP_EIO);
    cr_assert_str_eq(tlp_last_error(), "a 5");
    /* the old text may be an argument of the new one */
    cr_assert_eq(tlpi_fail(TLP_EIO, "b: %s", tlp_last_error()), TLP_EIO);
    cr_assert_str_eq(tlp_last_error(), "b: a 5");
    cr_assert_eq(tlpi_fail_prefix(TLP_EFORMAT, "%s: ", "c"), TLP_EFORMAT);
    cr_assert_str_eq(tlp_last_error(), "c: b: a 5");
    cr_assert_eq(tlpi_fail_nomem_for("%d tests", 3), TLP_ENOMEM);
    cr_assert_str_eq(tlp_last_error(), "out of memory for 3 tests");
}

static void *fail_elsewhere(void *arg)
{
    (void)arg;
    tlpi_fail(TLP_EIO, "elsewhere");
    return NULL;
}

Test(status, errors_stay_on_their_thread)
{
    pthread_t thread;

    tlpi_fail(TLP_EIO, "here");
    cr_assert_eq(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    cr_assert_str_eq(tlp_last_error(), "here");
}

Test(status, hostile_text_becomes_one_clean_line)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "a\nb\tc\x1b[2J\x7f", "a?b?c?[2J?" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", /* 2, 3 and 4 bytes */
          "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
        { "\xc2\x85|\xe2\x80\xa8|\xe2\x80\xa9", "?|?|?" }, /* line ends */
        { "\xc0\x80|\xed\xa0\x80|\xf4\x90\x80\x80", "??|???|????" },
        { "\xe0\x80\x80|\xf0\x80\x80\x80|\xff", "???|????|?" },
        { "end\xe2\x82", "end??" }, /* not cut by us: bytes are shown */
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlpi_fail(TLP_EIO, "%s", cases[i].in);
        cr_assert_str_eq(tlp_last_error(), cases[i].out, "case %zu", i);
    }
}

Test(status, long_text_is_cut_between_characters)
{
    char in[1200];

    for (size_t shift = 0; shift < 4; shift++) {
        memset(in, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof in; i += 4)
            memcpy(in + i, "\xf0\x9f\x98\x80", 5);
        tlpi_fail(TLP_EIO, "%s", in);
        size_t whole = shift + (511 - shift) / 4 * 4;
        cr_assert_eq(strlen(tlp_last_error()), whole);
        cr_assert_eq(memcmp(tlp_last_error(), in, whole), 0);
    }
}

/* ==== memory ============================================================= */

Test(memory, half_an_allocator_is_refused)
{
    counting c = { 0 };
    tlp_allocator mem = counting_allocator(&c);

    mem.free = NULL;
    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_EINVAL);
    mem = counting_allocator(&c);
    mem.alloc = NULL;
    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_EINVAL);
}

Test(memory, blocks_are_aligned_and_separate)
{
    static const size_t sizes[] = { 0, 1, 63, 64, 65, 4095, 100000, 5u << 20 };
    unsigned char *p[TLPI_COUNT(sizes)];

    for (size_t i = 0; i < TLPI_COUNT(sizes); i++) {
        p[i] = tlpi_alloc(&env, sizes[i]);
        cr_assert_not_null(p[i]);
        cr_assert_eq((uintptr_t)p[i] % 64, 0);
        memset(p[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < TLPI_COUNT(sizes); i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            cr_assert_eq(p[i][k], i + 1);
        tlpi_free(&env, p[i]);
    }
    tlpi_free(&env, NULL);
}

Test(memory, overflow_gives_null)
{
    cr_assert_null(tlpi_alloc(&env, SIZE_MAX));
    cr_assert_null(tlpi_alloc(&env, SIZE_MAX - 63));
    cr_assert_null(tlpi_alloc(&env, (size_t)PTRDIFF_MAX));
    cr_assert_null(tlpi_calloc(&env, SIZE_MAX / 2, 3));
    cr_assert_null(tlpi_alloc_array(&env, SIZE_MAX / 8 + 2, 8));
    cr_assert_null(tlpi_strndup(&env, "", SIZE_MAX));
}

Test(memory, hook_gets_sizes_back)
{
    counting c = { 0 };
    tlp_allocator mem = counting_allocator(&c);

    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_OK);
    uint32_t *p = tlpi_calloc(&env, 1000, sizeof *p);
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert_eq(p[i], 0);
        p[i] = i;
    }
    p = tlpi_realloc_array(&env, p, 5000, sizeof *p);
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_eq(p[i], i);
    c.fail_at = c.calls + 1;
    cr_assert_null(tlpi_realloc_array(&env, p, 9000, sizeof *p));
    cr_assert_eq(p[999], 999); /* still ours */
    p = tlpi_realloc_array(&env, p, 10, sizeof *p);
    cr_assert_eq(p[9], 9);
    /* the hook's large blocks are not known to be zero */
    unsigned char *large = tlpi_calloc(&env, 5, 1 << 20);
    cr_assert(large[0] == 0 && large[(5 << 20) - 1] == 0);
    tlpi_free(&env, large);
    char *s = tlpi_strndup(&env, "abcdef", 3);
    cr_assert_str_eq(s, "abc");
    tlpi_free(&env, s);
    tlpi_free(&env, p);
    cr_assert_eq(c.live, 0);
    cr_assert_eq(c.n_live, 0);
    cr_assert_eq(c.bad, 0);
}

static size_t resident_bytes(void)
{
    size_t total, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f || fscanf(f, "%zu %zu", &total, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

Test(memory, large_zeroed_blocks_cost_nothing)
{
    size_t size = (size_t)512 << 20;
    size_t before = resident_bytes();

    if (before == 0)
        cr_skip_test("no /proc/self/statm here");
    unsigned char *p = tlpi_calloc(&env, size, 1);
    cr_assert_not_null(p);
    cr_assert_lt(resident_bytes(), before + ((size_t)32 << 20));
    for (size_t i = 0; i < size; i += (size_t)8 << 20)
        cr_assert_eq(p[i], 0);
    p[size - 1] = 1;
    tlpi_free(&env, p);
}

static void keep_line(int level, const char *text, void *user_data)
{
    snprintf(user_data, 2000, "%d:%s", level, text);
}

Test(memory, log_lines)
{
    char line[2000] = "", big[3000];

    tlpi_log(&env, TLP_LOG_WARN, "nobody listens");
    cr_assert_eq(tlpi_env_init(&env, NULL, keep_line, line), TLP_OK);
    tlpi_log(&env, TLP_LOG_WARN, "%s %d", "two\nlines", 7);
    cr_assert_str_eq(line, "2:two?lines 7");
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    tlpi_log(&env, TLP_LOG_INFO, "%s", big);
    cr_assert_eq(strlen(line), 2 + 1023);
}

/* ==== options ============================================================ */

typedef struct old_options {
    size_t struct_size;
    int32_t a, b;
} old_options;

typedef struct new_options {
    size_t struct_size;
    int32_t a, b;
    int64_t c;
} new_options;

Test(options, null_leaves_defaults)
{
    new_options o = { 0, 1, 2, 3 };

    cr_assert_eq(tlpi_options_read(&o, sizeof o, NULL, "options"), TLP_OK);
    cr_assert(o.struct_size == sizeof o && o.a == 1 && o.b == 2 && o.c == 3);
}

Test(options, older_caller_keeps_newer_defaults)
{
    old_options in = { sizeof in, 7, 8 };
    new_options o = { 0, 1, 2, 3 };

    cr_assert_eq(tlpi_options_read(&o, sizeof o, &in, "options"), TLP_OK);
    cr_assert(o.struct_size == sizeof o && o.a == 7 && o.b == 8 && o.c == 3);
}

Test(options, newer_caller)
{
    new_options in = { sizeof in, 7, 8, 0 };
    struct {
        old_options o;
        int64_t guard;
    } dst = { { 0, 1, 2 }, 55 };

    cr_assert_eq(tlpi_options_read(&dst.o, sizeof dst.o, &in, "options"),
                 TLP_OK);
    cr_assert(dst.o.a == 7 && dst.o.b == 8 && dst.guard == 55);
    cr_assert_eq(dst.o.struct_size, sizeof dst.o);
    in.c = (int64_t)1 << 60;
    cr_assert_eq(tlpi_options_read(&dst.o, sizeof dst.o, &in, "options"),
                 TLP_EABI);
}

Test(options, impossible_sizes)
{
    static const size_t sizes[] = { 0, 1, sizeof(size_t) - 1, 1u << 20,
                                    SIZE_MAX };
    new_options o = { 0 }, in = { 0 };

    for (size_t i = 0; i < TLPI_COUNT(sizes); i++) {
        in.struct_size = sizes[i];
        cr_assert_eq(tlpi_options_read(&o, sizeof o, &in, "options"),
                     TLP_EINVAL);
        cr_assert_eq(tlpi_struct_write(&in, &o, sizeof o, "info"), TLP_EINVAL);
    }
}

Test(options, struct_write_both_ways)
{
    new_options known = { 0, 1, 2, 3 }, longer = { sizeof longer, 9, 9, 9 };
    struct {
        old_options o;
        int64_t guard;
    } shorter = { { sizeof shorter.o, 9, 9 }, 55 };

    cr_assert_eq(tlpi_struct_write(&shorter.o, &known, sizeof known, "info"),
                 TLP_OK);
    cr_assert(shorter.o.a == 1 && shorter.o.b == 2 && shorter.guard == 55);
    cr_assert_eq(shorter.o.struct_size, sizeof shorter.o);
    cr_assert_eq(
        tlpi_struct_write(&longer, &known, sizeof(old_options), "info"),
        TLP_OK);
    cr_assert(longer.a == 1 && longer.b == 2 && longer.c == 0);
    cr_assert_eq(longer.struct_size, sizeof longer);
}

Test(options, copy_out)
{
    char buf[8] = "zzzzzzz";
    size_t len = 99;

    cr_assert_eq(tlpi_copy_out("abcdefg", 7, buf, 7, &len), TLP_EBUFS);
    cr_assert_eq(len, 7);
    cr_assert_str_eq(buf, "zzzzzzz");
    cr_assert_eq(tlpi_copy_out("abcdefg", 7, buf, 8, NULL), TLP_OK);
    cr_assert_str_eq(buf, "abcdefg");
    cr_assert_eq(tlpi_copy_out(NULL, 0, buf, 1, &len), TLP_OK);
    cr_assert(len == 0 && buf[0] == '\0');
    cr_assert_eq(tlpi_copy_out("", 0, NULL, 0, &len), TLP_EBUFS);
}

/* ==== text =============================================================== */

Test(text, grows)
{
    tlpi_text t = { .env = &env };
    char number[16];
    size_t at = 0;

    for (int i = 0; i < 3000; i++) {
        tlpi_text_printf(&t, "%d,", i);
        tlpi_text_add(&t, "\0x", 2); /* bytes, NUL among them */
    }
    cr_assert_not(t.failed);
    for (int i = 0; i < 3000; i++) {
        int n = snprintf(number, sizeof number, "%d,", i);
        cr_assert_eq(memcmp(t.data + at, number, (size_t)n), 0);
        at += (size_t)n;
        cr_assert_eq(memcmp(t.data + at, "\0x", 2), 0);
        at += 2;
    }
    cr_assert_eq(t.len, at);
    cr_assert_eq(t.data[at], '\0');
    tlpi_text_free(&t);
    cr_assert_null(t.data);
}

Test(text, failure_sticks)
{
    counting c = { .fail_at = 3 };
    tlp_allocator mem = counting_allocator(&c);

    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_OK);
    tlpi_text t = { .env = &env };
    for (int i = 0; i < 100; i++)
        tlpi_text_printf(&t, "%050d", i);
    cr_assert(t.failed);
    cr_assert_eq(c.calls, 3);
    tlpi_text_free(&t);
    cr_assert_eq(c.n_live, 0);
    tlpi_text overflow = { .env = &env };
    tlpi_text_add(&overflow, "a", SIZE_MAX);
    cr_assert(overflow.failed);
}

Test(text, version)
{
    char dotted[32];

    snprintf(dotted, sizeof dotted, "%d.%d.%d", TLP_VERSION_MAJOR,
             TLP_VERSION_MINOR, TLP_VERSION_PATCH);
    cr_assert_str_eq(tlp_version_string(), dotted);
    cr_assert_eq(tlp_version_number(), TLP_VERSION_NUMBER);
}

Test(text, time_goes_on)
{
    double before = tlpi_now();

    usleep(2000);
    cr_assert_geq(tlpi_now() - before, 0.002);
}
