/*
 * gpu_plugin.h - the CUDA plug-in for tests: the real one where there are a GPU
 * and a plug-in built for it, else the emulated one.
 */
#ifndef GPU_PLUGIN_H
#define GPU_PLUGIN_H

#include "device/device.h"

/* Load it, for the library too (TLP_PLUGIN_PATH); says which one it is.  Ends
 * the test if there is none. */
const tlpi_device_ops *gpu_load(void);

/* A backend on device 0 with the limits of random_weights.h. */
tlpi_backend *gpu_backend(int compute);

/* What it has done since it was made. */
tlpi_device_stats gpu_stats(tlpi_backend *b);

#endif
