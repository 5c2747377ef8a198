#include "net/zlib.h"

struct zlib_table zlib = {ZLIB_SYMS(LAZY_INIT)};
static const char names[] = ZLIB_SYMS(LAZY_NAME);
static struct lazy lib = LAZY("libz.so.1", "zlib1g", names, &zlib);

enum err_code zlib_load(struct err *e) { return lazy_load(&lib, e); }
