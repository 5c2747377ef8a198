/* The queue of segments: the conformance cases, and what is its own: torn and damaged files, a full
 * disk. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "queue/dsn.h"
#include "queue/schedule.h"
#include "queue_conform.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

/* One translation unit: the Makefile builds a test from one file. */
#include "queue_conform.c"

static struct queue *open_dir(struct queue_bed *b) {
    struct queue *q;
    struct err e = {0};

    if (queue_open(b->dir, NULL, &q, &e) != OK) fail_msg("%s", e.msg);
    return q;
}

static int bed_up(void **state) {
    static struct queue_bed b;

    b = (struct queue_bed){.open = open_dir, .dir = "/tmp/postbag-queue-XXXXXX"};
    if (!mkdtemp(b.dir)) return -1;
    *state = &b;
    return 0;
}

/* When all is done nothing may be left on disk. */
static int bed_down(void **state) {
    struct queue_bed *b = *state;

    return file_remove_tree(b->dir, NULL) == OK ? 0 : -1;
}

static unsigned files(const char *dir, const char *ending) {
    DIR *d = opendir(dir);
    struct dirent *entry;
    unsigned n = 0;

    while ((entry = readdir(d)) != NULL)
        n += slice_ends(slice_str(entry->d_name), slice_str(ending));
    closedir(d);
    return n;
}

static void nothing_left(struct queue_bed *b) {
    assert_int_equal(files(b->dir, ".seg"), 0);
    assert_int_equal(files(b->dir, ".jnl"), 0);
    assert_int_equal(files(b->dir, ".new"), 0);
}

#define CONFORM(name)                                                                              \
    static void name##_case(void **state) {                                                        \
        conform_##name(*state);                                                                    \
        nothing_left(*state);                                                                      \
    }
CONFORM(put_and_take)
CONFORM(survives_reopening)
CONFORM(states_are_kept)
CONFORM(defers_until_due)
CONFORM(leases_are_exclusive)
CONFORM(hold_release_drop)
CONFORM(large_message)
CONFORM(many_writers)
CONFORM(list_and_story)
CONFORM(limits)

/* The path of the only segment. */
static void only_segment(struct queue_bed *b, char path[512]) {
    DIR *d = opendir(b->dir);
    struct dirent *entry;

    path[0] = 0;
    while ((entry = readdir(d)) != NULL)
        if (slice_ends(slice_str(entry->d_name), S(".seg")))
            snprintf(path, 512, "%s/%s", b->dir, entry->d_name);
    closedir(d);
    assert_true(path[0]);
}

static bool count_entry(const struct queue_entry *entry, void *user) {
    (void)entry;
    ++*(size_t *)user;
    return true;
}

static size_t drain(struct queue *q) {
    struct queue_msg *m;
    size_t n = 0;

    while ((m = take(q))) {
        for (size_t r = 0; r < 2; r++) settle(q, m, r, QUEUE_DELIVERED);
        queue_done(q, m, QUEUE_LOCAL, 0);
        n++;
    }
    return n;
}

/* Whatever a crash left of the last record: the ones before it are all there, and it is gone. */
/* A writer of many messages keeps zeros ahead; they are no part of the segment for anybody. */
static void zeros_ahead(void **state) {
    struct queue_bed *b = *state;
    struct queue *q = open_dir(b), *other;
    char id[QUEUE_ID_MAX], path[512];
    struct stat st, closed;
    size_t seen = 0;

    for (int i = 0; i < 40; i++) put(q, "one of many\r\n", id);
    only_segment(b, path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 500000);
    other = open_dir(b);
    assert_int_equal(queue_walk(other, false, count_entry, &seen, NULL), OK);
    assert_int_equal(seen, 40);
    queue_close(other);
    queue_close(q);
    assert_int_equal(stat(path, &closed), 0);
    assert_true(closed.st_size < 20000);
    assert_int_equal(truncate(path, st.st_size), 0); /* as a crash leaves it */
    q = open_dir(b);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    assert_int_equal(drain(q), 40);
    queue_close(q);
    nothing_left(b);
}

