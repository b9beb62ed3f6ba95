/**
 * taskbridge's client.
 *
 *     import { connect } from "taskbridge-client";
 *     const client = connect({ url: "https://jobs.example.com", getToken });
 *     for await (const event of client.watch(job)) draw(event);
 */
export {
  Client,
  connect,
  type ClientEvents,
  type ConnectionState,
  type ConnectOptions,
  type Watched,
} from "./client.js";
export { RequestError } from "./errors.js";
export { LogTail, type TailLine } from "./log-tail.js";
export * from "./protocol.js";
export { Snapshot } from "./snapshot.js";
export { TaskState } from "./task-state.js";
export { readToken, type TokenGrant } from "./token.js";
export { WatchedJob, type WatchedJobEvents } from "./watched-job.js";
