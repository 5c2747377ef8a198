#include "store/acl.h"

#include <stdlib.h>

enum { TEXT_MAX = 64 * 1024 };

static struct slice text_of(const struct annotations *a) {
    for (size_t i = 0; i < a->n; i++)
        if (slice_eq(a->v[i].name, ACL_ANNOTATION)) return a->v[i].value;
    return S("");
}

enum err_code acl_read(struct store *s, struct slice mailbox, struct acl *out, struct err *e) {
    struct slice text, line;
    enum err_code code;

    out->n = 0;
    code = annotations_read(s, mailbox, &out->notes, e);
    if (code != OK) return code;
    for (text = text_of(&out->notes); out->n < ACL_ENTRIES_MAX && slice_line(&text, &line);) {
        struct acl_entry *entry = &out->v[out->n];
        struct slice letters;

        if (slice_cut(line, ' ', &entry->identifier, &letters) && entry->identifier.n &&
            acl_parse(letters, &entry->rights))
            out->n++;
    }
    return OK;
}

void acl_release(struct acl *a) {
    annotations_release(&a->notes);
    a->n = 0;
}

unsigned acl_rights(const struct acl *a, struct slice user) {
    unsigned given = 0, taken = 0;

    for (size_t i = 0; i < a->n; i++) {
        struct slice who = a->v[i].identifier;
        bool is_negative = slice_starts(who, S("-"));

        if (is_negative) who = slice_from(who, 1);
        if (!slice_ieq(who, user) && !slice_eq(who, S("anyone"))) continue;
        if (is_negative) taken |= a->v[i].rights;
        else given |= a->v[i].rights;
    }
    return given & ~taken;
}

static void put(struct buf *b, struct slice who, unsigned rights) {
    if (!rights) return;
    buf_add(b, who);
    buf_addc(b, ' ');
    acl_put(b, rights, false);
    buf_addc(b, '\n');
}

static unsigned changed(unsigned old, enum acl_change how, unsigned rights) {
    return how == ACL_SET ? rights : how == ACL_ADD ? old | rights : old & ~rights;
}

static enum err_code write_text(struct store *s, struct slice mailbox, const struct buf *text,
                                struct err *e) {
    struct annotation a = {.name = ACL_ANNOTATION};

    if (text->bad) return err_set(e, ERR_LIMIT, "these rights are too long");
    if (text->n) a.value = buf_slice(text);
    return annotations_change(s, mailbox, &a, 1, e);
}

enum err_code acl_change(struct store *s, struct slice mailbox, struct slice who,
                         enum acl_change how, unsigned rights, struct err *e) {
    struct acl *a = malloc(sizeof *a);
    bool is_found = false;
    struct buf text;
    enum err_code code;

    if (!a) return err_set(e, ERR_MEMORY, "no memory for rights");
    buf_init(&text, TEXT_MAX);
    code = acl_read(s, mailbox, a, e);
    if (code == OK) {
        for (size_t i = 0; i < a->n; i++) {
            bool is_it = slice_ieq(a->v[i].identifier, who);

            is_found |= is_it;
            put(&text, a->v[i].identifier,
                is_it ? changed(a->v[i].rights, how, rights) : a->v[i].rights);
        }
        if (!is_found && a->n == ACL_ENTRIES_MAX)
            code = err_set(e, ERR_LIMIT, "a mailbox can be shared with %d", ACL_ENTRIES_MAX);
        if (!is_found) put(&text, who, changed(0, how, rights));
    }
    if (code == OK) code = write_text(s, mailbox, &text, e);
    acl_release(a);
    buf_release(&text);
    free(a);
    return code;
}

struct slice acl_parent(struct store *s, struct slice mailbox) {
    for (;;) {
        size_t at = slice_rchr(mailbox, '/');

        if (at == SLICE_NONE) return S("INBOX");
        mailbox = slice_first(mailbox, at);
        if (store_has(s, mailbox)) return mailbox;
    }
}

enum err_code acl_inherit(struct store *s, struct slice mailbox, struct err *e) {
    struct annotations notes;
    struct buf text;
    enum err_code code = annotations_read(s, acl_parent(s, mailbox), &notes, e);

    if (code != OK) return code;
    buf_init(&text, TEXT_MAX);
    buf_add(&text, text_of(&notes));
    if (text.n || text.bad) code = write_text(s, mailbox, &text, e);
    buf_release(&text);
    annotations_release(&notes);
    return code;
}
