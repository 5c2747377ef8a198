#include "imap/server.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "imap/server_impl.h"

enum { TEXT_MAX = 500, OUT_SLACK = 1024 * 1024, BYE_MS = 60 * 1000 };

/* --- birth and death ---------------------------------------------------------------------------
 */

struct imap_server *imap_server_new(const struct imap_config *cfg, mono_t now) {
    struct imap_server *s = calloc(1, sizeof *s);

    if (!s) return NULL;
    s->cfg = *cfg;
    if (!cfg->software.n) s->cfg.software = S("postbag");
    if (!s->cfg.delimiter) s->cfg.delimiter = '/';
    arena_init(&s->arena, COMMAND_ARENA_MAX);
    buf_init(&s->out, IMAP_OUT_LOW + IMAP_ITEM_MAX + OUT_SLACK);
    buf_init(&s->tagged, 64 * 1024 * 1024); // COPYUID of a large set
    buf_init(&s->chunk, IMAP_CHUNK_MAX);
    buf_init(&s->bye, 2 * TEXT_MAX);
    buf_init(&s->idle_tag, IMAP_COMMAND_MAX);
    buf_init(&s->user, 1024);
    buf_init(&s->fetch.tmp, IMAP_ITEM_MAX);
    buf_init(&s->search.fold, 64 * 1024 * 1024);
    buf_init(&s->search.text, 64 * 1024 * 1024);
    buf_init(&s->search.sign, 128 * 1024 * 1024);
    arena_init(&s->fetch.arena, 64 * 1024 * 1024);
    arena_init(&s->list.names, 256 * 1024 * 1024);
    imap_reader_init(&s->reader, IMAP_COMMAND_PREAUTH_MAX);
    s->now = s->active_at = s->started_at = now;
    imap_preauth(s);
    if (s->user.bad) {
        imap_server_free(s);
        return NULL;
    }
    return s;
}

void imap_server_free(struct imap_server *s) {
    if (!s) return;
    imap_view_clear(s);
    imap_fetch_clear(s);
    imap_search_clear(s);
    imap_list_clear(s);
    imap_keywords_release(&s->keywords);
    imap_reader_release(&s->reader);
    sasl_server_release(&s->sasl);
    buf_release(&s->user);
    buf_release(&s->chunk);
    buf_release(&s->bye);
    buf_release(&s->idle_tag);
    buf_release(&s->tagged);
    buf_release(&s->out);
    buf_release(&s->fetch.tmp);
    buf_release(&s->search.fold);
    buf_release(&s->search.text);
    buf_release(&s->search.sign);
    arena_release(&s->fetch.arena);
    arena_release(&s->list.names);
    arena_release(&s->arena);
    free(s->uids);
    free(s->modified);
    imap_saved_forget(s);
    imap_notify_clear(s);
    free(s);
}

void imap_server_rest(struct imap_server *s) {
    if (s->open || s->n_events || s->job != JOB_NONE || s->mode == MODE_APPEND) return;
    if (!s->reader.cmd.n) buf_release(&s->reader.cmd);
    if (s->out.n == s->out_sent) {
        buf_release(&s->out);
        s->out_sent = 0;
    }
    buf_release(&s->chunk);
    buf_release(&s->tagged);
    if (!s->tag.n || s->mode == MODE_IDLE) arena_release(&s->arena);
    arena_release(&s->fetch.arena);
    arena_release(&s->list.names);
}

/* --- events and endings ------------------------------------------------------------------------
 */

struct imap_event *imap_tell(struct imap_server *s, enum imap_event_type t) {
    struct imap_event *ev = &s->events[(s->first_event + s->n_events) % EVENTS_MAX];

    if (s->n_events < EVENTS_MAX) s->n_events++; // the callers never have that many at once
    *ev = (struct imap_event){.type = t};
    return ev;
}

struct imap_event *imap_ask(struct imap_server *s, enum imap_event_type t) {
    s->open = t;
    return imap_tell(s, t);
}

bool imap_out_has_room(const struct imap_server *s) {
    return s->out.n - s->out_sent < IMAP_OUT_LOW;
}

