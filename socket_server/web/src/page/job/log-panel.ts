/** `LogPanel`: a job's log, followed live, searched, and saved as a file. */
import { html, nothing, type TemplateResult } from "lit";
import type { TailLine } from "../../client/log-tail.js";
import type { JobEvent } from "../../client/protocol.js";
import { clock } from "../../view/format.js";
import type { Api } from "../api.js";
import { byId, setNote, setText } from "../dom.js";
import { VirtualList } from "../virtual-list.js";
import { LogLines } from "./log-lines.js";
import { LogSearch } from "./log-search.js";
import { AT_ONCE, fileName, MOST, readLog, saveLog } from "./log-text.js";

const AT_THE_END = 12; // pixels from the bottom within which the log scrolls along
const SEARCHED = 500; // least milliseconds between two searches of a log that grows
const OLDER = "Older lines are not shown here.";
const PART = "This is the beginning of a long log.";

export class LogPanel {
  #api: Api;
  #job: string;
  #lines = new LogLines();
  #search = new LogSearch(this.#lines);
  #box = byId("log-box");
  #list: VirtualList;
  #follow = byId<HTMLInputElement>("log-follow");
  /** Id of the first line of events at the last drawing. */
  #dropped = 0;
  #searched = 0;
  #fault = "";
  #note = "";
  #loading = false;
  #ended = false;
  #stop = new AbortController();
  /** What the job is called, for the name of a file. */
  title = "job";

