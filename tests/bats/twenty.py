"""twenty: twenty processes on one account at once, then an audit. twenty.py POSTBAG CONF MAILDIR IMAP1 IMAP2 POP3 SECONDS

Two servers run (IMAP1 and POP3 are of one, IMAP2 of the other). Five processes deliver, seven change mail by IMAP, two
empty by POP3, two are hands that drop files in, rename them for flags and remove them, one reads and notes all UIDs, one
fetches much and reads slowly. Each changes only what it made or was told of, and notes what it was answered. In the end a
new session of each server and the files must agree with the notes of all.
"""
import collections
import glob
import json
import multiprocessing
import os
import random
import re
import socket
import subprocess
import sys
import time
import traceback

from imapline import Line

POSTBAG, CONF, MAILDIR = sys.argv[1:4]
IMAP1, IMAP2, POP3 = (int(x) for x in sys.argv[4:7])
END = time.time() + float(sys.argv[7])
SEED = int(os.environ.get("TWENTY_SEED", 0)) or int(time.time())
BOXES = ("INBOX", "A", "B")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "word", "other")
WHOLE = "UID FETCH %s (UID FLAGS BODY.PEEK[HEADER.FIELDS (X-ID)])"


def mail(name, n=5):
    return ("From: %s@b.test\nSubject: x\nX-ID: %s\n\n" % (name.split("-")[0], name) + "line of a body\n" * n).encode()


def deliver(me, rng, notes):
    for i in range(10 ** 6):
        if time.time() > END:
            return
        name = "d%s-%d" % (me, i)
        p = subprocess.run([POSTBAG, "deliver", "-C", CONF, "jo"], input=mail(name, rng.choice((1, 50, 5000))), stderr=subprocess.PIPE)
        assert p.returncode == 0, p.stderr
        notes["delivered"].append(name)


def pairs(c, what):
    """The sets of an answer: COPYUID (a, b), APPENDUID (a,)."""
    m = re.search(r"%s \d+ ([\d:,]+) ?([\d:,]*)\]" % what, "\n".join(c.last + [c.tagged]))
    return [[x for part in g.split(",") for x in spread(part)] for g in m.groups() if g] if m else []


def spread(part):
    a, _, b = part.partition(":")
    return range(int(a), int(b or a) + 1)


def imap(me, rng, notes):
    """Messages of its own, in all mailboxes: mine[box][uid] = [name, flags]."""
    mine, i, asked = {b: {} for b in BOXES}, 0, ""
    c = Line(rng.choice((IMAP1, IMAP2)), "jo", "secret")
    c("SELECT INBOX")
    box = "INBOX"
    while time.time() < END:
        own = mine[box]
        uids = sorted(own)
        some = rng.sample(uids, min(len(uids), rng.randint(1, 4)))
        said = ",".join(map(str, some))
        flags = rng.sample(FLAGS, rng.randint(1, 3))
        what = rng.choice(("append", "flag", "unflag", "flag", "copy", "move", "expunge", "select", "fetch", "noop", "search"))
        if what == "append" or not some:
            name, target = "i%s-%d" % (me, i), rng.choice(BOXES)
            i += 1
            c("APPEND %s (%s)" % (target, " ".join(flags)), mail(name, rng.choice((1, 30, 3000))).replace(b"\n", b"\r\n"))
            mine[target][pairs(c, "APPENDUID")[0][0]] = [name, set(flags)]
        elif what in ("flag", "unflag"):
            c("UID STORE %s %sFLAGS.SILENT (%s)" % (said, "+" if what == "flag" else "-", " ".join(flags)))
            for u in some:
                own[u][1] = own[u][1] | set(flags) if what == "flag" else own[u][1] - set(flags)
        elif what in ("copy", "move"):
            target = rng.choice([b for b in BOXES if b != box])
            c("UID %s %s %s" % (what, said, target))
            got = pairs(c, "COPYUID")
            assert got and sorted(got[0]) == sorted(some), (what, some, c.last, c.tagged)
            for a, b in zip(*got):
                mine[target][b] = [own[a][0], set(own[a][1])]
                if what == "move":
                    del own[a]
                    notes["gone"].append([box, a])
        elif what == "expunge":
            c("UID STORE %s +FLAGS.SILENT (\\Deleted)" % said)
            c("UID EXPUNGE %s" % said)
            for u in some:
                del own[u]
                notes["gone"].append([box, u])
        elif what == "select":
            box = rng.choice(BOXES)
            c("SELECT " + box)
            if rng.random() < 0.2:
                c("LOGOUT")
                c = Line(rng.choice((IMAP1, IMAP2)), "jo", "secret")
                c("SELECT " + box)
        elif what == "fetch":
            c("UID FETCH %s (BODY.PEEK[] FLAGS)" % said)
            got = {int(re.search(r"UID (\d+)", x).group(1)): x for x in c.last if "BODY[]" in x}
            assert sorted(got) == sorted(some), (sorted(got), some)
            for u in some:
                assert "X-ID: %s\r\n" % own[u][0] in got[u], (u, own[u])
        elif what == "search":
            c("UID SEARCH HEADER X-ID %s" % own[some[0]][0])
            assert some[0] in map(int, c.told("SEARCH")[0].split()[2:]), (some[0], c.last)
        else:
            c("NOOP")
    notes["copies"] = [[b, u, n, sorted(f)] for b in BOXES for u, (n, f) in mine[b].items()]