void imap_say_bye(struct imap_server *s, const char *text) {
    if (s->mode == MODE_BYE || s->mode == MODE_DONE) return;
    if (*text) buf_addf(&s->out, "* BYE %s\r\n", text);
    s->mode = MODE_BYE;
    s->job = JOB_NONE;
    s->open = IMAP_EV_NONE;
}

void imap_fail(struct imap_server *s, enum err_code code, const char *why) {
    if (s->has_failed || s->mode == MODE_BYE) return;
    err_set(&s->failure, code, "%s", why);
    s->has_failed = true;
    imap_say_bye(s, why);
}

static void put_line_text(struct buf *out, struct slice text) {
    text = slice_first(text, TEXT_MAX);
    for (size_t i = 0; i < text.n; i++) {
        bool is_plain = text.p[i] == ' ' || ascii_is_graph(text.p[i]);
        buf_addc(out, is_plain ? text.p[i] : '?');
    }
}

void imap_finish(struct imap_server *s, const char *kind, struct slice code, struct slice text) {
    buf_reset(&s->tagged);
    buf_addf(&s->tagged, "%s ", kind);
    if (s->limited_to && kind[0] == 'O') {
        char limit[IMAP_LIMIT_CODE_MAX];

        imap_limit_tell(s, limit);
        if (code.n) buf_addf(&s->out, "* NO [%s] Not all messages.\r\n", limit);
        else buf_addf(&s->tagged, "[%s] ", limit);
    }
    if (code.n) buf_addf(&s->tagged, "[%.*s] ", SP(code));
    put_line_text(&s->tagged, text.n ? text : S("Done."));
    if (kind[0] == 'B') s->bad_commands++;
    else s->bad_commands = 0;
    imap_view_flush_begin(s);
    s->job = JOB_FLUSH;
}

void imap_finish_bad(struct imap_server *s, const char *why) {
    imap_finish(s, "BAD", S(""), slice_str(why && *why ? why : "Syntax error"));
}

static void say_wanted_bye(struct imap_server *s) {
    const char *text = buf_cstr(&s->bye);
    imap_say_bye(s, text ? text : "Server is going down.");
}

void imap_command_over(struct imap_server *s) {
    bool is_in = s->user.n > 0;

    s->job = JOB_NONE;
    s->open = IMAP_EV_NONE;
    s->mode = s->mode == MODE_BYE ? MODE_BYE : MODE_COMMAND;
    s->is_uid = s->may_expunge = s->is_silent = s->is_close = false;
    s->tag = s->verb = s->mailbox = (struct slice){0};
    free(s->uids);
    s->uids = NULL;
    s->n_uids = 0;
    free(s->modified);
    s->modified = NULL;
    s->n_modified = 0;
    s->knows_modified = false;
    s->has_since = s->is_resync = false;
    s->limited_to = 0;
    imap_fetch_clear(s);
    imap_search_clear(s);
    imap_list_clear(s);
    arena_reset(&s->arena);
    imap_reader_reset(&s->reader);
    s->reader.cmd.max = is_in ? IMAP_COMMAND_MAX : IMAP_COMMAND_PREAUTH_MAX;
    buf_reset(&s->tagged);
    if (s->bad_commands > IMAP_BAD_MAX) imap_fail(s, ERR_PROTO, "Too many invalid commands.");
    if (s->bad_logins >= IMAP_LOGIN_FAILURES_MAX && !is_in) {
        imap_fail(s, ERR_DENIED, "Too many failed logins.");
    }
    if (s->bye_wanted) say_wanted_bye(s);
}

void imap_server_bye(struct imap_server *s, struct slice text) {
    buf_reset(&s->bye);
    put_line_text(&s->bye, text.n ? text : S("Server is going down."));
    s->bye_wanted = true;
    if (s->job == JOB_NONE && !s->open && s->mode != MODE_APPEND) say_wanted_bye(s);
}

/* --- output ------------------------------------------------------------------------------------
 */

