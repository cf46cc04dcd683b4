/*
 * test_command.c - commands come from rank 0, which may be another process: a
 * rank carries out none whose numbers do not fit its session.
 */
#include <string.h>

#include "session/session.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(command, .timeout = 120);

static const char *path;

/* A rank of a session with 64 positions, 2 sequences, steps of 32 tokens. */
static rig open_rig(void)
{
    tlp_session_options o = rig_f32(2, 1);

    o.n_seq = 2;
    o.n_batch = 32;
    return rig_open(path, "serial", &o);
}

/* Rank 1 gets the command; does it end the session?  fresh: no sequence has a
 * page, else both have one. */
static bool is_refused(const tlpi_command *cmd, bool fresh)
{
    rig r = open_rig();
    tlpi_comm *c = r.session->rank0->comm;
    tlpi_command sent = *cmd;

    if (!fresh) {
        CHECK_OK(tlp_session_decode(r.session, 1));
        CHECK_OK(tlp_session_fork(r.session, 1, 0));
    }
    CHECK_OK(c->ops->bcast(c, &sent, sizeof sent, true));
    tlp_status st = tlp_session_fork(r.session, 1, 0);
    if (st == TLP_OK) /* the next one waits for rank 1 */
        st = tlp_session_decode(r.session, 1);
    cr_assert(st == TLP_OK || st == TLP_ECOMM, "%s", tlp_last_error());
    rig_close(&r);
    return st == TLP_ECOMM;
}

typedef struct command_case {
    const char *name;
    tlpi_command cmd;
} command_case;

/* A command with one edit of pages, of which there are two of one kind. */
#define EDIT(name, ...)                                                        \
    {                                                                          \
        name,                                                                  \
        {                                                                      \
            .op = TLPI_OP_PAGES, .n_tok = 1, .edit = { { __VA_ARGS__ } }       \
        }                                                                      \
    }

static void expect_refused(const command_case *bad, size_t n)
{
    tiny_spec spec = tiny_default();

    path = tiny_make(&spec);
    for (size_t i = 0; i < n; i++)
        cr_assert(is_refused(&bad[i].cmd, false), "%s", bad[i].name);
}

Test(command, numbers_out_of_range_are_refused)
{
    static const command_case bad[] = {
        { "operation", { .op = 7 } },
        { "negative operation", { .op = -1 } },
        { "no tokens", { .op = TLPI_OP_STEP } },
        { "tokens", { .op = TLPI_OP_STEP, .n_tok = 33 } },
        { "negative tokens", { .op = TLPI_OP_SCORE, .n_tok = -1 } },
        { "rows", { .op = TLPI_OP_STEP, .n_tok = 1, .n_row = 2 } },
        { "negative rows", { .op = TLPI_OP_SCORE, .n_tok = 1, .n_row = -1 } },
        { "first row", { .op = TLPI_OP_STEP, .n_tok = 1, .row = -1 } },
        { "last row",
          { .op = TLPI_OP_STEP, .n_tok = 1, .n_row = 1, .row = 1 << 30 } },
        { "candidates",
          { .op = TLPI_OP_STEP, .n_tok = 2, .n_row = 2, .k = 129 } },
        { "row", { .op = TLPI_OP_ROW, .row = 1 << 20 } },
        { "negative row", { .op = TLPI_OP_ROW, .row = -1 } },
        { "row of candidates", { .op = TLPI_OP_TOP, .row = 1 << 20, .k = 1 } },
        { "most candidates", { .op = TLPI_OP_TOP, .k = 257 } },
        { "negative candidates", { .op = TLPI_OP_TOP, .k = -1 } },
        { "room", { .op = TLPI_OP_RESERVE, .n_row = -1 } },
        { "no edits", { .op = TLPI_OP_PAGES } },
        { "edits", { .op = TLPI_OP_PAGES, .n_tok = TLPI_MAX_EDIT + 1 } },
        EDIT("edit", .op = 4),
        EDIT("negative edit", .op = -1),
        EDIT("kind", .kind = 1),
        EDIT("negative kind", .kind = -1),
        EDIT("page taken", .page = 2),
        EDIT("page dropped", .op = TLPI_PAGE_DROP, .page = -1),
        EDIT("copy without memory", .op = TLPI_PAGE_COPY, .from = 1),
        EDIT("page set", .op = TLPI_PAGE_SET, .page = 2),
        EDIT("no page", .op = TLPI_PAGE_SET, .page = -2),
        EDIT("page's sequence", .op = TLPI_PAGE_SET, .seq = 2),
        EDIT("page's index", .op = TLPI_PAGE_SET, .index = 1),
        EDIT("page's negative index", .op = TLPI_PAGE_SET, .index = -1),
    };

    expect_refused(bad, TLPI_COUNT(bad));
}

