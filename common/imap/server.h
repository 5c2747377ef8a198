/* server: the IMAP side that keeps mail, without I/O (RFC 3501 and the extensions below).
 *
 * Extensions: LITERAL- and, after login, LITERAL+ (RFC 7888), IDLE (2177), NAMESPACE (2342), ID
 * (2971), UNSELECT (3691), UIDPLUS (4315), CHILDREN (3348), SASL-IR (4959), ENABLE (5161),
 * SPECIAL-USE and CREATE-SPECIAL-USE (6154), MOVE (6851), STATUS=SIZE (8438), CONDSTORE and QRESYNC
 * (7162), COMPRESS=DEFLATE (4978), UIDONLY (9586),
 * UIDBATCHES (10022), MESSAGELIMIT (9738), ACL (4314),
 * INPROGRESS (9585), LIST-EXTENDED (5258), LIST-STATUS (5819),
 * response codes of RFC 5530.
 *
 * The engine parses, keeps the session's view of the selected mailbox (which message has which
 * sequence number), and writes. Whatever needs the store is an event that the host answers with a
 * call, at once or later; while the engine waits it takes no bytes. At most one question is open at
 * a time. Output is pulled: beside one item of an answer (bounded by IMAP_ITEM_MAX) it never holds
 * more than about IMAP_OUT_LOW + 16 kB, however large the FETCH is.
 *
 *     struct imap_server *s = imap_server_new(&cfg, now);
 *     for (;;) {
 *         struct imap_event ev;
 *         while (imap_server_next(s, &ev)) host_answer(s, &ev);   // may also answer later
 *         write(imap_server_out(s)), imap_server_sent(s, n, now);  // then loop: next may make more
 *         if (imap_server_done(s)) break;
 *         imap_server_feed(s, read(), now);
 *     }
 *     imap_server_free(s);
 *
 * Names of mailboxes are UTF-8 with `cfg.delimiter` between levels; the engine does modified UTF-7,
 * and INBOX always arrives spelled "INBOX", also as the first level. The slices of an event that
 * asks live until it is answered, those of other events until the next call. One thread at a time;
 * engines share nothing.
 */
#ifndef IMAP_SERVER_H
#define IMAP_SERVER_H

#include "base/engine.h"
#include "base/err.h"
#include "imap/acl.h"
#include "imap/flag.h"
#include "imap/rows.h"
#include "sasl/server.h"

enum {
    IMAP_COMMAND_MAX = 256 * 1024,       /* one command with its literals, after login */
    IMAP_COMMAND_PREAUTH_MAX = 8 * 1024, /* the same before login */
    IMAP_LITERAL_MINUS_MAX = 4096,       /* non-synchronising literal before login (RFC 7888 5) */
    IMAP_DISCARD_MAX = 1024 * 1024, /* one refused literal that is read and dropped; else BYE */
    IMAP_APPEND_DISCARD_MAX = 256 * 1024 * 1024, /* the same of a message that is too large */
    IMAP_BAD_MAX = 50,                           /* commands answered BAD in a row before BYE */
    IMAP_LOGIN_FAILURES_MAX = 5,                 /* failed logins before BYE */
    IMAP_MAILBOX_NAME_MAX = 1000,                /* bytes of a mailbox name in UTF-8 */
    IMAP_MAILBOXES_MAX = 100000,                 /* names in one LIST */
    IMAP_ANNOTATIONS_MAX = 100,                  /* entries of one GETMETADATA or SETMETADATA */
    IMAP_PATTERNS_MAX = 100,                     /* patterns of one LIST */
    IMAP_MESSAGES_MAX = 16 * 1024 * 1024,        /* messages in one view */
    IMAP_ITEM_MAX = 8 * 1024 * 1024, /* rendered ENVELOPE, BODYSTRUCTURE, HEADER.FIELDS */
    IMAP_FETCH_ITEMS_MAX = 64,       /* data items of one FETCH */
    IMAP_SECTION_DEPTH_MAX = 32,     /* numbers in BODY[1.2.3...] */
    IMAP_SECTION_FIELDS_MAX = 200,   /* names in HEADER.FIELDS */
    IMAP_SEARCH_KEYS_MAX = 1000,     /* keys of one SEARCH */
    IMAP_SEARCH_DEPTH_MAX = 50,      /* nesting of NOT, OR and parentheses */
    IMAP_SET_MAX = 10000,            /* ranges in one sequence set */
    IMAP_APPEND_KEYWORDS_MAX = 32,
    IMAP_CHUNK_MAX = 16 * 1024, /* bytes of one IMAP_EV_APPEND_DATA */
    IMAP_OUT_LOW = 32 * 1024,   /* no new output is made while more than this waits */
    IMAP_PENDING_MAX = 100000,  /* updates that wait until they may be told; else BYE */
    IMAP_AUTOLOGOUT_MS = 30 * 60 * 1000,
    IMAP_LOGIN_MS = 60 * 1000, /* from the greeting to a successful login */
    IMAP_IDLE_KEEPALIVE_MS = 2 * 60 * 1000,
    IMAP_PROGRESS_MS = 5 * 1000 /* how often a long search says how far it is (RFC 9585) */
};

