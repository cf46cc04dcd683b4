/*
 * folder.c - see folder.h.
 */
#include "hf/folder.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/number.h"
#include "hf/hf_tensors.h"

#define FILE_MXFP4 38    /* general.file_type of experts in MXFP4 */
#define LAYOUT_VERSION 2 /* general.quantization_version */

bool tlpi_folder_is(const char *path)
{
    struct stat s;

    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

/* ==== keys that the tensors decide ======================================= */

static const tlpi_tensor *find(const tlpi_folder *f, const char *name)
{
    const tlpi_tensor *t = NULL;

    for (size_t i = 1; i < f->n_file && !t; i++)
        t = tlpi_gguf_tensor(f->file[i], name);
    return t;
}

/* "135M": two digits at least. */
static void format_size(char *out, size_t cap, double n)
{
    static const struct {
        double size;
        char letter;
    } unit[] = { { 1e12, 'T' }, { 1e9, 'B' }, { 1e6, 'M' }, { 1e3, 'K' } };
    size_t i = 0;

    while (i < 3 && n <= unit[i].size)
        i++;
    n /= unit[i].size;
    tlpi_snprintf(out, cap, "%.*f%c",
                  n <= 0.5  ? 2
                  : n < 9.5 ? 1
                            : 0,
                  n, unit[i].letter);
}

/* The type of the first matrix stands for the file. */
static void add_facts(tlpi_hf_model *m, const tlpi_folder *f)
{
    tlpi_dtype type = TLPI_F16;
    double n_param = 0; /* of experts, those of one */
    char size[32], label[48];
    bool found = false;

    for (size_t i = 1; i < f->n_file; i++) {
        for (size_t k = 0; k < f->file[i]->n_tensor; k++) {
            const tlpi_tensor *t = &f->file[i]->tensor[k];

            double n = (double)tlpi_hf_count(t);
            bool stacked = strstr(t->name, "_exps.") != NULL;
            n_param += stacked ? n / (double)t->ne[t->n_dim - 1] : n;
            if (t->n_dim > 1 && !found && !strstr(t->name, "ffn_gate_inp.") &&
                !strstr(t->name, ".bias")) {
                type = t->type;
                found = true;
            }
        }
    }
    format_size(size, sizeof size, n_param);
    if (m->n_expert > 0)
        snprintf(label, sizeof label, "%dx%s", m->n_expert, size);
    else
        snprintf(label, sizeof label, "%s", size);
    tlpi_build_str(&m->keys, "general.size_label", label, strlen(label));
    tlpi_build_u32(&m->keys, "general.file_type",
                   m->packed           ? FILE_MXFP4
                   : type == TLPI_F32  ? 0
                   : type == TLPI_BF16 ? 32
                                       : 1);
    tlpi_build_u32(&m->keys, "general.quantization_version", LAYOUT_VERSION);
}

/* What config.json says of the tensors must hold. */
static tlp_status check(const tlpi_hf_model *m, const tlpi_folder *f,
                        int n_bias)
{
    const tlpi_hf_at at = m->text;

    if (!m->tied && !m->tie_open && !find(f, "output.weight"))
        return tlpi_hf_refuse(TLP_EFORMAT, &at, "tie_word_embeddings",
                              "true expected: there is no lm_head.weight");
    if (n_bias != m->n_layer * m->n_bias)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: %d biases of attention, %d expected in %d layers",
                         m->folder, n_bias, m->n_layer * m->n_bias, m->n_layer);
    return TLP_OK;
}

/* ==== files ============================================================== */

/* Room for the first file, which is made last, n files of tensors, and one of
 * stacks. */
static tlp_status make_room(tlpi_folder *out, const tlpi_env *env, size_t n)
{
    out->file = tlpi_calloc(env, n + 2, sizeof *out->file);
    if (!out->file)
        return tlpi_fail_nomem_for("the files of a model");
    out->n_file = 1;
    return TLP_OK;
}

static tlp_status open_shards(tlpi_folder *out, const tlpi_hf_model *m,
                              const tlpi_folder_options *opts, int *n_bias)
{
    tlpi_hf_stacks stacks = { .env = m->env };
    tlpi_hf_index index;
    tlp_status st;

    TLP_TRY(tlpi_hf_index_read(&index, m));
    TLP_TRY(make_room(out, m->env, index.n_name));
    for (size_t i = 0; i < index.n_name; i++) {
        TLP_TRY(tlpi_hf_shard_open(&out->file[out->n_file], m, &index,
                                   index.name[i], opts->no_mmap, n_bias,
                                   &stacks));
        out->n_file++;
        if (opts->opened)
            TLP_TRY(opts->opened(opts->arg, (int)i + 1, (int)index.n_name));
    }
    TLP_TRY(tlpi_hf_stacks_make(&out->file[out->n_file], &stacks, m));
    out->n_file += out->file[out->n_file] != NULL;
done:
    tlpi_hf_stacks_free(&stacks);
    tlpi_hf_index_free(&index);
    return st;
}

static tlp_status add_rope(tlpi_hf_model *m)
{
    static const char *const names[] = { "rope_freqs.weight",
                                         "rope_factors_long.weight",
                                         "rope_factors_short.weight" };
    const size_t n = (size_t)m->n_rot / 2;
    tlp_status st = tlpi_build_reserve(&m->keys, (size_t)m->n_rope);

    for (int i = 0; i < m->n_rope && st == TLP_OK; i++) {
        const tlpi_tensor t = { .name = names[m->n_rope == 1 ? 0 : 1 + i],
                                .type = TLPI_F32,
                                .n_dim = 1,
                                .ne = { (int64_t)n, 1, 1, 1 },
                                .data = m->rope + (size_t)i * n,
                                .n_bytes = n * sizeof *m->rope };

        tlpi_build_tensor(&m->keys, &t, (tlpi_gguf_source){ .at = 0 });
    }
    return st;
}

static tlp_status open_all(tlpi_folder *out, tlpi_hf_model *m,
                           const tlpi_folder_options *opts)
{
    int n_bias = 0;
    tlp_status st;

    TLP_TRY(tlpi_hf_config_read(m));
    if (opts->vocab_only) {
        TLP_TRY(make_room(out, m->env, 0));
    } else {
        TLP_TRY(open_shards(out, m, opts, &n_bias));
        TLP_TRY(check(m, out, n_bias));
        add_facts(m, out);
    }
    TLP_TRY(tlpi_hf_tokenizer_read(m));
    if (!opts->vocab_only)
        TLP_TRY(add_rope(m));
    TLP_TRY(
        tlpi_build_finish(&out->file[0], &m->keys, m->folder, NULL, m->rope));
    m->rope = NULL;
done:
    return st;
}

tlp_status tlpi_folder_open(tlpi_folder *out, const tlpi_env *env,
                            const char *path, const tlpi_folder_options *opts)
{
    tlpi_hf_model m = { .env = env, .folder = path, .keys = { .env = env } };

    m.keys.kv.env = env;
    *out = (tlpi_folder){ .file = NULL };

    tlp_status st = open_all(out, &m, opts);

    tlpi_free(env, m.rope);
    tlpi_build_end(&m.keys);
    tlpi_hf_close(&m.config);
    return st;
}
