/* store: the mail of one account: Maildir++ on disk, UIDs that never change, an index beside it.
 *
 *     HOME/Maildir/{cur,new,tmp}         INBOX
 *     HOME/Maildir/.Sent.2026/{cur,...}  mailbox "Sent/2026" (modified UTF-7, '.' between levels)
 *     .../postbag-uidlist                UIDVALIDITY, next UID, lines of UID and name: the truth
 *     .../postbag-keywords               "0 $Junk": what the letters a-z in file names mean
 *     .../postbag-lock                   locked for every change; HIGHESTMODSEQ and UIDNEXT
 *     HOME/Maildir/subscriptions         as Dovecot writes it
 *     HOME/Maildir/postbag-uidvalidity   the last UIDVALIDITY given; a new name gets a larger one
 *     HOME/Maildir/postbag-validities    those there are, for taking over Dovecot's; made anew
 *     HOME/postbag-index.db              SQLite: modseq, sizes, dates, cached texts: a cache
 *
 * The index may be deleted, damaged, or libsqlite3 missing at any time: UIDs and flags do not
 * depend on it. What is lost then is made again: sizes and dates from the files, cached texts by
 * their owner, and MODSEQ starts afresh for each message with a value above all earlier ones
 * (values are microseconds of the clock, never below the last one used), so a CONDSTORE client only
 * reads more. A lost postbag-uidlist gets a new, larger UIDVALIDITY.
 *
 * Messages are stored with LF; every size that goes to a client is that of the CRLF form (`,W=` in
 * the file name). Other tools (mutt, mblaze, rsync, Dovecot) may deliver, flag and delete at any
 * time; mailbox_sync sees it. Mailbox names are UTF-8 with '/' between levels, "INBOX" in that
 * spelling.
 *
 * Threads: a struct store is immutable after store_open and may be used by all; a struct mailbox by
 * one thread at a time; any number of handles and processes may work on one mailbox side by side.
 *
 *     struct store *s; struct mailbox *m; struct message msg;
 *     store_open("/var/lib/postbag/mail/example.org/jo", &s, &e);
 *     mailbox_open(s, S("INBOX"), MAILBOX_WRITE, &m, &e);
 *     for (size_t i = 0; i < m_n; i++) ... mailbox_messages(m, &m_n)[i].uid ...
 *     if (message_open(m, uid, &msg, &e) == OK) { use(msg.bytes); message_close(&msg); }
 *     mailbox_close(m);
 *     store_close(s);
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/trail.h"
#include "imap/rows.h"

enum {
    STORE_NAME_MAX = 1000,         /* bytes of a mailbox name; on disk 255 */
    STORE_DEPTH_MAX = 20,          /* levels of a mailbox name */
    STORE_MAILBOXES_MAX = 100000,  /* mailboxes in one account */
    STORE_MESSAGES_MAX = 16000000, /* messages in one mailbox */
    STORE_KEYWORDS_MAX = 26,       /* keywords in one mailbox: the letters a-z */
    STORE_KEYWORD_LEN_MAX = 100,
    STORE_BATCH_MAX = 10000,
    STORE_APPEND_MAX = 1000, /* messages of one APPEND */
    STORE_BATCH_MAILBOXES_MAX = 4000,
    STORE_TMP_AGE_S = 36 * 3600,    /* older files in tmp/ are what a crash left, and go */
    STORE_KEY_MAX = 100,            /* bytes of a delivery key */
    STORE_LOCK_WAIT_MS = 10 * 1000, /* then ERR_BUSY */
    STORE_KEYWORD_FIRST = IMAP_KEYWORD_FIRST
};

/* Flags are those of imap/flag.h; keyword i of the mailbox is bit STORE_KEYWORD_FIRST + i, see
 * mailbox_keywords. STORE_RECENT: this handle is the first to see it; not stored. */
#define STORE_SEEN IMAP_SEEN
#define STORE_ANSWERED IMAP_ANSWERED
#define STORE_FLAGGED IMAP_FLAGGED
#define STORE_DELETED IMAP_DELETED
#define STORE_DRAFT IMAP_DRAFT
#define STORE_RECENT IMAP_RECENT
#define STORE_PASSED IMAP_PASSED

