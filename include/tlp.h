/**
 * @file tlp.h
 * Run decoder language models with layer parallelism.
 *
 * Layer parallelism (arXiv 2502.02790, "Leveraging the True Depth of LLMs")
 * evaluates neighbouring layers of a transformer side by side instead of one
 * after another.  On several ranks (threads, processes, hosts or GPUs) the
 * model becomes shallower, and every token waits for fewer all-reduces.  The
 * price is quality.  It depends on which layers run side by side; the plan
 * holds that choice.
 *
 * The library has three main handles:
 *
 *   tlp_model    weights and vocabulary of one file; immutable
 *   tlp_plan     which layers run side by side, and how; immutable, small
 *   tlp_session  KV cache, sequences and logits on one or more ranks; mutable
 *
 * A plan keeps its model alive and a session keeps its plan alive, so a program
 * may free the three handles in any order.
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
 * Two further headers belong to the library and include this header:
 * tlp_tune.h makes, adjusts, measures and predicts plans and quantizes models;
 * tlp_eval.h compares logits and runs tasks.
 *
 * Conventions
 *   Results   Out-parameters come first.  A function that fails sets a handle
 *             that it would have made to NULL.
 *   Status    A function that can fail returns tlp_status: TLP_OK or a negative
 *             code.  tlp_last_error() has the text.  Each function lists the
 *             statuses that a caller may want to handle.  Besides these, any
 *             function may return TLP_EINVAL for an argument that is never
 *             valid, TLP_ENOMEM, and TLP_EABI for a struct of a newer header.
 *   Options   A NULL options pointer means all defaults, and zero in any field
 *             means the default of that field.  The caller sets struct_size;
 *             the _INIT macros do so.  struct_size lets a program that was
 *             built with an older header work with a newer library.
 *   Sizes     A function copies a text or an array into (buf, cap) of the
 *             caller and always stores the size that is needed.  If cap is too
 *             small, the function returns TLP_EBUFS.  Text is UTF-8.  A copied
 *             text ends in NUL; cap counts the NUL, the stored length does not.
 *   Borrowed  A pointer that a function hands out is borrowed: the caller does
 *             not free it.  The exceptions are handles, each with a function
 *             tlp_..._free that accepts NULL.
 *   Threads   Any number of threads may use one model, plan or task at a time.
 *             One thread at a time may use a session, a sampler or a stream.
 *             tlp_session_abort is the exception: any thread and any signal
 *             handler may call it.
 *   Process   The library never writes to stdout or stderr, never ends the
 *             process and sets no signal handlers.  Its only mutable global is
 *             the thread-local text of the last error.
 *
 * The header is C99 and C++11.  The library treats model files, plans and
 * prompts as hostile input: malformed input gives a status and a text, never a
 * crash.
 */
#ifndef TLP_H
#define TLP_H

/* The comments of fields and constants stand in columns. */
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

/**
 * @defgroup tlp_version Versions
 * Version of the library, and facts about its build.
 * @par Threads
 * Any thread may call these functions at any time.
 * @{
 */

#define TLP_VERSION_MAJOR 0 /**< version of this header, first number         */
#define TLP_VERSION_MINOR 1 /**< version of this header, second number        */
#define TLP_VERSION_PATCH 0 /**< version of this header, third number         */

/** Version of this header as one number, for comparisons. */
#define TLP_VERSION_NUMBER                                                     \
    (TLP_VERSION_MAJOR * 10000 + TLP_VERSION_MINOR * 100 + TLP_VERSION_PATCH)

/** Version of the binary interface, and the number in libtlp.so.1. */
#define TLP_ABI_VERSION 1

/**
 * Get the version of the library at run time.
 *
 * @return the version in the form of TLP_VERSION_NUMBER
 * @since 0.1
 */
TLP_API int tlp_version_number(void);

/**
 * Get the version of the library at run time as text.
 *
 * @return "major.minor.patch"; static
 * @since 0.1
 */
TLP_API const char *tlp_version_string(void);

/**
 * Describe this build and this machine in one line.
 *
 * The line names the version, the compiler, and the kernels that a session
 * would use on this machine ("amx", "avx512", "avx2" or "scalar").
 *
 * @return one line without a newline; static
 * @since 0.1
 */
TLP_API const char *tlp_build_info(void);

/**
 * List the architectures that the library loads.
 *
 * @param index  0 for the first one
 * @return a value of the key general.architecture, such as "llama"; NULL past
 *         the last one; static
 * @since 0.1
 */
TLP_API const char *tlp_arch_name(size_t index);

/**
 * List the types of tensors that the library loads.
 *
 * @param index  0 for the first one
 * @return the name of a type, such as "Q4_1"; NULL past the last one; static
 * @since 0.1
 */
TLP_API const char *tlp_type_name(size_t index);

/** @} */

/**
 * @defgroup tlp_status Errors
 * Status codes, and the text of the last error.
 *
 * Each code has one meaning.  docs/errors.md says what a program can do about
 * each.
 * @par Threads
 * Any thread may call these functions at any time.  Each thread has an error
 * text of its own.
 * @{
 */

/** Result of a function that can fail.  Values never change. */
typedef enum tlp_status {
    TLP_OK = 0,           /**< success                                        */
    TLP_ERROR = -1,       /**< failure without a code of its own              */
    TLP_EINVAL = -2,      /**< an argument is not valid                       */
    TLP_ENOMEM = -3,      /**< memory of the host or of a GPU ran out         */
    TLP_EIO = -4,         /**< the system failed to read or to write          */
    TLP_EFORMAT = -5,     /**< a file or a text is malformed                  */
    TLP_ENOTSUP = -6,     /**< the input is well-formed, but not supported    */
    TLP_EFULL = -7,       /**< the tokens do not fit into n_ctx positions, or
                               the cache has too few free pages               */
    TLP_EBUFS = -8,       /**< the buffer of the caller is too small          */
    TLP_ESTATE = -9,      /**< the call is out of order                       */
    TLP_ECANCELED = -10,  /**< the program canceled the call                  */
    TLP_EDEVICE = -11,    /**< a GPU or its driver failed                     */
    TLP_ECOMM = -12,      /**< another rank failed                            */
    TLP_EABI = -13,       /**< a struct sets fields that the library lacks    */
    TLP_ETIMEDOUT = -14,  /**< another rank did not answer in time            */
    TLP_EMISMATCH = -15,  /**< two things that must agree do not              */
    TLP_EUNREACHED = -16, /**< no plan reaches the target                     */
    TLP_ENOGAIN = -17,    /**< no adjustment improves the plan                */
    TLP_ECLOSED = -18,    /**< rank 0 has left, or the engine was stopped:
                               nothing more will come                         */
    TLP_EBUSY = -19       /**< no room at the moment                          */
} tlp_status;

/**
 * Get the name of a status.
 *
 * @param status  any value
 * @return "TLP_EINVAL" and so on, "TLP_E?" for an unknown value; static
 * @since 0.1
 */
TLP_API const char *tlp_status_name(tlp_status status);

/**
 * Get a short general text for a status.
 *
 * tlp_last_error() has the text that names the cause.
 *
 * @param status  any value
 * @return a text, never NULL; static
 * @since 0.1
 */
TLP_API const char *tlp_status_text(tlp_status status);

/**
 * Get the text of the last failure on the calling thread.
 *
 * The text is one line that names the file, the key and the value at fault.
 * The library also stores failures of other ranks on the thread of the caller.
 * A call that succeeds does not change the text.
 *
 * @return a text, never NULL; borrowed until the next call that fails on this
 *         thread
 * @since 0.1
 */
TLP_API const char *tlp_last_error(void);

/** @} */

/**
 * @defgroup tlp_hooks Hooks
 * Functions of the program that the library calls.
 *
 * Each of them must return: an exception, longjmp or the end of the thread must
 * not leave it.  The library uses log, log_data and the allocator of a model
 * until the model, all its plans and all its sessions are freed.
 * @par Threads
 * The library calls a progress function on the thread of the caller, and a log
 * function or an allocator on any thread.
 * @{
 */

/**
 * Report the progress of a long call.
 *
 * @param done       finished share of the work, 0 to 1
 * @param user_data  pointer from the options
 * @return 0 to go on; any other value cancels the call, which then returns
 *         TLP_ECANCELED
 */
typedef int (*tlp_progress_fn)(double done, void *user_data);

/** Weight of a line of log text. */
enum tlp_log_level {
    TLP_LOG_ERROR = 1, /**< a failure that the library also reports as status */
    TLP_LOG_WARN = 2,  /**< a problem that the library worked around          */
    TLP_LOG_INFO = 3,  /**< a fact that interests a user                      */
    TLP_LOG_DEBUG = 4  /**< a fact that interests a developer                 */
};

/**
 * Receive one line of log text.
 *
 * @param level      enum tlp_log_level
 * @param text       line without a newline, borrowed for this call
 * @param user_data  pointer from the options
 */
typedef void (*tlp_log_fn)(int level, const char *text, void *user_data);

/**
 * Allocator for host memory.  Set both functions or neither.
 *
 * PCRE2, which splits text for tokenizers, uses this allocator too, and may go
 * on without a piece of memory that it fails to get.  Jansson (JSON) and thread
 * stacks do not use it.
 */
typedef struct tlp_allocator {
    /** Return `size` bytes aligned to `align`, a power of two, or NULL. */
    void *(*alloc)(size_t size, size_t align, void *user_data);
    /** Take memory back.  `size` is the value that alloc received. */
    void (*free)(void *ptr, size_t size, void *user_data);
    void *user_data; /**< last argument of both functions                     */
} tlp_allocator;

/** @} */

/**
 * @defgroup tlp_model Models
 * Weights, vocabulary and metadata of a GGUF file.
 * @par Threads
 * Any number of threads may use a model at a time.
 * @{
 */

/** An opened model file.  Immutable. */
typedef struct tlp_model tlp_model;

/** Options of tlp_model_open. */
typedef struct tlp_model_options {
    size_t struct_size;       /**< sizeof(tlp_model_options)                  */
    int32_t no_mmap;          /**< 1 = read the file into memory              */
    int32_t vocab_only;       /**< 1 = vocabulary and metadata, no tensors    */
    tlp_progress_fn progress; /**< or NULL                                    */
    void *progress_data;      /**< last argument of progress                  */
    tlp_log_fn log;           /**< also for plans and sessions; or NULL       */
    void *log_data;           /**< last argument of log                       */
    tlp_allocator allocator;  /**< also for plans and sessions                */
    int32_t trust_sample;     /**< 1 = take a model for another model's copy by
                                   its fingerprint alone; see
                                   tlp_model_get_digest                       */
} tlp_model_options;

/** Initial value of a tlp_model_options: all defaults. */
#define TLP_MODEL_OPTIONS_INIT                                                 \
    { sizeof(tlp_model_options), 0, 0, NULL, NULL, NULL, NULL,                 \
      { NULL, NULL, NULL }, 0 }

/** Facts about a model. */
typedef struct tlp_model_info {
    size_t struct_size;      /**< set by the caller                           */
    char arch[32];           /**< general.architecture: "llama", "qwen3"...   */
    char name[128];          /**< general.name, cut to fit                    */
    char quant[16];          /**< tensor type that holds most weight bytes    */
    char fingerprint[72];    /**< "sha256:" and 64 hexadecimal digits over
                                  the hyper-parameters and a sample of the
                                  bytes of each tensor; tlp_model_get_digest
                                  has all bytes                               */
    int32_t n_layer;         /**< layers                                      */
    int32_t n_embd;          /**< width of the residual stream                */
    int32_t n_ff;            /**< width of the feed-forward, or of an expert  */
    int32_t n_head;          /**< query heads                                 */
    int32_t n_head_kv;       /**< key and value heads                         */
    int32_t head_dim;        /**< width of a head                             */
    int32_t n_vocab;         /**< tokens in the vocabulary                    */
    int32_t n_ctx_train;     /**< positions that the model was trained with   */
    int32_t bos;             /**< token that begins a text; -1 = none         */
    int32_t eos;             /**< token that ends a text; -1 = none           */
    int32_t eot;             /**< token that ends a chat turn; -1 = none      */
    int32_t pad;             /**< token for padding; -1 = none                */
    int64_t n_param;         /**< parameters                                  */
    int64_t n_bytes;         /**< bytes of all tensors                        */
    int32_t n_tensor;        /**< tensors                                     */
    int32_t n_meta;          /**< metadata keys                               */
    int32_t n_expert;        /**< experts of each layer, of n_ff hidden units
                                  each; 0: layers have no experts             */
    int32_t n_expert_used;   /**< experts that a token reads                  */
} tlp_model_info;

/** Facts about a tensor. */
typedef struct tlp_tensor_info {
    size_t struct_size;      /**< set by the caller                           */
    const char *name;        /**< borrowed from the model                     */
    const char *type;        /**< "F32", "Q4_1" and so on; static             */
    int32_t n_dim;           /**< dimensions, at most 4                       */
    int32_t file;            /**< index of the model's file that holds it     */
    int64_t ne[4];           /**< elements per dimension, the fastest first
                                  (the order of GGUF)                         */
    uint64_t n_bytes;        /**< bytes in the file                           */
} tlp_tensor_info;

/**
 * Open a model: a file, or a folder of Hugging Face (docs/folders.md).
 *
 * A file is GGUF, version 2 or 3, little-endian (ggml-org/ggml, docs/gguf.md),
 * or the first of a split set (name-00001-of-0000N.gguf).  A folder is read as
 * the file that llama.cpp's converter makes of it.  The library checks the whole
 * structure.  With mmap, the default, it copies no weights whose order stays.
 *
 * The library refuses a metadata key or a tensor that it does not know, unless
 * it is known to change no result.  It tells `log` what it had to guess or left
 * out, with TLP_LOG_WARN; docs/errors.md lists both.
 *
 * @param[out] out  the model; the caller frees it with tlp_model_free
 * @param path      UTF-8
 * @param opts      NULL = defaults
 * @return TLP_OK; TLP_EIO if the file cannot be read; TLP_EFORMAT if it is
 *         malformed (the text names the key or the tensor); TLP_ENOTSUP for an
 *         unknown architecture, tensor type, tokenizer, key or tensor;
 *         TLP_ECANCELED by progress
 * @since 0.1
 */
