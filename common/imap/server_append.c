#include <stdio.h>

#include "imap/server_impl.h"

/* APPEND of one or many messages (RFC 3502), of binary ones (RFC 3516), and REPLACE (RFC 8508). The
 * message streams through: server.c hands each literal announced after login to
 * imap_append_begin. */

/* Flags: they belong to another mailbox, so keywords travel by name. */
static bool take_flags(struct imap_server *s, uint64_t *flags, struct slice *words, size_t *n) {
    struct slice name;

    if (!imap_take(&s->cur, '(')) return false;
    if (imap_take(&s->cur, ')')) return true;
    do {
        uint64_t bit;

        if (!imap_take_flag(&s->cur, &name)) return false;
        bit = imap_system_flag(name);
        if (bit) {
            *flags |= bit & ~IMAP_RECENT;
        } else if (name.p[0] == '\\' || name.n > IMAP_KEYWORD_LEN_MAX ||
                   *n == IMAP_APPEND_KEYWORDS_MAX) {
            return false;
        } else {
            words[(*n)++] = name;
        }
    } while (imap_take_sp(&s->cur));
    return imap_take(&s->cur, ')');
}

/* What is on its way is read and dropped; s->tagged says why. */
static void let_pass(struct imap_server *s) {
    s->job = JOB_NONE;
    s->mode = MODE_APPEND;
    s->append.is_refused = true;
    imap_reader_reset(&s->reader);
}

void imap_append_refused(struct imap_server *s) {
    if (!s->append.is_sync) let_pass(s);
}

static void refuse_as(struct imap_server *s, const char *how, struct slice code, struct slice why) {
    if (s->append.may_start) {
        s->append.may_start = false;
        imap_tell(s, IMAP_EV_APPEND_ABORT);
    }
    imap_finish(s, how, code, why);
    imap_append_refused(s);
}

static void refuse(struct imap_server *s, struct slice code, struct slice why) {
    refuse_as(s, "NO", code, why);
}

/* "(flags) "date" {n}" with its line end, the announcement of one message. The event is begun in
 * `ev`. */
static bool take_message(struct imap_server *s, struct imap_event *ev) {
    struct slice *words = arena_new(&s->arena, IMAP_APPEND_KEYWORDS_MAX * sizeof *words), word;
    uint64_t n;

    if (!words) return false;
    if (s->cur.in.n && s->cur.in.p[0] == '(' &&
        (!take_flags(s, &ev->flags, words, &ev->n_keywords) || !imap_take_sp(&s->cur)))
        return false;
    ev->keywords = words;
    if (s->cur.in.n && s->cur.in.p[0] == '"') {
        if (!imap_take_date_time(&s->cur, &ev->date) || !imap_take_sp(&s->cur)) return false;
        ev->has_date = true;
    }
    s->append.has_parens = false;
    if (s->cur.in.n && (s->cur.in.p[0] | 32) == 'u') { // RFC 6855 4
        if (!imap_take_word(&s->cur, &word) || !slice_ieq(word, S("UTF8")) ||
            !imap_take_sp(&s->cur) || !imap_take(&s->cur, '('))
            return false;
        s->append.has_parens = true;
    }
    imap_take(&s->cur, '~');
    if (!imap_take(&s->cur, '{') || !imap_take_number(&s->cur, INT64_MAX, &n)) return false;
    imap_take(&s->cur, '+');
    return slice_eq(s->cur.in, S("}\r\n"));
}

