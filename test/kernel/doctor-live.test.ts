/**
 * The doctor in a real network namespace: real sysctls, rule sets, bridges and processes. Remedies are typed in as they stand,
 * and must make the finding go away; what they write below /etc is written below /run, which is a tmpfs.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterEach, before, test } from 'node:test';
import { culprit } from '../../src/kernel/doctor/culprit.js';
import { examine } from '../../src/kernel/doctor/examine.js';
import { openHost } from '../../src/kernel/host.js';
import { openRtnetlink } from '../../src/kernel/netlink/rtnetlink.js';
import type { Finding } from '../../src/model.js';
import { only, question, told } from './doctor-ground.js';
import { batch, inNamespaces, nft, out } from './nat-ground.js';

const WATCHED = ['rp_filter', 'forwarding', 'linkdown', 'firewall', 'docker', 'ufw', 'marks', 'devices', 'rules', 'tables', 'default routes'];

async function seen(more: Parameters<typeof question>[0] = {}): Promise<readonly Finding[]> {
  return (await examine(question(more))).filter((finding) => WATCHED.includes(finding.subject));
}

/** Types the lines of a remedy that are commands; prose is left out. */
function type(remedy: string): void {
  const commands = remedy.replaceAll('/etc/', '/run/etc/').replace(/<<'EOF'[^]*?\nEOF\n?/g, (text) => text.replaceAll('\n', '\0')).split('\n')
    .filter((line) => /^(ip6?tables(-\w+)?|nft|ip|sysctl|mkdir|cat) /.test(line)).map((line) => line.replaceAll('\0', '\n'));
  assert.notEqual(commands.length, 0, remedy);
  execFileSync('sh', ['-e'], { input: commands.join('\n') });
}

async function isCured(finding: Finding): Promise<void> {
  type(finding.remedy);
  assert.deepEqual(told(await seen()), [], finding.remedy);
}

