/* logging.h - see criterion.h here. */
#include <stdio.h>
