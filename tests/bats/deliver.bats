load helper

story_setup() {
    site a
    user a ann
    user a bob
}
deliver() { local want=$1; shift; run_postbag "$want" deliver -C a.conf "$@"; }

@test "a message lands in the mailbox, whole, with Return-Path and Delivered-To in front" {
    message ann@a.test > m
    deliver 0 -f zoe@b.test ann@a.test < m
    [[ ! -s out && ! -s err ]]
    [[ $(count_mail a ann) == 1 ]]
    python3 - "$(mail_file a ann)" m <<'PY'
import sys
got = open(sys.argv[1], "rb").read().replace(b"\r\n", b"\n")
want = open(sys.argv[2], "rb").read()
assert got.startswith(b"Return-Path: <zoe@b.test>\nDelivered-To: ann@a.test\n"), got
assert got.endswith(want), got
PY
}

@test "several recipients, a name alone, a subaddress and another case" {
    message all > m
    deliver 0 ann bob@A.TEST < m
    deliver 0 Ann+lists@a.test < m
    [[ $(count_mail a ann) == 2 && $(count_mail a bob) == 1 ]]
}

@test "an alias leads to its mailboxes, each once" {
    printf 'team: ann, bob, ann@a.test\nall: team\n' > a/aliases
    deliver 0 all@a.test < <(message all)
    [[ $(count_mail a ann) == 1 && $(count_mail a bob) == 1 ]]
}

@test "an unknown user is 67, and nothing at all is delivered" {
    deliver 67 ann@a.test nobody@a.test < <(message x)
    one_error_line deliver
    [[ $(count_mail a ann) == 0 ]]
}

@test "somebody elsewhere is 67" {
    deliver 67 ann@elsewhere.test < <(message x)
    one_error_line deliver
    err_has elsewhere.test
}

@test "--maildir delivers into that Maildir, --mailbox into a folder made for it" {
    deliver 0 --maildir "$T/some" < <(message x)
    [[ $(find some/new -type f | wc -l) == 1 ]]
    deliver 0 -m 'Lists/Größe' ann < <(message x)
    [[ $(find a/mail/a.test/ann/Maildir/.Lists* -path '*/new/*' -type f | wc -l) == 1 ]]
}

@test "a mailbox name cannot leave the Maildir" {
    deliver 0 -m '../../../../escape' ann < <(message x)
    [[ -z $(find "$T" -name '*escape*' -not -path "$(maildir a ann)/*") ]]
    [[ $(find "$(maildir a ann)" -maxdepth 1 -name '*escape*' | wc -l) == 1 ]]
}

@test "an mbox line in front is dropped" {
    { echo 'From zoe@b.test Mon Jan  1 00:00:00 2024'; message x; } > m
    deliver 0 ann < m
    ! grep -q '^From zoe' "$(mail_file a ann)"
}

@test "mail that was here before is a loop" {
    deliver 0 ann < <(message x)
    cp "$(mail_file a ann)" again
    deliver 65 ann < again
    one_error_line deliver
    err_has loop
    [[ $(count_mail a ann) == 1 ]]
}

@test "an empty message is delivered" {
    deliver 0 ann < /dev/null
    [[ $(count_mail a ann) == 1 ]]
}

@test "no recipient, or one beside --maildir, is 64" {
    deliver 64 < <(message x)
    one_error_line deliver
    deliver 64 --maildir x ann < <(message x)
    one_error_line deliver
    deliver 64 --from $'a\nb' ann < <(message x)
    one_error_line deliver
    deliver 64 --form=x ann < <(message x)
    err_has -- "--from"
}

@test "a message over message-size-limit is 65" {
    deliver 65 --message-size-limit=1k ann < <(message x; head -c 2000 /dev/zero | tr '\0' x)
    one_error_line deliver
    [[ $(count_mail a ann) == 0 ]]
}

@test "a mailbox that may not be written is 75: nothing is lost by trying again" {
    plain_rights
    deliver 0 ann < <(message x)
    chmod 500 a/mail/a.test/ann/Maildir/tmp a/mail/a.test/ann/Maildir/new
    deliver 75 ann < <(message x)
    one_error_line deliver
    chmod 700 a/mail/a.test/ann/Maildir/tmp a/mail/a.test/ann/Maildir/new
}

@test "a full disk is 75, and no piece of the message is left" {
    deliver 0 ann < <(message x)
    (ulimit -f 64; trap '' XFSZ; deliver 75 ann < <(message x; head -c 2000000 /dev/zero | tr '\0' x))
    [[ $(wc -l < err) == 1 ]]
    [[ $(count_mail a ann) == 1 ]]
    [[ -z $(find a -path '*/tmp/*' -type f) ]]
}

@test "a full tmpfs is 75" {
    [[ $(id -u) == 0 ]] || skip "mounting needs root"
    mkdir full
    mount -t tmpfs -o size=256k tmpfs full 2> /dev/null || skip "no mount here"
    local status=0
    run_postbag 75 deliver --maildir "$T/full" < <(message x; head -c 500000 /dev/zero | tr '\0' x) || status=1
    [[ -z $(find full -path '*/new/*' -type f) ]] || status=2
    umount full
    [[ $status == 0 ]]
}

@test "twenty at once all arrive" {
    local i pids=()
    for i in $(seq 20); do
        message "ann" "n$i" | "$POSTBAG" deliver -C a.conf ann 2>> all.err &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    [[ $(count_mail a ann) == 20 ]]
    [[ $(grep -h '^Subject' a/mail/a.test/ann/Maildir/new/* | sort -u | wc -l) == 20 ]]
}
