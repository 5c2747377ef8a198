/* addr: socket addresses as text and back. No name service is asked. Any thread. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/slice.h"

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } u;
    socklen_t len;
};
enum { ADDR_TEXT_MAX = INET6_ADDRSTRLEN + 10 };

/* From "192.0.2.1" or "2001:db8::1" (no brackets). False when it is not an address. */
bool addr_parse(const char *text, uint16_t port, struct addr *out);
/* The address alone: "192.0.2.1"; IPv4 mapped in IPv6 is shown as IPv4. Returns `out`. */
const char *addr_host(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* "192.0.2.1:25" or "[2001:db8::1]:25". Returns `out`. */
const char *addr_text(const struct addr *a, char out[ADDR_TEXT_MAX]);
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
bool addr_is_ipv6(const struct addr *a);
/* 127.0.0.0/8, ::1, and the first mapped into IPv6. */
bool addr_is_loopback(const struct addr *a);
/* What one customer has: an IPv4 address, mapped into IPv6 or not, or the /64 of an IPv6 one;
 * points into `a`. */
struct slice addr_network(const struct addr *a);
/* As an address literal of RFC 5321 4.1.3: "[192.0.2.1]", "[IPv6:2001:db8::1]". Returns `out`. */
const char *addr_literal(const struct addr *a, char out[ADDR_TEXT_MAX]);

#endif
