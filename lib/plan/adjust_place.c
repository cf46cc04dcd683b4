/*
 * adjust_place.c - turn the tensors of an image into the adjustments of a plan:
 * check each tensor against the plan and its model, and store a view of it in
 * its member or stage.
 */
#include "plan/adjust.h"

#include <stdlib.h>
#include <string.h>

/* Shape of a tensor, and type of the field that holds it. */
typedef enum tensor_form {
    VECTOR, /* [d], const tlpi_tensor * */
    NUMBER, /* [1], float */
    DOWN,   /* [r][d], tlpi_tensor */
    UP      /* [d][r], tlpi_tensor */
} tensor_form;

typedef struct tensor_kind {
    const char *name;
    tensor_form form;
    size_t at; /* offset in tlpi_member_adjust; not used for out.up */
} tensor_kind;

#define OUT_UP SIZE_MAX

static const tensor_kind kinds[] = {
    { "attn_norm.weight", VECTOR, offsetof(tlpi_member_adjust, attn_norm) },
    { "ffn_norm.weight", VECTOR, offsetof(tlpi_member_adjust, ffn_norm) },
    { "post_attention_norm.weight", VECTOR,
      offsetof(tlpi_member_adjust, attn_post) },
    { "post_ffw_norm.weight", VECTOR, offsetof(tlpi_member_adjust, ffn_post) },
    { "attn_gain", NUMBER, offsetof(tlpi_member_adjust, attn_gain) },
    { "ffn_gain", NUMBER, offsetof(tlpi_member_adjust, ffn_gain) },
    { "attn_in.down", DOWN, offsetof(tlpi_member_adjust, attn_in.down) },
    { "attn_in.up", UP, offsetof(tlpi_member_adjust, attn_in.up) },
    { "ffn_in.down", DOWN, offsetof(tlpi_member_adjust, ffn_in.down) },
    { "ffn_in.up", UP, offsetof(tlpi_member_adjust, ffn_in.up) },
    { "out.down", DOWN, offsetof(tlpi_member_adjust, out_down) },
    { "out.up", UP, OUT_UP },
};

/* ==== tensors ============================================================ */

/* What a tensor's name says: "blk.N.KIND", or "blk.N.track.T.KIND" for a layer
 * in tracks. */
typedef struct tensor_name {
    long layer;
    long track; /* -1: none is named */
    const tensor_kind *kind;
} tensor_name;

/* PREFIX, a number without leading zeros, and a dot: *number, and the text
 * behind them.  NULL if the text is another. */
static const char *read_index(const char *text, const char *prefix,
                              long *number)
{
    size_t n = strlen(prefix);
    char *end;

    if (strncmp(text, prefix, n) != 0 || text[n] < '0' || text[n] > '9')
        return NULL;
    *number = strtol(text + n, &end, 10);
    if (*end != '.' || (text[n] == '0' && end > text + n + 1))
        return NULL;
    return end + 1;
}

static bool read_name(const char *text, tensor_name *out)
{
    const char *behind;

    text = read_index(text, "blk.", &out->layer);
    if (!text)
        return false;
    out->track = -1;
    behind = read_index(text, "track.", &out->track);
    if (behind)
        text = behind;
    for (size_t i = 0; i < TLPI_COUNT(kinds); i++)
        if (strcmp(kinds[i].name, text) == 0) {
            out->kind = &kinds[i];
            return true;
        }
    return false;
}

int tlpi_adjust_n_place(const tlp_plan *p, int stage)
{
    return tlpi_plan_has_tracks(p, stage) ? p->n_track
                                          : p->stage[stage].n_member;
}

static bool runs_layer(const tlpi_stage *s, long layer, int *member)
{
    for (int j = 0; j < s->n_member; j++)
        if (s->layers[j] == layer) {
            *member = j;
            return true;
        }
    return false;
}

/* The adjustments of a stage's layer, or of a track of it; *stage gets the
 * stage. */
