/*
 * checks.hpp - checks of a program that stands without Criterion, which does
 * not compile without exceptions.
 */
#ifndef CHECKS_HPP
#define CHECKS_HPP

#include <cstdio>
#include <cstdlib>
#include <string>

#include <tlp.hpp>

#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__)

inline void check_that(bool holds, const char *what, const char *file, int line)
{
    if (holds)
        return;
    std::fprintf(stderr, "%s:%d: %s; last error: %s\n", file, line, what,
                 tlp_last_error());
    std::exit(1);
}

/* The value of a result that must have one. */
template <typename T>
T must(tlp::result<T> r)
{
    if (!r) {
        std::fprintf(stderr, "unexpected: %s\n", r.error().what());
        std::exit(1);
    }
    return std::move(*r);
}

inline void must(const tlp::result<void> &r)
{
    check_that(static_cast<bool>(r), r ? "" : r.error().what(), __FILE__,
               __LINE__);
}

/* Whether a result has this status and a text that names `part`. */
template <typename R>
bool fails(const R &r, tlp_status status, const char *part = "")
{
    if (!r && r.error().status() == status &&
        std::string(r.error().what()).find(part) != std::string::npos)
        return true;
    std::fprintf(stderr, "%s with \"%s\" expected, found: %s: %s\n",
                 tlp_status_name(status), part,
                 tlp_status_name(r ? TLP_OK : r.error().status()),
                 r ? "success" : r.error().what());
    return false;
}

/* What the parts of the program have in common. */
struct subject {
    std::string path; /* of a small model */
    tlp::model model;
    tlp::plan plan;
    tlp::session_options options;
    tlp::ids prompt;
};

inline subject open_subject(const char *path)
{
    tlp::model m = must(tlp::model::try_open(path));
    tlp::plan p = must(tlp::plan::try_parse(m));
    tlp::session_options o;
    tlp::ids prompt = must(m.try_tokenize("once upon a time"));

    o.n_ctx = 64;
    o.n_thread = 1;
    return { path, std::move(m), std::move(p), o, std::move(prompt) };
}

inline tlp::session open_session(const subject &s)
{
    return must(tlp::session::try_create(s.plan, s.options));
}

void check_requests(const subject &s);
void check_throwing(const subject &s);
void check_tuning(const subject &s);

#endif
