/*
 * tlp.h - run decoder language models with layer parallelism.
 *
 * Layer parallelism (arXiv 2502.02790, "Leveraging the True Depth of LLMs")
 * runs neighbouring layers of a transformer side by side instead of one after
 * the other.  On several ranks (threads here; processes, hosts and GPUs through
 * plug-ins) the serial depth falls, and with it the number of all-reduces that
 * every token waits for.  The price is paid in quality and depends on which
 * layers are joined: that choice is the plan.
 *
 * Three handles carry the library:
 *
 *   tlp_model    weights and vocabulary of one file; immutable, shared
 *   tlp_plan     which layers run together, and how; immutable, small
 *   tlp_session  KV cache, sequences and logits on one or more ranks; mutable
 *
 * A plan keeps its model alive and a session its plan, so the three may be
 * freed in any order.
 *
 *   tlp_model *model = NULL;
 *   tlp_plan *plan = NULL;
 *   tlp_session *session = NULL;
 *   if (tlp_model_open(&model, "model.gguf", NULL) ||
 *       tlp_plan_parse(&plan, model, "par:12-13,14-15") ||
 *       tlp_session_create(&session, plan, NULL) ||
 *       tlp_session_prefill(session, tokens, n_tokens))
 *       fprintf(stderr, "%s\n", tlp_last_error());
 *
 * Conventions
 *   Status    Fallible functions return tlp_status: 0 or a negative code; the
 *             text is in tlp_last_error().  Results go through out-parameters,
 *             which come first; handles are set to NULL on failure.
 *   Options   A NULL options pointer means all defaults, and zero in any field
 *             means that field's default.  Set struct_size (the _INIT macros
 *             do): it lets a program built against an older header keep
 *             working with a newer library.
 *   Sizes     Texts and arrays are copied out into (buf, cap); the needed size
 *             is always stored, and TLP_EBUFS returned if cap is too small.
 *             Text is UTF-8; copied text ends in NUL, which cap counts and
 *             the stored length does not.
 *   Threads   Models and plans may be used by any number of threads at once, a
 *             session, sampler or stream by one at a time.  tlp_session_abort
 *             alone may be called from another thread or a signal handler.
 *   Process   The library never writes to stdout or stderr, never ends the
 *             process, sets no signal handlers and keeps no mutable globals
 *             but the thread-local text of the last error.
 *
 * The header is C99 and C++11.  Model files, plans and prompts are treated as
 * hostile input: a bad one gives a status and a text, never a crash.
 */
#ifndef TLP_H
#define TLP_H

/* Comments stand in columns here. */
/* clang-format off */

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define TLP_API __attribute__((visibility("default")))
#define TLP_NODISCARD __attribute__((warn_unused_result))
#else
#define TLP_API
#define TLP_NODISCARD
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ==== version ============================================================ */

#define TLP_VERSION_MAJOR 0
#define TLP_VERSION_MINOR 1
#define TLP_VERSION_PATCH 0
#define TLP_VERSION_NUMBER                                                     \
    (TLP_VERSION_MAJOR * 10000 + TLP_VERSION_MINOR * 100 + TLP_VERSION_PATCH)
#define TLP_ABI_VERSION 0 /* the soname: libtlp.so.0 */

/** Version of the library at run time, as TLP_VERSION_NUMBER. @since 0.1 */
TLP_API int tlp_version_number(void);

/** "major.minor.patch" of the library at run time; static. @since 0.1 */
TLP_API const char *tlp_version_string(void);

/**
 * One line about this build and machine: version, compiler, and the kernels
 * that would be used here ("amx", "avx512", "avx2", "scalar"); static.
 * @since 0.1
 */
TLP_API const char *tlp_build_info(void);

/* ==== status ============================================================= */

#define TLP_STATUS_MAP(X) /* pinned values; append only */                     \
    X(OK, 0, "success")                                                        \
    X(ERROR, -1, "unspecified failure")                                        \
    X(EINVAL, -2, "invalid argument")                                          \
    X(ENOMEM, -3, "out of memory")                                             \
    X(EIO, -4, "read or write failed")                                         \
    X(EFORMAT, -5, "malformed file or text")                                   \
    X(ENOTSUP, -6, "not supported")                                            \
    X(ERANGE, -7, "context is full")                                           \
    X(EBUFS, -8, "buffer too small")                                           \
    X(ESTATE, -9, "call out of order")                                         \
    X(ECANCELED, -10, "canceled")                                              \
    X(EDEVICE, -11, "device fault")                                            \
    X(ECOMM, -12, "a peer rank failed")                                        \
    X(EABI, -13, "struct is newer than the library")                           \
    X(ETIMEDOUT, -14, "a peer rank did not answer in time")                    \
    X(EMISMATCH, -15, "things that must agree do not")

typedef enum tlp_status {
#define X(name, value, text) TLP_##name = value,
    TLP_STATUS_MAP(X)
#undef X
} tlp_status;

/** "TLP_EINVAL" and so on; "TLP_E?" for an unknown code.  Static. @since 0.1 */
TLP_API const char *tlp_status_name(tlp_status status);

/** A short general text for a status; never NULL.  Static. @since 0.1 */
TLP_API const char *tlp_status_text(tlp_status status);

/**
 * The text of the last failure on this thread: one line naming the file, key
 * and value at fault.  Never NULL; valid until the next failing call on this
 * thread.  Failures on other ranks are published on the caller's thread.
 * @since 0.1
 */
TLP_API const char *tlp_last_error(void);

/* ==== hooks ============================================================== */

/**
 * Progress of a long call, done in [0, 1]; called on the caller's thread.
 * Returning non-zero cancels the call, which gives TLP_ECANCELED.
 */
typedef int (*tlp_progress_fn)(double done, void *user_data);

#define TLP_LOG_ERROR 1
#define TLP_LOG_WARN 2
#define TLP_LOG_INFO 3
#define TLP_LOG_DEBUG 4

/** One line of log text without a newline; may be called on any thread. */
typedef void (*tlp_log_fn)(int level, const char *text, void *user_data);

/**
 * Host memory.  Set both functions or neither.  alloc returns memory aligned
 * to `align` (a power of two) or NULL; free gets the same size back.  Both may
 * be called on any thread.  Third-party libraries (pattern matching, JSON)
 * and thread stacks are not covered.
 */
typedef struct tlp_allocator {
    void *(*alloc)(size_t size, size_t align, void *user_data);
    void (*free)(void *ptr, size_t size, void *user_data);
    void *user_data;
} tlp_allocator;

/* ==== model ============================================================== */

typedef struct tlp_model tlp_model;

typedef struct tlp_model_options {
    size_t struct_size;
    int32_t no_mmap;         /* 1 = read the file into memory                 */
    int32_t vocab_only;      /* 1 = no tensors: tokenizing and metadata only  */
    tlp_progress_fn progress;
    void *progress_data;
    tlp_log_fn log;          /* inherited by plans and sessions               */
    void *log_data;
    tlp_allocator allocator; /* inherited by plans and sessions               */
} tlp_model_options;

#define TLP_MODEL_OPTIONS_INIT                                                 \
    { sizeof(tlp_model_options), 0, 0, NULL, NULL, NULL, NULL,                 \
      { NULL, NULL, NULL } }

