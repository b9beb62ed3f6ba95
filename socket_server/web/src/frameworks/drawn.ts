/** What the adapters of frameworks share: a job that is watched while it is drawn. */
import type { Client, RequestError, Snapshot, WatchedJob } from "../client/index.js";

/** What is drawn of a job. */
export interface Drawn {
  /** The job's current state; null until the server has sent it. */
  snapshot: Snapshot | null;
  /** Why it cannot be watched; null if it can. */
  error: RequestError | null;
}

/** Of a job that the server has said nothing of. */
export const NOTHING: Drawn = { snapshot: null, error: null };

export function drawnOf(one: WatchedJob): Drawn {
  return { snapshot: one.known ? one.snapshot : null, error: one.error };
}

/** Watch a job, and call `draw` after changes, at most once a frame; returns what ends both. */
export function drawEachFrame(client: Client, job: string, draw: (one: WatchedJob) => void): () => void {
  const one = client.watch(job);
  let frame = 0;
  const changed = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      draw(one);
    });
  };
  one.addEventListener("change", changed);
  one.addEventListener("error", changed);
  return () => {
    cancelAnimationFrame(frame);
    one.removeEventListener("change", changed);
    one.removeEventListener("error", changed);
    one.close();
  };
}
