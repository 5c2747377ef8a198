/* conf: the settings. Precedence: option, environment, file, default (design: one table,
 * setting.def).
 *
 *     struct conf c;
 *     conf_init(&c);
 *     conf_load(&c, path_or_NULL, &e);          // file, then environment
 *     conf_set(&c, "relay", value, "--relay", &e);
 *     conf_finish(&c, &e);                      // defaults that depend on others; c.data and so on
 * are ready
 *
 * After conf_finish the struct is read-only and may be shared between threads. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "base/arena.h"
#include "base/err.h"

enum conf_service {
    SERVICE_SMTP,
    SERVICE_SUBMISSION,
    SERVICE_SUBMISSIONS,
    SERVICE_LMTP,
    SERVICE_POP3,
    SERVICE_POP3S,
    SERVICE_IMAP,
    SERVICE_IMAPS,
    SERVICE_COUNT
};
enum conf_relay_tls {
    RELAY_TLS_AUTO,
    RELAY_TLS_NONE,
    RELAY_TLS_MAY,
    RELAY_TLS_REQUIRE,
    RELAY_TLS_VERIFY
};
enum conf_dnssec { DNSSEC_AUTO, DNSSEC_OFF, DNSSEC_VALIDATE };
enum conf_log { CONF_LOG_AUTO, CONF_LOG_TEXT, CONF_LOG_JSON, CONF_LOG_JOURNAL, CONF_LOG_NONE };
enum conf_kind {
    KIND_TEXT,
    KIND_PATH,
    KIND_LIST,
    KIND_BOOL,
    KIND_DURATION,
    KIND_SIZE,
    KIND_NUMBER,
    KIND_PORT,
    KIND_LISTEN,
    KIND_TLS,
    KIND_RELAY,
    KIND_RELAYTLS,
    KIND_RELAYAUTH,
    KIND_DNSSEC,
    KIND_LOGFMT,
    KIND_NETS,
    KIND_DEST
};
enum { CONF_LIST_MAX = 64, CONF_FILE_MAX = 1024 * 1024, CONF_INCLUDE_DEPTH = 8 };

/* The row of a setting in the table. */
struct setting {
    const char *name, *dflt, *arg, *help;
    enum conf_kind kind;
};
/* The table, ended by a row whose name is NULL; rows are in the order of setting.def. Static. */
extern const struct setting conf_settings[];
/* Row by name, or NULL. */
const struct setting *conf_setting(const char *name);
/* The words that a setting of `kind` takes, `*count` of them; NULL: it does not take words. Static.
 */
const char *const *conf_words(enum conf_kind kind, size_t *count);
/* The known word nearest to `word` among `n` words, or NULL when none is near (edit distance of
 * more than a third of its length). */
const char *conf_nearest(struct slice word, const char *const *words, size_t n);
/* "smtp", "submission", ... Static. */
const char *conf_service_name(enum conf_service s);

struct conf_list {
    const char *v[CONF_LIST_MAX];
    size_t n;
};
struct conf_listen {
    enum conf_service service;
    const char *host;
    uint16_t port;
};
/* A network: the first `bits` of `addr`, which has 4 or 16 octets. */
struct conf_net {
    uint8_t addr[16];
    uint8_t octets, bits;
};
struct conf_nets {
    struct conf_net v[CONF_LIST_MAX];
    size_t n;
};
/* What is special about mail for a domain. */
struct conf_dest {
    const char *domain; /* "example.org", ".example.org" (it and all below), "*" */
    enum { VIA_DEFAULT, VIA_MX, VIA_SMTP, VIA_LMTP } via;
    const char *host; /* VIA_SMTP and VIA_LMTP */
    uint16_t port;
    enum conf_relay_tls tls;           /* AUTO: no rule */
    unsigned concurrency;              /* connections at once; 0: the default */
    uint32_t interval_ms;              /* least time between messages; 0: none */
    const char *source_v4, *source_v6; /* own addresses to connect from; NULL: any */
};
struct conf_pair {
    const char *cert, *key;
};

