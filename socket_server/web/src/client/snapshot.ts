/**
 * A snapshot: a job's events folded into its current state. The twin of bridge/protocol/snapshot.py.
 *
 * No I/O and no clock. `apply` is idempotent: per task, events are ordered by (run, seq, tick), and
 * what is not news changes nothing.
 */
import { isEnd, isVerdict, objects, type Bar, type Expectation, type JobEvent, type JobFailure, type QueuePlace, type SnapshotData, type State, type TaskData } from "./protocol.js";
import { TaskState } from "./task-state.js";
import { TaskTable } from "./task-table.js";

type Meta = Record<string, unknown>;
type Why = { error?: JobFailure | null; reason?: string | null; retry_at?: number | null };

interface Failure extends Why {
  state: State;
  ended_at: number | null;
}

function rounded(number: number, digits: number): number {
  return Math.round(number * 10 ** digits) / 10 ** digits;
}

export class Snapshot {
  readonly job: string;
  /** Of the task with which it began. */
  name = "";
  owner: string | null = null;
  /** Seconds since the epoch of the newest event; 0 before any. */
  at = 0;
  queued_at: number | null = null;
  started_at: number | null = null;
  /** Log lines and pieces of output that had to be dropped before they were sent. */
  dropped = 0;
  /** "events", or "result" where only Celery's result backend knew the job. */
  source = "events";
  #tasks = new TaskTable();
  /** What the server folded, as long as no event came after it. */
  #given: SnapshotData | null = null;
  /** Tasks with which it was enqueued, which those added, and which the server counted. */
  #planned = 0;
  #spawned = 0;
  #counted = 0;
  /** Once somebody asked for it to be cancelled: why it takes long, or "". */
  #asked: string | null = null;
  #estimate: { queue?: QueuePlace | null; eta?: Expectation | null } = {};
  #disturbed: string | null = null;
  /** Ended tasks that the server's snapshot counts and does not list. */
  #unlisted = 0;
  /** What the server's snapshot says about the job, and what its listed tasks do. */
  #givenMeta: Meta = {};
  #listedMeta: Meta = {};
  /** Whether something is missing of a task that the server's snapshot does not list. */
  #incomplete = false;
  /** The first task that ended as it should not, if the server's snapshot does not list it. */
  #givenFailure: Failure | null = null;
  #result: { result?: unknown; result_omitted?: unknown } = {};
  #resultRun = -1;

  constructor(job: string) {
    this.job = job;
  }

  /** A snapshot that goes on from what the server folded. */
  static from(given: SnapshotData): Snapshot {
    const self = new Snapshot(given.job);
    self.name = given.name ?? "";
    self.owner = given.owner ?? null;
    self.at = given.at ?? 0;
    self.queued_at = given.queued_at ?? null;
    self.started_at = given.started_at ?? null;
    self.dropped = given.dropped ?? 0;
    self.source = given.source ?? "events";
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

  /** Fold one event in; false if it was a duplicate or stale, and changed nothing. */
  apply(event: JobEvent): boolean {
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
    if (isEnd(event.type) && this.ended) this.#settle();
    return true;
  }

  #sweep(event: JobEvent, data: Meta): boolean {
    if (!this.#tasks.presumeCancelled(event.at, (data["reason"] as string | undefined) ?? null)) return false;
    this.#given = null;
    this.at = Math.max(this.at, event.at);
    if (this.ended) this.#settle();
    return true;
  }

  // What is of no use any more once the job is over.
  #settle(): void {
    this.#estimate = {};
    this.#disturbed = null;
    if (this.#asked) this.#asked = "";
  }

  // Taken from a `queued` that a fast worker overtook: what nobody else tells.
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
    this.#planned = Math.max(this.#planned, (data["total"] as number | undefined) ?? 0);
    this.dropped += (data["dropped"] as number | undefined) ?? 0;
  }

