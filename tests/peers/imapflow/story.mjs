// story: what imapflow, which many services read mail with, does with our server.
//   node story.mjs DIR PORT how    how: tls (implicit), starttls, or clear
// Run by tests/peers/imapflow.bats in a directory that has hard, big, letter, short as delivered and localhost.pem;
// the modules are those in build/imapflow. Ends with 0, or says what was not as wanted.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { execFileSync } from 'node:child_process';
import { createHash, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';

const [modules, port, how] = process.argv.slice(2);
const { ImapFlow } = createRequire(modules + '/x.js')('imapflow');
globalThis.crypto ??= webcrypto; // Debian 12 has Node.js 18
const ca = readFileSync('localhost.pem');
const connect = async (more = {}) => {
    const c = new ImapFlow({
        host: 'localhost', port: +port, secure: how === 'tls', doSTARTTLS: how === 'starttls',
        auth: { user: 'ann@a.test', pass: 'secret' }, tls: { ca }, logger: false, ...more,
    });
    c.on('error', (e) => { console.error('error event:', e); process.exitCode = 1; });
    await c.connect();
    return c;
};
const deliver = (file) => execFileSync(process.env.POSTBAG, ['deliver', '-C', 'a.conf', 'ann'], { input: readFileSync(file) });
// The octets of a body, line ends as they are on the wire.
const body = (b) => b.subarray(b.indexOf('\r\n\r\n') + 4);
const wire = (file) => Buffer.from(readFileSync(file, 'latin1').replace(/\r?\n/g, '\r\n'), 'latin1');
const sum = (b) => createHash('sha256').update(b).digest('hex');
const all = async (iterator) => { const out = []; for await (const x of iterator) out.push(x); return out; };
const stream = async (s) => { const out = []; for await (const x of s) out.push(x); return Buffer.concat(out); };
const event = (c, name) => new Promise((yes, no) => {
    const t = setTimeout(() => no(new Error('no event ' + name)), 20000);
    c.once(name, (x) => { clearTimeout(t); yes(x); });
});

const c = await connect();
assert.equal(c.usable, true);
assert.equal(c.secureConnection, how !== 'clear');
assert.equal(c.enabled.has('CONDSTORE'), true);
assert.ok(c.capabilities.has('COMPRESS=DEFLATE')); // which it uses then

// Mailboxes, with their counts; special uses; a name outside ASCII.
await c.mailboxCreate('Prüfung/你好');
let list = await c.list({ statusQuery: { messages: true, unseen: true, uidNext: true, uidValidity: true, highestModseq: true } });
const by = (path) => list.find((b) => b.path === path);
assert.equal(by('INBOX').status.messages, 4);
assert.equal(by('INBOX').status.unseen, 4);
assert.equal(by('INBOX').status.uidNext, 5);
assert.equal(by('Sent').specialUse, '\\Sent');
assert.equal(by('Prüfung/你好').delimiter, '/');
assert.equal(by('Prüfung/你好').status.messages, 0);
await c.mailboxSubscribe('Prüfung/你好');
assert.equal((await c.list()).find((b) => b.path === 'Prüfung/你好').subscribed, true);
assert.equal((await c.status('INBOX', { messages: true, recent: true })).messages, 4);

// INBOX and all that is known of its messages.
const box = await c.mailboxOpen('INBOX');
assert.equal(box.exists, 4);
assert.equal(box.uidNext, 5);
assert.equal(box.readOnly, false);
assert.ok(box.highestModseq > 0n && box.uidValidity > 0n && box.mailboxId);
let msgs = await all(c.fetch('1:*', {
    uid: true, flags: true, envelope: true, bodyStructure: true, size: true, internalDate: true, threadId: true,
    emailId: true, headers: true, source: true,
}));
assert.equal(msgs.length, 4);
const [hard, big, letter, short] = msgs;
assert.deepEqual(msgs.map((m) => m.uid), [1, 2, 3, 4]);
for (const [m, file] of [[hard, 'hard'], [big, 'big'], [letter, 'letter'], [short, 'short']]) {
    assert.equal(sum(body(m.source)), sum(body(wire(file))), file);
    assert.equal(m.size, m.source.length);
    assert.ok(m.internalDate instanceof Date && m.modseq > 0n && m.emailId);
    assert.equal(sum(m.headers), sum(m.source.subarray(0, m.headers.length)));
}
assert.equal(letter.envelope.subject, 'grüße letter');
assert.deepEqual(letter.envelope.from, [{ name: '小王', address: 'wang@b.test' }]);
assert.deepEqual(letter.envelope.cc, [{ name: 'Doe, Jane', address: 'jane@b.test' }]);
assert.equal(letter.envelope.date.toISOString(), '2026-11-23T09:00:00.000Z');
assert.equal(letter.envelope.messageId, '<letter@a.test>');
assert.equal(short.envelope.inReplyTo, '<letter@a.test>');
assert.equal(letter.bodyStructure.type, 'multipart/mixed');
assert.deepEqual(letter.bodyStructure.childNodes.map((n) => [n.part, n.type, n.encoding]),
    [['1', 'text/plain', 'base64'], ['2', 'application/octet-stream', 'base64']]);
assert.deepEqual([letter.bodyStructure.childNodes[1].disposition, letter.bodyStructure.childNodes[1].dispositionParameters.filename],
    ['attachment', 'a b.bin']);
if (c.capabilities.has('OBJECTID')) assert.equal(new Set(msgs.map((m) => m.emailId)).size, 4);

// Parts are downloaded and decoded; a part of the source.
let part = await c.download('3', '1');
assert.equal((await stream(part.content)).toString(), '你好，世界\n');
part = await c.download('3', '2');
assert.equal(part.meta.filename, 'a b.bin');
assert.equal(sum(await stream(part.content)), sum(execFileSync('seq', ['1', '5000'])));
part = await c.download('2', undefined, { chunkSize: 100000 });
assert.equal(sum(body(await stream(part.content))), sum(body(wire('big'))));
assert.equal((await c.fetchOne('2', { source: { start: 10, maxLength: 1000 } })).source.length, 1000);
const many = await c.downloadMany('3', ['1', '2']);
assert.equal(new TextDecoder('gb18030').decode(many['1'].content), '你好，世界\n');

// Search.
assert.deepEqual(await c.search({ subject: 'grüße' }), [3]);
assert.deepEqual(await c.search({ body: '世界' }), [3]);
assert.deepEqual(await c.search({ or: [{ from: 'zoe' }, { larger: 1000000 }] }), [2, 4]);
assert.deepEqual(await c.search({ seen: false, since: new Date('2020-01-01') }, { uid: true }), [1, 2, 3, 4]);
assert.deepEqual(await c.search({ header: { 'In-Reply-To': 'letter' } }), [4]);
assert.deepEqual(await c.search({ text: 'no such text' }), []);

// Flags, and what changed since.
const before = c.mailbox.highestModseq;
assert.equal(await c.messageFlagsAdd('2:3', ['\\Seen', '$Forwarded']), true);
assert.equal(await c.messageFlagsRemove({ uid: '3' }, ['\\Seen']), true);
let changed = await all(c.fetch('1:*', { uid: true, flags: true }, { changedSince: before }));
assert.deepEqual(changed.map((m) => [m.uid, [...m.flags].filter((f) => f !== '\\Recent').sort()]),
    [[2, ['$Forwarded', '\\Seen']], [3, ['$Forwarded']]]);
assert.deepEqual(await c.search({ keyword: '$Forwarded', seen: true }), [2]);
assert.deepEqual(await all(c.fetch('1:*', { flags: true }, { changedSince: c.mailbox.highestModseq > changed[1].modseq ? c.mailbox.highestModseq : changed[1].modseq })), []);

// Append, copy, move, delete; the UIDs are told.
const put = await c.append('Prüfung/你好', wire('big'), ['\\Flagged', 'own'], new Date('2001-02-03T04:05:06Z'));
assert.equal(put.uid, 1);
const copied = await c.messageCopy('3', 'Sent');
assert.deepEqual([...copied.uidMap], [[3, 1]]);
const moved = await c.messageMove({ uid: '4' }, 'Prüfung/你好', { uid: true });
assert.deepEqual([...moved.uidMap], [[4, 2]]);
assert.equal(c.mailbox.exists, 3);
assert.equal(await c.messageDelete('1'), true);
assert.equal(c.mailbox.exists, 2);
let lock = await c.getMailboxLock('Prüfung/你好');
msgs = await all(c.fetch({ all: true }, { uid: true, flags: true, source: true, internalDate: true }));
assert.deepEqual(msgs.map((m) => m.uid), [1, 2]);
assert.equal(sum(msgs[0].source), sum(wire('big')));
assert.ok(msgs[0].flags.has('\\Flagged') && msgs[0].flags.has('own'));
assert.equal(msgs[0].internalDate.toISOString(), '2001-02-03T04:05:06.000Z');
assert.equal(sum(body(msgs[1].source)), sum(body(wire('short'))));
lock.release();

// Quota.
const quota = await c.getQuota('INBOX');
assert.ok(quota && quota.storage.usage > 2000000 && quota.storage.limit === 100 * 1024 * 1024, quota);

// IDLE: mail comes, a flag changes, a message goes, all from outside.
await c.mailboxOpen('INBOX');
let exists = event(c, 'exists');
const idling = c.idle();
deliver('short');
assert.deepEqual((await exists).count, 3);
const d = await connect({ disableCompression: true });
await d.mailboxOpen('INBOX');
let flags = event(c, 'flags');
await d.messageFlagsAdd('3', ['\\Answered']);
let told = await flags;
assert.ok(told.seq === 3 && told.flags.has('\\Answered'), told);
let expunged = event(c, 'expunge');
await d.messageDelete('3');
assert.equal((await expunged).seq ?? 3, 3);
await c.noop();
await idling;
assert.equal(c.mailbox.exists, 2);

// By mailbox: a new session has the same UIDs and UIDVALIDITY; QRESYNC tells what went.
const known = { uidValidity: c.mailbox.uidValidity, modseq: c.mailbox.highestModseq };
await c.logout();
await d.messageDelete({ uid: '2' }, { uid: true });
await d.logout();
const e = await connect({ qresync: true });
const vanished = [];
e.on('expunge', (x) => vanished.push(x.uid));
await e.mailboxOpen('INBOX', { changedSince: known.modseq, uidValidity: known.uidValidity });
assert.equal(e.mailbox.uidValidity, known.uidValidity);
assert.deepEqual((await all(e.fetch('1:*', { uid: true }))).map((m) => m.uid), [3]);
// 5 went before, but without QRESYNC an EXPUNGE does not say its modification sequence.
assert.deepEqual(vanished.filter((uid) => uid !== 5), [2]);

// Rename and delete.
await e.mailboxRename('Prüfung/你好', 'Prüfung/再见');
list = await e.list();
assert.ok(list.some((b) => b.path === 'Prüfung/再见') && !list.some((b) => b.path === 'Prüfung/你好'));
await e.mailboxDelete('Prüfung/再见');
await assert.rejects(e.mailboxOpen('Prüfung/再见'));
await e.logout();

// A wrong password is told as such.
await assert.rejects(connect({ auth: { user: 'ann@a.test', pass: 'wrong' } }), (x) => x.authenticationFailed === true);
console.log('done');
