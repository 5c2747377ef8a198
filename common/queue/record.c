/* record: the format of segments and journals. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/crc32c.h"
#include "base/num.h"
#include "queue/impl.h"
#include "sys/clock.h"
#include "sys/file.h"

void queue_path(const struct queue *q, char path[PATH_MAX], const char *name, const char *ending) {
    snprintf(path, PATH_MAX, "%s/%s%s", q->dir, name, ending);
}

static ssize_t read_at(int fd, void *p, size_t n, uint64_t offset) {
    size_t got = 0;

    while (got < n) {
        ssize_t r = pread(fd, (char *)p + got, n - got, (off_t)(offset + got));

        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        if (r == 0) break;
        got += (size_t)r;
    }
    return (ssize_t)got;
}

static bool take_hex(struct slice s, uint32_t *out) {
    uint32_t v = 0;

    if (s.n != 8) return false;
    for (size_t i = 0; i < 8; i++) {
        int d = ascii_hex(s.p[i]);

        if (d < 0) return false;
        v = v << 4 | (uint32_t)d;
    }
    *out = v;
    return true;
}

static bool is_id(struct slice s) {
    if (s.n == 0 || s.n >= QUEUE_ID_MAX) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i])) return false;
    return true;
}

enum err_code segment_size(int fd, uint64_t *file_size) {
    char block[16 * 1024];

    while (*file_size > 0) {
        size_t n = *file_size < sizeof block ? (size_t)*file_size : sizeof block;

        if (read_at(fd, block, n, *file_size - n) != (ssize_t)n) return ERR_IO;
        while (n > 0 && block[n - 1] == 0) n--, --*file_size;
        if (n > 0) break;
    }
    return OK;
}

enum step record_read(int fd, uint64_t offset, uint64_t file_size, struct record *r) {
    char text[RECORD_HEADER_MAX];
    ssize_t n = read_at(fd, text, sizeof text, offset);
    struct slice line, word[6], rest;
    uint64_t env_size, size;

    r->is_unread = n < 0;
    if (offset >= file_size) return STEP_MORE;
    if (n <= 0) return STEP_BAD;
    rest = slice_of(text, (size_t)n);
    if (!slice_cut(rest, '\n', &line, &rest)) return STEP_BAD;
    r->at = offset + line.n + 1;
    for (size_t i = 0; i < 5; i++)
        if (!slice_word(&line, &word[i])) return STEP_BAD;
    if (line.n != 0 || !slice_eq(word[0], S("PBM1")) || !is_id(word[1]) ||
        !num_parse(word[2], ENVELOPE_BYTES_MAX, &env_size) ||
        !num_parse(word[3], (uint64_t)1 << 40, &size) || !take_hex(word[4], &r->crc))
        return STEP_BAD;
    memcpy(r->id, word[1].p, word[1].n);
    r->id[word[1].n] = 0;
    r->env_size = (uint32_t)env_size;
    r->size = size;
    return r->at + env_size + size + 1 <= file_size ? STEP_DONE : STEP_BAD;
}

uint32_t record_header_crc(const char *id, uint64_t env_size, uint64_t size) {
    char text[RECORD_HEADER_MAX];
    int n = snprintf(text, sizeof text, "PBM1 %s %llu %llu ", id, (unsigned long long)env_size,
                     (unsigned long long)size);

    return crc32c(0, slice_of(text, (size_t)n));
}

enum err_code record_check(int fd, const struct record *r) {
    enum { CHUNK = 128 * 1024 };
    uint64_t left = r->env_size + r->size, at = r->at;
    char *p = malloc(CHUNK), last = 0;
    uint32_t crc = record_header_crc(r->id, r->env_size, r->size);
    ssize_t got = 0;
    bool ok = true;

    if (!p) return ERR_MEMORY;
    while (ok && left > 0) {
        size_t n = left < CHUNK ? (size_t)left : CHUNK;

        got = read_at(fd, p, n, at);
        ok = got == (ssize_t)n;
        if (ok) crc = crc32c(crc, slice_of(p, n));
        at += n;
        left -= n;
    }
    free(p);
    if (ok) {
        got = read_at(fd, &last, 1, at);
        ok = got == 1 && last == '\n' && crc == r->crc;
    }
    return got < 0 ? ERR_IO : ok ? OK : ERR_SYNTAX;
}

enum err_code record_envelope(int fd, uint64_t at, uint32_t size, struct buf *out, struct err *e) {
    char *p = buf_room(out, size);

    if (!p) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for the envelope");
    if (read_at(fd, p, size, at) != (ssize_t)size) return err_sys(e, "cannot read the queue");
    buf_grown(out, size);
    return OK;
}

/* --- journal -------------------------------------------------------------------------------------
 */

