#!/usr/bin/env node
/**
 * uplinkctl: the operator's command. Reads its arguments, asks the REST API once, prints the answer, and exits with
 *
 *   0 done   1 the daemon refused, with its reason   2 wrong usage   3 the daemon cannot be reached   78 the config is invalid
 *
 * (`check` has the codes of the monitoring plugins instead, for its own mistakes too: 3.)
 * The answer goes to stdout, complaints to stderr. --json prints what the API answered and nothing else.
 */
import { readFileSync } from 'node:fs';
import { readActive, readOneUplink, readProblem, readStatus } from './answers.js';
import { parseCommandLine, DEFAULT_SOCKET, synopsisOf, VERBS, type Invocation, type VerbName } from './arguments.js';
import { checkStatus, checkUnknown } from './check.js';
import { callApi, type Call, type Reply, type Where } from './client.js';
import { readConfig } from './config-file.js';
import { plain } from './reading.js';
import { readConfigProblems, readFindings, readPolicies, readPreview } from './question-answers.js';
import { showFindings, showPolicies, showPreview } from './show-questions.js';
import { showWhy } from './show-why.js';
import { showActive, showOutcome, showSaid, showStatus } from './show.js';
import { paintFor } from './table.js';
import { ownVersion } from '../version.js';

const EXIT = { done: 0, refused: 1, usage: 2, unreachable: 3, config: 78 } as const;
/** A monitoring system gives up after 10 s; the daemon itself answers an order within 10 s. */
const TIMEOUT_MS = { check: 8_000, others: 15_000 } as const;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader (head, less) has left: nobody misses the rest.
  if (error.code !== 'EPIPE') throw error;
});
const { code, out, err } = await main(process.argv.slice(2));
process.stderr.write(err);
process.stdout.write(out);
process.exitCode = code;

async function main(args: readonly string[]): Promise<Outcome> {
  const parsed = parseCommandLine(args);
  switch (parsed.what) {
    case 'help':
      return { code: EXIT.done, out: helpText(parsed.verb), err: '' };
    case 'version':
      return { code: EXIT.done, out: `uplinkctl ${ownVersion()}\n`, err: '' };
    case 'wrong':
      return wrongUsage(parsed.why, parsed.verb);
    case 'run': {
      const where = withToken(parsed.invocation.where);
      if ('why' in where) return wrongUsage(where.why, parsed.invocation.verb);
      const call = await callOf(parsed.invocation);
      return 'invalid' in call ? { code: EXIT.config, out: '', err: `${call.invalid}\n` } : report(parsed.invocation, await callApi(where, call));
    }
  }
}

/** @returns `invalid`: why there is nothing to send */
async function callOf(invocation: Invocation): Promise<Call | { readonly invalid: string }> {
  const timeoutMs = invocation.verb === 'check' ? TIMEOUT_MS.check : TIMEOUT_MS.others;
  switch (invocation.verb) {
    case 'status':
    case 'check':
      return { method: 'GET', path: '/v1/status', timeoutMs };
    case 'why':
      // As text it tells the choice, too, which is in the status.
      return { method: 'GET', path: invocation.json && invocation.uplink !== '' ? uplinkPath(invocation.uplink) : '/v1/status', timeoutMs };
    case 'verdict': {
      const { uplink, said, by, because } = invocation;
      const path = `${uplinkPath(uplink)}/verdict`;
      if (said === 'clear') return { method: 'DELETE', path: by === undefined ? path : `${path}?by=${encodeURIComponent(by)}`, timeoutMs };
      return { method: 'PUT', path, body: { state: said, ttl: invocation.for, by, because }, timeoutMs };
    }
    case 'active':
      return { method: 'GET', path: '/v1/active', timeoutMs };
    case 'confirm':
      return { method: 'POST', path: '/v1/override/confirm', timeoutMs };
    case 'auto':
      return { method: 'DELETE', path: '/v1/override', timeoutMs };
    case 'switch-uplink': {
      const { uplink, reason, ifDead, confirm } = invocation;
      return { method: 'PUT', path: '/v1/override', body: { uplink, for: invocation.for, reason, ifDead, confirm }, timeoutMs };
    }
    case 'what-if':
      return { method: 'GET', path: `/v1/what-if?down=${encodeURIComponent(invocation.uplink)}`, timeoutMs };
    case 'plan': {
      const config = await readConfig(invocation.config ?? '');
      return 'invalid' in config ? config : { method: 'POST', path: '/v1/plan', body: { config: config.text, file: config.name }, timeoutMs };
    }
    case 'reload':
      return { method: 'POST', path: '/v1/reload', timeoutMs };
    case 'policies':
      return { method: 'GET', path: '/v1/policies', timeoutMs };
    case 'doctor':
      return { method: 'GET', path: '/v1/doctor', timeoutMs };
  }
}

function uplinkPath(name: string): string {
  return `/v1/uplinks/${encodeURIComponent(name)}`;
}

