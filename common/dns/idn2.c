#include "dns/idn2.h"

struct idn2_table idn2 = {IDN2_SYMS(LAZY_INIT)};
static const char names[] = IDN2_SYMS(LAZY_NAME);
static struct lazy lib = LAZY("libidn2.so.0", "libidn2-0", names, &idn2);

enum err_code idn2_load(struct err *e) { return lazy_load(&lib, e); }
