/** Types of the messages between server and client; docs/protocol.md describes each field. */

export type Ending = "succeeded" | "failed" | "cancelled" | "lost";
export type State = "queued" | "running" | "retrying" | "cancelling" | Ending;
export type EventType =
  | "queued"
  | "started"
  | "progress"
  | "log"
  | "output"
  | "retrying"
  | "cancelling"
  | "stalled"
  | "estimate"
  | "disturbed"
  | Ending;

/** A progress bar; `eta` and `elapsed` in seconds, `rate` per second. */
export interface Bar {
  position: number;
  desc: string;
  n: number;
  total: number | null;
  unit: string;
  unit_scale: boolean | number;
  rate: number | null;
  eta: number | null;
  elapsed: number;
  postfix: string;
  closed: boolean;
  /** Set on the placeholder that is drawn for a job without bars that waits or is stalled. */
  idle?: boolean;
}

export interface LogLine {
  /** Seconds since the epoch. */
  at: number;
  level: string;
  message: string;
}

export interface JobFailure {
  class: string;
  message: string;
  traceback?: string;
}

/** The queue of a waiting job: estimated tasks ahead, whether it has workers; null: unknown. */
export interface QueuePlace {
  name: string;
  ahead: number | null;
  workers: boolean | null;
}

/** Expected end of a job, in seconds since the epoch, estimated from `jobs` earlier ones. */
export interface Expectation {
  earliest: number;
  latest: number;
  jobs: number;
}

/** One event of one task of a job. Its place is (run, seq, tick). */
export interface JobEvent {
  v: number;
  job: string;
  task: string;
  name: string;
  owner: string | null;
  type: EventType;
  run: number;
  seq: number;
  tick: number;
  /** Seconds since the epoch. */
  at: number;
  data: Record<string, unknown>;
  cursor?: string | null;
}

/** A task as a server's snapshot lists it. */
export interface TaskData {
  task: string;
  name: string;
  state?: State;
  attempt?: number;
  bars?: Bar[];
  meta?: Record<string, unknown>;
  run?: number;
  seq?: number;
  tick?: number;
  incomplete?: boolean;
  stalled?: boolean;
  presumed?: boolean;
  ended_at?: number | null;
  error?: JobFailure | null;
  reason?: string | null;
  retry_at?: number | null;
}

/** The state of a job, folded by the server from its events. */
export interface SnapshotData {
  job: string;
  name: string;
  owner: string | null;
  state: State;
  at: number;
  queued_at: number | null;
  started_at: number | null;
  ended_at: number | null;
  bars: Bar[];
  tasks: TaskData[];
  total?: number;
  done?: number;
  planned?: number;
  spawned?: number;
  meta?: Record<string, unknown>;
  result?: unknown;
  result_omitted?: boolean;
  error?: JobFailure | null;
  reason?: string | null;
  retry_at?: number | null;
  queue?: QueuePlace | null;
  eta?: Expectation | null;
  dropped?: number;
  incomplete?: boolean;
  cancelling?: boolean;
  stalled?: boolean;
  /** Why no events come from its workers; null while they do. */
  disturbed?: string | null;
  source?: string;
}

/** A server's reply to `watch`. */
export interface View {
  snapshot: SnapshotData;
  events: JobEvent[];
  /** Whether no event since the request's cursor is missing, progress apart. */
  recovered: boolean;
  cursor: string | null;
}

const ENDINGS: ReadonlySet<string> = new Set(["succeeded", "failed", "cancelled", "lost"]);
/** Types of events that only servers send. */
const SERVER_MADE: ReadonlySet<string> = new Set(["stalled", "estimate", "disturbed"]);

/** Whether a state is final for a job or task. */
export function isEnd(state: string): state is Ending {
  return ENDINGS.has(state);
}

/** Whether a server concluded the event, instead of a task reporting it. */
export function isVerdict(event: JobEvent): boolean {
  return SERVER_MADE.has(event.type) || (isEnd(event.type) && event.data?.["verdict"] === true);
}

/** The objects in a list; none if `value` is not a list. */
export function objects<T extends object>(value: unknown): T[] {
  return Array.isArray(value) ? value.filter((item): item is T => item !== null && typeof item === "object") : [];
}
