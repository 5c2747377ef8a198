/* xclient: what a proxy in front of the server says of the client it speaks for: the XCLIENT
 * command of Postfix (XCLIENT_README), attribute=xtext with [UNAVAILABLE] and [TEMPUNAVAIL] for
 * what is not known. Who may say it is the caller's business.
 *
 *     struct smtp_xclient x;
 *     if (smtp_xclient_parse(S("NAME=a.example ADDR=192.0.2.1"), &x, &e) == OK) ...
 */
#ifndef SMTP_XCLIENT_H
#define SMTP_XCLIENT_H

#include "base/buf.h"
#include "base/err.h"

enum { SMTP_XCLIENT_BYTES_MAX = 2048 };

struct smtp_xclient {
    struct slice name;  /* host name; empty: not given or not known */
    struct slice addr;  /* "192.0.2.1", "2001:db8::1" (without "IPV6:"); empty: as before */
    struct slice helo;  /* empty: not given */
    struct slice login; /* who logged in at the proxy; empty: nobody */
    struct slice dest_addr;
    uint16_t port, dest_port;          /* 0: not given */
    bool has_login;                    /* LOGIN was given, be it [UNAVAILABLE] */
    bool is_smtp;                      /* PROTO=SMTP: the client said HELO */
    char text[SMTP_XCLIENT_BYTES_MAX]; /* what the slices point into */
    size_t text_n;
};

/* Parse the arguments of the command; the slices point into `*out` itself, which must not move.
 * ERR_SYNTAX 5.5.4: an unknown or repeated attribute, bad xtext, a control character, a port that
 * is none; an address is not looked at. ERR_LIMIT: more than SMTP_XCLIENT_BYTES_MAX. */
enum err_code smtp_xclient_parse(struct slice args, struct smtp_xclient *out, struct err *e);

#endif
