#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "store/maildir.h"
#include "sys/clock.h"
#include "sys/file.h"

/* After a change of our own the snapshot has it, and only what others did within the same grain
 * without our lock is unknown: that is looked for once, this much later. */
#define ADOPTED_NS ((int64_t)1000 * 1000 * 1000)
/* So many new messages at most are taken in without reading the rest, of mailboxes with as many. */
enum { ARRIVALS_MAX = 64 };

static int64_t time_ns(const struct timespec *t) {
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static enum err_code no_memory(struct err *e) {
    return err_set(e, ERR_MEMORY, "no memory for a mailbox");
}

/* --- index ----------------------------------------------------------------------------------- */

struct index *mailbox_index(struct mailbox *m) {
    char path[5000];

    if (!m->has_index) {
        m->has_index = true;
        if ((size_t)snprintf(path, sizeof path, "%s/postbag-index.db", m->store->home) <
            sizeof path)
            m->index = index_open(path);
    }
    return m->index;
}

void mailbox_index_put(struct mailbox *m, size_t i) {
    const struct imap_msg *v = &m->v[i];
    struct index_row r = {.uid = v->uid,
                          .flags = v->flags & ~STORE_RECENT,
                          .modseq = v->modseq,
                          .size_wire = v->size_bytes,
                          .internal_date = v->internal_date,
                          .saved = clock_wall()};

    index_put(m->index, m->validity, &r);
}

/* --- scanning --------------------------------------------------------------------------------- */

struct found {
    char *name;
    size_t known;    /* index, or SIZE_MAX: never seen before */
    uint64_t time;   /* what the name of one that was never seen begins with */
    uint16_t base_n; /* of the name, without flags */
    bool in_new;
};

struct scan {
    struct found *v;
    size_t n, cap;
    size_t *by_known; /* index into v + 1 */
    bool bad;
    struct uids missing; /* that should be there, ascending */
};

/* Two names with one base: while a file is renamed both may be seen, but only one is there. Two
 * files that are there are two messages, and the second gets a name of its own, by which it is
 * found next time; with that of the first it would take its UID when that is gone. True: that was
 * done. */
static bool part_twins(struct mailbox *m, const char *first, bool first_in_new, const char *second,
                       bool second_in_new) {
    char a[FILE_NAME_MAX + 8], b[FILE_NAME_MAX + 8], to[FILE_NAME_MAX + 64];
    size_t head = strcspn(second, ",:");
    struct stat x, y;
    uint64_t random;

    if (m->mode != MAILBOX_WRITE) return false;
    snprintf(a, sizeof a, "%s/%s", first_in_new ? "new" : "cur", first);
    snprintf(b, sizeof b, "%s/%s", second_in_new ? "new" : "cur", second);
    if (strcmp(a, b) == 0 || fstatat(m->fd, a, &x, AT_SYMLINK_NOFOLLOW) != 0 ||
        fstatat(m->fd, b, &y, AT_SYMLINK_NOFOLLOW) != 0 || x.st_ino == y.st_ino)
        return false;
    random_bytes(&random, sizeof random);
    if ((size_t)snprintf(to, sizeof to, "%s/%.*s-%016llx%s", second_in_new ? "new" : "cur",
                         (int)head, second, (unsigned long long)random,
                         second + head) >= FILE_NAME_MAX + 4)
        return false;
    return renameat2(m->fd, b, m->fd, to, RENAME_NOREPLACE) == 0;
}

static void add_found(struct mailbox *m, struct scan *s, const char *name, bool in_new) {
    struct slice base = slice_of(name, maildir_base(name));
    size_t known = uidlist_find(m, base);

    if (known != SIZE_MAX && s->by_known[known]) {
        struct found *f = &s->v[s->by_known[known] - 1];
        char *copy;

        /* seen twice while it was renamed: the later sight is the truer one, cur before new */
        if (f->in_new == in_new && strcmp(f->name, name) == 0) return;
        if (part_twins(m, f->name, f->in_new, name, in_new) || in_new) return;
        copy = strdup(name);
        if (!copy) return;
        free(f->name);
        f->name = copy;
        f->in_new = false;
        return;
    }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        struct found *v = realloc(s->v, cap * sizeof *v);

        if (!v) {
            s->bad = true;
            return;
        }
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n] = (struct found){
        .name = strdup(name), .known = known, .in_new = in_new, .base_n = (uint16_t)base.n};
    if (known == SIZE_MAX) num_take(&base, UINT64_MAX, &s->v[s->n].time);
    if (!s->v[s->n].name) s->bad = true;
    else if (++s->n && known != SIZE_MAX) s->by_known[known] = s->n;
}

static bool has_unlisted(const struct scan *s, size_t upto, const char *name) {
    for (size_t i = 0; i < upto; i++)
        if (s->v[i].known == SIZE_MAX && strcmp(s->v[i].name, name) == 0) return true;
    return false;
}

