/**
 * The command line of uplinkctl: verbs as a table, options as node:util parseArgs knows them. Pure: what is wrong is data.
 * Only what can be known without the daemon is judged here; whether an uplink exists, or a duration is too long, the daemon says.
 */
import { parseArgs } from 'node:util';
import { parseDuration } from '../duration.js';
import { plain } from './reading.js';

export const DEFAULT_SOCKET = '/run/uplinkd/uplinkd.sock';

export type VerbName = 'status' | 'active' | 'switch-uplink' | 'confirm' | 'auto' | 'why' | 'verdict' | 'what-if' | 'plan' | 'reload' | 'policies' | 'doctor' | 'check';

export interface Invocation {
  readonly verb: VerbName;
  /** switch-uplink NAME, verdict NAME, what-if NAME; '' = not given: why [NAME]. */
  readonly uplink: string;
  /** Of verdict. */
  readonly said: 'up' | 'down' | 'clear' | undefined;
  readonly json: boolean;
  readonly where: { readonly socketPath: string } | { readonly url: URL; readonly tokenFile: string };
  /** Of switch-uplink and verdict, as typed; undefined = not given. */
  readonly for: string | undefined;
  readonly by: string | undefined;
  readonly because: string | undefined;
  readonly reason: string | undefined;
  readonly ifDead: string | undefined;
  readonly confirm: string | undefined;
  /** Of plan: a file, or `-`. */
  readonly config: string | undefined;
}

export type Parsed =
  | { readonly what: 'run'; readonly invocation: Invocation }
  | { readonly what: 'help'; readonly verb: VerbName | undefined }
  | { readonly what: 'version' }
  /** `verb` as far as it was understood. */
  | { readonly what: 'wrong'; readonly why: string; readonly verb: VerbName | undefined };

interface Verb {
  /** Those in brackets may be left out. */
  readonly operands: readonly string[];
  readonly options: readonly (keyof typeof VERB_OPTIONS)[];
  /** What it cannot do without, as it is typed. */
  readonly must?: '--config FILE';
  readonly summary: string;
  readonly help: string;
}

/** Those of single verbs. */
const VERB_OPTIONS = {
  for: { type: 'string' },
  reason: { type: 'string' },
  'if-dead': { type: 'string' },
  confirm: { type: 'string' },
  by: { type: 'string' },
  because: { type: 'string' },
  config: { type: 'string' },
} as const;

const OPTIONS = {
  json: { type: 'boolean' },
  socket: { type: 'string' },
  url: { type: 'string' },
  'token-file': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
  ...VERB_OPTIONS,
} as const;