bool journal_next(struct slice *text, struct journal_line *l) {
    size_t end;

    while ((end = slice_chr(*text, '\n')) != SLICE_NONE) {
        struct slice line = slice_first(*text, end), crc, rest, word;
        uint32_t sum;
        uint64_t v;

        *text = slice_from(*text, end + 1);
        slice_cut(line, ' ', &crc, &rest);
        if (!take_hex(crc, &sum) || crc32c(0, rest) != sum) continue;
        if (!slice_word(&rest, &word) || !num_parse(word, INT64_MAX, &v)) continue;
        l->at = (wall_t)v;
        if (!slice_word(&rest, &l->id) || !is_id(l->id) || !slice_word(&rest, &word)) continue;
        l->rcpt = -1;
        if (!slice_eq(word, S("*"))) {
            if (!num_parse(word, ENVELOPE_RCPT_MAX, &v)) continue;
            l->rcpt = (int)v;
        }
        if (!slice_word(&rest, &l->word)) continue;
        l->detail = slice_trim(rest);
        return true;
    }
    return false;
}

static enum err_code open_journal(struct queue *q, struct segment *s, struct err *e) {
    char path[PATH_MAX], last = '\n';
    struct stat st;
    enum err_code code = OK;

    queue_path(q, path, s->name, ".jnl");
    s->journal_fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (s->journal_fd >= 0) fd_own_like_path(s->journal_fd, q->dir);
    if (s->journal_fd < 0) return err_sys(e, "cannot open %s", path);
    /* A line that a crash tore is ended, so that the next one stands alone. */
    if (fstat(s->journal_fd, &st) < 0 ||
        (st.st_size > 0 && pread(s->journal_fd, &last, 1, st.st_size - 1) != 1))
        code = err_sys(e, "cannot read %s", path);
    else if (last != '\n') code = file_write(s->journal_fd, S("\n"), path, e);
    if (code != OK) {
        fd_close(&s->journal_fd);
        return code;
    }
    s->journal_bytes = (uint64_t)st.st_size + (last != '\n');
    return OK;
}

void journal_format(struct buf *out, wall_t at, const char *id, int rcpt, const char *word,
                    struct slice detail) {
    size_t start = out->n;
    char who[16] = "*";
    uint32_t crc;

    if (rcpt >= 0) snprintf(who, sizeof who, "%d", rcpt);
    buf_addf(out, "00000000 %lld %s %s %s ", (long long)at, id, who, word);
    buf_add(out, slice_first(detail, JOURNAL_DETAIL_MAX));
    if (out->bad) return;
    for (size_t i = start; i < out->n; i++)
        if (out->p[i] == '\n' || out->p[i] == '\r' || out->p[i] == 0) out->p[i] = ' ';
    crc = crc32c(0, slice_from(buf_slice(out), start + 9));
    for (size_t i = 0; i < 8; i++) out->p[start + i] = "0123456789abcdef"[crc >> (28 - 4 * i) & 15];
    buf_addc(out, '\n');
}

/* After a failure the journal is closed: a line that was torn is ended when it is opened again. */
static enum err_code append(struct queue *q, struct segment *s, struct slice text, struct err *e) {
    enum err_code code = s->journal_fd < 0 ? open_journal(q, s, e) : OK;

    if (code == OK) code = file_write(s->journal_fd, text, "the queue's journal", e);
    if (code == OK) s->journal_bytes += text.n;
    else fd_close(&s->journal_fd);
    s->is_journal_dirty = true;
    return code;
}

enum err_code journal_touch(struct queue *q, struct segment *s, struct err *e) {
    enum err_code code = s->journal_fd < 0 ? open_journal(q, s, e) : OK;

    /* A name that was there when the lease was taken is in the directory already. */
    if (code == OK && !s->had_journal && !s->is_named) code = file_sync_dir(q->dir, e);
    if (code == OK) s->is_named = true;
    return code;
}

enum err_code journal_ready(struct queue *q, struct segment *s, uint64_t more, struct err *e) {
    uint64_t need = s->journal_due + more;
    enum err_code code = s->journal_fd < 0 ? open_journal(q, s, e) : OK;
    int r;

