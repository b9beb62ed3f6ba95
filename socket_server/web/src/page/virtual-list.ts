/** `VirtualList`: a list of rows of one height, of which only those in sight are in the document. */
import { html, render, type TemplateResult } from "lit";

/** Height of a row, in pixels, until one was measured; and rows beyond either edge that are drawn. */
const [GUESS, BEYOND] = [40, 12];

export interface VirtualListOptions {
  /** Contains the rows, and nothing else. */
  list: HTMLElement;
  /** The element that scrolls; null if the whole page does. */
  scroller: HTMLElement | null;
  row: (index: number) => TemplateResult;
  /** Called after each drawing. */
  drawn?: (range: Range) => void;
}

/** Rows that are in the document: from `first`, up to `end` without it. */
export interface Range {
  first: number;
  end: number;
}

export class VirtualList {
  #options: VirtualListOptions;
  #count = 0;
  #height = GUESS;
  #frame = 0;
  #stop = new AbortController();
  range: Range = { first: 0, end: 0 };

  constructor(options: VirtualListOptions) {
    this.#options = options;
    const { signal } = this.#stop;
    const moved = () => this.request();
    (options.scroller ?? window).addEventListener("scroll", moved, { passive: true, signal });
    addEventListener("resize", moved, { signal });
  }

  /** Height of a row in pixels. */
  get height(): number {
    return this.#height;
  }

  get count(): number {
    return this.#count;
  }

  /** Draw in the next frame. */
  request(): void {
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  /** Draw now; `count`: the number of rows, if it has changed. */
  draw(count = this.#count): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#count = count;
    this.#rows();
    // The height depends on the reader's font and the width of the window.
    const measured = this.#options.list.firstElementChild?.getBoundingClientRect().height;
    if (measured && Math.abs(measured - this.#height) > 0.01) {
      this.#height = measured;
      this.#rows();
    }
    this.#options.drawn?.(this.range);
  }

  /** Scroll no further than it takes to have a row in sight, and draw. */
  reveal(index: number): void {
    const { top, size } = this.#view();
    const [from, to] = [index * this.#height, (index + 1) * this.#height];
    const by = from < top ? from - top : Math.max(0, to - top - size);
    if (by) (this.#options.scroller ?? window).scrollBy({ top: by, behavior: "instant" });
    this.draw();
  }

  /** Forget the rows, and hear of no scrolling any more. */
  close(): void {
    cancelAnimationFrame(this.#frame);
    this.#stop.abort();
    render(html``, this.#options.list);
  }

  #rows(): void {
    const { top, size } = this.#view();
    const first = Math.max(0, Math.min(Math.floor(top / this.#height), this.#count) - BEYOND);
    const end = Math.min(this.#count, Math.max(0, Math.ceil((top + size) / this.#height)) + BEYOND);
    this.range = { first, end: Math.max(first, end) };
    const { list, row } = this.#options;
    list.style.paddingTop = `${first * this.#height}px`;
    list.style.paddingBottom = `${(this.#count - this.range.end) * this.#height}px`;
    const indices = Array.from({ length: this.range.end - first }, (_, index) => first + index);
    render(html`${indices.map(row)}`, list);
  }

  /** Pixels of the list that are above the part in sight, and the size of that part. */
  #view(): { top: number; size: number } {
    const { list, scroller } = this.#options;
    const start = scroller ? scroller.getBoundingClientRect().top : 0;
    const size = scroller ? scroller.clientHeight : innerHeight;
    return { top: start - list.getBoundingClientRect().top, size };
  }
}