static void torn_at_every_byte(void **state) {
    struct queue_bed *b = *state;
    struct queue *q = open_dir(b);
    char id[QUEUE_ID_MAX], path[512];
    struct stat one, two_;
    struct buf whole;

    put(q, "first\r\n", id);
    only_segment(b, path);
    assert_int_equal(stat(path, &one), 0);
    put(q, "second\r\n", id);
    assert_int_equal(stat(path, &two_), 0);
    queue_close(q);
    buf_init(&whole, 65536);
    assert_int_equal(file_read(path, &whole, NULL), OK);
    for (off_t size = one.st_size; size < two_.st_size; size++) {
        assert_int_equal(file_replace(path, slice_of(whole.p, (size_t)size), 0600, NULL), OK);
        /* Every other time with the zeros that a writer keeps ahead of itself. */
        if (size % 2) assert_int_equal(truncate(path, size + 100000), 0);
        q = open_dir(b);
        assert_int_equal(queue_lease(q, NULL, NULL), OK);
        assert_int_equal(drain(q), 1);
        queue_close(q);
        nothing_left(b);
    }
    /* Bytes of the tail that are wrong, or zeroes, are no record either. */
    for (size_t at = (size_t)one.st_size; at < whole.n; at += 3) {
        char was = whole.p[at];

        whole.p[at] = (char)(was ^ 0x55);
        assert_int_equal(file_replace(path, buf_slice(&whole), 0600, NULL), OK);
        whole.p[at] = was;
        q = open_dir(b);
        assert_int_equal(queue_lease(q, NULL, NULL), OK);
        assert_int_equal(drain(q), 1);
        queue_close(q);
        file_remove_tree(b->dir, NULL);
        mkdir(b->dir, 0700);
    }
    buf_release(&whole);
}

/* A damaged record in the middle does not take the others with it, and is kept for a person to look
 * at. */
static void damaged_in_the_middle(void **state) {
    struct queue_bed *b = *state;
    struct queue *q = open_dir(b);
    char id[QUEUE_ID_MAX], path[512];
    struct buf whole;

    put(q, "first\r\n", id);
    put(q, "SECOND\r\n", id);
    put(q, "third\r\n", id);
    only_segment(b, path);
    queue_close(q);
    buf_init(&whole, 65536);
    assert_int_equal(file_read(path, &whole, NULL), OK);
    whole.p[slice_find(buf_slice(&whole), S("SECOND"))] = 'X';
    assert_int_equal(file_replace(path, buf_slice(&whole), 0600, NULL), OK);
    q = open_dir(b);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    assert_int_equal(drain(q), 2);
    queue_close(q);
    assert_int_equal(files(b->dir, ".bad"), 1);
    buf_release(&whole);
}

/* A header that cannot be read is not a torn write when it begins the segment, or when records
 * follow: that mail was acknowledged, and is kept. */
static void damaged_header(void **state) {
    static const char *const ids[] = {"first", "second"};
    struct queue_bed *b = *state;

    for (size_t which = 0; which < 2; which++) {
        for (int digit = 0; digit < 2; digit++) { /* a wrong word, or a size that is too large */
            struct queue *q = open_dir(b);
            char id[3][QUEUE_ID_MAX], path[512];
            struct buf whole;
            size_t at;

            for (size_t i = 0; i < 3; i++) put(q, i < 2 ? ids[i] : "third", id[i]);
            only_segment(b, path);
            queue_close(q);
            buf_init(&whole, 65536);
            assert_int_equal(file_read(path, &whole, NULL), OK);
            at = slice_find(buf_slice(&whole), slice_str(id[which])) + strlen(id[which]) + 1;
            whole.p[at] = digit ? '9' : 'x';
            assert_int_equal(file_replace(path, buf_slice(&whole), 0600, NULL), OK);
            q = open_dir(b);
            assert_int_equal(queue_lease(q, NULL, NULL), OK);
            drain(q);
            queue_close(q);
            assert_int_equal(files(b->dir, ".bad"), 1);
            nothing_left(b);
            buf_release(&whole);
            file_remove_tree(b->dir, NULL);
            mkdir(b->dir, 0700);
        }
    }
}

