/** Which events of a job are news: where it goes on, a server may tell some of it again. */
import { isVerdict, type JobEvent } from "./protocol.js";

export class Novelty {
  /** Of each task, the place of the newest event given out. */
  #places = new Map<string, [run: number, seq: number, tick: number]>();
  /** Task, type and time of each without a place. A later one may have an earlier time: servers' clocks differ. */
  #told = new Set<string>();

  /** Whether an event was not given out before; from now on it was. */
  take(event: JobEvent): boolean {
    const { task, type, at, run, seq, tick } = event;
    // A cancel has no place of its own, and what a server makes of silence that of another event.
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
