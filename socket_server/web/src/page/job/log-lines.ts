/** `LogLines`: the lines of a job's log, from its events and from the log as text. */
import { LogTail, shownLine, type TailLine } from "../../client/log-tail.js";
import type { JobEvent, LogLine } from "../../client/protocol.js";

/** Most lines that are kept of events, and of the text. */
const [TAIL, TEXT] = [20_000, 100_000];
/** Lines by which the place in the text at which events go on is found, and how far it is looked for. */
const [ALIKE, FAR] = [20, 2000];
const LEFT_OUT = "… lines are left out here …";
const MAYBE = "… lines may be missing here …";

export class LogLines {
  #tail = new LogTail(TAIL);
  /** Lines of the text that come before those of events. */
  #older: string[] = [];
  /** Said between the two; "" for nothing. */
  #between = "";
  /** Id of the first line of events that is shown. */
  #from = 0;
  /** Lines at the beginning that are not kept. */
  leftOut = 0;

  /** Number of lines. */
  get count(): number {
    return this.#head + this.#tail.lines.length - this.#skipped;
  }

  /** Id of the first line of events that is kept: it grows as lines are dropped. */
  get dropped(): number {
    return this.#tail.lines[0]?.id ?? 0;
  }

  /** The line at an index. */
  at(index: number): TailLine {
    const { length } = this.#older;
    if (index < length) return textLine(index, this.#older[index] ?? "");
    if (index < this.#head) return textLine(index, this.#between);
    return this.#tail.lines[index - this.#head + this.#skipped] ?? textLine(index, "");
  }

  /** Add the lines of an event; false for one without, and for a duplicate. */
  add(event: JobEvent): boolean {
    return this.#tail.add(event.type === "log" ? { ...event, data: lineByLine(event.data) } : event);
  }

  /** Note that lines may be missing after the last one. */
  gap(): void {
    this.#tail.gap();
  }

  /**
   * Take over the log as text.
   *
   * `whole`: it was read to its end; `ended`: nothing came after it.
   */
  prepend(text: TextLines, whole: boolean, ended: boolean): void {
    const { lines } = this.#tail;
    this.#older = text.lines;
    this.leftOut = text.leftOut;
    this.#from = 0;
    this.#between = whole ? "" : LEFT_OUT;
    if (!whole || !lines.length || !text.lines.length) return;
    const seam = seamOf(text.lines, lines);
    if (seam !== null) this.#older.length = seam;
    else {
      this.#from = (lines.at(-1)?.id ?? 0) + 1;
      this.#between = ended ? "" : MAYBE;
    }
  }

  get #head(): number {
    return this.#older.length + (this.#between ? 1 : 0);
  }

  get #skipped(): number {
    return Math.min(Math.max(this.#from - this.dropped, 0), this.#tail.lines.length);
  }
}

/** Collects the lines of a text that comes in pieces; of very many, the last ones. */
export class TextLines {
  lines: string[] = [];
  leftOut = 0;
  #partial = "";

  add(piece: string): void {
    const rows = (this.#partial + piece).split("\n");
    this.#partial = rows.pop() ?? "";
    for (const row of rows) this.lines.push(shownLine(row));
    if (this.lines.length > 2 * TEXT) this.#trim();
  }

  end(): void {
    if (this.#partial) this.lines.push(shownLine(this.#partial));
    this.#partial = "";
    this.#trim();
  }

  #trim(): void {
    const surplus = this.lines.length - TEXT;
    if (surplus <= 0) return;
    this.lines.splice(0, surplus);
    this.leftOut += surplus;
  }
}

// All rows have one height, so that a message of several lines becomes several.
function lineByLine(data: JobEvent["data"]): JobEvent["data"] {
  const { lines } = data;
  if (!Array.isArray(lines)) return data;
  const split = (line: Partial<LogLine> | null) => {
    if (typeof line?.message !== "string") return [];
    const [first, ...others] = line.message.split("\n");
    const { step } = line;
    return [{ ...line, message: first }, ...others.map((message) => ({ message, step }))];
  };
  return { ...data, lines: lines.flatMap(split) };
}

function textLine(id: number, text: string): TailLine {
  return { id, at: null, level: "", text };
}

/** Index in a text of the first of some lines, which are its last ones, and later ones; null if it is not found. */
function seamOf(text: string[], lines: TailLine[]): number | null {
  const alike = lines.slice(0, ALIKE);
  const expected = Math.max(0, text.length - lines.length);
  const fits = (place: number) => place >= 0 && place < text.length && alike.every(sameAt(text, place));
  for (let off = 0; off <= FAR; off += 1) {
    if (fits(expected + off)) return expected + off;
    if (fits(expected - off)) return expected - off;
  }
  return null;
}

function sameAt(text: string[], place: number): (line: TailLine, index: number) => boolean {
  return (line, index) => place + index >= text.length || text[place + index] === line.text;
}
