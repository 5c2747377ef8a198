#include "deliver/drop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/crc32c.h"
#include "base/num.h"
#include "smtp/syntax.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

enum { LINE_MAX_BYTES = 64, CHUNK = 64 * 1024, NAME_MAX_BYTES = 64, LOCK_BUSY = -2 };

const char *drop_dir(struct conf *c) { return c->drop ? c->drop : conf_path(c, "drop"); }

/* --- leaving
 * ---------------------------------------------------------------------------------------------- */

static void make_name(char name[NAME_MAX_BYTES]) {
    static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
    uint8_t random[DROP_NAME_RANDOM];

    random_bytes(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) name[i] = digits[random[i] & 31];
    name[sizeof random] = 0;
}

/* The checksum is over lengths, envelope and message, so that a file cut anywhere is seen. */
static enum err_code write_file(int fd, struct slice env, struct slice head,
                                const struct spool *body, struct err *e) {
    uint64_t size = head.n + body->size, at = 0;
    char line[LINE_MAX_BYTES], *chunk = malloc(CHUNK);
    uint32_t crc;
    size_t got = 1;
    enum err_code code = OK;
    int n = snprintf(line, sizeof line, "PBD1 %zu %llu ", env.n, (unsigned long long)size);

    if (!chunk) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for the message");
    crc = crc32c(crc32c(crc32c(0, slice_of(line, (size_t)n)), env), head);
    for (; code == OK && got > 0; at += got) {
        code = spool_read(body, at, chunk, CHUNK, &got, e);
        if (code == OK) crc = crc32c(crc, slice_of(chunk, got));
        else break;
    }
    n += snprintf(line + n, sizeof line - (size_t)n, "%08x\n", crc);
    if (code == OK) code = file_write(fd, slice_of(line, (size_t)n), "the drop file", e);
    if (code == OK) code = file_write(fd, env, "the drop file", e);
    if (code == OK) code = file_write(fd, head, "the drop file", e);
    for (at = 0, got = 1; code == OK && got > 0; at += got) {
        code = spool_read(body, at, chunk, CHUNK, &got, e);
        if (code == OK) code = file_write(fd, slice_of(chunk, got), "the drop file", e);
        else break;
    }
    free(chunk);
    return code;
}

enum err_code drop_put(const char *dir, const struct envelope *env, struct slice head,
                       const struct spool *body, char name[QUEUE_ID_MAX], struct err *e) {
    char own[NAME_MAX_BYTES], from[PATH_MAX], to[PATH_MAX];
    struct buf text;
    enum err_code code;
    int fd;

    make_name(own);
    if (snprintf(from, sizeof from, "%s/%s.new", dir, own) >= (int)sizeof from)
        return err_set(e, ERR_LIMIT, "the path %s is too long", dir);
    snprintf(to, sizeof to, "%s/%s.msg", dir, own);
    buf_init(&text, ENVELOPE_BYTES_MAX);
    code = envelope_format(env, &text, e);
    if (code != OK) {
        buf_release(&text);
        return code;
    }
    fd = open(from, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        buf_release(&text);
        return err_sys(e, "cannot leave mail in %s", dir);
    }
    /* Who may read it does not hang on the caller's umask; the name is the secret. */
    code = fchmod(fd, 0644) < 0 ? err_sys(e, "cannot leave mail in %s", dir) : OK;
    if (code == OK) code = write_file(fd, buf_slice(&text), head, body, e);
    if (code == OK && rename(from, to) < 0) code = err_sys(e, "cannot leave mail in %s", dir);
    /* The directory cannot be opened, so it cannot be synced. Syncing a file that has just been
     * renamed writes its directory entry too on ext4, xfs, btrfs and f2fs. */
    if (code == OK && fsync(fd) < 0) code = err_sys(e, "cannot sync the message in %s", dir);
    if (code != OK && unlink(from) < 0 && errno == ENOENT) unlink(to);
    close(fd);
    buf_release(&text);
    if (name) snprintf(name, QUEUE_ID_MAX, "%.12s", own);
    return code;
}

/* --- taking
 * -----------------------------------------------------------------------------------------------
 */

enum err_code drop_prepare(struct conf *c, struct err *e) {
    const struct passwd *pw;

    if (!c->drop || access(c->drop, F_OK) == 0) return OK;
    if (mkdir(c->drop, 0700) < 0) return err_sys(e, "cannot make the directory %s", c->drop);
    pw = c->user && geteuid() == 0 ? getpwnam(c->user) : NULL;
    if (pw && chown(c->drop, pw->pw_uid, pw->pw_gid) < 0)
        return err_sys(e, "cannot give %s to %s", c->drop, c->user);
    if (chmod(c->drop, 01733) < 0) return err_sys(e, "cannot open %s to all users", c->drop);
    return OK;
}

