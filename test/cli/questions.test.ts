/** what-if, plan, reload, policies and doctor as a child process against a real server, and both families in the status. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readFindings, readPolicies, readPreview } from '../../src/cli/question-answers.js';
import { readStatus } from '../../src/cli/answers.js';
import { checkStatus } from '../../src/cli/check.js';
import { showFindings, showPolicies, showPreview } from '../../src/cli/show-questions.js';
import { showActive, showStatus } from '../../src/cli/show.js';
import { paintFor } from '../../src/cli/table.js';
import { dual, healthy, openWorld, preview, serve, type World } from '../api/fixture.js';
import { deadline } from '../lab/wait.js';

const PROGRAM = fileURLToPath(new URL('../../bin/uplinkctl.js', import.meta.url));
const paint = paintFor(false);

async function daemon(t: TestContext): Promise<{ world: World; socket: string; url: string; dir: string; run: (args: readonly string[], stdin?: string) => Promise<{ code: number | null; out: string; err: string }> }> {
  const world = openWorld();
  const dir = mkdtempSync(join(tmpdir(), 'uplinkctl-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const socket = join(dir, 'uplinkd.sock');
  const server = serve(world, { socketPath: socket, tcp: { host: '127.0.0.1', port: 0 }, peerUid: () => 0 });
  const port = await server.listen();
  t.after(() => server.close());
  const run = (args: readonly string[], stdin = ''): Promise<{ code: number | null; out: string; err: string }> => new Promise((resolve) => {
    const child = spawn(process.execPath, [PROGRAM, ...args, ...(args.includes('--url') ? [] : ['--socket', socket])], { timeout: deadline() });
    let [out, err] = ['', ''];
    child.stdout.on('data', (part: Buffer) => (out += part.toString()));
    child.stderr.on('data', (part: Buffer) => (err += part.toString()));
    child.on('close', (code) => resolve({ code, out, err }));
    child.stdin.on('error', () => undefined);
    child.stdin.end(stdin);
  });
  return { world, socket, url: `http://127.0.0.1:${port}`, dir, run };
}

test('what-if shows the choice before and after, and every change in its section', async (t) => {
  const { run, world } = await daemon(t);
  assert.deepEqual(await run(['what-if', 'fibre']), { code: 0, err: '', out: `IPv4  fibre → cable
      because fibre is down

routing
  ip route add default via 203.0.113.1 dev eth1 table 9400 proto 147 metric 29
  ip rule delete fwmark 0x80/0x3f80 lookup 9401

filter
  + oifname "eth1" masquerade

sysctls
  sysctl -w net.ipv4.ip_forward=1

flows
  forget 17 connections of fibre
` });
  const odd = 'a&b=c/d ü';
  world.status = { ...healthy, uplinks: healthy.uplinks.map((uplink) => ({ ...uplink, uplink: odd })) };
  await run(['what-if', odd]);
  assert.deepEqual(world.asked, [{ whatIf: 'fibre' }, { whatIf: odd }], 'the name comes over as it is');
  const { code, err } = await run(['what-if', 'nosuch']);
  assert.deepEqual([code, err], [1, `uplinkctl: refused: There is no uplink "nosuch". The uplinks are: ${odd}, ${odd}.\n`]);
});

test('plan sends a file, or the standard input, and says when nothing would change', async (t) => {
  const { run, world, dir } = await daemon(t);
  const file = join(dir, 'new.yaml');
  writeFileSync(file, 'uplinks: {} # ü\n');
  world.preview = { decisions: healthy.decisions, routing: [], filter: [], sysctls: [], flows: [], notes: ['kernel.markMask takes effect at the next start'] };
  assert.deepEqual(await run(['plan', '--config', file]), { code: 0, err: '', out: 'IPv4  fibre, as before\n! kernel.markMask takes effect at the next start\n\nnothing would change\n' });
  await run(['plan', '--config', '-'], 'uplinks: 1\n');
  assert.deepEqual(world.asked, [{ plan: 'uplinks: {} # ü\n', file }, { plan: 'uplinks: 1\n', file: 'stdin' }]);
});

test('an invalid config is exit 78 with every problem as uplinkd check prints it', async (t) => {
  const { run, world } = await daemon(t);
  world.invalid = { problems: ['stdin:3: uplinks.fibre.gateway: `x` is no address', 'stdin:7: lan: unknown key \u001b[2J'] };
  const told = 'stdin:3: uplinks.fibre.gateway: `x` is no address\nstdin:7: lan: unknown key �[2J\n';
  assert.deepEqual(await run(['plan', '--config', '-'], 'x'), { code: 78, out: '', err: told });
  assert.deepEqual(await run(['reload']), { code: 78, out: '', err: `${told}uplinkctl: the old config keeps running\n` });
  const json = await run(['reload', '--json']);
  assert.deepEqual([json.code, (JSON.parse(json.out) as { problems: unknown }).problems], [78, world.invalid.problems]);
});

test('a config that cannot be read, is too large or is no text is exit 78 and the daemon hears nothing', async (t) => {
  const { run, world, dir } = await daemon(t);
  const binary = join(dir, 'binary');
  writeFileSync(binary, Buffer.from([0xff, 0xfe]));
  for (const [file, why, stdin] of [
    [join(dir, 'absent'), /absent: the file cannot be read \(ENOENT: no such file or directory\): name another/], [dir, /cannot be read \(EISDIR/], [binary, /binary: this is not UTF-8/], ['/dev/zero', /1 MiB at most/],
    ['-', /^stdin: a config has 1 MiB at most/, 'x'.repeat(1024 * 1024 + 1)], ['-', /^stdin: a config has 1 MiB at most/, '"'.repeat(1024 * 1024)],
  ] as const) {
    const { code, out, err } = await run(['plan', '--config', file], stdin);
    assert.deepEqual([code, out], [78, ''], file);
    assert.match(err, why);
  }
  assert.deepEqual(world.asked, []);
  assert.equal((await run(['plan', '--config', '-'], 'x'.repeat(1024 * 1024 - 200))).code, 0, 'and nearly as much is sent');
});

test('reload shows what was changed, and says when the kernel has not all of it', async (t) => {
  const { run, world } = await daemon(t);
  assert.match((await run(['reload'])).out, /^IPv4 {2}fibre → cable\n {6}because fibre is down\n\nrouting\n/);
  assert.deepEqual(world.asked, [{ reload: 'root@unix' }]);
  world.preview = { ...preview, routing: [], filter: [], sysctls: [], flows: [] };
  world.status = { ...healthy, kernel: { ...healthy.kernel, inSync: false } };
  assert.equal((await run(['reload'])).out, 'IPv4  fibre → cable\n      because fibre is down\n! the kernel does not have all of it yet: see "uplinkctl status"\n\nnothing had to be changed\n');
  world.error = 'uplinkd is stopping.';
  assert.deepEqual(await run(['reload']), { code: 1, out: '', err: 'uplinkctl: refused: uplinkd is stopping.\n' });
});

test('families that fare alike are told together, and one that nobody has not at all', () => {
  const shownOf = (after: readonly object[], before: readonly object[] = after) => {
    const view = readPreview({ before, after, routing: [] });
    assert.ok(view);
    return showPreview(view, false, paint).split('\n\n')[0];
  };
  const decision = (family: number, order: readonly string[][]) => ({ family, order, because: 'of this' });
  const [a, ab] = [[['a']], [['a', 'b'], ['c']]];
  assert.equal(shownOf([decision(4, a), decision(6, a)], [decision(4, ab), decision(6, ab)]), 'IPv4 and IPv6  a and b, then c → a\n               because of this');
  assert.equal(shownOf([decision(4, a), decision(6, ab)], [decision(4, a), decision(6, a)]), 'IPv4  a, as before\nIPv6  a → a and b, then c\n      because of this');
  assert.equal(shownOf([decision(4, a), decision(6, [])]), 'IPv4  a, as before');
  assert.equal(shownOf([decision(4, [])], [decision(4, a)]), 'IPv4  a → none\n      because of this');
});

test('policies are a table with what fits in words', async (t) => {
  const { run, world } = await daemon(t);
  assert.equal((await run(['policies'])).out, `POLICY     NOW                                 CONNECTIONS  BYTES   ORDER                                                    WHAT FITS
telephony  IPv4 fibre and cable, IPv6 blocked  1234         5.7 MB  fibre 3 and cable 1, then lte; else blocked; sticky 10m  udp from 192.0.2.0/25, 2001:db8:1::/64 to port 5060-5080, 10000; destination in set providers; mark 0x10000/0xff0000; the router's own too
rest       cable                               -            -       cable; else as others                                    everything
`);
  world.policies = [];
  assert.equal((await run(['policies'])).out, 'no policies\n');
});

test('doctor shows the worst first with its remedy to be copied, and is exit 0 whatever it found', async (t) => {
  const { run, world } = await daemon(t);
  assert.deepEqual(await run(['doctor']), { code: 0, err: '', out: `warning  networkd   systemd-networkd removes routes that it did not make
    printf '[Network]\\nManageForeignRoutes=no\\n' > /etc/systemd/networkd.conf.d/uplinkd.conf
    systemctl restart systemd-networkd
ok       rp_filter  loose on every uplink
` });
  world.findings = world.findings.slice(0, 1);
  assert.equal((await run(['doctor'])).out, 'ok  rp_filter  loose on every uplink\n');
  world.findings = [];
  assert.equal((await run(['doctor'])).out, 'nothing was looked at yet\n');
});

test('--json of every question prints the bytes of the REST API', async (t) => {
  const { run, url } = await daemon(t);
  for (const [args, path] of [[['what-if', 'fibre'], '/v1/what-if?down=fibre'], [['policies'], '/v1/policies'], [['doctor'], '/v1/doctor']] as const) {
    const answer = await (await fetch(url + path)).text();
    assert.equal((await run([...args, '--json'])).out, answer);
    assert.equal((await run([...args, '--json', '--url', url])).out, answer, 'who may read may ask');
  }
  assert.deepEqual(Object.keys(JSON.parse((await run(['reload', '--json'])).out) as object), ['before', 'after', 'routing', 'filter', 'sysctls', 'flows', 'notes', 'inSync']);
  const refused = await run(['plan', '--config', '-', '--url', url], 'x');
  assert.equal(refused.code, 1);
  assert.match(refused.err, /unix socket/);
});

// ------------------------------------------------------------------------------------------------------ texts

test('nothing from the other end can move the cursor, in remedies and rules neither; their indentation stays', () => {
  const evil = '\u001b]0;owned\u0007\r';
  const found = readFindings({ findings: [{ level: evil, subject: evil, text: `${evil}\n`, remedy: `${evil}\n\tindented\n` }] });
  const planned = readPreview({ before: [], after: [{ family: 4, order: [[evil]], because: evil }], routing: [evil], filter: [`\t${evil}`, 7], sysctls: [evil], flows: [evil], notes: [evil] });
  const sorted = readPolicies({ policies: [{ name: evil, protocol: evil, sources: [evil], destinations: [evil], sourcePorts: [evil], destinationPorts: [evil], mark: { value: evil, mask: evil }, set: { name: evil, side: evil }, order: [[{ uplink: evil }]], active: [{ family: 4, uplinks: [evil] }] }] });
  assert.ok(found && planned && sorted);
  for (const text of [showFindings(found, paint), showPreview(planned, false, paint), showPolicies(sorted, paint)]) assert.doesNotMatch(text, /[^\P{Cc}\n]/u);
  assert.match(showFindings(found, paint), /^ {8}indented$/m);
});

test('an answer of another version is unknown, not a crash', () => {
  for (const answer of [null, 5, [], {}, { routing: [] }, { policies: 5 }, { findings: {} }]) assert.deepEqual([readPreview(answer), readPolicies(answer), readFindings(answer)], [undefined, undefined, undefined]);
  const bare = [readPreview({ routing: [], after: [null, { order: [5] }] }), readPolicies({ policies: [null, { order: [null], active: [7] }] }), readFindings({ findings: [null] })] as const;
  assert.ok(bare[0] && bare[1] && bare[2]);
  assert.match(showPreview(bare[0], false, paint) + showPolicies(bare[1], paint) + showFindings(bare[2], paint), /nothing would change/);
});

test('long lists in what fits are cut, counts are told in units', () => {
  const many = readPolicies({ policies: [{ name: 'p', protocol: 'any', sources: ['a', 'b', 'c', 'd', 'e'], order: [[{ uplink: 'x', weight: 1 }]], connections: 3, bytes: 999 }, { name: 'q', bytes: 999_960 }, { name: 'r', bytes: 2.5e15 }] });
  const text = showPolicies(many ?? [], paint);
  assert.match(text, /from a, b, c and 2 more$/m);
  assert.match(text, /^p +- +3 +999 B .*\nq .* 1\.0 MB .*\nr .* 2500\.0 TB /m);
});

// --------------------------------------------------------------------------------------------------- families

async function shown(part: object = {}) {
  const { app } = serve({ ...openWorld(), board: { ...openWorld().board, get: () => ({ ...dual, ...part }) } });
  const view = readStatus((await app.inject('/v1/status')).json());
  assert.ok(view);
  return view;
}

test('an uplink that is up in IPv4 and down in IPv6 has a line for each, and each choice is told', async () => {
  assert.match(showStatus(await shown(), paint), new RegExp(`^active {3}fibre in IPv4, for 59s
because {2}fibre has the best priority
active {3}cable in IPv6, for 20s
because {2}fibre is down
(?:.*\n)*
  UPLINK  IP    STATE  DEVICE  GATEWAY       PRIO  LOSS  LATENCY  FAULT
\\* fibre   IPv4  up     eth0    198.51.100.1  1     1.3%  12.3ms   -
      for 59s, because all 2 targets answer
          IPv6  down           fe80::1             100%  -        upstream
      for 20s, because no answer in IPv6 for 20 s; the line is full of our own traffic
  cable   IPv4  down   eth1    -             2     100%  -        upstream
      for 58s, because upstream is silent since 12:00:02; the line is full of our own traffic
\\*         IPv6  up             fe80::2             1.3%  12.3ms   -
      for 59s, because all 2 targets answer
(?:.*\n)*  fibre   gateway       fe80::1       no `));
});

test('one choice for both families is told once, and where nobody has IPv6 nothing is said of it', async () => {
  const [decision4] = healthy.decisions;
  const same = await shown({ decisions: [decision4, { ...decision4, family: 6 }], active: [...healthy.active, { ...healthy.active[0], family: 6, gateway: 'fe80::1' }] });
  assert.match(showStatus(same, paint), /^active {3}fibre in IPv4 and IPv6, for 59s\nbecause {2}fibre has the best priority\nkernel/);
  assert.match(showActive(same, same.atMs), /^fibre {2}eth0 via 198\.51\.100\.1\nfibre {2}eth0 via fe80::1 {2}\(IPv6\)\nfor /);
  const only4 = await shown({ uplinks: healthy.uplinks, active: healthy.active, decisions: [decision4, { family: 6, decision: { ...decision4?.decision, ranks: [] } }] });
  assert.doesNotMatch(showStatus(only4, paint), /IPv/);
});

test('check warns of a backup, a last resort or nothing in IPv6 while IPv4 is well', async () => {
  const [decision4, decision6] = dual.decisions;
  const host = { host: undefined };
  assert.match(checkStatus(await shown(host)).line, /^UPLINKD WARNING - running on a backup in IPv6, cable; fibre is down: no answer in IPv6 for 20 s \| 'active'=2;/);
  const six = (active: string, part: object = {}) => shown({
    ...host, active: [...healthy.active, ...(active === '' ? [] : [{ ...healthy.active[0], name: active, family: 6 }])], decisions: [decision4, { family: 6, decision: { ...decision6?.decision, ...part } }],
  });
  assert.match(checkStatus(await six('', { ranks: [] })).line, /^UPLINKD WARNING - no uplink is active in IPv6: fibre is down \|/);
  assert.match(checkStatus(await six('cable', { rule: 'last-resort' })).line, /^UPLINKD WARNING - no uplink is fit in IPv6, cable is kept as a last resort: fibre is down \|/);
  assert.equal(checkStatus(await six('fibre')).code, 0);
});

test('check tells a backup that serves both families once', async () => {
  const [decision4, decision6] = dual.decisions;
  const down = dual.uplinks.map((uplink) => ({ ...uplink, families: uplink.families.map((part) => ({ ...part, because: uplink.because, state: uplink.uplink === 'fibre' ? 'down' as const : 'up' as const })) }));
  const both = await shown({
    host: undefined, uplinks: down, decisions: [{ family: 4, decision: { ...decision4?.decision, ranks: decision6?.decision.ranks } }, decision6],
    active: [4, 6].map((family) => ({ ...healthy.active[0], name: 'cable', family })),
  });
  assert.match(checkStatus(both).line, /^UPLINKD WARNING - running on a backup, cable; fibre is down: all 2 targets answer \|/);
});

test('check is critical when IPv4 has nothing, but not on a line that never had IPv4', async () => {
  const [decision4, decision6] = dual.decisions;
  const only6 = { host: undefined, active: dual.active.filter(({ family }) => family === 6) };
  const { code, line } = checkStatus(await shown(only6));
  assert.equal(code, 2, 'chosen in IPv4, and no packet can leave');
  assert.match(line, /^UPLINKD CRITICAL - no uplink is active in IPv4: /);
  const nobody4 = { ...only6, decisions: [{ family: 4, decision: { ...decision4?.decision, ranks: [], because: 'no uplink has an address' } }, { family: 6, decision: { ...decision6?.decision, ranks: [{ members: [{ uplink: 'fibre', weight: 1 }] }] } }] };
  assert.match(checkStatus(await shown({ ...nobody4, active: [{ ...healthy.active[0], family: 6 }] })).line, /^UPLINKD WARNING - no uplink is active in IPv4: no uplink has an address \|/);
  const addressless = (received: number) => dual.uplinks.map((uplink) => ({
    ...uplink, families: uplink.families.map((part) => (part.family === 4 ? { ...part, domain: 'address' as const } : part)), targets: uplink.targets.map((target) => (target.family === 4 ? { ...target, received } : target)),
  }));
  const without = async (received: number) => checkStatus(await shown({ ...nobody4, uplinks: addressless(received), active: [{ ...healthy.active[0], family: 6 }] })).code;
  assert.equal(await without(0), 0);
  assert.equal(await without(60), 1, 'it had IPv4, and lost its address');
});
