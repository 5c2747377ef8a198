/* imap_account: what IMAP asks of mailboxes and of the account: names, rights, annotations, quota.
 */
#include <stdlib.h>

#include "serve/imap_host_impl.h"
#include "store/quota.h"

/* --- mailboxes -------------------------------------------------------------------------------- */

/* Of others; the names that the user subscribed to are among his own, as missing ones. */
struct foreign {
    struct imap_host *h;
    struct store_names *own;
};

static void tell_foreign(void *user, struct slice name, bool is_selectable) {
    struct foreign *f = user;
    unsigned attributes = is_selectable ? 0 : IMAP_NOSELECT;

    for (size_t i = 0; i < f->own->n; i++) {
        struct store_name *own = &f->own->v[i];

        if (!own->is_missing || !own->is_subscribed || !slice_eq(slice_str(own->name), name))
            continue;
        attributes |= IMAP_SUBSCRIBED;
        own->is_subscribed = false; /* said */
    }
    imap_server_list_item(f->h->engine, name, attributes);
}

void imap_host_list(struct imap_host *h) {
    struct store_names l;
    struct err e = {0};

    if (store_list(h->store, &l, &e) != OK) {
        imap_host_refuse(h, &e, S("NONEXISTENT"));
        return;
    }
    share_list(&h->share, tell_foreign, &(struct foreign){h, &l});
    for (size_t i = 0; i < l.n; i++)
        if (!l.v[i].is_missing || l.v[i].is_subscribed)
            imap_server_list_item(h->engine, slice_str(l.v[i].name),
                                  l.v[i].use | (l.v[i].is_subscribed ? IMAP_SUBSCRIBED : 0) |
                                      (l.v[i].is_missing ? IMAP_NONEXISTENT : 0));
    store_names_release(&l);
    imap_server_ok(h->engine);
}

/* The octets of all messages in the form that goes over the wire (RFC 8438), exact: where neither
 * file name nor index knows a size the message is read. `*deleted`: of those that are \Deleted
 * (RFC 9208 4.1.4). */
static enum err_code size_of(const struct place *p, uint64_t *sum, uint64_t *deleted,
                             struct err *e) {
    struct mailbox *m;
    const struct imap_msg *v;
    size_t n;
    enum err_code code = mailbox_open(p->store, p->name, MAILBOX_READ, &m, e);

    *sum = *deleted = 0;
    if (code != OK) return code;
    v = mailbox_messages(m, &n);
    for (size_t i = 0; i < n; i++) {
        uint64_t size = v[i].size_bytes;

        /* One that vanished meanwhile counts nothing. */
        if (size == STORE_SIZE_UNKNOWN && mailbox_size(m, v[i].uid, &size, NULL) != OK) continue;
        *sum += size;
        if (v[i].flags & STORE_DELETED) *deleted += size;
    }
    mailbox_close(m);
    return OK;
}

void imap_host_status(struct imap_host *h, const struct imap_event *ev) {
    struct mailbox_status st;
    char id[MAILBOXID_MAX];
    uint64_t size = 0, deleted = 0;
    struct place p;
    struct err e = {0};
    enum err_code code = share_find(&h->share, ev->mailbox, ACL_READ, false, &p, &e);

    if (code == OK) {
        code = mailbox_status(p.store, p.name, &st, &e);
        if (code == OK && ev->items & (IMAP_STATUS_SIZE | IMAP_STATUS_DELETED_STORAGE))
            code = size_of(&p, &size, &deleted, &e);
        share_leave(&p);
    }
    if (code != OK) {
        imap_host_refuse(h, &e, S("NONEXISTENT"));
        return;
    }
    imap_server_status(h->engine,
                       &(struct imap_status){.messages = st.messages,
                                             .recent = st.recent,
                                             .uidnext = st.uidnext,
                                             .uidvalidity = st.uidvalidity,
                                             .unseen = st.unseen,
                                             .size_bytes = size,
                                             .highest_modseq = st.highest_modseq,
                                             .deleted = st.deleted,
                                             .deleted_bytes = deleted,
                                             .mailboxid = imap_host_mailboxid(st.uidvalidity, id)});
}

