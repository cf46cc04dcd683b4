/*
 * emu_fiber.cc - switching stacks, in assembly on known machines.  A test
 * kernel switches a million times, and ucontext makes a system call each time.
 */
#include "emu_fiber.h"

#include <cstdint>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define STACK_BYTES ((size_t)256 * 1024)
#define GUARD_BYTES ((size_t)4096 * 16)

/* The fiber that this host thread left last, and its stack.  The size of the
 * host's own stack is 0 until it is left for the first time. */
static thread_local emu_fiber *left_behind;

bool emu_fiber_create(emu_fiber *f)
{
    size_t size = STACK_BYTES + GUARD_BYTES;
    void *p = mmap(nullptr, size, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return false;
    if (mprotect((char *)p + GUARD_BYTES, STACK_BYTES,
                 PROT_READ | PROT_WRITE) != 0) {
        munmap(p, size);
        return false;
    }
    *f = { nullptr, (char *)p + GUARD_BYTES, STACK_BYTES, nullptr };
    return true;
}

void emu_fiber_destroy(emu_fiber *f)
{
    if (!f->stack)
        return;
#ifdef WITH_ASAN /* later mappings at this address are not stacks */
    __asan_unpoison_memory_region(f->stack, f->size);
#endif
    munmap(f->stack - GUARD_BYTES, f->size + GUARD_BYTES);
    f->stack = nullptr;
}

static void begin_switch(emu_fiber *from, emu_fiber *to)
{
    left_behind = from;
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&from->fake, to->stack, to->size);
#else
    (void)to;
#endif
}

/* Runs on the new stack after a switch. */
static void end_switch(void *fake)
{
#ifdef WITH_ASAN
    const void *bottom = nullptr;
    size_t size = 0;

    __sanitizer_finish_switch_fiber(fake, &bottom, &size);
    if (left_behind->size == 0) {
        left_behind->stack = (char *)bottom;
        left_behind->size = size;
    }
#else
    (void)fake;
#endif
}

void emu_fiber_entered()
{
    end_switch(nullptr);
}

#if defined(__x86_64__)

extern "C" void emu_switch_stack(void **save, void *load);

/* Saves the callee-saved registers of the calling convention. */
__asm__(".text\n"
        ".globl emu_switch_stack\n"
        ".hidden emu_switch_stack\n"
        ".type emu_switch_stack, @function\n"
        "emu_switch_stack:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size emu_switch_stack, . - emu_switch_stack\n");

void emu_fiber_reset(emu_fiber *f, void (*entry)())
{
#ifdef WITH_ASAN
    /* Unpoison frames that were abandoned. */
    __asan_unpoison_memory_region(f->stack, f->size);
#endif
    /* six registers, the entry, and an unused return address: the stack is
     * then aligned as after a call */
    void **sp = (void **)(f->stack + f->size) - 10;

    memset(sp, 0, 10 * sizeof *sp);
    sp[6] = (void *)entry;
    f->sp = sp;
}

void emu_fiber_switch(emu_fiber *from, emu_fiber *to)
{
    begin_switch(from, to);
    emu_switch_stack(&from->sp, to->sp);
    end_switch(from->fake);
}

#else

/* The context is at the low end of the stack. */
static ucontext_t *context(emu_fiber *f)
{
    static thread_local ucontext_t host;
    return f->sp ? (ucontext_t *)f->sp : &host;
}

void emu_fiber_reset(emu_fiber *f, void (*entry)())
{
    f->sp = f->stack;
    ucontext_t *c = context(f);

    getcontext(c);
    c->uc_stack.ss_sp = f->stack + sizeof *c;
    c->uc_stack.ss_size = f->size - sizeof *c;
    c->uc_link = nullptr;
    makecontext(c, entry, 0);
}

void emu_fiber_switch(emu_fiber *from, emu_fiber *to)
{
    begin_switch(from, to);
    swapcontext(context(from), context(to));
    end_switch(from->fake);
}

#endif
