/** Fills the connection table of this namespace up to a number: `fill-inside.js COUNT MARK`. Run by scale.ts in the lab's router. */
import { readFileSync } from 'node:fs';
import { flows, insert } from '../test/kernel/entries.js';

const [count = NaN, mark = NaN] = process.argv.slice(2).map(Number);
const present = Number(readFileSync('/proc/sys/net/netfilter/nf_conntrack_count', 'utf8'));
// Each run begins elsewhere: what a former one left is in nobody's way.
const first = Number(process.hrtime.bigint() % 1000n) * 1_000_000;
await insert(flows(Math.max(0, count - present), first, { mark, from: '192.168.1.77', to: '192.0.2.10', protocol: 'udp' }));
