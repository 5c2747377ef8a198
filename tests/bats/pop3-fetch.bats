load helper
load dovecot

story_setup() {
    printf 'hostname mail.a.test\ndomain a.test\ndata %s\n' "$T/data" > c.conf
    printf 'pw\n' > pw
    chmod 600 pw
}
story_teardown() { dovecot_end; }

fetch() { local want=$1; shift; run_postbag "$want" pop3-fetch -C c.conf --password-file pw "$@"; }
same_mail() { [[ $(sums "$1") == "$(sums "$2")" && -n $(sums "$1") ]]; }

@test "every message comes over byte for byte, then the maildrop is empty" {
    dovecot_start
    dovecot_mail u1 150
    cp -r "$DOVE/mail/u1/Maildir" want
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --maildir got
    out_has "150 messages fetched"
    out_has "150 deleted"
    same_mail want got
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --maildir got
    out_has "0 messages fetched"
}

@test "over TLS with a certificate that is checked, by pop3s and by STLS" {
    dovecot_start
    dovecot_mail u1 3
    fetch 0 "pop3s://u1@localhost:$POP3S" --tls-ca "$DOVE/cert.pem" --maildir got --keep
    fetch 0 "pop3://u1@localhost:$POP3" --require-tls --tls-ca "$DOVE/cert.pem" --maildir other \
        --keep --state other-state
    same_mail "$DOVE/mail/u1/Maildir" got
    same_mail got other
}

@test "a certificate nobody vouches for is refused with the reason, unless --insecure" {
    dovecot_start
    dovecot_mail u1 1
    fetch 75 "pop3s://u1@127.0.0.1:$POP3S" --list
    one_error_line pop3-fetch
    err_has certificate
    fetch 0 "pop3s://u1@127.0.0.1:$POP3S" --list --insecure
}

@test "--keep leaves all there and does not fetch twice" {
    dovecot_start
    dovecot_mail u1 20
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --maildir got --keep
    same_mail "$DOVE/mail/u1/Maildir" got
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --maildir got --keep --json
    json_is 'o[-1]["fetched"] == 0 and o[-1]["known"] == 20 and o[-1]["deleted"] == 0'
    [[ $(find got -type f | wc -l) == 20 ]]
}

@test "--list as a table and as JSON changes nothing" {
    dovecot_start
    dovecot_mail u1 4
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --list
    out_has "4 messages"
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --list --json
    json_is 'len(o) == 4 and all(x["number"] and x["size"] and x["uid"] for x in o)'
    [[ ! -e data/state ]]
}

@test "--limit and --max-size leave the rest on the server" {
    dovecot_start
    dovecot_mail u1 10
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --maildir got --limit 3
    [[ $(find got -type f | wc -l) == 3 ]]
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --maildir got --max-size 1
    out_has "0 messages fetched"
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --maildir got
    [[ $(find got -type f | wc -l) == 10 ]]
}

@test "an mbox holds all of them, with From lines quoted" {
    dovecot_start
    dovecot_mail u1 12
    cp -r "$DOVE/mail/u1/Maildir" want
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --mbox box
    [[ ! -e box.lock ]]
    python3 - box want/new <<'PY'
import mailbox, os, re, sys
raw = open(sys.argv[1], "rb").read()
parts = re.split(rb"(?m)^From [^\n]* \d{4}\n", raw)[1:]
got = sorted(re.sub(rb"(?m)^>(>*From )", rb"\1", p[:-1]) for p in parts)
want = sorted(open(os.path.join(sys.argv[2], f), "rb").read() for f in os.listdir(sys.argv[2]))
assert got == want, (len(got), len(want))
assert len(mailbox.mbox(sys.argv[1])) == 12
PY
}

