#include "deliver/sts.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "net/https.h"
#include "sys/clock.h"
#include "sys/file.h"

enum { HTTPS_PORT = 443, CACHE_FILE_MAX = STS_TEXT_MAX + 256 };

/* The cache file: "ID FETCHED" (seconds since 1970) on the first line, then the policy as it came.
 */
struct cached {
    struct buf text;
    struct slice id, policy;
    wall_t fetched;
};

static bool cache_path(const struct conf *c, struct slice domain, char path[PATH_MAX]) {
    if (domain.n == 0 || domain.n > 253 || domain.p[0] == '.' || memchr(domain.p, '/', domain.n))
        return false;
    return snprintf(path, PATH_MAX, "%s/state/mta-sts/%.*s", c->data, SP(domain)) < PATH_MAX;
}

static bool cache_read(const char *path, struct cached *k) {
    struct slice first, rest, at;
    uint64_t n;

    if (access(path, R_OK) < 0 || file_read(path, &k->text, NULL) != OK) return false;
    if (!slice_cut(buf_slice(&k->text), '\n', &first, &rest)) return false;
    if (!slice_cut(first, ' ', &k->id, &at) || !num_parse(at, INT64_MAX / 2, &n)) return false;
    k->fetched = (wall_t)n;
    k->policy = rest;
    return true;
}

static void cache_write(const struct conf *c, const char *path, struct slice id,
                        struct slice policy) {
    char dir[PATH_MAX];
    struct buf text;

    if (snprintf(dir, sizeof dir, "%s/state/mta-sts", c->data) >= (int)sizeof dir) return;
    if (access(c->data, W_OK) < 0 || file_mkdirs(dir, 0700, NULL) != OK) return;
    buf_init(&text, CACHE_FILE_MAX);
    buf_addf(&text, "%.*s %lld\n", SP(id), (long long)clock_wall());
    buf_add(&text, policy);
    if (!text.bad) file_replace(path, buf_slice(&text), 0600, NULL);
    buf_release(&text);
}

/* The id that the domain's record has now; empty: none, or more than one. */
static enum err_code ask_record(struct resolver *r, struct slice domain, struct arena *a,
                                struct slice *id, struct sts_found *out, struct err *e) {
    struct slice name = arena_printf(a, "_mta-sts.%.*s", SP(domain)), one;
    struct dns_answer txt;
    unsigned records = 0;
    enum err_code code;

    *id = S("");
    if (name.n > 253) return OK;
    code = resolver_ask(r, name, DNS_TXT, a, &txt, e);
    if (code == ERR_SYNTAX) return OK;
    if (code != OK) return code;
    if (txt.result == DNS_FAILED) out->why = S("the record cannot be looked up");
    for (size_t i = 0; i < txt.count; i++)
        if (sts_record_id(txt.records[i].data, &one) && records++ == 0) *id = one;
    if (records > 1) {
        *id = S("");
        out->why = S("more than one record");
    }
    return OK;
}

static enum err_code fetch(struct resolver *r, const struct conf *c, struct slice domain,
                           struct arena *a, struct buf *text, struct err *e) {
    const char *host = arena_printf(a, "mta-sts.%.*s", SP(domain)).p;
    struct resolve_hosts found;
    enum err_code code;

    if (!host) return err_set(e, ERR_MEMORY, "no memory for a policy");
    code = resolver_hosts(r, slice_str(host), HTTPS_PORT, a, &found, e);
    if (code != OK) return code;
    if (found.count == 0) return err_set(e, ERR_DNS, "%s has no address", host);
    return https_get(host, "/.well-known/mta-sts.txt", found.addrs, found.count, c->tls_ca,
                     "text/plain", text, e);
}

enum err_code sts_find(struct resolver *r, const struct conf *c, struct slice domain,
                       struct arena *a, struct sts_found *out, struct err *e) {
    struct cached k = {0};
    char path[PATH_MAX];
    struct slice id;
    struct err why = {0};
    struct buf text;
    bool fresh;
    enum err_code code;

    *out = (struct sts_found){0};
    code = ask_record(r, domain, a, &id, out, e);
    if (code != OK) return code == ERR_MEMORY ? code : OK;
    buf_init(&k.text, CACHE_FILE_MAX);
    buf_init(&text, STS_TEXT_MAX);
    fresh = cache_path(c, domain, path) && cache_read(path, &k) &&
            sts_policy_parse(k.policy, a, &out->policy, NULL) == OK &&
            clock_wall() - k.fetched < (wall_t)out->policy.max_age;
    if (fresh) out->source = STS_CACHED;
    if (id.n > 0 && !(fresh && slice_eq(id, k.id))) {
        struct sts_policy policy;

        code = fetch(r, c, domain, a, &text, &why);
        if (code == OK) code = sts_policy_parse(buf_slice(&text), a, &policy, &why);
        if (code == OK) {
            out->source = STS_FETCHED;
            out->policy = policy;
            if (cache_path(c, domain, path)) cache_write(c, path, id, buf_slice(&text));
        } else {
            out->why = arena_copy(a, slice_str(why.msg));
        }
    }
    buf_release(&text);
    buf_release(&k.text);
    return a->bad ? err_set(e, ERR_MEMORY, "no memory for a policy") : OK;
}
