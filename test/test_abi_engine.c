/*
 * test_abi_engine.c - the layout of the structs of generation and of engines;
 * the rules are those of test_abi.c.
 */
#include <criterion/criterion.h>
#include <stddef.h>

#include "tlp.h"

#if UINTPTR_MAX == UINT64_MAX
#define SIZE(type, size)                                                       \
    _Static_assert(sizeof(type) == (size), "size of " #type)
#define AT(type, field, offset)                                                \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field)

SIZE(tlp_engine_options, 32);
AT(tlp_engine_options, session, 8);
AT(tlp_engine_options, n_request, 16);
AT(tlp_engine_options, n_chunk, 20);
AT(tlp_engine_options, n_draft, 24);

SIZE(tlp_request, 152);
AT(tlp_request, tokens, 8);
AT(tlp_request, n_token, 16);
AT(tlp_request, messages, 24);
AT(tlp_request, n_message, 32);
AT(tlp_request, chat, 40);
AT(tlp_request, sampler, 48);
AT(tlp_request, n_predict, 56);
AT(tlp_request, n_choice, 60);
AT(tlp_request, stop, 64);
AT(tlp_request, n_stop, 72);
AT(tlp_request, stop_tokens, 80);
AT(tlp_request, n_stop_token, 88);
AT(tlp_request, ignore_end, 96);
AT(tlp_request, flags, 100);
AT(tlp_request, logprobs, 104);
AT(tlp_request, prompt_logprobs, 108);
AT(tlp_request, n_top, 112);
AT(tlp_request, priority, 116);
AT(tlp_request, client, 120);
AT(tlp_request, deadline, 128);
AT(tlp_request, user, 136);
AT(tlp_request, embed, 144);

SIZE(tlp_event, 120);
AT(tlp_event, request, 8);
AT(tlp_event, kind, 16);
AT(tlp_event, choice, 20);
AT(tlp_event, token, 24);
AT(tlp_event, n_top, 28);
AT(tlp_event, logprob, 32);
AT(tlp_event, stop_reason, 36);
AT(tlp_event, n_text, 40);
AT(tlp_event, text, 48);
AT(tlp_event, top, 56);
AT(tlp_event, status, 64);
AT(tlp_event, n_prompt, 68);
AT(tlp_event, n_cached, 72);
AT(tlp_event, n_generated, 76);
AT(tlp_event, seconds, 80);
AT(tlp_event, user, 88);
AT(tlp_event, n_draft, 96);
AT(tlp_event, n_accepted, 100);
AT(tlp_event, embedding, 104);
AT(tlp_event, n_embedding, 112);
AT(tlp_event, seq, 116);

SIZE(tlp_engine_stats, 136);
AT(tlp_engine_stats, n_waiting, 8);
AT(tlp_engine_stats, n_running, 12);
AT(tlp_engine_stats, n_choice, 16);
AT(tlp_engine_stats, n_event, 20);
AT(tlp_engine_stats, n_submitted, 24);
AT(tlp_engine_stats, n_ended, 32);
AT(tlp_engine_stats, n_failed, 40);
AT(tlp_engine_stats, n_canceled, 48);
AT(tlp_engine_stats, n_prompt, 56);
AT(tlp_engine_stats, n_cached, 64);
AT(tlp_engine_stats, n_generated, 72);
AT(tlp_engine_stats, n_step, 80);
AT(tlp_engine_stats, step_seconds, 88);
AT(tlp_engine_stats, worst_gap, 96);
AT(tlp_engine_stats, n_draft, 104);
AT(tlp_engine_stats, n_accepted, 112);
AT(tlp_engine_stats, n_seq, 120);
AT(tlp_engine_stats, n_ctx, 124);
AT(tlp_engine_stats, n_position, 128);

SIZE(tlp_slot, 40);
AT(tlp_slot, request, 8);
AT(tlp_slot, choice, 16);
AT(tlp_slot, n_held, 20);
AT(tlp_slot, n_prompt, 24);
AT(tlp_slot, n_done, 28);
AT(tlp_slot, n_cached, 32);
AT(tlp_slot, n_generated, 36);

_Static_assert(TLP_EVENT_PROMPT == 1 && TLP_EVENT_PROMPT_TOKEN == 2 &&
                   TLP_EVENT_TOKEN == 3 && TLP_EVENT_STOP == 4 &&
                   TLP_EVENT_END == 5 && TLP_EVENT_EMBEDDING == 6,
               "kinds of events");
#endif

Test(abi_engine, initialisers)
{
    tlp_engine_options e = TLP_ENGINE_OPTIONS_INIT;
    tlp_request r = TLP_REQUEST_INIT;

    cr_expect_eq(e.struct_size, sizeof e);
    cr_expect(!e.session && e.n_request == 0 && e.n_chunk == 0 &&
              e.n_draft == 0);
    cr_expect_eq(r.struct_size, sizeof r);
    cr_expect(!r.tokens && !r.messages && !r.chat && !r.sampler && !r.stop &&
              !r.stop_tokens && !r.user && !r.embed);
    cr_expect(r.n_token == 0 && r.n_message == 0 && r.n_predict == 0 &&
              r.n_choice == 0 && r.n_stop == 0 && r.n_stop_token == 0);
    cr_expect(r.ignore_end == 0 && r.flags == 0 && r.logprobs == 0 &&
              r.prompt_logprobs == 0 && r.n_top == 0 && r.priority == 0 &&
              r.client == 0 && r.deadline == 0);
}
