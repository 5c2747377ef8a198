"""imapgrammar: a strict reader of what an IMAP server says (RFC 3501 and RFC 9051 section 9, with the
grammars of RFC 2971, 4314, 4315, 4466, 4731, 5182, 5256, 5258, 5464, 5465, 5530, 7162, 8438, 8474,
8514, 8970, 9208, 9394, 9585, 9586, 9738 and 10022). What both IMAP4rev1 and rev2 forbid is a fault.

    for octets in split(stream): kind, value = parse(octets)       # Fault when it is not grammatical

kind is "+", "tagged" or the name of the untagged answer. For FETCH value is (number, {item: value}),
for tagged ones and OK, NO, BAD, BYE, PREAUTH a Status.
"""
import re
import sys
from collections import namedtuple

sys.setrecursionlimit(20000)

Status = namedtuple("Status", "tag word code args text")


class Fault(Exception):
    pass


ATOM = rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+'
ASTRING = rb'[^\x00-\x20\x7f-\xff(){%*"\\]+'
DATE = re.compile(rb'"[ \d]\d-(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)-\d{4} '
                  rb'\d\d:\d\d:\d\d [+-]\d{4}"')
SET = re.compile(rb"[1-9]\d*(?::[1-9]\d*)?(?:,[1-9]\d*(?::[1-9]\d*)?)*")
SYSTEM = {b"\\answered", b"\\flagged", b"\\deleted", b"\\seen", b"\\draft"}
PLAIN_CODES = set(b"""ALERT PARSE READ-ONLY READ-WRITE TRYCREATE UIDNOTSTICKY NOMODSEQ CLOSED UNAVAILABLE
AUTHENTICATIONFAILED AUTHORIZATIONFAILED EXPIRED PRIVACYREQUIRED CONTACTADMIN NOPERM INUSE EXPUNGEISSUED
CORRUPTION SERVERBUG CLIENTBUG CANNOT LIMIT OVERQUOTA ALREADYEXISTS NONEXISTENT HASCHILDREN NOTSAVED TOOBIG
TOOFEW COMPRESSIONACTIVE USEATTR NOTIFICATIONOVERFLOW UIDREQUIRED UNKNOWN-CTE CLIENTID""".split())


def expand(s, limit=1 << 20):
    """The numbers of a set."""
    out = []
    for part in s.split(b","):
        a, _, b = part.partition(b":")
        a, b = int(a), int(b or a)
        if abs(b - a) > limit:
            raise Fault("a huge set %r" % s[:60])
        out.extend(range(min(a, b), max(a, b) + 1))
    return out


