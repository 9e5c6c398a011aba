/** How many of so many echo requests are answered. The other end's kernel answers, so that a share does not depend on who gets the processor. */
import type { Lab } from './lab.js';

export async function receivedOf(lab: Lab, host: string, count: number, address: string): Promise<number> {
  const { stdout } = await lab.run(host, ['ping', '-n', '-q', '-c', String(count), '-i', '0.002', '-W', '1', address]);
  return Number(/(\d+) received/.exec(stdout)?.[1]);
}

/** The order in which the answers came: by the numbers of their questions. */
export async function answersInOrder(lab: Lab, host: string, count: number, address: string): Promise<readonly number[]> {
  const { stdout } = await lab.run(host, ['ping', '-n', '-c', String(count), '-i', '0.002', '-W', '1', address]);
  return [...stdout.matchAll(/icmp_seq=(\d+)/g)].map(([, number]) => Number(number));
}

/** The quickest of ten round trips, in ms. */
export async function leastRtt(lab: Lab, host: string, address: string): Promise<number> {
  const { stdout } = await lab.run(host, ['ping', '-n', '-q', '-c', '10', '-i', '0.02', '-W', '5', address]);
  return Number(/= ([\d.]+)\//.exec(stdout)?.[1]);
}
