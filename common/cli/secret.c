#include "cli/secret.h"

#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include "base/num.h"
#include "sys/file.h"

void secret_wipe(struct buf *b) {
    if (b->p) explicit_bzero(b->p, b->cap);
    buf_release(b);
}

enum err_code secret_ask(const char *prompt, struct buf *out, struct err *e) {
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    struct termios was, quiet;
    bool interrupted = false;
    char c;

    if (fd < 0 || tcgetattr(fd, &was) != 0) {
        fd_close(&fd);
        return err_set(e, ERR_USAGE,
                       "no password: give --password-file, --password-fd or --password-command");
    }
    (void)!write(fd, prompt, strlen(prompt));
    /* Without ISIG the keys that end a program come as characters: so the echo is restored before
     * it ends. */
    quiet = was;
    quiet.c_lflag &= (tcflag_t) ~(ECHO | ISIG);
    tcsetattr(fd, TCSAFLUSH, &quiet);
    while (read(fd, &c, 1) == 1 && c != '\n' && !interrupted) {
        if (c == (char)was.c_cc[VINTR] || c == (char)was.c_cc[VQUIT]) interrupted = true;
        else buf_addc(out, c);
    }
    tcsetattr(fd, TCSAFLUSH, &was);
    (void)!write(fd, "\n", 1);
    close(fd);
    if (interrupted) raise(SIGINT);
    return OK;
}

static enum err_code from_command(const char *command, struct buf *out, struct err *e) {
    FILE *p = popen(command, "re");
    int c, status;

    if (!p) return err_sys(e, "cannot run the password command");
    while ((c = getc(p)) != EOF && c != '\n') buf_addc(out, (char)c);
    while (c != EOF) c = getc(p);
    status = pclose(p);
    if (status != 0) return err_set(e, ERR_DENIED, "the password command failed");
    return OK;
}

static enum err_code from_fd(const char *text, struct buf *out, struct err *e) {
    uint64_t fd;
    char c;
    ssize_t n;

    if (!num_parse(slice_str(text), 1 << 20, &fd))
        return err_set(e, ERR_USAGE, "--password-fd wants a number");
    while ((n = read((int)fd, &c, 1)) == 1 && c != '\n') buf_addc(out, c);
    return n < 0 ? err_sys(e, "cannot read descriptor %s", text) : OK;
}

enum err_code secret_get(struct context *ctx, const struct secret_source *from, const char *prompt,
                         struct buf *out, struct err *e) {
    (void)ctx;
    enum err_code code = OK;
    size_t lf;

    buf_init(out, SECRET_MAX);
    if (!!from->file + !!from->fd + !!from->command > 1)
        return err_set(e, ERR_USAGE, "only one of --password-file, -fd and -command");
    if (from->file) {
        code = file_check_secret(from->file, e);
        if (code == OK) code = file_read(from->file, out, e);
        lf = code == OK ? slice_chr(buf_slice(out), '\n') : SLICE_NONE;
        if (lf != SLICE_NONE) buf_cut(out, lf);
    } else if (from->fd) {
        code = from_fd(from->fd, out, e);
    } else if (from->command) {
        code = from_command(from->command, out, e);
    } else {
        code = secret_ask(prompt, out, e);
    }
    if (code != OK) return code;
    if (out->n > 0 && out->p[out->n - 1] == '\r') out->n--;
    if (out->bad) return err_set(e, ERR_SYNTAX, "the password is too long");
    if (out->n == 0) return err_set(e, ERR_SYNTAX, "the password is empty");
    if (memchr(out->p, 0, out->n)) return err_set(e, ERR_SYNTAX, "the password has a NUL");
    return OK;
}