/* Texts are borrowed for as long as the engine lives, preauth_user for imap_server_new only. */
struct imap_config {
    struct slice hostname;       /* for the greeting */
    char delimiter;              /* '/' or '.' */
    bool has_tls;                /* the connection is inside TLS already */
    bool can_starttls;           /* offer STARTTLS while it is not */
    bool allow_plaintext_auth;   /* LOGIN and AUTHENTICATE without TLS */
    const struct sasl_env *sasl; /* for more mechanisms than PLAIN and LOGIN; lives as long as the
                                  * engine. NULL: none */
    struct slice preauth_user;   /* not empty: greet with PREAUTH as that user (serve --stdio) */
    uint64_t message_size_max;   /* APPEND beyond is refused with [TOOBIG] */
    struct slice other_users;    /* prefix of the mailboxes of others, with the delimiter; empty:
                                  * they cannot be seen (RFC 2342, RFC 4314) */
    uint32_t message_limit;      /* messages of one command (RFC 9738); 0: any number */
    const char *const *hidden;   /* capabilities that are not offered */
    size_t n_hidden;
    struct slice software; /* name in the ID answer; empty: "postbag" */
    struct slice version;  /* version in the ID answer; may be empty */
};

/* Mailbox attributes of LIST. */
enum {
    IMAP_NOSELECT = 1 << 0,
    IMAP_NOINFERIORS = 1 << 1,
    IMAP_MARKED = 1 << 2,
    IMAP_UNMARKED = 1 << 3,
    IMAP_HAS_CHILDREN = 1 << 4, /* the engine sets both from the names; need not be given */
    IMAP_HAS_NO_CHILDREN = 1 << 5,
    IMAP_SUBSCRIBED = 1 << 6,
    IMAP_NONEXISTENT = 1 << 7, /* only subscribed: there is no such mailbox */
    IMAP_USE_ALL = 1 << 8,     /* RFC 6154 */
    IMAP_USE_ARCHIVE = 1 << 9,
    IMAP_USE_DRAFTS = 1 << 10,
    IMAP_USE_FLAGGED = 1 << 11,
    IMAP_USE_JUNK = 1 << 12,
    IMAP_USE_SENT = 1 << 13,
    IMAP_USE_TRASH = 1 << 14,
    IMAP_USES = 0x7f << 8
};

struct imap_mailbox_info {
    uint32_t uidvalidity, uidnext;
    uint64_t highest_modseq;
    struct slice mailboxid; /* RFC 8474; empty: none */
    struct imap_rows *rows; /* shared with the engine, which changes its own copy only */
    const char *const
        *keywords; /* NULL entries are free; keyword i is bit IMAP_KEYWORD_FIRST + i */
    size_t n_keywords;
    bool is_read_only;     /* also when SELECT asked for writing */
    bool no_new_keywords;  /* else PERMANENTFLAGS has \* */
    uint64_t no_permanent; /* system flags that cannot be stored here */
};

struct imap_status {
    uint32_t messages, recent, uidnext, uidvalidity, unseen;
    uint64_t size_bytes; /* sum of RFC822.SIZE; only looked at when asked for */
    uint64_t highest_modseq;
    uint32_t deleted;
    uint64_t deleted_bytes; /* sum of RFC822.SIZE of these; only looked at when asked for */
    struct slice mailboxid; /* empty: none */
};

