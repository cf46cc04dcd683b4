/*
 * throws.cc - a C++ host whose callbacks keep their exceptions from the
 * library: they catch, ask the call to stop, and the host rethrows after the
 * call.
 *
 *     throws MODEL
 *
 * Prints "caught N" after N exceptions, when the session still works.
 */
#include <tlp.h>

#include <cstdio>
#include <exception>
#include <stdexcept>

namespace
{

struct host {
    std::exception_ptr error;
    int calls = 0;

    void work() /* the second call fails */
    {
        if (++calls == 2)
            throw std::runtime_error("host");
    }
    int keep() noexcept
    {
        try {
            work();
        } catch (...) {
            error = std::current_exception();
            return 1;
        }
        return 0;
    }
};

extern "C" int on_text(const char *, size_t, void *data)
{
    return static_cast<host *>(data)->keep();
}

extern "C" int on_progress(double, void *data)
{
    return static_cast<host *>(data)->keep();
}

int caught;

void rethrow(const host &h)
{
    try {
        if (h.error)
            std::rethrow_exception(h.error);
    } catch (const std::runtime_error &) {
        caught++;
    }
}

bool fails(const char *what)
{
    std::fprintf(stderr, "%s: %s\n", what, tlp_last_error());
    return false;
}

bool open(tlp_model **m, tlp_plan **p, tlp_session **s, const char *path)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    host h;

    if (tlp_model_open(m, path, nullptr) || tlp_plan_parse(p, *m, "serial"))
        return fails("open");
    o.n_ctx = 64;
    o.n_rank = 2;
    o.n_thread = 1;
    o.progress = on_progress;
    o.progress_data = &h;
    if (tlp_session_create(s, *p, &o) != TLP_ECANCELED)
        return fails("create, exception in progress");
    rethrow(h);
    o.progress = nullptr;
    return tlp_session_create(s, *p, &o) == TLP_OK || fails("create");
}

bool generate(tlp_session *s)
{
    static const int32_t prompt[] = { 72, 101, 108 };
    tlp_generate_options o = TLP_GENERATE_OPTIONS_INIT;
    tlp_generate_result r = {};

    r.struct_size = sizeof r;
    o.n_predict = 16;
    o.ignore_end = 1;
    for (int round = 0; round < 3; round++) {
        host h;

        o.text = on_text;
        o.text_data = &h;
        if (tlp_session_clear(s, 0) || tlp_session_prefill(s, prompt, 3) ||
            tlp_session_generate(&r, s, nullptr, &o))
            return fails("generate");
        if (r.stop_reason != TLP_STOP_CALLBACK)
            return fails("stop reason");
        rethrow(h);
    }
    return true;
}

} // namespace

int main(int argc, char **argv)
{
    tlp_model *m = nullptr;
    tlp_plan *p = nullptr;
    tlp_session *s = nullptr;
    bool ok = argc == 2 && open(&m, &p, &s, argv[1]) && generate(s);

    tlp_session_free(s);
    tlp_plan_free(p);
    tlp_model_free(m);
    if (ok)
        std::printf("caught %d\n", caught);
    return !ok;
}
