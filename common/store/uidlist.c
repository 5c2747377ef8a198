/* uidlist: the lock of a mailbox, its UIDs and its keywords: what outlives every index. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "store/maildir.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

static int64_t time_ns(const struct timespec *t) {
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static enum err_code no_memory(struct err *e) {
    return err_set(e, ERR_MEMORY, "no memory for a mailbox");
}

/* --- lock and modseq -------------------------------------------------------------------------- */

enum err_code mailbox_lock(struct mailbox *m, struct err *e) {
    return lock_wait(m->lock_fd, 0, true, STORE_LOCK_WAIT_MS, "the mailbox", e);
}

void mailbox_unlock(struct mailbox *m) { lock_drop(m->lock_fd, 0); }

uint64_t mailbox_noted_modseq(struct mailbox *m) {
    char text[32];
    uint64_t v = 0;
    ssize_t n = pread(m->lock_fd, text, sizeof text, 0);
    struct slice s = slice_of(text, n > 0 ? (size_t)n : 0);

    return num_take(&s, INT64_MAX, &v) ? v : 0;
}

/* Behind the modification sequence, each at its own place:
 * - the next UID: a list of UIDs that was cut, or came back from a backup, gives no UID to another
 *   message;
 * - the first UID that nobody was told of as \Recent. */
enum { NEXT_AT = 20, RECENT_AT = 31, NOTED_BYTES = 11 };

static uint32_t noted_uid(const struct mailbox *m, off_t at) {
    char text[NOTED_BYTES];
    ssize_t n = pread(m->lock_fd, text, sizeof text, at);
    struct slice s = slice_of(text, n > 0 ? (size_t)n : 0);
    uint64_t uid = 0;

    return num_take(&s, UINT32_MAX - 1, &uid) && slice_eq(s, S("\n")) ? (uint32_t)uid : 0;
}

static void note_uid(struct mailbox *m, off_t at, uint32_t uid) {
    char text[32];
    int n = snprintf(text, sizeof text, "%010u\n", uid);

    (void)file_write_at(m->lock_fd, slice_of(text, (size_t)n), at, "postbag-lock", NULL);
}

uint32_t mailbox_noted_recent(struct mailbox *m) { return noted_uid(m, RECENT_AT); }
void mailbox_note_recent(struct mailbox *m, uint32_t uid) { note_uid(m, RECENT_AT, uid); }

uint64_t mailbox_bump(struct mailbox *m) {
    char text[32];
    uint64_t noted = mailbox_noted_modseq(m), now = (uint64_t)clock_wall_us();
    bool has_all = noted <= m->read_to;
    int n;

    if (noted > m->highest) m->highest = noted;
    m->highest = now > m->highest ? now : m->highest + 1;
    if (has_all) m->read_to = m->highest;
    n = snprintf(text, sizeof text, "%019llu\n", (unsigned long long)m->highest);
    /* Not synced: were it lost, the clock is ahead of it anyway. */
    (void)file_write_at(m->lock_fd, slice_of(text, (size_t)n), 0, "postbag-lock", NULL);
    return m->highest;
}

/* --- uidlist ---------------------------------------------------------------------------------- */

static uint32_t hash_of(struct slice s) {
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h;
}

static struct slice known_name(const struct mailbox *m, size_t i) {
    return slice_of(m->uid_text.p + m->known[i].at, m->known[i].n);
}

static void hash_add(struct mailbox *m, size_t i) {
    uint32_t h = hash_of(known_name(m, i));

    while (m->hash[h & (m->hash_size - 1)]) h++;
    m->hash[h & (m->hash_size - 1)] = (uint32_t)i + 1;
}

size_t uidlist_find(const struct mailbox *m, struct slice base) {
    uint32_t h = hash_of(base), at;

    if (!m->hash_size) return SIZE_MAX;
    for (; (at = m->hash[h & (m->hash_size - 1)]); h++)
        if (slice_eq(known_name(m, at - 1), base)) return at - 1;
    return SIZE_MAX;
}

size_t uidlist_last(const struct mailbox *m, size_t nth, struct slice base) {
    size_t i = m->n_known - nth;

    return nth <= m->n_known && slice_eq(known_name(m, i), base) ? i : uidlist_find(m, base);
}

uint32_t mailbox_uid_of(const struct mailbox *m, const char *name) {
    size_t i = uidlist_find(m, slice_of(name, maildir_base(name)));

    return i == SIZE_MAX ? 0 : m->known[i].uid;
}

