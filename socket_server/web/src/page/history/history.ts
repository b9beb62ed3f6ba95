/** `History`: all jobs, searched and scrolled through without end. */
import type { Client } from "../../client/client.js";
import type { JobEvent } from "../../client/protocol.js";
import type { TokenGrant } from "../../client/token.js";
import { historyHash, type Search } from "../address.js";
import type { Api } from "../api.js";
import { DeliveriesPanel } from "../deliveries.js";
import { byId, setNote, setText } from "../dom.js";
import { VirtualList } from "../virtual-list.js";
import { actionsFor, type Action } from "./bulk.js";
import { BulkDialog } from "./bulk-dialog.js";
import { steered } from "../keys.js";
import { Results, type Found } from "./results.js";
import { rowView } from "./row-view.js";
import { SearchForm, type Searching } from "./search-form.js";

/** Rows before the last one at which the next page is asked for. */
const AHEAD = 40;
const PAUSE = 250; // least milliseconds between two drawings for events
const NO_OWNER = "This token names single jobs and no owner, so it has no history.";
const AWAY = "The archive does not answer: jobs that the server has forgotten are missing.";

/** The button of each action on all jobs, and the scope that it takes. */
const BUTTONS: [Action, { id: string; scope: "enqueue" | "cancel" }][] = [
  ["run_again", { id: "run-all-again", scope: "enqueue" }],
  ["cancel", { id: "cancel-all", scope: "cancel" }],
];

export interface HistoryOptions {
  client: Client;
  api: Api;
  grant: TokenGrant;
  /** Called with an address that the reader's search leads to; `typed`: it is not worth an entry of its own. */
  go: (hash: string, typed: boolean) => void;
}

