/*
 * cpu.c - the CPU backend: creation, buffers, and the table of operations.
 *
 * Every operation has finished when it returns, so begin_step and end_step do
 * nothing.
 */
#include <errno.h>
#include <string.h>

#include "base/number.h"
#include "backend/cpu_mm.h"
#include "backend/dry.h"

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

static bool begin_step(tlpi_backend *b, const tlpi_step *s,
                       const tlpi_want *want)
{
    (void)b;
    (void)s;
    (void)want;
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

static const tlpi_backend_ops cpu_ops = {
    .isa = isa_name,
    .weight_create = tlpi_cpu_weight_create,
    .weight_free = tlpi_cpu_weight_free,
    .weight_bytes = tlpi_cpu_weight_bytes,
    .buffer_create = buffer_create,
    .buffer_free = buffer_free,
    .kv_create = tlpi_cpu_kv_create,
    .kv_copy = tlpi_cpu_kv_copy,
    .kv_free = tlpi_cpu_kv_free,
    .kv_bytes = tlpi_cpu_kv_bytes,
    .rope_create = tlpi_cpu_rope_create,
    .rope_free = tlpi_cpu_rope_free,
    .write = copy_floats,
    .read = read_floats,
    .begin_step = begin_step,
    .end_step = end_step,
    .embed = tlpi_cpu_embed,
    .gather = tlpi_cpu_gather,
    .add_norm = tlpi_cpu_add_norm,
    .add = tlpi_cpu_add,
    .zero = tlpi_cpu_zero,
    .matmul = tlpi_cpu_matmul,
    .gate_up = tlpi_cpu_gate_up,
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
    int here = tlpi_cpu_detect();

    *out = NULL;
    if (opts->isa > here)
        return tlpi_fail(TLP_ENOTSUP, "isa %d asked for, this machine has %s",
                         opts->isa, tlpi_cpu_best_isa());
    c = tlpi_calloc(env, 1, sizeof *c);
    if (!c)
        return tlpi_fail_nomem_for("activations of a CPU");
    c->base.ops = &cpu_ops;
    c->base.env = env;
    c->n_thread = TLPI_MAX(opts->n_thread, 1);
    c->isa = opts->isa == TLP_ISA_AUTO ? here : opts->isa;
    TLP_TRY(enter(c, opts->isa == TLP_ISA_AUTO));
    c->f32 = opts->compute == TLP_COMPUTE_F32;
    c->max_tok = opts->max_tok;
    c->mm = tlpi_cpu_mm_get(c->isa);
    c->vec = tlpi_cpu_vec_get(c->isa);
    c->bf16 = !c->f32 && c->mm->dot_b && tlpi_cpu_has_bf16();
    c->base.layout = c->mm->packed;
    tlpi_pool_options po = { c->n_thread, opts->n_machine, opts->first_core,
                             opts->pin };
    st = tlpi_pool_create(&c->pool, env, &po);
    if (st != TLP_OK)
        TLP_TRY(tlpi_fail_prefix(st, "threads of a rank: "));
    TLP_TRY(tlpi_cpu_mm_scratch_create(c, opts));
    TLP_TRY(tlpi_cpu_attn_scratch_create(c, opts));
    *out = &c->base;
    c = NULL;
done:
    backend_free(c ? &c->base : NULL);
    return st;
}
