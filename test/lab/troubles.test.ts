/** Troubles and services, proved before anything is proved with them: each does what it says, to whom it says, and ends. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { labUnavailable, openLab, now } from './lab.js';
import type { Lab } from './lab.js';

const skip = (await labUnavailable('python3', 'dnsmasq')) ?? false;
const SIX = '2001:db8:ffff::10';

/** GET, or a look-up (`dns`), or a TCP connect, from the client: what came, in a few words. */
const ASK = `
import socket, sys, http.client
what, host, port, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
try:
    if what == 'connect':
        socket.create_connection((host, port), 0.6)
        print('stands')
    elif what == 'http':
        name = path.split('/')[0]
        asked = http.client.HTTPConnection(host, port, timeout=0.6)
        asked.request('GET', '/' + path.partition('/')[2], headers={'host': name})
        answer = asked.getresponse()
        print(answer.status, answer.getheader('location') or '', answer.read().decode().strip())
    else:
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.settimeout(0.6)
        labels = b''.join(bytes([len(part)]) + part.encode() for part in path.split('.')) + b'\\0'
        s.sendto(b'\\1\\2\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + labels + (b'\\0\\x1c\\0\\1' if what == 'aaaa' else b'\\0\\1\\0\\1'), (host, port))
        answer = s.recv(512)
        count = int.from_bytes(answer[6:8], 'big')
        print('rcode', answer[3] & 15, socket.inet_ntop(socket.AF_INET6 if what == 'aaaa' else socket.AF_INET, answer[-16 if what == 'aaaa' else -4:]) if count else '')
except (TimeoutError, OSError) as error:
    print('silence' if isinstance(error, TimeoutError) else error)
`;