  #times(event: JobEvent, data: Meta): void {
    this.at = Math.max(this.at, event.at);
    if (event.type === "queued") this.queued_at ??= event.at;
    else if (event.type === "started") this.started_at ||= event.at;
    // Of several tasks it is the one begun last, whose word may not arrive last.
    if (event.type === "succeeded" && event.run >= this.#resultRun) {
      this.#resultRun = event.run;
      this.#result = data;
    }
  }

  // The first task that ended as it should not.
  #failure(): Failure | null {
    const known = this.#givenFailure;
    const task = this.#tasks.firstFailed();
    return task === null || (known && (known.ended_at ?? 0) <= (task.ended_at ?? 0)) ? known : task;
  }

  /** Tasks that the job is known to have. */
  get total(): number {
    const known = Math.max(this.#tasks.size + this.#unlisted, this.#counted);
    return Math.max(this.#planned + this.#spawned, known);
  }

  /** Tasks that ended. */
  get done(): number {
    return this.#unlisted + this.#tasks.count("ended");
  }

  /** "queued", "running", "retrying", "cancelling" or how the job ended. */
  get state(): State {
    if (this.#given) return this.#given.state;
    const failure = this.#failure();
    if (failure) return failure.state;
    const { done } = this;
    if (done > 0 && done >= this.total) return "succeeded";
    if (this.cancelling) return "cancelling";
    if (done > 0 || this.#tasks.count("running")) return "running";
    return this.#tasks.count("retrying") ? "retrying" : "queued";
  }

  /** Whether the job is over. */
  get ended(): boolean {
    return isEnd(this.state);
  }

  /** No word from the job for a while, as the server says; any event takes it back. */
  get stalled(): boolean {
    return !this.ended && this.#tasks.count("stalled") > 0;
  }

  /** Why nothing comes from its workers, as the server says; null while something does. */
  get disturbed(): string | null {
    return this.ended ? null : this.#disturbed;
  }

  /** Whether somebody asked for it to be cancelled. */
  get cancelling(): boolean {
    return this.#asked !== null;
  }

  /** {class, message} of what went wrong, once the job ended by it or is tried again; else null. */
  get error(): JobFailure | null {
    return this.#why.error ?? null;
  }

  /** Why it ended, is tried again, or is not cancelled yet; null for no reason. */
  get reason(): string | null {
    return this.#why.reason ?? null;
  }

  /** Seconds since the epoch at which it is tried again at the earliest; null if it is not. */
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

  /** The queue in which it waits; null while unknown, or when it does not. */
  get queue(): QueuePlace | null {
    return this.state === "queued" ? (this.#estimate.queue ?? null) : null;
  }

  /** When it is expected to be over; null while unknown. */
  get eta(): Expectation | null {
    return this.ended ? null : (this.#estimate.eta ?? null);
  }

  /** The tasks that are listed, 100 at most: those that go on first, then what went wrong. */
  get tasks(): TaskState[] {
    return this.#tasks.listed();
  }

  /** Which execution this is; more than 1 after a retry. Of a job of one task. */
  get attempt(): number {
    return this.total === 1 ? (this.#tasks.first?.attempt ?? 0) : 0;
  }

  /** Whether something about it may be missing. */
  get incomplete(): boolean {
    return this.#incomplete || this.#tasks.count("incomplete") > 0;
  }

  /** What the tasks said about the job; the task begun last has the last word. */
  get meta(): Meta {
    const merged: Meta = Object.assign({}, ...this.#tasks.withMeta().map((task) => task.meta));
    for (const [name, value] of Object.entries(this.#givenMeta))
      if (merged[name] === this.#listedMeta[name]) merged[name] = value;
    return merged;
  }

  /** What the job returned, once it succeeded; undefined otherwise. */
  get result(): unknown {
    return this.state === "succeeded" ? this.#result.result : undefined;
  }

  /** Whether it returned something too large, or nothing that JSON can say. */
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

  /** Bars to draw: the task's own, or one over all tasks and then those of running ones. */
  get bars(): Bar[] {
    if (this.#given) return objects<Bar>(this.#given.bars);
    if (this.total === 1) return this.#tasks.first?.bars ?? [];
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
      position: 0, desc: "tasks", unit: "task", unit_scale: false, postfix: "",
      n: done, total, rate: rate && rounded(rate, 3), eta, elapsed: rounded(elapsed, 3), closed: this.ended,
    };
  }
}
