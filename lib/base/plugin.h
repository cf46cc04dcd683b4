/*
 * plugin.h - shared objects that the library loads at run time, so that it
 * needs neither MPI nor a GPU driver itself.
 *
 * Search order: the folders of TLP_PLUGIN_PATH (separated by ':'), the folder
 * of the file that holds this library, ../lib from that folder, then the
 * system's own search.  In each place the name with the ABI version
 * (libtlp_x.so.1) comes before the plain name.  The first file found decides:
 * if it cannot be loaded, loading fails and the search ends.  Only absolute
 * folders are searched, so that a file in a program's working directory is
 * never run.
 */
#ifndef TLPI_PLUGIN_H
#define TLPI_PLUGIN_H

#include "base/base.h"

typedef struct tlpi_plugin {
    const char *file;   /* "libtlp_mpi.so" */
    const char *what;   /* name in error texts: "MPI" */
    const char *symbol; /* exported symbol */
    uint32_t abi;       /* table version that the library knows */
    /* Call the symbol; returns the table, whose first field is its abi. */
    const void *(*enter)(void *symbol);
} tlpi_plugin;

/*
 * Load a plug-in and return its table; the plug-in stays loaded.  TLP_ENOTSUP
 * with the reason when no file is found, the file cannot be loaded, or its
 * version differs.
 */
tlp_status tlpi_plugin_load(const void **table, const tlpi_plugin *plugin);

#endif
