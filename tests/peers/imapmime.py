"""imapmime: odd messages, and what FETCH must say of them.

    imapmime.py make DIR...                               the same Maildir in each
    imapmime.py check PORT USER PASSWORD                  sections against BODYSTRUCTURE, sizes, each other
    imapmime.py compare PORT USER PASSWORD PORT2 USER2 PASSWORD2    show what two servers answer differently
"""
import os
import re
import socket
import sys

import imapgrammar

HEAD = b"From: a@a.test\nSubject: %s\nMIME-Version: 1.0\n"


def multi(boundary, *parts, sub=b"mixed", end=True, pre=b"", post=b""):
    b = b"Content-Type: multipart/" + sub + b'; boundary="' + boundary + b'"\n\n' + pre
    for p in parts:
        b += b"--" + boundary + b"\n" + p + b"\n"
    return b + (b"--" + boundary + b"--\n" + post if end else b"")


TEXT = b"Content-Type: text/plain; charset=utf-8\n\nhello\n"
HTML = b"Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<b>=C3=A9</b>=\n\n"
PNG = b"Content-Type: image/png; name=x.png\nContent-Transfer-Encoding: base64\nContent-ID: <i@x>\nContent-Disposition: attachment; filename=x.png; size=3\n\nAAEC\n"
INNER = b"From: b@b.test\nTo: c@c.test, \"D E\" <d@d.test>\nSubject: inner\nDate: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: <in@x>\n"


def rfc822(body):
    return b"Content-Type: message/rfc822\n\n" + body


def deep(n):
    out = b"Content-Type: text/plain\n\nbottom\n"
    for i in range(n):
        out = multi(b"b%d" % i, out)
    return out


def deep_message(n):
    out = b"Subject: bottom\n\nx\n"
    for _ in range(n):
        out = b"Subject: level\n" + rfc822(out)
    return out


