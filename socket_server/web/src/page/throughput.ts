/** `Throughput`: the rate of a job's first bar over time. */
import type { Bar } from "../client/protocol.js";

const MOST = 120; // points; beyond it, every second one is dropped

export class Throughput {
  #points: [at: number, n: number][] = [];
  /** Least seconds between two points. */
  #step = 0.25;

  /** Add a point for the bar's count, unless it is too soon; `at` in seconds since the epoch. */
  add(at: number, { n }: Pick<Bar, "n">): void {
    const last = this.#points.at(-1);
    if (last && n < last[1])
      this.#points = []; // another bar, or another attempt
    else if (last && at - last[0] < this.#step) return;
    this.#points.push([at, n]);
    if (this.#points.length <= MOST) return;
    this.#points = this.#points.filter((_, index) => index % 2 === 0);
    this.#step *= 2;
  }

  /** Units per second between consecutive points, oldest first. */
  get rates(): number[] {
    const rates: number[] = [];
    this.#points.forEach(([at, n], index) => {
      const before = this.#points[index - 1];
      if (before && at > before[0]) rates.push((n - before[1]) / (at - before[0]));
    });
    return rates;
  }
}
