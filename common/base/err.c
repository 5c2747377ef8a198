#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"

/* What a peer said may be in it: nothing that a terminal or a log obeys. */
static void clean(char *p) {
    size_t n = strlen(p);

    for (size_t i = 0; i < n; i++) {
        if (ascii_is_c1(p, n, i)) p[i] = p[i + 1] = '?';
        else if (ascii_is_ctl(p[i])) p[i] = '?';
    }
}

static void fill(struct err *e, enum err_code code, const char *fmt, va_list ap) {
    *e = (struct err){.code = code};
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    clean(e->msg);
}

enum err_code err_set(struct err *e, enum err_code code, const char *fmt, ...) {
    va_list ap;

    if (!e) return code;
    va_start(ap, fmt);
    fill(e, code, fmt, ap);
    va_end(ap);
    return code;
}

enum err_code err_mail(struct err *e, enum err_code code, struct mail_status st, const char *fmt,
                       ...) {
    va_list ap;

    if (!e) return code;
    va_start(ap, fmt);
    fill(e, code, fmt, ap);
    va_end(ap);
    e->status = st;
    return code;
}

static enum err_code code_of(int sys) {
    switch (sys) {
    case ENOENT:
    case ENOTDIR: return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return ERR_FULL;
    case EEXIST: return ERR_EXISTS;
    case ENOMEM: return ERR_MEMORY;
    case EAGAIN: return ERR_BUSY;
    case ETIMEDOUT: return ERR_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRINUSE:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case ENOTCONN:
    case EPIPE: return ERR_NET;
    default: return ERR_IO;
    }
}

enum err_code err_sys(struct err *e, const char *fmt, ...) {
    int sys = errno;
    enum err_code code = code_of(sys);
    va_list ap;
    size_t n;
    char words[80];

    if (!e) return code;
    va_start(ap, fmt);
    fill(e, code, fmt, ap);
    va_end(ap);
    e->sys = sys;
    if (code == ERR_FULL) e->status = STATUS(4, 3, 1);
    if (code == ERR_IO || code == ERR_MEMORY) e->status = STATUS(4, 3, 0);
    n = strlen(e->msg);
    snprintf(e->msg + n, sizeof e->msg - n, ": %s", strerror_r(sys, words, sizeof words));
    return code;
}

enum err_code err_note(struct err *e, const char *fmt, ...) {
    char was[sizeof e->msg];
    va_list ap;
    size_t n;

    if (!e) return ERR_BUG;
    memcpy(was, e->msg, sizeof was);
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    n = strlen(e->msg);
    snprintf(e->msg + n, sizeof e->msg - n, ": %s", was);
    return e->code;
}

const char *err_code_name(enum err_code code) {
    static const char *const names[] = {
        [OK] = "ok",
        [ERR_SYNTAX] = "syntax",
        [ERR_LIMIT] = "limit",
        [ERR_NOT_FOUND] = "not-found",
        [ERR_EXISTS] = "exists",
        [ERR_DENIED] = "denied",
        [ERR_UNSUPPORTED] = "unsupported",
        [ERR_TIMEOUT] = "timeout",
        [ERR_CLOSED] = "closed",
        [ERR_PROTO] = "protocol",
        [ERR_TLS] = "tls",
        [ERR_DNS] = "dns",
        [ERR_NET] = "network",
        [ERR_IO] = "io",
        [ERR_FULL] = "full",
        [ERR_BUSY] = "busy",
        [ERR_LIBRARY] = "library",
        [ERR_CONFIG] = "config",
        [ERR_USAGE] = "usage",
        [ERR_MEMORY] = "memory",
        [ERR_BUG] = "bug",
    };
    return (size_t)code < COUNT_OF(names) && names[code] ? names[code] : "bug";
}

bool err_is_temporary(const struct err *e) {
    if (e->status.cls) return e->status.cls == 4;
    switch (e->code) {
    case ERR_TIMEOUT:
    case ERR_CLOSED:
    case ERR_DNS:
    case ERR_NET:
    case ERR_IO:
    case ERR_FULL:
    case ERR_BUSY:
    case ERR_TLS:
    case ERR_LIBRARY:
    case ERR_MEMORY:
    case ERR_LIMIT: return true;
    default: return false;
    }
}
