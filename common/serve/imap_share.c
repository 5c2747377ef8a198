#include "serve/imap_share.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/quota.h"
#include "sys/file.h"

enum { PATH_LEN_MAX = 4096 + 2 * ACCOUNT_NAME_MAX, OWNERS_MAX = 10000 };

bool share_is_foreign(struct slice name) {
    return slice_starts(name, OTHER_USERS) ||
           slice_eq(name, slice_first(OTHER_USERS, OTHER_USERS.n - 1));
}

/* --- one mailbox ------------------------------------------------------------------------------ */

static enum err_code nowhere(struct err *e) {
    return err_set(e, ERR_NOT_FOUND, "there is no such mailbox");
}

static enum err_code rights_of(const struct share *sh, struct store *s, struct slice name,
                               unsigned *out) {
    struct acl *a = malloc(sizeof *a);
    enum err_code code = a ? acl_read(s, name, a, NULL) : ERR_MEMORY;

    *out = code == OK ? acl_rights(a, slice_str(sh->user)) : 0;
    if (code == OK) acl_release(a);
    free(a);
    return code;
}

static enum err_code find_foreign(const struct share *sh, struct slice name, bool is_new,
                                  struct place *out, struct err *e) {
    struct slice owner, rest;
    struct account *a;
    enum err_code code;

    if (name.n <= OTHER_USERS.n) return nowhere(e);
    name = slice_from(name, OTHER_USERS.n);
    if (!slice_cut(name, '/', &owner, &rest)) owner = name, rest = S("");
    a = malloc(sizeof *a);
    if (!a) return err_set(e, ERR_MEMORY, "no memory for a mailbox");
    code = accounts_find(sh->accounts, owner, a, e);
    if (code == OK && strcmp(a->name, sh->user) == 0) code = ERR_NOT_FOUND;
    if (code == OK) {
        snprintf(out->owner, sizeof out->owner, "%s", a->name);
        code = store_open(a->home, &out->store, e);
        if (code != OK) out->store = NULL;
        else store_limit(out->store, a->quota_octets, a->quota_messages);
    }
    free(a);
    if (code == ERR_NOT_FOUND) return nowhere(e);
    if (code != OK) return code;
    out->name = rest.n ? rest : S("INBOX");
    code =
        rights_of(sh, out->store, is_new ? acl_parent(out->store, rest) : out->name, &out->rights);
    return code == ERR_NOT_FOUND ? nowhere(e) : code;
}

enum err_code share_find(const struct share *sh, struct slice name, unsigned want, bool is_new,
                         struct place *out, struct err *e) {
    enum err_code code;

    *out = (struct place){.store = sh->own, .name = name, .rights = ACL_ALL, .is_own = true};
    snprintf(out->owner, sizeof out->owner, "%s", sh->user);
    if (!share_is_foreign(name)) return OK;
    *out = (struct place){.store = NULL};
    code = find_foreign(sh, name, is_new, out, e);
    /* Who may not look it up is not told that it is there (RFC 4314 6). */
    if (code == OK && (out->rights & want) != want)
        code = out->rights & ACL_LOOKUP
                   ? err_set(e, ERR_DENIED, "you do not have the right to do that here")
                   : nowhere(e);
    if (code != OK) share_leave(out);
    return code;
}

void share_leave(struct place *p) {
    if (!p->is_own) store_close(p->store);
    p->store = NULL;
}

/* --- all of them ------------------------------------------------------------------------------ */

struct teller {
    const struct share *sh;
    void (*tell)(void *user, struct slice name, bool is_selectable);
    void *user;
    bool has_told;
};

static void tell_owner(struct teller *t, const char *owner) {
    struct store_names l;
    struct account *a = malloc(sizeof *a);
    struct store *s = NULL;
    bool has_top = false, has_any = false;
    struct buf name;

    if (!a || accounts_find(t->sh->accounts, slice_str(owner), a, NULL) != OK ||
        strcmp(a->name, t->sh->user) == 0 || store_open(a->home, &s, NULL) != OK ||
        store_list(s, &l, NULL) != OK) {
        store_close(s);
        free(a);
        return;
    }
    buf_init(&name, PATH_LEN_MAX);
    for (size_t i = 0; i < l.n; i++) {
        bool is_inbox = strcmp(l.v[i].name, "INBOX") == 0;
        unsigned rights;

        if (l.v[i].is_missing || rights_of(t->sh, s, slice_str(l.v[i].name), &rights) != OK ||
            !(rights & ACL_LOOKUP))
            continue;
        if (!t->has_told) t->tell(t->user, slice_first(OTHER_USERS, OTHER_USERS.n - 1), false);
        t->has_told = has_any = true;
        has_top |= is_inbox;
        buf_reset(&name);
        buf_addf(&name, "%.*s%s", SP(OTHER_USERS), a->name);
        if (!is_inbox) buf_addf(&name, "/%s", l.v[i].name);
        if (!name.bad) t->tell(t->user, buf_slice(&name), true);
    }
    buf_reset(&name);
    buf_addf(&name, "%.*s%s", SP(OTHER_USERS), a->name);
    if (has_any && !has_top && !name.bad) t->tell(t->user, buf_slice(&name), false);
    buf_release(&name);
    store_names_release(&l);
    store_close(s);
    free(a);
}

