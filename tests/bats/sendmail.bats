load helper

# Without a daemon: the queue is read with queue-run. `sent ID` is what lies in the queue.
story_setup() {
    site a
    user a ann
    mkdir bin
    "$POSTBAG" --install bin > /dev/null
}
sm() { local want=$1; shift; run_postbag "$want" sendmail -C a.conf "$@"; }
ids() { "$POSTBAG" queue-run -C a.conf --list --json | python3 -c 'import json,sys; [print(json.loads(l)["id"]) for l in sys.stdin]'; }
last_id() { ids | tail -1; }
sent() { "$POSTBAG" queue-run -C a.conf --show "$(last_id)"; }
# The envelope of the newest message: sender, then recipients.
envelope() {
    "$POSTBAG" queue-run -C a.conf --list --json | tail -1 | python3 -c '
import json, sys
d = json.load(sys.stdin)
print(d["from"], *[r["address"] for r in d["recipients"]])'
}
ME=$(id -un)

@test "a message is queued without any daemon" {
    sm 0 bob@b.test < <(message bob@b.test)
    [[ ! -s out && ! -s err ]]
    [[ $(ids | wc -l) == 1 ]]
    sent | grep -q '^the body'
    [[ $(envelope) == "$ME@a.test bob@b.test" ]]
}

# --- the ways it is called -------------------------------------------------------------------------

@test "cron: a comma list in one argument, -F and -B glued" {
    sm 0 -FCronDaemon -i -B8BITMIME -oem root,ops@x.test < <(printf 'From: root (Cron Daemon)\nTo: root\nSubject: Cron\n\n.\nü\n')
    [[ $(envelope) == "$ME@a.test root@a.test ops@x.test" ]]
    sent | grep -q 'ü'
}

@test "at: no From, no Date: they are made" {
    sm 0 -i root < <(printf 'Subject: Output\nTo: root\n\nhi\n')
    sent > m
    grep -q "^From: .*<$ME@a.test>" m
    grep -qE '^Date: [A-Z][a-z]{2}, ' m
    grep -qE '^Message-ID: <.*@mail.a.test>' m
}

@test "anacron: -odi and a full name" {
    sm 0 -FAnacron -odi root < <(printf 'Subject: x\n\nhi\n')
    sent | grep -q "^From: Anacron <$ME@a.test>"
}

@test "sudo and mdadm: -t alone, and a lone dot ends the message" {
    sm 0 -t < <(printf 'To: root\nSubject: x\n\none\n.\ntwo\n')
    sent > m
    grep -q one m
    ! grep -q two m
}

@test "php: CRLF in the header, LF in the body, glued -f, Bcc in the header" {
    sm 0 -t -i -fbounce@x.test < <(printf 'To: bob@b.test\r\nSubject: x\r\nBcc: hidden@c.test\r\n\r\nline one\nline two\r\n.\nline four')
    [[ $(envelope) == "bounce@x.test bob@b.test hidden@c.test" ]]
    sent > m
    ! grep -qi '^bcc\|hidden' m
    grep -q 'line four' m
    # Each line ends with CRLF, none with more or less.
    python3 -c 'd = open("m", "rb").read(); t = d.replace(b"\r\n", b""); assert b"\r" not in t and b"\n" not in t'
}

@test "bsd-mailx: addresses behind -- beside -t are added" {
    sm 0 -i -t -f me@x.test < <(message bob@b.test)
    [[ $(envelope) == "me@x.test bob@b.test" ]]
    sm 0 -i -t -- other@x.test < <(message bob@b.test)
    [[ $(envelope) == "$ME@a.test other@x.test bob@b.test" ]]
}

@test "s-nail and Email::Sender: -i -f ADDRESS -- RECIPIENT" {
    sm 0 -i -f me@x.test -- one@b.test two@b.test < <(message undisclosed:\;)
    [[ $(envelope) == "me@x.test one@b.test two@b.test" ]]
}

