/*
 * test_abi.c - what programs that were compiled earlier rely on: layout of the
 * public structs, values of the constants.
 *
 * A failing line here means a new TLP_ABI_VERSION, or a mistake.  The layouts
 * are those of 64-bit machines with 4-byte int (LP64, LLP64).
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>

#include "tlp_eval.h"
#include "tlp_tune.h"

#if UINTPTR_MAX == UINT64_MAX
#define SIZE(type, size)                                                       \
    _Static_assert(sizeof(type) == (size), "size of " #type)
#define AT(type, field, offset)                                                \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field)

SIZE(tlp_status, 4);

SIZE(tlp_allocator, 24);
AT(tlp_allocator, alloc, 0);
AT(tlp_allocator, free, 8);
AT(tlp_allocator, user_data, 16);

SIZE(tlp_model_options, 80);
AT(tlp_model_options, no_mmap, 8);
AT(tlp_model_options, vocab_only, 12);
AT(tlp_model_options, progress, 16);
AT(tlp_model_options, progress_data, 24);
AT(tlp_model_options, log, 32);
AT(tlp_model_options, log_data, 40);
AT(tlp_model_options, allocator, 48);
AT(tlp_model_options, trust_sample, 72);

SIZE(tlp_model_info, 336);
AT(tlp_model_info, arch, 8);
AT(tlp_model_info, name, 40);
AT(tlp_model_info, quant, 168);
AT(tlp_model_info, fingerprint, 184);
AT(tlp_model_info, n_layer, 256);
AT(tlp_model_info, n_embd, 260);
AT(tlp_model_info, n_ff, 264);
AT(tlp_model_info, n_head, 268);
AT(tlp_model_info, n_head_kv, 272);
AT(tlp_model_info, head_dim, 276);
AT(tlp_model_info, n_vocab, 280);
AT(tlp_model_info, n_ctx_train, 284);
AT(tlp_model_info, bos, 288);
AT(tlp_model_info, eos, 292);
AT(tlp_model_info, eot, 296);
AT(tlp_model_info, pad, 300);
AT(tlp_model_info, n_param, 304);
AT(tlp_model_info, n_bytes, 312);
AT(tlp_model_info, n_tensor, 320);
AT(tlp_model_info, n_meta, 324);
AT(tlp_model_info, n_expert, 328);
AT(tlp_model_info, n_expert_used, 332);

SIZE(tlp_tensor_info, 72);
AT(tlp_tensor_info, name, 8);
AT(tlp_tensor_info, type, 16);
AT(tlp_tensor_info, n_dim, 24);
AT(tlp_tensor_info, file, 28);
AT(tlp_tensor_info, ne, 32);
AT(tlp_tensor_info, n_bytes, 64);

SIZE(tlp_chat_message, 16);
AT(tlp_chat_message, role, 0);
AT(tlp_chat_message, content, 8);

SIZE(tlp_chat_options, 72);
AT(tlp_chat_options, add_generation_prompt, 8);
AT(tlp_chat_options, continue_final_message, 12);
AT(tlp_chat_options, messages_json, 16);
AT(tlp_chat_options, tools_json, 24);
AT(tlp_chat_options, documents_json, 32);
AT(tlp_chat_options, kwargs_json, 40);
AT(tlp_chat_options, chat_template, 48);
AT(tlp_chat_options, template_name, 56);
AT(tlp_chat_options, now, 64);

SIZE(tlp_plan_cost, 64);
AT(tlp_plan_cost, n_rank, 8);
AT(tlp_plan_cost, effective_depth, 12);
AT(tlp_plan_cost, n_layer, 16);
AT(tlp_plan_cost, allreduces, 20);
AT(tlp_plan_cost, inner_allreduces, 24);
AT(tlp_plan_cost, sends, 28);
AT(tlp_plan_cost, comm_bytes, 32);
AT(tlp_plan_cost, max_rank_bytes, 40);
AT(tlp_plan_cost, sum_rank_bytes, 48);
AT(tlp_plan_cost, exchanges, 56);

SIZE(tlp_stage_info, 32);
AT(tlp_stage_info, mode, 8);
AT(tlp_stage_info, n_member, 12);
AT(tlp_stage_info, layers, 16);
AT(tlp_stage_info, nosync, 24);
AT(tlp_stage_info, n_track, 28);

SIZE(tlp_plan_adjust_info, 48);
AT(tlp_plan_adjust_info, n_gain, 8);
AT(tlp_plan_adjust_info, n_norm, 12);
AT(tlp_plan_adjust_info, n_low_rank, 16);
AT(tlp_plan_adjust_info, n_bytes, 24);
AT(tlp_plan_adjust_info, sha256, 32);
AT(tlp_plan_adjust_info, n_lora, 40);

SIZE(tlp_device_info, 176);
AT(tlp_device_info, name, 8);
AT(tlp_device_info, major, 136);
AT(tlp_device_info, minor, 140);
AT(tlp_device_info, n_sm, 144);
AT(tlp_device_info, memory_total, 152);
AT(tlp_device_info, memory_free, 160);
AT(tlp_device_info, peers, 168);

SIZE(tlp_session_options, 168);
AT(tlp_session_options, n_ctx, 8);
AT(tlp_session_options, n_seq, 12);
AT(tlp_session_options, n_batch, 16);
AT(tlp_session_options, n_rank, 20);
AT(tlp_session_options, n_thread, 24);
AT(tlp_session_options, backend, 28);
AT(tlp_session_options, comm, 32);
AT(tlp_session_options, compute, 36);
AT(tlp_session_options, kv_type, 40);
AT(tlp_session_options, isa, 44);
AT(tlp_session_options, pin, 48);
AT(tlp_session_options, timeout_ms, 52);
AT(tlp_session_options, progress, 56);
AT(tlp_session_options, progress_data, 64);
AT(tlp_session_options, wire, 72);
AT(tlp_session_options, comm_handle, 80);
AT(tlp_session_options, devices, 88);
AT(tlp_session_options, n_device, 96);
AT(tlp_session_options, link_delay_us, 104);
AT(tlp_session_options, n_row, 112);
AT(tlp_session_options, pool, 120);
AT(tlp_session_options, n_thread_prefill, 128);
AT(tlp_session_options, spin_us, 132);
AT(tlp_session_options, adapter, 136);
AT(tlp_session_options, adapter_scale, 144);
AT(tlp_session_options, kv_bytes, 152);
AT(tlp_session_options, kv_alloc, 160);

SIZE(tlp_pool, 24);
AT(tlp_pool, run, 8);
AT(tlp_pool, user, 16);

SIZE(tlp_embed_options, 16);
AT(tlp_embed_options, pooling, 8);
AT(tlp_embed_options, no_normalize, 12);

SIZE(tlp_batch, 40);
AT(tlp_batch, n, 8);
AT(tlp_batch, tokens, 16);
AT(tlp_batch, seqs, 24);
AT(tlp_batch, want_logits, 32);

SIZE(tlp_need, 40);
AT(tlp_need, weight_bytes, 8);
AT(tlp_need, kv_bytes, 16);
AT(tlp_need, buffer_bytes, 24);
AT(tlp_need, n_rank, 32);

SIZE(tlp_session_stats, 160);
AT(tlp_session_stats, n_prefill, 8);
AT(tlp_session_stats, n_decode, 16);
AT(tlp_session_stats, n_step, 24);
AT(tlp_session_stats, allreduces, 32);
AT(tlp_session_stats, comm_bytes, 40);
AT(tlp_session_stats, seconds, 48);
AT(tlp_session_stats, comm_seconds, 56);
AT(tlp_session_stats, kv_bytes, 64);
AT(tlp_session_stats, weight_bytes, 72);
AT(tlp_session_stats, buffer_bytes, 80);
AT(tlp_session_stats, n_rank, 88);
AT(tlp_session_stats, n_thread, 92);
AT(tlp_session_stats, isa, 96);
AT(tlp_session_stats, n_thread_prefill, 112);
AT(tlp_session_stats, link, 116);
AT(tlp_session_stats, kv_most_bytes, 152);

SIZE(tlp_divergence, 48);
AT(tlp_divergence, kl, 8);
AT(tlp_divergence, reference_lse, 16);
AT(tlp_divergence, lse, 24);
AT(tlp_divergence, reference_top1, 32);
AT(tlp_divergence, top1, 36);
AT(tlp_divergence, same_top5, 40);

SIZE(tlp_task_options, 24);
AT(tlp_task_options, delimiter, 8);
AT(tlp_task_options, n_ctx, 16);
AT(tlp_task_options, bos, 20);

SIZE(tlp_task_info, 32);
AT(tlp_task_info, n_item, 8);
AT(tlp_task_info, n_cut, 16);
AT(tlp_task_info, max_token, 24);

SIZE(tlp_task_item, 32);
AT(tlp_task_item, query, 8);
AT(tlp_task_item, choices, 16);
AT(tlp_task_item, n_choice, 24);
AT(tlp_task_item, gold, 28);

SIZE(tlp_answer, 16);
AT(tlp_answer, best, 8);
AT(tlp_answer, best_norm, 12);

SIZE(tlp_drill, 520);
AT(tlp_drill, name, 8);
AT(tlp_drill, prompt, 32);
AT(tlp_drill, answer, 456);

SIZE(tlp_plan_make_options, 128);
AT(tlp_plan_make_options, session, 8);
AT(tlp_plan_make_options, depth, 16);
AT(tlp_plan_make_options, max_group, 20);
AT(tlp_plan_make_options, max_kl, 24);
AT(tlp_plan_make_options, speedup, 32);
AT(tlp_plan_make_options, link, 40);
AT(tlp_plan_make_options, modes, 48);
AT(tlp_plan_make_options, objective, 52);
AT(tlp_plan_make_options, seed, 56);
AT(tlp_plan_make_options, max_bytes, 64);
AT(tlp_plan_make_options, resume, 72);
AT(tlp_plan_make_options, point, 80);
AT(tlp_plan_make_options, point_data, 88);
AT(tlp_plan_make_options, progress, 96);
AT(tlp_plan_make_options, progress_data, 104);
AT(tlp_plan_make_options, exchanges, 112);
AT(tlp_plan_make_options, n_track, 116);
AT(tlp_plan_make_options, start, 120);

SIZE(tlp_plan_adjust_options, 64);
AT(tlp_plan_adjust_options, session, 8);
AT(tlp_plan_adjust_options, gains, 16);
AT(tlp_plan_adjust_options, norms, 20);
AT(tlp_plan_adjust_options, rank, 24);
AT(tlp_plan_adjust_options, held_out, 32);
AT(tlp_plan_adjust_options, seed, 40);
AT(tlp_plan_adjust_options, progress, 48);
AT(tlp_plan_adjust_options, progress_data, 56);

SIZE(tlp_plan_adjust_report, 88);
AT(tlp_plan_adjust_report, n_window, 8);
AT(tlp_plan_adjust_report, n_held_out, 12);
AT(tlp_plan_adjust_report, kl_before, 16);
AT(tlp_plan_adjust_report, kl_after, 24);
AT(tlp_plan_adjust_report, ppl_before, 32);
AT(tlp_plan_adjust_report, ppl_after, 40);
AT(tlp_plan_adjust_report, top1_before, 48);
AT(tlp_plan_adjust_report, top1_after, 56);
AT(tlp_plan_adjust_report, n_gain, 64);
AT(tlp_plan_adjust_report, n_norm, 68);
AT(tlp_plan_adjust_report, n_low_rank, 72);
AT(tlp_plan_adjust_report, n_bytes, 80);

SIZE(tlp_plan_point, 56);
AT(tlp_plan_point, depth, 8);
AT(tlp_plan_point, chosen, 12);
AT(tlp_plan_point, plan, 16);
AT(tlp_plan_point, kl, 24);
AT(tlp_plan_point, top1_agreement, 32);
AT(tlp_plan_point, ppl, 40);
AT(tlp_plan_point, exchanges, 48);
AT(tlp_plan_point, n_rank, 52);

SIZE(tlp_link_rates, 32);
SIZE(tlp_link, 688);
AT(tlp_link, fingerprint, 8);
AT(tlp_link, n_rank, 80);
AT(tlp_link, n_thread, 84);
AT(tlp_link, n_batch, 88);
AT(tlp_link, n_size, 92);
AT(tlp_link, decode, 96);
AT(tlp_link, prefill, 128);
AT(tlp_link, head_byte, 160);
AT(tlp_link, command, 168);
AT(tlp_link, size, 176);
AT(tlp_link, allreduce, 304);
AT(tlp_link, late, 432);
AT(tlp_link, send, 560);

SIZE(tlp_prediction, 48);
AT(tlp_prediction, seconds, 8);
AT(tlp_prediction, compute_seconds, 16);
AT(tlp_prediction, command_seconds, 24);
AT(tlp_prediction, send_seconds, 32);
AT(tlp_prediction, allreduce_seconds, 40);

SIZE(tlp_quantize_result, 32);
AT(tlp_quantize_result, n_tensor, 8);
AT(tlp_quantize_result, n_converted, 12);
AT(tlp_quantize_result, n_fallback, 16);
AT(tlp_quantize_result, n_bytes, 24);
#endif

/* Each constant of the header with the value it shipped with. */
Test(abi, constants)
{
    static const struct {
        const char *name;
        long value, shipped;
    } c[] = {
#define C(name, shipped) { #name, (long)(name), (shipped) }
        C(TLP_OK, 0),
        C(TLP_ERROR, -1),
        C(TLP_EINVAL, -2),
        C(TLP_ENOMEM, -3),
        C(TLP_EIO, -4),
        C(TLP_EFORMAT, -5),
        C(TLP_ENOTSUP, -6),
        C(TLP_EFULL, -7),
        C(TLP_EBUFS, -8),
        C(TLP_ESTATE, -9),
        C(TLP_ECANCELED, -10),
        C(TLP_EDEVICE, -11),
        C(TLP_ECOMM, -12),
        C(TLP_EABI, -13),
        C(TLP_ETIMEDOUT, -14),
        C(TLP_EMISMATCH, -15),
        C(TLP_EUNREACHED, -16),
        C(TLP_ENOGAIN, -17),
        C(TLP_ECLOSED, -18),
        C(TLP_EBUSY, -19),
        C(TLP_LOG_ERROR, 1),
        C(TLP_LOG_WARN, 2),
        C(TLP_LOG_INFO, 3),
        C(TLP_LOG_DEBUG, 4),
        C(TLP_TOKENIZE_SPECIAL, 1),
        C(TLP_TOKENIZE_BOS, 2),
        C(TLP_TOKENIZE_EOS, 4),
        C(TLP_DETOKENIZE_SPECIAL, 1),
        C(TLP_MODE_SERIAL, 0),
        C(TLP_MODE_LP, 1),
        C(TLP_MODE_PAR, 2),
        C(TLP_MODE_ASYM, 3),
        C(TLP_MODE_LP_CODE, 4),
        C(TLP_MODE_MERGE, 5),
        C(TLP_PLAN_TEXT, 0),
        C(TLP_PLAN_JSON, 1),
        C(TLP_BACKEND_CPU, 0),
        C(TLP_BACKEND_CUDA, 1),
        C(TLP_COMM_THREADS, 0),
        C(TLP_COMM_MPI, 1),
        C(TLP_WIRE_F32, 0),
        C(TLP_WIRE_BF16, 1),
        C(TLP_WIRE_Q8, 2),
        C(TLP_COMPUTE_DEFAULT, 0),
        C(TLP_COMPUTE_F32, 1),
        C(TLP_KV_DEFAULT, 0),
        C(TLP_KV_F32, 1),
        C(TLP_KV_F16, 2),
        C(TLP_KV_BF16, 3),
        C(TLP_KV_Q8_0, 4),
        C(TLP_KV_ALLOC_DEFAULT, 0),
        C(TLP_KV_AS_USED, 1),
        C(TLP_KV_AHEAD, 2),
        C(TLP_POOLING_DEFAULT, 0),
        C(TLP_POOLING_LAST, 1),
        C(TLP_POOLING_MEAN, 2),
        C(TLP_ISA_AUTO, 0),
        C(TLP_ISA_SCALAR, 1),
        C(TLP_ISA_AVX2, 2),
        C(TLP_ISA_AVX512, 3),
        C(TLP_ISA_AMX, 4),
        C(TLP_STOP_LENGTH, 1),
        C(TLP_STOP_END, 2),
        C(TLP_STOP_STRING, 3),
        C(TLP_STOP_CONTEXT, 4),
        C(TLP_STOP_CALLBACK, 5),
        C(TLP_STOP_TOKEN, 6),
        C(TLP_STOP_CANCEL, 7),
        C(TLP_STOP_DEADLINE, 8),
        C(TLP_STOP_ERROR, 9),
        C(TLP_DRILL_COPY_WORDS, 0),
        C(TLP_DRILL_COPY_DIGITS, 1),
        C(TLP_DRILL_ADD, 2),
        C(TLP_DRILL_ADD_TENS, 3),
#undef C
    };

    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++)
        cr_expect_eq(c[i].value, c[i].shipped, "%s is %ld, %ld shipped",
                     c[i].name, c[i].value, c[i].shipped);
}