static enum err_code scan_dir(struct mailbox *m, struct scan *s, bool in_new, bool is_again,
                              struct err *e) {
    int fd = openat(m->fd, in_new ? "new" : "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    size_t upto = s->n;
    struct dirent *d;

    if (!dir) {
        enum err_code code = errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "the mailbox was removed")
                                             : err_sys(e, "cannot read a mailbox");

        fd_close(&fd);
        return code;
    }
    while (!s->bad && s->n < STORE_MESSAGES_MAX && (d = readdir(dir))) {
        size_t n = maildir_base(d->d_name);

        if (d->d_name[0] == '.' || (d->d_type != DT_REG && d->d_type != DT_UNKNOWN)) continue;
        if (strchr(d->d_name, '\n') || n == 0) continue;
        if (is_again && uidlist_find(m, slice_of(d->d_name, n)) == SIZE_MAX &&
            (has_unlisted(s, upto, d->d_name) || upto > 1000))
            continue; /* arrivals of the second look come with the next sync */
        add_found(m, s, d->d_name, in_new);
    }
    closedir(dir);
    return s->bad ? no_memory(e) : OK;
}

/* By the time in the name, then by name: the order of delivery as well as anyone knows it. */
static int by_arrival(const void *a, const void *b) {
    const struct found *x = a, *y = b;

    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Known ones first, by uid; then the others. */
static bool sort_by_uid(const struct mailbox *m, struct scan *s) {
    struct found *v = malloc((s->n + 1) * sizeof *v);
    size_t n = 0;

    if (!v) return false;
    for (size_t k = 0; k < m->n_known; k++)
        if (s->by_known[k]) v[n++] = s->v[s->by_known[k] - 1];
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].known == SIZE_MAX) v[n++] = s->v[i];
    free(s->v);
    s->v = v;
    s->cap = s->n;
    return true;
}

/* --- what the index knows -----------------------------------------------------------------------
 */

struct rows {
    struct index_row *v;
    size_t n, cap, at;
};

static void take_row(void *ctx, const struct index_row *r) {
    struct rows *rows = ctx;

    if (rows->n == rows->cap) {
        size_t cap = rows->cap ? rows->cap * 2 : 64;
        struct index_row *v = realloc(rows->v, cap * sizeof *v);

        if (!v) return;
        rows->v = v;
        rows->cap = cap;
    }
    rows->v[rows->n++] = *r;
}

/* The row of that uid; asked in ascending order. */
static const struct index_row *next_row(struct rows *rows, uint32_t uid) {
    while (rows->at < rows->n && rows->v[rows->at].uid < uid) rows->at++;
    return rows->at < rows->n && rows->v[rows->at].uid == uid ? &rows->v[rows->at] : NULL;
}

static void take_arrival(void *ctx, const struct index_arrival *a) {
    for (uint32_t i = 0; i < a->n; i++) {
        struct index_row r = {.uid = a->first + i,
                              .modseq = a->modseq,
                              .size_wire = STORE_SIZE_UNKNOWN,
                              .internal_date = STORE_DATE_UNKNOWN};

        memcpy(&r.flags, a->flags + i, sizeof r.flags);
        take_row(ctx, &r);
    }
}

/* Of the messages of the snapshot that is being made: what was written down since the last one. */
struct memory {
    struct rows rows, arrivals;
    struct uids gone;
    uint64_t noted, since, known_from; /* MODSEQs; `gone` is known from the last on */
};

static void recall(struct mailbox *m, struct memory *k) {
    *k = (struct memory){.noted = mailbox_noted_modseq(m),
                         .since = m->n ? m->read_to : 0,
                         .known_from = UINT64_MAX};
    mailbox_index(m);
    if (m->n && k->noted <= k->since) return;
    index_read(m->index, m->validity, k->since, take_row, &k->rows);
    index_read_arrivals(m->index, m->validity, k->since, take_arrival, &k->arrivals);
    index_read_gone(m->index, m->validity, k->since, &k->known_from, uids_take, &k->gone);
}

static void forget(struct memory *k) {
    free(k->rows.v);
    free(k->arrivals.v);
    free(k->gone.v);
}

/* The messages that should be there, ascending: of the last snapshot, and of the index, as a file
 * may go while nobody looks. Not those that another of us removed and wrote down. */
struct expected {
    const struct mailbox *m;
    const struct memory *k;
    size_t old, row, arrival, gone;
};

