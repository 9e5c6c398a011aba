/** One contract, two doors: the dry one in memory, the real one in namespaces, where `ip` is everybody else's hand. */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDryKernel } from '../../src/kernel/dry.js';
import { openKernel } from '../../src/kernel/kernel.js';
import type { Address, Family, Link, Route, Rule } from '../../src/model.js';
import { contract, type Ground } from './contract.js';
import { waitFor } from '../lab/wait.js';
import { batch, inNamespaces, out } from './nat-ground.js';

/** In which a notice would come that nobody expects. */
const SETTLE_MS = 40;

contract('dry', () => Promise.resolve(openDryGround()));
inNamespaces(import.meta.url, 'the contract on Linux', () => contract('Linux', openRealGround));

function openDryGround(): Ground {
  const wan = (index: number, name: string): Link => ({ index, name, adminUp: true, carrier: true, mtu: 1500, mac: `02:00:00:00:00:0${index}`, permanentMac: '', path: '', altNames: [] });
  const address = (ifindex: number, text: string, prefixLength: number): Address => {
    const family: Family = text.includes(':') ? 6 : 4;
    return { family, ifindex, address: text, prefixLength, peer: '', scope: 0, deprecated: false, protocol: 0 };
  };
  const kernel = openDryKernel({
    links: [wan(1, 'wan1'), wan(2, 'wan2')],
    addresses: [1, 2].flatMap((i) => [address(i, `10.0.${i}.2`, 24), address(i, `fd00:${i}::2`, 64)]),
    routes: [],
    rules: [],
    foreignDefaults: [], foreignRoutes: [],
  });
  const link = (name: string): Link => {
    const found = kernel.readAll().links.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no ${name}`);
    return found;
  };
  return {
    kernel,
    ifindex: (name) => link(name).index,
    setUp: (name, adminUp) => kernel.outside.setLink({ ...link(name), adminUp }),
    setCarrier: (name, carrier) => kernel.outside.setLink({ ...link(name), carrier }),
    makeWan3: () => kernel.outside.setLink(wan(3, 'wan3')),
    deleteLink: (name) => kernel.outside.deleteLink(link(name).index),
    addAddress: (name, text, prefixLength) => kernel.outside.addAddress(address(link(name).index, text, prefixLength)),
    deleteAddress: (name, text, prefixLength) => kernel.outside.deleteAddress(address(link(name).index, text, prefixLength)),
    addRoute: (route) => done(kernel.outside.addRoute(route)),
    deleteRoute: (route) => done(kernel.outside.deleteRoute(route)),
    deleteRule: (rule) => done(kernel.outside.deleteRule(rule)),
    settle: () => Promise.resolve(),
    end: () => kernel.close(),
  };
}

function done(error: string): void {
  if (error !== '') throw new Error(error);
}

async function openRealGround(): Promise<Ground> {
  writeFileSync('/proc/sys/net/ipv6/conf/default/accept_dad', '0'); // the end of an address's trial is told too
  ip(...['1', '2'].flatMap((i) => [...plugged(i), `addr add 10.0.${i}.2/24 dev wan${i}`, `addr add fd00:${i}::2/64 dev wan${i} nodad`]));
  const kernel = openKernel({
    host: () => Promise.reject(new Error('no host here')),
    preview: () => Promise.resolve({ filter: ['preview'], sysctls: [] }),
    counters: () => Promise.resolve([]),
    count: () => [],
    close: () => undefined,
    restore: () => Promise.resolve(),
  });
  const names = (): Map<number, string> => new Map(kernel.readAll().links.map((link) => [link.index, link.name]));
  await waitFor('the devices have announced themselves', () => out('ip', '-o', 'link', 'show', 'type', 'veth'), (text) => text.split('\n').every((each) => each === '' || each.includes(' state UP ')));
  await sleep(SETTLE_MS);
  return {
    kernel,
    ifindex: (name) => kernel.readAll().links.find((link) => link.name === name)?.index ?? 0,
    setUp: (name, up) => void out('ip', 'link', 'set', name, up ? 'up' : 'down'),
    setCarrier: (name, carrier) => void out('ip', 'link', 'set', name.replace('wan', 'isp'), carrier ? 'up' : 'down'),
    makeWan3: () => ip(...plugged('3')),
    deleteLink: (name) => void out('ip', 'link', 'del', name),
    addAddress: (name, text, prefixLength) => void out('ip', 'addr', 'add', `${text}/${prefixLength}`, 'dev', name, ...(text.includes(':') ? ['nodad'] : [])),
    deleteAddress: (name, text, prefixLength) => void out('ip', 'addr', 'del', `${text}/${prefixLength}`, 'dev', name),
    addRoute: (route) => void out('ip', `-${route.family}`, 'route', 'add', ...routeWords(route, names())),
    deleteRoute: (route) => void out('ip', `-${route.family}`, 'route', 'del', ...routeWords(route, names())),
    deleteRule: (rule) => void out('ip', `-${rule.family}`, 'rule', 'del', ...ruleWords(rule)),
    settle: () => sleep(SETTLE_MS),
    end: () => {
      const uplinks = [...names().values()].filter((name) => name.startsWith('wan'));
      kernel.close();
      // All but `local`.
      const rules = ['rule flush', 'rule add pref 32766 lookup main'];
      ip(...rules, ...uplinks.map((name) => `link del ${name}`));
      batch('router', rules, 6);
    },
  };
}

function ip(...lines: readonly string[]): void {
  batch('router', lines);
}

function plugged(i: string): readonly string[] {
  return [`link add wan${i} type veth peer name isp${i}`, `link set isp${i} up`, `link set wan${i} up`];
}

function routeWords(route: Route, names: ReadonlyMap<number, string>): string[] {
  const hop = route.hops[0];
  const words = [...(hop === undefined ? [route.refuses ?? 'unreachable'] : []), route.destination, 'table', `${route.table}`, 'proto', `${route.protocol}`, 'metric', `${route.metric}`];
  return hop === undefined ? words : [...words, 'via', hop.via, 'dev', names.get(hop.ifindex) ?? '', ...(hop.onlink ? ['onlink'] : [])];
}

function ruleWords(rule: Rule): string[] {
  return ['pref', `${rule.preference}`, 'lookup', `${rule.table}`];
}