struct drop {
    int dir;
    const char *path;
    struct conf *conf;
    struct queue *queue;
    const struct log *log;
    char *chunk;
};

/* What is in one file, once it was read and found right. */
struct found {
    struct arena arena;
    struct envelope env;
    struct spool body;
    uid_t owner;
};

/* Lines must end in CRLF: a bare LF would be end of data to some hosts (RFC 5321 2.3.8). `*last` is
 * the octet before `s`; that the last line ends too is the caller's to see. */
static bool ends_right(struct slice s, char *last) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n' && *last != '\r') return false;
        *last = s.p[i];
    }
    return true;
}

static bool is_xtext(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 33 || s.p[i] > 126) return false;
    return true;
}

/* The envelope as a stranger may have written it: addresses are addresses, and what only a server
 * knows is not taken from him. */
static enum err_code check_envelope(struct found *f, struct err *e) {
    struct smtp_path path;
    enum err_code code = OK;

    if (f->env.sender.n) code = smtp_address_parse(f->env.sender, SMTP_PATH_UTF8, &path, e);
    for (size_t i = 0; code == OK && i < f->env.rcpt_count; i++) {
        code = smtp_address_parse(f->env.rcpts[i].address, SMTP_PATH_UTF8, &path, e);
        if (!is_xtext(f->env.rcpts[i].orcpt)) code = ERR_SYNTAX;
    }
    if (code != OK || !is_xtext(f->env.envid))
        return err_set(e, ERR_SYNTAX, "an address of the envelope is not one");
    f->env.user = f->env.via = S("");
    f->env.proto = S("local");
    f->env.client = arena_printf(&f->arena, "uid %u", (unsigned)f->owner);
    f->env.arrived = clock_wall();
    f->env.is_binary = false;
    f->env.priority = 0;
    return f->arena.bad ? err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory") : OK;
}

/* Exactly `n` octets at the descriptor's position. */
static enum err_code read_exact(int fd, char *p, size_t n, struct err *e) {
    while (n > 0) {
        ssize_t got = read(fd, p, n);

        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err_sys(e, "cannot read it");
        if (got == 0) return err_set(e, ERR_SYNTAX, "it is shorter than it says");
        p += got;
        n -= (size_t)got;
    }
    return OK;
}

static enum err_code read_head(int fd, uint64_t file_size, uint64_t max, uint64_t *env_size,
                               uint64_t *size, uint32_t *want, uint32_t *crc, struct err *e) {
    char text[LINE_MAX_BYTES];
    ssize_t n = pread(fd, text, sizeof text, 0);
    struct slice line, rest, word[4];
    uint64_t sum = 0;
    bool ok;

    if (n < 0) return err_sys(e, "cannot read it");
    if (n == 0) return err_set(e, ERR_SYNTAX, "it is empty");
    ok = slice_cut(slice_of(text, (size_t)n), '\n', &line, &rest);
    rest = line;
    for (size_t i = 0; ok && i < 4; i++) ok = slice_word(&rest, &word[i]);
    ok = ok && rest.n == 0 && slice_eq(word[0], S("PBD1")) &&
         num_parse(word[1], ENVELOPE_BYTES_MAX, env_size) && num_parse(word[2], INT64_MAX, size) &&
         word[3].n == 8;
    for (size_t i = 0; ok && i < 8; i++) {
        int d = ascii_hex(word[3].p[i]);

        ok = d >= 0;
        sum = sum << 4 | (uint64_t)(d & 15);
    }
    if (!ok) return err_set(e, ERR_SYNTAX, "it is no message of ours");
    if (*size > max) return err_set(e, ERR_LIMIT, "it is larger than message-size-limit");
    if (line.n + 1 + *env_size + *size != file_size)
        return err_set(e, ERR_SYNTAX, "its length is not what it says");
    *want = (uint32_t)sum;
    *crc = crc32c(0, slice_first(line, line.n - 8));
    return lseek(fd, (off_t)(line.n + 1), SEEK_SET) < 0 ? err_sys(e, "cannot read it") : OK;
}