/* A torn journal line is no line; what follows it counts. */
static void torn_journal(void **state) {
    struct queue_bed *b = *state;
    struct queue *q = open_dir(b);
    struct queue_msg *m;
    char id[QUEUE_ID_MAX], path[512];
    struct buf text;
    int fd;

    put(q, "x\r\n", id);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    m = take(q);
    settle(q, m, 0, QUEUE_DELIVERED);
    queue_done(q, m, QUEUE_LOCAL, 0);
    queue_close(q);
    only_segment(b, path);
    memcpy(path + strlen(path) - 3, "jnl", 3);
    buf_init(&text, 65536);
    assert_int_equal(file_read(path, &text, NULL), OK);
    fd = open(path, O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.p, text.n / 2), (ssize_t)(text.n / 2)); /* half a line */
    close(fd);
    q = open_dir(b);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    m = take(q);
    assert_non_null(m);
    assert_int_equal(queue_msg_state(m, 0), QUEUE_DELIVERED);
    assert_int_equal(queue_msg_state(m, 1), QUEUE_PENDING);
    settle(q, m, 1, QUEUE_DELIVERED);
    queue_done(q, m, QUEUE_LOCAL, 0);
    queue_close(q);
    nothing_left(b);
    buf_release(&text);
}

/* A disk that is full (here: a file size limit) refuses the message and keeps those before it. */
static void full_disk(void **state) {
    struct queue_bed *b = *state;
    pid_t pid = fork();
    int status;
    struct queue *q;

    if (pid == 0) {
        struct rlimit small = {4096, 4096};
        struct envelope env = envelope();
        struct spool body;
        char id[QUEUE_ID_MAX] = "", block[3000];
        struct err e = {0};

        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &small);
        q = open_dir(b);
        spool_init(&body, "/tmp");
        memset(block, 'x', sizeof block);
        spool_add(&body, slice_of(block, sizeof block), &e);
        if (queue_put(q, &env, S(""), &body, id, &e) != OK) _exit(1);
        id[0] = 0;
        if (queue_put(q, &env, S(""), &body, id, &e) != ERR_FULL || e.status.cls != 4) _exit(2);
        queue_close(q);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    q = open_dir(b);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    assert_int_equal(drain(q), 1);
    queue_close(q);
    nothing_left(b);
}

/* What a writer left that died before it acknowledged anything goes at once, what one still writes
 * to stays. */
static void unpublished_segments(void **state) {
    struct queue_bed *b = *state;
    struct queue *q;
    struct err e = {0};
    char left[512], live[512];
    int fd;

    snprintf(left, sizeof left, "%s/1K0X7FKNJ3HGJB.new", b->dir);
    snprintf(live, sizeof live, "%s/1K0X7FKNJ3HGJC.new", b->dir);
    fd = open(left, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd, "PBM1 1K0X", 9), 9);
    close(fd);
    fd = open(live, O_RDWR | O_CREAT, 0600);
    assert_int_equal(lock_try(fd, 0, true, live, &e), OK);
    assert_int_equal(queue_open(b->dir, NULL, &q, &e), OK);
    assert_int_equal(queue_lease(q, NULL, &e), OK);
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(access(live, F_OK), 0);
    close(fd);
    assert_int_equal(queue_lease(q, NULL, &e), OK);
    nothing_left(b);
    queue_close(q);
}

/* --- written anew --------------------------------------------------------------------------------
 */

static void put_many(struct queue_bed *b, size_t n) {
    char id[QUEUE_ID_MAX];

    for (size_t i = 0; i < n; i++) {
        struct queue *q = open_dir(b);

        put(q, "x\r\n", id);
        queue_close(q);
    }
}

/* Many segments of one message become few, and all of them are worked on in one lease with few
 * descriptors. */
