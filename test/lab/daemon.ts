/**
 * The real daemon in the router of the lab, as a child process, and everything a test wants of it: status over the unix socket, uplinkctl,
 * log lines, and ways to end it. Its directories lie on the lab's private /run, and are reached from outside by way of /proc/PID/root.
 *
 * Starting again under the same name finds the same config, run and state directory: that is a restart.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Family } from '../../src/model.js';
import type { Anchor, LabProcess, RunResult } from './anchor.js';
import { now, waitFor } from './wait.js';
import type { WaitOptions } from './wait.js';

export interface DaemonOptions {
  /** YAML text, or an object (written as JSON, which is YAML). Left out: the file of the former run. */
  readonly config?: string | object;
  /** Further arguments behind `run --config ... --run-dir ... --state-dir ...`. */
  readonly args?: readonly string[];
  /** Default `uplinkd`. */
  readonly name?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface RestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Parsed where the content type is JSON, else the text. */
  readonly body: unknown;
  readonly tookMs: number;
}

/** One line of the daemon's log; a line that is not JSON is `{ raw }`. */
export type LogLine = Readonly<Record<string, unknown>>;

export interface Daemon {
  /** As seen from outside the lab. */
  readonly pid: number;
  /** The unix socket as seen from outside: `curl --unix-socket PATH http://uplinkd/v1/status`. */
  readonly socketPath: string;
  /** As the daemon sees them. */
  readonly paths: { readonly config: string; readonly run: string; readonly state: string; readonly socket: string };
  readonly exited: LabProcess['exited'];
  /** Log lines so far, oldest first. */
  logs(): readonly LogLine[];
  /** stdout and stderr as they came. */
  output(): string;
  /** `GET /v1/status`. @throws Error when there is no answer of 200 */
  status(): Promise<DaemonStatus>;
  rest(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<RestAnswer>;
  /** Runs uplinkctl in the router, on the daemon's socket. */
  ctl(...args: readonly string[]): Promise<RunResult>;
  /** Waits until `GET /v1/status` is as wished; a failure shows the last status and the end of the log. */
  until(what: string, wished: (status: DaemonStatus) => boolean, options?: WaitOptions): Promise<DaemonStatus>;
  /** Waits until /readyz says yes: the first decision is in the kernel. */
  ready(options?: WaitOptions): Promise<void>;
  /** Waits until this uplink, and no other, is active; in every family that is active at all, or in one. */
  untilActive(uplink: string, options?: WaitOptions & { readonly family?: Family }): Promise<DaemonStatus>;
  /** Writes another config file for the next reload or start. */
  configure(config: string | object): void;
  /** SIGTERM, then waits. The exit code; null when a signal ended it. */
  stop(): Promise<number | null>;
  kill9(): Promise<void>;
}

/** What tests read of the status document; it has more. */
export interface DaemonStatus {
  readonly active: readonly { readonly name: string; readonly interface: string; readonly gateway: string; readonly family: Family }[];
  readonly override?: unknown;
  readonly uplinks: readonly {
    readonly name: string;
    readonly state: string;
    readonly because: string;
    readonly families: readonly { readonly family: Family; readonly state: string; readonly because: string; readonly active: boolean; readonly gateway: string | null }[];
    readonly [key: string]: unknown;
  }[];
  readonly [key: string]: unknown;
}

const BIN = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'bin');
const UPLINKD = join(BIN, 'uplinkd.js');
const UPLINKCTL = join(BIN, 'uplinkctl.js');
/** What a failed wait shows of the log. */
const LOG_TAIL_LINES = 25;

export async function startDaemon(anchor: Anchor, options: DaemonOptions): Promise<Daemon> {
  const home = `/run/lab/${options.name ?? 'uplinkd'}`;
  const paths = { config: `${home}/uplinkd.yaml`, run: `${home}/run`, state: `${home}/state`, socket: `${home}/run/uplinkd.sock` };
  for (const path of [paths.run, paths.state]) mkdirSync(anchor.root + path, { recursive: true });
  const configure = (config: string | object): void =>
    writeFileSync(anchor.root + paths.config, typeof config === 'string' ? config : `${JSON.stringify(config, null, 2)}\n`);
  if (options.config !== undefined) configure(options.config);

  const argv = [process.execPath, UPLINKD, 'run', '--config', paths.config, '--run-dir', paths.run, '--state-dir', paths.state, ...(options.args ?? [])];
  const daemon = await anchor.start('router', argv, options.environment);
  let ended = false;
  void daemon.exited.then(() => (ended = true));
  let output = '';
  for (const stream of [daemon.child.stdout, daemon.child.stderr]) {
    stream?.setEncoding('utf8');
    stream?.on('data', (chunk: string) => (output += chunk));
  }
  const socketPath = anchor.root + paths.socket;
  const rest: Daemon['rest'] = async (method, path, body, headers) => callRest(socketPath, method, path, body, headers);
  const status: Daemon['status'] = async () => {
    const answer = await rest('GET', '/v1/status');
    if (answer.status !== 200) throw new Error(`GET /v1/status: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body as DaemonStatus;
  };
  const explain = (): string => `the end of the daemon's log:\n${output.trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n')}`;
  const until: Daemon['until'] = async (what, wished, wait) => waitFor(what, status, wished, { explain, ...wait });
  return {
    pid: daemon.pid, socketPath, paths, exited: daemon.exited, configure, rest, status, until,
    logs: () => output.split('\n').filter((line) => line.trim() !== '').map(parsedLog),
    output: () => output,
    ctl: async (...args) => anchor.run('router', [process.execPath, UPLINKCTL, '--socket', paths.socket, ...args]),
    async ready(wait) {
      await waitFor('the daemon is ready', async () => rest('GET', '/readyz'), (answer) => answer.status === 200, { timeoutMs: 15_000, explain, ...wait });
    },
    untilActive: async (uplink, { family, ...wait } = {}) => {
      const isAlone = (active: DaemonStatus['active']): boolean => active.length > 0 && active.every((one) => one.name === uplink);
      const what = `${uplink} is active${family === undefined ? '' : ` for IPv${family}`}`;
      return until(what, ({ active }) => isAlone(active.filter((one) => family === undefined || one.family === family)), { timeoutMs: 15_000, ...wait });
    },
    async stop() {
      daemon.kill('SIGTERM');
      await waitFor('the daemon has ended after SIGTERM', () => ended, (seen) => seen, { timeoutMs: 10_000, explain });
      return (await daemon.exited).code;
    },
    async kill9() {
      daemon.kill('SIGKILL');
      await daemon.exited;
    },
  };
}

function callRest(socketPath: string, method: string, path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<RestAnswer> {
  const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const type = payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(payload)) };
  return new Promise((resolve, reject) => {
    const askedAt = now();
    // agent false: a connection kept from before a restart would be a dead one
    const call = request({ socketPath, agent: false, method, path, headers: { ...type, ...headers } }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.once('error', reject);
      response.once('end', () => {
        const json = /json/.test(response.headers['content-type'] ?? '') && text !== '';
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: json ? (JSON.parse(text) as unknown) : text, tookMs: now() - askedAt });
      });
    });
    call.once('error', reject);
    call.end(payload);
  });
}

function parsedLog(line: string): LogLine {
  if (!line.startsWith('{')) return { raw: line };
  try {
    return JSON.parse(line) as LogLine;
  } catch (error) {
    if (error instanceof SyntaxError) return { raw: line };
    throw error;
  }
}
