/** Which device an uplink is on: by name, by what is burnt in, by where it is plugged in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linkOf, nameOf } from '../../src/core/link.js';
import type { Link } from '../../src/model.js';
import { factsOf, linkOf as device, policyOf, uplinkPolicy } from './fixture.js';
import { openRouter } from './router.js';

const [A, B] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b'];
const PORT_1 = 'pci-0000:00:14.0-usb-0:1:1.0';
const PORT_2 = 'pci-0000:00:14.0-usb-0:2:1.0';

/** Devices by name: index, then what is known of them. */
function links(parts: Readonly<Record<string, Partial<Link> & { readonly index: number }>>): readonly Link[] {
  return Object.entries(parts).map(([name, changes]) => device('fibre', { name, ...changes }));
}

function found(match: { readonly mac?: string; readonly path?: string } | undefined, among: readonly Link[], name = ''): string | undefined {
  return linkOf({ interface: name, match: match === undefined ? undefined : { mac: '', path: '', ...match } }, { links: among })?.name;
}

test('by name, where nothing else is asked for', () => {
  const among = links({ eth0: { index: 2 }, eth1: { index: 3 } });
  assert.deepEqual([found(undefined, among, 'eth1'), found(undefined, among, 'eth7')], ['eth1', undefined]);
});

test('by an alternative name, of any length; a device of that name goes before', () => {
  const long = 'the-modem-that-stands-on-the-roof';
  const among = links({ eth0: { index: 2, altNames: [long, 'eth1'] }, eth1: { index: 3 } });
  assert.deepEqual([found(undefined, among, long), found(undefined, among, 'eth1')], ['eth0', 'eth1']);
});

test('an uplink and a LAN that are known by alternative names: the packet filter and the sysctls hear the real ones, once they are there', () => {
  const [roof, cellar] = ['the-modem-that-stands-on-the-roof', 'the-switch-in-the-cellar'];
  const policy = { ...policyOf([uplinkPolicy('fibre', { interface: roof }), uplinkPolicy('cable')]), lanInterfaces: [cellar] };
  const known = [device('fibre', { altNames: [roof] }), device('cable'), device('lte', { name: 'lan0', altNames: [cellar] })];
  const named = (links: readonly Link[]): unknown => {
    const { hostWish } = openRouter(policy, factsOf(['fibre', 'cable'], { links })).until(1500).state;
    return [hostWish?.nat.lines.map((line) => line.interface), hostWish?.nat.lanInterfaces, hostWish?.sysctls.some(({ path }) => path.includes('the-'))];
  };
  assert.deepEqual(named(known), [['eth0', 'eth1'], ['lan0'], false]);
  assert.deepEqual(named([device('cable')]), [['eth1'], [], false]);
});

test('by MAC, by path, by both: all that is given must fit', () => {
  const among = links({ wwan0: { index: 5, mac: A, path: PORT_1 }, wwan1: { index: 6, mac: B, path: PORT_2 } });
  assert.deepEqual([found({ mac: B }, among), found({ path: PORT_1 }, among), found({ mac: B, path: PORT_2 }, among), found({ mac: B, path: PORT_1 }, among), found({ mac: '02:00:00:00:00:0c' }, among)],
    ['wwan1', 'wwan0', 'wwan1', undefined, undefined]);
});

test('two modems that came up in the other order: each uplink stays with its own', () => {
  const before = links({ wwan0: { index: 5, mac: A }, wwan1: { index: 6, mac: B } });
  const after = links({ wwan0: { index: 7, mac: B }, wwan1: { index: 8, mac: A } });
  assert.deepEqual([found({ mac: A }, before), found({ mac: A }, after), found({ mac: B }, after)], ['wwan0', 'wwan1', 'wwan0']);
});

test('the burnt-in MAC counts where it is known, and a borrowed one fits, too', () => {
  const among = links({ eth0: { index: 2, mac: A, permanentMac: B } });
  assert.deepEqual([found({ mac: B }, among), found({ mac: A }, among)], ['eth0', 'eth0']);
});

test('VLANs, bridges and bonds wear the MAC of a device below them: the one that was there first is meant', () => {
  const among = links({ 'eth0.7': { index: 9, mac: A }, br0: { index: 4, mac: A }, eth0: { index: 2, mac: A } });
  assert.equal(found({ mac: A }, among), 'eth0');
});

test('a device is spoken of by its name, or by what is looked for', () => {
  assert.deepEqual([
    nameOf({ interface: 'eth0', match: undefined }), nameOf({ interface: '', match: { mac: A, path: '' } }),
    nameOf({ interface: '', match: { mac: '', path: PORT_1 } }), nameOf({ interface: '', match: { mac: A, path: PORT_1 } }),
  ], ['eth0', `MAC ${A}`, `path ${PORT_1}`, `MAC ${A} and path ${PORT_1}`]);
});

test('a modem that is plugged in again under another name and index carries on, rules and routes follow it', () => {
  const policy = policyOf([uplinkPolicy('fibre'), uplinkPolicy('lte', { interface: '', match: { mac: A, path: '' } })]);
  const facts = factsOf(['fibre', 'lte'], { links: [device('fibre'), device('lte', { name: 'wwan0', mac: A })] });
  const router = openRouter(policy, facts).until(1500);
  const ours = (): readonly string[] => router.kernel.readOurs().rules.filter((rule) => rule.outInterface !== '').map((rule) => rule.outInterface);
  assert.deepEqual(ours(), ['eth0', 'wwan0']);
  router.kernel.outside.deleteLink(4);
  router.until(2500);
  assert.equal(router.state.planes.get(4)!.health.get('lte')!.because, `there is no interface with MAC ${A}`);
  router.kernel.outside.setLink(device('lte', { index: 14, name: 'wwan1', mac: A }));
  router.kernel.outside.addAddress({ ...facts.addresses[1]!, ifindex: 14 });
  router.until(9000);
  assert.deepEqual(ours(), ['eth0', 'wwan1']);
  assert.deepEqual(router.kernel.readOurs().routes.filter((route) => route.table === 9400).map((route) => route.hops[0]!.ifindex), [2, 14]);
  const bound = router.effects.flatMap((effect) => (effect.type === 'bind' ? [effect.lines.find((line) => line.uplink === 'lte')] : []));
  assert.deepEqual(bound.map((line) => [line?.interface, line?.ifindex, line?.source]), [['wwan0', 4, '192.0.2.2'], ['', 0, ''], ['wwan1', 14, ''], ['wwan1', 14, '192.0.2.2']]);
});
