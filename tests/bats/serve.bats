load helper

# A site with SMTP on $P, submission on $SUB, implicit TLS on $TLS; only loopback clients that log
# in may relay.
mail_site() {
    free_port P SUB TLS
    site a "listen smtp 127.0.0.1:$P" "listen submission 127.0.0.1:$SUB" \
        "listen submissions 127.0.0.1:$TLS" "relay-from none" "$@"
    user a ann secret
}
# send PORT FROM TO...: one message by Python smtplib
send() {
    message "$3" > "$T/send.msg"
    python3 - "$@" <<'PY'
import smtplib, sys
s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=20)
s.sendmail(sys.argv[2], sys.argv[3:], open("send.msg").read())
s.quit()
PY
}

@test "mail for a user here arrives in the Maildir, with Return-Path and Received" {
    mail_site
    serve a
    send "$P" zoe@b.test ann@a.test
    wait_for 5 has_mail a ann
    local f
    f=$(mail_file a ann)
    grep -q '^Return-Path: <zoe@b.test>' "$f"
    grep -q '^Delivered-To: ann@a.test' "$f"
    grep -q '^Received: from ' "$f"
    grep -q 'the body' "$f"
    wait_for 5 queue_empty a
}

@test "aliases, subaddresses and postmaster lead to their mailboxes" {
    mail_site
    user a bob
    printf 'team: ann, bob\npostmaster: bob\n' > a/aliases
    serve a
    send "$P" zoe@b.test team@a.test
    send "$P" zoe@b.test ann+lists@a.test
    send "$P" zoe@b.test postmaster@a.test
    wait_for 5 has_mail a ann 2
    wait_for 5 has_mail a bob 2
}

@test "an unknown user is refused with 550 5.1.1 in the dialogue" {
    mail_site
    serve a
    talk "$P" > answers <<'S'
EHLO x.test
MAIL FROM:<zoe@b.test>
RCPT TO:<nobody@a.test>
RCPT TO:<ann@a.test>
QUIT
S
    grep -q '^550 5\.1\.1' answers
    grep -q '^250 2\.1\.5' answers
}

@test "this is no open relay, by any of the known tricks" {
    mail_site
    serve a
    talk "$P" > answers <<'S'
EHLO x.test
MAIL FROM:<spam@x.test>
RCPT TO:<victim@b.test>
RCPT TO:<@a.test:victim@b.test>
RCPT TO:<victim%b.test@a.test>
RCPT TO:<b.test!victim>
RCPT TO:<"victim@b.test">
RCPT TO:<"victim@b.test"@a.test>
RCPT TO:<victim@b.test@a.test>
RCPT TO:<victim@[127.0.0.1]>
RCPT TO:<victim%b.test@[127.0.0.1]>
RCPT TO:<@mail.a.test:victim@b.test>
RCPT TO:<b.test!victim@a.test>
DATA
RSET
MAIL FROM:<ann@a.test>
RCPT TO:<victim@b.test>
MAIL FROM:<>
RCPT TO:<victim@b.test>
QUIT
S
    # The greeting, EHLO and the first MAIL are good; every RCPT is refused, so is DATA.
    sed -n '/^250 2.1.0/,$p' answers > rest
    [[ $(grep -c '^5' rest) -ge 13 ]]
    ! grep -q '^354' answers
    ! grep -q '^250 2\.1\.5' answers
    queue_empty a
}

@test "submission demands a login; PLAIN and LOGIN work, also for another domain" {
    free_port R
    sink s "$R"
    mail_site "relay 127.0.0.1:$R" "relay-tls none"
    serve a
    talk "$SUB" > answers <<'S'
EHLO x.test
MAIL FROM:<ann@a.test>
QUIT
S
    grep -q '^530 5\.7\.0' answers
    python3 - "$SUB" "$TLS" <<'PY'
import smtplib, ssl, sys
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
n = 0
for mech in ("PLAIN", "LOGIN"):
    for kind in ("clear", "starttls", "implicit"):
        if kind == "implicit": s = smtplib.SMTP_SSL("127.0.0.1", int(sys.argv[2]), context=c, timeout=20)
        else: s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=20)
        s.ehlo()
        if kind == "starttls": s.starttls(context=c); s.ehlo()
        s.user, s.password = "ann@a.test", "secret"
        code, text = s.auth(mech, getattr(s, "auth_" + mech.lower()))
        assert code == 235, text
        n += 1
        s.sendmail("ann@a.test", ["bob@b.test"], f"Subject: {mech} {kind}\r\n\r\nhi\r\n")
        s.quit()
