/** Places jobs in the lists of running and finished jobs, and updates the lists' headings. */
import { byId } from "./dom.js";
import type { Entry } from "./entry.js";

/** Put a job's node into its list, sorted by time; it moves only if its list or time changes. */
export function place(entry: Entry, entries: Map<string, Entry>): void {
  const { snapshot, node } = entry;
  const list = byId(snapshot.ended ? "ended-jobs" : "active-jobs");
  const key = (snapshot.ended && snapshot.ended_at) || snapshot.queued_at || snapshot.started_at || snapshot.at;
  if (entry.list === list && entry.key === key) return;
  Object.assign(entry, { list, key });
  const older = (other: Element) => (entries.get((other as HTMLElement).dataset["job"] ?? "")?.key ?? 0) < key;
  const after = [...list.children].find((other) => other !== node && older(other));
  const held = node.contains(document.activeElement);
  list.insertBefore(node, after ?? null);
  if (held) node.focus({ preventScroll: true });
}

/** Show the number of visible jobs of each list, and hide empty lists. */
export function headings(entries: Map<string, Entry>, loaded: boolean): void {
  let shown = 0;
  for (const name of ["active", "ended"]) {
    const count = [...byId(`${name}-jobs`).children].filter((node) => !(node as HTMLElement).hidden).length;
    shown += count;
    byId(name).hidden = count === 0;
    setText(byId(`${name}-count`), String(count));
  }
  byId("empty").hidden = !loaded || entries.size > 0;
  byId("filters").hidden = entries.size < 2;
  byId("none-shown").hidden = entries.size === 0 || shown > 0;
}

function setText(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}
