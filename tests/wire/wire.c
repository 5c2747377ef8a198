/* wire: play transcripts against the engines. See README for the format. */
#include "wire.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/ascii.h"
#include "base/err.h"
#include "base/num.h"

#define WIRE(name) extern const struct wire_engine wire_##name;
#include "list.h"
#undef WIRE
static const struct wire_engine *const engines[] = {
#define WIRE(name) &wire_##name,
#include "list.h"
#undef WIRE
};

enum { STEPS_MAX = 400, FILE_MAX_BYTES = 1 << 20, FILES_MAX = 2000 };

struct line {
    char kind; // S C E A T X
    int line;
    struct slice text; // S, C: unescaped, with CRLF
};
struct script {
    const struct wire_engine *e;
    char *file;
    struct buf text, bytes, options;
    struct line steps[STEPS_MAX];
    size_t count, peer_bytes;
};
// How the peer's bytes are cut: pieces of `piece` (0: whole), and a cut at offset `split`.
struct cut {
    size_t piece, split, stop;
};

bool wire_unescape(struct buf *out, struct slice in) {
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '\\' && i + 1 < in.n) {
            c = in.p[++i];
            if (c == 'r') c = '\r';
            else if (c == 'n') c = '\n';
            else if (c == 't') c = '\t';
            else if (c == '0') c = '\0';
            else if (c == 'c' && i + 1 == in.n) return false;
            else if (c == 'x' && i + 2 < in.n) {
                c = (char)(ascii_hex(in.p[i + 1]) * 16 + ascii_hex(in.p[i + 2]));
                i += 2;
            }
        }
        buf_addc(out, c);
    }
    return true;
}

void wire_escape(struct buf *out, struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\r') buf_add(out, S("\\r"));
        else if (c == '\n') buf_add(out, S("\\n"));
        else if (c == '\\') buf_add(out, S("\\\\"));
        else if (c >= 32 && c < 127) buf_addc(out, c);
        else buf_addf(out, "\\x%02x", (unsigned)(unsigned char)c);
    }
}

struct slice wire_option(struct slice options, struct slice word) {
    struct slice line, key, value;
    while (slice_line(&options, &line)) {
        slice_cut(line, ' ', &key, &value);
        if (slice_eq(key, word)) return value.p ? slice_trim(value) : S("");
    }
    return (struct slice){NULL, 0};
}
bool wire_flag(struct slice options, const char *word) {
    return wire_option(options, slice_str(word)).p;
}
uint64_t wire_number(struct slice options, const char *word) {
    uint64_t n = 0;
    num_parse(wire_option(options, slice_str(word)), UINT64_MAX, &n);
    return n;
}
void wire_reply(struct slice words, unsigned *code, struct mail_status *status,
                struct slice *text) {
    struct slice w = S(""), rest = words, s, part;
    uint64_t n = 0, d[3] = {0};
    slice_word(&rest, &w);
    num_parse(w, 999, &n);
    *code = (unsigned)n;
    *text = slice_trim(rest);
    *status = (struct mail_status){0};
    if (!slice_word(&rest, &s)) return;
    for (int i = 0; i < 3; i++) {
        if (!slice_cut(s, '.', &part, &s) && i < 2) return;
        if (!num_parse(part, 999, &d[i])) return;
    }
    *status = STATUS((uint16_t)d[0], (uint16_t)d[1], (uint16_t)d[2]);
    *text = slice_trim(rest);
}

// --- reading ----------------------------------------------------------------------------------

static bool read_file(const char *path, struct buf *out) {
    FILE *f = fopen(path, "rb");
    size_t n;
    buf_init(out, FILE_MAX_BYTES);
    if (!f) return false;
    char tmp[4096];
    while ((n = fread(tmp, 1, sizeof tmp, f)) > 0) buf_add(out, slice_of(tmp, n));
    fclose(f);
    return !out->bad;
}

static const struct wire_engine *find_engine(struct slice folder) {
    if (slice_eq(folder, S("lmtp-server"))) folder = S("smtp-server");
    if (slice_eq(folder, S("lmtp-client"))) folder = S("smtp-client");
    for (size_t i = 0; i < COUNT_OF(engines); i++)
        if (slice_eq(folder, slice_str(engines[i]->name))) return engines[i];
    return NULL;
}

