/**
 * Connections that are to be forgotten, and when they may be.
 *
 *   left      the uplink is suspect or down: its unanswered connections, or all. Only once something better is proven to stand in the
 *             kernel; never mind if it recovers before
 *   moved     it works, but something better took over: the kinds that the config names, or all of a metered uplink, or all after a
 *             deadline. Never mind if it leads again before
 *   settled   its address or prefix has changed, or the config has it no more: those that bear the old one, or its mark. Never mind if
 *             it comes back before the line can be used again
 *   astray    NAT was written. What is older stays untranslated for as long as somebody sends, and is never answered
 *
 * Who was forgotten all at once is swept once more a second later: a packet that had its route already may have stamped a
 * connection behind our back.
 */
import type { Effect, Family, FlowPolicy, ForgetOrder, Instant, LeadOnto, Rank, UplinkPolicy } from '../model.js';
import { classesOf } from './classes.js';
import { classRanks } from './desire.js';
import type { Health } from './health.js';
import { isHollow } from './hollow.js';
import { cutMarkOf, markOf } from './layout.js';
import { activeRoutes, type Plane, type State } from './state.js';

export interface PendingForget {
  readonly order: ForgetOrder;
  readonly after: 'left' | 'moved' | 'settled' | 'astray';
  readonly dueAt: Instant;
  readonly isSweep: boolean;
}

const SWEEP_AFTER_MS = 1000;
/**
 * Connections are known by the mark that they get with their next packet. What sends all the time has it after a second; an unanswered datagram flow
 * that does not send for 30 s is forgotten by the kernel itself (nf_conntrack_udp_timeout), one of any other protocol after 600 s at most.
 */
const ASTRAY_AFTER_MS = [1000, 35_000, 605_000] as const;

/** A verdict that became suspect or down, or that connections get no answers by a line that goes on standing behind the others. */
export function forgetLeft(state: State, health: Health): void {
  if (isHollow(health)) plan(state, 'moved', orderFor(state, health.policy, health.family, { which: 'unanswered', cutMark: 0 }), -Infinity as Instant);
  if (health.state !== 'suspect' && health.state !== 'down') return;
  const which = health.state === 'down' ? 'all' : 'unanswered';
  plan(state, 'left', orderFor(state, health.policy, health.family, { which, cutMark: which === 'all' ? undefined : 0 }), -Infinity as Instant);
}

/** The leading rank of a family changed: what becomes of connections on those that led and still work. */
export function forgetMoved(state: State, plane: Plane, former: Rank | undefined, now: Instant): void {
  const { flows, failback } = state.policy;
  for (const { uplink } of former?.members ?? []) {
    const health = plane.health.get(uplink);
    if (health === undefined || leads(plane, uplink)) continue;
    for (const flow of flows) {
      if (flow.failback === 'move') plan(state, 'moved', orderFor(state, health.policy, plane.family, { only: kindOf(flow) }), now);
    }
    const drainMs = health.policy.metered ? 0 : failback.flows === 'move' ? failback.drainMs : undefined;
    if (drainMs === undefined) continue;
    const except = [...flows.filter((flow) => flow.failback === 'keep').map(kindOf), ...sentThere(state, plane, uplink)];
    plan(state, 'moved', orderFor(state, health.policy, plane.family, { except }), (now + drainMs) as Instant);
  }
}

/** A new config: what was to be cut under the former one stays, where the new one keeps it. */
export function reviseMoved({ policy, forgets }: State): void {
  for (const [key, { after, order }] of forgets) {
    const uplink = policy.uplinks.find(({ name }) => name === order.uplink);
    const moves = order.only === undefined
      ? policy.failback.flows === 'move' || uplink?.metered === true
      : policy.flows.some(({ name, failback }) => name === order.only?.name && failback === 'move');
    if (after === 'moved' && !moves) forgets.delete(key);
  }
}

/** The line has another address or prefix: what was translated to the old one leads nowhere. */
export function forgetAddress(state: State, health: Health, address: string): void {
  plan(state, 'settled', orderFor(state, health.policy, health.family, { translatedTo: address }), -Infinity as Instant);
}

