/** `connect` and `Client`: a connection to a taskbridge server that reconnects until closed. */
import { io, type Socket } from "socket.io-client";
import { Credentials } from "./credentials.js";
import { RequestError, refusal, type ErrorObject } from "./errors.js";
import { Novelty } from "./novelty.js";
import { originRefusal } from "./origin.js";
import type { JobCounts, JobEvent, SnapshotData, State, View } from "./protocol.js";
import type * as sent from "./protocol.generated.js";
import type { AnyReply, Payload, Reply, Requests } from "./requests.js";
import { targetOf } from "./target.js";
import { WatchedJob } from "./watched-job.js";

const REQUEST_TIMEOUT = 15_000; // milliseconds
const AGAIN = 1000; // milliseconds before a retry, on average
/** The server's default for `limit` of a `jobs` request, and its maximum. */
const [LISTED, MOST_LISTED] = [50, 200];
/** First and longest wait, in milliseconds, to reconnect after the server ended a connection. */
const [FIRST_WAIT, LONGEST_WAIT] = [500, 15_000];

export type ConnectionState = "connecting" | "live" | "reconnecting" | "refused" | "closed";

/** The server's reply to a `watch` or `enqueue` request of a followed job. */
export interface Watched extends View {
  job: string;
  /** Cursor that was sent with the request; null if the reply starts with the oldest event held. */
  since: string | null;
}

export interface ClientEvents {
  state: { state: ConnectionState; message: string };
  /**
   * A page of the owner's jobs; `first` and `last` of those that one call of `jobs` requests. `next` is
   * the position of the page after it, undefined if there is none; `counts` those of all the owner's
   * jobs, undefined if the server does not send them (0.1.0).
   */
  jobs: { jobs: SnapshotData[]; first: boolean; last: boolean; next?: string; counts?: JobCounts };
  watched: Watched;
  /** A job is not followed: the server refused for good, for example with `not_found`. */
  missing: { job: string; error: RequestError };
  job: JobEvent;
  /** An event that was dispatched before, from a server that is behind: its snapshot lacked the event. */
  repeated: JobEvent;
  token_expiring: Partial<sent.TokenExpiring>;
  /** The server renewed the token, with which the client now reconnects. */
  token_renewed: Partial<sent.TokenRenewed>;
  /** The server stops: it ends the connection after `after` seconds; the client reconnects. */
  draining: Partial<sent.Draining>;
}

export interface ConnectOptions {
  /** URL of the server, with its path prefix, if any; default the page's origin. */
  url?: string;
  /** In its place comes each token that the server renews, or that is passed to `refresh`. */
  token?: string;
  /** Returns a token; called at each connection, and before a token expires. */
  getToken?: () => Promise<string>;
  /** Default WebSocket only; add "polling" as a fallback if the server offers it. */
  transports?: ("websocket" | "polling")[];
}

type Refusal = Error & { data?: ErrorObject };

function passing(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, AGAIN * (0.5 + Math.random())));
}

/** Connect to a server, and reconnect until `close()` is called. */
export function connect({ url = "", token, getToken, transports = ["websocket"] }: ConnectOptions): Client {
  const credentials = new Credentials(token, getToken);
  const at = new URL(url || "/", globalThis.location?.href);
  const socket = io(`${at.origin}/jobs`, {
    path: `${at.pathname.replace(/\/$/, "")}/socket.io`,
    auth: (answer) => void credentials.current().then(answer, () => answer({})),
    transports,
    tryAllTransports: true,
    forceNew: true,
    reconnectionDelay: FIRST_WAIT,
    reconnectionDelayMax: 5000,
  });
  return new Client(socket, credentials, () => originRefusal(at));
}

export class Client extends targetOf<ClientEvents>() {
  #socket: Socket;
  #state: ConnectionState = "connecting";
  /** Cursor of each followed job; null before the first. */
  #cursors = new Map<string, string | null>();
  #news = new Map<string, Novelty>();
  /** Jobs that `follow` was called for: they are followed whether or not they are watched. */
  #followed = new Set<string>();
  /** Jobs with a pending `watch` request, each with a symbol of the newest call of `follow`. */
  #asked = new Map<string, symbol>();
  #watches = new Map<string, Set<WatchedJob>>();
  /** Why the server refused for good; undefined if it did not. */
  #refusal: RequestError | undefined;
  #wait = FIRST_WAIT;
  /** Shard that a server named when it refused with `wrong_shard`; undefined before. */
  #shard: number | undefined;
  /** When the client last connected, in milliseconds since the epoch. */
  #since = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #credentials: Credentials;
  /** Returns why the server does not let the page's origin in; "" if it does, null if unknown. */
  #originRefusal: () => Promise<string | null>;
  /** Whether the server was asked about the origin, or is being asked, since the last connection. */
  #originAsked = false;

