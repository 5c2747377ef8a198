#include "net/dial.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include "sys/clock.h"

static void no_delay(int fd) {
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static enum err_code refused(const struct addr *to, struct err *e) {
    char text[ADDR_TEXT_MAX];
    enum err_code code = err_sys(e, "cannot connect to %s", addr_text(to, text));

    if (e) e->status = STATUS(4, 4, 1);
    return code;
}

enum err_code dial_start(const struct addr *to, const struct addr *from, int *out, struct err *e) {
    int fd = socket(to->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    enum err_code code;

    if (fd < 0) return refused(to, e);
    if ((from && bind(fd, &from->u.sa, from->len) < 0) ||
        (connect(fd, &to->u.sa, to->len) < 0 && errno != EINPROGRESS)) {
        code = refused(to, e);
        close(fd);
        return code;
    }
    *out = fd;
    return OK;
}

enum err_code dial_result(int fd, const struct addr *to, struct err *e) {
    socklen_t n = sizeof errno;
    int why = 0;

    getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &n);
    if (why) {
        errno = why;
        return refused(to, e);
    }
    no_delay(fd);
    return OK;
}

enum err_code dial_tcp(const struct addr *to, const struct addr *from, mono_t deadline, int *out,
                       struct err *e) {
    char text[ADDR_TEXT_MAX];
    int fd = -1, r = 0;
    enum err_code code = dial_start(to, from, &fd, e);

    while (code == OK && r == 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        mono_t left = deadline - clock_mono();

        r = left <= 0 ? 0 : poll(&p, 1, left > 1000000 ? 1000000 : (int)left);
        if (r < 0 && errno == EINTR) r = 0;
        else if (r < 0) code = refused(to, e);
        else if (r > 0) code = dial_result(fd, to, e);
        else if (left <= 0)
            code = err_mail(e, ERR_TIMEOUT, STATUS(4, 4, 1),
                            "cannot connect to %s: no answer in time", addr_text(to, text));
    }
    if (code == OK) *out = fd;
    else if (fd >= 0) close(fd);
    return code;
}

enum err_code dial_listen(const char *host, uint16_t port, int *out, struct err *e) {
    struct addr a;
    bool any = !*host || strcmp(host, "*") == 0;
    int on = 1, off = 0, fd;

    if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
    if (!addr_parse(any ? "::" : host, port, &a))
        return err_set(e, ERR_CONFIG, "cannot listen on \"%s\": it is not an address", host);
    fd = socket(a.u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && any && addr_parse("0.0.0.0", port, &a))
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return err_sys(e, "cannot listen on [%s]:%u", host, port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a.u.sa.sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, &a.u.sa, a.len) < 0 || listen(fd, 1024) < 0) {
        char text[ADDR_TEXT_MAX];
        enum err_code code;

        code = err_sys(e, "cannot listen on %s", addr_text(&a, text));
        close(fd);
        return code;
    }
    *out = fd;
    return OK;
}

bool dial_local(int fd, struct addr *out) {
    *out = (struct addr){.len = sizeof out->u};
    return getsockname(fd, &out->u.sa, &out->len) == 0;
}
