/* maildir: what the files of the back end share. Private to common/store. */
#ifndef STORE_MAILDIR_H
#define STORE_MAILDIR_H

#include <dirent.h>

#include "store/index.h"
#include "store/store.h"
#include "store/watch.h"

enum {
    FILE_NAME_MAX = 256,            /* NAME_MAX and a NUL */
    KEYWORDS_BYTES_MAX = 64 * 1024, /* of postbag-keywords */
    UIDLIST_MAX = 1 << 30,          /* bytes of postbag-uidlist */
    SMALL_MESSAGE_MAX = 256 * 1024, /* read instead of mapped */
    RENAME_TRIES_MAX = 5,           /* against another program that renames the same file */
    AHEAD_ROWS = 256,               /* cached texts that are read at once */
    AHEAD_BYTES_MAX = 512 * 1024,   /* of them */
    AHEAD_WHAT_MAX = 32,            /* bytes of the name of a text that is read ahead */
    CACHE_PENDING_MAX = 2000,       /* cached texts that wait for a transaction */
    CACHE_PENDING_BYTES = 1 << 20,  /* of them; one more may pass it */
    DIRTY_MAX = 2000,               /* and found sizes */
    ARRIVAL_MIN = 16                /* so many that come together share a row of the index */
};

struct store {
    char *home, *root; /* HOME, HOME/Maildir */
    int root_fd;
    char host[64];                     /* as it stands in file names */
    uint64_t octets_max, messages_max; /* quota.c; 0: no limit */
};

/* A line of postbag-uidlist; the name lies in uid_text. */
struct known {
    uint32_t uid;
    uint32_t at, n;
};

/* The file of a message in the snapshot. */
struct mailfile {
    char *name; /* with the flags; owned */
    bool in_new;
};

struct cached {
    uint32_t uid;
    char *what, *text;
    size_t what_n, text_n;
};

struct mailbox {
    struct store *store;
    char dir[FILE_NAME_MAX]; /* below the root */
    enum mailbox_mode mode;
    int fd, lock_fd, watch_fd; /* watch_fd belongs to `watch` */
    struct watch *watch;
    uint32_t *dirty; /* uids whose size or date was found and waits for a transaction */
    size_t n_dirty;
    bool has_recent;  /* some row has STORE_RECENT */
    bool has_new;     /* some file is in new/ */
    bool is_replaced; /* the uidlist is another one now: nothing here holds any more */
    uint32_t validity, next;
    uint64_t highest;
    uint64_t read_to; /* MODSEQs up to this one are in the snapshot, whoever made them; highest may
                       * be ahead by changes of our own */

    struct imap_rows *rows; /* the snapshot, never NULL; see mailbox_own */
    struct imap_msg *v;     /* rows->v */
    struct mailfile *f;     /* the same index */
    size_t n;

    struct buf uid_text; /* content of the uidlist as last read */
    uint64_t uid_ino, uid_size;
    struct known *known;
    size_t n_known, cap_known;
    uint32_t *hash; /* index into known + 1; 0 is empty */
    size_t hash_size;

    char *keywords[STORE_KEYWORDS_MAX]; /* NULL: free */
    size_t n_keywords;
    int64_t keywords_changed; /* mtime in ns */

    int64_t new_changed, cur_changed, scanned_at; /* mtimes at the last scan, and its time, ns */
    int64_t scan_again_at; /* what changed in the grain of our own change shows then; 0: no need */
    bool has_index;
    bool is_held; /* counted in mailbox_pause_between */
    struct index *index;
    struct signatures *signatures; /* signature.c; NULL: none */
    struct ahead *ahead;           /* message.c; NULL: none */
    struct cached *cached;
    size_t n_cached, cached_bytes;
    uint32_t cached_top; /* the highest uid among them */

    uint32_t *expunged, *changed; /* of the last sync */
};

