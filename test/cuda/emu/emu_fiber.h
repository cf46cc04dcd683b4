/*
 * emu_fiber.h - fibers: stacks that run in turn on one host thread.
 */
#ifndef EMU_FIBER_H
#define EMU_FIBER_H

#include <cstddef>

struct emu_fiber {
    void *sp; /* while another fiber runs */
    char *stack;
    size_t size;
    void *fake; /* AddressSanitizer's own stack */
};

/* Map a stack; false when out of memory.  entry(arg) must never return. */
bool emu_fiber_create(emu_fiber *f);
void emu_fiber_destroy(emu_fiber *f);

/* Let the next switch to f call entry. */
void emu_fiber_reset(emu_fiber *f, void (*entry)());

/* Continue with `to`; returns after a switch to `from`. */
void emu_fiber_switch(emu_fiber *from, emu_fiber *to);

/* `entry` calls this first. */
void emu_fiber_entered();

#endif