typedef struct tlp_model_info {
    size_t struct_size;      /* set by the caller                             */
    char arch[32];           /* "llama", "qwen2", "qwen3"                     */
    char name[128];          /* general.name, cut to fit                      */
    char quant[16];          /* the type that holds most weight bytes         */
    char fingerprint[72];    /* "sha256:" + 64 hex digits; see below          */
    int32_t n_layer;
    int32_t n_embd;
    int32_t n_ff;
    int32_t n_head;
    int32_t n_head_kv;
    int32_t head_dim;
    int32_t n_vocab;
    int32_t n_ctx_train;     /* context length the model was trained with     */
    int32_t bos;             /* token ids; -1 = none                          */
    int32_t eos;
    int32_t eot;             /* end of a chat turn                            */
    int32_t pad;
    int64_t n_param;
    int64_t n_bytes;         /* of all tensors                                */
    int32_t n_tensor;
    int32_t n_meta;          /* metadata keys                                 */
} tlp_model_info;

typedef struct tlp_tensor_info {
    size_t struct_size;      /* set by the caller                             */
    const char *name;        /* borrowed from the model                       */
    const char *type;        /* "F32", "Q4_1", ...; static                    */
    int32_t n_dim;
    int32_t file;            /* index of the split file that holds it         */
    int64_t ne[4];           /* sizes, fastest first (GGUF order)             */
    uint64_t n_bytes;
} tlp_tensor_info;

/**
 * Open a GGUF file (v2 or v3, little-endian), or the first of a split set
 * (name-00001-of-0000N.gguf).  Checks everything, copies no weights with mmap.
 *
 * @param out   the model; free with tlp_model_free
 * @param path  UTF-8 path
 * @param opts  may be NULL
 * @return TLP_OK; TLP_EIO cannot be read; TLP_EFORMAT malformed (the text names
 *         key or tensor); TLP_ENOTSUP architecture, tensor type or tokenizer
 *         unknown; TLP_ECANCELED by progress
 * @since 0.1
 */
TLP_API tlp_status tlp_model_open(tlp_model **out, const char *path,
                                  const tlp_model_options *opts) TLP_NODISCARD;

/** Release a model; NULL is fine; plans that use it stay valid. @since 0.1 */
TLP_API void tlp_model_free(tlp_model *model);

/**
 * Facts about a model.  `fingerprint` identifies the weights for plans: a
 * SHA-256 over hyper-parameters and a sample of every tensor's bytes.
 * @param out  struct_size set by the caller; the rest is filled in
 * @since 0.1
 */
TLP_API tlp_status tlp_model_get_info(const tlp_model *model,
                                      tlp_model_info *out) TLP_NODISCARD;

/** The index-th tensor, in file order. @since 0.1 */
TLP_API tlp_status tlp_model_get_tensor(const tlp_model *model, size_t index,
                                        tlp_tensor_info *out) TLP_NODISCARD;

/** Name of the index-th metadata key, borrowed; NULL past the end. @since 0.1 */
TLP_API const char *tlp_model_meta_key(const tlp_model *model, size_t index);

/**
 * A metadata value as text; arrays give their type, size and first elements.
 * @return TLP_OK; TLP_EINVAL no such key; TLP_EBUFS (len holds the need)
 * @since 0.1
 */
TLP_API tlp_status tlp_model_get_meta(const tlp_model *model, const char *key,
                                      char *buf, size_t cap,
                                      size_t *len) TLP_NODISCARD;

/* ==== quantising ========================================================= */

typedef struct tlp_quantize_options {
    size_t struct_size;
    int32_t n_thread;        /* 0 = all cores; at most 256                    */
    int32_t pure;            /* 1 = every matrix gets the type as it is       */
    tlp_progress_fn progress;
    void *progress_data;
} tlp_quantize_options;

#define TLP_QUANTIZE_OPTIONS_INIT                                              \
    { sizeof(tlp_quantize_options), 0, 0, NULL, NULL }

typedef struct tlp_quantize_result {
    size_t struct_size;      /* set by the caller                             */
    int32_t n_tensor;
    int32_t n_converted;     /* the others are copied, byte by byte           */
    int32_t n_fallback;      /* matrices whose rows are no multiple of the
                                wanted type's block                           */
    int64_t n_bytes;         /* of all tensors, now                           */
} tlp_quantize_result;

/**
 * Write a model to a file with its matrices in another type: F32, F16, BF16,
 * Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, or a mixture.  Vectors stay
 * as they are.  Metadata is kept, but for general.file_type and
 * general.quantization_version, which tell the new type, and the split.* keys:
 * a split model becomes one file.
 *
 * Unless `pure`, the matrix that makes the logits (token_embd.weight where
 * there is no output.weight) gets Q6_K in place of a type of fewer bits.  The
 * mixtures Q4_K_M and Q5_K_M are Q4_K and Q5_K with Q6_K for attn_v and
 * ffn_down in the first and the last eighth of the layers and in every third
 * one between.  Where rows are no multiple of 256, Q4_K becomes Q5_0, Q5_K Q5_1
 * and Q6_K Q8_0; where they are none of 32, blocks of 32 become F16.
 *
 * A value that is not finite, or beyond the type's range (65504; BF16 has that
 * of float), is refused.  The file appears under its name when it is whole: on
 * failure there is what was there before.
 *
 * @param path    file to write; must not be one of the model's own
 * @param type    name of the type or mixture
 * @param opts    may be NULL
 * @param result  may be NULL
 * @return TLP_OK; TLP_EINVAL an unknown type, the model's own file, or a model
 *         without tensors (vocab_only); TLP_EIO the file cannot be written;
 *         TLP_EFORMAT a value without place in the type; TLP_ECANCELED by
 *         progress
 * @since 0.1
 */
TLP_API tlp_status tlp_model_quantize(const tlp_model *model, const char *path,
                                      const char *type,
                                      const tlp_quantize_options *opts,
                                      tlp_quantize_result *result)
    TLP_NODISCARD;

/* ==== tokens ============================================================= */

#define TLP_TOKENIZE_SPECIAL 1u /* text like <|im_start|> becomes one token   */
#define TLP_TOKENIZE_BOS 2u     /* add BOS/EOS where the model's file says so */

/**
 * Text to token ids.  Time grows as n log n, with constant stack.
 *
 * @param model  vocabulary
 * @param text   n bytes; need not end in NUL; bytes that are not UTF-8 are
 *               taken as bytes
 * @param flags  TLP_TOKENIZE_*
 * @param ids    room for cap ids; may be NULL with cap 0
 * @param count  ids needed, stored also with TLP_EBUFS
 * @since 0.1
 */
TLP_API tlp_status tlp_tokenize(const tlp_model *model, const char *text,
                                size_t n, uint32_t flags, int32_t *ids,
                                size_t cap, size_t *count) TLP_NODISCARD;

#define TLP_DETOKENIZE_SPECIAL 1u /* control tokens give their text           */

/**
 * Token ids to bytes, as one text.  Control tokens vanish unless asked for.
 * The result need not be whole UTF-8 when the ids end inside a character.
 * @since 0.1
 */
TLP_API tlp_status tlp_detokenize(const tlp_model *model, const int32_t *ids,
                                  size_t n, uint32_t flags, char *buf,
                                  size_t cap, size_t *len) TLP_NODISCARD;

/** 1 if the token ends a generation (EOS, end of turn), else 0. @since 0.1 */
TLP_API int tlp_token_is_end(const tlp_model *model, int32_t id);

