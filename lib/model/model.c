/*
 * model.c - open a model: files, hyper-parameters, weights, vocabulary.
 */
#include "model/model.h"

#include <string.h>

#include "backend/weight_cache.h"
#include "file/mapfile.h"
#include "model/digest.h"
#include "text/vocab.h"

static void destroy(tlp_model *m)
{
    tlpi_env env = m->env;

    tlpi_weight_cache_free(m->weight_cache);
    tlpi_digest_free(&env, m->digest);
    tlpi_fingerprint_free(&env, m->fingerprint);
    tlpi_vocab_free(m->vocab);
    tlpi_free(&env, m->w.view);
    tlpi_free(&env, m->w.layer);
    for (size_t f = 0; f < m->n_file; f++)
        tlpi_gguf_close(m->file[f]);
    tlpi_free(&env, m->file);
    tlpi_free(&env, m->path);
    tlpi_free(&env, m);
}

static tlp_status create(tlp_model **out, const char *path,
                         const tlp_model_options *opts)
{
    tlpi_env env;
    tlp_status st =
        tlpi_env_init(&env, &opts->allocator, opts->log, opts->log_data);

    if (st != TLP_OK)
        return st;
    tlp_model *m = tlpi_calloc(&env, 1, sizeof *m);
    if (!m)
        return tlpi_fail_nomem_for("a model");
    m->env = env;
    m->refs = 1;
    m->vocab_only = opts->vocab_only != 0;
    m->trust_sample = opts->trust_sample != 0;
    *out = m;
    m->path = tlpi_strndup(&m->env, path, strlen(path));
    return m->path ? TLP_OK : tlpi_fail_nomem_for("a model");
}

static tlp_status create_vocab(tlp_model *m)
{
    tlp_status st = tlpi_vocab_create(&m->vocab, &m->env, m->file[0],
                                      m->vocab_only ? 0 : m->hp.n_vocab);

    if (st != TLP_OK)
        return st;
    int n = tlpi_vocab_size(m->vocab);
    if (m->vocab_only)
        m->hp.n_vocab = n;
    if (n > m->hp.n_vocab)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key tokenizer.ggml.tokens: %d tokens for %d rows "
                         "of token_embd.weight",
                         m->path, n, m->hp.n_vocab);
    return TLP_OK;
}

tlp_status tlp_model_open(tlp_model **out, const char *path,
                          const tlp_model_options *opts)
{
    tlp_model *m = NULL;
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !path)
        return tlpi_fail(TLP_EINVAL, "out and path are required");
    TLP_TRY(tlpi_options_read(&o, sizeof o, opts, "tlp_model_options"));
    TLP_TRY(tlpi_flag_check("model option no_mmap", o.no_mmap));
    TLP_TRY(tlpi_flag_check("model option vocab_only", o.vocab_only));
    TLP_TRY(tlpi_flag_check("model option trust_sample", o.trust_sample));
    TLP_TRY(create(&m, path, &o));
    TLP_TRY(tlpi_model_open_files(m, &o));
    TLP_TRY(tlpi_hparams_read(&m->hp, m->file[0]));
    TLP_TRY(tlpi_model_check_keys(m));
    if (!m->vocab_only)
        TLP_TRY(tlpi_weights_bind(m));
    TLP_TRY(create_vocab(m));
    TLP_TRY(tlpi_fingerprint_create(&m->fingerprint, &m->env));
    TLP_TRY(tlpi_digest_create(&m->digest, &m->env));
    TLP_TRY(tlpi_weight_cache_create(&m->weight_cache, &m->env));
    if (o.progress && o.progress(1.0, o.progress_data) != 0)
        TLP_TRY(tlpi_fail(TLP_ECANCELED, "%s: opening was canceled", path));
    *out = m;
    m = NULL;
done:
    tlp_model_free(m);
    return st;
}

tlp_status tlpi_model_open_like(tlp_model **out, const tlp_model *m,
                                const char *path, bool quiet)
{
    const tlpi_map *map = m->file[m->n_file - 1]->map;
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;

    o.allocator = m->env.mem;
    o.log = quiet ? NULL : m->env.log;
    o.log_data = m->env.log_data;
    o.no_mmap = map && !map->mapped;
    o.trust_sample = m->trust_sample;
    return tlp_model_open(out, path, &o);
}

tlp_model *tlpi_model_retain(tlp_model *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void tlp_model_free(tlp_model *model)
{
    if (model &&
        atomic_fetch_sub_explicit(&model->refs, 1, memory_order_acq_rel) == 1)
        destroy(model);
}

void tlpi_model_drop_pages(const tlp_model *m, const tlpi_tensor *t)
{
    if (m->file[t->file]->map)
        tlpi_map_drop(m->file[t->file]->map, t->data, t->n_bytes);
}
