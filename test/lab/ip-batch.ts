/**
 * One `ip -batch` per host that never ends, so that a fault is a line written into a pipe (0.5 ms) and not a chain of programs to start (10 ms).
 *
 * How it tells that it is done: `ip -force -batch -` says `Command failed -:LINE` on stderr for every line that failed, unbuffered. So each
 * order is followed by one line that must fail; when its number comes back, everything before it has been carried out.
 */
import type { Family } from '../../src/model.js';
import type { Anchor } from './anchor.js';
import { now } from './wait.js';

/** When something was done to the lab, `now()` scale: the kernel did it between the two. */
export interface Applied {
  readonly beganAt: number;
  readonly doneAt: number;
}

export interface IpBatch {
  /** Carries out `ip` commands in order. @throws Error with what `ip` said, after the whole order was tried */
  do(...commands: readonly string[]): Promise<Applied>;
  /** `ip` remembers indexes by name: where a device was made anew, another batch must be opened. */
  close(): void;
}

/** The instants around any other piece of work. */
export async function stamped(work: () => Promise<unknown>): Promise<Applied> {
  const beganAt = now();
  await work();
  return { beganAt, doneAt: now() };
}

interface Order {
  readonly beganAt: number;
  readonly lastLine: number;
  readonly commands: readonly string[];
  readonly complaints: string[];
  readonly resolve: (applied: Applied) => void;
  readonly reject: (error: Error) => void;
}

/** @param family what is meant where a command names no address */
export async function openIpBatch(anchor: Anchor, host: string, family: Family = 4): Promise<IpBatch> {
  const { child, exited } = await anchor.start('', ['ip', ...(family === 6 ? ['-6'] : []), '-n', host, '-force', '-batch', '-']);
  const orders: Order[] = [];
  let lines = 0;
  let said: string[] = [];
  let rest = '';

  const hear = (line: string): void => {
    const failed = /^Command failed -:(\d+)$/.exec(line);
    if (failed === null) {
      said.push(line);
      return;
    }
    const order = orders[0];
    if (order === undefined) return;
    const behindLast = order.lastLine - Number(failed[1]);
    if (behindLast > 0) order.complaints.push(`ip ${order.commands.at(-behindLast) ?? ''}: ${said.join(' ')}`);
    said = [];
    if (behindLast > 0) return;
    orders.shift();
    if (order.complaints.length > 0) order.reject(new Error(`${host}: ${order.complaints.join('; ')}`));
    else order.resolve({ beganAt: order.beganAt, doneAt: now() });
  };

  child.stdout?.resume();
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    parts.filter((line) => line !== '').forEach(hear);
  });
  void exited.then(() => {
    for (const order of orders.splice(0)) order.reject(new Error(`${host}: the lab's ip process has ended`));
  });

  return {
    do: (...commands) =>
      new Promise((resolve, reject) => {
        if (child.exitCode !== null || child.signalCode !== null) {
          reject(new Error(`${host}: the lab is closed`));
          return;
        }
        lines += commands.length + 1;
        orders.push({ beganAt: now(), lastLine: lines, commands, complaints: [], resolve, reject });
        child.stdin?.write([...commands, 'link show dev lab-done', ''].join('\n'));
      }),
    close: () => void child.stdin?.end(),
  };
}
