/*
 * jinja_value.h - memory, failures and values of Python's types.
 *
 * Memory comes from arenas: one of the compiled template, one of a rendering.
 * A failure sticks in the state (`st`): functions return an undefined value or
 * NULL then, and loops stop.
 */
#ifndef TLPI_JINJA_VALUE_H
#define TLPI_JINJA_VALUE_H

#include "jinja/jinja.h"

/* ==== arena (jinja_arena.c) ============================================== */

typedef struct tlpi_jinja_chunk tlpi_jinja_chunk;

/* A compilation or a rendering. */
typedef struct tlpi_jx {
    const tlpi_env *env;
    const char *name;   /* of the template, for errors */
    const char *source; /* of the template, for lines and columns */
    size_t n_source;
    tlpi_jinja_chunk *chunk;
    size_t memory; /* bytes of all chunks */
    uint64_t steps;
    int depth;
    tlp_status st;
    size_t at; /* offset in source of what runs, for errors */
    time_t now;
    const json_t *tail; /* string whose bytes get TLPI_JINJA_TAIL, or NULL */
} tlpi_jx;

void *tlpi_jx_alloc(tlpi_jx *x, size_t size); /* cleared; NULL: st is set */
void tlpi_jx_free(tlpi_jx *x);

/* Record a failure at x->at, if none is recorded yet. */
void tlpi_jx_fail(tlpi_jx *x, tlp_status st, const char *fmt, ...)
    TLPI_PRINTF(3, 4);

/* Count n units of work; false once the bound is passed or a failure stands. */
bool tlpi_jx_step(tlpi_jx *x, size_t n);
/* Go one level deeper; false, with the level unchanged, past the bound. */
bool tlpi_jx_enter(tlpi_jx *x);
void tlpi_jx_leave(tlpi_jx *x);

/* ==== values ============================================================= */

typedef enum tlpi_jkind {
    TLPI_J_UNDEFINED,
    TLPI_J_NONE,
    TLPI_J_BOOL,
    TLPI_J_INT,
    TLPI_J_FLOAT,
    TLPI_J_STR,
    TLPI_J_LIST, /* and other sequences, by flavour */
    TLPI_J_DICT,
    TLPI_J_NAMESPACE,
    TLPI_J_LOOP,
    TLPI_J_CALLABLE
} tlpi_jkind;

typedef struct tlpi_jstr {
    const char *s;
    const uint8_t *data; /* [n] or NULL: no byte is data */
    size_t n;            /* bytes */
    bool safe;           /* went through the filter `safe` */
} tlpi_jstr;

typedef struct tlpi_jval {
    tlpi_jkind kind;
    union {
        bool b; /* NONE: a message's content is null */
        int64_t i;
        double f;
        const tlpi_jstr *s; /* UNDEFINED: its name for errors, or NULL */
        struct tlpi_jlist *l;
        struct tlpi_jdict *d; /* DICT, NAMESPACE */
        struct tlpi_jloop *loop;
        struct tlpi_jcall *call;
    };
} tlpi_jval;

typedef enum tlpi_jflavour {
    TLPI_J_PLAIN, /* Python's list */
    TLPI_J_TUPLE,
    TLPI_J_RANGE,
    TLPI_J_VIEW,     /* dict.items() and its kin: a length, no index */
    TLPI_J_GENERATOR /* can be walked once */
} tlpi_jflavour;

typedef struct tlpi_jlist {
    tlpi_jflavour flavour;
    size_t n, cap;
    size_t taken; /* GENERATOR: items that were walked already */
    bool parts;   /* a message's content in parts */
    tlpi_jval *item;
} tlpi_jlist;

typedef struct tlpi_jdict { /* in the order of insertion */
    size_t n, cap;
    tlpi_jval *key, *value;
} tlpi_jdict;

typedef struct tlpi_jscope {
    struct tlpi_jscope *parent;
    tlpi_jdict vars;
} tlpi_jscope;

typedef struct tlpi_jloop {
    const tlpi_jlist *items;
    size_t i;
    bool has_changed_args;
    tlpi_jval changed_args;
} tlpi_jloop;

struct tlpi_jnode;
struct tlpi_jinterp;

/* Positional and keyword arguments of a call. */
typedef struct tlpi_jargs {
    tlpi_jval *pos;
    size_t n_pos;
    const tlpi_jstr **name; /* [n_named] */
    tlpi_jval *named;
    size_t n_named;
} tlpi_jargs;

typedef tlpi_jval (*tlpi_jbuiltin)(struct tlpi_jinterp *in, tlpi_jval self,
                                   const tlpi_jargs *args);

/* A macro, a method bound to its object, or a global function. */
typedef struct tlpi_jcall {
    const char *name;
    tlpi_jbuiltin fn; /* NULL for macros */
    tlpi_jval self;   /* of a method; undefined for other callables */
    const struct tlpi_jnode *macro;
    tlpi_jscope *scope; /* in which the macro was defined */
} tlpi_jcall;

/* ---- making them (jinja_value.c); on failure an undefined value ---- */

tlpi_jval tlpi_j_undefined(const tlpi_jstr *name);
tlpi_jval tlpi_j_none(void);
tlpi_jval tlpi_j_bool(bool b);
tlpi_jval tlpi_j_int(int64_t i);
tlpi_jval tlpi_j_float(double f);
tlpi_jval tlpi_j_text(tlpi_jx *x, const char *s); /* trusted; borrowed */
/* Bytes [from, from + n) of s. */
tlpi_jval tlpi_j_part(tlpi_jx *x, const tlpi_jstr *s, size_t from, size_t n);
tlpi_jval tlpi_j_list(tlpi_jx *x, tlpi_jflavour flavour, size_t cap);
tlpi_jval tlpi_j_dict(tlpi_jx *x, tlpi_jkind kind);
bool tlpi_j_append(tlpi_jx *x, tlpi_jval list, tlpi_jval item);
bool tlpi_j_set(tlpi_jx *x, tlpi_jdict *d, tlpi_jval key, tlpi_jval value);
/* Can it be a key?  Fails where Python calls it unhashable. */
bool tlpi_j_can_be_key(tlpi_jx *x, tlpi_jval key);
/* The place of a key's value, or NULL. */
tlpi_jval *tlpi_j_find(tlpi_jx *x, const tlpi_jdict *d, tlpi_jval key);

/* ---- asking them ---- */

const char *tlpi_j_type(tlpi_jval v); /* Python's name: "str", "list", ... */
bool tlpi_j_true(tlpi_jval v);
bool tlpi_j_equal(tlpi_jx *x, tlpi_jval a, tlpi_jval b);
/* -1, 0 or 1, as a is to b; 2 with a NaN.  Fails for types without an order. */
int tlpi_j_order(tlpi_jx *x, tlpi_jval a, tlpi_jval b);
bool tlpi_j_is_text(tlpi_jval v, const char *text);
/* Whole numbers, True and False included. */
bool tlpi_j_as_int(tlpi_jval v, int64_t *out);
bool tlpi_j_as_float(tlpi_jval v, double *out);
/* Items that a loop over v sees; NULL and a failure if there are none. */
const tlpi_jlist *tlpi_j_iterate(tlpi_jx *x, tlpi_jval v);
/* len(v); false where Python has none. */
bool tlpi_j_length(tlpi_jval v, size_t *out);

#endif
