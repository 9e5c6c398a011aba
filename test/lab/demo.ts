/**
 * `npm run lab`: a real outage, survived. Builds the lab, starts the real daemon with the profile `lab`, runs traffic from the LAN, breaks things, and says
 * what the daemon said, what `ip route` shows and how long the traffic stood still, running flows and new flows apart.
 *
 * `npm run lab -- --stay` keeps it open afterwards, prints a URL for REST, and takes commands to break things: see stay.ts.
 */
import { parseArgs } from 'node:util';
import type { Daemon } from './daemon.js';
import { labUnavailable, openLab, type Lab } from './lab.js';
import type { Applied } from './faults.js';
import { stay } from './stay.js';

const PICTURE = `
   client ── lan0 ┌────────┐ isp0 ── fibre ──┐
  192.168.1.10    │ router │ isp1 ── cable ──┼── internet 192.0.2.10, 1.1.1.1, 9.9.9.9
                  └────────┘ isp2 ── lte ────┘`;

const { values } = parseArgs({ options: { stay: { type: 'boolean', default: false } } });
const unavailable = await labUnavailable();
if (unavailable !== undefined) {
  console.error(`the lab cannot run here: ${unavailable}`);
  process.exit(1);
}
const lab = await openLab();
process.once('SIGINT', () => void lab.close().then(() => process.exit(130)));
try {
  await show(lab);
} finally {
  await lab.close();
}

async function show(lab: Lab): Promise<void> {
  console.log(`A router with three ISPs, in network namespaces of this machine. Nothing outside them is touched.\n${PICTURE}\n`);
  // The profile as shipped, but a hold that an audience can sit through.
  const daemon = await lab.startDaemon({ config: 'profile: lab\nfailback: { hold: 3s }\n' });
  await daemon.untilActive('fibre');
  console.log(`uplinkd runs in the router as process ${daemon.pid}; from the LAN a running flow of 1000 packets/s and 500 new flows/s go to 192.0.2.10`);
  const said = listener(daemon);
  await tell('Before', lab, said);

  await fault('The cable of fibre is cut', lab, daemon, said, () => lab.cutCable('fibre'), 'cable');
  await back('The cable of fibre is plugged in again', lab, daemon, said, () => lab.plugCable('fibre'));
  await fault('Fibre dies silently: its gateway answers, but nothing beyond it does', lab, daemon, said, () => lab.upstreamDead('fibre'), 'cable');
  await back('Fibre works again', lab, daemon, said, () => lab.heal('fibre'));
  await order('The operator switches', lab, daemon, said, ['switch-uplink', 'lte', '--for', '2h', '--reason', 'trying the backup'], 'lte');
  await order('Back to automatic', lab, daemon, said, ['auto'], 'fibre');

  if (values.stay) await stay(lab, daemon);
  else console.log('\nThat was all. `npm run lab -- --stay` keeps the lab open and lets you break things.');
}

type Said = () => readonly string[];

async function fault(title: string, lab: Lab, daemon: Daemon, said: Said, make: () => Promise<Applied>, next: string): Promise<void> {
  const [running, fresh] = await Promise.all([lab.stream({ kind: 'udp' }), lab.stream({ kind: 'new-udp' })]);
  const applied = await make();
  const [old, news] = await Promise.all([running.outageAfter(applied), fresh.outageAfter(applied)]);
  await daemon.untilActive(next);
  await tell(title, lab, said);
  console.log(`   new flows stood still for      ${milliseconds(news.outageMs)}`);
  console.log(`   the running flow stood still   ${milliseconds(old.outageMs)}, packets lost: ${old.lost}`);
  await Promise.all([running.stop(), fresh.stop()]);
}

async function back(title: string, lab: Lab, daemon: Daemon, said: Said, make: () => Promise<Applied>): Promise<void> {
  const [running, tcp] = await Promise.all([lab.stream({ kind: 'udp' }), lab.stream({ kind: 'tcp' })]);
  await make();
  console.log('\n… waiting until fibre has proved itself and held for 3 s');
  await daemon.untilActive('fibre', { timeoutMs: 60_000 });
  await settled();
  const flow = await running.outage();
  const broken = (await tcp.broken()).length;
  await tell(title, lab, said);
  console.log(`   the running flow and 10 TCP connections stayed on ${Object.keys(flow.via).join(', ')}: ${flow.lost} packets lost, ${broken} connections broken`);
  await Promise.all([running.stop(), tcp.stop()]);
}

async function order(title: string, lab: Lab, daemon: Daemon, said: Said, command: readonly string[], next: string): Promise<void> {
  const [running, tcp] = await Promise.all([lab.stream({ kind: 'udp' }), lab.stream({ kind: 'tcp' })]);
  const began = performance.now();
  const { code, stdout, stderr } = await daemon.ctl(...command);
  const tookMs = performance.now() - began;
  if (code !== 0) throw new Error(`uplinkctl ${command.join(' ')}: exit code ${code}: ${stderr}`);
  await daemon.untilActive(next);
  await settled();
  const flow = await running.outage();
  const broken = (await tcp.broken()).length;
  await tell(`${title}: uplinkctl ${command.map((word) => (word.includes(' ') ? `"${word}"` : word)).join(' ')}`, lab, said);
  console.log(indent(stdout.trimEnd()));
  console.log(`   answered, with the kernel read back, within ${tookMs.toFixed(0)} ms (the start of uplinkctl included)`);
  const stayed = flow.lost === 0 && broken === 0 ? 'the running flow and 10 TCP connections stayed where they were' : 'of the running flow and 10 TCP connections';
  console.log(`   ${stayed}: ${flow.lost} packets lost, ${broken} connections broken`);
  await Promise.all([running.stop(), tcp.stop()]);
}

async function tell(title: string, lab: Lab, said: Said): Promise<void> {
  console.log(`\n── ${title}\n`);
  for (const line of said()) console.log(`   uplinkd: ${line}`);
  console.log(`   $ ip route show default\n${indent((await lab.text('router', ['ip', 'route', 'show', 'default'])).trimEnd())}`);
}

/** What the daemon said since the last call. */
function listener(daemon: Daemon): Said {
  let heard = 0;
  return () => {
    const lines = daemon.logs().map((line) => String(line['msg'] ?? line['raw']));
    const news = lines.slice(heard);
    heard = lines.length;
    return news;
  };
}

async function settled(): Promise<void> {
  await new Promise((resolve) => void setTimeout(resolve, 300));
}

function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

function indent(text: string): string {
  return text.split('\n').map((line) => `   ${line}`).join('\n');
}
