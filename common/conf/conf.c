#include "conf/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "base/num.h"
#include "sys/file.h"

enum row {
#define SETTING(field, name, kind, dflt, arg, help) ROW_##field,
#include "conf/setting.def"
#undef SETTING
    ROW_COUNT
};
_Static_assert(ROW_COUNT <= COUNT_OF(((struct conf *)0)->origin), "grow origin[]");

const struct setting conf_settings[] = {
#define SETTING(field, name, kind, dflt, arg, help) {name, dflt, arg, help, KIND_##kind},
#include "conf/setting.def"
#undef SETTING
    {NULL, NULL, NULL, NULL, KIND_TEXT}};

static const char *const service_names[] = {"smtp", "submission", "submissions", "lmtp",
                                            "pop3", "pop3s",      "imap",        "imaps"};
static const char *const relay_tls_names[] = {"auto", "none", "may", "require", "verify"};
static const char *const relay_auth_names[] = {
    "auto", "plain", "login", "scram-sha-256", "scram-sha-256-plus", "oauthbearer", "xoauth2"};
static const char *const dnssec_names[] = {"auto", "off", "validate"};
static const char *const log_names[] = {"auto", "text", "json", "journal", "none"};
static const char *const bool_names[] = {"no", "yes"};

const char *const *conf_words(enum conf_kind kind, size_t *count) {
    switch (kind) {
    case KIND_RELAYTLS: *count = COUNT_OF(relay_tls_names); return relay_tls_names;
    case KIND_RELAYAUTH: *count = COUNT_OF(relay_auth_names); return relay_auth_names;
    case KIND_DNSSEC: *count = COUNT_OF(dnssec_names); return dnssec_names;
    case KIND_LOGFMT: *count = COUNT_OF(log_names); return log_names;
    case KIND_BOOL: *count = COUNT_OF(bool_names); return bool_names;
    default: *count = 0; return NULL;
    }
}

const char *conf_service_name(enum conf_service s) { return service_names[s]; }

const struct setting *conf_setting(const char *name) {
    for (const struct setting *s = conf_settings; s->name; s++)
        if (strcmp(s->name, name) == 0) return s;
    return NULL;
}

void conf_init(struct conf *c) {
    *c = (struct conf){.mx_port = 25};
    arena_init(&c->arena, 4 * 1024 * 1024);
}

void conf_release(struct conf *c) { arena_release(&c->arena); }

/* Levenshtein distance of short words, in one row. */
static unsigned distance(struct slice a, struct slice b) {
    unsigned row[65];

    if (a.n > 64 || b.n > 64) return UINT_MAX;
    for (unsigned j = 0; j <= b.n; j++) row[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned same = diagonal + (ascii_lower(a.p[i - 1]) != ascii_lower(b.p[j - 1]));
            unsigned other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            diagonal = row[j];
            row[j] = same < other ? same : other;
        }
    }
    return row[b.n];
}

const char *conf_nearest(struct slice word, const char *const *words, size_t n) {
    const char *best = NULL;
    unsigned least = UINT_MAX;

    for (size_t i = 0; i < n; i++) {
        unsigned d = distance(word, slice_str(words[i]));

        if (d < least) least = d, best = words[i];
    }
    return best && least <= (word.n + 2) / 3 ? best : NULL;
}

/* "not a MODE; did you mean ...", for enumerated words. */
static enum err_code word_of(struct slice v, const char *const *words, size_t n, const char *what,
                             int *out, struct err *e) {
    char all[160] = "";
    const char *near;

    for (size_t i = 0; i < n; i++) {
        if (slice_ieq(v, slice_str(words[i]))) {
            *out = (int)i;
            return OK;
        }
    }
    near = conf_nearest(v, words, n);
    if (near)
        return err_set(e, ERR_CONFIG, "\"%.*s\" is not a %s; did you mean \"%s\"?", SP(v), what,
                       near);
    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(all);

        snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "", words[i]);
    }
    return err_set(e, ERR_CONFIG, "\"%.*s\" is not a %s; use one of %s", SP(v), what, all);
}

