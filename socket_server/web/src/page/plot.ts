/** A small plot of throughput over time. */
import { html, nothing, svg, type TemplateResult } from "lit";
import type { Bar } from "../client/protocol.js";
import * as format from "../view/format.js";
import type { Throughput } from "./throughput.js";

const [WIDTH, HEIGHT, LEAST] = [160, 28, 4];

/** The template of a plot; nothing while there is too little to see. */
export function plot(throughput: Throughput, bar: Bar | undefined): TemplateResult | typeof nothing {
  const { rates } = throughput;
  if (!bar || rates.length < LEAST) return nothing;
  const most = Math.max(...rates);
  if (!(most > 0)) return nothing;
  const points = rates.map((rate, index) => `${place(index, rates.length)},${height(rate, most)}`).join(" ");
  const label = `throughput, up to ${format.rate({ ...bar, rate: most })}`;
  return html`<figure class="plot"><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${label} preserveAspectRatio="none">
    ${svg`<polyline points=${points}></polyline>`}</svg><figcaption>${label}</figcaption></figure>`;
}

function place(index: number, count: number): string {
  return ((index / (count - 1)) * WIDTH).toFixed(1);
}

function height(rate: number, most: number): string {
  return (HEIGHT - 1 - (rate / most) * (HEIGHT - 2)).toFixed(1);
}
