/** A Svelte store: `const job = jobStore(client, id)`, and `$job.snapshot` in the component. */
import type { Client, State } from "../client/index.js";
import { drawEachFrame, drawnOf, NOTHING, type Drawn } from "../frameworks/drawn.js";

/** A store, as Svelte defines it. */
export interface JobStore {
  /** Call `run` now and after each change; returns what ends it. */
  subscribe: (run: (drawn: Drawn) => void) => () => void;
  /** Request the job's cancellation; resolves to its state before. */
  cancel: () => Promise<State>;
}

/**
 * Watch a job while the store has subscribers, which are called at most once a frame.
 *
 * `client` is the result of `connect()`, called once outside the component. Nothing is watched where
 * pages are rendered on a server.
 */
export function jobStore(client: Client, job: string): JobStore {
  return {
    subscribe(run) {
      run(NOTHING);
      if (typeof window === "undefined") return () => {};
      return drawEachFrame(client, job, (one) => run(drawnOf(one)));
    },
    cancel: () => client.cancel(job),
  };
}
