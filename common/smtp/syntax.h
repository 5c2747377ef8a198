/* syntax: the words of RFC 5321 4.1.2: paths, mailboxes, domains, address literals, xtext.
 *
 * Nothing here allocates; every slice that comes out points into what came in. Any thread.
 *
 *     struct slice rest = S("<@old.example:\"a b\"@example.org> SIZE=10");
 *     struct smtp_path p;
 *     if (smtp_path_parse(&rest, SMTP_PATH_NULL, &p, &e)) ...
 *     // p.address = "a b"@example.org   p.domain = example.org   rest = " SIZE=10"
 */
#ifndef SMTP_SYNTAX_H
#define SMTP_SYNTAX_H

#include "base/buf.h"
#include "base/err.h"

enum {
    SMTP_COMMAND_MAX = 12288, /* a command line with CRLF (RFC 4954 4.) */
    SMTP_LOCAL_MAX = 256,     /* RFC 5321 4.5.3.1.1 says 64; longer ones (VERP, SRS) exist */
    SMTP_DOMAIN_MAX = 255,    /* RFC 5321 4.5.3.1.2 */
    SMTP_PATH_MAX = 1024,     /* between the brackets, source route included */
    SMTP_PARAMS_MAX = 16      /* parameters of one MAIL or RCPT */
};

/* What a caller lets pass. */
enum {
    SMTP_PATH_NULL = 1,       /* <> (MAIL) */
    SMTP_PATH_POSTMASTER = 2, /* <Postmaster> without a domain (RCPT; RFC 5321 4.5.1) */
    SMTP_PATH_UTF8 = 4,       /* RFC 6531: UTF-8 in local part and domain */
    SMTP_PATH_LENIENT = 8,    /* submission: blank before "<", no brackets at all */
    SMTP_PATH_LOCAL = 16      /* any local part without a domain (submission of "user") */
};

/* One path. The local part keeps its case and its quotes; `domain` keeps the brackets of a literal
 * and has no trailing dot added or removed. */
struct smtp_path {
    struct slice address;    /* local_part@domain as written, source route skipped; empty: <> */
    struct slice local_part; /* as written, maybe "quoted" */
    struct slice domain;     /* empty for <> and a local name */
    bool is_null;            /* <> */
    bool is_literal;         /* the domain is [address] */
    bool is_utf8;            /* a byte above 127 anywhere in it */
};

/* Take one path off `*in`: `<...>`, or bare with LENIENT. ERR_SYNTAX (status 5.1.3 or 5.1.7 is for
 * the caller to choose; here 5.1.3), ERR_LIMIT when a part is too long. RFC 5321 4.1.2, RFC 6531.
 */
enum err_code smtp_path_parse(struct slice *in, unsigned flags, struct smtp_path *out,
                              struct err *e);
/* An address without brackets, all of `in`; for operands and settings. Same flags and errors. */
enum err_code smtp_address_parse(struct slice in, unsigned flags, struct smtp_path *out,
                                 struct err *e);

/* A domain: labels of letters, digits, hyphens and (a broken world) underscores, 1 to 63 bytes
 * each; with `utf8` also U-labels. A trailing dot is refused. */
bool smtp_is_domain(struct slice s, bool utf8);
/* "[192.0.2.1]", "[IPv6:2001:db8::1]"; `lenient` also "[2001:db8::1]". */
bool smtp_is_literal(struct slice s, bool lenient);
/* Dot-string or quoted string (RFC 5321 4.1.2). */
bool smtp_is_local_part(struct slice s, bool utf8);
/* The local part without quotes and backslashes, appended; two spellings that mean the same come
 * out equal. False when `out` is full. */
bool smtp_local_unquote(struct buf *out, struct slice local_part);
/* Append `raw` as a local part, quoted when it must be. False when full or not expressible. */
bool smtp_local_quote(struct buf *out, struct slice raw);

/* xtext (RFC 3461 4): append the encoding; append the decoding (false and nothing appended when it
 * is malformed or full). */
bool smtp_xtext_put(struct buf *out, struct slice raw);
bool smtp_xtext_get(struct buf *out, struct slice xtext);
bool smtp_is_xtext(struct slice s);

#endif
