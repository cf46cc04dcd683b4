/*
 * faults.c - one of the processes that test_mpi_faults and test_mpi_cut run:
 * something happens to one of them, and the others are to notice, to clean up
 * and to go on.
 *
 *     faults MODEL FOLDER VICTIM HOW PHASE TIMEOUT_MS
 *     faults mark FOLDER NAME
 *
 * What happens to a process is in its log, FOLDER/rank.N, since mpirun may be
 * gone by then.  `mark` is for the script that cuts the link.
 */
#include <math.h>
#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/event_log.h"
#include "support/mem.h"
#include "tlp.h"

#define N_CTX 2048
#define WORK_SECONDS 20.0 /* then rank 0 gives up waiting for the fault */

typedef enum how {
    HOW_NOT,
    HOW_KILL,
    HOW_EXIT,
    HOW_ABORT,
    HOW_PAUSE, /* stopped for a second */
    HOW_STOP,  /* stopped until the others have given up */
    HOW_LATE,  /* waits until rank 0 has given up */
    HOW_MPI,   /* starts MPI, and never calls the library */
    HOW_CUT    /* the link, by the script */
} how;

static const char *const how_names[] = { "not",   "kill",  "exit",
                                         "abort", "pause", "stop",
                                         "late",  "mpi",   "cut" };

typedef enum phase {
    PHASE_START, /* before tlp_comm_rank */
    PHASE_MET,   /* after it */
    PHASE_ALLOC, /* at the n-th allocation of creating or serving */
    PHASE_LOAD,  /* while loading weights */
    PHASE_PREFILL,
    PHASE_DECODE,
    PHASE_IDLE /* between rank 0's calls */
} phase;

static const char *const phase_names[] = { "start",   "met",    "alloc", "load",
                                           "prefill", "decode", "idle" };

static struct {
    const char *folder;
    int rank, n_rank; /* as mpirun says: before the library does */
    int victim;
    how how;
    phase phase;
    long at; /* of PHASE_ALLOC */
    int timeout_ms;
    tlp_model *model;
    mem heap;
    _Atomic long countdown; /* allocations until the fault; 0: none */
    _Atomic bool struck;
} job;

/* ==== reports ============================================================ */

static void say(const char *event, tlp_status st)
{
    log_add(job.folder, log_of(job.rank), event, tlp_status_name(st),
            st ? tlp_last_error() : "");
}

/* For all. */
static void mark(const char *name)
{
    log_add(job.folder, name, name, "TLP_OK", "");
}

static void say_ended(void)
{
    say("ended", TLP_OK);
}

/* What cannot be gone on from. */
static void require(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "rank %d: %s: %s\n", job.rank, what, tlp_last_error());
    say(what, TLP_ERROR);
    _exit(1);
}

static bool seen(const char *mark)
{
    return log_has(job.folder, mark, mark);
}

static bool seen_of(int rank, const char *event)
{
    return log_has(job.folder, log_of(rank), event);
}

static bool fault_seen(void)
{
    return job.how == HOW_CUT ? seen("cut") : seen_of(job.victim, "struck");
}

/* ==== the fault ========================================================== */

static void strike(void)
{
    if (atomic_exchange(&job.struck, true))
        return;
    say("struck", TLP_OK);
    switch (job.how) {
    case HOW_KILL:
        kill(getpid(), SIGKILL);
        break;
    case HOW_EXIT:
        exit(3);
    case HOW_ABORT:
        abort();
    case HOW_PAUSE:
    case HOW_STOP:
        kill(getpid(), SIGSTOP);
        break;
    case HOW_LATE:
        while (!seen_of(0, "failed"))
            log_nap(5);
        break;
    default:
        break;
    }
}

static bool is_victim(void)
{
    return job.rank == job.victim;
}

static bool is_at(phase p)
{
    return is_victim() && job.phase == p;
}

