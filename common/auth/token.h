/* token: OAuth 2.0 access tokens (RFC 6750), which only their issuer can judge and make: a command
 * of the administrator does it. Any thread. */
#ifndef AUTH_TOKEN_H
#define AUTH_TOKEN_H

#include "base/buf.h"
#include "base/err.h"

enum { TOKEN_MS = 10 * 1000, TOKEN_WORDS_MAX = 32 };

/* Run `command` (words separated by blanks, found by PATH, no shell; at most TOKEN_WORDS_MAX) with
 * the token on standard input and only PATH, SASL_MECHANISM and SASL_USER in its environment. Exit
 * status 0: the token is good and belongs to that user. ERR_DENIED (5.7.8): another status.
 * ERR_CONFIG: it cannot be run; ERR_TIMEOUT: it was ended after TOKEN_MS, with its children
 * (4.7.0). */
enum err_code token_check(const char *command, const char *mechanism, const char *user,
                          struct slice token, struct err *e);

/* Run `command` likewise, with SASL_USER in its environment and an empty standard input, and append
 * the token that it prints on standard output: its first line, trimmed, of 1 to SASL_TOKEN_MAX
 * octets. ERR_CONFIG (4.7.0): it cannot be run, failed, or printed no token; ERR_TIMEOUT as above.
 */
enum err_code token_get(const char *command, const char *user, struct buf *out, struct err *e);

#endif
