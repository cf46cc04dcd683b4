/*
 * test_parity.c - logits under every kind of plan, against the equations.
 *
 * test/support/ref.c evaluates the equations in double precision; golden.txt
 * ties it to a third implementation.  The library must come within f32
 * rounding of it whatever the ranks, threads, kernels and tensor types.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "support/golden.h"
#include "support/ref.h"
#include "support/rig.h"
#include "support/tiny.h"

#define N_TOKEN 13

/*
 * The logits of these models reach about 4, where f32 has steps of 5e-7.  The
 * sums of a few hundred products in a handful of layers leave them up to 4e-6
 * off; the bound is well above that, and three orders of magnitude below what
 * a wrong norm, head or position does (plans_differ).
 */
#define TOLERANCE 3e-5

typedef struct plan_case {
    const char *plan;   /* for the library's parser */
    const char *stages; /* the same written out, for the reference */
} plan_case;

/* Five layers: groups of two, three and five, mixed modes, studies. */
static const plan_case plans[] = {
    { "serial", "0 1 2 3 4" },
    { "lp:1-2", "0 lp:1,2 3 4" },
    { "lp:0-2,3-4", "lp:0,1,2 lp:3,4" },
    { "par:1-2,3-4", "0 par:1,2 par:3,4" },
    { "par:1-3", "0 par:1,2,3 4" },
    { "par:0-4", "par:0,1,2,3,4" },
    { "asym:0-1,3-4", "asym:0,1 2 asym:3,4" },
    { "asym:1-3", "0 asym:1,2,3 4" },
    { "lp-code:1-2", "0 lp-code:1,2 3 4" },
    { "merge:2-3", "0 1 merge:2,3 4" },
    { "merge:0-2", "merge:0,1,2 3 4" },
    { "drop:1,3", "0 2 4" },
    { "order:0,3,2,1,4", "0 3 2 1 4" },
    { "lp:0-1;asym:2-3", "lp:0,1 asym:2,3 4" },
    { "drop:2;par:0-1;merge:3-4", "par:0,1 merge:3,4" },
};

/* The modes that must hold for every tensor type and shape. */
static const plan_case main_plans[] = {
    { "serial", "0 1 2" },
    { "lp:0-1", "lp:0,1 2" },
    { "par:1-2", "0 par:1,2" },
    { "asym:0-2", "asym:0,1,2" },
};

static const char *const archs[] = {
    "llama", "qwen2", "qwen3",   "granite",  "smollm3", "gemma3",   "olmo2",
    "phi3",  "glm4",  "exaone4", "qwen3moe", "gpt-oss", "mistral3", "gemma2"
};

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const tlpi_dtype types[] = {
    TLPI_F32,  TLPI_F16,    TLPI_BF16,   TLPI_Q8_0,  TLPI_Q4_0, TLPI_Q4_1,
    TLPI_Q5_0, TLPI_Q5_1,   TLPI_Q2_K,   TLPI_Q3_K,  TLPI_Q4_K, TLPI_Q5_K,
    TLPI_Q6_K, TLPI_IQ4_NL, TLPI_IQ4_XS, TLPI_MXFP4,
};

static tiny_spec three_layers(tlpi_dtype type)
{
    tiny_spec s = tiny_default();

    s.n_layer = 3;
    s.type = type;
    return s;
}

/* No type falls back to another. */
static tiny_spec wide(tlpi_dtype type)
{
    tiny_spec s = golden_wide(type);

    s.n_layer = 3;
    return s;
}

/* One model with its reference, evaluated on the same tokens throughout. */
typedef struct subject {
    const char *path;
    ref_model *ref;
    int32_t ids[N_TOKEN];
    size_t n; /* logits of all tokens */
} subject;

static subject subject_open(const tiny_spec *spec)
{
    subject s = { .path = tiny_make(spec) };

    s.ref = ref_open(s.path);
    s.n = (size_t)(N_TOKEN * ref_n_vocab(s.ref));
    rig_tokens(s.ids, N_TOKEN, (size_t)ref_n_vocab(s.ref), spec->seed);
    return s;
}

static double *expected(const subject *s, const plan_case *c)
{
    ref_plan p = ref_parse(c->stages);

    return ref_logits(s->ref, &p, s->ids, N_TOKEN);
}

