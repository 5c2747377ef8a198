"""Fault matrix: each write, sync, rename, unlink, cut and open of the queue and the mailboxes fails once.

A program runs with fault.so preloaded: first without a fault, to count its calls, then once for each call (or for CASES of
them, evenly spread) and each way to fail: killed before it, killed after it, EIO, a disk that is full from there on, a short
write. Then the queue is drained without faults, and it is counted what became of each message.

Lost: acknowledged and nowhere. Damaged: its checksum is wrong. Twice: twice in the mailbox. At the next hop a message may be
there twice only when the fault came in the process that relays. Any other is a failure.
"""
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
CALLS = ["write", "sync", "rename", "unlink", "cut", "open"]
ROOT = tempfile.mkdtemp(prefix="postbag-faults-")
received, received_lock = {}, threading.Lock()
serial = 0


def text_of(name, size=300):
    body = "".join("%s line %-60d\n" % (name, i) for i in range(size // 70 + 1))
    return "Subject: f\nX-ID: %s\nX-SHA: %s\n\n%s" % (name, hashlib.sha256(body.encode()).hexdigest(), body)


def check(data):
    head, _, body = data.replace("\r\n", "\n").partition("\n\n")
    name, sha = re.search(r"^X-ID: (\S+)", head, re.M), re.search(r"^X-SHA: (\S+)", head, re.M)
    if not name or not sha:
        return None, False
    return name.group(1), hashlib.sha256(body.encode()).hexdigest() == sha.group(1)


class Sink(socketserver.StreamRequestHandler):
    timeout = 20

    def handle(self):
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
                    with received_lock:
                        received.setdefault(name, []).append(whole)
                    self.wfile.write(b"250 ok\r\n")
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
        serial += 1
        self.data = os.path.join(ROOT, "%05d" % serial)
        self.count = self.data + ".count"
        shutil.copytree(TEMPLATE, self.data)
        self.acked, self.sent = set(), set()

    def command(self, applet, *more):
        name = [] if applet == "deliver" else ["--hostname", "mx.a.test"]
        return [POSTBAG, applet, "--data", self.data, "--domain", "a.test", *name, *more]

    def env(self, fault):
        if not fault:
            return os.environ
        call, n, how = fault
        return dict(os.environ, LD_PRELOAD=SHIM, FAULT_DIR=self.data + "/", FAULT_CALL=call, FAULT_N=str(n), FAULT_HOW=how,
                    FAULT_COUNT=self.count)

    def run(self, fault, applet, *more, text=""):
        with open(self.data + ".log", "ab") as log:
            return subprocess.run(self.command(applet, *more), input=text.encode(), stdout=log, stderr=log, timeout=60,
                                  env=self.env(fault)).returncode

    def relay(self):
        return ["--relay", "127.0.0.1:%d" % SINK_PORT, "--retry", "1s", "--log", "none"]

    def name(self, kind):
        name = "%s-%d-%s" % (kind, serial, len(self.sent))
        self.sent.add(name)
        return name

    def sendmail(self, fault, size=300):
        name = self.name("q")
        if self.run(fault, "sendmail", "jo@a.test", "far@away.test", text=text_of(name, size)) == 0:
            self.acked.add(name)

    def calls(self):
        try:
            with open(self.count) as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def drain(self):
        for _ in range(40):
            self.run(None, "queue-run", *self.relay(), "--all", "--quiet")
            left = [n for n in os.listdir(self.data + "/queue") if n.endswith((".seg", ".jnl", ".new")) or n == "moving"]
            if not left:
                return True
            time.sleep(0.05)
        print("did not drain:", left, open(self.data + ".log").read()[-1500:])
        return False

    def audit(self):
        here = {}
        bad = 0
        for top in ("new", "cur"):
            folder = os.path.join(self.data, "mail/a.test/jo/Maildir", top)
            for file in os.listdir(folder) if os.path.isdir(folder) else []:
                with open(os.path.join(folder, file), encoding="latin-1", newline="") as f:
                    name, whole = check(f.read())
                here[name] = here.get(name, 0) + 1
                bad += not whole
        lost = twice = far_twice = 0
        for name in self.sent:
            far = received.get(name, [])
            bad += len([w for w in far if not w])
            twice += here.get(name, 0) > 1
            far_twice += len(far) > 1
            if name in self.acked:
                lost += here.get(name, 0) == 0 or (not far and not name.startswith("d-"))
        return lost, bad, twice, far_twice


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


ROWS = [("sendmail", do_sendmail, 1), ("sendmail 400 KB", do_sendmail_large, 3), ("deliver", do_deliver, 1), ("queue-run", do_queue_run, 1),
        ("queue-run, 70 segments", do_absorb, 6), ("serve --hold", do_ingest, 2), ("serve", do_serve, 2)]
ABSORBED = 70
RELAYS = (do_queue_run, do_absorb, do_serve)

sink = Threaded(("127.0.0.1", 0), Sink)
SINK_PORT = sink.server_address[1]
threading.Thread(target=sink.serve_forever, daemon=True).start()
TEMPLATE = os.path.join(ROOT, "template")
os.makedirs(TEMPLATE + "/queue", 0o700)
subprocess.run([POSTBAG, "account", "add", "jo", "--data", TEMPLATE, "--domain", "a.test"], input=b"pw\n", check=True,
               stdout=subprocess.DEVNULL)
only = os.environ.get("FAULT_ROWS")
failed = total = hits = 0
started = time.time()
print("%-24s %-7s %s" % ("process", "call", "".join("%-24s" % h for h in HOWS)))
print("%-24s %-7s %s" % ("", "", "cases lost dmg 2x far2x   " * len(HOWS)))
try:
    for title, deed, thin in ROWS:
        if only and not re.search(only, title):
            continue
        for call in CALLS:
            probe = Case()
            deed(probe, (call, 0, "none"))
            count = len(probe.calls())
            if not probe.drain() or any(probe.audit()[:3]) or probe.acked != probe.sent:
                print("without a fault:", title, probe.audit(), len(probe.acked), len(probe.sent))
                failed += 1
            want = max(2, CASES // thin)
            places = sorted({1 + i * (count - 1) // max(1, min(want, count) - 1) for i in range(min(want, count))}) if count else []
            cells = []
            for how in HOWS:
                if how == "short" and call != "write":
                    cells.append("%-24s" % "-")
                    continue
                sums = [0, 0, 0, 0, 0]
                for n in places:
                    c = Case()
                    deed(c, (call, n, how))
                    drained = c.drain()
                    result = c.audit()
                    sums = [a + b for a, b in zip(sums, (1, *result))]
                    total += 1
                    hits += "!" in c.calls()
                    if not drained or any(result[:3]) or (result[3] and deed not in RELAYS):
                        failed += 1
                        print("VIOLATION: %s, %s %d, %s: lost %d, damaged %d, twice %d, far twice %d%s" %
                              (title, call, n, how, *result, "" if drained else ", not drained"))
                    elif not os.environ.get("FAULT_KEEP"):
                        shutil.rmtree(c.data, ignore_errors=True)
                cells.append("%-24s" % ("%5d %4d %3d %2d %5d" % tuple(sums) if places else "-"))
            print("%-24s %-7s %s" % (title, call, "".join(cells)), flush=True)
    print("fault matrix: %d cases, %d of them came to the fault, %d violations, %.0f s" % (total, hits, failed, time.time() - started))
    sys.exit(1 if failed or not hits else 0)
finally:
    sink.shutdown()
    if os.environ.get("FAULT_KEEP"):
        print("kept:", ROOT)
    else:
        shutil.rmtree(ROOT, ignore_errors=True)