/* 0: no more. */
static uint32_t expected_next(struct expected *x) {
    const struct rows *rows = &x->k->rows, *arrivals = &x->k->arrivals;
    const struct uids *gone = &x->k->gone;

    for (;;) {
        uint32_t uid = UINT32_MAX;

        /* of those that came before, it may be forgotten that they went */
        while (x->arrival < arrivals->n && arrivals->v[x->arrival].modseq < x->k->known_from)
            x->arrival++;
        if (x->old < x->m->n) uid = x->m->v[x->old].uid;
        if (x->row < rows->n && rows->v[x->row].uid < uid) uid = rows->v[x->row].uid;
        if (x->arrival < arrivals->n && arrivals->v[x->arrival].uid < uid)
            uid = arrivals->v[x->arrival].uid;
        if (uid == UINT32_MAX) return 0;
        if (x->old < x->m->n && x->m->v[x->old].uid == uid) x->old++;
        if (x->row < rows->n && rows->v[x->row].uid == uid) x->row++;
        if (x->arrival < arrivals->n && arrivals->v[x->arrival].uid == uid) x->arrival++;
        while (x->gone < gone->n && gone->v[x->gone] < uid) x->gone++;
        if (x->gone == gone->n || gone->v[x->gone] != uid) return uid;
    }
}

/* Those that should be there and were not found. */
static void find_missing(const struct mailbox *m, const struct memory *k, struct scan *s) {
    struct expected x = {.m = m, .k = k};
    size_t i = 0;

    s->missing.n = 0;
    for (uint32_t uid; (uid = expected_next(&x));) {
        while (i < m->n_known && m->known[i].uid < uid) i++;
        if (i == m->n_known || m->known[i].uid != uid || !s->by_known[i])
            uids_take(&s->missing, uid);
    }
    s->bad |= s->missing.bad;
}

static enum err_code scan(struct mailbox *m, struct scan *s, const struct memory *k,
                          struct err *e) {
    enum err_code code;
    size_t unlisted = 0;

    s->by_known = calloc(m->n_known + 1, sizeof *s->by_known);
    if (!s->by_known) return no_memory(e);
    code = scan_dir(m, s, true, false, e);
    if (code == OK) code = scan_dir(m, s, false, false, e);
    /* A file renamed while we read may have been missed: look again before calling it gone. */
    if (code == OK) find_missing(m, k, s);
    if (code == OK && s->missing.n) {
        code = scan_dir(m, s, true, true, e);
        if (code == OK) code = scan_dir(m, s, false, true, e);
        if (code == OK) find_missing(m, k, s);
    }
    if (code != OK) return code;
    if (s->bad || !sort_by_uid(m, s)) return no_memory(e);
    for (size_t i = s->n; i > 0 && s->v[i - 1].known == SIZE_MAX; i--) unlisted++;
    if (unlisted) {
        size_t first = s->n - unlisted;
        const char **names = calloc(unlisted, sizeof *names);
        uint32_t uid;

        if (!names) return no_memory(e);
        qsort(s->v + first, unlisted, sizeof *s->v, by_arrival);
        /* the same base twice (new/ and cur/, or by flags) is one message: the first stands */
        unlisted = 1;
        for (size_t i = first + 1; i < s->n; i++) {
            const struct found *kept = &s->v[first + unlisted - 1], *f = &s->v[i];

            if (f->base_n != kept->base_n || memcmp(f->name, kept->name, f->base_n) != 0) {
                s->v[first + unlisted++] = *f;
                continue;
            }
            part_twins(m, kept->name, kept->in_new, f->name, f->in_new);
            free(f->name);
        }
        s->n = first + unlisted;
        for (size_t i = 0; i < unlisted; i++) names[i] = s->v[first + i].name;
        code = mailbox_assign(m, names, unlisted, &uid, e);
        for (size_t i = 0; i < unlisted && code == OK; i++) {
            struct slice base = slice_of(names[i], s->v[first + i].base_n);

            s->v[first + i].known = uidlist_last(m, unlisted - i, base);
            if (s->v[first + i].known == SIZE_MAX)
                code = err_set(e, ERR_IO, "postbag-uidlist is damaged");
        }
        free(names);
    }
    return code;
}

/* Facts of a file that neither snapshot nor index knows. */
static void look_at_file(struct mailbox *m, struct imap_msg *v, const struct mailfile *f) {
    char path[FILE_NAME_MAX + 8];
    struct stat st;

    v->size_bytes = maildir_number(f->name, 'W');
    snprintf(path, sizeof path, "%s/%s", f->in_new ? "new" : "cur", f->name);
    if (fstatat(m->fd, path, &st, 0) != 0) return;
    v->internal_date = st.st_mtim.tv_sec;
    /* a name whose size is not that of the file is not believed */
    if (maildir_number(f->name, 'S') != (uint64_t)st.st_size) v->size_bytes = STORE_SIZE_UNKNOWN;
}

