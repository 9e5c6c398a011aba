/**
 * Targets as they are written, made into targets as they are asked: an id that people read, the families, a cadence,
 * and all that a method leaves out.
 *
 * `hop` is the odd one: it needs a way to go, so one target per family is made of it, along the way to the first
 * address beyond the gateway in the list, and none in a family that has no such address. A name in a URL is looked up
 * by the servers of the list's own `dns` targets: who chose them trusts them on every line.
 */
import { familyOf } from '../core/address.js';
import type { AskedTarget, Family, HttpMethod, Method, Target } from '../model.js';
import { literalHost } from './asking.js';
import { DEFAULT_LIMIT_MS, DEFAULT_NAME, DEFAULT_RESOLVERS, DNS_PORT, SLOW_INTERVAL_MS, type TargetSettings } from './schema-probe.js';

/** @param intervalMs cadence of the uplink: no default of a method is faster */
export function targetsOf(items: readonly TargetSettings[], intervalMs: number): readonly Target[] {
  const ways = new Map<Family, string>();
  for (const address of items.flatMap(addressesOf)) if (!ways.has(familyOf(address))) ways.set(familyOf(address), address);
  const resolvers = resolversOf(items);
  return items.flatMap((item) => (item.hop === undefined ? targetOf(item, intervalMs, resolvers) : hopTargets(item.hop, ways)));
}

/** Its answers tell that the internet is there; others (the gateway, a hop, a large packet) only tell where it broke. */
export function isBeyond(target: Target): boolean {
  return target.host !== 'gateway' && target.kind !== 'hop' && !(target.kind === 'icmp' && target.sizeBytes > 0);
}

/** What people read for it; that of IPv4 for `hop`. '' for one that is not whole. */
export function idOf(item: TargetSettings): string {
  if (item.hop !== undefined) return `hop ${item.hop.hops ?? ''}`;
  return targetOf(item, 0, [])[0]?.id ?? '';
}

const BOTH: readonly Family[] = [4, 6];

type Asked = Omit<AskedTarget, 'intervalMs'>;

function targetOf(item: TargetSettings, intervalMs: number, resolvers: readonly string[]): readonly Target[] {
  const { icmp, arp, tcp, dns, http, exec } = item;
  const slowMs = intervalMs < SLOW_INTERVAL_MS ? SLOW_INTERVAL_MS : undefined;
  const asked = (names: Asked, ownMs: number | undefined, method: Method): readonly Target[] => [{ ...names, intervalMs: ownMs, ...method }];
  if (icmp?.host !== undefined) return asked(icmpAsked(icmp.host, icmp.size), icmp.interval, { kind: 'icmp', host: icmp.host, sizeBytes: icmp.size ?? 0 });
  if (arp !== undefined) return asked({ id: 'arp gateway', families: BOTH }, arp.interval, { kind: 'arp', host: 'gateway' });
  if (tcp?.to !== undefined) {
    const { host, port } = tcp.to;
    return asked({ id: `tcp ${endpointText(host, port)}`, families: [familyOf(host)] }, tcp.interval, { kind: 'tcp', host, port });
  }
  if (dns?.server !== undefined) {
    const { server: host, port = DNS_PORT, name = DEFAULT_NAME, expect = [] } = dns;
    const id = `dns ${port === DNS_PORT ? host : endpointText(host, port)}${name === DEFAULT_NAME ? '' : ` ${name}`}`;
    return asked({ id, families: [familyOf(host)] }, dns.interval, { kind: 'dns', host, port, name, expect });
  }
  if (http?.url !== undefined && URL.canParse(http.url)) {
    const method = httpMethod(http, resolvers);
    return asked({ id: urlText(new URL(http.url)), families: method.host === '' ? familiesOf(http.family) : [familyOf(method.host)] }, http.interval ?? slowMs, method);
  }
  if (exec?.program === undefined) return [];
  const { program, args = [], limit: limitMs = DEFAULT_LIMIT_MS } = exec;
  const id = ['exec', program.slice(program.lastIndexOf('/') + 1), ...args].join(' ');
  return asked({ id, families: familiesOf(exec.family) }, exec.interval ?? slowMs, { kind: 'exec', host: '', program, args, limitMs });
}

function icmpAsked(host: string, sizeBytes: number | undefined): Asked {
  const name = host === 'gateway' ? host : `icmp ${host}`;
  return { id: sizeBytes === undefined ? name : `${name} (${sizeBytes} bytes)`, families: host === 'gateway' ? BOTH : [familyOf(host)] };
}

function httpMethod(http: NonNullable<TargetSettings['http']>, resolvers: readonly string[]): HttpMethod {
  const url = new URL(http.url ?? '');
  const host = literalHost(url) ?? '';
  return {
    kind: 'http', host, url: url.href, resolvers: host !== '' ? [] : http.resolver ?? resolvers,
    status: http.expect ?? (/\/(generate_204|gen_204)$/.test(url.pathname) ? 204 : 200), body: http.body ?? '', header: http.header,
  };
}

function hopTargets(hop: NonNullable<TargetSettings['hop']>, ways: ReadonlyMap<Family, string>): readonly Target[] {
  const hops = hop.hops ?? 2;
  return BOTH.flatMap((family): readonly Target[] => {
    const host = ways.get(family);
    return host === undefined ? [] : [{ id: `hop ${hops}${family === 6 ? ' (IPv6)' : ''}`, families: [family], intervalMs: hop.interval, kind: 'hop', host, hops }];
  });
}

/** The address beyond the gateway that an item names, if it does. */
function addressesOf(item: TargetSettings): readonly string[] {
  const written = item.http?.url !== undefined && URL.canParse(item.http.url) ? literalHost(new URL(item.http.url)) : undefined;
  const address = item.icmp?.host ?? item.tcp?.to?.host ?? item.dns?.server ?? written;
  return address === undefined || address === 'gateway' ? [] : [address];
}

/** In a family without a `dns` target, the well-known ones. */
function resolversOf(items: readonly TargetSettings[]): readonly string[] {
  const servers = [...new Set(items.flatMap(({ dns }) => (dns?.server === undefined || (dns.port ?? DNS_PORT) !== DNS_PORT ? [] : [dns.server])))];
  return BOTH.flatMap((family) => {
    const own = servers.filter((server) => familyOf(server) === family);
    return own.length > 0 ? own : DEFAULT_RESOLVERS.filter((server) => familyOf(server) === family);
  });
}

function familiesOf(family: '4' | '6' | 'both' | undefined): readonly Family[] {
  if (family === 'both') return BOTH;
  return family === '6' ? [6] : [4];
}

function endpointText(host: string, port: number): string {
  return familyOf(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `http connectivity.example/generate_204` */
function urlText(url: URL): string {
  const rest = `${url.pathname}${url.search}`;
  return `${url.protocol.slice(0, -1)} ${url.host}${rest === '/' ? '' : rest}`;
}
