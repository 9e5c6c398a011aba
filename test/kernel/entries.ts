/** Connections (conntrack entries) made from nothing, by the hundred thousand. (`conntrack -I` mixes up mark and status.) */
import assert from 'node:assert/strict';
import { AsideSocket } from '../../src/kernel/netlink/aside.js';
import { NLM_F_CREATE, NLM_F_EXCL, type Writer } from '../../src/kernel/netlink/codec.js';
import { parseAddress } from '../../src/kernel/netlink/inet.js';
import { NETLINK_NETFILTER } from '../../src/kernel/netlink/socket.js';

const IPCTNL_MSG_CT_NEW = 0x100;
const IPS_SEEN_REPLY = 2;
const IPS_CONFIRMED = 8;

export interface EntryWish {
  /** Source port: what tells one from another. */
  readonly port: number;
  readonly mark: number;
  /** Default 53. */
  readonly service?: number;
  /** Default UDP. TCP entries are ESTABLISHED unless `state` (enum tcp_conntrack) says otherwise. */
  readonly protocol?: 'udp' | 'tcp';
  readonly state?: number;
  /** Default 10.0.0.1 or fd00::1 to 10.0.0.2 or fd00::2, untranslated. */
  readonly family?: 4 | 6;
  readonly from?: string;
  readonly to?: string;
  readonly translatedFrom?: string;
  readonly translatedTo?: string;
  readonly answered?: boolean;
}

export async function insert(flows: readonly EntryWish[]): Promise<void> {
  const socket = new AsideSocket(NETLINK_NETFILTER);
  for (let at = 0; at < flows.length; at += 200) {
    const errors = await socket.changes(IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL, flows.slice(at, at + 200).map((flow) => (entry) => writeEntry(entry, flow)));
    assert.deepEqual(errors.filter((error) => error !== ''), []);
  }
  socket.close();
}

/** So many, distinct: beyond 60,000 ports by the service's port. `first` is the number of the first one. */
export function flows(count: number, first: number, wish: Omit<EntryWish, 'port' | 'service'>): EntryWish[] {
  return Array.from({ length: count }, (_, i) => ({ ...wish, port: (first + i) % 60_000, service: 1000 + Math.floor((first + i) / 60_000) }));
}

function writeEntry(entry: Writer, wish: EntryWish): void {
  const { port, mark, service = 53, protocol = 'udp', state = 3, family = 4, answered = true } = wish;
  const { from = family === 4 ? '10.0.0.1' : 'fd00::1', to = family === 4 ? '10.0.0.2' : 'fd00::2', translatedFrom = from, translatedTo = to } = wish;
  const first = family === 4 ? 1 : 3;
  const [sourcePort, servicePort] = [portBytes(port), portBytes(service)];
  const tuple = (type: number, ends: readonly string[], ports: readonly [Buffer, Buffer]): void =>
    void entry.nested(type, () => {
      entry.nested(1, () => ends.forEach((address, i) => entry.attribute(first + i, parseAddress(address))));
      entry.nested(2, () => entry.attributeU8(1, protocol === 'tcp' ? 6 : 17).attribute(2, ports[0]).attribute(3, ports[1]));
    });
  entry.u8(family === 4 ? 2 : 10).u8(0).u16(0);
  tuple(1, [from, to], [sourcePort, servicePort]);
  tuple(2, [translatedTo, translatedFrom], [servicePort, sourcePort]);
  entry.attributeU32be(3, answered ? IPS_CONFIRMED | IPS_SEEN_REPLY : IPS_CONFIRMED).attributeU32be(7, 600).attributeU32be(8, mark);
  if (protocol === 'tcp') entry.nested(4, () => entry.nested(1, () => entry.attributeU8(1, state)));
}

function portBytes(port: number): Buffer {
  return Buffer.from([port >> 8, port & 255]);
}
