/** Lines as people have them: a DHCP lease that moves to another network, and IPv6 beside IPv4, masqueraded and translated prefix by prefix. */
import { openLab, type Lab } from '../test/lab/lab.js';
import { row, type Row } from './figures.js';
import { FORGIVING } from './silence.js';

const pause = async (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
const phaseMs = (): number => Number(process.hrtime.bigint() % 307n);
const TO = { 4: '192.0.2.10', 6: '2001:db8:ffff::10' } as const;

/** One line, no other to fall back to: from the lease that the client hears of to new flows that are answered. */
export async function renumbering(runs: number): Promise<readonly Row[]> {
  const begun: number[] = [];
  const networks = [['198.51.100.0/24', '198.51.100.1', '198.51.100.50'], ['198.18.7.0/24', '198.18.7.254', '198.18.7.60']] as const;
  const lab = await openLab({ isps: [{ name: 'fibre', prefix: networks[0][0], gateway: networks[0][1], router: '', addresses: 'none' }], vpn: false });
  try {
    await lab.serveDhcp('fibre', { address: networks[0][2] });
    const client = await lab.dhcpClient('fibre', { metric: 10 });
    const daemon = await lab.startDaemon({ config: lab.config({ uplinks: { fibre: { interface: 'isp0' } } }) });
    await daemon.untilActive('fibre');
    for (let run = 0; run < runs; run++) {
      const [prefix, gateway, address] = networks[(run + 1) % 2]!;
      const fresh = await lab.stream({ kind: 'new-udp', rateHz: 200 });
      await pause(phaseMs());
      const struck = await lab.renumberIsp('fibre', { prefix, gateway });
      await lab.serveDhcp('fibre', { address });
      const lease = await client.next(() => {
        client.release();
        client.renew();
      });
      begun.push(((await fresh.outageAfter(struck)).endedAt ?? Infinity) - lease.at);
      await fresh.stop();
    }
  } finally {
    await lab.close();
  }
  return [row('DHCP renumbering: from the lease to working new flows', begun, 'ms', '<= 1000 ms', 1000)];
}

interface Case {
  readonly family: 4 | 6;
  readonly prefix: boolean;
}

interface Outages {
  readonly cutRunning: number[];
  readonly cutFresh: number[];
  readonly deadRunning: number[];
  readonly deadFresh: number[];
}

/** The same faults in the same lab, of one family after the other; what IPv4 promises, IPv6 promises too. */
export async function families(runs: number): Promise<readonly Row[]> {
  const four = await outages({ family: 4, prefix: false }, runs);
  const six = await outages({ family: 6, prefix: false }, runs);
  const translated = await outages({ family: 6, prefix: true }, runs);
  const beside = (what: string, name: keyof Outages, barMs: number, moreMs: number): Row[] => [
    row(`IPv4: ${what}`, four[name], 'ms', `<= ${barMs} ms`, barMs),
    row(`IPv6, masquerade: ${what}`, six[name], 'ms', `<= ${barMs} ms`, barMs),
    row(`IPv6, NPTv6: ${what}`, translated[name], 'ms', `<= ${barMs + moreMs} ms`, barMs + moreMs),
  ];
  return [
    ...beside('cable cut, running flow', 'cutRunning', 15, 100),
    ...beside('cable cut, new flows', 'cutFresh', 15, 0),
    ...beside('upstream dead, fast: running flow', 'deadRunning', 400, 100),
    ...beside('upstream dead, fast: new flows', 'deadFresh', 80, 0),
  ];
}

async function outages({ family, prefix }: Case, runs: number): Promise<Outages> {
  const result: Outages = { cutRunning: [], cutFresh: [], deadRunning: [], deadFresh: [] };
  const lab = await openLab({ isps: 2, ipv6: true, vpn: false });
  try {
    const daemon = await lab.startDaemon({ config: configFor(lab, prefix) });
    await daemon.ready();
    for (let run = 0; run < runs; run++) {
      for (const fault of ['cutCable', 'upstreamDead'] as const) {
        await daemon.until('all is well and fibre leads', ({ active, uplinks }) => active.length === 2 && active.every(({ name }) => name === 'fibre')
          && uplinks.every((uplink) => (uplink['families'] as readonly { state: string }[]).every(({ state }) => state === 'up')), { timeoutMs: 60_000 });
        const [flow, fresh] = await Promise.all([lab.stream({ kind: 'udp', to: TO[family] }), lab.stream({ kind: 'new-udp', to: TO[family] })]);
        await pause(900 + phaseMs());
        const struck = await lab[fault]('fibre');
        const [running, begun] = [await flow.outageAfter(struck), await fresh.outageAfter(struck)];
        (fault === 'cutCable' ? result.cutRunning : result.deadRunning).push(running.outageMs);
        (fault === 'cutCable' ? result.cutFresh : result.deadFresh).push(begun.outageMs);
        await Promise.all([flow.stop(), fresh.stop()]);
        await (fault === 'cutCable' ? lab.plugCable('fibre') : lab.heal('fibre'));
      }
    }
  } finally {
    await lab.close();
  }
  return result;
}

function configFor(lab: Lab, prefix: boolean): Record<string, unknown> {
  const uplinks = Object.fromEntries(lab.isps().map((isp, n) => [isp.name, {
    interface: isp.device, gateway: isp.gateway, gateway6: isp.six?.gateway, priority: n + 1, ...(prefix ? { prefix6: isp.six?.delegated.replace('/56', '/64') } : {}),
  }]));
  const lan = { interfaces: ['lan0'], ...(prefix ? { prefix6: lab.topology.lans[0]?.six?.prefix } : {}) };
  return lab.config({ uplinks, lan, health: { sensitivity: 'fast', ...FORGIVING }, failback: { hold: '100ms' } });
}
