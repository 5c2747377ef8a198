/* signature: which messages of a mailbox may hold a text, so that a search reads few of them. Per
 * message one bit for each of SIGNATURE_ROWS hashes of three bytes in a row ("trigrams") of its
 * folded text; a text is only where all its trigrams are. A cache: made by searches themselves from
 * the text they have in hand, never on the way of a delivery; lost or damaged, it is made again.
 *
 *     .../postbag-search    head, then sealed blocks of SIGNATURE_COLUMNS messages each:
 *                           a head {how many, UIDs, checksum}, then rows of SIGNATURE_COLUMNS bits
 *
 * A block is written once, its rows are durable before its head, and none is changed afterwards, so
 * a crash leaves a whole block or none. Messages below a full block are read at each search. */
#ifndef STORE_SIGNATURE_H
#define STORE_SIGNATURE_H

#include "store/store.h"

enum {
    SIGNATURE_ROWS = 16384,
    SIGNATURE_COLUMNS = 512,
    SIGNATURE_NEEDLE_MIN = 3,     /* bytes; a shorter needle says nothing */
    SIGNATURE_TRIGRAMS_MAX = 64,  /* of a needle that are looked at */
    SIGNATURE_BLOCKS_MAX = 32768, /* of a mailbox */
    SIGNATURE_DEAD_MAX = 4096     /* and as many as live ones: columns of messages that are gone
                                   * before the file is begun anew */
};

/* Messages that may hold all of `needles` (folded), and those that nothing is known of, ascending;
 * the caller frees `*uids`. `*wants_text`: enough of them are unknown to fill a block: give their
 * texts to mailbox_sign. False: nothing is known of any (no needle is long enough, no memory). */
bool mailbox_candidates(struct mailbox *m, const struct slice *needles, size_t n_needles,
                        uint32_t **uids, size_t *n, bool *wants_text);
/* The whole folded text of a message: all that a needle is looked for in. Best effort. */
void mailbox_sign(struct mailbox *m, uint32_t uid, struct slice text);

#endif
