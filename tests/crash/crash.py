"""Crash test: random kill -9 under load, then an audit.

Odd rounds kill a `serve` that takes, delivers and relays. Even rounds take mail with `serve --hold`, kill it, and kill a
`queue-run` that delivers. Half of the mail is for a mailbox here, half for a next hop, a sink in this process. Nothing is
lost when each message that got 250 is found at least once with its checksum right.
"""
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

POSTBAG, ROUNDS = sys.argv[1], int(sys.argv[2])
SEED = int(os.environ.get("CRASH_SEED", time.time()))
random.seed(SEED)
WORK = tempfile.mkdtemp(prefix="postbag-crash-")
DATA = os.path.join(WORK, "data")
WORKERS = 8
acked, acked_lock = {}, threading.Lock()
received = {}  # id -> list of "ok" / "damaged", by the sink
counter = 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def body_of(message_id, size):
    rng = random.Random(message_id)
    lines = []
    left = size
    while left > 0:
        n = min(left, rng.randint(1, 76))
        lines.append("".join(rng.choices("abcdefghij.0123456789 ", k=n)))
        left -= n
    return "\r\n".join(lines) + "\r\n"


def digest(body):
    return hashlib.sha256(body.replace("\r\n", "\n").encode()).hexdigest()


def check(text):
    """(id, whole?) of a message with LF or CRLF lines."""
    text = text.replace("\r\n", "\n")
    head, _, body = text.partition("\n\n")
    m = re.search(r"^X-Crash-ID: (\S+)", head, re.M)
    h = re.search(r"^X-Crash-SHA: (\S+)", head, re.M)
    if not m or not h:
        return None, False
    return m.group(1), hashlib.sha256(body.encode()).hexdigest() == h.group(1)


class Sink(socketserver.StreamRequestHandler):
    timeout = 20

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        try:
            self.say("220 sink")
            while True:
                line = self.rfile.readline(2000)
                if not line:
                    return
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.say("354 go")
                    data = []
                    while True:
                        line = self.rfile.readline()
                        if not line:
                            return
                        if line == b".\r\n":
                            break
                        data.append(line[1:] if line.startswith(b".") else line)
                    name, whole = check(b"".join(data).decode("latin-1"))
                    received.setdefault(name, []).append(whole)
                    self.say("250 ok")
                elif verb == b"QUIT":
                    self.say("221 bye")
                    return
                elif verb == b"EHLO":
                    self.say("250-sink")
                    self.say("250 PIPELINING")
                else:
                    self.say("250 ok")
        except (OSError, ValueError):
            return


class Client(threading.Thread):
    """Sends messages over reused connections until the server dies or `stop` is set."""

    def __init__(self, port, stop):
        super().__init__(daemon=True)
        self.port, self.stop = port, stop

    def run(self):
        global counter
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
                f = s.makefile("rwb")
                self.expect(f, b"220")
                f.write(b"EHLO client.test\r\n")
                f.flush()
                self.expect(f, b"250")
                while not self.stop.is_set():
                    with acked_lock:
                        counter += 1
                        name = "m%06d" % counter
                    size = random.choice([50, 700, 4000, 4000, 30000, 400000]) if random.random() < 0.9 else 0
                    remote = random.random() < 0.5
                    body = body_of(name, size)
                    sha = digest(body)
                    stuffed = re.sub(r"(?m)^\.", "..", body)
                    f.write(b"MAIL FROM:<x@client.test>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (b"far@away.test" if remote else b"jo@a.test"))
                    f.flush()
                    for code in (b"250", b"250", b"354"):
                        self.expect(f, code)
                    f.write(("Subject: crash\r\nX-Crash-ID: %s\r\nX-Crash-SHA: %s\r\n\r\n%s.\r\n" % (name, sha, stuffed)).encode())
                    f.flush()
                    self.expect(f, b"250")
                    with acked_lock:
                        acked[name] = (remote, sha)
        except (OSError, EOFError):
            return

    @staticmethod
    def expect(f, code):
        while True:
            line = f.readline()
            if not line:
                raise EOFError
            if line[:3] != code:
                raise EOFError
            if line[3:4] != b"-":
                return


def command(*more):
    return [POSTBAG, more[0], "--data", DATA, "--domain", "a.test", "--hostname", "mx.a.test", "--retry", "1s", "--log", "text",
            "--relay", "127.0.0.1:%d" % SINK_PORT, *more[1:]]


def start_serve(port, *more):
    log = open(os.path.join(WORK, "log"), "ab")
    p = subprocess.Popen(command("serve", "--listen", "smtp=127.0.0.1:%d" % port, *more), stderr=log, stdout=log)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return p
        except OSError:
            if p.poll() is not None:
                break
            time.sleep(0.02)
    print("serve did not start:", open(os.path.join(WORK, "log")).read()[-2000:])
    sys.exit(1)


def load(port, seconds):
    stop = threading.Event()
    clients = [Client(port, stop) for _ in range(WORKERS)]
    for c in clients:
        c.start()
    time.sleep(seconds)
    return stop, clients


def kill(p):
    p.send_signal(signal.SIGKILL)
    p.wait()


def audit():
    """Count by id what is in the mailbox and at the sink."""
    found, damaged = {}, []
    base = os.path.join(DATA, "mail/a.test/jo/Maildir")
    for sub in ("new", "cur"):
        folder = os.path.join(base, sub)
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="latin-1", newline="") as f:
                message_id, whole = check(f.read())
            found[message_id] = found.get(message_id, 0) + 1
            if not whole:
                damaged.append(message_id)
    for message_id, results in received.items():
        found[message_id] = found.get(message_id, 0) + len(results)
        if not all(results):
            damaged.append(message_id)
    return found, damaged


