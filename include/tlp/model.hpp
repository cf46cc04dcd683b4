/*
 * model.hpp - models, and text to tokens and back.
 *
 * A call try_NAME returns a result; NAME throws tlp::error in its place.
 */
#ifndef TLP_MODEL_HPP
#define TLP_MODEL_HPP

#include "callback.hpp"
#include "lent.hpp"

namespace tlp
{
inline namespace TLP_FORM
{

using model_options = sized<tlp_model_options>;
using chat_options = sized<tlp_chat_options>;

/* Lengths of arrays that calls read and write. */
struct model_sizes {
    std::size_t n_vocab = 0, n_embd = 0;
};

/* A model file or folder.  Immutable; any number of threads may use it. */
class model : public handle<tlp_model, tlp_model_free>
{
  public:
    using handle::handle;

    static result<model>
    try_open(std::string_view path,
             const model_options &options = model_options(),
             const progress &on_progress = {})
    {
        detail::c_text name(path);
        detail::guarded_progress guard(on_progress);
        tlp_model_options o =
            detail::with_progress(options, guard, on_progress);

        if (!name)
            return name.refused();
        auto opened = detail::made<model, tlp_model>([&](tlp_model **out) {
            return tlp_model_open(out, name.get(), &o);
        });
        guard.rethrow();
        return opened;
    }

    result<tlp_model_info> try_info() const
    {
        sized<tlp_model_info> out;
        tlp_status status = tlp_model_get_info(&out, get());

        return detail::done<tlp_model_info>(status, out);
    }

    result<model_sizes> try_sizes() const
    {
        auto info = try_info();

        if (!info)
            return info.error();
        return model_sizes{ static_cast<std::size_t>(info->n_vocab),
                            static_cast<std::size_t>(info->n_embd) };
    }

    /* Facts about tensor `index`. */
    result<tlp_tensor_info> try_tensor(std::size_t index) const
    {
        sized<tlp_tensor_info> out;
        tlp_status status = tlp_model_get_tensor(&out, get(), index);

        return detail::done<tlp_tensor_info>(status, out);
    }

    /* SHA-256 over hyper-parameters and all tensors. */
    result<std::string> try_digest() const
    {
        return detail::copied<std::string>(
            [&](auto... buf) { return tlp_model_get_digest(buf..., get()); });
    }

    /* The name of metadata key `index`; NULL past the last one. */
    const char *metadata_key(std::size_t index) const noexcept
    {
        return tlp_model_meta_key(get(), index);
    }

    result<std::string> try_metadata(std::string_view key) const
    {
        detail::c_text name(key);

        if (!name)
            return name.refused();
        return detail::copied<std::string>([&](auto... buf) {
            return tlp_model_get_meta(buf..., get(), name.get());
        });
    }

    /* Flags: enum tlp_tokenize_flags. */
    result<ids> try_tokenize(std::string_view text, uint32_t flags = 0) const
    {
        return detail::copied<ids>([&](auto... buf) {
            return tlp_tokenize(buf..., get(), text.data(), text.size(), flags);
        });
    }

    /* The bytes of ids.  Flags: enum tlp_detokenize_flags. */
    result<std::string> try_detokenize(ids_view tokens,
                                       uint32_t flags = 0) const
    {
        return detail::copied<std::string>([&](auto... buf) {
            return tlp_detokenize(buf..., get(), tokens.data(), tokens.size(),
                                  flags);
        });
    }

    /* The bytes of one token inside a text. */
    result<std::string> try_token_bytes(int32_t token) const
    {
        return detail::copied<std::string>([&](auto... buf) {
            return tlp_token_get_piece(buf..., get(), token);
        });
    }

    bool token_is_end(int32_t token) const noexcept
    {
        return tlp_token_is_end(get(), token);
    }
    /* enum tlp_token_flags */
    uint32_t token_kind(int32_t token) const noexcept
    {
        return tlp_token_kind(get(), token);
    }

    /* Ids of a conversation in the way of the chat template. */
    result<ids>
    try_chat_tokens(const std::vector<message> &messages,
                    const chat_options &options = prompt_options()) const
    {
        detail::lent_messages lent(messages);

        if (lent.refused())
            return *lent.refused();
        return detail::copied<ids>([&](auto... buf) {
            return tlp_chat_tokenize(buf..., get(), lent.data(), lent.size(),
                                     &options);
        });
    }

    /* Text of a conversation, for people. */
    result<std::string>
    try_chat_text(const std::vector<message> &messages,
                  const chat_options &options = prompt_options()) const
    {
        detail::lent_messages lent(messages);

        if (lent.refused())
            return *lent.refused();
        return detail::copied<std::string>([&](auto... buf) {
            return tlp_chat_render(buf..., get(), lent.data(), lent.size(),
                                   &options);
        });
    }

    /* Options that end with the opening of the assistant's turn. */
    static chat_options prompt_options()
    {
        chat_options o;

        o.add_generation_prompt = 1;
        return o;
    }

#ifndef TLP_NO_EXCEPTIONS
    explicit model(std::string_view path,
                   const model_options &options = model_options(),
                   const progress &on_progress = {})
        : model(try_open(path, options, on_progress).value())
    {
    }

    tlp_model_info info() const
    {
        return try_info().value();
    }
    tlp_tensor_info tensor(std::size_t i) const
    {
        return try_tensor(i).value();
    }
    std::string digest() const
    {
        return try_digest().value();
    }
    std::string metadata(std::string_view key) const
    {
        return try_metadata(key).value();
    }
    ids tokenize(std::string_view text, uint32_t flags = 0) const
    {
        return try_tokenize(text, flags).value();
    }
    std::string detokenize(ids_view tokens, uint32_t flags = 0) const
    {
        return try_detokenize(tokens, flags).value();
    }
    std::string token_bytes(int32_t token) const
    {
        return try_token_bytes(token).value();
    }
    ids chat_tokens(const std::vector<message> &messages,
                    const chat_options &options = prompt_options()) const
    {
        return try_chat_tokens(messages, options).value();
    }
    std::string chat_text(const std::vector<message> &messages,
                          const chat_options &options = prompt_options()) const
    {
        return try_chat_text(messages, options).value();
    }
#endif
};

} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_MODEL_HPP */
