/** `Requests`: the payload of each request, and what the client reads of its reply. */
import type { ErrorObject } from "./errors.js";
import type { SnapshotData, View } from "./protocol.js";
import type * as sent from "./protocol.generated.js";

export interface Requests {
  watch: [sent.WatchRequest, View];
  unwatch: [sent.UnwatchRequest, object];
  jobs: [sent.JobsRequest, Pick<sent.JobsAnswer, "counts" | "next"> & { jobs: SnapshotData[] }];
  cancel: [sent.CancelRequest, Pick<sent.CancelAnswer, "state">];
  refresh: [sent.RefreshRequest, object];
  run_again: [sent.RunAgainRequest, Pick<sent.RunAgainAnswer, "job" | "again_of">];
  bulk: [sent.BulkRequest, Omit<sent.BulkAnswer, "ok">];
  enqueue: [sent.EnqueueRequest, Pick<sent.EnqueueAnswer, "job"> & Pick<View, "snapshot"> & Partial<View>];
}

/** The payload of a request. */
export type Payload<Name extends keyof Requests> = Requests[Name][0];
/** The reply to a request that was not refused. */
export type Reply<Name extends keyof Requests> = Requests[Name][1];
/** Any reply to a request; `error` is there, and nothing else, if it is not `ok`. */
export type AnyReply<Name extends keyof Requests> = Reply<Name> & { ok?: boolean; error?: ErrorObject };
