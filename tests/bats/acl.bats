# acl: mailboxes shared between accounts (RFC 4314), by real sessions on the real store.
load helper

story_setup() {
    free_port IMAP
    site b "listen imap 127.0.0.1:$IMAP"
    user b jo
    user b ann
    user b eve
    serve b
}
# Python on standard input: jo, ann and eve are sessions of theirs.
story() {
    { cat <<PY
import re, subprocess, time
from imapline import Line
def deliver(to, text="From: a@a.test\nSubject: hello\n\nbody\n"):
    subprocess.run(["$POSTBAG", "deliver", "-C", "b.conf", to], input=text.encode(), check=True)
def login(who): return Line($IMAP, who, "secret")
def names(c, command='LIST "" *'): return {re.search(r'"/" "?([^"]*)"?$', x).group(1): x.split("(")[1].split(")")[0] for x in c(command) if "LIST" in x or "LSUB" in x}
def flags(c, n): return set(re.search(r"FLAGS \(([^)]*)\)", c("FETCH %s FLAGS" % n)[0]).group(1).split()) - {"\\Recent"}
jo, ann, eve = login("jo"), login("ann"), login("eve")
J, A = "Other Users/jo@b.test", "Other Users/ann@b.test"
PY
    cat; } > story.py
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py >> log 2>&1
}

@test "the owner sees his rights; what is not shared is not there for others" {
    story <<'PY'
assert "ACL" in jo("CAPABILITY")[0].split() and "RIGHTS=texk" in jo("CAPABILITY")[0].split()
assert jo("MYRIGHTS INBOX") == ["* MYRIGHTS INBOX lrswipkxteacd"]
assert jo("GETACL INBOX") == ['* ACL INBOX "jo@b.test" lrswipkxteacd']
assert '(("Other Users/" "/"))' in jo("NAMESPACE")[0]
jo("CREATE Work")
for command in ('SELECT "%s"', 'SELECT "%s/Work"', 'STATUS "%s" (MESSAGES)', 'MYRIGHTS "%s/Work"', 'GETACL "%s"', 'LISTRIGHTS "%s" ann',
                'SETACL "%s" ann lr', 'DELETEACL "%s" ann', 'DELETE "%s/Work"', 'RENAME "%s/Work" Mine', 'CREATE "%s/New"', 'SUBSCRIBE "%s/Work"', 'GETMETADATA "%s" /private/comment', 'GETQUOTAROOT "%s"'):
    ann(command % J, "NO"); real = ann.tagged
    ann(command.replace("Work", "None") % J.replace("jo", "xx"), "NO")
    assert real == ann.tagged, (command, real, ann.tagged) # not even whether it is there is told
assert not any("Other" in n for n in names(ann))
for name in ('"Other Users"', '"Other Users/"', '"Other Users/ann@b.test"', '"Other Users//x"', '"Other Users/../x"'):
    ann("SELECT " + name, "NO"); ann("CREATE " + name, "NO"); ann("DELETE " + name, "NO")
jo("SETACL INBOX nobody lr", "NO"); jo("SETACL INBOX jo lr", "NO"); jo("SETACL None ann lr", "NO"); jo("SETACL INBOX ann lR", "BAD")
assert jo("LISTRIGHTS INBOX jo")[0].endswith('"jo" lrswipkxteacd') and jo("LISTRIGHTS INBOX ann")[0].endswith('"ann" "" l r s w i p k x t e a c d')
PY
}