typedef struct tlp_chat_message {
    const char *role;    /* "system", "user", "assistant"                     */
    const char *content; /* UTF-8                                             */
} tlp_chat_message;

/**
 * Lay out a conversation as the model's chat template does.  The family
 * (ChatML, Llama 2, Llama 3, Mistral) is recognised from the template text in
 * the file; templates are never run.  Tokenize with TLP_TOKENIZE_SPECIAL and
 * without TLP_TOKENIZE_BOS: the text holds its own BOS.  Contents are taken as
 * they are: one that spells a control token becomes that token, so take such
 * spellings out of text that is not yours to trust.
 *
 * @param add_assistant  1 = end with the opening of the assistant's turn
 * @return TLP_OK; TLP_ENOTSUP no template, or of an unknown family; TLP_EINVAL
 *         a role that the family does not have, or roles out of order
 * @since 0.1
 */
TLP_API tlp_status tlp_chat_format(const tlp_model *model,
                                   const tlp_chat_message *messages, size_t n,
                                   int add_assistant, char *buf, size_t cap,
                                   size_t *len) TLP_NODISCARD;

/**
 * Token stream to text stream: holds back bytes until characters are whole and
 * until they can no longer be part of a stop string.
 */
typedef struct tlp_stream tlp_stream;

/**
 * @param stop    stop strings, copied; may be NULL with n_stop 0
 * @param flags   TLP_DETOKENIZE_*
 * @since 0.1
 */
TLP_API tlp_status tlp_stream_create(tlp_stream **out, tlp_model *model,
                                     const char *const *stop, size_t n_stop,
                                     uint32_t flags) TLP_NODISCARD;

/**
 * Add one token.
 * @param text     text that became certain, whole UTF-8, NUL-terminated,
 *                 borrowed until the next call on the stream; may be empty
 * @param len      its bytes
 * @param stopped  1 once a stop string was met (it is not part of the text);
 *                 later tokens are then ignored
 * @since 0.1
 */
TLP_API tlp_status tlp_stream_push(tlp_stream *stream, int32_t token,
                                   const char **text, size_t *len,
                                   int *stopped) TLP_NODISCARD;

/** Give out what is held back; a cut character becomes U+FFFD. @since 0.1 */
TLP_API tlp_status tlp_stream_flush(tlp_stream *stream, const char **text,
                                    size_t *len) TLP_NODISCARD;

TLP_API void tlp_stream_free(tlp_stream *stream);

/* ==== plan =============================================================== */

typedef struct tlp_plan tlp_plan;

/*
 * Modes of a stage with members i, input x and output z; A, F are attention
 * and feed-forward, Na, Nf their RMS norms (design.md has the derivations):
 *
 *   SERIAL  y = x + A(Na x);            z = y + F(Nf y)
 *   LP      y = x + sum A_i(Na_i x);    z = y + sum F_i(Nf_i y)   (the paper)
 *   PAR     y_i = x + A_i(Na_i x);      z = x + sum [A_i + F_i(Nf_i y_i)]
 *   ASYM    y_i = x + sum_{j<=i} A_j;   z = y_last + sum F_i(Nf_i y_i)
 *   LP_CODE as LP, but slice r of every F reads y through Nf_r (the authors'
 *           public code; for comparison with published numbers)
 *   MERGE   the mean of the members' weights, run once (for studies)
 */
#define TLP_MODE_SERIAL 0
#define TLP_MODE_LP 1
#define TLP_MODE_PAR 2
#define TLP_MODE_ASYM 3
#define TLP_MODE_LP_CODE 4
#define TLP_MODE_MERGE 5

/**
 * Make a plan from text.  Either the text form,
 *
 *   serial
 *   par:3-4,7-8        groups; modes par, lp, asym, lp-code, merge; a-b is the
 *                      group of layers a to b, a+c that of just these two
 *   lp:12-13;par:20-22 ';' joins clauses
 *   pairs:9-24@lp      consecutive pairs from layer 9 to 24 (the paper's rule)
 *   depth:25@par       pairs of our choice, to that effective depth
 *   drop:12,20         layers left out
 *   order:0,2,1,3,...  every layer, in running order
 *
 * or the JSON form (docs/design.md), recognised by its '{'.  Layers count from
 * 0; a group runs at the place of the first of its members.
 *
 * @return TLP_OK; TLP_EFORMAT not a plan; TLP_EINVAL a layer twice, missing or
 *         past the end; TLP_EMISMATCH made for another model; TLP_ENOTSUP a
 *         newer plan version, or one with adjustments, which are in a file of
 *         their own: tlp_plan_load reads both
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_parse(tlp_plan **out, tlp_model *model,
                                  const char *text) TLP_NODISCARD;

/**
 * Read a plan from a JSON file, and its adjustments from the file beside it
 * that it names, whose checksum must be right.
 *
 * @return as tlp_plan_parse; TLP_EIO; TLP_EMISMATCH also for adjustments of
 *         another plan or model
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_load(tlp_plan **out, tlp_model *model,
                                 const char *path) TLP_NODISCARD;

/**
 * Write a plan as JSON; replaces the file whole or not at all.  Adjustments go
 * first, likewise, to PATH without ".json" plus ".adjust.safetensors"; where
 * only they get written, a plan that was there before no longer loads.  The
 * name in PATH of a plan with adjustments is UTF-8 without controls, quotes and
 * backslashes, and does not begin with a '.'.
 *
 * @return TLP_OK; TLP_EINVAL; TLP_EIO
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_save(const tlp_plan *plan,
                                 const char *path) TLP_NODISCARD;

#define TLP_PLAN_TEXT 0
#define TLP_PLAN_JSON 1

/**
 * The plan in text or JSON form; parsing it gives the same plan, unless it has
 * adjustments: of them the JSON form has the file's name and checksum, and the
 * text form nothing.
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_format(const tlp_plan *plan, int form, char *buf,
                                   size_t cap, size_t *len) TLP_NODISCARD;

/**
 * A plan for another file of the same model: one in other tensor types, which
 * has another fingerprint.  Adjustments come along, though they were fitted to
 * the other file.
 *
 * "The same model" is taken literally: hyper-parameters and the values of all
 * norms and biases, which types do not touch, must be equal.  A model trained
 * further is told apart by these, unless training left them alone.
 *
 * @return TLP_OK; TLP_EMISMATCH naming what differs; TLP_EINVAL for a model
 *         without layers (vocab_only)
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_carry(tlp_plan **out, const tlp_plan *plan,
                                  tlp_model *model) TLP_NODISCARD;

TLP_API void tlp_plan_free(tlp_plan *plan);

typedef struct tlp_plan_cost {
    size_t struct_size;          /* set by the caller                         */
    int32_t n_rank;
    int32_t effective_depth;     /* stages                                    */
    int32_t n_layer;             /* layers that run                           */
    int32_t allreduces;          /* over all ranks, per token                 */
    int32_t inner_allreduces;    /* over sub-communicators, per token         */
    int32_t sends;               /* one-way sends, per token                  */
    uint64_t comm_bytes;         /* a rank's payload of these, per token, f32 */
    uint64_t max_rank_bytes;     /* weight bytes read per token, widest rank  */
    uint64_t sum_rank_bytes;     /* and all ranks together                    */
} tlp_plan_cost;

