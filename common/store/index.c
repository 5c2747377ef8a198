#include "store/index.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/attr.h"
#include "store/mapping.h"
#include "store/sqlite.h"
#include "sys/file.h"

enum { SHM_BYTES_MIN = 32768 }; /* what SQLite makes first of its shared memory */
enum { ARRIVAL_ROW = 100 };     /* messages in one row of arrivals */

enum {
    Q_READ,
    Q_READ_ARRIVALS,
    Q_READ_GONE,
    Q_KNOWN_FROM,
    Q_ADOPT,
    Q_PUT,
    Q_SAVED,
    Q_PUT_ARRIVAL,
    Q_REMOVE,
    Q_PUT_GONE,
    Q_COUNT_GONE,
    Q_CUT_FROM,
    Q_CUT_GONE,
    Q_UNCACHE,
    Q_CACHE_PUT,
    Q_CACHE_GET,
    Q_CACHE_EACH,
    QUERIES
};

/* When the message ?2 came, if it came with others. */
#define ARRIVED                                                                                    \
    "(SELECT CASE WHEN last >= ?2 THEN saved END FROM (SELECT last, saved FROM arrival "           \
    "WHERE validity = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1))"

static const char *const queries[QUERIES] = {
    [Q_READ] = "SELECT uid, flags, modseq, size, date FROM message "
               "WHERE validity = ?1 AND modseq > ?2 ORDER BY uid",
    [Q_READ_ARRIVALS] = "SELECT first, last, modseq, saved, flags FROM arrival "
                        "WHERE validity = ?1 AND modseq > ?2 ORDER BY first",
    [Q_READ_GONE] = "SELECT uid FROM gone WHERE validity = ?1 AND modseq > ?2 ORDER BY uid",
    [Q_KNOWN_FROM] = "SELECT known_from FROM mailbox WHERE validity = ?1",
    [Q_ADOPT] = "INSERT OR IGNORE INTO mailbox (validity, known_from) VALUES (?1, ?2)",
    [Q_PUT] = "INSERT INTO message (validity, uid, flags, modseq, size, date, saved) "
              "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) "
              "ON CONFLICT (validity, uid) DO UPDATE SET flags = ?3, modseq = ?4, size = ?5, "
              "date = ?6",
    [Q_SAVED] =
        "SELECT ifnull(" ARRIVED ", (SELECT saved FROM message WHERE validity = ?1 AND uid = ?2))",
    [Q_PUT_ARRIVAL] =
        "INSERT OR REPLACE INTO arrival (validity, first, last, modseq, saved, flags) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [Q_REMOVE] = "DELETE FROM message WHERE validity = ?1 AND uid = ?2",
    [Q_PUT_GONE] = "INSERT OR REPLACE INTO gone (validity, uid, modseq) VALUES (?1, ?2, ?3)",
    [Q_COUNT_GONE] = "SELECT count(*) FROM gone WHERE validity = ?1",
    [Q_CUT_FROM] = "UPDATE mailbox SET known_from = max(known_from, (SELECT modseq FROM gone WHERE "
                   "validity = ?1 ORDER BY modseq DESC LIMIT 1 OFFSET ?2)) WHERE validity = ?1",
    [Q_CUT_GONE] = "DELETE FROM gone WHERE validity = ?1 AND modseq <= ?2",
    [Q_UNCACHE] = "DELETE FROM cache WHERE validity = ?1 AND uid = ?2",
    [Q_CACHE_PUT] =
        "INSERT OR REPLACE INTO cache (validity, uid, what, text) VALUES (?1, ?2, ?3, ?4)",
    [Q_CACHE_EACH] = "SELECT uid, text FROM cache WHERE validity = ?1 AND uid >= ?2 AND what = ?3 "
                     "ORDER BY uid LIMIT ?4",
    [Q_CACHE_GET] = "SELECT text FROM cache WHERE validity = ?1 AND uid = ?2 AND what = ?3",
};

