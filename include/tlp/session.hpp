/*
 * session.hpp - evaluation of tokens, sequences and generated text.
 */
#ifndef TLP_SESSION_HPP
#define TLP_SESSION_HPP

#include "plan.hpp"
#include "sampler.hpp"

namespace tlp
{
inline namespace TLP_FORM
{

using session_options = sized<tlp_session_options>;
using embed_options = sized<tlp_embed_options>;
using batch = sized<tlp_batch>;

struct generate_options : sized<tlp_generate_options> {
    std::vector<std::string> stops; /* in place of `stop`, if there are any */
};

/* A whole text, and why it ended: enum tlp_stop_reason. */
struct completion {
    std::string text;
    int32_t n_generated, stop_reason, last_token;
};

/* Where a row of logits stands. */
struct row_place {
    int32_t seq, pos;
};

/* KV cache, sequences and logits.  One thread at a time may use it; any thread
 * may call abort. */
class session : public handle<tlp_session, tlp_session_free>
{
  public:
    /* Takes a session that the C interface has made. */
    session(tlp_session *taken, const model_sizes &sizes) noexcept
        : handle(taken), sizes_(sizes)
    {
    }

    static result<session>
    try_create(const plan &p,
               const session_options &options = session_options(),
               const progress &on_progress = {})
    {
        detail::guarded_progress guard(on_progress);
        tlp_session_options o =
            detail::with_progress(options, guard, on_progress);
        tlp_session *raw = nullptr;
        tlp_status status = tlp_session_create(&raw, p.get(), &o);
        session made(raw, p.sizes());

        guard.rethrow();
        return detail::done(status, std::move(made));
    }

    /* Memory that a session will need on a rank; -1: on all ranks. */
    static result<tlp_need>
    try_need(const plan &p, const session_options &options = session_options(),
             int32_t rank = -1)
    {
        sized<tlp_need> out;
        tlp_status status = tlp_session_need(&out, p.get(), &options, rank);

        return detail::done<tlp_need>(status, out);
    }

    /* ---- evaluation ---- */

    /* Extend sequence 0, and keep the logits of the last token. */
    result<void> try_prefill(ids_view tokens)
    {
        return detail::done(
            tlp_session_prefill(get(), tokens.data(), tokens.size()));
    }

    /* Extend sequence 0 by one token, and keep its logits. */
    result<void> try_decode(int32_t token)
    {
        return detail::done(tlp_session_decode(get(), token));
    }

    /* Extend any sequences. */
    result<void> try_eval(const batch &b)
    {
        return detail::done(tlp_session_eval(get(), &b));
    }

    /* Extend a sequence; log-probabilities of its tokens. */
    result<std::vector<float>> try_score(ids_view tokens, int32_t seq = 0)
    {
        std::vector<float> out(tokens.size());
        tlp_status status = tlp_session_score(out.data(), get(), seq,
                                              tokens.data(), tokens.size());

        return detail::done(status, std::move(out));
    }

    /* Extend a sequence; one vector of n_embd numbers for these tokens. */
    result<std::vector<float>>
    try_embed(ids_view tokens, int32_t seq = 0,
              const embed_options &options = embed_options())
    {
        std::vector<float> out(sizes_.n_embd);
        tlp_status status = tlp_session_embed(
            out.data(), get(), seq, tokens.data(), tokens.size(), &options);

        return detail::done(status, std::move(out));
    }

    /* ---- logits ---- */

    std::size_t n_logits() const noexcept
    {
        return tlp_session_n_logits(get());
    }

    /* n_vocab logits; borrowed until the next call that evaluates. */
    result<view<const float>> try_logits(std::size_t row)
    {
        const float *out = nullptr;
        tlp_status status = tlp_session_logits(&out, get(), row);

        return detail::done(status, view<const float>(out, sizes_.n_vocab));
    }

    result<row_place> try_place(std::size_t row) const
    {
        row_place out = {};
        tlp_status status =
            tlp_session_get_place(&out.seq, &out.pos, get(), row);

        return detail::done(status, out);
    }

    /* The row that follows the last token of a sequence. */
    result<std::size_t> try_find_row(int32_t seq = 0) const
    {
        std::size_t row = 0;
        tlp_status status = tlp_session_find_row(&row, get(), seq);

        return detail::done(status, row);
    }

    /* The n_top likeliest tokens of a row, at most 256. */
    result<std::vector<tlp_logprob>> try_logprobs(std::size_t row,
                                                  std::size_t n_top)
    {
        std::vector<tlp_logprob> top(n_top <= 256 ? n_top : 0);
        tlp_status status =
            tlp_session_logprobs(top.data(), n_top, nullptr, get(), row, 0);

        while (!top.empty() && top.back().token < 0)
            top.pop_back();
        return detail::done(status, std::move(top));
    }

    /* The log-probability of one token. */
    result<float> try_logprob(std::size_t row, int32_t token)
    {
        float out = 0;
        tlp_status status =
            tlp_session_logprobs(nullptr, 0, &out, get(), row, token);

        return detail::done(status, out);
    }

    /* ---- sequences ---- */

    int32_t pos(int32_t seq = 0) const noexcept
    {
        return tlp_session_pos(get(), seq);
    }

    result<ids> try_tokens(int32_t seq = 0) const
    {
        return detail::copied<ids>([&](auto... buf) {
            return tlp_session_get_tokens(buf..., get(), seq);
        });
    }

    /* Forget all positions from `pos` on. */
    result<void> try_rewind(int32_t pos, int32_t seq = 0)
    {
        return detail::done(tlp_session_rewind(get(), seq, pos));
    }

    result<void> try_clear(int32_t seq = 0)
    {
        return detail::done(tlp_session_clear(get(), seq));
    }

    result<void> try_fork(int32_t dst, int32_t src)
    {
        return detail::done(tlp_session_fork(get(), dst, src));
    }

    /* A sequence as bytes. */
    result<std::vector<unsigned char>> try_save(int32_t seq = 0)
    {
        return detail::copied<std::vector<unsigned char>>(
            [&](auto... buf) { return tlp_session_save(buf..., get(), seq); });
    }

    /* Put a saved sequence in the place of sequence `seq`. */
    result<void> try_load(view<const unsigned char> saved, int32_t seq = 0)
    {
        return detail::done(
            tlp_session_load(get(), seq, saved.data(), saved.size()));
    }

    result<void> try_save_file(std::string_view path, int32_t seq = 0)
    {
        detail::c_text name(path);

        if (!name)
            return name.refused();
        return detail::done(tlp_session_save_file(get(), seq, name.get()));
    }

    result<void> try_load_file(std::string_view path, int32_t seq = 0)
    {
        detail::c_text name(path);

        if (!name)
            return name.refused();
        return detail::done(tlp_session_load_file(get(), seq, name.get()));
    }

    /* ---- text ---- */

    /* Choose the next token from a row. */
    result<int32_t> try_sample(sampler &s, std::size_t row)
    {
        int32_t token = -1;
        tlp_status status = tlp_session_sample(&token, get(), row, s.get());

        s.rethrow();
        return detail::done(status, token);
    }

    /* Continue a sequence, and hand out text as it becomes certain:
     * on_text(std::string_view).  If on_text returns true, the text ends.
     * Without a sampler, decoding is greedy. */
    template <typename F>
    result<tlp_generate_result>
    try_generate(F &&on_text,
                 const generate_options &options = generate_options(),
                 sampler *s = nullptr)
    {
        using guarded =
            detail::guarded<std::reference_wrapper<std::remove_reference_t<F>>>;
        detail::lent_texts stops(options.stops);
        tlp_generate_options o = options;
        sized<tlp_generate_result> out;
        guarded guard{ std::ref(on_text) };

        if (stops.refused())
            return *stops.refused();
        if (stops.size() > 0) {
            o.stop = stops.data();
            o.n_stop = stops.size();
        }
        o.text = [](const char *text, std::size_t n, void *data) {
            return static_cast<guarded *>(data)->call(
                std::string_view(text, n));
        };
        o.text_data = &guard;
        tlp_status status =
            tlp_session_generate(&out, get(), s ? s->get() : nullptr, &o);

        guard.rethrow();
        if (s)
            s->rethrow();
        return detail::done<tlp_generate_result>(status, out);
    }

    /* Continue a sequence to its end. */
    result<completion>
    try_complete(const generate_options &options = generate_options(),
                 sampler *s = nullptr)
    {
        std::string text;
        auto r =
            try_generate([&](std::string_view t) { text += t; }, options, s);

        if (!r)
            return r.error();
        return completion{ std::move(text), r->n_generated, r->stop_reason,
                           r->last_token };
    }

    /* ---- facts ---- */

    /* Stop the call that is running; any thread and any signal handler. */
    void abort() noexcept
    {
        tlp_session_abort(get());
    }

    result<void> try_set_threads(int32_t n_decode, int32_t n_prefill = 0)
    {
        return detail::done(
            tlp_session_set_threads(get(), n_decode, n_prefill));
    }

    result<tlp_session_stats> try_stats() const
    {
        sized<tlp_session_stats> out;
        tlp_status status = tlp_session_get_stats(&out, get());

        return detail::done<tlp_session_stats>(status, out);
    }

    void reset_stats() noexcept
    {
        tlp_session_reset_stats(get());
    }

#ifndef TLP_NO_EXCEPTIONS
    explicit session(const plan &p,
                     const session_options &options = session_options(),
                     const progress &on_progress = {})
        : session(try_create(p, options, on_progress).value())
    {
    }
    static tlp_need need(const plan &p,
                         const session_options &options = session_options(),
                         int32_t rank = -1)
    {
        return try_need(p, options, rank).value();
    }
    void prefill(ids_view tokens)
    {
        try_prefill(tokens).value();
    }
    void decode(int32_t token)
    {
        try_decode(token).value();
    }
    void eval(const batch &b)
    {
        try_eval(b).value();
    }
    std::vector<float> score(ids_view tokens, int32_t seq = 0)
    {
        return try_score(tokens, seq).value();
    }
    std::vector<float> embed(ids_view tokens, int32_t seq = 0,
                             const embed_options &options = embed_options())
    {
        return try_embed(tokens, seq, options).value();
    }
    view<const float> logits(std::size_t row)
    {
        return try_logits(row).value();
    }
    row_place place(std::size_t row) const
    {
        return try_place(row).value();
    }
    std::size_t find_row(int32_t seq = 0) const
    {
        return try_find_row(seq).value();
    }
    std::vector<tlp_logprob> logprobs(std::size_t row, std::size_t n_top)
    {
        return try_logprobs(row, n_top).value();
    }
    float logprob(std::size_t row, int32_t token)
    {
        return try_logprob(row, token).value();
    }
    ids tokens(int32_t seq = 0) const
    {
        return try_tokens(seq).value();
    }
    void rewind(int32_t pos, int32_t seq = 0)
    {
        try_rewind(pos, seq).value();
    }
    void clear(int32_t seq = 0)
    {
        try_clear(seq).value();
    }
    void fork(int32_t dst, int32_t src)
    {
        try_fork(dst, src).value();
    }
    std::vector<unsigned char> save(int32_t seq = 0)
    {
        return try_save(seq).value();
    }
    void load(view<const unsigned char> saved, int32_t seq = 0)
    {
        try_load(saved, seq).value();
    }
    void save_file(std::string_view path, int32_t seq = 0)
    {
        try_save_file(path, seq).value();
    }
    void load_file(std::string_view path, int32_t seq = 0)
    {
        try_load_file(path, seq).value();
    }
    int32_t sample(sampler &s, std::size_t row)
    {
        return try_sample(s, row).value();
    }
    template <typename F>
    tlp_generate_result
    generate(F &&on_text, const generate_options &options = generate_options(),
             sampler *s = nullptr)
    {
        return try_generate(on_text, options, s).value();
    }
    completion complete(const generate_options &options = generate_options(),
                        sampler *s = nullptr)
    {
        return try_complete(options, s).value();
    }
    void set_threads(int32_t n_decode, int32_t n_prefill = 0)
    {
        try_set_threads(n_decode, n_prefill).value();
    }
    tlp_session_stats stats() const
    {
        return try_stats().value();
    }
#endif

  private:
    model_sizes sizes_;
};

} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_SESSION_HPP */
