/** `Board`: the lists of running, queued and finished jobs, newest first, drawn at most once a frame. */
import { render } from "lit";
import type { Client, ClientEvents, Watched } from "../client/client.js";
import type { JobEvent, SnapshotData } from "../client/protocol.js";
import { Snapshot } from "../client/snapshot.js";
import type { TokenGrant } from "../client/token.js";
import { titleOf } from "../view/words.js";
import { callOf } from "./calls.js";
import { card, type Actions } from "./card.js";
import { byId, setNote } from "./dom.js";
import { Entry } from "./entry.js";
import { Filter } from "./filter.js";
import { counted } from "./groups.js";
import { place, headings } from "./lists.js";
import { NONE_LEFT, Pages, type Left } from "./pages.js";

const PAUSE = 60; // least milliseconds between drawings; transitions move the bars in between
const UNSEEN = 1000; // least milliseconds between drawings of a running job that is out of sight
const NEAR = "200px"; // cards within this distance of the viewport count as visible
const FOLLOWED = 60; // most running jobs to follow one by one, so that no log line is missed

export interface BoardOptions {
  grant: TokenGrant;
  /** Start a job again. */
  again: (job: string) => void;
  /** Called when a followed job resumes after a reconnect, with whether no event was missed. */
  resumed: (recovered: boolean) => void;
  /** Show a text as the title of the page. */
  titled: (text: string) => void;
}

export class Board {
  #flower: string | undefined;
  #client: Client;
  #options: BoardOptions;
  #entries = new Map<string, Entry>();
  #dirty = new Set<Entry>();
  /** Jobs on the page that no page of the server's list has contained so far. */
  #unlisted = new Set<string>();
  /** Settled once the server has answered about all jobs of which the page knows too little. */
  #asking = Promise.resolve();
  #frame = 0;
  /** Time of the last drawing, in milliseconds of `performance.now()`. */
  #drawn = 0;
  #clock: ReturnType<typeof setInterval>;
  #loaded = false;
  #filter: Filter;
  #pages: Pages;
  #stop = new AbortController();
  #sight = new IntersectionObserver((found) => this.#seen(found), { rootMargin: NEAR });

