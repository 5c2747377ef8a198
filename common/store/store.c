#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/attr.h"
#include "base/num.h"
#include "base/utf7.h"
#include "base/utf8.h"
#include "store/annotation.h"
#include "store/maildir.h"
#include "store/quota.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

static const struct {
    struct slice name;
    unsigned use;
} uses[] = {
    {S_INIT("Drafts"), STORE_USE_DRAFTS},   {S_INIT("Sent"), STORE_USE_SENT},
    {S_INIT("Trash"), STORE_USE_TRASH},     {S_INIT("Junk"), STORE_USE_JUNK},
    {S_INIT("Archive"), STORE_USE_ARCHIVE},
};

unsigned store_use(struct slice name) {
    for (size_t i = 0; i < COUNT_OF(uses); i++)
        if (slice_eq(name, uses[i].name)) return uses[i].use;
    return 0;
}

/* --- names ------------------------------------------------------------------------------------ */

static enum err_code bad_name(struct slice name, struct err *e) {
    return err_set(e, ERR_SYNTAX, "\"%.*s\" cannot be the name of a mailbox",
                   SP(slice_first(name, 60)));
}

enum err_code maildir_name(struct slice name, char out[FILE_NAME_MAX], struct err *e) {
    struct slice rest = name, level;
    struct buf b, one;
    unsigned depth = 0;
    bool is_good = true;

    if (slice_eq(name, S("INBOX"))) {
        memcpy(out, ".", 2);
        return OK;
    }
    if (name.n == 0 || name.n > STORE_NAME_MAX || slice_ieq(name, S("INBOX")) ||
        name.p[name.n - 1] == '/' || !utf8_valid(name))
        return bad_name(name, e);
    for (size_t i = 0; i < name.n; i++)
        if (ascii_is_ctl(name.p[i])) return bad_name(name, e);
    buf_init(&b, FILE_NAME_MAX - 1);
    buf_init(&one, FILE_NAME_MAX);
    while (rest.n > 0 && is_good) {
        slice_cut(rest, '/', &level, &rest);
        buf_reset(&one);
        is_good = level.n > 0 && ++depth <= STORE_DEPTH_MAX && utf7_put(&one, level);
        buf_addc(&b, '.');
        for (size_t i = 0; i < one.n; i++) {
            /* the separator of Maildir++ inside a name */
            if (one.p[i] == '.') buf_add(&b, S("&AC4-"));
            else buf_addc(&b, one.p[i]);
        }
    }
    is_good = is_good && !b.bad;
    if (is_good) {
        memcpy(out, b.p, b.n);
        out[b.n] = '\0';
    }
    buf_release(&b);
    buf_release(&one);
    return is_good ? OK : bad_name(name, e);
}

/* The name of a directory ".Sent.2026", appended to `out`; false when it is none of ours. */
static bool name_of_dir(struct slice dir, struct buf *out) {
    struct buf level;
    bool is_good = dir.n > 1;

    buf_init(&level, FILE_NAME_MAX);
    dir = slice_from(dir, 1);
    while (is_good && dir.n > 0) {
        struct slice one;
        size_t dot;

        is_good = dir.p[dir.n - 1] != '.';
        slice_cut(dir, '.', &one, &dir);
        buf_reset(&level);
        while ((dot = slice_find(one, S("&AC4-"))) != SLICE_NONE) {
            buf_add(&level, slice_first(one, dot));
            buf_addc(&level, '.');
            one = slice_from(one, dot + 5);
        }
        buf_add(&level, one);
        /* what is not modified UTF-7 (another tool's UTF-8) is shown as it is, if it can be */
        is_good = is_good && level.n > 0 && !level.bad;
        if (is_good && !utf7_get(out, buf_slice(&level))) {
            is_good = !out->bad && utf8_valid(buf_slice(&level));
            buf_add(out, buf_slice(&level));
        }
        if (dir.n) buf_addc(out, '/');
    }
    buf_release(&level);
    return is_good && !out->bad;
}

/* --- the account ------------------------------------------------------------------------------ */