static void tell_created(struct imap_host *h, const struct place *p) {
    struct mailbox_status st;
    char id[MAILBOXID_MAX];

    if (mailbox_status(p->store, p->name, &st, NULL) != OK) imap_server_ok(h->engine);
    else imap_server_created(h->engine, imap_host_mailboxid(st.uidvalidity, id));
}

void imap_host_create(struct imap_host *h, const struct imap_event *ev) {
    struct place p;
    struct err e = {0};
    enum err_code code = share_find(&h->share, ev->mailbox, ACL_CREATE, true, &p, &e);

    if (code == OK) {
        code = store_create(p.store, p.name, &e);
        if (code == OK) acl_inherit(p.store, p.name, NULL);
        if (code == OK && ev->items && p.is_own)
            code = store_set_use(p.store, p.name, ev->items & IMAP_USES, &e);
        if (code == OK) tell_created(h, &p);
        share_leave(&p);
    }
    if (code != OK) imap_host_refuse(h, &e, S("NONEXISTENT"));
}

static enum err_code rename_mailbox(struct imap_host *h, const struct imap_event *ev,
                                    struct err *e) {
    struct place from, to;
    enum err_code code = share_find(&h->share, ev->mailbox, ACL_DELETE, false, &from, e);

    if (code != OK) return code;
    code = share_find(&h->share, ev->new_name, ACL_CREATE, true, &to, e);
    if (code == OK) {
        if (strcmp(from.owner, to.owner) != 0)
            code = err_set(e, ERR_UNSUPPORTED, "a mailbox stays with its owner");
        else code = store_rename(from.store, from.name, to.name, e);
        share_leave(&to);
    }
    share_leave(&from);
    return code;
}

void imap_host_mailbox(struct imap_host *h, const struct imap_event *ev) {
    struct place p;
    struct err e = {0};
    enum err_code code = OK;

    switch (ev->type) {
    case IMAP_EV_DELETE:
        code = share_find(&h->share, ev->mailbox, ACL_DELETE, false, &p, &e);
        if (code != OK) break;
        code = store_delete(p.store, p.name, &e);
        share_leave(&p);
        break;
    case IMAP_EV_RENAME: code = rename_mailbox(h, ev, &e); break;
    case IMAP_EV_SUBSCRIBE:
        code = share_find(&h->share, ev->mailbox, ACL_LOOKUP, false, &p, &e);
        if (code != OK) break;
        share_leave(&p);
        code = store_subscribe(h->store, ev->mailbox, true, &e);
        break;
    default: code = store_subscribe(h->store, ev->mailbox, false, &e); break;
    }
    if (code == OK) imap_server_ok(h->engine);
    else imap_host_refuse(h, &e, S("NONEXISTENT"));
}

/* --- rights ----------------------------------------------------------------------------------- */

void imap_host_get_acl(struct imap_host *h, const struct imap_event *ev) {
    struct acl *a = malloc(sizeof *a);
    struct acl_entry v[ACL_ENTRIES_MAX + 1];
    struct place p;
    struct err e = {0};
    enum err_code code = a ? share_find(&h->share, ev->mailbox, ACL_ADMIN, false, &p, &e)
                           : err_set(&e, ERR_MEMORY, "no memory for rights");

    if (code == OK) {
        code = acl_read(p.store, p.name, a, &e);
        if (code == OK) {
            v[0] = (struct acl_entry){slice_str(p.owner), ACL_ALL};
            memcpy(v + 1, a->v, a->n * sizeof *v);
            imap_server_acl(h->engine, v, a->n + 1);
            acl_release(a);
        }
        share_leave(&p);
    }
    free(a);
    if (code != OK) imap_host_refuse(h, &e, S("NONEXISTENT"));
}

