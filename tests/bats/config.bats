load helper

@test "without any file the settings are the defaults" {
    run_postbag 0 config check
    out_has "ok"
    run_postbag 0 config show
    out_has "queue-lifetime"
    [[ ! -s err ]]
}

@test "config show is the default operand" {
    run_postbag 0 config show
    cp out first
    run_postbag 0 config
    cmp out first
}

@test "option beats environment beats file beats default, and --origin tells which" {
    printf 'retry 10m\nqueue-lifetime 2d\nmessage-size-limit 3M\n' > c.conf
    POSTBAG_RETRY=7m POSTBAG_QUEUE_LIFETIME=3d run_postbag 0 config show -C c.conf --retry=1m --origin
    grep -E '^retry +1m .*# --retry' out
    grep -E '^queue-lifetime +3d .*# .*POSTBAG_QUEUE_LIFETIME' out
    grep -E '^message-size-limit +3M .*# .*c\.conf:3' out
    grep -E '^plaintext-auth +no .*# default' out
}

@test "an include is read, and paths in it belong to its directory" {
    mkdir sub
    echo 'include sub/more.conf' > c.conf
    echo 'accounts users' > sub/more.conf
    run_postbag 0 config show -C c.conf --origin
    grep -E '^accounts +users .*more\.conf:1' out
    echo 'ann@a.test:{PLAIN}x' > sub/users
    run_postbag 0 account list -C c.conf
    out_has ann@a.test
}

@test "an include of itself ends with 78" {
    echo 'include c.conf' > c.conf
    run_postbag 78 config check -C c.conf
    one_error_line config
}

@test "--json has every setting with value and origin" {
    run_postbag 0 config show --json
    json_is 'len(o) > 15 and all({"name", "value", "origin"} <= set(x) for x in o)'
    json_is '[x["value"] for x in o if x["name"] == "mx-port"] == ["25"]'
}

@test "a misspelt setting: file, line, word and the nearest right one, 78" {
    printf '# comment\n\nhostnam mail.a.test\n' > c.conf
    run_postbag 78 config check -C c.conf
    one_error_line config
    err_has 'c.conf:3'
    err_has 'hostnam'
    err_has 'hostname'
}

@test "bad values are named, each with 78" {
    local line
    for line in 'retry soon' 'retry -5m' 'message-size-limit 10X' 'mx-port 99999' \
        'plaintext-auth maybe' 'listen ftp 127.0.0.1:21' 'log shouting' 'relay-tls perhaps' \
        'relay-from 10.0.0.0/99' 'dnssec sometimes' 'queue-lifetime 99999999999999999999d'; do
        echo "$line" > c.conf
        run_postbag 78 config check -C c.conf
        one_error_line config
        err_has 'c.conf:1'
    done
}

@test "a bad value on the command line is 64, in the environment 78" {
    run_postbag 64 config check --retry=soon
    one_error_line config
    POSTBAG_RETRY=soon run_postbag 78 config check
    one_error_line config
    err_has POSTBAG_RETRY
}

@test "a file that is not there, is a directory, or is no text is named" {
    run_postbag 78 config check -C nowhere.conf
    err_has nowhere.conf
    one_error_line config
    mkdir d.conf
    run_postbag 78 config check -C d.conf
    one_error_line config
    head -c 2000 /dev/urandom > r.conf
    run_postbag 78 config check -C r.conf
    one_error_line config
}

@test "a file that may not be read is 78 and named" {
    plain_rights
    echo 'retry 5m' > c.conf
    chmod 0 c.conf
    run_postbag 78 config check -C c.conf
    err_has c.conf
}

@test "neither check nor show is 64, and so is a second operand" {
    run_postbag 64 config frobnicate
    one_error_line config
    run_postbag 64 config check show
    one_error_line config
    run_postbag 64 config --no-such
    one_error_line config
}

@test "a full standard output is told" {
    [[ -e /dev/full ]] || skip "no /dev/full"
    local status=0
    "$POSTBAG" config show > /dev/full 2> err || status=$?
    [[ $status == 74 || $status == 75 ]]
    err_has "standard output"
}

@test "a file with CRLF line ends is read" {
    printf 'retry 9m\r\nqueue-lifetime 2d\r\n' > c.conf
    run_postbag 0 config show -C c.conf
    grep -qE '^retry +9m$' out
}

@test "check looks at what the settings name, and tells everything that is wrong" {
    printf 'tls /no/chain.pem /no/key.pem\nuser nosuchuser\nrelay 127.0.0.1:25 me /no/password\ndata %s\n' "$T/d" > c.conf
    mkdir d
    echo 'x: |command' > d/aliases
    run_postbag 78 config -C c.conf check
    for word in /no/chain.pem /no/key.pem nosuchuser /no/password aliases:1; do err_has "$word"; done
}
