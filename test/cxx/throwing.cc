/*
 * throwing.cc - the forms of the C++ interface that throw, and exceptions in
 * callbacks.
 */
#include "checks.hpp"

#ifndef TLP_NO_EXCEPTIONS

namespace
{

struct own_error {
    int value;
};

/* Whether a call throws an error with this status. */
template <typename F>
bool throws(tlp_status status, F call)
{
    try {
        call();
    } catch (const tlp::error &e) {
        return e.status() == status && *e.what();
    }
    return false;
}

/* Whether a call throws what a callback threw. */
template <typename F>
bool throws_own(F call)
{
    try {
        call();
    } catch (const own_error &e) {
        return e.value == 7;
    }
    return false;
}

void check_callbacks(const subject &s)
{
    auto fail = [](double) -> bool { throw own_error{ 7 }; };
    auto stop = [](double) { return true; };
    tlp::session session(s.plan, s.options);
    tlp::sampler sampler(
        s.model, {}, [](tlp::view<float>) -> bool { throw own_error{ 7 }; });
    int calls = 0;
    auto third = [&](std::string_view) {
        if (++calls == 3)
            throw own_error{ 7 };
    };

    CHECK(throws_own([&] { tlp::model m(s.path, {}, fail); }));
    CHECK(throws_own([&] { tlp::session x(s.plan, s.options, fail); }));
    CHECK(throws(TLP_ECANCELED, [&] { tlp::model m(s.path, {}, stop); }));
    CHECK(throws(TLP_ECANCELED,
                 [&] { tlp::session x(s.plan, s.options, stop); }));
    session.prefill(s.prompt);
    CHECK(throws_own([&] { session.generate(third); }));
    CHECK(calls == 3);
    calls = 0;
    session.rewind(0);
    session.prefill(s.prompt);
    CHECK(throws_own([&] { (void)session.try_generate(third); }));
    session.rewind(0);
    session.prefill(s.prompt);
    CHECK(throws_own([&] { session.sample(sampler, 0); }));
    CHECK(throws_own([&] { session.complete({}, &sampler); }));
    CHECK(throws_own([&] { sampler.pick(session.logits(0)); }));
    /* the session goes on */
    session.rewind(0);
    session.prefill(s.prompt);
    CHECK(session.complete().n_generated > 0);
}

/* An exception in the program's own loop leaves an engine as it is. */
void check_engine(const subject &s)
{
    tlp::engine_options o;
    o.session = &s.options;
    tlp::engine engine(s.plan, o);
    tlp::request r;

    r.prompt = s.prompt;
    r.n_predict = 4;
    engine.start();
    engine.submit(r);
    CHECK(throws_own(
        [&] { engine.run([](tlp::event &) { throw own_error{ 7 }; }); }));
    engine.run([](tlp::event &e) { return e.is_end(); });
    CHECK(engine.stats().n_ended == 1);
    CHECK(throws(TLP_EINVAL, [&] { engine.submit({}); }));

    tlp::dispatcher d(s.plan, o);
    tlp::pending p = d.submit(r);
    while (tlp::event e = p.next())
        CHECK(e->status == TLP_OK);
    CHECK(p.ended());
}

} // namespace

void check_throwing(const subject &s)
{
    CHECK(throws(TLP_EIO, [] { tlp::model m("/none/x.gguf"); }));
    CHECK(throws(TLP_EFORMAT, [&] { tlp::plan p(s.model, "par"); }));
    CHECK(throws(TLP_EINVAL, [&] { s.model.tensor(1u << 30); }));

    tlp::session session(s.plan, s.options);
    CHECK(throws(TLP_ESTATE, [&] { session.complete(); }));
    CHECK(throws(TLP_EINVAL, [&] { session.decode(-1); }));
    session.decode(1);
    CHECK(session.pos() == 1);
    CHECK(s.plan.text() == "serial" && s.plan.cost().n_rank == 2);
    check_callbacks(s);
    check_engine(s);
}

#endif