/* cur is last: who sees it finds the others. */
static const char *const subdirs[] = {"tmp", "new", "cur"};

/* What root makes belongs to whom the directory around it belongs. */
static void own_below(int dir_fd, const char *name) {
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) return;
    fd_own_like(fd, dir_fd);
    close(fd);
}

enum err_code maildir_make(struct store *s, const char *dir, struct err *e) {
    int fd;
    enum err_code code = OK;

    if (mkdirat(s->root_fd, dir, 0700) != 0 && errno != EEXIST)
        return err_sys(e, "cannot make %s/%s", s->root, dir);
    if (dir[1] != '\0') own_below(s->root_fd, dir);
    code = maildir_open(s, dir, &fd, e);
    for (size_t i = 0; i < COUNT_OF(subdirs) && code == OK; i++)
        if (mkdirat(fd, subdirs[i], 0700) != 0 && errno != EEXIST)
            code = err_sys(e, "cannot make %s/%s/%s", s->root, dir, subdirs[i]);
        else own_below(fd, subdirs[i]);
    if (code == OK && dir[1] != '\0') { /* tells mailers that it is a folder of a Maildir++ */
        int mark = openat(fd, "maildirfolder",
                          O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

        if (mark >= 0) fd_own_like(mark, fd);
        fd_close(&mark);
    }
    if (fd >= 0) fsync(fd);
    fd_close(&fd);
    if (code == OK) fsync(s->root_fd);
    return code;
}

/* A symbolic link is followed to what belongs to its owner, or when root made it: who may write a
 * Maildir does not get at the mail of others, or at /etc, through a server that runs as root. */
static bool may_follow(int dir_fd, const char *name, const struct stat *link) {
    struct stat st;

    return link->st_uid == 0 || fstatat(dir_fd, name, &st, 0) != 0 || st.st_uid == link->st_uid;
}

static enum err_code not_yours(const struct store *s, const char *dir, const char *sub,
                               struct err *e) {
    err_set(e, ERR_DENIED, "%s/%s/%s leads to what is somebody else's", s->root, dir, sub);
    if (e) e->sys = ELOOP;
    return ERR_DENIED;
}

/* What a backup or a copy left out because it was empty is made again. */
static enum err_code complete(const struct store *s, const char *dir, int fd, struct err *e) {
    struct stat st;

    for (size_t i = 0; i < COUNT_OF(subdirs); i++) {
        if (fstatat(fd, subdirs[i], &st, AT_SYMLINK_NOFOLLOW) == 0) {
            if (S_ISLNK(st.st_mode) && !may_follow(fd, subdirs[i], &st))
                return not_yours(s, dir, subdirs[i], e);
        } else if (errno == ENOENT && mkdirat(fd, subdirs[i], 0700) == 0) {
            own_below(fd, subdirs[i]);
        }
    }
    return OK;
}

enum err_code maildir_open(struct store *s, const char *dir, int *fd, struct err *e) {
    struct stat st;
    enum err_code code;

    if (fstatat(s->root_fd, dir, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) &&
        !may_follow(s->root_fd, dir, &st)) {
        *fd = -1;
        return not_yours(s, dir, "", e);
    }
    *fd = openat(s->root_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0) {
        code = complete(s, dir, *fd, e);
        if (code != OK) fd_close(fd);
        return code;
    }
    if (errno == ENOENT) return err_set(e, ERR_NOT_FOUND, "there is no such mailbox");
    return err_sys(e, "cannot open %s/%s", s->root, dir);
}

static void fill_host(struct store *s) {
    char name[256] = "";
    size_t n = 0;

    if (gethostname(name, sizeof name - 1) != 0 || !name[0]) memcpy(name, "localhost", 10);
    for (const char *p = name; *p && n < sizeof s->host - 1; p++)
        s->host[n++] = ascii_is_alnum(*p) || *p == '-' || *p == '.' ? *p : '_';
}

static enum err_code open_root(const char *home, const char *below, struct store **out,
                               struct err *e) {
    struct store *s = calloc(1, sizeof *s);
    enum err_code code = OK;

