# addr: address lists as people and programs write them.
load helper

@test "names, quotes, comments and groups are read; one address a line" {
    run_postbag 0 addr 'Jo "the" Doe <jo@x.test>, (c) "d e"@y.test (d), team: a@z.test, b@z.test;'
    [[ $(< out) == $'jo@x.test\n"d e"@y.test\na@z.test\nb@z.test' ]]
}

@test "--json has the parts, names decoded" {
    run_postbag 0 addr --json < <(printf '=?utf-8?q?J=C3=B6?= <jo@x.test>, g: m@y.test;\n')
    python3 - <<'PY'
import json
a, b = [json.loads(l) for l in open("out")]
assert a == {"v": 1, "name": "Jö", "local": "jo", "domain": "x.test", "group": None}, a
assert b["group"] == "g" and b["local"] == "m", b
PY
}

@test "what is no address is 65, and the others are printed" {
    run_postbag 65 addr 'good@x.test, bad@'
    out_has good@x.test
    one_error_line addr
}

@test "an unknown option is 64" {
    run_postbag 64 addr --jsn x@y.test
    one_error_line addr
    err_has --json
}
