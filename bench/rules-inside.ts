/** Runs as root of fresh namespaces, in the place of the router: measures what rules.ts shows. Prints JSON. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openHost } from '../src/kernel/host.js';
import { openKernel } from '../src/kernel/kernel.js';
import { openRtnetlink } from '../src/kernel/netlink/rtnetlink.js';
import { watch } from '../src/kernel/netlink/watch.js';
import type { HostWish, NatPolicy, NatWish, Route } from '../src/model.js';
import { line, LINES, natWish, policy, SORTS } from '../test/kernel/nat-ground.js';
import type { RuleFigures, Turn } from './rules.js';

const RUNS = 5;
const NOTICES = 50;

const many = Array.from({ length: 64 }, (_, i) => line(`line${i}`, `wan${i}`, (i + 1) << 7, { mss: i % 2 === 0 ? 'auto' : 1400 }));
const policies = Array.from({ length: 256 }, (_, i): NatPolicy => policy(`policy${i}`, (64 + (i % 40)) << 7, {
  sources: [`10.${i}.0.0/16`, `fd00:${i.toString(16)}::/32`], protocol: 'tcp', destinationPorts: [{ first: 443, last: 443 }],
}));
const wishOf = (changes: Partial<NatWish>): HostWish => ({ nat: natWish(changes), sysctls: [] });

execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
execFileSync('ip', ['link', 'set', 'lo', 'up']);
const sorts = [];
for (const { name, backend, iptables } of SORTS) {
  const door = openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')), iptables });
  sorts.push({ name, small: await turns(door, wishOf({ backend })), big: await turns(door, wishOf({ backend, lines: many, policies })) });
}
const figures: RuleFigures = {
  sorts,
  countMs: { two: await countings(LINES), many: await countings(many) },
  noticeMs: await notices(),
};
process.stdout.write(JSON.stringify(figures), () => process.exit(0));

async function turns(door: ReturnType<typeof openHost>, wish: HostWish): Promise<Turn> {
  const writeMs: number[] = [];
  const nothingDiffersMs: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    await door.restore();
    for (const list of [writeMs, nothingDiffersMs]) {
      const began = performance.now();
      const { problems } = await door.host(wish);
      list.push(performance.now() - began);
      if (problems.length > 0) throw new Error(problems.join());
    }
  }
  await door.restore();
  return { writeMs, nothingDiffersMs };
}

async function countings(lines: NatWish['lines']): Promise<readonly number[]> {
  const kernel = openKernel(openHost({ stateDir: mkdtempSync(join('/run', 'uplinkd-host-')), families: [4, 6] }));
  await kernel.host(wishOf({ lines, counting: true }));
  const took = Array.from({ length: 200 }, () => {
    const began = performance.now();
    if (kernel.count().length !== 2 * lines.length) throw new Error('not all are counted');
    return performance.now() - began;
  });
  await kernel.restore();
  kernel.close();
  return took;
}

async function notices(): Promise<readonly number[]> {
  execFileSync('ip', ['link', 'add', 'wan1', 'type', 'veth', 'peer', 'name', 'isp1']);
  for (const device of ['isp1', 'wan1']) execFileSync('ip', ['link', 'set', device, 'up']);
  execFileSync('ip', ['addr', 'add', '10.0.1.2/24', 'dev', 'wan1']);
  await delay(2000);
  const hand = openRtnetlink();
  const ifindex = hand.listLinks().find(({ name }) => name === 'wan1')?.index ?? 0;
  const route = (n: number): Route => ({
    family: 4, table: 9400, destination: 'default', metric: 30, protocol: 147, scope: 0, source: '', hops: [{ ifindex, via: `10.0.1.${3 + (n % 2)}`, weight: 1, onlink: true }],
  });
  let heard = (): void => undefined;
  const end = watch({ links: () => undefined, again: () => heard(), ruleset: () => undefined }, () => 0);
  const took: number[] = [];
  for (let n = 0; n < NOTICES; n++) {
    await delay(1);
    const told = new Promise<void>((resolve) => (heard = resolve));
    const began = performance.now();
    const error = hand.replaceRoute(route(n));
    if (error !== '') throw new Error(error);
    await Promise.race([told, delay(1000)]); // a watch alone keeps no process alive
    took.push(performance.now() - began);
  }
  end();
  hand.close();
  return took;
}
