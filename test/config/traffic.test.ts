/** `policies` and `flows`: what is written, what it means, what is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import { loadText, showProblem } from '../../src/config/load.js';
import type { Policy } from '../../src/model.js';

const UPLINKS = 'uplinks: { fibre: { interface: eth0 }, cable: { interface: eth1 }, lte: { interface: wwan0 } }\n';

function load(text: string): Policy | string {
  const loaded = compile({ file: 'c', text: UPLINKS + text }, () => ({ wrong: 'there is no profile in this test' }), new Map());
  return 'config' in loaded ? loaded.config.policy : loaded.problems.map((problem) => showProblem(problem).replace(/^c:/, '')).join('\n');
}

function policyOf(text: string): Policy {
  const policy = load(text);
  if (typeof policy === 'string') throw new Error(policy);
  return policy;
}

/** What is told about one policy of such keys. */
function told(keys: string): string {
  const answer = load(`policies: [ { ${keys} } ]\n`);
  return typeof answer === 'string' ? answer.replace(/^2: policies\[0\]\.?/gm, '') : 'none';
}

function cases(table: readonly (readonly [written: string, told: string])[], answer: (written: string) => string): void {
  for (const [written, expected] of table) assert.equal(answer(written), expected, `for ${JSON.stringify(written)}`);
}

test('a policy has its defaults', () => {
  assert.deepEqual(policyOf('policies: [ { use: fibre } ]').policies, [{
    name: 'policy 1', match: { sources: [], destinations: [], protocol: 'any', sourcePorts: [], destinationPorts: [] }, mark: undefined, set: undefined,
    order: [{ members: [{ uplink: 'fibre', weight: 1 }] }], otherwise: 'fall-through', stickyMs: undefined, router: false,
  }] satisfies Policy['policies']);
});

test('every key of a policy arrives where it is meant, in order', () => {
  const { policies } = policyOf(`
policies:
  - name: büro 1
    source: [192.168.1.0/24, 192.168.2.7, 2001:DB8::/32]
    destination: 0.0.0.0/0
    protocol: udp
    ports: [53, 5060-5070]
    sourcePorts: 1024:65535
    mark: 0x1/0xf
    set: { name: streaming, side: source }
    use:
      - fibre: 3
        cable: 1
      - lte
    otherwise: block
    sticky: 10m
    router: true
  - { set: streaming, mark: 0x40000, use: { fibre: , lte: 256 } }
`);
  assert.deepEqual(policies[0], {
    name: 'büro 1',
    match: {
      sources: ['192.168.1.0/24', '192.168.2.7/32', '2001:db8::/32'], destinations: ['0.0.0.0/0'], protocol: 'udp',
      sourcePorts: [{ first: 1024, last: 65_535 }], destinationPorts: [{ first: 53, last: 53 }, { first: 5060, last: 5070 }],
    },
    mark: { value: 1, mask: 15 }, set: { name: 'streaming', side: 'source' },
    order: [{ members: [{ uplink: 'fibre', weight: 3 }, { uplink: 'cable', weight: 1 }] }, { members: [{ uplink: 'lte', weight: 1 }] }],
    otherwise: 'block', stickyMs: 600_000, router: true,
  });
  assert.equal(policies[1]?.name, 'policy 2');
  assert.deepEqual(policies[1]?.set, { name: 'streaming', side: 'destination' });
  assert.deepEqual(policies[1]?.mark, { value: 0x40000, mask: 0xffffc07f }, 'all bits but ours');
  assert.deepEqual(policies[1]?.order, [{ members: [{ uplink: 'fibre', weight: 1 }, { uplink: 'lte', weight: 256 }] }]);
});

test('flows have defaults, and follow failback.flows where they do not say otherwise', () => {
  const { flows } = policyOf(`
failback: { flows: move }
flows:
  - { name: wireguard, protocol: udp, ports: 51820, destination: 198.51.100.9, origin: router, failback: keep }
  - { protocol: udp, ports: [500, 4500] }
`);
  assert.deepEqual(flows, [
    {
      name: 'wireguard', origin: 'router', failback: 'keep',
      match: { sources: [], destinations: ['198.51.100.9/32'], protocol: 'udp', sourcePorts: [], destinationPorts: [{ first: 51_820, last: 51_820 }] },
    },
    {
      name: 'flow 2', origin: 'any', failback: 'move',
      match: { sources: [], destinations: [], protocol: 'udp', sourcePorts: [], destinationPorts: [{ first: 500, last: 500 }, { first: 4500, last: 4500 }] },
    },
  ] satisfies Policy['flows']);
});

