/**
 * The lab proves itself before anything is proved in it: every fault does what it says and no more, the measuring is right (the kernel's own
 * fall-back is known), and nothing is left behind whatever becomes of the test process.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { TWIN_CGNAT, labUnavailable, now, openLab, until, waitFor, withLab } from './lab.js';
import type { Lab } from './lab.js';
import { receivedOf } from './received.js';
import { deadline } from './wait.js';

const skip = (await labUnavailable()) ?? false;
const LAB = new URL('./lab.js', import.meta.url).href;

describe('each fault does what it says', { skip }, () => {
  let lab: Lab;
  before(async () => {
    lab = await openLab();
    await lab.kernelAlone();
    // The router answers each ISP through that ISP: without this its answers are spoofed packets, and dropped.
    const pinned = lab.isps().map(async (isp, n) => {
      await lab.ip('router', `rule add from ${isp.prefix} lookup ${500 + n}`, `route add default via ${isp.gateway} dev ${isp.device} table ${500 + n}`);
    });
    await Promise.all(pinned);
  });
  after(async () => lab.close());

  /** For what is not to be answered: it is waited for a moment only. */
  const answers = async (host: string, address: string, source?: string): Promise<boolean> => (await ping(lab, host, address, source)).answered;
  const reaches = async (host: string, address: string): Promise<unknown> => waitFor(`${host} reaches ${address}`, () => answers(host, address), (answered) => answered);
  const echoesHeard = async (): Promise<string | undefined> => /^IcmpMsg: ([\d ]+)$/m.exec(await lab.text('router', ['cat', '/proc/net/snmp']))?.[1];
  const carrier = async (device: string): Promise<string> => ((await lab.text('router', ['ip', 'link', 'show', 'dev', device])).includes('LOWER_UP') ? '1' : '0');

  test('the client reaches the internet and the VPN, and every ISP reaches the router', async () => {
    for (const address of [...lab.topology.internet, '10.8.0.2']) await reaches('client', address);
    for (const isp of lab.isps()) await reaches('internet', isp.router);
  });

  test('a cut cable takes the carrier of that line alone, and a plugged one gives it back', async () => {
    await lab.cutCable('fibre');
    assert.deepEqual([await carrier('isp0'), await carrier('isp1')], ['0', '1']);
    await lab.plugCable('fibre');
    assert.equal(await carrier('isp0'), '1');
  });

  test('a dead gateway answers nothing, not even ARP, while the carrier stays', async () => {
    await lab.gatewayDead('fibre');
    const seen = await ping(lab, 'router', '198.51.100.1');
    assert.deepEqual([seen.answered, await answers('client', '1.1.1.1'), await carrier('isp0')], [false, false, '1']);
    await lab.ip('router', 'neigh flush dev isp0');
    await ping(lab, 'router', '198.51.100.1');
    assert.match(await lab.text('router', ['ip', 'neigh', 'show', 'dev', 'isp0']), /^198\.51\.100\.1 +(FAILED|INCOMPLETE)/m);
    await reaches('router', '203.0.113.1'); // the other ISP is not concerned
    await lab.heal('fibre');
    // The kernel repeats its ARP question once a second.
    await reaches('client', '1.1.1.1');
  });

  test('a dead upstream is silent in both directions while the gateway answers', async () => {
    await lab.upstreamDead('fibre');
    const beyond = await ping(lab, 'client', '1.1.1.1');
    assert.deepEqual([beyond.answered, /From/.test(beyond.said)], [false, false], beyond.said);
    await reaches('router', '198.51.100.1');
    const heard = await echoesHeard();
    const back = await ping(lab, 'internet', '198.51.100.2');
    assert.deepEqual([back.answered, /From/.test(back.said), await echoesHeard()], [false, false, heard], back.said);
    await lab.gatewayDead('fibre');
    assert.equal(await answers('router', '198.51.100.1'), false, 'another dead-verb replaces the first');
    await lab.heal('fibre');
    await reaches('internet', '198.51.100.2');
  });

  test('a lossy line loses the share it was told to', async () => {
    await lab.loss('fibre', 30);
    const received = await receivedOf(lab, 'client', 500, '1.1.1.1');
    assert.ok(received > 300 && received < 400, `${received} of 500`);
    await lab.heal('fibre');
    assert.equal(await receivedOf(lab, 'client', 100, '1.1.1.1'), 100);
  });

  test('an interface comes back under another index with its MAC and address', async () => {
    const look = async (): Promise<readonly string[]> => {
      const text = await lab.text('router', ['ip', 'addr', 'show', 'dev', 'isp1']);
      return [/^(\d+):/.exec(text)?.[1] ?? '', /link\/ether (\S+)/.exec(text)?.[1] ?? '', /inet (\S+)/.exec(text)?.[1] ?? ''];
    };
    const [index, ...rest] = await look();
    await lab.deleteInterface('cable');
    await assert.rejects(look, /does not exist/);
    await lab.recreateInterface('cable');
    const [newIndex, ...newRest] = await look();
    assert.notEqual(newIndex, index);
    assert.deepEqual(newRest, rest);
    await reaches('router', '203.0.113.1');
  });

  test('a line gets another address, and another network', async () => {
    await lab.changeAddress('lte', { router: '100.64.0.77' });
    assert.equal(await lab.text('router', ['ip', 'route', 'show', 'table', '502']), '', 'with the last address the kernel drops every route of the device');
    await lab.ip('router', 'route add default via 100.64.0.1 dev isp2 table 502');
    await reaches('internet', '100.64.0.77');
    assert.equal(await answers('internet', '100.64.0.2'), false);
    await lab.changeAddress('lte', { router: '100.65.0.9', prefix: '100.65.0.0/24', gateway: '100.65.0.254' });
    await lab.ip('router', 'rule add from 100.65.0.0/24 lookup 510', 'route add default via 100.65.0.254 dev isp2 table 510');
    await reaches('router', '100.65.0.254');
    await reaches('internet', '100.65.0.9');
    assert.equal(lab.isp('lte').gateway, '100.65.0.254');
    assert.equal(await lab.spoofed('lte'), 0);
  });

  test('all ISPs die and come back together', async () => {
    await lab.allDead();
    assert.equal(await answers('client', '1.1.1.1'), false);
    await lab.allBack();
    await reaches('client', '1.1.1.1');
  });

  test('a foreign default of metric 0 wins, and foreign hands empty routes and packet filters', async () => {
    await lab.addForeignDefault('cable');
    assert.equal((await lab.view('router')).main[0], 'default via 203.0.113.1 dev isp1 proto dhcp');
    await lab.flushRoutes();
    assert.deepEqual((await lab.view('router')).main.filter((route) => route.startsWith('default')), []);
    await lab.flushRoutes('main');
    assert.deepEqual((await lab.view('router')).main, []);
    await lab.restoreConnected();
    await reaches('client', '192.168.1.1');
    await lab.nftFlush();
    assert.deepEqual((await lab.view('router')).nft, []);
  });

  test('a foreign hand empties the nat table of iptables', async (context) => {
    if ((await lab.run('router', ['env', 'iptables', '-t', 'nat', '-A', 'POSTROUTING', '-o', 'isp0', '-j', 'MASQUERADE'])).code === 127) {
      context.skip('iptables is not installed');
      return;
    }
    const masquerades = async (): Promise<boolean> => (await lab.view('router')).iptables.some((line) => line.includes('MASQUERADE'));
    assert.equal(await masquerades(), true);
    await lab.iptablesNatFlush();
    assert.equal(await masquerades(), false);
  });

  test('a name that the lab does not have is refused with those it has', async () => {
    await assert.rejects(lab.cutCable('fiber'), /no ISP "fiber"; it has fibre, cable, lte/);
    await assert.rejects(lab.ip('router', 'link set nonsense up', 'link set lo up'), /^Error: router: ip link set nonsense up: Cannot find device "nonsense"$/);
    await assert.rejects(lab.text('client', ['ip', 'nonsense']), /client: ip nonsense → exit code \d+: Object "nonsense" is unknown/);
  });
});