/* Of another version: dropped and made again, as it is a cache. */
#define SCHEMA_NUMBER 4
#define AS_TEXT_(x) #x
#define AS_TEXT(x) AS_TEXT_(x)
static const char schema[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
    "CREATE TABLE IF NOT EXISTS mailbox (validity INTEGER PRIMARY KEY, known_from INTEGER);"
    "CREATE TABLE IF NOT EXISTS message (validity INTEGER, uid INTEGER, flags INTEGER, modseq "
    "INTEGER, size INTEGER, date INTEGER, saved INTEGER, PRIMARY KEY (validity, uid)) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS arrival (validity INTEGER, first INTEGER, last INTEGER, modseq "
    "INTEGER, saved INTEGER, flags BLOB, PRIMARY KEY (validity, first)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS gone (validity INTEGER, uid INTEGER, modseq INTEGER, PRIMARY KEY "
    "(validity, uid)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS cache (validity INTEGER, uid INTEGER, what TEXT, text BLOB, "
    "PRIMARY KEY (validity, uid, what)) WITHOUT ROWID;"
    "PRAGMA user_version = " AS_TEXT(SCHEMA_NUMBER) ";";

/* Pages of the log of changes. From LOG_PAGES on a thread beside brings them into the file, which
 * waits for the disk; at LOG_PAGES_MAX (64 MiB) it does not keep up, and who writes does it. */
enum { LOG_PAGES = 1000, LOG_PAGES_MAX = 16384 };

struct index {
    sqlite3 *db; /* NULL: given up */
    char *path;
    sqlite3_stmt *q[QUERIES];
    ino_t ino;
    dev_t dev;
    bool was_remade;
};

static void shut(struct index *ix) {
    for (size_t i = 0; i < QUERIES; i++) {
        if (ix->q[i]) sqlite.sqlite3_finalize(ix->q[i]);
        ix->q[i] = NULL;
    }
    if (ix->db) sqlite.sqlite3_close_v2(ix->db);
    ix->db = NULL;
}

static void drop(struct index *ix) {
    if (!ix) return;
    shut(ix);
    free(ix->path);
    free(ix);
}

/* What root makes belongs to whom the home belongs; SQLite gives its own files the owner of this
 * one. */
static void make_like_home(const char *path) {
    char home[4096];
    const char *slash = strrchr(path, '/');
    int fd;

    if (geteuid() != 0 || !slash || (size_t)(slash - path) >= sizeof home) return;
    memcpy(home, path, (size_t)(slash - path));
    home[slash - path] = 0;
    fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) return;
    fd_own_like_path(fd, home);
    close(fd);
}

/* An empty file has version 0. */
static bool is_our_version(sqlite3 *db) {
    sqlite3_stmt *q = NULL;
    bool is_ours = false;

    if (sqlite.sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &q, NULL) != SQLITE_OK)
        return false;
    if (sqlite.sqlite3_step(q) == SQLITE_ROW) {
        sqlite3_int64 v = sqlite.sqlite3_column_int64(q, 0);

        is_ours = v == 0 || v == SCHEMA_NUMBER;
    }
    sqlite.sqlite3_finalize(q);
    return is_ours;
}

/* Passive: nobody is waited for, and what somebody still reads stays for the next time. */
static void bring_in(sqlite3 *db) {
    sqlite.sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static atomic_bool is_bringing_in; /* one thread for all files */

static void *bring_in_beside(void *path) {
    sqlite3 *db = NULL;

    if (sqlite.sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
        SQLITE_OK)
        bring_in(db);
    sqlite.sqlite3_close_v2(db);
    free(path);
    atomic_store(&is_bringing_in, false);
    return NULL;
}

static int after_commit(void *ctx, sqlite3 *db, const char *name, int pages) {
    struct index *ix = ctx;
    pthread_attr_t small;
    pthread_t thread;
    char *path;

    (void)name;
    if (pages >= LOG_PAGES_MAX) bring_in(db);
    if (pages < LOG_PAGES || pages >= LOG_PAGES_MAX || atomic_exchange(&is_bringing_in, true))
        return SQLITE_OK;
    path = strdup(ix->path);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 512 * 1024);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    if (!path || pthread_create(&thread, &small, bring_in_beside, path) != 0) {
        free(path);
        atomic_store(&is_bringing_in, false); /* the next commit tries again */
    }
    pthread_attr_destroy(&small);
    return SQLITE_OK;
}

