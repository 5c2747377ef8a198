/* scram: SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677; binding RFC 9266): the keys, and
 * both sides of the conversation as decoded messages. sasl/server and sasl/client put base64 around
 * it.
 *
 * A password is used as it was typed: ASCII needs no preparation, other characters are not
 * normalised (RFC 5802 asks for SASLprep; what a keyboard gives is nearly always its result
 * already). Control characters are refused. Names likewise. */
#ifndef SASL_SCRAM_H
#define SASL_SCRAM_H

#include "base/buf.h"
#include "crypto/hash.h"

enum {
    SCRAM_ITERATIONS = 4096,        /* of keys that we make (RFC 7677 4: the least) */
    SCRAM_ITERATIONS_MIN = 4096,    /* less is refused: a server that asks a client for it, or
                                     * stored keys that have it, are not what they should be */
    SCRAM_ITERATIONS_MAX = 1000000, /* more is refused: 0.3 s of the client's time */
    SCRAM_SALT = 16,                /* octets of a salt that we make */
    SCRAM_SALT_MAX = 64,            /* octets of one that we take */
    SCRAM_NONCE = 24,               /* characters that we add: 144 bits */
    SCRAM_NONCE_OWN_MAX = 64,       /* that a caller may add */
    SCRAM_NONCE_MAX = 512,          /* of both sides together */
    SCRAM_MESSAGE_MAX = 4096,       /* one message */
    SCRAM_STORED_MAX = 256,         /* characters of keys in their stored form */
    SCRAM_BINDING = 32              /* octets of tls-exporter */
};

/* What a server keeps instead of a password. */
struct scram_keys {
    unsigned iterations;
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_n;
    uint8_t stored[SHA256_SIZE], server[SHA256_SIZE];
};

/* Is the text free of controls and valid UTF-8? */
bool scram_is_clean(struct slice text);
/* StoredKey and ServerKey of `password` for `keys->salt` and `keys->iterations`. False: not clean,
 * or no library. */
bool scram_derive(struct slice password, struct scram_keys *keys);
/* Is it the password? As long whatever the answer. */
bool scram_check(const struct scram_keys *keys, struct slice password);
/* "4096,SALT,STORED,SERVER" with base64, as in a Dovecot passwd-file behind {SCRAM-SHA-256}. */
bool scram_keys_put(struct buf *out, const struct scram_keys *keys);
/* False: not this form, or iterations or salt out of bounds. */
bool scram_keys_parse(struct slice text, struct scram_keys *out);

/* The message of a client: "n,a=AUTHZID,n=NAME,r=NONCE". */
struct scram_first {
    char flag;                  /* 'n', 'y' or 'p' */
    struct slice binding;       /* 'p': its name */
    struct slice header;        /* "n,a=...," as it came */
    struct slice bare;          /* the rest */
    struct slice authzid, name; /* still with =2C and =3D */
    struct slice nonce;
};
/* False: not that. Slices point into `in`. A mandatory extension (m=) is refused. */
bool scram_first_parse(struct slice in, struct scram_first *out);
/* Append a name with =2C and =3D resolved; false when it is not well written or not clean. */
bool scram_name_get(struct buf *out, struct slice name);
/* Append it with "," and "=" replaced. */
bool scram_name_put(struct buf *out, struct slice name);
/* Make `n` printable characters without "," out of random octets, in place. */
void scram_nonce(char *p, size_t n);

/* The server's side. */
struct scram_server {
    struct scram_keys keys;
    bool is_known;     /* `keys` are those of a user */
    struct buf auth;   /* client-first-bare "," server-first "," client-final-without-proof */
    struct buf header; /* gs2 header and binding: what c= must say */
    struct buf nonce;
};
/* The server's first message for `first`. `s->keys` and `s->is_known` are set; `nonce` is
 * our part, at most SCRAM_NONCE_OWN_MAX; `binding` NULL without. */
bool scram_server_first(struct scram_server *s, const struct scram_first *first, struct slice nonce,
                        const uint8_t *binding, struct buf *out);
enum scram_verdict { SCRAM_GOOD, SCRAM_WRONG, SCRAM_MALFORMED };
/* The client's final message; on GOOD the server's final one is in `out`. */
enum scram_verdict scram_server_final(struct scram_server *s, struct slice in, struct buf *out);
/* Wipe and free what it holds. A zeroed struct is allowed. */
void scram_server_release(struct scram_server *s);

/* The client's side. */
struct scram_client {
    struct buf header, bare, auth; /* gs2 header with binding, client-first-bare, AuthMessage */
    size_t header_n;               /* of which the header */
    char nonce[SCRAM_NONCE_OWN_MAX];
    size_t nonce_n;
    uint8_t salted[SHA256_SIZE];
};
/* The first message. `flag` 'n', 'y' (could have bound, the server offers no PLUS), or 'p' with
 * `binding`. `c->nonce` and `nonce_n` are set. */
bool scram_client_first(struct scram_client *c, char flag, const uint8_t *binding,
                        struct slice name, struct buf *out);
/* The answer to the server's first message. False: it is not one, not for our nonce, or asks for
 * too few or too many iterations. */
bool scram_client_final(struct scram_client *c, struct slice in, struct slice password,
                        struct buf *out);
/* Did the server prove that it knows the keys? `in`: its final message. */
bool scram_client_verify(const struct scram_client *c, struct slice in);
void scram_client_release(struct scram_client *c);

#endif
