/** What needs no daemon: the command line, texts for people, the verdict of check. Pure data. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readActive, readStatus, type StatusView } from '../../src/cli/answers.js';
import { parseCommandLine, VERBS } from '../../src/cli/arguments.js';
import { checkStatus } from '../../src/cli/check.js';
import { plain } from '../../src/cli/reading.js';
import { durationText, showActive, showOutcome, showStatus } from '../../src/cli/show.js';
import { paintFor } from '../../src/cli/table.js';

const WRONG: readonly [string, RegExp][] = [
  ['', /say what to do/],
  ['--json', /say what to do/],
  ['frobnicate', /no command "frobnicate"/],
  ['__proto__', /no command "__proto__"/],
  ['status extra', /status takes no arguments; "extra" is too much/],
  ['switch-uplink', /switch-uplink needs NAME/],
  ['switch-uplink a b', /takes only NAME; "b" is too much/],
  ['switch-uplink a --for', /--for/],
  ['switch-uplink a --for soon', /--for "soon" is not a duration/],
  ['switch-uplink a --for=', /--for "" is not a duration/],
  ['switch-uplink a --for 2', /--for "2" is not a duration/],
  ['switch-uplink a --confirm -5s', /--confirm/],
  ['switch-uplink a --if-dead panic', /--if-dead "panic" is neither fall-through nor obey/],
  ['status --for 2h', /status does not take --for/],
  ['auto --reason x', /auto does not take --reason/],
  ['plan', /plan needs --config FILE/],
  ['plan new.yaml', /plan takes no arguments; "new.yaml" is too much/],
  ['plan --config=', /--config is empty/],
  ['reload --config x', /reload does not take --config/],
  ['what-if', /what-if needs NAME/],
  ['why fibre cable', /why takes only NAME; "cable" is too much/],
  ['why --by x', /why does not take --by/],
  ['verdict', /verdict needs NAME up\|down\|clear/],
  ['verdict fibre', /verdict needs up\|down\|clear/],
  ['verdict fibre dead --for 30s', /verdict says up, down or clear; "dead" is none of them/],
  ['verdict fibre down', /verdict down needs --for DURATION/],
  ['verdict fibre up', /verdict up needs --for DURATION/],
  ['verdict fibre down --for soon', /--for "soon" is not a duration/],
  ['verdict fibre down --for 30s --by=', /--by is empty/],
  ['verdict fibre clear --by=', /--by is empty/],
  ['verdict fibre clear --for 30s', /verdict clear does not take --for/],
  ['verdict fibre clear --because x', /verdict clear does not take --because/],
  ['verdict fibre down --for 30s --reason x', /verdict does not take --reason/],
  ['switch-uplink a --by x', /switch-uplink does not take --by/],
  ['status --nosuch', /--nosuch/],
  ['status --json=yes', /--json/],
  ['status --url nonsense', /--url "nonsense" is not a URL/],
  ['status --url ftp://x/', /is not a URL such as/],
  ['status --url http://x/ --socket /s', /--socket or --url, not both/],
  ['status --token-file /t', /--token-file goes with --url/],
  ['status --socket=', /--socket is empty/],
];
for (const [line, why] of WRONG) {
  test(`"uplinkctl ${line}" is wrong usage and says why`, () => {
    const parsed = parseCommandLine(line.split(' ').filter((word) => word !== ''));
    assert.equal(parsed.what, 'wrong');
    assert.match(parsed.what === 'wrong' ? parsed.why : '', why);
  });
}

test('the commands that are planned are told from those that are misspelt', () => {
  for (const verb of ['drain', 'disable', 'enable', 'events', 'probe', 'log-level', 'monitor', 'init', 'report']) {
    for (const args of [[verb], ['--json', verb], [verb, 'fibre'], [verb, '--follow'], ['--socket', '/s', verb]]) {
      const parsed = parseCommandLine(args);
      assert.match(parsed.what === 'wrong' ? parsed.why : parsed.what, new RegExp(`"${verb}" is not in this version`), args.join(' '));
    }
  }
});

test('an uplink may have the name of a planned command', () => {
  const parsed = parseCommandLine(['switch-uplink', 'probe']);
  assert.equal(parsed.what === 'run' ? parsed.invocation.uplink : parsed.what, 'probe');
});

test('options may stand before and behind the command, and -- ends them', () => {
  for (const args of [['--json', 'switch-uplink', 'a', '--for', '1h30m'], ['switch-uplink', '--for=1h30m', '--json', 'a'], ['switch-uplink', '--for', '1h30m', '--json', '--', 'a']]) {
    const parsed = parseCommandLine(args);
    assert.equal(parsed.what, 'run', args.join(' '));
    if (parsed.what !== 'run') continue;
    assert.deepEqual({ ...parsed.invocation }, { verb: 'switch-uplink', uplink: 'a', said: undefined, json: true, where: { socketPath: '/run/uplinkd/uplinkd.sock' }, for: '1h30m', by: undefined, because: undefined, reason: undefined, ifDead: undefined, confirm: undefined, config: undefined });
  }
  const dashed = parseCommandLine(['switch-uplink', '--', '--odd']);
  assert.equal(dashed.what === 'run' ? dashed.invocation.uplink : dashed.what, '--odd');
});

test('why takes a name or none, but not an empty one', () => {
  const uplinkOf = (args: string[]) => {
    const parsed = parseCommandLine(args);
    return parsed.what === 'run' ? parsed.invocation.uplink : parsed.what === 'wrong' ? parsed.why : parsed.what;
  };
  assert.equal(uplinkOf(['why']), '');
  assert.equal(uplinkOf(['why', 'fibre']), 'fibre');
  assert.equal(uplinkOf(['why', '']), 'NAME is empty', 'a script whose variable is empty');
  assert.equal(uplinkOf(['verdict', '', 'down', '--for', '30s']), 'NAME is empty');
});

test('help is given whatever else stands there, for the command that is named', () => {
  assert.deepEqual(parseCommandLine(['--help']), { what: 'help', verb: undefined });
  assert.deepEqual(parseCommandLine(['switch-uplink', '--help']), { what: 'help', verb: 'switch-uplink' });
  assert.deepEqual(parseCommandLine(['help', 'check']), { what: 'help', verb: 'check' });
  assert.deepEqual(parseCommandLine(['status', '--version']), { what: 'version' });
});

test('durations are told in their two largest units', () => {
  const cases: readonly [number, string][] = [
    [0, '0s'], [40, '0s'], [1_234, '1.2s'], [9_949, '9.9s'], [9_960, '10s'], [59_600, '1m'], [252_000, '4m12s'], [3_600_000, '1h'], [3_661_000, '1h1m'], [7_205_000, '2h'], [90_000_000, '1d1h'], [1e10, '115d17h'],
    [-5_000, '0s'], [Number.NaN, 'an unknown time'],
  ];
  for (const [ms, text] of cases) assert.equal(durationText(ms), text, String(ms));
});

test('nothing from the other end can move the cursor or turn the line around', () => {
  assert.equal(plain('a\u001b[2Jb\r\n\tc\u009bd\u007f\u202ee\u2028f'), 'a�[2Jb���c�d��e�f');
  assert.equal(plain('überall 💥'), 'überall 💥');
  const evil = '\u001b]0;owned\u0007\n';
  const uplink = { name: evil, state: evil, because: evil, interface: evil, gateway: evil, targets: [{ target: evil, address: evil, lastError: evil }] };
  const status = readStatus({
    active: [{ name: evil, interface: evil, gateway: evil }], because: evil, rule: evil, override: { uplink: evil, by: evil, reason: evil, ifDead: evil }, uplinks: [uplink],
    kernel: { failures: [evil] }, host: { natBackend: evil, problems: [evil] }, controller: { version: evil },
  });
  assert.ok(status);
  for (const text of [showStatus(status, paintFor(false)), showActive(status, 0), showOutcome(status), checkStatus(status).line]) assert.doesNotMatch(text, /[^\P{Cc}\n]/u);
  assert.equal(checkStatus(status).line.split('\n').length, 2, 'a plugin prints one line');
});

test('an answer of another version or another program is unknown, not a crash', () => {
  for (const answer of [null, 5, 'x', [], {}, { active: 5 }, { active: {} }]) {
    assert.equal(readActive(answer), undefined);
    assert.equal(readStatus(answer), undefined);
  }
  assert.equal(readStatus({ active: [] }), undefined);
  const bare = readStatus({ active: [null, 'x', {}], uplinks: [null, { targets: [7] }] });
  assert.ok(bare);
  assert.match(showStatus(bare, paintFor(false)), /an unknown time/);
});

test('colours are beside the words, never within them, and columns stay in line', () => {
  const view = status({});
  const bare = showStatus(view, paintFor(false));
  const coloured = showStatus(view, paintFor(true));
  assert.doesNotMatch(bare, /\u001b/);
  assert.match(coloured, /\u001b\[32mup/);
  assert.equal(coloured.replace(/\u001b\[[0-9]+m/g, '').replace(/ +$/gm, ''), bare);
});

// ------------------------------------------------------------------------------------------------------ check

const healthy = {
  at: '2024-05-01T12:10:00.000Z', generation: 7, since: '2024-05-01T12:00:00.000Z', because: 'fibre has the best priority', rule: 'automatic', override: null,
  active: [{ name: 'fibre', interface: 'eth0', gateway: '198.51.100.1' }],
  uplinks: [
    { name: 'fibre', state: 'up', because: 'all targets answer', active: true, priority: 1, targets: [{ target: 'gateway', rttMs: 1, lossPercent: 0 }, { target: 'icmp 1.1.1.1', rttMs: 12.5, lossPercent: 3 }, { target: 'icmp 9.9.9.9', rttMs: 14, lossPercent: 0 }] },
    { name: 'cable', state: 'up', because: 'all targets answer', active: false, priority: 2, targets: [{ target: 'gateway', rttMs: 2, lossPercent: 0 }] },
    { name: 'lte', state: 'unknown', because: 'no answer yet', active: false, priority: 3, targets: [{ target: 'gateway', rttMs: null, lossPercent: null }] },
  ],
  kernel: { inSync: true, failures: [], repairs: 0, applied: 1 }, host: null, controller: { version: '0.1.0', startedAt: '2024-05-01T11:00:00.000Z', ready: true, worstLatenessMs: 1 },
};

function status(part: object): StatusView {
  const view = readStatus({ ...healthy, ...part });
  assert.ok(view);
  return view;
}

function onUplink(name: string, states: Record<string, string> = {}): object {
  return {
    active: [{ name, interface: 'eth9', gateway: '' }],
    uplinks: healthy.uplinks.map((uplink) => ({ ...uplink, active: uplink.name === name, state: states[uplink.name] ?? uplink.state })),
  };
}

test('check is OK on the best priority, with performance data', () => {
  assert.deepEqual(checkStatus(status({})), {
    code: 0,
    line: "UPLINKD OK - fibre is active: fibre has the best priority | 'active'=1;;;0 'up'=2;;;0;3 'fibre_rtt'=12.5ms;;;0 'fibre_loss'=0%;;;0;100 'cable_rtt'=2ms;;;0 'cable_loss'=0%;;;0;100\n",
  });
});

test('check warns on a backup, and says what is wrong with the better one', () => {
  const { code, line } = checkStatus(status(onUplink('cable', { fibre: 'down' })));
  assert.equal(code, 1);
  assert.match(line, /^UPLINKD WARNING - running on a backup, cable; fibre is down: /);
});

test('check does not call it a backup when the better ones are disabled, or when one of several best ones is active', () => {
  assert.equal(checkStatus(status(onUplink('cable', { fibre: 'disabled' }))).code, 0);
  const shared = healthy.uplinks.map((uplink) => ({ ...uplink, priority: 1, state: uplink.name === 'fibre' ? 'down' : 'up', active: uplink.name === 'cable' }));
  assert.equal(checkStatus(status({ ...onUplink('cable'), uplinks: shared })).code, 0);
});

test('check warns of an override, on the best uplink too', () => {
  const { code, line } = checkStatus(status({ override: { uplink: 'fibre', by: 'ada@unix', reason: 'splicing | now' } }));
  assert.equal(code, 1);
  assert.match(line, /override is set: fibre by ada@unix, splicing \/ now \|/);
  assert.equal(line.split('|').length, 2, 'the bar separates the data and nothing else');
});

test('check warns of an uplink that is chosen well and of no use: nothing is masqueraded, or the kernel refuses its routes', () => {
  const host = { natBackend: 'none', natInSync: false, sysctlsInSync: true, problems: ['nat: neither iptables nor nft is installed'] };
  const unmasked = checkStatus(status({ host }));
  assert.equal(unmasked.code, 1);
  assert.match(unmasked.line, /^UPLINKD WARNING - NAT not in sync: nat: neither iptables nor nft is installed \|/);
  assert.equal(checkStatus(status({ host: { ...host, natInSync: true, problems: ['forwarding.firewall: auto is off here'] } })).code, 0);
  const refused = checkStatus(status({ kernel: { ...healthy.kernel, inSync: false, failures: ['ip route add default: EEXIST'] } }));
  assert.equal(refused.code, 1);
  assert.match(refused.line, /the kernel refused: ip route add default: EEXIST/);
  assert.equal(checkStatus(status({ kernel: { ...healthy.kernel, inSync: false } })).code, 0);
});

test('check warns of an active uplink that works badly, in its words, and once', () => {
  const degraded = { ...onUplink('fibre', { fibre: 'degraded' }) };
  const { code, line } = checkStatus(status(degraded));
  assert.equal(code, 1);
  assert.match(line, /^UPLINKD WARNING - fibre is active and degraded: all targets answer \|/);
  assert.equal(checkStatus(status({ ...degraded, rule: 'last-resort' })).code, 1, 'it is kept because nothing is better, and it works');
  assert.equal(checkStatus(status(onUplink('fibre', { cable: 'degraded' }))).code, 0, 'one that carries nothing is nobody\'s trouble');
  const both = (active6: boolean) => status({
    active: [4, ...(active6 ? [6] : [])].map((family) => ({ ...healthy.active[0], family })), decisions: [4, 6].map((family) => ({ family, rule: 'automatic', order: [['fibre']] })),
    uplinks: healthy.uplinks.map((uplink) => (uplink.name !== 'fibre' ? { ...uplink, families: [{ ...uplink, family: 4, domain: 'none' }] } : {
      ...uplink, families: [{ ...uplink, family: 4, domain: 'none' }, { ...uplink, family: 6, domain: 'quality', state: 'degraded', because: 'loss 40 %', active: active6 }],
    })),
  });
  assert.match(checkStatus(both(true)).line, /^UPLINKD WARNING - fibre is active and degraded: loss 40 % \|/, 'in one family is enough');
  assert.doesNotMatch(checkStatus(both(false)).line, /degraded: loss/);
});

test('check is critical when nothing is left, and when the last choice is unfit', () => {
  assert.equal(checkStatus(status({ active: [], override: { uplink: 'x' } })).code, 2);
  const { code, line } = checkStatus(status({ rule: 'last-resort' }));
  assert.equal(code, 2);
  assert.match(line, /last resort/);
});

test('check knows nothing before the first decision', () => {
  assert.equal(checkStatus(status({ controller: { ready: false } })).code, 3);
});

test('labels of performance data are what the convention allows', () => {
  const [first, ...others] = healthy.uplinks;
  const { line } = checkStatus(status({ uplinks: [{ ...first, name: "a'b=c" }, ...others] }));
  assert.match(line, / 'a_b_c_rtt'=12.5ms/);
});

// ------------------------------------------------------------------------------------------------------- manual

test('the manual has every command and every option that the program has, and no other', () => {
  const page = readFileSync(new URL('../../../docs/man/uplinkctl.1', import.meta.url), 'utf8');
  const commands = [...page.matchAll(/^\.It Cm ([a-z-]+)/gm)].map(([, name]) => name);
  assert.deepEqual(commands, Object.keys(VERBS));
  const options = [...new Set([...page.matchAll(/^\.It Fl (?:h , Fl )?\\-([a-z-]+)/gm)].map(([, name]) => name))].sort();
  assert.deepEqual(options, ['because', 'by', 'config', 'confirm', 'for', 'help', 'if-dead', 'json', 'reason', 'socket', 'token-file', 'url', 'version']);
  assert.match(VERBS.plan.help, /--config FILE /);
  for (const option of ['for', 'reason', 'if-dead', 'confirm']) assert.ok(VERBS['switch-uplink'].help.includes(`--${option} `), option);
  for (const option of VERBS.verdict.options) assert.ok(VERBS.verdict.help.includes(`--${option} `), option);
});
