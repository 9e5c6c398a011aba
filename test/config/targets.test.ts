/** `probe.targets`: each method as it is written, short and whole, and what is asked because of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import { showProblem } from '../../src/config/load.js';
import type { HttpMethod, ProbePolicy, Target } from '../../src/model.js';

/** The targets of the only uplink, from items in flow style. */
function targetsOf(items: string, rest = ''): readonly Target[] {
  return probeOf(`targets: [${items}]${rest === '' ? '' : `, ${rest}`}`).targets;
}

function probeOf(probe: string, uplink = ''): ProbePolicy {
  const loaded = compile({ file: 'c', text: `uplinks: { a: { interface: eth0${uplink} } }\nprobe: { ${probe} }\n` }, () => ({ wrong: '' }), new Map());
  if ('problems' in loaded) throw new Error(loaded.problems.map(showProblem).join('\n'));
  return loaded.config.policy.uplinks[0]!.probe;
}

/** The only target of an item, beside an icmp one that others may need. */
function targetOf(item: string): Target {
  return targetsOf(`{ icmp: 192.0.2.1 }, { ${item} }`)[1]!;
}

function httpOf(keys: string, others = ''): HttpMethod {
  const target = targetsOf(`{ http: { ${keys} } }${others === '' ? '' : `, ${others}`}`)[0];
  assert.ok(target?.kind === 'http');
  return target;
}

const unset = { intervalMs: undefined };

test('each method is asked as its short form says', () => {
  assert.deepEqual(targetsOf(`
    { icmp: gateway }, { icmp: 1.1.1.1 }, { arp: gateway }, { hop: 3 }, { tcp: "9.9.9.9:443" }, { tcp: "[2620:FE:0::fe]:853" }, { dns: 9.9.9.9 },
    { http: "http://connectivity.example/generate_204" }, { exec: /usr/local/lib/uplinkd/my-check }`), [
    { id: 'gateway', families: [4, 6], ...unset, kind: 'icmp', host: 'gateway', sizeBytes: 0 },
    { id: 'icmp 1.1.1.1', families: [4], ...unset, kind: 'icmp', host: '1.1.1.1', sizeBytes: 0 },
    { id: 'arp gateway', families: [4, 6], ...unset, kind: 'arp', host: 'gateway' },
    { id: 'hop 3', families: [4], ...unset, kind: 'hop', host: '1.1.1.1', hops: 3 },
    { id: 'hop 3 (IPv6)', families: [6], ...unset, kind: 'hop', host: '2620:fe::fe', hops: 3 },
    { id: 'tcp 9.9.9.9:443', families: [4], ...unset, kind: 'tcp', host: '9.9.9.9', port: 443 },
    { id: 'tcp [2620:fe::fe]:853', families: [6], ...unset, kind: 'tcp', host: '2620:fe::fe', port: 853 },
    { id: 'dns 9.9.9.9', families: [4], ...unset, kind: 'dns', host: '9.9.9.9', port: 53, name: 'example.com', expect: [] },
    {
      id: 'http connectivity.example/generate_204', families: [4], intervalMs: 10_000, kind: 'http', host: '', url: 'http://connectivity.example/generate_204',
      resolvers: ['9.9.9.9', '2606:4700:4700::1111', '2620:fe::fe'], status: 204, body: '', header: undefined,
    },
    { id: 'exec my-check', families: [4], intervalMs: 10_000, kind: 'exec', host: '', program: '/usr/local/lib/uplinkd/my-check', args: [], limitMs: 5000 },
  ] satisfies readonly Target[]);
});

test('a section says more', () => {
  assert.deepEqual(targetOf('icmp: { host: 1.1.1.1, size: 1472, interval: 1m }'), { id: 'icmp 1.1.1.1 (1472 bytes)', families: [4], intervalMs: 60_000, kind: 'icmp', host: '1.1.1.1', sizeBytes: 1472 });
  assert.deepEqual(targetOf('icmp: { host: gateway, size: 64 }'), { id: 'gateway (64 bytes)', families: [4, 6], ...unset, kind: 'icmp', host: 'gateway', sizeBytes: 64 });
  assert.deepEqual(targetOf('arp: { interval: 5s }'), { id: 'arp gateway', families: [4, 6], intervalMs: 5000, kind: 'arp', host: 'gateway' });
  assert.deepEqual(targetOf('arp:'), { id: 'arp gateway', families: [4, 6], ...unset, kind: 'arp', host: 'gateway' });
  assert.deepEqual(targetOf('hop: { hops: 8, interval: 2s }'), { id: 'hop 8', families: [4], intervalMs: 2000, kind: 'hop', host: '192.0.2.1', hops: 8 });
  assert.deepEqual(targetOf('tcp: { to: 192.0.2.9:22, interval: 3s }'), { id: 'tcp 192.0.2.9:22', families: [4], intervalMs: 3000, kind: 'tcp', host: '192.0.2.9', port: 22 });
  assert.deepEqual(targetOf('dns: { server: 2620:fe::fe, port: 5353, name: WWW.Example.org., expect: [192.0.2.7, 2001:DB8::7], interval: 4s }'), {
    id: 'dns [2620:fe::fe]:5353 www.example.org', families: [6], intervalMs: 4000, kind: 'dns', host: '2620:fe::fe', port: 5353, name: 'www.example.org', expect: ['192.0.2.7', '2001:db8::7'],
  });
  assert.deepEqual(targetOf('exec: { program: /opt/check, args: [--deep, 5], limit: 20s, family: both, interval: 1m }'), {
    id: 'exec check --deep 5', families: [4, 6], intervalMs: 60_000, kind: 'exec', host: '', program: '/opt/check', args: ['--deep', '5'], limitMs: 20_000,
  });
  assert.deepEqual(targetOf('http: { url: "HTTPS://Connectivity.example:8443", expect: 301, body: all is well, header: "Server:  nginx", resolver: 192.0.2.53, family: 4, interval: 2s }'), {
    id: 'https connectivity.example:8443', families: [4], intervalMs: 2000, kind: 'http', host: '', url: 'https://connectivity.example:8443/',
    resolvers: ['192.0.2.53'], status: 301, body: 'all is well', header: { name: 'server', value: 'nginx' },
  });
});

