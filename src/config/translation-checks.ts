/**
 * What an uplink does to the packets that leave by it: prefixes that must fit each other, sizes that must fit.
 */
import type { UplinkPolicy } from '../model.js';
import { type Check, report, sound, written } from './check.js';
import { shown } from './problem.js';

export function checkTranslation(check: Check, uplink: UplinkPolicy): void {
  checkPrefixes(check, uplink);
  checkSizes(check, uplink);
}

function checkPrefixes(check: Check, { name, prefix6, translate: { 6: wish } }: UplinkPolicy): void {
  const own = ['uplinks', name];
  if (wish.kind !== 'prefix' || !sound(check, [...own, 'prefix6'], [...own, 'masquerade6'], ['lan', 'prefix6'])) return;
  const missing = [
    ...(prefix6 === '' ? [`\`prefix6\` of ${shown(name)} (what the provider routes to us)`] : []),
    ...(wish.from === '' ? ['`lan.prefix6` (the LAN\'s own)'] : []),
  ];
  if (missing.length > 0) {
    report(check, [...own, 'masquerade6'], `a prefix can be put in place of another only where both are known: write ${missing.join(' and ')}`);
    return;
  }
  if (prefix6 === 'auto') return;
  const place = written(check, [[...own, 'prefix6'], ['lan', 'prefix6']]) ?? own;
  const [from = '', to = ''] = [wish.from.split('/')[1], wish.to.split('/')[1]];
  if (from !== to) {
    report(check, place, `a prefix is put in place of one of the same length, and ${shown(wish.to)} and \`lan.prefix6\` ${shown(wish.from)} differ: `
      + `write a \`/${Math.max(Number(from), Number(to))}\` of ${Number(from) < Number(to) ? 'the LAN\'s' : 'this one'}, or \`masquerade6: true\``);
  } else if (wish.from === wish.to) {
    report(check, place, `${shown(wish.to)} is \`lan.prefix6\` too, so there is nothing to translate: write \`masquerade6: false\`, or the LAN's own prefix there`);
  }
}

function checkSizes(check: Check, { name }: UplinkPolicy): void {
  const { mtu, mss } = check.settings.uplinks?.get(name) ?? {};
  if (typeof mtu !== 'number' || typeof mss !== 'number' || mss <= mtu - 40) return;
  report(check, ['uplinks', name, 'mss'], `${mss} bytes and 40 of headers are more than \`mtu: ${mtu}\`: write \`mss: ${mtu - 40}\` or less, or take it away`);
}
