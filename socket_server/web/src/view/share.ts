/**
 * Sets how full a bar is, through the element's `style` object: the page's Content-Security-Policy
 * forbids `style` attributes.
 */
import { noChange } from "lit";
import { directive, Directive, type ElementPart } from "lit/directive.js";

class Share extends Directive {
  #before: number | null | undefined;

  render(_share: number | null): typeof noChange {
    return noChange;
  }

  override update({ element }: ElementPart, [share]: [number | null]): typeof noChange {
    if (share === this.#before) return noChange;
    const fill = element as HTMLElement;
    // A smaller share means another bar in this row, or a restart: that is not animated.
    fill.classList.toggle("jump", (share ?? 0) < (this.#before ?? 0));
    if (share === null) fill.style.removeProperty("--share");
    else fill.style.setProperty("--share", String(share));
    this.#before = share;
    return noChange;
  }
}

/** `<div class="fill" ${share(0.5)}>`: half full; null for a bar whose total is not known. */
export const share = directive(Share);
