/*
 * test_cuda_embed.c - embeddings on a GPU, beside those of the CPU.
 */
#include "support/gpu_plugin.h"
#include "support/rig.h"
#include "support/tiny.h"

#define TOLERANCE 1e-4

TestSuite(cuda_embed, .timeout = 300);

static tlp_session_options on_gpu(int n_rank)
{
    static const int32_t first[1] = { 0 };
    tlp_session_options o = rig_f32(n_rank, 1);

    gpu_load();
    o.backend = TLP_BACKEND_CUDA;
    o.devices = first; /* all ranks on one device */
    o.n_device = 1;
    o.timeout_ms = 60000;
    return o;
}

/* Steps of 16 tokens, a last one of 6, and the last state from a replayed
 * step. */
Test(cuda_embed, vectors)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    int32_t ids[40];

    for (int n_rank = 1; n_rank <= 2; n_rank++)
        for (int pooling = 1; pooling <= 2; pooling++) {
            tlp_session_options o[2] = { rig_f32(n_rank, 1), on_gpu(n_rank) };
            tlp_embed_options e = { sizeof e, pooling, 0 };
            float vector[2][3][96];

            for (int i = 0; i < 2; i++) {
                o[i].n_batch = 16;
                rig r = rig_open(path, "par:1-2", &o[i]);
                rig_tokens(ids, 40, r.n_vocab, 3);
                for (int k = 0; k < 3; k++) { /* the last two are one token */
                    size_t n = k ? 1 : 38;

                    CHECK_OK(tlp_session_embed(vector[i][k], r.session, 0,
                                               ids + (k ? 37 + k : 0), n, &e));
                }
                rig_close(&r);
            }
            cr_assert_leq(rig_diff_f(vector[0][0], vector[1][0], 3 * 96),
                          TOLERANCE);
        }
}