inNamespaces(import.meta.url, 'the doctor, in a namespace', () => {
  before(() => {
    out('mount', '-t', 'sysfs', 'sysfs', '/sys');
    batch('router', ['lan0', 'wan0', 'wan1'].map((device) => `link add ${device} type veth peer name ${device}-far`));
    out('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', ...['wan0', 'wan1'].flatMap((device) => [`net.ipv4.conf.${device}.rp_filter=2`, `net.ipv4.conf.${device}.ignore_routes_with_linkdown=1`]));
  });
  afterEach(() => {
    out('nft', 'flush', 'ruleset');
    if (readFileSync('/proc/net/ip_tables_names', 'utf8').includes('filter')) {
      execFileSync('iptables-legacy-restore', { input: '*filter\n:FORWARD ACCEPT\nCOMMIT\n' });
    }
  });

  test('a router that is well has nothing to be told', async () => {
    assert.deepEqual(told(await seen()), []);
    assert.equal(out('nft', 'list', 'ruleset'), '', 'looking leaves nothing behind');
  });

  test('strict reverse path: by sysctl, which its remedy sets and keeps', async () => {
    out('sysctl', '-qw', 'net.ipv4.conf.wan1.rp_filter=1');
    const found = only(await seen(), 'rp_filter');
    await isCured(found);
    assert.equal(readFileSync('/run/etc/sysctl.d/90-uplinkd.conf', 'utf8'), 'net.ipv4.conf.wan1.rp_filter = 2\n');
  });

  test('strict reverse path: by nft, in both ways of writing it, but not the loose one', async () => {
    for (const [policy, rule] of [['accept', 'fib saddr . mark . iif oif missing drop'], ['drop', 'fib saddr . iif oif exists accept']]) {
      nft(`table inet own { chain early { type filter hook prerouting priority filter + 10; policy ${policy}; ${rule}; }; }`);
      assert.match(only(await seen(), 'rp_filter').text, /^Table inet own, chain early drops/);
      out('nft', 'flush', 'ruleset');
    }
    nft('table inet own { chain early { type filter hook prerouting priority filter + 10; fib saddr . mark oif missing drop; }; }');
    assert.deepEqual(told(await seen()), []);
    out('iptables-nft', '-t', 'mangle', '-A', 'PREROUTING', '-m', 'rpfilter', '--invert', '-j', 'DROP');
    assert.match(only(await seen(), 'rp_filter').remedy, /-m rpfilter --loose --invert/);
  });

  for (const program of ['iptables-nft', 'iptables-legacy']) {
    test(`a FORWARD that drops what it does not know (${program}), until its remedy is typed in`, async () => {
      out(program, '-P', 'FORWARD', 'DROP');
      const found = only(await seen(), 'firewall');
      assert.equal(found.level, 'error');
      assert.match(found.text, /drops new connections from lan0 to wan0 \(IPv4\) and lan0 to wan1 \(IPv4\) and answers from wan0 to lan0/);
      // The plain name is one of the two.
      type(found.remedy.replaceAll('iptables ', `${program} `));
      assert.deepEqual(told(await seen()), []);
    });
  }

  test('Docker’s and ufw’s own chains are known, and rules that nobody can judge are not blamed', async () => {
    execFileSync('iptables-nft-restore', ['--noflush'], { input: '*filter\n:FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\nCOMMIT\n' });
    const docker = only(await seen(), 'docker');
    assert.match(docker.remedy, /^iptables -I DOCKER-USER -i lan0 -o wan0 -j ACCEPT\n/);
    type(docker.remedy.split('To keep')[0]!);
    assert.deepEqual(told(await seen()), []);
    out('iptables-nft', '-F', 'DOCKER-USER');
    out('iptables-nft', '-A', 'DOCKER-USER', '-s', '10.0.0.0/24', '-j', 'ACCEPT');
    out('iptables-nft', '-A', 'FORWARD', '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', '-j', 'ACCEPT');
    assert.deepEqual(told(await seen()), []);
    for (const line of ['-N ufw-before-forward', '-F DOCKER-USER', '-D FORWARD -j DOCKER-USER', '-X DOCKER-USER']) out('iptables-nft', ...line.split(' '));
    assert.equal(only(await seen(), 'ufw').remedy, 'ufw route allow in on lan0 out on wan0\nufw route allow in on lan0 out on wan1');
  });

  test('an nft chain of one’s own: jumps, maps and sets are followed; the remedy opens it', async () => {
    const chain = (rules: string): string => `table inet mine {
      chain good { ${rules}; }
      chain more { iifname vmap { "lan0" : jump good, "wan0" : drop }; reject; }
      chain through { type filter hook forward priority filter; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        jump more; }; }`;
    nft(chain('oifname { "wan0", "tun*" } accept'));
    assert.match(only(await seen(), 'firewall').text, /drops new connections from lan0 to wan1 \(IPv4\): table inet mine, chain through \(policy drop\)/);
    out('nft', 'flush', 'ruleset');
    nft(chain('oifname "wan*" accept'));
    assert.deepEqual(told(await seen()), []);
    out('nft', 'flush', 'ruleset');
    nft('table inet mine { chain through { type filter hook forward priority filter; policy drop; }; }');
    await isCured(only(await seen(), 'firewall'));
  });

  test('strangers: somebody rules forwarding and lets them in, unless our own rules drop them', async () => {
    nft('table inet mine { chain through { type filter hook forward priority filter; tcp dport 25 drop; ct state invalid drop; }; }');
    assert.deepEqual(told(await seen()), [], 'nobody knows what port 25 is to say');
    out('nft', 'flush', 'ruleset');
    nft('table inet mine { chain through { type filter hook forward priority filter; ct state invalid drop; }; }');
    assert.deepEqual(told(await seen()), [], 'who drops no stranger keeps us away from nothing');
    out('nft', 'flush', 'ruleset');
    nft('table inet mine { chain through { type filter hook forward priority filter; iifname "wan0" oifname "lan0" ct state new drop; }; }');
    const [lan, relay, ...more] = (await seen()).filter(({ subject }) => subject === 'firewall');
    assert.deepEqual([lan?.level, relay?.level, more], ['warning', 'warning', []]);
    assert.match(lan!.text, /new connections from wan1 to lan0 \(IPv4\) are let in/);
    assert.match(relay!.text, /new connections from wan0 to wan1 \(IPv4\)(, wan\d to \w+ \(IPv4\))* and wan\d to \w+ \(IPv4\) pass/);
    assert.match(`${lan!.remedy}${relay!.remedy}`, /firewall: on[^]*firewall: on/);
    nft('table inet uplinkd { chain early { type filter hook prerouting priority mangle; meta mark set meta mark & 0xffffc07f | 0x80; }; chain forward { type filter hook forward priority filter; iifname { "wan0", "wan1" } ct status dnat accept; iifname { "wan0", "wan1" } ct state new drop; }; }');
    assert.deepEqual(told(await seen()), []);
  });

  test('marks of others in our bits, of nft and iptables; masks that keep clear are fine', async () => {
    nft('table inet mine { chain early { type filter hook prerouting priority mangle; meta mark set meta mark & 0xffff00ff | 0x100; }; }');
    const found = only(await seen(), 'marks');
    assert.match(found.text, /write into uplinkd's bits .*\(0x3f80\): nft table mine, chain early \(meta mark set\)/);
    const [, mask] = /markMask: (0x[0-9a-f]+)/.exec(found.remedy) ?? [];
    assert.deepEqual(told(await seen({ policy: { markMask: Number(mask) } })), []);
    out('nft', 'flush', 'ruleset');
    for (const value of ['0x4000/0x4000', '0x40000/0xff0000']) out('iptables-nft', '-t', 'mangle', '-A', 'PREROUTING', '-j', 'MARK', '--set-xmark', value);
    out('iptables-nft', '-t', 'mangle', '-A', 'PREROUTING', '-j', 'CONNMARK', '--restore-mark', '--nfmask', '0xff0000', '--ctmask', '0xff0000');
    assert.deepEqual(told(await seen()), []);
    out('iptables-nft', '-t', 'mangle', '-N', 'mwan3_hook');
    out('iptables-nft', '-t', 'mangle', '-A', 'mwan3_hook', '-j', 'MARK', '--set-xmark', '0x100/0x3f00');
    assert.match(only(await seen(), 'marks').text, /mwan3, iptables table mangle, chain mwan3_hook \(MARK --set-xmark 0x100\/0x3f00\)/);
  });

  for (const backend of ['nftables', 'iptables'] as const) {
    test(`what uplinkd itself writes with ${backend} is in nobody's way`, async () => {
      const { policy } = question();
      const host = openHost({ stateDir: '/run/state' });
      const lines = policy.uplinks.map(({ name, interface: device, slot, translate, mss }) => ({ uplink: name, interface: device, mark: slot << 7, translate, mss }));
      const report = await host.host({ nat: { backend, markMask: policy.markMask, lines, policies: [], routed: [], lanInterfaces: ['lan0'], firewall: 'on', cutMark: 0x3f80, counting: true, near: [] }, sysctls: [] });
      assert.deepEqual(report.problems, []);
      assert.deepEqual(told(await seen({ policy: { forwarding: { firewall: 'on' } } })), []);
      await host.restore();
    });
  }

  test('rules and routes of others as the kernel tells them; what the remedies say can be typed', async (t) => {
    const netlink = openRtnetlink();
    t.after(() => netlink.close());
    const looked = async (): Promise<readonly Finding[]> => seen({ survey: netlink.survey(), facts: { links: netlink.listLinks() } });
    batch('router', ['link set wan0 up', 'addr add 198.51.100.2/24 dev wan0']);
    assert.deepEqual(told(await looked()), [], 'the rules of the kernel itself are no news');

    out('ip', 'route', 'add', 'default', 'via', '198.51.100.1', 'dev', 'wan0', 'metric', '7', 'table', '9402');
    type(only(await looked(), 'tables').remedy);
    out('ip', 'rule', 'add', 'from', '198.51.100.9', 'lookup', '77', 'priority', '9460');
    type(only(await looked(), 'rules').remedy);
    assert.match(only(await looked(), 'rules').text, /before uplinkd's; the networks.*IPv4 9360: from 198\.51\.100\.9\/32 lookup 77/);
    out('ip', 'route', 'add', 'default', 'dev', 'wan0', 'table', '77');
    const taking = only(await looked(), 'rules');
    assert.match(taking.text, /hold a default route/);
    type(taking.remedy);
    out('ip', 'route', 'add', 'unreachable', 'default', 'metric', '4000');
    t.after(() => out('ip', 'route', 'del', 'unreachable', 'default', 'metric', '4000'));
    assert.match(only(await looked(), 'default routes').text, /unreachable default metric 4000/);
  });

  test('the rules of wg-quick as the kernel tells them, and those that the remedy puts in their place', async (t) => {
    const netlink = openRtnetlink();
    t.after(() => netlink.close());
    out('ip', 'rule', 'add', 'not', 'fwmark', '0xca6c', 'lookup', '51820');
    out('ip', 'rule', 'add', 'lookup', 'main', 'suppress_prefixlength', '0');
    const found = only(await seen({ survey: netlink.survey() }), 'rules');
    assert.match(found.text, /never reached.*not from all fwmark 0xca6c lookup 51820/);
    const typed = (start: string): string => [...found.remedy.matchAll(new RegExp(`${start} = (.*)$`, 'gm'))].map(([, line]) => line!.replaceAll('%i', 'wan0')).join('\n');
    for (const line of ['not fwmark 0xca6c lookup 51820', 'lookup main suppress_prefixlength 0']) out('ip', 'rule', 'del', ...line.split(' '));
    out('ip', 'link', 'set', 'wan0', 'up');
    type(typed('PostUp').replaceAll('; ', '\n'));
    const markOf = (pattern: RegExp): number => Number(pattern.exec(found.remedy)?.[1]);
    const goes = (mark: number): string => /dev (\S+)/.exec(out('ip', 'route', 'get', '192.0.2.1', 'mark', String(mark)))?.[1] ?? '';
    for (const device of ['wan0-far', 'wan1-far', 'wan1']) out('ip', 'link', 'set', device, 'up');
    out('ip', 'route', 'add', 'default', 'dev', 'wan1', 'table', '9400');
    out('ip', 'rule', 'add', 'priority', '9600', 'lookup', '9400');
    const tunnel = markOf(/FwMark = (\S+)/);
    assert.deepEqual([goes(0), goes(0x80), goes(tunnel), goes(tunnel | 0x80), goes(tunnel | 0x3f80)], ['wan0', 'wan0', 'wan1', 'wan1', 'wan1'], 'its own packets never go into it, whichever of our marks they bear');
    out('ip', 'rule', 'del', 'priority', '9600');
    for (const device of ['wan0-far', 'wan1-far', 'wan1']) out('ip', 'link', 'set', device, 'down');
    const after = await seen({ survey: netlink.survey() });
    assert.deepEqual(after.filter((one) => one.subject === 'rules').map((one) => one.level), ['note']);
    type(typed('PreDown').replaceAll('; ', '\n'));
    assert.deepEqual(told(await seen({ survey: netlink.survey() })), []);
  });

  test('rules that refuse or go past ours, by whatever they select, and kill switches in main', async (t) => {
    const netlink = openRtnetlink();
    t.after(() => netlink.close());
    const looked = async (): Promise<readonly Finding[]> => seen({ survey: netlink.survey(), facts: { links: netlink.listLinks(), ...netlink.listForeign() } });
    out('ip', 'rule', 'add', 'uidrange', '0-0', 'priority', '100', 'prohibit');
    out('ip', 'rule', 'add', 'ipproto', 'tcp', 'dport', '53', 'priority', '101', 'goto', '32766');
    const [first, second] = (await looked()).filter(({ subject }) => subject === 'rules');
    assert.match(first!.text, /refuse what they fit before uplinkd is asked: IPv4 100: from all uidrange 0-0 prohibit\./);
    assert.match(second!.text, /go past uplinkd's.*IPv4 101: from all ipproto 6 dport 53 goto 32766\./);
    assert.deepEqual([first!.level, second!.level], ['note', 'note'], 'of some users, of some packets');
    type(first!.remedy);
    type(second!.remedy);
    out('ip', 'rule', 'add', 'priority', '100', 'blackhole');
    const all = only(await looked(), 'rules');
    assert.equal(all.level, 'error');
    type(all.remedy);
    out('ip', 'rule', 'add', 'uidrange', '0-0', 'priority', '9460', 'lookup', '77');
    type(only(await looked(), 'rules').remedy);
    out('ip', 'rule', 'del', 'priority', '9360', 'uidrange', '0-0', 'lookup', '77');

    out('ip', 'route', 'add', 'blackhole', '0.0.0.0/1');
    out('ip', '-6', 'route', 'add', 'prohibit', '2000::/3', 'metric', '7');
    const [four, six] = (await looked()).filter(({ subject }) => subject === 'default routes');
    assert.match(four!.text, /refuses blackhole 0\.0\.0\.0\/1 \(IPv4.*wins over every uplink/);
    type(four!.remedy);
    type(six!.remedy);
    assert.deepEqual(told(await looked()), []);
  });

  test('a port of a real bridge', async (t) => {
    out('ip', 'link', 'add', 'br0', 'type', 'bridge');
    t.after(() => out('ip', 'link', 'del', 'br0'));
    out('ip', 'link', 'set', 'wan0', 'master', 'br0');
    const found = only(await seen(), 'devices');
    assert.match(found.text, /a port of the bridge br0/);
    type(found.remedy.replace(/^or, if it shall stand alone: /m, ''));
    assert.deepEqual(told(await seen()), []);
  });

  test('a program that has just started is the culprit, whatever else runs', async (t) => {
    assert.equal(await culprit('filter'), '');
    const child = spawn('sleep', ['60'], { argv0: '/usr/sbin/firewalld' });
    t.after(() => child.kill('SIGKILL'));
    assert.match(await culprit('filter'), /^probably firewalld, which started \d+ s ago$/);
    assert.equal(await culprit('routes'), '');
    assert.match(await culprit('routes', {}, child.pid), new RegExp(`^by firewalld \\(pid ${child.pid}: `));
  });
});