/* Owners that `who` is to look at, but those that `but` has too. */
static void tell_owners(struct teller *t, const char *who, const char *but) {
    char path[PATH_LEN_MAX], other[PATH_LEN_MAX];
    struct dirent *d;
    DIR *dir;

    snprintf(path, sizeof path, "%s/shared/%s", t->sh->data, who);
    dir = opendir(path);
    for (int i = 0; dir && i < OWNERS_MAX && (d = readdir(dir)); i++) {
        if (d->d_name[0] == '.') continue;
        snprintf(other, sizeof other, "%s/shared/%s/%s", t->sh->data, but ? but : ".", d->d_name);
        if (!but || access(other, F_OK) != 0) tell_owner(t, d->d_name);
    }
    if (dir) closedir(dir);
}

void share_list(const struct share *sh,
                void (*tell)(void *user, struct slice name, bool is_selectable), void *user) {
    struct teller t = {.sh = sh, .tell = tell, .user = user};

    tell_owners(&t, sh->user, NULL);
    tell_owners(&t, "anyone", sh->user);
}

/* --- change ----------------------------------------------------------------------------------- */

/* Any mailbox of the owner that names `who`? */
static bool is_named(struct store *s, struct slice who) {
    struct store_names l;
    struct acl *a = malloc(sizeof *a);
    bool is = !a || store_list(s, &l, NULL) != OK;

    if (!is) {
        for (size_t i = 0; i < l.n && !is; i++) {
            if (l.v[i].is_missing || acl_read(s, slice_str(l.v[i].name), a, NULL) != OK) continue;
            for (size_t k = 0; k < a->n; k++) is |= slice_ieq(a->v[k].identifier, who);
            acl_release(a);
        }
        store_names_release(&l);
    }
    free(a);
    return is;
}

enum err_code share_set(const struct share *sh, struct place *p, struct slice who,
                        enum acl_change how, unsigned rights, struct err *e) {
    bool is_negative = slice_starts(who, S("-"));
    char name[ACCOUNT_NAME_MAX + 2] = "-", path[PATH_LEN_MAX];
    struct slice user = slice_from(who, is_negative);
    struct account *a = malloc(sizeof *a);
    enum err_code code = OK;
    int fd;

    if (!a) return err_set(e, ERR_MEMORY, "no memory for rights");
    if (slice_eq(user, S("anyone"))) snprintf(a->name, sizeof a->name, "anyone");
    else code = accounts_find(sh->accounts, user, a, e);
    if (code == ERR_NOT_FOUND && (how == ACL_TAKE || !rights)) {
        /* Who is no more can still be taken out. */
        code = user.n <= ACCOUNT_NAME_MAX ? OK : ERR_NOT_FOUND;
        snprintf(a->name, sizeof a->name, "%.*s", SP(user));
    }
    if (code == ERR_NOT_FOUND)
        code = err_set(e, ERR_NOT_FOUND, "there is no user \"%.*s\"", SP(slice_first(user, 100)));
    if (code == OK && strcmp(a->name, p->owner) == 0)
        code = err_set(e, ERR_UNSUPPORTED, "the owner has all rights");
    if (code == OK && memchr(a->name, '/', strlen(a->name)))
        code = err_set(e, ERR_UNSUPPORTED, "a name with / cannot be shared with");
    snprintf(name + 1, sizeof name - 1, "%s", a->name);
    free(a);
    if (code == OK)
        code = acl_change(p->store, p->name, slice_str(name + !is_negative), how, rights, e);
    if (code != OK || is_negative) return code;
    snprintf(path, sizeof path, "%s/shared/%s", sh->data, name + 1);
    if (is_named(p->store, slice_str(name + 1))) {
        code = file_mkdirs(path, 0700, e);
        snprintf(path, sizeof path, "%s/shared/%s/%s", sh->data, name + 1, p->owner);
        fd = code == OK ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
        if (code == OK && fd < 0) code = err_sys(e, "cannot note what is shared in %s", path);
        fd_close(&fd);
    } else {
        snprintf(path, sizeof path, "%s/shared/%s/%s", sh->data, name + 1, p->owner);
        unlink(path);
    }
    return code;
}
