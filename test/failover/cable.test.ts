/** Lines that are cut, vanish, come back as another device, or get another address: what the kernel knows for certain. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, until, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { BACKENDS, carriers, defaultsOf, heldMs, reaches, said, settled, shareStory, stateOf, uplinkIn, untilSaid } from './story.js';

const skip = (await labUnavailable()) ?? false;
const UNMASQUERADED = {
  fibre: { interface: 'isp0', gateway: '198.51.100.1', priority: 1, masquerade: false },
  cable: { interface: 'isp1', gateway: '203.0.113.1', priority: 2, masquerade: false },
  lte: { interface: 'isp2', gateway: '100.64.0.1', priority: 3 },
};
/** On ports as real NICs have them: the kernel tells less often of their links. */
const tell = shareStory({ topology: { indexEqual: true } });

test('a cut cable moves running flows and new ones at once, also when another port changed 50 ms before; plugged in again at once, the line is not trusted before its hold is over', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    const flip = await lab.flipPort();
    await until(flip.doneAt + 50);
    const fault = await lab.cutCable('fibre');
    await old.outageAfter(fault);
    await fresh.outageAfter(fault);
    assert.deepEqual([await carriers(old), await carriers(fresh)], [['cable'], ['cable']]);

    const moved = await daemon.untilActive('cable');
    assert.match(uplinkIn(moved, 'fibre').because, /no carrier on isp0/);
    assert.match(String(moved['because']), /fibre is down: no carrier on isp0; cable is next \(priority 2\)/);
    assert.deepEqual((await defaultsOf(lab)).map((route) => / dev (\S+)/.exec(route)?.[1]), ['isp1', 'isp2']);

    await lab.plugCable('fibre');
    const status = await daemon.untilActive('fibre');
    assert.ok(heldMs(status, 'fibre') >= 1000, `back after ${heldMs(status, 'fibre')} ms`);
    assert.equal(stateOf(status, 'fibre'), 'up');
    assert.deepEqual(await carriers(fresh), ['fibre']);
    assert.deepEqual(said(daemon, /the kernel refused/), []);
  }));

for (const backend of BACKENDS) {
  test(`a running flow that others translate to a fixed address is forgotten, and goes on by the next line (${backend})`, { skip }, () =>
    tell(async ({ lab, daemon }) => {
      await snatByOthers(lab);
      const old = await lab.stream({ kind: 'udp', rateHz: 50 });
      const fault = await lab.cutCable('fibre');
      await old.outageAfter(fault);
      assert.deepEqual(await carriers(old), ['cable']);
      await untilSaid(daemon, /^forgot \d+ connections of fibre$/);
      await lab.text('router', ['nft', 'delete', 'table', 'ip', 'theirs']);
    }, { uplinks: UNMASQUERADED, nat: { backend } }));
}

test('an interface that is switched off is left at once, and taken up again when it is switched on', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const [old, fresh] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'new-udp', rateHz: 50 })]);
    const fault = await lab.ip('router', 'link set isp0 down');
    await old.outageAfter(fault);
    await fresh.outageAfter(fault);
    assert.match(uplinkIn(await daemon.untilActive('cable'), 'fibre').because, /isp0 is switched off \(ip link set isp0 up\)/);
    await lab.ip('router', 'link set isp0 up');
    await daemon.untilActive('fibre');
    assert.deepEqual([await carriers(fresh), await carriers(old)], [['fibre'], ['cable']]);
  }));

test('a standby that is switched off and on within a moment has its routes back, although the kernel says nothing of their loss', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const before = (await lab.view('router')).tables;
    await lab.ip('router', 'link set isp1 down', 'link set isp1 up');
    await waitFor('all tables are as before', async () => (await lab.view('router')).tables, (tables) => JSON.stringify(sorted(tables)) === JSON.stringify(sorted(before)));
    await settled(daemon);
    await lab.cutCable('fibre');
    await daemon.untilActive('cable');
  }));

test('another address on a line is taken up, and the line stays active', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const fresh = await lab.stream({ kind: 'new-udp', rateHz: 50 });
    const changed = await lab.changeAddress('fibre', { router: '198.51.100.77' });
    await daemon.until('the new address is known and in use', ({ active, uplinks }) =>
      active[0]?.name === 'fibre' && uplinks[0]?.state === 'up' && JSON.stringify(uplinks[0]['addresses']) === '["198.51.100.77/24"]');
    // The kernel drops all routes of a device with its last address: until they are put back the next uplink carries.
    await fresh.outageAfter(changed);
    assert.deepEqual(await carriers(fresh), ['fibre']);
    const { rules } = await lab.view('router');
    assert.deepEqual(rules.filter((rule) => rule.startsWith('9550')).map((rule) => /from (\S+)/.exec(rule)?.[1]).sort(), ['100.64.0.2', '198.51.100.77', '203.0.113.2']);
    await reaches(lab, 'internet', '198.51.100.77');
    await lab.changeAddress('fibre', { router: '198.51.100.2' });
  }));

async function snatByOthers(lab: Lab): Promise<void> {
  const rules = lab.isps().slice(0, 2).map((isp) => `oifname "${isp.device}" snat to ${isp.router};`).join(' ');
  await lab.text('router', ['nft', '-f', '-'], `table ip theirs { chain post { type nat hook postrouting priority srcnat; ${rules} }\n}\n`);
}

function sorted(tables: Readonly<Record<string, readonly string[]>>): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(Object.entries(tables).sort(([a], [b]) => a.localeCompare(b)).map(([table, routes]) => [table, [...routes].sort()]));
}
