/* server_impl: what the files of the IMAP server engine share. Nobody else includes this.
 *
 *   server.c          life, bytes in and out, literals, answers of the host
 *   server_view.c     the selected mailbox: sequence numbers, queued updates
 *   server_command.c  one command taken apart and begun
 *   server_append.c   APPEND, REPLACE
 *   server_auth.c     LOGIN, AUTHENTICATE, capabilities
 *   server_list.c     LIST, LSUB, STATUS
 *   server_metadata.c GETMETADATA, SETMETADATA
 *   server_fetch.c    FETCH
 *   server_notify.c   NOTIFY
 *   server_quota.c    GETQUOTA, GETQUOTAROOT
 *   server_resync.c   ENABLE, modification sequences, who was away (RFC 5161, 7162)
 *   server_search.c   SEARCH: keys, and which messages fit
 *   server_sort.c     SORT, THREAD
 *   server_result.c   what it found: SEARCH, ESEARCH, "$"
 */
#ifndef IMAP_SERVER_IMPL_H
#define IMAP_SERVER_IMPL_H

#include "imap/binary.h"
#include "imap/render.h"
#include "imap/section.h"
#include "imap/server.h"
#include "imap/set.h"
#include "imap/token.h"
#include "sasl/server.h"

enum { EVENTS_MAX = 4, COMMAND_ARENA_MAX = 32 * 1024 * 1024 };
enum { PLACE_MAX = 64, PLACE_SIZE_MIN = 256 * 1024 }; /* of struct fetch_place */

enum mode {
    MODE_COMMAND, /* waiting for, or working on, a command */
    MODE_APPEND,  /* the literal of APPEND streams through */
    MODE_AUTH,    /* a line of a SASL dialogue */
    MODE_IDLE,
    MODE_BYE, /* last words are on their way */
    MODE_DONE
};

/* Output that is made piece by piece. */
enum job { JOB_NONE, JOB_FETCH, JOB_SEARCH, JOB_LIST, JOB_FLUSH };

/* What a mailbox of ours can be for: \All and \Flagged would be views. */
enum {
    STORED_USES =
        IMAP_USE_ARCHIVE | IMAP_USE_DRAFTS | IMAP_USE_JUNK | IMAP_USE_SENT | IMAP_USE_TRASH
};

/* Answers that say how a message fits the search so far. */
enum truth { TRUTH_NO, TRUTH_YES, TRUTH_OPEN };

struct list_name {
    struct slice name;
    unsigned attributes;
    bool is_implied; /* a level above a mailbox that is no mailbox itself */
};

/* What ENABLE turned on, or the use of it. */
enum {
    ON_CONDSTORE = 1 << 0,
    ON_QRESYNC = 1 << 1,
    ON_UTF8 = 1 << 2,
    ON_REV2 = 1 << 3,
    ON_UIDONLY = 1 << 4
};

enum { IMAP_LIMIT_CODE_MAX = 48 };

struct search_key; /* server_search.c */
struct fetch_item; /* server_fetch.c */

/* Of RETURN. */
enum {
    RETURN_MIN = 1 << 0,
    RETURN_MAX = 1 << 1,
    RETURN_ALL = 1 << 2,
    RETURN_COUNT = 1 << 3,
    RETURN_SAVE = 1 << 4,
    RETURN_PARTIAL = 1 << 5
};

/* "1:10" of the results, or "-1:-10" from their end (RFC 9394). */
struct imap_partial {
    uint32_t first, last, asked_first, asked_last;
    bool is_from_end;
};

struct fetch_state {
    struct fetch_item *items;
    size_t n_items, item;
    struct imap_set set;
    bool is_uid, has_uid, has_flags, has_modseq, is_streaming, has_written, has_lost,
        has_unreadable;
    bool has_since, wants_vanished, has_partial;
    struct imap_partial partial;
    uint64_t since; /* CHANGEDSINCE: only what changed after it */
    unsigned need;  /* IMAP_NEED_* */
    size_t index;   /* the message under way */
    uint32_t next;  /* smallest sequence number or UID not yet looked at; 0: through */
    bool is_in_row; /* being written */
    bool is_held;   /* the host gave the message and wants to know when it is done */
    struct imap_content content;
    struct part *root;
    struct arena arena; /* of one message */
    struct buf tmp;
    struct imap_stream stream;
    struct imap_binary binary;
    bool is_binary; /* it streams from `binary` */
    bool has_unknown_cte;
    bool is_notice; /* of NOTIFY: no command waits for its end */
};

