/**
 * What people write, and what they are told. Each case is a config and the whole answer, as `uplinkd check` prints it;
 * read them aloud: a stranger must know where to look and what to type.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import { showProblem } from '../../src/config/load.js';

const UPLINK = 'uplinks: { fibre: { interface: eth0 } }\n';

/** The problems of a text, one per line, without the file name. */
function problemsOf(text: string): string {
  const loaded = compile({ file: 'c', text }, () => ({ wrong: 'there is no profile in this test' }), new Map());
  return 'config' in loaded ? 'none' : loaded.problems.map((problem) => showProblem(problem).replace(/^c:/, '')).join('\n');
}

/** A line below one good uplink; its problem without the line. */
function problemOf(line: string): string {
  return problemsOf(UPLINK + line).replace(/^2: /gm, '');
}

function cases(table: readonly (readonly [written: string, told: string])[], answer: (written: string) => string): void {
  for (const [written, told] of table) assert.equal(answer(written), told, `for ${JSON.stringify(written)}`);
}

test('a whole file of slips is answered with all of them at once, in the order of the lines', () => {
  assert.equal(problemsOf(`uplinks:
  fibre:
    interfce: eth0
    gatway: 198.51.100.1
    gateway6: 198.51.100.1
    priority: 0
    metered: yes
  2nd: { interface: eth1 }
  sat: eth3
lan:
  interfaces: eth2
probe:
  interval: 5
  interval: 3s
  targets:
    - 1.1.1.1
    - icmp: example.com
    - tcp: 9.9.9.9
failover: { mode: approve }
stop: restroe
`), `\
3: uplinks.fibre.interfce: \`interfce\` is not known here: did you mean \`interface\`?
4: uplinks.fibre.gatway: \`gatway\` is not known here: did you mean \`gateway\`?
5: uplinks.fibre.gateway6: \`198.51.100.1\` is an IPv4 address: write it as \`gateway\`, and here an IPv6 address, \`auto\` or \`none\`
6: uplinks.fibre.priority: \`0\` is too small: write a whole number from 1 to 1000
7: uplinks.fibre.metered: write \`true\`, not \`yes\`
8: uplinks.2nd: \`2nd\` cannot name an uplink: begin with a letter, then up to 31 letters, digits, \`-\` or \`_\`
9: uplinks.sat: \`eth3\` stands here, but keys are wanted: write \`interface: eth3\` on a line below
11: lan.interfaces: a list is wanted: write \`[eth2]\`
13: probe.interval: \`5\` has no unit: write \`5s\`, or \`5ms\` for milliseconds
14: probe.interval: \`interval\` stands here twice, first on line 13: keep one of them
16: probe.targets[0]: write \`- icmp: 1.1.1.1\`
17: probe.targets[1].icmp: \`example.com\` is not an IPv4 or IPv6 address: write \`gateway\` or an IPv4 or IPv6 address (names are not taken, because looking them up could need the very line that failed)
18: probe.targets[2].tcp: \`9.9.9.9\` is not ADDRESS:PORT: the port is missing, write one such as \`9.9.9.9:443\`
19: failover.mode: \`approve\` is not in this version yet: write \`automatic\`
20: stop: \`restroe\` is none of \`keep\` and \`restore\`: did you mean \`restore\`?`);
});

test('line and column point at the key or at the value, whichever is wrong', () => {
  const loaded = compile({ file: 'c', text: 'uplinks:\n  a:\n    interface: eth0\n    gatway: auto\n    gateway: atuo\n' }, () => ({ wrong: '' }), new Map());
  assert.ok('problems' in loaded);
  assert.deepEqual(loaded.problems.map(({ line, column, key }) => [line, column, key]), [[4, 5, 'uplinks.a.gatway'], [5, 14, 'uplinks.a.gateway']]);
});

