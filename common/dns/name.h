/* name: domain names as mail uses them (RFC 1035 2.3.4, RFC 5321 2.3.5, RFC 5890; IDNA2008 and UTS
 * 46 by libidn2, which is loaded only when a name is not ASCII).
 *
 * One final dot is allowed everywhere and stands for the same name. Any thread.
 */
#ifndef DNS_NAME_H
#define DNS_NAME_H

#include "base/buf.h"
#include "base/err.h"

enum { NAME_MAX_BYTES = 253, NAME_LABEL_MAX = 63, NAME_UTF8_MAX = 1024 };

/* A host name in ASCII: labels of letters, digits, inner hyphens, 1-63 bytes, 253 in all; at least
 * one label. Not an address literal; a name of digits and dots only (an IPv4 address) is refused.
 */
bool name_is_host(struct slice s);
/* As name_is_host, and an underscore may occur as in "_25._tcp.mx.example" (RFC 8552). */
bool name_is_domain(struct slice s);
/* Without the one final dot. */
struct slice name_trim(struct slice s);
/* The same name: ASCII letters folded, final dots ignored. Compare A-labels. */
bool name_eq(struct slice a, struct slice b);
/* `s` is `domain` or below it. */
bool name_is_within(struct slice s, struct slice domain);

/* Append the A-label form in lower case without final dot. Pure ASCII needs no library and is only
 * checked by name_is_domain. ERR_SYNTAX: not a domain name; ERR_LIBRARY: libidn2 is missing. */
enum err_code name_to_ascii(struct buf *out, struct slice s, struct err *e);
/* Append the U-label form for people; a name that has none, or without the library, as it is. */
bool name_to_utf8(struct buf *out, struct slice s);

#endif
