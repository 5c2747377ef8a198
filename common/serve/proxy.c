#include "serve/proxy.h"

#include <stdio.h>

#include "base/num.h"

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";
enum { V1_SHORTEST = sizeof "PROXY UNKNOWN\r\n" - 1 };

static bool address(struct slice text, struct slice port, int family, struct addr *out) {
    char z[INET6_ADDRSTRLEN];
    uint64_t n;

    if (text.n == 0 || text.n >= sizeof z || !num_parse(port, 65535, &n)) return false;
    snprintf(z, sizeof z, "%.*s", SP(text));
    return addr_parse(z, (uint16_t)n, out) && out->u.sa.sa_family == family;
}

/* "PROXY TCP4 192.0.2.1 192.0.2.2 56324 25" */
static enum step parse_line(struct slice line, struct proxy *out) {
    struct slice word[6];
    size_t n = 0;
    int family;

    if (line.n < 2 || line.p[line.n - 2] != '\r') return STEP_BAD;
    line.n -= 2;
    while (n < COUNT_OF(word) && line.n > 0) slice_cut(line, ' ', &word[n++], &line);
    if (n >= 2 && slice_eq(word[1], S("UNKNOWN"))) return STEP_DONE;
    if (n != 6 || line.n > 0) return STEP_BAD;
    if (slice_eq(word[1], S("TCP4"))) family = AF_INET;
    else if (slice_eq(word[1], S("TCP6"))) family = AF_INET6;
    else return STEP_BAD;
    if (!address(word[2], word[4], family, &out->client) ||
        !address(word[3], word[5], family, &out->local))
        return STEP_BAD;
    out->has_addresses = true;
    return STEP_DONE;
}

static void fill(struct addr *a, const char *ip, const char *port, bool is_v6) {
    *a = (struct addr){0};
    if (is_v6) {
        a->u.in6.sin6_family = AF_INET6;
        memcpy(&a->u.in6.sin6_addr, ip, 16);
        memcpy(&a->u.in6.sin6_port, port, 2);
        a->len = sizeof a->u.in6;
    } else {
        a->u.in.sin_family = AF_INET;
        memcpy(&a->u.in.sin_addr, ip, 4);
        memcpy(&a->u.in.sin_port, port, 2);
        a->len = sizeof a->u.in;
    }
}

static enum step parse_binary(struct slice in, struct proxy *out, size_t *want) {
    size_t n, ip;
    const char *p = in.p + PROXY_V2_HEAD;

    if (in.n < PROXY_V2_HEAD) {
        *want = PROXY_V2_HEAD - in.n;
        return STEP_MORE;
    }
    if ((in.p[12] & 0xf0) != 0x20 || (in.p[12] & 0x0f) > 1) return STEP_BAD;
    n = (size_t)(unsigned char)in.p[14] << 8 | (unsigned char)in.p[15];
    if (n > PROXY_HEADER_MAX - PROXY_V2_HEAD) return STEP_BAD;
    if (in.n < PROXY_V2_HEAD + n) {
        *want = PROXY_V2_HEAD + n - in.n;
        return STEP_MORE;
    }
    /* LOCAL: the proxy itself, as for a health check. */
    if ((in.p[12] & 0x0f) == 0 || (in.p[13] != 0x11 && in.p[13] != 0x21)) return STEP_DONE;
    ip = in.p[13] == 0x11 ? 4 : 16;
    if (n < 2 * ip + 4) return STEP_BAD;
    fill(&out->client, p, p + 2 * ip, ip == 16);
    fill(&out->local, p + ip, p + 2 * ip + 2, ip == 16);
    out->has_addresses = true;
    return STEP_DONE;
}

enum step proxy_parse(struct slice in, struct proxy *out, size_t *want) {
    *out = (struct proxy){0};
    *want = V1_SHORTEST;
    if (in.n == 0) return STEP_MORE;
    if (slice_starts(slice_of(signature, sizeof signature), slice_first(in, sizeof signature)))
        return parse_binary(in, out, want);
    if (!slice_starts(S("PROXY "), slice_first(in, 6))) return STEP_BAD;
    if (in.n < V1_SHORTEST) {
        *want = V1_SHORTEST - in.n;
        return STEP_MORE;
    }
    /* From here on one byte at a time: where the line ends is not known. */
    if (in.p[in.n - 1] == '\n') return parse_line(in, out);
    *want = 1;
    return in.n < PROXY_V1_MAX && slice_chr(in, '\n') == SLICE_NONE ? STEP_MORE : STEP_BAD;
}
