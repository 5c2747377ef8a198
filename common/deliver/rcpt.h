/* rcpt: who a recipient is to this host: an account, an alias, somebody elsewhere, or nobody. */
#ifndef DELIVER_RCPT_H
#define DELIVER_RCPT_H

#include "auth/accounts.h"
#include "conf/alias.h"

enum { RCPT_EXPANSION_MAX = 10000 };
enum rcpt_kind { RCPT_ACCOUNT, RCPT_ALIAS, RCPT_REMOTE, RCPT_NOBODY };

/* What answers such questions. Any thread. */
struct directory {
    const struct conf *conf;
    struct accounts *accounts;
    struct aliases *aliases;
};
enum err_code directory_open(const struct conf *c, struct directory *d, struct err *e);
void directory_close(struct directory *d);

/* Is `domain` one of ours? Without regard to case; an empty one is. Address literals are not. */
bool directory_is_local(const struct directory *d, struct slice domain);
/* What `address` ("local@domain" or "local") is, without expanding an alias. ERR_NOT_FOUND is not
 * an error here but RCPT_NOBODY; errors are those of the files (temporary). `account` may be NULL;
 * filled for RCPT_ACCOUNT. Subaddresses: "user+detail" is user's unless it has a name of its own;
 * postmaster of a domain that has neither alias nor account of that name is its first account; an
 * alias "@domain" gets what is nobody's else. */
enum err_code directory_find(const struct directory *d, struct slice address, enum rcpt_kind *kind,
                             struct account *account, struct err *e);

/* One end of an expansion. */
struct rcpt_end {
    bool is_local;
    bool is_dead;         /* an alias names it, and there is no such user: `address` is its name */
    bool is_program;      /* `address` is "|command" or "/file" (deliver/program) */
    struct slice address; /* where to: remote, or the account's name */
    struct slice owner;   /* sender from here on: the list's alias has an "owner-NAME"; or empty */
    struct account *account; /* local */
};
/* Does mail for this end leave the host? */
static inline bool rcpt_end_is_remote(const struct rcpt_end *end) {
    return !end->is_local && !end->is_dead && !end->is_program;
}
/* Follow aliases from `address` to their ends, each once, in `a`. The value "@domain" means the
 * same local part there. Loops are cut; a name in an alias that is nobody's gives ERR_NOT_FOUND
 * (5.1.1) for the whole. ERR_LIMIT: more than RCPT_EXPANSION_MAX or deeper than ALIAS_DEPTH_MAX
 * (5.4.6). */
enum err_code directory_expand(const struct directory *d, struct slice address, struct arena *a,
                               struct rcpt_end **ends, size_t *count, struct err *e);

#endif
