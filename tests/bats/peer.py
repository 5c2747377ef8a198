"""peer: a bad SMTP server. peer.py PORT garbage|close|silent|drop|flood|tempfail|lose

lose: a message is taken whole, and its reply never comes; each one is a line "taken"."""
import socket
import sys
import threading

port, mode = int(sys.argv[1]), sys.argv[2]
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(16)
print("ready", flush=True)


def serve(c):
    try:
        if mode == "garbage":
            c.sendall(b"\x16\x03\x01 this is \xff\xfe no SMTP\r\n" * 3)
            c.recv(4096)
        elif mode == "drop":
            c.sendall(b"220 drop.test ESMTP\r\n")
            c.recv(4096)
            c.sendall(b"250-drop.te")
        elif mode == "flood":
            c.sendall(b"220-" + b"x" * 10_000_000)
        elif mode == "tempfail":
            c.sendall(b"421 4.3.2 come back later\r\n")
        elif mode == "lose":
            lines = c.makefile("rb")
            c.sendall(b"220 lose.test ESMTP\r\n")
            for line in lines:
                c.sendall(b"354 go on\r\n" if line == b"DATA\r\n" else b"250 ok\r\n")
                if line == b"DATA\r\n":
                    while lines.readline() not in (b".\r\n", b""):
                        pass
                    print("taken", flush=True)
                    c.shutdown(socket.SHUT_RDWR)
                    break
        elif mode == "silent":
            threading.Event().wait()
    except OSError:
        pass
    c.close()


while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
