/*
 * cmd_info.c - tlp info: properties of a model, cost of a plan, the GPUs of
 * this machine, and what the library loads.
 */
#include <stdlib.h>

#include "commands.h"
#include "devices.h"
#include "json.h"

static const char *const mode_names[] = {
    [TLP_MODE_SERIAL] = "serial",   [TLP_MODE_LP] = "lp",
    [TLP_MODE_PAR] = "par",         [TLP_MODE_ASYM] = "asym",
    [TLP_MODE_LP_CODE] = "lp-code", [TLP_MODE_MERGE] = "merge",
};

static const char *mode_name(int32_t mode)
{
    size_t n = sizeof mode_names / sizeof mode_names[0];

    return mode >= 0 && (size_t)mode < n ? mode_names[mode] : "unknown";
}

/* Get the index-th stage; false past the end. */
static bool get_stage(const engine *e, size_t index, tlp_stage_info *stage)
{
    *stage = (tlp_stage_info){ .struct_size = sizeof *stage };
    return tlp_plan_get_stage(stage, e->plan, index) == TLP_OK;
}

/* ==== for people ========================================================= */

static void print_names(const char *head, const char *(*name)(size_t))
{
    printf("%s", head);
    for (size_t i = 0; name(i); i++)
        printf(" %s", name(i));
    putchar('\n');
}

static void print_supported(void)
{
    print_names("models      ", tlp_arch_name);
    print_names("tensors     ", tlp_type_name);
}

static void print_model(const engine *e)
{
    const tlp_model_info *i = &e->info;

    printf("name         ");
    cli_print_clean(stdout, i->name[0] ? i->name : "(none)");
    printf("\narch         %s, %s\n", i->arch, i->quant);
    printf("size         %lld parameters, %.1f MB in %d tensors\n",
           (long long)i->n_param, (double)i->n_bytes / 1e6, i->n_tensor);
    printf("layers       %d, n_embd %d, n_ff %d\n", i->n_layer, i->n_embd,
           i->n_ff);
    if (i->n_expert)
        printf("experts      %d in each layer, %d for a token\n", i->n_expert,
               i->n_expert_used);
    printf("heads        %d of %d, %d kv\n", i->n_head, i->head_dim,
           i->n_head_kv);
    printf("vocabulary   %d tokens, bos %d, eos %d, end of turn %d\n",
           i->n_vocab, i->bos, i->eos, i->eot);
    printf("context      %d tokens in training\n", i->n_ctx_train);
    printf("fingerprint  %s\n", i->fingerprint);
}

/* The half-layers of TLP_NOSYNC_*, as in the text form of plans. */
static const char *half_name(int nosync)
{
    return nosync == TLP_NOSYNC_ATTN  ? "a"
           : nosync == TLP_NOSYNC_FFN ? "f"
                                      : "";
}

static void print_plan(const engine *e, const tlp_plan_cost *c)
{
    tlp_stage_info s;

    printf("\nplan         ");
    cli_print_clean(stdout, e->plan_text ? e->plan_text : "serial");
    printf("\nstages       %d for %d layers\n", c->effective_depth, c->n_layer);
    for (size_t i = 0; get_stage(e, i, &s); i++) {
        if (s.n_member < 2 && !s.nosync)
            continue;
        printf("             %s",
               s.nosync ? "no exchange after" : mode_name(s.mode));
        for (int32_t k = 0; k < s.n_member; k++)
            printf(" %d%s", s.layers[k], half_name(s.nosync));
        putchar('\n');
    }
    printf("on %d rank%s    per token: %d exchange%s in a row; %d all-reduces, "
           "%d inner, %d sends, %.1f kB\n",
           c->n_rank, c->n_rank == 1 ? " " : "s", c->exchanges,
           c->exchanges == 1 ? "" : "s", c->allreduces, c->inner_allreduces,
           c->sends, (double)c->comm_bytes / 1e3);
    printf("weights      %.1f MB read per token, %.1f MB by the widest rank\n",
           (double)c->sum_rank_bytes / 1e6, (double)c->max_rank_bytes / 1e6);
}

static void print_meta(const engine *e)
{
    const char *key;

    putchar('\n');
    for (size_t i = 0; (key = tlp_model_meta_key(e->model, i)); i++) {
        size_t len = 0;
        char *value = engine_get_meta(e, key, &len);

        cli_print_clean(stdout, key);
        printf(" = ");
        cli_print_clean(stdout, value ? value : "?");
        putchar('\n');
        free(value);
    }
}