/* One piece of work; true when more may follow at once. */
static bool run_job(struct imap_server *s) {
    switch (s->job) {
    case JOB_FETCH: return imap_fetch_run(s);
    case JOB_SEARCH: return imap_search_run(s);
    case JOB_LIST: return imap_list_run(s);
    case JOB_FLUSH:
        if (!imap_view_flush(s)) return false;
        s->job = JOB_NONE;
        if (s->mode == MODE_IDLE || s->is_unasked) {
            s->is_unasked = false;
            return true;
        }
        if (s->tagged.bad) {
            imap_fail(s, ERR_MEMORY, "Out of memory.");
            return false;
        }
        buf_addf(&s->out, "%.*s ", SP(s->tag.n ? s->tag : S("*")));
        buf_add(&s->out, buf_slice(&s->tagged));
        buf_add(&s->out, S("\r\n"));
        imap_command_over(s);
        return true;
    case JOB_NONE: break;
    }
    if (s->notify.new_from && s->mode != MODE_AUTH) {
        imap_fetch_notice(s, s->notify.new_from);
        s->notify.new_from = 0;
        return s->job != JOB_NONE;
    }
    if (s->mode == MODE_COMMAND && s->notify.is_live && s->is_selected && !s->reader.cmd.n) {
        // nothing is under way: what happened is told now
        s->may_expunge = !s->notify.is_delayed;
        if (imap_view_has_updates(s)) {
            s->is_unasked = true;
            imap_view_flush_begin(s);
            s->job = JOB_FLUSH;
            return true;
        }
    }
    if (s->mode == MODE_IDLE && imap_view_has_updates(s)) {
        imap_view_flush_begin(s);
        s->job = JOB_FLUSH;
        return true;
    }
    return false;
}

void imap_run(struct imap_server *s) {
    // Not before the first byte is wanted: with implicit TLS what is offered depends on it.
    if (!s->has_greeted && s->mode < MODE_BYE) imap_greet(s);
    while (s->mode < MODE_BYE && !s->open && !s->n_events && !s->is_pausing &&
           imap_out_has_room(s)) {
        if (!run_job(s)) break;
    }
    if (s->out.bad) {
        buf_reset(&s->out);
        s->out_sent = 0;
        imap_fail(s, ERR_MEMORY, "Out of memory.");
    }
    if (s->is_eof && s->mode < MODE_BYE && s->job == JOB_NONE && !s->open && !s->n_events) {
        imap_say_bye(s, "");
    }
}

struct slice imap_server_out(struct imap_server *s) {
    if (s->out.n == s->out_sent) imap_run(s);
    return slice_from(buf_slice(&s->out), s->out_sent);
}

void imap_server_sent(struct imap_server *s, size_t n, mono_t now) {
    s->now = now;
    if (s->mode != MODE_IDLE) s->active_at = now; // our own words are no activity of the client
    s->is_pausing = false;
    s->out_sent += n < s->out.n - s->out_sent ? n : s->out.n - s->out_sent;
    if (s->out_sent == s->out.n) {
        if (s->out.cap > 4 * IMAP_OUT_LOW) buf_release(&s->out); // after one large item
        buf_reset(&s->out);
        s->out_sent = 0;
    } else if (s->out_sent > IMAP_OUT_LOW) {
        buf_drop(&s->out, s->out_sent);
        s->out_sent = 0;
    }
}

/* What must be said before the end, in order; false when all was said. */
static bool next_of_end(struct imap_server *s, struct imap_event *ev) {
    *ev = (struct imap_event){0};
    if (s->append.may_start) {
        s->append.may_start = false;
        ev->type = IMAP_EV_APPEND_ABORT;
    } else if (s->fetch.is_held) {
        s->fetch.is_held = false;
        ev->type = IMAP_EV_MESSAGE_DONE;
        ev->uid = s->fetch.index < s->n_msgs ? s->msgs[s->fetch.index].uid : 0;
    } else if (s->is_selected) {
        imap_view_clear(s);
        ev->type = IMAP_EV_UNSELECT;
    } else if (!s->has_said_end) {
        s->has_said_end = true;
        ev->type = IMAP_EV_END;
        ev->err = s->failure;
    } else {
        return false;
    }
    return true;
}

bool imap_server_next(struct imap_server *s, struct imap_event *ev) {
    imap_run(s);
    if (s->n_events) {
        *ev = s->events[s->first_event];
        s->first_event = (s->first_event + 1) % EVENTS_MAX;
        s->n_events--;
        return true;
    }
    if (s->mode >= MODE_BYE) return next_of_end(s, ev);
    *ev = (struct imap_event){0};
    return false;
}

