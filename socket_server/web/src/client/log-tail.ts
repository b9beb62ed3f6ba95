/** `LogTail`: the last lines of a job's log and output, in order of arrival. */
import { legible } from "./legible.js";
import type { JobEvent, LogLine } from "./protocol.js";

const MAX_CHARACTERS = 4096; // of a line
/** Characters of an unfinished line that are kept: escape sequences take some, and are not shown. */
const MAX_RAW = 4 * MAX_CHARACTERS;
const LEVELS = new Map<unknown, "WARNING" | "ERROR">([
  ["WARNING", "WARNING"],
  ["ERROR", "ERROR"],
  ["CRITICAL", "ERROR"],
]);

/** A line; `level` is "" for output. */
export interface TailLine {
  id: number;
  /** Seconds since the epoch; null for output. */
  at: number | null;
  level: "" | "INFO" | "WARNING" | "ERROR";
  text: string;
  /** Name of the step that it was logged in; none for a line outside of any, and for output. */
  step?: string;
}

export class LogTail {
  /** Oldest first. */
  readonly lines: TailLine[] = [];
  /** Whether there were older lines, which were not kept. */
  cut = false;
  #most: number;
  #places = new Map<string, [run: number, seq: number]>();
  /** Decoder of each task: the bytes of one character may be split between two chunks. */
  #decoders = new Map<string, TextDecoder>();
  /** Line of output of each task that has no newline yet. */
  #partial = new Map<string, { raw: string; shown: TailLine }>();
  #next = 0;

  /** `most`: the number of lines to keep. */
  constructor(most = 50) {
    this.#most = most;
  }

  /** Add the lines of a `log` or `output` event; false for other types and for duplicates. */
  add(event: JobEvent): boolean {
    if (event.type !== "log" && event.type !== "output") return false;
    if (!this.#isNews(event)) return false;
    if (event.type === "log")
      for (const line of listOf(event.data?.["lines"]))
        this.#line(line as Partial<LogLine> | null, event.data?.["step_names"]);
    else this.#output(event);
    return true;
  }

  /** Add a line that says that lines may be missing here, unless the log is empty. */
  gap(): void {
    if (this.lines.length) this.#push("… lines may be missing here …");
  }

  #isNews({ task, run, seq }: JobEvent): boolean {
    const [lastRun, lastSeq] = this.#places.get(task) ?? [-1, -1];
    if (run < lastRun || (run === lastRun && seq <= lastSeq)) return false;
    this.#places.set(task, [run, seq]);
    return true;
  }

  #line(line: Partial<LogLine> | null, names: unknown): void {
    const { at, level, message, step } = line ?? {};
    if (typeof message !== "string") return;
    const shown = this.#push(clean(message), LEVELS.get(level) ?? "INFO", Number.isFinite(at) ? (at as number) : null);
    const name = (names as Record<string, unknown> | null | undefined)?.[String(step)];
    if (typeof name === "string") shown.step = legible(name);
  }

  #output({ task, data }: JobEvent): void {
    const text = listOf(data?.["chunks"])
      .map((chunk) => this.#text(task, chunk))
      .join("");
    const rows = text.split("\n");
    rows.forEach((row, index) => this.#row(task, row, index < rows.length - 1));
  }

  #text(task: string, chunk: unknown): string {
    // A string begins with a whole character, so bytes that wait for the rest of theirs are invalid.
    if (typeof chunk === "string") return chunk && (this.#decoders.get(task)?.decode() ?? "") + chunk;
    const { base64 } = (chunk ?? {}) as { base64?: unknown };
    if (typeof base64 !== "string") return "";
    const decoder = this.#decoders.get(task) ?? new TextDecoder();
    this.#decoders.set(task, decoder);
    return decoder.decode(bytesOf(base64), { stream: true });
  }

  #row(task: string, row: string, ended: boolean): void {
    const before = this.#partial.get(task);
    if (before === undefined && row === "" && !ended) return;
    const raw = visible((before?.raw ?? "") + row);
    const shown = before?.shown ?? this.#push("");
    shown.text = clean(raw.replace(/\r$/, ""));
    if (ended) this.#partial.delete(task);
    else this.#partial.set(task, { raw, shown });
  }

  #push(text: string, level: TailLine["level"] = "", at: number | null = null): TailLine {
    const line: TailLine = { id: this.#next, at, level, text };
    this.#next += 1;
    this.lines.push(line);
    if (this.lines.length > this.#most) {
      this.lines.shift();
      this.cut = true;
    }
    return line;
  }
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function bytesOf(base64: string): Uint8Array {
  try {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

// As on a terminal, text after a carriage return overwrites the line. Returns at the end may belong to the
// line's end: one of them is kept, in case text follows.
function visible(row: string): string {
  let end = row.length;
  while (row[end - 1] === "\r") end -= 1;
  const start = row.lastIndexOf("\r", end - 1) + 1;
  return row.slice(start, Math.min(end, start + MAX_RAW)) + (end < row.length ? "\r" : "");
}

/** A whole line of a log as it is shown; `row` without its newline. */
export function shownLine(row: string): string {
  return clean(visible(row).replace(/\r$/, ""));
}

function clean(text: string): string {
  return legible(text)
    .slice(0, MAX_CHARACTERS)
    .replace(/[\ud800-\udbff]$/, "");
}
