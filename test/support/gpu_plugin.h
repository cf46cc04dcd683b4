/*
 * gpu_plugin.h - the CUDA plug-in for tests: the real plug-in if there is a
 * GPU and a build for it, else the emulated plug-in.
 */
#ifndef GPU_PLUGIN_H
#define GPU_PLUGIN_H

#include "device/device.h"

/* Load the plug-in, also for the library (TLP_PLUGIN_PATH), and print which
 * one it is.  Ends the test if there is none. */
const tlpi_device_ops *gpu_load(void);

/* Sequences of its steps, and pages of a sequence. */
enum { GPU_N_SEQ = 20, GPU_N_INDEX = 2 };

/* A backend on device 0 with the limits of random_weights.h. */
tlpi_backend *gpu_backend(int compute);

/* Counters of a backend since its creation. */
tlpi_device_stats gpu_stats(tlpi_backend *b);

#endif