static enum err_code parse_port(struct slice s, uint16_t *port, struct err *e) {
    static const struct {
        const char *name;
        uint16_t port;
    } known[] = {{"smtp", 25},   {"submission", 587}, {"submissions", 465}, {"smtps", 465},
                 {"lmtp", 24},   {"pop3", 110},       {"pop3s", 995},       {"imap", 143},
                 {"imaps", 993}, {"domain", 53}};
    uint64_t v;

    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (slice_ieq(s, slice_str(known[i].name))) {
            *port = known[i].port;
            return OK;
        }
    }
    if (!num_parse(s, 65535, &v))
        return err_set(e, ERR_SYNTAX, "\"%.*s\" is not a port (0 to 65535)", SP(s));
    *port = (uint16_t)v;
    return OK;
}

enum err_code conf_host_port(struct arena *a, struct slice s, const char **host, uint16_t *port,
                             struct err *e) {
    struct slice name = s, rest = slice_from(s, s.n);
    size_t at;

    if (s.n > 0 && s.p[0] == '[') {
        at = slice_chr(s, ']');
        if (at == SLICE_NONE) return err_set(e, ERR_SYNTAX, "\"%.*s\" lacks the closing ]", SP(s));
        name = slice_of(s.p + 1, at - 1);
        rest = slice_from(s, at + 1);
        if (rest.n > 0 && rest.p[0] != ':')
            return err_set(e, ERR_SYNTAX, "\"%.*s\" is not [ADDRESS]:PORT", SP(s));
    } else {
        at = slice_chr(s, ':');
        /* More than one colon without brackets is a bare IPv6 address. */
        if (at != SLICE_NONE && slice_rchr(s, ':') == at) {
            name = slice_first(s, at);
            rest = slice_from(s, at);
        }
    }
    for (size_t i = 0; i < name.n; i++)
        if (!ascii_is_graph(name.p[i]) && (unsigned char)name.p[i] < 128)
            return err_set(e, ERR_SYNTAX, "\"%.*s\" is not a host name", SP(name));
    if (name.n > 255) return err_set(e, ERR_SYNTAX, "a host name has at most 255 characters");
    if (rest.n > 0) {
        enum err_code code = parse_port(slice_from(rest, 1), port, e);

        if (code != OK) return code;
    }
    *host = arena_cstr(a, name);
    return *host ? OK : err_set(e, ERR_MEMORY, "no memory for settings");
}

/* The next word of a value: words are parted by blanks or commas, quotes keep blanks. */
static bool next_word(struct slice *v, struct slice *word) {
    while (v->n > 0 && (ascii_is_wsp(v->p[0]) || v->p[0] == ',')) *v = slice_from(*v, 1);
    if (v->n == 0) return false;
    if (v->p[0] == '"') {
        struct slice rest = slice_from(*v, 1);

        slice_cut(rest, '"', word, v);
        return true;
    }
    for (size_t i = 0; i <= v->n; i++) {
        if (i == v->n || ascii_is_wsp(v->p[i]) || v->p[i] == ',') {
            *word = slice_first(*v, i);
            *v = slice_from(*v, i);
            break;
        }
    }
    return true;
}

static const char *keep(struct conf *c, struct slice s) { return arena_cstr(&c->arena, s); }

/* A path as written in a file is relative to that file's directory. */
static const char *keep_path(struct conf *c, struct slice s, const char *base) {
    const char *slash = base ? strrchr(base, '/') : NULL;
    const char *home = getenv("HOME");

    if (slice_starts(s, S("~/")) && home)
        return arena_printf(&c->arena, "%s/%.*s", home, SP(slice_from(s, 2))).p;
    if (s.n == 0 || s.p[0] == '/' || !slash) return keep(c, s);
    return arena_printf(&c->arena, "%.*s/%.*s", (int)(slash - base), base, SP(s)).p;
}

static enum err_code set_listen(struct conf *c, struct slice v, struct err *e) {
    struct slice word, name, addr;

