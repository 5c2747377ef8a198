# What hostile IMAP clients do to the server: each is answered BAD, NO or BYE, in bounded memory, and the others are served.
# hostile.py has the cases, and the numbers behind them are megabytes.
load helper

story_setup() {
    free_port P
    site a "listen imap 127.0.0.1:$P" "client-limit 10000"
    user a jo
    for i in 1 2 3 4 5; do printf 'From: a@b.test\nSubject: %s\nMessage-ID: <%s@x>\n\nhello\n' "$i" "$i" | "$POSTBAG" deliver -C a.conf jo; done
}
hostile() { # CASE MEGABYTES; 0: not measured
    serve a
    PYTHONPATH="$ROOT/tests/bats" timeout 200 python3 "$ROOT/tests/bats/hostile.py" "$P" "$SERVE" "$2" "$1" >> log 2>&1
    kill -0 "$SERVE"
    stop "$SERVE"
    [[ $STATUS == 0 ]]
}

@test "literals of any size announced" { hostile literals 60; }
@test "lines without end, NUL, noise" { hostile lines 60; }
@test "nesting of searches and lists" { hostile nesting 60; }
@test "search programs at and over the bounds" { hostile programs 60; }
@test "sequence sets at and over the bounds" { hostile sets 60; }
@test "mailbox names that lead elsewhere, or nowhere" {
    hostile names 60
    [[ -z $(find a/mail -maxdepth 1 -name 'x*') && ! -e a/mail/a.test/x && -z $(find . -newer a.conf -path './x*') ]]
}
@test "patterns of LIST that explode" { hostile patterns 80; }
@test "FETCH of a thousand sections, and of none that can be" { hostile fetches 60; }
@test "SORT and THREAD of loops, and of very deep conversations" { hostile threads 150; }
@test "METADATA at and over the bounds" { hostile metadata 80; }
@test "ENABLE twice, logins and TLS when it is too late" { hostile enable 60; }
@test "a hundred thousand commands in one write" { hostile pipelines 60; }
@test "clients that never read" {
    head -c 20000000 /dev/urandom | base64 | "$POSTBAG" deliver -C a.conf jo
    hostile deaf 60
}
@test "two thousand connections" { hostile crowd 120; }
@test "the same in a build with sanitizers" {
    export POSTBAG=$ROOT/build/asan/postbag
    [[ -x $POSTBAG ]] || skip "there is no build/asan/postbag (make test makes it)"
    local case
    for case in literals lines nesting programs sets names patterns fetches threads metadata enable pipelines; do hostile $case 0; done
}
