/*
 * test_abi_client.c - programs of every frozen ABI run with today's library.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"

TestSuite(abi_client, .timeout = 300);

Test(abi_client, v1)
{
    tiny_spec spec = tiny_default();
    const char *model = tiny_make(&spec);
    char *folder = strdup(model);

    cr_assert_not_null(folder);
    *strrchr(folder, '/') = '\0';
    spawned s = SPAWN("test/abi/v1/client", model, folder);
    cr_expect_eq(s.status, 0, "status %d: %s", s.status, s.err);
    cr_expect_str_eq(s.err, "");
    cr_expect_neq(s.n_out, 0);
    spawn_free(&s);
    free(folder);
}
