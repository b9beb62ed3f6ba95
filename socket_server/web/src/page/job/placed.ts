/**
 * Places a bar on a timeline, through the element's `style` object: the page's Content-Security-Policy
 * forbids `style` attributes.
 */
import { noChange } from "lit";
import { directive, Directive, type ElementPart } from "lit/directive.js";
import type { Span } from "./time-scale.js";

class Placed extends Directive {
  #before = "";

  render(_span: Span): typeof noChange {
    return noChange;
  }

  override update({ element }: ElementPart, [{ from, size }]: [Span]): typeof noChange {
    const place = `${from.toFixed(5)} ${size.toFixed(5)}`;
    if (place === this.#before) return noChange;
    this.#before = place;
    const { style } = element as HTMLElement;
    style.setProperty("--from", from.toFixed(5));
    style.setProperty("--size", size.toFixed(5));
    return noChange;
  }
}

/** `<i class="ran" ${placed(span)}>` */
export const placed = directive(Placed);

class Indented extends Directive {
  #before = -1;

  render(_level: number): typeof noChange {
    return noChange;
  }

  override update({ element }: ElementPart, [level]: [number]): typeof noChange {
    if (level !== this.#before) (element as HTMLElement).style.setProperty("--level", String(level));
    this.#before = level;
    return noChange;
  }
}

/** Sets how many levels a row of a tree is indented by. */
export const indented = directive(Indented);