  constructor(api: Api, job: string) {
    this.#api = api;
    this.#job = job;
    this.#list = new VirtualList({ list: byId("log-rows"), scroller: this.#box, row: (index) => this.#row(index) });
    const { signal } = this.#stop;
    const on = (id: string, name: string, listener: (event: Event) => void) =>
      byId(id).addEventListener(name, listener, { signal });
    on("log-search", "input", () => this.#find());
    on("log-search", "keydown", (event) => this.#key(event as KeyboardEvent));
    on("log-previous", "click", () => this.#step(-1));
    on("log-next", "click", () => this.#step(1));
    on("log-follow", "change", () => this.draw());
    on("log-download", "click", () => void this.#save());
    on("log-load", "click", () => void this.#load(MOST));
    on("log-box", "scroll", () => this.#scrolled());
    this.#follow.checked = true;
    byId<HTMLInputElement>("log-search").value = "";
  }

  /**
   * The server has sent its first answer, or one after a reconnect.
   *
   * `recovered`: its events miss nothing; `ended`: the job is over.
   */
  begin(recovered: boolean, first: boolean, ended: boolean): void {
    this.#ended = ended;
    if (recovered) return;
    if (!first) return this.#lines.gap();
    this.#note = OLDER;
    if (ended) void this.#load(AT_ONCE);
  }

  /** Add the lines of an event; whether there were any. */
  add(event: JobEvent): boolean {
    return this.#lines.add(event);
  }

  /** The job is over. */
  end(): void {
    this.#ended = true; // there is nothing to follow any more
  }

  draw(): void {
    const { count, dropped } = this.#lines;
    if (performance.now() - this.#searched > SEARCHED) this.#update();
    this.#box.hidden = count === 0; // what is hidden has no height
    this.#list.draw(count);
    // Lines that are dropped at the beginning do not move those that are being read.
    if (!this.#follow.checked) this.#box.scrollTop -= (dropped - this.#dropped) * this.#list.height;
    else this.#toEnd();
    this.#dropped = dropped;
    this.#say();
  }

  /** Take everything off the page. */
  close(): void {
    this.#stop.abort();
    this.#list.close();
    byId("job-log").hidden = true;
  }

  #toEnd(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#box;
    if (scrollHeight - scrollTop - clientHeight < 1) return;
    this.#box.scrollTop = scrollHeight;
    this.#list.draw();
  }

  #say(): void {
    const { count, leftOut } = this.#lines;
    const more = leftOut ? `, without the first ${leftOut.toLocaleString("en")}` : "";
    setText(byId("log-count"), count ? `${count.toLocaleString("en")} ${count === 1 ? "line" : "lines"}${more}` : "");
    setText(byId("log-matches"), this.#search.text);
    setNote(byId("log-fault"), this.#fault);
    setText(byId("log-note-text"), this.#loading ? "Reading the log…" : this.#note);
    byId("log-note").hidden = !this.#loading && !this.#note;
    byId("log-load").hidden = this.#loading;
    byId("log-following").hidden = this.#ended;
    byId("log-empty").hidden = count > 0 || this.#loading || this.#fault !== "";
    for (const id of ["log-previous", "log-next"]) byId<HTMLButtonElement>(id).disabled = !this.#search.found.length;
  }

  #row(index: number): TemplateResult {
    const { at, level, text, step } = this.#lines.at(index);
    // A step is named where it is another than that of the line before.
    const begins = step && (index === 0 || this.#lines.at(index - 1).step !== step);
    const named = level === "WARNING" || level === "ERROR";
    const reached = this.#search.found[this.#search.reached] === index;
    return html`<div class="log-row" data-level=${levelOf(level, text)} data-reached=${reached}>${
      at === null ? nothing : html`<span class="at">${clock(at)}</span>`
    }${begins ? html`<span class="step-of">${step}</span>` : nothing}${named ? html`<span class="level">${level.toLowerCase()}</span>` : nothing}<span class="text">${marked(
      text,
      this.#search.wanted,
    )}</span></div>`;
  }

  #scrolled(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#box;
    this.#follow.checked = scrollHeight - scrollTop - clientHeight < AT_THE_END;
  }

  #find(): void {
    this.#search.wanted = byId<HTMLInputElement>("log-search").value;
    this.#searched = performance.now();
    if (this.#search.wanted) this.#step(1);
    else this.draw();
  }

  #update(): void {
    this.#searched = performance.now();
    this.#search.update();
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "Enter") return;
    event.preventDefault();
    this.#step(event.shiftKey ? -1 : 1);
  }

  #step(by: 1 | -1): void {
    const from = Math.floor(this.#box.scrollTop / this.#list.height);
    const index = this.#search.step(by, from);
    if (index !== null) {
      this.#follow.checked = false;
      this.#list.reveal(index);
    }
    this.draw();
  }

  async #load(most: number): Promise<void> {
    if (this.#loading) return;
    this.#loading = true;
    this.#fault = "";
    this.draw();
    try {
      const { text, whole } = await readLog(this.#api, this.#job, most, this.#stop.signal);
      this.#lines.prepend(text, whole, this.#ended);
      this.#note = whole ? "" : PART;
      this.#update();
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#fault = (error as Error).message;
    }
    this.#loading = false;
    this.draw();
  }

  async #save(): Promise<void> {
    const button = byId<HTMLButtonElement>("log-download");
    button.disabled = true;
    setText(button, "Downloading…");
    this.#fault = "";
    await saveLog(this.#api, this.#job, fileName(this.title, this.#job)).catch(
      (error: Error) => (this.#fault = error.message),
    );
    setText(button, "Download");
    button.disabled = false;
    if (!this.#stop.signal.aborted) this.draw();
  }
}

// The server says in the text what is missing of it.
function levelOf(level: TailLine["level"], text: string): string {
  return level === "" && text.startsWith("[taskbridge:") ? "NOTE" : level;
}

// All matches in a line; a lower-case letter may be longer than its capital, then none is marked.
function marked(text: string, wanted: string): (string | TemplateResult)[] {
  const lower = text.toLowerCase();
  if (!wanted || lower.length !== text.length) return [text];
  const parts: (string | TemplateResult)[] = [];
  let end = 0;
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, end)) {
    parts.push(text.slice(end, at), html`<mark>${text.slice(at, at + wanted.length)}</mark>`);
    end = at + wanted.length;
  }
  return [...parts, text.slice(end)];
}
