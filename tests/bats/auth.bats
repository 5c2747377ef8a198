load helper

# Real clients prove who they are, each in its own way. gsasl does SCRAM bound to TLS.

story_setup() {
    free_port SUB SUBS
    site a "listen submission 127.0.0.1:$SUB" "listen submissions 127.0.0.1:$SUBS"
    printf 'pencil & "co"\n' | "$POSTBAG" account add -C a.conf --scheme=scram-sha-256 ann > /dev/null
}
gsasl_smtp() { # MECHANISM USER PASSWORD PORT [OPTION...]
    timeout 20 gsasl --smtp --connect="127.0.0.1:$4" -m "$1" -a "$2" -p "$3" --x509-ca-file= --verbose \
        "${@:5}" < /dev/null > gsasl.out 2>&1
}

@test "SCRAM keys are stored, and nothing from which the password could be used" {
    grep -qE '^ann@a.test:\{SCRAM-SHA-256\}4096,[A-Za-z0-9+/]{22}==,[A-Za-z0-9+/]{43}=,[A-Za-z0-9+/]{43}=$' a/accounts
    run_postbag 0 account check -C a.conf ann <<< 'pencil & "co"'
    run_postbag 77 account check -C a.conf ann <<< 'pencil'
    echo tea | run_postbag 0 account password --scheme=scram-sha-256 -C a.conf ann
    run_postbag 0 account check -C a.conf ann <<< tea
    echo tea | run_postbag 0 account password -C a.conf ann
    grep -q '^ann@a.test:{CRYPT}\$y\$' a/accounts
}

@test "keys made by gsasl and by Dovecot work" {
    need gsasl doveadm
    printf 'bob@a.test:%s\n' "$(gsasl --mkpasswd -m SCRAM-SHA-256 -p tea)" > a/accounts
    printf 'cle@a.test:%s\n' "$(doveadm pw -s SCRAM-SHA-256 -p tea)" >> a/accounts
    run_postbag 0 account check -C a.conf bob <<< tea
    run_postbag 0 account check -C a.conf cle <<< tea
    run_postbag 77 account check -C a.conf cle <<< coffee
}

@test "gsasl logs in by SCRAM-SHA-256 and by SCRAM-SHA-256-PLUS" {
    need gsasl
    serve a
    gsasl_smtp SCRAM-SHA-256 ann 'pencil & "co"' "$SUB" --no-starttls
    grep -q 'server trusted' gsasl.out
    gsasl_smtp SCRAM-SHA-256 ann@a.test 'pencil & "co"' "$SUB" --no-cb
    gsasl_smtp SCRAM-SHA-256-PLUS ann 'pencil & "co"' "$SUB"
    grep -q 'server trusted' gsasl.out
    grep -q 'mechanism="\?SCRAM-SHA-256-PLUS' serve-a.err
    ! gsasl_smtp SCRAM-SHA-256-PLUS ann pencil "$SUB"
    ! gsasl_smtp SCRAM-SHA-256 nobody pencil "$SUB" --no-starttls
    grep -q '^535 5.7.8 ' gsasl.out
    gsasl_smtp PLAIN ann 'pencil & "co"' "$SUB"
    gsasl_smtp LOGIN ann 'pencil & "co"' "$SUB"
}

@test "SCRAM is offered only when it would work for everybody, and never before TLS" {
    echo tea | "$POSTBAG" account add -C a.conf bob > /dev/null # yescrypt
    sed -i 's/^plaintext-auth yes/plaintext-auth no/' a.conf
    serve a
    talk "$SUB" <<< 'EHLO me.test' > answers
    ! grep -q AUTH answers
    need openssl
    (sleep 1; printf 'EHLO me.test\r\n'; sleep 1; printf 'QUIT\r\n') |
        openssl s_client -quiet -connect "127.0.0.1:$SUBS" > answers 2> /dev/null || true
    grep -q 'AUTH PLAIN LOGIN' answers
    "$POSTBAG" account remove -C a.conf bob > /dev/null
    (sleep 1; printf 'EHLO me.test\r\n'; sleep 1; printf 'QUIT\r\n') |
        openssl s_client -quiet -connect "127.0.0.1:$SUBS" > answers 2> /dev/null || true
    grep -q 'AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN' answers
}

