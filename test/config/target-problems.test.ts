/** What people write under `probe.targets`, and what they are told. Read aloud: a stranger must know what to type. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../../src/config/compile.js';
import { showProblem } from '../../src/config/load.js';

function problemsOf(text: string): string {
  const loaded = compile({ file: 'c', text }, () => ({ wrong: '' }), new Map());
  return 'config' in loaded ? 'none' : loaded.problems.map((problem) => showProblem(problem).replace(/^c:/, '')).join('\n');
}

/** About one item beside `icmp: 192.0.2.1`, without its place. */
function told(item: string): string {
  return problemsOf(`uplinks: { a: { interface: eth0 } }\nprobe: { targets: [{ icmp: 192.0.2.1 }, ${item}] }\n`).replace(/^2: probe\.targets\[1\][.:] ?/gm, '');
}

function cases(table: readonly (readonly [written: string, told: string])[], answer: (written: string) => string): void {
  for (const [written, expected] of table) assert.equal(answer(written), expected, `for ${JSON.stringify(written)}`);
}

test('an item holds one method that is known', () => {
  cases([
    ['{ ping: 1.1.1.1 }', 'ping: `ping` is not known here: did you mean `icmp`?'],
    ['{ ndp: gateway }', 'ndp: `ndp` is not known here: did you mean `arp`?'],
    ['{ https: "https://a.example/" }', 'https: `https` is not known here: did you mean `http`?'],
    ['{ script: /x }', 'script: `script` is not known here: did you mean `exec`?'],
    ['{ smtp: 1.1.1.1 }', 'smtp: `smtp` is not known here; known are `icmp`, `arp`, `hop`, `tcp`, `dns`, `http` and `exec`'],
    ['{ tcp: 9.9.9.9:443, dns: 9.9.9.9 }', 'dns: `dns` stands beside `tcp`, and each item holds one: begin an item of its own with `- dns:`'],
    ['{}', 'nothing is written here: write `- icmp: gateway`'],
    ['[icmp]', 'a list stands here: write `- icmp: gateway`'],
  ], told);
});

test('a value alone is answered with the method that takes it', () => {
  cases([
    ['1.1.1.1', 'write `- icmp: 1.1.1.1`'], ['9.9.9.9:443', 'write `- tcp: 9.9.9.9:443`'], ['"http://a.example/"', 'write `- http: http://a.example/`'],
    ['/opt/check', 'write `- exec: /opt/check`'], ['gateway', 'write `- icmp: gateway`'], ['nonsense', 'write `- icmp: nonsense`'],
  ], told);
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { targets: 9.9.9.9:443 }'), '2: probe.targets: a list is wanted: write `- tcp: 9.9.9.9:443`');
});

test('a key beside its method is put where it belongs', () => {
  cases([
    ['{ icmp: 1.1.1.1, size: 1472 }', 'size: `size` belongs to `icmp`: write `- icmp: { host: 1.1.1.1, size: 1472 }`'],
    ['{ dns: 9.9.9.9, expect: 192.0.2.7 }', 'expect: `expect` belongs to `dns`: write `- dns: { server: 9.9.9.9, expect: 192.0.2.7 }`'],
    ['{ dns: 9.9.9.9, expect: [192.0.2.7] }', 'expect: `expect` belongs to `dns`: write `- dns: { server: 9.9.9.9, expect: ... }`'],
    ['{ exec: { program: /opt/check }, limit: 1s }', 'limit: `limit` belongs to `exec`: indent it as the keys below that'],
  ], told);
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe:\n  targets:\n    - tcp: 9.9.9.9:443\n      interval: 5s\n'),
    '5: probe.targets[0].interval: `interval` belongs to `tcp`: write `- tcp: { to: 9.9.9.9:443, interval: 5s }`');
});

