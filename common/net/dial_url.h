/* dial_url: a connection to a POP3 or IMAP server from a URL, by libcurl (CONNECT_ONLY): name,
 * proxy, TCP, TLS or STARTTLS, certificate, and the login. What is handed over is a stream of
 * octets in clear; the conversation is the caller's (pop3/client, imap/client), pumped by net/pump.
 *
 *     struct dial_target to;
 *     dial_target_parse(url, &arena, &to, &e);
 *     struct dial_url_options o = {.to = &to, .conf = conf, .user = to.user, .password = secret};
 *     if (dial_url(&o, &conn, &e) != OK) ...
 *     pump_init_io(&pump, engine, dial_url_io(conn));
 *     ...
 *     pump_release(&pump);
 *     dial_url_free(conn);
 *
 * Blocking. One connection belongs to one thread at a time. */
#ifndef NET_DIAL_URL_H
#define NET_DIAL_URL_H

#include "conf/conf.h"
#include "net/pump.h"

enum { DIAL_URL_MAX = 8192, DIAL_URL_SEEN_MAX = 64 * 1024, DIAL_URL_TIMEOUT_S = 60 };

/* A URL in its parts, percent-decoded (RFC 3986; RFC 2384 pop, RFC 5092 imap). */
struct dial_target {
    const char *scheme;          /* "pop3", "pop3s", "imap", "imaps" */
    const char *user, *password; /* NULL when not given */
    const char *host;            /* a name, or an address without brackets */
    const char *path;            /* without the first slash, still percent-encoded; "" */
    uint16_t port;               /* the scheme's own when not given */
    bool is_imap, is_implicit_tls;
    bool is_loopback; /* an address of the loopback, or localhost */
};
/* The strings live in `a`. ERR_USAGE: no such URL, or a scheme other than the four; ERR_LIBRARY. */
enum err_code dial_target_parse(const char *url, struct arena *a, struct dial_target *out,
                                struct err *e);

enum dial_url_tls {
    DIAL_URL_VERIFY,   /* TLS, with a certificate for the host that `tls-ca` vouches for */
    DIAL_URL_INSECURE, /* TLS with anybody */
    DIAL_URL_CLEAR     /* no TLS (pop3 and imap; for the others as VERIFY) */
};
struct dial_url_options {
    const struct dial_target *to;
    const struct conf *conf;     /* tls-ca; resolver, when one is set */
    const char *user, *password; /* user NULL: no login, handed over after TLS */
    bool is_token; /* `password` is an access token: OAUTHBEARER or XOAUTH2, nothing else */
    enum dial_url_tls tls;
    unsigned timeout_s; /* for all of it; 0: DIAL_URL_TIMEOUT_S */
};

struct dial_url;
/* Connect and log in. ERR_DENIED: the login was refused; ERR_BUSY (4.x.x): refused for now
 * (RFC 2449 IN-USE and LOGIN-DELAY, RFC 3206 SYS/TEMP, RFC 5530 UNAVAILABLE and INUSE); ERR_TLS: no
 * TLS offered, or the certificate is not good, with the reason; ERR_DNS, ERR_NET, ERR_TIMEOUT;
 * ERR_PROTO: that is no such server; ERR_LIBRARY. The caller frees `*out`. */
enum err_code dial_url(const struct dial_url_options *o, struct dial_url **out, struct err *e);
/* Close without a word. NULL is fine. */
void dial_url_free(struct dial_url *d);
/* The stream, for pump_init_io; borrowed from `d`. */
struct pump_io dial_url_io(struct dial_url *d);
/* Lines the server sent before the hand-over (greeting, capabilities, answers), the last
 * DIAL_URL_SEEN_MAX octets at most. Valid until dial_url_free. */
struct slice dial_url_seen(const struct dial_url *d);

#endif
