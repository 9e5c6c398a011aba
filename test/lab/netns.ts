/**
 * Work of this very process in another of its network namespaces: no program is started for it. Sockets that are opened and programs that are started
 * there stay there; /proc/self/net and /proc/sys/net are those of the namespace meanwhile. (/sys is not.)
 */
import koffi from 'koffi';
import { closeSync, openSync } from 'node:fs';

const CLONE_NEWNET = 0x4000_0000;
const setns = koffi.load('libc.so.6').func('int setns(int fd, int type)');

/**
 * @param name as `ip netns` calls it
 * @param work must be done when it returns: the main thread is at home again then
 */
export function inNetns<T>(name: string, work: () => T): T {
  const home = openSync('/proc/self/ns/net', 'r');
  try {
    enter(`/run/netns/${name}`);
    return work();
  } finally {
    enterDescriptor(home);
    closeSync(home);
  }
}

function enter(path: string): void {
  const fd = openSync(path, 'r');
  try {
    enterDescriptor(fd);
  } finally {
    closeSync(fd);
  }
}

function enterDescriptor(fd: number): void {
  if (setns(fd, CLONE_NEWNET) !== 0) throw new Error(`setns failed: errno ${koffi.errno()}`);
}
