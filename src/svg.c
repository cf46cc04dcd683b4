/*
 * svg.c - helpers for the tool's pictures.
 */
#include "svg.h"

#include <string.h>

void svg_open(FILE *f, int width, int height, const char *style)
{
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
            "height=\"%d\" viewBox=\"0 0 %d %d\">\n",
            width, height, width, height);
    fprintf(f,
            "<style>text{font:11px sans-serif}.m{text-anchor:middle}"
            ".e{text-anchor:end}.h{font-weight:bold}text.t{font-size:14px}"
            "%s</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            style);
}

void svg_text(FILE *f, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < ' ' || *c > '~')
            putc('?', f);
        else if (strchr("<>&\"", *c))
            fprintf(f, "&#%d;", *c);
        else
            putc(*c, f);
}
