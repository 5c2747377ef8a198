"""hostile_pop3: what hostile POP3 clients send. hostile_pop3.py PORT PID; jo (password secret) has 5 messages."""
import socket
import sys
import threading
import time

PORT, PID = int(sys.argv[1]), int(sys.argv[2])
NUMBERS = ("", " ", "0", "-1", "+1", "6", "01x", "1.5", "99999999999", "18446744073709551617", "0x1", "1\0", "x" * 400,
           "1" * 400, "*", "1:2", "%s", "\xff")


class Pop:
    def __init__(self, user="jo"):
        self.s = socket.create_connection(("127.0.0.1", PORT), 20)
        self.f = self.s.makefile("rb")
        assert self.f.readline().startswith(b"+OK")
        while user:
            self.ok("USER " + user)
            got = self("PASS secret")
            if got.startswith(b"+OK"):
                break
            assert b"[IN-USE]" in got, got  # the session that was dropped a moment ago
            time.sleep(0.05)

    def send(self, words):
        self.s.sendall((words.encode("latin-1") if isinstance(words, str) else words) + b"\r\n")

    def __call__(self, words):
        self.send(words)
        return self.f.readline()

    def ok(self, words):
        got = self(words)
        assert got.startswith(b"+OK"), (words, got)
        return got

    def bad(self, words):
        got = self(words)
        assert got.startswith(b"-ERR") and got.endswith(b"\r\n") and len(got) <= 512, (words[:50], got)

    def text(self, words):
        self.ok(words)
        out = []
        while (line := self.f.readline()) != b".\r\n":
            assert line.endswith(b"\r\n"), line
            out.append(line)
        return out

    def close(self):
        self.f.close()
        self.s.close()


def left(c):
    """All until the end of the connection."""
    got = b""
    try:
        while part := c.f.read1(1 << 20):
            got += part
    except ConnectionResetError:
        pass
    return got


def numbers():
    c = Pop()
    for verb in ("RETR", "DELE", "TOP", "LIST", "UIDL"):
        for n in NUMBERS:
            if n.strip() == "" and verb in ("LIST", "UIDL"):
                continue
            c.bad("%s %s%s" % (verb, n, " 1" if verb == "TOP" else ""))
            if len(n) > 200:  # and in a line that is too long the session may end
                c.close()
                c = Pop()
    for words in ("LIST 1 2", "UIDL 1 2", "RETR 1 2", "DELE 1 2", "DELE 1 x", "TOP 1 1 1"):
        c.bad(words)
    assert len(c.text("LIST")) == 5
    for n in NUMBERS:
        if n not in ("0", "6", "99999999999", "1" * 400):
            c.bad("TOP 1 %s" % n)
            if len(n) > 200:
                c.close()
                c = Pop()
    for n in ("99999999999", "18446744073709551616"):  # more lines than there are: all, or an error
        c.send("TOP 1 " + n)
        if c.f.readline().startswith(b"+OK"):
            while c.f.readline() != b".\r\n":
                pass
    assert len(c.text("RETR 1")) > 3
    c.ok("DELE 1")
    for verb in ("RETR 1", "DELE 1", "TOP 1 1", "LIST 1", "UIDL 1"):
        c.bad(verb)
    assert len(c.text("LIST")) == 4 and len(c.text("UIDL")) == 4
    c.ok("RSET")
    assert len(c.text("LIST")) == 5
    c.close()


def lines():
    c = Pop(None)
    c.s.settimeout(20)

    def flood():
        try:
            for _ in range(500):
                c.s.sendall(b"x" * 65536)
            c.s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    t = threading.Thread(target=flood)
    t.start()
    assert left(c)[:4] in (b"-ERR", b"")  # it is cut off; the last words may not get through
    t.join()
    for octets in (b"\0", b"USER jo\0", b"USER\0jo", b"\xff\xfe", b"USER " + b"j" * 300, b"PASS " + b"p" * 300, b"STAT",
                   b"RETR 1", b"QUIT now", b"AUTH", b"AUTH NONE", b"AUTH PLAIN =", b"AUTH PLAIN ====", b"AUTH PLAIN !",
                   b"APOP jo 0123456789abcdef0123456789abcdef", b"USER", b"USER  ", b"PASS", b"XTND", b" NOOP", b"NOOP"):
        c = Pop(None)
        got = c(octets)
        assert got[:4] in (b"-ERR", b"+OK\r", b"+OK ", b"") or octets.startswith((b"AUTH", b"USER j")), (octets, got)
        c.close()


def pipelines():
    c = Pop()
    c.s.settimeout(60)
    t = threading.Thread(target=c.s.sendall, args=(b"NOOP\r\n" * 100000 + b"RETR 1\r\n" * 2000 + b"QUIT\r\n",))
    t.start()
    got = left(c)
    t.join()
    assert got.count(b"\r\n.\r\n") == 2000 and got.endswith(b"\r\n") and b"-ERR" not in got, got[-200:]


def deaf():
    """A client that asks for much and reads nothing; the maildrop is its own, the server is not."""
    c = Pop()
    c.s.setblocking(False)
    try:
        for _ in range(1000):
            c.s.send(b"RETR 1\r\nTOP 2 5\r\n" * 500)
    except BlockingIOError:
        pass
    d = Pop("mo")
    assert d.ok("STAT") == b"+OK 0 0\r\n"
    d.close()
    c.close()


def crowd():
    """Nobody comes in while the maildrop is held, and all are told so in one line."""
    c = Pop()
    for _ in range(100):
        d = Pop(None)
        d.ok("USER jo")
        got = d("PASS secret")
        assert got.startswith(b"-ERR [IN-USE]"), got
        d.close()
    c.ok("QUIT")


for case in (numbers, lines, pipelines, deaf, crowd):
    case()
    peak = next(int(x.split()[1]) for x in open("/proc/%d/status" % PID) if x.startswith("VmHWM:"))
    print("%s: VmHWM %.1f MB" % (case.__name__, peak / 1024), flush=True)
    assert peak < 60 * 1024 or len(sys.argv) > 3, peak
