/** One request by inject, and what came back. */
import assert from 'node:assert/strict';
import { serve, type World } from './fixture.js';

export type Method = 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE' | 'PATCH' | 'OPTIONS';

export async function ask(world: World, method: Method, url: string, more: { body?: unknown; raw?: string; headers?: Record<string, string>; mayChange?: boolean } = {}) {
  const { app } = serve(world, { stranger: { by: 'test', door: 'unix', mayChange: more.mayChange ?? true } });
  const payload = more.raw ?? (more.body === undefined ? undefined : JSON.stringify(more.body));
  const answer = await app.inject({ method, url, headers: { ...(payload === undefined ? {} : { 'content-type': 'application/json' }), ...more.headers }, ...(payload === undefined ? {} : { payload }) });
  return { status: answer.statusCode, headers: answer.headers, text: answer.body, json: () => answer.json<Record<string, unknown>>() };
}

/** The answer is a problem of this status; returns its detail. */
export async function refused(world: World, status: number, ...question: [Method, string, Parameters<typeof ask>[3]?]): Promise<string> {
  const answer = await ask(world, ...question);
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  const problem = answer.json();
  assert.equal(problem['status'], status);
  assert.match(String(problem['type']), /^urn:uplinkd:problem:[a-z-]+$/);
  assert.ok(String(problem['title']).length > 0);
  const detail = String(problem['detail']);
  assert.ok(detail.length > 20 && detail.endsWith('.'), `a detail says what and what to do: ${detail}`);
  return detail;
}

/** Until whatever is to happen in this process has happened, its own sockets included: each turn of the event loop reads and answers all that lies there. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 60; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
}