test('a file that holds no config says what one needs', () => {
  const empty = '1: the file is empty: a config needs at least `uplinks:` with a name and its `interface`';
  cases([
    ['', empty],
    ['# nothing yet\n', empty],
    ['---\n', empty],
    ['- eth0', '1: a config begins with keys such as `uplinks:`, not with a list'],
    ['uplinks:eth0', '1: a config begins with keys such as `uplinks:`, not with `uplinks:eth0`: is a space missing after a `:`?'],
    ['stop: keep', '1: uplinks: `uplinks` is missing: write a name and its `interface` for each line to the internet'],
    ['uplinks:\n', '1: uplinks: there is no uplink: write a name (`fibre:`) and its `interface` for each line to the internet'],
    ['uplinks: {}', '1: uplinks: there is no uplink: write a name (`fibre:`) and its `interface` for each line to the internet'],
    ['uplinks: [eth0]', '1: uplinks: a list stands here, but names are wanted: write the name of each line as a key (`fibre:`) and its `interface` below it'],
    ['uplinks: eth0', '1: uplinks: `eth0` stands here, but names are wanted, each on a line below with its `interface`'],
    ['uplinks:\n  fibre:\n  cable: {}\n', '2: uplinks.fibre.interface: `interface` is missing: write the name of a network device, such as `eth0`, or `match` with what it is known by\n3: uplinks.cable.interface: `interface` is missing: write the name of a network device, such as `eth0`, or `match` with what it is known by'],
    ['uplinks:\n  fibre: { interface: eth0 }\n  lan:\n    interfaces: [eth1]\n', '3: uplinks.lan: `lan` stands among the uplinks and has no `interface`: is it indented too far?'],
  ], problemsOf);
});

test('an unknown key is told what was probably meant, or where it belongs', () => {
  cases([
    ['prob: { interval: 3s }', 'prob: `prob` is not known here: did you mean `probe`?'],
    ['Lan: { interfaces: [] }', 'Lan: `Lan` is not known here: did you mean `lan`?'],
    ['probe: { time-out-max: 3s }', 'probe.time-out-max: `time-out-max` is not known here: did you mean `timeoutMax`?'],
    ['probe: { hosts: [] }', 'probe.hosts: `hosts` is not known here: did you mean `targets`?'],
    ['interval: 3s', 'interval: `interval` is not known here, but in `probe`: write it below `probe:`'],
    ['lan: { stop: keep }', 'lan.stop: `stop` is not known here, but at the left margin: is it indented too far?'],
    ['nat: { colour: red }', 'nat.colour: `colour` is not known here; known are `backend`'],
    ['constructor: 1', 'constructor: `constructor` is not known here; known are `profile`, `uplinks`, `lan`, `policies`, `flows`, `probe`, `health`, `failover`, `failback`, `nat`, `forwarding`, `stop`, `api` and `kernel`'],
    ['__proto__: { lan: 1 }', '__proto__: `__proto__` is not known here; known are `profile`, `uplinks`, `lan`, `policies`, `flows`, `probe`, `health`, `failover`, `failback`, `nat`, `forwarding`, `stop`, `api` and `kernel`'],
    ['nat: { "bad\\u001bkey": 1 }', 'nat."bad\\\\u001bkey": `bad\\u001bkey` is not known here; known are `backend`'],
  ], problemOf);
});

test('keys and values of the contract that are not built yet are told apart from mistakes', () => {
  cases([
    ['failover: { mode: approve }', 'failover.mode: `approve` is not in this version yet: write `automatic`'],
    ['api: { tokens: /etc/tokens }', 'api.tokens: `tokens` is not in this version yet (who may use the unix socket may operate, TCP on loopback reads): take it away'],
  ], problemOf);
});

