#include "base/utf7.h"
#include "base/utf8.h"
#include "base/attr.h"
#include "imap/server_impl.h"

/* --- arguments ---------------------------------------------------------------------------------
 */

static bool refuse(struct imap_server *s, const char *why) {
    s->cur.why = why;
    return false;
}

/* The name in UTF-8. Names in raw UTF-8 are taken too, since clients send them. */
static bool mailbox_name(struct imap_server *s, struct slice raw, struct slice *out) {
    struct buf b;
    bool is_ok;

    buf_init(&b, IMAP_MAILBOX_NAME_MAX);
    is_ok = !(s->enabled & ON_UTF8) && utf7_get(&b, raw);
    if (!is_ok && utf8_valid(raw) && (s->enabled & ON_UTF8 || !utf8_is_ascii(raw))) {
        buf_reset(&b);
        is_ok = buf_add(&b, raw);
    }
    for (size_t i = 0; is_ok && i < b.n; i++) is_ok = (unsigned char)b.p[i] >= 32 && b.p[i] != 127;
    if (is_ok) {
        *out = arena_copy(&s->arena, buf_slice(&b));
        if (b.n && !out->p) is_ok = false;
    }
    buf_release(&b);
    if (!is_ok) return refuse(s, "Invalid mailbox name");
    if (slice_istarts(*out, S("INBOX")) && (out->n == 5 || out->p[5] == s->cfg.delimiter)) {
        char *p = arena_cstr(&s->arena, *out);
        if (!p) return refuse(s, "Out of memory");
        memcpy(p, "INBOX", 5);
        *out = slice_of(p, out->n);
    }
    return true;
}

bool imap_take_mailbox(struct imap_server *s, struct slice *out) {
    struct slice raw;

    return imap_take_astring(&s->cur, &raw) && mailbox_name(s, raw, out);
}

/* One flag to bits; 0 with `why` when it cannot be. */
static bool flag_bit(struct imap_server *s, struct slice name, uint64_t *bit, bool may_add) {
    if (name.p[0] == '\\') {
        *bit = imap_system_flag(name);
        if (!*bit || *bit == IMAP_RECENT) return refuse(s, "Unknown system flag");
        return true;
    }
    if (name.n > IMAP_KEYWORD_LEN_MAX) return refuse(s, "Keyword is too long");
    *bit = imap_keyword_bit(&s->keywords, name, may_add);
    return *bit || !may_add || refuse(s, "Too many keywords");
}

bool imap_take_flags(struct imap_server *s, uint64_t *flags, bool may_add) {
    bool has_parens = imap_take(&s->cur, '(');
    struct slice name;
    uint64_t bit;

    *flags = 0;
    if (has_parens && imap_take(&s->cur, ')')) return true;
    do {
        if (!imap_take_flag(&s->cur, &name) || !flag_bit(s, name, &bit, may_add)) return false;
        *flags |= bit;
    } while (imap_take_sp(&s->cur));
    return !has_parens || imap_take(&s->cur, ')');
}

static bool take_end(struct imap_server *s) {
    return imap_at_end(&s->cur) || refuse(s, "Too many arguments");
}

static void bad(struct imap_server *s) { imap_finish_bad(s, s->cur.why); }

/* --- any state ---------------------------------------------------------------------------------
 */

static void poll_host(struct imap_server *s) {
    s->may_expunge = true;
    if (s->is_selected) imap_ask(s, IMAP_EV_POLL);
    else imap_finish(s, "OK", S(""), S("Completed."));
}

static void cmd_capability(struct imap_server *s) {
    buf_add(&s->out, S("* CAPABILITY "));
    imap_put_capabilities(s);
    buf_add(&s->out, S("\r\n"));
    imap_finish(s, "OK", S(""), S("Capability completed."));
}

static void cmd_logout(struct imap_server *s) {
    buf_add(&s->out, S("* BYE Logging out\r\n"));
    buf_addf(&s->out, "%.*s OK Logout completed.\r\n", SP(s->tag));
    imap_say_bye(s, "");
}

static void cmd_id(struct imap_server *s) {
    struct slice list = {0}, word;

    if (!imap_take_sp(&s->cur) ||
        (!imap_take_parens(&s->cur, &list) &&
         (!imap_take_atom(&s->cur, &word) || !slice_ieq(word, S("NIL")))) ||
        !take_end(s)) {
        bad(s);
        return;
    }
    imap_tell(s, IMAP_EV_ID)->text = slice_first(list, 1024);
    buf_add(&s->out, S("* ID (\"name\" "));
    imap_put_nstring(&s->out, s->cfg.software);
    if (s->cfg.version.n) {
        buf_add(&s->out, S(" \"version\" "));
        imap_put_nstring(&s->out, s->cfg.version);
    }
    buf_add(&s->out, S(")\r\n"));
    imap_finish(s, "OK", S(""), S("ID completed."));
}

