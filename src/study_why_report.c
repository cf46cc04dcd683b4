/*
 * study_why_report.c - rank correlations; the places as a table, CSV and JSON.
 */
#include <math.h>

#include "files.h"
#include "json.h"
#include "study_why.h"

static const char *const kind_names[] = {
    [TLP_PLACE_EXCHANGE] = "exchange", [TLP_PLACE_PAIR] = "pair"
};
enum { N_KIND = sizeof kind_names / sizeof *kind_names };

const char *why_name(int value)
{
    static const char *const names[N_WHY] = {
        "step", "own", "change", "error", "sensitivity", "estimate", "kl",
    };
    return names[value];
}

static const char *half_name(const why_row *r)
{
    return r->kind == TLP_PLACE_PAIR    ? ""
           : r->half == TLP_NOSYNC_ATTN ? "attn"
                                        : "ffn";
}

size_t why_rows_of(const why *w, int kind, size_t *first)
{
    size_t at = 0, end;

    while (at < w->n && w->row[at].kind != kind)
        at++;
    for (end = at; end < w->n && w->row[end].kind == kind;)
        end++;
    *first = at;
    return end - at;
}

/* ==== correlation ======================================================== */

/* Twice the rank of row i among n rows; equal values share the mean of their
 * ranks. */
static double rank_of(const why_row *row, size_t n, size_t i, int value)
{
    double x = row[i].value[value];
    size_t below = 0, equal = 0;

    for (size_t j = 0; j < n; j++) {
        below += row[j].value[value] < x;
        equal += row[j].value[value] == x;
    }
    return (double)(2 * below + equal);
}

double why_correlation(const why *w, int kind, int value)
{
    double sum = 0, a = 0, b = 0, centre;
    size_t first, n = why_rows_of(w, kind, &first);
    const why_row *row = w->row + first;

    centre = (double)n; /* the mean of twice the ranks, as they count here */
    for (size_t i = 0; i < n; i++) {
        double x = rank_of(row, n, i, value) - centre;
        double y = rank_of(row, n, i, WHY_KL) - centre;

        sum += x * y;
        a += x * x;
        b += y * y;
    }
    return sum / sqrt(a * b); /* 0 / 0 is NaN */
}

/* ==== table ============================================================== */

static void print_rows(const why *w, int kind)
{
    size_t first, n = why_rows_of(w, kind, &first);

    for (size_t i = first; i < first + n; i++) {
        const double *v = w->row[i].value;

        printf("%-14s %8.4f %6.3f %8.4f %8.4f %11.3f %9.5f %9.5f\n",
               w->row[i].plan, v[WHY_STEP], v[WHY_OWN], v[WHY_CHANGE],
               v[WHY_ERROR], v[WHY_SENSITIVITY], v[WHY_ESTIMATE], v[WHY_KL]);
    }
}

static void print_correlations(const why *w, int kind)
{
    size_t first, n = why_rows_of(w, kind, &first);
    char title[32];

    snprintf(title, sizeof title, "%zu %ss", n, kind_names[kind]);
    printf("%-14s %8.3f %6.3f %8.3f %8.3f %11.3f %9.3f\n", title,
           why_correlation(w, kind, WHY_STEP),
           why_correlation(w, kind, WHY_OWN),
           why_correlation(w, kind, WHY_CHANGE),
           why_correlation(w, kind, WHY_ERROR),
           why_correlation(w, kind, WHY_SENSITIVITY),
           why_correlation(w, kind, WHY_ESTIMATE));
}

int why_print(const why *w)
{
    const study *s = w->s;

    printf("%zu tokens in windows of %d, %zu of %zu places\n"
           "f: the half-layer before the exchange, or the first layer of the "
           "pair; g: the next\n\n",
           s->text.n - s->text.n_bos, s->text.ctx, w->n, w->n_wanted);
    printf("%-14s %8s %6s %8s %8s %11s %9s %9s\n", "plan", "|f|/|x|", "own",
           "|Jf|/|g|", "error", "sensitivity", "S error^2", "KL nats");
    for (int kind = 0; kind < N_KIND; kind++)
        print_rows(w, kind);
    puts("\nRank correlation with the KL divergence (Spearman)");
    for (int kind = 0; kind < N_KIND; kind++)
        print_correlations(w, kind);
    return cli_close_stdout();
}

/* ==== CSV ================================================================ */

static void put_csv(const why *w, FILE *f)
{
    fputs("kind,layer,half,plan", f);
    for (int v = 0; v < N_WHY; v++)
        fprintf(f, ",%s", why_name(v));
    putc('\n', f);
    for (size_t i = 0; i < w->n; i++) {
        const why_row *r = &w->row[i];

        fprintf(f, "%s,%d,%s,%s", kind_names[r->kind], r->layer, half_name(r),
                r->plan);
        for (int v = 0; v < N_WHY; v++)
            fprintf(f, ",%.9g", r->value[v]);
        putc('\n', f);
    }
}

int why_write_csv(const why *w, const char *path)
{
    out_file out = { 0 };
    int rc = out_open(&out, path);

    if (rc == CLI_OK) {
        fputs("# tlp study --why 1\n", out.file);
        rc = study_put_identity(w->s, out.file);
    }
    if (rc == CLI_OK) {
        fprintf(out.file, "# seed %llu\n# tracks %d\n",
                (unsigned long long)w->s->seed, w->s->n_track);
        put_csv(w, out.file);
        rc = out_commit(&out);
    }
    out_discard(&out);
    return rc;
}

/* ==== JSON =============================================================== */

static void json_place(json *j, const why_row *r)
{
    json_open(j, NULL, '{');
    json_text(j, "kind", kind_names[r->kind]);
    json_int(j, "layer", r->layer);
    if (r->kind == TLP_PLACE_EXCHANGE)
        json_text(j, "half", half_name(r));
    json_text(j, "plan", r->plan);
    for (int v = 0; v < N_WHY; v++)
        json_number(j, v == WHY_KL ? "kl_mean" : why_name(v), r->value[v]);
    json_close(j, '}');
}

static void json_correlations(json *j, const why *w)
{
    json_open(j, "rank_correlation", '{');
    for (int kind = 0; kind < N_KIND; kind++) {
        size_t first;

        json_open(j, kind_names[kind], '{');
        json_int(j, "n", (int64_t)why_rows_of(w, kind, &first));
        for (int v = 0; v < WHY_KL; v++)
            json_number(j, why_name(v), why_correlation(w, kind, v));
        json_close(j, '}');
    }
    json_close(j, '}');
}

int why_write_json(const why *w, const char *path)
{
    const study *s = w->s;
    out_file out = { 0 };
    int rc = out_open(&out, path);

    if (rc == CLI_OK) {
        json j = { .file = out.file };

        json_open(&j, NULL, '{');
        study_put_head(&j, s);
        json_int(&j, "tracks", s->n_track);
        json_int(&j, "places_wanted", (int64_t)w->n_wanted);
        json_open(&j, "places", '[');
        for (size_t i = 0; i < w->n; i++)
            json_place(&j, &w->row[i]);
        json_close(&j, ']');
        json_correlations(&j, w);
        json_close(&j, '}');
        putc('\n', out.file);
        rc = out_commit(&out);
    }
    out_discard(&out);
    return rc;
}
