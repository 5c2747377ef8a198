# traps: where mail servers were caught out by IMAP and POP3 clients, one test for each number of the list of them.
# I-10, I-14 and P-7 are about clients: imap-list and pop3-fetch against a server that does it.
load helper

story_setup() {
    free_port I P Q
    site a "listen imap 127.0.0.1:$I" "listen pop3 127.0.0.1:$P" "message-size-limit 100K"
    user a jo
    serve a
}
# Python on standard input; c and d are sessions of jo.
trap_is() {
    { cat <<PY
import re, socket, subprocess, threading, time
from imapline import Line
def deliver(text=b"From: a@b.test\nSubject: hello\n\nbody\n"):
    subprocess.run(["$POSTBAG", "deliver", "-C", "a.conf", "jo"], input=text, check=True)
def login(): return Line($I, "jo", "secret")
def uids(c): return [int(x) for x in c("UID SEARCH ALL")[0].split()[2:]]
def number(c, what, words): c(words); return int(re.search(what + r" (\d+)", "\n".join(c.last) + c.tagged).group(1))
class Pop:
    def __init__(self):
        self.s = socket.create_connection(("127.0.0.1", $P), 20); self.f = self.s.makefile("rb"); self.f.readline()
    def __call__(self, x): self.s.sendall(x.encode("latin-1") + b"\r\n"); return self.f.readline()
    def login(self): self("USER jo"); assert self("PASS secret").startswith(b"+OK"); return self
    def text(self, x):
        assert self(x).startswith(b"+OK"); out = []
        while (line := self.f.readline()) != b".\r\n": out.append(line)
        return out
    def close(self): self.f.close(); self.s.close()
c, d = login(), login()
PY
    cat; } > story.py
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py >> log 2>&1
}

