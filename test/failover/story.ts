/**
 * What every failover story begins with: a lab, the real daemon in its router, and a settled state in which each uplink has answered, the first
 * decision stands in the kernel, and masquerade and sysctls were read back.
 *
 * Two tempers of config. STEADY judges by cable and hand and forgives a slow machine: for stories in which nothing may be lost. FAST is the word
 * `fast` of the config: for stories about silence. Both return after one second instead of thirty.
 *
 * No story bounds a time: it waits for a state and asserts states, who carried what, and what came before what. How fast that is, bench says. A
 * story that fails shows the daemon's log and the router's kernel.
 */
import assert from 'node:assert/strict';
import { after } from 'node:test';
import type { Family } from '../../src/model.js';
import type { Daemon, DaemonStatus, LogLine } from '../lab/daemon.js';
import { deadline, now, openLab, waitFor, withLab } from '../lab/lab.js';
import type { Lab } from '../lab/lab.js';
import type { Outage } from '../lab/outage.js';
import type { Stream } from '../lab/stream.js';
import type { TopologyWish } from '../lab/topology.js';
import type { WaitOptions } from '../lab/wait.js';
import { inTurn } from '../turns.js';

export interface Story {
  readonly lab: Lab;
  /** The daemon of now: a story may start another one. */
  daemon: Daemon;
}

export interface StoryWish {
  readonly topology?: TopologyWish;
  /** Replaces keys of STEADY and of the lab's own config. */
  readonly config?: Config;
  /** Done in the lab before the daemon starts. */
  readonly before?: (lab: Lab) => Promise<unknown>;
  /** The uplinks that must be up before the story begins. Default: all. */
  readonly expects?: readonly string[];
}

type Config = Readonly<Record<string, unknown>>;
type Tell = (story: Story) => Promise<void>;

/** Those of a family that no uplink has are not asked. */
const TARGETS = [{ icmp: 'gateway' }, { icmp: '1.1.1.1' }, { icmp: '9.9.9.9' }, { icmp: '2606:4700:4700::1111' }, { icmp: '2620:fe::fe' }] as const;

/** Asked five times a second; a reply may take 150 ms. */
export const STEADY = {
  probe: { interval: '200ms', timeoutMin: '150ms', targets: TARGETS },
  health: { sensitivity: 'balanced', up: { successes: 2 } },
  failback: { hold: '1s' },
} as const;

/** What stories that share a daemon begin with: a reload that keeps to it asks no line anew. */
export const UNDAMPED = { ...STEADY, health: { damping: 'off', ...STEADY.health } } as const;

export const FAST = {
  probe: { targets: TARGETS },
  health: { sensitivity: 'fast' },
  failback: { hold: '1s' },
} as const;

/** The backend of NAT for stories that both tell alike (test/kernel/nat-*.test.ts prove it): one in each run. */
export const BACKENDS = inTurn(['nftables', 'iptables'] as const);

/** An answer that comes later than this after the window is looked for in the next one. */
const GRACE_MS = 1000;
const ANSWERS_AT_LEAST = 4;
let counters = 0;

/** A lab with a settled daemon, for the time of one story. */
export async function withStory(wish: StoryWish, tell: Tell): Promise<void> {
  await withLab(wish.topology ?? {}, async (lab) => {
    const story = await begin(lab, wish);
    await explainedBy(story, tell);
  });
}

/**
 * Stories one after the other in one lab with one daemon: for those whose faults heal without a trace. Each begins with whole lines, the settled
 * daemon, the uplinks in use as at first, no stream, no connection, and a log of its own. Damping is off. One that fails takes the lab with it.
 *
 * A story may restart the daemon. With keys of config of its own it begins with them in force, and may reload others: it ends with those of all.
 */
