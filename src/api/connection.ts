/**
 * One connection, between its socket and the HTTP parser. It hands the parser what came line by line, and stops where
 * a request is whole:
 *
 *   socket ──chunk──► held ──lines, in turns of the API──► parser ──► one request in flight ──answer──► socket
 *
 * The next request is handed on when the answer to the one before it has left for the kernel. So whatever a client
 * sends without reading, there is one request of it, one answer to it and one chunk (64 KiB) behind it, and its next
 * request waits for a turn as everybody's does.
 *
 * While the client is waited for, a deadline runs: nothing comes, a request does not end, an answer is not taken.
 * Nothing of it depends on the client closing its end.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Door, Turns } from './turns.js';

export interface ConnectionLimits {
  /** From the first byte of a request, or from the accept, to the end of its headers; and to the end of its body. */
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Between two requests. */
  readonly keepAliveTimeoutMs: number;
  /** For a client to take an answer. */
  readonly takeTimeoutMs: number;
  /** For a client to close its end, after ours. */
  readonly lingerMs: number;
}

export interface ConnectionWorld {
  readonly door: Door;
  readonly turns: Turns;
  readonly limits: ConnectionLimits;
  /** Puts it before the parser; called before its first byte. */
  serve(stream: Duplex): void;
  /** Answers a request that did not come in time, and ends the stream. */
  tooSlow(stream: Duplex): void;
  gone(): void;
}

export interface Connection {
  /** What the parser reads and writes. */
  readonly stream: Duplex;
  /** A request is in flight from here on, until its answer has left. */
  took(request: IncomingMessage, response: ServerResponse): void;
  /** Since when the client is waited for (performance.now()); undefined: it is the client that waits. */
  waitsSince(): number | undefined;
  /** Ends it when a deadline has passed. */
  check(): void;
  /** Ends it after the answer that is being made, at once if there is none. */
  finish(): void;
  destroy(): void;
}

/** So many lines are handed on in one turn: more than a request of ordinary headers has. */
const LINES_PER_TURN = 128;
const LINE_FEED = 10;
const NOTHING = Buffer.alloc(0);

export function openConnection(socket: Socket, { door, turns, limits, serve, tooSlow, gone }: ConnectionWorld): Connection {
  let held: Buffer = NOTHING;
  /** The client will send no more; told to the parser. */
  let ended = false;
  let told = false;
  let queued = false;
  let served = false;
  let finishing = false;
  let request: IncomingMessage | undefined;
  let answered = false;
  /** Of a body whose length is known. */
  let bodyLeft = 0;
  /** Of a request that has not come to its handler yet. */
  let begun = false;
  let since = performance.now();
  let writingSince: number | undefined;

  const stream = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => write([chunk], done),
    writev: (chunks: { chunk: Buffer }[], done) => write(chunks.map(({ chunk }) => chunk), done),
    final(done) {
      since = performance.now();
      socket.end(done);
      want();
    },
    destroy(_error, done) {
      held = NOTHING;
      // What was not taken goes too; the kernel would keep it for minutes after we have closed.
      if (door === 'tcp' && writingSince !== undefined) socket.resetAndDestroy();
      else socket.destroy();
      gone();
      // A client that is gone is no mistake of ours.
      done(null);
    },
  });

  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    socket.pause();
    if (request === undefined && !begun) begin();
    want();
  });
  socket.on('end', () => {
    ended = true;
    want();
  });
  socket.on('error', () => stream.destroy());
  socket.on('close', () => stream.destroy());

  /** The callback comes when the kernel has it all. */
  function write(chunks: readonly Buffer[], done: () => void): void {
    writingSince ??= performance.now();
    socket.cork();
    chunks.forEach((chunk, i) => socket.write(chunk, i < chunks.length - 1 ? undefined : (error) => {
      writingSince = undefined;
      since = performance.now();
      if (error instanceof Error) stream.destroy();
      done();
    }));
    socket.uncork();
  }

  function begin(): void {
    begun = true;
    since = performance.now();
    if (!served) serve(stream);
    served = true;
  }

  /** Sees to it that something happens next: a turn, or more from the socket. */
  function want(): void {
    if (queued || stream.destroyed) return;
    // After our end nothing is read any more; it is taken off the wire, else the client's kernel throws our last words away.
    if (stream.writableEnded) held = NOTHING;
    if (held.length > 0 ? inFlight() : !ended || told) {
      // Read on beside a request in flight: it may be that the client hangs up.
      if (held.length === 0) socket.resume();
      return;
    }
    queued = true;
    turns.ask(door, handOn);
  }

  function handOn(): void {
    queued = false;
    for (let lines = 0; lines < LINES_PER_TURN && held.length > 0 && mayHandOn(); lines++) {
      stream.push(next());
      // The answer left before the end of the body came.
      if (answered && inFlight()) settle();
    }
    if (ended && held.length === 0 && !told) {
      told = true;
      stream.push(null);
    }
    // The body of a request waits where its handler does not want it yet.
    if (stream.readableLength > 0 && held.length > 0) setTimeout(want, 5);
    else want();
  }

  function mayHandOn(): boolean {
    return !inFlight() && !stream.writableEnded && !stream.destroyed && stream.readableLength === 0;
  }

  function inFlight(): boolean {
    return request?.complete === true;
  }

  /** Never beyond the end of a request. */
  function next(): Buffer {
    const lineEnd = held.indexOf(LINE_FEED) + 1;
    const length = bodyLeft > 0 ? Math.min(bodyLeft, held.length) : lineEnd === 0 ? held.length : lineEnd;
    bodyLeft = Math.max(0, bodyLeft - length);
    const part = held.subarray(0, length);
    held = held.subarray(length);
    return part;
  }

  function settle(): void {
    request = undefined;
    since = performance.now();
    if (finishing) stream.end();
    begun = false;
    if (held.length > 0) begin();
    want();
  }

  return {
    stream,
    took(taken, response) {
      request = taken;
      answered = false;
      begun = false;
      bodyLeft = taken.headers['transfer-encoding'] === undefined ? Number(taken.headers['content-length'] ?? 0) : 0;
      response.once('close', () => {
        answered = true;
        if (inFlight()) settle();
      });
    },
    waitsSince() {
      if (writingSince !== undefined) return writingSince;
      return inFlight() || held.length > 0 ? undefined : since;
    },
    check() {
      const now = performance.now();
      if (writingSince !== undefined) {
        if (now - writingSince > limits.takeTimeoutMs) stream.destroy();
      } else if (stream.writableEnded) {
        if (now - since > limits.lingerMs) stream.destroy();
      } else if (!inFlight() && held.length === 0) {
        const [isLate, mayAnswer] = lateness(now - since);
        if (isLate && mayAnswer) tooSlow(stream);
        else if (isLate) stream.destroy();
      }
    },
    finish() {
      finishing = true;
      if (!inFlight()) stream.destroy();
    },
    destroy: () => void stream.destroy(),
  };

  function lateness(waitedMs: number): readonly [isLate: boolean, mayAnswer: boolean] {
    if (request !== undefined) return [waitedMs > limits.requestTimeoutMs, !answered];
    if (begun) return [waitedMs > limits.headersTimeoutMs, true];
    return [waitedMs > (served ? limits.keepAliveTimeoutMs : limits.headersTimeoutMs), false];
  }
}
