/*
 * test_device.c - sessions on devices: what options are refused, which rank
 * works where, what is said where there is none.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "group/config.h"
#include "support/check.h"
#include "support/plugins.h"
#include "support/spawn.h"
#include "support/tiny.h"

static tlp_model *model;
static tlp_plan *plan;

static void open_model(void)
{
    tiny_spec spec = tiny_default();

    CHECK_OK(tlp_model_open(&model, tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&plan, model, "par:1-2"));
    setenv("TLP_PLUGIN_PATH", "/nowhere", 1);
}

static void close_model(void)
{
    tlp_plan_free(plan);
    tlp_model_free(model);
}

TestSuite(device, .init = open_model, .fini = close_model, .timeout = 120);

static tlp_session_options cuda(const int32_t *devices, size_t n)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.backend = TLP_BACKEND_CUDA;
    o.devices = devices;
    o.n_device = n;
    return o;
}

static void expect_refused(const tlp_session_options *o, tlp_status status,
                           const char *text)
{
    tlp_session *s = (tlp_session *)model;
    tlp_status st = tlp_session_create(&s, plan, o);

    cr_expect_eq(st, status, "%s", tlp_status_name(st));
    cr_expect_null(s);
    cr_expect_not_null(strstr(tlp_last_error(), text), "%s", tlp_last_error());
}

Test(device, options_that_are_refused)
{
    static const int32_t many[65], negative[] = { 0, -1 }, large[] = { 64 };
    static const int32_t zero[] = { 0 };
    tlp_session_options o = cuda(NULL, 1);

    expect_refused(&o, TLP_EINVAL, "devices: none, n_device is 1");
    o = cuda(many, 65);
    expect_refused(&o, TLP_EINVAL, "n_device: 65, at most 64");
    o = cuda(many, SIZE_MAX);
    expect_refused(&o, TLP_EINVAL, "at most 64");
    o = cuda(negative, 2);
    expect_refused(&o, TLP_EINVAL, "devices: -1 is outside 0 to 63");
    o = cuda(large, 1);
    expect_refused(&o, TLP_EINVAL, "devices: 64 is outside 0 to 63");
    o = cuda(zero, 1);
    o.backend = TLP_BACKEND_CPU;
    expect_refused(&o, TLP_EINVAL, "backend cpu has none");
    o.backend = TLP_BACKEND_CUDA + 1;
    expect_refused(&o, TLP_ENOTSUP, "backend: 2 is not built");
    o = cuda(NULL, 0);
    o.comm = TLP_COMM_MPI;
    o.wire = TLP_WIRE_BF16;
    expect_refused(&o, TLP_EINVAL, "wire: bf16 is not for backend cuda");
    o.wire = TLP_WIRE_F32;
    o.kv_type = TLP_KV_Q8_0;
    expect_refused(&o, TLP_EINVAL, "kv_type: q8_0 is not for backend cuda");
}

/* A program that was built before there were devices. */
Test(device, an_older_program)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_session *s = NULL;

    o.struct_size = offsetof(tlp_session_options, devices);
    o.devices = (const int32_t *)8; /* whatever is behind its struct */
    o.n_device = 999;
    CHECK_OK(tlp_session_create(&s, plan, &o));
    tlp_session_free(s);
}

Test(device, there_is_no_plug_in)
{
    tlp_session_options o = cuda(NULL, 0);

    expect_refused(&o, TLP_ENOTSUP, "no plug-in for CUDA in TLP_PLUGIN_PATH");
    plugin_use("test/plugins/no_device.so");
    expect_refused(&o, TLP_ENOTSUP, "the driver is 1.0, 2.0 is needed");
}

/* The text is the rank's that failed, whichever it was. */
Test(device, there_is_no_backend)
{
    tlp_session_options o = cuda(NULL, 0);

    plugin_use("test/plugins/three_devices.so");
    expect_refused(&o, TLP_EDEVICE, "device 0 is only listed");
    o.n_rank = 2;
    expect_refused(&o, TLP_EDEVICE, " is only listed");
}

Test(device, facts)
{
    tlp_device_info info = { .struct_size = sizeof info };
    int32_t n = 0;

    plugin_use("test/plugins/three_devices.so");
    CHECK_OK(tlp_device_count(&n, TLP_BACKEND_CUDA));
    cr_expect_eq(n, 3);
    CHECK_OK(tlp_device_get_info(&info, TLP_BACKEND_CUDA, 2));
    cr_expect_eq(strncmp(info.name, "Listed ", 7), 0);
    cr_expect(info.major == 9 && info.minor == 2 && info.n_sm == 102);
    cr_expect_eq(info.memory_total, 3000000000);
    cr_expect_eq(info.memory_free, 2250000000);
    cr_expect_eq(info.peers, 1);
    CHECK_FAILS(TLP_EINVAL, tlp_device_get_info(&info, TLP_BACKEND_CUDA, 3));
    cr_expect_not_null(strstr(tlp_last_error(), "device 3: there are 0 to 2"));
    CHECK_FAILS(TLP_EINVAL, tlp_device_get_info(&info, TLP_BACKEND_CUDA, -1));

    /* a caller's struct of an older version */
    tlp_device_info old = { .struct_size =
                                offsetof(tlp_device_info, memory_total),
                            .peers = 77 };
    CHECK_OK(tlp_device_get_info(&old, TLP_BACKEND_CUDA, 0));
    cr_expect(old.n_sm == 100 && old.peers == 77);
}