/* Where the last piece of a large section ended, for who fetches it piece by piece: only the first
 * one costs a reading of the message. */
struct fetch_place {
    uint32_t uid;            /* 0: none */
    size_t size;             /* of the message, as stored */
    char section[PLACE_MAX]; /* as it is written, without the partial */
    size_t n_section;
    size_t at, n;          /* the section within the message */
    uint64_t wire, offset; /* its size, and how much of that went out or by */
    size_t src_at;         /* what comes next within the section */
    bool was_cr, half;
};

struct search_state {
    struct search_key *root;
    bool is_uid;
    size_t index;
    unsigned asked; /* IMAP_NEED_* that was asked of `index` and did not decide */
    struct buf fold, text;
    /* what the host knows of texts */
    bool has_asked, has_candidates, wants_text;
    uint32_t *candidates; /* malloc: UIDs, ascending */
    size_t n_candidates, candidate;
    struct buf sign;
    /* the result */
    unsigned returns; /* RETURN_* */
    bool is_extended, is_sort, has_modseq, has_return;
    struct order_state *order; /* of SORT and THREAD; NULL else (server_sort.c) */
    struct imap_partial partial;
    uint32_t *hits; /* malloc: indexes of the view */
    size_t n_hits, cap_hits;
    uint64_t modseq; /* the highest of them */
    bool is_telling, has_numbers;
    size_t at, end;
};

struct metadata_state {
    struct slice *names; /* asked for */
    size_t n, told;
    unsigned depth; /* 2: any */
    bool has_size_max;
    uint64_t size_max, longest; /* of those that were left out */
};

/* Of APPEND and REPLACE. */
struct append_state {
    uint64_t left; /* of the literal */
    bool is_sync, is_refused;
    bool may_start;  /* the host has something of it */
    bool has_parens; /* "UTF8 (~{...}": a parenthesis follows */
    size_t count;    /* messages so far */
    uint32_t replaces;
};

/* What NOTIFY set. */
struct notify_state {
    struct arena arena;
    struct notify_group *groups;
    size_t n_groups;
    bool wants_status;
    bool is_live;             /* the selected mailbox is told of at once */
    bool is_delayed;          /* but not what is expunged */
    struct fetch_item *items; /* of new messages there */
    size_t n_items;
    uint32_t new_from; /* the first that was told and whose items were not; 0: none */
};

struct list_state {
    struct list_name *v;
    size_t n, cap, at;
    struct arena names;
    struct slice *patterns; /* in UTF-8, with the reference before them */
    size_t n_patterns;
    bool is_lsub, is_full;
    bool is_extended;  /* RFC 5258: parameters were given */
    unsigned select;   /* SELECT_*: which names */
    unsigned show;     /* SHOW_*: what is said of them */
    bool wants_status; /* s->items: STATUS of each */
};

struct imap_server {
    struct imap_config cfg;
    enum mode mode;
    enum job job;
    mono_t now, active_at, started_at, keepalive_at;
    wall_t wall; /* told by the host */

    struct imap_reader reader;
    struct buf out;
    size_t out_sent; /* bytes of `out` that were written already */

    struct imap_event events[EVENTS_MAX];
    unsigned n_events, first_event;
    enum imap_event_type open; /* the question the host has not answered, or NONE */
    struct err failure;
    bool has_greeted, has_failed, has_said_end, is_eof, bye_wanted;

