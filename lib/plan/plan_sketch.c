/*
 * plan_sketch.c - turn groups, dropped layers and an order into stages.
 */
#include "plan/plan_sketch.h"

#include <stdio.h>
#include <string.h>

#define NO_GROUP (-1)
#define DROPPED (-2)

tlp_status tlpi_sketch_init(tlpi_sketch *s, tlp_model *model, const char *where)
{
    const tlpi_env *env = &model->env;
    size_t n = (size_t)model->hp.n_layer;

    memset(s, 0, sizeof *s);
    s->model = model;
    s->where = where;
    s->n_layer = model->hp.n_layer;
    s->pool = tlpi_alloc_array(env, 2 * n, sizeof *s->pool);
    s->owner = tlpi_alloc_array(env, n, sizeof *s->owner);
    s->seen = tlpi_calloc(env, n, sizeof *s->seen);
    s->nosync = tlpi_calloc(env, n, sizeof *s->nosync);
    s->group = tlpi_alloc_array(env, n + 1, sizeof *s->group);
    s->order = tlpi_alloc_array(env, n, sizeof *s->order);
    if (!s->pool || !s->owner || !s->seen || !s->nosync || !s->group ||
        !s->order)
        return tlpi_fail_nomem_for("a plan");
    for (size_t l = 0; l < n; l++)
        s->owner[l] = NO_GROUP;
    return TLP_OK;
}

void tlpi_sketch_free(tlpi_sketch *s)
{
    const tlpi_env *env = &s->model->env;

    tlpi_free(env, s->pool);
    tlpi_free(env, s->owner);
    tlpi_free(env, s->seen);
    tlpi_free(env, s->nosync);
    tlpi_free(env, s->group);
    tlpi_free(env, s->order);
}

void tlpi_group_format(const int *layers, int n, char *buf, size_t cap)
{
    size_t len = 0;

    buf[0] = '\0';
    for (int i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && layers[i + run] == layers[i] + run;)
            run++;
        char item[32];
        int k = snprintf(item, sizeof item, run > 1 ? "%s%d-%d" : "%s%d",
                         i > 0 ? "+" : "", layers[i], layers[i] + run - 1);
        if (len + (size_t)k + sizeof "..." > cap) {
            memcpy(buf + len, "...", sizeof "...");
            return;
        }
        memcpy(buf + len, item, (size_t)k + 1);
        len += (size_t)k;
    }
}

static tlp_status check_range(const tlpi_sketch *s, int64_t layer)
{
    if (layer >= 0 && layer < s->n_layer)
        return TLP_OK;
    return tlpi_fail(TLP_EINVAL,
                     "%s: layer %lld does not exist, the model has %d (0-%d)",
                     s->where, (long long)layer, s->n_layer, s->n_layer - 1);
}

void tlpi_sketch_begin(tlpi_sketch *s, int mode)
{
    tlpi_stage *g = &s->group[s->n_group];
    const tlpi_stage *last = s->n_group > 0 ? g - 1 : NULL;

    /* Finished groups share no layer, so they and their members number at most
     * n_layer each.  The group being read names no layer twice, so it adds at
     * most n_layer members. */
    g->mode = mode;
    g->n_member = 0;
    g->nosync = 0;
    g->layers = last ? last->layers + last->n_member : s->pool;
    s->n_list++;
}

tlp_status tlpi_sketch_add(tlpi_sketch *s, int64_t layer)
{
    tlpi_stage *g = &s->group[s->n_group];
    tlp_status st = check_range(s, layer);

    if (st != TLP_OK)
        return st;
    if (s->seen[layer] == s->n_list)
        return tlpi_fail(TLP_EINVAL, "%s: layer %d is twice in a group",
                         s->where, (int)layer);
    s->seen[layer] = s->n_list;
    g->layers[g->n_member++] = (int)layer;
    return TLP_OK;
}

