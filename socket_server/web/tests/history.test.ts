import { expect, test } from "vitest";
import { NO_SEARCH } from "../src/page/address.js";
import { statusOf } from "../src/page/history/history.js";
import { Results, type Found, type Query } from "../src/page/history/results.js";
import { localTime } from "../src/page/history/search-form.js";
import { steered } from "../src/page/keys.js";
import { event, given } from "./events.js";

/** A search, whose answers a test gives. */
function searched(search = {}) {
  const asked: { query: Query; answer: (found: Found) => void; fail: (error: Error) => void }[] = [];
  const ask = (query: Query) => new Promise<Found>((answer, fail) => void asked.push({ query, answer, fail }));
  const results = new Results({ ...NO_SEARCH, ...search }, ask, () => {});
  return { results, asked };
}

const ended = (job: string) => given({ job, state: "succeeded", ended_at: 1002 });

test("pages are asked for one after the other, and each job is there once", async () => {
  const { results, asked } = searched({ state: "failed" });
  const first = results.more();
  await results.more(); // is asked already
  expect(asked.map(({ query }) => query)).toEqual([{ limit: 100, state: "failed" }]);
  expect(statusOf(results)).toBe("Searching…");
  asked[0]?.answer({ jobs: [ended("c"), ended("b")], next: "n" });
  await first;
  expect(statusOf(results)).toBe("2 jobs so far");
  const second = results.more();
  expect(asked[1]?.query).toEqual({ limit: 100, state: "failed", next: "n" });
  asked[1]?.answer({ jobs: [ended("b"), ended("a")], archive_away: true });
  await second;
  expect(results.rows.map(({ shown }) => shown.job)).toEqual(["c", "b", "a"]);
  expect([results.complete, results.away, statusOf(results)]).toEqual([true, true, "3 jobs"]);
});

test("a page that did not come is asked for again where the list ended", async () => {
  const { results, asked } = searched();
  const first = results.more();
  asked[0]?.answer({ jobs: [ended("b")], next: "n" });
  await first;
  const second = results.more();
  asked[1]?.fail(new Error("The server cannot be reached."));
  await second;
  expect([results.fault, results.rows.length]).toEqual(["The server cannot be reached.", 1]);
  void results.more();
  expect([asked[2]?.query["next"], results.fault]).toEqual(["n", ""]);
});

test("a search that found nothing says so, and a history without jobs too", async () => {
  for (const [search, text] of [
    [{ text: "disk" }, "No job matches the search."],
    [{}, "There are no jobs yet."],
  ] as const) {
    const { results, asked } = searched(search);
    const asking = results.more();
    asked[0]?.answer({ jobs: [] });
    await asking;
    expect(statusOf(results)).toBe(text);
  }
});

test("a job that runs goes on in its row to its end, and a job that is not there changes nothing", async () => {
  const { results, asked } = searched();
  const asking = results.more();
  asked[0]?.answer({ jobs: [given()] });
  await asking;
  expect(results.apply(event("succeeded", { result: 1 }, { job: "other" }))).toBe(false);
  expect(results.apply(event("failed", { error: { class: "KeyError", message: "'x'" } }))).toBe(true);
  const [row] = results.rows;
  expect([row?.shown.state, row?.shown.error?.class, row?.snapshot]).toEqual(["failed", "KeyError", null]);
});

test("keys lead from row to row and stay within the list", () => {
  const key = (name: string, rest = {}) => ({
    key: name,
    altKey: false,
    ctrlKey: false,
    metaKey: false,
    shiftKey: false,
    ...rest,
  });
  const steps = ["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End", "a"];
  expect(steps.map((name) => steered(key(name), 5, 20, 8))).toEqual([6, 4, 13, 0, 0, 19, null]);
  expect(steered(key("ArrowDown"), 19, 20, 8)).toBe(19);
  expect(steered(key("Home", { ctrlKey: true }), 5, 20, 8)).toBe(null);
  expect(steered(key("Home"), 0, 0, 8)).toBe(null);
});

test("a time is shown in the reader's time zone, and one that is none not at all", () => {
  const at = new Date(2026, 10, 29, 14, 3).getTime() / 1000;
  expect([localTime(at), localTime(NaN), localTime(1e300)]).toEqual(["2026-11-29T14:03", "", ""]);
});
