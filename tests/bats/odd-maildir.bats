# odd-maildir: what other programs, backups, users with a shell and accidents leave in a Maildir
# (field notes I-2, I-3), and that nothing of it ends the server or leads out of the account.
bats_require_minimum_version 1.5.0
load helper

story_setup() {
    free_port P
    site a "listen imap=127.0.0.1:$P"
    user a jo
    M=$(maildir a jo)
}
py() { { echo "from imapline import *; import os, sys; M, P = sys.argv[1:3]; c = Line(P, 'jo', 'secret')"; cat; } |
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 - "$M" "$P" >> log 2>&1; }

@test "a list of UIDs that lost its end gives no UID to another message" {
    serve a
    py <<'PY'
for i in range(9): c("APPEND INBOX", b"Subject: %d\r\n\r\nx" % i)
c("SELECT INBOX"); c("STORE 6 +FLAGS (\\Deleted)"); c("EXPUNGE")
c("LOGOUT")
PY
    stop "$SERVE"
    sed -i '6,$d' "$M/postbag-uidlist"
    serve a
    py <<'PY'
c("SELECT INBOX"); c("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (Subject)])")
uid = {int(re.search(r"Subject: (\d)", x).group(1)): int(re.search(r"UID (\d+)", x).group(1)) for x in c.told("FETCH")}
assert len(uid) == 8 and all(u == s + 1 or u > 9 for s, u in uid.items()), uid
PY
}

@test "a mailbox that came without its empty directories is one" {
    mkdir -p "$M/.Old/cur" "$M/cur"
    printf 'Subject: kept\n\nx\n' > "$M/.Old/cur/1.a:2,S"
    serve a
    py <<'PY'
c("SELECT Old"); assert c.told("1 EXISTS")
c("APPEND Old", b"Subject: new\r\n\r\nx"); c("APPEND INBOX", b"Subject: new\r\n\r\nx")
PY
    message jo@a.test | run_postbag 0 deliver -C a.conf jo
    has_mail a jo 2
}

@test "a symbolic link is followed only to what belongs to its owner" {
    [[ $(id -u) == 0 ]] || skip "only root can give files away"
    mkdir -p "$M/.real/cur" "$M"/{cur,new,tmp} other/{cur,new,tmp} mine/{cur,new,tmp}
    printf 'Subject: not yours\n\nx\n' > other/cur/1.a:2,S
    printf 'root-line\n' > secret
    ln -s "$T/other" "$M/.box"
    rmdir "$M/.real/cur"; ln -s "$T/other/cur" "$M/.real/cur"
    ln -s "$T/mine" "$M/.mine"
    ln -s "$T/secret" "$M/subscriptions"
    ln -s "$T/secret" "$M/postbag-keywords"
    chown -hR nobody: a/mail mine
    serve a
    py <<'PY'
c("SELECT box", "NO"); assert "/" not in c.tagged, c.tagged
c("SELECT real", "NO"); c("STATUS real (MESSAGES)", "NO"); c("SELECT mine")
c('LSUB "" "*"', "NO"); c("SELECT INBOX"); c("APPEND INBOX (wanted)", b"x", "NO"); c("APPEND INBOX", b"x"); c("STORE 1 +FLAGS (other)", "NO")
PY
    [[ $(cat secret) == root-line && ! -e other/postbag-uidlist ]]
}

@test "a file name without room for a flag holds no other message's flag back" {
    mkdir -p "$M"/{cur,new,tmp}
    for i in 1 "2$(printf 'n%.0s' {1..240})" 3; do printf 'Subject: x\n\nx\n' > "$M/cur/$i:2,FRST"; done
    serve a
    py <<'PY'
c("SELECT INBOX"); c("STORE 1:* +FLAGS (\\Draft k0 k1 k2 k3 k4 k5 k6 k7)", "NO")
assert len(c.told("\\Draft")) == 2 + 2, c.last
PY
}

@test "the memory of an index that is cut away ends nobody's session" {
    serve a
    py <<'PY'
c("APPEND INBOX", b"Subject: x\r\n\r\nx"); c("SELECT INBOX"); c("FETCH 1 (ENVELOPE)")
shm = os.path.join(M, "..", "postbag-index.db-shm")
for size in (16384, 0):
    assert os.path.getsize(shm) == 32768
    os.truncate(shm, size)
    for i in range(3): c("STORE 1 FLAGS (\\Seen k%d)" % i); c("APPEND INBOX", b"Subject: y\r\n\r\nx")
    d = Line(P, "jo", "secret"); d("SELECT INBOX"); d("FETCH 1:* (FLAGS ENVELOPE)"); assert len(d.told("ENVELOPE")) > 3
    d("LOGOUT"); c("LOGOUT"); c = Line(P, "jo", "secret"); c("SELECT INBOX"); c("STORE 1 FLAGS ()"); c("FETCH 1:* (ENVELOPE)")
PY
    stop "$SERVE"
    [[ $STATUS == 0 ]]
}

