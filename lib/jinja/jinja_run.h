/*
 * jinja_run.h - running a template: statements, expressions, functions by
 * name.
 */
#ifndef TLPI_JINJA_RUN_H
#define TLPI_JINJA_RUN_H

#include "jinja/jinja_tree.h"

/* ==== running (jinja_run.c, jinja_eval.c) ================================ */

typedef enum tlpi_jflow {
    TLPI_J_GO_ON,
    TLPI_J_BROKEN,   /* break */
    TLPI_J_CONTINUED /* continue */
} tlpi_jflow;

typedef struct tlpi_jinterp {
    tlpi_jx x;
    tlpi_jscope *scope;
    tlpi_jbuf *out;
    tlpi_jflow flow;
} tlpi_jinterp;

void tlpi_jinja_run(tlpi_jinterp *in, const tlpi_jnode *list);
/* What a list of statements writes. */
tlpi_jval tlpi_jinja_capture(tlpi_jinterp *in, const tlpi_jnode *list);
void tlpi_jinja_assign(tlpi_jinterp *in, const tlpi_jnode *target,
                       tlpi_jval value);
bool tlpi_jinja_push(tlpi_jinterp *in, tlpi_jscope *parent);
/* jinja_scope.c: names of the template hide the caller's from the start. */
void tlpi_jinja_claim_names(tlpi_jinterp *in, const tlpi_jnode *body);
tlpi_jval tlpi_jinja_call_macro(tlpi_jinterp *in, const tlpi_jcall *m,
                                const tlpi_jargs *args);

tlpi_jval tlpi_jinja_eval(tlpi_jinterp *in, const tlpi_jnode *n);
tlpi_jval tlpi_jinja_call(tlpi_jinterp *in, tlpi_jval callee,
                          const tlpi_jargs *args);
/* v | the filter node n, whose own value is left out. */
tlpi_jval tlpi_jinja_apply(tlpi_jinterp *in, const tlpi_jnode *n, tlpi_jval v);

/* ---- operators (jinja_ops.c) ---- */
tlpi_jval tlpi_jop_binary(tlpi_jx *x, const char *op, tlpi_jval a, tlpi_jval b);
tlpi_jval tlpi_jop_unary(tlpi_jx *x, const char *op, tlpi_jval a);
bool tlpi_jop_compare(tlpi_jx *x, const char *op, tlpi_jval a, tlpi_jval b);
bool tlpi_jop_in(tlpi_jx *x, tlpi_jval needle, tlpi_jval where);
tlpi_jval tlpi_jop_attr(tlpi_jx *x, tlpi_jval v, const tlpi_jstr *name);
/* Texts and sequences with places 0, 1, ... */
bool tlpi_j_is_indexed(tlpi_jval v);
/* Fail, naming the undefined value v; gives an undefined value. */
tlpi_jval tlpi_jop_fail_undefined(tlpi_jx *x, tlpi_jval v);
tlpi_jval tlpi_jop_item(tlpi_jx *x, tlpi_jval v, tlpi_jval index);
typedef struct tlpi_jslice {
    tlpi_jval start, stop, step; /* none where left out */
} tlpi_jslice;
tlpi_jval tlpi_jop_slice(tlpi_jx *x, tlpi_jval v, tlpi_jslice s);
/* format % values: %s, %d and %%. */
tlpi_jval tlpi_jop_format(tlpi_jx *x, const tlpi_jstr *format,
                          tlpi_jval values);

/* ---- functions by name: NULL where there is none ---- */

/* Arguments in the order of a signature "old new count=": a name with '=' may
 * be left out and is undefined then.  False, with a failure, if they do not
 * fit. */
bool tlpi_jargs_read(tlpi_jx *x, const char *what, const tlpi_jargs *args,
                     const char *signature, tlpi_jval *out);

typedef struct tlpi_jnamed {
    const char *name;
    tlpi_jbuiltin fn; /* NULL: exists in Python, is not supported here */
} tlpi_jnamed;

const tlpi_jnamed *tlpi_jinja_find(const tlpi_jnamed *table, size_t n,
                                   const tlpi_jstr *name);
const tlpi_jnamed *tlpi_jinja_filter(const tlpi_jstr *name);
const tlpi_jnamed *tlpi_jinja_test(const tlpi_jstr *name);
const tlpi_jnamed *tlpi_jinja_global(const tlpi_jstr *name);
const tlpi_jnamed *tlpi_jinja_str_method(const tlpi_jstr *name);
const tlpi_jnamed *tlpi_jinja_list_method(const tlpi_jstr *name);
const tlpi_jnamed *tlpi_jinja_dict_method(const tlpi_jstr *name);
/* An attribute of a loop; an undefined value where there is none. */
tlpi_jval tlpi_jinja_loop_attr(tlpi_jx *x, tlpi_jloop *loop,
                               const tlpi_jstr *name);

/* ---- pieces of strings that methods and filters share (jinja_str.c) ---- */
/* strip by sides: 1 left, 2 right; chars NULL: white space. */
tlpi_jval tlpi_jstr_strip(tlpi_jx *x, const tlpi_jstr *s,
                          const tlpi_jstr *chars, int sides);
/* At most max times (below 0: all). */
tlpi_jval tlpi_jstr_replace(tlpi_jx *x, const tlpi_jstr *s,
                            const tlpi_jstr *old, const tlpi_jstr *with,
                            int64_t max);
tlpi_jval tlpi_jstr_lines(tlpi_jx *x, const tlpi_jstr *s, bool keep_ends);
typedef enum tlpi_jcase {
    TLPI_JC_UPPER,
    TLPI_JC_LOWER,
    TLPI_JC_CAPITALIZE,
    TLPI_JC_TITLE,  /* letters after what is no letter begin a word */
    TLPI_JC_HEADING /* the filter title: words begin after blanks and ({[<- */
} tlpi_jcase;
tlpi_jval tlpi_jstr_case(tlpi_jx *x, const tlpi_jstr *s, tlpi_jcase to);
/* Offset of the first or last `part` in s from byte `from` on; s->n + 1 where
 * there is none. */
size_t tlpi_jstr_find(const tlpi_jstr *s, const tlpi_jstr *part, size_t from);
size_t tlpi_jstr_rfind(const tlpi_jstr *s, const tlpi_jstr *part, size_t end);

/* ---- JSON (jinja_json.c) ---- */
tlpi_jval tlpi_j_from_json(tlpi_jx *x, const json_t *value, bool trusted);
/* json.dumps(v, ensure_ascii=False, ...) */
tlpi_jval tlpi_jinja_tojson(tlpi_jinterp *in, tlpi_jval v,
                            const tlpi_jargs *args);

#endif
