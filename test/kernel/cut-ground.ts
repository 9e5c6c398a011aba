/**
 * The ground of the tests and measurements of connections that are cut: nat-ground.ts with two uplinks, TCP clients in the LAN and in
 * the router itself, a TCP server behind both uplinks, and the marks and the reset rule written by hand. wan0 is the uplink that
 * dies: silently, its carrier stays.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { cutMarkOf } from '../../src/core/layout.js';
import type { Family, ForgetOrder } from '../../src/model.js';
import { SERVER, SERVER6, nft, openGround, out, steer } from './nat-ground.js';

export const MASK = 0x3f80;
export const FIBRE = 0x80;
export const CABLE = 0x100;
export const CUT = cutMarkOf(MASK);
export const TCP_PORT = 7101;

export function orderOf(mark: number, more: Partial<ForgetOrder> = {}): ForgetOrder {
  return { uplink: 'fibre', mark, markMask: MASK, which: 'all', family: undefined, translatedTo: '', astray: undefined, only: undefined, except: [], cutMark: 0, ...more };
}

const FAMILIES = ['-4', '-6'] as const;

export interface End {
  /** ECONNRESET, ECONNABORTED, ETIMEDOUT, '' = closed in order. */
  readonly how: string;
  /** Clock of all processes here (CLOCK_MONOTONIC). */
  readonly atMs: number;
}

export interface TcpClient {
  /**
   * A connection that sends a byte every 20 ms, or asks once and then only receives a byte every 20 ms, or idles. Resolves when bytes flow.
   * @param more port: default TCP_PORT; from: address to begin at
   * @returns its own port
   */
  connect(flow: string, to: string, kind: 'sends' | 'receives' | 'idles', more?: { readonly port?: number; readonly from?: string }): Promise<number>;
  /** How the flow ended; undefined = it lasts still, so long after the call. */
  end(flow: string, waitMs: number): Promise<End | undefined>;
  /** Bytes received so far. */
  received(flow: string): Promise<number>;
  /** Drops all connections, with a reset. */
  drop(): Promise<void>;
  stop(): void;
}

export interface TcpServer {
  /** On all addresses. */
  listen(port: number): Promise<void>;
  /** How the connection that was accepted first on that port ended; undefined = it lasts still, so long after the call. */
  end(port: number, waitMs: number): Promise<End | undefined>;
  drop(): Promise<void>;
  stop(): void;
}

export interface CutGround {
  readonly client: TcpClient;
  /** In the router itself. */
  readonly router: TcpClient;
  /** In the internet. */
  readonly stranger: TcpClient;
  /** In the LAN. */
  readonly lanServer: TcpServer;
  readonly routerServer: TcpServer;
  readonly server: Readonly<Record<Family, string>>;
  /** From now on nothing passes wan0 in either direction; routes lead to wan1 and marks no longer to wan0. @returns when */
  die(): number;
  /** The internet hears and says nothing any more, on neither uplink; routes and marks stay. */
  silence(): void;
  /** wan0 works again; what became of the connections stands. */
  revive(): void;
  /** All connections are gone and wan0 works, as in the beginning. */
  heal(): Promise<void>;
  close(): Promise<void>;
}

export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export async function openCutGround(): Promise<CutGround> {
  const ground = await openGround();
  out('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.tcp_keepalive_time=7200');
  nft(ROUTER_RULES);
  for (const family of FAMILIES) {
    out('ip', family, 'rule', 'add', 'fwmark', `${CABLE}/${MASK}`, 'lookup', '102', 'pref', '9501');
    out('ip', family, 'rule', 'add', 'lookup', 'main', 'suppress_prefixlength', '0', 'pref', '9450');
  }
  steer(0, '101');
  steer(1, '102');
  const [server, lanServer, routerServer] = [serverIn('inet'), serverIn('client'), serverIn('')];
  await server.listen(TCP_PORT);
  const [client, router, stranger] = [clientIn('client'), clientIn(''), clientIn('inet')];
  const everybody = [client, router, stranger, server, lanServer, routerServer];
  let alive = false;
  const revive = (): void => {
    steer(0);
    for (const family of alive ? [] : FAMILIES) out('ip', family, 'rule', 'add', 'fwmark', `${FIBRE}/${MASK}`, 'lookup', '101', 'pref', '9500');
    alive = true;
    nft('table inet dead\ndelete table inet dead\n', 'inet');
  };
  const heal = async (): Promise<void> => {
    await Promise.all(everybody.map((who) => who.drop()));
    revive();
    out('conntrack', '-F');
  };
  await heal();
  return {
    client,
    router,
    stranger,
    lanServer,
    routerServer,
    server: { 4: SERVER, 6: SERVER6 },
    die() {
      nft(DEAD_LINE, 'inet');
      steer(1);
      for (const family of FAMILIES) out('ip', family, 'rule', 'del', 'pref', '9500');
      alive = false;
      return nowMs();
    },
    silence: () => nft(MUTE, 'inet'),
    revive,
    heal,
    async close() {
      // Connections that were closed in order would wait for their far ends, and hold the namespaces.
      await heal();
      for (const who of everybody) who.stop();
      await ground.end();
    },
  };
}

function clientIn(where: string): TcpClient {
  const { ask, stop } = agent(where, CLIENT_CODE);
  return {
    connect: async (flow, to, kind, { port = TCP_PORT, from } = {}) => (await ask({ do: 'connect', flow, to, kind, port, from })) as number,
    end: async (flow, waitMs) => ((await ask({ do: 'end', flow, waitMs })) ?? undefined) as End | undefined,
    received: async (flow) => (await ask({ do: 'received', flow })) as number,
    drop: async () => void (await ask({ do: 'drop' })),
    stop,
  };
}