static void print_tensors(const engine *e)
{
    putchar('\n');
    for (int32_t i = 0; i < e->info.n_tensor; i++) {
        tlp_tensor_info t = { .struct_size = sizeof t };

        if (tlp_model_get_tensor(&t, e->model, (size_t)i))
            break;
        cli_print_clean(stdout, t.name);
        printf("  %s ", t.type);
        for (int32_t d = 0; d < t.n_dim; d++)
            printf("%s%lld", d ? " x " : "", (long long)t.ne[d]);
        putchar('\n');
    }
}

/* ==== for programs ======================================================= */

static void json_names(json *j, const char *key, const char *(*name)(size_t))
{
    json_open(j, key, '[');
    for (size_t i = 0; name(i); i++)
        json_text(j, NULL, name(i));
    json_close(j, ']');
}

static void json_supported(json *j)
{
    json_names(j, "archs", tlp_arch_name);
    json_names(j, "types", tlp_type_name);
}

static void json_model(json *j, const engine *e, const char *digest)
{
    const tlp_model_info *i = &e->info;

    json_open(j, "model", '{');
    json_text(j, "name", i->name);
    json_text(j, "arch", i->arch);
    json_text(j, "quant", i->quant);
    json_text(j, "fingerprint", i->fingerprint);
    if (digest[0])
        json_text(j, "digest", digest);
    json_int(j, "n_param", i->n_param);
    json_int(j, "n_bytes", i->n_bytes);
    json_int(j, "n_tensor", i->n_tensor);
    json_int(j, "n_layer", i->n_layer);
    json_int(j, "n_embd", i->n_embd);
    json_int(j, "n_ff", i->n_ff);
    json_int(j, "n_expert", i->n_expert);
    json_int(j, "n_expert_used", i->n_expert_used);
    json_int(j, "n_head", i->n_head);
    json_int(j, "n_head_kv", i->n_head_kv);
    json_int(j, "head_dim", i->head_dim);
    json_int(j, "n_vocab", i->n_vocab);
    json_int(j, "n_ctx_train", i->n_ctx_train);
    json_int(j, "bos", i->bos);
    json_int(j, "eos", i->eos);
    json_int(j, "eot", i->eot);
    json_int(j, "pad", i->pad);
    json_close(j, '}');
}

