/*
 * tlp_mpi.h - sessions on an MPI communicator of your own.
 *
 * Needed only by programs that start MPI themselves and want their ranks to be
 * other than MPI_COMM_WORLD's; everybody else sets comm = TLP_COMM_MPI.  The
 * program must be built with the MPI that libtlp_mpi.so was built with.
 */
#ifndef TLP_MPI_H
#define TLP_MPI_H

#include <mpi.h>

#include "tlp.h"

/**
 * Let a session use a duplicate of *comm, whose rank 0 is the session's.  The
 * variable is read during the call that opts is passed to, and *comm must stay
 * valid until MPI is finalized.
 * @since 0.1
 */
static inline void tlp_mpi_use(tlp_session_options *opts, const MPI_Comm *comm)
{
    opts->comm = TLP_COMM_MPI;
    opts->comm_handle = comm;
}

#endif /* TLP_MPI_H */
