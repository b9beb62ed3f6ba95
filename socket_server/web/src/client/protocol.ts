/**
 * The types of the messages between server and client, as this client reads them.
 *
 * `npm run generate` makes protocol.generated.ts from the types in bridge/protocol. Here are the
 * public names, and the fields that a client can do without: older servers do not send all of them.
 */
import type * as sent from "./protocol.generated.js";

export type {
  BarData as Bar,
  Ending,
  EventType,
  Expectation,
  JobCounts,
  JobEvent,
  JobFailure,
  JobState as State,
  LogLine,
  QueuePlace,
  Resumption,
  StepData as Step,
  StepState,
  Totals,
} from "./protocol.generated.js";

/** `Type` with all fields optional but those of `Names`. */
type Needs<Type, Names extends keyof Type> = Pick<Type, Names> & Partial<Omit<Type, Names>>;

/** A task as a server's snapshot lists it. */
export interface TaskData extends Needs<sent.TaskData, "task" | "name"> {}

type Times = "at" | "queued_at" | "started_at" | "ended_at";
type Needed = Needs<Omit<sent.SnapshotData, "tasks">, "job" | "name" | "owner" | "state" | "bars" | Times>;

/** The state of a job, folded by the server from its events. */
export interface SnapshotData extends Needed {
  tasks: TaskData[];
}

/** A server's reply to `watch`. */
export interface View extends Omit<sent.WatchAnswer, "ok" | "snapshot"> {
  snapshot: SnapshotData;
}

// `satisfies` has the compiler find an ending that is missing.
const ALL_ENDINGS = { succeeded: true, failed: true, cancelled: true, lost: true } satisfies Record<sent.Ending, true>;
const ENDINGS: ReadonlySet<string> = new Set(Object.keys(ALL_ENDINGS));
/** Types of events that only servers send. */
const SERVER_MADE: ReadonlySet<string> = new Set<sent.EventType>(["stalled", "estimate", "disturbed"]);

/** Whether a state is final for a job or task. */
export function isEnd(state: string): state is sent.Ending {
  return ENDINGS.has(state);
}

/** Whether a server concluded the event, instead of a task reporting it. */
export function isVerdict(event: sent.JobEvent): boolean {
  const ruled = isEnd(event.type) || event.type === "retrying";
  return SERVER_MADE.has(event.type) || (ruled && event.data?.["verdict"] === true);
}

/** The objects in a list; none if `value` is not a list. */
export function objects<T extends object>(value: unknown): T[] {
  return Array.isArray(value) ? value.filter((item): item is T => item !== null && typeof item === "object") : [];
}
