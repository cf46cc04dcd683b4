/*
 * plugin.h - shared objects that the library loads at run time, so that it
 * needs neither MPI nor a GPU's driver itself.
 *
 * They are looked for in the folders of TLP_PLUGIN_PATH (':' between them),
 * beside the file that holds this library, in ../lib from there, then where the
 * system looks; each by its name with the ABI version first (libtlp_x.so.1),
 * then without.  The first file found decides: one that cannot be loaded is an
 * error, not a reason to go on looking.  Only absolute folders are searched, so
 * that nobody gets code run by leaving it in the folder where a program is
 * started.
 */
#ifndef TLPI_PLUGIN_H
#define TLPI_PLUGIN_H

#include "base/base.h"

typedef struct tlpi_plugin {
    const char *file;   /* "libtlp_mpi.so" */
    const char *what;   /* for texts: "MPI" */
    const char *symbol; /* what it exports */
    uint32_t abi;       /* of its table that the library knows */
    /* Call the symbol: gives the table, which begins with its abi. */
    const void *(*enter)(void *symbol);
} tlpi_plugin;

/*
 * The table of a plug-in, which stays loaded.  TLP_ENOTSUP with the reason when
 * there is none, it cannot be loaded, or it is of another version.
 */
tlp_status tlpi_plugin_load(const void **table, const tlpi_plugin *plugin);

#endif
