/* zlib: the one door to zlib (base/lazy): only who compresses loads it. */
#ifndef NET_ZLIB_H
#define NET_ZLIB_H

#define ZLIB_CONST
#include <zlib.h>

#include "base/lazy.h"

#define ZLIB_SYMS(X)                                                                               \
    X(deflateInit2_) X(deflate) X(deflateEnd) X(inflateInit2_) X(inflate) X(inflateEnd)

struct zlib_table {
    ZLIB_SYMS(LAZY_FIELD)
};
extern struct zlib_table zlib;
/* Load it. Any thread. ERR_LIBRARY. */
enum err_code zlib_load(struct err *e);

#endif
