/** Prefixes of IPv6 that lead nowhere, as core/renumbered.ts finds them out, with what to do about them. */
import type { Finding } from '../../model.js';
import type { Look, PrefixTrouble } from './scene.js';

export const prefixes: Look = {
  subject: 'ipv6 prefix',
  look: ({ prefixes: troubles = [] }) => troubles.map((trouble): Finding => ({
    level: trouble.kind === 'small' ? 'note' : 'warning', subject: 'ipv6 prefix',
    text: `${trouble.text}.`, remedy: remedyOf(trouble),
  })),
};

function remedyOf({ uplink, kind, delegated }: PrefixTrouble): string {
  const keys = `uplinks:\n  ${uplink}:\n    prefix6: auto`;
  const learn = `In /etc/uplinkd/uplinkd.yaml:\n${keys}\nthen: systemctl reload uplinkd`;
  const look = 'ip -6 route show type unreachable; ip -6 address show scope global';
  switch (kind) {
    case 'written':
      return `${learn}\nor, if the provider promises it for good: prefix6: "${delegated}"`;
    case 'small':
      return 'Ask the provider for a larger prefix (the DHCPv6 client\'s hint), or number the LAN with a smaller one: '
        + `\`lan.prefix6\` of the same length as ${delegated}.`;
    case 'unknown':
      return `See what the DHCPv6 client holds (it must ask for a prefix, IA_PD):\n${look}\n`
        + 'Where it leaves neither a route nor a LAN address with a lifetime, have its hook run:\n'
        + 'ip -6 route replace unreachable PREFIX dev lo proto dhcp\nor write the prefix itself under prefix6.';
    case 'unanswered':
      return `See what the provider delegates now, and write it, or \`auto\`:\n${look}\n${learn}`;
  }
}
