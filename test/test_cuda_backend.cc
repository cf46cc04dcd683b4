/*
 * test_cuda_backend.cc - one rank's emulated GPU: what it refuses, and when it
 * has done with the host's memory.
 */
#include "cuda/gpu_ranks.h"

TestSuite(cuda_backend, .timeout = 60);

static tlp_status create(tlpi_backend **out)
{
    static tlpi_env env;
    tlpi_backend_options o = {};

    cr_assert_eq(tlpi_env_init(&env, nullptr, nullptr, nullptr), TLP_OK);
    o.n_thread = o.n_machine = 1;
    o.max_tok = 8;
    o.max_cols = 64;
    o.max_terms = 3;
    o.max_attn = 1;
    o.n_seq = o.n_index = 1;
    return cuda()->backend_create(out, &env, &o, 0);
}

/* ==== what is refused ==================================================== */

Test(cuda_backend, devices_that_are_too_old)
{
    tlpi_backend *b = nullptr;

    setenv("TLP_EMU_CAPABILITY", "75", 1);
    cr_assert_eq(create(&b), TLP_ENOTSUP);
    cr_assert_null(b);
    cr_assert_str_eq(tlp_last_error(), "device 0: compute capability 7.5, at "
                                       "least 8.0 is needed");
    setenv("TLP_EMU_CAPABILITY", "80", 1);
    cr_assert_eq(create(&b), TLP_OK, "%s", tlp_last_error());
    b->ops->free(b);
}

/* 99 KiB are what cards have that are not made for servers. */
Test(cuda_backend, heads_that_are_too_large)
{
    tlpi_backend *b = nullptr;
    tlpi_pages *pages = nullptr;
    tlpi_kv *kv = nullptr;
    int32_t table = 0;
    tlpi_page_layout layout = { 1, 16, 1, &table };

    setenv("TLP_EMU_SHARED", "99", 1);
    cr_assert_eq(create(&b), TLP_OK, "%s", tlp_last_error());
    cr_assert_eq(b->ops->pages_create(b, &pages, &layout), TLP_OK);
    cr_assert_eq(b->ops->kv_create(b, &kv, pages, 1, 256, TLP_KV_F16),
                 TLP_ENOTSUP);
    cr_assert_null(kv);
    cr_assert_str_eq(tlp_last_error(),
                     "heads of 256: attention needs 104064 bytes of shared "
                     "memory, device 0 has 101376 for a block");
    cr_assert_eq(b->ops->kv_create(b, &kv, pages, 1, 128, TLP_KV_F16), TLP_OK);
    b->ops->kv_free(b, kv);
    b->ops->pages_free(b, pages);
    b->ops->free(b);
}

/* ==== the host's memory ================================================== */

/* Work is done late, and reads what is there then. */
static tlpi_backend *late()
{
    tlpi_backend *b = nullptr;

    setenv("TLP_EMU_LAZY", "1", 1);
    setenv("TLP_EMU_LATE", "1", 1);
    cr_assert_eq(create(&b), TLP_OK, "%s", tlp_last_error());
    return b;
}

Test(cuda_backend, what_was_written_may_change_at_once)
{
    tlpi_backend *b = late();
    float *x = nullptr, host[3] = { 1, 2, 3 };

    cr_assert_eq(b->ops->buffer_create(b, &x, 3), TLP_OK);
    b->ops->write(b, x, host, 3);
    host[0] = host[1] = host[2] = 0;
    cr_assert_eq(b->ops->read(b, host, x, 3), TLP_OK);
    cr_assert(host[0] == 1 && host[1] == 2 && host[2] == 3);
    b->ops->buffer_free(b, x);
    b->ops->free(b);
}

/* More rows than one launch takes. */
Test(cuda_backend, rows_to_gather_may_change_at_once)
{
    enum { COLS = 3, ROWS = 150 };
    tlpi_backend *b = late();
    float *x = nullptr, *y = nullptr, host[COLS * ROWS];
    int32_t rows[ROWS];

    for (int i = 0; i < COLS * ROWS; i++)
        host[i] = (float)i;
    for (int i = 0; i < ROWS; i++)
        rows[i] = ROWS - 1 - i;
    cr_assert_eq(b->ops->buffer_create(b, &x, COLS * ROWS), TLP_OK);
    cr_assert_eq(b->ops->buffer_create(b, &y, COLS * ROWS), TLP_OK);
    b->ops->write(b, x, host, COLS * ROWS);
    b->ops->gather(b, x, rows, ROWS, COLS, y);
    memset(rows, 0, sizeof rows);
    cr_assert_eq(b->ops->read(b, host, y, COLS * ROWS), TLP_OK);
    for (int i = 0; i < COLS * ROWS; i++)
        cr_assert_eq(host[i], (float)((ROWS - 1 - i / COLS) * COLS + i % COLS));
    b->ops->buffer_free(b, x);
    b->ops->buffer_free(b, y);
    b->ops->free(b);
}
