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

/** What an event says about why a task ended, or is to run again. */
const WHY = ["error", "reason", "retry_at"];

function objects(value) {
  return Array.isArray(value) ? value.filter((item) => item !== null && typeof item === "object") : [];
}

/** Types that only a server sends, about what does not speak for itself. */
const SERVER_MADE = new Set(["stalled", "estimate"]);

/** Whether an event is a server's word about a task from which nothing came. */
export function isVerdict(event) {
  return SERVER_MADE.has(event.type) || (isEnd(event.type) && event.data?.verdict === true);
}

class TaskState {
  constructor({ task, name, state = "queued", attempt = 0, bars = [], meta = {}, run = -1, seq = -1, tick = -1, ...rest }) {
    const { incomplete = false, stalled = false, presumed = false, ended_at = null } = rest;
    const { error = null, reason = null, retry_at = null } = rest;
    Object.assign(this, { task, name, state, attempt, bars: objects(bars), meta, order: [run, seq, tick] });
    Object.assign(this, { incomplete, stalled, presumed, ended_at, error, reason, retry_at });
  }

  get ended() {
    return isEnd(this.state);
  }

  /** Whether it ended, and not as it should. */
  get failed() {
    return this.ended && this.state !== "succeeded";
  }

  accepts(event, order) {
    if (isVerdict(event)) {
      // It has the place of the last event that came, beyond which nothing is known.
      const known = event.type === "stalled" && this.stalled;
      return !later(this.order, order) && !this.ended && !known;
    }
    if (!later(order, this.order)) return false;
    const sameRun = event.run === this.order[0];
    // A second opinion about the end of a task (the worker's parent, say) changes nothing.
    return this.presumed || !(this.ended && (sameRun || isEnd(event.type)));
  }

  apply(event, order, data) {
    this.#place(event, order, data);
    if (event.type === "stalled") {
      this.stalled = true;
      return;
    }
    const end = isEnd(event.type);
    this.stalled = false;
    this.presumed = isVerdict(event) && (event.type === "lost" || event.type === "cancelled");
    this.state = end ? event.type : (STATES[event.type] ?? this.state);
    this.ended_at = end ? event.at : null;
    const why = end || event.type === "retrying" ? data : {};
    for (const key of WHY) this[key] = why[key] ?? null;
    if (event.type !== "progress") return;
    this.bars = objects(data.bars);
    this.meta = data.meta ?? {};
  }

  #place(event, order, data) {
    const [run, seq] = this.order;
    let attempt = this.attempt;
    if (event.run > run) {
      this.bars = [];
      this.meta = {};
      // With these no execution begins: they may be the word of a worker's parent about it.
      if (event.run > 0 && !isEnd(event.type) && event.type !== "retrying") attempt += 1;
      this.incomplete ||= event.seq > 0 || event.type === "progress";
    } else this.incomplete ||= event.seq > seq + (event.type === "progress" || isVerdict(event) ? 0 : 1);
    this.order = order;
    // A task that is delivered again says the same number as the first time.
    this.attempt = Math.max(attempt, data.attempt ?? 0);
  }
}

