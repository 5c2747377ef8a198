#include "auth/accounts.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/password.h"
#include "base/ascii.h"
#include "base/num.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

struct line {
    struct slice name; /* canonical, in the arena */
    struct slice password, home;
    struct slice extra; /* the eighth field: words "key=value" */
    size_t number;      /* order in the file */
};

struct accounts {
    const struct conf *conf;
    pthread_mutex_t lock; /* guards all below */
    struct arena arena;
    struct line *lines; /* sorted by name */
    size_t count;
    bool has_keys;               /* all of them */
    uint8_t secret[SHA256_SIZE]; /* for salts of names that are no account */
    struct timespec changed;
    off_t size;
    ino_t inode;
    bool is_loaded;
};

enum err_code accounts_new(const struct conf *c, struct accounts **out, struct err *e) {
    struct accounts *a = calloc(1, sizeof *a);

    if (!a) return err_set(e, ERR_MEMORY, "no memory for accounts");
    a->conf = c;
    random_bytes(a->secret, sizeof a->secret);
    pthread_mutex_init(&a->lock, NULL);
    arena_init(&a->arena, 4 * (size_t)ACCOUNTS_FILE_MAX);
    *out = a;
    return OK;
}

void accounts_free(struct accounts *a) {
    if (!a) return;
    pthread_mutex_destroy(&a->lock);
    arena_release(&a->arena);
    explicit_bzero(a->secret, sizeof a->secret);
    free(a);
}

enum err_code accounts_name(const struct accounts *a, struct slice name,
                            char out[ACCOUNT_NAME_MAX + 1], struct err *e) {
    const char *domain = a->conf->domain.v[0];
    bool has_domain = slice_chr(name, '@') != SLICE_NONE;
    int n = has_domain ? snprintf(out, ACCOUNT_NAME_MAX + 1, "%.*s", SP(name))
                       : snprintf(out, ACCOUNT_NAME_MAX + 1, "%.*s@%s", SP(name), domain);
    struct slice local, rest;

    slice_cut(name, '@', &local, &rest);
    /* The name becomes a path: nothing that could leave the mail directory, no separator of the
     * file. */
    for (size_t i = 0; i < name.n; i++)
        if (ascii_is_ctl(name.p[i]) || name.p[i] == '/' || name.p[i] == ':' || name.p[i] == ' ')
            return err_mail(e, ERR_SYNTAX, STATUS(5, 1, 3),
                            "\"%.*s\" cannot be the name of an account", SP(name));
    if (local.n == 0 || local.p[0] == '.' || (has_domain && (rest.n == 0 || rest.p[0] == '.')) ||
        n < 0 || n > ACCOUNT_NAME_MAX || slice_chr(rest, '@') != SLICE_NONE)
        return err_mail(e, ERR_SYNTAX, STATUS(5, 1, 3), "\"%.*s\" cannot be the name of an account",
                        SP(name));
    for (char *p = out; *p; p++) *p = ascii_lower(*p);
    return OK;
}

static int by_name(const void *x, const void *y) {
    const struct line *a = x, *b = y;
    int d = slice_cmp(a->name, b->name);

    return d ? d : a->number < b->number ? -1 : a->number > b->number;
}

static enum err_code parse(struct accounts *a, struct slice text, struct err *e) {
    struct slice rest = text, line;
    size_t count = 0, number = 0;

    while (slice_line(&rest, &line)) count++;
    a->lines = arena_new(&a->arena, count * sizeof *a->lines);
    a->count = 0;
    a->has_keys = true;
    if (!a->lines) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for accounts");
    while (slice_line(&text, &line)) {
        struct slice field[8] = {{0}};
        struct line *l = &a->lines[a->count];
        char name[ACCOUNT_NAME_MAX + 1];
        size_t n = 0;

        number++;
        line = slice_trim(line);
        if (line.n == 0 || line.p[0] == '#') continue;
        while (n < 7 && slice_cut(line, ':', &field[n], &line)) n++;
        if (n == 7) field[7] = line;
        if (accounts_name(a, field[0], name, e) != OK) {
            err_note(e, "%s:%zu", a->conf->accounts, number);
            if (e) e->code = ERR_CONFIG, e->status = STATUS(4, 3, 5);
            return ERR_CONFIG;
        }
        l->name = arena_copy(&a->arena, slice_str(name));
        l->password = arena_copy(&a->arena, field[1]);
        l->home = arena_copy(&a->arena, field[5]);
        l->extra = arena_copy(&a->arena, field[7]);
        l->number = number;
        a->has_keys = a->has_keys && password_has_keys(l->password);
        a->count++;
    }
    if (a->arena.bad) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for accounts");
    qsort(a->lines, a->count, sizeof *a->lines, by_name);
    return OK;
}