/* The literal that the reader stands at is this message. */
static void ask(struct imap_server *s, const struct imap_event *what) {
    struct imap_reader *r = &s->reader;
    struct imap_event *ev;

    s->append.left = r->literal_size;
    s->append.is_sync = r->literal_is_sync;
    if (r->literal_size > s->cfg.message_size_max) {
        if (!r->literal_is_sync && r->literal_size > IMAP_APPEND_DISCARD_MAX)
            imap_fail(s, ERR_LIMIT, "[TOOBIG] Message is too large.");
        else refuse(s, S("TOOBIG"), S("Message is too large."));
        return;
    }
    if (s->cfg.message_limit && s->append.count >= s->cfg.message_limit) {
        char code[IMAP_LIMIT_CODE_MAX];

        snprintf(code, sizeof code, "MESSAGELIMIT %u", s->cfg.message_limit);
        refuse(s, slice_str(code), S("Too many messages for one command."));
        return;
    }
    ev = imap_ask(s, IMAP_EV_APPEND);
    ev->mailbox = s->mailbox;
    ev->flags = what->flags;
    ev->keywords = what->keywords;
    ev->n_keywords = what->n_keywords;
    ev->has_date = what->has_date;
    ev->date = what->date;
    ev->is_next = s->append.count > 0;
    ev->size_bytes = r->literal_size;
    s->append.count++;
}

/* The message that REPLACE takes away. */
static bool take_replaced(struct imap_server *s, bool is_uid) {
    uint64_t n;

    if (!imap_take_number(&s->cur, UINT32_MAX, &n) || !n || !imap_take_sp(&s->cur)) return false;
    s->append.replaces = 0;
    if (!is_uid && n <= s->n_msgs) s->append.replaces = s->msgs[n - 1].uid;
    if (is_uid) {
        size_t at = imap_view_find(s, (uint32_t)n);

        if (at < s->n_msgs && s->msgs[at].uid == n) s->append.replaces = (uint32_t)n;
    }
    return true;
}

bool imap_append_begin(struct imap_server *s) {
    struct slice tag, verb;
    struct imap_event ev = {0};
    bool is_uid, is_replace;

    s->cur = (struct imap_cursor){.in = buf_slice(&s->reader.cmd), .arena = &s->arena};
    if (!imap_take_tag(&s->cur, &tag) || !imap_take_sp(&s->cur) || !imap_take_word(&s->cur, &verb))
        return false;
    is_uid = slice_ieq(verb, S("UID"));
    if (is_uid && (!imap_take_sp(&s->cur) || !imap_take_word(&s->cur, &verb))) return false;
    is_replace = slice_ieq(verb, S("REPLACE"));
    if (!is_replace && (is_uid || !slice_ieq(verb, S("APPEND")))) return false;
    s->append = (struct append_state){0};
    if (!imap_take_sp(&s->cur)) return false;
    if (is_replace && (!s->is_selected || !take_replaced(s, is_uid))) return false;
    if (!imap_take_mailbox(s, &s->mailbox) || !imap_take_sp(&s->cur) || !take_message(s, &ev))
        return false;
    s->tag = arena_copy(&s->arena, tag);
    s->verb = is_replace ? S("REPLACE") : S("APPEND");
    s->is_uid = is_uid;
    s->may_expunge = true;
    if (is_replace && !is_uid && s->enabled & ON_UIDONLY) {
        s->append.left = s->reader.literal_size;
        s->append.is_sync = s->reader.literal_is_sync;
        imap_finish(s, "BAD", S("UIDREQUIRED"), S("Only UIDs count."));
        imap_append_refused(s);
    } else if (is_replace && s->is_read_only) {
        s->append.left = s->reader.literal_size;
        s->append.is_sync = s->reader.literal_is_sync;
        refuse(s, S("NOPERM"), S("Mailbox is read-only."));
    } else if (is_replace && !s->append.replaces) {
        s->append.left = s->reader.literal_size;
        s->append.is_sync = s->reader.literal_is_sync;
        refuse(s, S("NONEXISTENT"), S("No such message."));
    } else {
        ask(s, &ev);
    }
    return true;
}

/* Reached only when the arguments were not those of imap_append_begin. */
void imap_cmd_append(struct imap_server *s) {
    imap_finish_bad(s, "Invalid arguments of APPEND or REPLACE.");
}

void imap_append_start(struct imap_server *s) {
    s->mode = MODE_APPEND;
    s->append.may_start = true;
    imap_reader_reset(&s->reader);
    if (s->append.is_sync) buf_add(&s->out, S("+ OK\r\n"));
}

