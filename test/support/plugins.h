/*
 * plugins.h - choosing the GPU plug-in that the library finds.
 */
#ifndef PLUGINS_H
#define PLUGINS_H

/* Use this plug-in from now on: a path below the build folder, of a shared
 * object with any name. */
void plugin_use(const char *target);

/* Use the plug-in on an emulated GPU.  NULL, or the reason why there is
 * none. */
const char *plugin_use_emulated(int n_device);

#endif
