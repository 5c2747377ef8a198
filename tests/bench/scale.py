#!/usr/bin/env python3
"""One large mailbox and an account of many mailboxes: time, CPU of the server, its memory.

scale.py [--server postbag|dovecot] [--messages N] [--mailboxes N] [--dir DIR] [--keep] [POSTBAG]

Messages of about 600 octets, written as files (4 KiB each on most disks). --dir is where the mail goes (a temporary directory),
which is removed unless --keep; a mailbox that is there with as many messages is taken as it is. Each row: seconds, CPU seconds of
the server, its memory (VmRSS, and VmHWM so far) in MiB. Nothing is judged.
"""
import argparse
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

WORDS = ("alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo "
         "sierra tango uniform victor whiskey xray yankee zulu").split()
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def message(i):
    w = [WORDS[(i * k + k) % len(WORDS)] for k in range(1, 30)]
    return ("Return-Path: <ann%d@client.test>\nFrom: Ann %s <ann%d@client.test>\nTo: Jo <jo@scale.test>\n"
            "Date: Mon, %d Nov 2026 %02d:%02d:%02d +0000\nMessage-ID: <%d.%s@client.test>\nSubject: %s %s number %d\n"
            "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n%s\n%s%d\n%s\n"
            % (i % 997, w[0], i % 997, i // 86400 % 28 + 1, i // 3600 % 24, i // 60 % 60, i % 60, i, w[1], w[2], w[3], i,
               " ".join(w[:10]), "token", i, " ".join(w[10:]))).encode()


def fill(maildir, n, first=0, host="client.test"):
    for sub in ("tmp", "new", "cur"):
        os.makedirs(os.path.join(maildir, sub), exist_ok=True)
    at = os.open(os.path.join(maildir, "cur"), os.O_RDONLY)
    for i in range(first, first + n):
        text = message(i)
        name = "%d.M%dP1.%s,S=%d,W=%d:2,%s" % (1700000000 + i, i, host, len(text), len(text) + text.count(b"\n"),
                                               "" if i % 10 == 0 else "S")
        fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=at)
        os.write(fd, text)
        os.close(fd)
    os.close(at)


class Server:
    """One of the two kinds, on loopback, with a configuration of its own."""

    def __init__(self, kind, binary, top):
        self.kind, self.binary, self.top, self.process = kind, binary, top, None
        self.imap, self.pop3 = free_port(), free_port()
        self.home = os.path.join(top, "mail/scale.test/jo") if kind == "postbag" else os.path.join(top, "dovecot/jo")
        os.makedirs(os.path.join(self.home, "Maildir"), exist_ok=True)
        self.conf = os.path.join(top, kind + ".conf")
        with open(self.conf, "w") as f:
            if kind == "postbag":
                f.write("hostname mail.scale.test\ndomain scale.test\ndata %s\nplaintext-auth yes\nlog none\n"
                        "listen imap 127.0.0.1:%d\nlisten pop3 127.0.0.1:%d\n" % (top, self.imap, self.pop3))
            else:
                who = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
                run = os.path.join(top, "run")
                os.makedirs(run, exist_ok=True)
                f.write("protocols = imap pop3\nlisten = 127.0.0.1\nbase_dir = %s\nstate_dir = %s\nssl = no\n"
                        "disable_plaintext_auth = no\nlog_path = %s/log\nauth_username_format = %%n\n"
                        "mail_location = maildir:~/Maildir\nfirst_valid_uid = 1\npassdb {\n  driver = static\n"
                        "  args = password=secret\n}\nuserdb {\n  driver = static\n"
                        "  args = uid=%d gid=%d home=%s/dovecot/%%n allow_all_users=yes\n}\nnamespace inbox {\n  inbox = yes\n}\n"
                        "service imap {\n  vsz_limit = 0\n}\nservice pop3 {\n  vsz_limit = 0\n}\n"
                        "service imap-login {\n  inet_listener imap {\n    port = %d\n  }\n  inet_listener imaps {\n    port = 0\n  }\n}\n"
                        "service pop3-login {\n  inet_listener pop3 {\n    port = %d\n  }\n  inet_listener pop3s {\n    port = 0\n  }\n}\n"
                        % (run, run, top, who.pw_uid, who.pw_gid, top, self.imap, self.pop3))
        if kind == "postbag":
            with open(os.path.join(top, "accounts"), "w") as f:
                f.write("jo@scale.test:{PLAIN}secret\n")

    def start(self):
        command = ([self.binary, "serve", "-C", self.conf] if self.kind == "postbag" else ["dovecot", "-F", "-c", self.conf])
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", self.imap)).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the server does not start")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
        self.process = None

    def pids(self):
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                    todo += [int(x) for x in f.read().split()]
            except OSError:
                pass
        return found

    def cpu(self):
        total = 0
        for pid in self.pids():
            try:
                with open("/proc/%d/stat" % pid) as f:
                    total += sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:15])
            except OSError:
                pass
        return total / TICK

    def memory(self):
        """VmRSS and VmHWM in MiB: of the largest process."""
        best = (0, 0)
        for pid in self.pids():
            try:
                with open("/proc/%d/status" % pid) as f:
                    text = f.read()
                best = max(best, tuple(int(re.search(key + r":\s+(\d+)", text)[1]) >> 10 for key in ("VmRSS", "VmHWM")))
            except (OSError, TypeError):
                pass
        return best


