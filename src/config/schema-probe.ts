/**
 * The part of the schema that says what is asked through an uplink, how, how often, and what it may cost.
 *
 * Each item of `targets` holds one method, written short (`tcp: 9.9.9.9:443`) or as a section of its own. What the
 * methods put on the line is in src/probes; docs/guides/probing.md helps to choose.
 */
import type { SectionField, SettingsOf } from './fields.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Methods that cost the other side more than a packet are asked no oftener than this, unless the config says so. */
export const SLOW_INTERVAL_MS = 10 * SECOND;

/** Reserved by RFC 2606 for ever, delegated, and with an address in each family. */
export const DEFAULT_NAME = 'example.com';
export const DNS_PORT = 53;
export const DEFAULT_LIMIT_MS = 5 * SECOND;

/** Who looks names up where the config says nothing: in each family two operators. */
export const DEFAULT_RESOLVERS: readonly string[] = ['1.1.1.1', '9.9.9.9', '2606:4700:4700::1111', '2620:fe::fe'];

/** In each family two public resolvers of different operators, in different networks: one of them stuttering is not our fault. */
export const DEFAULT_TARGETS: readonly TargetSettings[] = [
  ...['gateway', '1.1.1.1', '9.9.9.9', '2606:4700:4700::1111', '2620:fe::fe'].map((host): TargetSettings => ({ icmp: { host } })),
  { hop: { hops: 2 } },
];

/** What probes of a metered uplink may cost in 24 hours. */
export const METERED_BUDGET_BYTES = 5_000_000;

const INTERVAL = {
  type: 'duration', minMs: 50, maxMs: 1 * HOUR, apply: 'live', alsoCalled: ['every', 'cadence', 'period'],
  about: 'A cadence of its own. Absent: `probe.interval`.',
} as const;

const SLOW_INTERVAL = {
  ...INTERVAL, minMs: 1 * SECOND,
  about: 'A cadence of its own. Absent: 10s, or `probe.interval` where that is longer.',
} as const;

const FAMILY = {
  type: 'choice', of: ['4', '6', 'both'], default: '4', apply: 'live', alsoCalled: ['ip', 'families', 'ipversion', 'protocol'],
} as const;