test('an ISP drops a source that is not its own', { skip }, () =>
  withLab({ isps: 2 }, async (lab) => {
    await lab.ip('router', 'route add default via 198.51.100.1');
    await waitFor('the router is answered', () => ping(lab, 'router', '1.1.1.1', '198.51.100.2'), ({ answered }) => answered);
    assert.equal(await lab.spoofed('fibre'), 0);
    assert.equal((await ping(lab, 'router', '1.1.1.1', '203.0.113.2')).answered, false);
    assert.deepEqual([await lab.spoofed('fibre'), await lab.spoofed('cable')], [1, 0]);
  }));

test('the measuring is right: the kernel alone moves flows when a cable is cut, and who carried them is told (how soon: bench/outages.ts)', { skip }, () =>
  withLab({ isps: 2 }, async (lab) => {
    await lab.kernelAlone();
    const [old, fresh, connects, tcp] = await Promise.all((['udp', 'new-udp', 'connect', 'tcp'] as const).map(async (kind) => lab.stream({ kind })));
    assert.ok(old !== undefined && fresh !== undefined && connects !== undefined && tcp !== undefined);
    const quiet = await old.outage({ since: now(), until: now() + 500, graceMs: deadline() });
    assert.deepEqual([quiet.lost, quiet.via], [0, { fibre: quiet.sent }]);

    const fault = await lab.cutCable('fibre');
    const running = await old.outageAfter(fault);
    assert.ok((running.via['fibre'] ?? 0) > 0 && (running.via['cable'] ?? 0) > 0, JSON.stringify(running));
    await fresh.outageAfter(fault);
    const later = await fresh.outage({ since: now(), until: now() + 600, graceMs: deadline() });
    assert.deepEqual([later.lost, Object.keys(later.via)], [0, ['cable']], 'a fresh flow met the connection entry of an earlier one');
    const since = now();
    await waitFor('a connect goes by cable', () => connects.samples({ since, graceMs: 0 }), (seen) => seen.some(({ via }) => via === 'cable'));
    await waitFor('every old TCP connection broke', () => tcp.broken(), (broken) => new Set(broken.map((one) => one.connection)).size === 10);
  }));

