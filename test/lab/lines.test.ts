/** The lab's other lines, proved before anything is proved on them: IPv6 and its faults, DHCP, router advertisements, point-to-point. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { labUnavailable, now, openLab, waitFor, withLab } from './lab.js';
import type { Lab } from './lab.js';
import { receivedOf } from './received.js';

const skip = (await labUnavailable()) ?? false;
const [dhcp, ra, tun] = await Promise.all([labUnavailable('dnsmasq', 'udhcpc'), labUnavailable('radvd'), labUnavailable('python3', '/dev/net/tun')]).then((all) => all.map((why) => why ?? false));
const SIX = '2001:db8:ffff::10';

describe('IPv6', { skip }, () => {
  let lab: Lab;
  before(async () => {
    lab = await openLab({ isps: 2, ipv6: true });
    await lab.kernelAlone();
  });
  after(async () => lab.close());
  /** For what is not to be answered: it is waited for a moment only. */
  const answers = async (host: string, ...args: readonly string[]): Promise<boolean> => (await lab.run(host, ['ping', '-n', '-c', '1', '-W', '0.3', ...args])).code === 0;
  const reaches = async (host: string, address: string): Promise<unknown> => waitFor(`${host} reaches ${address}`, () => answers(host, address), (answered) => answered);

  test('the client reaches the internet, and every ISP has the same gateway', async () => {
    for (const address of lab.topology.internet) await reaches('client', address);
    for (const { device } of lab.isps()) await reaches('router', `fe80::1%${device}`);
    assert.match((await lab.view('router', 6)).main.join('; '), /default via fe80::1 dev isp0 metric 100 pref medium; default via fe80::1 dev isp1/);
  });

  test('a cut cable moves a stream of IPv6, and a plugged one takes it back', async () => {
    const flow = await lab.stream({ kind: 'new-udp', to: SIX });
    const cut = await lab.cutCable('fibre');
    const { via } = await flow.outageAfter(cut);
    assert.ok((via['cable'] ?? 0) > 0, JSON.stringify(via));
    const plugged = await lab.plugCable('fibre');
    await flow.outageAfter(plugged, { calmMs: 300 });
    await waitFor('fibre carries again', async () => (await flow.outage({ since: now() - 100 })).via, (seen) => Object.keys(seen).join() === 'fibre');
    await flow.stop();
  });

  for (const [fault, gateway] of [['upstreamDead', true], ['gatewayDead', false]] as const) {
    test(`${fault} hits both families, or one`, async () => {
      const look = async (): Promise<readonly boolean[]> => Promise.all([answers('client', '1.1.1.1'), answers('client', SIX), answers('router', '198.51.100.1'), answers('router', 'fe80::1%isp0')]);
      await lab[fault]('fibre');
      await waitFor('both families are hit', look, (seen) => seen.join() === [false, false, gateway, gateway].join());
      await lab.heal('fibre', { family: 4 });
      await waitFor('IPv4 is healed', look, (seen) => seen.join() === [true, false, true, gateway].join());
      await lab.heal('fibre');
      await waitFor('all is healed', look, (seen) => seen.every(Boolean));
      await lab[fault]('fibre', { family: 6 });
      await waitFor('IPv6 is hit', look, (seen) => seen.join() === [true, false, true, gateway].join());
      await lab.heal('fibre');
      await waitFor('all is healed', look, (seen) => seen.every(Boolean));
    });
  }

  test('loss of one family, and TCP', async () => {
    const tcp = await lab.stream({ kind: 'tcp', to: SIX });
    await lab.loss('fibre', 30, 'up', { family: 6 });
    const [four, six] = await Promise.all(['1.1.1.1', SIX].map((address) => receivedOf(lab, 'client', 300, address)));
    assert.ok(four === 300 && six! > 150 && six! < 260, `${four} and ${six} of 300`);
    await lab.heal('fibre');
    assert.deepEqual(Object.keys((await tcp.outage()).via), ['fibre']);
  });

  test('a line that was deleted comes back with its addresses', async () => {
    await lab.deleteInterface('fibre');
    await lab.recreateInterface('fibre');
    await waitFor('the gateway answers', async () => answers('router', 'fe80::1%isp0'), (answered) => answered);
    assert.ok(await answers('internet', '2001:db8:101::2') === false, 'its default route is gone with it');
    await lab.ip('router', 'route add default via fe80::1 dev isp0 metric 100');
    await reaches('internet', '2001:db8:101::2');
  });
});

test('a delegated prefix is routed to the router, and an ISP drops a source of IPv6 that is not its own', { skip }, () =>
  withLab({ isps: 2, ipv6: true }, async (lab) => {
    await lab.ip('router', 'route add default via fe80::1 dev isp0', 'addr add 2001:db8:100::1/128 dev lo nodad', 'addr add 2001:db8:200::1/128 dev lo nodad');
    const answered = async (source: string): Promise<boolean> => (await lab.run('router', ['ping', '-n', '-c', '1', '-W', '0.3', '-I', source, SIX])).code === 0;
    await waitFor('the delegated prefix is answered', () => answered('2001:db8:100::1'), (yes) => yes);
    assert.equal(await lab.spoofed('fibre', 6), 0);
    assert.deepEqual([await answered('2001:db8:200::1'), await lab.spoofed('fibre', 6)], [false, 1]);
  }));