/* ==== which rank works where ============================================= */

/* The session's ranks, and the devices of those in this process. */
static void expect_places(const tlp_session_options *o,
                          const tlpi_process_group *w, int n_rank,
                          const int *want)
{
    tlpi_session_config cfg = { 0 };
    tlpi_process_group here = *w;

    CHECK_OK(tlpi_config_check(o));
    if (!w->ops)
        CHECK_OK(tlpi_process_group_find(&here, o));
    cr_expect_eq(here.n_rank, n_rank);
    tlpi_config_init(&cfg, o, model, &here);
    CHECK_OK(tlpi_config_devices(&cfg, o, model, &here));
    for (int r = 0; r < n_rank; r++)
        if (!w->ops || r == w->rank)
            cr_expect_eq(cfg.device_of[r], want[r], "rank %d: %d", r,
                         cfg.device_of[r]);
}

#define PLACES(o, w, ...)                                                      \
    expect_places((o), (w),                                                    \
                  (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)),         \
                  (int[]){ __VA_ARGS__ })

Test(device, ranks_of_one_process)
{
    static const int32_t two[] = { 2, 0 }, same[] = { 1, 1 };
    static const tlpi_process_group threads = { 0 };
    tlp_session_options o = cuda(NULL, 0);
    int32_t rank, n_rank;

    plugin_use("test/plugins/three_devices.so");
    PLACES(&o, &threads, 0);
    o.n_rank = 4;
    PLACES(&o, &threads, 0, 1, 2, 0);
    o = cuda(two, 2);
    PLACES(&o, &threads, 2, 0);
    CHECK_OK(tlp_comm_rank(&rank, &n_rank, &o));
    cr_expect(rank == 0 && n_rank == 2);
    o.n_rank = 5;
    PLACES(&o, &threads, 2, 0, 2, 0, 2);
    o.n_rank = 1;
    PLACES(&o, &threads, 2);
    o = cuda(same, 2);
    PLACES(&o, &threads, 1, 1);
}

/* Six processes on two hosts, this one the last but one: of its host's three
 * the second. */
Test(device, ranks_of_several_processes)
{
    static const int32_t two[] = { 2, 0 }, one[] = { 1 }, none[] = { 0, 3 };
    static const tlpi_transport_ops transport = { 0 };
    tlpi_process_group w = {
        .ops = &transport, .rank = 4, .n_rank = 6, .n_local = 3, .local_rank = 1
    };
    tlp_session_options o = cuda(NULL, 0);
    tlpi_session_config cfg = { 0 };

    plugin_use("test/plugins/three_devices.so");
    PLACES(&o, &w, -1, -1, -1, -1, 1, -1);
    o = cuda(two, 2);
    PLACES(&o, &w, -1, -1, -1, -1, 0, -1);
    o = cuda(one, 1);
    PLACES(&o, &w, -1, -1, -1, -1, 1, -1);
    o = cuda(none, 2);
    tlpi_config_init(&cfg, &o, model, &w);
    CHECK_FAILS(TLP_EINVAL, tlpi_config_devices(&cfg, &o, model, &w));
    cr_expect_not_null(strstr(tlp_last_error(), "devices: 3 is outside 0 to 2"),
                       "%s", tlp_last_error());
}

/* ==== the real plug-in =================================================== */

/* Where there is no driver, it says so; where there is a GPU, it lists it. */
Test(device, cuda)
{
    char path[PATH_MAX], text[1024];
    tlp_device_info info = { .struct_size = sizeof info };
    tlp_session_options o = cuda(NULL, 0);
    int32_t n = 0;

    snprintf(path, sizeof path, "%s/libtlp_cuda.so", spawn_build_dir());
    if (access(path, F_OK) != 0)
        cr_skip_test("built without CUDA");
    setenv("TLP_PLUGIN_PATH", spawn_build_dir(), 1);

    tlp_status st = tlp_device_count(&n, TLP_BACKEND_CUDA);

    if (st == TLP_OK) {
        cr_expect(n >= 1 && n <= 64);
        CHECK_OK(tlp_device_get_info(&info, TLP_BACKEND_CUDA, n - 1));
        cr_expect(info.name[0] && info.major >= 5 && info.n_sm > 0);
        cr_expect(info.memory_total >= info.memory_free);
        cr_expect_eq(info.peers >> (n - 1) & 1, 0, "its own peer");
        return;
    }
    cr_expect_eq(st, TLP_ENOTSUP, "%s", tlp_status_name(st));
    cr_expect(strstr(tlp_last_error(), "driver") ||
                  strstr(tlp_last_error(), "device") ||
                  strstr(tlp_last_error(), "GPU"),
              "%s", tlp_last_error());
    snprintf(text, sizeof text, "%s", tlp_last_error());
    expect_refused(&o, TLP_ENOTSUP, text);
}