/* Read the file if it is not what was read last. With `lock` held. */
static enum err_code load(struct accounts *a, struct err *e) {
    struct stat st;
    struct buf text;
    enum err_code code;

    if (stat(a->conf->accounts, &st) < 0) {
        if (errno != ENOENT) return err_sys(e, "cannot read %s", a->conf->accounts);
        arena_reset(&a->arena);
        a->count = 0;
        a->is_loaded = false;
        return OK;
    }
    if (a->is_loaded && st.st_size == a->size && st.st_ino == a->inode &&
        st.st_mtim.tv_sec == a->changed.tv_sec && st.st_mtim.tv_nsec == a->changed.tv_nsec)
        return OK;
    buf_init(&text, ACCOUNTS_FILE_MAX);
    code = file_read(a->conf->accounts, &text, e);
    if (code == OK) {
        arena_reset(&a->arena);
        a->is_loaded = false;
        code = parse(a, buf_slice(&text), e);
        if (code != OK) a->count = 0;
    }
    if (code == OK) {
        a->is_loaded = true;
        a->size = st.st_size;
        a->inode = st.st_ino;
        a->changed = st.st_mtim;
    }
    if (code != OK && e && e->status.cls == 0) e->status = STATUS(4, 3, 0);
    if (text.p) explicit_bzero(text.p, text.n);
    buf_release(&text);
    return code;
}

/* "quota_rule=*:storage=1G:messages=1000", as Dovecot's passwd-files have it, with or without
 * "userdb_" ahead and a number behind. Other words are other programs'. */
static void take_rules(struct slice extra, struct account *out) {
    struct slice word, key, value, rule;

    while (slice_word(&extra, &word)) {
        if (!slice_cut(word, '=', &key, &value)) continue;
        if (slice_starts(key, S("userdb_"))) key = slice_from(key, 7);
        if (!slice_starts(key, S("quota_rule")) || !slice_starts(value, S("*:"))) continue;
        value = slice_from(value, 2);
        while (value.n) {
            struct slice name, amount;

            slice_cut(value, ':', &rule, &value);
            if (!slice_cut(rule, '=', &name, &amount)) continue;
            if (slice_eq(name, S("messages"))) num_parse(amount, INT64_MAX, &out->quota_messages);
            else if (slice_eq(name, S("storage")) || slice_eq(name, S("bytes")))
                num_size(amount, INT64_MAX, &out->quota_octets);
        }
    }
}

static enum err_code fill(struct accounts *a, const struct line *l, struct account *out,
                          struct err *e) {
    struct slice local, domain;
    int n;

    *out = (struct account){0};
    snprintf(out->name, sizeof out->name, "%.*s", SP(l->name));
    if (l->password.n >= sizeof out->password)
        return err_set(e, ERR_CONFIG, "%s: the password of %s is too long", a->conf->accounts,
                       out->name);
    snprintf(out->password, sizeof out->password, "%.*s", SP(l->password));
    out->quota_octets = a->conf->quota;
    out->quota_messages = a->conf->quota_messages;
    snprintf(out->extra, sizeof out->extra, "%.*s", SP(l->extra));
    take_rules(l->extra, out);
    slice_cut(l->name, '@', &local, &domain);
    if (l->home.n > 0) n = snprintf(out->home, sizeof out->home, "%.*s", SP(l->home));
    else
        n = snprintf(out->home, sizeof out->home, "%s/mail/%.*s/%.*s", a->conf->data, SP(domain),
                     SP(local));
    if (n < 0 || (size_t)n >= sizeof out->home)
        return err_set(e, ERR_LIMIT, "the home of %s is too long", out->name);
    return OK;
}

static const struct line *find(const struct accounts *a, struct slice name) {
    size_t low = 0, high = a->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (slice_cmp(a->lines[mid].name, name) < 0) low = mid + 1;
        else high = mid;
    }
    return low < a->count && slice_eq(a->lines[low].name, name) ? &a->lines[low] : NULL;
}

