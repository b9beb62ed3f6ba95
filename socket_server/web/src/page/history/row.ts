/** `Row`: what the history keeps of a job. */
import type { JobEvent, SnapshotData } from "../../client/protocol.js";
import { Snapshot } from "../../client/snapshot.js";

/** The fields of a snapshot that a row shows. */
type Shown = Pick<
  Snapshot,
  | "job"
  | "name"
  | "title"
  | "owner"
  | "state"
  | "stalled"
  | "queued_at"
  | "started_at"
  | "ended_at"
  | "error"
  | "reason"
> &
  Pick<Snapshot, "total" | "done" | "attempt" | "ended">;

/** A job in the history. An ended one has its shown fields alone: thousands of snapshots take much memory. */
export interface Row {
  shown: Shown;
  /** The job's state, to fold events in; null once it has ended. */
  snapshot: Snapshot | null;
}

export function rowOf(given: SnapshotData): Row {
  const snapshot = Snapshot.from(given);
  return snapshot.ended ? { shown: shownOf(snapshot), snapshot: null } : { shown: snapshot, snapshot };
}

/** Fold an event into a job that has not ended; false if nothing has changed. */
export function applyTo(row: Row, event: JobEvent): boolean {
  const { snapshot } = row;
  if (!snapshot?.apply(event)) return false;
  if (snapshot.ended) Object.assign(row, { shown: shownOf(snapshot), snapshot: null });
  return true;
}

function shownOf(snapshot: Snapshot): Shown {
  const { job, name, title, owner, state, stalled, ended, attempt, total, done, reason } = snapshot;
  const { queued_at, started_at, ended_at, error } = snapshot;
  const what = error && { class: error.class, message: error.message };
  const times = { queued_at, started_at, ended_at };
  return { job, name, title, owner, state, stalled, ended, attempt, total, done, reason, error: what, ...times };
}
