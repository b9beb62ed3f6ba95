/** `<job-progress job="…" token="…">`: shows the live progress of a job. */
import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import type { Client } from "../client/client.js";
import { LogTail } from "../client/log-tail.js";
import type { State } from "../client/protocol.js";
import { readToken } from "../client/token.js";
import type { WatchedJob } from "../client/watched-job.js";
import { barsStyle } from "../view/bars-style.js";
import { barsAndSteps } from "../view/steps.js";
import { stepsStyle } from "../view/steps-style.js";
import { badge, failure, hints, notes, time, titleOf } from "../view/words.js";
import { join, leave, type Tokens } from "./connections.js";
import { elementStyle } from "./style.js";

/**
 * Attributes: `job` (its id), `token`, `url` (the server's URL; default `JobProgress.server`),
 * `label` (default the job's title, or the task's name), `log` (number of log lines to show, default 3).
 * Property `getToken`: a function that returns a token, also before one expires; replaces `token`.
 *
 * Events, with the job's `Snapshot` as detail: `change`; `end`, when the job is over.
 *
 * Parts: `head`, `name`, `state`, `time`, `cancel`, `bar`, `description`, `numbers`, `track`,
 * `fill`, `steps`, `step`, `error`, `note`, `log`. Custom properties: `--job-progress-accent`, `-text`, `-quiet`,
 * `-track`, `-good`, `-bad`, `-warn`, `-font`, `-mono`.
 */
export class JobProgress extends LitElement {
  static override properties = {
    job: {},
    token: {},
    url: {},
    label: {},
    log: { type: Number },
    getToken: { attribute: false },
  };
  static override styles = [barsStyle, stepsStyle, elementStyle];
  /** URL of the server for elements without `url`; default "", the page's origin. */
  static server = "";

  declare job: string | undefined;
  declare token: string | undefined;
  declare url: string | undefined;
  declare label: string | undefined;
  declare log: number;
  declare getToken: (() => Promise<string>) | undefined;
  #client: Client | null = null;
  #watched: WatchedJob | null = null;
  #tail = new LogTail(0);
  #leave = (): void => {};
  #clock: ReturnType<typeof setInterval> | undefined;
  #asked = false;
  #refusal = "";
  #announced = "";
  /** The end that listeners know of. */
  #over: State | null = null;

  constructor() {
    super();
    this.log = 3;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#start();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#stop();
  }

  // Draws at most once a frame, and not in a hidden tab; events are folded in all the same.
  protected override async scheduleUpdate(): Promise<void> {
    await new Promise(requestAnimationFrame);
    super.scheduleUpdate();
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    const restart = ["job", "token", "url", "getToken", "log"] as const;
    if (this.hasUpdated && restart.some((name) => changed.has(name))) this.#start();
  }

