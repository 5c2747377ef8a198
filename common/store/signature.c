#include "store/signature.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "store/maildir.h"
#include "sys/file.h"

enum {
    ROW_BYTES = SIGNATURE_COLUMNS / 8,
    MATRIX_BYTES = SIGNATURE_ROWS * ROW_BYTES,
    FILE_HEAD = 4096,
    BLOCK_HEAD = 4096,
    BLOCK_BYTES = BLOCK_HEAD + MATRIX_BYTES
};

static const char magic[8] = "PBSIG04";
static const char file_name[] = "postbag-search";

/* As it is in the file; the rest of the page is zero. Numbers are of this machine: a file from
 * another kind has a head that does not fit. */
struct file_head {
    char magic[8];
    uint32_t one, validity, crc;
};

struct block_head {
    uint32_t n, crc;
    uint32_t uids[SIGNATURE_COLUMNS];
};

_Static_assert(sizeof(struct block_head) <= BLOCK_HEAD, "the head of a block has room");

struct place {
    uint32_t uid, block, column;
};

struct signatures {
    int fd; /* -1: none yet */
    uint32_t validity;
    uint32_t n_blocks;
    struct place *places; /* by uid */
    size_t n_places;
    /* the block that is being filled */
    unsigned char *matrix; /* NULL: none */
    struct block_head head;
};

static size_t row_of(const unsigned char *p) {
    uint32_t x = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

    return x * 2654435761u >> 18;
}

/* --- the file --------------------------------------------------------------------------------- */

static uint32_t head_crc(const struct block_head *h) {
    uint32_t crc = crc32c(0, slice_of((const char *)&h->n, sizeof h->n));

    return crc32c(crc, slice_of((const char *)h->uids, sizeof h->uids));
}

static struct file_head make_head(uint32_t validity) {
    struct file_head h = {.one = 1, .validity = validity};

    memcpy(h.magic, magic, sizeof h.magic);
    h.crc = crc32c(0, slice_of((const char *)&h, offsetof(struct file_head, crc)));
    return h;
}

static bool is_ours(int fd, uint32_t validity) {
    struct file_head want = make_head(validity), have;

    return pread(fd, &have, sizeof have, 0) == (ssize_t)sizeof have &&
           memcmp(&have, &want, sizeof have) == 0;
}

static off_t block_at(uint32_t block) { return FILE_HEAD + (off_t)block * BLOCK_BYTES; }

static bool read_head(int fd, uint32_t block, struct block_head *h) {
    return pread(fd, h, sizeof *h, block_at(block)) == (ssize_t)sizeof *h && h->n > 0 &&
           h->n <= SIGNATURE_COLUMNS && h->crc == head_crc(h);
}

static int by_uid(const void *a, const void *b) {
    const struct place *x = a, *y = b;

    return (x->uid > y->uid) - (x->uid < y->uid);
}

static bool add_places(struct signatures *s, uint32_t block, const struct block_head *h) {
    struct place *v = realloc(s->places, (s->n_places + h->n) * sizeof *v);

    if (!v) return false;
    s->places = v;
    for (uint32_t c = 0; c < h->n; c++) v[s->n_places++] = (struct place){h->uids[c], block, c};
    return true;
}

/* Read the heads of blocks that were not there before. */
static void read_blocks(struct signatures *s) {
    struct block_head h;
    size_t before = s->n_places;
    struct stat st;
    bool is_sorted = true; /* as a search through the whole mailbox leaves it */

    if (fstat(s->fd, &st) != 0) return;
    while (s->n_blocks < SIGNATURE_BLOCKS_MAX && block_at(s->n_blocks + 1) <= st.st_size &&
           read_head(s->fd, s->n_blocks, &h) && add_places(s, s->n_blocks, &h))
        s->n_blocks++;
    for (size_t i = before ? before : 1; i < s->n_places && is_sorted; i++)
        is_sorted = s->places[i - 1].uid < s->places[i].uid;
    if (!is_sorted) qsort(s->places, s->n_places, sizeof *s->places, by_uid);
}