class Imap:
    def __init__(self, server):
        self.s = socket.create_connection(("127.0.0.1", server.imap))
        self.s.settimeout(1800)
        self.f = self.s.makefile("rb", 1 << 20)
        self.n, self.lines, self.bytes = 0, 0, 0
        self.f.readline()
        self("LOGIN %s secret" % ("jo@scale.test" if server.kind == "postbag" else "jo"))

    def send(self, command):
        self.n += 1
        self.s.sendall(b"t%d %s\r\n" % (self.n, command.encode()))

    def wait(self, keep=True):
        """Lines up to the tagged reply; literals are passed over."""
        tag, got = b"t%d " % self.n, []
        self.lines = self.bytes = 0
        while True:
            line = self.f.readline()
            if not line:
                raise SystemExit("the server hung up")
            self.lines += 1
            self.bytes += len(line)
            if line.startswith(tag):
                if line[len(tag):len(tag) + 3] != b"OK ":
                    raise SystemExit("refused: %r" % line)
                got.append(line)
                return got
            if keep:
                got.append(line)
            if line.endswith(b"}\r\n"):
                self.f.read(int(line[line.rindex(b"{") + 1:-3]))

    def __call__(self, command, keep=False):
        self.send(command)
        return self.wait(keep)

    def until(self, what):
        while what not in (line := self.f.readline()):
            if not line:
                raise SystemExit("the server hung up")

    def literals(self, command, text, times, batch=50):
        """Many APPENDs, a batch of them on its way."""
        for at in range(0, times, batch):
            n = min(batch, times - at)
            first = self.n + 1
            for _ in range(n):
                self.n += 1
                self.s.sendall(b"t%d %s {%d+}\r\n%s\r\n" % (self.n, command.encode(), len(text), text))
            for k in range(n):
                self.until(b"t%d OK" % (first + k))

    def end(self):
        self("LOGOUT")
        self.s.close()


server = None


def row(name, deed, *args):
    cpu, began = server.cpu(), time.monotonic()
    got = deed(*args)
    took = time.monotonic() - began
    print("| %-62s | %9.3f | %8.2f | %5d | %5d |" % ((name, took, server.cpu() - cpu) + server.memory()), flush=True)
    return got


def head(title):
    print("\n%s, %s\n" % (title, server.kind))
    print("| %-62s | %9s | %8s | %5s | %5s |" % ("", "s", "CPU s", "RSS", "HWM"))
    print("|" + "-" * 64 + "|" + ("-" * 10 + ":|") + ("-" * 9 + ":|") + ("-" * 6 + ":|") * 2, flush=True)


def pop3(what):
    s = socket.create_connection(("127.0.0.1", server.pop3))
    f = s.makefile("rb", 1 << 20)
    f.readline()

    def ask(line, many=False):
        s.sendall(line.encode() + b"\r\n")
        if not f.readline().startswith(b"+OK"):
            raise SystemExit("refused: " + line)
        while many and f.readline() != b".\r\n":
            pass

    ask("USER " + ("jo@scale.test" if server.kind == "postbag" else "jo"))
    ask("PASS secret")
    for line, many in what:
        ask(line, many)
    ask("QUIT")
    s.close()


