load helper

story_setup() { site a; }
account() { local want=$1; shift; run_postbag "$want" account -C a.conf "$@"; }

@test "an account is added, checked, listed and removed" {
    account 0 add ann <<< "good password"
    out_has "ann@a.test"
    [[ -d a/mail/a.test/ann/Maildir/cur ]]
    account 0 check ann <<< "good password"
    out_has "ok"
    account 0 list
    out_has "ann@a.test"
    account 0 remove ann
    account 0 list
    [[ ! -s out ]]
}

@test "the password is stored as a yescrypt hash, and the file is private" {
    account 0 add ann <<< "good password"
    grep -q '^ann@a.test:{[A-Z]*CRYPT}\$y\$' a/accounts
    ! grep -q 'good password' a/accounts
    [[ $(stat -c %a a/accounts) == 600 ]]
}

@test "a new password replaces the old one" {
    account 0 add ann <<< "one"
    account 0 password ann <<< "two"
    account 77 check ann <<< "one"
    one_error_line account
    account 0 check ann <<< "two"
}

@test "--home moves the mailbox" {
    account 0 add --home="$T/elsewhere" ann <<< "one"
    [[ -d elsewhere/Maildir/new ]]
    account 0 list
    out_has "$T/elsewhere/Maildir"
}

@test "--json lists one object per account" {
    account 0 add ann <<< "one"
    account 0 add bob@a.test <<< "two"
    account 0 list --json
    json_is '[x["name"] for x in o] == ["ann@a.test", "bob@a.test"]'
}

@test "a name in capitals is the same account" {
    account 0 add Ann <<< "one"
    account 0 check aNN@A.TEST <<< "one"
    account 73 add ann <<< "two"
    one_error_line account
}

@test "an account of another domain can be added by its full name" {
    echo 'domain b.test' >> a.conf
    account 0 add bob@b.test <<< "one"
    [[ -d a/mail/b.test/bob/Maildir ]]
}

@test "an unknown account is 67" {
    account 67 check nobody <<< "x" || account 77 check nobody <<< "x"
    account 67 remove nobody
    one_error_line account
    account 67 password nobody <<< "x"
    one_error_line account
}

@test "an account that is there already is 73, and keeps its password" {
    account 0 add ann <<< "one"
    account 73 add ann <<< "two"
    one_error_line account
    account 0 check ann <<< "one"
}

@test "an empty or endless password and a bad name are 65" {
    account 65 add ann < /dev/null
    one_error_line account
    account 65 add ann < <(head -c 100000 /dev/zero | tr '\0' x)
    one_error_line account
    account 65 add 'a:b' <<< "x"
    one_error_line account
    account 65 add '../../etc' <<< "x"
    account 65 add $'a\nb' <<< "x"
    one_error_line account
    account 65 add 'a/../../b' <<< "x"
    [[ ! -e a/accounts ]] || [[ ! -s a/accounts ]]
}

@test "the command line is checked: 64" {
    run_postbag 64 account
    one_error_line account
    account 64 add
    one_error_line account
    account 64 frobnicate ann <<< x
    one_error_line account
    account 64 list --jso
    one_error_line account
}

@test "other lines of the file stay as they are" {
    printf '# people\nbob@a.test:{PLAIN}x::::/srv/bob\n\n' > a/accounts
    account 0 add ann <<< "one"
    account 0 password ann <<< "two"
    account 0 remove ann
    grep -qx '# people' a/accounts
    grep -qxF 'bob@a.test:{PLAIN}x::::/srv/bob' a/accounts
}

@test "{PLAIN}, {CRYPT} and {SHA512-CRYPT} passwords of others can be checked" {
    local hash
    hash=$(python3 -c 'import crypt; print(crypt.crypt("three", "$6$salt"))' 2> /dev/null)
    printf 'a1@a.test:{PLAIN}one\na3@a.test:{CRYPT}%s\na4@a.test:{SHA512-CRYPT}%s\n' "$hash" "$hash" > a/accounts
    account 0 check a1 <<< one
    account 0 check a3 <<< three
    account 0 check a4 <<< three
    account 77 check a4 <<< four
}

@test "two at the same time lose nothing" {
    local i pids=()
    for i in 1 2 3 4 5 6; do
        "$POSTBAG" account -C a.conf add "user$i" <<< "p$i" > /dev/null 2>> adds.err &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    account 0 list --json
    json_is 'len(o) == 6'
}

@test "a directory that may not be written is 77" {
    plain_rights
    chmod 500 a
    account 77 add ann <<< "x"
    one_error_line account
    chmod 700 a
}

@test "a full disk is told and the old file stays" {
    account 0 add ann <<< "one"
    # A process whose files may not grow stands for a full disk.
    local status=0
    (ulimit -f 0; trap '' XFSZ; exec "$POSTBAG" account -C a.conf add bob <<< "two" > /dev/null 2> err2) || status=$?
    [[ $status == 75 || $status == 74 ]]
    account 0 check ann <<< "one"
    account 0 list --json
    json_is 'len(o) == 1'
}