/* STATUS items, as bits of imap_event.items. */
enum {
    IMAP_STATUS_MESSAGES = 1 << 0,
    IMAP_STATUS_RECENT = 1 << 1,
    IMAP_STATUS_UIDNEXT = 1 << 2,
    IMAP_STATUS_UIDVALIDITY = 1 << 3,
    IMAP_STATUS_UNSEEN = 1 << 4,
    IMAP_STATUS_SIZE = 1 << 5, /* RFC 8438 */
    IMAP_STATUS_HIGHESTMODSEQ = 1 << 6,
    IMAP_STATUS_DELETED = 1 << 7,         /* RFC 9051 */
    IMAP_STATUS_MAILBOXID = 1 << 8,       /* RFC 8474 */
    IMAP_STATUS_APPENDLIMIT = 1 << 9,     /* RFC 7889: the engine knows it */
    IMAP_STATUS_DELETED_STORAGE = 1 << 10 /* RFC 9208 4.1.4 */
};

/* What FETCH or SEARCH wants to know about a message, as bits of imap_event.items. */
enum {
    IMAP_NEED_ENVELOPE = 1 << 0,
    IMAP_NEED_BODY = 1 << 1,          /* BODY: structure without extension data */
    IMAP_NEED_BODYSTRUCTURE = 1 << 2, /* with it */
    IMAP_NEED_BYTES = 1 << 3,         /* the message itself */
    IMAP_NEED_SIZE = 1 << 4,          /* the view has IMAP_SIZE_UNKNOWN */
    IMAP_NEED_DATE = 1 << 5,          /* the view has IMAP_DATE_UNKNOWN */
    IMAP_NEED_PREVIEW = 1 << 6,       /* RFC 8970 */
    IMAP_NEED_EMAILID = 1 << 7,       /* RFC 8474 */
    IMAP_NEED_SAVEDATE = 1 << 8,      /* RFC 8514 */
    IMAP_NEED_HEAD = 1 << 9           /* imap/head.h */
};

