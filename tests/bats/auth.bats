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
