#include "net/dial_url.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/addr.h"
#include "net/curl.h"
#include "net/resolve.h"

struct dial_url {
    CURL *easy;
    struct curl_slist *resolve;
    struct buf seen;
    bool is_imap, is_stranger; /* the first line is not of the protocol */
    char why[CURL_ERROR_SIZE];
    curl_socket_t fd;
};

/* --- the URL
 * ----------------------------------------------------------------------------------------- */

static const char *part(CURLU *u, CURLUPart which, unsigned flags, struct arena *a) {
    char *text = NULL;
    const char *kept;

    if (curl.curl_url_get(u, which, &text, flags) != CURLUE_OK || !text) return NULL;
    kept = arena_cstr(a, slice_str(text));
    explicit_bzero(text, strlen(text));
    curl.curl_free(text);
    return kept;
}

static bool is_loopback(const char *host) {
    struct addr a;

    return slice_ieq(slice_str(host), S("localhost")) ||
           (addr_parse(host, 0, &a) && addr_is_loopback(&a));
}

static bool has_control(const char *s) {
    for (; s && *s; s++)
        if ((unsigned char)*s < 32 || *s == 127) return true;
    return false;
}

enum err_code dial_target_parse(const char *url, struct arena *a, struct dial_target *out,
                                struct err *e) {
    static const struct {
        const char *name;
        uint16_t port;
        bool is_imap, is_tls;
    } schemes[] = {{"pop3", 110, false, false},
                   {"pop3s", 995, false, true},
                   {"imap", 143, true, false},
                   {"imaps", 993, true, true}};
    struct slice host;
    const char *port, *path;
    enum err_code code = curl_load(e);
    CURLU *u;

    *out = (struct dial_target){0};
    if (code != OK) return code;
    if (strlen(url) > DIAL_URL_MAX) return err_set(e, ERR_USAGE, "the URL is too long");
    u = curl.curl_url();
    if (!u) return err_set(e, ERR_MEMORY, "no memory for a URL");
    if (!strstr(url, "://") ||
        curl.curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
        curl.curl_url_cleanup(u);
        return err_set(e, ERR_USAGE, "this is not a URL like pop3s://user@host or imaps://...");
    }
    out->scheme = part(u, CURLUPART_SCHEME, 0, a);
    out->user = part(u, CURLUPART_USER, CURLU_URLDECODE, a);
    out->password = part(u, CURLUPART_PASSWORD, CURLU_URLDECODE, a);
    out->host = part(u, CURLUPART_HOST, 0, a);
    port = part(u, CURLUPART_PORT, 0, a);
    path = part(u, CURLUPART_PATH, 0, a);
    curl.curl_url_cleanup(u);
    if (a->bad) return err_set(e, ERR_MEMORY, "no memory for a URL");
    out->path = path && path[0] == '/' ? path + 1 : path ? path : "";
    host = slice_str(out->host);
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        out->host = arena_cstr(a, slice_of(host.p + 1, host.n - 2));
    if (!out->scheme || !out->host || !out->host[0] || has_control(out->user) ||
        has_control(out->password) || has_control(out->host))
        return err_set(e, ERR_USAGE, "the URL has no host, or strange characters");
    out->is_loopback = is_loopback(out->host);
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        if (strcmp(out->scheme, schemes[i].name) != 0) continue;
        out->port = port ? (uint16_t)strtoul(port, NULL, 10) : schemes[i].port;
        out->is_imap = schemes[i].is_imap;
        out->is_implicit_tls = schemes[i].is_tls;
        return OK;
    }
    return err_set(e, ERR_USAGE, "\"%.20s\" is not pop3, pop3s, imap or imaps", out->scheme);
}

/* --- the dial
 * ---------------------------------------------------------------------------------------- */

/* Each line of the server before the hand-over. Old ones go when there are too many. */
static size_t on_line(char *p, size_t size, size_t n, void *user) {
    struct dial_url *d = user;
    struct slice s = slice_of(p, size * n);

    /* libcurl would wait for the right line until the time is up. */
    if (d->seen.n == 0 && !slice_starts(s, d->is_imap ? S("*") : S("+")) &&
        !slice_istarts(s, S("-ERR"))) {
        d->is_stranger = true;
        return 0;
    }
    if (s.n > DIAL_URL_SEEN_MAX / 2) s = slice_first(s, DIAL_URL_SEEN_MAX / 2);
    if (d->seen.n + s.n > DIAL_URL_SEEN_MAX) buf_drop(&d->seen, DIAL_URL_SEEN_MAX / 2);
    buf_add(&d->seen, s);
    return size * n;
}

/* The text of the last line that says no, or an empty slice. */
static struct slice last_no(const struct dial_url *d) {
    struct slice rest = buf_slice(&d->seen), line, found = S("");

    while (slice_line(&rest, &line)) {
        size_t no = slice_ifind(line, S(" NO "));

        if (slice_istarts(line, S("-ERR"))) found = slice_trim(slice_from(line, 4));
        else if (no != SLICE_NONE && no < 12) found = slice_trim(slice_from(line, no + 4));
    }
    return found;
}

