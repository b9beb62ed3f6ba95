/** `LogSearch`: where a text occurs in a log. */
import type { LogLines } from "./log-lines.js";

export class LogSearch {
  #lines: LogLines;
  #wanted = "";
  /** Indices of the lines that have it. */
  found: number[] = [];
  /** Index, in `found`, of the match that the reader has reached; -1 before the first. */
  reached = -1;

  constructor(lines: LogLines) {
    this.#lines = lines;
  }

  /** What is searched for, in lower case; "" for nothing. */
  get wanted(): string {
    return this.#wanted;
  }

  set wanted(text: string) {
    this.#wanted = text.toLowerCase();
    this.reached = -1;
    this.update();
  }

  /** Search again, in lines that may have changed. */
  update(): void {
    this.found = [];
    if (!this.#wanted) return;
    for (let index = 0; index < this.#lines.count; index += 1)
      if (this.#lines.at(index).text.toLowerCase().includes(this.#wanted)) this.found.push(index);
  }

  /** Go to the next match after a line, or with -1 to the one before; null without one. */
  step(by: 1 | -1, from: number): number | null {
    const { found } = this;
    if (!found.length) return null;
    if (this.reached < 0) this.reached = first(found, from, by);
    else this.reached = (this.reached + by + found.length) % found.length;
    return found[this.reached] ?? null;
  }

  /** "3 of 12 lines", "12 lines", "No line has that."; "" if nothing is searched for. */
  get text(): string {
    const { length } = this.found;
    if (!this.#wanted) return "";
    if (!length) return "No line has that.";
    const all = `${length.toLocaleString("en")} ${length === 1 ? "line" : "lines"}`;
    return this.reached < 0 ? all : `${(this.reached + 1).toLocaleString("en")} of ${all}`;
  }
}

// The first match from a line on, or the last one before it, and else the one at the other end.
function first(found: number[], from: number, by: 1 | -1): number {
  const next = found.findIndex((index) => index >= from);
  if (by === 1) return Math.max(next, 0);
  return next <= 0 ? found.length - 1 : next - 1;
}
