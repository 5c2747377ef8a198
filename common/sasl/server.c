#include "sasl/server.h"

#include <stdlib.h>

#include "base/attr.h"
#include "base/base64.h"
#include "sasl/scram.h"

struct sasl_server_mechanism {
    unsigned bit;
    bool is_server_first; // begins with a challenge that means something
    enum sasl_step (*step)(struct sasl_server *x, struct slice in);
};

static bool put(struct buf *b, struct slice s, size_t max) {
    buf_init(b, max + 1);
    return s.n <= max && buf_add(b, s);
}

static enum sasl_step claim(struct sasl_server *x, enum sasl_claim what) {
    x->claim = what;
    return SASL_CLAIMED;
}

static enum sasl_step challenge(struct sasl_server *x, struct slice text) {
    buf_reset(&x->out);
    return base64_put(&x->out, text) ? SASL_CHALLENGE : SASL_MALFORMED;
}

static enum sasl_step plain(struct sasl_server *x, struct slice in) {
    struct slice authzid, authcid, password;
    if (!slice_cut(in, '\0', &authzid, &in) || !slice_cut(in, '\0', &authcid, &password) ||
        !authcid.n || slice_chr(password, '\0') != SLICE_NONE)
        return SASL_MALFORMED;
    return put(&x->authzid, authzid, SASL_NAME_MAX) && put(&x->authcid, authcid, SASL_NAME_MAX) &&
                   put(&x->password, password, SASL_PASSWORD_MAX)
               ? claim(x, SASL_IS_PASSWORD)
               : SASL_MALFORMED;
}

// the prompts are exactly these; an initial response is the user name.
static enum sasl_step login(struct sasl_server *x, struct slice in) {
    if (slice_chr(in, '\0') != SLICE_NONE) return SASL_MALFORMED;
    if (x->state++ == 0) {
        if (!in.n || !put(&x->authcid, in, SASL_NAME_MAX)) return SASL_MALFORMED;
        return challenge(x, S("Password:"));
    }
    return put(&x->password, in, SASL_PASSWORD_MAX) ? claim(x, SASL_IS_PASSWORD) : SASL_MALFORMED;
}

// --- SCRAM ------------------------------------------------------------------------------------

static enum sasl_step scram_first(struct sasl_server *x, struct slice in) {
    const struct sasl_env *env = x->env;
    bool is_plus = x->mechanism->bit == SASL_SCRAM_SHA_256_PLUS;
    uint8_t binding[SCRAM_BINDING] = {0};
    char nonce[SCRAM_NONCE];
    struct scram_first first;
    struct buf out;

    if (!scram_first_parse(in, &first) || (first.flag == 'p') != is_plus) return SASL_MALFORMED;
    buf_init(&x->authcid, SASL_NAME_MAX);
    buf_init(&x->authzid, SASL_NAME_MAX);
    if (!scram_name_get(&x->authcid, first.name) || !scram_name_get(&x->authzid, first.authzid))
        return SASL_MALFORMED;
    // "y": the client could bind, and was told that we cannot. If we can, somebody between us took
    // the offer away (RFC 5802 6).
    if ((first.flag == 'y' && sasl_server_offers(env) & SASL_SCRAM_SHA_256_PLUS) ||
        (is_plus &&
         (!slice_eq(first.binding, S("tls-exporter")) || !env->binding(env->user, binding))))
        return claim(x, SASL_IS_DENIED);
    x->scram = calloc(1, sizeof *x->scram);
    if (!x->scram) return SASL_MALFORMED;
    x->scram->is_known = env->keys(env->user, buf_slice(&x->authcid), &x->scram->keys);
    env->random(env->user, nonce, sizeof nonce);
    scram_nonce(nonce, sizeof nonce);
    buf_init(&out, SCRAM_MESSAGE_MAX);
    enum sasl_step r =
        scram_server_first(x->scram, &first, slice_of(nonce, sizeof nonce), binding, &out)
            ? challenge(x, buf_slice(&out))
            : SASL_MALFORMED;
    buf_release(&out);
    return r;
}

static enum sasl_step scram_final(struct sasl_server *x, struct slice in) {
    enum sasl_step r = SASL_MALFORMED;
    struct buf out;
    buf_init(&out, SCRAM_MESSAGE_MAX);
    switch (scram_server_final(x->scram, in, &out)) {
    case SCRAM_GOOD: r = challenge(x, buf_slice(&out)); break;
    case SCRAM_WRONG: r = claim(x, SASL_IS_DENIED); break;
    case SCRAM_MALFORMED: break;
    }
    buf_release(&out);
    return r;
}

static enum sasl_step scram(struct sasl_server *x, struct slice in) {
    switch (x->state++) {
    case 0: return scram_first(x, in);
    case 1: return scram_final(x, in);
    default: return in.n ? SASL_MALFORMED : claim(x, SASL_IS_PROVEN);
    }
}

/* RFC 4422 appendix A: the connection proves it; the client says at most as whom to act, and the
 * account is that one then. */
static enum sasl_step external(struct sasl_server *x, struct slice in) {
    buf_init(&x->authcid, SASL_NAME_MAX);
    if (in.n > SASL_NAME_MAX || slice_chr(in, '\0') != SLICE_NONE) return SASL_MALFORMED;
    if (x->env->certificate(x->env->user, in, &x->authcid)) return claim(x, SASL_IS_PROVEN);
    buf_add(&x->authcid, in);
    return claim(x, SASL_IS_DENIED);
}

// --- tokens -----------------------------------------------------------------------------------

