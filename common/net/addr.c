#include "net/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

bool addr_parse(const char *text, uint16_t port, struct addr *out) {
    *out = (struct addr){0};
    if (inet_pton(AF_INET, text, &out->u.in.sin_addr) == 1) {
        out->u.in.sin_family = AF_INET;
        out->u.in.sin_port = htons(port);
        out->len = sizeof out->u.in;
        return true;
    }
    if (inet_pton(AF_INET6, text, &out->u.in6.sin6_addr) == 1) {
        out->u.in6.sin6_family = AF_INET6;
        out->u.in6.sin6_port = htons(port);
        out->len = sizeof out->u.in6;
        return true;
    }
    return false;
}

const char *addr_host(const struct addr *a, char out[ADDR_TEXT_MAX]) {
    const void *p = &a->u.in.sin_addr;
    int family = a->u.sa.sa_family;

    if (family == AF_INET6) {
        p = &a->u.in6.sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&a->u.in6.sin6_addr)) {
            p = &a->u.in6.sin6_addr.s6_addr[12];
            family = AF_INET;
        }
    } else if (family != AF_INET) {
        snprintf(out, ADDR_TEXT_MAX, "local");
        return out;
    }
    if (!inet_ntop(family, p, out, ADDR_TEXT_MAX)) snprintf(out, ADDR_TEXT_MAX, "?");
    return out;
}

const char *addr_text(const struct addr *a, char out[ADDR_TEXT_MAX]) {
    char host[ADDR_TEXT_MAX];

    addr_host(a, host);
    if (strchr(host, ':')) snprintf(out, ADDR_TEXT_MAX, "[%.46s]:%u", host, addr_port(a));
    else snprintf(out, ADDR_TEXT_MAX, "%.46s:%u", host, addr_port(a));
    return out;
}

uint16_t addr_port(const struct addr *a) {
    return ntohs(a->u.sa.sa_family == AF_INET6 ? a->u.in6.sin6_port : a->u.in.sin_port);
}

void addr_set_port(struct addr *a, uint16_t port) {
    if (a->u.sa.sa_family == AF_INET6) a->u.in6.sin6_port = htons(port);
    else a->u.in.sin_port = htons(port);
}

bool addr_is_ipv6(const struct addr *a) {
    return a->u.sa.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&a->u.in6.sin6_addr);
}

struct slice addr_network(const struct addr *a) {
    const char *p = (const char *)a->u.in6.sin6_addr.s6_addr;

    if (a->u.sa.sa_family == AF_INET) return slice_of((const char *)&a->u.in.sin_addr, 4);
    return addr_is_ipv6(a) ? slice_of(p, 8) : slice_of(p + 12, 4);
}

bool addr_is_loopback(const struct addr *a) {
    if (a->u.sa.sa_family == AF_INET) return ntohl(a->u.in.sin_addr.s_addr) >> 24 == 127;
    if (a->u.sa.sa_family != AF_INET6) return true;
    if (IN6_IS_ADDR_V4MAPPED(&a->u.in6.sin6_addr)) return a->u.in6.sin6_addr.s6_addr[12] == 127;
    return IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr);
}

const char *addr_literal(const struct addr *a, char out[ADDR_TEXT_MAX]) {
    char host[ADDR_TEXT_MAX];

    addr_host(a, host);
    snprintf(out, ADDR_TEXT_MAX, strchr(host, ':') ? "[IPv6:%.46s]" : "[%.46s]", host);
    return out;
}