static bool try_open(struct index *ix) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    struct stat st;

    make_like_home(ix->path);
    if (sqlite.sqlite3_open_v2(ix->path, &ix->db, flags, NULL) != SQLITE_OK) return false;
    sqlite.sqlite3_busy_timeout(ix->db, INDEX_BUSY_MS);
    if (!is_our_version(ix->db)) return false;
    if (sqlite.sqlite3_exec(ix->db, schema, NULL, NULL, NULL) != SQLITE_OK) return false;
    if (stat(ix->path, &st) != 0) return false;
    sqlite.sqlite3_wal_hook(ix->db, after_commit, ix);
    ix->ino = st.st_ino;
    ix->dev = st.st_dev;
    for (size_t i = 0; i < QUERIES; i++)
        if (sqlite.sqlite3_prepare_v2(ix->db, queries[i], -1, &ix->q[i], NULL) != SQLITE_OK)
            return false;
    return true;
}

static void remove_files(struct index *ix) {
    static const char *const tails[] = {"", "-wal", "-shm"};
    struct buf path;

    buf_init(&path, 5000);
    for (size_t i = 0; i < COUNT_OF(tails); i++) {
        buf_reset(&path);
        buf_addf(&path, "%s%s", ix->path, tails[i]);
        if (buf_cstr(&path)) unlink(buf_cstr(&path));
    }
    buf_release(&path);
}

/* What to do about a failed call: a damaged file is thrown away, anything else only ends this use.
 */
static void failed(struct index *ix, int rc) {
    if (rc != SQLITE_CORRUPT && rc != SQLITE_NOTADB) return;
    shut(ix);
    if (ix->was_remade) return;
    ix->was_remade = true;
    remove_files(ix);
    if (!try_open(ix)) shut(ix);
}

/* Open files that nobody uses at the moment: sessions come and go, and an open index takes long to
 * get and much to keep. */
static struct {
    pthread_mutex_t lock;
    struct index *v[INDEX_IDLE_MAX];
    size_t n;
    bool has_exit;
} idle = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Somebody cut the memory that SQLite shares between processes (mapping_guard kept us alive): no
 * two of them know the same of the file now. */
static bool is_cut(const struct index *ix) {
    struct buf path;
    struct stat st;
    bool is_cut;

    if (mapping_index_cuts() == 0) return false;
    buf_init(&path, 5000);
    buf_addf(&path, "%s-shm", ix->path);
    is_cut = !buf_cstr(&path) || (stat(buf_cstr(&path), &st) == 0 && st.st_size < SHM_BYTES_MIN);
    buf_release(&path);
    return is_cut;
}

/* The file may have been removed, and another made in its place. */
static bool is_same_file(struct index *ix) {
    struct stat st;

    if (is_cut(ix)) remove_files(ix);
    return stat(ix->path, &st) == 0 && st.st_ino == ix->ino && st.st_dev == ix->dev;
}

static struct index *take_idle(const char *path) {
    struct index *ix = NULL;

    pthread_mutex_lock(&idle.lock);
    for (size_t i = idle.n; i-- > 0 && !ix;) {
        if (strcmp(idle.v[i]->path, path) != 0) continue;
        ix = idle.v[i];
        memmove(&idle.v[i], &idle.v[i + 1], (idle.n - i - 1) * sizeof idle.v[0]);
        idle.n--;
    }
    pthread_mutex_unlock(&idle.lock);
    if (!ix || is_same_file(ix)) return ix;
    drop(ix);
    return NULL;
}

struct index *index_open(const char *path) {
    struct index *ix = take_idle(path);

    if (ix) return ix;
    if (sqlite_load(NULL) != OK) return NULL;
    mapping_guard();
    ix = calloc(1, sizeof *ix);
    if (!ix) return NULL;
    ix->path = strdup(path);
    if (ix->path && try_open(ix)) return ix;
    shut(ix);
    if (ix->path && access(path, R_OK | W_OK) == 0) { /* damaged, or of another version */
        ix->was_remade = true;
        remove_files(ix);
        if (try_open(ix)) return ix;
    }
    drop(ix);
    return NULL;
}

