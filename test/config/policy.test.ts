/** What a valid config means: defaults, sensitivities, what wins over what, and slots that stay. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assignSlots } from '../../src/core/layout.js';
import { compile, type Config } from '../../src/config/compile.js';
import { showProblem } from '../../src/config/load.js';
import type { Family, Target, UplinkPolicy } from '../../src/model.js';

function configOf(text: string, profile = '', slots: ReadonlyMap<string, number> = new Map()): Config {
  const loaded = compile({ file: 'config.yaml', text }, () => ({ file: 'profile.yaml', text: profile }), slots);
  if ('problems' in loaded) throw new Error(loaded.problems.map(showProblem).join('\n'));
  return loaded.config;
}

function echo(id: string, host: string, families: readonly Family[]): Target {
  return { id, families, intervalMs: undefined, kind: 'icmp', host, sizeBytes: 0 };
}

function uplinkOf(config: Config, name: string): UplinkPolicy {
  const uplink = config.policy.uplinks.find((candidate) => candidate.name === name);
  assert.ok(uplink, `there is an uplink ${name}`);
  return uplink;
}

/** interval, failures, burst, down.after, up.successes */
function knobsOf(uplink: UplinkPolicy): readonly number[] {
  const { suspect, down, up } = uplink.health;
  return [uplink.probe.intervalMs, suspect.failures, suspect.burst, down.afterMs, up.successes];
}

test('the least config gets the documented defaults', () => {
  const config = configOf('uplinks: { fibre: { interface: eth0 } }');
  assert.deepEqual(config, {
    policy: {
      uplinks: [{
        name: 'fibre', slot: assignSlots(['fibre'], new Map()).get('fibre') ?? 0, interface: 'eth0', match: undefined, gateways: { 4: 'auto', 6: 'auto' }, priority: 1, weight: 1, metered: false,
        translate: { 4: { kind: 'masquerade' }, 6: { kind: 'masquerade' } }, prefix6: '', mss: 'auto',
        probe: {
          intervalMs: 1000, timeoutMs: 'auto', timeoutMinMs: 20, timeoutMaxMs: 2000, quorum: 1, rotate: 0, budgetBytes: undefined, passive: true,
          targets: [
            echo('gateway', 'gateway', [4, 6]), echo('icmp 1.1.1.1', '1.1.1.1', [4]), echo('icmp 9.9.9.9', '9.9.9.9', [4]),
            echo('icmp 2606:4700:4700::1111', '2606:4700:4700::1111', [6]), echo('icmp 2620:fe::fe', '2620:fe::fe', [6]),
            { id: 'hop 2', families: [4], intervalMs: undefined, kind: 'hop', host: '1.1.1.1', hops: 2 },
            { id: 'hop 2 (IPv6)', families: [6], intervalMs: undefined, kind: 'hop', host: '2606:4700:4700::1111', hops: 2 },
          ],
        },
        health: {
          suspect: { failures: 1, burst: 3 }, down: { afterMs: 2000 }, up: { successes: 5 },
          quality: { lossPercent: { down: 20, up: 5 }, latencyMs: { down: 500, up: 300 }, jitterMs: { down: Infinity, up: Infinity }, windowMs: 30_000 },
          damping: { halfLifeMs: 300_000, suppress: 3, reuse: 1 },
        },
      }],
      policies: [], flows: [], lanInterfaces: [], routed: [], failback: { mode: 'automatic', holdMs: 30_000, flows: 'keep', drainMs: 600_000 }, nat: { backend: 'auto' }, forwarding: { firewall: 'auto' }, stop: 'keep', markMask: 0x3f80,
    },
    api: { listen: undefined, tokens: undefined },
    files: ['config.yaml'],
  } satisfies Config);
});