@test "POP3 and IMAP take SCRAM, bound to TLS too" {
    need gsasl mpop
    free_port POP IMAP
    printf 'listen pop3 127.0.0.1:%s\nlisten imap 127.0.0.1:%s\n' "$POP" "$IMAP" >> a.conf
    serve a
    for m in SCRAM-SHA-256-PLUS "SCRAM-SHA-256 --no-cb" PLAIN LOGIN; do
        # shellcheck disable=SC2086 # a mechanism and its option
        timeout 20 gsasl --imap --connect="127.0.0.1:$IMAP" -m $m -a ann -p 'pencil & "co"' --x509-ca-file= \
            < /dev/null > gsasl.out 2>&1
        grep -q "mechanism=\"\?${m%% *}.*tls=\"TLS" serve-a.err
    done
    ! timeout 20 gsasl --imap --connect="127.0.0.1:$IMAP" -m SCRAM-SHA-256-PLUS -a ann -p no --x509-ca-file= \
        < /dev/null > gsasl.out 2>&1
    grep -q 'AUTHENTICATIONFAILED' gsasl.out
    mkdir box
    printf 'pencil & "co"\n' > password
    printf 'account a\nhost 127.0.0.1\nport %s\ntls off\nauth scram-sha-256\nuser ann\npasswordeval cat %s\ndelivery mbox %s\n' \
        "$POP" "$T/password" "$T/box/in" > mpoprc
    chmod 600 mpoprc
    timeout 20 mpop -C mpoprc a >> log 2>&1
    grep -q 'service=pop3.*mechanism=SCRAM-SHA-256' serve-a.err
}

@test "imaps: the greeting offers what works on this connection, SCRAM bound to its TLS too" {
    free_port IMAPS
    printf 'listen imaps 127.0.0.1:%s\n' "$IMAPS" >> a.conf
    serve a
    python3 - "$IMAPS" "$ROOT/tests/bats" <<'PY' >> log 2>&1
import sys
sys.path.insert(0, sys.argv[2])
from imapline import *
c = Line(sys.argv[1], tls=True)
offered = re.search(r"\[(CAPABILITY .*?)\]", c.greeting).group(1)
assert "* " + offered in c("CAPABILITY"), (offered, c.last)
assert "AUTH=SCRAM-SHA-256-PLUS" in offered, offered
PY
}

# A certificate of the authority ca.pem for a user: client_cert NAME SUBJECT [EXTENSION]
client_cert() {
    openssl req -newkey rsa:2048 -nodes -subj "$2" ${3:+-addext "$3"} -keyout "$1.key" -out "$1.csr" 2> /dev/null
    openssl x509 -req -in "$1.csr" -CA "${4:-ca}.pem" -CAkey "${4:-ca}.key" -CAcreateserial -days 2 -copy_extensions copy \
        -out "$1.pem" 2> /dev/null
}
authority() { # NAME
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=authority $1" -keyout "$1.key" -out "$1.pem" 2> /dev/null
}

