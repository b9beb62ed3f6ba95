/** The list of jobs: running ones on top, the newest first, drawn once a frame at most. */
import { JobCard, shortName } from "./card.js";
import { setHidden, setText } from "./dom.js";
import { LogTail } from "./log.js";
import { Snapshot } from "./snapshot.js";

const LISTED = 100; // jobs asked for
const KEPT = 200; // cards on the page; beyond it, the longest finished goes
const PAUSE = 60; // milliseconds between drawings: more than eyes need, and bars glide in between
const FOLLOWED = 60; // running jobs that are watched one by one, so that no log line is missed

export class Board {
  #client;
  #grant;
  #jobs = new Map(); // id -> {snapshot, log, card, list, key, whole, watched}
  #dirty = new Set();
  #frame = 0;
  #drawn = 0; // when, in milliseconds of the page's clock
  #clock = 0;
  #loaded = false;

  constructor(client, grant) {
    this.#client = client;
    this.#grant = grant;
    client.addEventListener("jobs", ({ detail }) => this.#listed(detail.jobs));
    client.addEventListener("watched", ({ detail }) => this.#watched(detail));
    client.addEventListener("missing", ({ detail }) => this.#missing(detail.job));
    client.addEventListener("job", ({ detail }) => this.#event(detail));
    this.#clock = setInterval(() => this.#tick(), 1000);
  }

  /** Ask for the jobs that the token names; again after each reconnect. */
  async load() {
    if (this.#grant.owner !== null || !this.#grant.jobs.length) await this.#client.jobs({ limit: LISTED });
    for (const job of this.#grant.jobs) if (!this.#jobs.has(job)) await this.#client.watch(job);
    this.#loaded = true;
    this.#draw();
  }

  /** Bring a job into view. */
  reveal(job) {
    const entry = this.#jobs.get(job);
    this.#render();
    entry?.card.node.scrollIntoView({ block: "nearest" });
  }

  /** Take everything off the page. */
  clear() {
    clearInterval(this.#clock);
    cancelAnimationFrame(this.#frame);
    for (const { card } of this.#jobs.values()) card.node.remove();
    this.#jobs.clear();
    this.#loaded = false;
    this.#headings();
  }

  #listed(snapshots) {
    const before = [...this.#jobs.keys()];
    for (const given of snapshots) this.#take(given.job, given);
    const listed = new Set(snapshots.map((given) => given.job));
    // Not listed any more and not over, as far as this page knows: ask for the truth.
    for (const job of before) if (!listed.has(job)) this.#follow(job, null);
  }

  #take(job, given) {
    const entry = this.#entry(job);
    const known = entry.snapshot;
    entry.snapshot = Snapshot.from(given);
    // A server that was restarted in between has seen less than this page.
    entry.snapshot.queued_at ??= known.queued_at;
    entry.snapshot.started_at ??= known.started_at;
    entry.missing = false;
    this.#mark(job);
    return entry;
  }

  #missing(job) {
    const entry = this.#jobs.get(job);
    if (!entry) return;
    entry.missing = !entry.snapshot.ended;
    entry.watched = false;
    this.#mark(job);
  }

  #watched({ job, snapshot, events, recovered, since }) {
    this.#entry(job).watched = true;
    const entry = this.#take(job, snapshot);
    if (since === null && events.length) {
      entry.log = new LogTail();
      entry.whole = true;
    } else if (since !== null && !recovered) entry.log.gap();
    for (const event of events) entry.log.add(event);
    if (entry.snapshot.ended) this.#release(job, entry);
  }

  #event(event) {
    const entry = this.#entry(event.job);
    const before = entry.snapshot.ended;
    const news = entry.snapshot.apply(event);
    entry.log.add(event);
    if (news) entry.missing = false;
    this.#follow(event.job, event.cursor ?? null);
    if (!before && entry.snapshot.ended) this.#over(event.job, entry);
    this.#mark(event.job);
  }

  #over(job, entry) {
    setText(document.getElementById("announcer"), `${shortName(entry.snapshot.name)} ${entry.snapshot.state}`);
    this.#release(job, entry);
  }

  // What an owner's finished job still has to say comes with the owner's events.
  #release(job, entry) {
    if (this.#grant.owner === null || !entry.watched) return;
    entry.watched = false;
    this.#client.unwatch(job).catch(() => {});
  }

  #entry(job) {
    let entry = this.#jobs.get(job);
    if (!entry) {
      const snapshot = new Snapshot(job);
      const card = new JobCard(snapshot, this.#actions);
      entry = { snapshot, card, log: new LogTail(), list: null, key: 0, watched: false, whole: false, missing: false };
      this.#jobs.set(job, entry);
    }
    return entry;
  }

  #actions = {
    cancel: (job) => this.#client.cancel(job),
    changed: (job) => this.#mark(job),
    openLog: (job) => {
      const entry = this.#jobs.get(job);
      if (entry && !entry.whole) this.#history(job, entry);
      this.#mark(job);
    },
  };

  // Followed one by one, a running job resumes from its cursor after a cut, log lines included.
  #follow(job, cursor) {
    const entry = this.#jobs.get(job);
    if (entry.watched || entry.missing || entry.snapshot.ended || !this.#grant.allows("watch")) return;
    const followed = [...this.#jobs.values()].filter(({ watched }) => watched).length;
    if (followed >= FOLLOWED) return;
    entry.watched = true;
    this.#client.watch(job, cursor).catch(() => {
      entry.watched = false;
    });
  }

  // A finished job is not watched; its log is fetched when somebody looks.
  async #history(job, entry) {
    entry.whole = true;
    try {
      await this.#client.watch(job);
    } catch {
      entry.whole = false;
    }
  }

  #mark(job) {
    this.#dirty.add(job);
    this.#draw();
  }

