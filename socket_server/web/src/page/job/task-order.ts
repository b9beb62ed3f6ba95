/** The tasks of a job as rows: of a tree, or in the order in which they began. Pure. */
import type { TaskTimes } from "./job-tasks.js";

/** A row; `position` and `siblings`: its place, from 1, among the children of its parent, and their number. */
export interface TaskRow {
  task: TaskTimes;
  /** From 1; in the order of time always 1. */
  level: number;
  position: number;
  siblings: number;
  /** Tasks below it; 0 in the order of time. */
  below: number;
  open: boolean;
}

const ROOTS = "";

/** Tasks in the order in which they began; those that wait come last. */
export function byTime(tasks: Iterable<TaskTimes>): TaskRow[] {
  const sorted = [...tasks].sort(earlier);
  return sorted.map((task, index) => {
    return { task, level: 1, position: index + 1, siblings: sorted.length, below: 0, open: false };
  });
}

/**
 * Tasks below the tasks that published them, those of a parent in the order in which they began.
 *
 * A task whose parent is not known is a root. What is below a task in `closed` is left out.
 */
export function asTree(tasks: Iterable<TaskTimes>, closed: ReadonlySet<string>): TaskRow[] {
  const children = childrenOf([...tasks]);
  const below = counted(children);
  const rows: TaskRow[] = [];
  const waiting = rowsOf(ROOTS, 1);
  while (waiting.length) {
    const row = waiting.pop() as TaskRow;
    rows.push(row);
    if (row.open) waiting.push(...rowsOf(row.task.task, row.level + 1));
  }
  return rows;

  // Reversed: the last one is taken first.
  function rowsOf(parent: string, level: number): TaskRow[] {
    const all = children.get(parent) ?? [];
    const made = all.map((task, index) => {
      const under = below.get(task.task) ?? 0;
      const open = under > 0 && !closed.has(task.task);
      return { task, level, position: index + 1, siblings: all.length, below: under, open };
    });
    return made.reverse();
  }
}

function childrenOf(tasks: TaskTimes[]): Map<string, TaskTimes[]> {
  const known = new Map(tasks.map((task) => [task.task, task]));
  const circular = new Map<TaskTimes, boolean>();
  const children = new Map<string, TaskTimes[]>();
  for (const task of tasks) {
    const parent = task.parent && known.has(task.parent) && !isCircular(task, known, circular) ? task.parent : ROOTS;
    const others = children.get(parent);
    if (others) others.push(task);
    else children.set(parent, [task]);
  }
  for (const all of children.values()) all.sort(earlier);
  return children;
}

// A publisher may name any parent: a task that is its own ancestor would be below no root.
function isCircular(task: TaskTimes, known: Map<string, TaskTimes>, circular: Map<TaskTimes, boolean>): boolean {
  const path = new Set<TaskTimes>();
  let at: TaskTimes | undefined = task;
  while (at && !path.has(at) && !circular.has(at)) {
    path.add(at);
    at = known.get(at.parent ?? ROOTS);
  }
  const found = at !== undefined && (circular.get(at) ?? true);
  for (const one of path) circular.set(one, found);
  return found;
}

/** Number of tasks below each task that has any. */
function counted(children: Map<string, TaskTimes[]>): Map<string, number> {
  const order: TaskTimes[] = [...(children.get(ROOTS) ?? [])];
  for (let index = 0; index < order.length; index += 1)
    order.push(...(children.get((order[index] as TaskTimes).task) ?? []));
  const below = new Map<string, number>();
  for (const { task } of order.reverse())
    for (const child of children.get(task) ?? [])
      below.set(task, (below.get(task) ?? 0) + 1 + (below.get(child.task) ?? 0));
  return below;
}

function earlier(a: TaskTimes, b: TaskTimes): number {
  return began(a) - began(b) || waited(a) - waited(b) || (a.task < b.task ? -1 : 1);
}

function began({ started_at: started, ended_at: ended }: TaskTimes): number {
  return started ?? ended ?? Number.MAX_VALUE;
}

function waited({ queued_at: queued }: TaskTimes): number {
  return queued ?? Number.MAX_VALUE;
}
