/** A new config while everything runs: the difference is applied and nothing else; what is said before is what is done after. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, now, waitFor } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import { morePorts, openSockets } from './sockets.js';
import { BACKENDS, UNDAMPED, assertUnhurt, carriers, isInSync, reload, said, settled, shareStory, uplinkIn, untilState } from './story.js';

const skip = (await labUnavailable(...BACKENDS.filter((backend) => backend === 'iptables'))) ?? false;
const TWO = { fibre: uplink(0, 1), cable: uplink(1, 2) };
const tell = shareStory({ config: { nat: { backend: BACKENDS[0] }, uplinks: TWO } });

interface PreviewPart {
  readonly before: readonly { readonly family: number; readonly order: readonly (readonly string[])[] }[];
  readonly after: readonly { readonly family: number; readonly order: readonly (readonly string[])[] }[];
  readonly routing: readonly string[];
  readonly filter: readonly string[];
  readonly sysctls: readonly string[];
  readonly flows: readonly string[];
}

for (const backend of BACKENDS) {
  test(`uplinks and policies come, change and go: running flows and connections of the others lose nothing; the uplink that goes leaves nothing behind (${backend})`, { skip }, () =>
    tell(async (story) => {
      const { lab, daemon } = story;
      const reloadWith = async (config: object): Promise<void> => reload(story, { ...UNDAMPED, nat: { backend }, failback: { hold: '300ms' }, ...config });
      const [udp, tcp, client] = await Promise.all([lab.stream({ kind: 'udp', rateHz: 50 }), lab.stream({ kind: 'tcp', rateHz: 50 }), openSockets(lab)]);
      await morePorts(lab);
      const since = now();

      await reloadWith({ uplinks: { ...TWO, lte: uplink(2, 3) }, policies: [{ name: 'telephony', protocol: 'udp', ports: 5060, use: 'lte' }] });
      await settled(daemon);
      assert.deepEqual(await client.by({ port: 5060 }), { lte: 1 });
      await reloadWith({ uplinks: { fibre: uplink(0, 1, 3), cable: uplink(1, 1), lte: uplink(2, 3) }, policies: [{ name: 'telephony', protocol: 'udp', ports: 5060, use: 'cable' }] });
      assert.deepEqual(await client.by({ port: 5060 }), { cable: 1 }, 'in force when it is answered');
      await daemon.until('fibre and cable share', ({ active }) => active.length === 2);
      assert.deepEqual(Object.keys(await client.by({ count: 60 })).sort(), ['cable', 'fibre']);
      await reloadWith({ uplinks: { fibre: uplink(0, 5), cable: uplink(1, 6), lte: uplink(2, 1) } });
      await daemon.untilActive('lte');
      assert.deepEqual(await client.by(), { lte: 1 });
      assert.deepEqual(await client.by({ port: 5060 }), { lte: 1 }, 'the policy is gone');
      const stays = await client.hold({ protocol: 'tcp' });

      const lte = uplinkIn(await daemon.status(), 'lte');
      await reloadWith({ uplinks: TWO });
      await daemon.untilActive('fibre');
      await waitFor('whoever was on the line that is gone is told', async () => (await client.one(stays)).error, (error) => error === 'ECONNRESET');
      await waitFor('nothing of lte is left', async () => leftOf(lab, lte), (left) => left.length === 0);
      assert.deepEqual((await daemon.status()).uplinks.map((one) => one.name), ['fibre', 'cable']);
      await assertUnhurt({ udp, tcp }, since);
      assert.deepEqual([await carriers(udp), await carriers(tcp)], [['fibre'], ['fibre']]);
      await client.end();
    }, { nat: { backend } }));

  test(`a preferred uplink that comes by a reload takes new flows from the first moment on as it should, translated and marked (${backend})`, { skip }, () =>
    tell(async (story) => {
      const { lab, daemon } = story;
      const fresh = await lab.stream({ kind: 'new-udp', rateHz: 500 });
      assert.deepEqual(await carriers(fresh), ['cable']);
      const since = now();
      await reload(story, { ...UNDAMPED, nat: { backend }, uplinks: TWO });
      await daemon.untilActive('fibre');
      assert.deepEqual(await carriers(fresh), ['fibre']);
      await assertUnhurt({ fresh }, since);
    }, { nat: { backend }, uplinks: { cable: TWO.cable } }));

  test(`plan says before what a reload then does, and changes nothing itself; an invalid config is refused, and the old one runs on (${backend})`, { skip }, () =>
    tell(async ({ lab, daemon }) => {
      const before = await kernelOf(lab);
      const next = lab.config({ ...UNDAMPED, nat: { backend }, uplinks: { fibre: uplink(0, 2), cable: uplink(1, 1) }, policies: [{ name: 'telephony', protocol: 'udp', ports: 5060, use: ['fibre'], otherwise: 'block' }] });
      await lab.text('router', ['tee', '/run/next.yaml'], JSON.stringify(next));
      const planned = JSON.parse((await daemon.ctl('plan', '--config', '/run/next.yaml', '--json')).stdout) as PreviewPart;
      const shown = (await daemon.ctl('plan', '--config', '/run/next.yaml')).stdout;
      for (const line of [...planned.routing, ...planned.filter]) assert.ok(shown.includes(line), line);
      assert.deepEqual(await kernelOf(lab), before, 'asking changes nothing');

      await lab.text('router', ['tee', daemon.paths.config], JSON.stringify(next));
      const done = JSON.parse((await daemon.ctl('reload', '--json')).stdout) as PreviewPart;
      assert.deepEqual([done.routing, done.filter], [planned.routing, planned.filter]);
      await daemon.untilActive('cable');
      await daemon.until('the kernel is as wished', isInSync);
      const after = await kernelOf(lab);
      assert.deepEqual(rulesIn(planned.routing, 'add'), added(before.rules, after.rules));
      const defaults = (routes: readonly string[]): readonly string[] => routes.filter((route) => route.includes(' table 9400 ')).map((route) => / dev (\S+)/.exec(route)?.[1] ?? '');
      assert.equal(defaults(planned.routing).includes('isp1'), true, planned.routing.join('\n'));
      assert.match(after.active[0] ?? '', /dev isp1/);
      assert.ok([/^\+ .*5060/, /^\+ .*policy telephony/].every((part) => planned.filter.some((line) => part.test(line))), planned.filter.join('\n'));
      assert.equal((JSON.parse((await daemon.ctl('plan', '--config', '/run/next.yaml', '--json')).stdout) as PreviewPart).routing.length, 0, 'and now nothing is left to do');

      await lab.text('router', ['tee', daemon.paths.config], JSON.stringify({ ...next, uplinks: { fibre: { interface: 'isp0', gateway: '300.1.1.1', priorty: 1 } }, policies: [{ name: 'x', use: 'nobody' }] }));
      const { status, body } = await daemon.rest('POST', '/v1/reload');
      assert.equal(status, 422, JSON.stringify(body));
      for (const word of ['priorty', '300.1.1.1', 'nobody']) assert.ok(JSON.stringify(body).includes(word), `${word} in ${JSON.stringify(body)}`);
      const refused = await daemon.ctl('reload');
      assert.equal(refused.code, 78);
      assert.deepEqual(await kernelOf(lab), after, 'the old one runs on');
      assert.deepEqual((await daemon.status()).active.map((one) => one.name), ['cable']);
    }, { nat: { backend } }));
}

test('what-if says what a real cut then does, and does nothing', { skip }, () =>
  tell(async ({ lab, daemon }) => {
    const stream = await lab.stream({ kind: 'udp', rateHz: 50 });
    const before = await kernelOf(lab);
    const since = now();
    const foreseen = JSON.parse((await daemon.ctl('what-if', 'fibre', '--json')).stdout) as PreviewPart;
    assert.deepEqual(await kernelOf(lab), before);
    await assertUnhurt({ stream }, since);
    assert.deepEqual(foreseen.after.find((one) => one.family === 4)?.order, [['cable'], ['lte']]);
    assert.match(foreseen.flows.join(), /forget the connections of fibre/);

    await lab.cutCable('fibre');
    await untilState(daemon, 'fibre', 'down');
    await daemon.until('the kernel is as wished', isInSync);
    const after = await kernelOf(lab);
    assert.deepEqual((await daemon.status()).active.map((one) => one.name), ['cable']);
    assert.deepEqual(rulesIn(foreseen.routing, 'del'), added(after.rules, before.rules));
    assert.deepEqual(rulesIn(foreseen.routing, 'add'), added(before.rules, after.rules));
    for (const table of [after.active, after.main]) assert.ok(!table.some((route) => /^default .* dev isp0 proto 147/.test(route)), table.join('\n'));
    assert.ok(foreseen.routing.some((line) => /^ip route del\S* default via 198\.51\.100\.1 dev isp0 .*table 9400/.test(line)), foreseen.routing.join('\n'));
    await waitFor('what was to be forgotten is', async () => said(daemon, /^forgot .* of fibre/).length, (count) => count > 0);
  }, { uplinks: { ...TWO, lte: uplink(2, 3) }, policies: [{ name: 'telephony', protocol: 'udp', ports: 5060, use: ['fibre'], otherwise: 'block' }] }));

function uplink(n: number, priority: number, weight = 1): object {
  return { interface: `isp${n}`, gateway: ['198.51.100.1', '203.0.113.1', '100.64.0.1'][n], priority, weight };
}

interface Kernel {
  readonly rules: readonly string[];
  readonly main: readonly string[];
  readonly active: readonly string[];
  readonly tables: object;
  readonly filter: string;
}

async function kernelOf(lab: Lab): Promise<Kernel> {
  const { rules, tables, nft, iptables, main, active } = await lab.view('router');
  return { rules, tables, main, active, filter: [...nft, ...iptables].filter((line) => !/^table ip6? (filter|nat|mangle|raw)|^\*|^:[A-Z]+ |^COMMIT/.test(line)).join('\n') };
}

/** `9540 0x900 9618` for each `ip rule add ...` or `ip rule del ...`. */
function rulesIn(lines: readonly string[], verb: 'add' | 'del'): readonly string[] {
  return lines.filter((line) => new RegExp(`^ip (-4 )?rule ${verb}`).test(line)).map((line) => {
    const preference = / pref(?:erence)? (\d+)/.exec(line)?.[1] ?? '';
    return `${preference} ${/ (?:table|lookup) (\S+)/.exec(line)?.[1] ?? ''}`;
  }).sort();
}

/** Rules of the second that the first has not, in the same few words. */
function added(before: readonly string[], after: readonly string[]): readonly string[] {
  return after.filter((rule) => !before.includes(rule)).map((rule) => `${rule.split(':')[0] ?? ''} ${/ lookup (\S+)/.exec(rule)?.[1] ?? ''}`).sort();
}

/** Rules, routes, chains and connections of an uplink that the config has no more. */
async function leftOf(lab: Lab, { mark, table }: { readonly [key: string]: unknown }): Promise<readonly string[]> {
  const { rules, tables, nft, iptables } = await lab.view('router');
  const entries = await lab.text('router', ['conntrack', '-L', '-m', `${Number(mark)}/0x3f80`]);
  return [
    ...rules.filter((rule) => rule.includes(`lookup ${String(table)}`) || rule.includes('oif isp2')), ...(tables[String(table)] ?? []),
    ...[...nft, ...iptables].filter((line) => /\bisp2\b/.test(line)), ...entries.split('\n').filter((line) => line.includes('mark=')),
  ];
}