static bool known_add(struct mailbox *m, uint32_t uid, size_t at, size_t n) {
    if (m->n_known == m->cap_known) {
        size_t cap = m->cap_known ? m->cap_known * 2 : 64;
        struct known *v = realloc(m->known, cap * sizeof *v);

        if (!v) return false;
        m->known = v;
        m->cap_known = cap;
    }
    if ((m->n_known + 1) * 2 > m->hash_size) {
        size_t size = m->hash_size ? m->hash_size * 4 : 256;
        uint32_t *h = calloc(size, sizeof *h);

        if (!h) return false;
        free(m->hash);
        m->hash = h;
        m->hash_size = size;
        for (size_t i = 0; i < m->n_known; i++) hash_add(m, i);
    }
    m->known[m->n_known] = (struct known){.uid = uid, .at = (uint32_t)at, .n = (uint32_t)n};
    hash_add(m, m->n_known++);
    return true;
}

void uidlist_forget(struct mailbox *m) {
    buf_reset(&m->uid_text);
    m->n_known = 0;
    if (m->hash) memset(m->hash, 0, m->hash_size * sizeof *m->hash);
    m->uid_ino = m->uid_size = 0;
}

/* "postbag-uidlist 1 V<validity> N<next>" */
static bool parse_head(struct mailbox *m, struct slice line) {
    struct slice word;
    uint64_t validity, next;

    if (!slice_word(&line, &word) || !slice_eq(word, S("postbag-uidlist"))) return false;
    if (!slice_word(&line, &word) || !slice_eq(word, S("1"))) return false;
    if (!slice_word(&line, &word) || !slice_starts(word, S("V")) ||
        !num_parse(slice_from(word, 1), UINT32_MAX, &validity) || validity == 0)
        return false;
    if (!slice_word(&line, &word) || !slice_starts(word, S("N")) ||
        !num_parse(slice_from(word, 1), UINT32_MAX, &next) || next == 0)
        return false;
    m->validity = (uint32_t)validity;
    m->next = (uint32_t)next;
    return true;
}

/* Read what is new in postbag-uidlist, from the start if it was replaced. Lock held. */
static enum err_code read_uidlist(struct mailbox *m, struct err *e) {
    struct stat st;
    enum err_code code = OK;
    int fd = openat(m->fd, "postbag-uidlist", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    size_t at;

    if (fd < 0 && errno == ENOENT) {
        uidlist_forget(m);
        return ERR_NOT_FOUND;
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        code = err_sys(e, "cannot read postbag-uidlist");
        fd_close(&fd);
        return code;
    }
    if (st.st_ino == m->uid_ino && (uint64_t)st.st_size == m->uid_size) {
        fd_close(&fd);
        return OK;
    }
    if (st.st_ino != m->uid_ino || (uint64_t)st.st_size < m->uid_size) uidlist_forget(m);
    at = m->uid_text.n;
    if (lseek(fd, (off_t)at, SEEK_SET) < 0) code = err_sys(e, "cannot read postbag-uidlist");
    else code = file_read_fd(fd, "postbag-uidlist", &m->uid_text, e);
    if (code == OK && m->uid_text.n && m->uid_text.p[m->uid_text.n - 1] != '\n') {
        /* a line that a crash cut: its uid was never told to anyone */
        size_t end = slice_rchr(buf_slice(&m->uid_text), '\n');

        end = end == SLICE_NONE ? 0 : end + 1;
        if (ftruncate(fd, (off_t)end) != 0) code = err_sys(e, "cannot repair postbag-uidlist");
        buf_cut(&m->uid_text, end);
    }
    m->uid_ino = st.st_ino;
    m->uid_size = m->uid_text.n;
    fd_close(&fd);
    while (code == OK && at < m->uid_text.n) {
        struct slice rest = slice_from(buf_slice(&m->uid_text), at), line, name;
        size_t end = slice_chr(rest, '\n');
        uint64_t uid;

        line = slice_first(rest, end);
        if (at == 0) {
            if (!parse_head(m, line)) {
                uidlist_forget(m);
                return ERR_NOT_FOUND; /* unreadable is as good as lost */
            }
        } else {
            name = line;
            if (num_take(&name, UINT32_MAX - 1, &uid) && slice_starts(name, S(" ")) && name.n > 1 &&
                uid > (m->n_known ? m->known[m->n_known - 1].uid : 0)) {
                name = slice_from(name, 1);
                if (uidlist_find(m, name) == SIZE_MAX &&
                    !known_add(m, (uint32_t)uid, (size_t)(name.p - m->uid_text.p), name.n))
                    code = no_memory(e);
                if (uid >= m->next) m->next = (uint32_t)uid + 1;
            }
        }
        at += end + 1;
    }
    if (code == OK && noted_uid(m, NEXT_AT) > m->next) m->next = noted_uid(m, NEXT_AT);
    if (code != OK) uidlist_forget(m);
    return code;
}

static enum err_code write_uidlist(struct mailbox *m, struct slice text, struct err *e) {
    static const char temp[] = "tmp/postbag-uidlist.new";
    int fd = openat(m->fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                    0600);
    enum err_code code;

