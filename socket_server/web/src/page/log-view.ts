/** Template of a job's log: its last line while closed, a searchable tail while open. */
import { html, noChange, nothing, type TemplateResult } from "lit";
import { directive, Directive, type ElementPart } from "lit/directive.js";
import { repeat } from "lit/directives/repeat.js";
import type { LogTail, TailLine } from "../client/log-tail.js";
import { clock } from "../view/format.js";
import { titleOf } from "../view/words.js";
import type { Entry } from "./entry.js";

const AT_THE_END = 12; // pixels from the bottom within which the log scrolls along

class Follow extends Directive {
  render(): typeof noChange {
    return noChange;
  }

  // Called before new lines are added: a log that was scrolled to the end stays there.
  override update({ element: box }: ElementPart): typeof noChange {
    const following = box.scrollHeight - box.scrollTop - box.clientHeight < AT_THE_END;
    if (following) queueMicrotask(() => (box.scrollTop = box.scrollHeight));
    return noChange;
  }
}

const follow = directive(Follow);

/** The template of a log; `changed` requests a redraw, `opened` is called when it is opened. */
export function logView(entry: Entry, changed: () => void, opened: () => void): TemplateResult {
  const { log, view, snapshot } = entry;
  const toggle = (event: Event) => {
    const { open } = event.target as HTMLDetailsElement;
    if (open === view.logOpen) return;
    view.logOpen = open;
    if (open) opened();
    changed();
  };
  const search = (event: Event) => {
    view.search = (event.target as HTMLInputElement).value;
    changed();
  };
  return html`<details class="log" ?hidden=${snapshot.state === "queued"} @toggle=${toggle}>
    <summary><span class="log-title">Log</span><span class="last">${view.logOpen ? "" : (log.lines.at(-1)?.text ?? "")}</span></summary>
    ${
      view.logOpen
        ? html`<input class="search" type="search" placeholder="Search this log" aria-label="Search the log of ${titleOf(snapshot)}" @input=${search}>
          ${lines(log, view.search, titleOf(snapshot))}`
        : nothing
    }
  </details>`;
}

function lines(log: LogTail, search: string, job: string): TemplateResult {
  const wanted = search.toLowerCase();
  const shown = wanted ? log.lines.filter(({ text }) => text.toLowerCase().includes(wanted)) : log.lines;
  const none = log.cut ? "No line that was kept has that: older lines were not kept." : "No line has that.";
  const empty = log.lines.length ? none : log.cut ? "The lines of this log were not kept." : "No log lines.";
  return html`<div class="lines" role="log" aria-live="off" tabindex="0" aria-label="Log of ${job}" ${follow()}>
    ${
      shown.length
        ? html`${log.cut ? html`<p class="nothing">Older lines were not kept.</p>` : nothing}${repeat(
            shown,
            ({ id }) => id,
            (line, index) => row(line, wanted, shown[index - 1]?.step),
          )}`
        : html`<p class="nothing">${empty}</p>`
    }
  </div>`;
}

// A step is named where it is another than that of the line `before`.
function row({ at, level, text, step }: TailLine, wanted: string, before = ""): TemplateResult {
  const told = level === "WARNING" || level === "ERROR";
  return html`<div class="line" data-level=${level}>${at === null ? nothing : html`<span class="at">${clock(at)}</span>`}${
    step && step !== before ? html`<span class="step-of">${step}</span>` : nothing
  }${
    told ? html`<span class="level">${level.toLowerCase()}</span>` : nothing
  }<span class="text">${wanted ? marked(text, wanted) : text}</span></div>`;
}

function marked(text: string, wanted: string): TemplateResult {
  const place = text.toLowerCase().indexOf(wanted);
  const end = place + wanted.length;
  return html`${text.slice(0, place)}<mark>${text.slice(place, end)}</mark>${text.slice(end)}`;
}
