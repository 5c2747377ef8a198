#include "store/annotation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/num.h"
#include "store/maildir.h"
#include "sys/file.h"
#include "sys/lock.h"

enum { ANNOTATION_LOCK = 7 }; /* offset in postbag-lock */

static const struct slice use_name = S_INIT("/private/specialuse");

static const char *file_of(struct slice mailbox) {
    return mailbox.n ? "postbag-annotations" : "postbag-annotations-account";
}

static bool is_name(struct slice name) {
    if (name.n > ANNOTATION_NAME_MAX || name.p[name.n - 1] == '/') return false;
    if (!slice_istarts(name, S("/private/")) && !slice_istarts(name, S("/shared/"))) return false;
    for (size_t i = 0; i < name.n; i++)
        if (!ascii_is_graph(name.p[i]) || name.p[i] == '*' || name.p[i] == '%' ||
            (i > 0 && name.p[i] == '/' && name.p[i - 1] == '/'))
            return false;
    return true;
}

/* --- the file --------------------------------------------------------------------------------- */

static bool take(struct slice *text, struct annotation *a) {
    struct slice line, number;
    uint64_t n;

    if (!slice_line(text, &line)) return false;
    if (!slice_cut(line, ' ', &a->name, &number) || !num_take(&number, ANNOTATION_VALUE_MAX, &n) ||
        n >= text->n)
        return false;
    a->value = slice_first(*text, (size_t)n);
    *text = slice_from(*text, (size_t)n + 1);
    return true;
}

static enum err_code parse(struct annotations *out, struct err *e) {
    struct slice text = buf_slice(&out->text);
    struct annotation a;

    out->v = calloc(ANNOTATIONS_MAX, sizeof *out->v);
    if (!out->v) return err_set(e, ERR_MEMORY, "no memory for annotations");
    while (out->n < ANNOTATIONS_MAX && take(&text, &a)) out->v[out->n++] = a;
    return OK;
}

static enum err_code load(int fd, const char *name, struct annotations *out, struct err *e) {
    int file = openat(fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    enum err_code code = OK;

    *out = (struct annotations){0};
    buf_init(&out->text, ANNOTATIONS_BYTES_MAX);
    if (file < 0) return errno == ENOENT ? OK : err_sys(e, "cannot read %s", name);
    code = file_read_fd(file, name, &out->text, e);
    fd_close(&file);
    if (code == OK) code = parse(out, e);
    return code;
}

enum err_code annotations_read(struct store *s, struct slice mailbox, struct annotations *out,
                               struct err *e) {
    char dir[FILE_NAME_MAX];
    int fd = -1;
    enum err_code code = maildir_name(mailbox.n ? mailbox : S("INBOX"), dir, e);

    *out = (struct annotations){0};
    if (code == OK) code = maildir_open(s, dir, &fd, e);
    if (code == OK) code = load(fd, file_of(mailbox), out, e);
    fd_close(&fd);
    if (code != OK) annotations_release(out);
    return code;
}

void annotations_release(struct annotations *a) {
    free(a->v);
    buf_release(&a->text);
    *a = (struct annotations){0};
}

/* --- change ----------------------------------------------------------------------------------- */

static void put(struct buf *b, const struct annotation *a) {
    for (size_t i = 0; i < a->name.n; i++) buf_addc(b, ascii_lower(a->name.p[i]));
    buf_addf(b, " %zu\n", a->value.n);
    buf_add(b, a->value);
    buf_addc(b, '\n');
}

static bool is_among(const struct annotation *v, size_t n, struct slice name) {
    for (size_t i = 0; i < n; i++)
        if (slice_ieq(v[i].name, name)) return true;
    return false;
}

static int by_name(const void *a, const void *b) {
    const struct annotation *x = a, *y = b;

    return slice_icmp(x->name, y->name);
}

/* What the file will be: the old ones and the new ones in the order of their names. */
static enum err_code merge(const struct annotations *old, const struct annotation *v, size_t n,
                           struct buf *out, struct err *e) {
    struct annotation *all;
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        if (!v[i].name.n || !is_name(v[i].name))
            return err_set(e, ERR_SYNTAX, "\"%.*s\" cannot be the name of an annotation",
                           SP(slice_first(v[i].name, 60)));
        if (v[i].value.n > ANNOTATION_VALUE_MAX)
            return err_set(e, ERR_LIMIT, "an annotation may have %d octets", ANNOTATION_VALUE_MAX);
    }
    all = calloc(old->n + n, sizeof(struct annotation));
    if (!all) return err_set(e, ERR_MEMORY, "no memory for annotations");
    for (size_t i = 0; i < old->n; i++)
        if (!is_among(v, n, old->v[i].name)) all[count++] = old->v[i];
    /* Of one name given twice the last counts. */
    for (size_t k = 0; k < n; k++)
        if (v[k].value.p && !is_among(v + k + 1, n - k - 1, v[k].name)) all[count++] = v[k];
    qsort(all, count, sizeof *all, by_name);
    for (size_t i = 0; i < count; i++) put(out, &all[i]);
    free(all);
    if (out->bad || count > ANNOTATIONS_MAX)
        return err_set(e, ERR_LIMIT, "too many annotations, or too much in them");
    return OK;
}