@test "a command gets each message; where it fails the message stays" {
    dovecot_start
    dovecot_mail u1 5
    cp -r "$DOVE/mail/u1/Maildir" want
    mkdir -p got/new
    cat > take <<'EOF'
cat > one; grep -q '^Subject: 3$' one && exit 1
mv one "got/new/$(sha256sum < one | cut -c1-20)"
EOF
    fetch 75 "pop3://u1@127.0.0.1:$POP3" --command 'sh ./take'
    err_has "stays on the server"
    [[ $(find got -type f | wc -l) == 4 ]]
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --list
    out_has "1 message,"
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --command 'cat > got/new/last'
    same_mail want got
}

@test "--deliver gives the mail to a local user; an unknown one is 67 and touches nothing" {
    mkdir data
    printf 'ann@a.test:{PLAIN}x\n' > data/accounts
    dovecot_start
    dovecot_mail u1 2
    fetch 67 "pop3://u1@127.0.0.1:$POP3" --deliver nobody
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --deliver ann
    [[ $(find data/mail/a.test/ann/Maildir/new -type f | wc -l) == 2 ]]
    grep -q '^Delivered-To: ann@a.test' data/mail/a.test/ann/Maildir/new/*
}

@test "--stdout and --top print and leave everything there" {
    dovecot_start
    dovecot_mail u1 2
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --stdout
    [[ $(grep -c '^From MAILER-DAEMON ' out) == 2 ]]
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --top 0
    [[ $(grep -c '^Message-ID: ' out) == 2 ]]
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --list
    out_has "2 messages"
}

@test "a wrong password is 77, with what the server says" {
    dovecot_start
    printf 'no\n' > pw
    fetch 77 "pop3://u1@127.0.0.1:$POP3" --list
    one_error_line pop3-fetch
    err_has "Authentication failed"
}

@test "a maildrop in use is 75" {
    site b
    user b jo pw
    free_port P
    printf 'listen pop3 127.0.0.1:%s\n' "$P" >> b.conf
    serve b
    exec 8<> "/dev/tcp/127.0.0.1/$P"
    printf 'USER jo\r\nPASS pw\r\nNOOP\r\n' >&8
    for _ in 1 2 3 4; do read -r -t 5 line <&8; done
    [[ $line == +OK* ]]
    fetch 75 "pop3://jo@127.0.0.1:$P" --list
    exec 8>&-
    err_has IN-USE
}

@test "nobody listens: 75; who speaks something else: 76; who says nothing: 75 in time" {
    free_port A G S
    fetch 75 "pop3://u1@127.0.0.1:$A" --list
    one_error_line pop3-fetch
    peer "$G" garbage
    fetch 76 "pop3://u1@127.0.0.1:$G" --list
    peer "$S" silent
    SECONDS=0
    fetch 75 "pop3://u1@127.0.0.1:$S" --list --timeout 2
    ((SECONDS < 10))
}

more_than() { [[ $(find got/new got/cur -type f 2> /dev/null | wc -l) -gt $1 ]]; }

@test "kill -9 in the middle loses nothing and leaves no twin, not even of a message read since" {
    local cuts=0 have
    dovecot_start
    dovecot_mail u1 1500
    cp -r "$DOVE/mail/u1/Maildir" want
    for _ in 1 2 3 4 5 6; do
        have=$(find got/new got/cur -type f 2> /dev/null | wc -l)
        "$POSTBAG" pop3-fetch -C c.conf --password-file pw "pop3://u1@127.0.0.1:$POP3" \
            --maildir got -q < /dev/null 3>&- &
        wait_for 20 more_than "$have"
        if kill -9 $! 2> /dev/null; then cuts=$((cuts + 1)); fi
        wait $! || true
        for f in got/new/*; do [[ ! -e $f ]] || mv "$f" "got/cur/${f##*/}:2,S"; done
        [[ $(find got/cur -type f | wc -l) -lt 1400 ]] || break
    done
    ((cuts > 0))
    # The server may hold the maildrop a moment after a client vanished.
    wait_for 20 "$POSTBAG" pop3-fetch -C c.conf --password-file pw "pop3://u1@127.0.0.1:$POP3" --maildir got
    same_mail want got
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --list
    out_has "0 messages"
}