  constructor(client: Client, options: BoardOptions) {
    this.#client = client;
    this.#options = options;
    client.addEventListener("jobs", ({ detail }) => this.#listed(detail));
    this.#pages = new Pages(client, () => counted(this.#snapshots));
    const { signal } = this.#stop;
    byId("more-button").addEventListener("click", () => void this.#showMore(), { signal });
    client.addEventListener("watched", ({ detail }) => this.#watched(detail));
    client.addEventListener("missing", ({ detail }) => this.#missing(detail.job));
    client.addEventListener("job", ({ detail }) => this.#event(detail));
    client.addEventListener("repeated", ({ detail }) => this.#event(detail));
    this.#clock = setInterval(() => this.#tick(), 1000);
    this.#filter = new Filter(() => this.#showAll());
  }

  /** URL of Flower, if there is one; redraws all jobs with their links to it. */
  set flower(url: string | undefined) {
    this.#flower = url;
    this.#showAll();
  }

  get #grant(): TokenGrant {
    return this.#options.grant;
  }

  /** Request the jobs that the token names; called again after each reconnect. */
  async load(): Promise<void> {
    if (this.#grant.owner !== null || !this.#grant.jobs.length) await this.#pages.load();
    for (const job of this.#grant.jobs) if (!this.#entries.has(job)) await this.#client.follow(job);
    this.#loaded = true;
    this.#draw();
  }

  /** Bring a job into view. */
  reveal(job: string): void {
    const entry = this.#entries.get(job);
    if (entry) {
      entry.visible = true;
      this.#dirty.add(entry);
    }
    this.#render();
    entry?.node.scrollIntoView({ block: "nearest" });
  }

  /** Bring a job into view that may not be on the page yet. */
  async show(job: string): Promise<void> {
    if (!this.#entries.has(job)) await this.#client.follow(job);
    this.reveal(job);
  }

  /** Take everything off the page. */
  clear(): void {
    clearInterval(this.#clock);
    cancelAnimationFrame(this.#frame);
    this.#filter.close();
    this.#stop.abort();
    this.#sight.disconnect();
    for (const { node } of this.#entries.values()) node.remove();
    this.#entries.clear();
    this.#loaded = false;
    this.#headings(NONE_LEFT);
  }

  get #snapshots(): Snapshot[] {
    return [...this.#entries.values()].map(({ snapshot }) => snapshot);
  }

  async #showMore(): Promise<void> {
    const button = byId<HTMLButtonElement>("more-button");
    button.disabled = true;
    setNote(byId("banner"), "");
    await this.#pages.showMore().catch((error: Error) => setNote(byId("banner"), error.message));
    button.disabled = false;
  }

  #listed({ jobs, first, last }: ClientEvents["jobs"]): void {
    if (first) this.#unlisted = new Set(this.#entries.keys());
    for (const given of jobs) {
      this.#take(given.job, given);
      this.#unlisted.delete(given.job);
    }
    if (!last) return;
    // Not in the list, but running as far as the page knows: the reply to `watch` has their state.
    for (const job of this.#unlisted) this.#resume(this.#entry(job));
    this.#unlisted.clear();
  }

  #resume(entry: Entry): void {
    if (!entry.snapshot.ended) void this.#ask(entry, null);
  }

  #take(job: string, given: SnapshotData): Entry {
    const entry = this.#entry(job);
    entry.snapshot = Snapshot.from(given, entry.snapshot);
    entry.missing = entry.partial = false;
    this.#changed(entry);
    return entry;
  }

  #missing(job: string): void {
    const entry = this.#entries.get(job);
    if (!entry) return;
    entry.missing = !entry.snapshot.ended;
    entry.watched = false;
    if (entry.missing) this.#options.resumed(false);
    this.#changed(entry);
  }

  #watched({ job, snapshot, events, recovered, since }: Watched): void {
    const before = this.#entries.get(job);
    const entry = this.#take(job, snapshot);
    entry.watched = true;
    if (since === null && events.length) entry.clearLog();
    if (since === null && !recovered)
      entry.log.cut = true; // the server has dropped the first lines
    else if (since !== null && !recovered) entry.log.gap();
    if (since !== null && before && !before.snapshot.ended) this.#options.resumed(recovered);
    for (const event of events) entry.log.add(event);
    if (entry.snapshot.ended || this.#followed > FOLLOWED) this.#release(entry);
  }

  #event(event: JobEvent): void {
    const partial = event.type !== "queued" && !this.#entries.has(event.job);
    const entry = this.#entry(event.job);
    if (partial) this.#appear(entry, event);
    const before = entry.snapshot.ended;
    const news = entry.snapshot.apply(event);
    entry.log.add(event);
    if (news) entry.missing = false;
    if (event.type !== "log" && event.type !== "output") this.#measure(entry, event.at);
    this.#follow(entry, event.cursor ?? null);
    if (!before && entry.snapshot.ended) this.#over(entry);
    this.#changed(entry);
  }

  // An event alone brings a job onto the page that was not listed: its snapshot has what came before.
  #appear(entry: Entry, { type, cursor }: JobEvent): void {
    entry.partial = true;
    this.#pages.appeared(type === "started" ? "queued" : "running");
    this.#asking = this.#asking.then(() => (entry.partial ? this.#ask(entry, cursor ?? null) : undefined));
  }

  #measure(entry: Entry, at: number): void {
    const [bar] = entry.throughput.due(at) ? entry.snapshot.bars : [];
    if (bar) entry.throughput.add(at, bar);
  }

  #over(entry: Entry): void {
    byId("announcer").textContent = `${titleOf(entry.snapshot)} ${entry.snapshot.state}`;
    this.#release(entry);
  }

  // Late events of a finished job still arrive with those of its owner.
  #release(entry: Entry): void {
    if (this.#grant.owner === null || !entry.watched) return;
    entry.watched = false;
    this.#client.unfollow(entry.snapshot.job).catch(() => {});
  }

  #entry(job: string): Entry {
    const known = this.#entries.get(job);
    if (known) return known;
    const entry = new Entry(job);
    this.#entries.set(job, entry);
    this.#sight.observe(entry.node);
    return entry;
  }

  get #followed(): number {
    return [...this.#entries.values()].filter(({ watched }) => watched).length;
  }

  // A followed job resumes from its cursor after a reconnect, log lines included. A queued job has none.
  #follow(entry: Entry, cursor: string | null): void {
    const { state, ended } = entry.snapshot;
    if (!ended && !entry.partial && state !== "queued" && this.#followed < FOLLOWED) void this.#ask(entry, cursor);
  }

  async #ask(entry: Entry, cursor: string | null): Promise<void> {
    if (entry.watched || entry.missing || !this.#grant.allows("watch")) return;
    entry.watched = true;
    await this.#client.follow(entry.snapshot.job, cursor).catch(() => {
      entry.watched = false;
    });
  }