static void cmd_starttls(struct imap_server *s) {
    if (!take_end(s)) {
        bad(s);
    } else if (s->cfg.has_tls || !s->cfg.can_starttls) {
        imap_finish_bad(s, s->cfg.has_tls ? "TLS is already active." : "TLS is not available.");
    } else {
        buf_addf(&s->out, "%.*s OK Begin TLS negotiation now.\r\n", SP(s->tag));
        imap_ask(s, IMAP_EV_STARTTLS);
    }
}

static void cmd_compress(struct imap_server *s) {
    struct slice word;

    if (!imap_take_sp(&s->cur) || !imap_take_atom(&s->cur, &word) || !take_end(s)) bad(s);
    else if (!slice_ieq(word, S("DEFLATE"))) imap_finish_bad(s, "Unknown compression.");
    else if (s->has_deflate)
        imap_finish(s, "NO", S("COMPRESSIONACTIVE"), S("DEFLATE is active already."));
    else imap_ask(s, IMAP_EV_COMPRESS);
}

static void cmd_namespace(struct imap_server *s) {
    if (!take_end(s)) {
        bad(s);
        return;
    }
    buf_add(&s->out, S("* NAMESPACE ((\"\" "));
    imap_put_nstring(&s->out, slice_of(&s->cfg.delimiter, 1));
    buf_add(&s->out, S(")) "));
    if (s->cfg.other_users.n) {
        buf_add(&s->out, S("(("));
        imap_put_nstring(&s->out, s->cfg.other_users);
        buf_addc(&s->out, ' ');
        imap_put_nstring(&s->out, slice_of(&s->cfg.delimiter, 1));
        buf_add(&s->out, S("))"));
    } else {
        buf_add(&s->out, S("NIL"));
    }
    buf_add(&s->out, S(" NIL\r\n"));
    imap_finish(s, "OK", S(""), S("Namespace completed."));
}

/* --- mailboxes ---------------------------------------------------------------------------------
 */

static void cmd_select(struct imap_server *s) {
    struct imap_event *ev;

    if (!imap_take_sp(&s->cur) || !imap_take_mailbox(s, &s->mailbox) ||
        !imap_take_select_params(s) || !take_end(s)) {
        bad(s);
        return;
    }
    if (s->is_selected) { // RFC 3501 6.3.1: also when the new one cannot be selected
        imap_view_clear(s);
        imap_tell(s, IMAP_EV_UNSELECT);
        buf_add(&s->out, S("* OK [CLOSED] Previous mailbox closed.\r\n")); // RFC 7162 3.2.11
    }
    ev = imap_ask(s, IMAP_EV_SELECT);
    ev->mailbox = s->mailbox;
    ev->is_read_only = slice_ieq(s->verb, S("EXAMINE"));
}

/* " (USE (\\Sent))" of CREATE (RFC 6154 3), or nothing. */
static bool take_use(struct imap_server *s, unsigned *use) {
    struct slice word;

    if (!imap_take_sp(&s->cur)) return true;
    if (!imap_take(&s->cur, '(')) return false;
    do {
        if (!imap_take_word(&s->cur, &word)) return false;
        if (!slice_ieq(word, S("USE"))) return refuse(s, "Unknown parameter of CREATE");
        if (!imap_take_sp(&s->cur) || !imap_take(&s->cur, '(')) return false;
        while (!imap_take(&s->cur, ')')) {
            if (!imap_take_flag(&s->cur, &word)) return false;
            // what is not known cannot be given: the host refuses it (RFC 6154 3)
            *use |= imap_special_use(word) ? imap_special_use(word) : IMAP_USE_ALL;
            imap_take_sp(&s->cur);
        }
    } while (imap_take_sp(&s->cur));
    return imap_take(&s->cur, ')');
}