    *out = NULL;
    if (!s) return err_set(e, ERR_MEMORY, "no memory for an account");
    s->root_fd = -1;
    s->home = strdup(home);
    if (!s->home || asprintf(&s->root, "%s%s", home, below) < 0) {
        s->root = NULL;
        code = err_set(e, ERR_MEMORY, "no memory for an account");
    }
    fill_host(s);
    if (code == OK) {
        struct stat st;

        if (lstat(s->root, &st) == 0 && S_ISLNK(st.st_mode) && !may_follow(AT_FDCWD, s->root, &st))
            code = not_yours(s, "", "", e);
        else s->root_fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (code == OK && s->root_fd < 0 && errno == ENOENT) {
            code = file_mkdirs(s->root, 0700, e);
            if (code == OK) s->root_fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        if (code == OK && s->root_fd < 0) code = err_sys(e, "cannot open %s", s->root);
    }
    if (code == OK && faccessat(s->root_fd, "cur", F_OK, 0) != 0) code = maildir_make(s, ".", e);
    if (code != OK) {
        store_close(s);
        return code;
    }
    *out = s;
    return OK;
}

enum err_code store_open(const char *home, struct store **out, struct err *e) {
    return open_root(home, "/Maildir", out, e);
}

enum err_code store_open_maildir(const char *dir, struct store **out, struct err *e) {
    return open_root(dir, "", out, e);
}

void store_close(struct store *s) {
    if (!s) return;
    fd_close(&s->root_fd);
    free(s->home);
    free(s->root);
    free(s);
}

/* --- subscriptions ---------------------------------------------------------------------------- */

/* Names on disk form without the first dot ("Sent.2026"), "INBOX" as it is; one a line. The second
 * version of Dovecot's file has a head "V\t2" and tabs between levels. */
static enum err_code subscriptions_read(struct store *s, struct buf *out, struct err *e) {
    int fd = openat(s->root_fd, "subscriptions", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct buf raw;
    enum err_code code = OK;

    buf_init(&raw, 64 << 20);
    if (fd >= 0) code = file_read_fd(fd, "subscriptions", &raw, e);
    else if (errno != ENOENT) code = err_sys(e, "cannot read %s/subscriptions", s->root);
    fd_close(&fd);
    if (code == OK) {
        struct slice rest = buf_slice(&raw), line;
        bool is_second = slice_starts(rest, S("V\t2"));

        if (is_second) slice_line(&rest, &line);
        while (slice_line(&rest, &line)) {
            size_t from = out->n;

            if (line.n == 0) continue;
            buf_add(out, line);
            for (size_t i = from; i < out->n && is_second; i++)
                if (out->p[i] == '\t') out->p[i] = '.';
            buf_addc(out, '\n');
        }
        if (out->bad) code = err_set(e, ERR_MEMORY, "no memory for subscriptions");
    }
    buf_release(&raw);
    return code;
}

static bool has_line(struct slice text, struct slice want) {
    struct slice line;

    while (slice_line(&text, &line))
        if (slice_eq(line, want)) return true;
    return false;
}

enum err_code store_subscribe(struct store *s, struct slice name, bool on, struct err *e) {
    char dir[FILE_NAME_MAX], path[5000];
    struct slice want, rest, line;
    struct buf old, now;
    enum err_code code = maildir_name(name, dir, e);
    int lock;

