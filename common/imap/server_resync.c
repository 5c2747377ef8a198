#include <stdio.h>
#include <stdlib.h>

#include "imap/server_impl.h"

enum { VANISHED_LINE_MAX = 8000 }; /* bytes of one VANISHED, about */

static const struct {
    struct slice name;
    unsigned bits;
} features[] = {
    {S_INIT("CONDSTORE"), ON_CONDSTORE},      {S_INIT("QRESYNC"), ON_CONDSTORE | ON_QRESYNC},
    {S_INIT("UIDONLY"), ON_UIDONLY},          {S_INIT("UTF8=ACCEPT"), ON_UTF8}, // RFC 6855
    {S_INIT("IMAP4rev2"), ON_REV2 | ON_UTF8},                                   // RFC 9051
};

void imap_enable(struct imap_server *s, unsigned what) {
    bool is_new = what & ~s->enabled & ON_CONDSTORE;

    s->enabled |= what;
    if (is_new && s->is_selected) imap_view_tell_modseq(s); // RFC 7162 3.1.2.1
}

void imap_cmd_enable(struct imap_server *s) {
    unsigned n = 0, told = 0;
    struct slice word, words[COUNT_OF(features)];

    for (; imap_take_sp(&s->cur) && imap_take_atom(&s->cur, &word); n++) {
        for (size_t i = 0; i < COUNT_OF(features); i++) {
            if (!slice_ieq(word, features[i].name) || s->enabled_names & 1u << i) continue;
            imap_enable(s, features[i].bits);
            s->enabled_names |= 1u << i;
            words[told++] = features[i].name;
        }
    }
    if (!n || !imap_at_end(&s->cur)) {
        imap_finish_bad(s, "Expected capabilities.");
        return;
    }
    buf_add(&s->out, S("* ENABLED"));
    for (unsigned i = 0; i < told; i++) buf_addf(&s->out, " %.*s", SP(words[i]));
    buf_add(&s->out, S("\r\n"));
    imap_finish(s, "OK", S(""), S("Enabled."));
}

/* --- arguments ---------------------------------------------------------------------------------
 */

static bool take_modseq(struct imap_server *s, uint64_t *out) {
    return imap_take_sp(&s->cur) && imap_take_number(&s->cur, INT64_MAX, out);
}

static bool refuse(struct imap_server *s, const char *why) {
    s->cur.why = why;
    return false;
}

/* "(uidvalidity modseq [known-uids] [(numbers uids)])" (RFC 7162 3.2.5). The last part helps a
 * server that does not remember what went; it is read and not used. */
static bool take_qresync(struct imap_server *s) {
    struct imap_set numbers, uids;
    uint64_t validity;

    if (!(s->enabled & ON_QRESYNC)) return refuse(s, "QRESYNC was not enabled");
    if (!imap_take_sp(&s->cur) || !imap_take(&s->cur, '(') ||
        !imap_take_number(&s->cur, UINT32_MAX, &validity) || !take_modseq(s, &s->since) ||
        !validity || !s->since)
        return false;
    s->resync_validity = (uint32_t)validity;
    s->is_resync = true;
    if (imap_take_sp(&s->cur) && !(s->cur.in.n && s->cur.in.p[0] == '(')) {
        if (!imap_take_set(&s->cur, IMAP_SET_MAX, &s->resync_known)) return false;
        imap_take_sp(&s->cur);
    }
    if (s->enabled & ON_UIDONLY && s->cur.in.n && s->cur.in.p[0] == '(')
        return refuse(s, "[UIDREQUIRED] Only UIDs count.");
    if (imap_take(&s->cur, '(') &&
        (!imap_take_set(&s->cur, IMAP_SET_MAX, &numbers) || !imap_take_sp(&s->cur) ||
         !imap_take_set(&s->cur, IMAP_SET_MAX, &uids) || !imap_take(&s->cur, ')')))
        return false;
    return imap_take(&s->cur, ')');
}

bool imap_take_select_params(struct imap_server *s) {
    struct slice word;

    s->is_resync = false;
    s->resync_known = (struct imap_set){0};
    if (!imap_take_sp(&s->cur)) return true;
    if (!imap_take(&s->cur, '(')) return false;
    do {
        if (!imap_take_word(&s->cur, &word)) return false;
        if (slice_ieq(word, S("CONDSTORE"))) imap_enable(s, ON_CONDSTORE);
        else if (!slice_ieq(word, S("QRESYNC"))) return refuse(s, "Unknown parameter of SELECT");
        else if (!take_qresync(s)) return false;
    } while (imap_take_sp(&s->cur));
    return imap_take(&s->cur, ')');
}

bool imap_take_fetch_modifiers(struct imap_server *s) {
    struct fetch_state *f = &s->fetch;
    struct slice word;

    if (!imap_take_sp(&s->cur)) return true;
    if (!imap_take(&s->cur, '(')) return false;
    do {
        if (!imap_take_word(&s->cur, &word)) return false;
        if (slice_ieq(word, S("CHANGEDSINCE"))) {
            if (!take_modseq(s, &f->since)) return false;
            f->has_since = true;
        } else if (slice_ieq(word, S("VANISHED"))) {
            f->wants_vanished = true;
        } else if (slice_ieq(word, S("PARTIAL"))) {
            if (!s->is_uid) return refuse(s, "PARTIAL needs UID FETCH");
            if (!imap_take_sp(&s->cur) || !imap_take_partial(s, &f->partial)) return false;
            f->has_partial = true;
        } else {
            return refuse(s, "Unknown modifier of FETCH");
        }
    } while (imap_take_sp(&s->cur));
    if (f->wants_vanished && (!s->is_uid || !f->has_since || !(s->enabled & ON_QRESYNC)))
        return refuse(s, "VANISHED needs UID FETCH, CHANGEDSINCE and QRESYNC");
    return imap_take(&s->cur, ')');
}

