/*
 * engine_rig.h - requests on an engine, and what their events said.
 */
#ifndef ENGINE_RIG_H
#define ENGINE_RIG_H

#include "support/rig.h"

/* Most choices, tokens and bytes that a record has room for. */
enum { ENGINE_CHOICES = 8, ENGINE_TOKENS = 512, ENGINE_EMBD = 96 };

/* What the events of one choice said. */
typedef struct engine_text {
    int32_t token[ENGINE_TOKENS];
    float logprob[ENGINE_TOKENS];
    int n, stop_reason;
    tlp_status status;
    char text[2048], error[256];
    size_t n_text;
} engine_text;

/* What the events of one request said. */
typedef struct engine_record {
    uint64_t id;
    int n_choice, n_end, n_prompt_token;
    int32_t n_prompt, n_cached, n_generated;
    float prompt_logprob[ENGINE_TOKENS];
    float embedding[ENGINE_EMBD];
    int n_embedding;
    bool wrong; /* an event out of order, or fields that disagree */
    engine_text choice[ENGINE_CHOICES];
} engine_record;

typedef struct engine_rig {
    tlp_model *model;
    tlp_plan *plan;
    tlp_engine *engine;
} engine_rig;

/* An engine on a tiny model with 288 tokens; `path` NULL writes one.  Default
 * options where they are NULL. */
engine_rig engine_rig_open(const char *path, const char *plan,
                           const tlp_engine_options *o);
/* A session in f32 with 128 positions, steps of 32 tokens, n_seq sequences. */
engine_rig engine_rig_small(const char *plan, int n_rank, int n_seq,
                            int n_chunk);
void engine_rig_close(engine_rig *r);
tlp_engine_stats engine_rig_stats(const engine_rig *r);

/* A request of n tokens that no end token ends. */
tlp_request engine_request(const int32_t *ids, int n, int n_predict);

/* Submit a request; the event's user pointer is the record. */
void engine_submit(engine_record *rec, tlp_engine *e, tlp_request *request);

/* Take one event, if there is one in time, and add it to its record.  Returns
 * its kind, 0 if there was none. */
int engine_take(tlp_engine *e, int32_t timeout_ms);

/* Take events until these records have their end; with `step`, take steps on
 * this thread. */
void engine_finish(tlp_engine *e, engine_record *const *rec, int n, bool step);

/* One step, and all its events. */
void engine_step(tlp_engine *e);

#endif