/* --- input -------------------------------------------------------------------------------------
 */

static bool can_take(const struct imap_server *s) {
    return s->mode < MODE_BYE && !s->open && !s->n_events && s->job == JOB_NONE &&
           imap_out_has_room(s);
}

/* A literal is announced in a command that is not (or not yet) the message of an APPEND. */
static void literal(struct imap_server *s) {
    struct imap_reader *r = &s->reader;
    /* Before the login LITERAL-, after it LITERAL+ (RFC 7888): what is no message has its bound. */
    bool is_small =
        r->literal_is_sync || s->user.n > 0 || r->literal_size <= IMAP_LITERAL_MINUS_MAX;

    if (!r->has_skipped && is_small) {
        if (s->user.n && imap_append_begin(s)) return;
        if (imap_reader_take(r)) {
            if (r->literal_is_sync) buf_add(&s->out, S("+ OK\r\n"));
            return;
        }
    }
    if (r->literal_is_sync) { // the client sends nothing of it when it sees the tagged answer
        struct imap_cursor c = {.in = buf_slice(&r->cmd)};
        struct slice tag;

        if (imap_take_tag(&c, &tag)) s->tag = arena_copy(&s->arena, tag);
        imap_finish(s, r->has_skipped ? "BAD" : "NO", S("TOOBIG"), S("Literal is too large."));
    } else if (r->literal_size <= IMAP_DISCARD_MAX) {
        imap_reader_skip(r);
    } else {
        imap_fail(s, ERR_LIMIT, "[TOOBIG] Literal is too large.");
    }
}

static void line_bad(struct imap_server *s, enum imap_read r) {
    imap_fail(s, ERR_LIMIT, r == IMAP_READ_BAD ? "Malformed line." : "Command is too long.");
}

static size_t feed_command(struct imap_server *s, struct slice in) {
    size_t used;
    enum imap_read r = imap_reader_feed(&s->reader, in, &used);

    switch (r) {
    case IMAP_READ_MORE: break;
    case IMAP_READ_LITERAL: literal(s); break;
    case IMAP_READ_COMMAND: imap_command(s); break;
    default: line_bad(s, r); break;
    }
    return used;
}

static size_t feed_line(struct imap_server *s, struct slice in) {
    size_t used;
    enum imap_read r = imap_reader_feed(&s->reader, in, &used);
    struct slice line;

    if (r == IMAP_READ_MORE) return used;
    if (r == IMAP_READ_TOO_LONG || r == IMAP_READ_BAD) {
        line_bad(s, r);
        return used;
    }
    line = slice_chomp(buf_slice(&s->reader.cmd));
    if (s->mode == MODE_AUTH) {
        imap_auth_line(s, line);
    } else {
        imap_tell(s, IMAP_EV_IDLE)->is_on = false;
        s->mode = MODE_COMMAND;
        s->may_expunge = true;
        if (slice_ieq(line, S("DONE"))) imap_finish(s, "OK", S(""), S("Idle completed."));
        else imap_finish_bad(s, "Expected DONE.");
    }
    return used;
}

size_t imap_server_feed(struct imap_server *s, struct slice in, mono_t now) {
    size_t used = 0;

    s->now = now;
    if (!s->has_greeted) imap_run(s);
    if (s->open == IMAP_EV_STARTTLS && in.n) goto injected;
    if (s->mode >= MODE_BYE) return in.n;
    while (used < in.n && can_take(s)) {
        struct slice rest = slice_from(in, used);
        size_t n = s->mode == MODE_COMMAND  ? feed_command(s, rest)
                   : s->mode == MODE_APPEND ? imap_append_feed(s, rest)
                                            : feed_line(s, rest);
        used += n;
        s->active_at = now;
        if (s->open == IMAP_EV_STARTTLS && used < in.n) goto injected;
        imap_run(s);
    }
    return s->mode >= MODE_BYE ? in.n : used;
injected:
    // RFC 3501 6.2.1, CVE-2011-0411: nothing sent in plain text may be read as if it came by TLS
    buf_reset(&s->out);
    s->out_sent = 0;
    s->n_events = 0;
    imap_fail(s, ERR_PROTO, "Bytes after STARTTLS, before TLS.");
    buf_reset(&s->out);
    return in.n;
}