    while (next_word(&v, &word)) {
        struct conf_listen l = {0};
        static const uint16_t ports[] = {25, 587, 465, 24, 110, 995, 143, 993};
        enum err_code code;
        int service;

        if (!slice_cut(word, '=', &name, &addr) && !next_word(&v, &addr))
            return err_set(e, ERR_CONFIG, "\"%.*s\" lacks its address; write SERVICE ADDRESS:PORT",
                           SP(word));
        code = word_of(name, service_names, COUNT_OF(service_names), "service", &service, e);
        if (code != OK) return code;
        l.service = (enum conf_service)service;
        l.port = ports[service];
        if (conf_host_port(&c->arena, addr, &l.host, &l.port, e) != OK)
            return e ? (e->code = ERR_CONFIG) : ERR_CONFIG;
        if (c->listens == CONF_LIST_MAX)
            return err_set(e, ERR_CONFIG, "more than %d listen lines", CONF_LIST_MAX);
        c->listen[c->listens++] = l;
    }
    return OK;
}

/* The list of networks that a row fills. */
static struct conf_nets *nets_of(struct conf *c, enum row row) {
    return row == ROW_proxy_from     ? &c->proxy_from
           : row == ROW_xclient_from ? &c->xclient_from
                                     : &c->relay_from;
}

static struct conf_list *list_of(struct conf *c, enum row row) {
    return row == ROW_imap_hide ? &c->imap_hide : &c->domain;
}

static enum err_code set_nets(struct conf *c, struct conf_nets *nets, struct slice v,
                              struct err *e) {
    struct slice word, addr, bits;

    while (next_word(&v, &word)) {
        struct conf_net *n = &nets->v[nets->n];
        bool has_bits = slice_cut(word, '/', &addr, &bits);
        const char *text = keep(c, addr);
        uint64_t value;

        if (slice_eq(word, S("none"))) continue;
        if (nets->n == CONF_LIST_MAX)
            return err_set(e, ERR_CONFIG, "more than %d networks", CONF_LIST_MAX);
        if (text && inet_pton(AF_INET, text, n->addr) == 1) n->octets = 4;
        else if (text && inet_pton(AF_INET6, text, n->addr) == 1) n->octets = 16;
        else
            return err_set(e, ERR_CONFIG,
                           "\"%.*s\" is not a network; write 192.0.2.0/24 or 2001:db8::/32",
                           SP(word));
        value = n->octets * 8u;
        if (has_bits && !num_parse(bits, value, &value))
            return err_set(e, ERR_CONFIG, "\"%.*s\" is not a network; /%.*s is no length", SP(word),
                           SP(bits));
        n->bits = (uint8_t)value;
        nets->n++;
    }
    return OK;
}

bool conf_in_nets(const struct conf_nets *nets, const uint8_t *addr, size_t octets) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (octets == 16 && memcmp(addr, mapped, 12) == 0) addr += 12, octets = 4;
    for (size_t i = 0; i < nets->n; i++) {
        const struct conf_net *n = &nets->v[i];
        size_t whole = n->bits / 8, rest = n->bits % 8;

        if (n->octets != octets || memcmp(n->addr, addr, whole) != 0) continue;
        if (rest == 0 || (n->addr[whole] ^ addr[whole]) >> (8 - rest) == 0) return true;
    }
    return false;
}

static enum err_code set_relay(struct conf *c, struct slice v, const char *base, struct err *e) {
    struct slice word;
    uint16_t port = 25;
    bool is_tls;

    if (slice_eq(slice_trim(v), S("none"))) {
        c->relay.host = NULL;
        return OK;
    }
    if (!next_word(&v, &word)) return err_set(e, ERR_CONFIG, "relay wants HOST:PORT");
    is_tls = slice_istarts(word, S("smtps://"));
    if (is_tls) {
        word = slice_from(word, 8);
        port = 465;
    }
    if (conf_host_port(&c->arena, word, &c->relay.host, &port, e) != OK)
        return e ? (e->code = ERR_CONFIG) : ERR_CONFIG;
    if (port == 0) return err_set(e, ERR_CONFIG, "relay wants a port from 1 to 65535");
    c->relay.port = port;
    c->relay.is_tls = is_tls || port == 465;
    c->relay.user = c->relay.password_file = NULL;
    if (next_word(&v, &word)) c->relay.user = keep(c, word);
    if (next_word(&v, &word)) c->relay.password_file = keep_path(c, word, base);
    if (next_word(&v, &word))
        return err_set(e, ERR_CONFIG, "relay has too many words at \"%.*s\"", SP(word));
    return OK;
}

