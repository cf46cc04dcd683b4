/*
 * interface.cc - the C++ interface (tlp.hpp) on a small model, with exceptions
 * or without: results equal those of the C interface, hostile input is refused,
 * owners move and free.
 *
 *     interface MODEL
 */
#include <type_traits>

#include "checks.hpp"

namespace
{

template <typename T>
constexpr bool owns =
    std::is_nothrow_move_constructible_v<T> &&
    !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;

static_assert(owns<tlp::model> && owns<tlp::plan> && owns<tlp::adapter>);
static_assert(owns<tlp::session> && owns<tlp::sampler>);
static_assert(owns<tlp::engine> && owns<tlp::event> && owns<tlp::pending>);
static_assert(owns<tlp::stream> && owns<tlp::grammar> && owns<tlp::matcher>);
#ifdef __cpp_lib_span
static_assert(std::is_same_v<tlp::view<float>, std::span<float>>);
#endif

int append(const char *text, size_t n, void *data)
{
    static_cast<std::string *>(data)->append(text, n);
    return 0;
}

/* The text that the C interface gives. */
std::string by_c(const subject &s, int32_t n_predict)
{
    tlp_session *session = nullptr;
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
    std::string text;

    o.n_predict = n_predict;
    o.text = append;
    o.text_data = &text;
    CHECK(!tlp_session_create(&session, s.plan.get(), &s.options));
    CHECK(!tlp_session_prefill(session, s.prompt.data(), s.prompt.size()));
    CHECK(!tlp_session_generate(nullptr, session, nullptr, &o));
    tlp_session_free(session);
    return text;
}

void check_text(const subject &s)
{
    tlp::session session = open_session(s);
    tlp::generate_options o;
    std::string streamed;
    tlp::stream stream = must(tlp::stream::try_create(s.model));

    CHECK(must(s.model.try_detokenize(s.prompt)) == "once upon a time");
    CHECK(must(s.model.try_tokenize("")).empty());
    CHECK(must(s.model.try_detokenize({})).empty());
    o.n_predict = 20;
    must(session.try_prefill(s.prompt));
    tlp::completion whole = must(session.try_complete(o));
    CHECK(whole.text == by_c(s, 20));
    CHECK(whole.n_generated > 0 && whole.stop_reason != 0);

    tlp::ids held = must(session.try_tokens());
    CHECK(held.size() == static_cast<std::size_t>(session.pos()));
    for (std::size_t i = s.prompt.size(); i < held.size(); i++)
        streamed += must(stream.try_push(held[i])).text;
    CHECK(whole.text.compare(0, streamed.size(), streamed) == 0);

    /* a function that returns true ends the text */
    int calls = 0;
    must(session.try_rewind(0));
    must(session.try_prefill(s.prompt));
    auto r = must(session.try_generate(
        [&](std::string_view) { return ++calls == 2; }, o));
    CHECK(calls == 2 && r.stop_reason == TLP_STOP_CALLBACK);
}

void check_numbers(const subject &s)
{
    tlp::session session = open_session(s);
    auto info = must(s.model.try_info());
    auto n_vocab = static_cast<std::size_t>(info.n_vocab);

    must(session.try_prefill(s.prompt));
    tlp::view<const float> row = must(session.try_logits(0));
    const float *raw = nullptr;
    CHECK(row.size() == n_vocab && !row.empty());
    CHECK(!tlp_session_logits(&raw, session.get(), 0) && raw == row.data());

    auto top = must(session.try_logprobs(0, 3));
    CHECK(top.size() == 3 && top[0].logprob >= top[1].logprob);
    CHECK(must(session.try_logprob(0, top[0].token)) == top[0].logprob);
    CHECK(fails(session.try_logprobs(0, SIZE_MAX), TLP_EINVAL));

    tlp::sampler greedy = must(tlp::sampler::try_create(s.model));
    CHECK(must(session.try_sample(greedy, 0)) == top[0].token);
    CHECK(must(greedy.try_pick(row)) == top[0].token);
    CHECK(must(session.try_find_row()) == 0);
    CHECK(must(session.try_place(0)).pos == session.pos() - 1);

    must(session.try_clear());
    CHECK(must(session.try_score(s.prompt)).size() == s.prompt.size());
    must(session.try_clear());
    CHECK(must(session.try_embed(s.prompt)).size() ==
          static_cast<std::size_t>(info.n_embd));
    CHECK(must(session.try_stats()).n_rank == 1);
    CHECK(must(tlp::session::try_need(s.plan, s.options)).weight_bytes > 0);
}

void check_sequences(const subject &s)
{
    tlp::session_options o = s.options;
    o.n_seq = 2;
    tlp::session session = must(tlp::session::try_create(s.plan, o));

    must(session.try_prefill(s.prompt));
    std::vector<unsigned char> saved = must(session.try_save());
    must(session.try_load(saved, 1));
    CHECK(must(session.try_tokens(1)) == s.prompt);
    saved[saved.size() / 2] ^= 1;
    CHECK(fails(session.try_load(saved, 1), TLP_EFORMAT));
    CHECK(fails(session.try_load({}, 1), TLP_EINVAL));
    must(session.try_fork(1, 0));
    must(session.try_rewind(2, 1));
    CHECK(session.pos(1) == 2 && session.pos(0) > 2 && session.pos(9) == -1);
}

void check_hostile(const subject &s)
{
    using namespace std::string_view_literals;
    tlp::session session = open_session(s);
    tlp::generate_options stops;
    std::vector<float> few(3);
    const int32_t outside[] = { 1 << 30 };

    CHECK(fails(tlp::model::try_open("/none/x.gguf"), TLP_EIO, "/none/x"));
    CHECK(fails(tlp::model::try_open("a\0b"sv), TLP_EINVAL, "NUL"));
    CHECK(fails(tlp::plan::try_parse(s.model, "par:1-2\0x"sv), TLP_EINVAL));
    CHECK(fails(tlp::plan::try_parse(s.model, "par:1-"), TLP_EFORMAT));
    CHECK(fails(tlp::plan::try_parse(s.model, "par:1-99"), TLP_EINVAL,
                "layer 5"));
    CHECK(fails(tlp::plan::try_load(s.model, "/none/p.json"), TLP_EIO));
    CHECK(fails(tlp::adapter::try_open(s.model, ""), TLP_EIO));
    CHECK(fails(s.model.try_metadata("none"), TLP_EINVAL, "none"));
    CHECK(fails(s.model.try_detokenize(outside), TLP_EINVAL));
    CHECK(fails(s.model.try_token_bytes(-1), TLP_EINVAL));
    CHECK(fails(s.model.try_chat_tokens({ { "user", std::string("a\0b", 3) } }),
                TLP_EINVAL));
    CHECK(fails(s.model.try_tensor(1u << 30), TLP_EINVAL));
    CHECK(fails(session.try_prefill(outside), TLP_EINVAL));
    CHECK(fails(session.try_prefill({}), TLP_EINVAL));
    CHECK(fails(session.try_prefill(tlp::ids(65)), TLP_EFULL));
    CHECK(fails(session.try_logits(0), TLP_ESTATE));
    CHECK(fails(session.try_complete(), TLP_ESTATE));
    stops.stops = { std::string("a\0b", 3) };
    CHECK(fails(session.try_complete(stops), TLP_EINVAL, "NUL"));
    CHECK(fails(tlp::grammar::try_parse(s.model, "root = x"), TLP_EFORMAT));
    CHECK(fails(tlp::grammar::try_from_schema(s.model, "{"), TLP_EFORMAT));

    tlp::sampler greedy = must(tlp::sampler::try_create(s.model));
    CHECK(fails(greedy.try_pick(few), TLP_EINVAL, "3 logits"));
    CHECK(fails(greedy.try_set_mask(std::vector<uint32_t>(1)), TLP_EINVAL));
    session.abort();
    CHECK(fails(session.try_prefill(s.prompt), TLP_ECANCELED));
    must(session.try_prefill(s.prompt));
}

/* Calls of owners that own nothing. */
void check_moved(const subject &s)
{
    tlp::session a = open_session(s), b = open_session(s);

    must(a.try_prefill(s.prompt));
    b = std::move(a); /* frees what b had */
    CHECK(!a && b && b.pos() == static_cast<int32_t>(s.prompt.size()));
    CHECK(fails(a.try_prefill(s.prompt), TLP_EINVAL));
    CHECK(fails(a.try_complete(), TLP_EINVAL));
    CHECK(fails(a.try_tokens(), TLP_EINVAL));
    CHECK(fails(a.try_save(), TLP_EINVAL));
    CHECK(fails(a.try_stats(), TLP_EINVAL));
    CHECK(a.pos() == -1 && a.n_logits() == 0);
    a.abort();
    a.reset_stats();
    a = open_session(s);
    must(a.try_prefill(s.prompt));

    tlp::model m = must(tlp::model::try_open(s.path)), n = std::move(m);
    CHECK(fails(m.try_info(), TLP_EINVAL));
    CHECK(fails(m.try_tokenize("x"), TLP_EINVAL));
    CHECK(fails(m.try_metadata("x"), TLP_EINVAL));
    CHECK(fails(tlp::plan::try_parse(m), TLP_EINVAL));
    CHECK(fails(tlp::sampler::try_create(m), TLP_EINVAL));
    CHECK(fails(tlp::stream::try_create(m), TLP_EINVAL));
    CHECK(!m.metadata_key(0) && !m.token_is_end(0) && m.token_kind(0) == 0);

    tlp::engine none;
    CHECK(fails(none.try_submit({}), TLP_EINVAL));
    CHECK(fails(none.try_next(0), TLP_EINVAL));
    CHECK(fails(none.try_step(), TLP_EINVAL));
    CHECK(fails(none.try_stats(), TLP_EINVAL));
    none.cancel(1);
    none.stop();
}

/* What was made from an owner lives on without it. */
void check_lifetime(const subject &s)
{
    auto m = std::make_unique<tlp::model>(must(tlp::model::try_open(s.path)));
    auto p = std::make_unique<tlp::plan>(must(tlp::plan::try_parse(*m)));
    auto g = std::make_unique<tlp::grammar>(
        must(tlp::grammar::try_parse(*m, "root ::= \"on\" [a-z]+")));
    tlp::sampler_options o;
    int calls = 0;

    o.grammar = g->get();
    tlp::sampler first = must(tlp::sampler::try_create(
        *m, o, [&calls, big = std::string(100, 'x')](tlp::view<float> row) {
            calls++;
            return row.empty() || big.empty();
        }));
    tlp::session session = must(tlp::session::try_create(*p, s.options));
    tlp::generate_options some;

    some.n_predict = 5;
    g.reset();
    p.reset();
    m.reset();
    tlp::sampler moved = std::move(first);
    must(session.try_prefill(s.prompt));
    CHECK(must(session.try_complete(some, &moved)).text.substr(0, 2) == "on");
    CHECK(calls > 0);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    subject s = open_subject(argv[1]);

    check_text(s);
    check_numbers(s);
    check_sequences(s);
    check_hostile(s);
    check_moved(s);
    check_lifetime(s);
    check_requests(s);
    check_tuning(s);
#ifndef TLP_NO_EXCEPTIONS
    check_throwing(s);
#endif
    std::puts("ok");
    return 0;
}
