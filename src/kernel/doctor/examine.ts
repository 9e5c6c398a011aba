/**
 * The doctor: looks at everything on this machine that is known to get into the way of several uplinks, changes nothing, and
 * names each finding with what comes of it and the exact remedy. docs/guides/doctor.md tells what each subject means.
 */
import type { Finding } from '../../model.js';
import { conntrack } from './conntrack-table.js';
import { firewall, firewalld } from './firewall.js';
import { flowtable } from './flowtable.js';
import { forwarding, ipv6, linkdown, reversePath, sharing } from './kernel-settings.js';
import { lan6, masters, overlaps, packetSize, sameRouter } from './lines.js';
import type { System } from './machine.js';
import { marks } from './marks.js';
import { anotherOne, dhcpClients, networkd, networkManager } from './owners.js';
import { list, openScene, type Look, type Question } from './scene.js';
import { prefixes } from './prefixes.js';
import { defaults, ourTables, rules } from './steering.js';
import { tunnels } from './tunnels.js';

const LOOKS: readonly Look[] = [
  anotherOne, ourTables, rules, defaults, tunnels, marks, reversePath,
  forwarding, firewall, firewalld, networkd, networkManager, dhcpClients,
  masters, overlaps, sameRouter, linkdown, sharing, ipv6, lan6, prefixes, packetSize, conntrack, flowtable,
];
const LEVELS: readonly Finding['level'][] = ['error', 'warning', 'note', 'ok'];

/**
 * Takes a second at most on a machine that is well; each program that is asked has seconds to answer.
 * @param system where to look; the machine itself by default
 * @returns the worst first; the last is always one `ok` that names the subjects where nothing was found
 */
export async function examine(question: Question, system?: System): Promise<readonly Finding[]> {
  const scene = await openScene(question, system);
  const looked = await Promise.all(LOOKS.map(async ({ subject, look }) => ({ subject, findings: await look(scene) })));
  const findings = looked.flatMap(({ findings: found }) => found);
  const well = looked.filter(({ subject, findings: found }) => found.length === 0 && !findings.some((one) => one.subject === subject)).map(({ subject }) => subject);
  const worst = [...findings].sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
  return [...worst, { level: 'ok', subject: 'summary', text: `Nothing is in the way in: ${list(well)}.`, remedy: '' }];
}