@test "a client certificate is enough (EXTERNAL), if it is one of ours and names an account" {
    need openssl msmtp gsasl
    authority ca
    authority other
    client_cert ann "/CN=whoever" "subjectAltName=DNS:x.test,email:nobody@a.test,email:ann@a.test"
    client_cert cn "/CN=ann"
    client_cert bob "/CN=bob"
    client_cert thief "/CN=ann" "subjectAltName=email:ann@a.test" other
    free_port IMAP
    echo "tls-client-ca $T/ca.pem" >> a.conf
    echo "listen imap 127.0.0.1:$IMAP" >> a.conf
    run_postbag 0 config check -C a.conf
    serve a
    message ann@a.test > m
    printf 'host 127.0.0.1\nport %s\nfrom ann@a.test\ntls on\ntls_certcheck off\nauth external\nuser ann\n' "$SUB" > rc
    for c in ann cn; do
        msmtp -C rc --tls-key-file="$T/$c.key" --tls-cert-file="$T/$c.pem" ann@a.test < m >> log 2>&1
        msmtp -C rc --port="$SUBS" --tls-starttls=off --tls-key-file="$T/$c.key" --tls-cert-file="$T/$c.pem" ann@a.test \
            < m >> log 2>&1
    done
    wait_for 10 has_mail a ann 4
    grep -q 'user=ann@a.test .*mechanism=EXTERNAL' serve-a.err
    # Acting for another, a certificate of nobody, of a stranger, or none.
    ! msmtp -C rc --user=bob --tls-key-file="$T/ann.key" --tls-cert-file="$T/ann.pem" ann@a.test < m >> log 2>&1
    for c in bob thief; do
        ! msmtp -C rc --tls-key-file="$T/$c.key" --tls-cert-file="$T/$c.pem" ann@a.test < m >> log 2>&1
    done
    ! msmtp -C rc ann@a.test < m >> log 2>&1
    timeout 20 gsasl --imap --connect="127.0.0.1:$IMAP" -m EXTERNAL -z ann --x509-ca-file= --x509-cert-file=ann.pem \
        --x509-key-file=ann.key < /dev/null > gsasl.out 2>&1
    grep -q 'service=imap user=ann@a.test .*mechanism=EXTERNAL' serve-a.err
    # Passwords work as ever.
    gsasl_smtp SCRAM-SHA-256-PLUS ann 'pencil & "co"' "$SUB"
}

@test "port 25 asks nobody for a certificate" {
    need openssl
    free_port SMTP
    authority ca
    printf 'tls-client-ca %s/ca.pem\nlisten smtp 127.0.0.1:%s\n' "$T" "$SMTP" >> a.conf
    serve a
    echo QUIT | timeout 10 openssl s_client -connect "127.0.0.1:$SMTP" -starttls smtp > s 2>&1
    grep -q 'No client certificate CA names sent' s
    echo QUIT | timeout 10 openssl s_client -connect "127.0.0.1:$SUB" -starttls smtp > s 2>&1
    grep -q 'authority ca' s
}

@test "a command judges access tokens: OAUTHBEARER and XOAUTH2" {
    need curl python3
    free_port IMAP
    cat > judge <<'SH'
#!/bin/sh
read -r token
echo "$SASL_MECHANISM $SASL_USER $token $*" >> judged
[ "$token" = "good-token" ] && [ "$SASL_USER" = ann@a.test ]
SH
    sed -i "s,judged,$T/judged," judge
    chmod 755 judge
    printf 'token-command "%s/judge one two"\nlisten imap 127.0.0.1:%s\n' "$T" "$IMAP" >> a.conf
    serve a
    message ann@a.test > m
    # curl takes OAUTHBEARER, Python is told to take XOAUTH2.
    curl -sS --max-time 20 "smtp://127.0.0.1:$SUB" --mail-from ann@a.test --mail-rcpt ann@a.test -T m -u ann@a.test \
        --oauth2-bearer good-token >> log 2>&1
    ! curl -sS --max-time 20 "smtp://127.0.0.1:$SUB" --mail-from ann@a.test --mail-rcpt ann@a.test -T m -u ann@a.test \
        --oauth2-bearer bad-token >> log 2>&1
    curl -sS --max-time 20 "imap://127.0.0.1:$IMAP/" -u ann@a.test --oauth2-bearer good-token > list 2>> log
    grep -q INBOX list
    ! curl -sS --max-time 20 "imap://127.0.0.1:$IMAP/" -u ann@a.test --oauth2-bearer bad-token >> log 2>&1
    python3 - "$SUB" "$IMAP" >> log 2>&1 <<'PY'
import imaplib, smtplib, sys
def words(token): return f"user=ann@a.test\1auth=Bearer {token}\1\1"
s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]))
s.ehlo()
try:
    s.auth("XOAUTH2", lambda challenge=None: "" if challenge else words("bad-token"))
    sys.exit("a bad token was taken")
except smtplib.SMTPAuthenticationError as e:
    assert e.smtp_code == 535, e