def pop(me, rng, notes):
    """Removes some of what was delivered; what it removed is known when QUIT was answered."""
    while time.time() < END:
        s = socket.create_connection(("127.0.0.1", POP3), 30)
        f = s.makefile("rb")

        def ask(x):
            s.sendall(x.encode() + b"\r\n")
            return f.readline()

        def text(x):
            if not ask(x).startswith(b"+OK"):
                return None
            return list(iter(f.readline, b".\r\n"))
        f.readline()
        ask("USER jo")
        got = ask("PASS secret")
        if not got.startswith(b"+OK"):
            assert b"[IN-USE]" in got, got
            notes["in-use"].append(1)
        else:
            going, known = [], len(text("LIST"))
            assert known == len(text("UIDL"))
            for n in rng.sample(range(1, known + 1), min(known, 6)):
                lines = text("TOP %d 0" % n)
                m = re.search(rb"X-ID: (d\S+)", b"".join(lines)) if lines else None
                if m and rng.random() < 0.5 and ask("DELE %d" % n).startswith(b"+OK"):
                    going.append(m.group(1).decode())
            if rng.random() < 0.8:
                got = ask("QUIT")
                assert got.startswith(b"+OK"), got
                notes["removed"] += going
        s.close()
        time.sleep(rng.random() / 20)


def hand(me, rng, notes):
    """As mutt and rsync do: tmp to new, to cur with flags, other flags, away. The names are its own, so they say which file it is."""
    files, i = {}, 0
    while time.time() < END:
        what = rng.choice(("drop", "drop", "flag", "flag", "remove"))
        if what == "drop" or not files:
            name, sub = "h%s-%d" % (me, i), rng.choice(("new", "cur"))
            i += 1
            base = "%d.%s.hand" % (time.time(), name)
            with open("%s/tmp/%s" % (MAILDIR, base), "wb") as f:
                f.write(mail(name))
            os.rename("%s/tmp/%s" % (MAILDIR, base), "%s/%s/%s" % (MAILDIR, sub, base + (":2," if sub == "cur" else "")))
            files[name] = [base, ""]
        else:
            name = rng.choice(sorted(files))
            base, flags = files[name]
            for _ in range(100):  # the server moves it from new to cur meanwhile
                there = glob.glob("%s/*/%s*" % (glob.escape(MAILDIR), glob.escape(base)))
                try:
                    if what == "remove":
                        os.unlink(there[0])
                        del files[name]
                        notes["swept"].append(name)
                    else:
                        want = "".join(sorted(set(flags) ^ {rng.choice("FRS")}))
                        os.rename(there[0], "%s/cur/%s:2,%s" % (MAILDIR, base, want))
                        files[name][1] = want
                    break
                except (FileNotFoundError, IndexError):
                    continue
            else:
                raise AssertionError("a file is nowhere: %s" % base)
        time.sleep(rng.random() / 50)
    notes["files"] = [[n, f] for n, (_, f) in files.items()]


def reader(me, rng, notes):
    """Notes which message each UID is."""
    c = Line(rng.choice((IMAP1, IMAP2)), "jo", "secret")
    while time.time() < END:
        box = rng.choice(BOXES)
        c("SELECT " + box)
        v = re.search(r"UIDVALIDITY (\d+)", " ".join(c.last)).group(1)
        for x in c(WHOLE % "1:*"):
            m = re.search(r"UID (\d+).*X-ID: (\S+)", x, re.S)
            if m:
                notes["uids"].append([box, v, int(m.group(1)), m.group(2)])