MESSAGES = [
    ("plain", b"\nbody\n"), ("no body", b""), ("only the empty line", b"\n"), ("empty message", None),
    ("no final newline", b"\nbody"), ("headers only, no end", b"X-Last: yes"),
    ("mixed", multi(b"b", TEXT, HTML, PNG)), ("preamble and epilogue", multi(b"b", TEXT, pre=b"pre\n", post=b"post\n")),
    ("nested", multi(b"o", multi(b"i", TEXT, HTML, sub=b"alternative"), PNG)),
    ("boundary is a prefix of another", multi(b"b", multi(b"b1", TEXT, HTML), PNG)),
    ("another is a prefix of the boundary", multi(b"b1", multi(b"b", TEXT, HTML), PNG)),
    ("the same boundary twice", multi(b"b", multi(b"b", TEXT), PNG)),
    ("no parts", b"Content-Type: multipart/mixed; boundary=b\n\nnothing here\n"), ("no parts at all", b"Content-Type: multipart/mixed; boundary=b\n\n"),
    ("only the end", b"Content-Type: multipart/mixed; boundary=b\n\n--b--\n"), ("no boundary parameter", b"Content-Type: multipart/mixed\n\n--b\n\nx\n--b--\n"),
    ("empty boundary", b'Content-Type: multipart/mixed; boundary=""\n\n--\n\nx\n----\n'), ("no end", multi(b"b", TEXT, HTML, end=False)),
    ("empty parts", multi(b"b", b"", b"\n", b"Content-Type: text/html\n")), ("digest", multi(b"b", b"\n" + INNER + b"\nx\n", TEXT, sub=b"digest")),
    ("message in a message", rfc822(INNER + b"\ninner body\n")), ("multipart in a message", rfc822(INNER + multi(b"b", TEXT, PNG))),
    ("message in a multipart", multi(b"b", TEXT, rfc822(INNER + b"\nx\n"))), ("multipart in a message in a multipart", multi(b"o", TEXT, rfc822(INNER + multi(b"i", TEXT, PNG)))),
    ("message in a message in a message", rfc822(INNER + rfc822(INNER + b"\nx\n"))), ("empty message inside", multi(b"b", rfc822(b""), TEXT)),
    ("message inside without a body", rfc822(INNER)), ("encoded message inside", b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA0KDQp5DQo=\n"),
    ("partial and external", multi(b"b", b"Content-Type: message/partial; id=x; number=1\n\nx\n", b"Content-Type: message/external-body; access-type=URL\n\nContent-Type: text/plain\n\n")),
    ("parameters", b"Content-Type: text/plain; charset=\"utf-8\"; format=flowed; x=\"a \\\"q\\\" b\" (a comment)\nContent-Disposition: inline\nContent-Language: de, en\nContent-Location: http://x/\nContent-MD5: Q2hlY2s=\nContent-Description: what it is\n\nx\n"),
    ("broken content type", b"Content-Type: text\n\nx\n"), ("no subtype", b"Content-Type: text/\n\nx\n"), ("rubbish content type", b"Content-Type: ;;;\n\nx\n"),
    ("odd parameter", b"Content-Type: text/plain; charset\n\nx\n"), ("rfc 2231", b"Content-Type: text/plain; name*0*=utf-8''%C3%A9; name*1=x\n\nx\n"),
    ("unknown encoding", b"Content-Type: text/plain\nContent-Transfer-Encoding: x-odd\n\nx\n"), ("upper case", b"CONTENT-TYPE: TEXT/HTML; CHARSET=US-ASCII\n\nx\n"),
    ("folded", b"Content-Type:\n text/plain;\n\tcharset=utf-8\n\nx\n"), ("bare CR", b"\na\rb\r\rc\n"), ("CRLF and LF", b"\na\r\nb\nc\r\n"), ("8 bit header", b"X: \xe9\nTo: \xc3\xa9 <x@x>\n\nx\n"),
    ("addresses", b"To: a@b.test, Group: c@d.test, \"E, F\" <e@f.test>;, G (comment) <g@h.test>\nCc: undisclosed:;\nBcc: <>\nReply-To: \nSender: x\nIn-Reply-To: <a@b>\nDate: now\n\nx\n"),
    ("route", b"To: <@a,@b:c@d>, no.address, \"quoted\"@x.test, a@[127.0.0.1]\n\nx\n"), ("two subjects", b"Subject: two\nTo: a@x\nTo: b@x\n\nx\n"),
    ("encoded words", b"To: =?utf-8?Q?=C3=A9?= <e@x>\n\nx\n"), ("header with quotes", b"X-A: b\nMessage-ID: <\"a\\\"b\"@x>\nIn-Reply-To: a \"b\" c\n\nx\n"),
    ("long line", b"\n" + b"x" * 70000 + b"\n"), ("deep", deep(20)), ("very deep", deep(1000)), ("deep messages", deep_message(20)), ("very deep messages", deep_message(300)),
    ("many parts", multi(b"b", *[TEXT] * 300)), ("space in the boundary line", b"Content-Type: multipart/mixed; boundary=b\n\n--b  \n\nx\n--b-- \n"),
    ("text after the end", multi(b"b", TEXT, post=b"--b\n\nmore\n")), ("header inside without colon", b"no colon here\nX: y\n\nx\n"), ("leading space", b" folded first\nX: y\n\nx\n"),
    ("NUL", b"\na\0b\n"), ("NUL in the header", b"X: a\0b\n\nx\n"), ("dot lines", b"\n.\n..\n"), ("boundary within the header", b"Content-Type: multipart/mixed; boundary=b\n--b\n\nx\n--b--\n"),
    ("alternative with message and text", multi(b"o", rfc822(INNER + multi(b"i", HTML, rfc822(INNER + b"\nz\n"))), TEXT, sub=b"alternative")),
]


def octets(name, rest):
    return b"" if rest is None else HEAD % name.encode() + rest


def make(dirs):
    for d in dirs:
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(d, sub), exist_ok=True)
        for i, (name, rest) in enumerate(MESSAGES):
            path = os.path.join(d, "cur", "%d.M%dP1.host:2,S" % (1767225600 + i, i))
            with open(path, "wb") as f:
                f.write(octets(name, rest))
            os.utime(path, (1767225600 + i,) * 2)


