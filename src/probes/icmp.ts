/**
 * The methods `icmp` and `hop`: ICMP echo through one line.
 *
 * Every address that is asked has a socket of its own for each way of asking (size and hops are options of a socket), opened at its first probe, with a
 * random identifier: whoever is asked learns nothing by which he could answer for another. A socket of IPv6 that asks a link-local gateway takes
 * whatever link-local address the device has; all others are bound to the line's source address, because without it the kernel may choose that of
 * another uplink (RFC 6724: rule 3 comes before rule 5).
 */
import { randomInt } from 'node:crypto';
import { openEcho, isLinkLocal } from './echo.js';
import type { ProbeOrder, Target } from '../model.js';
import type { Asker, OpenAsker } from './method.js';
import { addressBytes } from './packet.js';
import { isFailure, slot, type Slot } from './slot.js';

const IDENTIFIERS = 65_535;
/** Of one line: a reload leaves sockets of targets behind that are asked no more. Beyond that the oldest is closed, and opened again if it is needed. */
const WAYS_AT_MOST = 128;

/** `icmp` and `hop`, with identifiers that no other socket made here has. */
export function openersOfEcho(): OpenAsker {
  const taken = new Set<number>();
  const draw = (): number => {
    for (;;) {
      const identifier = 1 + randomInt(IDENTIFIERS);
      if (taken.has(identifier)) continue;
      taken.add(identifier);
      return identifier;
    }
  };

  return (line, now) => {
    const ways = new Map<string, Slot<Asker>>();
    /** What a target was asked by last: found again without a thought at each probe. */
    const former = new Map<Target, { readonly address: string; readonly source: string | undefined; readonly way: Slot<Asker> }>();

    function wayOf(address: string, from: string, sizeBytes: number, hops: number): Slot<Asker> {
      const key = `${address} ${from} ${sizeBytes} ${hops}`;
      const known = ways.get(key);
      if (known !== undefined) return known;
      if (ways.size >= WAYS_AT_MOST) closeOldest();
      const source = isLinkLocal(line.family, addressBytes(line.family, address)) ? '' : from;
      const way: Slot<Asker> = slot(() => {
        const identifier = draw();
        const giveBack = (): boolean => taken.delete(identifier);
        try {
          const echo = openEcho({ line, address, identifier, source, sizeBytes, hops, now, broke(error) { giveBack(); way.broke(error); } });
          return { ask: (question) => echo.ask(question), close() { giveBack(); echo.close(); } };
        } catch (error) {
          giveBack();
          throw error;
        }
      }, now);
      ways.set(key, way);
      return way;
    }

    function wayFor({ target, address, source }: ProbeOrder): Slot<Asker> {
      const known = former.get(target);
      if (known?.address === address && known.source === source) return known.way;
      if (former.size >= WAYS_AT_MOST) former.clear();
      const way = wayOf(address, source ?? line.source, target.kind === 'icmp' ? target.sizeBytes : 0, target.kind === 'hop' ? target.hops : 0);
      former.set(target, { address, source, way });
      return way;
    }

    function closeOldest(): void {
      for (const [key, way] of ways) {
        way.close();
        ways.delete(key);
        break;
      }
      former.clear();
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
