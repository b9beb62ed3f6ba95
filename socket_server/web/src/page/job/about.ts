/** Template of what a job's own page shows above its tasks and its log. */
import { html, nothing, type TemplateResult } from "lit";
import { legible } from "../../client/legible.js";
import * as format from "../../view/format.js";
import { barsAndSteps } from "../../view/steps.js";
import { badge, text } from "../../view/words.js";
import { jobHash } from "../address.js";
import { messages, pairs, result } from "../card.js";
import type { Entry } from "../entry.js";
import { taskIn } from "../flower.js";
import { plot } from "../plot.js";

/** What can be done with the job; undefined where that is not allowed. */
export interface JobActions {
  cancel: (() => void) | undefined;
  again: (() => void) | undefined;
  /** URL of Flower. */
  flower: string | undefined;
}

/** The template; `now` in seconds since the epoch. */
export function about(entry: Entry, actions: JobActions, now: number): TemplateResult {
  const { snapshot, throughput } = entry;
  const meta = Object.entries(snapshot.meta);
  return html`<div class="job-state"><span class="badge" data-state=${snapshot.state}>${badge(snapshot)}</span>
      ${buttons(entry, actions)}</div>
    <dl class="facts" aria-label="About the job">${times(entry, now).map(
      ([name, value]) => html`<div><dt>${name}</dt><dd dir="auto">${value}</dd></div>`,
    )}${repeats(snapshot)}${flower(snapshot, actions.flower)}</dl>
    ${barsAndSteps(snapshot, now)}
    ${snapshot.ended ? nothing : plot(throughput, snapshot.bars[0])}
    ${messages(entry, now)}
    ${pairs(
      "meta",
      "What the job says about itself",
      meta.map(([key, value]) => [legible(key), format.exact(value as number) || text(value)]),
    )}
    ${result(snapshot.result)}`;
}

function buttons({ snapshot, view }: Entry, { cancel, again }: JobActions): TemplateResult | typeof nothing {
  if (snapshot.ended)
    return again
      ? html`<button type="button" class="again" ?disabled=${view.asked} @click=${again}>Run again</button>`
      : nothing;
  if (!cancel) return nothing;
  const pending = view.asked || snapshot.state === "cancelling";
  const label = pending ? "Cancelling…" : "Cancel";
  return html`<button type="button" class="cancel" ?disabled=${pending} @click=${cancel}>${label}</button>`;
}

function times({ snapshot }: Entry, now: number): [name: string, text: string][] {
  const { queued_at: queued, started_at: started, ended_at: ended } = snapshot;
  const waited = queued && started && started > queued ? format.duration(started - queued, { tenths: true }) : "";
  const took = started ? format.duration((ended ?? now) - started, { tenths: ended !== null }) : "";
  const all: [string, string][] = [
    ["job", legible(snapshot.job)],
    ["task", legible(snapshot.name)],
    ["owner", legible(snapshot.owner ?? "")],
    ["enqueued", format.clock(queued, now)],
    ["waited", waited],
    ["started", format.clock(started, now)],
    ["ended", format.clock(ended, now)],
    [snapshot.ended ? "took" : "runs for", took],
  ];
  return all.filter(([, value]) => value !== "");
}

function repeats({ again_of: old }: Entry["snapshot"]): TemplateResult | typeof nothing {
  if (!old) return nothing;
  return html`<div><dt>repeats</dt><dd><a href=${jobHash(old)}>${legible(old)}</a></dd></div>`;
}

// The job's id is one in Flower only if it is the id of a task, which it need not be in a canvas.
function flower({ job, tasks }: Entry["snapshot"], url: string | undefined): TemplateResult | typeof nothing {
  if (!url || !tasks.some(({ task }) => task === job)) return nothing;
  return html`<div><dt>more</dt><dd><a href=${taskIn(url, job)} target="_blank" rel="noopener">in Flower</a></dd></div>`;
}
