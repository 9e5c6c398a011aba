/** What becomes of TCP probes. Prints the facts as JSON; see tcp.test.ts for what they must be. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Method } from '../../src/model.js';
import { openTcp } from '../../src/probes/tcp.js';
import { atServer, descriptorsLeft, pinned, play, sharedAddress } from './asker-stories.js';
import { ask, askTimed, departures, descriptors, FAMILIES, ispFilter, ispUnfilter, line, nft, now, put, SERVER, SILENCE_MS, until } from './asker-world.js';

const to = (port: number): Method => ({ kind: 'tcp', host: '', port });
const way = { open: openTcp, method: to(7001), address: atServer };

await play({
  pinned: () => pinned(way),
  sharedAddress: () => sharedAddress(way),

  /** Everything that comes back but an answer. */
  async losses() {
    const told: Record<string, string> = {};
    for (const family of FAMILIES) {
      const asker = openTcp(line('a', family), now);
      const unreachable = family === 4 ? 'host-unreachable' : 'addr-unreachable';
      told[`refused${family}`] = await ask(asker, to(7002), SERVER[family]);
      ispFilter('a', `tcp dport 7003 reject with icmp${family === 4 ? '' : 'v6'} ${unreachable}; tcp dport 7004 reject with icmp${family === 4 ? '' : 'v6'} admin-prohibited; tcp dport 7005 drop`);
      told[`unreachable${family}`] = await ask(asker, to(7003), SERVER[family]);
      told[`prohibited${family}`] = await ask(asker, to(7004), SERVER[family]);
      told[`silent${family}`] = await ask(asker, to(7005), SERVER[family], SILENCE_MS);
      ispUnfilter('a');
      nft('table inet mine { chain c { type filter hook output priority 0; tcp dport 7006 drop; }; }');
      told[`firewall${family}`] = await ask(asker, to(7006), SERVER[family], SILENCE_MS);
      nft('delete table inet mine');
      told[`otherFamily${family}`] = await ask(asker, to(7001), SERVER[family === 4 ? 6 : 4]);
      told[`noSource${family}`] = await ask(openTcp(line('a', family, { source: family === 4 ? '198.51.100.99' : '2001:db8::99' }), now), to(7001), SERVER[family]);
      told[`noDevice${family}`] = await ask(openTcp(line('a', family, { source: '', ifindex: 4_000_000 }), now), to(7001), SERVER[family]);
      told[`after${family}`] = await ask(asker, to(7001), SERVER[family]);
      asker.close();
      told[`closed${family}`] = await ask(asker, to(7001), SERVER[family]);
    }
    return told;
  },

  /** A gateway by its link-local address, which is the same on both lines. */
  async linkLocal() {
    const told = [];
    for (const side of ['a', 'b'] as const) {
      const asker = openTcp(line(side, 6, { source: '' }), now);
      told.push(await ask(asker, to(7001), 'fe80::1'), await ask(asker, to(7001), `fe80::1%wan-${side}`));
      ispFilter(side, 'tcp dport 7001 drop');
      told.push(await ask(asker, to(7001), 'fe80::1', SILENCE_MS));
      ispUnfilter(side);
      asker.close();
    }
    return told;
  },

  /** How a probe looks on the line: the packets that it takes, and what is left of it here. */
  async gone() {
    const asker = openTcp(line('a', 4), now);
    departures();
    const { said, rttMs } = await askTimed(asker, to(7001), SERVER[4]);
    const packets = departures();
    asker.close();
    const left = execFileSync('ss', ['-Htan'], { encoding: 'utf8' }).trim();
    return { said, timed: rttMs > 0, packets, left };
  },

  /** The first SYN is swallowed, and the second answered a second later. */
  async repeated() {
    const asker = openTcp(line('a', 4), now);
    ispFilter('a', 'tcp dport 7001 tcp flags syn limit rate over 1/day burst 1 packets accept; tcp dport 7001 tcp flags syn drop');
    const before = descriptors();
    const first = put(asker, to(7001), SERVER[4]);
    const second = await ask(asker, to(7001), SERVER[4]);
    const waiting = descriptors() - before;
    const landed = await until(() => descriptors() <= before);
    ispUnfilter('a');
    asker.close();
    return { first: first.map(({ said }) => said), second, waiting, landed };
  },

  /** Nobody answers: the kernel gives up by itself, and the descriptors are free again without anything being told. */
  async givesUp() {
    const asker = openTcp(line('a', 4), now);
    ispFilter('a', 'tcp dport 7001 drop');
    const before = descriptors();
    const waiting = Array.from({ length: 300 }, () => put(asker, to(7001), SERVER[4]));
    const held = descriptors() - before;
    await until(() => descriptors() <= before);
    ispUnfilter('a');
    asker.close();
    return { held, left: descriptors() - before, told: waiting.flat().length };
  },

  async descriptors() {
    return descriptorsLeft([
      { ...way, times: 200 },
      { ...way, method: to(7002), times: 200 },
      { ...way, open: (own, clock) => openTcp({ ...own, source: '198.51.100.99' }, clock), times: 100 },
      { ...way, address: () => '203.0.113.77', times: 300, silent: true },
    ]);
  },

  /** Whoever is told throws: the process must hear of it, and the next probe works. */
  async throws() {
    const asker = openTcp(line('a', 4), now);
    const heard: string[] = [];
    const hear = (cause: Error): void => void heard.push(cause.message);
    process.on('uncaughtException', hear);
    const fail = (): never => {
      throw new Error('on purpose');
    };
    asker.ask({ order: { uplink: 'a', family: 4, target: { id: 't', families: [4], intervalMs: undefined, ...way.method }, address: SERVER[4], seq: 1 }, answered: fail, lost: fail });
    await until(() => heard.length > 0);
    process.off('uncaughtException', hear);
    const after = await ask(asker, way.method, SERVER[4]);
    asker.close();
    return { heard, after };
  },

  /** No descriptor is to be had. */
  async noDescriptors() {
    const asker = openTcp(line('a', 4), now);
    const taken: number[] = [];
    for (;;) {
      try {
        taken.push(openSync('/dev/null', 'r'));
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EMFILE') throw cause;
        break;
      }
    }
    const outcomes = put(asker, to(7001), SERVER[4]);
    for (const fd of taken) closeSync(fd);
    const after = await ask(asker, to(7001), SERVER[4]);
    asker.close();
    return { without: outcomes.map(({ said }) => said), after };
  },
});
