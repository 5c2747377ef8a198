"""imaptest: many IMAP clients at random on the same mailboxes, each with a model of what it was told (after
Dovecot's imaptest). Standard library only.

    imaptest.py --port P [--port P2] --user jo --password secret [--clients 20] [--seconds 20] [--seed 1]
                [--box INBOX --box Work] [--maildir DIR] [--deliver 'COMMAND'] [--checkpoint 4]

Every answer is read by imapgrammar and compared with the model of that client: numbers, UIDs, flags, MODSEQ.
  - no EXPUNGE while FETCH, STORE, SEARCH, SORT, THREAD by number run; EXISTS never shrinks; UIDs ascend
  - a UID never has other octets, another size or date; UIDVALIDITY never changes; no UID is given twice
  - a keyword that only one client sets is there exactly when that client said so (Work and further boxes only
    lose it by STORE FLAGS, so it is looked at in the first box, where that is not sent)
  - what QRESYNC tells after a broken connection makes the view right again
  - at a checkpoint all stop and say NOOP; the views are equal to each other and to a new EXAMINE
--maildir: the Maildir of the first box; files are renamed, removed and added there by hand at the same time.
--deliver: a command that delivers the message on its standard input to the first box, run again and again.
Exit status 1 and the last lines of the client at the first fault.
"""
import argparse
import collections
import hashlib
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time

import imapgrammar
from imapgrammar import Fault, expand

FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted", "$shared", "Other"]


class Stop(Exception):
    pass


class Dropped(Exception):
    """The connection is gone; expected where the client hung up itself."""


class Msg:
    __slots__ = ("uid", "flags", "modseq")

    def __init__(self, uid=None, flags=None, modseq=0):
        self.uid, self.flags, self.modseq = uid, flags, modseq


class World:
    def __init__(self, a):
        self.a, self.lock = a, threading.RLock()
        self.stop, self.pause = threading.Event(), threading.Event()
        self.faults, self.counts = [], collections.Counter()
        self.octets, self.fixed, self.used, self.validity, self.next = {}, {}, set(), {}, {}
        self.own = collections.defaultdict(dict)
        parties = a.clients + bool(a.maildir) + bool(a.deliver)
        self.barrier = threading.Barrier(parties)
        self.views, self.checkpoints = [], 0
        self.serial = 0

    def fault(self, who, text):
        with self.lock:
            if not self.stop.is_set():
                self.faults.append("client %s: %s" % (who, text))
            self.stop.set()
            self.barrier.abort()

    def same(self, table, key, value, what):
        """What is known once stays."""
        with self.lock:
            if table.setdefault(key, value) != value:
                raise Fault("%s of %s was %r, now %r" % (what, key, table[key], value))

    def given(self, key):
        """A new UID."""
        with self.lock:
            if key in self.used:
                raise Fault("UID %s was given twice" % (key,))
            self.used.add(key)

    def message(self, r):
        with self.lock:
            self.serial += 1
            n = self.serial
        lines = ["From: a%d@a.test" % (n % 7), "Subject: %s%d" % (r.choice(["", "Re: "]), n % 20), "Message-ID: <%d@x>" % n,
                 "Date: Mon, %d Nov 2026 10:00:%02d +0000" % (n % 28 + 1, n % 60), "X-Id: %d" % n]
        if n > 3 and r.random() < .4:
            lines.append("References: <%d@x>" % r.randrange(1, n))
        if r.random() < .2:
            lines += ["MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b", "", "--b", "", "part",
                      "--b", "Content-Type: text/html", "", "<b>x</b>", "--b--"]
        else:
            lines += [""] + ["line %d %s" % (i, "x" * r.randrange(70)) for i in range(r.randrange(r.choice([3, 60])))]
        return "\r\n".join(lines).encode() + b"\r\n"


