#include "sasl/client.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/attr.h"
#include "base/base64.h"
#include "sasl/scram.h"

struct sasl_client_mechanism {
    unsigned bit;
    bool has_initial;
    bool (*step)(struct sasl_client *x, struct slice challenge);
};

static void wipe(struct buf *b) {
    if (b->p) explicit_bzero(b->p, b->cap);
    buf_release(b);
}

static bool plain(struct sasl_client *x, struct slice challenge) {
    struct buf raw;
    bool ok;
    (void)challenge;
    if (x->state++) return false;
    buf_init(&raw, SASL_NAME_MAX + SASL_PASSWORD_MAX + 2);
    ok = buf_room(&raw, x->user.n + x->password.n + 2) && buf_addc(&raw, '\0') &&
         buf_add(&raw, x->user) && buf_addc(&raw, '\0') && buf_add(&raw, x->password) &&
         base64_put(&x->out, buf_slice(&raw));
    wipe(&raw);
    return ok;
}

// Whatever the prompts say: servers differ in their words, never in their order.
static bool login(struct sasl_client *x, struct slice challenge) {
    (void)challenge;
    int step = x->state++;
    return step < 2 && base64_put(&x->out, step == 0 ? x->user : x->password);
}

// The messages of one step, decoded.
static bool scram_step(struct sasl_client *x, struct slice in, struct buf *out) {
    const struct sasl_env *env = x->env;
    uint8_t binding[SCRAM_BINDING];
    char flag = 'n';
    switch (x->state++) {
    case 0:
        if (!(x->scram = calloc(1, sizeof *x->scram))) return false;
        x->scram->nonce_n = SCRAM_NONCE;
        env->random(env->user, x->scram->nonce, SCRAM_NONCE);
        scram_nonce(x->scram->nonce, SCRAM_NONCE);
        // We could bind, and the server says that it cannot: it will know if that was not its word.
        if (env->binding && env->binding(env->user, binding))
            flag = x->mechanism->bit == SASL_SCRAM_SHA_256_PLUS ? 'p'
                   : x->offered & SASL_SCRAM_SHA_256_PLUS       ? 'n'
                                                                : 'y';
        return scram_client_first(x->scram, flag, binding, x->user, out);
    case 1: return scram_client_final(x->scram, in, x->password, out);
    case 2: return (x->is_satisfied = scram_client_verify(x->scram, in));
    default: return false;
    }
}

static bool scram(struct sasl_client *x, struct slice challenge) {
    struct buf in, out;
    buf_init(&in, SCRAM_MESSAGE_MAX);
    buf_init(&out, SCRAM_MESSAGE_MAX);
    bool ok = base64_get(&in, challenge) && scram_step(x, buf_slice(&in), &out) &&
              base64_put(&x->out, buf_slice(&out));
    wipe(&in);
    wipe(&out);
    return ok;
}

// RFC 7628 3.1, and Google's form of it. A challenge is the reason of a refusal; the answer to it
// is empty, and the refusal follows.
static bool token(struct sasl_client *x, struct slice challenge) {
    bool is_x = x->mechanism->bit == SASL_XOAUTH2, ok;
    struct buf raw;
    (void)challenge;
    if (x->state++) return x->state == 2 && (is_x || base64_put(&x->out, S("\1")));
    // A name can double (RFC 5802 5.1: "=2C"); reserved at once, as a buffer that moves leaves
    // secrets.
    buf_init(&raw, 3 * SASL_NAME_MAX + SASL_TOKEN_MAX + 64);
    ok = buf_room(&raw, raw.max);
    if (is_x) {
        ok = ok && buf_add(&raw, S("user=")) && buf_add(&raw, x->user);
    } else {
        ok = ok && buf_add(&raw, S("n,a=")) && scram_name_put(&raw, x->user) && buf_addc(&raw, ',');
    }
    ok = ok && buf_add(&raw, S("\1auth=Bearer ")) && buf_add(&raw, x->password) &&
         buf_add(&raw, S("\1\1")) && base64_put(&x->out, buf_slice(&raw));
    wipe(&raw);
    return ok;
}

static bool is_token(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_graph(s.p[i])) return false;
    return s.n > 0;
}

static bool may(const struct sasl_client *x, unsigned wanted, unsigned bit) {
    uint8_t binding[SCRAM_BINDING];
    if (!(x->offered & wanted & bit)) return false;
    if (bit & SASL_WITH_TOKEN) return scram_is_clean(x->user) && is_token(x->password);
    if (bit == SASL_SCRAM_SHA_256) return x->env && x->env->random;
    if (bit == SASL_SCRAM_SHA_256_PLUS)
        return x->env && x->env->random && x->env->binding &&
               x->env->binding(x->env->user, binding);
    return true;
}

static const struct sasl_client_mechanism mechanisms[] = {
    {SASL_SCRAM_SHA_256_PLUS, true, scram},
    {SASL_SCRAM_SHA_256, true, scram},
    {SASL_PLAIN, true, plain},
    {SASL_LOGIN, false, login},
    {SASL_OAUTHBEARER, true, token},
    {SASL_XOAUTH2, true, token},
};

bool sasl_client_start(struct sasl_client *x, unsigned offered, unsigned wanted, struct slice user,
                       struct slice password, const struct sasl_env *env) {
    *x = (struct sasl_client){.env = env, .offered = offered, .user = user, .password = password};
    size_t max = wanted & SASL_WITH_TOKEN ? SASL_TOKEN_MAX : SASL_PASSWORD_MAX;
    buf_init(&x->out, SASL_LINE_MAX);
    if (user.n > SASL_NAME_MAX || password.n > max || !user.n ||
        slice_chr(user, '\0') != SLICE_NONE || slice_chr(password, '\0') != SLICE_NONE ||
        !buf_room(&x->out, x->out.max))
        return false;
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++) {
        if (!may(x, wanted, mechanisms[i].bit)) continue;
        x->mechanism = &mechanisms[i];
        x->has_initial = mechanisms[i].has_initial;
        return !x->has_initial || x->mechanism->step(x, S(""));
    }
    return false;
}

bool sasl_client_step(struct sasl_client *x, struct slice challenge) {
    buf_reset(&x->out);
    return x->mechanism->step(x, challenge);
}

bool sasl_client_is_satisfied(const struct sasl_client *x) { return !x->scram || x->is_satisfied; }

void sasl_client_release(struct sasl_client *x) {
    if (x->scram) scram_client_release(x->scram);
    free(x->scram);
    wipe(&x->out);
    *x = (struct sasl_client){0};
}

const char *sasl_client_name(const struct sasl_client *x) {
    return x->mechanism ? sasl_name(x->mechanism->bit) : "";
}
