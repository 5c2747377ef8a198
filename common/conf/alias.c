#include "conf/alias.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "sys/file.h"

struct entry {
    struct slice name;
    struct slice *values;
    size_t count;
    struct err *why; /* the line is wrong: mail for this name waits, and for no other */
};

/* How a file was when it was read. */
struct seen {
    const char *path;
    struct timespec changed;
    off_t size;
    ino_t inode;
    struct seen *next;
};

struct aliases {
    const char *path;
    bool commands;
    struct seen *seen; /* the file and those it includes */
    pthread_mutex_t lock;
    struct arena arena;
    struct entry *entries; /* sorted by name, folded */
    size_t count;
    bool is_loaded;
    struct err first; /* what is wrong in the file, code OK: nothing */
};

enum err_code aliases_new(const char *path, bool commands, struct aliases **out, struct err *e) {
    struct aliases *a = calloc(1, sizeof *a);

    if (!a) return err_set(e, ERR_MEMORY, "no memory for aliases");
    a->path = path;
    a->commands = commands;
    pthread_mutex_init(&a->lock, NULL);
    arena_init(&a->arena, 8 * (size_t)ALIAS_FILE_MAX);
    *out = a;
    return OK;
}

void aliases_free(struct aliases *a) {
    if (!a) return;
    pthread_mutex_destroy(&a->lock);
    arena_release(&a->arena);
    free(a);
}

/* Without the quotes around it, if all of it is quoted. */
static struct slice unquoted(struct slice s) {
    struct slice in;

    if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"') return s;
    in = slice_of(s.p + 1, s.n - 2);
    if (slice_starts(in, S("|")) || slice_starts(in, S("/")) || slice_starts(in, S(":include:")))
        return in;
    return slice_chr(in, '@') == SLICE_NONE ? in : s; /* "a b"@example.org keeps its quotes */
}

/* The next part of `*s` up to `stop` outside quotes; quotes around it are taken off. */
static bool next_part(struct slice *s, char stop, struct slice *part) {
    bool quoted = false;
    size_t i = 0;

    if (s->n == 0) return false;
    for (; i < s->n; i++) {
        if (quoted && s->p[i] == '\\' && i + 1 < s->n) i++;
        else if (s->p[i] == '"') quoted = !quoted;
        else if (s->p[i] == stop && !quoted) break;
    }
    *part = slice_trim(slice_first(*s, i));
    *s = slice_from(*s, i < s->n ? i + 1 : i);
    *part = unquoted(*part);
    return true;
}

/* A copy, commands as the shell is to see them: "|prog \"a b\"" has quotes of its own, and
 * |"command" means "|command". */
static struct slice keep_value(struct aliases *a, struct slice part) {
    char *copy = arena_new(&a->arena, part.n + 1);
    size_t n = 0;

    bool quoted = slice_starts(part, S("|\"")) && part.n > 2 && part.p[part.n - 1] == '"';

    if (!copy) return S("");
    part.n -= quoted;
    for (size_t i = 0; i < part.n; i++) {
        if (quoted && i == 1) continue;
        if (part.p[0] == '|' && part.p[i] == '\\' && i + 1 < part.n &&
            (part.p[i + 1] == '"' || part.p[i + 1] == '\\'))
            i++;
        copy[n++] = part.p[i];
    }
    return slice_of(copy, n);
}

static void see(struct aliases *a, const char *path) {
    struct seen *s = arena_new(&a->arena, sizeof *s);
    struct stat st = {0};

    if (!s) return;
    s->path = arena_cstr(&a->arena, slice_str(path));
    if (stat(path, &st) == 0) s->changed = st.st_mtim, s->size = st.st_size, s->inode = st.st_ino;
    s->next = a->seen;
    a->seen = s;
}

/* Are all files as they were read? */
static bool is_fresh(const struct aliases *a) {
    for (const struct seen *s = a->seen; s; s = s->next) {
        struct stat st = {0};

        if (s->path && stat(s->path, &st) < 0) st.st_ino = 0;
        if (st.st_ino != s->inode || st.st_size != s->size ||
            st.st_mtim.tv_sec != s->changed.tv_sec || st.st_mtim.tv_nsec != s->changed.tv_nsec)
            return false;
    }
    return true;
}