    if (fd < 0) return err_sys(e, "cannot write postbag-uidlist");
    fd_own_like(fd, m->fd);
    code = file_write(fd, text, "postbag-uidlist", e);
    if (code == OK) code = file_sync(fd, "postbag-uidlist", e);
    fd_close(&fd);
    if (code == OK && renameat(m->fd, temp, m->fd, "postbag-uidlist") != 0)
        code = err_sys(e, "cannot replace postbag-uidlist");
    if (code == OK && fsync(m->fd) != 0) code = err_sys(e, "cannot sync a mailbox");
    if (code != OK) unlinkat(m->fd, temp, 0);
    return code;
}

/* The uidlist as it is now; a new one with a new UIDVALIDITY where there is none. Lock held. */
enum err_code uidlist_load(struct mailbox *m, struct err *e) {
    enum err_code code = read_uidlist(m, e);
    struct buf text;

    if (code != ERR_NOT_FOUND) return code;
    buf_init(&text, UIDLIST_MAX);
    if (!takeover_uidlist(m, &m->validity, &text)) {
        buf_reset(&text);
        code = maildir_new_validity(m->store, &m->validity, e);
        buf_addf(&text, "postbag-uidlist 1 V%u N1\n", m->validity);
    } else {
        code = OK;
    }
    if (code == OK) code = write_uidlist(m, buf_slice(&text), e);
    if (code == OK) mailbox_note_recent(m, 0);
    buf_release(&text);
    if (code == OK) code = read_uidlist(m, e);
    return code == ERR_NOT_FOUND ? err_set(e, ERR_IO, "postbag-uidlist does not stay") : code;
}

/* Leave out lines of messages that are gone, when they are most of the file. Lock held. */
void uidlist_compact(struct mailbox *m) {
    struct buf out;

    if (m->n_known < 2 * m->n + 1000) return;
    buf_init(&out, UIDLIST_MAX);
    buf_addf(&out, "postbag-uidlist 1 V%u N%u\n", m->validity, m->next);
    for (size_t i = 0; i < m->n; i++)
        buf_addf(&out, "%u %.*s\n", m->v[i].uid, (int)maildir_base(m->f[i].name), m->f[i].name);
    if (!out.bad) (void)write_uidlist(m, buf_slice(&out), NULL); /* else it stays long */
    buf_release(&out);
}

enum err_code mailbox_assign(struct mailbox *m, const char *const *names, size_t n,
                             uint32_t *first_uid, struct err *e) {
    enum err_code code = OK;
    struct buf lines;
    uint32_t uid;
    int fd;

    if (n > UINT32_MAX - 1 - m->next || m->n_known + n > STORE_MESSAGES_MAX)
        return err_set(e, ERR_LIMIT, "the mailbox has no more UIDs");
    *first_uid = uid = m->next;
    buf_init(&lines, UIDLIST_MAX);
    for (size_t i = 0; i < n; i++) {
        buf_addu(&lines, uid++);
        buf_addc(&lines, ' ');
        buf_add(&lines, slice_of(names[i], maildir_base(names[i])));
        buf_addc(&lines, '\n');
    }
    fd =
        openat(m->fd, "postbag-uidlist", O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) code = err_sys(e, "cannot write postbag-uidlist");
    else if (lines.bad) code = no_memory(e);
    if (code == OK) code = file_write(fd, buf_slice(&lines), "postbag-uidlist", e);
    if (code == OK) code = file_sync(fd, "postbag-uidlist", e);
    if (code == OK) note_uid(m, NEXT_AT, uid);
    if (code != OK && fd >= 0 && ftruncate(fd, (off_t)m->uid_size) != 0) uidlist_forget(m);
    fd_close(&fd);
    buf_release(&lines);
    return code == OK ? read_uidlist(m, e) : code;
}

/* --- keywords --------------------------------------------------------------------------------- */

static bool is_keyword(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 127 || strchr("(){%*\"\\]", s.p[i])) return false;
    return s.n > 0 && s.n <= STORE_KEYWORD_LEN_MAX;
}

