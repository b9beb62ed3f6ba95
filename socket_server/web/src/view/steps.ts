/** Template of a task's steps: nested, with their states, durations and bars. */
import { html, nothing, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import type { Bar, Step } from "../client/protocol.js";
import { legible } from "../client/legible.js";
import type { Snapshot } from "../client/snapshot.js";
import type { TaskState } from "../client/task-state.js";
import { barRow, bars } from "./bars.js";
import * as format from "./format.js";

/** Steps of one level that are drawn; earlier ones are behind a click. */
const MAX_ROWS = 12;

/** A step, the steps that are its parts, and its bars. */
export interface Branch {
  step: Step;
  parts: Branch[];
  bars: Bar[];
}

/** What the rows of a task's steps have in common. */
interface Context {
  snapshot: Snapshot;
  now: number;
}

/** The outermost steps of a task; a part that comes before its whole, or without it, is one of them. */
export function branches({ steps, bars }: Pick<TaskState, "steps" | "bars">): Branch[] {
  const known = new Map<number, Branch>();
  const outermost: Branch[] = [];
  for (const step of steps) {
    const branch = { step, parts: [], bars: bars.filter((bar) => bar.step === step.id) };
    const whole = step.parent === null ? undefined : known.get(step.parent);
    (whole?.parts ?? outermost).push(branch);
    known.set(step.id, branch);
  }
  return outermost;
}

/**
 * The template of a job's bars and, of a job of one task, of its steps with theirs; `now` in seconds since the
 * epoch. The steps of several tasks are drawn with each of these.
 */
export function barsAndSteps(snapshot: Snapshot, now: number): TemplateResult {
  const only = snapshot.total < 2 ? snapshot.tasks[0] : undefined;
  const held = new Set(only?.steps.map(({ id }) => id));
  return html`<div class="bars">${bars(snapshot, held)}</div>
    ${only ? steps(only, snapshot, now) : nothing}`;
}

/** The template of a task's steps; `now` in seconds since the epoch. Nothing for a task without steps. */
export function steps(task: TaskState, snapshot: Snapshot, now: number): TemplateResult | typeof nothing {
  const { steps_omitted: omitted } = task;
  if (!task.steps.length && !omitted) return nothing;
  const more = `and ${format.number(omitted)} more ${omitted === 1 ? "step" : "steps"}`;
  return html`${level(branches(task), { snapshot, now })} ${omitted > 0 ? html`<p class="more">${more}</p>` : nothing}`;
}

function level(all: Branch[], context: Context): TemplateResult | typeof nothing {
  if (!all.length) return nothing;
  const early = all.slice(0, Math.max(0, all.length - MAX_ROWS));
  return html`${early.length ? html`<details class="early-steps"><summary>${format.number(early.length)} earlier</summary>${list(early, context)}</details>` : nothing}
    ${list(all.slice(early.length), context)}`;
}

function list(all: Branch[], context: Context): TemplateResult {
  return html`<ul class="steps" part="steps" aria-label="Steps">${repeat(
    all,
    ({ step }) => step.id,
    (branch) => html`<li class="step" part="step" data-state=${branch.step.state}>${row(branch, context)}</li>`,
  )}</ul>`;
}

// The parts of a step that has succeeded are behind a click.
function row({ step, parts, bars }: Branch, context: Context): TemplateResult {
  const head = html`<span class="step-mark" role="img" aria-label=${step.state}></span>
    <span class="step-name" dir="auto">${legible(step.name) || "step"}</span>
    <span class="step-took">${took(step, context.now)}</span>`;
  const inner = html`${bars.map((bar) => barRow(bar, 0, context.snapshot))} ${level(parts, context)}`;
  if (step.state === "succeeded" && parts.length)
    return html`<details><summary class="step-head">${head}</summary>${inner}</details>`;
  return html`<div class="step-head">${head}</div>${inner}`;
}

/** "3.2 s", or "failed · 3.2 s" for a step that did not succeed. */
export function took({ state, started_at: began, ended_at: end }: Step, now: number): string {
  const time = format.duration((end ?? now) - began, { tenths: end !== null });
  return state === "running" || state === "succeeded" ? time : `${state} · ${time}`;
}
