/* drop: the directory where users who may not write the queue leave mail, and who runs the queue
 * takes it from. No privileged program and no daemon is needed to send.
 *
 * The directory (setting `drop-dir`, else DATA/drop) belongs to who runs the queue and has mode
 * 1733: everybody may make files in it, nobody else may list it, and nobody may remove what is
 * another's. A file has an unguessable name and mode 0644, so that the owner of the directory reads
 * it and others do not find it. NAME.new is being written; NAME.msg is a whole message:
 *
 *     PBD1 ENVELOPE-BYTES MESSAGE-BYTES CRC32C LF  envelope text  message octets
 *
 * Nothing in it is believed: who owns the file is the sender's user; every length is bounded, every
 * address checked, every line end too; links, FIFOs, damaged and oversized files are set aside as
 * NAME.bad and logged. The message is copied into the queue, with a Received field, under a new id.
 * A crash between the copy and the removal sends it twice. */
#ifndef DELIVER_DROP_H
#define DELIVER_DROP_H

#include "conf/conf.h"
#include "queue/queue.h"

enum {
    DROP_BATCH = 1000,      /* files taken at one time */
    DROP_OLD_S = 24 * 3600, /* a .new file older than this was left by a crash */
    DROP_NAME_RANDOM = 20,  /* random octets in a name */
    DROP_ENVELOPE_ARENA = 32 * 1024 * 1024
};

/* The directory of the settings; lives as long as they. NULL: no memory. */
const char *drop_dir(struct conf *c);
/* Leave a message: `head` and `body`, as queue_put. When it returns OK the file is durable. `name`
 * (may be NULL) gets what it is called, for a log. DENIED, NOT_FOUND: there is no such directory
 * for this user; FULL, IO. */
enum err_code drop_put(const char *dir, const struct envelope *env, struct slice head,
                       const struct spool *body, char name[QUEUE_ID_MAX], struct err *e);
/* Make the directory when the setting names it and it is missing. Called by who runs the queue,
 * before it gives up root. A directory that is there is not changed. */
enum err_code drop_prepare(struct conf *c, struct err *e);
/* Take what is there into the queue, at most DROP_BATCH files; `*taken` of them. OK also when there
 * is no directory, or nothing in it. DENIED: it belongs to somebody else, or others could take
 * files away; FULL, IO: the rest stays. */
enum err_code drop_collect(struct conf *c, struct queue *q, const struct log *log, unsigned *taken,
                           struct err *e);
/* How many messages wait there; 0 also when it cannot be read. */
unsigned drop_count(struct conf *c);

#endif
