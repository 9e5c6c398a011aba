/** why and verdict: the texts as pure data, and the program as a child process against a real server. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FAULT_MEANINGS } from '../../src/api/uplink-schemas.js';
import { readStatus, type StatusView } from '../../src/cli/answers.js';
import { FAULT_WORDS, showWhy } from '../../src/cli/show-why.js';
import { clockText, percentText, showSaid, showStatus, wrapped } from '../../src/cli/show.js';
import { paintFor } from '../../src/cli/table.js';
import type { Status } from '../../src/model.js';
import { cable, dual, fibre, healthy, openWorld, serve, type World } from '../api/fixture.js';
import { deadline } from '../lab/wait.js';

process.env['TZ'] = 'UTC';

const PROGRAM = fileURLToPath(new URL('../../bin/uplinkctl.js', import.meta.url));
const paint = paintFor(false);

async function daemon(t: TestContext): Promise<{ world: World; run: (...args: string[]) => Promise<{ code: number; out: string; err: string }>; get: (path: string) => Promise<string> }> {
  const world = openWorld();
  const dir = mkdtempSync(join(tmpdir(), 'uplinkctl-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const socket = join(dir, 'uplinkd.sock');
  const server = serve(world, { socketPath: socket, peerUid: () => 0 });
  await server.listen();
  t.after(() => server.close());
  return {
    world,
    run: (...args) => new Promise((resolve) => {
      execFile(process.execPath, [PROGRAM, ...args, '--socket', socket], { timeout: deadline() }, (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err }));
    }),
    get: async (path) => (await server.app.inject(path)).body,
  };
}

/** As it comes over the wire. */
async function shown(status: Status): Promise<StatusView> {
  const world = openWorld();
  world.status = status;
  const view = readStatus((await serve(world).app.inject('/v1/status')).json());
  assert.ok(view);
  return view;
}

test('why tells the choice, and of every uplink the verdict, its figures, what others say, and the evidence', async (t) => {
  const { run } = await daemon(t);
  const { code, out, err } = await run('why');
  assert.deepEqual([code, err], [0, '']);
  assert.equal(out, `active   fibre, for 59s
because  fibre has the best priority

fibre  eth0 via 198.51.100.1
  state    up for 59s, active
  because  all 2 targets answer
  penalty  0.25; after its next death it must hold 30s before it leads
  quality  loss 1.3%, latency 12.3ms, jitter 0.5ms
  traffic  120 packets/s out, 97 packets/s back; connections get their answers
  probes   1.2 MB in the last 24 h
  WITNESS  NAME     SAYS   TEXT
  line     eth0     alive  it has a carrier
  target   gateway  alive  answered 1 s ago

cable  eth1
  state       down for 58s, not in use
  because     upstream is silent since 12:00:02
  fault       upstream: beyond the gateway
  hold        new flows stay away for another 10s, until 12:01:10
  awaited     it has held; it takes the lead back when it loses less
  suppressed  comes last for another 3m13s, until 12:04:13
  penalty     3.5; after its next death it must hold 2m before it leads
  quality     loss 100%, latency -, jitter -; the line is full of our own traffic, so they do not count
  probes      4.0 MB of 5.0 MB in the last 24 h
  outside     bgp-watch says down for another 20s, until 12:01:20: the session is lost
  WITNESS  NAME          SAYS    TEXT
  target   gateway       alive   answered 1 s ago
  target   icmp 1.1.1.1  silent  no answer for 58 s
  outside  bgp-watch     silent  the session is lost
`);
});

test('why NAME tells the choice and that uplink alone; its JSON is the answer of its own call', async (t) => {
  const { run, get } = await daemon(t);
  const { code, out } = await run('why', 'cable');
  assert.equal(code, 0);
  assert.match(out, /^active {3}fibre, for 59s\nbecause .*\n\ncable {2}eth1\n/);
  assert.doesNotMatch(out, /^fibre {2}/m);
  assert.equal((await run('why', 'cable', '--json')).out, await get('/v1/uplinks/cable'));
  assert.equal((await run('why', '--json')).out, await get('/v1/status'));
});

test('why of an uplink that does not exist is exit 1 with those that do, as text and as JSON', async (t) => {
  const { run, world } = await daemon(t);
  const asText = await run('why', 'no\u001bsuch');
  assert.deepEqual(asText, { code: 1, out: '', err: 'uplinkctl: refused: There is no uplink "no�such". The uplinks are: fibre, cable.\n' });
  const asJson = await run('why', 'nosuch', '--json');
  assert.equal(asJson.code, 1);
  assert.equal((JSON.parse(asJson.out) as { status: number }).status, 404);
  assert.equal(asJson.err, 'uplinkctl: refused: There is no uplink "nosuch". The uplinks are: fibre, cable.\n');
  world.status = { ...healthy, uplinks: [] };
  assert.match((await run('why', 'fibre')).err, /The config has none\.\n$/);
});

