/** Template of a task in the tree and on the timeline. */
import { html, nothing, type TemplateResult } from "lit";
import { isEnd } from "../../client/protocol.js";
import { legible } from "../../client/legible.js";
import * as format from "../../view/format.js";
import { shortName } from "../../view/words.js";
import type { TaskTimes } from "./job-tasks.js";
import { indented, placed } from "./placed.js";
import type { TaskRow } from "./task-order.js";
import type { TimeScale } from "./time-scale.js";

/** Most levels by which a row is indented: a chain of hundreds of tasks is as deep as it is long. */
const DEEPEST = 8;

export interface RowLook {
  scale: TimeScale;
  /** Seconds since the epoch. */
  now: number;
  /** Whether the rows are a tree's. */
  tree: boolean;
  /** Id of the task that is chosen; "" without one. */
  chosen: string;
}

/** Id of a row's element; `index` is that of the row. */
export function rowId(index: number): string {
  return `task-${index}`;
}

export function taskRow(row: TaskRow, index: number, look: RowLook): TemplateResult {
  const { task, level } = row;
  const name = shortName(task.name);
  const content = html`<span class="task-name" ${indented(Math.min(level - 1, DEEPEST))}>
      ${look.tree ? html`<span class="twist" data-open=${row.below ? row.open : nothing} aria-hidden="true"></span>` : nothing}
      <span class="dot" data-state=${task.state} aria-hidden="true"></span><span class="what" title=${legible(task.name)} dir="auto">${name}</span>
      ${level - 1 > DEEPEST ? html`<span class="deep" title="Level">${level}</span>` : nothing}
      ${row.below && !row.open ? html`<span class="below">+ ${format.number(row.below)}</span>` : nothing}</span>
    <span class="task-state" data-state=${task.state}>${task.state}</span>
    <span class="task-took">${took(task, look.now)}</span>
    <span class="task-line" aria-hidden="true">${line(task, look)}</span>`;
  if (!look.tree)
    return html`<div class="task-row" role="option" aria-selected=${task.task === look.chosen} id=${rowId(index)} data-task=${task.task} data-index=${index}
        aria-posinset=${row.position} aria-setsize=${row.siblings} data-chosen=${task.task === look.chosen}>${content}</div>`;
  return html`<div class="task-row" role="treeitem" id=${rowId(index)} data-task=${task.task} data-index=${index}
      aria-level=${level} aria-posinset=${row.position} aria-setsize=${row.siblings}
      aria-expanded=${row.below ? row.open : nothing} aria-selected=${task.task === look.chosen}
      data-chosen=${task.task === look.chosen} data-parent=${task.parent ?? nothing}>${content}</div>`;
}

function took({ started_at: start, ended_at: end }: TaskTimes, now: number): string {
  return start ? format.duration((end ?? now) - start, { tenths: true }) : "";
}

// How long a task waited, and how long it ran.
function line({ state, queued_at: queued, started_at: started, ended_at: ended }: TaskTimes, { scale, now }: RowLook) {
  const until = ended ?? now;
  const waited = queued && queued < (started ?? until) ? scale.span(queued, started ?? until) : null;
  const ran = started ? scale.span(started, Math.max(until, started)) : null;
  return html`${waited ? html`<i class="waited" ${placed(waited)}></i>` : nothing}
    ${ran ? html`<i class="ran" data-state=${state} data-live=${!isEnd(state)} ${placed(ran)}></i>` : nothing}`;
}

/** What is known of a task, as pairs of texts; `now` in seconds since the epoch. */
export function taskFacts(task: TaskTimes, parent: TaskTimes | undefined, now: number): [name: string, text: string][] {
  const { queued_at: queued, started_at: started, ended_at: ended, attempt } = task;
  const wait = queued && started && started > queued ? format.duration(started - queued, { tenths: true }) : "";
  const all: [string, string][] = [
    ["task", legible(task.name)],
    ["id", legible(task.task)],
    ["state", (attempt ?? 0) > 1 ? `${task.state}, attempt ${attempt}` : task.state],
    ["published by", parent ? shortName(parent.name) : task.parent ? legible(task.parent) : ""],
    ["queued", format.clock(queued, now)],
    ["waited", wait],
    ["started", format.clock(started, now)],
    ["ended", format.clock(ended, now)],
    [ended ? "took" : "runs for", took(task, now)],
  ];
  return all.filter(([, text]) => text !== "");
}