static tlp_status fail_taken(const tlpi_sketch *s, int layer)
{
    const tlpi_stage *g = &s->group[s->n_group];
    const tlpi_stage *other = &s->group[TLPI_MAX(s->owner[layer], 0)];
    char text[64], other_text[64];

    tlpi_group_format(g->layers, g->n_member, text, sizeof text);
    if (s->owner[layer] == DROPPED)
        return tlpi_fail(TLP_EINVAL,
                         "%s: layer %d is dropped and in a group "
                         "(%s)",
                         s->where, layer, text);
    tlpi_group_format(other->layers, other->n_member, other_text,
                      sizeof other_text);
    return tlpi_fail(TLP_EINVAL, "%s: layer %d is in two groups (%s and %s)",
                     s->where, layer, other_text, text);
}

tlp_status tlpi_sketch_end(tlpi_sketch *s)
{
    const tlpi_stage *g = &s->group[s->n_group];

    if (g->n_member == 0)
        return tlpi_fail(TLP_EINVAL, "%s: a group without layers", s->where);
    for (int i = 0; i < g->n_member; i++) {
        if (s->owner[g->layers[i]] != NO_GROUP)
            return fail_taken(s, g->layers[i]);
    }
    if (g->mode != TLP_MODE_SERIAL && g->n_member < 2)
        return tlpi_fail(TLP_EINVAL,
                         "%s: a group of mode %s needs at least 2 layers, "
                         "layer %d stands alone",
                         s->where, tlpi_mode_name(g->mode), g->layers[0]);
    if (g->mode == TLP_MODE_SERIAL && g->n_member > 1)
        return tlpi_fail(TLP_EINVAL,
                         "%s: layers %d and %d cannot share a serial stage",
                         s->where, g->layers[0], g->layers[1]);
    for (int i = 0; i < g->n_member; i++)
        s->owner[g->layers[i]] = s->n_group;
    s->n_group++;
    return TLP_OK;
}

tlp_status tlpi_sketch_drop(tlpi_sketch *s, int64_t layer)
{
    tlp_status st = check_range(s, layer);

    if (st != TLP_OK)
        return st;
    if (s->owner[layer] == DROPPED)
        return tlpi_fail(TLP_EINVAL, "%s: layer %d is dropped twice", s->where,
                         (int)layer);
    if (s->owner[layer] != NO_GROUP)
        return tlpi_fail(TLP_EINVAL, "%s: layer %d is dropped and in a group",
                         s->where, (int)layer);
    s->owner[layer] = DROPPED;
    return TLP_OK;
}

tlp_status tlpi_sketch_begin_order(tlpi_sketch *s)
{
    if (s->has_order)
        return tlpi_fail(TLP_EINVAL, "%s: the order is given twice", s->where);
    s->has_order = true;
    s->n_list++;
    return TLP_OK;
}

tlp_status tlpi_sketch_order(tlpi_sketch *s, int64_t layer)
{
    tlp_status st = check_range(s, layer);

    if (st != TLP_OK)
        return st;
    if (s->seen[layer] == s->n_list)
        return tlpi_fail(TLP_EINVAL, "%s: layer %d is twice in the order",
                         s->where, (int)layer);
    s->seen[layer] = s->n_list;
    s->order[s->n_order++] = (int)layer;
    return TLP_OK;
}

tlp_status tlpi_sketch_begin_nosync(tlpi_sketch *s, int64_t n_track)
{
    if (s->n_track)
        return tlpi_fail(TLP_EINVAL, "%s: nosync is given twice", s->where);
    if (n_track < 2 || n_track > TLPI_MAX_TRACK)
        return tlpi_fail(TLP_EINVAL,
                         "%s: nosync: %lld tracks, 2 to %d expected", s->where,
                         (long long)n_track, TLPI_MAX_TRACK);
    s->n_track = (int)n_track;
    return TLP_OK;
}

tlp_status tlpi_sketch_nosync(tlpi_sketch *s, int64_t layer, int halves)
{
    tlp_status st = check_range(s, layer);

    if (st != TLP_OK)
        return st;
    int twice = s->nosync[layer] & halves;
    if (twice)
        return tlpi_fail(TLP_EINVAL, "%s: nosync: %d%s is listed twice",
                         s->where, (int)layer,
                         tlpi_nosync_name(twice & -twice));
    s->nosync[layer] |= halves;
    return TLP_OK;
}

