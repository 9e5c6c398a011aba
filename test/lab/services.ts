/**
 * What the internet of the lab offers beside echo servers, on all its addresses, of both families, begun on demand:
 *
 *   http   port 80: 204 for /generate_204, else 200 and a page that says `the internet`
 *   tcp    port 443: takes connections and says nothing
 *   dns    port 53 (dnsmasq): the names of ZONE; any other name does not exist
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Anchor, LabProcess } from './anchor.js';
import type { Topology } from './topology.js';

/** Its names and their addresses. */
export interface Zone {
  readonly [name: string]: readonly string[];
}

export interface Services {
  /** Everything listens when it resolves; a second call changes nothing. @throws Error where there is no dnsmasq (see `labUnavailable`) */
  serve(): Promise<{ readonly zone: Zone }>;
}

const SERVER = join(dirname(fileURLToPath(import.meta.url)), 'internet-server.js');

export function createServices(anchor: Anchor, topology: Topology): Services {
  const [first = ''] = topology.internet;
  const first6 = topology.internet.find((address) => address.includes(':'));
  const addresses = first6 === undefined ? [first] : [first, first6];
  const zone: Zone = { 'example.com': addresses, 'connectivity.example': addresses, 'only4.example': [first], ...(first6 === undefined ? {} : { 'only6.example': [first6] }) };
  let served: Promise<{ readonly zone: Zone }> | undefined;
  const begin = async (): Promise<{ readonly zone: Zone }> => {
    await Promise.all([
      began(anchor.start('internet', [process.execPath, SERVER, ...topology.internet]), 'the web server', /listening/),
      began(anchor.start('internet', dnsmasq(topology.internet, zone)), 'dnsmasq', /started/),
    ]);
    return { zone };
  };
  return { serve: async () => (served ??= begin()) };
}

function dnsmasq(listen: readonly string[], zone: Zone): readonly string[] {
  const records = Object.entries(zone).map(([name, addresses]) => `--host-record=${[name, ...addresses].join(',')}`);
  return [
    'dnsmasq', '--keep-in-foreground', '--log-facility=-', '--conf-file=/dev/null', '--user=', '--group=', '--pid-file', '--no-hosts', '--no-resolv', '--bind-interfaces',
    '--local-ttl=0', '--local=/#/', ...listen.map((address) => `--listen-address=${address}`), ...records,
  ];
}

async function began(starting: Promise<LabProcess>, what: string, sign: RegExp): Promise<void> {
  const { child, exited } = await starting;
  let said = '';
  const heard = new Promise<true>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (sign.test(said)) resolve(true);
      });
    }
  });
  if (!(await Promise.race([heard, exited.then(() => false as const)]))) throw new Error(`internet: ${what} did not start: ${said.trim()}`);
}