export function shareStory(wish: StoryWish = {}): (tell: Tell, config?: Config) => Promise<void> {
  let shared: { readonly story: Story; readonly trace: readonly string[] } | undefined;
  const undamped = (more: Config = {}): Config => {
    const config = { ...wish.config, ...more };
    return { ...config, health: { ...UNDAMPED.health, ...(config['health'] as object | undefined) } };
  };
  const open = async (): Promise<NonNullable<typeof shared>> => {
    const lab = await openLab(wish.topology ?? {});
    try {
      const story = await begin(lab, { ...wish, config: undamped() });
      return { story, trace: await traceOf(lab, await story.daemon.status()) };
    } catch (error) {
      await lab.close();
      throw error;
    }
  };
  const close = async (): Promise<void> => {
    await shared?.story.lab.close();
    shared = undefined;
  };
  after(close);
  return async (tell, config) => {
    shared ??= await open();
    const { story, trace } = shared;
    story.daemon = sinceNow(story.daemon);
    try {
      await explainedBy(story, async () => {
        if (config !== undefined) {
          await reload(story, undamped(config));
          await settled(story.daemon, wish.expects);
        }
        await tell(story);
        await restore(story);
        if (config !== undefined) await reload(story, undamped());
        await settled(story.daemon, wish.expects);
        await story.daemon.until('the uplinks are as at first', (status) => uplinksIn(status).every((line) => trace.includes(line)));
        const difference = async (): Promise<readonly string[]> => differenceOf(trace, await traceOf(story.lab, await story.daemon.status()));
        await waitFor('the story has left no trace', difference, (left) => left.length === 0, { everyMs: 100 });
      });
    } catch (error) {
      await close();
      throw error;
    }
  };
}

async function begin(lab: Lab, wish: StoryWish): Promise<Story> {
  await wish.before?.(lab);
  const story: Story = { lab, daemon: await lab.startDaemon({ config: lab.config({ ...STEADY, ...wish.config }) }) };
  await explainedBy(story, async () => settled(story.daemon, wish.expects));
  return story;
}

/** In force when it returns, but for the packet filter. A slow machine may be asked again: the daemon answers in time, whether it is done or not. */
export async function reload({ lab, daemon }: Story, config: Config): Promise<void> {
  daemon.configure(lab.config({ ...STEADY, ...config }));
  const { status, body } = await waitFor('the reload is answered', async () => daemon.rest('POST', '/v1/reload'), (answer) => answer.status !== 504);
  assert.equal(status, 200, JSON.stringify(body));
}

async function restore({ lab, daemon }: Story): Promise<void> {
  await lab.endStreams();
  for (const { name } of lab.isps()) await lab.heal(name);
  await daemon.rest('DELETE', '/v1/override');
  await lab.text('router', ['conntrack', '-F']);
}

/**
 * What the next story relies on: states, the uplinks in use, and in the router the routes, the rules and the tables of nft. iptables-nft leaves its
 * own behind, empty, whoever uses it.
 */
async function traceOf(lab: Lab, status: DaemonStatus): Promise<readonly string[]> {
  const views = await Promise.all((lab.topology.ipv6 ? [4, 6] as const : [4] as const).map(async (family) => lab.view('router', family)));
  return [
    ...uplinksIn(status),
    ...views.flatMap(({ rules, tables, nft }) => [
      ...rules, ...nft.filter((line) => /^table (?!ip6? (filter|nat|mangle|raw) )/.test(line)),
      ...Object.entries(tables).flatMap(([table, routes]) => routes.map((route) => `${route.replace(/ (linkdown|dead)\b/g, '')} in ${table}`)),
    ]),
  ].sort();
}

function uplinksIn({ uplinks, active }: DaemonStatus): readonly string[] {
  return [
    ...uplinks.flatMap(({ name, families }) => families.map(({ family, state }) => `${name} is ${state} for IPv${family}`)),
    ...active.map(({ name, family }) => `IPv${family} goes by ${name}`),
  ];
}

/** The same daemon; of its log, what it says from now on. */
function sinceNow(daemon: Daemon): Daemon {
  const before = daemon.logs().length;
  return { ...daemon, logs: () => daemon.logs().slice(before) };
}

function differenceOf(before: readonly string[], now: readonly string[]): readonly string[] {
  return [...before.filter((line) => !now.includes(line)).map((line) => `- ${line}`), ...now.filter((line) => !before.includes(line)).map((line) => `+ ${line}`)];
}

