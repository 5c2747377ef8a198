"""big: a message of many megabytes, for tests. big.py IMAP-PORT POP3-PORT PID CASE

The INBOX of jo (password secret) has one message of 68 MB, with bare LF as stored. `memory`: no request makes
the server grow by 4 MiB. `pieces`: partial fetches give the same octets as the whole. `cut FILE`: the file is cut short
while both protocols send it; the server serves on."""
import hashlib
import os
import random
import socket
import sys

from imapline import Line

IMAP, POP3, PID = (int(x) for x in sys.argv[1:4])
GROWTH_KIB = 4096


def status(field):
    for line in open("/proc/%d/status" % PID):
        if line.startswith(field + ":"):
            return int(line.split()[1])


def growth(what, f):
    """How far the peak is above what was held before (clear_refs: the peak starts again)."""
    before = status("VmRSS")
    with open("/proc/%d/clear_refs" % PID, "w") as c:
        c.write("5")
    got = f()
    grown = status("VmHWM") - before
    print("%s: %d KiB" % (what, grown))
    assert grown < GROWTH_KIB, (what, grown)
    return got


def fetch(c, item):
    """The octets of one section."""
    c.send("FETCH 1 BODY.PEEK%s" % item)
    head = c.f.readline()
    n = int(head.rstrip(b"}\r\n").rsplit(b"{", 1)[1]) if head.endswith(b"}\r\n") else 0
    out = c.f.read(n)
    c.wait()
    return out


class Pop:
    def __init__(self):
        self.s = socket.create_connection(("127.0.0.1", POP3), 20)
        self.f = self.s.makefile("rb")
        self.f.readline()
        self("USER jo")
        self("PASS secret")

    def __call__(self, words):
        self.s.sendall(words.encode() + b"\r\n")
        got = self.f.readline()
        assert got.startswith(b"+OK"), got
        return got

    def text(self, words):
        self(words)
        n = 0
        while True:
            line = self.f.readline()
            if line in (b".\r\n", b""):
                return n, line
            n += len(line)


def memory():
    c = Line(IMAP, "jo", "secret")
    c("SELECT INBOX")
    size = len(fetch(c, "[]"))
    for item in ("[]", "[TEXT]", "[2]", "[2]<30000000.1000>", "[TEXT]<40000000.9>"):
        growth("BODY" + item, lambda: fetch(c, item))
    for what in ("FETCH 1 BINARY.PEEK[2]", "FETCH 1 BINARY.SIZE[2]", "FETCH 1 (ENVELOPE BODYSTRUCTURE PREVIEW EMAILID)",
                 "SEARCH BODY nothing", "SORT (SUBJECT SIZE) UTF-8 ALL", "COPY 1 INBOX"):
        growth(what, lambda: c(what))
    growth("APPEND", lambda: c("APPEND INBOX", b"Subject: x\r\n\r\n" + b"y" * size))
    p = Pop()
    n = int(p("STAT").split()[1])
    growth("RETR", lambda: p.text("RETR %d" % n))
    growth("TOP", lambda: p.text("TOP %d 99999999" % n))


def pieces():
    c = Line(IMAP, "jo", "secret")
    c("SELECT INBOX")
    for section in ("[]", "[TEXT]", "[2]"):
        whole, at, h = fetch(c, section), 0, hashlib.sha256()
        r = random.Random(7)
        while at < len(whole):
            n = r.choice((1, 2, 3, 69, 70, 71, 8191, 65536, 1000000, 3000001))
            part = fetch(c, "%s<%d.%d>" % (section, at, n))
            assert part == whole[at:at + n], (section, at, n)
            h.update(part)
            at += len(part)
            if r.random() < 0.1:  # somewhere else meanwhile
                back = r.randrange(len(whole))
                assert fetch(c, "%s<%d.%d>" % (section, back, 50)) == whole[back:back + 50]
        assert h.digest() == hashlib.sha256(whole).digest()
        assert fetch(c, "%s<%d.%d>" % (section, len(whole), 9)) == b""
        assert fetch(c, "%s<%d.%d>" % (section, len(whole) + 5, 9)) == b""


def cut():
    c, p = Line(IMAP, "jo", "secret"), Pop()
    c("SELECT INBOX")
    n = int(p("STAT").split()[1])
    c.send("FETCH 1 BODY.PEEK[]")
    p("RETR %d" % n)
    for f in (c.f, p.f):
        f.read(1000)
    os.truncate(sys.argv[5], 100000)
    # all that was announced comes, or the connection ends; the server is there for others
    p.s.shutdown(socket.SHUT_WR)
    for f in (c.f, p.f):
        try:
            while f.read1(1 << 20) and f is p.f:
                pass
        except ConnectionResetError:
            pass
    d = Line(IMAP, "jo", "secret")
    d("NOOP")
    os.kill(PID, 0)


globals()[sys.argv[4]]()
