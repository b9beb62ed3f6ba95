/** Groups of jobs on the page, each with a heading of its own, in their order. */
import type { JobCounts } from "../client/protocol.js";
import type { Snapshot } from "../client/snapshot.js";

export type Group = keyof JobCounts;
export const GROUPS = ["running", "queued", "ended"] as const satisfies readonly Group[];

export function groupOf({ ended, state }: Pick<Snapshot, "ended" | "state">): Group {
  return ended ? "ended" : state === "queued" ? "queued" : "running";
}

/** Number of jobs in each group. */
export function counted(snapshots: Iterable<Snapshot>): JobCounts {
  const counts = { running: 0, queued: 0, ended: 0 };
  for (const snapshot of snapshots) counts[groupOf(snapshot)] += 1;
  return counts;
}
