/*
 * emu_block.h - running a grid; see emu_block.cc.
 */
#ifndef EMU_BLOCK_H
#define EMU_BLOCK_H

#include "cuda_runtime.h"

/* Run every block of the grid, one after the other; false after a fault. */
bool emu_run_grid(const std::function<void()> &body, dim3 grid, dim3 block,
                  size_t shared);

/* Store a fault's text for emu_take_fault, and print it. */
void emu_note_fault(const char *text);

#endif
