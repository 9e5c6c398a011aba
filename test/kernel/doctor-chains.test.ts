/** Rule sets as text to chains, and packets tried on them in thought. Programs' real output is in doctor-live.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decides, fateIn, isOurs, type FilterChain, type Specimen } from '../../src/kernel/doctor/chains.js';
import { chainsOfSave } from '../../src/kernel/doctor/iptables-chains.js';
import { chainsOfNft } from '../../src/kernel/doctor/nft-chains.js';

const OUT: Specimen = { family: 4, from: 'lan0', to: 'wan0', state: 'new' };

function fate(chains: readonly FilterChain[], packet = OUT): string {
  const base = chains.find((chain) => chain.hook === 'forward');
  assert.ok(base !== undefined);
  const { accept, drop } = fateIn(base, chains, packet);
  return [accept ? 'accept' : '', drop ? 'drop' : ''].filter((word) => word !== '').join(' or ');
}

function saved(policy: string, ...rules: string[]): readonly FilterChain[] {
  return chainsOfSave(['*filter', `:FORWARD ${policy} [0:0]`, ':mine - [0:0]', ...rules.map((rule) => `-A ${rule}`), 'COMMIT'].join('\n'), 'ip');
}

function nft(policy: string, ...rules: object[][]): readonly FilterChain[] {
  const at = { family: 'inet', table: 't' };
  return chainsOfNft(JSON.stringify({
    nftables: [{ metainfo: {} }, { chain: { ...at, name: 'f', type: 'filter', hook: 'forward', prio: 0, policy } }, ...rules.map((expr) => ({ rule: { ...at, chain: 'f', expr } }))],
  })).chains;
}

const match = (left: object, right: unknown, op = '=='): object => ({ match: { op, left, right } });
const meta = (key: string): object => ({ meta: { key } });

test('iptables: interfaces, states, negation, wildcards, comments with spaces', () => {
  assert.equal(fate(saved('DROP')), 'drop');
  assert.equal(fate(saved('ACCEPT')), 'accept');
  assert.equal(fate(saved('DROP', 'FORWARD -i lan+ -o wan0 -m comment --comment "let -j DROP \\"it\\" out" -j ACCEPT')), 'accept');
  assert.equal(fate(saved('DROP', 'FORWARD ! -i lan0 -j ACCEPT')), 'drop');
  assert.equal(fate(saved('DROP', 'FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT')), 'drop');
  assert.equal(fate(saved('DROP', 'FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT'), { ...OUT, state: 'established' }), 'accept');
  assert.equal(fate(saved('DROP', 'FORWARD -m conntrack --ctstate DNAT -j ACCEPT')), 'drop');
});

test('iptables: what depends on addresses or ports may go either way', () => {
  for (const rule of ['-s 10.0.0.0/24', '-p tcp -m tcp --dport 80', '-m set --match-set lan src']) assert.equal(fate(saved('DROP', `FORWARD ${rule} -j ACCEPT`)), 'accept or drop', rule);
  assert.equal(fate(saved('ACCEPT', 'FORWARD -d 192.0.2.1/32 -j REJECT --reject-with icmp-port-unreachable')), 'accept or drop');
});

test('jumps come back, gotos do not, and a return ends a chain', () => {
  assert.equal(fate(saved('DROP', 'FORWARD -j mine', 'FORWARD -j ACCEPT', 'mine -i wan0 -j ACCEPT')), 'accept');
  assert.equal(fate(saved('DROP', 'FORWARD -g mine', 'FORWARD -j ACCEPT', 'mine -i wan0 -j ACCEPT')), 'drop');
  assert.equal(fate(saved('ACCEPT', 'FORWARD -j mine', 'mine -i lan0 -j RETURN', 'mine -j DROP')), 'accept');
  assert.equal(fate(saved('ACCEPT', 'FORWARD -s 10.0.0.1/32 -j mine', 'mine -j DROP')), 'accept or drop');
});

test('nft: verdicts, states, families, DNAT and what is not understood', () => {
  assert.equal(fate(nft('drop', [match(meta('iifname'), { set: ['lan0', 'lan1'] }), match(meta('oifname'), 'wan*'), { accept: null }])), 'accept');
  assert.equal(fate(nft('accept', [{ counter: null }, { reject: { type: 'icmpx', expr: 'admin-prohibited' } }])), 'drop');
  assert.equal(fate(nft('drop', [match({ ct: { key: 'state' } }, ['established', 'related'], 'in'), { accept: null }])), 'drop');
  assert.equal(fate(nft('drop', [match({ ct: { key: 'state' } }, 'established', '!='), { accept: null }])), 'accept');
  assert.equal(fate(nft('drop', [match(meta('nfproto'), 'ipv6'), { accept: null }])), 'drop');
  assert.equal(fate(nft('drop', [match({ ct: { key: 'status' } }, 'dnat', 'in'), { accept: null }])), 'drop');
  assert.equal(fate(nft('drop', [match(meta('iifname'), '@lans'), { accept: null }])), 'accept or drop');
  assert.equal(fate(nft('accept', [{ limit: { rate: 1 } }, { drop: null }])), 'accept or drop');
  assert.equal(fate(nft('drop', [{ vmap: { key: meta('iifname'), data: '@by_zone' } }])), 'accept or drop');
});

test('who decides which strangers get in: by verdicts, not by rules', () => {
  const stranger: Specimen = { family: 4, from: 'wan0', to: 'lan0', state: 'new' };
  const deciding = (chains: readonly FilterChain[]): boolean => decides(chains[0]!, chains, [stranger]);
  const from = (address: string): object => match({ payload: { protocol: 'ip', field: 'saddr' } }, address);
  const offload = [match(meta('l4proto'), { set: ['tcp', 'udp'] }), { flow: { op: 'add', flowtable: '@ft' } }];
  for (const idle of [
    nft('accept', offload), nft('accept', [{ counter: null }], [{ log: {} }], [{ accept: null }]), nft('accept', [from('192.0.2.9'), { drop: null }]),
    nft('accept', [match({ ct: { key: 'state' } }, 'invalid'), { drop: null }]), nft('accept', [match(meta('iifname'), 'lan0'), { drop: null }]),
    saved('ACCEPT', 'FORWARD -j LOG'), saved('ACCEPT', 'FORWARD -j UPLINKD_FWD'), saved('ACCEPT', 'FORWARD -j mine', 'mine -i docker0 -j DROP'),
  ]) assert.equal(deciding(idle), false);
  for (const rules of [
    nft('drop', offload), nft('accept', [{ drop: null }]), nft('accept', [from('192.0.2.9'), { accept: null }], [from('192.0.2.0'), { drop: null }]), nft('accept', [{ queue: null }]),
    saved('DROP'), saved('ACCEPT', 'FORWARD -j mine', 'mine -i wan0 -j REJECT --reject-with icmp-port-unreachable'), saved('ACCEPT', 'FORWARD -j NFQUEUE --queue-num 0'),
  ]) assert.equal(deciding(rules), true);
});

test('the way back: every way of writing it, strict and loose', () => {
  const fib = (flags: string[], right: unknown, op?: string): object => match({ fib: { result: 'oif', flags } }, right, op);
  const wayBack = (expression: object): unknown => nft('accept', [expression, { drop: null }])[0]!.rules[0]!.conditions[0];
  for (const missing of [fib(['saddr', 'iif'], false), fib(['saddr', 'mark', 'iif'], 0), fib(['saddr', 'iif'], true, '!=')]) assert.deepEqual(wayBack(missing), { is: 'way back', strict: true, not: true });
  for (const there of [fib(['saddr', 'iif'], true), fib(['saddr', 'iif'], 0, '!=')]) assert.deepEqual(wayBack(there), { is: 'way back', strict: true, not: false });
  assert.deepEqual(wayBack(fib(['saddr', 'mark'], false)), { is: 'way back', strict: false, not: true });
  assert.deepEqual(wayBack(match({ fib: { result: 'type', flags: ['saddr'] } }, 'local')), { is: 'other' });
  assert.deepEqual(saved('ACCEPT', 'FORWARD -m rpfilter --loose --invert -j DROP')[0]!.rules[0]!.conditions, [{ is: 'way back', strict: false, not: true }]);
  assert.deepEqual(saved('ACCEPT', 'FORWARD -m rpfilter --validmark -j RETURN')[0]!.rules[0]!.conditions, [{ is: 'way back', strict: true, not: false }]);
});

test('which bits of the mark are written and read', () => {
  const mark = meta('mark');
  const written = (value: unknown): number[] => nft('accept', [{ mangle: { key: mark, value } }])[0]!.rules[0]!.marks.map((use) => use.bits);
  assert.deepEqual(written(16), [0xffffffff]);
  assert.deepEqual(written({ '|': [mark, 16] }), [16]);
  assert.deepEqual(written({ '|': [{ '&': [mark, 0xffffff00] }, 0x12] }), [0xff]);
  assert.deepEqual(written({ '&': [{ ct: { key: 'mark' } }, 255] }), [0xffffffff]);
  assert.deepEqual(nft('accept', [match({ '&': [mark, 0xff0000] }, 0x80000)])[0]!.rules[0]!.marks.map(({ what, bits }) => [what, bits]), [['reads', 0xff0000]]);
  const marksOf = (rule: string): unknown => saved('ACCEPT', `FORWARD ${rule}`)[0]!.rules[0]!.marks.map(({ what, bits }) => [what, bits]);
  assert.deepEqual(marksOf('-m mark --mark 0x80000/0xff0000 -j MARK --set-xmark 0x4000/0x4000'), [['reads', 0xff0000], ['writes', 0x4000]]);
  assert.deepEqual(marksOf('-m mark --mark 0x1 -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xffff'), [['reads', 0xffffffff], ['writes', 0xffff]]);
  assert.deepEqual(marksOf('-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xffff'), [['writes', 0xff]]);
});

test('our own table and chains are ours, tables of iptables-nft with extensions are left to iptables-save', () => {
  assert.deepEqual([{ table: 'uplinkd', name: 'stamp' }, { table: 'uplinkd_count', name: 'passing' }, { table: 'mangle', name: 'UPLINKD_PRE' }, { table: 'mangle', name: 'PREROUTING' }].map(isOurs), [true, true, true, false]);
  const at = { family: 'ip', table: 'filter' };
  const listed = chainsOfNft(JSON.stringify({ nftables: [{ chain: { ...at, name: 'FORWARD', type: 'filter', hook: 'forward', policy: 'drop' } }, { rule: { ...at, chain: 'FORWARD', expr: [{ xt: { type: 'match', name: 'set' } }, { accept: null }] } }] }));
  assert.deepEqual([listed.chains, listed.iptablesTables], [[], [at]]);
});