    if (code != OK) return code;
    if (s->journal_room >= s->journal_bytes + need + JOURNAL_AHEAD / 2) return OK;
    do {
        r = fallocate(s->journal_fd, FALLOC_FL_KEEP_SIZE, (off_t)s->journal_bytes,
                      (off_t)(need + JOURNAL_AHEAD));
    } while (r < 0 && errno == EINTR);
    /* Where a file system cannot promise room the line itself will tell. */
    if (r < 0 && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
        return err_sys(e, "no room for the journal of segment %s", s->name);
    s->journal_room = s->journal_bytes + need + JOURNAL_AHEAD;
    return OK;
}

void journal_forgive(struct queue *q, struct segment *s) {
    if (s->owed.n > 0) q->owing--;
    buf_release(&s->owed);
}

enum err_code journal_pay(struct queue *q, struct segment *s, struct err *e) {
    enum err_code code;

    if (s->owed.n == 0) return OK;
    code = append(q, s, buf_slice(&s->owed), e);
    if (code == OK) journal_forgive(q, s);
    return code;
}

enum err_code journal_add(struct queue *q, struct segment *s, const char *id, int rcpt,
                          const char *word, struct slice detail, struct err *e) {
    struct buf line;
    enum err_code code;

    buf_init(&line, JOURNAL_DETAIL_MAX + 256);
    journal_format(&line, clock_wall(), id, rcpt, word, detail);
    if (line.bad) {
        buf_release(&line);
        return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for the journal");
    }
    code = journal_pay(q, s, e);
    if (code == OK) code = append(q, s, buf_slice(&line), e);
    if (code != OK) {
        /* Written when there is room again. A line that is there twice says the same twice, but for
         * the count of attempts. */
        bool is_first = s->owed.n == 0;

        if (is_first) buf_init(&s->owed, JOURNAL_OWED_MAX);
        if (!buf_add(&s->owed, buf_slice(&line))) s->owed.bad = false;
        else q->owing += is_first;
    }
    buf_release(&line);
    return code;
}

enum err_code journal_read(const struct queue *q, const char *name, struct buf *out,
                           struct err *e) {
    char path[PATH_MAX];
    struct err why = {0};
    enum err_code code;

    queue_path(q, path, name, ".jnl");
    code = file_read(path, out, &why);
    if (code == ERR_NOT_FOUND) return OK;
    if (code != OK && e) *e = why;
    return code;
}

void journal_apply(const struct journal_line *l, struct journal_state *j, uint8_t *state,
                   size_t rcpt_count) {
    uint64_t v;

    if (slice_eq(l->word, S("delivered")) || slice_eq(l->word, S("failed"))) {
        uint8_t s = slice_eq(l->word, S("delivered")) ? QUEUE_DELIVERED : QUEUE_FAILED;

        if (l->rcpt >= 0 && (size_t)l->rcpt < rcpt_count) state[l->rcpt] = s;
    } else if (slice_eq(l->word, S("drop"))) {
        for (size_t i = 0; i < rcpt_count; i++)
            if (state[i] == QUEUE_PENDING) state[i] = QUEUE_FAILED;
    } else if (slice_eq(l->word, S("next"))) {
        struct slice rest = l->detail, word;

        /* The second number, which a journal that was written anew has, stands for lines before. */
        if (slice_word(&rest, &word) && num_parse(word, INT64_MAX, &v)) j->due = (wall_t)v;
        if (slice_word(&rest, &word) && num_parse(word, UINT16_MAX, &v)) j->attempts = (unsigned)v;
        else j->attempts++;
    } else if (slice_eq(l->word, S("hold"))) {
        j->is_held = true;
    } else if (slice_eq(l->word, S("release"))) {
        j->is_held = false;
        j->due = 0;
    } else if (slice_eq(l->word, S("flush"))) {
        j->due = 0;
    } else if (slice_eq(l->word, S("delay"))) {
        j->is_delay_told = true;
    }
}

/* --- names ---------------------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void segment_names_free(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}

enum err_code segment_names(const struct queue *q, char ***names, size_t *count, struct err *e) {
    DIR *d = opendir(q->dir);
    struct dirent *entry;
    char **v = NULL;
    size_t n = 0, cap = 0;

    if (!d) return err_sys(e, "cannot read %s", q->dir);
    while ((entry = readdir(d)) != NULL) {
        struct slice name = slice_str(entry->d_name);

        if (!slice_ends(name, S(".seg")) || !is_id(slice_first(name, name.n - 4))) continue;
        if (n == cap) {
            char **more = realloc(v, (cap ? cap * 2 : 16) * sizeof *v);

            if (!more) break;
            v = more;
            cap = cap ? cap * 2 : 16;
        }
        v[n] = strndup(name.p, name.n - 4);
        if (!v[n]) break;
        n++;
    }
    closedir(d);
    if (entry) {
        segment_names_free(v, n);
        return err_set(e, ERR_MEMORY, "no memory to read the queue");
    }
    if (n) qsort(v, n, sizeof *v, by_name);
    *names = v;
    *count = n;
    return OK;
}