export const VERBS: Readonly<Record<VerbName, Verb>> = {
  status: {
    operands: [],
    options: [],
    summary: 'everything: the active uplink and why, every uplink and its targets, the kernel',
    help: 'Prints which uplink is active, since when and why, an override if there is one, and a table of all uplinks and of\nwhat is asked through them. FAULT is where it broke; "uplinkctl why" tells more. Lines that need attention begin with "!".',
  },
  active: {
    operands: [],
    options: [],
    summary: 'which uplink carries new flows, since when and why',
    help: 'Prints the active uplink; several lines where several share the load; "none" when nothing is left.',
  },
  'switch-uplink': {
    operands: ['NAME'],
    options: ['for', 'reason', 'if-dead', 'confirm'],
    summary: 'choose the uplink, until it is dropped (auto) or its time is over',
    help: 'New flows take uplink NAME as soon as the command returns: the kernel was read back. Running flows stay where they are.\n\n'
      + '  --for DURATION     drop the choice after so long (90s, 30m, 2h; 1s to 30d); without it: until "uplinkctl auto"\n'
      + '  --reason TEXT      one line for those who come later, at most 200 characters\n'
      + '  --if-dead RULE     when NAME dies: fall-through (default) lets the automatic choice rule meanwhile,\n'
      + '                     obey stays on it whatever comes\n'
      + '  --confirm DURATION drop the choice after so long (5s to 1h) unless "uplinkctl confirm" came before: for a change\n'
      + '                     that may cut you off',
  },
  confirm: { operands: [], options: [], summary: 'keep the choice made with switch-uplink --confirm', help: 'Without it the choice is dropped when its time is over.' },
  auto: { operands: [], options: [], summary: 'drop the choice made with switch-uplink', help: 'The automatic choice by priority and health rules again. Without a choice nothing happens.' },
  why: {
    operands: ['[NAME]'],
    options: [],
    summary: 'why every uplink is in its state, on what evidence, and why the active one is active',
    help: 'Prints which uplink is active and why, and of each uplink, or of NAME alone: its state and the reason, where it broke, what\n'
      + 'each witness had to say, loss and latency, how long it must hold before it leads, and what others say of it.\n'
      + 'With --json: the answer of /v1/status, or of /v1/uplinks/NAME.',
  },
  verdict: {
    operands: ['NAME', 'up|down|clear'],
    options: ['for', 'by', 'because'],
    summary: 'say that uplink NAME is down, or up, for a time; clear takes it back',
    help: 'For scripts and programs that know more than probes can. What is said is one more witness: "down" takes NAME out of use\n'
      + 'whatever answers, "up" counts as one target more that answers. It is forgotten by itself when its time is over; say it\n'
      + 'again before that to keep it.\n\n'
      + '  --for DURATION     how long it holds (1s to 24h); up and down need it\n'
      + '  --by WHO           who says so, at most 64 characters; a new verdict of WHO replaces the former. Without it: you.\n'
      + '                     With clear: take back what WHO said; without it, what anybody said\n'
      + '  --because TEXT     why, at most 200 characters',
  },
  'what-if': {
    operands: ['NAME'],
    options: [],
    summary: 'what would happen if uplink NAME died now; nothing is changed',
    help: 'Prints the choice that would be made and every change to the kernel, in order, as lines that could be typed.\nThe planner that would make them then makes them now; nothing is changed. NAME dies in IPv4 and IPv6.',
  },
  plan: {
    operands: [],
    options: ['config'],
    must: '--config FILE',
    summary: 'what a new config would change; nothing is changed',
    help: 'Prints the choice that would be made and every change to the kernel, in order, as lines that could be typed, if\n'
      + 'uplinkd ran on the config in FILE from now on. Nothing is changed. An invalid config is exit code 78, with everything\nthat is wrong with it, as "uplinkd check" prints it.\n\n'
      + '  --config FILE      the config to try; - is the standard input',
  },
  reload: {
    operands: [],
    options: [],
    summary: 'read the config file again and apply the difference',
    help: 'What stays the same is not touched. Returns when the kernel was read back, and prints what was changed. An invalid\nconfig is exit code 78, with everything that is wrong with it, and the old one keeps running.',
  },
  policies: {
    operands: [],
    options: [],
    summary: 'every policy: what it fits, where that goes now, how much it was',
    help: 'Prints the policies in the order of the config; the first that fits a new connection wins. CONNECTIONS and BYTES count\nthe connections since the rules were written, and the bytes of their first packets.',
  },
  doctor: {
    operands: [],
    options: [],
    summary: 'what on this machine is in the way, and the exact remedy',
    help: 'Looks at the machine and changes nothing. What needs attention comes first, with commands or the contents of a file to\nmend it. The exit code is 0 whatever was found; for monitoring there is "uplinkctl check".',
  },
  check: {
    operands: [],
    options: [],
    summary: 'one line and an exit code for Nagios, Icinga and their kin',
    help: 'Follows the convention of the monitoring plugins:\n\n'
      + '  0 OK        an uplink of the best priority is active\n'
      + '  1 WARNING   running on a backup or on an uplink that works badly, an override is set, or routes, NAT or sysctls\n'
      + '              could not be set\n'
      + '  2 CRITICAL  no uplink is left\n'
      + '  3 UNKNOWN   uplinkd cannot be reached, or is not ready\n\n'
      + 'Performance data: round trip time and loss per uplink, and how many uplinks are active and up.',
  },
};

/** A verb with all that it needs, as it is typed. */
export function synopsisOf(verb: VerbName): string {
  const { operands, must } = VERBS[verb];
  return [verb, ...operands, ...(must === undefined ? [] : [must])].join(' ');
}

/** Part of the public face, and not built yet. */
const LATER = ['drain', 'disable', 'enable', 'events', 'probe', 'log-level', 'monitor', 'init', 'report'];

const SAYINGS = ['up', 'down', 'clear'] as const;

