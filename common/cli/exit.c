#include "cli/exit.h"

#include <sysexits.h>

int exit_of(const struct err *e) {
    if (e->status.cls == 4) return e->code == ERR_CONFIG ? EX_CONFIG : EX_TEMPFAIL;
    switch (e->code) {
    case OK: return EX_OK;
    case ERR_USAGE: return EX_USAGE;
    case ERR_SYNTAX: return EX_DATAERR;
    case ERR_NOT_FOUND:
        /* No such domain, null MX (RFC 7505), or a domain without a usable host. */
        if (e->status.subject == 1 && (e->status.detail == 2 || e->status.detail == 10))
            return EX_NOHOST;
        if (e->status.subject == 4) return EX_NOHOST;
        if (e->status.subject == 1) return EX_NOUSER;
        return EX_NOINPUT;
    case ERR_LIMIT: return EX_DATAERR;
    case ERR_DENIED: return EX_NOPERM;
    case ERR_EXISTS:
    case ERR_FULL: return e->code == ERR_FULL ? EX_TEMPFAIL : EX_CANTCREAT;
    case ERR_IO: return EX_IOERR;
    case ERR_TIMEOUT:
    case ERR_CLOSED:
    case ERR_DNS:
    case ERR_NET:
    case ERR_BUSY:
    case ERR_TLS: return EX_TEMPFAIL;
    case ERR_PROTO: return e->status.cls == 5 ? EX_UNAVAILABLE : EX_PROTOCOL;
    case ERR_LIBRARY:
    case ERR_UNSUPPORTED: return EX_UNAVAILABLE;
    case ERR_CONFIG: return EX_CONFIG;
    case ERR_MEMORY: return EX_OSERR;
    case ERR_BUG: return EX_SOFTWARE;
    }
    return EX_SOFTWARE;
}
