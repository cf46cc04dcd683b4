/*
 * test_folder_bad_files.c - folders of Hugging Face whose tensors or index are
 * malformed or hostile, and memory that runs out.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/check.h"
#include "support/hf_edit.h"
#include "support/hf_folder.h"
#include "support/mem.h"
#include "support/tiny.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

TestSuite(folder_bad_files, .timeout = 60);

/* ==== tensors ============================================================ */

Test(folder_bad_files, tensors)
{
    static const struct {
        const char *from, *to;
        tlp_status status;
        const char *text;
    } bad[] = {
        { "mlp.up_proj.weight", "mlp.up_proj.weighs", TLP_ENOTSUP,
          ".mlp.up_proj.weighs: not known for LlamaForCausalLM" },
        { "model.layers.1.mlp.up", "model.layers.7.mlp.up", TLP_EFORMAT,
          "tensor model.layers.7.mlp.up_proj.weight: the model has 2 layers" },
        { "model.layers.1.mlp.up", "model.layers.0.mlp.up", TLP_EFORMAT,
          ": header: byte " /* twice */ },
        { "self_attn.v_proj.weight", "self_attn.v_proj.bias  ", TLP_ENOTSUP,
          "not known for" },
        { "\"F32\"", "\"I32\"", TLP_ENOTSUP,
          "dtype I32, F32, F16 or BF16 expected" },
        { "\"shape\":[96]", "\"shape\":[97]", TLP_EFORMAT,
          "384 bytes of data, its shape takes 388" },
        { "\"shape\":[96]", "\"shape\":[-1]", TLP_EFORMAT,
          "shape: dimension 0 is -1, a size expected" },
        { "\"data_offsets\":[0,", "\"data_offsets\":[4,", TLP_EFORMAT,
          "bytes of data, its shape takes" },
    };

    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *folder = hf_small("llama", 0, false);

        hf_patch(folder, bad[i].from, bad[i].to);
        hf_expect_fails(folder, bad[i].status, bad[i].text);
    }
}

Test(folder_bad_files, safetensors_lengths)
{
    const char *folder = hf_small("llama", 0, false);
    const char *path = hf_file(folder, "model.safetensors");
    struct stat s;

    cr_assert_eq(stat(path, &s), 0);
    cr_assert_eq(truncate(path, s.st_size - 1), 0);
    hf_expect_fails(folder, TLP_EFORMAT, "/model.safetensors: tensor ");
    cr_assert_eq(truncate(path, 100), 0);
    hf_expect_fails(folder, TLP_EFORMAT, "/model.safetensors: a header of ");
    cr_assert_eq(truncate(path, 7), 0);
    hf_expect_fails(folder, TLP_EFORMAT,
                    "/model.safetensors: 7 bytes, the size");
    cr_assert_eq(truncate(path, 0), 0);
    hf_expect_fails(folder, TLP_EFORMAT,
                    "/model.safetensors: the file is empty");
    hf_write(folder, "model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f{}",
             10);
    hf_expect_fails(folder, TLP_EFORMAT,
                    "a header of 9223372036854775807 bytes, 2 are left");
    cr_assert_eq(unlink(path), 0);
    hf_expect_fails(folder, TLP_EIO, ": neither model.safetensors nor");
}

/* ==== the index ========================================================== */

#define INDEX "model.safetensors.index.json"
#define NORM "weight_map/model.norm.weight"

Test(folder_bad_files, the_index)
{
    static const struct {
        const char *path, *value;
        tlp_status status;
        const char *text;
    } bad[] = {
        { NORM, "\"../model.safetensors\"", TLP_EFORMAT,
          "weight_map.model.norm.weight: \"../model.safetensors\", the name of "
          "a file in the folder expected" },
        { NORM, "\"/etc/passwd\"", TLP_EFORMAT, "\"/etc/passwd\", the name" },
        { NORM, "\"..\"", TLP_EFORMAT, "\"..\", the name" },
        { NORM, "\"a/b\"", TLP_EFORMAT, "\"a/b\", the name" },
        { NORM, "\"\"", TLP_EFORMAT, "\"\", the name" },
        { NORM, "3", TLP_EFORMAT, "no text, the name" },
        { NORM, "\"no-such-file\"", TLP_EFORMAT,
          ": the index says no-such-file" },
        { "weight_map/more.weight", "\"a-missing-file\"", TLP_EIO,
          "/a-missing-file: No such file or directory" },
        { NORM, "\"model-00001-of-00002.safetensors\"", TLP_EFORMAT,
          " tensors, the index says " },
        { NORM, NULL, TLP_EFORMAT,
          "tensor model.norm.weight: not in the index" },
        { "weight_map/more.weight", "\"model-00001-of-00002.safetensors\"",
          TLP_EFORMAT, " tensors, the index says " },
        { "weight_map", "{}", TLP_EFORMAT,
          "weight_map: an object of 0 keys, the file of each" },
        { "weight_map", "[]", TLP_EFORMAT, "weight_map: an array of 0, an " },
    };

    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *folder = hf_small("llama", 2, false);

        hf_edit(folder, INDEX, bad[i].path, bad[i].value);
        hf_expect_fails(folder, bad[i].status, bad[i].text);
    }
}

/* A tensor in two files: the index names one of them. */
Test(folder_bad_files, a_tensor_twice)
{
    const char *folder = hf_small("llama", 2, false);
    const char *first = hf_file(folder, "model-00001-of-00002.safetensors");

    cr_assert_eq(unlink(hf_file(folder, "model-00002-of-00002.safetensors")),
                 0);
    cr_assert_eq(
        link(first, hf_file(folder, "model-00002-of-00002.safetensors")), 0);
    hf_expect_fails(folder, TLP_EFORMAT,
                    ": the index says model-00001-of-00002.safetensors");
}

/* Links are followed, as caches of downloads need. */
Test(folder_bad_files, links_are_followed)
{
    const char *folder = hf_small("llama", 0, false), *away = tiny_path("blob");
    tlp_model *m = NULL;

    cr_assert_eq(rename(hf_file(folder, "model.safetensors"), away), 0);
    cr_assert_eq(symlink(away, hf_file(folder, "model.safetensors")), 0);
    CHECK_OK(tlp_model_open(&m, folder, NULL));
    tlp_model_free(m);
}

/* ==== memory ============================================================= */

/* The n-th allocation fails: TLP_ENOMEM, and nothing stays. */
static void run_out_of_memory(const char *arch)
{
    const char *folder = hf_small(arch, 2, false);
    long n = 1;

    for (;; n += CHECK_SLOWDOWN) {
        mem counter = { .fail_at = n };
        tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
        tlp_model *m = NULL;

        o.allocator = mem_hooks(&counter);
        tlp_status st = tlp_model_open(&m, folder, &o);
        tlp_model_free(m);
        cr_assert_eq(counter.live, 0, "call %ld", n);
        if (!counter.failed) {
            CHECK_OK(st);
            break;
        }
        cr_assert(st == TLP_ENOMEM || st == TLP_OK, "call %ld: %s", n,
                  tlp_last_error());
    }
    cr_expect(n > 50);
}

Test(folder_bad_files, out_of_memory)
{
    run_out_of_memory("gemma3");
    run_out_of_memory("phi3");
    run_out_of_memory("mixtral");
    run_out_of_memory("gpt-oss");
}
