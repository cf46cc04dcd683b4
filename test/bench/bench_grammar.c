/*
 * bench_grammar.c MODEL GRAMMAR TEXT - time of tlp_matcher_get_mask along a
 * text.
 *
 * The text is read again and again; the time of a call is the least of all
 * rounds, in processor time, so that a busy machine does little harm.  The
 * first round also makes what the matchers of a grammar share: its times are
 * printed beside.  GRAMMAR is GBNF, or a JSON schema if its name ends in .json.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tlp.h"

enum { ROUNDS = 20, MAX_TOKEN = 4096 };

typedef struct mask_times {
    int32_t id[MAX_TOKEN];
    size_t n;
    double first[MAX_TOKEN], least[MAX_TOKEN]; /* microseconds */
    uint32_t *bits;
    size_t n_word;
} mask_times;

static void ok(tlp_status st)
{
    if (st == TLP_OK)
        return;
    fprintf(stderr, "bench_grammar: %s\n", tlp_last_error());
    exit(EXIT_FAILURE);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static char *read_all(const char *path, size_t *n)
{
    enum { CAP = 1 << 20 };
    FILE *f = fopen(path, "rb");
    char *text = malloc(CAP);

    if (!f || !text) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    *n = fread(text, 1, CAP, f);
    fclose(f);
    return text;
}

static void time_round(mask_times *t, tlp_grammar *g, int round)
{
    tlp_matcher *m = NULL;
    size_t n = 0;

    ok(tlp_matcher_create(&m, g));
    for (size_t i = 0; i < t->n; i++) {
        double start = now();
        ok(tlp_matcher_get_mask(t->bits, t->n_word, &n, m));
        double took = now() - start;
        if (round == 0)
            t->first[i] = t->least[i] = took;
        t->least[i] = took < t->least[i] ? took : t->least[i];
        ok(tlp_matcher_accept(m, t->id[i]));
    }
    tlp_matcher_free(m);
}

static int compare(const void *pa, const void *pb)
{
    const double *a = pa, *b = pb;

    return (*a > *b) - (*a < *b);
}

static void print_row(const char *name, double *us, size_t n)
{
    qsort(us, n, sizeof *us, compare);
    printf("%-16s median %8.1f us   90%% %8.1f us   most %8.1f us\n", name,
           us[n / 2], us[n * 9 / 10], us[n - 1]);
}

int main(int argc, char **argv)
{
    static mask_times t;
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model_info info = { .struct_size = sizeof info };
    tlp_model *model = NULL;
    tlp_grammar *g = NULL;
    size_t n_grammar, n_text;

    if (argc != 4) {
        fprintf(stderr, "usage: bench_grammar MODEL GRAMMAR TEXT\n");
        return 2;
    }
    char *grammar = read_all(argv[2], &n_grammar);
    char *text = read_all(argv[3], &n_text);
    const char *dot = strrchr(argv[2], '.');
    o.vocab_only = 1;
    ok(tlp_model_open(&model, argv[1], &o));
    ok(tlp_model_get_info(&info, model));
    ok(dot && strcmp(dot, ".json") == 0
           ? tlp_grammar_from_schema(&g, model, grammar, n_grammar)
           : tlp_grammar_parse(&g, model, grammar, n_grammar));
    ok(tlp_tokenize(t.id, MAX_TOKEN, &t.n, model, text, n_text, 0));
    t.n_word = ((size_t)info.n_vocab + 31) / 32;
    t.bits = calloc(t.n_word, sizeof *t.bits);
    for (int round = 0; round < ROUNDS; round++)
        time_round(&t, g, round);
    printf("%d tokens in the vocabulary, %zu calls, least of %d rounds\n",
           info.n_vocab, t.n, ROUNDS);
    print_row("later rounds", t.least, t.n);
    print_row("first round", t.first, t.n);
    free(t.bits);
    free(text);
    free(grammar);
    tlp_grammar_free(g);
    tlp_model_free(model);
    return EXIT_SUCCESS;
}