s.auth("XOAUTH2", lambda challenge=None: words("good-token"))
s.sendmail("ann@a.test", ["ann@a.test"], open("m").read())
s.quit()
i = imaplib.IMAP4("127.0.0.1", int(sys.argv[2]))
try:
    i.authenticate("XOAUTH2", lambda c: b"" if c else words("bad-token").encode())
    sys.exit("a bad token was taken")
except imaplib.IMAP4.error as e:
    assert "AUTHENTICATIONFAILED" in str(e), e
i.authenticate("XOAUTH2", lambda c: words("good-token").encode())
i.logout()
PY
    for m in OAUTHBEARER XOAUTH2; do
        grep -q "^$m ann@a.test good-token one two" judged
        grep -q "^$m ann@a.test bad-token one two" judged
    done
    wait_for 10 has_mail a ann 2
    [[ $(count_mail a ann) == 2 ]]
    grep -q 'login failed.*mechanism=XOAUTH2.*why="the token is not accepted"' serve-a.err
    grep -q 'login failed.*mechanism=OAUTHBEARER' serve-a.err
    ! grep -q token: serve-a.err
    ! grep -q good-token serve-a.err
}

@test "a token command that cannot be run refuses for now, not for ever" {
    need curl
    printf 'token-command %s/missing\n' "$T" >> a.conf
    serve a
    message ann@a.test > m
    ! curl -v --max-time 20 "smtp://127.0.0.1:$SUB" --login-options AUTH=XOAUTH2 --mail-from ann@a.test --mail-rcpt ann@a.test -T m \
        -u ann@a.test --oauth2-bearer good-token > curl.out 2>&1
    grep -q '< 454 4.7.0 ' curl.out
}

@test "mail goes through a relay by SCRAM, bound to TLS, and the password stays here" {
    need openssl
    serve a
    site b "relay 127.0.0.1:$SUB ann $T/password" 'relay-tls require'
    printf 'pencil & "co"\n' > password
    chmod 600 password
    message ann@a.test > m
    run_postbag 0 sendmail -C b.conf --now -f ann@a.test ann@a.test < m
    wait_for 10 has_mail a ann
    grep -q 'service=submission user=ann .*mechanism=SCRAM-SHA-256-PLUS' serve-a.err
}

# A relay's stand-in that judges tokens; `b` sends through it as ann.
token_relay() { # RELAY-AUTH
    printf '#!/bin/sh\nread -r token\n[ "$token" = good-token ]\n' > judge
    printf '#!/bin/sh\necho "$SASL_USER" "$@" >> %s/asked\ncat %s/token\n' "$T" "$T" > mint
    chmod 755 judge mint
    printf 'token-command %s/judge\n' "$T" >> a.conf
    serve a
    site b "relay 127.0.0.1:$SUB ann@a.test" 'relay-tls require' "relay-token-command \"$T/mint one\"" "relay-auth $1"
    message ann@a.test > m
}

@test "mail goes through a relay by an access token that a command prints" {
    need openssl
    token_relay auto
    echo good-token > token
    run_postbag 0 sendmail -C b.conf --now -f ann@a.test ann@a.test < m
    sed -i 's/^relay-auth .*/relay-auth xoauth2/' b.conf
    run_postbag 0 sendmail -C b.conf --now -f ann@a.test ann@a.test < m
    wait_for 10 has_mail a ann 2
    grep -q 'service=submission user=ann@a.test .*mechanism=OAUTHBEARER' serve-a.err
    grep -q 'service=submission user=ann@a.test .*mechanism=XOAUTH2' serve-a.err
    [[ $(cat asked) == $'ann@a.test one\nann@a.test one' ]]
    # The other way: what the file holds is the token.
    install -m 600 token file
    sed -i "s,^relay .*,relay 127.0.0.1:$SUB ann@a.test $T/file,; /^relay-token/d; s/^relay-auth .*/relay-auth oauthbearer/" b.conf
    run_postbag 0 sendmail -C b.conf --now -f ann@a.test ann@a.test < m
    wait_for 10 has_mail a ann 3
}