static void expect_close(const subject *s, const plan_case *c,
                         const double *want, const tlp_session_options *o,
                         const char *what)
{
    float *got = rig_run(s->path, c->plan, o, s->ids, N_TOKEN);
    double d = rig_diff(got, want, s->n);

    cr_assert(d <= TOLERANCE,
              "%s, %s, %d ranks of %d, %s: off by %g where logits reach %g",
              what, c->plan, o->n_rank, o->n_thread, rig_isa_name(o->isa), d,
              rig_scale(want, s->n));
    free(got);
}

TestSuite(parity, .timeout = 300);

/* ==== the reference itself =============================================== */

/* Lines "model | stages | logits of the last token: ids 0, 24, 48, ...". */
Test(parity, reference_agrees_with_golden_numbers)
{
    char line[1024], name[32], stages[128];
    int n_line = 0, n_logit = 0, at;
    FILE *f = fopen("test/data/golden.txt", "r");

    cr_assert(f != NULL, "test/data/golden.txt: cannot be read");
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#')
            continue;
        cr_assert_eq(sscanf(line, "%31[^ |] | %127[^|]| %n", name, stages, &at),
                     2, "golden.txt: %s", line);
        stages[strlen(stages) - 1] = 0; /* the blank before the bar */
        tiny_spec spec = golden_spec(name);
        subject s = subject_open(&spec);
        double *got = expected(&s, &(plan_case){ "", stages });
        const double *last = got + (N_TOKEN - 1) * ref_n_vocab(s.ref);
        char *p = line + at, *end;
        int id = 0;
        for (double want = tlpi_strtod(p, &end); end != p;
             want = tlpi_strtod(p, &end)) {
            cr_assert_float_eq(last[id], want, 2e-5, "%s, %s: logit %d is %.6f",
                               name, stages, id, last[id]);
            id += 24;
            n_logit++;
            p = end;
        }
        free(got);
        ref_close(s.ref);
        n_line++;
    }
    fclose(f);
    cr_assert(n_line >= 20 && n_logit == 12 * n_line,
              "golden.txt: %d lines, %d logits", n_line, n_logit);
}

/* ==== plans, architectures, ranks ======================================== */

static void all_plans(const char *arch)
{
    tiny_spec spec = tiny_default();

    spec.arch = arch;
    spec.type = TLPI_F32;
    subject s = subject_open(&spec);
    for (int c = 0; c < COUNT(plans); c++) {
        if (strstr(plans[c].plan, "merge") &&
            (strstr(arch, "moe") || strcmp(arch, "gpt-oss") == 0))
            continue; /* refused */
        double *want = expected(&s, &plans[c]);
        double scale = rig_scale(want, s.n);

        cr_assert(scale > 0.5 && scale < 50, "logits reach %g", scale);
        for (int ranks = 1; ranks <= 4; ranks++) {
            tlp_session_options o = rig_f32(ranks, 1 + ranks % 2);

            expect_close(&s, &plans[c], want, &o, arch);
        }
        free(want);
    }
    ref_close(s.ref);
}

Test(parity, llama)
{
    all_plans("llama");
}
Test(parity, qwen2)
{
    all_plans("qwen2");
}
Test(parity, qwen3)
{
    all_plans("qwen3");
}
Test(parity, granite)
{
    all_plans("granite");
}
Test(parity, smollm3)
{
    all_plans("smollm3");
}
Test(parity, gemma3)
{
    all_plans("gemma3");
}
Test(parity, olmo2)
{
    all_plans("olmo2");
}
Test(parity, qwen3moe)
{
    all_plans("qwen3moe");
}

Test(parity, gpt_oss)
{
    all_plans("gpt-oss");
}

Test(parity, phi3)
{
    all_plans("phi3");
}

Test(parity, glm4)
{
    all_plans("glm4");
}
Test(parity, exaone4)
{
    all_plans("exaone4");
}

Test(parity, gemma2)
{
    all_plans("gemma2");
}

Test(parity, mistral3)
{
    all_plans("mistral3");
}

/* Every plan must differ from every other: else the table above proves less
 * than it seems to. */