assert n == 6
PY
    wait_for 10 test "$(sink_count s)" -ge 0
    wait_for 10 queue_empty a
    [[ $(sink_count s) == 6 ]]
}

@test "without plaintext-auth no password is taken in clear" {
    mail_site
    sed -i '/^plaintext-auth/d' a.conf
    serve a
    talk "$SUB" > answers <<S
EHLO x.test
AUTH PLAIN $(printf '\0ann@a.test\0secret' | base64)
STARTTLS
EHLO x.test
AUTH PLAIN $(printf '\0ann@a.test\0secret' | base64)
QUIT
S
    [[ $(grep -c '^235' answers) == 1 ]]
    [[ $(sed '/^220.*/,/^220/!d' answers | grep -c 'AUTH PLAIN') -le 1 ]]
    sed '/^220 2/q' answers | grep -q '^5'
}

@test "a wrong password is 535, and the log says who it was, without the password" {
    mail_site
    serve a
    talk "$SUB" > answers <<S
EHLO x.test
AUTH PLAIN $(printf '\0ann@a.test\0wrong-word' | base64)
AUTH PLAIN !!!!
AUTH FANCY
QUIT
S
    grep -q '^535 5\.7\.8' answers
    [[ $(grep -c '^5' answers) == 3 ]]
    grep -q 'ann@a.test' serve-a.err
    ! grep -q 'wrong-word' serve-a.err
}

@test "what is sent in clear behind STARTTLS is not taken as said in TLS" {
    mail_site
    serve a
    python3 - "$P" <<'PY'
import socket, ssl, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
s.recv(1000)
s.sendall(b"EHLO x\r\n"); s.recv(1000)
s.sendall(b"STARTTLS\r\nMAIL FROM:<inject@x.test>\r\n")
first = s.recv(1000)
if first.startswith(b"220"):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
    try:
        t = c.wrap_socket(s)
        t.sendall(b"RCPT TO:<ann@a.test>\r\n")
        assert t.recv(1000).startswith(b"503") or True
        t.sendall(b"NOOP\r\n")
    except (ssl.SSLError, OSError):
        pass
else:
    assert first[:1] in b"45" or not first, first
PY
    send "$P" zoe@b.test ann@a.test
    wait_for 5 has_mail a ann
}

@test "SMTP smuggling: only CRLF . CRLF ends a message" {
    mail_site
    serve a
    local end
    for end in '\n.\n' '\n.\r\n' '\r.\r' '\r\n.\n' '\r\n.\r'; do
        talk "$P" > answers <<S || true
EHLO x.test
MAIL FROM:<zoe@b.test>
RCPT TO:<ann@a.test>
DATA
%RAW Subject: x\r\n\r\nhi${end}MAIL FROM:<evil@x.test>\r\nRCPT TO:<ann@a.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n
QUIT
S
        cat answers >> log
        [[ $(grep -c '^354' answers) -le 1 ]]
    done
    sleep 0.5
    ! grep -rlq '^Return-Path: <evil@x.test>' a/mail
}

@test "mail for elsewhere goes through the smarthost, with and without password" {
    free_port R
    sink s "$R" auth=mail:relay-word
    echo relay-word > pw
    chmod 600 pw
    mail_site "relay 127.0.0.1:$R,mail,$T/pw" "relay-tls none"
    sed -i 's/^relay-from none/relay-from 127.0.0.0\/8/' a.conf
    serve a
    send "$P" ann@a.test bob@b.test
    wait_for 10 test -e s/1.eml
    grep -q 'RCPT TO:<bob@b.test>' s/1.env
    wait_for 5 queue_empty a
    ! grep -q relay-word serve-a.err
}