static enum err_code refused(const struct dial_url *d, struct err *e) {
    static const struct slice later[] = {S_INIT("[IN-USE"),   S_INIT("[LOGIN-DELAY"),
                                         S_INIT("[SYS/TEMP"), S_INIT("[UNAVAILABLE"),
                                         S_INIT("[INUSE"),    S_INIT("[LIMIT")};
    struct slice text = slice_first(last_no(d), 120);
    char clean[121];

    for (size_t i = 0; i < text.n; i++)
        clean[i] = (char)((unsigned char)text.p[i] < 32 ? '?' : text.p[i]);
    clean[text.n] = '\0';
    for (size_t i = 0; i < COUNT_OF(later); i++)
        if (slice_istarts(text, later[i]))
            return err_mail(e, ERR_BUSY, STATUS(4, 2, 1), "the server says: %s", clean);
    if (text.n == 0)
        return err_mail(e, ERR_DENIED, STATUS(5, 7, 8),
                        "the login was refused, or the server offers no way to log in");
    return err_mail(e, ERR_DENIED, STATUS(5, 7, 8), "the login was refused: %s", clean);
}

static enum err_code why_not(const struct dial_url *d, CURLcode c, const struct dial_target *to,
                             struct err *e) {
    const char *why = d->why[0] ? d->why : curl.curl_easy_strerror(c);
    enum err_code code;

    if (d->is_stranger)
        return err_set(e, ERR_PROTO, "%s:%u does not speak %s", to->host, to->port,
                       to->is_imap ? "IMAP" : "POP3");
    switch (c) {
    case CURLE_LOGIN_DENIED:
    case CURLE_AUTH_ERROR: return refused(d, e);
    case CURLE_REMOTE_ACCESS_DENIED:
        if (last_no(d).n) return refused(d, e);
        code = ERR_PROTO;
        break;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: code = ERR_DNS; break;
    case CURLE_COULDNT_CONNECT:
    case CURLE_INTERFACE_FAILED:
    case CURLE_SEND_ERROR:
    case CURLE_PROXY: code = ERR_NET; break;
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
        return err_set(e, ERR_CLOSED, "%s:%u closed the connection", to->host, to->port);
    case CURLE_OPERATION_TIMEDOUT: code = ERR_TIMEOUT; break;
    case CURLE_USE_SSL_FAILED:
        return err_set(e, ERR_TLS, "%s:%u offers no TLS", to->host, to->port);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR: code = ERR_TLS; break;
    case CURLE_SSL_CACERT_BADFILE: code = ERR_CONFIG; break;
    case CURLE_OUT_OF_MEMORY: code = ERR_MEMORY; break;
    case CURLE_UNSUPPORTED_PROTOCOL: code = ERR_UNSUPPORTED; break;
    default: code = ERR_PROTO; break;
    }
    return err_set(e, code, "%s:%u: %.150s", to->host, to->port, why);
}

/* With a `resolver` setting the name is looked up by us, and libcurl is told. */
static enum err_code resolve(struct dial_url *d, const struct dial_url_options *o, struct err *e) {
    const struct dial_target *to = o->to;
    struct resolve_hosts found;
    struct resolver *r;
    struct arena a;
    struct buf line;
    struct addr literal;
    enum err_code code;

    if (!o->conf->resolver || to->is_loopback || addr_parse(to->host, 0, &literal)) return OK;
    code = resolver_new(o->conf, &r, e);
    if (code != OK) return code;
    arena_init(&a, 1024 * 1024);
    buf_init(&line, 16 * 1024);
    code = resolver_hosts(r, slice_str(to->host), to->port, &a, &found, e);
    if (code == OK && found.count == 0)
        code = err_set(e, ERR_DNS, "%s: %.*s", to->host,
                       SP(found.why.n ? found.why : S("no address")));
    if (code == OK) {
        buf_addf(&line, "%s:%u:", to->host, to->port);
        for (size_t i = 0; i < found.count; i++) {
            char text[ADDR_TEXT_MAX];

            addr_host(&found.addrs[i], text);
            buf_addf(&line, "%s%s%s%s", i ? "," : "", addr_is_ipv6(&found.addrs[i]) ? "[" : "",
                     text, addr_is_ipv6(&found.addrs[i]) ? "]" : "");
        }
        if (!line.bad) d->resolve = curl.curl_slist_append(NULL, buf_cstr(&line));
        if (!d->resolve) code = err_set(e, ERR_MEMORY, "no memory to connect");
    }
    buf_release(&line);
    arena_release(&a);
    resolver_free(r);
    return code;
}

