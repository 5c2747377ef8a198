#!/usr/bin/env python3
"""What a large message costs the server: gib.py POSTBAG [OCTETS].

A message of OCTETS (1 GiB) goes in by APPEND and out by IMAP and POP3; each row is one fresh server, and tells how far its
resident memory (anonymous and mapped, VmHWM) grew beyond what it was after SELECT, wall and CPU time.
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

binary, size = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1 << 30
home = tempfile.mkdtemp(prefix="postbag-gib.", dir=os.environ.get("TMPDIR", "/var/tmp"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


IMAP, POP3 = free_port(), free_port()
with open(home + "/conf", "w") as f:
    f.write("hostname mx.a.test\ndomain a.test\ndata %s\nplaintext-auth yes\nlog none\nmessage-size-limit %d\n" % (home, size + 4096))
    f.write("listen imap 127.0.0.1:%d\nlisten pop3 127.0.0.1:%d\n" % (IMAP, POP3))
with open(home + "/accounts", "w") as f:
    f.write("jo@a.test:{PLAIN}pw\n")


class Server:
    def __enter__(self):
        self.p = subprocess.Popen([binary, "serve", "-C", home + "/conf"], stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", POP3)).close()
                break
            except OSError:
                time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.p.terminate()
        self.p.wait()

    def kib(self, field):
        for line in open("/proc/%d/status" % self.p.pid):
            if line.startswith(field + ":"):
                return int(line.split()[1])

    def cpu(self):
        v = open("/proc/%d/stat" % self.p.pid).read().rsplit(")", 1)[1].split()
        return (int(v[11]) + int(v[12])) * 1000 // os.sysconf("SC_CLK_TCK")

    def measure(self, what, f):
        with open("/proc/%d/clear_refs" % self.p.pid, "w") as c:
            c.write("5")  # the peak starts again
        before, cpu, t = self.kib("VmRSS"), self.cpu(), time.time()
        got = f()
        print("%-34s grew %5d KiB  %5.2f s  %5d ms CPU  %d octets" %
              (what, self.kib("VmHWM") - before, time.time() - t, self.cpu() - cpu, got), flush=True)


class Imap:
    def __init__(self):
        self.s = socket.create_connection(("127.0.0.1", IMAP), 100)
        self.s.recv(4096)
        self("LOGIN jo pw")

    def __call__(self, words):
        self.s.sendall(b"x " + words.encode() + b"\r\n")
        return self.wait()

    def wait(self):
        n, tail = 0, b"\r\n"
        while True:
            d = self.s.recv(1 << 20)
            assert d, "closed"
            n += len(d)
            tail = (tail + d)[-4096:]
            if tail.endswith(b"\r\n") and b"\r\nx " in tail:
                assert b"\r\nx OK" in tail, tail
                return n

    def append(self):
        head = (b"From: a@b\r\nSubject: big\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
                b"Content-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n")
        end, line = b"\r\n--b--\r\n", b"y" * 70 + b"\r\n"
        lines = (size - len(head) - len(end)) // len(line)
        self.s.sendall(b"x APPEND INBOX {%d}\r\n" % (len(head) + lines * len(line) + len(end)))
        assert self.s.recv(4096).startswith(b"+")
        self.s.sendall(head)
        while lines:
            n = min(lines, 10000)
            self.s.sendall(line * n)
            lines -= n
        self.s.sendall(end + b"\r\n")
        return self.wait()


def retr(words):
    s = socket.create_connection(("127.0.0.1", POP3), 100)
    f = s.makefile("rb")
    for x in ("USER jo", "PASS pw", "STAT"):
        f.readline()
        s.sendall(x.encode() + b"\r\n")
    f.readline()

    def run():
        s.sendall(words.encode() + b"\r\n")
        n, tail = 0, b""
        while tail != b"\r\n.\r\n":
            d = s.recv(1 << 20)
            n += len(d)
            tail = (tail + d)[-5:]
        return n
    return run


try:
    with Server() as server:
        c = Imap()
        c("SELECT INBOX")
        server.measure("APPEND", c.append)
    middle = size * 9 // 10
    for row in ("FETCH 1 BODY.PEEK[]", "FETCH 1 BODY.PEEK[2]", "FETCH 1 BINARY.PEEK[2]", "BODY.PEEK[2] by 1 MiB",
                "FETCH 1 BODY.PEEK[TEXT]<%d.1000>" % middle, "FETCH 1 (ENVELOPE BODYSTRUCTURE)", "FETCH 1 (PREVIEW EMAILID)",
                "SEARCH BODY nothing", "COPY 1 Sent"):
        with Server() as server:
            c = Imap()
            c("SELECT INBOX")
            if "by 1 MiB" in row:
                server.measure(row, lambda: sum(c("FETCH 1 BODY.PEEK[2]<%d.1048576>" % at) for at in range(0, size, 1 << 20)))
            else:
                server.measure(row, lambda: c(row))
    for row in ("RETR 1", "TOP 1 99999999"):
        with Server() as server:
            server.measure("POP3 " + row, retr(row))
finally:
    shutil.rmtree(home)