function serverIn(where: string): TcpServer {
  const { ask, stop } = agent(where, SERVER_CODE);
  return {
    listen: async (port) => void (await ask({ do: 'listen', port })),
    drop: async () => void (await ask({ do: 'drop' })),
    end: async (port, waitMs) => ((await ask({ do: 'end', port, waitMs })) ?? undefined) as End | undefined,
    stop,
  };
}

interface Agent {
  ask(order: Readonly<Record<string, unknown>>): Promise<unknown>;
  stop(): void;
}

function agent(where: string, code: string): Agent {
  const [program = '', ...args] = [...(where === '' ? [] : ['ip', 'netns', 'exec', where]), process.execPath, '-e', code + LOOP_CODE];
  const child: ChildProcess = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = new Map<number, (answer: unknown) => void>();
  let last = 0;
  child.on('exit', (code) => {
    if (waiting.size > 0) throw new Error(`the agent in "${where}" died (${String(code)})`);
  });
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const { id, answer } = JSON.parse(line) as { id: number; answer: unknown };
    waiting.get(id)?.(answer);
    waiting.delete(id);
  });
  return {
    ask: (order) => new Promise((resolve) => {
      last += 1;
      waiting.set(last, resolve);
      child.stdin!.write(`${JSON.stringify({ ...order, id: last })}\n`);
    }),
    stop: () => void child.stdin!.end(),
  };
}

const LOOP_CODE = `
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const order = JSON.parse(line);
  Promise.resolve(orders[order.do](order)).then((answer) => console.log(JSON.stringify({ id: order.id, answer: answer ?? null })));
}).on('close', () => process.exit());
`;

const ENDED_CODE = `
const open = new Set();
const drop = () => { for (const socket of open) socket.resetAndDestroy(); };
const endOf = (socket) => new Promise((resolve) => {
  open.add(socket);
  socket.on('close', () => open.delete(socket));
  const tell = (how) => resolve({ how, atMs: Number(process.hrtime.bigint()) / 1e6 });
  socket.on('error', (error) => tell(error.code));
  socket.on('close', () => tell(''));
});
const within = (promise, waitMs) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, waitMs))]);
`;

const CLIENT_CODE = `${ENDED_CODE}
const flows = new Map();
const orders = {
  connect({ flow, to, kind, port, from }) {
    const socket = require('node:net').connect({ host: to, port, localAddress: from, noDelay: true });
    const state = { received: 0, ended: endOf(socket) };
    flows.set(flow, state);
    socket.on('connect', () => {
      socket.write(kind === 'receives' ? 'r' : 's');
      if (kind === 'sends') { const timer = setInterval(() => socket.write('.'), 20); socket.on('close', () => clearInterval(timer)); }
    });
    return new Promise((resolve) => socket.on('data', (data) => { state.received += data.length; resolve(socket.localPort); }));
  },
  end: ({ flow, waitMs }) => within(flows.get(flow).ended, waitMs),
  received: ({ flow }) => flows.get(flow).received,
  drop,
};`;

const SERVER_CODE = `${ENDED_CODE}
const first = new Map();
const orders = {
  listen: ({ port }) => new Promise((resolve) => require('node:net').createServer({ noDelay: true }, (socket) => {
    const ended = endOf(socket);
    if (!first.has(port)) first.set(port, ended);
    socket.once('data', (data) => {
      socket.write('!');
      if (data[0] !== 114) return;
      const timer = setInterval(() => socket.write('.'), 20);
      socket.on('close', () => clearInterval(timer));
    });
    socket.resume();
  }).listen(port, '::', () => resolve())),
  end: ({ port, waitMs }) => within(first.get(port), waitMs),
  drop() { drop(); first.clear(); },
};`;

const DEAD_LINE = `
table inet dead {
  chain in {
    type filter hook prerouting priority -500;
    iifname "i0" drop
  }
  chain out {
    type filter hook postrouting priority -500;
    oifname "i0" drop
  }
}
`;

const MUTE = `
table inet dead {
  chain in {
    type filter hook prerouting priority -500;
    iifname { "i0", "i1" } drop
  }
  chain out {
    type filter hook postrouting priority -500;
    oifname { "i0", "i1" } drop
  }
}
`;

const ROUTER_RULES = `
table inet hand {
  chain restore {
    type filter hook prerouting priority -150;
    ct mark and ${MASK} == 0 iifname "wan0" ct mark set ct mark or ${FIBRE}
    iifname != { "wan0", "wan1" } ct mark and ${MASK} != 0 meta mark set ct mark and ${MASK}
  }
  chain own {
    type route hook output priority -150;
    ct mark and ${MASK} != 0 meta mark set ct mark and ${MASK}
  }
  chain cut {
    type filter hook forward priority -10;
    meta l4proto tcp ct mark and ${MASK} == ${CUT} tcp flags & rst == 0 counter reject with tcp reset
  }
  chain cutown {
    type filter hook output priority -10;
    meta l4proto tcp ct mark and ${MASK} == ${CUT} tcp flags & rst == 0 counter reject with tcp reset
  }
  chain stamp {
    type filter hook postrouting priority -150;
    ct mark and ${MASK} == 0 oifname "wan0" ct mark set ct mark or ${FIBRE}
    ct mark and ${MASK} == 0 oifname "wan1" ct mark set ct mark or ${CABLE}
  }
  chain nat {
    type nat hook postrouting priority 100;
    oifname { "wan0", "wan1" } masquerade
  }
}
`;
