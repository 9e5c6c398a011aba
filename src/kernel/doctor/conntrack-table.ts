/**
 * Connection tracking: room in its table, mid-stream pick-up, helpers for telephony and FTP.
 *
 * Source: Documentation/networking/nf_conntrack-sysctl.rst. Automatic assignment of helpers is gone since Linux 6.0.
 */
import type { Finding, Match } from '../../model.js';
import { sysctl } from './machine.js';
import { setAndKeep } from './kernel-settings.js';
import { list, type Look, type Scene } from './scene.js';

const DIR = 'net/netfilter';
const FULL = 0.95;
const NEARLY_FULL = 0.8;

interface Helper {
  readonly name: string;
  readonly port: number;
  readonly protocol: 'udp' | 'tcp';
  readonly what: string;
}

const HELPERS: readonly Helper[] = [
  { name: 'sip', port: 5060, protocol: 'udp', what: 'telephony (SIP)' },
  { name: 'ftp', port: 21, protocol: 'tcp', what: 'FTP' },
];

export const conntrack: Look = {
  subject: 'conntrack',
  async look(scene) {
    const { machine, policy } = scene;
    const [count, most, loose] = await Promise.all(['count', 'max', 'tcp_loose'].map((name) => sysctl(machine, `${DIR}/nf_conntrack_${name}`)));
    const translates = policy.uplinks.some((uplink) => uplink.translate[4].kind !== 'none');
    if (count === '') return translates ? [absent()] : [];
    const findings: Finding[] = [];
    const share = Number(count) / Number(most);
    if (Number(most) > 0 && share >= NEARLY_FULL) {
      findings.push({
        level: share >= FULL ? 'error' : 'warning', subject: 'conntrack',
        text: `The table of connections is ${Math.round(share * 100)} % full (${count} of ${most}): when it is full, new connections are dropped on every uplink, and probes with them.`,
        remedy: setAndKeep([[`${DIR}/nf_conntrack_max`, String(2 * Number(most))]]),
      });
    }
    if (loose === '0') {
      findings.push({
        level: 'warning', subject: 'conntrack',
        text: 'nf_conntrack_tcp_loose is 0: after a switch, a running TCP connection that was forgotten is not taken up again but its packets leave untranslated or are dropped; its ends hang until they time out instead of reconnecting at once.',
        remedy: setAndKeep([[`${DIR}/nf_conntrack_tcp_loose`, '1']]),
      });
    }
    return [...findings, ...HELPERS.flatMap((helper) => helperFinding(helper, scene))];
  },
};

function absent(): Finding {
  return {
    level: 'error', subject: 'conntrack',
    text: 'Connection tracking is not loaded: nothing is translated, marked or kept on its uplink.',
    remedy: 'modprobe nf_conntrack\necho nf_conntrack > /etc/modules-load.d/uplinkd.conf',
  };
}

/** Only where the config says that such connections matter. */
function helperFinding({ name, port, protocol, what }: Helper, { policy, filter }: Scene): readonly Finding[] {
  const asking = [...policy.policies, ...policy.flows].filter(({ match }) => mentions(match, port)).map((one) => one.name);
  if (asking.length === 0 || filter.helpers.includes(name)) return [];
  return [{
    level: 'warning', subject: 'conntrack',
    text: `${list(asking)} ${asking.length === 1 ? 'names' : 'name'} port ${port}, but no rule gives ${what} to its connection tracking helper: the connections that belong to a call or transfer are strangers to the kernel and do not move together with it.`,
    remedy: [
      `modprobe -a nf_conntrack_${name} nf_nat_${name}; echo 'nf_conntrack_${name}\nnf_nat_${name}' > /etc/modules-load.d/uplinkd-${name}.conf`,
      'with nftables, in /etc/nftables.conf:',
      'table inet helpers {', `  ct helper ${name} { type "${name}" protocol ${protocol}; }`,
      `  chain assign { type filter hook prerouting priority filter; ${protocol} dport ${port} ct helper set "${name}"; }`, '}',
      `with iptables: iptables -t raw -A PREROUTING -p ${protocol} --dport ${port} -j CT --helper ${name}`,
    ].join('\n'),
  }];
}

function mentions(match: Match, port: number): boolean {
  return match.destinationPorts.some(({ first, last }) => first <= port && port <= last && last - first < 1000);
}
