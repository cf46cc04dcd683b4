/*
 * 05_dlopen.c - load the library at run time, without linking it: for a program
 * that must also start on machines without the library.
 *
 *     ./dlopen libtlp.so.1 model.gguf
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <tlp.h>

/* The functions this program needs, by their types in tlp.h. */
typedef struct tlp_functions {
    int (*version_number)(void);
    const char *(*build_info)(void);
    const char *(*last_error)(void);
    tlp_status (*model_open)(tlp_model **, const char *,
                             const tlp_model_options *);
    tlp_status (*model_get_info)(tlp_model_info *, const tlp_model *);
    void (*model_free)(tlp_model *);
} tlp_functions;

/* ISO C has no cast from an object to a function pointer; POSIX guarantees that
 * copying the bytes works. */
static int load(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);

    if (symbol)
        memcpy(function, &symbol, sizeof symbol);
    else
        fprintf(stderr, "%s\n", dlerror());
    return symbol != NULL;
}

static int load_all(void *library, tlp_functions *f)
{
    return load(library, "tlp_version_number", &f->version_number) &&
           load(library, "tlp_build_info", &f->build_info) &&
           load(library, "tlp_last_error", &f->last_error) &&
           load(library, "tlp_model_open", &f->model_open) &&
           load(library, "tlp_model_get_info", &f->model_get_info) &&
           load(library, "tlp_model_free", &f->model_free);
}

static void print_warning(int level, const char *text, void *user_data)
{
    (void)user_data;
    if (level == TLP_LOG_WARN)
        fprintf(stderr, "warning: %s\n", text);
}

static int show_model(const tlp_functions *f, const char *path)
{
    tlp_model_options open = TLP_MODEL_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_model_info info;
    int ok;

    info.struct_size = sizeof info; /* of the header this was compiled with */
    open.log = print_warning;
    ok =
        !f->model_open(&model, path, &open) && !f->model_get_info(&info, model);
    if (ok)
        printf("%s: %s, %d layers, %lld parameters\n", path, info.arch,
               (int)info.n_layer, (long long)info.n_param);
    else
        fprintf(stderr, "%s\n", f->last_error());
    f->model_free(model);
    return ok;
}

int main(int argc, char **argv)
{
    tlp_functions f;
    void *library;
    int ok;

    if (argc < 3) {
        fprintf(stderr, "usage: %s LIBRARY MODEL\n", argv[0]);
        return 2;
    }
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    ok = load_all(library, &f);
    if (ok) {
        printf("version %d, %s\n", f.version_number(), f.build_info());
        ok = show_model(&f, argv[2]);
    }
    dlclose(library);
    return ok ? 0 : 1;
}
