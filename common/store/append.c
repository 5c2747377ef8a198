#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/maildir.h"
#include "store/quota.h"
#include "sys/clock.h"
#include "sys/file.h"

/* One message in tmp/. */
struct piece {
    struct writer w;
    uint64_t flags;
    wall_t date;
    char path[FILE_NAME_MAX + 64]; /* its place below new/ or cur/ once it is there */
};

struct store_append {
    struct mailbox *t;
    bool is_borrowed; /* `t` is the handle of who appends */
    struct piece *v;  /* the last is being written */
    size_t n, cap;
    enum err_code code; /* of the first thing that failed */
    struct err err;
};

static enum err_code add_piece(struct store_append *a, uint64_t flags, const struct slice *keywords,
                               size_t n_keywords, wall_t date, struct err *e) {
    struct piece *p;
    enum err_code code;

    if (a->n == STORE_APPEND_MAX)
        return err_set(e, ERR_LIMIT, "at most %d messages at once", STORE_APPEND_MAX);
    if (a->n == a->cap) {
        size_t cap = a->cap ? 2 * a->cap : 1;
        struct piece *v = realloc(a->v, cap * sizeof *v);

        if (!v) return err_set(e, ERR_MEMORY, "no memory for a message");
        a->v = v;
        a->cap = cap;
    }
    p = &a->v[a->n];
    *p = (struct piece){.date = date ? date : clock_wall(),
                        .flags = flags & (STORE_SEEN | STORE_ANSWERED | STORE_FLAGGED |
                                          STORE_DELETED | STORE_DRAFT)};
    for (size_t k = 0; k < n_keywords; k++) {
        uint64_t bit;

        code = mailbox_keyword_make(a->t, keywords[k], true, &bit, e);
        if (code != OK) return code;
        p->flags |= bit;
    }
    code = writer_open(&p->w, a->t->fd, a->t->store, e);
    if (code == OK) a->n++;
    return code;
}

enum err_code store_append_begin(struct store *s, struct slice mailbox, uint64_t flags,
                                 const struct slice *keywords, size_t n_keywords, wall_t date,
                                 struct mailbox *open, struct store_append **out, struct err *e) {
    struct store_append *a = calloc(1, sizeof *a);
    enum err_code code = OK;

    *out = NULL;
    if (!a) return err_set(e, ERR_MEMORY, "no memory for a message");
    a->is_borrowed = open && open->mode == MAILBOX_WRITE;
    if (a->is_borrowed) a->t = open;
    else code = mailbox_open(s, mailbox, MAILBOX_READ, &a->t, e);
    /* Who is full is told before he sends it. */
    if (code == OK) code = quota_check(s, 1, 1, e);
    if (code == OK) code = add_piece(a, flags, keywords, n_keywords, date, e);
    if (code != OK) {
        store_append_abort(a);
        return code;
    }
    *out = a;
    return OK;
}

enum err_code store_append_data(struct store_append *a, struct slice bytes, struct err *e) {
    if (a->code == OK) a->code = writer_add(&a->v[a->n - 1].w, bytes, &a->err);
    if (a->code != OK && e) *e = a->err;
    return a->code;
}

/* The message that is being written is whole. */
static void end_piece(struct store_append *a) {
    struct piece *p = &a->v[a->n - 1];

    if (a->code == OK) a->code = writer_end(&p->w, p->date, &a->err);
}

enum err_code store_append_next(struct store_append *a, uint64_t flags,
                                const struct slice *keywords, size_t n_keywords, wall_t date,
                                struct err *e) {
    end_piece(a);
    if (a->code == OK) a->code = add_piece(a, flags, keywords, n_keywords, date, &a->err);
    if (a->code != OK && e) *e = a->err;
    return a->code;
}

void store_append_abort(struct store_append *a) {
    if (!a) return;
    for (size_t i = 0; i < a->n; i++) writer_abort(&a->v[i].w);
    if (!a->is_borrowed) mailbox_leave(a->t);
    free(a->v);
    free(a);
}

static enum err_code sync_pieces(struct store_append *a, struct err *e) {
    enum err_code code = OK;

    for (size_t i = 0; code == OK && i < a->n; i++) {
        int fd = openat(a->t->fd, a->v[i].w.tmp, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) != 0) code = err_sys(e, "cannot sync a message");
        fd_close(&fd);
    }
    return code;
}