static tlp_status find_member(tlpi_adjust *a, const tlp_plan *p,
                              const tensor_name *name, int *stage,
                              tlpi_member_adjust **out)
{
    tlpi_member_adjust *m = a->member;
    int member = 0, i = 0;

    for (; i < p->n_stage && !runs_layer(&p->stage[i], name->layer, &member);
         i++)
        m += tlpi_adjust_n_place(p, i);
    if (i == p->n_stage)
        return tlpi_fail(TLP_EMISMATCH, "the layer does not run in this plan");
    if (tlpi_plan_has_tracks(p, i) != (name->track >= 0))
        return name->track >= 0
                   ? tlpi_fail(TLP_EMISMATCH,
                               "the layer does not run in tracks")
                   : tlpi_fail(TLP_EMISMATCH,
                               "the layer runs in tracks, blk.%ld.track.T "
                               "expected",
                               name->layer);
    if (name->track >= p->n_track && name->track >= 0)
        return tlpi_fail(TLP_EMISMATCH, "the plan has %d tracks", p->n_track);
    *stage = i;
    *out = m + TLPI_MAX(name->track, 0) + (name->track < 0 ? member : 0);
    a->stage[i].member = m;
    return TLP_OK;
}

static tlp_status check_shape(const tlpi_tensor *t, tensor_form f, int64_t d,
                              const char *where)
{
    static const char *const shapes[] = { "[d]", "[1]", "[rank][d]",
                                          "[d][rank]" };
    bool pair = f == DOWN || f == UP;
    int64_t r = f == DOWN ? t->ne[1] : t->ne[0]; /* rank of the pair */
    int64_t cols = f == NUMBER ? 1 : f == UP ? r : d;
    int64_t rows = f == UP ? d : f == DOWN ? r : 1;

    if (t->n_dim != (pair ? 2 : 1) || t->ne[0] != cols || t->ne[1] != rows)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: %d dims, [%lld][%lld]; %s with d = "
                         "%lld expected",
                         where, t->name, t->n_dim, (long long)t->ne[1],
                         (long long)t->ne[0], shapes[f], (long long)d);
    if (pair && r > d)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: rank %lld, at most %lld expected",
                         where, t->name, (long long)r, (long long)d);
    if (t->type != TLPI_F32 && !(pair && t->type == TLPI_F16))
        return tlpi_fail(TLP_ENOTSUP, "%s: tensor %s: type %s, F32%s expected",
                         where, t->name, tlpi_dtype_name(t->type),
                         pair ? " or F16" : "");
    return TLP_OK;
}

static bool is_out(const tensor_kind *k)
{
    return k->at == OUT_UP || k->at == offsetof(tlpi_member_adjust, out_down);
}

/* Does the model have the norm that the tensor replaces?  Names are those of
 * the table, whatever a file of the model calls the norm. */
static tlp_status check_norm(const tlp_plan *p, const tensor_kind *k)
{
    const tlpi_hparams *hp = &p->model->hp;

    for (size_t i = 0; i < TLPI_N_LAYER_TENSOR; i++)
        if (strcmp(tlpi_layer_table[i].name, k->name) == 0 &&
            tlpi_row_is_needed(&tlpi_layer_table[i], hp))
            return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP, "%s models have no such norm",
                     tlpi_arch_get(hp)->name);
}

/* Tracks whose outputs are summed have one norm. */
static tlp_status check_track(const tlp_plan *p, int stage,
                              const tensor_name *name, const tensor_kind *k)
{
    bool attn = k->at == offsetof(tlpi_member_adjust, attn_post);
    int apart = attn ? TLP_NOSYNC_ATTN : TLP_NOSYNC_FFN;

    if (name->track < 1 ||
        (!attn && k->at != offsetof(tlpi_member_adjust, ffn_post)) ||
        (p->stage[stage].nosync & apart))
        return TLP_OK;
    return tlpi_fail(TLP_EMISMATCH, "the outputs of all tracks are summed, and "
                                    "track 0 has the norm of the sum");
}

static tlp_status check_kind(const tlp_plan *p, int stage,
                             const tensor_name *name)
{
    const tensor_kind *k = name->kind;
    tlp_status st = TLP_OK;

    if (is_out(k) && name->track >= 0)
        return tlpi_fail(TLP_ENOTSUP, "the output of tracks has no correction");
    if (is_out(k))
        return tlpi_model_check_post(p->model, "the output",
                                     "there is no correction in");
    if (k->form == VECTOR)
        TLP_TRY(check_norm(p, k));
    st = check_track(p, stage, name, k);
done:
    return st;
}

