#include "dns/resolv_lib.h"

struct resolv_table resolv = {RESOLV_SYMS(LAZY_INIT)};
static const char names[] = RESOLV_SYMS(LAZY_NAME);
static struct lazy lib = LAZY("libresolv.so.2", "libc6", names, &resolv);

enum err_code resolv_load(struct err *e) { return lazy_load(&lib, e); }
