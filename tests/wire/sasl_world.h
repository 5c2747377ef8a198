/* sasl_world: what the mechanisms of a server under a script know. One user, "user" with "pencil";
 * the server's nonce is always AAAAAAAAAAAAAAAAAAAAAAAA and its salt "salt of the user"; the
 * binding, with the flag "binding", 32 times "b". Options: scram, binding, tokens. */
#ifndef WIRE_SASL_WORLD_H
#define WIRE_SASL_WORLD_H

#include "sasl/scram.h"
#include "sasl/server.h"

static bool sasl_world_keys(void *user, struct slice name, struct scram_keys *out) {
    static struct scram_keys keys;
    (void)user;
    if (!keys.iterations) {
        memcpy(keys.salt, "salt of the user", keys.salt_n = 16);
        keys.iterations = 4096;
        if (!scram_derive(S("pencil"), &keys)) keys.iterations = 0;
    }
    *out = keys;
    return slice_eq(name, S("user"));
}

static void sasl_world_random(void *user, void *p, size_t n) {
    (void)user;
    memset(p, 0, n);
}

static bool sasl_world_binding(void *user, uint8_t out[32]) {
    (void)user;
    memset(out, 'b', 32);
    return true;
}

/* Static; NULL without the option. */
static inline const struct sasl_env *sasl_world(bool scram, bool binding, bool tokens) {
    static const struct sasl_env envs[] = {
        {.keys = sasl_world_keys, .random = sasl_world_random},
        {.keys = sasl_world_keys, .random = sasl_world_random, .binding = sasl_world_binding}};
    static const struct sasl_env with_tokens = {.has_tokens = true};
    return tokens ? &with_tokens : scram ? &envs[binding] : NULL;
}

static inline const char *sasl_world_claim(enum sasl_claim c) {
    static const char *const words[] = {"", " token", " proven", " denied"};
    return words[c];
}

#endif