    if (code != OK) return code;
    want = dir[1] ? slice_str(dir + 1) : S("INBOX");
    lock =
        openat(s->root_fd, "postbag-uidvalidity", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock >= 0) fd_own_like(lock, s->root_fd);
    if (lock < 0) return err_sys(e, "cannot open %s/postbag-uidvalidity", s->root);
    buf_init(&old, 64 << 20);
    buf_init(&now, 64 << 20);
    code = lock_wait(lock, SUBSCRIPTIONS_LOCK, true, STORE_LOCK_WAIT_MS,
                     "the list of subscriptions", e);
    if (code == OK) code = subscriptions_read(s, &old, e);
    if (code == OK && has_line(buf_slice(&old), want) != on) {
        for (rest = buf_slice(&old); slice_line(&rest, &line);) {
            if (slice_eq(line, want)) continue;
            buf_add(&now, line);
            buf_addc(&now, '\n');
        }
        if (on) {
            buf_add(&now, want);
            buf_addc(&now, '\n');
        }
        snprintf(path, sizeof path, "%s/subscriptions", s->root);
        if (now.bad) code = err_set(e, ERR_MEMORY, "no memory for subscriptions");
        else code = file_replace(path, buf_slice(&now), 0600, e);
    }
    fd_close(&lock);
    buf_release(&old);
    buf_release(&now);
    return code;
}

/* --- list ------------------------------------------------------------------------------------- */

static bool add_name(struct store_names *l, size_t *cap, struct slice dir, bool is_missing) {
    struct buf b;

    if (l->n == *cap) {
        size_t more = *cap ? *cap * 2 : 16;
        struct store_name *v = realloc(l->v, more * sizeof *v);

        if (!v) return false;
        l->v = v;
        *cap = more;
    }
    buf_init(&b, STORE_NAME_MAX * 4);
    if (dir.n == 1) buf_add(&b, S("INBOX"));
    else if (!name_of_dir(dir, &b)) {
        buf_release(&b);
        return true; /* not ours: passed over */
    }
    l->v[l->n] = (struct store_name){
        .use = store_use(buf_slice(&b)), .is_missing = is_missing, .is_subscribed = is_missing};
    l->v[l->n].name = buf_take(&b, NULL);
    if (!l->v[l->n].name) return false;
    l->n++;
    return true;
}

static int by_name(const void *a, const void *b) {
    const struct store_name *x = a, *y = b;
    bool xi = strcmp(x->name, "INBOX") == 0, yi = strcmp(y->name, "INBOX") == 0;

    if (xi != yi) return xi ? -1 : 1;
    return strcmp(x->name, y->name);
}

#define GIVEN (1u << 31) /* beside a use, while the list is made */

enum err_code store_list(struct store *s, struct store_names *out, struct err *e) {
    struct buf subscribed;
    struct slice rest, line;
    struct dirent *d;
    enum err_code code;
    size_t cap = 0, found, before;
    unsigned given = 0, use;
    int fd;
    DIR *dir;
    bool is_good;

    *out = (struct store_names){NULL, 0};
    fd = openat(s->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        code = err_sys(e, "cannot list %s", s->root);
        fd_close(&fd);
        return code;
    }
    is_good = add_name(out, &cap, S("."), false);
    while (is_good && out->n < STORE_MAILBOXES_MAX && (d = readdir(dir))) {
        struct stat st;

        if (d->d_name[0] != '.' || d->d_name[1] == '.' || !d->d_name[1]) continue;
        if (d->d_type != DT_DIR && (fstatat(fd, d->d_name, &st, 0) != 0 || !S_ISDIR(st.st_mode)))
            continue;
        before = out->n;
        is_good = add_name(out, &cap, slice_str(d->d_name), false);
        if (is_good && out->n > before && (use = annotation_use(fd, d->d_name))) {
            out->v[out->n - 1].use = use | GIVEN;
            given |= use;
        }
    }
    closedir(dir);
    /* A use that was given to a mailbox is no other's by its name alone. */
    for (size_t i = 0; i < out->n; i++)
        out->v[i].use = out->v[i].use & GIVEN ? out->v[i].use ^ GIVEN : out->v[i].use & ~given;
    buf_init(&subscribed, 64 << 20);
    code = is_good ? subscriptions_read(s, &subscribed, e)
                   : err_set(e, ERR_MEMORY, "no memory for a list of mailboxes");
    found = out->n;
    if (code == OK) qsort(out->v, found, sizeof *out->v, by_name);
    for (rest = buf_slice(&subscribed); code == OK && is_good && slice_line(&rest, &line);) {
        struct store_name key, *hit;
        struct buf b;

        buf_init(&b, STORE_NAME_MAX * 4);
        buf_addc(&b, '.');
        if (!slice_eq(line, S("INBOX"))) buf_add(&b, line);
        line = buf_slice(&b);
        if (out->n < STORE_MAILBOXES_MAX) is_good = add_name(out, &cap, line, true);
        buf_release(&b);
        if (!is_good || out->n == found) continue;
        key = out->v[out->n - 1];
        hit = bsearch(&key, out->v, found, sizeof key, by_name);
        if (hit) { /* it is there: take the added one off again */
            hit->is_subscribed = true;
            free(key.name);
            out->n--;
        } else if (out->n > found + 1) {
            /* keep the tail apart: only the head is sorted and searched */
            continue;
        }
    }
    buf_release(&subscribed);
    if (code == OK && !is_good) code = err_set(e, ERR_MEMORY, "no memory for a list of mailboxes");
    if (code != OK) store_names_release(out);
    else qsort(out->v, out->n, sizeof *out->v, by_name);
    return code;
}

void store_names_release(struct store_names *l) {
    for (size_t i = 0; i < l->n; i++) free(l->v[i].name);
    free(l->v);
    *l = (struct store_names){NULL, 0};
}

bool store_has(struct store *s, struct slice name) {
    char dir[FILE_NAME_MAX];
    struct stat st;

    return maildir_name(name, dir, NULL) == OK && fstatat(s->root_fd, dir, &st, 0) == 0 &&
           S_ISDIR(st.st_mode);
}

enum err_code store_path(struct store *s, struct slice name, struct buf *out, struct err *e) {
    char dir[FILE_NAME_MAX];
    enum err_code code = maildir_name(name, dir, e);

