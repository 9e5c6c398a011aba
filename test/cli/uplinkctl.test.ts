/** The program itself, as a child process, against a real server on a unix socket and on TCP. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { healthy, openWorld, serve, type World } from '../api/fixture.js';
import { deadline } from '../lab/wait.js';

const PROGRAM = fileURLToPath(new URL('../../bin/uplinkctl.js', import.meta.url));

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(...args: string[]): Promise<Run> {
  return new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, ...args], { timeout: deadline() }, (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err }));
  });
}

function runDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'uplinkctl-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function daemon(t: TestContext): Promise<{ world: World; socket: string; url: string; dir: string }> {
  const world = openWorld();
  const dir = runDir(t);
  const socket = join(dir, 'uplinkd.sock');
  const server = serve(world, { socketPath: socket, tcp: { host: '127.0.0.1', port: 0 }, peerUid: () => 0 });
  const port = await server.listen();
  t.after(() => server.close());
  return { world, socket, url: `http://127.0.0.1:${port}`, dir };
}

/** Something that listens where uplinkd should, and is not. */
async function impostor(t: TestContext, answer: RequestListener): Promise<string> {
  const socket = join(runDir(t), 's');
  const server = createServer(answer);
  await new Promise<void>((resolve) => void server.listen(socket, resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return socket;
}

test('status shows the active uplink and why, every uplink and every target', async (t) => {
  const { socket } = await daemon(t);
  const { code, out, err } = await run('status', '--socket', socket);
  assert.equal(err, '');
  assert.equal(code, 0);
  assert.equal(out, `active   fibre, for 59s
because  fibre has the best priority
kernel   in sync, 42 changes, 3 repairs
host     NAT by nftables in sync, sysctls not in sync
daemon   0.1.0, up 1m, timer at most 1.5ms late
! net/ipv4/ip_forward is read only

  UPLINK  STATE  DEVICE  GATEWAY       PRIO  LOSS  LATENCY  FAULT
* fibre   up     eth0    198.51.100.1  1     1.3%  12.3ms   -
      for 59s, because all 2 targets answer
  cable   down   eth1    -             2     100%  -        upstream
      for 58s, because upstream is silent since 12:00:02; the line is full of our own traffic

  UPLINK  TARGET        ADDRESS       ANSWERS  RTT    JITTER  LOSS  LAST ERROR
  fibre   gateway       198.51.100.1  yes      4.2ms  0.5ms   0%
  cable   gateway       198.51.100.1  yes      4.2ms  0.5ms   0%
  cable   icmp 1.1.1.1  1.1.1.1       no       -      -       100%  no answer
`);
});

test('active begins with the name', async (t) => {
  const { socket, world } = await daemon(t);
  assert.match((await run('active', '--socket', socket)).out, /^fibre {2}eth0 via 198\.51\.100\.1\nfor .*, because fibre has the best priority\n$/);
  world.status = { ...healthy, active: [] };
  const none = await run('active', '--socket', socket);
  assert.match(none.out, /^none\n/);
  assert.equal(none.code, 0);
});

test('--json prints the bytes of the REST API and nothing else, refusals too', async (t) => {
  const { socket, url, world } = await daemon(t);
  for (const [verb, path] of [['status', '/v1/status'], ['active', '/v1/active'], ['check', '/v1/status']] as const) {
    assert.equal((await run(verb, '--json', '--socket', socket)).out, await (await fetch(url + path)).text(), verb);
  }
  world.error = 'cable has no carrier.';
  for (const args of [['switch-uplink', 'cable'], ['auto'], ['confirm']]) {
    const refused = await run(...args, '--json', '--socket', socket);
    assert.equal(refused.code, 1);
    assert.equal((JSON.parse(refused.out) as { detail: string }).detail, 'cable has no carrier.');
  }
});

test('switch-uplink passes on what was said and shows what stands then', async (t) => {
  const { socket, world } = await daemon(t);
  const { code, out, err } = await run('switch-uplink', 'cable', '--for', '2h', '--reason', 'fibre is spliced', '--if-dead', 'obey', '--confirm', '60s', '--socket', socket);
  assert.equal(err, '');
  assert.equal(code, 0);
  assert.deepEqual(world.asked, [{ uplink: 'cable', forMs: 7_200_000, reason: 'fibre is spliced', ifDead: 'obey', confirmMs: 60_000, by: 'root@unix' }]);
  assert.equal(out, `cable  eth1
for 0s, because root@unix chose cable
override: cable for another 2h, even if it dies, by root@unix: fibre is spliced
override: dropped in 1m unless "uplinkctl confirm" comes before
`);
  assert.doesNotMatch((await run('confirm', '--socket', socket)).out, /unless/);
  assert.doesNotMatch((await run('auto', '--socket', socket)).out, /override/);
});

test('switch-uplink with nothing but a name says nothing more', async (t) => {
  const { socket, world } = await daemon(t);
  await run('switch-uplink', 'cable', '--socket', socket);
  assert.deepEqual(world.asked, [{ uplink: 'cable', forMs: undefined, reason: '', ifDead: 'fall-through', confirmMs: undefined, by: 'root@unix' }]);
});

test('a choice that is not in use is told as such', async (t) => {
  const { socket, world } = await daemon(t);
  await run('switch-uplink', 'cable', '--socket', socket);
  world.status = { ...world.status, active: healthy.active };
  assert.match((await run('auto', '--socket', socket)).out, /^fibre/);
  world.status = { ...healthy, override: { uplink: 'cable', until: undefined, confirmBy: undefined, reason: '', by: 'x', since: healthy.at, ifDead: 'fall-through' } };
  assert.match((await run('confirm', '--socket', socket)).out, /^cable is chosen but not in use: it is down, upstream is silent/);
});

test('what the daemon refuses is exit 1 with its reason', async (t) => {
  const { socket, world } = await daemon(t);
  const unknown = await run('switch-uplink', 'nosuch', '--socket', socket);
  assert.deepEqual([unknown.code, unknown.out], [1, '']);
  assert.match(unknown.err, /^uplinkctl: refused: There is no uplink "nosuch"\. The uplinks are: fibre, cable\.\n$/);
  const long = await run('switch-uplink', 'cable', '--for', '31d', '--socket', socket);
  assert.deepEqual([long.code, long.err], [1, 'uplinkctl: refused: "for" is 31d; it must be 1s to 30d.\n']);
  world.error = 'nothing waits for a confirmation.';
  assert.deepEqual(await run('confirm', '--socket', socket), { code: 1, out: '', err: 'uplinkctl: refused: nothing waits for a confirmation.\n' });
});

test('over TCP one may ask and not change', async (t) => {
  const { url, world, dir } = await daemon(t);
  assert.equal((await run('status', '--url', url)).code, 0);
  writeFileSync(join(dir, 'token'), 'sesame\n');
  const refused = await run('auto', '--url', `${url}/`, '--token-file', join(dir, 'token'));
  assert.equal(refused.code, 1);
  assert.match(refused.err, /may only read/);
  assert.deepEqual(world.asked, []);
});

test('the token goes into the request, and one that cannot be read is wrong usage', async (t) => {
  const dir = runDir(t);
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end('{"active":[]}');
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/behind/a/proxy`;
  writeFileSync(join(dir, 'token'), 'sesame\n');
  assert.equal((await run('active', '--url', url, '--token-file', join(dir, 'token'))).code, 0);
  assert.deepEqual(seen, ['Bearer sesame']);
  assert.equal((await run('active', '--url', url, '--token-file', join(dir, 'absent'))).code, 2);
  writeFileSync(join(dir, 'token'), 'two\ntokens');
  assert.equal((await run('active', '--url', url, '--token-file', join(dir, 'token'))).code, 2);
});

test('wrong usage is exit 2, on stderr, with the next step', async () => {
  for (const args of [[], ['frobnicate'], ['switch-uplink'], ['status', '--bogus'], ['drain'], ['verdict', 'fibre', 'down'], ['switch-uplink', 'a', '--for', 'soon']]) {
    const { code, out, err } = await run(...args);
    assert.deepEqual([code, out], [2, ''], args.join(' '));
    assert.match(err, /^uplinkctl: .*\nUsage: uplinkctl .*\nTry: uplinkctl .*--help\n$/);
  }
});

test('a daemon that is not there is exit 3, naming the socket and what to do', async (t) => {
  const absent = join(runDir(t), 'uplinkd.sock');
  const { code, out, err } = await run('status', '--json', '--socket', absent);
  assert.deepEqual([code, out], [3, '']);
  assert.ok(err.includes(absent) && err.includes('systemctl status uplinkd'), err);
  const url = await run('status', '--url', 'http://127.0.0.1:1');
  assert.equal(url.code, 3);
  assert.match(url.err, /cannot reach uplinkd at http:\/\/127\.0\.0\.1:1\/.*api\.listen/);
});

test('a socket file that nobody listens on is exit 3', async (t) => {
  const stale = join(runDir(t), 'stale');
  const left = spawn(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, 'SIGKILL'))`]);
  await once(left, 'exit');
  const { code, err } = await run('status', '--socket', stale);
  assert.equal(code, 3);
  assert.match(err, /nobody listens on the socket .*not running/);
});

