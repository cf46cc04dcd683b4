/*
 * engine.h - from command-line options to a model, a plan and a session, for
 * all commands.  Functions print a message on failure and return an exit
 * status.
 *
 * Under mpirun every process gets one command line and becomes a rank.
 * engine_start returns CLI_OK only on rank 0, where the command continues as
 * in a single process.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include "cli.h"
#include "tlp.h"

#define ENGINE_MAX_DEVICE 64

typedef struct engine {
    /* options */
    const char *model_path;
    const char *plan_text; /* NULL = serial */
    const char *lora_path; /* adapter; NULL = none */
    float lora_scale;
    bool no_mmap, trust_sample;
    int n_rank; /* 0 = not given; set by engine_start */
    int n_thread, n_thread_batch;
    int spin_us;
    const char *device;   /* "cuda:0,1"; NULL = cpu */
    int where;            /* ENGINE_AUTO, ... */
    int wire;             /* TLP_WIRE_* */
    float timeout;        /* seconds */
    int link_delay_us;    /* between ranks of one process */
    int compute, kv, isa; /* TLP_COMPUTE_*, TLP_KV_*, TLP_ISA_* */
    bool pin;
    bool keep_serving; /* continue serving after a failed session */
    bool warned;       /* of positions beyond those of training */
    /* meaning of the options, set by engine_start */
    int32_t backend; /* TLP_BACKEND_* */
    int32_t devices[ENGINE_MAX_DEVICE];
    size_t n_device; /* 0 = all */
    int32_t comm;    /* TLP_COMM_* */
    /* opened objects */
    tlp_model *model;
    tlp_model_info info;
    tlp_adapter *adapter;
    tlp_plan *plan;
    tlp_session *session;
} engine;

/* Place of the ranks. */
enum { ENGINE_AUTO, ENGINE_THREADS, ENGINE_MPI };

#define ENGINE_INIT                                                            \
    {                                                                          \
        .timeout = 5, .lora_scale = 1                                          \
    }

/* Rows of an option table. */
/* clang-format off */
#define ENGINE_MODEL_OPTION(e)                                                 \
    { CLI_TEXT, 'm', "model", &(e).model_path, "FILE",                         \
      "model, GGUF or a folder of Hugging Face", 0, 0 }
#define ENGINE_TRUST_OPTION(e)                                                 \
    { CLI_FLAG, 0, "trust-sample", &(e).trust_sample, NULL,                    \
      "know the model by a sample of its bytes, not by all", 0, 0 }
#define ENGINE_PLAN_OPTION(e)                                                  \
    { CLI_TEXT, 0, "plan", &(e).plan_text, "PLAN",                             \
      "layer plan, as text or a JSON file (serial)", 0, 0 },                   \
    ENGINE_TRUST_OPTION(e)
#define ENGINE_THREAD_OPTIONS(e)                                               \
    { CLI_INT, 't', "threads", &(e).n_thread, "N",                             \
      "threads per rank (0: cores / ranks)", 0, 256 },                         \
    { CLI_INT, 0, "threads-batch", &(e).n_thread_batch, "N",                   \
      "threads per rank for prompts (0: as --threads)", 0, 256 },              \
    { CLI_INT, 0, "spin-us", &(e).spin_us, "N",                                \
      "spin so long in waits (0: adapts; -1: never)", -1, 1000000 },           \
    { CLI_CHOICE, 0, "isa", &(e).isa, "auto|scalar|avx2|avx512|amx",           \
      "instruction set (auto)", 0, 0 },                                        \
    { CLI_FLAG, 0, "pin", &(e).pin, NULL, "bind threads to cores", 0, 0 },     \
    { CLI_FLAG, 0, "no-mmap", &(e).no_mmap, NULL,                              \
      "read the model instead of mapping it", 0, 0 }
/* Options that each process may set for itself. */
#define ENGINE_PROCESS_OPTIONS(e)                                              \
    ENGINE_THREAD_OPTIONS(e),                                                  \
    { CLI_FLOAT, 0, "timeout", &(e).timeout, "SECONDS",                        \
      "wait for another process at most this long (5)", 0.1, 86400 }
#define ENGINE_DEVICE_OPTION(e)                                                \
    { CLI_TEXT, 0, "device", &(e).device, "cpu|cuda[:N,...]",                  \
      "device of the ranks; one rank for each N (cpu)", 0, 0 }
