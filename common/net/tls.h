/* tls: TLS on a non-blocking socket (RFC 8446, RFC 5246) through GnuTLS.
 *
 * A session belongs to one thread at a time. Credentials are counted and shared between threads.
 * Every call that loads the library can fail with ERR_LIBRARY. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/err.h"
#include "base/moment.h"
#include "conf/conf.h"
#include "dns/answer.h"

struct tls;
struct tls_creds;

/* A server's certificates: the first pair is the default, others are chosen by name (SNI) and key
 * type. An unknown name gets the default. ERR_CONFIG names the file that cannot be used. */
enum err_code tls_creds_server(const struct conf_pair *pairs, size_t n, struct tls_creds **out,
                               struct err *e);
/* A client's: `ca_file` NULL trusts nothing, for sessions that do not verify. */
enum err_code tls_creds_client(const char *ca_file, struct tls_creds **out, struct err *e);
/* The authorities that a client's certificate may come from, for a server's credentials.
 * ERR_CONFIG.
 */
enum err_code tls_creds_clients(struct tls_creds *c, const char *ca_file, struct err *e);
struct tls_creds *tls_creds_ref(struct tls_creds *c);
void tls_creds_unref(struct tls_creds *c);

/* Which versions and key exchanges: TLS_STRICT is TLS 1.2 and later with forward secrecy; TLS_LOOSE
 * also speaks with old mail exchangers, where the alternative is clear text. */
enum tls_profile { TLS_STRICT, TLS_LOOSE };

/* A session over `fd`, which stays the caller's and must be non-blocking. Keeps a reference to `c`.
 */
enum err_code tls_server_new(struct tls_creds *c, enum tls_profile profile, int fd,
                             struct tls **out, struct err *e);
/* `host` is sent as SNI unless it is an address. */
enum err_code tls_client_new(struct tls_creds *c, enum tls_profile profile, int fd,
                             const char *host, struct tls **out, struct err *e);
/* Before the handshake of a server: ask the client for a certificate, which it need not have. */
void tls_ask_certificate(struct tls *t);
void tls_free(struct tls *t);

enum tls_io { TLS_OK, TLS_WANT_READ, TLS_WANT_WRITE, TLS_EOF, TLS_FAIL };
/* One step of the handshake. TLS_FAIL fills `e` (ERR_TLS, 4.7.5 for a client, or ERR_CLOSED). */
enum tls_io tls_handshake(struct tls *t, struct err *e);
/* Up to `n` bytes; `*got` at least 1 on TLS_OK. TLS_EOF: the peer ended, politely or not. */
enum tls_io tls_read(struct tls *t, char *p, size_t n, size_t *got, struct err *e);
/* Up to `n` bytes; `*sent` at least 1 on TLS_OK. After a WANT the call must be repeated with the
 * same bytes. */
enum tls_io tls_write(struct tls *t, const char *p, size_t n, size_t *sent, struct err *e);
/* True when bytes wait inside that poll(2) does not see. */
bool tls_pending(const struct tls *t);
/* Say close_notify, without waiting for the peer's. */
void tls_bye(struct tls *t);

/* Check the peer's chain against the client credentials' CAs and the name `host` (RFC 9525), after
 * the handshake. ERR_TLS says why not. */
enum err_code tls_verify(struct tls *t, const char *host, struct err *e);
/* Check it against TLSA records (RFC 7672 3): the end entity's own (usage 3), whose names and dates
 * do not matter, or a chain from a trust anchor (usage 2) for one of `names` (NULLs are skipped).
 * Records that SMTP cannot use are skipped. ERR_TLS (4.7.5). */
enum err_code tls_verify_dane(struct tls *t, const struct dns_record *tlsa, size_t n,
                              const char *const *names, size_t name_count, struct err *e);
/* "TLSv1.3 ECDHE-X25519 AES-256-GCM", in `a`-less storage of the session; valid until tls_free. */
const char *tls_describe(struct tls *t);
/* What there is to say of the peer's own certificate. */
struct tls_peer {
    char subject[256], issuer[256];
    wall_t expires;
    char fingerprint[65]; /* SHA-256 of the public key, hexadecimal: what TLSA 3 1 1 has */
    unsigned chain;       /* certificates sent */
};
/* False when the peer sent none. */
bool tls_peer(struct tls *t, struct tls_peer *out);

enum { TLS_CLIENT_NAME_MAX = 320 };
/* What the client's certificate says about who it is: name number `i` (from 0: its mail addresses,
 * then the common name), if the certificate leads to an authority of tls_creds_clients and is one
 * for clients. False: no such name, or no such certificate. Names with NUL are passed over. */
bool tls_client_name(struct tls *t, unsigned i, char out[TLS_CLIENT_NAME_MAX + 1]);

enum { TLS_BINDING = 32 };
/* The tls-exporter channel binding (RFC 9266). False: not over TLS 1.3; with older versions the
 * peers that bind at all mean tls-unique, and one side would take the other for a thief. */
bool tls_binding(struct tls *t, uint8_t out[TLS_BINDING]);

/* Make a key and a self-signed certificate (ECDSA P-256, ten years) for `names`, and write both as
 * PEM: the key with mode 0600 first. */
enum err_code tls_make_self_signed(const char *const *names, size_t n, const char *cert_path,
                                   const char *key_path, struct err *e);

#endif
