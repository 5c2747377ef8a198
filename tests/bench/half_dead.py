#!/usr/bin/env python3
"""10 000 queued messages to 2 000 destinations, half of them dead in four ways: the port is closed, SYNs
are dropped, the host accepts and says nothing, the name server does not answer. Prints when the live half
had arrived and how much memory serve used. Loopback only; needs nothing but Python.

usage: half_dead.py POSTBAG [MESSAGES] [DESTINATIONS]"""
import os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

BIN = os.path.abspath(sys.argv[1])
MESSAGES = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
DESTS = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
SMTP, SINK, DNS = 2925, 2926, 2953
DEAD = {1: "127.0.0.3", 3: "127.0.0.4", 5: "127.0.0.5", 7: None}  # by number modulo 8
arrived, first, last = 0, 0.0, 0.0
lock = threading.Lock()


def address(name):
    n = int(re.match(r"(?:mx\.)?d(\d+)\.test$", name).group(1))
    return DEAD.get(n % 8, "127.0.0.2")


def dns():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", DNS))
    while True:
        q, peer = s.recvfrom(4096)
        labels, at = [], 12
        while q[at]:
            labels.append(q[at + 1:at + 1 + q[at]].decode())
            at += 1 + q[at]
        qtype = struct.unpack(">H", q[at + 1:at + 3])[0]
        question, name = q[12:at + 5], ".".join(labels).lower()
        try:
            to = address(name)
        except AttributeError:
            to = "127.0.0.2"
        if to is None:
            continue  # a name server that is gone
        answer = b""
        if qtype == 15 and not name.startswith("mx."):
            target = b"\x02mx\xc0\x0c"
            answer = b"\xc0\x0c" + struct.pack(">HHIHH", 15, 1, 60, 2 + len(target), 10) + target
        elif qtype == 1:
            answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(to)
        s.sendto(q[:2] + b"\x85\x80\0\1" + (b"\0\1" if answer else b"\0\0") + b"\0\0\0\0" + question + answer, peer)


def session(c):
    global arrived, first, last
    c.sendall(b"220 sink ESMTP\r\n")
    f, data = c.makefile("rb"), False
    for line in f:
        if data:
            if line == b".\r\n":
                data = False
                with lock:
                    arrived += 1
                    last = time.monotonic()
                c.sendall(b"250 ok\r\n")
            continue
        verb = line[:4].upper()
        if verb == b"EHLO":
            c.sendall(b"250-sink\r\n250 PIPELINING\r\n")
        elif verb == b"DATA":
            data = True
            c.sendall(b"354 go\r\n")
        elif verb == b"QUIT":
            c.sendall(b"221 bye\r\n")
            break
        else:
            c.sendall(b"250 ok\r\n")
    c.close()


def listen(host, backlog=1000):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, SINK))
    s.listen(backlog)
    return s


def quiet(c):
    try:
        session(c)
    except OSError:
        pass


def sink():
    s = listen("127.0.0.2")
    while True:
        threading.Thread(target=quiet, args=(s.accept()[0],), daemon=True).start()


def silent(kept):
    s = listen("127.0.0.5")
    while True:
        kept.append(s.accept()[0])


def inject():
    c = socket.create_connection(("127.0.0.1", SMTP))
    f = c.makefile("rb")
    f.readline()
    c.sendall(b"EHLO x\r\n")
    while f.readline()[3:4] == b"-":
        pass
    body = b"Subject: t\r\n\r\n" + b"x" * 70 + b"\r\n.\r\n"
    for i in range(MESSAGES):
        c.sendall(b"MAIL FROM:<a@here.test>\r\nRCPT TO:<u@d%d.test>\r\nDATA\r\n" % (i % DESTS))
        for _ in range(3):
            assert f.readline()[:1] in b"23"
        c.sendall(body)
        assert f.readline()[:3] == b"250"
    c.sendall(b"QUIT\r\n")


def status(pid, what):
    return int(re.search(what + r":\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))


def serve(*more):
    p = subprocess.Popen([BIN, "serve", "--data", DATA, "--hostname", "here.test", "--domain", "here.test", "--listen",
                          f"smtp=127.0.0.1:{SMTP}", "--resolver", f"127.0.0.1:{DNS}", "--mx-port", str(SINK),
                          "--log", "none", *more])
    while True:
        try:
            socket.create_connection(("127.0.0.1", SMTP)).close()
            return p
        except OSError:
            time.sleep(0.05)


DATA = tempfile.mkdtemp(prefix="postbag-half-dead-")
full = listen("127.0.0.4", 0)  # its queue of connections is full: further SYNs are dropped
stuck = [socket.socket() for _ in range(4)]
for x in stuck:
    x.setblocking(False)
    x.connect_ex(("127.0.0.4", SINK))
for target, args in ((dns, ()), (sink, ()), (silent, ([],))):
    threading.Thread(target=target, args=args, daemon=True).start()
try:
    p = serve("--hold")
    inject()
    p.send_signal(signal.SIGTERM)
    p.wait()
    live = sum(1 for i in range(MESSAGES) if (i % DESTS) % 8 not in DEAD)
    start = time.monotonic()
    p = serve()
    peak_threads = 0
    while arrived < live and time.monotonic() - start < 300:
        time.sleep(0.05)
        peak_threads = max(peak_threads, status(p.pid, "Threads"))
    print(f"{MESSAGES} messages, {DESTS} destinations: {arrived} of {live} for live ones arrived in "
          f"{last - start:.1f} s; peak {status(p.pid, 'VmHWM')} KiB resident, {peak_threads} threads")
    p.send_signal(signal.SIGTERM)
    t = time.monotonic()
    p.wait()
    print(f"stopped in {time.monotonic() - t:.1f} s")
    left = subprocess.run([BIN, "queue-run", "--data", DATA, "--list", "--json"], capture_output=True, text=True).stdout
    print(f"left in the queue: {len(left.splitlines())}")
    sys.exit(arrived != live)
finally:
    p.kill()
    shutil.rmtree(DATA)
