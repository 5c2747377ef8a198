#include "crypto/hash.h"

#include "crypto/gnutls.h"

static gnutls_datum_t datum(struct slice s) {
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)(s.p ? s.p : ""), (unsigned)s.n};
}

bool hash_sha256(struct slice in, uint8_t out[SHA256_SIZE]) {
    return gnutls_load(NULL) == OK &&
           gnutls.gnutls_hash_fast(GNUTLS_DIG_SHA256, in.p ? in.p : "", in.n, out) == 0;
}

bool hash_sha256_trail(struct slice in, struct trail *trail, uint8_t out[SHA256_SIZE]) {
    gnutls_hash_hd_t h;
    bool is_good = true;

    if (in.n <= TRAIL_STEP) return hash_sha256(in, out);
    if (gnutls_load(NULL) != OK || gnutls.gnutls_hash_init(&h, GNUTLS_DIG_SHA256) != 0)
        return false;
    while (in.n && is_good) {
        struct slice some = slice_first(in, TRAIL_STEP);

        is_good = gnutls.gnutls_hash(h, some.p, some.n) == 0;
        in = slice_from(in, some.n);
        if (in.n) trail_at(trail, in.p);
    }
    gnutls.gnutls_hash_deinit(h, out);
    return is_good;
}

bool hash_hmac(struct slice key, struct slice in, uint8_t out[SHA256_SIZE]) {
    return gnutls_load(NULL) == OK &&
           gnutls.gnutls_hmac_fast(GNUTLS_MAC_SHA256, key.p ? key.p : "", key.n, in.p ? in.p : "",
                                   in.n, out) == 0;
}

bool hash_pbkdf2(struct slice password, struct slice salt, unsigned iterations,
                 uint8_t out[SHA256_SIZE]) {
    gnutls_datum_t key = datum(password), s = datum(salt);
    return gnutls_load(NULL) == OK &&
           gnutls.gnutls_pbkdf2(GNUTLS_MAC_SHA256, &key, &s, iterations, out, SHA256_SIZE) == 0;
}

bool hash_equal(const uint8_t *a, const uint8_t *b, size_t n) {
    volatile uint8_t diff = 0;
    for (size_t i = 0; i < n; i++) diff = (uint8_t)(diff | (a[i] ^ b[i]));
    return diff == 0;
}