static void *counted_alloc(size_t size, size_t align, void *user_data)
{
    tlp_allocator a = mem_hooks(user_data);

    if (atomic_load(&job.countdown) > 0 &&
        atomic_fetch_sub(&job.countdown, 1) == 1)
        strike();
    return a.alloc(size, align, a.user_data);
}

static int loading(double done, void *user_data)
{
    (void)user_data;
    if (is_at(PHASE_LOAD) && done > 0.4)
        strike();
    return 0;
}

/* Has a rank given up that is not the victim? */
static bool noticed(void)
{
    bool any = false;

    for (int r = 0; r < job.n_rank; r++)
        any |= r != job.victim && seen_of(r, "failed");
    return any;
}

/*
 * In the midst of what rank 0 does then.  Rank 0 itself may be hit between two
 * commands, for which the others wait without a deadline: it is let go on, and
 * stops again, until it leaves somebody waiting.
 */
static void *strike_later(void *arg)
{
    while (!seen("go"))
        log_nap(1);
    log_nap(37);
    strike();
    for (;;) {
        log_nap(7);
        if (job.how != HOW_STOP || job.rank != 0 || noticed())
            return arg;
        say("struck", TLP_OK);
        kill(getpid(), SIGSTOP);
    }
}

/* Let the victim go on. */
static void revive(void)
{
    log_event e = log_find(job.folder, log_of(job.victim), "pid", INFINITY);
    int pid = atoi(e.text);

    if (pid > 0 && fault_seen())
        kill(pid, SIGCONT);
}

/* Rank 0 stopped where nobody has to notice. */
static void *revive_unnoticed(void *arg)
{
    double since = 0;

    while (!noticed()) {
        log_event e =
            log_find(job.folder, log_of(job.victim), "struck", INFINITY);

        if (e.when > since && log_now() > e.when + job.timeout_ms * 1e-3 + 1) {
            since = e.when;
            revive();
        }
        log_nap(10);
    }
    return arg;
}

static void *revive_later(void *arg)
{
    while (!fault_seen())
        log_nap(1);
    log_nap(1000);
    revive();
    mark("revived");
    return arg;
}

static void start(void *(*body)(void *))
{
    pthread_t thread;

    require(pthread_create(&thread, NULL, body, NULL) == 0, "thread");
    pthread_detach(thread);
}

/* ==== evaluating ========================================================= */

static tlp_session_options options(int comm, int n_rank)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.comm = comm;
    o.n_rank = n_rank;
    o.n_ctx = N_CTX;
    o.n_batch = 32;
    o.n_thread = 1;
    o.compute = TLP_COMPUTE_F32;
    o.timeout_ms = job.timeout_ms;
    o.progress = loading;
    return o;
}

typedef struct amount {
    int n_prefill, n_decode;
} amount;

#define N_VOCAB 288 /* of the test's model */

/* Prefill, then decode, from nothing; the last logits. */
static tlp_status evaluate(tlp_session *s, amount a, float row[N_VOCAB])
{
    int32_t ids[N_CTX];
    const float *logits = NULL;
    tlp_status st = tlp_session_clear(s, 0);

    for (int i = 0; i < N_CTX; i++)
        ids[i] = (i * 37 + 11) % 256;
    if (st == TLP_OK)
        st = tlp_session_prefill(s, ids, (size_t)a.n_prefill);
    for (int i = 0; i < a.n_decode && st == TLP_OK; i++)
        st = tlp_session_decode(s, ids[a.n_prefill + i]);
    if (st == TLP_OK)
        st = tlp_session_logits(&logits, s, 0);
    if (st == TLP_OK)
        memcpy(row, logits, N_VOCAB * sizeof *row);
    return st;
}

