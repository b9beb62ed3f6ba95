/** A binary heap: the least of its entries is on top. */
export class Heap<T> {
  #entries: T[] = [];
  #compare: (a: T, b: T) => number;

  /** `compare` as for Array.prototype.sort. */
  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** The least entry; undefined if there is none. */
  get top(): T | undefined {
    return this.#entries[0];
  }

  push(entry: T): void {
    const entries = this.#entries;
    let at = entries.length;
    entries.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#compare(entry, entries[parent] as T) >= 0) break;
      entries[at] = entries[parent] as T;
      at = parent;
    }
    entries[at] = entry;
  }

  /** Remove and return the least entry; undefined if there is none. */
  pop(): T | undefined {
    const entries = this.#entries;
    const least = entries[0];
    const last = entries.pop();
    if (entries.length && last !== undefined) this.#sink(last);
    return least;
  }

  /** Keep only the entries for which `wanted` returns true. */
  keep(wanted: (entry: T) => boolean): void {
    // A sorted array is a heap.
    this.#entries = this.#entries.filter(wanted).sort(this.#compare);
  }

  #sink(entry: T): void {
    const entries = this.#entries;
    let at = 0;
    for (let child = 1; child < entries.length; child = 2 * at + 1) {
      if (child + 1 < entries.length && this.#compare(entries[child + 1] as T, entries[child] as T) < 0) child += 1;
      if (this.#compare(entry, entries[child] as T) <= 0) break;
      entries[at] = entries[child] as T;
      at = child;
    }
    entries[at] = entry;
  }
}