/* The file is read once, and only the copy is looked at: its owner may write to it all the time. */
static enum err_code read_file(struct drop *d, int fd, uint64_t file_size, struct found *f,
                               struct err *e) {
    uint64_t env_size = 0, size = 0;
    uint32_t want = 0, crc = 0;
    struct buf text;
    char last = 0, *p;
    /* What sendmail adds goes beyond the limit of what came in. */
    enum err_code code = read_head(fd, file_size, d->conf->message_size_limit + CHUNK, &env_size,
                                   &size, &want, &crc, e);

    if (code != OK) return code;
    buf_init(&text, ENVELOPE_BYTES_MAX + 1);
    p = buf_room(&text, (size_t)env_size);
    if (!p) code = err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for the envelope");
    if (code == OK) code = read_exact(fd, p, (size_t)env_size, e);
    if (code == OK) {
        buf_grown(&text, (size_t)env_size);
        crc = crc32c(crc, buf_slice(&text));
        code = envelope_parse(buf_slice(&text), &f->arena, &f->env, e);
    }
    buf_release(&text);
    f->env.is_8bit = false;
    for (uint64_t done = 0; code == OK && done < size;) {
        size_t n = size - done < CHUNK ? (size_t)(size - done) : CHUNK;
        struct slice piece = slice_of(d->chunk, n);

        code = read_exact(fd, d->chunk, n, e);
        if (code != OK) break;
        crc = crc32c(crc, piece);
        if (!ends_right(piece, &last))
            code = err_set(e, ERR_SYNTAX, "it has a line that does not end in CRLF");
        for (size_t i = 0; i < n && !f->env.is_8bit; i++)
            f->env.is_8bit = (unsigned char)d->chunk[i] > 127;
        if (code == OK) code = spool_add(&f->body, piece, e);
        done += n;
    }
    if (code == OK && size > 0 && last != '\n')
        code = err_set(e, ERR_SYNTAX, "its last line does not end in CRLF");
    if (code == OK && crc != want) code = err_set(e, ERR_SYNTAX, "it is damaged");
    return code == OK ? check_envelope(f, e) : code;
}

static void set_aside(struct drop *d, const char *name, const struct err *why) {
    char bad[NAME_MAX + 8], own[NAME_MAX_BYTES], owner[24];
    struct stat st = {0};

    fstatat(d->dir, name, &st, AT_SYMLINK_NOFOLLOW);
    snprintf(bad, sizeof bad, "%.*s.bad", (int)(strlen(name) - 4), name);
    log_event(d->log, LEVEL_ERROR, "a file in the drop directory is set aside", "file",
              slice_str(name), "uid", log_num(owner, (int64_t)st.st_uid), "why",
              slice_str(why->msg), NULL);
    if (renameat(d->dir, name, d->dir, bad) == 0) return;
    /* Something of that name lies there that cannot be replaced; nobody foresees this one. */
    make_name(own);
    snprintf(bad, sizeof bad, "%s.bad", own);
    if (renameat(d->dir, name, d->dir, bad) < 0) unlinkat(d->dir, name, 0);
}

static enum err_code take(struct drop *d, const char *name, struct err *e) {
    char id[QUEUE_ID_MAX], date[MOMENT_RFC5322_MAX], owner[24];
    struct found f = {0};
    struct err left = {0};
    struct stat st = {0};
    struct buf head;
    enum err_code code;
    int fd = openat(d->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 && errno == ELOOP) return err_set(e, ERR_SYNTAX, "it is a link");
    if (fd < 0 && errno == ENXIO) return err_set(e, ERR_SYNTAX, "it is a socket");
    if (fd < 0 && errno == EACCES) return err_set(e, ERR_SYNTAX, "it cannot be read");
    if (fd < 0) return err_sys(e, "cannot open it");
    if (fstat(fd, &st) < 0) code = err_sys(e, "cannot look at it");
    else if (!S_ISREG(st.st_mode)) code = err_set(e, ERR_SYNTAX, "it is not a file");
    else if (st.st_nlink != 1) code = err_set(e, ERR_SYNTAX, "it has %lu names", st.st_nlink);
    else code = OK;
    arena_init(&f.arena, DROP_ENVELOPE_ARENA);
    buf_init(&head, 1024);
    spool_init(&f.body, queue_dir(d->queue));
    f.owner = st.st_uid;
    if (code == OK) code = read_file(d, fd, (uint64_t)st.st_size, &f, e);
    if (code == OK) {
        queue_new_id(id);
        moment_rfc5322(f.env.arrived, clock_offset(f.env.arrived), date);
        buf_addf(&head, "Received: by %s (postbag, from uid %u)\r\n\tid %s; %s\r\n",
                 d->conf->hostname, (unsigned)f.owner, id, date);
        code = queue_put(d->queue, &f.env, buf_slice(&head), &f.body, id, e);
    }
    if (code == OK) {
        if (unlinkat(d->dir, name, 0) < 0 && errno != ENOENT) {
            /* It must not be taken again. */
            err_sys(&left, "it is in the queue, and cannot be removed");
            set_aside(d, name, &left);
        }
        log_event(d->log, LEVEL_NOTE, "queued", "id", slice_str(id), "from",
                  f.env.sender.n ? f.env.sender : S("<>"), "to", f.env.rcpts[0].address, "proto",
                  S("drop"), "uid", log_num(owner, (int64_t)f.owner), NULL);
    }
    spool_release(&f.body);
    buf_release(&head);
    arena_release(&f.arena);
    close(fd);
    return code;
}