/* The same in this process alone. */
static void evaluate_here(int n_rank, amount a, float row[N_VOCAB])
{
    tlp_session_options o = options(TLP_COMM_THREADS, n_rank);
    tlp_plan *plan = NULL;
    tlp_session *s = NULL;

    o.progress = NULL;
    o.timeout_ms = 0;
    require(tlp_plan_parse(&plan, job.model, "par:1-2") == TLP_OK &&
                tlp_session_create(&s, plan, &o) == TLP_OK &&
                evaluate(s, a, row) == TLP_OK,
            "alone");
    tlp_session_free(s);
    tlp_plan_free(plan);
}

static const amount brief = { 40, 4 };

/* ==== the session of all processes ======================================= */

static amount amount_of_turn(void)
{
    return job.phase == PHASE_PREFILL  ? (amount){ N_CTX, 0 }
           : job.phase == PHASE_DECODE ? (amount){ 4, 200 }
                                       : brief;
}

/* Rank 0 has nothing to do until after the fault. */
static void idle(void)
{
    double end = log_now() + WORK_SECONDS;

    while (!fault_seen() && log_now() < end)
        log_nap(5);
    log_nap(300);
    /* Who is cut off may take a while to notice, and is to notice by itself. */
    while (job.how == HOW_CUT && !seen_of(1, "failed") && log_now() < end)
        log_nap(5);
}

/* Evaluate until the fault; after a pause, too. */
static tlp_status work(tlp_session *s, const float want[N_VOCAB])
{
    double end = log_now() + WORK_SECONDS;
    float row[N_VOCAB];
    tlp_status st = TLP_OK;

    for (int turn = 0; st == TLP_OK && log_now() < end; turn++) {
        if (turn == 1) {
            mark("go");
            if (job.phase == PHASE_IDLE)
                idle();
        }
        bool last = seen("revived");
        st = evaluate(s, amount_of_turn(), row);
        require(st != TLP_OK || memcmp(row, want, sizeof row) == 0,
                "other logits");
        if (last)
            break;
    }
    return st;
}

static tlp_status drive(bool again)
{
    tlp_session_options o = options(TLP_COMM_MPI, job.n_rank);
    tlp_plan *plan = NULL;
    tlp_session *s = NULL;
    float want[N_VOCAB], row[N_VOCAB];

    evaluate_here(job.n_rank, again ? brief : amount_of_turn(), want);
    require(tlp_plan_parse(&plan, job.model, "par:1-2") == TLP_OK, "plan");
    if (is_at(PHASE_ALLOC) && !again)
        atomic_store(&job.countdown, job.at);
    say("call", TLP_OK);
    tlp_status st = tlp_session_create(&s, plan, &o);
    if (st == TLP_OK && again) {
        st = evaluate(s, brief, row);
        require(st || memcmp(row, want, sizeof row) == 0, "other logits");
    } else if (st == TLP_OK) {
        st = work(s, want);
    }
    say(again ? "again" : st ? "failed" : "worked", st);
    tlp_session_free(s);
    say("freed", TLP_OK);
    tlp_plan_free(plan);
    return st;
}

static tlp_status serve(bool again)
{
    tlp_session_options o = options(TLP_COMM_MPI, 0);

    if (is_at(PHASE_ALLOC) && !again)
        atomic_store(&job.countdown, job.at);
    say("call", TLP_OK);
    tlp_status st = tlp_worker_run(job.model, NULL, &o);
    say(again ? "again" : st ? "failed" : "worked", st);
    return st;
}

/* Whether this rank gave up before MPI had started.  If it left, the victim
 * would wait in MPI_Init for ever. */
static bool gave_up_early(tlp_status st)
{
    return st == TLP_ETIMEDOUT && job.how == HOW_MPI &&
           strstr(tlp_last_error(), "MPI has not started");
}