/* store.c */
/* Directory of a mailbox below the root: "." or ".Sent.2026". ERR_SYNTAX. */
enum err_code maildir_name(struct slice name, char out[FILE_NAME_MAX], struct err *e);
/* Make root/dir with cur, new, tmp. */
enum err_code maildir_make(struct store *s, const char *dir, struct err *e);
/* Open root/dir; ERR_NOT_FOUND. */
enum err_code maildir_open(struct store *s, const char *dir, int *fd, struct err *e);
/* Offsets of locks in HOME/Maildir/postbag-uidvalidity. */
enum { VALIDITY_LOCK, SUBSCRIPTIONS_LOCK, TAKEOVER_LOCK, DEFAULTS_LOCK };

/* Letters of the system flags, in ASCII order, with a NUL: "DFPRST". */
void maildir_letters(uint64_t flags, char out[48]);
/* Flags in a file name; other letters are ignored. */
uint64_t maildir_flags(const char *name);
/* Length of the name without ":2,FLAGS". */
size_t maildir_base(const char *name);
/* The number after ",S=" or ",W=" in the base, or STORE_SIZE_UNKNOWN. */
uint64_t maildir_number(const char *name, char letter);
/* A new UIDVALIDITY, larger than all before. */
enum err_code maildir_new_validity(struct store *s, uint32_t *out, struct err *e);

/* deliver.c: one message being written to tmp/, LF only, sizes counted. */
struct writer {
    int dir_fd, fd;
    char tmp[FILE_NAME_MAX + 8]; /* "tmp/..." */
    uint64_t stored, wire;       /* so far; `wire` by the rule of imap_wire_size */
    char last;                   /* byte stored */
    bool has_cr;
    char *block;
    size_t n_block;
};
enum err_code writer_open(struct writer *w, int dir_fd, struct store *s, struct err *e);
enum err_code writer_add(struct writer *w, struct slice bytes, struct err *e);
/* Flush, date, close. The file stays in tmp/. */
enum err_code writer_end(struct writer *w, wall_t date, struct err *e);
/* Remove what is there. Safe after any of the above. */
void writer_abort(struct writer *w);
/* A base name that is new: time, key or randomness, host, sizes. */
void maildir_new_name(struct store *s, wall_t date, struct slice key, uint64_t stored,
                      uint64_t wire, char out[FILE_NAME_MAX]);

/* uidlist.c; the lock is held for all but lock itself, forget and find */
/* Drop what was read; the next load reads it again. */
void uidlist_forget(struct mailbox *m);
/* The uidlist as it is now; a new one with a new UIDVALIDITY where there is none. */
enum err_code uidlist_load(struct mailbox *m, struct err *e);
/* Index into `known` of a base name, or SIZE_MAX. */
size_t uidlist_find(const struct mailbox *m, struct slice base);
/* The same of a name that is probably the nth from the end, 1 the last. */
size_t uidlist_last(const struct mailbox *m, size_t nth, struct slice base);
/* Leave out lines of messages that are gone, when they are most of the file. */
void uidlist_compact(struct mailbox *m);
/* Take in keywords that others added. */
void keywords_read(struct mailbox *m);
/* HIGHESTMODSEQ as others left it. */
uint64_t mailbox_noted_modseq(struct mailbox *m);
/* Directory times have the grain of the kernel's tick: a look this fresh may have missed a change.
 */
#define GRAIN_NS ((int64_t)50 * 1000 * 1000)

/* A list of UIDs that grows; `bad` when there was no memory. The owner frees `v`. */
struct uids {
    uint32_t *v;
    size_t n, cap;
    bool bad;
};
/* Add one; `ctx` is a struct uids. */
void uids_take(void *ctx, uint32_t uid);
/* The first UID that no session had as \Recent; 0: not noted yet. Not synced: after a crash of the
 * machine a message may be \Recent twice. Lock held. */