class Client:
    def __init__(self, world, n):
        self.w, self.n, self.r = world, n, random.Random(world.a.seed * 1000 + n)
        self.trace = collections.deque(maxlen=world.a.trace)
        self.keyword = "$c%d" % n
        self.s, self.tag, self.box, self.away = None, 0, None, None
        self.cond = self.qresync = False

    # --- the line ---
    def connect(self):
        r = self.r
        self.s = socket.create_connection(("127.0.0.1", r.choice(self.w.a.port)), 30)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.f = self.s.makefile("rb", 65536)
        self.trace.append("-- connected")
        self.box, self.view, self.queue, self.got = None, [], [], []
        self.cond = self.qresync = self.closing = False
        self.sync, self.highest, self.top = 0, None, 0
        self.owed, self.lost, self.recent_uids = set(), {}, set()
        self.receive()
        self("LOGIN %s %s" % (self.w.a.user, self.w.a.password))
        self.caps = next(c[1] for c in self("CAPABILITY") if c[0] == "CAPABILITY")
        if b"QRESYNC" in self.caps and (self.away or r.random() < .3):
            self("ENABLE QRESYNC")
            self.qresync = self.cond = True
        elif b"CONDSTORE" in self.caps and r.random() < .4:
            self("ENABLE CONDSTORE")
            self.cond = True

    def drop(self):
        if self.s:
            self.s.close()
            self.f.close()
        self.s = self.box = None

    def receive(self):
        try:
            octets = imapgrammar.read(self.f)
        except OSError as e:
            raise Fault("the server is silent: %s" % e)
        if not octets:
            raise Fault("the server hung up")
        self.trace.append("S: " + brief(octets))
        if self.w.a.dovecot and octets == b"* THREAD ":
            octets = octets[:-1]
        kind, v = imapgrammar.parse(octets)
        if kind == "BYE" and not self.closing:
            raise Fault("BYE")
        if kind not in ("tagged", "+"):
            self.got.append((kind, v))
            self.on(kind, v)
        return kind, v

    def write(self, octets):
        self.trace.append("C: " + brief(octets))
        self.s.sendall(octets)

    def send(self, *words):
        self.tag += 1
        tag = "%d.%d" % (self.n, self.tag)
        out = tag.encode()
        for x in words:
            out += b" {%d+}\r\n%s" % (len(x), x) if isinstance(x, bytes) else b" " + x.encode()
        self.write(out + b"\r\n")
        words = " ".join(x for x in words if isinstance(x, str)).split()
        self.queue.append((tag, " ".join(words[:2 if words[0] == "UID" else 1])))
        return tag

    def wait(self, *want):
        """The tagged answer of the oldest command."""
        self.got = []
        while True:
            kind, v = self.receive()
            if kind == "tagged":
                tag, name = self.queue.pop(0)
                if v.tag != tag:
                    raise Fault("the answer of %s came, not that of %s" % (v.tag, tag))
                if v.word not in (want or ("OK",)):
                    raise Fault("%s: %s [%s] %r" % (name, v.word, v.code, v.text))
                self.tagged = v
                self.synced(v.args if v.code == "HIGHESTMODSEQ" else None)
                self.w.counts[name] += 1
                return self.got

    def __call__(self, *words, want=()):
        self.send(*words)
        return self.wait(*want)

    # --- the model ---
    def may_expunge(self):
        return bool(self.queue) and self.queue[0][1] not in ("FETCH", "STORE", "SEARCH", "SORT", "THREAD")

    def synced(self, told):
        """From where to go on after a broken connection (RFC 7162 6): what HIGHESTMODSEQ said last, else MODSEQ."""
        if self.box:
            self.sync = told or self.highest or max(self.sync, self.top)
        self.highest, self.top = None, 0

    def known(self):
        return [m.uid for m in self.view if m.uid]

    def gone(self, i):
        m = self.view.pop(i)
        self.owed.discard(m.uid)
        self.recent_uids.discard(m.uid)

    def on(self, kind, v):
        if kind == "OK" and v.code == "CLOSED" or kind == "FLAGS" and not self.qresync:
            self.switching = False
        if not self.box or self.switching:
            if kind in ("EXISTS", "EXPUNGE", "FETCH", "VANISHED") and not self.switching:
                raise Fault("%s though nothing is selected" % kind)
            return
        if kind == "OK" and v.code == "HIGHESTMODSEQ":
            self.highest = v.args
        if kind == "OK" and self.selecting:
            self.codes[v.code] = v.args
        elif kind == "EXISTS":
            if v < len(self.view) and not self.resync:
                raise Fault("EXISTS shrinks from %d to %d" % (len(self.view), v))
            if self.resync:
                self.resync_exists = v
            else:
                self.view += [Msg() for _ in range(v - len(self.view))]
        elif kind == "RECENT":
            self.recent = v
        elif kind == "EXPUNGE":
            if self.qresync:
                raise Fault("EXPUNGE though QRESYNC is on")
            if not self.may_expunge():
                raise Fault("EXPUNGE during %s" % (self.queue[:1] or "nothing"))
            if v > len(self.view):
                raise Fault("EXPUNGE %d of %d" % (v, len(self.view)))
            self.gone(v - 1)
        elif kind == "VANISHED":
            self.vanished(*v)
        elif kind == "FETCH":
            if self.resync:
                self.resync_fetched.append(v)
            else:
                self.fetched(*v)

    def vanished(self, earlier, which):
        which = set(expand(which))
        if earlier:
            if not self.resync:
                raise Fault("VANISHED (EARLIER) not asked for")
            self.view = [m for m in self.view if m.uid not in which]
            return
        if not self.qresync or not self.may_expunge():
            raise Fault("VANISHED during %s" % (self.queue[:1] or "nothing"))
        for uid in sorted(which):
            for i, m in enumerate(self.view):
                if m.uid == uid:
                    self.gone(i)
                    break
            else:
                for i, m in enumerate(self.view):
                    after = next((x.uid for x in self.view[i:] if x.uid), 1 << 32)
                    if m.uid is None and uid < after:
                        self.gone(i)
                        break
                else:
                    raise Fault("VANISHED %d, which was not there" % uid)

    def fetched(self, n, items):
        if n > len(self.view):
            raise Fault("FETCH of %d, there are %d" % (n, len(self.view)))
        m = self.view[n - 1]
        uid = items.get("UID")
        if uid:
            if m.uid and m.uid != uid:
                raise Fault("message %d was UID %d and is %d" % (n, m.uid, uid))
            if not m.uid:
                before = next((x.uid for x in reversed(self.view[:n - 1]) if x.uid), 0)
                after = next((x.uid for x in self.view[n:] if x.uid), 1 << 32)
                if not before < uid < after:
                    raise Fault("UID %d of message %d is not between %d and %d" % (uid, n, before, after))
                m.uid = uid
        if "MODSEQ" in items:
            if items["MODSEQ"] < m.modseq:
                raise Fault("MODSEQ of %d falls from %d to %d" % (n, m.modseq, items["MODSEQ"]))
            m.modseq = items["MODSEQ"]
            self.top = max(self.top, m.modseq)
        if "FLAGS" in items:
            f = {x.decode() for x in items["FLAGS"]}
            if "\\Recent" in f:
                f.discard("\\Recent")
                if m.uid:
                    self.recent_uids.add(m.uid)
            m.flags = f
            self.changed.add(id(m))
            self.check_own(m)
            if self.cond and "MODSEQ" not in items and set(items) <= {"FLAGS", "UID"} and not (
                    self.queue and self.queue[0][1] in ("FETCH", "UID FETCH")):
                raise Fault("flags without MODSEQ")
        if m.uid:
            self.content(m, items)

    def check_own(self, m):
        if self.box != self.w.a.box[0] or not m.uid or m.flags is None:
            return
        want = self.w.own[self.n].get(m.uid)
        if want is not None and want != (self.keyword in m.flags):
            self.owed.add(m.uid)  # it must be gone: else the keyword was lost
            self.lost[m.uid] = "%s of UID %d: %s here, but this client made it %s" % (self.keyword, m.uid, not want, want)
            del self.w.own[self.n][m.uid]

    def content(self, m, items):
        key = (self.box, self.validity, m.uid)
        if self.w.a.dovecot and (None in items.values() or items.get("RFC822.SIZE") == 0 or
                                 " 0 0" in str(items.get("BODY", items.get("BODYSTRUCTURE", " 0 0")))):
            return  # so it says that a message is gone
        whole = items.get("BODY[]")
        if "BODY[]" in items and whole is None:
            raise Fault("BODY[] of %s is NIL" % (key,))
        if whole is not None:
            self.w.same(self.w.octets, key, whole, "octets")
            if "RFC822.SIZE" in items and items["RFC822.SIZE"] != len(whole):
                raise Fault("%s has %d octets and RFC822.SIZE %d" % (key, len(whole), items["RFC822.SIZE"]))
        whole = self.w.octets.get(key)
        for name, v in items.items():
            if name == "SAVEDATE" and v is None:
                self.owed.add(m.uid)
            elif name in ("RFC822.SIZE", "INTERNALDATE", "EMAILID", "ENVELOPE", "BODYSTRUCTURE", "BODY", "SAVEDATE"):
                self.w.same(self.w.fixed, key + (name,), repr(v), name)
            if whole is None:
                continue
            if name == "RFC822.SIZE" and v != len(whole):
                raise Fault("RFC822.SIZE of %s is %d, not %d" % (key, v, len(whole)))
            head = whole[:whole.index(b"\r\n\r\n") + 4]
            if name == "BODY[HEADER]" and v != head or name == "BODY[TEXT]" and v != whole[len(head):]:
                raise Fault("%s of %s" % (name, key))
            if name.startswith("BODY[]<"):
                at = int(name[7:-1])
                if v != whole[at:at + len(v)] or (len(v) < self.partial and at + len(v) < len(whole)):
                    raise Fault("%s of %s is %r" % (name, key, v))

    # --- what a client does ---
    def select(self, box=None, word=None):
        r = self.r
        self.switching = self.box is not None
        self.selecting, self.resync, self.codes, self.recent = True, False, {}, None
        self.changed = set()
        self.owed, self.lost, self.recent_uids = set(), {}, set()
        self.box = box or r.choice(self.w.a.box)
        self.word = word or ("EXAMINE" if r.random() < .15 else "SELECT")
        self.sync, self.view, words = 0, [], ""
        if self.away and self.qresync:
            self.box, self.word = self.away[0], "SELECT"
            _, validity, sync, self.view = self.away
            self.resync, self.resync_exists, self.resync_fetched = True, None, []
            known = [m.uid for m in self.view]
            words = " (QRESYNC (%d %d%s))" % (validity, sync, " " + pack(known) if known and r.random() < .5 else "")
        elif "CONDSTORE" in str(self.caps) and r.random() < .1:
            words, self.cond = " (CONDSTORE)", True
        self.away = None
        got = self("%s %s%s" % (self.word, self.box, words))
        self.selecting = False
        kinds = [k for k, _ in got]
        if self.switching:
            raise Fault("no [CLOSED] at a second SELECT")
        if "EXISTS" not in kinds or "FLAGS" not in kinds or not {"UIDVALIDITY", "UIDNEXT", "PERMANENTFLAGS"} <= set(self.codes):
            raise Fault("SELECT says too little: %s %s" % (kinds, self.codes))
        self.validity, top = self.codes["UIDVALIDITY"], self.codes["UIDNEXT"]
        self.w.same(self.w.validity, self.box, self.validity, "UIDVALIDITY")
        self.uidnext(self.box, top)
        self.sync, self.highest, self.top = self.codes.get("HIGHESTMODSEQ") or 0, None, 0
        if self.resync:
            self.resync = False
            if self.resync_exists < len(self.view):
                raise Fault("after QRESYNC %d known messages remain, EXISTS says %d" % (len(self.view), self.resync_exists))
            self.view += [Msg() for _ in range(self.resync_exists - len(self.view))]
            for v in self.resync_fetched:
                self.fetched(*v)
            for m in self.view:
                self.check_own(m)
            self.w.counts["(QRESYNC)"] += 1
            if self.view:
                self("FETCH 1:* (UID)")
            self.learn()
        elif self.view:
            self("FETCH 1:* (UID FLAGS%s)" % (" MODSEQ" if self.cond else ""))
        for m in self.view:
            if m.uid and m.uid >= top and not self.got:
                raise Fault("UID %d, UIDNEXT %d" % (m.uid, top))

    def uidnext(self, box, n):
        """UIDNEXT never falls; a moment may pass between the answer and this."""
        with self.w.lock:
            self.w.next[box] = max(self.w.next.get(box, 0), n)

    def learn(self):
        """Ask for what is not known of messages that came."""
        new = [i + 1 for i, m in enumerate(self.view) if not m.uid or m.flags is None or self.cond and not m.modseq]
        if new:
            self("FETCH %s (UID FLAGS%s)" % (pack(new), " MODSEQ" if self.cond else ""))

    def some(self, by_uid, most=20):
        """A set, and the messages it names."""
        v = [m for m in self.view if m.uid] if by_uid else self.view
        if not v:
            return None, []
        a = self.r.randrange(len(v))
        b = min(len(v), a + self.r.choice([1, 1, 2, 5, most]))
        ms = v[a:b]
        if self.r.random() < .3:
            ms = sorted(set(ms) | set(self.r.sample(v, min(3, len(v)))), key=v.index)
        return pack([m.uid if by_uid else self.view.index(m) + 1 for m in ms]), ms

    def do_fetch(self):
        r, by_uid = self.r, self.r.random() < .5
        which, ms = self.some(by_uid, 40)
        if not ms:
            return
        names = r.sample(["FLAGS", "UID", "RFC822.SIZE", "INTERNALDATE", "ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]",
                          "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]", "BODY.PEEK[HEADER.FIELDS (Subject X-Id)]", "BODY",
                          "BODY.PEEK[1]", "BODY.PEEK[1.MIME]", "BODY[TEXT]"] + (["MODSEQ"] if self.cond else []) +
                         ([x for x in ("EMAILID", "PREVIEW", "SAVEDATE") if b"OBJECTID" in self.caps]), r.randrange(1, 5))
        self.partial = r.choice([1, 10, 500])
        if r.random() < .2:
            names.append("BODY.PEEK[]<%d.%d>" % (r.choice([0, 5, 100]), self.partial))
        if "UID" not in names:
            names.append("UID")
        if "BODY[TEXT]" in names and "BODY.PEEK[TEXT]" in names:
            names.remove("BODY.PEEK[TEXT]")
        got = self("%sFETCH %s (%s)" % ("UID " if by_uid else "", which, " ".join(names)), want=("OK", "NO"))
        plain = {"UID", "FLAGS", "MODSEQ"}
        there = {v[1].get("UID") for k, v in got if k == "FETCH" and (set(names) <= plain or set(v[1]) - plain)}
        for m in ms:
            if m.uid and m.uid not in there and m in self.view:
                self.owed.add(m.uid)
        if self.tagged.word == "NO" and not self.owed and all(m.uid for m in ms):
            raise Fault("FETCH: NO, though all is there")

    def do_store(self, flags=None):
        r, by_uid = self.r, self.r.random() < .5
        if self.word == "EXAMINE":
            return
        which, ms = self.some(by_uid)
        if not ms:
            return
        first = self.box == self.w.a.box[0]
        sign = r.choice("+-" if first or r.random() < .8 else ["+", "-", ""])
        own = flags is None and first and r.random() < .4
        flags = flags or ([self.keyword] if own else r.sample(FLAGS, r.randrange(1, 3)))
        if flags == ["\\Deleted"]:
            sign = "+"
        silent, limit, words = r.random() < .4, 0, ""
        if self.cond and r.random() < .4:
            limit = r.choice([max([m.modseq for m in ms] + [1]), self.sync or 1])
            words = " (UNCHANGEDSINCE %d)" % limit
        if own:
            for m in ms:
                if m.uid:
                    self.w.own[self.n].pop(m.uid, None)
                else:
                    self.w.own[self.n].clear()
        before = {id(m): m.flags for m in ms}
        self.changed = set()
        self("%sSTORE %s%s %sFLAGS%s (%s)" % ("UID " if by_uid else "", which, words, sign, ".SILENT" if silent else "", " ".join(flags)),
             want=("OK", "NO"))
        failed = set(expand(self.tagged.args)) if self.tagged.code == "MODIFIED" else set()
        if failed and not limit:
            raise Fault("MODIFIED without UNCHANGEDSINCE")
        refused = self.tagged.word == "NO" and self.tagged.code != "MODIFIED"
        for m in ms:
            if m not in self.view:
                continue
            name = m.uid if by_uid else self.view.index(m) + 1
            if name in failed:
                continue
            if refused:
                m.flags = None
                continue
            if own and m.uid and id(m) in self.changed and (self.keyword in m.flags) != (sign == "+"):
                self.owed.add(m.uid)
                self.lost[m.uid] = "%s%s was not taken by UID %d" % (sign, self.keyword, m.uid)
            if silent and id(m) in self.changed:
                m.flags = None  # by whom, before or after: not known
            elif silent and m.flags is not None:
                new = set(flags)
                m.flags = m.flags | new if sign == "+" else m.flags - new if sign == "-" else new
                if sign == "" and m.uid:
                    m.flags.discard("\\Recent")
            elif not silent and id(m) not in self.changed and m.uid:
                old = before[id(m)]
                if old is None or not (sign == "+" and set(flags) <= old or sign == "-" and not set(flags) & old):
                    self.owed.add(m.uid)
            if own and m.uid and not failed and m.uid not in self.owed:
                self.w.own[self.n][m.uid] = sign == "+"
        for m in ms:
            if not m.uid and own:
                self.w.own[self.n].clear()
        self.learn()

    def do_copy(self, move=None):
        by_uid = self.r.random() < .5
        move = self.r.random() < .4 if move is None else move
        if move and self.word == "EXAMINE" or len(self.view) < 3:
            return
        which, ms = self.some(by_uid, 6)
        if not ms:
            return
        to = self.r.choice(self.w.a.box)
        if not move and self.w.a.most < len(self.view):
            return
        box, validity = self.box, self.validity
        uids = {m.uid for m in ms}
        got = self("%s%s %s %s" % ("UID " if by_uid else "", "MOVE" if move else "COPY", which, to), want=("OK", "NO"))
        codes = [v for k, v in got if k == "OK" and v.code == "COPYUID"] + ([self.tagged] if self.tagged.code == "COPYUID" else [])
        for c in codes:
            v, a, b = c.args
            a, b = expand(a), expand(b)
            self.w.same(self.w.validity, to, v, "UIDVALIDITY")
            if None not in uids and not set(a) <= uids:
                raise Fault("COPYUID names %s, asked was %s" % (a, uids))
            if move:
                left = set(a) & set(self.known())
                if left:
                    raise Fault("MOVE left %s" % left)
            for x, y in zip(a, b):
                self.w.given((to, v, y))
                whole = self.w.octets.get((box, validity, x))
                if whole is not None:
                    self.w.same(self.w.octets, (to, v, y), whole, "octets of the copy")

    def do_append(self):
        r = self.r
        to, count = r.choice(self.w.a.box), r.choice([1, 1, 1, 2, 4])
        if count > 1 and b"MULTIAPPEND" not in self.caps:
            count = 1
        messages = [self.w.message(r) for _ in range(count)]
        words = ["APPEND " + to]
        for m in messages:
            words += [r.choice(["", '(\\Seen $shared) ', '(\\Flagged) "21-Nov-2026 10:11:12 +0100" ']).strip(), m]
        self(*[x for x in words if x != ""])
        if self.tagged.code == "APPENDUID":
            v, uids = self.tagged.args
            uids = expand(uids)
            if len(uids) != count:
                raise Fault("APPENDUID names %s for %d messages" % (uids, count))
            self.w.same(self.w.validity, to, v, "UIDVALIDITY")
            for uid, m in zip(uids, messages):
                self.w.given((to, v, uid))
                self.w.same(self.w.octets, (to, v, uid), m, "octets appended")

    def do_expunge(self):
        if self.word == "EXAMINE" or len(self.view) < self.w.a.most // 3:
            return
        self.do_store(["\\Deleted"])
        if self.r.random() < .5 and self.known():
            self("UID EXPUNGE " + self.some(True)[0])
        else:
            self("EXPUNGE")
            left = [m.uid for m in self.view if m.flags and "\\Deleted" in m.flags and m.uid]
            self.owed_expunge = left

    def do_search(self):
        r = self.r
        n = len(self.view)
        own = self.box == self.w.a.box[0] and r.random() < .4
        key = ("KEYWORD " + self.keyword) if own else r.choice([
            "ALL", "UNSEEN", "OR FLAGGED ANSWERED", "NOT DELETED SINCE 1-Jan-2020", "SUBJECT 1", "TEXT line", "BODY xxx", "UID 1:*",
            "SMALLER 500", "KEYWORD $shared", "HEADER X-Id 7", "NEW", "SENTON 3-Nov-2026", "FROM a1"] + (
            ["MODSEQ %d" % max(1, self.sync)] if self.cond else []) + (["1:%d" % n, "%d,*" % n] if n else []))
        ret = r.choice(["", "", "", "RETURN (ALL) ", "RETURN (MIN MAX) ", "RETURN (COUNT) ", "RETURN (MIN MAX COUNT ALL) ", "RETURN (SAVE COUNT) "])
        word = r.choice(["SEARCH", "SEARCH", "SORT", "THREAD"])
        if word != "SEARCH":
            if "ESORT" not in str(self.caps):
                ret = ""
            ret, key = (ret if word == "SORT" else "") + r.choice(["(DATE)", "(SUBJECT)", "(REVERSE FROM)", "(SIZE)", "(ARRIVAL)"]) + " UTF-8 ", key
            if word == "THREAD":
                ret = r.choice(["REFERENCES", "ORDEREDSUBJECT"]) + " UTF-8 "
        by_uid = r.random() < .5
        got = self("%s%s %s%s" % ("UID " if by_uid else "", word, ret, key))
        hits, seen = [], 0
        for k, v in got:
            if k in ("SEARCH", "SORT"):
                hits, seen = v, seen + 1
            elif k == "THREAD":
                hits, seen = flat(v), seen + 1
            elif k == "ESEARCH":
                seen += 1
                if bool(v.get("UID")) != by_uid or v.get("TAG") != ("%d.%d" % (self.n, self.tag)).encode():
                    raise Fault("ESEARCH of something else: %s" % v)
                hits = expand(v["ALL"]) if "ALL" in v else [v[x] for x in ("MIN", "MAX") if x in v]
                hits = sorted(set(hits))
                if "COUNT" in v and "ALL" in v and v["COUNT"] != len(hits):
                    raise Fault("COUNT is not the length of ALL")
        if seen != 1:
            raise Fault("%d answers to %s" % (seen, word))
        if len(set(hits)) != len(hits) or not by_uid and hits and max(hits) > len(self.view):
            raise Fault("hits %s of %d messages" % (hits, len(self.view)))
        if own:
            for h in hits:
                uid = h if by_uid else self.view[h - 1].uid
                if self.w.own[self.n].get(uid) is False:
                    raise Fault("UID %d is a hit for %s, which was taken away" % (uid, key))

    def do_idle(self):
        self.send("IDLE")
        self.got = []
        while self.receive()[0] != "+":
            pass
        end = time.monotonic() + self.r.choice([0, .05, .3])
        while time.monotonic() < end:
            self.s.settimeout(max(.01, end - time.monotonic()))
            try:
                if not self.f.peek(1):
                    raise Fault("the server hung up in IDLE")
            except OSError:
                # A makefile that timed out cannot be read again.
                self.f = self.s.makefile("rb", 65536)
                break
            finally:
                self.s.settimeout(30)
            self.receive()
        self.write(b"DONE\r\n")
        self.wait()
        self.learn()

    def do_noop(self):
        self(self.r.choice(["NOOP", "NOOP", "CHECK"]))
        if self.tagged and self.owed & set(self.known()):
            self.after_owed()
        self.learn()

    def after_owed(self):
        """What was left out of an answer was told to be gone, or flags came: at the latest by this NOOP."""
        left = self.owed & set(self.known())
        self.owed = set()
        if self.w.a.dovecot:
            return
        for uid in left & set(self.lost):
            raise Fault(self.lost[uid])
        if left:
            raise Fault("UIDs %s were left out of an answer, and are still there after NOOP" % sorted(left))

    def do_status(self):
        box = self.r.choice(self.w.a.box)
        got = self("STATUS %s (MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)" % box)
        name, v = next(x[1] for x in got if x[0] == "STATUS")
        if v["UNSEEN"] > v["MESSAGES"]:
            raise Fault("more unseen than there are")
        self.w.same(self.w.validity, box, v["UIDVALIDITY"], "UIDVALIDITY")

    def do_list(self):
        self(self.r.choice(['LIST "" *', 'LIST "" % RETURN (STATUS (MESSAGES UNSEEN))' if b"LIST-STATUS" in self.caps else 'LSUB "" *']))

    def do_scratch(self):
        name = "scratch%d" % self.r.randrange(4)
        self(self.r.choice(["CREATE", "DELETE", "SUBSCRIBE"]) + " " + name, want=("OK", "NO"))

    def do_pipeline(self):
        which, ms = self.some(True, 10)
        if not ms or self.w.a.dovecot:  # which answers these in another order
            return
        lines = ["NOOP", "UID FETCH %s (UID FLAGS)" % which, "UID SEARCH ALL", "UID FETCH %s (UID RFC822.SIZE)" % which, "STATUS %s (MESSAGES)" % self.box]
        lines = self.r.sample(lines, self.r.randrange(2, 5))
        for x in lines:
            self.send(x)
        for x in lines:
            self.wait("OK", "NO")

    def do_unselect(self):
        word = self.r.choice(["UNSELECT", "UNSELECT", "CLOSE"])
        if word == "CLOSE" and len(self.view) < self.w.a.most // 3:
            word = "UNSELECT"
        self(word)
        self.box = None
        self.select()

    def do_logout(self):
        self.closing = True
        self("LOGOUT")
        self.drop()

    def do_drop(self):
        """Hang up, sometimes in the midst of a command; with QRESYNC the view is kept."""
        r = self.r
        if self.qresync and self.sync and self.word == "SELECT" and not self.owed and all(
                m.uid and m.flags is not None for m in self.view):
            for m in self.view:
                m.modseq = 0
            self.away = self.box, self.validity, self.sync, self.view
        x = r.random()
        if x < .3 and self.view:
            self.send("FETCH 1:* (BODY.PEEK[])")
        elif x < .5:
            self.write(b"x APPEND %s {1000+}\r\nhalf" % self.w.a.box[0].encode())
        elif x < .6:
            self.write(b"x UID FET")
        self.queue = []
        self.drop()

    def snapshot(self):
        return [(m.uid, tuple(sorted(m.flags)), m.modseq if self.cond else 0) for m in self.view]

    def checkpoint(self):
        w = self.w
        w.barrier.wait(120)
        if self.s and self.box:
            self("NOOP")
            self.after_owed()
            self.learn()
            self("NOOP")
            missing = [i for i, m in enumerate(self.view) if not m.uid or m.flags is None]
            if missing:
                raise Fault("numbers %s have no UID or flags" % missing)
            with w.lock:
                w.views.append((self, self.box, self.word, self.snapshot(), set(self.recent_uids)))
        w.barrier.wait(120)
        if self.n == 0:
            judge = Judge(w, 1000)
            try:
                judge.judge()
            except Fault as e:
                self.trace = judge.trace
                raise e
        w.barrier.wait(120)

    def step(self):
        if self.w.pause.is_set():
            self.checkpoint()
        if not self.s:
            self.connect()
        if not self.box:
            self.select()
            return
        self.changed = set()
        x = self.r.choices(["fetch", "store", "copy", "append", "expunge", "search", "idle", "noop", "status", "list", "scratch",
                            "pipeline", "unselect", "select", "logout", "drop"],
                           [20, 20, 6, 6 if len(self.view) < self.w.a.most else 1, 8, 12, 5, 8, 3, 2, 1, 4, 1, 1, 1, 2])[0]
        getattr(self, "do_" + x, self.select)()

    def run(self):
        try:
            while not self.w.stop.is_set():
                self.step()
        except threading.BrokenBarrierError:
            pass
        except Exception as e:
            if not isinstance(e, (Fault, OSError)):
                import traceback
                e = traceback.format_exc()
            self.w.fault(self.n, "%s (box %s, %s messages, cond %s, qresync %s)\n    %s" % (
                e, self.box, len(self.view) if self.box else "-", self.cond, self.qresync, "\n    ".join(self.trace)))
        self.drop()


