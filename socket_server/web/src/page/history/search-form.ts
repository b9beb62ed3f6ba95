/** `SearchForm`: the fields by which the history is searched. */
import { FIELDS, NO_SEARCH, type Search } from "../address.js";
import { byId } from "../dom.js";

/** What the reader does: goes on typing, has chosen a value, or asks to search. */
export type Searching = "typing" | "chosen" | "asked";

const TYPING = 500; // milliseconds without a key after which what was typed is searched for

export class SearchForm {
  #form = byId<HTMLFormElement>("search");
  #timer: ReturnType<typeof setTimeout> | undefined;
  #changed: (search: Search, how: Searching) => void;
  #stop = new AbortController();

  /** `changed` gets each search that the fields have. */
  constructor(changed: (search: Search, how: Searching) => void) {
    this.#changed = changed;
    const { signal } = this.#stop;
    this.#form.addEventListener("input", () => this.#typed(), { signal });
    this.#form.addEventListener("change", () => this.#send("chosen"), { signal });
    this.#form.addEventListener("submit", (event) => (event.preventDefault(), this.#send("asked")), { signal });
    byId("search-clear").addEventListener("click", () => this.#clear(), { signal });
  }

  /** Show a search in the fields; the one in which the reader types stays as it is. */
  show(search: Search): void {
    for (const field of FIELDS) {
      const input = this.#field(field);
      if (read(input) !== search[field]) write(input, search[field]);
    }
    byId("search-clear").hidden = FIELDS.every((field) => !search[field]);
  }

  /** Show the field for owners, or not. */
  set owners(shown: boolean) {
    const label = this.#field("owner").closest("label");
    if (label) label.hidden = !shown;
  }

  /** Remove the listeners. */
  close(): void {
    clearTimeout(this.#timer);
    this.#stop.abort();
  }

  get #search(): Search {
    const search = { ...NO_SEARCH };
    for (const field of FIELDS) search[field] = read(this.#field(field));
    return search;
  }

  #field(name: keyof Search): Field {
    return this.#form.elements.namedItem(name) as Field;
  }

  #typed(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send("typing"), TYPING);
  }

  #send(how: Searching): void {
    clearTimeout(this.#timer);
    this.#changed(this.#search, how);
  }

  #clear(): void {
    this.show(NO_SEARCH);
    this.#send("chosen");
    this.#field("text").focus();
  }
}

type Field = HTMLInputElement | HTMLSelectElement;

// Times are seconds since the epoch in the address, so that it means the same in each time zone.
function read(input: Field): string {
  if (input.type !== "datetime-local") return input.value.trim();
  const at = input.value ? new Date(input.value).getTime() / 1000 : NaN;
  return Number.isFinite(at) ? String(at) : "";
}

function write(input: Field, value: string): void {
  input.value = input.type === "datetime-local" ? localTime(Number(value || NaN)) : value;
}

/** Seconds since the epoch → "2026-11-29T14:03" in the reader's time zone; "" for no time. */
export function localTime(at: number): string {
  if (!Number.isFinite(at)) return "";
  const then = new Date(at * 1000);
  const local = new Date(then.getTime() - then.getTimezoneOffset() * 60_000);
  return Number.isFinite(local.getTime()) ? local.toISOString().slice(0, 16) : "";
}