uint32_t mailbox_noted_recent(struct mailbox *m);
void mailbox_note_recent(struct mailbox *m, uint32_t uid);
/* Mark what nobody had as \Recent yet; who may write is then the one who had it (RFC 3501 2.3.2).
 * Lock held. */
void mailbox_take_recent(struct mailbox *m);
/* Octets of the file of message `i`, 0 when it is gone (quota). */
uint64_t mailbox_stored_size(const struct mailbox *m, size_t i);
/* takeover.c: the uidlist that Dovecot left, as ours; its keywords become ours. False: there is
 * none, or its UIDVALIDITY is another mailbox'. Lock held. */
bool takeover_uidlist(struct mailbox *m, uint32_t *validity, struct buf *out);
/* Those given later are larger than `validity` too (store.c). */
enum err_code maildir_note_validity(struct store *s, uint32_t validity);
/* Give back what was read ahead (message.c). */
void mailbox_ahead_free(struct mailbox *m);
/* Give back what is known of the search file (signature.c). */
void mailbox_signatures_free(struct mailbox *m);
enum err_code mailbox_lock(struct mailbox *m, struct err *e);
void mailbox_unlock(struct mailbox *m);
/* Add a line for a file, with the lock held; durable. */
enum err_code mailbox_assign(struct mailbox *m, const char *const *names, size_t n,
                             uint32_t *first_uid, struct err *e);
/* mailbox_keyword_bit whatever the mode. Takes the lock. */
enum err_code mailbox_keyword_make(struct mailbox *m, struct slice name, bool may_add,
                                   uint64_t *bit, struct err *e);
/* The uid of a file name by its base, 0 when the uidlist has none. */
uint32_t mailbox_uid_of(const struct mailbox *m, const char *name);
/* A value above all before; written to the lock file. Lock held. */
uint64_t mailbox_bump(struct mailbox *m);

/* mailbox.c and change.c */
/* sync with the lock held already. */
enum err_code mailbox_sync_locked(struct mailbox *m, struct mailbox_changes *ch, bool force,
                                  struct err *e);
/* A message that was put into the directory, or is about to be. */
struct newcomer {
    char *name; /* of the file; taken over by mailbox_insert */
    bool in_new;
    uint64_t flags, size_wire;
    wall_t date;
};
/* Take `n` new files, which have the UIDs from `first_uid` on, into snapshot and index; the lock is
 * held, and mailbox_is_current was true before they came. False: no memory, the next sync sees
 * them. */
bool mailbox_insert(struct mailbox *m, struct newcomer *v, size_t n, uint32_t first_uid);
/* Before and after a change that we make to directory and snapshot alike, lock held: then the next
 * sync need not read the directory for it. */
bool mailbox_is_current(struct mailbox *m);
void mailbox_adopt_times(struct mailbox *m, bool was_current);
/* Before `v` is changed: others may share it. ERR_MEMORY. */
enum err_code mailbox_own(struct mailbox *m, struct err *e);
/* A handle that was left for that directory (an open descriptor) by a store with the same root, or
 * NULL; it must be synced before use. */
struct mailbox *pool_take(struct store *s, const char *dir, int fd);
/* Close and free whatever a handle has. */
void mailbox_free(struct mailbox *m);
/* Index of a uid in the snapshot, or SIZE_MAX. */
size_t mailbox_at(const struct mailbox *m, uint32_t uid);
/* "cur/NAME" or "new/NAME" of a message. */
void mailbox_file(const struct mailbox *m, size_t i, char out[FILE_NAME_MAX + 8]);
/* Another program renamed it: find the file by its base; the name in the snapshot becomes the new
 * one, the flags in it stay what the user of the handle knows. False: it is gone. */
bool mailbox_refind(struct mailbox *m, size_t i);
/* Drop snapshot entries whose file name is NULL. */
void mailbox_sweep(struct mailbox *m);
struct index *mailbox_index(struct mailbox *m);
void mailbox_index_put(struct mailbox *m, size_t i);

#endif
