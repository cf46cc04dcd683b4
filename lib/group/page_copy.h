/*
 * page_copy.h - commands that move the content of pages between rank 0's caller
 * and all ranks.
 */
#ifndef TLPI_PAGE_COPY_H
#define TLPI_PAGE_COPY_H

#include "group/command.h"

/* Rank 0 may be another process: are its numbers those of this rank? */
bool tlpi_page_copy_is_sound(const tlpi_rank *r, const tlpi_page_copy *c);

/* TLPI_OP_PANEL_BYTES */
tlp_status tlpi_page_panels(tlpi_rank *r, const tlpi_results *res);
/* TLPI_OP_READ_PAGE and TLPI_OP_WRITE_PAGE.  TLP_ENOMEM on all ranks if one of
 * them has no memory for the copy; then nothing was written. */
tlp_status tlpi_page_read(tlpi_rank *r, const tlpi_page_copy *c,
                          const tlpi_results *res);
tlp_status tlpi_page_write(tlpi_rank *r, const tlpi_page_copy *c,
                           const tlpi_results *res);

#endif