@test "a line that breaks before QUIT deletes nothing, and next time nothing comes twice" {
    dovecot_start
    dovecot_mail u1 30
    cp -r "$DOVE/mail/u1/Maildir" want
    free_port CUT
    # A relay that ends both sides when the client says QUIT.
    cat > cut.py <<'PY'
import socket, sys, threading
l = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    c, _ = l.accept()
    s = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    def back():
        while b := s.recv(65536):
            c.sendall(b)
    threading.Thread(target=back, daemon=True).start()
    try:
        while b := c.recv(65536):
            if b"QUIT" in b: break
            s.sendall(b)
    except OSError: pass
    for x in (s, c):
        try: x.shutdown(2)
        except OSError: pass
        x.close()
PY
    start cut python3 cut.py "$CUT" "$POP3"
    wait_port "$CUT"
    fetch 75 "pop3://u1@127.0.0.1:$CUT" --maildir got --state s
    err_has "next time"
    same_mail want got
    fetch 0 "pop3://u1@127.0.0.1:$POP3" --maildir got --state s
    out_has "0 messages fetched"
    out_has "30 deleted"
    same_mail want got
}

@test "a server without UIDL: --keep goes by the header, and says so" {
    free_port P
    cat > old.py <<'PY'
import socketserver, sys
M = [b"Subject: %d\r\n\r\nbody %d\r\n..dot\r\n" % (i, i) for i in range(3)]
class H(socketserver.StreamRequestHandler):
    def handle(self):
        say = lambda t: self.wfile.write(t + b"\r\n")
        say(b"+OK old")
        for line in self.rfile:
            w = line.upper().split()
            if w[0] in (b"USER", b"PASS", b"DELE", b"NOOP"): say(b"+OK")
            elif w[0] == b"LIST": say(b"+OK"); [say(b"%d %d" % (i + 1, len(m))) for i, m in enumerate(M)]; say(b".")
            elif w[0] == b"RETR": say(b"+OK"); self.wfile.write(M[int(w[1]) - 1]); say(b".")
            elif w[0] == b"TOP": say(b"+OK"); self.wfile.write(M[int(w[1]) - 1].split(b"\r\n\r\n")[0] + b"\r\n\r\n"); say(b".")
            elif w[0] == b"QUIT": say(b"+OK"); return
            else: say(b"-ERR what")
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
PY
    start old python3 old.py "$P"
    wait_port "$P"
    fetch 0 "pop3://u1@127.0.0.1:$P" --maildir got --keep
    err_has "header"
    out_has "3 messages fetched"
    fetch 0 "pop3://u1@127.0.0.1:$P" --maildir got --keep
    out_has "3 known"
    [[ $(find got/new -type f | wc -l) == 3 ]]
}

@test "our own server: fetched whole over TLS, deleted there" {
    site b
    user b jo pw
    free_port P
    printf 'listen pop3s 127.0.0.1:%s\n' "$P" >> b.conf
    serve b
    for i in 1 2 3; do message jo "$i" | "$POSTBAG" deliver -C b.conf jo; done
    cp -r "$(maildir b jo)" want
    fetch 0 "pop3s://jo@127.0.0.1:$P" --insecure --maildir got

    [[ $(sums want/new) == "$(sums got/new)" && $(count_mail b jo) == 0 ]]
}

@test "nonsense on the command line is 64" {
    fetch 64 "pop3://u1@127.0.0.1:1"
    fetch 64 "pop3://u1@127.0.0.1:1" --list --maildir x
    fetch 64 "pop3://127.0.0.1:1" --list
    fetch 64 "imap://u1@127.0.0.1:1" --list
    fetch 64 "http://u1@127.0.0.1:1" --list
    fetch 64 "u1@127.0.0.1" --list
    fetch 64 "pop3s://u1@127.0.0.1:1" --list --plaintext
    one_error_line pop3-fetch
}

@test "a password file that others may read is 77" {
    chmod 644 pw
    fetch 77 "pop3://u1@127.0.0.1:1" --list
    one_error_line pop3-fetch
}