#define ENGINE_LINK_OPTION(e)                                                  \
    { CLI_INT, 0, "link-delay-us", &(e).link_delay_us, "N",                    \
      "delay messages between ranks of one process (0)", 0, 1000000 }
#define ENGINE_TYPE_OPTIONS(e)                                                 \
    { CLI_CHOICE, 0, "compute", &(e).compute, "default|f32",                   \
      "f32 keeps activations exact (default: 8 bits)", 0, 0 },                 \
    { CLI_CHOICE, 0, "kv", &(e).kv, "default|f32|f16|bf16|q8_0",               \
      "type of the KV cache (f16; f32 with --compute f32)", 0, 0 }
#define ENGINE_LORA_OPTIONS(e)                                                 \
    { CLI_TEXT, 0, "lora", &(e).lora_path, "FILE",                             \
      "add a LoRA adapter to the model, GGUF", 0, 0 },                         \
    { CLI_FLOAT, 0, "lora-scale", &(e).lora_scale, "X",                        \
      "multiply the adapter (1)", -1000, 1000 }
#define ENGINE_SESSION_OPTIONS(e)                                              \
    ENGINE_LORA_OPTIONS(e),                                                    \
    { CLI_INT, 0, "ranks", &(e).n_rank, "N",                                   \
      "ranks (0: with mpi all processes, else 1)", 0, 64 },                    \
    ENGINE_DEVICE_OPTION(e),                                                   \
    { CLI_CHOICE, 0, "comm", &(e).where, "auto|threads|mpi",                   \
      "ranks in this process, or one in each (auto)", 0, 0 },                  \
    { CLI_CHOICE, 0, "wire", &(e).wire, "f32|bf16|q8",                         \
      "activations between processes (f32, exact)", 0, 0 },                    \
    ENGINE_LINK_OPTION(e),                                                     \
    ENGINE_TYPE_OPTIONS(e),                                                    \
    ENGINE_PROCESS_OPTIONS(e)
/* clang-format on */

/* Print the library's last error; returns the exit status for main. */
int engine_fail(tlp_status status);

int engine_open_model(engine *e, bool vocab_only);
/* A metadata value as text of *n bytes, which the caller frees; NULL without
 * the key, and when out of memory. */
char *engine_get_meta(const engine *e, const char *key, size_t *n);

/*
 * Connect to the other processes, if there are any, and open the model.
 * Returns CLI_OK on rank 0.  Other ranks serve its sessions until it has left,
 * and get CLI_SERVED or, after a failure, an exit status.  n_ctx: required
 * context of a session; 0 = as rank 0 says.
 */
int engine_start(engine *e, int n_ctx);

/* Session options from the command line; n_ctx in positions, 0 = default. */
tlp_session_options engine_session_options(const engine *e, int n_ctx);

int engine_parse_plan(const engine *e, const char *text, tlp_plan **plan);
int engine_create_session(engine *e, tlp_plan *plan, int64_t n_ctx,
                          tlp_session **session);
/* An engine of requests with n_seq sequences; opts->session is set here. */
int engine_create_requests(engine *e, tlp_plan *plan, int64_t n_ctx, int n_seq,
                           const tlp_engine_options *opts, tlp_engine **out);
/* Open plan and session by the options. */
int engine_open_session(engine *e, int64_t n_ctx);
void engine_close(engine *e);

/* SIGINT aborts this session from now on; NULL: no session. */
void engine_watch(tlp_session *session);

/* Fail unless the models of both have one vocabulary. */
int engine_check_vocab(const engine *a, const engine *b);

/* All ids of a text; the caller frees them. */
int engine_tokenize(const engine *e, const char *text, size_t n, uint32_t flags,
                    int32_t **ids, size_t *n_ids);

/* The text of ids, with a NUL behind its len bytes; the caller frees it. */
int engine_detokenize(const engine *e, const int32_t *ids, size_t n,
                      uint32_t flags, char **text, size_t *len);

/* A plan in a form of enum tlp_plan_form; the caller frees it. */
int engine_format_plan(const tlp_plan *plan, int form, char **text);

/* Depth, and the number of all-reduces that one token waits for on n_rank
 * ranks. */
int engine_plan_cost(const engine *e, const tlp_plan *plan,
                     tlp_plan_cost *cost);
static inline int engine_allreduces(const tlp_plan_cost *cost)
{
    return cost->allreduces + cost->inner_allreduces;
}

#endif