test('what a method needs is asked for', () => {
  cases([
    ['{ icmp: }', 'icmp: nothing is written here: write `gateway` or an IPv4 or IPv6 address'],
    ['{ icmp: { size: 1472 } }', 'icmp.host: `host` is missing: write `gateway` or an IPv4 or IPv6 address'],
    ['{ hop: }', 'hop: nothing is written here: write a whole number from 2 to 8'],
    ['{ hop: { interval: 1s } }', 'hop.hops: `hops` is missing: write a whole number from 2 to 8'],
    ['{ tcp: {} }', 'tcp.to: `to` is missing: write an address and a port, such as `9.9.9.9:443`'],
    ['{ dns: { name: example.org } }', 'dns.server: `server` is missing: write an IPv4 or IPv6 address'],
    ['{ http: { expect: 204 } }', 'http.url: `url` is missing: write a URL such as `"http://connectivity.example/generate_204"`'],
    ['{ exec: { args: [x] } }', 'exec.program: `program` is missing: write the whole path of a program, such as `/usr/local/lib/uplinkd/my-check`'],
    ['{ tcp: [9.9.9.9:443] }', 'tcp: a list stands here, but one value is wanted: write an address and a port, such as `9.9.9.9:443`'],
  ], told);
});

test('icmp, arp and hop say whom they take', () => {
  cases([
    ['{ icmp: { host: 1.1.1.1, size: 63 } }', 'icmp.size: `63` is too small: write a whole number from 64 to 9000'],
    ['{ icmp: { host: 1.1.1.1, size: 9001 } }', 'icmp.size: `9001` is too large: write a whole number from 64 to 9000'],
    ['{ icmp: { host: 1.1.1.1, interval: 5 } }', 'icmp.interval: `5` has no unit: write `5s`, or `5ms` for milliseconds'],
    ['{ arp: 192.0.2.254 }', 'arp: `192.0.2.254` is not known here: write `gateway`'],
    ['{ hop: 1 }', 'hop: `1` is too small: write a whole number from 2 to 8'],
    ['{ hop: 9 }', 'hop: `9` is too large: write a whole number from 2 to 8'],
    ['{ hop: second }', 'hop: `second` is not a whole number from 2 to 8'],
  ], told);
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { targets: [{ hop: 2 }, { icmp: gateway }, { http: "http://a.example/" }] }'),
    '2: probe.targets[0].hop: no address beyond the gateway stands in this list, so there is no way to go along: add one, such as `- icmp: 1.1.1.1`');
});

test('tcp wants an address and a port', () => {
  cases([
    ['"[2620:fe::fe]:443"', 'none'], ['192.0.2.1:65535', 'none'], ['{ to: 192.0.2.1:1 }', 'none'],
    ['9.9.9.9', '`9.9.9.9` is not ADDRESS:PORT: the port is missing, write one such as `9.9.9.9:443`'],
    ['2620:fe::fe', '`2620:fe::fe` is not ADDRESS:PORT: write one such as `"[2620:fe::fe]:443"`, with brackets, port and quotes'],
    ['"[2620:fe::fe]"', '`[2620:fe::fe]` is not ADDRESS:PORT: the port is missing, write one such as `"[2620:fe::fe]:443"`'],
    ['"[9.9.9.9]:443"', '`[9.9.9.9]:443` is not ADDRESS:PORT: write `9.9.9.9:443`, without brackets'],
    ['9.9.9.9:0', '`9.9.9.9:0` is not ADDRESS:PORT: 0 is no port; they go from 1 to 65535'],
    ['9.9.9.9:65536', '`9.9.9.9:65536` is not ADDRESS:PORT: 65536 is no port; they go from 1 to 65535'],
    ['9.9.9.9:https', '`9.9.9.9:https` is not ADDRESS:PORT: write one such as `9.9.9.9:443`'],
    ['dns.example:853', '`dns.example` is not an IPv4 or IPv6 address: write an IPv4 or IPv6 address (names are not taken, because looking them up could need the very line that failed)'],
    ['127.0.0.1:80', '`127.0.0.1` is this machine itself (loopback) and cannot be a target'],
    ['"https://9.9.9.9/"', '`https://9.9.9.9/` is not ADDRESS:PORT: for a URL write `http:` in place of `tcp:`'],
  ], (text) => told(`{ tcp: ${text} }`).replace('tcp: ', ''));
});

