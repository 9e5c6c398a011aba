/**
 * Every key of the config file, once: what it takes, its bounds, its default, what it means, and whether a reload
 * puts a change in force. Reading, checking, defaults and docs/config.md are all made from this table.
 *
 * The order is that of a file as people write it. Words of the documented contract that this version cannot do yet
 * stand under `later`, so that who writes them is told so instead of being taken for a bad typist.
 */
import type { SectionField, SettingsOf } from './fields.js';
import { HEALTH } from './schema-health.js';
import { PROBE } from './schema-probe.js';
import { FLOWS, POLICIES } from './schema-traffic.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

export type Sensitivity = 'fast' | 'balanced' | 'calm';

/** What one word for the operator's temper stands for. A number that is written wins over it. */
export interface Preset {
  readonly intervalMs: number;
  readonly failures: number;
  readonly burst: number;
  readonly afterMs: number;
  readonly successes: number;
}

export const PRESETS: Readonly<Record<Sensitivity, Preset>> = {
  // Three targets at 300 ms are ten probes a second: the most that a line should have to carry for its own good.
  fast: { intervalMs: 300, failures: 1, burst: 3, afterMs: 300, successes: 5 },
  balanced: { intervalMs: 1 * SECOND, failures: 1, burst: 3, afterMs: 2 * SECOND, successes: 5 },
  calm: { intervalMs: 1 * SECOND, failures: 2, burst: 5, afterMs: 10 * SECOND, successes: 10 },
};

