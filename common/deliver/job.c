#include "deliver/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mime/legal.h"
#include "queue/dsn.h"
#include "queue/schedule.h"
#include "sys/clock.h"

enum { ARENA_MAX = 64 * 1024 * 1024, BAD_AGAIN_S = 3600 };

struct slice job_domain(struct slice address) {
    size_t at = slice_rchr(address, '@');

    return at == SLICE_NONE ? S("") : slice_from(address, at + 1);
}

bool job_is_pending(const struct job *j, size_t i) {
    return queue_msg_state(j->msg, i) == QUEUE_PENDING;
}

bool job_is_local(const struct runner *r, const struct job *j, size_t i) {
    return directory_is_local(r->directory, job_domain(j->env.rcpts[i].address));
}

static void set_text(struct verdict *v, const char *text) {
    snprintf(v->text, sizeof v->text, "%s", text);
}

void job_set(struct job *j, size_t i, enum smtp_class class, struct mail_status st,
             const char *text) {
    j->verdicts[i] = (struct verdict){.class = class, .status = st};
    set_text(&j->verdicts[i], text);
    j->touched[i] = true;
}

void job_set_err(struct job *j, size_t i, const struct err *e) {
    bool temporary = err_is_temporary(e);
    struct mail_status st = e->status;

    if (st.cls == 0) st = temporary ? STATUS(4, 3, 0) : STATUS(5, 3, 0);
    job_set(j, i, temporary ? SMTP_CLASS_TEMPORARY : SMTP_CLASS_PERMANENT, st, e->msg);
}

bool job_open(struct runner *r, struct job *j, struct queue_msg *m) {
    struct err e = {0};
    size_t n;

    *j = (struct job){.msg = m};
    arena_init(&j->arena, ARENA_MAX);
    if (queue_msg_envelope(r->queue, m, &j->arena, &j->env, &e) != OK) {
        log_event(r->log, LEVEL_ERROR, "cannot read an envelope", "id", slice_str(queue_msg_id(m)),
                  "why", slice_str(e.msg), NULL);
        j->bad = true;
        return false;
    }
    n = j->env.rcpt_count;
    j->verdicts = arena_new(&j->arena, n * sizeof *j->verdicts);
    j->touched = arena_new(&j->arena, n * sizeof *j->touched);
    j->noted = arena_new(&j->arena, n * sizeof *j->noted);
    j->bad = j->arena.bad;
    return !j->bad;
}

/* A Maildir has LF line ends: what is binary would lose which were bare. What cannot be taken apart
 * is stored as it is. */
static void make_storable(struct job *j) {
    struct arena a;
    struct buf out;

    arena_init(&a, ARENA_MAX);
    buf_init(&out, (size_t)LOCAL_MESSAGE_MAX);
    if (legal_make_storable(&a, slice_of(j->octets, (size_t)j->size), &out, NULL) == OK) {
        size_t n;
        char *p = buf_take(&out, &n);

        if (p) {
            free(j->octets);
            j->octets = p;
            j->size = n;
        }
    }
    buf_release(&out);
    arena_release(&a);
}

enum err_code job_load(struct job *j, struct err *e) {
    uint64_t at, done = 0;
    int fd;

    if (j->octets) return OK;
    queue_msg_body(j->msg, &fd, &at, &j->size);
    if (j->size > LOCAL_MESSAGE_MAX)
        return err_mail(e, ERR_LIMIT, STATUS(5, 3, 4), "the message is too large");
    j->octets = malloc((size_t)j->size + 1);
    if (!j->octets) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for the message");
    while (done < j->size) {
        ssize_t n = pread(fd, j->octets + done, (size_t)(j->size - done), (off_t)(at + done));

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            free(j->octets);
            j->octets = NULL;
            return err_sys(e, "cannot read segment %s", queue_msg_segment(j->msg));
        }
        done += (uint64_t)n;
    }
    if (j->env.is_binary) make_storable(j);
    return OK;
}

void job_close(struct job *j) {
    free(j->octets);
    free(j->items);
    arena_release(&j->arena);
}

/* --- telling the sender
 * ---------------------------------------------------------------------------- */

