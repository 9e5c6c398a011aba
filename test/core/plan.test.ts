/** From what the kernel has to what we wish: the order of changes, played on a table in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTIVE_TABLE, MAIN_TABLE, OUR_PROTOCOL, PREFERENCE } from '../../src/core/layout.js';
import { plan, showChange } from '../../src/core/plan.js';
import type { Change, KernelFacts, Plan, Route, Rule, Wish } from '../../src/model.js';
import { openDice, type Dice } from '../sim/dice.js';
import { linkOf } from './fixture.js';

const LINKS = [linkOf('fibre'), linkOf('cable'), linkOf('lte')];

function route(table: number, metric: number, ifindex: number | readonly number[], destination = 'default'): Route {
  const hops = (typeof ifindex === 'number' ? [ifindex] : ifindex).map((index) => ({ ifindex: index, via: `192.0.2.${index}`, weight: 1, onlink: true }));
  return { family: 4, table, destination, metric, protocol: OUR_PROTOCOL, scope: 0, source: '', hops };
}

function rule(preference: number, table: number, changes: Partial<Rule> = {}): Rule {
  return { family: 4, preference, protocol: OUR_PROTOCOL, table, from: '', outInterface: '', mark: 0, markMask: 0, suppressPrefixLength: -1, ...changes };
}

/** ACTIVE alone: `30:2 31:3`, metric and device; `30:2+3` is a multipath route. */
function active(text: string): Wish {
  const routes = text.split(' ').filter((word) => word !== '').map((word) => {
    const [metric, devices = ''] = word.split(':');
    const indexes = devices.split('+').map(Number);
    return route(ACTIVE_TABLE, Number(metric), indexes.length === 1 ? indexes[0]! : indexes);
  });
  return { routes, rules: [], standIns: [], deprecated: [] };
}

/** What the kernel has, as a wish that was carried out. */
function standing({ routes, rules, deprecated }: Wish): Pick<KernelFacts, 'routes' | 'rules' | 'addresses'> {
  return { routes, rules, addresses: deprecated };
}

function shown({ changes }: Plan): readonly string[] {
  return changes.map((change) => `${change.op} ${whatOf(change)}${change.needs === undefined ? '' : ` if ${change.needs}`}`);
}

function whatOf(change: Change): string {
  if ('address' in change) return change.address.address;
  return 'rule' in change ? String(change.rule.preference) : `${change.route.metric}:${change.route.hops.map((hop) => hop.ifindex).join('+')}`;
}

const key = (r: Route): string => `${r.family} ${r.table} ${r.destination} ${r.metric}`;

/** A kernel that knows what we use of it. @throws when it would refuse */
function make(table: Map<string, Route>, rules: Rule[], change: Change): void {
  if ('rule' in change) {
    const found = rules.findIndex((other) => JSON.stringify(other) === JSON.stringify(change.rule));
    assert.equal(found >= 0, change.op === 'delete', `${change.op} of a rule that ${found >= 0 ? 'stands' : 'is not there'}`);
    if (change.op === 'delete') rules.splice(found, 1);
    else rules.push(change.rule);
    return;
  }
  if ('address' in change) return;
  const stands = table.get(key(change.route));
  if (change.op === 'add') assert.equal(stands, undefined, `EEXIST: ${showChange(change, LINKS)}`);
  if (change.op === 'delete') assert.deepEqual(stands, change.route, `ESRCH: ${showChange(change, LINKS)}`);
  if (change.op === 'delete') table.delete(key(change.route));
  else table.set(key(change.route), change.route);
}

/** Plays it, failing the changes of `refused`, and calls back after each change. */
function playPlan(have: Wish, { changes }: Plan, look: (table: Map<string, Route>) => void, refused: (index: number) => boolean = () => false): Wish {
  const table = new Map(have.routes.map((r) => [key(r), r]));
  const rules = [...have.rules];
  const undone = new Set<number>();
  changes.forEach((change, index) => {
    if ((change.needs !== undefined && undone.has(change.needs)) || refused(index)) undone.add(index);
    else if (undone.size === 0) make(table, rules, change);
    else tolerant(table, change);
    look(table);
  });
  return { routes: [...table.values()], rules, standIns: [], deprecated: [] };
}

/** After a refusal later changes may be refused, too; that is no fault of the plan. */
function tolerant(table: Map<string, Route>, change: Change): void {
  if (!('route' in change)) return;
  const stands = table.has(key(change.route));
  if (change.op === 'delete') table.delete(key(change.route));
  else if (change.op === 'replace' || !stands) table.set(key(change.route), change.route);
}

