/* lazy: a shared library loaded when it is first needed, through a table of typed pointers.
 *
 * The types come from the library's own header, so they cannot drift. One file per library:
 *
 *     // crypto/gnutls.h
 *     #define GNUTLS_SYMS(X) X(gnutls_init) X(gnutls_deinit)
 *     struct gnutls_table { GNUTLS_SYMS(LAZY_FIELD) };
 *     extern struct gnutls_table gnutls;
 *     enum err_code gnutls_load(struct err *e);
 *
 *     // crypto/gnutls.c
 *     struct gnutls_table gnutls = {GNUTLS_SYMS(LAZY_INIT)};
 *     static const char names[] = GNUTLS_SYMS(LAZY_NAME);
 *     static struct lazy lib = LAZY("libgnutls.so.30", "libgnutls30", names, &gnutls);
 *     enum err_code gnutls_load(struct err *e) { return lazy_load(&lib, e); }
 *
 *     if (gnutls_load(e)) return e->code;
 *     gnutls.gnutls_init(&session, GNUTLS_CLIENT);
 *
 * Built with LINK_DIRECT (make LINKAGE=direct; sanitizers, fuzzers) the table is filled by the
 * linker and loading does nothing.
 */
#ifndef BASE_LAZY_H
#define BASE_LAZY_H

#include <stdatomic.h>

#include "base/err.h"

#define LAZY_FIELD(f) __typeof__(f) *f;
#define LAZY_NAME(f) #f "\0"
#ifdef LINK_DIRECT
#define LAZY_INIT(f) .f = f,
#else
#define LAZY_INIT(f) .f = NULL,
#endif

struct lazy {
    const char *soname;  /* "libgnutls.so.30" */
    const char *package; /* the Debian package to name in the error */
    const char *names;   /* symbol names, each with a NUL, an empty one at the end */
    void *table;         /* as many function pointers, in that order */
    atomic_int state;
};
#define LAZY(so, pkg, sym_names, sym_table)                                                        \
    { .soname = (so), .package = (pkg), .names = (sym_names), .table = (sym_table) }

/* Load the library and fill the table; at once when that was done before. Any thread, but never
 * after the process closed its doors (sys/sandbox): load what is needed before.
 * ERR_LIBRARY names the library, what the loader said, and the package. */
enum err_code lazy_load(struct lazy *l, struct err *e);

#endif
