/*
 * test_dry.c - the dry pair: the backend that counts, and the communicator that
 * records.
 */
#include "backend/dry.h"
#include "comm/comm_record.h"
#include "support/check.h"
#include "support/fake_model.h"

TestSuite(dry, .timeout = 60);

/* ==== the backend ======================================================== */

static tlpi_backend *make_backend(const tlp_model *m, tlpi_dry_options o)
{
    tlpi_backend *b = NULL;

    CHECK_OK(tlpi_backend_dry_create(&b, &m->env, &o));
    return b;
}

static const fake_shape shape = { 4, 64, 128, 4, 2, 16, 256 };
static const tlpi_dtype q8_0[] = { TLPI_Q8_0 };

/* A Q8_0 row of 64 columns has two blocks of 34 bytes. */
Test(dry, weights_are_sizes)
{
    tlp_model *m = fake_model(&shape, q8_0, 1);
    tlpi_backend *b = make_backend(m, (tlpi_dry_options){ 0 });
    const tlpi_tensor *t = m->w.layer[0].t[TLPI_FFN_GATE];
    tlpi_weight *w = NULL;
    bool copied = false;

    CHECK_OK(b->ops->weight_create(b, &w, t, 16, 48, 0, 64, &copied));
    cr_assert(copied, "a dry weight reads its tensor");
    cr_assert_eq(b->ops->weight_bytes(w), 32 * 68);
    CHECK_OK(b->ops->weight_create(b, &w, t, 0, 128, 32, 64, &copied));
    cr_assert_eq(b->ops->weight_bytes(w), 128 * 34);
    for (int i = 1; i < 1000; i++) { /* more than one allocation holds */
        CHECK_OK(b->ops->weight_create(b, &w, t, 0, i, 0, 64, &copied));
        cr_assert_eq(b->ops->weight_bytes(w), (size_t)i * 68);
    }
    b->ops->free(b);
    tlp_model_free(m);
}

Test(dry, buffers_are_addresses)
{
    tlp_model *m = fake_model(&shape, q8_0, 1);
    tlpi_backend *b = make_backend(m, (tlpi_dry_options){ 0 });
    float *x = NULL;

    CHECK_OK(b->ops->buffer_create(b, &x, (size_t)1 << 40));
    cr_assert_not_null(x);
    CHECK_FAILS(TLP_ENOMEM, b->ops->buffer_create(b, &x, SIZE_MAX));
    b->ops->free(b);
    tlp_model_free(m);
}

/* Keys and values of 10 positions, 3 heads of 40; a second cache of 1 head. */
Test(dry, caches_are_sizes)
{
    static const struct {
        int type;
        uint64_t head; /* bytes */
    } cases[] = { { TLP_KV_F32, 160 },
                  { TLP_KV_F16, 80 },
                  { TLP_KV_BF16, 80 },
                  { TLP_KV_Q8_0, 40 + 2 * 4 } };
    tlp_model *m = fake_model(&shape, q8_0, 1);

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlpi_backend *b = make_backend(m, (tlpi_dry_options){ 0 });
        tlpi_kv *kv = NULL;
        tlpi_pages *pages = NULL;
        tlpi_page_layout layout = { .n_page = 2, .n_pos = 10, .n_index = 1 };
        uint64_t want = 2 * cases[i].head * 10 * (3 + 1);

        CHECK_OK(b->ops->pages_create(b, &pages, &layout));
        for (int n = 3; n > 0; n -= 2) {
            CHECK_OK(b->ops->kv_create(b, &kv, pages, n, 40, cases[i].type));
            b->ops->kv_free(b, kv);
        }
        cr_expect_eq(b->ops->pages_bytes(pages), want, "type %d",
                     cases[i].type);
        b->ops->pages_free(b, pages);
        b->ops->free(b);
    }
    tlp_model_free(m);
}

/* Products before and after attention are attention's; those before and after
 * gate_up are the feed-forward part's. */
