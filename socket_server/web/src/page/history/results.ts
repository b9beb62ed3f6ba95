/** `Results`: the jobs that a search has found so far, page by page. */
import type { JobEvent, SnapshotData } from "../../client/protocol.js";
import { FIELDS, type Search } from "../address.js";
import { applyTo, rowOf, type Row } from "./row.js";

/** Jobs that are asked for at once; the server answers with as many as fit into an answer. */
const PAGE = 100;

/** The answer of `GET /api/jobs`, as far as it is read here. */
export interface Found {
  jobs: SnapshotData[];
  next?: string;
  archive_away?: boolean;
}

export type Query = Record<string, string | number>;
/** Asks the server for a page. */
export type Ask = (query: Query, signal: AbortSignal) => Promise<Found>;

export class Results {
  readonly search: Search;
  /** Newest first. */
  readonly rows: Row[] = [];
  /** Whether the server is being asked, and whether all that was found is here. */
  asking = false;
  complete = false;
  /** Why the last page did not come; "" if it did. */
  fault = "";
  /** Whether the archive did not answer for a page. */
  away = false;
  #places = new Map<string, Row>();
  #ask: Ask;
  #changed: () => void;
  #next: string | undefined;
  #stop = new AbortController();

  /** `changed` is called whenever there is something new to show. */
  constructor(search: Search, ask: Ask, changed: () => void) {
    this.search = search;
    this.#ask = ask;
    this.#changed = changed;
  }

  /** Ask for the next page, unless it is being asked for, or all are here. */
  async more(): Promise<void> {
    if (this.asking || this.complete) return;
    this.asking = true;
    this.fault = "";
    this.#changed();
    try {
      const found = await this.#ask(this.#query(), this.#stop.signal);
      this.#take(found);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.fault = (error as Error).message;
    }
    this.asking = false;
    this.#changed();
  }

  /** Fold in an event; false if it is not about a job that is here, or tells nothing new. */
  apply(event: JobEvent): boolean {
    const row = this.#places.get(event.job);
    return row !== undefined && applyTo(row, event);
  }

  has(job: string): boolean {
    return this.#places.has(job);
  }

  /** Ask for nothing more. */
  close(): void {
    this.#stop.abort();
  }

  #query(): Query {
    const query: Query = { limit: PAGE };
    for (const field of FIELDS) if (this.search[field]) query[field] = this.search[field];
    if (this.#next !== undefined) query["next"] = this.#next;
    return query;
  }

  #take({ jobs, next, archive_away: away }: Found): void {
    for (const given of jobs) {
      if (this.#places.has(given.job)) continue;
      const row = rowOf(given);
      this.#places.set(given.job, row);
      this.rows.push(row);
    }
    this.away ||= Boolean(away);
    this.#next = next;
    this.complete = next === undefined;
  }
}
