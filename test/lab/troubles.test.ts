/** Troubles and services, proved before anything is proved with them: each does what it says, to whom it says, and ends. */
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { after, afterEach, before, describe, test } from 'node:test';
import { labUnavailable, now, openLab, waitFor } from './lab.js';
import type { Lab } from './lab.js';
import { receivedOf } from './received.js';
import { deadline } from './wait.js';

const skip = (await labUnavailable('python3', 'dnsmasq')) ?? false;
const SIX = '2001:db8:ffff::10';
const SILENCE_MS = 400;

/** One process in the client for all questions: a line in, a line out, and each in a thread of its own. GET, or a look-up, or a TCP connect: what came, in a few words. */
const ASKER = `
import socket, sys, json, threading, http.client
def ask(what, host, port, path, patience):
    if what == 'connect':
        socket.create_connection((host, port), patience).close()
        return 'stands'
    if what == 'http':
        name = path.split('/')[0]
        asked = http.client.HTTPConnection(host, port, timeout=patience)
        asked.request('GET', '/' + path.partition('/')[2], headers={'host': name})
        answer = asked.getresponse()
        return ' '.join([str(answer.status), answer.getheader('location') or '', answer.read().decode().strip()])
    s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(patience)
    labels = b''.join(bytes([len(part)]) + part.encode() for part in path.split('.')) + b'\\0'
    s.sendto(b'\\1\\2\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + labels + (b'\\0\\x1c\\0\\1' if what == 'aaaa' else b'\\0\\1\\0\\1'), (host, port))
    answer = s.recv(512)
    s.close()
    count = int.from_bytes(answer[6:8], 'big')
    return ' '.join(['rcode', str(answer[3] & 15), socket.inet_ntop(socket.AF_INET6 if what == 'aaaa' else socket.AF_INET, answer[-16 if what == 'aaaa' else -4:]) if count else ''])
def told(id, *question):
    try:
        said = ask(*question)
    except (TimeoutError, OSError) as error:
        said = 'silence' if isinstance(error, TimeoutError) else str(error)
    print(json.dumps([id, said.strip()]) + '\\n', end='', flush=True)
for line in sys.stdin:
    threading.Thread(target=told, args=json.loads(line), daemon=True).start()
`;

type Ask = (patienceMs: number, what: string, host: string, port: number, path?: string) => Promise<string>;

async function startAsker(lab: Lab): Promise<Ask> {
  const { child, exited } = await lab.start('client', ['python3', '-c', ASKER]);
  const waiting = new Map<number, (said: string) => void>();
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const [id, said] = JSON.parse(line) as [number, string];
    waiting.get(id)?.(said);
  });
  let last = 0;
  return async (patienceMs, what, host, port, path = '') => {
    const id = ++last;
    const told = new Promise<string>((resolve) => waiting.set(id, resolve));
    child.stdin?.write(`${JSON.stringify([id, what, host, port, path, patienceMs / 1000])}\n`);
    return Promise.race([told, exited.then(() => 'the asker has ended')]);
  };
}

