/** Keys that are right each by itself and wrong together: text in, the whole answer out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import { showProblem } from '../../src/config/load.js';

function problemsOf(text: string): string {
  const loaded = compile({ file: 'c', text }, () => ({ wrong: 'there is no profile in this test' }), new Map());
  return 'config' in loaded ? 'none' : loaded.problems.map((problem) => showProblem(problem).replace(/^c:/, '')).join('\n');
}

test('a device is one uplink or one LAN interface', () => {
  assert.equal(problemsOf(`uplinks:
  fibre: { interface: eth0 }
  cable: { interface: eth0 }
  lte: { interface: wwan0 }
lan:
  interfaces:
    - eth1
    - wwan0
    - eth1
`), `\
3: uplinks.cable.interface: \`eth0\` is the device of uplink \`fibre\` already (line 2): each uplink needs one of its own, for two providers on one port a VLAN each
8: lan.interfaces[1]: \`wwan0\` is the device of uplink \`lte\` (line 4): a device is either an uplink or a LAN interface
9: lan.interfaces[2]: \`eth1\` stands here twice: take one away`);
});

test('more than 64 uplinks are too many, 64 are not', () => {
  const uplinks = (count: number): string => `uplinks:\n${Array.from({ length: count }, (_, i) => `  u${i}: { interface: eth${i} }\n`).join('')}`;
  assert.equal(problemsOf(uplinks(64)), 'none');
  assert.equal(problemsOf(uplinks(65)), '1: uplinks: these are 65 uplinks, and 64 at most are possible');
});

test('a list of targets is not empty, not longer than 16, and asks nobody twice', () => {
  const targets = (list: string): string => problemsOf(`uplinks: { a: { interface: eth0 } }\nprobe: { targets: [${list}] }\n`);
  const many = (count: number): string => Array.from({ length: count }, (_, i) => `icmp: 1.1.1.${i + 1}`).join(', ');
  assert.equal(targets(''), '2: probe.targets: the list is empty: write `- icmp: gateway`, or take the key away for the default');
  assert.equal(targets(many(16)), 'none');
  assert.equal(targets(many(17)), '2: probe.targets: these are 17 items, and 16 at most are possible');
  assert.equal(targets('icmp: 1.1.1.1, icmp: gateway, icmp: 1.1.1.1'), '2: probe.targets[2].icmp: `icmp 1.1.1.1` is asked twice, first on line 2: take one away, the answers would count as one');
  assert.equal(targets('icmp: 1.1.1.1, {}, icmp:'), '2: probe.targets[1]: nothing is written here: write `- icmp: gateway`\n2: probe.targets[2].icmp: nothing is written here: write `gateway` or an IPv4 or IPv6 address');
});

test('a line without a gateway is not asked for one', () => {
  assert.equal(problemsOf(`uplinks:
  fibre: { interface: eth0 }
  lte: { interface: wwan0, gateway: none }
probe: { targets: [icmp: gateway, icmp: 1.1.1.1] }
`), 'none', 'the common list may name the gateway for the lines that have one');
  assert.equal(problemsOf(`uplinks:
  lte:
    interface: wwan0
    gateway: none
    probe:
      targets:
        - icmp: 1.1.1.1
        - icmp: gateway
`), '8: uplinks.lte.probe.targets[1].icmp: `lte` has `gateway: none`, so there is no gateway to ask: take this target away');
  assert.equal(problemsOf('uplinks: { lte: { interface: wwan0, gateway: none, gateway6: fe80::1, probe: { targets: [icmp: gateway, icmp: 1.1.1.1] } } }'), 'none', 'IPv6 has one');
  assert.equal(problemsOf('uplinks: { lte: { interface: wwan0, gateway: none, probe: { targets: [icmp: 2620:fe::fe] } } }'), 'none', 'a line of IPv6 alone');
  assert.equal(problemsOf(`uplinks:
  lte: { interface: wwan0, gateway: none }
probe: { targets: [icmp: gateway] }
`), '2: uplinks.lte.gateway: with `gateway: none` nothing is left to ask, because the common `probe.targets` hold only the gateway: give `lte` a `probe.targets` of its own, such as `- icmp: 1.1.1.1`');
});

test('the gateway\'s own address is asked as the gateway', () => {
  assert.equal(problemsOf(`uplinks:
  fibre: { interface: eth0, gateway: 198.51.100.1 }
probe:
  targets:
    - icmp: 198.51.100.1
    - icmp: 1.1.1.1
`), '5: probe.targets[0].icmp: `198.51.100.1` is the gateway of `fibre`: write `gateway`, or its answer is taken for that of the internet beyond');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0, gateway6: 2001:DB8::1, probe: { targets: [icmp: gateway, icmp: 2001:db8:0::1] } } }'),
    '1: uplinks.a.probe.targets[1].icmp: `2001:db8::1` is the gateway of `a`: write `gateway`, or its answer is taken for that of the internet beyond');
});

test('a quorum asks for no more answers than there are targets beyond the gateway', () => {
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { quorum: 2 }\n'), 'none', 'the default list has two in each family');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { targets: [icmp: gateway] }\n'), 'none', 'the default quorum is content with the gateway');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 }, b: { interface: eth1 } }\nprobe: { quorum: 3 }\n'),
    '2: probe.quorum: 3 targets beyond the gateway must answer, but only 2 are asked over IPv4 and IPv6: add targets or write `quorum: 2` or less');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { quorum: 1, targets: [icmp: gateway] }\n'),
    '2: probe.quorum: 1 target beyond the gateway must answer, but none is asked: add targets or take `quorum` away');
  assert.equal(problemsOf(`uplinks:
  a: { interface: eth0 }
  b:
    interface: eth1
    probe: { targets: [icmp: 8.8.8.8] }
probe: { quorum: 2 }
`), '5: uplinks.b.probe.targets: for `b`, 2 targets beyond the gateway must answer, but only one is asked: add targets or write `quorum: 1` or less');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { quorum: 2, targets: [icmp: 1.1.1.1, icmp: 9.9.9.9] }\n'), 'none', 'a family without targets has the gateway');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { quorum: 2, targets: [icmp: 1.1.1.1, icmp: 9.9.9.9, icmp: 2620:fe::fe] }\n'),
    '2: probe.quorum: 2 targets beyond the gateway must answer, but only one is asked over IPv6: add targets or write `quorum: 1` or less');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { quorum: 3, targets: [icmp: 1.1.1.1, icmp: 8.8.8.8, icmp: 9.9.9] }\n'),
    '2: probe.targets[2].icmp: `9.9.9` is not an IPv4 address: it needs four numbers from 0 to 255 without leading zeros, such as `198.51.100.1`',
    'nothing is concluded from a list that is wrong already');
});

test('the times fit each other', () => {
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { timeoutMin: 3s }\n'), '2: probe.timeoutMin: `timeoutMin` is 3s and `timeoutMax` 2s: the shorter of the two must be `timeoutMin`');
  assert.equal(problemsOf(`uplinks:
  a: { interface: eth0 }
  b: { interface: eth1, probe: { timeoutMax: 10ms } }
`), '3: uplinks.b.probe.timeoutMax: `timeoutMin` is 20ms and `timeoutMax` 10ms: the shorter of the two must be `timeoutMin`');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 }, b: { interface: eth1 } }\nhealth: { down: { after: 45ms } }\n'),
    '2: health.down.after: `health.down.after` is 45ms, but a missed probe and a burst of 3 with a timeout of 20ms cannot be told in less than 50ms: write `after: 50ms` or more, or a shorter timeout');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nhealth: { down: { after: 50ms } }\n'), 'none');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nhealth: { sensitivity: fast }\nprobe: { timeout: 500ms }\n'),
    '3: probe.timeout: `health.down.after` is 300ms, but a missed probe and a burst of 3 with a timeout of 500ms cannot be told in less than 1010ms: write `after: 1010ms` or more, or a shorter timeout');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0, health: { suspect: { burst: 0 } } } }\nhealth: { down: { after: 20ms } }\n'), 'none', 'no burst takes no time');
});