export class Snapshot {
  #tasks = new Map();
  #given = null; // what the server folded, as long as no event came after it
  #planned = 0; // tasks with which it was enqueued, and which those added
  #spawned = 0;
  #givenTotal = 0;
  #asked = null; // once somebody asked for it to be cancelled: why it takes long, or ""
  #estimate = {};
  #unlisted = 0; // ended tasks that the server's snapshot counts and does not list
  #givenMeta = {}; // what the server's snapshot says, and what its listed tasks do
  #listedMeta = {};
  #incomplete = false;
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
    self.#planned = given.planned ?? 0;
    self.#spawned = given.spawned ?? 0;
    self.#givenTotal = given.total ?? 0;
    self.#estimate = { queue: given.queue, eta: given.eta };
    self.#unlisted = Math.max(0, (given.done ?? 0) - self.#endedHere());
    [self.#listedMeta, self.#givenMeta] = [self.meta, given.meta ?? {}];
    self.#incomplete = Boolean(given.incomplete);
    if (given.cancelling) self.#asked = (given.state === "cancelling" && given.reason) || "";
    self.#result = { result: given.result, result_omitted: given.result_omitted };
    for (const task of self.#tasks.values())
      if (task.state === "succeeded") self.#resultRun = Math.max(self.#resultRun, task.order[0]);
    return self;
  }

  /** Fold one event in; false if it was a duplicate or stale, and changed nothing. */
  apply(event) {
    const data = event.data !== null && typeof event.data === "object" ? event.data : {};
    if (event.type === "cancelling") return this.#cancel(event, data);
    if (event.type === "estimate") return this.#expect(data);
    const order = [event.run, event.seq, event.tick];
    const task = this.#tasks.get(event.task) ?? new TaskState({ task: event.task, name: event.name });
    if (!task.accepts(event, order)) return this.#late(event);
    this.#given = null;
    if (!this.#tasks.has(event.task)) {
      this.#tasks.set(event.task, task);
      this.#spawned += data.more ?? 0;
    }
    task.apply(event, order, data);
    this.#describe(event, data);
    this.#times(event, data);
    if (isEnd(event.type) && this.ended) this.#settle();
    return true;
  }

  // What is of no use any more once the job is over.
  #settle() {
    this.#estimate = {};
    if (this.#asked) this.#asked = "";
  }

  // Taken from a `queued` that a fast worker overtook: what nobody else tells.
  #late(event) {
    if (event.type === "queued" && event.task === this.job && this.queued_at === null) {
      this.queued_at = event.at;
      this.#given = null;
    }
    return false;
  }

  #cancel(event, data) {
    const reason = data.reason ?? "";
    if (this.ended || (this.cancelling && (reason === "" || reason === this.#asked))) return false;
    this.#asked = reason;
    this.at = Math.max(this.at, event.at);
    this.#given = null;
    return true;
  }

  #expect(data) {
    if (this.ended) return false;
    this.#estimate = data;
    this.#given = null;
    return true;
  }

  #describe(event, data) {
    if (!this.name || (event.task === this.job && event.run === 0)) this.name = event.name;
    this.owner ||= event.owner;
    this.#planned = Math.max(this.#planned, data.total ?? 0);
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
    const known = Math.max(this.#tasks.size + this.#unlisted, this.#givenTotal);
    return Math.max(this.#planned + this.#spawned, known);
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
    if (this.cancelling) return "cancelling";
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
    if (this.ended) return false;
    for (const task of this.#tasks.values()) if (task.stalled) return true;
    return false;
  }

  /** Whether somebody asked for it to be cancelled. */
  get cancelling() {
    return this.#asked !== null;
  }

  /** Why it ended, is tried again, or is not cancelled yet; null for no reason. */
  get reason() {
    return this.#why.reason ?? null;
  }

  /** Seconds since the epoch at which it is tried again at the earliest; null if it is not. */
  get retry_at() {
    return this.#why.retry_at ?? null;
  }

  get #why() {
    if (this.#given) return this.#given;
    const failure = this.#failure();
    if (failure) return failure;
    const { state } = this;
    if (state === "cancelling") return { reason: this.#asked || null };
    if (state !== "retrying") return {};
    return this.#byBeginning().find((task) => task.state === "retrying") ?? {};
  }

  /** {name, ahead, workers} of the queue in which it waits; null while unknown, or when it does not. */
  get queue() {
    return this.state === "queued" ? (this.#estimate.queue ?? null) : null;
  }

  /** {earliest, latest, jobs}: when it is expected to be over; null while unknown. */
  get eta() {
    return this.ended ? null : (this.#estimate.eta ?? null);
  }

  /** The tasks that are listed: those that go on first, then what went wrong. */
  get tasks() {
    const place = (task) => [Number(task.ended), Number(!task.failed), task.order[0]];
    return [...this.#tasks.values()].sort((a, b) => {
      const [left, right] = [place(a), place(b)];
      return left[0] - right[0] || left[1] - right[1] || left[2] - right[2] || (a.task < b.task ? -1 : 1);
    });
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

  /** {class, message} of what went wrong, once the job ended by it or is tried again; else null. */
  get error() {
    return this.#why.error ?? null;
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
