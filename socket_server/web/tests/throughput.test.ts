import { expect, test } from "vitest";
import { Throughput } from "../src/page/throughput.js";

/** Rates of a bar that counts whole units, looked at ten times a second. */
function ratesOf(seconds: number, count: (at: number) => number): number[] {
  const one = new Throughput();
  for (let tenth = 0; tenth <= 10 * seconds; tenth += 1) one.add(tenth / 10, { n: Math.floor(count(tenth / 10)) });
  return one.rates;
}

test.each([0.5, 3, 40])("%d units a second, which come one by one, are an even line", (rate) => {
  const rates = ratesOf(60, (at) => at * rate);
  expect(rates.length).toBeGreaterThan(20);
  for (const one of rates) expect(Math.abs(one / rate - 1)).toBeLessThan(0.1);
});

test("a job that becomes faster, or stands still, is seen to", () => {
  const rates = ratesOf(40, (at) => (at < 20 ? at * 5 : 100 + (at - 20) * 50));
  expect([rates[0], rates.at(-1)].map((rate) => Math.round(rate ?? 0))).toEqual([5, 50]);
  expect(ratesOf(40, (at) => Math.min(at, 20) * 5).at(-1)).toBe(0);
});

test("a plot begins once there is a window, and needs time to have gone by", () => {
  expect(ratesOf(1.5, (at) => at * 100)).toEqual([]);
  expect(ratesOf(3, (at) => at * 100).length).toBeGreaterThan(3);
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
