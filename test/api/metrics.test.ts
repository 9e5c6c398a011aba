/** GET /metrics by inject. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask } from './asking.js';
import { fibre, healthy, instant, openWorld } from './fixture.js';

test('metrics tell uplinks, targets, decision, kernel, override and build', async () => {
  const world = openWorld();
  const answer = await ask(world, 'GET', '/metrics');
  assert.equal(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  const lines = answer.text.split('\n');
  for (const line of [
    `uplinkd_build_info{version="0.1.0",node="${process.versions.node}"} 1`,
    'uplinkd_start_time_seconds 1714564800',
    'uplinkd_generation 7',
    'uplinkd_active_uplinks 1',
    'uplinkd_last_resort 0',
    'uplinkd_override_active 0',
    'uplinkd_kernel_in_sync 1',
    'uplinkd_kernel_repairs_total 3',
    'uplinkd_sysctls_in_sync 0',
    'uplinkd_host_problems 1',
    'uplinkd_uplink_up{uplink="fibre",interface="eth0"} 1',
    'uplinkd_uplink_up{uplink="cable",interface="eth1"} 0',
    'uplinkd_uplink_state{uplink="cable",interface="eth1",state="down"} 1',
    'uplinkd_uplink_state{uplink="cable",interface="eth1",state="up"} 0',
    'uplinkd_uplink_probe_last_day_bytes{uplink="cable",interface="eth1"} 4000000',
    'uplinkd_uplink_probe_budget_bytes{uplink="cable",interface="eth1"} 5000000',
    'uplinkd_uplink_outside_verdicts{uplink="cable",interface="eth1",state="down"} 1',
    'uplinkd_uplink_outside_verdicts{uplink="cable",interface="eth1",state="up"} 0',
    'uplinkd_uplink_outside_verdicts{uplink="fibre",interface="eth0",state="down"} 0',
    'uplinkd_uplink_suspicions_total{uplink="fibre",interface="eth0"} 2',
    'uplinkd_uplink_downs_total{uplink="fibre",interface="eth0"} 1',
    'uplinkd_target_rtt_seconds{uplink="fibre",interface="eth0",family="4",target="gateway"} 0.00421875',
    'uplinkd_target_loss_ratio{uplink="cable",interface="eth1",family="4",target="icmp 1.1.1.1"} 1',
    'uplinkd_target_loss_ratio{uplink="fibre",interface="eth0",family="4",target="gateway"} 0',
  ]) assert.ok(lines.includes(line), `${line}\n--- in ---\n${answer.text}`);
  assert.doesNotMatch(answer.text, /rtt_seconds.*1\.1\.1\.1/, 'what was never measured has no sample');
  for (const line of lines.filter((one) => one !== '')) assert.match(line, /^(# (HELP|TYPE) uplinkd_[a-z_]+ \S.*|uplinkd_[a-z_]+(\{[a-z_]+="[^\n]*"\})? [-0-9.e]+)$/);
});

test('metrics escape what could break a label, and tell the override', async () => {
  const world = openWorld();
  const odd = { ...fibre, uplink: 'a"b\\c\nd' };
  world.status = { ...healthy, uplinks: [odd], host: undefined, override: { uplink: odd.uplink, until: undefined, confirmBy: undefined, reason: '', by: '', since: instant(0), ifDead: 'obey' } };
  const { text } = await ask(world, 'GET', '/metrics');
  assert.match(text, /^uplinkd_uplink_up\{uplink="a\\"b\\\\c\\nd",interface="eth0"\} 1$/m);
  assert.match(text, /^uplinkd_override_info\{uplink="a\\"b\\\\c\\nd",if_dead="obey"\} 1$/m);
  assert.doesNotMatch(text, /^uplinkd_nat_in_sync /m, 'not known, no sample');
});

test('metrics tell the figures of each family that a verdict hangs on, in base units', async () => {
  const world = openWorld();
  const { text } = await ask(world, 'GET', '/metrics');
  const lines = text.split('\n');
  const [of, bad] = ['{uplink="fibre",interface="eth0",family="4"}', '{uplink="cable",interface="eth1",family="4"}'];
  for (const line of [
    `uplinkd_uplink_family_loss_ratio${of} 0.0125`, `uplinkd_uplink_family_latency_seconds${of} 0.01234567`, `uplinkd_uplink_family_jitter_seconds${of} 0.0005`,
    `uplinkd_uplink_family_busy${of} 0`, `uplinkd_uplink_family_busy${bad} 1`, `uplinkd_uplink_family_penalty${of} 0.25`, `uplinkd_uplink_family_penalty${bad} 3.5`,
    `uplinkd_uplink_family_suppressed${of} 0`, `uplinkd_uplink_family_suppressed${bad} 1`, `uplinkd_uplink_family_hold_seconds${bad} 120`,
    `uplinkd_uplink_family_sent_packets_per_second${of} 120`, `uplinkd_uplink_family_answered_packets_per_second${of} 96.5`,
    `uplinkd_uplink_family_sent_bytes_per_second${of} 30000`, `uplinkd_uplink_family_answered_bytes_per_second${of} 90000`,
    'uplinkd_uplink_family_fault_info{uplink="cable",interface="eth1",family="4",domain="upstream"} 1',
  ]) assert.ok(lines.includes(line), `${line}\n--- in ---\n${text}`);
  for (const absent of [`family_latency_seconds${bad}`, `packets_per_second${bad}`, 'fault_info{uplink="fibre"', 'budget_bytes{uplink="fibre"']) assert.ok(!text.includes(absent), `what is not known has no sample: ${absent}`);
  world.status = { ...healthy, uplinks: [{ ...fibre, families: fibre.families.map((part) => ({ ...part, state: 'degraded' as const })) }] };
  const degraded = (await ask(world, 'GET', '/metrics')).text;
  assert.match(degraded, /^uplinkd_uplink_family_state\{.*state="degraded"\} 1$/m);
  assert.match(degraded, /^uplinkd_uplink_family_up\{.*\} 1$/m, 'it answers');
});

test('every metric has one name, help and type, counters and only counters end in _total, and no unit is abbreviated', async () => {
  const { text } = await ask(openWorld(), 'GET', '/metrics');
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => ({ name: name!, type: type! }));
  assert.ok(types.length > 40);
  assert.equal(new Set(types.map(({ name }) => name)).size, types.length);
  for (const { name, type } of types) {
    assert.equal(name.endsWith('_total'), type === 'counter', name);
    assert.doesNotMatch(name, /_(ms|s|sec|percent|kb|mb|milliseconds|kilobytes|gauge|counter)(_|$)/);
  }
});