/* new/X becomes cur/X:2, with what flags it has. */
static void move_to_cur(struct mailbox *m, struct found *f) {
    char from[FILE_NAME_MAX + 8], to[FILE_NAME_MAX + 16];
    const char *name = f->name;
    bool has_info = name[maildir_base(name)] != '\0';

    snprintf(from, sizeof from, "new/%s", name);
    if ((size_t)snprintf(to, sizeof to, "cur/%s%s", name, has_info ? "" : ":2,") >= sizeof to)
        return;
    if (renameat(m->fd, from, m->fd, to) != 0) return; /* gone, or next time */
    name = strdup(to + 4);
    if (!name) return;
    free(f->name);
    f->name = (char *)(uintptr_t)name;
    f->in_new = false;
}

/* Rows that are new or changed go into the index; those without size and date, and without a gap,
 * share a row. */
static void put_dirty(struct mailbox *m, const bool *is_dirty) {
    uint64_t flags[INDEX_ARRIVAL_MAX];
    wall_t now = clock_wall();

    for (size_t i = 0; i < m->n; i++) {
        struct index_arrival a = {
            .first = m->v[i].uid, .modseq = m->v[i].modseq, .saved = now, .flags = flags};

        if (!is_dirty[i]) continue;
        while (i + a.n < m->n && a.n < INDEX_ARRIVAL_MAX && is_dirty[i + a.n] &&
               m->v[i + a.n].internal_date == STORE_DATE_UNKNOWN &&
               m->v[i + a.n].uid == a.first + a.n) {
            flags[a.n] = m->v[i + a.n].flags & ~STORE_RECENT;
            a.n++;
        }
        if (a.n >= ARRIVAL_MIN) {
            index_put_arrival(m->index, m->validity, &a);
            i += a.n - 1;
        } else {
            mailbox_index_put(m, i);
        }
    }
}

/* A mailbox that we see for the first time: what came last and is still in new/ is recent. */
static void begin_recent(struct mailbox *m, const struct scan *s) {
    size_t from = s->n;

    if (mailbox_noted_recent(m)) return;
    while (from > 0 && s->v[from - 1].in_new) from--;
    mailbox_note_recent(m, from < s->n ? m->known[s->v[from].known].uid : m->next);
}

void mailbox_take_recent(struct mailbox *m) {
    uint32_t first = mailbox_noted_recent(m);
    size_t from = m->n;

    while (first && from > 0 && m->v[from - 1].uid >= first) from--;
    if (from < m->n && mailbox_own(m, NULL) != OK) return; /* then they are not told */
    for (size_t i = from; i < m->n; i++) m->v[i].flags |= STORE_RECENT;
    m->has_recent |= from < m->n;
    if (m->mode == MAILBOX_WRITE && first != m->next) mailbox_note_recent(m, m->next);
}

