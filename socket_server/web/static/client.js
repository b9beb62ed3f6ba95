/**
 * A client of namespace /jobs over Socket.IO.
 *
 *   const client = connect({ token });                      // or { getToken: async () => "…" }
 *   client.addEventListener("state", ({ detail }) => …);    // {state, message}
 *   client.addEventListener("jobs", ({ detail }) => …);     // {jobs: [snapshot…]}
 *   client.addEventListener("watched", ({ detail }) => …);  // {job, snapshot, events, recovered, cursor, since}
 *   client.addEventListener("missing", ({ detail }) => …);  // {job}: the server knows no such job
 *   client.addEventListener("job", ({ detail }) => …);      // one event, with its cursor
 *   const { job } = await client.enqueue("workers.jobs.checksum", { kwargs: { path: "/data" } });
 *
 * Replies are dispatched as events at the moment they arrive, so that a reply and the events
 * behind it are handled in the server's order; the promises are for who asked.
 */
import { isVerdict } from "./snapshot.js";
import { io } from "./vendor/socket.io.esm.min.js";

const REQUEST_TIMEOUT = 15_000; // milliseconds
/** Refusals that asking again with the same token cannot change. */
const FINAL = new Set(["unauthorized", "forbidden", "bad_request"]);
/** Milliseconds of first and longest wait before coming back after the server hung up on us. */
const [FIRST_WAIT, LONGEST_WAIT] = [500, 15_000];

/** A request that the server refused or did not answer; `message` is one sentence for a person. */
export class RequestError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "RequestError";
    this.code = code;
  }
}

/**
 * Connect and stay connected. `token` is one, or `getToken` resolves to one and is asked again
 * before it expires and whenever the connection is made anew; `url` is the server's origin
 * (default: the page's own); `transports` defaults to WebSocket alone; add "polling" for a fallback.
 */
export function connect({ token, getToken, url = "", transports = ["websocket"] }) {
  const ask = getToken ?? (async () => token);
  return new Client(
    io(`${url}/jobs`, {
      auth: (answer) => ask().then((one) => answer({ token: one }), () => answer({})),
      transports,
      tryAllTransports: true,
      forceNew: true,
      reconnectionDelay: FIRST_WAIT,
      reconnectionDelayMax: 5000,
    }),
    getToken,
  );
}

export class Client extends EventTarget {
  #socket;
  #state = "connecting";
  #cursors = new Map(); // job -> cursor, of the jobs being watched
  #seen = new Map(); // job -> Map of task -> [run, seq, tick] of the newest event given out
  #wait = FIRST_WAIT;
  #since = 0; // when the connection was last made
  #timer = 0;
  #getToken; // asked for another token when this one is about to expire

