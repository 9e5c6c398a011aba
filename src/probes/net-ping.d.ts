/**
 * What icmp.ts uses of net-ping 1.2 and of the raw-socket 1.8 socket inside it; neither package ships types.
 * `onSendReady` is raw-socket's own handler (index.js), the rest is in the two READMEs.
 */
declare module 'net-ping' {
  import type { EventEmitter } from 'node:events';

  export interface RawSocket extends EventEmitter {
    /** @throws Error with strerror's text */
    setOption(level: number, option: number, value: number): void;
    setOption(level: number, option: number, value: Buffer, length: number): void;
    send(
      buffer: Buffer,
      offset: number,
      length: number,
      address: string,
      beforeCallback: (() => void) | null,
      afterCallback: (error: Error | null, bytes: number) => void,
    ): this;
    /** Sends the first packet of its queue now. */
    onSendReady(): void;
    pauseSend(): this;
  }

  export interface Session extends EventEmitter {
    getSocket(): RawSocket;
    pingHost(target: string, callback: (error: Error | null, target: string, sent: Date, received: Date) => void): this;
    close(): this;
  }

  export interface SessionOptions {
    readonly networkProtocol: number;
    readonly sessionId: number;
    readonly retries: number;
    /** Milliseconds. */
    readonly timeout: number;
  }

  export const NetworkProtocol: { readonly IPv4: number; readonly IPv6: number };
  export class RequestTimedOutError extends Error {}
  export function createSession(options: SessionOptions): Session;
}