static void small_segments_become_one(void **state) {
    struct queue_bed *b = *state;
    struct rlimit few = {128, 128};
    struct queue *q;
    pid_t pid;
    int status;

    put_many(b, 500);
    assert_int_equal(files(b->dir, ".seg"), 500);
    pid = fork();
    if (pid == 0) {
        if (setrlimit(RLIMIT_NOFILE, &few) != 0) _exit(1);
        q = open_dir(b);
        if (queue_lease(q, NULL, NULL) != OK || files(b->dir, ".seg") > 40) _exit(2);
        if (drain(q) != 500) _exit(3);
        queue_close(q);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    nothing_left(b);
}

/* Where a process died between making many segments one and their removal: each message once. */
static void moving_is_finished_by_the_next(void **state) {
    struct queue_bed *b = *state;

    for (unsigned removed = 0; removed <= 3; removed++) {
        struct queue *q;
        struct buf all;
        char path[512], kept[3][512];
        DIR *d;
        struct dirent *entry;
        unsigned n = 0;

        put_many(b, 3);
        buf_init(&all, 65536);
        d = opendir(b->dir);
        while ((entry = readdir(d)) != NULL && n < 3) {
            if (!slice_ends(slice_str(entry->d_name), S(".seg"))) continue;
            snprintf(kept[n], sizeof kept[n], "%s/%s", b->dir, entry->d_name);
            assert_int_equal(file_read(kept[n++], &all, NULL), OK);
        }
        closedir(d);
        put_many(b, 1); /* one that is not in it */
        snprintf(path, sizeof path, "%s/moving", b->dir);
        assert_int_equal(file_replace(path, buf_slice(&all), 0600, NULL), OK);
        for (unsigned i = 0; i < removed; i++) assert_int_equal(unlink(kept[i]), 0);
        q = open_dir(b);
        assert_int_equal(queue_lease(q, NULL, NULL), OK);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(drain(q), 4);
        queue_close(q);
        nothing_left(b);
        buf_release(&all);
    }
}

/* While somebody makes segments one nobody else takes a lease. */
static void moving_keeps_leases_back(void **state) {
    struct queue_bed *b = *state;
    struct queue *q;
    char path[512], seg[512];
    struct buf all;
    unsigned held = 0;
    int fd;

    put_many(b, 1);
    only_segment(b, seg);
    buf_init(&all, 65536);
    assert_int_equal(file_read(seg, &all, NULL), OK);
    snprintf(path, sizeof path, "%s/moving", b->dir);
    assert_int_equal(file_replace(path, buf_slice(&all), 0600, NULL), OK);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(lock_try(fd, 1, true, path, NULL), OK);
    q = open_dir(b);
    assert_int_equal(queue_lease(q, &held, NULL), OK);
    assert_int_equal(held, 1);
    assert_null(take(q));
    close(fd);
    assert_int_equal(queue_lease(q, &held, NULL), OK);
    assert_int_equal(drain(q), 1);
    queue_close(q);
    nothing_left(b);
    buf_release(&all);
}

static unsigned story_lines;
static char deferred[] = "deferred";
static void count_line(wall_t at, int rcpt, struct slice word, struct slice detail, void *user) {
    (void)at, (void)rcpt, (void)detail;
    story_lines += slice_eq(word, slice_str(user));
}

/* A segment of which most is finished is written anew with what is not, and nothing of that is
 * forgotten: the states, the attempts, the hold and the story. */
static void stragglers_move(void **state) {
    struct queue_bed *b = *state;
    struct queue *q = open_dir(b);
    struct envelope env = envelope();
    struct spool body;
    char block[60000], path[512], id[40][QUEUE_ID_MAX];
    struct stat st;
    struct queue_msg *m;
    size_t left = 0;
    wall_t later = clock_wall() + 1000;

    memset(block, 'x', sizeof block);
    for (int i = 0; i < 40; i++) {
        spool_init(&body, "/tmp");
        assert_int_equal(spool_add(&body, slice_of(block, sizeof block), NULL), OK);
        id[i][0] = 0;
        assert_int_equal(queue_put(q, &env, S(""), &body, id[i], NULL), OK);
        spool_release(&body);
    }
    only_segment(b, path);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    while ((m = take(q))) {
        bool keep = strcmp(queue_msg_id(m), id[7]) == 0 || strcmp(queue_msg_id(m), id[30]) == 0;

        settle(q, m, 0, QUEUE_DELIVERED);
        settle(q, m, 1, keep ? QUEUE_PENDING : QUEUE_FAILED);
        queue_done(q, m, QUEUE_REMOTE, later);
    }
    assert_int_equal(queue_request(q, QUEUE_HOLD, id[30], 0, NULL), OK);
    queue_obey(q);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 200000);
    for (int again = 0; again < 2; again++) { /* in this process, and read again */
        struct buf text;

        m = queue_next(q, again ? QUEUE_LOCAL : QUEUE_REMOTE, later);
        assert_non_null(m);
        assert_string_equal(queue_msg_id(m), id[7]);
        assert_int_equal(queue_msg_state(m, 0), QUEUE_DELIVERED);
        assert_int_equal(queue_msg_state(m, 1), QUEUE_PENDING);
        assert_int_equal(queue_msg_attempts(m), 1);
        buf_init(&text, 65536);
        assert_int_equal(queue_read(q, id[7], &text, NULL), OK);
        assert_int_equal(text.n, sizeof block);
        buf_release(&text);
        story_lines = 0;
        assert_int_equal(queue_story(q, id[7], count_line, deferred, NULL), OK);
        assert_int_equal(story_lines, 1);
        queue_done(q, m, QUEUE_LOCAL, 0);
        if (again) break;
        queue_close(q);
        q = open_dir(b);
        assert_int_equal(queue_lease(q, NULL, NULL), OK);
    }
    assert_int_equal(queue_request(q, QUEUE_RELEASE, id[30], 0, NULL), OK);
    while ((m = queue_next(q, QUEUE_LOCAL, later))) {
        settle(q, m, 1, QUEUE_DELIVERED);
        queue_done(q, m, QUEUE_LOCAL, 0);
        left++;
    }
    assert_int_equal(left, 2);
    queue_close(q);
    nothing_left(b);
}