enum imap_event_type {
    IMAP_EV_NONE,
    /* answered by imap_server_tls_up, once all output is written and the handshake is done */
    IMAP_EV_STARTTLS,
    /* imap_server_ok when it can be done, and imap_server_compress_up once all output is written
     * and all that follows is compressed both ways (RFC 4978); or imap_server_no. */
    IMAP_EV_COMPRESS,
    /* user, password, claim, mechanism: imap_server_login_result */
    IMAP_EV_LOGIN,
    /* imap_server_list_item for every mailbox and every subscribed name, also of mailboxes that are
     * gone, then imap_server_ok; or imap_server_no. What is asked for, \HasChildren and order of
     * output are the engine's. */
    IMAP_EV_LIST,
    /* mailbox, is_read_only (EXAMINE): imap_server_selected or imap_server_no */
    IMAP_EV_SELECT,
    /* No answer: the view is gone (CLOSE, UNSELECT, another SELECT, LOGOUT). */
    IMAP_EV_UNSELECT,
    /* mailbox, items: imap_server_status or imap_server_no */
    IMAP_EV_STATUS,
    /* mailbox (RENAME: and new_name): imap_server_ok or imap_server_no. A CREATE of a name with the
     * delimiter at the end arrives without it and with is_parent_only; one with USE has the bits of
     * IMAP_USES in items (RFC 6154). */
    IMAP_EV_CREATE,
    IMAP_EV_DELETE,
    IMAP_EV_RENAME,
    IMAP_EV_SUBSCRIBE,
    IMAP_EV_UNSUBSCRIBE,
    /* mailbox, flags (system bits), keywords, date (has_date), size_bytes of the literal, is_next
     * (one more beside those before: all are stored or none):
     * imap_server_ok when it may come, or imap_server_no ("TRYCREATE", "OVERQUOTA"). */
    IMAP_EV_APPEND,
    IMAP_EV_APPEND_DATA, /* bytes: the next piece, as sent by the client. No answer. */
    /* all came, make them durable: imap_server_appended or imap_server_no. uid not 0: of REPLACE;
     * then that message is removed too, and imap_server_push_expunged called for it. */
    IMAP_EV_APPEND_END,
    IMAP_EV_APPEND_ABORT, /* drop it: the client went away or broke the command. No answer. */
    /* uids, store_mode, flags: for each message imap_server_push_flags with what is true now, then
     * imap_server_ok (or _no). Vanished messages are left out. Keyword bits: imap_server_keywords.
     * With has_unchanged_since what others did before is pushed first; then those changed after
     * unchanged_since, which are left as they are, are given to imap_server_modified (also when
     * there is none), and then all are pushed as above (RFC 7162 3.1.3). */
    IMAP_EV_STORE,
    /* A copy into the selected mailbox (and an APPEND there) is pushed by imap_server_push_new
     * before the answer. uids, mailbox: imap_server_copied or imap_server_no ("TRYCREATE"). For
     * MOVE the sources are gone afterwards; the engine tells the client and drops them from its
     * view. */
    IMAP_EV_COPY,
    IMAP_EV_MOVE,
    /* uids (all of them are \Deleted in this view): remove those that still are, call
     * imap_server_push_expunged for each, then imap_server_ok. */
    IMAP_EV_EXPUNGE,
    /* uid, items: imap_server_message, or imap_server_gone when it vanished, or imap_server_no when
     * it is there and cannot be read. IMAP_EV_MESSAGE_DONE follows the first of them. */
    IMAP_EV_NEED_MESSAGE,
    /* uid: the slices given for it are not used any more. No answer. */
    IMAP_EV_MESSAGE_DONE,
    /* mailbox (empty: the account): imap_server_annotation for each there is, then imap_server_ok,
     * or imap_server_no (RFC 5464) */
    IMAP_EV_GET_METADATA,
    /* mailbox, annotations (value.p NULL: take it away): imap_server_ok or imap_server_no */
    IMAP_EV_SET_METADATA,
    /* unchanged_since: imap_server_vanished, for a client that was away (RFC 7162 3.2) */
    IMAP_EV_VANISHED,
    /* mailbox (empty: by the name of the quota root): imap_server_quota, or imap_server_no (RFC
       9208) */
    IMAP_EV_QUOTA,
    /* mailbox: imap_server_acl, or imap_server_no (RFC 4314) */
    IMAP_EV_GET_ACL,
    /* mailbox, user (the identifier), items (rights), acl_change; none that are set are the end of
     * the entry: imap_server_ok or _no */
    IMAP_EV_SET_ACL,
    /* mailbox: imap_server_rights or _no */
    IMAP_EV_MY_RIGHTS,
    /* mailbox, user: imap_server_rights with those that the user always has (0: the others can be
     * given), or _no */
    IMAP_EV_LIST_RIGHTS,
    /* is_on: from now on tell of what happens in all mailboxes (imap_server_notice_*), in the
     * selected one too (pushes); is_next: of all that there are now before the answer (RFC
     * 5465 3.1). Not is_on: no more. imap_server_ok, or imap_server_no ("NOTIFICATIONOVERFLOW"). */
    IMAP_EV_NOTIFY,
    /* keywords: folded texts that every hit has in it: imap_server_candidates, or imap_server_ok
     * when nothing is known and all must be looked at */
    IMAP_EV_CANDIDATES,
    /* No answer: uid, bytes: the folded text of a message, all that texts are looked for in. */
    IMAP_EV_TEXT,
    /* NOOP, CHECK, start of IDLE: look what is new, push it, then imap_server_ok. */
    IMAP_EV_POLL,
    /* No answer: is_on. While on, pushes go out at once. */
    IMAP_EV_IDLE,
    /* No answer: what the client said in ID (text: the raw list). */
    IMAP_EV_ID,
    /* Final: the dialogue broke (err) or ended (err.code OK). Nothing follows. */
    IMAP_EV_END
};

enum imap_store_mode { IMAP_STORE_SET, IMAP_STORE_ADD, IMAP_STORE_REMOVE };

struct imap_annotation {
    struct slice name, value;
};