static enum err_code merge(struct mailbox *m, struct scan *s, struct memory *k,
                           struct mailbox_changes *ch, struct err *e) {
    struct imap_rows *made = imap_rows_new(s->n);
    struct imap_msg *v = made ? made->v : NULL;
    struct mailfile *f = calloc(s->n + 1, sizeof *f);
    uint32_t *expunged = calloc(m->n + 1, sizeof *expunged);
    uint32_t *changed = calloc(m->n + 1, sizeof *changed);
    bool *is_dirty = calloc(s->n + 1, sizeof *is_dirty);
    uint64_t modseq = 0;
    size_t old = 0, n_expunged = 0, n_changed = 0, n_new = 0, n_dirty = 0;

    if (!v || !f || !expunged || !changed || !is_dirty) {
        imap_rows_drop(made);
        free(f);
        free(expunged);
        free(changed);
        free(is_dirty);
        return no_memory(e);
    }
    if (k->noted > m->highest) m->highest = k->noted;
    m->read_to = k->noted;
    begin_recent(m, s);
    for (size_t i = 0; i < s->n; i++) {
        uint32_t uid = m->known[s->v[i].known].uid;
        uint64_t flags;
        const struct index_row *r = NULL;

        v[i] = (struct imap_msg){.uid = uid};
        for (; old < m->n && m->v[old].uid < uid; old++) expunged[n_expunged++] = m->v[old].uid;
        r = next_row(&k->rows, uid);
        if (!r) r = next_row(&k->arrivals, uid);
        if (s->v[i].in_new && m->mode == MAILBOX_WRITE) move_to_cur(m, &s->v[i]);
        f[i] = (struct mailfile){.name = s->v[i].name, .in_new = s->v[i].in_new};
        s->v[i].name = NULL;
        flags = maildir_flags(f[i].name);
        if (old < m->n && m->v[old].uid == uid) {
            uint64_t before = m->v[old].flags & ~STORE_RECENT;

            v[i].flags |= m->v[old].flags & STORE_RECENT;
            v[i].size_bytes = m->v[old].size_bytes;
            v[i].internal_date = m->v[old].internal_date;
            v[i].modseq = m->v[old].modseq;
            if (before != flags) v[i].modseq = 0;
            // set and taken away again counts too (RFC 7162 3.1)
            if (before != flags || (r && r->flags == flags && r->modseq > v[i].modseq))
                changed[n_changed++] = uid;
            old++;
        } else {
            n_new++;
            v[i].size_bytes = r ? r->size_wire : STORE_SIZE_UNKNOWN;
            v[i].internal_date = r ? r->internal_date : STORE_DATE_UNKNOWN;
            if (!r && s->n - i <= ARRIVAL_MIN) look_at_file(m, &v[i], &f[i]);
        }
        v[i].flags |= flags;
        if (r && r->flags == flags && r->modseq > v[i].modseq) v[i].modseq = r->modseq;
        if (v[i].modseq == 0) {
            if (!modseq) modseq = mailbox_bump(m);
            v[i].modseq = modseq;
            is_dirty[i] = true;
            n_dirty++;
        }
    }
    for (; old < m->n; old++) expunged[n_expunged++] = m->v[old].uid;
    // without a note (it was lost) HIGHESTMODSEQ would be below what the messages have
    if ((s->missing.n || (!k->noted && s->n)) && !modseq) mailbox_bump(m);

    for (size_t i = 0; i < m->n; i++) free(m->f[i].name);
    made->n = s->n;
    m->has_recent = m->has_new = false;
    for (size_t i = 0; i < s->n; i++) {
        m->has_recent |= (v[i].flags & STORE_RECENT) != 0;
        m->has_new |= f[i].in_new;
    }
    imap_rows_drop(m->rows);
    free(m->f);
    m->rows = made;
    m->v = v;
    m->f = f;
    m->n = s->n;
    mailbox_take_recent(m);
    if (n_dirty || s->missing.n) {
        index_begin(m->index);
        index_adopt(m->index, m->validity, m->highest);
        put_dirty(m, is_dirty);
        for (size_t i = 0; i < s->missing.n; i++)
            index_remove(m->index, m->validity, s->missing.v[i], m->highest);
        index_end(m->index);
    }
    free(is_dirty);
    free(m->expunged);
    free(m->changed);
    m->expunged = expunged;
    m->changed = changed;
    if (ch)
        *ch = (struct mailbox_changes){.expunged = expunged,
                                       .n_expunged = n_expunged,
                                       .flags = changed,
                                       .n_flags = n_changed,
                                       .first_new = m->n - n_new,
                                       .n_new = n_new};
    return OK;
}

/* The times of new/ and cur/, 0 when there is none. */
static void directory_times(struct mailbox *m, int64_t *new_changed, int64_t *cur_changed) {
    struct stat st;

    *new_changed = fstatat(m->fd, "new", &st, 0) == 0 ? time_ns(&st.st_mtim) : 0;
    *cur_changed = fstatat(m->fd, "cur", &st, 0) == 0 ? time_ns(&st.st_mtim) : 0;
}

/* Is the directory as the snapshot has it? Asked under the lock before a change of our own. What
 * somebody else did within the grain of the clock is not seen by it: after an adoption it is looked
 * once more (scan_again_at). */
bool mailbox_is_current(struct mailbox *m) {
    int64_t new_changed, cur_changed;

    directory_times(m, &new_changed, &cur_changed);
    return cur_changed && new_changed == m->new_changed && cur_changed == m->cur_changed;
}

void mailbox_adopt_times(struct mailbox *m, bool was_current) {
    if (!was_current) return;
    directory_times(m, &m->new_changed, &m->cur_changed);
    /* Not later and later while we change it again and again. */
    if (!m->scan_again_at) m->scan_again_at = clock_wall_us() * 1000 + ADOPTED_NS;
}

bool mailbox_insert(struct mailbox *m, struct newcomer *v, size_t n, uint32_t first_uid) {
    size_t room = m->n + n;
    struct mailfile *f;
    uint64_t modseq;

    if (room > m->rows->cap) room += room / 8;
    f = room > m->rows->cap ? realloc(m->f, (room + 1) * sizeof *f) : m->f;
    if (!f) return false;
    m->f = f;
    if (!imap_rows_own(&m->rows, room)) return false;
    m->v = m->rows->v;
    modseq = mailbox_bump(m);
    index_begin(mailbox_index(m));
    index_adopt(m->index, m->validity, modseq);
    for (size_t i = 0; i < n; i++) {
        m->v[m->n] = (struct imap_msg){.uid = first_uid + (uint32_t)i,
                                       .flags = v[i].flags,
                                       .size_bytes = v[i].size_wire,
                                       .internal_date = v[i].date,
                                       .modseq = modseq};
        m->f[m->n] = (struct mailfile){.name = v[i].name, .in_new = v[i].in_new};
        v[i].name = NULL;
        m->has_recent |= (v[i].flags & STORE_RECENT) != 0;
        m->has_new |= v[i].in_new;
        m->rows->n = ++m->n;
        mailbox_index_put(m, m->n - 1);
    }
    index_end(m->index);
    return true;
}

