#include "net/tls.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/gnutls.h"
#include "policy/dane.h"
#include "sys/clock.h"
#include "sys/file.h"

#define PRIORITY_STRICT "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA"
#define PRIORITY_LOOSE "NORMAL"

struct tls_creds {
    atomic_int refs;
    gnutls_certificate_credentials_t x509;
    gnutls_priority_t priority[2];
    bool trusts;
};

struct tls {
    gnutls_session_t session;
    struct tls_creds *creds;
    bool is_client, is_up;
    char description[128];
};

static bool is_address(const char *host) {
    unsigned char addr[16];

    return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

static enum err_code creds_new(struct tls_creds **out, struct err *e) {
    struct tls_creds *c;
    enum err_code code = gnutls_load(e);

    if (code != OK) return code;
    c = calloc(1, sizeof *c);
    if (!c) return err_set(e, ERR_MEMORY, "no memory for TLS");
    atomic_init(&c->refs, 1);
    if (gnutls.gnutls_priority_init(&c->priority[TLS_STRICT], PRIORITY_STRICT, NULL) < 0 ||
        gnutls.gnutls_priority_init(&c->priority[TLS_LOOSE], PRIORITY_LOOSE, NULL) < 0 ||
        gnutls.gnutls_certificate_allocate_credentials(&c->x509) < 0) {
        tls_creds_unref(c);
        return err_set(e, ERR_TLS, "cannot set up TLS");
    }
    *out = c;
    return OK;
}

struct tls_creds *tls_creds_ref(struct tls_creds *c) {
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void tls_creds_unref(struct tls_creds *c) {
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1) return;
    if (c->x509) gnutls.gnutls_certificate_free_credentials(c->x509);
    for (int i = 0; i < 2; i++)
        if (c->priority[i]) gnutls.gnutls_priority_deinit(c->priority[i]);
    free(c);
}

enum err_code tls_creds_server(const struct conf_pair *pairs, size_t n, struct tls_creds **out,
                               struct err *e) {
    struct tls_creds *c = NULL;
    enum err_code code = creds_new(&c, e);

    for (size_t i = 0; code == OK && i < n; i++) {
        int r = gnutls.gnutls_certificate_set_x509_key_file(c->x509, pairs[i].cert, pairs[i].key,
                                                            GNUTLS_X509_FMT_PEM);

        if (r < 0)
            code = err_set(e, ERR_CONFIG, "cannot use the certificate %s with the key %s: %s",
                           pairs[i].cert, pairs[i].key, gnutls.gnutls_strerror(r));
    }
    if (code == OK) gnutls.gnutls_certificate_set_known_dh_params(c->x509, GNUTLS_SEC_PARAM_MEDIUM);
    if (code != OK) tls_creds_unref(c);
    else *out = c;
    return code;
}

enum err_code tls_creds_client(const char *ca_file, struct tls_creds **out, struct err *e) {
    struct tls_creds *c = NULL;
    enum err_code code = creds_new(&c, e);

    if (code == OK && ca_file) {
        int r =
            gnutls.gnutls_certificate_set_x509_trust_file(c->x509, ca_file, GNUTLS_X509_FMT_PEM);

        if (r < 0)
            code = err_set(e, ERR_CONFIG, "cannot use the trusted certificates in %s: %s", ca_file,
                           gnutls.gnutls_strerror(r));
        c->trusts = true;
    }
    if (code != OK) tls_creds_unref(c);
    else *out = c;
    return code;
}

enum err_code tls_creds_clients(struct tls_creds *c, const char *ca_file, struct err *e) {
    int r = gnutls.gnutls_certificate_set_x509_trust_file(c->x509, ca_file, GNUTLS_X509_FMT_PEM);

    if (r <= 0)
        return err_set(e, ERR_CONFIG, "cannot use the authorities of clients in %s: %s", ca_file,
                       r < 0 ? gnutls.gnutls_strerror(r) : "there is no certificate");
    c->trusts = true;
    return OK;
}

static enum err_code session_new(struct tls_creds *c, unsigned flags, enum tls_profile profile,
                                 int fd, struct tls **out, struct err *e) {
    struct tls *t = calloc(1, sizeof *t);

    if (!t) return err_set(e, ERR_MEMORY, "no memory for TLS");
    if (gnutls.gnutls_init(&t->session, flags | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0) {
        free(t);
        return err_set(e, ERR_MEMORY, "cannot make a TLS session");
    }
    t->creds = tls_creds_ref(c);
    t->is_client = flags & GNUTLS_CLIENT;
    gnutls.gnutls_priority_set(t->session, c->priority[profile]);
    gnutls.gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, c->x509);
    gnutls.gnutls_transport_set_int2(t->session, fd, fd);
    *out = t;
    return OK;
}

enum err_code tls_server_new(struct tls_creds *c, enum tls_profile profile, int fd,
                             struct tls **out, struct err *e) {
    return session_new(c, GNUTLS_SERVER, profile, fd, out, e);
}

enum err_code tls_client_new(struct tls_creds *c, enum tls_profile profile, int fd,
                             const char *host, struct tls **out, struct err *e) {
    enum err_code code = session_new(c, GNUTLS_CLIENT, profile, fd, out, e);

    if (code == OK && host && !is_address(host)) {
        size_t n = strlen(host);

        if (n > 0 && host[n - 1] == '.') n--;
        gnutls.gnutls_server_name_set((*out)->session, GNUTLS_NAME_DNS, host, n);
    }
    return code;
}

void tls_ask_certificate(struct tls *t) {
    gnutls.gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_REQUEST);
}