class Reader:
    def __init__(self, octets, utf8=False):
        self.b, self.i, self.utf8 = octets, 0, utf8

    def fail(self, what):
        at = self.b[max(0, self.i - 60):self.i], self.b[self.i:self.i + 60]
        raise Fault("%s at %d: %r <here> %r" % (what, self.i, *at))

    def has(self, word):
        if self.b[self.i:self.i + len(word)].upper() != word:
            return False
        self.i += len(word)
        return True

    def need(self, word):
        if not self.has(word):
            self.fail("wanted %r" % word)

    def sees(self, word):
        return self.b[self.i:self.i + len(word)].upper() == word

    def take(self, pattern, what):
        m = re.compile(pattern).match(self.b, self.i)
        if not m:
            self.fail("wanted " + what)
        self.i = m.end()
        return m.group()

    def end(self):
        if self.i != len(self.b):
            self.fail("wanted the end")

    def sp(self):
        self.need(b" ")

    def atom(self):
        return self.take(ATOM, "an atom")

    def number(self, low=0, high=0xffffffff):
        n = self.take(rb"\d+", "a number")
        if len(n) > 1 and n[:1] == b"0":
            self.fail("a number with a leading 0")
        if not low <= int(n) <= high:
            self.fail("the number %s is not in %d..%d" % (n.decode(), low, high))
        return int(n)

    def nz(self):
        return self.number(1)

    def number64(self, low=0):
        return self.number(low, (1 << 63) - 1)

    def set(self):
        s = self.take(SET.pattern, "a set")
        for n in re.findall(rb"\d+", s):
            if int(n) > 0xffffffff:
                self.fail("a number beyond 32 bits")
        return s

    def text(self):
        t = self.b[self.i:]
        if not t or re.search(rb"[\0\r\n]", t) or (not self.utf8 and re.search(rb"[\x80-\xff]", t)):
            self.fail("wanted text")
        self.i = len(self.b)
        return t

    def quoted(self):
        q = self.take(rb'"(?:[^"\\\r\n\0]|\\["\\])*"', "a quoted string")[1:-1]
        if re.search(rb"[\x80-\xff]", q):
            if not self.utf8:
                self.fail("8 bit in a quoted string %r" % q[:60])
            try:
                q.decode("utf-8")
            except UnicodeDecodeError:
                self.fail("no UTF-8 in a quoted string")
        return re.sub(rb'\\(["\\])', rb"\1", q)

    def literal(self, is8=False):
        head = self.take(rb"~\{\d+\}\r\n" if is8 else rb"\{\d+\}\r\n", "a literal")
        n = int(re.search(rb"\d+", head).group())
        out = self.b[self.i:self.i + n]
        if len(out) != n:
            self.fail("the literal ends early")
        if not is8 and b"\0" in out:
            self.fail("NUL in a literal")
        self.i += n
        return out

    def string(self):
        return self.quoted() if self.sees(b'"') else self.literal()

    def is_nil(self):
        m = re.compile(rb"NIL(?=[ )\]]|$)", re.I).match(self.b, self.i)
        if m:
            self.i = m.end()
        return bool(m)

    def nstring(self):
        return None if self.is_nil() else self.string()

    def astring(self):
        if self.sees(b'"') or self.sees(b"{"):
            return self.string()
        return self.take(ASTRING, "an astring")

    def mailbox(self):
        name = self.astring()
        if not self.utf8:
            if re.search(rb"[\x80-\xff]", name):
                self.fail("8 bit in the mailbox name %r" % name)
            if re.search(rb"&(?![A-Za-z0-9+,]*-)", name):
                self.fail("no modified UTF-7: %r" % name)
        return name

    def many(self, one, empty=False):
        """( one SP one ... )"""
        self.need(b"(")
        out = []
        if empty and self.has(b")"):
            return out
        while True:
            out.append(one())
            if self.has(b")"):
                return out
            self.sp()

    def flag(self, recent=False, star=False):
        if star and self.has(b"\\*"):
            return b"\\*"
        if self.sees(b"\\"):
            f = self.take(rb"\\" + ATOM, "a flag")
            if f.lower() not in SYSTEM and not (recent and f.lower() == b"\\recent"):
                self.fail("the flag %r" % f)
            return f
        return self.atom()

    def flags(self, **how):
        out = self.many(lambda: self.flag(**how), empty=True)
        if len({x.lower() for x in out}) != len(out):
            self.fail("a flag twice")
        return out

    # --- ENVELOPE and BODYSTRUCTURE ---
    def address(self):
        self.need(b"(")
        out = [self.nstring()]
        for _ in range(3):
            self.sp()
            out.append(self.nstring())
        self.need(b")")
        return tuple(out)

    def addresses(self):
        if self.is_nil():
            return None
        self.need(b"(")
        out = [self.address()]
        while not self.has(b")"):
            out.append(self.address())
        return out

    def envelope(self):
        self.need(b"(")
        out = [self.nstring()]
        self.sp()
        out.append(self.nstring())
        for _ in range(6):
            self.sp()
            out.append(self.addresses())
        for _ in range(2):
            self.sp()
            out.append(self.nstring())
        self.need(b")")
        return out

    def param(self):
        if self.is_nil():
            return None
        out = self.many(self.string)
        if len(out) % 2:
            self.fail("an odd number of strings in the parameters")
        return out

    def disposition(self):
        if self.is_nil():
            return None
        self.need(b"(")
        kind = self.string()
        self.sp()
        p = self.param()
        self.need(b")")
        return kind, p

    def extension(self):
        if self.sees(b"("):
            return self.many(self.extension)
        if re.compile(rb"\d").match(self.b, self.i):
            return self.number64()
        return self.nstring()

    def tail(self, first, extended):
        """Extension data behind what there must be."""
        out = []
        steps = [first, self.disposition,
                 lambda: self.many(self.string) if self.sees(b"(") else self.nstring(), self.nstring]
        while self.has(b" "):
            if not extended:
                self.fail("extension data in BODY")
            out.append(steps[len(out)]() if len(out) < len(steps) else self.extension())
        return out

    def body(self, extended):
        self.need(b"(")
        if self.sees(b"("):
            parts = []
            while self.sees(b"("):
                parts.append(self.body(extended))
            self.sp()
            out = ("multipart", self.string().lower(), parts, self.tail(self.param, extended))
        else:
            kind = self.string().lower()
            self.sp()
            sub = self.string().lower()
            self.sp()
            fields = [self.param()]
            for one in (self.nstring, self.nstring, self.string, self.number):
                self.sp()
                fields.append(one())
            if kind == b"message" and sub in (b"rfc822", b"global"):
                self.sp()
                fields.append(self.envelope())
                self.sp()
                fields.append(self.body(extended))
                self.sp()
                fields.append(self.number64())
            elif kind == b"text":
                self.sp()
                fields.append(self.number64())
            out = (kind, sub, fields, self.tail(self.nstring, extended))
        self.need(b")")
        return out

    # --- FETCH ---
    def section(self):
        start = self.i
        self.need(b"[")
        part = re.compile(rb"[1-9]\d*(?:\.[1-9]\d*)*").match(self.b, self.i)
        if part:
            self.i = part.end()
        if not self.sees(b"]"):
            if part:
                self.need(b".")
            if self.has(b"HEADER.FIELDS.NOT ") or self.has(b"HEADER.FIELDS "):
                self.many(self.astring)
            elif not (self.has(b"HEADER") or self.has(b"TEXT") or part and self.has(b"MIME")):
                self.fail("wanted a section")
        self.need(b"]")
        return self.b[start:self.i].decode().upper()

    def partial(self):
        if not self.has(b"<"):
            return ""
        n = self.number()
        self.need(b">")
        return "<%d>" % n

    def date(self):
        return self.take(DATE.pattern, "a date-time")

    def objectid(self):
        self.need(b"(")
        out = self.take(rb"[A-Za-z0-9_-]{1,255}", "an object id")
        self.need(b")")
        return out

    def att(self):
        if self.has(b"BINARY.SIZE["):
            self.i -= 1
            name = "BINARY.SIZE" + self.section()
            self.sp()
            return name, self.number64()
        if self.has(b"BINARY["):    # all sections of BODY, as Dovecot has them: only who asks for them gets them
            self.i -= 1
            name = "BINARY" + self.section() + self.partial()
            self.sp()
            return name, self.literal(True) if self.sees(b"~") else self.nstring()
        if self.sees(b"BODY["):
            self.i += 4
            name = "BODY" + self.section() + self.partial()
            self.sp()
            return name, self.nstring()
        name = self.take(rb"[A-Z0-9.]+", "an item").decode()
        self.sp()
        one = {"FLAGS": lambda: self.flags(recent=True), "ENVELOPE": self.envelope, "INTERNALDATE": self.date,
               "RFC822": self.nstring, "RFC822.HEADER": self.nstring, "RFC822.TEXT": self.nstring,
               "RFC822.SIZE": self.number64, "BODY": lambda: self.body(False),
               "BODYSTRUCTURE": lambda: self.body(True), "UID": self.nz,
               "MODSEQ": lambda: self.many(lambda: self.number64(1))[0], "PREVIEW": self.nstring,
               "SNIPPET": self.nstring, "EMAILID": self.objectid,
               "THREADID": lambda: None if self.is_nil() else self.objectid(),
               "SAVEDATE": lambda: None if self.is_nil() else self.date()}.get(name)
        if not one:
            self.fail("the item %s" % name)
        return name, one()

    def fetch(self, n):
        items = self.many(self.att)
        out = dict(items)
        if len(out) != len(items):
            self.fail("an item twice")
        return n, out

    # --- the others ---
    def thread(self):
        """thread-list: members, or at least two lists."""
        self.need(b"(")
        out = []
        if not self.sees(b"("):
            out.append(self.nz())
            while self.has(b" "):
                if self.sees(b"("):
                    out.append(self.nested())
                    break
                out.append(self.nz())
        else:
            out.append(self.nested())
        self.need(b")")
        return out

    def nested(self):
        out = []
        while self.sees(b"("):
            out.append(self.thread())
        if len(out) < 2:
            self.fail("one thread in brackets of its own")
        return out

    def ext_value(self):
        if self.sees(b"("):
            return self.many(self.ext_value, empty=True)
        return self.astring()

    def delimiter(self):
        if self.is_nil():
            return None
        d = self.quoted()
        if len(d) != 1:
            self.fail("a delimiter of %d octets" % len(d))
        return d

    def list(self):
        attributes = self.many(lambda: self.take(rb"\\" + ATOM, "an attribute"), empty=True)
        if len({a.lower() for a in attributes}) != len(attributes):
            self.fail("an attribute twice")
        self.sp()
        delimiter = self.delimiter()
        self.sp()
        name, more = self.mailbox(), []
        if self.has(b" "):
            def one():
                tag = self.astring()
                self.sp()
                return tag, self.ext_value()
            more = self.many(one, empty=True)
        return attributes, delimiter, name, more

    def status_att(self):
        name = self.take(rb"[A-Z-]+", "a STATUS item").decode()
        self.sp()
        one = {"MESSAGES": self.number, "RECENT": self.number, "UNSEEN": self.number, "DELETED": self.number,
               "UIDNEXT": self.nz, "UIDVALIDITY": self.nz, "SIZE": self.number64,
               "HIGHESTMODSEQ": self.number64, "MAILBOXID": self.objectid, "DELETED-STORAGE": self.number64,
               "APPENDLIMIT": lambda: None if self.is_nil() else self.number64()}.get(name)
        if not one:
            self.fail("the STATUS item %s" % name)
        return name, one()

    def correlator(self):
        """(TAG "x")"""
        if not self.has(b"(TAG "):
            return None
        tag = self.string()
        self.need(b")")
        return tag

    def esearch(self):
        out = {}
        if self.has(b" ("):
            self.i -= 1
            out["TAG"] = self.correlator() or self.fail("wanted (TAG")
        if re.compile(rb" UID(?= |$)").match(self.b, self.i):
            self.i += 4
            out["UID"] = True
        while self.has(b" "):
            name = self.take(rb"[A-Z]+", "a result").decode()
            self.sp()
            if name in out:
                self.fail("%s twice" % name)
            if name in ("MIN", "MAX"):
                out[name] = self.nz()
            elif name == "COUNT":
                out[name] = self.number()
            elif name == "MODSEQ":
                out[name] = self.number64(1)
            elif name == "ALL":
                out[name] = self.set()
            elif name == "PARTIAL":
                self.need(b"(")
                out[name] = self.take(rb"-?[1-9]\d*:-?[1-9]\d*", "a range")
                self.sp()
                out["SET"] = None if self.is_nil() else self.set()
                self.need(b")")
            else:
                self.fail("the result %s" % name)
        return out

    def numbers(self):
        out = []
        while self.has(b" "):
            if self.has(b"(MODSEQ "):
                self.number64(1)
                self.need(b")")
                break
            out.append(self.nz())
        return out

    def capabilities(self, must=True):
        out = []
        while self.has(b" "):
            out.append(self.take(ATOM, "a capability"))
        if must and b"IMAP4rev1" not in out and b"IMAP4rev2" not in out:
            self.fail("no IMAP4rev1")
        if len(set(out)) != len(out):
            self.fail("a capability twice")
        return out

    def namespace(self):
        if self.is_nil():
            return []
        self.need(b"(")
        out = []
        while not self.has(b")"):
            self.need(b"(")
            prefix = self.string()
            self.sp()
            out.append((prefix, self.delimiter()))
            while self.has(b" "):
                self.string()
                self.sp()
                self.many(self.string)
            self.need(b")")
        if not out:
            self.fail("an empty namespace list")
        return out

    def entry(self):
        e = self.astring()
        if not re.fullmatch(rb"/(?:private|shared)(?:/[^/*%\x00-\x1f\x7f-\xff]+)+", e, re.I):
            self.fail("the entry %r" % e)
        return e

    def metadata(self):
        name = self.astring()
        self.sp()
        out = {}
        if not self.sees(b"("):
            out[self.entry()] = None
            while self.has(b" "):
                out[self.entry()] = None
            return name, out
        self.need(b"(")
        while True:
            e = self.entry()
            self.sp()
            out[e] = self.literal(True) if self.sees(b"~") else self.nstring()
            if self.has(b")"):
                return name, out
            self.sp()

    def quota(self):
        root = self.astring()
        self.sp()

        def one():
            name = self.atom()
            self.sp()
            usage = self.number64()
            self.sp()
            return name, usage, self.number64()
        return root, self.many(one, empty=True)

    def rights(self, empty=True):
        r = self.astring()
        if not re.fullmatch(rb"[a-z0-9]*", r) or len(set(r)) != len(r):
            self.fail("the rights %r" % r)
        return r

    def code(self):
        """Behind "[": the code with its arguments, and "]"."""
        word = self.take(ATOM, "a response code").upper()
        args = None
        if word in PLAIN_CODES:
            pass
        elif word == b"BADCHARSET":
            args = self.has(b" ") and self.many(self.astring)
        elif word == b"CAPABILITY":
            args = self.capabilities()
        elif word == b"PERMANENTFLAGS":
            self.sp()
            args = self.flags(star=True)
        elif word in (b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN"):
            self.sp()
            args = self.nz()
        elif word == b"APPENDUID":
            self.sp()
            v = self.nz()
            self.sp()
            args = v, self.set()
        elif word == b"COPYUID":
            self.sp()
            v = self.nz()
            self.sp()
            a = self.set()
            self.sp()
            args = v, a, self.set()
            if len(expand(args[1])) != len(expand(args[2])):
                self.fail("COPYUID of different lengths")
        elif word == b"HIGHESTMODSEQ":
            self.sp()
            args = self.number64(1)
        elif word == b"MODIFIED":
            self.sp()
            args = self.set()
        elif word == b"MAILBOXID":
            self.sp()
            args = self.objectid()
        elif word == b"METADATA":
            self.sp()
            if self.has(b"LONGENTRIES ") or self.has(b"MAXSIZE "):
                args = self.number64()
            elif not (self.has(b"TOOMANY") or self.has(b"NOPRIVATE")):
                self.fail("METADATA of what")
        elif word == b"BADEVENT":
            self.sp()
            args = self.many(self.atom)
        elif word == b"INPROGRESS":
            if self.has(b" ("):
                args = [None if self.is_nil() else self.string()]
                for one in (self.number, self.nz):
                    self.sp()
                    args.append(None if self.is_nil() else one())
                self.need(b")")
                if args[1] is not None and args[2] is not None and args[1] > args[2]:
                    self.fail("more done than there is")
        elif word == b"MESSAGELIMIT":
            self.sp()
            args = [self.nz()]
            if self.has(b" "):
                args.append(self.nz())
        elif word in (b"REFERRAL", b"UNDEFINED-FILTER", b"BADURL"):
            self.sp()
            args = self.take(rb"[^\]\r\n]+", "an argument")
        else:
            self.fail("the response code %r" % word)
        self.need(b"]")
        return word.decode(), args

    def status(self, tag, word):
        code, args = "", None
        if self.has(b"["):
            code, args = self.code()
            self.sp()
        return Status(tag, word, code, args, self.text())

    def untagged(self):
        m = re.compile(rb"\d").match(self.b, self.i)
        if m:
            n = self.number()
            self.sp()
            word = self.atom().decode().upper()
            if word in ("EXPUNGE", "FETCH", "UIDFETCH") and n == 0:
                self.fail("message 0")
            if word in ("FETCH", "UIDFETCH"):
                self.sp()
                return word, self.fetch(n)
            if word not in ("EXISTS", "RECENT", "EXPUNGE"):
                self.fail("the answer %s" % word)
            return word, n
        word = self.atom().decode().upper()
        if word in ("OK", "NO", "BAD", "BYE", "PREAUTH"):
            self.sp()
            return word, self.status("*", word)
        if word in ("SEARCH", "SORT"):
            return word, self.numbers()
        if word == "THREAD":
            out = []
            if self.has(b" "):
                out.append(self.thread())
                while self.sees(b"("):
                    out.append(self.thread())
            return word, out
        if word == "ESEARCH":
            return word, self.esearch()
        if word == "CAPABILITY":
            return word, self.capabilities()
        if word == "ENABLED":
            return word, self.capabilities(False)
        self.sp()
        if word in ("LIST", "LSUB"):
            return word, self.list()
        if word == "STATUS":
            name = self.mailbox()
            self.sp()
            return word, (name, dict(self.many(self.status_att, empty=True)))
        if word == "FLAGS":
            return word, self.flags()
        if word == "VANISHED":
            earlier = self.has(b"(EARLIER) ")
            return word, (earlier, self.set())
        if word == "NAMESPACE":
            out = [self.namespace()]
            for _ in range(2):
                self.sp()
                out.append(self.namespace())
            return word, out
        if word == "ID":
            def pair():
                key = self.string()
                self.sp()
                return key, self.nstring()
            return word, None if self.is_nil() else self.many(pair, empty=True)
        if word == "METADATA":
            return word, self.metadata()
        if word == "QUOTA":
            return word, self.quota()
        if word == "QUOTAROOT":
            out = [self.mailbox()]
            while self.has(b" "):
                out.append(self.astring())
            return word, out
        if word == "MYRIGHTS":
            name = self.mailbox()
            self.sp()
            return word, (name, self.rights())
        if word == "ACL":
            out = [self.mailbox()]
            while self.has(b" "):
                who = self.astring()
                self.sp()
                out.append((who, self.rights()))
            return word, out
        if word == "LISTRIGHTS":
            out = [self.mailbox()]
            self.sp()
            out.append(self.astring())
            while self.has(b" "):
                out.append(self.rights())
            return word, out
        if word == "UIDBATCHES":
            tag = self.correlator() or self.fail("wanted (TAG")
            return word, (tag, self.set() if self.has(b" ") else None)
        return self.fail("the answer %s" % word)


def parse(octets, utf8=False):
    """One answer without the CRLF at its end, literals inside."""
    r = Reader(octets, utf8)
    if r.has(b"+"):
        r.sp()
        out = "+", r.b[r.i:]
        if re.search(rb"[\0\r\n\x80-\xff]", out[1]):
            r.fail("wanted text")
        return out
    if r.has(b"* "):
        out = r.untagged()
    else:
        tag = r.take(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+', "a tag")
        r.sp()
        word = r.take(rb"OK|NO|BAD", "OK, NO or BAD").decode()
        r.sp()
        out = "tagged", r.status(tag.decode(), word)
    r.end()
    return out


def read(f):
    """One answer with its literals from a file, CRLF taken off; b"" at the end."""
    out = b""
    while True:
        line = f.readline()
        out += line
        if not line:
            if out:
                raise Fault("the connection ends inside %r" % out[-200:])
            return b""
        if not line.endswith(b"\r\n"):
            if len(f.peek(1) if hasattr(f, "peek") else b"") == 0:
                raise Fault("the connection ends inside %r" % out[-200:])
            raise Fault("a line ends in a bare LF: %r" % line[-200:])
        m = re.search(rb"\{(\d+)\}\r\n$", line)
        if not m:
            return out[:-2]
        n = int(m.group(1))
        while n:
            part = f.read(n)
            if not part:
                raise Fault("the connection ends in a literal")
            out += part
            n -= len(part)


GOOD = rb"""
* OK [CAPABILITY IMAP4rev1 IDLE] hello there
a OK [COPYUID 7 1:3,9 4:6,10] done
* 3 FETCH (FLAGS (\Seen $x) UID 9 MODSEQ (12) BODY[1.2.HEADER.FIELDS (Date "X y")]<0> NIL)
* 1 FETCH (ENVELOPE (NIL "a \"b\"" ((NIL NIL "a" "b")(NIL NIL "c" NIL)) NIL NIL NIL NIL NIL NIL "<x>"))
* 1 FETCH (BODYSTRUCTURE (("TEXT" "PLAIN" ("CHARSET" "x") NIL NIL "7BIT" 3 1 NIL NIL NIL NIL)("image" "png" NIL NIL NIL "base64" 4) "MIXED" ("boundary" "b") NIL ("de" "en") NIL))
* 1 FETCH (BODY ("message" "rfc822" NIL NIL NIL "7bit" 5 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ("a" "b" NIL NIL NIL "8bit" 0) 1))
* LIST (\HasNoChildren) "/" "&AOk-" ("CHILDINFO" ("SUBSCRIBED"))
* LIST () NIL INBOX
* ESEARCH (TAG "a") UID MIN 1 MAX 9 COUNT 3 ALL 1,4:9 MODSEQ 4
* ESEARCH (TAG "a") UID PARTIAL (-1:-10 NIL)
* THREAD (2)(3 6 (4 23)(44 7 96))((1)(5))
* SEARCH 2 3 (MODSEQ 917162500)
* STATUS "a b" (MESSAGES 0 UIDNEXT 1 MAILBOXID (F2-x_))
* VANISHED (EARLIER) 300:310,405
* 12 FETCH (BINARY[1]<0> ~{0}
* QUOTA "" (STORAGE 10 512)
""".strip().replace(b"~{0}\n", b"~{2}\r\n\0\n)\n").split(b"\n* ")
BAD = rb"""
* FLAGS (\Seen \Recent)
* 0 FETCH (UID 1)
* 3 FETCH ()
* 3 FETCH (UID 0)
* 3 FETCH (UID 1 UID 1)
* 3 FETCH (FLAGS (\Seen \Seen))
* 3 FETCH (FLAGS (\Odd))
* 3 FETCH (UID 01)
* 3 FETCH (BODY[MIME] NIL)
* 3 FETCH (INTERNALDATE "1-Jan-2026 00:00:00 +0000")
* 1 FETCH (BODY ("TEXT" "PLAIN" ("CHARSET") NIL NIL "7BIT" 3 1))
* 1 FETCH (BODY ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 3))
* 1 FETCH (BODY ("TEXT" "PLAIN" () NIL NIL "7BIT" 3 1))
* 1 FETCH (BODY ("TEXT" "PLAIN" NIL NIL NIL NIL 3 1))
* 1 FETCH (BODY ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 3 1 NIL))
* 1 FETCH (BODYSTRUCTURE ("MIXED" NIL NIL NIL))
* 1 FETCH (ENVELOPE (NIL NIL () NIL NIL NIL NIL NIL NIL NIL))
* 1 FETCH (ENVELOPE (NIL NIL ((NIL NIL "a" "b") (NIL NIL "a" "b")) NIL NIL NIL NIL NIL NIL NIL))
* LIST (\HasNoChildren) "/" a b
* LIST () "//" a
* LIST () "/" "a&b"
* ESEARCH (TAG "a") ALL
* ESEARCH (TAG a) COUNT 1
* THREAD ((1))
* SEARCH 0
* SEARCH  1
* VANISHED
* STATUS a (UIDNEXT 0)
* OK
* OK [UIDNEXT 0] x
* OK [COPYUID 7 1:3 4] x
* OK [ODD-CODE] x
* OK [ALERT]
a PREAUTH x
a FINE x
* 3 EXPUNGE x
""".strip().split(b"\n")


def selftest():
    stream = [GOOD[0]] + [b"* " + x for x in GOOD[1:]]
    for x in stream:
        for part in x.split(b"\na OK"):
            parse(part if part.startswith(b"*") else b"a OK" + part)
    for x in BAD:
        try:
            parse(x)
        except Fault:
            continue
        raise AssertionError("taken: %r" % x)


def unescape(s):
    simple = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\", b"c": b""}
    return re.sub(rb"\\(x[0-9a-fA-F]{2}|[rnt0\\c])",
                  lambda m: simple.get(m.group(1)) if m.group(1) in simple else bytes([int(m.group(1)[1:], 16)]), s)


def transcript(path):
    """The faults in the S: lines of one transcript of tests/wire."""
    import io
    out, faults, count, utf8 = b"", [], 0, False
    for line in open(path, "rb").read().split(b"\n"):
        utf8 = utf8 or bool(re.match(rb"C: \S+ ENABLE .*(UTF8=ACCEPT|IMAP4rev2)", line, re.I))
        if line.startswith(b"S: "):
            line = line[3:]
            bare = line.endswith(b"\\c")
            out += unescape(line) + (b"" if bare else b"\r\n")
    f = io.BufferedReader(io.BytesIO(out))
    while True:
        try:
            x = read(f)
            if not x:
                return count, faults
            count += 1
            parse(x, utf8=utf8)
        except Fault as e:
            faults.append("%s: %s" % (path, e))


def main(paths):
    selftest()
    count, faults = 0, []
    for p in paths:
        n, bad = transcript(p)
        count += n
        faults += bad
    for x in faults:
        print(x)
    print("%d answers, %d faults" % (count, len(faults)))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