/* A clean end leaves no log of changes beside the file. */
static void close_idle(void) {
    pthread_mutex_lock(&idle.lock);
    while (idle.n > 0) drop(idle.v[--idle.n]);
    pthread_mutex_unlock(&idle.lock);
}

void index_close(struct index *ix) {
    if (!ix) return;
    if (!ix->db || ix->was_remade) {
        drop(ix);
        return;
    }
    pthread_mutex_lock(&idle.lock);
    if (!idle.has_exit) idle.has_exit = atexit(close_idle) == 0;
    if (idle.n == INDEX_IDLE_MAX) {
        struct index *oldest = idle.v[0];

        memmove(&idle.v[0], &idle.v[1], (idle.n - 1) * sizeof idle.v[0]);
        idle.v[idle.n - 1] = ix;
        ix = oldest;
    } else {
        idle.v[idle.n++] = ix;
        ix = NULL;
    }
    pthread_mutex_unlock(&idle.lock);
    drop(ix);
}

static bool is_up(const struct index *ix) { return ix && ix->db; }

/* Bind up to two keys and step to the first row. */
static int start(struct index *ix, int query, uint64_t a, uint64_t b) {
    sqlite.sqlite3_reset(ix->q[query]);
    sqlite.sqlite3_bind_int64(ix->q[query], 1, (sqlite3_int64)a);
    sqlite.sqlite3_bind_int64(ix->q[query], 2, (sqlite3_int64)b);
    return SQLITE_OK;
}

static int finish(struct index *ix, int query) {
    int rc = sqlite.sqlite3_step(ix->q[query]);

    sqlite.sqlite3_reset(ix->q[query]);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) failed(ix, rc);
    return rc;
}

void index_read(struct index *ix, uint32_t validity, uint64_t since,
                void (*row)(void *ctx, const struct index_row *r), void *ctx) {
    int rc;

    if (!is_up(ix)) return;
    start(ix, Q_READ, validity, since);
    while ((rc = sqlite.sqlite3_step(ix->q[Q_READ])) == SQLITE_ROW) {
        sqlite3_stmt *q = ix->q[Q_READ];
        struct index_row r = {.uid = (uint32_t)sqlite.sqlite3_column_int64(q, 0),
                              .flags = (uint64_t)sqlite.sqlite3_column_int64(q, 1),
                              .modseq = (uint64_t)sqlite.sqlite3_column_int64(q, 2),
                              .size_wire = (uint64_t)sqlite.sqlite3_column_int64(q, 3),
                              .internal_date = sqlite.sqlite3_column_int64(q, 4)};

        row(ctx, &r);
    }
    sqlite.sqlite3_reset(ix->q[Q_READ]);
    if (rc != SQLITE_DONE) failed(ix, rc);
}

void index_read_arrivals(struct index *ix, uint32_t validity, uint64_t since,
                         void (*row)(void *ctx, const struct index_arrival *a), void *ctx) {
    int rc;

    if (!is_up(ix)) return;
    start(ix, Q_READ_ARRIVALS, validity, since);
    while ((rc = sqlite.sqlite3_step(ix->q[Q_READ_ARRIVALS])) == SQLITE_ROW) {
        sqlite3_stmt *q = ix->q[Q_READ_ARRIVALS];
        struct index_arrival a = {.first = (uint32_t)sqlite.sqlite3_column_int64(q, 0),
                                  .modseq = (uint64_t)sqlite.sqlite3_column_int64(q, 2),
                                  .saved = sqlite.sqlite3_column_int64(q, 3),
                                  .flags = sqlite.sqlite3_column_blob(q, 4)};
        size_t n = (size_t)sqlite.sqlite3_column_bytes(q, 4) / sizeof *a.flags;

        a.n = (uint32_t)sqlite.sqlite3_column_int64(q, 1) - a.first + 1;
        if (a.n == n && n <= INDEX_ARRIVAL_MAX) row(ctx, &a);
    }
    sqlite.sqlite3_reset(ix->q[Q_READ_ARRIVALS]);
    if (rc != SQLITE_DONE) failed(ix, rc);
}

