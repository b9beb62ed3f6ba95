import { expect, test } from "vitest";
import { fileName } from "../src/page/job/log-text.js";
import { JobTasks, type TaskTimes } from "../src/page/job/job-tasks.js";
import { LogLines, TextLines } from "../src/page/job/log-lines.js";
import { LogSearch } from "../src/page/job/log-search.js";
import { asTree, byTime } from "../src/page/job/task-order.js";
import { TimeScale } from "../src/page/job/time-scale.js";
import { event } from "./events.js";

const task = (id: string, parent: string | null = null, started: number | null = null): TaskTimes => ({
  task: id,
  parent,
  name: "app.work",
  state: "queued",
  queued_at: 1,
  started_at: started,
  ended_at: null,
});
const shown = (tasks: TaskTimes[], closed: string[] = []) =>
  asTree(tasks, new Set(closed)).map(
    ({ task, level, position, siblings, below }) => `${task.task}${level} ${position}/${siblings} ${below}`,
  );

test("tasks are below those that published them, in the order in which they began", () => {
  const tasks = [task("c", "a", 4), task("b", "a", 3), task("a", null, 2), task("d", "b"), task("e", "gone", 9)];
  expect(shown(tasks)).toEqual(["a1 1/2 3", "b2 1/2 1", "d3 1/1 0", "c2 2/2 0", "e1 2/2 0"]);
  expect(shown(tasks, ["b"])).toEqual(["a1 1/2 3", "b2 1/2 1", "c2 2/2 0", "e1 2/2 0"]);
  expect(byTime(tasks).map((row) => row.task.task)).toEqual(["a", "b", "c", "e", "d"]);
});

test("tasks that are their own ancestors are all there, once", () => {
  const tasks = [task("a", "c"), task("b", "a"), task("c", "b"), task("d", "d"), task("e", "a")];
  expect(
    asTree(tasks, new Set())
      .map((row) => row.task.task)
      .sort(),
  ).toEqual(["a", "b", "c", "d", "e"]);
});

test("a chain of ten thousand tasks is as deep as it is long", () => {
  const tasks = Array.from({ length: 10_000 }, (_, index) => task(`t${index}`, index ? `t${index - 1}` : null, index));
  const rows = asTree(tasks.reverse(), new Set());
  expect([rows.length, rows.at(-1)?.level, rows[0]?.below]).toEqual([10_000, 10_000, 9_999]);
});

test("events tell of tasks what the server's list lacks, and the list what events lack", () => {
  const tasks = new JobTasks();
  tasks.apply(event("queued", {}, { task: "a", at: 1 }));
  tasks.apply(event("started", { parent: "p" }, { task: "a", at: 2 }));
  tasks.take([
    { ...task("a"), queued_at: 0.5 },
    { ...task("b", null, 3), state: "succeeded", ended_at: 4 },
  ]);
  expect(tasks.get("a")).toMatchObject({ parent: "p", state: "running", queued_at: 1, started_at: 2 });
  // What came before the end that the list has changes nothing.
  tasks.apply(event("started", {}, { task: "b", at: 3 }));
  expect(tasks.get("b")).toMatchObject({ state: "succeeded", ended_at: 4 });
  tasks.apply(event("failed", {}, { task: "a", at: 5 }));
  tasks.take([{ ...task("a"), state: "failed", ended_at: 5, started_at: 2 }]);
  expect(tasks.get("a")).toMatchObject({ parent: "p", state: "failed", ended_at: 5 });
});

test("a repeated event changes nothing, and a verdict about all that waits ends them", () => {
  const tasks = new JobTasks();
  const [started, ended] = [event("started", {}, { task: "a" }), event("succeeded", {}, { task: "a" })];
  expect([tasks.apply(started), tasks.apply(ended), tasks.apply(started)]).toEqual([true, true, false]);
  tasks.apply(event("queued", {}, { task: "b" }));
  expect(tasks.apply(event("cancelled", { verdict: true, waiting: true }, { at: 2000 }))).toBe(true);
  expect([tasks.get("a")?.state, tasks.get("b")?.state]).toEqual(["succeeded", "cancelled"]);
});

