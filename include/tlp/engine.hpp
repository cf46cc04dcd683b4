/*
 * engine.hpp - requests of many clients on one session.
 */
#ifndef TLP_ENGINE_HPP
#define TLP_ENGINE_HPP

#include "session.hpp"

namespace tlp
{
inline namespace TLP_FORM
{

using engine_options = sized<tlp_engine_options>;

/* A request.  Where one of the C++ fields holds something, it stands in place
 * of the fields of the C interface. */
struct request : sized<tlp_request> {
    ids prompt;                              /* tokens */
    std::vector<message> conversation;       /* messages */
    std::vector<std::string> stop_texts;     /* stop */
    std::optional<sampler_options> sampling; /* sampler */
};

/* Something that happened to a request. */
class event : public handle<tlp_event, tlp_event_free>
{
  public:
    using handle::handle;

    const tlp_event *operator->() const noexcept
    {
        return get();
    }
    /* Text that became certain, or the text of a failure. */
    std::string_view text() const noexcept
    {
        return std::string_view(get()->text ? get()->text : "", get()->n_text);
    }
    view<const tlp_logprob> top() const noexcept
    {
        return { get()->top, static_cast<std::size_t>(get()->n_top) };
    }
    view<const float> embedding() const noexcept
    {
        return { get()->embedding,
                 static_cast<std::size_t>(get()->n_embedding) };
    }
    /* No event of the request will follow. */
    bool is_end() const noexcept
    {
        return get()->kind == TLP_EVENT_END;
    }
};

/* Any thread may submit, cancel, take events and read counters.  Nobody may be
 * in a call when the engine is destroyed: stop ends run and next elsewhere. */
class engine : public handle<tlp_engine, tlp_engine_free>
{
  public:
    using handle::handle;

    static result<engine>
    try_create(const plan &p, const engine_options &options = engine_options(),
               const progress &on_progress = {})
    {
        sized<tlp_session_options> none;
        detail::guarded_progress guard(on_progress);
        tlp_session_options session =
            detail::with_progress<tlp_session_options>(
                options.session ? *options.session : none, guard, on_progress);
        tlp_engine_options o = options;

        o.session = &session;
        auto made = detail::made<engine, tlp_engine>([&](tlp_engine **out) {
            return tlp_engine_create(out, p.get(), &o);
        });
        guard.rethrow();
        return made;
    }

    /* The number of the request. */
    result<uint64_t> try_submit(const request &r)
    {
        detail::lent_messages messages(r.conversation);
        detail::lent_texts stops(r.stop_texts);
        tlp_request c = r;
        uint64_t id = 0;

        if (messages.refused())
            return *messages.refused();
        if (stops.refused())
            return *stops.refused();
        if (!r.prompt.empty()) {
            c.tokens = r.prompt.data();
            c.n_token = r.prompt.size();
        }
        if (messages.size() > 0) {
            c.messages = messages.data();
            c.n_message = messages.size();
        }
        if (stops.size() > 0) {
            c.stop = stops.data();
            c.n_stop = stops.size();
        }
        if (r.sampling)
            c.sampler = &*r.sampling;
        tlp_status status = tlp_engine_submit(&id, get(), &c);

        return detail::done(status, id);
    }

    /* End a request; nothing happens if it has ended. */
    void cancel(uint64_t id) noexcept
    {
        tlp_engine_cancel(get(), id);
    }

    /* Take one step on this thread; the requests that are left. */
    result<int32_t> try_step()
    {
        int32_t n_left = 0;
        tlp_status status = tlp_engine_step(&n_left, get());

        return detail::done(status, n_left);
    }

    /* Let a thread of the library take the steps. */
    result<void> try_start()
    {
        return detail::done(tlp_engine_start(get()));
    }

    /* End all requests and the engine's thread. */
    void stop() noexcept
    {
        tlp_engine_stop(get());
    }

    /* The oldest event; empty if none came in time.  -1: wait without limit.
     * Fails with TLP_ECLOSED when the engine was stopped and none is left. */
    result<event> try_next(int32_t timeout_ms = -1)
    {
        return detail::made<event, tlp_event>([&](tlp_event **out) {
            return tlp_engine_next(out, get(), timeout_ms);
        });
    }

    /* Call on_event(event &) for every event, until the engine is stopped or
     * on_event returns true.  Several threads may do this at a time. */
    template <typename F>
    result<void> try_run(F &&on_event)
    {
        for (;;) {
            auto next = try_next();

            if (!next && next.error().status() == TLP_ECLOSED)
                return {};
            if (!next)
                return next.error();
            if (*next && detail::asks_end(on_event, *next))
                return {};
        }
    }

    result<tlp_engine_stats> try_stats() const
    {
        sized<tlp_engine_stats> out;
        tlp_status status = tlp_engine_get_stats(&out, get());

        return detail::done<tlp_engine_stats>(status, out);
    }

    result<tlp_session_stats> try_session_stats() const
    {
        sized<tlp_session_stats> out;
        tlp_status status = tlp_engine_get_session_stats(&out, get());

        return detail::done<tlp_session_stats>(status, out);
    }

    result<tlp_slot> try_slot(int32_t seq) const
    {
        sized<tlp_slot> out;
        tlp_status status = tlp_engine_get_slot(&out, get(), seq);

        return detail::done<tlp_slot>(status, out);
    }

#ifndef TLP_NO_EXCEPTIONS
    explicit engine(const plan &p,
                    const engine_options &options = engine_options(),
                    const progress &on_progress = {})
        : engine(try_create(p, options, on_progress).value())
    {
    }
    uint64_t submit(const request &r)
    {
        return try_submit(r).value();
    }
    int32_t step()
    {
        return try_step().value();
    }
    void start()
    {
        try_start().value();
    }
    event next(int32_t timeout_ms = -1)
    {
        return try_next(timeout_ms).value();
    }
    template <typename F>
    void run(F &&on_event)
    {
        try_run(on_event).value();
    }
    tlp_engine_stats stats() const
    {
        return try_stats().value();
    }
    tlp_session_stats session_stats() const
    {
        return try_session_stats().value();
    }
    tlp_slot slot(int32_t seq) const
    {
        return try_slot(seq).value();
    }
#endif
};

} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_ENGINE_HPP */
