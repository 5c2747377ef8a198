#include "base/num.h"

#include "base/ascii.h"

bool num_take(struct slice *s, uint64_t max, uint64_t *out) {
    uint64_t v = 0;
    size_t i = 0;

    for (; i < s->n && ascii_is_digit(s->p[i]); i++) {
        unsigned d = (unsigned)(s->p[i] - '0');

        if (i >= 19 && (i == 20 || v > (UINT64_MAX - d) / 10)) return false; // 19 digits fit
        v = v * 10 + d;
    }
    if (i == 0 || v > max) return false;
    *out = v;
    *s = slice_from(*s, i);
    return true;
}

bool num_parse(struct slice s, uint64_t max, uint64_t *out) {
    uint64_t v;

    if (!num_take(&s, max, &v) || s.n != 0) return false;
    *out = v;
    return true;
}

static bool scaled(struct slice s, uint64_t max, const char *units, const uint64_t *factors,
                   uint64_t *out) {
    uint64_t v, factor = 1;

    if (!num_take(&s, UINT64_MAX, &v) || s.n > 1) return false;
    if (s.n == 1) {
        const char *at = s.p[0] ? strchr(units, ascii_lower(s.p[0])) : NULL;

        if (!at) return false;
        factor = factors[at - units];
    }
    if (v > max / factor) return false;
    *out = v * factor;
    return true;
}

bool num_duration(struct slice s, uint64_t max_s, uint64_t *seconds) {
    static const uint64_t f[] = {1, 60, 3600, 86400, 604800};

    return scaled(s, max_s, "smhdw", f, seconds);
}

bool num_size(struct slice s, uint64_t max, uint64_t *bytes) {
    static const uint64_t f[] = {1024, 1024 * 1024, 1024 * 1024 * 1024};

    return scaled(s, max, "kmg", f, bytes);
}
