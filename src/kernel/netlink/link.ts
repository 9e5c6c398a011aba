/** Links as rtnetlink tells them: struct ifinfomsg and IFLA_* (include/uapi/linux/if_link.h). */
import type { Link } from '../../model.js';
import { Attributes, eachAttribute, type Writer } from './codec.js';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;

const IFINFOMSG_BYTES = 16;
const AF_UNSPEC = 0;
const IFF_UP = 0x1;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_EXT_MASK = 29;
const IFLA_CARRIER = 33;
const IFLA_PROP_LIST = 52;
const IFLA_ALT_IFNAME = 53;
const IFLA_PERM_ADDRESS = 54;
const NONE: readonly string[] = [];
/** Without the statistics, which nobody here reads, an answer is half as long. */
const RTEXT_FILTER_SKIP_STATS = 1 << 3;

/**
 * Without its path, which the kernel does not tell here (device-path.ts). undefined for what only looks like a link: the bridge
 * speaks of its ports in the same messages (its RTM_DELLINK means "left the bridge"), and wireless events carry a name and nothing else.
 * @throws KernelError EBADMSG
 */
export function decodeLink(body: Buffer): Link | undefined {
  const attributes = new Attributes(body, IFINFOMSG_BYTES);
  const name = attributes.text(IFLA_IFNAME);
  const mtu = attributes.u32(IFLA_MTU);
  if (body.readUInt8(0) !== AF_UNSPEC || name === undefined || mtu === undefined) return undefined;
  return {
    index: body.readInt32LE(4),
    name,
    adminUp: (body.readUInt32LE(8) & IFF_UP) !== 0,
    carrier: attributes.u8(IFLA_CARRIER) !== 0,
    mtu,
    mac: formatLinkAddress(attributes.bytes(IFLA_ADDRESS)),
    permanentMac: formatLinkAddress(attributes.bytes(IFLA_PERM_ADDRESS)),
    path: '',
    altNames: altNamesOf(attributes.bytes(IFLA_PROP_LIST)),
  };
}

function altNamesOf(properties: Buffer | undefined): readonly string[] {
  if (properties === undefined) return NONE;
  const names: string[] = [];
  eachAttribute(properties, 0, (type, value) => {
    if (type === IFLA_ALT_IFNAME) names.push(value.toString('utf8').replace(/\0.*$/s, ''));
  });
  return names;
}

/** The name of a device that is a bridge, else undefined. @throws KernelError EBADMSG */
export function decodeBridge(body: Buffer): string | undefined {
  const attributes = new Attributes(body, IFINFOMSG_BYTES);
  const info = attributes.bytes(IFLA_LINKINFO);
  if (body.readUInt8(0) !== AF_UNSPEC || info === undefined) return undefined;
  return new Attributes(info, 0).text(IFLA_INFO_KIND) === 'bridge' ? attributes.text(IFLA_IFNAME) : undefined;
}

/** The body of a RTM_GETLINK; index 0 asks for all. */
export function writeLinkRequest(out: Writer, ifindex: number): void {
  out.u32(AF_UNSPEC).u32(ifindex).u32(0).u32(0).attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

/** `02:00:00:00:00:01`; '' for none. */
export function formatLinkAddress(bytes: Buffer | undefined): string {
  return bytes === undefined ? '' : (bytes.toString('hex').match(/../g) ?? []).join(':');
}
