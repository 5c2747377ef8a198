#include "store/index.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "store/sqlite.h"
#include "sys/file.h"

enum { Q_READ, Q_PUT, Q_REMOVE, Q_UNCACHE, Q_CACHE_PUT, Q_CACHE_GET, QUERIES };

static const char *const queries[QUERIES] = {
    [Q_READ] =
        "SELECT uid, flags, modseq, size, date FROM message WHERE validity = ?1 AND modseq > ?2 "
        "ORDER BY uid",
    [Q_PUT] = "INSERT OR REPLACE INTO message (validity, uid, flags, modseq, size, date) "
              "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [Q_REMOVE] = "DELETE FROM message WHERE validity = ?1 AND uid = ?2",
    [Q_UNCACHE] = "DELETE FROM cache WHERE validity = ?1 AND uid = ?2",
    [Q_CACHE_PUT] =
        "INSERT OR REPLACE INTO cache (validity, uid, what, text) VALUES (?1, ?2, ?3, ?4)",
    [Q_CACHE_GET] = "SELECT text FROM cache WHERE validity = ?1 AND uid = ?2 AND what = ?3",
};

static const char schema[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
    "CREATE TABLE IF NOT EXISTS message (validity INTEGER, uid INTEGER, flags INTEGER, modseq "
    "INTEGER, "
    "size INTEGER, date INTEGER, PRIMARY KEY (validity, uid)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS cache (validity INTEGER, uid INTEGER, what TEXT, text BLOB, "
    "PRIMARY KEY (validity, uid, what));"
    "PRAGMA user_version = 1;";

struct index {
    sqlite3 *db; /* NULL: given up */
    char *path;
    sqlite3_stmt *q[QUERIES];
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

/* What root makes belongs to whom the home belongs; SQLite gives its own files the owner of this
 * one. */
static void own_like_home(const char *path) {
    char home[4096];
    const char *slash = strrchr(path, '/');
    int fd;

    if (geteuid() != 0 || !slash || (size_t)(slash - path) >= sizeof home) return;
    memcpy(home, path, (size_t)(slash - path));
    home[slash - path] = 0;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return;
    fd_own_like_path(fd, home);
    close(fd);
}

static bool try_open(struct index *ix) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

    if (sqlite.sqlite3_open_v2(ix->path, &ix->db, flags, NULL) != SQLITE_OK) return false;
    sqlite.sqlite3_busy_timeout(ix->db, INDEX_BUSY_MS);
    if (sqlite.sqlite3_exec(ix->db, schema, NULL, NULL, NULL) != SQLITE_OK) return false;
    own_like_home(ix->path);
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

struct index *index_open(const char *path) {
    struct index *ix;

    if (sqlite_load(NULL) != OK) return NULL;
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
    index_close(ix);
    return NULL;
}

void index_close(struct index *ix) {
    if (!ix) return;
    shut(ix);
    free(ix->path);
    free(ix);
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
    finish(ix, Q_PUT);
}

void index_remove(struct index *ix, uint32_t validity, uint32_t uid) {
    if (!is_up(ix)) return;
    start(ix, Q_REMOVE, validity, uid);
    finish(ix, Q_REMOVE);
    if (!is_up(ix)) return;
    start(ix, Q_UNCACHE, validity, uid);
    finish(ix, Q_UNCACHE);
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
