/** `TimeScale`: where a time is on a timeline. Pure. */
import { duration } from "../../view/format.js";
import type { TaskTimes } from "./job-tasks.js";

/** Seconds between two marks, of which the least is taken that leaves room for their texts. */
const STEPS = [
  0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800,
  604_800,
];
const SHORTEST = 0.1; // seconds that a timeline has at least

/** Part of a timeline, from 0 to 1. */
export interface Span {
  from: number;
  size: number;
}

export interface Mark {
  at: number;
  text: string;
}

export class TimeScale {
  readonly start: number;
  readonly length: number;

  /** Both in seconds since the epoch. */
  constructor(start: number, end: number) {
    this.start = start;
    this.length = Math.max(end - start, SHORTEST);
  }

  /** The scale for tasks; `now` in seconds since the epoch: unfinished tasks last until then. */
  static of(tasks: Iterable<TaskTimes>, now: number): TimeScale {
    let [start, end] = [Infinity, -Infinity];
    for (const { queued_at: queued, started_at: started, ended_at: ended } of tasks) {
      start = Math.min(start, queued ?? Infinity, started ?? Infinity, ended ?? Infinity);
      end = Math.max(end, ended ?? (started || queued ? now : -Infinity));
    }
    return Number.isFinite(start) ? new TimeScale(start, end) : new TimeScale(now, now);
  }

  /** The part between two times. */
  span(from: number, to: number): Span {
    const place = (at: number) => Math.min(Math.max((at - this.start) / this.length, 0), 1);
    return { from: place(from), size: Math.max(place(to) - place(from), 0) };
  }

  /** Marks at whole times since the start, at most so many, the start among them. */
  marks(most: number): Mark[] {
    const step = STEPS.find((one) => this.length / one <= most - 1) ?? this.length;
    const count = Math.floor(this.length / step) + 1;
    return Array.from({ length: count }, (_, index) => {
      return { at: (index * step) / this.length, text: markText(index * step) };
    });
  }
}

function markText(seconds: number): string {
  return seconds > 0 && seconds < 10 ? `${Number(seconds.toFixed(1))} s` : duration(seconds);
}
