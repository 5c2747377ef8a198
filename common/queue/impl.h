/* impl: what the files of the queue share: records, journal lines and the structs behind the
 * handles. Nobody outside this folder includes it. */
#ifndef QUEUE_IMPL_H
#define QUEUE_IMPL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "queue/queue.h"

enum {
    LOCK_WRITER = 0, /* byte of NAME.seg that its writer holds */
    LOCK_LEASE = 1,  /* byte that the process which delivers from it holds */
    RECORD_HEADER_MAX = 96,
    JOURNAL_DETAIL_MAX = 16 * 1024,
    JOURNAL_AHEAD = 32 * 1024, /* room kept in a journal, beyond what is begun */
    JOURNAL_RCPT = 4096 + 128, /* and for each recipient of what is begun: the longest line */
    CLOCK_SLACK_S = 60,        /* a journal line that is further ahead is from a wrong clock */
    JOURNAL_BYTES_MAX = 1024 * 1024 * 1024,
    JOURNAL_OWED_MAX = 4 * 1024 * 1024, /* lines kept for a journal that cannot be written */
    REQUEST_STALE_S = 3600,             /* a request that nobody waits for any more */
    MOVE_BYTES_MIN = 1024 * 1024,       /* a segment or journal below this is left as it is */
    ABSORB_MIN = 64,                    /* so many small segments are made one */
    ABSORB_AT_ONCE = 4096,
    ABSORB_BYTES_MAX = 256 * 1024 /* a segment above this is not small */
};

struct segment {
    struct segment *next;
    char name[QUEUE_ID_MAX]; /* NAME of NAME.seg */
    int fd, journal_fd;      /* journal_fd -1 until the first line */
    bool is_writer, is_published, is_journal_durable, is_damaged;
    bool is_journal_dirty; /* lines were added since the last sync of all */
    uint64_t size;         /* of what is durable, for the writer */
    size_t messages, finished, out;
    uint64_t live;          /* octets of records that are not finished */
    uint64_t journal_bytes; /* of the journal, */
    uint64_t journal_kept;  /* and how many there were after it was last written anew */
    uint64_t prepared;      /* the writer's: the file has octets of zero from its end up to here */
    size_t committed;       /* the writer's: records */
    uint64_t journal_room;  /* octets from its start that the file system has promised */
    uint64_t journal_due;   /* octets that may be noted of what was begun: all of them have room */
    bool had_journal; /* it was there when the lease was taken: somebody worked on it before */
    bool is_named;    /* its name was made durable since */
    struct buf owed;  /* lines that could not be written to the journal yet */
    bool is_moving;   /* its messages are out because it is written anew */
};

struct queue_msg {
    struct queue_msg *next, *prev; /* all messages of the queue */
    struct segment *seg;
    char id[QUEUE_ID_MAX];
    uint64_t at;   /* offset of the envelope in the segment */
    uint64_t size; /* message octets, which follow the envelope */
    uint32_t env_size;
    uint32_t rcpt_count;
    wall_t arrived, due;
    size_t heap_at; /* in queue.heap[lane], while lined up */
    uint16_t attempts;
    uint8_t lane;
    bool is_out, is_begun, has_room, is_held, is_delay_told, is_in_heap;
    uint8_t state[]; /* enum queue_state per recipient */
};

struct heap {
    struct queue_msg **v;
    size_t n, cap;
    pthread_cond_t changed;
};

struct queue {
    char dir[PATH_MAX - 64];
    const struct log *log;
    /* The writer's side: who holds `writing` may touch `writer` and its segment's end. */
    pthread_mutex_t writing;
    struct segment *writer;
    wall_t last_commit;
    /* The committer. */
    pthread_mutex_t pending_lock;
    pthread_cond_t pending_more;
    struct queue_op *pending, **pending_end;
    size_t last_batch; /* operations in the last commit; of `writing` */
    pthread_t committer;
    bool has_committer, is_closing;
    /* The worker's side. `lock` guards all below, and segment counts. Taken after `writing`. */
    pthread_mutex_t lock;
    bool is_leasing, has_warned;
    struct segment *segments;
    size_t segment_max; /* more would take the descriptors that others need */
    struct queue_msg *messages;
    size_t message_count, out_count;
    char (*only)[QUEUE_ID_MAX]; /* sorted; NULL: all messages are lined up */
    size_t only_count;
    struct heap heap[QUEUE_LANES];
    unsigned wakes;
    _Atomic unsigned flushes;
    _Atomic unsigned owing; /* segments whose journal could not be written */
    mono_t paid_at;         /* when that was tried again last */
};

/* The header of a record. */
struct record {
    char id[QUEUE_ID_MAX];
    uint64_t at; /* offset of the envelope */
    uint64_t size;
    uint32_t env_size, crc;
    bool is_unread; /* STEP_BAD because reading failed; errno says why */
};

/* Paths below the queue's directory. False when too long. */
void queue_path(const struct queue *q, char path[PATH_MAX], const char *name, const char *ending);
/* Read the record header at `offset`. STEP_DONE fills `r`; STEP_MORE: the end of the file;
 * STEP_BAD. */
