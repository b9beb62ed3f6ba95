import { expect, test } from "vitest";
import { told } from "../src/page/deliveries.js";

const delivery = (fields: object) => ({
  id: "msg_1",
  job: "a",
  webhook: "billing",
  type: "job.succeeded",
  at: 100,
  attempts: 0,
  failure: null,
  due: 100,
  delivered_at: null,
  ...fields,
});

test.each([
  [{}, /^waits since /],
  [{ attempts: 1, due: null, delivered_at: 101 }, /^delivered [^,]+$/],
  [{ attempts: 3, due: null, delivered_at: 101 }, /^delivered .+, after 3 attempts$/],
  [{ attempts: 1, due: 150, failure: "it answered 500" }, /^1 attempt, the next one .+: it answered 500$/],
  [{ attempts: 2, due: 110, failure: "it answered 500" }, /^2 attempts, the next one is due: it answered 500$/],
  [{ attempts: 31, due: null, failure: "it answered\u202e 410" }, /^given up after 31 attempts, it answered 410$/],
])("what has become of a delivery is said in words: %j", (fields, words) => {
  expect(told(delivery(fields), 120)).toMatch(words);
});