enum err_code accounts_find(struct accounts *a, struct slice name, struct account *out,
                            struct err *e) {
    char canonical[ACCOUNT_NAME_MAX + 1];
    const struct line *l;
    enum err_code code = accounts_name(a, name, canonical, NULL);

    if (code != OK) return err_mail(e, ERR_NOT_FOUND, STATUS(5, 1, 1), "no account %.*s", SP(name));
    pthread_mutex_lock(&a->lock);
    code = load(a, e);
    if (code == OK) {
        l = find(a, slice_str(canonical));
        if (l) code = fill(a, l, out, e);
        else code = err_mail(e, ERR_NOT_FOUND, STATUS(5, 1, 1), "no account %s", canonical);
    }
    pthread_mutex_unlock(&a->lock);
    return code;
}

enum err_code accounts_first(struct accounts *a, struct slice domain, struct account *out,
                             struct err *e) {
    const struct line *first = NULL;
    enum err_code code;

    pthread_mutex_lock(&a->lock);
    code = load(a, e);
    for (size_t i = 0; code == OK && i < a->count; i++) {
        struct slice local, of;

        slice_cut(a->lines[i].name, '@', &local, &of);
        if (slice_ieq(of, domain) && (!first || a->lines[i].number < first->number))
            first = &a->lines[i];
    }
    if (code == OK) {
        if (first) code = fill(a, first, out, e);
        else code = err_mail(e, ERR_NOT_FOUND, STATUS(5, 1, 1), "no account in %.*s", SP(domain));
    }
    pthread_mutex_unlock(&a->lock);
    return code;
}

enum err_code accounts_login(struct accounts *a, struct slice name, struct slice password,
                             struct account *out, struct err *e) {
    struct err why = {0};
    enum err_code code = accounts_find(a, name, out, &why);

    if (code == OK) {
        code = password_check(slice_str(out->password), password, &why);
        if (code == ERR_DENIED && password_is_cheap(slice_str(out->password)))
            password_waste(password);
    } else if (code == ERR_NOT_FOUND) {
        password_waste(password);
    }
    if (code == ERR_NOT_FOUND || code == ERR_DENIED || code == ERR_UNSUPPORTED)
        return err_mail(e, ERR_DENIED, STATUS(5, 7, 8), "wrong user name or password");
    if (code != OK && e) *e = why;
    return code;
}

bool accounts_have_keys(struct accounts *a) {
    bool yes;

    pthread_mutex_lock(&a->lock);
    yes = load(a, NULL) == OK && a->count > 0 && a->has_keys;
    pthread_mutex_unlock(&a->lock);
    return yes;
}

bool accounts_keys(struct accounts *a, struct slice name, struct scram_keys *out) {
    struct scram_keys made = {.iterations = SCRAM_ITERATIONS, .salt_n = SCRAM_SALT};
    char canonical[ACCOUNT_NAME_MAX + 1] = "";
    uint8_t salt[SHA256_SIZE] = {0};
    struct account account = {.password = ""};
    struct slice stored = S("");
    bool known = accounts_name(a, name, canonical, NULL) == OK &&
                 accounts_find(a, slice_str(canonical), &account, NULL) == OK;

    /* The salt of {PLAIN}, and of nobody. */
    hash_hmac(slice_of((char *)a->secret, sizeof a->secret), slice_str(canonical), salt);
    memcpy(made.salt, salt, made.salt_n);
    *out = made;
    if (known) stored = slice_str(account.password);
    if (!known || !password_keys(stored, out)) {
        *out = made;
        known = false;
    }
    /* As long as it takes for {PLAIN}, whoever it is. */
    if (!known || slice_istarts(stored, S("{SCRAM"))) scram_derive(S("waste"), &made);
    explicit_bzero(account.password, sizeof account.password);
    explicit_bzero(&made, sizeof made);
    return known;
}

enum err_code accounts_walk(struct accounts *a, void (*visit)(const struct account *, void *),
                            void *user, struct err *e) {
    enum err_code code;

    pthread_mutex_lock(&a->lock);
    code = load(a, e);
    for (size_t i = 0; code == OK && i < a->count; i++) {
        struct account out;

        code = fill(a, &a->lines[i], &out, e);
        if (code == OK && visit) visit(&out, user);
    }
    pthread_mutex_unlock(&a->lock);
    return code;
}

