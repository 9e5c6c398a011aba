/**
 * docs/config.md, made from the schema. A test holds the file against this text, and writes it when told to
 * (UPDATE_DOCS=1 node --test dist/test/config/reference.test.js).
 */
import { writtenDuration } from '../duration.js';
import type { Field, FromPreset, LeafField, ListField, OrderField, SectionField } from './fields.js';
import { listed, shown } from './problem.js';
import { PRESETS, type Preset, SCHEMA, type Sensitivity } from './schema.js';
import { percentText, sizeText } from './quantities.js';

/** The whole page, Markdown. */
export function referenceText(): string {
  return `${[INTRODUCTION, keysText(), sensitivityText(), PROFILES, LATER_INTRODUCTION + laterText([], SCHEMA).join('\n')].join('\n\n')}\n`;
}

/** A config that shows most keys; a test loads it. */
export const EXAMPLE = `uplinks:
  fibre:
    interface: eth0
    gateway: 198.51.100.1        # auto (default): learnt; none: point-to-point
    priority: 1                  # lower is preferred
  cable:
    interface: eth1
    priority: 2
  lte:
    interface: wwan0
    gateway: none
    priority: 3
    metered: true                # leave it soon, ask little
    probe: { interval: 10s, rotate: 1, budget: 2MB }   # any key of probe, for this uplink alone
    health: { sensitivity: calm }
lan:
  interfaces: [eth2]
policies:                        # new connections that go another way; the first that fits wins
  - name: guests
    source: 192.168.9.0/24
    use: [cable, fibre]
    otherwise: block             # not by the lte
  - name: backup
    destination: [203.0.113.7, 2001:db8:7::/48]
    protocol: tcp
    ports: [22, 873]
    use: { cable: 3, fibre: 1 }  # shared by weight
flows:                           # running connections with a rule of their own
  - { name: wireguard, protocol: udp, ports: 51820, origin: router, failback: move }
probe:
  targets:
    - icmp: gateway
    - hop: 2                     # the provider's first router beyond it
    - icmp: 1.1.1.1
    - tcp: 9.9.9.9:443
    - dns: { server: 9.9.9.9, name: example.org }
    - http: { url: "http://connectivity.example/generate_204", interval: 30s }
    - icmp: 2620:fe::fe          # asked over IPv6
  quorum: 1
health:
  sensitivity: balanced
  quality: { loss: { down: 10%, up: 2% }, jitter: { down: 80ms, up: 40ms } }
  damping: { halfLife: 10m }
failback: { hold: 1m }
api: { listen: 127.0.0.1:9474 }
`;

const INTRODUCTION = `# Configuration

<!-- Made from src/config/schema.ts. Change it there, then: UPDATE_DOCS=1 node --test dist/test/config/reference.test.js -->

One YAML 1.2 file, by default \`/etc/uplinkd/uplinkd.yaml\`. \`uplinkd check --config FILE\` reports every problem at
once, each with file, line and key, and exits with 78 if there is one; the daemon refuses to start on such a file, and a
reload keeps the old config running. Unknown keys are problems. The least that works is a name and an interface:

\`\`\`yaml
uplinks:
  fibre: { interface: eth0 }
\`\`\`

Most keys at once:

\`\`\`yaml
${EXAMPLE}\`\`\`

Durations are written \`250ms\`, \`5s\`, \`1m30s\`, \`2h\`, sizes \`500kB\`, \`5MB\`, shares \`20%\`; a number without a unit is a problem, not a guess. Where a
list of addresses or ports is wanted, one alone will do. Recipes for real lines: [guides/lines.md](guides/lines.md); what to ask, and what to make of it:
[guides/probing.md](guides/probing.md). A section with nothing in it (all its lines commented out) is as good as none. Anchors and aliases (\`&name\`,
\`*name\`) work; tags and several documents in one file do not.`;

const PROFILES = `## Profiles

\`profile: NAME\` takes defaults from \`NAME.yaml\` in the folder of profiles. Each profile is a complete config that works
by itself. What your file says wins, key by key:

- Sections are merged, lists are replaced whole.
- The devices of a profile are examples. As soon as your file has \`uplinks\`, those it names are all there are, what it
  says under \`lan\` is all the LAN, and its policies are all there are. An uplink that has the name of an example takes from it the keys that you do not
  write (\`lte: {}\` takes all of them).
- \`health.sensitivity\` in your file puts aside the numbers of the profile that it stands for.
- A profile cannot name another profile.`;

const LATER_INTRODUCTION = `## Not in this version yet

These keys are planned and reported as such when you write them:

`;

function keysText(): string {
  const rows = rowsOf([], SCHEMA);
  return `## Keys

*Change* says what puts a changed value in force: \`live\`, a reload does; \`restart\`, a new start of the daemon.
\`NAME\` is the name of an uplink.

| Key | Takes | Default | Change | Meaning |
| --- | --- | --- | --- | --- |
${rows.join('\n')}`;
}

function rowsOf(path: readonly string[], section: SectionField): readonly string[] {
  return Object.entries(section.keys).flatMap(([key, field]): readonly string[] => {
    const below = [...path, key];
    if (field.type === 'section') return sectionRows(below, field);
    if (field.type === 'named') {
      const name = [...below, 'NAME'];
      return [row(below, `names, ${field.most} at most`, requiredText(field), '', field.about), row(name, 'keys', '', '', field.item.about), ...rowsOf(name, field.item)];
    }
    if (field.type === 'list') {
      const items = field.item.type === 'section' ? rowsOf([...path, `${key}[]`], field.item) : [];
      return [row(below, listTakes(field), field.default === undefined ? 'none' : shown(field.default), field.apply, field.about), ...items];
    }
    return [row(below, takes(field), defaultText(field), field.apply, field.about)];
  });
}

