/** A React hook: `const { snapshot, error, cancel } = useJob(client, job)`. */
import { useCallback, useRef, useSyncExternalStore } from "react";
import type { Client, State, WatchedJob } from "../client/index.js";
import { drawEachFrame, drawnOf, NOTHING, type Drawn } from "../frameworks/drawn.js";

export interface UsedJob extends Drawn {
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
      const close = drawEachFrame(client, job, (one) => {
        watched.current = one;
        version.current += 1;
        changed();
      });
      return () => {
        close();
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
  return { ...(one ? drawnOf(one) : NOTHING), cancel };
}