test('where a policy leads is uplinks that there are, each once', () => {
  cases([
    ['use: fiber', 'use: there is no uplink `fiber`: did you mean `fibre`?'],
    ['use: [fibre, dsl]', 'use[1]: there is no uplink `dsl`: there are `fibre`, `cable` and `lte`'],
    ['use: { fibre: 1, cabel: 2 }', 'use.cabel: there is no uplink `cabel`: did you mean `cable`?'],
    ['use: [{ fibre: 1, cabel: 2 }]', 'use[0].cabel: there is no uplink `cabel`: did you mean `cable`?'],
    ['use: [fibre, { lte: 2, fibre: 1 }]', 'use[1].fibre: `fibre` stands in this policy twice: keep the one that counts, the first'],
    ['use: { fibre: 0 }', 'use.fibre: `0` is too small: write a whole number from 1 to 256, the weight of the uplink'],
    ['use: { fibre: [1] }', 'use.fibre: one number is wanted: write a weight from 1 to 256, the weight of the uplink'],
    ['use: [[fibre, cable]]', 'use[0]: a list stands within the list: write uplinks that share as `{ fibre: 3, cable: 1 }`'],
    ['use: []', 'use: no uplink is named here: write some in order of preference, such as `use: [fibre, lte]`'],
    ['use: ', 'use: nothing is written here: write uplinks in order of preference, such as `use: [fibre, lte]`'],
    ['source: 10.0.0.0/8', 'use: `use` is missing: write uplinks in order of preference, such as `use: [fibre, lte]`'],
    ['via: fibre', 'via: `via` is not known here: did you mean `use`?'],
  ], told);
});

test('addresses, ports, marks and sets are told apart from what looks like them', () => {
  const use = (keys: string): string => told(`${keys}, use: fibre`);
  cases([
    ['source: 192.168.1.7/24', 'source: `192.168.1.7/24` is a host and not the beginning of a network: write `192.168.1.0/24` for the network, or `192.168.1.7` for the host'],
    ['source: 192.168.1.0/255.255.255.0', 'source: `192.168.1.0/255.255.255.0` has a netmask: write its length, `192.168.1.0/24`'],
    ['source: [10.0.0.1, 10.0.0.5-10.0.0.9]', 'source[1]: `10.0.0.5-10.0.0.9` is a range, which is not taken: write its networks one by one, or put it into a `set`'],
    ['source: 10.0.0.0/33', 'source: `/33` is not a prefix length of IPv4: it goes from `/0` to `/32`'],
    ['source: all', 'source: `all` is not needed: everything fits where the key is not written'],
    ['destination: example.com', 'destination: `example.com` is neither an address nor a network: write one such as `192.168.1.0/24`, `192.168.1.7` or `2001:db8::/32` (names are not taken)'],
    ['source: []', 'source: the list is empty: write one item at least, or take the key away for the default'],
    ['ports: 443', 'ports: only `protocol: tcp` and `protocol: udp` have ports, and none is written: write one of them; for both, an entry for each'],
    ['protocol: icmp, sourcePorts: 443', 'sourcePorts: only `protocol: tcp` and `protocol: udp` have ports, and this is `icmp`: write one of them; for both, an entry for each'],
    ['protocol: tcp, ports: https', 'ports: `https` is not a port: write a number such as `443` or a range such as `5060-5070`'],
    ['protocol: tcp, ports: "80,443"', 'ports: `80,443` are several: write a list, `[80,443]`'],
    ['protocol: tcp, ports: 90-80', 'ports: `90-80` goes backwards: write `80-90`'],
    ['protocol: tcp, ports: [0, 65536]', 'ports[0]: 0 is no port; they go from 1 to 65535\nports[1]: 65536 is no port; they go from 1 to 65535'],
    ['protocol: tcp, ports: [1-2, 3-4, 5-6, 7-8, 9-10, 11-12, 13-14, 15]', 'none'],
    ['protocol: tcp, ports: [1-2, 3-4, 5-6, 7-8, 9-10, 11-12, 13-14, 15, 17]', 'ports: 15 ports at most go into one list, a range counts as two, and these are 16: write a second entry'],
    ['mark: 0x80', 'mark: the bits `0x80` of it are ours (`kernel.markMask` is `0x3f80`): use others, or write another `markMask`'],
    ['mark: 0x1/0xffffffff', 'mark: the bits `0x3f80` of it are ours (`kernel.markMask` is `0x3f80`): use others, or write another `markMask`'],
    ['mark: 0x3/0x1', 'mark: `0x3/0x1` can never fit: the mark has bits that its mask leaves out'],
    ['mark: 0', 'mark: `0` means no mark at all: write which bits must be clear, such as `0/0xff`'],
    ['mark: vpn', 'mark: `vpn` is not a mark of 32 bits: write one such as `0x1`, or with a mask such as `0x1/0xff`'],
    ['set: "@streaming"', 'set: `@streaming` cannot name a set, without the `@`: begin with a letter, then up to 29 letters, digits, `.`, `-` or `_`'],
    ['set: sticky_x', 'set: `sticky_x` cannot name a set: `sticky_` begins the names of uplinkd\'s own'],
    ['set: { side: source }', 'set.name: `name` is missing: write the name of a set of addresses, such as `streaming`'],
    ['name: "a\\"b"', 'name: `a"b` cannot be a name: begin with a letter or a digit, then letters, digits, spaces, `.`, `-` or `_`, 48 bytes at most'],
    ['sticky: true', 'sticky: `true` is not a duration: write a duration such as `500ms`, `5s` or `2h`'],
  ], use);
});