static const char *load(struct script *s, const char *path) {
    struct slice rest, line;
    int number = 0;
    const char *slash = strrchr(path, '/'), *dir = slash;
    if (!read_file(path, &s->text)) return "cannot read it";
    while (dir && dir > path && dir[-1] != '/') dir--;
    struct slice folder = dir ? slice_of(dir, (size_t)(slash - dir)) : S("");
    s->e = find_engine(folder);
    if (!s->e) return "no engine for this folder";
    buf_init(&s->bytes, FILE_MAX_BYTES);
    buf_init(&s->options, 65536);
    size_t at[STEPS_MAX], len[STEPS_MAX];
    rest = buf_slice(&s->text);
    while (slice_line(&rest, &line)) {
        number++;
        if (!line.n || line.p[0] == '#') continue;
        if (line.n < 2 || line.p[1] != ':' || !memchr("SCEATXO", line.p[0], 7)) return "bad line";
        char kind = line.p[0];
        line = slice_from(line, line.n > 2 && line.p[2] == ' ' ? 3 : 2);
        if (kind == 'O') {
            buf_addf(&s->options, "%.*s\n", SP(line));
            continue;
        }
        if (s->count == STEPS_MAX) return "too many steps";
        size_t i = s->count++;
        s->steps[i] = (struct line){kind, number, line};
        at[i] = s->bytes.n;
        if (kind == 'S' || kind == 'C') {
            if (wire_unescape(&s->bytes, line)) buf_add(&s->bytes, S("\r\n"));
            if ((kind == 'C') == s->e->is_server) s->peer_bytes += s->bytes.n - at[i];
        } else buf_add(&s->bytes, line);
        len[i] = s->bytes.n - at[i];
    }
    for (size_t i = 0; i < s->count; i++) s->steps[i].text = slice_of(s->bytes.p + at[i], len[i]);
    return NULL;
}

// --- playing ----------------------------------------------------------------------------------

struct play {
    const struct script *s;
    struct cut cut;
    void *self;
    struct engine en;
    mono_t now;
    struct buf input, said, event, data;
    size_t fed; // bytes of the peer taken so far
    bool has_event, has_data, is_open;
};

static bool pull(struct play *p) {
    struct slice data = {0};
    if (p->has_event) return true;
    buf_reset(&p->event);
    if (!p->s->e->next(p->self, &p->event, &data)) return false;
    p->has_event = true;
    p->has_data = data.p != NULL;
    if (data.p) {
        buf_reset(&p->data);
        buf_add(&p->data, data);
    }
    return true;
}

// Offer one piece of what the peer said. True: something was taken.
static bool offer(struct play *p) {
    struct slice in = buf_slice(&p->input);
    if (!in.n) return false;
    if (p->cut.piece && in.n > p->cut.piece) in.n = p->cut.piece;
    if (p->cut.split > p->fed && p->fed + in.n > p->cut.split) in.n = p->cut.split - p->fed;
    // Exactly this many bytes are readable memory.
    char *copy = malloc(in.n);
    memcpy(copy, in.p, in.n);
    size_t n = p->en.ops->feed(p->en.self, slice_of(copy, in.n), p->now);
    free(copy);
    buf_drop(&p->input, n);
    p->fed += n;
    return n > 0;
}

static bool drain(struct play *p) {
    struct slice out = p->en.ops->out(p->en.self);
    if (!out.n) return false;
    if (p->cut.piece && out.n > p->cut.piece) out.n = p->cut.piece;
    buf_add(&p->said, out);
    p->en.ops->sent(p->en.self, out.n, p->now);
    return true;
}

static bool parse_time(struct slice t, mono_t *ms) {
    uint64_t n, unit;
    if (!t.n || *t.p != '+') return false;
    t = slice_from(t, 1);
    if (!num_take(&t, 1000000000, &n)) return false;
    if (slice_eq(t, S("ms"))) unit = 1;
    else if (slice_eq(t, S("s"))) unit = 1000;
    else if (slice_eq(t, S("m"))) unit = 60000;
    else if (slice_eq(t, S("h"))) unit = 3600000;
    else return false;
    *ms = (mono_t)(n * unit);
    return true;
}

