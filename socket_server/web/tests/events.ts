import type { JobEvent, SnapshotData } from "../src/client/protocol.js";

let seq = 0;

/** An event of the only task of job "j", later than all before. */
export function event(
  type: JobEvent["type"],
  data: Record<string, unknown> = {},
  rest: Partial<JobEvent> = {},
): JobEvent {
  seq += 1;
  const place = { run: type === "queued" ? 0 : 1, seq, tick: 0, at: 1000 + seq };
  return { v: 1, job: "j", task: "j", name: "app.work", owner: "me", type, data, ...place, ...rest };
}

/** A snapshot as a server sends it. */
export function given(rest: Partial<SnapshotData> = {}): SnapshotData {
  return {
    job: "j",
    name: "app.work",
    owner: "me",
    state: "running",
    at: 1000,
    queued_at: 999,
    started_at: 1000,
    ended_at: null,
    bars: [],
    tasks: [{ task: "j", name: "app.work", state: "running", run: 1, seq: 0, tick: 0 }],
    total: 1,
    done: 0,
    planned: 1,
    ...rest,
  };
}

/** A bar as a task reports it. */
export function bar(rest: object = {}): object {
  return {
    position: 0,
    desc: "rows",
    n: 5,
    total: 10,
    unit: "row",
    unit_scale: false,
    rate: 2,
    eta: 2.5,
    elapsed: 2.5,
    postfix: "",
    closed: false,
    ...rest,
  };
}