test('an outage of known length is measured as no shorter, and a connect that was begun in it stands after a repeated SYN', { skip }, () =>
  withLab({ isps: 1 }, async (lab) => {
    await lab.kernelAlone();
    const [flow, connects] = await Promise.all([lab.stream({ kind: 'udp' }), lab.stream({ kind: 'connect' })]);
    const fault = await lab.upstreamDead('fibre');
    const begun = await waitFor('connects are begun', () => connects.samples({ since: fault.doneAt, graceMs: 0 }), (seen) => seen.length > 3);
    await until(fault.doneAt + 300);
    const healed = await lab.heal('fibre');
    const { outageMs, stalledMs } = await flow.outageAfter(fault);
    const madeMs = healed.beganAt - fault.doneAt;
    assert.ok(outageMs > madeMs - 8 - stalledMs, `${outageMs} ms measured, ${madeMs} ms made, the sender stalled for ${stalledMs} ms`);
    const retried = await connects.nearest(begun[1]?.at ?? 0, deadline());
    assert.ok((retried.rttMs ?? 0) > 900, `its SYN was sent again after 1 s: ${JSON.stringify(retried)}`);
  }));

test('two lines with the same gateway and network are told apart by the far end', { skip }, () =>
  withLab({ isps: TWIN_CGNAT }, async (lab) => {
    await lab.kernelAlone();
    const fresh = await lab.stream({ kind: 'new-udp' });
    const before = await fresh.outage();
    assert.deepEqual(Object.keys(before.via), ['star1']);
    const fault = await lab.cutCable('star1');
    await fresh.outageAfter(fault);
    await waitFor('only star2 carries', () => fresh.outage({ since: now() - 100 }), ({ via }) => Object.keys(via).join() === 'star2');
  }));

test('a stream may begin in the router and end in the VPN', { skip }, () =>
  withLab({ isps: 1 }, async (lab) => {
    await lab.kernelAlone();
    const own = await lab.stream({ kind: 'udp', rateHz: 200, from: 'router' });
    const vpn = await lab.stream({ kind: 'udp', rateHz: 200, to: '10.8.0.2' });
    assert.deepEqual(Object.keys((await own.outage()).via), ['fibre']);
    assert.deepEqual(Object.keys((await vpn.outage()).via), ['192.168.1.10']);
  }));

