/*
 * callback.hpp - functions of the program that the library calls.  An exception
 * must not cross the library, which is C: it is kept, the library is told to
 * stop, and the call that was running throws the exception when it has ended.
 */
#ifndef TLP_CALLBACK_HPP
#define TLP_CALLBACK_HPP

#include "base.hpp"

#include <exception>
#include <functional>
#include <type_traits>

namespace tlp
{
inline namespace TLP_FORM
{

/* Receives the finished share of a long call, 0 to 1; true cancels the call,
 * which then fails with TLP_ECANCELED. */
using progress = std::function<bool(double)>;

namespace detail
{

/* Whether a function asks for the end: one that returns nothing never does. */
template <typename F, typename... A>
bool asks_end(F &function, A &&...arguments)
{
    if constexpr (std::is_void_v<std::invoke_result_t<F &, A...>>) {
        std::invoke(function, std::forward<A>(arguments)...);
        return false;
    } else {
        return static_cast<bool>(
            std::invoke(function, std::forward<A>(arguments)...));
    }
}

/* A function, and the exception that it threw. */
template <typename F>
class guarded
{
  public:
    explicit guarded(F function) : function_(std::move(function))
    {
    }

    /* Called from C: 1 ends the call. */
    template <typename... A>
    int call(A &&...arguments) noexcept
    {
#ifdef TLP_NO_EXCEPTIONS
        return asks_end(function_, std::forward<A>(arguments)...);
#else
        if (thrown_)
            return 1;
        try {
            return asks_end(function_, std::forward<A>(arguments)...);
        } catch (...) {
            thrown_ = std::current_exception();
            return 1;
        }
#endif
    }

    /* Called after the library has returned. */
    void rethrow()
    {
#ifndef TLP_NO_EXCEPTIONS
        if (thrown_)
            std::rethrow_exception(std::exchange(thrown_, nullptr));
#endif
    }

  private:
    F function_;
#ifndef TLP_NO_EXCEPTIONS
    std::exception_ptr thrown_;
#endif
};

using guarded_progress = guarded<const progress &>;

inline int on_progress(double done, void *data)
{
    return static_cast<guarded_progress *>(data)->call(done);
}

/* Options with a function for their progress, if there is one. */
template <typename C>
C with_progress(C options, guarded_progress &guard, const progress &function)
{
    if (function) {
        options.progress = on_progress;
        options.progress_data = &guard;
    }
    return options;
}

} // namespace detail
} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_CALLBACK_HPP */
