/**
 * TCP clients whose uplink died are told, those that only receive too; nobody else is disturbed. Real sockets, real packets. (How soon: bench/flows.ts.)
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { forget } from '../../src/kernel/conntrack.js';
import { parseAddress } from '../../src/kernel/netlink/inet.js';
import { PacketSender } from '../../src/kernel/netlink/packet-sender.js';
import { NETLINK_ROUTE, NetlinkSocket } from '../../src/kernel/netlink/socket.js';
import { findWay } from '../../src/kernel/netlink/way.js';
import { bareAck } from '../../src/kernel/segment.js';
import type { Family } from '../../src/model.js';
import { CUT, FIBRE, TCP_PORT, openCutGround, orderOf, type CutGround } from './cut-ground.js';
import { deadline, waitFor } from '../lab/wait.js';
import { inNamespaces, nft, out } from './nat-ground.js';

/** An end that comes is waited for; a client that is told nothing would wait for longer than a deadline. */
const AT_LAST_MS = deadline();
/** In which an end would come that nobody expects. */
const LONG_MS = 500;
/** Who idles has nothing left to say then. */
const DELAYED_ACK_MS = 100;
const CLIENT = { 4: '10.0.0.2', 6: 'fd00:10::2' } as const;
const LAN = { 4: '10.0.0.1', 6: 'fd00:10::1' } as const;
const UPLINK = { 4: '198.51.100.2', 6: '2001:db8:a::2' } as const;
const FAMILIES: readonly Family[] = [4, 6];

