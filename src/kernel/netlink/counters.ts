/**
 * What the named counters of an nftables table stand at: one dump, filtered by the kernel, synchronous, some ten microseconds. It is asked
 * for tens of times a second, so no program is started and nothing is written.
 *
 * The kernel sums the parts that each processor counted. Of a table that is not there it lists nothing. Source: include/uapi/linux/netfilter/nf_tables.h,
 * net/netfilter/nf_tables_api.c (nf_tables_dump_obj), nft_counter.c.
 */
import { AttributeIndex } from './attribute-index.js';
import type { Message } from './codec.js';
import { KernelError } from './error.js';
import { NETLINK_NETFILTER, NetlinkSocket } from './socket.js';

export interface NamedCounter {
  readonly name: string;
  readonly packets: number;
  readonly bytes: number;
}

export interface CounterReader {
  /** Those of one table of the family `inet`. Empty where there are none, where the kernel refuses, and while the ruleset changes all the time. Never throws for that. */
  read(table: string): readonly NamedCounter[];
  close(): void;
}

const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_NEWOBJ = (NFNL_SUBSYS_NFTABLES << 8) | 18;
const NFT_MSG_GETOBJ = (NFNL_SUBSYS_NFTABLES << 8) | 19;
/** struct nfgenmsg: family, version, resource id (include/uapi/linux/netfilter/nfnetlink.h). */
const NFGENMSG_BYTES = 4;
const NFPROTO_INET = 1;
const NFT_OBJECT_COUNTER = 1;
const NFTA_OBJ_TABLE = 1;
const NFTA_OBJ_NAME = 2;
const NFTA_OBJ_TYPE = 3;
const NFTA_OBJ_DATA = 4;
const NFTA_COUNTER_BYTES = 1;
const NFTA_COUNTER_PACKETS = 2;

/** The socket is opened by the first question. */
export function openCounterReader(): CounterReader {
  let socket: NetlinkSocket | undefined;
  const [object, data] = [new AttributeIndex(), new AttributeIndex()];
  return {
    read(table) {
      try {
        socket ??= new NetlinkSocket(NETLINK_NETFILTER);
        return socket.dump(
          NFT_MSG_GETOBJ,
          (out) => out.u32(NFPROTO_INET).attributeText(NFTA_OBJ_TABLE, table).attributeU32be(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER),
          (message) => decodeCounter(message, object, data),
        );
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        return [];
      }
    },
    close() {
      socket?.close();
      socket = undefined;
    },
  };
}

/** undefined for what is no counter: kernels before 4.10 know no filter by type. @throws KernelError EBADMSG */
function decodeCounter({ type, body }: Message, object: AttributeIndex, data: AttributeIndex): NamedCounter | undefined {
  if (type !== NFT_MSG_NEWOBJ || object.read(body, NFGENMSG_BYTES).u32be(NFTA_OBJ_TYPE) !== NFT_OBJECT_COUNTER) return undefined;
  data.readNested(object, NFTA_OBJ_DATA);
  const [name, packets, bytes] = [object.ascii(NFTA_OBJ_NAME), data.u64be(NFTA_COUNTER_PACKETS), data.u64be(NFTA_COUNTER_BYTES)];
  return name === undefined || packets === undefined || bytes === undefined ? undefined : { name, packets, bytes };
}
