# imap-ext: what extensions promise, against the real store, often with two sessions.
load helper

story_setup() {
    free_port IMAP IMAPS
    site b "listen imap 127.0.0.1:$IMAP" "listen imaps 127.0.0.1:$IMAPS"
    user b jo
    serve b
}
# Python on standard input: c and d are sessions of jo, deliver(text) puts a message.
story() {
    { cat <<PY
import os, re, subprocess, sys, time
from imapline import Line
def deliver(text="From: a@a.test\nSubject: hello\n\nbody\n"):
    subprocess.run(["$POSTBAG", "deliver", "-C", "b.conf", "jo"], input=text.encode(), check=True)
def login(tls=False):
    return Line($IMAPS if tls else $IMAP, "jo", "secret", tls)
def code(c, name):
    m = re.search(r"\[%s ([^\]]*)\]" % name, " ".join(c.last + [c.tagged]))
    assert m, (name, c.last, c.tagged)
    return m.group(1)
c, d = login(), login()
PY
    cat; } > story.py
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py >> log 2>&1
}

@test "CONDSTORE: a conditional STORE loses against the other session's change" {
    story <<'PY'
for i in range(3): deliver()
c("SELECT INBOX (CONDSTORE)"); d("SELECT INBOX")
top = int(code(c, "HIGHESTMODSEQ"))
d("STORE 2 +FLAGS (\\Flagged)")
c("STORE 1:3 (UNCHANGEDSINCE %d) +FLAGS (\\Seen)" % top)
assert code(c, "MODIFIED") == "2", c.tagged
assert any("2 FETCH" in x and "\\Flagged" in x and "\\Seen" not in x for x in c.last), c.last
rows = {x.split()[1]: int(re.search(r"MODSEQ \((\d+)\)", x).group(1)) for x in c("FETCH 1:* (MODSEQ)")}
assert rows["1"] == rows["3"] > rows["2"] > top, (rows, top)
assert [x.split()[1] for x in c("FETCH 1:* FLAGS (CHANGEDSINCE %d)" % rows["2"])] == ["1", "3"]
# modification sequences outlive the session, and a message keeps its own
e = login(); e("SELECT INBOX")
assert int(code(e, "HIGHESTMODSEQ")) >= rows["1"]
again = {x.split()[1]: int(re.search(r"MODSEQ \((\d+)\)", x).group(1)) for x in e("FETCH 1:* (MODSEQ)") if "FETCH" in x}
assert again == rows, (again, rows)
PY
}

@test "QRESYNC: who was away learns what went and what changed" {
    story <<'PY'
for i in range(6): deliver()
c("ENABLE QRESYNC"); c("SELECT INBOX")
top, validity = code(c, "HIGHESTMODSEQ"), code(c, "UIDVALIDITY")
c("UNSELECT")
d("SELECT INBOX"); d("STORE 2,5 +FLAGS (\\Deleted)"); d("EXPUNGE"); d("STORE 3 +FLAGS ($Work)")
deliver()
c("SELECT INBOX (QRESYNC (%s %s 1:6))" % (validity, top))
assert c.told("VANISHED") == ["* VANISHED (EARLIER) 2,5"], c.last
changed = c.told("FETCH")
assert len(changed) == 1 and "UID 4 " in changed[0] and "$Work" in changed[0], changed
assert c.told("EXISTS") == ["* 5 EXISTS"], c.last
# what goes while it is selected comes by UID too
d("NOOP"); d("UID STORE 1 +FLAGS.SILENT (\\Deleted)"); d("UID EXPUNGE 1")
c("NOOP")
assert c.told("VANISHED") == ["* VANISHED 1"] and not c.told("EXPUNGE"), c.last
c("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %s VANISHED)" % top)
assert c.told("VANISHED") == ["* VANISHED (EARLIER) 1:2,5"], c.last
# without the index nobody knows what went: all UIDs that are not there are named
c("UNSELECT"); d("UNSELECT"); c("LOGOUT"); d("LOGOUT")
import glob
for x in glob.glob("b/mail/**/postbag-index.db*", recursive=True): os.unlink(x)
e = login(); e("ENABLE QRESYNC"); e("SELECT INBOX (QRESYNC (%s %s))" % (validity, top))
assert e.told("VANISHED") == ["* VANISHED (EARLIER) 1:2,5"], e.last
PY
}

