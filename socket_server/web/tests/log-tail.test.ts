import { expect, test } from "vitest";
import { LogTail } from "../src/client/log-tail.js";
import { event } from "./events.js";

const texts = (tail: LogTail) => tail.lines.map(({ text }) => text);
const log = (...messages: string[]) =>
  event("log", { lines: messages.map((message) => ({ at: 1, level: "INFO", message })) });
const output = (...chunks: unknown[]) => event("output", { chunks });

test("only the last lines are kept", () => {
  const tail = new LogTail(2);
  tail.add(log("a", "b"));
  expect(tail.cut).toBe(false);
  tail.add(log("c"));
  expect([texts(tail), tail.cut]).toEqual([["b", "c"], true]);
});

test("an event is taken once", () => {
  const tail = new LogTail();
  const one = log("a");
  expect([tail.add(one), tail.add(one)]).toEqual([true, false]);
  expect(texts(tail)).toEqual(["a"]);
});

test("output in pieces becomes lines, and what a carriage return overwrites is gone", () => {
  const tail = new LogTail();
  tail.add(output("one\ntw"));
  tail.add(output("o\n10%\r20%"));
  expect(texts(tail)).toEqual(["one", "two", "20%"]);
});

test("the bytes of one letter may come in two chunks", () => {
  const tail = new LogTail();
  tail.add(output({ base64: btoa("\xc3") }));
  tail.add(output({ base64: btoa("\xa9\n") }));
  expect(texts(tail)).toEqual(["é"]);
});

test("colours and cursor movements are not shown", () => {
  const tail = new LogTail();
  tail.add(log("\u001b[31mred\u001b[0m"));
  expect(texts(tail)).toEqual(["red"]);
});

test("a gap is said where lines came before", () => {
  const tail = new LogTail();
  tail.gap();
  tail.add(log("a"));
  tail.gap();
  expect(texts(tail)).toEqual(["a", "… lines may be missing here …"]);
});
