"""script: an SMTP server that misbehaves on request. script.py ADDRESS PORT [WORD...]

A word that begins with a digit is the banner. VERB=REPLY answers that verb so (ehlo, mail, rcpt, data, end, quit; REPLY
"drop": closes instead); once: only the first time. silent: accepts and says nothing. slow-banner: three lines in pieces.
rcpt-max=N: 452 for more in one transaction. lf: lines of replies end
in LF alone, and hold a NUL. drop-after=N: closes without a word after N messages. What happens is printed, line by line."""
import socket
import sys
import threading
import time

address, port = sys.argv[1], int(sys.argv[2])
words = sys.argv[3:]
replies = dict(w.split("=", 1) for w in words if "=" in w)
banner = next((w for w in words if w[0].isdigit()), "220 script ESMTP")
lock = threading.Lock()


def say(what):
    with lock:
        print(what, flush=True)


def end(reply):
    return (reply.replace("\r", "") + " \0\n" if "lf" in words else reply + "\r\n").encode()


def session(c):
    say("connect")
    if "silent" in words:
        time.sleep(60)
    if "slow-banner" in words:
        for piece in ("220-one\r", "\n220-tw", "o\r\n220 three\r\n"):
            c.sendall(piece.encode())
            time.sleep(0.3)
            c.setblocking(False)
            try:
                if c.recv(1, socket.MSG_PEEK) and piece[-1] != "\n":
                    say("early talk")
            except BlockingIOError:
                pass
            c.setblocking(True)
    else:
        c.sendall(banner.encode() + b"\r\n")
    f = c.makefile("rb")
    messages = rcpts = 0
    usual = {"ehlo": "250-script\r\n250 PIPELINING", "data": "354 go", "quit": "221 bye", "end": "250 kept"}
    while line := f.readline():
        say(line.decode(errors="replace").strip())
        verb = line[:4].decode(errors="replace").lower()
        reply = replies.get(verb, usual.get(verb, "250 ok"))
        rcpts = 0 if verb == "mail" else rcpts + (verb == "rcpt")
        if verb == "rcpt" and rcpts > int(replies.get("rcpt-max", 1000)):
            reply = "452 4.5.3 too many recipients"
        if verb in replies and "once" in words:
            del replies[verb]
        if reply == "drop":
            break
        c.sendall(end(reply))
        if reply.startswith("421") or verb == "quit":
            break
        if verb == "data" and reply.startswith("354"):
            while (line := f.readline()) not in (b".\r\n", b""):
                pass
            say("end of data")
            c.sendall(end(replies.get("end", usual["end"])))
            messages += 1
            if messages == int(replies.get("drop-after", 0)):
                break
    c.close()


s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((address, port))
s.listen(50)
say("listening")
while True:
    threading.Thread(target=session, args=(s.accept()[0],), daemon=True).start()
