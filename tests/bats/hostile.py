"""hostile: what hostile clients send to a server, for tests. hostile.py PORT PID MEGABYTES CASE

A case works on connections of its own; a watcher that is logged in since before asks NOOP and FETCH meanwhile and must
be answered. In the end the server (PID) never held more than MEGABYTES (VmHWM), unless that is 0 (sanitizers)."""
import os
import re
import socket
import sys
import threading

from imapline import Line

PORT, PID, MEGABYTES = (int(x) for x in sys.argv[1:4])


def login():
    return Line(PORT, "jo", "secret")


def raw(octets, user=True, seconds=20):
    """Send octets, and end sending; all that comes back. What the server does not want to read it need not."""
    c = login() if user else Line(PORT)
    if user:
        c("SELECT INBOX")
    c.s.settimeout(seconds)

    def send():
        try:
            c.s.sendall(octets)
            c.s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    t = threading.Thread(target=send)
    t.start()
    got = b""
    try:
        while True:
            part = c.f.read1(1 << 20)
            if not part:
                break
            got += part
    except ConnectionResetError:
        pass
    t.join()
    return got


def tagged(octets, tag=b"x"):
    """The answer to one command."""
    got = raw(tag + b" " + octets + b"\r\n")
    m = re.findall(rb"^%s (OK|NO|BAD)" % tag, got, re.M)
    assert len(m) == 1 or b"\r\n* BYE" in b"\r\n" + got, got[:300]
    return m[0] if m else b"BYE"


def refused(octets):
    got = tagged(octets)
    assert got in (b"BAD", b"NO", b"BYE"), (octets[:100], got)


def literals():
    # A synchronising one is refused at once, the other way it is read to a bound, or the connection ends.
    for size in (b"99999999999999999999", b"18446744073709551615", b"4294967295", b"2000000000", b"300000"):
        refused(b"CREATE {%s}" % size)
        got = raw(b"x CREATE {%s+}\r\n" % size + b"a" * 100000)
        assert b"* BYE" in got or b"x BAD" in got or b"x NO" in got, got[:300]
        refused(b"APPEND INBOX {%s}" % size if len(size) > 9 else b"APPEND INBOX {90000000}")
    refused(b"CREATE {-1}")
    refused(b"CREATE {1a}")
    refused(b"CREATE {}")
    refused(b"CREATE {5}x")
    got = raw(b"x SEARCH " + b"TEXT {1+}\r\na " * 100000 + b"\r\n")
    assert b"BAD" in got or b"BYE" in got, got[:200]
    for octets in (b"x LOGIN {5000+}\r\n" + b"u" * 5000 + b" y\r\n", b"x LOGIN {9999999}\r\n", b"x LOGIN " + b"u" * 100000 + b" p\r\n",
                   b"x APPEND INBOX {2000000000+}\r\n" + b"z" * 100000):
        got = raw(octets, user=False)
        assert re.search(rb"x (BAD|NO)|\* BYE", got), got[:200]


def lines():
    for user in (False, True):
        got = raw(b"A" * 5_000_000, user)
        assert re.search(rb"\* BYE|BAD", got), got[:200]
        assert len(got) < 100000
        got = raw(b"x NOOP " + b"\0" * 1_000_000 + b"\r\n", user)
        assert re.search(rb"\* BYE|BAD", got), got[:200]
        got = raw(os.urandom(3_000_000), user)
        assert len(got) < 100000 and b"BYE" in got
        got = raw(b"\r\n" * 500_000, user)
        assert b"BYE" in got and len(got) < 100000
    got = raw(b"x LOGOUT\r\n" + b"y NOOP\r\n" * 1000)
    assert b"y OK" not in got


def nesting():
    for n in (60, 1000, 100000):
        refused(b"SEARCH " + b"(" * n + b"ALL" + b")" * n)
        refused(b"SEARCH " + b"NOT " * n + b"ALL")
        refused(b"SEARCH " + b"OR " * n + b"ALL " * (n + 1))
        refused(b"SEARCH " + b"FUZZY " * n + b"(((")
        refused(b"FETCH 1 " + b"(" * n + b"FLAGS" + b")" * n)
        refused(b"STORE 1 FLAGS " + b"(" * n + b")" * n)
        refused(b"LIST " + b"(" * n + b")" * n + b' "" *')
        refused(b"SORT " + b"(" * n + b")" * n + b" UTF-8 ALL")
        refused(b"ID " + b"(" * n + b")" * n)
        refused(b"SETMETADATA INBOX " + b"(" * n + b")" * n)
        refused(b"NOTIFY SET " + b"(" * n + b")" * n)
        refused(b"FETCH 1 BODY[" + b"1." * n + b"1]")
        refused(b"LIST \"\" * RETURN " + b"(STATUS " * n)
    assert tagged(b"SEARCH " + b"NOT " * 40 + b"ALL") == b"OK"