static bool complain(struct buf *why, const struct play *p, const struct line *st, const char *what,
                     struct slice got) {
    buf_addf(why, "%s:%d: piece %zu split %zu: %s", p->s->file, st ? st->line : 0, p->cut.piece,
             p->cut.split, what);
    if (st) {
        buf_add(why, S("\n    expected "));
        buf_addf(why, "%c: ", st->kind);
        wire_escape(why, st->text);
    }
    buf_add(why, S("\n    got      "));
    wire_escape(why, slice_first(got, 2000));
    if (p->has_event) {
        buf_add(why, S("\n    event    "));
        wire_escape(why, buf_slice(&p->event));
        if (p->has_data) wire_escape(why, buf_slice(&p->data));
    }
    return false;
}

static bool expect_out(struct play *p, const struct line *st, struct buf *why) {
    while (p->said.n < st->text.n) {
        if (p->is_open) p->s->e->usual(p->self, p->now), p->is_open = false;
        if (!p->has_event && offer(p)) continue;
        if (drain(p)) continue;
        if (pull(p)) return complain(why, p, st, "an event comes first", buf_slice(&p->said));
        if (!offer(p) && !drain(p))
            return complain(why, p, st, "nothing more is said", buf_slice(&p->said));
    }
    if (memcmp(p->said.p, st->text.p, st->text.n) != 0)
        return complain(why, p, st, "something else is said", buf_slice(&p->said));
    buf_drop(&p->said, st->text.n);
    return true;
}

static bool match(struct slice want, struct slice got) {
    if (want.n && want.p[want.n - 1] == '*')
        return slice_starts(got, slice_first(want, want.n - 1));
    return slice_eq(want, got);
}

// The next event, with everything done that brings it about.
static bool advance(struct play *p) {
    while (!pull(p))
        if (!offer(p) && !drain(p)) return false;
    return true;
}

static bool expect_event(struct play *p, const struct line *st, struct buf *why) {
    struct buf got;
    bool ok;
    buf_init(&got, FILE_MAX_BYTES);
    if (slice_starts(st->text, S("?"))) {
        while (advance(p) && p->has_data && slice_eq(slice_from(st->text, 1), buf_slice(&p->event)))
            p->has_event = false;
        return true;
    }
    if (!advance(p)) return complain(why, p, st, "no event comes", buf_slice(&p->said));
    buf_add(&got, buf_slice(&p->event));
    if (p->has_data) { // join the neighbours
        buf_addc(&got, ' ');
        wire_escape(&got, buf_slice(&p->data));
        p->has_event = false;
        struct buf name;
        buf_init(&name, 4096);
        buf_add(&name, buf_slice(&p->event));
        while (!match(st->text, buf_slice(&got)) && advance(p) && p->has_data &&
               slice_eq(buf_slice(&name), buf_slice(&p->event))) {
            wire_escape(&got, buf_slice(&p->data));
            p->has_event = false;
        }
        buf_release(&name);
        ok = match(st->text, buf_slice(&got));
    } else {
        p->has_event = false;
        p->is_open = true;
        ok = match(st->text, buf_slice(&got));
    }
    if (!ok) complain(why, p, st, "another event comes", buf_slice(&got));
    buf_release(&got);
    return ok;
}

static bool do_line(struct play *p, const struct line *st, struct buf *why) {
    const struct wire_engine *e = p->s->e;
    if (p->is_open && st->kind != 'A') {
        e->usual(p->self, p->now);
        p->is_open = false;
    }
    switch (st->kind) {
    case 'S':
    case 'C':
        if ((st->kind == 'C') != e->is_server) return expect_out(p, st, why);
        buf_add(&p->input, st->text);
        return true;
    case 'E': return expect_event(p, st, why);
    case 'A':
    case 'X':
        p->is_open = false;
        while (st->kind == 'X' && !pull(p) && (offer(p) || drain(p))) {
        }
        return e->answer(p->self, st->text, p->now) || complain(why, p, st, "bad answer", S(""));
    default: break;
    }
    while (!pull(p) && (offer(p) || drain(p))) {
    }
    mono_t ms;
    if (slice_eq(st->text, S("close"))) p->en.ops->eof(p->en.self, p->now);
    else if (slice_eq(st->text, S("done")))
        return (p->en.ops->done(p->en.self) && !p->has_event) ||
               complain(why, p, st, "it is not done", S(""));
    else if (parse_time(st->text, &ms)) {
        p->now += ms;
        if (p->now >= p->en.ops->deadline(p->en.self)) p->en.ops->tick(p->en.self, p->now);
    } else return complain(why, p, st, "bad time", S(""));
    return true;
}