struct imap_event {
    enum imap_event_type type;
    struct slice mailbox, new_name;
    const char *mechanism;       /* "LOGIN", "PLAIN", ...; static */
    enum sasl_claim claim;       /* what is to be checked */
    struct slice user, password; /* the password is wiped at the next call */
    struct slice bytes, text;
    uint32_t uid;
    const uint32_t *uids; /* ascending */
    size_t n_uids;
    unsigned items;
    enum imap_store_mode store_mode;
    enum acl_change acl_change;
    uint64_t flags;
    const struct slice *keywords;
    size_t n_keywords;
    const struct imap_annotation *annotations;
    size_t n_annotations;
    uint64_t size_bytes;
    wall_t date;
    uint64_t unchanged_since;
    bool has_unchanged_since;
    bool is_next, has_date, is_read_only, is_parent_only, is_on;
    struct err err;
};

/* What the host knows about a message; all slices stay valid and unchanged until
 * IMAP_EV_MESSAGE_DONE (or imap_server_free). Texts not given are rendered from `bytes`; so `bytes`
 * must be there when IMAP_NEED_BYTES was asked, or any asked text is missing. */
struct imap_content {
    struct slice bytes; /* the message as stored, lines ending in LF or CRLF */
    bool has_bytes;
    struct trail *trail;        /* whom to tell how far the bytes are read; NULL: nobody */
    struct slice envelope;      /* as of imap_put_envelope */
    struct slice body;          /* as of imap_put_body */
    struct slice bodystructure; /* as of imap_put_bodystructure */
    struct slice head;          /* as of imap_put_head; empty: look at the bytes */
    struct slice preview;       /* as of imap_put_preview; empty is an answer too */
    struct slice emailid;       /* empty: there is none */
    wall_t save_date;           /* 0: not known */
    uint64_t size_bytes;        /* when asked by IMAP_NEED_SIZE; 0: the engine counts `bytes` */
    wall_t internal_date;       /* when asked by IMAP_NEED_DATE */
};

/* NULL: no memory. `cfg` is copied. */
struct imap_server *imap_server_new(const struct imap_config *cfg, mono_t now);
/* Ends everything; slices given by imap_server_message are no longer used. NULL is fine. */
void imap_server_free(struct imap_server *s);
/* For drivers; the engine is borrowed. */
struct engine imap_server_engine(struct imap_server *s);

/* base/engine.h. */
size_t imap_server_feed(struct imap_server *s, struct slice in, mono_t now);
void imap_server_eof(struct imap_server *s, mono_t now);
struct slice imap_server_out(struct imap_server *s);
void imap_server_sent(struct imap_server *s, size_t n, mono_t now);
mono_t imap_server_deadline(const struct imap_server *s);
void imap_server_tick(struct imap_server *s, mono_t now);
bool imap_server_done(const struct imap_server *s);
/* The next event; also makes more output. False: nothing now. */
bool imap_server_next(struct imap_server *s, struct imap_event *ev);

/* Nothing goes on: give back memory that is only needed while something does. At any time. */
void imap_server_rest(struct imap_server *s);
/* What time it is, for OLDER and YOUNGER; before bytes are fed. */
void imap_server_wall(struct imap_server *s, wall_t now);
/* What time it is, in the midst of a long command: before an answer to IMAP_EV_NEED_MESSAGE, often
 * enough for IMAP_PROGRESS_MS. */
void imap_server_clock(struct imap_server *s, mono_t now);
/* True while a question is open. An answer that fits no open question is ignored. */
bool imap_server_is_waiting(const struct imap_server *s);
/* True in the middle of a command that goes on when its answers so far have left. */
bool imap_server_is_working(const struct imap_server *s);
/* The user logged in, empty before. Lives as long as the engine. */
struct slice imap_server_user(const struct imap_server *s);
/* The keywords of the selected mailbox: which bit is which name. Names only get added until the
 * next SELECT. */
struct imap_keywords *imap_server_keywords(struct imap_server *s);
/* How many messages the client knows of, and the view itself (until the next call). */
size_t imap_server_view(const struct imap_server *s, const struct imap_msg **msgs);

/* Answers. Text is one line for a person, cut at 500 bytes; may be empty. `code` is a response code
 * without brackets ("TRYCREATE", "OVERQUOTA", "NONEXISTENT", "ALREADYEXISTS", "INUSE",
 * "UNAVAILABLE") or empty. Both are copied; bytes that may not be in a line become '?'. */