/* A command that copies a page.  Sequences have page 0, and there are two. */
#define COPY(name, operation, ...)                                             \
    {                                                                          \
        name,                                                                  \
        {                                                                      \
            .op = operation, .copy = { __VA_ARGS__ }                           \
        }                                                                      \
    }

Test(command, copies_of_pages_are_checked)
{
    static const command_case bad[] = {
        COPY("kind", TLPI_OP_READ_PAGE, 1, 0, 1, 1 << 20),
        COPY("negative kind", TLPI_OP_WRITE_PAGE, -1, 0, 1, 1 << 20),
        COPY("page", TLPI_OP_READ_PAGE, 0, 2, 1, 1 << 20),
        COPY("negative page", TLPI_OP_WRITE_PAGE, 0, -1, 1, 1 << 20),
        COPY("page without memory", TLPI_OP_WRITE_PAGE, 0, 1, 1, 1 << 20),
        COPY("no positions", TLPI_OP_READ_PAGE, 0, 0, 0, 1 << 20),
        COPY("positions", TLPI_OP_WRITE_PAGE, 0, 0, 65, 1 << 20),
        COPY("small part", TLPI_OP_WRITE_PAGE, 0, 0, 1, 100),
        COPY("large part", TLPI_OP_READ_PAGE, 0, 0, 1, UINT64_MAX),
    };

    expect_refused(bad, TLPI_COUNT(bad));
}

/* inlined: ids, sequences, positions, rows, targets */
Test(command, arrays_of_steps_are_checked)
{
    static const command_case bad[] = {
        { "id", { .op = TLPI_OP_STEP, .n_tok = 1, .inlined = { 288 } } },
        { "negative id",
          { .op = TLPI_OP_STEP, .n_tok = 1, .inlined = { -1 } } },
        { "sequence", { .op = TLPI_OP_STEP, .n_tok = 1, .inlined = { 0, 2 } } },
        { "position",
          { .op = TLPI_OP_STEP, .n_tok = 1, .inlined = { 0, 0, 64 } } },
        { "negative position",
          { .op = TLPI_OP_SCORE, .n_tok = 1, .inlined = { 0, 0, -1 } } },
        { "positions with a gap",
          { .op = TLPI_OP_STEP, .n_tok = 2, .inlined = { 0, 0, 0, 0, 1, 3 } } },
        { "a position twice",
          { .op = TLPI_OP_STEP, .n_tok = 2, .inlined = { 0, 0, 0, 0, 1, 1 } } },
        { "a sequence in two runs",
          { .op = TLPI_OP_STEP,
            .n_tok = 3,
            .inlined = { 0, 0, 0, 0, 1, 0, 1, 0, 2 } } },
        { "falling sequences",
          { .op = TLPI_OP_STEP, .n_tok = 2, .inlined = { 0, 0, 1, 0, 0, 1 } } },
        { "a run to the end",
          { .op = TLPI_OP_STEP,
            .n_tok = 2,
            .inlined = { 0, 0, 0, 0, 63, 64 } } },
        { "row's token",
          { .op = TLPI_OP_STEP,
            .n_tok = 1,
            .n_row = 1,
            .inlined = { 0, 0, 0, 1 } } },
    };

    expect_refused(bad, TLPI_COUNT(bad));
}

Test(command, steps_without_pages_are_refused)
{
    static const tlpi_command bad[] = {
        { .op = TLPI_OP_STEP, .n_tok = 1 },
        { .op = TLPI_OP_SCORE, .n_tok = 1 },
        { .op = TLPI_OP_MEASURE },
    };
    tiny_spec spec = tiny_default();

    path = tiny_make(&spec);
    for (size_t i = 0; i < TLPI_COUNT(bad); i++)
        cr_assert(is_refused(&bad[i], true), "command %zu", i);
}

/* The same way of asking, for one that is in range. */
Test(command, a_good_one_is_carried_out)
{
    tlpi_command edit = { .op = TLPI_OP_PAGES,
                          .n_tok = 1,
                          .edit = {
                              { .op = TLPI_PAGE_SET, .seq = 1, .page = -1 } } };
    tiny_spec spec = tiny_default();

    path = tiny_make(&spec);
    cr_assert_not(is_refused(&edit, false));
}
