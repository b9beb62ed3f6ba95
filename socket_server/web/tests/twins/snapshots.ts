/** Folds the events of a story, for tests/unit/socket_server/web/test_snapshot_twin.py. */
import type { JobEvent, SnapshotData } from "../../src/client/protocol.js";
import { Snapshot } from "../../src/client/snapshot.js";
import type { TaskState } from "../../src/client/task-state.js";

interface Story {
  /** The server's snapshot to begin with; null for none. */
  start: SnapshotData | null;
  events: JobEvent[];
  /** Numbers of events after which the snapshot is compared. */
  looks: number[];
}

export function answer({ start, events, looks }: Story): object {
  const snapshot = start ? Snapshot.from(start) : new Snapshot("job");
  const news: boolean[] = [];
  const states: object[] = [];
  for (let number = 0; number <= events.length; number += 1) {
    if (looks.includes(number)) states.push(look(snapshot));
    const event = events[number];
    if (event) news.push(snapshot.apply(event));
  }
  return { news, states: structuredClone(states) };
}

/** All that the snapshot says, under the names of the protocol. */
export function look(snapshot: Snapshot): object {
  const { job, name, title, owner, again_of, at, state, queued_at, started_at, ended_at } = snapshot;
  const { total, done, bars, meta, saved } = snapshot;
  const { error, reason, retry_at, cancelling, stalled, disturbed, queue, eta, dropped, incomplete, source } = snapshot;
  const times = { at, queued_at, started_at, ended_at };
  const why = { error, reason, retry_at, cancelling, stalled, disturbed };
  const outcome = { result: snapshot.result, result_omitted: snapshot.resultOmitted };
  return {
    ...{ job, name, title, owner, again_of, state, total, done, bars, meta, saved, queue, eta, dropped },
    ...{ incomplete, source },
    ...{ ...times, ...why, ...outcome },
    tasks: snapshot.tasks.map(taskOf),
  };
}

function taskOf({
  task,
  name,
  state,
  attempt,
  bars,
  meta,
  resumed,
  run,
  incomplete,
  stalled,
  presumed,
  ...rest
}: TaskState) {
  const { ended_at, error, reason, retry_at, steps, steps_omitted } = rest;
  const fields = { task, name, state, attempt, bars, meta, resumed, run, incomplete, stalled, presumed };
  return { ...fields, ended_at, error, reason, retry_at, steps, steps_omitted };
}
