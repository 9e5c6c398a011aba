/** Lines on which something particular does not work: a captive portal, names, large packets, our own prober; and where a silence broke. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Target, UplinkPolicy } from '../../src/model.js';
import { targetsOf, uplinkPolicy } from './fixture.js';
import { openLife, type Life } from './uplink-life.js';

const base = { families: [4], intervalMs: undefined } as const;
const dns = (host: string): Target => ({ ...base, kind: 'dns', id: `dns ${host}`, host, port: 53, name: 'example.com', expect: [] });
const page: Target = { ...base, kind: 'http', id: 'http http://a.example/', host: '', url: 'http://a.example/', resolvers: ['9.9.9.9'], status: 204, body: '', header: undefined };
const large: Target = { ...base, kind: 'icmp', id: 'icmp 1.1.1.1 size 1500', host: '1.1.1.1', sizeBytes: 1500, intervalMs: 1000 };
const hop: Target = { ...base, kind: 'hop', id: 'hop 2 to 1.1.1.1', host: '1.1.1.1', hops: 2, intervalMs: 1000 };

function withTargets(...targets: readonly Target[]): UplinkPolicy {
  const policy = uplinkPolicy('fibre');
  return { ...policy, probe: { ...policy.probe, targets } };
}

const icmp = targetsOf(['gateway', '1.1.1.1', '9.9.9.9']);
const ALL = (): number => 8;
const failing = (cause: 'portal' | 'dns' | 'answer' | 'prober', error: string, ...ids: readonly string[]): Life['answer'] =>
  ({ target }) => (ids.length === 0 || ids.includes(target) ? { cause, error } : 8);

test('a captive portal is named, with where it leads, and its end brings the line back within seconds', () => {
  const life = openLife(withTargets(...icmp, page), ALL).until(10_000);
  life.answer = failing('portal', 'redirected to http://login.hotel.example', page.id);
  life.until(14_000);
  assert.deepEqual([life.verdict().state, life.verdict().domain], ['degraded', 'portal']);
  assert.equal(life.verdict().because, 'a captive portal is in the way: redirected to http://login.hotel.example');
  const told = life.verdict().evidence.find(({ name }) => name === page.id)!;
  assert.deepEqual([told.witness, told.says, told.text], ['target', 'wrong', 'redirected to http://login.hotel.example']);
  life.answer = ALL;
  life.until(18_000);
  assert.deepEqual([life.verdict().state, life.verdict().because], ['up', 'works well again']);
});

test('a portal once is no portal, and none is in the way while another page answers as it should', () => {
  const other: Target = { ...page, id: 'http http://b.example/', url: 'http://b.example/' };
  const once = openLife(withTargets(...icmp, page), ({ target, seq }) => (target === page.id && seq === 12 ? { cause: 'portal', error: 'redirected' } : 8)).until(30_000);
  assert.equal(once.verdict().state, 'up', once.history.join('\n'));
  const two = openLife(withTargets(...icmp, page, other), ALL).until(10_000);
  two.answer = failing('portal', 'redirected', page.id);
  two.until(60_000);
  assert.equal(two.verdict().state, 'up', two.history.join('\n'));
});

test('where pages are all that is asked, a portal is a silence of domain portal', () => {
  const life = openLife(withTargets(page), ALL).until(10_000);
  life.answer = failing('portal', 'redirected to http://login.hotel.example');
  life.until(30_000);
  assert.deepEqual([['down', 'degraded'].includes(life.verdict().state), life.verdict().domain], [true, 'portal'], life.history.join('\n'));
});

test('names: two resolvers that fail are a fault of the line, one alone is his own', () => {
  const both = openLife(withTargets(...icmp, dns('9.9.9.9'), dns('8.8.8.8')), ALL).until(10_000);
  both.answer = ({ target }) => (target.startsWith('dns') ? undefined : 8);
  both.until(20_000);
  assert.deepEqual([both.verdict().state, both.verdict().domain], ['degraded', 'dns'], both.history.join('\n'));
  assert.equal(both.verdict().because, 'names cannot be looked up: dns 9.9.9.9, dns 8.8.8.8 fail');
  both.answer = ALL;
  both.until(30_000);
  assert.equal(both.verdict().state, 'up');
  const one = openLife(withTargets(...icmp, dns('9.9.9.9'), dns('8.8.8.8')), ALL).until(10_000);
  one.answer = ({ target }) => (target === 'dns 9.9.9.9' ? undefined : 8);
  one.until(60_000);
  assert.equal(one.verdict().state, 'up', one.history.join('\n'));
});

test('large packets that vanish while small ones pass: the MTU; nothing hangs on them but that', () => {
  const life = openLife(withTargets(...icmp, large), ALL).until(10_000);
  life.answer = ({ target }) => (target === large.id ? undefined : 8);
  life.until(20_000);
  assert.deepEqual([life.verdict().state, life.verdict().domain, life.health.suspicions], ['degraded', 'mtu', 0], life.history.join('\n'));
  assert.equal(life.verdict().because, 'packets of 1500 bytes get no answer from 1.1.1.1, small ones do');
  life.answer = ALL;
  life.until(30_000);
  assert.equal(life.verdict().state, 'up');
  const never = openLife(withTargets(...icmp, large), ({ target }) => (target === large.id ? undefined : 8)).until(60_000);
  assert.equal(never.verdict().state, 'up', 'a host that never answered to large ones proves nothing');
});

test('one impairment after the other is restated, and is one penalty', () => {
  const life = openLife(withTargets(...icmp, page, large), ALL).until(10_000);
  life.answer = ({ target }) => (target === large.id ? undefined : 8);
  life.until(20_000).answer = ({ target }) => (target === page.id ? { cause: 'portal', error: 'redirected' } : 8);
  life.until(30_000);
  assert.deepEqual([life.verdict().state, life.verdict().domain], ['degraded', 'portal'], life.history.join('\n'));
  assert.ok(life.health.penalty <= 1);
});

test('where it broke: the gateway, the first hops, or beyond them', () => {
  const cases = [
    [['gateway', hop.id, 'icmp 1.1.1.1', 'icmp 9.9.9.9'], 'gateway', /; the gateway is silent too$/],
    [[hop.id, 'icmp 1.1.1.1', 'icmp 9.9.9.9'], 'hops', /; the gateway answers, the first router beyond it does not$/],
    [['icmp 1.1.1.1', 'icmp 9.9.9.9'], 'upstream', /; the first router beyond the gateway answers$/],
  ] as const;
  for (const [mute, domain, words] of cases) {
    const life = openLife(withTargets(...icmp, hop), ALL).until(12_995);
    life.answer = ({ target }) => ((mute as readonly string[]).includes(target) ? undefined : 8);
    life.until(20_000);
    assert.deepEqual([life.verdict().state, life.verdict().domain], ['down', domain], life.history.join('\n'));
    assert.match(life.verdict().because, words);
    const silent = life.verdict().evidence.filter(({ says }) => says === 'silent').map(({ name }) => name);
    assert.deepEqual(silent.toSorted(), mute.toSorted());
  }
});

test('hops and large packets alone never make a line suspect, and keep none alive', () => {
  const life = openLife(withTargets(...icmp, hop, large), ALL).until(10_000);
  life.answer = ({ target }) => (target === hop.id || target === large.id ? undefined : 8);
  life.until(60_000);
  assert.equal(life.health.suspicions, 0);
  assert.ok(life.sent.filter((probe) => probe.at > 10_000 && probe.target === 'icmp 1.1.1.1').length <= 51, 'nor is anybody asked because of them');
  life.answer = ({ target }) => (target === hop.id || target === large.id ? 8 : undefined);
  life.until(70_000);
  assert.equal(life.verdict().state, 'down');
});

test('our own prober fails: the state stays as it is, nothing is known, and it is said', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(10_000);
  life.answer = failing('prober', 'EMFILE: too many open files');
  life.until(100_000);
  assert.deepEqual([life.verdict().state, life.verdict().domain, life.health.suspicions], ['up', 'prober', 0], life.history.join('\n'));
  assert.equal(life.verdict().because, 'cannot ask: EMFILE: too many open files; nothing is known of the line');
  assert.deepEqual(new Set(life.verdict().evidence.map(({ says, text }) => `${says}: ${text}`)), new Set(['nothing: could not be asked (EMFILE: too many open files)']));
  life.answer = ALL;
  life.until(110_000);
  assert.deepEqual([life.verdict().state, life.verdict().domain], ['up', 'none']);
});

test('our own prober fails while a suspicion is open: nobody dies of it', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(12_995);
  life.answer = () => undefined;
  life.until(13_800);
  assert.equal(life.verdict().state, 'suspect');
  life.answer = failing('prober', 'EMFILE: too many open files');
  life.until(60_000);
  assert.deepEqual([life.verdict().state, life.health.downs, life.verdict().domain], ['suspect', 0, 'prober'], life.history.join('\n'));
  life.answer = ALL;
  life.until(61_000);
  assert.equal(life.verdict().state, 'up');
});

test('our own prober fails for a while, and what it finds then is judged as if it had begun there', () => {
  for (const begun of ['suspect', 'unknown'] as const) {
    const life = openLife(uplinkPolicy('fibre'), begun === 'unknown' ? failing('prober', 'EMFILE') : ALL);
    if (begun === 'suspect') {
      life.until(12_995).answer = () => undefined;
      life.until(13_800).answer = failing('prober', 'EMFILE');
    }
    life.until(40_000);
    assert.deepEqual([life.verdict().state, life.verdict().domain], [begun, 'prober']);
    life.answer = () => undefined;
    life.until(41_000);
    assert.equal(life.verdict().state, begun, 'what could not be asked was no silence; what was asked before and after is');
    life.until(46_500);
    assert.equal(life.verdict().state, 'down', life.history.join('\n'));
  }
});

test('our own prober fails just when a reply is missed: a burst that could not be sent proves nothing', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(12_995);
  const from = life.sent.length;
  life.answer = ({ target }) => (life.sent.length <= from + 1 ? undefined : { cause: 'prober', error: `EMFILE ${target}` });
  life.until(20_000);
  assert.deepEqual([life.verdict().state, life.health.suspicions], ['up', 0], life.history.join('\n'));
});

test('our own prober fails under traffic that stutters: counts alone are no verdict', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL);
  life.traffic = { sent: 500, answered: 500 };
  life.until(20_000).answer = failing('prober', 'EMFILE: too many open files');
  life.until(24_000).traffic = { sent: 500, answered: 0 };
  life.until(30_000);
  assert.deepEqual([life.verdict().state, life.health.suspicions], ['up', 0], life.history.join('\n'));
});

test('an error that is the line\'s counts as silence, and is told in the evidence', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL).until(12_995);
  life.answer = () => ({ cause: 'unreachable', error: 'EHOSTUNREACH: no way there, says 198.51.100.1' });
  life.until(16_000);
  assert.equal(life.verdict().state, 'down');
  assert.ok(life.verdict().evidence.every(({ says, text }) => says === 'silent' && text.includes('EHOSTUNREACH')), JSON.stringify(life.verdict().evidence));
});

test('errors of the network are hearsay: whoever may take a second to answer is given it, whatever comes before the answer', () => {
  const policy = uplinkPolicy('fibre');
  const life = openLife({ ...policy, probe: { ...policy.probe, timeoutMs: 1000 } }, ALL).until(20_000);
  life.answer = () => ({ cause: 'unreachable', error: 'host unreachable (ICMP 3/1), says 203.0.113.66', answeredMs: 400 });
  life.until(60_000);
  assert.deepEqual([life.verdict().state, life.health.suspicions], ['up', 0], life.history.join('\n'));
});

test('every verdict but the first carries evidence', () => {
  const life = openLife(uplinkPolicy('fibre'), ALL);
  const seen: string[] = [];
  for (let ms = 8; ms < 40_000; ms += 50) {
    life.until(ms);
    if (ms > 10_000) life.answer = ms < 20_000 ? () => undefined : ALL;
    const { state, evidence } = life.verdict();
    seen.push(state);
    assert.ok(evidence.length > 0 && evidence.every(({ name, text }) => name !== '' && text !== ''), `${ms} ${state}`);
  }
  assert.deepEqual([...new Set(seen)], ['up', 'suspect', 'down']);
});