test('durations need a unit, and are shown how to be written', () => {
  const hold = (text: string): string => problemOf(`failback: { hold: ${text} }`).replace('failback.hold: ', '');
  cases([
    ['5s', 'none'], ['250ms', 'none'], ['2h', 'none'], ['1m30s', 'none'], ['0s', 'none'], ['1.5s', 'none'], ['"5s"', 'none'], ['24h', 'none'], ['1d', 'none'],
    ['5', '`5` has no unit: write `5s`, or `5ms` for milliseconds'],
    ['0', '`0` has no unit: write `0s`, or `0ms` for milliseconds'],
    ['5 sec', '`5 sec` is not a duration: write `5s`'],
    ['5 Minutes', '`5 Minutes` is not a duration: write `5m`'],
    ['1 day', '`1 day` is not a duration: write `1d`'],
    ['soon', '`soon` is not a duration: write a duration such as `500ms`, `5s` or `2h`'],
    ['-1s', '`-1s` is not a duration: write a duration such as `500ms`, `5s` or `2h`'],
    ['0.0001s', '`0.0001s` is not a duration: write a duration such as `500ms`, `5s` or `2h`'],
    ['auto', '`auto` is not a duration: write a duration such as `500ms`, `5s` or `2h`'],
    ['25h', '`25h` is too long: 24h at most'],
    ['', 'nothing is written here: write a duration such as `500ms`, `5s` or `2h`, or take the key away'],
    ['[5s]', 'a list stands here, but one value is wanted: write a duration such as `500ms`, `5s` or `2h`'],
    ['{ a: 5s }', 'further keys stand here, but one value is wanted: write a duration such as `500ms`, `5s` or `2h`'],
  ], hold);
  cases([
    ['probe: { interval: 49ms }', 'probe.interval: `49ms` is too short: 50ms at least'],
    ['probe: { interval: 61m }', 'probe.interval: `61m` is too long: 1h at most'],
    ['probe: { timeout: 61s }', 'probe.timeout: `61s` is too long: 1m at most'],
    ['probe: { timeout: never }', 'probe.timeout: `never` is not a duration: write `auto` or a duration such as `500ms`'],
    ['probe: { interval: 50ms, timeout: 1ms }\nhealth: { suspect: { burst: 0 } }', 'none'],
  ], problemOf);
});

test('numbers, switches and words say what they may be', () => {
  cases([
    ['probe: { quorum: one }', 'probe.quorum: `one` is not a whole number from 1 to 16'],
    ['probe: { quorum: 1.5 }', 'probe.quorum: `1.5` is not a whole number from 1 to 16'],
    ['probe: { quorum: 17 }', 'probe.quorum: `17` is too large: write a whole number from 1 to 16'],
    ['health: { suspect: { failures: 0 } }', 'health.suspect.failures: `0` is too small: write a whole number from 1 to 100'],
    ['health: { suspect: 3 }', 'health.suspect: `3` stands here, but keys of its own are wanted, each on a line below: `failures` and `burst`'],
    ['lan: eth2', 'lan: `eth2` stands here, but keys are wanted: write `interfaces: [eth2]` on a line below'],
    ['health: { down: 5s }', 'health.down: `5s` stands here, but keys are wanted: write `after: 5s` on a line below'],
    ['health: [ fast ]', 'health: a list stands here, but keys are wanted (`sensitivity`, `suspect`, `down`, `up`, `quality` and `damping`): take the `- ` away'],
    ['health: { sensitivity: Fast }', 'health.sensitivity: `Fast` is none of `fast`, `balanced` and `calm`: did you mean `fast`?'],
    ['health: { sensitivity: high }', 'health.sensitivity: `high` is not known here: write `fast`, `balanced` or `calm`'],
    ['nat: { backend: nft }', 'nat.backend: `nft` is none of `auto`, `iptables` and `nftables`: did you mean `nftables`?'],
    ['forwarding: { firewall: on }', 'none'],
    ['forwarding: { firewall: true }', 'forwarding.firewall: `true` is none of `auto`, `on` and `off`: did you mean `on`?'],
    ['stop: ~', 'stop: nothing is written here: write `keep` or `restore`, or take the key away'],
    ['stop: ""', 'stop: nothing is written here: write `keep` or `restore`, or take the key away'],
    [`failback: { hold: ${'1'.repeat(1_000_000)}x }`, `failback.hold: \`${'1'.repeat(60)}…\` is not a duration such as \`500ms\`, \`5s\` or \`2h\``],
    [`stop: ${'x'.repeat(100)}`, `stop: \`${'x'.repeat(60)}…\` is not known here: write \`keep\` or \`restore\``],
    ['stop: "k\\u001b[31meep\\n"', 'stop: `k\\u001b[31meep\\u000a` is not known here: write `keep` or `restore`'],
  ], problemOf);
  const flag = (text: string): string => problemsOf(`uplinks: { a: { interface: eth0, masquerade: ${text} } }`).replace('1: uplinks.a.masquerade: ', '');
  cases([
    ['true', 'none'], ['False', 'none'], ['off', 'write `false`, not `off`'], ['1', 'write `true`, not `1`'], ['203.0.113.9', 'none'],
    ['maybe', '`maybe` is not an IPv4 address: write an IPv4 address, `true` or `false` (names are not taken)'],
  ], flag);
});