@test "I-1: literals: the limit before login, none above it is stored, NO instead of + for what is too large" {
    trap_is <<'PY'
e = Line(c.s.getpeername()[1])
assert re.search(r"LITERAL[+-]", e.greeting)
e.s.sendall(b"a LOGIN {100000+}\r\n" + b"x" * 100000 + b" p\r\n"); assert re.match(r"(a BAD|\* BYE)", e.line())
e = Line(c.s.getpeername()[1])
e.s.sendall(b"a LOGIN {100000}\r\n"); assert re.match(r"a (BAD|NO)|\* BYE", e.line())
c.s.sendall(b"a APPEND INBOX {200000}\r\n"); assert "a NO [TOOBIG]" in c.line()
c.s.sendall(b"b APPEND INBOX {200000+}\r\n" + b"x" * 200000 + b"\r\n"); assert re.match(r"b NO \[TOOBIG\]|\* BYE", c.line())
d('LOGOUT'); d = login(); d('CREATE "%s"' % ("q" * 200)); d('STATUS "%s" (MESSAGES)' % ("q" * 200))   # quoted strings need not be short
PY
}
@test "I-2: UIDVALIDITY stays without the index, is larger for a name made again" {
    trap_is <<'PY'
deliver(); c("CREATE Box"); c("STATUS Box (UIDVALIDITY)")
v, inbox = number(c, "UIDVALIDITY", "STATUS Box (UIDVALIDITY)"), number(c, "UIDVALIDITY", "STATUS INBOX (UIDVALIDITY)")
c("DELETE Box"); c("CREATE Box"); assert number(c, "UIDVALIDITY", "STATUS Box (UIDVALIDITY)") > v
c("RENAME Box Other"); assert number(c, "UIDVALIDITY", "STATUS Other (UIDVALIDITY)") > v
open("validity", "w").write(str(inbox))
PY
    stop "$SERVE"
    find a/mail -name 'postbag-index*' -delete
    serve a
    trap_is <<'PY'
assert number(c, "UIDVALIDITY", "STATUS INBOX (UIDVALIDITY)") == int(open("validity").read())
c("SELECT INBOX"); assert uids(c) == [1]
PY
}
@test "I-3: UIDs ascend in the order that is seen; N:* has the last message; UIDNEXT of an empty mailbox" {
    trap_is <<'PY'
assert number(c, "UIDNEXT", "STATUS INBOX (UIDNEXT)") == 1
c("CREATE Box"); [deliver() for _ in range(5)]; c("SELECT INBOX"); d("SELECT INBOX")
assert uids(c) == [1, 2, 3, 4, 5] and len(c("UID FETCH 4000000000:* UID")) == 1
d("MOVE 1:5 Box"); c("NOOP"); assert c.told("EXPUNGE") and number(c, "UIDNEXT", "STATUS INBOX (UIDNEXT)") == 6
c("SELECT Box"); d("SELECT Box"); d("COPY 1 Box"); c("NOOP"); assert c.told("EXISTS") == ["* 6 EXISTS"]
PY
}
@test "I-4: MODSEQ rises by every change and is told where it must be" {
    trap_is <<'PY'
[deliver() for _ in range(4)]
c("ENABLE QRESYNC"); d("ENABLE CONDSTORE"); c("SELECT INBOX"); d("SELECT INBOX")
high = number(c, "HIGHESTMODSEQ", "STATUS INBOX (HIGHESTMODSEQ)")
c("STORE 1 +FLAGS (\\Seen)"); one = int(re.search(r"MODSEQ \((\d+)\)", " ".join(c.last)).group(1)); assert one > high
c("STORE 1:2 (UNCHANGEDSINCE %d) +FLAGS (\\Flagged)" % high); assert "[MODIFIED 1]" in c.tagged, c.tagged
c("STORE 2 (UNCHANGEDSINCE 0) +FLAGS (\\Draft)"); assert "[MODIFIED 2]" in c.tagged
c("STORE 3 +FLAGS (\\Deleted)"); c("EXPUNGE"); assert c.told("VANISHED") == ["* VANISHED 3"] and "HIGHESTMODSEQ" in c.tagged, (c.last, c.tagged)
d("NOOP"); assert d.told("EXPUNGE") == ["* 3 EXPUNGE"]
e = login(); e("ENABLE QRESYNC"); v = number(e, "UIDVALIDITY", "STATUS INBOX (UIDVALIDITY)")
e("SELECT INBOX (QRESYNC (%d %d))" % (v, high)); assert "* VANISHED (EARLIER) 3" in e.last, e.last
e("UNSELECT"); e("SELECT INBOX (QRESYNC (%d 1))" % v); assert any(x.startswith("* VANISHED (EARLIER) ") for x in e.last)
PY
}
@test "I-5: no EXPUNGE during FETCH, STORE and SEARCH; what is gone is still read; STORE then EXPUNGE in one packet" {
    trap_is <<'PY'
[deliver() for _ in range(4)]
c("SELECT INBOX"); d("SELECT INBOX")
d.write(b"a STORE 2 +FLAGS.SILENT (\\Deleted)\r\nb EXPUNGE\r\n"); got = [d.line() for _ in range(3)]
assert got[0].startswith("a OK") and got[1] == "* 2 EXPUNGE" and got[2].startswith("b OK"), got
for words in ("FETCH 1:4 FLAGS", "STORE 1 +FLAGS (\\Seen)", "SEARCH ALL"):
    c(words); assert not c.told("EXPUNGE"), c.last
c("FETCH 3:4 BODY.PEEK[]"); assert len(c.last) == 2
c("NOOP"); assert c.told("EXPUNGE") == ["* 2 EXPUNGE"]
PY
}
@test "I-6: DONE and the next commands in one packet" {
    trap_is <<'PY'
c("SELECT INBOX"); c.write(b"a IDLE\r\n"); assert c.line().startswith("+")
c.write(b"DONE\r\nb NOOP\r\nc IDLE\r\n"); assert c.line().startswith("a OK") and c.line().startswith("b OK") and c.line().startswith("+")
deliver(); assert c.line() == "* 1 EXISTS"
PY
}
@test "I-7: LIST: INBOX in any case, STATUS behind its LIST, special uses, modified UTF-7, the delimiter" {
    trap_is <<'PY'
c("CREATE inbox/Sub"); assert any(x.endswith('INBOX/Sub') for x in c('LIST "" "InBoX/%"')), c.last
c('LIST "" % RETURN (STATUS (MESSAGES))'); names = [x.split()[1] for x in c.last]; assert names[:2] == ["LIST", "STATUS"] and names.count("LIST") >= names.count("STATUS")
assert any("\\Drafts" in x for x in c('LIST "" *')) and c('LIST "" ""')[0].endswith('"/" ""')
for utf7 in ("&-", "&2D3eAA-", "a&AOQ-b", "&U,BTFw-"):   # an ampersand, a pair of surrogates, umlauts, Chinese
    c('CREATE "%s"' % utf7); assert any(x.endswith(utf7) or x.endswith('"%s"' % utf7) for x in c('LIST "" "%s"' % utf7)), (utf7, c.last)
PY
}
@test "I-8: BODYSTRUCTURE with parameters of multiparts, without raw UTF-8, numbers of nested messages" {
    trap_is <<'PY'
deliver("From: ä@b.test\nSubject: grün\nContent-Type: multipart/mixed; boundary=x; charset=\"ü\"\n\n--x\nContent-Type: message/rfc822\nContent-Description: ö\n\n"
        "Subject: in\nContent-Type: multipart/alternative; boundary=y\n\n--y\n\none\n--y\n\ntwo\n--y--\n--x--\n".encode())
c("SELECT INBOX"); got = c("FETCH 1 (BODYSTRUCTURE ENVELOPE)")[0]
assert got.isascii() and '"boundary" "x"' in got.lower(), got
assert "one" in c("FETCH 1 BODY.PEEK[1.1]")[0] and "two" in c("FETCH 1 BODY.PEEK[1.2]")[0] and "Description" in c("FETCH 1 BODY.PEEK[1.MIME]")[0]
size = int(re.search(r'BODY\[1\.1\] \{(\d+)', c("FETCH 1 BODY.PEEK[1.1]")[0]).group(1)); assert '"7BIT" %d ' % size in got.upper(), (size, got)
PY
}
@test "I-9: RFC822.SIZE is what is sent, of files with LF, CRLF and both" {
    trap_is <<'PY'
import os
for i, text in enumerate((b"Subject: a\n\nx\ny\n", b"Subject: a\r\n\r\nx\r\ny\r\n", b"Subject: a\r\n\nx\r\ny", b"", b"\n", b"Subject: a\n\nx\r\r\n\r")):
    os.makedirs("a/mail/a.test/jo/Maildir/new", exist_ok=True); open("a/mail/a.test/jo/Maildir/new/%d.x" % i, "wb").write(text)
c("SELECT INBOX"); got = c("FETCH 1:* (RFC822.SIZE BODY.PEEK[])"); assert len(got) == 6
for x in got:
    said, sent = re.search(r"RFC822.SIZE (\d+)", x).group(1), re.search(r"BODY\[\] (?:\{(\d+)\}|\"\")", x).group(1) or "0"; assert said == sent, x
PY
}
@test "I-10: a PREAUTH before TLS is an attack when TLS is demanded" {
    python3 - "$Q" <<'PY' &
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(1); s.settimeout(20)
c = s.accept()[0]; c.sendall(b"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n")
told = c.recv(4096); c.sendall(b"* CAPABILITY IMAP4rev1 STARTTLS\r\n" + told.split()[0] + b" OK done\r\n")
open("told", "wb").write(told + c.recv(4096))
PY
    PEER=$!
    wait_port_quiet "$Q"
    (umask 077 && echo secret > password)
    run "$POSTBAG" imap-list --require-tls --password-file password "imap://jo@127.0.0.1:$Q"
    wait "$PEER"
    [[ $status != 0 && $output == *"offers no TLS"* && -s told ]] && ! grep -q secret told
}
wait_port_quiet() { # listens, without taking the one connection
    local i
    for i in {1..100}; do
        grep -qi "$(printf '%04X' "$1") 00000000:0000 0A" /proc/net/tcp && return
        sleep 0.05
    done
}
@test "I-11: COMPRESS: each answer comes at once" {
    trap_is <<'PY'
deliver(); c.compress()
for words in ("NOOP", "SELECT INBOX", "FETCH 1 FLAGS", "CAPABILITY", "FETCH 1 BODY[]", "NOOP"): c(words)
c.write(b"a IDLE\r\n"); assert c.line().startswith("+"); deliver(); assert c.line() == "* 2 EXISTS"
PY
}
@test "I-12: a long FETCH holds nobody up; COPY and MOVE of what vanished are OK; COPYUID in order" {
    trap_is <<'PY'
[deliver(b"Subject: big\n\n" + b"x" * 80000 + b"\n") for _ in range(60)]
c("CREATE Box"); c("SELECT INBOX"); d("SELECT INBOX")
c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096); c.write(b"slow FETCH 1:* BODY.PEEK[]\r\n"); c.f.read(100)
d("APPEND INBOX", b"Subject: x\r\n\r\nx\r\n"); d("STORE 2 +FLAGS (\\Deleted)"); d("EXPUNGE"); deliver()
e = login(); e("SELECT INBOX"); e("MOVE 3,1 Box"); assert re.search(r"COPYUID \d+ 1,4 1:2|COPYUID \d+ 4,1 1:2", " ".join(e.last) + e.tagged), (e.last, e.tagged)
d("UID COPY 1,4 Box"); d("UID MOVE 9999 Box")
PY
}
@test "I-15: capabilities can be hidden from clients that stumble over them" {
    stop "$SERVE"
    echo "imap-hide MOVE COMPRESS=DEFLATE" >> a.conf
    serve a
    trap_is <<'PY'
caps = c("CAPABILITY")[0].split(); assert "MOVE" not in caps and "COMPRESS=DEFLATE" not in caps and "IDLE" in caps
e = Line(c.s.getpeername()[1]); assert " MOVE" not in e.greeting; e("LOGIN jo secret"); assert " MOVE" not in e.tagged
PY
}
@test "P-1: UIDL: the same in every session, without the index, with other flags; short and printable" {
    trap_is <<'PY'
[deliver() for _ in range(3)]
p = Pop().login(); one = p.text("UIDL"); p("QUIT")
assert len(set(x.split()[1] for x in one)) == 3 and all(re.fullmatch(rb"\d+ [!-~]{1,70}\r\n", x) for x in one)
c("SELECT INBOX"); c("STORE 1:3 +FLAGS (\\Seen)"); p = Pop().login(); assert p.text("UIDL") == one; p("QUIT")
open("uidl", "wb").write(b"".join(one))
PY
    stop "$SERVE"
    find a/mail -name 'postbag-index*' -delete
    serve a
    trap_is <<'PY'
assert b"".join(Pop().login().text("UIDL")) == open("uidl", "rb").read()
PY
}
@test "P-2: TOP counts lines of the body; 0 is the header" {
    trap_is <<'PY'
deliver(b"A: b\nC: d\n\none\n.two\nthree\n"); p = Pop().login()
whole = p.text("RETR 1"); at = whole.index(b"\r\n") + 1
assert p.text("TOP 1 0") == whole[:at] and p.text("TOP 1 2") == whole[:at + 2] and whole[at + 1] == b"..two\r\n" and p.text("TOP 1 99") == whole
PY
}
@test "P-3: one session a maildrop; numbers do not change in it" {
    trap_is <<'PY'
[deliver() for _ in range(3)]
p = Pop().login(); q = Pop(); q("USER jo"); assert q("PASS secret").startswith(b"-ERR [IN-USE]")
c("SELECT INBOX"); c("STORE 2 +FLAGS (\\Deleted)"); c("EXPUNGE"); deliver()
assert p("RETR 2").startswith(b"-ERR") and len(p.text("LIST")) == 3 and p.text("RETR 3")
PY
}
@test "P-4: only QUIT deletes" {
    trap_is <<'PY'
[deliver() for _ in range(2)]
p = Pop().login(); p("DELE 1"); p.close()
for _ in range(100):
    p = Pop(); p("USER jo")
    if p("PASS secret").startswith(b"+OK"): break
    p.close(); time.sleep(0.05)
assert p("STAT").split()[1] == b"2"; p("DELE 1"); p("RSET"); assert p("QUIT").startswith(b"+OK")
p = Pop().login(); assert p("STAT").split()[1] == b"2"; p("DELE 1"); assert p("QUIT").startswith(b"+OK")
p = Pop().login(); assert p("STAT").split()[1] == b"1"
PY
}
@test "P-5: STAT and LIST count the octets without dot stuffing" {
    trap_is <<'PY'
deliver(b"A: b\n\n.\n..\n.x\nend\n"); p = Pop().login()
n = int(p("LIST 1").split()[2]); assert int(p("STAT").split()[2]) == n
assert sum(len(x) - x.startswith(b".") for x in p.text("RETR 1")) == n
PY
}
@test "P-6: CAPA before login; blanks in a password; many commands in one packet" {
    trap_is <<'PY'
p = Pop(); caps = p.text("CAPA"); assert b"PIPELINING\r\n" in caps and b"UIDL\r\n" in caps and any(x.startswith(b"SASL ") and b" PLAIN" in x for x in caps), caps
deliver(); p.s.sendall(b"USER jo\r\nPASS secret\r\nSTAT\r\nNOOP\r\nQUIT\r\n"); assert p.f.read().count(b"+OK") == 5
p = Pop(); assert p("AUTH PLAIN") == b"+ \r\n" and p("AGpvAHNlY3JldA==").startswith(b"+OK")
p = Pop(); p("USER jo"); assert p("PASS two words").startswith(b"-ERR [AUTH]")
PY
}
@test "P-8: NUL goes out as 0x80" {
    trap_is <<'PY'
deliver(b"A: b\n\nx\0y\0\n"); p = Pop().login(); n = int(p("LIST 1").split()[2]); got = p.text("RETR 1")
assert got[-1] == b"x\x80y\x80\r\n" and sum(map(len, got)) == n
c("SELECT INBOX"); assert "\0" not in c("FETCH 1 BODY.PEEK[]")[0]
PY
}
