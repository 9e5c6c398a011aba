/** The lab held open: a URL for REST, and a prompt to break things. Ends with `quit` or the end of input. */
import { createServer, connect } from 'node:net';
import { createInterface } from 'node:readline';
import type { AddressInfo } from 'node:net';
import type { Daemon } from './daemon.js';
import type { Lab } from './lab.js';

interface Command {
  readonly usage: string;
  readonly does: string;
  /** @returns what to print */
  readonly run: (lab: Lab, daemon: Daemon, words: readonly string[]) => Promise<string>;
}

const fault = (does: string, make: (lab: Lab, name: string) => Promise<unknown>): Omit<Command, 'usage'> => ({
  does,
  run: async (lab, _daemon, [name = '']) => {
    await make(lab, name);
    return 'done';
  },
});
const ctl = (does: string, words: readonly string[]): Omit<Command, 'usage'> => ({
  does,
  run: async (_lab, daemon, more) => {
    const { stdout, stderr } = await daemon.ctl(...words, ...more);
    return (stdout + stderr).trimEnd();
  },
});

const COMMANDS: Readonly<Record<string, Command>> = {
  cut: { usage: 'cut fibre', ...fault('pull the cable', (lab, isp) => lab.cutCable(isp)) },
  plug: { usage: 'plug fibre', ...fault('plug it in again', (lab, isp) => lab.plugCable(isp)) },
  gateway: { usage: 'gateway fibre', ...fault('the gateway dies, the cable stays', (lab, isp) => lab.gatewayDead(isp)) },
  upstream: { usage: 'upstream fibre', ...fault('the gateway answers, nothing beyond it does', (lab, isp) => lab.upstreamDead(isp)) },
  delete: { usage: 'delete fibre', ...fault('the interface is gone', (lab, isp) => lab.deleteInterface(isp)) },
  heal: { usage: 'heal fibre', ...fault('all well again', (lab, isp) => lab.heal(isp)) },
  loss: {
    usage: 'loss fibre 40', does: 'so many per cent of the packets get lost',
    run: async (lab, _daemon, [isp = '', percent = '']) => {
      if (!/^\d+$/.test(percent) || Number(percent) > 100) throw new Error(`"${percent}" is no percentage: write 0 to 100`);
      await lab.loss(isp, Number(percent));
      return 'done';
    },
  },
  hiccup: { usage: 'hiccup fibre', ...fault('nothing beyond the gateway answers for 400 ms', (lab, isp) => lab.hiccup(isp, 400)) },
  portal: { usage: 'portal fibre', ...fault('a captive portal', (lab, isp) => lab.portal(isp)) },
  mtu: { usage: 'mtu fibre', ...fault('packets of more than 1400 bytes vanish', (lab, isp) => lab.mtu(isp, 1400)) },
  mute: { usage: 'mute 9.9.9.9', ...fault('one address of the internet is dead', (lab, target) => lab.deadTarget(target)) },
  unmute: { usage: 'unmute 9.9.9.9', ...fault('it answers again', (lab, target) => lab.healTarget(target)) },
  routes: {
    usage: 'routes', does: 'ip route and ip rule of the router',
    run: async (lab) => (await lab.text('router', ['ip', 'route'])) + (await lab.text('router', ['ip', 'rule'])).trimEnd(),
  },
  flow: {
    usage: 'flow', does: 'the running flow of 1000 packets/s since you asked last',
    run: async (lab) => flowReport(lab),
  },
  status: { usage: 'status', ...ctl('uplinkctl status', ['status']) },
  why: { usage: 'why fibre', ...ctl('uplinkctl why', ['why']) },
  verdict: { usage: 'verdict lte down --for 30s', ...ctl('uplinkctl verdict', ['verdict']) },
  switch: { usage: 'switch lte --for 10m', ...ctl('uplinkctl switch-uplink', ['switch-uplink']) },
  auto: { usage: 'auto', ...ctl('uplinkctl auto', ['auto']) },
  log: { usage: 'log', does: 'the last things uplinkd said', run: async (_lab, daemon) => daemon.logs().slice(-10).map((line) => String(line['msg'])).join('\n') },
};

let flow: { readonly stream: Awaited<ReturnType<Lab['stream']>>; since: number } | undefined;

export async function stay(lab: Lab, daemon: Daemon): Promise<void> {
  const proxy = createServer((near) => {
    const far = connect(daemon.socketPath);
    near.pipe(far).pipe(near);
    const end = (): void => {
      near.destroy();
      far.destroy();
    };
    near.on('error', end);
    far.on('error', end);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const stream = await lab.stream({ kind: 'udp' });
  flow = { stream, since: stream.mark() };
  console.log(`\nThe lab stays. REST: http://127.0.0.1:${(proxy.address() as AddressInfo).port}/v1/status\n${help()}`);

  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: 'lab> ' });
  lines.prompt();
  for await (const line of lines) {
    const [name = '', ...words] = line.trim().split(/\s+/);
    if (name === 'quit') break;
    if (name !== '') console.log(await answer(lab, daemon, name, words));
    lines.prompt();
  }
  lines.close();
  proxy.close();
}

async function answer(lab: Lab, daemon: Daemon, name: string, words: readonly string[]): Promise<string> {
  const command = COMMANDS[name];
  if (command === undefined) return help();
  try {
    return await command.run(lab, daemon, words);
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}\nusage: ${command.usage}`;
  }
}

async function flowReport(lab: Lab): Promise<string> {
  if (flow === undefined) return `no flow runs in ${lab.topology.hosts.join(', ')}`;
  const { lost, sent, outageMs, via } = await flow.stream.outage({ since: flow.since });
  flow.since = flow.stream.mark();
  return `${sent} sent, ${lost} lost, longest outage ${Math.round(outageMs)} ms, by ${Object.keys(via).join(', ')}`;
}

function help(): string {
  const width = Math.max(...Object.values(COMMANDS).map(({ usage }) => usage.length));
  return [...Object.values(COMMANDS).map(({ usage, does }) => `  ${usage.padEnd(width)}  ${does}`), `  ${'quit'.padEnd(width)}  end the lab`].join('\n');
}
