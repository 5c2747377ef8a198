#include "deliver/self.h"

#include <ifaddrs.h>
#include <string.h>

static bool is_unspecified(const struct addr *a) {
    return a->u.sa.sa_family == AF_INET ? a->u.in.sin_addr.s_addr == 0
                                        : IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr);
}

static bool is_same(const struct addr *a, const struct addr *b) {
    char x[ADDR_TEXT_MAX], y[ADDR_TEXT_MAX];

    return strcmp(addr_host(a, x), addr_host(b, y)) == 0;
}

static bool is_of_interface(const struct addr *a) {
    struct ifaddrs *list;
    bool found = false;

    if (getifaddrs(&list) < 0) return false;
    for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next) {
        struct addr own = {0};

        if (!i->ifa_addr) continue;
        if (i->ifa_addr->sa_family == AF_INET) own.len = sizeof own.u.in;
        if (i->ifa_addr->sa_family == AF_INET6) own.len = sizeof own.u.in6;
        if (own.len == 0) continue;
        memcpy(&own.u, i->ifa_addr, own.len);
        found = is_same(a, &own);
    }
    freeifaddrs(list);
    return found;
}

bool self_listens(const struct conf *c, const struct addr *a) {
    if (is_unspecified(a)) return true;
    for (size_t i = 0; i < c->listens; i++) {
        const struct conf_listen *l = &c->listen[i];
        struct addr at;

        if (l->service != SERVICE_SMTP || l->port != addr_port(a)) continue;
        if (!l->host || !addr_parse(l->host, 0, &at) || is_unspecified(&at)) {
            if (addr_is_loopback(a) || is_of_interface(a)) return true;
        } else if (is_same(a, &at)) {
            return true;
        }
    }
    return false;
}