def programs():
    assert tagged(b"SEARCH " + b"ALL " * 900 + b"ALL") == b"OK"
    refused(b"SEARCH " + b"ALL " * 2000 + b"ALL")
    refused(b"SEARCH " + b"TEXT a " * 30000 + b"ALL")
    assert tagged(b'SEARCH TEXT "' + b"x" * 100000 + b'"') in (b"OK", b"BAD", b"NO")
    refused(b"SEARCH CHARSET " + b"X" * 10000 + b" ALL")
    for key in (b"LARGER 99999999999999999999", b"SMALLER -1", b"YOUNGER 0", b"OLDER 99999999999", b"MODSEQ 99999999999999999999",
                b"BEFORE 32-Jan-2000", b"SINCE 1-Jan-99999", b"ON x", b"UID 0", b"0", b"4294967296", b"1:", b":1", b"1,,2", b"*:",
                b"HEADER \"\" {", b"UNKEYWORD (", b"SAVEDBEFORE 0", b"$$"):
        refused(b"SEARCH " + key)
    refused(b"SEARCH RETURN (PARTIAL 1:99999999999) ALL")
    refused(b"SEARCH RETURN (PARTIAL 5:1 PARTIAL 1:5) ALL")
    refused(b"SEARCH RETURN (" + b"MIN " * 100000 + b") ALL")


def sets():
    refused(b"FETCH " + b",".join(b"%d" % i for i in range(1, 30000)) + b" FLAGS")
    assert tagged(b"FETCH " + b",".join([b"1:*"] * 5000) + b" FLAGS") == b"OK"
    got = raw(b"x FETCH " + b",".join([b"1"] * 5000) + b" UID\r\n")
    assert got.count(b"FETCH (UID") <= 1, got[:300]
    assert tagged(b"UID FETCH 1:4294967295 FLAGS") == b"OK"
    assert tagged(b"UID FETCH 4294967295:* UID") == b"OK"
    assert tagged(b"UID SEARCH UID 4294967290:4294967295,1:4294967295") == b"OK"
    refused(b"UID FETCH 1:4294967296 FLAGS")
    refused(b"UID FETCH 99999999999999999999 FLAGS")
    assert tagged(b"UID COPY 1000:4294967295 INBOX") in (b"OK", b"NO")
    assert tagged(b"UID STORE 1000:4294967295 FLAGS ()") == b"OK"


def names():
    bad = [b"..", b"../x", b"a/../../x", b"/etc", b"a//b", b"a/", b"./a", b"a/./b", b"INBOX/..", b"x\\..\\y", b"%", b"*", b"a%b", b"&", b"&-&",
           b"&AAA-", b"&2AE-", b"&ZeU", b"&U,BTFw-x&", b".", b"..x/..", b"~root", b"#shared", b".Trash/../..", b"new", b"cur", b"tmp", b"dovecot-uidlist"]
    for name in bad:
        for verb in (b"CREATE %s", b"SUBSCRIBE %s", b"RENAME INBOX %s", b"DELETE %s", b"SELECT %s", b"STATUS %s (MESSAGES)", b"COPY 1 %s"):
            got = tagged(verb % (b'"' + name.replace(b"\\", b"\\\\") + b'"'))
            assert got in (b"OK", b"NO", b"BAD"), (verb, name, got)
    got = raw(b'x CREATE "a\0b"\r\n')
    assert b"x BAD" in got or b"BYE" in got, got
    got = raw(b"x CREATE {3+}\r\na\0b\r\n")
    assert b"x BAD" in got or b"x NO" in got or b"BYE" in got, got
    refused(b"CREATE " + b"/".join([b"a"] * 1000))
    refused(b"CREATE " + b"b" * 2000)
    refused(b"CREATE " + b"c" * 300)
    refused(b'CREATE "a\rb"')
    assert tagged(b"CREATE " + b"/".join([b"d"] * 40)) in (b"OK", b"NO")
    refused(b"RENAME d d/e/f")
    refused(b"RENAME INBOX INBOX")
    refused(b"DELETE INBOX")


