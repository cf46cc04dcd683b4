/*
 * fuzz.h - what the fuzz targets share.  Each includes this once, last.
 *
 * With TLP_FUZZ_STANDALONE a target is a program that runs the files given as
 * arguments, to see again what libFuzzer found.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the library promises must hold; a broken promise is a crash. */
static void promise(bool kept)
{
    if (!kept)
        abort();
}

#ifdef TLP_FUZZ_STANDALONE
static bool run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t n = 0, cap = 0, got = 0;

    if (!f) {
        perror(path);
        return false;
    }
    do {
        n += got;
        if (n == cap) {
            cap = 2 * cap + 4096;
            data = realloc(data, cap);
            promise(data != NULL);
        }
        got = fread(data + n, 1, cap - n, f);
    } while (got > 0);
    fclose(f);
    LLVMFuzzerTestOneInput(data, n);
    free(data);
    return true;
}

int main(int argc, char **argv)
{
    bool ok = true;

    for (int i = 1; i < argc; i++)
        ok = run_file(argv[i]) && ok;
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
#endif

#endif
