/* password: stored passwords, "{SCHEME}text" as in a Dovecot passwd-file. Any thread. */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include "base/buf.h"
#include "base/err.h"
#include "sasl/scram.h"

enum { PASSWORD_MAX = 1024 };

/* Is `given` the password that `stored` was made from? Schemes: PLAIN; SCRAM-SHA-256; CRYPT and the
 * names of its methods (YESCRYPT, SHA512-CRYPT, BLF-CRYPT, ...): what crypt(5) knows, but not the
 * ones that take more than a second or 64 MiB. No scheme: CRYPT. Costs about 20 ms and 16 MiB with
 * yescrypt, so callers bound how many run at once. ERR_DENIED: no. ERR_UNSUPPORTED: the scheme is
 * unknown. */
enum err_code password_check(struct slice stored, struct slice given, struct err *e);
/* Append "{CRYPT}..." for a new password: yescrypt with a random salt. */
enum err_code password_make(struct slice password, struct buf *out, struct err *e);
/* Append "{SCRAM-SHA-256}iterations,salt,stored,server" (RFC 5802 3) with a random salt: a client
 * can then prove the password without sending it. ERR_SYNTAX: it has control characters or is not
 * UTF-8. */
enum err_code password_make_scram(struct slice password, struct buf *out, struct err *e);
/* Can keys of SCRAM be had from the stored form? */
bool password_has_keys(struct slice stored);
/* Those keys; of {PLAIN} they are made, with the salt that `out` has (about 1 ms). False: none. */
bool password_keys(struct slice stored, struct scram_keys *out);
/* Does checking take no time, so that an answer would come sooner than password_waste? */
bool password_is_cheap(struct slice stored);
/* Spend the time that checking one password takes, for a user who does not exist. */
void password_waste(struct slice given);
/* Equal, in a time that does not depend on the content. */
bool password_equal(struct slice a, struct slice b);

#endif