test('a gateway is one IPv4 host, auto or none', () => {
  const gateway = (text: string): string => problemsOf(`uplinks: { a: { interface: eth0, gateway: ${text} } }`).replace('1: uplinks.a.gateway: ', '');
  cases([
    ['198.51.100.1', 'none'], ['auto', 'none'], ['none', 'none'], ['10.0.0.255', 'none'], ['198.51.100.0', 'none'],
    ['0.0.0.0', '`0.0.0.0` is no host\'s address (0.0.0.0/8) and cannot be a gateway'],
    ['127.0.0.1', '`127.0.0.1` is this machine itself (loopback) and cannot be a gateway'],
    ['224.0.0.5', '`224.0.0.5` is a multicast address and cannot be a gateway'],
    ['255.255.255.255', '`255.255.255.255` is the broadcast address and cannot be a gateway'],
    ['250.0.0.1', '`250.0.0.1` is a reserved address (240.0.0.0/4) and cannot be a gateway'],
    ['198.51.100.0/24', '`198.51.100.0/24` is a network, a gateway is one host: write its address without `/24`'],
    ['"fe80::1"', '`fe80::1` is an IPv6 address: write it as `gateway6`, and here an IPv4 address, `auto` or `none`'],
    ['198.51.100', '`198.51.100` is not an IPv4 address: it needs four numbers from 0 to 255 without leading zeros, such as `198.51.100.1`'],
    ['198.51.100.01', '`198.51.100.01` is not an IPv4 address: it needs four numbers from 0 to 255 without leading zeros, such as `198.51.100.1`'],
    ['auot', '`auot` is not known here: did you mean `auto`?'],
    ['dhcp', 'write `auto`, not `dhcp`: it learns the gateway however it is told'],
    ['gw.example.net', '`gw.example.net` is not an IPv4 address: write an IPv4 address, `auto` or `none` (host names are not taken)'],
  ], gateway);
});

test('device names follow the kernel\'s rules and are no patterns', () => {
  const device = (text: string): string => problemsOf(`uplinks: { a: { interface: ${text} } }`).replace('1: uplinks.a.interface: ', '');
  const wrong = (name: string, why: string): string => `\`${name}\` cannot be the name of a network device: ${why}`;
  cases([
    ['eth0.100', 'none'], ['"enp1s0f0@x"', 'none'], ['wg-isp_1', 'none'], ['123', 'none'], ['fifteen-bytes-x', 'none'],
    ['sixteen-bytes-xy', 'none'], ['x'.repeat(127), 'none'],
    [`${'x'.repeat(126)}ü`, wrong(`${'x'.repeat(60)}…`, 'Linux allows 15 bytes at most, and 127 for an alternative name')],
    ['a/b', wrong('a/b', '`/` cannot be part of it')],
    ['eth0:1', wrong('eth0:1', '`:` cannot be part of it')],
    ['eth 0', wrong('eth 0', 'a space cannot be part of it')],
    ['eth+', wrong('eth+', 'a `+` at the end stands for many devices; write one')],
    ['eth*', wrong('eth*', '`*` cannot be part of it')],
    ['.', wrong('.', 'write one such as `eth0`')],
    ['..', wrong('..', 'write one such as `eth0`')],
    ['lo', wrong('lo', '`lo` is the loopback and leads nowhere')],
    ["'x\"; flush ruleset'", wrong('x"; flush ruleset', '`"` cannot be part of it')],
    ["'x\";y'", wrong('x";y', '`"` cannot be part of it')],
    ['', 'nothing is written here: write the name of a network device, such as `eth0`'],
  ], device);
});

