/**
 * What devices carried, and whether a flowtable stands, so that it matters. Each is a short question, synchronous, some
 * ten microseconds; asked a few times a second.
 *
 * Source: include/uapi/linux/netfilter/nf_tables.h (NFT_MSG_GETFLOWTABLE, Linux 4.16), if_link.h (IFLA_STATS64: struct
 * rtnl_link_stats64).
 */
import { AttributeIndex } from './attribute-index.js';
import { KernelError } from './error.js';
import { RTM_GETLINK } from './link.js';
import { NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket } from './socket.js';

/** Since the device was made, every packet, with what its driver counts of the frame. */
export interface DeviceBytes {
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

export interface DeviceReader {
  /** Has any table of nft one? Never throws for what the kernel says. */
  hasFlowtable(): boolean;
  /** By the devices' names; those that are not there are left out. Never throws for what the kernel says. */
  read(names: readonly string[]): ReadonlyMap<string, DeviceBytes>;
  close(): void;
}

const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_NEWFLOWTABLE = (NFNL_SUBSYS_NFTABLES << 8) | 22;
const NFT_MSG_GETFLOWTABLE = (NFNL_SUBSYS_NFTABLES << 8) | 23;
/** struct nfgenmsg, for tables of every family. */
const NFPROTO_UNSPEC = 0;
const AF_UNSPEC = 0;
const IFINFOMSG_BYTES = 16;
const IFLA_IFNAME = 3;
const IFLA_STATS64 = 23;
/** After rx_packets and tx_packets. */
const RX_BYTES_AT = 16;
const TX_BYTES_AT = 24;
const STATS_BYTES = 32;

/** The sockets are opened by the first question. */
export function openDeviceReader(): DeviceReader {
  let filter: NetlinkSocket | undefined;
  let route: NetlinkSocket | undefined;
  const attributes = new AttributeIndex();

  const bytesOf = (name: string): DeviceBytes | undefined => {
    route ??= new NetlinkSocket(NETLINK_ROUTE);
    const answer = route.ask(
      RTM_GETLINK,
      (out) => out.u32(AF_UNSPEC).u32(0).u32(0).u32(0).attributeText(IFLA_IFNAME, name),
    );
    if (typeof answer === 'string') return undefined;
    const stats = attributes.read(answer.body, IFINFOMSG_BYTES).copy(IFLA_STATS64, STATS_BYTES);
    if (stats === undefined) return undefined;
    const at = (offset: number): number => Number(stats.readBigUInt64LE(offset));
    return { receivedBytes: at(RX_BYTES_AT), sentBytes: at(TX_BYTES_AT) };
  };

  return {
    hasFlowtable() {
      try {
        filter ??= new NetlinkSocket(NETLINK_NETFILTER);
        const found = filter.dump(
          NFT_MSG_GETFLOWTABLE,
          (out) => out.u32(NFPROTO_UNSPEC),
          ({ type }) => (type === NFT_MSG_NEWFLOWTABLE ? true : undefined),
        );
        return found.length > 0;
      } catch (error) {
        // Before Linux 4.16 there are none.
        if (!(error instanceof KernelError)) throw error;
        return false;
      }
    },
    read(names) {
      const found = new Map<string, DeviceBytes>();
      try {
        for (const name of new Set(names)) {
          const bytes = bytesOf(name);
          if (bytes !== undefined) found.set(name, bytes);
        }
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
      }
      return found;
    },
    close() {
      filter?.close();
      route?.close();
      [filter, route] = [undefined, undefined];
    },
  };
}