/* Behind a message one more is announced (RFC 3502). */
static void another(struct imap_server *s) {
    struct imap_event ev = {0};

    s->cur = (struct imap_cursor){.in = buf_slice(&s->reader.cmd), .arena = &s->arena};
    if (s->append.has_parens) imap_take(&s->cur, ')');
    if (s->append.is_refused) {
        s->append.left = s->reader.literal_size;
        if (s->reader.literal_is_sync) { // it is not sent before we ask for it
            imap_view_flush_begin(s);
            s->job = JOB_FLUSH;
        } else if (s->append.left > IMAP_APPEND_DISCARD_MAX) {
            imap_fail(s, ERR_LIMIT, "[TOOBIG] Message is too large.");
        } else {
            let_pass(s);
        }
        return;
    }
    if (s->append.replaces || !imap_take_sp(&s->cur) || !take_message(s, &ev)) {
        s->append.left = s->reader.literal_size;
        s->append.is_sync = s->reader.literal_is_sync;
        if (!s->append.is_sync && s->append.left > IMAP_APPEND_DISCARD_MAX)
            imap_fail(s, ERR_LIMIT, "[TOOBIG] Message is too large.");
        else refuse_as(s, "BAD", S(""), S("Garbage behind the message."));
        return;
    }
    ask(s, &ev);
}

size_t imap_append_feed(struct imap_server *s, struct slice in) {
    struct append_state *a = &s->append;
    size_t n, used;
    enum imap_read r;

    if (a->left) {
        n = in.n < IMAP_CHUNK_MAX ? in.n : IMAP_CHUNK_MAX;
        if (n > a->left) n = (size_t)a->left;
        a->left -= n;
        if (a->is_refused) return n;
        buf_reset(&s->chunk);
        if (!buf_add(&s->chunk, slice_first(in, n))) {
            imap_fail(s, ERR_MEMORY, "Out of memory.");
            return n;
        }
        imap_tell(s, IMAP_EV_APPEND_DATA)->bytes = buf_slice(&s->chunk);
        return n;
    }
    r = imap_reader_feed(&s->reader, in, &used); // what is behind the literal
    if (r == IMAP_READ_MORE) return used;
    s->mode = MODE_COMMAND;
    if (r == IMAP_READ_LITERAL) {
        another(s);
        return used;
    }
    buf_release(&s->chunk);
    s->cur = (struct imap_cursor){.in = buf_slice(&s->reader.cmd)};
    if (a->has_parens) imap_take(&s->cur, ')');
    if (r == IMAP_READ_TOO_LONG || r == IMAP_READ_BAD) {
        imap_fail(s, ERR_PROTO, "Garbage behind the message.");
    } else if (a->is_refused) {
        imap_view_flush_begin(s);
        s->job = JOB_FLUSH; // s->tagged says why
    } else if (!imap_at_end(&s->cur)) {
        a->may_start = false;
        imap_tell(s, IMAP_EV_APPEND_ABORT);
        imap_finish_bad(s, "Garbage behind the message.");
    } else {
        struct imap_event *ev;

        a->may_start = false;
        ev = imap_ask(s, IMAP_EV_APPEND_END);
        ev->uid = a->replaces;
    }
    return used;
}

void imap_server_appended(struct imap_server *s, uint32_t uidvalidity, uint32_t uid) {
    size_t n = s->append.count;
    char code[64];

    if (s->open != IMAP_EV_APPEND_END) return;
    s->open = IMAP_EV_NONE;
    if (n > 1) snprintf(code, sizeof code, "APPENDUID %u %u:%zu", uidvalidity, uid, uid + n - 1);
    else snprintf(code, sizeof code, "APPENDUID %u %u", uidvalidity, uid);
    if (s->append.replaces) { // RFC 8508 3.5: the code comes before what went
        if (uid) buf_addf(&s->out, "* OK [%s] Replacement is there.\r\n", code);
        imap_finish_modseq(s, S("Replace completed."));
    } else {
        imap_finish(s, "OK", uid ? slice_str(code) : S(""), S("Append completed."));
    }
}