void keywords_read(struct mailbox *m) {
    int fd = openat(m->fd, "postbag-keywords", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct slice rest, line;
    struct stat st;
    struct buf b;

    if (fd < 0) return;
    buf_init(&b, KEYWORDS_BYTES_MAX);
    if (fstat(fd, &st) == 0 && time_ns(&st.st_mtim) != m->keywords_changed &&
        file_read_fd(fd, "postbag-keywords", &b, NULL) == OK) {
        m->keywords_changed = time_ns(&st.st_mtim);
        for (rest = buf_slice(&b);
             slice_chr(rest, '\n') != SLICE_NONE && slice_line(&rest, &line);) {
            uint64_t k; // a last line without an end is being written, or was cut

            if (!num_take(&line, STORE_KEYWORDS_MAX - 1, &k)) continue;
            line = slice_trim(line);
            if (!is_keyword(line) || m->keywords[k]) continue;
            m->keywords[k] = strndup(line.p, line.n);
            if (m->keywords[k] && k >= m->n_keywords) m->n_keywords = (size_t)k + 1;
        }
    }
    fd_close(&fd);
    buf_release(&b);
}

size_t mailbox_keywords(const struct mailbox *m, const char *const **names) {
    *names = (const char *const *)m->keywords;
    return m->n_keywords;
}

static uint64_t find_keyword(const struct mailbox *m, struct slice name) {
    for (size_t k = 0; k < m->n_keywords; k++)
        if (m->keywords[k] && slice_ieq(slice_str(m->keywords[k]), name))
            return (uint64_t)1 << (STORE_KEYWORD_FIRST + k);
    return 0;
}

enum err_code mailbox_keyword_bit(struct mailbox *m, struct slice name, bool may_add, uint64_t *bit,
                                  struct err *e) {
    return mailbox_keyword_make(m, name, may_add && m->mode == MAILBOX_WRITE, bit, e);
}

/* Durable, or not at all; a line that a crash cut short goes. Lock held. */
static enum err_code add_keyword(struct mailbox *m, size_t k, struct slice name, struct err *e) {
    int fd = openat(m->fd, "postbag-keywords",
                    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    enum err_code code = OK;
    struct buf text;
    size_t at, end;

    if (fd < 0) return err_sys(e, "cannot open postbag-keywords");
    buf_init(&text, KEYWORDS_BYTES_MAX);
    code = file_read_fd(fd, "postbag-keywords", &text, e);
    at = slice_rchr(buf_slice(&text), '\n');
    end = at == SLICE_NONE ? 0 : at + 1;
    buf_cut(&text, end);
    if (code == OK && !buf_addf(&text, "%zu %.*s\n", k, SP(name))) code = no_memory(e);
    if (code == OK) {
        code =
            file_write_at(fd, slice_from(buf_slice(&text), end), (off_t)end, "postbag-keywords", e);
        if (code == OK) code = file_sync(fd, "postbag-keywords", e);
        if (code != OK && ftruncate(fd, (off_t)end) != 0) /* it is cut next time */
            m->keywords_changed = 0;
    }
    fd_close(&fd);
    buf_release(&text);
    return code;
}

enum err_code mailbox_keyword_make(struct mailbox *m, struct slice name, bool may_add,
                                   uint64_t *bit, struct err *e) {
    enum err_code code;
    size_t k = 0;

    *bit = find_keyword(m, name);
    if (*bit || !may_add || !is_keyword(name)) return OK;
    code = mailbox_lock(m, e);
    if (code != OK) return code;
    keywords_read(m);
    *bit = find_keyword(m, name);
    while (!*bit && k < STORE_KEYWORDS_MAX && m->keywords[k]) k++;
    if (!*bit && k < STORE_KEYWORDS_MAX) {
        code = add_keyword(m, k, name, e);
        if (code == OK) keywords_read(m);
        *bit = find_keyword(m, name);
        if (code == OK && !*bit) code = err_set(e, ERR_IO, "postbag-keywords cannot be read");
    }
    mailbox_unlock(m);
    return code;
}
