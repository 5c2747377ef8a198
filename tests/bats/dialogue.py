"""dialogue: SMTP octet by octet, for tests. `from dialogue import *` (PYTHONPATH: tests/bats).

    d = Dialogue(port)              # reads the greeting into d.greeting
    d.ehlo()                        # the lines of the answer, as a list
    d.ask("MAIL FROM:<a@b.test>")   # one answer: "250 2.1.0 sender ok", lines joined by LF
    d.send(b"...")                  # octets, no answer read
    d.answer()                      # the next answer; "" when the connection has ended
"""
import base64
import socket
import ssl


def context():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    return c


class Dialogue:
    def __init__(self, port, before=b"", tls=False, greet=True):
        self.s = socket.create_connection(("127.0.0.1", int(port)), 20)
        if before:
            self.s.sendall(before)
        if tls:
            self.s = context().wrap_socket(self.s, server_hostname="x.test")
        self.f = self.s.makefile("rb")
        self.greeting = self.answer() if greet else ""

    def answer(self):
        lines = []
        while True:
            try:
                line = self.f.readline()
            except ConnectionResetError:
                line = b""
            if not line:
                return "\n".join(lines)
            assert line.endswith(b"\r\n") and len(line) <= 512, line
            lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    def send(self, data):
        self.s.sendall(data)

    def ask(self, line):
        self.send((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return self.answer()

    def ehlo(self, name="x.test", verb="EHLO"):
        return [line[4:] for line in self.ask(f"{verb} {name}").split("\n")]

    def starttls(self):
        got = self.ask("STARTTLS")
        assert got.startswith("220"), got
        self.s = context().wrap_socket(self.s, server_hostname="x.test")
        self.f = self.s.makefile("rb")

    def login(self, user, password):
        word = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return self.ask("AUTH PLAIN " + word)

    def is_closed(self):
        return self.answer() == "" and self.f.read() == b""

    def mail(self, sender, rcpts, data, params=""):
        """A whole transaction; the answers to MAIL, each RCPT, DATA and the end."""
        got = [self.ask(f"MAIL FROM:<{sender}>{params}")]
        got += [self.ask(f"RCPT TO:<{r}>") for r in rcpts]
        got.append(self.ask("DATA"))
        if got[-1].startswith("354"):
            self.send(data)
            got.append(self.answer())
        return got
