/* client_impl: what client.c (dialogue) and client_parse.c (responses) share. Nobody else includes
 * this. */
#ifndef IMAP_CLIENT_IMPL_H
#define IMAP_CLIENT_IMPL_H

#include "imap/client.h"
#include "imap/token.h"

enum {
    CL_EVENTS_MAX = 256,
    CL_ARENA_MAX = 64 * 1024 * 1024,
    CL_SEARCH_PIECE = 64 * 1024,
    CL_STREAMS_MAX = 1000
};

enum cl_phase {
    CL_GREETING,
    CL_CAPABILITY, /* asked before login or TLS */
    CL_STARTTLS,
    CL_TLS, /* the host does the handshake */
    CL_LOGIN,
    CL_CAPABILITY_IN, /* asked after login */
    CL_FREE,
    CL_BUSY,
    CL_IDLE_ASKED,
    CL_IDLING,
    CL_LOGOUT,
    CL_OVER
};

enum cl_read { CL_LINE, CL_LITERAL, CL_STREAM };

/* Stands in the line where a streamed literal was. */
#define CL_STREAMED '\001'

struct imap_client {
    struct imap_client_config cfg;
    struct buf user, password, caps, out, line, bye;
    size_t out_sent;
    enum cl_phase phase;
    enum cl_read reading;
    bool is_preauth, is_in, has_said_ready, has_said_end, wants_done;
    unsigned tag, streams;
    size_t untagged;
    mono_t now, active_at;
    uint64_t left;  /* of the literal */
    size_t line_at; /* where the line behind the last literal starts */
    uint32_t stream_number, stream_uid;
    uint64_t stream_size;
    struct buf stream_section, piece;
    struct arena arena; /* of one response */
    struct imap_client_event *events;
    size_t n_events, next_event;
    struct err failure;
};

void cl_fail(struct imap_client *c, enum err_code code, const char *why);
/* A new event at the end of the queue; a scratch one after a failure. */
struct imap_client_event *cl_event(struct imap_client *c, enum imap_client_event_type t);
/* One untagged response without "* "; raises events. False: not understood, `why` in the failure.
 */
bool cl_untagged(struct imap_client *c, struct slice line);
/* "[CODE args] text" taken apart. */
void cl_text(struct slice in, struct slice *code, struct slice *text);
void cl_set_capabilities(struct imap_client *c, struct slice words);
/* Raise the numbers of a SEARCH that is still coming and drop them from the line. */
bool cl_search_piece(struct imap_client *c, bool is_last);
/* The line so far ends before a literal: is that a body to be streamed? */
bool cl_is_streamed(struct imap_client *c, struct slice before);

#endif
