/** A Vue composable: `const { snapshot, error, cancel } = useJob(client, job)`. */
import { onScopeDispose, shallowRef, toValue, triggerRef, watch, type MaybeRefOrGetter, type ShallowRef } from "vue";
import type { Client, RequestError, Snapshot, State } from "../client/index.js";
import { drawEachFrame, drawnOf, NOTHING, type Drawn } from "../frameworks/drawn.js";

export interface UsedJob {
  /** The job's current state; null until the server has sent it. */
  snapshot: Readonly<ShallowRef<Snapshot | null>>;
  /** Why it cannot be watched; null if it can. */
  error: Readonly<ShallowRef<RequestError | null>>;
  /** Request its cancellation; resolves to its state before. */
  cancel: () => Promise<State>;
}

/**
 * Watch a job until the component is unmounted, or the effect scope ends, and redraw at most once a frame.
 *
 * `client` is the result of `connect()`, called once outside the component; `job` is an id, or a ref or
 * getter of one, and may be null. Nothing is watched where pages are rendered on a server.
 */
export function useJob(client: Client, job: MaybeRefOrGetter<string | null>): UsedJob {
  const snapshot = shallowRef<Snapshot | null>(null);
  const error = shallowRef<RequestError | null>(null);
  const show = (drawn: Drawn) => {
    snapshot.value = drawn.snapshot;
    error.value = drawn.error;
    triggerRef(snapshot); // events change the snapshot itself
  };
  const follow = (id: string | null, _: unknown, onCleanup: (end: () => void) => void) => {
    show(NOTHING);
    if (id === null || typeof window === "undefined") return;
    onCleanup(drawEachFrame(client, id, (one) => show(drawnOf(one))));
  };
  onScopeDispose(watch(() => toValue(job), follow, { immediate: true }));
  return { snapshot, error, cancel: () => client.cancel(toValue(job) ?? "") };
}