/** A failure shows the daemon's log and the router's kernel. */
export async function explainedBy<T>(story: Story, tell: (story: Story) => Promise<T>): Promise<T> {
  try {
    return await tell(story);
  } catch (error) {
    throw await explained(error, story);
  }
}

/** Every uplink is up in every family that it has (or these are), and everything that the daemon wishes was read back from the kernel. */
export async function settled(daemon: Daemon, uplinks?: readonly string[]): Promise<DaemonStatus> {
  await daemon.ready();
  const isUp = (uplink: DaemonStatus['uplinks'][number]): boolean => uplink.families.every((one) => one.state === 'up');
  const areUp = (status: DaemonStatus): boolean => status.uplinks.filter(({ name }) => uplinks?.includes(name) ?? true).every(isUp);
  return daemon.until(`${uplinks?.join(', ') ?? 'every uplink'} is up and the kernel is as wished`, (status) => areUp(status) && isInSync(status));
}

/** How long the uplink that leads had been up when it was chosen, by the daemon's own clock. */
export function heldMs(status: DaemonStatus, uplink: string): number {
  return Date.parse(String(status['since'])) - Date.parse(String(uplinkIn(status, uplink)['since']));
}

export async function untilState(daemon: Daemon, uplink: string, state: string, options: WaitOptions = {}): Promise<DaemonStatus> {
  return daemon.until(`${uplink} is ${state}`, (status) => stateOf(status, uplink) === state, options);
}

export function stateOf(status: DaemonStatus, uplink: string): string {
  return uplinkIn(status, uplink).state;
}

/** In one family. */
export function familyIn(status: DaemonStatus, name: string, family: Family): DaemonStatus['uplinks'][number]['families'][number] {
  const found = uplinkIn(status, name).families.find((one) => one.family === family);
  assert.ok(found !== undefined, `${name} has no IPv${family}`);
  return found;
}

export function uplinkIn(status: DaemonStatus, name: string): DaemonStatus['uplinks'][number] {
  const found = status.uplinks.find((uplink) => uplink.name === name);
  assert.ok(found !== undefined, `the status does not know ${name}`);
  return found;
}

export function isInSync(status: DaemonStatus): boolean {
  const { kernel, host } = status as { readonly kernel?: { readonly inSync: boolean }; readonly host?: { readonly natInSync: boolean; readonly sysctlsInSync: boolean } | null };
  return kernel?.inSync === true && host?.natInSync === true && host.sysctlsInSync;
}

/** Waits until the daemon's log has such a line. */
export async function untilSaid(daemon: Daemon, text: RegExp, options: WaitOptions = {}): Promise<LogLine> {
  const look = (): LogLine | undefined => daemon.logs().find((line) => text.test(messageOf(line)));
  const line = await waitFor(`the daemon says ${String(text)}`, look, (found) => found !== undefined, { explain: daemon.output, ...options });
  assert.ok(line !== undefined);
  return line;
}

export function said(daemon: Daemon, text: RegExp): readonly string[] {
  return daemon.logs().map(messageOf).filter((message) => text.test(message));
}

/** The uplinks by which the next questions are answered, sorted; those of that window, and of a longer one where the asker was given no processor. */
export async function carriers(stream: Stream, { since = now(), forMs = 150 }: { readonly since?: number; readonly forMs?: number } = {}): Promise<readonly string[]> {
  const look = async (): Promise<Outage> => stream.outage({ since, until: Math.max(now(), since + forMs), graceMs: GRACE_MS });
  const { via } = await waitFor('some questions are answered', look, (seen) => seen.sent - seen.lost >= ANSWERS_AT_LEAST);
  return Object.keys(via).sort();
}

/** So many questions are asked from now on, and none is answered. */
export async function assertUnanswered(stream: Stream, since = now()): Promise<void> {
  const look = async (): Promise<Outage> => stream.outage({ since, until: Math.max(now(), since + 250) });
  const { sent, lost } = await waitFor('some questions are asked', look, (seen) => seen.sent >= ANSWERS_AT_LEAST);
  assert.equal(lost, sent, 'none is answered');
}