/** What a token costs under this plan on 1 to 1024 ranks. @since 0.1 */
TLP_API tlp_status tlp_plan_get_cost(const tlp_plan *plan, int n_rank,
                                     tlp_plan_cost *out) TLP_NODISCARD;

typedef struct tlp_stage_info {
    size_t struct_size;          /* set by the caller                         */
    int32_t mode;                /* TLP_MODE_*                                */
    int32_t n_member;
    const int32_t *layers;       /* n_member layer numbers, borrowed          */
} tlp_stage_info;

/** The index-th stage in running order; TLP_EINVAL past the end. @since 0.1 */
TLP_API tlp_status tlp_plan_get_stage(const tlp_plan *plan, size_t index,
                                      tlp_stage_info *out) TLP_NODISCARD;

/* What a plan changes inside its stages (tlp_plan_adjust). */
typedef struct tlp_plan_adjust_info {
    size_t struct_size;          /* set by the caller                         */
    int32_t n_gain, n_norm, n_low_rank;
    uint64_t n_bytes;            /* of their file; 0 = nothing is adjusted    */
    const char *sha256;          /* its checksum, borrowed; or NULL           */
} tlp_plan_adjust_info;

/** A plan's adjustments, counted. @since 0.1 */
TLP_API tlp_status tlp_plan_get_adjust(const tlp_plan *plan,
                                       tlp_plan_adjust_info *out) TLP_NODISCARD;

/* ==== devices ============================================================ */

/* What ranks compute with. */
#define TLP_BACKEND_CPU 0
#define TLP_BACKEND_CUDA 1 /* NVIDIA GPUs, through libtlp_cuda.so             */

typedef struct tlp_device_info {
    size_t struct_size;      /* set by the caller                             */
    char name[128];          /* "NVIDIA H100 80GB HBM3"                       */
    int32_t major;           /* compute capability                            */
    int32_t minor;
    int32_t n_sm;            /* multiprocessors                               */
    uint64_t memory_total;   /* bytes                                         */
    uint64_t memory_free;    /* now                                           */
    uint64_t peers;          /* bit i: reads and writes device i's memory     */
} tlp_device_info;

/**
 * How many devices of a backend this process can use: 1 to 64, numbered from 0
 * as the driver does (CUDA_VISIBLE_DEVICES chooses and reorders them).  Not for
 * TLP_BACKEND_CPU.
 * @return TLP_OK; TLP_ENOTSUP there is none, and the text says why: no plug-in,
 *         a library that it needs, no driver, one too old, no GPU
 * @since 0.1
 */
TLP_API tlp_status tlp_device_count(int32_t *n, int32_t backend) TLP_NODISCARD;

/**
 * Facts about a device.
 * @return TLP_OK; TLP_EINVAL no such device; other as tlp_device_count
 * @since 0.1
 */
TLP_API tlp_status tlp_device_get_info(int32_t backend, int32_t device,
                                       tlp_device_info *out) TLP_NODISCARD;

/* ==== session ============================================================ */

typedef struct tlp_session tlp_session;

#define TLP_COMM_THREADS 0 /* every rank in this process                      */
#define TLP_COMM_MPI 1     /* a rank per MPI process, through libtlp_mpi.so   */

/* Activations between processes: exact; rounded to bf16; 8 bits in blocks of
   32 with a scale. */
#define TLP_WIRE_F32 0
#define TLP_WIRE_BF16 1
#define TLP_WIRE_Q8 2

#define TLP_COMPUTE_DEFAULT 0 /* 8-bit activations against quantised weights,
                                 bf16 against BF16 where the CPU does that    */
#define TLP_COMPUTE_F32 1     /* f32 activations throughout                   */

#define TLP_KV_DEFAULT 0 /* F16; F32 with TLP_COMPUTE_F32                     */
#define TLP_KV_F32 1
#define TLP_KV_F16 2
#define TLP_KV_BF16 3
#define TLP_KV_Q8_0 4 /* 8 bits in blocks of 32 with a scale; CPU only        */

#define TLP_ISA_AUTO 0
#define TLP_ISA_SCALAR 1
#define TLP_ISA_AVX2 2
#define TLP_ISA_AVX512 3
#define TLP_ISA_AMX 4

/*
 * At most: n_ctx 2^20, n_seq 4096, n_batch 16384, n_rank 64, n_thread 256;
 * anything beyond is TLP_EINVAL.
 */
typedef struct tlp_session_options {
    size_t struct_size;
    int32_t n_ctx;     /* positions per sequence; 0 = n_ctx_train, at most 4096 */
    int32_t n_seq;     /* sequences; 0 = 1                                    */
    int32_t n_batch;   /* tokens evaluated at once; 0 = 512                   */
    int32_t n_rank;    /* 0 = 1, or n_device; with TLP_COMM_MPI all processes,
                          or this many                                        */
    int32_t n_thread;  /* per rank; 0 = cores / ranks, at least 1; on a GPU 1 */
    int32_t backend;   /* TLP_BACKEND_*                                       */
    int32_t comm;      /* TLP_COMM_*                                          */
    int32_t compute;   /* TLP_COMPUTE_*                                       */
    int32_t kv_type;   /* TLP_KV_*                                            */
    int32_t isa;       /* TLP_ISA_*, of CPUs; one the machine lacks:
                          TLP_ENOTSUP.  For AMX see docs/threads.md           */
    int32_t pin;       /* 1 = bind the library's threads to cores; the caller's
                          own thread is never bound                           */
    int32_t timeout_ms; /* for a peer rank's answer; 0 = 5000                 */
    tlp_progress_fn progress; /* of loading                                   */
    void *progress_data;
    int32_t wire;      /* TLP_WIRE_*; other than F32 with TLP_COMM_MPI only   */
    const void *comm_handle; /* TLP_COMM_MPI: an MPI_Comm * to duplicate (see
                          tlp_mpi.h); NULL = MPI_COMM_WORLD                   */
    const int32_t *devices; /* n_device numbers: the r-th rank of this host, or
                          of this process with TLP_COMM_THREADS, works on
                          devices[r % n_device]; may name one twice           */
    size_t n_device;   /* 0 = all, in order; at most 64                       */
    int32_t link_delay_us; /* TLP_COMM_THREADS on CPUs: a message between ranks
                          arrives this many microseconds after it was sent, as
                          over a network; at most 1000000                     */
} tlp_session_options;

