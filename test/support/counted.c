/*
 * counted.c - sessions that take their memory from an allocator of a test.
 */
#include "counted.h"

rig counted_open(mem *m, const char *path, const char *plan,
                 const tlp_session_options *opts)
{
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;

    mo.allocator = mem_hooks(m);
    return rig_open_with(path, &mo, plan, opts);
}

size_t counted_bytes(const rig *r, mem *m)
{
    CHECK_OK(tlp_session_set_threads(r->session, 1, 1));
    return atomic_load(&m->bytes);
}