bool imap_take_store_modifiers(struct imap_server *s) {
    struct slice word;

    s->has_since = false;
    if (!imap_take(&s->cur, '(')) return true;
    if (!imap_take_word(&s->cur, &word) || !slice_ieq(word, S("UNCHANGEDSINCE")))
        return refuse(s, "Unknown modifier of STORE");
    if (!take_modseq(s, &s->since) || !imap_take(&s->cur, ')') || !imap_take_sp(&s->cur))
        return false;
    s->has_since = true;
    imap_enable(s, ON_CONDSTORE);
    return true;
}

/* --- answers -----------------------------------------------------------------------------------
 */

void imap_select_done(struct imap_server *s) {
    imap_finish(s, "OK", s->is_read_only ? S("READ-ONLY") : S("READ-WRITE"),
                slice_ieq(s->verb, S("EXAMINE")) ? S("Examine completed.")
                                                 : S("Select completed."));
}

void imap_finish_modseq(struct imap_server *s, struct slice text) {
    char code[48] = "";

    if (s->enabled & ON_CONDSTORE)
        snprintf(code, sizeof code, "HIGHESTMODSEQ %llu", (unsigned long long)s->modseq);
    s->modseq_told = s->modseq;
    imap_finish(s, "OK", slice_str(code), text);
}

void imap_server_modified(struct imap_server *s, const uint32_t *uids, size_t n) {
    if (s->open != IMAP_EV_STORE || !s->has_since) return;
    s->knows_modified = true;
    if (!n) return;
    free(s->modified);
    s->n_modified = 0;
    s->modified = malloc(n * sizeof *s->modified);
    for (size_t i = 0; s->modified && i < n; i++) {
        size_t at = imap_view_find(s, uids[i]);

        if (at < s->n_msgs && s->msgs[at].uid == uids[i])
            s->modified[s->n_modified++] = s->is_uid ? uids[i] : (uint32_t)at + 1;
    }
}

void imap_finish_store(struct imap_server *s) {
    imap_finish(s, "OK", S(""), S("Store completed."));
    if (!s->n_modified) return;
    buf_reset(&s->tagged);
    buf_add(&s->tagged, S("OK [MODIFIED "));
    imap_set_put(&s->tagged, s->modified, s->n_modified);
    buf_add(&s->tagged, S("] Conditional store failed for some."));
}

/* --- who was away ------------------------------------------------------------------------------
 */

void imap_ask_vanished(struct imap_server *s, uint64_t since) {
    imap_ask(s, IMAP_EV_VANISHED)->unchanged_since = since;
}

/* One growing line of ranges, begun anew when it is long. */
struct line {
    struct buf *out;
    size_t from;
};

static void put_range(struct line *l, uint32_t first, uint32_t last) {
    if (l->from && l->out->n - l->from > VANISHED_LINE_MAX) {
        buf_add(l->out, S("\r\n"));
        l->from = 0;
    }
    buf_add(l->out, l->from ? S(",") : S("* VANISHED (EARLIER) "));
    if (!l->from) l->from = l->out->n;
    buf_addf(l->out, first == last ? "%u" : "%u:%u", first, last);
}

static void end_line(struct line *l) {
    if (l->from) buf_add(l->out, S("\r\n"));
}

/* All of `known` that is not in the view. */
static void put_gaps(struct imap_server *s, const struct imap_set *known) {
    struct line l = {.out = &s->out};

    for (size_t k = 0; k < known->n; k++) {
        uint64_t from = known->v[k].first, end = (uint64_t)known->v[k].last + 1;

        if (end > s->uidnext) end = s->uidnext;

        for (size_t i = imap_view_find(s, (uint32_t)from); from < end; i++) {
            uint64_t uid = i < s->n_msgs && s->msgs[i].uid < end ? s->msgs[i].uid : end;

            if (uid > from) put_range(&l, (uint32_t)from, (uint32_t)uid - 1);
            from = uid + 1;
        }
    }
    end_line(&l);
}

static void put_listed(struct imap_server *s, const struct imap_set *known, const uint32_t *uids,
                       size_t n) {
    struct line l = {.out = &s->out};
    uint32_t first = 0, last = 0;

    for (size_t i = 0; i < n; i++) {
        size_t at = imap_view_find(s, uids[i]);

        if (!imap_set_has(known, uids[i]) || (at < s->n_msgs && s->msgs[at].uid == uids[i]))
            continue;
        if (first && uids[i] == last + 1) {
            last = uids[i];
            continue;
        }
        if (first) put_range(&l, first, last);
        first = last = uids[i];
    }
    if (first) put_range(&l, first, last);
    end_line(&l);
}

void imap_server_vanished(struct imap_server *s, const uint32_t *uids, size_t n, bool is_all) {
    bool is_fetch = slice_ieq(s->verb, S("FETCH"));
    struct imap_set *known = is_fetch ? &s->fetch.set : &s->resync_known;
    struct imap_range all = {1, s->uidnext > 1 ? s->uidnext - 1 : 1};
    struct imap_set every = {.v = &all, .n = 1};

    if (s->open != IMAP_EV_VANISHED) return;
    s->open = IMAP_EV_NONE;
    if (known->v) imap_set_resolve(known, all.last);
    else known = &every;
    if (is_all && s->uidnext > 1) put_gaps(s, known);
    else put_listed(s, known, uids, n);
    if (is_fetch) imap_fetch_start(s);
    else if (!imap_fetch_changed(s, &s->resync_known, s->since)) imap_select_done(s);
}