test('the API listens on loopback only', () => {
  const listen = (text: string): string => problemOf(`api: { listen: ${text} }`).replace('api.listen: ', '');
  const tokens = (host: string, port: number): string => `\`${host}\` can be reached from other machines, and that needs \`api.tokens\`, which is not in this version yet: write \`127.0.0.1:${port}\``;
  cases([
    ['127.0.0.1:9474', 'none'], ['127.8.8.8:1', 'none'], ['localhost:9474', 'none'], ['"[::1]:9474"', 'none'], ['"[0:0::1]:9474"', 'none'],
    ['9474', '`9474` is not ADDRESS:PORT: write `127.0.0.1:9474`'],
    [':9474', '`:9474` is not ADDRESS:PORT: write `127.0.0.1:9474`'],
    ['127.0.0.1', '`127.0.0.1` is not ADDRESS:PORT: write one such as `127.0.0.1:9474`'],
    ['127.0.0.1:0', '`127.0.0.1:0` is not ADDRESS:PORT: 0 is no port; they go from 1 to 65535'],
    ['127.0.0.1:65536', '`127.0.0.1:65536` is not ADDRESS:PORT: 65536 is no port; they go from 1 to 65535'],
    ['router:9474', '`router:9474` is not ADDRESS:PORT: `router` is not an address; write one such as `127.0.0.1:9474`'],
    ['"::1"', "`::1` is not ADDRESS:PORT: write `'[::1]:9474'`, with the quotes"],
    ['0.0.0.0:9474', tokens('0.0.0.0', 9474)],
    ['192.168.1.1:80', tokens('192.168.1.1', 80)],
    ['"[::]:9474"', tokens('::', 9474)],
    ['"[::ffff:192.168.1.1]:9474"', tokens('::ffff:192.168.1.1', 9474)],
  ], listen);
  assert.equal(problemsOf(`${UPLINK}api:\n  listen: [::1]:9474\n`), '3: `:9474` follows a value that has ended: put the whole value in quotes');
});

test('the mark mask is adjacent bits, at least seven of 32', () => {
  const mask = (text: string): string => problemOf(`kernel: { markMask: ${text} }`).replace('kernel.markMask: ', '');
  cases([
    ['0x3f80', 'none'], ['0x7f', 'none'], ['"0xFE000000"', 'none'], ['16256', 'none'], ['0xffffffff', 'none'],
    ['0x3f', '`0x3f` is 6 bits wide, and 7 at least are needed to tell uplinks apart: write one such as `0x3f80`'],
    ['0xff00ff', 'the bits of `0xff00ff` are not adjacent: write one such as `0x3f80`'],
    ['0x0', 'the bits of `0x0` are not adjacent: write one such as `0x3f80`'],
    ['0x1fffffff80', '`0x1fffffff80` is not a mask of 32 bits: write one such as `0x3f80`'],
    ['4294967296', '`4294967296` is not a mask of 32 bits: write one such as `0x3f80`'],
    ['all', '`all` is not a mask of 32 bits: write one such as `0x3f80`'],
  ], mask);
});