static tlp_status meet(void)
{
    tlp_session_options o = options(TLP_COMM_MPI, 0);
    double end = log_now() + WORK_SECONDS;
    int32_t rank = -1, n_rank = -1;
    tlp_status st;

    if (job.phase != PHASE_START) /* as long as it takes */
        o.timeout_ms = 20000;
    if (is_at(PHASE_START))
        strike();
    do {
        say("call", TLP_OK);
        st = tlp_comm_rank(&rank, &n_rank, &o);
    } while (gave_up_early(st) && log_now() < end);
    require(st || (rank == job.rank && n_rank == job.n_rank), "ranks");
    say(st ? "failed" : "met", st);
    if (st == TLP_OK && is_at(PHASE_MET))
        strike();
    return st;
}

static void take_part(void)
{
    if (is_victim() && job.phase >= PHASE_PREFILL && job.how != HOW_NOT)
        start(strike_later);
    if (job.how == HOW_PAUSE && job.rank == (job.victim == 0))
        start(revive_later);
    if (job.how == HOW_STOP && job.victim == 0 && job.rank == 1 &&
        job.phase >= PHASE_PREFILL)
        start(revive_unnoticed);
    if (job.rank == 0)
        drive(false);
    else
        serve(false);
    if (is_victim() && job.how == HOW_EXIT) /* another thread is in exit() */
        pause();
}

/* ==== the whole ========================================================== */

/* A hello that came too late for anybody may be in the way. */
static void try_again(void)
{
    tlp_status st = TLP_ERROR;

    if (job.how == HOW_STOP && job.rank == (job.victim == 0))
        revive();
    if (job.rank == 0)
        drive(true);
    else
        for (int i = 0; i < 3 && st != TLP_OK && st != TLP_ECLOSED; i++)
            st = serve(true);
}

static void only_mpi(char *folder)
{
    MPI_Init(NULL, NULL);
    job.folder = folder;
    while (!seen_of(0, "ended"))
        log_nap(10);
    _exit(0);
}

static int index_of(const char *const names[], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strncmp(names[i], name, strlen(names[i])) == 0)
            return (int)i;
    fprintf(stderr, "faults: no %s\n", name);
    exit(2);
}

static void read_arguments(char **argv)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    const char *n = getenv("OMPI_COMM_WORLD_SIZE");
    const char *at = strchr(argv[5], ':');

    job.folder = argv[2];
    job.rank = rank ? atoi(rank) : 0;
    job.n_rank = n ? atoi(n) : 1;
    job.victim = atoi(argv[3]);
    job.how =
        (how)index_of(how_names, sizeof how_names / sizeof *how_names, argv[4]);
    job.phase = (phase)index_of(
        phase_names, sizeof phase_names / sizeof *phase_names, argv[5]);
    job.at = at ? atol(at + 1) : 0;
    job.timeout_ms = atoi(argv[6]);
}

static void say_pid(void)
{
    char pid[16];

    snprintf(pid, sizeof pid, "%d", (int)getpid());
    log_add(job.folder, log_of(job.rank), "pid", "TLP_OK", pid);
}

int main(int argc, char **argv)
{
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    float before[N_VOCAB], after[N_VOCAB];

    if (argc == 4 && strcmp(argv[1], "mark") == 0) {
        job.folder = argv[2];
        mark(argv[3]);
        return 0;
    }
    if (argc != 7)
        return 2;
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    read_arguments(argv);
    if (is_victim() && job.how == HOW_MPI)
        only_mpi(argv[2]);
    say_pid();
    atexit(say_ended);

    mo.allocator = mem_hooks(&job.heap);
    mo.allocator.alloc = counted_alloc;
    require(tlp_model_open(&job.model, argv[1], &mo) == TLP_OK, "model");
    evaluate_here(1, brief, before);

    tlp_status st = meet();
    if (st == TLP_OK)
        take_part();
    evaluate_here(1, brief, after);
    require(memcmp(before, after, sizeof before) == 0, "other logits");
    say("alone", TLP_OK);
    if (st == TLP_OK)
        try_again();

    tlp_model_free(job.model);
    require(job.heap.live == 0, "memory is left");
    say("clean", TLP_OK);
    return 0;
}
