/** What is foretold is what happens: the real daemon in the lab is asked first, and then it is done. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { settled } from '../failover/story.js';
import type { Daemon } from '../lab/daemon.js';
import { labUnavailable, withLab, type Lab } from '../lab/lab.js';

const skip = (await labUnavailable()) ?? false;

interface Foretold {
  readonly before: readonly { readonly order: readonly (readonly string[])[] }[];
  readonly after: readonly { readonly order: readonly (readonly string[])[]; readonly because: string }[];
  readonly routing: readonly string[];
  readonly filter: readonly string[];
}

const CONFIG = 'profile: lab\npolicies:\n  - { name: guests, source: 192.168.9.0/24, use: [cable, fibre], otherwise: block }\n';

test('what-if lists what is then done when the cable is cut, and the plan of a config what its reload does', { skip }, () => withLab({}, async (lab) => {
  const daemon = await lab.startDaemon({ config: CONFIG });
  await settled(daemon);
  const ask = async (...words: string[]) => {
    const { code, stdout, stderr } = await daemon.ctl(...words);
    assert.deepEqual([code, stderr], [0, ''], words.join(' '));
    return stdout;
  };
  const json = async (...words: string[]) => JSON.parse(await ask(...words, '--json')) as Foretold;
  assert.match(await ask('policies'), /^guests +cable +0 +0 B +cable, then fibre; else blocked +from 192\.168\.9\.0\/24$/m);
  assert.match(await ask('doctor'), /^(error|warning|note|ok) +\S/);

  await plans(daemon, json, ask);

  const standing = await routesOf(lab);
  const foretold = await json('what-if', 'fibre');
  assert.deepEqual(await routesOf(lab), standing, 'asking changes nothing');
  await lab.cutCable('fibre');
  await daemon.untilActive('cable');
  assert.deepEqual(await routesOf(lab), carriedOut(standing, foretold.routing));
  const status = await daemon.status();
  assert.equal(status['because'], foretold.after[0]?.because);
  assert.match(await ask('what-if', 'fibre'), /^IPv4 {2}cable, then lte, as before\n\nnothing would change\n$/);
}));

async function plans(daemon: Daemon, json: (...words: string[]) => Promise<Foretold>, ask: (...words: string[]) => Promise<string>): Promise<void> {
  const seenFromOutside = `/proc/${daemon.pid}/root${daemon.paths.config}`;
  const next = `${CONFIG}uplinks: { fibre: {}, cable: {}, lte: { priority: 1, weight: 3 } }\n`;
  assert.match(await ask('plan', '--config', daemon.paths.config), /\n\nnothing would change\n$/);
  writeFileSync(seenFromOutside, next);
  const planned = await json('plan', '--config', daemon.paths.config);
  assert.deepEqual(planned.after[0]?.order, [['fibre', 'lte'], ['cable']]);
  const done = await json('reload');
  assert.deepEqual({ ...done, after: done.after.map(({ order }) => order), inSync: undefined }, { ...planned, after: planned.after.map(({ order }) => order), inSync: undefined });
  assert.deepEqual((await daemon.status()).active.map(({ name }) => name), ['fibre', 'lte']);
  writeFileSync(seenFromOutside, CONFIG);
  await ask('reload');
  await settled(daemon);
}

/** Our default routes, as the lines that would add them. */
async function routesOf(lab: Lab): Promise<readonly string[]> {
  const text = await lab.text('router', ['ip', 'route', 'show', 'table', 'all', 'proto', '147']);
  return text.split('\n').filter((line) => line.startsWith('default ')).map(normal).sort();
}

function carriedOut(standing: readonly string[], lines: readonly string[]): readonly string[] {
  const routes = new Set(standing);
  for (const line of lines) {
    const [, verb, route] = /^ip route (add|del) (default .*)$/.exec(line) ?? [];
    if (verb === 'add') routes.add(normal(route!));
    else if (verb === 'del') assert.ok(routes.delete(normal(route!)), `what goes was there: ${line}`);
  }
  return [...routes].sort();
}

/** The gateway, the device, the table and the metric, however they are ordered. */
function normal(route: string): string {
  const word = (name: string) => new RegExp(`\\b${name} (\\S+)`).exec(route)?.[1] ?? '';
  return [word('via'), word('dev'), word('table').replace(/^main$|^uplinkd-active$/, (name) => (name === 'main' ? '' : '9400')), word('metric')].join(' ');
}
