#include "policy/dane.h"

bool dane_is_usable(const struct dns_record *r) {
    static const size_t lengths[] = {0, 32, 64}; /* full, SHA-256, SHA-512 (RFC 6698 2.1.3) */

    if ((r->usage != 2 && r->usage != 3) || r->selector > 1 || r->matching > 2) return false;
    return r->matching == 0 ? r->data.n > 0 : r->data.n == lengths[r->matching];
}

size_t dane_count(const struct dns_record *tlsa, size_t n) {
    size_t count = 0;

    for (size_t i = 0; i < n; i++) count += dane_is_usable(&tlsa[i]);
    return count;
}