void tls_free(struct tls *t) {
    if (!t) return;
    gnutls.gnutls_deinit(t->session);
    tls_creds_unref(t->creds);
    free(t);
}

static enum tls_io wants(struct tls *t) {
    return gnutls.gnutls_record_get_direction(t->session) ? TLS_WANT_WRITE : TLS_WANT_READ;
}

static enum tls_io failed(struct tls *t, int r, const char *what, struct err *e) {
    struct mail_status st = t->is_client ? STATUS(4, 7, 5) : STATUS(0, 0, 0);

    if (r == GNUTLS_E_FATAL_ALERT_RECEIVED || r == GNUTLS_E_WARNING_ALERT_RECEIVED) {
        const char *alert = gnutls.gnutls_alert_get_name(gnutls.gnutls_alert_get(t->session));

        err_mail(e, ERR_TLS, st, "%s: the peer says: %s", what, alert ? alert : "unknown alert");
    } else if (r == GNUTLS_E_PREMATURE_TERMINATION || r == GNUTLS_E_PULL_ERROR ||
               r == GNUTLS_E_PUSH_ERROR) {
        err_mail(e, ERR_CLOSED, st.cls ? STATUS(4, 4, 2) : st, "%s: the peer closed the connection",
                 what);
    } else {
        err_mail(e, ERR_TLS, st, "%s: %s", what, gnutls.gnutls_strerror(r));
    }
    return TLS_FAIL;
}

enum tls_io tls_handshake(struct tls *t, struct err *e) {
    int r;

    do r = gnutls.gnutls_handshake(t->session);
    while (r == GNUTLS_E_INTERRUPTED ||
           (r < 0 && r != GNUTLS_E_AGAIN && !gnutls.gnutls_error_is_fatal(r)));
    if (r == GNUTLS_E_AGAIN) return wants(t);
    if (r < 0) return failed(t, r, "TLS handshake", e);
    t->is_up = true;
    return TLS_OK;
}

enum tls_io tls_read(struct tls *t, char *p, size_t n, size_t *got, struct err *e) {
    ssize_t r;

