/*
 * test_abi_sampling.c - the layout of the structs of sampling; the rules are
 * those of test_abi.c.
 */
#include <criterion/criterion.h>
#include <stddef.h>

#include "tlp.h"

#if UINTPTR_MAX == UINT64_MAX
#define SIZE(type, size)                                                       \
    _Static_assert(sizeof(type) == (size), "size of " #type)
#define AT(type, field, offset)                                                \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field)

SIZE(tlp_logit_bias, 8);
AT(tlp_logit_bias, token, 0);
AT(tlp_logit_bias, bias, 4);

SIZE(tlp_sampler_options, 88);
AT(tlp_sampler_options, temperature, 8);
AT(tlp_sampler_options, top_k, 12);
AT(tlp_sampler_options, top_p, 16);
AT(tlp_sampler_options, min_p, 20);
AT(tlp_sampler_options, repeat_penalty, 24);
AT(tlp_sampler_options, frequency_penalty, 28);
AT(tlp_sampler_options, presence_penalty, 32);
AT(tlp_sampler_options, penalty_last_n, 36);
AT(tlp_sampler_options, seed, 40);
AT(tlp_sampler_options, bias, 48);
AT(tlp_sampler_options, n_bias, 56);
AT(tlp_sampler_options, grammar, 64);
AT(tlp_sampler_options, logits, 72);
AT(tlp_sampler_options, logits_data, 80);

SIZE(tlp_logprob, 8);
AT(tlp_logprob, token, 0);
AT(tlp_logprob, logprob, 4);

SIZE(tlp_generate_options, 64);
AT(tlp_generate_options, n_predict, 8);
AT(tlp_generate_options, ignore_end, 12);
AT(tlp_generate_options, stop, 16);
AT(tlp_generate_options, n_stop, 24);
AT(tlp_generate_options, flags, 32);
AT(tlp_generate_options, seq, 36);
AT(tlp_generate_options, text, 40);
AT(tlp_generate_options, text_data, 48);
AT(tlp_generate_options, keep_window, 56);

SIZE(tlp_generate_result, 24);
AT(tlp_generate_result, n_generated, 8);
AT(tlp_generate_result, stop_reason, 12);
AT(tlp_generate_result, last_token, 16);
#endif

Test(abi_sampling, constants)
{
    cr_expect_eq(TLP_TOKEN_CONTROL, 1);
    cr_expect_eq(TLP_TOKEN_END, 2);
    cr_expect_eq(TLP_TOKEN_BYTE, 4);
    cr_expect_eq(TLP_TOKEN_USER, 8);
    cr_expect_eq(TLP_TOKEN_PADDING, 16);
    cr_expect_eq(TLP_PLACE_INSIDE, 0);
    cr_expect_eq(TLP_PLACE_MAY_END, 1);
    cr_expect_eq(TLP_PLACE_COMPLETE, 2);
    cr_expect_eq(TLP_PLACE_ENDED, 3);
}
