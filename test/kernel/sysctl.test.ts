/** Sysctls of a real namespace. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, test } from 'node:test';
import { openSysctls } from '../../src/kernel/sysctl.js';
import type { SysctlWish } from '../../src/model.js';
import { inNamespaces, out } from './nat-ground.js';

function valueOf(key: string): string {
  return readFileSync(`/proc/sys/${key}`, 'utf8').trim();
}

function put(key: string, value: string): void {
  writeFileSync(`/proc/sys/${key}`, value);
}

const FORWARD = 'net/ipv4/ip_forward';
const FILTER = 'net/ipv4/conf/wan.100/rp_filter';
const LINKDOWN = 'net/ipv4/conf/wan.100/ignore_routes_with_linkdown';
const WISH: readonly SysctlWish[] = [{ path: FORWARD, value: '1' }, { path: FILTER, value: '2' }, { path: LINKDOWN, value: '1' }];
const KEYS = WISH.map((wish) => wish.path);
const FINE = { sysctlsInSync: true, problems: [] };

function makeDevice(): void {
  out('ip', 'link', 'add', 'wan.100', 'type', 'veth', 'peer', 'name', 'far');
  put(FILTER, '1');
}

inNamespaces(import.meta.url, 'sysctls, in a namespace', () => {
  let stateDir: string;
  const before = (): unknown => JSON.parse(readFileSync(join(stateDir, 'sysctl-before.json'), 'utf8'));
  beforeEach(() => {
    stateDir = join(mkdtempSync(join('/run', 'uplinkd-sysctl-')), 'made', 'on', 'demand');
    if (existsSync('/proc/sys/net/ipv4/conf/wan.100')) out('ip', 'link', 'del', 'wan.100');
    put(FORWARD, '0');
    makeDevice();
  });

  test('what differs is written, also of a device with a dot in its name, and only that is remembered', async () => {
    put(LINKDOWN, '1');
    assert.deepEqual(await openSysctls(stateDir).sync(WISH), FINE);
    assert.deepEqual(KEYS.map(valueOf), ['1', '2', '1']);
    assert.deepEqual(before(), { [FORWARD]: '0', [FILTER]: '1' });
  });

  test('restore gives the first values back, also after a restart and foreign changes, and forgets them', async () => {
    await openSysctls(stateDir).sync(WISH);
    put(FILTER, '0');
    const next = openSysctls(stateDir);
    assert.deepEqual(await next.sync(WISH), FINE);
    assert.deepEqual(before(), { [FORWARD]: '0', [FILTER]: '1', [LINKDOWN]: '0' });
    await next.restore();
    assert.deepEqual(KEYS.map(valueOf), ['0', '1', '0']);
    assert.equal(existsSync(join(stateDir, 'sysctl-before.json')), false);
    await next.restore();
  });

  test('a device that is away is no error; it is written when it is back', async () => {
    const sysctls = openSysctls(stateDir);
    out('ip', 'link', 'del', 'wan.100');
    assert.deepEqual(await sysctls.sync(WISH), FINE);
    assert.equal(valueOf(FORWARD), '1');
    makeDevice();
    assert.deepEqual(await sysctls.sync(WISH), FINE);
    assert.equal(valueOf(FILTER), '2');
    out('ip', 'link', 'del', 'wan.100');
    await sysctls.restore();
    assert.equal(valueOf(FORWARD), '0');
  });

  test('a path that leads out of /proc/sys is refused, and nothing outside is touched', async () => {
    const outside = join('/run', `uplinkd-outside-${process.pid}`);
    writeFileSync(outside, 'mine');
    const report = await openSysctls(stateDir).sync([{ path: `../..${outside}`, value: '1' }, { path: 'net//ipv4', value: '1' }, { path: FORWARD, value: '1' }]);
    assert.equal(report.sysctlsInSync, false);
    assert.equal(report.problems.length, 2);
    assert.equal(readFileSync(outside, 'utf8'), 'mine');
    assert.equal(valueOf(FORWARD), '1');
  });

  test('values of several numbers are compared by number, not by white space', async () => {
    const ports = 'net/ipv4/ip_local_port_range';
    put(ports, '40000 50000');
    const report = await openSysctls(stateDir).sync([{ path: ports, value: '40000 50000' }]);
    assert.deepEqual(report, FINE);
    assert.equal(existsSync(join(stateDir, 'sysctl-before.json')), false);
  });

  test('what the kernel refuses is told with the remedy, and the rest is written', async () => {
    const report = await openSysctls(stateDir).sync([{ path: FILTER, value: 'nonsense' }, { path: FORWARD, value: '1' }]);
    assert.equal(report.sysctlsInSync, false);
    assert.match(report.problems.join(), /wan\.100\/rp_filter could not be set to nonsense \(EINVAL.*sysctl -w net\.ipv4\.conf\.wan\/100\.rp_filter=nonsense/);
    assert.equal(valueOf(FORWARD), '1');
  });

  test('a damaged memory is told and left as it is; traffic is served all the same', async () => {
    await openSysctls(stateDir).sync([{ path: FORWARD, value: '1' }]);
    writeFileSync(join(stateDir, 'sysctl-before.json'), '{"net');
    const sysctls = openSysctls(stateDir);
    const report = await sysctls.sync(WISH);
    assert.equal(report.sysctlsInSync, true);
    assert.match(report.problems.join(), /sysctl-before\.json is damaged/);
    assert.equal(valueOf(FILTER), '2');
    await assert.rejects(sysctls.restore(), /is damaged/);
    assert.equal(readFileSync(join(stateDir, 'sysctl-before.json'), 'utf8'), '{"net');
  });

  test('the order is that of the wish: who listens to routers goes on when forwarding begins', async () => {
    const [listen, forward] = ['net/ipv6/conf/wan.100/accept_ra', 'net/ipv6/conf/all/forwarding'];
    put(forward, '0');
    const wish: readonly SysctlWish[] = [{ path: listen, value: '2', unless: '0' }, { path: forward, value: '1' }];
    assert.deepEqual(await openSysctls(stateDir).preview(wish), ['sysctl -w net.ipv6.conf.wan/100.accept_ra=2', 'sysctl -w net.ipv6.conf.all.forwarding=1']);
    assert.deepEqual([valueOf(listen), valueOf(forward)], ['1', '0']);
    assert.deepEqual(await openSysctls(stateDir).sync(wish), FINE);
    assert.deepEqual([valueOf(listen), valueOf(forward)], ['2', '1']);
    assert.deepEqual(Object.keys(before() as object), [listen, forward]);
    assert.deepEqual(await openSysctls(stateDir).preview(wish), []);
    put(forward, '0');
  });

  test('a value that was wished to be left alone is left alone, and that is in sync', async () => {
    const listen = 'net/ipv6/conf/wan.100/accept_ra';
    put(listen, '0');
    assert.deepEqual(await openSysctls(stateDir).sync([{ path: listen, value: '2', unless: '0' }, { path: FORWARD, value: '1' }]), FINE);
    assert.deepEqual([valueOf(listen), valueOf(FORWARD)], ['0', '1']);
    put(listen, '1');
    assert.deepEqual(await openSysctls(stateDir).sync([{ path: listen, value: '2', unless: '0' }]), FINE);
    assert.equal(valueOf(listen), '2');
  });
});
