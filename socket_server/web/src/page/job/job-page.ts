/** `JobPage`: all of one job: its state, its tasks as a tree and on a timeline, and its log. */
import { html, nothing, render } from "lit";
import type { Client } from "../../client/client.js";
import type { RequestError } from "../../client/errors.js";
import type { JobEvent } from "../../client/protocol.js";
import type { TokenGrant } from "../../client/token.js";
import type { WatchedJob } from "../../client/watched-job.js";
import { badge, titleOf } from "../../view/words.js";
import type { Api } from "../api.js";
import { DeliveriesPanel } from "../deliveries.js";
import { byId, setNote, setText } from "../dom.js";
import { Entry } from "../entry.js";
import { newKey } from "../idempotency-key.js";
import { about, type JobActions } from "./about.js";
import { JobTasks, type TasksFound } from "./job-tasks.js";
import { LogPanel } from "./log-panel.js";
import { TaskPanel } from "./task-panel.js";

const PAUSE = 200; // least milliseconds between two drawings
/** Tasks that are asked for at once. */
const LISTED = 1000;

export interface JobPageOptions {
  client: Client;
  api: Api;
  grant: TokenGrant;
  /** Returns Flower's URL, if there is one. */
  flower: () => string | undefined;
  /** Run the job again, once for a key, and show the new one; undefined where that is not allowed. */
  again: ((key: string) => Promise<void>) | undefined;
  /** Show a text as the title of the page. */
  titled: (text: string) => void;
}

export class JobPage {
  #options: JobPageOptions;
  readonly job: string;
  #watched: WatchedJob;
  #entry: Entry;
  #tasks = new JobTasks();
  #taskPanel: TaskPanel;
  #log: LogPanel;
  /** For an operator alone. */
  #deliveries: DeliveriesPanel | null = null;
  /** Pressed twice, "Run again" runs the job once. */
  #key = newKey();
  #fault = "";
  #tasksFault = "";
  #frame = 0;
  /** Time of the last drawing, in milliseconds of `performance.now()`. */
  #drawn = 0;
  /** Whether the list of tasks is being asked for, and whether it is to be asked for after that. */
  #listing = false;
  #stale = false;
  #clock: ReturnType<typeof setInterval>;
  #stop = new AbortController();

  constructor(job: string, options: JobPageOptions) {
    this.job = job;
    this.#options = options;
    this.#entry = new Entry(job);
    this.#taskPanel = new TaskPanel(this.#tasks, options.flower);
    this.#log = new LogPanel(options.api, job);
    const { api, grant } = options;
    const where = { panel: byId("job-webhook"), list: byId("job-deliveries") };
    if (grant.allows("operate")) this.#deliveries = new DeliveriesPanel({ api, job, ...where });
    this.#watched = options.client.watch(job);
    const { signal } = this.#stop;
    this.#watched.addEventListener("snapshot", ({ detail }) => this.#begun(detail.recovered), { signal });
    this.#watched.addEventListener("event", ({ detail }) => this.#event(detail), { signal });
    this.#watched.addEventListener("change", () => this.#changed(), { signal });
    this.#watched.addEventListener("error", ({ detail }) => this.#failed(detail), { signal });
    this.#clock = setInterval(() => this.#changed(), 1000);
    setText(byId("job-title"), "Job");
    this.#draw();
  }

  /** Take everything off the page, and stop watching. */
  close(): void {
    this.#stop.abort();
    clearInterval(this.#clock);
    cancelAnimationFrame(this.#frame);
    this.#watched.close();
    this.#taskPanel.close();
    this.#log.close();
    this.#deliveries?.close();
    render(nothing, byId("job-about"));
    setNote(byId("job-fault"), "");
    setNote(byId("tasks-fault"), "");
  }

  #begun(recovered: boolean): void {
    const { snapshot } = this.#watched;
    const first = !this.#entry.whole;
    this.#entry.whole = true;
    this.#fault = "";
    this.#log.begin(recovered, first, snapshot.ended);
    void this.#list();
  }

  #event(event: JobEvent): void {
    this.#log.add(event);
    this.#tasks.apply(event);
    const [bar] = this.#entry.throughput.due(event.at) ? this.#watched.snapshot.bars : [];
    if (bar && event.type === "progress") this.#entry.throughput.add(event.at, bar);
  }

  #changed(): void {
    const { snapshot } = this.#watched;
    if (snapshot.ended && !this.#entry.snapshot.ended && this.#watched.known) this.#over();
    this.#entry.snapshot = snapshot;
    this.#request();
  }

  // What of the tasks did not arrive as an event is in the server's list.
  #over(): void {
    this.#entry.view.asked = false;
    this.#log.end();
    void this.#list();
  }

  #failed(error: RequestError): void {
    this.#fault = error.message;
    this.#request();
  }

  async #list(): Promise<void> {
    this.#stale = true;
    if (this.#listing || this.#watched.snapshot.total < 2) return;
    this.#listing = true;
    try {
      while (this.#stale) {
        this.#stale = false;
        await this.#pages();
      }
      this.#tasksFault = "";
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#tasksFault = (error as Error).message;
    }
    this.#listing = false;
    this.#request();
  }

  async #pages(): Promise<void> {
    const path = `api/jobs/${encodeURIComponent(this.job)}/tasks`;
    let cursor: string | null = null;
    do {
      const query: Record<string, string | number> = { limit: LISTED, ...(cursor === null ? {} : { cursor }) };
      const found: TasksFound = await this.#options.api.json(path, query, this.#stop.signal);
      this.#tasks.take(found.tasks);
      cursor = found.next ?? null;
      this.#request();
    } while (cursor !== null);
  }

  async #cancel(): Promise<void> {
    const { view } = this.#entry;
    Object.assign(view, { asked: true, refusal: "" });
    this.#request();
    await this.#watched.cancel().catch((error: Error) => Object.assign(view, { asked: false, refusal: error.message }));
    this.#request();
  }

  async #again(): Promise<void> {
    const { view } = this.#entry;
    view.asked = true;
    this.#fault = "";
    this.#request();
    await this.#options.again?.(this.#key).catch((error: Error) => (this.#fault = error.message));
    view.asked = false;
    this.#request();
  }

  #request(): void {
    if (this.#frame || this.#stop.signal.aborted) return;
    const due = performance.now() - this.#drawn > PAUSE;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (due) this.#draw();
      else this.#request();
    });
  }

  get #actions(): JobActions {
    const { grant, flower, again } = this.#options;
    return {
      cancel: grant.allows("cancel") ? () => void this.#cancel() : undefined,
      again: again ? () => void this.#again() : undefined,
      flower: flower(),
    };
  }

  #draw(): void {
    this.#drawn = performance.now();
    const now = Date.now() / 1000;
    const { known, snapshot } = this.#watched;
    setNote(byId("job-fault"), this.#fault);
    setNote(byId("tasks-fault"), this.#tasksFault && `The tasks are missing: ${this.#tasksFault}`);
    byId("job-asking").hidden = known || this.#fault !== "";
    byId("job-log").hidden = !known;
    if (!known) return;
    const title = titleOf(snapshot);
    this.#log.title = title;
    setText(byId("job-title"), title);
    this.#options.titled(`${title}, ${badge(snapshot)}`);
    byId("job-page").dataset["state"] = snapshot.state;
    render(html`${about(this.#entry, this.#actions, now)}`, byId("job-about"));
    this.#taskPanel.draw(now, snapshot);
    this.#log.draw();
  }
}
