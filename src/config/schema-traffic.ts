/**
 * The part of the schema that speaks of kinds of traffic: `policies` (which way new connections go) and `flows` (what
 * becomes of running ones). Both are lists in order; both match packets by the same keys.
 */
import type { ListField } from './fields.js';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

/** Longer lists of addresses belong into a set, which the kernel looks up at one stroke. */
const ADDRESSES_AT_MOST = 64;
/** What a port match of iptables holds (XT_MULTI_PORTS); a range counts as two of them. */
export const PORTS_AT_MOST = 15;

const NAME = {
  type: 'label', apply: 'live',
  about: 'What status, counters and log call it; every name once. Absent: its number in the list, `policy 1` or `flow 1`.',
} as const;

const NETWORKS = {
  type: 'list', single: true, least: 1, most: ADDRESSES_AT_MOST, apply: 'live',
  item: { type: 'network', apply: 'live', about: 'An address or a network.' },
} as const;

const PORTS = {
  type: 'list', single: true, least: 1, most: PORTS_AT_MOST, apply: 'live',
  item: { type: 'ports', apply: 'live', about: 'A port or a range.' },
} as const;

const MATCH = {
  protocol: {
    type: 'choice', of: ['any', 'tcp', 'udp', 'icmp'], default: 'any', apply: 'live', alsoCalled: ['proto'],
    about: '`icmp` means that of either family.',
  },
  source: {
    ...NETWORKS, alsoCalled: ['src', 'from', 'saddr', 'src_ip', 'sources', 'client', 'clients'],
    about: 'Where it comes from: an address or a network (CIDR) of either family, or a list of them. With those of one family only, the other family does not fit.',
  },
  destination: {
    ...NETWORKS, alsoCalled: ['dst', 'to', 'dest', 'daddr', 'dest_ip', 'destinations'],
    about: 'Where it goes; written as `source`.',
  },
  ports: {
    ...PORTS, alsoCalled: ['port', 'dport', 'dest_port', 'destinationport', 'destinationports'],
    about: 'Destination ports: a port, a range `first-last`, or a list of them. Needs `protocol: tcp` or `udp`.',
  },
  sourcePorts: {
    ...PORTS, alsoCalled: ['sport', 'src_port', 'sourceport'],
    about: 'Source ports, likewise.',
  },
} as const;

export const POLICIES = {
  type: 'list', least: 0, most: 256, default: '[]', apply: 'live', alsoCalled: ['policy', 'rules', 'rule'],
  about: 'New connections that go a way of their own, in order: the first that fits wins. What fits none goes by `priority` and `weight` of the uplinks.',
  item: {
    type: 'section', about: 'A kind of traffic and its way. All that is written must fit; what is not written fits everything.',
    example: '- { source: 192.168.1.0/24, use: [fibre, lte] }',
    keys: {
      name: NAME,
      ...MATCH,
      mark: {
        type: 'mark', apply: 'live', alsoCalled: ['fwmark'],
        about: 'A packet mark that another program of yours gave: VALUE, or VALUE/MASK. Its bits must not be those of `kernel.markMask`.',
      },
      set: {
        type: 'section', short: 'name', alsoCalled: ['ipset', 'nftset'],
        about: 'A set of addresses that you fill, by name: `set: streaming`. With nftables it lies in our tables `ip uplinkd` and `ip6 uplinkd`, with iptables it is an ipset of yours, for IPv6 that of the name with a `6` behind.',
        keys: {
          name: { type: 'set', required: true, apply: 'live', about: 'Its name.' },
          side: { type: 'choice', of: ['destination', 'source'], default: 'destination', apply: 'live', about: 'Which address of the packet must be in it.' },
        },
      },
      use: {
        type: 'order', required: true, apply: 'live', alsoCalled: ['uplinks', 'uplink', 'via', 'order', 'out'],
        about: 'Uplinks in order of preference: `[fibre, lte]`. With weights they share: `{ fibre: 3, cable: 1 }`, also within a list: `[{ fibre: 3, cable: 1 }, lte]`. Weights are 1 to 256.',
      },
      otherwise: {
        type: 'choice', of: ['fall-through', 'block'], default: 'fall-through', apply: 'live', alsoCalled: ['fallback', 'else', 'last_resort'],
        about: 'When none of these uplinks is fit: go by the common order, or be refused.',
      },
      sticky: {
        type: 'duration', minMs: 1 * SECOND, maxMs: 24 * HOUR, apply: 'live',
        about: 'So long after its last connection, a source\'s next ones take the same uplink while that is fit. Absent: each goes for itself. For servers that tie a session to one address.',
      },
      router: {
        type: 'flag', default: false, apply: 'live', alsoCalled: ['local', 'self'],
        about: 'Whether it also applies to what the router itself sends. Probes are never touched.',
      },
    },
  },
} as const satisfies ListField;

export const FLOWS = {
  type: 'list', least: 0, most: 64, default: '[]', apply: 'live', alsoCalled: ['flow', 'connections', 'tunnels'],
  about: 'Running connections with a rule of their own: the router\'s own tunnels, telephony. The first that fits counts, and the first are moved first. From an uplink that is down all connections are moved, whatever is written here.',
  item: {
    type: 'section', about: 'A kind of connection, as its first packet shows it.',
    example: '- { name: wireguard, protocol: udp, ports: 51820, origin: router, failback: move }',
    keys: {
      name: NAME,
      ...MATCH,
      origin: {
        type: 'choice', of: ['any', 'router'], default: 'any', apply: 'live',
        about: '`router`: only connections that the router itself began or ends.',
      },
      failback: {
        type: 'choice', of: ['keep', 'move'], apply: 'live',
        about: 'When a better uplink takes over from one that works: stay until they end, or follow at once. Absent: as `failback.flows`.',
      },
    },
  },
} as const satisfies ListField;
