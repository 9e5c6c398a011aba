/**
 * Devices that are tunnels, as rtnetlink tells them: IFLA_LINKINFO with its kind and the attributes of that kind
 * (include/uapi/linux/if_tunnel.h, if_link.h).
 */
import type { Tunnel } from '../../model.js';
import { Attributes } from './codec.js';
import { formatAddress } from './inet.js';

const IFINFOMSG_BYTES = 16;
const AF_UNSPEC = 0;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_TUN_TYPE = 3;
const IFF_TUN = 1;

/** Numbers of the attributes that hold an address. */
interface Ends {
  readonly local: readonly number[];
  readonly remote: readonly number[];
}

const IPTUN: Ends = { local: [2], remote: [3] };
const GRE: Ends = { local: [6], remote: [7] };
const VTI: Ends = { local: [4], remote: [5] };
const UNTOLD: Ends = { local: [], remote: [] };
const KINDS: Readonly<Record<string, Ends>> = {
  ipip: IPTUN, sit: IPTUN, ip6tnl: IPTUN, vti: VTI, vti6: VTI,
  gre: GRE, gretap: GRE, erspan: GRE, ip6gre: GRE, ip6gretap: GRE, ip6erspan: GRE,
  // VXLAN's remote is a group where it begins with 224 or ff: those packets go to no far end.
  vxlan: { local: [4, 17], remote: [2, 16] }, geneve: { local: [], remote: [2, 7] },
  wireguard: UNTOLD, tun: UNTOLD,
};

/** undefined for all other devices; a tap is one, as virtual machines have it. @throws KernelError EBADMSG */
export function decodeTunnel(body: Buffer): Tunnel | undefined {
  const info = new Attributes(body, IFINFOMSG_BYTES).nested(IFLA_LINKINFO);
  const kind = info?.text(IFLA_INFO_KIND) ?? '';
  const ends = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (body.readUInt8(0) !== AF_UNSPEC || info === undefined || ends === undefined) return undefined;
  const data = info.nested(IFLA_INFO_DATA);
  if (kind === 'tun' && data?.u8(IFLA_TUN_TYPE) !== IFF_TUN) return undefined;
  const told = (numbers: readonly number[]): string[] => numbers.flatMap((number) => hostIn(data?.bytes(number)));
  return { ifindex: body.readInt32LE(4), kind, remotes: told(ends.remote), local: told(ends.local)[0] ?? '' };
}

/** None for "any" and for groups. */
function hostIn(bytes: Buffer | undefined): readonly string[] {
  if (bytes?.length !== 4 && bytes?.length !== 16) return [];
  if (bytes.every((byte) => byte === 0)) return [];
  const group = bytes.length === 4 ? bytes[0]! >= 224 : bytes[0] === 0xff;
  return group ? [] : [formatAddress(bytes)];
}