    *got = 0;
    do r = gnutls.gnutls_record_recv(t->session, p, n);
    while (r == GNUTLS_E_INTERRUPTED);
    if (r > 0) {
        *got = (size_t)r;
        return TLS_OK;
    }
    if (r == GNUTLS_E_AGAIN) return wants(t);
    if (r == 0 || r == GNUTLS_E_PREMATURE_TERMINATION) return TLS_EOF;
    /* TLS 1.2 renegotiation is not done; the request is ignored. */
    if (r == GNUTLS_E_REHANDSHAKE || (r < 0 && !gnutls.gnutls_error_is_fatal((int)r)))
        return TLS_WANT_READ;
    return failed(t, (int)r, "reading over TLS", e);
}

enum tls_io tls_write(struct tls *t, const char *p, size_t n, size_t *sent, struct err *e) {
    ssize_t r;

    *sent = 0;
    do r = gnutls.gnutls_record_send(t->session, p, n);
    while (r == GNUTLS_E_INTERRUPTED);
    if (r >= 0) {
        *sent = (size_t)r;
        return TLS_OK;
    }
    if (r == GNUTLS_E_AGAIN) return wants(t);
    return failed(t, (int)r, "writing over TLS", e);
}

bool tls_pending(const struct tls *t) { return gnutls.gnutls_record_check_pending(t->session) > 0; }

void tls_bye(struct tls *t) {
    if (t->is_up) gnutls.gnutls_bye(t->session, GNUTLS_SHUT_WR);
}

enum err_code tls_verify(struct tls *t, const char *host, struct err *e) {
    gnutls_datum_t words = {0};
    unsigned status = 0;
    char name[256];
    size_t n = strlen(host);
    int r;

    if (!t->creds->trusts) return err_set(e, ERR_TLS, "no trusted certificates are loaded");
    snprintf(name, sizeof name, "%s", host);
    if (n > 0 && n < sizeof name && name[n - 1] == '.') name[n - 1] = 0;
    r = gnutls.gnutls_certificate_verify_peers3(t->session, name, &status);
    if (r < 0)
        return err_mail(e, ERR_TLS, STATUS(4, 7, 5), "the certificate of %s: %s", host,
                        gnutls.gnutls_strerror(r));
    if (status == 0) return OK;
    r = gnutls.gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &words, 0);
    err_mail(e, ERR_TLS, STATUS(4, 7, 5), "%s: %.140s", host,
             r == 0 ? (char *)words.data : "the certificate is not trusted");
    if (r == 0) free(words.data);
    if (e) {
        size_t end = strlen(e->msg);

        while (end > 0 && e->msg[end - 1] == ' ') e->msg[--end] = 0;
    }
    return ERR_TLS;
}

/* What a TLSA record with `selector` speaks of: the certificate or its public key. `*key` is to be
 * freed by the caller. */
static bool selected(const gnutls_datum_t *der, uint8_t selector, gnutls_datum_t *out,
                     gnutls_datum_t *key) {
    gnutls_x509_crt_t crt = NULL;
    gnutls_pubkey_t pub = NULL;
    bool ok = true;

    *out = *der;
    if (selector == 0) return true;
    ok = gnutls.gnutls_x509_crt_init(&crt) == 0 &&
         gnutls.gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) == 0 &&
         gnutls.gnutls_pubkey_init(&pub) == 0 &&
         gnutls.gnutls_pubkey_import_x509(pub, crt, 0) == 0 &&
         gnutls.gnutls_pubkey_export2(pub, GNUTLS_X509_FMT_DER, key) == 0;
    if (pub) gnutls.gnutls_pubkey_deinit(pub);
    if (crt) gnutls.gnutls_x509_crt_deinit(crt);
    *out = *key;
    return ok;
}

static bool tlsa_matches(const struct dns_record *r, const gnutls_datum_t *der) {
    gnutls_datum_t what, key = {0};
    unsigned char digest[64];
    bool same = false;

    if (selected(der, r->selector, &what, &key)) {
        if (r->matching == 0)
            same = r->data.n == what.size && memcmp(r->data.p, what.data, what.size) == 0;
        else
            same = gnutls.gnutls_hash_fast(r->matching == 1 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA512,
                                           what.data, what.size, digest) == 0 &&
                   memcmp(r->data.p, digest, r->data.n) == 0;
    }
    free(key.data);
    return same;
}

