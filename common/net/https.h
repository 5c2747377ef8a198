/* https: a small document by HTTPS (RFC 9110) through libcurl: no redirects, no cookies, no proxy
 * of the environment. Blocking; any thread. */
#ifndef NET_HTTPS_H
#define NET_HTTPS_H

#include "base/buf.h"
#include "net/addr.h"

enum { HTTPS_TIMEOUT_MS = 30 * 1000, HTTPS_ADDRS_MAX = 8 };

/* GET https://`host``path` from one of `addrs` (port in them), verified against `ca_file`. The body
 * is appended to `out`, whose ceiling bounds it. `type`: the media type that it must have
 * ("text/plain"). Only status 200 is success. ERR_NET, ERR_TIMEOUT, ERR_TLS, ERR_LIMIT, ERR_SYNTAX
 * (another type), ERR_NOT_FOUND (another status), ERR_LIBRARY. */
enum err_code https_get(const char *host, const char *path, const struct addr *addrs, size_t n,
                        const char *ca_file, const char *type, struct buf *out, struct err *e);

#endif
