/** `JobTasks`: the tasks of a job with their parents and times, from the server's list and from events. */
import { isEnd, isVerdict, type JobEvent, type State } from "../../client/protocol.js";

/** A task as `GET /api/jobs/<id>/tasks` lists it; times in seconds since the epoch. */
export interface TaskTimes {
  task: string;
  /** Id of the task that published it; null if that is unknown, or was none. */
  parent: string | null;
  name: string;
  state: State;
  queued_at: number | null;
  started_at: number | null;
  ended_at: number | null;
  attempt?: number | null;
}

/** A page of that list. */
export interface TasksFound {
  tasks: TaskTimes[];
  next?: string | null;
}

const STATES: Partial<Record<string, State>> = {
  queued: "queued",
  started: "running",
  progress: "running",
  log: "running",
  output: "running",
  retrying: "retrying",
};

export class JobTasks {
  #tasks = new Map<string, TaskTimes>();
  /** Runs and numbers of the newest event of each task. */
  #places = new Map<string, [run: number, seq: number]>();
  /** Changes with each new task, parent and start: what order and tree depend on. */
  version = 0;

  get size(): number {
    return this.#tasks.size;
  }

  get(task: string): TaskTimes | undefined {
    return this.#tasks.get(task);
  }

  values(): IterableIterator<TaskTimes> {
    return this.#tasks.values();
  }

  /** Take over what the server lists; events may have told more of a task by then. */
  take(listed: TaskTimes[]): void {
    for (const given of listed) {
      const known = this.#tasks.get(given.task);
      if (!known) this.#tasks.set(given.task, { ...given });
      else if (isEnd(given.state) || !this.#places.has(given.task)) Object.assign(known, merged(known, given));
      else Object.assign(known, merged(given, known));
    }
    this.version += 1;
  }

  /** Fold in an event; false if it tells nothing about tasks. */
  apply(event: JobEvent): boolean {
    if (event.data?.["waiting"] && isVerdict(event)) return this.#sweep(event.at);
    const state = isEnd(event.type) ? event.type : STATES[event.type];
    if (state === undefined || !this.#isNews(event)) return false;
    const task = this.#task(event);
    const before = JSON.stringify(task);
    this.#move(task, state, event);
    return JSON.stringify(task) !== before;
  }

  #task({ task, name }: JobEvent): TaskTimes {
    const known = this.#tasks.get(task);
    if (known) return known;
    const times = { queued_at: null, started_at: null, ended_at: null };
    const added: TaskTimes = { task, name, parent: null, state: "queued", ...times };
    this.#tasks.set(task, added);
    this.version += 1;
    return added;
  }

  #move(task: TaskTimes, state: State, { type, at, data }: JobEvent): void {
    if (type === "queued") task.queued_at ??= at;
    // What came before a task's end may arrive after the server's list with it.
    if (task.ended_at !== null && !isEnd(state) && at <= task.ended_at) return;
    if (type !== "queued") task.state = state;
    task.ended_at = isEnd(state) ? at : null;
    const parent = data?.["parent"];
    if (typeof parent === "string" && parent !== task.parent) {
      task.parent = parent;
      this.version += 1;
    }
    if (type !== "started" || task.started_at !== null) return;
    task.started_at = at;
    this.version += 1;
  }

  // A verdict that all tasks which wait are cancelled.
  #sweep(at: number): boolean {
    const waiting = [...this.#tasks.values()].filter(({ state }) => state === "queued" || state === "retrying");
    for (const task of waiting) Object.assign(task, { state: "cancelled", ended_at: at });
    return waiting.length > 0;
  }

  #isNews(event: JobEvent): boolean {
    if (isVerdict(event)) return true;
    const { task, run, seq } = event;
    const [lastRun, lastSeq] = this.#places.get(task) ?? [-1, -1];
    if (run < lastRun || (run === lastRun && seq < lastSeq)) return false;
    this.#places.set(task, [run, seq]);
    return true;
  }
}

/** `newer`, with what only `older` knows. */
function merged(older: TaskTimes, newer: TaskTimes): TaskTimes {
  const { parent, queued_at, started_at } = older;
  return {
    ...newer,
    parent: newer.parent ?? parent,
    queued_at: newer.queued_at ?? queued_at,
    started_at: newer.started_at ?? started_at,
  };
}
