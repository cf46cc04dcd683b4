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

SIZE(tlp_plan_bake_options, 48);
AT(tlp_plan_bake_options, session, 8);
AT(tlp_plan_bake_options, held_out, 16);
AT(tlp_plan_bake_options, seed, 24);
AT(tlp_plan_bake_options, progress, 32);
AT(tlp_plan_bake_options, progress_data, 40);

SIZE(tlp_plan_bake_report, 80);
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
#endif

Test(abi_tune, initialisers)
{
    tlp_plan_bake_options o = TLP_PLAN_BAKE_OPTIONS_INIT;

    cr_expect_eq(o.struct_size, sizeof o);
    cr_expect(!o.session && !o.progress && !o.progress_data);
    cr_expect(o.held_out == 0 && o.seed == 0);
}