    /* the command under way */
    struct arena arena;
    struct imap_cursor cur;
    struct slice tag, verb;
    struct buf idle_tag;
    bool is_uid;
    struct buf tagged;    /* "OK [X] done": what to say when everything else was said */
    bool may_expunge;     /* after this command EXPUNGE may be told */
    struct slice mailbox; /* the argument, for answers */
    unsigned items;
    uint32_t *uids; /* malloc: of STORE, COPY, EXPUNGE */
    size_t n_uids;
    enum imap_store_mode store_mode;
    uint64_t store_flags;
    bool is_silent, is_close;
    bool is_unasked; /* what is flushed belongs to no command */
    bool has_since;  /* STORE: UNCHANGEDSINCE */
    uint64_t since;
    uint32_t *modified; /* malloc: what it left alone */
    size_t n_modified;
    bool
        knows_modified; /* what is pushed now is what this STORE made, not what others did before */

    /* SELECT: the QRESYNC parameter */
    bool is_resync;
    uint32_t resync_validity;
    struct imap_set resync_known;

    /* APPEND */
    struct buf chunk;
    struct append_state append;

    /* login */
    struct buf user, bye;
    struct sasl_server sasl; /* of an AUTHENTICATE under way, until it is answered */
    unsigned bad_commands, bad_logins;
    bool has_deflate;        /* COMPRESS was done */
    mono_t progress_at;      /* when the next INPROGRESS is due */
    bool is_pausing;         /* it is to be sent before the command goes on */
    struct slice identifier; /* of an ACL command */
    uint32_t limited_to;     /* MESSAGELIMIT: the lowest UID that this command came to; 0: to all */

    /* the selected mailbox */
    unsigned enabled;       /* ON_* */
    unsigned enabled_names; /* what ENABLE was told and has answered, by its place in the table */
    uint32_t *saved;        /* malloc: UIDs that SEARCH saved for "$" */
    size_t n_saved;
    bool is_selected, is_read_only;
    uint64_t modseq;        /* all that has up to this one was pushed */
    uint64_t modseq_whole;  /* and told, or is being told */
    uint64_t modseq_told;   /* where the client thinks it is, by MODSEQ and HIGHESTMODSEQ */
    struct imap_rows *rows; /* what the client knows of; never NULL while selected */
    struct imap_msg *msgs;  /* rows->v, or NULL */
    size_t n_msgs;
    size_t n_changed;
    uint32_t uidvalidity, uidnext;
    uint64_t no_permanent;
    bool no_new_keywords;
    unsigned keywords_told; /* how many keywords the last FLAGS named */
    struct imap_keywords keywords;
    struct imap_msg *fresh; /* new messages, not told yet */
    size_t n_fresh, cap_fresh;
    uint32_t *gone; /* expunged, not told yet */
    size_t n_gone, cap_gone;
    uint32_t *going; /* expunged, being told */
    size_t n_going, going_at;
    size_t flush_at;
    unsigned flush_step;

    struct fetch_state fetch;
    struct fetch_place place;
    struct search_state search;
    struct list_state list;
    struct metadata_state metadata;
    struct notify_state notify;
};

/* server.c */
struct imap_event *imap_ask(struct imap_server *s, enum imap_event_type t);  /* opens a question */
struct imap_event *imap_tell(struct imap_server *s, enum imap_event_type t); /* no answer */
void imap_fail(struct imap_server *s, enum err_code code, const char *why);
void imap_say_bye(struct imap_server *s, const char *text);
/* End the command: "OK", "NO", "BAD" with an optional code and text; updates are told first. */
void imap_finish(struct imap_server *s, const char *kind, struct slice code, struct slice text);
void imap_finish_bad(struct imap_server *s, const char *why);
void imap_command_over(struct imap_server *s); /* the tagged line is out */
bool imap_out_has_room(const struct imap_server *s);
void imap_run(struct imap_server *s);

