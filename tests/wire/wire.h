/* wire: what an engine must offer to be played from a transcript. One file per engine defines a
 * `const struct wire_engine wire_NAME`; list.h names it. The format is in README. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "base/buf.h"
#include "base/engine.h"

struct wire_engine {
    const char *name; /* of the folder: "smtp-server" */
    bool is_server;   /* the engine's own bytes are S: lines, else C: lines */
    /* A fresh engine. `options` is the text of the O: lines, one "word value" a line. `piece`: the
     * size in which bodies are handed over (0: whole). NULL: an option is unknown. */
    void *(*open)(struct slice options, size_t piece, mono_t now);
    struct engine (*engine)(void *self);
    /* The next event: its text is appended to `text`; `*data` is set when it carries message bytes
     * (the text is then "data" or the like and neighbours are joined). */
    bool (*next)(void *self, struct buf *text, struct slice *data);
    /* An A: line. False: not understood. */
    bool (*answer)(void *self, struct slice words, mono_t now);
    /* No A: line came before the next step: the usual answer, if one is due. */
    void (*usual)(void *self, mono_t now);
    void (*close)(void *self);
};

/* Append "\n", "\xNN"... undone; "\c" at the end suppresses what the caller would add. */
bool wire_unescape(struct buf *out, struct slice in);
/* Append `s` with everything but printable ASCII escaped. */
void wire_escape(struct buf *out, struct slice s);
/* The value of a word in the options, or an empty slice with p NULL. */
struct slice wire_option(struct slice options, struct slice word);
uint64_t wire_number(struct slice options, const char *word);
bool wire_flag(struct slice options, const char *word);
/* "550 5.1.1 text" taken apart. */
struct mail_status;
void wire_reply(struct slice words, unsigned *code, struct mail_status *status, struct slice *text);

#endif
