#include "auth/crypt_lib.h"

struct crypt_table xcrypt = {CRYPT_SYMS(LAZY_INIT)};
static const char names[] = CRYPT_SYMS(LAZY_NAME);
static struct lazy lib = LAZY("libcrypt.so.1", "libcrypt1", names, &xcrypt);

enum err_code crypt_load(struct err *e) { return lazy_load(&lib, e); }
