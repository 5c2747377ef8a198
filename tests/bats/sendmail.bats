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
# Line for line a reader sees in B what was written in A, and no line of B is too long for the wire.
same_text() {
    python3 - "$1" "$2" <<'PY'
import email, email.policy, sys
a, b = (email.message_from_binary_file(open(f, "rb"), policy=email.policy.default) for f in sys.argv[1:3])
assert a.get_content().splitlines() == b.get_content().splitlines()
assert not b.defects, b.defects
assert max(len(l) for l in open(sys.argv[2], "rb").read().split(b"\r\n")) <= 998
PY
}

@test "a message is queued without any daemon" {
    sm 0 bob@b.test < <(message bob@b.test)
    [[ ! -s out && ! -s err ]]
    [[ $(ids | wc -l) == 1 ]]
    sent | grep -q '^the body'
    [[ $(envelope) == "$ME@a.test bob@b.test" ]]
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
    same_text m s/1.eml
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

@test "--report json and text; a recipient that is here is the queue's business" {
    free_port P
    sink s "$P" refuse=550
    zone b.test <<< '@ MX 10 m
m A 127.0.0.1'
    dns
    sm 69 --now --report json --resolver "127.0.0.1:$DNS" --mx-port "$P" no@b.test yes@b.test ann@a.test < <(message x)
    json_is '{x["recipient"]: x["result"] for x in o} == {"no@b.test": "failed", "yes@b.test": "delivered", "ann@a.test": "queued"}'
    json_is 'all(x["code"] == 250 and x["route"] == "mx" for x in o if x["result"] == "delivered")'
    [[ $(ids | wc -l) == 1 && $(envelope) == "$ME@a.test ann@a.test" ]]
    sm 0 --now --report text --relay "127.0.0.1:$P" yes@b.test < <(message x)
    err_has "yes@b.test: delivered"
    sm 69 --now --report none --relay "127.0.0.1:$P" no@b.test < <(message x)
    [[ ! -s out && ! -s err ]]
    sm 64 --report jsn bob@b.test < <(message x)
    err_has json
}

@test "--dry-run: recipients after aliases, routes, added fields; nothing is written or sent" {
    free_port P
    sink s "$P"
    zone b.test <<< '@ MX 10 m
m A 127.0.0.1'
    dns
    echo 'team: ann, x@b.test' > a/aliases
    sm 69 --dry-run --resolver "127.0.0.1:$DNS" --mx-port "$P" team bob@b.test nobody@a.test y@none.b.test < <(printf 'Subject: x\n\nhi\n')
    out_has "from     <$ME@a.test>"
    out_has "to       team@a.test -> ann@a.test: mailbox"
    out_has "to       team@a.test -> x@b.test: mx m.b.test [127.0.0.1:$P]"
    out_has "to       bob@b.test: mx m.b.test"
    out_has "to       nobody@a.test: error: "
    out_has "to       y@none.b.test: no route: "
    out_has "adds     Message-ID: <"
    out_has "adds     Date: "
    out_has "adds     From: "
    sm 0 --dry-run --json --relay "127.0.0.1:$P" bob@b.test < <(message x)
    json_is 'd["sender"] == "'"$ME@a.test"'" and o[1]["route"] == "relay" and o[1]["hosts"][0]["addresses"]'
    [[ ! -e a/queue && $(sink_count s) == 0 ]]
}

# --- MIME --------------------------------------------------------------------------------------------

@test "--attach and --html: what Python's email and mutt read is what went in" {
    head -c 100000 /dev/urandom > 'Übersicht, "final" 2026.pdf'
    printf 'a,b\r\n1,2\r\n' > data.csv
    : > empty
    printf '<html><body><p>Grüße &amp; more</p></body></html>\n' > page.html
    printf 'To: bob@b.test\nSubject: Bericht\n\nGrüße,\n.\nzeile\n' > text
    sm 0 -t -i --attach 'Übersicht, "final" 2026.pdf' -a data.csv --attach empty --html page.html < text
    sent > m
    python3 - <<'PY'
import email, email.policy
m = email.message_from_binary_file(open("m", "rb"), policy=email.policy.default)
assert m.get_content_type() == "multipart/mixed" and m["Subject"] == "Bericht" and m["MIME-Version"] == "1.0"
assert m.get_body(("plain",)).get_content().splitlines() == ["Grüße,", ".", "zeile"]
assert m.get_body(("html",)).get_content().splitlines() == open("page.html").read().splitlines()
a = list(m.iter_attachments())
assert [(x.get_filename(), x.get_content_type()) for x in a] == [
    ('Übersicht, "final" 2026.pdf', "application/pdf"), ("data.csv", "text/csv"), ("empty", "text/plain")], a
for x in a:
    assert x.get_payload(decode=True) == open(x.get_filename(), "rb").read()
assert not any(p.defects for p in m.walk())
raw = open("m", "rb").read()
assert raw.isascii() and max(map(len, raw.split(b"\r\n"))) <= 78, max(map(len, raw.split(b"\r\n")))
PY
    if command -v mutt > /dev/null && command -v script > /dev/null; then
        mkdir -p home/Mail
        { echo 'From ann Mon Jan  1 00:00:00 2024'; tr -d '\r' < m; } > box
        LC_ALL=C.UTF-8 TERM=vt100 timeout 20 script -qec "mutt -n -F /dev/null -R -f box -e 'set pipe_decode=yes' \
            -e 'set wait_key=no' -e 'push \"<pipe-message>cat>decoded<enter><exit>\"'" /dev/null < /dev/null > seen 2>&1
        grep -q '^Grüße,$' decoded
        grep -q '^1,2' decoded
    fi
}

@test "--attach: what cannot be is said, and nothing is queued" {
    sm 66 --attach nothere bob@b.test < <(message x)
    err_has nothere
    head -c 30000 /dev/zero > big
    sm 65 --message-size-limit 20k --attach big bob@b.test < <(message x)
    one_error_line sendmail
    sm 65 --attach big bob@b.test < <(printf 'Content-Type: text/html\n\n<p>\n')
    err_has "text/html already"
    printf '\377\376' > latin.html
    sm 65 --html latin.html bob@b.test < <(message x)
    queue_empty a
}

@test "a line that is too long is encoded, a signed message stays as it came" {
    { printf 'Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n'
      head -c 3000 /dev/zero | tr '\0' y; printf '\ngrüße =\n'; } > m
    sm 0 bob@b.test < m
    sent > got
    same_text m got
    { printf 'DKIM-Signature: v=1; b=x\nFrom: a@b.test\nSubject: x\n\n'; head -c 3000 /dev/zero | tr '\0' y; echo; } > m
    sm 0 bob@b.test < m
    sent | tr -d '\r' > got
    [[ $(sed '1,/^$/d' got) == "$(sed '1,/^$/d' m)" ]]
}

@test "8-bit text without MIME fields gets a label" {
    sm 0 bob@b.test < <(printf 'Subject: x\n\ngrüße\n')
    sent > m
    grep -q '^Content-Type: text/plain; charset=utf-8' m
    grep -q '^Content-Transfer-Encoding: 8bit' m
    grep -q 'grüße' m
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

# --- users who may not write the queue -----------------------------------------------------------------

# The queue is root's (or this user's), the sender is nobody. Paths must be open for him.
strangers() {
    [[ $(id -u) == 0 ]] || skip "another user is needed: root only"
    need setpriv
    open=$(mktemp -d /tmp/postbag-drop.XXXXXX)
    chmod 755 "$open"
    cp "$POSTBAG" "$open/postbag"
    mkdir -m 700 "$open/data"
    mkdir -m 1733 "$open/drop"
    printf 'hostname mail.a.test\ndomain a.test\ndata %s/data\ndrop-dir %s/drop\nplaintext-auth yes\n' "$open" "$open" > "$open/conf"
    printf 'ann@a.test:{PLAIN}x\n' > "$open/data/accounts"
    NOBODY=$(id -u nobody)
    STRANGER=(setpriv --reuid "$NOBODY" --regid "$(id -g nobody)" --clear-groups env TMPDIR=/tmp HOME=/nonexistent)
}
story_teardown() { [[ -z ${open:-} ]] || rm -rf "$open"; }
queue_run() { run_postbag "$1" queue-run -C "$open/conf" "${@:2}"; }

@test "nobody sends without a daemon: the next pass delivers, and knows who it was" {
    strangers
    AS=("${STRANGER[@]}")
    POSTBAG=$open/postbag run_postbag 0 sendmail -C "$open/conf" -t < <(message ann@a.test)
    [[ ! -s out && ! -s err ]]
    AS=()
    [[ $(find "$open/drop" -name '*.msg' -uid "$NOBODY" | wc -l) == 1 ]]
    mkdir -m 700 "$open/data/queue"
    queue_run 0 --list
    err_has "1 more in $open/drop"
    queue_run 0
    [[ -z $(ls "$open/drop") ]]
    mail=$(find "$open/data/mail" -path '*/new/*' -type f)
    grep -q "from uid $NOBODY)" "$mail"
    grep -q '^Return-Path: <nobody@a.test>' "$mail"
}

@test "who may read the queue may look at it; who may not is told whose it is, in one line" {
    strangers
    message bob@b.test | "$POSTBAG" sendmail -C "$open/conf" bob@b.test
    AS=("${STRANGER[@]}")
    export POSTBAG=$open/postbag
    chmod 600 "$open/data/accounts"
    for verb in --list --histogram "--explain --all"; do
        # shellcheck disable=SC2086
        run_postbag 77 queue-run -C "$open/conf" $verb
        one_error_line queue-run
        err_has "only root may read the queue in $open/data/queue: run this as that user"
        out_lacks empty
    done
    chmod 755 "$open/data" "$open/data/queue"
    run_postbag 77 mailq -C "$open/conf"
    err_has ".seg may not be read by this user"
    chmod 644 "$open"/data/queue/*
    for verb in --list --histogram "--explain --all" "--drop --all --dry-run"; do
        # shellcheck disable=SC2086
        run_postbag 0 queue-run -C "$open/conf" $verb
        [[ ! -s err && -s out ]]
    done
    run_postbag 0 mailq -C "$open/conf"
    out_has bob@b.test
    run_postbag 77 queue-run -C "$open/conf" --drop --all
}

@test "serve takes what nobody leaves, at once; -bs too" {
    strangers
    free_port L
    printf 'listen smtp 127.0.0.1:%s\nuser nobody\n' "$L" >> "$open/conf"
    rm -rf "$open/drop"
    # Made by serve for the user it becomes.
    chown -R nobody "$open/data"
    chmod 777 "$open"
    start serve "$POSTBAG" serve -C "$open/conf"
    wait_port "$L"
    [[ $(stat -c %a:%U "$open/drop") == 1733:nobody ]]
    AS=(setpriv --reuid 65533 --regid 65533 --clear-groups env TMPDIR=/tmp HOME=/nonexistent)
    POSTBAG=$open/postbag run_postbag 0 sendmail -C "$open/conf" ann@a.test < <(message ann@a.test)
    printf 'HELO [127.0.0.1]\r\nMAIL FROM:<me@x.test>\r\nRCPT TO:<ann@a.test>\r\nDATA\r\nSubject: bs\r\n\r\nhi\r\n.\r\nQUIT\r\n' > dialogue
    POSTBAG=$open/postbag run_postbag 0 sendmail -C "$open/conf" -bs < dialogue
    out_has "queued as"
    both() { [[ $(find "$open/data/mail" -path '*/new/*' -type f | wc -l) == 2 ]]; }
    wait_for 10 both
    grep -rq 'from uid 65533' "$open/data/mail"
}

@test "--now of nobody: what fails for now goes into the drop directory" {
    strangers
    free_port NONE
    AS=("${STRANGER[@]}")
    POSTBAG=$open/postbag run_postbag 0 sendmail -C "$open/conf" --now --relay "127.0.0.1:$NONE" bob@b.test < <(message x)
    err_has "queued as"
    AS=()
    [[ $(find "$open/drop" -name '*.msg' | wc -l) == 1 ]]
}

@test "without a drop directory it is 77 as before, and the message says what to do" {
    strangers
    rm -rf "$open/drop"
    AS=("${STRANGER[@]}")
    POSTBAG=$open/postbag run_postbag 77 sendmail -C "$open/conf" ann@a.test < <(message x)
    one_error_line sendmail
    err_has drop-dir
}

# What strangers can put there: everything is set aside, nothing is followed, good mail still goes.
@test "the drop directory: links, FIFOs, torn, huge, forged and hostile files are survived" {
    strangers
    chmod 755 "$open/data"
    echo secret > "$open/data/secret"
    chmod 600 "$open/data/secret"
    cat > hostile.py <<'PY'
import os, sys, zlib
def crc32c(data):
    table = []
    for i in range(256):
        c = i
        for _ in range(8): c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
        table.append(c)
    c = 0xffffffff
    for b in data: c = c >> 8 ^ table[(c ^ b) & 255]
    return c ^ 0xffffffff
os.chdir(sys.argv[1])
def msg(name, env, body, size=None, crc=None, cut=None):
    head = f"PBD1 {len(env)} {len(body) if size is None else size} ".encode()
    data = head + b"%08x\n" % (crc32c(head + env + body) if crc is None else crc) + env + body
    open(name + ".msg", "wb").write(data[:cut])
ok = b"from evil@x.test\nat 1\nuser root@a.test\nclient forged\nrcpt ann@a.test\n"
text = b"Subject: x\r\n\r\nhi\r\n"
msg("good", ok, b"Subject: good\r\n\r\nhi\r\n")
msg("torn", ok, text, cut=60)
msg("crc", ok, text, crc=1)
msg("barelf", ok, b"Subject: x\r\n\r\nhi\n.\nMAIL FROM:<x@y>\r\n")
msg("barecr", ok, b"Subject: x\r\n\r\nhi\r")
msg("noend", ok, b"Subject: x\r\n\r\nhi")
msg("lines", ok + b"proto x\n" * 1000000, text)
msg("norcpt", b"from evil@x.test\nat 1\n", text)
msg("inject", b"from evil@x.test\nat 1\nrcpt a@b.test> SIZE=1 <x\n", text)
msg("orcpt", b"from evil@x.test\nat 1\nrcpt a@b.test\norcpt rfc822;x FOO=bar\n", text)
msg("big", ok, b"x" * 200000 + b"\r\n")
msg("claims", ok, text, size=1 << 40)
open("empty.msg", "wb")
open("garbage.msg", "wb").write(os.urandom(5000))
os.symlink(sys.argv[2], "link.msg")
os.symlink("/dev/zero", "zero.msg")
os.mkfifo("fifo.msg")
os.mkdir("dir.msg")
open("unreadable.msg", "wb").write(b"PBD1"); os.chmod("unreadable.msg", 0)
msg("two", ok, text); os.link("two.msg", "three.msg")
with open("sparse.msg", "wb") as f: f.truncate(1 << 40)
open("old.new", "wb"); os.utime("old.new", (1, 1))
open("fresh.new", "wb")
PY
    chmod 644 hostile.py
    cp hostile.py "$open/"
    "${STRANGER[@]}" python3 "$open/hostile.py" "$open/drop" "$open/data/secret"
    LIMIT=20 queue_run 0 --message-size-limit 10k
    [[ $(find "$open/data/mail" -path '*/new/*' -type f | wc -l) == 1 ]]
    mail=$(find "$open/data/mail" -path '*/new/*' -type f)
    grep -q '^Subject: good' "$mail"
    ! grep -q 'forged' "$mail"
    ls "$open/drop" >> log
    [[ -z $(find "$open/drop" -name '*.msg') && ! -e $open/drop/old.new && -e $open/drop/fresh.new ]]
    [[ $(cat "$open/data/secret") == secret ]]
    [[ $(find "$open/drop" -name '*.bad' | wc -l) == 21 ]]
    # A directory that others could take mail from is not trusted.
    rm -rf "$open/drop"
    mkdir -m 777 "$open/drop"
    queue_run 77
    err_has "sticky"
    # What is in the queue goes all the same.
    message ann@a.test | "$POSTBAG" sendmail -C "$open/conf" ann@a.test
    queue_run 77
    [[ $(find "$open/data/mail" -path '*/new/*' -type f | wc -l) == 2 ]]
}

@test "-t: what is not an address in the header is told, and the others get the mail; too many fields are 65" {
    site a
    printf 'To: b@x.test\nCc: c@x.test, <d@x.test\n\nhi\n' | run_postbag 0 sendmail -C a.conf -t
    err_has '<d@x.test'
    [[ $(wc -l < err) == 1 ]]
    run_postbag 0 queue-run -C a.conf --list --json
    json_is '[r["address"] for r in d["recipients"]] == ["b@x.test", "c@x.test"]'
    { printf 'X: y\n%.0s' {1..5000}; printf 'To: b@x.test\n\nhi\n'; } > many
    run_postbag 65 sendmail -C a.conf -t c@x.test < many
    err_has 'too many fields'
}

@test "mail of the null sender has a From field" {
    site a
    printf 'Subject: x\n\nhi\n' | run_postbag 0 sendmail -C a.conf -f '<>' b@x.test
    run_postbag 0 queue-run -C a.conf --list --json
    run_postbag 0 queue-run -C a.conf --show "$(sed 's/.*"id":"\([^"]*\)".*/\1/' out)"
    out_has 'From: <MAILER-DAEMON@mail.a.test>'
}