    if (code != OK) return code;
    buf_addf(out, dir[1] ? "%s/%s" : "%s", s->root, dir);
    return out->bad ? err_set(e, ERR_LIMIT, "a path is too long") : OK;
}

enum err_code store_create(struct store *s, struct slice name, struct err *e) {
    char dir[FILE_NAME_MAX];
    struct mailbox *m;
    enum err_code code = maildir_name(name, dir, e);

    if (code != OK) return code;
    if (store_has(s, name))
        return err_set(e, ERR_EXISTS, "the mailbox %.*s is there already",
                       SP(slice_first(name, 100)));
    code = maildir_make(s, dir, e);
    if (code != OK) return code;
    /* gives it its UIDVALIDITY now */
    code = mailbox_open(s, name, MAILBOX_READ, &m, e);
    if (code == OK) mailbox_close(m);
    return code;
}

enum err_code store_delete(struct store *s, struct slice name, struct err *e) {
    char dir[FILE_NAME_MAX], away[80];
    uint64_t random;
    struct buf path;
    enum err_code code = maildir_name(name, dir, e);

    if (code != OK) return code;
    if (!dir[1]) return err_set(e, ERR_DENIED, "INBOX cannot be deleted");
    random_bytes(&random, sizeof random);
    snprintf(away, sizeof away, "..postbag-removed-%016llx", (unsigned long long)random);
    /* First out of sight in one step; the slow part comes after. */
    if (renameat(s->root_fd, dir, s->root_fd, away) != 0) {
        if (errno == ENOENT) return err_set(e, ERR_NOT_FOUND, "there is no such mailbox");
        return err_sys(e, "cannot remove %s/%s", s->root, dir);
    }
    fsync(s->root_fd);
    quota_forget(s);
    buf_init(&path, 8192);
    buf_addf(&path, "%s/%s", s->root, away);
    code = buf_cstr(&path) ? file_remove_tree(buf_cstr(&path), e)
                           : err_set(e, ERR_MEMORY, "no memory for a path");
    buf_release(&path);
    return code;
}

static enum err_code rename_inbox(struct store *s, struct slice to, struct err *e) {
    struct mailbox *m;
    const struct imap_msg *v;
    uint32_t *uids, validity;
    size_t n, done;
    enum err_code code = store_create(s, to, e);

