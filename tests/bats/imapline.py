"""imapline: IMAP line by line, for tests. `from imapline import *` (PYTHONPATH: tests/bats).

    c = Line(port, "jo", "secret")       # greeting read, logged in
    c("SELECT INBOX")                    # the untagged answers as a list of strings, literals inside;
                                         # AssertionError unless OK
    c("STORE 99 FLAGS ()", "BAD")        # another tagged answer; c.tagged has the line behind the tag
    c("APPEND x", b"octets")             # a literal behind the words, sent by LITERAL+
    c.compress()                         # from now on packed (RFC 4978)
    c.told("EXISTS")                     # the untagged answers of the last command that have the word
"""
import io
import re
import socket
import ssl
import zlib


class Unpacked(io.RawIOBase):
    def __init__(self, f):
        self.f, self.z, self.left = f, zlib.decompressobj(wbits=-15), b""

    def readable(self):
        return True

    def readinto(self, room):
        while not self.left:
            part = self.f.read1(65536)
            if not part:
                return 0
            self.left = self.z.decompress(part)
        n = min(len(room), len(self.left))
        room[:n], self.left = self.left[:n], self.left[n:]
        return n


class Line:
    def __init__(self, port, user="", password="", tls=False):
        self.s = socket.create_connection(("127.0.0.1", int(port)), 20)
        if tls:
            c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
            self.s = c.wrap_socket(self.s)
        self.f, self.n, self.last, self.packer = self.s.makefile("rb"), 0, [], None
        self.greeting = self.line()
        if user:
            self("LOGIN %s %s" % (user, password))

    def compress(self, behind=b""):
        """COMPRESS DEFLATE; `behind` is sent packed in one piece with the command."""
        self.n += 1
        self.packer = zlib.compressobj(wbits=-15)
        packed = self.packer.compress(behind) + self.packer.flush(zlib.Z_SYNC_FLUSH) if behind else b""
        self.s.sendall(b"t%d COMPRESS DEFLATE\r\n" % self.n + packed)
        self.wait()
        self.f = io.BufferedReader(Unpacked(self.f))

    def write(self, octets):
        if self.packer:
            octets = self.packer.compress(octets) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        self.s.sendall(octets)

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
        self.write(out + b"\r\n")

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
