/*
 * config.h - where a session's ranks are, and what its options come to.
 */
#ifndef TLPI_CONFIG_H
#define TLPI_CONFIG_H

#include "comm/transport.h"
#include "model/model.h"
#include "rank/rank.h"

/* ==== ranks (process_group.c) ============================================ */

/* The processes that the options speak of. */
typedef struct tlpi_process_group {
    const tlpi_transport_ops *ops; /* NULL: all ranks in this process */
    tlpi_transport *transport;     /* borrowed; lives as long as the process */
    int rank, n_rank;
    int n_local;    /* ranks on this host */
    int local_rank; /* lower ranks among them; 0 where they are threads */
} tlpi_process_group;

/* Meet the other processes, if there are any.  n_rank of the options is
 * checked by tlpi_process_group_check. */
tlp_status tlpi_process_group_find(tlpi_process_group *out,
                                   const tlp_session_options *o);

/* TLP_EINVAL when the options ask for another number of ranks. */
tlp_status tlpi_process_group_check(const tlpi_process_group *w,
                                    const tlp_session_options *o);

/* ==== options (config.c) ================================================= */

enum {
    TLPI_MAX_CTX = 1 << 20,
    TLPI_MAX_SEQ = 1 << 12,
    TLPI_MAX_BATCH = 1 << 14,
    TLPI_MAX_ROW = 1 << 20
};

/* Ranges, and what is not built. */
tlp_status tlpi_config_check(const tlp_session_options *o);

/* Defaults; the options are checked.  Devices are left to the next one. */
void tlpi_config_init(tlpi_session_config *c, const tlp_session_options *o,
                      const tlp_model *model, const tlpi_process_group *w);

/* The plug-in of the backend, and the device of each rank of this process.
 * TLP_ENOTSUP where there is none, with the reason, and for models that devices
 * do not run. */
tlp_status tlpi_config_devices(tlpi_session_config *c,
                               const tlp_session_options *o,
                               const tlp_model *model,
                               const tlpi_process_group *w);

/* Rank 0: the pages of the cache that the options allow.  TLP_EINVAL if that is
 * not one. */
tlp_status tlpi_config_pages(tlpi_session_config *c,
                             const tlp_session_options *o, const tlp_plan *plan,
                             const tlpi_shards *shards);

/* Ranks in one process. */
int tlpi_config_ranks(const tlp_session_options *o);
int tlpi_config_timeout(const tlp_session_options *o);
/* The option, 0 for its default, cut to what a session holds. */
int tlpi_config_batch(int n_batch, int n_ctx, int n_seq);
float tlpi_config_adapter_scale(const tlp_session_options *o);

/* Values 0, 1, ... of an option by name. */
typedef struct tlpi_names {
    const char *const *name;
    int n;
} tlpi_names;

extern const tlpi_names tlpi_backend_names, tlpi_compute_names, tlpi_kv_names,
    tlpi_wire_names;

#endif
