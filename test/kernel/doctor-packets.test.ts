/**
 * What the doctor says of strict reverse path filters, with real packets: a LAN connection that stays on the uplink that is not
 * active is lost under them, and lives again once the remedy is typed in. The routing is ours, drawn by hand.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { examine } from '../../src/kernel/doctor/examine.js';
import { only, question } from './doctor-ground.js';
import { inNamespaces, nft, openGround, out, SERVER, steer } from './nat-ground.js';

inNamespaces(import.meta.url, 'strict reverse path filters and running connections', () => {
  test('by sysctl and by nft', async (t) => {
    const ground = await openGround();
    t.after(() => ground.end());
    out('sysctl', '-qw', 'net.ipv4.ip_forward=1');
    steer(0, '9400');
    steer(1, '9402');
    for (const rule of ['lookup main suppress_prefixlength 0 priority 9450', 'fwmark 0x100/0x3f80 lookup 9402 priority 9500', 'lookup 9400 priority 9600']) out('ip', 'rule', 'add', ...rule.split(' '));
    nft(`table inet uplinkd {
      chain leave { type nat hook postrouting priority srcnat - 5; oifname { "wan0", "wan1" } masquerade; };
      chain arrive { type filter hook prerouting priority mangle; iifname "lan0" meta mark set meta mark & 0xffffc07f | 0x100; }; }`);
    assert.equal(await ground.client.ask('a', SERVER), '203.0.113.2');
    assert.deepEqual((await examine(question())).filter((finding) => finding.subject === 'rp_filter'), []);

    out('sysctl', '-qw', 'net.ipv4.conf.wan1.rp_filter=1');
    assert.equal(await ground.unanswered(ground.client, 'a', SERVER), '');
    const [command = ''] = only((await examine(question())).filter((finding) => finding.subject === 'rp_filter'), 'rp_filter').remedy.split('\n');
    const [program = '', ...args] = command.split(' ');
    out(program, ...args);
    assert.equal(await ground.client.ask('a', SERVER), '203.0.113.2');

    const early = (rule: string): void => nft(`table inet own { chain early { type filter hook prerouting priority filter + 10; }; }\nflush table inet own\nadd rule inet own early ${rule}`);
    early('meta nfproto ipv4 fib saddr . mark . iif oif missing drop');
    assert.equal(await ground.unanswered(ground.client, 'a', SERVER), '');
    const { remedy } = only((await examine(question())).filter((finding) => finding.subject === 'rp_filter'), 'rp_filter');
    const [rule = ''] = /fib .*/.exec(remedy) ?? [];
    early(rule);
    assert.equal(await ground.client.ask('a', SERVER), '203.0.113.2');
  });
});