@test "lr: listed, read, and nothing else; taken back it is gone" {
    story <<'PY'
deliver("jo"); deliver("jo")
jo("CREATE Work"); jo("SELECT INBOX"); jo("COPY 1:2 Work")
jo("SETACL Work ann lr"); jo("SETACL Work eve l")
assert jo("GETACL Work") == ['* ACL Work "jo@b.test" lrswipkxteacd "ann@b.test" lr "eve@b.test" l']
n = names(ann)
assert n[J + "/Work"] == "\\HasNoChildren" and "\\Noselect" in n[J] and "\\Noselect" in n["Other Users"] and "\\HasChildren" in n[J], n
assert set(names(ann, 'LIST "" %')) >= {"INBOX", "Other Users"} and set(names(ann, 'LIST "Other Users/" %')) == {J}
assert ann('MYRIGHTS "%s/Work"' % J)[0].endswith(" lr")
ann('SELECT "%s/Work"' % J); assert "[READ-ONLY]" in ann.tagged, ann.tagged
assert any("PERMANENTFLAGS ()" in x for x in ann.last), ann.last
assert len(ann("FETCH 1:* (FLAGS BODY[])")) == 2 and "\\Seen" not in flags(ann, 1)
for command in ("STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "MOVE 1 INBOX", "UID EXPUNGE 1"): ann(command, "NO")
ann("COPY 1 INBOX"); ann('APPEND "%s/Work"' % J, b"x: y\r\n\r\n", "NO"); assert "NOPERM" in ann.tagged
ann('SELECT INBOX'); ann('COPY 1 "%s/Work"' % J, "NO"); assert "NOPERM" in ann.tagged
for command in ('DELETE "%s/Work"', 'RENAME "%s/Work" "%s/W2"' % ("%s", J), 'CREATE "%s/Work/Sub"', 'GETACL "%s/Work"', 'SETACL "%s/Work" ann lrx'):
    ann(command % J, "NO"); assert "NOPERM" in ann.tagged, (command, ann.tagged)
eve('SELECT "%s/Work"' % J, "NO"); assert "NOPERM" in eve.tagged
ann('SUBSCRIBE "%s/Work"' % J); assert J + "/Work" in names(ann, 'LSUB "" *')
assert "\\Subscribed" in names(ann, 'LIST (SUBSCRIBED) "" *')[J + "/Work"]
assert any("MESSAGES 2" in x for x in ann('LIST "" "*" RETURN (STATUS (MESSAGES))') if "Work" in x), ann.last
jo("DELETEACL Work ann")
assert not any("Other" in x for x in names(ann)); ann('SELECT "%s/Work"' % J, "NO"); assert "NONEXISTENT" in ann.tagged
assert "\\NonExistent" in names(ann, 'LIST (SUBSCRIBED) "" *')[J + "/Work"]
PY
}

@test "each right lets do just what it is for" {
    story <<'PY'
for i in range(3): deliver("jo")
W = '"%s"' % J
def rights(r):
    jo("SETACL INBOX ann lr" + r); ann("UNSELECT"); ann("SELECT " + W)
jo("SELECT INBOX"); ann("SELECT INBOX")
rights("s"); ann("STORE 1 +FLAGS (\\Seen \\Flagged \\Deleted)"); assert flags(ann, 1) == {"\\Seen"}, flags(ann, 1)
ann("STORE 1 +FLAGS (\\Flagged)", "NO"); assert "NOPERM" in ann.tagged
ann("FETCH 2 BODY[]"); assert "\\Seen" in flags(ann, 2)
jo("STORE 1 +FLAGS (\\Flagged kept)"); jo("NOOP"); ann("NOOP")
ann("STORE 1 FLAGS ()"); assert flags(ann, 1) == {"\\Flagged", "kept"}, flags(ann, 1)     # only what she may change
ann("STORE 1 FLAGS (\\Seen \\Draft)"); assert flags(ann, 1) == {"\\Flagged", "kept", "\\Seen"}
rights("w"); ann("STORE 1 FLAGS (\\Answered new)"); assert flags(ann, 1) == {"\\Answered", "new", "\\Seen"}, flags(ann, 1)
ann("FETCH 3 BODY[]"); assert "\\Seen" not in flags(ann, 3)
rights("t"); ann("STORE 1 +FLAGS (\\Deleted)"); ann("EXPUNGE", "NO"); ann("CLOSE"); ann("SELECT " + W); assert any("3 EXISTS" in x for x in ann.last)
rights("te"); ann("EXPUNGE"); assert ann.last == ["* 1 EXPUNGE"]; jo("NOOP"); assert jo.told("EXPUNGE")
rights("e"); ann("MOVE 1 Drafts", "NO"); assert "NOPERM" in ann.tagged
rights("te"); ann("MOVE 1 Drafts"); assert ann.told("COPYUID")
rights("i"); ann("APPEND %s (\\Seen \\Flagged mine)" % W, b"Subject: in\r\n\r\nx\r\n"); ann("NOOP"); assert flags(ann, 2) == set(), flags(ann, 2)
ann("SELECT Drafts"); ann("STORE 1 +FLAGS (\\Flagged \\Deleted)"); ann("COPY 1 " + W); assert "COPYUID" in ann.tagged; ann("EXAMINE " + W); assert flags(ann, 3) == set(), flags(ann, 3)
jo("NOOP"); jo("FETCH 2:3 BODY.PEEK[]"); assert len(jo.last) == 2
jo("SETACL INBOX ann lrk"); ann('CREATE "%s/Made"' % J); assert "Made" in names(jo)
assert ann('MYRIGHTS "%s/Made"' % J)[0].endswith(" lrkc")                                     # as the one above it
ann('DELETE "%s/Made"' % J, "NO"); jo("SETACL Made ann +x"); ann('RENAME "%s/Made" "%s/Made2"' % (J, J)); ann('RENAME "%s/Made2" Mine' % J, "NO"); ann('DELETE "%s/Made2"' % J); assert "Made2" not in names(jo)
jo("SETACL INBOX ann lra"); ann("SETACL %s eve lr" % W); eve("SELECT " + W); ann("DELETEACL %s eve" % W); eve("SELECT " + W, "NO")
jo("SETACL INBOX anyone lr"); eve("SELECT " + W); assert J in names(eve)
jo("SETACL INBOX -eve r"); eve("SELECT " + W, "NO"); assert "NOPERM" in eve.tagged
assert eve("MYRIGHTS " + W)[0].endswith(" l")
jo("DELETEACL INBOX anyone"); jo("SETACL INBOX ann lrst"); ann("SELECT " + W); jo("SETACL INBOX ann lrs"); ann("NOOP")        # taken while she is in it
ann("STORE 1 +FLAGS (\\Deleted)", "NO"); assert "NOPERM" in ann.tagged
jo("DELETEACL INBOX ann"); ann("NOOP"); assert ann.told("EXPUNGE"); ann("FETCH 1 BODY[]", "BAD"); deliver("jo"); ann("NOOP"); assert ann.last == []
PY
}

@test "what happens in a shared mailbox is seen by all, in IDLE too; REPLACE needs the right to remove; rights live on" {
    story <<'PY'
deliver("jo")
W = '"%s"' % J
jo("SETACL INBOX ann lrswite"); ann("SELECT " + W); ann("STORE 1 +FLAGS (\\Seen)")
ann("REPLACE 1 " + W, b"Subject: anew\r\n\r\nx\r\n")
ann.send("IDLE")
while not ann.line().startswith("+"): pass
deliver("jo")
while "EXISTS" not in (x := ann.line()): assert x
ann.write(b"DONE\r\n"); ann.wait()
jo("SETACL INBOX ann lrswi"); ann("SELECT " + W); ann("REPLACE 1 " + W, b"Subject: no\r\n\r\nx\r\n", "NO"); assert "NOPERM" in ann.tagged
ann("NOOP"); assert any("2 EXISTS" in x for x in ann("SELECT " + W)), ann.last
jo("CREATE Work"); jo("SETACL Work ann lr"); jo("RENAME Work Old"); assert J + "/Old" in names(ann) and J + "/Work" not in names(ann)
jo("DELETE Old"); assert J + "/Old" not in names(ann)
PY
    stop "$PID"
    serve b
    story <<'PY'
assert jo("GETACL INBOX")[0].endswith('"ann@b.test" lrswi'), jo.last
assert J in names(ann)
PY
}

@test "COPY and MOVE to a home on another file system" {
    FAR=$(mktemp -d /dev/shm/postbag.XXXXXX)
    [[ $(stat -c %d "$FAR") != $(stat -c %d "$T") ]]
    printf 'far@b.test:{PLAIN}secret::::%s\n' "$FAR" >> b/accounts
    "$POSTBAG" account list -C b.conf >> log
    story <<'PY'
for i in range(3): deliver("jo", "Subject: %d\n\nbody\n" % i)
far = login("far")
jo("SETACL INBOX far lrswite"); jo("SELECT INBOX"); jo("STORE 1 +FLAGS (\\Flagged kept)"); dates = jo("FETCH 1:3 INTERNALDATE")
far("SELECT " + '"%s"' % J); far("COPY 1:2 INBOX"); assert "COPYUID" in far.tagged; far("MOVE 3 INBOX")
far("SELECT INBOX"); assert far.told("EXISTS") == ["* 3 EXISTS"], far.last
assert far("FETCH 1:3 INTERNALDATE") == dates
assert flags(far, 1) == {"\\Flagged", "kept"} and [x for x in far("FETCH 1:3 BODY.PEEK[]") if "body" not in x] == []
jo("NOOP"); assert len(jo.told("EXPUNGE")) == 1
PY
    [[ -n $(find "$FAR" -path '*/cur/*' -type f) && -z $(find "$FAR" -path '*/tmp/*' -type f) ]]
}
story_teardown() { [[ -z ${FAR:-} ]] || rm -rf "$FAR"; }
