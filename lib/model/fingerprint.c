/*
 * fingerprint.c - tell the weights of two models apart by a SHA-256 over
 * hyper-parameters and, for every tensor in file order, name, type, shape and a
 * sample of its bytes.  The sample touches at most 18 places of a tensor, so
 * that large files are not read through; how a set is split does not matter.
 */
#include <pthread.h>
#include <string.h>

#include "model/model.h"
#include "base/sha256.h"
#include "file/mapfile.h"

#define END_BYTES 256 /* hashed at either end of a tensor */
#define SPOT_BYTES 64 /* and at each of N_SPOT places between */
#define N_SPOT 16

/* The text is made at the first request, so that opening a model does not wait
 * for pages from a disk. */
struct tlpi_fingerprint {
    pthread_mutex_t lock;
    char text[TLPI_HASH_TEXT]; /* "" until made */
};

static void add_u64(tlpi_sha256 *s, uint64_t x)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(x >> (8 * i));
    tlpi_sha256_add(s, bytes, sizeof bytes);
}

static void add_f32(tlpi_sha256 *s, float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    add_u64(s, bits);
}

static void add_text(tlpi_sha256 *s, const char *text)
{
    add_u64(s, strlen(text));
    tlpi_sha256_add(s, text, strlen(text));
}

static void add_hparam(tlpi_sha256 *s, const tlpi_hparams *hp,
                       const tlpi_hparam *row)
{
    double value = tlpi_hparam_value(hp, row);

    if (row->identity == TLPI_SAME_MODEL ||
        (row->identity == TLPI_OTHER_IF_USED && value == row->neutral))
        return;
    if (row->identity == TLPI_OTHER_IF_USED)
        add_text(s, row->name);
    if (row->is_float)
        add_f32(s, (float)value);
    else
        add_u64(s, (uint64_t)value);
}

static void add_hparams(tlpi_sha256 *s, const tlpi_hparams *hp)
{
    add_text(s, tlpi_arch_get(hp)->name);
    for (size_t i = 0; i < TLPI_N_HPARAM; i++)
        add_hparam(s, hp, &tlpi_hparam_table[i]);
}

static void add_sample(tlpi_sha256 *s, const uint8_t *data, size_t n)
{
    if (n <= 2 * END_BYTES + N_SPOT * SPOT_BYTES) {
        tlpi_sha256_add(s, data, n);
        return;
    }
    size_t step = (n - 2 * END_BYTES) / N_SPOT;
    tlpi_sha256_add(s, data, END_BYTES);
    for (size_t i = 0; i < N_SPOT; i++)
        tlpi_sha256_add(s,
                        data + END_BYTES + i * step + (step - SPOT_BYTES) / 2,
                        SPOT_BYTES);
    tlpi_sha256_add(s, data + n - END_BYTES, END_BYTES);
}

static void add_tensor(tlpi_sha256 *s, const tlpi_tensor *t)
{
    add_text(s, t->name);
    add_u64(s, (uint64_t)t->type);
    for (int i = 0; i < 4; i++)
        add_u64(s, (uint64_t)t->ne[i]);
    add_sample(s, t->data, t->n_bytes);
}

static void make_text(const tlp_model *m, char out[TLPI_HASH_TEXT])
{
    tlpi_sha256 s;

    tlpi_sha256_init(&s);
    add_hparams(&s, &m->hp);
    for (size_t f = 0; f < m->n_file; f++) {
        tlpi_map_scatter(m->file[f]->map, true);
        for (size_t i = 0; i < m->file[f]->n_tensor; i++)
            add_tensor(&s, &m->file[f]->tensor[i]);
        tlpi_map_scatter(m->file[f]->map, false);
    }
    tlpi_sha256_text(&s, out);
}

tlp_status tlpi_fingerprint_create(struct tlpi_fingerprint **out,
                                   const tlpi_env *env)
{
    struct tlpi_fingerprint *f = tlpi_calloc(env, 1, sizeof *f);

    *out = NULL;
    if (!f)
        return tlpi_fail_nomem_for("the fingerprint of a model");
    if (pthread_mutex_init(&f->lock, NULL) != 0) {
        tlpi_free(env, f);
        return tlpi_fail_nomem_for("the fingerprint of a model");
    }
    *out = f;
    return TLP_OK;
}

void tlpi_fingerprint_free(const tlpi_env *env, struct tlpi_fingerprint *f)
{
    if (!f)
        return;
    pthread_mutex_destroy(&f->lock);
    tlpi_free(env, f);
}

const char *tlpi_model_fingerprint(const tlp_model *m)
{
    struct tlpi_fingerprint *f = m->fingerprint;

    if (m->vocab_only)
        return "";
    pthread_mutex_lock(&f->lock);
    if (f->text[0] == '\0')
        make_text(m, f->text);
    pthread_mutex_unlock(&f->lock);
    return f->text;
}
