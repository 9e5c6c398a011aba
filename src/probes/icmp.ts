/**
 * The methods `icmp` and `hop`: ICMP echo through one line.
 *
 * Size and hops are options of a socket, so a line has one socket for each way of asking, opened at its first probe. A socket of IPv6 that asks a
 * link-local gateway takes whatever link-local address the device has; all others are bound to the line's source address, because without it
 * the kernel may choose that of another uplink (RFC 6724: rule 3 comes before rule 5).
 */
import { randomInt } from 'node:crypto';
import { openEcho, isLinkLocal } from './echo.js';
import type { ProbeOrder, Target } from '../model.js';
import type { Asker, OpenAsker } from './method.js';
import { addressBytes } from './packet.js';
import { isFailure, slot, type Slot } from './slot.js';

const IDENTIFIERS = 65_535;
const TARGETS_AT_MOST = 100;

/** `icmp` and `hop`, with identifiers that no other socket made here has. */
export function openersOfEcho(): OpenAsker {
  const taken = new Set<number>();
  // They begin anywhere, so that answers to a former process are not taken for ours.
  let last = randomInt(IDENTIFIERS);
  const draw = (): number => {
    do last = (last % IDENTIFIERS) + 1;
    while (taken.has(last));
    taken.add(last);
    return last;
  };

  return (line, now) => {
    const ways = new Map<string, Slot<Asker>>();
    /** What a target was asked by last: found again without a thought at each probe. */
    const former = new Map<Target, { readonly address: string; readonly way: Slot<Asker> }>();

    function wayOf(sizeBytes: number, hops: number, source: string): Slot<Asker> {
      const key = `${sizeBytes} ${hops} ${source}`;
      const known = ways.get(key);
      if (known !== undefined) return known;
      const way: Slot<Asker> = slot(() => {
        const identifier = draw();
        const giveBack = (): boolean => taken.delete(identifier);
        try {
          const echo = openEcho({ line, identifier, source, sizeBytes, hops, now, broke(error) { giveBack(); way.broke(error); } });
          return { ask: (question) => echo.ask(question), close() { giveBack(); echo.close(); } };
        } catch (error) {
          giveBack();
          throw error;
        }
      }, now);
      ways.set(key, way);
      return way;
    }

    function wayFor({ target, address }: ProbeOrder): Slot<Asker> {
      const known = former.get(target);
      if (known?.address === address) return known.way;
      if (former.size >= TARGETS_AT_MOST) former.clear();
      const source = isLinkLocal(line.family, addressBytes(line.family, address)) ? '' : line.source;
      const way = wayOf(target.kind === 'icmp' ? target.sizeBytes : 0, target.kind === 'hop' ? target.hops : 0, source);
      former.set(target, { address, way });
      return way;
    }

    return {
      ask(question) {
        const echo = wayFor(question.order).take();
        if (isFailure(echo)) return question.lost(now(), echo.failed, echo.error);
        echo.ask(question);
      },
      close() {
        for (const way of ways.values()) way.close();
        ways.clear();
        former.clear();
      },
    };
  };
}