class Threaded(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


sink = Threaded(("127.0.0.1", 0), Sink)
SINK_PORT = sink.server_address[1]
threading.Thread(target=sink.serve_forever, daemon=True).start()
os.makedirs(DATA)
subprocess.run([POSTBAG, "account", "add", "jo", "--data", DATA, "--domain", "a.test"], input=b"pw\n", check=True, stdout=subprocess.DEVNULL)
started = time.time()
try:
    for round_number in range(1, ROUNDS + 1):
        port = free_port()
        hold = round_number % 2 == 0
        p = start_serve(port, *(["--hold"] if hold else []))
        stop, clients = load(port, random.uniform(0.02, 0.5))
        kill(p)
        stop.set()
        for c in clients:
            c.join(15)
        if hold:
            log = open(os.path.join(WORK, "log"), "ab")
            q = subprocess.Popen(command("queue-run", "--all"), stdout=log, stderr=log)
            time.sleep(random.uniform(0.005, 0.3))
            kill(q)
    for _ in range(30):
        subprocess.run(command("queue-run", "--all"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
        left = subprocess.run(command("queue-run")[:1] + ["queue-run", "--data", DATA, "--list"], capture_output=True, text=True).stdout
        if "queue is empty" in left:
            break
        time.sleep(0.5)
    else:
        print("the queue did not drain:", left[-2000:])
        sys.exit(1)
    found, damaged = audit()
    lost = [m for m in acked if m not in found]
    twice_local = [m for m in acked if not acked[m][0] and found.get(m, 0) > 1]
    twice_remote = [m for m in acked if acked[m][0] and found.get(m, 0) > 1]
    rest = [n for n in os.listdir(os.path.join(DATA, "queue"))]
    ok = not lost and not damaged and not twice_local and not rest and len(acked) > ROUNDS
    if lost:
        print("LOST:", lost[:20])
    if damaged:
        print("DAMAGED:", damaged[:20])
    if twice_local:
        print("TWICE in the mailbox:", twice_local[:20])
    if rest:
        print("left in the queue's directory:", rest[:20])
    print("crash test: %d rounds, %d messages acknowledged, %d lost, %d damaged, %d twice here, %d twice at the next hop, %.0f s, seed %d"
          % (ROUNDS, len(acked), len(lost), len(damaged), len(twice_local), len(twice_remote), time.time() - started, SEED))
    sys.exit(0 if ok else 1)
finally:
    sink.shutdown()
    if os.environ.get("CRASH_KEEP"):
        print("kept:", WORK)
    else:
        shutil.rmtree(WORK, ignore_errors=True)
