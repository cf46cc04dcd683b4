/*
 * hf_source.h - inside hf_folder: the GGUF file that becomes a folder.
 */
#ifndef HF_SOURCE_H
#define HF_SOURCE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/gguf.h"
#include "hf_folder.h"

#define NEED(x)                                                                \
    do {                                                                       \
        if (!(x)) {                                                            \
            fprintf(stderr, "hf_folder: %s\n", #x);                            \
            abort();                                                           \
        }                                                                      \
    } while (0)

typedef struct hf_source {
    const hf_spec *spec;
    const char *folder;
    tlpi_gguf *g;
    char arch[32];
} hf_source;

static inline bool hf_is(const hf_source *s, const char *arch)
{
    return strcmp(s->arch, arch) == 0;
}

/* A number of the architecture's keys. */
long hf_number(const hf_source *s, const char *suffix, long usual);

static inline bool hf_is_mixtral(const hf_source *s)
{
    return hf_is(s, "llama") && hf_number(s, "expert_count", 0) > 0;
}

/* hf_tensors.c */
void hf_write_tensors(const hf_source *s);

#endif
