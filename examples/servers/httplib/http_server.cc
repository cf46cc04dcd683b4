// http_server.cc - answer questions over HTTP, many clients at a time, with
// cpp-httplib and an engine.
//
//     http_server model.gguf [PORT]        port 0, the default: any free one
//     curl -N --data-binary 'Why is the sky blue?' localhost:PORT/generate?n=64
//
// The text comes in chunks as it is written.  A client that goes away ends its
// request: its tlp::pending is destroyed, which cancels it.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <httplib.h>
#include <tlp.hpp>

namespace
{

int http_status(const tlp::error &e)
{
    switch (e.status()) {
    case TLP_EINVAL:
    case TLP_EFULL:
        return 400;
    case TLP_EBUSY:
    case TLP_ECLOSED:
        return 503;
    default:
        return 500;
    }
}

// httplib calls this again and again, until sink.done() or false, which closes
// the connection.  No exception may leave it.
bool stream(tlp::pending &answer, httplib::DataSink &sink)
{
    // Wake up now and then, to notice a client that went away while its
    // request waits.
    auto event = answer.try_next(200);

    if (!event || !sink.is_writable())
        return false;
    if (!*event)
        return true;
    if ((*event)->status) {
        std::fprintf(stderr, "request %llu: %s\n",
                     static_cast<unsigned long long>(answer.id()),
                     (*event)->text);
        return false; // without the last chunk: the client sees a failure
    }
    std::string_view text = event->text();

    if (!text.empty() && !sink.write(text.data(), text.size()))
        return false;
    if (answer.ended())
        sink.done();
    return true;
}

// The number of tokens, from ?n=; false for anything but a number.
bool read_length(const httplib::Request &in, int32_t *n)
{
    std::string text = in.has_param("n") ? in.get_param_value("n") : "128";
    char *end = nullptr;
    long value = std::strtol(text.c_str(), &end, 10);

    *n = static_cast<int32_t>(value);
    return end != text.c_str() && !*end && value >= 1 && value <= 1000000;
}

void generate(tlp::dispatcher &engine, const httplib::Request &in,
              httplib::Response &out)
{
    tlp::request request;

    request.conversation = { { "user", in.body } };
    if (!read_length(in, &request.n_predict)) {
        out.status = 400;
        out.set_content("n: a number from 1 to 1000000 expected\n",
                        "text/plain");
        return;
    }
    auto answer = std::make_shared<tlp::pending>(engine.submit(request));

    out.set_chunked_content_provider(
        "text/plain; charset=utf-8",
        [answer](std::size_t, httplib::DataSink &sink) {
            return stream(*answer, sink);
        });
}

void show_stats(tlp::dispatcher &engine, httplib::Response &out)
{
    tlp_engine_stats s = engine.get_engine().stats();

    out.set_content("running " + std::to_string(s.n_running) + "\nended " +
                        std::to_string(s.n_ended) + "\ncanceled " +
                        std::to_string(s.n_canceled) + "\n",
                    "text/plain");
}

// What handlers throw becomes an answer.
void refuse(httplib::Response &out, std::exception_ptr thrown)
{
    try {
        std::rethrow_exception(thrown);
    } catch (const tlp::error &e) {
        out.status = http_status(e);
        out.set_content(std::string(e.what()) + "\n", "text/plain");
    } catch (const std::exception &) {
        out.status = 500;
    }
}

int serve(tlp::dispatcher &engine, int port, const sigset_t &stop_signals)
{
    httplib::Server server;

    // A thread for each client whose text is being written.
    server.new_task_queue = [] { return new httplib::ThreadPool(32); };
    server.set_payload_max_length(1 << 20);
    server.Post("/generate",
                [&](const httplib::Request &in, httplib::Response &out) {
                    generate(engine, in, out);
                });
    server.Get("/stats", [&](const httplib::Request &, httplib::Response &out) {
        show_stats(engine, out);
    });
    server.set_exception_handler([](const httplib::Request &,
                                    httplib::Response &out,
                                    std::exception_ptr e) { refuse(out, e); });

    if (port == 0)
        port = server.bind_to_any_port("127.0.0.1");
    else if (!server.bind_to_port("127.0.0.1", port))
        port = -1;
    if (port < 0) {
        std::fprintf(stderr, "the port is in use\n");
        return 1;
    }
    std::printf("http://127.0.0.1:%d\n", port);
    std::fflush(stdout);

    // A signal ends the server: all other threads block these signals.
    std::thread waiter([&] {
        int number;

        sigwait(&stop_signals, &number);
        engine.get_engine().stop(); // ends the requests that run
        server.stop();
    });
    server.listen_after_bind();
    waiter.join();
    return 0;
}

} // namespace

int main(int argc, char **argv)
try {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s model.gguf [PORT]\n", argv[0]);
        return 2;
    }
    sigset_t stop_signals;

    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGINT);
    sigaddset(&stop_signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);

    tlp::model_options open;
    open.log = [](int level, const char *text, void *) {
        if (level == TLP_LOG_WARN)
            std::fprintf(stderr, "warning: %s\n", text);
    };
    tlp::model model(argv[1], open);
    tlp::plan plan(model, "serial");
    tlp::dispatcher engine(plan);

    return serve(engine, argc > 2 ? std::atoi(argv[2]) : 0, stop_signals);
} catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
