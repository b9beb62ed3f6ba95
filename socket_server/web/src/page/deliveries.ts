/** `DeliveriesPanel`: deliveries to webhooks, for operators: those of a job, or all that fail. */
import { html, nothing, render, type TemplateResult } from "lit";
import type { RequestError } from "../client/errors.js";
import { legible } from "../client/legible.js";
import type { DeliveriesAnswer, WebhookDelivery } from "../client/protocol.generated.js";
import * as format from "../view/format.js";
import { jobHash } from "./address.js";
import type { Api } from "./api.js";

const EVERY = 5000; // milliseconds between two questions

export interface DeliveriesOptions {
  api: Api;
  /** Hidden as long as there is nothing to list. */
  panel: HTMLElement;
  /** Where the deliveries are listed. */
  list: HTMLElement;
  /** Id of the job; undefined for all deliveries that fail. */
  job?: string;
}

export class DeliveriesPanel {
  #options: DeliveriesOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stop = new AbortController();

  constructor(options: DeliveriesOptions) {
    this.#options = options;
    void this.#ask();
  }

  /** Take it off the page, and ask no more. */
  close(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#options.panel.hidden = true;
    render(nothing, this.#options.list);
  }

  async #ask(): Promise<void> {
    const { api, job } = this.#options;
    const { signal } = this.#stop;
    // An older list is better than none while the archive does not answer.
    if (!document.hidden)
      await api
        .json<DeliveriesAnswer>("api/deliveries", job === undefined ? {} : { job }, signal)
        .then(({ deliveries }) => signal.aborted || this.#draw(deliveries))
        .catch((error: RequestError) => error);
    if (!signal.aborted) this.#timer = setTimeout(() => void this.#ask(), EVERY);
  }

  #draw(deliveries: WebhookDelivery[]): void {
    const { panel, list, job } = this.#options;
    const now = Date.now() / 1000;
    panel.hidden = deliveries.length === 0;
    render(html`${deliveries.map((one) => item(one, now, job === undefined))}`, list);
  }
}

function item(one: WebhookDelivery, now: number, named: boolean): TemplateResult {
  const job = named ? html` <a dir="auto" href=${jobHash(one.job)}>${legible(one.job)}</a>` : nothing;
  return html`<li data-failing=${one.failure !== null && one.delivered_at === null}>
    <b dir="auto">${legible(one.webhook)}</b> ${one.type}${job}: ${told(one, now)}
  </li>`;
}

/** What has become of a delivery, in words; `now` in seconds since the epoch. */
export function told({ at, attempts, delivered_at: delivered, due, failure }: WebhookDelivery, now: number): string {
  const tries = attempts === 1 ? "1 attempt" : `${attempts} attempts`;
  if (delivered !== null) return `delivered ${format.clock(delivered, now)}${attempts > 1 ? `, after ${tries}` : ""}`;
  if (due === null) return `given up after ${tries}, ${legible(failure ?? "")}`;
  if (failure === null) return `waits since ${format.clock(at, now)}`;
  const next = due > now ? `the next one ${format.clock(due, now)}` : "the next one is due";
  return `${tries}, ${next}: ${legible(failure)}`;
}