/** Old connections and running flows lost nothing since that instant. */
export async function assertUnhurt(streams: Readonly<Record<string, Stream>>, since: number): Promise<void> {
  const until = now();
  for (const [name, stream] of Object.entries(streams)) {
    // A loss is told when the answer is long overdue; whoever loses nothing waits for nothing.
    const seen = await stream.outage({ since, until, graceMs: deadline() / 10 });
    assert.equal(seen.lost, 0, `${name}: ${seen.lost} of ${seen.sent} lost: ${JSON.stringify(seen)}`);
    assert.ok(seen.sent > 0, `${name}: nothing was asked`);
    assert.deepEqual(await stream.broken({ since, until }), [], `${name}: connections broke`);
  }
}

/** The device that `ip route get` names, for the router's own packets or for those that come from the LAN. */
export async function routeGet(lab: Lab, ...how: readonly string[]): Promise<string> {
  const text = await lab.text('router', ['ip', 'route', 'get', ...how]);
  return / dev (\S+)/.exec(text)?.[1] ?? text;
}

/** Default routes of main, ours and foreign ones, in the kernel's order. */
export async function defaultsOf(lab: Lab, family: Family = 4): Promise<readonly string[]> {
  // The whole view starts five programs.
  const text = await lab.text('router', ['ip', `-${family}`, 'route', 'show', 'table', 'main']);
  return text.replace(/\n\s+nexthop/g, ' nexthop').split('\n').map((line) => line.replace(/\s+/g, ' ').trim()).filter((line) => line.startsWith('default'));
}

/** Counts from now on what reaches this ISP over the line and looks so, in words of nft. */
export async function arrivals(lab: Lab, isp: string, what: string): Promise<() => Promise<number>> {
  const table = `seen${++counters}`;
  await lab.text(isp, ['nft', '-f', '-'], `table inet ${table} { chain c { type filter hook prerouting priority raw - 10; iifname "line" ${what} counter\n}\n}\n`);
  return async () => Number(/packets (\d+)/.exec(await lab.text(isp, ['nft', 'list', 'table', 'inet', table]))?.[1]);
}

/** The ISP drops such packets of this line, and no others, until it is healed by \`loss 0\`. */
export async function swallow(lab: Lab, isp: string, what: string): Promise<void> {
  await lab.text(isp, ['nft', 'add', 'rule', 'ip', 'lab', 'loss', 'iifname', 'line', ...what.split(' '), 'drop']);
}

/** One question each; the router asks as `arguments_` say. */
/** Waits until an echo is answered. `options`: as `ping` takes them, and the address last. */
export async function reaches(lab: Lab, host: string, ...options: readonly string[]): Promise<void> {
  await waitFor(`${host} reaches ${options.join(' ')}`, () => pings(lab, host, ...options), (answered) => answered);
}

/** One echo, for what is not to be answered. */
export async function pings(lab: Lab, host: string, ...arguments_: readonly string[]): Promise<boolean> {
  return (await lab.run(host, ['ping', '-n', '-c', '1', '-W', '0.5', ...arguments_])).code === 0;
}

function messageOf(line: LogLine): string {
  return String(line['msg'] ?? line['raw'] ?? '');
}

async function explained(error: unknown, { lab, daemon }: Story): Promise<Error> {
  const views = Promise.all((lab.topology.ipv6 ? [4, 6] as const : [4] as const).map(async (family) => (await lab.view('router', family)).text));
  const view = await views.then((texts) => texts.join('\n\n'), (failure: unknown) => `the router cannot be looked at: ${String(failure)}`);
  const message = error instanceof Error ? error.message : String(error);
  return new Error(`${message}\n\nthe daemon said:\n${daemon.logs().map((line) => `  ${String(line['time'] ?? '')} ${messageOf(line)}`).join('\n')}\n\n${view}`, { cause: error });
}
