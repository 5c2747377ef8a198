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

/* Larger ones would leave none for the mailboxes made later: those are larger still. */
enum { VALIDITY_MAX = INT32_MAX };

/* Do two mailboxes of the account have one UIDVALIDITY? (Files copied by hand can.) */
static bool is_taken(struct store *s, uint32_t validity) {
    struct store_names l;
    bool is = false;

    if (store_list(s, &l, NULL) != OK) return true;
    for (size_t i = 0; i < l.n && !is; i++) {
        char dir[FILE_NAME_MAX], path[FILE_NAME_MAX + 32], head[128], want[64];
        ssize_t n;
        int fd;

        if (l.v[i].is_missing || maildir_name(slice_str(l.v[i].name), dir, NULL) != OK) continue;
        snprintf(path, sizeof path, "%s/postbag-uidlist", dir);
        fd = openat(s->root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        n = fd >= 0 ? read(fd, head, sizeof head) : 0;
        snprintf(want, sizeof want, "postbag-uidlist 1 V%u ", validity);
        is = n > 0 && slice_starts(slice_of(head, (size_t)n), slice_str(want));
        fd_close(&fd);
    }
    store_names_release(&l);
    return is;
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
    int from = openat(m->fd, "dovecot-keywords", O_RDONLY | O_CLOEXEC | O_NOFOLLOW), to;
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
    int fd = openat(m->fd, "dovecot-uidlist", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
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
              !is_taken(m->store, *validity) && maildir_note_validity(m->store, *validity) == OK;
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