function report(invocation: Invocation, reply: Reply): Outcome {
  const { verb } = invocation;
  if (!reply.reached) return verb === 'check' ? checked(checkUnknown(reply.why), '') : { code: EXIT.unreachable, out: '', err: `uplinkctl: ${reply.why}\n` };
  const json = invocation.json ? exactly(reply.text) : '';
  if (reply.status !== 200) {
    const problems = readConfigProblems(reply.json);
    if (problems !== undefined) return { code: EXIT.config, out: json, err: `${problems.join('\n')}\n${verb === 'reload' ? 'uplinkctl: the old config keeps running\n' : ''}` };
    const reason = readProblem(reply.json) ?? `status ${reply.status} without a reason`;
    return verb === 'check' ? checked(checkUnknown(`uplinkd refused: ${reason}`), json) : { code: EXIT.refused, out: json, err: `uplinkctl: refused: ${reason}\n` };
  }
  const shown = show(invocation, reply.json, reply.dateMs);
  if (shown === undefined) {
    const why = 'what answered is not uplinkd, or of another kind: the answer has not the parts it should have';
    return verb === 'check' ? checked(checkUnknown(why), json) : { code: EXIT.unreachable, out: json, err: `uplinkctl: ${why}\n` };
  }
  return json === '' ? shown : { ...shown, out: json };
}

function show({ verb, uplink, json }: Invocation, answer: unknown, dateMs: number): Outcome | undefined {
  const paint = paintFor(wantsColours());
  const shown = <T>(view: T | undefined, text: (view: T) => string) => (view === undefined ? undefined : done(text(view)));
  switch (verb) {
    case 'active':
      return shown(readActive(answer), (view) => showActive(view, Number.isNaN(dateMs) ? Date.now() : dateMs));
    case 'check': {
      const status = readStatus(answer);
      return status && checked(checkStatus(status), '');
    }
    case 'status':
      return shown(readStatus(answer), (view) => showStatus(view, paint));
    case 'switch-uplink':
    case 'confirm':
    case 'auto':
      return shown(readStatus(answer), showOutcome);
    case 'verdict':
      return shown(readStatus(answer), (view) => showSaid(view, uplink));
    case 'why': {
      if (json && uplink !== '') return shown(readOneUplink(answer), () => '');
      const status = readStatus(answer);
      if (status === undefined || uplink === '' || status.uplinks.some((one) => one.name === uplink)) return shown(status, (view) => showWhy(view, uplink, paint));
      const names = status.uplinks.map((one) => one.name);
      const there = names.length === 0 ? 'The config has none' : `The uplinks are: ${names.join(', ')}`;
      return { code: EXIT.refused, out: '', err: `uplinkctl: refused: There is no uplink "${plain(uplink)}". ${there}.\n` };
    }
    case 'what-if':
    case 'plan':
    case 'reload':
      return shown(readPreview(answer), (view) => showPreview(view, verb === 'reload', paint));
    case 'policies':
      return shown(readPolicies(answer), (view) => showPolicies(view, paint));
    case 'doctor':
      return shown(readFindings(answer), (view) => showFindings(view, paint));
  }
}

function done(out: string): Outcome {
  return { code: EXIT.done, out, err: '' };
}

function checked(result: ReturnType<typeof checkUnknown>, json: string): Outcome {
  return { code: result.code, out: json === '' ? result.line : json, err: '' };
}

/** The bytes of the API; on a terminal without the few control characters that JSON lets pass, written as JSON's own escapes. */
function exactly(text: string): string {
  if (process.stdout.isTTY !== true) return text;
  const escaped = text.replace(/[\u007f-\u009f]|[\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => [...Array(character.length).keys()].map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join(''));
  return `${escaped}\n`;
}

function wantsColours(): boolean {
  return process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';
}

function wrongUsage(why: string, verb: VerbName | undefined): Outcome {
  if (verb === 'check') return checked(checkUnknown(`wrong usage: ${why}`), '');
  return { code: EXIT.usage, out: '', err: `uplinkctl: ${why}\n${usageLine(verb)}Try: uplinkctl ${verb === undefined ? '' : `${verb} `}--help\n` };
}

function withToken(where: Invocation['where']): Where | { readonly why: string } {
  if ('socketPath' in where) return where;
  if (where.tokenFile === '') return { url: where.url, token: '' };
  try {
    const token = readFileSync(where.tokenFile, 'utf8').trim();
    if (!/^[\x21-\x7e]+$/.test(token)) return { why: `${where.tokenFile} must hold one token and nothing else` };
    return { url: where.url, token };
  } catch (error) {
    return { why: `cannot read the token: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function usageLine(verb: VerbName | undefined): string {
  if (verb === undefined) return 'Usage: uplinkctl COMMAND [OPTION...]\n';
  return `Usage: uplinkctl ${synopsisOf(verb)} [OPTION...]\n`;
}

function helpText(verb: VerbName | undefined): string {
  const common = `Options of every command:
  --json             print exactly what the REST API answers
  --socket PATH      unix socket of the daemon (default ${DEFAULT_SOCKET})
  --url URL          ask over TCP instead, such as http://127.0.0.1:9474; loopback without a token may only read
  --token-file FILE  token for --url
  -h, --help         this text; after a command: its own
  --version

Exit codes: 0 done, 1 the daemon refused (with its reason), 2 wrong usage, 3 the daemon cannot be reached,
78 the config is invalid.
`;
  if (verb !== undefined) return `${usageLine(verb)}\n${VERBS[verb].help}\n\n${verb === 'check' ? common.slice(0, common.indexOf('\nExit codes')) : common}`;
  const commands = (Object.keys(VERBS) as VerbName[]).map((name) => `  ${synopsisOf(name).padEnd(26)} ${VERBS[name].summary}\n`);
  return `${usageLine(undefined)}\nAsks uplinkd, the multi-WAN failover daemon, and tells it what to do.\n\nCommands:\n${commands.join('')}\n${common}\nSee uplinkctl(1).\n`;
}
