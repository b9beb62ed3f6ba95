/**
 * `Snapshot`: the current state of a job, folded from its events. The twin of
 * bridge/protocol/snapshot.py.
 *
 * No I/O and no clock. `apply` is idempotent: per task, events are ordered by (run, seq, tick), and
 * duplicates and stale events change nothing.
 */
import {
  isEnd,
  isVerdict,
  objects,
  type Bar,
  type Expectation,
  type JobEvent,
  type JobFailure,
  type QueuePlace,
  type Resumption,
  type SnapshotData,
  type State,
  type TaskData,
  type Totals,
} from "./protocol.js";
import { TaskState } from "./task-state.js";
import { TaskTable } from "./task-table.js";

type Meta = Record<string, unknown>;
type Why = { error?: JobFailure | null; reason?: string | null; retry_at?: number | null };

interface Failure extends Why {
  state: State;
  ended_at: number | null;
}

// As Python's `round`, which takes the even one of two digits that are equally near. Only odd multiples
// of 2 ** -(digits + 1) are exactly between two.
function rounded(number: number, digits: number): number {
  if ((number * 2 ** (digits + 1)) % 2 !== 1) return Number(number.toFixed(digits));
  return (2 * Math.round((number * 10 ** digits) / 2)) / 10 ** digits;
}

export class Snapshot {
  readonly job: string;
  /** Name of the job's own task; until its `queued` event, of the first task seen. */
  name = "";
  /** What the service calls the job; null without a title. */
  title: string | null = null;
  owner: string | null = null;
  /** Id of the job that this one repeats; null for a job that repeats none. */
  again_of: string | null = null;
  /** Seconds since the epoch of the newest event; 0 before any. */
  at = 0;
  queued_at: number | null = null;
  started_at: number | null = null;
  /** Log lines and chunks of output that were dropped before they were sent. */
  dropped = 0;
  /** Seconds since the epoch of the newest checkpoint; null without one. */
  saved: number | null = null;
  #tasks = new TaskTable();
  /** The server's snapshot; null once an event has changed the state. */
  #given: SnapshotData | null = null;
  /** Tasks that the job was enqueued with, tasks that its tasks added, and the server's `total`. */
  #planned = 0;
  #spawned = 0;
  #counted = 0;
  /** Null unless the job was asked to cancel; then the reason why that takes long, or "". */
  #asked: string | null = null;
  #estimate: { queue?: QueuePlace | null; eta?: Expectation | null } = {};
  #disturbed: string | null = null;
  /** Ended tasks that the server's snapshot counts but does not list. */
  #unlisted = 0;
  /** Meta of the server's snapshot, and the merged meta of its listed tasks. */
  #givenMeta: Meta = {};
  #listedMeta: Meta = {};
  /** Whether events are missing of a task that the server's snapshot does not list. */
  #incomplete = false;
  /** End of the first task that did not succeed, if the server's snapshot does not list it. */
  #givenFailure: Failure | null = null;
  #result: { result?: unknown; result_omitted?: unknown } = {};
  #resultRun = -1;
  /** The server's, as of the last event: the tasks that its snapshot did not list are unknown here. */
  #totals: Totals | null = null;

  constructor(job: string) {
    this.job = job;
  }

  /**
   * A snapshot decoded from a server's, to fold later events in. `before` is the job's snapshot so far; its
   * times are kept where the server has none: a restarted server may not have seen the first events.
   */
  static from(given: SnapshotData, before?: Snapshot): Snapshot {
    const self = new Snapshot(given.job);
    self.name = given.name ?? "";
    self.title = given.title ?? null;
    self.owner = given.owner ?? null;
    self.again_of = given.again_of ?? null;
    self.at = given.at ?? 0;
    self.queued_at = given.queued_at ?? before?.queued_at ?? null;
    self.started_at = given.started_at ?? before?.started_at ?? null;
    self.dropped = given.dropped ?? 0;
    self.saved = given.saved ?? null;
    self.#tasks = new TaskTable(objects<TaskData>(given.tasks).map((task) => new TaskState(task)));
    self.#goOn(given);
    return self;
  }

  #goOn(given: SnapshotData): void {
    this.#given = given;
    this.#planned = given.planned ?? 0;
    this.#spawned = given.spawned ?? 0;
    this.#counted = given.total ?? 0;
    this.#estimate = { queue: given.queue ?? null, eta: given.eta ?? null };
    this.#disturbed = given.disturbed ?? null;
    this.#unlisted = Math.max(0, (given.done ?? 0) - this.#tasks.count("ended"));
    this.#listedMeta = this.meta;
    this.#givenMeta = given.meta ?? {};
    this.#incomplete = Boolean(given.incomplete) && !this.#tasks.count("incomplete");
    const { state, ended_at = null, error, reason, retry_at } = given;
    const listed = this.#tasks.firstFailed();
    if (isEnd(state) && state !== "succeeded" && !(listed && listed.ended_at === ended_at))
      this.#givenFailure = { state, ended_at, error, reason, retry_at };
    if (given.cancelling) this.#asked = (given.state === "cancelling" && given.reason) || "";
    this.#result = { result: given.result, result_omitted: given.result_omitted };
    for (const task of this.#tasks.values())
      if (task.state === "succeeded") this.#resultRun = Math.max(this.#resultRun, task.run);
  }

