/* ext: what an EHLO reply announces. The table is ext.def: a row makes the bit, the parser's entry
 * and the word that applets print.
 *
 *     struct smtp_caps caps;
 *     smtp_caps_parse(reply.text, &caps);
 *     if (caps.exts & SMTP_EXT_STARTTLS) ...
 */
#ifndef SMTP_EXT_H
#define SMTP_EXT_H

#include "base/slice.h"

enum smtp_ext_number {
#define EXT(name, keyword, rfc, who, parse) SMTP_EXT_NUMBER_##name,
#include "smtp/ext.def"
#undef EXT
    SMTP_EXT_COUNT
};
/* One bit each, for sets in a uint32_t. */
enum smtp_ext {
#define EXT(name, keyword, rfc, who, parse) SMTP_EXT_##name = 1 << SMTP_EXT_NUMBER_##name,
#include "smtp/ext.def"
#undef EXT
};
enum { SMTP_EXT_CLIENT = 1, SMTP_EXT_SERVER = 2 };

struct smtp_ext_info {
    const char *keyword;
    unsigned rfc;
    unsigned who; /* SMTP_EXT_CLIENT: the client understands it, SMTP_EXT_SERVER: the server does */
};
extern const struct smtp_ext_info smtp_exts[SMTP_EXT_COUNT];

/* What one EHLO said. No pointers: survives the reply. */
struct smtp_caps {
    uint32_t exts;                                /* SMTP_EXT_* */
    uint64_t size_max;                            /* RFC 1870; 0: no limit said */
    int32_t by_min_s;                             /* RFC 2852: the shortest BY=...;R; 0: any */
    unsigned auth;                                /* SASL mechanisms as bits of sasl/sasl.h */
    unsigned mail_max, rcpt_max, rcpt_domain_max; /* RFC 9422; 0: not said */
};

/* Parse the text of an EHLO reply (lines joined by LF, first one the greeting). Unknown words and
 * malformed values are skipped; "AUTH=LOGIN" of old servers counts as AUTH; repeated AUTH lines
 * add up. Never fails. */
void smtp_caps_parse(struct slice text, struct smtp_caps *out);
/* The bit of a keyword, any case; 0: unknown. */
uint32_t smtp_ext_find(struct slice keyword);

#endif