test('nothing to do is an empty plan', () => {
  assert.deepEqual(plan(active('30:2 31:3'), standing(active('30:2 31:3'))).changes, []);
  assert.deepEqual(plan(active('30:2+3'), standing(active('30:3+2'))).changes, [], 'hops have no order');
});

test('a switch: the leader\'s metric changes hands over a bridge', () => {
  assert.deepEqual(shown(plan(active('30:3'), standing(active('30:2 31:3')))), ['add 29:3', 'delete 30:2 if 0', 'delete 31:3 if 0', 'add 30:3 if 0', 'delete 29:3 if 3']);
});

test('a tail that goes, or comes, needs no bridge', () => {
  assert.deepEqual(shown(plan(active('30:2'), standing(active('30:2 31:3')))), ['delete 31:3']);
  assert.deepEqual(shown(plan(active('30:2 31:3'), standing(active('30:2')))), ['add 31:3']);
  assert.deepEqual(shown(plan(active('30:2 31:3'), standing(active('')))), ['add 30:2', 'add 31:3']);
});

test('a move to other metrics: the best stands before the old ones go', () => {
  assert.deepEqual(shown(plan(active('130:2 131:3'), standing(active('30:2 31:3')))), ['add 130:2', 'add 131:3', 'delete 30:2 if 0', 'delete 31:3 if 0']);
});

test('a bridge that was left standing is taken away, and a new one goes below it', () => {
  assert.deepEqual(shown(plan(active('30:2'), standing(active('29:2 30:2')))), ['delete 29:2']);
  assert.deepEqual(shown(plan(active('30:3'), standing(active('29:2 30:2')))), ['add 28:3', 'delete 29:2 if 0', 'delete 30:2 if 0', 'add 30:3 if 0', 'delete 28:3 if 3']);
});

test('where there is no room below, the bridge stands behind', () => {
  assert.deepEqual(shown(plan(active('1:3'), standing(active('1:2')))), ['add 2:3', 'delete 1:2 if 0', 'add 1:3 if 0', 'delete 2:3 if 2']);
});

test('own tables first, then ACTIVE, new rules, main, and what nobody needs any more last', () => {
  const have: Wish = { routes: [route(9401, 0, 2), route(ACTIVE_TABLE, 30, 2), route(MAIN_TABLE, 30, 2)], rules: [rule(PREFERENCE.mark, 9401, { mark: 128, markMask: 0x3f80 })], standIns: [], deprecated: [] };
  const wish: Wish = { routes: [route(9402, 0, 3), route(ACTIVE_TABLE, 31, 3), route(MAIN_TABLE, 31, 3)], rules: [rule(PREFERENCE.active, ACTIVE_TABLE), rule(PREFERENCE.device, 9402, { outInterface: 'eth1' })], standIns: [], deprecated: [] };
  assert.deepEqual(plan(wish, standing(have)).changes.map((change) => showChange(change, LINKS)), [
    'ip route replace default via 192.0.2.3 dev eth1 table 9402 proto 147 onlink',
    'ip route add default via 192.0.2.3 dev eth1 table 9400 proto 147 metric 31 onlink',
    'ip route del default via 192.0.2.2 dev eth0 table 9400 proto 147 metric 30 onlink',
    'ip rule add pref 9410 oif eth1 lookup 9402 proto 147',
    'ip rule add pref 9600 lookup 9400 proto 147',
    'ip route add default via 192.0.2.3 dev eth1 table main proto 147 metric 31 onlink',
    'ip route del default via 192.0.2.2 dev eth0 table main proto 147 metric 30 onlink',
    'ip rule del pref 9500 fwmark 0x80/0x3f80 lookup 9401 proto 147',
    'ip route del default via 192.0.2.2 dev eth0 table 9401 proto 147 onlink',
  ]);
});

test('an own table is changed in place', () => {
  const plans = plan({ routes: [route(9401, 0, 3)], rules: [], standIns: [], deprecated: [] }, { routes: [route(9401, 0, 2)], rules: [], addresses: [] });
  assert.deepEqual(plans.changes.map((change) => showChange(change, LINKS)), ['ip route replace default via 192.0.2.3 dev eth1 table 9401 proto 147 onlink']);
});