/* What a mailbox is for (RFC 6154); the bits of imap/server.h. */
enum {
    STORE_USE_ARCHIVE = 1 << 9,
    STORE_USE_DRAFTS = 1 << 10,
    STORE_USE_JUNK = 1 << 12,
    STORE_USE_SENT = 1 << 13,
    STORE_USE_TRASH = 1 << 14
};

struct store;
struct mailbox;

/* --- the account ------------------------------------------------------------------------------ */

/* Open a home directory; HOME and HOME/Maildir are made (0700) when missing. The caller closes. */
enum err_code store_open(const char *home, struct store **out, struct err *e);
/* The same for a Maildir that stands alone: `dir` has cur, new and tmp, made when missing. */
enum err_code store_open_maildir(const char *dir, struct store **out, struct err *e);
/* After all its mailboxes. NULL is fine. */
void store_close(struct store *s);

struct store_name {
    char *name; /* UTF-8, '/' between levels */
    unsigned
        use; /* STORE_USE_* it was given; else by its name, when nobody was given it; 0 for most */
    bool is_subscribed;
    bool is_missing; /* only subscribed: there is no such mailbox */
};
struct store_names {
    struct store_name *v; /* INBOX first, the rest by name */
    size_t n;
};
/* All mailboxes, and subscribed names without one. The caller releases `out`. */
enum err_code store_list(struct store *s, struct store_names *out, struct err *e);
void store_names_release(struct store_names *l);
/* True when the mailbox is there. */
bool store_has(struct store *s, struct slice name);
/* ERR_EXISTS, ERR_SYNTAX (a name that cannot be). Missing parents are not made: they are shown by
 * their children. */
enum err_code store_create(struct store *s, struct slice name, struct err *e);
/* ERR_NOT_FOUND; ERR_DENIED for INBOX. Mailboxes below stay. */
enum err_code store_delete(struct store *s, struct slice name, struct err *e);
/* With all mailboxes below it; ERR_NOT_FOUND, ERR_EXISTS. INBOX: its messages move to the new name,
 * and it stays, empty (RFC 3501 6.3.5). UIDVALIDITY and UIDs of a renamed mailbox stay. */
enum err_code store_rename(struct store *s, struct slice from, struct slice to, struct err *e);
enum err_code store_subscribe(struct store *s, struct slice name, bool on, struct err *e);
/* Make and subscribe Drafts, Sent, Trash, Junk, Archive where missing. */
enum err_code store_create_defaults(struct store *s, struct err *e);
/* The same for an account that has no mailbox but INBOX: for a login. Waits for another session
 * that does it, so that nobody sees half of them. */
enum err_code store_begin(struct store *s, struct err *e);
/* STORE_USE_* of a name, 0: none. Pure. */
unsigned store_use(struct slice name);
/* Say what a mailbox is for, 0: nothing special but what its name says. Durable. ERR_NOT_FOUND. */
enum err_code store_set_use(struct store *s, struct slice name, unsigned use, struct err *e);
/* The path of a mailbox' directory, appended to `out`, for people and tools. */
enum err_code store_path(struct store *s, struct slice name, struct buf *out, struct err *e);

/* The exclusive right to a maildrop for POP3 (RFC 1939 3), `*fd` is closed to give it back.
 * ERR_BUSY: another session has it. IMAP and delivery are not hindered. */
enum err_code store_lock_maildrop(struct store *s, int *fd, struct err *e);

/* --- delivery --------------------------------------------------------------------------------- */

struct delivery {
    struct slice mailbox;      /* empty: INBOX; made when missing */
    const struct slice *parts; /* the message, piece by piece: added fields first; LF or CRLF */
    size_t n_parts;
    struct slice key;  /* letters, digits, '-', '_', at most STORE_KEY_MAX: the same key and date
                          name the same message; empty: a name that is new in any case */
    wall_t date;       /* internal date; 0: now. With a key: always the same for it */
    bool may_be_there; /* it was tried before: also look for the key among messages read since */
    uint64_t flags;    /* system flags; without any it goes to new/ */
};

/* Many deliveries made durable together: add all (each is written), then commit. One thread at a
 * time; may span several stores, which must stay open. At most STORE_BATCH_MAX messages, in
 * STORE_BATCH_MAILBOXES_MAX mailboxes, beyond that ERR_LIMIT: commit and begin another. Up to eight
 * are synced file by file, more by one syncfs(2) for each file system. */