/* What one setting cannot say alone. */
static enum err_code check_relay(const struct conf *c, struct err *e) {
    bool is_token = slice_ieq(slice_str(c->relay_auth), S("oauthbearer")) ||
                    slice_ieq(slice_str(c->relay_auth), S("xoauth2"));

    if (!c->relay.host || !c->relay.user) return OK;
    if (!c->relay.password_file && !c->relay_token_command)
        return err_set(e, ERR_CONFIG,
                       "relay user \"%s\" lacks its password file, or a relay-token-command",
                       c->relay.user);
    if (c->relay_token_command && !is_token && !slice_eq(slice_str(c->relay_auth), S("auto")))
        return err_set(e, ERR_CONFIG, "relay-auth %s takes a password, not relay-token-command",
                       c->relay_auth);
    return OK;
}

static enum err_code set_value(struct conf *c, enum row row, struct slice v, const char *base,
                               struct err *e) {
    const struct setting *s = &conf_settings[row];
    struct slice word;
    uint64_t n = 0;
    int w = 0;
    enum err_code code = OK;

    switch (s->kind) {
    case KIND_TEXT:
    case KIND_PATH: {
        const char *kept;

        if (!next_word(&v, &word)) return err_set(e, ERR_CONFIG, "%s wants a value", s->name);
        if (slice_trim(v).n > 0)
            return err_set(e, ERR_CONFIG, "%s takes one value; what is \"%.*s\"?", s->name,
                           SP(slice_trim(v)));
        kept = s->kind == KIND_PATH ? keep_path(c, word, base) : keep(c, word);
        if (row == ROW_hostname) c->hostname = kept;
        if (row == ROW_data) c->data = kept;
        if (row == ROW_user) c->user = kept;
        if (row == ROW_token_command) c->token_command = kept;
        if (row == ROW_relay_token_command) c->relay_token_command = kept;
        if (row == ROW_alias_user) c->alias_user = kept;
        if (row == ROW_tls_ca) c->tls_ca = kept;
        if (row == ROW_tls_client_ca) c->tls_client_ca = kept;
        if (row == ROW_trust_anchor) c->trust_anchor = kept;
        if (row == ROW_resolver) c->resolver = kept;
        if (row == ROW_accounts) c->accounts = kept;
        if (row == ROW_aliases) c->aliases = kept;
        if (row == ROW_drop) c->drop = kept;
        break;
    }
    case KIND_LIST: {
        struct conf_list *list = list_of(c, row);

        while (next_word(&v, &word)) {
            if (list->n == CONF_LIST_MAX)
                return err_set(e, ERR_CONFIG, "%s has more than %d values", s->name, CONF_LIST_MAX);
            list->v[list->n++] = keep(c, word);
        }
        break;
    }
    case KIND_BOOL: {
        static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};

        code = word_of(slice_trim(v), words, COUNT_OF(words), "yes or no", &w, e);
        if (code == OK && row == ROW_plaintext_auth) c->plaintext_auth = w & 1;
        if (code == OK && row == ROW_alias_commands) c->alias_commands = w & 1;
        if (code == OK && row == ROW_mta_sts) c->mta_sts = w & 1;
        break;
    }
    case KIND_DURATION:
        if (!num_duration(slice_trim(v), row == ROW_auth_failure_delay ? 60 : 365 * 86400, &n) ||
            (n == 0 && row != ROW_auth_failure_delay))
            return err_set(e, ERR_CONFIG, "\"%.*s\" is not a time; write 30s, 5m, 4h or 5d",
                           SP(slice_trim(v)));
        if (row == ROW_pop3_login_delay) c->pop3_login_delay = (uint32_t)n;
        if (row == ROW_auth_failure_delay) c->auth_failure_delay = (uint32_t)n;
        if (row == ROW_hold_limit) c->hold_limit = (uint32_t)n;
        if (row == ROW_retry) c->retry = (uint32_t)n;
        if (row == ROW_queue_lifetime) c->queue_lifetime = (uint32_t)n;
        break;
    case KIND_SIZE:
        if (!num_size(slice_trim(v), (uint64_t)(row == ROW_message_size_limit ? 4 : 4096) << 30,
                      &n) ||
            n < 1024)
            return err_set(e, ERR_CONFIG, "\"%.*s\" is not a size from 1k to %s; write 500k or 10M",
                           SP(slice_trim(v)), row == ROW_message_size_limit ? "4G" : "4096G");
        if (row == ROW_message_size_limit) c->message_size_limit = n;
        if (row == ROW_disk_reserve) c->disk_reserve = n;
        if (row == ROW_quota) c->quota = n;
        break;
    case KIND_NUMBER:
        if (!num_parse(slice_trim(v), 1000000, &n) || n == 0)
            return err_set(e, ERR_CONFIG, "\"%.*s\" is not a number from 1 to 1000000",
                           SP(slice_trim(v)));
        if (row == ROW_client_limit) c->client_limit = (uint32_t)n;
        if (row == ROW_connection_limit) c->connection_limit = (uint32_t)n;
        if (row == ROW_quota_messages) c->quota_messages = (uint32_t)n;
        if (row == ROW_imap_message_limit) c->imap_message_limit = (uint32_t)n;
        break;
    case KIND_PORT:
        code = parse_port(slice_trim(v), &c->mx_port, e);
        if (code == OK && c->mx_port == 0)
            code = err_set(e, ERR_CONFIG, "%s wants a port from 1 to 65535", s->name);
        break;
    case KIND_LISTEN: code = set_listen(c, v, e); break;
    case KIND_TLS: {
        struct conf_pair p = {NULL, NULL};

        if (next_word(&v, &word)) p.cert = keep_path(c, word, base);
        p.key = next_word(&v, &word) ? keep_path(c, word, base) : p.cert;
        if (!p.cert) return err_set(e, ERR_CONFIG, "tls wants a certificate and a key file");
        if (c->tls_pairs == COUNT_OF(c->tls))
            return err_set(e, ERR_CONFIG, "more than 8 tls lines");
        c->tls[c->tls_pairs++] = p;
        break;
    }
    case KIND_NETS: code = set_nets(c, nets_of(c, row), v, e); break;
    case KIND_DEST:
        if (c->dests == CONF_LIST_MAX)
            return err_set(e, ERR_CONFIG, "more than %d destinations", CONF_LIST_MAX);
        code = conf_dest_parse(c, v, &c->dest[c->dests], e);
        if (code == OK) c->dests++;
        break;
    case KIND_RELAY: code = set_relay(c, v, base, e); break;
    case KIND_RELAYTLS:
        code =
            word_of(slice_trim(v), relay_tls_names, COUNT_OF(relay_tls_names), "TLS mode", &w, e);
        c->relay_tls = (enum conf_relay_tls)w;
        break;
    case KIND_RELAYAUTH:
        code = word_of(slice_trim(v), relay_auth_names, COUNT_OF(relay_auth_names),
                       "login mechanism", &w, e);
        c->relay_auth = relay_auth_names[w];
        break;
    case KIND_DNSSEC:
        code = word_of(slice_trim(v), dnssec_names, COUNT_OF(dnssec_names), "DNSSEC mode", &w, e);
        c->dnssec = (enum conf_dnssec)w;
        break;
    case KIND_LOGFMT:
        code = word_of(slice_trim(v), log_names, COUNT_OF(log_names), "log format", &w, e);
        c->log = (enum conf_log)w;
        break;
    }
    if (code != OK && e) e->code = ERR_CONFIG;
    return code == OK ? OK : ERR_CONFIG;
}