static int first_layer(const tlpi_stage *g)
{
    int first = g->layers[0];

    for (int i = 1; i < g->n_member; i++)
        first = TLPI_MIN(first, g->layers[i]);
    return first;
}

tlp_status tlpi_sketch_check_listed(const tlpi_sketch *s)
{
    for (int l = 0; l < s->n_layer; l++) {
        if (s->owner[l] == NO_GROUP)
            return tlpi_fail(TLP_EINVAL,
                             "%s: layer %d is in no stage and not in \"drop\"",
                             s->where, l);
    }
    for (int g = 1; g < s->n_group && !s->has_order; g++) {
        int here = first_layer(&s->group[g]);
        int before = first_layer(&s->group[g - 1]);
        if (here < before)
            return tlpi_fail(TLP_EINVAL,
                             "%s: stage %d: layer %d comes after layer %d, "
                             "which needs \"order\"",
                             s->where, g, here, before);
    }
    return TLP_OK;
}

/* The order must list every layer that is not dropped, and no other layer. */
static tlp_status check_order(tlpi_sketch *s)
{
    s->n_list++;
    for (int i = 0; i < s->n_order; i++) {
        s->seen[s->order[i]] = s->n_list;
        if (s->owner[s->order[i]] == DROPPED)
            return tlpi_fail(TLP_EINVAL,
                             "%s: layer %d is dropped and in the order",
                             s->where, s->order[i]);
    }
    for (int l = 0; l < s->n_layer; l++) {
        if (s->owner[l] != DROPPED && s->seen[l] != s->n_list)
            return tlpi_fail(TLP_EINVAL,
                             "%s: layer %d is missing from the order", s->where,
                             l);
    }
    return TLP_OK;
}

static void use_natural_order(tlpi_sketch *s)
{
    for (int l = 0; l < s->n_layer; l++) {
        if (s->owner[l] != DROPPED)
            s->order[s->n_order++] = l;
    }
}

static tlp_status check_nosync(const tlpi_sketch *s)
{
    for (int l = 0; l < s->n_layer; l++)
        if (s->nosync[l] && s->owner[l] == DROPPED)
            return tlpi_fail(TLP_EINVAL, "%s: nosync: layer %d is dropped",
                             s->where, l);
    return TLP_OK;
}

/* Each stage gets the exchanges of all its layers; tlpi_plan_build refuses
 * those of a group. */
static void set_nosync(const tlpi_sketch *s, tlpi_stage *stage, int n_stage)
{
    for (int i = 0; i < n_stage; i++)
        for (int j = 0; j < stage[i].n_member; j++)
            stage[i].nosync |= s->nosync[stage[i].layers[j]];
}

tlp_status tlpi_sketch_build(tlpi_sketch *s, const char *made, tlp_plan **out)
{
    const tlpi_env *env = &s->model->env;
    tlpi_stage *stage = NULL;
    bool *placed = NULL;
    int n_stage = 0;
    tlp_status st;

    if (s->has_order)
        TLP_TRY(check_order(s));
    else
        use_natural_order(s);
    TLP_TRY(check_nosync(s));
    stage = tlpi_alloc_array(env, (size_t)s->n_layer, sizeof *stage);
    placed = tlpi_calloc(env, (size_t)s->n_group, sizeof *placed);
    if (!stage || !placed)
        TLP_TRY(tlpi_fail_nomem_for("a plan"));
    for (int i = 0; i < s->n_order; i++) {
        int g = s->owner[s->order[i]];
        if (g == NO_GROUP) {
            stage[n_stage++] =
                (tlpi_stage){ TLP_MODE_SERIAL, 1, &s->order[i], 0 };
        } else if (!placed[g]) {
            placed[g] = true;
            stage[n_stage++] = s->group[g];
        }
    }
    set_nosync(s, stage, n_stage);
    TLP_TRY(tlpi_plan_build(out, s->model, stage, n_stage, s->n_track, made,
                            s->where));
done:
    tlpi_free(env, placed);
    tlpi_free(env, stage);
    return st;
}
