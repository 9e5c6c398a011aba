/** What becomes of DNS probes. Prints the facts as JSON; see dns.test.ts for what they must be. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Method } from '../../src/model.js';
import { openDns } from '../../src/probes/dns.js';
import { atServer, descriptorsLeft, pinned, play, sharedAddress } from './asker-stories.js';
import { ask, descriptors, FAMILIES, ispFilter, ispRun, ispUnfilter, line, nft, now, put, SERVER, SILENCE_MS, until } from './asker-world.js';

const about = (name: string, ...expect: readonly string[]): Method => ({ kind: 'dns', host: '', port: 53, name, expect });
const way = { open: openDns, method: about('ok.example'), address: atServer };

await play({
  pinned: () => pinned(way),
  sharedAddress: () => sharedAddress(way),

  async answers() {
    const told: Record<string, string> = {};
    for (const family of FAMILIES) {
      const asker = openDns(line('a', family), now);
      const say = async (name: string, ...expect: readonly string[]): Promise<void> => {
        const withinMs = ['silent', 'onlyforged'].includes(name) ? SILENCE_MS : undefined;
        told[`${name} ${expect.join(' ')} ${family}`] = await ask(asker, about(`${name}.example`, ...expect), SERVER[family], withinMs);
      };
      for (const name of ['ok', 'nx', 'servfail', 'refused', 'empty', 'alias', 'truncated', 'silent', 'forged', 'onlyforged', 'late']) await say(name);
      for (const name of ['ok', 'alias', 'truncated', 'forged']) for (const expect of ['198.51.100.7', '198.51.100.8']) await say(name, expect);
      await say('ok', '198.51.100.8', '198.51.100.7');
      await say('ok', '2001:db8:7::7');
      await say('ok', '2001:DB8:7:0::7');
      await say('ok', '2001:db8:8::8');
      told[`no name ${family}`] = await ask(asker, about('a..b'), SERVER[family]);
      told[`closed port ${family}`] = await ask(asker, { kind: 'dns', host: '', port: 5353, name: 'ok.example', expect: [] }, SERVER[family]);
      ispFilter('a', `udp dport 5354 reject with icmp${family === 4 ? ' host-unreachable' : 'v6 addr-unreachable'}`);
      told[`unreachable ${family}`] = await ask(asker, { kind: 'dns', host: '', port: 5354, name: 'ok.example', expect: [] }, SERVER[family]);
      ispUnfilter('a');
      nft('table inet mine { chain c { type filter hook output priority 0; udp dport 5355 drop; }; }');
      told[`firewall ${family}`] = await ask(asker, { kind: 'dns', host: '', port: 5355, name: 'ok.example', expect: [] }, SERVER[family]);
      nft('delete table inet mine');
      told[`after ${family}`] = await ask(asker, about('ok.example'), SERVER[family]);
      asker.close();
    }
    return told;
  },

  /** ICMP errors before the answer. */
  async slander() {
    const asker = openDns(line('a', 4), now);
    const told = [];
    for (const name of ['slandered', 'lied']) {
      const outcomes = put(asker, about(`${name}.example`), SERVER[4]);
      await until(() => outcomes.some(({ said }) => said === 'answered'), 3000);
      told.push(outcomes.map(({ said }) => said.split(':', 1)[0]));
    }
    asker.close();
    return told;
  },

  /** Which sockets the queries take: one after the other, several at a time, after one that was lost. */
  async sockets() {
    ispRun('a', 'nft', 'table inet p { set ports { type inet_service; size 65535; flags dynamic; }; chain c { type filter hook input priority -10; udp dport 53 add @ports { udp sport }; }; }');
    const ports = (): number => {
      const seen = [...ispRun('a', 'nft', 'list', 'set', 'inet', 'p', 'ports').matchAll(/\b(\d{4,5})\b(?=[,\s}])/g)].map(([, port]) => port).filter((port) => port !== '65535');
      ispRun('a', 'nft', 'flush', 'set', 'inet', 'p', 'ports');
      return new Set(seen).size;
    };
    const asker = openDns(line('a', 4), now);
    const said = new Set<string>();
    for (let i = 0; i < 32; i++) said.add(await ask(asker, way.method, SERVER[4]));
    const oneByOne = ports();
    const together = Array.from({ length: 10 }, () => put(asker, way.method, SERVER[4]));
    await until(() => together.every((outcomes) => outcomes.length > 0));
    const atOnce = ports();
    ispFilter('a', 'udp dport 53 drop');
    for (let i = 0; i < 3; i++) said.add(await ask(asker, way.method, SERVER[4], 30));
    const silent = ports();
    ispUnfilter('a');
    ispRun('a', 'nft', 'delete', 'table', 'inet', 'p');
    asker.close();
    return { said: [...said].sort(), oneByOne, atOnce, silent };
  },

  /** The answer comes when the next query is already on its way: it is heard, with its own time. */
  async late() {
    const asker = openDns(line('a', 4), now);
    const first = put(asker, about('overtaken.example'), SERVER[4]);
    await sleep(50);
    const second = await ask(asker, way.method, SERVER[4]);
    await until(() => first.length > 0);
    asker.close();
    return { first: first.map(({ said }) => said), firstMs: first[0]?.rttMs ?? 0, second };
  },

  async descriptors() {
    const silent = { ...way, method: about('silent.example'), times: 300, silent: true };
    const before = descriptors();
    const asker = openDns(line('a', 4), now);
    for (let i = 0; i < 300; i++) put(asker, silent.method, SERVER[4]);
    const held = descriptors() - before;
    asker.close();
    const left = await descriptorsLeft([
      { ...way, times: 120 },
      silent,
      { ...way, method: { kind: 'dns', host: '', port: 5353, name: 'ok.example', expect: [] }, times: 120 },
      { ...way, open: (own, clock) => openDns({ ...own, source: '198.51.100.99' }, clock), times: 100 },
    ]);
    return { held, ...left };
  },
});