static void set_options(struct dial_url *d, const struct dial_url_options *o, const char *url) {
    unsigned timeout = o->timeout_s ? o->timeout_s : DIAL_URL_TIMEOUT_S;
    bool verifies = o->tls != DIAL_URL_INSECURE;
    CURL *c = d->easy;

#define SET(option, value) curl.curl_easy_setopt(c, CURLOPT_##option, value)
    SET(URL, url);
    SET(CONNECT_ONLY, 1L);
    SET(NOSIGNAL, 1L);
    SET(PROTOCOLS_STR, "pop3,pop3s,imap,imaps");
    SET(REDIR_PROTOCOLS_STR, "");
    SET(NETRC, (long)CURL_NETRC_IGNORED);
    SET(USE_SSL, (long)(o->tls == DIAL_URL_CLEAR ? CURLUSESSL_NONE : CURLUSESSL_ALL));
    SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(SSL_VERIFYPEER, verifies ? 1L : 0L);
    SET(SSL_VERIFYHOST, verifies ? 2L : 0L);
    if (verifies && o->conf->tls_ca) SET(CAINFO, o->conf->tls_ca);
    SET(CONNECTTIMEOUT, (long)timeout);
    SET(TIMEOUT, (long)timeout);
    SET(SERVER_RESPONSE_TIMEOUT, (long)timeout);
    SET(ERRORBUFFER, d->why);
    SET(HEADERFUNCTION, on_line);
    SET(HEADERDATA, d);
    SET(SASL_IR, 1L);
    if (o->user && o->is_token) {
        SET(USERNAME, o->user);
        SET(XOAUTH2_BEARER, o->password ? o->password : "");
        SET(LOGIN_OPTIONS, "AUTH=OAUTHBEARER;AUTH=XOAUTH2");
    } else if (o->user) {
        SET(USERNAME, o->user);
        SET(PASSWORD, o->password ? o->password : "");
    }
    if (d->resolve) SET(RESOLVE, d->resolve);
#undef SET
}

enum err_code dial_url(const struct dial_url_options *o, struct dial_url **out, struct err *e) {
    const struct dial_target *to = o->to;
    bool bracket = strchr(to->host, ':') != NULL;
    struct dial_url *d;
    struct buf url;
    CURLcode c;
    enum err_code code = curl_load(e);

    *out = NULL;
    if (code != OK) return code;
    d = calloc(1, sizeof *d);
    if (!d) return err_set(e, ERR_MEMORY, "no memory to connect");
    d->fd = CURL_SOCKET_BAD;
    d->is_imap = to->is_imap;
    buf_init(&d->seen, DIAL_URL_SEEN_MAX);
    buf_init(&url, DIAL_URL_MAX * 2);
    buf_addf(&url, "%s://%s%s%s:%u/", to->scheme, bracket ? "[" : "", to->host, bracket ? "]" : "",
             to->port);
    d->easy = curl.curl_easy_init();
    if (!d->easy || !buf_cstr(&url)) code = err_set(e, ERR_MEMORY, "no memory to connect");
    if (code == OK) code = resolve(d, o, e);
    if (code == OK) {
        set_options(d, o, buf_cstr(&url));
        c = curl.curl_easy_perform(d->easy);
        if (c == CURLE_OK) c = curl.curl_easy_getinfo(d->easy, CURLINFO_ACTIVESOCKET, &d->fd);
        if (c != CURLE_OK) code = why_not(d, c, to, e);
        else if (d->fd == CURL_SOCKET_BAD)
            code = err_set(e, ERR_CLOSED, "%s:%u closed the connection", to->host, to->port);
    }
    buf_release(&url);
    if (code != OK) {
        dial_url_free(d);
        return code;
    }
    *out = d;
    return OK;
}

void dial_url_free(struct dial_url *d) {
    if (!d) return;
    if (d->easy) curl.curl_easy_cleanup(d->easy);
    if (d->resolve) curl.curl_slist_free_all(d->resolve);
    buf_release(&d->seen);
    free(d);
}

struct slice dial_url_seen(const struct dial_url *d) {
    return buf_slice(&d->seen);
}

/* --- the stream
 * -------------------------------------------------------------------------------------- */

static enum tls_io io_read(void *self, char *p, size_t n, size_t *got, struct err *e) {
    struct dial_url *d = self;
    CURLcode c = curl.curl_easy_recv(d->easy, p, n, got);

    if (c == CURLE_OK) return *got > 0 ? TLS_OK : TLS_EOF;
    if (c == CURLE_AGAIN) return TLS_WANT_READ;
    err_set(e, ERR_CLOSED, "reading: %s", curl.curl_easy_strerror(c));
    return TLS_FAIL;
}

static enum tls_io io_write(void *self, const char *p, size_t n, size_t *sent, struct err *e) {
    struct dial_url *d = self;
    CURLcode c = curl.curl_easy_send(d->easy, p, n, sent);

    if (c == CURLE_OK && *sent > 0) return TLS_OK;
    if (c == CURLE_OK || c == CURLE_AGAIN) return TLS_WANT_WRITE;
    err_set(e, ERR_CLOSED, "writing: %s", curl.curl_easy_strerror(c));
    return TLS_FAIL;
}

struct pump_io dial_url_io(struct dial_url *d) {
    return (struct pump_io){.self = d, .fd = (int)d->fd, .read = io_read, .write = io_write};
}