class Line:
    def __init__(self, port, user, password):
        self.s = socket.create_connection(("127.0.0.1", int(port)), 30)
        self.f, self.n = self.s.makefile("rb"), 0
        imapgrammar.read(self.f)
        self("LOGIN %s %s" % (user, password))
        self("SELECT INBOX")

    def __call__(self, command, want="OK"):
        self.n += 1
        self.s.sendall(b"a%d %s\r\n" % (self.n, command.encode()))
        out = []
        while True:
            line = imapgrammar.read(self.f)
            kind, v = imapgrammar.parse(line)
            if kind == "tagged":
                self.tagged = v
                assert want is None or v.word == want, (command, v)
                return out
            out.append((kind, v))

    def fetch(self, n, items, want="OK"):
        """{item: value}; None when the answer is no OK or a Fault."""
        try:
            got = [v[1] for k, v in self("FETCH %d (%s)" % (n, items), want=None) if k == "FETCH" and v[0] == n]
        except imapgrammar.Fault as e:
            line = b"x"
            while line and not line.startswith(b"a%d " % self.n):
                line = imapgrammar.read(self.f)
            assert line, "the server hung up"
            return {"fault": str(e)}
        if self.tagged.word != want:
            return {"tagged": self.tagged.word}
        out = {}
        for g in got:
            out.update(g)
        return out


def leaves(b, path=()):
    """(path, kind, sub, fields or None) of each part."""
    if b[0] == "multipart":
        for i, p in enumerate(b[2]):
            yield path + (i + 1,), p
            if p[0] == "multipart":
                yield from leaves(p, path + (i + 1,))
            elif p[0] == b"message" and len(p[2]) > 5:
                yield from inside(p, path + (i + 1,))


def inside(p, path):
    inner = p[2][6]
    if inner[0] == "multipart":
        yield from leaves(inner, path)
    else:
        yield path + (1,), inner
        if inner[0] == b"message" and len(inner[2]) > 5:
            yield from inside(inner, path + (1,))


def parts(b):
    if b[0] == "multipart":
        yield from leaves(b)
    else:
        yield (1,), b
        if b[0] == b"message" and len(b[2]) > 5:
            yield from inside(b, (1,))


def one(x, bad, n, name, whole):
    top = x.fetch(n, "RFC822.SIZE BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY BODYSTRUCTURE ENVELOPE BODY.PEEK[TEXT]<999999.5> BODY.PEEK[]<1.7> RFC822.HEADER")

    def must(ok, *what):
        if not ok:
            bad.append((name,) + what)
    must("BODY[]" in top, top)
    if "BODY[]" not in top:
        return
    must(top["BODY[]"] == whole, "octets", top["BODY[]"][:200], whole[:200])
    must(top["RFC822.SIZE"] == len(top["BODY[]"]), "size")
    must(top["BODY[HEADER]"] + top["BODY[TEXT]"] == top["BODY[]"], "header and text", top["BODY[HEADER]"][-100:], top["BODY[TEXT]"][:100])
    must(top["RFC822.HEADER"] == top["BODY[HEADER]"], "RFC822.HEADER")
    must("fault" not in top and "tagged" not in top, top)
    far = x.fetch(n, "BODY.PEEK[]<3.10> BODY.PEEK[]<%d.10>" % len(whole))
    must(far.get("BODY[]<3>") == whole[3:13] and far.get("BODY[]<%d>" % len(whole)) == b"", "partial", far)
    must(top["BODY[]<1>"] == whole[1:8], "partial", top["BODY[]<1>"])
    must(not top["BODY[TEXT]<999999>"], "partial beyond the end", top["BODY[TEXT]<999999>"])
    for path, p in list(parts(top["BODYSTRUCTURE"]))[:60]:
        if p[0] == "multipart" or len(path) > 32:  # IMAP_SECTION_DEPTH_MAX
            continue
        path = ".".join(map(str, path))
        fields = p[2]
        g = x.fetch(n, "BODY.PEEK[%s] BODY.PEEK[%s.MIME]" % (path, path))
        body, mime = g.get("BODY[%s]" % path), g.get("BODY[%s.MIME]" % path)
        must(body is not None and len(body) == fields[4], path, "octets in BODYSTRUCTURE", fields[4], g)
        if body is None:
            continue
        must(body in whole, path, "is not in the message")
        must(mime is not None and (mime.endswith(b"\r\n\r\n") or mime in (b"\r\n", b"")  or mime == top["BODY[HEADER]"] or body == b""), path, "MIME", mime)
        if p[0] == b"text" or (p[0] == b"message" and len(fields) > 5):
            must(body.count(b"\n") == fields[-1], path, "lines", fields[-1], body.count(b"\n"))
        if p[0] == b"message" and len(fields) > 5:
            g = x.fetch(n, "BODY.PEEK[%s.HEADER] BODY.PEEK[%s.TEXT] BODY.PEEK[%s.HEADER.FIELDS (Subject)] BODY.PEEK[%s.HEADER.FIELDS.NOT (Subject)]" % ((path,) * 4))
            head, text = g.get("BODY[%s.HEADER]" % path), g.get("BODY[%s.TEXT]" % path)
            must(head is not None and text is not None and head + text == body, path, "HEADER and TEXT", head, text)
            subject = g.get("BODY[%s.HEADER.FIELDS (SUBJECT)]" % path)
            must(subject is not None and subject.endswith(b"\r\n") and (fields[5][1] or b"") in subject, path, "HEADER.FIELDS", g)
        must(x.fetch(n, "BODY.PEEK[%s]<1.3>" % path).get("BODY[%s]<1>" % path) == body[1:4], path, "partial")
        if b"BINARY" in caps(x):
            g = x.fetch(n, "BINARY.SIZE[%s] BINARY.PEEK[%s]" % (path, path))
            if "tagged" not in g:
                must(g.get("BINARY.SIZE[%s]" % path) == len(g.get("BINARY[%s]" % path) or b""), path, "BINARY.SIZE", g)
    g = x.fetch(n, "BODY.PEEK[999] BODY.PEEK[1.999.3] BODY.PEEK[999.MIME]")
    must("tagged" in g or not any(g.values()), "parts that are not there", g)