test('a socket that may not be used is exit 3 and says who may', { skip: process.getuid?.() === 0 && !existsSync('/usr/bin/setpriv') ? 'needs setpriv to be somebody else than root' : false }, async (t) => {
  const { socket, dir } = await daemon(t);
  chmodSync(dir, 0o755);
  const args = [process.execPath, PROGRAM, 'status', '--socket', socket];
  if (process.getuid?.() !== 0) chmodSync(socket, 0o000);
  const [program, ...rest] = process.getuid?.() === 0 ? ['/usr/bin/setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', ...args] : args;
  const { code, err } = await new Promise<Run>((resolve) => {
    execFile(program ?? '', rest, (error, out, stderr) => resolve({ code: error === null ? 0 : Number(error.code), out, err: stderr }));
  });
  assert.equal(code, 3, err);
  assert.match(err, /may not use the socket .* member of the group uplinkd/);
});

test('what answers and is not uplinkd is exit 3', async (t) => {
  const noJson = await impostor(t, (_request, response) => void response.end('<html>'));
  assert.match((await run('status', '--socket', noJson)).err, /not as uplinkd does/);
  const otherJson = await impostor(t, (_request, response) => void response.end('{"hello":1}'));
  const other = await run('status', '--socket', otherJson);
  assert.equal(other.code, 3);
  assert.match(other.err, /not uplinkd/);
  const endless = await impostor(t, (_request, response) => {
    const more = () => void (response.write('x'.repeat(1_000_000)) ? setImmediate(more) : response.once('drain', more));
    more();
  });
  assert.match((await run('status', '--socket', endless)).err, /larger than/);
  const dir = runDir(t);
  const silent = createSocket((socket) => socket.end('what?\n'));
  await new Promise<void>((resolve) => void silent.listen(join(dir, 's'), resolve));
  t.after(() => silent.close());
  assert.equal((await run('status', '--socket', join(dir, 's'))).code, 3);
});

