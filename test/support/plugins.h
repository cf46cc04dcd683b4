/*
 * plugins.h - which plug-in for GPUs the library finds.
 */
#ifndef PLUGINS_H
#define PLUGINS_H

/* From now on this one, a path below the build folder: a shared object of
 * another name too. */
void plugin_use(const char *target);

/* The one that runs on an emulated GPU; NULL, or why there is none. */
const char *plugin_use_emulated(int n_device);

#endif