/* Does the chain lead to `anchor`, for one of the names? */
static bool leads_to(const gnutls_datum_t *anchor, const gnutls_datum_t *chain, unsigned n,
                     const char *const *names, size_t name_count) {
    enum { CHAIN_MAX = 16 };
    gnutls_x509_crt_t crt[CHAIN_MAX], ta = NULL;
    gnutls_x509_trust_list_t list = NULL;
    unsigned made = 0;
    bool ok =
        gnutls.gnutls_x509_trust_list_init(&list, 0) == 0 && gnutls.gnutls_x509_crt_init(&ta) == 0;

    if (ok && gnutls.gnutls_x509_crt_import(ta, anchor, GNUTLS_X509_FMT_DER) == 0 &&
        gnutls.gnutls_x509_trust_list_add_cas(list, &ta, 1, 0) == 1)
        ta = NULL; /* the list's */
    else ok = false;
    for (unsigned i = 0; ok && i < n && i < CHAIN_MAX; i++) {
        ok = gnutls.gnutls_x509_crt_init(&crt[i]) == 0;
        if (!ok) break;
        made++;
        ok = gnutls.gnutls_x509_crt_import(crt[i], &chain[i], GNUTLS_X509_FMT_DER) == 0;
    }
    if (ok) {
        ok = false;
        for (size_t i = 0; !ok && i < name_count; i++) {
            gnutls_typed_vdata_st want = {
                .type = GNUTLS_DT_DNS_HOSTNAME,
                .data = (unsigned char *)(uintptr_t)names[i],
            };
            unsigned status = 0;

            if (!names[i]) continue;
            want.size = (unsigned)strlen(names[i]);
            ok = gnutls.gnutls_x509_trust_list_verify_crt2(list, crt, made, &want, 1, 0, &status,
                                                           NULL) == 0 &&
                 status == 0;
        }
    }
    for (unsigned i = 0; i < made; i++) gnutls.gnutls_x509_crt_deinit(crt[i]);
    if (ta) gnutls.gnutls_x509_crt_deinit(ta);
    if (list) gnutls.gnutls_x509_trust_list_deinit(list, 1);
    return ok;
}

enum err_code tls_verify_dane(struct tls *t, const struct dns_record *tlsa, size_t n,
                              const char *const *names, size_t name_count, struct err *e) {
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls.gnutls_certificate_get_peers(t->session, &count);

    if (!chain || count == 0)
        return err_mail(e, ERR_TLS, STATUS(4, 7, 5), "%s: it showed no certificate", names[0]);
    /* Whatever a trust anchor would say, the end entity's own record is enough. */
    for (size_t i = 0; i < n; i++)
        if (dane_is_usable(&tlsa[i]) && tlsa[i].usage == 3 && tlsa_matches(&tlsa[i], &chain[0]))
            return OK;
    for (size_t i = 0; i < n; i++) {
        if (!dane_is_usable(&tlsa[i]) || tlsa[i].usage != 2) continue;
        for (unsigned k = 0; k < count; k++)
            if (tlsa_matches(&tlsa[i], &chain[k]) &&
                leads_to(&chain[k], chain, count, names, name_count))
                return OK;
        /* The anchor itself may stand in the record, and not in the chain. */
        if (tlsa[i].selector == 0 && tlsa[i].matching == 0) {
            gnutls_datum_t anchor = {(unsigned char *)(uintptr_t)tlsa[i].data.p,
                                     (unsigned)tlsa[i].data.n};

            if (leads_to(&anchor, chain, count, names, name_count)) return OK;
        }
    }
    return err_mail(e, ERR_TLS, STATUS(4, 7, 5), "%s: its certificate matches no TLSA record",
                    names[0]);
}