test('dns wants a server by address, and a name', () => {
  cases([
    ['2620:fe::fe', 'none'], ['{ server: 9.9.9.9, name: _xmpp._tcp.example.org }', 'none'], ['{ server: 9.9.9.9, expect: 192.0.2.7 }', 'none'],
    ['dns.quad9.net', '`dns.quad9.net` is not an IPv4 or IPv6 address: write an IPv4 or IPv6 address (names are not taken, because looking them up could need the very line that failed)'],
    ['192.0.2.0/24', '`192.0.2.0/24` is a network, a DNS server is one host: write its address without `/24`'],
    ['{ server: 9.9.9.9, name: 192.0.2.1 }', 'name: `192.0.2.1` is an address: write a name such as `example.com`'],
    ['{ server: 9.9.9.9, name: "http://example.com/" }', 'name: `http://example.com/` is more than a name: write it alone, such as `example.com`'],
    ['{ server: 9.9.9.9, name: münchen.example }', 'name: write `münchen.example` as it is on the line: `xn--mnchen-3ya.example`'],
    ['{ server: 9.9.9.9, name: a..example }', 'name: `a..example` cannot be a name: write one such as `example.com`'],
    ['{ server: 9.9.9.9, expect: NOERROR }', 'expect: `NOERROR` is not an IPv4 or IPv6 address: write an IPv4 or IPv6 address (names are not taken, because looking them up could need the very line that failed)'],
    ['{ server: 9.9.9.9, port: 0 }', 'port: `0` is too small: write a whole number from 1 to 65535'],
  ], (text) => told(`{ dns: ${text} }`).replace(/^dns[.:] ?/, ''));
});

test('http wants a URL that anybody may ask for', () => {
  const example = '`"http://connectivity.example/generate_204"`';
  cases([
    ['connectivity.example/x', '`connectivity.example/x` is not a URL: write `"http://connectivity.example/x"`'],
    ['"http:connectivity.example"', '`http:connectivity.example` is not a URL: write `//` after the `:`'],
    ['yes', `\`yes\` is not a URL: write one such as ${example}`],
    ['"ftp://a.example/"', `\`ftp://a.example/\` is neither \`http:\` nor \`https:\`: write one such as ${example}`],
    ['"http://a.example:99999/"', `\`http://a.example:99999/\` is not a URL: write one such as ${example}`],
    ['"http://me:secret@a.example/"', 'a user name or password stands in this URL, and status would show it to everybody: ask for something that is open to all'],
    ['"http://a.example/#top"', 'a server never sees `#top`: take it away'],
    ['"http://127.1/"', '`127.0.0.1` is this machine itself (loopback) and cannot be a target'],
    ['"http://gateway/"', `\`gateway\` is not the full name of a host on the internet: write one such as ${example}`],
  ], (text) => told(`{ http: ${text} }`).replace(/^http: /, ''));
  cases([
    ['expect: 99', 'expect: `99` is too small: write a whole number from 100 to 599'],
    ['expect: OK', 'expect: `OK` is not a whole number from 100 to 599'],
    ['header: nginx', 'header: `nginx` is not a header: write one such as `"server: nginx"`, in quotes'],
    ['header: { server: nginx }', 'header: further keys stand here, but one value is wanted: write a header such as `"server: nginx"`, in quotes'],
    ['header: "bad name: x"', 'header: `bad name: x` is not a header: write one such as `"server: nginx"`, in quotes'],
    ['body: "\\u001b[31m"', 'body: `\\u001b[31m` has characters in it that cannot be seen: write it without'],
    ['status: 200', 'status: `status` is not known here: did you mean `expect`?'],
    ['interval: 500ms', 'interval: `500ms` is too short: 1s at least'],
    ['family: 5', 'family: `5` is not known here: write `4`, `6` or `both`'],
    ['resolver: one.one.one.one', 'resolver: `one.one.one.one` is not an IPv4 or IPv6 address: write an IPv4 or IPv6 address (names are not taken, because looking them up could need the very line that failed)'],
    ['family: both, resolver: 9.9.9.9', 'resolver: the name is asked over IPv6, and no IPv6 address stands here to look it up: add one, or take `resolver` away'],
    ['resolver: [2620:fe::fe]', 'resolver: the name is asked over IPv4, and no IPv4 address stands here to look it up: add one, or take `resolver` away'],
    ['family: both, resolver: [9.9.9.9, 2620:fe::fe]', 'none'],
  ], (keys) => told(`{ http: { url: "http://a.example/", ${keys} } }`).replace(/^http\./, ''));
  const literal = (keys: string): string => told(`{ http: { url: "http://192.0.2.80/", ${keys} } }`).replace(/^http\./, '');
  assert.equal(literal('resolver: 9.9.9.9'), 'resolver: the URL has the address `192.0.2.80` in it, so there is no name to look up: take `resolver` away');
  assert.equal(literal('family: 6'), 'family: the URL has the address `192.0.2.80` in it, which is asked over IPv4: take `family` away, or write a name');
  assert.equal(literal('family: 4'), 'none');
});

