/*
 * plan_make.c - tlp plan make: find a plan by its quality on a text, and the
 * best plan of every depth or number of exchanges on the way.
 */
#include <stdlib.h>
#include <string.h>

#include "corpus.h"
#include "files.h"
#include "plan_commands.h"
#include "plan_front.h"

typedef struct make {
    engine e;
    corpus text;
    const char *out_path, *resume, *csv_path, *svg_path, *modes, *start_text;
    int depth, exchanges, max_group, n_track;
    uint32_t mode_bits; /* of modes; 0: not given */
    int objective;      /* TLP_OBJECTIVE_* */
    float max_kl, speedup, memory;
    uint64_t seed;
    tlp_plan *start; /* of start_text; or NULL */
    plan_front front;
    int rc;            /* failure while points are collected */
    out_file csv, svg; /* opened before the search, which takes long */
    tlp_link link;
} make;

/* ==== options ============================================================ */

static int read_modes(make *v)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } known[] = { { "lp", 1u << TLP_MODE_LP },
                  { "par", 1u << TLP_MODE_PAR },
                  { "asym", 1u << TLP_MODE_ASYM },
                  { "nosync", TLP_MAKE_NOSYNC } };
    const size_t n_known = sizeof known / sizeof *known;
    const char *text = v->modes;

    while (text) {
        size_t n = strcspn(text, ","), i = 0;

        while (i < n_known && (strlen(known[i].name) != n ||
                               memcmp(known[i].name, text, n) != 0))
            i++;
        if (i == n_known)
            return cli_usage("--modes %s: a list of lp, par, asym and nosync "
                             "expected",
                             text);
        v->mode_bits |= known[i].bit;
        text = text[n] ? text + n + 1 : NULL;
    }
    return CLI_OK;
}

/* Options that belong to another kind of search. */
static int check_search(const make *v)
{
    bool nosync = v->modes ? v->mode_bits & TLP_MAKE_NOSYNC : v->exchanges > 0;
    bool groups = v->modes ? v->mode_bits & ~(uint32_t)TLP_MAKE_NOSYNC
                           : v->exchanges == 0;

    if (v->n_track && !nosync)
        return cli_usage("--tracks needs --exchanges, or --modes with nosync");
    if (v->max_group && !groups)
        return cli_usage("--max-group is for plans with groups");
    if (v->e.n_rank > 1 && v->speedup <= 0)
        return cli_usage("--ranks goes with --speedup only");
    if (v->e.link_delay_us && v->e.n_rank < 2)
        return cli_usage("--link-delay-us needs --ranks");
    return CLI_OK;
}

static int check_options(make *v)
{
    int rc = corpus_check(&v->text);

    if (rc != CLI_OK)
        return rc;
    if ((v->depth > 0) + (v->exchanges > 0) + (v->max_kl > 0) +
            (v->speedup > 0) !=
        1)
        return cli_usage("one of --depth, --max-kl, --speedup and --exchanges "
                         "is required");
    if (!v->out_path)
        return cli_usage("no output file: -o FILE is required");
    if (out_is_stdout(v->csv_path) && out_is_stdout(v->svg_path))
        return cli_usage("only one of --pareto and --svg can go to standard "
                         "output");
    const char *const written[] = { v->out_path, v->resume, v->csv_path,
                                    v->svg_path };
    rc = out_check_distinct(written, sizeof written / sizeof *written);
    if (rc == CLI_OK)
        rc = read_modes(v);
    return rc == CLI_OK ? check_search(v) : rc;
}

/* ========================================================================= */

static void add_point(const tlp_plan_point *p, void *data)
{
    make *v = data;

    if (v->rc == CLI_OK)
        v->rc = front_add(&v->front, p);
}

/* Measure, under the serial plan, the ranks for which a speed-up is
 * requested. */