Test(abi, every_status_has_name_and_text)
{
    static const struct {
        tlp_status status;
        const char *name, *text;
    } s[] = {
        { TLP_OK, "TLP_OK", "success" },
        { TLP_ERROR, "TLP_ERROR", "unspecified failure" },
        { TLP_EINVAL, "TLP_EINVAL", "invalid argument" },
        { TLP_ENOMEM, "TLP_ENOMEM", "out of memory" },
        { TLP_EIO, "TLP_EIO", "read or write failed" },
        { TLP_EFORMAT, "TLP_EFORMAT", "malformed file or text" },
        { TLP_ENOTSUP, "TLP_ENOTSUP", "not supported" },
        { TLP_EFULL, "TLP_EFULL", "context is full" },
        { TLP_EBUFS, "TLP_EBUFS", "buffer too small" },
        { TLP_ESTATE, "TLP_ESTATE", "call out of order" },
        { TLP_ECANCELED, "TLP_ECANCELED", "canceled" },
        { TLP_EDEVICE, "TLP_EDEVICE", "device fault" },
        { TLP_ECOMM, "TLP_ECOMM", "a peer rank failed" },
        { TLP_EABI, "TLP_EABI", "struct is newer than the library" },
        { TLP_ETIMEDOUT, "TLP_ETIMEDOUT",
          "a peer rank did not answer in time" },
        { TLP_EMISMATCH, "TLP_EMISMATCH", "things that must agree do not" },
        { TLP_EUNREACHED, "TLP_EUNREACHED", "target out of reach" },
        { TLP_ENOGAIN, "TLP_ENOGAIN", "no adjustment helps" },
        { TLP_ECLOSED, "TLP_ECLOSED", "nothing more will come" },
        { TLP_EBUSY, "TLP_EBUSY", "no room at the moment" },
    };

    for (size_t i = 0; i < sizeof s / sizeof s[0]; i++) {
        cr_expect_str_eq(tlp_status_name(s[i].status), s[i].name);
        cr_expect_str_eq(tlp_status_text(s[i].status), s[i].text);
    }
    cr_expect_str_eq(tlp_status_name((tlp_status)-9999), "TLP_E?");
    cr_expect_not_null(tlp_status_text((tlp_status)-9999));
}

