/**
 * @file tlp_tune.hpp
 * What tlp_tune.h has, for C++17 and later: plans made, adjusted, baked and
 * trained, and predictions of their speed.  tlp.hpp has the conventions.
 *
 * The reports of calls that fail with TLP_ENOGAIN are lost; a program that
 * needs them calls the C interface.
 */
#ifndef TLP_TUNE_HPP
#define TLP_TUNE_HPP

#include "tlp.hpp"
#include "tlp_tune.h"

namespace tlp
{
inline namespace TLP_FORM
{
namespace tune
{

using make_options = sized<tlp_plan_make_options>;
using adjust_options = sized<tlp_plan_adjust_options>;
using bake_options = sized<tlp_plan_bake_options>;
using train_options = sized<tlp_plan_train_options>;
using quantize_options = sized<tlp_quantize_options>;

/* A plan, and the figures of the call that made it. */
template <typename Report>
struct tuned {
    tlp::plan plan;
    Report report;
};

namespace detail
{

using namespace tlp::detail;

/* The plan and the report that call(&plan, &report, &options) gives. */
template <typename Report, typename Options, typename F>
result<tuned<Report>> fitted(const plan &of, const Options &options,
                             const progress &on_progress, F call)
{
    guarded_progress guard(on_progress);
    auto o = with_progress(options, guard, on_progress);
    sized<Report> report;
    tlp_plan *raw = nullptr;
    tlp_status status = call(&raw, &report, &o);
    plan made(raw, of.sizes());

    guard.rethrow();
    if (status)
        return last_error(status);
    return tuned<Report>{ std::move(made), report };
}

} // namespace detail

/* Search for a plan on a text. */
inline result<plan> try_make(const model &m, ids_view tokens,
                             const make_options &options,
                             const progress &on_progress = {})
{
    detail::guarded_progress guard(on_progress);
    make_options o = detail::with_progress(options, guard, on_progress);
    auto made = plan::made(m, [&](tlp_plan **out) {
        return tlp_plan_make(out, m.get(), tokens.data(), tokens.size(), &o);
    });

    guard.rethrow();
    return made;
}

/* Fit adjustments that bring a plan closer to the serial model. */
inline result<tuned<tlp_plan_adjust_report>>
try_adjust(const plan &p, ids_view tokens, const adjust_options &options = {},
           const progress &on_progress = {})
{
    return detail::fitted<tlp_plan_adjust_report>(
        p, options, on_progress, [&](auto *out, auto *report, auto *o) {
            return tlp_plan_adjust(out, report, p.get(), tokens.data(),
                                   tokens.size(), o);
        });
}

/* Write a file whose hidden units are in an order that suits a plan. */
inline result<tuned<tlp_plan_bake_report>>
try_bake(const plan &p, std::string_view path, ids_view tokens,
         const bake_options &options = {}, const progress &on_progress = {})
{
    detail::c_text name(path);

    if (!name)
        return name.refused();
    return detail::fitted<tlp_plan_bake_report>(
        p, options, on_progress, [&](auto *out, auto *report, auto *o) {
            return tlp_plan_bake(out, report, p.get(), name.get(),
                                 tokens.data(), tokens.size(), o);
        });
}

/* Train what a plan changes.  path: file to write; empty where the options
 * write none. */
inline result<tuned<tlp_plan_train_report>>
try_train(const plan &p, std::string_view path, ids_view tokens,
          const train_options &options = {}, const progress &on_progress = {})
{
    detail::c_text name(path);

    if (!name)
        return name.refused();
    return detail::fitted<tlp_plan_train_report>(
        p, options, on_progress, [&](auto *out, auto *report, auto *o) {
            return tlp_plan_train(out, report, p.get(),
                                  path.empty() ? nullptr : name.get(),
                                  tokens.data(), tokens.size(), o);
        });
}

/* An equal plan for another file of the model. */
inline result<plan> try_carry(const plan &p, const model &m)
{
    return plan::made(m, [&](tlp_plan **out) {
        return tlp_plan_carry(out, p.get(), m.get());
    });
}

/* Write a model with another tensor type. */
inline result<tlp_quantize_result>
try_quantize(const model &m, std::string_view path, std::string_view type,
             const quantize_options &options = {},
             const progress &on_progress = {})
{
    detail::c_text name(path), kind(type);
    detail::guarded_progress guard(on_progress);
    auto o = detail::with_progress(options, guard, on_progress);
    sized<tlp_quantize_result> out;

    if (!name || !kind)
        return name ? kind.refused() : name.refused();
    tlp_status status =
        tlp_model_quantize(&out, m.get(), name.get(), kind.get(), &o);

    guard.rethrow();
    return detail::done<tlp_quantize_result>(status, out);
}

/* Measure the ranks of a session and the link between them. */
inline result<tlp_link> try_measure(session &s)
{
    sized<tlp_link> out;
    tlp_status status = tlp_session_measure(&out, nullptr, s.get());

    return detail::done<tlp_link>(status, out);
}

/* Predict the time of n_tok tokens behind pos positions. */
inline result<tlp_prediction> try_predict(const plan &p, const tlp_link &link,
                                          int n_rank, int64_t n_tok = 1,
                                          int64_t pos = 0)
{
    sized<tlp_prediction> out;
    tlp_status status =
        tlp_plan_predict(&out, p.get(), &link, n_rank, n_tok, pos);

    return detail::done<tlp_prediction>(status, out);
}

#ifndef TLP_NO_EXCEPTIONS
inline plan make(const model &m, ids_view tokens, const make_options &options,
                 const progress &on_progress = {})
{
    return try_make(m, tokens, options, on_progress).value();
}
inline tuned<tlp_plan_adjust_report> adjust(const plan &p, ids_view tokens,
                                            const adjust_options &options = {},
                                            const progress &on_progress = {})
{
    return try_adjust(p, tokens, options, on_progress).value();
}
inline tuned<tlp_plan_bake_report> bake(const plan &p, std::string_view path,
                                        ids_view tokens,
                                        const bake_options &options = {},
                                        const progress &on_progress = {})
{
    return try_bake(p, path, tokens, options, on_progress).value();
}
inline tuned<tlp_plan_train_report> train(const plan &p, std::string_view path,
                                          ids_view tokens,
                                          const train_options &options = {},
                                          const progress &on_progress = {})
{
    return try_train(p, path, tokens, options, on_progress).value();
}
inline plan carry(const plan &p, const model &m)
{
    return try_carry(p, m).value();
}
inline tlp_quantize_result quantize(const model &m, std::string_view path,
                                    std::string_view type,
                                    const quantize_options &options = {},
                                    const progress &on_progress = {})
{
    return try_quantize(m, path, type, options, on_progress).value();
}
inline tlp_link measure(session &s)
{
    return try_measure(s).value();
}
inline tlp_prediction predict(const plan &p, const tlp_link &link, int n_rank,
                              int64_t n_tok = 1, int64_t pos = 0)
{
    return try_predict(p, link, n_rank, n_tok, pos).value();
}
#endif

} // namespace tune
} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_TUNE_HPP */