static int measure(make *v)
{
    tlp_status st;
    int rc = engine_open_session(&v->e, v->text.ctx);

    if (rc != CLI_OK)
        return rc;
    v->link.struct_size = sizeof v->link;
    st = tlp_session_measure(&v->link, NULL, v->e.session);
    engine_watch(NULL);
    tlp_session_free(v->e.session);
    v->e.session = NULL;
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

static tlp_plan_make_options
make_options(make *v, const tlp_session_options *session, cli_progress *bar)
{
    tlp_plan_make_options o = TLP_PLAN_MAKE_OPTIONS_INIT;

    o.depth = v->depth;
    o.exchanges = v->exchanges;
    o.n_track = v->n_track;
    o.max_kl = (double)v->max_kl;
    o.speedup = (double)v->speedup;
    o.link = v->link.struct_size ? &v->link : NULL;
    o.modes = v->mode_bits;
    o.max_group = v->max_group;
    o.session = session;
    o.objective = v->objective;
    o.seed = v->seed;
    o.max_bytes = (uint64_t)((double)v->memory * 1048576);
    o.resume = v->resume;
    o.start = v->start;
    o.point = add_point;
    o.point_data = v;
    o.progress = cli_progress_step;
    o.progress_data = bar;
    return o;
}

static int run(make *v, tlp_plan **plan)
{
    cli_progress bar;
    int rc = v->e.n_rank > 1 ? measure(v) : CLI_OK;

    if (rc == CLI_OK && v->csv_path)
        rc = out_open(&v->csv, v->csv_path);
    if (rc == CLI_OK && v->svg_path)
        rc = out_open(&v->svg, v->svg_path);
    if (rc != CLI_OK)
        return rc;

    tlp_session_options session = engine_session_options(&v->e, v->text.ctx);
    tlp_plan_make_options o = make_options(v, &session, &bar);

    cli_progress_start(&bar, "planning");
    tlp_status st = tlp_plan_make(plan, v->e.model, v->text.ids, v->text.n, &o);
    cli_progress_end(&bar);
    return st == TLP_OK ? v->rc : engine_fail(st);
}

/* The table goes to standard output unless another result does. */
static int report(make *v)
{
    int rc = CLI_OK;

    if (v->csv.file) {
        front_put_csv(&v->front, v->csv.file);
        rc = out_commit(&v->csv);
    }
    if (rc == CLI_OK && v->svg.file) {
        front_put_svg(&v->front, &v->e, &v->text, v->svg.file);
        rc = out_commit(&v->svg);
    }
    if (!out_is_stdout(v->csv_path) && !out_is_stdout(v->svg_path))
        front_print(&v->front);
    return rc;
}

static int make_plan(make *v)
{
    tlp_plan *plan = NULL;
    int rc = v->start_text ? engine_parse_plan(&v->e, v->start_text, &v->start)
                           : CLI_OK;

    if (rc == CLI_OK)
        rc = corpus_read(&v->text, &v->e);
    if (rc == CLI_OK)
        rc = run(v, &plan);
    if (rc == CLI_OK)
        rc = report(v);
    if (rc == CLI_OK && tlp_plan_save(plan, v->out_path) != TLP_OK)
        rc = engine_fail(TLP_ERROR);
    if (rc == CLI_OK)
        rc = cli_close_stdout();
    out_discard(&v->csv);
    out_discard(&v->svg);
    front_free(&v->front);
    tlp_plan_free(v->start);
    tlp_plan_free(plan);
    corpus_free(&v->text);
    return rc;
}

int plan_make(int argc, char **argv)
{
    make v = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        ENGINE_TRUST_OPTION(v.e),
        CORPUS_FILE_OPTIONS(v.text),
        CORPUS_MAX_OPTION(v.text),
        { CLI_INT, 0, "depth", &v.depth, "N", "target: N stages", 1,
          INT32_MAX },
        { CLI_INT, 0, "exchanges", &v.exchanges, "N",
          "target: N exchanges that a token waits for", 1, INT32_MAX },
        { CLI_FLOAT, 0, "max-kl", &v.max_kl, "X",
          "target: the deepest cut within X nats", 1e-6, 100 },
        { CLI_FLOAT, 0, "speedup", &v.speedup, "S",
          "target: layers / stages, or time with --ranks", 1, 1000 },
        { CLI_TEXT, 0, "modes", &v.modes, "LIST", "of lp, par, asym, nosync", 0,
          0 },
        { CLI_INT, 0, "tracks", &v.n_track, "N",
          "tracks of plans that leave out exchanges (2)", 2, 64 },
        { CLI_CHOICE, 0, "objective", &v.objective, "both|kl|nll",
          "minimise KL, -log p, or their mean", 0, 0 },
        { CLI_INT, 0, "max-group", &v.max_group, "N",
          "layers that may run together (4)", 2, 64 },
        { CLI_TEXT, 0, "start", &v.start_text, "PLAN",
          "plan from which the search sets out (serial)", 0, 0 },
        CORPUS_CTX_OPTION(v.text),
        { CLI_SEED, 0, "seed", &v.seed, "N", "order of the windows (0)", 0, 0 },
        { CLI_TEXT, 0, "resume", &v.resume, "FILE",
          "keep scores in this file, and start from them", 0, 0 },
        { CLI_TEXT, 0, "pareto", &v.csv_path, "FILE",
          "write the best plan of each step as CSV", 0, 0 },
        { CLI_TEXT, 0, "svg", &v.svg_path, "FILE",
          "draw the best plan of each step", 0, 0 },
        { CLI_FLOAT, 0, "memory", &v.memory, "MIB",
          "memory for saving time (768)", 1, 1e9 },
        { CLI_TEXT, 'o', "output", &v.out_path, "FILE", "the plan, JSON", 0,
          0 },
        { CLI_INT, 0, "ranks", &v.e.n_rank, "N",
          "measure N ranks on this machine for --speedup", 0, 64 },
        ENGINE_LINK_OPTION(v.e),
        { CLI_CHOICE, 0, "compute", &v.e.compute, "default|f32",
          "f32 keeps activations exact (default: 8 bits)", 0, 0 },
        { CLI_CHOICE, 0, "kv", &v.e.kv, "default|f32|f16|bf16|q8_0",
          "type of the KV cache (f16; f32 with --compute f32)", 0, 0 },
        ENGINE_PROCESS_OPTIONS(v.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    rc = check_options(&v);
    if (rc == CLI_OK)
        rc = out_check(v.out_path);
    if (rc == CLI_OK)
        rc = engine_open_model(&v.e, false);
    if (rc == CLI_OK)
        rc = make_plan(&v);
    engine_close(&v.e);
    return rc;
}
