/* param: the arguments of MAIL and RCPT, parsed and printed. The table is param.def.
 *
 *     struct smtp_mail m;
 *     if (smtp_mail_parse(S("<a@b.example> SIZE=100 BODY=8BITMIME"), 0, exts, &m, &e)) ...
 */
#ifndef SMTP_PARAM_H
#define SMTP_PARAM_H

#include "base/moment.h"
#include "smtp/syntax.h"

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };
enum smtp_hold { SMTP_HOLD_NONE, SMTP_HOLD_FOR, SMTP_HOLD_UNTIL };
enum smtp_by { SMTP_BY_NONE, SMTP_BY_NOTIFY, SMTP_BY_RETURN };
enum { SMTP_PRIORITY_MAX = 9, SMTP_SECONDS_MAX = 999999999 };
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };
/* RFC 3461 4.1; 0: the parameter was absent. NEVER stands alone. */
enum {
    SMTP_NOTIFY_NEVER = 1,
    SMTP_NOTIFY_SUCCESS = 2,
    SMTP_NOTIFY_FAILURE = 4,
    SMTP_NOTIFY_DELAY = 8
};

/* The arguments of one MAIL command; slices point into the command line. */
struct smtp_mail {
    struct smtp_path from;
    uint64_t size;       /* octets announced; 0: not said */
    enum smtp_body body; /* RFC 6152, RFC 3030 */
    enum smtp_ret ret;   /* RFC 3461 4.3 */
    struct slice envid;  /* RFC 3461 4.4, still xtext, <= 100 octets; empty: absent */
    struct slice auth;   /* RFC 4954 5, still xtext, "<>" possible; empty: absent */
    bool is_smtputf8;    /* RFC 6531 3.4 */
    bool is_requiretls;  /* RFC 8689 */
    bool has_priority;   /* MT-PRIORITY was given */
    int8_t priority;     /* RFC 6710, -SMTP_PRIORITY_MAX..+ */
    enum smtp_hold hold; /* RFC 4865; both at once is an error */
    wall_t hold_value;   /* FOR: seconds, UNTIL: the time */
    enum smtp_by by;     /* RFC 2852 */
    bool by_trace;
    int32_t by_s; /* seconds from now, within SMTP_SECONDS_MAX; over 0 with SMTP_BY_RETURN */
};

/* The arguments of one RCPT command; slices point into the command line. */
struct smtp_rcpt {
    struct smtp_path to;
    unsigned notify;    /* SMTP_NOTIFY_* */
    struct slice orcpt; /* RFC 3461 4.2, "rfc822;xtext", <= 500 octets; empty: absent */
};

/* Parse what follows "MAIL FROM:" (`flags` of smtp_path_parse). `exts` is the set of extensions
 * (bits of smtp/ext.h) that were offered: a parameter of another is ERR_UNSUPPORTED 5.5.4 (reply
 * 555), a bad value ERR_SYNTAX 5.5.4 (501), a bad path ERR_SYNTAX 5.1.7, a repeated parameter
 * ERR_SYNTAX, too many ERR_LIMIT. With SMTPUTF8 given, UTF-8 in the path is allowed. */
enum err_code smtp_mail_parse(struct slice in, unsigned flags, uint32_t exts, struct smtp_mail *out,
                              struct err *e);
/* What follows "RCPT TO:"; a bad path is 5.1.3. */
enum err_code smtp_rcpt_parse(struct slice in, unsigned flags, uint32_t exts, struct smtp_rcpt *out,
                              struct err *e);

/* "NEVER" or "SUCCESS,FAILURE,DELAY": the value of NOTIFY, either way. */
bool smtp_notify_parse(struct slice in, unsigned *notify);
bool smtp_notify_put(struct buf *out, unsigned notify);

#endif