enum { TOLD = 100 }; // state: the client knows why it was refused

// Key-value pairs, each ended by 0x01, and one more of it at the end (RFC 7628 3.1). XOAUTH2 has
// the user among them.
static enum sasl_step token(struct sasl_server *x, struct slice in) {
    struct slice pair, key, value, secret = S("");
    bool is_x = x->mechanism->bit == SASL_XOAUTH2;

    buf_init(&x->authcid, SASL_NAME_MAX);
    if (!in.n || in.p[in.n - 1] != '\1' || slice_chr(in, '\0') != SLICE_NONE) return SASL_MALFORMED;
    if (!is_x) { // "n,a=user,"
        struct slice flag, name;
        if (!slice_cut(in, '\1', &pair, &in) || !slice_cut(pair, ',', &flag, &name) ||
            (!slice_eq(flag, S("n")) && !slice_eq(flag, S("y"))) || !slice_ends(name, S(",")) ||
            !slice_starts(name, S("a=")) ||
            !scram_name_get(&x->authcid, slice_of(name.p + 2, name.n - 3)))
            return SASL_MALFORMED;
    }
    while (slice_cut(in, '\1', &pair, &in) && pair.n) {
        if (!slice_cut(pair, '=', &key, &value)) return SASL_MALFORMED;
        if (is_x && slice_ieq(key, S("user")) && !x->authcid.n) buf_add(&x->authcid, value);
        if (slice_ieq(key, S("auth")) && slice_istarts(value, S("Bearer ")))
            secret = slice_trim(slice_from(value, 7));
    }
    if (in.n || !x->authcid.n || x->authcid.bad || !secret.n ||
        !put(&x->password, secret, SASL_TOKEN_MAX))
        return SASL_MALFORMED;
    return claim(x, SASL_IS_TOKEN);
}

enum sasl_step sasl_server_denied(struct sasl_server *x) {
    if (x->claim != SASL_IS_TOKEN) return SASL_CLAIMED;
    x->state = TOLD;
    return challenge(x, x->mechanism->bit == SASL_XOAUTH2
                            ? S("{\"status\":\"401\",\"schemes\":\"bearer\"}")
                            : S("{\"status\":\"invalid_token\"}"));
}

bool sasl_server_was_told(const struct sasl_server *x) { return x->state == TOLD; }

// --- the table --------------------------------------------------------------------------------

static const struct sasl_server_mechanism mechanisms[] = {
    {SASL_PLAIN, false, plain},         {SASL_LOGIN, true, login},
    {SASL_SCRAM_SHA_256, false, scram}, {SASL_SCRAM_SHA_256_PLUS, false, scram},
    {SASL_OAUTHBEARER, false, token},   {SASL_XOAUTH2, false, token},
    {SASL_EXTERNAL, false, external},
};

unsigned sasl_server_offers(const struct sasl_env *env) {
    unsigned set = SASL_PLAIN | SASL_LOGIN;
    uint8_t binding[SCRAM_BINDING];
    if (!env) return set;
    if (env->keys && env->random) {
        set |= SASL_SCRAM_SHA_256;
        if (env->binding && env->binding(env->user, binding)) set |= SASL_SCRAM_SHA_256_PLUS;
    }
    if (env->has_tokens) set |= SASL_OAUTHBEARER | SASL_XOAUTH2;
    if (env->certificate && env->certificate(env->user, S(""), NULL)) set |= SASL_EXTERNAL;
    return set;
}

static void wipe(struct buf *b) {
    if (b->p) explicit_bzero(b->p, b->cap);
    buf_release(b);
}

enum sasl_step sasl_server_start(struct sasl_server *x, struct slice mechanism, bool has_initial,
                                 struct slice initial, const struct sasl_env *env) {
    unsigned bit = sasl_find(mechanism) & sasl_server_offers(env);
    *x = (struct sasl_server){.env = env};
    buf_init(&x->out, 2 * SCRAM_MESSAGE_MAX);
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++)
        if (bit == mechanisms[i].bit) x->mechanism = &mechanisms[i];
    if (!x->mechanism) return SASL_UNSUPPORTED;
    if (has_initial) return sasl_server_step(x, slice_eq(initial, S("=")) ? S("") : initial);
    if (x->mechanism->is_server_first && !base64_put(&x->out, S("Username:")))
        return SASL_MALFORMED;
    return SASL_CHALLENGE;
}

enum sasl_step sasl_server_step(struct sasl_server *x, struct slice line) {
    struct buf raw;
    enum sasl_step r = SASL_MALFORMED;
    if (sasl_server_was_told(x)) return claim(x, SASL_IS_DENIED);
    if (slice_eq(line, S("*"))) return SASL_CANCELLED;
    buf_init(&raw, SASL_LINE_MAX);
    // Reserved at once: a buffer that moves would leave the secret behind.
    if (line.n <= SASL_LINE_MAX && buf_room(&raw, line.n + 1) && base64_get(&raw, line))
        r = x->mechanism->step(x, buf_slice(&raw));
    wipe(&raw);
    return r;
}

void sasl_server_release(struct sasl_server *x) {
    wipe(&x->out);
    wipe(&x->authzid);
    wipe(&x->authcid);
    wipe(&x->password);
    if (x->scram) scram_server_release(x->scram);
    free(x->scram);
    *x = (struct sasl_server){0};
}

const char *sasl_server_name(const struct sasl_server *x) {
    return x->mechanism ? sasl_name(x->mechanism->bit) : "";
}
