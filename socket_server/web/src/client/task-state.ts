/** `TaskState`: the state of one task of a job, folded from its events. */
import {
  isEnd,
  isVerdict,
  objects,
  type Bar,
  type JobEvent,
  type JobFailure,
  type Resumption,
  type State,
  type Step,
  type TaskData,
} from "./protocol.js";

type Meta = Readonly<Record<string, unknown>>;

/** Meta of tasks without any: one shared object, which saves memory. */
export const NO_META: Meta = Object.freeze({});

const STATES: Partial<Record<string, State>> = {
  queued: "queued",
  started: "running",
  progress: "running",
  log: "running",
  output: "running",
  retrying: "retrying",
};

/** Types of events that begin no execution: a worker's parent may send them about one. */
function beginsNone(type: string): boolean {
  return isEnd(type) || type === "retrying";
}

/** Types of verdicts that set a task's state. */
const PRESUMABLE: ReadonlySet<string> = new Set(["lost", "cancelled", "retrying"]);

/** Sort key of listed tasks: unfinished, failed, then succeeded ones; then by run and id. */
export interface Place {
  readonly group: number;
  readonly run: number;
  readonly task: TaskState;
}

/** When a task ended without success. */
export interface End {
  readonly at: number;
  readonly task: TaskState;
}

export class TaskState {
  readonly task: string;
  readonly name: string;
  state: State;
  attempt: number;
  bars: Bar[];
  /** Steps of its newest execution, each after the one that it is a part of. */
  steps: Step[];
  /** Number of steps that are not in the list. */
  steps_omitted: number;
  meta: Meta;
  /** What its execution goes on from; null for one that has begun anew. */
  resumed: Resumption | null;
  incomplete: boolean;
  stalled: boolean;
  /** Whether its state is a server's verdict, which a later event or result overturns. */
  presumed: boolean;
  ended_at: number | null;
  error: JobFailure | null;
  reason: string | null;
  retry_at: number | null;
  /** Number of its newest execution, above those before; 0 if queued, -1 before any event. */
  run: number;
  #seq: number;
  #tick: number;
  // Private, since they refer to the task: with them as properties, it would have no JSON.
  #place: Place | null = null;
  #end: End | null = null;

  constructor(given: TaskData) {
    this.task = given.task;
    this.name = given.name;
    this.state = given.state ?? "queued";
    this.attempt = given.attempt ?? 0;
    this.bars = objects<Bar>(given.bars);
    this.steps = objects<Step>(given.steps);
    this.steps_omitted = given.steps_omitted ?? 0;
    this.meta = given.meta ?? NO_META;
    this.resumed = given.resumed ?? null;
    this.incomplete = given.incomplete ?? false;
    this.stalled = given.stalled ?? false;
    this.presumed = given.presumed ?? false;
    this.ended_at = given.ended_at ?? null;
    this.error = given.error ?? null;
    this.reason = given.reason ?? null;
    this.retry_at = given.retry_at ?? null;
    this.run = given.run ?? -1;
    this.#seq = given.seq ?? -1;
    this.#tick = given.tick ?? -1;
  }

  get ended(): boolean {
    return isEnd(this.state);
  }

  /** Whether it ended without success. */
  get failed(): boolean {
    return this.ended && this.state !== "succeeded";
  }

  /** Whether an event is new: not a duplicate, not from an older run, not after the end. */
  accepts(event: JobEvent): boolean {
    const order = event.run - this.run || event.seq - this.#seq || event.tick - this.#tick;
    if (isVerdict(event)) {
      // It has the place of the last event that had come when the server created it.
      if (order < 0) return false;
      // A stored result overturns a presumed end.
      if (this.ended) return this.presumed && isEnd(event.type) && event.type !== this.state;
      return !(event.type === "stalled" && this.stalled);
    }
    if (order <= 0) return false;
    const sameRun = event.run === this.run;
    // A second report of a task's end (by the worker's parent, for example) changes nothing.
    return this.presumed || !(this.ended && (sameRun || isEnd(event.type)));
  }

  /** Its entry in the heap of places of the job's table; null without one. */
  get place(): Place | null {
    return this.#place;
  }

  set place(place: Place | null) {
    this.#place = place;
  }

  /** Its entry in the heap of ends of the job's table; null without one. */
  get end(): End | null {
    return this.#end;
  }

  set end(end: End | null) {
    this.#end = end;
  }

  /** Fold in an event that `accepts` returned true for. */
  apply(event: JobEvent): void {
    const data = event.data ?? {};
    const before = this.state;
    this.#move(event, data);
    if (event.type === "stalled") {
      this.stalled = true;
      return;
    }
    this.#settle(event, data);
    if (event.type !== "progress") {
      const settled = beginsNone(event.type) || before !== "running";
      if (settled && this.steps.length) this.steps = stepsAfter(event, data, this.steps);
      return;
    }
    this.bars = objects<Bar>(data["bars"]);
    this.steps = objects<Step>(data["steps"]);
    this.steps_omitted = (data["steps_omitted"] as number | undefined) ?? 0;
    this.meta = (data["meta"] as Meta | undefined) ?? NO_META;
    this.resumed = (data["resumed"] as Resumption | undefined) ?? null;
  }

  /** Apply a server's verdict on how the task ended; `at` in seconds since the epoch. */
  presume(state: State, at: number, reason: string | null): void {
    this.state = state;
    this.ended_at = at;
    this.error = this.retry_at = null;
    this.reason = reason;
    this.stalled = false;
    this.presumed = true;
  }

  #settle(event: JobEvent, data: Record<string, unknown>): void {
    this.stalled = false;
    this.presumed = isVerdict(event) && PRESUMABLE.has(event.type);
    this.state = isEnd(event.type) ? event.type : (STATES[event.type] ?? this.state);
    this.ended_at = isEnd(event.type) ? event.at : null;
    const why = beginsNone(event.type) ? data : {};
    this.error = (why["error"] as JobFailure | undefined) ?? null;
    this.reason = (why["reason"] as string | undefined) ?? null;
    this.retry_at = (why["retry_at"] as number | undefined) ?? null;
  }

  #move(event: JobEvent, data: Record<string, unknown>): void {
    const seq = this.#seq;
    let attempt = this.attempt;
    if (event.run > this.run) {
      this.bars = [];
      this.meta = NO_META;
      this.resumed = null;
      if (!beginsNone(event.type)) {
        if (event.run > 0) attempt += 1;
        this.steps = [];
        this.steps_omitted = 0;
      }
      this.incomplete ||= event.seq > 0 || event.type === "progress";
    } else this.incomplete ||= event.seq > seq + (event.type === "progress" || isVerdict(event) ? 0 : 1);
    this.run = event.run;
    this.#seq = event.seq;
    this.#tick = event.tick;
    // A redelivered task reports the same number again.
    this.attempt = Math.max(attempt, (data["attempt"] as number | undefined) ?? 0);
  }
}

// The steps of a task after an event that ends it, or shows that it runs all the same. Only ends that are those
// of the task are changed: a step's own end stands.
function stepsAfter(event: JobEvent, data: Record<string, unknown>, steps: Step[]): Step[] {
  return steps.map((step) => {
    if (step.state !== "running" && !step.presumed) return step;
    const { presumed: _, ...open } = step;
    if (!beginsNone(event.type)) return { ...open, state: "running", ended_at: null };
    const state = isEnd(event.type) ? event.type : data["error"] != null ? "failed" : "lost";
    return { ...open, state, ended_at: event.at, presumed: true };
  });
}
