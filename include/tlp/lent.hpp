/*
 * lent.hpp - texts and messages in the form of the C interface, which borrows
 * them for a call.
 */
#ifndef TLP_LENT_HPP
#define TLP_LENT_HPP

#include "base.hpp"

namespace tlp
{
inline namespace TLP_FORM
{

/* One message of a conversation. */
struct message {
    std::string role, content;
};

namespace detail
{

/* Messages as the C interface wants them. */
class lent_messages
{
  public:
    explicit lent_messages(const std::vector<message> &from)
    {
        for (const message &m : from) {
            if (!c_text(m.role) || !c_text(m.content))
                refused_ =
                    c_text(c_text(m.role) ? m.content : m.role).refused();
            lent_.push_back({ m.role.c_str(), m.content.c_str() });
        }
    }
    const std::optional<tlp::error> &refused() const noexcept
    {
        return refused_;
    }
    const tlp_chat_message *data() const noexcept
    {
        return lent_.empty() ? nullptr : lent_.data();
    }
    std::size_t size() const noexcept
    {
        return lent_.size();
    }

  private:
    std::vector<tlp_chat_message> lent_;
    std::optional<tlp::error> refused_;
};

/* Texts with a NUL each, such as stop strings. */
class lent_texts
{
  public:
    explicit lent_texts(const std::vector<std::string> &from)
    {
        for (const std::string &text : from) {
            if (!c_text(text))
                refused_ = c_text(text).refused();
            lent_.push_back(text.c_str());
        }
    }
    const std::optional<tlp::error> &refused() const noexcept
    {
        return refused_;
    }
    const char *const *data() const noexcept
    {
        return lent_.empty() ? nullptr : lent_.data();
    }
    std::size_t size() const noexcept
    {
        return lent_.size();
    }

  private:
    std::vector<const char *> lent_;
    std::optional<tlp::error> refused_;
};

} // namespace detail
} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_LENT_HPP */
