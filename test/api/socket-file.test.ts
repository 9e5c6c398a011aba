/** The socket file while the daemon runs: somebody removes it, or puts another in its place; and descriptors run out. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { userName } from '../../src/api/accounts.js';
import { waitFor } from '../lab/wait.js';
import { ask, open, runDir } from './listening.js';

const answers = (socketPath: string) => ask({ socketPath }, 'GET', '/healthz').then(({ status }) => status);
const isAnswered = (status: number) => status === 200;

test('a socket file or a run directory that was removed is made again, and told once each time', async (t) => {
  const told: string[] = [];
  const log = { info: () => undefined, warn: (_data: object, text: string) => void told.push(text), error: () => undefined };
  const socketPath = join(runDir(t), 'run', 'uplinkd.sock');
  const { world } = await open(t, { socketPath, log, limits: { timeoutCheckMs: 20 } });
  const poll = ask({ socketPath }, 'GET', '/v1/active?wait=60s&generation=7');
  await waitFor('it waits', () => answers(socketPath), isAnswered);
  for (const remove of [() => unlinkSync(socketPath), () => rmSync(join(socketPath, '..'), { recursive: true })]) {
    remove();
    await waitFor('it is made again', () => answers(socketPath), isAnswered);
    assert.equal(statSync(socketPath).mode & 0o777, 0o660);
    await waitFor('it is told', () => told.length, (count) => count >= 2);
    assert.match(told[0]!, /uplinkd\.sock was removed by another program; without it uplinkctl cannot reach this daemon/);
    assert.match(told[1]!, /uplinkd\.sock was made again/);
    told.splice(0, 2);
  }
  assert.deepEqual(told, []);
  world.status = { ...world.status, decision: { ...world.status.decision, generation: 8 } };
  world.board.publish();
  assert.equal((await poll).status, 200, 'a connection through the file that is gone goes on');
});

test('what another program put in its place is left alone and told, until it is removed', async (t) => {
  const told: string[] = [];
  const log = { info: () => undefined, warn: (_data: object, text: string) => void told.push(text), error: () => undefined };
  const { socketPath } = await open(t, { log, limits: { timeoutCheckMs: 20 } });
  unlinkSync(socketPath);
  writeFileSync(socketPath, 'precious');
  await waitFor('it is told', () => told.find((text) => text.includes('is not our socket any more')), (text) => text !== undefined);
  assert.equal(readFileSync(socketPath, 'utf8'), 'precious');
  unlinkSync(socketPath);
  await waitFor('it is made again', () => answers(socketPath), isAnswered);
  assert.equal(told.filter((text) => text.includes('is not our socket any more')).length, 1);
});

test('where no descriptor is left the daemon lives: nobody has a name, nobody is let in, and later all is as before', async (t) => {
  const socketPath = join(runDir(t), 'uplinkd.sock');
  const program = fileURLToPath(new URL('./inside-scarce.js', import.meta.url));
  const daemon = spawn('/bin/sh', ['-c', 'ulimit -n 64; exec "$0" "$@"', process.execPath, program, socketPath], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => daemon.kill('SIGKILL'));
  const lines = createInterface({ input: daemon.stdout })[Symbol.asyncIterator]();
  const order = async (text: string) => {
    daemon.stdin.write(`${text}\n`);
    return (await lines.next()).value as string;
  };
  assert.equal((await lines.next()).value, 'listening');
  // One is left: it is the connection's, and /etc/passwd cannot be opened.
  assert.equal(await order('leave 1'), 'left 1');
  assert.equal((await ask({ socketPath }, 'DELETE', '/v1/override')).status, 200);
  assert.equal(await order('asked'), JSON.stringify([{ clear: 'uid 0@unix' }]));
  assert.equal(await order('leave 0'), 'left 0');
  await assert.rejects(ask({ socketPath }, 'GET', '/healthz'));
  unlinkSync(socketPath);
  await waitFor('the file is made again, by the descriptor of the listener before', () => order('told'), (text) => text.includes('was made again'));
  assert.equal(await order('free'), 'freed');
  await waitFor('people are let in again', () => answers(socketPath), isAnswered);
  await ask({ socketPath }, 'DELETE', '/v1/override');
  assert.equal(await order('asked'), JSON.stringify([{ clear: 'uid 0@unix' }, { clear: `${userName(0)}@unix` }]));
  daemon.stdin.end();
  assert.deepEqual(await once(daemon, 'exit'), [0, null]);
});