const TARGET = {
  type: 'section', one: true, example: '- icmp: gateway', about: 'One thing to ask: one of these methods.',
  keys: {
    icmp: {
      type: 'section', short: 'host', alsoCalled: ['ping', 'ping6', 'icmp6', 'host', 'address', 'ip'],
      about: 'ICMP echo to `gateway` (the uplink\'s own) or to an address, which is asked in its own family.',
      keys: {
        host: {
          type: 'target', required: true, apply: 'live', alsoCalled: ['address', 'ip', 'to', 'target'],
          about: 'Names are not taken: looking them up could need the very line that failed.',
        },
        size: {
          type: 'integer', min: 64, max: 9000, unit: 'bytes', apply: 'live', alsoCalled: ['bytes', 'packetsize', 'mtu', 'length'],
          about: 'Of the whole IP packet, which must not be fragmented on the way: `size: 1500` beside a small one to the same host finds a line that swallows large packets. Such a probe is no witness of the internet beyond. Absent: as small as can be.',
        },
        interval: { ...INTERVAL, about: 'A cadence of its own. Absent: `probe.interval`, and ten times that with `size`.' },
      },
    },
    arp: {
      type: 'section', short: 'host', alsoCalled: ['nd', 'ndp', 'arping', 'neighbour', 'neighbor'],
      about: 'ARP request (in IPv6 neighbour solicitation) to the gateway: the one question that every gateway must answer, also those that drop pings.',
      keys: {
        host: { type: 'choice', of: ['gateway'], default: 'gateway', apply: 'live', about: 'There is nobody else to ask so.' },
        interval: INTERVAL,
      },
    },
    hop: {
      type: 'section', short: 'hops', alsoCalled: ['traceroute', 'ttl', 'hops', 'mtr'],
      about: 'The router that is so many hops away on the way to the first address beyond the gateway in this list, in each family by itself. Tells a break near the provider from one far away, and is no witness of the internet beyond.',
      keys: {
        hops: { type: 'integer', min: 2, max: 8, required: true, unit: 'hops', apply: 'live', alsoCalled: ['ttl', 'hop', 'count'], about: 'The gateway is the first.' },
        interval: { ...INTERVAL, about: 'A cadence of its own. Absent: ten times `probe.interval`.' },
      },
    },
    tcp: {
      type: 'section', short: 'to', alsoCalled: ['connect', 'syn', 'port'],
      about: 'A TCP connection, closed as soon as it stands. For hosts that drop pings, and for providers that treat them differently.',
      keys: {
        to: { type: 'endpoint', required: true, apply: 'live', alsoCalled: ['host', 'address', 'server', 'target'], about: 'An address and a port.' },
        interval: INTERVAL,
      },
    },
    dns: {
      type: 'section', short: 'server', alsoCalled: ['resolve', 'lookup', 'nslookup', 'dig', 'resolver'],
      about: 'One query over UDP; an answer with an error is none.',
      keys: {
        server: { type: 'address', what: 'a DNS server', required: true, apply: 'live', alsoCalled: ['host', 'address', 'to', 'resolver'], about: 'Who is asked, in its own family.' },
        name: {
          type: 'hostname', default: DEFAULT_NAME, apply: 'live', alsoCalled: ['query', 'qname', 'hostname', 'domain', 'question'],
          about: 'What for. The default is reserved for such purposes (RFC 2606) and will not go away.',
        },
        expect: {
          type: 'list', single: true, least: 1, most: 16, apply: 'live', alsoCalled: ['answer', 'answers', 'expected'],
          item: { type: 'address', what: 'an expected answer', apply: 'live', about: 'An address.' },
          about: 'Addresses of which one must be among the answers. Absent: whatever comes without an error will do. IPv6 addresses are asked for where only such are expected, else IPv4.',
        },
        port: { type: 'integer', min: 1, max: 65_535, default: DNS_PORT, apply: 'live', about: 'UDP port of the server.' },
        interval: INTERVAL,
      },
    },
    http: {
      type: 'section', short: 'url', alsoCalled: ['https', 'get', 'web', 'curl', 'portal'],
      about: 'GET, and what comes back must be as expected: a redirect to elsewhere, or a page where none was expected, is taken for a captive portal and named.',
      keys: {
        url: {
          type: 'url', required: true, apply: 'live', alsoCalled: ['uri', 'address', 'host', 'to'],
          about: '`http:` or `https:`. A name in it is looked up through the same uplink.',
        },
        expect: {
          type: 'integer', min: 100, max: 599, apply: 'live', alsoCalled: ['status', 'code', 'expected'],
          about: 'Status of the answer. Absent: 204 where the path ends in `generate_204` or `gen_204`, else 200.',
        },
        body: { type: 'text', apply: 'live', alsoCalled: ['contains', 'content', 'text'], about: 'Text that must be in the first 64 KiB of the answer.' },
        header: { type: 'header', apply: 'live', alsoCalled: ['headers'], about: 'A header that the answer must have, and text that must be in its value.' },
        resolver: {
          type: 'list', single: true, least: 1, most: 8, apply: 'live', alsoCalled: ['resolvers', 'dns', 'nameserver', 'nameservers', 'server'],
          item: { type: 'address', what: 'a DNS server', apply: 'live', about: 'A DNS server.' },
          about: `Who is asked for the name, each in its own family. Absent: the servers of the \`dns\` targets in this list; in a family without one, ${DEFAULT_RESOLVERS.map((address) => `\`${address}\``).join(', ')}.`,
        },
        family: { ...FAMILY, about: 'Over which family a name is asked. An address is asked in its own.' },
        interval: SLOW_INTERVAL,
      },
    },
    exec: {
      type: 'section', short: 'program', alsoCalled: ['script', 'command', 'cmd', 'check', 'run'],
      about: 'A program of yours: exit code 0 means alive. Contract and limits: [guides/exec.md](guides/exec.md).',
      keys: {
        program: { type: 'program', required: true, apply: 'live', alsoCalled: ['path', 'command', 'cmd', 'script', 'file'], about: 'Its whole path. It is started as it is, without a shell.' },
        args: {
          type: 'list', single: true, least: 0, most: 32, default: '[]', apply: 'live', alsoCalled: ['arguments', 'argv', 'arg', 'parameters'],
          item: { type: 'text', apply: 'live', about: 'An argument.' },
          about: 'Its arguments. Status shows them: no passwords.',
        },
        limit: {
          type: 'duration', minMs: 100, maxMs: 1 * MINUTE, default: DEFAULT_LIMIT_MS, apply: 'live', alsoCalled: ['timeout', 'timelimit', 'deadline'],
          about: 'So long it may take; then it is killed with its children, and has said nothing.',
        },
        family: { ...FAMILY, about: 'For which family it speaks; it is started once for each.' },
        interval: SLOW_INTERVAL,
      },
    },
  },
} as const satisfies SectionField;

export const PROBE = {
  type: 'section',
  about: 'What is asked through every uplink, bound to its device, and how often.',
  keys: {
    interval: {
      type: 'duration', minMs: 50, maxMs: 1 * HOUR, default: { preset: 'intervalMs' }, apply: 'live',
      about: 'Steady cadence, per target.',
    },
    timeout: {
      type: 'duration', auto: true, minMs: 1, maxMs: 1 * MINUTE, default: 'auto', apply: 'live',
      about: 'How long a reply may take. `auto` adapts to the measured round trip of each target (RFC 6298), within `timeoutMin` and `timeoutMax`.',
    },
    timeoutMin: {
      type: 'duration', minMs: 1, maxMs: 1 * MINUTE, default: 20, apply: 'live',
      about: 'The shortest timeout that `auto` may choose.',
    },
    timeoutMax: {
      type: 'duration', minMs: 1, maxMs: 1 * MINUTE, default: 2 * SECOND, apply: 'live',
      about: 'The longest timeout that `auto` may choose, and the one before the first reply has been measured.',
    },
    targets: {
      type: 'list', least: 1, most: 16, apply: 'live',
      default: '[{ icmp: gateway }, { icmp: 1.1.1.1 }, { icmp: 9.9.9.9 }, { icmp: 2606:4700:4700::1111 }, { icmp: 2620:fe::fe }, { hop: 2 }]',
      alsoCalled: ['target', 'hosts', 'monitor', 'track_ip'],
      about: 'Who is asked, one method each. A list replaces the default list whole. Each family is judged by the targets of its own; the gateway is asked in both, where there is one.',
      item: TARGET,
    },
    quorum: {
      type: 'integer', min: 1, max: 16, default: 1, unit: 'targets', apply: 'live', alsoCalled: ['reliability'],
      about: 'How many of the targets beyond the gateway must answer for the uplink to count as alive, in each family by itself. `arp`, `hop` and `icmp` with a `size` do not count.',
    },
    rotate: {
      type: 'integer', min: 0, max: 16, default: 0, unit: 'targets', apply: 'live', alsoCalled: ['rotation', 'roundrobin', 'turns'],
      about: 'So many of the targets beyond the gateway are asked per interval, in turn: with `rotate: 1` and four of them, each at every fourth. 0 asks all of them at every interval.',
    },
    budget: {
      type: 'size', minBytes: 10_000, maxBytes: 1_000_000_000_000, apply: 'live', alsoCalled: ['cap', 'limit', 'quota', 'bytes', 'maxbytes'],
      about: 'What probes may cost in 24 hours, both ways, as uplinkd reckons it. On standby they become rarer so that it lasts, down to once a minute; an uplink in use is asked at its usual pace until it is spent. Programs (`exec`) are not counted. Absent: 5MB for uplinks with `metered: true`, none for others.',
    },
    passive: {
      type: 'flag', default: true, apply: 'live', alsoCalled: ['flows', 'traffic', 'evidence'],
      about: 'Whether the connections that pass through are evidence too: those that get no more answers start a burst of probes at once, those that do get them speak against a verdict that rests on targets alone.',
    },
  },
} as const satisfies SectionField;

export type ProbeSettings = SettingsOf<typeof PROBE>;
export type TargetSettings = SettingsOf<typeof TARGET>;
