import { expect, test } from "vitest";
import type { BulkRefusal, BulkRequest } from "../src/client/protocol.generated.js";
import { NO_SEARCH } from "../src/page/address.js";
import { actionsFor, askInBulk, filterOf, reasonsOf, WORDS } from "../src/page/history/bulk.js";
import { newKey } from "../src/page/idempotency-key.js";

const refusal = (job: string, message: string): BulkRefusal => ({ job, code: "not_kept", message, temporary: false });

test("a search is a filter without the jobs that came after the newest one that was seen", () => {
  const search = { ...NO_SEARCH, text: "disk", state: "failed", since: "100" };
  expect(filterOf(search, 200)).toEqual({ text: "disk", state: "failed", since: 100, until: 200.001 });
  expect(filterOf({ ...search, until: "150" }, 200).until).toBe(150);
  expect(filterOf(NO_SEARCH, null)).toEqual({});
});

test("all pages are asked for with the same key, and what was done and refused is counted", async () => {
  const asked: BulkRequest[] = [];
  const answers = [
    { count: 3, jobs: [{ job: "a" }, { job: "b" }], refused: [refusal("c", "no arguments of c")], next: "n" },
    { count: 2, jobs: [{ job: "d" }], refused: [refusal("e", "no arguments of e")], archive_away: true },
  ];
  const client = { bulk: async (request: BulkRequest) => (asked.push(request), answers[asked.length - 1]!) };
  const request: BulkRequest = { action: "run_again", filter: {}, key: "k", preview: false };
  const so: number[] = [];
  const outcome = await askInBulk(client, request, ({ acted }) => so.push(acted));
  expect(asked).toEqual([request, { ...request, next: "n" }]);
  expect([so, outcome.acted, outcome.away]).toEqual([[2, 3], 3, true]);
  expect(reasonsOf(outcome)).toEqual([{ message: "no arguments of …", count: 2 }]);
  expect(WORDS.run_again.done(outcome)).toMatch(/^3 jobs run again\. The archive does not answer/);
});

test("ended jobs are run again, and others cancelled", () => {
  const actions = ["", "failed", "running"].map((state) => actionsFor({ ...NO_SEARCH, state }));
  expect(actions).toEqual([["run_again", "cancel"], ["run_again"], ["cancel"]]);
});

test("each key is another", () => {
  expect(newKey()).toMatch(/^[0-9a-f]{32}$/);
  expect(newKey()).not.toBe(newKey());
});