  // Gets the earlier lines of a job's log, once, when its log is opened.
  async #history(entry: Entry): Promise<void> {
    if (entry.whole) return;
    entry.whole = true;
    try {
      await this.#client.follow(entry.snapshot.job);
    } catch {
      entry.whole = false;
    }
  }

  async #cancel(entry: Entry): Promise<void> {
    Object.assign(entry.view, { asked: true, refusal: "" });
    this.#changed(entry);
    try {
      await this.#client.cancel(entry.snapshot.job);
    } catch (error) {
      Object.assign(entry.view, { asked: false, refusal: (error as Error).message });
    }
    this.#changed(entry);
  }

  #actions(entry: Entry): Actions {
    const again = this.#grant.allows("enqueue") && callOf(entry.snapshot.job);
    return {
      cancel: this.#grant.allows("cancel") ? (one) => void this.#cancel(one) : undefined,
      again: again ? (one) => this.#options.again(one.snapshot.job) : undefined,
      changed: (one) => this.#changed(one),
      logOpened: (one) => void this.#history(one),
      flower: this.#flower,
    };
  }

  #changed(entry: Entry): void {
    this.#dirty.add(entry);
    this.#draw();
  }

  #showAll(): void {
    for (const entry of this.#entries.values()) {
      entry.drawn = -Infinity; // due at once, even if a filter has hidden it
      this.#changed(entry);
    }
  }

  #seen(found: IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of found) {
      const entry = this.#entries.get((target as HTMLElement).dataset["job"] ?? "");
      if (!entry) continue;
      entry.visible = isIntersecting;
      if (isIntersecting) this.#changed(entry);
    }
  }

  #draw(): void {
    if (this.#frame) return;
    const due = performance.now() - this.#drawn > PAUSE;
    // If it is too soon, the next frame checks again.
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (due) this.#render();
      else this.#draw();
    });
  }

  #render(): void {
    this.#drawn = performance.now();
    const now = Date.now() / 1000;
    for (const entry of this.#dirty) {
      // Stays dirty until it comes into sight or is due.
      if (!entry.visible && !entry.snapshot.ended && this.#drawn - entry.drawn < UNSEEN) continue;
      this.#dirty.delete(entry);
      if (!this.#entries.has(entry.snapshot.job)) continue;
      entry.drawn = this.#drawn;
      this.#show(entry, now);
      place(entry, this.#entries);
    }
    this.#headings(this.#pages);
  }

  #headings(pages: Left): void {
    headings({ entries: this.#entries, loaded: this.#loaded, filtered: this.#filter.active, pages });
  }

  #show(entry: Entry, now: number): void {
    const { node, snapshot, view, missing } = entry;
    if (snapshot.ended) view.asked = false;
    node.dataset["state"] = snapshot.state;
    node.toggleAttribute("data-missing", missing);
    node.hidden = !this.#filter.shows(snapshot);
    if (!node.hidden) render(card(entry, this.#actions(entry), now), node);
  }

  #tick(): void {
    this.#trim();
    const { running } = counted(this.#snapshots);
    const all = running + (this.#pages.left("running") ?? 0);
    this.#options.titled(all ? `${all} running` : "");
    // Without a connection the state of jobs is unknown, so their clocks stop.
    if (this.#client.state !== "live") return;
    for (const entry of this.#entries.values()) if (!entry.snapshot.ended) this.#changed(entry);
    void this.#pages.recount(performance.now()).then(() => this.#draw());
  }

  #trim(): void {
    const ended = [...this.#entries].filter(([, { snapshot }]) => snapshot.ended);
    ended.sort(([, a], [, b]) => a.key - b.key);
    const surplus = ended.slice(0, Math.max(0, this.#entries.size - this.#pages.kept));
    for (const [job, { node }] of surplus) {
      this.#sight.unobserve(node);
      node.remove();
      this.#entries.delete(job);
    }
    this.#pages.trimmed(surplus.length);
  }
}
