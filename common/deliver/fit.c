#include "deliver/fit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dns/name.h"
#include "mime/legal.h"
#include "sys/file.h"

void fit_init(struct fit *f, const struct envelope *env, const struct hop_body *body) {
    *f = (struct fit){.env = env, .body = *body, .seven = {.fd = -1}};
    arena_init(&f->arena, 4 * ENVELOPE_BYTES_MAX);
    f->sender = fit_address(f, env->sender);
}

void fit_release(struct fit *f) {
    fd_close(&f->seven.fd);
    arena_release(&f->arena);
}

static bool is_ascii(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] > 127) return false;
    return true;
}

struct slice fit_address(struct fit *f, struct slice address) {
    size_t at = slice_rchr(address, '@');
    struct slice out = address;
    struct buf ascii;

    if (at == SLICE_NONE || is_ascii(address) || !is_ascii(slice_first(address, at)))
        return address;
    buf_init(&ascii, NAME_UTF8_MAX);
    if (name_to_ascii(&ascii, slice_from(address, at + 1), NULL) == OK)
        out = arena_printf(&f->arena, "%.*s%.*s", SP(slice_first(address, at + 1)),
                           SP(buf_slice(&ascii)));
    buf_release(&ascii);
    return out.n ? out : address;
}

/* All of the octets up to `max`, in the arena of nobody: freed by the caller. */
static char *read_body(const struct hop_body *b, uint64_t max, size_t *n) {
    size_t want = (size_t)(b->size < max ? b->size : max), done = 0;
    char *p = malloc(want + 1);

    while (p && done < want) {
        ssize_t got = pread(b->fd, p + done, want - done, (off_t)(b->offset + done));

        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            free(p);
            return NULL;
        }
        done += (size_t)got;
    }
    *n = done;
    return p;
}

static bool header_is_ascii(const struct hop_body *b) {
    size_t n = 0;
    char *p = read_body(b, FIT_HEADER_MAX, &n);
    struct slice head = slice_of(p, n);
    bool ascii = true;

    if (!p) return false; /* the safe side */
    for (size_t i = 0; i < head.n && ascii; i++) {
        if (p[i] == '\n' && (slice_starts(slice_from(head, i + 1), S("\n")) ||
                             slice_starts(slice_from(head, i + 1), S("\r\n"))))
            break;
        ascii = (unsigned char)p[i] < 128;
    }
    free(p);
    return ascii;
}

void fit_look(struct fit *f, const struct smtp_client_rcpt *rcpts, size_t n) {
    f->needs_utf8 = !is_ascii(f->sender);
    for (size_t i = 0; i < n; i++) f->needs_utf8 |= !is_ascii(rcpts[i].address);
    if (!f->needs_utf8 && f->env->is_smtputf8) f->needs_utf8 = !header_is_ascii(&f->body);
}

static void make_seven(struct fit *f) {
    struct arena a;
    struct buf out;
    size_t n = 0;
    char *p = read_body(&f->body, FIT_CONVERT_MAX, &n);
    int fd = -1;

    f->seven = f->body; /* what cannot be made to fit goes as it is */
    if (!p) {
        f->seven.fd = -1;
        return;
    }
    arena_init(&a, FIT_CONVERT_MAX);
    buf_init(&out, 3 * (n + 1024));
    if (!legal_is_signed(slice_of(p, n)) && legal_make(&a, slice_of(p, n), true, &out, NULL) == OK)
        fd = memfd_create("message", MFD_CLOEXEC);
    if (fd >= 0 && file_write(fd, buf_slice(&out), "a message made 7-bit", NULL) == OK) {
        f->seven = (struct hop_body){fd, 0, out.n};
    } else {
        fd_close(&fd);
        f->seven.fd = -1;
    }
    buf_release(&out);
    arena_release(&a);
    free(p);
}

const struct hop_body *fit_body(struct fit *f, uint32_t exts) {
    if (!f->env->is_8bit || f->env->is_binary || exts & SMTP_EXT_8BITMIME ||
        f->body.size > FIT_CONVERT_MAX)
        return &f->body;
    if (f->seven.fd < 0) make_seven(f);
    return f->seven.fd >= 0 ? &f->seven : &f->body;
}
