"""sink: an SMTP server for the stories. sink.py PORT DIRECTORY [refuse=CODE] [defer=N] [size=N]
[wait=1] [extensions=A,B] [auth=USER:PASSWORD]

Every message is kept as DIRECTORY/N.eml, as it came over the wire with the dots undone, and its
envelope as N.env: the MAIL and RCPT lines. refuse: answer RCPT with CODE for recipients that begin
with "no". defer: answer the first N RCPT with 451. wait=1: DIRECTORY/waiting is made at the end of a
message, and the answer waits until there is DIRECTORY/go."""
import base64
import os
import socketserver
import sys
import threading
import time

port, directory = int(sys.argv[1]), sys.argv[2]
options = dict(a.split("=", 1) for a in sys.argv[3:])
lock = threading.Lock()
state = {"n": 0, "defer": int(options.get("defer", 0))}


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def take(self, envelope):
        self.say("354 go on")
        body = []
        while True:
            line = self.rfile.readline()
            if not line:
                return
            if line == b".\r\n":
                break
            body.append(line[1:] if line.startswith(b".") else line)
        with lock:
            state["n"] += 1
            n = state["n"]
        with open(os.path.join(directory, f"{n}.env"), "w") as f:
            f.write("\n".join(envelope) + "\n")
        with open(os.path.join(directory, f"{n}.tmp"), "wb") as f:
            f.write(b"".join(body))
        os.rename(os.path.join(directory, f"{n}.tmp"), os.path.join(directory, f"{n}.eml"))
        if "wait" in options:
            open(os.path.join(directory, "waiting"), "w").close()
            while not os.path.exists(os.path.join(directory, "go")):
                time.sleep(0.02)
        self.say("250 2.0.0 kept")

    def rcpt(self, line):
        address = line.split("<", 1)[1]
        with lock:
            if state["defer"] > 0:
                state["defer"] -= 1
                return "451 4.3.0 later"
        if "refuse" in options and address.startswith("no"):
            code = options["refuse"]
            return f"{code} {code[0]}.1.1 not here"
        return "250 2.1.5 ok"

    def handle(self):
        envelope, logged_in = [], "auth" not in options
        self.say("220 sink.test ESMTP")
        while True:
            raw = self.rfile.readline()
            if not raw:
                return
            line = raw.decode("utf-8", "replace").strip()
            verb = line.split(" ")[0].upper()
            if verb in ("EHLO", "LHLO"):
                words = options.get("extensions", "PIPELINING,8BITMIME,SMTPUTF8,DSN").split(",")
                if "auth" in options:
                    words.append("AUTH PLAIN")
                self.say("\r\n".join(["250-sink.test"] + ["250-" + w for w in words if w] + ["250 ENHANCEDSTATUSCODES"]))
            elif verb == "AUTH":
                words = line.split(" ")
                if len(words) < 3:
                    self.say("334 ")
                    words.append("")
                    words[2] = self.rfile.readline().decode().strip()
                given = base64.b64decode(words[2]).split(b"\0")[1:]
                logged_in = b":".join(given).decode() == options["auth"]
                self.say("235 2.7.0 ok" if logged_in else "535 5.7.8 no")
            elif verb == "MAIL" and not logged_in:
                self.say("530 5.7.0 log in first")
            elif verb == "MAIL":
                envelope = [line]
                self.say("250 2.1.0 ok")
            elif verb == "RCPT":
                answer = self.rcpt(line)
                if answer.startswith("2"):
                    envelope.append(line)
                self.say(answer)
            elif verb == "DATA":
                if len(envelope) < 2:
                    self.say("503 5.5.1 no recipient")
                else:
                    self.take(envelope)
            elif verb == "QUIT":
                self.say("221 2.0.0 bye")
                return
            elif verb in ("RSET", "NOOP", "HELO"):
                self.say("250 2.0.0 ok")
            else:
                self.say("502 5.5.2 what?")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("127.0.0.1", port), Session).serve_forever()