/* server_view.c */
void imap_view_clear(struct imap_server *s);
bool imap_view_open(struct imap_server *s, const struct imap_mailbox_info *info);
/* Before s->msgs is changed; room for `cap` rows. False: it failed and the session ends. */
bool imap_view_own(struct imap_server *s, size_t cap);
/* Index of the first message with that UID or a higher one. */
size_t imap_view_find(const struct imap_server *s, uint32_t uid);
uint32_t imap_view_last_uid(const struct imap_server *s);
/* Resolve a set as sequence numbers or UIDs; false: a number is out of range. */
bool imap_view_resolve(struct imap_server *s, struct imap_set *set, bool is_uid);
/* The first message at or after number `from` (1.. or UID) that is in the set; SIZE_MAX: none. */
size_t imap_view_next(const struct imap_server *s, const struct imap_set *set, bool is_uid,
                      uint32_t from);
/* Fill s->uids with those in the set (NULL: all) that have all `with` and none of `without`. */
bool imap_view_collect(struct imap_server *s, const struct imap_set *set, bool is_uid,
                       uint64_t with, uint64_t without);
bool imap_view_has_updates(const struct imap_server *s);
/* Begin telling; then _flush until true. */
void imap_view_flush_begin(struct imap_server *s);
bool imap_view_flush(struct imap_server *s);
void imap_view_put_flags(struct imap_server *s, uint64_t flags);
/* "MODSEQ (n)" of a message. */
void imap_view_put_modseq(struct imap_server *s, uint64_t modseq);
/* "* OK [HIGHESTMODSEQ n]": from where the client may go on when it comes again. */
void imap_view_tell_modseq(struct imap_server *s);
void imap_view_tell_keywords(struct imap_server *s);

/* server_command.c */
void imap_command(struct imap_server *s);
bool imap_take_mailbox(struct imap_server *s, struct slice *out); /* UTF-8, INBOX normalised */
bool imap_take_flags(struct imap_server *s, uint64_t *flags, bool may_add);

/* server_acl.c */
void imap_cmd_getacl(struct imap_server *s);
void imap_cmd_setacl(struct imap_server *s);
void imap_cmd_deleteacl(struct imap_server *s);
void imap_cmd_listrights(struct imap_server *s);
void imap_cmd_myrights(struct imap_server *s);

/* server_limit.c */
void imap_cmd_uidbatches(struct imap_server *s);
/* Leave the newest of a resolved set, as many as one command may have. */
void imap_limit_set(struct imap_server *s, struct imap_set *set, bool is_uid);
/* The same of s->uids. */
void imap_limit_uids(struct imap_server *s);
/* May a command that is done as a whole or not have `n` messages? False: it was answered. */
bool imap_limit_allows(struct imap_server *s, size_t n);
/* The response code that says how far it went; then it is said. */
void imap_limit_tell(struct imap_server *s, char out[IMAP_LIMIT_CODE_MAX]);

/* server_append.c */
/* True when the command so far is an APPEND or REPLACE whose message comes now as a literal; then
 * the event was raised. */
bool imap_append_begin(struct imap_server *s);
void imap_append_start(struct imap_server *s);   /* the host takes it */
void imap_append_refused(struct imap_server *s); /* it does not; the answer is in s->tagged */
size_t imap_append_feed(struct imap_server *s, struct slice in);
void imap_cmd_append(struct imap_server *s);

/* server_auth.c */
void imap_put_capabilities(struct imap_server *s);
void imap_cmd_login(struct imap_server *s);
void imap_cmd_authenticate(struct imap_server *s);
void imap_auth_line(struct imap_server *s, struct slice line);
/* Log in who needs no login. */
void imap_preauth(struct imap_server *s);
/* Say the greeting, once. */
void imap_greet(struct imap_server *s);

/* server_list.c */
void imap_cmd_list(struct imap_server *s, bool is_lsub);
/* The bit of "\\Sent" and the like, 0 when it is none. */
unsigned imap_special_use(struct slice name);
/* Are all words uses that a mailbox here can have? */
bool imap_special_uses_are_known(struct slice words);
void imap_cmd_status(struct imap_server *s);
bool imap_list_run(struct imap_server *s);
void imap_list_begin(struct imap_server *s);
void imap_list_clear(struct imap_server *s);
/* In modified UTF-7, or for who enabled it in UTF-8. */
void imap_put_mailbox(struct imap_server *s, struct slice utf8);
bool imap_pattern_matches(struct slice pattern, struct slice name, char delimiter);

