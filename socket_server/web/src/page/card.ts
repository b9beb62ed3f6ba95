/** Template of a job's card. */
import { html, nothing, type TemplateResult } from "lit";
import { legible } from "../client/legible.js";
import * as format from "../view/format.js";
import { barsAndSteps, steps } from "../view/steps.js";
import {
  badge,
  facts,
  failure,
  hints,
  notes,
  shortName,
  taskRows,
  text,
  time,
  titleOf,
  type TaskRow,
} from "../view/words.js";
import { jobHash } from "./address.js";
import type { Entry } from "./entry.js";
import { taskIn } from "./flower.js";
import { logView } from "./log-view.js";
import { plot } from "./plot.js";

/** Callbacks of a card; `cancel` and `again` are undefined where they are not allowed. */
export interface Actions {
  cancel?: ((entry: Entry) => void) | undefined;
  again?: ((entry: Entry) => void) | undefined;
  changed(entry: Entry): void;
  logOpened(entry: Entry): void;
  /** URL of Flower. */
  flower?: string | undefined;
}

/** The template of a job; `now` in seconds since the epoch. */
export function card(entry: Entry, actions: Actions, now: number): TemplateResult {
  const { snapshot } = entry;
  const name = titleOf(snapshot);
  return html`<div class="head">
      <div class="title"><h3 class="name" dir="auto" title=${legible(snapshot.name)}><a href=${jobHash(snapshot.job)}>${name}</a></h3>
        <span class="badge" data-state=${snapshot.state}>${badge(snapshot)}</span></div>
      <div class="when">${identity(snapshot, actions.flower)} <span class="time">${time(snapshot, now)}</span></div>
      ${buttons(entry, actions, name)}
    </div>
    ${barsAndSteps(snapshot, now)}
    ${snapshot.ended ? nothing : plot(entry.throughput, snapshot.bars[0])}
    ${messages(entry, now)}
    ${pairs(
      "meta",
      "What the job says about itself",
      Object.entries(snapshot.meta).map(([key, value]) => [legible(key), format.exact(value as number) || text(value)]),
    )}
    ${result(snapshot.result)} ${tasks(entry, actions, now)}
    ${logView(
      entry,
      () => actions.changed(entry),
      () => actions.logOpened(entry),
    )}`;
}

function identity({ job, tasks }: Entry["snapshot"], flower: string | undefined): TemplateResult {
  const name = legible(job);
  const short = name.slice(0, 8);
  // The job's id links to Flower only if it is the id of a task, which it need not be in a canvas.
  if (!flower || !tasks.some(({ task }) => task === job))
    return html`<span class="id" title="Job ${name}">${short}</span>`;
  return html`<a class="id" href=${taskIn(flower, job)} target="_blank" rel="noopener" title="Job ${name} in Flower">${short}</a>`;
}

function buttons(entry: Entry, actions: Actions, name: string): TemplateResult | typeof nothing {
  const { snapshot, view } = entry;
  if (snapshot.ended) {
    if (!actions.again) return nothing;
    return html`<button type="button" class="again" aria-label="Run ${name} again" @click=${() => actions.again?.(entry)}>Run again</button>`;
  }
  if (!actions.cancel) return nothing;
  const pending = view.asked || snapshot.state === "cancelling";
  const label = pending ? "Cancelling…" : "Cancel";
  return html`<button type="button" class="cancel" ?disabled=${pending} aria-label="${label} ${name}" @click=${() => actions.cancel?.(entry)}>${label}</button>`;
}

/** Template of what went wrong, and of what is to be said of a job's waiting; `now` in seconds since the epoch. */
export function messages({ snapshot, view, missing, partial }: Entry, now: number): TemplateResult {
  const wrong = failure(snapshot);
  const refusal = wrong || snapshot.ended ? "" : view.refusal;
  const note = [...hints(snapshot, now), ...notes(snapshot, { missing, partial })].join(" ");
  return html`${wrong ? html`<p class="error">${wrong}</p>` : nothing}
    ${refusal ? html`<p class="error refusal">${refusal}</p>` : nothing}
    ${snapshot.error?.traceback ? html`<pre class="result" tabindex="0" aria-label="Traceback">${legible(snapshot.error.traceback)}</pre>` : nothing}
    ${note ? html`<p class="note">${note}</p>` : nothing}`;
}

/** Template of pairs of texts; nothing if there are none. */
export function pairs(kind: "facts" | "meta", label: string, all: [string, string][]): TemplateResult | typeof nothing {
  if (!all.length) return nothing;
  return html`<dl class=${kind} aria-label=${label}>${all.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** Template of a job's result; nothing without one. */
export function result(value: unknown): TemplateResult | typeof nothing {
  if (value === undefined || value === null) return nothing;
  const found = facts(value);
  if (found) return pairs("facts", "Result", found) as TemplateResult;
  return html`<pre class="result" tabindex="0" aria-label="Result">${text(value)}</pre>`;
}

// The tasks of a canvas, unfinished ones first.
function tasks(entry: Entry, actions: Actions, now: number): TemplateResult | typeof nothing {
  const { snapshot, view } = entry;
  if (snapshot.total < 2) return nothing;
  const toggle = (event: Event) => {
    view.tasksOpen = (event.target as HTMLDetailsElement).open;
    actions.changed(entry);
  };
  const title = `Tasks (${format.number(snapshot.done)} of ${format.number(snapshot.total)} done)`;
  return html`<details class="tasks" @toggle=${toggle}><summary><span class="tasks-title">${title}</span></summary>
    <ul class="task-list">${view.tasksOpen ? taskList(snapshot, actions.flower, now) : nothing}</ul></details>`;
}

function taskList(snapshot: Entry["snapshot"], flower: string | undefined, now: number): TemplateResult {
  const { tasks, total } = snapshot;
  const left = total - tasks.length;
  return html`${taskRows(tasks).map((row) => taskRow(row, flower, snapshot, now))}
    ${left > 0 ? html`<li class="unlisted">and ${format.number(left)} more</li>` : nothing}`;
}

function taskRow(
  { task, count }: TaskRow,
  flower: string | undefined,
  snapshot: Entry["snapshot"],
  now: number,
): TemplateResult {
  const name = shortName(task.name);
  const shown =
    flower && count === 1
      ? html`<a href=${taskIn(flower, task.task)} target="_blank" rel="noopener" title="In Flower">${name}</a>`
      : html`<span>${count > 1 ? `${format.number(count)} × ${name}` : name}</span>`;
  const parts = task.steps.length ? html`<div class="task-steps">${steps(task, snapshot, now)}</div>` : nothing;
  return html`<li>${shown}<span class="badge" data-state=${task.state}>${badge(task)}</span>${parts}</li>`;
}