@test "mutt: -oem -oi -f -N -R -B" {
    sm 0 -oem -oi -f me@x.test -N failure,delay -R hdrs -B 8BITMIME -- bob@b.test < <(message bob@b.test s 'grüße')
    [[ $(envelope) == "me@x.test bob@b.test" ]]
}

@test "git send-email: -f ADDRESS -i RECIPIENT" {
    sm 0 -f me@x.test -i bob@b.test eve@b.test < <(message bob@b.test)
    [[ $(envelope) == "me@x.test bob@b.test eve@b.test" ]]
}

@test "MIME::Lite: -t -oi -oem -fme@x.test, by the name of a link" {
    bin/sendmail -C a.conf -t -oi -oem -fme@x.test < <(message bob@b.test)
    [[ $(envelope) == "me@x.test bob@b.test" ]]
}

@test "Symfony: -bs, a dialogue with HELO and no login" {
    python3 - "$POSTBAG" > answers <<'PY'
import subprocess, sys
p = subprocess.Popen([sys.argv[1], "sendmail", "-C", "a.conf", "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def say(line, want):
    if line is not None:
        p.stdin.write(line.encode() + b"\r\n"); p.stdin.flush()
    while True:
        got = p.stdout.readline().decode()
        print(got, end="")
        if got[3:4] != "-": break
    assert got.startswith(want), (line, got)
say(None, "220")
say("HELO [127.0.0.1]", "250")
say("MAIL FROM:<me@x.test>", "250")
say("RCPT TO:<bob@b.test>", "250")
say("DATA", "354")
say("Subject: x\r\n\r\nhi\r\n..dot\r\n.", "250")
say("QUIT", "221")
assert p.wait(10) == 0
PY
    [[ $(envelope) == "me@x.test bob@b.test" ]]
    sent | grep -q '^\.dot'
}

@test "Request Tracker: long -O options are swallowed; a bounce has -f <>" {
    sm 0 -oi -ODeliveryMode=b -OErrorMode=m -f '<>' bob@b.test < <(message bob@b.test)
    [[ $(envelope) == " bob@b.test" ]]
    sm 0 -f '' bob@b.test < <(message bob@b.test)
    [[ $(envelope) == " bob@b.test" ]]
}

@test "-f with a name and angle brackets" {
    sm 0 -f 'Me Myself <me@x.test>' bob@b.test < <(message bob@b.test)
    [[ $(envelope) == "me@x.test bob@b.test" ]]
}

# --- the message --------------------------------------------------------------------------------------

@test "Bcc and Resent-Bcc are dropped, with -t and without" {
    sm 0 bob@b.test < <(printf 'To: bob@b.test\nBcc: secret1@b.test,\n secret2@b.test\nResent-Bcc: secret3@b.test\n\nhi\n')
    sent > m
    ! grep -qi 'secret' m
    [[ $(envelope) == "$ME@a.test bob@b.test" ]]
}

@test "-t with Resent fields takes the recipients from them alone" {
    sm 0 -t < <(printf 'Resent-To: new@b.test\nResent-Bcc: dark@b.test\nResent-From: me@x.test\nTo: old@b.test\nFrom: z@z.test\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n\nhi\n')
    [[ $(envelope) == "$ME@a.test new@b.test dark@b.test" ]]
}

@test "-t: groups, comments, quoted names with commas, folded fields, each address once" {
    sm 0 -t < <(printf 'To: "Last, First" <a1@b.test>, (comment, x) a2@b.test,\n\tFriends: a3@b.test, "q,uoted"@b.test;\nCc: a1@b.test\n\nhi\n')
    [[ $(envelope) == "$ME@a.test a1@b.test a2@b.test a3@b.test \"q,uoted\"@b.test" ]]
}

@test "an encoded From is left as it came; -F with an umlaut is encoded" {
    sm 0 -F 'Jörg, Dr. "J"' bob@b.test < <(printf 'Subject: x\n\nhi\n')
    sent > m
    python3 - <<'PY'
import email, email.policy
m = email.message_from_binary_file(open("m", "rb"), policy=email.policy.default)
assert m["From"].addresses[0].display_name == 'Jörg, Dr. "J"', m["From"]
assert not m.defects
PY
}

@test "empty input is an empty mail" {
    sm 0 bob@b.test < /dev/null
    [[ $(ids | wc -l) == 1 ]]
}

@test "input without a header is all body" {
    sm 0 bob@b.test < <(printf 'no header here\nsecond: line\n')
    sent | tr -d '\r' > m
    awk 'body { print } /^$/ { body = 1 }' m > body
    [[ $(cat body) == $'no header here\nsecond: line' ]]
}

@test "an mbox line in front is dropped" {
    sm 0 bob@b.test < <(printf 'From bob Mon Jan  1 00:00:00 2024\nSubject: x\n\nFrom here on\n')
    sent > m
    ! grep -q '^From bob' m
    grep -q '^From here on' m
}

@test "a bare CR stays in the queue and never leaves as one" {
    free_port P
    sink s "$P"
    sm 0 --now --relay "127.0.0.1:$P" bob@b.test < <(printf 'Subject: x\n\none\rtwo\n\r.\rMAIL FROM:<evil@x.test>\n')
    [[ $(sink_count s) == 1 ]]
    python3 -c 'd = open("s/1.eml", "rb").read().replace(b"\r\n", b""); assert b"\r" not in d and b"\n" not in d, d'
}

@test "with -i lines of dots arrive as they were" {
    free_port P
    sink s "$P"
    printf 'Subject: x\n\n.\n..\n.x\n...\n' | "$POSTBAG" sendmail -C a.conf -i --now --relay "127.0.0.1:$P" bob@b.test
    tail -c 16 s/1.eml | tr -d '\r' > tail
    [[ $(cat tail) == $'.\n..\n.x\n...' ]]
}

@test "Date, From and Message-ID that are there stay the only ones" {
    sm 0 bob@b.test < <(printf 'date: Mon, 1 Jan 2024 00:00:00 +0000\nMESSAGE-ID: <mine@x>\nfrom: z@z.test\n\nhi\n')
    sent > m
    [[ $(grep -ci '^date:' m) == 1 && $(grep -ci '^message-id:' m) == 1 && $(grep -ci '^from:' m) == 1 ]]
}

@test "a line of 100 kB and a body of 5 MB get through" {
    free_port P
    sink s "$P"
    { printf 'Subject: x\n\n'; head -c 100000 /dev/zero | tr '\0' y; echo; head -c 3700000 /dev/urandom | base64; } > m
    sm 0 --now --relay "127.0.0.1:$P" bob@b.test < m
    [[ $(sed '1,/^\r$/d' s/1.eml | tr -d '\r\n' | sha256sum) == $(sed '1,/^$/d' m | tr -d '\n' | sha256sum) ]]
}

# --- now ---------------------------------------------------------------------------------------------

@test "--now delivers at once, and the queue stays empty" {
    free_port P
    sink s "$P"
    sm 0 --now --relay "127.0.0.1:$P" -f me@x.test bob@b.test < <(message bob@b.test)
    [[ $(sink_count s) == 1 ]]
    grep -q 'MAIL FROM:<me@x.test>' s/1.env
    queue_empty a
}

@test "--now: what is refused for good is 69 and told, the rest is delivered" {
    free_port P
    sink s "$P" refuse=550
    sm 69 --now --relay "127.0.0.1:$P" no@b.test yes@b.test < <(message x)
    one_error_line sendmail
    err_has no@b.test
    grep -q 'yes@b.test' s/1.env
    queue_empty a
}

@test "--now: what fails for now is queued, and that is 0" {
    free_port P
    sink s "$P" defer=1
    sm 0 --now --relay "127.0.0.1:$P" bob@b.test < <(message x)
    err_has "queued as"
    [[ $(ids | wc -l) == 1 ]]
}

@test "--now with a server that is not there: queued, 0; with no queue either: 75" {
    free_port NONE
    sm 0 --now --relay "127.0.0.1:$NONE" bob@b.test < <(message x)
    [[ $(ids | wc -l) == 1 ]]
    rm -rf a/queue
    touch a/queue
    sm 75 --now --relay "127.0.0.1:$NONE" bob@b.test < <(message x)
    err_has "queue"
}

@test "--now --json: one object for each recipient" {
    free_port P
    sink s "$P" refuse=550
    sm 69 --now --json --relay "127.0.0.1:$P" no@b.test yes@b.test < <(message x)
    python3 - <<'PY'
import json
o = [json.loads(l) for l in open("out")]
assert {x["recipient"] for x in o} == {"no@b.test", "yes@b.test"}, o
PY
}

@test "--now finds the MX by DNS" {
    need nsd
    free_port P
    zone b.test <<< '@ MX 10 m
m A 127.0.0.1'
    dns
    sink s "$P"
    sm 0 --now --resolver "127.0.0.1:$DNS" --mx-port "$P" bob@b.test < <(message x)
    [[ $(sink_count s) == 1 ]]
}

@test "an 8-bit message to a host without 8BITMIME still arrives readable" {
    free_port P
    sink s "$P" extensions=PIPELINING
    printf 'From: me@x.test\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\ngrüße\n' > m
    sm 0 --now --relay "127.0.0.1:$P" bob@b.test < m || sm 69 --now --relay "127.0.0.1:$P" bob@b.test < m
    if [[ $(sink_count s) -gt 0 ]]; then
        python3 -c '
import email, email.policy
m = email.message_from_binary_file(open("s/1.eml", "rb"), policy=email.policy.default)
assert "grüße" in m.get_content()'
    fi
}

@test "-v shows the dialogue, without the password" {
    free_port P
    sink s "$P" auth=ann:pass-word
    echo pass-word > pw
    chmod 600 pw
    sm 0 --now -v --relay "127.0.0.1:$P,ann,$T/pw" bob@b.test < <(message x)
    err_has "-> MAIL FROM"
    err_lacks pass-word
    err_lacks "$(printf '\0ann\0pass-word' | base64)"
}

# --- other names and modes ---------------------------------------------------------------------------

@test "mailq and -bp: the words that monitoring looks for" {
    run_postbag 0 mailq -C a.conf
    [[ $(cat out) == "Mail queue is empty" ]]
    sm 0 -f me@x.test bob@b.test < <(message x)
    run_postbag 0 mailq -C a.conf
    tail -1 out | grep -qE '^-- 1 Kbytes in 1 Request\.$'
    out_has bob@b.test
    sm 0 bob@b.test < <(message x)
    sm 0 -bp
    tail -1 out | grep -qE '^-- [0-9]+ Kbytes in 2 Requests\.$'
    bin/mailq -C a.conf | tail -1 | grep -q 'in 2 Requests'
}

@test "newaliases, -bi and -I check the file" {
    printf 'postmaster: ann\nteam: ann,\n  bob@b.test\n' > a/aliases
    run_postbag 0 newaliases -C a.conf
    out_has "2 aliases"
    sm 0 -bi
    sm 0 -I
    printf 'this is no alias line\n' >> a/aliases
    run_postbag 78 newaliases -C a.conf || run_postbag 65 newaliases -C a.conf
    err_has aliases
}

@test "-bv tells mailboxes, addresses elsewhere, and 67 for nobody" {
    echo 'team: ann, x@b.test' > a/aliases
    sm 0 -bv team ann
    out_has "ann@a.test"
    out_has "x@b.test"
    sm 67 -bv nobody@a.test
    one_error_line sendmail
}

@test "-q is one pass of the queue" {
    free_port P
    sink s "$P"
    echo "relay 127.0.0.1:$P" >> a.conf
    sm 0 bob@b.test < <(message x)
    sm 0 -q
    [[ $(sink_count s) == 1 ]]
    queue_empty a
}

# --- what cannot be -----------------------------------------------------------------------------------

@test "no recipient is 64; -t without one in the header is 65" {
    sm 64 < <(message x)
    one_error_line sendmail
    sm 65 -t < <(printf 'Subject: x\n\nhi\n')
    one_error_line sendmail
    queue_empty a
}

@test "an unknown flag is 64 and named; so is an option behind an address" {
    sm 64 -Z bob@b.test < <(message x)
    one_error_line sendmail
    err_has "-Z"
    sm 64 bob@b.test -f me@x.test < <(message x)
    one_error_line sendmail
    sm 64 -bt < /dev/null
    one_error_line sendmail
    sm 64 -N sometimes bob@b.test < <(message x)
    one_error_line sendmail
    sm 64 -R half bob@b.test < <(message x)
    one_error_line sendmail
    queue_empty a
}

@test "an address that is none is 65" {
    local bad
    for bad in 'a b@c.test' '@x.test' 'bob@' 'bob@b..test' $'bob@b.test\nDATA' '<>' "$(printf 'x%.0s' $(seq 400))@b.test"; do
        sm 65 "$bad" < <(message x) || sm 64 "$bad" < <(message x)
        [[ $(wc -l < err) == 1 ]]
    done
    sm 65 -f 'not an address' bob@b.test < <(message x)
    one_error_line sendmail
    queue_empty a
}

@test "a message over the limit is 65, and nothing is queued" {
    sm 65 --message-size-limit 10k bob@b.test < <(message x; head -c 20000 /dev/zero | tr '\0' x)
    one_error_line sendmail
    queue_empty a
}

@test "a header without end is refused with 65" {
    sm 65 bob@b.test < <(python3 -c 'print("X: y\n" * 3000000)')
    one_error_line sendmail
    queue_empty a
}

@test "a queue that may not be written is 77" {
    plain_rights
    chmod 500 a
    sm 77 bob@b.test < <(message x)
    one_error_line sendmail
    chmod 700 a
}

@test "a full disk is 75, and nothing is left in the queue" {
    sm 0 bob@b.test < <(message x)
    (ulimit -f 128; trap '' XFSZ; sm 75 bob@b.test < <(message x; head -c 3000000 /dev/zero | tr '\0' x | fold))
    [[ $(wc -l < err) == 1 ]]
    [[ $(ids | wc -l) == 1 ]]
}

@test "a full tmpfs is 75; when there is room again the mail goes in" {
    [[ $(id -u) == 0 ]] || skip "mounting needs root"
    mkdir a/queue
    mount -t tmpfs -o size=200k tmpfs a/queue 2> /dev/null || skip "no mount here"
    local ok=0
    { message x; head -c 150000 /dev/zero | tr '\0' x | fold; } > m
    sm 0 bob@b.test < m && sm 75 bob@b.test < m && [[ $(wc -l < err) == 1 ]] &&
        [[ $(ids | wc -l) == 1 ]] && ok=1
    mount -o remount,size=2m a/queue
    sm 0 bob@b.test < m || ok=2
    [[ $(ids | wc -l) == 2 ]] || ok=3
    umount a/queue
    [[ $ok == 1 ]]
}

@test "a wrong setting is 78" {
    echo 'hostnam x' >> a.conf
    sm 78 bob@b.test < <(message x)
    one_error_line sendmail
}

@test "fifty at once are all in the queue" {
    local i pids=()
    for i in $(seq 50); do
        message x "n$i" | "$POSTBAG" sendmail -C a.conf bob@b.test 2>> all.err &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    [[ $(ids | sort -u | wc -l) == 50 ]]
}
