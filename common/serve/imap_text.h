/* imap_text: what FETCH and SEARCH want to know about a message: from the index where it keeps it,
 * else from the file, and then the index keeps it. Who asks for one message after the other without
 * finding them in the index has those that follow read and rendered by several threads. */
#ifndef SERVE_IMAP_TEXT_H
#define SERVE_IMAP_TEXT_H

#include "imap/server.h"
#include "store/store.h"

enum {
    IMAP_TEXT_KINDS = 5,
    IMAP_TEXT_AHEAD_MAX = 512,            /* messages that are rendered ahead */
    IMAP_TEXT_AHEAD_BYTES_MAX = 64 * 1024 /* of one text of one of them */
};

struct imap_ahead;

/* Of one session; zeroed is empty. One thread at a time. */
struct imap_text {
    struct message message;
    bool is_open;
    struct buf text[IMAP_TEXT_KINDS];
    struct imap_ahead *ahead;
};

/* All of `items` (IMAP_NEED_*) about a message of `box`; slices live until imap_text_done. False:
 * it is gone (ERR_NOT_FOUND), or cannot be read. */
bool imap_text_get(struct imap_text *t, struct mailbox *box, uint32_t uid, unsigned items,
                   struct imap_content *out, struct err *e);
/* The message is not used any more. */
void imap_text_done(struct imap_text *t);
/* Give back what was read ahead: the mailbox is closed, or nothing goes on. */
void imap_text_rest(struct imap_text *t);

#endif