def slow(me, rng, notes):
    """Fetches whole mailboxes and reads as slowly as it may: nobody waits for it."""
    while time.time() < END:
        c = Line(IMAP1, "jo", "secret")
        c("SELECT INBOX")
        c.write(b"slow FETCH 1:* BODY.PEEK[]\r\n")
        tail = b""
        while time.time() < END and b"\nslow " not in tail:
            tail = (tail + c.f.read1(4000))[-5000:]
            time.sleep(0.05)
        c.s.close()


def start(f, me, out):
    notes = collections.defaultdict(list)
    try:
        f(me, random.Random("%d %s %d" % (SEED, f.__name__, me)), notes)
    except BaseException:
        notes["failed"].append("%s %d: %s" % (f.__name__, me, traceback.format_exc()))
    with open(out, "w") as o:
        json.dump(notes, o)


def state(port):
    """Of a new session: {box: (validity, uidnext, {uid: (name, flags)})}."""
    c, out = Line(port, "jo", "secret"), {}
    for box in BOXES:
        c("SELECT " + box)
        head = " ".join(c.last)
        rows = {}
        for x in c(WHOLE % "1:*"):
            flags = set(re.search(r"FLAGS \(([^)]*)\)", x).group(1).split()) - {"\\Recent"}
            rows[int(re.search(r"UID (\d+)", x).group(1))] = (re.search(r"X-ID: (\S+)", x).group(1), flags)
        out[box] = (re.search(r"UIDVALIDITY (\d+)", head).group(1), int(re.search(r"UIDNEXT (\d+)", head).group(1)), rows)
    c("LOGOUT")
    return out


c = Line(IMAP1, "jo", "secret")
for box in BOXES[1:]:
    c("CREATE " + box)
before = state(IMAP1)
crowd = [deliver] * 5 + [imap] * 7 + [pop] * 2 + [hand] * 2 + [reader, slow]
procs = [multiprocessing.Process(target=start, args=(f, k, "notes.%d" % k)) for k, f in enumerate(crowd)]
for p in procs:
    p.start()
for p in procs:
    p.join()
notes = collections.defaultdict(list)
for k in range(len(crowd)):
    for what, rows in json.load(open("notes.%d" % k)).items():
        notes[what] += rows
assert not notes["failed"], "\n".join(notes["failed"])

now, other = state(IMAP1), state(IMAP2)
assert now == other, "the two servers do not agree"
faults = []
names = collections.Counter(n for _, _, rows in now.values() for n, _ in rows.values())
wanted = collections.Counter()
for name in notes["delivered"]:
    wanted[name] = name not in notes["removed"]
for box, uid, name, flags in notes["copies"]:
    wanted[name] += 1
    got = now[box][2].get(uid)
    if got != (name, set(flags)):
        faults.append("%s %d should be %s %s, is %s" % (box, uid, name, flags, got))
by_name = {n: f for n, f in now["INBOX"][2].values()}
letters = {"F": "\\Flagged", "R": "\\Answered", "S": "\\Seen"}
for name, flags in notes["files"]:
    wanted[name] += 1
    if by_name.get(name) != {letters[x] for x in flags}:
        faults.append("the file %s should have %s, has %s" % (name, flags, by_name.get(name)))
for name in set(names) | set(wanted):
    if names[name] != wanted[name]:
        faults.append("%s is there %d times, not %d" % (name, names[name], wanted[name]))
for box, uid in notes["gone"]:
    if uid in now[box][2]:
        faults.append("%s %d came back" % (box, uid))
ever = {}
for box, v, uid, name in notes["uids"] + [[b, now[b][0], u, n] for b in BOXES for u, (n, _) in now[b][2].items()]:
    if ever.setdefault((box, uid), name) != name:
        faults.append("%s %d was %s and is %s" % (box, uid, ever[box, uid], name))
    if v != before[box][0]:
        faults.append("%s has another UIDVALIDITY" % box)
    if uid >= now[box][1]:
        faults.append("%s %d is not below UIDNEXT" % (box, uid))
for box in BOXES:
    folder = MAILDIR if box == "INBOX" else MAILDIR + "/." + box
    files = glob.glob(glob.escape(folder) + "/cur/*") + glob.glob(glob.escape(folder) + "/new/*")
    if len(files) != len(now[box][2]):
        faults.append("%s has %d messages and %d files" % (box, len(now[box][2]), len(files)))
    if glob.glob(glob.escape(folder) + "/tmp/*"):
        faults.append("%s/tmp is not empty" % folder)
print("%d faults; %s; seed %d" % (len(faults), ", ".join("%s %d" % (k, len(v)) for k, v in sorted(notes.items())), SEED))
print("\n".join(faults[:20]))
assert not faults and len(notes["delivered"]) > 20 and len(notes["gone"]) > 20 and len(notes["uids"]) > 100
