/** `BulkDialog`: runs again, or cancels, all jobs that a search finds, after it has said how many. */
import type { Client } from "../../client/client.js";
import type { RequestError } from "../../client/errors.js";
import { legible } from "../../client/legible.js";
import { html, nothing, render } from "lit";
import type { Search } from "../address.js";
import { byId, setNote, setText } from "../dom.js";
import { newKey } from "../idempotency-key.js";
import { askInBulk, filterOf, reasonsOf, sum, WORDS, type Action, type Outcome } from "./bulk.js";

/** A dialog that is open, with the key that it got when it was opened: pressing twice acts once. */
interface Asking {
  action: Action;
  filter: ReturnType<typeof filterOf>;
  key: string;
}

export class BulkDialog {
  #client: Client;
  #closed: () => void;
  #dialog = byId<HTMLDialogElement>("bulk");
  #asking: Asking | null = null;
  /** Whether jobs were acted on since it was opened. */
  #acted = false;
  #stop = new AbortController();

  /** `closed` is called after a dialog in which jobs were acted on. */
  constructor(client: Client, closed: () => void) {
    this.#client = client;
    this.#closed = closed;
    const { signal } = this.#stop;
    byId("bulk-do").addEventListener("click", () => void this.#act(), { signal });
    byId("bulk-close").addEventListener("click", () => this.#dialog.close(), { signal });
    this.#dialog.addEventListener("close", () => this.#end(), { signal });
  }

  /** Ask about the jobs that a search finds; `newest`: when the newest of them was enqueued, null if unknown. */
  async open(action: Action, search: Search, newest: number | null): Promise<void> {
    const asking = (this.#asking = { action, filter: filterOf(search, newest), key: newKey() });
    this.#acted = false;
    setText(byId("bulk-title"), WORDS[action].title);
    setText(byId("bulk-text"), "Counting the jobs…");
    this.#reasons(null);
    byId("bulk-do").hidden = true;
    this.#dialog.showModal();
    const found = await this.#ask(asking, true);
    if (!found || this.#asking !== asking) return;
    setText(byId("bulk-text"), WORDS[action].preview(found));
    this.#reasons(found);
    byId("bulk-do").hidden = found.acted === 0;
    setText(byId("bulk-do"), WORDS[action].button(found));
  }

  /** Close the dialog, and remove the listeners. */
  close(): void {
    this.#stop.abort();
    this.#dialog.close();
  }

  async #act(): Promise<void> {
    const asking = this.#asking;
    if (!asking) return;
    const button = byId<HTMLButtonElement>("bulk-do");
    button.disabled = true;
    this.#acted = true;
    const done = await this.#ask(asking, false);
    button.disabled = false;
    if (!done || this.#asking !== asking) return;
    setText(byId("bulk-text"), WORDS[asking.action].done(done));
    this.#reasons(done);
    // Some were refused for the moment alone: the same key leaves the others as they are.
    button.hidden = !done.refused.some(({ temporary }) => temporary);
    setText(button, "Try the rest again");
    byId("bulk-close").focus();
  }

  // Without an answer, the button stays: the same key acts on each job once.
  async #ask({ action, filter, key }: Asking, preview: boolean): Promise<Outcome | null> {
    setNote(byId("bulk-fault"), "");
    const progress = (so: Outcome) =>
      setText(byId("bulk-text"), preview ? "Counting the jobs…" : WORDS[action].doing(so));
    try {
      return await askInBulk(this.#client, { action, filter, key, preview }, progress);
    } catch (error) {
      setNote(byId("bulk-fault"), (error as RequestError).message);
      return null;
    }
  }

  #reasons(outcome: Outcome | null): void {
    const reasons = outcome ? reasonsOf(outcome) : [];
    const refused = sum(reasons.map(({ count }) => count));
    const intro = refused === 1 ? "One job is refused:" : `${refused.toLocaleString("en")} jobs are refused:`;
    const list = html`<p>${intro}</p>
      <ul>${reasons.map(({ message, count }) => html`<li>${count > 1 ? html`<b>${count}</b> × ` : nothing}${legible(message)}</li>`)}</ul>`;
    render(reasons.length ? list : nothing, byId("bulk-reasons"));
  }

  #end(): void {
    this.#asking = null;
    if (this.#acted) this.#closed();
  }
}