Test(parity, plans_differ)
{
    tiny_spec spec = tiny_default();
    subject s = subject_open(&spec);
    double *want[COUNT(plans)];

    for (int c = 0; c < COUNT(plans); c++) {
        want[c] = expected(&s, &plans[c]);
        for (int b = 0; b < c; b++) {
            double best = 0;

            for (size_t i = 0; i < s.n; i++)
                best = fmax(best, fabs(want[b][i] - want[c][i]));
            cr_assert(best > 1000 * TOLERANCE, "%s and %s: only %g apart",
                      plans[b].plan, plans[c].plan, best);
        }
    }
    for (int c = 0; c < COUNT(plans); c++)
        free(want[c]);
    ref_close(s.ref);
}

/* ==== shapes ============================================================= */

static void main_plans_on(const tiny_spec *spec, const char *what, int n_rank)
{
    subject s = subject_open(spec);

    for (int c = 0; c < COUNT(main_plans); c++) {
        double *want = expected(&s, &main_plans[c]);

        for (int ranks = 1; ranks <= n_rank; ranks++) {
            tlp_session_options o = rig_f32(ranks, 1);

            expect_close(&s, &main_plans[c], want, &o, what);
        }
        free(want);
    }
    ref_close(s.ref);
}

Test(parity, odd_heads_and_uneven_splits)
{
    static const struct {
        const char *what;
        int n_embd, n_ff, n_head, n_head_kv, head_dim, n_vocab;
    } shapes[] = {
        { "9 heads on 3", 144, 96, 9, 3, 16, 288 },
        { "7 heads, all kv", 112, 72, 7, 7, 16, 301 },
        { "5 heads on 1", 80, 200, 5, 1, 16, 289 },
        { "wide heads", 64, 100, 4, 2, 40, 350 },
        { "narrow heads", 96, 34, 3, 3, 8, 300 },
        { "one head", 32, 32, 1, 1, 32, 288 },
    };

    for (int i = 0; i < COUNT(shapes); i++)
        for (int a = 0; a < COUNT(archs); a++) {
            tiny_spec s = three_layers(i % 2 ? TLPI_F32 : TLPI_F16);

            s.arch = archs[a];
            s.n_embd = shapes[i].n_embd;
            s.n_ff = shapes[i].n_ff;
            s.n_head = shapes[i].n_head;
            s.n_head_kv = shapes[i].n_head_kv;
            s.head_dim = shapes[i].head_dim;
            s.n_vocab = shapes[i].n_vocab;
            s.tied = i % 3 == 0;
            main_plans_on(&s, shapes[i].what, 3);
        }
}

/* Quantised rows can only be cut at whole blocks; few blocks, many ranks. */
Test(parity, blocks_that_do_not_divide)
{
    tiny_spec s = three_layers(TLPI_Q8_0);

    s.n_embd = 96;
    s.n_head = 3;
    s.n_head_kv = 3;
    s.head_dim = 32;
    s.n_ff = 96;
    main_plans_on(&s, "three blocks", 5);
    s.n_head = s.n_head_kv = 6; /* two kv heads to a block of attn_output */
    s.head_dim = 16;
    main_plans_on(&s, "heads of half a block", 4);
}

Test(parity, rope_variants)
{
    tiny_spec s = three_layers(TLPI_F32);

    s.rope_freqs = true;
    main_plans_on(&s, "rope_freqs", 2);
    s.rope_freqs = false;
    s.rope_scale = 4;
    main_plans_on(&s, "linear scaling", 2);
    s.arch = "qwen2";
    main_plans_on(&s, "linear scaling, qwen2", 2);
    s.arch = "olmo2";
    main_plans_on(&s, "linear scaling beside windows", 2);
    s.window = 0;
    main_plans_on(&s, "linear scaling, olmo2", 2);
    s.rope_scale = 1;
    s.yarn = 8;
    main_plans_on(&s, "YaRN", 2);
    s.arch = "qwen3";
    s.scale_ctx = 8;
    main_plans_on(&s, "YaRN beyond the original context", 2);
    s.yarn_log = 0.75f;
    main_plans_on(&s, "YaRN with another gain", 2);
    s.yarn = 0;
    s.long_gain = 1.5f;
    main_plans_on(&s, "longrope beyond the original context", 3);
    s.scale_ctx = REF_N_CTX;
    main_plans_on(&s, "longrope in the original context", 3);
    s.arch = "mistral3";
    s.long_gain = 0;
    s.yarn = 4;
    s.yarn_log = 1;
    s.scale_ctx = 8;
    main_plans_on(&s, "YaRN beside factors of queries", 3);
}