static bool wants(const struct job *j, size_t i, unsigned what) {
    unsigned notify = j->env.rcpts[i].notify;

    if (notify == 0) return what != NOTIFY_SUCCESS;
    return !(notify & NOTIFY_NEVER) && (notify & what);
}

/* The header of the message, or all of it when small. IO, MEMORY. */
static enum err_code original(struct job *j, struct slice *out, bool *whole, struct err *e) {
    uint64_t at, size;
    size_t n, done = 0;
    char *p;
    int fd;

    queue_msg_body(j->msg, &fd, &at, &size);
    n = size < DSN_FULL_MAX                                  ? (size_t)size
        : j->env.ret == RET_FULL && size < LOCAL_MESSAGE_MAX ? (size_t)size
                                                             : DSN_FULL_MAX;
    *whole = n == size;
    p = arena_new(&j->arena, n);
    while (p && done < n) {
        ssize_t got = pread(fd, p + done, n - done, (off_t)(at + done));

        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return err_sys(e, "cannot read segment %s", queue_msg_segment(j->msg));
        done += (size_t)got;
    }
    *out = slice_of(p, p ? done : 0);
    return p ? OK : err_set(e, ERR_MEMORY, "no memory for the message");
}

/* Put a notification for the recipients that `pick` chose into the queue. */
static enum err_code notify(struct runner *r, struct job *j, const struct dsn_rcpt *rcpts,
                            size_t count, wall_t now, wall_t retry_until, struct err *e) {
    uint8_t random[DSN_RANDOM];
    struct envelope_rcpt to = {.address = j->env.sender, .notify = NOTIFY_NEVER};
    struct envelope env = {.proto = S("local"),
                           .arrived = now,
                           .rcpts = &to,
                           .rcpt_count = 1,
                           .is_smtputf8 = j->env.is_smtputf8,
                           .is_requiretls = j->env.is_requiretls};
    struct dsn d = {.hostname = slice_str(r->conf->hostname),
                    .id = slice_str(queue_msg_id(j->msg)),
                    .env = &j->env,
                    .rcpts = rcpts,
                    .rcpt_count = count,
                    .now = now,
                    .retry_until = retry_until,
                    .random = random};
    struct buf text;
    char id[QUEUE_ID_MAX] = "";
    enum err_code code;

    random_bytes(random, sizeof random);
    code = original(j, &d.message, &d.is_whole, e);
    if (code != OK) return code;
    /* What was to go over TLS only is not sent about (RFC 8689 4.3.1): the header is enough. */
    if (j->env.is_requiretls) d.is_whole = false;
    buf_init(&text, (size_t)LOCAL_MESSAGE_MAX);
    code = dsn_build(&d, &text, e);
    for (size_t i = 0; i < text.n && !env.is_8bit; i++)
        env.is_8bit = (unsigned char)text.p[i] > 127;
    if (code == OK) code = queue_put(r->queue, &env, buf_slice(&text), NULL, id, e);
    if (code == OK)
        log_event(r->log, LEVEL_NOTE, "notified sender", "id", slice_str(queue_msg_id(j->msg)),
                  "notice", slice_str(id), "to", j->env.sender, NULL);
    buf_release(&text);
    return code;
}

/* RFC 2852 4.1.4: of a relay the sender hears who asked for a trace, and when the next host does
 * not know the time. */
static bool wants_relayed(const struct job *j, size_t i) {
    const struct verdict *v = &j->verdicts[i];

    return j->env.by_mode != BY_NONE && v->class == SMTP_CLASS_OK && v->host[0] &&
           !(j->env.rcpts[i].notify & NOTIFY_NEVER) && (j->env.by_trace || !v->peer_does_by);
}

