/**
 * @file tlp_eval.h
 * Judge plans: compare logits, run tasks and drills, compute confidence
 * intervals.
 */
#ifndef TLP_EVAL_H
#define TLP_EVAL_H

#include "tlp.h"

/* The comments of fields and constants stand in columns. */
/* clang-format off */

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @defgroup tlp_compare Comparison
 * Differences between two plans, with confidence intervals.
 * @par Threads
 * Any thread may call these functions at any time.
 * @{
 */

/**
 * Difference between a row of logits and a reference row for the same token.
 *
 * In practice the row comes from a plan and the reference row from the serial
 * model.  The top tokens are the tokens with the highest logits; of equal
 * logits the lower id comes first.  A token with a logit of -inf never counts.
 */
typedef struct tlp_divergence {
    size_t struct_size;     /**< set by the caller                            */
    double kl;              /**< KL(reference || row), nats; infinite if the
                                 row excludes a token that the reference
                                 allows                                       */
    double reference_lse;   /**< log of the sum of exp(reference[i]), so that
                                 reference[i] - reference_lse = log p(i)      */
    double lse;             /**< log of the sum of exp(logits[i])             */
    int32_t reference_top1; /**< top token of the reference                   */
    int32_t top1;           /**< top token of the row                         */
    int32_t same_top5;      /**< 1 = both rows have equal sets of top 5
                                 tokens                                       */
} tlp_divergence;

/**
 * Compare a row of logits with a reference row.
 *
 * The error of kl is about 1e-6; equal rows give exactly 0.
 *
 * @param[out] out   the caller sets struct_size
 * @param reference  n_vocab logits
 * @param logits     n_vocab logits
 * @param n_vocab    values per row
 * @return TLP_OK; TLP_EINVAL for a row that contains NaN or +inf, or only -inf
 * @since 0.1
 */
TLP_API tlp_status tlp_logits_compare(tlp_divergence *out,
                                      const float *reference,
                                      const float *logits,
                                      size_t n_vocab) TLP_NODISCARD;

/**
 * Compute a confidence interval of a weighted mean by the bootstrap.
 *
 * The mean is (sum of all sum[i]) / (sum of all weight[i]).  The library draws
 * the units with replacement 2000 times and takes percentiles of the 2000
 * means.  A unit is a thing that was sampled independently: a window of text,
 * with the sum over its tokens and their number, or a question.  To compare two
 * plans, pass the differences of the units.
 *
 * @param[out] lo  lower bound
 * @param[out] hi  upper bound
 * @param sum      n values
 * @param weight   n values above 0; NULL = all 1
 * @param n        units, at least 2
 * @param level    above 0 and below 1; with 0.95 and many units, about 95 of
 *                 100 such intervals contain the true mean
 * @param seed     equal seeds give equal intervals
 * @return TLP_OK; TLP_EINVAL for a value out of range
 * @since 0.1
 */
TLP_API tlp_status tlp_bootstrap_mean(double *lo, double *hi, const double *sum,
                                      const double *weight, size_t n,
                                      double level,
                                      uint64_t seed) TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_task Tasks
 * Multiple-choice questions, answered by a session.
 * @par Threads
 * Any number of threads may use a task at a time; one thread at a time may use
 * the session that answers.
 * @{
 */

/** Multiple-choice questions for one model.  Immutable. */
typedef struct tlp_task tlp_task;

/** Options of tlp_task_load. */
typedef struct tlp_task_options {
    size_t struct_size;    /**< sizeof(tlp_task_options)                      */
    const char *delimiter; /**< text between query and choice; NULL = one
                                blank                                         */
    int32_t n_ctx;         /**< most tokens of an item; a longer item loses the
                                beginning of its query; 0 = n_ctx_train, but at
                                most 4096                                     */
    int32_t bos;           /**< 1 = begin every query with BOS                */
} tlp_task_options;

/** Initial value of a tlp_task_options: all defaults. */
#define TLP_TASK_OPTIONS_INIT { sizeof(tlp_task_options), NULL, 0, 0 }

/**
 * Read a task from a file.
 *
 * Each line is a JSON object with the keys "query" (a string), "choices" (2 to
 * 256 strings, none empty) and "gold" (the index of the right choice).  The
 * library ignores further keys.
 *
 * Tokens follow the rules of lm-evaluation-harness: blanks at the end of the
 * query (the white space of Python's str.rstrip, which is Unicode's and U+001C to
 * U+001F) move to the choices; the tokens of a choice are the tokens of query +
 * delimiter + choice behind the number of tokens of the query alone.  An empty
 * query becomes BOS, or EOS if the model has no BOS.
 *
 * @param[out] out  the task; the caller frees it with tlp_task_free
 * @param model     model with the vocabulary; the task keeps it alive
 * @param path      UTF-8
 * @param opts      NULL = defaults
 * @return TLP_OK; TLP_EIO; TLP_EFORMAT, with a text that names line and key
 * @since 0.1
 */
TLP_API tlp_status tlp_task_load(tlp_task **out, tlp_model *model,
                                 const char *path,
                                 const tlp_task_options *opts) TLP_NODISCARD;

/**
 * Release a task.
 *
 * @param task  NULL is allowed
 * @since 0.1
 */
TLP_API void tlp_task_free(tlp_task *task);

/** Facts about a task. */
typedef struct tlp_task_info {
    size_t struct_size; /**< set by the caller                                */
    uint64_t n_item;    /**< items                                            */
    uint64_t n_cut;     /**< items whose query lost its beginning             */
    int32_t max_token;  /**< least n_ctx of a session that answers the task   */
} tlp_task_info;

/**
 * Get facts about a task.
 *
 * @param[out] out  the caller sets struct_size
 * @param task      task
 * @return TLP_OK
 * @since 0.1
 */
TLP_API tlp_status tlp_task_get_info(tlp_task_info *out,
                                     const tlp_task *task) TLP_NODISCARD;

/** One question. */
typedef struct tlp_task_item {
    size_t struct_size;         /**< set by the caller                        */
    const char *query;          /**< borrowed from the task                   */
    const char *const *choices; /**< n_choice texts, borrowed from the task   */
    int32_t n_choice;           /**< choices                                  */
    int32_t gold;               /**< index of the right choice                */
} tlp_task_item;

/**
 * Get one item of a task.
 *
 * @param[out] out  the caller sets struct_size
 * @param task      task
 * @param index     0 to n_item - 1
 * @return TLP_OK; TLP_EINVAL past the last item
 * @since 0.1
 */
TLP_API tlp_status tlp_task_get_item(tlp_task_item *out, const tlp_task *task,
                                     size_t index) TLP_NODISCARD;

/** Answer to one question.  Of equal choices the first one counts. */
typedef struct tlp_answer {
    size_t struct_size; /**< set by the caller                                */
    int32_t best;       /**< choice with the highest log-probability, for the
                             accuracy "acc"                                   */
    int32_t best_norm;  /**< choice with the highest log-probability per
                             character, for "acc_norm"                        */
} tlp_answer;

/**
 * Answer one item of a task with a session.
 *
 * The call uses sequence 0; the former content of sequence 0 is lost.  It
 * evaluates the query once for all choices.
 *
 * @param[out] out      the caller sets struct_size
 * @param[out] logprob  n_choice sums over the tokens of each choice, nats; NULL
 *                      is allowed
 * @param task          task
 * @param index         0 to n_item - 1
 * @param session       session of the model of the task
 * @return TLP_OK; TLP_EINVAL past the last item; TLP_EFULL if the session has
 *         fewer positions than max_token of the task; TLP_EMISMATCH if the
 *         session is one of another model; the statuses of tlp_session_score
 * @since 0.1
 */
TLP_API tlp_status tlp_task_answer(tlp_answer *out, double *logprob,
                                   const tlp_task *task, size_t index,
                                   tlp_session *session) TLP_NODISCARD;

/** @} */

/**
 * @defgroup tlp_drill Drills
 * Short completions with one right answer, which the library generates.
 *
 * A few examples in the prompt show what the drill asks for.
 * @par Threads
 * Any thread may make drills; one thread at a time may use the session that
 * completes a drill.
 * @{
 */

/** Kind of a drill. */
enum tlp_drill_kind {
    TLP_DRILL_COPY_WORDS = 0,  /**< repeat four words                         */
    TLP_DRILL_COPY_DIGITS = 1, /**< repeat six digits                         */
    TLP_DRILL_ADD = 2,         /**< add two numbers of one digit              */
    TLP_DRILL_ADD_TENS = 3     /**< add two numbers of two digits             */
};

/** Number of kinds in this header. */
#define TLP_N_DRILL 4

/** One drill. */
typedef struct tlp_drill {
    size_t struct_size; /**< set by the caller                                */
    char name[24];      /**< name of the kind: "copy-words"                   */
    char prompt[424];   /**< text to complete                                 */
    char answer[64];    /**< right completion, without the blank before it    */
} tlp_drill;

/**
 * Generate a drill.
 *
 * @param[out] out  the caller sets struct_size
 * @param kind      enum tlp_drill_kind
 * @param seed      equal seeds give equal drills
 * @param index     number of the drill, from 0
 * @return TLP_OK; TLP_EINVAL for an unknown kind
 * @since 0.1
 */
TLP_API tlp_status tlp_drill_get(tlp_drill *out, int kind, uint64_t seed,
                                 uint64_t index) TLP_NODISCARD;

/**
 * Complete a drill greedily with a session.
 *
 * The call uses sequence 0; the former content of sequence 0 is lost.
 *
 * @param[out] exact  1 if the generated line is the answer, else 0; blanks
 *                    around the line do not count
 * @param drill       drill
 * @param model       model of the session
 * @param session     session
 * @return TLP_OK; TLP_EFULL if the drill does not fit into n_ctx positions;
 *         TLP_EMISMATCH if the session is one of another model; the statuses of
 *         tlp_session_generate
 * @since 0.1
 */
TLP_API tlp_status tlp_drill_run(int32_t *exact, const tlp_drill *drill,
                                 tlp_model *model,
                                 tlp_session *session) TLP_NODISCARD;

/** @} */

#ifdef __cplusplus
}
#endif

#endif /* TLP_EVAL_H */
