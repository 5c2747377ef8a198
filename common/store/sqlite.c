#include "store/sqlite.h"

struct sqlite_table sqlite = {SQLITE_SYMS(LAZY_INIT)};
static const char names[] = SQLITE_SYMS(LAZY_NAME);
static struct lazy lib = LAZY("libsqlite3.so.0", "libsqlite3-0", names, &sqlite);

enum err_code sqlite_load(struct err *e) { return lazy_load(&lib, e); }