def caps(x):
    if not hasattr(x, "caps"):
        x.caps = x("CAPABILITY")[0][1]
    return x.caps


def check(argv):
    x, bad = Line(*argv), []
    for i, (name, rest) in enumerate(MESSAGES):
        raw = octets(name, rest)
        one(x, bad, i + 1, name, re.sub(rb"\r?\n", b"\r\n", raw).replace(b"\0", b"\x80"))
    for b in bad:
        print("check: ", str(b)[:600])
    return len(bad)


ITEMS = ["ENVELOPE", "BODYSTRUCTURE", "BODY", "BODY.PEEK[1]", "BODY.PEEK[1.MIME]", "BODY.PEEK[2]", "BODY.PEEK[2.MIME]", "BODY.PEEK[1.1]", "BODY.PEEK[1.2]", "BODY.PEEK[2.1]", "BODY.PEEK[2.2]",
         "BODY.PEEK[1.HEADER]", "BODY.PEEK[1.TEXT]", "BODY.PEEK[2.HEADER]", "BODY.PEEK[2.TEXT]", "BODY.PEEK[1.1.1]", "BODY.PEEK[1.1.MIME]", "BODY.PEEK[2.1.MIME]", "BODY.PEEK[1.2.HEADER.FIELDS (Subject From)]",
         "BODY.PEEK[2.HEADER.FIELDS.NOT (Subject)]", "BODY.PEEK[HEADER.FIELDS (Subject X)]", "BODY.PEEK[HEADER.FIELDS.NOT (From)]", "BODY.PEEK[HEADER.FIELDS (None)]", "BODY.PEEK[3]", "BODY.PEEK[1.1.1.1]", "BODY.PEEK[1.1.1.MIME]",
         "BODY.PEEK[1.2.1]", "BODY.PEEK[1.2.MIME]", "BODY.PEEK[1.2.HEADER]", "BODY.PEEK[1.2.TEXT]", "BODY.PEEK[1.1.HEADER]", "BODY.PEEK[2.1.HEADER]"]


def lower(v):
    return v.lower() if isinstance(v, bytes) else type(v)(map(lower, v)) if isinstance(v, (list, tuple)) else v


def compare(argv):
    a, b, differ = Line(*argv[:3]), Line(*argv[3:]), []
    for i, (name, _) in enumerate(MESSAGES):
        for item in ITEMS:
            x, y = a.fetch(i + 1, item), b.fetch(i + 1, item)
            x, y = [{k: v for k, v in g.items() if k not in ("FLAGS", "UID")} for g in (x, y)]
            if "BODYS" in item or item == "BODY":
                x, y = lower(list(x.items())), lower(list(y.items()))
            empty = all(not v for v in (dict(x).values())) and all(not v for v in (dict(y).values()))
            if x != y and not empty:
                differ.append((name, item, x, y))
    return differ


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2:])
    elif sys.argv[1] == "check":
        sys.exit(check(sys.argv[2:]) > 0)
    else:
        for d in compare(sys.argv[2:]):
            print("%s: %s\n    %s\n    %s" % (d[0], d[1], str(d[2])[:500], str(d[3])[:500]))
