/**
 * The properties of a path that a route carries beside its hops: RTA_METRICS with RTAX_* in it (include/uapi/linux/rtnetlink.h), as text
 * of pairs, in the kernel's order: `mtu 1400 advmss 1360`. `lock` is the mask of those that path discovery may not change.
 *
 * All are numbers of 32 bits, except the name of a congestion control. One that is younger than this list is carried by its number.
 */
import type { Attributes, Writer } from './codec.js';

/** By number; ip-route(8) has most of these words. */
const NAMES = [
  '', 'lock', 'mtu', 'window', 'rtt', 'rttvar', 'ssthresh', 'cwnd', 'advmss', 'reordering', 'hoplimit', 'initcwnd', 'features', 'rto_min', 'initrwnd',
  'quickack', 'congctl', 'fastopen_no_cookie',
];
const CONGESTION_CONTROL = 16;
/** RTAX_MAX may grow. */
const NUMBERS_AT_MOST = 32;

export function readMetrics(metrics: Attributes | undefined): string {
  const pairs: string[] = [];
  for (let number = 1; metrics !== undefined && number < NUMBERS_AT_MOST; number++) {
    const value = number === CONGESTION_CONTROL ? metrics.text(number) : metrics.u32(number);
    if (value !== undefined) pairs.push(`${NAMES[number] ?? number} ${value}`);
  }
  return pairs.join(' ');
}

/** @throws RangeError for a name that is not known */
export function writeMetrics(out: Writer, metrics: string): void {
  for (const [, name = '', value = ''] of metrics.matchAll(/(\S+) (\S+)/g)) {
    const known = NAMES.indexOf(name);
    const number = known > 0 ? known : Number(name);
    if (!Number.isInteger(number)) throw new RangeError(`"${name}" is no metric of a route`);
    if (number === CONGESTION_CONTROL) out.attributeText(number, value);
    else out.attributeU32(number, Number(value));
  }
}