const char *tls_describe(struct tls *t) {
    const char *version =
        gnutls.gnutls_protocol_get_name(gnutls.gnutls_protocol_get_version(t->session));
    const char *cipher = gnutls.gnutls_cipher_get_name(gnutls.gnutls_cipher_get(t->session));
    gnutls_group_t g = gnutls.gnutls_group_get(t->session);
    const char *group = g ? gnutls.gnutls_group_get_name(g) : NULL;

    /* "TLS1.3" as the RFCs and other mail software write it. */
    if (version && strncmp(version, "TLS", 3) == 0) version += 3;
    snprintf(t->description, sizeof t->description, "TLSv%s %s%s%s", version ? version : "?",
             cipher ? cipher : "?", group ? " " : "", group ? group : "");
    return t->description;
}

bool tls_peer(struct tls *t, struct tls_peer *out) {
    const gnutls_datum_t *chain;
    gnutls_x509_crt_t crt;
    gnutls_datum_t text;
    unsigned char id[32];
    size_t n = sizeof id;
    unsigned count = 0;

    *out = (struct tls_peer){0};
    chain = gnutls.gnutls_certificate_get_peers(t->session, &count);
    if (!chain || count == 0 || gnutls.gnutls_x509_crt_init(&crt) < 0) return false;
    out->chain = count;
    if (gnutls.gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) < 0) {
        gnutls.gnutls_x509_crt_deinit(crt);
        return false;
    }
    if (gnutls.gnutls_x509_crt_get_dn3(crt, &text, 0) == 0) {
        snprintf(out->subject, sizeof out->subject, "%.*s", (int)text.size, (char *)text.data);
        free(text.data);
    }
    if (gnutls.gnutls_x509_crt_get_issuer_dn3(crt, &text, 0) == 0) {
        snprintf(out->issuer, sizeof out->issuer, "%.*s", (int)text.size, (char *)text.data);
        free(text.data);
    }
    out->expires = (wall_t)gnutls.gnutls_x509_crt_get_expiration_time(crt);
    if (gnutls.gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, id, &n) == 0)
        for (size_t i = 0; i < n; i++) snprintf(out->fingerprint + 2 * i, 3, "%02x", id[i]);
    gnutls.gnutls_x509_crt_deinit(crt);
    return true;
}

static bool is_trusted_client(struct tls *t) {
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
    unsigned status = 0;

    return t->is_up && !t->is_client && t->creds->trusts &&
           gnutls.gnutls_certificate_verify_peers(t->session, &purpose, 1, &status) == 0 &&
           status == 0;
}

bool tls_client_name(struct tls *t, unsigned i, char out[TLS_CLIENT_NAME_MAX + 1]) {
    const gnutls_datum_t *chain;
    gnutls_x509_crt_t crt;
    unsigned count = 0;
    bool found = false;

    if (!is_trusted_client(t)) return false;
    chain = gnutls.gnutls_certificate_get_peers(t->session, &count);
    if (!chain || count == 0 || gnutls.gnutls_x509_crt_init(&crt) < 0) return false;
    if (gnutls.gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) == 0) {
        for (unsigned k = 0; !found; k++) {
            size_t n = TLS_CLIENT_NAME_MAX + 1;
            int r = gnutls.gnutls_x509_crt_get_subject_alt_name(crt, k, out, &n, NULL);

            if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) break;
            if (r != GNUTLS_SAN_RFC822NAME || n > TLS_CLIENT_NAME_MAX || memchr(out, 0, n))
                continue;
            out[n] = 0;
            found = i-- == 0;
        }
        if (!found && i == 0) {
            size_t n = TLS_CLIENT_NAME_MAX + 1;

            found = gnutls.gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0,
                                                         out, &n) == 0 &&
                    n <= TLS_CLIENT_NAME_MAX && strlen(out) == n;
        }
    }
    gnutls.gnutls_x509_crt_deinit(crt);
    return found;
}

