import { expect, test } from "vitest";
import type { Bar, State } from "../src/client/protocol.js";
import { Snapshot } from "../src/client/snapshot.js";
import { TaskState } from "../src/client/task-state.js";
import * as format from "../src/view/format.js";
import { badge, facts, failure, hints, notes, shortName, taskRows, time, titleOf } from "../src/view/words.js";
import { bar, event, given } from "./events.js";

test.each([
  [0, "0"],
  [1234567, "1.23 M"],
  [999.4, "999"],
  [999.6, "1.00 k"],
  [12_345, "12.3 k"],
  [Number.NaN, ""],
])("%d is %s with an SI prefix", (value, text) => expect(format.si(value)).toBe(text));

test.each([
  [42, "42 s"],
  [200, "3 min 20 s"],
  [7500, "2 h 5 min"],
  [273_600, "3 d 4 h"],
  [59.9, "1 min"],
  [-3, "0 s"],
])("%d seconds are %s", (value, text) => expect(format.duration(value)).toBe(text));

test("100% is said only when all is done", () => {
  expect([0.999, 1, null].map(format.percent)).toEqual(["99%", "100%", ""]);
});

test.each([0, -4, null, Number.NaN])("a total of %s is not known", (total) => {
  const empty = bar({ n: 0, total }) as Bar;
  expect([format.fraction(empty), format.count(empty)]).toEqual([null, "0"]);
});

test("a task's name is short, and a job without one is a job", () => {
  expect([shortName("workers.jobs.checksum"), shortName("")]).toEqual(["checksum", "job"]);
});

test("a badge says which attempt it is, and that there is no news", () => {
  expect(badge({ state: "running", stalled: false, attempt: 2 })).toBe("running, attempt 2");
  expect(badge({ state: "running", stalled: true, attempt: 1 })).toBe("running, no news");
  const resumed = { at: 1000, share: 0.579 };
  expect(badge({ state: "running", stalled: false, attempt: 2, resumed })).toBe("running, attempt 2, from 57%");
  const unknown = badge({ state: "running", stalled: false, attempt: 2, resumed: { at: 1000, share: null } });
  expect(unknown).toBe(`running, attempt 2, from what was saved ${format.clock(1000)}`);
});

test("a job says when its state was saved, until it needs none any more", () => {
  const said = (state: State) => hints(Snapshot.from(given({ state, saved: 1000, ended_at: 1001 })), 1002);
  const saved = `Saved ${format.clock(1000, 1002)}.`;
  expect([said("running"), said("failed")]).toEqual([[saved], [saved]]);
  expect([said("succeeded"), said("cancelled")]).toEqual([[], []]);
});

test("a job says how long it takes and took", () => {
  expect(time(Snapshot.from(given()), 1042)).toBe("for 42 s");
  expect(time(Snapshot.from(given({ state: "succeeded", ended_at: 1003.5 })), 1010)).toMatch(/^took 3\.5 s · /);
});

test("a job that waits says for whom", () => {
  const waiting = (workers: boolean, ahead: number | null) =>
    hints(Snapshot.from(given({ state: "queued", queue: { name: "q", ahead, workers } })), 1000);
  expect(waiting(false, 3)).toEqual(["No worker is consuming the queue “q”."]);
  expect(waiting(true, 1)).toEqual(["About 1 task ahead in the queue."]);
  expect(waiting(true, 0)).toEqual(["Next in the queue."]);
  expect(waiting(true, null)).toEqual([]);
  const queue = { name: "q", ahead: 0, workers: null, taken: true };
  const said = "A worker has taken it, and has not begun it, or does not report.";
  expect(hints(Snapshot.from(given({ state: "queued", queue })), 1000)).toEqual([said]);
});

test("a job whose workers cannot be heard says so, and not that they may be gone", () => {
  const silent = given({ disturbed: "the broker blocks publishers" });
  const said = "The way to the workers is disturbed: the broker blocks publishers. The job may go on meanwhile.";
  const snapshot = Snapshot.from(silent);
  expect(hints(snapshot, 1000)).toEqual([said]);
  snapshot.apply(event("stalled"));
  expect(hints(snapshot, 1000)).toEqual([said]);
  expect(snapshot.apply(event("disturbed", { disturbed: false }))).toBe(true);
  snapshot.apply(event("progress"));
  expect(hints(snapshot, 1000)).toEqual([]);
});

test("what was dropped is said", () => {
  expect(notes(Snapshot.from(given({ dropped: 2000 })))).toEqual([
    "2,000 lines of log or output were dropped on the way.",
  ]);
});

test("a result of names and plain values is shown as facts, any other one is not", () => {
  expect(facts({ rows_read: 1200, ok: "yes", none: null })).toEqual([
    ["rows read", "1,200"],
    ["ok", "yes"],
  ]);
  for (const other of [3, "text", null, [1], { a: { b: { c: 1 } } }, { a: "x\ny" }]) expect(facts(other)).toBeNull();
});

test.each([
  [0.001, "0.001"],
  [-2.5e-9, "-2.5e-9"],
  [0.1 + 0.2, "0.3"],
  [1234.5678, "1,234.5678"],
  [9007199254740991, "9,007,199,254,740,991"],
  [1e300, "1e+300"],
  [0, "0"],
  [Number.NaN, ""],
])("%d is shown exactly", (value, text) => expect(format.exact(value)).toBe(text));

test("a count that is small keeps two digits, and a large one its whole part", () => {
  expect([0.00123, 0.5, 12.345, 1234567.8].map(format.number)).toEqual(["0.0012", "0.5", "12.35", "1,234,568"]);
});

test("an error is shown as Python says it", () => {
  const failed = (error: { class: string; message: string }) => failure(Snapshot.from(given({ error })));
  expect(failed({ class: "KeyError", message: "'customer_id'" })).toBe("KeyError: 'customer_id'");
  expect([failed({ class: "E", message: "" }), failed({ class: "", message: "m" })]).toEqual(["E", "m"]);
});

test("tasks that are queued alike take one row, which counts them", () => {
  const tasks = ["running a", "queued a", "queued b", "queued a", "failed a", "failed a"].map((text, index) => {
    const [state, name] = text.split(" ") as ["running", string];
    return new TaskState({ task: `t${index}`, name, state });
  });
  const rows = taskRows(tasks).map(({ task, count }) => `${count} × ${task.name} ${task.state}`);
  expect(rows).toEqual(["1 × a running", "2 × a queued", "1 × b queued", "1 × a failed", "1 × a failed"]);
});

test("a job is called by its title, and without one by its task", () => {
  const snapshot = Snapshot.from(given());
  expect(titleOf(snapshot)).toBe("work");
  snapshot.apply(event("log", {}));
  snapshot.apply(event("started", { title: "Orders\u202e of May" }, { run: 2 }));
  expect(titleOf(snapshot)).toBe("Orders of May");
  expect(titleOf(Snapshot.from(given({ title: "Orders" })))).toBe("Orders");
});