#define TLP_SESSION_OPTIONS_INIT                                               \
    { sizeof(tlp_session_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL,   \
      NULL, 0, NULL, NULL, 0, 0 }

/**
 * Lay the model out over the ranks under a plan, and allocate all that later
 * calls need.
 * @return TLP_OK; TLP_ENOMEM, and if it is a GPU's, the text says what does not
 *         fit on which; TLP_EINVAL an option out of range; TLP_ENOTSUP a
 *         backend, comm or instruction set that is not here, and why; in
 *         several processes also TLP_ESTATE (this is not rank 0),
 *         TLP_EMISMATCH, TLP_ECOMM, TLP_ETIMEDOUT
 * @since 0.1
 */
TLP_API tlp_status tlp_session_create(tlp_session **out, tlp_plan *plan,
                                      const tlp_session_options *opts)
    TLP_NODISCARD;

/*
 * Ranks in several processes (comm = TLP_COMM_MPI).  All processes call
 * tlp_comm_rank first; rank 0 then uses a session as if there were one process,
 * and the others serve it:
 *
 *   tlp_comm_rank(&rank, &n_rank, &opts);
 *   if (rank == 0)
 *       tlp_session_create(&session, plan, &opts); ...
 *   else
 *       while (tlp_session_serve(model, NULL, &opts) == TLP_OK)
 *           ;
 *
 * Every process opens its own copy of the model file and reads its own part of
 * it; no weights travel.  The library starts MPI if the program did not (then
 * it also ends it, at exit), never aborts it, and works on a duplicate of the
 * communicator.  A program that starts MPI itself asks for
 * MPI_THREAD_SERIALIZED or more, unless it calls us from its main thread only.
 */

/**
 * This process's rank and how many there are; with TLP_COMM_THREADS 0 and
 * opts->n_rank.  With TLP_COMM_MPI the processes meet here, for the first time
 * or in no time: each waits at most timeout_ms for the others.
 * @return TLP_OK; TLP_ENOTSUP no plug-in, or MPI cannot be used from this
 *         thread (the text says why); TLP_ETIMEDOUT a process did not come
 * @since 0.1
 */
TLP_API tlp_status tlp_comm_rank(int32_t *rank, int32_t *n_rank,
                                 const tlp_session_options *opts)
    TLP_NODISCARD;

/**
 * Be a rank other than 0 of one session: wait for rank 0 to create it, shake
 * hands, load, work until it is freed.  Waits for rank 0 without a deadline.
 *
 * What is left open here is taken from rank 0: the plan if NULL, and every
 * option that is 0.  What is given must agree, and so must versions, byte
 * order, and the models' fingerprints and tensor types; otherwise no rank gets
 * a session, and all get TLP_EMISMATCH with a text that names the field and
 * both values.  devices, n_thread, isa, pin, progress and timeout_ms are this
 * rank's own.
 *
 * @param model  this process's copy
 * @param plan   of that model, or NULL
 * @return TLP_OK a session was served to its end; TLP_ECANCELED rank 0 has left,
 *         there will be none, or progress said so; TLP_ESTATE this is rank 0; TLP_EMISMATCH;
 *         TLP_ECOMM, TLP_ETIMEDOUT a peer failed: the process is as before the
 *         call, and may serve again
 * @since 0.1
 */
TLP_API tlp_status tlp_session_serve(tlp_model *model, tlp_plan *plan,
                                     const tlp_session_options *opts)
    TLP_NODISCARD;

/** Release a session; NULL is fine.  Not while a call on it runs. @since 0.1 */
TLP_API void tlp_session_free(tlp_session *session);

/**
 * Extend sequence 0 by n tokens and keep the logits of the last one (row 0).
 *
 * @param tokens  n ids in [0, n_vocab)
 * @return TLP_OK; TLP_ERANGE they do not fit in n_ctx (nothing is changed);
 *         TLP_EINVAL an id out of range (nothing is changed); TLP_ECANCELED by
 *         tlp_session_abort (the sequence is as before the call); TLP_ECOMM a
 *         rank failed (the session can then only be freed)
 * @since 0.1
 */
TLP_API tlp_status tlp_session_prefill(tlp_session *session,
                                       const int32_t *tokens,
                                       size_t n) TLP_NODISCARD;

/** Extend sequence 0 by one token; as tlp_session_prefill with n = 1. */
TLP_API tlp_status tlp_session_decode(tlp_session *session,
                                      int32_t token) TLP_NODISCARD;

/*
 * A batch: tokens of any sequences, each placed at the end of its sequence in
 * the order given.  want_logits (may be NULL: the last token of each sequence)
 * marks the tokens whose logits are kept, as rows 0, 1, ... in batch order.
 */
typedef struct tlp_batch {
    size_t struct_size;
    size_t n;
    const int32_t *tokens;     /* n ids                                       */
    const int32_t *seqs;       /* n sequence numbers; NULL = all 0            */
    const uint8_t *want_logits; /* n flags, or NULL                           */
} tlp_batch;

#define TLP_BATCH_INIT { sizeof(tlp_batch), 0, NULL, NULL, NULL }

/**
 * Evaluate a batch of any size (it is cut into pieces of n_batch).  Errors as
 * tlp_session_prefill; on failure all sequences are as before the call.
 * @since 0.1
 */
TLP_API tlp_status tlp_session_eval(tlp_session *session,
                                    const tlp_batch *batch) TLP_NODISCARD;

/** Rows of logits kept by the last evaluation. @since 0.1 */
TLP_API size_t tlp_session_n_logits(const tlp_session *session);

/**
 * Logits of a row: n_vocab floats, borrowed until the next call that
 * evaluates.  Collects the shards from all ranks on first use.
 * @return TLP_OK; TLP_ESTATE nothing was evaluated; TLP_EINVAL no such row
 * @since 0.1
 */
TLP_API tlp_status tlp_session_logits(tlp_session *session, size_t row,
                                      const float **logits) TLP_NODISCARD;

/**
 * Log-probabilities of a text: extends sequence `seq` by n tokens and stores
 * log p(tokens[i] | all before) in nats for each; the first token of an empty
 * sequence has none and gets 0.  A sequence that holds something evaluates its
 * last token once more.  Full logits never cross ranks.  Keeps no logits.
 * @param logprob  n values
 * @since 0.1
 */
TLP_API tlp_status tlp_session_score(tlp_session *session, int32_t seq,
                                     const int32_t *tokens, size_t n,
                                     float *logprob) TLP_NODISCARD;

/** Positions held by a sequence; -1 for no such sequence. @since 0.1 */
TLP_API int32_t tlp_session_pos(const tlp_session *session, int32_t seq);

/** Forget all but the first pos positions of a sequence. @since 0.1 */
TLP_API tlp_status tlp_session_rewind(tlp_session *session, int32_t seq,
                                      int32_t pos) TLP_NODISCARD;

/** Make dst a copy of src (what dst held is gone). @since 0.1 */
TLP_API tlp_status tlp_session_fork(tlp_session *session, int32_t dst,
                                    int32_t src) TLP_NODISCARD;

/** Forget a sequence; the same as rewinding it to 0. @since 0.1 */
TLP_API tlp_status tlp_session_clear(tlp_session *session,
                                     int32_t seq) TLP_NODISCARD;

/**
 * Stop the call that runs on the session within one stage; it returns
 * TLP_ECANCELED.  Without a running call the next one is stopped.  Safe from
 * any thread and from a signal handler.
 * @since 0.1
 */
TLP_API void tlp_session_abort(tlp_session *session);

typedef struct tlp_session_stats {
    size_t struct_size;      /* set by the caller                             */
    uint64_t n_prefill;      /* tokens evaluated in batches of several        */
    uint64_t n_decode;       /* tokens evaluated one per sequence             */
    uint64_t n_step;         /* evaluations of the network                    */
    uint64_t allreduces;     /* by rank 0, sub-communicators included         */
    uint64_t comm_bytes;     /* payload of rank 0                             */
    double seconds;          /* in evaluation, wall clock                     */
    double comm_seconds;     /* of these, rank 0 in communication and waiting */
    uint64_t kv_bytes;       /* all ranks                                     */
    uint64_t weight_bytes;   /* resident in the session's own layout          */
    uint64_t buffer_bytes;   /* activations and logits, all ranks             */
    int32_t n_rank;
    int32_t n_thread;        /* per rank                                      */
    char isa[16];            /* "amx", "avx512", "avx2", "scalar"; "cuda"     */
} tlp_session_stats;

/** Counters since creation or the last reset. @since 0.1 */
TLP_API tlp_status tlp_session_get_stats(const tlp_session *session,
                                         tlp_session_stats *out) TLP_NODISCARD;

/** Zero the counters (not the sizes). @since 0.1 */
TLP_API void tlp_session_reset_stats(tlp_session *session);

/* ==== cost model ========================================================= */

/*
 * What a plan will cost, from measurements of one: tlp_session_measure times
 * the ranks' work and the link between them, and tlp_plan_predict adds them up
 * for any plan of the model.  docs/design.md has the formula.
 */

#define TLP_LINK_SIZES 16

/* Seconds that a rank's work takes. */
typedef struct tlp_link_rates {
    double half;   /* per token and half a stage: attention, feed-forward     */
    double byte;   /* per token and byte of weights in the rank's share       */
    double attend; /* per token, query head and position it attends to        */
    double stall;  /* per token and all-reduce, beyond the table's time: no
                      rank is always as fast as the others                    */
} tlp_link_rates;

typedef struct tlp_link {
    size_t struct_size;      /* set by the caller                             */
    char fingerprint[72];    /* of the model; "" fits any                     */
    int32_t n_rank;          /* that measured                                 */
    int32_t n_thread;        /* per rank                                      */
    int32_t n_batch;         /* tokens of a step of a prefill                 */
    int32_t n_size;          /* used of the tables; 0 with one rank           */
    tlp_link_rates decode;   /* steps of one token                            */
    tlp_link_rates prefill;  /* steps of many                                 */
    double head_byte;        /* seconds per byte of a rank's output head      */
    double command;          /* from rank 0 to the others, and back; one way  */
    int64_t size[TLP_LINK_SIZES];     /* floats, rising                       */
    double allreduce[TLP_LINK_SIZES]; /* from a rank's call until the others
                                have the sum                                  */
    double late[TLP_LINK_SIZES];      /* in the call of the last rank to come  */
    double send[TLP_LINK_SIZES];      /* one way, to the next rank            */
} tlp_link;

/**
 * Measure the session's ranks and the link between them, which takes seconds.
 * Times are medians, over steps under the session's plan; the serial plan gives
 * the best basis for others.  Sequence 0 must be empty, and is afterwards; the
 * rows of logits that were kept are gone; the counters do not move.
 *
 * @param out    struct_size set by the caller; the rest is filled in
 * @param stage  room for as many doubles as the plan has stages, or NULL:
 *               seconds of work that each takes for one token without others
 *               before it, on the slowest rank
 * @return TLP_OK; TLP_ESTATE sequence 0 is not empty; TLP_ECANCELED by
 *         tlp_session_abort; TLP_ENOMEM; TLP_ECOMM
 * @since 0.1
 */
TLP_API tlp_status tlp_session_measure(tlp_session *session, tlp_link *out,
                                       double *stage) TLP_NODISCARD;

typedef struct tlp_prediction {
    size_t struct_size;       /* set by the caller                            */
    double seconds;           /* until rank 0 knows the next token's candidates */
    double compute_seconds;   /* of these, all ranks' work, and waiting for the
                                 one that has most                            */
    double command_seconds;   /* rank 0's command, and the answers            */
    double send_seconds;      /* one-way sends                                */
    double allreduce_seconds; /* all-reduces, inner ones too                  */
} tlp_prediction;

/**
 * Predict what evaluating n_tok tokens takes (1: decoding a token), in one
 * sequence that holds `pos` positions.  With another number of ranks than the
 * link was measured with, weights are cut for that number, and messages go
 * over the same link to all other ranks at once: one latency, and each other
 * rank's bytes.
 *
 * @param link    as measured, or made up
 * @param n_rank  1 to 64
 * @return TLP_OK; TLP_EINVAL a number out of range, or several ranks and a
 *         link that was measured with one; TLP_EMISMATCH a link of another
 *         model
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_predict(const tlp_plan *plan, const tlp_link *link,
                                    int n_rank, int64_t n_tok, int64_t pos,
                                    tlp_prediction *out) TLP_NODISCARD;

/* ==== sampling =========================================================== */

typedef struct tlp_sampler tlp_sampler;

typedef struct tlp_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -INFINITY forbids the token            */
} tlp_logit_bias;

