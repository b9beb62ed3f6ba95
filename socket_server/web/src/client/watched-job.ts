/** A job being watched: its events, as they come, and what they amount to. */
import type { Client } from "./client.js";
import { RequestError } from "./errors.js";
import type { EventType, JobEvent, SnapshotData, State } from "./protocol.js";
import { Snapshot } from "./snapshot.js";
import { targetOf } from "./target.js";

export type WatchedJobEvents = {
  /** Each event, under its own type. */
  [Type in EventType]: JobEvent;
} & {
  /** Each event, whatever its type. */
  event: JobEvent;
  /** The snapshot changed: an event came, or the server said where the job stands. */
  change: Snapshot;
  /** Where it stands, at first and after a reconnect; `recovered`: nothing is missing in between. */
  snapshot: { snapshot: Snapshot; recovered: boolean };
  /** It is watched no longer: it is not there, or the token does not allow it. */
  error: RequestError;
};

interface Reader {
  queue: JobEvent[];
  wake: (() => void) | null;
}

/**
 * An EventTarget, and an async iterable of all events from the moment of iterating to the job's end:
 *
 *     for await (const event of client.watch(job)) console.log(event.type, event.data);
 */
export class WatchedJob extends targetOf<WatchedJobEvents>() implements AsyncIterable<JobEvent> {
  readonly job: string;
  /** The job's state, live. */
  snapshot: Snapshot;
  /** Whether the server has said yet where the job stands. */
  known = false;
  #client: Client;
  #stop: () => void;
  #readers = new Set<Reader>();
  #error: RequestError | null = null;
  #closed = false;

  /** `stop` is called once, when it is closed. */
  constructor(job: string, client: Client, stop: () => void) {
    super();
    this.job = job;
    this.snapshot = new Snapshot(job);
    this.#client = client;
    this.#stop = stop;
  }

  /** Why it is watched no longer; null if it is, or is over. */
  get error(): RequestError | null {
    return this.#error;
  }

  /** Ask for it to be cancelled; returns its state before. */
  cancel(): Promise<State> {
    return this.#client.cancel(this.job);
  }

  /** Wait until it is over; rejects if it cannot be watched. */
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

  /** Called by the client: where the job stands. */
  begin(given: SnapshotData, events: JobEvent[], recovered: boolean): void {
    const before = this.snapshot;
    this.snapshot = Snapshot.from(given);
    // A server that was restarted in between has seen less than we have.
    this.snapshot.queued_at ??= before.queued_at;
    this.snapshot.started_at ??= before.started_at;
    this.known = true;
    this.#dispatch("snapshot", { snapshot: this.snapshot, recovered });
    for (const event of events) this.#give(event);
    this.#dispatch("change", this.snapshot);
    this.#wake();
  }

  /** Called by the client: an event, each once. */
  take(event: JobEvent): void {
    if (!this.known) return; // it is in what the server is about to say
    this.snapshot.apply(event);
    this.#give(event);
    this.#dispatch("change", this.snapshot);
    this.#wake();
  }

  /** Called by the client: it cannot be watched. */
  fail(error: RequestError): void {
    this.#error = error;
    this.#dispatch("error", error);
    this.#wake();
  }

  #give(event: JobEvent): void {
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