/* The journal of a message that is tried for days does not grow without end, and the count of
 * attempts stays right. */
static void journals_are_shortened(void **state) {
    struct queue_bed *b = *state;
    struct queue *q = open_dir(b);
    struct queue_msg *m;
    struct stat st;
    char id[QUEUE_ID_MAX], path[512], detail[8000];

    put(q, "x\r\n", id);
    only_segment(b, path);
    memcpy(path + strlen(path) - 3, "jnl", 3);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    memset(detail, 'x', sizeof detail);
    for (int i = 0; i < 300; i++) {
        struct queue_outcome o = {.state = QUEUE_PENDING,
                                  .detail = slice_of(detail, sizeof detail)};

        m = take(q);
        assert_non_null(m);
        if (i == 0) settle(q, m, 0, QUEUE_DELIVERED);
        assert_int_equal(queue_note(q, m, 1, &o, NULL), OK);
        queue_done(q, m, QUEUE_LOCAL, 5000 + i);
    }
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 2000000);
    queue_obey(q);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 30000);
    for (int again = 0; again < 2; again++) {
        m = take(q);
        assert_non_null(m);
        assert_int_equal(queue_msg_attempts(m), 300 + again);
        assert_int_equal(queue_msg_state(m, 0), QUEUE_DELIVERED);
        assert_int_equal(queue_msg_state(m, 1), QUEUE_PENDING);
        if (again) settle(q, m, 1, QUEUE_FAILED);
        queue_done(q, m, QUEUE_LOCAL, 6000);
        queue_close(q);
        q = open_dir(b);
        assert_int_equal(queue_lease(q, NULL, NULL), OK);
    }
    queue_close(q);
    nothing_left(b);
}

