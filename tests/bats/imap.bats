# imap: our IMAP server with the clients people use.
load helper

story_setup() {
    free_port IMAP IMAPS
    site b "listen imap 127.0.0.1:$IMAP" "listen imaps 127.0.0.1:$IMAPS"
    user b jo
    serve b
}
put() { "$POSTBAG" deliver -C b.conf jo; }
fetch() { curl -s --max-time 20 -u jo:secret "imap://127.0.0.1:$IMAP/$1" "${@:2}" > out 2> err; }

# A script for Python's imaplib: M is logged in, ok() takes apart an answer that must be OK.
python_imap() {
    cat > story.py <<PY
import imaplib, os, re, subprocess, sys, time
imaplib.Debug = 0
def login():
    M = imaplib.IMAP4("127.0.0.1", $IMAP)
    M.login("jo", "secret")
    return M
def ok(answer, want="OK"):
    assert answer[0] == want, answer
    return answer[1]
def msg(i):
    return (b"From: =?utf-8?q?J=C3=BCrgen?= <j%d@a.test>\r\nTo: jo@b.test\r\nSubject: message %d\r\n"
            b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <%d@x>\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nbody %d hello\r\n--b\r\n"
            b"Content-Type: text/html\r\n\r\n<b>x</b>\r\n--b--\r\n" % (i, i, i, i))
def deliver(text):
    subprocess.run(["$POSTBAG", "deliver", "-C", "b.conf", "jo"], input=text, check=True)
M = login()
$(cat "$1")
M.logout()
PY
    timeout 60 python3 story.py >> log 2>&1
}
story() { cat > body.py; python_imap body.py < /dev/null; }

@test "curl lists mailboxes, reads, searches, appends, and by TLS too" {
    message jo@b.test hello | put
    fetch ""
    out_has 'INBOX'
    out_has '\Sent'
    fetch "INBOX;UID=1"
    grep -q '^Subject: hello' out
    fetch "INBOX?SUBJECT%20hello"
    out_has '* SEARCH 1'
    message jo@b.test appended | sed 's/$/\r/' > m.eml
    fetch "Sent" -T m.eml
    fetch "Sent;UID=1"
    cmp out m.eml
    curl -sk --max-time 20 -u jo:secret "imaps://127.0.0.1:$IMAPS/Sent;UID=1" | cmp - m.eml
    curl -sk --max-time 20 --ssl-reqd -u jo:secret "imap://127.0.0.1:$IMAP/Sent;UID=1" | cmp - m.eml
    ! curl -s --max-time 20 -u jo:wrong "imap://127.0.0.1:$IMAP/"
}

@test "mailboxes: create, list, rename, subscribe, delete, with names in any language" {
    story <<'PY'
ok(M.create("Arbeit/Gr&APwA3w-e"))
names = b"\n".join(ok(M.list()))
assert b'"/" Arbeit/Gr&APwA3w-e' in names and b"\\Drafts" in names, names
assert b"ALREADYEXISTS" in ok(M.create("Sent"), "NO")[0]
ok(M.append("Archive", None, None, msg(1)))
before = ok(M.status("Archive", "(UIDVALIDITY UIDNEXT)"))
ok(M.rename("Archive", "Archiv/alt"))
after = ok(M.status("Archiv/alt", "(UIDVALIDITY UIDNEXT)"))
assert before[0].split(b"(")[1] == after[0].split(b"(")[1], (before, after)
ok(M.subscribe("Archiv/alt"))
assert any(b"Archiv/alt" in x for x in ok(M.lsub()))
ok(M.delete("Archiv/alt"))
assert b"NONEXISTENT" in ok(M.select("Archiv/alt"), "NO")[0]
assert M.delete("INBOX")[0] == "NO"
assert b"TRYCREATE" in ok(M.append("Nowhere", None, None, msg(1)), "NO")[0]
PY
}