export function parseCommandLine(args: readonly string[]): Parsed {
  const named = args.find(isVerb);
  const later = args.find((arg) => LATER.includes(arg));
  if (named === undefined && later !== undefined) return wrong(`"${later}" is not in this version. There is: ${Object.keys(VERBS).join(', ')}`, undefined);
  const read = readOptions(args);
  if ('why' in read) return wrong(read.why, named);
  const { values, positionals } = read;
  const [verbText, ...operands] = positionals;
  const verb = verbText !== undefined && isVerb(verbText) ? verbText : undefined;
  if (values.version === true) return { what: 'version' };
  if (values.help === true || verbText === 'help') return { what: 'help', verb: verb ?? operands.find(isVerb) };
  if (verbText === undefined) return wrong('say what to do', undefined);
  if (verb === undefined) return wrong(`there is no command "${plain(verbText)}"`, undefined);
  const why = misfit(verb, operands, values);
  if (why !== undefined) return wrong(why, verb);
  const where = whereOf(values);
  if ('why' in where) return wrong(where.why, verb);
  return {
    what: 'run',
    invocation: {
      verb, uplink: operands[0] ?? '', said: SAYINGS.find((said) => verb === 'verdict' && said === operands[1]), json: values.json === true, where,
      for: values.for, by: values.by, because: values.because, reason: values.reason, ifDead: values['if-dead'], confirm: values.confirm, config: values.config,
    },
  };
}

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>>['values'];

function readOptions(args: readonly string[]): { readonly values: Values; readonly positionals: readonly string[] } | { readonly why: string } {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true });
  } catch (error) {
    if (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')) return { why: plain(error.message.split('. ')[0]?.split('\n')[0] ?? error.message) };
    throw error;
  }
}

/** What does not fit the verb, in words. */
function misfit(verb: VerbName, operands: readonly string[], values: Values): string | undefined {
  const wanted = VERBS[verb].operands;
  const needed = wanted.filter((operand) => !operand.startsWith('['));
  if (operands.length < needed.length) return `${verb} needs ${needed.slice(operands.length).join(' ')}`;
  if (operands.length > wanted.length) return `${verb} takes ${wanted.length === 0 ? 'no arguments' : `only ${wanted.map(bare).join(' ')}`}; "${plain(operands[wanted.length] ?? '')}" is too much`;
  if (operands.includes('')) return `${bare(wanted[operands.indexOf('')] ?? '')} is empty`;
  if (VERBS[verb].must !== undefined && values.config === undefined) return `${verb} needs ${VERBS[verb].must}`;
  if (verb === 'verdict') {
    const why = unsayable(operands[1] ?? '', values);
    if (why !== undefined) return why;
  }
  for (const option of Object.keys(VERB_OPTIONS) as (keyof typeof VERB_OPTIONS)[]) {
    const value = values[option];
    if (value === undefined) continue;
    if (!VERBS[verb].options.includes(option)) return `${verb} does not take --${option}`;
    if ((option === 'config' || option === 'by') && value === '') return `--${option} is empty`;
    if ((option === 'for' || option === 'confirm') && parseDuration(value) === undefined) return `--${option} "${plain(value)}" is not a duration such as 90s, 30m or 2h`;
    if (option === 'if-dead' && value !== 'fall-through' && value !== 'obey') return `--if-dead "${plain(value)}" is neither fall-through nor obey`;
  }
  return undefined;
}

/** `[NAME]` → `NAME` */
function bare(operand: string): string {
  return operand.replace(/^\[(.*)\]$/, '$1');
}

/** Of verdict: what does not fit what is said. */
function unsayable(said: string, values: Values): string | undefined {
  if (!SAYINGS.some((one) => one === said)) return `verdict says up, down or clear; "${plain(said)}" is none of them`;
  if (said !== 'clear') return values.for === undefined ? `verdict ${said} needs --for DURATION: when is it to be forgotten?` : undefined;
  if (values.for !== undefined) return 'verdict clear does not take --for: it holds at once';
  return values.because === undefined ? undefined : 'verdict clear does not take --because';
}

function whereOf(values: Values): Invocation['where'] | { readonly why: string } {
  const tokenFile = values['token-file'] ?? '';
  if (values.url === undefined) {
    if (tokenFile !== '') return { why: '--token-file goes with --url; the unix socket needs no token' };
    if (values.socket === '') return { why: '--socket is empty' };
    return { socketPath: values.socket ?? DEFAULT_SOCKET };
  }
  if (values.socket !== undefined) return { why: 'give --socket or --url, not both' };
  const url = URL.canParse(values.url) ? new URL(values.url) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) return { why: `--url "${plain(values.url)}" is not a URL such as http://127.0.0.1:9474` };
  return { url, tokenFile };
}

function isVerb(text: string): text is VerbName {
  return Object.hasOwn(VERBS, text);
}

function wrong(why: string, verb: VerbName | undefined): Parsed {
  return { what: 'wrong', why, verb };
}
