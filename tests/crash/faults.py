"""Fault matrix: each call on the files of the queue, the drop directory and the mailboxes fails once.

A program runs with fault.so preloaded: first without a fault, to count its calls, then once for each call (or for CASES of
them, evenly spread) and each way to fail: killed before it, killed after it, EIO, a disk that is full from there on, a short
write. Then a reader moves what is in the mailbox to cur/, the queue is drained without faults, and it is counted what became
of each message.

Lost: acknowledged and nowhere. Damaged: its checksum is wrong. Twice: twice in the mailbox. Each is a failure. Twice at the
next hop is one too, but in the one window: the process was killed, and the message was the last that the next hop had
acknowledged on that connection. Who hands a message over to another (the drop directory, a reroute, a bounce) may leave both
when it is killed between. When reading fails, an error must name the file.

    faults.py POSTBAG FAULT.SO CASES      0: one or two ways to fail for each process and call, at one place. FAULT_ROWS, FAULT_CALLS: regular expressions of those to try; FAULT_JOBS at once
"""
import concurrent.futures
import hashlib
import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

POSTBAG, SHIM, CASES = sys.argv[1], sys.argv[2], int(sys.argv[3])
HOWS = ["kill", "after", "eio", "full", "short"]
CALLS = ["write", "sync", "syncdir", "rename", "link", "unlink", "cut", "room", "open", "close", "mkdir", "read", "stat"]
ROOT = tempfile.mkdtemp(prefix="postbag-faults-")
received, received_lock = {}, threading.Lock()  # of each name: whether it was whole, on which connection
notices, last_of = {}, {}  # notifications about a name; the last message of a connection
serial = connections = 0