test('a real DHCP client gets an address, keeps it, and gets another one from a server that thinks better of it', { skip: dhcp }, () =>
  withLab({ isps: [{ name: 'fibre', prefix: '198.51.100.0/24', gateway: '198.51.100.1', router: '', addresses: 'none' }] }, async (lab) => {
    await lab.serveDhcp('fibre', { address: '198.51.100.50' });
    const client = await lab.dhcpClient('fibre', { metric: 7 });
    const main = async (): Promise<string> => (await lab.view('router')).main.join('; ');
    assert.match(await main(), /^default via 198\.51\.100\.1 dev isp0 proto dhcp metric 7; .*198\.51\.100\.0\/24 dev isp0 .*src 198\.51\.100\.50/);
    assert.equal((await client.next(() => client.renew())).address, '198.51.100.50');

    await lab.renumberIsp('fibre', { prefix: '198.18.7.0/24', gateway: '198.18.7.254' });
    await lab.serveDhcp('fibre', { address: '198.18.7.60' });
    const lease = await client.next(() => {
      client.release();
      client.renew();
    });
    assert.deepEqual([lease.address, lease.router], ['198.18.7.60', '198.18.7.254']);
    assert.match(await main(), /^default via 198\.18\.7\.254 dev isp0 proto dhcp metric 7; /);
    assert.deepEqual(client.events().filter((event) => !/deconfig/.test(event)), ['bound', 'renew', 'bound']);
    await client.kill9();
    assert.match(await main(), /198\.18\.7\.60/);
  }));

test('router advertisements bring an address, a default route, another prefix and the end of the first', { skip: ra }, () =>
  withLab({ isps: [{ name: 'fibre', prefix: '198.51.100.0/24', gateway: '198.51.100.1', router: '', addresses: 'none' }], ipv6: true }, async (lab) => {
    await lab.advertise('fibre');
    const addresses = async (): Promise<string> => lab.text('router', ['ip', '-6', '-o', 'addr', 'show', 'dev', 'isp0', 'scope', 'global']);
    await waitFor('isp0 has an address', addresses, (text) => text.includes('2001:db8:101:0:ff:fe0a:65/64') || text.includes('2001:db8:101::ff:fe0a:65/64'));
    assert.match(String((await lab.view('router', 6)).main.find((route) => route.startsWith('default'))), /^default via fe80::1 dev isp0 proto ra metric 1024/);
    await waitFor('the internet answers', async () => (await lab.run('router', ['ping', '-n', '-c', '1', '-W', '0.3', SIX])).code, (code) => code === 0);
    await lab.renumberIsp('fibre', { prefix6: '2001:db8:1f1::/64' });
    await lab.advertise('fibre', { deprecated: ['2001:db8:101::/64'] });
    await waitFor('the new prefix is there and the old one deprecated', addresses, (text) => /2001:db8:101:\S+ .*deprecated/.test(text) && /2001:db8:1f1:/.test(text));
    await waitFor('the internet answers', async () => (await lab.run('router', ['ping', '-n', '-c', '1', '-W', '0.3', SIX])).code, (code) => code === 0);
  }));

test('a tun line is point-to-point, carries both families, loses its carrier, and comes back under another index', { skip: tun }, () =>
  withLab({ isps: [{ name: 'ppp', prefix: '100.96.0.0/24', gateway: '100.96.0.1', router: '100.96.0.2', wire: 'tun' }], ipv6: true }, async (lab) => {
    await lab.kernelAlone();
    const link = async (): Promise<string> => lab.text('router', ['ip', '-o', 'link', 'show', 'dev', 'isp0']);
    const before = await link();
    assert.match(before, /<POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP>/);
    const [four, six] = await Promise.all([lab.stream({ kind: 'udp' }), lab.stream({ kind: 'udp', to: SIX })]);
    assert.deepEqual([Object.keys((await four.outage()).via), Object.keys((await six.outage()).via)], [['ppp'], ['ppp']]);
    await lab.cutCable('ppp');
    assert.match(await link(), /NO-CARRIER/);
    await lab.plugCable('ppp');
    await four.outageAfter(now());
    await lab.deleteInterface('ppp');
    await assert.rejects(link, /does not exist/);
    await lab.recreateInterface('ppp');
    assert.notEqual((await link()).split(':')[0], before.split(':')[0]);
    assert.match(await lab.text('router', ['ip', '-o', 'addr', 'show', 'dev', 'isp0']), /inet 100\.96\.0\.2 peer 100\.96\.0\.1\/32/);
  }));
