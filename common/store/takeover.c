/* takeover: the UIDs and keywords that Dovecot gave in this Maildir, so that clients notice no
 * change of the server. Once: where there is no postbag-uidlist yet. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "store/maildir.h"
#include "sys/file.h"
#include "sys/lock.h"

/* Larger ones would leave none for the mailboxes made later: those are larger still. */
enum { VALIDITY_MAX = INT32_MAX };

/* HOME/Maildir/postbag-validities: what is_taken asks, so that an account of many mailboxes is not
 * read once for each of them. Lines of one number: first the largest that was given when the file
 * was made, then every one that a mailbox had then or took over since. Without it, it is made. */
static const char validities[] = "postbag-validities";
enum { VALIDITIES_MAX = 32 << 20 };

/* The UIDVALIDITY of every mailbox of the account that has one from us, a line each. */
static bool collect(struct store *s, struct buf *out) {
    struct store_names l;

    if (store_list(s, &l, NULL) != OK) return false;
    for (size_t i = 0; i < l.n; i++) {
        char dir[FILE_NAME_MAX], path[FILE_NAME_MAX + 32], head[128];
        struct slice text;
        uint64_t v;
        ssize_t n;
        int fd;

        if (l.v[i].is_missing || maildir_name(slice_str(l.v[i].name), dir, NULL) != OK) continue;
        snprintf(path, sizeof path, "%s/postbag-uidlist", dir);
        fd = openat(s->root_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        n = fd >= 0 ? read(fd, head, sizeof head) : 0;
        fd_close(&fd);
        text = slice_of(head, n > 0 ? (size_t)n : 0);
        if (!slice_starts(text, S("postbag-uidlist 1 V"))) continue;
        text = slice_from(text, sizeof "postbag-uidlist 1 V" - 1);
        if (num_take(&text, UINT32_MAX, &v)) buf_addf(out, "%010llu\n", (unsigned long long)v);
    }
    store_names_release(&l);
    return !out->bad;
}

static bool has_number(struct slice text, uint32_t want) {
    struct slice line;
    uint64_t v;

    while (slice_line(&text, &line))
        if (num_parse(line, UINT32_MAX, &v) && v == want) return true;
    return false;
}

/* Make the file anew: `taken` becomes its lines, but for the first. */
static bool make_list(struct store *s, struct buf *taken) {
    char path[5000];
    struct buf text;
    uint32_t given;
    bool is_good;

    buf_reset(taken);
    is_good = (size_t)snprintf(path, sizeof path, "%s/%s", s->root, validities) < sizeof path &&
              maildir_new_validity(s, &given, NULL) == OK && collect(s, taken);
    buf_init(&text, VALIDITIES_MAX);
    buf_addf(&text, "%010u\n", is_good ? given : 0);
    buf_add(&text, buf_slice(taken));
    is_good = is_good && !text.bad && file_replace(path, buf_slice(&text), 0600, NULL) == OK;
    buf_release(&text);
    return is_good;
}

/* Make this one the mailbox' own. False: another of the account has it, which makes the two one for
 * the index (files copied by hand can), or that cannot be found out. */
static bool claim(struct store *s, uint32_t validity) {
    int lock = openat(s->root_fd, "postbag-uidvalidity", O_RDWR | O_CREAT | O_CLOEXEC, 0600), fd;
    struct buf taken;
    struct slice rest, line;
    uint64_t given = 0;
    char own[16];
    bool is_ours = false;

    if (lock < 0) return false;
    fd_own_like(lock, s->root_fd);
    buf_init(&taken, VALIDITIES_MAX);
    if (lock_wait(lock, TAKEOVER_LOCK, true, STORE_LOCK_WAIT_MS, validities, NULL) != OK) goto done;
    fd = openat(s->root_fd, validities, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && file_read_fd(fd, validities, &taken, NULL) != OK) buf_reset(&taken);
    fd_close(&fd);
    rest = buf_slice(&taken);
    /* Larger than all of then: we may have given it since. A line that a crash cut: who knows.
     * It is in the list: the mailbox may be gone since. */
    if (!slice_ends(rest, S("\n")) || !slice_line(&rest, &line) ||
        !num_parse(line, UINT32_MAX, &given) || validity > given || has_number(rest, validity)) {
        if (!make_list(s, &taken) || has_number(buf_slice(&taken), validity)) goto done;
    }
    fd = openat(s->root_fd, validities, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    snprintf(own, sizeof own, "%010u\n", validity);
    is_ours = fd >= 0 && file_write(fd, slice_str(own), validities, NULL) == OK &&
              file_sync(fd, validities, NULL) == OK;
    if (fd >= 0) fd_own_like(fd, s->root_fd);
    fd_close(&fd);
done:
    fd_close(&lock);
    buf_release(&taken);
    return is_ours && maildir_note_validity(s, validity) == OK;
}

/* "3 V<validity> N<next> G<guid>", before Dovecot 1.1 "1 <validity> <next>". */
static bool parse_head(struct slice line, uint32_t *validity, uint32_t *next) {
    struct slice word;
    bool is_old;
    uint64_t v = 0, n = 0;

    if (!slice_word(&line, &word)) return false;
    is_old = slice_eq(word, S("1"));
    if (!is_old && !slice_eq(word, S("3"))) return false;
    for (int i = 0; slice_word(&line, &word); i++) {
        char key = is_old ? "VN"[i > 1 ? 1 : i] : word.p[0];

        if (!is_old) word = slice_from(word, 1);
        if (key == 'V' && !num_parse(word, UINT32_MAX, &v)) return false;
        if (key == 'N' && !num_parse(word, UINT32_MAX, &n)) return false;
    }
    *validity = (uint32_t)v;
    *next = (uint32_t)n;
    return v > 0 && v <= VALIDITY_MAX && n > 0;
}

/* "<uid> <fields> :<file name>", before "<uid> <file name>". */
static bool parse_line(struct slice line, uint64_t *uid, struct slice *base) {
    size_t colon;
    char name[FILE_NAME_MAX];

    if (!num_take(&line, UINT32_MAX - 1, uid) || *uid == 0 || !slice_starts(line, S(" ")))
        return false;
    colon = slice_find(line, S(" :"));
    *base = slice_from(line, colon == SLICE_NONE ? 1 : colon + 2);
    if (!base->n || base->n >= sizeof name || slice_chr(*base, '/') != SLICE_NONE) return false;
    snprintf(name, sizeof name, "%.*s", SP(*base));
    base->n = maildir_base(name);
    return base->n > 0 && slice_chr(*base, ' ') == SLICE_NONE;
}

/* Letters a to z in file names mean the same in both files. */
static void take_keywords(struct mailbox *m) {
    int from = openat(m->fd, "dovecot-keywords", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK),
        to;
    struct buf text;

    if (from < 0) return;
    buf_init(&text, 64 * 1024);
    to = openat(m->fd, "postbag-keywords", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to >= 0 && file_read_fd(from, "dovecot-keywords", &text, NULL) == OK) {
        fd_own_like(to, m->fd);
        if (file_write(to, buf_slice(&text), "postbag-keywords", NULL) != OK ||
            file_sync(to, "postbag-keywords", NULL) != OK)
            unlinkat(m->fd, "postbag-keywords", 0);
    }
    fd_close(&to);
    fd_close(&from);
    buf_release(&text);
}

/* Once: should our uidlist be lost later, UIDs that we gave would be given again. */
static bool mark(struct mailbox *m) {
    int fd = openat(m->fd, "postbag-takeover", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool is_good = fd >= 0 && fsync(fd) == 0 && fsync(m->fd) == 0;

    if (fd >= 0) fd_own_like(fd, m->fd);
    fd_close(&fd);
    return is_good;
}

bool takeover_uidlist(struct mailbox *m, uint32_t *validity, struct buf *out) {
    int fd = openat(m->fd, "dovecot-uidlist", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct buf text;
    struct slice rest, line, base;
    uint32_t next = 0;
    uint64_t uid, last = 0;
    bool is_good;

    if (fd < 0) return false;
    buf_init(&text, UIDLIST_MAX);
    is_good = file_read_fd(fd, "dovecot-uidlist", &text, NULL) == OK;
    fd_close(&fd);
    rest = buf_slice(&text);
    is_good = is_good && slice_line(&rest, &line) && parse_head(line, validity, &next) &&
              claim(m->store, *validity);
    if (is_good) {
        buf_addf(out, "postbag-uidlist 1 V%u N%u\n", *validity, next);
        while (slice_line(&rest, &line)) {
            /* A line that is none, or out of order, gets a new UID. */
            if (!parse_line(line, &uid, &base) || uid <= last) continue;
            last = uid;
            buf_addf(out, "%llu %.*s\n", (unsigned long long)uid, SP(base));
        }
        is_good = !out->bad && mark(m);
    }
    if (is_good) take_keywords(m);
    buf_release(&text);
    return is_good;
}