enum err_code mailbox_own(struct mailbox *m, struct err *e) {
    if (!imap_rows_own(&m->rows, 0)) return no_memory(e);
    m->v = m->rows->v;
    return OK;
}

/* Nothing was done to the directory since the last scan, as far as its times can tell. */
static bool is_unchanged(const struct mailbox *m, int64_t new_changed, int64_t cur_changed) {
    if (!new_changed || new_changed != m->new_changed || cur_changed != m->cur_changed)
        return false;
    if (m->scan_again_at) return clock_wall_us() * 1000 < m->scan_again_at;
    return new_changed + GRAIN_NS < m->scanned_at && cur_changed + GRAIN_NS < m->scanned_at;
}

/* Mail came into new/, and nothing else is known to have happened: it is taken in without reading
 * cur/, which is long for a large mailbox. What others may have done to cur/ within the grain of
 * its time is looked for once more, as after any change of our own. Lock held, uidlist read. False:
 * the whole has to be read. */
static bool take_arrivals(struct mailbox *m, struct mailbox_changes *ch) {
    struct scan s = {.by_known = calloc(m->n_known + 1, sizeof *s.by_known)}, late = {0};
    const char *names[ARRIVALS_MAX];
    struct newcomer came[ARRIVALS_MAX] = {0};
    size_t before = m->n;
    int64_t new_changed, cur_changed;
    uint32_t uid = 0;
    bool is_good =
        s.by_known && scan_dir(m, &s, true, false, NULL) == OK && s.n > 0 && s.n <= ARRIVALS_MAX;

    for (size_t i = 0; i < s.n && is_good; i++)
        is_good = s.v[i].known == SIZE_MAX && !s.v[i].name[maildir_base(s.v[i].name)];
    if (is_good) {
        qsort(s.v, s.n, sizeof *s.v, by_arrival);
        for (size_t i = 0; i < s.n; i++) names[i] = s.v[i].name;
        is_good = mailbox_assign(m, names, s.n, &uid, NULL) == OK;
    }
    for (size_t i = 0; i < s.n && is_good; i++) {
        struct imap_msg facts = {.internal_date = STORE_DATE_UNKNOWN};
        struct mailfile f;

        move_to_cur(m, &s.v[i]);
        f = (struct mailfile){.name = s.v[i].name, .in_new = s.v[i].in_new};
        look_at_file(m, &facts, &f);
        came[i] = (struct newcomer){.name = s.v[i].name,
                                    .in_new = s.v[i].in_new,
                                    .size_wire = facts.size_bytes,
                                    .date = facts.internal_date};
    }
    if (is_good) {
        directory_times(m, &new_changed, &cur_changed);
        late.by_known = calloc(m->n_known + 1, sizeof *late.by_known);
        is_good = mailbox_insert(m, came, s.n, uid);
    }
    if (is_good) mailbox_take_recent(m);
    if (is_good && ch) *ch = (struct mailbox_changes){.first_new = before, .n_new = s.n};
    /* What came meanwhile is not in the snapshot: then the times are not those of it. */
    if (is_good && late.by_known && scan_dir(m, &late, true, false, NULL) == OK && !late.n) {
        m->new_changed = new_changed;
        m->cur_changed = cur_changed;
        if (!m->scan_again_at) m->scan_again_at = clock_wall_us() * 1000 + ADOPTED_NS;
    }
    for (size_t i = 0; i < s.n; i++) /* those that were inserted belong to the snapshot */
        if (!is_good || (i < ARRIVALS_MAX && came[i].name)) free(s.v[i].name);
    for (size_t i = 0; i < late.n; i++) free(late.v[i].name);
    free(s.v);
    free(s.by_known);
    free(late.v);
    free(late.by_known);
    return is_good;
}