static bool play(const struct script *s, struct cut cut, struct buf *why) {
    struct play p = {.s = s, .cut = cut, .now = 1000};
    bool ok = true;
    buf_init(&p.input, FILE_MAX_BYTES);
    buf_init(&p.said, FILE_MAX_BYTES * 4);
    buf_init(&p.event, FILE_MAX_BYTES);
    buf_init(&p.data, FILE_MAX_BYTES);
    p.self = s->e->open(buf_slice(&s->options), cut.piece, p.now);
    if (!p.self) return complain(why, &p, NULL, "bad options", buf_slice(&s->options));
    p.en = s->e->engine(p.self);
    for (size_t i = 0; ok && i < s->count && i < cut.stop; i++) ok = do_line(&p, &s->steps[i], why);
    if (ok && cut.stop >= s->count) {
        if (p.is_open) s->e->usual(p.self, p.now);
        while (!pull(&p) && (offer(&p) || drain(&p))) {
        }
        if (p.has_event) ok = complain(why, &p, NULL, "an event is left", S(""));
        else if (p.said.n) ok = complain(why, &p, NULL, "output is left", buf_slice(&p.said));
        else if (p.input.n) ok = complain(why, &p, NULL, "input is left", buf_slice(&p.input));
    }
    s->e->close(p.self);
    buf_release(&p.input);
    buf_release(&p.said);
    buf_release(&p.event);
    buf_release(&p.data);
    return ok;
}

static bool run_file(const char *path, struct buf *why) {
    struct script s = {.file = strdup(path)};
    const char *bad = load(&s, path);
    bool ok = !bad;
    if (bad) buf_addf(why, "%s: %s", path, bad);
    for (size_t piece = 0; ok && piece <= 16; piece++)
        ok = play(&s, (struct cut){piece, 0, SIZE_MAX}, why);
    size_t stride = s.peer_bytes > 4000 ? s.peer_bytes / 2000 : 1;
    for (size_t at = 1; ok && at < s.peer_bytes; at += stride)
        ok = play(&s, (struct cut){0, at, SIZE_MAX}, why);
    for (size_t stop = 0; ok && stop < s.count; stop++)
        ok = play(&s, (struct cut){0, 0, stop}, why);
    buf_release(&s.text);
    buf_release(&s.bytes);
    buf_release(&s.options);
    free(s.file);
    return ok;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void collect(const char *path, char **files, size_t *n) {
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        if (*n < FILES_MAX) files[(*n)++] = strdup(path);
        return;
    }
    DIR *d = opendir(path);
    struct dirent *de;
    char sub[4096];
    while (d && (de = readdir(d))) {
        if (de->d_name[0] == '.') continue;
        snprintf(sub, sizeof sub, "%s/%s", path, de->d_name);
        bool is_dir = stat(sub, &st) == 0 && S_ISDIR(st.st_mode);
        // Folders of other runners (tests/unit/imap_server_wire_test.c) are theirs.
        if (is_dir ? find_engine(slice_str(de->d_name)) != NULL
                   : slice_ends(slice_str(sub), S(".txt")))
            collect(sub, files, n);
    }
    if (d) closedir(d);
}

int main(int argc, char **argv) {
    static char *files[FILES_MAX];
    size_t n = 0, passed = 0;
    for (int i = 1; i < argc; i++) collect(argv[i], files, &n);
    if (argc < 2) collect("tests/wire", files, &n);
    qsort(files, n, sizeof *files, by_name);
    for (size_t i = 0; i < n; i++) {
        struct buf why;
        buf_init(&why, 65536);
        bool ok = run_file(files[i], &why);
        passed += ok;
        printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, files[i]);
        if (!ok) printf("# %.*s\n", SP(buf_slice(&why)));
        buf_release(&why);
        free(files[i]);
    }
    printf("1..%zu\n%zu passed, %zu failed, 0 skipped\n", n, passed, n - passed);
    return passed == n && n ? 0 : 1;
}