function listTakes(field: ListField): string {
  const item = field.item;
  const list = `list of ${field.least} to ${field.most}`;
  if (item.type === 'section' || item.type === 'named' || item.type === 'list') return list;
  return field.single === true ? `${takes(item)}, or ${list}` : item.type === 'interface' ? `${list} interface names` : list;
}

function sectionRows(path: readonly string[], section: SectionField): readonly string[] {
  if (section.like === undefined) return [row(path, sectionTakes(section), '', '', section.about), ...rowsOf(path, section)];
  const like = shown(section.like);
  return [row(path, `any key of ${like}`, `as ${like}`, 'live', `For this uplink alone: what ${like} says for all of them.`)];
}

function sectionTakes(section: SectionField): string {
  const instead = section.off === true ? '`off`' : section.short === undefined ? undefined : `\`${section.short}\` alone`;
  return instead === undefined ? 'keys' : `keys, or ${instead}`;
}

function row(path: readonly string[], takes: string, standard: string, apply: string, about: string): string {
  return `| \`${path.join('.')}\` | ${takes} | ${standard} | ${apply} | ${about} |`;
}

function takes(field: LeafField | OrderField): string {
  switch (field.type) {
    case 'duration': return `${field.auto === true ? '`auto`, or ' : ''}${writtenDuration(field.minMs)} to ${writtenDuration(field.maxMs)}`;
    case 'integer': return `${(field.words ?? []).map((word) => `${shown(word)}, `).join('')}${field.min} to ${field.max}${field.unit === undefined ? '' : ` ${field.unit}`}`;
    case 'percent': return `${percentText(field.min)} to ${percentText(field.max)}`;
    case 'decimal': return `${field.min} to ${field.max}`;
    case 'size': return `\`none\`, ${sizeText(field.minBytes)} to ${sizeText(field.maxBytes)}`;
    case 'flag': return '`true`, `false`';
    case 'choice': return field.of.map(shown).join(', ');
    case 'profile': return 'name of a profile';
    case 'interface': return 'interface name';
    case 'mac': return 'MAC address';
    case 'path': return 'ID_PATH';
    case 'gateway': return `IPv${field.family} address, \`auto\`, \`none\``;
    case 'translation': return `\`true\`, \`false\`, IPv${field.family} address${field.family === 6 ? ', `prefix`' : ''}`;
    case 'target': return '`gateway`, IPv4 or IPv6 address';
    case 'network': return 'address or network';
    case 'prefix': return `IPv6 prefix${field.auto === true ? ', `auto`' : ''}`;
    case 'listen': return 'ADDRESS:PORT';
    case 'mask': return 'bit mask';
    case 'label': return 'name';
    case 'set': return 'name of a set';
    case 'ports': return 'port or range';
    case 'mark': return 'mark, or mark/mask';
    case 'address': return 'IPv4 or IPv6 address';
    case 'endpoint': return 'ADDRESS:PORT';
    case 'hostname': return 'name of a host';
    case 'url': return 'URL';
    case 'header': return '`"name: value"`';
    case 'program': return 'path of a program';
    case 'text': return 'text';
    case 'order': return 'names of uplinks';
  }
}

function defaultText(field: LeafField | OrderField): string {
  const standard = 'default' in field ? field.default : undefined;
  if (standard === undefined) return requiredText(field);
  if (typeof standard === 'object') return presetText(standard.preset);
  if (typeof standard !== 'number') return shown(String(standard));
  return shown(field.type === 'duration' ? writtenDuration(standard) : field.type === 'percent' ? percentText(standard) : String(standard));
}

function requiredText(field: Field): string {
  return 'required' in field && field.required === true ? '**required**' : 'none';
}

function presetText(key: FromPreset['preset']): string {
  const value = shown(presetValue(PRESETS.balanced, key));
  return `${value}, see [sensitivity](#sensitivity)`;
}

function presetValue(preset: Preset, key: keyof Preset): string {
  return key === 'intervalMs' || key === 'afterMs' ? writtenDuration(preset[key]) : String(preset[key]);
}

function sensitivityText(): string {
  const columns: readonly (readonly [string, keyof Preset])[] = [
    ['probe.interval', 'intervalMs'], ['health.suspect.failures', 'failures'], ['health.suspect.burst', 'burst'],
    ['health.down.after', 'afterMs'], ['health.up.successes', 'successes'],
  ];
  const names: readonly Sensitivity[] = ['fast', 'balanced', 'calm'];
  return `## Sensitivity

| \`health.sensitivity\` | ${columns.map(([key]) => `\`${key}\``).join(' | ')} |
| --- | ${columns.map(() => '---').join(' | ')} |
${names.map((name) => `| \`${name}\` | ${columns.map(([, key]) => presetValue(PRESETS[name], key)).join(' | ')} |`).join('\n')}

A number that is written, for all uplinks or for one, wins over the word. What is written for one uplink wins over what is
written for all of them. \`fast\` with three targets sends ten probes a second through each uplink; more targets send more.`;
}

function laterText(path: readonly string[], section: SectionField): readonly string[] {
  const own = Object.entries(section.later ?? {}).map(([key, advice]) => `- \`${[...path, key].join('.')}\`: ${advice}`);
  return [...own, ...Object.entries(section.keys).flatMap(([key, field]): readonly string[] => {
    const below = [...path, key];
    if (field.type === 'section') return field.like === undefined ? laterText(below, field) : [];
    if (field.type === 'named') return laterText([...below, 'NAME'], field.item);
    if (field.type === 'list') return field.item.type === 'section' ? laterText([...path, `${key}[]`], field.item) : [];
    return field.type === 'choice' && field.later !== undefined ? [`- \`${below.join('.')}\`: ${listed(field.later, 'and')}`] : [];
  })];
}