static enum err_code include(struct aliases *a, struct slice path, struct buf *out, struct err *e) {
    char name[4096];
    struct buf text;
    struct slice rest, line;
    struct stat st;
    enum err_code code;
    int fd;

    if (path.n >= sizeof name || path.n == 0 || path.p[0] != '/')
        return err_set(e, ERR_CONFIG, ":include: wants an absolute path");
    memcpy(name, path.p, path.n);
    name[path.n] = 0;
    see(a, name);
    /* Its owner may be any user: a FIFO in its place must not hold all mail up. */
    fd = open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return err_sys(e, "cannot open %s", name);
    buf_init(&text, ALIAS_FILE_MAX);
    if (fstat(fd, &st) < 0) code = err_sys(e, "cannot look at %s", name);
    else if (!S_ISREG(st.st_mode)) code = err_set(e, ERR_CONFIG, "%s is not a file", name);
    else code = file_read_fd(fd, name, &text, e);
    close(fd);
    rest = buf_slice(&text);
    while (code == OK && slice_line(&rest, &line)) {
        line = slice_trim(line);
        if (line.n == 0 || line.p[0] == '#') continue;
        /* Whoever may write a list's file must not run commands by it. */
        if (slice_ifind(line, S(":include:")) != SLICE_NONE || slice_chr(line, '|') != SLICE_NONE ||
            line.p[0] == '/' || slice_starts(line, S("\"/")) ||
            slice_find(line, S(",/")) != SLICE_NONE || slice_find(line, S(", /")) != SLICE_NONE)
            code =
                err_set(e, ERR_CONFIG, "%s: only addresses are allowed in an included file", name);
        buf_addc(out, ',');
        buf_add(out, line);
    }
    if (code == OK && out->bad) code = err_set(e, ERR_LIMIT, "%s is too large", name);
    buf_release(&text);
    return code;
}

static enum err_code add_values(struct aliases *a, struct entry *entry, struct slice text,
                                struct err *e) {
    struct slice rest = text, part;
    struct buf more;
    size_t count = 0;
    enum err_code code = OK;

    buf_init(&more, ALIAS_FILE_MAX);
    while (code == OK && next_part(&rest, ',', &part))
        if (slice_starts(part, S(":include:")))
            code = include(a, slice_trim(slice_from(part, 9)), &more, e);
    for (int pass = 0; code == OK && pass < 2; pass++) {
        struct slice sources[2] = {text, buf_slice(&more)};

        if (pass == 1) {
            entry->values = arena_new(&a->arena, count * sizeof *entry->values);
            if (!entry->values) code = err_set(e, ERR_MEMORY, "no memory for aliases");
            count = 0;
        }
        for (int i = 0; code == OK && i < 2; i++) {
            while (code == OK && next_part(&sources[i], ',', &part)) {
                if (part.n == 0 || slice_starts(part, S(":include:"))) continue;
                if ((part.p[0] == '/' || part.p[0] == '|') && (i > 0 || !a->commands) &&
                    !slice_eq(part, S("/dev/null"))) {
                    code = err_set(
                        e, ERR_CONFIG, "\"%.60s\" would deliver to a %s, which %s",
                        arena_cstr(&a->arena, part), part.p[0] == '|' ? "command" : "file",
                        i > 0 ? "an included file may not" : "alias-commands does not allow");
                    continue;
                }
                if (pass == 1) entry->values[count] = keep_value(a, part);
                count++;
                if (count > ALIAS_TARGETS_MAX)
                    code = err_set(e, ERR_LIMIT, "an alias has more than %d values",
                                   ALIAS_TARGETS_MAX);
            }
        }
    }
    entry->count = count;
    if (code == OK && count == 0) code = err_set(e, ERR_CONFIG, "the alias has no value");
    buf_release(&more);
    return code;
}

static int by_name(const void *x, const void *y) {
    return slice_icmp(((const struct entry *)x)->name, ((const struct entry *)y)->name);
}

/* Keep what is wrong with the line `number`, and with the entry that it makes, if it makes one. */
static void keep_wrong(struct aliases *a, struct entry *entry, size_t number, struct err *why) {
    err_note(why, "%s:%zu", a->path, number);
    why->code = ERR_CONFIG;
    why->status = STATUS(4, 3, 5);
    if (a->first.code == OK) a->first = *why;
    if (!entry) return;
    entry->count = 0;
    entry->why = arena_new(&a->arena, sizeof *entry->why);
    if (entry->why) *entry->why = *why;
}

