/**
 * `TaskTable`: the tasks of one job, with counts and an order that follow each change. The twin of
 * bridge/protocol/task_table.py.
 */
import { Heap } from "./heap.js";
import type { JobEvent, State } from "./protocol.js";
import { NO_META, type End, type Place, type TaskState } from "./task-state.js";

/** Maximum tasks that are listed; the counts cover all tasks. */
export const MAX_TASKS = 100;

/** A heap is rebuilt when it has more entries than twice the number of tasks plus this. */
const SPARE = 64;
const GROUPS: Partial<Record<State, number>> = { running: 0, retrying: 1, queued: 2, succeeded: 4 };
const WENT_WRONG = 3;

export type Kind = State | "incomplete" | "stalled" | "presumed" | "ended";

/** The fields of a task on which its job's counts and order depend. */
interface Standing {
  readonly state: State;
  readonly flags: number;
  readonly run: number;
  readonly ended_at: number | null;
}

function byId(a: TaskState, b: TaskState): number {
  return a.task === b.task ? 0 : a.task < b.task ? -1 : 1;
}

function byPlace(a: Place, b: Place): number {
  return a.group - b.group || a.run - b.run || byId(a.task, b.task);
}

function byEnd(a: End, b: End): number {
  return a.at - b.at || byId(a.task, b.task);
}

export function byBeginning(a: TaskState, b: TaskState): number {
  return a.run - b.run || byId(a, b);
}

const FLAGS = ["ended", "incomplete", "stalled", "presumed"] as const;

function flagsOf(task: TaskState): number {
  return (task.ended ? 1 : 0) | (task.incomplete ? 2 : 0) | (task.stalled ? 4 : 0) | (task.presumed ? 8 : 0);
}

function standing(task: TaskState): Standing {
  return { state: task.state, flags: flagsOf(task), run: task.run, ended_at: task.ended_at };
}

function same(a: Standing, b: Standing): boolean {
  return a.state === b.state && a.flags === b.flags && a.run === b.run && a.ended_at === b.ended_at;
}

function waits(state: State): boolean {
  return state === "queued" || state === "retrying";
}

export class TaskTable {
  // Of many tasks, most are not in the CPU's cache: one look-up gives all that an event needs.
  #tasks = new Map<string, TaskState>();
  #counts = new Map<Kind, number>();
  #withMeta = new Set<TaskState>();
  // Outdated entries of both heaps are dropped when they come to the top.
  #places = new Heap<Place>(byPlace);
  #failed = new Heap<End>(byEnd);

  constructor(tasks: Iterable<TaskState> = []) {
    for (const task of tasks) this.#move(task, null);
  }

  get size(): number {
    return this.#tasks.size;
  }

  get(task: string): TaskState | undefined {
    return this.#tasks.get(task);
  }

  /** The task whose first event came first. */
  get first(): TaskState | undefined {
    return this.values().next().value;
  }

  values(): MapIterator<TaskState> {
    return this.#tasks.values();
  }

  /** Fold an event into a task, which is added if it is new. */
  fold(task: TaskState, event: JobEvent): void {
    const before = task.place && standing(task);
    task.apply(event);
    this.#move(task, before);
  }

  /** Mark all waiting tasks as cancelled; return whether there were any. */
  presumeCancelled(at: number, reason: string | null): boolean {
    const waiting = [...this.values()].filter((task) => waits(task.state));
    for (const task of waiting) {
      const before = standing(task);
      task.presume("cancelled", at, reason);
      this.#move(task, before);
    }
    return waiting.length > 0;
  }

  /** Number of tasks in a state, or that are `ended`, `incomplete`, `stalled` or `presumed`. */
  count(kind: Kind): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** The task that was the first to end without success; null if there is none. */
  firstFailed(): TaskState | null {
    for (let top = this.#failed.top; top; top = this.#failed.top) {
      if (isEnd(top)) return top.task;
      this.#failed.pop();
    }
    return null;
  }

  /** The first tasks in order of their place, `most` at most. */
  listed(most = MAX_TASKS): TaskState[] {
    const found: Place[] = [];
    while (found.length < most) {
      const place = this.#places.pop();
      if (!place) break;
      if (isPlace(place)) found.push(place);
    }
    for (const place of found) this.#places.push(place);
    return found.map((place) => place.task);
  }

  /** Tasks with meta, the one that began last at the end. */
  withMeta(): TaskState[] {
    return [...this.#withMeta].sort(byBeginning);
  }

  /** Update counts and heaps after a change of a task; `before` is null for a new task. */
  #move(task: TaskState, before: Standing | null): void {
    if (task.meta !== NO_META && Object.keys(task.meta).length) this.#withMeta.add(task);
    else if (this.#withMeta.size) this.#withMeta.delete(task);
    const after = standing(task);
    if (before && same(before, after)) return;
    if (before) this.#tally(before, -1);
    this.#tally(after, 1);
    this.#enter(task);
  }

  #tally({ state, flags }: Standing, by: number): void {
    this.#counts.set(state, this.count(state) + by);
    FLAGS.forEach((kind, bit) => flags & (1 << bit) && this.#counts.set(kind, this.count(kind) + by));
  }

  // A heap gets a new entry only if the task's sort key has changed.
  #enter(task: TaskState): void {
    const group = GROUPS[task.state] ?? WENT_WRONG;
    if (!task.place) this.#tasks.set(task.task, task);
    if (task.place?.group !== group || task.place.run !== task.run)
      this.#places.push((task.place = { group, run: task.run, task }));
    const at = task.failed ? (task.ended_at ?? 0) : null;
    if (at === null) task.end = null;
    else if (task.end?.at !== at) this.#failed.push((task.end = { at, task }));
    const limit = 2 * this.size + SPARE;
    if (this.#places.size > limit) this.#places.keep(isPlace);
    if (this.#failed.size > limit) this.#failed.keep(isEnd);
  }
}

function isPlace(place: Place): boolean {
  return place.task.place === place;
}

function isEnd(end: End): boolean {
  return end.task.end === end;
}
