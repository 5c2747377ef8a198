#!/usr/bin/env python3
"""Fill a queue: fill.py POSTBAG DATA COUNT [SIZE [SEGMENTS]].

COUNT messages of SIZE octets (4096) for far@away.test, by SMTP through `serve --hold`, ten connections, pipelined; with SEGMENTS,
so many segments of one message are made by `sendmail` instead.
"""
import os
import socket
import subprocess
import sys
import threading
import time

binary, data, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
size = int(sys.argv[4]) if len(sys.argv) > 4 else 4096
line = b"x" * 70 + b"\r\n"
text = b"Subject: fill\r\nFrom: <x@client.test>\r\n\r\n" + line * max(1, size // len(line))
common = ["--data", data, "--domain", "a.test", "--hostname", "mx.a.test", "--log", "none"]
if len(sys.argv) > 5:
    for _ in range(int(sys.argv[5])):
        subprocess.run([binary, "sendmail", *common, "far@away.test"], input=text.replace(b"\r\n", b"\n"), check=True)
    sys.exit(0)

with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
server = subprocess.Popen([binary, "serve", *common, "--hold", "--relay", "127.0.0.1:9", "--listen", "smtp=127.0.0.1:%d" % port,
                           "--relay-from", "127.0.0.0/8"])


def client(n):
    for _ in range(200):
        try:
            s = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            time.sleep(0.02)
    f = s.makefile("rwb")

    def reply():
        while (got := f.readline())[3:4] == b"-":
            pass
        if got[:1] not in (b"2", b"3"):
            raise SystemExit("refused: %r" % got)

    reply()
    f.write(b"EHLO client.test\r\n")
    f.flush()
    reply()
    for _ in range(n):
        f.write(b"MAIL FROM:<x@client.test>\r\nRCPT TO:<far@away.test>\r\nDATA\r\n")
        f.flush()
        for _ in range(3):
            reply()
        f.write(text + b".\r\n")
        f.flush()
        reply()


started = time.time()
try:
    clients = [threading.Thread(target=client, args=(count // 10,)) for _ in range(10)]
    for t in clients:
        t.start()
    for t in clients:
        t.join()
    print("%d messages in %.1f s" % (count // 10 * 10, time.time() - started))
finally:
    server.terminate()
    server.wait()
