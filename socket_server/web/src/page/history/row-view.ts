/** Template of a job in the history. */
import { html, nothing, type TemplateResult } from "lit";
import { legible } from "../../client/legible.js";
import * as format from "../../view/format.js";
import { badge, titleOf } from "../../view/words.js";
import { jobHash } from "../address.js";
import type { Row } from "./row.js";

/** Where a row is: its index, the number of all rows (-1 while unknown), and whether Tab leads to it. */
export interface At {
  index: number;
  count: number;
  reached: boolean;
}

/** The template of a row; `now` in seconds since the epoch, `owners`: whether to name the job's owner. */
export function rowView({ shown }: Row, at: At, now: number, owners: boolean): TemplateResult {
  const { name, state, error, reason } = shown;
  const wrong = [error?.class, error?.message].filter(Boolean).join(": ");
  const more = wrong || (reason ?? "");
  const facts = [owners ? (shown.owner ?? "no owner") : "", name, tasks(shown)];
  return html`<li class="found" data-job=${shown.job} data-index=${at.index} data-state=${state}
      aria-posinset=${at.index + 1} aria-setsize=${at.count}>
    <span class="badge" data-state=${state}>${badge(shown)}</span>
    <div class="about"><a class="name" dir="auto" href=${jobHash(shown.job)} tabindex=${at.reached ? 0 : -1}
        title=${legible(name)}>${titleOf(shown)}</a>
      <span class="facts" dir="auto">${legible(facts.filter(Boolean).join(" · "))}</span>
      ${more ? html`<span class="why" dir="auto" data-wrong=${wrong !== ""} title=${legible(more)}>${line(more)}</span>` : nothing}</div>
    <div class="times"><span>${format.clock(shown.queued_at, now)}</span> <span>${took(shown, now)}</span></div>
  </li>`;
}

function tasks({ total, done, ended }: Row["shown"]): string {
  if (total < 2) return "";
  return ended ? `${format.number(total)} tasks` : `${format.number(done)} of ${format.number(total)} tasks`;
}

function took({ started_at: start, ended_at: end, ended }: Row["shown"], now: number): string {
  if (!start) return "";
  if (ended) return end ? `took ${format.duration(end - start, { tenths: true })}` : "";
  return `for ${format.duration(now - start)}`;
}

// A message of many lines would be cut in the middle of the first one.
function line(text: string): string {
  return legible(text).replaceAll(/\s+/g, " ");
}
