/**
 * IPv6 addresses that are told: real router advertisements by an ISP (radvd), and by the router into a LAN (dnsmasq, which follows the addresses
 * of the LAN's device and tells of deprecated ones that they are).
 *
 * Nobody needs to wait: radvd's shortest interval is 3 s, but it speaks at once when it is started, so each change here starts it anew; dnsmasq
 * pauses 5 to 20 s in its first minute, but answers whoever solicits.
 */
import { writeFileSync } from 'node:fs';
import type { Anchor, LabProcess } from './anchor.js';
import { setSysctl } from './build.js';
import { ended, heard } from './dhcp.js';
import type { Isp, Topology } from './topology.js';

export interface Advertisement {
  /** Default: that of the line. */
  readonly prefix?: string;
  /** Prefixes to be used no more: their preferred lifetime is 0. */
  readonly deprecated?: readonly string[];
  /** 0 = no default router any more. Default 60 s. */
  readonly routerLifetimeS?: number;
}

export interface Advertisers {
  advertise(isp: string, what?: Advertisement): Promise<void>;
  /** Silence, without a goodbye. */
  stopAdvertising(isp: string): Promise<void>;
  /** The router tells the first LAN the prefixes that its device has, those of other lifetimes as they are. */
  advertiseLan(): Promise<void>;
  /** A client of a LAN asks for an advertisement, as it does when its cable is plugged in. */
  solicit(client: string): Promise<void>;
}

/** A router solicitation (RFC 4861, 4.1) to all routers; the kernel fills in the checksum. Hop limit 255, or nobody heeds it. */
const SOLICIT = `
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.sendto(bytes([133, 0, 0, 0, 0, 0, 0, 0]), ('ff02::2', 0, 0, socket.if_nametoindex('eth0')))
`;

export function createAdvertisers(anchor: Anchor, topology: Topology, isp: (name: string) => Isp): Advertisers {
  const running = new Map<string, LabProcess>();
  let started = 0;
  const stop = async (host: string): Promise<void> => {
    await ended(running.get(host));
    running.delete(host);
  };
  return {
    async advertise(name, what = {}) {
      await stop(name);
      // A part of the former one may still be about to end, and hold its pid file.
      const path = `/run/radvd-${name}.conf`;
      writeFileSync(anchor.root + path, radvdConf(isp(name), what), { mode: 0o644 });
      const radvd = await anchor.start(name, ['radvd', '--nodaemon', '--debug=5', '--logmethod=stderr', `--config=${path}`, `--pidfile=/run/radvd-${++started}.pid`]);
      running.set(name, radvd);
      await heard(radvd, /sending RA/, `${name}: radvd`);
    },
    stopAdvertising: stop,
    async advertiseLan() {
      const device = topology.lans[0]?.device ?? '';
      // it would hear itself, and take addresses of its own advertising
      await setSysctl(anchor, 'router', '0', [`net/ipv6/conf/${device}/accept_ra`]);
      const argv = [
        'dnsmasq', '--keep-in-foreground', '--log-facility=-', '--conf-file=/dev/null', '--user=', '--group=', '--pid-file', '--no-hosts', '--no-resolv', '--port=0', `--interface=${device}`, '--leasefile-ro',
        '--enable-ra', `--dhcp-range=::,constructor:${device},ra-only,64,5m`,
      ];
      const dnsmasq = await anchor.start('router', argv);
      running.set('router', dnsmasq);
      await heard(dnsmasq, /router advertisement on/, 'router: dnsmasq');
    },
    solicit: async (client) => void (await anchor.text(client, ['python3', '-c', SOLICIT])),
  };
}

function radvdConf(isp: Isp, { prefix, deprecated = [], routerLifetimeS = 60 }: Advertisement): string {
  const current = prefix ?? isp.six?.prefix;
  const told = (cidr: string, preferredS: number): string => `  prefix ${cidr} { AdvOnLink on; AdvAutonomous on; AdvValidLifetime 300; AdvPreferredLifetime ${preferredS}; };`;
  return [
    'interface line {', '  AdvSendAdvert on;', '  MinRtrAdvInterval 3;', '  MaxRtrAdvInterval 4;', `  AdvDefaultLifetime ${routerLifetimeS};`,
    ...(current === undefined ? [] : [told(current, 200)]), ...deprecated.map((cidr) => told(cidr, 0)), '};', '',
  ].join('\n');
}
