/* hash: SHA-256 and what is built on it, through GnuTLS. Any thread; no state.
 *
 * Each function loads the library at first use and gives false when that, or the arithmetic, fails:
 * the output must then not be used. */
#ifndef CRYPTO_HASH_H
#define CRYPTO_HASH_H

#include "base/trail.h"

enum { SHA256_SIZE = 32 };

/* FIPS 180-4. */
bool hash_sha256(struct slice in, uint8_t out[SHA256_SIZE]);
/* The same, going through `in` with `trail`. */
bool hash_sha256_trail(struct slice in, struct trail *trail, uint8_t out[SHA256_SIZE]);
/* RFC 2104 with SHA-256. */
bool hash_hmac(struct slice key, struct slice in, uint8_t out[SHA256_SIZE]);
/* RFC 8018 5.2 with HMAC-SHA-256, one block. About 0.3 microseconds for each of `iterations`,
 * which the caller bounds. */
bool hash_pbkdf2(struct slice password, struct slice salt, unsigned iterations,
                 uint8_t out[SHA256_SIZE]);
/* Equal, in a time that depends on nothing but `n`. */
bool hash_equal(const uint8_t *a, const uint8_t *b, size_t n);

#endif
