/**
 * `npm run bench`: figures of this machine, each beside its bar and beside a reference measured in the same run. About seventy minutes.
 * `npm run bench -- rest outages` runs parts; `--runs N` sets how often each fault is made (default 10; 30 where a line goes silent), `--minutes N` how long
 * a line is to bear what must not upset it (default 10).
 */
import { cpus, release } from 'node:os';
import { parseArgs } from 'node:util';
import { ordeals, poorLine } from './calm.js';
import { flapping, footprint, rest, routeSwitch } from './costs.js';
import { printTable, type Row } from './figures.js';
import { flood } from './flood.js';
import { flowsRows } from './flows.js';
import { families, renumbering } from './lines.js';
import { earlyConnect, killed, moves, otherPort, outages } from './outages.js';
import { manyProbes } from './pace.js';
import { rules } from './rules.js';
import { scale } from './scale.js';
import { readers } from './readers.js';
import { reloads, sharing } from './sharing.js';
import { silences } from './silence.js';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { runs: { type: 'string' }, minutes: { type: 'string', default: '10' } } });
const runs = Number(values.runs ?? 10);
const silentRuns = Number(values.runs ?? 30);
const minutes = Number(values.minutes);
if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs ${values.runs}: say how many times, 1 or more`);
if (!(minutes > 0)) throw new Error(`--minutes ${values.minutes}: say how long, more than 0`);

const PARTS: Readonly<Record<string, { readonly title: string; readonly measure: () => Promise<readonly Row[]> }>> = {
  outages: { title: 'Outage by a cut cable', measure: async () => outages(runs) },
  silence: { title: 'Lines that go silent, at a random phase', measure: async () => silences(silentRuns) },
  poor: { title: 'A lossy line', measure: async () => poorLine(Math.min(3, runs)) },
  calm: { title: 'What must not upset it', measure: async () => ordeals(minutes) },
  pace: { title: 'Many probes', measure: async () => manyProbes(30) },
  'other-port': { title: 'Link events that the kernel withholds (ifindex = iflink)', measure: async () => otherPort(runs) },
  connect: { title: 'Connections begun around the fault', measure: async () => earlyConnect(runs) },
  moves: { title: 'Fail-back and switch-uplink between healthy uplinks', measure: async () => moves(runs) },
  renumbering: { title: 'Dynamic addresses', measure: async () => renumbering(runs) },
  families: { title: 'IPv6 beside IPv4', measure: async () => families(runs) },
  sharing: { title: 'Load sharing', measure: async () => sharing(Math.min(5, runs)) },
  reloads: { title: 'Reload', measure: async () => reloads(Math.min(5, runs)) },
  flows: { title: 'Connections that are cut', measure: flowsRows },
  rules: { title: 'Rules, counters and notices', measure: rules },
  flood: { title: 'A flood of pings', measure: flood },
  scale: { title: 'Big against small', measure: async () => scale(runs) },
  killed: { title: 'The daemon dies', measure: async () => killed(runs) },
  rest: { title: 'REST', measure: async () => rest(Math.max(50, runs)) },
  readers: { title: 'Readers of the API that mean no good', measure: async () => readers(Math.min(5, runs)) },
  route: { title: 'Route switch', measure: routeSwitch },
  flapping: { title: 'A routing daemon that flaps', measure: async () => flapping(10) },
  footprint: { title: 'At rest', measure: async () => footprint(60) },
};

const unknown = positionals.filter((name) => !(name in PARTS));
if (unknown.length > 0) throw new Error(`no part ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
console.log(`Node ${process.version}, Linux ${release()}, ${cpus().length} x ${cpus()[0]?.model ?? 'CPU'}. Trust ratios and orders of magnitude, not digits.`);
let missed = 0;
for (const [name, { title, measure }] of Object.entries(PARTS)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const rows = await measure();
  printTable(title, rows);
  missed += rows.filter((r) => r.within === false).length;
}
console.log(missed === 0 ? '\nevery bar was met' : `\n${missed} bars were missed`);
process.exitCode = missed === 0 ? 0 : 1;
