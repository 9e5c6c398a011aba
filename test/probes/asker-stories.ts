/** Stories that hold for every method that asks by TCP or UDP, played inside asker-world.ts: which line a question takes, and what is left of it. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Family, Method } from '../../src/model.js';
import type { OpenAsker } from '../../src/probes/method.js';
import { playAsked, type Stories } from './asked.js';
import { addRoutes, ask, buildWorld, departures, descriptors, FAMILIES, ip, ispFilter, ispIp, ispUnfilter, line, now, put, SERVER, shareAddresses, SILENCE_MS, unshareAddresses, until } from './asker-world.js';

/** One way of asking, by family: the method, and the address in the order (SERVER, or '' where it finds its way itself). */
export interface Way {
  readonly open: OpenAsker;
  readonly method: Method;
  address(family: Family): string;
}

/** The most that an asker has in flight: it gives up older ones without a word. */
const IN_FLIGHT = 128;

/** What was told, and the devices by which anything left for the server meanwhile: `answered by a`. */
async function askedBy(way: Way, family: Family, asker: ReturnType<OpenAsker>, withinMs?: number): Promise<string> {
  departures();
  const said = await ask(asker, way.method, way.address(family), withinMs);
  const devices = [...new Set(Object.keys(departures()).map((key) => key.slice(0, 1)))].join('+');
  return `${said} by ${devices === '' ? 'none' : devices}`;
}

/** No connection is being closed: what the far end repeated of it later would be refused by way of main, which leads out of b. */
function isAtRest(): boolean {
  const ended = ['06', '0A']; // TIME_WAIT, LISTEN
  const rows = ['tcp', 'tcp6'].flatMap((name) => readFileSync(`/proc/net/${name}`, 'utf8').trimEnd().split('\n').slice(1));
  return rows.every((row) => ended.includes(row.trim().split(/\s+/)[3]!));
}

/**
 * Line a alive, silent, without carrier, down, alive again; line b is alive all the time, and main's default leads out of it.
 *
 * The kernel sends a SYN that is not answered again after a second: what was asked in vain through a is given up, or comes last, before something is
 * asked through b.
 */
export async function pinned(way: Way): Promise<Record<string, readonly string[]>> {
  const stories: Record<string, readonly string[]> = {};
  for (const family of FAMILIES) {
    const [first, b] = [way.open(line('a', family), now), way.open(line('b', family), now)];
    const told = [await askedBy(way, family, first), await askedBy(way, family, b)];
    await until(isAtRest);
    ispFilter('a', 'meta l4proto { tcp, udp } drop');
    told.push(await askedBy(way, family, first, SILENCE_MS));
    first.close();
    told.push(await askedBy(way, family, b));
    ispUnfilter('a');
    const a = way.open(line('a', family), now);
    ispIp('a', 'link set eth0 down');
    await until(() => execFileSync('ip', ['link', 'show', 'dev', 'wan-a'], { encoding: 'utf8' }).includes('NO-CARRIER'));
    const meanwhile = await askedBy(way, family, b);
    // What b still has under way would be taken for what is asked through a.
    b.close();
    told.push((await askedBy(way, family, a, SILENCE_MS)).replace(/^.* by (a|none)$/, 'not by b'), meanwhile);
    ip('link set wan-a down');
    told.push(await askedBy(way, family, a));
    a.close();
    ispIp('a', 'link set eth0 up', 'addr replace fe80::1/64 dev eth0 nodad', 'addr replace 2001:db8:a::1/64 dev eth0 nodad');
    ip('link set wan-a up', 'addr replace 2001:db8:a::2/64 dev wan-a nodad');
    addRoutes('a');
    const again = way.open(line('a', family), now);
    await until(() => execFileSync('ip', ['-6', 'addr', 'show', 'dev', 'wan-a', 'tentative'], { encoding: 'utf8' }) === '');
    told.push(await askedBy(way, family, again));
    again.close();
    stories[`IPv${family}`] = told;
  }
  return stories;
}

/** The same source address and gateway on both lines; then line a is silent. */
export async function sharedAddress(way: Way): Promise<Record<string, readonly string[]>> {
  shareAddresses();
  const stories: Record<string, readonly string[]> = {};
  for (const family of FAMILIES) {
    const { source } = line('a', family);
    const [a, b] = [way.open(line('a', family), now), way.open(line('b', family, { source }), now)];
    await Promise.all([ask(a, way.method, way.address(family)), ask(b, way.method, way.address(family))]); // neighbours
    const told = [await askedBy(way, family, a), await askedBy(way, family, b)];
    ispFilter('a', 'meta l4proto { tcp, udp } drop');
    told.push(await askedBy(way, family, a, SILENCE_MS));
    a.close();
    told.push(await askedBy(way, family, b));
    ispUnfilter('a');
    b.close();
    stories[`IPv${family}`] = told;
  }
  unshareAddresses();
  return stories;
}

/**
 * Hundreds of questions of all the given ways, answered and not, some closed in flight: no descriptor is left, and none is used without bound.
 * @param ways with how many times to ask in each, and whether nobody answers
 */
export async function descriptorsLeft(ways: readonly (Way & { readonly times: number; readonly silent?: boolean })[]): Promise<{ readonly leaked: number; readonly most: number; readonly outcomes: readonly string[] }> {
  const warm = [...ways].map((way) => way.open(line('a', 4), now));
  for (const [i, way] of ways.entries()) await ask(warm[i]!, way.method, way.address(4), way.silent === true ? SILENCE_MS : undefined);
  for (const asker of warm) asker.close();
  await sleep(100);
  const atFirst = descriptors();
  let most = 0;
  const seen = new Set<string>();
  for (const closing of ['at the end', 'in flight'] as const) {
    for (const way of ways) {
      const asker = way.open(line('a', 4), now);
      const waiting = Array.from({ length: way.times }, () => put(asker, way.method, way.address(4)));
      most = Math.max(most, descriptors() - atFirst);
      const told = (): number => waiting.filter((outcomes) => outcomes.length > 0).length;
      if (closing === 'at the end') await until(() => told() >= Math.min(way.times, IN_FLIGHT), way.silent === true ? SILENCE_MS : undefined);
      asker.close();
      const before = waiting.flat().length;
      await sleep(20);
      if (waiting.flat().length > before) seen.add('told after close');
      for (const outcomes of waiting) seen.add(outcomes.length > 1 ? 'told twice' : (outcomes[0]?.said ?? 'silence'));
    }
  }
  // A descriptor of the first round that was closed late is not there any more.
  await until(() => descriptors() <= atFirst);
  return { leaked: Math.max(0, descriptors() - atFirst), most, outcomes: [...seen].sort() };
}

/** Is there anything of these askers that keeps the process running: silent questions in flight, and after they were closed? */
export async function keepsRunning(ways: readonly Way[]): Promise<{ readonly inFlight: number; readonly closed: number }> {
  const count = (): number => process.getActiveResourcesInfo().filter((name) => name !== 'Immediate').length;
  const before = count();
  const askers = ways.map((way) => way.open(line('a', 4), now));
  for (const [i, way] of ways.entries()) put(askers[i]!, way.method, way.address(4));
  await until(() => count() > before);
  const inFlight = count() - before;
  for (const asker of askers) asker.close();
  await until(() => count() <= before);
  return { inFlight, closed: count() - before };
}

/** Builds the world and plays what is asked for in it. */
export async function play(stories: Stories): Promise<never> {
  await buildWorld();
  return playAsked(stories);
}

export const atServer = (family: Family): string => SERVER[family];
