#include "crypto/gnutls.h"

struct gnutls_table gnutls = {GNUTLS_SYMS(LAZY_INIT)};
static const char names[] = GNUTLS_SYMS(LAZY_NAME);
static struct lazy lib = LAZY("libgnutls.so.30", "libgnutls30", names, &gnutls);

enum err_code gnutls_load(struct err *e) { return lazy_load(&lib, e); }