enum err_code mailbox_sync_locked(struct mailbox *m, struct mailbox_changes *ch, bool force,
                                  struct err *e) {
    struct scan s = {0};
    struct memory memory;
    int64_t new_changed, cur_changed;
    uint32_t validity = m->validity;
    bool may_only_arrive;
    enum err_code code;

    if (ch) *ch = (struct mailbox_changes){.first_new = m->n};
    directory_times(m, &new_changed, &cur_changed);
    if (!cur_changed) return err_set(e, ERR_NOT_FOUND, "the mailbox was removed");
    /* What another of us did within the grain of the clock is known by its modification sequence.
     */
    if (!force && mailbox_noted_modseq(m) <= m->read_to &&
        is_unchanged(m, new_changed, cur_changed))
        return OK;
    may_only_arrive = !force && m->n >= ARRIVALS_MAX && m->mode == MAILBOX_WRITE && !m->has_new &&
                      cur_changed == m->cur_changed && new_changed != m->new_changed &&
                      mailbox_noted_modseq(m) <= m->read_to;
    code = uidlist_load(m, e);
    if (code != OK) return code;
    if (validity && validity != m->validity) m->is_replaced = true;
    if (m->is_replaced)
        return err_set(e, ERR_NOT_FOUND, "the mailbox was replaced by another of that name");
    keywords_read(m);
    if (may_only_arrive && take_arrivals(m, ch)) return OK;
    m->scanned_at = clock_wall_us() * 1000;
    m->scan_again_at = 0;
    recall(m, &memory);
    code = scan(m, &s, &memory, e);
    if (code == OK) code = merge(m, &s, &memory, ch, e);
    forget(&memory);
    for (size_t i = 0; i < s.n; i++) free(s.v[i].name);
    free(s.v);
    free(s.by_known);
    free(s.missing.v);
    if (code != OK) return code;
    uidlist_compact(m);
    /* The times of before the scan: what we or others moved since is looked at again. */
    m->new_changed = new_changed;
    m->cur_changed = cur_changed;
    return OK;
}

static atomic_uint n_held;

static void let_go(struct mailbox *m) {
    if (m->is_held) atomic_fetch_sub(&n_held, 1);
    m->is_held = false;
}

void mailbox_pause_between(struct mailbox *m) {
    if (!m || m->is_held) return;
    m->is_held = true;
    if (atomic_fetch_add(&n_held, 1) >= STORE_HELD_MAX) mailbox_pause(m);
}

void mailbox_pause(struct mailbox *m) {
    if (!m) return;
    let_go(m);
    mailbox_cache_flush(m);
    mailbox_ahead_free(m);
    index_close(m->index);
    m->index = NULL;
    m->has_index = false;
}

void mailbox_rest(struct mailbox *m) {
    if (!m) return;
    mailbox_pause(m);
    mailbox_signatures_free(m);
    free(m->cached);
    free(m->dirty);
    m->cached = NULL;
    m->dirty = NULL;
    uidlist_forget(m);
    buf_release(&m->uid_text);
    free(m->known);
    free(m->hash);
    m->known = NULL;
    m->hash = NULL;
    m->cap_known = m->hash_size = 0;
}

enum err_code mailbox_sync(struct mailbox *m, struct mailbox_changes *ch, struct err *e) {
    uint64_t events;
    enum err_code code;

    if (m->watch && read(m->watch_fd, &events, sizeof events) < 0 && errno != EAGAIN)
        return err_sys(e, "cannot watch a mailbox");
    mailbox_cache_flush(m);
    code = mailbox_lock(m, e);
    if (code != OK) return code;
    code = mailbox_sync_locked(m, ch, false, e);
    mailbox_unlock(m);
    return code;
}

