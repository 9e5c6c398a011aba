/** What becomes of HTTP probes. Prints the facts as JSON; see http.test.ts for what they must be. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Family, HttpMethod } from '../../src/model.js';
import { openHttp } from '../../src/probes/http.js';
import type { Stories } from './asked.js';
import { atServer, descriptorsLeft, keepsRunning, pinned, play, sharedAddress } from './asker-stories.js';
import { ask, askTimed, FAMILIES, ispFilter, ispUnfilter, line, now, put, SERVER, SILENCE_MS, until } from './asker-world.js';

const SELF = fileURLToPath(import.meta.url);
/** Its argument when it plays the part that trusts the certificate. */
const TRUSTING = 'trusting';
const RESOLVERS = [SERVER[4], SERVER[6]];
/** A query that is not answered for half a second is asked again by the next probe. */
const LOST_AFTER_MS = 600;

function get(url: string, change: Partial<HttpMethod> = {}): HttpMethod {
  return { kind: 'http', host: '', url, resolvers: RESOLVERS, status: 200, body: '', header: undefined, ...change };
}

const nothing = get('http://probe.example/204', { status: 204 });
const byAddress = { open: openHttp, method: nothing, address: atServer };
const byName = { open: openHttp, method: { ...nothing, url: 'http://web.example/204' }, address: () => '' };

/** What the server's certificate is good for, in a process that trusts it or not. */
async function certificates(): Promise<unknown> {
  const told: Record<string, string> = {};
  for (const family of FAMILIES) {
    const asker = openHttp(line('a', family), now);
    told[`name ${family}`] = await ask(asker, get('https://web.example/204', { status: 204 }), '');
    told[`address ${family}`] = await ask(asker, get(`https://${urlHost(family)}/204`, { status: 204 }), '');
    told[`other name ${family}`] = await ask(asker, get('https://other.example/204', { status: 204 }), SERVER[family]);
    told[`portal ${family}`] = await ask(asker, get('https://web.example/away'), '');
    told[`no TLS ${family}`] = await ask(asker, get('https://web.example:81/'), '');
    asker.close();
  }
  return told;
}

function urlHost(family: Family): string {
  return family === 4 ? SERVER[4] : `[${SERVER[6]}]`;
}

