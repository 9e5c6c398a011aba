/**
 * Packet marks are 32 bits that all programs share. Who writes bits of ours sends packets the wrong way; who compares bits of ours
 * with something of his own no longer finds his packets. The remedy is a mask that nobody else uses.
 */
import type { Finding } from '../../model.js';
import { isOurs } from './chains.js';
import { list, type Look, type Scene } from './scene.js';
import { ruleWords } from './steering.js';

interface Sharing {
  readonly what: 'writes' | 'reads';
  readonly bits: number;
  /** Who, where, with what words. */
  readonly words: string;
  /** What a rule looks for exactly, undefined = not told. */
  readonly value: number | undefined;
}

const NAMED_AT_MOST = 3;
const ALL_BITS = 0xffffffff;
/** Where to move to, in order of liking; clear of Tailscale, kube-proxy and the common small numbers first. */
const SHIFTS = [24, 25, 16, 17, 7, 18, 19, 20, 21, 22, 23, 0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15];
const WIDTH = 0x7f;

/** Beginnings of chains and tables that tell their owners. */
const OWNERS: readonly (readonly [beginning: RegExp, owner: string])[] = [
  [/^KUBE-|kube-proxy/, 'kube-proxy'], [/^ts-/, 'Tailscale'], [/^cali/, 'Calico'], [/^CILIUM/, 'Cilium'], [/^mwan3/, 'mwan3'], [/^DOCKER|docker/, 'Docker'],
  [/^FLANNEL/, 'Flannel'], [/wg-quick/, 'wg-quick'],
];

export const marks: Look = {
  subject: 'marks',
  look(scene) {
    const all = [...ofFilter(scene), ...ofRules(scene)];
    const ours = scene.policy.markMask >>> 0;
    const shared = all.filter((one) => (one.bits & ours) !== 0);
    const [writing, reading] = [shared.filter((one) => one.what === 'writes'), shared.filter((one) => one.what === 'reads')];
    const findings: Finding[] = [];
    if (writing.length > 0) {
      findings.push({
        level: 'warning', subject: 'marks',
        text: `Others write into uplinkd's bits of the packet mark (${hex(ours)}): ${named(writing)}. Packets that bear such a mark leave by an uplink that nobody chose, or running connections lose theirs.`,
        remedy: remedyFor(writing, all, ours),
      });
    }
    if (reading.length > 0) {
      const hit = scene.uplinks.filter((uplink) => reading.some((one) => one.value !== undefined && ((one.value & ours) >>> 0) === uplink.mark));
      findings.push({
        level: hit.length > 0 ? 'warning' : 'note', subject: 'marks',
        text: `Others compare uplinkd's bits of the packet mark (${hex(ours)}) with values of their own: ${named(reading)}. They no longer recognise a packet once uplinkd has marked its connection${hit.length === 0 ? '' : `, and what they mark is taken for traffic of ${list(hit.map((uplink) => `uplink ${uplink.name}`))} and sent there`}. It matters as soon as such packets leave by an uplink, as those of a VPN's own tunnel do.`,
        remedy: remedyFor(reading, all, ours),
      });
    }
    return findings;
  },
};

function ofFilter({ filter }: Scene): readonly Sharing[] {
  return filter.chains.filter((chain) => !isOurs(chain)).flatMap((chain) => {
    const [, owner] = OWNERS.find(([beginning]) => beginning.test(chain.name) || beginning.test(chain.table)) ?? [];
    return chain.rules.flatMap((rule) => rule.marks).map((use) => ({
      what: use.what, bits: use.bits >>> 0, value: undefined,
      words: `${owner === undefined ? '' : `${owner}, `}${chain.tool} table ${chain.table}, chain ${chain.name} (${use.words})`,
    }));
  });
}

/** A rule without a mask compares all bits. */
function ofRules({ survey }: Scene): readonly Sharing[] {
  return survey.rules.filter((rule) => rule.mark !== 0 || rule.markMask !== 0).map((rule) => ({
    what: 'reads', bits: (rule.markMask === 0 ? ALL_BITS : rule.markMask) >>> 0, words: `ip rule ${ruleWords(rule)}`, value: rule.mark,
  }));
}

/** Who means all 32 bits cannot be evaded: he has to give a mask himself. What values he uses is known of rules. */
function remedyFor(shared: readonly Sharing[], all: readonly Sharing[], ours: number): string {
  const known = all.filter((one) => one.bits !== ALL_BITS || one.value !== undefined).reduce((bits, one) => bits | (one.bits === ALL_BITS ? (one.value ?? 0) : one.bits), 0);
  const free = SHIFTS.map((shift) => (WIDTH << shift) >>> 0).find((mask) => (mask & known) === 0 && mask !== ours);
  const lines: string[] = [];
  if (free !== undefined && shared.some((one) => one.bits !== ALL_BITS || ((one.value ?? 0) & ours) !== 0)) {
    lines.push('In /etc/uplinkd/uplinkd.yaml (bits that nobody else here uses):', 'kernel:', `  markMask: ${hex(free)}`, 'then: systemctl restart uplinkd');
  }
  if (shared.some((one) => one.bits === ALL_BITS)) {
    lines.push('Who means all 32 bits of the mark should mean his own alone, with a mask:', '  ip rule ... fwmark 0x1/0x1 ...      iptables ... --set-xmark 0x1/0x1      nft ... meta mark set meta mark | 0x1');
  }
  return lines.join('\n');
}

function named(some: readonly Sharing[]): string {
  const words = [...new Set(some.map((one) => one.words))];
  return list(words.slice(0, NAMED_AT_MOST)) + (words.length > NAMED_AT_MOST ? ` and ${words.length - NAMED_AT_MOST} more` : '');
}

function hex(bits: number): string {
  return `0x${(bits >>> 0).toString(16)}`;
}