  #draw() {
    if (this.#frame) return;
    const due = performance.now() - this.#drawn > PAUSE;
    // Too soon: the frame passes, and the next one asks again.
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (due) this.#render();
      else this.#draw();
    });
  }

  #render() {
    this.#drawn = performance.now();
    const now = Date.now() / 1000;
    const mayCancel = this.#grant.allows("cancel");
    for (const job of this.#dirty) {
      const entry = this.#jobs.get(job);
      if (!entry) continue;
      entry.card.update(entry.snapshot, entry.log, { now, mayCancel, missing: entry.missing });
      this.#place(entry);
    }
    this.#dirty.clear();
    this.#headings();
  }

  // A card moves only when its job ends: what the reader looks at or holds stays where it is.
  #place(entry) {
    const { snapshot, card } = entry;
    const list = document.querySelector(snapshot.ended ? "#ended .jobs" : "#active .jobs");
    const key = (snapshot.ended && snapshot.ended_at) || snapshot.queued_at || snapshot.started_at || snapshot.at;
    if (entry.list === list && entry.key === key) return;
    Object.assign(entry, { list, key });
    const after = [...list.children].find((node) => node !== card.node && this.#jobs.get(node.dataset.job)?.key < key);
    const held = card.node.contains(document.activeElement);
    list.insertBefore(card.node, after ?? null);
    if (held) card.node.focus({ preventScroll: true });
  }

  #tick() {
    this.#trim();
    const running = [...this.#jobs].filter(([, { snapshot }]) => !snapshot.ended);
    document.title = running.length ? `${running.length} running · taskbridge` : "taskbridge";
    // Without a connection nobody knows what runs: the clocks stand still with the bars.
    if (this.#client.state === "live") for (const [job] of running) this.#mark(job);
  }

  #trim() {
    const ended = [...this.#jobs].filter(([, { snapshot }]) => snapshot.ended);
    ended.sort(([, a], [, b]) => a.key - b.key);
    for (const [job, { card }] of ended.slice(0, Math.max(0, this.#jobs.size - KEPT))) {
      card.node.remove();
      this.#jobs.delete(job);
    }
  }

  #headings() {
    for (const id of ["active", "ended"]) {
      const section = document.getElementById(id);
      const count = section.querySelector(".jobs").childElementCount;
      setHidden(section, count === 0);
      setText(section.querySelector(".count"), String(count));
    }
    setHidden(document.getElementById("empty"), !this.#loaded || this.#jobs.size > 0);
  }
}
