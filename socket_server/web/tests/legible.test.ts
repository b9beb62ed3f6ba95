import { expect, test } from "vitest";
import { legible } from "../src/client/legible.js";
import { LogTail } from "../src/client/log-tail.js";
import { flowerOf, taskIn } from "../src/page/flower.js";
import { Snapshot } from "../src/client/snapshot.js";
import { failure, hints, shortName, text } from "../src/view/words.js";
import * as format from "../src/view/format.js";
import { event, given } from "./events.js";

const HOSTILE = "a\u001b]52;c;cm0=\u0007\u009b2J\u009d0;t\u009c\u202e\u2066\u200b\ufeff\u0000\ud800b";

test.each([
  [HOSTILE, "ab"],
  ["user\u202egnp.exe", "usergnp.exe"],
  ["\u001bPq#0\u001b\\x\u001b_y\u001b\\\u0090z\u009c", "x"],
  ["\u001b[\u001b[0m31mx", "31mx"],
  ["two\n\tlines", "two\n\tlines"],
  ["👩\u200d👧, Grüße, 世界", "👩\u200d👧, Grüße, 世界"],
])("of %j a reader sees %j", (hostile, left) => expect(legible(hostile)).toBe(left));

test("whatever is said about a job is legible", () => {
  const tail = new LogTail();
  tail.add(event("log", { lines: [{ at: 1, level: "INFO", message: HOSTILE }] }));
  tail.add(event("output", { chunks: [`${HOSTILE}\n`] }));
  const snapshot = Snapshot.from(given({ reason: HOSTILE, error: { class: HOSTILE, message: HOSTILE } }));
  const shown = [...tail.lines.map((line) => line.text), failure(snapshot), ...hints(snapshot, 0), text(HOSTILE)];
  shown.push(text({ [HOSTILE]: HOSTILE }), shortName(`x.${HOSTILE}`));
  shown.push(format.count({ ...given().bars[0], n: 1, total: 2, unit: HOSTILE, unit_scale: true } as never));
  expect(shown.length).toBeGreaterThan(6);
  for (const one of shown) expect(legible(one)).toBe(one);
});

test("a link to Flower leads to Flower", () => {
  expect(["javascript:alert(1)", "data:text/html,x", "//x", "", null].map(flowerOf)).toEqual(Array(5).fill(undefined));
  const flower = flowerOf("https://flower.example/")!;
  expect(taskIn(flower, "5b0c")).toBe("https://flower.example/task/5b0c");
  expect(taskIn(flower, '"?x=/../<\ud800')).toBe("https://flower.example/task/%22%3Fx%3D%2F..%2F%3C");
});
