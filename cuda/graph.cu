/*
 * graph.cu - decoding steps as CUDA graphs: recorded once, launched in one
 * call.
 *
 * The shape of a step is everything that its kernels' arguments depend on:
 * tokens, rows of logits and their place, the version of the weights, and the
 * longest context rounded up to a power of two, which decides how attention is
 * split.  The shape is equal on all ranks, so all ranks record or replay the
 * same steps.  A shape is recorded when it occurs for the second time.  The
 * cache of shapes replaces the least recently used one.
 */
#include "gpu.h"

static constexpr int N_SHAPE = 16;

typedef struct step_shape {
    int n_tok, n_row, at, bucket;
    uint32_t version;
} step_shape;

typedef struct graph_entry {
    step_shape key;
    cudaGraphExec_t exec; /* NULL: seen once, not recorded */
    uint64_t used;        /* time of the last use; 0: free entry */
} graph_entry;

struct tlpi_gpu_graphs {
    bool off;
    graph_entry all[N_SHAPE];
    uint64_t now;
    graph_entry *recording; /* or NULL */
};

tlp_status tlpi_gpu_graphs_create(tlpi_gpu *g)
{
    const char *text = getenv("TLP_CUDA_GRAPHS");

    g->graphs =
        (tlpi_gpu_graphs *)tlpi_gpu_alloc(g->base.env, sizeof *g->graphs);
    if (!g->graphs)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    g->graphs->off = text && strcmp(text, "0") == 0;
    return TLP_OK;
}

static void forget(graph_entry *e)
{
    if (e->exec)
        (void)cudaGraphExecDestroy(e->exec);
    *e = {};
}

void tlpi_gpu_graphs_clear(tlpi_gpu *g)
{
    for (int i = 0; g->graphs && i < N_SHAPE; i++)
        forget(&g->graphs->all[i]);
}

void tlpi_gpu_graphs_free(tlpi_gpu *g)
{
    tlpi_gpu_graphs_clear(g);
    tlpi_gpu_free(g->base.env, g->graphs, sizeof *g->graphs);
}

static bool same(const step_shape *a, const step_shape *b)
{
    return a->n_tok == b->n_tok && a->n_row == b->n_row && a->at == b->at &&
           a->bucket == b->bucket && a->version == b->version;
}

/* The entry of a shape, a new one if necessary. */
static graph_entry *find(tlpi_gpu_graphs *x, const step_shape *key)
{
    graph_entry *oldest = &x->all[0];

    for (int i = 0; i < N_SHAPE; i++) {
        graph_entry *e = &x->all[i];
        if (e->used && same(&e->key, key))
            return e;
        if (e->used < oldest->used)
            oldest = e;
    }
    forget(oldest);
    oldest->key = *key;
    return oldest;
}

bool tlpi_gpu_graphs_begin(tlpi_gpu *g)
{
    tlpi_gpu_graphs *x = g->graphs;
    step_shape key = { g->step->n_tok, g->want->n_row, g->want->at, g->bucket,
                       g->want->version };

    if (x->off || g->error != cudaSuccess)
        return false;
    graph_entry *e = find(x, &key);
    bool seen = e->used > 0;
    e->used = ++x->now;
    if (e->exec) {
        tlpi_gpu_keep_error(g, cudaGraphLaunch(e->exec, g->stream),
                            "launching a graph");
        g->stats.replayed++;
        return true;
    }
    if (seen) {
        tlpi_gpu_keep_error(
            g,
            cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal),
            "recording a step");
        x->recording = g->error == cudaSuccess ? e : NULL;
    }
    return false;
}

/* Instantiate a graph and launch it.  Instantiation allocates memory, for
 * which the driver may wait for the device.  Until the rendezvous that
 * follows, no rank waits on the device for this rank. */
static tlp_status begin_replays(tlpi_gpu *g, graph_entry *e, cudaGraph_t graph)
{
    tlp_status st = TLP_OK;

    tlpi_gpu_keep_error(g, cudaGraphInstantiate(&e->exec, graph, 0),
                        "making a graph");
    if (g->error == cudaSuccess)
        tlpi_gpu_keep_error(g, cudaGraphUpload(e->exec, g->stream),
                            "making a graph");
    if (g->error == cudaSuccess && g->rendezvous)
        st = g->rendezvous(g->check_arg);
    if (st == TLP_OK && g->error == cudaSuccess)
        tlpi_gpu_keep_error(g, cudaGraphLaunch(e->exec, g->stream),
                            "launching a graph");
    g->stats.recorded++;
    return st;
}

/* Launch the recorded step, unless the step has failed. */
tlp_status tlpi_gpu_graphs_end(tlpi_gpu *g, tlp_status st)
{
    tlpi_gpu_graphs *x = g->graphs;
    graph_entry *e = x->recording;
    cudaGraph_t graph = NULL;

    x->recording = NULL;
    if (!e)
        return st;
    tlpi_gpu_keep_error(g, cudaStreamEndCapture(g->stream, &graph),
                        "recording a step");
    if (st == TLP_OK && g->error == cudaSuccess)
        st = begin_replays(g, e, graph);
    if (graph)
        (void)cudaGraphDestroy(graph);
    return st;
}
