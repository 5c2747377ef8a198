/* sasl: the mechanisms (RFC 4422), one row each in sasl.c; names and bits shared by both sides. */
#ifndef SASL_SASL_H
#define SASL_SASL_H

#include "base/buf.h"

enum {
    SASL_PLAIN = 1, /* RFC 4616 */
    SASL_LOGIN = 2, /* draft-murchison-sasl-login-00 */
    /* Known by name only, for what a peer announces. */
    SASL_CRAM_MD5 = 4,
    SASL_SCRAM_SHA_1 = 8,
    SASL_SCRAM_SHA_256 = 16, /* RFC 7677 */
    SASL_XOAUTH2 = 32,
    SASL_OAUTHBEARER = 64,        /* RFC 7628 */
    SASL_EXTERNAL = 128,          /* RFC 4422 appendix A */
    SASL_SCRAM_SHA_256_PLUS = 256 /* RFC 7677 with RFC 9266 */
};
enum {
    SASL_LINE_MAX = 12288, /* one base64 line (RFC 4954 4) */
    SASL_NAME_MAX = 1024,  /* a user name */
    SASL_PASSWORD_MAX = 1024,
    SASL_TOKEN_MAX = 4096 /* octets of an access token */
};
/* What a client can do with a password, and with an access token. */
enum {
    SASL_WITH_PASSWORD = SASL_SCRAM_SHA_256_PLUS | SASL_SCRAM_SHA_256 | SASL_PLAIN | SASL_LOGIN,
    SASL_WITH_TOKEN = SASL_OAUTHBEARER | SASL_XOAUTH2
};

struct scram_keys;

/* What the mechanisms of either side need to know of the world; a client's need `random` and
 * `binding` only. Called from within start, step and offers, by the
 * thread that runs them; a function that is NULL, or a NULL env: the mechanisms that need it are
 * not offered. Lives as long as the exchange. */
struct sasl_env {
    /* The keys of the user `name` (SCRAM). False: no such user, or none with keys; `out` then has
     * salt and iterations all the same, always alike for the same name, so that nobody learns who
     * is there. */
    bool (*keys)(void *user, struct slice name, struct scram_keys *out);
    /* Unpredictable octets; SCRAM needs it too. */
    void (*random)(void *user, void *p, size_t n);
    /* The tls-exporter value of the connection (RFC 9266). False: none. */
    bool (*binding)(void *user, uint8_t out[32]);
    /* Append the account that the client's verified certificate stands for, if it may act as
     * `authzid` (empty: as whoever that is). False: there is none. `out` NULL: only ask. */
    bool (*certificate)(void *user, struct slice authzid, struct buf *out);
    bool has_tokens; /* the host can check the tokens of OAUTHBEARER and XOAUTH2 */
    void *user;
};

/* What a client claims, and who is to say whether it is true. */
enum sasl_claim {
    SASL_IS_PASSWORD, /* `password` is one: check it */
    SASL_IS_TOKEN,    /* it is an OAuth 2.0 access token (RFC 6750) */
    SASL_IS_PROVEN,   /* the mechanism proved it; the account is to exist still */
    SASL_IS_DENIED    /* the mechanism proved the contrary: as a wrong password */
};

/* The bit of a mechanism's name, any case; 0: unknown. */
unsigned sasl_find(struct slice name);
/* The name of one bit; "" when it has none. Static. */
const char *sasl_name(unsigned mechanism);
/* A list of names separated by blanks as a set; unknown ones are skipped. */
unsigned sasl_list(struct slice names);
/* Append the names of a set, best first, each with `before` in front of it. */
void sasl_put_names(struct buf *out, unsigned set, const char *before);

#endif
