# What DNSSEC says reaches the user in four words: secure, insecure, bogus, unknown.
load helper

# signed.test is signed with a key that is in $T/anchor; plain.test is not; broken.test is signed, then changed.
story_setup() {
    printf '@ MX 10 mx\nmx A 127.0.0.1\n' | zone signed.test
    printf '@ MX 10 mx\nmx A 127.0.0.1\n' | zone broken.test
    printf '@ MX 10 mx\nmx A 127.0.0.1\n' | zone plain.test
    local z key
    for z in signed.test broken.test; do
        (cd nsd && key=$(ldns-keygen -a ECDSAP256SHA256 -k "$z") && ldns-signzone -n -t 5 -s beef "$z.zone" "$key" &&
            cat "$key.key" >> "$T/anchor" && mv "$z.zone.signed" "$z.zone")
    done
    sed -i -E 's/^(mx\.broken\.test\.\s+[0-9]+\s+IN\s+A\s+).*/\1127.0.0.9/' nsd/broken.test.zone
    dns
    MODULES=${MODULES:-iterator} recursor
}

word() { # DOMAIN SETTING...
    run_postbag "${WANT:-0}" mx-lookup --json --resolver "127.0.0.1:$REC" "${@:2}" "$1"
    python3 -c 'import json,sys; print(json.load(open("out"))["dnssec"])'
}

@test "dnssec validate: a signed domain is secure, an unsigned one insecure" {
    [[ $(word signed.test --dnssec validate --trust-anchor anchor) == secure ]]
    [[ $(word plain.test --dnssec validate --trust-anchor anchor) == insecure ]]
}

@test "dnssec validate: an answer that was changed is bogus: mail waits (75), and never goes there" {
    run_postbag 75 mx-lookup --resolver "127.0.0.1:$REC" --dnssec validate --trust-anchor anchor broken.test
    out_lacks 127.0.0.9
}

@test "a resolver that does not validate makes the word unknown, not insecure" {
    [[ $(word signed.test) == unknown ]]
}

@test "the word of a validating resolver on the loopback is believed; dnssec off believes nobody" {
    kill "$(tail -n 1 pids)"
    MODULES='validator iterator' story_setup
    [[ $(word signed.test) == secure ]]
    [[ $(word signed.test --dnssec off) == unknown ]]
    WANT=75 word broken.test || true
}

@test "a trust anchor that cannot be read is 78 and named" {
    run_postbag 78 mx-lookup --resolver "127.0.0.1:$REC" --dnssec validate --trust-anchor nowhere signed.test
    one_error_line mx-lookup
    err_has nowhere
}
