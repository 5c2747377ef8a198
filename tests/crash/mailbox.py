"""Crash test of mailboxes: kill -9 of `serve` and `deliver` while clients change mail, then an audit by a new `serve`.

Each worker changes only copies it made itself, so that what was acknowledged is known for each: a copy is (mailbox, uid) and
must have its message whole and its flags. What was in flight at the kill may have happened or not; of a MOVE or a REPLACE one
side at least must be there. Every UID ever seen is kept with its message: none may come back with another.
"""
import glob
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

POSTBAG, ROUNDS = sys.argv[1], int(sys.argv[2])
SEED = int(os.environ.get("CRASH_SEED", time.time()))
random.seed(SEED)
WORK = tempfile.mkdtemp(prefix="postbag-mailbox-")
DATA = os.path.join(WORK, "data")
MAILDIR = os.path.join(DATA, "mail/a.test/jo/Maildir")
BOXES = ["INBOX", "A", "B"]
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "word"]
WORKERS = 5
lock = threading.Lock()
counter = 0
copies = {}      # (mailbox, uid) -> [message, flags that are acknowledged or None: not known]
gone = set()     # (mailbox, uid) whose EXPUNGE or MOVE was acknowledged
delivered = []   # messages that `deliver` acknowledged
seen = {}        # (uidvalidity, uid) -> message
last = {}        # mailbox -> (uidvalidity, uidnext, modseq)
bad = []
done = {}        # operation -> times acknowledged
flying = {}      # operation -> times in flight at the kill