  #start(): void {
    this.#stop();
    const token: Tokens | undefined = this.getToken ?? this.token;
    if (!this.isConnected || !this.job || !token) return;
    const url = this.url ?? (this.constructor as typeof JobProgress).server;
    const client = join(url, token);
    const redraw = () => this.requestUpdate();
    client.addEventListener("state", redraw);
    this.#tail = new LogTail(this.log);
    this.#follow(client, this.job);
    this.#clock = setInterval(redraw, 1000);
    this.#leave = () => {
      client.removeEventListener("state", redraw);
      leave(url, token);
    };
  }

  #follow(client: Client, job: string): void {
    this.#client = client;
    const watched = (this.#watched = client.watch(job));
    watched.addEventListener("event", ({ detail }) => this.#tail.add(detail));
    watched.addEventListener("error", () => this.#changed(watched));
    watched.addEventListener("change", () => this.#changed(watched));
  }

  #changed(watched: WatchedJob): void {
    this.requestUpdate();
    this.#tell("change");
    const { ended, state } = watched.snapshot;
    if (ended || watched.error) clearInterval(this.#clock);
    const over = ended ? state : null;
    // Later events, and reconnects, repeat a known end; a job that was called lost may go on.
    if (over && over !== this.#over) this.#tell("end");
    this.#over = over;
  }

  #tell(name: "change" | "end"): void {
    this.dispatchEvent(new CustomEvent(name, { detail: this.#watched?.snapshot, bubbles: true, composed: true }));
  }

  #stop(): void {
    clearInterval(this.#clock);
    this.#watched?.close();
    this.#leave();
    this.#leave = () => {};
    this.#client = this.#watched = this.#over = null;
    this.#asked = false;
    this.#refusal = this.#announced = "";
  }

  async #cancel(): Promise<void> {
    this.#asked = true;
    this.#refusal = "";
    this.requestUpdate();
    try {
      await this.#watched?.cancel();
    } catch (error) {
      this.#asked = false;
      this.#refusal = (error as Error).message;
    }
    this.requestUpdate();
  }

  protected override render(): TemplateResult {
    const watched = this.#watched;
    if (!watched)
      return html`<p class="note" part="note">${this.job ? "A token is needed to show this job." : "No job is named."}</p>`;
    if (watched.error) return html`<p class="error" part="error" role="alert">${watched.error.message}</p>`;
    const { snapshot } = watched;
    const name = this.label || titleOf(snapshot);
    const away = this.#client?.state !== "live";
    return html`<div class=${away && !snapshot.ended ? "job away" : "job"} data-state=${snapshot.state} role="group" aria-label=${name}>
      ${this.#head(name, snapshot, away)}
      ${watched.known ? barsAndSteps(snapshot, Date.now() / 1000) : html`<div class="bars"></div>`}
      ${this.#below(snapshot)}
      <div class="unseen" role="status">${this.#announcement(name, watched)}</div>
    </div>`;
  }

  #head(name: string, snapshot: WatchedJob["snapshot"], away: boolean): TemplateResult {
    const state = this.#watched?.known ? badge(snapshot) : "connecting…";
    return html`<div class="head" part="head">
      <span class="name" part="name" dir="auto">${name}</span>
      <span class="state" part="state">${state}${away && this.#watched?.known && !snapshot.ended ? " · reconnecting…" : ""}</span>
      <span class="time" part="time">${time(snapshot, Date.now() / 1000)}</span>
      ${this.#button(name, snapshot)}
    </div>`;
  }

  #button(name: string, snapshot: WatchedJob["snapshot"]): TemplateResult | typeof nothing {
    // The scope of a token from `getToken` is unknown here: the server may refuse the cancel.
    const allowed = this.getToken ? true : readToken(this.token ?? "").allows("cancel");
    if (!allowed || snapshot.ended || !this.#watched?.known) return nothing;
    const pending = this.#asked || snapshot.state === "cancelling";
    const text = pending ? "Cancelling…" : "Cancel";
    return html`<button part="cancel" type="button" ?disabled=${pending} aria-label="${text} ${name}" @click=${() => this.#cancel()}>${text}</button>`;
  }

  #below(snapshot: WatchedJob["snapshot"]): TemplateResult {
    const wrong = failure(snapshot) || this.#refusal;
    const note = [...hints(snapshot, Date.now() / 1000), ...notes(snapshot)].join(" ");
    const lines = this.#tail.lines;
    return html`${wrong ? html`<p class="error" part="error" dir="auto">${wrong}</p>` : nothing}
      ${note ? html`<p class="note" part="note">${note}</p>` : nothing}
      ${lines.length ? html`<ol class="log" part="log" aria-label="Log">${lines.map((line) => html`<li>${line.text}</li>`)}</ol>` : nothing}`;
  }

  // Screen readers read it out when the state changes, not at every step of a bar.
  #announcement(name: string, watched: WatchedJob): string {
    if (watched.known) this.#announced = `${name} ${watched.snapshot.state}`;
    return this.#announced;
  }
}

/** Define the element, under another name if one is given. */
export function define(name = "job-progress"): void {
  if (!customElements.get(name)) customElements.define(name, JobProgress);
}

declare global {
  interface HTMLElementTagNameMap {
    "job-progress": JobProgress;
  }
}
