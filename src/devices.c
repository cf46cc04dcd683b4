/*
 * devices.c - list GPUs: names, memory, and which GPUs access each other's
 * memory.
 */
#include "devices.h"

int devices_find(devices *d)
{
    tlp_status st = tlp_device_count(&d->n, TLP_BACKEND_CUDA);

    for (int32_t i = 0; st == TLP_OK && i < d->n; i++) {
        d->info[i] = (tlp_device_info){ .struct_size = sizeof d->info[i] };
        st = tlp_device_get_info(&d->info[i], TLP_BACKEND_CUDA, i);
    }
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

static bool reaches(const tlp_device_info *info, int32_t peer)
{
    return info->peers >> peer & 1;
}

void devices_print(const devices *d)
{
    for (int32_t i = 0; i < d->n; i++) {
        const tlp_device_info *info = &d->info[i];
        bool any = false;

        printf("%scuda:%-7d ", i ? "\n" : "", i);
        cli_print_clean(stdout, info->name);
        printf("\ncompute      capability %d.%d, %d multiprocessors\n",
               info->major, info->minor, info->n_sm);
        printf("memory       %.1f of %.1f GB free\n",
               (double)info->memory_free / 1e9,
               (double)info->memory_total / 1e9);
        printf("peer links  ");
        for (int32_t p = 0; p < d->n; p++) {
            if (p == i || !reaches(info, p))
                continue;
            printf(" cuda:%d", p);
            any = true;
        }
        puts(any ? "" : " none");
    }
}

void devices_json(const devices *d, json *j)
{
    json_open(j, "devices", '[');
    for (int32_t i = 0; i < d->n; i++) {
        const tlp_device_info *info = &d->info[i];
        char text[32];

        json_open(j, NULL, '{');
        snprintf(text, sizeof text, "cuda:%d", i);
        json_text(j, "device", text);
        json_text(j, "name", info->name);
        snprintf(text, sizeof text, "%d.%d", info->major, info->minor);
        json_text(j, "compute_capability", text);
        json_int(j, "n_sm", info->n_sm);
        json_int(j, "memory_total", (int64_t)info->memory_total);
        json_int(j, "memory_free", (int64_t)info->memory_free);
        json_open(j, "peers", '[');
        for (int32_t p = 0; p < d->n; p++)
            if (p != i && reaches(info, p))
                json_int(j, NULL, p);
        json_close(j, ']');
        json_close(j, '}');
    }
    json_close(j, ']');
}