class Judge(Client):
    """One that looks newly, while all others wait."""

    def judge(self):
        views, self.w.views = self.w.views, []
        self.connect()
        for box in self.w.a.box:
            self.cond = True if b"CONDSTORE" in self.caps else False
            self.qresync = self.qresync and self.cond
            self.select(box, "EXAMINE")
            truth = self.snapshot()
            plain = [(u, f, 0) for u, f, _ in truth]
            claimed = {}
            for n, name, word, view, recent in views:
                if name != box:
                    continue
                cond = any(x[2] for x in view)
                if view != (truth if cond else plain):
                    want = dict((x[0], x) for x in (truth if cond else plain))
                    have = dict((x[0], x) for x in view)
                    wrong = [(have.get(u), want.get(u)) for u in sorted(set(want) | set(have)) if want.get(u) != have.get(u)]
                    self.trace = n.trace
                    raise Fault("checkpoint of %s: client %d has, a new EXAMINE has: %s" % (box, n.n, wrong[:20]))
                for u in recent if word == "SELECT" else ():
                    if claimed.setdefault(u, n) != n:
                        raise Fault("checkpoint of %s: UID %d is \\Recent for clients %d and %d" % (box, u, claimed[u].n, n.n))
            self.w.counts["(views compared)"] += len([x for x in views if x[1] == box])
        self.closing = True
        self("LOGOUT")
        self.drop()
        self.w.checkpoints += 1
        self.w.pause.clear()


