/**
 * @file tlp_mpi.h
 * Sessions on an MPI communicator of the program.
 *
 * Only a program that starts MPI itself, and whose ranks are not those of
 * MPI_COMM_WORLD, needs this header.  Any other program sets comm =
 * TLP_COMM_MPI.  The program must be built with the MPI that libtlp_mpi.so was
 * built with.
 */
#ifndef TLP_MPI_H
#define TLP_MPI_H

#include <mpi.h>

#include "tlp.h"

/**
 * Let a session use a duplicate of a communicator.
 *
 * Rank 0 of the communicator is rank 0 of the session.  The library reads *comm
 * during the call that receives opts.  *comm must stay valid until MPI is
 * finalized.
 *
 * @param opts  options to change
 * @param comm  communicator
 * @since 0.1
 */
static inline void tlp_mpi_use(tlp_session_options *opts, const MPI_Comm *comm)
{
    opts->comm = TLP_COMM_MPI;
    opts->comm_handle = comm;
}

#endif /* TLP_MPI_H */