    if (code == OK) code = mailbox_open(s, S("INBOX"), MAILBOX_WRITE, &m, e);
    if (code != OK) return code;
    v = mailbox_messages(m, &n);
    uids = malloc((3 * n + 1) * sizeof *uids);
    if (!uids) code = err_set(e, ERR_MEMORY, "no memory for a list of messages");
    else {
        for (size_t i = 0; i < n; i++) uids[i] = v[i].uid;
        code = mailbox_copy(m, uids, n, s, to, UINT64_MAX, true, &validity, uids + n, uids + 2 * n,
                            &done, e);
    }
    free(uids);
    mailbox_close(m);
    return code;
}

enum err_code store_rename(struct store *s, struct slice from, struct slice to, struct err *e) {
    char old[FILE_NAME_MAX], now[FILE_NAME_MAX], below[FILE_NAME_MAX];
    struct store_names all;
    enum err_code code = maildir_name(from, old, e);

    if (code == OK) code = maildir_name(to, now, e);
    if (code != OK) return code;
    if (!now[1] || store_has(s, to))
        return err_set(e, ERR_EXISTS, "the mailbox %.*s is there already",
                       SP(slice_first(to, 100)));
    if (!old[1]) return rename_inbox(s, to, e);
    if (to.n > from.n && slice_starts(to, from) && to.p[from.n] == '/')
        return err_set(e, ERR_SYNTAX, "a mailbox cannot move below itself");
    code = store_list(s, &all, e);
    if (code != OK) return code;
    if (!store_has(s, from)) code = err_set(e, ERR_NOT_FOUND, "there is no such mailbox");
    else if (renameat2(s->root_fd, old, s->root_fd, now, RENAME_NOREPLACE) != 0)
        code = err_sys(e, "cannot rename %s/%s", s->root, old);
    for (size_t i = 0; i < all.n && code == OK; i++) {
        struct slice name = slice_str(all.v[i].name);
        struct buf b;

        if (all.v[i].is_missing || name.n <= from.n + 1 || !slice_starts(name, from) ||
            name.p[from.n] != '/')
            continue;
        buf_init(&b, STORE_NAME_MAX * 2);
        buf_add(&b, to);
        buf_add(&b, slice_from(name, from.n));
        code = maildir_name(name, old, e);
        if (code == OK) code = maildir_name(buf_slice(&b), below, e);
        if (code == OK && renameat2(s->root_fd, old, s->root_fd, below, RENAME_NOREPLACE) != 0)
            code = err_sys(e, "cannot rename %s/%s", s->root, old);
        buf_release(&b);
    }
    store_names_release(&all);
    fsync(s->root_fd);
    return code;
}

enum err_code store_create_defaults(struct store *s, struct err *e) {
    for (size_t i = 0; i < COUNT_OF(uses); i++) {
        enum err_code code =
            store_has(s, uses[i].name) ? ERR_EXISTS : store_create(s, uses[i].name, e);

        if (code == OK) code = store_subscribe(s, uses[i].name, true, e);
        if (code != OK && code != ERR_EXISTS) return code;
    }
    return OK;
}

static bool is_bare(struct store *s, size_t *n) {
    struct store_names l;

    *n = 0;
    if (store_list(s, &l, NULL) != OK) return false;
    *n = l.n;
    store_names_release(&l);
    return *n <= 1;
}

enum err_code store_begin(struct store *s, struct err *e) {
    enum err_code code;
    size_t n;
    int lock;

    if (!is_bare(s, &n) && n > COUNT_OF(uses)) return OK;
    lock =
        openat(s->root_fd, "postbag-uidvalidity", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) return err_sys(e, "cannot open %s/postbag-uidvalidity", s->root);
    fd_own_like(lock, s->root_fd);
    /* Some are missing: because they were deleted, or because another session is making them. */
    code = lock_wait(lock, DEFAULTS_LOCK, true, STORE_LOCK_WAIT_MS, "the account", e);
    if (code == OK && is_bare(s, &n)) code = store_create_defaults(s, e);
    fd_close(&lock);
    return code;
}

enum err_code store_lock_maildrop(struct store *s, int *fd, struct err *e) {
    enum err_code code;

