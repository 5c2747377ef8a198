/* thread: messages as conversations (RFC 5256 3), from what imap/head keeps of each. Pure; memory
 * is the caller's arena; time is about n log n. */
#ifndef IMAP_THREAD_H
#define IMAP_THREAD_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/moment.h"

enum { IMAP_THREAD_DEPTH_MAX = 10000 }; /* a reply that would be deeper begins a thread */

struct imap_thread_item {
    uint32_t number;           /* what is told of it */
    wall_t date;               /* sent */
    struct slice id;           /* Message-ID; empty: none */
    struct slice references;   /* identifiers with a space between, the oldest first */
    struct slice base_subject; /* folded */
    bool is_reply;
};

enum imap_thread_way { IMAP_THREAD_ORDEREDSUBJECT, IMAP_THREAD_REFERENCES };

/* Append "(1 2)(3 (4)(5))". `v` is by sequence number, and may be put into another order. False: no
 * memory. */
bool imap_thread(enum imap_thread_way way, struct imap_thread_item *v, size_t n, struct arena *a,
                 struct buf *out);

#endif