test('a change is told as the ip command that would make it', () => {
  const shared: Change = { op: 'add', route: { ...route(ACTIVE_TABLE, 30, [2, 3]), hops: [{ ifindex: 2, via: '192.0.2.1', weight: 3, onlink: true }, { ifindex: 3, via: '', weight: 1, onlink: false }] } };
  assert.equal(showChange(shared, LINKS), 'ip route add default nexthop via 192.0.2.1 dev eth0 weight 3 onlink nexthop dev eth1 weight 1 table 9400 proto 147 metric 30');
  assert.equal(showChange({ op: 'delete', route: { ...route(9401, 0, 2, '198.51.100.0/24'), source: '198.51.100.2', hops: [{ ifindex: 99, via: '', weight: 1, onlink: false }] } }, LINKS), 'ip route del 198.51.100.0/24 dev if99 table 9401 proto 147 src 198.51.100.2');
  assert.equal(showChange({ op: 'add', rule: rule(PREFERENCE.main, MAIN_TABLE, { suppressPrefixLength: 0 }) }, LINKS), 'ip rule add pref 9450 lookup main suppress_prefixlength 0 proto 147');
  assert.equal(showChange({ op: 'delete', rule: rule(PREFERENCE.source, 9401, { from: '198.51.100.2/32' }) }, LINKS), 'ip rule del pref 9550 from 198.51.100.2/32 lookup 9401 proto 147');
});

/** Any wish that desire can have, and any state that runs, crashes and foreign hands can leave. */
function anyWish(dice: Dice, tidy: boolean): Wish {
  const base = dice.pick([30, 130]);
  const routes: Route[] = [];
  for (const table of [ACTIVE_TABLE, MAIN_TABLE]) {
    const order = [2, 3, 4].filter(() => dice.chance(0.7)).sort(() => dice.next() - 0.5);
    order.forEach((device, rank) => routes.push(route(table, base + rank, dice.chance(0.2) ? [device, 5] : device)));
    if (!tidy && dice.chance(0.3)) routes.push(route(table, base - 1, dice.whole(2, 4)));
    if (!tidy && dice.chance(0.2)) routes.push(route(table, base + 70, dice.whole(2, 4)));
  }
  for (const device of [2, 3, 4]) if (dice.chance(0.7)) routes.push(route(9400 + device, 0, dice.pick([device, device + 10])));
  const rules = [rule(PREFERENCE.active, ACTIVE_TABLE), ...[2, 3, 4].map((device) => rule(PREFERENCE.mark, 9400 + device, { mark: device << 7, markMask: 0x3f80 }))];
  return { routes, rules: rules.filter(() => dice.chance(0.8)), standIns: [], deprecated: [] };
}

const lives = (wish: Pick<Wish, 'routes'>, table: number): boolean => wish.routes.some((r) => r.table === table && r.destination === 'default');

test('any plan leads exactly to its wish, collides with nothing, and empties no table that steers on the way', () => {
  const dice = openDice(20260101);
  for (let round = 0; round < 4000; round++) {
    const [wish, have] = [anyWish(dice, true), anyWish(dice, false)];
    const made = plan(wish, standing(have));
    const full = [ACTIVE_TABLE, MAIN_TABLE].filter((table) => lives(have, table) && lives(wish, table));
    const reached = playPlan(have, made, (table) => {
      for (const one of full) assert.ok(lives({ routes: [...table.values()] }, one), `round ${round}: table ${one} stands empty\n${shown(made).join('\n')}`);
    });
    assert.deepEqual(plan(wish, standing(reached)).changes, [], `round ${round}: done, and still to do`);
    assert.equal(reached.routes.length, wish.routes.length);
  }
});

test('whatever the kernel refuses, no table that steers is emptied, and trying again gets there', () => {
  const dice = openDice(20260102);
  for (let round = 0; round < 4000; round++) {
    const wish = anyWish(dice, true);
    let have = anyWish(dice, false);
    const full = [ACTIVE_TABLE, MAIN_TABLE].filter((table) => lives(have, table) && lives(wish, table));
    const share = dice.pick([0.1, 0.4, 0.9]);
    const made = plan(wish, standing(have));
    const first = playPlan(have, made, (table) => {
      for (const one of full) assert.ok(lives({ routes: [...table.values()] }, one), `round ${round}: table ${one} stands empty\n${shown(made).join('\n')}`);
    }, () => dice.chance(share));
    have = { routes: first.routes, rules: have.rules, standIns: [], deprecated: [] };
    const reached = playPlan(have, plan(wish, standing(have)), () => undefined);
    assert.deepEqual(plan(wish, standing(reached)).changes, [], `round ${round}`);
  }
});
