/** What travels between a server and its clients; docs/protocol.md says what each part means. */

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

/** A bar as a task draws it; times in seconds, `rate` per second. */
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
  /** It belongs to a task that waits for others. */
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

/** The queue in which a job waits: tasks ahead (an estimate), and whether anybody works on it. */
export interface QueuePlace {
  name: string;
  ahead: number | null;
  workers: boolean | null;
}

/** When a job is expected to be over, in seconds since the epoch, from so many earlier jobs. */
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

/** A job's events, folded by the server. */
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
  /** Why nothing comes from its workers; null while something does. */
  disturbed?: string | null;
  source?: string;
}

/** What a server answers to `watch`. */
export interface View {
  snapshot: SnapshotData;
  events: JobEvent[];
  /** Whether nothing is missing since the cursor that was given. */
  recovered: boolean;
  cursor: string | null;
}

const ENDINGS: ReadonlySet<string> = new Set(["succeeded", "failed", "cancelled", "lost"]);
/** Types that only a server sends, about what does not speak for itself. */
const SERVER_MADE: ReadonlySet<string> = new Set(["stalled", "estimate", "disturbed"]);

/** Whether a state is how a job or task ends. */
export function isEnd(state: string): state is Ending {
  return ENDINGS.has(state);
}

/** Whether an event is a server's word about a task from which nothing came. */
export function isVerdict(event: JobEvent): boolean {
  return SERVER_MADE.has(event.type) || (isEnd(event.type) && event.data?.["verdict"] === true);
}

/** The objects in what may be a list. */
export function objects<T extends object>(value: unknown): T[] {
  return Array.isArray(value) ? value.filter((item): item is T => item !== null && typeof item === "object") : [];
}