static void ask_mailbox(struct imap_server *s, enum imap_event_type t) {
    struct slice name, to = {0};
    bool is_parent = false;
    unsigned use = 0;

    if (!imap_take_sp(&s->cur) || !imap_take_mailbox(s, &name) ||
        (t == IMAP_EV_CREATE && !take_use(s, &use)) ||
        (t == IMAP_EV_RENAME && (!imap_take_sp(&s->cur) || !imap_take_mailbox(s, &to))) ||
        !take_end(s)) {
        bad(s);
        return;
    }
    if (t == IMAP_EV_CREATE && name.n && name.p[name.n - 1] == s->cfg.delimiter) {
        is_parent = true;
        name.n--;
    }
    if (!name.n || (t == IMAP_EV_RENAME && !to.n)) {
        imap_finish(s, "NO", S("CANNOT"), S("The name is empty."));
        return;
    }
    if (slice_eq(t == IMAP_EV_RENAME ? to : name, S("INBOX")) &&
        (t == IMAP_EV_CREATE || t == IMAP_EV_RENAME || t == IMAP_EV_DELETE)) {
        if (t == IMAP_EV_DELETE) imap_finish(s, "NO", S("CANNOT"), S("INBOX cannot be deleted."));
        else imap_finish(s, "NO", S("ALREADYEXISTS"), S("INBOX exists."));
        return;
    }
    if (use & ~(unsigned)STORED_USES) {
        imap_finish(s, "NO", S("USEATTR"), S("No mailbox can have that use here."));
        return;
    }
    struct imap_event *ev = imap_ask(s, t);
    ev->mailbox = name;
    ev->new_name = to;
    ev->is_parent_only = is_parent;
    ev->items = use;
}

static void cmd_create(struct imap_server *s) { ask_mailbox(s, IMAP_EV_CREATE); }
static void cmd_delete(struct imap_server *s) { ask_mailbox(s, IMAP_EV_DELETE); }
static void cmd_rename(struct imap_server *s) { ask_mailbox(s, IMAP_EV_RENAME); }
static void cmd_subscribe(struct imap_server *s) { ask_mailbox(s, IMAP_EV_SUBSCRIBE); }
static void cmd_unsubscribe(struct imap_server *s) { ask_mailbox(s, IMAP_EV_UNSUBSCRIBE); }
static void cmd_list(struct imap_server *s) { imap_cmd_list(s, false); }
static void cmd_lsub(struct imap_server *s) { imap_cmd_list(s, true); }

/* --- selected ----------------------------------------------------------------------------------
 */

static bool take_uids(struct imap_server *s, struct imap_set *set) {
    if (!imap_take_sp(&s->cur) || !imap_take_set(&s->cur, IMAP_SET_MAX, set)) return false;
    return imap_view_resolve(s, set, s->is_uid) || refuse(s, "No such message.");
}

static bool writable(struct imap_server *s) {
    if (s->is_read_only) imap_finish(s, "NO", S("NOPERM"), S("Mailbox is read-only."));
    return !s->is_read_only;
}

static void ask_uids(struct imap_server *s, enum imap_event_type t) {
    struct imap_event *ev = imap_ask(s, t);

    ev->uids = s->uids;
    ev->n_uids = s->n_uids;
    ev->mailbox = s->mailbox;
    ev->store_mode = s->store_mode;
    ev->flags = s->store_flags;
    ev->has_unchanged_since = s->has_since;
    ev->unchanged_since = s->since;
}

static void cmd_store(struct imap_server *s) {
    struct imap_set set;
    struct slice what;
    bool is_add, is_remove;

    s->may_expunge = s->is_uid;
    if (!take_uids(s, &set) || !imap_take_sp(&s->cur) || !imap_take_store_modifiers(s)) goto syntax;
    is_add = imap_take(&s->cur, '+');
    is_remove = !is_add && imap_take(&s->cur, '-');
    if (!imap_take_word(&s->cur, &what)) goto syntax;
    s->is_silent = slice_ieq(what, S("FLAGS.SILENT"));
    if (!s->is_silent && !slice_ieq(what, S("FLAGS"))) goto syntax;
    if (!imap_take_sp(&s->cur) ||
        !imap_take_flags(s, &s->store_flags, !is_remove && !s->no_new_keywords) || !take_end(s)) {
        goto syntax;
    }
    if (!writable(s)) return;
    imap_limit_set(s, &set, s->is_uid);
    if (s->store_flags && !(s->store_flags & ~s->no_permanent)) { // RFC 4314 4
        imap_finish(s, "NO", S("NOPERM"), S("You may not change these flags here."));
        return;
    }
    s->store_flags &= ~s->no_permanent;
    s->store_mode = is_add ? IMAP_STORE_ADD : is_remove ? IMAP_STORE_REMOVE : IMAP_STORE_SET;
    if (!imap_view_collect(s, &set, s->is_uid, 0, 0)) {
        imap_finish(s, "NO", S("LIMIT"), S("Out of memory."));
    } else if (!s->n_uids) {
        imap_finish(s, "OK", S(""), S("Nothing to store."));
    } else {
        ask_uids(s, IMAP_EV_STORE);
    }
    return;
syntax:
    bad(s);
}

