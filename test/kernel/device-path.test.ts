/** Where devices are plugged in, found in trees made like /sys and /run. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openDevicePaths } from '../../src/kernel/device-path.js';
import type { Link } from '../../src/model.js';

const USB = '/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.4/1-2.4:1.0';

test('a USB modem is known by its port, whatever bus number and name it has', (t) => {
  const { root, paths } = plant(t);
  plug(root, 'wwan0', USB, { '1-2.4:1.0': 'usb', '1-2.4': 'usb', '1-2': 'usb', usb1: 'usb', '0000:00:14.0': 'pci' });
  assert.equal(paths.placed(link(5, 'wwan0')).path, 'pci-0000:00:14.0-usb-0:2.4:1.0');
  plug(root, 'usb7', USB.replaceAll('/1-2', '/3-2').replace('usb1', 'usb3'), { '3-2.4:1.0': 'usb', '3-2.4': 'usb', '3-2': 'usb', usb3: 'usb', '0000:00:14.0': 'pci' });
  assert.equal(paths.placed(link(6, 'usb7')).path, 'pci-0000:00:14.0-usb-0:2.4:1.0');
});

test('a card behind bridges is known by its own slot; platform and virtio devices as udev has them', (t) => {
  const { root, paths } = plant(t);
  plug(root, 'eth0', '/sys/devices/pci0000:00/0000:00:1c.0/0000:02:00.0', { '0000:02:00.0': 'pci', '0000:00:1c.0': 'pci' });
  plug(root, 'eth1', '/sys/devices/platform/soc/fd580000.ethernet', { 'fd580000.ethernet': 'platform', soc: 'platform' });
  plug(root, 'eth2', '/sys/devices/platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0', { '0000:01:00.0': 'pci', '0000:00:00.0': 'pci', 'fd500000.pcie': 'platform', scb: 'platform' });
  plug(root, 'ens3', '/sys/devices/pci0000:00/0000:00:03.0/virtio0', { virtio0: 'virtio', '0000:00:03.0': 'pci' });
  const found = ['eth0', 'eth1', 'eth2', 'ens3', 'br0'].map((name, i) => paths.placed(link(i + 1, name)).path);
  assert.deepEqual(found, ['pci-0000:02:00.0', 'platform-fd580000.ethernet', 'platform-fd500000.pcie-pci-0000:01:00.0', 'pci-0000:00:03.0', '']);
});

test('udev’s word counts, also when it comes late: at the next listing of all', (t) => {
  const { root, paths } = plant(t);
  plug(root, 'eth0', '/sys/devices/pci0000:00/0000:02:00.0', { '0000:02:00.0': 'pci' });
  const eth0 = link(3, 'eth0');
  assert.equal(paths.placed(eth0).path, 'pci-0000:02:00.0');
  writeFileSync(join(root, 'run/udev/data/n3'), 'I:12345\nE:ID_BUS=pci\nE:ID_PATH=pci-of-udev\nE:ID_PATH_TAG=pci_of_udev\n');
  assert.equal(paths.placed(eth0).path, 'pci-0000:02:00.0', 'looked at every 10 ms: nothing is read');
  assert.equal(paths.placedAll([eth0])[0]?.path, 'pci-of-udev');
  assert.equal(paths.placed(eth0).path, 'pci-of-udev');
});

test('nothing is read again for a known device; another index or name is another device', (t) => {
  const { root, paths } = plant(t);
  const [first, again, renamed] = [link(3, 'wwan0'), link(4, 'wwan0'), link(3, 'wwan1')];
  writeFileSync(join(root, 'run/udev/data/n3'), 'E:ID_PATH=first\n');
  assert.equal(paths.placedAll([first])[0]?.path, 'first');
  writeFileSync(join(root, 'run/udev/data/n3'), 'E:ID_PATH=second\n');
  writeFileSync(join(root, 'run/udev/data/n4'), 'E:ID_PATH=fourth\n');
  assert.equal(paths.placedAll([first])[0]?.path, 'first');
  assert.equal(paths.placed(again).path, 'fourth');
  assert.equal(paths.placed(renamed).path, 'second');
  paths.placedAll([]);
  writeFileSync(join(root, 'run/udev/data/n4'), 'E:ID_PATH=fifth\n');
  assert.equal(paths.placed(again).path, 'fifth', 'what is gone is forgotten');
});

function plant(t: TestContext): { root: string; paths: ReturnType<typeof openDevicePaths> } {
  const root = mkdtempSync(join(tmpdir(), 'uplinkd-path-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const directory of ['run/udev/data', 'sys/class/net']) mkdirSync(join(root, directory), { recursive: true });
  return { root, paths: openDevicePaths(root) };
}

/** The tree above a device, each directory with the bus it is on. */
function plug(root: string, name: string, device: string, buses: Readonly<Record<string, string>>): void {
  mkdirSync(join(root, device), { recursive: true });
  const steps = device.split('/').slice(1);
  steps.forEach((step, i) => {
    const bus = buses[step];
    if (bus === undefined) return;
    try {
      symlinkSync(`/sys/bus/${bus}`, join(root, ...steps.slice(0, i + 1), 'subsystem'));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error; // a shared parent
    }
  });
  mkdirSync(join(root, 'sys/class/net', name));
  symlinkSync(join(root, device), join(root, 'sys/class/net', name, 'device'));
}

function link(index: number, name: string): Link {
  return { index, name, adminUp: true, carrier: true, mtu: 1500, mac: '', permanentMac: '', path: '', altNames: [] };
}
