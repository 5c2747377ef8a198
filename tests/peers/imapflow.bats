# imapflow, the IMAP client of Node.js: one story over implicit TLS, STARTTLS and in clear.
# `make deps` installs it into build/imapflow.
load ../bats/helper
load peers

modules_or_fail() {
    [[ -d $ROOT/build/imapflow/node_modules/imapflow ]] && command -v node > /dev/null || {
        echo "imapflow is not installed in build/imapflow: see what make deps says (needs node, npm and a package registry)"
        return 1
    }
}
imapflow() { # PORT HOW
    timeout 120 node "$ROOT/tests/peers/imapflow/story.mjs" "$ROOT/build/imapflow" "$1" "$2" >> log 2>&1
    [[ $(tail -1 log) == done ]]
}

@test "imapflow over implicit TLS: list, fetch, search, flags, move, append, download, IDLE, quota, QRESYNC" {
    modules_or_fail
    reading_site "quota 100M"
    imapflow "$IMAPS" tls
    grep -q 'login service=imaps user=ann@a.test' serve-a.err
}

@test "imapflow over STARTTLS" {
    modules_or_fail
    reading_site "quota 100M"
    imapflow "$IMAP" starttls
}

@test "imapflow in clear" {
    modules_or_fail
    reading_site "quota 100M"
    sed -i 's/^plaintext-auth no/plaintext-auth yes/' a.conf
    stop "$SERVE"
    serve a
    imapflow "$IMAP" clear
}