struct store_batch;
struct store_batch *store_batch_new(void);
/* Write one message to tmp/. `*item` gets its number for store_batch_result. `d` and its slices are
 * not used afterwards. On an error (FULL, IO, DENIED) nothing is left of it, the batch can go on.
 */
enum err_code store_batch_add(struct store_batch *b, struct store *s, const struct delivery *d,
                              size_t *item, struct err *e);
/* Make all durable, then visible, then their directories durable. OK when all were; else the first
 * error, and each item has its own result. */
enum err_code store_batch_commit(struct store_batch *b, struct err *e);
/* Of one item after the commit: OK, ERR_EXISTS (the key is there already: delivered before, which
 * is a success), or what went wrong. */
enum err_code store_batch_result(const struct store_batch *b, size_t item, struct err *e);
/* What was not committed leaves no trace. NULL is fine. */
void store_batch_free(struct store_batch *b);
/* One message, durable on return. ERR_EXISTS: it was there. */
enum err_code store_deliver(struct store *s, const struct delivery *d, struct err *e);

/* --- a mailbox -------------------------------------------------------------------------------- */

enum mailbox_mode {
    MAILBOX_READ, /* moves nothing from new/ to cur/; flags and expunge are ERR_DENIED */
    MAILBOX_WRITE
};
/* ERR_NOT_FOUND when there is none. The first sync is done. The caller closes. */
enum err_code mailbox_open(struct store *s, struct slice name, enum mailbox_mode mode,
                           struct mailbox **out, struct err *e);
void mailbox_close(struct mailbox *m);
/* The same, but the snapshot is kept for a while for who opens it next: to read a large mailbox
 * again takes a hundred times as long as to see that nothing changed. At most POOL_MAX mailboxes
 * and POOL_BYTES_MAX in a process. */
void mailbox_leave(struct mailbox *m);
/* Close what was left. At the end of a process, or before memory is counted. */
void mailbox_forget_left(void);

#define STORE_SIZE_UNKNOWN IMAP_SIZE_UNKNOWN
#define STORE_DATE_UNKNOWN IMAP_DATE_UNKNOWN

/* The snapshot, by ascending uid; sizes and dates may be unknown (mailbox_size and mailbox_date
 * find them). Valid until the next call that changes it (sync, set_flags, expunge, copy with
 * is_move). */
const struct imap_msg *mailbox_messages(const struct mailbox *m, size_t *n);
/* The same as rows that can be shared; borrowed until that call. */
struct imap_rows *mailbox_rows(const struct mailbox *m);
/* One of them, or NULL. */
const struct imap_msg *mailbox_find(const struct mailbox *m, uint32_t uid);
uint32_t mailbox_uidvalidity(const struct mailbox *m);
uint32_t mailbox_uidnext(const struct mailbox *m);
/* All that was changed up to this one is in the snapshot. A change of one's own may be above it,
 * when others changed something that was not synced yet. */
uint64_t mailbox_highest_modseq(const struct mailbox *m);
/* Names of keywords by number; entries live as long as the handle. A number never changes its name.
 */
size_t mailbox_keywords(const struct mailbox *m, const char *const **names);
/* The bit of a keyword (any case), made when `may_add`, durable then. 0: unknown, not an atom, the
 * table is full. ERR_IO, ERR_BUSY: it could not be made. */
enum err_code mailbox_keyword_bit(struct mailbox *m, struct slice name, bool may_add, uint64_t *bit,
                                  struct err *e);

struct mailbox_changes {
    const uint32_t *expunged; /* ascending; they are gone from the snapshot */
    size_t n_expunged;
    const uint32_t *flags; /* uids whose flags changed */
    size_t n_flags;
    size_t first_new, n_new; /* in the snapshot: always its end */
};
/* Look at the directory and bring the snapshot up to date. Cheap when nothing happened. `ch`, when
 * not NULL, lives until the next call on `m`. ERR_NOT_FOUND: the mailbox was deleted. */
enum err_code mailbox_sync(struct mailbox *m, struct mailbox_changes *ch, struct err *e);
/* Give back what is only needed while something happens, until it is needed again: mailbox_pause
 * what is quickly there again (the index), mailbox_rest all but snapshot, watch and keywords. NULL
 * is fine. */
