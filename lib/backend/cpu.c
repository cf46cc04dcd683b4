/*
 * cpu.c - the CPU backend: creation, buffers, and the table of operations.
 *
 * Every operation has finished when it returns, so begin_step only chooses the
 * number of threads, and end_step does nothing.
 */
#include <errno.h>
#include <string.h>

#include "backend/cpu_attn.h"
#include "backend/cpu_mm.h"
#include "backend/dry.h"
#include "base/number.h"

static const char *isa_name(const tlpi_backend *b)
{
    return ((const tlpi_cpu *)b)->mm->isa;
}

static tlp_status buffer_create(tlpi_backend *b, float **out, size_t n)
{
    *out = tlpi_calloc(b->env, n, sizeof **out);
    return *out ? TLP_OK : tlpi_fail_nomem_for("activations of a CPU");
}

static void buffer_free(tlpi_backend *b, float *x)
{
    tlpi_free(b->env, x);
}

static void copy_floats(tlpi_backend *b, float *dst, const float *src, size_t n)
{
    (void)b;
    if (n)
        memcpy(dst, src, n * sizeof *dst);
}

static tlp_status read_floats(tlpi_backend *b, float *host, const float *src,
                              size_t n)
{
    copy_floats(b, host, src, n);
    return TLP_OK;
}

/* At most one token of each sequence. */
static bool is_decode(const tlpi_step *s)
{
    for (int i = 1; i < s->n_tok; i++)
        if (s->seq[i] == s->seq[i - 1])
            return false;
    return true;
}

static bool begin_step(tlpi_backend *b, const tlpi_step *s,
                       const tlpi_want *want)
{
    tlpi_cpu *c = tlpi_cpu_of(b);

    (void)want;
    tlpi_pool_use(c->pool, is_decode(s) ? c->n_decode : c->n_prefill);
    return false;
}

static tlp_status end_step(tlpi_backend *b, tlp_status st)
{
    (void)b;
    return st;
}

static void backend_free(tlpi_backend *b)
{
    if (!b)
        return;
    tlpi_cpu *c = tlpi_cpu_of(b);
    tlpi_cpu_attn_scratch_free(c);
    tlpi_cpu_mm_scratch_free(c);
    tlpi_slab_drop(c->slab);
    tlpi_pool_free(c->pool);
    tlpi_free(b->env, c);
}

static tlp_status create_pool(tlpi_pool **out, const tlpi_cpu *c, int n)
{
    const tlpi_backend_options *o = &c->opts;
    /* ranks on this machine, which have equal numbers of threads */
    int n_local = TLPI_MAX(
        1, o->n_machine / TLPI_MAX(1, TLPI_MAX(o->n_thread, o->n_prefill)));
    const tlpi_pool_options po = { .n_thread = n,
                                   .n_machine = n * n_local,
                                   .n_core = o->n_core,
                                   .spin_us = o->spin_us,
                                   .cores = o->cores,
                                   .first_core = o->first_core,
                                   .host = o->host };

    return tlpi_pool_create(out, c->base.env, &po);
}

/* A larger pool and its scratch replace the old ones, or nothing changes. */
static tlp_status grow(tlpi_cpu *c, int n)
{
    tlpi_cpu old = *c, *unused = c;
    tlp_status st = TLP_OK;

    c->mm_scratch = NULL;
    TLP_TRY(create_pool(&c->pool, c, n));
    TLP_TRY(tlpi_cpu_mm_scratch_create(c));
    TLP_TRY(tlpi_attn_scratch_share(c, n));
    unused = &old;
done:
    tlpi_cpu_mm_scratch_free(unused);
    tlpi_pool_free(unused->pool);
    if (st != TLP_OK)
        *c = old;
    return st;
}

static tlp_status set_threads(tlpi_backend *b, int n_decode, int n_prefill)
{
    tlpi_cpu *c = tlpi_cpu_of(b);
    int n = TLPI_MAX(n_decode, n_prefill);
    tlp_status st = TLP_OK;

    if (n > tlpi_pool_size(c->pool))
        TLP_TRY(grow(c, n));
    c->n_decode = n_decode;
    c->n_prefill = n_prefill;
done:
    return st;
}

