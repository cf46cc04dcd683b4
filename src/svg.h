/*
 * svg.h - what the tool's pictures share: SVG written by hand, without scripts
 * and outside references.
 */
#ifndef SVG_H
#define SVG_H

#include <stdio.h>

/*
 * The root element and a white background; end it with "</svg>".  Text is 11
 * pixels high and has classes: m and e place its middle and its end, h is
 * bold, t is the picture's title.  `style` has CSS beside that.
 */
void svg_open(FILE *f, int width, int height, const char *style);

/* Characters that XML needs escaped, and none that it forbids. */
void svg_text(FILE *f, const char *text);

#endif