def brief(octets):
    return octets[:240].decode("latin-1").replace("\r\n", "|") + ("..." if len(octets) > 240 else "")


def pack(numbers):
    """1,2,3,5 -> 1:3,5"""
    out = []
    for n in sorted(numbers):
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ",".join("%d" % a if a == b else "%d:%d" % (a, b) for a, b in out)


def flat(v):
    out = []
    for x in v:
        out += flat(x) if isinstance(x, list) else [x]
    return out


def beside(w, what, act):
    """Somebody else, who stops at checkpoints too."""
    r = random.Random(w.a.seed)
    try:
        while not w.stop.is_set():
            if w.pause.is_set():
                for _ in range(3):
                    w.barrier.wait(120)
            act(w, r)
            w.counts[what] += 1
            time.sleep(r.choice([.005, .02, .1]))
    except threading.BrokenBarrierError:
        pass
    except Exception as e:
        w.fault(what, repr(e))


def by_hand(w, r):
    """As mutt does: a file is taken from new, gets other flags, or goes; and one comes."""
    top = w.a.maildir
    sub = r.choice(["cur", "cur", "new"])
    names = os.listdir(os.path.join(top, sub))
    what = r.choice(["flags", "flags", "flags", "remove", "add"])
    try:
        if what == "add" and len(names) < w.a.most:
            name = "%d.H%dR%d.hand" % (time.time(), w.serial, r.randrange(1 << 30))
            with open(os.path.join(top, "tmp", name), "wb") as f:
                f.write(w.message(r).replace(b"\r\n", b"\n"))
            os.rename(os.path.join(top, "tmp", name), os.path.join(top, "new", name))
        elif names:
            name = r.choice(names)
            old = os.path.join(top, sub, name)
            if what == "remove" and len(names) > w.a.most // 3:
                os.unlink(old)
            elif what == "flags":
                base, _, letters = name.partition(":2,")
                letters = "".join(sorted(set(letters) ^ {r.choice("FRS")}))
                os.rename(old, os.path.join(top, "cur", base + ":2," + letters))
    except FileNotFoundError:
        pass


