/*
 * fuzz_imatrix.c - any bytes as an importance matrix, GGUF or the older format.
 * Importances that are accepted must be finite and not negative, with a mean of
 * 1 or all 0, under names in order.
 */
#include <math.h>
#include <string.h>

#include "model/imatrix.h"
#include "fuzz.h"

static void check_item(const tlpi_importance *e)
{
    int64_t n = e->n * e->n_mat;
    double sum = 0;

    promise(n > 0 && e->name[0] != '\0');
    for (int64_t i = 0; i < n; i++) {
        promise(isfinite(e->x[i]) && e->x[i] >= 0);
        sum += (double)e->x[i];
    }
    promise(sum == 0 || fabs(sum / (double)n - 1) < 1e-5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tlpi_env env;
    tlpi_imatrix *im = NULL;

    promise(tlpi_env_init(&env, NULL, NULL, NULL) == TLP_OK);
    tlp_status st = tlpi_imatrix_open_memory(&im, &env, data, size);
    promise((st == TLP_OK) == (im != NULL));
    promise(st == TLP_OK || *tlp_last_error() != '\0');
    for (uint32_t i = 0; im && i < im->n; i++) {
        check_item(&im->item[i]);
        promise(i == 0 || strcmp(im->item[i - 1].name, im->item[i].name) < 0);
    }
    tlpi_imatrix_free(im);
    return 0;
}