test('exec wants the whole path of a program, and its arguments apart', () => {
  cases([
    ['{ exec: my-check }', 'exec: `my-check` is not a whole path: write one such as `/usr/local/lib/uplinkd/my-check`'],
    ['{ exec: ./x/check }', 'exec: `./x/check` is not a whole path: write one such as `/usr/local/lib/uplinkd/my-check`'],
    ['{ exec: /opt/check -v 3 }', 'exec: `/opt/check -v 3` is more than the path of a program: write `exec: { program: /opt/check, args: [-v, 3] }`'],
    ['{ exec: /opt/checks/ }', 'exec: `/opt/checks/` is a folder: write the path of the program in it'],
    ['{ exec: { program: /opt/check, limit: 50ms } }', 'exec.limit: `50ms` is too short: 100ms at least'],
    ['{ exec: { program: /opt/check, limit: 2m } }', 'exec.limit: `2m` is too long: 1m at most'],
    ['{ exec: { program: /opt/check, timeout: 2s } }', 'exec.timeout: `timeout` is not known here: did you mean `limit`?'],
    ['{ exec: { program: /opt/check, interval: 100ms } }', 'exec.interval: `100ms` is too short: 1s at least'],
  ], told);
});

test('nobody is asked the same twice', () => {
  const twice = (items: string): string => problemsOf(`uplinks: { a: { interface: eth0 } }\nprobe: { targets: [{ icmp: 192.0.2.1 }, ${items}] }\n`)
    .replace(/^2: (.*): (.*), first on line 2: take one away, the answers would count as one$/, '$1: $2');
  cases([
    ['{ hop: 2 }, { hop: { hops: 2, interval: 5s } }', 'probe.targets[2].hop: `hop 2` is asked twice'],
    ['{ arp: gateway }, { arp: }', 'probe.targets[2].arp: `arp gateway` is asked twice'],
    ['{ dns: 9.9.9.9 }, { dns: { server: 9.9.9.9, name: EXAMPLE.com } }', 'probe.targets[2].dns: `dns 9.9.9.9` is asked twice'],
    ['{ http: "http://a.example" }, { http: { url: "HTTP://a.example:80/" } }', 'probe.targets[2].http: `http a.example` is asked twice'],
    ['{ exec: /opt/check }, { exec: { program: /opt/check, args: x } }, { hop: 3 }, { hop: 2 }', 'none'],
    ['{ http: "http://a.example" }, { http: "https://a.example" }', 'none'],
    ['{ icmp: { host: 192.0.2.1, size: 1472 } }, { dns: 192.0.2.1 }, { tcp: 192.0.2.1:53 }, { tcp: 192.0.2.1:54 }', 'none'],
  ], twice);
});