def deliver(w, r):
    p = subprocess.run(w.a.deliver, shell=True, input=w.message(r).replace(b"\r\n", b"\n"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode:
        raise Fault("%s: %d %r" % (w.a.deliver, p.returncode, p.stdout))
    time.sleep(.1)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--port", type=int, action="append", required=True)
    p.add_argument("--user", required=True)
    p.add_argument("--password", required=True)
    p.add_argument("--clients", type=int, default=20)
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--box", action="append")
    p.add_argument("--most", type=int, default=80, help="about so many messages")
    p.add_argument("--maildir")
    p.add_argument("--deliver")
    p.add_argument("--checkpoint", type=float, default=4)
    p.add_argument("--dovecot", action="store_true", help="what Dovecot does and we do not is no fault")
    p.add_argument("--trace", type=int, default=60)
    a = p.parse_args()
    a.box = a.box or ["INBOX", "Work"]
    w = World(a)
    first = Client(w, 999)
    first.connect()
    for box in a.box[1:]:
        first("CREATE " + box, want=("OK", "NO"))
    first.drop()
    threads = [threading.Thread(target=Client(w, i).run, daemon=True) for i in range(a.clients)]
    if a.maildir:
        threads.append(threading.Thread(target=beside, args=(w, "(by hand)", by_hand), daemon=True))
    if a.deliver:
        threads.append(threading.Thread(target=beside, args=(w, "(deliver)", deliver), daemon=True))
    for t in threads:
        t.start()
    end = time.monotonic() + a.seconds
    while time.monotonic() < end and not w.stop.wait(min(a.checkpoint, max(.1, end - time.monotonic()))):
        w.pause.set()
        while w.pause.is_set() and not w.stop.wait(.05):
            pass
    w.stop.set()
    w.barrier.abort()
    for t in threads:
        t.join(60)
    for x in w.faults:
        print(x)
    print(" ".join("%s %d" % x for x in sorted(w.counts.items())))
    print("%d commands, %d checkpoints, %d faults" % (sum(n for x, n in w.counts.items() if x[0] != "("), w.checkpoints, len(w.faults)))
    return 1 if w.faults else 0


if __name__ == "__main__":
    sys.exit(main())
