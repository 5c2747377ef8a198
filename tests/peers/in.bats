# Mail in: other software sends to `postbag serve`.
load ../bats/helper
load peers

@test "Postfix passes on mail over STARTTLS: dots, 8-bit and 2 MB arrive octet for octet" {
    in_site
    postfix_start "$P"
    hard_message ann@a.test > hard
    big_message ann@a.test > big
    python3 - "$PFPORT" <<'PY'
import smtplib, sys
s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=30)
for name in ("hard", "big"):
    data = open(name, "rb").read().replace(b"\n", b"\r\n")
    s.sendmail("zoe@b.test", ["ann@a.test"], data, mail_options=["BODY=8BITMIME"])
s.quit()
PY
    wait_for 30 has_mail a ann 2
    local f
    for f in hard big; do
        same_body "$f" "$(grep -l "^Subject: $f" "$(maildir a ann)"/new/*)"
    done
    grep -q 'with ESMTPS' "$(mail_file a ann)"
    grep -q 'Received: from mail.pf.test' "$(mail_file a ann)"
}

@test "Postfix gets our 550 for an unknown user and bounces; its bounce is taken" {
    in_site
    postfix_start "$P"
    python3 - "$PFPORT" <<'PY'
import smtplib, sys
s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=30)
s.sendmail("ann@a.test", ["nobody@a.test"], "Subject: x\r\n\r\nhi\r\n")
PY
    wait_for 30 has_mail a ann
    grep -q 'no such user' "$(mail_file a ann)"
    grep -q '^Return-Path: <>' "$(mail_file a ann)"
}

@test "Postfix tries again when we were away" {
    free_port P
    site a "listen smtp 127.0.0.1:$P"
    user a ann
    postfix_start "$P"
    python3 - "$PFPORT" <<'PY'
import smtplib, sys
s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=30)
s.sendmail("zoe@b.test", ["ann@a.test"], "Subject: x\r\n\r\nhi\r\n")
PY
    sleep 1
    serve a
    postqueue -c "$PF" -f
    wait_for 30 has_mail a ann
}

@test "smtp-source: many sessions, several recipients, long messages" {
    need smtp-source
    in_site
    user a bob
    smtp-source -s 5 -m 50 -f zoe@b.test -t ann@a.test "127.0.0.1:$P"
    wait_for 20 has_mail a ann 50
    smtp-source -s 2 -m 6 -l 200000 -f zoe@b.test -t bob@a.test "127.0.0.1:$P"
    wait_for 20 has_mail a bob 6
    # Connection kept open (-d), no pipelining and LMTP-less HELO variants.
    smtp-source -d -m 10 -f zoe@b.test -t ann@a.test "127.0.0.1:$P"
    wait_for 20 has_mail a ann 60
    [[ $(count_mail a ann) == 60 && $(count_mail a bob) == 6 ]]
}

@test "swaks: plain, STARTTLS, implicit TLS, AUTH PLAIN and LOGIN, pipelining" {
    need swaks
    in_site
    local args n=0
    sw() { timeout 30 swaks --suppress-data -f zoe@b.test -t ann@a.test --server 127.0.0.1 "$@" >> log 2>&1; }
    sw --port "$P"; n=$((n + 1))
    sw --port "$P" --pipeline; n=$((n + 1))
    sw --port "$P" --tls; n=$((n + 1))
    sw --port "$P" --tls --pipeline; n=$((n + 1))
    sw --port "$P" --protocol SMTP; n=$((n + 1))
    sw() { timeout 30 swaks --suppress-data -f ann@a.test -t ann@a.test --server 127.0.0.1 "$@" >> log 2>&1; }
    for args in "--auth PLAIN" "--auth LOGIN"; do
        sw --port "$SUB" $args --auth-user ann@a.test --auth-password secret; n=$((n + 1))
        sw --port "$SUB" --tls $args --auth-user ann@a.test --auth-password secret; n=$((n + 1))
        sw --port "$TLS" --tls-on-connect $args --auth-user ann@a.test --auth-password secret; n=$((n + 1))
    done
    ! sw --port "$SUB" --auth PLAIN --auth-user ann@a.test --auth-password wrong
    wait_for 10 has_mail a ann "$n"
    [[ $(count_mail a ann) == "$n" ]]
}

@test "curl smtp:// and smtps:// with and without login" {
    need curl
    in_site
    hard_message ann@a.test | sed 's/$/\r/' > m
    curl -sS --max-time 30 "smtp://127.0.0.1:$P" --mail-from zoe@b.test --mail-rcpt ann@a.test -T m
    curl -sSk --max-time 30 --ssl-reqd "smtp://127.0.0.1:$SUB" -u ann@a.test:secret --mail-from ann@a.test --mail-rcpt ann@a.test -T m
    curl -sSk --max-time 30 "smtps://127.0.0.1:$TLS" -u ann@a.test:secret --mail-from ann@a.test --mail-rcpt ann@a.test -T m
    wait_for 10 has_mail a ann 3
    local f
    for f in "$(maildir a ann)"/new/*; do same_body m "$f"; done
}

@test "msmtp sends, with TLS and login" {
    need msmtp openssl
    make_cert localhost
    in_site "tls $T/localhost.pem $T/localhost.key"
    hard_message ann@a.test > m
    printf 'defaults\nauth on\ntls on\ntls_trust_file %s\naccount default\nhost localhost\nport %s\nfrom ann@a.test\nuser ann@a.test\npassword secret\n' "$T/localhost.pem" "$SUB" > rc
    chmod 600 rc
    msmtp -C rc ann@a.test < m 2>> log
    wait_for 10 has_mail a ann
    same_body m "$(mail_file a ann)"
}

@test "Python smtplib: SMTPUTF8, 8BITMIME and a message of 2 MB" {
    in_site
    big_message ann@a.test > big
    python3 - "$P" <<'PY'
import smtplib, sys
from email.message import EmailMessage
s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=30)
s.sendmail("zoe@b.test", ["ann@a.test"], open("big", "rb").read().replace(b"\n", b"\r\n"))
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "jörg@b.test", "ann@a.test", "grüße"
m.set_content("hällo\n")
s.send_message(m)
s.quit()
PY
    wait_for 10 has_mail a ann 2
    same_body big "$(grep -l '^Subject: big' "$(maildir a ann)"/new/*)"
}