void imap_server_eof(struct imap_server *s, mono_t now) {
    s->now = now;
    s->is_eof = true;
    if (s->mode == MODE_APPEND || s->reader.cmd.n) {
        imap_fail(s, ERR_CLOSED, "Connection closed in the middle of a command.");
    }
    imap_run(s);
}

/* --- time --------------------------------------------------------------------------------------
 */

mono_t imap_server_deadline(const struct imap_server *s) {
    mono_t end = s->active_at + IMAP_AUTOLOGOUT_MS;

    if (s->mode >= MODE_BYE) return s->out.n == s->out_sent ? MONO_NEVER : s->active_at + BYE_MS;
    if (s->open && s->out.n == s->out_sent) return MONO_NEVER; // the host is slow, not the client
    if (!s->user.n) end = s->started_at + IMAP_LOGIN_MS;
    if (s->mode == MODE_IDLE && s->keepalive_at < end) end = s->keepalive_at;
    return end;
}

void imap_server_tick(struct imap_server *s, mono_t now) {
    s->now = now;
    if (now < imap_server_deadline(s)) return;
    if (s->mode >= MODE_BYE) {
        s->out_sent = s->out.n; // the last words were not wanted
    } else if (s->mode == MODE_IDLE && now < s->active_at + IMAP_AUTOLOGOUT_MS) {
        if (s->out.n == s->out_sent) buf_add(&s->out, S("* OK Still here\r\n"));
        s->keepalive_at = now + IMAP_IDLE_KEEPALIVE_MS;
    } else {
        imap_fail(s, ERR_TIMEOUT,
                  s->user.n ? "Autologout; idle for too long." : "Login timed out.");
    }
}

bool imap_server_done(const struct imap_server *s) {
    return s->mode >= MODE_BYE && s->out.n == s->out_sent;
}

/* --- answers -----------------------------------------------------------------------------------
 */

void imap_server_wall(struct imap_server *s, wall_t now) { s->wall = now; }
void imap_server_clock(struct imap_server *s, mono_t now) { s->now = now; }
bool imap_server_is_working(const struct imap_server *s) { return s->job != JOB_NONE; }

bool imap_server_is_waiting(const struct imap_server *s) { return s->open != IMAP_EV_NONE; }
struct slice imap_server_user(const struct imap_server *s) {
    return buf_slice(&s->user);
}
struct imap_keywords *imap_server_keywords(struct imap_server *s) {
    return &s->keywords;
}

/* The question `t` is answered; false when it was not open. */
static bool answers(struct imap_server *s, enum imap_event_type t) {
    if (s->open != t) return false;
    s->open = IMAP_EV_NONE;
    return true;
}

static void close_view(struct imap_server *s) {
    imap_view_clear(s);
    imap_tell(s, IMAP_EV_UNSELECT);
    imap_finish(s, "OK", S(""), S("Close completed."));
}