  /** Fold one event in; false if it was a duplicate or stale. */
  apply(event: JobEvent): boolean {
    if (!this.#fold(event)) return false;
    this.#totals = event.totals ?? null;
    if (this.#totals && ("result" in this.#totals || "result_omitted" in this.#totals)) this.#result = this.#totals;
    if (isEnd(event.type) && this.ended) this.#settle();
    return true;
  }

  #fold(event: JobEvent): boolean {
    const data = event.data !== null && typeof event.data === "object" ? event.data : {};
    if (event.type === "cancelling") return this.#cancel(event, data);
    if (event.type === "estimate") return this.#expect(data);
    if (event.type === "disturbed") return this.#disturb(data);
    if (isVerdict(event) && data["waiting"]) return this.#sweep(event, data);
    const known = this.#tasks.get(event.task);
    const task = known ?? new TaskState({ task: event.task, name: event.name });
    if (!task.accepts(event)) return this.#late(event);
    this.#given = null;
    if (!known) this.#spawned += (data["more"] as number | undefined) ?? 0;
    this.#tasks.fold(task, { ...event, data });
    this.#describe(event, data);
    this.#times(event, data);
    return true;
  }

  #sweep(event: JobEvent, data: Meta): boolean {
    if (!this.#tasks.presumeCancelled(event.at, (data["reason"] as string | undefined) ?? null)) return false;
    this.#given = null;
    this.at = Math.max(this.at, event.at);
    return true;
  }

  // Drops the fields that a finished job does not need.
  #settle(): void {
    this.#estimate = {};
    this.#disturbed = null;
    if (this.#asked) this.#asked = "";
  }

  // Takes `queued_at` from a `queued` event that arrives after the task has started.
  #late(event: JobEvent): false {
    if (event.type === "queued" && event.task === this.job && this.queued_at === null) {
      this.queued_at = event.at;
      this.#given = null;
    }
    return false;
  }

  #cancel(event: JobEvent, data: Meta): boolean {
    const reason = (data["reason"] as string | undefined) ?? "";
    if (this.ended || (this.cancelling && (reason === "" || reason === this.#asked))) return false;
    this.#asked = reason;
    this.at = Math.max(this.at, event.at);
    this.#given = null;
    return true;
  }

  #expect(data: Meta): boolean {
    if (this.ended) return false;
    this.#estimate = data;
    this.#given = null;
    return true;
  }

  #disturb(data: Meta): boolean {
    if (this.ended) return false;
    const reason = (data["reason"] as string | undefined) || "the way to its workers is disturbed";
    this.#disturbed = data["disturbed"] ? reason : null;
    this.#given = null;
    return true;
  }