  constructor(
    socket: Socket,
    credentials = new Credentials(),
    originRefusal: () => Promise<string | null> = async () => null,
  ) {
    super();
    this.#socket = socket;
    this.#credentials = credentials;
    this.#originRefusal = originRefusal;
    socket.on("connect", () => this.#live());
    socket.on("connect_error", (error: Refusal) => this.#refused(error));
    socket.on("disconnect", (reason) => this.#lost(reason));
    socket.on("job", (event: JobEvent) => this.#event(event));
    socket.on("token_expiring", (detail) => void this.#expiring(detail ?? {}));
    socket.on("token_renewed", (detail) => this.#renewed(detail));
    socket.on("draining", (detail) => this.#dispatch("draining", detail));
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** The shard that a server has named, for requests over HTTP; undefined if none did. */
  get shard(): number | undefined {
    return this.#shard;
  }

  /** Watch a job until `close()` of the result is called; iterating it ends with the job. */
  watch(job: string): WatchedJob {
    const watched = new WatchedJob(job, this, () => this.#unwatch(watched));
    const others = this.#watches.get(job) ?? new Set();
    const first = !this.#cursors.has(job);
    this.#watches.set(job, others.add(watched));
    const refused = this.#refusal;
    if (refused) queueMicrotask(() => watched.fail(refused));
    else if (this.#state === "live") (first ? this.#begin(job, null) : this.#join(watched)).catch(() => {});
    else if (!this.#cursors.has(job)) this.#cursors.set(job, null); // requested on connect
    return watched;
  }

  // The job is followed already: only the new watcher gets the reply.
  async #join(watched: WatchedJob): Promise<void> {
    await this.#request("watch", { job: watched.job }, (view) => {
      watched.begin(view.snapshot, view.events ?? [], view.recovered);
    });
  }

  #unwatch(watched: WatchedJob): void {
    const left = this.#watches.get(watched.job);
    if (!left?.delete(watched) || left.size > 0) return;
    this.#watches.delete(watched.job);
    if (!this.#followed.has(watched.job)) this.#leave(watched.job).catch(() => {});
  }

  /**
   * List the owner's jobs, newest first, and subscribe to the events of all of them. `next` is that of
   * the "jobs" event of the page before; without it, the list begins with the newest job.
   */
  async jobs(options: { limit?: number; state?: State; next?: string } = {}): Promise<SnapshotData[]> {
    const all: SnapshotData[] = [];
    const limit = options.limit ?? LISTED;
    let next = options.next;
    const apply = ({ jobs, ...reply }: Reply<"jobs">) => {
      const first = next === undefined;
      all.push(...jobs);
      next = jobs.length && all.length < limit ? reply.next : undefined;
      this.#dispatch("jobs", { ...reply, jobs, first, last: next === undefined });
    };
    await this.#request("jobs", { ...options, limit: Math.min(limit, MOST_LISTED) }, apply);
    while (next !== undefined) {
      const left = Math.min(limit - all.length, MOST_LISTED);
      await this.#nextPage({ ...options, limit: left, next }, apply);
    }
    return all;
  }

  /** Count the owner's jobs; undefined if the server does not (0.1.0). */
  async counts(): Promise<JobCounts | undefined> {
    return (await this.#request("jobs", { limit: 1 })).counts;
  }

  async #nextPage(payload: Payload<"jobs">, apply: (reply: Reply<"jobs">) => void): Promise<void> {
    try {
      await this.#request("jobs", payload, apply);
    } catch (error) {
      if (!(error instanceof RequestError) || !error.temporary || this.#state !== "live") throw error;
      await passing();
    }
  }

  /** Enqueue a job by the name of its task; returns it watched. The same `key` gets the same job. */
  async enqueue(
    name: string,
    call: { args?: unknown[]; kwargs?: Record<string, unknown>; key?: string } = {},
  ): Promise<WatchedJob> {
    let watched!: WatchedJob;
    await this.#request("enqueue", { name, ...call }, (reply) => {
      const { job } = reply;
      watched = new WatchedJob(job, this, () => this.#unwatch(watched));
      this.#watches.set(job, (this.#watches.get(job) ?? new Set()).add(watched));
      this.#watched(job, { events: [], recovered: true, cursor: null, ...reply }, null);
    });
    return watched;
  }

  /** Request the cancellation of a job; returns its state before. */
  async cancel(job: string): Promise<State> {
    return (await this.#request("cancel", { job })).state;
  }

  /** Run an ended job again; returns the id of the new job, which is the same for the same `key`. */
  async runAgain(job: string, key: string, { resume = false } = {}): Promise<string> {
    return (await this.#request("run_again", { job, key, resume })).job;
  }

  /** Run again, or cancel, all jobs that a filter finds; with `preview`, say what would be done. */
  async bulk(request: Payload<"bulk">): Promise<Reply<"bulk">> {
    return this.#request("bulk", request);
  }

  /** Replace the token without a reconnect. */
  async refresh(token: string): Promise<void> {
    await this.#request("refresh", this.#credentials.with(token));
    this.#credentials.keep(token);
  }

  /**
   * Follow a job across reconnects until `unfollow`, from a cursor on if one is given.
   *
   * The reply and the events are dispatched as "watched" and "job" of the client.
   */
  async follow(job: string, cursor: string | null = null): Promise<void> {
    this.#followed.add(job);
    await this.#begin(job, cursor);
  }

  async #begin(job: string, cursor: string | null): Promise<void> {
    if (!this.#cursors.has(job)) this.#cursors.set(job, cursor);
    const asked = Symbol(job);
    this.#asked.set(job, asked);
    try {
      await this.#untilAnswered(job, cursor);
    } catch (error) {
      if (error instanceof RequestError && !error.temporary) this.#missing(job, error);
      throw error;
    } finally {
      if (this.#asked.get(job) === asked) this.#asked.delete(job);
    }
  }

  async #untilAnswered(job: string, cursor: string | null): Promise<void> {
    const payload = cursor === null ? { job } : { job, cursor };
    const apply = (view: View) => this.#watched(job, view, cursor);
    for (;;) {
      try {
        await this.#request("watch", payload, apply);
        return;
      } catch (error) {
        if (!(error instanceof RequestError) || !error.temporary) throw error;
        // Without a connection, `#live` repeats the request once there is one.
        if (this.#state !== "live" || !this.#cursors.has(job)) throw error;
        await passing();
      }
    }
  }

  #missing(job: string, error: RequestError): void {
    this.#cursors.delete(job);
    this.#followed.delete(job);
    this.#dispatch("missing", { job, error });
    for (const one of this.#watches.get(job) ?? []) one.fail(error);
    this.#watches.delete(job);
  }

  /** Stop following a job, unless it is watched too. */
  async unfollow(job: string): Promise<void> {
    this.#followed.delete(job);
    if (!this.#watches.has(job)) await this.#leave(job);
  }

  async #leave(job: string): Promise<void> {
    this.#cursors.delete(job);
    this.#news.delete(job);
    if (this.#socket.connected) await this.#request("unwatch", { job });
  }

  /** Disconnect for good, and close all watched jobs. */
  close(): void {
    clearTimeout(this.#timer);
    this.#enter("closed");
    this.#socket.disconnect();
    for (const watches of this.#watches.values()) for (const one of watches) one.close();
  }

  // `apply` runs as soon as the reply arrives, before any later event; the promise resolves only in
  // a later microtask.
  #request<Name extends keyof Requests>(
    name: Name,
    payload: Payload<Name>,
    apply: (reply: Reply<Name>) => void = () => {},
  ): Promise<Reply<Name>> {
    return new Promise((resolve, reject) => {
      // Rejected now: socket.io would buffer the request and send it on a later connection.
      if (!this.#socket.connected)
        throw new RequestError("unavailable", "The server cannot be reached right now: try again in a moment.");
      this.#socket
        .timeout(REQUEST_TIMEOUT)
        .emit(name, payload, (late: Error | null, reply: AnyReply<Name> | undefined) => {
          if (late) return reject(new RequestError("unavailable", "The server did not answer in time: try again."));
          if (!reply?.ok) return reject(refusal(reply?.error));
          apply(reply);
          return resolve(reply);
        });
    });
  }

  #event(event: JobEvent): void {
    if (typeof event?.job !== "string") return;
    const followed = this.#cursors.has(event.job);
    // Events of the owner's room may arrive before the reply to `watch`, which contains every event
    // since the cursor. A newer event taken first would make those look like duplicates.
    if (this.#asked.has(event.job)) return;
    if (followed && event.cursor) this.#cursors.set(event.job, event.cursor);
    const news = !followed || this.#isNews(event);
    this.#dispatch(news ? "job" : "repeated", event);
    for (const one of [...(this.#watches.get(event.job) ?? [])]) one.take(event);
  }

  #isNews(event: JobEvent): boolean {
    const known = this.#news.get(event.job) ?? new Novelty();
    this.#news.set(event.job, known);
    return known.take(event);
  }

  #watched(job: string, view: View, since: string | null): void {
    this.#cursors.set(job, view.cursor ?? null);
    this.#asked.delete(job);
    if (since === null) this.#news.delete(job); // without a cursor, all events are given out again
    const events = (view.events ?? []).filter((event) => this.#isNews(event));
    this.#dispatch("watched", { ...view, events, job, since });
    for (const one of [...(this.#watches.get(job) ?? [])]) one.begin(view.snapshot, events, view.recovered);
  }

  async #expiring(detail: ClientEvents["token_expiring"]): Promise<void> {
    this.#dispatch("token_expiring", detail);
    if (!this.#credentials.fromApplication) return;
    // Without a new token, the server ends the connection at the expiry and refuses the next one.
    await this.#credentials
      .current()
      .then((auth) => this.#request("refresh", auth))
      .catch(() => {});
  }

  #renewed(detail: ClientEvents["token_renewed"]): void {
    const token = detail?.token;
    if (typeof token !== "string") return;
    this.#credentials.keep(token);
    this.#dispatch("token_renewed", detail);
  }

  #live(): void {
    this.#since = Date.now();
    this.#originAsked = false;
    const before = [...this.#cursors]; // without jobs that listeners of "state" follow themselves
    this.#enter("live");
    for (const [job, cursor] of before) this.#begin(job, cursor).catch(() => {});
  }

  #refused(error: Refusal): void {
    const { code, shard } = error.data ?? {};
    if (code === "wrong_shard" && typeof shard === "number" && shard !== this.#shard) return this.#moveTo(shard);
    if (this.#socket.active) return this.#unanswered();
    const reason = refusal({ code: "unauthorized", ...error.data, message: error.message });
    return reason.temporary ? this.#again(error.message) : this.#giveUp(reason);
  }

  #unanswered(): void {
    this.#enter(this.#trying, "The server does not answer; trying again.");
    void this.#askAboutOrigin();
  }

  // A browser does not tell a page whether a WebSocket failed or was refused.
  async #askAboutOrigin(): Promise<void> {
    if (this.#originAsked) return;
    this.#originAsked = true;
    const refused = await this.#originRefusal();
    if (refused === null) this.#originAsked = false;
    if (!refused || this.#state === "closed" || this.#socket.connected) return;
    // A page that was let in before waits: servers may be restarted with other settings.
    if (this.#since) return this.#enter(this.#trying, refused);
    this.#socket.disconnect();
    this.#giveUp(new RequestError("forbidden", refused));
  }

  // A load balancer chooses the server by the query `shard`.
  #moveTo(shard: number): void {
    this.#shard = shard;
    this.#socket.disconnect();
    this.#socket.io.opts.query = { shard: String(shard) };
    this.#socket.connect();
  }

  #giveUp(error: RequestError): void {
    this.#refusal = error;
    this.#enter("refused", error.message);
    for (const watches of this.#watches.values()) for (const one of [...watches]) one.fail(error);
    this.#watches.clear();
  }

  #lost(reason: string): void {
    if (this.#state === "closed" || reason === "io client disconnect") return;
    if (this.#socket.active) this.#enter("reconnecting");
    // socket.io does not reconnect after the server ended the connection. The next attempt is
    // refused with a reason if the token has expired, and accepted if the server only restarted
    // or found the client slow.
    else this.#again();
  }

  #again(message = ""): void {
    this.#enter(this.#trying, message);
    // Back off from a server that ends each connection soon after it began.
    if (Date.now() - this.#since > LONGEST_WAIT) this.#wait = FIRST_WAIT;
    this.#timer = setTimeout(() => this.#socket.connect(), this.#wait * (0.5 + Math.random()));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  get #trying(): ConnectionState {
    return this.#state === "connecting" ? "connecting" : "reconnecting";
  }

  #enter(state: ConnectionState, message = ""): void {
    this.#state = state;
    this.#dispatch("state", { state, message });
  }

  #dispatch<Name extends keyof ClientEvents>(name: Name, detail: ClientEvents[Name]): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