/* The first column of the first row, or `none`. */
static int64_t number(struct index *ix, int query, uint64_t a, uint64_t b, int64_t none) {
    int64_t n = none;
    int rc;

    start(ix, query, a, b);
    rc = sqlite.sqlite3_step(ix->q[query]);
    if (rc == SQLITE_ROW) n = sqlite.sqlite3_column_int64(ix->q[query], 0);
    sqlite.sqlite3_reset(ix->q[query]);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) failed(ix, rc);
    return n;
}

void index_read_gone(struct index *ix, uint32_t validity, uint64_t since, uint64_t *known_from,
                     void (*row)(void *ctx, uint32_t uid), void *ctx) {
    int rc;

    *known_from = UINT64_MAX;
    if (!is_up(ix)) return;
    *known_from = (uint64_t)number(ix, Q_KNOWN_FROM, validity, 0, INT64_MAX);
    if (!is_up(ix)) return;
    start(ix, Q_READ_GONE, validity, since);
    while ((rc = sqlite.sqlite3_step(ix->q[Q_READ_GONE])) == SQLITE_ROW)
        row(ctx, (uint32_t)sqlite.sqlite3_column_int64(ix->q[Q_READ_GONE], 0));
    sqlite.sqlite3_reset(ix->q[Q_READ_GONE]);
    if (rc != SQLITE_DONE) failed(ix, rc);
}

void index_adopt(struct index *ix, uint32_t validity, uint64_t modseq) {
    if (!is_up(ix)) return;
    start(ix, Q_ADOPT, validity, modseq);
    finish(ix, Q_ADOPT);
}

/* Keep the newer half of what is remembered as removed. */
static void cut_gone(struct index *ix, uint32_t validity) {
    if (number(ix, Q_COUNT_GONE, validity, 0, 0) <= INDEX_GONE_MAX || !is_up(ix)) return;
    start(ix, Q_CUT_FROM, validity, INDEX_GONE_MAX / 2);
    finish(ix, Q_CUT_FROM);
    if (!is_up(ix)) return;
    start(ix, Q_CUT_GONE, validity, (uint64_t)number(ix, Q_KNOWN_FROM, validity, 0, 0));
    finish(ix, Q_CUT_GONE);
}