  constructor(socket, getToken) {
    super();
    this.#socket = socket;
    this.#getToken = getToken;
    socket.on("connect", () => this.#live());
    socket.on("connect_error", (error) => this.#refused(error));
    socket.on("disconnect", (reason) => this.#lost(reason));
    socket.on("job", (event) => this.#event(event));
    socket.on("token_expiring", (detail) => this.#expiring(detail ?? {}));
    socket.on("draining", (detail) => this.#draining(detail?.after));
  }

  /** "connecting", "live", "reconnecting", "refused" or "closed". */
  get state() {
    return this.#state;
  }

  /** The owner's jobs, newest first; from now on all of the owner's events arrive. */
  jobs({ limit, state } = {}) {
    return this.#request("jobs", { limit, state }, (reply) => this.#dispatch("jobs", reply));
  }

  /** Follow a job, from a cursor on if one is given, through every reconnect until `unwatch`. */
  watch(job, cursor = null) {
    if (!this.#cursors.has(job)) this.#cursors.set(job, cursor);
    const payload = cursor === null ? { job } : { job, cursor };
    return this.#request("watch", payload, (reply) => this.#watched(job, reply, cursor)).catch((error) => {
      if (error.code === "not_found") {
        this.#cursors.delete(job);
        this.#dispatch("missing", { job });
      }
      throw error;
    });
  }

  /** Stop following a job. */
  unwatch(job) {
    this.#cursors.delete(job);
    this.#seen.delete(job);
    return this.#request("unwatch", { job });
  }

  /** Start a job, by the name of its task; it is being watched when this answers. */
  enqueue(name, { args, kwargs } = {}) {
    return this.#request("enqueue", { name, args, kwargs }, (reply) =>
      this.#watched(reply.job, { events: [], recovered: true, ...reply }, null),
    );
  }

  /** Ask for a job to be cancelled. */
  cancel(job) {
    return this.#request("cancel", { job });
  }

  /** Go on with another token, without connecting anew. */
  refresh(token) {
    return this.#request("refresh", { token });
  }

  /** Hang up for good. */
  close() {
    clearTimeout(this.#timer);
    this.#enter("closed");
    this.#socket.disconnect();
  }

  #request(name, payload, apply = () => {}) {
    return new Promise((resolve, reject) => {
      // Not left in socket.io's send buffer: who asked is told now, and nothing happens later.
      if (!this.#socket.connected) throw new RequestError("unavailable", "The server cannot be reached right now: try again in a moment.");
      this.#socket.timeout(REQUEST_TIMEOUT).emit(name, payload, (late, reply) => {
        if (late) return reject(new RequestError("unavailable", "The server did not answer in time: try again."));
        if (!reply?.ok) return reject(refusal(reply?.error));
        apply(reply);
        return resolve(reply);
      });
    });
  }

  #event(event) {
    if (typeof event?.job !== "string") return;
    if (this.#cursors.has(event.job) && event.cursor) this.#cursors.set(event.job, event.cursor);
    if (!this.#cursors.has(event.job) || this.#isNews(event)) this.#dispatch("job", event);
  }

  // Where it goes on, a server may know less than the one before it, and tell some of it again.
  #isNews(event) {
    const { job, task, type, at, run, seq, tick } = event;
    if (!this.#seen.has(job)) this.#seen.set(job, new Map());
    const seen = this.#seen.get(job);
    // A cancel has no place of its own, and what a server makes of silence that of another event.
    const placeless = type === "cancelling" || isVerdict(event);
    if (placeless) return !seen.has(`${task} ${type} ${at}`) && seen.set(`${task} ${type} ${at}`, true);
    const last = seen.get(task);
    const news = !last || run > last[0] || (run === last[0] && (seq > last[1] || (seq === last[1] && tick > last[2])));
    if (news) seen.set(task, [run, seq, tick]);
    return news;
  }

  #watched(job, reply, since) {
    this.#cursors.set(job, reply.cursor ?? null);
    if (since === null) this.#seen.delete(job); // who asks for the beginning gets all of it
    const events = (reply.events ?? []).filter((event) => this.#isNews(event));
    this.#dispatch("watched", { ...reply, events, job, since });
  }

  async #expiring(detail) {
    this.#dispatch("token_expiring", detail);
    if (!this.#getToken) return;
    // Without another one the server hangs up when this one expires, and says why at the next try.
    await this.#getToken().then((token) => this.refresh(token)).catch(() => {});
  }

  // The server stops: all its clients come back, not all of them at once.
  #draining(after) {
    if (after > 0) this.#socket.io.reconnectionDelay(FIRST_WAIT + 1000 * Math.min(after, 60) * Math.random());
  }

  #live() {
    this.#socket.io.reconnectionDelay(FIRST_WAIT);
    this.#since = Date.now();
    const before = [...this.#cursors]; // without what is asked for by those who hear of it now
    this.#enter("live");
    for (const [job, cursor] of before) this.watch(job, cursor).catch(() => {});
  }

  #refused(error) {
    const code = error.data?.code;
    if (this.#socket.active) return this.#enter(this.#trying(), "The server does not answer; trying again.");
    if (FINAL.has(code) || code === undefined) return this.#enter("refused", error.message);
    return this.#again(error.message);
  }

  #lost(reason) {
    if (this.#state === "closed" || reason === "io client disconnect") return;
    if (this.#socket.active) this.#enter("reconnecting");
    // The server hung up, which socket.io takes for final: a token that ran out is refused at
    // the next try, with its reason; a server that restarts or found us slow takes us back.
    else this.#again();
  }

  #again(message) {
    this.#enter(this.#trying(), message);
    // A server that hangs up on us as soon as we are in is asked less and less often.
    if (Date.now() - this.#since > LONGEST_WAIT) this.#wait = FIRST_WAIT;
    this.#timer = setTimeout(() => this.#socket.connect(), this.#wait * (0.5 + Math.random()));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  #trying() {
    return this.#state === "connecting" ? "connecting" : "reconnecting";
  }

  #enter(state, message = "") {
    this.#state = state;
    this.#dispatch("state", { state, message });
  }

  #dispatch(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function refusal(error) {
  return new RequestError(error?.code ?? "unavailable", error?.message ?? "The server's answer could not be understood.");
}
