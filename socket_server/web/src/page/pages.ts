/** `Pages`: requests the list of jobs, page by page, and knows how many jobs are left out. */
import type { Client, ClientEvents } from "../client/client.js";
import type { JobCounts } from "../client/protocol.js";
import { GROUPS, type Group } from "./groups.js";

/** Jobs that are requested at first, and each time that more are asked for. */
export const LISTED = 100;
const COUNTED = 5000; // least milliseconds between two requests of the counts alone

/** Jobs that are not on the page. */
export type Left = Pick<Pages, "more" | "loading" | "left">;
export const NONE_LEFT: Left = { more: false, loading: false, left: () => 0 };

export class Pages {
  #client: Client;
  #loaded: () => JobCounts;
  #wanted = LISTED;
  /** Position of the first job that is not listed; undefined if the list has to begin anew. */
  #next: string | undefined;
  /** Jobs that the server has and the page does not; null if the server does not count (0.1.0). */
  #left: JobCounts | null = { running: 0, queued: 0, ended: 0 };
  #stale = false;
  #countedAt = -Infinity;
  /** Whether there are jobs that are not on the page, and whether further ones of them are requested. */
  more = false;
  loading = false;

  /** `loaded` counts the jobs on the page. */
  constructor(client: Client, loaded: () => JobCounts) {
    this.#client = client;
    this.#loaded = loaded;
    client.addEventListener("jobs", ({ detail }) => this.#listed(detail));
  }

  /** Most jobs that the page keeps. */
  get kept(): number {
    return this.#wanted + LISTED;
  }

  /** Request the newest jobs, as many as were asked for so far. */
  async load(): Promise<void> {
    await this.#client.jobs({ limit: this.#wanted });
  }

  /** Request jobs that are older than those on the page. */
  async showMore(): Promise<void> {
    this.#wanted += LISTED;
    if (this.#next === undefined) return this.load();
    await this.#client.jobs({ limit: LISTED, next: this.#next });
  }

  /** Ended jobs were taken off the page. */
  trimmed(jobs: number): void {
    if (!jobs) return;
    this.#next = undefined;
    this.more = true;
    if (this.#left) this.#left.ended += jobs;
  }

  /** A job that was not listed has come onto the page by one of its events; `before`: its group until then. */
  appeared(before: Group): void {
    if (!this.more || !this.#left) return;
    this.#left[before] = Math.max(0, this.#left[before] - 1);
    this.#stale = true; // what the job was before is a guess
  }

  /** Count again if needed; `now` in milliseconds, by a clock that only goes forward. */
  async recount(now: number): Promise<void> {
    if (!this.#stale || now - this.#countedAt < COUNTED) return;
    this.#stale = false;
    this.#countedAt = now;
    await this.#client.counts().then(
      (counts) => this.#count(counts),
      () => (this.#stale = true),
    );
  }

  /** Number of jobs of a group that are not on the page; null if unknown. */
  left(group: Group): number | null {
    return this.more ? (this.#left?.[group] ?? null) : 0;
  }

  #listed({ last, next, counts }: ClientEvents["jobs"]): void {
    this.#next = next;
    this.more = next !== undefined;
    this.loading = !last;
    this.#stale = false;
    this.#count(counts);
  }

  #count(counts: JobCounts | undefined): void {
    const loaded = this.#loaded();
    const left = (group: Group) => Math.max(0, (counts?.[group] ?? 0) - loaded[group]);
    this.#left = counts ? { running: left("running"), queued: left("queued"), ended: left("ended") } : null;
  }
}

/** A heading's count: of the jobs on the page, of those that are not, and of those that a filter shows. */
export function countText(loaded: number, left: number | null, shown: number | null): string {
  const all = left === null ? `${loaded}+` : String(loaded + left);
  return shown === null || String(shown) === all ? all : `${shown} of ${all}`;
}

const WORDS: Record<Group, string> = { running: "running", queued: "queued", ended: "finished" };

/** A sentence on the jobs that are not on the page; "" if there are none. */
export function leftText(pages: Left): string {
  if (!pages.more) return "";
  const left = GROUPS.flatMap((group) => {
    const count = pages.left(group);
    return count ? [`${count} ${WORDS[group]}`] : [];
  });
  return left.length ? `Not listed: ${left.join(", ")}.` : "There are older jobs that are not listed.";
}
