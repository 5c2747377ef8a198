/* sqlite: libsqlite3, loaded when an index is first opened (base/lazy). */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include <sqlite3.h>

#include "base/lazy.h"

#define SQLITE_SYMS(X)                                                                             \
    X(sqlite3_open_v2)                                                                             \
    X(sqlite3_close_v2)                                                                            \
    X(sqlite3_exec)                                                                                \
    X(sqlite3_prepare_v2)                                                                          \
    X(sqlite3_step)                                                                                \
    X(sqlite3_reset)                                                                               \
    X(sqlite3_finalize)                                                                            \
    X(sqlite3_bind_int64)                                                                          \
    X(sqlite3_bind_text)                                                                           \
    X(sqlite3_bind_blob)                                                                           \
    X(sqlite3_column_int64)                                                                        \
    X(sqlite3_column_blob)                                                                         \
    X(sqlite3_column_bytes)                                                                        \
    X(sqlite3_busy_timeout) X(sqlite3_wal_hook) X(sqlite3_wal_checkpoint_v2)

struct sqlite_table {
    SQLITE_SYMS(LAZY_FIELD)
};
extern struct sqlite_table sqlite;

/* Fill the table. ERR_LIBRARY as lazy_load. Any thread. */
enum err_code sqlite_load(struct err *e);

#endif