enum step record_read(int fd, uint64_t offset, uint64_t file_size, struct record *r);
/* The checksum's start: over the header line up to where the checksum stands. */
uint32_t record_header_crc(const char *id, uint64_t env_size, uint64_t size);
/* Have header, envelope and message the checksum that the header says? OK, ERR_SYNTAX (damaged); a
 * read that failed is no damage: IO with errno, or MEMORY. */
enum err_code record_check(int fd, const struct record *r);
/* The octets of a segment of `file_size` without the zeros that its writer keeps ahead of itself; a
 * record never ends with one: `*file_size` becomes that. ERR_IO with errno. */
enum err_code segment_size(int fd, uint64_t *file_size);
/* Read the envelope text of a record into `out`. */
enum err_code record_envelope(int fd, uint64_t at, uint32_t size, struct buf *out, struct err *e);

/* A journal line. */
struct journal_line {
    wall_t at;
    struct slice id, word, detail;
    int rcpt; /* -1: the message as a whole */
};
/* Take the next whole and right line off `*text`; lines that are torn or damaged are skipped. */
bool journal_next(struct slice *text, struct journal_line *l);
/* Append a line to the journal of `s`, which is opened when needed. */
enum err_code journal_add(struct queue *q, struct segment *s, const char *id, int rcpt,
                          const char *word, struct slice detail, struct err *e);
/* Open the journal of `s` and keep room in it for `more` octets beyond those of what was begun, so
 * that noting does not fail later. FULL, IO. With `lock` held. */
enum err_code journal_ready(struct queue *q, struct segment *s, uint64_t more, struct err *e);
/* Open the journal of `s`, so that it is there, after a crash too. With `lock` held. */
enum err_code journal_touch(struct queue *q, struct segment *s, struct err *e);
/* Write what is owed to the journal of `s`, if anything. With `lock` held. */
enum err_code journal_pay(struct queue *q, struct segment *s, struct err *e);
/* Forget what is owed to the journal of `s`. */
void journal_forgive(struct queue *q, struct segment *s);
/* The text of one line, LF included, appended to `out`. */
void journal_format(struct buf *out, wall_t at, const char *id, int rcpt, const char *word,
                    struct slice detail);
/* Read the journal of segment `name` into `out`; none is an empty one. */
enum err_code journal_read(const struct queue *q, const char *name, struct buf *out, struct err *e);
/* The state of one message, as the journal tells it. */
struct journal_state {
    wall_t due;
    unsigned attempts;
    bool is_held, is_delay_told;
};
/* Apply a line to a message with `rcpt_count` recipients. */
void journal_apply(const struct journal_line *l, struct journal_state *j, uint8_t *state,
                   size_t rcpt_count);

/* The names of all segments, sorted; the caller frees the array and each name. */
enum err_code segment_names(const struct queue *q, char ***names, size_t *count, struct err *e);
void segment_names_free(char **names, size_t count);
/* Going through segments. `visit` gets each record's entry; false ends the walk. */
struct walk {
    bool (*visit)(const struct queue_entry *, void *);
    void *user;
    bool with_finished;
    const struct queue_ask *asks; /* sorted by id: only these; NULL: all */
    size_t ask_count;
    enum err_code code; /* what came of it */
    struct err *e;
};
/* False: the walk is over. A segment that is gone has nothing in it. */
bool walk_segment(struct queue *q, const char *name, struct walk *w);

/* Close, and unlink when `s` is finished and undamaged. Called with `lock` held, `s` out of the
 * list. */
void segment_end(struct queue *q, struct segment *s);
/* A new segment NAME.new with the writer's lock, and the lease when `with_lease`; fills name and fd
 * of `s`. */
enum err_code segment_create(struct queue *q, struct segment *s, bool with_lease, struct err *e);
/* Make one segment of many small ones that nobody works on, out of `names`; first finish what a
 * process did not that died over it. True when segments were made one: read the names anew. */
bool segments_absorb(struct queue *q, char **names, size_t count);
/* Is the file there that says that segments are being made one? Then nobody takes a lease. */
bool segments_are_moving(const struct queue *q);
/* Write segments and journals anew that are mostly about finished messages. */
void queue_tidy(struct queue *q);
/* Line up a message in its lane, or take it out. With `lock` held. */
bool queue_line_up(struct queue *q, struct queue_msg *m);
void queue_line_out(struct queue *q, struct queue_msg *m);
/* Finish a message whose recipients are all settled. With `lock` held; frees `m`. */
void queue_finish(struct queue *q, struct queue_msg *m);
/* The writer stops writing to its segment. With `writing` held. */
void queue_seal(struct queue *q);
/* Remove what a crash left: a journal whose segment is gone, a .new file that nobody writes. */
void queue_sweep(struct queue *q);
/* Close the writer's segment when all it holds is done and it is idle or large, so that what was
 * delivered does not stay on disk. */
void queue_roll(struct queue *q, wall_t now);

#endif