Test(dry, work_is_counted_by_halves)
{
    tlp_model *m = fake_model(&shape, q8_0, 1);
    tlpi_backend *b = make_backend(m, (tlpi_dry_options){ 0 });
    tlpi_weight *w[3];
    bool copied = false;
    int32_t zero = 0;
    tlpi_step step = { 1, &zero, &zero, &zero };

    for (int i = 0; i < 3; i++) /* 68, 136 and 272 bytes */
        CHECK_OK(b->ops->weight_create(b, &w[i], m->w.layer[0].t[TLPI_FFN_GATE],
                                       0, 1 << i, 0, 64, &copied));

    tlpi_term term[] = { { w[0], NULL, 1, NULL, NULL },
                         { w[1], NULL, 1, NULL, NULL } };
    tlpi_matmul two = { term, 2, NULL, false, NULL };
    tlpi_gate_up gate_up = { .gate = w[1], .up = w[2] };
    tlpi_attn attn[] = { { .n_head = 3 }, { .n_head = 2 } };

    b->ops->matmul(b, 1, &two, 1);
    b->ops->attention(b, &step, attn, 2, 16, 0);
    b->ops->matmul(b, 1, &two, 1);
    b->ops->gate_up(b, 1, &gate_up, 1);
    b->ops->matmul(b, 1, &two, 1);
    tlpi_dry_work work = tlpi_dry_take_work(b);
    cr_assert_eq(work.n_attn, 1);
    cr_assert_eq(work.n_ffn, 1);
    cr_assert_eq(work.n_head, 5);
    cr_assert_eq(work.attn_bytes, 2 * (68 + 136));
    cr_assert_eq(work.ffn_bytes, 136 + 272 + 68 + 136);
    cr_assert_eq(work.other_bytes, 0);

    b->ops->matmul(b, 1, &two, 1);
    work = tlpi_dry_take_work(b);
    cr_assert(work.n_attn == 0 && work.n_ffn == 0 && work.n_head == 0);
    cr_assert_eq(work.other_bytes, 68 + 136);
    b->ops->matmul(b, 1, &two, 1);
    b->ops->gate_up(b, 1, &gate_up, 1);
    work = tlpi_dry_take_work(b);
    cr_assert_eq(work.attn_bytes, 0);
    cr_assert_eq(work.ffn_bytes, 136 + 272 + 68 + 136);
    b->ops->free(b);
    tlp_model_free(m);
}

/* ==== the communicator =================================================== */

typedef struct events {
    tlpi_comm_event e[8];
    int n;
    tlp_status answer;
} events;

static tlp_status collect(void *arg, const tlpi_comm_event *e)
{
    events *all = arg;

    all->e[all->n++ % 8] = *e;
    return all->answer;
}

Test(dry, operations_are_recorded)
{
    tlp_model *m = fake_model(&shape, q8_0, 1);
    events seen = { .n = 0 };
    tlpi_comm *c = NULL, *part = NULL, *none = NULL;
    uint32_t vote = 5;
    float x[2] = { 1, 2 };

    CHECK_OK(tlpi_comm_record_create(&c, &m->env, 2, 4, collect, &seen));
    CHECK_OK(c->ops->split(c, 1, 3, &part));
    CHECK_OK(c->ops->split(c, 0, 2, &none));
    cr_assert_null(none, "rank 2 is outside of ranks 0 and 1");
    cr_assert(part->rank == 1 && part->size == 3);
    CHECK_OK(c->ops->allreduce(c, x, 2, &vote));
    CHECK_OK(part->ops->allreduce(part, x, 1, NULL));
    CHECK_OK(c->ops->send_next(c, x, 7));
    CHECK_OK(part->ops->recv_prev(part, x, 8));
    cr_assert(vote == 5 && x[0] == 1 && x[1] == 2);

    static const tlpi_comm_event want[] = {
        { TLPI_COMM_SUM, 0, 4, false, 2 },
        { TLPI_COMM_SUM, 1, 3, true, 1 },
        { TLPI_COMM_SEND, 0, 4, false, 7 },
        { TLPI_COMM_RECV, 1, 3, true, 8 },
    };
    cr_assert_eq(seen.n, 4);
    for (int i = 0; i < 4; i++) {
        const tlpi_comm_event *a = &seen.e[i], *b = &want[i];
        cr_assert(a->kind == b->kind && a->first == b->first &&
                      a->count == b->count && a->split == b->split &&
                      a->n == b->n,
                  "event %d", i);
    }
    cr_assert(c->stats.allreduces == 1 && c->stats.bytes == 4 * 9);
    cr_assert(part->stats.allreduces == 1 && part->stats.bytes == 4);
    seen.answer = TLP_ENOMEM;
    cr_assert_eq(c->ops->allreduce(c, x, 2, NULL), TLP_ENOMEM);
    part->ops->free(part);
    c->ops->free(c);
    tlp_model_free(m);
}

Test(dry, what_needs_other_ranks_is_refused)
{
    tlp_model *m = fake_model(&shape, q8_0, 1);
    tlpi_comm *first = NULL, *last = NULL, *none = NULL;
    size_t bytes[] = { 4, 4 };
    float x[2] = { 0 };

    CHECK_OK(tlpi_comm_record_create(&first, &m->env, 0, 2, NULL, NULL));
    CHECK_OK(tlpi_comm_record_create(&last, &m->env, 1, 2, NULL, NULL));
    CHECK_FAILS(TLP_EINVAL, first->ops->recv_prev(first, x, 1));
    CHECK_FAILS(TLP_EINVAL, last->ops->send_next(last, x, 1));
    CHECK_FAILS(TLP_EINVAL, first->ops->split(first, 1, 2, &none));
    CHECK_FAILS(TLP_ENOTSUP, first->ops->gather(first, x, bytes, x));
    CHECK_FAILS(TLP_ENOTSUP, first->ops->bcast(first, x, 4, false));
    first->ops->free(first);
    last->ops->free(last);
    tlp_model_free(m);
}
