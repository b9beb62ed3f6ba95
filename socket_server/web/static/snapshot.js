/**
 * A snapshot: a job's events folded into its current state. The twin of bridge/snapshot.py.
 *
 * No I/O and no clock. `apply` is idempotent: per task, events are ordered by (run, seq, tick), and
 * what is not news changes nothing.
 */

const TERMINAL = new Set(["succeeded", "failed", "cancelled", "lost"]);
const STATES = {
  queued: "queued",
  started: "running",
  progress: "running",
  log: "running",
  output: "running",
  retrying: "retrying",
};

/** Whether a state is how a job or task ends. */
export function isEnd(state) {
  return TERMINAL.has(state);
}

function later(a, b) {
  for (let index = 0; index < 3; index += 1) if (a[index] !== b[index]) return a[index] > b[index];
  return false;
}

function objects(value) {
  return Array.isArray(value) ? value.filter((item) => item !== null && typeof item === "object") : [];
}

class TaskState {
  constructor({ task, name, state = "queued", attempt = 0, bars = [], meta = {}, run = -1, seq = -1, tick = -1, ...rest }) {
    const { incomplete = false, ended_at = null, error = null } = rest;
    Object.assign(this, { task, name, state, attempt, bars: objects(bars), meta, order: [run, seq, tick] });
    Object.assign(this, { incomplete, ended_at, error });
  }

  get ended() {
    return isEnd(this.state);
  }

  /** Whether it ended, and not as it should. */
  get failed() {
    return this.ended && this.state !== "succeeded";
  }

  accepts(event, order) {
    const terminal = isEnd(event.type);
    if (!later(order, this.order)) return false;
    const sameRun = event.run === this.order[0];
    // A second opinion about the end of a task (the worker's parent, say) changes nothing.
    return !(this.ended && (sameRun || terminal));
  }

  apply(event, order, data) {
    const [run, seq] = this.order;
    if (event.run > run) {
      this.bars = [];
      this.meta = {};
      if (event.run > 0) this.attempt += 1;
      this.incomplete ||= event.seq > 0 || event.type === "progress";
    } else this.incomplete ||= event.seq > seq + (event.type === "progress" ? 0 : 1);
    this.order = order;
    this.state = isEnd(event.type) ? event.type : (STATES[event.type] ?? this.state);
    this.attempt = data.attempt ?? this.attempt;
    this.ended_at = isEnd(event.type) ? event.at : null;
    this.error = isEnd(event.type) ? (data.error ?? null) : null;
    if (event.type !== "progress") return;
    this.bars = objects(data.bars);
    this.meta = data.meta ?? {};
  }
}

export class Snapshot {
  #tasks = new Map();
  #given = null; // what the server folded, as long as no event came after it
  #total = 0;
  #unlisted = 0; // ended tasks that the server's snapshot counts and does not list
  #givenMeta = {}; // what the server's snapshot says, and what its listed tasks do
  #listedMeta = {};
  #incomplete = false;
  #cancelling = false;
  #result = {};
  #resultRun = -1;

  constructor(job) {
    Object.assign(this, { job, name: "", owner: null, at: 0, dropped: 0, source: "events" });
    Object.assign(this, { queued_at: null, started_at: null });
  }

  /** A snapshot that goes on from what the server folded. */
  static from(given) {
    const self = new Snapshot(given.job);
    for (const key of ["name", "owner", "at", "queued_at", "started_at", "dropped", "source"])
      self[key] = given[key] ?? self[key];
    for (const task of objects(given.tasks)) self.#tasks.set(task.task, new TaskState(task));
    self.#given = given;
    self.#total = given.total ?? 0;
    self.#unlisted = Math.max(0, (given.done ?? 0) - self.#endedHere());
    [self.#listedMeta, self.#givenMeta] = [self.meta, given.meta ?? {}];
    self.#incomplete = Boolean(given.incomplete);
    self.#cancelling = given.state === "cancelling";
    self.#result = { result: given.result, result_omitted: given.result_omitted };
    for (const task of self.#tasks.values())
      if (task.state === "succeeded") self.#resultRun = Math.max(self.#resultRun, task.order[0]);
    return self;
  }

  /** Fold one event in; false if it was a duplicate or stale, and changed nothing. */
  apply(event) {
    const data = event.data !== null && typeof event.data === "object" ? event.data : {};
    if (event.type === "cancelling") return this.#cancel(event);
    const order = [event.run, event.seq, event.tick];
    const task = this.#tasks.get(event.task) ?? new TaskState({ task: event.task, name: event.name });
    if (!task.accepts(event, order)) return this.#late(event);
    this.#given = null;
    this.#tasks.set(event.task, task);
    task.apply(event, order, data);
    this.#describe(event, data);
    this.#times(event, data);
    if (this.#cancelling && isEnd(event.type) && this.ended) this.#cancelling = false;
    return true;
  }

  // Taken from a `queued` that a fast worker overtook: what nobody else tells.
  #late(event) {
    if (event.type === "queued" && event.task === this.job) this.queued_at ??= event.at;
    return false;
  }

  #cancel(event) {
    if (this.#cancelling || this.ended) return false;
    this.#cancelling = true;
    this.at = Math.max(this.at, event.at);
    this.#given = null;
    return true;
  }

  #describe(event, data) {
    if (!this.name || (event.task === this.job && event.run === 0)) this.name = event.name;
    this.owner ||= event.owner;
    this.#total = Math.max(this.#total, data.total ?? 0);
    this.dropped += data.dropped ?? 0;
  }

  #times(event, data) {
    this.at = Math.max(this.at, event.at);
    if (event.type === "queued") this.queued_at ??= event.at;
    else if (event.type === "started") this.started_at ||= event.at;
    // Of several tasks it is the one begun last, whose word may not arrive last.
    if (event.type === "succeeded" && event.run >= this.#resultRun) {
      this.#resultRun = event.run;
      this.#result = data;
    }
  }