/** The config has this uplink no more. */
export function forgetRemoved(state: State, uplink: UplinkPolicy): void {
  plan(state, 'settled', orderFor(state, uplink, undefined, {}), -Infinity as Instant);
}

/** NAT stands anew, or otherwise than before. */
export function forgetAstray(state: State, now: Instant): void {
  for (const plane of state.planes.values()) {
    for (const health of plane.health.values()) {
      if (health.policy.translate[plane.family].kind === 'none') continue;
      const order = astrayOf(state, health);
      state.forgetAt = Math.min(state.forgetAt, now + ASTRAY_AFTER_MS[0]);
      ASTRAY_AFTER_MS.forEach((ms, i) => state.forgets.set(`astray ${health.name} ${plane.family} ${i}`, { order, after: 'astray', dueAt: (now + ms) as Instant, isSweep: true }));
    }
  }
}

/** Orders what may be ordered now. @param installed by family: what leads is what the kernel shows */
export function settleForgets(state: State, now: Instant, installed: ReadonlyMap<Family, boolean>, effects: Effect[]): void {
  for (const [key, pending] of state.forgets) {
    const ready = readiness(state, pending, installed);
    if (ready === 'never') state.forgets.delete(key);
    if (ready !== 'now' || now < pending.dueAt) continue;
    state.forgets.delete(key);
    const health = pending.after === 'astray' ? healthOf(state, pending.order) : undefined;
    if (health !== undefined) {
      effects.push({ type: 'forget', order: astrayOf(state, health) });
      continue;
    }
    // Nobody would be reset where the packet filter does not stand, and nothing be translated anew.
    const cutMark = state.hostReport?.natInSync === false ? 0 : pending.order.cutMark;
    const onto = pending.after === 'moved' ? ontoFor(state, pending.order) : undefined;
    effects.push({ type: 'forget', order: { ...pending.order, cutMark, ...(onto === undefined ? {} : { onto }) } });
    if (pending.order.which === 'all' && !pending.isSweep) plan(state, pending.after, pending.order, (now + SWEEP_AFTER_MS) as Instant, true);
  }
}

export function nextForgetAt(state: State, now: Instant): number {
  let next = Infinity;
  for (const { dueAt } of state.forgets.values()) if (dueAt > now) next = Math.min(next, dueAt);
  return next;
}

function plan(state: State, after: PendingForget['after'], order: ForgetOrder, dueAt: Instant, isSweep = false): void {
  const kind = order.only?.name ?? order.translatedTo;
  // A later verdict on the same uplink takes the place of the earlier one.
  state.forgets.set([after, order.uplink, order.family ?? '', kind, isSweep ? 'sweep' : ''].join(' '), { order, after, dueAt, isSweep });
}

function readiness(state: State, { order, after }: PendingForget, installed: ReadonlyMap<Family, boolean>): 'now' | 'wait' | 'never' {
  if (after === 'settled') return isBack(state, order) ? 'never' : state.repair.inSync && isWhole(state, order) ? 'now' : 'wait';
  const plane = order.family === undefined ? undefined : state.planes.get(order.family);
  const health = healthOf(state, order);
  if (plane === undefined || health === undefined) return 'never';
  if (after === 'astray') return health.policy.translate[plane.family].kind === 'none' ? 'never' : state.hostReport?.natBackend === 'none' ? 'wait' : 'now';
  const silent = health.state === 'suspect' || health.state === 'down';
  if (after === 'left' ? !silent : leads(plane, order.uplink)) return 'never';
  // Who falls silent meanwhile is judged by that; what he keeps, if he recovers, is still to go.
  if (after === 'moved' && silent) return 'wait';
  if (installed.get(plane.family) !== true || !isBetter(plane)) return 'wait';
  return after === 'moved' || hasLeft(state, plane, health) ? 'now' : 'wait';
}

/**
 * A socket with a source address of its own follows that address (rule 9550): forgetting alone does not move it. Only what
 * the config names as the router's own is led; not where the new line translates nothing, nor where a policy says where the
 * router's own connections go.
 */
