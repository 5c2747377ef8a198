load helper

# What holds for every applet, taken from the executable's own list.

story_setup() { mapfile -t APPLETS < <("$POSTBAG" --list); }

@test "the list is sorted, and has more than one applet" {
    "$POSTBAG" --list > list
    [[ $(wc -l < list) -gt 8 ]]
    LC_ALL=C sort -c list
}

@test "every applet shows its options on at most 50 lines" {
    local a
    for a in "${APPLETS[@]}"; do
        run_postbag 0 "$a" --help
        [[ ! -s err ]]
        echo "$a: $(wc -l < out) lines" >> log
        [[ $(wc -l < out) -le 50 ]]
        # Long rows may be longer than a terminal, but not without bound.
        [[ $(wc -L < out) -le 160 ]]
        out_has "postbag $a: "
        out_has "exit status"
    done
}

@test "every applet refuses an unknown option with 64 and one line" {
    local a
    for a in "${APPLETS[@]}"; do
        run_postbag 64 "$a" --frobnicate < /dev/null
        one_error_line "$a"
        err_has "--frobnicate"
        [[ ! -s out ]]
    done
}

@test "every applet refuses a wrong settings file with 78 and one line that names it" {
    local a
    echo 'frobnicate yes' > wrong.conf
    for a in "${APPLETS[@]}"; do
        run_postbag 78 "$a" -C wrong.conf x y < /dev/null || run_postbag 78 "$a" -C wrong.conf check < /dev/null
        [[ $(wc -l < err) == 1 ]]
        err_has wrong.conf:1
    done
}

@test "every applet has a manual page and a bats file" {
    local a missing=
    for a in "${APPLETS[@]}"; do
        [[ -s $ROOT/man/$a.1 ]] || missing+=" man/$a.1"
        [[ -s $ROOT/tests/bats/$a.bats ]] || missing+=" tests/bats/$a.bats"
    done
    echo "missing:$missing" >> log
    [[ -z $missing ]]
}

@test "every applet is in all three completion files" {
    local a sh
    for a in "${APPLETS[@]}"; do
        for sh in bash zsh fish; do
            grep -qw -- "$a" "$ROOT/completions/postbag.$sh"
        done
    done
}

@test "postbag(1) names every applet" {
    local a
    for a in "${APPLETS[@]}"; do
        echo "$a" >> log
        grep -q "Xr postbag-$a 1" "$ROOT/man/postbag.1"
    done
}

