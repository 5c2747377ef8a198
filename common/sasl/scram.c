#include "sasl/scram.h"

#include "base/ascii.h"
#include "base/base64.h"
#include "base/num.h"
#include "base/utf8.h"

static struct slice octets(const uint8_t *p, size_t n) { return slice_of((const char *)p, n); }

static void wipe(struct buf *b) {
    if (b->p) explicit_bzero(b->p, b->cap);
    buf_release(b);
}

// --- keys -------------------------------------------------------------------------------------

bool scram_is_clean(struct slice text) {
    for (size_t i = 0; i < text.n; i++)
        if (ascii_is_ctl(text.p[i])) return false;
    return utf8_valid(text);
}

// ClientKey's hash and ServerKey of a salted password (RFC 5802 3).
static bool derive(const uint8_t salted[SHA256_SIZE], uint8_t client[SHA256_SIZE],
                   uint8_t stored[SHA256_SIZE], uint8_t server[SHA256_SIZE]) {
    struct slice key = octets(salted, SHA256_SIZE);
    return hash_hmac(key, S("Client Key"), client) &&
           hash_sha256(octets(client, SHA256_SIZE), stored) &&
           hash_hmac(key, S("Server Key"), server);
}

bool scram_derive(struct slice password, struct scram_keys *k) {
    uint8_t salted[SHA256_SIZE], client[SHA256_SIZE];
    bool ok = scram_is_clean(password) &&
              hash_pbkdf2(password, octets(k->salt, k->salt_n), k->iterations, salted) &&
              derive(salted, client, k->stored, k->server);
    explicit_bzero(salted, sizeof salted);
    explicit_bzero(client, sizeof client);
    return ok;
}

bool scram_check(const struct scram_keys *keys, struct slice password) {
    struct scram_keys made = *keys;
    bool same =
        scram_derive(password, &made) && hash_equal(made.stored, keys->stored, sizeof made.stored);
    explicit_bzero(&made, sizeof made);
    return same;
}

bool scram_keys_put(struct buf *out, const struct scram_keys *k) {
    buf_addf(out, "%u,", k->iterations);
    base64_put(out, octets(k->salt, k->salt_n));
    buf_addc(out, ',');
    base64_put(out, octets(k->stored, SHA256_SIZE));
    buf_addc(out, ',');
    return base64_put(out, octets(k->server, SHA256_SIZE)) && !out->bad;
}

// `text` as base64 of `min` to `max` octets.
static bool take(struct slice text, uint8_t *out, size_t min, size_t max, size_t *n) {
    struct buf b;
    buf_init(&b, max + 3);
    bool ok = base64_get(&b, text) && b.n >= min && b.n <= max;
    if (ok) {
        memcpy(out, b.p, b.n);
        if (n) *n = b.n;
    }
    wipe(&b);
    return ok;
}

static bool iterations(struct slice text, unsigned *out) {
    uint64_t n;
    if (!num_parse(text, SCRAM_ITERATIONS_MAX, &n) || n < SCRAM_ITERATIONS_MIN) return false;
    *out = (unsigned)n;
    return true;
}

bool scram_keys_parse(struct slice text, struct scram_keys *out) {
    struct slice count, salt, stored;
    return slice_cut(text, ',', &count, &text) && slice_cut(text, ',', &salt, &text) &&
           slice_cut(text, ',', &stored, &text) && iterations(count, &out->iterations) &&
           take(salt, out->salt, 1, SCRAM_SALT_MAX, &out->salt_n) &&
           take(stored, out->stored, SHA256_SIZE, SHA256_SIZE, NULL) &&
           take(text, out->server, SHA256_SIZE, SHA256_SIZE, NULL);
}

// --- messages ---------------------------------------------------------------------------------

bool scram_name_get(struct buf *out, struct slice name) {
    if (!scram_is_clean(name)) return false;
    for (size_t i = 0; i < name.n; i++) {
        struct slice rest = slice_from(name, i);
        if (name.p[i] != '=') buf_addc(out, name.p[i]);
        else if (slice_istarts(rest, S("=2C"))) buf_addc(out, ','), i += 2;
        else if (slice_istarts(rest, S("=3D"))) buf_addc(out, '='), i += 2;
        else return false;
    }
    return !out->bad;
}

bool scram_name_put(struct buf *out, struct slice name) {
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == ',') buf_add(out, S("=2C"));
        else if (name.p[i] == '=') buf_add(out, S("=3D"));
        else buf_addc(out, name.p[i]);
    }
    return !out->bad;
}

void scram_nonce(char *p, size_t n) {
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i++) p[i] = set[(unsigned char)p[i] & 63];
}

