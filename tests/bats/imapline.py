"""imapline: IMAP line by line, for tests. `from imapline import *` (PYTHONPATH: tests/bats).

    c = Line(port, "jo", "secret")       # greeting read, logged in
    c("SELECT INBOX")                    # the untagged answers as a list of strings, literals inside;
                                         # AssertionError unless OK
    c("STORE 99 FLAGS ()", "BAD")        # another tagged answer; c.tagged has the line behind the tag
    c("APPEND x", b"octets")             # a literal behind the words, sent by LITERAL+
    c.told("EXISTS")                     # the untagged answers of the last command that have the word
"""
import re
import socket
import ssl


class Line:
    def __init__(self, port, user="", password="", tls=False):
        self.s = socket.create_connection(("127.0.0.1", int(port)), 20)
        if tls:
            c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
            self.s = c.wrap_socket(self.s)
        self.f, self.n, self.last = self.s.makefile("rb"), 0, []
        self.greeting = self.line()
        if user:
            self("LOGIN %s %s" % (user, password))

    def line(self):
        """One answer with its literals; "" at the end of the connection."""
        out = b""
        while True:
            part = self.f.readline()
            out += part
            m = re.search(rb"\{(\d+)\}\r\n$", part)
            if not m:
                assert not part or part.endswith(b"\r\n"), part
                return (out[:-2] if part else out).decode("utf-8", "surrogateescape")
            out += self.f.read(int(m.group(1)))

    def send(self, *words, want=None):
        self.n += 1
        out = b"t%d" % self.n
        for w in words:
            out += b" {%d+}\r\n%s" % (len(w), w) if isinstance(w, bytes) else b" " + w.encode()
        self.s.sendall(out + b"\r\n")

    def wait(self, want="OK"):
        self.last = []
        while True:
            x = self.line()
            assert x, "the server hung up: %s" % self.last
            if x.startswith("t%d " % self.n):
                self.tagged = x[len("t%d " % self.n):]
                assert self.tagged.startswith(want), (self.tagged, self.last)
                return self.last
            self.last.append(x)

    def __call__(self, *words):
        want = "OK"
        if words[-1] in ("OK", "NO", "BAD"):
            words, want = words[:-1], words[-1]
        self.send(*words)
        return self.wait(want)

    def told(self, word):
        return [x for x in self.last if word in x]