@test "manual pages are what the tables make of their templates" {
    local in name
    for in in "$ROOT"/man/*.in; do
        name=$(basename "$in" .in)
        "$POSTBAG" --print-man "${name%.*}" < "$in" > page
        diff -u "$ROOT/man/$name" page >> log
    done
}

@test "completions are what the tables make" {
    local sh
    for sh in bash zsh fish; do
        "$POSTBAG" --print-completion $sh > file
        diff -u "$ROOT/completions/postbag.$sh" file >> log
    done
}

@test "mandoc has nothing to say about the manual pages" {
    need mandoc
    mandoc -Tlint -Wwarning "$ROOT"/man/*.[15] > lint || true
    cat lint >> log
    [[ ! -s lint ]]
}

@test "every option and exit status of an applet is in its manual page" {
    need mandoc
    local a word
    for a in "${APPLETS[@]}"; do
        mandoc -Tascii "$ROOT/man/$a.1" | sed 's/.\x08//g' > page
        "$POSTBAG" "$a" --help > help
        while read -r word; do
            echo "$a $word" >> log
            grep -qF -- "$word" page
        done < <(grep -oE '^ {2,6}(-[a-zA-Z], )?--[a-z0-9-]+' help | grep -oE -- '--[a-z0-9-]+')
    done
}

@test "the shells can read the completions" {
    local sh checked=0
    for sh in bash zsh fish; do
        command -v $sh > /dev/null || continue
        $sh -n "$ROOT/completions/postbag.$sh"
        checked=$((checked + 1))
    done
    [[ $checked -ge 1 ]]
}

@test "bash completes applets, options and files" {
    touch somefile
    cat > try <<'S'
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_postbag
printf '%s\n' "${COMPREPLY[@]}"
S
    bash try "$ROOT/completions/postbag.bash" postbag sen > got
    grep -qx sendmail got
    bash try "$ROOT/completions/postbag.bash" postbag '' > got
    local a
    for a in "${APPLETS[@]}"; do grep -qx -- "$a" got; done
    bash try "$ROOT/completions/postbag.bash" postbag queue-run --ex > got
    grep -qx -- --explain got
    bash try "$ROOT/completions/postbag.bash" mailq --js > got
    grep -qx -- --json got
    # The values of options that take words, behind a blank or an equals sign.
    bash try "$ROOT/completions/postbag.bash" postbag sendmail --relay-tls ver > got
    [[ $(cat got) == verify ]]
    bash try "$ROOT/completions/postbag.bash" postbag sendmail --report = js > got
    [[ $(cat got) == json ]]
    bash try "$ROOT/completions/postbag.bash" mailq --log = > got
    grep -qx journal got
    bash try "$ROOT/completions/postbag.bash" postbag deliver some > got
    grep -qx somefile got
}

@test "fish completes applets and options" {
    need fish
    fish -c "source $ROOT/completions/postbag.fish; complete -C 'postbag mx-l'" > got
    grep -q mx-lookup got
    fish -c "source $ROOT/completions/postbag.fish; complete -C 'postbag queue-run --ex'" > got
    grep -q -- --explain got
    fish -c "source $ROOT/completions/postbag.fish; complete -C 'postbag sendmail --report j'" > got
    grep -q json got
}

@test "an unknown applet is 127, with the nearest name" {
    run_postbag 127 sendmial
    err_has sendmail
    [[ $(wc -l < err) == 1 ]]
    run_postbag 127 something-else-entirely
    err_has "--list"
}

@test "without an applet the overview goes to standard error, with 64" {
    run_postbag 64
    [[ ! -s out ]]
    err_has "usage:"
    run_postbag 0 --help
    [[ ! -s err ]]
    out_has "usage:"
    run_postbag 64 --frobnicate
    [[ $(wc -l < err) == 1 ]]
}

@test "--version, also as JSON" {
    run_postbag 0 --version
    grep -qx "postbag $(cat "$ROOT/VERSION")" out
    run_postbag 0 --version --json
    json_is "d['version'] == '$(cat "$ROOT/VERSION")' and 'sendmail' in d['applets']"
    run_postbag 0 sendmail --version
    grep -qx "postbag $(cat "$ROOT/VERSION")" out
}

@test "--install makes links that work, and keeps what is there" {
    mkdir bin
    echo mine > bin/deliver
    run_postbag 73 --install bin || run_postbag 0 --install bin
    [[ $(cat bin/deliver) == mine ]]
    rm bin/deliver
    run_postbag 0 --install bin
    run_postbag 0 --install bin
    local a
    for a in "${APPLETS[@]}" mailq newaliases; do
        [[ -L bin/$a ]]
        "bin/$a" --help > /dev/null
    done
    bin/mailq --data "$T/none" | grep -qx 'Mail queue is empty'
    run_postbag 64 --install
}

@test "a small command starts without the heavy libraries" {
    "$POSTBAG" --version --json | grep -q '"linkage":"lazy"' || skip "linked directly"
    LD_DEBUG=files "$POSTBAG" sendmail --help > /dev/null 2> loaded
    grep -q 'libc\.so' loaded
    ! grep -qE 'lib(gnutls|curl|ldns|unbound|sqlite3|idn2)' loaded
}

@test "the examples of the manual pages are commands that exist" {
    local a option
    while read -r a option; do
        [[ $a == --* ]] && continue
        echo "$a $option" >> log
        "$POSTBAG" "$a" --help | grep -q -- "$option"
    done < <(grep -ho '^\$ postbag [a-z0-9-]* .*' "$ROOT"/man/*.in |
        awk '{ for (i = 4; i <= NF; i++) if ($i ~ /^--[a-z]/) { sub(/=.*/, "", $i); print $3, $i } }')
}
