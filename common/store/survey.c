#include "store/survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/maildir.h"
#include "store/watch.h"
#include "sys/clock.h"

/* One mailbox, and what was last told of it. */
struct seen {
    char *name;
    int64_t new_changed, cur_changed; /* mtimes, ns */
    int64_t looked_at;                /* ns */
    struct mailbox_status status;
    bool is_there, is_renamed; /* while names are compared */
    bool is_subscribed;
};

struct survey {
    struct store *store;
    struct watch *watch;
    int fd;
    struct seen *v; /* by name, behind n_sorted those that came just now */
    size_t n, n_sorted, at;
    struct store_names names; /* what is there now, while it is looked at */
    size_t name_at;
    enum { RESTING, NAMES_NEW, NAMES_GONE, MESSAGES } step;
    int64_t root_changed, root_looked_at;
    bool is_again; /* what happened while the watch was made is looked for too */
};

static int64_t changed_at(const struct store *s, const char *path) {
    struct stat st;

    return fstatat(s->root_fd, path, &st, 0) == 0
               ? (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec
               : 0;
}

/* The times of new/ and cur/ now; true when they are not those of `x`, or were too fresh then. */
static bool look(const struct store *s, struct seen *x) {
    char dir[FILE_NAME_MAX], path[FILE_NAME_MAX + 8];
    int64_t new_changed, cur_changed, now = clock_wall_us() * 1000;
    bool is_other;

    if (maildir_name(slice_str(x->name), dir, NULL) != OK) return false;
    snprintf(path, sizeof path, "%s/new", dir);
    new_changed = changed_at(s, path);
    snprintf(path, sizeof path, "%s/cur", dir);
    cur_changed = changed_at(s, path);
    is_other = new_changed != x->new_changed || cur_changed != x->cur_changed ||
               new_changed + GRAIN_NS > x->looked_at || cur_changed + GRAIN_NS > x->looked_at;
    x->looked_at = now;
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
    v->watch = is_good ? watch_new((const char *const *)dirs, n, 1, &v->fd) : NULL;
    *fd = v->watch ? v->fd : -1;
    for (size_t i = 0; i < n; i++) free(dirs[i]);
    free(dirs);
    return v->watch ? OK : err_set(e, ERR_LIMIT, "no more directories can be watched");
}

static int by_name(const void *a, const void *b) {
    const struct seen *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static void sort(struct survey *v) {
    if (v->n) qsort(v->v, v->n, sizeof *v->v, by_name);
    v->n_sorted = v->n;
}

static struct seen *find(struct survey *v, const char *name) {
    struct seen key = {.name = (char *)(uintptr_t)name};

    return v->n_sorted ? bsearch(&key, v->v, v->n_sorted, sizeof key, by_name) : NULL;
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
        v->root_looked_at = clock_wall_us() * 1000;
        v->root_changed = changed_at(s, ".");
        v->is_again = true;
    }
    for (size_t i = 0; code == OK && i < l.n; i++)
        if (!l.v[i].is_missing && !add(v, &l.v[i]))
            code = err_set(e, ERR_MEMORY, "no memory to watch mailboxes");
    store_names_release(&l);
    if (code == OK) sort(v);
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
    free(v);
}

/* Something happened: what is looked at, and in which order. */
static void begin(struct survey *v) {
    uint64_t count;
    int64_t root, now = clock_wall_us() * 1000;

    v->step = MESSAGES;
    v->at = 0;
    if (v->fd >= 0 && read(v->fd, &count, sizeof count) < 0) count = 0; /* nothing to empty */
    root = changed_at(v->store, ".");
    if (root == v->root_changed && root + GRAIN_NS < v->root_looked_at) return;
    v->root_changed = root;
    v->root_looked_at = now;
    store_names_release(&v->names);
    if (store_list(v->store, &v->names, NULL) != OK) return;
    for (size_t i = 0; i < v->n; i++) v->v[i].is_there = false;
    for (size_t i = 0; i < v->names.n; i++) {
        struct seen *x = v->names.v[i].is_missing ? NULL : find(v, v->names.v[i].name);

        if (x) x->is_there = true;
    }
    v->name_at = 0;
    v->step = NAMES_NEW;
}

/* A mailbox keeps its UIDVALIDITY under another name, and no two have the same. Its name before;
 * NULL: it is new. */
static const char *old_name(struct survey *v, uint32_t uidvalidity) {
    for (size_t i = 0; uidvalidity && i < v->n_sorted; i++) {
        struct seen *x = &v->v[i];

        if (x->is_there || x->is_renamed || x->status.uidvalidity != uidvalidity) continue;
        x->is_renamed = true;
        return x->name;
    }
    return NULL;
}

/* The next mailbox that was not there before, which is added, or whose subscription changed. */
static bool next_new(struct survey *v, struct survey_event *ev) {
    while (v->name_at < v->names.n) {
        const struct store_name *name = &v->names.v[v->name_at++];
        struct seen *x = name->is_missing ? NULL : find(v, name->name);
        const char *old;

        if (x && x->is_subscribed != name->is_subscribed) {
            x->is_subscribed = name->is_subscribed;
            *ev = (struct survey_event){.kind = SURVEY_SUBSCRIPTION,
                                        .name = slice_str(x->name),
                                        .is_subscribed = x->is_subscribed};
            return true;
        }
        if (x || name->is_missing || v->n >= SURVEY_MAILBOXES_MAX || !add(v, name)) continue;
        x = &v->v[v->n - 1];
        x->is_there = true;
        old = old_name(v, x->status.uidvalidity);
        *ev = (struct survey_event){.kind = old ? SURVEY_RENAMED : SURVEY_NEW,
                                    .name = slice_str(x->name)};
        if (old) ev->old_name = slice_str(old);
        return true;
    }
    v->step = NAMES_GONE;
    v->at = 0;
    return false;
}

static bool next_gone(struct survey *v, struct survey_event *ev) {
    size_t n = 0;
    bool has_other;

    while (v->at < v->n) {
        const struct seen *x = &v->v[v->at++];

        if (x->is_there || x->is_renamed) continue;
        *ev = (struct survey_event){.kind = SURVEY_GONE, .name = slice_str(x->name)};
        return true;
    }
    for (size_t i = 0; i < v->n; i++) {
        if (v->v[i].is_there) v->v[n++] = v->v[i];
        else free(v->v[i].name);
    }
    has_other = n != v->n_sorted || n != v->n;
    v->n = n;
    sort(v);
    if (has_other) {
        watch_all(v, &(int){0}, NULL); /* the new ones too; the descriptor may be another */
        v->is_again = true;
    }
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
    for (;;) {
        if (v->step == NAMES_NEW && next_new(v, ev)) return true;
        if (v->step == NAMES_GONE && next_gone(v, ev)) return true;
        if (next_status(v, ev)) return true;
        if (!v->is_again) return false;
        v->is_again = false;
        begin(v);
    }
}

int survey_fd(const struct survey *v) { return v->watch ? v->fd : -1; }
