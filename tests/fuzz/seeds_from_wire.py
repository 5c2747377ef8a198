#!/usr/bin/env python3
"""Seeds for the engine fuzzers: what the peer says in each transcript of tests/wire.
Usage: tests/fuzz/seeds_from_wire.py   (from the top folder; writes tests/fuzz/seeds/NAME/)"""
import pathlib, re

heads = {"smtp-server": b"\x08a", "lmtp-server": b"\x0aa", "smtp-client": b"\x00",
         "pop3-server": b"\x00", "pop3-client": b"\x00", "imap-server": b"\xc0"}
names = {"lmtp-server": "smtp_server"}
preauth = {"imap-server": b"\x80"}

def unescape(s):
    end = b"\r\n"
    if s.endswith("\\c"):
        s, end = s[:-2], b""
    table = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
    out, i = b"", 0
    while i < len(s):
        if s[i] == "\\" and s[i + 1] == "x":
            out, i = out + bytes([int(s[i + 2:i + 4], 16)]), i + 4
        elif s[i] == "\\":
            out, i = out + table.get(s[i + 1], s[i:i + 2].encode()), i + 2
        else:
            out, i = out + s[i].encode("utf-8", "surrogateescape"), i + 1
    return out + end

for folder, head in heads.items():
    mark = "C" if folder.endswith("server") else "S"
    target = pathlib.Path("tests/fuzz/seeds", names.get(folder, folder.replace("-", "_")))
    target.mkdir(parents=True, exist_ok=True)
    for f in sorted(pathlib.Path("tests/wire", folder).glob("*.txt")):
        text = f.read_text("utf-8", "surrogateescape")
        said = b"".join(unescape(m[1]) for m in re.finditer(mark + r": ?(.*)", text)
                        if m.string[m.start() - 1:m.start()] in ("", "\n"))
        if len(said) < 4000:
            first = preauth[folder] if folder in preauth and "\nH: preauth" in text else head
            (target / f"{folder[:4]}-{f.stem}").write_bytes(first + said)
for name, texts in {"reply": [b"250-a.example\r\n250-SIZE 10\r\n250 AUTH PLAIN\r\n", b"550 5.1.1 no\r\n", b"220\r\n"],
                    "dot": [b".a\n.\r\n\rx", b"\r\n.\r\n", b"a\n.\n", b"..\r.\r\r\n"]}.items():
    target = pathlib.Path("tests/fuzz/seeds", name)
    target.mkdir(parents=True, exist_ok=True)
    for i, t in enumerate(texts):
        (target / str(i)).write_bytes(t)
