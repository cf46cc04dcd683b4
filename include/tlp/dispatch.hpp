/*
 * dispatch.hpp - an engine whose events go to the threads that wait for them:
 * what a server with a thread for each client needs.
 */
#ifndef TLP_DISPATCH_HPP
#define TLP_DISPATCH_HPP

#include "engine.hpp"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace tlp
{
inline namespace TLP_FORM
{

namespace detail
{

/* The events of one request that nobody has taken. */
struct event_line {
    std::deque<event> events;
    std::condition_variable arrived;
    bool abandoned = false; /* nobody waits any more */
};

/* What the thread that takes events shares with all who wait for them. */
class exchange
{
  public:
    explicit exchange(tlp::engine e) : engine(std::move(e))
    {
    }

    /* A request's line stays until the event of its end, so that no other
     * request gets its address. */
    result<uint64_t> submit(request r, const std::shared_ptr<event_line> &line)
    {
        r.user = line.get();
        {
            std::lock_guard<std::mutex> hold(lock_);

            if (ended_)
                return *ended_;
            lines_.emplace(line.get(), line);
        }
        auto id = engine.try_submit(r);

        if (!id)
            forget(line.get());
        return id;
    }

    /* The next event; empty if none came in time. */
    result<event> next(event_line &line, int32_t timeout_ms)
    {
        std::unique_lock<std::mutex> hold(lock_);
        auto there = [&] { return !line.events.empty() || ended_; };

        if (timeout_ms < 0)
            line.arrived.wait(hold, there);
        else
            line.arrived.wait_for(hold, std::chrono::milliseconds(timeout_ms),
                                  there);
        if (line.events.empty() && ended_)
            return *ended_;
        if (line.events.empty())
            return event();
        event first = std::move(line.events.front());

        line.events.pop_front();
        return first;
    }

    void abandon(event_line &line)
    {
        std::lock_guard<std::mutex> hold(lock_);

        line.abandoned = true;
        line.events.clear();
    }

    /* Hand out events until the engine is stopped or fails. */
    void hand_out()
    {
        auto end = engine.try_run([&](event &e) { put(e); });
        std::lock_guard<std::mutex> hold(lock_);

        ended_ =
            end ? error(TLP_ECLOSED, "the engine was stopped") : end.error();
        for (auto &left : lines_)
            left.second->arrived.notify_all();
        lines_.clear();
    }

    tlp::engine engine;

  private:
    void put(event &e)
    {
        std::lock_guard<std::mutex> hold(lock_);
        auto found = lines_.find(e->user);
        bool last = e.is_end();

        if (found == lines_.end())
            return;
        if (!found->second->abandoned) {
            found->second->events.push_back(std::move(e));
            found->second->arrived.notify_all();
        }
        if (last)
            lines_.erase(found);
    }

    void forget(event_line *line)
    {
        std::lock_guard<std::mutex> hold(lock_);

        lines_.erase(line);
    }

    std::mutex lock_; /* of all below, and of the lines */
    std::unordered_map<void *, std::shared_ptr<event_line>> lines_;
    std::optional<tlp::error> ended_; /* no event will come */
};

} // namespace detail

/* A request that was submitted.  One thread at a time takes its events.  Its
 * destruction cancels the request. */
class pending
{
  public:
    pending(std::shared_ptr<detail::exchange> shared,
            std::shared_ptr<detail::event_line> line, uint64_t id)
        : shared_(std::move(shared)), line_(std::move(line)), id_(id)
    {
    }
    pending(pending &&) = default;
    pending &operator=(pending &&other) noexcept
    {
        std::swap(shared_, other.shared_);
        std::swap(line_, other.line_);
        std::swap(id_, other.id_);
        std::swap(ended_, other.ended_);
        return *this;
    }
    ~pending()
    {
        if (!shared_)
            return;
        if (!ended_)
            cancel();
        shared_->abandon(*line_);
    }

    uint64_t id() const noexcept
    {
        return id_;
    }

    /* The event of the end was taken. */
    bool ended() const noexcept
    {
        return ended_;
    }

    void cancel() noexcept
    {
        shared_->engine.cancel(id_);
    }

    /* The next event; empty if none came in time, and after the end.  -1: wait
     * without limit. */
    result<event> try_next(int32_t timeout_ms = -1)
    {
        if (ended_)
            return event();
        auto e = shared_->next(*line_, timeout_ms);

        ended_ = e && *e && e->is_end();
        return e;
    }

#ifndef TLP_NO_EXCEPTIONS
    event next(int32_t timeout_ms = -1)
    {
        return try_next(timeout_ms).value();
    }
#endif

  private:
    std::shared_ptr<detail::exchange> shared_;
    std::shared_ptr<detail::event_line> line_;
    uint64_t id_;
    bool ended_ = false;
};

/* Runs an engine on threads of its own; the thread that takes events has the
 * signal mask of the thread that made the dispatcher.  Any thread may submit.
 * Destruction ends all requests. */
class dispatcher
{
  public:
    static result<dispatcher>
    try_create(const plan &p, const engine_options &options = engine_options(),
               const progress &on_progress = {})
    {
        auto made = engine::try_create(p, options, on_progress);

        if (!made)
            return made.error();
        if (auto started = made->try_start(); !started)
            return started.error();
        return dispatcher(std::move(*made));
    }

    dispatcher(dispatcher &&) = default;
    dispatcher &operator=(dispatcher &&) = delete;
    ~dispatcher()
    {
        if (!shared_)
            return;
        shared_->engine.stop();
        thread_.join();
    }

    /* `user` of the request is the dispatcher's own. */
    result<pending> try_submit(const request &r)
    {
        auto line = std::make_shared<detail::event_line>();
        auto id = shared_->submit(r, line);

        if (!id)
            return id.error();
        return pending(shared_, std::move(line), *id);
    }

    /* For counters. */
    engine &get_engine() noexcept
    {
        return shared_->engine;
    }

#ifndef TLP_NO_EXCEPTIONS
    explicit dispatcher(const plan &p,
                        const engine_options &options = engine_options(),
                        const progress &on_progress = {})
        : dispatcher(try_create(p, options, on_progress).value())
    {
    }
    pending submit(const request &r)
    {
        return try_submit(r).value();
    }
#endif

  private:
    explicit dispatcher(engine e)
        : shared_(std::make_shared<detail::exchange>(std::move(e))),
          thread_([shared = shared_] { shared->hand_out(); })
    {
    }

    std::shared_ptr<detail::exchange> shared_;
    std::thread thread_;
};

} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_DISPATCH_HPP */