test('an uplink with both families has a chapter for each, and what is told of the uplink stands in the first', async () => {
  const text = showWhy(await shown(dual), 'cable', paint);
  assert.match(text, /^active {3}fibre in IPv4, for 59s\n(?:.*\n)?active {3}cable in IPv6, for 20s$/m);
  const [, four, six] = text.split(/^(?=cable {2}IPv)/m);
  assert.match(four ?? '', /^cable {2}IPv4 {2}eth1\n {2}state +down(.*\n)+ {2}probes .*\n {2}outside /);
  assert.match(six ?? '', /^cable {2}IPv6 {2}eth1 via fe80::2\n {2}state +up for 59s, active\n/);
  assert.doesNotMatch(six ?? '', /^ {2}(probes|outside) +\S+ says|^ {2}probes/m);
});

test('what is not known, or has nothing to say, has no line, and an uplink that waits is told its place', async () => {
  const [part] = fibre.families;
  assert.ok(part);
  const waiting = {
    ...part, active: false, rank: 1, evidence: [], traffic: undefined, quality: { lossPercent: undefined, latencyMs: undefined, jitterMs: undefined, busy: false },
  };
  const view = await shown({ ...healthy, uplinks: [{ ...fibre, active: false, rank: 1, evidence: [], families: [waiting] }] });
  assert.match(showWhy(view, '', paint), /\n {2}state {4}up for 59s, place 2 in the order of preference\n/);
  assert.match(showWhy(view, '', paint), /\n {2}quality {2}loss -, latency -, jitter -\n {2}probes .*\n$/);
  assert.doesNotMatch(showWhy(view, '', paint), /WITNESS|traffic|hold {2}|suppressed|fault|outside/);
});

test('connections that get no answers are told from too little traffic to say', async () => {
  const told = async (progressing: boolean | undefined) => {
    const [part] = fibre.families;
    assert.ok(part?.traffic);
    return /^ {2}traffic +(.*)$/m.exec(showWhy(await shown({ ...healthy, uplinks: [{ ...fibre, families: [{ ...part, traffic: { ...part.traffic, progressing } }] }] }), '', paint))?.[1];
  };
  assert.equal(await told(false), '120 packets/s out, 97 packets/s back; connections do not get their answers');
  assert.equal(await told(undefined), '120 packets/s out, 97 packets/s back; too little to say more');
});

test('every fault domain has words, the same as the API describes it by', async () => {
  assert.deepEqual(FAULT_WORDS, FAULT_MEANINGS);
  const [part] = cable.families;
  assert.ok(part);
  const view = await shown({ ...healthy, uplinks: [{ ...cable, domain: 'portal', families: [{ ...part, domain: 'portal' }] }] });
  assert.match(showWhy(view, '', paint), /^ {2}fault +portal: a captive portal wants somebody to log in$/m);
  const newer = showWhy({ ...view, uplinks: view.uplinks.map((uplink) => ({ ...uplink, domain: 'constructor' })) }, '', paint);
  assert.match(newer, /^ {2}fault +constructor$/m, 'another version may know others');
});

test('verdict passes on what was said and shows what stands then', async (t) => {
  const { run, world } = await daemon(t);
  const down = await run('verdict', 'fibre', 'down', '--for', '30s', '--by', 'bgp-watch', '--because', 'the session is lost');
  assert.deepEqual([down.code, down.err], [0, '']);
  assert.match(down.out, /^fibre is up, because all 2 targets answer\nverdict: bgp-watch says down for another 30s, until \d\d:\d\d:\d\d: the session is lost\nactive: fibre\n$/);
  const up = await run('verdict', 'fibre', 'up', '--for', '1h');
  assert.match(up.out, /^verdict: bgp-watch says down .*\nverdict: root@unix says up for another 1h, until \S+\n/m);
  assert.match((await run('verdict', 'fibre', 'clear', '--by', 'bgp-watch')).out, /\nverdict: root@unix says up .*\nactive/);
  assert.match((await run('verdict', 'fibre', 'clear')).out, /\nverdict: none from outside\nactive: fibre\n$/);
  assert.deepEqual(world.asked, [
    { uplink: 'fibre', state: 'down', forMs: 30_000, by: 'bgp-watch', because: 'the session is lost' }, { uplink: 'fibre', state: 'up', forMs: 3_600_000, by: 'root@unix', because: '' },
    { withdraw: 'fibre', by: 'bgp-watch' }, { withdraw: 'fibre', by: '' },
  ]);
});

