/** The runner of the real daemon, proved with the daemon itself: its way in, its ways out, and that a second start finds what the first left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labUnavailable, withLab } from './lab.js';

const skip = (await labUnavailable()) ?? false;

test('the daemon runs in the router, is asked from outside, and ends in every way; one that refuses its config tells its exit code and why', { skip }, () =>
  withLab({ isps: 2 }, async (lab) => {
    const first = await lab.startDaemon({ config: lab.config() });
    await first.ready();
    const { active, uplinks } = await first.untilActive('fibre');
    assert.equal(active[0]?.interface, 'isp0');
    assert.deepEqual(uplinks.map((uplink) => uplink.name), ['fibre', 'cable']);
    assert.ok(first.logs().some((line) => /ready/.test(String(line['msg']))));
    assert.match(String((await lab.view('router')).active[0]), /^default via 198\.51\.100\.1 dev isp0/);
    const told = await first.ctl('active', '--json');
    assert.deepEqual([told.code, /"fibre"/.test(told.stdout)], [0, true], told.stderr);
    assert.match((await first.ctl('doctor')).stdout, /^(error|warning|note|ok) +\S/);
    const refused = await first.rest('PUT', '/v1/override', { uplink: 'nonsense' });
    assert.deepEqual([refused.status >= 400 && refused.status < 500, refused.headers['content-type']?.toString().includes('problem+json')], [true, true]);

    await first.kill9();
    assert.deepEqual(await first.exited, { code: null, signal: 'SIGKILL' });
    const second = await lab.startDaemon();
    await second.ready();
    assert.notEqual(second.pid, first.pid);
    assert.deepEqual(second.paths, first.paths);
    await assert.rejects(second.until('pigs fly', () => false, { inVainMs: 20 }), /until pigs fly\nlast seen: [\s\S]*the end of the daemon's log/);
    assert.equal(await second.stop(), 0);

    const third = await lab.startDaemon({ config: 'uplinks: nonsense\n' });
    assert.equal((await third.exited).code, 78);
    assert.match(third.output(), /uplinks/);
  }));
