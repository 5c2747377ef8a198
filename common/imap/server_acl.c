#include "imap/acl.h"
#include "imap/server_impl.h"

/* ACL (RFC 4314): who may do what with a mailbox. */

enum { IDENTIFIER_MAX = 320 };

static bool refuse(struct imap_server *s, const char *why) {
    s->cur.why = why;
    return false;
}

/* " mailbox", and where `who` is given " identifier". */
static bool take_names(struct imap_server *s, struct slice *who) {
    if (!imap_take_sp(&s->cur) || !imap_take_mailbox(s, &s->mailbox)) return false;
    if (!who) return true;
    if (!imap_take_sp(&s->cur) || !imap_take_astring(&s->cur, who)) return false;
    return (who->n && who->n <= IDENTIFIER_MAX) || refuse(s, "That is no name of a user");
}

static struct imap_event *ask(struct imap_server *s, enum imap_event_type t, struct slice who) {
    struct imap_event *ev = imap_ask(s, t);

    ev->mailbox = s->mailbox;
    ev->user = s->identifier = who;
    return ev;
}

void imap_cmd_getacl(struct imap_server *s) {
    if (take_names(s, NULL) && imap_at_end(&s->cur)) ask(s, IMAP_EV_GET_ACL, S(""));
    else imap_finish_bad(s, s->cur.why);
}

void imap_cmd_myrights(struct imap_server *s) {
    if (take_names(s, NULL) && imap_at_end(&s->cur)) ask(s, IMAP_EV_MY_RIGHTS, S(""));
    else imap_finish_bad(s, s->cur.why);
}

void imap_cmd_listrights(struct imap_server *s) {
    struct slice who;

    if (take_names(s, &who) && imap_at_end(&s->cur)) ask(s, IMAP_EV_LIST_RIGHTS, who);
    else imap_finish_bad(s, s->cur.why);
}

void imap_cmd_setacl(struct imap_server *s) {
    struct slice who, letters;
    enum acl_change how = ACL_SET;
    struct imap_event *ev;
    unsigned rights;

    if (!take_names(s, &who) || !imap_take_sp(&s->cur) || !imap_take_astring(&s->cur, &letters) ||
        !imap_at_end(&s->cur)) {
        imap_finish_bad(s, s->cur.why);
        return;
    }
    if (slice_starts(letters, S("+"))) how = ACL_ADD;
    if (slice_starts(letters, S("-"))) how = ACL_TAKE;
    if (!acl_parse(slice_from(letters, how != ACL_SET), &rights)) {
        imap_finish_bad(s, "There is no such right.");
        return;
    }
    ev = ask(s, IMAP_EV_SET_ACL, who);
    ev->items = rights;
    ev->acl_change = how;
}

void imap_cmd_deleteacl(struct imap_server *s) {
    struct slice who;

    if (take_names(s, &who) && imap_at_end(&s->cur)) ask(s, IMAP_EV_SET_ACL, who);
    else imap_finish_bad(s, s->cur.why);
}

/* --- answers -----------------------------------------------------------------------------------
 */

static void put_name(struct imap_server *s, struct slice name) {
    buf_addc(&s->out, ' ');
    imap_put_nstring(&s->out, name);
}

void imap_server_acl(struct imap_server *s, const struct acl_entry *v, size_t n) {
    if (s->open != IMAP_EV_GET_ACL) return;
    s->open = IMAP_EV_NONE;
    buf_add(&s->out, S("* ACL "));
    imap_put_mailbox(s, s->mailbox);
    for (size_t i = 0; i < n; i++) {
        put_name(s, v[i].identifier);
        buf_addc(&s->out, ' ');
        acl_put(&s->out, v[i].rights, true);
    }
    buf_add(&s->out, S("\r\n"));
    imap_finish(s, "OK", S(""), S("Getacl completed."));
}

void imap_server_rights(struct imap_server *s, unsigned rights) {
    bool is_list = s->open == IMAP_EV_LIST_RIGHTS;

    if (!is_list && s->open != IMAP_EV_MY_RIGHTS) return;
    s->open = IMAP_EV_NONE;
    buf_add(&s->out, is_list ? S("* LISTRIGHTS ") : S("* MYRIGHTS "));
    imap_put_mailbox(s, s->mailbox);
    if (is_list) put_name(s, s->identifier);
    buf_addc(&s->out, ' ');
    if (rights || !is_list) acl_put(&s->out, rights, true);
    else buf_add(&s->out, S("\"\" l r s w i p k x t e a c d")); // none is always there
    buf_add(&s->out, S("\r\n"));
    imap_finish(s, "OK", S(""), is_list ? S("Listrights completed.") : S("Myrights completed."));
}