static enum err_code sync_sub(struct mailbox *t, const char *sub, struct err *e) {
    int fd = openat(t->fd, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err_code code = fd < 0 || fsync(fd) != 0 ? err_sys(e, "cannot sync a mailbox") : OK;

    fd_close(&fd);
    return code;
}

/* Without flags a message is new, so that the next reader sees it as recent; that may be who
 * appends. */
static bool goes_to_new(const struct store_append *a, const struct piece *p) {
    return !p->flags && !a->is_borrowed;
}

/* Move all to new/ or cur/, durably. */
static enum err_code move_pieces(struct store_append *a, struct err *e) {
    struct mailbox *t = a->t;
    bool in_new = false, in_cur = false;
    enum err_code code = OK;

    for (size_t i = 0; code == OK && i < a->n; i++) {
        struct piece *p = &a->v[i];
        char base[FILE_NAME_MAX], letters[48], path[sizeof p->path];

        maildir_new_name(t->store, 0, S(""), p->w.stored, p->w.wire, base);
        maildir_letters(p->flags, letters);
        if (goes_to_new(a, p)) snprintf(path, sizeof path, "new/%s", base);
        else snprintf(path, sizeof path, "cur/%s:2,%s", base, letters);
        if (renameat(t->fd, p->w.tmp, t->fd, path) != 0) {
            code = err_sys(e, "cannot store a message");
            continue;
        }
        p->w.tmp[0] = '\0';
        memcpy(p->path, path, sizeof path);
        *(goes_to_new(a, p) ? &in_new : &in_cur) = true;
    }
    if (code == OK && in_new) code = sync_sub(t, "new", e);
    if (code == OK && in_cur) code = sync_sub(t, "cur", e);
    return code;
}

/* All get UIDs in one step, or none is there; the mailbox is locked. */
static enum err_code place(struct store_append *a, uint32_t *uid, struct err *e) {
    struct mailbox *t = a->t;
    bool was_current = mailbox_is_current(t);
    struct newcomer *v = calloc(a->n, sizeof *v);
    const char **names = calloc(a->n, sizeof *names);
    enum err_code code =
        v && names ? uidlist_load(t, e) : err_set(e, ERR_MEMORY, "no memory for messages");

    if (code == OK) code = move_pieces(a, e);
    for (size_t i = 0; code == OK && i < a->n; i++) names[i] = a->v[i].path + 4;
    if (code == OK) code = mailbox_assign(t, names, a->n, uid, e);
    for (size_t i = 0; code != OK && i < a->n; i++)
        if (a->v[i].path[0]) unlinkat(t->fd, a->v[i].path, 0);
    if (code == OK) {
        bool has_names = true;

        for (size_t i = 0; i < a->n; i++) {
            const struct piece *p = &a->v[i];

            v[i] = (struct newcomer){.in_new = goes_to_new(a, p),
                                     .flags = p->flags,
                                     .size_wire = p->w.wire,
                                     .date = p->date,
                                     .name = strdup(names[i])};
            has_names &= v[i].name != NULL;
        }
        was_current = was_current && has_names && mailbox_insert(t, v, a->n, *uid);
        mailbox_adopt_times(t, was_current);
        if (was_current && a->is_borrowed) mailbox_take_recent(t);
        for (size_t i = 0; i < a->n; i++) free(v[i].name);
    }
    free(v);
    free(names);
    return code;
}

static uint64_t octets_of(const struct store_append *a) {
    uint64_t sum = 0;

    for (size_t i = 0; i < a->n; i++) sum += a->v[i].w.stored;
    return sum;
}

enum err_code store_append_end(struct store_append *a, uint32_t *uidvalidity, uint32_t *uid,
                               struct err *e) {
    enum err_code code;

    *uid = 0;
    end_piece(a);
    code = a->code;
    if (code != OK && e) *e = a->err;
    if (code == OK) code = quota_check(a->t->store, octets_of(a), a->n, e);
    if (code == OK) code = sync_pieces(a, e);
    if (code == OK) code = mailbox_lock(a->t, e);
    if (code == OK) {
        code = place(a, uid, e);
        if (code == OK) quota_add(a->t->store, (int64_t)octets_of(a), (int64_t)a->n);
        mailbox_unlock(a->t);
    }
    *uidvalidity = a->t->validity;
    store_append_abort(a);
    return code;
}
