/*
 * study_report.c - print a study as tables, with rows by start and columns by
 * end, and as JSON.
 */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "files.h"
#include "json.h"
#include "study.h"

/* ==== tables ============================================================= */

/* The colour in the terminal's cube of 6 x 6 x 6 colours. */
static void print_value(double ratio, bool with_colour)
{
    char buf[16];

    if (with_colour) {
        rgb c = study_colour(ratio);
        int index = 16 + 36 * (c.r / 43) + 6 * (c.g / 43) + c.b / 43;

        printf("\033[48;5;%d;%sm%6s\033[0m", index,
               rgb_is_light(c) ? "30" : "97", study_format_ratio(ratio, buf));
    } else {
        printf("%6s", study_format_ratio(ratio, buf));
    }
}

static void print_row(const study *s, const axes *a, const panel *p, int row,
                      bool with_colour)
{
    int column = 0;

    printf("%6d", a->start[row]);
    for (size_t i = 0; i < p->n; i++) {
        const cell *c = &p->cell[i];

        if (c->start != a->start[row] || !c->done)
            continue;
        for (int at = axes_find(a->end, a->n_end, c->end); column < at;
             column++)
            printf("%6s", "");
        print_value(study_ratio(s, c), with_colour);
        column++;
    }
    putchar('\n');
}

static void print_panel(const study *s, const axes *a, const panel *p)
{
    bool with_colour = isatty(STDOUT_FILENO);

    printf("\n%s\n%6s", p->title, "");
    for (int i = 0; i < a->n_end; i++)
        printf("%6d", a->end[i]);
    putchar('\n');
    for (int row = 0; row < a->n_start; row++)
        print_row(s, a, p, row, with_colour);
}

int study_print(const study *s)
{
    axes a = { 0 };
    size_t at = 0;
    panel p;
    int rc = study_make_axes(s, &a);

    if (rc == CLI_OK) {
        printf("%zu tokens in windows of %d, %zu of %zu cells\n",
               s->text.n - s->text.n_bos, s->text.ctx, s->n_done, s->n);
        printf("serial: perplexity %.4f, nll %.5f\n", exp(s->cell[0].nll),
               s->cell[0].nll);
        printf("Below: perplexity / serial, rows by first layer, columns by "
               "last\n");
        while (study_next_panel(s, &at, &p))
            print_panel(s, &a, &p);
        rc = cli_close_stdout();
    }
    study_free_axes(&a);
    return rc;
}

/* ==== JSON =============================================================== */

static void json_cell(json *j, const study *s, const cell *c)
{
    json_open(j, NULL, '{');
    json_text(j, "kind", study_kind_name(c->kind));
    if (c->mode >= 0)
        json_text(j, "mode", study_mode_name(c->mode));
    json_int(j, "start", c->start);
    json_int(j, "end", c->end);
    json_int(j, "draws", study_n_draw(s, c));
    json_int(j, "effective_depth", c->depth);
    json_number(j, "nll", c->nll);
    json_number(j, "ppl", exp(c->nll));
    json_number(j, "ppl_ratio", study_ratio(s, c));
    if (s->with_kl)
        json_number(j, "kl_mean", c->kl);
    json_close(j, '}');
}

int study_n_stdout(const study *s)
{
    return out_is_stdout(s->csv) + out_is_stdout(s->json) +
           out_is_stdout(s->svg);
}

void study_put_head(json *j, const study *s)
{
    json_text(j, "model", s->e.info.fingerprint);
    json_int(j, "n_layer", s->e.info.n_layer);
    json_int(j, "tokens", (int64_t)(s->text.n - s->text.n_bos));
    json_int(j, "ctx", s->text.ctx);
}

int study_write_json(const study *s, const char *path)
{
    out_file out = { 0 };
    int rc = out_open(&out, path);

    if (rc == CLI_OK) {
        json j = { .file = out.file };

        json_open(&j, NULL, '{');
        study_put_head(&j, s);
        json_int(&j, "cells_wanted", (int64_t)s->n);
        json_open(&j, "cells", '[');
        for (size_t i = 0; i < s->n; i++)
            if (s->cell[i].done)
                json_cell(&j, s, &s->cell[i]);
        json_close(&j, ']');
        json_close(&j, '}');
        putc('\n', out.file);
        rc = out_commit(&out);
    }
    out_discard(&out);
    return rc;
}