void imap_server_ok(struct imap_server *s);
void imap_server_no(struct imap_server *s, struct slice code, struct slice text);
void imap_server_tls_up(struct imap_server *s);
void imap_server_compress_up(struct imap_server *s);
enum imap_login { IMAP_LOGIN_OK, IMAP_LOGIN_WRONG, IMAP_LOGIN_UNAVAILABLE };
void imap_server_login_result(struct imap_server *s, enum imap_login r);
/* One mailbox for the open IMAP_EV_LIST; the name is copied. */
void imap_server_list_item(struct imap_server *s, struct slice name, unsigned attributes);
/* One annotation for the open IMAP_EV_GET_METADATA, of any name: what was asked for is told. */
void imap_server_annotation(struct imap_server *s, struct slice name, struct slice value);
void imap_server_selected(struct imap_server *s, const struct imap_mailbox_info *info);
void imap_server_status(struct imap_server *s, const struct imap_status *st);
void imap_server_acl(struct imap_server *s, const struct acl_entry *v, size_t n);
void imap_server_rights(struct imap_server *s, unsigned rights);
/* Of IMAP_EV_CREATE; the id may be empty. imap_server_ok is the same without one. */
void imap_server_created(struct imap_server *s, struct slice mailboxid);
/* `uid`: of the first, the others follow it; 0: unknown, no APPENDUID. */
void imap_server_appended(struct imap_server *s, uint32_t uidvalidity, uint32_t uid);
/* from[i] became to[i], in ascending order of from; vanished messages are left out. */
void imap_server_copied(struct imap_server *s, uint32_t uidvalidity, const uint32_t *from,
                        const uint32_t *to, size_t n);
void imap_server_message(struct imap_server *s, const struct imap_content *c);
void imap_server_gone(struct imap_server *s);
/* Of the open IMAP_EV_STORE: these were changed by others since, ascending. */
void imap_server_modified(struct imap_server *s, const uint32_t *uids, size_t n);
/* No other messages than these (ascending) can hold the texts. `wants_text`: tell the texts of
 * those that were looked at by IMAP_EV_TEXT. */
void imap_server_candidates(struct imap_server *s, const uint32_t *uids, size_t n, bool wants_text);
/* What went since then, ascending; `is_all`: nobody knows that far back, so every UID that is not
 * in the view. */
void imap_server_vanished(struct imap_server *s, const uint32_t *uids, size_t n, bool is_all);

/* What changed in the selected mailbox, by whomever; call at any time between other calls. Queued
 * and told when RFC 3501 7 allows it (in IDLE at once). Ignored when nothing is selected. */
void imap_server_push_new(struct imap_server *s, const struct imap_msg *m); /* uids ascending */
void imap_server_push_expunged(struct imap_server *s, uint32_t uid);
void imap_server_push_flags(struct imap_server *s, uint32_t uid, uint64_t flags, uint64_t modseq);
/* All that others and this session changed up to this modification sequence was pushed. */
void imap_server_push_modseq(struct imap_server *s, uint64_t highest);
/* What the account keeps and may keep; 0 as a maximum: no limit. */
struct imap_quota {
    uint64_t octets, octets_max, messages, messages_max;
};
/* NULL: it has no quota. */
void imap_server_quota(struct imap_server *s, const struct imap_quota *q);

/* What happened in another mailbox, or during IMAP_EV_NOTIFY what is there: what the client wants
 * of it is told at once. Only while imap_server_may_notice says so (or during that event). */
bool imap_server_may_notice(const struct imap_server *s);
void imap_server_notice_status(struct imap_server *s, struct slice name, bool is_subscribed,
                               const struct imap_status *st, bool is_flags_only);
void imap_server_notice_subscription(struct imap_server *s, struct slice name, bool is_subscribed);
void imap_server_notice_name(struct imap_server *s, struct slice name, bool is_subscribed,
                             bool is_gone);
/* RFC 5465 5.4: LIST with OLDNAME. */
void imap_server_notice_renamed(struct imap_server *s, struct slice name, struct slice old_name,
                                bool is_subscribed);
/* Say BYE and end as soon as the command under way allows it (shutdown, account removed). */
void imap_server_bye(struct imap_server *s, struct slice text);

#endif
