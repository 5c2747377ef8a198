/* reply: RFC 5321 4.2 replies, read and written; enhanced status codes of RFC 3463 and RFC 2034.
 *
 *     struct smtp_reply_parser p;
 *     smtp_reply_parser_init(&p);
 *     switch (smtp_reply_feed(&p, &in, &reply, &e)) { ... }
 *     smtp_reply_parser_release(&p);
 */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include "base/buf.h"
#include "base/err.h"

enum {
    SMTP_REPLY_LINE_MAX = 4096,      /* accepted; RFC 5321 4.5.3.1.5 says 512 */
    SMTP_REPLY_TEXT_MAX = 64 * 1024, /* all lines of one reply together */
    SMTP_REPLY_LINES_MAX = 512,      /* lines of one reply */
    SMTP_REPLY_OUT_MAX = 512         /* a line we write, with CRLF */
};

/* Where in a session a reply came, or a failure happened. Also the probe's stop points. */
enum smtp_stage {
    SMTP_STAGE_NONE,
    SMTP_STAGE_CONNECT, /* the banner */
    SMTP_STAGE_EHLO,
    SMTP_STAGE_STARTTLS,
    SMTP_STAGE_TLS, /* the handshake, and EHLO after it */
    SMTP_STAGE_AUTH,
    SMTP_STAGE_MAIL,
    SMTP_STAGE_RCPT,
    SMTP_STAGE_DATA,
    SMTP_STAGE_BODY, /* sending the message */
    SMTP_STAGE_END,  /* the reply to the final dot */
    SMTP_STAGE_RSET,
    SMTP_STAGE_QUIT,
    SMTP_STAGE_COUNT
};
/* "connect", "ehlo", ...: stable words for JSON and options. Static. */
const char *smtp_stage_name(enum smtp_stage stage);
/* The stage of such a word, SMTP_STAGE_NONE when there is none. */
enum smtp_stage smtp_stage_find(struct slice word);

struct smtp_reply {
    unsigned code;             /* 200..599 */
    struct mail_status status; /* class 0: the reply had none, or its class disagreed */
    struct slice text;         /* lines joined by LF, codes and statuses taken off */
};

/* What a reply means for the message, S-12: the first digit decides; 552 at RCPT counts as 452
 * (RFC 5321 4.5.3.1.10); 421 is temporary; 3yz at END and similar nonsense is temporary. */
enum smtp_class { SMTP_CLASS_OK, SMTP_CLASS_TEMPORARY, SMTP_CLASS_PERMANENT };
enum smtp_class smtp_reply_class(enum smtp_stage stage, unsigned code);

struct smtp_reply_parser {
    struct buf line, text;
    unsigned lines;
    struct mail_status status;
    bool is_done;
};

void smtp_reply_parser_init(struct smtp_reply_parser *p);
/* Frees; a zeroed parser may be released. */
void smtp_reply_parser_release(struct smtp_reply_parser *p);
/*
 * Take bytes off `*in`, split anywhere, up to the end of one reply and never further.
 *
 *   STEP_DONE  `*out` is filled; its text points into `p` and is valid until the next call
 *   STEP_MORE  all of `*in` was taken
 *   STEP_BAD   ERR_SYNTAX (no code), ERR_LIMIT (SMTP_REPLY_*_MAX), ERR_MEMORY
 *
 * When the codes of the lines differ, the last one counts. Controls in the text become '?'.
 */
enum step smtp_reply_feed(struct smtp_reply_parser *p, struct slice *in, struct smtp_reply *out,
                          struct err *e);
/* True between replies: nothing of the next one has come. */
bool smtp_reply_parser_is_idle(const struct smtp_reply_parser *p);

/* Append a reply. `text` may have several lines (LF); long ones are folded so that none passes
 * SMTP_REPLY_OUT_MAX; controls and bytes above 126 become '?'. Class 0: no enhanced status.
 * False when `out` is full. */
bool smtp_reply_put(struct buf *out, unsigned code, struct mail_status status, struct slice text);
/* Split "4.7.1 text" when it starts with a status; false and `*text` untouched when not. */
bool smtp_status_take(struct slice *text, struct mail_status *status);

#endif
