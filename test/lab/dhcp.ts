/**
 * Addresses that come and go: a real DHCP server at an ISP (dnsmasq), and a real client in the router (udhcpc) with a script that does
 * what Debian's does: it sets the address, and owns the default route in main. The client says what it was told, and so does the verb here.
 *
 *   await lab.serveDhcp('fibre', { address: '198.51.100.50' });
 *   const client = await lab.dhcpClient('fibre');          // resolves with the first lease in the kernel
 *   await lab.serveDhcp('fibre', { address: '198.51.100.60' });
 *   const lease = await client.next(() => client.renew()); // refused, asked anew, bound
 */
import { writeFileSync } from 'node:fs';
import type { Anchor, LabProcess } from './anchor.js';
import type { Isp } from './topology.js';
import { now, waitFor } from './wait.js';

export interface Lease {
  /** When the client was given it, before anything of it was in the kernel; `now()` scale. */
  readonly at: number;
  readonly address: string;
  readonly router: string;
}

export interface DhcpClient {
  /** Everything that befell it so far: `bound`, `renew`, `deconfig`, `nak`, `leasefail`. */
  events(): readonly string[];
  /** Asks for its address again (SIGUSR1); after `release` for any. */
  renew(): void;
  /** Gives the address back; address and routes are gone when the kernel has heard (SIGUSR2). */
  release(): void;
  /** Does this, and waits for the lease that follows and for its address and route in the kernel. */
  next(act: () => void): Promise<Lease>;
  /** SIGKILL: what it set stays as it is. */
  kill9(): Promise<void>;
}

export interface DhcpClientOptions {
  /** Of its default route. Default 0, as Debian's script has it. */
  readonly metric?: number;
  /** Takes every default of main away before it sets its own, whoever's they are. */
  readonly greedy?: boolean;
}

export interface Dhcp {
  /** The one address that this ISP leases; replaces the server of before, which forgets its leases. Its lines' other words (gateway) are the topology's. */
  serveDhcp(isp: string, lease: { readonly address: string }): Promise<void>;
  dhcpClient(isp: string, options?: DhcpClientOptions): Promise<DhcpClient>;
}

/** The sort of client script that is in the field: busybox' example, with `ip` instead of `ifconfig`. */
const SCRIPT = `#!/bin/sh
echo "$1 \${ip:-} \${router:-}"
case $1 in
  deconfig)
    ip link set "$interface" up
    ip -4 addr flush dev "$interface"
    ip -4 route flush dev "$interface"
    ;;
  bound|renew)
    case "$(ip -4 -o addr show dev "$interface")" in
      *" $ip/$mask "*) ;;
      *) ip -4 addr flush dev "$interface"; ip addr add "$ip/$mask" dev "$interface" ;;
    esac
    if [ -n "$GREEDY" ]; then while ip -4 route del default; do :; done; else ip -4 route flush exact 0.0.0.0/0 dev "$interface" proto dhcp; fi
    ip -4 route add default via "$router" dev "$interface" proto dhcp metric "$METRIC"
    ;;
esac
echo "done $1"
`;
const SCRIPT_PATH = '/run/udhcpc.script';

export function createDhcp(anchor: Anchor, isp: (name: string) => Isp): Dhcp {
  const servers = new Map<string, LabProcess>();
  return {
    async serveDhcp(name, { address }) {
      await ended(servers.get(name));
      servers.set(name, await startServer(anchor, isp(name), address));
    },
    async dhcpClient(name, options = {}) {
      writeFileSync(anchor.root + SCRIPT_PATH, SCRIPT, { mode: 0o755 });
      return startClient(anchor, isp(name).device, options);
    },
  };
}

async function startServer(anchor: Anchor, isp: Isp, address: string): Promise<LabProcess> {
  const argv = [
    'dnsmasq', '--keep-in-foreground', '--log-facility=-', '--conf-file=/dev/null', '--user=', '--group=', '--pid-file', '--no-hosts', '--no-resolv', '--port=0', '--no-ping', '--dhcp-authoritative',
    '--interface=line', '--leasefile-ro', `--dhcp-range=${address},${address},2m`, `--dhcp-option=option:router,${isp.gateway}`,
  ];
  const server = await anchor.start(isp.name, argv);
  await heard(server, /DHCP, IP range/, `${isp.name}: dnsmasq`);
  return server;
}

async function startClient(anchor: Anchor, device: string, options: DhcpClientOptions): Promise<DhcpClient> {
  const argv = ['udhcpc', '-f', '-i', device, '-s', SCRIPT_PATH, '-t', '5', '-T', '1', '-A', '1'];
  const events: string[] = [];
  const leases: Lease[] = [];
  let settled = 0;
  const client = await anchor.start('router', argv, { METRIC: String(options.metric ?? 0), GREEDY: options.greedy === true ? 'yes' : '' });
  let rest = '';
  client.child.stdout?.setEncoding('utf8');
  client.child.stdout?.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      const [word = '', address = '', router = ''] = part.split(' ');
      if (word === 'done' && /bound|renew/.test(address)) settled++;
      if (word === 'done') continue;
      events.push(word);
      if (/bound|renew/.test(word)) leases.push({ at: now(), address, router });
    }
  });
  let complaints = '';
  client.child.stderr?.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const next: DhcpClient['next'] = async (act) => {
    const known = settled;
    act();
    await waitFor(`${device} has a lease`, () => settled, (seen) => seen > known, { timeoutMs: 10_000, explain: () => `events: ${events.join(', ')}; udhcpc said:\n${complaints}` });
    const lease = leases[settled - 1];
    if (lease === undefined) throw new Error(`${device}: a lease without an address`);
    return lease;
  };
  await next(() => undefined);
  return {
    events: () => events,
    renew: () => void client.kill('SIGUSR1'),
    release: () => void client.kill('SIGUSR2'),
    next,
    async kill9() {
      client.kill('SIGKILL');
      await client.exited;
    },
  };
}

/** Waits until a program that was started has said so. */
export async function heard(process: LabProcess, word: RegExp, what: string): Promise<void> {
  let said = '';
  let over = false;
  for (const stream of [process.child.stdout, process.child.stderr]) stream?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  void process.exited.then(() => (over = true));
  await waitFor(`${what} has begun`, () => over || word.test(said), (begun) => begun, { explain: () => said });
  if (!word.test(said)) throw new Error(`${what} ended at once: ${said.trim()}`);
}

export async function ended(process: LabProcess | undefined): Promise<void> {
  process?.kill('SIGKILL');
  await process?.exited;
}