test('what is not beyond the gateway does not count for a quorum', () => {
  const quorum = (n: number, items: string): string => problemsOf(`uplinks: { a: { interface: eth0 } }\nprobe: { quorum: ${n}, targets: [${items}] }\n`).replace(/^2: probe\.quorum: /, '');
  assert.equal(quorum(2, '{ icmp: gateway }, { arp: gateway }, { hop: 2 }, { icmp: 192.0.2.1 }'), '2 targets beyond the gateway must answer, but only one is asked: add targets or write `quorum: 1` or less');
  assert.equal(quorum(2, '{ icmp: 192.0.2.1 }, { icmp: { host: 192.0.2.1, size: 1500 } }, { icmp: { host: 192.0.2.2, size: 1500 } }'), '2 targets beyond the gateway must answer, but only one is asked: add targets or write `quorum: 1` or less');
  assert.equal(quorum(3, '{ tcp: 192.0.2.1:443 }, { dns: 9.9.9.9 }, { exec: /opt/check }'), 'none');
  assert.equal(quorum(2, '{ icmp: 192.0.2.1 }, { http: { url: "http://a.example/", family: both } }'), '2 targets beyond the gateway must answer, but only one is asked over IPv6: add targets or write `quorum: 1` or less');
  assert.equal(quorum(1, '{ arp: gateway }'), '1 target beyond the gateway must answer, but none is asked: add targets or take `quorum` away');
});

test('a gateway is asked as such, and only where there is one', () => {
  assert.equal(problemsOf('uplinks: { a: { interface: eth0, gateway: 192.0.2.9, probe: { targets: [tcp: 192.0.2.9:80] } } }'),
    '1: uplinks.a.probe.targets[0].tcp: `192.0.2.9` is the gateway of `a`: write an address beyond it, or its answer is taken for that of the internet beyond');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0, gateway: none, probe: { targets: [icmp: 192.0.2.9, arp: gateway] } } }'),
    '1: uplinks.a.probe.targets[1].arp: `a` has `gateway: none`, so there is no gateway to ask: take this target away');
  assert.match(problemsOf('uplinks: { a: { interface: eth0, gateway: none } }\nprobe: { targets: [arp: gateway, icmp: gateway] }'), /with `gateway: none` nothing is left to ask/);
});

test('a budget is a size', () => {
  const budget = (text: string): string => problemsOf(`uplinks: { a: { interface: eth0 } }\nprobe: { budget: ${text} }`).replace('2: probe.budget: ', '');
  cases([
    ['5MB', 'none'], ['500kB', 'none'], ['1GB', 'none'], ['none', 'none'], ['0.5MB', 'none'], ['1TB', 'none'],
    ['5', '`5` has no unit: write `5MB`, for instance'],
    ['5000000', '`5000000` has no unit: write `5MB`, for instance'],
    ['5mb', '`5mb` is not a size: write `5MB`'], ['5 MB', '`5 MB` is not a size: write `5MB`'], ['500K', '`500K` is not a size: write `500kB`'], ['5MiB', '`5MiB` is not a size: write `5MB`'],
    ['5 megabytes', '`5 megabytes` is not a size: write a size such as `5MB` or `500kB`, or `none`'],
    ['off', 'write `none`, not `off`'], ['unlimited', 'write `none`, not `unlimited`'],
    ['5kB', '`5kB` is too little: `10kB` at least, or `none` for no limit'],
    ['2TB', '`2TB` is too much: `1TB` at most, or `none` for no limit'],
    ['little', '`little` is not a size such as `5MB` or `500kB`, or `none`'],
  ], budget);
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { cap: 5MB }'), '2: probe.cap: `cap` is not known here: did you mean `budget`?');
  assert.equal(problemsOf('uplinks: { a: { interface: eth0 } }\nprobe: { rotate: 17 }'), '2: probe.rotate: `17` is too large: write a whole number from 0 to 16');
});
