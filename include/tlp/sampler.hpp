/*
 * sampler.hpp - choice of the next token.
 */
#ifndef TLP_SAMPLER_HPP
#define TLP_SAMPLER_HPP

#include "text.hpp"

namespace tlp
{
inline namespace TLP_FORM
{

using sampler_options = sized<tlp_sampler_options>;

/* Changes a row of logits in place before a token is chosen; true cancels the
 * call, which then fails with TLP_ECANCELED. */
using logits_function = std::function<bool(view<float>)>;

/* Options, accepted tokens and random numbers.  One thread at a time. */
class sampler
{
  public:
    static result<sampler>
    try_create(const model &m,
               const sampler_options &options = sampler_options(),
               logits_function on_logits = {})
    {
        tlp_sampler_options o = options;
        sampler made;

        if (on_logits) {
            made.guard_ = std::make_unique<guarded>(std::move(on_logits));
            o.logits = call_logits;
            o.logits_data = made.guard_.get();
        }
        auto sizes = m.try_sizes();

        if (!sizes)
            return sizes.error();
        made.n_vocab_ = sizes->n_vocab;
        auto own = detail::made<owner, tlp_sampler>([&](tlp_sampler **out) {
            return tlp_sampler_create(out, m.get(), &o);
        });
        if (!own)
            return own.error();
        made.owned_ = std::move(*own);
        return made;
    }

    tlp_sampler *get() const noexcept
    {
        return owned_.get();
    }

    /* Add a token to the window of the penalties. */
    void accept(int32_t token) noexcept
    {
        tlp_sampler_accept(get(), token);
    }

    /* Empty the window, and restart the random numbers and the grammar. */
    void reset() noexcept
    {
        tlp_sampler_reset(get());
    }

    /* Allow some tokens alone, as in matcher::mask; empty: all. */
    result<void> try_set_mask(view<const uint32_t> bits)
    {
        return detail::done(tlp_sampler_set_mask(
            get(), bits.empty() ? nullptr : bits.data(), bits.size()));
    }

    /* The matcher of the grammar, borrowed; NULL without a grammar. */
    tlp_matcher *matcher() noexcept
    {
        return tlp_sampler_matcher(get());
    }

    /* Choose a token from n_vocab logits of the program. */
    result<int32_t> try_pick(view<const float> logits)
    {
        int32_t token = -1;

        if (logits.size() != n_vocab_)
            return error(TLP_EINVAL,
                         std::to_string(logits.size()) + " logits, " +
                             std::to_string(n_vocab_) + " expected");
        tlp_status status = tlp_sampler_pick(&token, get(), logits.data());

        rethrow();
        return detail::done(status, token);
    }

    /* Throw what the function of logits threw during the last call. */
    void rethrow()
    {
        if (guard_)
            guard_->rethrow();
    }

#ifndef TLP_NO_EXCEPTIONS
    explicit sampler(const model &m,
                     const sampler_options &options = sampler_options(),
                     logits_function on_logits = {})
        : sampler(try_create(m, options, std::move(on_logits)).value())
    {
    }
    void set_mask(view<const uint32_t> bits)
    {
        try_set_mask(bits).value();
    }
    int32_t pick(view<const float> logits)
    {
        return try_pick(logits).value();
    }
#endif

  private:
    using owner = handle<tlp_sampler, tlp_sampler_free>;
    using guarded = detail::guarded<logits_function>;

    sampler() = default;
    static int call_logits(float *logits, int32_t n, void *data)
    {
        return static_cast<guarded *>(data)->call(
            view<float>(logits, static_cast<std::size_t>(n)));
    }

    std::unique_ptr<guarded> guard_; /* lives longer than the handle */
    owner owned_;
    std::size_t n_vocab_ = 0;
};

} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_SAMPLER_HPP */