def patterns():
    c = login()
    for i in range(300):
        c("CREATE " + "a" * 40 + str(i))
    for p in (b"*a" * 100 + b"b", b"%a" * 100 + b"b", b"*" * 5000, b"%" * 5000, b"*%" * 2000 + b"z", (b"*a*" * 300)):
        assert tagged(b'LIST "" "' + p + b'"') in (b"OK", b"BAD", b"NO"), p[:20]
        assert tagged(b'LSUB "' + p[:100] + b'" "' + p + b'"') in (b"OK", b"BAD", b"NO"), p[:20]
    refused(b'LIST "" (' + b"* " * 200 + b"*)")
    assert tagged(b'LIST "" (' + b" ".join([b"*a" * 40 + b"b"] * 90) + b")") in (b"OK", b"NO", b"BAD")


def fetches():
    refused(b"FETCH 1 (" + b" ".join(b"BODY.PEEK[%d]" % i for i in range(1, 1001)) + b")")
    refused(b"FETCH 1 BODY.PEEK[HEADER.FIELDS (" + b"x " * 1000 + b"x)]")
    assert tagged(b"FETCH 1 (" + b" ".join([b"BODY.PEEK[]<%d.10>" % i for i in range(40)]) + b")") == b"OK"
    for what in (b"BODY[]<1.0>", b"BODY[]<-1.5>", b"BODY[]<4294967296.1>", b"BODY[0]", b"BODY[1.0]", b"BODY[99999999999999999999]", b"BODY[.1]",
                 b"BODY[MIME]", b"BODY[HEADER.FIELDS ()]", b"BODY[HEADER.FIELDS (", b"BODY[1", b"BINARY.SIZE[MIME]", b"BINARY[1.FOO]", b"FOO", b"BODY[]<99999999999999999999.1>"):
        refused(b"FETCH 1 " + what)
    assert tagged(b"FETCH 1 BODY.PEEK[]<4294967294.4294967295>") == b"OK"


def threads():
    c = login()
    c("CREATE loops")

    def put(*messages):
        c.send("APPEND loops", *sum(([m] if i == 0 else [m] for i, m in enumerate(messages)), []))
        c.wait()
    n = 3000
    # Each answers the one before; two that answer each other; one that answers itself; one with very many ancestors.
    for start in range(0, n, 100):
        put(*[b"Message-ID: <%d@x>\r\nReferences: <%d@x>\r\nSubject: Re: s\r\n\r\nx\r\n" % (i, i - 1) for i in range(start, start + 100)])
    put(b"Message-ID: <l1@x>\r\nReferences: <l2@x>\r\n\r\n", b"Message-ID: <l2@x>\r\nReferences: <l1@x>\r\n\r\n",
        b"Message-ID: <l3@x>\r\nReferences: <l3@x> <l3@x>\r\n\r\n", b"Message-ID: <l3@x>\r\nIn-Reply-To: <l3@x>\r\n\r\n",
        b"Message-ID: <0@x>\r\nReferences: <%d@x>\r\n\r\n" % (n - 1),
        b"Message-ID: <deep@x>\r\nReferences: " + b"\r\n ".join(b"<d%d@x>" % i for i in range(100000)) + b"\r\nSubject: " +
        b"Re: " * 50000 + b"s\r\n\r\n", b"Subject: " + b"[x] (fwd) " * 20000 + b"\r\n\r\n", b"Message-ID: " + b"<" * 100000 + b"\r\n\r\n")
    c("SELECT loops")
    for how in ("REFERENCES", "ORDEREDSUBJECT"):
        c("THREAD %s UTF-8 ALL" % how)
        text = c.told("THREAD")[0]
        got = sorted(int(x) for x in re.findall(r"\d+", text))
        assert got == list(range(1, n + 9)), (how, len(got), n + 8)
    c("SORT (SUBJECT REVERSE FROM DISPLAYTO DATE SIZE) UTF-8 ALL")
    refused(b"SORT (" + b"SUBJECT " * 2000 + b") UTF-8 ALL")
    # A conversation a hundred thousand deep, of messages that mostly are not here.
    c("UNSELECT")
    for start in range(0, 1000, 100):
        put(*[b"Message-ID: <e%d@x>\r\nReferences: %s\r\n\r\n" % (i * 99 + 99, b"\r\n ".join(b"<e%d@x>" % k for k in range(i * 99, i * 99 + 99)))
              for i in range(start, start + 100)])
    c("SELECT loops")
    c("THREAD REFERENCES UTF-8 ALL")
    assert len(re.findall(r"\d+", c.told("THREAD")[0])) == n + 8 + 1000
    c("DELETE loops")


