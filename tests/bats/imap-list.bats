load helper
load dovecot

story_setup() {
    printf 'pw\n' > pw
    chmod 600 pw
}
story_teardown() { dovecot_end; }

look() { local want=$1; shift; run_postbag "$want" imap-list --password-file pw "$@"; }

# Our own server, with the account u1 like Dovecot's; $U is the URL without a mailbox.
ours() {
    free_port IMAP IMAPS
    site b "listen imap 127.0.0.1:$IMAP" "listen imaps 127.0.0.1:$IMAPS"
    user b u1 pw
    serve b
    U=imap://u1@127.0.0.1:$IMAP
}
put() { "$POSTBAG" deliver -C b.conf u1; }
theirs() {
    dovecot_start
    U=imap://u1@127.0.0.1:$IMAP
}
raw() { "$POSTBAG" imap-list --password-file pw "$U" --raw > raw.out 2> raw.err; }

@test "Dovecot and our server give the same answers" {
    theirs
    dovecot_mail u1 40
    for f in "$DOVE"/mail/u1/Maildir/new/*; do cp "$f" "$(basename "$f").eml"; done
    printf 'a CREATE "Gr&APwA3w-e"\nb STORE 1 FLAGS (\\Seen)\n' | raw
    look 0 "$U/" --json
    cp out dovecot.boxes
    look 0 "$U/INBOX" --json
    cp out dovecot.list
    look 0 "$U/INBOX" --json --search 'OR SUBJECT 7 SUBJECT 13'
    cp out dovecot.found
    ours
    for f in *.eml; do printf 'x APPEND INBOX {%d}\n' "$(wc -c < "$f")"; cat "$f"; printf '\n'; done | raw
    [[ $(grep -c 'x OK' raw.out) == 40 ]]
    printf 'a CREATE "Gr&APwA3w-e"\n' | raw
    look 0 "$U/" --json
    cp out our.boxes
    look 0 "$U/INBOX" --json
    cp out our.list
    look 0 "$U/INBOX" --json --search 'OR SUBJECT 7 SUBJECT 13'
    cp out our.found
    python3 - <<'PY'
import json
load = lambda f: [json.loads(l) for l in open(f)]
same = ("uid", "size", "date", "from", "to", "subject", "message_id")
for what in ("list", "found"):
    a, b = ([{k: m[k] for k in same} for m in load(f"{who}.{what}")] for who in ("dovecot", "our"))
    assert a == b and a, what
a, b = ({m["mailbox"]: (m["messages"], m["uidnext"], m["size"]) for m in load(f"{who}.boxes")} for who in ("dovecot", "our"))
assert "Grüße" in a and all(b[k] == v for k, v in a.items()), (a, b)
PY
}

@test "mailboxes come as a table with counts and special uses" {
    ours
    message u1@b.test | put
    look 0 "$U/"
    head -1 out | grep -q 'MESSAGES.*UNSEEN.*UIDNEXT.*UIDVALIDITY.*USE.*MAILBOX'
    sed -n 2p out | grep -Eq '^ +1 +1 +2 +[0-9]+ .*INBOX$'
    grep -Eq ' sent +Sent$' out
    look 0 "$U" --json
    json_is 'd["mailbox"] == "INBOX" and d["messages"] == 1 and {x["use"] for x in o} >= {"sent", "junk", "trash"}'
}

@test "messages are aligned, decoded, and cannot write on the terminal" {
    ours
    printf 'From: =?utf-8?q?J=C3=BCrgen?= <j@x.test>\nSubject: =?utf-8?b?GzJK44OG?= \033]0;evil\007 %s\nDate: Mon, 7 Feb 1994 21:52:25 -0800\n\nx\n' \
        "$(printf 'long%.0s' $(seq 100))" | put
    look 0 "$U/INBOX"
    out_has 'Jürgen   '
    out_has '1994-02-08T05:52:25Z'
    ! grep -q "$(printf '[\033\007]')" out
    [[ $(wc -L < out) -lt 150 ]]
    look 0 "$U/INBOX" --json
    json_is 'd["from"] == [{"name": "Jürgen", "address": "j@x.test"}] and d["date"] == "1994-02-08T05:52:25Z"'
}

@test "looking changes nothing" {
    ours
    message u1@b.test | put
    look 0 "$U/INBOX"
    look 0 "$U/INBOX" --fetch 1
    look 0 "$U/" --json
    json_is 'd["unseen"] == 1'
}

@test "--search and --uid choose; an empty result is no error, a missing UID is 66" {
    ours
    for i in 1 2 3; do message u1@b.test "subject $i" | put; done
    look 0 "$U/INBOX" --json --search 'SUBJECT "subject 2"'
    json_is '[x["uid"] for x in o] == [2]'
    look 0 "$U/INBOX" --json --uid 2:3 --search 'NOT SUBJECT "subject 2"'
    json_is '[x["uid"] for x in o] == [3]'
    look 0 "$U/INBOX" --search 'SUBJECT nothing'
    [[ ! -s out ]]
    look 66 "$U/INBOX" --uid 99
    one_error_line imap-list
    look 64 "$U/INBOX" --search 'NO SUCH KEY'
    one_error_line imap-list
    look 64 "$U/INBOX" --search $'ALL\r\nx DELETE Sent'
    look 64 "$U/INBOX" --uid '1 (FLAGS)'
    look 0 "$U/"
    out_has Sent
}

@test "--fetch gives the message octet for octet" {
    theirs
    dovecot_mail u1 20
    for i in 1 7 20; do
        look 0 "$U/INBOX" --fetch $i
        f=$(printf '%s' "$DOVE"/mail/u1/Maildir/new/$((1699999999 + i)).M*)
        sed 's/$/\r/' "$f" | cmp - out
    done
    look 66 "$U/INBOX" --fetch 99
    look 64 "$U/INBOX" --fetch 1:2
}

@test "--save writes each message once, and knows its mailbox" {
    theirs
    dovecot_mail u1 30
    look 0 "$U/INBOX" --save got --uid 1:10
    [[ $(find got -name '*.eml' | wc -l) == 10 ]]
    printf 'mine\n' > got/11.eml
    look 0 "$U/INBOX" --save got
    [[ $(find got -name '*.eml' | wc -l) == 30 && $(cat got/11.eml) == mine ]]
    err_has "11 messages were there already"
    sed 's/$/\r/' "$DOVE"/mail/u1/Maildir/new/1700000004.M4* | cmp - got/5.eml
    [[ -z $(find got -name '*.part') ]]
    printf 'a CREATE other\n' | raw
    look 73 "$U/other" --save got
    one_error_line imap-list
}

watch_story() {
    start watch "$POSTBAG" imap-list --password-file pw "$U/INBOX" --watch --timeout 20s --json
    local pid=$PID
    sleep 1
    printf 'a SELECT INBOX\nb STORE 1 FLAGS (\\Flagged)\nc STORE 2 +FLAGS.SILENT (\\Deleted)\nd EXPUNGE\ne APPEND INBOX {17}\nSubject: just in\n\nf NOOP\n' | raw
    wait_for 10 grep -q 'just in' watch.out
    wait_for 10 grep -q '"event":"gone","uid":2' watch.out
    wait_for 10 grep -q '"event":"flags","uid":1,"flags":\["\\\\Flagged"' watch.out
    kill "$pid"
}

@test "--watch tells what comes, goes and changes, at Dovecot" {
    theirs
    dovecot_mail u1 3
    watch_story
}

@test "--watch tells what comes, goes and changes, at our server; --timeout ends it" {
    ours
    for i in 1 2 3; do message u1@b.test "subject $i" | put; done
    watch_story
    look 0 "$U/INBOX" --watch --timeout 1s
    [[ ! -s out ]]
}

@test "--caps names the RFC of each capability" {
    theirs
    look 0 "$U" --caps
    grep -Eq '^IDLE +RFC 2177$' out
    look 0 "$U" --caps --json
    json_is 'any(x["capability"] == "QRESYNC" and x["rfc"] == 7162 for x in o)'
}

@test "--raw relays, with literals as they are" {
    ours
    printf 'a APPEND INBOX {10}\nA: b\n\nc\r\nd\nb SELECT INBOX\nc FETCH 1 BODY[]\n' > in
    run_postbag 0 imap-list --password-file pw "$U" --raw < in
    out_has 'a OK'
    out_has '* 1 EXISTS'
    out_has 'c OK'
    out_has 'LOGOUT' || out_has 'Logout'
}

@test "TLS is checked: an unknown certificate is 75 with the reason" {
    theirs
    look 75 "imaps://u1@localhost:$IMAPS/"
    one_error_line imap-list
    err_has certificate
    look 0 "imaps://u1@localhost:$IMAPS/" --tls-ca "$DOVE/cert.pem"
    look 0 "imap://u1@localhost:$IMAP/" --require-tls --tls-ca "$DOVE/cert.pem"
    look 0 "imaps://u1@localhost:$IMAPS/" --insecure
    look 64 "imaps://u1@localhost:$IMAPS/" --plaintext
}

@test "wrong password 77, no mailbox 66, nobody there 75, no IMAP 76, bad command line 64" {
    ours
    look 66 "$U/Nowhere"
    one_error_line imap-list
    printf 'no\n' > pw
    look 77 "$U/"
    one_error_line imap-list
    free_port A G S
    look 75 "imap://u1@127.0.0.1:$A/"
    peer "$G" garbage
    look 76 "imap://u1@127.0.0.1:$G/"
    peer "$S" silent
    SECONDS=0
    look 75 "imap://u1@127.0.0.1:$S/" --timeout 2s
    [[ $SECONDS -lt 8 ]]
    look 64 "imap://127.0.0.1/"
    look 64 "pop3://u1@127.0.0.1/"
    look 64 "$U/" --fetch 1
    look 64 "$U/INBOX" --fetch 1 --watch
    look 64 "$U/IN%4" --fetch 1
    chmod 644 pw
    look 77 "$U/"
    err_has pw
}

@test "a password in the URL works on the loopback and does not stay in the process list" {
    ours
    message u1@b.test | put
    start watch "$POSTBAG" imap-list "imap://u1:pw@127.0.0.1:$IMAP/INBOX" --watch --timeout 5s
    sleep 0.5
    ! tr '\0' ' ' < "/proc/$PID/cmdline" | grep -q ':pw@'
    kill "$PID"
}