@test "messages: append, fetch in parts, flags and keywords, search" {
    story <<'PY'
for i in range(1, 6):
    ok(M.append("INBOX", "(\\Seen $Work)" if i % 2 else None, '"01-Jan-2020 10:00:00 +0100"', msg(i)))
assert ok(M.select("INBOX")) == [b"5"]
for again in 1, 2:  # the second time from the index
    rows = ok(M.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"))
    assert len(rows) == 5
    assert b"UID 3 FLAGS (\\Seen \\Recent $Work)" in rows[2] and b"RFC822.SIZE %d" % len(msg(3)) in rows[2]
    assert b'"01-Jan-2020 09:00:00 +0000"' in rows[2] and b'"message 3"' in rows[2]
    assert b'"mixed" ("boundary" "b")' in rows[2]
assert ok(M.fetch("2", "(BODY.PEEK[])"))[0][1] == msg(2)
parts = [p[1] for p in ok(M.fetch("2", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[1] BODY.PEEK[TEXT]<2.3>)")) if isinstance(p, tuple)]
assert parts == [b"Subject: message 2\r\n\r\n", b"body 2 hello", b"b\r\n"], parts
assert b"\\Seen" not in ok(M.fetch("2", "(FLAGS)"))[0]
ok(M.fetch("2", "(BODY[1])"))
assert b"\\Seen" in ok(M.fetch("2", "(FLAGS)"))[0]
for query, want in (("UNSEEN", b"4"), ('SUBJECT "message 3"', b"3"), ('BODY "body 4"', b"4"),
                    ("KEYWORD $Work", b"1 3 5"), ("OR SUBJECT 1 FROM j2", b"1 2"), ("SENTSINCE 1-Jan-2019", b""),
                    ("SINCE 1-Jan-2019 UID 4:*", b"4 5"), ("NOT SEEN", b"4"), ("TEXT hello LARGER 10", b"1 2 3 4 5")):
    assert ok(M.search(None, query)) == [want], query
assert b"$New" in ok(M.store("1:2", "+FLAGS", "(\\Flagged $New)"))[1]
assert b"$Work" not in ok(M.store("1", "-FLAGS", "($Work)"))[0]
M2 = login()
ok(M2.select("INBOX"))
assert b"(\\Flagged \\Seen $New)" in ok(M2.fetch("1", "(FLAGS)"))[0]
M2.logout()
PY
}

@test "copy, move and expunge say what became of each message" {
    story <<'PY'
for i in range(1, 6): ok(M.append("INBOX", None, None, msg(i)))
ok(M.select("INBOX"))
ok(M.uid("COPY", "1:2", "Archive"))
assert M.untagged_responses["COPYUID"][-1].endswith(b" 1:2 1:2")
assert b"TRYCREATE" in ok(M.uid("COPY", "1", "Nowhere"), "NO")[0]
ok(M.copy("1", "INBOX"))
assert M.untagged_responses["EXISTS"][-1] == b"6"
ok(M._simple_command("UID", "MOVE", "4", "Junk"))
assert M.untagged_responses["EXPUNGE"] == [b"4"] and M.untagged_responses["COPYUID"][-1].endswith(b" 4 1")
ok(M.store("1,3", "+FLAGS.SILENT", "\\Deleted"))
assert ok(M.expunge()) == [b"3", b"1"] or ok(M.search(None, "ALL")) == [b"1 2 3"]
assert ok(M.uid("SEARCH", None, "ALL")) == [b"2 5 6"]
assert b"MESSAGES 2" in ok(M.status("Archive", "(MESSAGES)"))[0]
assert b"MESSAGES 1" in ok(M.status("Junk", "(MESSAGES)"))[0]
ok(M.select("Archive", readonly=True))
assert M.store("1", "+FLAGS", "\\Seen")[0] == "NO"
PY
}

@test "IDLE tells at once what is delivered, flagged and expunged elsewhere" {
    story <<'PY'
deliver(b"Subject: first\n\nx\n")
ok(M.select("INBOX"))
M.sock.settimeout(10)
M.send(b"i IDLE\r\n")
assert M.readline().startswith(b"+")
def until(want):
    while True:
        line = M.readline()
        if want in line: return
        assert line.startswith(b"* ") , line
t = time.time()
deliver(b"Subject: second\n\nx\n")
until(b"* 2 EXISTS")
M2 = login()
ok(M2.select("INBOX"))
ok(M2.store("1", "+FLAGS", "(\\Answered $Fresh)"))
until(b"* 1 FETCH (UID 1 FLAGS (\\Answered ")
ok(M2.store("1", "+FLAGS", "\\Deleted"))
ok(M2.expunge())
until(b"* 1 EXPUNGE")
until(b"* 1 RECENT")
assert time.time() - t < 5
M.send(b"DONE\r\n")
line = M.readline()
assert line.startswith(b"i OK"), line
M2.logout()
PY
}

@test "what another session removes does not shift numbers before it is told" {
    story <<'PY'
ok(M.create("tmp"))
for i in 1, 2, 3: ok(M.append("tmp", None, None, msg(i)))
M2 = login()
ok(M.select("tmp")); ok(M2.select("tmp"))
ok(M2.store("1", "+FLAGS", "\\Deleted")); ok(M2.expunge())
assert ok(M.fetch("2", "(BODY.PEEK[])"))[0][1] == msg(2)
ok(M.noop())
assert M.untagged_responses["EXPUNGE"] == [b"1"]
assert ok(M.fetch("2", "(BODY.PEEK[])"))[0][1] == msg(3)
ok(M2.delete("tmp"))
ok(M.noop())
assert ok(M.search(None, "ALL")) == [b""]
ok(M.select("INBOX"))
M2.logout()
PY
}

@test "other programs may put, flag and remove files in the Maildir" {
    story <<PY
box = "$(maildir b jo)"
deliver(b"Subject: one\n\nx\n")
ok(M.select("INBOX"))
open(box + "/new/1700000000.M1.mutt", "w").write("Subject: two\n\nx\n")
ok(M.noop())
assert ok(M.uid("SEARCH", None, "ALL")) == [b"1 2"]
f = [n for n in os.listdir(box + "/cur") + os.listdir(box + "/new") if n.startswith("1700000000.M1.mutt")][0]
d = "cur/" if f in os.listdir(box + "/cur") else "new/"
os.rename(f"{box}/{d}{f}", f"{box}/cur/1700000000.M1.mutt:2,FS")
ok(M.noop())
assert b"(\\\\Flagged \\\\Seen" in ok(M.fetch("2", "(FLAGS)"))[0]
os.unlink(f"{box}/cur/1700000000.M1.mutt:2,FS")
ok(M.noop())
assert ok(M.uid("SEARCH", None, "ALL")) == [b"1"]
PY
}

@test "mbsync copies both ways, flags and deletions too" {
    need mbsync
    for i in 1 2 3; do message jo@b.test "mail $i" | put; done
    mkdir mail
    cat > mbsyncrc <<EOF
IMAPAccount b
Host 127.0.0.1
Port $IMAP
User jo
Pass secret
SSLType None
AuthMechs LOGIN

IMAPStore far
Account b

MaildirStore near
Path $T/mail/
Inbox $T/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
EOF
    copy_both_ways() { timeout 60 mbsync -q -c mbsyncrc -a >> log 2>&1; }
    copy_both_ways
    [[ $(find mail/INBOX -type f -path '*/new/*' | wc -l) == 3 && -d mail/Sent ]]
    f=$(grep -l 'mail 2' mail/INBOX/new/*)
    mv "$f" "mail/INBOX/cur/$(basename "${f%%:2,*}"):2,FS"
    f=$(grep -l 'mail 1' mail/INBOX/new/*)
    mv "$f" "mail/INBOX/cur/$(basename "${f%%:2,*}"):2,T"
    message jo@b.test 'from here' > mail/INBOX/new/1.2.here
    copy_both_ways
    story <<'PY'
ok(M.select("INBOX"))
assert ok(M.search(None, "ALL")) == [b"1 2 3"]
assert ok(M.search(None, "FLAGGED SEEN SUBJECT", '"mail 2"')) == [b"1"]
assert ok(M.search(None, "SUBJECT", '"from here"')) == [b"3"]
ok(M.store("2", "+FLAGS", "\\Deleted")); ok(M.expunge())
ok(M.create("Neu"))
ok(M.append("Neu", "\\Seen", None, msg(9)))
PY
    copy_both_ways
    [[ $(find mail/INBOX -type f '(' -path '*/new/*' -o -path '*/cur/*' ')' | wc -l) == 2 ]]
    [[ $(find mail/Neu/cur -type f | wc -l) == 1 ]]
}

@test "serve --stdio imap USER is logged in at once" {
    message jo@b.test hello | put
    printf 'a SELECT INBOX\r\nb FETCH 1 (BODY[HEADER.FIELDS (SUBJECT)])\r\nc LOGOUT\r\n' > in
    run_postbag 0 serve -C b.conf --stdio imap jo < in
    out_has '* PREAUTH'
    out_has 'Subject: hello'
    out_has 'c OK'
    run_postbag 67 serve -C b.conf --stdio imap nobody < in
}

@test "a wrong password is refused, and five of them end the session" {
    story <<'PY'
N = imaplib.IMAP4("127.0.0.1", M.port)
for i in range(5):
    try:
        N.login("jo", "wrong%d" % i)
        assert False
    except (imaplib.IMAP4.error, imaplib.IMAP4.abort):
        pass
try:
    N.login("jo", "secret")
    assert False
except (imaplib.IMAP4.error, OSError):
    pass
PY
    grep -q 'login failed' serve-b.err
}

@test "the first login of an account by ten sessions at once: all see the usual mailboxes" {
    free_port N
    site n "listen imap 127.0.0.1:$N"
    user n mo
    serve n
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 - "$N" <<'PY' >> log 2>&1
import sys, threading
from imapline import Line
bad = []
def one():
    c = Line(int(sys.argv[1]), "mo", "secret")
    for box in ("Trash", "Sent", "Archive", "Junk", "Drafts"):
        try: c("STATUS %s (UIDVALIDITY)" % box)
        except AssertionError: bad.append((box, c.tagged))
crowd = [threading.Thread(target=one) for _ in range(10)]
for t in crowd: t.start()
for t in crowd: t.join()
assert not bad, bad
PY
}

@test "each message is \\Recent in one session that may write, however it came" {
    cat > story.py <<'PY'
import sys, subprocess
from imapline import Line
def line(select=None):
    c = Line(int(sys.argv[1]), "jo", "secret")
    if select: c(select)
    return c
def recent(c): return [r.split()[1] for r in c("FETCH 1:* FLAGS") if "Recent" in r]
M = b"Subject: x\r\n\r\nx\r\n"
a = line()
a("CREATE t")
a("APPEND t (\\Seen)", M), a("APPEND t", M)
assert a("STATUS t (RECENT)") == ["* STATUS t (RECENT 2)"], a.last
assert "* 2 RECENT" in a("EXAMINE t") and recent(a) == ["1", "2"], a.last     # looking takes nothing away
assert "* 2 RECENT" in a("SELECT t") and recent(a) == ["1", "2"], a.last
assert a("SEARCH OLD") == ["* SEARCH"] and a("SEARCH NEW") == ["* SEARCH 2"], a.last
b = line()
assert "* 0 RECENT" in b("SELECT t") and not recent(b), b.last
assert "* 1 RECENT" in b("APPEND t (\\Seen)", M), b.last                       # who appends has it
assert "* 2 RECENT" in a("NOOP") and recent(a) == ["1", "2"], a.last
a("COPY 1:2 t")
a("NOOP"), b("NOOP")
assert sorted(recent(a) + recent(b)) == ["1", "2", "3", "4", "5"]
assert line()("STATUS t (RECENT)") == ["* STATUS t (RECENT 0)"]
a("CREATE u"), b("SELECT u"), a("UID MOVE 3 u")
assert "* 1 RECENT" in b("NOOP") and recent(b) == ["1"], b.last
b("STORE 1 +FLAGS (\\Deleted)")
assert "* 0 RECENT" in b("EXPUNGE"), b.last                                     # and is told when it goes
c = line("SELECT t")
a("STORE 1 +FLAGS (\\Deleted)"), a("EXPUNGE")
assert "FLAGS (\\Seen $x)" in c("STORE 1 +FLAGS ($x)")[-1], c.last             # gone, not told yet: as if
assert not [r for r in c("NOOP") if "RECENT" in r], c.last
for c in a, b: c("LOGOUT")
subprocess.run([sys.argv[2], "deliver", "-C", "b.conf", "jo"], input=M, check=True)
a, b = line("SELECT INBOX"), line("SELECT INBOX")
assert recent(a) == ["1"] and recent(b) == [], (a.last, b.last)
subprocess.run([sys.argv[2], "deliver", "-C", "b.conf", "jo"], input=M, check=True)
b("NOOP"), a("NOOP")
assert recent(a) == ["1"] and recent(b) == ["2"], (a.last, b.last)
PY
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py "$IMAP" "$POSTBAG" >> log 2>&1
}

@test "FROM, TO, CC and BCC look into the envelope: no comment hides an address, no folding or route" {
    cat > story.py <<'PY'
import sys
from imapline import Line
c = Line(int(sys.argv[1]), "jo", "secret")
c("APPEND INBOX", b"From: <fred (it is he)@ (there) a.test>\r\nTo: x@a.test, (one) y (two) @ a.test (Why)\r\n\r\nx\r\n")
c("APPEND INBOX", b"From: fred@a.test (Fred)\r\nCc: G: <g@a.test>;\r\n\r\nx\r\n")
c("APPEND INBOX", b"From: other@a.test\r\nTo: (" + b"long " * 2000 + b") z (z) @a.test\r\n\r\nx\r\n")
c("SELECT INBOX")
for again in range(2):                                                          # read, then from the index
    for what, found in (("FROM fred@a.test", " 1 2"), ("FROM \"(it is he)\"", " 1"), ("TO y@a.test", " 1"), ("CC g@a.test", " 2"),
                        ("FROM fredit", ""), ("TO z@a.test", " 3"), ("FROM Fred", " 1 2"), ("NOT FROM fred@a.test", " 3")):
        assert c("SEARCH " + what) == ["* SEARCH" + found], (what, c.last)
PY
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py "$IMAP" >> log 2>&1
}

@test "flags of more than a thousand messages at once: each has its MODSEQ in every session, also after a restart" {
    local i dir
    dir=$(maildir b jo)
    mkdir -p "$dir"/{cur,new,tmp}
    for i in $(seq 1301); do printf 'Subject: %d\n\nx\n' "$i" > "$dir/cur/$i.x.host:2,"; done
    cat > story.py <<'PY'
import re, sys
from imapline import Line
c = Line(int(sys.argv[1]), "jo", "secret")
c("SELECT INBOX (CONDSTORE)")
if sys.argv[2] == "first":
    before = c("FETCH 1:* (FLAGS MODSEQ)")
    c("STORE 1:1201 +FLAGS.SILENT (\\Flagged $work)")
rows = sorted(c("FETCH 1:* (UID FLAGS MODSEQ)"), key=lambda r: int(r.split()[1]))
assert len(rows) == 1301 and all(("\\Flagged" in r and "$work" in r) == (n < 1201) for n, r in enumerate(rows)), rows[-2:]
seqs = [re.search(r"MODSEQ \((\d+)\)", r).group(1) for r in rows]
assert len(set(seqs[:1201])) == 1 and int(seqs[0]) > int(seqs[1201]), seqs[:3]
print(" ".join(seqs))
PY
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py "$IMAP" first > one 2>> log
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py "$IMAP" then > two 2>> log
    stop "$SERVE"
    serve b
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py "$IMAP" then > three 2>> log
    cmp one two
    cmp one three
}