test('who said it, and the name of the uplink, may have any character that a URL has not', async (t) => {
  const { run, world } = await daemon(t);
  world.status = { ...healthy, uplinks: [{ ...fibre, uplink: 'a b%2F?x' }] };
  assert.equal((await run('verdict', 'a b%2F?x', 'clear', '--by', 'b&c=d #é')).code, 0);
  assert.equal((await run('verdict', 'a b%2F?x', 'down', '--for', '5s')).code, 0);
  assert.deepEqual(world.asked[0], { withdraw: 'a b%2F?x', by: 'b&c=d #é' });
});

test('what the daemon refuses of a verdict is exit 1 with its reason, and --json prints the bytes of the REST API', async (t) => {
  const { run, world, get } = await daemon(t);
  assert.deepEqual(await run('verdict', 'nosuch', 'down', '--for', '30s'), { code: 1, out: '', err: 'uplinkctl: refused: There is no uplink "nosuch". The uplinks are: fibre, cable.\n' });
  assert.match((await run('verdict', 'fibre', 'down', '--for', '25h')).err, /refused: "ttl" is 25h; it must be 1s to 24h\.\n$/);
  assert.match((await run('verdict', 'fibre', 'down', '--for', '30s', '--by', 'x'.repeat(65))).err, /refused: "by" is .* 1 to 64 printable characters/);
  assert.deepEqual(world.asked, []);
  const said = await run('verdict', 'fibre', 'down', '--for', '30s', '--json');
  assert.deepEqual([said.code, said.out], [0, await get('/v1/status')]);
});

test('the rows of the status stay within 100 columns, and long reasons are broken between words', async () => {
  const long = 'gateway answers, and nothing beyond it: '.concat('icmp 1.1.1.1 is silent for 3.2 s; '.repeat(8)).trim();
  const [part] = cable.families;
  assert.ok(part);
  const families = [4, 6].map((family) => ({ ...part, family: family as 4 | 6, state: 'degraded' as const, domain: 'everything' as const, because: long, gateway: 'fe80::ffff:aabb:ff:fedd:eeff'.slice(0, 25), quality: { lossPercent: 40, latencyMs: 12_345, jitterMs: 1, busy: true } }));
  const view = await shown({ ...healthy, uplinks: [{ ...cable, uplink: 'copper-2', interface: 'enp2s0f1', families }] });
  const text = showStatus(view, paint);
  const table = text.slice(text.indexOf('  UPLINK'), text.indexOf('  UPLINK  ', text.indexOf('  UPLINK') + 9));
  assert.match(table, /degraded/);
  for (const line of table.split('\n')) assert.ok(line.length <= 100, `${line.length}: ${line}`);
  assert.ok(table.replace(/\s+/g, ' ').includes(long), 'nothing of the reason is lost');
});

test('figures and times are written as people read them', () => {
  assert.deepEqual([0, 0.04, 0.44, 1.25, 9.94, 9.96, 40.4, 100, Number.NaN].map(percentText), ['0%', '0%', '0.4%', '1.3%', '9.9%', '10%', '40%', '100%', '-']);
  assert.equal(clockText(Date.UTC(2024, 4, 1, 12, 3, 4), Date.UTC(2024, 4, 1, 23)), '12:03:04');
  assert.equal(clockText(Date.UTC(2024, 4, 2, 0, 0, 9), Date.UTC(2024, 4, 1, 23)), '2024-05-02 00:00:09');
  assert.equal(clockText(Number.NaN, 0), 'an unknown time');
  assert.deepEqual(wrapped('aa bb ccccccc d', 5), ['aa bb', 'ccccccc', 'd']);
  assert.deepEqual(wrapped('', 5), ['']);
});

test('an answer of another version has no holes in its text, and nothing in it can move the cursor', () => {
  const bare = readStatus({ active: [], uplinks: [{ name: 'x' }] });
  assert.ok(bare);
  assert.doesNotMatch(showWhy(bare, '', paint), /undefined|NaN|null/);
  const evil = '\u001b]0;owned\u0007\n';
  const uplink = { name: evil, state: evil, domain: evil, because: evil, evidence: [{ witness: evil, name: evil, says: evil, text: evil }], outside: [{ state: evil, by: evil, because: evil }] };
  const status = readStatus({ active: [{ name: evil }], because: evil, uplinks: [uplink] });
  assert.ok(status);
  for (const text of [showWhy(status, '', paint), showSaid(status, status.uplinks[0]?.name ?? '')]) assert.doesNotMatch(text, /[^\P{Cc}\n]/u);
});

test('colours stand beside the words of the evidence and the state', async () => {
  const view = await shown(healthy);
  const coloured = showWhy(view, '', paintFor(true));
  assert.match(coloured, /\u001b\[31msilent\s*\u001b/);
  assert.equal(coloured.replace(/\u001b\[[0-9]+m/g, '').replace(/ +$/gm, ''), showWhy(view, '', paint).replace(/ +$/gm, ''));
});