@test "a relay that refuses the token, or a command that prints none, puts mail off and says so" {
    need openssl
    token_relay oauthbearer
    for token in '' 'two words' bad-token; do
        echo "$token" > token
        "$POSTBAG" sendmail -C b.conf -f ann@a.test ann@a.test < m
        "$POSTBAG" queue-run --all -C b.conf --json > run.out 2> run.err || true
        cat run.err >> log
        grep -q 'the relay refuses this host' run.err
    done
    ! grep -q bad-token run.err run.out
    [[ $("$POSTBAG" queue-run -C b.conf --list | grep -c ann@a.test) -ge 3 ]]
    [[ $(count_mail a ann) == 0 ]]
    [[ ! -d b/mail/b.test ]] # nothing was returned
}

@test "only the mechanism that relay-auth names is used, and a user needs something to log in with" {
    need openssl
    serve a
    site b "relay 127.0.0.1:$SUB ann $T/password" 'relay-tls require' 'relay-auth scram-sha-256'
    printf 'pencil & "co"\n' > password
    chmod 600 password
    message ann@a.test > m
    for m in scram-sha-256 plain login; do
        sed -i "s/^relay-auth .*/relay-auth $m/" b.conf
        run_postbag 0 sendmail -C b.conf --now -f ann@a.test ann@a.test < m
        grep -qi "mechanism=$m " serve-a.err
    done
    sed -i 's/^relay-auth .*/relay-auth xoauth2/' b.conf
    "$POSTBAG" sendmail -C b.conf --now -f ann@a.test ann@a.test < m > /dev/null 2> now.err || true
    grep -q 'no login that we can do' now.err
    sed -i "s,^relay .*,relay 127.0.0.1:$SUB ann," b.conf
    run_postbag 78 config check -C b.conf
    err_has 'lacks its password file'
    printf 'relay-token-command mint\n' >> b.conf
    sed -i 's/^relay-auth .*/relay-auth plain/' b.conf
    run_postbag 78 config check -C b.conf
    err_has 'takes a password'
}

@test "TLS from the start to a relay on any port (smtps://)" {
    need openssl
    serve a
    site b "relay smtps://127.0.0.1:$SUBS ann $T/password" 'relay-tls require'
    printf 'pencil & "co"\n' > password
    chmod 600 password
    message ann@a.test > m
    run_postbag 0 sendmail -C b.conf --now -f ann@a.test ann@a.test < m
    "$POSTBAG" sendmail -C b.conf -f ann@a.test ann@a.test < m
    run_postbag 0 queue-run -C b.conf
    wait_for 10 has_mail a ann 2
    [[ $(grep -c 'service=submissions user=ann .*tls="TLS' serve-a.err) -ge 2 ]]
}

@test "pop3-fetch and imap-list log in by an access token, and never give it away as a password" {
    printf '#!/bin/sh\nread -r token\n[ "$token" = good-token ]\n' > judge
    chmod 755 judge
    free_port POP IMAP
    printf 'token-command %s/judge\nlisten pop3 127.0.0.1:%s\nlisten imap 127.0.0.1:%s\n' "$T" "$POP" "$IMAP" >> a.conf
    serve a
    message ann@a.test | "$POSTBAG" deliver -C a.conf ann
    run_postbag 0 imap-list --token --password-command 'echo good-token' "imap://ann%40a.test@127.0.0.1:$IMAP"
    out_has INBOX
    run_postbag 0 pop3-fetch --token --password-command 'echo good-token' --list "pop3://ann%40a.test@127.0.0.1:$POP"
    for s in pop3 imap; do grep -q "service=$s user=ann@a.test .*mechanism=OAUTHBEARER" serve-a.err; done
    run_postbag 77 imap-list --token --password-command 'echo bad-token' "imap://ann%40a.test@127.0.0.1:$IMAP"
    run_postbag 77 pop3-fetch --token --password-command 'echo bad-token' --list "pop3://ann%40a.test@127.0.0.1:$POP"
    ! grep -qE 'mechanism=(PLAIN|LOGIN|USER)' serve-a.err
    stop "$SERVE"
    sed -i '/^token-command/d' a.conf
    serve a
    run_postbag 77 imap-list --token --password-command 'echo good-token' "imap://ann%40a.test@127.0.0.1:$IMAP"
    ! grep -qE 'login failed' serve-a.err
}
