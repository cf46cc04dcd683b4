/**
 * @file tlp.hpp
 * The C interface of libtlp (tlp.h) for C++17 and later.  Header only.
 *
 *   tlp::model model("model.gguf");
 *   tlp::plan plan(model, "par:12-13,14-15");
 *   tlp::session session(plan);
 *   session.prefill(model.tokenize("Once upon a time", TLP_TOKENIZE_BOS));
 *   session.generate([](std::string_view text) { std::cout << text; });
 *
 * Objects     An owner frees its handle; it can be moved, and not copied.
 *             Owners may die in any order.  get() lends the handle to calls of
 *             the C interface.  Threads may use objects as tlp.h says.
 * Options     tlp::session_options and its like are the structs of tlp.h with
 *             the size set and every other field zero, the default.
 * Errors      A call throws tlp::error, which has the status and the library's
 *             line of text.  Every call that can fail also has a form try_NAME,
 *             which returns tlp::result<T>: a value or a tlp::error.  With
 *             TLP_NO_EXCEPTIONS defined, or compiled with -fno-exceptions, only
 *             the forms try_NAME exist; in place of a constructor stands a
 *             static function, such as tlp::model::try_open.
 * Texts       std::string_view in, std::string out.  A text that C needs with a
 *             NUL at its end must hold no other NUL: TLP_EINVAL.
 * Views       tlp::view is std::span where the compiler has it.
 * Callbacks   Any function object.  An exception does not cross the library:
 *             the call ends, and then throws the exception, also in its form
 *             try_NAME.  With TLP_NO_EXCEPTIONS callbacks must not throw, and
 *             neither must C functions that stand in options as pointers (log,
 *             the allocator, pool).
 *
 * tlp_tune.hpp and tlp_eval.hpp add what tlp_tune.h and tlp_eval.h have.
 */
#ifndef TLP_HPP
#define TLP_HPP

#include "tlp/dispatch.hpp"

#endif /* TLP_HPP */
