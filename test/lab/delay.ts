/**
 * A delay line: the long way between an ISP and the internet, as a small process that carries every frame from one cable to the other, later. It stands
 * behind the ISP, so that the router's port keeps its carrier and the gateway stays near.
 *
 *   ISP `core` ── near0 [delays: one process per line] far0 ── `to-fibre` internet
 *
 * Each way has half the RTT. Jitter wanders: it goes in straight lines from one random value to the next, one every 25 ms, so that a thousand packets a
 * second see it change as well as one does, and none overtakes another. A rate makes a way a queue: a frame that would wait longer than `queueMs` is dropped.
 *
 * The devices keep their checksum offload: the header that the kernel puts before each frame (PACKET_VNET_HDR) says what is still to be computed and goes along
 * with it. Segmentation is done before (gso_max_segs 1 on both cables), so that each frame is one packet of the wire.
 */
import type { Anchor, LabProcess } from './anchor.js';
import { stamped } from './ip-batch.js';
import type { Applied } from './ip-batch.js';

export interface LineShape {
  /** Of the empty line, both ways together. */
  readonly rttMs: number;
  /** The RTT lies within `rttMs` ± so much, half of it of each way. */
  readonly jitterMs: number;
  /** Of the packets, each way. */
  readonly lossPercent: number;
  /** Each way; 0 = as fast as it goes. */
  readonly rateKbit: number;
  /** How long a packet may wait for its turn where there is a rate: the bloat of the buffer. */
  readonly queueMs: number;
  /** Each packet has a jitter of its own and may overtake others. */
  readonly reorder: boolean;
}

export interface DelayLine {
  /** Changes what is named; packets under way keep their time. */
  shape(change: Partial<LineShape>): Promise<Applied>;
}

export const PLAIN_LINE: LineShape = { rttMs: 0, jitterMs: 0, lossPercent: 0, rateKbit: 0, queueMs: 100, reorder: false };

/** SOL_PACKET = 263, PACKET_VNET_HDR = 15, SO_RCVBUFFORCE = 33. A packet socket is not shown what it sent itself, and nobody else sends here. */
const CARRY = `
import errno, gc, heapq, json, os, random, select, socket, sys, time
gc.disable()
shape = json.loads(sys.argv[3])
clock, STEP, HEADER = time.monotonic, 0.025, 10
def opened(device):
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(263, 15, 1)
    try: end.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)
    except PermissionError: end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    end.bind((device, 3))
    end.setblocking(False)
    return end
class Way:
    def __init__(self, into, out):
        self.into, self.out = into, out
        self.last = self.free = self.turned = 0.0
        self.start = self.goal = 0.0
    def wander(self, now):
        if now >= self.turned + STEP:
            if now >= self.turned + 2 * STEP: self.turned, self.start = now, random.uniform(-1, 1)
            else: self.turned, self.start = self.turned + STEP, self.goal
            self.goal = random.uniform(-1, 1)
        return self.start + (self.goal - self.start) * (now - self.turned) / STEP
    def due(self, now, size):
        if shape['lossPercent'] and random.uniform(0, 100) < shape['lossPercent']: return None
        sent = now
        if shape['rateKbit']:
            begun = max(now, self.free)
            if (begun - now) * 1000 > shape['queueMs']: return None
            sent = self.free = begun + size * 8 / (shape['rateKbit'] * 1000)
        off = random.uniform(-1, 1) if shape['reorder'] else self.wander(now) if shape['jitterMs'] else 0
        at = sent + max(0, shape['rttMs'] + off * shape['jitterMs']) / 2000
        if not shape['reorder']: self.last = at = max(at, self.last)
        return at
near, far = opened(sys.argv[1]), opened(sys.argv[2])
ways = (Way(near, far), Way(far, near))
queue, number = [], 0
buffer = bytearray(70000)
view = memoryview(buffer)
print('ready', flush=True)
while True:
    ready = select.select([near, far, 0], [], [], max(0, queue[0][0] - clock()) if queue else None)[0]
    for way in ways:
        if way.into not in ready: continue
        for _ in range(64):
            try: size = way.into.recv_into(buffer)
            except BlockingIOError: break
            except OSError as error:
                if error.errno == errno.ENETDOWN: break
                raise
            now = clock()
            at = way.due(now, size - HEADER)
            if at is None: continue
            number += 1
            heapq.heappush(queue, (at, number, way.out, bytes(view[:size])))
    while queue and queue[0][0] <= clock():
        _, _, out, frame = heapq.heappop(queue)
        try: out.send(frame)
        except OSError as error:
            if error.errno not in (errno.ENETDOWN, errno.EAGAIN, errno.ENOBUFS, errno.EMSGSIZE): raise
    if 0 in ready:
        orders = os.read(0, 65536).splitlines()
        if not orders: sys.exit()
        for order in orders:
            shape = json.loads(order)
            print('done', flush=True)
`;

/** Carries when it resolves. @throws Error where no packet socket may be opened, RangeError for a shape that no line has */
export async function openDelayLine(anchor: Anchor, host: string, near: string, far: string, first: LineShape): Promise<DelayLine> {
  checkShape(first);
  let shape = first;
  const carrier = await anchor.start(host, ['python3', '-c', CARRY, near, far, JSON.stringify(first)]);
  const answers = answersOf(carrier, `the delay line ${near} ─ ${far}`);
  await answers();
  return {
    shape: async (change) => {
      checkShape({ ...shape, ...change });
      shape = { ...shape, ...change };
      return stamped(async () => {
        const done = answers();
        carrier.child.stdin?.write(`${JSON.stringify(shape)}\n`);
        await done;
      });
    },
  };
}

function checkShape(shape: LineShape): void {
  const { rttMs, jitterMs, lossPercent, rateKbit, queueMs } = shape;
  const wrong = [rttMs, jitterMs, lossPercent, rateKbit, queueMs].some((value) => !Number.isFinite(value) || value < 0);
  if (wrong || lossPercent > 100) throw new RangeError(`no line is like ${JSON.stringify(shape)}: figures from 0, loss up to 100`);
}

/** Each call waits for one more line that the process says. */
function answersOf({ child, exited }: LabProcess, what: string): () => Promise<void> {
  let complaints = '';
  child.stderr?.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const waiting: (() => void)[] = [];
  child.stdout?.on('data', (chunk: Buffer) => chunk.toString().split('\n').slice(1).forEach(() => waiting.shift()?.()));
  return async () => {
    const line = new Promise<true>((resolve) => waiting.push(() => resolve(true)));
    const ended = exited.then(() => false as const);
    if (!(await Promise.race([line, ended]))) throw new Error(`${what} does not carry: ${complaints.trim().split('\n').at(-1) ?? ''}`);
  };
}
