/** The log: JSON lines on stdout by pino, one line per piece of news, in the same words as API and CLI. */
import { pino } from 'pino';
import type { News } from './model.js';

export interface Log {
  tell(news: News): void;
  info(text: string, data?: object): void;
  warn(text: string, data?: object): void;
  error(text: string, data?: object): void;
}

export function openLog(): Log {
  const out = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } });
  return {
    tell: ({ level, kind, uplink, text, data }) => out[level]({ kind, ...(uplink === '' ? {} : { uplink }), ...data }, text),
    info: (text, data = {}) => out.info(data, text),
    warn: (text, data = {}) => out.warn(data, text),
    error: (text, data = {}) => out.error(data, text),
  };
}
