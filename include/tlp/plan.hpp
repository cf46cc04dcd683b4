/*
 * plan.hpp - plans, adapters and devices.
 */
#ifndef TLP_PLAN_HPP
#define TLP_PLAN_HPP

#include "model.hpp"

namespace tlp
{
inline namespace TLP_FORM
{

/* Which layers run side by side.  Immutable; any number of threads may use it.
 * tlp_tune.hpp makes and adjusts plans. */
class plan : public handle<tlp_plan, tlp_plan_free>
{
  public:
    /* Takes a plan that the C interface has made for this model. */
    explicit plan(tlp_plan *taken, const model_sizes &sizes) noexcept
        : handle(taken), sizes_(sizes)
    {
    }

    /* Of the plan's model. */
    const model_sizes &sizes() const noexcept
    {
        return sizes_;
    }

    /* From the text form or the JSON form. */
    static result<plan> try_parse(const model &m,
                                  std::string_view text = "serial")
    {
        detail::c_text form(text);

        if (!form)
            return form.refused();
        return made(m, [&](tlp_plan **out) {
            return tlp_plan_parse(out, m.get(), form.get());
        });
    }

    /* From a JSON file, with its adjustments. */
    static result<plan> try_load(const model &m, std::string_view path)
    {
        detail::c_text name(path);

        if (!name)
            return name.refused();
        return made(m, [&](tlp_plan **out) {
            return tlp_plan_load(out, m.get(), name.get());
        });
    }

    result<void> try_save(std::string_view path) const
    {
        detail::c_text name(path);

        if (!name)
            return name.refused();
        return detail::done(tlp_plan_save(get(), name.get()));
    }

    /* form: enum tlp_plan_form */
    result<std::string> try_format(int form) const
    {
        return detail::copied<std::string>(
            [&](auto... buf) { return tlp_plan_format(buf..., get(), form); });
    }

    /* Work and messages of a token on n_rank ranks. */
    result<tlp_plan_cost> try_cost(int n_rank = 2) const
    {
        sized<tlp_plan_cost> out;
        tlp_status status = tlp_plan_get_cost(&out, get(), n_rank);

        return detail::done<tlp_plan_cost>(status, out);
    }

    result<tlp_stage_info> try_stage(std::size_t index) const
    {
        sized<tlp_stage_info> out;
        tlp_status status = tlp_plan_get_stage(&out, get(), index);

        return detail::done<tlp_stage_info>(status, out);
    }

#ifndef TLP_NO_EXCEPTIONS
    explicit plan(const model &m, std::string_view text = "serial")
        : plan(try_parse(m, text).value())
    {
    }
    static plan load(const model &m, std::string_view path)
    {
        return try_load(m, path).value();
    }
    void save(std::string_view path) const
    {
        try_save(path).value();
    }
    std::string text() const
    {
        return try_format(TLP_PLAN_TEXT).value();
    }
    std::string json() const
    {
        return try_format(TLP_PLAN_JSON).value();
    }
    tlp_plan_cost cost(int n_rank = 2) const
    {
        return try_cost(n_rank).value();
    }
    tlp_stage_info stage(std::size_t index) const
    {
        return try_stage(index).value();
    }
#endif

    /* A plan that call(&plan) makes for a model. */
    template <typename F>
    static result<plan> made(const model &m, F call)
    {
        auto sizes = m.try_sizes();
        tlp_plan *raw = nullptr;

        if (!sizes)
            return sizes.error();
        if (tlp_status status = call(&raw))
            return last_error(status);
        return plan(raw, *sizes);
    }

  private:
    model_sizes sizes_;
};

/* A LoRA adapter, for the option `adapter` of sessions. */
class adapter : public handle<tlp_adapter, tlp_adapter_free>
{
  public:
    using handle::handle;

    static result<adapter> try_open(const model &m, std::string_view path)
    {
        detail::c_text name(path);

        if (!name)
            return name.refused();
        return detail::made<adapter, tlp_adapter>([&](tlp_adapter **out) {
            return tlp_adapter_open(out, m.get(), name.get());
        });
    }

#ifndef TLP_NO_EXCEPTIONS
    adapter(const model &m, std::string_view path)
        : adapter(try_open(m, path).value())
    {
    }
#endif
};

/* Devices of a backend: enum tlp_backend. */
inline result<int32_t> try_device_count(int32_t backend = TLP_BACKEND_CUDA)
{
    int32_t n = 0;
    tlp_status status = tlp_device_count(&n, backend);

    return detail::done(status, n);
}

inline result<tlp_device_info> try_device(int32_t device,
                                          int32_t backend = TLP_BACKEND_CUDA)
{
    sized<tlp_device_info> out;
    tlp_status status = tlp_device_get_info(&out, backend, device);

    return detail::done<tlp_device_info>(status, out);
}

#ifndef TLP_NO_EXCEPTIONS
inline int32_t device_count(int32_t backend = TLP_BACKEND_CUDA)
{
    return try_device_count(backend).value();
}
inline tlp_device_info device(int32_t device,
                              int32_t backend = TLP_BACKEND_CUDA)
{
    return try_device(device, backend).value();
}
#endif

} // namespace TLP_FORM
} // namespace tlp

#endif /* TLP_PLAN_HPP */
