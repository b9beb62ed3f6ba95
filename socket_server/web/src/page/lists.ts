/** Places jobs in the lists of their groups, and updates the lists' headings. */
import { byId, setText } from "./dom.js";
import type { Entry } from "./entry.js";
import { GROUPS, groupOf } from "./groups.js";
import { countText, leftText, type Left } from "./pages.js";

/** Put a job's node into its list, sorted by time; it moves only if its list or time changes. */
export function place(entry: Entry, entries: Map<string, Entry>): void {
  const { snapshot, node } = entry;
  const list = byId(`${groupOf(snapshot)}-jobs`);
  const key = (snapshot.ended && snapshot.ended_at) || snapshot.queued_at || snapshot.started_at || snapshot.at;
  if (entry.list === list && entry.key === key) return;
  Object.assign(entry, { list, key });
  const older = (other: Element) => (entries.get((other as HTMLElement).dataset["job"] ?? "")?.key ?? 0) < key;
  const after = [...list.children].find((other) => other !== node && older(other));
  const held = node.contains(document.activeElement);
  list.insertBefore(node, after ?? null);
  if (held) node.focus({ preventScroll: true });
}

const NONE = "No job matches the filter.";
const NONE_LISTED = "No job on this page matches the filter.";

export interface Shown {
  entries: Map<string, Entry>;
  /** Whether the list was requested and came. */
  loaded: boolean;
  /** Whether a filter is set. */
  filtered: boolean;
  pages: Left;
}

/** Show the number of jobs of each group, hide groups without jobs, and say how many jobs are not listed. */
export function headings({ entries, loaded, filtered, pages }: Shown): void {
  let shown = 0;
  for (const group of GROUPS) {
    const nodes = [...byId(`${group}-jobs`).children];
    const seen = nodes.filter((node) => !(node as HTMLElement).hidden).length;
    shown += seen;
    byId(group).hidden = seen === 0 && (filtered || !pages.left(group));
    setText(byId(`${group}-count`), countText(nodes.length, pages.left(group), filtered ? seen : null));
  }
  byId("empty").hidden = !loaded || entries.size > 0 || pages.more;
  byId("filters").hidden = entries.size < 2;
  byId("none-shown").hidden = entries.size === 0 || shown > 0;
  setText(byId("none-shown"), pages.more ? NONE_LISTED : NONE);
  byId("more").hidden = !pages.more || pages.loading;
  setText(byId("more-text"), leftText(pages));
}