void imap_server_ok(struct imap_server *s) {
    enum imap_event_type t = s->open;

    s->open = IMAP_EV_NONE;
    switch (t) {
    case IMAP_EV_LIST: imap_list_begin(s); break;
    case IMAP_EV_APPEND: imap_append_start(s); break;
    case IMAP_EV_STORE:
        if (s->fetch.n_items) imap_fetch_start(s);
        else imap_finish_store(s);
        break;
    case IMAP_EV_EXPUNGE:
        if (s->is_close) close_view(s);
        else imap_finish_modseq(s, S("Expunge completed."));
        break;
    case IMAP_EV_POLL:
        if (!slice_ieq(s->verb, S("IDLE"))) {
            imap_finish(s, "OK", S(""), S("Completed."));
            break;
        }
        buf_add(&s->out, S("+ idling\r\n"));
        /* It may take hours: the tag does not keep the arena. */
        buf_reset(&s->idle_tag);
        buf_add(&s->idle_tag, s->tag);
        s->tag = buf_slice(&s->idle_tag);
        s->mode = MODE_IDLE;
        s->keepalive_at = s->now + IMAP_IDLE_KEEPALIVE_MS;
        s->may_expunge = true;
        imap_reader_reset(&s->reader);
        imap_tell(s, IMAP_EV_IDLE)->is_on = true;
        break;
    case IMAP_EV_COMPRESS: // the question stays open until it is so
        buf_addf(&s->out, "%.*s OK DEFLATE is active.\r\n", SP(s->tag));
        s->open = t;
        break;
    case IMAP_EV_GET_METADATA: imap_metadata_done(s); break;
    case IMAP_EV_NOTIFY: imap_finish(s, "OK", S(""), S("Notify completed.")); break;
    case IMAP_EV_CANDIDATES: break; // all must be looked at; the job goes on
    case IMAP_EV_SET_METADATA:
    case IMAP_EV_SET_ACL:
    case IMAP_EV_CREATE:
    case IMAP_EV_DELETE:
    case IMAP_EV_RENAME:
    case IMAP_EV_SUBSCRIBE:
    case IMAP_EV_UNSUBSCRIBE: imap_finish(s, "OK", S(""), S("Completed.")); break;
    case IMAP_EV_COPY:
    case IMAP_EV_MOVE:
        s->open = t;
        imap_server_copied(s, 0, NULL, NULL, 0);
        break;
    default: s->open = t; break; // that question wants another answer
    }
}

void imap_server_no(struct imap_server *s, struct slice code, struct slice text) {
    enum imap_event_type t = s->open;

    if (!t || t == IMAP_EV_STARTTLS || t == IMAP_EV_LOGIN) return;
    if (t == IMAP_EV_NEED_MESSAGE) {
        s->fetch.has_unreadable = true;
        imap_server_gone(s);
        return;
    }
    s->open = IMAP_EV_NONE;
    if (t == IMAP_EV_EXPUNGE && s->is_close && slice_eq(code, S("NOPERM"))) { // RFC 4314 4
        close_view(s);
        return;
    }
    if (t == IMAP_EV_NOTIFY) imap_notify_clear(s);
    if (t == IMAP_EV_STATUS && s->job == JOB_LIST) return; // it vanished: on with the next
    if (t == IMAP_EV_STORE && s->fetch.n_items) {          // \Seen could not be set: read on
        imap_fetch_start(s);
        return;
    }
    imap_finish(s, "NO", code, text.n ? text : S("Failed."));
    if (t == IMAP_EV_APPEND) imap_append_refused(s);
}

void imap_server_tls_up(struct imap_server *s) {
    if (!answers(s, IMAP_EV_STARTTLS)) return;
    s->cfg.has_tls = true;
    s->cfg.can_starttls = false;
    s->started_at = s->active_at = s->now;
    imap_command_over(s);
}

void imap_server_compress_up(struct imap_server *s) {
    if (!answers(s, IMAP_EV_COMPRESS)) return;
    s->has_deflate = true;
    imap_command_over(s);
}

void imap_server_selected(struct imap_server *s, const struct imap_mailbox_info *info) {
    size_t recent = 0, unseen = 0;

    if (!answers(s, IMAP_EV_SELECT)) return;
    s->is_read_only = info->is_read_only || slice_ieq(s->verb, S("EXAMINE"));
    if (!imap_view_open(s, info)) {
        imap_tell(s, IMAP_EV_UNSELECT);
        imap_finish(s, "NO", S("LIMIT"), S("Mailbox is too large."));
        return;
    }
    imap_view_tell_keywords(s);
    for (size_t i = s->n_msgs; i-- > 0;) {
        recent += (s->msgs[i].flags & IMAP_RECENT) != 0;
        if (!(s->msgs[i].flags & IMAP_SEEN)) unseen = i + 1;
    }
    buf_addf(&s->out, "* %zu EXISTS\r\n", s->n_msgs);
    if (!(s->enabled & ON_REV2)) buf_addf(&s->out, "* %zu RECENT\r\n", recent);
    if (unseen && !(s->enabled & (ON_REV2 | ON_UIDONLY)))
        buf_addf(&s->out, "* OK [UNSEEN %zu] First unseen.\r\n", unseen);
    buf_addf(&s->out, "* OK [UIDVALIDITY %u] UIDs valid.\r\n", info->uidvalidity);
    if (info->uidnext)
        buf_addf(&s->out, "* OK [UIDNEXT %u] Predicted next UID.\r\n", info->uidnext);
    if (s->enabled & ON_REV2) { // RFC 9051 6.3.2
        buf_add(&s->out, S("* LIST () "));
        imap_put_nstring(&s->out, slice_of(&s->cfg.delimiter, 1));
        buf_addc(&s->out, ' ');
        imap_put_mailbox(s, s->mailbox);
        buf_add(&s->out, S("\r\n"));
    }
    if (info->mailboxid.n)
        buf_addf(&s->out, "* OK [MAILBOXID (%.*s)] Id.\r\n", SP(info->mailboxid));
    imap_view_tell_modseq(s);
    if (s->is_resync && s->resync_validity == info->uidvalidity) imap_ask_vanished(s, s->since);
    else imap_select_done(s);
}