test('every key arrives where it is meant', () => {
  const { policy, api } = configOf(`
uplinks:
  a:
    interface: eth0
    gateway: 198.51.100.1
    priority: 7
    weight: 256
    metered: true
    masquerade: false
    gateway6: fe80::1
    masquerade6: true
    prefix6: 2001:db8:1::/48
    mtu: 1492
    probe: { interval: 10s, timeout: 3s, timeoutMin: 5ms, timeoutMax: 4s, targets: [icmp: 8.8.8.8, icmp: 8.8.4.4], quorum: 2, rotate: 1, budget: 1.5MB, passive: false }
    health: { sensitivity: calm, suspect: { failures: 4, burst: 6 }, down: { after: 1m30s }, up: { successes: 9 }, quality: { loss: { down: 12.5%, up: 0.5% }, latency: { down: 2s, up: 1s }, jitter: { down: 80ms, up: 40ms }, window: 5m }, damping: { halfLife: 1h, suppress: 2.5, reuse: 0.5 } }
lan: { interfaces: [eth2, eth3], prefix6: fd00:1:2::/48, routed: [192.0.2.0/24, 2001:DB8:5::/64] }
failover: { mode: automatic }
failback: { mode: manual, hold: 2h, flows: move, drainDeadline: 5m }
nat: { backend: nftables }
forwarding: { firewall: off }
stop: restore
api: { listen: localhost:8080 }
kernel: { markMask: 0xfe000000 }
`);
  assert.deepEqual(policy.uplinks[0], {
    name: 'a', slot: assignSlots(['a'], new Map()).get('a') ?? 0, interface: 'eth0', match: undefined, gateways: { 4: { address: '198.51.100.1' }, 6: { address: 'fe80::1' } }, priority: 7, weight: 256, metered: true,
    translate: { 4: { kind: 'none' }, 6: { kind: 'masquerade' } }, prefix6: '2001:db8:1::/48', mss: 1452,
    probe: {
      intervalMs: 10_000, timeoutMs: 3000, timeoutMinMs: 5, timeoutMaxMs: 4000, quorum: 2, rotate: 1, budgetBytes: 1_500_000, passive: false,
      targets: [echo('icmp 8.8.8.8', '8.8.8.8', [4]), echo('icmp 8.8.4.4', '8.8.4.4', [4])],
    },
    health: {
      suspect: { failures: 4, burst: 6 }, down: { afterMs: 90_000 }, up: { successes: 9 },
      quality: { lossPercent: { down: 12.5, up: 0.5 }, latencyMs: { down: 2000, up: 1000 }, jitterMs: { down: 80, up: 40 }, windowMs: 300_000 },
      damping: { halfLifeMs: 3_600_000, suppress: 2.5, reuse: 0.5 },
    },
  });
  assert.deepEqual({ ...policy, uplinks: [] }, {
    uplinks: [], policies: [], flows: [], lanInterfaces: ['eth2', 'eth3'], routed: ['192.0.2.0/24', '2001:db8:5::/64'],
    failback: { mode: 'manual', holdMs: 7_200_000, flows: 'move', drainMs: 300_000 }, nat: { backend: 'nftables' }, forwarding: { firewall: 'off' }, stop: 'restore', markMask: 0xfe000000,
  });
  assert.deepEqual(api, { listen: { host: '127.0.0.1', port: 8080 }, tokens: undefined });
});

test('a sensitivity is a set of numbers; a written number wins over the word, one uplink over all', () => {
  const fibre = (rest: string): readonly number[] => knobsOf(uplinkOf(configOf(`uplinks: { fibre: { interface: eth0 } }\n${rest}`), 'fibre'));
  assert.deepEqual(fibre('health: { sensitivity: fast }'), [300, 1, 3, 300, 5]);
  assert.deepEqual(fibre('health: { sensitivity: balanced }'), [1000, 1, 3, 2000, 5]);
  assert.deepEqual(fibre('health: { sensitivity: calm }'), [1000, 2, 5, 10_000, 10]);
  assert.deepEqual(fibre('health: { sensitivity: fast, up: { successes: 3 } }\nprobe: { interval: 200ms }'), [200, 1, 3, 300, 3]);
  const mixed = configOf(`
uplinks:
  fibre: { interface: eth0 }
  lte: { interface: wwan0, probe: { interval: 30s }, health: { sensitivity: calm, suspect: { burst: 7 } } }
health: { sensitivity: fast, up: { successes: 3 } }
`);
  assert.deepEqual(knobsOf(uplinkOf(mixed, 'fibre')), [300, 1, 3, 300, 3]);
  assert.deepEqual(knobsOf(uplinkOf(mixed, 'lte')), [30_000, 2, 7, 10_000, 3]);
});

test('sections with all lines commented out are as good as none', () => {
  assert.deepEqual(configOf('uplinks:\n  a: { interface: eth0, probe: , health: }\nlan:\nprobe:\n  # interval: 3s\nhealth:\napi:\n').policy, configOf('uplinks: { a: { interface: eth0 } }').policy);
});

test('names keep the slots they had', () => {
  const { policy } = configOf('uplinks: { a: { interface: eth0 }, b: { interface: eth1 } }', '', new Map([['b', 99], ['gone', 5]]));
  assert.equal(policy.uplinks[1]?.slot, 99);
});