static void forget(struct signatures *s) {
    fd_close(&s->fd);
    free(s->places);
    s->places = NULL;
    s->n_places = 0;
    s->n_blocks = 0;
}

/* What the file has now; another process may have put it there, or begun it anew. */
static struct signatures *look(struct mailbox *m) {
    struct signatures *s = m->signatures;
    struct stat open, there;

    if (!s) {
        s = m->signatures = calloc(1, sizeof *s);
        if (!s) return NULL;
        s->fd = -1;
    }
    if (s->fd >= 0 && (s->validity != m->validity || fstat(s->fd, &open) != 0 ||
                       fstatat(m->fd, file_name, &there, 0) != 0 || open.st_ino != there.st_ino))
        forget(s);
    if (s->fd < 0) {
        s->fd = openat(m->fd, file_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (s->fd >= 0 && !is_ours(s->fd, m->validity)) fd_close(&s->fd);
        s->validity = m->validity;
    }
    if (s->fd >= 0) read_blocks(s);
    return s;
}

void mailbox_signatures_free(struct mailbox *m) {
    struct signatures *s = m->signatures;

    if (!s) return;
    forget(s);
    free(s->matrix);
    free(s);
    m->signatures = NULL;
}

/* --- make ------------------------------------------------------------------------------------- */

static const struct place *find(const struct signatures *s, uint32_t uid) {
    struct place key = {.uid = uid};

    return s->n_places ? bsearch(&key, s->places, s->n_places, sizeof key, by_uid) : NULL;
}

/* Columns of messages that are gone are most of it. */
static bool is_mostly_dead(const struct mailbox *m, const struct signatures *s) {
    size_t live = 0, gone = m->next - 1 > m->n ? m->next - 1 - m->n : 0;

    /* No more are dead than ever went: mostly that is enough to know. */
    if (s->n_places + SIGNATURE_DEAD_MAX >= 2 * gone) return false;
    for (size_t i = 0, at = 0; i < m->n; i++) {
        while (at < s->n_places && s->places[at].uid < m->v[i].uid) at++;
        live += at < s->n_places && s->places[at].uid == m->v[i].uid;
    }
    return s->n_places > SIGNATURE_DEAD_MAX + 2 * live;
}

static void begin_file(struct mailbox *m, struct signatures *s) {
    struct file_head h = make_head(m->validity);
    char page[FILE_HEAD] = {0};

    forget(s);
    unlinkat(m->fd, file_name, 0);
    s->fd = openat(m->fd, file_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (s->fd < 0) return;
    fd_own_like(s->fd, m->fd);
    memcpy(page, &h, sizeof h);
    s->validity = m->validity;
    if (file_write_at(s->fd, slice_of(page, sizeof page), 0, file_name, NULL) != OK) {
        unlinkat(m->fd, file_name, 0);
        fd_close(&s->fd);
    }
}

/* The block is full: put it behind the others. */
static void seal(struct mailbox *m, struct signatures *s) {
    struct slice rows = slice_of((const char *)s->matrix, MATRIX_BYTES);
    char page[BLOCK_HEAD] = {0};
    off_t at;

    if (mailbox_lock(m, NULL) != OK) return;
    look(m);
    if (s->fd < 0 || s->n_blocks == SIGNATURE_BLOCKS_MAX || is_mostly_dead(m, s)) begin_file(m, s);
    s->head.crc = head_crc(&s->head);
    memcpy(page, &s->head, sizeof s->head);
    at = block_at(s->n_blocks);
    if (s->fd >= 0 && file_write_at(s->fd, rows, at + BLOCK_HEAD, file_name, NULL) == OK &&
        file_sync(s->fd, file_name, NULL) == OK &&
        file_write_at(s->fd, slice_of(page, sizeof page), at, file_name, NULL) == OK)
        read_blocks(s);
    mailbox_unlock(m);
    memset(s->matrix, 0, MATRIX_BYTES);
    s->head.n = 0;
}

void mailbox_sign(struct mailbox *m, uint32_t uid, struct slice text) {
    struct signatures *s = m->signatures ? m->signatures : look(m);
    const unsigned char *p = (const unsigned char *)text.p;
    uint64_t has[SIGNATURE_ROWS / 64] = {0}; /* of this message: small enough to stay at hand */
    unsigned char bit;
    size_t column;

    if (!s || find(s, uid)) return;
    if (!s->matrix) s->matrix = calloc(1, MATRIX_BYTES);
    if (!s->matrix) return;
    for (uint32_t i = 0; i < s->head.n; i++)
        if (s->head.uids[i] == uid) return;
    column = s->head.n / 8;
    bit = (unsigned char)(1u << s->head.n % 8);
    for (size_t i = 0; i + 3 <= text.n; i++) {
        size_t row = row_of(p + i);

        has[row / 64] |= (uint64_t)1 << row % 64;
    }
    for (size_t word = 0; word < COUNT_OF(has); word++)
        for (uint64_t w = has[word]; w; w &= w - 1)
            s->matrix[(word * 64 + (size_t)__builtin_ctzll(w)) * ROW_BYTES + column] |= bit;
    s->head.uids[s->head.n++] = uid;
    if (s->head.n == SIGNATURE_COLUMNS) seal(m, s);
}

/* --- ask -------------------------------------------------------------------------------------- */

/* Different rows that the needles need; 0: none says anything. */
static size_t rows_of(const struct slice *needles, size_t n_needles, size_t *rows) {
    size_t n = 0;

    for (size_t k = 0; k < n_needles; k++) {
        const unsigned char *p = (const unsigned char *)needles[k].p;

        for (size_t i = 0; i + 3 <= needles[k].n && n < SIGNATURE_TRIGRAMS_MAX; i++) {
            size_t row = row_of(p + i);
            bool is_there = false;

            for (size_t j = 0; j < n; j++) is_there |= rows[j] == row;
            if (!is_there) rows[n++] = row;
        }
    }
    return n;
}

/* A bit for each column that has all rows. A row that cannot be read excludes nobody. */
static void columns_of(const struct signatures *s, uint32_t block, const size_t *rows, size_t n,
                       unsigned char out[ROW_BYTES]) {
    memset(out, 0xff, ROW_BYTES);
    for (size_t i = 0; i < n; i++) {
        unsigned char row[ROW_BYTES];
        bool has_any = false;

        if (pread(s->fd, row, ROW_BYTES,
                  block_at(block) + BLOCK_HEAD + (off_t)(rows[i] * ROW_BYTES)) != ROW_BYTES)
            continue;
        for (size_t k = 0; k < ROW_BYTES; k++) has_any |= (out[k] &= row[k]) != 0;
        if (!has_any) return;
    }
}

bool mailbox_candidates(struct mailbox *m, const struct slice *needles, size_t n_needles,
                        uint32_t **uids, size_t *n, bool *wants_text) {
    struct signatures *s = look(m);
    size_t rows[SIGNATURE_TRIGRAMS_MAX], n_rows = rows_of(needles, n_needles, rows), unknown = 0;
    unsigned char *columns;

    *uids = NULL;
    *n = 0;
    *wants_text = false;
    if (!s || !n_rows) return false;
    *uids = malloc((m->n + 1) * sizeof **uids);
    columns = malloc((size_t)(s->n_blocks + 1) * ROW_BYTES);
    if (!*uids || !columns) {
        free(*uids);
        free(columns);
        *uids = NULL;
        return false;
    }
    for (uint32_t b = 0; b < s->n_blocks; b++)
        columns_of(s, b, rows, n_rows, columns + (size_t)b * ROW_BYTES);
    for (size_t i = 0, at = 0; i < m->n; i++) {
        const struct place *p;

        while (at < s->n_places && s->places[at].uid < m->v[i].uid) at++;
        p = at < s->n_places && s->places[at].uid == m->v[i].uid ? &s->places[at] : NULL;
        unknown += p == NULL;
        if (!p || columns[(size_t)p->block * ROW_BYTES + p->column / 8] >> p->column % 8 & 1)
            (*uids)[(*n)++] = m->v[i].uid;
    }
    *wants_text = unknown >= SIGNATURE_COLUMNS;
    free(columns);
    return true;
}
