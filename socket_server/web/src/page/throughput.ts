/** `Throughput`: the rate of a job's first bar over time. */
import type { Bar } from "../client/protocol.js";

const MOST = 120; // points; beyond it, every second one is dropped
/** Least seconds over which a rate is taken, and units that a window is to have at the mean rate. */
const [SHORTEST, UNITS] = [2, 20];

type Point = [at: number, n: number];

export class Throughput {
  #points: Point[] = [];
  /** Least seconds between two points. */
  #step = 0.25;

  /** Whether `add` takes a point; `at` in seconds since the epoch. */
  due(at: number): boolean {
    const last = this.#points.at(-1);
    return !last || at - last[0] >= this.#step;
  }

  /** Add a point for the bar's count, unless it is too soon. */
  add(at: number, { n }: Pick<Bar, "n">): void {
    if (!this.due(at)) return;
    if (n < (this.#points.at(-1)?.[1] ?? 0)) this.#points = []; // another bar, or another attempt
    this.#points.push([at, n]);
    if (this.#points.length <= MOST) return;
    this.#points = this.#points.filter((_, index) => index % 2 === 0);
    this.#step *= 2;
  }

  /**
   * Units per second, oldest first: at each point, of the window that ends there. Few units a second
   * come one by one, so a shorter window would show steps of the count in place of the rate.
   */
  get rates(): number[] {
    const [first, last] = [this.#points[0], this.#points.at(-1)];
    if (!first || !last || last[0] <= first[0]) return [];
    const span = last[0] - first[0];
    const wanted = (UNITS * span) / Math.max(last[1] - first[1], 1e-9);
    const window = Math.max(SHORTEST, Math.min(wanted, span / 2));
    return this.#slopes(window, first[0] + window);
  }

  #slopes(window: number, since: number): number[] {
    const rates: number[] = [];
    let from = 0;
    this.#points.forEach(([at], index) => {
      if (at < since) return;
      while (from + 1 < index && (this.#points[from]?.[0] ?? at) < at - window) from += 1;
      rates.push(slope(this.#points.slice(from, index + 1)));
    });
    return rates;
  }
}

/** Slope of the line through points with the least sum of squared distances. */
function slope(points: Point[]): number {
  const [at, n] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const squares = points.reduce((sum, [x]) => sum + (x - at) ** 2, 0);
  return squares ? points.reduce((sum, [x, y]) => sum + (x - at) * (y - n), 0) / squares : 0;
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
