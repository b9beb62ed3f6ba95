import { expect, test } from "vitest";
import { Throughput } from "../src/page/throughput.js";

test("rates are units per second between two looks", () => {
  const one = new Throughput();
  one.add(0, { n: 0 });
  one.add(0.1, { n: 1 }); // too soon after the last
  one.add(1, { n: 10 });
  one.add(3, { n: 20 });
  expect(one.rates).toEqual([10, 5]);
});

test("an hour takes no more room than a minute, and keeps its shape", () => {
  const one = new Throughput();
  for (let at = 0; at <= 3600; at += 0.1) one.add(at, { n: at * 7 });
  expect(one.rates.length).toBeLessThan(121);
  expect(one.rates.length).toBeGreaterThan(50);
  for (const rate of one.rates) expect(rate).toBeCloseTo(7);
});

test("a bar that starts again starts a new plot", () => {
  const one = new Throughput();
  one.add(0, { n: 50 });
  one.add(1, { n: 60 });
  one.add(2, { n: 0 });
  expect(one.rates).toEqual([]);
});