test("a timeline lasts from the first task to the last end, or until now", () => {
  const tasks = [
    { ...task("a", null, 11), queued_at: 10, ended_at: 15 },
    { ...task("b", null, 12), queued_at: 10 },
  ];
  const scale = TimeScale.of(tasks, 30);
  expect([scale.start, scale.length]).toEqual([10, 20]);
  expect(scale.span(15, 30)).toEqual({ from: 0.25, size: 0.75 });
  expect(scale.span(35, 32)).toEqual({ from: 1, size: 0 }); // clocks of hosts differ
  expect(scale.marks(5).map(({ text }) => text)).toEqual(["0 s", "5 s", "10 s", "15 s", "20 s"]);
  expect(TimeScale.of([], 30).marks(5).length).toBeGreaterThan(0);
});

/** A log of events with these lines, and of a text with those. */
function log(lines: string[], text: string, { whole = true, ended = true } = {}): LogLines {
  const found = new LogLines();
  if (lines.length) found.add(event("log", { lines: lines.map((message) => ({ at: 1, level: "INFO", message })) }));
  const read = new TextLines();
  for (const piece of text.match(/[^]{1,3}/g) ?? []) read.add(piece);
  if (whole) read.end();
  found.prepend(read, whole, ended);
  return found;
}
const texts = (found: LogLines) => Array.from({ length: found.count }, (_, index) => found.at(index).text);

test("a log goes on with its events where they begin in the text", () => {
  expect(texts(log(["c", "d"], "a\nb\nc\nd\n"))).toEqual(["a", "b", "c", "d"]);
  expect(texts(log(["x", "x"], "x\nx\nx\nx\n"))).toEqual(["x", "x", "x", "x"]);
  expect(texts(log([], "a\r\nb\u001b[31m\n50%\r100%"))).toEqual(["a", "b", "100%"]);
  expect(texts(log(["d"], "a\nb", { whole: false }))).toEqual(["a", "… lines are left out here …", "d"]);
});

test("a log whose events are nowhere in its text is the text, and says what may be missing", () => {
  expect(texts(log(["y"], "a\nb\n"))).toEqual(["a", "b"]);
  const running = log(["y"], "a\nb\n", { ended: false });
  running.add(event("log", { lines: [{ at: 1, level: "INFO", message: "z" }] }));
  expect(texts(running)).toEqual(["a", "b", "… lines may be missing here …", "z"]);
});

test("a message of several lines becomes several lines, and of very many lines of a text the last are kept", () => {
  expect(texts(log(["a\nb"], ""))).toEqual(["a", "b"]);
  const found = log([], Array.from({ length: 100_003 }, (_, index) => `${index}\n`).join(""));
  expect([found.count, found.leftOut, found.at(0).text]).toEqual([100_000, 3, "3"]);
});

test("a log is searched in both directions, and around its ends", () => {
  const search = new LogSearch(log([], "one\nTwo\nthree two\nfour\n"));
  search.wanted = "TWO";
  expect([search.found, search.text]).toEqual([[1, 2], "2 lines"]);
  expect([search.step(1, 2), search.text]).toEqual([2, "2 of 2 lines"]);
  expect([search.step(1, 0), search.step(-1, 0)]).toEqual([1, 2]);
  search.wanted = "nothing";
  expect([search.step(1, 0), search.text]).toEqual([null, "No line has that."]);
});

test("the name of a file has only what file systems take", () => {
  expect(fileName("../Sums of <May>", "0123456789")).toBe("_Sums_of_May_-01234567.log");
  expect(fileName("größe", "a/b")).toBe("gr_e-a_b.log");
});