inNamespaces(import.meta.url, 'connections that are cut, on Linux', () => {
  let ground: CutGround;
  let flow = 0;
  const named = (): string => `flow ${flow++}`;
  const cut = (family?: Family): Promise<number> => forget(orderOf(FIBRE, { cutMark: CUT, family }));

  before(async () => {
    ground = await openCutGround();
    await ground.lanServer.listen(8001);
    await ground.lanServer.listen(8002);
    await ground.routerServer.listen(8003);
  });
  beforeEach(() => ground.heal());
  after(() => ground.close());

  for (const family of FAMILIES) {
    test(`IPv${family}: a client that only receives is reset; without the cut it would wait on`, async () => {
      const [told, untold] = [named(), named()];
      await ground.client.connect(told, ground.server[family], 'receives');
      ground.die();
      assert.ok((await cut()) >= 1);
      assert.equal((await ground.client.end(told, AT_LAST_MS))?.how, 'ECONNRESET');

      await ground.heal();
      await ground.client.connect(untold, ground.server[family], 'receives');
      ground.die();
      assert.ok((await forget(orderOf(FIBRE))) >= 1);
      assert.equal(await ground.client.end(untold, LONG_MS), undefined);
    });

    test(`IPv${family}: a client that sends is reset by the router, whether the far end can be reached or not`, async () => {
      const name = named();
      await ground.client.connect(name, ground.server[family], 'sends');
      ground.silence();
      assert.ok((await cut()) >= 1);
      assert.equal((await ground.client.end(name, AT_LAST_MS))?.how, 'ECONNRESET');
    });

    test(`IPv${family}: the router's own connections are ended, sending and receiving`, async () => {
      const [sends, receives] = [named(), named()];
      await ground.router.connect(receives, ground.server[family], 'receives');
      await ground.router.connect(sends, ground.server[family], 'sends');
      ground.silence();
      assert.equal(await ground.router.end(receives, 0), undefined);
      assert.ok((await cut()) >= 2);
      assert.equal((await ground.router.end(receives, AT_LAST_MS))?.how, 'ECONNABORTED');
      assert.match((await ground.router.end(sends, AT_LAST_MS))?.how ?? '', /^ECONN(ABORTED|RESET)$/);
    });

    test(`IPv${family}: each of the two segments that provoke is answered by itself, wherever the client's window lies`, async () => {
      const sender = new PacketSender();
      const netlink = new NetlinkSocket(NETLINK_ROUTE);
      const way = findWay(netlink, parseAddress(CLIENT[family]));
      assert.ok(way.kind === 'near' && way.hardware !== undefined);
      for (const [sequence, timestamps] of [[0x1000_0000, false], [0x9000_0000, false]] as const) {
        const name = named();
        const port = await ground.client.connect(name, ground.server[family], 'receives');
        ground.die();
        out('conntrack', '-U', '-f', `ipv${family}`, '-p', 'tcp', '--orig-port-src', `${port}`, '-m', `${CUT}/${CUT}`);
        const ends = { near: { address: parseAddress(CLIENT[family]), port }, far: { address: parseAddress(ground.server[family]), port: TCP_PORT } };
        assert.equal(await sender.send([{ ifindex: way.ifindex, hardware: way.hardware, bytes: bareAck(ends, sequence, timestamps) }]), 1);
        assert.equal((await ground.client.end(name, AT_LAST_MS))?.how, 'ECONNRESET', `sequence ${sequence}`);
        await ground.heal();
      }
      netlink.close();
      sender.close();
    });

    test(`IPv${family}: connections within the LAN, of another uplink, of the router to itself and of the other family go on`, async () => {
      const other: Family = family === 4 ? 6 : 4;
      await ground.client.connect('doomed', ground.server[family], 'receives');
      const staying = [
        [ground.client, 'other family', ground.server[other], TCP_PORT],
        [ground.client, 'to the router', LAN[family], 8003],
        [ground.router, 'into the LAN', CLIENT[family], 8001],
        [ground.router, 'to itself', LAN[family], 8003],
      ] as const;
      for (const [who, name, to, port] of staying) await who.connect(`${name} ${family}`, to, 'receives', { port });
      assert.ok((await cut(family)) >= 1);
      const before = await Promise.all(staying.map(([who, name]) => who.received(`${name} ${family}`)));
      assert.equal((await ground.client.end('doomed', AT_LAST_MS))?.how, 'ECONNRESET');
      for (const [i, [who, name]] of staying.entries()) {
        await waitFor(`${name} goes on`, () => who.received(`${name} ${family}`), (received) => received > before[i]! + 2);
        assert.equal(await who.end(`${name} ${family}`, 0), undefined, name);
      }
    });
  }

  test('a server in the LAN is told that its caller is gone; who called the router itself is left alone', async () => {
    nft('table ip published {\n chain in {\n type nat hook prerouting priority -100; tcp dport 8080 dnat to 10.0.0.2:8002\n }\n}');
    await ground.stranger.connect('caller', UPLINK[4], 'idles', { port: 8080 });
    await ground.stranger.connect('visitor', UPLINK[4], 'receives', { port: 8003 });
    nft('delete table ip published');
    await delay(DELAYED_ACK_MS);
    ground.die();
    assert.ok((await cut()) >= 2);
    assert.equal((await ground.lanServer.end(8002, AT_LAST_MS))?.how, 'ECONNRESET');
    ground.revive();
    const before = await ground.stranger.received('visitor');
    await waitFor('the visitor goes on when the line is back', () => ground.stranger.received('visitor'), (received) => received > before);
    assert.equal(await ground.stranger.end('visitor', 0), undefined);
  });

  test('where nobody is translated, the end in the LAN is found through the routes', async () => {
    out('ip', '-n', 'client', 'addr', 'add', '10.0.0.3/24', 'dev', 'eth0');
    out('ip', '-n', 'inet', 'route', 'add', '10.0.0.0/24', 'via', UPLINK[4]);
    nft('insert rule inet hand nat ip saddr 10.0.0.3 accept');
    await ground.client.connect('routed', ground.server[4], 'receives', { from: '10.0.0.3' });
    await ground.stranger.connect('called', '10.0.0.3', 'idles', { port: 8001 });
    await delay(DELAYED_ACK_MS);
    ground.die();
    assert.ok((await cut()) >= 2);
    assert.equal((await ground.client.end('routed', AT_LAST_MS))?.how, 'ECONNRESET');
    assert.equal((await ground.lanServer.end(8001, AT_LAST_MS))?.how, 'ECONNRESET');
  });
});