def message():
    global counter
    with lock:
        counter += 1
        name = "m%06d" % counter
    rng = random.Random(name)
    size = rng.choice([0, 60, 900, 5000, 300000])
    body = "".join("%x\r\n" % rng.getrandbits(200) for _ in range(size // 50))
    sha = hashlib.sha256(body.replace("\r\n", "\n").encode()).hexdigest()
    return name, ("Subject: crash\r\nX-Crash-ID: %s\r\nX-Crash-SHA: %s\r\n\r\n%s" % (name, sha, body)).encode()


def check(text):
    """(id, whole?)"""
    head, _, body = text.replace(b"\r\n", b"\n").partition(b"\n\n")
    m = re.search(rb"^X-Crash-ID: (\S+)", head, re.M)
    h = re.search(rb"^X-Crash-SHA: (\S+)", head, re.M)
    if not m or not h:
        return None, False
    return m.group(1).decode(), hashlib.sha256(body).hexdigest().encode() == h.group(1)


class Imap:
    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.f = self.s.makefile("rwb")
        self.n = 0
        self.f.readline()
        self.ok("LOGIN jo pw")

    def line(self):
        """One answer with its literals, as (line, [literals])."""
        text, literals = b"", []
        while True:
            part = self.f.readline()
            if not part.endswith(b"\n"):
                raise EOFError
            text += part
            m = re.search(rb"\{(\d+)\}\r\n$", part)
            if not m:
                return text, literals
            data = self.f.read(int(m.group(1)))
            if len(data) < int(m.group(1)):
                raise EOFError
            literals.append(data)

    def command(self, text, *literals):
        """Each literal stands for a %s in `text`. (tagged line, [untagged])"""
        self.n += 1
        tag = b"t%d " % self.n
        data = tag + text.encode()
        for x in literals:
            data = data.replace(b"%s", b"{%d+}\r\n" % len(x) + x.replace(b"%", b"\0"), 1)
        self.f.write(data.replace(b"\0", b"%") + b"\r\n")
        self.f.flush()
        lines = []
        while True:
            line, values = self.line()
            if line.startswith(tag):
                return line[len(tag):], lines
            lines.append((line, values))

    def ok(self, text, *literals):
        answer, lines = self.command(text, *literals)
        if not answer.startswith(b"OK"):
            with lock:
                bad.append("%s: %s" % (text[:60], answer.decode()))
            raise EOFError
        return answer, lines

    def code(self, answer, lines, name):
        for line in [answer] + [x[0] for x in lines]:
            m = re.search(rb"\[%s \d+ ([\d:,]+) ?([\d:,]*)\]" % name, line)
            if m:
                return [spread(x.decode()) for x in m.groups()]
        return None


def spread(text):
    out = []
    for part in filter(None, text.split(",")):
        a, _, b = part.partition(":")
        out += range(int(a), int(b or a) + 1)
    return out


class Worker(threading.Thread):
    """Random operations until the server dies. `pending` says what may have happened besides."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.port, self.rng = port, random.Random("%d %d %d" % (SEED, port, number))
        self.mine, self.pending = [], None

    def run(self):
        try:
            c = Imap(self.port)
            box = self.rng.choice(BOXES)
            c.ok("SELECT " + box)
            while True:
                self.one(c, box)
        except (OSError, EOFError, ValueError):
            if self.pending:
                with lock:
                    flying[self.pending[0]] = flying.get(self.pending[0], 0) + 1

    def one(self, c, box):
        rng = self.rng
        here = [k for k in self.mine if k[0] == box]
        what = rng.choice(["append", "multiappend", "copy", "move", "expunge", "store", "store", "replace"]) if here else "append"
        target = rng.choice(BOXES)
        picked = rng.sample(here, min(len(here), rng.randint(1, 4)))
        uids = ",".join(str(k[1]) for k in picked)
        self.pending = (what, picked)
        if what in ("append", "multiappend"):
            new = [message() for _ in range(1 if what == "append" else 3)]
            answer, lines = c.ok("APPEND %s %s" % (box, " ".join(["(\\Flagged) %s"] * len(new))), *[m[1] for m in new])
            got = c.code(answer, lines, b"APPENDUID")[0]
            self.add([(box, u) for u in got], [(m[0], {"\\Flagged"}) for m in new])
        elif what in ("copy", "move"):
            if what == "move":
                while target == box:
                    target = rng.choice(BOXES)
            was = [copies[k] for k in picked]
            if what == "move":
                with lock:
                    for k in picked:
                        copies[k] = copies[k] + [target] if len(copies[k]) == 2 else copies[k]
            answer, lines = c.ok("UID %s %s %s" % (what.upper(), uids, target))
            source, to = c.code(answer, lines, b"COPYUID")
            by = dict(zip([k[1] for k in picked], was))
            self.add([(target, u) for u in to], [(by[u][0], set(by[u][1])) for u in source])
            if len(source) != len(picked):
                bad.append("%s of %s gave %s" % (what, uids, answer))
            if what == "move":
                self.drop(picked)
        elif what == "store":
            flags = set(rng.sample(FLAGS, rng.randint(0, 3)))
            was = [set(copies[k][1]) for k in picked]
            with lock:
                for k in picked:
                    copies[k][1] = None
            mode = rng.choice(["", "+", "-"])
            c.ok("UID STORE %s %sFLAGS.SILENT (%s)" % (uids, mode, " ".join(flags)))
            with lock:
                for k, old in zip(picked, was):
                    copies[k][1] = flags if not mode else old | flags if mode == "+" else old - flags
        elif what == "expunge":
            with lock:
                for k in picked:
                    copies.pop(k)
            self.mine = [k for k in self.mine if k not in picked]
            c.ok("UID STORE %s +FLAGS.SILENT (\\Deleted)" % uids)
            c.ok("UID EXPUNGE " + uids)
            with lock:
                gone.update(picked)
        elif what == "replace":
            old, new = picked[0], message()
            with lock:
                copies[old].append(new[0])
            answer, lines = c.ok("UID REPLACE %d %s (\\Seen) %%s" % (old[1], box), new[1])
            got = c.code(answer, lines, b"APPENDUID")[0]
            self.add([(box, got[0])], [(new[0], {"\\Seen"})])
            self.drop([old])
        self.pending = None
        with lock:
            done[what] = done.get(what, 0) + 1

    def add(self, keys, values):
        with lock:
            for k, v in zip(keys, values):
                copies[k] = list(v)
                if seen.setdefault((last[k[0]][0], k[1]), v[0]) != v[0]:
                    bad.append("%s: given again, to %s" % (k, v[0]))
        self.mine += keys

    def drop(self, keys):
        with lock:
            for k in keys:
                copies.pop(k)
                gone.add(k)
        self.mine = [k for k in self.mine if k not in keys]


class Renamer(threading.Thread):
    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port

    def run(self):
        try:
            c, at = Imap(self.port), 0
            if b"NONEXISTENT" in c.command("STATUS R0 (MESSAGES)")[0]:
                at = 1
            while True:
                c.ok("RENAME R%d R%d" % (at, 1 - at))
                at = 1 - at
                with lock:
                    done["rename"] = done.get("rename", 0) + 1
        except (OSError, EOFError):
            return


def start_serve():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = open(os.path.join(WORK, "log"), "ab")
    p = subprocess.Popen([POSTBAG, "serve", "-C", os.path.join(WORK, "conf"), "--listen", "imap=127.0.0.1:%d" % port], stderr=log, stdout=log)
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return p, port
        except OSError:
            if p.poll() is not None:
                break
            time.sleep(0.02)
    print("serve did not start:", open(os.path.join(WORK, "log")).read()[-2000:])
    sys.exit(1)


def deliver(stop):
    while not stop.is_set():
        name, text = message()
        p = subprocess.Popen([POSTBAG, "deliver", "-C", os.path.join(WORK, "conf"), "jo"], stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        killer = threading.Timer(random.uniform(0.001, 0.03), p.kill) if random.random() < 0.6 else None
        if killer:
            killer.start()
        try:
            p.communicate(text)
        except BrokenPipeError:
            p.wait()
        if killer:
            killer.cancel()
        if p.returncode == 0:
            delivered.append(name)
            done["deliver"] = done.get("deliver", 0) + 1
        elif p.returncode == -signal.SIGKILL:
            flying["deliver"] = flying.get("deliver", 0) + 1
        else:
            bad.append("deliver: exit %d" % p.returncode)


def look(c, box, known_as):
    """{uid: (message, flags)} of a mailbox, with what holds for it at any time."""
    lines = c.ok("SELECT %s (CONDSTORE)" % box)[1]
    text = b"".join(x[0] for x in lines)
    now = tuple(int(re.search(rb"\[%s (\d+)" % w, text).group(1)) for w in (b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ"))
    was = last.get(known_as, now)
    if now[0] != was[0] or now[1] < was[1] or now[2] < was[2]:
        bad.append("%s: UIDVALIDITY UIDNEXT HIGHESTMODSEQ %s after %s" % (box, now, was))
    last[known_as] = now
    found = {}
    for line, literals in c.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])")[1]:
        m = re.search(rb"UID (\d+)", line)
        if not literals or not m:
            continue
        uid = int(m.group(1))
        name, whole = check(literals[0])
        flags = set(re.search(rb"FLAGS \(([^)]*)\)", line).group(1).decode().split()) - {"\\Recent"}
        found[uid] = (name, flags)
        if not whole:
            bad.append("%s %d: damaged (%s)" % (box, uid, name))
        if seen.setdefault((now[0], uid), name) != name:
            bad.append("%s: UID %d was %s and is %s" % (box, uid, seen[now[0], uid], name))
        if uid >= now[1]:
            bad.append("%s: UID %d, UIDNEXT %d" % (box, uid, now[1]))
    return found


def audit(port):
    c = Imap(port)
    found = {(box, u): v for box in BOXES for u, v in look(c, box, box).items()}
    where = {}
    for k, v in found.items():
        where.setdefault(v[0], []).append(k[0])
    for k, (name, flags, *other) in copies.items():
        if k not in found:
            # A MOVE or REPLACE in flight: the other side has it.
            if not any(x in where or (x in BOXES and x in where.get(name, [])) for x in other):
                bad.append("LOST: %s, UID %d of %s%s" % (name, k[1], k[0], other))
        elif found[k][0] != name:
            bad.append("%s: %s instead of %s" % (k, found[k][0], name))
        elif flags is not None and found[k][1] != flags:
            bad.append("%s: flags %s, acknowledged %s" % (k, found[k][1], flags))
    bad.extend("%s: was removed and is back" % (k,) for k in gone if k in found)
    for name in delivered:
        if len(where.get(name, [])) != 1:
            bad.append("delivered %s is in %s" % (name, where.get(name)))
    r = [n for n in (0, 1) if c.command("STATUS R%d (MESSAGES)" % n)[0].startswith(b"OK")]
    if len(r) != 1 or sorted(v[0] for v in look(c, "R%d" % r[0], "R").values()) != renamed:
        bad.append("RENAME: %s" % r)
    # What is there now is what is known; so that a round stays short, all of it goes when it is much.
    copies.clear()
    delivered.clear()
    for k, v in found.items():
        copies[k] = list(v)
    if len(found) > 150:
        for box in BOXES:
            c.ok("SELECT " + box)
            c.ok("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
            c.ok("EXPUNGE")
        copies.clear()
    c.s.close()


def kill(p):
    p.send_signal(signal.SIGKILL)
    p.wait()


os.makedirs(DATA)
with open(os.path.join(DATA, "accounts"), "w") as f:
    f.write("jo@a.test:{PLAIN}pw\n")
with open(os.path.join(WORK, "conf"), "w") as f:
    f.write("hostname mx.a.test\ndomain a.test\ndata %s\nplaintext-auth yes\nlog text\n" % DATA)
started, p = time.time(), None
try:
    p, port = start_serve()
    setup = Imap(port)
    for name in ("A", "B", "R0"):
        setup.ok("CREATE " + name)
    first = [message() for _ in range(5)]
    renamed = sorted(m[0] for m in first)
    for m in first:
        setup.ok("APPEND R0 %s", m[1])
    look(setup, "R0", "R")
    for name in BOXES:
        look(setup, name, name)
    kill(p)
    rebuilt = 0
    for round_number in range(1, ROUNDS + 1):
        p, port = start_serve()
        workers = [Worker(port, n) for n in range(WORKERS)]
        stop = threading.Event()
        others = [Renamer(port), threading.Thread(target=deliver, args=(stop,), daemon=True)]
        for t in workers + others:
            t.start()
        time.sleep(random.uniform(0.05, 0.6))
        kill(p)
        stop.set()
        for t in workers + others:
            t.join(30)
        if random.random() < 0.3:  # the index goes, and the one who makes it again is killed too
            for path in glob.glob(MAILDIR + "/**/postbag-index*", recursive=True) + glob.glob(MAILDIR + "/../postbag-index*"):
                os.unlink(path)
                rebuilt += 1
            p, port = start_serve()
            t = Worker(port, 0)
            t.start()
            time.sleep(random.uniform(0.005, 0.1))
            kill(p)
            t.join(30)
        p, port = start_serve()
        audit(port)
        kill(p)
        if bad:
            print("round %d:" % round_number, *bad[:20], sep="\n")
            break
    print("mailboxes: %d rounds, %s acknowledged, %s in flight at a kill, %d index files removed, %d UIDs, %d faults, %.0f s, seed %d"
          % (ROUNDS, " ".join("%d %s" % (v, k) for k, v in sorted(done.items())),
             " ".join("%d %s" % (v, k) for k, v in sorted(flying.items())), rebuilt, len(seen), len(bad), time.time() - started, SEED))
    if not done.get("append") or not done.get("move"):
        bad.append("nothing was done")
    sys.exit(1 if bad else 0)
except EOFError:
    print("the audit had no answer:", *bad[:5], sep="\n")
    sys.exit(1)
finally:
    if p and p.poll() is None:
        kill(p)
    if os.environ.get("CRASH_KEEP"):
        print("kept:", WORK)
    else:
        shutil.rmtree(WORK, ignore_errors=True)
