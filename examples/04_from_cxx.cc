// 04_from_cxx.cc - the C++ interface: generate text, and hand it out as it is
// written.
//
//     c++ -std=c++17 -o from_cxx 04_from_cxx.cc $(pkg-config --cflags --libs
//     tlp)
//     ./from_cxx model.gguf "Once upon a time"

#include <cstdio>

#include <tlp.hpp>

namespace
{

void generate(const char *path, const char *prompt)
{
    tlp::model_options open;
    open.log = [](int level, const char *text, void *) {
        if (level == TLP_LOG_WARN)
            std::fprintf(stderr, "warning: %s\n", text);
    };

    // Freed in any order: a session keeps its plan, a plan its model.
    tlp::model model(path, open);
    tlp::plan plan(model, "serial");
    tlp::session session(plan);
    tlp::generate_options options;

    options.n_predict = 32;
    session.prefill(model.tokenize(prompt, TLP_TOKENIZE_BOS));
    session.generate(
        [](std::string_view text) {
            std::fwrite(text.data(), 1, text.size(), stdout);
        },
        options);
    std::puts("");
}

} // namespace

int main(int argc, char **argv)
try {
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
        return 2;
    }
    generate(argv[1], argv[2]);
    return 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
