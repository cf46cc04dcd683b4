/*
 * serve_page.c - the page at /, which src/page.html is: the Makefile makes an
 * array of it.
 */
#include "serve.h"

extern const unsigned char serve_page_text[];
extern const size_t serve_page_size;

/* The page loads nothing from elsewhere, and stands in no other page. */
static const char policy[] =
    "default-src 'none'; style-src 'unsafe-inline'; script-src "
    "'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri "
    "'none'; form-action 'none'";

enum MHD_Result serve_page(call *c)
{
    return reply_page(c, (const char *)serve_page_text, serve_page_size,
                      policy);
}
