#include "deliver/local.h"

#include <stdlib.h>

#include "mime/header.h"
#include "store/quota.h"

struct home {
    char *path;
    struct store *store;
};

struct local_batch {
    struct store_batch *batch;
    struct home homes[LOCAL_HOMES_MAX];
    size_t home_count;
};

struct local_batch *local_batch_new(void) {
    struct local_batch *b = calloc(1, sizeof *b);

    if (b) b->batch = store_batch_new();
    if (b && !b->batch) {
        free(b);
        b = NULL;
    }
    return b;
}

void local_batch_free(struct local_batch *b) {
    if (!b) return;
    store_batch_free(b->batch);
    for (size_t i = 0; i < b->home_count; i++) {
        store_close(b->homes[i].store);
        free(b->homes[i].path);
    }
    free(b);
}

static enum err_code find_store(struct local_batch *b, const struct account *to, struct store **out,
                                struct err *e) {
    struct home *h = &b->homes[b->home_count];
    const char *path = to->home;
    enum err_code code;

    for (size_t i = 0; i < b->home_count; i++) {
        if (strcmp(b->homes[i].path, path) == 0) {
            *out = b->homes[i].store;
            return OK;
        }
    }
    if (b->home_count == LOCAL_HOMES_MAX)
        return err_mail(e, ERR_LIMIT, STATUS(4, 3, 0), "one batch goes to at most %d mailboxes",
                        LOCAL_HOMES_MAX);
    h->path = strdup(path);
    if (!h->path) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory to deliver");
    code = store_open(path, &h->store, e);
    if (code != OK) {
        free(h->path);
        return code;
    }
    store_limit(h->store, to->quota_octets, to->quota_messages);
    b->home_count++;
    *out = h->store;
    return OK;
}

/* Rights, a missing disk, a file in the place of a directory: somebody can mend that, and the mail is
 * still there then. What is permanent says so itself (a full mailbox, 5.2.2). */
static enum err_code may_pass(enum err_code code, struct err *e) {
    if (code != OK && e && !e->status.cls) e->status = STATUS(4, 3, 0);
    return code;
}

enum err_code local_batch_add(struct local_batch *b, const struct account *to, struct slice sender,
                              struct slice message, struct slice key, wall_t date, bool retried,
                              size_t *item, struct err *e) {
    struct store *s = NULL;
    struct buf head;
    struct slice parts[2];
    enum err_code code = find_store(b, to, &s, e);

    if (code != OK) return may_pass(code, e);
    buf_init(&head, 4096);
    buf_addf(&head, "Return-Path: <%.*s>\r\nDelivered-To: %s\r\n", SP(sender), to->name);
    parts[0] = buf_slice(&head);
    parts[1] = message;
    if (head.bad) code = err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory to deliver");
    else
        code = store_batch_add(
            b->batch, s,
            &(struct delivery){
                .parts = parts, .n_parts = 2, .key = key, .date = date, .may_be_there = retried},
            item, e);
    buf_release(&head);
    return may_pass(code, e);
}

void local_batch_commit(struct local_batch *b) { store_batch_commit(b->batch, NULL); }

enum err_code local_batch_result(const struct local_batch *b, size_t item, struct err *e) {
    enum err_code code = store_batch_result(b->batch, item, e);

    return code == ERR_EXISTS ? OK : may_pass(code, e);
}

bool local_is_loop(struct slice message, const struct account *to) {
    struct header_iter it;
    struct header_field f;

    for (header_begin(&it, message); header_next(&it, &f);)
        if (slice_ieq(f.name, S("Delivered-To")) &&
            slice_ieq(slice_trim(f.value), slice_str(to->name)))
            return true;
    return false;
}
