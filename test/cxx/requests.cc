/*
 * requests.cc - engines and dispatchers of the C++ interface, on several
 * threads.
 */
#include <atomic>
#include <map>
#include <thread>

#include "checks.hpp"

namespace
{

constexpr int N_REQUEST = 12, N_CLIENT = 4;

tlp::request request_of(const subject &s, int i)
{
    tlp::request r;

    r.prompt = s.prompt;
    r.prompt.push_back(static_cast<int32_t>('a' + i));
    r.n_predict = 6 + i % 3;
    r.ignore_end = 1;
    return r;
}

/* The text that a session gives for a request. */
std::string alone(const subject &s, int i)
{
    tlp::session session = open_session(s);
    tlp::request r = request_of(s, i);
    tlp::generate_options o;

    o.n_predict = r.n_predict;
    o.ignore_end = 1;
    must(session.try_prefill(r.prompt));
    return must(session.try_complete(o)).text;
}

tlp::engine_options options_of(const subject &s)
{
    tlp::engine_options o;

    o.session = &s.options;
    return o;
}

struct answers {
    std::mutex lock;
    std::map<uint64_t, std::string> texts;
    std::map<uint64_t, int> ends;
};

/* Events of one engine, taken by two threads. */
void check_two_threads(const subject &s)
{
    tlp::engine engine = must(tlp::engine::try_create(s.plan, options_of(s)));
    std::vector<uint64_t> numbers;
    std::atomic<int> n_end{ 0 };
    answers a;
    auto take = [&](const tlp::event &e) {
        std::lock_guard<std::mutex> hold(a.lock);

        if (e->kind == TLP_EVENT_TOKEN || e->kind == TLP_EVENT_STOP)
            a.texts[e->request] += e.text();
        a.ends[e->request] += e.is_end();
        if (e.is_end() && ++n_end == N_REQUEST)
            engine.stop();
    };

    must(engine.try_start());
    CHECK(fails(engine.try_start(), TLP_ESTATE));
    std::thread first([&] { must(engine.try_run(take)); });
    std::thread second([&] { must(engine.try_run(take)); });
    for (int i = 0; i < N_REQUEST; i++)
        numbers.push_back(must(engine.try_submit(request_of(s, i))));
    first.join();
    second.join();
    for (int i = 0; i < N_REQUEST; i++) {
        uint64_t id = numbers[static_cast<std::size_t>(i)];

        /* two threads may hand on the pieces of a text in any order */
        CHECK(a.texts[id].size() == alone(s, i).size());
        CHECK(a.ends[id] == 1);
    }
    CHECK(fails(engine.try_submit(request_of(s, 0)), TLP_ECLOSED));
    CHECK(fails(engine.try_next(), TLP_ECLOSED));
}

/* The program takes the steps itself. */
void check_steps(const subject &s)
{
    tlp::engine engine = must(tlp::engine::try_create(s.plan, options_of(s)));
    tlp::request r = request_of(s, 0), bad;
    std::string text;

    r.stop_texts = { "never to come" };
    r.sampling = tlp::sampler_options();
    must(engine.try_submit(r));
    while (must(engine.try_step()) > 0)
        ;
    must(engine.try_run([&](const tlp::event &e) {
        text += e.text();
        return e.is_end();
    }));
    CHECK(text == alone(s, 0));
    CHECK(!must(engine.try_next(0)));

    CHECK(fails(engine.try_submit(bad), TLP_EINVAL));
    bad = r;
    bad.stop_texts = { std::string("a\0b", 3) };
    CHECK(fails(engine.try_submit(bad), TLP_EINVAL, "NUL"));
    bad = r;
    bad.prompt.assign(65, 1);
    CHECK(fails(engine.try_submit(bad), TLP_EFULL));
    CHECK(must(engine.try_slot(0)).request == 0);
    CHECK(must(engine.try_session_stats()).n_rank == 1);
}

std::string collect(tlp::pending p)
{
    std::string text;

    while (!p.ended()) {
        tlp::event e = must(p.try_next());

        text += e.text();
    }
    CHECK(!must(p.try_next(0)));
    return text;
}

/* Each thread takes the events of its own requests. */
void check_dispatcher(const subject &s)
{
    tlp::dispatcher d =
        must(tlp::dispatcher::try_create(s.plan, options_of(s)));
    std::vector<std::thread> clients;
    std::vector<std::string> texts(N_REQUEST);

    for (int c = 0; c < N_CLIENT; c++)
        clients.emplace_back([&, c] {
            for (int i = c; i < N_REQUEST; i += N_CLIENT)
                texts[static_cast<std::size_t>(i)] =
                    collect(must(d.try_submit(request_of(s, i))));
        });
    for (std::thread &t : clients)
        t.join();
    for (int i = 0; i < N_REQUEST; i++)
        CHECK(texts[static_cast<std::size_t>(i)] == alone(s, i));
    CHECK(fails(d.try_submit({}), TLP_EINVAL));
}

/* A request that nobody wants any more ends. */
void check_cancel(const subject &s)
{
    tlp::session_options o = s.options;
    tlp::engine_options eo;

    o.n_ctx = 4096;
    eo.session = &o;
    tlp::dispatcher d = must(tlp::dispatcher::try_create(s.plan, eo));
    tlp::request r = request_of(s, 0);

    r.n_predict = 0;
    {
        tlp::pending p = must(d.try_submit(r));
        tlp::pending q = must(d.try_submit(r));

        CHECK(must(p.try_next())->kind == TLP_EVENT_PROMPT);
        q = std::move(p); /* cancels the request that q had */
    }
    while (must(d.get_engine().try_stats()).n_ended < 2)
        std::this_thread::yield();
    CHECK(must(d.get_engine().try_stats()).n_canceled == 2);

    auto left = std::make_unique<tlp::pending>(must(d.try_submit(r)));
    {
        tlp::dispatcher gone = std::move(d);
    }
    tlp::result<tlp::event> e = left->try_next();
    while (e && *e && !left->ended())
        e = left->try_next();
    CHECK(left->ended());
    left.reset();
}

} // namespace

void check_requests(const subject &s)
{
    check_steps(s);
    check_two_threads(s);
    check_dispatcher(s);
    check_cancel(s);
}
