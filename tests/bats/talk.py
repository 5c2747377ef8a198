"""talk: a scripted SMTP dialogue. talk.py PORT [tls] < lines

Sends each line of standard input after the answer to the one before, prints every line of every
answer. A line "%RAW text" is sent as it is with \\r and \\n spelled out, and its answers are read
until nothing comes for a moment. After DATA the lines up to "." are sent without waiting."""
import socket
import ssl
import sys

s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)


def secure(sock):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c.wrap_socket(sock)


if "tls" in sys.argv[2:]:
    s = secure(s)
f = s.makefile("rb")


def answer():
    line = b""
    while True:
        line = f.readline()
        if not line:
            print("(closed)")
            sys.exit(0)
        print(line.decode("utf-8", "replace").rstrip("\r\n"))
        if line[3:4] != b"-":
            return line


answer()
in_data = False
for line in sys.stdin:
    line = line.rstrip("\n")
    if line.startswith("%RAW "):
        s.sendall(line[5:].encode().decode("unicode_escape").encode("latin-1"))
        s.settimeout(1.0)
        try:
            while True:
                answer()
        except (TimeoutError, OSError):
            pass
        s.settimeout(20)
        f = s.makefile("rb")
        continue
    s.sendall(line.encode() + b"\r\n")
    if in_data and line != ".":
        continue
    in_data = False
    got = answer()
    if line.upper() == "DATA" and got.startswith(b"354"):
        in_data = True
    if line.upper() == "STARTTLS" and got.startswith(b"220"):
        s = secure(s)
        f = s.makefile("rb")