def text_of(name, size=300):
    body = "".join("%s line %-60d\n" % (name, i) for i in range(size // 70 + 1))
    return "Subject: f\nX-ID: %s\nX-SHA: %s\n\n%s" % (name, hashlib.sha256(body.encode()).hexdigest(), body)


def check(data):
    data = data.replace("\r\n", "\n")
    if "\nContent-Type: multipart/report" in data.partition("\n\n")[0]:
        data = data[data.rindex("Subject: f\n"):]
        name, whole = check(data[:data.index("\n--")] + "\n" if "\n--" in data else data)
        return "notice:" + name, True
    head, _, body = data.partition("\n\n")
    name, sha = re.search(r"^X-ID: (\S+)", head, re.M), re.search(r"^X-SHA: (\S+)", head, re.M)
    if not name or not sha:
        return None, False
    return name.group(1), hashlib.sha256(body.encode()).hexdigest() == sha.group(1)


class Sink(socketserver.StreamRequestHandler):
    timeout = 20

    def handle(self):
        global connections
        with received_lock:
            connections += 1
            self.number = connections
        try:
            self.wfile.write(b"220 sink\r\n")
            while line := self.rfile.readline(2000):
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.wfile.write(b"354 go\r\n")
                    data = []
                    while (line := self.rfile.readline()) != b".\r\n":
                        if not line:
                            return
                        data.append(line[1:] if line.startswith(b".") else line)
                    name, whole = check(b"".join(data).decode("latin-1"))
                    if name.startswith("slow"):
                        slow.set()
                        time.sleep(0.7)
                    with received_lock:
                        received.setdefault(name, []).append((whole, self.number))
                        last_of[self.number] = name
                    self.wfile.write(b"250 ok\r\n")
                elif b"<no@" in line:
                    self.wfile.write(b"550 no\r\n")
                elif b"<later@" in line:
                    self.wfile.write(b"451 later\r\n")
                elif verb == b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                else:
                    self.wfile.write(b"250 ok\r\n")
        except OSError:
            return


class Threaded(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Case:
    """A data directory with one mailbox, and what was put into it."""

    def __init__(self):
        global serial
        with received_lock:
            serial += 1
            self.serial = serial
        self.data = os.path.join(ROOT, "%05d" % self.serial)
        self.count = self.data + ".count"
        shutil.copytree(TEMPLATE, self.data)
        self.acked, self.sent, self.local, self.options = set(), set(), set(), []
        self.status = None  # of a request
        self.may_be_both = False  # a process that was killed may have left the old and the new

    def command(self, applet, *more):
        name = [] if applet == "deliver" else ["--hostname", "mx.a.test"]
        return [POSTBAG, applet, "--data", self.data, "--domain", "a.test", *name, *self.options, *more]

    def env(self, fault):
        if not fault:
            return os.environ
        call, n, how = fault
        return dict(os.environ, LD_PRELOAD=SHIM, FAULT_DIR=self.data + "/", FAULT_CALL=call, FAULT_N=str(n), FAULT_HOW=how,
                    FAULT_COUNT=self.count, FAULT_WHERE=self.count + ".where")

    def run(self, fault, applet, *more, text=""):
        with open(self.data + ".log", "ab") as log:
            return subprocess.run(self.command(applet, *more), input=text.encode(), stdout=log, stderr=log, timeout=60,
                                  env=self.env(fault)).returncode

    def relay(self):
        return ["--relay", "127.0.0.1:%d" % SINK_PORT, "--retry", "1s"]

    def name(self, kind):
        name = "%s-%d-%s" % (kind, self.serial, len(self.sent))
        self.sent.add(name)
        return name

    def log(self):
        with open(self.data + ".log", errors="replace") as f:
            return f.read()

    def where(self):
        try:
            with open(self.count + ".where") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def read_mail(self):
        """A reader takes the mail, and marks it."""
        box = os.path.join(self.data, "mail/a.test/jo/Maildir")
        for file in os.listdir(box + "/new") if os.path.isdir(box + "/new") else []:
            os.rename(os.path.join(box, "new", file), os.path.join(box, "cur", file + ":2,S"))

    def sendmail(self, fault, size=300, to=("jo@a.test", "far@away.test")):
        name = self.name("q")
        if "jo@a.test" in to:
            self.local.add(name)
        if self.run(fault, "sendmail", "-f", "sender@away.test", *to, text=text_of(name, size)) == 0:
            self.acked.add(name)
        return name

    def calls(self):
        try:
            with open(self.count) as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def drain(self):
        self.read_mail()
        self.run(None, "queue-run", "--release", "--all", "--quiet")
        for _ in range(40):
            self.run(None, "queue-run", *self.relay(), "--all", "--quiet")
            left = [n for n in os.listdir(self.data + "/queue") if n.endswith((".seg", ".jnl", ".new")) or n == "moving"]
            if not left:
                return True
            time.sleep(0.05)
        print("did not drain:", left, self.log()[-1500:])
        return False

    def audit(self, killed=False):
        here = {}
        bad = 0
        for top in ("new", "cur"):
            folder = os.path.join(self.data, "mail/a.test/jo/Maildir", top)
            for file in os.listdir(folder) if os.path.isdir(folder) else []:
                with open(os.path.join(folder, file), encoding="latin-1", newline="") as f:
                    name, whole = check(f.read())
                here[name] = here.get(name, 0) + 1
                bad += not whole
        lost = twice = far_twice = window = 0
        with received_lock:
            for name in self.sent:
                told = received.get("notice:" + name, [])
                far = received.get(name, []) + told
                bad += len([w for w, _ in far if not w])
                if len(far) > 1 or (here.get(name, 0) > 1 and self.may_be_both):
                    far.sort(key=lambda d: d[1])
                    first = name if not told or far[0] not in told else "notice:" + name
                    if killed and (self.may_be_both or last_of[far[0][1]] == first):
                        window += 1
                    else:
                        far_twice += 1
                twice += here.get(name, 0) > 1 and not (killed and self.may_be_both)
                if name in self.acked:
                    lost += (name in self.local and here.get(name, 0) == 0) or (not far and not name.startswith("d-"))
        return lost, bad, twice, far_twice, window


# --- what is tried: each takes a case and a fault -----------------------------------------------------------------------


def do_sendmail(c, fault):
    c.sendmail(None)
    c.sendmail(fault, 3000)


def do_sendmail_large(c, fault):
    c.sendmail(fault, 400000)


def do_queue_run(c, fault):
    for _ in range(3):
        c.sendmail(None)
    c.run(fault, "queue-run", *c.relay(), "--all")


def do_absorb(c, fault):
    for n in range(ABSORBED):
        c.sendmail(None, 60)
    c.run(fault, "queue-run", *c.relay(), "--all")


def do_deliver(c, fault):
    name = c.name("d")
    c.local.add(name)
    if c.run(fault, "deliver", "jo@a.test", text=text_of(name)) == 0:
        c.acked.add(name)


def smtp(c, port, count):
    def expect(f, code):
        while True:
            line = f.readline()
            if line[:3] != code:
                raise EOFError
            if line[3:4] != b"-":
                return

    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as s, s.makefile("rwb") as f:
            expect(f, b"220")
            f.write(b"EHLO client.test\r\n")
            f.flush()
            expect(f, b"250")
            for _ in range(count):
                with received_lock:
                    name = c.name("s")
                    c.local.add(name)
                f.write(b"RSET\r\nMAIL FROM:<x@client.test>\r\nRCPT TO:<jo@a.test>\r\nRCPT TO:<far@away.test>\r\nDATA\r\n")
                f.flush()
                for code in (b"250", b"250", b"250", b"250", b"354"):
                    expect(f, code)
                f.write(text_of(name).replace("\n", "\r\n").encode() + b".\r\n")
                f.flush()
                try:
                    expect(f, b"250")
                    c.acked.add(name)
                except EOFError:
                    if not s.fileno() or f.closed:
                        raise
    except (OSError, EOFError):
        return


def do_serve(c, fault, *more):
    port = free_port()
    with open(c.data + ".log", "ab") as log:
        p = subprocess.Popen(c.command("serve", *c.relay(), "--listen", "smtp=127.0.0.1:%d" % port, *more), stdout=log, stderr=log,
                             env=c.env(fault))
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            if p.poll() is not None:
                return
            time.sleep(0.01)
    clients = [threading.Thread(target=smtp, args=(c, port, 3)) for _ in range(2)]
    for t in clients:
        t.start()
    for t in clients:
        t.join()
    for _ in range(15):  # it delivers
        if p.poll() is not None or not more and not [n for n in c.acked if n not in received]:
            break
        time.sleep(0.01)
    p.terminate()
    try:
        p.wait(20)
    except subprocess.TimeoutExpired:
        print("serve does not end:", fault)
        p.kill()
        p.wait()


def do_ingest(c, fault):
    do_serve(c, fault, "--hold")


def do_drop(c, fault):
    """Two files in the drop directory, taken by a pass."""
    c.may_be_both = True
    os.mkdir(c.data + "/drop", 0o700)
    os.chmod(c.data + "/drop", 0o1733)
    for _ in range(2):
        name = c.name("p")
        c.acked.add(name)
        c.local.add(name)
        leave(c.data + "/drop/%s.msg" % name, ["jo@a.test", "far@away.test"], text_of(name))
    c.options = ["--drop-dir", c.data + "/drop"]
    c.run(fault, "queue-run", *c.relay(), "--all")


def do_reroute(c, fault):
    c.may_be_both = True
    for _ in range(2):
        c.sendmail(None, to=["far@away.test"])
    c.status = c.run(fault, "queue-run", "--reroute", "127.0.0.1:%d" % SINK_PORT, "--all")
    if c.status == 0:
        c.relay = lambda: ["--relay", "127.0.0.1:1", "--retry", "1s"]  # they all go the other way


def do_bounce(c, fault):
    c.may_be_both = True
    for _ in range(2):
        c.sendmail(None, to=["far@away.test"])
    c.status = c.run(fault, "queue-run", "--bounce", "--all")


def do_refused(c, fault):
    """The next hop refuses; the notification takes the message's place."""
    c.may_be_both = True
    for _ in range(2):
        c.sendmail(None, to=["no@away.test"])
    c.run(fault, "queue-run", *c.relay(), "--all")


def do_move(c, fault):
    """A segment that is mostly finished, with a long journal: both are written anew."""
    big = [("0MOVE%08dA" % i).encode() for i in range(4)]
    name = c.name("m")
    c.acked.add(name)
    c.local.add(name)
    small = b"0MOVE00000009A"
    with open(c.data + "/queue/0MOVE000000SEG.seg", "wb") as f:
        for id in big:
            f.write(record(id, ["far@away.test"], BIG_TEXT))
        f.write(record(small, ["jo@a.test", "far@away.test"], text_of(name)))
    with open(c.data + "/queue/0MOVE000000SEG.jnl", "wb") as f:
        f.writelines(line(id, "0 delivered {}") for id in big)
        f.write(line(small, "0 deferred " + "x" * 8000) * 160)
        f.write(line(small, "* next %d" % (time.time() + 3000)))
    c.run(fault, "queue-run", *c.relay())


def do_batch(c, fault):
    """More messages than are synced one by one."""
    for _ in range(10):
        name = c.name("m")
        c.acked.add(name)
        c.local.add(name)
    with open(c.data + "/queue/0MOVE000000SEG.seg", "wb") as f:
        for i, name in enumerate(sorted(c.sent)):
            f.write(record(b"0MOVE%08dA" % i, ["jo@a.test", "far@away.test"], text_of(name)))
    c.run(fault, "queue-run", *c.relay(), "--all")


# --- files as postbag writes them


TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = c >> 8 ^ TABLE[(c ^ b) & 255]
    return c ^ 0xFFFFFFFF


def once(f, known={}):
    def g(*args):
        key = repr(args)
        if len(key) < 2000:
            return f(*args)
        if (f, key) not in known:
            known[f, key] = f(*args)
        return known[f, key]
    return g


def envelope(rcpts):
    return ("from sender@away.test\nat %d\nproto local\n" % (time.time() // 1000 * 1000) + "".join("rcpt %s\n" % r for r in rcpts)).encode()


@once
def record(id, rcpts, text):
    env, text = envelope(rcpts), text.replace("\n", "\r\n").encode()
    head = b"PBM1 %s %d %d " % (id, len(env), len(text))
    return head + b"%08x\n" % crc32c(head + env + text) + env + text + b"\n"


def leave(path, rcpts, text):
    env, text = envelope(rcpts), text.replace("\n", "\r\n").encode()
    head = b"PBD1 %d %d " % (len(env), len(text))
    with open(path, "wb") as f:
        f.write(head + b"%08x\n" % crc32c(head + env + text) + env + text)


@once
def line(id, rest):
    text = b"%d %s " % (time.time() // 1000 * 1000, id) + rest.encode()
    return b"%08x %s\n" % (crc32c(text), text)


BIG_TEXT = text_of("big", 300000)

ROWS = [("sendmail", do_sendmail, 1), ("sendmail 400 KB", do_sendmail_large, 3), ("deliver", do_deliver, 1), ("queue-run", do_queue_run, 1),
        ("queue-run, 10 in one", do_batch, 1), ("queue-run, 70 segments", do_absorb, 6), ("moving", do_move, 2), ("drop directory", do_drop, 1),
        ("refused by the next hop", do_refused, 1), ("--reroute", do_reroute, 1), ("--bounce", do_bounce, 1),
        ("serve --hold", do_ingest, 2), ("serve", do_serve, 2)]
ABSORBED = 70
slow = threading.Event()


def last_sync():
    """At a stop what is noted last is synced: a delivery ends after the signal."""
    c = Case()
    name = "slow-%d" % c.serial
    c.sent.add(name)
    c.run(None, "sendmail", "far@away.test", "later@away.test", text=text_of(name))
    with open(c.data + ".log", "ab") as log:
        p = subprocess.Popen(c.command("serve", *c.relay(), "--listen", "smtp=127.0.0.1:%d" % free_port()), stdout=log, stderr=log,
                             env=dict(os.environ, LD_PRELOAD=SHIM, FAULT_DIR=c.data + "/queue/", FAULT_TRACE=c.data + ".trace"))
    came = slow.wait(20)
    p.terminate()
    p.wait(20)
    with open(c.data + ".trace") as f:
        trace = [t.split() for t in f]
    journals = {p for what, p in trace if what == "w" and p.endswith(".jnl")}
    unsynced = [j for j in journals if [what for what, p in trace if p == j][-1] == "w"]
    if not came or not journals or unsynced:
        print("VIOLATION: at a stop: the slow message came: %s; written and not synced: %s of %s" % (came, unsynced, journals))
        return False
    return True

sink = Threaded(("127.0.0.1", 0), Sink)
SINK_PORT = sink.server_address[1]
threading.Thread(target=sink.serve_forever, daemon=True).start()
TEMPLATE = os.path.join(ROOT, "template")
os.makedirs(TEMPLATE + "/queue", 0o700)
subprocess.run([POSTBAG, "account", "add", "jo", "--data", TEMPLATE, "--domain", "a.test"], input=b"pw\n", check=True,
               stdout=subprocess.DEVNULL)
only, only_calls = os.environ.get("FAULT_ROWS", ""), os.environ.get("FAULT_CALLS", "")
jobs = int(os.environ.get("FAULT_JOBS", 6))


def one(title, deed, fault):
    call, n, how = fault
    c = Case()
    deed(c, fault)
    said = c.log()
    is_left = deed is not do_move and c.status != 0 and [n for n in os.listdir(c.data + "/queue") if n.endswith(".seg")]
    drained = c.drain()
    result = c.audit(how in ("kill", "after"))
    hit = "!" in c.calls()
    where = c.where()
    # What was tried again, or only a hint, needs no word.
    told = (call, how) != ("read", "eio") or not hit or not is_left or not re.search(r"\.(seg|jnl|msg)$", where) \
        or os.path.basename(where).partition(".")[0] in said or re.search(r"^\w{14}  deferred .*cannot read", said, re.M)
    ok = drained and told and not any(result[:4])
    if not ok:
        print("VIOLATION: %s, %s %d, %s: lost %d, damaged %d, twice %d, far twice %d%s%s%s" %
              (title, call, n, how, *result[:4], "" if drained else ", not drained", "" if told else ", no error names " + where,
               " (%s)" % c.data if os.environ.get("FAULT_KEEP") else ""))
    elif not os.environ.get("FAULT_KEEP"):
        shutil.rmtree(c.data, ignore_errors=True)
    return result, hit, ok


failed = total = hits = window = 0
started = time.time()
print("%-24s %-7s %s" % ("process", "call", "".join("%-24s" % h for h in HOWS)))
print("%-24s %-7s %s" % ("", "", "cases lost dmg 2x far2x   " * len(HOWS)))
try:
    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    if not only:
        failed += not last_sync()
    counts = {}
    for title, deed, thin in ROWS:
        for call in CALLS:
            if not re.search(only, title) or not re.search(only_calls, call):
                continue
            counts[title, call] = pool.submit(lambda c, deed, call: (deed(c, (call, 0, "none")), c)[1], Case(), deed, call)
    cells = {}
    turn = 0
    for title, deed, thin in ROWS:
        for call in CALLS:
            if (title, call) not in counts:
                continue
            probe = counts[title, call].result()
            count = len(probe.calls())
            if call == CALLS[0] and (not probe.drain() or any(probe.audit()[:4]) or probe.acked != probe.sent):
                print("without a fault:", title, probe.audit(), len(probe.acked), len(probe.sent))
                failed += 1
            want = max(1, CASES // thin)
            places = sorted({1 + i * (count - 1) // max(1, min(want, count) - 1) for i in range(min(want, count))}) if count else []
            if len(places) == 1:
                places = [(count + 1) // 2]  # the middle says more than the start
            hows = [h for h in HOWS if h != "short" or call == "write"]
            if CASES == 0:  # one way to fail, another for each; and a kill at what matters most
                turn += 1
                hows = {hows[turn % len(hows)], *(["kill"] if call in ("write", "sync", "rename", "open") else [])}
            for how in hows:
                cells[title, call, how] = [pool.submit(one, title, deed, (call, n, how)) for n in places]
    for title, deed, thin in ROWS:
        for call in CALLS:
            if not any(cells.get((title, call, how)) for how in HOWS):
                continue
            row = ""
            for how in HOWS:
                sums = [0, 0, 0, 0, 0, 0]
                for future in cells.get((title, call, how), []):
                    result, hit, ok = future.result()
                    sums = [a + b for a, b in zip(sums, (1, *result))]
                    total += 1
                    hits += hit
                    failed += not ok
                window += sums[5]
                row += "%-24s" % ("%5d %4d %3d %2d %5d" % tuple(sums[:5]) if sums[0] else "-")
            print("%-24s %-7s %s" % (title, call, row), flush=True)
    print("fault matrix: %d cases, %d of them came to the fault, %d violations, %d doubles in the window, %.0f s" %
          (total, hits, failed, window, time.time() - started))
    sys.exit(1 if failed or not hits else 0)
finally:
    pool.shutdown(cancel_futures=True)
    sink.shutdown()
    if os.environ.get("FAULT_KEEP"):
        print("kept:", ROOT)
    else:
        shutil.rmtree(ROOT, ignore_errors=True)
