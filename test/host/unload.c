/*
 * unload.c - load the library, use it, free everything and unload it, round
 * after round; then say what the process has more of than after the first
 * rounds.
 *
 *     unload LIBRARY MODEL ROUNDS open|session
 *
 * The program links nothing of the library and none of the libraries that it
 * needs, so that unloading unloads them all.  Prints one line:
 *
 *     rss KB maps N threads N fds N writable-code N
 *
 * The first four are growths, the last counts mappings of memory without a file
 * that can be executed, at their most.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tlp.h>

#define WARM_UP 12

typedef struct functions {
    __typeof__(tlp_last_error) *last_error;
    __typeof__(tlp_model_open) *model_open;
    __typeof__(tlp_model_free) *model_free;
    __typeof__(tlp_tokenize) *tokenize;
    __typeof__(tlp_plan_parse) *plan_parse;
    __typeof__(tlp_plan_free) *plan_free;
    __typeof__(tlp_session_create) *session_create;
    __typeof__(tlp_session_free) *session_free;
    __typeof__(tlp_session_prefill) *session_prefill;
    __typeof__(tlp_session_generate) *session_generate;
} functions;

typedef struct usage {
    long rss, maps, threads, fds;
} usage;

static long code_maps; /* the most seen at once */

static void die(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s\n", what, text);
    exit(1);
}

static void find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);

    if (!symbol)
        die(name, dlerror());
    memcpy(function, &symbol, sizeof symbol);
}

static void find_all(void *library, functions *f)
{
    find(library, "tlp_last_error", &f->last_error);
    find(library, "tlp_model_open", &f->model_open);
    find(library, "tlp_model_free", &f->model_free);
    find(library, "tlp_tokenize", &f->tokenize);
    find(library, "tlp_plan_parse", &f->plan_parse);
    find(library, "tlp_plan_free", &f->plan_free);
    find(library, "tlp_session_create", &f->session_create);
    find(library, "tlp_session_free", &f->session_free);
    find(library, "tlp_session_prefill", &f->session_prefill);
    find(library, "tlp_session_generate", &f->session_generate);
}

/* ==== what the process has =============================================== */

static long count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    long n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static usage measure(void)
{
    usage u = { .fds = count_fds() };
    char line[512];
    FILE *f = fopen("/proc/self/status", "r");

    while (f && fgets(line, sizeof line, f)) {
        (void)sscanf(line, "VmRSS: %ld", &u.rss);
        (void)sscanf(line, "Threads: %ld", &u.threads);
    }
    if (f)
        fclose(f);
    f = fopen("/proc/self/maps", "r");
    long code = 0;
    while (f && fgets(line, sizeof line, f)) {
        char access[8] = "";
        unsigned long inode = 1;

        (void)sscanf(line, "%*s %7s %*s %*s %lu", access, &inode);
        u.maps++;
        code += access[2] == 'x' && inode == 0 && !strchr(line, '[');
    }
    if (f)
        fclose(f);
    code_maps = code > code_maps ? code : code_maps;
    return u;
}

/* ==== a round ============================================================ */

static void *fail_on_thread(void *arg)
{
    const functions *f = arg;
    tlp_model *m = NULL;

    /* the text belongs to this thread, which ends */
    if (f->model_open(&m, "/nonexistent.gguf", NULL) == TLP_OK ||
        !f->last_error()[0])
        die("failing", "no failure");
    return NULL;
}

static void use_session(const functions *f, tlp_model *m, const int32_t *ids,
                        size_t n)
{
    tlp_plan *p = NULL;
    tlp_session *s = NULL;
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tlp_generate_options g = TLP_GENERATE_OPTIONS_INIT;

    o.n_ctx = 64;
    o.n_rank = 2;
    o.n_thread = 2;
    o.pin = 1;
    g.n_predict = 4;
    g.ignore_end = 1;
    if (f->plan_parse(&p, m, "serial") || f->session_create(&s, p, &o) ||
        f->session_prefill(s, ids, n) || f->session_generate(NULL, s, NULL, &g))
        die("session", f->last_error());
    f->session_free(s);
    f->plan_free(p);
}

static void run_round(const char *library, const char *model, int session)
{
    static const char text[] = "I've 12 dogs,\n\n  and a long line of text.";
    functions f;
    tlp_model *m = NULL;
    int32_t ids[256];
    size_t n = 0;
    pthread_t thread;
    void *l = dlopen(library, RTLD_NOW | RTLD_LOCAL);

    if (!l)
        die("dlopen", dlerror());
    find_all(l, &f);
    if (f.model_open(&m, model, NULL) ||
        f.tokenize(ids, sizeof ids / sizeof *ids, &n, m, text, sizeof text - 1,
                   0))
        die("model", f.last_error());
    if (session)
        use_session(&f, m, ids, n);
    if (pthread_create(&thread, NULL, fail_on_thread, &f))
        die("pthread_create", "no thread");
    pthread_join(thread, NULL);
    measure();
    f.model_free(m);
    dlclose(l);
    if (dlopen(library, RTLD_NOW | RTLD_NOLOAD))
        die("dlclose", "the library is still loaded");
}

int main(int argc, char **argv)
{
    usage before = { 0 }, after;

    if (argc != 5)
        die("usage", "unload LIBRARY MODEL ROUNDS open|session");
    for (int i = 0; i < WARM_UP + atoi(argv[3]); i++) {
        if (i == WARM_UP)
            before = measure();
        run_round(argv[1], argv[2], strcmp(argv[4], "session") == 0);
    }
    after = measure();
    printf("rss %ld maps %ld threads %ld fds %ld writable-code %ld\n",
           after.rss - before.rss, after.maps - before.maps,
           after.threads - before.threads, after.fds - before.fds, code_maps);
    return 0;
}