@test "QRESYNC: who comes again from the last modification sequence it was told misses no EXPUNGE (RFC 7162 3.2.4)" {
    story <<'PY'
for i in range(6): deliver()
def highest(lines): # HIGHESTMODSEQ where it is told, else the highest MODSEQ
    told = re.findall(r"HIGHESTMODSEQ (\d+)", "\n".join(lines))
    return int(told[-1]) if told else max(int(x) for x in re.findall(r"MODSEQ \((\d+)\)", "\n".join(lines)))
def again(top):
    e = login(); e("ENABLE QRESYNC"); e("SELECT INBOX (QRESYNC (%s %d))" % (validity, top))
    return e.told("VANISHED")
c("ENABLE QRESYNC"); c("SELECT INBOX"); d("SELECT INBOX")
validity = code(c, "UIDVALIDITY")
# d removes one, and c changes another before it hears of it
d("UID STORE 2 +FLAGS (\\Deleted)"); d("UID EXPUNGE 2")
assert again(highest(c("STORE 3 +FLAGS (\\Flagged)"))) == ["* VANISHED (EARLIER) 2"], c.last
assert again(highest(c("UID STORE 4 +FLAGS.SILENT (\\Flagged)"))) == ["* VANISHED (EARLIER) 2"], c.last
# it hears of it, but may not be told yet
c("STORE 3 (UNCHANGEDSINCE 1) -FLAGS (\\Flagged)")
assert not c.told("VANISHED") and again(highest(c("FETCH 1:* (MODSEQ)"))) == ["* VANISHED (EARLIER) 2"], c.last
# told: from here nothing is said twice
c("NOOP")
assert c.told("VANISHED") == ["* VANISHED 2"] and again(highest(c.last)) == [], c.last
# what comes, goes and is copied in has no MODSEQ of its own
deliver(); top = highest(c("NOOP")); assert c.told("EXISTS") and c("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % top) == [], c.last
top = highest(c("APPEND INBOX", b"Subject: x\r\n\r\nx\r\n")); assert c("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % top) == [], c.last
c.send("IDLE"); assert c.line() == "+ idling"
d("UID STORE 5 +FLAGS (\\Deleted)"); assert "UID 5 " in c.line()
d("UID EXPUNGE 5"); lines = [c.line()]; assert lines == ["* VANISHED 5"], lines
while "HIGHESTMODSEQ" not in lines[-1]: lines.append(c.line())
x = again(highest(lines)); assert x == [], (x, lines)
c.write(b"DONE\r\n"); c.wait()
PY
}

@test "QRESYNC: files removed by hand while nobody looks are told to who comes again" {
    local base
    story <<'PY'
for i in range(5): deliver()
c("ENABLE QRESYNC"); c("SELECT INBOX")
print(code(c, "UIDVALIDITY"), code(c, "HIGHESTMODSEQ"), file=open("top", "w"))
c("UID FETCH 1:2 (RFC822.SIZE ENVELOPE)") # of these the index has rows of their own
PY
    stop "$SERVE"
    for base in $(sed -n 's/^[14] //p' "$(maildir b jo)/postbag-uidlist"); do rm "$(maildir b jo)/cur/$base"*; done
    serve b
    story <<'PY'
def again(top):
    c("ENABLE QRESYNC"); c("SELECT INBOX (QRESYNC (%s %s))" % (validity, top))
    return c.told("VANISHED"), c.told("EXISTS"), code(c, "HIGHESTMODSEQ")
validity, top = open("top").read().split()
gone, exists, now = again(top)
assert gone == ["* VANISHED (EARLIER) 1,4"] and exists == ["* 3 EXISTS"] and now > top, c.last
assert again(top) == (gone, exists, now), c.last # it went once
assert again(now) == ([], exists, now), c.last
PY
}

@test "special uses and annotations stay with the mailbox, also under another name" {
    story <<'PY'
c('CREATE Gesendet (USE (\\Sent))')
rows = c('LIST (SPECIAL-USE) "" "*" RETURN (SPECIAL-USE)')
assert [x for x in rows if "\\Sent" in x] == ['* LIST (\\HasNoChildren \\Sent) "/" Gesendet'], rows
c('SETMETADATA Gesendet (/private/comment "mine" /shared/comment {5+}\r\na\r\nbc)')
c('SETMETADATA "" (/private/vendor/x "account")')
c('RENAME Gesendet Sent2')
assert d('GETMETADATA Sent2 (/private/comment /shared/comment /private/specialuse)') == [
    '* METADATA Sent2 (/private/comment "mine" /private/specialuse "\\\\Sent" /shared/comment {5}\r\na\r\nbc)'], d.last
assert d('GETMETADATA "" /private/vendor/x') == ['* METADATA "" (/private/vendor/x "account")'], d.last
assert any("\\Sent" in x and "Sent2" in x for x in d('LIST (SPECIAL-USE) "" "*"'))
c('SETMETADATA Sent2 (/private/comment NIL /private/specialuse NIL)')
assert d('GETMETADATA Sent2 (/private/comment)') == []
assert any(x.endswith(" Sent") and "\\Sent" in x for x in d('LIST (SPECIAL-USE) "" "*"')), d.last
c('GETMETADATA Nowhere /private/comment', "NO")
c('SETMETADATA Sent2 (/private/big "%s")' % ("x" * 65537), "NO")
assert "TOOMANY" in c.tagged or "MAXSIZE" in c.tagged, c.tagged
PY
}

@test "LIST with STATUS tells of all mailboxes at once" {
    story <<'PY'
deliver(); c("SUBSCRIBE Drafts"); c("SUBSCRIBE Gone/Away")
rows = c('LIST "" "*" RETURN (SUBSCRIBED STATUS (MESSAGES UIDNEXT UNSEEN HIGHESTMODSEQ))')
assert any(re.match(r'\* STATUS INBOX \(MESSAGES 1 UIDNEXT 2 UNSEEN 1 HIGHESTMODSEQ \d+\)', x) for x in rows), rows
assert len(c.told("* LIST")) == len(c.told("* STATUS")) >= 6, rows
assert c('LIST (SUBSCRIBED) "" "G*"') == ['* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" Gone/Away'], c.last
PY
}

@test "APPEND of many is all or nothing; REPLACE puts the new one in the place of the old" {
    story <<'PY'
one, two = b"Subject: one\r\n\r\n1\r\n", b"Subject: two\r\n\r\n2\r\n"
d("SELECT INBOX"); c("SELECT INBOX")
c("APPEND INBOX (\\Seen)", one, "\"01-Jan-2020 10:00:00 +0000\"", two)
assert code(c, "APPENDUID").split()[1] == "1:2", c.tagged
assert c.told("EXISTS") == ["* 2 EXISTS"], c.last
rows = c("FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])")
assert "\\Seen" in rows[0] and "Subject: two" in rows[1] and "01-Jan-2020" in rows[1], rows
c("APPEND Nowhere", one, "NO"); assert "TRYCREATE" in c.tagged
d("NOOP"); assert d.told("EXISTS") == ["* 2 EXISTS"]
c("UID REPLACE 1 INBOX (\\Draft)", b"Subject: anew\r\n\r\n3\r\n")
assert code(c, "APPENDUID").split()[1] == "3" and c.told("* 1 EXPUNGE"), c.last
assert "Subject: anew" in "".join(c("UID FETCH 3 BODY.PEEK[]"))
d("NOOP"); assert d.told("EXPUNGE") == ["* 1 EXPUNGE"], d.last
# to another mailbox
c("REPLACE 1 Drafts", b"Subject: moved\r\n\r\n4\r\n")
c("STATUS Drafts (MESSAGES)"); assert c.told("MESSAGES 1"), c.last
assert [x for x in c("UID FETCH 1:* FLAGS")] and len(c.last) == 1, c.last
PY
}

@test "previews, ids and save dates are there, and a copy keeps its id" {
    story <<'PY'
deliver("From: a@a.test\nSubject: s\nContent-Type: text/html; charset=utf-8\n\n"
        "<html><head><title>no</title><style>p {x}</style></head><body><!-- no -->"
        "<p>Gr&uuml;&#223;e &amp; <b>more</b>&nbsp;text\n  here</p><script>no</script></body></html>\n")
deliver("From: a@a.test\n\n> quoted\n\nfirst   line\nsecond\n" + "word " * 100 + "\n")
deliver("From: a@a.test\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAECAw==\n")
c("SELECT INBOX")
rows = c("FETCH 1:3 (PREVIEW EMAILID SAVEDATE)")
text = [re.search(r'PREVIEW (?:\{\d+\}\r\n|")([^"]*?)"? EMAILID', x).group(1) for x in rows]
assert text[0] == "Gr&uuml;\u00dfe & more text here", text
assert text[1].startswith("first line second word word") and len(text[1]) == 200, text
assert text[2] == "", text
assert all(re.search(r'SAVEDATE "[ 0-9]\d-', x) for x in rows), rows
ids = [re.search(r"EMAILID \((\w+)\)", x).group(1) for x in rows]
assert len(set(ids)) == 3
c("COPY 2 Archive"); d("SELECT Archive")
assert ids[1] in d("FETCH 1 (EMAILID)")[0], d.last
assert c("SEARCH EMAILID %s" % ids[2]) == ["* SEARCH 3"], c.last
assert c("SEARCH SAVEDBEFORE 1-Jan-2020") == ["* SEARCH"] and c("SEARCH YOUNGER 600") == ["* SEARCH 1 2 3"], c.last
assert "\x00\x01\x02\x03" in c("FETCH 3 BINARY.PEEK[1]")[0] and "~{4}" in c.last[0], c.last
one = code(c, "MAILBOXID") if c.told("MAILBOXID") else None
c("CREATE Old"); made = code(c, "MAILBOXID")
c("RENAME Old New"); c("STATUS New (MAILBOXID)")
assert made in c.last[0], (made, c.last)
PY
}

@test "ENABLE UTF8=ACCEPT: names are UTF-8 both ways" {
    story <<'PY'
c("ENABLE UTF8=ACCEPT"); c('CREATE "R&D/Gr\u00fc\u00dfe"')
assert any('"R&D/Gr\u00fc\u00dfe"' in x for x in c('LIST "" "R&D/*"')), c.last
assert any('"R&-D/Gr&APwA3w-e"' in x or 'R&-D/Gr&APwA3w-e' in x for x in d('LIST "" "*"')), d.last
text = "Subject: Gr\u00fc\u00dfe\r\n\r\nUTF-8 header\r\n"
c('APPEND "R&D/Gr\u00fc\u00dfe" UTF8 (~{%d+}\r\n%s)' % (len(text.encode()), text))
c('SELECT "R&D/Gr\u00fc\u00dfe"'); assert c("SEARCH SUBJECT \"gr\u00dc\u00dfe\"") == ["* SEARCH 1"], c.last
PY
}

@test "the text index finds what a scan finds, also when it is old, cut off or damaged" {
    story <<'PY'
import random, base64, glob
r = random.Random(3)
words = ["alpha", "Beta", "str\u00e4\u00dfe", "\u6771\u4eac\u90fd", "\u043f\u0440\u0438\u0432\u0435\u0442", "x1y2z3", "quick", "brown", "Zebra", "\u00c9t\u00e9"]
box = "b/mail/b.test/jo/Maildir"
def message(i):
    text = " ".join(r.choice(words) + r.choice(["", "s", str(r.randrange(99))]) for _ in range(r.randrange(3, 60)))
    head = "From: %s <a%d@a.test>\nSubject: =?utf-8?b?%s?=\nX-Odd: %s\n" % (
        r.choice(["Ann", "Bob"]), i, base64.b64encode(r.choice(words).encode()).decode(), r.choice(["odd", "even"]) + str(i % 7))
    kind = r.randrange(4)
    if kind == 0:
        return head + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(text.encode()).decode()
    if kind == 1:
        return head + ("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; charset=utf-8\n\n<p>%s</p>\n"
                       "--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n%s\n--b--\n" % (text, base64.b64encode(b"hidden attachment").decode()))
    if kind == 2:
        return head + "Content-Type: message/rfc822\n\nSubject: inner%d\nContent-Type: text/plain; charset=iso-8859-1\n\n%s\n" % (i, text.encode().decode("latin-1"))
    return head + "Content-Type: text/plain; charset=utf-8\n\n" + text + "\n"
def fill(first, n):
    for i in range(first, first + n):
        with open("%s/cur/%d.M%dP1.h:2," % (box, 1767225600 + i, i), "wb") as f:
            f.write(message(i).encode("utf-8", "replace"))
c("SELECT INBOX"); fill(0, 1100); c("NOOP")
needles = ["alpha", "BETA1", "\u00e4\u00df", "str\u00c4\u00dfe", "\u6771\u4eac", "\u4eac", "\u90fd \u6771", "\u041f\u0420\u0418", "x1y2z3s", "quick brown", "hidden",
           "inner4", "odd3", "a77@a.test", "no such text", "sbrown", "Zebra9", "\u00e9t\u00e9", "<p>", "qu", "a", "ebr", "utf-8"]
def same(s, label):
    for n in needles:
        for key in ("BODY", "TEXT", "HEADER X-Odd", "SUBJECT"):
            q = '%s {%d+}\r\n%s' % (key, len(n.encode()), n)
            a = s("SEARCH CHARSET UTF-8 " + q)
            b = s("SEARCH CHARSET UTF-8 OR %s %s" % (q, q))     # no bound: all are looked at
            assert a == b, (label, q, a[0][:200], b[0][:200])
same(c, "new")
path = box + "/postbag-search"
assert os.path.getsize(path) == 4096 + 2 * (4096 + 16384 * 64), os.path.getsize(path)
assert len(c("SEARCH BODY alpha")[0].split()) > 50
# messages go and come
c("STORE 5:90,600:800 +FLAGS.SILENT (\\Deleted)"); c("EXPUNGE"); fill(1100, 30); c("NOOP")
same(c, "changed")
d("SELECT INBOX"); same(d, "another session")
for label, damage in (("cut", lambda f: f.truncate(4096 + 4096 + 16384 * 64 + 7000)), ("head", lambda f: f.write(b"junk")),
                      ("empty", lambda f: f.truncate(0)), ("block", lambda f: (f.seek(4100), f.write(b"\xff" * 40)))):
    with open(path, "r+b") as f: damage(f)
    e = login(); e("SELECT INBOX"); same(e, label)
os.unlink(path); same(c, "gone")
PY
}

@test "SEARCH: mail of any charset is found by a text of any other" {
    story <<'PY'
import base64
mail = [("gb18030", "\u4f1a\u8bae \u6771\u4eac"), ("iso-2022-jp", "\u4f1a\u8b70 \u6771\u4eac"), ("koi8-r", "\u041f\u0440\u0438\u0432\u0435\u0442"),
        ("shift_jis", "\u30c6\u30b9\u30c8"), ("euc-kr", "\ud55c\uad6d\uc5b4"), ("big5", "\u6703\u8b70")]
c("SELECT INBOX"); c("STORE 1:* +FLAGS.SILENT (\\Deleted)"); c("EXPUNGE")
for i, (charset, text) in enumerate(mail):
    raw = text.encode(charset)
    head = b"Subject: =?%s?b?%s?=\nContent-Type: text/plain; charset=%s\n" % (charset.encode(), base64.b64encode(raw), charset.encode())
    if i % 2: head += b"Content-Transfer-Encoding: base64\n"
    m = head + b"\n" + (base64.encodebytes(raw) if i % 2 else raw + b"\n")
    with open("b/mail/b.test/jo/Maildir/cur/%d.M%dP1.h:2," % (1767225600 + i, i), "wb") as f: f.write(m)
c("NOOP")
def find(key, text, charset):
    return [int(x) for x in c("SEARCH CHARSET %s %s" % (charset, key), text.encode(charset))[0].split()[2:]]
tried = 0
for needle in [w for _, text in mail for w in text.split()]:
    want = [i + 1 for i, (_, text) in enumerate(mail) if needle in text]
    for charset in ["utf-8", "gb18030", "iso-2022-jp", "shift_jis", "euc-kr", "big5", "koi8-r", "euc-jp"]:
        if charset == "big5" and needle < "\u4e00": continue  # Python and iconv disagree about its kana
        try: needle.encode(charset)
        except UnicodeEncodeError: continue
        for key in ("SUBJECT", "BODY", "TEXT", "HEADER SUBJECT"):
            assert find(key, needle, charset) == want, (needle, charset, key)
            tried += 1
assert tried > 80 and [1, 2] == find("BODY", "\u6771\u4eac", "iso-2022-jp"), tried
assert find("SUBJECT", "\u041f\u0420\u0418\u0412", "koi8-r") == [3]
PY
}

@test "SEARCH BODY: the name of an attachment, the subject of a message inside, the words of a bounce" {
    story <<'PY'
deliver("""Subject: three things
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: application/pdf
Content-Disposition: attachment; filename*=utf-8''%e4%bc%9a%e8%ae%ae.pdf
Content-Transfer-Encoding: base64

c2VjcmV0
--b
Content-Type: message/rfc822

Subject: =?gb18030?b?u+HS6Q==?= =?utf-8?q?Gr=C3=BC=C3=9Fe?=
Content-Type: application/octet-stream

secret
--b
Content-Type: message/delivery-status

Final-Recipient: rfc822; nobody@a.test
Diagnostic-Code: smtp; 550 no such mailbox
--b--
""")
deliver("Subject: another\n\nno part\n")
c("SELECT INBOX")
first = int(re.search(r"\d+", c("SEARCH SUBJECT \"three things\"")[0]).group(0))
def found(key, text): return [int(x) for x in c("SEARCH CHARSET UTF-8 " + key, text.encode())[0].split()[2:]]
for text in ("\u4f1a\u8bae.pdf", "\u4f1a\u8bae", "GR\u00dcSSE".replace("SS", "\u1e9e"), "subject: \u4f1a", "no such mailbox"):
    for key in ("BODY", "TEXT"): assert found(key, text) == [first], (key, text, c.last)
assert found("BODY", "application/pdf") == [] and found("TEXT", "application/pdf") == [first], c.last
assert found("BODY", "secret") == [] and found("BODY", "three things") == [], c.last
PY
}

@test "NOTIFY tells of other mailboxes and of the selected one without being asked" {
    story <<'PY'
c("CREATE Work"); c("SUBSCRIBE Work")
c("NOTIFY SET STATUS (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (Subject)]) MessageExpunge FlagChange)) "
  "(personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))")
assert [x for x in c.last if x.startswith("* STATUS Work (MESSAGES 0 ")], c.last
c("SELECT INBOX"); d("SELECT INBOX")
def soon(word):
    c.s.settimeout(5)
    seen = []
    while True:
        seen.append(c.line())
        if word in seen[-1]: return seen
deliver("From: a@a.test\nSubject: news\n\nx\n")
assert "UID 1 " in soon("Subject: news")[-1]
d("NOOP"); d("STORE 1 +FLAGS (\\Flagged)"); soon("\\Flagged")
d("APPEND Work", b"Subject: there\r\n\r\nx\r\n"); soon("STATUS Work (MESSAGES 1 UIDNEXT 2")
d("CREATE Fresh"); soon(" Fresh")
d("APPEND Fresh", b"Subject: there\r\n\r\nx\r\n"); soon("STATUS Fresh (MESSAGES 1 ")
d("CREATE Fresh/Deep"); soon(" Fresh/Deep"); d("RENAME Fresh \"Old fish\"")
renamed = soon("OLDNAME") + soon("OLDNAME") # and nothing else
assert sorted(renamed) == ['* LIST () "/" "Old fish" ("OLDNAME" (Fresh))',
                           '* LIST () "/" "Old fish/Deep" ("OLDNAME" (Fresh/Deep))'], renamed
d('APPEND "Old fish"', b"Subject: there\r\n\r\nx\r\n"); assert "MESSAGES 2" in soon("* ")[0]
d('DELETE "Old fish/Deep"'); d('DELETE "Old fish"'); soon("\\NonExistent"); soon("\\NonExistent")
d("UNSUBSCRIBE Work"); soon('* LIST () "/" Work')
d("SUBSCRIBE Work"); soon('* LIST (\\Subscribed) "/" Work')
d("UNSUBSCRIBE INBOX"); d("SUBSCRIBE INBOX"); soon('* LIST (\\Subscribed) "/" INBOX')
d("STORE 1 +FLAGS (\\Deleted)"); d("EXPUNGE"); soon("1 EXPUNGE")
c.send("IDLE"); soon("+ "); d("APPEND Work", b"Subject: again\r\n\r\nx\r\n"); soon("STATUS Work (MESSAGES 2 ")
deliver(); soon("FETCH (UID 2"); c.s.sendall(b"DONE\r\n"); c.wait()
c("NOTIFY NONE"); d("APPEND Work", b"Subject: third\r\n\r\nx\r\n"); time.sleep(.3)
assert c("NOOP") == [], c.last
PY
}

@test "NOTIFY: a tree of 300 mailboxes is renamed at once; that and what comes later is told" {
    story <<'PY'
d("CREATE Tree")
for i in range(300): d("CREATE Tree/%d" % i)
c("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))")
d("RENAME Tree Wood"); d("CREATE Last") # while the directories are watched anew
names, end = set("Tree/%d" % i for i in range(300)) | {"Tree", "INBOX"}, time.monotonic() + 30
c.s.settimeout(30)
while "Last" not in names or [x for x in names if x.startswith("Tree")] or len(names) < 303:
    assert time.monotonic() < end, names
    m = re.fullmatch(r'\* LIST \((.*?)\) "/" (\S+)(?: \("OLDNAME" \((\S+)\)\))?', c.line())
    if m and m.group(1): names.discard(m.group(2))
    elif m: names.add(m.group(2)); names.discard(m.group(3))
d("CREATE Later"); assert c.line() == '* LIST () "/" Later'
PY
}

@test "a quota: full is full for delivery, APPEND and COPY, and room comes back" {
    free_port S
    printf 'quota 10k\nquota-messages 8\nlisten smtp 127.0.0.1:%s\n' "$S" >> b.conf
    stop "$PID"
    serve b
    cat >> story.head <<PY
import smtplib
def smtp():
    return smtplib.SMTP("127.0.0.1", $S)
PY
    { cat story.head; cat <<'PY'
box = "b/mail/b.test/jo/Maildir"
c("GETQUOTAROOT INBOX")
assert c.last == ['* QUOTAROOT INBOX ""', '* QUOTA "" (STORAGE 0 10 MESSAGE 0 8)'], c.last
one = b"Subject: one\r\n\r\n" + b"x" * 3000 + b"\r\n"
for i in range(3): c("APPEND INBOX", one)
c("GETQUOTA \"\""); assert "STORAGE 9 10 MESSAGE 3 8" in c.last[0], c.last
c("APPEND INBOX", one, "NO"); assert "OVERQUOTA" in c.tagged, c.tagged
c("SELECT INBOX"); c("COPY 1 Archive", "NO"); assert "OVERQUOTA" in c.tagged, c.tagged
c("MOVE 1 Archive"); c("GETQUOTA \"\""); assert "STORAGE 9 10 MESSAGE 3 8" in c.last[0], c.last
m = smtp()
try:
    m.sendmail("a@a.test", ["jo@b.test"], one.decode()); assert False
except smtplib.SMTPRecipientsRefused as e:
    assert e.recipients["jo@b.test"][0] == 552 and b"5.2.2" in e.recipients["jo@b.test"][1], e.recipients
m.sendmail("a@a.test", ["jo@b.test"], "Subject: small\r\n\r\nx\r\n"); m.quit()
for i in range(50):
    if any("MESSAGE 4" in x for x in c('GETQUOTA ""')): break
    time.sleep(.1)
else: assert False, c.last
c("NOOP"); c("STORE 1:* +FLAGS.SILENT (\\Deleted)"); c("EXPUNGE"); c("APPEND INBOX", one)
# another program removes mail without a word: counted anew when the count is old
for x in os.listdir(box + "/cur"): os.unlink(box + "/cur/" + x)
for i in range(2):
    os.utime(box + "/maildirsize", (1, 1))
    c("APPEND INBOX", one)
for i in range(5): c("APPEND INBOX", b"Subject: s\r\n\r\nx\r\n")
c("APPEND INBOX", b"Subject: s\r\n\r\nx\r\n", "NO")
assert open(box + "/maildirsize").readline() == "10240S,8C\n"
PY
    } > all.py
    story < all.py
    # an account's own rule stays when its password changes
    sed -i 's/$/::::::userdb_quota_rule=*:storage=50k/' b/accounts
    grep -q quota_rule b/accounts
    run_postbag 0 account -C b.conf password jo <<< secret
    grep -q 'quota_rule=\*:storage=50k' b/accounts
    echo 'c("GETQUOTA \"\""); assert " 50 MESSAGE" in c.last[0], c.last' | story
}

@test "COMPRESS: the same answers, packed; in TLS too; large and random octets both ways; what is no DEFLATE ends it" {
    story <<'PY'
import random, zlib
random.seed(1)
for s in (c, login(tls=True)):
    assert "COMPRESS=DEFLATE" in s("CAPABILITY")[0]
    s("CREATE Big" + str(s is c))
    # packed commands in one piece with COMPRESS itself
    s.compress(b"x1 SELECT INBOX\r\nx2 NOOP\r\n")
    while not s.line().startswith("x2 OK"): pass
    assert "COMPRESS" not in s("CAPABILITY")[0]
    s("COMPRESS DEFLATE", "NO"); assert "COMPRESSIONACTIVE" in s.tagged
    noise = bytes(random.choice(b"0123456789abcdefghijklmnopqrstuvwxyz\n") for i in range(3 << 20)).replace(b"\n", b"\r\n")
    even = b"all the same\r\n" * 300000
    for body in (noise, even, b"x"):
        s("APPEND INBOX", b"Subject: big\r\n\r\n" + body)
        got = s("FETCH * BODY.PEEK[TEXT]")
        row = [x for x in got if "BODY[TEXT]" in x][0].encode()
        assert row[row.index(b"\r\n") + 2:-1] == body, (len(row), len(body))
    time.sleep(0.1); s("NOOP")
d("SELECT INBOX"); d("STORE 1 +FLAGS ($One)")
assert any("$One" in x for x in c("NOOP")), c.last
# IDLE: what happens is told packed, also after the session has rested
c.send("IDLE"); assert c.line().startswith("+")
time.sleep(3.5)
d("STORE 1 +FLAGS ($Two)")
while "$Two" not in (x := c.line()): assert x, "gone"
c.write(b"DONE\r\n"); c.wait()
# no DEFLATE: the connection ends; the others live on
c.s.sendall(b"\xff" * 100)
assert c.line() == ""
d("NOOP")
PY
}

@test "UIDBATCHES: ranges from the newest down, of so many messages each, that leave out no UID; with UIDONLY" {
    mkdir -p b/mail/b.test/jo/Maildir/{cur,new,tmp}
    for ((i = 0; i < 1300; i++)); do printf 'Subject: %s\n\nx\n' $i > b/mail/b.test/jo/Maildir/new/$((1000000000 + i)).x.b; done
    story <<'PY'
c("ENABLE UIDONLY"); c("SELECT INBOX")
c("UID STORE 100:150,1300 +FLAGS.SILENT (\\Deleted)"); c("EXPUNGE")
uids = [int(x.split()[1]) for x in c("UID FETCH 1:* FLAGS")]
assert len(uids) == 1248, len(uids)
def batches(args):
    line = c("UIDBATCHES " + args)[0]
    assert line.startswith('* UIDBATCHES (TAG "t%d")' % c.n), line
    rest = line.split(")", 1)[1].strip()
    return [tuple(int(x) for x in r.split(":")) for r in rest.split(",")] if rest else []
all_ = batches("500")
assert all_[0][0] == 1299 and all_[-1][1] == 1, all_
assert all(a[1] - 1 == b[0] for a, b in zip(all_, all_[1:])), all_
sizes = [sum(lo <= u <= hi for u in uids) for hi, lo in all_]
assert sizes == [500, 500, 248], sizes
assert batches("500 2:3") == all_[1:] and batches("500 4:5") == [] and len(batches("1248")) == 1 and len(batches("1247")) == 2
c("UIDBATCHES 10", "NO"); assert "TOOFEW" in c.tagged
c("FETCH 1 FLAGS", "BAD"); assert "UIDREQUIRED" in c.tagged
PY
}

@test "imap-hide and imap-message-limit: what is hidden is not offered; a limited command says how far it came" {
    stop "$PID"
    printf 'imap-hide COMPRESS=DEFLATE notify\nimap-message-limit 2\n' >> b.conf
    serve b
    story <<'PY'
words = c("CAPABILITY")[0].split()
assert "MESSAGELIMIT=2" in words and "NOTIFY" not in words and "COMPRESS=DEFLATE" not in words and "IDLE" in words
for i in range(5): deliver()
c("SELECT INBOX")
assert len(c("UID FETCH 1:* FLAGS")) == 2 and "[MESSAGELIMIT 2 4]" in c.tagged, c.tagged
assert len(c("UID FETCH 1:3 FLAGS")) == 2 and "[MESSAGELIMIT 2 2]" in c.tagged
assert len(c("UID FETCH 1 FLAGS")) == 1 and "MESSAGELIMIT" not in c.tagged
c("CREATE Box"); c("COPY 1:3 Box", "NO"); assert "[MESSAGELIMIT 2]" in c.tagged
c("MOVE 1:* Box"); assert "[MESSAGELIMIT 2 4]" in c.tagged or c.told("MESSAGELIMIT"), (c.tagged, c.last)
assert c("STATUS Box (MESSAGES)")[0].endswith("(MESSAGES 2)")
PY
    printf 'imap-hide NOSUCH\n' >> b.conf
    run "$POSTBAG" serve -C b.conf
    [[ $status == 78 && $output == *'imap-hide: "NOSUCH" is no IMAP capability'* ]]
}
