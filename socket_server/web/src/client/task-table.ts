/** The tasks of one job, with their counts and their order kept as they change. The twin of bridge/task_table.py. */
import { Heap } from "./heap.js";
import type { JobEvent, State } from "./protocol.js";
import { TaskState } from "./task-state.js";

/** Tasks that are listed at most; the counts cover all of them. */
export const MAX_TASKS = 100;

/** Outdated entries of a heap beyond as many as there are tasks, after which it is made anew. */
const SPARE = 64;
const GROUPS: Partial<Record<State, number>> = { running: 0, retrying: 1, queued: 2, succeeded: 4 };
const WENT_WRONG = 3;

export type Kind = State | "incomplete" | "stalled" | "presumed" | "ended";

/** What tasks are listed by: what goes on, what went wrong, then the rest. */
interface Place {
  readonly group: number;
  readonly run: number;
  readonly task: TaskState;
}

interface End {
  readonly at: number;
  readonly task: TaskState;
}

interface Standing {
  readonly place: Place;
  readonly end: End | null;
  readonly kinds: readonly Kind[];
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

function kindsOf(task: TaskState): Kind[] {
  const kinds: Kind[] = [task.state];
  if (task.ended) kinds.push("ended");
  if (task.incomplete) kinds.push("incomplete");
  if (task.stalled) kinds.push("stalled");
  if (task.presumed) kinds.push("presumed");
  return kinds;
}

function standing(task: TaskState): Standing {
  const place = { group: GROUPS[task.state] ?? WENT_WRONG, run: task.run, task };
  return { place, end: task.failed ? { at: task.ended_at ?? 0, task } : null, kinds: kindsOf(task) };
}

export class TaskTable {
  #tasks = new Map<string, TaskState>();
  /** Where each task stood when it was last counted. */
  #standings = new Map<TaskState, Standing>();
  #counts = new Map<Kind, number>();
  #waiting = new Set<TaskState>();
  #withMeta = new Set<TaskState>();
  // Both have outdated entries, which are dropped where they come to the top.
  #places = new Heap<Place>(byPlace);
  #failed = new Heap<End>(byEnd);

  constructor(tasks: Iterable<TaskState> = []) {
    for (const task of tasks) this.#move(task);
  }

  get size(): number {
    return this.#tasks.size;
  }

  get(task: string): TaskState | undefined {
    return this.#tasks.get(task);
  }

  /** The task that was heard of first. */
  get first(): TaskState | undefined {
    return this.#tasks.values().next().value;
  }

  values(): Iterable<TaskState> {
    return this.#tasks.values();
  }

  /** Fold an event into a task, which is added if it is new. */
  fold(task: TaskState, event: JobEvent): void {
    task.apply(event);
    this.#move(task);
  }

  /** Call all tasks that wait cancelled; whether there were any. */
  presumeCancelled(at: number, reason: string | null): boolean {
    const waiting = [...this.#waiting];
    for (const task of waiting) {
      task.presume("cancelled", at, reason);
      this.#move(task);
    }
    return waiting.length > 0;
  }

  /** How many tasks are in a state, have ended, or are incomplete, stalled or presumed to have ended. */
  count(kind: Kind): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** The task that was the first to end as it should not. */
  firstFailed(): TaskState | null {
    for (let top = this.#failed.top; top; top = this.#failed.top) {
      if (this.#standings.get(top.task)?.end === top) return top.task;
      this.#failed.pop();
    }
    return null;
  }

  /** The first tasks by their place. */
  listed(most = MAX_TASKS): TaskState[] {
    const found: Place[] = [];
    while (found.length < most) {
      const place = this.#places.pop();
      if (!place) break;
      if (this.#standings.get(place.task)?.place === place) found.push(place);
    }
    for (const place of found) this.#places.push(place);
    return found.map((place) => place.task);
  }

  /** Tasks that said something about themselves, the one begun last at the end. */
  withMeta(): TaskState[] {
    return [...this.#withMeta].sort(byBeginning);
  }

  #move(task: TaskState): void {
    this.#tasks.set(task.task, task);
    if (Object.keys(task.meta).length) this.#withMeta.add(task);
    else this.#withMeta.delete(task);
    const before = this.#standings.get(task);
    const after = standing(task);
    for (const kind of before?.kinds ?? []) this.#counts.set(kind, this.count(kind) - 1);
    for (const kind of after.kinds) this.#counts.set(kind, this.count(kind) + 1);
    if (task.state === "queued" || task.state === "retrying") this.#waiting.add(task);
    else this.#waiting.delete(task);
    this.#standings.set(task, this.#push(before, after));
  }

  // What has not changed keeps its entry in the heap.
  #push(before: Standing | undefined, after: Standing): Standing {
    const samePlace = before && byPlace(before.place, after.place) === 0;
    const sameEnd = before?.end && after.end && byEnd(before.end, after.end) === 0;
    const now = { ...after, place: samePlace ? before.place : after.place, end: sameEnd ? before.end : after.end };
    const limit = 2 * this.#tasks.size + SPARE;
    if (!samePlace) this.#places.push(now.place);
    if (now.end && !sameEnd) this.#failed.push(now.end);
    if (this.#places.size > limit) this.#places.keep((place) => place === now.place || this.#standings.get(place.task)?.place === place);
    if (this.#failed.size > limit) this.#failed.keep((end) => end === now.end || this.#standings.get(end.task)?.end === end);
    return now;
  }
}

