/** Uplinks that are tunnels: where their own packets go, and what happens where nobody knows. */
import { tunnelOf } from '../../core/outer.js';
import type { Finding } from '../../model.js';
import { present } from './kernel-settings.js';
import { list, type Look, type Uplink } from './scene.js';

export const tunnels: Look = {
  subject: 'tunnels',
  look(scene) {
    const { facts, uplinks } = scene;
    return present(scene).flatMap((uplink): readonly Finding[] => {
      const tunnel = tunnelOf(uplink.policy, facts);
      if (tunnel === undefined) return [];
      const isLast = uplinks.every(({ policy }) => policy.priority <= uplink.policy.priority);
      return [tunnel.remotes.length === 0 ? unknownEnd(uplink, isLast) : {
        level: 'note', subject: 'tunnels',
        text: `${uplink.interface} (uplink ${uplink.name}) is a tunnel to ${list(tunnel.remotes)}: `
          + 'what the router itself sends there goes by the best uplink that is no tunnel, '
          + 'also while the tunnel leads.',
        remedy: '',
      }];
    });
  },
};

function unknownEnd({ name, interface: device }: Uplink, isLast: boolean): Finding {
  return {
    level: isLast ? 'note' : 'warning', subject: 'tunnels',
    text: `${device} (uplink ${name}) is a tunnel, and the kernel does not tell its far end. When it leads, `
      + 'its own packets go into the tunnel itself, unless the program binds them to another line (OpenVPN: `local`, '
      + '`bind-dev`) or main has a route to the far end: the tunnel falls silent, is left, comes back, and so on.',
    remedy: 'In /etc/uplinkd/uplinkd.yaml, with the address that the tunnel\'s program connects to:\n'
      + `uplinks:\n  ${name}:\n    endpoint: ADDRESS\nthen: systemctl reload uplinkd`,
  };
}