/*
 * Zero in every field is greedy decoding.  Order: bias, penalties, top-k,
 * temperature, top-p, min-p, draw.
 */
typedef struct tlp_sampler_options {
    size_t struct_size;
    float temperature;       /* 0 = greedy                                    */
    int32_t top_k;           /* 0 = all                                       */
    float top_p;             /* 0 = off (as 1)                                */
    float min_p;             /* 0 = off; share of the best token's probability */
    float repeat_penalty;    /* 0 = off (as 1); divides positive logits       */
    float frequency_penalty; /* subtracted once per earlier occurrence        */
    float presence_penalty;  /* subtracted if the token occurred              */
    int32_t penalty_last_n;  /* window of the penalties; 0 = 64               */
    uint64_t seed;           /* same seed, same logits: same tokens           */
    const tlp_logit_bias *bias; /* copied                                     */
    size_t n_bias;
} tlp_sampler_options;

#define TLP_SAMPLER_OPTIONS_INIT                                               \
    { sizeof(tlp_sampler_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0 }

/** @since 0.1 */
TLP_API tlp_status tlp_sampler_create(tlp_sampler **out, tlp_model *model,
                                      const tlp_sampler_options *opts)
    TLP_NODISCARD;
TLP_API void tlp_sampler_free(tlp_sampler *sampler);

/** Let a token count for the penalties (sampled ones count by themselves). */
TLP_API void tlp_sampler_accept(tlp_sampler *sampler, int32_t token);

/** Forget accepted tokens and restart the random sequence. @since 0.1 */
TLP_API void tlp_sampler_reset(tlp_sampler *sampler);

/**
 * Choose the next token from a row of the last evaluation.  Greedy and top-k
 * sampling exchange candidates between ranks, not logits.
 * @since 0.1
 */
TLP_API tlp_status tlp_session_sample(tlp_session *session, size_t row,
                                      tlp_sampler *sampler,
                                      int32_t *token) TLP_NODISCARD;

#define TLP_STOP_LENGTH 1 /* n_predict tokens were made                       */
#define TLP_STOP_END 2    /* the model ended its turn                         */
#define TLP_STOP_STRING 3 /* a stop string was met                            */
#define TLP_STOP_CONTEXT 4 /* n_ctx is full                                   */
#define TLP_STOP_CALLBACK 5 /* the callback said stop                         */

/**
 * Text as it becomes certain: whole UTF-8, NUL-terminated, never empty.
 * Returning non-zero ends the generation (not an error).
 */
typedef int (*tlp_text_fn)(const char *text, size_t len, void *user_data);

typedef struct tlp_generate_options {
    size_t struct_size;
    int32_t n_predict;        /* at most so many tokens; 0 = until n_ctx      */
    int32_t ignore_end;       /* 1 = go on after an end token                 */
    const char *const *stop;  /* stop strings                                 */
    size_t n_stop;
    uint32_t flags;           /* TLP_DETOKENIZE_*                             */
    tlp_text_fn text;
    void *text_data;
} tlp_generate_options;

#define TLP_GENERATE_OPTIONS_INIT                                              \
    { sizeof(tlp_generate_options), 0, 0, NULL, 0, 0, NULL, NULL }

typedef struct tlp_generate_result {
    size_t struct_size;       /* set by the caller                            */
    int32_t n_generated;      /* tokens sampled, an end token included        */
    int32_t stop_reason;      /* TLP_STOP_*                                   */
    int32_t last_token;       /* sampled last, and not evaluated: prefill it
                                 before going on                              */
} tlp_generate_result;

/**
 * Generate from sequence 0 after a prefill: sample, stream text, decode, until
 * something ends it.
 *
 * @param sampler  may be NULL: greedy
 * @param opts     may be NULL
 * @param result   may be NULL
 * @return TLP_OK; TLP_ESTATE without logits; TLP_ECANCELED by
 *         tlp_session_abort; other as tlp_session_decode
 * @since 0.1
 */
TLP_API tlp_status tlp_session_generate(tlp_session *session,
                                        tlp_sampler *sampler,
                                        const tlp_generate_options *opts,
                                        tlp_generate_result *result)
    TLP_NODISCARD;

/* ==== evaluation ========================================================= */

/*
 * What a row of logits (of a plan) makes of a reference row (of the serial
 * model) for the same token.  The top 1 and 5 are the tokens of the highest
 * logits, the lower id first among equals; tokens at -inf never count.
 */
typedef struct tlp_divergence {
    size_t struct_size;      /* set by the caller                             */
    double kl;               /* KL(reference || row), nats; infinite if the row
                                rules out what the reference does not         */
    double reference_lse;    /* log sum exp: logits[i] - lse is log p(i)      */
    double lse;
    int32_t reference_top1;
    int32_t top1;
    int32_t same_top5;       /* 1 = the same five tokens, in any order        */
} tlp_divergence;

/**
 * Compare a row of logits with a reference row.  KL is accurate to some 1e-6;
 * equal rows give 0.
 * @return TLP_OK; TLP_EINVAL a row with NaN or +inf, or with nothing but -inf
 * @since 0.1
 */
TLP_API tlp_status tlp_logits_compare(const float *reference,
                                      const float *logits, size_t n_vocab,
                                      tlp_divergence *out) TLP_NODISCARD;

/**
 * Confidence interval of a weighted mean, sum of sum[] / sum of weight[]: the
 * percentiles of 2000 means over units drawn with replacement.  A unit should
 * be what was sampled independently: a window of text (with the sum over its
 * tokens, and their number), a question.  For the difference of two plans give
 * the differences, unit by unit.
 *
 * @param sum     n >= 2 values
 * @param weight  n values above 0; NULL = all 1
 * @param level   0.95: 95 of 100 such intervals hold the true mean, nearly, if
 *                there are many units
 * @param seed    the same seed, the same interval
 * @since 0.1
 */
TLP_API tlp_status tlp_bootstrap_mean(const double *sum, const double *weight,
                                      size_t n, double level, uint64_t seed,
                                      double *lo, double *hi) TLP_NODISCARD;

/* Multiple-choice questions for one model; immutable. */
typedef struct tlp_task tlp_task;

typedef struct tlp_task_options {
    size_t struct_size;
    const char *delimiter; /* between query and choice; NULL = one blank      */
    int32_t n_ctx; /* tokens an item may have; longer ones lose the beginning of
                      the query; 0 = n_ctx_train, at most 4096                */
    int32_t bos;           /* 1 = begin every query with BOS                  */
} tlp_task_options;

#define TLP_TASK_OPTIONS_INIT { sizeof(tlp_task_options), NULL, 0, 0 }

/**
 * Read a task: a JSON object on each line, with "query" (a string), "choices"
 * (2 to 256 strings, none empty) and "gold" (the index of the right one); other
 * keys are ignored.  Tokens are made as lm-evaluation-harness makes them:
 * blanks at the end of the query go over to the choices, and a choice's tokens
 * are those of query + delimiter + choice beyond the number that the query has
 * alone.  An empty query is BOS (EOS without one).
 *
 * @return TLP_OK; TLP_EIO; TLP_EFORMAT, the text naming line and key
 * @since 0.1
 */
TLP_API tlp_status tlp_task_load(tlp_task **out, tlp_model *model,
                                 const char *path,
                                 const tlp_task_options *opts) TLP_NODISCARD;
TLP_API void tlp_task_free(tlp_task *task);

typedef struct tlp_task_info {
    size_t struct_size;    /* set by the caller                               */
    uint64_t n_item;
    uint64_t n_cut;        /* items whose query lost its beginning            */
    int32_t max_token;     /* what n_ctx a session must have                  */
} tlp_task_info;

/** @since 0.1 */
TLP_API tlp_status tlp_task_get_info(const tlp_task *task,
                                     tlp_task_info *out) TLP_NODISCARD;

typedef struct tlp_task_item {
    size_t struct_size;         /* set by the caller                          */
    const char *query;          /* borrowed from the task                     */
    const char *const *choices; /* n_choice texts, borrowed                   */
    int32_t n_choice;
    int32_t gold;
} tlp_task_item;

/** The index-th item; TLP_EINVAL past the end. @since 0.1 */
TLP_API tlp_status tlp_task_get_item(const tlp_task *task, size_t index,
                                     tlp_task_item *out) TLP_NODISCARD;

typedef struct tlp_answer {
    size_t struct_size; /* set by the caller                                  */
    int32_t best;       /* choice of the highest log-probability, for acc     */
    int32_t best_norm;  /* of the highest per character, for acc_norm; the
                           first of equals, -1 if all are NaN                 */
} tlp_answer;

/**
 * Let a session answer the index-th item, in sequence 0 (what it held is
 * gone).  The query is evaluated once for all choices.
 * @param logprob  n_choice sums over the tokens of each choice; may be NULL
 * @return TLP_OK; other as tlp_session_score
 * @since 0.1
 */
TLP_API tlp_status tlp_task_answer(const tlp_task *task, size_t index,
                                   tlp_session *session, double *logprob,
                                   tlp_answer *out) TLP_NODISCARD;

/*
 * Drills: short completions with one right answer, made here.  Few examples in
 * the prompt say what is asked for.
 */
#define TLP_DRILL_COPY_WORDS 0  /* repeat four words                          */
#define TLP_DRILL_COPY_DIGITS 1 /* repeat six digits                          */
#define TLP_DRILL_ADD 2         /* add two numbers of one digit               */
#define TLP_DRILL_ADD_TENS 3    /* and of two digits                          */
#define TLP_N_DRILL 4

typedef struct tlp_drill {
    size_t struct_size;      /* set by the caller                             */
    char name[24];           /* "copy-words"                                  */
    char prompt[424];
    char answer[64];         /* what should follow, without the blank before  */
} tlp_drill;

/** The index-th drill of a kind for a seed. @since 0.1 */
TLP_API tlp_status tlp_drill_get(int kind, uint64_t seed, uint64_t index,
                                 tlp_drill *out) TLP_NODISCARD;

/**
 * Let a session complete a drill greedily, in sequence 0 (what it held is
 * gone).
 * @param exact  1 if the line that it wrote is the answer, else 0; blanks
 *               around it do not count
 * @return TLP_OK; other as tlp_session_generate; TLP_ERANGE n_ctx is too small
 * @since 0.1
 */
TLP_API tlp_status tlp_drill_run(const tlp_drill *drill, tlp_model *model,
                                 tlp_session *session,
                                 int32_t *exact) TLP_NODISCARD;

/* ==== planning =========================================================== */

/*
 * What is least in a plan, over all predictions on the text: KL divergence from
 * the serial model, or -log p of the text, or the mean of both.  KL is the less
 * noisy; alone, it leaves plans that predict other text worse than they need.
 */
#define TLP_OBJECTIVE_BOTH 0
#define TLP_OBJECTIVE_KL 1
#define TLP_OBJECTIVE_NLL 2

/* A plan on the way to the one that was asked for: the best that was found of
 * its depth. */
typedef struct tlp_plan_point {
    size_t struct_size;      /* set by the library                            */
    int32_t depth;           /* stages                                        */
    int32_t chosen;          /* 1 = this is the one that was asked for        */
    const tlp_plan *plan;    /* borrowed, for this call                       */
    double kl;               /* mean over the calibration text, nats          */
    double top1_agreement;   /* share of predictions                          */
    double ppl;
} tlp_plan_point;

typedef void (*tlp_plan_point_fn)(const tlp_plan_point *point, void *user_data);

/* One of depth, max_kl and speedup is the target. */
typedef struct tlp_plan_make_options {
    size_t struct_size;
    int32_t depth;           /* so many stages                                */
    int32_t n_ctx;           /* tokens of a window; 0 = 512                   */
    double max_kl;           /* as deep a cut as keeps the mean KL so low     */
    double speedup;          /* over the serial plan: of a token at decode, as
                                tlp_plan_predict has it for link; of the depth,
                                n_layer / stages, without a link              */
    const tlp_link *link;    /* or NULL                                       */
    int32_t n_rank;          /* for link; 0 = as many as measured it          */
    uint32_t modes;          /* bits 1 << TLP_MODE_LP, _PAR, _ASYM; 0 = all
                                three                                         */
    int32_t max_group;       /* layers in a group; 0 = 4                      */
    int32_t n_thread;        /* 0 = all cores                                 */
    int32_t compute;         /* TLP_COMPUTE_*                                 */
    int32_t kv_type;         /* TLP_KV_*                                      */
    int32_t isa;             /* TLP_ISA_*                                     */
    int32_t objective;       /* TLP_OBJECTIVE_*                               */
    uint64_t seed;           /* the order of the windows                      */
    uint64_t max_bytes;      /* of memory for what saves time; 0 = 768 MiB    */
    const char *resume;      /* file of scores, read if it exists, replaced
                                now and then; NULL = none                     */
    tlp_plan_point_fn point; /* once for each depth, the serial plan first    */
    void *point_data;
    tlp_progress_fn progress;
    void *progress_data;
} tlp_plan_make_options;

#define TLP_PLAN_MAKE_OPTIONS_INIT                                             \
    { sizeof(tlp_plan_make_options), 0, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, \
      0, 0, NULL, NULL, NULL, NULL, NULL }

/**
 * Choose the layers to join, and their modes, such that the model stays close
 * to the serial one on a text: the least of the objective, in windows of n_ctx
 * tokens from position 0.  Neighbouring layers are joined one by one;
 * at each depth groups are exchanged for others as long as that helps.  The
 * same call gives the same plan, on machines with the same instruction set.
 * What was found is recorded in the plan (its "made" object).
 *
 * @param tokens  calibration text; 2048 tokens are a good number, and a last
 *                window of one token is left out
 * @return TLP_OK; TLP_EINVAL; TLP_ERANGE the target is out of reach; TLP_EIO,
 *         TLP_EFORMAT or TLP_EMISMATCH by the file of scores (of another
 *         model, text or options); TLP_ECANCELED by progress, the scores kept
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_make(tlp_plan **out, tlp_model *model,
                                 const int32_t *tokens, size_t n,
                                 const tlp_plan_make_options *opts)
    TLP_NODISCARD;

/* ==== adjustments ======================================================== */

/*
 * A plan's stages can be adjusted so that its groups do more of what their
 * layers do one after the other.  What is changed is fitted in closed form on
 * calibration text, stage by stage, with the activations of the adjusted plan
 * itself: gains of attention and feed-forward, weights of the norms, low-rank
 * corrections of the members' inputs and of the stage's output.  None of it
 * needs a further all-reduce.
 */
typedef struct tlp_plan_adjust_options {
    size_t struct_size;
    int32_t gains, norms; /* 0 or 1: fit these                                */
    int32_t rank;         /* of low-rank corrections, a multiple of 4, at most
                             n_embd / 2; 0 = none                             */
    int32_t n_ctx;        /* tokens of a window; 0 = 512                      */
    double held_out;      /* share of the windows that is kept for validation;
                             0 = 0.25                                         */
    int32_t n_thread;     /* 0 = all cores                                    */
    int32_t compute;      /* TLP_COMPUTE_*                                    */
    int32_t kv_type;      /* TLP_KV_*                                         */
    int32_t isa;          /* TLP_ISA_*                                        */
    uint64_t seed;        /* which windows are held out                       */
    tlp_progress_fn progress;
    void *progress_data;
} tlp_plan_adjust_options;

#define TLP_PLAN_ADJUST_OPTIONS_INIT                                           \
    { sizeof(tlp_plan_adjust_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL,     \
      NULL }

/* On the windows that were held out. */
typedef struct tlp_plan_adjust_report {
    size_t struct_size;
    int32_t n_window, n_held_out;
    double kl_before, kl_after;     /* mean KL to the serial model, nats      */
    double ppl_before, ppl_after;   /* perplexity                             */
    double top1_before, top1_after; /* agreement with the serial model, 0..1  */
    int32_t n_gain, n_norm, n_low_rank; /* that help, and are in the plan     */
    uint64_t n_bytes;               /* of the adjustments                     */
} tlp_plan_adjust_report;

/**
 * Fit adjustments of a plan's groups.
 *
 * A part of the windows is held out.  What is fitted on the others is kept
 * where it brings the held-out activations closer to the serial model's; how
 * strongly it is regularised, and which rank up to `rank` it gets, is chosen
 * there too.  If the plan's KL from the serial model falls on the held-out
 * windows, everything that was kept is fitted once more, on all windows.
 *
 * The adjusted plan is saved by tlp_plan_save with a second file beside it,
 * PATH without ".json" plus ".adjust.safetensors", which the first one names
 * with its checksum.
 *
 * @param plan    without adjustments, with at least one group (lp, par, asym)
 * @param tokens  calibration text; 8192 tokens are a good number, two windows
 *                the least
 * @param report  or NULL; filled in also when the adjustments are refused
 * @return TLP_OK; TLP_EINVAL; TLP_ERANGE where nothing helps, *out is NULL;
 *         TLP_ECANCELED by progress
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_adjust(tlp_plan **out, const tlp_plan *plan,
                                   const int32_t *tokens, size_t n,
                                   const tlp_plan_adjust_options *opts,
                                   tlp_plan_adjust_report *report)
    TLP_NODISCARD;

#ifdef __cplusplus
}
#endif

#endif /* TLP_H */
