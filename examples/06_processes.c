/*
 * 06_processes.c - one session over several processes or hosts: every process
 * runs this program; rank 0 asks, and the other ranks serve it.
 *
 *     mpirun -np 2 --bind-to none ./06_processes model.gguf "Once" par:12-13
 *
 * Alone, or where the library has no MPI, it is a session of one rank.
 */
#include <stdio.h>

#include <tlp.h>

#define MAX_PROMPT 1024

static int print_text(const char *text, size_t len, void *user_data)
{
    (void)user_data;
    fwrite(text, 1, len, stdout);
    return 0;
}

/* Rank 0 calls the library as a single process does. */
static tlp_status ask(tlp_model *model, const char *prompt,
                      const char *plan_text, const tlp_session_options *opts)
{
    tlp_generate_options gen = TLP_GENERATE_OPTIONS_INIT;
    tlp_session_stats stats;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    int32_t tokens[MAX_PROMPT];
    size_t n, len = 0;
    tlp_status st;

    gen.n_predict = 24;
    gen.text = print_text;
    stats.struct_size = sizeof stats;
    while (prompt[len])
        len++;

    st = tlp_plan_parse(&plan, model, plan_text);
    if (!st)
        st = tlp_tokenize(tokens, MAX_PROMPT, &n, model, prompt, len,
                          TLP_TOKENIZE_SPECIAL | TLP_TOKENIZE_BOS);
    if (!st)
        st = tlp_session_create(&session, plan, opts);
    if (!st)
        st = tlp_session_prefill(session, tokens, n);
    if (!st)
        st = tlp_session_generate(NULL, session, NULL, &gen);
    if (!st)
        st = tlp_session_get_stats(&stats, session);
    if (!st)
        printf("\n[%d ranks, %d all-reduces a token]\n", stats.n_rank,
               (int)(stats.allreduces / stats.n_step));
    tlp_session_free(session); /* ends the calls of the other ranks */
    tlp_plan_free(plan);
    return st;
}

/* user_data: this process's rank */
static void print_warning(int level, const char *text, void *user_data)
{
    if (level == TLP_LOG_WARN)
        fprintf(stderr, "rank %d: warning: %s\n", (int)*(int32_t *)user_data,
                text);
}

int main(int argc, char **argv)
{
    tlp_model_options open = TLP_MODEL_OPTIONS_INIT;
    tlp_session_options opts = TLP_SESSION_OPTIONS_INIT;
    tlp_model *model = NULL;
    int32_t rank = 0, n_rank = 1;
    tlp_status st;

    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL PROMPT [PLAN]\n", argv[0]);
        return 2;
    }
    opts.comm = TLP_COMM_MPI;
    opts.wire = TLP_WIRE_F32; /* rank 0's choice holds for all */
    st = tlp_comm_rank(&rank, &n_rank, &opts);
    if (st == TLP_ENOTSUP) { /* no plug-in: this process alone */
        opts.comm = TLP_COMM_THREADS;
        st = TLP_OK;
    }
    /* Each process reads its own copy of the file. */
    open.log = print_warning;
    open.log_data = &rank;
    if (!st)
        st = tlp_model_open(&model, argv[1], &open);
    if (!st && rank == 0)
        st = ask(model, argv[2], argc > 3 ? argv[3] : "serial", &opts);
    else if (!st)
        st = tlp_worker_run(model, NULL, &opts);
    if (st)
        fprintf(stderr, "rank %d: %s\n", (int)rank, tlp_last_error());
    tlp_model_free(model);
    return st ? 1 : 0;
}
