#include "net/unbound.h"

struct unbound_table unbound = {UNBOUND_SYMS(LAZY_INIT)};
static const char names[] = UNBOUND_SYMS(LAZY_NAME);
static struct lazy lib = LAZY("libunbound.so.8", "libunbound8", names, &unbound);

enum err_code unbound_load(struct err *e) { return lazy_load(&lib, e); }
