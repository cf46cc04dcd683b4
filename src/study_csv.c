/*
 * study_csv.c - cells as CSV, from which an interrupted study can continue:
 * comments that identify the study, a line of names, and a row for each
 * finished cell in the study's order.  Numbers are written so that reading
 * restores their bits.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "study.h"

/* A line that earlier versions, and models that are known by their fingerprint,
 * do not have. */
#define DIGEST "# digest "

static const char columns[] = "kind,mode,start,end,depth,nll,ppl,ratio,kl";

/* FNV-1a over the little-endian ids. */
static uint64_t hash_ids(const corpus *text)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < text->n; i++)
        for (int shift = 0; shift < 32; shift += 8) {
            hash ^= (uint32_t)text->ids[i] >> shift & 0xff;
            hash *= 0x100000001b3u;
        }
    return hash;
}

int study_put_identity(const study *s, FILE *f)
{
    static const char *const compute[] = { "default", "f32" };
    static const char *const kv[] = { "default", "f32", "f16", "bf16", "q8_0" };
    static const char *const isa[] = { "auto", "scalar", "avx2", "avx512",
                                       "amx" };
    char digest[72];
    size_t n;

    fprintf(f, "# model %s\n", s->e.info.fingerprint);
    if (!s->e.trust_sample) {
        tlp_status st =
            tlp_model_get_digest(digest, sizeof digest, &n, s->e.model);

        if (st != TLP_OK)
            return engine_fail(st);
        fprintf(f, DIGEST "%s\n", digest);
    }
    fprintf(f, "# tokens %zu fnv1a:%016" PRIx64 "\n# ctx %d\n", s->text.n,
            hash_ids(&s->text), s->text.ctx);
    fprintf(f, "# compute %s\n# kv %s\n# isa %s\n", compute[s->e.compute],
            kv[s->e.kv], isa[s->e.isa]);
    return CLI_OK;
}

/* Text of all settings on which a cell's numbers depend, except its own
 * columns; the caller frees it.  The number of threads does not change them. */
static int make_header(const study *s, char **text)
{
    size_t n;
    FILE *f;
    int rc;

    *text = NULL;
    f = open_memstream(text, &n);
    if (!f)
        return cli_fail("out of memory");
    fputs("# tlp study 1\n", f);
    rc = study_put_identity(s, f);
    fprintf(f, "# kl %s\n# seed %" PRIu64 "\n# draws %d\n%s\n",
            s->with_kl ? "yes" : "no", s->seed, s->n_draw, columns);
    if (fclose(f) != 0 && rc == CLI_OK)
        rc = cli_fail("out of memory");
    return rc;
}

/* ==== out ================================================================ */

static void put_cell(FILE *f, const study *s, const cell *c)
{
    fprintf(f, "%s,%s,%d,%d,%d,%.17g,%.9g,%.9g,", study_kind_name(c->kind),
            study_mode_name(c->mode), c->start, c->end, c->depth, c->nll,
            exp(c->nll), study_ratio(s, c));
    if (s->with_kl)
        fprintf(f, "%.17g", c->kl);
    putc('\n', f);
}

int study_write_csv(const study *s, const char *path)
{
    out_file out = { 0 };
    char *header;
    int rc = make_header(s, &header);

    if (rc == CLI_OK)
        rc = out_open(&out, path);
    if (rc == CLI_OK) {
        fputs(header, out.file);
        for (size_t i = 0; i < s->n; i++)
            if (s->cell[i].done)
                put_cell(out.file, s, &s->cell[i]);
        rc = out_commit(&out);
    }
    out_discard(&out);
    free(header);
    return rc;
}

/* ==== in ================================================================= */

/* The lines up to the names must match this study. */
static int check_header(const char *path, char **at, char *header)
{
    int number = 0;
    char *want;

    while ((want = strsep(&header, "\n")) && *want) {
        bool has_digest = *at && !strncmp(*at, DIGEST, strlen(DIGEST));
        bool wants_digest = !strncmp(want, DIGEST, strlen(DIGEST));

        if (wants_digest && !has_digest)
            continue;
        char *got = strsep(at, "\n");
        number++;
        if (has_digest && !wants_digest) {
            got = strsep(at, "\n");
            number++;
        }
        if (got && !strcmp(got, want))
            continue;
        if (number == 1)
            return cli_fail("%s: not the CSV of a study", path);
        return cli_fail("%s: line %d is \"%.80s\", \"%s\" expected: a study of "
                        "another model, text or option",
                        path, number, got ? got : "", want);
    }
    return CLI_OK;
}

static cell *find_cell(study *s, const char *kind, const char *mode, int start,
                       int end)
{
    for (size_t i = 0; i < s->n; i++) {
        cell *c = &s->cell[i];

        if (c->start == start && c->end == end &&
            !strcmp(kind, study_kind_name(c->kind)) &&
            !strcmp(mode, study_mode_name(c->mode)))
            return c;
    }
    return NULL;
}

/* Convert a whole field to a number. */
static bool read_real(const char *field, double *out)
{
    char *end;

    *out = strtod(field, &end);
    return end != field && !*end;
}

static bool read_int(const char *field, int *out)
{
    double value;

    if (!read_real(field, &value) || !(value >= 0 && value <= INT16_MAX) ||
        value != floor(value))
        return false;
    *out = (int)value;
    return true;
}

enum { KIND, MODE, START, END, DEPTH, NLL, PPL, RATIO, KL, N_FIELD };

static int read_row(study *s, const char *path, int number, char *line)
{
    char *field[N_FIELD];
    int start, end, depth;
    double nll, kl = 0;
    cell *c;

    for (int i = 0; i < N_FIELD; i++)
        if (!(field[i] = strsep(&line, ",")))
            return cli_fail("%s: line %d: %d fields expected", path, number,
                            N_FIELD);
    if (line || !read_int(field[START], &start) ||
        !read_int(field[END], &end) || !read_int(field[DEPTH], &depth) ||
        !read_real(field[NLL], &nll) ||
        (s->with_kl ? !read_real(field[KL], &kl) : *field[KL] != '\0'))
        return cli_fail("%s: line %d is not a row of a study", path, number);
    c = find_cell(s, field[KIND], field[MODE], start, end);
    if (!c || c->done)
        return cli_fail("%s: line %d: %s,%s,%d,%d is %s", path, number,
                        field[KIND], field[MODE], start, end,
                        c ? "there twice"
                          : "not asked for by --kind, --mode, --step and "
                            "--ranges");
    c->depth = depth;
    c->nll = nll;
    c->kl = kl;
    c->done = true;
    s->n_done++;
    return CLI_OK;
}

static int read_rows(study *s, const char *path, char *at, char *header)
{
    int number = 1;

    for (const char *h = header; *h; h++)
        number += *h == '\n';

    int rc = check_header(path, &at, header);

    for (; rc == CLI_OK && at && *at; number++)
        rc = read_row(s, path, number, strsep(&at, "\n"));
    return rc;
}

int study_read_csv(study *s, const char *path)
{
    char *text = NULL, *header;
    size_t n;
    int rc = make_header(s, &header);

    if (rc == CLI_OK)
        rc = file_read(path, &text, &n);
    if (rc == CLI_OK && strlen(text) != n)
        rc = cli_fail("%s: not the CSV of a study", path);
    /* A truncated number would still be a valid number. */
    else if (rc == CLI_OK && n > 0 && text[n - 1] != '\n')
        rc = cli_fail("%s: the last line is cut off", path);
    if (rc == CLI_OK)
        rc = read_rows(s, path, text, header);
    free(text);
    free(header);
    return rc;
}