    *fd = openat(s->root_fd, "postbag-pop3.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0) return err_sys(e, "cannot open %s/postbag-pop3.lock", s->root);
    code = lock_try(*fd, 0, true, "the maildrop", e);
    if (code != OK) fd_close(fd);
    return code;
}

/* The next UIDVALIDITY, above all before and at least `least`. */
static enum err_code next_validity(struct store *s, uint64_t least, uint32_t *out, struct err *e) {
    char text[32];
    int fd =
        openat(s->root_fd, "postbag-uidvalidity", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    uint64_t last = 0, next = least;
    enum err_code code;
    ssize_t n;

    if (fd < 0) return err_sys(e, "cannot open %s/postbag-uidvalidity", s->root);
    code = lock_wait(fd, VALIDITY_LOCK, true, STORE_LOCK_WAIT_MS, "postbag-uidvalidity", e);
    if (code == OK) {
        n = pread(fd, text, sizeof text, 0);
        if (n > 0) num_parse(slice_trim(slice_of(text, (size_t)n)), UINT32_MAX, &last);
        if (next <= last) next = last + 1;
        if (next > UINT32_MAX) code = err_set(e, ERR_LIMIT, "no UIDVALIDITY is left");
    }
    if (code == OK) {
        n = snprintf(text, sizeof text, "%010llu\n", (unsigned long long)next);
        code = file_write_at(fd, slice_of(text, (size_t)n), 0, "postbag-uidvalidity", e);
        if (code == OK) code = file_sync(fd, "postbag-uidvalidity", e);
    }
    fd_close(&fd);
    *out = (uint32_t)next;
    return code;
}

enum err_code maildir_new_validity(struct store *s, uint32_t *out, struct err *e) {
    return next_validity(s, (uint64_t)clock_wall(), out, e);
}

enum err_code maildir_note_validity(struct store *s, uint32_t validity) {
    return next_validity(s, validity, &(uint32_t){0}, NULL);
}

/* --- file names ------------------------------------------------------------------------------- */

static const struct {
    char letter;
    uint64_t flag;
} letters[] = {
    {'D', STORE_DRAFT},    {'F', STORE_FLAGGED}, {'P', STORE_PASSED},
    {'R', STORE_ANSWERED}, {'S', STORE_SEEN},    {'T', STORE_DELETED},
};

void maildir_letters(uint64_t flags, char out[48]) {
    size_t n = 0;

    for (size_t i = 0; i < COUNT_OF(letters); i++)
        if (flags & letters[i].flag) out[n++] = letters[i].letter;
    for (int k = 0; k < STORE_KEYWORDS_MAX; k++)
        if (flags >> (STORE_KEYWORD_FIRST + k) & 1) out[n++] = (char)('a' + k);
    out[n] = '\0';
}

size_t maildir_base(const char *name) {
    const char *info = strchrnul(name, ':');

    while (*info && (info[1] != '2' || info[2] != ',')) info = strchrnul(info + 1, ':');
    return (size_t)(info - name);
}

uint64_t maildir_flags(const char *name) {
    uint64_t flags = 0;

    name += maildir_base(name);
    if (*name) name += 3;
    for (; *name; name++) {
        if (*name >= 'a' && *name <= 'z')
            flags |= (uint64_t)1 << (STORE_KEYWORD_FIRST + *name - 'a');
        for (size_t i = 0; i < COUNT_OF(letters); i++)
            if (*name == letters[i].letter) flags |= letters[i].flag;
    }
    return flags;
}

uint64_t maildir_number(const char *name, char letter) {
    char mark[4] = {',', letter, '=', '\0'};
    struct slice s = slice_first(slice_str(name), maildir_base(name));
    size_t at = slice_find(s, slice_str(mark));
    uint64_t v;

    if (at == SLICE_NONE) return STORE_SIZE_UNKNOWN;
    s = slice_from(s, at + 3);
    return num_take(&s, (uint64_t)1 << 50, &v) ? v : STORE_SIZE_UNKNOWN;
}
