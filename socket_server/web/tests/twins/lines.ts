/** Adds a story's events to a log, for tests/unit/socket_server/web/test_log_twin.py. */
import { LogTail } from "../../src/client/log-tail.js";
import type { JobEvent } from "../../src/client/protocol.js";

export function answer(events: JobEvent[]): object {
  const tail = new LogTail(Infinity);
  const news = events.map((event) => tail.add(event));
  const output = tail.lines.filter(({ level }) => level === "").map(({ text }) => text);
  const log = tail.lines.filter(({ level }) => level !== "").map(({ at, level, text }) => [at, level, text]);
  return { news, output, log };
}