/* Collect the recipients that sender is to be told of, and tell. OK also when there was nobody. */
static enum err_code tell(struct runner *r, struct job *j, enum smtp_class class, wall_t now,
                          struct err *e) {
    static const unsigned what[] = {[SMTP_CLASS_OK] = NOTIFY_SUCCESS,
                                    [SMTP_CLASS_TEMPORARY] = NOTIFY_DELAY,
                                    [SMTP_CLASS_PERMANENT] = NOTIFY_FAILURE};
    struct dsn_rcpt *list;
    size_t n = 0;

    if (j->env.sender.n == 0) return OK;
    list = arena_new(&j->arena, j->env.rcpt_count * sizeof *list);
    if (!list) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for a notification");
    for (size_t i = 0; i < j->env.rcpt_count; i++) {
        const struct verdict *v = &j->verdicts[i];
        struct buf reply;

        if (!j->touched[i] || v->class != class) continue;
        if (!wants_relayed(j, i)) {
            if (!wants(j, i, what[class])) continue;
            /* Who understands DSN sends its own notice. */
            if (class == SMTP_CLASS_OK && v->host[0] && v->peer_does_dsn) continue;
        }
        buf_init(&reply, 1024);
        verdict_reply(v, &reply);
        list[n++] = (struct dsn_rcpt){
            .address = j->env.rcpts[i].address,
            .orcpt = j->env.rcpts[i].orcpt,
            .action = class == SMTP_CLASS_PERMANENT   ? DSN_FAILED
                      : class == SMTP_CLASS_TEMPORARY ? DSN_DELAYED
                      : v->host[0]                    ? DSN_RELAYED
                                                      : DSN_DELIVERED,
            .status = v->status,
            .remote = slice_str(v->code ? v->host : ""),
            .reply = v->code ? arena_copy(&j->arena, buf_slice(&reply)) : S(""),
            .text = slice_str(v->code ? "the receiving host answered:" : v->text),
        };
        buf_release(&reply);
    }
    if (n == 0) return OK;
    return notify(
        r, j, list, n, now,
        class == SMTP_CLASS_TEMPORARY ? j->env.arrived + (wall_t)r->conf->queue_lifetime : 0, e);
}

/* --- settling
 * --------------------------------------------------------------------------------------- */

static void log_verdict(struct runner *r, const struct job *j, size_t i, wall_t now) {
    static const char *const words[] = {"sent", "deferred", "bounced"};
    const struct verdict *v = &j->verdicts[i];
    char delay[24], where[400] = "local";
    struct buf reply;

    if (v->host[0]) snprintf(where, sizeof where, "%s[%s]", v->host, v->address);
    buf_init(&reply, 1024);
    log_event(r->log, v->class == SMTP_CLASS_OK ? LEVEL_NOTE : LEVEL_WARN, words[v->class], "id",
              slice_str(queue_msg_id(j->msg)), "from", j->env.sender.n ? j->env.sender : S("<>"),
              "to", j->env.rcpts[i].address, "relay",
              v->host[0] || v->class == SMTP_CLASS_OK ? slice_str(where) : S("none"), "delay",
              log_num(delay, now - j->env.arrived), "tls", slice_str(v->tls), "reply",
              verdict_reply(v, &reply), NULL);
    buf_release(&reply);
}

/* Its time begins when it may first be sent (RFC 4865). */
static wall_t give_up_at(const struct runner *r, const struct job *j) {
    wall_t from = j->env.release_at > j->env.arrived ? j->env.release_at : j->env.arrived;

    return from + (wall_t)r->conf->queue_lifetime;
}

/* Old messages are given up: what is temporary becomes final. */
static void age(struct runner *r, struct job *j, size_t i, wall_t now) {
    struct verdict *v = &j->verdicts[i];
    bool is_old = now >= give_up_at(r, j);
    bool is_late = j->env.by_mode == BY_RETURN && now >= j->env.deliver_by; /* RFC 2852 4.3 */
    char was[sizeof v->text];

    if (v->class != SMTP_CLASS_TEMPORARY) return;
    if (!is_old && !is_late) return;
    snprintf(was, sizeof was, "%s", v->text);
    snprintf(v->text, sizeof v->text, "given up after %lld hours; last: %.400s",
             (long long)(now - j->env.arrived) / 3600, was);
    v->class = SMTP_CLASS_PERMANENT;
    v->status = is_late && !is_old ? STATUS(5, 4, 7) : STATUS(4, 4, 7);
}