void index_begin(struct index *ix) {
    if (is_up(ix)) sqlite.sqlite3_exec(ix->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
}

void index_end(struct index *ix) {
    int rc;

    if (!is_up(ix)) return;
    rc = sqlite.sqlite3_exec(ix->db, "COMMIT", NULL, NULL, NULL);
    if (rc == SQLITE_OK) return;
    sqlite.sqlite3_exec(ix->db, "ROLLBACK", NULL, NULL, NULL);
    failed(ix, rc);
}

void index_put(struct index *ix, uint32_t validity, const struct index_row *r) {
    if (!is_up(ix)) return;
    start(ix, Q_PUT, validity, r->uid);
    sqlite.sqlite3_bind_int64(ix->q[Q_PUT], 3, (sqlite3_int64)r->flags);
    sqlite.sqlite3_bind_int64(ix->q[Q_PUT], 4, (sqlite3_int64)r->modseq);
    sqlite.sqlite3_bind_int64(ix->q[Q_PUT], 5, (sqlite3_int64)r->size_wire);
    sqlite.sqlite3_bind_int64(ix->q[Q_PUT], 6, r->internal_date);
    sqlite.sqlite3_bind_int64(ix->q[Q_PUT], 7, r->saved);
    finish(ix, Q_PUT);
}

wall_t index_saved(struct index *ix, uint32_t validity, uint32_t uid) {
    return is_up(ix) ? number(ix, Q_SAVED, validity, uid, 0) : 0;
}

void index_put_arrival(struct index *ix, uint32_t validity, const struct index_arrival *a) {
    /* In rows that fit a page: SQLite copies the whole of a long one to compare its key. */
    for (uint32_t at = 0, n; at < a->n && is_up(ix); at += n) {
        n = a->n - at < ARRIVAL_ROW ? a->n - at : ARRIVAL_ROW;
        start(ix, Q_PUT_ARRIVAL, validity, a->first + at);
        sqlite.sqlite3_bind_int64(ix->q[Q_PUT_ARRIVAL], 3, (sqlite3_int64)a->first + at + n - 1);
        sqlite.sqlite3_bind_int64(ix->q[Q_PUT_ARRIVAL], 4, (sqlite3_int64)a->modseq);
        sqlite.sqlite3_bind_int64(ix->q[Q_PUT_ARRIVAL], 5, a->saved);
        sqlite.sqlite3_bind_blob(ix->q[Q_PUT_ARRIVAL], 6,
                                 (const char *)a->flags + at * sizeof *a->flags,
                                 (int)(n * sizeof *a->flags), SQLITE_STATIC);
        finish(ix, Q_PUT_ARRIVAL);
    }
}

void index_remove(struct index *ix, uint32_t validity, uint32_t uid, uint64_t modseq) {
    static const int forget[] = {Q_REMOVE, Q_UNCACHE};

    for (size_t i = 0; i < COUNT_OF(forget) && is_up(ix); i++) {
        start(ix, forget[i], validity, uid);
        finish(ix, forget[i]);
    }
    if (!is_up(ix)) return;
    start(ix, Q_PUT_GONE, validity, uid);
    sqlite.sqlite3_bind_int64(ix->q[Q_PUT_GONE], 3, (sqlite3_int64)modseq);
    finish(ix, Q_PUT_GONE);
    if (is_up(ix) && uid % 1024 == 0) cut_gone(ix, validity); /* now and then */
}

void index_cache_put(struct index *ix, uint32_t validity, uint32_t uid, struct slice what,
                     struct slice text) {
    if (!is_up(ix)) return;
    start(ix, Q_CACHE_PUT, validity, uid);
    sqlite.sqlite3_bind_text(ix->q[Q_CACHE_PUT], 3, what.p, (int)what.n, SQLITE_STATIC);
    sqlite.sqlite3_bind_blob(ix->q[Q_CACHE_PUT], 4, text.p, (int)text.n, SQLITE_STATIC);
    finish(ix, Q_CACHE_PUT);
}

bool index_cache_get(struct index *ix, uint32_t validity, uint32_t uid, struct slice what,
                     struct buf *out) {
    bool has = false;
    int rc;

    if (!is_up(ix)) return false;
    start(ix, Q_CACHE_GET, validity, uid);
    sqlite.sqlite3_bind_text(ix->q[Q_CACHE_GET], 3, what.p, (int)what.n, SQLITE_STATIC);
    rc = sqlite.sqlite3_step(ix->q[Q_CACHE_GET]);
    if (rc == SQLITE_ROW) {
        sqlite3_stmt *q = ix->q[Q_CACHE_GET];

        has = buf_add(out, slice_of(sqlite.sqlite3_column_blob(q, 0),
                                    (size_t)sqlite.sqlite3_column_bytes(q, 0)));
    }
    sqlite.sqlite3_reset(ix->q[Q_CACHE_GET]);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) failed(ix, rc);
    return has;
}

void index_cache_each(struct index *ix, uint32_t validity, uint32_t uid, struct slice what,
                      unsigned max, bool (*row)(void *ctx, uint32_t uid, struct slice text),
                      void *ctx) {
    sqlite3_stmt *q;
    int rc;

    if (!is_up(ix)) return;
    start(ix, Q_CACHE_EACH, validity, uid);
    q = ix->q[Q_CACHE_EACH];
    sqlite.sqlite3_bind_text(q, 3, what.p, (int)what.n, SQLITE_STATIC);
    sqlite.sqlite3_bind_int64(q, 4, max);
    while ((rc = sqlite.sqlite3_step(q)) == SQLITE_ROW) {
        struct slice text =
            slice_of(sqlite.sqlite3_column_blob(q, 1), (size_t)sqlite.sqlite3_column_bytes(q, 1));

        if (!row(ctx, (uint32_t)sqlite.sqlite3_column_int64(q, 0), text)) break;
    }
    sqlite.sqlite3_reset(q);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) failed(ix, rc);
}
