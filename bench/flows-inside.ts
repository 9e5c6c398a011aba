/** Runs as root of fresh namespaces, in the place of the router: measures what flows.ts shows. Prints JSON. */
import { execFileSync } from 'node:child_process';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { forget } from '../src/kernel/conntrack.js';
import type { ForgetOrder } from '../src/model.js';
import { CABLE, CUT, FIBRE, nowMs, openCutGround, orderOf } from '../test/kernel/cut-ground.js';
import { flows, insert } from '../test/kernel/entries.js';
import type { FlowFigures } from './flows.js';

const TABLE = 200_000;
const FEW = 300;
const RUNS = 3;
const GIVE_UP_MS = 2000;
const TCP = { protocol: 'tcp', from: '10.0.0.2', translatedFrom: '198.51.100.2', to: '192.0.2.1' } as const;

// A process of its own, so that what the making leaves behind is no garbage in the measured one.
if (process.argv[2] === 'fill') {
  const marked = Number(process.argv[3]);
  await insert(flows(marked, 0, { mark: FIBRE, ...TCP }));
  await insert(flows(TABLE - marked, marked, { mark: CABLE, ...TCP }));
  process.exit(0);
}

execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
execFileSync('ip', ['link', 'set', 'lo', 'up']);
const ground = await openCutGround();
const longestBlockMs: number[] = [];
const idleBlockMs: number[] = [];
const figures: FlowFigures = {
  emptyMs: await crowd(0, {}, RUNS * 3),
  fewMs: await crowd(FEW, {}),
  allMs: await crowd(TABLE, {}),
  cutMs: await crowd(TABLE, { cutMark: CUT }),
  longestBlockMs,
  idleBlockMs,
  told: await toldInTime(),
};
await ground.close();
process.stdout.write(JSON.stringify(figures), () => process.exit(0));

async function crowd(marked: number, more: Partial<ForgetOrder>, runs = RUNS): Promise<number[]> {
  const took: number[] = [];
  for (let run = 0; run < runs; run++) {
    if (marked > 0) execFileSync(process.execPath, [fileURLToPath(import.meta.url), 'fill', `${marked}`]);
    const held = await longestBlock(async () => {
      const began = nowMs();
      await forget(orderOf(FIBRE, more));
      took.push(nowMs() - began);
    });
    if (marked > 0) {
      longestBlockMs.push(held);
      idleBlockMs.push(await longestBlock(() => delay(took.at(-1)!)));
    }
    execFileSync('conntrack', ['-F'], { stdio: 'ignore' });
  }
  return took;
}

/** Of the event loop by the clock on the wall, in ms. */
async function longestBlock(work: () => Promise<unknown>): Promise<number> {
  const monitor = monitorEventLoopDelay({ resolution: 1 });
  monitor.enable();
  await work();
  monitor.disable();
  return monitor.max / 1e6;
}

async function toldInTime(): Promise<FlowFigures['told']> {
  const told: FlowFigures['told'][number][] = [];
  for (const family of [4, 6] as const) {
    for (const kind of ['sends', 'receives'] as const) {
      for (const help of ['cut', 'deleted', 'none'] as const) {
        for (const farEnd of kind === 'sends' ? (['answers', 'silent'] as const) : (['answers'] as const)) {
          const runs = help === 'cut' ? 2 * RUNS : 1;
          const ms: number[] = [];
          for (let run = 0; run < runs; run++) ms.push(await toldAfter(`${family} ${kind} ${help} ${farEnd} ${run}`, family, kind, help, farEnd));
          told.push({ family, kind, help, farEnd, ms: ms.map((value) => (value === Infinity ? GIVE_UP_MS : value)) });
        }
      }
    }
  }
  return told;
}

async function toldAfter(flow: string, family: 4 | 6, kind: 'sends' | 'receives', help: 'cut' | 'deleted' | 'none', farEnd: 'answers' | 'silent'): Promise<number> {
  await ground.heal();
  await ground.client.connect(flow, ground.server[family], kind);
  if (farEnd === 'silent') ground.silence();
  const switched = farEnd === 'silent' ? nowMs() : ground.die();
  if (help !== 'none') await forget(orderOf(FIBRE, { cutMark: help === 'cut' ? CUT : 0 }));
  const end = await ground.client.end(flow, GIVE_UP_MS);
  return end === undefined ? Infinity : end.atMs - switched;
}
