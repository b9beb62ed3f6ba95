/** `Novelty`: detects events of a job that a server repeats, as after a reconnect. */
import { isVerdict, type JobEvent } from "./protocol.js";

export class Novelty {
  /** Place of the newest event of each task. */
  #places = new Map<string, [run: number, seq: number, tick: number]>();
  /** Task, type and time of events without a place. Times may decrease: servers' clocks differ. */
  #told = new Set<string>();

  /** Whether an event is new; it is recorded as seen. */
  take(event: JobEvent): boolean {
    const { task, type, at, run, seq, tick } = event;
    // `cancelling` events and events that only a server sends have no place of their own.
    if (type === "cancelling" || isVerdict(event)) {
      const before = this.#told.size;
      return this.#told.add(`${task} ${type} ${at}`).size > before;
    }
    const last = this.#places.get(task);
    const news = !last || run > last[0] || (run === last[0] && (seq > last[1] || (seq === last[1] && tick > last[2])));
    if (news) this.#places.set(task, [run, seq, tick]);
    return news;
  }
}