struct conf {
    struct arena arena; /* owns every string here */
    const char *hostname;
    struct conf_list domain;
    bool has_domain; /* it was set, and not made from hostname */
    const char *data;
    const char *user; /* NULL: stay who we are */
    struct conf_listen listen[CONF_LIST_MAX];
    size_t listens;
    struct conf_pair tls[8];
    size_t tls_pairs;
    const char *tls_ca;
    const char *tls_client_ca; /* NULL: no client is asked for a certificate */
    struct {
        const char *host;
        uint16_t port;
        bool is_tls; /* TLS from the first byte: smtps://, or port 465 */
        const char *user, *password_file;
    } relay; /* host NULL: none */
    struct conf_nets relay_from, proxy_from, xclient_from;
    uint32_t client_limit, connection_limit;
    bool alias_commands;
    const char *alias_user;    /* NULL: nobody */
    uint64_t disk_reserve;     /* bytes */
    uint64_t quota;            /* bytes an account may keep; 0: no limit */
    uint32_t quota_messages;   /* 0: no limit */
    uint32_t hold_limit;       /* seconds */
    uint32_t pop3_login_delay; /* seconds; 0: none */
    struct conf_list imap_hide;  /* capabilities */
    uint32_t imap_message_limit; /* 0: none */
    enum conf_relay_tls relay_tls;
    const char *relay_auth;          /* name of a mechanism, or "auto" */
    const char *relay_token_command; /* NULL: none */
    struct conf_dest dest[CONF_LIST_MAX];
    size_t dests;
    bool mta_sts;
    const char *resolver; /* NULL: resolv.conf */
    enum conf_dnssec dnssec;
    const char *trust_anchor;
    const char *accounts, *aliases;
    const char *drop; /* NULL: DATA/drop */
    uint16_t mx_port;
    uint64_t message_size_limit;    /* bytes */
    uint32_t queue_lifetime, retry; /* seconds */
    uint32_t auth_failure_delay;    /* seconds; 0: none */
    bool plaintext_auth;
    const char *token_command; /* NULL: no tokens */
    enum conf_log log;
    const char *file;       /* the main file that was read, or NULL */
    const char *origin[64]; /* by row: "default", "/etc/...:3", "POSTBAG_DATA", "--data" */
    const char *text[64];   /* by row: the value as it was written (lists joined by blanks) */
    uint8_t rank[64];       /* by row: 0 default, 1 file, 2 environment, 3 option */
};

void conf_init(struct conf *c);
void conf_release(struct conf *c);
/* Read the file (`path`, or else the first of $POSTBAG_CONFIG, $XDG_CONFIG_HOME/postbag/config,
 * ~/.config/postbag/config, ~/.postbagrc, /etc/postbag/postbag.conf that is there) with its
 * includes, then the POSTBAG_* environment. ERR_CONFIG names file, line, word and the nearest right
 * word. A `path` that is named and missing is an error; no file at all is fine. */
enum err_code conf_load(struct conf *c, const char *path, struct err *e);
/* One setting by hand, as an option gives it. `origin` is copied. */
enum err_code conf_set(struct conf *c, const char *name, const char *value, const char *origin,
                       struct err *e);
/* Fill what was not set. */
enum err_code conf_finish(struct conf *c, struct err *e);
/* Is the address of `octets` (4 or 16) octets in one of the networks? IPv4 mapped into IPv6 counts
 * as IPv4. */
bool conf_in_nets(const struct conf_nets *nets, const uint8_t *addr, size_t octets);
/* The rule for mail to `domain`: the domain itself, else the nearest ".parent", else "*"; NULL. */
const struct conf_dest *conf_dest(const struct conf *c, struct slice domain);
/* Parse the words of a `destination` setting into `out`; strings live in `c`. ERR_CONFIG. */
enum err_code conf_dest_parse(struct conf *c, struct slice v, struct conf_dest *out, struct err *e);
/* DATA/`tail`, in the arena. */
const char *conf_path(struct conf *c, const char *tail);
/* Split "host:port", "[v6]:port", "host" or "host:submissions"; the host is copied without
 * brackets. `port` stays as it was when none is given. ERR_SYNTAX. */
enum err_code conf_host_port(struct arena *a, struct slice s, const char **host, uint16_t *port,
                             struct err *e);

#endif