static void copy(struct imap_server *s, enum imap_event_type t) {
    struct imap_set set;

    s->may_expunge = s->is_uid || t == IMAP_EV_MOVE;
    if (!take_uids(s, &set) || !imap_take_sp(&s->cur) || !imap_take_mailbox(s, &s->mailbox) ||
        !take_end(s)) {
        bad(s);
        return;
    }
    if (t == IMAP_EV_MOVE && !writable(s)) return;
    if (t == IMAP_EV_MOVE) imap_limit_set(s, &set, s->is_uid);
    if (!imap_view_collect(s, &set, s->is_uid, 0, 0)) {
        imap_finish(s, "NO", S("LIMIT"), S("Out of memory."));
    } else if (!s->n_uids) {
        imap_finish(s, "OK", S(""), S("No messages found."));
    } else if (imap_limit_allows(s, s->n_uids)) {
        ask_uids(s, t);
    }
}
static void cmd_copy(struct imap_server *s) { copy(s, IMAP_EV_COPY); }
static void cmd_move(struct imap_server *s) { copy(s, IMAP_EV_MOVE); }

static void expunge(struct imap_server *s, const struct imap_set *set) {
    if (!imap_view_collect(s, set, true, IMAP_DELETED, 0)) {
        imap_finish(s, "NO", S("LIMIT"), S("Out of memory."));
    } else if (s->n_uids || s->enabled & ON_CONDSTORE) { // HIGHESTMODSEQ is of all that there is
        if (s->is_uid) imap_limit_uids(s);
        ask_uids(s, IMAP_EV_EXPUNGE);
    } else {
        s->open = IMAP_EV_EXPUNGE; // nothing to ask
        imap_server_ok(s);
    }
}

static void cmd_expunge(struct imap_server *s) {
    struct imap_set set;

    s->may_expunge = true;
    if ((s->is_uid && !take_uids(s, &set)) || !take_end(s)) bad(s);
    else if (writable(s)) expunge(s, s->is_uid ? &set : NULL);
}

static void cmd_close(struct imap_server *s) {
    s->is_close = true;
    if (!take_end(s)) {
        bad(s);
    } else if (s->is_read_only || slice_ieq(s->verb, S("UNSELECT"))) {
        s->open = IMAP_EV_EXPUNGE;
        imap_server_ok(s);
    } else {
        expunge(s, NULL);
    }
}

static void cmd_noop(struct imap_server *s) {
    if (take_end(s)) poll_host(s);
    else bad(s);
}

static void cmd_idle(struct imap_server *s) {
    if (!take_end(s)) {
        bad(s);
    } else {
        s->may_expunge = true;
        imap_ask(s, IMAP_EV_POLL);
    }
}

/* --- dispatch ----------------------------------------------------------------------------------
 */

enum { ANY = 1, BEFORE = 2, AFTER = 4, SELECTED = 8, UID = 16 };

