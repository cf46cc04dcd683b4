/**
 * @file tlp_eval.hpp
 * What tlp_eval.h has, for C++17 and later: comparisons of logits, and tasks.
 * tlp.hpp has the conventions.
 */
#ifndef TLP_EVAL_HPP
#define TLP_EVAL_HPP

#include "tlp.hpp"
#include "tlp_eval.h"

namespace tlp
{
inline namespace TLP_FORM
{

using task_options = sized<tlp_task_options>;

/* How a row of logits differs from a reference row. */
inline result<tlp_divergence> try_compare_logits(view<const float> reference,
                                                 view<const float> logits)
{
    sized<tlp_divergence> out;

    if (reference.size() != logits.size())
        return error(TLP_EINVAL, std::to_string(logits.size()) + " logits, " +
                                     std::to_string(reference.size()) +
                                     " expected");
    tlp_status status = tlp_logits_compare(&out, reference.data(),
                                           logits.data(), logits.size());

    return detail::done<tlp_divergence>(status, out);
}

/* Multiple-choice questions.  Immutable; any number of threads may use them. */
class task : public handle<tlp_task, tlp_task_free>
{
  public:
    using handle::handle;

    static result<task> try_load(const model &m, std::string_view path,
                                 const task_options &options = {})
    {
        detail::c_text name(path);

        if (!name)
            return name.refused();
        return detail::made<task, tlp_task>([&](tlp_task **out) {
            return tlp_task_load(out, m.get(), name.get(), &options);
        });
    }

    result<tlp_task_info> try_info() const
    {
        sized<tlp_task_info> out;
        tlp_status status = tlp_task_get_info(&out, get());

        return detail::done<tlp_task_info>(status, out);
    }

    result<tlp_task_item> try_item(std::size_t index) const
    {
        sized<tlp_task_item> out;
        tlp_status status = tlp_task_get_item(&out, get(), index);

        return detail::done<tlp_task_item>(status, out);
    }

    /* Answer one question; the content of the session's sequence 0 is lost. */
    result<tlp_answer> try_answer(std::size_t index, session &s) const
    {
        sized<tlp_answer> out;
        tlp_status status =
            tlp_task_answer(&out, nullptr, get(), index, s.get());

        return detail::done<tlp_answer>(status, out);
    }

#ifndef TLP_NO_EXCEPTIONS
    task(const model &m, std::string_view path,
         const task_options &options = {})
        : task(try_load(m, path, options).value())
    {
    }
    tlp_task_info info() const
    {
        return try_info().value();
    }
    tlp_task_item item(std::size_t index) const
    {
        return try_item(index).value();
    }
    tlp_answer answer(std::size_t index, session &s) const
    {
        return try_answer(index, s).value();
    }
#endif
};

#ifndef TLP_NO_EXCEPTIONS
inline tlp_divergence compare_logits(view<const float> reference,
                                     view<const float> logits)
{
    return try_compare_logits(reference, logits).value();
}
#endif

} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_EVAL_HPP */
