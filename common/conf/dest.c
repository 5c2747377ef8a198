/* dest: the rules of the `destination` setting. */
#include <arpa/inet.h>

#include "base/ascii.h"
#include "base/num.h"
#include "conf/conf.h"

enum { CONCURRENCY_MAX = 256 };

static enum err_code bad(struct err *e, struct slice word, const char *why) {
    return err_set(e, ERR_CONFIG, "destination: \"%.*s\": %s", SP(word), why);
}

static enum err_code parse_via(struct conf *c, struct slice v, struct conf_dest *d, struct err *e) {
    struct slice kind, where;

    if (slice_ieq(v, S("mx"))) {
        d->via = VIA_MX;
        return OK;
    }
    if (!slice_cut(v, ':', &kind, &where) || where.n == 0)
        return bad(e, v, "write via=smtp:HOST:PORT, via=lmtp:HOST:PORT or via=mx");
    if (slice_ieq(kind, S("smtp"))) d->via = VIA_SMTP, d->port = 25;
    else if (slice_ieq(kind, S("lmtp"))) d->via = VIA_LMTP, d->port = 24;
    else return bad(e, kind, "use smtp, lmtp or mx");
    return conf_host_port(&c->arena, where, &d->host, &d->port, e);
}

static enum err_code parse_tls(struct slice v, struct conf_dest *d, struct err *e) {
    static const char *const words[] = {"auto", "none", "may", "require", "verify"};

    for (int i = 0; i < 5; i++) {
        if (!slice_ieq(v, slice_str(words[i]))) continue;
        d->tls = (enum conf_relay_tls)i;
        return OK;
    }
    return bad(e, v, "use one of none, may, require, verify");
}

/* "60/m": messages per second, minute or hour. */
static enum err_code parse_rate(struct slice v, struct conf_dest *d, struct err *e) {
    struct slice number, unit;
    uint64_t n, ms;

    if (!slice_cut(v, '/', &number, &unit) || !num_parse(number, 1000000, &n) || n == 0)
        return bad(e, v, "write rate=N/s, N/m or N/h");
    if (slice_ieq(unit, S("s"))) ms = 1000;
    else if (slice_ieq(unit, S("m"))) ms = 60 * 1000;
    else if (slice_ieq(unit, S("h"))) ms = 3600 * 1000;
    else return bad(e, unit, "use s, m or h");
    d->interval_ms = (uint32_t)((ms + n - 1) / n);
    return OK;
}

static enum err_code parse_source(struct conf *c, struct slice v, struct conf_dest *d,
                                  struct err *e) {
    const char *text = arena_cstr(&c->arena, v);
    unsigned char addr[16];

    if (text && inet_pton(AF_INET, text, addr) == 1) d->source_v4 = text;
    else if (text && inet_pton(AF_INET6, text, addr) == 1) d->source_v6 = text;
    else return bad(e, v, "it is not an address");
    return OK;
}

enum err_code conf_dest_parse(struct conf *c, struct slice v, struct conf_dest *out,
                              struct err *e) {
    static const char *const keys[] = {"via", "tls", "concurrency", "rate", "source"};
    struct slice word, key, value;
    enum err_code code = OK;
    uint64_t n;

    *out = (struct conf_dest){0};
    if (!slice_word(&v, &word)) return err_set(e, ERR_CONFIG, "destination wants a domain");
    for (size_t i = 0; i < word.n; i++)
        if (!ascii_is_graph(word.p[i]) || word.p[i] == '=' || word.p[i] == '@')
            return bad(e, word, "it is not a domain; write example.org, .example.org or *");
    out->domain = arena_cstr(&c->arena, word);
    while (code == OK && slice_word(&v, &word)) {
        if (!slice_cut(word, '=', &key, &value) || value.n == 0) {
            code = bad(e, word, "write WORD=VALUE");
        } else if (slice_ieq(key, S("via"))) {
            code = parse_via(c, value, out, e);
        } else if (slice_ieq(key, S("tls"))) {
            code = parse_tls(value, out, e);
        } else if (slice_ieq(key, S("concurrency"))) {
            if (!num_parse(value, CONCURRENCY_MAX, &n) || n == 0)
                code = bad(e, value, "concurrency is 1 to 256");
            else out->concurrency = (unsigned)n;
        } else if (slice_ieq(key, S("rate"))) {
            code = parse_rate(value, out, e);
        } else if (slice_ieq(key, S("source"))) {
            code = parse_source(c, value, out, e);
        } else {
            const char *near = conf_nearest(key, keys, COUNT_OF(keys));

            code = near ? err_set(e, ERR_CONFIG,
                                  "destination: unknown word \"%.*s\"; did you mean \"%s\"?",
                                  SP(key), near)
                        : bad(e, key, "use via, tls, concurrency, rate or source");
        }
    }
    return code;
}

const struct conf_dest *conf_dest(const struct conf *c, struct slice domain) {
    const struct conf_dest *best = NULL;
    size_t length = 0;

    for (size_t i = 0; i < c->dests; i++) {
        const struct conf_dest *d = &c->dest[i];
        struct slice name = slice_str(d->domain);
        size_t score = 0;

        if (slice_ieq(name, domain)) score = 1000;
        else if (slice_eq(name, S("*"))) score = 1;
        else if (name.n > 1 && name.p[0] == '.' &&
                 (slice_ieq(slice_from(name, 1), domain) ||
                  (domain.n > name.n && slice_ieq(slice_from(domain, domain.n - name.n), name))))
            score = 1 + name.n;
        if (score > length) length = score, best = d;
    }
    return best;
}
