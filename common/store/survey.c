#include "store/survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/maildir.h"
#include "store/watch.h"

/* One mailbox, and what was last told of it. */
struct seen {
    char *name;
    int64_t new_changed, cur_changed; /* mtimes, ns */
    struct mailbox_status status;
    bool is_there; /* while names are compared */
    bool is_subscribed;
};

struct survey {
    struct store *store;
    struct watch *watch;
    int fd;
    struct seen *v; /* by name */
    size_t n, at;
    struct store_names names; /* what is there now, while it is looked at */
    size_t name_at;
    enum { RESTING, NAMES_NEW, NAMES_GONE, MESSAGES } step;
    int64_t root_changed;
    char *told; /* the name of the last event when it left `v` */
};

static int64_t changed_at(const struct store *s, const char *path) {
    struct stat st;

    return fstatat(s->root_fd, path, &st, 0) == 0
               ? (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec
               : 0;
}

/* The times of new/ and cur/ now; true when they are not those of `x`. */
static bool look(const struct store *s, struct seen *x) {
    char dir[FILE_NAME_MAX], path[FILE_NAME_MAX + 8];
    int64_t new_changed, cur_changed;
    bool is_other;

    if (maildir_name(slice_str(x->name), dir, NULL) != OK) return false;
    snprintf(path, sizeof path, "%s/new", dir);
    new_changed = changed_at(s, path);
    snprintf(path, sizeof path, "%s/cur", dir);
    cur_changed = changed_at(s, path);
    is_other = new_changed != x->new_changed || cur_changed != x->cur_changed;
    x->new_changed = new_changed;
    x->cur_changed = cur_changed;
    return is_other;
}

/* Watch the directories of all in `v->v`, and the one they are in. */
static enum err_code watch_all(struct survey *v, int *fd, struct err *e) {
    size_t n = 0, room = 2 * v->n + 1;
    char **dirs = calloc(room, sizeof(char *));
    bool is_good = dirs != NULL;

    if (is_good) is_good = asprintf(&dirs[n], "%s", v->store->root) >= 0;
    n += is_good;
    for (size_t i = 0; is_good && i < v->n; i++) {
        char dir[FILE_NAME_MAX];

        if (maildir_name(slice_str(v->v[i].name), dir, NULL) != OK) continue;
        for (int sub = 0; is_good && sub < 2; sub++) {
            is_good = asprintf(&dirs[n], "%s/%s/%s", v->store->root, dir, sub ? "cur" : "new") >= 0;
            n += is_good;
        }
    }
    watch_free(v->watch);
    v->watch = is_good ? watch_new((const char *const *)dirs, n, &v->fd) : NULL;
    *fd = v->watch ? v->fd : -1;
    for (size_t i = 0; i < n; i++) free(dirs[i]);
    free(dirs);
    return v->watch ? OK : err_set(e, ERR_LIMIT, "no more directories can be watched");
}

static int by_name(const void *a, const void *b) {
    const struct seen *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static struct seen *find(struct survey *v, const char *name) {
    struct seen key = {.name = (char *)(uintptr_t)name};

    return v->n ? bsearch(&key, v->v, v->n, sizeof key, by_name) : NULL;
}

/* What \Recent is depends on who asks: that it changed is no news. */
static enum err_code status_of(struct survey *v, const char *name, struct mailbox_status *out) {
    enum err_code code = mailbox_status(v->store, slice_str(name), out, NULL);

    out->recent = 0;
    return code;
}

static bool add(struct survey *v, const struct store_name *name) {
    struct seen *more = realloc(v->v, (v->n + 1) * sizeof *more), *x;

    if (!more) return false;
    v->v = more;
    x = &v->v[v->n];
    *x = (struct seen){.name = strdup(name->name), .is_subscribed = name->is_subscribed};
    if (!x->name) return false;
    look(v->store, x);
    if (status_of(v, x->name, &x->status) != OK) x->status = (struct mailbox_status){0};
    v->n++;
    return true;
}

enum err_code survey_new(struct store *s, struct survey **out, int *fd, struct err *e) {
    struct survey *v = calloc(1, sizeof *v);
    struct store_names l = {NULL, 0};
    enum err_code code = v ? store_list(s, &l, e) : err_set(e, ERR_MEMORY, "no memory");

    *out = NULL;
    *fd = -1;
    if (code == OK && l.n > SURVEY_MAILBOXES_MAX)
        code = err_set(e, ERR_LIMIT, "more than %d mailboxes", SURVEY_MAILBOXES_MAX);
    if (code == OK) {
        v->store = s;
        v->fd = -1;
        v->root_changed = changed_at(s, ".");
    }
    for (size_t i = 0; code == OK && i < l.n; i++)
        if (!l.v[i].is_missing && !add(v, &l.v[i]))
            code = err_set(e, ERR_MEMORY, "no memory to watch mailboxes");
    store_names_release(&l);
    if (code == OK && v->n) qsort(v->v, v->n, sizeof *v->v, by_name);
    if (code == OK) code = watch_all(v, fd, e);
    if (code != OK) {
        survey_free(v);
        return code;
    }
    *out = v;
    return OK;
}

void survey_free(struct survey *v) {
    if (!v) return;
    watch_free(v->watch);
    for (size_t i = 0; i < v->n; i++) free(v->v[i].name);
    free(v->v);
    store_names_release(&v->names);
    free(v->told);
    free(v);
}

/* Something happened: what is looked at, and in which order. */
static void begin(struct survey *v) {
    uint64_t count;
    int64_t root = changed_at(v->store, ".");

    v->step = MESSAGES;
    v->at = 0;
    if (v->fd >= 0 && read(v->fd, &count, sizeof count) < 0) count = 0; /* nothing to empty */
    if (root == v->root_changed) return;
    v->root_changed = root;
    store_names_release(&v->names);
    if (store_list(v->store, &v->names, NULL) != OK) return;
    for (size_t i = 0; i < v->n; i++) v->v[i].is_there = false;
    v->name_at = 0;
    v->step = NAMES_NEW;
}

/* The next mailbox that was not there before, which is added, or whose subscription changed. */
static bool next_new(struct survey *v, struct survey_event *ev) {
    while (v->name_at < v->names.n) {
        const struct store_name *name = &v->names.v[v->name_at++];
        struct seen *x = name->is_missing ? NULL : find(v, name->name);

        if (x) x->is_there = true;
        if (x && x->is_subscribed != name->is_subscribed) {
            x->is_subscribed = name->is_subscribed;
            *ev = (struct survey_event){.kind = SURVEY_SUBSCRIPTION,
                                        .name = slice_str(x->name),
                                        .is_subscribed = x->is_subscribed};
            return true;
        }
        if (x || name->is_missing || v->n >= SURVEY_MAILBOXES_MAX || !add(v, name)) continue;
        v->v[v->n - 1].is_there = true;
        qsort(v->v, v->n, sizeof *v->v, by_name);
        *ev = (struct survey_event){.kind = SURVEY_NEW, .name = slice_str(name->name)};
        return true;
    }
    v->step = NAMES_GONE;
    v->at = 0;
    return false;
}

static bool next_gone(struct survey *v, struct survey_event *ev) {
    for (; v->at < v->n; v->at++) {
        if (v->v[v->at].is_there) continue;
        free(v->told);
        v->told = v->v[v->at].name;
        v->n--;
        memmove(v->v + v->at, v->v + v->at + 1, (v->n - v->at) * sizeof *v->v);
        *ev = (struct survey_event){.kind = SURVEY_GONE, .name = slice_str(v->told)};
        return true;
    }
    watch_all(v, &(int){0}, NULL); /* the new ones too; the descriptor may be another */
    v->step = MESSAGES;
    v->at = 0;
    return false;
}

static bool next_status(struct survey *v, struct survey_event *ev) {
    for (; v->at < v->n; v->at++) {
        struct seen *x = &v->v[v->at];
        struct mailbox_status now;

        if (!look(v->store, x) || status_of(v, x->name, &now) != OK ||
            memcmp(&now, &x->status, sizeof now) == 0)
            continue;
        *ev = (struct survey_event){.kind = SURVEY_STATUS,
                                    .name = slice_str(x->name),
                                    .status = now,
                                    .is_flags_only = now.messages == x->status.messages &&
                                                     now.uidnext == x->status.uidnext};
        x->status = now;
        v->at++;
        return true;
    }
    v->step = RESTING;
    return false;
}

bool survey_next(struct survey *v, struct survey_event *ev) {
    if (v->step == RESTING) begin(v);
    if (v->step == NAMES_NEW && next_new(v, ev)) return true;
    if (v->step == NAMES_GONE && next_gone(v, ev)) return true;
    return v->step == MESSAGES && next_status(v, ev);
}

int survey_fd(const struct survey *v) { return v->watch ? v->fd : -1; }