test('closing leaves no process and no namespace', { skip }, async () => {
  const lab = await openLab();
  await lab.kernelAlone();
  await lab.stream({ kind: 'udp', rateHz: 100 });
  const spaces = await spacesOf(lab.anchorPid);
  const inhabitants = processesIn(spaces);
  assert.ok(inhabitants.length > 8);
  await lab.close();
  // Another lab that is made at this moment may be given the number of one of these namespaces.
  assert.deepEqual(processesIn(spaces).filter((pid) => inhabitants.includes(pid)), []);
  await assert.rejects(lab.ip('router', 'link show'), /lab is closed/);
});

test('a test process killed with -9 leaves no process and no namespace', { skip }, async () => {
  const story = `const { openLab } = await import(${JSON.stringify(LAB)});
    const lab = await openLab(); await lab.kernelAlone(); await lab.stream({ kind: 'udp', rateHz: 100 });
    console.log(lab.anchorPid); setInterval(() => undefined, 1000);`;
  const { child, line } = await told(process.execPath, ['--input-type=module', '--eval', story]);
  const spaces = await spacesOf(Number(line));
  assert.ok(processesIn(spaces).length > 8);
  child.kill('SIGKILL');
  await waitFor('all of the lab is gone', () => processesIn(spaces), (left) => left.length === 0, { timeoutMs: 10_000 });
});

test('an unprivileged user has the same lab', { skip: skip || unprivilegedUnavailable() }, async () => {
  const story = `const { withLab, labUnavailable } = await import(${JSON.stringify(LAB)});
    console.log((await labUnavailable()) ?? await withLab({}, async (lab) => {
      await lab.kernelAlone();
      const flow = await lab.stream({ kind: 'udp' });
      const { via } = await flow.outageAfter(await lab.cutCable('fibre'));
      return 'uid ' + process.getuid() + ': ' + Object.keys(via).sort();
    }));`;
  const argv = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, '--input-type=module', '--eval', story];
  const { line } = await told('setpriv', argv, { PATH: '/usr/bin:/bin' });
  assert.equal(line, 'uid 65534: cable,fibre');
});

async function ping(lab: Lab, host: string, address: string, source?: string): Promise<{ answered: boolean; said: string }> {
  const bound = source === undefined ? [] : ['-I', source];
  const { code, stdout } = await lab.run(host, ['ping', '-n', '-c', '1', '-W', '0.4', ...bound, address]);
  return { answered: code === 0, said: stdout };
}

/** Runs a program until it says its first line. */
async function told(command: string, argv: readonly string[], environment: NodeJS.ProcessEnv = process.env): Promise<{ child: ReturnType<typeof spawn>; line: string }> {
  const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'inherit'], env: environment });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await waitFor(`${command} says a line`, () => text, (said) => said.includes('\n'), { timeoutMs: 30_000 });
  return { child, line: text.trim() };
}

/** The namespaces of a process and of all its lab: as names like `net:[4026532177]`. */
async function spacesOf(anchorPid: number): Promise<ReadonlySet<string>> {
  const spaces = new Set<string>();
  const pidSpace = readlinkSync(`/proc/${anchorPid}/ns/pid`);
  spaces.add(pidSpace);
  for (const pid of allPids()) {
    const its = namespaces(pid);
    if (its.includes(pidSpace)) its.forEach((space) => spaces.add(space));
  }
  for (const own of namespaces(process.pid)) spaces.delete(own);
  return spaces;
}

function processesIn(spaces: ReadonlySet<string>): readonly number[] {
  return allPids().filter((pid) => namespaces(pid).some((space) => spaces.has(space)));
}

function allPids(): readonly number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number);
}

/** Empty for a process that ended just now, or belongs to somebody else. */
function namespaces(pid: number): readonly string[] {
  try {
    if (/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) return [];
    return ['pid', 'net', 'mnt', 'user'].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return [];
    throw error;
  }
}

function unprivilegedUnavailable(): string | false {
  if (process.getuid?.() !== 0) return 'this run is unprivileged already';
  // Another user must be able to read the compiled lab.
  const path = new URL(LAB).pathname.split('/');
  const closed = path.map((_, depth) => path.slice(0, depth + 1).join('/') || '/').find((part) => (statSync(part).mode & 0o4) === 0);
  return closed === undefined ? false : `${closed} is closed to other users`;
}
