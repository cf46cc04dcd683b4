/**
 * @file tlp_tune.h
 * Make plans: search, adjust, carry, bake, study, measure and predict; quantize
 * models.
 */
#ifndef TLP_TUNE_H
#define TLP_TUNE_H

#include "tlp.h"

/* The comments of fields and constants stand in columns. */
/* clang-format off */

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @defgroup tlp_quantize Quantizing
 * Model files with weights of another type.
 * @par Threads
 * Any number of threads may use a model at a time.
 * @{
 */

/** Options of tlp_model_quantize. */
typedef struct tlp_quantize_options {
    size_t struct_size;       /**< sizeof(tlp_quantize_options)               */
    int32_t n_thread;         /**< 0 = all cores; at most 256                 */
    int32_t pure;             /**< 1 = every matrix gets exactly the type     */
    tlp_progress_fn progress; /**< or NULL                                    */
    void *progress_data;      /**< last argument of progress                  */
    const char *imatrix;      /**< importance matrix, of tlp_model_imatrix or of
                                   llama.cpp, GGUF or the older format;
                                   NULL = columns count alike                 */
} tlp_quantize_options;

/** Initial value of a tlp_quantize_options: all defaults. */
#define TLP_QUANTIZE_OPTIONS_INIT                                              \
    { sizeof(tlp_quantize_options), 0, 0, NULL, NULL, NULL }

/** Result of tlp_model_quantize. */
typedef struct tlp_quantize_result {
    size_t struct_size;      /**< set by the caller                           */
    int32_t n_tensor;        /**< tensors in the file                         */
    int32_t n_converted;     /**< tensors with another type than before; all
                                  further tensors are copied byte by byte     */
    int32_t n_fallback;      /**< matrices with another type than the wanted
                                  one, because their row length is no multiple
                                  of its block                                */
    int64_t n_bytes;         /**< bytes of all tensors in the new file        */
} tlp_quantize_result;

/**
 * Write a model to a GGUF file, with its matrices in another type or unchanged.
 *
 * The types are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q3_K, Q4_K, Q5_K,
 * Q6_K and MXFP4, and the mixtures Q2_K, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M,
 * Q5_K_S, Q5_K_M, IQ4_NL and IQ4_XS, which give some matrices of some layers a
 * better type, as llama.cpp does under these names.  Vectors keep their type.
 * Metadata is kept, with these exceptions: general.file_type and
 * general.quantization_version describe the new type, and the split.* keys are
 * left out, because a split model or a folder becomes one file.
 *
 * Unless `pure` is set, the matrix that makes the logits (output.weight, or
 * token_embd.weight in a model without it) gets Q6_K instead of a type with
 * fewer bits.  With `pure` a mixture is the type in its name.  If the row length
 * is no multiple of 256, Q2_K and Q3_K become Q4_0, Q4_K becomes Q5_0, Q5_K
 * becomes Q5_1, Q6_K becomes Q8_0, and IQ4_XS becomes IQ4_NL.  If it is no
 * multiple of 32, types with blocks of 32 become F16.
 *
 * An importance matrix says for each column of a matrix how much errors of its
 * weights count: the mean square of the activations on some text.  The search
 * for the steps of a block then minimises the errors of products.  It serves all
 * quantised types but Q8_0; with it, llama.cpp's mixtures Q4_0, Q5_0, IQ4_NL and
 * IQ4_XS choose other types for some of ffn_down, and so does the library.
 * Entries without a tensor and matrices without an entry are warned of.
 *
 * The library refuses a value that is not finite or that lies beyond the range
 * of the type (65504; for BF16, the range of f32).  The new file appears under
 * its name when it is complete; a failure leaves an existing file as it was.
 *
 * @param[out] result  NULL is allowed; otherwise the caller sets struct_size
 * @param model        model
 * @param path         file to write, UTF-8; not a file of the model
 * @param type         name of the type or the mixture; NULL = types stay
 * @param opts         NULL = defaults
 * @return TLP_OK; TLP_EINVAL for an unknown type, for a file of the model, or
 *         for a model that was opened with vocab_only; TLP_EIO if the file
 *         cannot be written or the importance matrix cannot be read;
 *         TLP_EFORMAT for a value that the type cannot hold, or for a malformed
 *         importance matrix; TLP_EMISMATCH for one of another model;
 *         TLP_ECANCELED by progress
 * @since 0.1
 */
TLP_API tlp_status tlp_model_quantize(tlp_quantize_result *result,
                                      const tlp_model *model, const char *path,
                                      const char *type,
                                      const tlp_quantize_options *opts)
    TLP_NODISCARD;

/**
 * Options of tlp_model_imatrix.
 *
 * `session` describes the session that evaluates the windows of the text: n_ctx
 * (0 = 512, or all tokens if they are fewer), n_thread, compute, kv_type, isa.
 */
typedef struct tlp_imatrix_options {
    size_t struct_size;       /**< sizeof(tlp_imatrix_options)                */
    const tlp_session_options *session; /**< NULL = defaults                  */
    const char *dataset;      /**< name of the text, UTF-8, for the file's
                                   imatrix.datasets; NULL = none              */
    tlp_progress_fn progress; /**< or NULL                                    */
    void *progress_data;      /**< last argument of progress                  */
} tlp_imatrix_options;

/** Initial value of a tlp_imatrix_options: all defaults. */
#define TLP_IMATRIX_OPTIONS_INIT                                               \
    { sizeof(tlp_imatrix_options), NULL, NULL, NULL, NULL }

/** Result of tlp_model_imatrix. */
typedef struct tlp_imatrix_result {
    size_t struct_size; /**< set by the caller                                */
    int32_t n_entry;    /**< tensors with importances                         */
    int32_t n_window;   /**< windows of the text                              */
    int64_t n_token;    /**< tokens of the text                               */
    int32_t n_unused;   /**< matrices of experts that no token has chosen; a
                             warning says so if there are any                 */
} tlp_imatrix_result;

/**
 * Run a model over a text, and write how much the columns of its matrices count:
 * an importance matrix for tlp_quantize_options.imatrix.
 *
 * The file is GGUF and has the form of llama-imatrix: NAME.in_sum2 with the sums
 * over all tokens of the squares of what each column multiplies, and
 * NAME.counts with the number of tokens, for all matrices of the layers.  Of
 * experts each one has sums and a count of its own.  The matrix that makes the
 * logits has no entry.  Each window of the text begins at position 0.
 *
 * @param[out] result  NULL is allowed; otherwise the caller sets struct_size
 * @param model        model, such as an F16 file that will be quantised
 * @param path         file to write, UTF-8; not a file of the model
 * @param tokens       n ids of a text, such as 8192 tokens
 * @param n            number of tokens, at least 2
 * @param opts         NULL = defaults
 * @return TLP_OK; TLP_EINVAL for an id that the model does not have, for a file
 *         of the model, or for a model that was opened with vocab_only;
 *         TLP_EFORMAT for activations that are not finite; TLP_EIO if the file
 *         cannot be written; TLP_ECANCELED by progress
 * @since 0.1
 */
TLP_API tlp_status tlp_model_imatrix(tlp_imatrix_result *result,
                                     tlp_model *model, const char *path,
                                     const int32_t *tokens, size_t n,
                                     const tlp_imatrix_options *opts)
    TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_make Search
 * Plans chosen by their quality on a calibration text.
 * @par Threads
 * Any number of threads may use a model at a time.
 * @{
 */

/**
 * What tlp_plan_make minimises, as a mean over all predictions on the text.
 *
 * The KL divergence from the serial model is less noisy than -log p of the
 * text.  KL alone chooses plans that predict other text worse than necessary.
 */
enum tlp_objective {
    TLP_OBJECTIVE_BOTH = 0, /**< mean of the KL divergence and of -log p      */
    TLP_OBJECTIVE_KL = 1,   /**< KL divergence from the serial model          */
    TLP_OBJECTIVE_NLL = 2   /**< -log p of the text                           */
};

/** Bits of tlp_plan_make_options.modes beside 1 << TLP_MODE_... */
enum tlp_make_modes {
    TLP_MAKE_NOSYNC = 65536 /**< leave out exchanges                          */
};

/** The best plan of one depth, or of one number of exchanges, that a search has
    found. */
typedef struct tlp_plan_point {
    size_t struct_size;    /**< set by the library                            */
    int32_t depth;         /**< stages                                        */
    int32_t chosen;        /**< 1 = the search returns this plan              */
    const tlp_plan *plan;  /**< borrowed for this call                        */
    double kl;             /**< mean KL divergence on the text, nats          */
    double top1_agreement; /**< share of predictions with the top token of the
                                serial model, 0 to 1                          */
    double ppl;            /**< perplexity of the text                        */
    int32_t exchanges;     /**< exchanges that a token waits for, on n_rank
                                ranks                                         */
    int32_t n_rank;        /**< 2; with TLP_MAKE_NOSYNC, n_track of the
                                options                                       */
} tlp_plan_point;

/**
 * Receive one point of the curve of quality over depth or exchanges.
 *
 * @param point      point, borrowed for this call
 * @param user_data  pointer from the options
 */
typedef void (*tlp_plan_point_fn)(const tlp_plan_point *point, void *user_data);

/** Seconds of work of a rank. */
typedef struct tlp_link_rates {
    double half;   /**< seconds per token and half stage (attention or
                        feed-forward)                                         */
    double byte;   /**< seconds per token and byte of the rank's weights      */
    double attend; /**< seconds per token, query head and attended position   */
    double stall;  /**< seconds per token and all-reduce beyond the table's
                        time, because ranks are not always equally fast       */
} tlp_link_rates;

/** Entries in each table of a tlp_link. */
#define TLP_LINK_SIZES 16

/**
 * Speed of the ranks of a session and of the link between them.
 *
 * The message sizes in `size` rise; allreduce[i], late[i] and send[i] belong to
 * size[i].  docs/design.md has the formula that uses these numbers.
 */
typedef struct tlp_link {
    size_t struct_size;      /**< set by the caller                           */
    char fingerprint[72];    /**< of the model; "" fits any model             */
    int32_t n_rank;          /**< ranks that measured                         */
    int32_t n_thread;        /**< threads per rank                            */
    int32_t n_batch;         /**< tokens in a step of a prefill               */
    int32_t n_size;          /**< entries in use; 0 with one rank             */
    tlp_link_rates decode;   /**< work in steps of one token                  */
    tlp_link_rates prefill;  /**< work in steps of many tokens                */
    double head_byte;        /**< seconds per byte of a rank's output head    */
    double command;          /**< seconds of a command from rank 0, one way   */
    int64_t size[TLP_LINK_SIZES];     /**< message size, in floats            */
    double allreduce[TLP_LINK_SIZES]; /**< seconds from the call of a rank until
                                           all further ranks have the sum     */
    double late[TLP_LINK_SIZES];      /**< seconds in the call of the rank that
                                           arrives last                       */
    double send[TLP_LINK_SIZES];      /**< seconds to the next rank, one way  */
} tlp_link;

/**
 * Options of tlp_plan_make.
 *
 * Exactly one of depth, max_kl, speedup and exchanges is the target.
 *
 * The search joins layers into groups, or leaves out exchanges, or does both,
 * by `modes`.  Only a search that may leave out exchanges reaches a target of
 * `exchanges`, and it does not reach a `depth`.
 *
 * `session` describes the session that evaluates the windows of the text.  The
 * search reads nine fields of it: n_ctx is the length of a window in tokens (0
 * means 512); n_thread, n_thread_prefill, spin_us, pool, compute, kv_type and
 * isa have their usual meaning; n_rank is the number of ranks for which
 * `speedup` is predicted with `link` (0 means link->n_rank).  The search itself
 * runs on one rank on the CPU.
 */
typedef struct tlp_plan_make_options {
    size_t struct_size;      /**< sizeof(tlp_plan_make_options)               */
    const tlp_session_options *session; /**< NULL = defaults                  */
    int32_t depth;           /**< target: number of stages                    */
    int32_t max_group;       /**< most layers in a group; 0 = 4               */
    double max_kl;           /**< target: least depth, or fewest exchanges,
                                  with at most this mean KL divergence, nats  */
    double speedup;          /**< target: serial / plan; of the predicted
                                  seconds per decoded token with `link`, of the
                                  number of stages without, which
                                  TLP_MAKE_NOSYNC does not change             */
    const tlp_link *link;    /**< from tlp_session_measure, for speedup; or
                                  NULL                                        */
    uint32_t modes;          /**< allowed modes: bits 1 << TLP_MODE_LP,
                                  1 << TLP_MODE_PAR, 1 << TLP_MODE_ASYM,
                                  TLP_MAKE_NOSYNC.  0 = TLP_MAKE_NOSYNC for a
                                  target of `exchanges`, the three modes for
                                  other targets                               */
    int32_t objective;       /**< enum tlp_objective                          */
    uint64_t seed;           /**< order of the windows                        */
    uint64_t max_bytes;      /**< most memory for intermediate results that
                                  save time, bytes; 0 = 768 MiB               */
    const char *resume;      /**< file of scores: read if it exists, and
                                  replaced from time to time; NULL = none     */
    tlp_plan_point_fn point; /**< receives one point per depth or number of
                                  exchanges, the serial plan first, then
                                  `start`; or NULL                            */
    void *point_data;        /**< last argument of point                      */
    tlp_progress_fn progress; /**< or NULL                                    */
    void *progress_data;     /**< last argument of progress                   */
    int32_t exchanges;       /**< target: at most this number of exchanges that
                                  a token waits for, on n_track ranks; 1 to
                                  2 n_layer                                   */
    int32_t n_track;         /**< tracks of plans that leave out exchanges: 2 to
                                  64, at most the query heads; 0 = 2          */
    const tlp_plan *start;   /**< plan of the model from which the search sets
                                  out; NULL = the serial plan                 */
} tlp_plan_make_options;

/** Initial value of a tlp_plan_make_options: all defaults. */
#define TLP_PLAN_MAKE_OPTIONS_INIT                                             \
    { sizeof(tlp_plan_make_options), NULL, 0, 0, 0, 0, NULL, 0, 0, 0, 0, NULL, \
      NULL, NULL, NULL, NULL, 0, 0, NULL }

/**
 * Choose which layers run side by side, and in which mode; or choose which
 * exchanges are left out.
 *
 * The plan keeps the model close to the serial model on a text: it minimises
 * the objective over windows of the text, each evaluated from position 0.  The
 * search joins neighbouring layers, or leaves out exchanges, one by one.  A
 * search that may do both takes the change that costs least for each exchange
 * that it saves; a group saves several at once, so that the search passes over
 * numbers of exchanges.  At each depth or number of exchanges it swaps groups
 * for other groups, or a left-out exchange for another, or a group for left-out
 * exchanges, as long as a swap helps.  Where exchanges may be left out, it
 * tries swaps once more at the target, on more windows.  Equal arguments give
 * equal plans on machines with equal instruction sets.  The plan records how it
 * was made in its key "made".
 *
 * With `start` the search sets out from that plan instead of the serial plan,
 * after it has tried swaps in it: for fewer exchanges than a known plan has, or
 * for the plan's number once more, on another text or on a file whose units
 * tlp_plan_bake has moved.
 *
 * @param[out] out  the plan; the caller frees it with tlp_plan_free
 * @param model     model
 * @param tokens    n ids of a calibration text; 2048 tokens are a good number
 * @param n         number of tokens; a last window of one token is left out
 * @param opts      options with one target
 * @return TLP_OK; TLP_EUNREACHED if the search finds no plan that reaches the
 *         target (few exchanges are out of reach beside a group); TLP_ENOTSUP
 *         for a start with adjustments, with other modes or tracks than the
 *         options allow, or without all layers in their order; TLP_EIO,
 *         TLP_EFORMAT or TLP_EMISMATCH for the file of scores (TLP_EMISMATCH if
 *         it belongs to another model, text or other options); TLP_EMISMATCH for
 *         a start of another model; TLP_ECANCELED by progress, after the scores
 *         are saved
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_make(tlp_plan **out, tlp_model *model,
                                 const int32_t *tokens, size_t n,
                                 const tlp_plan_make_options *opts)
    TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_adjust Adjustments
 * Corrections that bring the groups of a plan, and its layers in tracks
 * (nosync), closer to the serial model.
 *
 * Adjustments are gains of attention and feed-forward, weights of norms, and
 * low-rank corrections of the inputs of members and of the output of a group.
 * Models that normalise outputs (gemma3, olmo2, glm4, exaone4) have no
 * correction of the output, and models without norms of inputs (olmo2, exaone4)
 * none of their weights.
 * The members of a layer in tracks are its tracks.  No adjustment needs a
 * further all-reduce.
 * @par Threads
 * Any number of threads may use a plan at a time.
 * @{
 */

/** Adjustments of a plan. */
typedef struct tlp_plan_adjust_info {
    size_t struct_size; /**< set by the caller                                */
    int32_t n_gain;     /**< gains                                            */
    int32_t n_norm;     /**< norms                                            */
    int32_t n_low_rank; /**< low-rank corrections                             */
    uint64_t n_bytes;   /**< bytes of their file; 0 = no adjustments          */
    const char *sha256; /**< checksum of their file, borrowed from the plan; or
                             NULL                                             */
    int32_t n_lora;     /**< matrices with LoRA                               */
} tlp_plan_adjust_info;

/**
 * Count the adjustments of a plan.
 *
 * @param[out] out  the caller sets struct_size
 * @param plan      plan
 * @return TLP_OK
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_get_adjust(tlp_plan_adjust_info *out,
                                       const tlp_plan *plan) TLP_NODISCARD;

/**
 * Options of tlp_plan_adjust.
 *
 * At least one of gains, norms and rank is set.
 *
 * `session` describes the session that evaluates the windows of the text.  The
 * fit reads eight fields of it: n_ctx is the length of a window in tokens (0
 * means 512); n_thread, n_thread_prefill, spin_us, pool, compute, kv_type and
 * isa have their usual meaning.  The fit itself runs on one rank on the CPU.
 */
typedef struct tlp_plan_adjust_options {
    size_t struct_size;       /**< sizeof(tlp_plan_adjust_options)            */
    const tlp_session_options *session; /**< NULL = defaults                  */
    int32_t gains;            /**< 1 = fit gains of groups                    */
    int32_t norms;            /**< 1 = fit weights of norms                   */
    int32_t rank;             /**< largest rank of low-rank corrections: a
                                   multiple of 4, at most n_embd; 0 = no such
                                   corrections                                */
    double held_out;          /**< share of the windows for validation, above 0
                                   and below 1; 0 = 0.25                      */
    uint64_t seed;            /**< choice of the windows for validation       */
    tlp_progress_fn progress; /**< or NULL                                    */
    void *progress_data;      /**< last argument of progress                  */
} tlp_plan_adjust_options;

/** Initial value of a tlp_plan_adjust_options: all defaults. */
#define TLP_PLAN_ADJUST_OPTIONS_INIT                                           \
    { sizeof(tlp_plan_adjust_options), NULL, 0, 0, 0, 0, 0, NULL, NULL }

/** Quality before and after tlp_plan_adjust, on the windows for validation. */
typedef struct tlp_plan_adjust_report {
    size_t struct_size;  /**< set by the caller                               */
    int32_t n_window;    /**< windows of the text                             */
    int32_t n_held_out;  /**< windows for validation                          */
    double kl_before;    /**< mean KL divergence from the serial model, nats  */
    double kl_after;     /**< mean KL divergence from the serial model, nats  */
    double ppl_before;   /**< perplexity                                      */
    double ppl_after;    /**< perplexity                                      */
    double top1_before;  /**< agreement with the serial model, 0 to 1         */
    double top1_after;   /**< agreement with the serial model, 0 to 1         */
    int32_t n_gain;      /**< gains that help; the plan contains them         */
    int32_t n_norm;      /**< norms that help; the plan contains them         */
    int32_t n_low_rank;  /**< low-rank corrections that help; the plan contains
                              them                                            */
    uint64_t n_bytes;    /**< bytes of the adjustments                        */
} tlp_plan_adjust_report;

/**
 * Fit adjustments of the groups and tracks of a plan.
 *
 * The fit is a regression in closed form, stage by stage, with the activations
 * of the adjusted plan itself.  Windows for validation decide three questions:
 * which adjustments stay (those that bring the activations closer to the serial
 * model), how strongly each is regularised, and which rank up to `rank` each
 * low-rank correction gets.  If the KL divergence from the serial model falls
 * on these windows, the library fits everything that stays once more, on all
 * windows.
 *
 * The work keeps activations of all windows: 4 n_embd n bytes for each of the
 * stream, the stream behind a stage, the serial model's stream and its inputs
 * of the two halves of each layer of a stage, and for each of T tracks twice.
 *
 * tlp_plan_save writes the adjustments to a second file.
 *
 * @param[out] out     the adjusted plan; the caller frees it with tlp_plan_free
 * @param[out] report  NULL is allowed; otherwise the caller sets struct_size;
 *                     also filled in with TLP_ENOGAIN
 * @param plan         plan without adjustments and with at least one group in
 *                     mode lp, par or asym, or one half-layer that reads streams
 *                     which differ between tracks
 * @param tokens       n ids of a calibration text, such as 8192 tokens
 * @param n            number of tokens, at least two windows
 * @param opts         options
 * @return TLP_OK; TLP_ENOGAIN if no adjustment improves the plan; TLP_ENOTSUP
 *         for a plan that changes the order of layers, and for norms alone of
 *         tracks of models without norms of inputs; TLP_ECANCELED by progress
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_adjust(tlp_plan **out,
                                   tlp_plan_adjust_report *report,
                                   const tlp_plan *plan, const int32_t *tokens,
                                   size_t n,
                                   const tlp_plan_adjust_options *opts)
    TLP_NODISCARD;

/**
 * Make a plan for another file of a model.
 *
 * A file with other tensor types has another fingerprint, so a plan for one
 * file is refused for the other file.  This function makes an equal plan for
 * the other file, with the adjustments of the plan, though they were fitted to
 * the first file.
 *
 * Both files must be of one model: hyper-parameters and the values of all norms
 * and biases, which the type of the matrices does not change, must be equal.  A
 * model that was trained further differs in these values, unless the training
 * left them unchanged.  Where the plan leaves out exchanges, hidden units and
 * heads must have one order in both files, because their order decides what the
 * plan computes (tlp_plan_bake).
 *
 * @param[out] out  the new plan; the caller frees it with tlp_plan_free
 * @param plan      plan for the first file
 * @param model     model of the other file; the new plan keeps it alive
 * @return TLP_OK; TLP_EMISMATCH, with a text that names the difference;
 *         TLP_EINVAL for a model that was opened with vocab_only
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_carry(tlp_plan **out, const tlp_plan *plan,
                                  tlp_model *model) TLP_NODISCARD;


/**
 * Write the model of a plan to a file with its matrices in another type, and
 * the plan for that file: tlp_model_quantize and tlp_plan_carry in one call.
 *
 * The model's file gets its name after the plan is complete: if the call fails
 * or is canceled, both old files stay as they were.
 *
 * @param[out] out     the plan for the new file, with the adjustments of
 *                     `plan`; it keeps the new file's model open; the caller
 *                     frees it with tlp_plan_free
 * @param[out] result  NULL is allowed; otherwise the caller sets struct_size
 * @param plan         plan
 * @param path         file to write; none of the files of the plan's model
 * @param plan_path    file for the new plan, JSON, as tlp_plan_save writes it;
 *                     NULL = none
 * @param type         as in tlp_model_quantize
 * @param opts         NULL = defaults
 * @return as tlp_model_quantize
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_quantize(tlp_plan **out,
                                     tlp_quantize_result *result,
                                     const tlp_plan *plan, const char *path,
                                     const char *plan_path, const char *type,
                                     const tlp_quantize_options *opts)
    TLP_NODISCARD;

/**
 * Write the model of a plan to a file with the plan's LoRA added to its
 * matrices, and the plan for that file, which has all adjustments but LoRA.
 *
 * The plan then computes the function that it computed with LoRA beside it, but
 * for rounding.  The model's file gets its name after the plan is complete.
 *
 * @param[out] out     the plan for the new file; it keeps the new file's model
 *                     open; the caller frees it with tlp_plan_free
 * @param[out] result  NULL is allowed; otherwise the caller sets struct_size
 * @param plan         plan with LoRA (tlp_plan_train)
 * @param path         file to write; none of the files of the plan's model
 * @param plan_path    file for the new plan, JSON, as tlp_plan_save writes it;
 *                     NULL = none
 * @param type         as in tlp_model_quantize; NULL = types stay, but matrices
 *                     with LoRA of fewer than eight bits become Q8_0 (F16 if
 *                     rows do not fit)
 * @param opts         NULL = defaults
 * @return TLP_EINVAL for a plan without LoRA; else as tlp_model_quantize
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_merge(tlp_plan **out, tlp_quantize_result *result,
                                  const tlp_plan *plan, const char *path,
                                  const char *plan_path, const char *type,
                                  const tlp_quantize_options *opts)
    TLP_NODISCARD;

/**
 * Write the plan's LoRA to a file that tlp_adapter_open and llama.cpp read as an
 * adapter.
 *
 * The file has the LoRA alone: its products were trained for the plan, with its
 * other adjustments, and mean little without it.
 *
 * @param plan  plan with LoRA
 * @param path  file to write, GGUF; none of the files of the plan's model
 * @return TLP_OK; TLP_EINVAL for a plan without LoRA; TLP_EIO
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_save_adapter(const tlp_plan *plan,
                                         const char *path) TLP_NODISCARD;

/**
 * Options of tlp_plan_bake.
 *
 * `session` describes the session that evaluates the windows of the text, as in
 * tlp_plan_adjust_options.
 */
typedef struct tlp_plan_bake_options {
    size_t struct_size;       /**< sizeof(tlp_plan_bake_options)              */
    const tlp_session_options *session; /**< NULL = defaults                  */
    double held_out;          /**< share of the windows for validation, above 0
                                   and below 1; 0 = 0.25                      */
    uint64_t seed;            /**< choice of the windows for validation       */
    tlp_progress_fn progress; /**< or NULL                                    */
    void *progress_data;      /**< last argument of progress                  */
    const char *plan_path;    /**< file for the new plan, JSON; NULL = none   */
    const char *type;         /**< type of the new file's matrices, as in
                                   tlp_model_quantize; NULL = types stay      */
    int32_t pure;             /**< 1 = every matrix gets exactly `type`       */
    const char *imatrix;      /**< as in tlp_quantize_options; with `type`    */
} tlp_plan_bake_options;

/** Initial value of a tlp_plan_bake_options: all defaults. */
#define TLP_PLAN_BAKE_OPTIONS_INIT                                             \
    { sizeof(tlp_plan_bake_options), NULL, 0, 0, NULL, NULL, NULL, NULL, 0, NULL }

/** Quality before and after tlp_plan_bake, on the windows for validation. */
typedef struct tlp_plan_bake_report {
    size_t struct_size;  /**< set by the caller                               */
    int32_t n_window;    /**< windows of the text                             */
    int32_t n_held_out;  /**< windows for validation                          */
    double kl_before;    /**< mean KL divergence from the serial model, nats  */
    double kl_after;     /**< mean KL divergence from the serial model, nats  */
    double ppl_before;   /**< perplexity                                      */
    double ppl_after;    /**< perplexity                                      */
    double top1_before;  /**< agreement with the serial model, 0 to 1         */
    double top1_after;   /**< agreement with the serial model, 0 to 1         */
    int32_t n_site;      /**< layers whose units can be dealt out: those with
                              a left-out exchange                             */
    int32_t n_layer;     /**< layers that got another order of units          */
    int32_t n_unit;      /**< units of all layers that changed their track    */
    int32_t n_tensor;    /**< as in tlp_quantize_result                       */
    int32_t n_converted; /**< as in tlp_quantize_result                       */
    int32_t n_fallback;  /**< as in tlp_quantize_result                       */
    int64_t n_bytes;     /**< as in tlp_quantize_result                       */
} tlp_plan_bake_report;

/**
 * Write the model of a plan to a file in which each track has the hidden units
 * that it serves best.
 *
 * A plan that leaves out exchanges cuts a layer into tracks, and the cut decides
 * which hidden units a track has.  The order of the hidden units of a layer is
 * free: when rows of ffn_gate and ffn_up and columns of ffn_down move alike, the
 * serial model stays the same function.  Where the exchange after an attention
 * is left out, each track computes its units from a stream of its own, and the
 * call gives a unit to the track on which its value has the smallest error.
 * Where the exchange after a feed-forward part is left out, a track's next
 * attention lacks the units of other tracks, and the call deals them out so that
 * the heads miss little.  Units move one by one where
 * ffn_down has a type of single elements (F32, F16, BF16), and in whole blocks
 * of ffn_down's type where it is quantised, so that no weight is rounded again.
 *
 * With `type` the new file is quantised too, after its units were ordered, so
 * that units of an F16 file move one by one in a quantised file.  The report
 * is of the plan before that.
 *
 * Windows for validation decide which order a layer gets, by the KL divergence
 * from the serial model; a layer keeps its order if no other is better.
 *
 * Without `type` the file has the types, the metadata and all other tensors of
 * the model, byte for byte; a split model becomes one file without the split.*
 * keys.  It gets its name when it and the plan in `plan_path` are complete: if
 * the call fails or is canceled, both old files stay as they were.  The call
 * needs memory for another copy of the feed-forward matrices of the layers in
 * question (three where both exchanges of a layer are left out), and 8 n_ff^2
 * bytes for a layer and for each track (the latter for at most 4096 units).
 *
 * @param[out] out     the plan for the new file, with the key "baked" in its
 *                     record; it keeps the new file's model open; the caller
 *                     frees it with tlp_plan_free
 * @param[out] report  NULL is allowed; otherwise the caller sets struct_size;
 *                     also filled in with TLP_ENOGAIN
 * @param plan         plan without adjustments that leaves out at least one
 *                     exchange
 * @param path         file to write; none of the files of the plan's model
 * @param tokens       n ids of a calibration text, such as 8192 tokens
 * @param n            number of tokens, at least two windows
 * @param opts         options
 * @return TLP_OK; TLP_ENOGAIN if no other order lowers the divergence, and then
 *         no file is written; TLP_ENOTSUP for another order of layers, and for
 *         models with experts; TLP_EINVAL for an unknown type; TLP_EFORMAT for a value that
 *         the type cannot hold; TLP_EIO if a file cannot be written;
 *         TLP_ECANCELED by progress
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_bake(tlp_plan **out, tlp_plan_bake_report *report,
                                 const tlp_plan *plan, const char *path,
                                 const int32_t *tokens, size_t n,
                                 const tlp_plan_bake_options *opts)
    TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_train Training
 * The layers that a plan changes, trained to act like the serial model.
 * @par Threads
 * Any number of threads may use a plan at a time.
 * @{
 */

/** A validation in the course of tlp_plan_train. */
typedef struct tlp_train_point {
    size_t struct_size;    /**< set by the library                            */
    int64_t n_token;       /**< tokens trained on so far                      */
    int64_t step;          /**< steps so far                                  */
    int64_t n_step;        /**< steps of the whole training                   */
    double loss;           /**< mean loss of the steps since the last point;
                                NaN at the first point                        */
    double kl;             /**< mean KL divergence from the serial model on the
                                windows for validation, nats                  */
    double ppl;            /**< perplexity of these windows                   */
    double top1_agreement; /**< share of predictions with the top token of the
                                serial model, 0 to 1                          */
    double seconds;        /**< since the training began; earlier runs count  */
    double rate;           /**< learning rate of the last step                */
    int32_t resumed;       /**< 1 = an earlier run made this point, and
                                resume_path has kept it                       */
    int32_t local;         /**< 1 = `loss` is the local loss                  */
} tlp_train_point;

/**
 * Receive a validation of tlp_plan_train.
 *
 * @param point      point, borrowed for this call
 * @param user_data  pointer from the options
 */
typedef void (*tlp_train_point_fn)(const tlp_train_point *point,
                                   void *user_data);

/**
 * Options of tlp_plan_train.
 *
 * `session` describes the windows of the text, as in tlp_plan_adjust_options,
 * and the ranks: n_rank, comm, comm_handle and timeout_ms have their usual
 * meaning, except that ranks are processes.
 */
typedef struct tlp_plan_train_options {
    size_t struct_size;       /**< sizeof(tlp_plan_train_options)             */
    const tlp_session_options *session; /**< NULL = defaults                  */
    int64_t n_token;          /**< tokens to train on; the text is repeated as
                                   often as it takes; 0 = the text once       */
    int32_t n_accum;          /**< windows of a rank in a step; 0 = 1         */
    int32_t full;             /**< 1 = train all matrices of the layers that the
                                   plan changes                               */
    int32_t rank;             /**< rank of LoRA for these matrices; 0 = none  */
    int32_t norms;            /**< 1 = train weights of norms                 */
    int32_t gains;            /**< 1 = train gains of attention and
                                   feed-forward                               */
    int32_t corrections;      /**< 1 = train the low-rank corrections that the
                                   plan has                                   */
    double rate;              /**< learning rate; 0 = 1e-4, 4e-5 for a plan with
                                   gains, norms or corrections of its own,
                                   1e-3 with LoRA                             */
    double warm_up;           /**< share of the steps in which the rate rises;
                                   0 = 0.03                                   */
    double weight_decay;      /**< of matrices, for each unit of the rate     */
    double clip;              /**< largest norm of a gradient; 0 = 1          */
    double text_share;        /**< share of -log p of the text in the loss, 0 to
                                   1; the rest is the KL divergence from the
                                   serial model                               */
    double held_out;          /**< share of the windows for validation, above 0
                                   and below 1; 0 = 0.1                       */
    uint64_t seed;            /**< order of the windows, first values of LoRA */
    tlp_train_point_fn point; /**< or NULL                                    */
    void *point_data;         /**< last argument of point                     */
    tlp_progress_fn progress; /**< or NULL                                    */
    void *progress_data;      /**< last argument of progress                  */
    const char *plan_path;    /**< file for the new plan, JSON; NULL = none   */
    const char *type;         /**< type of the new file's matrices, as in
                                   tlp_model_quantize; NULL = types stay, but
                                   trained matrices of fewer than eight bits
                                   become Q8_0 (F16 if rows do not fit)       */
    double seconds;           /**< train for about this time, where n_token is
                                   0; the speed of the first steps decides how
                                   many tokens that is; 0 = no such limit     */
    uint64_t max_bytes;       /**< most memory for results that are computed
                                   again where memory ends, bytes; 0 = 1 GiB  */
    int32_t keep;             /**< 1 = when progress cancels the training or a
                                   rank fails after a state that is better than
                                   the plan, go on as if it had ended         */
    const char *resume_path;  /**< file of the training's state: the training
                                   goes on from it if it exists, and replaces
                                   it from time to time; NULL = none          */
    int64_t n_local_token;    /**< tokens of a first phase, in which every
                                   section of the plan is trained alone; at most
                                   n_token; 0 = none                          */
    int64_t n_held_out_token; /**< tokens at the beginning of `tokens` that are
                                   for validation alone, and no part of the text
                                   to train on; excludes `held_out`; 0 = a share
                                   of the windows is held out                 */
} tlp_plan_train_options;

/** Initial value of a tlp_plan_train_options: all defaults. */
#define TLP_PLAN_TRAIN_OPTIONS_INIT                                            \
    { sizeof(tlp_plan_train_options), NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,   \
      0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, NULL, 0, 0 }

/** Quality before and after tlp_plan_train, on the windows for validation. */
typedef struct tlp_plan_train_report {
    size_t struct_size;  /**< set by the caller                               */
    int32_t n_window;    /**< windows of the text                             */
    int32_t n_held_out;  /**< windows for validation                          */
    int64_t n_token;     /**< tokens that the best state was trained on       */
    int64_t n_number;    /**< numbers that were trained                       */
    double kl_before;    /**< mean KL divergence from the serial model, nats  */
    double kl_after;     /**< mean KL divergence from the serial model, nats  */
    double ppl_before;   /**< perplexity                                      */
    double ppl_after;    /**< perplexity                                      */
    double top1_before;  /**< agreement with the serial model, 0 to 1         */
    double top1_after;   /**< agreement with the serial model, 0 to 1         */
    double seconds;      /**< of the whole training; earlier runs count       */
    int32_t canceled;    /**< 1 = progress canceled it, 2 = a rank failed, and
                              `keep` kept it                                  */
} tlp_plan_train_report;

/**
 * Train the layers that a plan changes, so that the plan acts like the serial
 * model (arXiv 2502.02790, section on fine-tuning).
 *
 * The loss of a token is the KL divergence from the serial model's prediction,
 * of which the 64 likeliest tokens and the probability of all other tokens are
 * kept; `text_share` mixes in -log p of the text.  AdamW with a linear warm-up
 * and a cosine down to a tenth of the rate takes a step after every `n_accum`
 * windows.  All arithmetic is f32.  Equal arguments give equal bits for any
 * number of threads on machines with equal instruction sets.
 *
 * With `n_local_token` the training begins with a phase of local losses.  A
 * section of the plan is the stages between two exchanges behind which all
 * tracks have one stream.  Each section that the plan changes begins with the
 * serial model's stream x, and its output z is compared with the serial model's
 * stream y behind it: the loss of a token is |z - y|^2 / |y - x|^2, as a mean
 * over sections.  The phase has a rise and fall of the rate of its own, and
 * AdamW begins anew behind it.  `seconds` then limits the whole training, but
 * the phase is always complete.
 *
 * About twenty times in the course of the training, and ten times in the local
 * phase, the windows for validation are scored.  The state with the least loss
 * there is kept: the KL divergence mixed with `text_share` of -log p, also in
 * the local phase.
 *
 * With `comm` of the session options the training has one rank in each process
 * (the other processes call tlp_worker_run): every rank takes n_accum windows
 * of a step, and all ranks take the step with the sum of their gradients.  The
 * windows for validation are shared out too.  Every rank needs the memory of a
 * training alone.  A number of ranks gives its own bits.
 *
 * With `resume_path` the state of the training is written at least once a
 * minute, at the end, when progress cancels the training, and after a validation
 * if this takes little time.
 * A call with equal arguments that finds the file goes on from it to the bits
 * that a training in one piece gives; the number of threads, max_bytes, keep
 * and what is written may differ.  The time of earlier runs counts, and their
 * points are shown again first.  If the file cannot be written, the training
 * ends with an error and the file stays as it was.  The file has 16 bytes for
 * each number that is trained.  It stays when the training is complete.
 *
 * Matrices go to a new file at `path`.  LoRA is added to the matrices of that
 * file, or, where `path` is NULL, is one of the new plan's adjustments.  LoRA
 * that the plan has is trained on with `rank`, which must be its rank, and is
 * kept without.  A `type` of few bits undoes much of what training changed,
 * because the steps of its grid are larger than the changes.  The serial model
 * of that file is another model, and is worse than the plan there.  Norms,
 * gains and corrections are adjustments of the new plan (tlp_plan_save writes
 * them beside it).
 *
 * Within max_bytes a training keeps, in this order, the forward pass of each
 * stage for the backward pass, the residual stream of every window before the
 * first trained layer (4 n_embd bytes for each token of the text), and frozen
 * matrices as floats in the order of their products (8 bytes for each number).
 * The bits do not depend on it.
 *
 * Memory: four times 4 bytes for each number that is trained and 4 more for the
 * best state, max_bytes, the residual stream of a window before every stage,
 * 4 n_vocab bytes for each token of a window, and 512 bytes for each token of
 * the text.
 *
 * @param[out] out     the plan, for the new file where there is one; the caller
 *                     frees it with tlp_plan_free
 * @param[out] report  NULL is allowed; otherwise the caller sets struct_size;
 *                     also filled in with TLP_ENOGAIN
 * @param plan         plan with a group in mode lp, par or asym, or that leaves
 *                     out exchanges; its adjustments stay, or are trained
 * @param path         file to write, GGUF; none of the files of the plan's
 *                     model; required with `full`, not used without `full`
 *                     and `rank`
 * @param tokens       n ids of a text
 * @param n            number of tokens, at least two windows
 * @param opts         options
 * @return TLP_OK; TLP_ENOGAIN if no state is better than the plan; TLP_ENOTSUP
 *         for a plan in mode lp-code or merge, for models with experts, and
 *         with n_local_token for layers in another order; TLP_ERROR if a loss
 *         or a gradient is not finite; TLP_EIO if a file cannot be written;
 *         TLP_EFORMAT or TLP_EMISMATCH for the file at resume_path
 *         (TLP_EMISMATCH if it belongs to another training: the text names the
 *         first difference); TLP_ECANCELED by progress, after the state is
 *         written; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed; TLP_EMISMATCH
 *         if processes disagree; TLP_ESTATE in a process other than rank 0's
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_train(tlp_plan **out, tlp_plan_train_report *report,
                                  const tlp_plan *plan, const char *path,
                                  const int32_t *tokens, size_t n,
                                  const tlp_plan_train_options *opts)
    TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_study Study
 * The price of a change at each place of a model, and its causes.
 * @par Threads
 * Any number of threads may use a model at a time.
 * @{
 */

/** Change of a plan that tlp_model_study measures. */
enum tlp_place_kind {
    TLP_PLACE_EXCHANGE = 0, /**< the exchange after a half-layer is left out  */
    TLP_PLACE_PAIR = 1      /**< a layer and the next run as a pair in `par`  */
};

/**
 * One change at one place of the serial plan, and its price.
 *
 * For an exchange, f is the half-layer before it and g the half-layer behind it.
 * For a pair, f and g are its two layers.  x is the stream before f, and f also
 * names the vector that f adds to it, so that the serial model computes
 * g(x + f).  Sizes are Euclidean.  Each ratio is a root mean square over the
 * tokens of the text, except the first token of each window.
 */
typedef struct tlp_study_place {
    size_t struct_size;    /**< set by the library                            */
    int32_t kind;          /**< enum tlp_place_kind                           */
    int32_t layer;         /**< layer of f                                    */
    int32_t half;          /**< exchange: enum tlp_nosync, the half-layer f;
                                pair: 0                                       */
    int32_t n_track;       /**< exchange: tracks of the plan; pair: 0         */
    const tlp_plan *plan;  /**< the serial plan with this change alone;
                                borrowed for this call                        */
    double step;           /**< |f| / |x + f|                                 */
    double own;            /**< what one rank adds of f, over |f|; root mean
                                square over the tracks.  Pair: what one layer
                                adds, over what both add                      */
    double change;         /**< |g(x + f) - g(x)| / |g(x + f)|, the
                                first-order error |J_g f| up to higher orders */
    double error;          /**< |difference that the plan makes in the stream
                                behind g| / |stream behind g|                 */
    double sensitivity;    /**< KL divergence that noise on the stream behind g
                                costs, nats, over the square of |noise| /
                                |stream|.  sensitivity * error * error is an
                                estimate of kl                                */
    double kl;             /**< mean KL divergence of the plan from the serial
                                model, nats                                   */
} tlp_study_place;

/**
 * Receive one place.
 *
 * @param place      place, borrowed for this call
 * @param user_data  pointer from the options
 */
typedef void (*tlp_study_place_fn)(const tlp_study_place *place,
                                   void *user_data);

/**
 * Options of tlp_model_study.
 *
 * `session` describes the session that evaluates the windows of the text, as in
 * tlp_plan_make_options, except that no n_rank is read.
 */
typedef struct tlp_study_options {
    size_t struct_size;       /**< sizeof(tlp_study_options)                  */
    const tlp_session_options *session; /**< NULL = defaults                  */
    int32_t n_track;          /**< tracks where an exchange is left out: 2 to
                                   64, at most the query heads; 0 = 2         */
    uint64_t seed;            /**< order of the windows, and the noise        */
    uint64_t max_bytes;       /**< most memory for intermediate results that
                                   save time, bytes; 0 = 768 MiB              */
    tlp_study_place_fn place; /**< receives every place; required             */
    void *place_data;         /**< last argument of place                     */
    tlp_progress_fn progress; /**< or NULL                                    */
    void *progress_data;      /**< last argument of progress                  */
} tlp_study_options;

/** Initial value of a tlp_study_options: all defaults. */
#define TLP_STUDY_OPTIONS_INIT                                                 \
    { sizeof(tlp_study_options), NULL, 0, 0, 0, NULL, NULL, NULL, NULL }

/**
 * Measure what each exchange and each pair of neighbouring layers costs alone,
 * and the errors from which the cost comes.
 *
 * The call shows each exchange that a plan can leave out, then each pair of
 * neighbouring layers, in the order of layers.  Most of its time goes into the
 * KL divergences: about 5 evaluations of the text for each layer.  Equal
 * arguments give equal numbers on machines with equal instruction sets.
 * docs/theory.md explains the measures.
 *
 * @param model   model
 * @param tokens  n ids of a text; 2048 tokens are a good number
 * @param n       number of tokens; a last window of one token is left out
 * @param opts    options with `place`
 * @return TLP_OK; TLP_EINVAL for a model that was opened with vocab_only;
 *         TLP_ENOTSUP for olmo2 models; TLP_ECANCELED by progress, after some
 *         places were shown
 * @since 0.1
 */
TLP_API tlp_status tlp_model_study(tlp_model *model, const int32_t *tokens,
                                   size_t n, const tlp_study_options *opts)
    TLP_NODISCARD;

/**
 * Options of tlp_plan_bridge.
 *
 * `session` describes the session that evaluates the windows of both texts, as
 * in tlp_plan_adjust_options.
 */
typedef struct tlp_bridge_options {
    size_t struct_size;       /**< sizeof(tlp_bridge_options)                 */
    const tlp_session_options *session; /**< NULL = defaults                  */
    int32_t rank;             /**< largest rank of a map: a multiple of 4, at
                                   most n_embd; 0 = n_embd, rounded down to a
                                   multiple of 4                              */
    double held_out;          /**< share of the windows of the first text that
                                   choose the ridge and the rank of each map,
                                   above 0 and below 1; 0 = 0.25              */
    uint64_t seed;            /**< choice of these windows                    */
    tlp_progress_fn progress; /**< or NULL                                    */
    void *progress_data;      /**< last argument of progress                  */
} tlp_bridge_options;

/** Initial value of a tlp_bridge_options: all defaults. */
#define TLP_BRIDGE_OPTIONS_INIT                                                \
    { sizeof(tlp_bridge_options), NULL, 0, 0, 0, NULL, NULL }

/** Quality of a plan with dropped layers, before and after maps take their
    place. */
typedef struct tlp_bridge_report {
    size_t struct_size;  /**< set by the caller                               */
    int32_t n_gap;       /**< runs of dropped layers                          */
    int32_t n_map;       /**< gaps with a map; in other gaps none helped      */
    int32_t n_window;    /**< windows of the second text                      */
    double kl_before;    /**< mean KL divergence from the serial model, nats  */
    double kl_after;     /**< mean KL divergence from the serial model, nats  */
    double ppl_before;   /**< perplexity                                      */
    double ppl_after;    /**< perplexity                                      */
    double top1_before;  /**< agreement with the serial model, 0 to 1         */
    double top1_after;   /**< agreement with the serial model, 0 to 1         */
} tlp_bridge_report;

/**
 * Measure what pruning costs when a linear map takes the place of each run of
 * dropped layers: the rival of plans that keep all layers.
 *
 * The map of a gap adds W x to the stream x.  W is a ridge regression of what
 * the serial model's stream behind the gap has more than x, of full rank where
 * that helps (arXiv 2605.15491).  Maps are fitted on the first text and judged
 * on the second.  They are no part of a plan: a session runs plans without
 * them.
 *
 * @param[out] report   the caller sets struct_size
 * @param plan          plan that drops layers, without adjustments, with all
 *                      exchanges, and with layers in their order
 * @param tokens        n ids of a text to fit on, such as 32768 tokens
 * @param n             number of tokens, at least two windows
 * @param judge_tokens  n_judge ids of another text
 * @param n_judge       number of tokens, at least two windows
 * @param opts          NULL = defaults
 * @return TLP_OK; TLP_EINVAL for a plan without dropped layers; TLP_ENOTSUP for
 *         other plans that it does not know; TLP_ECANCELED by progress
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_bridge(tlp_bridge_report *report,
                                   const tlp_plan *plan, const int32_t *tokens,
                                   size_t n, const int32_t *judge_tokens,
                                   size_t n_judge,
                                   const tlp_bridge_options *opts)
    TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_predict Predictions
 * Seconds per token of a plan, predicted from measurements of another plan.
 *
 * tlp_session_measure measures the work of the ranks and the link between them.
 * tlp_plan_predict adds these times up for any plan of the model.
 * docs/design.md has the formula.
 * @par Threads
 * One thread at a time may use a session; any number of threads may use a plan.
 * @{
 */

/**
 * Measure the ranks of a session and the link between them.
 *
 * The call takes seconds.  The times are medians over steps under the plan of
 * the session; the serial plan is the best basis for predictions.  Sequence 0
 * must be empty, and is empty afterwards.  The rows of logits are lost.  The
 * counters of the session do not change.
 *
 * @param[out] out    the caller sets struct_size
 * @param[out] stage  one value per stage of the plan, or NULL: seconds of work
 *                    for one token on the slowest rank when no other stage runs
 *                    before
 * @param session     session with an empty sequence 0
 * @return TLP_OK; TLP_ESTATE if sequence 0 is not empty; TLP_ECANCELED by
 *         tlp_session_abort; TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_measure(tlp_link *out, double *stage,
                                       tlp_session *session) TLP_NODISCARD;

/**
 * Measure the link between the ranks for the message that decoding waits for.
 *
 * The message is the sum over all ranks of a token's activations, n_embd
 * floats.  The call takes about a tenth of a second, or a dozen messages on a
 * slow link; it changes neither sequences nor counters.
 * tlp_session_stats.link names what carries the messages.
 *
 * @param[out] seconds  median time of an all-reduce; 0 with one rank
 * @param session       session on CPU ranks
 * @return TLP_OK; TLP_ENOTSUP on devices; TLP_ECANCELED by tlp_session_abort;
 *         TLP_ECOMM or TLP_ETIMEDOUT if a rank failed
 * @since 0.1
 */
TLP_API tlp_status tlp_session_measure_link(double *seconds,
                                            tlp_session *session) TLP_NODISCARD;

/** Predicted time of an evaluation. */
typedef struct tlp_prediction {
    size_t struct_size;       /**< set by the caller                          */
    double seconds;           /**< time until rank 0 has the candidates for the
                                   next token                                 */
    double compute_seconds;   /**< work of all ranks, and waiting for the rank
                                   with the most work                         */
    double command_seconds;   /**< commands of rank 0, and the answers        */
    double send_seconds;      /**< one-way messages                           */
    double allreduce_seconds; /**< all-reduces, inner ones included           */
} tlp_prediction;

/**
 * Predict the time of an evaluation of n_tok tokens in one sequence.
 *
 * With another number of ranks than the link was measured with, the prediction
 * cuts the weights for that number of ranks.  A message then goes to all
 * other ranks at once over the link: one latency, and the bytes for each rank.
 *
 * @param[out] out  the caller sets struct_size
 * @param plan      plan
 * @param link      from tlp_session_measure, or numbers of the caller
 * @param n_rank    1 to 64
 * @param n_tok     tokens to evaluate, at least 1; 1 = decode one token
 * @param pos       positions that the sequence already holds
 * @return TLP_OK; TLP_EINVAL for a number out of range, or for several ranks
 *         and a link that was measured with one; TLP_EMISMATCH for a link of
 *         another model
 * @since 0.1
 */
TLP_API tlp_status tlp_plan_predict(tlp_prediction *out, const tlp_plan *plan,
                                    const tlp_link *link, int n_rank,
                                    int64_t n_tok, int64_t pos) TLP_NODISCARD;

/** @} */

#ifdef __cplusplus
}
#endif

#endif /* TLP_TUNE_H */
