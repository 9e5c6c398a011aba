/** Connections that a flowtable carries, as ctnetlink tells them: without PROTOINFO, and with IPS_SEEN_REPLY or without. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileWanted, type Entry } from '../../src/kernel/conntrack.js';
import { messagesIn, Writer } from '../../src/kernel/netlink/codec.js';
import { parseAddress } from '../../src/kernel/netlink/inet.js';
import { CUT, FIBRE, orderOf } from './cut-ground.js';

const IPCTNL_MSG_CT_NEW = 0x100;
const [TCP, UDP] = [6, 17];
const CONFIRMED = 1 << 3;
const OFFLOAD = 1 << 14;
const [THERE, BACK] = [['192.168.1.10', '192.0.2.10'], ['192.0.2.10', '198.51.100.2']] as const;

function writeTuple(out: Writer, type: number, [from, to]: readonly [string, string], protocol: number): void {
  out.nested(type, () => {
    out.nested(1, () => out.attribute(1, parseAddress(from)).attribute(2, parseAddress(to)));
    out.nested(2, () => out.attribute(1, Buffer.of(protocol)).attribute(2, Buffer.of(0x9c, 0x40)).attribute(3, Buffer.of(0, 80)));
  });
}

function meant(which: 'all' | 'unanswered', protocol: number, status: number): Entry | undefined {
  const out = new Writer(1024);
  out.message(IPCTNL_MSG_CT_NEW, 0, 1, () => {
    out.u8(2).u8(0).u16(0);
    writeTuple(out, 1, THERE, protocol);
    writeTuple(out, 2, BACK, protocol);
    out.attributeU32be(3, status).attributeU32be(8, FIBRE).attributeU32be(12, 4711);
  });
  const [message] = messagesIn(out.bytes);
  return compileWanted(orderOf(FIBRE, { which, cutMark: CUT }))(message!);
}

test('a TCP connection in a flowtable is under way: it is cut, so that its ends are told; elsewhere one without a state is deleted', () => {
  assert.notEqual(meant('all', TCP, CONFIRMED | OFFLOAD)?.cut, undefined);
  const other = meant('all', TCP, CONFIRMED);
  assert.deepEqual([other?.id, other?.cut], [4711, undefined]);
});

test('what a flowtable carries was answered, whatever its status says: a suspicion does not forget it', () => {
  assert.equal(meant('unanswered', UDP, CONFIRMED | OFFLOAD), undefined);
  assert.equal(meant('unanswered', UDP, CONFIRMED)?.id, 4711);
  assert.deepEqual([meant('all', UDP, CONFIRMED | OFFLOAD)?.id, meant('all', UDP, CONFIRMED | OFFLOAD)?.cut], [4711, undefined]);
});