static const struct command {
    struct slice verb;
    unsigned when;
    void (*run)(struct imap_server *);
} commands[] = {
    {S_INIT("CAPABILITY"), ANY, cmd_capability},
    {S_INIT("NOOP"), ANY, cmd_noop},
    {S_INIT("LOGOUT"), ANY, cmd_logout},
    {S_INIT("ID"), ANY, cmd_id},
    {S_INIT("STARTTLS"), BEFORE, cmd_starttls},
    {S_INIT("LOGIN"), BEFORE, imap_cmd_login},
    {S_INIT("AUTHENTICATE"), BEFORE, imap_cmd_authenticate},
    {S_INIT("COMPRESS"), AFTER, cmd_compress},
    {S_INIT("ENABLE"), AFTER, imap_cmd_enable},
    {S_INIT("NAMESPACE"), AFTER, cmd_namespace},
    {S_INIT("SELECT"), AFTER, cmd_select},
    {S_INIT("EXAMINE"), AFTER, cmd_select},
    {S_INIT("CREATE"), AFTER, cmd_create},
    {S_INIT("DELETE"), AFTER, cmd_delete},
    {S_INIT("RENAME"), AFTER, cmd_rename},
    {S_INIT("SUBSCRIBE"), AFTER, cmd_subscribe},
    {S_INIT("UNSUBSCRIBE"), AFTER, cmd_unsubscribe},
    {S_INIT("LIST"), AFTER, cmd_list},
    {S_INIT("LSUB"), AFTER, cmd_lsub},
    {S_INIT("STATUS"), AFTER, imap_cmd_status},
    {S_INIT("APPEND"), AFTER, imap_cmd_append},
    {S_INIT("GETMETADATA"), AFTER, imap_cmd_getmetadata},
    {S_INIT("SETMETADATA"), AFTER, imap_cmd_setmetadata},
    {S_INIT("IDLE"), AFTER, cmd_idle},
    {S_INIT("NOTIFY"), AFTER, imap_cmd_notify},
    {S_INIT("GETQUOTA"), AFTER, imap_cmd_getquota},
    {S_INIT("GETQUOTAROOT"), AFTER, imap_cmd_getquotaroot},
    {S_INIT("SETQUOTA"), AFTER, imap_cmd_setquota},
    {S_INIT("GETACL"), AFTER, imap_cmd_getacl},
    {S_INIT("SETACL"), AFTER, imap_cmd_setacl},
    {S_INIT("DELETEACL"), AFTER, imap_cmd_deleteacl},
    {S_INIT("LISTRIGHTS"), AFTER, imap_cmd_listrights},
    {S_INIT("MYRIGHTS"), AFTER, imap_cmd_myrights},
    {S_INIT("CHECK"), SELECTED, cmd_noop},
    {S_INIT("CLOSE"), SELECTED, cmd_close},
    {S_INIT("UNSELECT"), SELECTED, cmd_close},
    {S_INIT("UIDBATCHES"), SELECTED, imap_cmd_uidbatches},
    {S_INIT("EXPUNGE"), SELECTED | UID, cmd_expunge},
    {S_INIT("SEARCH"), SELECTED | UID, imap_cmd_search},
    {S_INIT("SORT"), SELECTED | UID, imap_cmd_sort},
    {S_INIT("THREAD"), SELECTED | UID, imap_cmd_thread},
    {S_INIT("FETCH"), SELECTED | UID, imap_cmd_fetch},
    {S_INIT("STORE"), SELECTED | UID, cmd_store},
    {S_INIT("COPY"), SELECTED | UID, cmd_copy},
    {S_INIT("MOVE"), SELECTED | UID, cmd_move},
    {S_INIT("REPLACE"), SELECTED | UID, imap_cmd_append},
};

static const struct command *find(struct slice verb) {
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (slice_ieq(commands[i].verb, verb)) return &commands[i];
    }
    return NULL;
}

void imap_command(struct imap_server *s) {
    const struct command *c;
    struct slice word;
    bool is_in = s->user.n > 0;

    if (!s->reader.cmd.n) { // an empty line, as some clients send behind a refused literal
        s->bad_commands++;
        imap_command_over(s);
        return;
    }
    s->cur = (struct imap_cursor){.in = buf_slice(&s->reader.cmd), .arena = &s->arena};
    if (!imap_take_tag(&s->cur, &word)) {
        imap_finish_bad(s, "Missing tag.");
        return;
    }
    s->tag = arena_copy(&s->arena, word);
    if (s->reader.has_skipped) {
        imap_finish(s, "BAD", S("TOOBIG"), S("Literal is too large."));
        return;
    }
    if (!imap_take_sp(&s->cur) || !imap_take_word(&s->cur, &word)) {
        imap_finish_bad(s, "Missing command.");
        return;
    }
    if (slice_ieq(word, S("UID"))) {
        s->is_uid = true;
        if (!imap_take_sp(&s->cur) || !imap_take_word(&s->cur, &word)) {
            imap_finish_bad(s, "Missing command.");
            return;
        }
    }
    c = find(word);
    if (!c || (s->is_uid && !(c->when & UID))) {
        imap_finish_bad(s, "Unknown command.");
        return;
    }
    s->verb = c->verb;
    if ((c->when & BEFORE) && is_in) imap_finish_bad(s, "Already logged in.");
    else if ((c->when & (AFTER | SELECTED)) && !is_in) imap_finish_bad(s, "Not logged in.");
    else if ((c->when & SELECTED) && !s->is_selected) imap_finish_bad(s, "No mailbox is selected.");
    else if (s->enabled & ON_UIDONLY && c->when & UID && !s->is_uid && c->run != cmd_expunge)
        imap_finish(s, "BAD", S("UIDREQUIRED"), S("Only UIDs count."));
    else {
        // EXPUNGE may be told after everything but FETCH, STORE, SEARCH by number (RFC 3501 7.4.1)
        s->may_expunge =
            s->is_uid || !(slice_eq(c->verb, S("FETCH")) || slice_eq(c->verb, S("STORE")) ||
                           slice_eq(c->verb, S("SEARCH")) || slice_eq(c->verb, S("SORT")) ||
                           slice_eq(c->verb, S("THREAD")));
        c->run(s);
    }
}
