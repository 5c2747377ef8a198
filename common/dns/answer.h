/* answer: what a name server said, from the packet (RFC 1035 4; types of RFC 3596, 6698, 2782). No
 * I/O. */
#ifndef DNS_ANSWER_H
#define DNS_ANSWER_H

#include "base/arena.h"
#include "base/err.h"

enum {
    DNS_A = 1,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_TLSA = 52
};
enum { DNS_RECORDS_MAX = 256, DNS_CNAME_MAX = 8, DNS_PACKET_MAX = 65535 };

/* DNSSEC: UNKNOWN when nobody validated or the word cannot be trusted (RFC 4035 4.3). */
enum dns_security { DNS_UNKNOWN, DNS_SECURE, DNS_INSECURE, DNS_BOGUS };
/* To a mail system four different things. FAILED: server failure, timeout, refused: try again
 * later. */
enum dns_result { DNS_FOUND, DNS_NODATA, DNS_NXDOMAIN, DNS_FAILED };

struct dns_record {
    uint16_t type;
    uint32_t ttl;
    uint16_t preference;               /* MX preference, SRV priority */
    uint16_t weight, port;             /* SRV */
    uint8_t usage, selector, matching; /* TLSA */
    struct slice name; /* MX, CNAME, PTR, SRV: target without the final dot; "" is the root */
    struct slice data; /* A, AAAA: 4 or 16 octets; TXT: the strings joined; TLSA: the data */
};

struct dns_answer {
    enum dns_result result;
    enum dns_security security;
    struct slice name;          /* the canonical name, after CNAMEs */
    struct dns_record *records; /* of the type asked for */
    size_t count;
    unsigned rcode;
    unsigned cnames;     /* CNAMEs followed */
    uint32_t ttl;        /* the least of the records', or of the negative answer */
    struct slice why;    /* for FAILED and BOGUS: a few words, static or in the arena */
    struct slice packet; /* as it came, in the arena; empty when there was none */
};

/* Read the packet that answers (`name`, `type`) into `out`, whose parts are in `a`. CNAMEs within
 * the packet are followed, at most DNS_CNAME_MAX; `security` is left UNKNOWN. ERR_SYNTAX: not a DNS
 * answer; ERR_LIMIT: more than DNS_RECORDS_MAX records. */
enum err_code dns_answer_parse(struct slice packet, struct slice name, uint16_t type,
                               struct arena *a, struct dns_answer *out, struct err *e);
/* "secure", "insecure", "bogus", "unknown". Static. */
const char *dns_security_name(enum dns_security s);
/* "found", "nodata", "nxdomain", "failed". Static. */
const char *dns_result_name(enum dns_result r);

#endif