describe('troubles', { skip }, () => {
  let lab: Lab;
  before(async () => {
    lab = await openLab({ isps: 2, ipv6: true, vpn: false });
    await lab.kernelAlone();
    await lab.serve();
  });
  afterEach(async () => lab.heal('fibre'));
  after(async () => lab.close());

  const ask = async (what: string, host: string, port: number, path = ''): Promise<string> => (await lab.text('client', ['python3', '-c', ASK, what, host, String(port), path])).trim();
  const answers = async (address: string, ...more: readonly string[]): Promise<boolean> => (await lab.run('client', ['ping', '-n', '-c', '1', '-W', '0.3', ...more, address])).code === 0;
  const gatewayAnswers = async (): Promise<boolean> => (await lab.run('router', ['ping', '-n', '-c', '1', '-W', '0.3', '198.51.100.1'])).code === 0;

  test('the internet serves pages, connections and names, in both families', async () => {
    const [empty, page, page6, tcp, tcp6, a, aaaa, unknown] = await Promise.all([
      ask('http', '9.9.9.9', 80, 'connectivity.example/generate_204'), ask('http', '1.1.1.1', 80, 'example.com/'), ask('http', SIX, 80, 'example.com/'),
      ask('connect', '9.9.9.9', 443), ask('connect', SIX, 443), ask('a', '9.9.9.9', 53, 'example.com'), ask('aaaa', SIX, 53, 'example.com'), ask('a', '9.9.9.9', 53, 'nowhere.example'),
    ]);
    assert.deepEqual([empty, page, page6, tcp, tcp6], ['204', '200  the internet', '200  the internet', 'stands', 'stands']);
    assert.deepEqual([a, aaaa, unknown], ['rcode 0 192.0.2.10', `rcode 0 ${SIX}`, 'rcode 3']);
  });

  test('a lossy line loses its share of the round trips, and the gateway none', async () => {
    const [flow, six] = await Promise.all([lab.stream({ kind: 'udp' }), lab.stream({ kind: 'udp', to: SIX })]);
    const { doneAt } = await lab.lossy('fibre', 40);
    const window = { since: doneAt, until: doneAt + 600, graceMs: 150 };
    const seen = await Promise.all([flow.outage(window), six.outage(window)]);
    for (const { lost, sent } of seen) assert.ok(lost / sent > 0.32 && lost / sent < 0.48, `${lost} of ${sent}`);
    const gateway = await lab.text('router', ['ping', '-n', '-q', '-c', '20', '-i', '0.005', '198.51.100.1']);
    assert.match(gateway, /20 received/);
    const one = await lab.lossy('fibre', 40, { family: 6 });
    const rest = await Promise.all([flow, six].map(async (each) => (await each.outage({ since: one.doneAt, until: one.doneAt + 250, graceMs: 150 })).lost));
    assert.ok(rest[0] === 0 && (rest[1] ?? 0) > 50, rest.join());
    const healed = await lab.heal('fibre');
    assert.equal((await six.outage({ since: healed.doneAt, until: healed.doneAt + 150 })).lost, 0);
    await Promise.all([flow.stop(), six.stop()]);
  });

  test('a narrow line swallows long packets both ways and says nothing; TCP that sends short ones goes on', async () => {
    const sized = async (bytes: number): Promise<boolean> => answers('1.1.1.1', '-M', 'do', '-s', String(bytes - 28));
    assert.ok(await sized(1500));
    await lab.mtu('fibre', 1400);
    assert.deepEqual([await sized(1400), await sized(1401), await gatewayAnswers()], [true, false, true]);
    assert.equal(await answers(SIX, '-M', 'do', '-s', String(1401 - 48)), false);
    await lab.ip('client', 'route replace 9.9.9.9 via 192.168.1.1 mtu lock 1200');
    const upload = await lab.stream({ kind: 'upload', to: '9.9.9.9', answered: false, connections: 1 });
    const at = now();
    const { lost } = await upload.outage({ since: at, until: at + 200, graceMs: 800 });
    assert.equal(lost, 0, 'short packets that travel as one are not taken for a long one');
    await upload.stop();
    await lab.heal('fibre');
    assert.ok(await sized(1500));
  });

  test('broken DNS is silent while everything else works', async () => {
    await lab.dnsBroken('fibre');
    assert.deepEqual(await Promise.all([ask('a', '9.9.9.9', 53, 'example.com'), ask('a', SIX, 53, 'example.com'), ask('connect', '9.9.9.9', 53), ask('connect', '9.9.9.9', 443)]), ['silence', 'silence', 'silence', 'stands']);
    await lab.dnsBroken('fibre', { family: 4 });
    assert.match(await ask('a', SIX, 53, 'example.com'), /^rcode 0/);
    await lab.heal('fibre');
    assert.match(await ask('a', '9.9.9.9', 53, 'example.com'), /^rcode 0/);
  });

  test('a captive portal answers for every page, and blocks the rest or lets it through', async () => {
    await lab.portal('fibre');
    const login = /^302 http:\/\/login\.portal\.lab\/ /;
    const [probe, probe6, page, name, tcp, echo] = await Promise.all([
      ask('http', '9.9.9.9', 80, 'connectivity.example/generate_204'), ask('http', SIX, 80, 'example.com/generate_204'), ask('http', '9.9.9.9', 80, 'login.portal.lab/'),
      ask('a', '9.9.9.9', 53, 'example.com'), ask('connect', '9.9.9.9', 443), answers('1.1.1.1'),
    ]);
    assert.match(probe, login);
    assert.match(probe6, login);
    assert.match(page, /^200 .*Log in/);
    assert.match(name, /^rcode 0/);
    assert.deepEqual([tcp, echo, await gatewayAnswers()], ['silence', false, true]);
    await lab.portal('fibre', { others: 'through' });
    assert.match(await ask('http', '1.1.1.1', 80, 'example.com/'), login);
    assert.deepEqual([await ask('connect', '9.9.9.9', 443), await answers('1.1.1.1')], ['stands', true]);
    await lab.heal('fibre');
    assert.equal(await ask('http', '9.9.9.9', 80, 'example.com/generate_204'), '204');
  });

  test('a dead target is one address, everywhere or through one ISP', async () => {
    await lab.deadTarget('9.9.9.9');
    assert.deepEqual(await Promise.all([answers('9.9.9.9'), answers('1.1.1.1'), ask('connect', '9.9.9.9', 443)]), [false, true, 'silence']);
    await lab.deadTarget('9.9.9.9', { isp: 'cable' });
    assert.ok(await answers('9.9.9.9'));
    await lab.cutCable('fibre');
    assert.deepEqual([await answers('9.9.9.9'), await answers('1.1.1.1')], [false, true]);
    await lab.heal('fibre');
    await lab.ip('router', 'route replace default via 198.51.100.1 dev isp0 onlink metric 100');
    await lab.healTarget('9.9.9.9');
    await lab.deadTarget('2620:fe::fe');
    await lab.ip6('router', 'route replace ::/0 via fe80::1 dev isp0 metric 100');
    assert.deepEqual([await answers('2620:fe::fe'), await answers(SIX)], [false, true]);
    await lab.healTarget('2620:fe::fe');
    assert.deepEqual([await answers('2620:fe::fe'), await answers('9.9.9.9')], [true, true]);
    await assert.rejects(lab.deadTarget('10.0.0.1'), /the internet has no 10\.0\.0\.1/);
  });

  test('a rate-limited target answers so many a second, to echo requests alone', async () => {
    const received = async (address: string): Promise<number> => Number(/(\d+) received/.exec((await lab.run('client', ['ping', '-n', '-q', '-c', '30', '-i', '0.005', '-W', '0.2', address])).stdout)?.[1]);
    await lab.rateLimitTarget('9.9.9.9', 5);
    const [limited, free] = await Promise.all([received('9.9.9.9'), received('1.1.1.1')]);
    assert.ok(limited >= 4 && limited <= 10, `${limited} of 30 within 0.2 s at 5 a second`);
    assert.equal(free, 30);
    assert.equal(await ask('connect', '9.9.9.9', 443), 'stands');
    await lab.healTarget('9.9.9.9');
    await lab.rateLimitTarget(SIX, 5, { isp: 'fibre' });
    assert.ok((await received(SIX)) <= 10);
    await lab.healTarget(SIX);
    assert.equal(await received(SIX), 30);
  });

  test('a hiccup is over after its time', async () => {
    const flow = await lab.stream({ kind: 'udp' });
    const { beganAt } = await lab.hiccup('fibre', 120);
    const { outageMs } = await flow.outageAfter(beganAt);
    assert.ok(outageMs >= 115 && outageMs < 400, `${outageMs} ms`);
    await flow.stop();
  });
});