@test "a limit on the size of files refuses a message and nothing else" {
    start limited bash -c 'ulimit -f 2000; exec "$0" "$@"' "$POSTBAG" serve -C a.conf
    wait_port "$P"
    py <<'PY'
c("APPEND INBOX", b"x" * 4000000, "NO"); c("APPEND INBOX", b"Subject: x\r\n\r\nx")
c("SELECT INBOX"); assert c.told("1 EXISTS") and not os.listdir(M + "/tmp")
PY
}

@test "a message that cannot be read is not said to be expunged" {
    serve a
    py <<'PY'
for i in range(3): c("APPEND INBOX", b"Subject: %d\r\n\r\nx" % i)
c("SELECT INBOX")
name = sorted(os.listdir(M + "/cur") + os.listdir(M + "/new"))[1]
sub = "/cur/" if name in os.listdir(M + "/cur") else "/new/"
os.rename(M + sub + name, "away"); os.symlink(os.path.abspath("away"), M + sub + name)
c("UID FETCH 1:* BODY.PEEK[]", "NO"); assert "UNAVAILABLE" in c.tagged and len(c.told("BODY[]")) == 2, (c.tagged, c.last)
PY
}

@test "idle sessions leave descriptors for the work of the others" {
    start few bash -c 'ulimit -n 256; exec "$0" "$@"' "$POSTBAG" serve -C a.conf
    wait_port "$P"
    py <<'PY'
c("APPEND INBOX", b"Subject: x\r\n\r\nx"); c("SELECT INBOX"); idle = []
try:
    for i in range(100):
        d = Line(P, "jo", "secret"); d("SELECT INBOX"); d.send("IDLE"); d.line(); idle.append(d)
except (AssertionError, OSError): pass
assert 20 < len(idle) < 100, len(idle)
for x in ("NOOP", "UID FETCH 1 BODY[]", "COPY 1 Trash", 'LIST "" *', "STATUS Trash (MESSAGES)", "SELECT Trash"): c(x)
PY
    grep -q 'too many connections' few.err
    [[ $(grep -c 'open files' few.err) == 0 ]]
}

@test "a pipe in the place of one of the server's own files holds nobody" {
    mkdir -p "$M"/{cur,new,tmp}
    printf 'Subject: x\n\nx\n' > "$M/cur/1.a:2,Sa"
    for name in "$M/../postbag-index.db" "$M"/{postbag-uidlist,postbag-keywords,postbag-lock,postbag-uidvalidity,postbag-search} \
        "$M"/{maildirsize,subscriptions,dovecot-uidlist,dovecot-keywords,postbag-annotations,postbag-annotations-account,maildirfolder}; do
        rm -rf "$name"
        mkfifo "$name"
        serve a
        py <<'PY'
for command in ("SELECT INBOX", "STORE 1 +FLAGS (new)", 'LIST "" *', "SUBSCRIBE x", 'GETMETADATA INBOX /private/comment',
                'GETQUOTAROOT INBOX', "SEARCH BODY x", "CREATE x", "DELETE x"):
    c.send(command)
    while not c.line().startswith("t%d " % c.n): pass
PY
        stop "$SERVE"
        rm -f "$name"
    done
}

@test "mail for a Maildir that cannot be used waits in the queue" {
    free_port S
    site b "listen smtp=127.0.0.1:$S"
    user b jo
    local box=$T/b/mail/b.test/jo/Maildir
    mkdir -p "$box"/{cur,tmp}
    : > "$box/new"
    serve b
    python3 -c "import smtplib, sys; smtplib.SMTP('127.0.0.1', int(sys.argv[1])).sendmail('a@b.test', ['jo@b.test'], 'Subject: x\r\n\r\nx')" "$S"
    wait_for 5 grep -q 'deferred id=.* to=jo@b.test .*4\.3\.0' serve-b.err
    rm "$box/new"
    run_postbag 0 queue-run -C b.conf --all
    wait_for 10 has_mail b jo
}
