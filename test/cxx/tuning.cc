/*
 * tuning.cc - plans that the C++ interface makes and judges.
 */
#include <tlp_eval.hpp>
#include <tlp_tune.hpp>

#include "checks.hpp"

namespace
{

tlp::ids text_of(const subject &s, std::size_t n)
{
    tlp::ids text;

    while (text.size() < n)
        text.push_back(s.prompt[text.size() % s.prompt.size()] +
                       static_cast<int32_t>(text.size() % 7));
    return text;
}

} // namespace

void check_tuning(const subject &s)
{
    tlp::tune::make_options o;
    tlp::ids text = text_of(s, 64);
    int calls = 0;

    o.session = &s.options;
    o.depth = 4;
    tlp::plan made = must(tlp::tune::try_make(s.model, text, o, [&](double) {
        calls++;
        return false;
    }));
    CHECK(calls > 0 && must(made.try_cost()).effective_depth == 4);
    CHECK(fails(
        tlp::tune::try_make(s.model, text, o, [](double) { return true; }),
        TLP_ECANCELED));
    CHECK(fails(tlp::tune::try_make(s.model, {}, o), TLP_EINVAL));
    CHECK(must(must(tlp::tune::try_carry(made, s.model)).try_format(0)) ==
          must(made.try_format(0)));
    CHECK(fails(tlp::tune::try_adjust(s.plan, text), TLP_EINVAL));
    CHECK(fails(tlp::tune::try_quantize(s.model, "/none/x.gguf", "Q4_1"),
                TLP_EIO, "/none/x.gguf"));

    tlp::session serial = open_session(s);
    tlp::session other = must(tlp::session::try_create(made, s.options));
    tlp_link link = must(tlp::tune::try_measure(serial));
    CHECK(must(tlp::tune::try_predict(made, link, 1)).seconds > 0);
    must(serial.try_prefill(s.prompt));
    must(other.try_prefill(s.prompt));
    auto a = must(serial.try_logits(0)), b = must(other.try_logits(0));
    CHECK(must(tlp::try_compare_logits(a, a)).kl == 0);
    CHECK(must(tlp::try_compare_logits(a, b)).kl > 0);
    CHECK(fails(tlp::try_compare_logits(a, std::vector<float>(3)), TLP_EINVAL));
    CHECK(fails(tlp::task::try_load(s.model, "/none/t.jsonl"), TLP_EIO));
}
