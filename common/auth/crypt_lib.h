/* crypt_lib: the one door to libxcrypt (base/lazy), so that who checks no password does not load
 * it. */
#ifndef AUTH_CRYPT_LIB_H
#define AUTH_CRYPT_LIB_H

#include <crypt.h>

#include "base/lazy.h"

#define CRYPT_SYMS(X) X(crypt_r) X(crypt_gensalt_rn)

struct crypt_table {
    CRYPT_SYMS(LAZY_FIELD)
};
extern struct crypt_table xcrypt;
/* Load it. Any thread. ERR_LIBRARY. */
enum err_code crypt_load(struct err *e);

#endif
