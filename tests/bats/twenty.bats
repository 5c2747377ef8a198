# Twenty processes on one account: servers, delivery, IMAP, POP3, and hands that rename files (TWENTY_SECONDS of it, 8).
load helper

story_setup() {
    free_port I J P
    site a "listen imap 127.0.0.1:$I" "listen pop3 127.0.0.1:$P"
    site b "listen imap 127.0.0.1:$J" "data $T/a" "domain a.test" "hostname mail.a.test"
    sed -i "/data .*\/b\$/d; /domain b.test/d; /hostname mail.b.test/d" b.conf
    user a jo
    serve a
    FIRST=$SERVE
    serve b
}

@test "twenty processes: no lost mail, no lost flag, no UID twice, nobody waits for a slow reader" {
    PYTHONPATH="$ROOT/tests/bats" timeout 180 python3 "$ROOT/tests/bats/twenty.py" "$POSTBAG" a.conf "$T/a/mail/a.test/jo/Maildir" \
        "$I" "$J" "$P" "${TWENTY_SECONDS:-8}" >> log 2>&1
    kill -0 "$FIRST" && kill -0 "$SERVE"
}