export class History {
  #options: HistoryOptions;
  #results: Results | null = null;
  #form: SearchForm;
  #list: VirtualList;
  #bulk: BulkDialog;
  #shown = false;
  /** Deliveries that fail, for an operator while the history is shown. */
  #deliveries: DeliveriesPanel | null = null;
  /** Index of the row that Tab leads to. */
  #current = 0;
  /** Jobs that were enqueued since the search. */
  #fresh = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #clock: ReturnType<typeof setInterval>;
  #stop = new AbortController();

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#form = new SearchForm((search, how) => this.#asked(search, how));
    this.#form.owners = options.grant.allows("operate");
    const list = byId("found");
    this.#list = new VirtualList({
      list,
      scroller: null,
      row: (index) => this.#row(index),
      drawn: () => this.#drawn(),
    });
    this.#bulk = new BulkDialog(options.client, () => this.#again("found-fresh"));
    const { signal } = this.#stop;
    for (const [action, { id }] of BUTTONS)
      byId(id).addEventListener("click", () => void this.#openBulk(action), { signal });
    list.addEventListener("keydown", (event) => this.#key(event), { signal });
    list.addEventListener("focusin", (event) => this.#focused(event), { signal });
    for (const id of ["found-retry", "found-fresh", "found-away-retry"])
      byId(id).addEventListener("click", () => this.#again(id), { signal });
    options.client.addEventListener("job", ({ detail }) => this.#event(detail), { signal });
    this.#clock = setInterval(() => this.#list.count && this.#shown && this.#list.request(), 1000);
  }

  /** Whether the server finds jobs in an archive, as far as that is known. */
  set archived(archived: boolean) {
    byId("found-held").hidden = archived;
  }

  /** Whether the token has a history. */
  get allowed(): boolean {
    const { grant } = this.#options;
    return grant.allows("watch") && (grant.owner !== null || grant.allows("operate"));
  }

  /** Show what a search finds; what was found by the same search before is shown again. */
  open(search: Search): void {
    this.#shown = true;
    this.#deliveries ??= this.#failing();
    this.#form.show(search);
    const same = this.#results && historyHash(this.#results.search) === historyHash(search);
    if (same && !this.#results?.fault) return this.#draw();
    this.#search(search);
  }

  /** Draw nothing until `open` is called. */
  hide(): void {
    this.#shown = false;
    this.#deliveries?.close();
    this.#deliveries = null;
  }

  /** Take everything off the page. */
  close(): void {
    this.hide();
    this.#results?.close();
    clearTimeout(this.#timer);
    clearInterval(this.#clock);
    this.#form.close();
    this.#bulk.close();
    this.#stop.abort();
    this.#list.close();
  }

  #failing(): DeliveriesPanel | null {
    const { api, grant } = this.#options;
    const where = { panel: byId("failing-webhooks"), list: byId("failing-deliveries") };
    return grant.allows("operate") && this.allowed ? new DeliveriesPanel({ api, ...where }) : null;
  }

  #asked(search: Search, how: Searching): void {
    const hash = historyHash(search);
    if (!this.#results || hash !== historyHash(this.#results.search)) this.#options.go(hash, how === "typing");
    else if (how === "asked") this.#search(search);
  }

  #search(search: Search): void {
    this.#results?.close();
    this.#fresh.clear();
    this.#current = 0;
    const ask = (query: Record<string, string | number>, signal: AbortSignal) =>
      this.#options.api.json<Found>("api/jobs", query, signal);
    const results = new Results(search, ask, () => this.#results === results && this.#draw());
    this.#results = results;
    if (this.allowed) void results.more();
    this.#draw();
  }

  // After a fault, the list goes on where it ended; else the search begins anew.
  #again(button: string): void {
    const results = this.#results;
    if (!results) return;
    if (button === "found-retry" && results.rows.length) return void results.more();
    this.#search(results.search);
    if (button === "found-fresh") scrollTo({ top: 0, behavior: "instant" });
  }

  async #openBulk(action: Action): Promise<void> {
    const newest = this.#results?.rows[0]?.shown.queued_at ?? null;
    if (this.#results) await this.#bulk.open(action, this.#results.search, newest);
  }

  #event(event: JobEvent): void {
    const results = this.#results;
    if (!results) return;
    const { state, until } = results.search;
    if (event.type === "queued" && event.task === event.job && !results.has(event.job)) {
      if (!until && (state === "" || state === "queued")) this.#fresh.add(event.job);
    } else if (!results.apply(event)) return;
    // A flood of events is no reason to draw more often than a reader can follow.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#shown) this.#draw();
    }, PAUSE);
  }

  #row(index: number) {
    const results = this.#results as Results;
    const { first, end } = this.#list.range;
    const reached = index === Math.min(Math.max(this.#current, first), end - 1);
    const at = { index, count: results.complete ? results.rows.length : -1, reached };
    const row = results.rows[index];
    if (!row) throw new RangeError(`no row ${index}`);
    return rowView(row, at, Date.now() / 1000, this.#options.grant.allows("operate") && !results.search.owner);
  }

  #drawn(): void {
    const results = this.#results;
    if (!this.#shown || !results || results.fault) return;
    if (this.#list.range.end > results.rows.length - AHEAD && results.rows.length) void results.more();
  }

  #draw(): void {
    const results = this.#results;
    if (!results || !this.#shown) return;
    byId("found").ariaBusy = String(results.asking);
    this.#list.draw(results.rows.length);
    setText(byId("found-status"), this.allowed ? statusOf(results) : NO_OWNER);
    setNote(byId("found-fault-text"), results.fault);
    byId("found-fault").hidden = !results.fault;
    this.#buttons(results);
    byId("found-away").hidden = !results.away;
    setText(byId("found-away-text"), results.away ? AWAY : "");
    const { size } = this.#fresh;
    byId("found-fresh").hidden = !size;
    setText(byId("found-fresh"), size === 1 ? "1 new job: search again" : `${size} new jobs: search again`);
  }

  #buttons({ rows, search }: Results): void {
    const sensible = rows.length ? actionsFor(search) : [];
    for (const [action, { id, scope }] of BUTTONS)
      byId(id).hidden = !sensible.includes(action) || !this.#options.grant.allows(scope);
  }

  #focused(event: FocusEvent): void {
    const row = (event.target as Element).closest<HTMLElement>(".found");
    if (row) this.#current = Number(row.dataset["index"]);
  }

  #key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(innerHeight / this.#list.height) - 1);
    const index = steered(event, this.#current, this.#list.count, page);
    if (index === null) return;
    event.preventDefault();
    this.#current = index;
    this.#list.reveal(index);
    byId("found").querySelector<HTMLElement>(`[data-index="${index}"] a`)?.focus({ preventScroll: true });
  }
}

/** A sentence on what was found so far. */
export function statusOf({ rows, asking, complete, fault, search }: Results): string {
  const count = rows.length === 1 ? "1 job" : `${rows.length.toLocaleString("en")} jobs`;
  if (asking) return rows.length ? `${count} so far, searching on…` : "Searching…";
  if (fault) return "";
  if (!complete) return `${count} so far`;
  if (rows.length) return count;
  return historyHash(search) === "#/history" ? "There are no jobs yet." : "No job matches the search.";
}
