/* deliver: put one message from standard input into local mailboxes, durable when it exits (RFC
 * 5321 4.4). */
#include <sysexits.h>
#include <unistd.h>

#include "cli/applet.h"
#include "cli/exit.h"
#include "deliver/local.h"
#include "deliver/rcpt.h"
#include "store/quota.h"
#include "sys/clock.h"
#include "sys/file.h"

struct args {
    const char *from, *maildir, *mailbox;
};

static const struct opt opts[] = {
    TEXT('f', "from", from, "ADDRESS", "the envelope sender, for Return-Path"),
    TEXT(0, "maildir", maildir, "DIR",
         "into the Maildir DIR (with cur, new, tmp); no RECIPIENT then"),
    TEXT('m', "mailbox", mailbox, "NAME", "into this mailbox instead of INBOX; made when missing"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "the message is in every mailbox, on disk"},
    {64, "the command line is wrong"},
    {65, "the message is larger than message-size-limit"},
    {67, "there is no such user; nothing was delivered"},
    {75, "the disk is full, a mailbox may not be written, or something else that may pass"},
    {0, NULL},
};

/* An mbox "From " line in front is no part of the message. */
static struct slice without_mbox_line(struct slice m) {
    struct slice line;

    if (slice_starts(m, S("From ")) || slice_starts(m, S(">From "))) slice_line(&m, &line);
    return m;
}

/* Rights, a missing disk, a file in the place of a directory can be mended, and whoever called us
 * must not return the mail to its sender: 75. */
static enum err_code may_pass(enum err_code code, struct err *e) {
    if (code != OK && e->sys != 0 && !e->status.cls) e->status = STATUS(4, 3, 0);
    return code;
}

/* `a` NULL: `home` is a Maildir itself. */
static enum err_code to_home(const char *home, const struct account *a, const struct args *args,
                             struct slice message, struct err *e) {
    struct buf head;
    struct slice parts[2];
    struct store *s;
    enum err_code code = a ? store_open(home, &s, e) : store_open_maildir(home, &s, e);

    if (code != OK) return may_pass(code, e);
    if (a) store_limit(s, a->quota_octets, a->quota_messages);
    buf_init(&head, 8192);
    buf_addf(&head, "Return-Path: <%s>\r\n", args->from ? args->from : "");
    if (a) buf_addf(&head, "Delivered-To: %s\r\n", a->name);
    parts[0] = buf_slice(&head);
    parts[1] = message;
    code = head.bad ? err_set(e, ERR_MEMORY, "no memory to deliver")
                    : store_deliver(s,
                                    &(struct delivery){.mailbox = slice_str(args->mailbox),
                                                       .parts = parts,
                                                       .n_parts = 2},
                                    e);
    buf_release(&head);
    store_close(s);
    return may_pass(code, e);
}

static enum err_code to_users(struct context *ctx, const struct args *args, struct slice message,
                              struct err *e) {
    struct directory d;
    struct arena a;
    enum err_code code = directory_open(ctx->conf, &d, e);

    if (code != OK) return code;
    arena_init(&a, 64 * 1024 * 1024);
    /* All recipients are looked up before the first delivery: an unknown one means that nothing
     * happens. */
    for (int pass = 0; code == OK && pass < 2; pass++) {
        for (int i = 0; code == OK && i < ctx->operand_count; i++) {
            struct rcpt_end *ends;
            size_t count;

            code = directory_expand(&d, slice_str(ctx->operands[i]), &a, &ends, &count, e);
            for (size_t k = 0; code == OK && k < count; k++) {
                if (ends[k].is_dead)
                    code = err_mail(e, ERR_NOT_FOUND, STATUS(5, 1, 1), "no such user: %.*s",
                                    SP(ends[k].address));
                else if (ends[k].is_program)
                    code = err_mail(e, ERR_UNSUPPORTED, STATUS(5, 3, 5),
                                    "%.*s is for serve and queue-run", SP(ends[k].address));
                else if (!ends[k].is_local)
                    code = err_mail(e, ERR_NOT_FOUND, STATUS(5, 1, 1),
                                    "%.*s is not here; use sendmail", SP(ends[k].address));
                else if (pass == 1 && local_is_loop(message, ends[k].account))
                    code = err_set(e, ERR_LIMIT, "mail loop: it was delivered to %s before",
                                   ends[k].account->name);
                else if (pass == 1)
                    code = to_home(ends[k].account->home, ends[k].account, args, message, e);
            }
        }
    }
    arena_release(&a);
    directory_close(&d);
    return code;
}

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    struct buf text;
    struct err e = {0};
    enum err_code code;

    if (args->maildir ? ctx->operand_count > 0 : ctx->operand_count == 0)
        return failf(ctx, EX_USAGE,
                     args->maildir ? "RECIPIENT and --maildir exclude each other"
                                   : "RECIPIENT is missing; see --help");
    if (args->from && strpbrk(args->from, "\r\n<>"))
        return failf(ctx, EX_USAGE, "--from is not an address");
    buf_init(&text, (size_t)ctx->conf->message_size_limit);
    code = file_read_fd(fileno(ctx->in), "standard input", &text, &e);
    if (code == OK) {
        struct slice message = without_mbox_line(buf_slice(&text));

        code = args->maildir ? to_home(args->maildir, NULL, args, message, &e)
                             : to_users(ctx, args, message, &e);
    }
    buf_release(&text);
    return code == OK ? EX_OK : fail(ctx, &e);
}

const struct applet applet_deliver = {
    .name = "deliver",
    .summary = "put a message into local mailboxes",
    .operands = "[RECIPIENT...]",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings = "data domain accounts aliases message-size-limit",
    .exits = exits,
    .max_operands = -1,
    .run = run,
};
