/** Runs in a router of the lab: replaces one default route again and again, by our netlink and by spawning `ip`. Prints JSON. */
import { spawnSync } from 'node:child_process';
import { openRtnetlink } from '../src/kernel/netlink/rtnetlink.js';
import type { Route } from '../src/model.js';

const RUNS = 50;
/** One call is at the edge of the clock's grain: each value is the mean of so many. */
const CALLS = 20;

const netlink = openRtnetlink();
const indexes = ['isp0', 'isp1'].map((name) => netlink.listLinks().find((link) => link.name === name)?.index ?? 0);
const gateways = ['198.51.100.1', '203.0.113.1'];
const routeBy = (n: number): Route => ({
  family: 4, table: 9400, destination: 'default', metric: 30, protocol: 147, scope: 0, source: '',
  hops: [{ ifindex: indexes[n]!, via: gateways[n]!, weight: 1, onlink: true }],
});

const netlinkUs: number[] = [];
const spawnUs: number[] = [];
for (let run = -5; run < RUNS; run++) {
  let began = process.hrtime.bigint();
  for (let call = 0; call < CALLS; call++) {
    const error = netlink.replaceRoute(routeBy(call % 2));
    if (error !== '') throw new Error(error);
  }
  const netlinkTook = Number(process.hrtime.bigint() - began) / 1000 / CALLS;
  began = process.hrtime.bigint();
  const { status, stderr } = spawnSync('ip', ['route', 'replace', 'default', 'via', gateways[run & 1]!, 'dev', `isp${run & 1}`, 'table', '9401', 'onlink'], { encoding: 'utf8' });
  const spawnTook = Number(process.hrtime.bigint() - began) / 1000;
  if (status !== 0) throw new Error(stderr);
  if (run < 0) continue;
  netlinkUs.push(netlinkTook);
  spawnUs.push(spawnTook);
}
netlink.close();
console.log(JSON.stringify({ netlinkUs, spawnUs }));
