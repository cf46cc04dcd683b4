/*
 * adjust_image.c - turn the tensors of an image into the adjustments of a plan:
 * check each tensor against the plan and its model, and store a view of it in
 * its member or stage.
 */
#include "plan/adjust.h"

#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "plan/plan_sketch.h"
#include "tlp_tune.h"

#define VERSION "1"
#define UNSAVED_FILE "adjust.safetensors"

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
    { "attn_gain", NUMBER, offsetof(tlpi_member_adjust, attn_gain) },
    { "ffn_gain", NUMBER, offsetof(tlpi_member_adjust, ffn_gain) },
    { "attn_in.down", DOWN, offsetof(tlpi_member_adjust, attn_in.down) },
    { "attn_in.up", UP, offsetof(tlpi_member_adjust, attn_in.up) },
    { "ffn_in.down", DOWN, offsetof(tlpi_member_adjust, ffn_in.down) },
    { "ffn_in.up", UP, offsetof(tlpi_member_adjust, ffn_in.up) },
    { "out.down", DOWN, offsetof(tlpi_member_adjust, out_down) },
    { "out.up", UP, OUT_UP },
};

/* ==== what the file says of itself ======================================= */

static tlp_status check_meta(const tlpi_adjust *a, const char *where,
                             const char *key, const char *expected)
{
    const char *value = tlpi_safetensors_get(a->index, key);

    if (!value)
        return tlpi_fail(TLP_EFORMAT, "%s: metadata: key %s is missing", where,
                         key);
    if (strcmp(value, expected) != 0)
        return tlpi_fail(TLP_EMISMATCH,
                         "%s: metadata: %s is %.80s, %.80s expected", where,
                         key, value, expected);
    return TLP_OK;
}

static tlp_status check_origin(const tlpi_adjust *a, const tlp_plan *p,
                               const char *where)
{
    tlpi_text text = { .env = &p->model->env };
    const char *version = tlpi_safetensors_get(a->index, "tlp_adjust");
    tlp_status st;

    if (version && strcmp(version, VERSION) != 0)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: metadata: tlp_adjust is %.20s, " VERSION
                         " expected",
                         where, version);
    TLP_TRY(check_meta(a, where, "tlp_adjust", VERSION));
    TLP_TRY(check_meta(a, where, "model", tlpi_model_fingerprint(p->model)));
    tlpi_plan_write_text(p, &text);
    if (text.failed)
        TLP_TRY(tlpi_fail_nomem_for("adjustments"));
    TLP_TRY(check_meta(a, where, "plan", text.data));
done:
    tlpi_text_free(&text);
    return st;
}

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

/* Places of a stage's members in an image: its layers, or its tracks. */
static int n_place(const tlp_plan *p, int stage)
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
        m += n_place(p, i);
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
    if (st != TLP_OK)
        return tlpi_fail_prefix(st, "%s: tensor %s: ", where, t->name);
    *kind = name.kind;
    bool is_out = name.kind->at == OUT_UP ||
                  name.kind->at == offsetof(tlpi_member_adjust, out_down);
    if (is_out && name.track >= 0)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: tensor %s: the output of tracks has no "
                         "correction",
                         where, t->name);
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

static tlp_status place(tlpi_adjust *a, const tlp_plan *p, const tlpi_tensor *t,
                        const char *where)
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