/* A source of higher rank replaces what lists had from a lower one; within one rank lists add up.
 */
static enum err_code put(struct conf *c, enum row row, struct slice v, const char *origin,
                         uint8_t rank, const char *base, struct err *e) {
    enum conf_kind kind = conf_settings[row].kind;
    bool is_list = kind == KIND_LIST || kind == KIND_NETS || kind == KIND_LISTEN ||
                   kind == KIND_TLS || kind == KIND_DEST;
    enum err_code code;

    if (rank < c->rank[row]) return OK;
    if (rank > c->rank[row] || !is_list) {
        if (kind == KIND_LIST) list_of(c, row)->n = 0;
        if (kind == KIND_LISTEN) c->listens = 0;
        if (kind == KIND_NETS) nets_of(c, row)->n = 0;
        if (kind == KIND_DEST) c->dests = 0;
        if (kind == KIND_TLS) c->tls_pairs = 0;
        c->text[row] = NULL;
    }
    code = set_value(c, row, v, base, e);
    if (code != OK) return code;
    c->rank[row] = rank;
    c->origin[row] = keep(c, slice_str(origin));
    c->text[row] = c->text[row]
                       ? arena_printf(&c->arena, "%s %.*s", c->text[row], SP(slice_trim(v))).p
                       : keep(c, slice_trim(v));
    return OK;
}

