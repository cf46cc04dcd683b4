/*
 * text.hpp - streams of text, and grammars that a text must match.
 */
#ifndef TLP_TEXT_HPP
#define TLP_TEXT_HPP

#include "model.hpp"

namespace tlp
{
inline namespace TLP_FORM
{

/* Text that became certain; borrowed until the next call on its stream. */
struct piece {
    std::string_view text;
    bool stopped; /* a stop string is complete: no text will follow */
};

/* From tokens to text, one at a time: whole characters, and no stop string. */
class stream : public handle<tlp_stream, tlp_stream_free>
{
  public:
    using handle::handle;

    /* Flags: enum tlp_detokenize_flags. */
    static result<stream> try_create(const model &m,
                                     const std::vector<std::string> &stops = {},
                                     uint32_t flags = 0)
    {
        detail::lent_texts lent(stops);

        if (lent.refused())
            return *lent.refused();
        return detail::made<stream, tlp_stream>([&](tlp_stream **out) {
            return tlp_stream_create(out, m.get(), lent.data(), lent.size(),
                                     flags);
        });
    }

    result<piece> try_push(int32_t token)
    {
        const char *text = nullptr;
        std::size_t n = 0;
        int stopped = 0;
        tlp_status status = tlp_stream_push(&text, &n, &stopped, get(), token);

        return detail::done(status,
                            piece{ std::string_view(text, n), stopped != 0 });
    }

    /* The text that is still held back. */
    result<std::string_view> try_flush()
    {
        const char *text = nullptr;
        std::size_t n = 0;
        tlp_status status = tlp_stream_flush(&text, &n, get());

        return detail::done(status, std::string_view(text, n));
    }

#ifndef TLP_NO_EXCEPTIONS
    explicit stream(const model &m, const std::vector<std::string> &stops = {},
                    uint32_t flags = 0)
        : stream(try_create(m, stops, flags).value())
    {
    }
    piece push(int32_t token)
    {
        return try_push(token).value();
    }
    std::string_view flush()
    {
        return try_flush().value();
    }
#endif
};

/* What a text must match.  Immutable; any number of threads may use it. */
class grammar : public handle<tlp_grammar, tlp_grammar_free>
{
  public:
    using handle::handle;

    /* From GBNF. */
    static result<grammar> try_parse(const model &m, std::string_view text)
    {
        return detail::made<grammar, tlp_grammar>([&](tlp_grammar **out) {
            return tlp_grammar_parse(out, m.get(), text.data(), text.size());
        });
    }

    /* From a JSON schema. */
    static result<grammar> try_from_schema(const model &m,
                                           std::string_view json)
    {
        return detail::made<grammar, tlp_grammar>([&](tlp_grammar **out) {
            return tlp_grammar_from_schema(out, m.get(), json.data(),
                                           json.size());
        });
    }

    /* The grammar in GBNF. */
    result<std::string> try_text() const
    {
        return detail::copied<std::string>(
            [&](auto... buf) { return tlp_grammar_get_text(buf..., get()); });
    }

#ifndef TLP_NO_EXCEPTIONS
    grammar(const model &m, std::string_view text)
        : grammar(try_parse(m, text).value())
    {
    }
    static grammar from_schema(const model &m, std::string_view json)
    {
        return try_from_schema(m, json).value();
    }
    std::string text() const
    {
        return try_text().value();
    }
#endif
};

/* The place of one text in a grammar, for programs that choose tokens. */
class matcher : public handle<tlp_matcher, tlp_matcher_free>
{
  public:
    using handle::handle;

    static result<matcher> try_create(const grammar &g)
    {
        return detail::made<matcher, tlp_matcher>([&](tlp_matcher **out) {
            return tlp_matcher_create(out, g.get());
        });
    }

    result<void> try_accept(int32_t token)
    {
        return detail::done(tlp_matcher_accept(get(), token));
    }

    /* The tokens that may come next: bit i % 32 of word i / 32 is token i. */
    result<std::vector<uint32_t>> try_mask()
    {
        return detail::copied<std::vector<uint32_t>>(
            [&](auto... buf) { return tlp_matcher_get_mask(buf..., get()); });
    }

    /* enum tlp_place */
    int place() const noexcept
    {
        return tlp_matcher_place(get());
    }

    result<void> try_reset()
    {
        return detail::done(tlp_matcher_reset(get()));
    }

    /* Take the text of another matcher of the grammar. */
    result<void> try_copy(const matcher &from)
    {
        return detail::done(tlp_matcher_copy(get(), from.get()));
    }

#ifndef TLP_NO_EXCEPTIONS
    explicit matcher(const grammar &g) : matcher(try_create(g).value())
    {
    }
    void accept(int32_t token)
    {
        try_accept(token).value();
    }
    std::vector<uint32_t> mask()
    {
        return try_mask().value();
    }
    void reset()
    {
        try_reset().value();
    }
    void copy(const matcher &from)
    {
        try_copy(from).value();
    }
#endif
};

} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_TEXT_HPP */
