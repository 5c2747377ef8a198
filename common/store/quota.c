#include "store/quota.h"

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

static const char file_name[] = "maildirsize";

void store_limit(struct store *s, uint64_t octets, uint64_t messages) {
    s->octets_max = octets;
    s->messages_max = messages;
}

static bool has_limit(const struct store *s) { return s->octets_max || s->messages_max; }

/* --- count ------------------------------------------------------------------------------------ */

static void count_sub(int dir_fd, const char *path, struct quota *q) {
    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *d;

    if (!dir) {
        fd_close(&fd);
        return;
    }
    while ((d = readdir(dir))) {
        uint64_t size;
        struct stat st;

        if (d->d_name[0] == '.') continue;
        size = maildir_number(d->d_name, 'S');
        if (size == STORE_SIZE_UNKNOWN)
            size = fstatat(fd, d->d_name, &st, 0) == 0 ? (uint64_t)st.st_size : 0;
        q->octets += size;
        q->messages++;
    }
    closedir(dir);
}

static void put_head(const struct store *s, struct buf *out) {
    if (s->octets_max) buf_addf(out, "%lluS", (unsigned long long)s->octets_max);
    if (s->messages_max)
        buf_addf(out, "%s%lluC", s->octets_max ? "," : "", (unsigned long long)s->messages_max);
    buf_addc(out, '\n');
}

static void count(struct store *s, struct quota *q) {
    struct store_names l;
    char path[5000];
    struct buf text;

    q->octets = q->messages = 0;
    if (store_list(s, &l, NULL) != OK) return;
    for (size_t i = 0; i < l.n; i++) {
        char dir[FILE_NAME_MAX], sub[FILE_NAME_MAX + 8];

        if (l.v[i].is_missing || maildir_name(slice_str(l.v[i].name), dir, NULL) != OK) continue;
        snprintf(sub, sizeof sub, "%s/new", dir);
        count_sub(s->root_fd, sub, q);
        snprintf(sub, sizeof sub, "%s/cur", dir);
        count_sub(s->root_fd, sub, q);
    }
    store_names_release(&l);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", s->root, file_name) >= sizeof path) return;
    buf_init(&text, 1024);
    put_head(s, &text);
    buf_addf(&text, "%llu %llu\n", (unsigned long long)q->octets, (unsigned long long)q->messages);
    file_replace(path, buf_slice(&text), 0600, NULL); /* else it is counted again the next time */
    buf_release(&text);
}

/* --- the file --------------------------------------------------------------------------------- */

static bool take_signed(struct slice *s, int64_t *out) {
    bool is_negative = s->n && s->p[0] == '-';
    uint64_t n;

    if (is_negative) *s = slice_from(*s, 1);
    if (!num_take(s, INT64_MAX, &n)) return false;
    *out = is_negative ? -(int64_t)n : (int64_t)n;
    return true;
}

/* The sum of the lines; false: it must be counted anew. */
static bool sum(const struct store *s, struct slice text, struct quota *q) {
    int64_t octets = 0, messages = 0, n;
    struct slice line;
    struct buf head;
    bool is_ours;

    buf_init(&head, 200);
    put_head(s, &head);
    is_ours = slice_starts(text, buf_slice(&head));
    if (is_ours) text = slice_from(text, head.n);
    buf_release(&head);
    if (!is_ours) return false;
    while (slice_line(&text, &line)) {
        line = slice_trim(line);
        if (!take_signed(&line, &n)) return false;
        octets += n;
        line = slice_trim(line);
        if (!take_signed(&line, &n)) return false;
        messages += n;
    }
    if (octets < 0 || messages < 0) return false;
    q->octets = (uint64_t)octets;
    q->messages = (uint64_t)messages;
    return true;
}

static bool is_over(const struct quota *q) {
    return (q->octets_max && q->octets > q->octets_max) ||
           (q->messages_max && q->messages > q->messages_max);
}

/* `more`: what is to be added. */
static void look(struct store *s, const struct quota *more, struct quota *q) {
    struct quota then;
    struct buf text;
    struct stat st = {0};
    int fd = openat(s->root_fd, file_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool is_known;

    *q = (struct quota){.octets_max = s->octets_max, .messages_max = s->messages_max};
    buf_init(&text, QUOTA_FILE_MAX);
    is_known = fd >= 0 && fstat(fd, &st) == 0 && st.st_size <= QUOTA_FILE_MAX &&
               file_read_fd(fd, file_name, &text, NULL) == OK && sum(s, buf_slice(&text), q);
    fd_close(&fd);
    buf_release(&text);
    then = *q;
    then.octets += more->octets;
    then.messages += more->messages;
    if (!is_known || (is_over(&then) && st.st_mtim.tv_sec + QUOTA_AGE_S < clock_wall()))
        count(s, q);
}

bool quota_read(struct store *s, struct quota *out) {
    if (!has_limit(s)) return false;
    look(s, &(struct quota){0}, out);
    return true;
}

enum err_code quota_check(struct store *s, uint64_t octets, uint64_t messages, struct err *e) {
    struct quota q, more = {.octets = octets, .messages = messages};

    if (!has_limit(s)) return OK;
    look(s, &more, &q);
    q.octets += octets;
    q.messages += messages;
    if (!is_over(&q)) return OK;
    err_mail(e, ERR_FULL, STATUS(5, 2, 2), "the mailbox is full");
    if (e) e->sys = EDQUOT;
    return ERR_FULL;
}

void quota_add(struct store *s, int64_t octets, int64_t messages) {
    char line[64];
    int n, fd;

    if (!has_limit(s) || (!octets && !messages)) return;
    fd = openat(s->root_fd, file_name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return; /* counted at the next look */
    n = snprintf(line, sizeof line, "%lld %lld\n", (long long)octets, (long long)messages);
    /* One write of a short line: others see it whole. When it fails the count is wrong: anew. */
    if (write(fd, line, (size_t)n) != n) quota_forget(s);
    fd_close(&fd);
}

void quota_forget(struct store *s) {
    if (has_limit(s)) unlinkat(s->root_fd, file_name, 0);
}
