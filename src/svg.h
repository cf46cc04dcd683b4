/*
 * svg.h - helpers for the tool's pictures: hand-written SVG without scripts
 * and external references.
 */
#ifndef SVG_H
#define SVG_H

#include <stdio.h>

/*
 * Write the root element and a white background; the caller ends it with
 * "</svg>".  Text is 11 pixels high.  Classes: m and e anchor text at its
 * middle or end, h is bold, t is the picture's title.  `style` has further
 * CSS.
 */
void svg_open(FILE *f, int width, int height, const char *style);

/* Write text with XML's escapes, without characters that XML forbids. */
void svg_text(FILE *f, const char *text);

#endif