/* server_metadata.c */
void imap_cmd_getmetadata(struct imap_server *s);
void imap_cmd_setmetadata(struct imap_server *s);
void imap_metadata_done(struct imap_server *s);

/* server_fetch.c */
void imap_cmd_fetch(struct imap_server *s);
void imap_fetch_start(struct imap_server *s);
/* "(items)" of MessageNew, kept in s->notify. */
bool imap_notify_items(struct imap_server *s);
/* Tell the items of the messages from that UID on, which belong to no command. */
void imap_fetch_notice(struct imap_server *s, uint32_t from);
/* FETCH of UID FLAGS MODSEQ of what changed after `since`, of all or the UIDs `known`. */
bool imap_fetch_changed(struct imap_server *s, const struct imap_set *known, uint64_t since);
bool imap_fetch_run(struct imap_server *s);
void imap_fetch_content(struct imap_server *s, const struct imap_content *c);
void imap_fetch_clear(struct imap_server *s);

/* server_resync.c */
void imap_cmd_enable(struct imap_server *s);
/* The client spoke of modification sequences: from now on they are told. */
void imap_enable(struct imap_server *s, unsigned what);
/* " (CONDSTORE)", " (QRESYNC (...))" behind a mailbox; nothing there is fine too. */
bool imap_take_select_params(struct imap_server *s);
/* " (CHANGEDSINCE n VANISHED)" behind the items of FETCH. */
bool imap_take_fetch_modifiers(struct imap_server *s);
/* "(UNCHANGEDSINCE n) " before the items of STORE. */
bool imap_take_store_modifiers(struct imap_server *s);
/* Ask what went, for SELECT and FETCH. */
void imap_ask_vanished(struct imap_server *s, uint64_t since);
/* Say OK behind SELECT or EXAMINE. */
void imap_select_done(struct imap_server *s);
/* OK with the MODIFIED code when there is a reason. */
void imap_finish_store(struct imap_server *s);
/* OK with HIGHESTMODSEQ when the client knows it. */
void imap_finish_modseq(struct imap_server *s, struct slice text);

/* server_quota.c */
void imap_cmd_getquota(struct imap_server *s);
void imap_cmd_getquotaroot(struct imap_server *s);
void imap_cmd_setquota(struct imap_server *s);

/* server_notify.c */
void imap_cmd_notify(struct imap_server *s);
void imap_notify_clear(struct imap_server *s);

/* server_search.c */
void imap_cmd_search(struct imap_server *s);
bool imap_search_run(struct imap_server *s);
void imap_search_content(struct imap_server *s, const struct imap_content *c);
void imap_search_clear(struct imap_server *s);

/* Take "[CHARSET x] keys" (SORT: "x keys") and begin to look. */
void imap_search_start(struct imap_server *s, bool has_charset);

/* server_sort.c */
void imap_cmd_sort(struct imap_server *s);
void imap_cmd_thread(struct imap_server *s);
/* All hits are there: put them in order. False: it waits. `*is_done`: all was said. */
bool imap_order_run(struct imap_server *s, bool *is_done);
void imap_order_content(struct imap_server *s, const struct imap_content *c);
void imap_order_clear(struct imap_server *s);

/* server_result.c */
/* "RETURN (MIN MAX) " before the keys, or nothing. */
bool imap_take_return(struct imap_server *s);
bool imap_take_partial(struct imap_server *s, struct imap_partial *p);
/* Which of `n` results it names: from `*from` up to, not including, `*to`. */
void imap_partial_of(const struct imap_partial *p, size_t n, size_t *from, size_t *to);
/* The message of that index fits. False: no memory, the session ends. */
bool imap_search_hit(struct imap_server *s, size_t index);
/* Tell the results piece by piece, then end the command; true when done. */
bool imap_search_tell(struct imap_server *s);
void imap_saved_forget(struct imap_server *s);
/* What is left of the saved UIDs, as UIDs or sequence numbers, in the command's arena. */
bool imap_saved_set(struct imap_server *s, bool is_uid, struct imap_set *out);

#endif