TLP_API tlp_status tlp_model_open(tlp_model **out, const char *path,
                                  const tlp_model_options *opts) TLP_NODISCARD;

/**
 * Release a model.  Plans that use the model stay valid.
 *
 * @param model  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_model_free(tlp_model *model);

/**
 * Get facts about a model.
 *
 * @param[out] out  the caller sets struct_size
 * @param model     model
 * @return TLP_OK
 * @since 0.1
 */
TLP_API tlp_status tlp_model_get_info(tlp_model_info *out,
                                      const tlp_model *model) TLP_NODISCARD;

/**
 * Copy out the digest of a model: "sha256:" and 64 hexadecimal digits over the
 * hyper-parameters and every byte of every tensor.
 *
 * The fingerprint of tlp_model_info samples the bytes and tells models apart at
 * once; the digest also tells a damaged copy from its original.  Names of
 * files, how a set is split, the order of tensors, padding and other metadata
 * do not count.
 *
 * The first call for a model reads all of its tensors, with several threads.
 * The library keeps the digests of tensors in $XDG_CACHE_HOME/libtlp or
 * ~/.cache/libtlp, and uses them while device, inode, size, mtime and ctime of
 * the file stay; so it does not see a medium that decays later.  Without a
 * folder that it can write, it reads the tensors each time.
 *
 * The library itself asks for the digest when a session of several processes
 * begins, when it writes a plan as JSON or scores, and when it reads a plan or
 * scores that have a digest.  With `trust_sample` it never does: then it
 * compares fingerprints, and damage outside the sample stays unseen.
 *
 * @param[out] buf  text; NULL if cap is 0
 * @param cap       bytes in buf
 * @param[out] len  bytes of the text without the NUL
 * @param model     opened without vocab_only
 * @return TLP_OK; TLP_EBUFS if cap is too small; TLP_EINVAL with vocab_only;
 *         TLP_ENOMEM
 * @since 0.1
 */
TLP_API tlp_status tlp_model_get_digest(char *buf, size_t cap, size_t *len,
                                        const tlp_model *model) TLP_NODISCARD;

/**
 * Get facts about one tensor.
 *
 * @param[out] out  the caller sets struct_size
 * @param model     model
 * @param index     0 to n_tensor - 1, in the order of the file
 * @return TLP_OK; TLP_EINVAL past the last tensor
 * @since 0.1
 */
TLP_API tlp_status tlp_model_get_tensor(tlp_tensor_info *out,
                                        const tlp_model *model,
                                        size_t index) TLP_NODISCARD;

/**
 * Get the name of one metadata key.
 *
 * @param model  model
 * @param index  0 to n_meta - 1, in the order of the file
 * @return the name, borrowed from the model; NULL past the last key
 * @since 0.1
 */
TLP_API const char *tlp_model_meta_key(const tlp_model *model, size_t index);

/**
 * Get a metadata value as text.
 *
 * For an array, the text gives its type, its size and its first elements.
 *
 * @param[out] buf  cap bytes; NULL with cap 0
 * @param cap       bytes in buf
 * @param[out] len  length of the text in bytes without the NUL, also with
 *                  TLP_EBUFS
 * @param model     model
 * @param key       name, as from tlp_model_meta_key
 * @return TLP_OK; TLP_EINVAL if the key does not exist; TLP_EBUFS
 * @since 0.1
 */
