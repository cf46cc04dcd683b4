/*
 * test_abi_tune.c - the layout of structs that tlp_tune.h got after test_abi.c
 * was full; the rules are those of test_abi.c.
 */
#include <criterion/criterion.h>
#include <stddef.h>

#include "tlp_tune.h"

#if UINTPTR_MAX == UINT64_MAX
#define SIZE(type, size)                                                       \
    _Static_assert(sizeof(type) == (size), "size of " #type)
#define AT(type, field, offset)                                                \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field)

SIZE(tlp_quantize_options, 40);
AT(tlp_quantize_options, n_thread, 8);
AT(tlp_quantize_options, pure, 12);
AT(tlp_quantize_options, progress, 16);
AT(tlp_quantize_options, progress_data, 24);
AT(tlp_quantize_options, imatrix, 32);

SIZE(tlp_imatrix_options, 40);
AT(tlp_imatrix_options, session, 8);
AT(tlp_imatrix_options, dataset, 16);
AT(tlp_imatrix_options, progress, 24);
AT(tlp_imatrix_options, progress_data, 32);

SIZE(tlp_imatrix_result, 32);
AT(tlp_imatrix_result, n_entry, 8);
AT(tlp_imatrix_result, n_window, 12);
AT(tlp_imatrix_result, n_token, 16);
AT(tlp_imatrix_result, n_unused, 24);

SIZE(tlp_plan_bake_options, 80);
AT(tlp_plan_bake_options, session, 8);
AT(tlp_plan_bake_options, held_out, 16);
AT(tlp_plan_bake_options, seed, 24);
AT(tlp_plan_bake_options, progress, 32);
AT(tlp_plan_bake_options, progress_data, 40);
AT(tlp_plan_bake_options, plan_path, 48);
AT(tlp_plan_bake_options, type, 56);
AT(tlp_plan_bake_options, pure, 64);
AT(tlp_plan_bake_options, imatrix, 72);

SIZE(tlp_plan_bake_report, 96);
AT(tlp_plan_bake_report, n_window, 8);
AT(tlp_plan_bake_report, n_held_out, 12);
AT(tlp_plan_bake_report, kl_before, 16);
AT(tlp_plan_bake_report, kl_after, 24);
AT(tlp_plan_bake_report, ppl_before, 32);
AT(tlp_plan_bake_report, ppl_after, 40);
AT(tlp_plan_bake_report, top1_before, 48);
AT(tlp_plan_bake_report, top1_after, 56);
AT(tlp_plan_bake_report, n_site, 64);
AT(tlp_plan_bake_report, n_layer, 68);
AT(tlp_plan_bake_report, n_unit, 72);
AT(tlp_plan_bake_report, n_tensor, 76);
AT(tlp_plan_bake_report, n_converted, 80);
AT(tlp_plan_bake_report, n_fallback, 84);
AT(tlp_plan_bake_report, n_bytes, 88);

SIZE(tlp_plan_train_options, 200);
AT(tlp_plan_train_options, session, 8);
AT(tlp_plan_train_options, n_token, 16);
AT(tlp_plan_train_options, n_accum, 24);
AT(tlp_plan_train_options, full, 28);
AT(tlp_plan_train_options, rank, 32);
AT(tlp_plan_train_options, norms, 36);
AT(tlp_plan_train_options, gains, 40);
AT(tlp_plan_train_options, corrections, 44);
AT(tlp_plan_train_options, rate, 48);
AT(tlp_plan_train_options, warm_up, 56);
AT(tlp_plan_train_options, weight_decay, 64);
AT(tlp_plan_train_options, clip, 72);
AT(tlp_plan_train_options, text_share, 80);
AT(tlp_plan_train_options, held_out, 88);
AT(tlp_plan_train_options, seed, 96);
AT(tlp_plan_train_options, point, 104);
AT(tlp_plan_train_options, point_data, 112);
AT(tlp_plan_train_options, progress, 120);
AT(tlp_plan_train_options, progress_data, 128);
AT(tlp_plan_train_options, plan_path, 136);
AT(tlp_plan_train_options, type, 144);
AT(tlp_plan_train_options, seconds, 152);
AT(tlp_plan_train_options, max_bytes, 160);
AT(tlp_plan_train_options, keep, 168);
AT(tlp_plan_train_options, resume_path, 176);
AT(tlp_plan_train_options, n_local_token, 184);
AT(tlp_plan_train_options, n_held_out_token, 192);

SIZE(tlp_plan_train_report, 96);
AT(tlp_plan_train_report, n_window, 8);
AT(tlp_plan_train_report, n_held_out, 12);
AT(tlp_plan_train_report, n_token, 16);
AT(tlp_plan_train_report, n_number, 24);
AT(tlp_plan_train_report, kl_before, 32);
AT(tlp_plan_train_report, kl_after, 40);
AT(tlp_plan_train_report, ppl_before, 48);
AT(tlp_plan_train_report, ppl_after, 56);
AT(tlp_plan_train_report, top1_before, 64);
AT(tlp_plan_train_report, top1_after, 72);
AT(tlp_plan_train_report, seconds, 80);
AT(tlp_plan_train_report, canceled, 88);

SIZE(tlp_train_point, 88);
AT(tlp_train_point, n_token, 8);
AT(tlp_train_point, step, 16);
AT(tlp_train_point, n_step, 24);
AT(tlp_train_point, loss, 32);
AT(tlp_train_point, kl, 40);
AT(tlp_train_point, ppl, 48);
AT(tlp_train_point, top1_agreement, 56);
AT(tlp_train_point, seconds, 64);
AT(tlp_train_point, rate, 72);
AT(tlp_train_point, resumed, 80);
AT(tlp_train_point, local, 84);

SIZE(tlp_bridge_options, 56);
AT(tlp_bridge_options, session, 8);
AT(tlp_bridge_options, rank, 16);
AT(tlp_bridge_options, held_out, 24);
AT(tlp_bridge_options, seed, 32);
AT(tlp_bridge_options, progress, 40);
AT(tlp_bridge_options, progress_data, 48);

SIZE(tlp_bridge_report, 72);
AT(tlp_bridge_report, n_gap, 8);
AT(tlp_bridge_report, n_map, 12);
AT(tlp_bridge_report, n_window, 16);
AT(tlp_bridge_report, kl_before, 24);
AT(tlp_bridge_report, kl_after, 32);
AT(tlp_bridge_report, ppl_before, 40);
AT(tlp_bridge_report, ppl_after, 48);
AT(tlp_bridge_report, top1_before, 56);
AT(tlp_bridge_report, top1_after, 64);

SIZE(tlp_study_options, 72);
AT(tlp_study_options, session, 8);
AT(tlp_study_options, n_track, 16);
AT(tlp_study_options, seed, 24);
AT(tlp_study_options, max_bytes, 32);
AT(tlp_study_options, place, 40);
AT(tlp_study_options, place_data, 48);
AT(tlp_study_options, progress, 56);
AT(tlp_study_options, progress_data, 64);

SIZE(tlp_study_place, 80);
AT(tlp_study_place, kind, 8);
AT(tlp_study_place, layer, 12);
AT(tlp_study_place, half, 16);
AT(tlp_study_place, n_track, 20);
AT(tlp_study_place, plan, 24);
AT(tlp_study_place, step, 32);
AT(tlp_study_place, own, 40);
AT(tlp_study_place, change, 48);
AT(tlp_study_place, error, 56);
AT(tlp_study_place, sensitivity, 64);
AT(tlp_study_place, kl, 72);

_Static_assert(TLP_PLACE_EXCHANGE == 0 && TLP_PLACE_PAIR == 1, "places");
_Static_assert(TLP_OBJECTIVE_BOTH == 0 && TLP_OBJECTIVE_KL == 1 &&
                   TLP_OBJECTIVE_NLL == 2,
               "objectives");
#endif

Test(abi_tune, initialisers)
{
    tlp_plan_bake_options o = TLP_PLAN_BAKE_OPTIONS_INIT;

    cr_expect_eq(o.struct_size, sizeof o);
    cr_expect(!o.session && !o.progress && !o.progress_data);
    cr_expect(o.held_out == 0 && o.seed == 0);
    cr_expect(!o.plan_path && !o.type && o.pure == 0);

    tlp_study_options w = TLP_STUDY_OPTIONS_INIT;

    cr_expect_eq(w.struct_size, sizeof w);
    cr_expect(!w.session && !w.place && !w.place_data && !w.progress &&
              !w.progress_data);
    cr_expect(w.n_track == 0 && w.seed == 0 && w.max_bytes == 0);
}