const UPLINK = {
  type: 'section',
  about: 'One line to the internet. The name is yours: a letter, then up to 31 letters, digits, `-` or `_`.',
  keys: {
    interface: {
      type: 'interface', required: true, orElse: 'match', apply: 'live', alsoCalled: ['device', 'dev', 'iface', 'ifname', 'nic', 'port'],
      about: 'The network device of this line, by its name or an alternative one (`ip link property`). Or `match`, one of the two.',
    },
    match: {
      type: 'section', some: true, about: 'For devices whose name moves, such as USB modems: what they are known by. All that is written must fit.',
      keys: {
        mac: { type: 'mac', apply: 'live', alsoCalled: ['hwaddr', 'hwaddress', 'macaddress', 'ether'], about: 'MAC address; the one burnt in counts, where the driver tells it.' },
        path: { type: 'path', apply: 'live', alsoCalled: ['id_path', 'usb', 'slot'], about: 'Where the device is plugged in: ID_PATH of udev, whole and without `*`.' },
      },
    },
    gateway: {
      type: 'gateway', family: 4, other: 'gateway6', default: 'auto', apply: 'live', alsoCalled: ['gw', 'via', 'nexthop', 'router', 'gateway4'],
      about: 'The next hop: an IPv4 address; `auto` learns it from the default route that DHCP, PPP or another program puts into the kernel; `none` for a point-to-point line.',
    },
    gateway6: {
      type: 'gateway', family: 6, other: 'gateway', default: 'auto', apply: 'live', alsoCalled: ['gw6', 'via6', 'nexthop6'],
      about: 'The same for IPv6: an address, often link-local (`fe80::1`); `auto` learns it from router advertisements and the like; `none` for a point-to-point line.',
    },
    priority: {
      type: 'integer', min: 1, max: 1000, default: 1, apply: 'live', alsoCalled: ['metric', 'prio', 'rank', 'tier', 'preference'],
      about: 'Lower is preferred. Uplinks of equal priority share the load by weight.',
    },
    weight: {
      type: 'integer', min: 1, max: 256, default: 1, apply: 'live',
      about: 'The share of the load among uplinks of equal priority.',
    },
    metered: {
      type: 'flag', default: false, apply: 'live',
      about: 'Traffic on this line costs money: what it carries leaves it as soon as something better is up, and probes keep to a budget (`probe.budget`).',
    },
    masquerade: {
      type: 'translation', family: 4, other: 'masquerade6', default: 'true', apply: 'live', alsoCalled: ['nat', 'snat', 'nat4'],
      about: 'Whether what leaves by this line takes the line\'s own address, or which other one it takes (static SNAT).',
    },
    masquerade6: {
      type: 'translation', family: 6, other: 'masquerade', apply: 'live', alsoCalled: ['nat6', 'npt', 'nptv6', 'nat66'],
      about: 'The same for IPv6. `prefix`: `lan.prefix6` becomes `prefix6`, the host part stays (NPTv6). Absent: `prefix` where both prefixes are written, else as `masquerade` says.',
    },
    prefix6: {
      type: 'prefix', auto: true, apply: 'live', alsoCalled: ['prefix', 'delegatedprefix', 'ia_pd', 'pd'],
      about: 'The IPv6 prefix that this provider routes to us; `auto`: the one that he delegates (DHCPv6), as routes and LAN addresses show it, followed when it changes. With `masquerade6: false` the LAN bears it: its addresses there are taken out of use (deprecated) while the line is down.',
    },
    endpoint: {
      type: 'list', single: true, least: 0, most: 16, default: '[]', apply: 'live',
      alsoCalled: ['endpoints', 'remote', 'peer', 'over', 'server'],
      item: { type: 'address', what: 'a tunnel\'s far end', apply: 'live', about: 'An address.' },
      about: 'For an uplink that is a tunnel: the addresses of its far end. The router\'s own packets to them go '
        + 'by the best uplink that is no tunnel, never into the tunnel itself. Learnt from the kernel for WireGuard, '
        + 'GRE, IPIP, SIT, VTI, VXLAN and Geneve; to be written for OpenVPN and other programs.',
    },
    mtu: {
      type: 'integer', words: ['auto'], min: 576, max: 9216, default: 'auto', unit: 'bytes', apply: 'live',
      about: 'The largest packet that the way beyond this line carries, such as 1492 behind PPPoE: sets `mss` to 40 less. The device\'s own MTU is left alone.',
    },
    mss: {
      type: 'integer', words: ['auto', 'off'], min: 500, max: 9176, default: 'auto', unit: 'bytes', apply: 'live', alsoCalled: ['mssfix', 'mtu_fix', 'clampmss'],
      about: 'Largest TCP segment that is announced over this line. `auto` goes by the MTU of the route, `off` leaves it as it is. Of IPv4; IPv6 gets 20 less.',
    },
    probe: { ...PROBE, like: 'probe' },
    health: { ...HEALTH, like: 'health' },
  },
} as const satisfies SectionField;