function ontoFor(state: State, { family, only }: ForgetOrder): LeadOnto | undefined {
  const plane = family === 4 && only?.origin === 'router' ? state.planes.get(family) : undefined;
  const health = plane?.health.get(plane.decision?.ranks[0]?.members[0]?.uplink ?? '');
  const { hostReport: report, policy } = state;
  if (health === undefined || report?.natInSync !== true || report.natBackend === 'none') return undefined;
  if (policy.policies.some(({ router }) => router)) return undefined;
  const translation = health.policy.translate[4];
  const address = translation.kind === 'address' ? translation.address : health.line.address;
  if (translation.kind === 'none' || address === '') return undefined;
  return { mark: markOf(health.policy.slot, policy.markMask), address };
}

function healthOf(state: State, { uplink, family }: ForgetOrder): Health | undefined {
  return family === undefined ? undefined : state.planes.get(family)?.health.get(uplink);
}

/** What bears the old address is forgotten once the line can be used again: new connections have to find their way. */
function isWhole(state: State, order: ForgetOrder): boolean {
  if (order.family === undefined) return true;
  return state.planes.get(order.family)?.health.get(order.uplink)?.line.severed === '';
}

/** The address went and came again, as when a device was switched off and on, or the uplink did: its connections can go on. */
function isBack(state: State, { uplink, family, translatedTo }: ForgetOrder): boolean {
  if (family === undefined) return state.policy.uplinks.some((other) => other.name === uplink);
  if (translatedTo.includes('/')) return state.translatedTo.get(uplink) === translatedTo;
  const ifindex = state.planes.get(family)?.health.get(uplink)?.line.ifindex;
  return state.facts?.addresses.some((address) => address.ifindex === ifindex && address.address === translatedTo) ?? false;
}

function isBetter(plane: Plane): boolean {
  return plane.decision?.ranks[0]?.members.some((member) => ['up', 'degraded'].includes(plane.health.get(member.uplink)?.state ?? '')) ?? false;
}

function leads(plane: Plane, uplink: string): boolean {
  return plane.decision?.ranks[0]?.members.some((member) => member.uplink === uplink) ?? false;
}

/** Is it gone from the decision, and from the table that steers as the kernel has it? */
function hasLeft(state: State, plane: Plane, health: Health): boolean {
  if (plane.decision?.ranks.some((rank) => rank.members.some((m) => m.uplink === health.name)) ?? true) return false;
  return !activeRoutes(state, plane.family).some((route) => route.hops.some((hop) => hop.ifindex === health.line.ifindex));
}

/** Policies that send their connections by this uplink on purpose. */
function sentThere(state: State, plane: Plane, uplink: string): ForgetOrder['except'] {
  const { policies } = state.policy;
  if (plane.decision === undefined || policies.length === 0) return [];
  const classes = classesOf(state.policy);
  return policies
    .filter(({ name }) => classRanks(classes.of.get(name)!, plane.decision!)[0]?.members.some((member) => member.uplink === uplink) ?? false)
    .map(({ name, match }) => ({ name, match, origin: 'any' }));
}

function kindOf({ name, match, origin }: FlowPolicy): ForgetOrder['except'][number] {
  return { name, match, origin };
}

/** What is answered works, whoever arranged that. */
function astrayOf(state: State, { policy, family, line }: Health): ForgetOrder {
  const uplinks = [...(state.planes.get(family)?.health.values() ?? [])].map((health) => health.line.ifindex).filter((ifindex) => ifindex !== 0);
  return orderFor(state, policy, family, { which: 'unanswered', cutMark: 0, astray: { uplink: line.ifindex, uplinks, routed: state.policy.routed } });
}

type Part = { readonly [K in 'which' | 'translatedTo' | 'astray' | 'only' | 'except' | 'cutMark']?: ForgetOrder[K] | undefined };

/** Whoever sends on a TCP connection that was translated is to learn that it is over; an untranslated one may go on by another way. */
function orderFor(state: State, uplink: UplinkPolicy, family: Family | undefined, part: Part): ForgetOrder {
  const { markMask } = state.policy;
  const translated = family === undefined || uplink.translate[family].kind !== 'none';
  return {
    uplink: uplink.name, mark: markOf(uplink.slot, markMask), markMask, which: part.which ?? 'all', family, translatedTo: part.translatedTo ?? '',
    astray: part.astray, only: part.only, except: part.except ?? [], cutMark: part.cutMark ?? (translated ? cutMarkOf(markMask) : 0),
  };
}