/* A journal that cannot be written for a while gets its lines later, each whole. */
static void journal_owes(void **state) {
    struct queue_bed *b = *state;
    struct queue *q;
    struct queue_msg *m;
    char id[QUEUE_ID_MAX];
    pid_t pid;
    int status;

    q = open_dir(b);
    put(q, "x\r\n", id);
    put(q, "y\r\n", id);
    queue_close(q);
    pid = fork();
    if (pid == 0) {
        struct rlimit was, small;
        struct queue_outcome o = {.state = QUEUE_DELIVERED, .detail = S("{\"n\":1}")};

        signal(SIGXFSZ, SIG_IGN);
        q = open_dir(b);
        if (queue_lease(q, NULL, NULL) != OK || !(m = take(q))) _exit(1);
        getrlimit(RLIMIT_FSIZE, &was);
        small = was;
        small.rlim_cur = 10; /* a line is torn there */
        setrlimit(RLIMIT_FSIZE, &small);
        if (queue_note(q, m, 0, &o, NULL) != ERR_FULL) _exit(2);
        /* Nothing is begun that could not be noted either. */
        if (take(q)) _exit(4);
        setrlimit(RLIMIT_FSIZE, &was);
        if (queue_note(q, m, 1, &o, NULL) != OK) _exit(3);
        queue_done(q, m, QUEUE_LOCAL, 0);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    q = open_dir(b);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    assert_int_equal(drain(q), 1);
    queue_close(q);
    nothing_left(b);
}

static void envelopes_refuse_line_breaks(void **state) {
    struct envelope env = envelope();
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    env.sender = S("a@b\nrcpt evil@x");
    assert_int_equal(envelope_format(&env, &out, NULL), ERR_SYNTAX);
    buf_release(&out);
}

static void schedules(void **state) {
    (void)state;
    for (unsigned attempts = 1; attempts < 40; attempts++) {
        wall_t next = schedule_next(1000000, attempts, 300, attempts * 7919, 1000000 + 5 * 86400);

        assert_true(next > 1000000 + 260);
        assert_true(next <= 1000000 + SCHEDULE_MAX_S + SCHEDULE_MAX_S / 5);
    }
    assert_int_equal(schedule_next(1000, 10, 300, 0, 1100), 1100); /* never after the end */
    assert_true(schedule_next(1000, 1, 0, 0, 999999) > 1000);
}

static void notifications(void **state) {
    struct envelope env = envelope();
    struct dsn_rcpt r = {.address = S("a@x.test"),
                         .action = DSN_FAILED,
                         .status = STATUS(5, 1, 1),
                         .remote = S("mx.x.test"),
                         .reply = S("550 5.1.1 no"),
                         .text = S("it said:")};
    struct dsn d = {.hostname = S("mx.z.test"),
                    .id = S("ID"),
                    .env = &env,
                    .rcpts = &r,
                    .rcpt_count = 1,
                    .message = S("Subject: s\r\n\r\nbody\r\n"),
                    .is_whole = true,
                    .now = 2000,
                    .random = (const uint8_t *)"01234567890123456789"};
    struct buf out;

    (void)state;
    buf_init(&out, 65536);
    assert_int_equal(dsn_build(&d, &out, NULL), OK);
    assert_true(
        slice_find(
            buf_slice(&out),
            S("\r\nFinal-Recipient: rfc822; a@x.test\r\nAction: failed\r\nStatus: 5.1.1\r\n")) !=
        SLICE_NONE);
    assert_true(slice_find(buf_slice(&out), S("\r\nAuto-Submitted: auto-replied\r\n")) !=
                SLICE_NONE);
    assert_true(slice_find(buf_slice(&out), S("\r\nTo: <from@z.test>\r\n")) != SLICE_NONE);
    assert_true(slice_find(buf_slice(&out), S("Original-Envelope-Id: E1")) != SLICE_NONE);
    assert_true(slice_find(buf_slice(&out), S("text/rfc822-headers")) != SLICE_NONE); /* RET=HDRS */
    assert_true(slice_find(buf_slice(&out), S("\r\nbody\r\n")) == SLICE_NONE);
    for (size_t i = 0; i < out.n; i++)
        if (out.p[i] == '\n') assert_int_equal(out.p[i - 1], '\r');

    /* xtext stands for something (RFC 3461 4), and what is not ASCII has two forms (RFC 6533 3). */
    buf_reset(&out);
    env.envid = S("a+2Bb+3Dc");
    r.orcpt = S("rfc822;Bob+2BTag@b.test");
    r.address = S("j\xc3\xbcrg@x.test");
    assert_int_equal(dsn_build(&d, &out, NULL), OK);
    assert_true(slice_find(buf_slice(&out), S("\r\nOriginal-Envelope-Id: a+b=c\r\n")) !=
                SLICE_NONE);
    assert_true(slice_find(buf_slice(&out),
                           S("\r\nOriginal-Recipient: rfc822; Bob+Tag@b.test\r\n")) != SLICE_NONE);
    assert_true(slice_find(buf_slice(&out), S("Final-Recipient: utf-8; j\\x{FC}rg@x.test\r\n")) !=
                SLICE_NONE);
    assert_true(utf8_is_ascii(buf_slice(&out)));
    buf_reset(&out);
    env.is_smtputf8 = true;
    assert_int_equal(dsn_build(&d, &out, NULL), OK);
    assert_true(slice_find(buf_slice(&out), S("Final-Recipient: utf-8; j\xc3\xbcrg@x.test\r\n")) !=
                SLICE_NONE);
    assert_true(slice_find(buf_slice(&out), S("\r\n<j\xc3\xbcrg@x.test>: failed\r\n")) !=
                SLICE_NONE);

    /* A word longer than a line is folded, and nothing of it is lost. */
    char word[2 * 998 + 1], *at = word;
    struct slice rest;
    size_t run = 0, longest = 0, x = 0;

    for (size_t i = 0; i < sizeof word; i++) *at++ = i % 2 ? 'y' : 'x';
    env.is_smtputf8 = false;
    r.reply = slice_of(word, sizeof word);
    buf_reset(&out);
    assert_int_equal(dsn_build(&d, &out, NULL), OK);
    rest = buf_slice(&out);
    rest = slice_from(rest, slice_find(rest, S("Diagnostic-Code: smtp; ")));
    for (size_t i = 0; i < rest.n; i++) {
        run = rest.p[i] == '\n' ? 0 : run + 1;
        if (run > longest) longest = run;
    }
    assert_in_range(longest, 900, 998);
    rest = slice_first(rest, slice_find(rest, S("Last-Attempt")));
    for (size_t i = 0; i < rest.n; i++) x += rest.p[i] == 'x' || rest.p[i] == 'y';
    assert_int_equal(x, sizeof word);
    buf_release(&out);
}

int main(void) {
#define BED(name) cmocka_unit_test_setup_teardown(name, bed_up, bed_down)
    const struct CMUnitTest tests[] = {
        BED(put_and_take_case),
        BED(survives_reopening_case),
        BED(states_are_kept_case),
        BED(defers_until_due_case),
        BED(leases_are_exclusive_case),
        BED(hold_release_drop_case),
        BED(large_message_case),
        BED(many_writers_case),
        BED(list_and_story_case),
        BED(limits_case),
        BED(torn_at_every_byte),
        BED(zeros_ahead),
        BED(damaged_in_the_middle),
        BED(damaged_header),
        BED(torn_journal),
        BED(full_disk),
        BED(unpublished_segments),
        BED(small_segments_become_one),
        BED(moving_is_finished_by_the_next),
        BED(moving_keeps_leases_back),
        BED(stragglers_move),
        BED(journals_are_shortened),
        BED(journal_owes),
        cmocka_unit_test(envelopes_refuse_line_breaks),
        cmocka_unit_test(schedules),
        cmocka_unit_test(notifications),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
