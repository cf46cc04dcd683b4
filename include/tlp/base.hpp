/*
 * base.hpp - what all classes of tlp.hpp stand on: errors, results, views,
 * structs with their size, and handles that free themselves.
 */
#ifndef TLP_BASE_HPP
#define TLP_BASE_HPP

#include "../tlp.h"

#include <cassert>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>
#if __has_include(<version>)
#include <version>
#endif
#ifdef __cpp_lib_span
#include <span>
#endif

#if !defined(__cpp_exceptions) && !defined(TLP_NO_EXCEPTIONS)
#define TLP_NO_EXCEPTIONS
#endif

/* Files of one program may be compiled with and without exceptions, and as
 * C++17 and C++20.  Their classes differ, so they have names of their own. */
#if defined(TLP_NO_EXCEPTIONS) && defined(__cpp_lib_span)
#define TLP_FORM results_span
#elif defined(TLP_NO_EXCEPTIONS)
#define TLP_FORM results_view
#elif defined(__cpp_lib_span)
#define TLP_FORM throws_span
#else
#define TLP_FORM throws_view
#endif

namespace tlp
{
inline namespace TLP_FORM
{

/* A call that failed: its status, and the library's line of text. */
class error : public std::runtime_error
{
  public:
    error(tlp_status status, const std::string &text)
        : std::runtime_error(text), status_(status)
    {
    }
    tlp_status status() const noexcept
    {
        return status_;
    }

  private:
    tlp_status status_;
};

/* The last failure of the library on this thread. */
inline error last_error(tlp_status status)
{
    return error(status, tlp_last_error());
}

/* A value, or the error of the call that should have made it. */
template <typename T>
class [[nodiscard]] result
{
  public:
    result(T value) : is_(std::in_place_index<0>, std::move(value))
    {
    }
    result(tlp::error e) : is_(std::in_place_index<1>, std::move(e))
    {
    }
    explicit operator bool() const noexcept
    {
        return is_.index() == 0;
    }
    /* These four are for a result with a value. */
    T &operator*() &noexcept
    {
        return *get();
    }
    const T &operator*() const &noexcept
    {
        return *const_cast<result *>(this)->get();
    }
    T &&operator*() &&noexcept
    {
        return std::move(*get());
    }
    T *operator->() noexcept
    {
        return get();
    }
    /* For a result without a value. */
    const tlp::error &error() const noexcept
    {
        assert(!*this);
        return *std::get_if<1>(&is_);
    }
#ifndef TLP_NO_EXCEPTIONS
    /* The value; throws the error. */
    T value() &&
    {
        if (!*this)
            throw error();
        return std::move(*get());
    }
#endif

  private:
    T *get() noexcept
    {
        assert(*this);
        return std::get_if<0>(&is_);
    }
    std::variant<T, tlp::error> is_;
};

/* Success, or the error of a call without a value. */
template <>
class [[nodiscard]] result<void>
{
  public:
    result() = default;
    result(tlp::error e) : error_(std::move(e))
    {
    }
    explicit operator bool() const noexcept
    {
        return !error_;
    }
    const tlp::error &error() const noexcept
    {
        assert(error_);
        return *error_;
    }
#ifndef TLP_NO_EXCEPTIONS
    void value() const
    {
        if (error_)
            throw *error_;
    }
#endif

  private:
    std::optional<tlp::error> error_;
};

/* Elements in memory of another owner: std::span where there is one. */
#ifdef __cpp_lib_span
template <typename T>
using view = std::span<T>;
#else
template <typename T>
class view
{
  public:
    view() = default;
    view(T *data, std::size_t size) noexcept : data_(data), size_(size)
    {
    }
    template <typename C, typename = std::enable_if_t<std::is_convertible_v<
                              decltype(std::declval<C &>().data()), T *>>>
    view(C &&c) noexcept : data_(c.data()), size_(c.size())
    {
    }
    template <std::size_t N>
    view(T (&array)[N]) noexcept : data_(array), size_(N)
    {
    }
    T *data() const noexcept
    {
        return data_;
    }
    std::size_t size() const noexcept
    {
        return size_;
    }
    bool empty() const noexcept
    {
        return size_ == 0;
    }
    T &operator[](std::size_t i) const noexcept
    {
        return data_[i];
    }
    T *begin() const noexcept
    {
        return data_;
    }
    T *end() const noexcept
    {
        return data_ + size_;
    }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};
#endif

using ids = std::vector<int32_t>;
using ids_view = view<const int32_t>;

/* A struct of the C interface with its size set and zero, the default, in
 * every other field. */
template <typename C>
struct sized : C {
    sized() : C()
    {
        this->struct_size = sizeof(C);
    }
    sized(const C &from) : C(from)
    {
    }
};

/* Owner of a handle.  Moving leaves an empty owner behind, whose calls give
 * TLP_EINVAL.  Handles keep what they need alive, so owners may die in any
 * order. */
template <typename C, void (*Free)(C *)>
class handle
{
  public:
    /* Takes a handle that the C interface has made. */
    explicit handle(C *taken = nullptr) noexcept : owned_(taken)
    {
    }
    /* For calls of the C interface; borrowed. */
    C *get() const noexcept
    {
        return owned_.get();
    }
    explicit operator bool() const noexcept
    {
        return owned_ != nullptr;
    }

  private:
    struct deleter {
        void operator()(C *c) const noexcept
        {
            Free(c);
        }
    };
    std::unique_ptr<C, deleter> owned_;
};

/* ==== how calls of the C interface end =================================== */

namespace detail
{

inline result<void> done(tlp_status status)
{
    if (status)
        return last_error(status);
    return {};
}

template <typename T>
result<T> done(tlp_status status, T value)
{
    if (status)
        return last_error(status);
    return value;
}

/* The owner of a handle that call(&handle) makes. */
template <typename T, typename C, typename F>
result<T> made(F call)
{
    C *raw = nullptr;
    tlp_status status = call(&raw);

    if (status)
        return last_error(status);
    return T(raw);
}

/* What call(buffer, capacity, &length) copies out. */
template <typename T, typename F>
result<T> copied(F call)
{
    T out;
    std::size_t n = 0;
    tlp_status status;

    while ((status = call(out.empty() ? nullptr : out.data(), out.size(),
                          &n)) == TLP_EBUFS)
        out.resize(n + 1); /* a text has a NUL behind it */
    if (status)
        return last_error(status);
    out.resize(n);
    return out;
}

/* A text for a call that takes texts with a NUL: it must hold no other. */
class c_text
{
  public:
    explicit c_text(std::string_view text) : text_(text)
    {
    }
    explicit operator bool() const noexcept
    {
        return text_.find('\0') == std::string::npos;
    }
    const char *get() const noexcept
    {
        return text_.c_str();
    }
    tlp::error refused() const
    {
        return tlp::error(TLP_EINVAL, std::string(text_.c_str()) +
                                          ": a NUL inside the text, a text "
                                          "without NUL expected");
    }

  private:
    std::string text_;
};

} // namespace detail
} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_BASE_HPP */