static int row_of(struct slice name) {
    for (int i = 0; i < ROW_COUNT; i++)
        if (slice_ieq(name, slice_str(conf_settings[i].name))) return i;
    return -1;
}

static enum err_code unknown(struct slice name, struct err *e) {
    const char *names[ROW_COUNT + 1];
    const char *near;

    for (int i = 0; i < ROW_COUNT; i++) names[i] = conf_settings[i].name;
    names[ROW_COUNT] = "include";
    near = conf_nearest(name, names, COUNT_OF(names));
    if (near)
        return err_set(e, ERR_CONFIG, "unknown setting \"%.*s\"; did you mean \"%s\"?", SP(name),
                       near);
    return err_set(e, ERR_CONFIG, "unknown setting \"%.*s\"; see postbag.conf(5)", SP(name));
}

static enum err_code read_file(struct conf *c, const char *path, unsigned depth, struct err *e) {
    struct buf text;
    struct slice rest, line;
    unsigned number = 0;
    enum err_code code;

    if (depth > CONF_INCLUDE_DEPTH)
        return err_set(e, ERR_CONFIG, "include nests deeper than %d", CONF_INCLUDE_DEPTH);
    buf_init(&text, CONF_FILE_MAX);
    code = file_read(path, &text, e);
    if (code != OK) {
        buf_release(&text);
        if (e) e->code = ERR_CONFIG;
        return ERR_CONFIG;
    }
    rest = buf_slice(&text);
    while (code == OK && slice_line(&rest, &line)) {
        struct slice name, value = line;
        char origin[PATH_MAX + 16];
        bool quoted = false;
        int row;

        number++;
        for (size_t i = 0; i < value.n; i++) {
            if (value.p[i] == '"') quoted = !quoted;
            if (value.p[i] == '#' && !quoted && (i == 0 || ascii_is_wsp(value.p[i - 1])))
                value.n = i;
        }
        value = slice_trim(value);
        if (value.n == 0) continue;
        slice_word(&value, &name);
        value = slice_trim(value);
        snprintf(origin, sizeof origin, "%s:%u", path, number);
        if (memchr(line.p, 0, line.n)) {
            code = err_set(e, ERR_CONFIG, "the line has a NUL");
        } else if (slice_ieq(name, S("include"))) {
            const char *inner = keep_path(c, value, path);

            code = inner ? read_file(c, inner, depth + 1, e) : ERR_MEMORY;
        } else if ((row = row_of(name)) < 0) {
            code = unknown(name, e);
        } else {
            code = put(c, (enum row)row, value, origin, 1, path, e);
        }
        if (code != OK) err_note(e, "%s", origin);
    }
    buf_release(&text);
    return code;
}

