/** `Filter`: selects the jobs to show by a text and a state. */
import type { Snapshot } from "../client/snapshot.js";
import { byId } from "./dom.js";

export class Filter {
  #text = byId<HTMLInputElement>("filter-text");
  #state = byId<HTMLSelectElement>("filter-state");
  #stop = new AbortController();

  /** `changed` is called when the user edits the filter. */
  constructor(changed: () => void) {
    const { signal } = this.#stop;
    for (const input of [this.#text, this.#state]) input.addEventListener("input", changed, { signal });
  }

  /** Whether it is set. */
  get active(): boolean {
    return this.#text.value.trim() !== "" || this.#state.value !== "";
  }

  /** Whether a job is to be shown. */
  shows(snapshot: Snapshot): boolean {
    const text = this.#text.value.trim().toLowerCase();
    const found = [snapshot.name, snapshot.title ?? "", snapshot.job, ...snapshot.bars.map(({ desc }) => desc)];
    if (text && !found.some((one) => String(one).toLowerCase().includes(text))) return false;
    const state = this.#state.value;
    if (state === "" || snapshot.state === state) return true;
    return state === "failed" && snapshot.state === "lost";
  }

  /** Remove the listeners. */
  close(): void {
    this.#stop.abort();
  }
}