export const SCHEMA = {
  type: 'section',
  about: '',
  keys: {
    profile: {
      type: 'profile', apply: 'live',
      about: 'Defaults from `profiles/NAME.yaml`; what this file says wins.',
    },
    uplinks: {
      type: 'named', most: 64, required: true, alsoCalled: ['wans', 'wan', 'links', 'isps', 'providers', 'interfaces', 'gateways'],
      about: 'The lines to the internet, by name. Two or more make sense; one is allowed.',
      item: UPLINK,
    },
    lan: {
      type: 'section', main: 'interfaces', about: 'Who is routed.',
      keys: {
        interfaces: {
          type: 'list', item: { type: 'interface', apply: 'live', about: 'A device.' }, least: 0, most: 64, default: '[]', apply: 'live',
          alsoCalled: ['interface', 'devices', 'device'],
          about: 'Devices whose traffic is forwarded to the uplinks, by name or alternative name.',
        },
        prefix6: {
          type: 'prefix', apply: 'live', alsoCalled: ['prefix', 'ula'],
          about: 'The LAN\'s own IPv6 prefix, mostly a ULA (fd00::/8), which uplinks with a `prefix6` of the same length translate.',
        },
        routed: {
          type: 'list', single: true, least: 0, most: 64, default: '[]', apply: 'live', item: { type: 'network', apply: 'live', about: 'An address or a network.' },
          about: 'Networks (CIDR) of either family that leave by any uplink as they are, untranslated: the provider routes them to us.',
        },
      },
    },
    policies: POLICIES,
    flows: FLOWS,
    probe: PROBE,
    health: HEALTH,
    failover: {
      type: 'section', about: 'How an uplink that fails is left.',
      keys: {
        mode: {
          type: 'choice', of: ['automatic'], later: ['approve'], default: 'automatic', apply: 'live',
          about: 'The daemon switches by itself.',
        },
      },
    },
    failback: {
      type: 'section', about: 'How a better uplink is taken again. New connections follow at once.',
      keys: {
        mode: {
          type: 'choice', of: ['automatic', 'manual'], default: 'automatic', apply: 'live',
          about: '`manual`: a better uplink waits until an operator asks for it, or until the present one fails.',
        },
        hold: {
          type: 'duration', minMs: 0, maxMs: 24 * HOUR, default: 30 * SECOND, apply: 'live', alsoCalled: ['delay', 'after', 'preempt_delay'],
          about: 'So long a better uplink must have been up before it is taken again.',
        },
        flows: {
          type: 'choice', of: ['keep', 'move'], default: 'keep', apply: 'live',
          about: 'What becomes of running connections: `keep`, they stay on the uplink they began on until they end; `move`, what is left after `drainDeadline` is cut.',
        },
        drainDeadline: {
          type: 'duration', minMs: 0, maxMs: 24 * HOUR, default: 10 * MINUTE, apply: 'live', alsoCalled: ['drain', 'deadline'],
          about: 'With `flows: move`: how long running connections may take to end by themselves.',
        },
      },
    },
    nat: {
      type: 'section', about: 'How packets get the address of the line they leave by.',
      keys: {
        backend: {
          type: 'choice', of: ['auto', 'iptables', 'nftables'], default: 'auto', apply: 'live',
          about: '`auto` takes nftables, and iptables where that is the legacy variant, or where rules of yours need its order. Either way our rules live in chains or a table of their own.',
        },
      },
    },
    forwarding: {
      type: 'section', about: 'Turning the machine into a router.',
      keys: {
        firewall: {
          type: 'choice', of: ['auto', 'on', 'off'], default: 'auto', apply: 'live',
          about: 'Accept what the LAN sends out and the replies; drop what begins behind an uplink, wherever it is to be forwarded (the LAN, another uplink, any other network), unless it is port-forwarded or came by IPsec. `auto` is `off` where another firewall decides who gets into the LAN.',
        },
      },
    },
    stop: {
      type: 'choice', of: ['keep', 'restore'], default: 'keep', apply: 'live',
      about: 'What stopping the daemon leaves in the kernel: everything, so that traffic goes on, or what was there before.',
    },
    api: {
      type: 'section', about: 'Where programs ask and order, beside the unix socket.',
      keys: {
        listen: {
          type: 'listen', apply: 'restart', alsoCalled: ['address', 'bind', 'port'],
          about: 'ADDRESS:PORT for TCP, on loopback only in this version. Absent: the unix socket only.',
        },
      },
      later: { tokens: 'who may use the unix socket may operate, TCP on loopback reads' },
    },
    kernel: {
      type: 'section', about: 'Keeping clear of other programs.',
      keys: {
        markMask: {
          type: 'mask', default: '0x3f80', apply: 'restart', alsoCalled: ['fwmark', 'mark', 'mask'],
          about: 'The bits of packet and connection marks that are ours: adjacent, at least 7 of 32. The default is clear of Tailscale (0xff0000), kube-proxy (0xc000) and Calico (0xffff0000).',
        },
      },
    },
  },
} as const satisfies SectionField;

export type Settings = SettingsOf<typeof SCHEMA>;
export type UplinkSettings = SettingsOf<typeof UPLINK>;
export type PolicySettings = SettingsOf<typeof POLICIES>[number];
export type FlowSettings = SettingsOf<typeof FLOWS>[number];