test('a name stands for one policy, also one that was counted', () => {
  assert.equal(load('policies:\n  - { name: a, set: s, use: fibre }\n  - { name: a, set: t, use: fibre }\n'),
    '4: policies[1].name: `a` is the name of the one on line 3 too: every name once, the counters go by it');
  assert.equal(load('policies:\n  - { name: policy 2, set: s, use: fibre }\n  - { set: t, use: fibre }\n'),
    '3: policies[0].name: `policy 2` is the name of the one on line 4 too: every name once, the counters go by it');
});

test('what stands behind a policy that takes everything is told to be out of reach', () => {
  const unreachable = '4: policies[1]: nothing gets here: `all` (line 3) has no condition and takes everything before it; put that one last';
  assert.equal(load('policies:\n  - { name: all, use: fibre }\n  - { set: t, use: cable }\n'), unreachable);
  assert.equal(typeof load('policies:\n  - { name: all, use: fibre }\n  - { set: t, use: cable, router: true }\n'), 'object', 'what the router sends passes the first by');
  assert.equal(load('policies:\n  - { name: all, use: fibre, router: true }\n  - { set: t, use: cable, router: true }\n'), unreachable);
  assert.equal(typeof load('policies:\n  - { name: all, protocol: tcp, use: fibre }\n  - { set: t, use: cable }\n'), 'object');
});

test('a list is a list of policies', () => {
  assert.equal(load('policies: { use: fibre }'), '2: policies: a list is wanted: begin each item with `- `, as in `- { source: 192.168.1.0/24, use: [fibre, lte] }`');
  assert.equal(load('policies: fibre'), '2: policies: a list is wanted: write `- { source: 192.168.1.0/24, use: [fibre, lte] }`');
  assert.equal(load('use: fibre'), '2: use: `use` is not known here, but in `policies`: write it below `policies:`');
});

test('orders of uplinks beyond the room for marks are told, and a wider mask makes room', () => {
  const names = Array.from({ length: 64 }, (_, i) => `u${i}`);
  const uplinks = `uplinks:\n${names.map((name, i) => `  ${name}: { interface: e${i} }\n`).join('')}`;
  const policies = (count: number, use: (i: number) => string): string => `policies:\n${Array.from({ length: count }, (_, i) => `  - { source: 10.0.${i}.0/24, use: ${use(i)} }\n`).join('')}`;
  const answer = (text: string): string => {
    const loaded = loadText(text, { file: 'request', profilesDir: '/nowhere', slots: new Map() });
    return 'config' in loaded ? 'none' : loaded.problems.map(showProblem).join('\n');
  };
  assert.equal(answer(uplinks + policies(256, () => `[${names.join(', ')}]`)), 'none', 'one order for all is one class');
  assert.match(answer(uplinks + policies(256, (i) => `[u${i % 64}, u${(i + 1 + (i >> 6)) % 64}]`)),
    /^request:66: policies: there are too many different orders of uplinks: .*; write a wider `kernel\.markMask`, such as `0x3ff0`, /);
  assert.equal(answer(`${uplinks}kernel: { markMask: 0x3ff0 }\n${policies(256, (i) => `[u${i % 64}, u${(i + 1 + (i >> 6)) % 64}]`)}`), 'none');
  assert.equal(answer(`${UPLINKS}${policies(257, () => 'fibre').replace(/10\.0\.256/, '10.1.0')}`), 'request:3: policies: these are 257 items, and 256 at most are possible');
});

test('a text that came by the API is judged as a file, under the name given', () => {
  const options = { file: 'request', profilesDir: '/nowhere', slots: new Map([['fibre', 9]]) };
  const loaded = loadText(`\ufeff${UPLINKS}`, options);
  assert.ok('config' in loaded && loaded.config.policy.uplinks[0]?.slot === 9);
  const refused = (text: string): readonly string[] => { const answer = loadText(text, options); return 'problems' in answer ? answer.problems.map(showProblem) : []; };
  assert.deepEqual(refused('profile: dual-isp\n'), ['request:1: profile: there is no profile `dual-isp` in /nowhere: there is none at all']);
  assert.deepEqual(refused(`#${'x'.repeat(1024 * 1024)}`), ['request: the file has 1048577 bytes, and a config has 1 MiB at most: is it the right one?']);
});