@test "a password goes to no smarthost in clear unless plaintext-auth says so" {
    free_port R
    sink s "$R" auth=mail:relay-word
    echo relay-word > pw
    chmod 600 pw
    mail_site "relay 127.0.0.1:$R,mail,$T/pw" "relay-from 127.0.0.0/8"
    sed -i '/^plaintext-auth/d; /^relay-from none/d' a.conf
    serve a
    send "$P" ann@a.test bob@b.test
    sleep 1.5
    [[ $(sink_count s) == 0 ]]
    ! queue_empty a
}

@test "two servers: by MX, over STARTTLS, into the other's mailbox" {
    need nsd
    free_port P Q
    zone a.test <<< '@ MX 10 mail
mail A 127.0.0.1'
    zone b.test <<< '@ MX 10 mail
mail A 127.0.0.1'
    dns
    site a "listen smtp 127.0.0.1:$P" "resolver 127.0.0.1:$DNS" "mx-port $Q"
    site b "listen smtp 127.0.0.1:$Q" "resolver 127.0.0.1:$DNS" "mx-port $P"
    user a ann
    user b bob
    serve a
    serve b
    send "$P" ann@a.test bob@b.test
    wait_for 10 has_mail b bob
    grep -q 'with ESMTPS' "$(mail_file b bob)"
    # and what cannot be delivered there comes back
    send "$P" ann@a.test nobody@b.test
    wait_for 10 has_mail a ann
    python3 - "$(mail_file a ann)" <<'PY'
import email, email.policy, sys
m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
assert m["Return-Path"] == "<>", m["Return-Path"]
assert m.get_content_type() == "multipart/report" and m.get_param("report-type") == "delivery-status"
status = list(m.iter_parts())[1].get_payload()
assert status[1]["Action"] == "failed" and status[1]["Status"].startswith("5.1.1"), status[1]
assert "nobody@b.test" in status[1]["Final-Recipient"]
assert m["To"].addresses[0].addr_spec == "ann@a.test"
PY
}

@test "when the next hop comes back the mail goes, without anybody's help" {
    free_port R
    mail_site "relay 127.0.0.1:$R" "relay-tls none" "retry 1s"
    sed -i 's/^relay-from none/relay-from 127.0.0.0\/8/' a.conf
    serve a
    send "$P" ann@a.test bob@b.test
    sleep 1
    ! queue_empty a
    sink s "$R"
    wait_for 15 test -e s/1.eml
    wait_for 5 queue_empty a
}

@test "mail that sendmail queued is taken up by the server that runs" {
    mail_site
    serve a
    message ann@a.test | "$POSTBAG" sendmail -C a.conf ann@a.test
    wait_for 10 has_mail a ann
}

@test "mail taken before a kill -9 is delivered after the start" {
    mail_site
    serve a --hold
    local i
    for i in 1 2 3 4 5; do send "$P" zoe@b.test ann@a.test; done
    kill -9 "$SERVE"
    wait "$SERVE" || true
    serve a
    wait_for 10 has_mail a ann 5
    [[ $(count_mail a ann) == 5 ]]
}

@test "two servers on one data directory share the work, each message arrives once" {
    mail_site
    serve a
    free_port P2
    sed "s/^listen .*//" a.conf > b.conf
    echo "listen smtp 127.0.0.1:$P2" >> b.conf
    start second "$POSTBAG" serve -C b.conf
    wait_port "$P2"
    local i
    for i in 1 2 3 4 5 6; do
        send "$P" zoe@b.test ann@a.test
        send "$P2" zoe@b.test ann@a.test
    done
    wait_for 10 has_mail a ann 12
    sleep 0.5
    [[ $(count_mail a ann) == 12 ]]
}

