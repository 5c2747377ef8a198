# What hostile POP3 clients do to the server: each command is answered, in bounded memory, and other users are served.
load helper

story_setup() {
    free_port P
    site a "listen pop3 127.0.0.1:$P" "client-limit 10000"
    user a jo
    user a mo
    for i in 1 2 3 4 5; do printf 'From: a@b.test\nSubject: %s\n\nhello\n.\n..\n' "$i" | "$POSTBAG" deliver -C a.conf jo; done
}
hostile() {
    serve a
    PYTHONPATH="$ROOT/tests/bats" timeout 200 python3 "$ROOT/tests/bats/hostile_pop3.py" "$P" "$SERVE" "$@" >> log 2>&1
    kill -0 "$SERVE"
    stop "$SERVE"
    [[ $STATUS == 0 ]]
}

@test "numbers, lines, pipelines, and who never reads" { hostile; }
@test "the same in a build with sanitizers" {
    export POSTBAG=$ROOT/build/asan/postbag
    [[ -x $POSTBAG ]] || skip "there is no build/asan/postbag (make test makes it)"
    hostile unmeasured
}