static bool is_nonce(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',') return false;
    return s.n > 0 && s.n <= SCRAM_NONCE_MAX;
}

// The next attribute "k=value" of `*in`, which must be `key`.
static bool attribute(struct slice *in, char key, struct slice *value) {
    struct slice one;
    slice_cut(*in, ',', &one, in);
    if (one.n < 2 || one.p[0] != key || one.p[1] != '=') return false;
    *value = slice_from(one, 2);
    return true;
}

bool scram_first_parse(struct slice in, struct scram_first *out) {
    struct slice flag, rest, authzid;
    *out = (struct scram_first){0};
    if (in.n > SCRAM_MESSAGE_MAX || !slice_cut(in, ',', &flag, &rest) ||
        !slice_cut(rest, ',', &authzid, &rest))
        return false;
    if (slice_eq(flag, S("n")) || slice_eq(flag, S("y"))) out->flag = flag.p[0];
    else if (slice_starts(flag, S("p=")) && flag.n > 2)
        out->flag = 'p', out->binding = slice_from(flag, 2);
    else return false;
    if (authzid.n) {
        if (!slice_starts(authzid, S("a=")) || authzid.n == 2) return false;
        out->authzid = slice_from(authzid, 2);
    }
    out->bare = rest;
    out->header = slice_first(in, in.n - rest.n);
    return attribute(&rest, 'n', &out->name) && out->name.n > 0 &&
           attribute(&rest, 'r', &out->nonce) && is_nonce(out->nonce) &&
           out->nonce.n + SCRAM_NONCE_OWN_MAX <= SCRAM_NONCE_MAX;
}

// --- the server's side ------------------------------------------------------------------------

bool scram_server_first(struct scram_server *s, const struct scram_first *first, struct slice nonce,
                        const uint8_t *binding, struct buf *out) {
    buf_init(&s->auth, 3 * SCRAM_MESSAGE_MAX);
    buf_init(&s->header, SCRAM_MESSAGE_MAX + SCRAM_BINDING);
    buf_init(&s->nonce, SCRAM_NONCE_MAX);
    buf_add(&s->header, first->header);
    if (first->flag == 'p') buf_add(&s->header, octets(binding, SCRAM_BINDING));
    buf_add(&s->nonce, first->nonce);
    buf_add(&s->nonce, nonce);
    buf_addf(out, "r=%.*s,s=", SP(buf_slice(&s->nonce)));
    base64_put(out, octets(s->keys.salt, s->keys.salt_n));
    buf_addf(out, ",i=%u", s->keys.iterations);
    buf_addf(&s->auth, "%.*s,%.*s,", SP(first->bare), SP(buf_slice(out)));
    return !out->bad && !s->auth.bad && !s->header.bad && !s->nonce.bad;
}

// "c=...,r=...[,extensions],p=PROOF" in its parts.
struct final {
    struct slice without_proof, binding, nonce, proof;
};

static bool final_parse(struct slice in, struct final *f) {
    size_t last = slice_rchr(in, ',');
    struct slice rest;
    if (in.n > SCRAM_MESSAGE_MAX || last == SLICE_NONE) return false;
    f->without_proof = rest = slice_first(in, last);
    f->proof = slice_from(in, last + 1);
    if (!slice_starts(f->proof, S("p="))) return false;
    f->proof = slice_from(f->proof, 2);
    return attribute(&rest, 'c', &f->binding) && attribute(&rest, 'r', &f->nonce);
}

enum scram_verdict scram_server_final(struct scram_server *s, struct slice in, struct buf *out) {
    struct final f;
    uint8_t proof[SHA256_SIZE], sign[SHA256_SIZE], stored[SHA256_SIZE];
    struct buf bound;
    if (!final_parse(in, &f) || !take(f.proof, proof, SHA256_SIZE, SHA256_SIZE, NULL))
        return SCRAM_MALFORMED;
    buf_init(&bound, SCRAM_MESSAGE_MAX);
    // Everything is computed whatever failed before: the time says nothing.
    bool ok = base64_get(&bound, f.binding);
    ok &= bound.n == s->header.n &&
          hash_equal((const uint8_t *)bound.p, (const uint8_t *)s->header.p, bound.n);
    ok &= slice_eq(f.nonce, buf_slice(&s->nonce));
    wipe(&bound);
    buf_add(&s->auth, f.without_proof);
    ok &= !s->auth.bad && hash_hmac(octets(s->keys.stored, SHA256_SIZE), buf_slice(&s->auth), sign);
    for (size_t i = 0; ok && i < SHA256_SIZE; i++) proof[i] ^= sign[i]; // ClientKey
    ok &= hash_sha256(octets(proof, SHA256_SIZE), stored);
    ok &= hash_equal(stored, s->keys.stored, SHA256_SIZE);
    ok &= hash_hmac(octets(s->keys.server, SHA256_SIZE), buf_slice(&s->auth), sign);
    explicit_bzero(proof, sizeof proof);
    if (!ok || !s->is_known) return SCRAM_WRONG;
    buf_add(out, S("v="));
    return base64_put(out, octets(sign, SHA256_SIZE)) ? SCRAM_GOOD : SCRAM_MALFORMED;
}