describe('troubles', { skip }, () => {
  let lab: Lab;
  let asked: Ask;
  before(async () => {
    lab = await openLab({ isps: 2, ipv6: true, vpn: false });
    await lab.kernelAlone();
    await lab.serve();
    asked = await startAsker(lab);
  });
  afterEach(async () => lab.heal('fibre'));
  after(async () => lab.close());

  const ask = async (what: string, host: string, port: number, path = ''): Promise<string> => asked(deadline(), what, host, port, path);
  /** For what is not to be answered: it is waited for a moment only. */
  const askInVain = async (what: string, host: string, port: number, path = ''): Promise<string> => asked(SILENCE_MS, what, host, port, path);
  const reaches = async (address: string, ...more: readonly string[]): Promise<unknown> => waitFor(`the client reaches ${address}`, () => answers(address, ...more), (yes) => yes);
  const answers = async (address: string, ...more: readonly string[]): Promise<boolean> => (await lab.run('client', ['ping', '-n', '-c', '1', '-W', '0.3', ...more, address])).code === 0;
  const gatewayReached = async (): Promise<unknown> => waitFor('the gateway answers', () => lab.run('router', ['ping', '-n', '-c', '1', '-W', '0.3', '198.51.100.1']), ({ code }) => code === 0);

  test('the internet serves pages, connections and names, in both families', async () => {
    const [empty, page, page6, tcp, tcp6, a, aaaa, unknown] = await Promise.all([
      ask('http', '9.9.9.9', 80, 'connectivity.example/generate_204'), ask('http', '1.1.1.1', 80, 'example.com/'), ask('http', SIX, 80, 'example.com/'),
      ask('connect', '9.9.9.9', 443), ask('connect', SIX, 443), ask('a', '9.9.9.9', 53, 'example.com'), ask('aaaa', SIX, 53, 'example.com'), ask('a', '9.9.9.9', 53, 'nowhere.example'),
    ]);
    assert.deepEqual([empty, page, page6, tcp, tcp6], ['204', '200  the internet', '200  the internet', 'stands', 'stands']);
    assert.deepEqual([a, aaaa, unknown], ['rcode 0 192.0.2.10', `rcode 0 ${SIX}`, 'rcode 3']);
  });

  test('a lossy line loses its share of the round trips, and the gateway none', async () => {
    const both = async (): Promise<readonly number[]> => Promise.all(['1.1.1.1', SIX].map((address) => receivedOf(lab, 'client', 400, address)));
    await lab.lossy('fibre', 40);
    for (const received of await both()) assert.ok(received > 190 && received < 290, `${received} of 400`);
    const gateway = await lab.text('router', ['ping', '-n', '-q', '-c', '20', '-i', '0.005', '198.51.100.1']);
    assert.match(gateway, /20 received/);
    await lab.lossy('fibre', 40, { family: 6 });
    const [four, six] = await both();
    assert.ok(four === 400 && six! < 290, `${four} and ${six} of 400`);
    await lab.heal('fibre');
    assert.deepEqual(await both(), [400, 400]);
  });

  test('a narrow line swallows long packets both ways and says nothing; TCP that sends short ones goes on', async () => {
    const sized = async (bytes: number): Promise<boolean> => answers('1.1.1.1', '-M', 'do', '-s', String(bytes - 28));
    await reaches('1.1.1.1', '-M', 'do', '-s', String(1500 - 28));
    await lab.mtu('fibre', 1400);
    await reaches('1.1.1.1', '-M', 'do', '-s', String(1400 - 28));
    assert.equal(await sized(1401), false);
    await gatewayReached();
    assert.equal(await answers(SIX, '-M', 'do', '-s', String(1401 - 48)), false);
    await lab.ip('client', 'route replace 9.9.9.9 via 192.168.1.1 mtu lock 1200');
    const upload = await lab.stream({ kind: 'upload', to: '9.9.9.9', answered: false, connections: 1 });
    const at = now();
    const { lost } = await upload.outage({ since: at, until: at + 200, graceMs: deadline() });
    assert.equal(lost, 0, 'short packets that travel as one are not taken for a long one');
    await upload.stop();
    await lab.heal('fibre');
    await reaches('1.1.1.1', '-M', 'do', '-s', String(1500 - 28));
  });

  test('broken DNS is silent while everything else works', async () => {
    await lab.dnsBroken('fibre');
    assert.deepEqual(await Promise.all([askInVain('a', '9.9.9.9', 53, 'example.com'), askInVain('a', SIX, 53, 'example.com'), askInVain('connect', '9.9.9.9', 53), ask('connect', '9.9.9.9', 443)]), ['silence', 'silence', 'silence', 'stands']);
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
      ask('a', '9.9.9.9', 53, 'example.com'), askInVain('connect', '9.9.9.9', 443), answers('1.1.1.1'),
    ]);
    assert.match(probe, login);
    assert.match(probe6, login);
    assert.match(page, /^200 .*Log in/);
    assert.match(name, /^rcode 0/);
    assert.deepEqual([tcp, echo], ['silence', false]);
    await gatewayReached();
    await lab.portal('fibre', { others: 'through' });
    assert.match(await ask('http', '1.1.1.1', 80, 'example.com/'), login);
    assert.equal(await ask('connect', '9.9.9.9', 443), 'stands');
    await reaches('1.1.1.1');
    await lab.heal('fibre');
    assert.equal(await ask('http', '9.9.9.9', 80, 'example.com/generate_204'), '204');
  });

  test('a dead target is one address, everywhere or through one ISP', async () => {
    await lab.deadTarget('9.9.9.9');
    await reaches('1.1.1.1');
    assert.deepEqual(await Promise.all([answers('9.9.9.9'), askInVain('connect', '9.9.9.9', 443)]), [false, 'silence']);
    await lab.deadTarget('9.9.9.9', { isp: 'cable' });
    await reaches('9.9.9.9');
    await lab.cutCable('fibre');
    await reaches('1.1.1.1');
    assert.equal(await answers('9.9.9.9'), false);
    await lab.heal('fibre');
    await lab.ip('router', 'route replace default via 198.51.100.1 dev isp0 onlink metric 100');
    await lab.healTarget('9.9.9.9');
    await lab.deadTarget('2620:fe::fe');
    await lab.ip6('router', 'route replace ::/0 via fe80::1 dev isp0 metric 100');
    await reaches(SIX);
    assert.equal(await answers('2620:fe::fe'), false);
    await lab.healTarget('2620:fe::fe');
    await reaches('2620:fe::fe');
    await reaches('9.9.9.9');
    await assert.rejects(lab.deadTarget('10.0.0.1'), /the internet has no 10\.0\.0\.1/);
  });

  test('a rate-limited target answers so many a second, to echo requests alone', async () => {
    const received = (address: string): Promise<number> => receivedOf(lab, 'client', 100, address);
    await lab.rateLimitTarget('9.9.9.9', 5);
    const since = now();
    const limited = await received('9.9.9.9');
    const most = 5 + (5 * (now() - since)) / 1000 + 1;
    assert.ok(limited >= 4 && limited <= most, `${limited} of 100, and ${most} at most at 5 a second`);
    assert.equal(await received('1.1.1.1'), 100);
    assert.equal(await ask('connect', '9.9.9.9', 443), 'stands');
    await lab.healTarget('9.9.9.9');
    await lab.rateLimitTarget(SIX, 5, { isp: 'fibre' });
    const again = now();
    assert.ok((await received(SIX)) <= 5 + (5 * (now() - again)) / 1000 + 1);
    await lab.healTarget(SIX);
    assert.equal(await received(SIX), 100);
  });

  test('a hiccup is over after its time', async () => {
    const flow = await lab.stream({ kind: 'udp' });
    const { beganAt } = await lab.hiccup('fibre', 120);
    const { outageMs, stalledMs } = await flow.outageAfter(beganAt);
    assert.ok(outageMs + stalledMs >= 115, `${outageMs} ms, and the sender stalled for ${stalledMs} ms`);
    await flow.stop();
  });
});