void imap_host_set_acl(struct imap_host *h, const struct imap_event *ev) {
    struct place p;
    struct err e = {0};
    enum err_code code = share_find(&h->share, ev->mailbox, ACL_ADMIN, false, &p, &e);

    if (code == OK) {
        code = share_set(&h->share, &p, ev->user, ev->acl_change, ev->items, &e);
        share_leave(&p);
    }
    if (code == OK) imap_server_ok(h->engine);
    else imap_host_refuse(h, &e, S("NONEXISTENT"));
}

/* MYRIGHTS, and LISTRIGHTS: the owner has all of them for ever, of others all can be changed. */
void imap_host_rights(struct imap_host *h, const struct imap_event *ev) {
    bool is_mine = ev->type == IMAP_EV_MY_RIGHTS, is_owner = false;
    char name[ACCOUNT_NAME_MAX + 1];
    struct place p;
    struct err e = {0};
    enum err_code code = share_find(&h->share, ev->mailbox, is_mine ? 0 : ACL_ADMIN, false, &p, &e);

    if (code == OK) {
        if (!store_has(p.store, p.name) || !p.rights)
            code = err_set(&e, ERR_NOT_FOUND, "there is no such mailbox");
        if (!is_mine && accounts_name(h->share.accounts, ev->user, name, NULL) == OK)
            is_owner = strcmp(name, p.owner) == 0;
        share_leave(&p);
    }
    if (code != OK) imap_host_refuse(h, &e, S("NONEXISTENT"));
    else imap_server_rights(h->engine, is_mine ? p.rights : is_owner ? ACL_ALL : 0);
}

/* --- annotations and quota -------------------------------------------------------------------- */

/* Those of others stay theirs. */
static bool is_his_own(struct imap_host *h, struct slice name) {
    if (!share_is_foreign(name)) return true;
    imap_server_no(h->engine, S("NOPERM"), S("Only the owner of the mailbox may."));
    return false;
}

void imap_host_get_metadata(struct imap_host *h, const struct imap_event *ev) {
    struct annotations a;
    struct err e = {0};

    if (!is_his_own(h, ev->mailbox)) return;
    if (annotations_read(h->store, ev->mailbox, &a, &e) != OK) {
        imap_host_refuse(h, &e, S("NONEXISTENT"));
        return;
    }
    for (size_t i = 0; i < a.n; i++) imap_server_annotation(h->engine, a.v[i].name, a.v[i].value);
    annotations_release(&a);
    imap_server_ok(h->engine);
}

void imap_host_set_metadata(struct imap_host *h, const struct imap_event *ev) {
    struct annotation v[IMAP_ANNOTATIONS_MAX];
    struct err e = {0};

    if (!is_his_own(h, ev->mailbox)) return;
    for (size_t i = 0; i < ev->n_annotations; i++) {
        if (slice_ieq(ev->annotations[i].name, ACL_ANNOTATION)) {
            imap_server_no(h->engine, S("NOPERM"), S("SETACL changes this."));
            return;
        }
        v[i] = (struct annotation){ev->annotations[i].name, ev->annotations[i].value};
    }
    if (annotations_change(h->store, ev->mailbox, v, ev->n_annotations, &e) == OK)
        imap_server_ok(h->engine);
    else if (e.code == ERR_LIMIT)
        imap_server_no(h->engine, S("METADATA TOOMANY"), slice_str(e.msg));
    else imap_host_refuse(h, &e, S("NONEXISTENT"));
}

void imap_host_quota(struct imap_host *h, const struct imap_event *ev) {
    struct quota q;

    if (!is_his_own(h, ev->mailbox)) return;
    if (ev->mailbox.n && !store_has(h->store, ev->mailbox))
        imap_server_no(h->engine, S("NONEXISTENT"), S("There is no such mailbox."));
    else if (quota_read(h->store, &q))
        imap_server_quota(h->engine,
                          &(struct imap_quota){q.octets, q.octets_max, q.messages, q.messages_max});
    else imap_server_quota(h->engine, NULL);
}