/* The name of the tensor fits the plan; *stage and *m get its place. */
static tlp_status find_place(tlpi_adjust *a, const tlp_plan *p,
                             const tlpi_tensor *t, const char *where,
                             int *stage, tlpi_member_adjust **m,
                             const tensor_kind **kind)
{
    tensor_name name;
    tlp_status st;

    if (!read_name(t->name, &name))
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %.80s is not known", where,
                         t->name);
    st = find_member(a, p, &name, stage, m);
    if (st == TLP_OK)
        st = check_kind(p, *stage, &name);
    if (st != TLP_OK)
        return tlpi_fail_prefix(st, "%s: tensor %s: ", where, t->name);
    *kind = name.kind;
    if (name.kind->at == OUT_UP && *m != a->stage[*stage].member)
        return tlpi_fail(TLP_EMISMATCH,
                         "%s: tensor %s: blk.%d expected, the first of its "
                         "group",
                         where, t->name, p->stage[*stage].layers[0]);
    return TLP_OK;
}

/* LoRA belongs to a layer, which must run in a stage that can have it. */
static tlp_status place_lora(tlpi_adjust *a, const tlp_plan *p,
                             const tlpi_lora_name *name, const tlpi_tensor *t,
                             const char *where)
{
    const tlp_model *m = p->model;
    int stage = 0, member;
    tlp_status st;

    while (stage < p->n_stage &&
           !runs_layer(&p->stage[stage], name->layer, &member))
        stage++;
    st = stage == p->n_stage
             ? tlpi_fail(TLP_EMISMATCH, "the layer does not run in this plan")
             : tlpi_lora_check_mode(p->stage[stage].mode);
    if (st != TLP_OK)
        return tlpi_fail_prefix(st, "%s: tensor %s: ", where, t->name);
    if (!a->lora)
        a->lora = tlpi_calloc(&m->env, (size_t)m->hp.n_layer, sizeof *a->lora);
    return a->lora ? tlpi_lora_place(a->lora, m, name, t, where)
                   : tlpi_fail_nomem_for("adjustments");
}

tlp_status tlpi_adjust_place(tlpi_adjust *a, const tlp_plan *p,
                             const tlpi_tensor *t, const char *where)
{
    const tensor_kind *k = NULL;
    tlpi_member_adjust *m = NULL;
    tlpi_lora_name name;
    int stage = 0;
    tlp_status st;

    if (tlpi_lora_read_name(t->name, &name))
        return place_lora(a, p, &name, t, where);
    TLP_TRY(find_place(a, p, t, where, &stage, &m, &k));
    TLP_TRY(check_shape(t, k->form, p->model->hp.n_embd, where));
    TLP_TRY(tlpi_safetensors_check_finite(t, where));
    void *to =
        k->at == OUT_UP ? (void *)&a->stage[stage].out_up : (char *)m + k->at;
    if (k->form == VECTOR)
        *(const tlpi_tensor **)to = t;
    else if (k->form == NUMBER)
        *(float *)to = *(const float *)t->data;
    else
        *(tlpi_tensor *)to = *t;
done:
    return st;
}

/* ==== pairs ============================================================== */

/* A pair needs both tensors or none, and both must have one rank.  A missing
 * tensor has no columns. */
static tlp_status check_pair(const tlpi_tensor *down, const tlpi_tensor *up,
                             int layer, const char *name, const char *where,
                             int *rank)
{
    if (down->ne[1] != up->ne[0])
        return tlpi_fail(
            TLP_EFORMAT, "%s: blk.%d.%s: down has rank %lld, up has %lld",
            where, layer, name, (long long)down->ne[1], (long long)up->ne[0]);
    *rank = (int)up->ne[0];
    return TLP_OK;
}

tlp_status tlpi_adjust_check_pairs(tlpi_adjust *a, const tlp_plan *p, int stage,
                                   const char *where)
{
    tlpi_stage_adjust *s = &a->stage[stage];
    tlp_status st = TLP_OK;

    for (int i = 0; i < tlpi_adjust_n_place(p, stage); i++) {
        tlpi_member_adjust *m = &s->member[i];
        int l = tlpi_stage_layer(&p->stage[stage], i);

        TLP_TRY(check_pair(&m->attn_in.down, &m->attn_in.up, l, "attn_in",
                           where, &m->attn_in.rank));
        TLP_TRY(check_pair(&m->ffn_in.down, &m->ffn_in.up, l, "ffn_in", where,
                           &m->ffn_in.rank));
        TLP_TRY(check_pair(&m->out_down, &s->out_up, l, "out", where,
                           &s->out_rank));
    }
done:
    return st;
}
