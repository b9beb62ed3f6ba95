/** Template of a job's bars, one row each, 8 at most. */
import { html, nothing, type TemplateResult } from "lit";
import type { Bar } from "../client/protocol.js";
import { legible } from "../client/legible.js";
import type { Snapshot } from "../client/snapshot.js";
import * as format from "./format.js";
import { share as at } from "./share.js";
import { titleOf } from "./words.js";

const MAX_BARS = 8;
const MAX_DEPTH = 3;
const NO_STEPS: ReadonlySet<number> = new Set();
const WAITING: Partial<Record<string, string>> = {
  queued: "waiting for a worker",
  retrying: "waiting to be tried again",
};

/** The template of a snapshot's bars, but for those of the steps with these ids, which have rows of their own. */
export function bars(snapshot: Snapshot, steps: ReadonlySet<number> = NO_STEPS): TemplateResult | typeof nothing {
  // The steps of a job without bars show that it runs.
  const none = steps.size > 0 && snapshot.state === "running" && !snapshot.bars.length;
  const all = (none ? [] : drawn(snapshot)).filter(({ step }) => step === undefined || !steps.has(step));
  if (!all.length) return nothing;
  const shown = all.slice(0, MAX_BARS);
  const more = all.length - shown.length;
  return html`${shown.map((bar, index) => barRow(bar, depth(snapshot, bar, index), snapshot))}
    ${more > 0 ? html`<p class="more">and ${more} more running</p>` : nothing}`;
}

function drawn(snapshot: Snapshot): Bar[] {
  const { bars } = snapshot;
  if (bars.length || snapshot.ended) return bars;
  const desc = WAITING[snapshot.state] ?? "";
  const empty = {
    position: 0,
    n: 0,
    total: null,
    unit: "",
    unit_scale: false,
    rate: null,
    eta: null,
    elapsed: 0,
    postfix: "",
    closed: false,
  };
  return [{ ...empty, desc, idle: desc !== "" || snapshot.stalled }];
}

function depth(snapshot: Snapshot, bar: Bar, index: number): number {
  const own = Number.isFinite(bar.position) ? bar.position : 0;
  return Math.min(MAX_DEPTH, Math.max(0, snapshot.total > 1 && index > 0 ? own + 1 : own));
}

/** The template of one bar; `level` is how deep it is nested, from 0. */
export function barRow(bar: Bar, level: number, snapshot: Snapshot): TemplateResult {
  const share = format.fraction(bar);
  const numbers = bar.idle ? "" : figures(bar, share, snapshot.ended);
  const label = legible(bar.desc || "");
  const look = share !== null ? "share" : bar.idle ? "idle" : snapshot.ended || bar.closed ? "done" : "unknown";
  const most = share === null ? nothing : (bar.total as number);
  const now = share === null ? nothing : Math.min(Math.max(bar.n, 0), bar.total as number);
  return html`<div class="bar" part="bar" data-depth=${level}>
    <div class="what"><span class="desc" part="description" dir="auto" title=${label} @click=${unfold}>${label}</span>
      <span class="postfix" dir="auto">${legible(bar.postfix ?? "")}</span></div>
    <div class="numbers" part="numbers">${numbers}</div>
    <div class="track" part="track" role="progressbar" data-look=${look}
      aria-label=${label || titleOf(snapshot)} aria-valuemin="0"
      aria-valuemax=${most} aria-valuenow=${now}
      aria-valuetext=${numbers || (bar.idle ? "waiting" : "working")}><div class="fill" part="fill" ${at(share)}></div></div>
  </div>`;
}

// A long description takes one line; a click shows all of it, as its title does where there is a pointer.
function unfold({ currentTarget }: Event): void {
  (currentTarget as HTMLElement).classList.toggle("whole");
}

function figures(bar: Bar, share: number | null, ended: boolean): string {
  const parts = [format.percent(share), bar.n > 0 || share !== null ? format.count(bar) : ""];
  if (!ended && !bar.closed) {
    parts.push(format.rate(bar));
    if ((bar.eta ?? 0) >= 0.5) parts.push(`${format.duration(bar.eta)} left`);
  }
  return parts.filter(Boolean).join(" · ");
}