  // The task that was the first to end as it should not.
  #failure() {
    let first = null;
    for (const task of this.#tasks.values())
      if (task.failed && (first === null || task.ended_at < first.ended_at)) first = task;
    return first;
  }

  #endedHere() {
    let ended = 0;
    for (const task of this.#tasks.values()) ended += task.ended;
    return ended;
  }

  /** Tasks that the job is known to have. */
  get total() {
    return Math.max(this.#total, this.#tasks.size + this.#unlisted);
  }

  /** Tasks that ended. */
  get done() {
    return this.#unlisted + this.#endedHere();
  }

  /** "queued", "running", "retrying", "cancelling" or how the job ended. */
  get state() {
    if (this.#given) return this.#given.state;
    const failure = this.#failure();
    if (failure) return failure.state;
    const done = this.done;
    if (done > 0 && done >= this.total) return "succeeded";
    if (this.#cancelling) return "cancelling";
    const states = new Set();
    for (const task of this.#tasks.values()) states.add(task.state);
    if (states.has("running") || done > 0) return "running";
    return states.has("retrying") ? "retrying" : "queued";
  }

  /** Whether the job is over. */
  get ended() {
    return isEnd(this.state);
  }

  /** No word from the job for a while, as the server says; any event takes it back. */
  get stalled() {
    return Boolean(this.#given?.stalled);
  }

  /** Which execution this is; more than 1 after a retry. Of a job of one task. */
  get attempt() {
    return this.total === 1 ? (this.#tasks.values().next().value?.attempt ?? 0) : 0;
  }

  get incomplete() {
    if (this.#incomplete) return true;
    for (const task of this.#tasks.values()) if (task.incomplete) return true;
    return false;
  }

  /** What the tasks said about the job; the task begun last has the last word. */
  get meta() {
    const told = this.#byBeginning().map((task) => task.meta);
    const merged = Object.assign({}, ...told);
    for (const [name, value] of Object.entries(this.#givenMeta))
      if (merged[name] === this.#listedMeta[name]) merged[name] = value;
    return merged;
  }

  /** What the job returned, once it succeeded; undefined otherwise. */
  get result() {
    return this.state === "succeeded" ? this.#result.result : undefined;
  }

  get resultOmitted() {
    return this.state === "succeeded" && Boolean(this.#result.result_omitted);
  }

  /** {class, message} of what went wrong, once the job ended by it; else null. */
  get error() {
    if (this.#given) return this.#given.error ?? null;
    return this.#failure()?.error ?? null;
  }

  /** Seconds since the epoch at which the job ended; null while it has not. */
  get ended_at() {
    if (this.#given) return this.#given.ended_at ?? null;
    if (!this.ended) return null;
    const failure = this.#failure();
    if (failure) return failure.ended_at;
    let last = 0;
    for (const task of this.#tasks.values()) last = Math.max(last, task.ended_at ?? 0);
    return last;
  }

  /** Bars to draw: the task's own, or one over all tasks and then those of running ones. */
  get bars() {
    if (this.#given) return objects(this.#given.bars);
    if (this.total === 1) return this.#tasks.values().next().value?.bars ?? [];
    const bars = [this.#combined()];
    for (const task of this.#byBeginning()) if (task.state === "running") bars.push(...task.bars);
    return bars;
  }

  #byBeginning() {
    const order = (a, b) => a.order[0] - b.order[0] || (a.task < b.task ? -1 : 1);
    return [...this.#tasks.values()].sort(order);
  }

  #combined() {
    const { done, total } = this;
    const elapsed = this.started_at ? Math.max(0, this.at - this.started_at) : 0;
    const rate = elapsed && done ? done / elapsed : null;
    const eta = rate && (total - done) / rate;
    return {
      position: 0, desc: "tasks", unit: "task", unit_scale: false, postfix: "",
      n: done, total, rate, eta, elapsed, closed: this.ended,
    };
  }
}