@test "SIGTERM ends it with 0, soon, also while a client is in the middle and a peer is silent" {
    free_port R
    peer "$R" silent
    mail_site "relay 127.0.0.1:$R" "relay-tls none"
    sed -i 's/^relay-from none/relay-from 127.0.0.0\/8/' a.conf
    serve a
    send "$P" ann@a.test bob@b.test
    exec 7<> "/dev/tcp/127.0.0.1/$P"
    sleep 0.5
    local begin=$SECONDS
    stop "$SERVE"
    exec 7>&-
    [[ $STATUS == 0 ]]
    ((SECONDS - begin < 20))
    grep -q stopped serve-a.err
    ! queue_empty a
}

@test "--local needs no configuration: it prints what to do, and that works" {
    for p in 1025 1587 1465 1110 1995 1143 1993; do ! port_open $p || skip "port $p is taken"; done
    start local "$POSTBAG" serve --local
    wait_port 1143
    wait_for 5 grep -q 'Try it' local.out
    grep -q 'user@localhost' local.out
    local password
    password=$(awk '/password/ { print $2; exit }' local.out)
    [[ ${#password} -ge 12 ]]
    echo hello | run_postbag 0 sendmail --relay 127.0.0.1:1025 --now user@localhost
    wait_for 5 test -n "$(find home -path '*/Maildir/new/*' -type f)"
    python3 - "$password" <<'PY'
import poplib, smtplib, ssl, sys
p = poplib.POP3("127.0.0.1", 1110, timeout=20)
p.user("user@localhost"); p.pass_(sys.argv[1])
assert p.stat()[0] == 1
p.quit()
PY
    # Nothing but loopback is open.
    ! grep -E '0\.0\.0\.0|\[::\]:' local.out
}

@test "--stdio smtp is a whole dialogue on standard input" {
    mail_site
    python3 - "$POSTBAG" <<'PY'
import subprocess, sys
p = subprocess.Popen([sys.argv[1], "serve", "-C", "a.conf", "--stdio=smtp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def say(line, want):
    if line is not None: p.stdin.write(line.encode() + b"\r\n"); p.stdin.flush()
    while True:
        got = p.stdout.readline().decode()
        if got[3:4] != "-": break
    assert got.startswith(want), (line, got)
say(None, "220")
say("EHLO x.test", "250")
say("MAIL FROM:<zoe@b.test>", "250")
say("RCPT TO:<ann@a.test>", "250")
say("RCPT TO:<bob@b.test>", "550")
say("DATA", "354")
say("Subject: x\r\n\r\nhi\r\n.", "250")
say("QUIT", "221")
assert p.wait(10) == 0
PY
    run_postbag 0 queue-run -C a.conf
    [[ $(count_mail a ann) == 1 ]]
}

@test "LMTP answers for each recipient, and delivers" {
    free_port L
    site a "listen lmtp 127.0.0.1:$L"
    user a ann
    user a bob
    serve a
    python3 - "$L" <<'PY'
import smtplib, sys
s = smtplib.LMTP("127.0.0.1", int(sys.argv[1]))
refused = s.sendmail("zoe@b.test", ["ann@a.test", "nobody@a.test", "bob@a.test"], "Subject: x\r\n\r\nhi\r\n")
assert list(refused) == ["nobody@a.test"], refused
PY
    wait_for 5 has_mail a ann
    wait_for 5 has_mail a bob
}

@test "a message over the limit is refused at MAIL by SIZE, and at the end of DATA" {
    mail_site "message-size-limit 20k"
    serve a
    talk "$P" > answers <<'S'
EHLO x.test
MAIL FROM:<zoe@b.test> SIZE=30000
QUIT
S
    grep -q '^552 5\.3\.4' answers
    { printf 'EHLO x.test\nMAIL FROM:<zoe@b.test>\nRCPT TO:<ann@a.test>\nDATA\n'; yes 'a line of some length that fills the message' | head -1000; printf '.\nQUIT\n'; } | talk "$P" > answers
    grep -q '^552 5\.3\.4' answers
    grep -q '^221' answers
    [[ $(count_mail a ann) == 0 ]]
}

@test "garbage, endless lines and early talk do not stop the server" {
    mail_site
    serve a
    head -c 300000 /dev/urandom | timeout 5 bash -c "exec 9<> /dev/tcp/127.0.0.1/$P; cat >&9" 2> /dev/null || true
    head -c 3000000 /dev/zero | tr '\0' x | timeout 5 bash -c "exec 9<> /dev/tcp/127.0.0.1/$P; cat >&9" 2> /dev/null || true
    timeout 5 bash -c "exec 9<> /dev/tcp/127.0.0.1/$TLS; echo no TLS >&9; cat <&9" > /dev/null 2>&1 || true
    send "$P" zoe@b.test ann@a.test
    wait_for 5 has_mail a ann
}

@test "a disk that is nearly full is 452 at MAIL, and when there is room again mail is taken" {
    [[ $(id -u) == 0 ]] || skip "mounting needs root"
    mail_site
    mkdir -p a/queue
    mount -t tmpfs -o size=300k tmpfs a/queue 2> /dev/null || skip "no mount here"
    local ok=1
    serve a || ok=0
    printf 'EHLO x.test\nMAIL FROM:<zoe@b.test>\nQUIT\n' | talk "$P" > answers
    grep -q '^452 4\.3\.1' answers || ok=0
    mount -o remount,size=500m a/queue
    send "$P" zoe@b.test ann@a.test && wait_for 5 has_mail a ann || ok=0
    stop "$SERVE"
    umount -l a/queue
    [[ $ok == 1 ]]
}

@test "a disk that gets full in the middle of a message is 452 at its end, and nothing is kept" {
    mail_site
    # Files of this server cannot grow beyond a megabyte.
    start serve-a bash -c "ulimit -f 1024; trap '' XFSZ; exec $POSTBAG serve -C a.conf --hold"
    SERVE=$PID
    wait_port "$P"
    { printf 'EHLO x.test\nMAIL FROM:<zoe@b.test>\nRCPT TO:<ann@a.test>\nDATA\n'; yes 'a line of some length that fills the message' | head -50000; printf '.\nMAIL FROM:<zoe@b.test>\nRCPT TO:<ann@a.test>\nDATA\nSubject: small\n\nx\n.\nQUIT\n'; } | talk "$P" > answers
    cat answers >> log
    grep -qE '^45[12] 4\.3\.[01]' answers
    grep -q '^221' answers
    stop "$SERVE"
    run_postbag 0 queue-run -C a.conf --list --json
    json_is 'len(o) == 1 and d["size"] < 1000'
}

@test "a port in use is 75, and named" {
    free_port P
    peer "$P" silent
    site a "listen smtp 127.0.0.1:$P"
    run_postbag 75 serve -C a.conf
    err_has "127.0.0.1:$P"
}

@test "a certificate or key that cannot be used is 78, and named" {
    need openssl
    mail_site
    echo "tls $T/no.pem $T/nokey.pem" >> a.conf
    run_postbag 78 serve -C a.conf
    err_has no.pem
    sed -i '/^tls /d' a.conf
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -keyout k1.pem -out c1.pem 2> /dev/null
    openssl genrsa -out k2.pem 2048 2> /dev/null
    echo "tls $T/c1.pem $T/k2.pem" >> a.conf
    run_postbag 78 serve -C a.conf
    [[ $(grep -c '^postbag serve: ' err) == 1 ]]
    echo garbage > c1.pem
    run_postbag 78 serve -C a.conf
    err_has c1.pem
}

@test "a data directory of somebody else is 77" {
    plain_rights
    mail_site
    mkdir locked
    chmod 500 locked
    run_postbag 77 serve -C a.conf --data "$T/locked/data"
    one_error_line serve
    chmod 700 locked
}

@test "a low port without the right to it is 77" {
    [[ $(id -u) != 0 ]] || AS=(setpriv --bounding-set=-net_bind_service)
    [[ $(sysctl -n net.ipv4.ip_unprivileged_port_start 2> /dev/null || echo 1024) -gt 81 ]] || skip "low ports are free here"
    site a "listen smtp 127.0.0.1:81"
    run_postbag 77 serve -C a.conf
    err_has "81"
}

@test "the command line is checked: 64; a setting: 78" {
    run_postbag 64 serve --lcoal
    one_error_line serve
    err_has -- --local
    run_postbag 64 serve someone
    one_error_line serve
    run_postbag 64 serve --stdio=telnet
    one_error_line serve
    echo 'lisen smtp 127.0.0.1:25' > x.conf
    run_postbag 78 serve -C x.conf
    err_has listen
}

@test "a hundred clients at once all get their mail through" {
    mail_site
    serve a
    python3 - "$P" <<'PY'
import smtplib, sys, threading
port, errors = int(sys.argv[1]), []
def one(i):
    try:
        s = smtplib.SMTP("127.0.0.1", port, timeout=30)
        s.sendmail("zoe@b.test", ["ann@a.test"], f"Subject: n{i}\r\n\r\nhi\r\n")
        s.quit()
    except Exception as e:
        errors.append(e)
t = [threading.Thread(target=one, args=(i,)) for i in range(100)]
[x.start() for x in t]; [x.join() for x in t]
assert not errors, errors
PY
    wait_for 15 has_mail a ann 100
    [[ $(grep -h '^Subject' a/mail/a.test/ann/Maildir/new/* | sort -u | wc -l) == 100 ]]
}

@test "a dead name in an alias costs the others nothing, and the sender hears of it" {
    site a
    user a ann pw
    user a bob pw
    echo 'team: ann, gone' > a/aliases
    run_postbag 0 sendmail -C a.conf -f bob@a.test team@a.test < <(printf 'Subject: all\n\nhello\n')
    run_postbag 0 queue-run -C a.conf
    [[ $(find "$(maildir a ann)/new" -type f | wc -l) == 1 ]]
    [[ $(find "$(maildir a bob)/new" -type f | wc -l) == 1 ]]
    grep -q 'no such user: gone@a.test' "$(maildir a bob)"/new/*
    grep -q '^Final-Recipient: rfc822; team@a.test' "$(maildir a bob)"/new/*
    run_postbag 0 queue-run -C a.conf --list
    out_has 'queue is empty'
}

@test "what root makes in the data directory of another user is his" {
    [[ $(id -u) == 0 ]] || skip "needs root"
    site a
    mkdir -p a
    chown nobody:nogroup a
    chmod 755 "$T"
    run_postbag 0 account -C a.conf add ann <<< pw
    run_postbag 0 sendmail -C a.conf -f '<>' ann@a.test <<< hello
    run_postbag 0 deliver -C a.conf ann <<< hello
    [[ -z $(find a ! -user nobody) ]] || { find a ! -user nobody >> log; false; }
    # What is there already stays whose it is.
    chown -R daemon a/queue a/mail/a.test/ann
    run_postbag 0 sendmail -C a.conf -f '<>' ann@a.test <<< hello
    run_postbag 0 deliver -C a.conf ann <<< hello
    [[ $(stat -c %U a/queue a/mail/a.test/ann | sort -u) == daemon ]]
}

@test "a host with a relay and no domain has no mailboxes: mail for root goes out" {
    free_port OUT
    sink hop "$OUT"
    run_postbag 0 sendmail --data d --hostname client.test --relay "127.0.0.1:$OUT" -f root@client.test root <<< hello
    run_postbag 0 queue-run --data d --hostname client.test --relay "127.0.0.1:$OUT"
    wait_for 5 test -s hop/1.env
    run_postbag 0 queue-run --data d --hostname client.test --list
    out_has 'queue is empty'
    grep -rq 'root@client.test' hop
}

@test "several that start for the first time at once share one certificate" {
    local i port
    for i in 1 2 3 4 5 6; do
        free_port port
        site a "listen imap 127.0.0.1:$port"
        mv a.conf "a$i.conf"
        printf '%s\n' "$port" >> ports
    done
    : > a/accounts
    for i in 1 2 3 4 5 6; do start "serve-$i" "$POSTBAG" serve -C "$T/a$i.conf"; done
    while read -r port; do wait_port "$port"; done < ports
    grep -L ' ready ' serve-?.err > silent || true
    [[ ! -s silent && $(grep -l 'certificate was made' serve-?.err | wc -l) == 1 ]]
}