/* Copy `text` to `out` with the line of `name` replaced by `put` (empty: removed), or added. */
static bool edit(const struct accounts *a, struct slice text, const char *name, struct slice put,
                 struct buf *out) {
    struct slice line;
    bool found = false;

    while (slice_line(&text, &line)) {
        struct slice first, rest;
        char canonical[ACCOUNT_NAME_MAX + 1];

        slice_cut(line, ':', &first, &rest);
        if (line.n > 0 && line.p[0] != '#' &&
            accounts_name(a, slice_trim(first), canonical, NULL) == OK &&
            strcmp(canonical, name) == 0) {
            if (!found) buf_add(out, put);
            found = true;
            continue;
        }
        buf_add(out, line);
        buf_addc(out, '\n');
    }
    if (!found) buf_add(out, put);
    return found;
}

static enum err_code change(struct accounts *a, const char *name, struct slice put, bool must_exist,
                            struct err *e) {
    char lock_path[4096], dir[4096];
    struct buf text, out;
    enum err_code code;
    bool found;
    int fd;

    snprintf(lock_path, sizeof lock_path, "%s.lock", a->conf->accounts);
    fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return err_sys(e, "cannot open %s", lock_path);
    snprintf(dir, sizeof dir, "%s", a->conf->accounts);
    if (strrchr(dir, '/')) {
        *strrchr(dir, '/') = 0;
        fd_own_like_path(fd, *dir ? dir : "/");
    }
    buf_init(&text, ACCOUNTS_FILE_MAX);
    buf_init(&out, ACCOUNTS_FILE_MAX);
    code = lock_wait(fd, 0, true, 5000, lock_path, e);
    if (code == OK && access(a->conf->accounts, F_OK) == 0)
        code = file_read(a->conf->accounts, &text, e);
    if (code == OK) {
        found = edit(a, buf_slice(&text), name, put, &out);
        if (!found && must_exist)
            code = err_mail(e, ERR_NOT_FOUND, STATUS(5, 1, 1), "no account %s", name);
        else if (out.bad) code = err_set(e, ERR_LIMIT, "%s would be too large", a->conf->accounts);
        else code = file_replace(a->conf->accounts, buf_slice(&out), 0600, e);
    }
    if (text.p) explicit_bzero(text.p, text.n);
    if (out.p) explicit_bzero(out.p, out.n);
    buf_release(&text);
    buf_release(&out);
    close(fd);
    return code;
}

enum err_code accounts_put(struct accounts *a, struct slice name, const char *stored,
                           const char *home, struct err *e) {
    char canonical[ACCOUNT_NAME_MAX + 1], line[8192], kept[4096] = "";
    struct account was = {0};
    enum err_code code = accounts_name(a, name, canonical, e);
    int n;

    if (code != OK) return code;
    if (home && strpbrk(home, ":\n"))
        return err_set(e, ERR_SYNTAX, "a home directory cannot have : or a line break");
    if (accounts_find(a, name, &was, NULL) == OK && !home) {
        /* A home that was written stays; the derived one is not written. */
        char derived[4096];
        const char *at = strchr(was.name, '@');

        snprintf(derived, sizeof derived, "%s/mail/%s/%.*s", a->conf->data, at + 1,
                 (int)(at - was.name), was.name);
        if (strcmp(derived, was.home) != 0) snprintf(kept, sizeof kept, "%s", was.home);
        home = kept;
    }
    n = snprintf(line, sizeof line,
                 (home && *home) || was.extra[0] ? "%s:%s::::%s::%s\n" : "%s:%s\n", canonical,
                 stored, home ? home : "", was.extra);
    if (n < 0 || (size_t)n >= sizeof line)
        return err_set(e, ERR_LIMIT, "the account line is too long");
    code = change(a, canonical, slice_str(line), false, e);
    explicit_bzero(line, sizeof line);
    return code;
}

enum err_code accounts_remove(struct accounts *a, struct slice name, struct err *e) {
    char canonical[ACCOUNT_NAME_MAX + 1];
    enum err_code code = accounts_name(a, name, canonical, e);

    return code != OK ? code : change(a, canonical, S(""), true, e);
}
