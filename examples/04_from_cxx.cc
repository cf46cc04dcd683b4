// 04_from_cxx.cc - the C API from C++: handles in unique_ptr, errors as
// exceptions, text collected into a std::string.
//
//     c++ 04_from_cxx.cc $(pkg-config --cflags --libs tlp) -o from_cxx
//     ./from_cxx model.gguf "Once upon a time"

#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <tlp.h>

namespace
{

struct Deleter {
    void operator()(tlp_model *m) const
    {
        tlp_model_free(m);
    }
    void operator()(tlp_plan *p) const
    {
        tlp_plan_free(p);
    }
    void operator()(tlp_session *s) const
    {
        tlp_session_free(s);
    }
};

template <typename T>
using Handle = std::unique_ptr<T, Deleter>;

void check(tlp_status status)
{
    if (status != TLP_OK)
        throw std::runtime_error(tlp_last_error());
}

// Wraps calls that make a handle: make<tlp_model>(tlp_model_open, path, ...).
template <typename T, typename F, typename... Args>
Handle<T> make(F create, Args... args)
{
    T *raw = nullptr;

    check(create(&raw, args...));
    return Handle<T>(raw);
}

std::vector<int32_t> tokenize(const tlp_model *model, const std::string &text)
{
    std::vector<int32_t> ids(text.size() + 8);
    size_t n = 0;

    check(tlp_tokenize(ids.data(), ids.size(), &n, model, text.data(),
                       text.size(), TLP_TOKENIZE_BOS));
    ids.resize(n);
    return ids;
}

// Called from C: exceptions must not leave it.
int append(const char *text, size_t len, void *user_data) noexcept
{
    try {
        static_cast<std::string *>(user_data)->append(text, len);
        return 0;
    } catch (...) {
        return 1;
    }
}

void print_warning(int level, const char *text, void *) noexcept
{
    if (level == TLP_LOG_WARN)
        std::fprintf(stderr, "warning: %s\n", text);
}

std::string generate(const char *path, const char *prompt)
{
    // Freed in any order: a session keeps its plan, a plan its model.
    tlp_model_options open = TLP_MODEL_OPTIONS_INIT;
    open.log = print_warning;
    Handle<tlp_model> model = make<tlp_model>(tlp_model_open, path, &open);
    Handle<tlp_plan> plan =
        make<tlp_plan>(tlp_plan_parse, model.get(), "serial");
    Handle<tlp_session> session =
        make<tlp_session>(tlp_session_create, plan.get(), nullptr);
    std::vector<int32_t> ids = tokenize(model.get(), prompt);
    std::string text;
    tlp_generate_options gen = TLP_GENERATE_OPTIONS_INIT;

    gen.n_predict = 32;
    gen.text = append;
    gen.text_data = &text;
    check(tlp_session_prefill(session.get(), ids.data(), ids.size()));
    check(tlp_session_generate(nullptr, session.get(), nullptr, &gen));
    return text;
}

} // namespace

int main(int argc, char **argv)
try {
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
        return 2;
    }
    std::printf("%s\n", generate(argv[1], argv[2]).c_str());
    return 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