Test(parity, capped_logits)
{
    tiny_spec s = three_layers(TLPI_F16);

    s.arch = "gemma3";
    s.logit_cap = 2;
    main_plans_on(&s, "gemma3 with a cap of logits", 3);
}

Test(parity, windows_in_every_layer)
{
    tiny_spec s = three_layers(TLPI_F16);

    s.all_windows = true;
    main_plans_on(&s, "llama with windows", 3);
    s.arch = "phi3";
    s.window = 0;
    main_plans_on(&s, "phi3 without windows", 3);
    s.window = 5;
    s.long_gain = 1.25f;
    s.scale_ctx = 8;
    main_plans_on(&s, "phi3 with windows and longrope", 3);
}

/* A bias of attention's output is part of what residual_scale multiplies. */
Test(parity, scaled_biases)
{
    tiny_spec s = three_layers(TLPI_F32);

    s.arch = "granite";
    s.out_bias = true;
    main_plans_on(&s, "granite with output biases", 3);
    subject merged = subject_open(&s);
    static const plan_case c = { "merge:0-1", "merge:0,1 2" };
    double *want = expected(&merged, &c);
    tlp_session_options o = rig_f32(2, 1);
    expect_close(&merged, &c, want, &o, "merged granite");
    free(want);
    ref_close(merged.ref);
}

/* ==== tensor types ======================================================= */

static void expect_type(const char *path, const char *type)
{
    tlp_model *m = NULL;
    tlp_model_info info = { .struct_size = sizeof info };

    CHECK_OK(tlp_model_open(&m, path, NULL));
    CHECK_OK(tlp_model_get_info(&info, m));
    cr_assert_str_eq(info.quant, type);
    tlp_model_free(m);
}

/* Sanitizers take the time of all four: one for each type then. */
static bool left_out(int type, int plan)
{
    return CHECK_SLOWDOWN > 1 && plan != type % COUNT(main_plans);
}

/* Every type with every instruction set, on one and more ranks. */
static void types_from(int begin, int end)
{
    for (int i = begin; i < end; i++) {
        tiny_spec spec = wide(types[i]);
        const char *name = tlpi_dtype_get(types[i])->name;
        subject s = subject_open(&spec);

        expect_type(s.path, name);
        for (int c = 0; c < COUNT(main_plans); c++) {
            if (left_out(i, c))
                continue;
            double *want = expected(&s, &main_plans[c]);

            for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AMX; isa++) {
                tlp_session_options o = rig_f32(1 + (c + isa) % 3, 1 + c % 2);

                o.isa = isa;
                if (rig_has_isa(isa))
                    expect_close(&s, &main_plans[c], want, &o, name);
            }
            free(want);
        }
        ref_close(s.ref);
    }
}

Test(parity, types_float)
{
    types_from(0, 3);
}
Test(parity, types_old_quants)
{
    types_from(3, 8);
}
Test(parity, types_k_quants)
{
    types_from(8, COUNT(types));
}

Test(parity, foreign_instruction_set_is_refused)
{
    if (rig_has_isa(TLP_ISA_AVX512))
        cr_skip("this machine has all instruction sets");
    tiny_spec spec = three_layers(TLPI_F32);
    rig r = rig_open(tiny_make(&spec), "serial", NULL);
    tlp_session_options o = rig_f32(1, 1);
    tlp_session *s = NULL;

    o.isa = TLP_ISA_AVX512;
    CHECK_FAILS(TLP_ENOTSUP, tlp_session_create(&s, r.plan, &o));
    rig_close(&r);
}

/*
 * Default compute rounds activations to 8 bits, whose step is 1/127 of a
 * block's largest value: about half a percent of noise on each input, which
 * sums of random signs keep at that.  Over three layers it grows to 2 percent
 * of the logits; a kernel that mistakes a scale, minimum or nibble is off by
 * more.
 */