/* Nobody else may remove or rename what lies there, or be its owner. */
static enum err_code open_dir(struct drop *d, struct err *e) {
    struct stat st;

    d->dir = open(d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->dir < 0 && (errno == ENOENT || errno == ENOTDIR)) return OK;
    if (d->dir < 0 || fstat(d->dir, &st) < 0) return err_sys(e, "cannot read %s", d->path);
    if (st.st_uid != geteuid() && geteuid() != 0)
        return err_set(e, ERR_DENIED, "%s belongs to another user", d->path);
    if ((st.st_mode & 022) && !(st.st_mode & S_ISVTX))
        return err_set(e, ERR_DENIED, "%s lacks the sticky bit: chmod 1733", d->path);
    return OK;
}

static bool is_left_over(const struct drop *d, const char *name) {
    struct stat st;

    return slice_ends(slice_str(name), S(".new")) &&
           fstatat(d->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           clock_wall() - st.st_mtim.tv_sec > DROP_OLD_S;
}

/* One process at a time takes; the lock lies where strangers cannot reach it. */
static int take_lock(struct queue *q, struct err *e) {
    char path[PATH_MAX];
    enum err_code code;
    int fd;

    snprintf(path, sizeof path, "%s/drop.lock", queue_dir(q));
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_sys(e, "cannot open %s", path);
        return -1;
    }
    fd_own_like_path(fd, queue_dir(q));
    code = lock_try(fd, 0, true, path, e);
    if (code == OK) return fd;
    close(fd);
    return code == ERR_BUSY ? LOCK_BUSY : -1;
}

enum err_code drop_collect(struct conf *c, struct queue *q, const struct log *log, unsigned *taken,
                           struct err *e) {
    struct drop d = {.dir = -1, .path = drop_dir(c), .conf = c, .queue = q, .log = log};
    enum err_code code;
    struct dirent *entry;
    unsigned seen = 0;
    DIR *list;
    int lock;

    *taken = 0;
    if (!d.path) return err_set(e, ERR_MEMORY, "no memory for settings");
    code = open_dir(&d, e);
    if (code != OK || d.dir < 0) {
        fd_close(&d.dir);
        return code;
    }
    lock = take_lock(q, e);
    if (lock < 0) {
        close(d.dir);
        return lock == LOCK_BUSY ? OK : e ? e->code : ERR_IO;
    }
    list = fdopendir(dup(d.dir));
    d.chunk = malloc(CHUNK);
    if (!list || !d.chunk) code = err_set(e, ERR_MEMORY, "no memory to read %s", d.path);
    while (code == OK && seen < DROP_BATCH && (entry = readdir(list)) != NULL) {
        struct err why = {0};

        if (is_left_over(&d, entry->d_name)) unlinkat(d.dir, entry->d_name, 0);
        if (!slice_ends(slice_str(entry->d_name), S(".msg")) || strlen(entry->d_name) < 5) continue;
        seen++;
        switch (take(&d, entry->d_name, &why)) {
        case OK: ++*taken; break;
        case ERR_NOT_FOUND: break; /* another process took it */
        case ERR_SYNTAX:
        case ERR_LIMIT: set_aside(&d, entry->d_name, &why); break;
        default:
            code = why.code;
            err_note(&why, "%s/%s", d.path, entry->d_name);
            if (e) *e = why;
            break;
        }
    }
    if (*taken) fsync(d.dir);
    if (list) closedir(list);
    free(d.chunk);
    close(d.dir);
    close(lock);
    return code;
}

unsigned drop_count(struct conf *c) {
    DIR *list = drop_dir(c) ? opendir(drop_dir(c)) : NULL;
    struct dirent *entry;
    unsigned n = 0;

    while (list && (entry = readdir(list)) != NULL)
        n += slice_ends(slice_str(entry->d_name), S(".msg"));
    if (list) closedir(list);
    return n;
}
