import { expect, test } from "vitest";
import { matches } from "../src/page/patterns.js";

test.each([
  ["workers.jobs.*", "workers.jobs.checksum", true],
  ["workers.jobs.*", "workersXjobs.checksum", false],
  ["*", "any.task", true],
  ["app.task?", "app.task1", true],
  ["app.task?", "app.task", false],
  ["app.[ab]dd", "app.add", true],
  ["app.[!ab]dd", "app.add", false],
  ["app.[]a]", "app.]", true],
  ["app.[x", "app.[x", true],
  ["a+b(c)", "a+b(c)", true],
  ["App.*", "app.add", false],
])("the pattern %s and the name %s", (pattern, name, right) => expect(matches(name, pattern)).toBe(right));