Test(parity, default_compute_is_close)
{
    for (int i = 0; i < COUNT(types); i++) {
        tiny_spec spec = wide(types[i]);
        subject s = subject_open(&spec);

        for (int c = 0; c < COUNT(main_plans); c++) {
            if (left_out(i, c))
                continue;
            double *want = expected(&s, &main_plans[c]), noise = 0, power = 0;

            for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AMX; isa++) {
                tlp_session_options o = rig_f32(1 + (c + isa) % 2, 1);

                o.compute = TLP_COMPUTE_DEFAULT;
                o.isa = isa;
                if (!rig_has_isa(isa))
                    continue;
                float *got =
                    rig_run(s.path, main_plans[c].plan, &o, s.ids, N_TOKEN);
                for (size_t j = 0; j < s.n; j++) {
                    noise +=
                        ((double)got[j] - want[j]) * ((double)got[j] - want[j]);
                    power += want[j] * want[j];
                }
                cr_assert(sqrt(noise / power) < 0.03, "%s, %s, %s: noise %g",
                          tlpi_dtype_get(types[i])->name, main_plans[c].plan,
                          rig_isa_name(isa), sqrt(noise / power));
                free(got);
            }
            free(want);
        }
        ref_close(s.ref);
    }
}

/* ==== fused tensors ========================================================
 */

/* Views of a fused tensor's rows are cut, packed, merged and averaged as
 * tensors of their own: equal bits. */
Test(parity, fused_tensors)
{
    static const char *const some[] = { "serial", "lp:0-1", "asym:0-2",
                                        "merge:0-1" };

    for (int i = 0; i < COUNT(types); i++) {
        tiny_spec spec = wide(types[i]);

        spec.arch = archs[i % COUNT(archs)];
        subject s = subject_open(&spec);
        spec.fused = true;
        const char *fused = tiny_make(&spec);
        for (int n_rank = 1; n_rank <= 3; n_rank++) {
            const char *plan = some[(i + n_rank) % COUNT(some)];
            tlp_session_options o = rig_f32(n_rank, 1);

            if (strstr(plan, "merge") && strstr(spec.arch, "moe"))
                continue;
            float *want = rig_run(s.path, plan, &o, s.ids, N_TOKEN);
            float *got = rig_run(fused, plan, &o, s.ids, N_TOKEN);

            cr_assert_eq(memcmp(got, want, s.n * sizeof *got), 0,
                         "%s, %s, %s, %d ranks: other bits", spec.arch,
                         tlpi_dtype_get(types[i])->name, plan, n_rank);
            free(got);
            free(want);
        }
        ref_close(s.ref);
    }
}

/* ==== containers ========================================================= */

/* The same weights in other wrapping give the same bits. */
Test(parity, files)
{
    tiny_spec spec = three_layers(TLPI_Q4_0);
    tlp_session_options o = rig_f32(2, 1);
    subject s = subject_open(&spec);
    float *plain = rig_run(s.path, "par:0-1", &o, s.ids, N_TOKEN);

    for (int i = 0; i < 3; i++) {
        tiny_spec other = spec;

        other.version = i == 0 ? 2 : 3;
        other.n_split = i == 0 ? 1 : i == 1 ? 2 : 5;
        float *got = rig_run(tiny_make(&other), "par:0-1", &o, s.ids, N_TOKEN);
        cr_assert_eq(memcmp(got, plain, s.n * sizeof *got), 0,
                     "version %u, %d files: other bits", other.version,
                     other.n_split);
        free(got);
    }
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    rig r = { 0 };
    mo.no_mmap = 1;
    CHECK_OK(tlp_model_open(&r.model, s.path, &mo));
    CHECK_OK(tlp_plan_parse(&r.plan, r.model, "par:0-1"));
    CHECK_OK(tlp_session_create(&r.session, r.plan, &o));
    r.n_vocab = (size_t)spec.n_vocab;
    float *got = rig_eval(&r, 0, s.ids, N_TOKEN);
    cr_assert_eq(memcmp(got, plain, s.n * sizeof *got), 0, "no_mmap differs");
    free(got);
    free(plain);
    rig_close(&r);
    ref_close(s.ref);
}