def deliver(text):
    if server.kind == "postbag":
        subprocess.run([server.binary, "deliver", "-C", server.conf, "jo@scale.test"], input=text, check=True)
    else:
        path = os.path.join(server.home, "Maildir/%s/1900000000.M%d.client.test")
        with open(path % ("tmp", 1), "wb") as f:
            f.write(text)
        os.rename(path % ("tmp", 1), path % ("new", 1))


def one_large(n):
    c = Imap(server)
    row("SELECT, no index", c, "SELECT INBOX")
    c.end()
    c = Imap(server)
    row("SELECT again, same process", c, "SELECT INBOX")
    c.end()
    server.stop()
    server.start()
    c = Imap(server)
    row("SELECT after a restart", c, "SELECT INBOX")
    row("FETCH 1:* (FLAGS UID)", c, "FETCH 1:* (FLAGS UID)")
    row("FETCH 1:* (FLAGS UID RFC822.SIZE ENVELOPE), first", c, "FETCH 1:* (FLAGS UID RFC822.SIZE ENVELOPE)")
    row("the same again", c, "FETCH 1:* (FLAGS UID RFC822.SIZE ENVELOPE)")
    row("the same again", c, "FETCH 1:* (FLAGS UID RFC822.SIZE ENVELOPE)")
    row("SEARCH UNSEEN", c, "SEARCH UNSEEN")
    row("SEARCH SUBJECT \"number %d\"" % (n // 2), c, 'SEARCH SUBJECT "number %d"' % (n // 2))
    row("SEARCH BODY token%d, first" % (n // 2), c, "SEARCH BODY token%d" % (n // 2))
    row("the same again", c, "SEARCH BODY token%d" % (n // 2))
    row("UID SEARCH RETURN (COUNT) SINCE 10-Nov-2026", c, "UID SEARCH RETURN (COUNT) SINCE 10-Nov-2026")
    row("SORT (REVERSE DATE) ALL", c, "SORT (REVERSE DATE) UTF-8 ALL")
    row("THREAD REFERENCES ALL", c, "THREAD REFERENCES UTF-8 ALL")
    some = min(10000, n // 2)
    row("STORE 1:%d +FLAGS.SILENT (\\Flagged)" % some, c, "STORE 1:%d +FLAGS.SILENT (\\Flagged)" % some)
    other = Imap(server)
    row("SELECT in a second session", other, "SELECT INBOX")
    text = message(n).replace(b"\n", b"\r\n")
    row("APPEND of 100 by it", other.literals, "APPEND INBOX", text, 100)
    row("NOOP of the first session: EXISTS", c, "NOOP")
    c.send("IDLE")
    c.until(b"+ ")

    def told():
        deliver(message(n + 1))
        c.until(b" EXISTS")

    row("delivery until EXISTS is told in IDLE", told)
    if server.kind == "postbag":
        row("a second one", lambda: (deliver(message(n + 2)), c.until(b" EXISTS")))
    c.s.sendall(b"DONE\r\n")
    c.wait()
    gone = min(1000, n // 4)
    row("STORE 1:%d +FLAGS.SILENT (\\Deleted)" % gone, c, "STORE 1:%d +FLAGS.SILENT (\\Deleted)" % gone)
    row("EXPUNGE of %d" % gone, c, "EXPUNGE")
    row("NOOP of the second session", other, "NOOP")
    row("STATUS of it by a third session", lambda: Imap(server)("STATUS INBOX (MESSAGES UNSEEN UIDNEXT SIZE)"))
    other.end()
    row("POP3 STAT", pop3, [("STAT", False)])
    row("POP3 STAT, UIDL, RETR of 10", pop3, [("STAT", False), ("UIDL", True)] + [("RETR %d" % k, True) for k in range(1, 11)])
    row("UNSELECT", c, "UNSELECT")
    c.end()
    server.stop()
    server.start()
    c = [Imap(server)]
    row("memory: one session", c[0], "SELECT INBOX")

    def nine():
        for _ in range(9):
            c.append(Imap(server))
            c[-1]("SELECT INBOX")

    row("memory: ten sessions", nine)
    row("60 s later", time.sleep, 60)
    for one in c:
        one.end()
    if server.kind != "postbag":
        return
    server.stop()
    for name in os.listdir(server.home):
        if name.startswith("postbag-index.db"):
            os.unlink(os.path.join(server.home, name))
    server.start()
    c = Imap(server)
    row("SELECT, index lost (UIDs are known)", c, "SELECT INBOX")
    c.end()


def many(n):
    """Two levels: a/0 .. a/99; what has no square root is rounded down."""
    side = max(2, int(n ** 0.5))
    c = Imap(server)
    line = c("LIST \"\" \"\"", True)[0]
    sep = re.search(rb'"(.)"', line)[1].decode()
    names = ["p%d" % i + (sep + "c%d" % k if k else "") for i in range(side) for k in range(side)]

    def create():
        for name in names:
            c("CREATE " + name)

    row("CREATE of %d mailboxes, one by one" % len(names), create)
    for i, name in enumerate(names):
        fill(os.path.join(server.home, "Maildir/." + name.replace("/", ".")), 5, i * 5)
    if server.kind == "dovecot" and os.getuid() == 0:
        subprocess.run(["chown", "-R", "nobody:", server.home], check=True)
    everything = 'LIST "" "*"'
    row(everything, c, everything)
    row("again", c, everything)
    row('LIST "" "%"', c, 'LIST "" "%"')
    status = everything + " RETURN (STATUS (MESSAGES UNSEEN))"
    row(status + ", first", c, status)
    row("again", c, status)

    def each():
        for name in names:
            c("STATUS %s (MESSAGES UNSEEN UIDNEXT)" % name)

    row("STATUS of each, one by one", each)

    def select():
        for name in names:
            c("SELECT " + name)

    row("SELECT of each, one by one", select)
    if server.kind == "postbag":
        c("UNSELECT")
        row("NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))", c,
            "NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))")
        c.send("IDLE")
        c.until(b"+ ")

        def told():
            subprocess.run([server.binary, "deliver", "-C", server.conf, "-m", names[-1], "jo@scale.test"], input=message(1),
                           check=True)
            c.until(b"STATUS")

        row("delivery into the last one until STATUS is told", told)
        c.s.sendall(b"DONE\r\n")
        c.wait()
        c("NOTIFY NONE")
    row("SUBSCRIBE of each", lambda: [c("SUBSCRIBE " + name) for name in names])
    row('LSUB "" "*"', c, 'LSUB "" "*"')
    row("RENAME of a parent with %d children" % (side - 1), c, "RENAME p0 q0")
    row("DELETE of %d, one by one" % side, lambda: [c("DELETE " + x) for x in reversed(names[side:2 * side])])
    row("60 s later", time.sleep, 60)
    c.end()


def main():
    global server
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binary", nargs="?", default="build/release/postbag")
    p.add_argument("--server", choices=("postbag", "dovecot"), default="postbag")
    p.add_argument("--messages", type=int, default=10000)
    p.add_argument("--mailboxes", type=int, default=400)
    p.add_argument("--dir")
    p.add_argument("--keep", action="store_true")
    a = p.parse_args()
    top = a.dir or tempfile.mkdtemp(prefix="postbag-scale.")
    os.makedirs(top, exist_ok=True)
    os.chmod(top, 0o755)
    server = Server(a.server, os.path.abspath(a.binary), top)
    try:
        if a.messages:
            cur = os.path.join(server.home, "Maildir/cur")
            if not os.path.isdir(cur) or len(os.listdir(cur)) < a.messages:
                began = time.monotonic()
                fill(os.path.join(server.home, "Maildir"), a.messages)
                print("%d files written in %.0f s" % (a.messages, time.monotonic() - began), flush=True)
            if a.server == "dovecot" and os.getuid() == 0:
                subprocess.run(["chown", "-R", "nobody:", server.home], check=True)
            server.start()
            head("%d messages in one mailbox" % a.messages)
            one_large(a.messages)
            server.stop()
        if a.mailboxes:
            if a.messages:
                shutil.rmtree(server.home)
                os.makedirs(os.path.join(server.home, "Maildir"))
            if a.server == "dovecot" and os.getuid() == 0:
                subprocess.run(["chown", "-R", "nobody:", server.home], check=True)
            server.start()
            head("%d mailboxes in one account" % a.mailboxes)
            many(a.mailboxes)
    finally:
        server.stop()
        if not a.keep:
            shutil.rmtree(top)


if __name__ == "__main__":
    sys.exit(main())