bool tls_binding(struct tls *t, uint8_t out[TLS_BINDING]) {
    gnutls_datum_t made = {0};
    bool ok;

    if (!t->is_up || gnutls.gnutls_protocol_get_version(t->session) != GNUTLS_TLS1_3) return false;
    ok = gnutls.gnutls_session_channel_binding(t->session, GNUTLS_CB_TLS_EXPORTER, &made) == 0;
    if (ok && made.size == TLS_BINDING) memcpy(out, made.data, TLS_BINDING);
    else ok = false;
    free(made.data);
    return ok;
}

enum err_code tls_make_self_signed(const char *const *names, size_t n, const char *cert_path,
                                   const char *key_path, struct err *e) {
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t crt = NULL;
    gnutls_datum_t key_pem = {0}, crt_pem = {0};
    unsigned char serial[16], id[20];
    size_t id_n = sizeof id;
    wall_t now = clock_wall();
    enum err_code code = gnutls_load(e);
    int r = 0;

    if (code != OK) return code;
    random_bytes(serial, sizeof serial);
    serial[0] =
        (unsigned char)((serial[0] & 0x3f) | 0x40); /* positive, never zero (RFC 5280 4.1.2.2) */
    if ((r = gnutls.gnutls_x509_privkey_init(&key)) < 0 ||
        (r = gnutls.gnutls_x509_crt_init(&crt)) < 0 ||
        (r = gnutls.gnutls_x509_privkey_generate(
             key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0)) < 0 ||
        (r = gnutls.gnutls_x509_crt_set_version(crt, 3)) < 0 ||
        (r = gnutls.gnutls_x509_crt_set_key(crt, key)) < 0 ||
        (r = gnutls.gnutls_x509_crt_set_serial(crt, serial, sizeof serial)) < 0 ||
        (r = gnutls.gnutls_x509_crt_set_activation_time(crt, (time_t)(now - 3600))) < 0 ||
        (r = gnutls.gnutls_x509_crt_set_expiration_time(
             crt, (time_t)(now + (wall_t)3650 * 86400))) < 0 ||
        (r = gnutls.gnutls_x509_crt_set_basic_constraints(crt, 1, 0)) < 0 ||
        (r = gnutls.gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE |
                                                           GNUTLS_KEY_KEY_CERT_SIGN)) < 0 ||
        (r = gnutls.gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, names[0],
                                                  (unsigned)strlen(names[0]))) < 0)
        goto done;
    for (size_t i = 0; i < n; i++) {
        unsigned char addr[16];
        int v4 = inet_pton(AF_INET, names[i], addr) == 1,
            v6 = !v4 && inet_pton(AF_INET6, names[i], addr) == 1;
        unsigned flag = i ? GNUTLS_FSAN_APPEND : GNUTLS_FSAN_SET;

        if (v4 || v6)
            r = gnutls.gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, addr,
                                                            v4 ? 4 : 16, flag);
        else
            r = gnutls.gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, names[i],
                                                            (unsigned)strlen(names[i]), flag);
        if (r < 0) goto done;
    }
    if ((r = gnutls.gnutls_x509_crt_get_key_id(crt, 0, id, &id_n)) < 0 ||
        (r = gnutls.gnutls_x509_crt_set_subject_key_id(crt, id, id_n)) < 0 ||
        (r = gnutls.gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0)) < 0 ||
        (r = gnutls.gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_pem)) < 0 ||
        (r = gnutls.gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &crt_pem)) < 0)
        goto done;
    code = file_replace(key_path, slice_of((char *)key_pem.data, key_pem.size), 0600, e);
    if (code == OK)
        code = file_replace(cert_path, slice_of((char *)crt_pem.data, crt_pem.size), 0644, e);
done:
    if (r < 0)
        code = err_set(e, ERR_TLS, "cannot make a certificate: %s", gnutls.gnutls_strerror(r));
    if (key_pem.data) explicit_bzero(key_pem.data, key_pem.size);
    free(key_pem.data);
    free(crt_pem.data);
    if (crt) gnutls.gnutls_x509_crt_deinit(crt);
    if (key) gnutls.gnutls_x509_privkey_deinit(key);
    return code;
}
