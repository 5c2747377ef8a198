"""Faults under a mailbox: mailfaults.py POSTBAG SHIM PLACES, with the shim of fault.c.

One IMAP or POP3 session (`serve --stdio`) does one thing to a copy of the same account while one call on its files fails: each
kind of call, PLACES of each kind (spread over all there are), with an error or with the disk full from then on. Whatever the
session was answered, another without faults must find: what was there before, whole, with its flags and UIDs; what was answered
OK; nothing that is half. And the same thing must work then. Ends with a summary line; status 1: something was lost.
"""
import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

POSTBAG, SHIM, PLACES = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), int(sys.argv[3])
ROOT = tempfile.mkdtemp(prefix="postbag-mailfaults-")
CALLS = ("write", "sync", "syncdir", "rename", "link", "unlink", "cut", "open", "close", "mkdir", "read", "stat")
HOWS = ("eio", "full")
FLAGS = r"FLAGS \(([^)]*)\)"


def mail(name, n):
    body = "".join("%s line %d\r\n" % (name, i) for i in range(n))
    return ("Subject: x\r\nX-ID: %s\r\nX-Sum: %s\r\n\r\n%s" % (name, hashlib.sha256(body.encode()).hexdigest(), body)).encode()


class Session:
    """`serve --stdio`; `fault` is (call, n, how) or None."""

    def __init__(self, home, fault=None, protocol="imap"):
        env = dict(os.environ)
        if fault:
            env.update(LD_PRELOAD=SHIM, FAULT_DIR=home + "/data/mail/", FAULT_CALL=fault[0], FAULT_N=str(fault[1]),
                       FAULT_HOW=fault[2], FAULT_COUNT=home + "/count")
        self.log = open(home + "/log", "ab")
        self.p = subprocess.Popen([POSTBAG, "serve", "--stdio=" + protocol, "-C", home + "/conf", "jo"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=self.log, env=env, cwd=home)
        self.n, self.last, self.tagged = 0, [], ""
        self.f = self.p.stdout
        self.f.readline()

    def line(self):
        out = b""
        while True:
            part = self.f.readline()
            out += part
            m = re.search(rb"\{(\d+)\}\r\n$", part)
            if not m:
                return out
            out += self.f.read(int(m.group(1)))

    def __call__(self, *words):
        """True when OK. The end of the session is no answer: that is not OK."""
        self.n += 1
        out = b"t%d" % self.n
        for w in words:
            out += b" {%d+}\r\n%s" % (len(w), w) if isinstance(w, bytes) else b" " + w.encode()
        self.last, self.tagged = [], ""
        try:
            self.p.stdin.write(out + b"\r\n")
            self.p.stdin.flush()
        except BrokenPipeError:
            return False
        while True:
            line = self.line()
            if not line:
                return False
            text = line.decode("latin-1")
            if line.startswith(b"t%d " % self.n):
                self.tagged = text.split(" ", 1)[1]
                return self.tagged.startswith("OK")
            self.last.append(text)

    def pop(self, words):
        try:
            self.p.stdin.write(words.encode() + b"\r\n")
            self.p.stdin.flush()
        except BrokenPipeError:
            return b""
        return self.f.readline()

    def end(self):
        """What it died of, unless it ended by itself."""
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        self.f.read()
        self.f.close()
        status = self.p.wait(30)
        self.log.close()
        return status


def contents(home):
    """{box: {uid: (name, flags)}} as a session without faults sees it, and what is wrong with it."""
    s, boxes, wrong = Session(home), {}, []
    s('LIST "" "*"')
    names = [re.search(r'"/" "?([^"\r]*)"?', x).group(1) for x in s.last if "\\Noselect" not in x]
    for box in names:
        if not s('EXAMINE "%s"' % box):
            wrong.append("%s: %s" % (box, s.tagged))
            continue
        if not s("UID FETCH 1:* (UID FLAGS BODY.PEEK[])"):
            wrong.append("%s: %s" % (box, s.tagged))
        rows = {}
        for x in s.last:
            uid = re.search(r"UID (\d+)", x)
            if not uid or "BODY[]" not in x:
                continue
            text = x[x.index("BODY[]"):].encode("latin-1")
            head, _, body = text.partition(b"\r\n\r\n")
            name, sum_ = re.search(rb"X-ID: (\S+)", head), re.search(rb"X-Sum: (\S+)", head)
            size = int(re.search(rb"\{(\d+)\}", head).group(1))
            body = body[:size - (len(head) - head.index(b"\r\n") - 2) - 4]
            if not name or hashlib.sha256(body).hexdigest().encode() != sum_.group(1):
                wrong.append("%s %s is damaged" % (box, uid.group(1)))
                continue
            rows[int(uid.group(1))] = (name.group(1).decode(), frozenset(re.search(FLAGS, x).group(1).split()) - {"\\Recent"})
        boxes[box] = rows
    s("GETMETADATA INBOX /private/comment")
    note = re.search(r'comment "([^"]*)"', " ".join(s.last))
    s('LSUB "" "*"')
    subscribed = {re.search(r'"/" "?([^"\r]*)"?', x).group(1) for x in s.last}
    status = s.end()
    if status:
        wrong.append("the session without faults ended with %d" % status)
    return boxes, note.group(1) if note else "", subscribed, wrong


def names_in(state, box):
    return sorted(n for n, _ in state[0].get(box, {}).values())


# Each: what is done, and what must hold afterwards when it was answered OK.
def select(s):
    return s("SELECT INBOX")


def a_delivery(home, fault):
    env = dict(os.environ)
    if fault:
        env.update(LD_PRELOAD=SHIM, FAULT_DIR=home + "/data/mail/", FAULT_CALL=fault[0], FAULT_N=str(fault[1]), FAULT_HOW=fault[2],
                   FAULT_COUNT=home + "/count")
    with open(home + "/log", "ab") as log:
        return subprocess.run([POSTBAG, "deliver", "-C", home + "/conf", "jo"], input=mail("given", 900).replace(b"\r\n", b"\n"),
                              stderr=log, env=env).returncode == 0


def by_imap(*commands):
    def run(home, fault):
        s = Session(home, fault)
        ok = select(s)
        for c in commands:
            ok = ok and s(*(c if isinstance(c, tuple) else (c,)))
        status = s.end()
        if status not in (0, 75, 74):
            raise RuntimeError("the server ended with %d" % status)
        return ok
    return run


def by_pop(home, fault):
    s = Session(home, fault, "pop3")
    ok = s.pop("DELE 1").startswith(b"+OK") and s.pop("QUIT").startswith(b"+OK")
    s.end()
    return ok


def without_index(home, fault):
    for name in os.listdir(home + "/data/mail/a.test/jo"):
        if name.startswith("postbag-index"):
            os.unlink(home + "/data/mail/a.test/jo/" + name)
    return by_imap("FETCH 1:* (ENVELOPE)", "SEARCH BODY line")(home, fault)


TWO = mail("new1", 3), mail("new2", 4000)
ROWS = (
    ("APPEND", by_imap(("APPEND A (\\Seen word)", TWO[1])), lambda s: ("new2", frozenset(("\\Seen", "word"))) in s[0]["A"].values()),
    ("APPEND of two", by_imap(("APPEND A", TWO[0], "(\\Seen)", TWO[1])), lambda s: names_in(s, "A").count("new2") == 1 and "new1" in names_in(s, "A")),
    ("COPY", by_imap("COPY 1:3 A"), lambda s: {"m1", "m2", "m3"} <= set(names_in(s, "A"))),
    ("MOVE", by_imap("MOVE 1:3 A"), lambda s: {"m1", "m2", "m3"} <= set(names_in(s, "A")) and names_in(s, "INBOX") == ["m4", "m5", "m6"]),
    ("STORE", by_imap("STORE 1:6 +FLAGS (\\Flagged fresh)"), lambda s: all({"\\Flagged", "fresh"} <= f for _, f in s[0]["INBOX"].values())),
    ("EXPUNGE", by_imap("STORE 2 +FLAGS (\\Deleted)", "EXPUNGE"), lambda s: "m2" not in names_in(s, "INBOX")),
    ("REPLACE", by_imap(("REPLACE 2 A", TWO[0])), lambda s: "m2" not in names_in(s, "INBOX") and "new1" in names_in(s, "A")),
    ("CREATE", by_imap("CREATE Made/Deep"), lambda s: "Made/Deep" in s[0]),
    ("RENAME", by_imap("RENAME B Other"), lambda s: names_in(s, "Other") == ["b1", "b2"] and "B" not in s[0]),
    ("DELETE", by_imap("DELETE B"), lambda s: "B" not in s[0]),
    ("SUBSCRIBE", by_imap("SUBSCRIBE A"), lambda s: "A" in s[2]),
    ("SETMETADATA", by_imap("SETMETADATA INBOX (/private/comment \"new\")"), lambda s: s[1] == "new"),
    ("index made anew", without_index, lambda s: True),
    ("POP3 DELE, QUIT", by_pop, lambda s: len(s[0]["INBOX"]) == 5),
    ("deliver", a_delivery, lambda s: "given" in names_in(s, "INBOX")),
)
MAY_GO = {"MOVE": ("m1", "m2", "m3"), "EXPUNGE": ("m2",), "REPLACE": ("m2",), "DELETE": ("b1", "b2"), "RENAME": (), "POP3 DELE, QUIT": None}


def make_template():
    home = ROOT + "/template"
    os.makedirs(home + "/data")
    with open(home + "/data/accounts", "w") as f:
        f.write("jo@a.test:{PLAIN}pw\n")
    write_conf(home)
    s = Session(home)
    for box in ("A", "B"):
        assert s("CREATE " + box), s.tagged
    for i in range(1, 7):
        assert s("APPEND INBOX (%s)" % ("\\Seen word" if i % 2 else ""), mail("m%d" % i, i * 40)), s.tagged
    for i in (1, 2):
        assert s("APPEND B (\\Answered)", mail("b%d" % i, 30)), s.tagged
    assert s("SETMETADATA INBOX (/private/comment \"old\")") and s("SELECT INBOX") and s("FETCH 1:* ENVELOPE"), s.tagged
    assert s.end() == 0
    return home


def write_conf(home):
    with open(home + "/conf", "w") as f:
        f.write("hostname mx.a.test\ndomain a.test\ndata %s/data\nlog text\ntls none\n" % home)


serial = iter(range(10 ** 9))


def one(title, deed, holds, fault):
    """(calls counted, hit, what is wrong)"""
    home = "%s/%d" % (ROOT, next(serial))
    shutil.copytree(TEMPLATE, home, symlinks=True)
    write_conf(home)
    wrong = []
    try:
        ok = deed(home, fault)
    except RuntimeError as e:
        ok, wrong = False, [str(e)]
    count = open(home + "/count").read() if os.path.exists(home + "/count") else ""
    state = contents(home)
    wrong += state[3]
    if ok and not wrong and not holds(state):
        wrong.append("it was answered OK and is not so: %s" % (state[:3],))
    going = MAY_GO.get(title, ())
    there = {n for rows in state[0].values() for n, _ in rows.values()}
    for box, rows in BEFORE[0].items():
        for uid, (name, flags) in rows.items():
            now = state[0].get(box, {}).get(uid)
            if going is None and not ok and now is None:
                continue  # POP3 may have removed the first
            if title in ("MOVE", "RENAME") and name in there:
                continue
            if now is None and (going is None and name == "m1" or going and name in going and (title != "MOVE")):
                continue
            if now is None or now[0] != name or title not in ("STORE", "EXPUNGE") and now[1] != flags:
                wrong.append("%s %d was %s %s and is %s" % (box, uid, name, sorted(flags), now))
    if not wrong and not ok:  # the same again
        try:
            again = deed(home, None)
        except RuntimeError as e:
            again, _ = False, wrong.append(str(e))
        done = contents(home)
        wrong += done[3]
        if not holds(done) and not (again or holds(state)):
            wrong.append("it does not work when tried again: %s" % (done[:3],))
    if wrong and os.environ.get("FAULT_KEEP"):
        wrong.append(home)
    else:
        shutil.rmtree(home)
    return len(count.replace("!", "")), "!" in count, wrong, ok


try:
    TEMPLATE = make_template()
    BEFORE = contents(TEMPLATE)
    assert not BEFORE[3] and len(BEFORE[0]["INBOX"]) == 6, BEFORE
    only = os.environ.get("FAULT_ROWS", "")
    rows = [r for r in ROWS if re.search(only, r[0])]
    pool = concurrent.futures.ThreadPoolExecutor(int(os.environ.get("FAULT_JOBS", 4)))
    probes = {(r[0], call): pool.submit(one, *r, (call, 0, "eio")) for r in rows for call in CALLS}
    cases, table = [], {}
    for r in rows:
        for turn, call in enumerate(CALLS):
            count, _, wrong, ok = probes[r[0], call].result()
            assert ok and not wrong, ("without a fault", r[0], wrong)
            table[r[0], call] = count
            n = min(PLACES, count)
            places = sorted({1 + i * (count - 1) // max(1, n - 1) for i in range(n)}) if n > 1 else [(count + 1) // 2] * n
            hows = HOWS if PLACES > 1 else HOWS[turn % 2:][:1] if call != "write" else HOWS
            cases += [(r, (call, k, how)) for k in places for how in hows]
    results = [(r, fault, pool.submit(one, *r, fault)) for r, fault in cases]
    hits = bad = answered = 0
    for r, fault, result in results:
        _, hit, wrong, ok = result.result()
        hits += hit
        answered += ok
        bad += bool(wrong)
        if wrong:
            print("VIOLATION: %s, %s %d, %s: %s" % (r[0], *fault, "; ".join(wrong)))
    print("%-18s %s" % ("calls", "".join("%8s" % c for c in CALLS)))
    for r in rows:
        print("%-18s %s" % (r[0], "".join("%8d" % table[r[0], c] for c in CALLS)))
    print("mailbox faults: %d cases, %d of them hit, %d answered OK all the same, %d violations" % (len(results), hits, answered, bad))
    sys.exit(bad > 0 or hits == 0)
finally:
    if not os.environ.get("FAULT_KEEP"):
        shutil.rmtree(ROOT, ignore_errors=True)
