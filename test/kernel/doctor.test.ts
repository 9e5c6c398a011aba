/** The doctor on made-up machines: what files and processes say. Real packets and rule sets are in doctor-live.test.ts. */
import assert from 'node:assert/strict';
import { utimesSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { culprit } from '../../src/kernel/doctor/culprit.js';
import { examine } from '../../src/kernel/doctor/examine.js';
import type { ForeignRule } from '../../src/kernel/netlink/survey.js';
import type { Finding, Match } from '../../src/model.js';
import { address, defaultRoute, link, madeUp, only, question, told, uplink } from './doctor-ground.js';

const NETWORKD = { words: ['/usr/lib/systemd/systemd-networkd'] };
const NM = { words: ['/usr/sbin/NetworkManager', '--no-daemon'] };
const NO = '[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=off\n';

function rule(more: Partial<ForeignRule>): ForeignRule {
  return { family: 4, preference: 100, protocol: 3, table: 100, from: '', to: '', inInterface: '', outInterface: '', mark: 0, markMask: 0, inverted: false, suppressPrefixLength: -1, ...more };
}

test('a machine that is well gets one line that names what was looked at', async (t) => {
  const findings = await examine(question(), madeUp(t));
  assert.equal(findings.length, 1, told(findings).join('\n'));
  assert.equal(findings[0]!.level, 'ok');
  for (const subject of ['networkd', 'rp_filter', 'firewall', 'conntrack']) assert.match(findings[0]!.text, new RegExp(subject));
});

test('networkd removes foreign routes unless a file says no, and the last file has the last word', async (t) => {
  const bare = only(await examine(question(), madeUp(t, { processes: [NETWORKD] })), 'networkd');
  assert.equal(bare.level, 'warning');
  assert.match(bare.text, /ManageForeignRoutes is not set, which means yes and ManageForeignRoutingPolicyRules is not set/);
  assert.match(bare.remedy, /cat > \/etc\/systemd\/networkd\.conf\.d\/uplinkd\.conf <<'EOF'\n\[Network\]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\nEOF\nsystemctl restart systemd-networkd/);

  const quiet = [
    { '/etc/systemd/networkd.conf': NO },
    { '/usr/lib/systemd/networkd.conf.d/10.conf': NO },
    // /etc/systemd/networkd.conf hides the one of the vendor.
    { '/usr/lib/systemd/networkd.conf': '[Network]\nManageForeignRoutes=yes\n', '/etc/systemd/networkd.conf': '', '/run/systemd/networkd.conf.d/x.conf': NO },
    { '/usr/lib/systemd/networkd.conf': '[Network]\nManageForeignRoutes=yes\n', '/etc/systemd/networkd.conf': NO },
    // A drop-in of the same name in /etc hides the one in /usr/lib.
    { '/usr/lib/systemd/networkd.conf.d/50.conf': '[Network]\nManageForeignRoutes=yes', '/etc/systemd/networkd.conf.d/50.conf': NO },
  ];
  for (const files of quiet) assert.deepEqual(told(await examine(question(), madeUp(t, { processes: [NETWORKD], files }))), [], JSON.stringify(files));

  const files = { '/etc/systemd/networkd.conf.d/uplinkd.conf': NO, '/usr/lib/systemd/networkd.conf.d/vendor.conf': '[Network]\nManageForeignRoutes = true\n' };
  const overruled = only(await examine(question(), madeUp(t, { processes: [NETWORKD], files })), 'networkd');
  assert.match(overruled.text, /ManageForeignRoutes is true in \/usr\/lib\/systemd\/networkd\.conf\.d\/vendor\.conf/);
  assert.doesNotMatch(overruled.text, /RoutingPolicyRules/);
  assert.match(overruled.remedy, /networkd\.conf\.d\/zz-uplinkd\.conf/);
});

test('a networkd that is enabled counts, one that only waits or lives in a container does not', async (t) => {
  const links = { '/etc/systemd/system/multi-user.target.wants/systemd-networkd.service': '/usr/lib/systemd/system/systemd-networkd.service' };
  assert.match(only(await examine(question(), madeUp(t, { links })), 'networkd').text, /is enabled/);
  const others = [{ words: ['/usr/lib/systemd/systemd-networkd-wait-online'] }, { ...NETWORKD, net: 'net:[2]' }];
  assert.deepEqual(told(await examine(question(), madeUp(t, { processes: others }))), []);
});

test('a networkd that started before our drop-in was written has not read it', async (t) => {
  const system = madeUp(t, { processes: [{ ...NETWORKD, ageS: 300 }], files: { '/etc/systemd/networkd.conf.d/uplinkd.conf': NO } });
  assert.match(only(await examine(question(), system), 'networkd').remedy, /^systemctl restart systemd-networkd$/);
  const longAgo = Date.now() / 1000 - 600;
  utimesSync(join(system.root!, '/etc/systemd/networkd.conf.d/uplinkd.conf'), longAgo, longAgo);
  assert.deepEqual(told(await examine(question(), system)), []);
});

test('strict reverse path: the larger of all and the device is in force, and the file that sets it is named', async (t) => {
  const strict = await examine(question(), madeUp(t, {
    sysctls: { 'net/ipv4/conf/all/rp_filter': '1', 'net/ipv4/conf/wan1/rp_filter': '0' }, files: { '/etc/sysctl.d/10-network-security.conf': '# x\nnet.ipv4.conf.all.rp_filter=1\n' },
  }));
  const found = only(strict, 'rp_filter');
  assert.equal(found.level, 'error');
  assert.match(found.text, /^wan1 \(uplink cable\).*set by \/etc\/sysctl\.d\/10-network-security\.conf/);
  assert.match(found.remedy, /^sysctl -w net\.ipv4\.conf\.wan1\.rp_filter=2\n/);
  const dotted = question({ policy: { uplinks: [uplink('fibre', 'wan0', 1), uplink('cable', 'eth0.7', 2)] }, facts: { links: [link(2, 'lan0'), link(3, 'wan0'), link(4, 'eth0.7')] } });
  assert.match(only(await examine(dotted, madeUp(t, { sysctls: { 'net/ipv4/conf/eth0.7/rp_filter': '1' } })), 'rp_filter').remedy, /sysctl -w net\.ipv4\.conf\.eth0\/7\.rp_filter=2/);
});

test('switches of the kernel that somebody set back are told, each with the command', async (t) => {
  const cases: readonly [sysctls: Record<string, string>, subject: string, level: string, remedy: RegExp][] = [
    [{ 'net/ipv4/ip_forward': '0' }, 'forwarding', 'error', /sysctl -w net\.ipv4\.ip_forward=1/],
    [{ 'net/ipv4/conf/wan1/ignore_routes_with_linkdown': '0' }, 'linkdown', 'warning', /sysctl -w net\.ipv4\.conf\.wan1\.ignore_routes_with_linkdown=1/],
    [{ 'net/netfilter/nf_conntrack_count': '250000' }, 'conntrack', 'error', /sysctl -w net\.netfilter\.nf_conntrack_max=524288/],
    [{ 'net/netfilter/nf_conntrack_count': '220000' }, 'conntrack', 'warning', /nf_conntrack_max/],
    [{ 'net/netfilter/nf_conntrack_tcp_loose': '0' }, 'conntrack', 'warning', /nf_conntrack_tcp_loose=1/],
    [{ 'net/netfilter/nf_conntrack_count': '' }, 'conntrack', 'error', /modprobe nf_conntrack/],
    [{ 'net/ipv6/conf/wan0/forwarding': '1', 'net/ipv6/conf/wan0/accept_ra': '1' }, 'ipv6', 'error', /sysctl -w net\.ipv6\.conf\.wan0\.accept_ra=2/],
  ];
  for (const [sysctls, subject, level, remedy] of cases) {
    const found = only(await examine(question(), madeUp(t, { sysctls })), subject);
    assert.equal(found.level, level, JSON.stringify(sysctls));
    assert.match(found.remedy, remedy);
  }
  const shared = question({ policy: { uplinks: [uplink('fibre', 'wan0', 1, { priority: 1 }), uplink('cable', 'wan1', 2, { priority: 1 })] } });
  assert.match(only(await examine(shared, madeUp(t, { sysctls: { 'net/ipv4/fib_multipath_hash_policy': '0' } })), 'multipath').remedy, /hash_policy=1/);
  assert.deepEqual(told(await examine(shared, madeUp(t, { sysctls: { 'net/ipv4/fib_multipath_hash_policy': '1' } }))), []);
});

test('a wg-quick tunnel is passed over: its rule comes after ours, and its mark is in our bits', async (t) => {
  const survey = { rules: [rule({ preference: 32764, inverted: true, mark: 0xca6c, markMask: 0xffffffff, table: 51820 }), rule({ preference: 32765, table: 254, suppressPrefixLength: 0 }), rule({ preference: 0, protocol: 2, table: 255 }), rule({ preference: 32766, protocol: 2, table: 254 })] };
  const findings = await examine(question({ survey }), madeUp(t));
  const passed = only(findings, 'rules');
  assert.match(passed.text, /never reached.*IPv4 32764: not from all fwmark 0xca6c lookup 51820\..*wg-quick/);
  assert.match(passed.remedy, /Table = off\n.*FwMark = 0xc06c\n.*ip -4 route add default dev %i table 51820; ip -4 rule add lookup main suppress_prefixlength 0 priority 9398; ip -4 rule add not fwmark 0xc06c\/0xffffc07f lookup 51820 priority 9399/);
  const ours = rule({ preference: 32764, inverted: true, mark: 0x80, markMask: 0xffffffff, table: 51820 });
  assert.match(only(await examine(question({ survey: { rules: [ours] } }), madeUp(t)), 'rules').remedy, /FwMark = 0x1\n.*not fwmark 0x1\/0xffffc07f /, 'one that lies in our bits alone is replaced');
  const shared = only(findings, 'marks');
  assert.equal(shared.level, 'note');
  assert.match(shared.remedy, /markMask: 0x7f000000/);
  const busy = question({ survey: { rules: [...survey.rules, rule({ preference: 5210, mark: 0x1000000, markMask: 0xff000000, table: 254 }), rule({ preference: 5211, mark: 0x80000, markMask: 0xff0000, table: 254 })] } });
  // What is left: the bits from 7 to 13 are ours now, 14, 15 and many below are in 0xca6c.
  assert.doesNotMatch(only(await examine(busy, madeUp(t)), 'marks').remedy, /markMask/);
  const hit = question({ survey, policy: { uplinks: [uplink('fibre', 'wan0', 1), uplink('cable', 'wan1', 0x14)] } });
  assert.match(only(await examine(hit, madeUp(t)), 'marks').text, /taken for traffic of uplink cable/);
});

test('rules before ours are told by what their tables hold, rules among ours by where to move them', async (t) => {
  const tailscale = rule({ preference: 5270, table: 52 });
  const quiet = only(await examine(question({ survey: { rules: [tailscale, rule({ preference: 5210, mark: 0x80000, markMask: 0xff0000, table: 52 })] } }), madeUp(t, { prints: { 'ip -4 route show default table 52': '' } })), 'rules');
  assert.deepEqual([quiet.level, /Tailscale/.test(quiet.text)], ['note', true]);
  const exit = only(await examine(question({ survey: { rules: [tailscale] } }), madeUp(t, { prints: { 'ip -4 route show default table 52': 'default dev tailscale0 \n' } })), 'rules');
  assert.equal(exit.level, 'warning');
  assert.match(exit.remedy, /ip -4 rule delete from all lookup 52 priority 5270/);
  const partly = only(await examine(question({ survey: { rules: [{ ...tailscale, suppressPrefixLength: 0 }] } }), madeUp(t, { prints: { 'ip -4 route show default table 52': 'default dev tailscale0 \n' } })), 'rules');
  assert.equal(partly.level, 'note');
  const main = only(await examine(question({ survey: { rules: [rule({ preference: 10, table: 254 }), rule({ preference: 9, table: 254, suppressPrefixLength: 0 })] } }), madeUp(t)), 'rules');
  assert.doesNotMatch(main.text, /IPv4 9:/);
  assert.deepEqual([main.level, main.remedy], ['warning', 'ip -4 rule delete from all lookup main priority 10']);
  const inside = only(await examine(question({ survey: { rules: [rule({ preference: 9460, from: '10.0.0.9/32', protocol: 18 })] } }), madeUp(t)), 'rules');
  assert.match(inside.remedy, /ip -4 rule add from 10\.0\.0\.9\/32 lookup 100 priority 9360\nip -4 rule delete from 10\.0\.0\.9\/32 lookup 100 priority 9460/);
});

test('routes of others: errors in our tables, notes in main', async (t) => {
  const survey = { routes: [defaultRoute(4, 3, '198.51.100.1', 5, 3, 9400)], defaults: [{ family: 4 as const, kind: 'unreachable', metric: 4278198272 }] };
  const facts = { foreignDefaults: [defaultRoute(4, 3, '198.51.100.1', 0, 16), defaultRoute(4, 2, '10.0.0.254', 5, 3), defaultRoute(4, 4, '203.0.113.1', 33, 16)] };
  const findings = await examine(question({ survey, facts }), madeUp(t));
  assert.equal(findings[0]!.subject, 'tables');
  assert.equal(findings[0]!.remedy, 'ip -4 route delete default via 198.51.100.1 dev wan0 metric 5 table 9400');
  const [strange, known, refusing] = findings.filter((finding) => finding.subject === 'default routes');
  assert.match(strange!.text, /"default via 10\.0\.0\.254 dev lan0 metric 5" \(static|boot\).*no uplink/);
  assert.match(known!.text, /"default via 198\.51\.100\.1 dev wan0 metric 0" \(dhcp\) in main has a lower metric than uplinkd's \(30\)\. No harm/);
  assert.match(refusing!.text, /unreachable default/);
});

test("OpenVPN's two halves of the world are seen in main", async (t) => {
  const row = (device: string, to: string, mask: string): string => [device, to, '0101080A', '0003', '0', '0', '0', mask, '0', '0', '0'].join('\t');
  const files = { '/proc/net/route': ['Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT', row('tun0', '00000000', '00000080'), row('tun0', '00000080', '00000080'), row('wan0', '00000000', '00000000')].join('\n') };
  const found = only(await examine(question(), madeUp(t, { files })), 'default routes');
  assert.deepEqual([found.level, /by tun0 /.test(found.text), /pull-filter ignore/.test(found.remedy)], ['warning', true, true]);
});

test('NetworkManager: its connectivity check and a second DHCP client on its device', async (t) => {
  const files = { '/run/NetworkManager/devices/3': '[device]\nmanaged=true\n', '/run/NetworkManager/devices/4': '[device]\nmanaged=unmanaged\n', '/usr/lib/NetworkManager/conf.d/20-connectivity.conf': '[connectivity]\nuri=http://check.example/\n' };
  const found = only(await examine(question(), madeUp(t, { processes: [NM], files })), 'networkmanager');
  assert.match(found.text, /^NetworkManager manages wan0 and checks/);
  assert.match(found.remedy, /conf\.d\/90-uplinkd\.conf.*\n\[connectivity\]\nenabled=false/);
  assert.deepEqual(told(await examine(question(), madeUp(t, { processes: [NM], files: { ...files, '/etc/NetworkManager/conf.d/90-uplinkd.conf': '[connectivity]\nenabled=false\n' } }))), []);
  const clients = [NM, { words: ['/sbin/dhclient', '-4', 'wan0'] }, { words: ['dhclient', '-sf', '/usr/lib/NetworkManager/nm-dhcp-helper', 'wan1'] }, { words: ['udhcpc', '-i', 'wan1'] }];
  const two = only(await examine(question(), madeUp(t, { processes: clients, files: { '/run/NetworkManager/devices/3': 'managed=true\n' } })), 'dhcp');
  assert.match(two.text, /^NetworkManager and dhclient \(pid 101\) all ask for an address on wan0 \(uplink fibre\)/);
  assert.match(two.remedy, /unmanaged-devices=interface-name:wan0/);
});

test('a port of a bridge and a member of a VRF are no uplinks', async (t) => {
  const port = only(await examine(question(), madeUp(t, { links: { '/sys/class/net/wan0/master': '../br0' }, files: { '/sys/class/net/br0/bridge/bridge_id': '' } })), 'devices');
  assert.match(port.text, /a port of the bridge br0/);
  assert.match(port.remedy, /fibre:\n {4}interface: br0/);
  const vrf = only(await examine(question(), madeUp(t, { links: { '/sys/class/net/wan1/master': '../blue' }, files: { '/sys/class/net/blue/uevent': 'DEVTYPE=vrf\n' } })), 'devices');
  assert.match(vrf.text, /in the VRF blue/);
});

test('overlapping addresses, one router behind two lines, small packets', async (t) => {
  const overlap = question({ facts: { addresses: [address(2, '192.168.1.1/24'), address(3, '192.168.1.7/24'), address(4, '192.168.1.9/24')] } });
  const findings = (await examine(overlap, madeUp(t))).filter((finding) => finding.subject === 'addresses');
  assert.deepEqual(findings.map((finding) => finding.level), ['error', 'error', 'note']);
  assert.match(findings[2]!.text, /Uplinks fibre .* and cable .* same network/);

  const arp = ['IP address HW type Flags HW address Mask Device', '198.51.100.1 0x1 0x2 02:aa:00:00:00:01 * wan0', '203.0.113.1 0x1 0x2 02:aa:00:00:00:01 * wan1'].join('\n');
  const sameRouter = async (files: Readonly<Record<string, string>>): Promise<Finding> => only(await examine(question(), madeUp(t, { files: { '/proc/net/arp': arp, ...files } })), 'gateways');
  const open = await sameRouter({});
  assert.match(open.text, /fibre and cable end at the same router.*answers ARP/);
  assert.deepEqual([open.level, /arp_ignore=1/.test(open.remedy)], ['warning', true]);
  const closed = await sameRouter(Object.fromEntries(['wan0', 'wan1'].map((device) => [`/proc/sys/net/ipv4/conf/${device}/arp_ignore`, '1'])));
  assert.deepEqual([closed.level, closed.remedy], ['note', '']);

  const lte = question({ policy: { uplinks: [uplink('fibre', 'wan0', 1), uplink('lte', 'wan1', 2, { mss: 'off' })] }, facts: { links: [link(2, 'lan0'), link(3, 'wan0'), link(4, 'wan1', { mtu: 1430 })] } });
  const sizes = (await examine(lte, madeUp(t))).filter((finding) => finding.subject === 'mtu');
  assert.deepEqual(sizes.map((finding) => finding.level), ['warning', 'note']);
  assert.match(sizes[0]!.remedy, /lte:\n {4}mss: auto/);
});

test('IPv6: a LAN without it, temporary addresses, firewalld that asks for the way back', async (t) => {
  const addresses = [address(2, '10.0.0.1/24'), address(3, '198.51.100.2/24'), address(3, '2001:db8::2/64'), address(4, '203.0.113.2/24')];
  const six = question({ facts: { addresses } });
  const lan = only(await examine(six, madeUp(t)), 'lan ipv6');
  assert.match(lan.remedy, /^To give.*\nip address add fd[0-9a-f]{2}:[0-9a-f]{4}:[0-9a-f]{4}:1::1\/64 dev lan0\n/);
  assert.match(only(await examine(six, madeUp(t, { sysctls: { 'net/ipv6/conf/wan0/use_tempaddr': '2' } })), 'ipv6').remedy, /use_tempaddr=0/);
  const processes = [{ words: ['/usr/bin/python3', '-s', '/usr/sbin/firewalld', '--nofork'] }];
  assert.match(only(await examine(six, madeUp(t, { processes, files: { '/etc/firewalld/firewalld.conf': '# strict, loose, no\nIPv6_rpfilter=strict\n' } })), 'firewalld').remedy, /IPv6_rpfilter=loose\//);
  assert.match(only(await examine(six, madeUp(t, { processes, files: { '/etc/firewalld/firewalld.conf': 'IPv6_rpfilter=yes\n' } })), 'firewalld').remedy, /IPv6_rpfilter=no\//);
  assert.deepEqual(told(await examine(six, madeUp(t, { processes, files: { '/etc/firewalld/firewalld.conf': 'IPv6_rpfilter=loose\n' } }))).map((line) => line.split(':')[0]), ['note lan ipv6']);
});

test('IPv6 prefixes that lead nowhere, each with its remedy', async (t) => {
  const trouble = { uplink: 'fibre', prefix: '2001:db8:1::/64', delegated: '2001:db8:2::/56', text: 'fibre (IPv6): it is another one' } as const;
  const of = async (kind: 'written' | 'unknown' | 'small' | 'unanswered'): Promise<Finding> =>
    only(await examine({ ...question(), prefixes: [{ ...trouble, kind }] }, madeUp(t)), 'ipv6 prefix');
  const written = await of('written');
  assert.deepEqual([written.level, written.text], ['warning', 'fibre (IPv6): it is another one.']);
  assert.match(written.remedy, /uplinks:\n {2}fibre:\n {4}prefix6: auto\n.*reload.*\n.*prefix6: "2001:db8:2::\/56"$/);
  assert.match((await of('unknown')).remedy, /ip -6 route show type unreachable/);
  assert.equal((await of('small')).level, 'note');
  assert.match((await of('unanswered')).remedy, /prefix6: auto/);
});

test('telephony that is named in the config wants its helper', async (t) => {
  const match: Match = { sources: [], destinations: [], protocol: 'udp', sourcePorts: [], destinationPorts: [{ first: 5060, last: 5061 }] };
  const phones = question({ policy: { flows: [{ name: 'phones', match, origin: 'any', failback: 'move' }] } });
  assert.match(only(await examine(phones, madeUp(t)), 'conntrack').remedy, /ct helper sip \{ type "sip" protocol udp; \}/);
  const assigned = JSON.stringify({ nftables: [{ 'ct helper': { family: 'inet', table: 'helpers', name: 'sip', type: 'sip', protocol: 'udp' } }] });
  assert.deepEqual(told(await examine(phones, madeUp(t, { prints: { 'nft -j -t list ruleset': assigned } }))), []);
});

test('a second uplinkd is told, and the worst comes first', async (t) => {
  const processes = [{ words: ['node', '/usr/bin/uplinkd', 'run', '--config', 'x.yaml'] }, { words: ['node', '/usr/bin/uplinkd', 'check'] }, NETWORKD];
  const findings = await examine(question(), madeUp(t, { processes }));
  assert.match(findings[0]!.text, /^Another uplinkd .*\(pid 100\)/);
  assert.deepEqual(findings.map((finding) => finding.level), ['error', 'warning', 'ok']);
});

test('the culprit is who has just started, of those who do such things', async (t) => {
  const networkd = madeUp(t, { processes: [{ ...NETWORKD, ageS: 2 }, { ...NM, ageS: 700 }] });
  assert.match(await culprit('routes', networkd), /^probably systemd-networkd, which started 2 s ago \(ManageForeignRoutes=yes, ManageForeignRoutingPolicyRules=yes/);
  assert.equal(await culprit('filter', networkd), '');
  assert.equal(await culprit('routes', madeUp(t, { processes: [{ words: ['/usr/sbin/bird'], ageS: 3 }, { ...NM, ageS: 20 }] })), 'probably NetworkManager, which started 20 s ago, or bird, which started 3 s ago');
  assert.match(await culprit('rules', madeUp(t, { processes: [NETWORKD] })), /^perhaps systemd-networkd, which is running \(Manage/);
  assert.equal(await culprit('rules', madeUp(t, { processes: [NETWORKD], files: { '/etc/systemd/networkd.conf': NO } })), '');
  const twice = [{ words: ['dhclient', 'wan0'], ageS: 500 }, { words: ['dhclient', 'wan1'], ageS: 4 }];
  assert.equal(await culprit('routes', madeUp(t, { processes: twice })), 'probably dhclient, which started 4 s ago');
  // A unit that was done within a moment leaves its link; the link was made just now.
  assert.equal(await culprit('filter', madeUp(t, { links: { '/run/systemd/units/invocation:nftables.service': '00ff' } })), 'probably nftables, which started 0 s ago');
});

test('the sender of the notification is named by its process, or as one that has ended', async (t) => {
  const system = madeUp(t, { processes: [{ words: ['/usr/bin/python3', '/opt/vpn/hook.py', 'up'], ageS: 500 }] });
  assert.equal(await culprit('routes', system, 100), 'by hook (pid 100: /usr/bin/python3 /opt/vpn/hook.py up)');
  assert.match(await culprit('routes', system, 4711), /ended since \(it was process 4711\)/);
  assert.match(await culprit('routes', system, 0), /kernel itself/);
  assert.equal(await culprit('routes', system, 3_000_000_000), '');
});

test('a flowtable over an uplink hides connections from us, and one that lasts as long as conntrack loses calls at each switch', async (t) => {
  const listed = (dev: unknown): Readonly<Record<string, string>> => ({ 'nft -j -t list ruleset': JSON.stringify({ nftables: [{ flowtable: { family: 'inet', table: 'fw', name: 'fast', hook: 'ingress', prio: 0, dev } }] }) });
  const timeouts = (short: string): Readonly<Record<string, string>> => ({ 'net/netfilter/nf_flowtable_udp_timeout': short, 'net/netfilter/nf_conntrack_udp_timeout': '30' });
  const found = async (dev: unknown, short: string): Promise<readonly Finding[]> =>
    (await examine(question(), madeUp(t, { prints: listed(dev), sysctls: timeouts(short) }))).filter((one) => one.subject === 'flowtable');
  const [warning, note] = await found(['lan0', 'wan1'], '30');
  assert.deepEqual([warning?.level, note?.level], ['warning', 'note']);
  assert.match(warning!.remedy, /sysctl -w net\.netfilter\.nf_flowtable_udp_timeout=15/);
  assert.match(note!.text, /^Flowtable inet fw fast carries/);
  assert.deepEqual((await found('wan0', '15')).map(({ level }) => level), ['note']);
  assert.deepEqual(await found(['lan0', 'eth9'], '30'), [], 'what does not touch an uplink hides nothing');
});