static enum err_code parse(struct aliases *a, struct slice text, struct err *e) {
    struct slice rest = text, line, next;
    size_t cap = 1, number = 0;
    struct buf joined;
    struct err why;
    enum err_code code = OK;

    a->first = (struct err){0};
    while (slice_line(&rest, &line)) cap++;
    a->entries = arena_new(&a->arena, cap * sizeof *a->entries);
    a->count = 0;
    if (!a->entries) return err_set(e, ERR_MEMORY, "no memory for aliases");
    buf_init(&joined, ALIAS_FILE_MAX);
    while (code == OK && slice_line(&text, &line)) {
        struct slice name, values;
        size_t start = ++number;

        buf_reset(&joined);
        buf_add(&joined, line);
        while (text.n > 0 && ascii_is_wsp(text.p[0]) && slice_line(&text, &next)) {
            number++;
            if (slice_trim(next).n > 0 && slice_trim(next).p[0] == '#') continue;
            buf_add(&joined, next);
        }
        values = slice_trim(buf_slice(&joined));
        if (values.n == 0 || values.p[0] == '#') continue;
        if (slice_chr(values, ':') == SLICE_NONE || !next_part(&values, ':', &name) ||
            name.n == 0) {
            err_set(&why, ERR_CONFIG, "a line is \"name: value, value\"");
            keep_wrong(a, NULL, start, &why);
            continue;
        }
        a->entries[a->count].name = arena_copy(&a->arena, name);
        code = add_values(a, &a->entries[a->count], slice_trim(values), &why);
        if (code == ERR_MEMORY && e) *e = why;
        if (code != OK && code != ERR_MEMORY) {
            keep_wrong(a, &a->entries[a->count], start, &why);
            code = OK;
        }
        a->count++;
    }
    buf_release(&joined);
    if (code == OK && a->arena.bad) code = err_set(e, ERR_MEMORY, "no memory for aliases");
    if (code == OK) qsort(a->entries, a->count, sizeof *a->entries, by_name);
    return code;
}

static enum err_code load(struct aliases *a, struct err *e) {
    struct stat st;
    struct buf text;
    enum err_code code;

    if (a->is_loaded && is_fresh(a)) return OK;
    a->is_loaded = false;
    a->count = 0;
    a->seen = NULL;
    a->first = (struct err){0};
    arena_reset(&a->arena);
    if (stat(a->path, &st) < 0) {
        if (errno != ENOENT) return err_sys(e, "cannot read %s", a->path);
        return OK;
    }
    see(a, a->path);
    buf_init(&text, ALIAS_FILE_MAX);
    code = file_read(a->path, &text, e);
    if (code == OK) {
        code = parse(a, buf_slice(&text), e);
        if (code != OK) a->count = 0;
    }
    a->is_loaded = code == OK;
    if (code != OK && e && e->status.cls == 0) e->status = STATUS(4, 3, 0);
    buf_release(&text);
    return code;
}

enum err_code aliases_find(struct aliases *a, struct slice name, struct arena *arena,
                           struct slice **values, size_t *count, struct err *e) {
    struct entry key = {.name = name};
    const struct entry *found;
    enum err_code code;

    *values = NULL;
    *count = 0;
    pthread_mutex_lock(&a->lock);
    code = load(a, e);
    found =
        code == OK && a->count ? bsearch(&key, a->entries, a->count, sizeof key, by_name) : NULL;
    if (found && found->why) {
        if (e) *e = *found->why;
        code = ERR_CONFIG;
    } else if (found) {
        *values = arena_new(arena, found->count * sizeof **values);
        if (!*values) code = err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for aliases");
        for (size_t i = 0; code == OK && i < found->count; i++)
            (*values)[i] = arena_copy(arena, found->values[i]);
        if (code == OK) *count = found->count;
    }
    pthread_mutex_unlock(&a->lock);
    return code;
}

enum err_code aliases_check(struct aliases *a, size_t *count, struct err *e) {
    enum err_code code;

    pthread_mutex_lock(&a->lock);
    a->is_loaded = false;
    code = load(a, e);
    *count = a->count;
    if (code == OK && a->first.code != OK) {
        if (e) *e = a->first;
        code = ERR_CONFIG;
    }
    pthread_mutex_unlock(&a->lock);
    return code;
}
