/*
 * program_lora.c - the LoRA of a part's matrices on one rank.
 *
 * Of a matrix whose rows are cut, the part has all of a and its rows of b; of a
 * matrix whose columns are cut, its columns of a and all of b.  Its share of
 * the product is then what it adds to its share of W x, and the exchange that
 * sums the shares of W x sums both.
 */
#include "plan/adapter.h"
#include "rank/program.h"

/* The plan's LoRA and the adapter; out: room for TLPI_MAX_LORA_SOURCE.  Returns
 * how many. */
static int list_sources(const tlp_plan *plan, const tlpi_session_config *cfg,
                        tlpi_lora_source *out)
{
    int n = 0;

    if (plan->adjust && plan->adjust->lora)
        out[n++] = (tlpi_lora_source){ plan->adjust->lora, 1 };
    if (cfg->adapter)
        out[n++] = (tlpi_lora_source){ cfg->adapter->lora, cfg->adapter_scale };
    return n;
}

static tlp_status load_pair(tlpi_program *p, const tlpi_lowrank *pair,
                            tlpi_slice s, tlpi_rank_lowrank *to)
{
    const tlpi_slice down = { 0, pair->rank, s.c0, s.c1 };
    const tlpi_slice up = { s.r0, s.r1, 0, pair->rank };
    tlp_status st;

    st = tlpi_program_own_weight(p, &pair->down, down, &to->down);
    if (st != TLP_OK) {
        tlpi_free(p->store->env, (void *)(uintptr_t)pair->up.data);
        return st;
    }
    st = tlpi_program_own_weight(p, &pair->up, up, &to->up);
    if (st == TLP_OK)
        to->rank = pair->rank;
    return st;
}

tlp_status tlpi_program_load_lora(tlpi_program *p, int layer, tlpi_half half,
                                  const tlpi_part *part, tlpi_rank_tensors *out)
{
    const tlpi_hparams *hp = &p->store->model->hp;
    tlpi_lora_source source[TLPI_MAX_LORA_SOURCE];
    int n = list_sources(p->plan, p->store->cfg, source);
    tlp_status st = TLP_OK;

    for (int i = 0; n > 0 && i < TLPI_N_LAYER_TENSOR; i++) {
        const tlpi_tensor_row *row = &tlpi_layer_table[i];
        tlpi_lowrank pair;

        if (row->half != half || !tlpi_row_is_matrix(row))
            continue;
        TLP_TRY(tlpi_lora_join(p->store->env, source, n, layer,
                               (tlpi_layer_id)i, p->store->dry, &pair));
        if (pair.rank > 0)
            TLP_TRY(load_pair(p, &pair, tlpi_row_slice(row, hp, part),
                              &out->lora[i]));
    }
done:
    return st;
}

static void drop(tlpi_program *p, tlpi_weight *w)
{
    if (w)
        p->bytes.weights -= p->store->b->ops->weight_bytes(w);
    p->store->b->ops->weight_free(w);
}

void tlpi_program_free_lora(tlpi_program *p, tlpi_rank_tensors *t)
{
    for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
        drop(p, t->lora[i].down);
        drop(p, t->lora[i].up);
        t->lora[i] = (tlpi_rank_lowrank){ 0 };
    }
}

int tlpi_program_lora_cols(const tlpi_rank_stage *s)
{
    int qkv = 0, out = 0, hidden = 0, down = 0;

    for (int i = 0; i < s->n_attn; i++) {
        const tlpi_rank_lowrank *l = s->attn[i].t.lora;

        qkv += l[TLPI_ATTN_Q].rank + l[TLPI_ATTN_K].rank + l[TLPI_ATTN_V].rank;
        out += l[TLPI_ATTN_OUTPUT].rank;
    }
    for (int i = 0; i < s->n_ffn; i++) {
        const tlpi_rank_lowrank *l = s->ffn[i].t.lora;

        hidden += l[TLPI_FFN_GATE].rank + l[TLPI_FFN_UP].rank;
        down += l[TLPI_FFN_DOWN].rank;
    }
    return TLPI_MAX(TLPI_MAX(qkv, out), TLPI_MAX(hidden, down));
}

int tlpi_program_lora_rank(const tlp_plan *plan, const tlpi_session_config *cfg)
{
    tlpi_lora_source source[TLPI_MAX_LORA_SOURCE];
    int n = list_sources(plan, cfg, source), most = 0;

    for (int l = 0; n > 0 && l < plan->model->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++)
            most =
                TLPI_MAX(most, tlpi_lora_rank(source, n, l, (tlpi_layer_id)i));
    return most;
}