  #describe(event: JobEvent, data: Meta): void {
    if (!this.name || (event.task === this.job && event.run === 0)) this.name = event.name;
    this.owner ||= event.owner;
    this.title ||= (data["title"] as string | undefined) ?? null;
    this.again_of ||= (data["again_of"] as string | undefined) ?? null;
    this.#planned = Math.max(this.#planned, (data["total"] as number | undefined) ?? 0);
    this.dropped += (data["dropped"] as number | undefined) ?? 0;
    const saved = data["saved"] as number | undefined;
    if (saved) this.saved = Math.max(saved, this.saved ?? 0);
  }

  #times(event: JobEvent, data: Meta): void {
    this.at = Math.max(this.at, event.at);
    if (event.type === "queued") this.queued_at ??= event.at;
    else if (event.type === "started") this.started_at ||= event.at;
    // The result is that of the task that began last; its event may not arrive last.
    if (event.type === "succeeded" && event.run >= this.#resultRun) {
      this.#resultRun = event.run;
      this.#result = data;
    }
  }

  // End of the first task that did not succeed, if the job has ended with it.
  #failure(): Failure | null {
    const found = this.#firstFailure();
    return this.#totals === null || found?.state === this.#totals.state ? found : null;
  }

  #firstFailure(): Failure | null {
    const known = this.#givenFailure;
    const task = this.#tasks.firstFailed();
    return task === null || (known && (known.ended_at ?? 0) <= (task.ended_at ?? 0)) ? known : task;
  }

  /** Number of tasks that the job is known to have. */
  get total(): number {
    if (this.#totals) return this.#totals.total;
    const known = Math.max(this.#tasks.size + this.#unlisted, this.#counted);
    return Math.max(this.#planned + this.#spawned, known);
  }

  /** Number of tasks that have ended. */
  get done(): number {
    if (this.#totals) return this.#totals.done;
    return this.#unlisted + this.#tasks.count("ended");
  }

  /** "queued", "running", "retrying", "cancelling" or how the job ended. */
  get state(): State {
    if (this.#given) return this.#given.state;
    if (this.#totals) return this.#totals.state;
    const failure = this.#failure();
    if (failure) return failure.state;
    const { done } = this;
    if (done > 0 && done >= this.total) return "succeeded";
    if (this.cancelling) return "cancelling";
    if (done > 0 || this.#tasks.count("running")) return "running";
    return this.#tasks.count("retrying") ? "retrying" : "queued";
  }

  /** "events", or "result" as long as only Celery's result backend has the job. */
  get source(): string {
    return this.#given?.source ?? "events";
  }

  /** Whether the job is over. */
  get ended(): boolean {
    return isEnd(this.state);
  }

  /** Whether the server reported a task as stalled, and no event of that task came since. */
  get stalled(): boolean {
    if (this.#given) return this.#given.stalled ?? false;
    return !this.ended && this.#tasks.count("stalled") > 0;
  }

  /** Why no events come from its workers, by the server's verdict; null while they do. */
  get disturbed(): string | null {
    return this.ended ? null : this.#disturbed;
  }

  /** Whether the job was asked to cancel. */
  get cancelling(): boolean {
    return this.#asked !== null;
  }

  /** Error of a job that failed or waits for a retry; else null. */
  get error(): JobFailure | null {
    return this.#why.error ?? null;
  }

  /** Why it ended, waits for a retry, or is not cancelled yet; null without a reason. */
  get reason(): string | null {
    return this.#why.reason ?? null;
  }

  /** Earliest time of the retry, in seconds since the epoch; null if none is due. */
  get retry_at(): number | null {
    return this.#why.retry_at ?? null;
  }

  get #why(): Why {
    if (this.#given) return this.#given;
    const failure = this.#failure();
    if (failure) return failure;
    const { state } = this;
    if (state === "cancelling") return { reason: this.#asked || null };
    if (state !== "retrying") return {};
    return this.#tasks.listed(1)[0] ?? {};
  }

  /** The queue in which the job waits; null if it does not wait or the queue is unknown. */
  get queue(): QueuePlace | null {
    return this.state === "queued" ? (this.#estimate.queue ?? null) : null;
  }

  /** Expected end; null if unknown or the job is over. */
  get eta(): Expectation | null {
    return this.ended ? null : (this.#estimate.eta ?? null);
  }

  /** At most 100 tasks: unfinished ones, then failed ones, then succeeded ones. */
  get tasks(): TaskState[] {
    return this.#tasks.listed();
  }

  /** Number of the execution, from 1, of a job of one task; 0 before it, and for several tasks. */
  get attempt(): number {
    return this.total === 1 ? (this.#tasks.first?.attempt ?? 0) : 0;
  }

  /** What the execution of a job of one task goes on from; null for one that has begun anew. */
  get resumed(): Resumption | null {
    return this.total === 1 ? (this.#tasks.first?.resumed ?? null) : null;
  }

  /** Whether events of a task are missing. */
  get incomplete(): boolean {
    if (this.#totals) return this.#totals.incomplete;
    return this.#incomplete || this.#tasks.count("incomplete") > 0;
  }

  /** Merged meta of the tasks; the task that began last overrides the others. */
  get meta(): Meta {
    const merged: Meta = Object.assign({}, ...this.#tasks.withMeta().map((task) => task.meta));
    for (const [name, value] of Object.entries(this.#givenMeta))
      // Tasks send all of their meta each time, so an equal value is not a new one.
      if (JSON.stringify(merged[name]) === JSON.stringify(this.#listedMeta[name])) merged[name] = value;
    return merged;
  }

  /** Result of the job once it succeeded; undefined otherwise. */
  get result(): unknown {
    return this.state === "succeeded" ? this.#result.result : undefined;
  }

  /** Whether the result was left out: too large, or not JSON. */
  get resultOmitted(): boolean {
    return this.state === "succeeded" && Boolean(this.#result.result_omitted);
  }

  /** Seconds since the epoch at which the job ended; null while it has not. */
  get ended_at(): number | null {
    if (this.#given) return this.#given.ended_at ?? null;
    if (!this.ended) return null;
    const failure = this.#failure();
    if (failure) return failure.ended_at;
    let last = 0;
    for (const task of this.#tasks.values()) last = Math.max(last, task.ended_at ?? 0);
    return last;
  }

  /** Bars to draw: the only task's, or one that counts tasks, then those of running tasks. */
  get bars(): Bar[] {
    if (this.#given) return objects<Bar>(this.#given.bars);
    if (this.total <= 1) return this.#tasks.first?.bars ?? [];
    const bars = [this.#combined()];
    for (const task of this.tasks) if (task.state === "running") bars.push(...task.bars);
    return bars;
  }

  #combined(): Bar {
    const { done, total } = this;
    const elapsed = this.started_at ? Math.max(0, this.at - this.started_at) : 0;
    const rate = elapsed && done ? done / elapsed : null;
    const eta = rate && rounded((total - done) / rate, 1);
    return {
      position: 0,
      desc: "tasks",
      unit: "task",
      unit_scale: false,
      postfix: "",
      n: done,
      total,
      rate: rate && rounded(rate, 3),
      eta,
      elapsed: rounded(elapsed, 3),
      closed: this.ended,
    };
  }
}