static bool is_file(const char *path) {
    struct stat st;

    return path && stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

/* The first configuration file that is there, or NULL. */
static const char *find_file(struct conf *c) {
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");
    const char *tries[4] = {NULL};

    if (xdg && *xdg) tries[0] = arena_printf(&c->arena, "%s/postbag/config", xdg).p;
    else if (home) tries[0] = arena_printf(&c->arena, "%s/.config/postbag/config", home).p;
    if (home) tries[1] = arena_printf(&c->arena, "%s/.postbagrc", home).p;
    tries[2] = "/etc/postbag/postbag.conf";
    for (size_t i = 0; i < 3; i++)
        if (is_file(tries[i])) return tries[i];
    return NULL;
}

enum err_code conf_load(struct conf *c, const char *path, struct err *e) {
    const char *env = getenv("POSTBAG_CONFIG");
    enum err_code code;

    if (!path && env && *env) path = env;
    c->file = path ? keep(c, slice_str(path)) : find_file(c);
    if (c->file) {
        code = read_file(c, c->file, 0, e);
        if (code != OK) return code;
    }
    for (int i = 0; i < ROW_COUNT; i++) {
        char name[64] = "POSTBAG_";
        size_t n = strlen(name);

        for (const char *p = conf_settings[i].name; *p && n + 1 < sizeof name; p++)
            name[n++] = *p == '-' ? '_' : ascii_upper(*p);
        name[n] = 0;
        env = getenv(name);
        if (!env || !*env) continue;
        code = put(c, (enum row)i, slice_str(env), name, 2, NULL, e);
        if (code != OK) {
            err_note(e, "%s", name);
            return code;
        }
    }
    return OK;
}

enum err_code conf_set(struct conf *c, const char *name, const char *value, const char *origin,
                       struct err *e) {
    int row = row_of(slice_str(name));

    if (row < 0) return unknown(slice_str(name), e);
    return put(c, (enum row)row, slice_str(value), origin, 3, NULL, e);
}

const char *conf_path(struct conf *c, const char *tail) {
    return arena_printf(&c->arena, "%s/%s", c->data, tail).p;
}

/* The host's own name, or "localhost". */
static const char *own_name(struct conf *c) {
    char name[256] = "";

    if (gethostname(name, sizeof name - 1) < 0 || !name[0]) return "localhost";
    return keep(c, slice_str(name));
}

static const char *default_data(struct conf *c) {
    const char *home = getenv("HOME"), *xdg = getenv("XDG_DATA_HOME");

    if (geteuid() == 0 || access("/var/lib/postbag", W_OK) == 0 || !home) return "/var/lib/postbag";
    if (xdg && *xdg) return arena_printf(&c->arena, "%s/postbag", xdg).p;
    return arena_printf(&c->arena, "%s/.local/share/postbag", home).p;
}

enum err_code conf_finish(struct conf *c, struct err *e) {
    for (int i = 0; i < ROW_COUNT; i++) {
        if (c->rank[i] == 0 && conf_settings[i].dflt) {
            enum err_code code =
                put(c, (enum row)i, slice_str(conf_settings[i].dflt), "default", 0, NULL, e);

            if (code != OK) return code;
        }
        if (!c->origin[i]) c->origin[i] = "default";
    }
    if (!c->hostname) c->text[ROW_hostname] = c->hostname = own_name(c);
    c->has_domain = c->domain.n > 0;
    if (c->domain.n == 0) c->text[ROW_domain] = c->domain.v[c->domain.n++] = c->hostname;
    if (!c->data) c->text[ROW_data] = c->data = default_data(c);
    if (!c->accounts) c->text[ROW_accounts] = c->accounts = conf_path(c, "accounts");
    if (!c->aliases) c->text[ROW_aliases] = c->aliases = conf_path(c, "aliases");
    for (size_t i = 0; i < c->domain.n; i++)
        if (!c->domain.v[i] || !*c->domain.v[i]) return err_set(e, ERR_CONFIG, "domain is empty");
    if (c->arena.bad) return err_set(e, ERR_MEMORY, "no memory for settings");
    return check_relay(c, e);
}
