/*
 * devices.h - the GPUs of this machine, for tlp info --devices.
 */
#ifndef DEVICES_H
#define DEVICES_H

#include "engine.h"
#include "json.h"

typedef struct devices {
    tlp_device_info info[ENGINE_MAX_DEVICE];
    int32_t n;
} devices;

/* Returns an exit status, after a message if there is no GPU. */
int devices_find(devices *d);

void devices_print(const devices *d);
/* Write the array "devices" into the open object. */
void devices_json(const devices *d, json *j);

#endif