/* Header and library agree, and the text says the same as the number. */
Test(abi, version)
{
    char text[32];

    cr_expect_eq(tlp_version_number(), TLP_VERSION_NUMBER);
    snprintf(text, sizeof text, "%d.%d.%d", TLP_VERSION_MAJOR,
             TLP_VERSION_MINOR, TLP_VERSION_PATCH);
    cr_expect_str_eq(tlp_version_string(), text);
}

/* All bytes of an initialised struct but its size: zero is every default. */
static void expect_zero_tail(const void *object, size_t size, const char *name)
{
    const unsigned char *bytes = object;

    cr_expect_eq(*(const size_t *)object, size, "%s: struct_size", name);
    for (size_t i = sizeof(size_t); i < size; i++)
        cr_expect_eq(bytes[i], 0, "%s: byte %zu is not zero", name, i);
}

Test(abi, initialisers)
{
    /* Static objects: their padding is zero. */
    static const tlp_model_options model = TLP_MODEL_OPTIONS_INIT;
    static const tlp_session_options session = TLP_SESSION_OPTIONS_INIT;
    static const tlp_batch batch = TLP_BATCH_INIT;
    static const tlp_sampler_options sampler = TLP_SAMPLER_OPTIONS_INIT;
    static const tlp_generate_options generate = TLP_GENERATE_OPTIONS_INIT;
    static const tlp_task_options task = TLP_TASK_OPTIONS_INIT;
    static const tlp_quantize_options quantize = TLP_QUANTIZE_OPTIONS_INIT;
    static const tlp_imatrix_options imatrix = TLP_IMATRIX_OPTIONS_INIT;
    static const tlp_plan_make_options make = TLP_PLAN_MAKE_OPTIONS_INIT;
    static const tlp_plan_adjust_options adjust = TLP_PLAN_ADJUST_OPTIONS_INIT;

    expect_zero_tail(&model, sizeof model, "model");
    expect_zero_tail(&session, sizeof session, "session");
    expect_zero_tail(&batch, sizeof batch, "batch");
    expect_zero_tail(&sampler, sizeof sampler, "sampler");
    expect_zero_tail(&generate, sizeof generate, "generate");
    expect_zero_tail(&task, sizeof task, "task");
    expect_zero_tail(&quantize, sizeof quantize, "quantize");
    expect_zero_tail(&imatrix, sizeof imatrix, "imatrix");
    expect_zero_tail(&make, sizeof make, "make");
    expect_zero_tail(&adjust, sizeof adjust, "adjust");
}