static const tlpi_backend_ops cpu_ops = {
    .isa = isa_name,
    .weight_create = tlpi_cpu_weight_create,
    .weight_free = tlpi_cpu_weight_free,
    .weight_bytes = tlpi_cpu_weight_bytes,
    .buffer_create = buffer_create,
    .buffer_free = buffer_free,
    .pages_create = tlpi_cpu_pages_create,
    .pages_free = tlpi_cpu_pages_free,
    .pages_bytes = tlpi_cpu_pages_bytes,
    .pages_take = tlpi_cpu_pages_take,
    .pages_drop = tlpi_cpu_pages_drop,
    .pages_copy = tlpi_cpu_pages_copy,
    .kv_create = tlpi_cpu_kv_create,
    .kv_free = tlpi_cpu_kv_free,
    .rope_create = tlpi_cpu_rope_create,
    .rope_free = tlpi_cpu_rope_free,
    .routes_create = tlpi_cpu_routes_create,
    .routes_free = tlpi_cpu_routes_free,
    .write = copy_floats,
    .read = read_floats,
    .begin_step = begin_step,
    .end_step = end_step,
    .set_threads = set_threads,
    .kv_panel_bytes = tlpi_cpu_kv_panel_bytes,
    .kv_read = tlpi_cpu_kv_read,
    .kv_write = tlpi_cpu_kv_write,
    .embed = tlpi_cpu_embed,
    .gather = tlpi_cpu_gather,
    .add_norm = tlpi_cpu_add_norm,
    .add = tlpi_cpu_add,
    .zero = tlpi_cpu_zero,
    .route = tlpi_cpu_route,
    .matmul = tlpi_cpu_matmul,
    .gate_up = tlpi_cpu_gate_up,
    .soft_cap = tlpi_cpu_soft_cap,
    .sum_squares = tlpi_cpu_sum_squares,
    .attention = tlpi_cpu_attention,
    .log_sum_exp = tlpi_cpu_log_sum_exp,
    .top = tlpi_cpu_top,
    .free = backend_free,
};

/* A process must ask the kernel before it uses AMX. */
static tlp_status enter(tlpi_cpu *c, bool any)
{
    if (c->isa != TLP_ISA_AMX || tlpi_cpu_ask_amx())
        return TLP_OK;
    if (!any)
        return tlpi_fail(TLP_ENOTSUP, "isa amx: refused by the kernel: %s",
                         tlpi_strerror(errno));
    tlpi_log(c->base.env, TLP_LOG_INFO, "no amx: refused by the kernel: %s",
             tlpi_strerror(errno));
    c->isa = TLP_ISA_AVX512;
    return TLP_OK;
}

void tlpi_backend_cpu_sizes(tlpi_dry_options *o, int isa)
{
    int known = isa == TLP_ISA_AUTO ? tlpi_cpu_detect() : isa;

    o->weight_size =
        tlpi_cpu_mm_get(known)->packed ? tlpi_cpu_packed_size : NULL;
    o->kv_size = tlpi_cpu_kv_size;
}

tlp_status tlpi_backend_cpu_create(tlpi_backend **out, const tlpi_env *env,
                                   const tlpi_backend_options *opts)
{
    tlp_status st = TLP_OK;
    tlpi_cpu *c = NULL;
    int isa;

    *out = NULL;
    TLP_TRY(tlpi_cpu_choose_isa(opts->isa, &isa));
    c = tlpi_calloc(env, 1, sizeof *c);
    if (!c)
        return tlpi_fail_nomem_for("activations of a CPU");
    c->base.ops = &cpu_ops;
    c->base.env = env;
    c->opts = *opts;
    c->n_decode = TLPI_MAX(opts->n_thread, 1);
    c->n_prefill = opts->n_prefill ? opts->n_prefill : c->n_decode;
    c->isa = isa;
    TLP_TRY(enter(c, opts->isa == TLP_ISA_AUTO));
    c->f32 = opts->compute == TLP_COMPUTE_F32;
    c->max_tok = opts->max_tok;
    c->mm = tlpi_cpu_mm_get(c->isa);
    c->vec = tlpi_cpu_vec_get(c->isa);
    c->bf16 = !c->f32 && c->mm->dot_b && tlpi_cpu_has_bf16();
    c->base.layout = c->mm->packed;
    st = create_pool(&c->pool, c, TLPI_MAX(c->n_decode, c->n_prefill));
    if (st != TLP_OK)
        TLP_TRY(tlpi_fail_prefix(st, "threads of a rank: "));
    TLP_TRY(tlpi_cpu_mm_scratch_create(c));
    TLP_TRY(tlpi_cpu_attn_scratch_create(c));
    *out = &c->base;
    c = NULL;
done:
    backend_free(c ? &c->base : NULL);
    return st;
}