/* Write what became of recipient `i` to log and journal. */
static void note(struct runner *r, struct job *j, size_t i, enum queue_state state, wall_t now) {
    const struct verdict *v = &j->verdicts[i];
    struct queue_outcome o = {.state = state};
    struct err e = {0};
    struct buf detail;

    log_verdict(r, j, i, now);
    if (r->on_verdict) r->on_verdict(r->on_user, queue_msg_id(j->msg), j->env.rcpts[i].address, v);
    if (v->class == SMTP_CLASS_OK) r->delivered++;
    else if (v->class == SMTP_CLASS_TEMPORARY) r->deferred++;
    else r->failed++;
    buf_init(&detail, ATTEMPT_DETAIL_MAX);
    verdict_json(v, queue_msg_attempts(j->msg) + 1, now, &detail);
    o.detail = buf_slice(&detail);
    if (queue_note(r->queue, j->msg, i, &o, &e) != OK)
        log_event(r->log, LEVEL_ERROR, "cannot write the journal", "id",
                  slice_str(queue_msg_id(j->msg)), "why", slice_str(e.msg), NULL);
    buf_release(&detail);
}

void job_note(struct runner *r, struct job *j, const size_t *rcpts, size_t count, wall_t now) {
    for (size_t k = 0; k < count; k++) {
        size_t i = rcpts[k];

        j->touched[i] = true;
        age(r, j, i, now);
        if (j->verdicts[i].class == SMTP_CLASS_OK) note(r, j, i, QUEUE_DELIVERED, now);
        else if (j->verdicts[i].class == SMTP_CLASS_TEMPORARY) note(r, j, i, QUEUE_PENDING, now);
    }
}

/* The sender is told of a delay once: after some hours, or at the time that RFC 2852 gave. */
static bool is_notice_due(const struct job *j, wall_t now) {
    return now - j->env.arrived >= SCHEDULE_DELAY_NOTICE_S ||
           (j->env.by_mode == BY_NOTIFY && now >= j->env.deliver_by);
}

void job_settle(struct runner *r, struct job *j, wall_t now) {
    struct err e = {0};
    bool told = tell(r, j, SMTP_CLASS_PERMANENT, now, &e) == OK;

    if (!told)
        log_event(r->log, LEVEL_ERROR, "cannot queue a notification; trying later", "id",
                  slice_str(queue_msg_id(j->msg)), "why", slice_str(e.msg), NULL);
    for (size_t i = 0; i < j->env.rcpt_count; i++)
        if (j->touched[i] && j->verdicts[i].class == SMTP_CLASS_PERMANENT)
            note(r, j, i, told ? QUEUE_FAILED : QUEUE_PENDING, now);
    if (tell(r, j, SMTP_CLASS_OK, now, &e) != OK)
        log_event(r->log, LEVEL_ERROR, "cannot queue a notification", "id",
                  slice_str(queue_msg_id(j->msg)), "why", slice_str(e.msg), NULL);
    if (is_notice_due(j, now) && !queue_msg_delay_told(j->msg)) {
        bool any = false;

        for (size_t i = 0; i < j->env.rcpt_count; i++)
            any |= j->touched[i] && j->verdicts[i].class == SMTP_CLASS_TEMPORARY;
        if (any && tell(r, j, SMTP_CLASS_TEMPORARY, now, &e) == OK)
            queue_note_delay(r->queue, j->msg, NULL);
    }
}

void job_give_back(struct runner *r, struct job *j, bool to_remote, wall_t not_before, wall_t now) {
    bool remote = false;
    wall_t next;

    if (j->bad) {
        queue_done(r->queue, j->msg, QUEUE_LOCAL, now + BAD_AGAIN_S);
        return;
    }
    for (size_t i = 0; to_remote && i < j->env.rcpt_count; i++)
        remote |= job_is_pending(j, i) && !job_is_local(r, j, i);
    if (remote) {
        queue_done(r->queue, j->msg, QUEUE_REMOTE, 0);
        return;
    }
    next = schedule_next(now, queue_msg_attempts(j->msg) + 1, r->conf->retry,
                         random_below(UINT32_MAX), give_up_at(r, j));
    if (next < not_before) next = not_before;
    /* Somebody waits for a word at that time. */
    if (j->env.by_mode != BY_NONE && now < j->env.deliver_by && next > j->env.deliver_by)
        next = j->env.deliver_by;
    queue_done(r->queue, j->msg, QUEUE_LOCAL, next);
}
