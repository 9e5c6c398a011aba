/**
 * Where a network device is plugged in, as udev names it (ID_PATH, `pci-0000:00:14.0-usb-0:2:1.0`): the same socket has the same
 * path whatever is plugged in there, and whatever name it gets.
 *
 *   /run/udev/data/n<ifindex>      what udev found out, where udev runs and has been there already
 *   /sys/class/net/NAME/device     else the same, made of the device's place in the tree as udev's path_id does it
 *
 * A path belongs to (ifindex, name) and is read once: a modem that comes back has a new index. What was made without udev is read again
 * when all devices are listed, because udev may have been late. Devices that are nowhere (bridges, tunnels) have none.
 */
import { readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Link } from '../model.js';

export interface DevicePaths {
  /** The link with its path. */
  placed(link: Link): Link;
  /** The same for all there are; what is known of others is forgotten. */
  placedAll(links: readonly Link[]): Link[];
}

/** @param root where /sys and /run stand ('' = the machine's own) */
export function openDevicePaths(root = ''): DevicePaths {
  let known = new Map<number, Place>();
  const find = (link: Link): Place => {
    const place = { name: link.name, ...look(root, link) };
    known.set(link.index, place);
    return place;
  };
  return {
    placed(link) {
      const place = known.get(link.index);
      return { ...link, path: (place?.name === link.name ? place : find(link)).path };
    },
    placedAll(links) {
      const before = known;
      known = new Map();
      return links.map((link) => {
        const place = before.get(link.index);
        if (place?.name !== link.name || !place.sure) return { ...link, path: find(link).path };
        known.set(link.index, place);
        return { ...link, path: place.path };
      });
    },
  };
}

interface Place {
  readonly name: string;
  readonly path: string;
  /** Will not become another one. */
  readonly sure: boolean;
}

function look(root: string, link: Link): Omit<Place, 'name'> {
  const told = attempt(() => readFileSync(join(root, '/run/udev/data', `n${link.index}`), 'utf8').match(/^E:ID_PATH=(.+)$/m)?.[1]);
  if (told !== undefined) return { path: told, sure: true };
  const device = attempt(() => realpathSync(join(root, '/sys/class/net', link.name, 'device')));
  if (device === undefined) return { path: '', sure: true };
  return { path: pathOf(device), sure: false };
}

/** systemd, src/udev/udev-builtin-path_id.c: from the device upwards; of a row of one bus only the nearest counts. */
function pathOf(device: string): string {
  const parts: string[] = [];
  let at = device;
  while (at !== dirname(at)) {
    const bus = busOf(at);
    const part = bus === '' ? '' : partOf(bus, basename(at));
    at = dirname(at);
    if (part === '') continue;
    parts.unshift(part);
    while (busOf(at) === bus) at = dirname(at);
  }
  return parts.join('-');
}

/** '' = this bus says nothing of the place. */
function partOf(bus: string, name: string): string {
  switch (bus) {
    case 'pci':
    case 'platform':
    case 'acpi':
      return `${bus}-${name}`;
    case 'usb': {
      // `1-2.4:1.0`: bus 1 may be another one after the next start, the port and the interface are not.
      const port = name.slice(name.indexOf('-') + 1);
      return name.includes('-') ? `usb-0:${port}` : '';
    }
    default:
      return '';
  }
}

function busOf(directory: string): string {
  return attempt(() => basename(readlinkSync(join(directory, 'subsystem')))) ?? '';
}

/** Files of /sys come and go with their device: what cannot be read is not there. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}
