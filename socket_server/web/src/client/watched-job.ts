/** `WatchedJob`: the live events and the current snapshot of a job. */
import type { Client } from "./client.js";
import { RequestError } from "./errors.js";
import { Novelty } from "./novelty.js";
import type { EventType, JobEvent, SnapshotData, State } from "./protocol.js";
import { Snapshot } from "./snapshot.js";
import { targetOf } from "./target.js";

export type WatchedJobEvents = {
  /** Each event, under its own type. */
  [Type in EventType]: JobEvent;
} & {
  /** Each event, whatever its type. */
  event: JobEvent;
  /** An event arrived, or the server sent a snapshot. */
  change: Snapshot;
  /** The server sent a snapshot, also after a reconnect; `recovered`: no event was missed. */
  snapshot: { snapshot: Snapshot; recovered: boolean };
  /** The job cannot be watched: the server does not have it, or the token does not allow it. */
  error: RequestError;
};

interface Reader {
  queue: JobEvent[];
  wake: (() => void) | null;
}

/**
 * An EventTarget, and an async iterable of the events that arrive while it is iterated, to the
 * job's end:
 *
 *     for await (const event of client.watch(job)) console.log(event.type, event.data);
 */
export class WatchedJob extends targetOf<WatchedJobEvents>() implements AsyncIterable<JobEvent> {
  readonly job: string;
  /** The job's current state. */
  snapshot: Snapshot;
  /** Whether the server has sent a snapshot. */
  known = false;
  #client: Client;
  #stop: () => void;
  #readers = new Set<Reader>();
  /** The client's own begins anew where a server is asked without a cursor. */
  #given = new Novelty();
  #error: RequestError | null = null;
  #closed = false;

  /** `stop` is called once, by `close()`. */
  constructor(job: string, client: Client, stop: () => void) {
    super();
    this.job = job;
    this.snapshot = new Snapshot(job);
    this.#client = client;
    this.#stop = stop;
  }

  /** Why the job cannot be watched; null if it can. */
  get error(): RequestError | null {
    return this.#error;
  }

  /** Request its cancellation; returns its state before. */
  cancel(): Promise<State> {
    return this.#client.cancel(this.job);
  }

  /** Wait until the job is over or `close()` is called; rejects if it cannot be watched. */
  async end(): Promise<Snapshot> {
    for await (const _ of this);
    return this.snapshot;
  }

  /** Stop watching. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake();
    this.#stop();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<JobEvent, void> {
    const reader: Reader = { queue: [], wake: null };
    this.#readers.add(reader);
    try {
      for (;;) {
        while (reader.queue.length) yield reader.queue.shift() as JobEvent;
        if (this.#error) throw this.#error;
        if (this.#closed || this.snapshot.ended) return;
        await new Promise<void>((resolve) => (reader.wake = resolve));
      }
    } finally {
      this.#readers.delete(reader);
    }
  }

  /** Called by the client with the server's snapshot and the events since the last one. */
  begin(given: SnapshotData, events: JobEvent[], recovered: boolean): void {
    this.snapshot = Snapshot.from(given, this.snapshot);
    this.known = true;
    this.#dispatch("snapshot", { snapshot: this.snapshot, recovered });
    for (const event of events) this.#give(event);
    this.#dispatch("change", this.snapshot);
    this.#wake();
  }

  /** Called by the client for each event; one that was given out before only changes the snapshot. */
  take(event: JobEvent): void {
    if (!this.known) return; // the server's reply will contain it
    this.snapshot.apply(event);
    this.#give(event);
    this.#dispatch("change", this.snapshot);
    this.#wake();
  }

  /** Called by the client if the job cannot be watched; of one that is over, all is known. */
  fail(error: RequestError): void {
    if (this.snapshot.ended) return;
    this.#error = error;
    this.#dispatch("error", error);
    this.#wake();
  }

  #give(event: JobEvent): void {
    if (!this.#given.take(event)) return;
    for (const reader of this.#readers) reader.queue.push(event);
    this.#dispatch("event", event);
    this.#dispatch(event.type, event);
  }

  #wake(): void {
    for (const reader of this.#readers) {
      reader.wake?.();
      reader.wake = null;
    }
  }

  #dispatch<Name extends keyof WatchedJobEvents>(name: Name, detail: WatchedJobEvents[Name]): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
