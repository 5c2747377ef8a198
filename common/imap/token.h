/* token: commands of an IMAP client, first collected, then taken apart (RFC 3501 4 and 9).
 *
 * The reader gathers one command: its lines with the literals between them. At each literal it
 * stops and asks, so that the engine decides (take it, refuse it, stream it) before a byte of it is
 * stored. Lines end in CRLF; a bare LF is accepted as the end of a line, for people who type into
 * `serve --stdio imap`, and stored as CRLF. Bytes may be split anywhere.
 *
 *     enum imap_read r = imap_reader_feed(&rd, in, &used);
 *     if (r == IMAP_READ_LITERAL) imap_reader_take(&rd);       // or _skip
 *     if (r == IMAP_READ_COMMAND) parse(buf_slice(&rd.cmd)), imap_reader_reset(&rd);
 *
 * The cursor then walks over a whole command. Its functions take something off the front and say
 * true, or leave the cursor where it was, note why, and say false. Slices point into the command or
 * the arena. Nothing here is shared between threads.
 */
#ifndef IMAP_TOKEN_H
#define IMAP_TOKEN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/moment.h"

enum imap_read {
    IMAP_READ_MORE,
    IMAP_READ_COMMAND,  /* cmd holds it, without the last line end */
    IMAP_READ_LITERAL,  /* literal_size bytes follow; cmd ends in "{n}" and CRLF */
    IMAP_READ_TOO_LONG, /* over the bound; the stream cannot be trusted any more */
    IMAP_READ_BAD       /* NUL in a line, or a literal size that is no number */
};

struct imap_reader {
    struct buf cmd;
    int state;
    uint64_t left;         /* of the literal */
    size_t line_at;        /* where the current line starts in cmd */
    uint64_t literal_size; /* after IMAP_READ_LITERAL */
    bool literal_is_sync;  /* the client waits for "+" */
    bool has_skipped;      /* a literal was dropped: the command must be refused */
};

/* At most `max` bytes for one command, literals included. */
void imap_reader_init(struct imap_reader *r, size_t max);
void imap_reader_release(struct imap_reader *r);
/* Ready for the next command; the old bytes are wiped, since they may be a password. */
void imap_reader_reset(struct imap_reader *r);
/* Take bytes until something is to be said. `*used` is set always. After IMAP_READ_LITERAL one of
 * the two below must be called, or the literal's bytes must be taken by somebody else. */
enum imap_read imap_reader_feed(struct imap_reader *r, struct slice in, size_t *used);
/* The literal belongs to the command. False when it would pass the bound. */
bool imap_reader_take(struct imap_reader *r);
/* Read and forget the literal (0 left is fine). */
void imap_reader_skip(struct imap_reader *r);

struct imap_cursor {
    struct slice in;
    struct arena *arena; /* for unescaped strings */
    const char *why;     /* after a false: static text, "expected a mailbox name" */
};

/* One given byte. */
bool imap_take(struct imap_cursor *c, char want);
/* Exactly one space; several are accepted, because clients send them. */
bool imap_take_sp(struct imap_cursor *c);
bool imap_at_end(const struct imap_cursor *c);
/* RFC 3501 9 `tag`, `atom`, `astring`, `string`, `list-mailbox`. Strings: quoted or literal.
 * An atom is 1..1000 bytes. 8-bit bytes in quoted strings are let through. */
bool imap_take_tag(struct imap_cursor *c, struct slice *out);
bool imap_take_atom(struct imap_cursor *c, struct slice *out);
bool imap_take_string(struct imap_cursor *c, struct slice *out);
bool imap_take_astring(struct imap_cursor *c, struct slice *out);
bool imap_take_list_mailbox(struct imap_cursor *c, struct slice *out);
/* A number up to `max`. */
bool imap_take_number(struct imap_cursor *c, uint64_t max, uint64_t *out);
/* A word of letters, digits, '.', '-': fetch attributes and search keys. Nothing else is taken. */
bool imap_take_word(struct imap_cursor *c, struct slice *out);
/* A flag: "\Word" or an atom. */
bool imap_take_flag(struct imap_cursor *c, struct slice *out);
/* A quoted date-time, and a search date with or without quotes. */
bool imap_take_date_time(struct imap_cursor *c, wall_t *t);
bool imap_take_date(struct imap_cursor *c, wall_t *day);
/* Text like "(a b (c))" of any content, nesting at most 20: skipped, `*out` covers it. */
bool imap_take_parens(struct imap_cursor *c, struct slice *out);

#endif
