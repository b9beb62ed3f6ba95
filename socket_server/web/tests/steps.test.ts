import { expect, test } from "vitest";
import type { Bar, Step } from "../src/client/protocol.js";
import { branches, took, type Branch } from "../src/view/steps.js";
import { bar } from "./events.js";

const step = (id: number, parent: number | null = null, more: Partial<Step> = {}): Step => ({
  ...{ id, parent, name: `s${id}`, state: "succeeded", started_at: 100, ended_at: 103.2 },
  ...more,
});

const shape = (all: Branch[]): unknown[] =>
  all.map(({ step, parts }) => (parts.length ? [step.id, shape(parts)] : step.id));

test.each([
  [
    [step(1), step(2, 1), step(3, 2), step(4, 1), step(5)],
    [[1, [[2, [3]], 4]], 5],
  ],
  [[step(2, 7), step(3, 2)], [[2, [3]]]],
  [
    [step(2, 3), step(3, 2), step(4, 4)],
    [[2, [3]], 4],
  ],
])("steps are in those that they are parts of (%#)", (steps, wanted) => {
  expect(shape(branches({ steps, bars: [] }))).toEqual(wanted);
});

test("a bar is in the step that it was made in", () => {
  const bars = [bar({ desc: "own" }), bar({ desc: "in 2", step: 2 })] as Bar[];
  const [first, second] = branches({ steps: [step(1), step(2)], bars });
  expect([first?.bars, second?.bars.map(({ desc }) => desc)]).toEqual([[], ["in 2"]]);
});

test.each([
  [step(1), "3.2 s"],
  [step(1, null, { state: "failed" }), "failed · 3.2 s"],
  [step(1, null, { state: "running", ended_at: null }), "7 s"],
  [step(1, null, { ended_at: 100.01 }), "under 0.1 s"],
])("a step says how long it took, or has taken (%#)", (one, text) => expect(took(one, 107)).toBe(text));