enum err_code annotations_change(struct store *s, struct slice mailbox, const struct annotation *v,
                                 size_t n, struct err *e) {
    char dir[FILE_NAME_MAX], path[5000 + FILE_NAME_MAX];
    struct annotations old = {0};
    struct buf out;
    int fd = -1, lock = -1;
    enum err_code code = maildir_name(mailbox.n ? mailbox : S("INBOX"), dir, e);

    buf_init(&out, ANNOTATIONS_BYTES_MAX);
    if (code == OK) code = maildir_open(s, dir, &fd, e);
    if (code == OK) {
        lock = openat(fd, "postbag-lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (lock < 0) code = err_sys(e, "cannot open postbag-lock");
        else fd_own_like(lock, fd);
    }
    if (code == OK)
        code = lock_wait(lock, ANNOTATION_LOCK, true, STORE_LOCK_WAIT_MS, "the annotations", e);
    if (code == OK) code = load(fd, file_of(mailbox), &old, e);
    if (code == OK) code = merge(&old, v, n, &out, e);
    if (code == OK && (size_t)snprintf(path, sizeof path, "%s/%s/%s", s->root, dir,
                                       file_of(mailbox)) >= sizeof path)
        code = err_set(e, ERR_LIMIT, "a path is too long");
    if (code == OK && (out.n || old.text.n)) code = file_replace(path, buf_slice(&out), 0600, e);
    fd_close(&lock);
    fd_close(&fd);
    annotations_release(&old);
    buf_release(&out);
    return code;
}

/* --- what a mailbox is for -------------------------------------------------------------------- */

static const struct {
    unsigned use;
    struct slice word;
} uses[] = {
    {STORE_USE_ARCHIVE, S_INIT("\\Archive")}, {STORE_USE_DRAFTS, S_INIT("\\Drafts")},
    {STORE_USE_JUNK, S_INIT("\\Junk")},       {STORE_USE_SENT, S_INIT("\\Sent")},
    {STORE_USE_TRASH, S_INIT("\\Trash")},
};

unsigned annotation_use(int dir_fd, const char *dir) {
    char name[FILE_NAME_MAX + 32];
    struct annotations a;
    unsigned use = 0;

    snprintf(name, sizeof name, "%s/postbag-annotations", dir);
    if (faccessat(dir_fd, name, F_OK, 0) != 0) return 0;
    if (load(dir_fd, name, &a, NULL) == OK) {
        for (size_t i = 0; i < a.n; i++) {
            struct slice rest = a.v[i].value, word;

            if (!slice_eq(a.v[i].name, use_name)) continue;
            while (slice_word(&rest, &word))
                for (size_t k = 0; k < COUNT_OF(uses); k++)
                    if (slice_ieq(word, uses[k].word)) use |= uses[k].use;
        }
    }
    annotations_release(&a);
    return use;
}

enum err_code store_set_use(struct store *s, struct slice name, unsigned use, struct err *e) {
    struct annotation a = {.name = use_name};
    struct buf words;
    enum err_code code;

    buf_init(&words, 200);
    for (size_t k = 0; k < COUNT_OF(uses); k++)
        if (use & uses[k].use) buf_addf(&words, words.n ? " %.*s" : "%.*s", SP(uses[k].word));
    if (words.n) a.value = buf_slice(&words);
    code = annotations_change(s, name, &a, 1, e);
    buf_release(&words);
    return code;
}