static void json_plan(json *j, const engine *e, const tlp_plan_cost *c)
{
    tlp_stage_info s;

    json_open(j, "plan", '{');
    json_text(j, "plan", e->plan_text ? e->plan_text : "serial");
    json_int(j, "n_rank", c->n_rank);
    json_int(j, "effective_depth", c->effective_depth);
    json_int(j, "n_layer", c->n_layer);
    json_int(j, "allreduces_per_token", engine_allreduces(c));
    json_int(j, "exchanges_per_token", c->exchanges);
    json_int(j, "allreduces", c->allreduces);
    json_int(j, "inner_allreduces", c->inner_allreduces);
    json_int(j, "sends", c->sends);
    json_int(j, "comm_bytes", (int64_t)c->comm_bytes);
    json_int(j, "max_rank_bytes", (int64_t)c->max_rank_bytes);
    json_int(j, "sum_rank_bytes", (int64_t)c->sum_rank_bytes);
    json_open(j, "stages", '[');
    for (size_t i = 0; get_stage(e, i, &s); i++) {
        json_open(j, NULL, '{');
        json_text(j, "mode", mode_name(s.mode));
        json_open(j, "layers", '[');
        for (int32_t k = 0; k < s.n_member; k++)
            json_int(j, NULL, s.layers[k]);
        json_close(j, ']');
        if (s.n_track) {
            json_int(j, "nosync", s.nosync);
            json_int(j, "n_track", s.n_track);
        }
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
}

static void json_meta(json *j, const engine *e)
{
    const char *key;

    json_open(j, "meta", '{');
    for (size_t i = 0; (key = tlp_model_meta_key(e->model, i)); i++) {
        size_t len = 0;
        char *value = engine_get_meta(e, key, &len);

        json_text(j, key, value ? value : "");
        free(value);
    }
    json_close(j, '}');
}

static void json_tensors(json *j, const engine *e)
{
    json_open(j, "tensors", '[');
    for (int32_t i = 0; i < e->info.n_tensor; i++) {
        tlp_tensor_info t = { .struct_size = sizeof t };

        if (tlp_model_get_tensor(&t, e->model, (size_t)i))
            break;
        json_open(j, NULL, '{');
        json_text(j, "name", t.name);
        json_text(j, "type", t.type);
        json_open(j, "ne", '[');
        for (int32_t d = 0; d < t.n_dim; d++)
            json_int(j, NULL, t.ne[d]);
        json_close(j, ']');
        json_int(j, "n_bytes", (int64_t)t.n_bytes);
        json_int(j, "file", t.file);
        json_close(j, '}');
    }
    json_close(j, ']');
}

/* ========================================================================= */

typedef struct info_options {
    bool json, meta, tensors;
    char digest[72]; /* "" if it is not wanted */
    bool with_digest;
    bool devices; /* list GPUs; without a model list only these */
    bool arch;    /* list what the library loads; without a model only this */
} info_options;

/* Is there something to show without a model? */
static bool needs_no_model(const info_options *o)
{
    return o->devices || o->arch;
}

static void print_all(const engine *e, const tlp_plan_cost *cost,
                      const devices *d, const info_options *o)
{
    if (o->arch)
        print_supported();
    if (o->devices)
        devices_print(d);
    if (e->model) {
        if (needs_no_model(o))
            putchar('\n');
        print_model(e);
        if (o->digest[0])
            printf("digest       %s\n", o->digest);
        print_plan(e, cost);
        if (o->meta)
            print_meta(e);
        if (o->tensors)
            print_tensors(e);
    }
}

static void json_all(const engine *e, const tlp_plan_cost *cost,
                     const devices *d, const info_options *o)
{
    json j = { .file = stdout };

    json_open(&j, NULL, '{');
    if (o->arch)
        json_supported(&j);
    if (o->devices)
        devices_json(d, &j);
    if (e->model) {
        json_model(&j, e, o->digest);
        json_plan(&j, e, cost);
        if (o->meta)
            json_meta(&j, e);
        if (o->tensors)
            json_tensors(&j, e);
    }
    json_close(&j, '}');
    putchar('\n');
}

static int open_model(engine *e, tlp_plan_cost *cost)
{
    int rc = engine_open_model(e, false);

    if (rc == CLI_OK)
        rc = engine_parse_plan(e, e->plan_text, &e->plan);
    return rc == CLI_OK ? engine_plan_cost(e, e->plan, cost) : rc;
}

static int find_digest(const engine *e, info_options *o)
{
    size_t n = 0;
    tlp_status st =
        tlp_model_get_digest(o->digest, sizeof o->digest, &n, e->model);

    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

int cmd_info(int argc, char **argv)
{
    engine e = ENGINE_INIT;
    info_options o = { 0 };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(e),
        ENGINE_PLAN_OPTION(e),
        { CLI_INT, 0, "ranks", &e.n_rank, "N",
          "ranks to lay the plan out on (1)", 1, 64 },
        { CLI_FLAG, 0, "meta", &o.meta, NULL, "list the metadata", 0, 0 },
        { CLI_FLAG, 0, "tensors", &o.tensors, NULL, "list the tensors", 0, 0 },
        { CLI_FLAG, 0, "digest", &o.with_digest, NULL,
          "hash every byte of every tensor", 0, 0 },
        { CLI_FLAG, 0, "devices", &o.devices, NULL,
          "list the GPUs; needs no model", 0, 0 },
        { CLI_FLAG, 0, "arch", &o.arch, NULL,
          "list the architectures and the types of tensors that tlp loads; "
          "needs no model",
          0, 0 },
        { CLI_FLAG, 0, "json", &o.json, NULL, "print JSON", 0, 0 },
        { .kind = CLI_END },
    };
    tlp_plan_cost cost;
    devices found = { .n = 0 };

    e.n_rank = 1;

    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    if (needs_no_model(&o) && !e.model_path &&
        (o.meta || o.tensors || o.with_digest || e.plan_text))
        return cli_usage("no model: -m FILE is required");
    rc = o.devices ? devices_find(&found) : CLI_OK;
    if (rc == CLI_OK && (e.model_path || !needs_no_model(&o)))
        rc = open_model(&e, &cost);
    if (rc == CLI_OK && e.model && o.with_digest)
        rc = find_digest(&e, &o);
    if (rc == CLI_OK) {
        (o.json ? json_all : print_all)(&e, &cost, &found, &o);
        rc = cli_close_stdout();
    }
    engine_close(&e);
    return rc;
}