test('the status that is expected goes by the path', () => {
  const status = (path: string): number => httpOf(`url: "http://connectivity.example${path}"`).status;
  assert.deepEqual(['/generate_204', '/gen_204', '/a/gen_204?x=1', '/', '', '/generate_204/', '/gen_204x', '/mygen_204'].map(status), [204, 204, 204, 200, 200, 200, 200, 200]);
});

test('a URL with an address needs nobody to look it up, and is asked in its family', () => {
  assert.deepEqual([httpOf('url: "http://192.0.2.80/x"')].map(({ host, resolvers, url }) => [host, resolvers, url]), [['192.0.2.80', [], 'http://192.0.2.80/x']]);
  const six = targetsOf('{ http: "https://[2001:DB8:0::80]:81/" }')[0];
  assert.ok(six?.kind === 'http');
  assert.deepEqual([six.host, six.families, six.id, six.url], ['2001:db8::80', [6], 'https [2001:db8::80]:81', 'https://[2001:db8::80]:81/']);
});

test('a name is looked up by whom the config names, else by the dns targets of the list, else by the well-known', () => {
  const url = 'url: "http://connectivity.example/"';
  assert.deepEqual(httpOf(url).resolvers, ['1.1.1.1', '9.9.9.9', '2606:4700:4700::1111', '2620:fe::fe']);
  assert.deepEqual(httpOf(url, '{ dns: 192.0.2.53 }, { dns: { server: 192.0.2.53, name: example.org } }').resolvers, ['192.0.2.53', '2606:4700:4700::1111', '2620:fe::fe'], 'IPv6 has no dns target');
  assert.deepEqual(httpOf(url, '{ dns: 192.0.2.53 }, { dns: 2001:db8::53 }').resolvers, ['192.0.2.53', '2001:db8::53']);
  assert.deepEqual(httpOf(url, '{ dns: { server: 192.0.2.53, port: 5353 } }').resolvers.length, 4, 'names are looked up at port 53');
  assert.deepEqual(httpOf(`${url}, resolver: [192.0.2.1, 2001:db8::1]`, '{ dns: 192.0.2.53 }').resolvers, ['192.0.2.1', '2001:db8::1']);
});

test('http and exec are asked every 10 s, or as rarely as the rest', () => {
  const slow = '{ http: "http://connectivity.example/" }, { exec: /opt/check }, { icmp: 192.0.2.1 }';
  const intervals = (rest: string): unknown => targetsOf(slow, rest).map(({ intervalMs }) => intervalMs);
  assert.deepEqual(intervals('interval: 200ms'), [10_000, 10_000, undefined]);
  assert.deepEqual(intervals('interval: 10s'), [undefined, undefined, undefined]);
  assert.deepEqual(intervals('interval: 30s'), [undefined, undefined, undefined]);
  assert.deepEqual(targetsOf('{ http: { url: "http://connectivity.example/", interval: 1s } }', 'interval: 30s')[0]?.intervalMs, 1000);
});

test('a hop lies on the way to the first address beyond the gateway, in each family by itself', () => {
  const hops = (items: string): unknown => targetsOf(items).filter(({ kind }) => kind === 'hop').map(({ id, host, families }) => `${id} to ${host} ${families.join()}`);
  assert.deepEqual(hops('{ hop: 2 }, { icmp: gateway }, { arp: gateway }, { dns: 192.0.2.53 }, { icmp: 192.0.2.1 }'), ['hop 2 to 192.0.2.53 4']);
  assert.deepEqual(hops('{ tcp: "[2001:db8::1]:443" }, { hop: 2 }, { hop: 4 }'), ['hop 2 (IPv6) to 2001:db8::1 6', 'hop 4 (IPv6) to 2001:db8::1 6']);
  assert.deepEqual(hops('{ http: "http://connectivity.example/" }, { http: "http://192.0.2.80/" }, { icmp: 2001:db8::1 }, { hop: 2 }'), ['hop 2 to 192.0.2.80 4', 'hop 2 (IPv6) to 2001:db8::1 6']);
});

test('a metered line has a budget unless the config says otherwise', () => {
  const budget = (probe: string, uplink = ''): unknown => probeOf(probe === '' ? 'quorum: 1' : probe, uplink).budgetBytes;
  assert.deepEqual([budget(''), budget('', ', metered: true'), budget('', ', metered: false')], [undefined, 5_000_000, undefined]);
  assert.deepEqual([budget('budget: 1GB'), budget('budget: none', ', metered: true'), budget('budget: 10kB', ', metered: true')], [1e9, undefined, 10_000]);
  assert.equal(budget('budget: 1GB', ', metered: true, probe: { budget: 250kB }'), 250_000);
  assert.equal(budget('budget: 1GB', ', probe: { budget: none }'), undefined);
});

test('rotation and passive evidence go by the uplink, then by the common section', () => {
  const probe = probeOf('rotate: 2, passive: false', ', probe: { rotate: 0 }');
  assert.deepEqual([probe.rotate, probe.passive], [0, false]);
  assert.equal(probeOf('passive: false', ', probe: { passive: true }').passive, true);
});