void scram_server_release(struct scram_server *s) {
    wipe(&s->auth);
    wipe(&s->header);
    wipe(&s->nonce);
    explicit_bzero(s, sizeof *s);
}

// --- the client's side ------------------------------------------------------------------------

bool scram_client_first(struct scram_client *c, char flag, const uint8_t *binding,
                        struct slice name, struct buf *out) {
    buf_init(&c->header, SCRAM_MESSAGE_MAX);
    buf_init(&c->bare, SCRAM_MESSAGE_MAX);
    buf_init(&c->auth, 3 * SCRAM_MESSAGE_MAX);
    if (flag == 'p') buf_add(&c->header, S("p=tls-exporter,,"));
    else buf_addf(&c->header, "%c,,", flag);
    c->header_n = c->header.n;
    if (flag == 'p') buf_add(&c->header, octets(binding, SCRAM_BINDING));
    buf_add(&c->bare, S("n="));
    if (!scram_is_clean(name) || !scram_name_put(&c->bare, name)) return false;
    buf_addf(&c->bare, ",r=%.*s", (int)c->nonce_n, c->nonce);
    buf_add(out, slice_first(buf_slice(&c->header), c->header_n));
    buf_add(out, buf_slice(&c->bare));
    return !c->header.bad && !c->bare.bad && !out->bad;
}

bool scram_client_final(struct scram_client *c, struct slice in, struct slice password,
                        struct buf *out) {
    struct slice rest = in, nonce, salt, count;
    uint8_t s[SCRAM_SALT_MAX], client[SHA256_SIZE], stored[SHA256_SIZE], server[SHA256_SIZE],
        sign[SHA256_SIZE];
    size_t salt_n;
    unsigned n;
    if (in.n > SCRAM_MESSAGE_MAX || !attribute(&rest, 'r', &nonce) || !is_nonce(nonce) ||
        !attribute(&rest, 's', &salt) || !attribute(&rest, 'i', &count) || nonce.n <= c->nonce_n ||
        memcmp(nonce.p, c->nonce, c->nonce_n) != 0 || !take(salt, s, 1, sizeof s, &salt_n) ||
        !iterations(count, &n) || !scram_is_clean(password) ||
        !hash_pbkdf2(password, octets(s, salt_n), n, c->salted) ||
        !derive(c->salted, client, stored, server))
        return false;
    buf_add(out, S("c="));
    base64_put(out, buf_slice(&c->header));
    buf_addf(out, ",r=%.*s", SP(nonce));
    buf_addf(&c->auth, "%.*s,%.*s,%.*s", SP(buf_slice(&c->bare)), SP(in), SP(buf_slice(out)));
    bool ok = !c->auth.bad && hash_hmac(octets(stored, SHA256_SIZE), buf_slice(&c->auth), sign);
    for (size_t i = 0; i < SHA256_SIZE; i++) client[i] ^= sign[i];
    buf_add(out, S(",p="));
    ok = ok && base64_put(out, octets(client, SHA256_SIZE)) && !out->bad;
    explicit_bzero(client, sizeof client);
    explicit_bzero(stored, sizeof stored);
    explicit_bzero(server, sizeof server);
    return ok;
}

bool scram_client_verify(const struct scram_client *c, struct slice in) {
    uint8_t client[SHA256_SIZE], stored[SHA256_SIZE], server[SHA256_SIZE], sign[SHA256_SIZE],
        said[SHA256_SIZE];
    struct slice v;
    bool ok = in.n <= SCRAM_MESSAGE_MAX && c->auth.n && attribute(&in, 'v', &v) &&
              take(v, said, SHA256_SIZE, SHA256_SIZE, NULL) &&
              derive(c->salted, client, stored, server) &&
              hash_hmac(octets(server, SHA256_SIZE), buf_slice(&c->auth), sign) &&
              hash_equal(sign, said, SHA256_SIZE);
    explicit_bzero(client, sizeof client);
    explicit_bzero(server, sizeof server);
    return ok;
}

void scram_client_release(struct scram_client *c) {
    wipe(&c->header);
    wipe(&c->bare);
    wipe(&c->auth);
    explicit_bzero(c, sizeof *c);
}
