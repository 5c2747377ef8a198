/* accounts: the passwd-file of users (design: as Dovecot's).
 *
 *     user@domain:{SCHEME}hash:uid:gid:gecos:home:shell:extra
 *
 * A name without @ belongs to the first domain. A home field moves the mailbox to HOME/Maildir;
 * without one mail lies in DATA/mail/DOMAIN/LOCAL/Maildir. Names are compared without regard to
 * ASCII case. The file is read again when it changed. A struct accounts may be used from any
 * thread. */
#ifndef AUTH_ACCOUNTS_H
#define AUTH_ACCOUNTS_H

#include "base/arena.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "sasl/scram.h"

enum { ACCOUNTS_FILE_MAX = 64 * 1024 * 1024, ACCOUNT_NAME_MAX = 320 };

struct account {
    char name[ACCOUNT_NAME_MAX + 1]; /* "local@domain", lower case */
    char home[4096];                 /* the directory that has Maildir */
    char password[512];              /* as stored */
    char extra[512];                 /* the eighth field of its line, as written */
    uint64_t quota_octets, quota_messages; /* what it may keep; 0: no limit */
};

struct accounts;

/* Takes the file, domain and data directory from `c`, which must live as long. A missing file is an
 * empty one. */
enum err_code accounts_new(const struct conf *c, struct accounts **out, struct err *e);
void accounts_free(struct accounts *a);
/* Find "local@domain" or "local". ERR_NOT_FOUND; ERR_IO and so on when the file cannot be read
 * (4.3.0). */
enum err_code accounts_find(struct accounts *a, struct slice name, struct account *out,
                            struct err *e);
/* The first account of `domain`: where postmaster's mail goes when nobody else has the name. */
enum err_code accounts_first(struct accounts *a, struct slice domain, struct account *out,
                             struct err *e);
/* Find and check the password. ERR_DENIED says nothing of which was wrong and takes as long either
 * way. */
enum err_code accounts_login(struct accounts *a, struct slice name, struct slice password,
                             struct account *out, struct err *e);
/* Can every account log in by SCRAM-SHA-256? Only then it is worth offering: a client that is
 * offered it takes it, and does not fall back on a password sent. False without accounts, or when
 * the file cannot be read. */
bool accounts_have_keys(struct accounts *a);
/* The SCRAM keys of an account. False: no account, or none with keys; then salt and iterations are
 * made up, alike for the same name as long as the process lives, and it takes as long. */
bool accounts_keys(struct accounts *a, struct slice name, struct scram_keys *out);
/* Call `visit` for each account, by name; NULL: only read and check the file. */
enum err_code accounts_walk(struct accounts *a, void (*visit)(const struct account *, void *),
                            void *user, struct err *e);
/* Add, replace (`stored` and maybe `home`, NULL: as it was) or, with `stored` NULL, remove a line;
 * the file is replaced as a whole under a lock. */
enum err_code accounts_put(struct accounts *a, struct slice name, const char *stored,
                           const char *home, struct err *e);
enum err_code accounts_remove(struct accounts *a, struct slice name, struct err *e);
/* The canonical "local@domain" of `name`, in lower case. ERR_SYNTAX: not a name that can be an
 * account. */
enum err_code accounts_name(const struct accounts *a, struct slice name,
                            char out[ACCOUNT_NAME_MAX + 1], struct err *e);

#endif