const PROFILE = `
uplinks:
  fibre: { interface: eth0, priority: 1 }
  lte: { interface: wwan0, gateway: none, priority: 2, metered: true, probe: { interval: 30s } }
lan: { interfaces: [eth1] }
probe: { interval: 2s, targets: [icmp: gateway, icmp: 8.8.8.8], quorum: 1 }
health: { sensitivity: calm, down: { after: 20s } }
failback: { hold: 5m }
`;

test('a config that only names a profile is the profile', () => {
  const own = configOf('profile: p', PROFILE);
  assert.deepEqual(own.policy, configOf(PROFILE).policy);
  assert.deepEqual(own.files, ['config.yaml', 'profile.yaml']);
});

test('a section with nothing in it leaves the profile\'s as it is', () => {
  assert.deepEqual(configOf('profile: p\nhealth:\nprobe: # later\nuplinks:\n', PROFILE).policy, configOf(PROFILE).policy);
});

test('what the config says wins over the profile: sections are merged, lists replaced', () => {
  const { policy } = configOf('profile: p\nprobe: { targets: [icmp: 9.9.9.9] }\nfailback: { mode: manual }\nlan: { interfaces: [br0] }', PROFILE);
  assert.deepEqual(policy.uplinks.map((uplink) => uplink.name), ['fibre', 'lte']);
  assert.deepEqual(policy.uplinks[0]?.probe.targets.map((target) => target.id), ['icmp 9.9.9.9']);
  assert.equal(policy.uplinks[0]?.probe.intervalMs, 2000);
  assert.deepEqual(policy.failback, { mode: 'manual', holdMs: 300_000, flows: 'keep', drainMs: 600_000 });
  assert.deepEqual(policy.lanInterfaces, ['br0']);
});

test('the devices of a profile are examples: named uplinks are all there are, and take from their namesakes', () => {
  const { policy } = configOf('profile: p\nuplinks:\n  dsl: { interface: ppp0, gateway: none, priority: 1 }\n  lte: { interface: usb0 }\n', PROFILE);
  assert.deepEqual(policy.uplinks.map((uplink) => [uplink.name, uplink.interface, uplink.priority, uplink.metered, uplink.probe.intervalMs]), [
    ['dsl', 'ppp0', 1, false, 2000], ['lte', 'usb0', 2, true, 30_000],
  ]);
  assert.deepEqual(policy.lanInterfaces, []);
});

test('policies of a profile speak of its own uplinks: they go with them', () => {
  const profile = `${PROFILE}policies: [ { name: backup, source: 192.168.1.7, use: lte } ]\n`;
  assert.deepEqual(configOf('profile: p', profile).policy.policies.map(({ name }) => name), ['backup']);
  assert.deepEqual(configOf('profile: p\nuplinks: { dsl: { interface: ppp0 } }', profile).policy.policies, []);
});

test('a sensitivity in the config puts aside the numbers of the profile that it stands for', () => {
  const { policy } = configOf('profile: p\nhealth: { sensitivity: fast }', PROFILE);
  assert.deepEqual(policy.uplinks.map(knobsOf), [[300, 1, 3, 300, 5], [30_000, 1, 3, 300, 5]]);
  assert.deepEqual(configOf('profile: p\nhealth: { up: { successes: 2 } }', PROFILE).policy.uplinks.map(knobsOf)[0], [2000, 2, 5, 20_000, 2]);
});

test('problems point into the file that holds the key, and at the config rather than the profile where both are concerned', () => {
  const loaded = compile(
    { file: 'config.yaml', text: 'profile: p\nuplinks: { fibre: { interface: eth1 } }\nlan: { interfaces: [eth1] }\nprobe: { targets: [icmp: 1.1.1.1] }\n' },
    () => ({ file: 'profile.yaml', text: `profile: other\nprobe: { quorum: 2 }\nstop: kep\n` }), new Map(),
  );
  assert.ok('problems' in loaded);
  assert.deepEqual(loaded.problems.map(showProblem), [
    'config.yaml:3: lan.interfaces[0]: `eth1` is the device of uplink `fibre` (line 2): a device is either an uplink or a LAN interface',
    'config.yaml:4: probe.targets: 2 targets beyond the gateway must answer, but only one is asked: add targets or write `quorum: 1` or less',
    'profile.yaml:1: profile: a profile cannot be built on another one: take `profile` away here',
    'profile.yaml:3: stop: `kep` is none of `keep` and `restore`: did you mean `keep`?',
  ]);
});