const stories: Stories = {
  pinned: () => pinned(byAddress),
  pinnedLookup: () => pinned(byName),
  sharedAddress: () => sharedAddress(byAddress),
  sharedLookup: () => sharedAddress(byName),
  untrusted: certificates,
  /** This very script again: Node reads at its start whose certificates it trusts. */
  trusted: async () => JSON.parse(execFileSync(process.execPath, [SELF, TRUSTING], { env: { ...process.env, NODE_EXTRA_CA_CERTS: '/run/cert.pem' }, encoding: 'utf8' })) as unknown,

  async answers() {
    const told: Record<string, string> = {};
    for (const family of FAMILIES) {
      const asker = openHttp(line('a', family), now);
      const say = async (path: string, change: Partial<HttpMethod> = {}, port = ''): Promise<string> => {
        const isSilent = path === '/never' || (path === '/stall' && change.body !== undefined);
        const withinMs = isSilent ? SILENCE_MS : undefined;
        return (told[`${path} ${JSON.stringify(change)} ${family}`] = await ask(asker, get(`http://probe.example${port}${path}`, change), SERVER[family], withinMs));
      };
      for (const path of ['/204', '/page', '/chunkedpage', '/emptypage', '/away', '/www', '/slash', '/511', '/503', '/never', '/stall']) await say(path, { status: 204 });
      for (const path of ['/page', '/away', '/204', '/endless']) await say(path);
      await say('/away', { status: 302 });
      for (const body of ['the hotel', 'the motel']) await say('/page', { body });
      for (const path of ['/slow', '/endless', '/stall', '/cut', '/emptypage']) await say(path, { body: 'all is well here' });
      for (const value of ['a', 'b', '']) await say('/204', { status: 204, header: { name: 'x-isp', value } });
      await say('/204', { status: 204, header: { name: 'x-none', value: '' } });
      await say('/headers', { body: '"host":"probe.example","user-agent":"uplinkd","connection":"close","cache-control":"no-cache"' });
      await say('/', {}, ':81');
      await say('/', {}, ':82');
      told[`literal ${family}`] = await ask(asker, get(`http://${urlHost(family)}/204`, { status: 204 }), '');
      told[`no url ${family}`] = await ask(asker, get('nonsense'), SERVER[family]);
      asker.close();
    }
    return told;
  },

  async lookups() {
    const told: Record<string, unknown> = {};
    for (const family of FAMILIES) {
      const asker = openHttp(line('a', family), now);
      const at = (name: string, resolvers: readonly string[] = RESOLVERS): HttpMethod => ({ ...nothing, url: `http://${name}.example/204`, resolvers });
      const dead = ['192.0.2.1', `2001:db8:a::1`]; // nobody serves DNS there
      told[`good ${family}`] = await ask(asker, at('web'), '');
      ispFilter('a', 'udp dport 53 drop');
      told[`again ${family}`] = await ask(asker, at('web'), '');
      ispUnfilter('a');
      const fresh = openHttp(line('a', family), now);
      told[`one of two ${family}`] = await ask(fresh, at('WEB', [...dead, ...RESOLVERS]), '');
      fresh.close();
      told[`nx ${family}`] = await ask(asker, at('nx'), '');
      told[`refused ${family}`] = await ask(asker, at('web2', dead), '');
      told[`no resolver ${family}`] = await ask(asker, at('web3', [SERVER[family === 4 ? 6 : 4]]), '');
      told[`no address ${family}`] = await ask(asker, at('empty'), '');
      const startedAt = now();
      told[`silent ${family}`] = await ask(asker, at('silent'), '');
      told[`silent for ${family}`] = now() - startedAt;
      asker.close();
    }
    return told;
  },

  /** The first address of the name is dead: the probe that was sent there is silent, and after a second the next ones are not. */
  async addresses() {
    const asker = openHttp(line('a', 4), now);
    const method = { ...nothing, url: 'http://twofold.example/204' };
    ispFilter('a', 'ip daddr 203.0.113.99 drop');
    const told = [await ask(asker, method, '', 1100), await ask(asker, method, ''), await ask(asker, method, '')];
    ispUnfilter('a');
    asker.close();
    return told;
  },

  /** RTT: from the connect's beginning to the end of what was expected; the look-up, which is late here, is not in it. */
  async times() {
    const asker = openHttp(line('a', 4), now);
    const slow = await askTimed(asker, get('http://web.example/slow', { body: 'all is well here' }), '');
    const askedAt = now();
    const first = await askTimed(asker, get('http://lateweb.example/204', { status: 204, resolvers: [SERVER[4]] }), '');
    const besideMs = now() - askedAt - first.rttMs;
    asker.close();
    return { slow: slow.said, slowMs: slow.rttMs, late: first.said, besideMs };
  },

  /** A query that was lost is asked again with the next probe, and all that wait are served. */
  async lostQuery() {
    const asker = openHttp(line('a', 4), now);
    ispFilter('a', 'udp dport 53 limit rate 1/day burst 1 packets drop');
    const first = put(asker, byName.method, '');
    await until(() => first.length > 0, LOST_AFTER_MS);
    const early = first.length;
    const second = put(asker, byName.method, '');
    await until(() => first.length + second.length === 2);
    ispUnfilter('a');
    asker.close();
    return { early, told: [...first, ...second].map(({ said }) => said) };
  },

  keepsRunning: () => keepsRunning(['never', 'stall'].map((path) => ({ ...byAddress, method: get(`http://probe.example/${path}`, { body: 'x' }) })).concat([{ ...byName, method: get('http://silent.example/') }])),

  descriptors: () =>
    descriptorsLeft([
      { ...byAddress, times: 60 },
      { ...byName, times: 60 },
      { ...byAddress, method: get('http://probe.example/never'), times: 100, silent: true },
      { ...byAddress, method: get('http://probe.example/endless', { body: 'x' }), times: 20 },
      { ...byAddress, method: get('http://probe.example/stall', { body: 'x' }), times: 60, silent: true },
      { ...byAddress, method: get('http://probe.example:82/'), times: 60 },
      { ...byAddress, address: () => '203.0.113.77', times: 100, silent: true },
      { ...byName, method: get('http://silent.example/'), times: 100, silent: true },
      { ...byAddress, open: (own, clock) => openHttp({ ...own, source: '198.51.100.99' }, clock), times: 60 },
    ]),
};

if (process.argv[2] === TRUSTING) {
  process.stdout.write(JSON.stringify(await certificates()));
  process.exit(0);
}
execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
const subject = ['-subj', '/CN=web.example', '-addext', `subjectAltName=DNS:web.example,IP:${SERVER[4]},IP:${SERVER[6]}`];
execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-keyout', '/run/key.pem', '-out', '/run/cert.pem', ...subject], { stdio: 'ignore' });
await play(stories);
