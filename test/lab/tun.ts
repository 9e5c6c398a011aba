/**
 * The wire of a point-to-point line: a tun device in the router, another one at the ISP, and at each a small process that copies packets between
 * its device and the other's socket on the lab's /run (a path, so that it reaches across network namespaces).
 *
 * The devices are real ones, POINTOPOINT and NOARP: no gateway can be named on them. They live as long as their process, as ppp0 does.
 */
import type { Anchor, LabProcess } from './anchor.js';
import { stamped } from './ip-batch.js';
import type { Applied } from './ip-batch.js';
import type { Cable } from './topology.js';

export interface Wire {
  /** Of the router's end; without it nothing passes either way. */
  carrier(on: boolean): Promise<Applied>;
  /** The router's device vanishes, as when a PPP session ends. */
  hangUp(): Promise<Applied>;
  /** The router's device comes back under another index, down and without addresses. */
  dial(): Promise<Applied>;
}

/** Linux 5.0: TUNSETCARRIER. A unix socket takes 10 datagrams unless it is told otherwise, fewer than a burst has packets. */
const COPY = `
import fcntl, os, select, socket, struct, sys
name, here, there = sys.argv[1:]
open('/proc/sys/net/unix/max_dgram_qlen', 'w').write('1000')
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', name.encode(), 0x1001))
wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
if os.path.exists(here): os.unlink(here)
wire.bind(here)
wire.setblocking(False)
connected = True
print('ready', flush=True)
while True:
    ready = select.select([tun, wire, 0], [], [])[0]
    if 0 in ready:
        order = os.read(0, 1)
        if not order: sys.exit()
        connected = order == b'1'
        fcntl.ioctl(tun, 0x400454e2, struct.pack('i', connected))
        print('done', flush=True)
    try:
        if tun in ready:
            packet = os.read(tun, 65535)
            if connected: wire.sendto(packet, there)
        if wire in ready:
            packet = wire.recv(65535)
            if connected: os.write(tun, packet)
    except OSError:
        if not os.path.exists('/sys/class/net/' + name): sys.exit()
`;

/** Both devices exist when it resolves. @throws Error where /dev/net/tun may not be opened */
export async function openWire(anchor: Anchor, { near, far }: Cable): Promise<Wire> {
  const socketOf = (host: string): string => `/run/wire-${near.device}-${host}`;
  const openEnd = async (end: Cable['near'], other: Cable['near']): Promise<LabProcess> => {
    const process = await anchor.start(end.host, ['python3', '-c', COPY, end.device, socketOf(end.host), socketOf(other.host)]);
    await told(process, `${end.host}: ${end.device}`);
    return process;
  };
  let [nearEnd] = await Promise.all([openEnd(near, far), openEnd(far, near)]);
  return {
    carrier: async (on) =>
      stamped(async () => {
        const done = told(nearEnd, near.device);
        nearEnd.child.stdin?.write(on ? '1' : '0');
        await done;
      }),
    hangUp: async () =>
      stamped(async () => {
        nearEnd.kill('SIGKILL');
        await nearEnd.exited;
      }),
    dial: async () =>
      stamped(async () => {
        nearEnd = await openEnd(near, far);
      }),
  };
}

/** The next line that it says. */
async function told(process: LabProcess, what: string): Promise<void> {
  let complaints = '';
  process.child.stderr?.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const line = new Promise<true>((resolve) => process.child.stdout?.once('data', () => resolve(true)));
  const ended = process.exited.then(() => false as const);
  if (!(await Promise.race([line, ended]))) throw new Error(`${what} is no tun line: ${complaints.trim().split('\n').at(-1) ?? ''}`);
}