TLP_API tlp_status tlp_model_get_meta(char *buf, size_t cap, size_t *len,
                                      const tlp_model *model,
                                      const char *key) TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_tokens Tokens
 * Text to tokens and tokens to text.
 * @par Threads
 * Any number of threads may use a model at a time; one thread at a time may use
 * a stream.
 * @{
 */

/** Flags of tlp_tokenize. */
enum tlp_tokenize_flags {
    TLP_TOKENIZE_SPECIAL = 1, /**< text such as <|im_start|> becomes one
                                   control token                              */
    TLP_TOKENIZE_BOS = 2,     /**< add BOS if the model file asks for it,
                                   unless the text begins with BOS            */
    TLP_TOKENIZE_EOS = 4      /**< add EOS if the model file asks for it; not
                                   for a text that is to be continued         */
};

/** Flags of tlp_detokenize and of streams. */
enum tlp_detokenize_flags {
    TLP_DETOKENIZE_SPECIAL = 1 /**< control tokens give their text            */
};

/**
 * Convert text to token ids.
 *
 * The time grows with n log n; the stack does not grow.
 *
 * @param[out] ids    room for cap ids; NULL with cap 0
 * @param cap         ids that fit into ids
 * @param[out] count  number of ids, also with TLP_EBUFS
 * @param model       model with the vocabulary
 * @param text        n bytes without a NUL; bytes that are not UTF-8 count as
 *                    single bytes
 * @param n           bytes in text
 * @param flags       enum tlp_tokenize_flags, combined by OR
 * @return TLP_OK; TLP_EBUFS
 * @since 0.1
 */
TLP_API tlp_status tlp_tokenize(int32_t *ids, size_t cap, size_t *count,
                                const tlp_model *model, const char *text,
                                size_t n, uint32_t flags) TLP_NODISCARD;

/**
 * Convert token ids to text.
 *
 * Control tokens give no text unless the flags ask for it.  The text is not
 * whole UTF-8 if the ids end inside a character.
 *
 * @param[out] buf  room for cap bytes; NULL with cap 0
 * @param cap       bytes in buf
 * @param[out] len  length of the text in bytes without the NUL, also with
 *                  TLP_EBUFS
 * @param model     model with the vocabulary
 * @param ids       n ids, each from 0 to n_vocab - 1
 * @param n         number of ids
 * @param flags     enum tlp_detokenize_flags, combined by OR
 * @return TLP_OK; TLP_EBUFS
 * @since 0.1
 */
TLP_API tlp_status tlp_detokenize(char *buf, size_t cap, size_t *len,
                                  const tlp_model *model, const int32_t *ids,
                                  size_t n, uint32_t flags) TLP_NODISCARD;

/**
 * Test whether a token ends a generation.
 *
 * @param model  model with the vocabulary
 * @param id     token
 * @return 1 for the end of a text or of a chat turn, else 0
 * @since 0.1
 */
TLP_API int tlp_token_is_end(const tlp_model *model, int32_t id);

/** Kinds of tokens. */
enum tlp_token_flags {
    TLP_TOKEN_CONTROL = 1,   /**< no part of a text: tlp_detokenize leaves it
                                  out unless the flags ask for it             */
    TLP_TOKEN_END = 2,       /**< ends a generation (tlp_token_is_end)        */
    TLP_TOKEN_BYTE = 4,      /**< one byte, for text without a token of its own;
                                  SentencePiece only                          */
    TLP_TOKEN_USER = 8,      /**< defined by the maker of the model, and found
                                  in any text                                 */
    TLP_TOKEN_PADDING = 16   /**< a row of the embedding without a token      */
};

/**
 * Get the bytes of one token.
 *
 * They are the bytes inside a text: a leading blank of SentencePiece is kept,
 * and the bytes may be a part of a character.  A control token gives the text
 * by which it is found.
 *
 * @param[out] buf  room for cap bytes; NULL with cap 0
 * @param cap       bytes in buf
 * @param[out] len  number of bytes without the NUL, also with TLP_EBUFS
 * @param model     model with the vocabulary
 * @param id        token, 0 to n_vocab - 1
 * @return TLP_OK; TLP_EBUFS
 * @since 0.1
 */
TLP_API tlp_status tlp_token_get_piece(char *buf, size_t cap, size_t *len,
                                       const tlp_model *model,
                                       int32_t id) TLP_NODISCARD;

/**
 * Tell the kind of a token.
 *
 * @param model  model with the vocabulary
 * @param id     token
 * @return enum tlp_token_flags, combined by OR; 0 for text, and for an id out
 *         of range
 * @since 0.1
 */
TLP_API uint32_t tlp_token_kind(const tlp_model *model, int32_t id);

/** One message of a conversation. */
typedef struct tlp_chat_message {
    const char *role;    /**< "system", "user" or "assistant"                 */
    const char *content; /**< UTF-8                                           */
} tlp_chat_message;

/**
 * Options of tlp_chat_render and tlp_chat_tokenize.
 *
 * Texts named _json hold JSON (RFC 8259) of at most 16 MiB, nested at most 64
 * deep, without a key that occurs twice in one object.
 */
typedef struct tlp_chat_options {
    size_t struct_size;        /**< sizeof(tlp_chat_options)                  */
    int32_t add_generation_prompt; /**< 1 = end with the opening of the
                                    assistant's turn                          */
    int32_t continue_final_message; /**< 1 = end behind the text of the last
                                    message, so that the model continues that
                                    text; excludes add_generation_prompt      */
    const char *messages_json; /**< the conversation as an array of objects, in
                                    the form of OpenAI's chat API: role, content
                                    (a string, null, or an array of parts),
                                    tool_calls, reasoning_content, name, any
                                    further key; in place of `messages`       */
    const char *tools_json;    /**< array of objects, `tools` of the template;
                                    NULL = none                               */
    const char *documents_json; /**< array of objects, `documents` of the
                                    template; NULL = none                     */
    const char *kwargs_json;   /**< object; the template sees each key as a
                                    name, such as enable_thinking; NULL = none*/
    const char *chat_template; /**< template, instead of the file's; or NULL  */
    const char *template_name; /**< name of a template in the file, such as
                                    "tool_use"; "default" is the one in
                                    tokenizer.chat_template; NULL = "tool_use"
                                    with tools where the file has it, else
                                    "default"                                 */
    int64_t now;               /**< time of strftime_now in the template, in
                                    seconds since 1970; 0 = the clock         */
} tlp_chat_options;

/** Initial value of a tlp_chat_options: all defaults. */
#define TLP_CHAT_OPTIONS_INIT                                                  \
    { sizeof(tlp_chat_options), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0 }

/**
 * Convert a conversation to token ids in the way of a chat template.
 *
 * An interpreter in the library runs the template, which is written in the
 * language of Jinja 2, with the settings of Hugging Face's transformers.  The
 * template sees `messages`, `tools` and `documents` (none where the caller
 * gives none), `add_generation_prompt`, the keys of kwargs_json, `bos_token`
 * and `eos_token` (empty where the model has none), and `unk_token` and
 * `pad_token` where the model has them.  The interpreter bounds steps, memory
 * and nesting; a construct that it does not know is refused with its name, line
 * and column.
 *
 * Control tokens come from the template alone: text of a message, a tool, a
 * document or another value of the caller never becomes a control token or a
 * token that ends a text, nor a part of one.  A role of letters, digits, '_'
 * and '-' counts as the template's.  User-defined tokens, such as \<think\>, are
 * found everywhere, as in plain text.  Those that end a text or are spelt as
 * tokens of turns are count as control tokens: \<|NAME|\>, \<|NAME\>, \<NAME|\>,
 * \<start_of_NAME\>, \<end_of_NAME\>, and capitals in brackets, [NAME].  Where no
 * value spells a control token, the ids are those of the whole text from
 * tlp_chat_render with TLP_TOKENIZE_SPECIAL.
 *
 * The ids begin with BOS where the template writes it, and never with two.  No
 * BOS is added, whatever tokenizer.ggml.add_bos_token says: as transformers
 * does, the library leaves that to the template.
 *
 * The library refuses what would be lost: tools, documents and tool calls that
 * the template never reads.  It warns through the model's log of other keys
 * that the template never reads.  Parts of content that are no text (images,
 * sound) are refused.
 *
 * @param[out] ids    room for cap ids; NULL with cap 0
 * @param cap         ids that fit into ids
 * @param[out] count  number of ids, also with TLP_EBUFS
 * @param model       model with the vocabulary and the template
 * @param messages    n messages; NULL with messages_json
 * @param n           number of messages
 * @param opts        NULL = defaults
 * @return TLP_OK; TLP_EBUFS; TLP_ENOTSUP if there is no template, the template
 *         uses a construct that is not supported, passes a bound, never reads
 *         what it must, or does not write the text to continue as it is;
 *         TLP_EFORMAT if the template or a JSON text is malformed; TLP_EINVAL
 *         if the template refuses the conversation, a value has another shape,
 *         a text is not UTF-8, or the file has no template of that name
 * @since 0.1
 */
TLP_API tlp_status tlp_chat_tokenize(int32_t *ids, size_t cap, size_t *count,
                                     const tlp_model *model,
                                     const tlp_chat_message *messages, size_t n,
                                     const tlp_chat_options *opts)
    TLP_NODISCARD;

/**
 * Convert a conversation to text in the way of a chat template.
 *
 * The text is for people, logs and other tokenizers.  It does not say which
 * bytes the template wrote: a program that tokenizes this text lets messages
 * spell control tokens.  tlp_chat_tokenize does not.
 *
 * @param[out] buf  room for cap bytes; NULL with cap 0
 * @param cap       bytes in buf
 * @param[out] len  length of the text in bytes without the NUL, also with
 *                  TLP_EBUFS
 * @param model     model with the template
 * @param messages  n messages; NULL with messages_json
 * @param n         number of messages
 * @param opts      NULL = defaults
 * @return the statuses of tlp_chat_tokenize
 * @since 0.1
 */
TLP_API tlp_status tlp_chat_render(char *buf, size_t cap, size_t *len,
                                   const tlp_model *model,
                                   const tlp_chat_message *messages, size_t n,
                                   const tlp_chat_options *opts) TLP_NODISCARD;

/**
 * Convert a conversation to text: tlp_chat_render with add_generation_prompt as
 * its only option.
 *
 * @param[out] buf       room for cap bytes; NULL with cap 0
 * @param cap            bytes in buf
 * @param[out] len       length of the text in bytes without the NUL, also with
 *                       TLP_EBUFS
 * @param model          model with the template
 * @param messages       n messages
 * @param n              number of messages
 * @param add_assistant  1 = end with the opening of the assistant's turn
 * @return the statuses of tlp_chat_render
 * @since 0.1
 */
TLP_API tlp_status tlp_chat_format(char *buf, size_t cap, size_t *len,
                                   const tlp_model *model,
                                   const tlp_chat_message *messages, size_t n,
                                   int add_assistant) TLP_NODISCARD;

/**
 * Converter from a stream of tokens to a stream of text.
 *
 * A stream holds bytes back until a character is whole, and until the bytes can
 * no longer begin a stop string.  A control token whose own text is a stop
 * string stops the stream, although it gives no text.
 */
typedef struct tlp_stream tlp_stream;

/**
 * Create a text stream.
 *
 * @param[out] out  the stream; the caller frees it with tlp_stream_free
 * @param model     model with the vocabulary; the stream keeps it alive
 * @param stop      n_stop stop strings, copied; NULL with n_stop 0
 * @param n_stop    number of stop strings
 * @param flags     enum tlp_detokenize_flags, combined by OR
 * @return TLP_OK
 * @since 0.1
 */
TLP_API tlp_status tlp_stream_create(tlp_stream **out, tlp_model *model,
                                     const char *const *stop, size_t n_stop,
                                     uint32_t flags) TLP_NODISCARD;

/**
 * Add one token to a stream.
 *
 * @param[out] text     text that became certain: whole UTF-8 with a NUL,
 *                      borrowed until the next call on the stream, often empty
 * @param[out] len      bytes in text without the NUL
 * @param[out] stopped  1 from the token on that completed a stop string; the
 *                      text never contains the stop string, and the stream
 *                      ignores later tokens
 * @param stream        stream
 * @param token         0 to n_vocab - 1
 * @return TLP_OK
 * @since 0.1
 */
TLP_API tlp_status tlp_stream_push(const char **text, size_t *len, int *stopped,
                                   tlp_stream *stream,
                                   int32_t token) TLP_NODISCARD;

/**
 * Get the text that a stream still holds back.
 *
 * An incomplete character becomes U+FFFD.
 *
 * @param[out] text  whole UTF-8 with a NUL, borrowed until the next call on the
 *                   stream
 * @param[out] len   bytes in text without the NUL
 * @param stream     stream
 * @return TLP_OK
 * @since 0.1
 */
TLP_API tlp_status tlp_stream_flush(const char **text, size_t *len,
                                    tlp_stream *stream) TLP_NODISCARD;

/**
 * Release a stream.
 *
 * @param stream  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_stream_free(tlp_stream *stream);

/** @} */

/**
 * @defgroup tlp_grammar Grammars
 * Texts that follow a grammar: which tokens may come next.
 *
 * A sampler with a grammar (tlp_sampler_options) chooses from these tokens
 * alone.  A program with a sampler of its own asks a matcher for them.
 * @par Threads
 * Any number of threads may use a grammar at a time; one thread at a time may
 * use a matcher.
 * @{
 */

/** A grammar for the tokens of one model.  Immutable. */
typedef struct tlp_grammar tlp_grammar;

/**
 * Make a grammar from GBNF, the form of llama.cpp.
 *
 *     # the text must match the rule root
 *     root ::= "answer: " (number | word) "\n"
 *     number ::= "-"? [0-9]{1,9}
 *     word ::= [^\x00-\x20]+
 *
 * Symbols are texts in quotes, classes of characters ([a-z], [^a-z]), any
 * character (.), names of rules (letters, digits, - and _), groups, and tokens
 * of the vocabulary by id or by text (\<[1000]\>, \<think\>; with ! in front,
 * any other token).  Behind a symbol may stand *, +, ?, {m}, {m,} or {m,n}.  A
 * rule ends with its line, except behind | and inside parentheses.
 * docs/grammars.md has the escapes and the details.
 *
 * A grammar matches whole texts: the bytes of tokens, which may end inside a
 * character.  Control tokens match only where the grammar names them.  A token
 * that ends a text is allowed exactly where the grammar may end.
 *
 * Time and memory are bounded, also for ambiguous grammars.  Refused are rules
 * that begin with themselves (left recursion) and rules that match no finite
 * text; and beyond 16 MiB of text, 16384 rules, groups 200 deep, and 524288
 * positions with repetitions written out.
 *
 * @param[out] out  the grammar; the caller frees it with tlp_grammar_free
 * @param model     model with the vocabulary; the grammar keeps it alive
 * @param text      n bytes of UTF-8 without a NUL
 * @param n         bytes in text
 * @return TLP_OK; TLP_EFORMAT for a text that is no grammar; TLP_ENOTSUP for
 *         left recursion and beyond the bounds; TLP_EINVAL for a token that the
 *         vocabulary lacks.  The text names line and rule
 * @since 0.1
 */
TLP_API tlp_status tlp_grammar_parse(tlp_grammar **out, tlp_model *model,
                                     const char *text, size_t n) TLP_NODISCARD;

/**
 * Make a grammar from a JSON schema: every text that matches is JSON that the
 * schema accepts.
 *
 * The keywords are those of JSON Schema 2020-12 (and of older drafts
 * `definitions` and an array of `items`):
 *
 *     type, also a list     enum, const           anyOf, oneOf, allOf
 *     properties, required  additionalProperties  $ref, $defs, definitions
 *     prefixItems, items    minItems, maxItems    minLength, maxLength
 *     minimum, maximum, exclusiveMinimum, exclusiveMaximum
 *     pattern               format: date, time, date-time, uuid
 *
 * Properties come in the order of the schema, then others that
 * additionalProperties allows; a schema without additionalProperties allows no
 * others where it has properties.  Text of JSON is compact: one blank may stand
 * behind ',' and ':', and nowhere else.  Numbers have at most 15 digits before
 * and behind the point and two in the exponent.  docs/grammars.md has the
 * details.
 *
 * A keyword that would change which values are accepted and is not in the list
 * is refused by name, as are bounds of numbers that are no integers,
 * alternatives of oneOf that may overlap, and parts of patterns that are no
 * regular expression.  Notes (title, description, default, examples and the
 * like) are left out.
 *
 * @param[out] out  the grammar; the caller frees it with tlp_grammar_free
 * @param model     model with the vocabulary; the grammar keeps it alive
 * @param json      n bytes: a schema, at most 16 MiB, nested at most 64 deep
 * @param n         bytes in json
 * @return TLP_OK; TLP_EFORMAT for a text that is no JSON, or a keyword whose
 *         value has a wrong shape; TLP_ENOTSUP for a keyword that the library
 *         lacks; TLP_EINVAL for a schema that no value matches.  The text names
 *         the place in the schema
 * @since 0.1
 */
TLP_API tlp_status tlp_grammar_from_schema(tlp_grammar **out, tlp_model *model,
                                           const char *json,
                                           size_t n) TLP_NODISCARD;

/**
 * Get the text of a grammar, in GBNF.
 *
 * @param[out] buf  room for cap bytes; NULL with cap 0
 * @param cap       bytes in buf
 * @param[out] len  length of the text in bytes without the NUL, also with
 *                  TLP_EBUFS
 * @param grammar   grammar
 * @return TLP_OK; TLP_EBUFS
 * @since 0.1
 */
TLP_API tlp_status tlp_grammar_get_text(char *buf, size_t cap, size_t *len,
                                        const tlp_grammar *grammar)
    TLP_NODISCARD;

/**
 * Release a grammar.  Matchers and samplers that use it stay valid.
 *
 * @param grammar  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_grammar_free(tlp_grammar *grammar);

/** The place of one text in a grammar. */
typedef struct tlp_matcher tlp_matcher;

/** Whether the text of a matcher may end. */
enum tlp_place {
    TLP_PLACE_INSIDE = 0,   /**< more text must follow                        */
    TLP_PLACE_MAY_END = 1,  /**< the text may end, or go on                   */
    TLP_PLACE_COMPLETE = 2, /**< the text must end: only tokens that end a text
                                 are allowed                                  */
    TLP_PLACE_ENDED = 3     /**< a token ended the text                       */
};

/**
 * Create a matcher, at the start of a text.
 *
 * @param[out] out  the matcher; the caller frees it with tlp_matcher_free
 * @param grammar   grammar; the matcher keeps it alive
 * @return TLP_OK; TLP_ENOTSUP for a grammar that needs more than its bounds
 * @since 0.1
 */
TLP_API tlp_status tlp_matcher_create(tlp_matcher **out, tlp_grammar *grammar)
    TLP_NODISCARD;

/**
 * Add a token to the text.
 *
 * @param matcher  matcher
 * @param token    0 to n_vocab - 1
 * @return TLP_OK; TLP_EINVAL for a token that the grammar does not allow here,
 *         after which the text is as before; TLP_ESTATE after the end of the
 *         text; TLP_ENOTSUP for a grammar that needs more than its bounds
 * @since 0.1
 */
TLP_API tlp_status tlp_matcher_accept(tlp_matcher *matcher,
                                      int32_t token) TLP_NODISCARD;

/**
 * Get the tokens that may come next: bit i % 32 of word i / 32 is token i.
 *
 * From each of them some text completes the grammar.  The library finds the
 * tokens that a part of the grammar reads once, and shares them among the
 * matchers of the grammar, so the first calls take longer than later calls.
 *
 * @param[out] bits   room for cap words; NULL with cap 0
 * @param cap         words in bits
 * @param[out] count  words that are needed, (n_vocab + 31) / 32, also with
 *                    TLP_EBUFS
 * @param matcher     matcher
 * @return TLP_OK; TLP_EBUFS; TLP_ESTATE after the end of the text; TLP_ENOTSUP
 *         for a grammar that needs more than its bounds
 * @since 0.1
 */
TLP_API tlp_status tlp_matcher_get_mask(uint32_t *bits, size_t cap,
                                        size_t *count,
                                        tlp_matcher *matcher) TLP_NODISCARD;

/**
 * Tell whether the text may end.
 *
 * @param matcher  matcher
 * @return enum tlp_place
 * @since 0.1
 */
TLP_API int tlp_matcher_place(const tlp_matcher *matcher);

/**
 * Go back to the start of a text.
 *
 * @param matcher  matcher
 * @return TLP_OK; TLP_ENOMEM, after which the text is as before
 * @since 0.1
 */
TLP_API tlp_status tlp_matcher_reset(tlp_matcher *matcher) TLP_NODISCARD;

/**
 * Give a matcher the text of another matcher of the grammar.
 *
 * @param dst  matcher that becomes the copy
 * @param src  matcher to copy
 * @return TLP_OK; TLP_EMISMATCH for matchers of two grammars; TLP_ENOMEM, after
 *         which dst is as before
 * @since 0.1
 */
TLP_API tlp_status tlp_matcher_copy(tlp_matcher *dst,
                                    const tlp_matcher *src) TLP_NODISCARD;

/**
 * Release a matcher.
 *
 * @param matcher  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_matcher_free(tlp_matcher *matcher);

/** @} */

/**
 * @defgroup tlp_plan Plans
 * Which layers run side by side, and how.
 *
 * A plan is a list of stages that run one after another.  A stage has one or
 * more member layers.  tlp_tune.h makes plans and adjusts them.
 * @par Threads
 * Any number of threads may use a plan at a time.
 * @{
 */

/** A plan for one model.  Immutable. */
typedef struct tlp_plan tlp_plan;

/**
 * Mode of a stage.
 *
 * Stage with members i, input x and output z.  A and F are attention and
 * feed-forward; Na and Nf are their RMS norms.  docs/design.md derives the
 * equations.
 */
enum tlp_mode {
    TLP_MODE_SERIAL = 0,  /**< y = x + A(Na x); z = y + F(Nf y)               */
    TLP_MODE_LP = 1,      /**< y = x + sum A_i(Na_i x);
                               z = y + sum F_i(Nf_i y)  (arXiv 2502.02790)    */
    TLP_MODE_PAR = 2,     /**< y_i = x + A_i(Na_i x);
                               z = x + sum [A_i + F_i(Nf_i y_i)]              */
    TLP_MODE_ASYM = 3,    /**< y_i = x + sum_{j<=i} A_j;
                               z = y_last + sum F_i(Nf_i y_i)                 */
    TLP_MODE_LP_CODE = 4, /**< LP with slice r of each F reading y through
                               Nf_r: the public code of the paper's authors,
                               for comparison with published numbers          */
    TLP_MODE_MERGE = 5    /**< one layer with the mean of the members' weights,
                               for studies                                    */
};

/**
 * Exchanges that a stage of mode TLP_MODE_SERIAL leaves out.
 *
 * The layers around a left-out exchange are cut into tracks.  Track r goes on
 * with a residual stream of its own, x + the track's part of everything that
 * was added since the last exchange; the next exchange adds the parts of all
 * tracks, and the streams are equal again.  docs/design.md has the equations.
 */
enum tlp_nosync {
    TLP_NOSYNC_ATTN = 1, /**< the exchange after the attention                */
    TLP_NOSYNC_FFN = 2   /**< the exchange after the feed-forward             */
};

/**
 * Make a plan from text.
 *
 * The text form is one clause, or several joined by ';':
 *
 *     serial             every layer alone
 *     par:3-4,7-8        groups; modes par, lp, asym, lp-code, merge; a-b is
 *                        the group of layers a to b, a+c the group of these two
 *     lp:12-13;par:20-22 two clauses
 *     pairs:9-24@lp      consecutive pairs from layer 9 to layer 24 (the rule
 *                        of arXiv 2502.02790)
 *     depth:25@par       pairs that the library chooses, to 25 stages
 *     drop:12,20         layers that do not run
 *     order:0,2,1,3,...  all layers, in the order in which they run
 *     nosync@2:7f,25a,26 exchanges that are left out: after the feed-forward of
 *                        layer 7, the attention of layer 25, both halves of
 *                        layer 26; @ and the number of tracks may be left out
 *                        for 2 tracks
 *
 * The layers of nosync, and the layer after a left-out exchange, run alone; the
 * exchange after the last half-layer stays.  Such a plan runs on 1 rank or on a
 * multiple of its number of tracks.
 *
 * The JSON form (docs/design.md) begins with '{'.  Layers count from 0.  A
 * group runs at the place of its first member.
 *
 * @param[out] out  the plan; the caller frees it with tlp_plan_free
 * @param model     model; the plan keeps it alive
 * @param text      UTF-8
 * @return TLP_OK; TLP_EFORMAT if the text is no plan; TLP_EINVAL for a layer
 *         that is listed twice, missing or past the last; TLP_EMISMATCH for a
 *         plan of another model; TLP_ENOTSUP for a newer version of plans, or
 *         for a plan with adjustments, which only tlp_plan_load reads
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_parse(tlp_plan **out, tlp_model *model,
                                  const char *text) TLP_NODISCARD;

/**
 * Read a plan from a JSON file.
 *
 * If the plan has adjustments, the library also reads the file of adjustments
 * that the plan names.  That file stands in the folder of the plan, and its
 * checksum must be the checksum in the plan.
 *
 * @param[out] out  the plan; the caller frees it with tlp_plan_free
 * @param model     model; the plan keeps it alive
 * @param path      UTF-8
 * @return the statuses of tlp_plan_parse; TLP_EIO; TLP_EMISMATCH also for
 *         adjustments of another plan or model
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_load(tlp_plan **out, tlp_model *model,
                                 const char *path) TLP_NODISCARD;

/**
 * Write a plan to a JSON file.
 *
 * The library replaces an existing file as a whole or leaves it as it was.
 * Adjustments go to a second file, which is replaced first: PATH without
 * ".json", with ".adjust.safetensors" added.  If only the second file could be
 * written, a plan that stood in the first file no longer loads.
 *
 * @param plan  plan
 * @param path  UTF-8; for a plan with adjustments, the file name has no
 *              controls, quotes or backslashes and does not begin with '.'
 * @return TLP_OK; TLP_EINVAL for such a file name, and for a file of the
 *         plan's model; TLP_EIO
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_save(const tlp_plan *plan,
                                 const char *path) TLP_NODISCARD;

/** Form of a plan as text. */
enum tlp_plan_form {
    TLP_PLAN_TEXT = 0, /**< the text form of tlp_plan_parse                   */
    TLP_PLAN_JSON = 1  /**< the JSON form                                     */
};

/**
 * Write a plan to a buffer.
 *
 * tlp_plan_parse of the result gives an equal plan, unless the plan has
 * adjustments.  The text form has nothing of adjustments; the JSON form has the
 * name and the checksum of their file.
 *
 * @param[out] buf  room for cap bytes; NULL with cap 0
 * @param cap       bytes in buf
 * @param[out] len  length of the text in bytes without the NUL, also with
 *                  TLP_EBUFS
 * @param plan      plan
 * @param form      enum tlp_plan_form
 * @return TLP_OK; TLP_EBUFS
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_format(char *buf, size_t cap, size_t *len,
                                   const tlp_plan *plan,
                                   int form) TLP_NODISCARD;

/**
 * Release a plan.  Sessions that use the plan stay valid.
 *
 * @param plan  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_plan_free(tlp_plan *plan);

/** Work and messages of a plan. */
typedef struct tlp_plan_cost {
    size_t struct_size;       /**< set by the caller                          */
    int32_t n_rank;           /**< ranks                                      */
    int32_t effective_depth;  /**< stages                                     */
    int32_t n_layer;          /**< layers that run                            */
    int32_t allreduces;       /**< all-reduces over all ranks, per token      */
    int32_t inner_allreduces; /**< all-reduces over some ranks, per token     */
    int32_t sends;            /**< one-way messages, per token                */
    uint64_t comm_bytes;      /**< payload of a rank in all of these, bytes per
                                   token, activations in f32                  */
    uint64_t max_rank_bytes;  /**< bytes of weights per token that the rank
                                   with the largest share reads               */
    uint64_t sum_rank_bytes;  /**< bytes of weights per token that all ranks
                                   read                                       */
    int32_t exchanges;        /**< all-reduces and messages that one token
                                   waits for, one after another               */
} tlp_plan_cost;

/**
 * Count the work and the messages of one token.
 *
 * tlp_plan_predict (tlp_tune.h) turns such counts into seconds.
 *
 * @param[out] out  the caller sets struct_size
 * @param plan      plan
 * @param n_rank    1 to 1024
 * @return TLP_OK; TLP_EINVAL for n_rank out of range
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_get_cost(tlp_plan_cost *out, const tlp_plan *plan,
                                     int n_rank) TLP_NODISCARD;

/** Facts about a stage. */
typedef struct tlp_stage_info {
    size_t struct_size;    /**< set by the caller                             */
    int32_t mode;          /**< enum tlp_mode                                 */
    int32_t n_member;      /**< layers in the stage                           */
    const int32_t *layers; /**< n_member layer numbers, borrowed from the
                                plan                                          */
    int32_t nosync;        /**< exchanges that are left out, enum tlp_nosync  */
    int32_t n_track;       /**< tracks into which the layer is cut; 0 = none  */
} tlp_stage_info;

/**
 * Get facts about one stage.
 *
 * @param[out] out  the caller sets struct_size
 * @param plan      plan
 * @param index     0 to effective_depth - 1, in the order in which stages run
 * @return TLP_OK; TLP_EINVAL past the last stage
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_get_stage(tlp_stage_info *out, const tlp_plan *plan,
                                      size_t index) TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_devices Devices
 * GPUs that sessions can compute on.
 * @par Threads
 * Any thread may call these functions at any time.
 * @{
 */

/** What a rank computes on. */
enum tlp_backend {
    TLP_BACKEND_CPU = 0, /**< cores of the host                               */
    TLP_BACKEND_CUDA = 1 /**< NVIDIA GPUs, through the plug-in libtlp_cuda.so */
};

/** Facts about a device. */
typedef struct tlp_device_info {
    size_t struct_size;      /**< set by the caller                           */
    char name[128];          /**< "NVIDIA H100 80GB HBM3"                     */
    int32_t major;           /**< compute capability before the dot           */
    int32_t minor;           /**< compute capability after the dot            */
    int32_t n_sm;            /**< multiprocessors                             */
    uint64_t memory_total;   /**< bytes                                       */
    uint64_t memory_free;    /**< bytes at the time of the call               */
    uint64_t peers;          /**< bit i: this device reads and writes the
                                  memory of device i                          */
} tlp_device_info;

/**
 * Count the devices of a backend that this process can use.
 *
 * Devices count from 0, in the order of the driver.  CUDA_VISIBLE_DEVICES
 * chooses and reorders them.
 *
 * @param[out] n   1 to 64
 * @param backend  enum tlp_backend, not TLP_BACKEND_CPU
 * @return TLP_OK; TLP_ENOTSUP if there is no device: the text says whether the
 *         plug-in, a library, the driver or the GPU is missing or too old
 * @since 0.1
 */
TLP_API tlp_status tlp_device_count(int32_t *n, int32_t backend) TLP_NODISCARD;

/**
 * Get facts about one device.
 *
 * @param[out] out  the caller sets struct_size
 * @param backend   enum tlp_backend, not TLP_BACKEND_CPU
 * @param device    0 to the count of tlp_device_count, less 1
 * @return TLP_OK; TLP_EINVAL past the last device; the statuses of
 *         tlp_device_count
 * @since 0.1
 */
TLP_API tlp_status tlp_device_get_info(tlp_device_info *out, int32_t backend,
                                       int32_t device) TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_session Sessions
 * Evaluation of tokens on one or more ranks.
 *
 * A session has n_seq sequences, numbered from 0, of up to n_ctx positions.  A
 * call that fails leaves all sequences in the state before the call.  The
 * exceptions are TLP_ECOMM and TLP_ETIMEDOUT: after these the program can only
 * free the session.
 *
 * The KV cache is in pages of 256 positions, or of n_ctx positions rounded up to
 * 16 if that is less.  A sequence has pages for the positions that it holds.  A
 * fork shares the pages of its source; a shared page is copied when a sequence
 * writes to it.  A sequence that becomes shorter gives its pages back, and with
 * TLP_KV_AS_USED their memory too.  In layers with a sliding window, sequences
 * keep the pages of the latest window + n_batch positions alone.  The option
 * kv_bytes limits the memory of all pages.  A call that needs more pages than
 * are free returns TLP_EFULL, and has evaluated nothing.  With TLP_KV_AHEAD the
 * session has the memory of all pages from its creation on; with TLP_KV_AS_USED
 * a call that needs pages can fail with TLP_ENOMEM.
 * @par Threads
 * One thread at a time may use a session.  tlp_session_abort is the exception.
 * Different threads may use different sessions at a time.  A call beside another
 * call on the session, or in a child process that was forked after
 * tlp_session_create, gets TLP_ESTATE.  docs/threads.md says what callbacks may
 * call.
 * @{
 */

/** Evaluation state on one or more ranks. */
typedef struct tlp_session tlp_session;

/** Where ranks run, and how they exchange activations. */
enum tlp_comm {
    TLP_COMM_THREADS = 0, /**< all ranks in this process                      */
    TLP_COMM_MPI = 1      /**< one rank per MPI process, through the plug-in
                               libtlp_mpi.so                                  */
};

/** Format of activations between processes. */
enum tlp_wire {
    TLP_WIRE_F32 = 0,  /**< exact                                             */
    TLP_WIRE_BF16 = 1, /**< rounded to bf16                                   */
    TLP_WIRE_Q8 = 2    /**< 8 bits, in blocks of 32 with a scale              */
};

/** Precision of products. */
enum tlp_compute {
    TLP_COMPUTE_DEFAULT = 0, /**< 8-bit activations with quantized weights; bf16
                                  with BF16 weights if the CPU has bf16       */
    TLP_COMPUTE_F32 = 1      /**< f32 activations with all weights            */
};

/** Type of the KV cache. */
enum tlp_kv_type {
    TLP_KV_DEFAULT = 0, /**< F16; F32 with TLP_COMPUTE_F32                    */
    TLP_KV_F32 = 1,     /**< 32 bits                                          */
    TLP_KV_F16 = 2,     /**< 16 bits, IEEE half                               */
    TLP_KV_BF16 = 3,    /**< 16 bits, bfloat                                  */
    TLP_KV_Q8_0 = 4     /**< 8 bits, in blocks of 32 with a scale; CPU only   */
};

/** When the pages of the KV cache get their memory. */
enum tlp_kv_alloc {
    TLP_KV_ALLOC_DEFAULT = 0, /**< as used on CPUs, ahead on GPUs             */
    TLP_KV_AS_USED = 1,       /**< when a sequence needs them; CPUs only      */
    TLP_KV_AHEAD = 2          /**< all with the session                       */
};

/** Instruction set of the kernels for CPUs. */
enum tlp_isa {
    TLP_ISA_AUTO = 0,   /**< the widest that the machine has                  */
    TLP_ISA_SCALAR = 1, /**< plain C                                          */
    TLP_ISA_AVX2 = 2,   /**< AVX2 with FMA and F16C                           */
    TLP_ISA_AVX512 = 3, /**< AVX-512                                          */
    TLP_ISA_AMX = 4     /**< AVX-512 with AMX tiles; see docs/threads.md      */
};

/**
 * Number of threads that a session of one rank has by default.
 *
 * The CPUs in the affinity mask of the calling thread, or fewer where the
 * control groups of the thread (cgroups v1 and v2, and all groups above them)
 * have a quota of CPU time: quota / period, rounded up.  At least 1 and at most
 * 256.
 *
 * @return number of threads
 * @par Threads
 * Any thread; the result is that thread's.
 * @since 0.1
 */
TLP_API int32_t tlp_default_threads(void);

/**
 * A piece of the library's work: call it with the arg of tlp_pool::run and an
 * index.
 */
typedef void (*tlp_work_fn)(void *arg, int32_t i);

/**
 * Threads that a host program lends to sessions.
 *
 * run calls fn(arg, i) once for every i from 0 to n - 1, on any threads, in any
 * order, together or one after the other, and returns when all these calls have
 * returned.  n is at most the number of threads of the session.  fn does not
 * wait for other calls of fn, so a run that makes all calls on the calling
 * thread is right too.  A call that run leaves out costs time, and no result
 * changes.
 *
 * @par Threads
 * The library calls run on the thread that called the library and, if a session
 * has several ranks, on the threads of the other ranks too, at the same time.
 * fn must not be called after run has returned.  run must not call the session.
 */
typedef struct tlp_pool {
    size_t struct_size; /**< sizeof(tlp_pool)                                 */
    void (*run)(int32_t n, tlp_work_fn fn, void *arg,
                void *user);    /**< required                                 */
    void *user;                 /**< last argument of run                     */
} tlp_pool;

/** Initial value of a tlp_pool: no function. */
#define TLP_POOL_INIT { sizeof(tlp_pool), NULL, NULL }

/** A LoRA adapter: products of low rank for the matrices of a model. */
typedef struct tlp_adapter tlp_adapter;

/**
 * Open a LoRA adapter, a GGUF file in the form that llama.cpp reads.
 *
 * The tensors are lora_a and lora_b of attn_q, attn_k, attn_v, attn_output,
 * ffn_gate, ffn_up and ffn_down, of any type that models can have; rows of
 * attn_q and attn_k are in the order of the model's file.  A session with
 * `adapter` adds the products to its matrices in all layers that run, also to
 * the LoRA of its plan.  Any number of threads and sessions may use it.
 *
 * @param[out] out  the adapter; the caller frees it with tlp_adapter_free
 * @param model     model; the adapter keeps it alive
 * @param path      UTF-8
 * @return TLP_OK; TLP_EIO; TLP_EFORMAT for a file that is malformed or does not
 *         fit the model; TLP_ENOTSUP for keys and tensors that the library
 *         cannot use, LoRA of token_embd and output among them; TLP_EINVAL for
 *         a model that was opened with vocab_only
 * @since 0.1
 */
TLP_API tlp_status tlp_adapter_open(tlp_adapter **out, tlp_model *model,
                                    const char *path) TLP_NODISCARD;

/**
 * Release an adapter.  Sessions that use it stay valid.
 *
 * @param adapter  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_adapter_free(tlp_adapter *adapter);

/**
 * Options of a session.
 *
 * The largest values are n_ctx 2^20, n_seq 4096, n_batch 16384, n_rank 64 and
 * n_thread 256.  A larger value gives TLP_EINVAL.
 */
typedef struct tlp_session_options {
    size_t struct_size; /**< sizeof(tlp_session_options)                      */
    int32_t n_ctx;      /**< positions per sequence; 0 = n_ctx_train, but at
                             most 4096.  Longrope turns by it.                */
    int32_t n_seq;      /**< sequences; 0 = 1                                 */
    int32_t n_batch;    /**< most tokens in one step; 0 = 512                 */
    int32_t n_rank;     /**< ranks; 0 = n_device with devices, all processes
                             with TLP_COMM_MPI, else 1                        */
    int32_t n_thread;   /**< threads per rank; 0 = tlp_default_threads / ranks of
                             this host, at least 1, and 1 on a GPU            */
    int32_t backend;    /**< enum tlp_backend                                 */
    int32_t comm;       /**< enum tlp_comm                                    */
    int32_t compute;    /**< enum tlp_compute                                 */
    int32_t kv_type;    /**< enum tlp_kv_type                                 */
    int32_t isa;        /**< enum tlp_isa; TLP_ENOTSUP if the machine lacks
                             it                                               */
    int32_t pin;        /**< 1 = bind the threads of the library to cores; the
                             thread of the caller is never bound              */
    int32_t timeout_ms; /**< longest wait for another rank, milliseconds;
                             0 = 5000                                         */
    tlp_progress_fn progress; /**< progress of loading; or NULL               */
    void *progress_data;      /**< last argument of progress                  */
    int32_t wire;       /**< enum tlp_wire; only TLP_WIRE_F32 without
                             TLP_COMM_MPI                                     */
    const void *comm_handle; /**< with TLP_COMM_MPI: pointer to the MPI_Comm
                             that the library duplicates (tlp_mpi.h);
                             NULL = MPI_COMM_WORLD                            */
    const int32_t *devices; /**< n_device device numbers.  Rank r of this host
                             computes on devices[r % n_device]; with
                             TLP_COMM_THREADS, rank r of this process.  A
                             number may appear twice                          */
    size_t n_device;    /**< 0 = all devices in order; at most 64             */
    int32_t link_delay_us; /**< with TLP_COMM_THREADS on CPUs: time from the
                             sending of a message between ranks to its arrival,
                             microseconds, as over a network; at most 1000000 */
    size_t n_row;       /**< rows of logits that the session always has room
                             for; 0 = n_seq; at most 2^20                     */
    const tlp_pool *pool; /**< threads of the host program that compute in place
                             of threads of the library; NULL = none.  The
                             library copies the struct.  CPUs only, and not
                             with pin                                         */
    int32_t n_thread_prefill; /**< threads per rank in steps with several tokens
                             of a sequence; 0 = n_thread; at most 256         */
    int32_t spin_us;    /**< how long a thread spins before it sleeps while it
                             waits for another thread, microseconds: 0 = up to
                             100, less while other programs or threads need the
                             cores; -1 = not at all; else always this long, at
                             most 1000000                                     */
    const tlp_adapter *adapter; /**< LoRA that is added to the matrices, opened
                             for the model of the plan; NULL = none.  The
                             session keeps it alive; not for plans in mode
                             lp-code or merge, and not where plans are made,
                             fitted or trained                                */
    double adapter_scale; /**< what its products are multiplied with; 0 = 1   */
    uint64_t kv_bytes;  /**< most memory of the caches of all ranks, bytes;
                             0 = what n_seq sequences of n_ctx positions need */
    int32_t kv_alloc;   /**< enum tlp_kv_alloc                                */
} tlp_session_options;

/** Initial value of a tlp_session_options: all defaults. */
#define TLP_SESSION_OPTIONS_INIT                                               \
    { sizeof(tlp_session_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL,   \
      NULL, 0, NULL, NULL, 0, 0, 0, NULL, 0, 0, NULL, 0, 0, 0 }

/**
 * Create a session.
 *
 * The library distributes the weights among the ranks and allocates the memory
 * that later calls need, with room for n_row rows of logits.  Three kinds of
 * calls allocate more.  An evaluation that keeps more rows makes room for them;
 * the next evaluation that keeps fewer rows gives the room back, unless it is
 * for 32 rows or less.  An evaluation that needs pages of the cache makes them,
 * unless the option kv_alloc says that they are made with the session.
 * tlp_session_generate makes a stream, and a sampler if it gets none.
 * tlp_session_need tells the size of a session beforehand.
 *
 * After a fork, only the parent may use a session of the parent: in the child
 * every call on it returns TLP_ESTATE at once.  Models and plans work in the
 * child too, and the child may create sessions of its own.
 *
 * @param[out] out  the session; the caller frees it with tlp_session_free
 * @param plan      plan; the session keeps it alive
 * @param opts      NULL = defaults
 * @return TLP_OK; TLP_ENOMEM, with a text that says what does not fit on which
 *         GPU; TLP_EINVAL for an option out of range; TLP_ENOTSUP for a
 *         backend, comm or instruction set that is missing here; TLP_ECANCELED
 *         by progress; with TLP_COMM_MPI also TLP_ESTATE if this is not rank 0,
 *         TLP_EMISMATCH, TLP_ECOMM and TLP_ETIMEDOUT
 * @since 0.1
 */
TLP_API tlp_status tlp_session_create(tlp_session **out, tlp_plan *plan,
                                      const tlp_session_options *opts)
    TLP_NODISCARD;

/** Memory that a session will need. */
typedef struct tlp_need {
    size_t struct_size;    /**< set by the caller                             */
    uint64_t weight_bytes; /**< weights in the layout of the session, bytes.
                                Sessions of one model share weights that they
                                cut alike                                     */
    uint64_t kv_bytes;     /**< caches when all pages are used, bytes         */
    uint64_t buffer_bytes; /**< activations and logits, bytes                 */
    int32_t n_rank;        /**< ranks of the session                          */
} tlp_need;

/**
 * Compute the memory that a session would need, without creating it.
 *
 * The sizes are those that tlp_session_get_stats has for a new session with
 * equal options; kv_bytes is kv_most_bytes there.  On top come tables of
 * sequences and of threads, 4 bytes for each position of each sequence and a few
 * hundred kilobytes for each thread, and what rounding takes: a rank on CPUs
 * keeps packed weights in blocks of 8 MB, of which the last one is seldom full.
 *
 * @param[out] out  the caller sets struct_size
 * @param plan      plan
 * @param opts      NULL = defaults; with TLP_COMM_MPI, n_rank must be set,
 *                  because the call does not connect the processes
 * @param rank      0 to n_rank - 1, or -1 for the sum over all ranks
 * @return TLP_OK; TLP_EINVAL for an option out of range; TLP_ENOTSUP for a
 *         backend that is missing here
 * @since 0.1
 */
TLP_API tlp_status tlp_session_need(tlp_need *out, tlp_plan *plan,
                                    const tlp_session_options *opts,
                                    int32_t rank) TLP_NODISCARD;

/**
 * Release a session.
 *
 * A call that is running on the session is stopped, as by tlp_session_abort, and
 * the session is released when that call ends.  In a forked child the function
 * does nothing.
 *
 * @param session  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_session_free(tlp_session *session);

/**
 * Extend sequence 0 by tokens, and keep the logits of the last token as row 0.
 *
 * @param session  session
 * @param tokens   n ids, each from 0 to n_vocab - 1
 * @param n        number of tokens, at least 1
 * @return TLP_OK; TLP_EFULL if the tokens do not fit;
 *         TLP_EINVAL for an id out of range; TLP_ECANCELED by
 *         tlp_session_abort; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_prefill(tlp_session *session,
                                       const int32_t *tokens,
                                       size_t n) TLP_NODISCARD;

/**
 * Extend sequence 0 by one token, and keep its logits as row 0.
 *
 * @param session  session
 * @param token    0 to n_vocab - 1
 * @return the statuses of tlp_session_prefill
 * @since 0.1
 */
TLP_API tlp_status tlp_session_decode(tlp_session *session,
                                      int32_t token) TLP_NODISCARD;

/** Tokens of any sequences.  Tokens extend their sequences in array order. */
typedef struct tlp_batch {
    size_t struct_size;         /**< sizeof(tlp_batch)                        */
    size_t n;                   /**< tokens, at least 1                       */
    const int32_t *tokens;      /**< n ids, each from 0 to n_vocab - 1        */
    const int32_t *seqs;        /**< n sequence numbers; NULL = all 0         */
    const uint8_t *want_logits; /**< n flags: 1 = keep the logits of the token,
                                     0 = do not.  Rows count from 0 in array
                                     order.  NULL = keep the last token of each
                                     sequence                                 */
} tlp_batch;

/** Initial value of a tlp_batch: empty. */
#define TLP_BATCH_INIT { sizeof(tlp_batch), 0, NULL, NULL, NULL }

/**
 * Evaluate a batch.
 *
 * A batch may have any size; the library cuts it into steps of n_batch tokens.
 *
 * @param session  session
 * @param batch    tokens and sequences
 * @return the statuses of tlp_session_prefill
 * @since 0.1
 */
TLP_API tlp_status tlp_session_eval(tlp_session *session,
                                    const tlp_batch *batch) TLP_NODISCARD;

/**
 * Count the rows of logits that the last evaluation kept.
 *
 * @param session  session
 * @return rows; 0 before the first evaluation
 * @since 0.1
 */
TLP_API size_t tlp_session_n_logits(const tlp_session *session);

/**
 * Get one row of logits.
 *
 * The first call after an evaluation collects the parts of all ranks.  A row
 * can be read until the next evaluation, also if its sequence was rewound
 * meanwhile.
 *
 * @param[out] logits  n_vocab values, borrowed until the next call that
 *                     evaluates
 * @param session      session
 * @param row          0 to tlp_session_n_logits - 1
 * @return TLP_OK; TLP_ESTATE before the first evaluation; TLP_EINVAL past the
 *         last row; TLP_ERROR for a row that has NaN or +inf, or only -inf: the
 *         text names row, sequence, position and token; TLP_ECOMM or
 *         TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_logits(const float **logits,
                                      tlp_session *session,
                                      size_t row) TLP_NODISCARD;

/**
 * Tell which token a row of logits follows.
 *
 * @param[out] seq  sequence of the token
 * @param[out] pos  position of the token in its sequence
 * @param session   session
 * @param row       0 to tlp_session_n_logits - 1
 * @return TLP_OK; TLP_ESTATE without rows; TLP_EINVAL past the last row
 * @since 0.1
 */
TLP_API tlp_status tlp_session_get_place(int32_t *seq, int32_t *pos,
                                         const tlp_session *session,
                                         size_t row) TLP_NODISCARD;

/**
 * Find the row of logits that follows the last token of a sequence.
 *
 * Rows belong to the last evaluation; an evaluation that fails after it has
 * begun keeps none.  A sequence that is rewound to a token whose logits were
 * kept has the row of that token.  After tlp_session_fork the copy has the rows
 * of its source.
 *
 * @param[out] row  row for tlp_session_sample; SIZE_MAX on failure
 * @param session   session
 * @param seq       0 to n_seq - 1
 * @return TLP_OK; TLP_ESTATE if no such row is kept: the sequence is empty, the
 *         last evaluation did not keep that row or was one of other sequences,
 *         or the sequence was rewound to a token whose logits were not kept
 * @since 0.1
 */
TLP_API tlp_status tlp_session_find_row(size_t *row, const tlp_session *session,
                                        int32_t seq) TLP_NODISCARD;

/**
 * Compute the log-probabilities of a text.
 *
 * The call extends a sequence by n tokens.  logprob[i] is the natural logarithm
 * of the probability of tokens[i] after all tokens before it.  The first token
 * of an empty sequence has no probability and gets 0.  For a sequence that is
 * not empty, the call evaluates its last token once more.  Ranks exchange no
 * full rows of logits, and the call keeps no rows.  A row that has NaN or +inf,
 * or only -inf, gives TLP_ERROR.
 *
 * @param[out] logprob  n values, nats
 * @param session       session
 * @param seq           0 to n_seq - 1
 * @param tokens        n ids, each from 0 to n_vocab - 1
 * @param n             number of tokens, at least 1
 * @return the statuses of tlp_session_prefill
 * @since 0.1
 */
TLP_API tlp_status tlp_session_score(float *logprob, tlp_session *session,
                                     int32_t seq, const int32_t *tokens,
                                     size_t n) TLP_NODISCARD;

/** How the states of a text's tokens become one vector. */
enum tlp_pooling {
    TLP_POOLING_DEFAULT = 0, /**< as the model's file says (the key
                                  pooling_type, for mean or last), else last   */
    TLP_POOLING_LAST = 1,    /**< the state of the last token                 */
    TLP_POOLING_MEAN = 2     /**< the mean of the states of all tokens        */
};

/** Options of an embedding. */
typedef struct tlp_embed_options {
    size_t struct_size;   /**< sizeof(tlp_embed_options)                      */
    int32_t pooling;      /**< enum tlp_pooling                               */
    int32_t no_normalize; /**< 1 = keep the length of the vector; else the sum
                               of its squares is 1                            */
} tlp_embed_options;

/** Initial value of a tlp_embed_options: all defaults. */
#define TLP_EMBED_OPTIONS_INIT { sizeof(tlp_embed_options), 0, 0 }

/**
 * Compute the embedding of a text.
 *
 * The call extends a sequence by n tokens, and pools their states: the state of
 * a token is the residual stream behind the output norm, from which the output
 * head makes logits.  It computes no logits, and keeps no rows.  The vector of a
 * whole text is that of a sequence that was empty before (tlp_session_clear);
 * where the sequence holds tokens already, they are context, and only the states
 * of the n tokens are pooled.  The vector does not depend on n_batch.  A vector
 * of zeros is not normalised and stays.
 *
 * @param[out] out      n_embd values
 * @param session       session
 * @param seq           0 to n_seq - 1
 * @param tokens        n ids, each from 0 to n_vocab - 1
 * @param n             number of tokens, at least 1
 * @param opts          NULL = defaults
 * @return the statuses of tlp_session_prefill; TLP_ERROR for a state that has
 *         NaN or inf: the text names its position, and the sequence holds the
 *         tokens
 * @since 0.1
 */
TLP_API tlp_status tlp_session_embed(float *out, tlp_session *session,
                                     int32_t seq, const int32_t *tokens,
                                     size_t n, const tlp_embed_options *opts)
    TLP_NODISCARD;

/** A token and its probability. */
typedef struct tlp_logprob {
    int32_t token; /**< 0 to n_vocab - 1; -1 past the last possible token     */
    float logprob; /**< natural logarithm of its probability                  */
} tlp_logprob;

/**
 * Get the most probable tokens of a row, and the probability of one token.
 *
 * The probabilities are the model's: before any option of a sampler.  Ranks
 * exchange candidates and sums, not rows of logits.  A token of a text is the
 * model's first choice if it is top[0].token.
 *
 * @param[out] top      n_top tokens, the most probable first; of equal ones the
 *                      lower token first; NULL with n_top 0
 * @param n_top         0 to 256
 * @param[out] logprob  logarithm of the probability of `token`; NULL = not
 *                      wanted
 * @param session       session
 * @param row           0 to tlp_session_n_logits - 1
 * @param token         0 to n_vocab - 1; ignored if logprob is NULL
 * @return the statuses of tlp_session_logits
 * @since 0.1
 */
TLP_API tlp_status tlp_session_logprobs(tlp_logprob *top, size_t n_top,
                                        float *logprob, tlp_session *session,
                                        size_t row,
                                        int32_t token) TLP_NODISCARD;

/**
 * Count the positions that a sequence holds.
 *
 * @param session  session
 * @param seq      sequence
 * @return positions; -1 if the session has no such sequence
 * @since 0.1
 */
TLP_API int32_t tlp_session_pos(const tlp_session *session, int32_t seq);

/**
 * Get the tokens that a sequence holds.
 *
 * @param[out] ids    room for cap tokens; may be NULL if cap is 0
 * @param cap         ids that fit
 * @param[out] count  tokens of the sequence, tlp_session_pos of them
 * @param session     session
 * @param seq         0 to n_seq - 1
 * @return TLP_OK; TLP_EBUFS if cap is too small
 * @since 0.1
 */
TLP_API tlp_status tlp_session_get_tokens(int32_t *ids, size_t cap,
                                          size_t *count,
                                          const tlp_session *session,
                                          int32_t seq) TLP_NODISCARD;

/**
 * Forget all positions of a sequence from `pos` on, and free their pages.
 *
 * In a model with sliding windows a sequence that goes back by more than n_batch
 * positions may lack the window of its next token.  The next call that extends
 * the sequence then first evaluates its tokens again, from the first token on,
 * and goes on with equal results.
 *
 * @param session  session
 * @param seq      0 to n_seq - 1
 * @param pos      positions to keep, 0 to tlp_session_pos
 * @return TLP_OK; TLP_EINVAL for a position that the sequence does not hold;
 *         TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_rewind(tlp_session *session, int32_t seq,
                                      int32_t pos) TLP_NODISCARD;

/**
 * Copy one sequence to another.  The former content of `dst` is lost.
 *
 * The copy shares the pages of the cache: the call copies token ids alone.  The
 * sequence that first writes to a shared last page copies that page then.
 *
 * @param session  session
 * @param dst      sequence that becomes the copy, 0 to n_seq - 1
 * @param src      sequence to copy, 0 to n_seq - 1
 * @return TLP_OK; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_fork(tlp_session *session, int32_t dst,
                                    int32_t src) TLP_NODISCARD;

/**
 * Save a sequence as bytes: its tokens, and the keys and values of its positions
 * on all ranks.
 *
 * The bytes have a checksum, and name the model, the plan and the types that a
 * session must have.  tlp_session_load puts them into any such session, in any
 * process, which continues with equal results.
 * A caller asks for the length with cap 0 first.
 *
 * A sequence that went back behind its windows (tlp_session_rewind) is evaluated
 * again first.
 *
 * @param[out] buf  room for cap bytes; NULL with cap 0
 * @param cap       bytes in buf
 * @param[out] len  length of the saved sequence in bytes, also with TLP_EBUFS
 * @param session   session on CPUs
 * @param seq       sequence to save, 0 to n_seq - 1; it may be empty
 * @return TLP_OK; TLP_EBUFS; TLP_ENOTSUP for a session on GPUs; TLP_EFULL or
 *         TLP_ENOMEM if there is no memory for pages or copies; TLP_ECANCELED
 *         after tlp_session_abort, where tokens were evaluated again; TLP_ECOMM
 *         or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_save(void *buf, size_t cap, size_t *len,
                                    tlp_session *session,
                                    int32_t seq) TLP_NODISCARD;

/**
 * Put a saved sequence in the place of a sequence of this session.
 *
 * The session must have the model, plan, adjustments, adapter and its scale,
 * number of ranks, kv_type, compute and wire of the session that saved the
 * sequence, caches with equal windows, and tensors of rope scaling that n_ctx
 * chooses alike.  Its n_ctx, n_seq, n_batch, threads and kind of communication may
 * be others.  The last bits of what follows are equal on machines with equal
 * kernels.
 *
 * The former content of `seq` is lost, and no row of logits belongs to the
 * sequence until a token is evaluated.  After a failure other than TLP_ECOMM and
 * TLP_ETIMEDOUT the sequence and the session are as before.  The call needs free
 * pages besides those of `seq`: where the cache is small, tlp_session_clear
 * frees these first.
 *
 * @param session  session on CPUs
 * @param seq      sequence to replace, 0 to n_seq - 1
 * @param buf      n bytes of tlp_session_save; borrowed for the call
 * @param n        bytes in buf
 * @return TLP_OK; TLP_EFORMAT for bytes that are damaged or no saved sequence;
 *         TLP_EMISMATCH for a sequence that does not fit the session (the text
 *         says in what); TLP_EFULL for more positions than n_ctx or too few free
 *         pages; TLP_ENOMEM if a rank has no memory; TLP_ENOTSUP for a session
 *         on GPUs; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_load(tlp_session *session, int32_t seq,
                                    const void *buf, size_t n) TLP_NODISCARD;

/**
 * Save a sequence to a file, by the rules of tlp_session_save.
 *
 * The file gets its name when it is complete, so that a failure leaves an older
 * file as it was.
 *
 * @param session  session on CPUs
 * @param seq      sequence to save, 0 to n_seq - 1
 * @param path     file to write; not a file of the model
 * @return the statuses of tlp_session_save but TLP_EBUFS; TLP_EIO with the
 *         system's reason
 * @since 0.1
 */
TLP_API tlp_status tlp_session_save_file(tlp_session *session, int32_t seq,
                                         const char *path) TLP_NODISCARD;

/**
 * Load a sequence from a file, by the rules of tlp_session_load.
 *
 * @param session  session on CPUs
 * @param seq      sequence to replace, 0 to n_seq - 1
 * @param path     file of tlp_session_save_file
 * @return the statuses of tlp_session_load; TLP_EIO with the system's reason
 * @since 0.1
 */
TLP_API tlp_status tlp_session_load_file(tlp_session *session, int32_t seq,
                                         const char *path) TLP_NODISCARD;

/**
 * Forget a sequence: tlp_session_rewind to position 0.
 *
 * @param session  session
 * @param seq      0 to n_seq - 1
 * @return TLP_OK; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_clear(tlp_session *session,
                                     int32_t seq) TLP_NODISCARD;

/**
 * Stop the call that is running on a session.
 *
 * The call returns TLP_ECANCELED.  On several ranks the next all-reduce that
 * begins carries the request, so the running stage and the stage after it may
 * still be computed.  If no call is running, the next call stops.  A decoding
 * step on a GPU runs to its end; the call after that step stops.
 *
 * @par Threads
 * Any thread and any signal handler may call this function before
 * tlp_session_free.
 *
 * @param session  session
 * @since 0.1
 */
TLP_API void tlp_session_abort(tlp_session *session);

/**
 * Change the numbers of threads of a session, from the next step on.
 *
 * A step with at most one token of each sequence uses n_decode threads per
 * rank, every other step n_prefill.  Results do not depend on the numbers.  The
 * call applies to all ranks of this process; ranks in other processes keep
 * their threads.  Numbers above those that the session had before need memory
 * and, without a pool of the host, new threads, which inherit the affinity mask
 * of the thread of their rank: for rank 0 the calling thread.
 *
 * @param session    session
 * @param n_decode   1 to 256; 0 = as before
 * @param n_prefill  1 to 256; 0 = as before
 * @return TLP_OK; TLP_EINVAL for a number out of range; TLP_ENOMEM, after which
 *         the session has the numbers that it had before; TLP_ENOTSUP for ranks
 *         on devices; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_set_threads(tlp_session *session,
                                           int32_t n_decode,
                                           int32_t n_prefill) TLP_NODISCARD;

/** Counters and sizes of a session. */
typedef struct tlp_session_stats {
    size_t struct_size;    /**< set by the caller                             */
    uint64_t n_prefill;    /**< tokens evaluated several per sequence         */
    uint64_t n_decode;     /**< tokens evaluated one per sequence             */
    uint64_t n_step;       /**< evaluations of the network                    */
    uint64_t allreduces;   /**< all-reduces of rank 0, inner ones included    */
    uint64_t comm_bytes;   /**< payload of rank 0, bytes                      */
    double seconds;        /**< wall-clock time in evaluation                 */
    double comm_seconds;   /**< part of `seconds` that rank 0 spent in
                                communication and in waiting                  */
    uint64_t kv_bytes;     /**< memory that the caches of all ranks have now,
                                bytes                                         */
    uint64_t weight_bytes; /**< weights in the layout of the session, bytes   */
    uint64_t buffer_bytes; /**< activations and logits of all ranks, bytes    */
    int32_t n_rank;        /**< ranks                                         */
    int32_t n_thread;      /**< threads per rank in decode steps              */
    char isa[16];          /**< "amx", "avx512", "avx2", "scalar" or "cuda"   */
    int32_t n_thread_prefill; /**< threads per rank in all other steps        */
    char link[32];         /**< what carries activations between the ranks:
                                "none" (one rank), "threads", "processes of one
                                machine", "processes of several machines",
                                "peer memory", "nccl" or both of these        */
    uint64_t kv_most_bytes; /**< what kv_bytes can grow to                    */
} tlp_session_stats;

/**
 * Get the counters since the creation or the last tlp_session_reset_stats.
 *
 * @param[out] out  the caller sets struct_size
 * @param session   session
 * @return TLP_OK
 * @since 0.1
 */
TLP_API tlp_status tlp_session_get_stats(tlp_session_stats *out,
                                         const tlp_session *session)
    TLP_NODISCARD;

/**
 * Set the counters to zero.  The sizes keep their values.  Beside another call
 * on the session the function does nothing.
 *
 * @param session  session
 * @since 0.1
 */
TLP_API void tlp_session_reset_stats(tlp_session *session);

/** @} */

/**
 * @defgroup tlp_processes Processes
 * Ranks in several processes.
 *
 * With TLP_COMM_MPI every process first calls tlp_comm_rank.  Rank 0 then uses
 * a session as a program with a single process does.  Every other rank is a
 * worker:
 *
 *     tlp_comm_rank(&rank, &n_rank, &opts);
 *     if (rank == 0)
 *         tlp_session_create(&session, plan, &opts); ...
 *     else
 *         while (tlp_worker_run(model, NULL, &opts) == TLP_OK)
 *             ;
 *
 * Every process opens its own copy of the model file and reads its own part of
 * the weights; weights do not travel.  If the program did not start MPI, the
 * library starts it, and ends it when the process exits.  The library never
 * aborts MPI, and it communicates over a duplicate of the communicator.  A
 * program that starts MPI itself asks for MPI_THREAD_SERIALIZED or more, unless
 * it calls the library from its main thread only.
 * @par Threads
 * The level of thread support that MPI was started with decides which threads
 * may call these functions.
 * @{
 */

/**
 * Get the rank of this process and the number of ranks.
 *
 * With TLP_COMM_MPI the first call connects the processes; each waits at most
 * timeout_ms for its peers.  Later calls return at once.  With
 * TLP_COMM_THREADS the rank is 0.
 *
 * @param[out] rank    0 to n_rank - 1
 * @param[out] n_rank  ranks
 * @param opts         options of the later session; NULL = defaults
 * @return TLP_OK; TLP_ENOTSUP if the plug-in is missing, or if MPI cannot be
 *         used on this thread; TLP_ETIMEDOUT if a process did not connect
 * @since 0.1
 */
TLP_API tlp_status tlp_comm_rank(int32_t *rank, int32_t *n_rank,
                                 const tlp_session_options *opts)
    TLP_NODISCARD;

/**
 * Work as a rank other than 0 for one session, or one training.
 *
 * The call waits, without a deadline, until rank 0 creates a session; it then
 * checks that both sides agree, loads the weights of this rank, and works until
 * rank 0 frees the session.  If rank 0 calls tlp_plan_train, it takes the text
 * and the options of the training from rank 0, and works until that call ends.
 *
 * A worker takes the plan from rank 0 if `plan` is NULL, and every option that
 * is 0.  Values that the worker sets must agree with rank 0; so must versions,
 * byte order, and the hyper-parameters and every byte of the tensors of the
 * model (tlp_model_get_digest; by the fingerprint, if a rank has trust_sample).
 * If they do not, no rank gets a session, and every rank gets TLP_EMISMATCH with
 * a text that names the field, or the first tensor that differs, and both
 * values.  The options devices, n_thread, isa, pin, progress and timeout_ms
 * apply to this rank alone.
 *
 * @param model  copy of the model in this process
 * @param plan   plan of that model, or NULL
 * @param opts   options, with comm = TLP_COMM_MPI
 * @return TLP_OK when a session or a training has ended; TLP_ECLOSED when rank
 *         0 has left, so that neither will come again: the usual end of a
 *         worker; TLP_ECANCELED by progress; TLP_ESTATE if this is rank 0;
 *         TLP_EMISMATCH; TLP_ECOMM or TLP_ETIMEDOUT if another rank failed.
 *         After each of these but TLP_ECLOSED the worker may call again
 * @since 0.1
 */
TLP_API tlp_status tlp_worker_run(tlp_model *model, tlp_plan *plan,
                                  const tlp_session_options *opts)
    TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_sampling Sampling
 * Choice of the next token, and generation of text.
 * @par Threads
 * One thread at a time may use a sampler or a session.
 * @{
 */

/** Sampling options, accepted tokens and state of the random numbers. */
typedef struct tlp_sampler tlp_sampler;

/** Change of one logit. */
typedef struct tlp_logit_bias {
    int32_t token; /**< 0 to n_vocab - 1                                      */
    float bias;    /**< added to the logit.  -INFINITY forbids the token;
                        INFINITY makes it certain: of several such tokens each
                        is equally probable, and greedy decoding takes the
                        lowest                                                */
} tlp_logit_bias;

/**
 * Change a row of logits before a sampler chooses from it.
 *
 * The function must return: an exception or longjmp must not leave it.  It may
 * not use the sampler or the session.
 *
 * @param logits     n_vocab values, to be changed in place.  -INFINITY forbids
 *                   a token, INFINITY makes it certain; NaN is an error
 * @param n_vocab    number of logits
 * @param user_data  pointer from the options
 * @return 0 to go on; any other value cancels the call, which then returns
 *         TLP_ECANCELED
 */
typedef int (*tlp_logits_fn)(float *logits, int32_t n_vocab, void *user_data);

/**
 * Options of a sampler.  Zero in every field means greedy decoding.
 *
 * A sampler applies, in this order: the logits function, bias, mask and
 * grammar, penalties, top-k, temperature, top-p, min-p; then it draws a token.
 * Of equal logits the lower token comes first.
 */
typedef struct tlp_sampler_options {
    size_t struct_size;      /**< sizeof(tlp_sampler_options)                 */
    float temperature;       /**< divides the logits; 0 = greedy              */
    int32_t top_k;           /**< best tokens to keep; 0 = all                */
    float top_p;             /**< probability mass to keep, 0 to 1; 0 = all   */
    float min_p;             /**< least probability, as a share of the highest
                                  one; 0 = off                                */
    float repeat_penalty;    /**< divides positive logits of tokens in the
                                  window, multiplies negative ones; 0.001 to
                                  1000; 0 = off                               */
    float frequency_penalty; /**< subtracted per occurrence in the window     */
    float presence_penalty;  /**< subtracted once for a token in the window   */
    int32_t penalty_last_n;  /**< tokens in the window; 0 = 64                */
    uint64_t seed;           /**< equal seeds and logits give equal tokens    */
    const tlp_logit_bias *bias; /**< n_bias changes, copied; or NULL          */
    size_t n_bias;           /**< number of changes                           */
    tlp_grammar *grammar;    /**< what chosen tokens must match, of the
                                  sampler's model; the sampler keeps it alive;
                                  or NULL                                     */
    tlp_logits_fn logits;    /**< changes logits; or NULL                     */
    void *logits_data;       /**< last argument of logits                     */
} tlp_sampler_options;

/** Initial value of a tlp_sampler_options: all defaults. */
#define TLP_SAMPLER_OPTIONS_INIT                                               \
    { sizeof(tlp_sampler_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, NULL,   \
      NULL, NULL }

/**
 * Create a sampler.
 *
 * @param[out] out  the sampler; the caller frees it with tlp_sampler_free
 * @param model     model with the vocabulary
 * @param opts      NULL = greedy decoding
 * @return TLP_OK; TLP_EINVAL for an option out of range; TLP_EMISMATCH for a
 *         grammar of another model
 * @since 0.1
 */
TLP_API tlp_status tlp_sampler_create(tlp_sampler **out, tlp_model *model,
                                      const tlp_sampler_options *opts)
    TLP_NODISCARD;

/**
 * Release a sampler.
 *
 * @param sampler  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_sampler_free(tlp_sampler *sampler);

/**
 * Add a token to the window of the penalties.
 *
 * tlp_session_sample and tlp_sampler_pick add the tokens that they choose.  A
 * program that calls them adds the tokens of the prompt; tlp_session_generate
 * does so itself (keep_window).  The token is no part of the text that the
 * grammar follows (tlp_sampler_matcher).
 *
 * @param sampler  sampler
 * @param token    0 to n_vocab - 1; other values are ignored
 * @since 0.1
 */
TLP_API void tlp_sampler_accept(tlp_sampler *sampler, int32_t token);

/**
 * Empty the window of the penalties, restart the random numbers, and go back to
 * the start of the grammar.
 *
 * @param sampler  sampler
 * @since 0.1
 */
TLP_API void tlp_sampler_reset(tlp_sampler *sampler);

/**
 * Allow some tokens alone, until the next call: bit i % 32 of word i / 32 is
 * token i.  The mask applies beside the grammar.
 *
 * @param sampler  sampler
 * @param bits     n_word words, copied; NULL = all tokens are allowed
 * @param n_word   (n_vocab + 31) / 32; 0 with NULL
 * @return TLP_OK; TLP_EINVAL for another number of words
 * @since 0.1
 */
TLP_API tlp_status tlp_sampler_set_mask(tlp_sampler *sampler,
                                        const uint32_t *bits,
                                        size_t n_word) TLP_NODISCARD;

/**
 * Get the matcher of a sampler's grammar.
 *
 * tlp_session_sample and tlp_sampler_pick add the tokens that they choose to
 * its text.  A program that chooses a token itself adds it with
 * tlp_matcher_accept.
 *
 * @param sampler  sampler
 * @return matcher, borrowed from the sampler; NULL without a grammar
 * @since 0.1
 */
TLP_API tlp_matcher *tlp_sampler_matcher(tlp_sampler *sampler);

/**
 * Choose a token from logits of the program.
 *
 * @param[out] token  the chosen token; -1 on failure
 * @param sampler     sampler
 * @param logits      n_vocab values, finite or -INFINITY
 * @return TLP_OK; TLP_EINVAL for NaN or +inf; the statuses of
 *         tlp_session_sample
 * @since 0.1
 */
TLP_API tlp_status tlp_sampler_pick(int32_t *token, tlp_sampler *sampler,
                                    const float *logits) TLP_NODISCARD;

/**
 * Choose the next token from a row of logits.
 *
 * For greedy and top-k sampling the ranks exchange candidates, not rows of
 * logits.  With a mask or a grammar they do so where enough candidates are
 * allowed; the choice is that of the whole row.
 *
 * @param[out] token  the chosen token
 * @param session     session
 * @param row         0 to tlp_session_n_logits - 1
 * @param sampler     sampler
 * @return TLP_OK; TLP_ESTATE before the first evaluation, and for a row whose
 *         position no sequence holds any more; TLP_EINVAL past the last row;
 *         TLP_ERROR for a row that has NaN or +inf, or only -inf, and if
 *         biases, mask and grammar forbid every token; TLP_ESTATE also after
 *         the end of the grammar's text; TLP_ENOTSUP for a grammar that needs
 *         more than its bounds; TLP_ECANCELED by the logits function; TLP_ECOMM
 *         or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_sample(int32_t *token, tlp_session *session,
                                      size_t row,
                                      tlp_sampler *sampler) TLP_NODISCARD;

/** Why a generation ended. */
enum tlp_stop_reason {
    TLP_STOP_LENGTH = 1,  /**< n_predict tokens were generated                */
    TLP_STOP_END = 2,     /**< the model ended its turn, or the grammar is
                               complete and no token ends a text              */
    TLP_STOP_STRING = 3,  /**< a stop string was complete                     */
    TLP_STOP_CONTEXT = 4, /**< the sequence holds n_ctx positions             */
    TLP_STOP_CALLBACK = 5, /**< the text function asked for the end           */
    TLP_STOP_TOKEN = 6,   /**< a stop token of the request was chosen         */
    TLP_STOP_CANCEL = 7,  /**< tlp_engine_cancel or tlp_engine_stop           */
    TLP_STOP_DEADLINE = 8, /**< the request's deadline passed                 */
    TLP_STOP_ERROR = 9    /**< the choice failed                              */
};

/**
 * Receive generated text.
 *
 * The function may read the session (tlp_session_logits, tlp_session_pos,
 * tlp_session_get_stats) and use any other session.  It must return: an
 * exception or longjmp must not leave it.
 *
 * @param text       whole UTF-8 with a NUL, never empty, borrowed for this call
 * @param len        bytes in text without the NUL
 * @param user_data  pointer from the options
 * @return 0 to go on; any other value ends the generation without an error
 */
typedef int (*tlp_text_fn)(const char *text, size_t len, void *user_data);

/** Options of tlp_session_generate. */
typedef struct tlp_generate_options {
    size_t struct_size;       /**< sizeof(tlp_generate_options)               */
    int32_t n_predict;        /**< most tokens to generate; 0 = until the
                                   sequence is full                           */
    int32_t ignore_end;       /**< 1 = go on after an end token; not with a
                                   grammar                                    */
    const char *const *stop;  /**< n_stop stop strings; or NULL               */
    size_t n_stop;            /**< number of stop strings                     */
    uint32_t flags;           /**< enum tlp_detokenize_flags                  */
    int32_t seq;              /**< sequence to extend, 0 to n_seq - 1         */
    tlp_text_fn text;         /**< receives text as it becomes certain; or
                                   NULL                                       */
    void *text_data;          /**< last argument of text                      */
    int32_t keep_window;      /**< window of the penalties at the start: 0 = the
                                   last tokens of the sequence, so that
                                   penalties count the prompt; 1 = the tokens
                                   that the sampler has accepted              */
} tlp_generate_options;

/** Initial value of a tlp_generate_options: all defaults. */
#define TLP_GENERATE_OPTIONS_INIT                                              \
    { sizeof(tlp_generate_options), 0, 0, NULL, 0, 0, 0, NULL, NULL, 0 }

/** Result of tlp_session_generate. */
typedef struct tlp_generate_result {
    size_t struct_size;       /**< set by the caller                          */
    int32_t n_generated;      /**< chosen tokens, an end token included       */
    int32_t stop_reason;      /**< enum tlp_stop_reason                       */
    int32_t last_token;       /**< token that was chosen last.  It is not
                                   evaluated: a program that goes on with the
                                   sequence evaluates it first.  -1 = none    */
} tlp_generate_result;

/**
 * Generate text: choose a token, hand out its text, evaluate it, and repeat.
 *
 * The call extends sequence opts->seq, by default sequence 0, and begins with
 * the row of logits that tlp_session_find_row finds for it.  With a grammar the
 * text goes on where the last call left it, and begins anew after its end.
 *
 * @param[out] result  NULL is allowed; otherwise the caller sets struct_size
 * @param session      session that keeps the logits of the last token
 * @param sampler      NULL = greedy decoding
 * @param opts         NULL = defaults
 * @return TLP_OK; TLP_ESTATE if the logits of the last token are not kept;
 *         TLP_ECANCELED by tlp_session_abort; the statuses of
 *         tlp_session_prefill and tlp_session_sample
 * @since 0.1
 */
TLP_API tlp_status tlp_session_generate(tlp_generate_result *result,
                                        tlp_session *session,
                                        tlp_sampler *sampler,
                                        const tlp_generate_options *opts)
    TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_engine Engine
 * Requests of many clients on one session.
 *
 * An engine has a session of its own.  A request is a prompt, options of its
 * sampler, and conditions of its end; it runs as one or more choices, each a
 * sequence of the session.  A step of the engine evaluates one token of every
 * choice that writes text and a part of the prompts that have begun, chooses
 * tokens, and makes events of them.  A prompt begins with the longest beginning
 * that a sequence of the session holds already.  Tokens do not depend on the
 * requests that run beside theirs.
 *
 *     tlp_engine_create(&engine, plan, NULL);
 *     tlp_engine_start(engine);
 *     request.tokens = ids; request.n_token = n;
 *     tlp_engine_submit(&id, engine, &request);
 *     while (tlp_engine_next(&event, engine, -1) == TLP_OK) {
 *         fwrite(event->text, 1, event->n_text, stdout);
 *         ended = event->kind == TLP_EVENT_END;
 *         tlp_event_free(event);
 *         if (ended)
 *             break;
 *     }
 *     tlp_engine_free(engine);
 *
 * @par Threads
 * Any thread may submit, cancel, take events and read counters at any time.
 * Steps are taken by a thread of the engine (tlp_engine_start) or by one thread
 * of the program at a time (tlp_engine_step).
 * @{
 */

/** Requests, and the session that they run on. */
typedef struct tlp_engine tlp_engine;

/** Options of an engine. */
typedef struct tlp_engine_options {
    size_t struct_size; /**< sizeof(tlp_engine_options)                       */
    const tlp_session_options *session; /**< of the session; NULL = defaults.
                             n_seq is the number of sequences, of which each
                             choice that runs has one and the free ones are kept
                             for later prompts; n_seq 0 = 8.  n_batch is the most
                             tokens of prompts in a step; on slow machines a
                             step has fewer, about as many as 0.25 s take, and
                             n_chunk at least                                 */
    int32_t n_request;  /**< most requests that wait and run; 0 = 256, at most
                             65536                                            */
    int32_t n_chunk;    /**< most tokens of prompts in a step in which a choice
                             writes text: bounds the time between two tokens;
                             0 = 64, at most n_batch                          */
    int32_t n_draft;    /**< most tokens behind a text that a step evaluates in
                             advance: guesses from the prompt and the text.  As
                             many are used as save time, by the times of earlier
                             steps; texts do not depend on them.  0 = 8; -1 =
                             none; at most 16                                 */
} tlp_engine_options;

/** Initial value of a tlp_engine_options: all defaults. */
#define TLP_ENGINE_OPTIONS_INIT { sizeof(tlp_engine_options), NULL, 0, 0, 0 }

/**
 * Create an engine.
 *
 * @param[out] out  the engine; the caller frees it with tlp_engine_free
 * @param plan      plan; the engine keeps it alive
 * @param opts      NULL = defaults
 * @return TLP_OK; TLP_EINVAL for an option out of range; the statuses of
 *         tlp_session_create
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_create(tlp_engine **out, tlp_plan *plan,
                                     const tlp_engine_options *opts)
    TLP_NODISCARD;

/**
 * Release an engine, with its requests and its events.
 *
 * The call waits for the end of a running step.  No other call on the engine may
 * be running, except those on its own thread.
 *
 * @param engine  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_engine_free(tlp_engine *engine);

/**
 * A request.  The library copies it, and all that it points to, but neither
 * `user` nor the data of the sampler's function, which is called on the thread
 * that steps, and until the event of the request's end.
 *
 * The prompt is tokens, or a conversation, as in tlp_chat_tokenize with
 * add_generation_prompt = 1.
 */
typedef struct tlp_request {
    size_t struct_size;       /**< sizeof(tlp_request)                        */
    const int32_t *tokens;    /**< n_token ids of the prompt, or NULL         */
    size_t n_token;           /**< at least 1 with tokens                     */
    const tlp_chat_message *messages; /**< n_message messages, or NULL        */
    size_t n_message;         /**< number of messages                         */
    const tlp_chat_options *chat; /**< of a conversation; NULL = defaults     */
    const tlp_sampler_options *sampler; /**< NULL = greedy decoding.  Choice i
                                   draws with seed + i                        */
    int32_t n_predict;        /**< most tokens of a choice; 0 = until the
                                   context is full; -1 = none, the prompt alone
                                   is evaluated                               */
    int32_t n_choice;         /**< texts to write; 0 = 1, at most n_seq of the
                                   session                                    */
    const char *const *stop;  /**< n_stop stop strings, or NULL               */
    size_t n_stop;            /**< at most 1024                               */
    const int32_t *stop_tokens; /**< n_stop_token tokens that end a choice, or
                                   NULL                                       */
    size_t n_stop_token;      /**< at most 1024                               */
    int32_t ignore_end;       /**< 1 = go on after an end token of the model; 0
                                   with a grammar                             */
    uint32_t flags;           /**< enum tlp_detokenize_flags                  */
    int32_t logprobs;         /**< 1 = events have log-probabilities          */
    int32_t prompt_logprobs;  /**< 1 = so have events of the prompt's tokens  */
    int32_t n_top;            /**< likeliest tokens in such events, 0 to 64   */
    int32_t priority;         /**< requests of higher priority begin first    */
    uint64_t client;          /**< of waiting requests with equal priority,
                                   those of the client with the fewest running
                                   choices begin first                        */
    double deadline;          /**< seconds from the call to the request's end;
                                   0 = none                                   */
    void *user;               /**< in all events of the request               */
    const tlp_embed_options *embed; /**< not NULL: the embedding of the prompt is
                                   wanted, and no text.  n_predict is then 0 or
                                   -1 and n_choice at most 1                  */
} tlp_request;

/** Initial value of a tlp_request: no prompt. */
#define TLP_REQUEST_INIT                                                       \
    { sizeof(tlp_request), NULL, 0, NULL, 0, NULL, NULL, 0, 0, NULL, 0, NULL,  \
      0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL }

/**
 * Submit a request.
 *
 * @param[out] id  number of the request, above 0 and never used again by the
 *                 engine
 * @param engine   engine
 * @param request  prompt and options
 * @return TLP_OK; TLP_EINVAL for a prompt or an option that is not valid;
 *         TLP_EFULL for a prompt of more than n_ctx tokens; TLP_EBUSY while
 *         n_request requests wait and run; TLP_ECLOSED after tlp_engine_stop;
 *         TLP_ECOMM or TLP_ETIMEDOUT after a rank has failed; the statuses of
 *         tlp_chat_tokenize and tlp_sampler_create
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_submit(uint64_t *id, tlp_engine *engine,
                                     const tlp_request *request) TLP_NODISCARD;

/**
 * End a request.  Its choices get TLP_STOP_CANCEL at the next step.
 *
 * @par Threads
 * Any thread and any signal handler may call this function before
 * tlp_engine_free.
 *
 * @param engine  engine
 * @param id      number of the request; nothing happens if it has ended
 * @since 0.1
 */
TLP_API void tlp_engine_cancel(tlp_engine *engine, uint64_t id);

/**
 * Take one step on the calling thread.
 *
 * @param[out] n_left  requests that wait or run after the step; NULL is allowed
 * @param engine       engine
 * @return TLP_OK, also where there was nothing to do and where requests failed
 *         alone; TLP_ESTATE while another thread steps; TLP_ECOMM or
 *         TLP_ETIMEDOUT if a rank failed: every request has ended with that
 *         text, and the engine can only be freed
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_step(int32_t *n_left,
                                   tlp_engine *engine) TLP_NODISCARD;

/**
 * Start a thread of the library that takes steps while there are requests.
 *
 * With ranks in other processes an idle thread evaluates a token once a second,
 * so that it notices ranks that have failed.
 *
 * @param engine  engine
 * @return TLP_OK; TLP_ESTATE if it was started before; TLP_ENOMEM
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_start(tlp_engine *engine) TLP_NODISCARD;

/**
 * End all requests, after the running step, and the engine's thread.
 *
 * Choices get TLP_STOP_CANCEL.  Their events can still be taken.
 *
 * @param engine  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_engine_stop(tlp_engine *engine);

/** What an event tells. */
enum tlp_event_kind {
    TLP_EVENT_PROMPT = 1, /**< the prompt is evaluated: n_prompt, n_cached    */
    TLP_EVENT_PROMPT_TOKEN = 2, /**< a token of the prompt, with
                               prompt_logprobs                                */
    TLP_EVENT_TOKEN = 3,  /**< a choice has chosen a token                    */
    TLP_EVENT_STOP = 4,   /**< a choice has ended: stop_reason, and the text
                               that was held back                             */
    TLP_EVENT_END = 5,    /**< all choices of the request have ended          */
    TLP_EVENT_EMBEDDING = 6 /**< the embedding of the prompt                  */
};

/** Something that happened to a request.  A new library may append fields. */
typedef struct tlp_event {
    size_t struct_size;    /**< set by the library                            */
    uint64_t request;      /**< number of the request                         */
    int32_t kind;          /**< enum tlp_event_kind                           */
    int32_t choice;        /**< 0 to n_choice - 1; -1 for the prompt and the end
                                of the request                                */
    int32_t token;         /**< chosen token or token of the prompt; -1 = none*/
    int32_t n_top;         /**< entries of top                                */
    float logprob;         /**< of token; NaN without logprobs, and for the
                                first token of a prompt                       */
    int32_t stop_reason;   /**< enum tlp_stop_reason; 0 = not ended           */
    size_t n_text;         /**< bytes in text                                 */
    const char *text;      /**< text that became certain: whole UTF-8 with a
                                NUL, often empty; the text of the failure with
                                TLP_STOP_ERROR                                */
    const tlp_logprob *top; /**< likeliest tokens, best first           */
    tlp_status status;     /**< TLP_OK; the failure with TLP_STOP_ERROR       */
    int32_t n_prompt;      /**< tokens of the prompt                          */
    int32_t n_cached;      /**< of these, tokens that were not evaluated again*/
    int32_t n_generated;   /**< tokens that the choice has chosen; of a request
                                all choices                                   */
    double seconds;        /**< since the request was submitted               */
    void *user;            /**< of the request                                */
    int32_t n_draft;       /**< at the end of the request: guessed tokens that
                                were evaluated                                */
    int32_t n_accepted;    /**< of these, tokens that the sampler chose       */
    const float *embedding; /**< n_embedding values of TLP_EVENT_EMBEDDING; else
                                NULL                                          */
    int32_t n_embedding;   /**< n_embd of the model, or 0                     */
    int32_t seq;           /**< sequence of the choice, or of the prompt; -1 =
                                it had none                                   */
} tlp_event;

/**
 * Take the oldest event.
 *
 * Events of a request come in the order in which they happened, the event of
 * its end last.
 *
 * @param[out] event  the event; the caller frees it with tlp_event_free.  NULL
 *                    if there was none in time, and on failure
 * @param engine      engine
 * @param timeout_ms  longest wait, milliseconds; 0 = do not wait; -1 = no limit
 * @return TLP_OK; without further events TLP_ECLOSED after tlp_engine_stop, and
 *         TLP_ECOMM or TLP_ETIMEDOUT after a rank has failed
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_next(tlp_event **event, tlp_engine *engine,
                                   int32_t timeout_ms) TLP_NODISCARD;

/**
 * Release an event.
 *
 * @param event  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_event_free(tlp_event *event);

/** Counters of an engine. */
typedef struct tlp_engine_stats {
    size_t struct_size;    /**< set by the caller                             */
    int32_t n_waiting;     /**< requests that wait                            */
    int32_t n_running;     /**< requests that run                             */
    int32_t n_choice;      /**< choices that run                              */
    int32_t n_event;       /**< events that nobody has taken                  */
    uint64_t n_submitted;  /**< requests since the engine was created         */
    uint64_t n_ended;      /**< of these, requests that have ended            */
    uint64_t n_failed;     /**< of these, requests with a choice that ended by
                                TLP_STOP_ERROR                                */
    uint64_t n_canceled;   /**< of these, requests that were canceled or had
                                passed their deadline                         */
    uint64_t n_prompt;     /**< tokens of prompts                             */
    uint64_t n_cached;     /**< of these, tokens that were not evaluated again*/
    uint64_t n_generated;  /**< tokens that choices have chosen               */
    uint64_t n_step;       /**< steps                                         */
    double step_seconds;   /**< wall-clock time in steps                      */
    double worst_gap;      /**< longest time between two tokens of a choice,
                                seconds                                       */
    uint64_t n_draft;      /**< guessed tokens that were evaluated            */
    uint64_t n_accepted;   /**< of ended requests, guessed tokens that the
                                sampler chose                                 */
    int32_t n_seq;         /**< sequences of the session                      */
    int32_t n_ctx;         /**< positions of a sequence                       */
    int64_t n_position;    /**< positions that sequences held after the last
                                step                                          */
} tlp_engine_stats;

/**
 * Get the counters of an engine.
 *
 * @param[out] out  the caller sets struct_size
 * @param engine    engine
 * @return TLP_OK
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_get_stats(tlp_engine_stats *out,
                                        tlp_engine *engine) TLP_NODISCARD;

/**
 * Get the counters and sizes of an engine's session, as they were after its last
 * step.
 *
 * @param[out] out  the caller sets struct_size
 * @param engine    engine
 * @return TLP_OK
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_get_session_stats(tlp_session_stats *out,
                                                tlp_engine *engine)
    TLP_NODISCARD;

/** What a sequence of an engine's session is used for. */
typedef struct tlp_slot {
    size_t struct_size;    /**< set by the caller                             */
    uint64_t request;      /**< number of the request; 0 = the sequence is free,
                                and keeps its tokens for later prompts        */
    int32_t choice;        /**< choice of the request; -1 = free              */
    int32_t n_held;        /**< positions that the sequence holds             */
    int32_t n_prompt;      /**< tokens of the request's prompt                */
    int32_t n_done;        /**< of these, tokens that are evaluated           */
    int32_t n_cached;      /**< of these, tokens that were not evaluated again*/
    int32_t n_generated;   /**< tokens that the choice has chosen             */
} tlp_slot;

/**
 * Get the use of a sequence, as it was after the engine's last step.
 *
 * @param[out] out  the caller sets struct_size
 * @param engine    engine
 * @param seq       0 to n_seq - 1
 * @return TLP_OK; TLP_EINVAL if the session has no such sequence
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_get_slot(tlp_slot *out, tlp_engine *engine,
                                       int32_t seq) TLP_NODISCARD;

/**
 * Save a sequence of an engine to a file, by the rules of tlp_session_save.
 *
 * The work is done between two steps, and the call returns after it.  A request
 * whose prompt begins like the tokens of a saved sequence need not evaluate them
 * once the file is loaded.
 *
 * @par Threads
 * Any thread, also while another one steps, and after tlp_engine_stop; not a
 * callback of the engine.
 *
 * @param[out] n_held  positions that were saved; NULL = not wanted
 * @param engine       engine
 * @param seq          0 to n_seq - 1; free, as tlp_slot tells
 * @param path         file to write; not a file of the model
 * @return the statuses of tlp_session_save_file; TLP_EINVAL if the session has no
 *         such sequence; TLP_EBUSY if a request uses it
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_save_file(int32_t *n_held, tlp_engine *engine,
                                        int32_t seq,
                                        const char *path) TLP_NODISCARD;

/**
 * Load a sequence of an engine from a file, by the rules of tlp_session_load.
 *
 * Later prompts that begin like it begin with a copy.  Threads as with
 * tlp_engine_save_file.
 *
 * @param[out] n_held  positions that were loaded; NULL = not wanted
 * @param engine       engine
 * @param seq          sequence to replace, 0 to n_seq - 1; free
 * @param path         file of tlp_engine_save_file or tlp_session_save_file
 * @return the statuses of tlp_session_load_file; TLP_EINVAL if the session has no
 *         such sequence; TLP_EBUSY if a request uses it
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_load_file(int32_t *n_held, tlp_engine *engine,
                                        int32_t seq,
                                        const char *path) TLP_NODISCARD;

/**
 * Forget what a sequence of an engine holds, which frees its pages.  Threads as
 * with tlp_engine_save_file.
 *
 * @param[out] n_held  positions that were forgotten; NULL = not wanted
 * @param engine       engine
 * @param seq          0 to n_seq - 1; free
 * @return TLP_OK; TLP_EINVAL if the session has no such sequence; TLP_EBUSY if a
 *         request uses it; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_engine_clear(int32_t *n_held, tlp_engine *engine,
                                    int32_t seq) TLP_NODISCARD;

/** @} */

#ifdef __cplusplus
}
#endif

#endif /* TLP_H */