/* What a crash left in tmp/ (maildir(5): not touched for 36 hours). */
static void clean_tmp(struct mailbox *m) {
    int fd = openat(m->fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    wall_t old = clock_wall() - STORE_TMP_AGE_S;
    struct dirent *d;

    if (!dir) {
        fd_close(&fd);
        return;
    }
    while ((d = readdir(dir))) {
        struct stat st;

        /* the date of the content may be that of an old message: so the time of the last change
         * counts */
        if (d->d_name[0] == '.' || fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (S_ISREG(st.st_mode) && st.st_ctim.tv_sec < old) unlinkat(fd, d->d_name, 0);
    }
    closedir(dir);
}

/* --- handles ---------------------------------------------------------------------------------- */

static enum err_code make_handle(struct store *s, const char *dir, int fd, struct mailbox **out,
                                 struct err *e) {
    struct mailbox *m = calloc(1, sizeof *m);
    enum err_code code = OK;

    *out = m;
    if (!m) {
        fd_close(&fd);
        return no_memory(e);
    }
    m->store = s;
    m->fd = fd;
    m->lock_fd = m->watch_fd = -1;
    snprintf(m->dir, sizeof m->dir, "%s", dir);
    buf_init(&m->uid_text, UIDLIST_MAX);
    m->rows = imap_rows_new(0);
    if (!m->rows) return no_memory(e);
    m->v = m->rows->v;
    if (faccessat(m->fd, "cur", F_OK, 0) != 0) code = maildir_make(s, m->dir, e);
    if (code != OK) return code;
    m->lock_fd = openat(m->fd, "postbag-lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (m->lock_fd < 0) return err_sys(e, "cannot open postbag-lock");
    fd_own_like(m->lock_fd, m->fd);
    return OK;
}

enum err_code mailbox_open(struct store *s, struct slice name, enum mailbox_mode mode,
                           struct mailbox **out, struct err *e) {
    char dir[FILE_NAME_MAX];
    struct mailbox *m = NULL;
    bool is_left = false;
    enum err_code code = maildir_name(name, dir, e);
    int fd = -1;

    *out = NULL;
    if (code == OK) code = maildir_open(s, dir, &fd, e);
    if (code != OK) return code;
    m = pool_take(s, dir, fd);
    if (m) {
        is_left = true;
        fd_close(&fd);
    } else {
        code = make_handle(s, dir, fd, &m, e);
    }
    if (code == OK) m->mode = mode;
    if (code == OK) code = mailbox_lock(m, e);
    if (code == OK) {
        /* Who may write moves what is new. */
        bool must_scan = !is_left || (m->has_new && mode == MAILBOX_WRITE);

        code = mailbox_sync_locked(m, NULL, must_scan, e);
        if (code == OK) mailbox_take_recent(m);
        mailbox_unlock(m);
    }
    if (code != OK && is_left) { /* it was replaced: what was left means nothing */
        mailbox_free(m);
        return mailbox_open(s, name, mode, out, e);
    }
    if (code != OK) {
        mailbox_free(m);
        return code;
    }
    if (mode == MAILBOX_WRITE && !is_left) clean_tmp(m);
    *out = m;
    return OK;
}

void mailbox_free(struct mailbox *m) {
    if (!m) return;
    let_go(m);
    mailbox_cache_flush(m);
    mailbox_ahead_free(m);
    mailbox_signatures_free(m);
    free(m->cached);
    free(m->dirty);
    index_close(m->index);
    for (size_t i = 0; i < m->n; i++) free(m->f[i].name);
    for (size_t k = 0; k < STORE_KEYWORDS_MAX; k++) free(m->keywords[k]);
    imap_rows_drop(m->rows);
    free(m->f);
    free(m->known);
    free(m->hash);
    free(m->expunged);
    free(m->changed);
    buf_release(&m->uid_text);
    fd_close(&m->fd);
    fd_close(&m->lock_fd);
    watch_free(m->watch);
    free(m);
}

void mailbox_close(struct mailbox *m) { mailbox_free(m); }

struct imap_rows *mailbox_rows(const struct mailbox *m) {
    return m->rows;
}

const struct imap_msg *mailbox_messages(const struct mailbox *m, size_t *n) {
    *n = m->n;
    return m->v;
}

size_t mailbox_at(const struct mailbox *m, uint32_t uid) {
    size_t lo = 0, hi = m->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (m->v[mid].uid < uid) lo = mid + 1;
        else hi = mid;
    }
    return lo < m->n && m->v[lo].uid == uid ? lo : SIZE_MAX;
}

const struct imap_msg *mailbox_find(const struct mailbox *m, uint32_t uid) {
    size_t i = mailbox_at(m, uid);

    return i == SIZE_MAX ? NULL : &m->v[i];
}

uint32_t mailbox_uidvalidity(const struct mailbox *m) { return m->validity; }
uint32_t mailbox_uidnext(const struct mailbox *m) { return m->next; }
uint64_t mailbox_highest_modseq(const struct mailbox *m) { return m->read_to ? m->read_to : 1; }

int mailbox_watch(struct mailbox *m) {
    char paths[2][FILE_NAME_MAX + 5000];
    const char *dirs[2] = {paths[0], paths[1]};

    if (m->watch) return m->watch_fd;
    for (int sub = 0; sub < 2; sub++)
        if ((size_t)snprintf(paths[sub], sizeof paths[sub], "%s/%s/%s", m->store->root, m->dir,
                             sub ? "cur" : "new") >= sizeof paths[sub])
            return -1;
    m->watch = watch_new(dirs, 2, 2, &m->watch_fd);
    return m->watch_fd;
}

enum err_code mailbox_status(struct store *s, struct slice name, struct mailbox_status *out,
                             struct err *e) {
    struct mailbox *m;
    enum err_code code = mailbox_open(s, name, MAILBOX_READ, &m, e);

    if (code != OK) return code;
    *out = (struct mailbox_status){.messages = (uint32_t)m->n,
                                   .uidnext = m->next,
                                   .uidvalidity = m->validity,
                                   .highest_modseq = mailbox_highest_modseq(m)};
    for (size_t i = 0; i < m->n; i++) {
        out->recent += (m->v[i].flags & STORE_RECENT) != 0;
        out->unseen += !(m->v[i].flags & STORE_SEEN);
        out->deleted += (m->v[i].flags & STORE_DELETED) != 0;
        if (m->v[i].size_bytes != STORE_SIZE_UNKNOWN) out->size_bytes += m->v[i].size_bytes;
    }
    mailbox_close(m);
    return OK;
}