void mailbox_pause(struct mailbox *m);
/* The same in the middle of something that goes on at once, unless others are in the middle of
 * something too: up to STORE_HELD_MAX mailboxes of a process keep what they have, some MiB each,
 * until the next mailbox_pause. */
enum { STORE_HELD_MAX = 8 };
void mailbox_pause_between(struct mailbox *m);
void mailbox_rest(struct mailbox *m);
/* A descriptor that is readable when something may have changed (store/watch.h), owned by `m`, -1
 * when there is none; mailbox_sync empties it. */
int mailbox_watch(struct mailbox *m);

/* Uids that went after `since`, ascending; the caller frees `*uids`. `*is_all`: what went is not
 * known that far back, and every uid that is not in the snapshot must be taken as gone (RFC
 * 7162 3.2.5.1). ERR_MEMORY. */
enum err_code mailbox_vanished(struct mailbox *m, uint64_t since, uint32_t **uids, size_t *n,
                               bool *is_all, struct err *e);

enum mailbox_flags_mode { MAILBOX_FLAGS_SET, MAILBOX_FLAGS_ADD, MAILBOX_FLAGS_REMOVE };
/* Only what was not changed after `since` (RFC 7162 3.1.3). */
struct mailbox_condition {
    uint64_t since;
    uint32_t *failed; /* out: what was changed and left alone, ascending; the caller frees it */
    size_t n_failed;
    struct mailbox_changes seen; /* out: what others had done; lives until the next call on `m` */
};
/* Change flags (STORE_RECENT and STORE_PASSED are left alone) and the snapshot. Vanished messages
 * are passed over. Durable with the next expunge, append or copy, as flags are anywhere. `only_if`
 * NULL: without a condition. */
enum err_code mailbox_set_flags(struct mailbox *m, const uint32_t *uids, size_t n,
                                enum mailbox_flags_mode mode, uint64_t flags,
                                struct mailbox_condition *only_if, struct err *e);
/* Remove messages; with `only_deleted` those that still are \Deleted. `gone` has room for n uids
 * and gets those removed (by us or, as it turns out, before), `*n_gone` of them. They leave the
 * snapshot. */
enum err_code mailbox_expunge(struct mailbox *m, const uint32_t *uids, size_t n, bool only_deleted,
                              uint32_t *gone, size_t *n_gone, struct err *e);
/* Copy or move to another mailbox (ERR_NOT_FOUND: no such one) by hard links: all or none. Flags,
 * keywords and internal date go along. from[i] became to[i] in a mailbox with `*uidvalidity`;
 * vanished messages are left out; both have room for n. Moved messages leave the snapshot. The
 * target is in the account `s`, whose quota counts it; a copy has no flags but those of `keep`. */
enum err_code mailbox_copy(struct mailbox *m, const uint32_t *uids, size_t n, struct store *s,
                           struct slice target, uint64_t keep, bool is_move, uint32_t *uidvalidity,
                           uint32_t *from, uint32_t *to, size_t *n_done, struct err *e);

/* APPEND: bytes come in pieces, in CRLF or LF; then end or abort. The mailbox need not be open. */
struct store_append;
/* ERR_NOT_FOUND: no such mailbox. `date` 0: now. `keywords` are names. `open`: the caller's own
 * handle of that mailbox, which stays open until the end and is brought up to date by it unless
 * others changed the mailbox too (then mailbox_find has not the new message before the next sync),
 * or NULL. */
enum err_code store_append_begin(struct store *s, struct slice mailbox, uint64_t flags,
                                 const struct slice *keywords, size_t n_keywords, wall_t date,
                                 struct mailbox *open, struct store_append **out, struct err *e);
/* Another message beside the one before, which is whole now: all are stored, or none. At most
 * STORE_APPEND_MAX, beyond that ERR_LIMIT. An error is final and kept for the end. */
enum err_code store_append_next(struct store_append *a, uint64_t flags,
                                const struct slice *keywords, size_t n_keywords, wall_t date,
                                struct err *e);
/* The octets of the last message. An error is final and kept for the end. */
enum err_code store_append_data(struct store_append *a, struct slice bytes, struct err *e);
/* Durable and visible on OK; the messages have the UIDs from `*uid` on. Frees `a` in any case. */
enum err_code store_append_end(struct store_append *a, uint32_t *uidvalidity, uint32_t *uid,
                               struct err *e);
