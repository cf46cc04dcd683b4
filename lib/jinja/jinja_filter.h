/*
 * jinja_filter.h - filters of lists (jinja_filter_list.c).
 */
#ifndef TLPI_JINJA_FILTER_H
#define TLPI_JINJA_FILTER_H

#include "jinja/jinja_run.h"

#define TLPI_JFILTER(name)                                                     \
    tlpi_jval tlpi_jfilter_##name(tlpi_jinterp *in, tlpi_jval v,               \
                                  const tlpi_jargs *args)

TLPI_JFILTER(dictsort);
TLPI_JFILTER(first);
TLPI_JFILTER(items);
TLPI_JFILTER(join);
TLPI_JFILTER(last);
TLPI_JFILTER(list);
TLPI_JFILTER(map);
TLPI_JFILTER(max);
TLPI_JFILTER(min);
TLPI_JFILTER(reject);
TLPI_JFILTER(rejectattr);
TLPI_JFILTER(reverse);
TLPI_JFILTER(select);
TLPI_JFILTER(selectattr);
TLPI_JFILTER(sort);
TLPI_JFILTER(sum);
TLPI_JFILTER(unique);

#endif
