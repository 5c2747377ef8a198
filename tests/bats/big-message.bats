# Messages of many megabytes: what they cost, what pieces of them say, and what happens when the file changes underneath.
load helper

story_setup() {
    free_port P Q
    site a "listen imap 127.0.0.1:$P" "listen pop3 127.0.0.1:$Q" "message-size-limit 200M"
    user a jo
    mkdir -p a/mail/a.test/jo/Maildir/{cur,new,tmp}
    BIG=a/mail/a.test/jo/Maildir/cur/1.big.host:2,S
    {
        printf 'From: a@b.test\nSubject: big\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n'
        printf -- '--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n'
        head -c 50000000 /dev/urandom | base64
        printf -- '--b--\n'
    } > "$BIG"
    serve a
}
big() { PYTHONPATH="$ROOT/tests/bats" timeout 200 python3 "$ROOT/tests/bats/big.py" "$P" "$Q" "$SERVE" "$@" >> log 2>&1; }

@test "no request for a large message makes the server grow by 4 MiB" { big memory; }
@test "pieces of a large message are what the whole says" { big pieces; }
@test "a file cut short while it is sent ends nobody else's session" {
    big cut "$BIG"
    kill -0 "$SERVE"
    stop "$SERVE"
    [[ $STATUS == 0 ]]
}