void imap_server_created(struct imap_server *s, struct slice mailboxid) {
    char code[64];

    if (!answers(s, IMAP_EV_CREATE)) return;
    snprintf(code, sizeof code, "MAILBOXID (%.*s)", SP(slice_first(mailboxid, 40)));
    imap_finish(s, "OK", mailboxid.n ? slice_str(code) : S(""), S("Create completed."));
}

static void put_copyuid(struct buf *b, uint32_t uidvalidity, const uint32_t *from,
                        const uint32_t *to, size_t n) {
    buf_addf(b, "OK [COPYUID %u ", uidvalidity);
    imap_set_put(b, from, n);
    buf_addc(b, ' ');
    imap_set_put(b, to, n);
}

void imap_server_copied(struct imap_server *s, uint32_t uidvalidity, const uint32_t *from,
                        const uint32_t *to, size_t n) {
    bool is_move = slice_ieq(s->verb, S("MOVE"));

    if (!answers(s, is_move ? IMAP_EV_MOVE : IMAP_EV_COPY)) return;
    if (!is_move) {
        imap_finish(s, "OK", S(""), S("Copy completed."));
        if (!n) return;
        buf_reset(&s->tagged);
        put_copyuid(&s->tagged, uidvalidity, from, to, n);
        buf_add(&s->tagged, S("] Copy completed."));
        return;
    }
    if (n) { // RFC 6851 4.3: COPYUID comes untagged, before the EXPUNGEs
        buf_add(&s->out, S("* "));
        put_copyuid(&s->out, uidvalidity, from, to, n);
        buf_add(&s->out, S("] Moved.\r\n"));
    }
    for (size_t i = 0; i < n; i++) imap_server_push_expunged(s, from[i]);
    s->may_expunge = true;
    imap_finish_modseq(s, S("Move completed."));
}

void imap_server_message(struct imap_server *s, const struct imap_content *c) {
    if (!answers(s, IMAP_EV_NEED_MESSAGE)) return;
    if (s->job == JOB_SEARCH) imap_search_content(s, c);
    else imap_fetch_content(s, c);
}

void imap_server_gone(struct imap_server *s) {
    if (!answers(s, IMAP_EV_NEED_MESSAGE)) return;
    if (s->job == JOB_SEARCH) imap_search_content(s, NULL);
    else imap_fetch_content(s, NULL);
}

/* --- for drivers -------------------------------------------------------------------------------
 */

static size_t op_feed(void *e, struct slice in, mono_t now) { return imap_server_feed(e, in, now); }
static void op_eof(void *e, mono_t now) { imap_server_eof(e, now); }
static struct slice op_out(void *e) { return imap_server_out(e); }
static void op_sent(void *e, size_t n, mono_t now) { imap_server_sent(e, n, now); }
static mono_t op_deadline(const void *e) { return imap_server_deadline(e); }
static void op_tick(void *e, mono_t now) { imap_server_tick(e, now); }
static bool op_done(const void *e) { return imap_server_done(e); }

struct engine imap_server_engine(struct imap_server *s) {
    static const struct engine_ops ops = {op_feed,     op_eof,  op_out, op_sent,
                                          op_deadline, op_tick, op_done};
    return (struct engine){&ops, s};
}
