/** The views of the page, of which one is shown: live jobs, history, one job. */
import type { ViewName } from "./address.js";
import { byId } from "./dom.js";

const SECTIONS: Record<ViewName, string> = { live: "live", history: "history", job: "job-page" };
/** What takes focus when the reader goes to a view. */
const HEADINGS: Record<ViewName, string> = { live: "live-title", history: "history-title", job: "job-title" };
const LINKS: Partial<Record<ViewName, string>> = { live: "to-live", history: "to-history" };

let current: ViewName | null = null;
const titles = new Map<ViewName, string>();
/** How far down each list was when it was left, in pixels. */
const offsets = new Map<ViewName, number>();

// The page puts itself where the reader was: a list is there only once it is drawn.
history.scrollRestoration = "manual";

/** Show a view; `draw` fills it. */
export function enter(view: ViewName, draw: () => void): void {
  const before = current;
  if (before) offsets.set(before, scrollY);
  current = view;
  document.body.dataset["view"] = view;
  for (const [name, id] of Object.entries(SECTIONS)) byId(id).hidden = name !== view;
  for (const [name, id] of Object.entries(LINKS))
    if (name === view) byId(id).setAttribute("aria-current", "page");
    else byId(id).removeAttribute("aria-current");
  draw();
  showTitle();
  if (before === view && view !== "job") return;
  scrollTo({ top: view === "job" ? 0 : (offsets.get(view) ?? 0), behavior: "instant" });
  if (before) byId(HEADINGS[view]).focus({ preventScroll: true });
}

/** Set the title of a view, which the browser shows while the view is shown. */
export function setTitle(view: ViewName, text: string): void {
  titles.set(view, text);
  if (view === current) showTitle();
}

function showTitle(): void {
  const text = (current && titles.get(current)) ?? "";
  document.title = text ? `${text} · taskbridge` : "taskbridge";
}