def metadata():
    refused(b"GETMETADATA INBOX (" + b" ".join(b"/private/x%d" % i for i in range(1000)) + b")")
    refused(b"SETMETADATA INBOX (" + b" ".join(b"/private/x%d \"y\"" % i for i in range(1000)) + b")")
    refused(b"SETMETADATA INBOX (/private/comment {90000000})")
    refused(b"SETMETADATA INBOX (/private/" + b"x" * 10000 + b" y)")
    for entry in (b"/private/*", b"/private/a%b", b"/other", b"private/x", b"/private//x", b"/private/x/", b"/private/a\x01b"):
        refused(b"SETMETADATA INBOX (\"" + entry + b"\" \"y\")")
    # As much as one may keep, and not more.
    c = login()
    ok = no = 0
    for i in range(600):
        c.n += 1
        c.write(b"t%d SETMETADATA INBOX (/private/k%d {60000+}\r\n%s)\r\n" % (c.n, i, b"v" * 60000))
        c.wait("")
        ok += c.tagged.startswith("OK")
        no += c.tagged.startswith("NO [METADATA")
    assert no > 0 and ok + no == 600, (ok, no, c.tagged)


def enable():
    got = raw(b"x ENABLE CONDSTORE CONDSTORE QRESYNC\r\ny ENABLE QRESYNC CONDSTORE\r\nz ENABLE " + b"X" * 100 + b" FOO UTF8=ACCEPT UTF8=ACCEPT\r\n")
    assert b"x OK" in got and b"y OK" in got and b"z OK" in got, got
    refused(b"ENABLE")
    got = raw(b"x STARTTLS\r\n")
    assert b"x OK" not in got
    got = raw(b"x LOGIN jo secret\r\ny AUTHENTICATE PLAIN AGpvAHNlY3JldA==\r\nz COMPRESS GZIP\r\n")
    assert not re.search(rb"^[xyz] OK", got, re.M), got


def pipelines():
    got = raw(b"x NOOP\r\n" * 100000, seconds=60)
    assert got.count(b"x OK") == 100000, got.count(b"x OK")
    got = raw(b"x NOOP\r\n" * 1000, user=False)
    assert got.count(b"x OK") == 1000
    got = raw(b"x STATUS INBOX (MESSAGES UNSEEN UIDNEXT)\r\n" * 3000 + b"x SELECT INBOX\r\n" * 500 + b"x FETCH 1:* (FLAGS)\r\n" * 3000, seconds=60)
    assert got.count(b"x OK") == 6500, got.count(b"x OK")
    got = raw(b"".join(b"t%d BADCOMMAND\r\n" % i for i in range(100000)))
    assert b"* BYE" in got and got.count(b" BAD") <= 60, got.count(b" BAD")


def deaf():
    """Clients that ask for very much and read nothing."""
    held = []
    for _ in range(50):
        c = login()
        c("SELECT INBOX")
        c.s.setblocking(False)
        try:
            for _ in range(1000):
                c.s.send(b"x FETCH 1:* (BODY.PEEK[] ENVELOPE BODYSTRUCTURE)\r\n" * 200)
        except BlockingIOError:
            pass
        held.append(c)
    assert tagged(b"FETCH 1 (FLAGS)") == b"OK"
    for c in held:
        c.s.close()


def memory(what):
    return int(re.search(what + r":\s+(\d+)", open("/proc/%d/status" % PID).read()).group(1)) / 1024


def crowd():
    held = []
    for i in range(2000):
        s = socket.create_connection(("127.0.0.1", PORT), 20)
        held.append(s)
    for s in held:
        assert s.recv(1000).startswith(b"* OK"), "no greeting"
    for s in held[::20]:
        s.sendall(b"a LOGIN jo secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
    for s in held[::20]:
        s.settimeout(30)
        got = b""
        while b"\r\n+ " not in got:
            part = s.recv(65536)
            assert part, got
            got += part
        assert b"b OK" in got, got
    for s in held:
        s.close()


watching, anonymous = True, [0]


def watch(c):
    while watching:
        c("NOOP")
        c("FETCH 1 (FLAGS ENVELOPE)")
        anonymous[0] = max(anonymous[0], memory("RssAnon"))
        stop.wait(0.02)


stop = threading.Event()
failed = []


def guard(f, *args):
    try:
        f(*args)
    except BaseException as e:
        failed.append(e)
        raise


w = login()
w.s.settimeout(20)
w("SELECT INBOX")
t = threading.Thread(target=guard, args=(watch, w))
t.start()
try:
    globals()[sys.argv[4]]()
finally:
    watching = False
    stop.set()
    t.join()
assert not failed, failed
assert w("NOOP") is not None
peak = memory("VmHWM")
print("%s: peak %.1f MB, anonymous %.1f" % (sys.argv[4], peak, anonymous[0]))
assert MEGABYTES == 0 or peak < MEGABYTES, peak
