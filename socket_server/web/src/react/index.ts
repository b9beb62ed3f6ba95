/** A React hook: `const { snapshot, error, cancel } = useJob(client, job)`. */
import { useCallback, useRef, useSyncExternalStore } from "react";
import type { Client, RequestError, Snapshot, State, WatchedJob } from "../client/index.js";

export interface UsedJob {
  /** The job's current state; null until the server has sent it. */
  snapshot: Snapshot | null;
  /** Why it cannot be watched; null if it can. */
  error: RequestError | null;
  /** Request its cancellation; resolves to its state before. */
  cancel: () => Promise<State>;
}

/**
 * Watch a job while the component is mounted, and redraw at most once a frame.
 *
 * `client` is the result of `connect()`, called once outside the component; `job` may be null.
 */
export function useJob(client: Client, job: string | null): UsedJob {
  const watched = useRef<WatchedJob | null>(null);
  const version = useRef(0);
  const subscribe = useCallback(
    (changed: () => void) => {
      if (job === null) return () => {};
      const one = (watched.current = client.watch(job));
      let frame = 0;
      const draw = () => {
        frame ||= requestAnimationFrame(() => {
          frame = 0;
          version.current += 1;
          changed();
        });
      };
      one.addEventListener("change", draw);
      one.addEventListener("error", draw);
      return () => {
        cancelAnimationFrame(frame);
        one.removeEventListener("change", draw);
        one.removeEventListener("error", draw);
        one.close();
        watched.current = null;
      };
    },
    [client, job],
  );
  useSyncExternalStore(
    subscribe,
    () => version.current,
    () => 0,
  );
  const cancel = useCallback(() => client.cancel(job ?? ""), [client, job]);
  const one = watched.current?.job === job ? watched.current : null;
  return { snapshot: one?.known ? one.snapshot : null, error: one?.error ?? null, cancel };
}
