/*
 * rank_config.h - the options of a session as its ranks use them.
 */
#ifndef TLPI_RANK_CONFIG_H
#define TLPI_RANK_CONFIG_H

#include "device/device.h"

/* Session options after defaults and checks.  device_of, the fields of
 * threads, isa, timeout_ms and pin belong to each process; all other fields are
 * equal on all ranks. */
typedef struct tlpi_session_config {
    int n_ctx, n_seq, n_batch, n_rank;
    int n_thread, n_prefill; /* threads of a rank: decode steps, other steps */
    int n_machine; /* threads of the session's ranks on this machine */
    int n_core;    /* cores that the thread which made this may use */
    int spin_us;
    tlp_pool host; /* threads of the host program; run = NULL: none */
    bool remote;   /* the other ranks are other processes */
    int backend, wire, compute, kv_type, isa, timeout_ms;
    /* Pages of the cache that hold all positions (kv_shape.h), which rank 0
     * gives to sequences; 0: every sequence has all its pages from the
     * beginning, on ranks without a session. */
    int n_page;
    bool kv_ahead;     /* pages have memory from the beginning */
    int n_row;         /* rows of logits that rank 0 reserves */
    int link_delay_us; /* between ranks of one process */
    bool pin;
    const tlpi_device_ops *device; /* NULL: ranks work on the CPU */
    int device_of[TLPI_MAX_RANK];  /* the device of each rank of this process */
    const tlp_adapter *adapter;    /* or NULL; borrowed */
    float adapter_scale;
} tlpi_session_config;

#endif