test('check has the codes of the monitoring plugins, for wrong usage and an absent daemon too', async (t) => {
  const { socket, world } = await daemon(t);
  const check = async () => run('check', '--socket', socket);
  assert.match((await check()).out, /^UPLINKD WARNING - sysctls not in sync: net\/ipv4\/ip_forward is read only \|/);
  world.status = { ...healthy, host: undefined };
  assert.match((await check()).out, /^UPLINKD OK - fibre is active: .* \| 'active'=1/);
  await run('switch-uplink', 'cable', '--socket', socket);
  assert.deepEqual([(await check()).code, (await check()).out.slice(0, 15)], [1, 'UPLINKD WARNING']);
  world.status = { ...healthy, active: [] };
  assert.deepEqual([(await check()).code, (await check()).out.slice(0, 16)], [2, 'UPLINKD CRITICAL']);
  const absent = await run('check', '--socket', `${socket}x`);
  assert.deepEqual([absent.code, absent.out.slice(0, 15), absent.err], [3, 'UPLINKD UNKNOWN', '']);
  assert.equal((await run('check', '--bogus')).code, 3);
  assert.equal((await run('check', 'extra')).code, 3);
});

test('help and version are exit 0 on stdout', async () => {
  const { code, out } = await run('--help');
  assert.equal(code, 0);
  for (const verb of ['status', 'active', 'switch-uplink NAME', 'confirm', 'auto', 'why [NAME]', 'verdict NAME up|down|clear', 'check']) assert.ok(out.includes(`  ${verb} `), verb);
  for (const line of out.split('\n')) assert.ok(line.length <= 120, line);
  assert.match((await run('switch-uplink', '--help')).out, /^Usage: uplinkctl switch-uplink NAME .*--if-dead RULE.*--json/s);
  assert.match((await run('--version')).out, /^uplinkctl \d+\.\d+\.\d+\n$/);
});

test('a reader that leaves early is no error', async (t) => {
  const { socket } = await daemon(t);
  const child = execFile(process.execPath, [PROGRAM, 'status', '--socket', socket]);
  child.stdout?.destroy();
  const [code] = await new Promise<[number | null]>((resolve) => void child.once('exit', (exit) => resolve([exit])));
  assert.equal(code, 0);
});

test('on a terminal the state has a colour, unless NO_COLOR; JSON cannot carry control characters there', { skip: existsSync('/usr/bin/script') ? false : 'needs script(1) for a terminal' }, async (t) => {
  const { socket, world } = await daemon(t);
  const onTerminal = (env: Record<string, string>, ...args: string[]) => new Promise<string>((resolve) => {
    const command = [process.execPath, PROGRAM, ...args, '--socket', socket].map((word) => `'${word}'`).join(' ');
    execFile('/usr/bin/script', ['-qec', command, '/dev/null'], { env: { PATH: process.env['PATH'], TERM: 'xterm', ...env } }, (_error, out) => resolve(out));
  });
  assert.match(await onTerminal({}, 'status'), /\u001b\[32mup/);
  assert.doesNotMatch(await onTerminal({ NO_COLOR: '1' }, 'status'), /\u001b/);
  assert.doesNotMatch(await onTerminal({ TERM: 'dumb' }, 'status'), /\u001b/);
  world.status = { ...healthy, decision: { ...healthy.decision, because: 'a\u009b31mb\u202ec' } };
  const json = await onTerminal({}, 'active', '--json');
  assert.doesNotMatch(json, /[\u0080-\u009f\u202e]/);
  assert.equal((JSON.parse(json) as { because: string }).because, 'a\u009b31mb\u202ec');
});
