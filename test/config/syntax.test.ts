/** YAML that is not YAML, and YAML that means harm: told in words, at the place where the slip is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import { showProblem } from '../../src/config/load.js';

const UPLINK = 'uplinks: { fibre: { interface: eth0 } }\n';

function problemsOf(text: string): string {
  const loaded = compile({ file: 'c', text }, () => ({ wrong: 'there is no profile in this test' }), new Map());
  return 'config' in loaded ? 'none' : loaded.problems.map((problem) => showProblem(problem).replace(/^c:/, '')).join('\n');
}

test('broken syntax is told where the slip is, not where the parser noticed', () => {
  const table: readonly (readonly [string, string])[] = [
    ['uplinks:\n\tfibre: { interface: eth0 }\n', '2: a tab stands where the line is indented: YAML wants spaces there'],
    ['uplinks:\n  fibre:\n    interface: eth0\n   priority: 1\n', '4: this line does not line up with its neighbours: indent it exactly as the keys it belongs to'],
    ['uplinks:\n  fibre:\n    interface: eth0\n      priority: 1\n', '3: one key has both a value and further keys: put each key on a line of its own, lined up with its neighbours'],
    [`${UPLINK}probe: interval: 3s\n`, '2: one key has both a value and further keys: put each key on a line of its own, lined up with its neighbours'],
    ['uplinks:\n  fibre: { interface: eth0\nlan: { interfaces: [eth1] }\nstop: keep\n', '2: this `{` is not closed: add `}`'],
    [`${UPLINK}lan:\n  interfaces: [eth1, eth2\nstop: keep\n`, '3: this `[` is not closed: add `]`'],
    ['uplinks:\n  fibre: { interface: "eth0 }\nlan:\n  interfaces: [eth1]\n', '2: this `"` is not closed: add `"`'],
    [`${UPLINK}lan: {\n  interfaces: [eth1\n}\n`, '3: this `[` is not closed: add `]`'],
    [`${UPLINK}api: { listen: [::1]:9474 }\n`, '2: a comma is missing between two items; a value that has a bracket or a comma in it needs quotes'],
    [`${UPLINK}stop keep\n`, '2: a key needs a `:` and a space after it: is it missing here, or does this line belong to the one above?'],
    [`${UPLINK}stop:keep\n`, '2: a key needs a `:` and a space after it: is it missing here, or does this line belong to the one above?'],
    [`${UPLINK}stop: "keep"#why\n`, '2: a comment needs a space before its `#`; put the value in quotes if `#` belongs to it'],
    [`${UPLINK}---\n${UPLINK}`, '2: a second document begins here (`---`): one file holds one config'],
    [`${UPLINK}stop: !secret keep\n`, '2: a word that begins with `!` is a YAML tag, and `!secret` is none that is known here: take it away, or put the value in quotes'],
    [`${UPLINK}stop: @keep\n`, '2: a value cannot begin with `@`: put the whole value in quotes'],
    [`${UPLINK}stop: "\\q"\n`, '2: `\\q` means nothing between double quotes: use single quotes'],
    [`${UPLINK}lan: { interfaces: [eth1,,eth2] }\n`, '2: a comma too many: take it away'],
    [`${UPLINK}lan: { interfaces: - eth1 }\n`, '2: a list of `- ` lines cannot stand between brackets: write `[a, b]`, or each item on a line of its own below the key'],
    [`${UPLINK}lan:\n  interfaces: - eth1\n`, '3: a list item (`- `) must begin on a line of its own, below its key'],
    [`${UPLINK}}\n`, '2: `}` closes nothing: take it away'],
    [`${UPLINK}[a]: 1\n`, '2: a key must be a plain word followed by `:`'],
    [`${UPLINK}: 1\n`, '2: a key must be a plain word followed by `:`'],
  ];
  for (const [text, told] of table) assert.equal(problemsOf(text), told, `for ${JSON.stringify(text)}`);
});

test('what stands above the break is judged too, what stands below is not made up', () => {
  assert.equal(problemsOf('stop: kep\nprobe: interval: 3s\nhealth: { sensitivity: hihg }\n'), `\
1: stop: \`kep\` is none of \`keep\` and \`restore\`: did you mean \`keep\`?
2: one key has both a value and further keys: put each key on a line of its own, lined up with its neighbours`);
});

test('a value that cannot be read is told once, and nothing is concluded from it', () => {
  assert.equal(problemsOf(`${UPLINK}probe: { targets: [icmp: "\\q", icmp: "\\q"] }\n`), '2: `\\q` means nothing between double quotes: use single quotes');
  assert.equal(problemsOf(`${UPLINK}probe: { quorum: 3, targets: [icmp: 1.1.1.1, *a] }\n`),
    '2: probe.targets[1]: `*a` repeats a value that was named `&a` further up, and there is none: put it in quotes if it is meant as text');
});

test('anchors and aliases work, and are bounded', () => {
  assert.equal(problemsOf('uplinks:\n  a: { interface: eth0, probe: &p { interval: 3s } }\n  b: { interface: eth1, probe: *p }\n'), 'none');
  assert.equal(problemsOf(`${UPLINK}stop: *what\n`), '2: stop: `*what` repeats a value that was named `&what` further up, and there is none: put it in quotes if it is meant as text');
  assert.equal(problemsOf(`${UPLINK}lan: &l { interfaces: *l }\n`), '2: lan.interfaces: `*l` stands inside the very value that it repeats: write out what is meant');
  const bomb = `a: &a [x, x, x, x, x, x, x, x, x, x]\n${[...'bcdefghi'].map((name, i) => `${name}: &${name} [${Array<string>(10).fill(`*${'abcdefgh'[i] ?? ''}`).join(', ')}]`).join('\n')}\n`;
  assert.match(problemsOf(UPLINK + bomb), /the file unfolds to more than 20000 values: write out what the aliases \(`\*name`\) stand for, or take them away/);
});

test('nesting without end is a problem like any other', () => {
  assert.match(problemsOf('['.repeat(5000)), /not closed|nested/);
  assert.match(problemsOf(`${UPLINK}lan: ${'['.repeat(30)}${']'.repeat(30)}\n`), /^2: lan(\[0\])+: this is nested more than 24 deep; no key of a config needs that$/m);
});

test('more than two hundred problems are cut off with their number', () => {
  const lines = problemsOf(UPLINK + Array.from({ length: 300 }, (_, i) => `unknown-key-${i}: 1\n`).join('')).split('\n');
  assert.equal(lines.length, 201);
  assert.equal(lines[200], '201: and 100 more problems below: solve these first');
});

test('JSON is YAML, Windows line ends do not matter, and what looks like a number may be a name', () => {
  assert.equal(problemsOf('{"uplinks":{"a":{"interface":"eth0"}}}'), 'none');
  assert.equal(problemsOf('uplinks:\r\n  a:\r\n    interface: 123\r\n'), 'none');
  assert.equal(problemsOf('uplinks:\r\n  a:\r\n    intrface: x\r\n'), '3: uplinks.a.intrface: `intrface` is not known here: did you mean `interface`?');
});