/* Leaves no trace. NULL is fine. */
void store_append_abort(struct store_append *a);

struct mailbox_status {
    uint32_t messages, recent, unseen, uidnext, uidvalidity;
    uint32_t deleted;    /* that are \Deleted */
    uint64_t size_bytes; /* sum of the known sizes on the wire */
    uint64_t highest_modseq;
};
/* Without opening for writing; nobody's \Recent is used up. */
enum err_code mailbox_status(struct store *s, struct slice name, struct mailbox_status *out,
                             struct err *e);

/* --- a message -------------------------------------------------------------------------------- */

struct message {
    struct slice bytes; /* as stored; valid until message_close, also if the file is removed */
    struct trail
        trail;    /* to go through the bytes of a large message without keeping all in memory */
    void *map;    /* private */
    size_t map_n; /* private */
};
/* ERR_NOT_FOUND: it vanished. The file is read, or mapped when large; bytes that another program
 * cuts off a mapped file meanwhile read as NUL. `out` must not move while it is open. */
enum err_code message_open(struct mailbox *m, uint32_t uid, struct message *out, struct err *e);
void message_close(struct message *msg);
/* Size on the wire, computed from the file when it is not known, then remembered. */
enum err_code mailbox_size(struct mailbox *m, uint32_t uid, uint64_t *size, struct err *e);
/* The same when the octets are at hand already. */
uint64_t mailbox_size_of(struct mailbox *m, uint32_t uid, struct message *msg);
/* The same when it is known already. */
void mailbox_size_is(struct mailbox *m, uint32_t uid, uint64_t size);
/* Internal date, from the file when it is not known, then remembered. */
enum err_code mailbox_date(struct mailbox *m, uint32_t uid, wall_t *date, struct err *e);
/* When the message came into this mailbox (RFC 8514); 0: not known. */
wall_t mailbox_saved(struct mailbox *m, uint32_t uid);
/* Read the messages [from, to) of the snapshot with several threads: `visit` is called by any of
 * them, once for each that `wants` says yes to and that could be read; the message is open during
 * the call. Returns when all is done; nothing else may be done with `m` meanwhile. */
void mailbox_read_many(struct mailbox *m, size_t from, size_t to,
                       bool (*wants)(void *ctx, size_t i),
                       void (*visit)(void *ctx, size_t i, struct message *msg), void *ctx);
/* The same in the background, for what will be wanted next: the mailbox may be used and changed
 * meanwhile, and closed. `visit` and `ctx` until the end. NULL: no memory, nothing is read. */
struct mailbox_reading;
struct mailbox_reading *mailbox_read_begin(struct mailbox *m, size_t from, size_t to,
                                           void (*visit)(void *ctx, size_t i, struct message *msg),
                                           void *ctx);
/* Help with what is left, or leave it when it is not wanted; on return no thread runs. Frees `r`;
 * NULL is fine. */
void mailbox_read_end(struct mailbox_reading *r, bool is_wanted);
/* Find all sizes, with several threads: for POP3. */
enum err_code mailbox_sizes(struct mailbox *m, struct err *e);
/* UIDL (RFC 1939 7): UID and UIDVALIDITY as 16 hexadecimal digits with a NUL; as stable as they,
 * and what Dovecot gives by itself: a Maildir that was taken over is not fetched again. */
enum { STORE_UIDL_MAX = 17 };
struct slice mailbox_uidl(const struct mailbox *m, uint32_t uid, char out[STORE_UIDL_MAX]);

/* --- cached texts ----------------------------------------------------------------------------- */

enum { STORE_CACHE_MAX = 1024 * 1024 };
/* A text about a message (ENVELOPE, BODYSTRUCTURE ...) by a short name that its owner chooses, with
 * a version in it. get: false when there is none, or no index. put: best effort, never fails. */
bool mailbox_cache_get(struct mailbox *m, uint32_t uid, struct slice what, struct buf *out);
void mailbox_cache_put(struct mailbox *m, uint32_t uid, struct slice what, struct slice text);
/* Writes what was put since; also done by sync and close. */
void mailbox_cache_flush(struct mailbox *m);

#endif
