import type { Socket } from "socket.io-client";

type Answer = (error: Error | null, reply?: unknown) => void;

/** A Socket.IO socket that goes nowhere: a test is its server. */
export class FakeSocket {
  connected = false;
  active = true;
  closed = false;
  /** What was asked and not answered yet: name, payload, and what takes the answer. */
  asked: [name: string, payload: Record<string, unknown>, answer: Answer][] = [];
  io: { opts: { query?: Record<string, string> } } = { opts: {} };
  #listeners = new Map<string, ((detail: never) => void)[]>();

  on(name: string, listener: (detail: never) => void): this {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
    return this;
  }

  timeout(): this {
    return this;
  }

  emit(name: string, payload: Record<string, unknown>, answer: Answer): this {
    this.asked.push([name, payload, answer]);
    return this;
  }

  connect(): void {
    this.hear("connect");
  }

  disconnect(): void {
    this.connected = false;
    this.closed = true;
  }

  /** Something comes from the server. */
  hear(name: string, detail?: unknown): void {
    if (name === "connect") this.connected = true;
    if (name === "disconnect") this.connected = false;
    for (const listener of this.#listeners.get(name) ?? []) listener(detail as never);
  }

  /** Answer the oldest request of a name; returns what was asked. */
  answer(name: string, reply: object): Record<string, unknown> {
    return this.#reply(name, { ok: true, ...reply });
  }

  /** Refuse the oldest request of a name; returns what was asked. */
  refuse(name: string, error: { code: string; message: string }): Record<string, unknown> {
    return this.#reply(name, { ok: false, error });
  }

  #reply(name: string, reply: object): Record<string, unknown> {
    const index = this.asked.findIndex(([asked]) => asked === name);
    const [found] = this.asked.splice(index, 1);
    if (index < 0 || !found) throw new Error(`nobody asked ${name}`);
    found[2](null, reply);
    return found[1];
  }

  get itself(): Socket {
    return this as unknown as Socket;
  }
}
