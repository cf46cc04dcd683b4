/*
 * test_sha256.c - SHA-256, in plain C and by the CPU's instructions.
 */
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/sha256.h"
#include "base/sha256_block.h"
#include "support/check.h"

static void expect_hash(const char *text, size_t n, const char *want)
{
    char got[TLPI_HASH_TEXT];
    tlpi_sha256 s;

    tlpi_sha256_init(&s);
    tlpi_sha256_add(&s, text, n);
    tlpi_sha256_text(&s, got);
    cr_expect_str_eq(got + 7, want);
}

/* Examples of FIPS 180-4. */
Test(sha256, sha256_gives_the_published_values)
{
    char *many = malloc(1000000);

    memset(many, 'a', 1000000);
    expect_hash("", 0,
                "e3b0c44298fc1c149afbf4c8996fb924"
                "27ae41e4649b934ca495991b7852b855");
    expect_hash("abc", 3,
                "ba7816bf8f01cfea414140de5dae2223"
                "b00361a396177a9cb410ff61f20015ad");
    expect_hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                "248d6a61d20638b8e5c026930c3e6039"
                "a33ce45964ff2167f6ecedd419db06c1");
    expect_hash(many, 1000000,
                "cdc76e5c9914fb9281a1c7e284d73e67"
                "f1809a48a497200e046d39ccc7112cd0");
    free(many);
}

Test(sha256, both_ways_of_sha256_agree)
{
    uint8_t data[64 * 9];
    uint32_t a[8], b[8];
    uint64_t rng = 5;

    if (!tlpi_sha256_has_shani())
        cr_skip_test("this CPU has no SHA instructions");
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)(tlpi_random(&rng) >> 24);
        for (int i = 0; i < 8; i++)
            a[i] = b[i] = (uint32_t)tlpi_random(&rng);
        size_t n = (size_t)(round % 10);
        tlpi_sha256_blocks_any(a, data, n);
        tlpi_sha256_blocks_shani(b, data, n);
        cr_assert_eq(memcmp(a, b, sizeof a), 0, "%zu blocks", n);
    }
}
