# imaptest: what the server says is read strictly, and it is tried by many clients at once (after Dovecot's imaptest).
load ../bats/helper
load ../bats/dovecot

story_teardown() { dovecot_end; }

@test "every answer in the transcripts of the IMAP server is grammatical" {
    python3 "$ROOT/tests/peers/imapgrammar.py" "$ROOT"/tests/wire/imap-server/*.txt > out
    out_has ' 0 faults'
    [[ $(sed -n 's/ answers,.*//p' out) -gt 1000 ]]
}
