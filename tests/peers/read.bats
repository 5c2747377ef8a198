# Mail read: other software reads from `postbag serve` by POP3 and IMAP. (The IMAP stories with curl,
# imaplib and mbsync are in tests/bats/imap.bats.)
load ../bats/helper
load peers

story_setup() {
    need openssl
    free_port POP POPS IMAP IMAPS
    make_cert localhost
    site a "listen pop3 127.0.0.1:$POP" "listen pop3s 127.0.0.1:$POPS" "listen imap 127.0.0.1:$IMAP" \
        "listen imaps 127.0.0.1:$IMAPS" "tls $T/localhost.pem $T/localhost.key"
    user a ann secret
    hard_message ann@a.test > hard
    big_message ann@a.test > big
    "$POSTBAG" deliver -C a.conf ann < hard
    "$POSTBAG" deliver -C a.conf ann < big
    serve a
}

@test "curl pop3:// and pop3s:// read the messages octet for octet" {
    need curl
    curl -sS --max-time 30 -u ann:secret "pop3://127.0.0.1:$POP/" | tee list >> log
    [[ $(grep -c '^[12] ' list) == 2 ]]
    curl -sS --max-time 30 -u ann:secret "pop3://127.0.0.1:$POP/1" > one
    same_body hard one
    curl -sS --max-time 30 --cacert localhost.pem -u ann:secret "pop3s://localhost:$POPS/2" > two
    same_body big two
    curl -sS --max-time 30 --ssl-reqd --cacert localhost.pem -u ann:secret "pop3://localhost:$POP/1" > three
    same_body hard three
    ! curl -sS --max-time 30 -u ann:wrong "pop3://127.0.0.1:$POP/" >> log 2>&1
}

@test "Python poplib: STAT, LIST, UIDL, TOP, RETR, DELE, RSET, CAPA, STLS" {
    python3 - "$POP" "$POPS" <<'PY' >> log 2>&1
import poplib, ssl, sys
c = ssl.create_default_context(cafile="localhost.pem")
p = poplib.POP3("localhost", int(sys.argv[1]), timeout=30)
capa = p.capa()
assert "UIDL" in capa and "TOP" in capa and "STLS" in capa, capa
p.stls(c)
p.user("ann@a.test"); p.pass_("secret")
n, size = p.stat()
assert n == 2
assert sum(int(x.split()[1]) for x in p.list()[1]) == size
uids = [x.split()[1] for x in p.uidl()[1]]
assert len(set(uids)) == 2
lines = p.retr(1)[1]
body = lines[lines.index(b"") + 1:]
assert body == open("hard", "rb").read().split(b"\n\n", 1)[1].rstrip(b"\n").split(b"\n"), body
top = p.top(2, 3)[1]
assert len(top[top.index(b"") + 1:]) == 3
p.dele(1); p.rset(); assert p.stat()[0] == 2
p.dele(1); p.quit()
p = poplib.POP3_SSL("localhost", int(sys.argv[2]), context=c, timeout=30)
p.user("ann"); p.pass_("secret")
assert p.stat()[0] == 1 and [x.split()[1] for x in p.uidl()[1]] == uids[1:]
p.quit()
PY
}

@test "mpop empties the maildrop into a Maildir, over TLS" {
    need mpop
    mkdir -p md/{cur,new,tmp}
    printf 'account default\nhost localhost\nport %s\nuser ann@a.test\npassword secret\nauth user\ntls on\ntls_starttls off\ntls_trust_file %s\ndelivery maildir %s\nkeep off\nuidls_file %s/uidls\nreceived_header off\n' \
        "$POPS" "$T/localhost.pem" "$T/md" "$T" > rc
    chmod 600 rc
    mpop -C rc >> log 2>&1
    [[ $(find md/new -type f | wc -l) == 2 ]]
    same_body hard "$(grep -l '^Subject: hard' md/new/*)"
    same_body big "$(grep -l '^Subject: big' md/new/*)"
    [[ $(count_mail a ann) == 0 ]]
}

@test "mbsync mirrors over implicit TLS, octet for octet" {
    need mbsync
    mkdir md
    cat > rc <<R
IMAPAccount a
Host localhost
Port $IMAPS
User ann@a.test
Pass secret
SSLType IMAPS
CertificateFile $T/localhost.pem

IMAPStore far
Account a

MaildirStore near
Path $T/md/
Inbox $T/md/INBOX

Channel c
Far :far:
Near :near:
Create Near
SyncState *
R
    mbsync -c rc c >> log 2>&1
    [[ $(find md/INBOX -path '*/[nc]*/*' -type f -name '*U=*' | wc -l) == 2 ]]
    same_body big "$(grep -l '^Subject: big' -r md/INBOX/new md/INBOX/cur)"
    same_body hard "$(grep -l '^Subject: hard' -r md/INBOX/new md/INBOX/cur)"
    mbsync -c rc c >> log 2>&1
}