static tlp_status check_pairs(tlpi_adjust *a, const tlp_plan *p, int stage,
                              const char *where)
{
    tlpi_stage_adjust *s = &a->stage[stage];
    tlp_status st = TLP_OK;

    for (int i = 0; i < n_place(p, stage); i++) {
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

/* ==== objects ============================================================ */

/* Free the image and its views; keep the hash. */
static void drop_image(const tlpi_env *env, tlpi_adjust *a)
{
    tlpi_safetensors_close(a->index);
    tlpi_free(env, a->stage);
    tlpi_free(env, a->member);
    tlpi_free(env, a->lora);
    tlpi_free(env, a->image);
    a->index = NULL;
    a->stage = NULL;
    a->member = NULL;
    a->lora = NULL;
    a->image = NULL;
    a->n_image = 0;
}

void tlpi_adjust_free(const tlpi_env *env, tlpi_adjust *a)
{
    if (a)
        drop_image(env, a);
    tlpi_free(env, a);
}

static tlp_status make_places(tlpi_adjust *a, const tlp_plan *p)
{
    const tlpi_env *env = &p->model->env;
    int n_member = 0;

    for (int i = 0; i < p->n_stage; i++)
        n_member += n_place(p, i);
    a->stage = tlpi_calloc(env, (size_t)p->n_stage, sizeof *a->stage);
    a->member = tlpi_calloc(env, (size_t)n_member, sizeof *a->member);
    if (!a->stage || !a->member)
        return tlpi_fail_nomem_for("adjustments");
    for (int i = 0; i < n_member; i++)
        a->member[i].attn_gain = a->member[i].ffn_gain = 1;
    return TLP_OK;
}

/* What is fitted to a group assumes that outputs are added as they are. */
tlp_status tlpi_adjust_check_model(const tlp_plan *p, const char *where)
{
    tlp_status st = TLP_OK;

    for (int i = 0; i < p->n_stage && st == TLP_OK; i++)
        if (p->stage[i].n_member > 1)
            st = tlpi_model_check_post(p->model, where,
                                       "groups are not adjusted in");
    return st;
}

/* Read an image.  The function takes over its memory, also on failure. */
static tlp_status read_image(tlpi_adjust *a, const tlp_plan *p, void *image,
                             size_t n_image, const char *where)
{
    const tlpi_env *env = &p->model->env;
    tlp_status st;

    a->image = image;
    a->n_image = n_image;
    TLP_TRY(tlpi_adjust_check_model(p, where));
    TLP_TRY(tlpi_safetensors_open(&a->index, env, image, n_image, where));
    TLP_TRY(check_origin(a, p, where));
    if (a->index->n_tensor == 0)
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: no tensors", where));
    TLP_TRY(make_places(a, p));
    for (size_t i = 0; i < a->index->n_tensor; i++)
        TLP_TRY(place(a, p, &a->index->tensor[i], where));
    for (int i = 0; i < p->n_stage; i++) {
        if (!a->stage[i].member)
            continue;
        TLP_TRY(tlpi_model_check_inputs(p->model, where,
                                        "stages are not adjusted in"));
        TLP_TRY(check_pairs(a, p, i, where));
    }
    if (a->lora)
        TLP_TRY(tlpi_lora_check_pairs(a->lora, p->model, where));
done:
    if (st != TLP_OK)
        drop_image(env, a);
    return st;
}

static void make_hash(const void *image, size_t n, char out[TLPI_HASH_TEXT])
{
    tlpi_sha256 s;

    tlpi_sha256_init(&s);
    tlpi_sha256_add(&s, image, n);
    tlpi_sha256_text(&s, out);
}

tlp_status tlpi_plan_with_adjust(tlp_plan **out, const tlp_plan *plan,
                                 void *image, size_t n_image, const char *where)
{
    const tlpi_env *env = &plan->model->env;
    tlp_plan *p = NULL;
    tlp_status st;

    *out = NULL;
    TLP_TRY(tlpi_plan_rebuild(&p, plan->model, plan, plan->made));
    p->adjust = tlpi_calloc(env, 1, sizeof *p->adjust);
    if (!p->adjust)
        TLP_TRY(tlpi_fail_nomem_for("adjustments"));
    memcpy(p->adjust->file, UNSAVED_FILE, sizeof UNSAVED_FILE);
    make_hash(image, n_image, p->adjust->sha256);
    void *taken = image;
    image = NULL;
    TLP_TRY(read_image(p->adjust, p, taken, n_image, where));
    *out = p;
    p = NULL;
done:
    tlpi_free(env, image);
    tlp_plan_free(p);
    return st;
}

tlp_status tlpi_plan_supply_adjust(tlp_plan *plan, void *image, size_t n_image,
                                   const char *where)
{
    char hash[TLPI_HASH_TEXT];

    make_hash(image, n_image, hash);
    if (strcmp(hash, plan->adjust->sha256) != 0) {
        tlpi_free(&plan->model->env, image);
        return tlpi_fail(TLP_EMISMATCH,
                         "%s: not the file that the plan was saved with: it "
                         "has %s, the plan names %s",
                         where, hash, plan->adjust->sha256);
    }
    return read_image(plan->adjust, plan, image, n_image, where);
}

/* ==== what there is ====================================================== */

static void count_member(const tlpi_member_adjust *m,
                         tlp_plan_adjust_info *info)
{
    info->n_gain += (m->attn_gain != 1) + (m->ffn_gain != 1);
    info->n_norm += (m->attn_norm != NULL) + (m->ffn_norm != NULL);
    info->n_low_rank += (m->attn_in.rank > 0) + (m->ffn_in.rank > 0);
}

tlp_status tlp_plan_get_adjust(tlp_plan_adjust_info *out, const tlp_plan *plan)
{
    tlp_plan_adjust_info info = { .struct_size = sizeof info };

    if (!plan || !out)
        return tlpi_fail(TLP_EINVAL, "plan and out are required");
    const tlpi_adjust *a = plan->adjust;
    for (int i = 0; a && a->stage && i < plan->n_stage; i++) {
        const tlpi_stage_adjust *s = &a->stage[i];
        info.n_low_rank += s->out_rank > 0;
        for (int j = 0; s->member && j < n_place(plan, i); j++)
            count_member(&s->member[j], &info);
    }
    if (a) {
        info.n_lora = tlpi_lora_count(a->lora, plan->model);
        info.n_bytes = a->n_image;
        info.sha256 = a->sha256;
    }
    return tlpi_struct_write(out, &info, sizeof info, "tlp_plan_adjust_info");
}
